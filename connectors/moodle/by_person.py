"""Results read person by person, in batches: where no report fits, and for what no report has (plans, badges)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.model import (
    ActivityCompletion,
    Attainment,
    BadgeAward,
    CourseCompletion,
    PlanStatus,
    Result,
    competency_key,
)
from bridge.ports import BridgeError
from connectors.moodle.client import Call
from connectors.moodle.dates import moment_of
from connectors.moodle.errors import LacksFunction
from connectors.moodle.kinds import Context
from connectors.moodle.text import unescaped

GET_USERS = "core_user_get_users"
USERS_COURSES = "core_enrol_get_users_courses"
COURSE_STATUS = "core_completion_get_course_completion_status"
ACTIVITY_STATUS = "core_completion_get_activities_completion_status"
ENROLLED = "core_enrol_get_enrolled_users"
USER_PLANS = "core_competency_list_user_plans"
PLAN_COMPETENCIES = "core_competency_list_plan_competencies"
USER_BADGES = "core_badges_get_user_badges"

PEOPLE_AT_ONCE = 40
PLAN_STATES = {0: "draft", 1: "active", 2: "complete", 3: "waiting for review", 4: "in review"}
ACTIVITY_STATES = {0: "incomplete", 1: "complete", 2: "complete, passed", 3: "complete, failed"}


@dataclass(frozen=True, slots=True)
class Account:
    """A Moodle account: its id, its key where it has one, and what to call it where not."""

    id: int
    key: str
    username: str

    @property
    def fallback(self) -> str:
        """How a result names the account where it carries no key."""
        return "" if self.key else self.username


@dataclass(slots=True)
class Missed:
    """What could not be read, because Moodle refused it for one person or course alone."""

    count: int = 0
    why: str = ""

    def note(self, error: BridgeError) -> None:
        """Count one in."""
        self.count += 1
        self.why = self.why or str(error)

    def good(self, answers: Iterable[Any], empty: Any) -> Iterator[Any]:
        """Yield answers, with `empty` in the place of each that was refused."""
        for answer in answers:
            if isinstance(answer, BridgeError):
                self.note(answer)
                yield empty
            else:
                yield answer


def accounts(context: Context) -> list[Account]:
    """Return every account that is neither deleted nor a guest, by id."""
    functions = context.client.functions()
    if GET_USERS not in functions:
        raise LacksFunction(f"The service has no {GET_USERS}, so that there is nobody to ask about. Add it.")
    # The wildcard works on addresses (contracts/moodle-4.5, "wildcard email"); every account has one.
    rows = context.client.read(Call(GET_USERS, {"criteria": [{"key": "email", "value": "%"}]}))["users"]
    found = [
        Account(int(row["id"]), str(row.get("idnumber") or ""), str(row.get("username") or f"id:{row['id']}"))
        for row in rows
    ]
    return sorted(found, key=lambda account: account.id)


def completions(
    context: Context, people: Sequence[Account], known: Callable[[str, str], bool] | None, missed: Missed
) -> Iterator[CourseCompletion]:
    """Yield people's completed courses, with times; what is `known` already is left out, unasked."""
    asked: list[tuple[Account, dict[str, Any]]] = []
    calls = [Call(USERS_COURSES, {"userid": person.id, "returnusercount": False}) for person in people]
    answers = missed.good(context.client.read_many(calls, size=PEOPLE_AT_ONCE), [])
    for person, answer in zip(people, answers, strict=True):
        for course in answer:
            key = _course_key(course)
            if course.get("completed") and not (known is not None and known(person.key or person.username, key)):
                asked.append((person, course))
    statuses = context.client.read_many(
        [Call(COURSE_STATUS, {"courseid": int(course["id"]), "userid": person.id}) for person, course in asked]
    )
    for (person, course), status in zip(asked, statuses, strict=True):
        if isinstance(status, BridgeError):
            missed.note(status)
        yield CourseCompletion(
            person.key,
            _course_key(course),
            None if isinstance(status, BridgeError) else moment_of(_completed_at(status["completionstatus"])),
            unescaped(str(course.get("fullname") or "")),
            person.fallback,
        )


def _course_key(course: Mapping[str, Any]) -> str:
    """Return a course's key: its ID number, or its short name, which Moodle answers as for display."""
    return str(course.get("idnumber") or "") or unescaped(str(course["shortname"]))


