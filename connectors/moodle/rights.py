"""Which permissions the account has: tried out, since Moodle lists them nowhere.

Each trial is a reading, or a writing that Moodle is sure to refuse for what it says (a due date of 1970, a scale and a
competency that do not exist, a second guest without a password), after it has looked at the permission and before it
has written anything: contracts/moodle-4.5, "capability missing", "unknown scaleid", "duedate in past", "due in past",
"unknown competency", "duplicate username". So a permission that is missing shows as `nopermissions`, one that is there
as another refusal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.ports import BridgeError, Finding, StopRun
from connectors.moodle import by_person, templates
from connectors.moodle.client import Call
from connectors.moodle.directory import GET_COURSES, SYSTEM
from connectors.moodle.errors import LacksPermission, NoEntry
from connectors.moodle.kinds import Context

NOWHERE = 2_147_483_647
"""An id that no row has: the largest one there can be."""
LONG_AGO = 1000
GUEST = 1
"""Every Moodle's guest account: somebody who is not the service account and has no plans."""

REMEDY = "Allow it in the account's role (Site administration > Users > Permissions > Define roles), system context."


@dataclass(frozen=True, slots=True)
class Trial:
    """A call that shows whether the account has a permission, and changes nothing either way."""

    capability: str
    stops: str
    function: str
    arguments: Mapping[str, Any]
    blocking: bool = False


TRIALS = (
    Trial(
        "moodle/competency:competencymanage",
        "frameworks and competencies cannot be made, changed, moved, linked to each other or retired",
        "core_competency_create_competency_framework",
        {
            "competencyframework": {
                "shortname": "lms-bridge check",
                "idnumber": "lms-bridge-check",
                "scaleid": NOWHERE,
                "scaleconfiguration": "[]",
            }
            | SYSTEM
        },
        blocking=True,
    ),
    Trial(
        "moodle/competency:templateview",
        "learning-plan templates cannot be compared, so that pushing them does not work",
        templates.LIST,
        {"context": SYSTEM, "includes": "self", "limit": 1},
    ),
    Trial(
        "moodle/competency:templatemanage",
        "learning-plan templates cannot be made, changed or hidden",
        templates.CREATE,
        {"template": {"shortname": "lms-bridge check", "duedate": LONG_AGO} | SYSTEM},
    ),
    Trial(
        "moodle/competency:planview",
        "learning plans of people cannot be compared or pulled, and without the report no ratings either",
        by_person.USER_PLANS,
        {"userid": GUEST},
    ),
    Trial(
        "moodle/user:create",
        "no accounts are made for new people",
        "core_user_create_users",
        {
            "users": [
                {
                    "username": "guest",
                    "firstname": "lms-bridge",
                    "lastname": "check",
                    "email": "check@lms-bridge.invalid",
                }
            ]
        },
    ),
    Trial(
        "moodle/user:update",
        "accounts are not kept true, and nobody is suspended",
        "core_user_update_users",
        {"users": [{"id": NOWHERE}]},
    ),
    Trial(
        "moodle/cohort:view",
        "cohorts and who is in them cannot be compared",
        "core_cohort_search_cohorts",
        {"query": "lms-bridge check", "context": SYSTEM, "includes": "self", "limitnum": 1},
    ),
)


def try_rights(context: Context) -> Iterator[Finding]:
    """Yield a finding for each permission that is missing, and one that says how many were tried."""
    functions = context.client.functions()
    trials = [trial for trial in (*TRIALS, *_own_plan(context)) if trial.function in functions]
    there = 0
    for trial in trials:
        missing = _is_missing(context, trial)
        there += missing is False
        if missing:
            yield _finding(trial)
    if GET_COURSES in functions:
        for finding in _courses(context, functions):
            there += finding is None
            if finding is not None:
                yield finding
    if there:
        yield Finding("permissions", True, f"{there} were tried out and are there.")


def _own_plan(context: Context) -> Iterator[Trial]:
    # Nobody's plan is looked at: the account's own would be due in 1970.
    yield Trial(
        "moodle/competency:planmanage",
        "no learning plans are made, changed or closed",
        "core_competency_create_plan",
        {
            "plan": {
                "name": "lms-bridge check",
                "userid": int(context.client.site()["userid"]),
                "status": 1,
                "duedate": LONG_AGO,
            }
        },
    )


def _courses(context: Context, functions: frozenset[str]) -> Iterator[Finding | None]:
    """Yield what is missing for courses, and None for each permission that is there."""
    seen = Trial(
        "moodle/course:view, moodle/course:viewhiddencourses",
        "courses are not seen, so that competencies are not linked to them and their completions are not read",
        GET_COURSES,
        {},
    )
    try:
        courses = list(context.directory.list_courses())
    except (LacksPermission, NoEntry, StopRun):
        yield _finding(seen)
        return
    yield None
    trials = (
        Trial(
            "moodle/competency:coursecompetencymanage",
            "competencies cannot be linked to courses",
            "core_competency_add_competency_to_course",
            {"courseid": courses[0] if courses else 0, "competencyid": NOWHERE},
        ),
        Trial(
            "moodle/course:viewparticipants",
            "activity completion cannot be pulled, since it is not seen who is in a course",
            by_person.ENROLLED,
            {"courseid": courses[0] if courses else 0, "options": [{"name": "limitnumber", "value": "1"}]},
        ),
    )
    for trial in trials if courses else ():
        if trial.function in functions:
            missing = _is_missing(context, trial)
            if missing is not None:
                yield _finding(trial) if missing else None


def _is_missing(context: Context, trial: Trial) -> bool | None:
    """Tell whether a permission is missing; None where Moodle's answer says nothing about it."""
    try:
        context.client.read(Call(trial.function, trial.arguments))
    except (LacksPermission, NoEntry):
        return True
    except StopRun:
        return None
    except BridgeError:
        # Refused for what the call says: the permission was looked at before.
        return False
    return False


def _finding(trial: Trial) -> Finding:
    several = "," in trial.capability
    return Finding(
        f"permission {trial.capability}",
        False,
        f"The account lacks {'them' if several else 'it'}: {trial.stops}.",
        REMEDY,
        trial.blocking,
    )
