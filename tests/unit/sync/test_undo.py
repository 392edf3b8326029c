"""Undo: field for field, sibling for sibling, but for what it names; and it stays undone until released."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from bridge.model import Architecture, RelatedCompetencies, RollUp, RollUpRule, RuleOutcome
from bridge.ports import Action, FixConfiguration, SafetyLimit, Severity
from bridge.store import Store, state
from bridge.sync.plan import ChangePlan
from bridge.sync.policy import Limit, Limits, Policy, Stance
from bridge.sync.push import Watching
from connectors.memory import Mode
from tests.contract.conformance import company
from tests.unit.sync.engine import FREE, HERE, Here, Killed, Wrapped, ordered


def small() -> Architecture:
    """Return the small company's model."""
    return company.architecture()


def busy_day() -> Architecture:
    """Return the model after every sort of change at once."""
    model = company.renamed(small(), "CARE/A1", "Washes hands well")
    model = company.moved(model, "CARE/A31", "CARE/A2")
    model = company.without(model, "LEAD/L2")
    model = ordered(model, "CARE/B2", "CARE/B1")
    model = company.with_more(
        model, company.competency("CARE", "C", "Nutrition"), company.competency("CARE", "C1", "Weighs", "C")
    )
    return replace(
        model,
        related=(RelatedCompetencies("CARE/B1", "CARE/B2"),),
        rules=(
            RollUpRule("CARE/B", RollUp.ALL, RuleOutcome.EVIDENCE),
            RollUpRule("CARE/A", RollUp.ALL, RuleOutcome.NONE),
        ),
        requirements=small().requirements[:2],
    )


@pytest.fixture
def here(store: Store) -> Here:
    """A site that has been pushed to once."""
    site = Here(store)
    site.push()
    return site


def test_a_busy_day_is_taken_back_field_for_field(here: Here) -> None:
    """Texts, places, order, retired ones, links and rules: all as before; only what was made is named as gone."""
    before = here.held()
    day = here.push(busy_day())
    assert here.held() != before
    report = here.undo(day.run_id)
    assert report.state == "done"
    assert here.held() == before
    named = {remark.key for remark in report.plan.remarks if remark.severity is Severity.WARNING}
    made = {change.key for change in day.plan.changes if change.action is Action.CREATE}
    assert named == made
    assert here.runs()[0].undoes == day.run_id


@pytest.mark.parametrize("lines", [("B2", "B1"), ("B3", "B4", "B5", "B1", "B2"), ("B5", "B4", "B3", "B2", "B1")])
def test_siblings_stand_again_as_they_stood(here: Here, lines: tuple[str, ...]) -> None:
    """However many of them were moved, also two neighbours that went together."""
    more = [company.competency("CARE", f"B{number}", f"B{number}", "B") for number in (3, 4, 5)]
    model = company.with_more(small(), *more)
    here.push(model)
    before = here.held()
    day = here.push(ordered(model, *(f"CARE/{key}" for key in lines)))
    here.undo(day.run_id)
    assert here.held() == before


def test_two_neighbours_that_were_retired_come_back_in_their_order(here: Here) -> None:
    """Each behind the one it followed."""
    before = here.held()
    model = company.without(company.without(small(), "CARE/A1"), "CARE/A2")
    day = here.push(model)
    here.undo(day.run_id)
    assert here.held() == before


def test_the_next_push_leaves_it_undone_until_it_is_released(here: Here) -> None:
    """Held objects are named in the plan; once released the files are followed again."""
    day = here.push(busy_day())
    here.undo(day.run_id)
    before = here.held()
    plan = here.plan(busy_day())
    assert plan.changes == []
    assert any("held: undone" in remark.says for remark in plan.remarks)
    here.push(busy_day())
    assert here.held() == before
    here.release()
    assert here.push(busy_day()).state == "done"
    assert here.plan(busy_day()).empty
    assert here.shelf.objects["competency", "CARE/A1"].fields["name"] == "Washes hands well"


def test_holds_are_released_by_the_run_that_was_taken_back_or_the_one_that_took_it_back(here: Here) -> None:
    """A person names the run they undid; nothing of other runs is let go with it."""
    day = here.push(busy_day())
    undone = here.undo(day.run_id)
    with here.store.begin() as connection:
        held = state.load_holds(connection, HERE)
        assert held
        assert state.release(connection, HERE, day.run_id + 100) == 0
        assert state.release(connection, HERE, day.run_id) == len(held)
        assert state.load_holds(connection, HERE) == {}
    again = here.push(busy_day())
    undone = here.undo(again.run_id)
    with here.store.begin() as connection:
        assert state.release(connection, HERE, undone.run_id) == len(held)


