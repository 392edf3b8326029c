"""What a Moodle is, what the account may do there, and what stops working without what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bridge.ports import BridgeError, Capabilities, Finding, FixConfiguration, SkipItem
from connectors.moodle.client import BATCH
from connectors.moodle.directory import LIST_FRAMEWORKS
from connectors.moodle.kinds import Context, KindHandler
from connectors.moodle.reports import LIST_REPORTS, RETRIEVE, SET_FILTERS, choose_reports, describe
from connectors.moodle.rights import try_rights

OLDEST = (4, 5)

SERVICE = "Site administration > Server > Web services > External services > Functions"

PULL_FUNCTIONS = {
    LIST_REPORTS: "completions and ratings are pulled person by person, which is slow",
    RETRIEVE: "completions and ratings are pulled person by person, which is slow",
    SET_FILTERS: "every pull reads all completions, not only the new ones",
    "core_user_get_users": "completions cannot be pulled where no report exists",
    "core_enrol_get_users_courses": "completions cannot be pulled where no report exists",
    "core_completion_get_course_completion_status": "completions have no time where no report exists",
    "core_completion_get_activities_completion_status": "activity completion cannot be pulled",
    "core_enrol_get_enrolled_users": "activity completion cannot be pulled",
    "core_competency_list_plan_competencies": "ratings cannot be pulled where no report exists",
    "core_competency_list_user_plans": "the status of learning plans cannot be pulled",
    "core_badges_get_user_badges": "badges cannot be pulled",
}


def probe(context: Context, handlers: Iterable[KindHandler], readable: frozenset[str]) -> Capabilities:
    """Say what the site is, by the one answer it gave last; kinds that are not `readable` are none of its kinds.

    Raises FixConfiguration or StopRun where nothing answers.
    """
    site = context.client.site()
    handlers = tuple(handlers)
    functions = context.client.functions()
    findings = [_version(str(site.get("release", ""))), _batching(functions)]
    findings += _missing(functions, handlers)
    findings.append(
        Finding(
            "templates and cohorts",
            True,
            "Moodle has no way to link a learning-plan template to a cohort from outside.",
            "Either link them by hand once (Site administration > Competencies > Learning plan templates > Edit > Add "
            "cohorts to sync), or let the bridge make one plan a person.",
        )
    )
    return Capabilities(
        "Moodle",
        str(site.get("release", "")),
        str(site.get("sitename", "")),
        str(site.get("username", "")),
        tuple(handler.spec for handler in handlers if handler.spec.kind in readable),
        server_limit=context.options.server_limit,
        findings=tuple(findings),
    )


def inspect(context: Context) -> Iterator[Finding]:
    """Yield what takes questions of its own: frameworks, scales, reports and permissions."""
    functions = context.client.functions()
    yield from _frameworks(context, functions)
    yield from _reports(context, functions)
    yield from try_rights(context)


def _version(release: str) -> Finding:
    numbers = release.split(" ")[0].rstrip("+").split(".")
    try:
        found = (int(numbers[0]), int(numbers[1]))
    except (IndexError, ValueError):
        return Finding("version", True, f"Moodle does not tell its version plainly ({release or 'nothing'}).")
    if found < OLDEST:
        return Finding(
            "version",
            False,
            f"This is Moodle {release}; the bridge was made for 4.5 and newer.",
            "Upgrade Moodle, or try it on a copy of the site first.",
        )
    return Finding("version", True, f"Moodle {release}")


def _batching(functions: frozenset[str]) -> Finding:
    if BATCH in functions:
        return Finding("batching", True, "Many calls travel in one request.")
    return Finding(
        "batching",
        False,
        f"The service has no {BATCH}: every call goes alone, which takes several times as long.",
        f"Add {BATCH} to the service ({SERVICE}).",
    )


def _missing(functions: frozenset[str], handlers: tuple[KindHandler, ...]) -> list[Finding]:
    wanted: dict[str, tuple[str, bool]] = {}
    for handler in handlers:
        for function, stops in handler.reads.items():
            wanted.setdefault(function, (stops, handler.spec.kind in ("framework", "competency")))
        for function, stops in handler.writes.items():
            wanted.setdefault(function, (stops, False))
    for function, stops in PULL_FUNCTIONS.items():
        wanted.setdefault(function, (stops, False))
    return [
        Finding(
            f"function {function}",
            False,
            f"The service has no {function}: {stops}.",
            f"Add what is missing to the service ({SERVICE}).",
            blocking,
        )
        for function, (stops, blocking) in wanted.items()
        if function not in functions
    ]


def _frameworks(context: Context, functions: frozenset[str]) -> list[Finding]:
    """Read the frameworks, as everything about competencies begins with them."""
    subject = "competency frameworks"
    if LIST_FRAMEWORKS not in functions:
        return []
    try:
        rows = context.directory.list_frameworks()
    except (FixConfiguration, SkipItem) as error:
        remedy = "Allow moodle/competency:competencymanage in the role."
        return [Finding(subject, False, str(error), remedy, blocking=True)]
    return [Finding(subject, True, f"{len(rows)} seen."), *_scales(context)]


def _scales(context: Context) -> list[Finding]:
    """Look for all scales there are."""
    if "core_competency_get_scale_values" not in context.client.functions():
        return []
    try:
        context.directory.find_scale(())
    except BridgeError as error:
        return [Finding("scales", False, str(error), "Allow moodle/competency:competencymanage in the role.", True)]
    known = {scale: labels for scale, labels in context.directory.scale_labels.items() if labels}
    return [
        Finding(
            "scales",
            bool(known),
            "; ".join(f"{scale}: {', '.join(labels)}" for scale, labels in sorted(known.items())) or "There is none.",
            ""
            if known
            else "Make one by hand (Site administration > Grades > Scales), or import the file that "
            "`lms-bridge check --scale-file` writes.",
        )
    ]


def _reports(context: Context, functions: frozenset[str]) -> list[Finding]:
    if not {LIST_REPORTS, RETRIEVE} <= functions:
        return []
    try:
        return describe(choose_reports(context))
    except BridgeError as error:
        return [Finding("reports", False, str(error), "Allow moodle/reportbuilder:viewall in the role.")]