def _completed_at(status: dict[str, Any]) -> int:
    """Return when the criteria were met: the last of all, or the first where one is enough; 0 where none tells.

    Moodle stamps a completion with the time of its last criterion (contracts/moodle-4.5, Pull).
    """
    times = [int(c["timecompleted"]) for c in status.get("completions", ()) if c.get("complete") and c["timecompleted"]]
    if not times:
        return 0
    return min(times) if int(status.get("aggregation") or 1) == 2 else max(times)


def activities(context: Context, courses: Sequence[tuple[int, str]], missed: Missed) -> Iterator[ActivityCompletion]:
    """Yield who is how far with each activity of some courses."""
    for course, course_key in courses:
        rows = context.client.read(
            Call(
                ENROLLED,
                {"courseid": course, "options": [{"name": "userfields", "value": "id,idnumber,username"}]},
            )
        )
        people = [
            Account(int(row["id"]), str(row.get("idnumber") or ""), str(row.get("username") or f"id:{row['id']}"))
            for row in rows
        ]
        calls = [Call(ACTIVITY_STATUS, {"courseid": course, "userid": person.id}) for person in people]
        answers = missed.good(context.client.read_many(calls), {"statuses": []})
        for person, answer in zip(people, answers, strict=True):
            for status in answer["statuses"]:
                state = int(status["state"])
                yield ActivityCompletion(
                    person.key,
                    course_key,
                    f"{status['modname']}:{status['cmid']}",
                    ACTIVITY_STATES.get(state, str(state)),
                    moment_of(status.get("timecompleted")) if state else None,
                    person.fallback,
                )


def plans(context: Context, people: Sequence[Account], missed: Missed) -> Iterator[PlanStatus]:
    """Yield the status of people's learning plans."""
    for person, plan in _plans(context, people, missed):
        yield PlanStatus(
            person.key,
            str(plan["id"]),
            unescaped(str(plan["name"])),
            PLAN_STATES.get(int(plan["status"]), str(plan["status"])),
            person.fallback,
        )


def attainments(context: Context, people: Sequence[Account], missed: Missed) -> Iterator[Attainment]:
    """Yield people's ratings in the competencies of their plans: all there is to see without a report."""
    frameworks = {id_: key for key, id_ in context.directory.frameworks.items()}
    found = list(_plans(context, people, missed))
    calls = [Call(PLAN_COMPETENCIES, {"id": int(plan["id"])}) for _, plan in found]
    answers = missed.good(context.client.read_many(calls), [])
    seen: set[tuple[int, int]] = set()
    for (person, _), answer in zip(found, answers, strict=True):
        for row in answer:
            competency = row["competency"]
            # A completed plan answers with what was archived in it, another field of the same form.
            rated = row.get("usercompetency") or row.get("usercompetencyplan") or {}
            place = (person.id, int(competency["id"]))
            framework = frameworks.get(int(competency["competencyframeworkid"]))
            if place in seen or framework is None or not competency["idnumber"] or rated.get("grade") is None:
                continue
            seen.add(place)
            yield Attainment(
                person.key,
                competency_key(framework, str(competency["idnumber"])),
                int(rated["grade"]),
                None if rated.get("proficiency") is None else bool(rated["proficiency"]),
                person.fallback,
            )


def _plans(context: Context, people: Sequence[Account], missed: Missed) -> Iterator[tuple[Account, dict[str, Any]]]:
    answers = missed.good(context.client.read_many([Call(USER_PLANS, {"userid": p.id}) for p in people]), [])
    for person, answer in zip(people, answers, strict=True):
        for plan in answer:
            yield person, plan


def badges(context: Context, people: Sequence[Account], missed: Missed) -> Iterator[Result]:
    """Yield people's badges."""
    calls = [Call(USER_BADGES, {"userid": person.id}) for person in people]
    answers = missed.good(context.client.read_many(calls), {"badges": []})
    for person, answer in zip(people, answers, strict=True):
        for badge in answer["badges"]:
            yield BadgeAward(
                person.key,
                str(badge.get("id") or badge.get("uniquehash")),
                unescaped(str(badge["name"])),
                moment_of(badge.get("dateissued")),
                moment_of(badge.get("dateexpire")),
                person.fallback,
            )
