"""Parents in a list: unknown ones and those that go round in a circle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.rows import Row
from mappings.architecture.cells import Findings, close_to


@dataclass(frozen=True, slots=True)
class Branch:
    """One node of a tree as its row names it: the key it is known by, the parent it claims, the row."""

    key: str
    parent: str | None
    row: Row


def sound_branches(
    branches: Mapping[str, Branch], what: str, findings: Findings, known_elsewhere: Mapping[str, str] | None = None
) -> dict[str, Branch]:
    """Return the branches whose parents exist and lead to a root; each other one becomes a fault.

    A circle is reported once, at the first of its rows in the file, and whatever hangs below it is left out in
    silence, since mending the circle mends it too. `known_elsewhere` names, by key, where a parent of that key is
    if not here (in another framework).
    """
    broken: set[str] = set()
    for branch in branches.values():
        if branch.parent is None or branch.parent in branches:
            continue
        broken.add(branch.key)
        elsewhere = (known_elsewhere or {}).get(branch.parent)
        hint = f" {elsewhere}" if elsewhere else close_to(branch.parent, branches)
        findings.fault(
            branch.row,
            "parent",
            "parent-unknown",
            f"There is no {what} “{branch.parent}” for “{branch.key}” to hang under.{hint}",
            "Correct the parent's key, add a row for the parent, or leave the cell empty to put it at the top.",
        )
    settled: dict[str, bool] = {}
    for start in branches:
        _settle(start, branches, broken, settled, what, findings)
    return {key: branch for key, branch in branches.items() if settled[key]}


def _settle(
    start: str,
    branches: Mapping[str, Branch],
    broken: set[str],
    settled: dict[str, bool],
    what: str,
    findings: Findings,
) -> None:
    """Walk up from a branch and settle, for all on the way, whether they lead to a root."""
    path: list[str] = []
    on_path: set[str] = set()
    step: str | None = start
    while step is not None and step not in settled:
        if step in on_path:
            circle = path[path.index(step) :]
            _report_circle(circle, branches, what, findings)
            settled.update(dict.fromkeys(path, False))
            return
        if step in broken:
            settled[step] = False
            break
        path.append(step)
        on_path.add(step)
        step = branches[step].parent
    sound = step is None or settled[step]
    settled.update(dict.fromkeys(path, sound))


def _report_circle(circle: list[str], branches: Mapping[str, Branch], what: str, findings: Findings) -> None:
    """Report a circle at the first of its rows in the file."""
    first = min(range(len(circle)), key=lambda at: branches[circle[at]].row.line)
    turned = circle[first:] + circle[:first]
    row = branches[turned[0]].row
    if len(turned) == 1:
        message = f"The {what} “{turned[0]}” is its own parent."
    else:
        shown = turned if len(turned) <= 8 else [*turned[:7], "…"]
        message = f"The parents go round in a circle: {' → '.join([*shown, turned[0]])}."
    remedy = "Give one of them a parent outside the circle, or leave its parent empty to put it at the top."
    findings.fault(row, "parent", "parent-circle", message, remedy)
