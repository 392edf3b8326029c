"""Further titles that are known to belong to a position or a family."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from mappings.titles.catalogue import Catalogue, Position
from mappings.titles.columns import GAZETTEER_COLUMNS, ColumnMissingError, find_columns

_DATA = files("mappings.titles") / "data"


@dataclass(frozen=True, slots=True)
class GazetteerEntry:
    """A title and what it is known to belong to: a key (of a position or an occupation), a family, or
    both.
    """

    title: str
    key: str = ""
    family: str = ""


def read_gazetteer(
    rows: Iterable[Mapping[str, str]],
    headings: Sequence[str],
    named: Mapping[str, str] | None = None,
    source: str = "the gazetteer",
) -> tuple[GazetteerEntry, ...]:
    """Reads gazetteer entries; rows without a title, or without key and family, are left out."""
    columns = find_columns(headings, GAZETTEER_COLUMNS, named, ("title",), source)
    if "key" not in columns and "family" not in columns:
        raise ColumnMissingError(
            f"{source} needs a column for the position key or for the family beside {columns['title']!r}. "
            f"Its columns are: {', '.join(map(repr, headings))}."
        )
    entries = []
    for row in rows:
        title, key, family = (
            (row.get(columns[f]) or "").strip() if f in columns else "" for f in ("title", "key", "family")
        )
        if title and (key or family):
            entries.append(GazetteerEntry(title, key, family))
    return tuple(entries)


@lru_cache(maxsize=1)
def shipped_gazetteer() -> tuple[GazetteerEntry, ...]:
    """43,182 titles of 1,016 occupations from the O*NET 27.0 database (CC BY 4.0, see
    data/ATTRIBUTION.txt).
    """
    with (_DATA / "onet_gazetteer.csv.gz").open("rb") as packed:
        text = gzip.decompress(packed.read()).decode("utf-8")
    rows = csv.DictReader(io.StringIO(text))
    return tuple(GazetteerEntry(row["title"], row["onet_soc"], row["onet_soc"][:2]) for row in rows)


def shipped_occupations() -> Catalogue:
    """The 1,016 occupations of the shipped gazetteer as a catalogue, their groups as families."""
    names = shipped_families()
    first: dict[str, str] = {}
    for entry in shipped_gazetteer():
        first.setdefault(entry.key, entry.title)
    return Catalogue(tuple(Position(k, t, k[:2], family_name=names.get(k[:2], "")) for k, t in first.items()))


@lru_cache(maxsize=1)
def shipped_families() -> dict[str, str]:
    """The 23 occupation groups of the shipped gazetteer: code → name."""
    text = (_DATA / "onet_families.csv").read_text("utf-8")
    return {row["family"]: row["name"] for row in csv.DictReader(text.splitlines())}
