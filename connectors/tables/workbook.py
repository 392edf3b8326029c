"""Rows out of workbooks (.xlsx), streamed, with what a spreadsheet does to identifiers found and named."""

from __future__ import annotations

import datetime as dt
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from xml.etree.ElementTree import ParseError

from bridge.faults import Fault
from bridge.rows import Column, Row, Source, same_when_folded, shown
from connectors.tables.headers import match_headers
from connectors.tables.table import Table, TableOptions, UnreadableTable

MOST_SHARED_TEXT = 200 * 1024 * 1024
"""Bytes of a workbook's shared texts, unpacked; they are the one part that must be in memory as a whole."""

EXACT_DIGITS = 15
"""Digits a spreadsheet keeps of a number; it turns those after them into zeros."""

# These notes speak of styles and drawings, which nobody here reads, to people who cannot act on them.
warnings.filterwarnings("ignore", category=UserWarning, module=r"openpyxl\.")


class _Cell(Protocol):
    """What is used of a cell."""

    value: Any
    data_type: str
    number_format: str


def sheet_names(path: Path, file: str) -> tuple[str, ...]:
    """Return the names of a workbook's sheets, hidden ones left out. Raises UnreadableTable where it is none."""
    workbook = _open(path, file)
    try:
        return tuple(sheet.title for sheet in workbook.worksheets if sheet.sheet_state == "visible")
    finally:
        workbook.close()


def open_workbook(path: Path, file: str, columns: Sequence[Column], options: TableOptions) -> Table:
    """Open one sheet of a workbook up to its header row.

    Raises UnreadableTable where the file is no workbook, or there is no such sheet, or nothing on it.
    """
    workbook = _open(path, file)
    try:
        sheet = _sheet(workbook, file, options.sheet)
        sheet.reset_dimensions()  # programs that write workbooks often get the dimensions wrong
        cells = _numbered(sheet, file)
        header_line, headers = _header(cells, file)
        match = match_headers(file, header_line, headers, columns)
        merged = _merged_below(path, sheet, file, header_line)
    except _signs_of_damage() as error:
        workbook.close()
        raise _damaged(file, error) from error
    except BaseException:
        workbook.close()
        raise
    remarks: list[Fault] = []
    keys = frozenset(column.name for column in columns if column.key)
    rows = _rows(cells, match.source, match.names, keys, options.longest_value, remarks)
    return Table(
        match.source,
        tuple(headers),
        rows,
        (*match.faults, *merged),
        match.unknown,
        remarks,
        "xlsx",
        "",
        close=workbook.close,
    )


def _open(path: Path, file: str) -> Any:
    """Open a workbook for streaming."""
    with path.open("rb") as stream:
        head = stream.read(8)
    if not head:
        remedy = "Save it again; a list with nothing in it still has its header row."
        raise UnreadableTable(Fault(file, None, "", "", "empty-file", "The file is empty.", remedy))
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        message = "The workbook is protected by a password, or in the format of before 2007."
        remedy = "Save it as .xlsx without a password."
        raise UnreadableTable(Fault(file, None, "", "", "workbook-format", message, remedy))
    try:
        with zipfile.ZipFile(path) as parts:
            texts = [part.file_size for part in parts.infolist() if part.filename.lower().endswith("sharedstrings.xml")]
        if sum(texts) > MOST_SHARED_TEXT:
            message = f"The workbook holds {sum(texts) // 1024**2:,} MB of text, more than is taken from a workbook."
            remedy = "Save the sheet as “CSV UTF-8”, which may be of any size."
            raise UnreadableTable(Fault(file, None, "", "", "workbook-size", message, remedy))
        # Imported here because it is slow, and most runs meet no workbook.
        import openpyxl

        return openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
    except _signs_of_damage() as error:
        raise _damaged(file, error) from error


