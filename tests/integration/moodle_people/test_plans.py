"""Learning plans: one a person, equal to what the job needs, finished work kept, nobody else's plans touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.model import Architecture, Desired, Requirement, Target
from bridge.ports import Action, Change
from bridge.sync.clock import Clock
from bridge.sync.undo import undo
from connectors.moodle.client import Call, Fate
from tests.contract.conformance import company
from tests.integration.moodle_people.site import PEOPLE, Place
from tests.integration.moodle_people.small import STRUCTURE, UNITS, desired, job, person, terminated

KINDS = PEOPLE | {"framework", "competency", "template", "plan", "linked_plan", "plan_competency"}
ACTIVE, COMPLETE = 1, 2
EVERY_NIGHT: dict[str, Any] = {"plan_rotation_days": 1}


def model(*more: Requirement) -> Architecture:
    """Return the small company with its competencies: everyone A1, nurses B1, ward managers L1."""
    return replace(
        company.architecture(), organisations=UNITS, positions=STRUCTURE.positions,
        requirements=(*company.architecture().requirements, *more),
        given=company.GIVEN | {"organisations", "requirements"},
    )  # fmt: skip


def wanted(*jobs: Any, people: Any = None, architecture: Architecture | None = None) -> Desired:
    """Return what Moodle should say of Ada, or of some people with some jobs."""
    return desired(people or [person("P1")], jobs or None, model=architecture or model())


def plans(here: Place, key: str = "P1") -> list[dict[str, Any]]:
    """Return somebody's plans, oldest first, with the ID numbers of what is in them."""
    account = here.account(key)["id"]
    db = here.moodle.db
    return [
        {**row, "holds": [db.competencies.rows[link["competencyid"]]["idnumber"]
                          for link in db.plan_competencies.find("plan", row["id"])]}
        for row in db.plans.find("user", account)
    ]  # fmt: skip


def rate(here: Place, idnumber: str, key: str = "P1") -> None:
    """Rate somebody proficient in a competency."""
    competency = next(row["id"] for row in here.moodle.db.competencies if row["idnumber"] == idnumber)
    pair = {"userid": here.account(key)["id"], "competencyid": competency}
    rated = {"status": 0, "reviewerid": None, "proficiency": True, "grade": 3}
    stamps = {"timecreated": 0, "timemodified": 0, "usermodified": 3}
    here.moodle.db.user_competencies.insert({**pair, **rated, **stamps})


def without_adoptions(changes: list[Change]) -> list[tuple[str, str]]:
    """Return what is really done: kind and action of each change."""
    return sorted((one.kind, one.action.value) for one in changes if one.action is not Action.ADOPT)


def test_everybody_gets_one_plan_with_what_the_job_needs(here: Place) -> None:
    """Position, family, level, unit and everyone together; the levels stand in the description, and the marker."""
    more = (
        Requirement(Target.ORGANISATION, "TOP", "CARE/A2", 2, due_days=60, renewal_days=730),
        Requirement(Target.FAMILY, "NUR", "CARE/B2", 3),
        Requirement(Target.LEVEL, "2", "LEAD/L2", 1),
        Requirement(Target.POSITION, "N1", "CARE/A1", 2),
    )
    assert here.push(wanted(architecture=model(*more)), KINDS).state == "done"
    (plan,) = plans(here)
    assert plan["name"] == "Learning plan: Nurse"
    assert plan["status"] == ACTIVE
    assert plan["holds"] == ["A1", "A2", "B1", "B2", "L2"]
    assert "<li>Washes hands: 3 (Competent)</li>" in plan["description"]
    assert "Wears gloves: 2 (Competent with supervision), within 60 days, renewed every 730 days" in plan["description"]
    assert plan["description"].endswith("<p>[lms-bridge: P1|N1]</p>")


@pytest.mark.parametrize("nights", [1, 7])
def test_a_second_night_changes_nothing(here: Place, nights: int) -> None:
    """Whether all plans are read back or only those whose turn it is."""
    people = [person(f"P{n}") for n in range(12)]
    here.push(wanted(people=people), KINDS, plan_rotation_days=nights)
    report = here.push(wanted(people=people), KINDS, plan_rotation_days=nights)
    assert (report.plan.changes, here.writes()) == ([], 0)


