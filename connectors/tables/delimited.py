"""Rows out of delimited text: CSV with any of the usual delimiters, streamed, each with the line it starts on."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from bridge.faults import Fault
from bridge.rows import Column, Row, Source, shown
from connectors.tables.encoding import encoding_of
from connectors.tables.headers import known_headers, match_headers
from connectors.tables.table import Table, TableOptions, UnreadableTable

DELIMITERS = ",;\t|"
"""The delimiters a header line is tried with where none is declared."""

LONGEST_RECORD = 1 << 22
"""Characters a line or a quoted field may have before its opening quote counts as never closed."""


FEWEST_COLUMNS_TO_TELL = 4
"""Columns a table has at least where a line inside a quoted value is recognised as a row."""


class _Lines:
    """The physical lines of a text, with those of the current record at hand to be read another way."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._again: deque[str] = deque()
        self.number = 0
        self.record: list[str] = []
        self.suspect = False
        self.longest_seen = 0
        self.cut = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._stream.readline(LONGEST_RECORD)
        if not line:
            raise StopIteration
        if len(line) == LONGEST_RECORD and line[-1] not in "\r\n":
            line = self._cut_to_line_end(line)
        if len(line) > self.longest_seen:
            self.longest_seen = len(line)
        if "\0" in line:
            self.suspect = True
        self.number += 1
        self.record.append(line)
        return line

    def begin_record(self) -> int:
        """Forget the last record and return the number of the line on which the next one starts."""
        self.record.clear()
        self.suspect = False
        self.longest_seen = 0
        self.cut = False
        return self.number + 1

    def read_again_after_first_line(self) -> None:
        """Hand out the record's lines once more, but for the first."""
        again = self.record[1:]
        self._again.extendleft(reversed(again))
        self.number -= len(again)
        del self.record[1:]

    def _cut_to_line_end(self, line: str) -> str:
        """Skip the rest of a line that is too long for any table; what is kept is refused for its length."""
        self.cut = True
        while True:
            more = self._stream.readline(LONGEST_RECORD)
            if not more or more[-1] in "\r\n":
                return line.replace('"', "'")


def open_delimited(path: Path, file: str, columns: Sequence[Column], options: TableOptions) -> Table:
    """Open a delimited text file up to its header line.

    Raises UnreadableTable where the encoding is not to be told, or there is no header line.
    """
    if csv.field_size_limit() < LONGEST_RECORD:
        csv.field_size_limit(LONGEST_RECORD)  # the module knows one limit for everybody: raise it, never lower it
    encoding = encoding_of(path, file, options.encoding)
    stream = path.open(encoding=encoding, newline="")
    try:
        lines = _Lines(stream)
        header_line, delimiter, headers = _read_header(lines, file, columns, options.delimiter)
    except BaseException:
        stream.close()
        raise
    match = match_headers(file, header_line, headers, columns)
    rows = _rows(lines, match.source, match.names, delimiter, options.longest_value)
    return Table(
        match.source, tuple(headers), rows, match.faults, match.unknown, [], encoding, delimiter, close=stream.close
    )


def _read_header(
    lines: _Lines, file: str, columns: Sequence[Column], declared: str | None
) -> tuple[int, str, list[str]]:
    """Read up to the header line; return its number, the delimiter and the headers."""
    while True:
        start = lines.begin_record()
        line = next(lines, None)
        if line is None:
            raise UnreadableTable(
                Fault(
                    file,
                    None,
                    "",
                    "",
                    "empty-file",
                    "The file is empty: it has not even a header line.",
                    "Export it again; a list with nothing in it still has its header line.",
                )
            )
        text = line.strip("\r\n")
        if text[:4].lower() == "sep=" and len(text) == 5:
            declared = declared or text[4]  # spreadsheets put this line before the header and hide it
            continue
        if text.strip(" ,;\t|"):
            break
    while line is not None and sum(part.count('"') for part in lines.record) % 2:
        if len(lines.record) > 100:
            break  # a header is never that long: the quote is a stray one, and the parts are shown as they are
        line = next(lines, None)
    if len(lines.record) > 100:
        lines.read_again_after_first_line()
    best: tuple[tuple[int, bool, int], str, list[str]] | None = None
    for delimiter in declared or DELIMITERS:
        headers = next(csv.reader(iter(lines.record), delimiter=delimiter))
        # With the wrong delimiter, the quotes of a quoted header end up inside a header.
        rank = (known_headers(headers, columns), '"' not in "".join(headers), len(headers))
        if best is None or rank > best[0]:
            best = (rank, delimiter, headers)
    if best is None:
        raise ValueError("a delimiter cannot be empty")
    return start, best[1], best[2]


