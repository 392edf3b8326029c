"""Finds which column of a table holds what, by its heading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from bridge.ports import FixConfiguration
from mappings.titles.normalise import fold

LEGACY_COLUMNS: dict[str, tuple[str, ...]] = {
    "title": (
        "title", "job title", "legacy title", "old title", "position title", "working title",
        "business title", "current title", "job", "role", "position", "jobtitle", "berufsbezeichnung",
        "stellenbezeichnung", "stelle", "funktion", "intitule", "poste", "puesto", "cargo", "titel",
    ),
    "department": (
        "department", "dept", "department name", "department code", "org unit", "organisation",
        "organization", "unit", "cost centre", "cost center", "division", "team", "abteilung", "service",
        "departamento", "departement", "business unit", "location",
    ),
    "grade": (
        "grade", "legacy grade", "pay grade", "salary grade", "band", "pay band", "job grade", "level",
        "job level", "gehaltsstufe", "entgeltgruppe", "grado", "niveau",
    ),
    "code": (
        "code", "job code", "legacy code", "title code", "jobcode", "position code", "stellennummer",
    ),
    "headcount": (
        "headcount", "count", "people", "employees", "incumbents", "n", "fte count", "number of employees",
        "anzahl", "number of people", "head count",
    ),
    "person": (
        "employee id", "employee number", "employee no", "person id", "personnel number", "emplid",
        "person",
    ),
}  # fmt: skip
"""What a legacy file may call its columns, the likeliest first."""

CATALOGUE_COLUMNS: dict[str, tuple[str, ...]] = {
    "key": (
        "key", "idnumber", "id", "code", "new code", "position code", "position key", "position",
        "job code", "standard code", "onet soc",
    ),
    "title": (
        "title", "standard title", "new title", "position title", "standard position", "job title", "name",
        "position name",
    ),
    "family": (
        "family", "job family", "new family", "family code", "family key", "job family code", "function",
    ),
    "level": (
        "level", "job level", "band", "grade", "new grade",
    ),
    "track": (
        "track", "career track", "ic m", "path",
    ),
}  # fmt: skip
"""What a catalogue file may call its columns."""

GAZETTEER_COLUMNS: dict[str, tuple[str, ...]] = {
    "title": (
        "title", "alternate title", "alias", "job title", "name",
    ),
    "key": (
        "key", "position", "code", "onet soc", "soc", "onet soc code", "label", "idnumber",
        "position code",
    ),
    "family": (
        "family", "job family",
    ),
}  # fmt: skip
"""What a gazetteer file may call its columns."""


class ColumnMissingError(FixConfiguration):
    """A table lacks a column that is needed; the message names the headings it has."""


def plain_heading(heading: str) -> str:
    """A heading as it is compared: lower case, words parted by single spaces."""
    return " ".join(re.findall(r"[a-z0-9]+", fold(heading)))


def find_columns(
    headings: Sequence[str],
    known: Mapping[str, Sequence[str]],
    named: Mapping[str, str] | None = None,
    required: Iterable[str] = ("title",),
    what: str = "the file",
) -> dict[str, str]:
    """Says which of HEADINGS holds each field of KNOWN.

    NAMED holds the headings a person gave, which win; a heading serves one field only. Raises
    ColumnMissingError where a named heading does not exist or a REQUIRED field is nowhere to be found.
    """
    plain = {plain_heading(heading): heading for heading in reversed(headings) if heading}
    found: dict[str, str] = {}
    for field, heading in (named or {}).items():
        match = heading if heading in headings else plain.get(plain_heading(heading))
        if match is None:
            raise ColumnMissingError(
                f"{what} has no column named {heading!r} for the {field}. Its columns are: {_listed(headings)}."
            )
        found[field] = match
    for field, names in known.items():
        if field in found:
            continue
        taken = set(found.values())
        match = next((plain[name] for name in names if name in plain and plain[name] not in taken), None)
        if match is not None:
            found[field] = match
    for field in required:
        if field not in found:
            raise ColumnMissingError(
                f"{what} has no column for the {field}. Name it with an option; its columns are: {_listed(headings)}."
            )
    return found


def _listed(headings: Sequence[str]) -> str:
    shown = [heading for heading in headings if heading]
    return ", ".join(repr(heading) for heading in shown) if shown else "none (the first row is empty)"