def test_with_the_store_lost_plans_are_only_adopted(here: Place, tmp_path: Any) -> None:
    """The marker tells whose plan is whose; nobody gets a second one."""
    here.push(wanted(), KINDS)
    fresh = Place(here.moodle, tmp_path / "fresh") if (tmp_path / "fresh").mkdir() is None else here
    plan = fresh.plan(wanted(), KINDS)
    assert {change.action for change in plan.changes} == {Action.ADOPT}
    assert {"plan", "plan_competency"} <= {change.kind for change in plan.changes}
    for connector in fresh.open:
        connector.close()


def test_a_new_requirement_changes_the_plan_by_that_alone(here: Place) -> None:
    """One competency more, and the description that names its level."""
    here.push(wanted(), KINDS)
    grown = model(Requirement(Target.POSITION, "N1", "CARE/B2", 2))
    report = here.push(wanted(architecture=grown), KINDS, initial=False)
    assert without_adoptions(report.plan.changes) == [
        ("plan", "update"), ("plan_competency", "create"), ("template", "update")
    ]  # fmt: skip
    assert plans(here)[0]["holds"] == ["A1", "B1", "B2"]


def test_what_is_no_longer_needed_leaves_the_plan_unless_it_is_finished(here: Place) -> None:
    """The rating stays with the person either way."""
    grown = model(Requirement(Target.POSITION, "N1", "CARE/B2", 2), Requirement(Target.POSITION, "N1", "LEAD/L2", 2))
    here.push(wanted(architecture=grown), KINDS)
    rate(here, "B2")
    here.push(wanted(), KINDS)
    assert plans(here)[0]["holds"] == ["A1", "B1", "B2"]
    assert without_adoptions(here.plan(wanted(), KINDS, **EVERY_NIGHT).changes) == []
    here.push(wanted(), KINDS, plan_keeps_finished=False, **EVERY_NIGHT)
    assert plans(here)[0]["holds"] == ["A1", "B1"]
    assert len(here.moodle.db.user_competencies) >= 1


def test_leaving_a_position_closes_its_plan_with_the_work_done_and_the_next_gets_its_own(here: Place) -> None:
    """Coming back opens the first one again."""
    here.push(wanted(), KINDS)
    rate(here, "B1")
    here.push(wanted(job("P1", "WARD", "N2")), KINDS)
    nurse, manager = plans(here)
    assert (nurse["status"], manager["status"]) == (COMPLETE, ACTIVE)
    assert (nurse["holds"], manager["holds"]) == (["A1", "B1"], ["A1", "L1"])
    kept = here.moodle.db.user_competency_plans.find("plan", nurse["id"])
    assert [row["proficiency"] for row in kept if row["grade"] == 3] == [True]
    assert here.plan(wanted(job("P1", "WARD", "N2")), KINDS, **EVERY_NIGHT).changes == []
    here.push(wanted(), KINDS)
    assert [plan["status"] for plan in plans(here)] == [ACTIVE, COMPLETE]
    assert here.plan(wanted(), KINDS, **EVERY_NIGHT).changes == []


def test_leaving_a_position_may_let_go_of_the_plan_instead(here: Place) -> None:
    """It stays active, as the person's own, without the marker."""
    here.push(wanted(), KINDS, plan_leaving="unlink")
    here.push(wanted(job("P1", "WARD", "N2")), KINDS, plan_leaving="unlink")
    nurse, manager = plans(here)
    assert (nurse["status"], manager["status"]) == (ACTIVE, ACTIVE)
    assert "lms-bridge" not in nurse["description"]
    assert here.plan(wanted(job("P1", "WARD", "N2")), KINDS, plan_leaving="unlink", **EVERY_NIGHT).changes == []


def test_plans_may_be_kept_as_they_are_when_somebody_leaves_the_position(here: Place) -> None:
    """Then the bridge does nothing with the old one, and says nothing each night."""
    here.push(wanted(), KINDS, plan_leaving="keep")
    report = here.push(wanted(job("P1", "WARD", "N2")), KINDS, plan_leaving="keep")
    assert [plan["status"] for plan in plans(here)] == [ACTIVE, ACTIVE]
    assert not any("P1|N1" in one.key for one in report.plan.remarks)


def test_leavers_and_people_nobody_speaks_of_keep_their_plans(here: Place) -> None:
    """The account is suspended; the plan is history."""
    people = [person("P1"), person("P2")]
    here.push(wanted(people=people), KINDS)
    here.push(wanted(people=[terminated(people[0])]), KINDS)
    assert [plans(here, key)[0]["status"] for key in ("P1", "P2")] == [ACTIVE, ACTIVE]


