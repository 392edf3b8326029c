"""A column as its template writes it: ``{last_name}, {first_name}``, ``{active:yes/no}``, ``{start:%d.%m.%Y}``."""

from __future__ import annotations

import datetime as dt
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from bridge.ports import FixConfiguration

Cell = str | int | bool | dt.date | None
"""What a template's field may stand for; None is written as nothing."""

KEY, PARENT, ACTIVE, DELETED = "key", "parent", "active", "deleted"


@dataclass(frozen=True)
class Column:
    """One column: its heading, and the pieces (text before, field, how to write it) that make its cells."""

    heading: str
    pieces: tuple[tuple[str, str, str], ...]
    longest: int | None = None
    """A longer cell is refused; None: anything goes."""

    @cached_property
    def fields(self) -> frozenset[str]:
        """The fields that the cells are made of."""
        return frozenset(name for _, name, _ in self.pieces if name)

    @cached_property
    def single(self) -> str:
        """The field that a cell is, and nothing else; empty for anything put together."""
        match self.pieces:
            case (("", name, ""),):
                return name
            case _:
                return ""

    def cell(self, field_of: Callable[[str], Cell]) -> str:
        """What the column says of an object."""
        return "".join(text + (_written(field_of(name), form) if name else "") for text, name, form in self.pieces)

    def switch(self, cell: str) -> bool | None:
        """Read a column of one yes-or-no field back; None where it is not one of its two words."""
        _, _, form = self.pieces[0]
        yes, no = _words(form)
        return {yes: True, no: False}.get(cell.strip())


def column_of(heading: str, template: str, known: Callable[[str], bool], longest: int | None, where: str) -> Column:
    """Return a column from its template. Raises FixConfiguration where it cannot be read or names an unknown field."""
    pieces = []
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise FixConfiguration(f"{where}: the template {template!r} cannot be read: {error}.") from error
    for text, name, form, conversion in parsed:
        if name is None:
            pieces.append((text, "", ""))
            continue
        if not name or conversion or not known(name):
            raise FixConfiguration(
                f"{where}: the template {template!r} names {name!r}, which is no field of this kind."
            )
        if name in (ACTIVE, DELETED) and form and form.count("/") != 1:
            raise FixConfiguration(f"{where}: write {{{name}:YES/NO}}, with the two words the LMS wants.")
        pieces.append((text, name, form or ""))
    return Column(heading, tuple(pieces), longest)


def _words(form: str) -> tuple[str, str]:
    yes, slash, no = form.partition("/")
    return (yes, no) if slash else ("1", "0")


def _written(value: Cell, form: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        yes, no = _words(form)
        return yes if value else no
    if isinstance(value, dt.date):
        return value.strftime(form) if form else value.isoformat()
    text = str(value)
    return text[: int(form)].rstrip() if form.isdecimal() else text


def from_mapping(values: Mapping[str, Cell]) -> Callable[[str], Cell]:
    """Fields from a mapping; what is not in it is nothing."""
    return lambda name: values.get(name)
