"""Decisions are added and never changed; what holds, what they say about other groups, and what undoing does."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from bridge.store import Store
from jobs.title_log import Layered, StoredLog, recorded
from mappings.positions import NoDecisions
from mappings.titles.catalogue import Catalogue, Position
from mappings.titles.decisions import (
    CannotUndo,
    Decision,
    DecisionsInMemory,
    Placement,
    RecordedDecisions,
    Verdict,
    answers,
    crosswalk,
    history,
    impact,
    standing,
    status,
    undo,
)
from mappings.titles.legacy import LegacyGroup
from tests.databases import address

NOW = dt.datetime(2026, 11, 1, 9, 0, tzinfo=dt.UTC)
CATALOGUE = Catalogue(
    (Position("A", "Cook", "F", "2"), Position("B", "Chef", "F", "3"), Position("C", "Clerk", "G", "2"))
)


def placed(title: str, department: str, key: str, people: int = 3, **more: object) -> Decision:
    """A decision that places a whole group."""
    decision = Decision(title, department, "", people, Verdict.PLACED, "Ana", NOW, (Placement(key, people),))
    return replace(decision, **more)  # type: ignore[arg-type]


def test_the_last_decision_that_is_not_withdrawn_holds() -> None:
    """Undoing brings back what stood before, and only for its own group."""
    log = DecisionsInMemory()
    log.add([placed("Cook", "Kitchen", "A"), placed("Cook", "Canteen", "A")])
    log.add([placed("Cook", "Kitchen", "B")])
    last = standing(log.all())
    assert {d.department: d.position for d in last.values()} == {"Kitchen": "B", "Canteen": "A"}
    log.add(undo(log.all(), 3, "Ben", "a mistake", NOW))
    assert {d.department: d.position for d in standing(log.all()).values()} == {"Kitchen": "A", "Canteen": "A"}
    assert [d.verdict for d in history(log.all(), "COOK")][-1] is Verdict.WITHDRAWN


def test_what_is_superseded_or_withdrawn_cannot_be_undone_again() -> None:
    """The message names what stands in its place."""
    log = DecisionsInMemory()
    log.add([placed("Cook", "Kitchen", "A"), placed("Cook", "Kitchen", "B")])
    with pytest.raises(CannotUndo, match="decision 2 of Ana stands in its place"):
        undo(log.all(), 1, "Ben", "", NOW)
    with pytest.raises(CannotUndo, match="no decision and no batch 9"):
        undo(log.all(), 9, "Ben", "", NOW)


def test_a_batch_is_undone_together() -> None:
    """All of a workbook's decisions that still hold."""
    log = DecisionsInMemory()
    log.add([placed("Cook", "Kitchen", "A", batch="w1"), placed("Clerk", "Office", "C", batch="w1")])
    log.add(undo(log.all(), "w1", "Ben", "", NOW))
    assert standing(log.all()) == {}


def test_ingest_finds_the_exact_group_then_the_department_then_the_title_where_all_agree() -> None:
    """A title decided two ways decides nothing for a third department."""
    made = [placed("Cook", "Kitchen", "A", id=1), placed("Cook", "Canteen", "B", id=2), placed("Clerk", "X", "C", id=3)]
    found = RecordedDecisions(made, NOW.date())
    assert found.position_for(" cook", "KITCHEN", "") == "A"
    assert found.position_for("Cook", "Kitchen", "9") == "A"
    assert found.position_for("Cook", "Bar", "") is None
    assert found.position_for("Clerk", "Bar", "") == "C"
    assert Layered(NoDecisions(), found).position_for("Clerk", "Bar", "") == "C"


def test_a_decision_holds_from_its_day() -> None:
    """Until then the one before it does."""
    later = placed("Cook", "Kitchen", "B", id=2, effective=dt.date(2027, 1, 1))
    made = [placed("Cook", "Kitchen", "A", id=1), later]
    assert RecordedDecisions(made, dt.date(2026, 12, 31)).position_for("Cook", "Kitchen", "") == "A"
    assert RecordedDecisions(made, dt.date(2027, 1, 1)).position_for("Cook", "Kitchen", "") == "B"


def test_a_split_group_answers_with_shares_and_finds_no_single_position() -> None:
    """People of a split group must be told apart by something else."""
    split = replace(placed("Cook", "Kitchen", "A", 5, id=1), placements=(Placement("A", 3), Placement("B", 2)))
    assert RecordedDecisions([split], NOW.date()).position_for("Cook", "Kitchen", "") is None
    answer = answers([split])[split.group]
    assert answer.placements == (("A", 3.0), ("B", 2.0))
    rows = list(crosswalk([split], CATALOGUE))
    assert [(row[4], row[5], row[7]) for row in rows] == [("A", "Cook", 3), ("B", "Chef", 2)]


def test_status_counts_people_families_conflicts_and_orphans() -> None:
    """Shares are of the groups there are now."""
    groups = [LegacyGroup("Cook", "Kitchen", "", 6), LegacyGroup("Clerk", "Office", "", 4)]
    made = [
        placed("Cook", "Kitchen", "A", 6, id=1),
        placed("Cook", "Kitchen", "B", 6, id=2, reviewer="Ben"),
        placed("Old", "Office", "GONE", 1, id=3),
    ]
    now = status(groups, made, CATALOGUE)
    assert (now.people_placed, now.people, now.titles_placed, now.titles) == (6, 10, 1, 2)
    assert now.by_family == {"F": 6}
    assert [d.id for d in now.conflicts] == [2]
    assert [d.id for d in now.orphans] == [3]
    assert now.empty_positions == ("A", "C")


def test_impact_counts_moves_families_levels_and_lost_plans() -> None:
    """Cooks who become clerks change all of it; B has no plan to go to."""
    groups = [LegacyGroup("Cook", "Kitchen", "", 6), LegacyGroup("Clerk", "Office", "", 4)]
    cook, clerk = groups
    needs = {"A": frozenset({"knives"})}
    found = impact(
        groups,
        {cook.id: "A", clerk.id: None},
        {cook.id: "B", clerk.id: "C"},
        CATALOGUE,
        lambda _, position: needs.get(position or "", frozenset()),
    )
    assert (found.people, found.position, found.first_position, found.family, found.level) == (10, 10, 4, 4, 10)
    assert (found.plan, found.lose_plan) == (6, 6)
    assert found.losers == (("Cook", "Kitchen", "", 6),)


def test_the_store_keeps_decisions_as_they_were_made(tmp_path: object) -> None:
    """Every field comes back; ids grow."""
    store = Store.open(address(tmp_path / "s.sqlite"))
    try:
        log = StoredLog(store)
        made = placed("Köchin", "Küche", "A", 3, reason="wie besprochen", effective=dt.date(2027, 1, 1), batch="w@1")
        (kept,) = log.add([replace(made, excluded=("C",), catalogue="abc")])
        assert log.all() == [kept]
        assert kept.id == 1
        assert recorded(store, dt.date(2027, 1, 1)).position_for("köchin", "küche", "") == "A"
        assert not recorded(store, dt.date(2026, 1, 1))
    finally:
        store.close()