def test_a_title_without_position_leaves_the_plan_as_it_is(here: Place) -> None:
    """Nobody has decided yet what is needed now."""
    here.push(wanted(), KINDS)
    report = here.push(wanted(job("P1", "WARD", None, title="Chief of something")), KINDS)
    assert [(plan["status"], plan["holds"]) for plan in plans(here)] == [(ACTIVE, ["A1", "B1"])]
    assert any("their plans stay" in one.says for one in report.plan.remarks)


def test_who_has_no_plan_and_no_position_yet_gets_what_everybody_needs(here: Place) -> None:
    """A hire whose title nobody has decided about; once it has a position the plan of that takes its place."""
    unmapped = job("P1", "WARD", None, title="Chief of something")
    report = here.push(wanted(unmapped), KINDS)
    assert report.state == "done"
    assert [(plan["status"], plan["holds"]) for plan in plans(here)] == [(ACTIVE, ["A1"])]
    assert here.push(wanted(unmapped), KINDS, **EVERY_NIGHT).plan.changes == []
    here.push(wanted(), KINDS)
    assert [(plan["status"], plan["holds"]) for plan in plans(here)] == [(COMPLETE, ["A1"]), (ACTIVE, ["A1", "B1"])]
    assert here.push(wanted(unmapped), KINDS, **EVERY_NIGHT).plan.changes == []
    assert [plan["status"] for plan in plans(here)] == [COMPLETE, ACTIVE]


def test_a_job_without_title_ends_the_plan_of_the_last_position_at_once(here: Place) -> None:
    """Nobody waits for a decision there: one plan is closed and the other made in the same night."""
    here.push(wanted(), KINDS)
    here.push(wanted(job("P1", "WARD", None, title="")), KINDS)
    assert [(plan["status"], plan["holds"]) for plan in plans(here)] == [(COMPLETE, ["A1", "B1"]), (ACTIVE, ["A1"])]
    assert here.push(wanted(job("P1", "WARD", None, title="")), KINDS, **EVERY_NIGHT).plan.changes == []


def test_plans_of_others_are_never_touched(here: Place) -> None:
    """A manager's own plan for the person stays letter by letter."""
    here.push(wanted(), KINDS)
    row = here.moodle.db.plans.insert(
        {**plans(here)[0], "id": None, "name": "Talk with Ada", "description": "<p>Coaching</p>", "holds": None}
    )
    before = dict(row)
    here.push(wanted(job("P1", "TOP", "N2")), KINDS, **EVERY_NIGHT)
    assert row == before


def test_a_plan_that_somebody_completed_is_finished_until_more_is_needed(here: Place) -> None:
    """Renaming a competency opens nothing; a new requirement does."""
    here.push(wanted(), KINDS)
    done = Call("core_competency_complete_plan", {"planid": plans(here)[0]["id"]})
    assert here.connector()._client.write([done])[0].fate is Fate.DONE
    renamed = company.renamed(model(), "CARE/B1", "Checks every dose")
    here.push(wanted(architecture=renamed), KINDS, **EVERY_NIGHT)
    assert plans(here)[0]["status"] == COMPLETE
    grown = model(Requirement(Target.POSITION, "N1", "CARE/B2", 2))
    report = here.push(wanted(architecture=grown), KINDS, **EVERY_NIGHT)
    assert report.state == "done"
    (plan,) = plans(here)
    assert plan["status"] == ACTIVE
    assert "B2" in plan["holds"]
    here.push(wanted(architecture=grown), KINDS, **EVERY_NIGHT)
    assert here.plan(wanted(architecture=grown), KINDS, **EVERY_NIGHT).changes == []


def test_where_an_administrator_linked_template_and_cohort_membership_makes_the_plans(here: Place) -> None:
    """The bridge makes none for them, and closes the old one when somebody leaves the position."""
    here.push(wanted(), KINDS - {"plan", "plan_competency", "linked_plan"})
    db = here.moodle.db
    template = next(row["id"] for row in db.templates if "[lms-bridge: N1]" in row["description"])
    cohort = next(row["id"] for row in db.cohorts if row["idnumber"] == "pos:N1")
    here.moodle.link_template_to_cohort(template, cohort)
    assert here.moodle.run_cron()["plans"] == 1
    report = here.push(wanted(), KINDS)
    assert not any(one.kind == "plan" for one in report.plan.changes)
    assert [one.action for one in report.plan.changes if one.kind == "linked_plan"] == [Action.ADOPT]
    here.push(wanted(job("P1", "WARD", "N2")), KINDS)
    by_template, own = plans(here)
    assert (by_template["templateid"], by_template["status"]) == (template, COMPLETE)
    assert own["holds"] == ["A1", "L1"]


