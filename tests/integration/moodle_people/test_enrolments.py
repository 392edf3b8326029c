"""Courses that serve what jobs need: cohorts without enrolment are named, or their people enrolled, by rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.model import CourseLink, Desired, Requirement, Target
from bridge.ports import Remark
from bridge.sync.clock import Clock
from bridge.sync.undo import undo
from tests.contract.conformance import company
from tests.integration.moodle_people.site import Place
from tests.integration.moodle_people.small import STRUCTURE, UNITS, desired, job, person, terminated

KINDS = frozenset({"user", "cohort", "cohort_member", "framework", "competency", "course_link", "enrolment"})


@pytest.fixture
def course(here: Place) -> int:
    """A course on the site that serves one of the company's competencies."""
    return here.moodle.seed.course("CARE", "Care of wounds", idnumber="CARE-1")


def wanted(*people: Any, jobs: Any = None, links: tuple[CourseLink, ...] | None = None) -> Desired:
    """Return what Moodle should say of some people; nurses need a competency that a course serves."""
    whole = company.architecture()
    competency = whole.competencies[0].key
    model = replace(
        whole,
        organisations=UNITS,
        positions=STRUCTURE.positions,
        course_links=(CourseLink("CARE-1", competency),) if links is None else links,
        requirements=(Requirement(Target.POSITION, "N1", competency, 1),),
        given=company.GIVEN | {"organisations", "requirements"},
    )
    return desired(people, jobs, model=model)


def enrolled(here: Place, course: int) -> set[str]:
    """Return the ID numbers of the people in a course."""
    db = here.moodle.db
    return {db.users.rows[row["userid"]]["idnumber"] for row in db.enrolments if row["courseid"] == course}


def said(remarks: list[Remark]) -> list[str]:
    """Return what is said of enrolments."""
    return [one.says for one in remarks if one.kind == "enrolment"]


NURSES = (person("P1"), person("P2", "Grace", "Hopper"))
WITH_MANAGER = (*NURSES, person("P3", "Mary", "Seacole"))
JOBS = (job("P1"), job("P2"), job("P3", position="N2"))


def test_by_default_cohorts_whose_people_are_not_enrolled_are_named(here: Place, course: int) -> None:
    """Nobody is enrolled; the plan says which cohort, how many people, and what to do; then no more once they are."""
    report = here.push(wanted(*WITH_MANAGER, jobs=JOBS), KINDS)
    assert report.state == "done"
    assert enrolled(here, course) == set()
    (says,) = said(here.plan(wanted(*WITH_MANAGER, jobs=JOBS), KINDS).remarks)
    assert "2 of 2 people" in says
    assert "pos:N1 (2)" in says
    for key in ("P1", "P2"):
        here.moodle.seed.enrol(course, here.account(key)["id"])
    assert said(here.plan(wanted(*WITH_MANAGER, jobs=JOBS), KINDS).remarks) == []


def test_a_role_that_may_not_be_given_is_refused_with_where_to_allow_it(here: Place, course: int) -> None:
    """Moodle keeps a list of which role may give which (seen on Moodle 4.5.6); the message says where it is."""
    report = here.push(wanted(*WITH_MANAGER, jobs=JOBS), KINDS, course_enrolment="enrol", student_role=77)
    assert {one.kind for one in report.tally.refused} == {"enrolment"}
    assert all("Define roles > Allow role assignments" in one.why for one in report.tally.refused)
    assert enrolled(here, course) == set()


def test_where_the_rule_says_so_people_are_enrolled_once_and_stay(here: Place, course: int) -> None:
    """Only those whose job needs it; the second push writes nothing; who leaves the position stays enrolled."""
    rule = {"course_enrolment": "enrol"}
    report = here.push(wanted(*WITH_MANAGER, jobs=JOBS), KINDS, **rule)
    assert report.plan.counts()["enrolment"] == {"create": 2}
    assert enrolled(here, course) == {"P1", "P2"}
    roles = {row["roleid"] for row in here.moodle.db.role_assignments if row["userid"] == here.account("P1")["id"]}
    assert roles == {5}
    report = here.push(wanted(*WITH_MANAGER, jobs=JOBS), KINDS, **rule)
    assert (report.plan.changes, here.writes()) == ([], 0)
    moved = (job("P1", position="N2"), job("P2"), job("P3", position="N2"))
    here.push(wanted(terminated(WITH_MANAGER[0]), *WITH_MANAGER[1:], jobs=moved), KINDS, **rule)
    assert enrolled(here, course) == {"P1", "P2"}


def test_an_enrolment_that_is_there_is_never_made_again(here: Place, course: int) -> None:
    """Enrolling once more would end a suspension and reset dates: it is adopted as it is."""
    here.push(wanted(*NURSES), KINDS)
    account = here.account("P1")["id"]
    here.moodle.seed.enrol(course, account)
    row = here.moodle.db.enrolments.first("pair", (course, account))
    assert row is not None
    here.moodle.db.enrolments.update(row, {"status": 1, "timeend": 1_900_000_000})
    report = here.push(wanted(*NURSES), KINDS, course_enrolment="enrol")
    assert report.plan.counts()["enrolment"] == {"adopt": 1, "create": 1}
    kept = here.moodle.db.enrolments.first("pair", (course, account))
    assert kept is not None
    assert (kept["status"], kept["timeend"]) == (1, 1_900_000_000)


def test_an_undo_takes_back_the_enrolments_that_the_run_made_and_no_others(here: Place, course: int) -> None:
    """Who was in the course before stays in it."""
    here.push(wanted(*NURSES), KINDS)
    here.moodle.seed.enrol(course, here.account("P1")["id"])
    run = here.push(wanted(*NURSES), KINDS, course_enrolment="enrol").run_id
    connector = here.connector(course_enrolment="enrol")
    assert undo("here", connector, here.store, run, here.rules(KINDS, True), Clock()).state == "done"
    assert enrolled(here, course) == {"P1"}


def test_a_course_that_moodle_does_not_have_is_named_once_and_others_go_on(here: Place, course: int) -> None:
    """One warning with the number of people; and rules can leave courses out."""
    competency = company.architecture().competencies[0].key
    links = (CourseLink("CARE-1", competency), CourseLink("GONE", competency))
    kinds = KINDS - {"course_link"}
    report = here.push(wanted(*NURSES, links=links), kinds, course_enrolment="enrol")
    (says,) = said(report.plan.remarks)
    assert "2 people need this course" in says
    assert enrolled(here, course) == {"P1", "P2"}
    plan = here.plan(wanted(*NURSES, links=links), kinds, course_enrolment="enrol", enrol_in=("OTHER-*",))
    assert said(plan.remarks) == []
