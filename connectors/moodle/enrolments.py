"""Courses that serve what people's jobs need: enrolling those people, or saying which cohorts lack enrolment.

Nobody is ever taken out of a course because a job no longer needs it: what they have done there is theirs. Who is
enrolled already is never enrolled again, since that would reset start, end and suspension of the enrolment, and there
is one writer (contracts/moodle-4.5, Behaviour and Concurrency).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from bridge.model import Desired
from bridge.ports import Change, Found, Item, KindSpec, Outcome, Remark, Removal, Severity
from bridge.requirements import RequirementIndex
from connectors.moodle.accounts import Accounts
from connectors.moodle.bulk import Bulk, Entry
from connectors.moodle.client import Call
from connectors.moodle.cohorts import CohortKeys
from connectors.moodle.directory import good
from connectors.moodle.kinds import Context, Part, adopted, not_sent, settled
from connectors.moodle.staff import Staff

ENROLLED = "core_enrol_get_enrolled_users"
ENROL = "enrol_manual_enrol_users"
UNENROL = "enrol_manual_unenrol_users"

ENROLMENTS_PER_CALL = 100
COURSES_PER_READ = 5
"""A course can hold thousands of people, of whom Moodle answers one by one."""
COHORTS_NAMED = 5


def enrolment_key(person: str, course: str) -> str:
    """Return the key of an enrolment."""
    return f"{person}|{course}"


class Enrolments:
    """Who is in the courses that their jobs need, by the rule `course_enrolment`."""

    spec = KindSpec(
        "enrolment", "course enrolment", "course enrolments", Removal.KEEP, relation=True, by_key=True, of_people=True
    )

    def __init__(self, context: Context, accounts: Accounts, keys: CohortKeys) -> None:
        self._context = context
        self._accounts = accounts
        self._keys = keys
        self._wanted: dict[str, dict[str, str]] = {}
        rule = context.options.course_enrolment
        self.reads: Mapping[str, str] = (
            {} if rule == "off" else {ENROLLED: "nobody knows who is in the courses that jobs need"}
        )
        self.writes: Mapping[str, str] = {}
        if rule == "enrol":
            self.writes = {
                ENROL: "nobody is enrolled in the courses that their job needs",
                UNENROL: "enrolments that were just made cannot be taken back by undo",
            }

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return one item for each course that each person's job needs, where people are to be enrolled."""
        part = Part()
        self._wanted = {}
        staff = Staff.of(desired)
        options = self._context.options
        if staff is None or options.course_enrolment == "off" or not desired.architecture.course_links:
            return part
        self._wanted = self._needed(staff, desired, left_out)
        if options.course_enrolment != "enrol" or not self._wanted:
            return part
        directory = self._context.directory
        if not self._wanted.keys() <= directory.courses.keys():
            directory.wanted_courses |= self._wanted.keys()
            directory.list_courses()
        for course, people in self._wanted.items():
            if course not in directory.courses:
                says = (
                    f"{len(people):,} people need this course, but Moodle has none with this ID number or short name, "
                    "or the service account does not see it: nobody is enrolled."
                )
                part.remark(Severity.WARNING, "enrolment", course, says)
                continue
            for person in people:
                key = enrolment_key(person, course)
                part.items.append(Item("enrolment", key, {}, group=course, needs=(("user", person),)))
        return part

    def _needed(self, staff: Staff, desired: Desired, left_out: frozenset[str]) -> dict[str, dict[str, str]]:
        """Return the courses that jobs need, with their people, each with the cohort through which one would enrol."""
        architecture = desired.architecture
        index = RequirementIndex.of(architecture)
        courses: dict[str, list[str]] = {}
        for link in architecture.course_links:
            if link.competency not in left_out and self._is_ruled(link.course):
                courses.setdefault(link.competency, []).append(link.course)
        wanted: dict[str, dict[str, str]] = {link.course: {} for link in architecture.course_links}
        for person in staff.working():
            jobs = staff.jobs.get(person.key, ())
            if not jobs:
                continue
            needs = index.holding_for_jobs((staff.positions.get(job.position or ""), job.organisation) for job in jobs)
            job = jobs[0]
            cohort = self._keys.position(job.position) if job.position and job.position in staff.positions else ""
            cohort = cohort or (self._keys.unit(job.organisation) if job.organisation else "")
            for competency in needs:
                for course in courses.get(competency, ()):
                    wanted[course][person.key] = cohort
        return {course: people for course, people in wanted.items() if people}

    def _is_ruled(self, course: str) -> bool:
        return any(fnmatchcase(course.casefold(), one.casefold()) for one in self._context.options.enrol_in)

    # --- What is there ----------------------------------------------------------------------------------------------

    def read(self) -> Iterator[Found]:
        """Yield the enrolments of people whose account is certain, in the courses that jobs need."""
        if not self._accounts.was_read:
            for _ in self._accounts.read():
                pass
        yield from self._enrolments(self._wanted, self._accounts.ids)

    def read_some(self, keys: Collection[str]) -> Iterator[Found]:
        """Yield the enrolments of some people in some courses."""
        ends = [key.partition("|") for key in keys]
        directory = self._context.directory
        courses = {course for _, _, course in ends}
        if not courses <= directory.courses.keys():
            directory.wanted_courses |= courses
            directory.list_courses()
        yield from self._enrolments(courses, self._accounts.ids_of({person for person, _, _ in ends}))

    def _enrolments(self, courses: Collection[str], people: Mapping[str, int]) -> Iterator[Found]:
        person_of = {account: person for person, account in people.items()}
        for course, course_id, accounts in self._rolls(courses):
            for account in accounts:
                person = person_of.get(account)
                if person is not None:
                    key = enrolment_key(person, course)
                    detail = {"course": course_id, "account": account}
                    yield Found("enrolment", key, {}, f"{course_id}-{account}", detail=detail)

    def _rolls(self, courses: Collection[str]) -> Iterator[tuple[str, int, list[int]]]:
        """Yield each course that is there, with the accounts enrolled in it, suspended enrolments included."""
        known = self._context.directory.courses
        asked = [course for course in courses if course in known]
        options = [{"name": "userfields", "value": "id"}]
        calls = [Call(ENROLLED, {"courseid": known[course], "options": options}) for course in asked]
        answers = self._context.client.read_many(calls, size=COURSES_PER_READ)
        for course, answer in zip(asked, answers, strict=True):
            yield course, known[course], [int(row["id"]) for row in good(answer)]

    def observed(self) -> Iterator[Remark]:
        """Yield, for each course that is only reported on, which cohorts have people who are not enrolled."""
        if self._context.options.course_enrolment != "report" or not self._wanted:
            return
        if not self._accounts.was_read:
            for _ in self._accounts.read():
                pass
        directory = self._context.directory
        if not self._wanted.keys() <= directory.courses.keys():
            directory.wanted_courses |= self._wanted.keys()
            directory.list_courses()
        for course, _, accounts in self._rolls(self._wanted):
            enrolled = set(accounts)
            people = self._wanted[course]
            lacking = [person for person in people if self._accounts.ids.get(person) not in enrolled]
            if not lacking:
                continue
            cohorts = Counter(people[person] or "no cohort" for person in lacking).most_common()
            named = ", ".join(f"{cohort} ({count:,})" for cohort, count in cohorts[:COHORTS_NAMED])
            more = f" and {len(cohorts) - COHORTS_NAMED:,} more cohorts" if len(cohorts) > COHORTS_NAMED else ""
            says = (
                f"{len(lacking):,} of {len(people):,} people who need this course are not enrolled: {named}{more}. Add "
                'an enrolment method *Cohort sync* to the course, or set course_enrolment = "enrol".'
            )
            yield Remark(Severity.WAITS, "enrolment", course, says)

    # --- Writing ----------------------------------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Enrol people, in batches, one request after another."""
        done, changes = adopted(changes)
        yield from done
        role = self._context.options.student_role
        yield from self._carry_out(changes, ENROL, {"roleid": role})

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Take back enrolments, as only an undo asks."""
        yield from self._carry_out(changes, UNENROL, {})

    def _carry_out(self, changes: Sequence[Change], function: str, more: Mapping[str, int]) -> Iterator[Outcome]:
        entries: list[Entry] = []
        people = self._accounts.ids_of({change.key.partition("|")[0] for change in changes})
        directory = self._context.directory
        courses = {change.key.partition("|")[2] for change in changes}
        if not courses <= directory.courses.keys():
            directory.wanted_courses |= courses
            directory.list_courses()
        for change in changes:
            person, _, course = change.key.partition("|")
            if person not in people or course not in directory.courses:
                yield not_sent(change, "The account or the course is not in Moodle (yet), or not certain.")
                continue
            entries.append((change, {"userid": people[person], "courseid": directory.courses[course], **more}))
        bulk = Bulk(self._context.client, lambda rows: Call(function, {"enrolments": rows}), ENROLMENTS_PER_CALL)
        for group, result in bulk.run(entries):
            for change, row in group:
                yield settled(change, result, f"{row['courseid']}-{row['userid']}")
        if bulk.stopped is not None:
            raise bulk.stopped