def test_undo_opens_a_linked_plan_again(here: Place) -> None:
    """Closed because somebody left the position; taken back by a process that has read no files."""
    here.push(wanted(), KINDS - {"plan", "plan_competency", "linked_plan"})
    db = here.moodle.db
    template = next(row["id"] for row in db.templates if "[lms-bridge: N1]" in row["description"])
    here.moodle.link_template_to_cohort(template, next(r["id"] for r in db.cohorts if r["idnumber"] == "pos:N1"))
    here.moodle.run_cron()
    here.push(wanted(), KINDS)
    report = here.push(wanted(job("P1", "WARD", "N2")), KINDS)
    assert plans(here)[0]["status"] == COMPLETE
    undone = undo("here", here.connector(), here.store, report.run_id, here.rules(KINDS, True), Clock())
    assert undone.state == "done"
    assert [(plan["templateid"], plan["status"]) for plan in plans(here)] == [(template, ACTIVE)]


def test_a_linked_plan_is_unlinked_where_that_is_the_rule(here: Place) -> None:
    """It becomes the person's own, with the template's competencies."""
    here.push(wanted(), KINDS - {"plan", "plan_competency", "linked_plan"})
    db = here.moodle.db
    template = next(row["id"] for row in db.templates if "[lms-bridge: N1]" in row["description"])
    here.moodle.link_template_to_cohort(template, next(r["id"] for r in db.cohorts if r["idnumber"] == "pos:N1"))
    here.moodle.run_cron()
    here.push(wanted(), KINDS, plan_leaving="unlink")
    here.push(wanted(job("P1", "WARD", "N2")), KINDS, plan_leaving="unlink")
    first = plans(here)[0]
    assert (first["templateid"], first["origtemplateid"], first["status"]) == (None, template, ACTIVE)


def test_an_edit_in_moodle_is_noticed_when_the_turn_comes(here: Place) -> None:
    """At once where everything is read every night, otherwise within the rotation; and put back."""
    here.push(wanted(), KINDS)
    here.moodle.db.plan_competencies.delete(next(iter(here.moodle.db.plan_competencies))["id"])
    report = here.push(wanted(), KINDS, **EVERY_NIGHT)
    assert without_adoptions(report.plan.changes) == [("plan_competency", "create")]
    assert sorted(plans(here)[0]["holds"]) == ["A1", "B1"]


def test_answers_that_get_lost_make_no_plan_twice(here: Place) -> None:
    """Looked up by the marker, person by person."""
    people = [person(f"P{n}") for n in range(30)]
    for name in ("core_competency_create_plan", "core_competency_add_competency_to_plan"):
        here.moodle.faults.add("reset_after_commit", function=name, count=1)
    assert here.push(wanted(people=people), KINDS).state == "done"
    assert len(here.moodle.db.plans) == 30
    assert len(here.moodle.db.plan_competencies) == 60
    assert here.plan(wanted(people=people), KINDS, **EVERY_NIGHT).changes == []


def test_undo_takes_back_plans_and_opens_those_that_were_closed(here: Place) -> None:
    """After undoing a move the old plan is open and the new one gone."""
    here.push(wanted(), KINDS)
    report = here.push(wanted(job("P1", "WARD", "N2")), KINDS)
    undo("here", here.connector(), here.store, report.run_id, here.rules(KINDS, True), Clock())
    (plan,) = plans(here)
    assert (plan["status"], plan["holds"]) == (ACTIVE, ["A1", "B1"])
    assert plan["description"].endswith("<p>[lms-bridge: P1|N1]</p>")


def test_one_plan_holds_what_several_jobs_need(here: Place) -> None:
    """Named after the primary one."""
    jobs = (job("P1"), replace(job("P1", "TOP", "N2"), key="P1/2", primary=False))
    here.push(wanted(*jobs), KINDS)
    (plan,) = plans(here)
    assert (plan["name"], plan["holds"]) == ("Learning plan: Nurse", ["A1", "B1", "L1"])


def test_without_the_files_of_requirements_nothing_about_plans_is_planned(here: Place) -> None:
    """What no file speaks of is not wanted away."""
    here.push(wanted(), KINDS)
    bare = replace(model(), requirements=(), given=frozenset({"organisations", "positions"}))
    assert without_adoptions(here.plan(wanted(architecture=bare), KINDS, **EVERY_NIGHT).changes) == []