@pytest.mark.parametrize("stance", [Stance.RESPECT, Stance.REPORT])
def test_once_released_it_is_our_change_again_and_nobodys_edit(here: Here, stance: Stance) -> None:
    """Where edits are respected, an undo must not look like one."""
    rules = replace(FREE, policy=Policy(stance))
    day = here.push(busy_day(), rules)
    after = here.held()
    here.push(busy_day(), rules)
    here.undo(day.run_id, rules)
    here.release()
    here.push(busy_day(), rules)
    assert here.held() == after


def test_what_somebody_touched_since_is_left_and_named(here: Here) -> None:
    """Renamed, moved, reordered or deleted after the run: each is left as it is; the rest is taken back."""
    day = here.push(busy_day())
    shelf = here.shelf.objects
    shelf["competency", "CARE/A1"].fields["name"] = "Edited"
    shelf["competency", "CARE/A31"].parent = "CARE/B"
    shelf["competency", "CARE/C"].fields["description"] = "Somebody's text"
    del shelf["competency", "CARE/C1"]
    report = here.undo(day.run_id)
    left = {remark.key for remark in report.plan.remarks if "left as it is" in remark.says}
    assert {"CARE/A1", "CARE/A31", "CARE/C"} <= left
    assert shelf["competency", "CARE/A1"].fields["name"] == "Edited"
    assert shelf["competency", "CARE/A31"].parent == "CARE/B"
    assert ("competency", "CARE/C") in shelf
    assert ("competency", "CARE/C1") not in shelf
    assert not shelf["competency", "LEAD/L2"].retired


def test_a_sibling_that_somebody_put_elsewhere_since_is_left(here: Here) -> None:
    """Our reordering was reordered once more by hand."""
    model = ordered(small(), "CARE/A3", "CARE/A1", "CARE/A2")
    day = here.push(model)
    for place, key in enumerate(("A1", "A3", "A2")):
        here.shelf.objects["competency", f"CARE/{key}"].order = float(place)
    before = here.held()
    report = here.undo(day.run_id)
    assert here.held() == before
    assert [remark.key for remark in report.plan.remarks if "left as it is" in remark.says] == ["CARE/A3"]


def test_what_has_somebodys_things_under_it_is_not_deleted(here: Here) -> None:
    """A branch made by the run, in which an administrator has put one of their own."""
    day = here.push(busy_day())
    mine = here.shelf.objects["competency", "CARE/C1"]
    here.shelf.objects["competency", "CARE/theirs"] = replace(mine, lms_id="99", parent="CARE/C1")
    report = here.undo(day.run_id)
    assert report.state == "done"
    assert {("competency", key) for key in ("CARE/C", "CARE/C1", "CARE/theirs")} <= set(here.shelf.objects)
    named = [remark.says for remark in report.plan.remarks if "under it, which this run did not make" in remark.says]
    assert any("CARE/theirs" in says for says in named)


def test_undo_obeys_the_limits(here: Here) -> None:
    """Taking back a large load is a large removal, `--initial` or not; nothing is sent, nothing held."""
    day = here.push(busy_day())
    limits = Limits({"competency.remove": Limit(1, 100, 0)}, initial=True)
    held = here.held()
    with pytest.raises(SafetyLimit, match="remove competencies: 2 is over the limit of 1"):
        here.undo(day.run_id, replace(FREE, limits=limits))
    assert here.held() == held
    assert here.plan(busy_day()).empty
    assert not any("held" in remark.says for remark in here.plan(busy_day()).remarks)


def test_an_undo_that_is_declined_holds_nothing(here: Here) -> None:
    """The person looked and said no."""
    day = here.push(busy_day())
    report = here.undo(day.run_id, watching=Watching(confirm=lambda _plan: False))
    assert report.state == "declined"
    assert not any("held" in remark.says for remark in here.plan(busy_day()).remarks)


def test_an_undo_can_itself_be_undone(here: Here) -> None:
    """Everything is there again as the day had left it, though what is made anew has new ids."""
    day = here.push(busy_day())
    after = here.held()
    first = here.undo(day.run_id)
    report = here.undo(first.run_id)
    assert report.state == "done"
    assert here.held() == after
    here.release()
    assert here.plan(busy_day()).empty


