"""Whom to look at tonight: everybody with a change, and each of the rest once in a round."""

from __future__ import annotations

from bridge.ports import Found, Item, KindSpec, Removal
from bridge.store.state import Base
from bridge.sync.rotation import DAY, owner_of, owners_due, standing_for, whose_turn

SPEC = KindSpec("plan", "plan", "plans", Removal.CLOSE, by_key=True, rotation=7)


def wanted(key: str, text: str = "x") -> Item:
    """Return a plan as it should be."""
    return Item("plan", key, {"text": text})


def based(key: str, text: str = "x", *, retired: bool = False) -> Base:
    """Return a plan as it was last applied."""
    return Base("plan", key, {"text": text}, lms_id="7", retired=retired)


def due(desired: list[Item], base: list[Base], *, removable: bool = True) -> set[str]:
    """Return who is due on a night on which it is nobody's turn among those named."""
    wanted_by_key, base_by_key = {one.key: one for one in desired}, {one.key: one for one in base}
    owners = {owner_of(key) for key in (*wanted_by_key, *base_by_key)}
    night = next(n * DAY for n in range(60) if not any(whose_turn(owner, 7, n * DAY) for owner in owners))
    return owners_due(SPEC, wanted_by_key, base_by_key, lambda _key: removable, night)


def test_everybody_has_a_turn_in_each_round_and_shares_are_even() -> None:
    """Once in seven nights, between a twelfth and a sixth of 4,000 people a night."""
    people = [f"E{n:05d}" for n in range(4000)]
    turns = [[one for one in people if whose_turn(one, 7, night * DAY)] for night in range(100, 107)]
    assert sorted(one for turn in turns for one in turn) == people
    assert all(4000 / 12 < len(turn) < 4000 / 6 for turn in turns)


def test_who_has_nothing_to_change_is_not_due() -> None:
    """What is wanted equals what was last applied."""
    assert due([wanted("A|1"), wanted("B|1")], [based("A|1"), based("B|1")]) == set()


def test_a_new_a_changed_a_revived_and_a_removed_object_make_their_owner_due() -> None:
    """So that nothing is written to what was not looked at."""
    desired = [wanted("A|1"), wanted("B|1", "new"), wanted("C|1")]
    base = [based("B|1"), based("C|1", retired=True), based("D|1"), based("E|1", retired=True)]
    assert due(desired, base) == {"A", "B", "C", "D"}


def test_what_is_missing_but_not_spoken_of_makes_nobody_due() -> None:
    """It will not be removed."""
    assert due([], [based("A|1")], removable=False) == set()


def test_the_base_stands_for_whoever_is_not_looked_at() -> None:
    """And for nobody else."""
    base = {one.key: one for one in (based("A|1"), based("B|1", retired=True))}
    assert standing_for(base, {"A"}) == {"B|1": Found("plan", "B|1", {"text": "x"}, "7", retired=True)}