def _signs_of_damage() -> tuple[type[Exception], ...]:
    """Return what reading a damaged workbook raises."""
    from openpyxl.utils.exceptions import InvalidFileException

    damaged = (zipfile.BadZipFile, zlib.error, InvalidFileException, ParseError)
    return (*damaged, KeyError, ValueError, TypeError, EOFError)


def _sheet(workbook: Any, file: str, wanted: str | None) -> Any:
    """Return the sheet of a name, else the first that is visible."""
    sheets = [sheet for sheet in workbook.worksheets if wanted is not None or sheet.sheet_state == "visible"]
    if wanted is not None:
        folded = same_when_folded(wanted)
        sheets = [sheet for sheet in sheets if same_when_folded(sheet.title) == folded]
    if sheets:
        return sheets[0]
    there = ", ".join(workbook.sheetnames)
    message = f"The workbook has no sheet “{wanted}”; it has: {there}." if wanted else "The workbook has no sheet."
    remedy = "Rename the sheet, or name the one to read."
    raise UnreadableTable(Fault(file, None, "", wanted or "", "sheet-missing", message, remedy))


def _numbered(sheet: Any, file: str) -> Iterator[tuple[int, Sequence[_Cell]]]:
    """Go through the rows of a sheet with their numbers. Raises UnreadableTable where it turns out to be damaged."""
    rows = sheet.iter_rows()
    number = 0
    while True:
        try:
            cells = next(rows, None)
        except _signs_of_damage() as error:
            raise _damaged(file, error) from error
        if cells is None:
            return
        number += 1
        yield number, cells


def _header(rows: Iterator[tuple[int, Sequence[_Cell]]], file: str) -> tuple[int, list[str]]:
    """Read up to the first row that is not empty; return its number and its texts."""
    for number, cells in rows:
        headers = [_plain(cell) for cell in cells]
        while headers and not headers[-1].strip():
            headers.pop()
        if headers:
            return number, headers
    message = "The sheet is empty: it has not even a header row."
    remedy = "Put the headers into the first row."
    raise UnreadableTable(Fault(file, None, "", "", "empty-file", message, remedy))


def _rows(
    rows: Iterator[tuple[int, Sequence[_Cell]]],
    source: Source,
    names: Sequence[str | None],
    keys: frozenset[str],
    longest_value: int,
    remarks: list[Fault],
) -> Iterator[Row]:
    """Go through the rows below the header."""
    zeros = _LeadingZeros(source)
    width = len(names)
    for number, cells in rows:
        if all(cell.value is None for cell in cells):
            continue
        values: dict[str, str] = dict.fromkeys((name for name in names if name is not None), "")
        faults: list[Fault] = []
        for position, cell in enumerate(cells):
            value = cell.value
            if value is None:
                continue
            name = names[position] if position < width else None
            if name is None:
                if position >= width and _plain(cell).strip():
                    faults.append(_beyond(source, number, _plain(cell)))
                continue
            if isinstance(value, str) and cell.data_type != "e" and len(value) <= longest_value:
                values[name] = value
            else:
                values[name] = shown(_plain(cell))
                faults.extend(_doubts(source, number, name, cell, name in keys, longest_value))
            if name in keys:
                zeros.see(number, name, value, values[name])
        if any(values.values()) or faults:
            yield Row(source, number, values, tuple(faults))
    remarks.extend(zeros.remarks())