@pytest.mark.parametrize("number", list(range(1, 15)))
def test_an_undo_that_dies_half_way_is_finished_by_asking_for_it_again(here: Here, number: int) -> None:
    """Whichever write it dies after, the second ends where one alone would; and nothing is redone in between."""
    before = here.held()
    day = here.push(busy_day())
    outcomes = [0]

    def die(_outcome: Any) -> None:
        outcomes[0] += 1
        if outcomes[0] == number:
            raise Killed

    with suppress(Killed):
        here.undo(day.run_id, port=Wrapped(here.port(), after_outcome=die))
    here.push(busy_day())
    here.undo(day.run_id)
    assert here.held() == before
    here.push(busy_day())
    assert here.held() == before


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_reordering_that_was_half_undone_is_finished_too(here: Here, number: int) -> None:
    """Three siblings went to the end; the undo died after bringing back one or two."""
    more = [company.competency("CARE", f"B{number}", f"B{number}", "B") for number in (3, 4, 5, 6, 7)]
    model = company.with_more(small(), *more)
    here.push(model)
    before = here.held()
    day = here.push(ordered(model, *(f"CARE/B{place}" for place in (4, 5, 6, 7, 1, 2, 3))))
    outcomes = [0]

    def die(_outcome: Any) -> None:
        outcomes[0] += 1
        if outcomes[0] == number:
            raise Killed

    with suppress(Killed):
        here.undo(day.run_id, port=Wrapped(here.port(), after_outcome=die))
    here.undo(day.run_id)
    assert here.held() == before


def test_undoing_twice_does_nothing_the_second_time(here: Here) -> None:
    """And calls nothing of it somebody's edit."""
    day = here.push(busy_day())
    here.undo(day.run_id)
    written = len(here.shelf.writes)
    report = here.undo(day.run_id)
    assert report.state == "done"
    assert not any("changed in the LMS" in remark.says for remark in report.plan.remarks)
    writes = here.shelf.writes[written:]
    assert {change.kind for change in writes} <= {"rule"}


def test_undoing_an_adoption_forgets_and_holds(here: Here, new_store: Any) -> None:
    """The next push does not adopt it again; the LMS was never written to."""
    written = len(here.shelf.writes)
    fresh = Here(new_store(), here.shelf)
    taken = fresh.push()
    report = fresh.undo(taken.run_id)
    assert report.state == "done"
    assert fresh.plan().changes == []
    assert len(here.shelf.writes) == written
    fresh.release()
    assert {change.action for change in fresh.plan().changes} == {Action.ADOPT}


def test_deletions_by_rule_are_made_anew_and_named(here: Here) -> None:
    """With a new id; what hung on the old one cannot come back."""
    before = here.held()
    old = here.shelf.objects["competency", "LEAD/L2"].lms_id
    erasing = replace(FREE, policy=Policy(erase=frozenset({"competency"})))
    day = here.push(company.without(small(), "LEAD/L2"), erasing)
    assert ("competency", "LEAD/L2") not in here.shelf.objects
    report = here.undo(day.run_id, erasing)
    assert here.held() == before
    assert here.shelf.objects["competency", "LEAD/L2"].lms_id != old
    assert any("made again with a new id" in remark.says for remark in report.plan.remarks)


def test_only_runs_that_wrote_something_can_be_undone(here: Here) -> None:
    """Each refusal says why."""
    with pytest.raises(FixConfiguration, match="has no run 99"):
        here.undo(99)
    nothing = here.push()
    with pytest.raises(FixConfiguration, match="changed nothing"):
        here.undo(nothing.run_id)


def test_what_the_lms_has_not_answered_yet_is_not_undone_but_named(store: Store) -> None:
    """A nightly import: before it has run there is nothing to undo, afterwards there is."""
    here = Here(store, mode=Mode.LATE)
    here.push()
    here.shelf.answer()
    here.push()
    before = here.held()
    day = here.push(busy_day())
    with pytest.raises(FixConfiguration, match="answered by the LMS yet"):
        here.undo(day.run_id)
    here.shelf.answer()
    report = here.undo(day.run_id)
    assert report.state == "pending"
    here.shelf.answer()
    here.push(busy_day())
    assert here.held() == before


def test_a_plan_of_an_undo_writes_nothing(here: Here) -> None:
    """It can be looked at first."""
    from bridge.sync.undo import plan_undo
    from tests.unit.sync.engine import HERE

    day = here.push(busy_day())
    written = len(here.shelf.writes)
    port = here.port()
    plan = plan_undo(HERE, port, port.probe(), here.store, day.run_id, FREE, here.clock)
    assert isinstance(plan, ChangePlan)
    assert not plan.empty
    assert len(here.shelf.writes) == written
