"""Cohorts of units and positions, and who is in them: by difference, and nobody else's memberships are touched."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr

from bridge.model import JobAssignment, Organisation
from bridge.ports import Severity
from connectors.moodle.client import BATCH
from tests.integration.moodle_people.site import Place
from tests.integration.moodle_people.small import AS_OF, STRUCTURE, UNITS, desired, job, person, terminated


def test_the_scheme_of_id_numbers_and_names_is_the_configured_one(here: Place) -> None:
    """Position cohorts can be left out altogether."""
    here.push(
        desired([person("P1")]), organisation_cohort="UNIT-{key}", position_cohort="", cohort_name="{key}: {name}"
    )
    assert {(row["idnumber"], row["name"]) for row in here.moodle.db.cohorts} == {
        ("UNIT-TOP", "TOP: Hospital"),
        ("UNIT-WARD", "WARD: Ward 7"),
    }
    assert here.memberships() == {("P1", "UNIT-WARD")}


def test_nested_units_roll_up_where_asked(here: Place) -> None:
    """People are then in the cohorts of the units above theirs too."""
    here.push(desired([person("P1")]), roll_up_organisations=True)
    assert here.memberships() == {("P1", "org:WARD"), ("P1", "org:TOP"), ("P1", "pos:N1")}


def test_several_jobs_put_somebody_into_all_their_cohorts_once(here: Place) -> None:
    """A job that has ended, or has not begun, does not count."""
    jobs = [
        JobAssignment("1", "P1", "WARD", "N1", "Nurse"),
        JobAssignment("2", "P1", "TOP", "N1", "Nurse", primary=False),
        JobAssignment("3", "P1", "TOP", "N2", "Past", end=AS_OF.replace(day=30), primary=False),
        JobAssignment("4", "P1", "TOP", "N2", "Coming", start=AS_OF.replace(year=2027), primary=False),
    ]
    here.push(desired([person("P1")], jobs))
    assert here.memberships() == {("P1", "org:WARD"), ("P1", "org:TOP"), ("P1", "pos:N1")}


def test_a_main_job_whose_start_moves_ahead_costs_its_person_nothing(here: Place) -> None:
    """HR writes the start of a new contract: they are here already, and stay in their cohorts."""
    here.push(desired([person("P1")]))
    report = here.push(desired([person("P1")], [job("P1", start=AS_OF.replace(year=2027))]))
    assert report.plan.changes == []


def test_a_move_leaves_the_old_cohorts_and_joins_the_new(here: Place) -> None:
    """Two out, two in, by one request each way."""
    here.push(desired([person("P1"), person("P2")]))
    report = here.push(desired([person("P1"), person("P2")], [job("P1", "TOP", "N2"), job("P2")]))
    assert report.plan.counts() == {"cohort_member": {"create": 2, "remove": 2}}
    assert here.memberships() == {("P1", "org:TOP"), ("P1", "pos:N2"), ("P2", "org:WARD"), ("P2", "pos:N1")}


def test_members_that_somebody_else_put_there_stay(here: Place) -> None:
    """Both strangers, and people of ours in a cohort that is not theirs by rule."""
    here.push(desired([person("P1"), person("P2")]))
    cohorts = {row["idnumber"]: row["id"] for row in here.moodle.db.cohorts}
    stranger = here.moodle.seed.user("guestlecturer", "G", "L", "g@x.example")
    for user, cohort in ((stranger["id"], "pos:N1"), (here.account("P1")["id"], "pos:N2")):
        here.moodle.db.cohort_members.insert({"cohortid": cohorts[cohort], "userid": user, "timeadded": 0})
    before = here.memberships()
    assert here.push(desired([person("P1"), person("P2")])).plan.changes == []
    assert here.memberships() == before


def test_a_membership_taken_away_by_hand_is_drift_and_put_back(here: Place) -> None:
    """As the policy says by default."""
    here.push(desired([person("P1")]))
    here.moodle.db.cohort_members.delete(next(iter(here.moodle.db.cohort_members))["id"])
    report = here.push(desired([person("P1")]))
    assert [(drift.kind, drift.field) for drift in report.plan.drifts] == [("cohort_member", "presence")]
    assert len(here.memberships()) == 2


def test_a_title_without_position_keeps_the_old_cohort_until_it_has_one(here: Place) -> None:
    """That nobody has decided yet is no reason to take somebody out."""
    here.push(desired([person("P1")]))
    report = here.push(desired([person("P1")], [job("P1", "TOP", None, title="Chief of something")]))
    assert here.memberships() == {("P1", "org:TOP"), ("P1", "pos:N1")}
    assert any("title without a position" in one.says for one in report.plan.remarks)


def test_leavers_keep_their_cohorts_unless_asked(here: Place) -> None:
    """With the rule turned round they leave them, and are still only suspended."""
    here.push(desired([person("P1")]))
    here.push(desired([terminated(person("P1"))]))
    assert len(here.memberships()) == 2
    here.push(desired([terminated(person("P1"))]), leavers_keep_cohorts=False)
    assert here.memberships() == set()


def test_a_unit_that_is_gone_has_its_cohort_hidden_and_shown_again(here: Place) -> None:
    """It is never deleted: enrolments may hang on it."""
    grown = replace(STRUCTURE, organisations=(*UNITS, Organisation("NEW", "New wing", "TOP")))
    here.push(desired([person("P1")], model=grown))
    here.push(desired([person("P1")]))
    visible = {row["idnumber"]: row["visible"] for row in here.moodle.db.cohorts}
    assert (visible["org:NEW"], visible["org:WARD"]) == (False, True)
    here.push(desired([person("P1")], model=grown))
    assert all(row["visible"] for row in here.moodle.db.cohorts)


def test_cohorts_made_hidden_are_not_shown_and_what_is_gone_only_noted(here: Place) -> None:
    """Where hidden is the rule, hiding says nothing."""
    grown = replace(STRUCTURE, organisations=(*UNITS, Organisation("NEW", "New wing", "TOP")))
    here.push(desired([person("P1")], model=grown), cohorts_visible=False)
    assert not any(row["visible"] for row in here.moodle.db.cohorts)
    report = here.push(desired([person("P1")]), cohorts_visible=False)
    assert report.plan.changes == []
    assert any("org:NEW is no longer in the files" in one.says for one in report.plan.remarks)


def test_a_cohort_in_a_course_category_and_a_duplicate_are_held(here: Place) -> None:
    """Updating one would move it; of two nobody knows which."""
    db = here.moodle.db
    category = here.moodle.seed.category("Nursing")
    place = here.moodle.site.add_context(40, category)
    base = {"name": "x", "description": "", "descriptionformat": 1, "visible": True}
    db.cohorts.insert({**base, "idnumber": "org:WARD", "contextid": place})
    for _ in range(2):
        db.cohorts.insert({**base, "idnumber": "pos:N1", "contextid": 1})
    report = here.push(desired([person("P1")]))
    held = {one.key: one.says for one in report.plan.remarks if one.severity is Severity.HELD}
    assert "course category" in held["org:WARD"]
    assert "Several cohorts" in held["pos:N1"]
    assert report.state == "done"
    assert here.memberships() == set()


def test_an_unknown_unit_is_named_and_costs_nobody_the_rest(here: Place) -> None:
    """Its people are in no cohort for it."""
    report = here.push(desired([person("P1")], [job("P1", "NOWHERE", "N1")]))
    assert here.memberships() == {("P1", "pos:N1")}
    assert any(one.key == "org:NOWHERE" and one.severity is Severity.WARNING for one in report.plan.remarks)


def test_without_batches_nothing_is_dropped_by_the_limit_on_form_variables(here: Place) -> None:
    """PHP drops variables beyond its limit without a word: lists are cut to fit."""
    functions = sorted(set(here.connector()._client.functions()) - {BATCH})
    here.moodle.seed.narrow_token("narrow", functions)
    people = [person(f"P{n:03d}") for n in range(240)]
    assert here.push(desired(people), token=SecretStr("narrow")).state == "done"
    assert BATCH not in here.moodle.requests.stats()["by_function"]
    assert len(here.memberships()) == 480
    assert here.plan(desired(people)).changes == []


@pytest.mark.parametrize("kind", ["user", "cohort", "cohort_member"])
def test_without_a_feed_nothing_about_people_is_planned(here: Place, kind: str) -> None:
    """Pushing the architecture alone neither reads nor changes accounts and cohorts."""
    here.push(desired([person("P1")]))
    wanted = replace(desired([]), workforce=None)
    report = here.push(wanted)
    assert not any(change.kind == kind for change in report.plan.changes)
    assert not any("user" in name for name in here.moodle.requests.stats()["by_function"])
