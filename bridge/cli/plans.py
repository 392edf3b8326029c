"""The commands that plan and write: plan, push, undo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import (
    AsOfOption,
    InitialOption,
    JsonOption,
    KindOption,
    LimitOption,
    ModelOption,
    ScopeOption,
    SiteOption,
    UnverifiedOption,
    WaitOption,
    YesOption,
    clock_that_says,
    day_of,
    opened,
)
from bridge.cli.screen import CHANGES, DONE, FAILED, PENDING, REFUSED, REJECTIONS, Screen
from bridge.cli.show_plan import show_plan
from bridge.ports import Capabilities, Change, SafetyLimit, Status
from bridge.store.journal import LOST
from bridge.sync.clock import Clock
from bridge.sync.plan import ChangePlan, check_limits
from bridge.sync.push import PushReport, Watching
from bridge.sync.reviewed import plan_to_json
from jobs import push as job
from jobs.desired import Wish
from jobs.pilot import parse_scope
from jobs.sites import Workplace

Work = Callable[[Watching, Clock], PushReport]

COMPARING = "Comparing the files with the LMS"

AllOption = Annotated[bool, typer.Option("--all", help="Show every change, however many there are.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(plan)
    app.command()(push)
    app.command()(undo)


def plan(
    model: ModelOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Store the plan here, for `push --plan`.")] = None,
    show_all: AllOption = False,
    kind: KindOption = None,
    as_of: AsOfOption = None,
    scope: ScopeOption = None,
    limit: LimitOption = None,
    initial: InitialOption = False,
    unverified: UnverifiedOption = False,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a push would change in the LMS. Writes nothing. Exit code 0: no changes, 10: changes."""
    screen = Screen(as_json)
    wish = Wish(model, day_of(as_of), parse_scope(scope or ()))
    with opened(screen, site, kind=kind, limit=limit, initial=initial, unverified=unverified) as place:
        with screen.busy(COMPARING):
            found = job.plan(place, wish, clock_that_says(screen))
        if out is not None:
            job.store_plan(out, found)
        _present(screen, place, found, show_all=show_all)
        if out is not None:
            screen.aside(f"The plan is in {out}. To carry out exactly this: lms-bridge push --plan {out}")
    raise typer.Exit(DONE if found.empty else CHANGES)


def push(
    model: ModelOption = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Carry out exactly this stored plan, or nothing.", metavar="FILE")
    ] = None,
    yes: YesOption = False,
    kind: KindOption = None,
    as_of: AsOfOption = None,
    scope: ScopeOption = None,
    limit: LimitOption = None,
    initial: InitialOption = False,
    unverified: UnverifiedOption = False,
    wait: WaitOption = 0.0,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the LMS to what the files say: settle what is open, plan, ask, write, record."""
    screen = Screen(as_json)
    wish = Wish(model, day_of(as_of), parse_scope(scope or ()))
    with opened(screen, site, kind=kind, limit=limit, initial=initial, unverified=unverified, wait=wait) as place:
        report = _watched(
            screen, place, yes, lambda watching, clock: job.push(place, wish, clock, stored=plan, watching=watching)
        )
    _conclude(screen, report)


def undo(
    run: Annotated[int | None, typer.Argument(help="Number of the run to take back (see `lms-bridge runs`).")] = None,
    release: Annotated[
        bool, typer.Option("--release", help="Let pushes touch again what undoing holds (of one run, or of all).")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be taken back and what cannot come back; write nothing.")
    ] = False,
    yes: YesOption = False,
    limit: LimitOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back what a run wrote, and hold it back until released. Asks first, and obeys the limits."""
    screen = Screen(as_json)
    with opened(screen, site, limit=limit) as place:
        if release:
            count = job.release(place, run)
            if count:
                screen.say(f"{count:,} objects released: the next push may touch them again.")
            else:
                screen.say("Nothing was held" + (f" by undoing run {run}." if run is not None else "."))
            screen.give({"released": count})
            return
        if run is None:
            raise typer.BadParameter("which run? `lms-bridge runs` lists them.")
        if dry_run:
            with screen.busy(COMPARING):
                found = job.preview_undo(place, run, clock_that_says(screen))
            _present(screen, place, found)
            raise typer.Exit(DONE if found.empty else CHANGES)
        report = _watched(screen, place, yes, lambda watching, clock: job.undo(place, run, clock, watching))
    if report.state != "declined":
        screen.aside(f"The undone objects are held: pushes leave them alone until `lms-bridge undo {run} --release`.")
    _conclude(screen, report, idle="it is as it was before that run.")


