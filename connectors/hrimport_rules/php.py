"""The pieces of PHP that decide how HR Import reads a value: CSV records, cleaning, numbers and dates."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

# The characters PHP's trim() removes from both ends.
TRIM = " \t\n\r\0\x0b"
_SPACE = " \t\n\r\x0b\x0c"
_BLANKS = frozenset(_SPACE)
_NUMERIC = re.compile(r"[ \t\n\r\v\f]*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?[ \t\n\r\v\f]*")
_INTEGER = re.compile(r"[ \t\n\r\v\f]*[+-]?\d+[ \t\n\r\v\f]*")
_LEADING_INTEGER = re.compile(r"[ \t\n\r\v\f]*([+-]?\d+)")
_EMAIL = re.compile(
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_DIGITS = 20
_USERNAME_REFUSED = re.compile(r"[^-.@_a-z0-9]")
_LANG_OPEN = re.compile(r'<lang lang="[a-zA-Z0-9_-]+"\s*>')
_SPAN_OPEN = re.compile(r'<span(\s+lang="[a-zA-Z0-9_-]+"|\s+class="multilang"){2}\s*>')
_MARKED = {"UTF-16", "UTF-32"}
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_TAGS = re.compile(r"<.*?>", re.DOTALL)


class Record(NamedTuple):
    """One CSV record: the physical lines it spans, its fields (None: a blank line), if several lines
    its text, and whether a ``<`` is anywhere in it."""

    line: int
    last_line: int
    fields: list[str] | None
    text: str | None
    tagged: bool


def open_text(source: bytes | io.BufferedReader, encoding: str) -> io.TextIOWrapper:
    """Text lines as PHP sees them: only LF ends a line, undecodable bytes vanish, a UTF-8 BOM is dropped."""
    codec = "utf-8-sig" if encoding.upper().replace("_", "-") in {"UTF-8", "UTF8"} else encoding
    stream = io.BufferedReader(io.BytesIO(source)) if isinstance(source, bytes) else source
    if codec.upper().replace("_", "-") in _MARKED and not stream.peek(4)[:4].startswith(_MARKS):
        # Without its mark the text is big-endian, as Unicode has it.
        codec += "-BE"
    return io.TextIOWrapper(stream, encoding=codec, errors="ignore", newline="\n")


def csv_records(lines: Iterable[str], delimiter: str) -> Iterator[Record]:
    """Records as ``fgetcsv`` returns them, backslash escape included.

    A quoted field that ends in a backslash does not end: it swallows what follows, as observed
    (hrimport-outcomes, order 31).
    """
    source = iter(lines)
    number = 0
    for text in source:
        number += 1
        if '"' not in text:
            body = text[:-1] if text[-1:] == "\n" else text
            if body[-1:] == "\r":
                body = body[:-1]
            yield Record(number, number, body.split(delimiter) if body else None, None, "<" in body)
            continue
        start = number
        fields: list[str] = []
        buffer = text
        position = 0
        raw: list[str] | None = None
        while True:
            # PHP skips white space before a field only when an enclosure follows it.
            look = position
            length = len(buffer)
            while look < length and buffer[look] != delimiter and buffer[look] in _SPACE:
                look += 1
            if look < length and buffer[look] == '"':
                parts: list[str] = []
                position = look + 1
                closed = False
                while not closed:
                    end, closed = _quoted_part(buffer, position, parts)
                    if closed:
                        position = end
                        break
                    more = next(source, None)
                    if more is None:
                        break
                    number += 1
                    raw = raw if raw is not None else [text]
                    raw.append(more)
                    # An escape at the very end of a line guards that line's own LF, nothing of the next.
                    buffer, position = more, 0
                if not closed:
                    fields.append("".join(parts))
                    break
                stop = buffer.find(delimiter, position)
                tail = buffer[position:] if stop < 0 else buffer[position:stop]
                fields.append("".join(parts) + _without_line_end(tail))
            else:
                stop = buffer.find(delimiter, position)
                fields.append(_without_line_end(buffer[position:]) if stop < 0 else buffer[position:stop])
            if stop < 0:
                break
            position = stop + 1
        whole = None if raw is None else "".join(raw)
        yield Record(start, number, fields, whole, "<" in (whole or text))


def _quoted_part(buffer: str, position: int, parts: list[str]) -> tuple[int, bool]:
    """Copy a quoted field from ``position``; say where it stopped and whether its closing quote was met."""
    begin = position
    while True:
        quote = buffer.find('"', position)
        escape = buffer.find("\\", position, quote if quote >= 0 else len(buffer))
        if escape >= 0:
            position = escape + 2
            if position > len(buffer):
                parts.append(buffer[begin:])
                return len(buffer), False
            continue
        if quote < 0:
            parts.append(buffer[begin:])
            return len(buffer), False
        if buffer[quote + 1 : quote + 2] == '"':
            parts.append(buffer[begin : quote + 1])
            begin = position = quote + 2
            continue
        parts.append(buffer[begin:quote])
        return quote + 1, True


def _without_line_end(text: str) -> str:
    if text.endswith("\n"):
        text = text[:-1]
    return text[:-1] if text.endswith("\r") else text


def swallowed_rows(record: Record, delimiter: str, width: int) -> list[tuple[int, str]]:
    """The rows a spreadsheet would see inside a record that a backslash kept open: line and first field.

    Only rows of the file's own width are rows: a value with a backslash before a quote and a new line of its own looks
    broken to a spreadsheet too, and lost nobody.
    """
    if record.text is None or '\\"' not in record.text:
        return []
    reader = csv.reader(io.StringIO(record.text, newline=""), delimiter=delimiter)
    found: list[tuple[int, str]] = []
    line = record.line
    try:
        for row in reader:
            if row and line > record.line and len(row) == width:
                found.append((line, row[0]))
            line = record.line + reader.line_num
    except csv.Error:
        return found
    return found


def strip_tags(text: str, allowed: str = "") -> str:
    """PHP's ``strip_tags``: a ``<`` followed by white space is text, an unclosed tag eats the rest."""
    out: list[str] = []
    position, length = 0, len(text)
    while position < length:
        start = text.find("<", position)
        if start < 0:
            out.append(text[position:])
            break
        out.append(text[position:start])
        if start + 1 < length and text[start + 1] in _SPACE:
            out.append("<")
            position = start + 1
            continue
        end = _tag_end(text, start)
        tag = text[start:end]
        name = re.match(r"</?\s*([a-zA-Z0-9]*)", tag)
        if allowed and end <= length and name and name[1].lower() == allowed:
            out.append(tag)
        position = end
    return "".join(out)


