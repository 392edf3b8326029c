"""What one row of a feed says, once its columns are understood: the words that mappings and the store share."""

from __future__ import annotations

from typing import NamedTuple


class RosterRow(NamedTuple):
    """One job of one person, as text. Dates are ISO (`2026-12-31`), keys as the HRIS writes them; empty: not said.

    A person with several jobs has several rows that differ in `job`. What a row says of the person (names, address,
    status) counts from the row of the primary job.
    """

    person: str
    job: str = ""
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    username: str = ""
    status: str = "active"
    title: str = ""
    unit: str = ""
    unit_name: str = ""
    unit_parent: str = ""
    position: str = ""
    grade: str = ""
    manager: str = ""
    start: str = ""
    end: str = ""
    effective: str = ""
    """From when on the row holds; empty where it holds at once."""
    primary: str = "1"
    extra: str = ""
    """Further mapped columns, as canonical JSON of an object of texts; empty where there are none."""


IDENTITY = ("person", "job")
"""What tells one row of a feed from another."""

CONTENT = tuple(name for name in RosterRow._fields if name not in (*IDENTITY, "effective"))
"""What a row says; rows that differ in none of these say the same."""