def _plain(cell: _Cell) -> str:
    """Return what a cell holds as text: dates as YYYY-MM-DD, numbers as the sheet shows them where zeros lead."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**EXACT_DIGITS:
        value = int(value)
    if isinstance(value, int):
        pattern = cell.number_format or ""
        return str(value).zfill(len(pattern)) if pattern and not pattern.strip("0") else str(value)
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == dt.time() else value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value)


def _doubts(source: Source, line: int, name: str, cell: _Cell, is_key: bool, longest_value: int) -> Iterator[Fault]:
    """Return what is wrong with a cell that is not simply text."""
    value = cell.value
    if cell.data_type == "e":
        message = f"The cell shows the error {value} instead of a value."
        remedy = "Mend the formula, or put the value itself into the cell."
        yield source.fault(line, name, str(value), "cell-error", message, remedy)
    elif isinstance(value, str):
        message = f"The value has {len(value):,} characters; at most {longest_value:,} are taken."
        yield source.fault(line, name, value, "value-too-long", message, "Shorten it.")
    elif is_key and isinstance(value, dt.date | dt.time):
        message = "The spreadsheet has made a date of an identifier."
        remedy = "Format the column as Text and type the identifier again."
        yield source.fault(line, name, _plain(cell), "key-as-date", message, remedy)
    elif is_key and isinstance(value, float) and not value.is_integer():
        message = "The identifier is stored as a number with decimals; zeros at its end are lost (1.10 became 1.1)."
        remedy = "Format the column as Text and type the identifier again."
        yield source.fault(line, name, _plain(cell), "key-as-number", message, remedy)
    elif is_key and isinstance(value, int | float) and abs(value) >= 10**EXACT_DIGITS:
        message = f"The identifier is stored as a number of over {EXACT_DIGITS} digits; the spreadsheet lost the last."
        remedy = "Format the column as Text and type the identifier again."
        yield source.fault(line, name, _plain(cell), "key-as-number", message, remedy)


def _beyond(source: Source, line: int, value: str) -> Fault:
    """Return the fault of a cell that stands right of the last header."""
    message = "This cell stands right of the last header."
    return source.fault(line, "", value, "row-too-long", message, "Give its column a header, or empty the cell.")


class _LeadingZeros:
    """Notices columns of identifiers in which some begin with zeros and others have become numbers."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._padded: set[str] = set()
        self._numbers: dict[str, tuple[int, str]] = {}

    def see(self, line: int, column: str, value: object, text: str) -> None:
        """Take note of one identifier."""
        if isinstance(value, str):
            if value[:1] == "0":
                self._padded.add(column)
        elif isinstance(value, int | float) and text[:1] != "0":
            self._numbers.setdefault(column, (line, text))

    def remarks(self) -> Iterator[Fault]:
        """Return a remark a column that mixes the two."""
        for column in sorted(self._padded & self._numbers.keys()):
            line, text = self._numbers[column]
            message = "Some identifiers in this column begin with 0, and this one is stored as a number, which cannot."
            remedy = "If it should begin with 0, format the column as Text and type it again."
            yield self._source.fault(line, column, text, "leading-zeros", message, remedy)


_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\s+ref=\"([A-Z]{1,3}\d+:[A-Z]{1,3}(\d+))\"")


def _merged_below(path: Path, sheet: Any, file: str, header_line: int) -> tuple[Fault, ...]:
    """Return a fault for each range of merged cells below the header: all but its first cell read as empty."""
    faults: list[Fault] = []
    rest = b""
    with zipfile.ZipFile(path) as parts, parts.open(sheet._worksheet_path) as stream:
        while chunk := stream.read(1 << 20):
            text = rest + chunk
            cut = text.rfind(b"<")
            for found in _MERGED.finditer(text, 0, cut):
                reference, last = found[1].decode(), int(found[2])
                if last > header_line:
                    first = int(re.sub(r"\D", "", reference.split(":")[0]))
                    message = f"The cells {reference} are merged, so only the first of them has the value."
                    remedy = "Unmerge them and write the value into each row it is meant for."
                    faults.append(Fault(file, first, "", reference, "merged-cells", message, remedy))
            rest = text[cut:]
    return tuple(faults)


def _damaged(file: str, error: Exception) -> UnreadableTable:
    """Return the error for a file that is no sound workbook."""
    message = "The file is not a sound .xlsx workbook."
    remedy = "Open it in a spreadsheet and save it again as .xlsx, or export it as “CSV UTF-8”."
    return UnreadableTable(Fault(file, None, "", str(error), "workbook-damaged", message, remedy))