def _tag_end(text: str, start: int) -> int:
    if text.startswith("<!--", start):
        end = text.find("-->", start + 4)
        return len(text) if end < 0 else end + 3
    if text.startswith("<?", start):
        end = text.find("?>", start + 1)
        return len(text) if end < 0 else end + 2
    # Within <!...> a further "<" is no tag of its own.
    nests = not text.startswith("<!", start)
    quote = ""
    depth = 0
    for index in range(start + 1, len(text)):
        char = text[index]
        if quote:
            if char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        elif char == "<":
            depth += nests and text[index + 1 : index + 2] not in _BLANKS
        elif char == ">":
            if depth:
                depth -= 1
                continue
            return index + 1
    return len(text)


def clean_text(value: str) -> str:
    """Trimmed and cleaned as PARAM_TEXT: tags go, multi-language spans written correctly stay."""
    value = value.strip(TRIM)
    if "<" not in value:
        return value
    for close, opening, name in (("</lang>", _LANG_OPEN, "lang"), ("</span>", _SPAN_OPEN, "span")):
        if close in value:
            kept = strip_tags(value, name)
            if _balanced(kept, close, opening):
                return kept
            break
    return strip_tags(value)


def _balanced(text: str, close: str, opening: re.Pattern[str]) -> bool:
    tags = _TAGS.findall(text)
    is_open = False
    for tag in tags:
        if tag == close:
            if not is_open:
                return False
            is_open = False
        elif opening.fullmatch(tag):
            is_open = True
        else:
            return False
    return bool(tags) and not is_open


