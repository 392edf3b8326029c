"""Reading one file of a feed: finding out how it is written, and bringing its rows into the staging tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path

from bridge.faults import Fault
from bridge.feed_settings import FeedSettings
from bridge.ports import FixConfiguration
from bridge.roster import RosterRow
from bridge.rows import Row, shown
from bridge.store import encoding
from bridge.store.feeds import MOST_FINDINGS
from bridge.store.stage_tables import REFUSED
from bridge.store.staging import Staging
from connectors.tables import Table, TableOptions, UnreadableTable, open_table
from mappings.columns import (
    DATES,
    NUMBERS,
    ColumnMapping,
    columns_wanted,
    detect_date_format,
    detect_decimal,
    map_columns,
    rules_of,
)
from mappings.people import DEFAULT_AUTH, SEPARATOR, PeopleReader, RowRules

SAMPLE_ROWS = 1_000
"""Rows looked at to find out how dates and numbers are written."""

READING = 1
"""Number of the way rows are read; another one makes every row be looked at again."""

LONGEST_VALUE = 20_000
"""Characters of the longest value a feed may have; nothing an LMS keeps of a person is longer."""

LONGEST_KEPT = 300
"""Characters kept of a field of a refused row."""


@dataclass(slots=True)
class Found:
    """One thing found in one row."""

    fault: Fault
    person: str = ""
    refused: bool = True
    cells: Mapping[str, str] = field(default_factory=dict)
    as_sent: bool = True
    """True where `cells` are those of the file, letter by letter."""


@dataclass(slots=True)
class Findings:
    """What was found in the rows of a file, as far as it is kept; `surplus` counts the rest."""

    found: list[Found] = field(default_factory=list)
    surplus: int = 0

    def add(self, one: Found) -> None:
        """Take a finding."""
        if len(self.found) < MOST_FINDINGS:
            self.found.append(one)
        else:
            self.surplus += 1

    def show_as_sent(self, path: Path, file: str, settings: FeedSettings) -> None:
        """Give findings that came of comparing rows the cells of their rows as they stand in the file."""
        wanted = {one.fault.line for one in self.found if not one.as_sent and one.fault.line}
        if not wanted:
            return
        line = 0
        cells: dict[int, Mapping[str, str]] = {}
        with open_table(path, columns_wanted(settings), _table_options(file, settings)) as table:
            for row in table.rows:
                line = max(row.line, line + 1)
                if line in wanted:
                    cells[line] = cells_of(row)
                    if len(cells) == len(wanted):
                        break
        for one in self.found:
            if not one.as_sent and one.fault.line in cells:
                one.cells, one.as_sent = cells[one.fault.line], True


@dataclass(frozen=True, slots=True)
class Opened:
    """A file of a feed, opened: how it is written, what its columns became, and its rows as they stream by."""

    table: Table
    mapping: ColumnMapping
    reader: PeopleReader
    rows: Iterator[Row]
    fingerprint: bytes
    date_format: str
    decimal: str
    statements: tuple[str, ...]
    """How the file is read, in sentences."""
    doubts: tuple[Fault, ...]
    """What about the file as a whole keeps it from being believed."""

    @property
    def columns(self) -> dict[str, str]:
        """The fields that the file's columns give, each with its header."""
        return {
            name: self.table.source.header(origin)
            for name, origin in self.mapping.origins.items()
            if origin and name in self.mapping.names
        }


def rules_fingerprint(
    settings: FeedSettings, units: Collection[str] | None, lookups: Mapping[str, Mapping[str, str]]
) -> str:
    """Return a short text that changes with anything by which rows are judged."""
    fields, extra = rules_of(settings)
    return encoding.digest(
        READING,
        {name: rule.model_dump() for name, rule in {**fields, **extra}.items()},
        {name: dict(table) for name, table in lookups.items()},
        [settings.date_format, settings.decimal, settings.email_optional, settings.unknown_unit],
        [settings.unknown_manager, settings.duplicate_email, settings.names_may_lose_letters, settings.snapshot],
        None if units is None else sorted(units),
    )


def read_lookups(settings: FeedSettings, folder: Path) -> dict[str, dict[str, str]]:
    """Return the lookup tables that a feed's rules name. Raises FixConfiguration where one cannot be read."""
    fields, extra = rules_of(settings)
    names = sorted({rule.lookup for rule in (*fields.values(), *extra.values()) if rule.lookup})
    tables: dict[str, dict[str, str]] = {}
    for name in names:
        try:
            with open_table(folder / name) as table:
                columns = list(table.source.headers)[:2]
                if len(columns) < 2 or table.faults:
                    raise FixConfiguration(f"The lookup table {name} needs two columns with headers: from and to.")
                first, second = columns
                tables[name] = {row.values[first]: row.values[second].strip() for row in table.rows if not row.faults}
        except UnreadableTable as error:
            raise FixConfiguration(
                f"A column of the feed is looked up in {folder / name}, which cannot be read. {error.fault.message} "
                "Check `lookup` in the feed's columns; it is seen from the folder of bridge.toml."
            ) from error
    return tables


def _table_options(file: str, settings: FeedSettings) -> TableOptions:
    return TableOptions(file, settings.encoding, settings.delimiter, settings.sheet, LONGEST_VALUE)