def _present(screen: Screen, place: Workplace, found: ChangePlan, *, show_all: bool = False) -> None:
    """Show a plan that is not carried out now, and whether the limits would let it be."""
    plain = plan_to_json(found)
    capabilities = place.port.probe()
    show_plan(screen, found, capabilities, show_all=show_all)
    try:
        check_limits(found, capabilities, place.rules.limits)
    except SafetyLimit as over:
        plain["over_limits"] = str(over)
        screen.aside(f"The limits would stop this. {over}", "yellow")
    screen.give(plain)


def _watched(screen: Screen, place: Workplace, yes: bool, work: Work) -> PushReport:
    """Run a job that writes, asking before and showing progress while it does."""
    with screen.busy(COMPARING) as busy:

        def confirm(found: ChangePlan) -> bool:
            busy.done()
            capabilities: Capabilities = place.port.probe()
            check_limits(found, capabilities, place.rules.limits)
            show_plan(screen, found, capabilities)
            agreed = yes or not found.changes or _ask(screen)
            if agreed:
                busy.count("Writing", len(found.changes))
            return agreed

        done = 0

        def progress(_change: Change, _state: str) -> None:
            nonlocal done
            done += 1
            busy.reached(done)

        return work(Watching(confirm, progress), clock_that_says(screen))


def _ask(screen: Screen) -> bool:
    try:
        return typer.confirm("Carry this out?", err=True)
    except typer.Abort:
        screen.aside("\nNobody said yes. Where nobody can be asked, look at `lms-bridge plan` and push with --yes.")
        return False


def _conclude(screen: Screen, report: PushReport, idle: str = "the LMS says what the files say.") -> None:
    """Say what happened and end with the exit code that says so."""
    tally = report.tally
    screen.give(
        {
            "run": report.run_id,
            "state": report.state,
            "message": report.message,
            "counts": tally.to_json(),
            "refused": [
                {"kind": one.kind, "key": one.key, "action": one.action.value, "why": one.why} for one in tally.refused
            ],
            "noted": [
                {"kind": one.kind, "key": one.key, "action": one.action.value, "why": one.why} for one in tally.noted
            ],
            "settled": report.earlier.to_json(),
            "settled_refused": [
                {"kind": one.kind, "key": one.key, "action": one.action.value, "why": one.why}
                for one in report.earlier.refused
            ],
            "drift": [{"kind": one.kind, "key": one.key, "field": one.field} for one in report.plan.drifts],
        }
    )
    applied = tally.count("applied")
    if report.plan.drifts:
        idle = "somebody's edits are left as they are."
    words = {
        "done": f"Done: {applied:,} changes." if applied else f"Nothing to do: {idle}",
        "pending": (
            f"Handed over; {tally.count('pending'):,} changes are not answered yet. The next run asks again."
            if tally.count("pending")
            else "Nothing new to send; what was handed over earlier is not answered yet. The next run asks again."
        ),
        "failed": f"{applied:,} changes done, {len(tally.refused):,} not.",
        "stopped": f"Stopped after {applied:,} changes: {report.message}",
        "declined": report.message,
    }
    earlier = report.earlier
    if earlier.states:
        said = f"Of what earlier runs sent, {earlier.count('applied'):,} changes arrived"
        screen.say(said + (f" and {len(earlier.refused):,} did not:" if earlier.refused else "."))
        for one in earlier.refused[:20]:
            screen.say(f"  {one.action.value} {one.kind} {one.key}: {one.why}")
    screen.say(f"Run {report.run_id}. {words.get(report.state, report.state)}")
    for one in tally.refused[:20]:
        screen.say(f"  {one.action.value} {one.kind} {one.key}: {one.why}")
    if len(tally.refused) > 20:
        screen.say(f"  and {len(tally.refused) - 20:,} more: lms-bridge runs show {report.run_id}")
    if tally.noted:
        screen.say(f"Done, but with something to know: {len(tally.noted):,}")
        for one in tally.noted[:20]:
            screen.say(f"  {one.action.value} {one.kind} {one.key}: {one.why}")
        if len(tally.noted) > 20:
            screen.say(f"  and {len(tally.noted) - 20:,} more: lms-bridge runs show {report.run_id}")
    codes = {"done": DONE, "pending": PENDING, "declined": REFUSED}
    code = codes.get(report.state, FAILED)
    if report.state == "failed" and applied and not tally.count(Status.UNKNOWN, LOST):
        code = REJECTIONS
    if code:
        raise typer.Exit(code)