def clean_int(value: str) -> int:
    """PHP's ``(int)``: the leading digits, or 0 (so that ``yes`` is 0)."""
    match = _LEADING_INTEGER.match(value)
    # PHP stops at its largest integer; longer texts tell no more.
    return int(match[1][:_DIGITS]) if match else 0


def clean_username(value: str, *, extended: bool = False) -> str:
    """PARAM_USERNAME: lower case, and only letters, digits and ``-_.@`` unless the site allows more."""
    value = value.strip(TRIM).lower()
    return value if extended else _USERNAME_REFUSED.sub("", value)


def valid_email(value: str) -> bool:
    """Whether the site accepts the address (the WHATWG form)."""
    return _EMAIL.fullmatch(value) is not None


def is_numeric(value: str) -> bool:
    """PHP's ``is_numeric`` for a string."""
    return _NUMERIC.fullmatch(value) is not None


def whole_number(value: str) -> int | None:
    """A numeric text as a whole number; None where it is more than any number."""
    try:
        return int(float(value))
    except (OverflowError, ValueError):
        return None


def database_integer(value: str) -> int | None:
    """The integer PostgreSQL stores for this text in a 64-bit column; None when it refuses the statement."""
    if not _INTEGER.fullmatch(value) or len(value.strip().lstrip("+-0")) > _DIGITS:
        return None
    number = int(value)
    return number if -(2**63) <= number < 2**63 else None


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS_LONG = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_DATE_PARTS = {
    "d": r"(?P<day>\d{1,2})",
    "j": r"(?P<day>\d{1,2})",
    "m": r"(?P<month>\d{1,2})",
    "n": r"(?P<month>\d{1,2})",
    "M": r"(?P<monthname>[A-Za-z]{3,9})",
    "F": r"(?P<monthname>[A-Za-z]{3,9})",
    "Y": r"(?P<year>\d{1,4})",
    "y": r"(?P<shortyear>\d{2})",
    "H": r"(?P<hour>\d{1,2})",
    "G": r"(?P<hour>\d{1,2})",
    "i": r"(?P<minute>\d{2})",
    "s": r"(?P<second>\d{2})",
    "D": r"[A-Za-z]+",
    "l": r"[A-Za-z]+",
}


@lru_cache(maxsize=32)
def _date_pattern(date_format: str) -> re.Pattern[str]:
    return re.compile("".join(_DATE_PARTS.get(char, re.escape(char)) for char in date_format))


def parse_date(text: str, date_format: str, timezone: str) -> int:
    """The unix time of a date in the site's format, 0 when it is none; days and months past the end roll over.

    31/02/2024 is 2 March and 31/31/2024 is 31 July 2026 (observed, hrimport-outcomes orders 16 and 100).
    """
    match = _date_pattern(date_format).fullmatch(text)
    return _timestamp(match, timezone) if match else 0


def _timestamp(match: re.Match[str], timezone: str) -> int:
    parts = match.groupdict()
    year = parts.get("year")
    short = parts.get("shortyear")
    name = (parts.get("monthname") or "").lower()
    if name:
        if name not in _MONTHS and name not in _MONTHS_LONG:
            return 0
        month = _MONTHS.index(name[:3]) + 1
    else:
        month = int(parts.get("month") or 1)
    number = int(year) if year else (int(short) + (2000 if int(short) < 70 else 1900) if short else 1970)
    day = int(parts.get("day") or 1)
    # PHP counts months and days past the end into the following year and month.
    number += (month - 1) // 12
    month = (month - 1) % 12 + 1
    if not 1 <= number <= 9000:
        return 0
    if number == 1 and month == 1 and day < 1:
        return 0
    moment = datetime(number, month, 1, tzinfo=ZoneInfo(timezone)) + timedelta(days=day - 1)
    moment = moment.replace(
        hour=int(parts.get("hour") or 0) % 24,
        minute=int(parts.get("minute") or 0) % 60,
        second=int(parts.get("second") or 0) % 60,
    )
    return int(moment.timestamp())