@contextmanager
def open_feed(
    path: Path,
    name: str,
    settings: FeedSettings,
    units: Collection[str] | None = None,
    lookups: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[Opened]:
    """Open a file of a feed. Raises UnreadableTable where not one row of it can be read."""
    with open_table(path, columns_wanted(settings), _table_options(name, settings)) as table:
        mapping = map_columns(settings, table.source.headers, lookups)
        sample = list(islice(table.rows, SAMPLE_ROWS))
        texts = _texts_of(sample, mapping)
        doubts = list(table.faults)
        statements = [f"encoding {table.encoding}", f"delimiter {_delimiter(table.delimiter)}"]
        date_format = settings.date_format
        if date_format is None:
            dates = [text for name in DATES for text in texts(name)]
            found = detect_date_format(dates)
            date_format = found.format
            if found.among:
                doubts.append(
                    table.source.fault(
                        None,
                        mapping.origin("start"),
                        next((text for text in dates if text.strip()), ""),
                        "date-format",
                        f"The dates fit {' and '.join(found.among)} equally well, and mean different days.",
                        "Say which with `date_format` in the feed's settings.",
                    )
                )
            statements.append(f"dates {date_format} (found out)" if any(dates) else "no dates")
        else:
            statements.append(f"dates {date_format} (declared)")
        decimal = settings.decimal or detect_decimal(
            text for name in NUMBERS & set(mapping.extra) for text in texts(name)
        )
        statements.append(f"decimal mark {decimal} ({'declared' if settings.decimal else 'found out'})")
        if not mapping.origins.get("username"):
            statements.append("user name: the person's key in lower case")
        if "auth" not in mapping.extra:
            statements.append(f"sign-in: {DEFAULT_AUTH}")
        reader = PeopleReader(mapping, RowRules(settings, date_format, decimal, units))
        fingerprint = encoding.digest(
            rules_fingerprint(settings, units, lookups or {}), mapping.sources, mapping.names, date_format, decimal
        )
        yield Opened(
            table,
            mapping,
            reader,
            chain(sample, table.rows),
            fingerprint.encode(),
            date_format,
            decimal,
            tuple(statements),
            tuple(doubts),
        )


def _texts_of(sample: Sequence[Row], mapping: ColumnMapping) -> Callable[[str], list[str]]:
    """Return a function that gives a field's texts in the sample."""
    rows = [
        mapping.fields(tuple(row.values.get(source, "") for source in mapping.sources))
        for row in sample
        if not row.faults
    ]
    return lambda name: [row[mapping.names.index(name)] for row in rows] if name in mapping.names else []


def _delimiter(delimiter: str) -> str:
    return {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", "": "none (a workbook)"}.get(delimiter, delimiter)


@dataclass(slots=True)
class Staged:
    """What reading a file came to."""

    rows: int = 0
    last_line: int = 0
    last_was_seen: bool = False
    remarks: int = 0


def stage_rows(opened: Opened, staging: Staging, findings: Findings) -> Staged:
    """Bring every row of a file into the staging tables: known ones by their hash alone, others read and checked."""
    staging.load_known()
    known_pop = staging.known.pop
    lines, first_id = staging.lines, staging.first_id
    sources = opened.mapping.sources
    pick = _picker(sources)
    quick = opened.reader.quick
    add_plain = staging.add_plain
    key = opened.fingerprint
    blake2b, join = hashlib.blake2b, SEPARATOR.join
    separators = max(len(sources) - 1, 0)
    rows = line = 0
    last_was_seen = False
    out = Staged()
    for row in opened.rows:
        rows += 1
        line = max(row.line, line + 1)
        cells = row.values
        last_was_seen = False
        if not row.faults:
            values = pick(cells)
            text = join(values)
            row_hash = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=key).digest()
            if text.count(SEPARATOR) == separators:
                roster_id = known_pop(row_hash, None)
                if roster_id is not None:
                    lines[roster_id - first_id] = line
                    last_was_seen = True
                    continue
                record = quick(values, text)
                if record is not None:
                    if len(record) == PLAIN_LENGTH:
                        add_plain((line, row_hash, *record))
                    else:
                        staging.add(line, row_hash, RosterRow(*record))
                    continue
        else:
            row_hash = b""
        _stage_closely(row, line, row_hash, opened, staging, findings, out)
    staging.flush()
    out.rows, out.last_line, out.last_was_seen = rows, line, last_was_seen
    return out


def _picker(sources: Sequence[str]) -> Callable[[Mapping[str, str]], tuple[str, ...]]:
    """Return a function that takes the cells of some columns out of a row."""
    if len(sources) > 1:
        return itemgetter(*sources)
    return lambda cells: tuple(cells[source] for source in sources)


PLAIN_LENGTH = 11
"""Fields of a row in short form."""


def _stage_closely(
    row: Row, line: int, row_hash: bytes, opened: Opened, staging: Staging, findings: Findings, out: Staged
) -> None:
    """Stage a row that needs a closer look, with everything found in it."""
    read = opened.reader.closely(row)
    person = shown(read.record.person)
    cells = cells_of(row) if read.faults or read.remarks else {}
    for fault in read.faults:
        findings.add(Found(fault, person, True, cells))
    for remark in read.remarks:
        if not read.faults:
            findings.add(Found(remark, person, False, cells))
            out.remarks += 1
    if read.faults:
        cut = RosterRow(*(field[:LONGEST_KEPT] for field in read.record))
        staging.add(line, row_hash, cut, read.action, REFUSED)
    else:
        staging.add(line, row_hash, read.record, "delete" if read.action == "delete" else "")


def cells_of(row: Row) -> dict[str, str]:
    """Return the mapped cells of a row by their header, long ones cut."""
    return {row.source.header(name): shown(text) for name, text in row.values.items()}


def ends_in_line_end(path: Path, workbook: bool) -> bool:
    """Tell whether a text file's last line is ended; a workbook cannot be cut without being broken."""
    if workbook:
        return True
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 4))
        tail = stream.read().rstrip(b"\0\x1a")
    return tail.endswith((b"\n", b"\r")) or not tail


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
