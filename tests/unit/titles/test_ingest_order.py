"""What a decision about one group does at ingest, beside the catalogue's own titles and decisions elsewhere."""

from __future__ import annotations

import datetime as dt

import pytest

from bridge.model import Position
from jobs.title_log import Layered
from mappings.positions import ListedDecisions, PositionFinder
from mappings.titles.decisions import Decision, Placement, RecordedDecisions, Verdict

NOW = dt.datetime(2026, 11, 1, 9, 0, tzinfo=dt.UTC)
CATALOGUE = (Position("A", "Cook"), Position("B", "Chef"))


def decided(department: str, *keys: str, verdict: Verdict = Verdict.PLACED, excluded: tuple[str, ...] = ()) -> Decision:
    """A decision about cooks in a department."""
    placements = tuple(Placement(key, 1) for key in keys)
    return Decision("Cook", department, "", 1, verdict, "Ana", NOW, placements, excluded, id=len(department))


def find(*made: Decision, department: str = "Bar", title: str = "Cook") -> tuple[str | None, str]:
    """Position and basis of a title in a department."""
    recorded = RecordedDecisions(made, NOW.date())
    placed = PositionFinder(CATALOGUE, Layered(recorded, ListedDecisions([("Cook", "Bar", "B")]))).find(
        title, department
    )
    return placed.position, placed.basis


def test_a_decision_about_the_group_goes_before_the_exact_title_and_a_decision_elsewhere_does_not() -> None:
    """Whoever decided about cooks in the bar meant it; cooks in the kitchen say nothing about them."""
    assert find(decided("Bar", "B")) == ("B", "decision")
    assert find(decided("Kitchen", "B")) == ("A", "catalogue")
    assert find() == ("A", "catalogue")


@pytest.mark.parametrize(
    "open_one",
    [
        decided("Bar", verdict=Verdict.DEFERRED),
        decided("Bar", verdict=Verdict.WANTED),
        decided("Bar", "A", "B"),
    ],
    ids=["deferred", "new position", "split"],
)
def test_a_group_that_is_deferred_wants_a_new_position_or_is_split_is_given_none(open_one: Decision) -> None:
    """Neither the catalogue nor other departments nor a list speaks for it."""
    assert find(open_one, decided("Kitchen", "B")) == (None, "unmapped")


def test_a_position_ruled_out_for_a_group_is_not_given_to_it() -> None:
    """What holds elsewhere does, unless it is the one ruled out."""
    out = decided("Bar", verdict=Verdict.EXCLUDED, excluded=("A",))
    assert RecordedDecisions([out, decided("Kitchen", "A")], NOW.date()).position_for("Cook", "Bar", "") is None
    assert RecordedDecisions([out, decided("Kitchen", "B")], NOW.date()).position_for("Cook", "Bar", "") == "B"
    assert find(out) == (None, "unmapped")
