"""Writing HR Import files as a site's settings want them, so that every value arrives as it is, or is refused here.

What a site does to a value is known (``connectors.hrimport_rules.php``): it trims, strips tags, reads a backslash
before a quote as an escape, drops or mangles what is too long. A row with such a value never goes out: it is
refused with a sentence, and the others go on.
"""

from __future__ import annotations

import codecs
import datetime as dt
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.ports import FixConfiguration
from connectors.hrimport_rules.php import TRIM, clean_text, csv_records
from connectors.hrimport_rules.reading import LEGACY_MANAGER_JOB, columns_of
from connectors.hrimport_rules.settings import HrImportSettings

Row = Mapping[str, Any]
"""A row by the site's own column names; None leaves a value alone, an empty text erases it where the site erases."""

# Columns the site keeps as they come, tags and all.
_RAW = frozenset({"description", "password"})
_MUST_HAVE = {
    "org": ("idnumber", "fullname", "frameworkidnumber"),
    "pos": ("idnumber", "fullname", "frameworkidnumber"),
    "comp": ("idnumber", "fullname", "frameworkidnumber"),
    "user": ("idnumber", "username"),
    "jobassignment": ("idnumber", "useridnumber"),
}
_SAFE = re.compile(r'[^"\n\r]*')
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_ENDLESS = sys.maxsize


def _plain_text(delimiter: str) -> re.Pattern[str]:
    """Texts that stand in a file as they are: no tag, no quote, no line end, nothing odd, no blank at either end."""
    odd = f'"<\0\ud800-\udfff{re.escape(delimiter)}'
    return re.compile(f"[^\\s{odd}](?:[^\n\r{odd}]*[^\\s{odd}])?")


