"""Which header stands for which column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bridge.faults import Fault
from bridge.rows import Column, Source, same_header


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """How the headers of a table answer to the columns looked for.

    `names` has one entry a header: the column's own name, or None for a header nobody asked for.
    """

    names: tuple[str | None, ...]
    source: Source
    faults: tuple[Fault, ...]
    unknown: tuple[str, ...]


def match_headers(file: str, line: int, headers: Sequence[str], columns: Sequence[Column]) -> HeaderMatch:
    """Match headers to columns, by name or alias, without regard to case, accents, spaces and punctuation.

    With no columns given, every header is a column of its own name.
    """
    headers = [header.strip("\ufeff \t\r\n\xa0") for header in headers]
    if not columns:
        return _every_header(file, line, headers)
    meaning: dict[str, str] = {}
    for column in columns:
        for alias in column.aliases:
            meaning.setdefault(same_header(alias), column.name)
    for column in columns:
        meaning[same_header(column.name)] = column.name
    names: list[str | None] = []
    written: dict[str, str] = {}
    unknown: list[str] = []
    faults: list[Fault] = []
    for header in headers:
        name = meaning.get(same_header(header))
        if name is None:
            if header:
                unknown.append(header)
            names.append(None)
        elif name in written:
            faults.append(_twice(file, line, header, written[name], name))
            names.append(None)
        else:
            written[name] = header
            names.append(name)
    missing = (column for column in columns if column.required and column.name not in written)
    faults.extend(_missing(file, line, column, unknown) for column in missing)
    return HeaderMatch(tuple(names), Source(file, written), tuple(faults), tuple(unknown))


def known_headers(headers: Sequence[str], columns: Sequence[Column]) -> int:
    """Return how many headers stand for a column looked for."""
    known = {same_header(text) for column in columns for text in (column.name, *column.aliases)}
    return sum(same_header(header) in known for header in headers)


def _every_header(file: str, line: int, headers: Sequence[str]) -> HeaderMatch:
    """Take every header as the column of that name; the second of two equal ones is a fault."""
    names: list[str | None] = []
    written: dict[str, str] = {}
    faults: list[Fault] = []
    for header in headers:
        if not header:
            names.append(None)
        elif header in written:
            faults.append(_twice(file, line, header, header, header))
            names.append(None)
        else:
            written[header] = header
            names.append(header)
    return HeaderMatch(tuple(names), Source(file, written), tuple(faults), ())


def _twice(file: str, line: int, header: str, first: str, name: str) -> Fault:
    """Return the fault of two headers that mean the same column."""
    if header == first:
        message = f"The header “{header}” stands there twice."
    else:
        message = f"The headers “{first}” and “{header}” both mean the column {name}."
    return Fault(file, line, header, header, "header-twice", message, "Rename or delete one of the two columns.")


def _missing(file: str, line: int, column: Column, unknown: Sequence[str]) -> Fault:
    """Return the fault of a column that must be there and is not."""
    others = f" Headers nobody asked for: {', '.join(unknown)}." if unknown else ""
    also = f" (also understood: {', '.join(column.aliases)})" if column.aliases else ""
    return Fault(
        file,
        line,
        column.name,
        "",
        "header-missing",
        f"The column {column.name} is missing.{others}",
        f"Add a column headed {column.name}{also}.",
    )
