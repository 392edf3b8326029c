"""Writing rows so that every cell arrives as it is, or is refused here with a sentence."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from connectors.files.options import FilesOptions, FileTemplate
from connectors.files.spool import SpoolRow

_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def refusal(template: FileTemplate, options: FilesOptions, cells: dict[str, str]) -> str:
    """Why a row cannot be written; empty where it can."""
    for column in template.columns:
        cell = cells.get(column.heading, "")
        why = _unfit(cell, options)
        if not why and column.longest is not None and len(cell) > column.longest:
            why = f"it has {len(cell):,} characters and the settings allow {column.longest:,}"
        if not why and column.single == "key" and (not cell or cell != cell.strip()):
            why = "a key must not be empty or begin or end with a blank"
        if why:
            shown = cell if len(cell) <= 60 else cell[:57] + "..."
            return f"{column.heading} {shown!r} cannot be sent: {why}"
    return ""


def _unfit(cell: str, options: FilesOptions) -> str:
    if _NO_TEXT.search(cell):
        return "it holds a character that is no text"
    quoted = options.quote_all or any(char in cell for char in (options.delimiter, '"', "\n", "\r"))
    if options.backslash_escapes and quoted and "\\" in cell:
        return "the LMS takes a backslash inside quotes for an escape, and would read it, or what follows, differently"
    try:
        cell.encode(options.encoding)
    except UnicodeEncodeError as error:
        return f"the encoding {options.encoding} has no {error.object[error.start : error.end]!r}; use UTF-8"
    return ""


def write_rows(path: Path, template: FileTemplate, options: FilesOptions, rows: Iterable[SpoolRow]) -> None:
    """Write a file of one kind, headings first, as the site's settings want it."""
    headings = [column.heading for column in template.columns]
    with path.open("w", encoding=options.encoding, newline="") as stream:
        writer = csv.writer(
            stream,
            delimiter=options.delimiter,
            lineterminator=options.line_end,
            quoting=csv.QUOTE_ALL if options.quote_all else csv.QUOTE_MINIMAL,
        )
        writer.writerow(headings)
        writer.writerows([row.cells.get(heading, "") for heading in headings] for row in rows)