def _key_of(column: str) -> str:
    """The name under which rows carry a column's value: 12's heading for the manager's job is another."""
    return "managerjaidnumber" if column == LEGACY_MANAGER_JOB else column


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was not written, and why, for a person."""

    idnumber: str
    column: str
    why: str


@dataclass(slots=True)
class WrittenFile:
    """A file as written: where, how many rows, and what was refused before sending."""

    element: str
    path: Path
    columns: tuple[str, ...]
    rows: int = 0
    refused: list[RefusedRow] = field(default_factory=list)


def kept_form(value: str, *, html: bool = False, limit: int | None = None) -> str:
    """The text as the site would keep it: trimmed, without tags (unless ``html``) and cut to ``limit``.

    For translating the canonical model; writing refuses a value that is not in this form.
    """
    value = value.replace("\0", "")
    text = value.strip(TRIM) if html else clean_text(value)
    return text[:limit].strip(TRIM) if limit is not None else text


def quoted(value: str, delimiter: str) -> str | None:
    """A value as one CSV field that PHP reads back as it is; None where there is no such field.

    Only what needs quotes gets them: outside quotes a backslash is just a backslash. Inside, a quote that an odd
    run of backslashes precedes must stay single, since PHP takes it as escaped; and such a run cannot end a field.
    """
    if _SAFE.fullmatch(value) and delimiter not in value and value.strip(TRIM) == value:
        return value
    out = ['"']
    backslashes = 0
    for char in value:
        if char == "\\":
            backslashes += 1
        else:
            if char == '"' and backslashes % 2 == 0:
                out.append('"')
            backslashes = 0
        out.append(char)
    if backslashes % 2:
        return None
    out.append('"')
    text = "".join(out)
    if "\\" in value:
        read = next(csv_records((text + delimiter + "x\n").splitlines(keepends=True), delimiter))
        if read.fields != [value, "x"]:
            return None
    return text


def date_text(day: dt.date, date_format: str) -> str:
    """A date in the site's format (PHP's letters); a format of other letters raises FixConfiguration."""
    letters: dict[str, Callable[[dt.date], str]] = {
        "d": lambda date: f"{date.day:02}",
        "j": lambda date: str(date.day),
        "m": lambda date: f"{date.month:02}",
        "n": lambda date: str(date.month),
        "M": lambda date: _MONTHS[date.month - 1][:3],
        "F": lambda date: _MONTHS[date.month - 1],
        "Y": lambda date: f"{date.year:04}",
        "y": lambda date: f"{date.year % 100:02}",
    }
    out = []
    for char in date_format:
        if char in letters:
            out.append(letters[char](day))
        elif char.isalpha():
            message = f"The site's csvdateformat {date_format!r} holds the letter {char!r}. Set it to d/m/Y or Y-m-d."
            raise FixConfiguration(message)
        else:
            out.append(char)
    return "".join(out)


_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def file_columns(element: str, settings: HrImportSettings, wanted: Sequence[str]) -> tuple[str, ...]:
    """The columns to write: those wanted that this site knows, and those it insists on, in the site's order.

    The manager's job column bears 12's name on a 12 site; ``deleted`` is there in partial mode only.
    """
    options = settings.element(element)
    known = columns_of(element, settings)
    names = {LEGACY_MANAGER_JOB if name == "managerjaidnumber" and not settings.modern else name for name in wanted}
    names |= set(_MUST_HAVE[element]) | {"timemodified"} | {name for name in options.imported or () if name in known}
    names |= {name for name, on in options.switched.items() if on and name in known}
    names -= {name for name, on in options.switched.items() if not on}
    names.discard("deleted")
    if not options.sourceallrecords:
        names.add("deleted")
    if element == "user" and options.allow_delete == 2:
        names.discard("suspended")
    plain = [name for name in known if name in names]
    custom = sorted({name for name in [*wanted, *(options.imported or ())] if name.startswith("customfield_")})
    return tuple(plain + custom)


class FileWriter:
    """Writes rows of one element one by one; memory does not grow with them (but for the keys already seen)."""

    def __init__(self, element: str, path: Path, settings: HrImportSettings, columns: Sequence[str]) -> None:
        self._settings = settings
        options = settings.element(element)
        self._delimiter = options.delimiter
        self._encoding = options.encoding
        self._limits = columns_of(element, settings)
        self._seen: set[str | tuple[str, str]] = set()
        self._jobs = element == "jobassignment"
        # An encoding of all of Unicode lacks nothing that is text.
        self._complete = codecs.lookup(self._encoding).name.startswith("utf")
        self._needs = _MUST_HAVE[element]
        self.written = WrittenFile(element, path, file_columns(element, settings, columns))
        self._columns = [
            (column, _key_of(column), self._limits.get(column) or _ENDLESS, self._blank(column))
            for column in self.written.columns
        ]
        self._plain = _plain_text(self._delimiter).fullmatch
        headings = [options.mapping.get(name, name) for name in self.written.columns]
        self._stream = path.open("w", encoding=self._encoding, newline="")
        self._stream.write(self._delimiter.join(headings) + "\n")

    def _blank(self, column: str) -> str | None:
        """What stands for nothing in a column; None where there must be something."""
        if column == "deleted":
            return "0"
        return None if column in self._needs or column == "timemodified" else ""

    def write(self, row: Row) -> bool:
        """Write a row, or refuse it and say why in ``written.refused``."""
        fields: list[str] = []
        plain = self._plain
        for column, name, limit, blank in self._columns:
            value = row.get(name)
            # Most values need no second look; the others get all of them.
            if type(value) is str and plain(value) and len(value) <= limit:
                fields.append(value)
            elif type(value) is int:
                fields.append(str(value))
            elif (value is None or value == "") and blank is not None:
                fields.append(blank)
            else:
                text, why = self._text(column, row)
                field_text = quoted(text, self._delimiter) if why is None else None
                if field_text is None:
                    return self._refuse(row, column, text, why)
                fields.append(field_text)
        line = self._delimiter.join(fields)
        key = str(row.get("idnumber") or "")
        if not self._complete:
            try:
                line.encode(self._encoding)
            except UnicodeEncodeError as error:
                odd = error.object[error.start : error.end]
                why = f"the file's encoding {self._encoding} has no {odd!r}. Set the element's CSV encoding to UTF-8."
                self.written.refused.append(RefusedRow(key, "", why))
                return False
        identity = (key, str(row.get("useridnumber") or "")) if self._jobs else key
        if identity in self._seen:
            self.written.refused.append(RefusedRow(key, "idnumber", f"{key} is in the file already"))
            return False
        self._seen.add(identity)
        self._stream.write(line + "\n")
        self.written.rows += 1
        return True

    def _refuse(self, row: Row, column: str, text: str, why: str | None) -> bool:
        why = why or "it ends in a backslash behind a comma, quote or new line, which HR Import cannot read"
        key = str(row.get("idnumber") or "")
        self.written.refused.append(RefusedRow(key, column, f"{column} {_short(text)} cannot be sent: {why}"))
        return False

    def _text(self, column: str, row: Row) -> tuple[str, str | None]:
        value = row.get(_key_of(column))
        if isinstance(value, bool):
            text = "1" if value else "0"
        elif isinstance(value, dt.date):
            text = date_text(value, self._settings.csvdateformat)
        else:
            text = "" if value is None else str(value)
        if column == "deleted" and not text:
            text = "0"
        if not text:
            needed = column in self._needs or column == "timemodified"
            return text, "HR Import needs it" if needed else None
        limit = self._limits.get(column)
        if limit is not None and len(text) > limit:
            return text, f"it has {len(text)} characters and HR Import takes {limit}"
        if _NO_TEXT.search(text):
            return text, "it holds a character that is no text"
        kept = text.strip(TRIM) if column in _RAW else clean_text(text)
        if kept != text:
            return text, f"HR Import would keep {_short(kept)}"
        return text, None

    def close(self) -> WrittenFile:
        """Finish the file and say what was written."""
        self._stream.close()
        return self.written

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def write_file(
    element: str, path: Path, rows: Iterable[Row], settings: HrImportSettings, columns: Sequence[str]
) -> WrittenFile:
    """Write one element's file; refused rows are in the result, never in the file.

    ``columns`` are the ones the rows may hold, by the site's own names; the site's required ones are added.
    """
    with FileWriter(element, path, settings, columns) as writer:
        for row in rows:
            writer.write(row)
        return writer.written


# --- Order and leavers ----------------------------------------------------------------------------------------------


def parents_first(rows: Sequence[Row]) -> list[Row]:
    """Rows of a hierarchy with every parent before its children; a circle keeps its order."""
    return _referenced_first(rows, lambda row: row.get("idnumber"), lambda row: row.get("parentidnumber"))


def managers_first(rows: Sequence[Row]) -> list[Row]:
    """Job assignments with managers' jobs before their reports'.

    HR Import makes a job whose manager's is missing later, and the order of making decides the primary job. Rows
    of one person keep their order, so the caller puts the primary one first.
    """
    return _referenced_first(rows, lambda row: row.get("idnumber"), lambda row: row.get("managerjaidnumber"))


def _referenced_first(rows: Sequence[Row], key: Callable[[Row], Any], above: Callable[[Row], Any]) -> list[Row]:
    by_key = {key(row): row for row in rows}
    placed: set[int] = set()
    out: list[Row] = []

    def chain(row: Row) -> Iterator[Row]:
        """The row and everything it hangs under that is not placed yet, bottom up."""
        seen: set[int] = set()
        node: Row | None = row
        while node is not None and id(node) not in placed and id(node) not in seen:
            seen.add(id(node))
            yield node
            node = by_key.get(above(node)) if above(node) else None

    for row in rows:
        for node in reversed(list(chain(row))):
            placed.add(id(node))
            out.append(node)
    return out


def leaver_columns(settings: HrImportSettings) -> dict[str, str]:
    """What a leaver's user row carries: ``suspended=1``, or ``deleted=1`` where the site's rule for it is to suspend.

    A site that suspends on absence switches the suspended column off; there ``deleted=1`` suspends.

    Raises:
        FixConfiguration: the site would neither suspend by column nor by rule.
    """
    options = settings.element("user")
    if options.allow_delete == 2:
        if options.sourceallrecords:
            message = (
                "The site suspends users missing from a file of all records and ignores the suspended column. "
                "Set the user element to partial mode, or its delete option to keep."
            )
            raise FixConfiguration(message)
        return {"deleted": "1"}
    if options.switched.get("suspended") is False:
        message = "The site does not import the suspended column. Switch it on in the user element's CSV settings."
        raise FixConfiguration(message)
    return {"suspended": "1"}


__all__ = [
    "FileWriter",
    "RefusedRow",
    "Row",
    "WrittenFile",
    "date_text",
    "file_columns",
    "kept_form",
    "leaver_columns",
    "managers_first",
    "parents_first",
    "quoted",
    "write_file",
]
