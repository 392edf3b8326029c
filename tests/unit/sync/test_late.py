"""An LMS that answers hours later, or never, or cannot show what it holds."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from bridge.ports import Action, Change, Severity
from bridge.store import Store
from connectors.memory import Mode
from tests.contract.conformance import company
from tests.unit.sync.engine import FREE, Here, Killed, Wrapped, creations

HOUR = 3600.0


@pytest.fixture
def here(store: Store) -> Here:
    """A site whose import runs at night."""
    return Here(store, mode=Mode.LATE)


def handed_over(here: Here) -> int:
    """Return how many changes lie there, not carried out yet."""
    return sum(len(changes) for changes in here.shelf.handed_over.values())


def test_what_is_pending_is_neither_sent_again_nor_called_drift(here: Here) -> None:
    """Pushing and planning as often as one likes: it lies there once, and the plan says what it waits for."""
    report = here.push()
    assert report.state == "pending"
    lying = handed_over(here)
    assert lying == len(report.plan.changes)
    for _ in range(3):
        plan = here.plan()
        assert (plan.changes, plan.drifts) == ([], [])
        assert sum(remark.severity is Severity.WAITS for remark in plan.remarks) == lying
        assert here.push().state == "pending"
    assert handed_over(here) == lying


def test_the_base_moves_only_when_the_answer_is_there(here: Here) -> None:
    """And the run that waited is then called done, with its counts."""
    first = here.push()
    here.shelf.answer()
    assert here.runs()[0].state == "pending"
    here.push()
    assert here.plan().empty
    run = next(run for run in here.runs() if run.id == first.run_id)
    assert run.state == "done"
    assert run.counts["competency"]["create"] == {"applied": len(company.COMPETENCIES)}


def test_a_late_refusal_is_recorded_and_planned_again(here: Here) -> None:
    """The rest is applied; the run that sent it is called failed."""
    here.shelf.refused["LEAD/L2"] = "the LMS does not like it"
    first = here.push()
    here.shelf.answer()
    here.shelf.refused.clear()
    report = here.push()
    assert [(change.action, change.key) for change in report.plan.changes] == [(Action.CREATE, "LEAD/L2")]
    assert next(run for run in here.runs() if run.id == first.run_id).state == "failed"


def test_an_edit_while_the_answer_is_outstanding_is_not_called_drift(here: Here) -> None:
    """Nobody can tell yet whose doing it is."""
    here.push()
    here.shelf.answer()
    here.push()
    here.push(company.renamed(company.architecture(), "CARE/A1", "Washes hands well"))
    here.shelf.objects["competency", "CARE/A1"].fields["name"] = "Edited"
    plan = here.plan()
    assert (plan.changes, plan.drifts) == ([], [])


def test_after_its_deadline_an_unanswered_change_is_looked_up(store: Store) -> None:
    """Never carried out: it is planned and sent again, but not one second before the deadline."""
    here = Here(store, mode=Mode.NEVER)
    sent = len(here.push().plan.changes)
    here.now += HOUR - 1
    assert here.push().plan.changes == []
    here.now += 1
    assert len(here.push().plan.changes) == sent


def test_after_its_deadline_a_change_that_was_carried_out_is_found(here: Here) -> None:
    """The answer got lost for good, the objects are there: nothing is sent again, nothing adopted."""
    here.push()
    here.shelf.answer()
    here.shelf.answers.clear()
    here.now += HOUR
    report = here.push()
    assert report.plan.changes == []
    assert here.plan().empty
    assert here.open_entries() == []


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_death_between_handing_over_and_noting_the_receipt_sends_nothing_twice(here: Here, carried_out: bool) -> None:
    """The LMS may be at it: until the deadline it is waited for, then looked up."""

    def die() -> None:
        raise Killed

    with suppress(Killed):
        here.push(port=Wrapped(here.port(), after_submit=die))
    assert len(here.shelf.handed_over) == 1
    plan = here.push().plan
    assert ("framework", "CARE") not in {(change.kind, change.key) for change in plan.changes}
    if carried_out:
        here.shelf.answer()
        here.push()
        here.shelf.answer()
    else:
        here.shelf.handed_over.clear()
        here.now += HOUR
        here.push()
        here.shelf.answer()
    here.now += HOUR
    here.push()
    here.shelf.answer()
    here.push()
    assert here.plan().empty
    assert sorted(creations(here.shelf)) == sorted(set(creations(here.shelf)))


def test_an_lms_that_says_nothing_of_some_changes_leaves_them_open(here: Here) -> None:
    """What is not answered is as open as what is called open."""
    here.push()

    port = Wrapped(here.port())
    port.settle = lambda _receipt: iter(())  # type: ignore[method-assign]  # says nothing at all
    assert here.push(port=port).plan.changes == []
    here.shelf.answer()
    here.push()
    assert here.plan().empty


# --- Kinds that cannot be read ----------------------------------------------------------------------------------------


@pytest.fixture
def blind(store: Store) -> Here:
    """A site that does not show its competencies, pushed to once."""
    site = Here(store, unreadable=frozenset({"competency"}))
    site.push()
    return site


def test_without_reading_the_base_stands_in_and_a_second_push_writes_nothing(blind: Here) -> None:
    """The plan says that drift there is not checkable, and the LMS is never asked."""
    written = len(blind.shelf.writes)
    blind.shelf.objects["competency", "CARE/A1"].fields["name"] = "Edited"
    plan = blind.plan()
    assert plan.drifts == []
    assert any("not checkable" in remark.says for remark in plan.remarks)
    assert blind.push().state == "done"
    assert len(blind.shelf.writes) == written
    assert "competency" not in blind.shelf.reads


def test_without_reading_removals_wait_for_a_person(blind: Here) -> None:
    """Until somebody says that they looked."""
    model = company.without(company.architecture(), "LEAD/L2")
    plan = blind.plan(model)
    assert [change for change in plan.changes if change.kind == "competency"] == []
    assert any("--unverified" in remark.says and "1 competencies" in remark.says for remark in plan.remarks)
    blind.push(model)
    assert not blind.shelf.objects["competency", "LEAD/L2"].retired
    blind.push(model, replace(FREE, unverified=True))
    assert blind.shelf.objects["competency", "LEAD/L2"].retired
    assert blind.plan(model).empty


def test_without_reading_other_changes_go_through(blind: Here) -> None:
    """Renaming, moving, adding."""
    model = company.moved(company.renamed(company.architecture(), "CARE/A1", "New"), "CARE/A31", "CARE/A2")
    model = company.with_more(model, company.competency("CARE", "C", "Nutrition"))
    assert blind.push(model).state == "done"
    assert blind.shelf.objects["competency", "CARE/A1"].fields["name"] == "New"
    assert blind.shelf.objects["competency", "CARE/A31"].parent == "CARE/A2"
    assert blind.plan(model).empty


def test_without_reading_a_death_leaves_it_to_be_planned_again(blind: Here) -> None:
    """Nothing can be looked up; the next run says what it does not know and goes on."""
    model = company.renamed(company.architecture(), "CARE/A1", "New")

    def die(_changes: list[Change]) -> None:
        raise Killed

    with suppress(Killed):
        blind.push(model, port=Wrapped(blind.port(), before_submit=die))
    assert blind.push(model).state == "done"
    assert blind.open_entries() == []
    assert blind.shelf.objects["competency", "CARE/A1"].fields["name"] == "New"
