"""Reads the public title data that the measurements need; it is not part of the project.

Set TITLES_DATA to the folder that holds it (uw_positions.csv, uw_standard_titles.csv, onet_match.csv,
cluster_*.csv, snapaddy_levels.csv).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mappings.titles.catalogue import Catalogue, Position
from mappings.titles.gazetteer import shipped_gazetteer
from mappings.titles.legacy import LegacyGroup

Rows = list[dict[str, str]]
FOLDER = os.environ.get("TITLES_DATA", "")

needs_data = pytest.mark.skipif(
    not FOLDER or not Path(FOLDER).is_dir(),
    reason="TITLES_DATA names no folder with the public title data, which is not part of the project",
)


def read(name: str) -> Rows:
    """The rows of one file of the folder."""
    with (Path(FOLDER) / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def is_staff(row: dict[str, str]) -> bool:
    """Whether a row of the university migration is staff: neither faculty nor instruction and clinic."""
    return row["new_family"] not in ("FA", "IC")


def university(keep: Callable[[dict[str, str]], bool]) -> tuple[list[LegacyGroup], Catalogue, list[dict[str, float]]]:
    """Groups, catalogue and truth (group → key → people) of the migration, for the rows KEEP wants."""
    shares: dict[tuple[str, str, str], dict[str, float]] = {}
    codes: dict[tuple[str, str, str], str] = {}
    for row in filter(keep, read("uw_positions.csv")):
        group = (row["legacy_title"], row["department"], row["legacy_grade"])
        part = shares.setdefault(group, {})
        part[row["new_code"]] = part.get(row["new_code"], 0.0) + float(row["headcount"])
        codes.setdefault(group, row["legacy_code"])
    groups = [LegacyGroup(*g, headcount=int(sum(part.values())), code=codes[g]) for g, part in shares.items()]
    order = sorted(range(len(groups)), key=lambda i: (-groups[i].headcount, groups[i].title, groups[i].department))
    positions: dict[str, Position] = {}
    for row in read("uw_standard_titles.csv"):
        positions.setdefault(row["new_code"], Position(row["new_code"], row["new_title"], row["new_family"]))
    truth = list(shares.values())
    return [groups[i] for i in order], Catalogue(tuple(positions.values())), [truth[i] for i in order]


def occupations() -> Catalogue:
    """The 1,016 occupations of the shipped gazetteer as a catalogue."""
    titles: dict[str, str] = {}
    for entry in shipped_gazetteer():
        titles.setdefault(entry.key, entry.title)
    return Catalogue(tuple(Position(key, title, key[:2]) for key, title in titles.items()))
