"""Rows as they were read from a table, whatever the table was: the shared words of readers and mappings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bridge.faults import Fault

LONGEST_SHOWN = 120
"""Characters of a value that a fault repeats; the rest adds nothing and may be a whole swallowed file."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a reader looks for: its own name, other headers that mean the same, and what it holds.

    `key` says that the column holds identifiers, in which leading zeros and trailing zeros count.
    """

    name: str
    aliases: tuple[str, ...] = ()
    required: bool = False
    key: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from: the file as a person knows it, and the header each column carries there."""

    file: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def header(self, column: str) -> str:
        """Return how a column is headed in this file; its own name where the file lacks it."""
        return self.headers.get(column, column)

    def fault(self, line: int | None, column: str, value: str, rule: str, message: str, remedy: str) -> Fault:
        """Return a fault at a place of this source."""
        return Fault(self.file, line, self.header(column) if column else "", shown(value), rule, message, remedy)


class Row(NamedTuple):
    """One record: the line on which it starts and its values by column.

    A row that carries `faults` is broken in its form (too few fields, an unclosed quote): its values are what could
    be made out, good for telling whom it is about and nothing else; `cells` are then its fields as they stand.
    """

    source: Source
    line: int
    values: Mapping[str, str]
    faults: tuple[Fault, ...] = ()
    cells: Sequence[str] = ()

    def fault(self, column: str, rule: str, message: str, remedy: str, value: str | None = None) -> Fault:
        """Return a fault at a column of this row; the value is the column's own unless another is given."""
        shown_value = self.values.get(column, "") if value is None else value
        return self.source.fault(self.line, column, shown_value, rule, message, remedy)


def shown(value: str) -> str:
    """Return a value as a message repeats it: cut where it is long."""
    return value if len(value) <= LONGEST_SHOWN else f"{value[: LONGEST_SHOWN - 1]}…"


def same_when_folded(text: str) -> str:
    """Return text without case, accents and outer or doubled spaces: what most databases hold to be the same key."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return " ".join(plain.casefold().split())


def same_header(text: str) -> str:
    """Return a header without case, accents, spaces and punctuation, so that ``Employee No.`` is ``employee_no``."""
    return re.sub(r"[\W_]+", "", same_when_folded(text))
