"""Rows to job families, positions and organisations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from bridge.model import JobFamily, Organisation, Position, Track
from bridge.rows import Row, same_when_folded
from mappings.architecture.cells import LONGEST_KEY, Findings, Keys, close_to, key, name, text
from mappings.architecture.trees import Branch, sound_branches

_TRACKS = {
    "ic": Track.INDIVIDUAL,
    "individual": Track.INDIVIDUAL,
    "individual contributor": Track.INDIVIDUAL,
    "m": Track.MANAGER,
    "manager": Track.MANAGER,
    "management": Track.MANAGER,
}

Record = TypeVar("Record")


def read_families(rows: Iterable[Row], findings: Findings) -> tuple[tuple[JobFamily, ...], frozenset[str]]:
    """Return the sound families, and the keys of all that have a row."""

    def family(row: Row, idnumber: str, parent: str | None) -> JobFamily | None:
        found = name(row, "name", "family", findings)
        return None if found is None else JobFamily(idnumber, found, parent)

    return _tree(rows, "family", family, findings)


def read_organisations(rows: Iterable[Row], findings: Findings) -> tuple[tuple[Organisation, ...], frozenset[str]]:
    """Return the sound organisations, and the keys of all that have a row."""

    def organisation(row: Row, idnumber: str, parent: str | None) -> Organisation | None:
        found = name(row, "name", "organisation", findings)
        return None if found is None else Organisation(idnumber, found, parent, text(row, "cost_centre"))

    return _tree(rows, "organisation", organisation, findings)


def read_positions(
    rows: Iterable[Row], families: frozenset[str], findings: Findings
) -> tuple[tuple[Position, ...], frozenset[str], frozenset[str]]:
    """Return the sound positions, the keys of all that have a row, and the levels that any of them names.

    `families` are the keys of the families they may name.
    """
    levels: set[str] = set()

    def position(row: Row, idnumber: str, parent: str | None) -> Position | None:
        title = name(row, "title", "position", findings)
        level = text(row, "level") or None
        if level is not None:
            levels.add(level)
        family = text(row, "family") or None
        if family is not None and family not in families:
            message = f"There is no job family “{family}”.{close_to(family, families)}"
            remedy = "Correct it, or add the family to job_families."
            findings.fault(row, "family", "family-unknown", message, remedy)
            return None
        if level is not None and len(level) > LONGEST_KEY:
            message = f"The level has {len(level)} characters; it is a short word or a number."
            findings.fault(row, "level", "key-too-long", message, "Shorten it.")
            return None
        written = text(row, "track")
        track = _TRACKS.get(same_when_folded(written)) if written else None
        if written and track is None:
            message = f"“{written}” is neither of the two tracks."
            findings.fault(row, "track", "track", message, "Write IC (individual contributor) or M (manager).")
            return None
        return None if title is None else Position(idnumber, title, family, level, track, parent)

    positions, keys = _tree(rows, "position", position, findings)
    return positions, keys, frozenset(levels)


def _tree(
    rows: Iterable[Row], what: str, record: Callable[[Row, str, str | None], Record | None], findings: Findings
) -> tuple[tuple[Record, ...], frozenset[str]]:
    """Return the sound records of a file with keys and parents, in its order, and the keys of all rows."""
    keys = Keys(what)
    branches: dict[str, Branch] = {}
    records: dict[str, Record] = {}
    for row in findings.sound(rows):
        idnumber = key(row, "idnumber", findings)
        parent = text(row, "parent") or None
        found = record(row, idnumber or "", parent)
        if idnumber is None or not keys.add(idnumber, row, "idnumber", findings):
            continue
        branches[idnumber] = Branch(idnumber, parent, row)
        if found is not None:
            records[idnumber] = found
    sound: Mapping[str, Branch] = sound_branches(branches, what, findings)
    return tuple(found for idnumber, found in records.items() if idnumber in sound), frozenset(branches)
