"""Tables into files: CSV, workbooks and JSON Lines, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bridge.ports import FixConfiguration

Cell = str | int | float | bool | dt.date | dt.datetime | None
"""What a cell may hold. A datetime must know its time zone; it is written in UTC."""

MOST_WORKBOOK_ROWS = 1_048_575
"""Rows a sheet can have below its header."""

LONGEST_WORKBOOK_CELL = 32_767
"""Characters a cell of a workbook can have."""

_RUNS = re.compile(r"^[\s\0]*[=+\-@＝＋－＠]|^[\t\r\n]")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


def harmless(text: str) -> str:
    """Return text that a spreadsheet will show and not run: an apostrophe goes before what would start a formula."""
    if _RUNS.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def write_table(
    path: Path,
    headers: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    mark: bool = True,
    widths: Mapping[str, int] | None = None,
) -> int:
    """Write a table to a file of the kind its suffix names (.csv, .xlsx, .jsonl) and return the number of rows.

    The file appears whole or not at all, and replaces one of the same name. CSV begins with a byte order mark, since
    spreadsheets take it for some other encoding otherwise; without `mark` it does not, for programs that stumble over
    it. In CSV and workbooks, text that a spreadsheet would run as a formula is made harmless; JSON Lines keeps every
    text as it is. A workbook's first row is bold, stays in sight and filters; `widths` gives columns other widths than
    their headers ask for, in characters, and wraps their text.

    Raises FixConfiguration for another suffix, a folder that is not there, or more rows than a workbook holds.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is _write_csv and not mark:
        writer = partial(_write_csv, encoding="utf-8")
    if writer is _write_workbook and widths:
        writer = partial(_write_workbook, widths=widths)
    if writer is None:
        known = ", ".join(_WRITERS)
        raise FixConfiguration(f"Cannot write {path.name}: the name must end in one of {known}.")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise FixConfiguration(
            f"Cannot write into {path.parent}: {error.strerror}. Choose a folder that exists and may be written to."
        ) from error
    unfinished = Path(name)
    try:
        count = writer(unfinished, headers, rows)
        unfinished.chmod(0o666 & ~_umask())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return count


def _umask() -> int:
    """Return the bits that this account takes off new files; temporary files ignore them."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _text(value: Cell) -> str:
    """Return a cell as text, the same in every kind of file."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(value)


def _write_csv(path: Path, headers: Sequence[str], rows: Iterable[Sequence[Cell]], encoding: str = "utf-8-sig") -> int:
    count = 0
    with path.open("w", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([harmless(header) for header in headers])
        for row in rows:
            writer.writerow([harmless(value) if isinstance(value, str) else _text(value) for value in row])
            count += 1
    return count


def _write_workbook(
    path: Path, headers: Sequence[str], rows: Iterable[Sequence[Cell]], widths: Mapping[str, int] | None = None
) -> int:
    # Imported here because it is slow, and most runs write no workbook.
    import openpyxl
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter

    workbook = openpyxl.Workbook(write_only=True)
    sheet = workbook.create_sheet("Sheet1")

    widths = widths or {}
    sheet.freeze_panes = "A2"
    for number, header in enumerate(headers, start=1):
        width = widths.get(header, min(max(len(header) + 4, 12), 40))
        sheet.column_dimensions[get_column_letter(number)].width = width
    wrapped = {place for place, header in enumerate(headers) if header in widths}
    wrapping, bold = Alignment(wrap_text=True, vertical="top"), Font(bold=True)

    def cell(value: Cell) -> Any:
        if isinstance(value, bool | int | float) or value is None:
            return value
        text = ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", harmless(_text(value)))
        if len(text) > LONGEST_WORKBOOK_CELL:
            text = f"{text[: LONGEST_WORKBOOK_CELL - 10]}… [cut]"
        made = WriteOnlyCell(sheet, text)
        made.data_type = "s"  # whatever it looks like: a text that starts with an equals sign is no formula
        return made

    count = 0
    try:
        heads = [cell(header) for header in headers]
        for head in heads:
            head.font = bold
        sheet.append(heads)
        for row in rows:
            count += 1
            if count > MOST_WORKBOOK_ROWS:
                message = f"A workbook holds at most {MOST_WORKBOOK_ROWS:,} rows. Choose a name that ends in .csv."
                raise FixConfiguration(message)
            cells = [cell(value) for value in row]
            for place in wrapped:
                if hasattr(cells[place], "alignment"):  # plain numbers are written as they are
                    cells[place].alignment = wrapping
            sheet.append(cells)
        if headers:
            sheet.auto_filter.ref = f"A1:{get_column_letter(len(headers))}{count + 1}"
        workbook.save(path)
    finally:
        workbook.close()
    return count


def _write_json_lines(path: Path, headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for row in rows:
            cells = (_text(value) if isinstance(value, dt.date) else value for value in row)
            stream.write(json.dumps(dict(zip(headers, cells, strict=True)), ensure_ascii=False))
            stream.write("\n")
            count += 1
    return count


_WRITERS: dict[str, Callable[[Path, Sequence[str], Iterable[Sequence[Cell]]], int]] = {
    ".csv": _write_csv,
    ".xlsx": _write_workbook,
    ".jsonl": _write_json_lines,
    ".ndjson": _write_json_lines,
}
