"""The catalogue of standard positions that legacy titles are mapped onto."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from mappings.titles.columns import CATALOGUE_COLUMNS, find_columns

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Position:
    """A standard position of the catalogue."""

    key: str
    title: str
    family: str = ""
    level: str = ""
    track: str = ""
    family_name: str = ""


@dataclass(frozen=True)
class Catalogue:
    """Standard positions, each key once, and what was wrong with the rows they came from."""

    positions: tuple[Position, ...]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        first: dict[tuple[str, str], int] = {}
        slots: dict[str, int] = {}
        distinct: list[Position] = []
        for position in self.positions:
            name = (position.title.casefold(), position.family)
            if name not in first:
                first[name] = len(distinct)
                distinct.append(position)
            slots[position.key] = first[name]
        object.__setattr__(self, "_by_key", {position.key: position for position in self.positions})
        object.__setattr__(self, "_distinct", tuple(distinct))
        object.__setattr__(self, "_slots", slots)

    def __len__(self) -> int:
        return len(self.positions)

    def get(self, key: str) -> Position | None:
        """The position with this key, or None."""
        found: dict[str, Position] = self.__dict__["_by_key"]
        return found.get(key)

    @property
    def distinct(self) -> tuple[Position, ...]:
        """One position for each title and family: catalogues often file one job under several keys."""
        found: tuple[Position, ...] = self.__dict__["_distinct"]
        return found

    @property
    def slots(self) -> dict[str, int]:
        """Key → number of its position among the distinct ones."""
        found: dict[str, int] = self.__dict__["_slots"]
        return found

    @property
    def version(self) -> str:
        """A short fingerprint of the keys and titles, recorded with every decision."""
        lines = sorted(f"{p.key}\t{p.title}\t{p.family}\t{p.level}\t{p.track}" for p in self.positions)
        return sha256("\n".join(lines).encode()).hexdigest()[:12]

    @property
    def families(self) -> dict[str, str]:
        """Family code → family name (the code where it has no name), sorted."""
        found = {p.family: p.family_name or p.family for p in self.positions if p.family}
        return dict(sorted(found.items()))


def read_catalogue(
    rows: Iterable[Row],
    headings: Sequence[str],
    named: Mapping[str, str] | None = None,
    family_names: Mapping[str, str] | None = None,
    source: str = "the catalogue",
) -> Catalogue:
    """Reads positions from ROWS; a duplicate key or a row without key or title becomes a warning, never a
    fault.

        Raises ColumnMissingError where there is no column for key or title.
    """
    columns = find_columns(headings, CATALOGUE_COLUMNS, named, ("key", "title"), source)
    names = family_names or {}
    positions: dict[str, Position] = {}
    first_seen: dict[str, int] = {}
    warnings: list[str] = []
    for number, row in enumerate(rows, start=2):
        values = {field: (row.get(heading) or "").strip() for field, heading in columns.items()}
        key, title = values["key"], values["title"]
        if not key and not title:
            continue
        if not key or not title:
            missing = "key" if not key else "title"
            warnings.append(
                f"{source}, row {number}: no {missing} in column {columns[missing]!r}; the row is left out."
            )
            continue
        if key in positions:
            warnings.append(
                f"{source}, row {number}, column {columns['key']!r}: the key {key!r} already stands in row "
                f"{first_seen[key]}; the first ({positions[key].title!r}) is kept, {title!r} is left out."
            )
            continue
        family = values.get("family", "")
        first_seen[key] = number
        positions[key] = Position(
            key,
            title,
            family,
            values.get("level", ""),
            values.get("track", "").upper(),
            names.get(family, ""),
        )
    return Catalogue(tuple(positions.values()), tuple(warnings))
