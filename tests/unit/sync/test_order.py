"""The order of siblings: as few moves as can be, and after them the order is right."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.sync.order import explains, out_of_line, predecessors

LINES = st.integers(0, 7).flatmap(
    lambda size: st.tuples(st.permutations(list("ABCDEFG"[:size])), st.permutations(list("ABCDEFG"[:size])))
)


def put_behind(line: list[str], moves: list[str], desired: list[str]) -> list[str]:
    """Move keys, in the order of the files, each behind the one it is to follow."""
    line = list(line)
    before = predecessors(desired)
    for key in moves:
        line.remove(key)
        previous = before[key]
        line.insert(0 if previous is None else line.index(previous) + 1, key)
    return line


@given(LINES)
def test_moving_what_is_out_of_line_gives_the_order(lines: tuple[list[str], list[str]]) -> None:
    """From left to right, each behind its predecessor, as the plan does it."""
    actual, desired = lines
    astray = out_of_line(actual, desired)
    assert put_behind(actual, [key for key in desired if key in astray], desired) == desired


@given(LINES)
@settings(max_examples=60)
def test_no_smaller_set_of_moves_would_do(lines: tuple[list[str], list[str]]) -> None:
    """Whatever fewer keys were taken out, the rest would still stand in the wrong order."""
    actual, desired = lines
    fewest = len(out_of_line(actual, desired))
    for size in range(fewest):
        for taken in combinations(actual, size):
            rest = [key for key in actual if key not in taken]
            assert rest != [key for key in desired if key not in taken]


def test_keys_that_only_one_side_knows_do_not_count() -> None:
    """What somebody else put between the siblings moves nothing."""
    assert out_of_line(["x", "A", "y", "B"], ["A", "new", "B"]) == frozenset()


def test_the_first_follows_nobody() -> None:
    """And each other one the one before it."""
    assert predecessors("ABC") == {"A": None, "B": "A", "C": "B"}
    assert predecessors("") == {}


@given(LINES, st.integers(0, 7))
def test_a_reordering_that_was_cut_off_is_still_recognised_as_ours(
    lines: tuple[list[str], list[str]], done: int
) -> None:
    """However many of the moves were made, the line is explained by what was applied and what is wanted."""
    applied, desired = lines
    moves = [key for key in desired if key in out_of_line(applied, desired)]
    assert explains(applied, desired, put_behind(applied, moves[:done], desired))


@pytest.mark.parametrize("actual", ["BACDE", "ABCED", "ACBDE"])
def test_somebody_elses_move_is_not_explained_by_ours(actual: str) -> None:
    """The files put E first; nobody asked for these."""
    assert explains("ABCDE", "EABCD", "ABCDE")
    assert explains("ABCDE", "EABCD", "EABCD")
    assert explains("ABCDE", "EABCD", actual) is False
