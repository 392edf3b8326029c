"""The order of siblings: which of them stand out of line, and who follows whom. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


def out_of_line(actual: Sequence[str], desired: Sequence[str]) -> frozenset[str]:
    """Return the fewest keys that must move so that `actual` comes into the order of `desired`.

    Only keys in both count: the rest of a longest increasing run stays where it is.
    """
    wanted = {key: index for index, key in enumerate(desired)}
    keys = [key for key in actual if key in wanted]
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, key in enumerate(keys):
        place = bisect_left(tails, wanted[key])
        before.append(ends[place - 1] if place else -1)
        if place == len(tails):
            tails.append(wanted[key])
            ends.append(index)
        else:
            tails[place] = wanted[key]
            ends[place] = index
    stays: set[str] = set()
    step = ends[-1] if ends else -1
    while step >= 0:
        stays.add(keys[step])
        step = before[step]
    return frozenset(key for key in keys if key not in stays)


def predecessors(siblings: Sequence[str]) -> dict[str, str | None]:
    """Return for each sibling the one just before it; None for the first."""
    return {key: siblings[index - 1] if index else None for index, key in enumerate(siblings)}
