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


def explains(applied: Sequence[str], desired: Sequence[str], actual: Sequence[str]) -> bool:
    """Tell whether `actual` lies on the way from `applied` to `desired`: each key stands where it was or where it goes.

    Only keys of `applied` count, and the fewest of them move. False means that somebody else moved one.
    """
    there = set(actual)
    before = [key for key in applied if key in there]
    moving = out_of_line(before, desired)
    old, new, now = (_gaps(line, moving, before) for line in (before, desired, actual))
    return now[0] == new[0] and all(now[1][key] in (old[1][key], new[1][key]) for key in moving)


def _gaps(line: Sequence[str], moving: frozenset[str], counted: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """Return the keys that stay, in the order of the line, and how many of them stand before each that moves."""
    known = set(counted)
    stays: list[str] = []
    gaps: dict[str, int] = {}
    for key in line:
        if key in moving:
            gaps[key] = len(stays)
        elif key in known:
            stays.append(key)
    return stays, gaps