def _rows(
    lines: _Lines, source: Source, names: Sequence[str | None], delimiter: str, longest_value: int
) -> Iterator[Row]:
    """Go through the records after the header."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    width = len(names)
    plain = [name for name in names if name is not None] if None not in names else None
    while True:
        start = lines.begin_record()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _broken(lines, source, names, delimiter, start, str(error))
            continue
        if len(lines.record) > 1 and _has_swallowed_rows(lines.record, delimiter, width):
            yield _broken(lines, source, names, delimiter, start, "swallowed")
            continue
        if len(fields) == width and not lines.suspect and lines.longest_seen <= longest_value:
            if plain is not None:
                values = dict(zip(plain, fields, strict=True))
            else:
                values = {name: text for name, text in zip(names, fields, strict=True) if name is not None}
            if len(lines.record) > 1 or any(fields):
                yield Row(source, start, values)
        elif lines.cut:
            yield _too_long(source, names, start, fields)
        elif any(fields):
            yield _checked(source, names, start, fields, longest_value)


def _has_swallowed_rows(record: Sequence[str], delimiter: str, width: int) -> bool:
    """Return whether lines that a quoted value goes over are whole rows by themselves.

    Text of several lines is common. Where a line inside has exactly the delimiters of a row, or both the first and the
    last line have, two stray quotes have closed in rows. With few columns that may be chance, and is let pass.
    """
    if width < FEWEST_COLUMNS_TO_TELL:
        return False
    like_rows = [line.count(delimiter) == width - 1 for line in record]
    return any(like_rows[1:-1]) or (like_rows[0] and like_rows[-1])


def _too_long(source: Source, names: Sequence[str | None], start: int, fields: list[str]) -> Row:
    """Return the row of a line that was cut while it was read."""
    values = {name: shown(text) for name, text in zip(names, fields, strict=False) if name is not None}
    message = f"The line has over {LONGEST_RECORD:,} characters, which no row of a table has."
    remedy = "Export the file again; the ends of its lines may have been lost on the way."
    fault = source.fault(start, "", " | ".join(fields[:20]), "value-too-long", message, remedy)
    return Row(source, start, values, (fault,))


def _checked(source: Source, names: Sequence[str | None], start: int, fields: list[str], longest_value: int) -> Row:
    """Return a row that has the wrong number of fields, a zero byte or a value that is too long, and says so."""
    faults: list[Fault] = []
    width = len(names)
    surplus = fields[width:]
    if len(fields) < width:
        faults.append(
            source.fault(
                start,
                "",
                " | ".join(fields),
                "row-too-short",
                f"The row has {len(fields)} fields where the header has {width}.",
                "Put the missing fields in; an empty field still needs its delimiter.",
            )
        )
    elif any(surplus):
        faults.append(
            source.fault(
                start,
                "",
                " | ".join(surplus),
                "row-too-long",
                f"The row has {len(fields)} fields where the header has {width}; these are over.",
                "Put quotes around a value that contains the delimiter, or take the surplus fields out.",
            )
        )
    values: dict[str, str] = {}
    for position, name in enumerate(names):
        text = fields[position] if position < len(fields) else ""
        if "\0" in text:
            faults.append(
                source.fault(
                    start,
                    name or f"no. {position + 1}",
                    text.replace("\0", "␀"),
                    "zero-byte",
                    "The value contains a zero byte, which no text has.",
                    "Export the file again; it was damaged on the way or cut by the system that wrote it.",
                )
            )
            text = text.replace("\0", "")
        if len(text) > longest_value:
            faults.append(
                source.fault(
                    start,
                    name or f"no. {position + 1}",
                    text,
                    "value-too-long",
                    f"The value has {len(text):,} characters; at most {longest_value:,} are taken.",
                    "Shorten it, and look for a quote before it that is never closed.",
                )
            )
            text = shown(text)
        if name is not None:
            values[name] = text
    return Row(source, start, values, tuple(faults), tuple(fields) if faults else ())


def _broken(lines: _Lines, source: Source, names: Sequence[str | None], delimiter: str, start: int, error: str) -> Row:
    """Return the row of a record whose quotes do not pair, and go on at its second physical line.

    A stray quote swallows whatever follows up to the next quote; giving up only the line it stands on keeps the
    rows after it.
    """
    if "expected after" in error:
        message = "A quote stands inside a quoted value, so that nobody can tell where the value ends."
        remedy = 'Double every quote inside a quoted value (""), or take it out.'
    elif error == "swallowed":
        message = "A value that opens with a quote on this line has whole rows inside it before its quote is closed."
        remedy = "Close the quote on this line, or double it if it belongs to the value."
    elif "field larger" in error:
        message = f"A value that opens with a quote on this line goes on for over {LONGEST_RECORD:,} characters."
        remedy = "Close the quote, or double it if it belongs to the value."
    else:
        message = "A value opens with a quote on this line, and the file ends before the quote is closed."
        remedy = "Close the quote, or double it if it belongs to the value; check that the file is complete."
    lines.read_again_after_first_line()
    text = lines.record[0][:LONGEST_RECORD].rstrip("\r\n")
    fields = next(csv.reader([text], delimiter=delimiter), [])
    values = {name: shown(value) for name, value in zip(names, fields, strict=False) if name is not None}
    fault = source.fault(start, "", text, "quote", message, remedy)
    return Row(source, start, values, (fault,), tuple(fields))
