"""How the site reads an element's file: which columns must be there, which rows never reach the import."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from connectors.hrimport_rules.outcome import Aborted, ElementResult, Journal, RowOutcome
from connectors.hrimport_rules.php import (
    clean_text,
    csv_records,
    database_integer,
    open_text,
    parse_date,
    swallowed_rows,
)
from connectors.hrimport_rules.settings import HIERARCHIES, ElementSettings, HrImportSettings

# The columns of each element in the site's own order, and the longest value of each (None: no limit).
HIERARCHY_COLUMNS: dict[str, int | None] = {
    "idnumber": 100,
    "fullname": 255,
    "shortname": 100,
    "deleted": None,
    "description": None,
    "frameworkidnumber": 100,
    "parentidnumber": 100,
    "typeidnumber": 100,
    "timemodified": None,
}
USER_COLUMNS: dict[str, int | None] = {
    "idnumber": 255,
    "timemodified": None,
    "username": 100,
    "deleted": None,
    "firstname": 100,
    "lastname": 100,
    "firstnamephonetic": 255,
    "lastnamephonetic": 255,
    "middlename": 255,
    "alternatename": 255,
    "email": 100,
    "emailstop": None,
    "city": 120,
    "country": 30,
    "timezone": 100,
    "lang": 30,
    "description": None,
    "url": 255,
    "institution": 255,
    "department": 255,
    "phone1": 20,
    "phone2": 20,
    "address": 255,
    "auth": 20,
    "password": 255,
    "suspended": None,
    "tenantmember": 100,
    "tenantparticipant": None,
}
JOB_COLUMNS: dict[str, int | None] = {
    "idnumber": 100,
    "useridnumber": 255,
    "timemodified": None,
    "deleted": None,
    "fullname": 255,
    "startdate": 20,
    "enddate": 20,
    "orgidnumber": 100,
    "posidnumber": 100,
    "manageridnumber": 255,
    "appraiseridnumber": 255,
    "tempmanageridnumber": 255,
    "tempmanagerexpirydate": 20,
    "managerjaidnumber": 100,
    "tempmanagerjaidnumber": 100,
}
# 12's heading for the manager's job assignment.
LEGACY_MANAGER_JOB = "managerjobassignmentidnumber"
_MODERN_JOB_COLUMNS = {"tempmanageridnumber", "tempmanagerexpirydate", "tempmanagerjaidnumber"}
_ALLOWED_IN_HEADINGS = re.compile(r"[ ?!A-Za-z0-9_-]+")


def columns_of(element: str, settings: HrImportSettings) -> dict[str, int | None]:
    """The plain columns of an element on a site of this version, with their longest values."""
    if element in HIERARCHIES:
        columns = dict(HIERARCHY_COLUMNS)
        if element == "comp":
            columns["fullname"] = 1024
            columns["assignavailability" if settings.competency_assignment else "aggregationmethod"] = None
        return columns
    if element == "user":
        columns = dict(USER_COLUMNS)
        if settings.tenants is None:
            del columns["tenantmember"], columns["tenantparticipant"]
        return columns
    columns = dict(JOB_COLUMNS)
    if not settings.modern:
        columns = {
            LEGACY_MANAGER_JOB if name == "managerjaidnumber" else name: limit
            for name, limit in columns.items()
            if name not in _MODERN_JOB_COLUMNS
        }
    if settings.element(element).updateidnumbers:
        columns = {
            name: limit for name, limit in columns.items() if not name.endswith(("jaidnumber", LEGACY_MANAGER_JOB))
        }
    return columns


@dataclass(frozen=True, slots=True)
class Selection:
    """The columns the site imports: plain ones, and custom fields (``customfield_<short name>``)."""

    plain: frozenset[str]
    custom: tuple[str, ...]
    # Columns whose heading must be in the file (a plain column merely believed to be on is not among them).
    required: frozenset[str]


_ALWAYS = {
    "org": {"idnumber", "fullname", "frameworkidnumber", "timemodified"},
    "pos": {"idnumber", "fullname", "frameworkidnumber", "timemodified"},
    "comp": {"idnumber", "fullname", "frameworkidnumber", "timemodified"},
    "user": {"idnumber", "timemodified", "username"},
    "jobassignment": {"idnumber", "useridnumber", "timemodified"},
}


def selection(element: str, settings: HrImportSettings, headings: list[str]) -> Selection:
    """Which columns the site imports from a file with these headings.

    Where the site's choice is not known (``imported`` is None), what the file brings is taken to be wanted,
    and only what every site requires is required.
    """
    options = settings.element(element)
    known = columns_of(element, settings)
    present = {_column_of(heading, options) for heading in headings}
    required = set(_ALWAYS[element])
    if element == "user":
        if options.allow_create:
            required |= {"firstname", "lastname"}
        if not options.allowduplicatedemails:
            required.add("email")
    if not options.sourceallrecords:
        required.add("deleted")
    wanted = {name for name in options.imported or () if name in known or name.startswith("customfield_")}
    required |= wanted - {"deleted"}
    if {"manageridnumber", "managerjaidnumber"} & known.keys() <= required:
        required |= {"managerjaidnumber"} & known.keys()
    switched_off = {name for name, on in options.switched.items() if not on}
    required |= {name for name, on in options.switched.items() if on and (name in known or "customfield_" in name)}
    required -= switched_off
    chosen = (required | present) - switched_off
    if options.sourceallrecords and options.switched.get("deleted") is not True:
        chosen.discard("deleted")
        required.discard("deleted")
    if element == "user" and options.allow_delete == 2:
        # Suspending on absence switches the suspended column off.
        chosen.discard("suspended")
        required.discard("suspended")
    custom = [heading for heading in headings if heading.startswith("customfield_") and heading in chosen]
    custom += sorted(name for name in chosen if name.startswith("customfield_") and name not in custom)
    return Selection(frozenset(name for name in chosen if name in known), tuple(custom), frozenset(required))


def _column_of(heading: str, options: ElementSettings) -> str:
    for column, renamed in options.mapping.items():
        if renamed == heading:
            return column
    return heading


class CsvTable:
    """A file opened as the site opens it: headings checked, and the rows whose field count fits."""

    def __init__(
        self,
        source: bytes | Path,
        settings: HrImportSettings,
        journal: Journal,
        result: ElementResult,
    ) -> None:
        self.element = result.element
        self.settings = settings
        self.options = settings.element(self.element)
        self._journal = journal
        self._result = result
        self._stream = open_text(source if isinstance(source, bytes) else source.open("rb"), self.options.encoding)
        self._records = csv_records(self._stream, self.options.delimiter)
        try:
            self.headings = self._read_headings()
            self.selection = selection(self.element, settings, self.headings)
            self._check_headings()
        except Aborted:
            self.close()
            raise
        # Where each column is; of two equal headings the last one counts.
        self.index = {_column_of(heading, self.options): at for at, heading in enumerate(self.headings)}
        self._id_at = self.index.get("idnumber", -1)

    def _read_headings(self) -> list[str]:
        first = next(self._records, None)
        if first is None:
            # PHP dies on the missing header line: the task fails, nothing is logged (order 35).
            self._result.task_exit = 1
            reason = "emptyfile"
            raise Aborted(reason, "The file is empty: the site's task fails with a PHP error")
        return first.fields if first.fields is not None else [""]

    def _abort(self, action: str, code: str, **values: str) -> None:
        # The user element reports every reading fault under the action "unknown" (order 82).
        self._journal.add("error", "unknown" if self.element == "user" else action, code, **values)
        raise Aborted(code, next(iter(values.values()), ""))

    def _check_headings(self) -> None:
        if self.element in HIERARCHIES:
            self._check_custom_fields()
        for heading in self.headings:
            odd = _ALLOWED_IN_HEADINGS.sub("", heading)
            if odd:
                self._abort(
                    "mapfields",
                    "csvnotvalidinvalidchars",
                    invalidchars=odd[0],
                    delimiter=self.options.delimiter,
                )
        for column, heading in self.options.mapping.items():
            if heading in self.headings or column.startswith("customfield_"):
                continue
            if self.options.switched.get(column) is False or column not in self.selection.plain:
                continue
            if column == heading:
                self._abort("mapfields", "csvnotvalidmissingfieldx", field=column)
            self._abort("mapfields", "csvnotvalidmissingfieldxmappingx", field=heading, mapping=column)
        if self.element in HIERARCHIES and self.settings.modern:
            # Newer sites do not notice a missing plain column of a hierarchy (orders 21, 22).
            return
        for column in columns_of(self.element, self.settings):
            if column in self.selection.required and column not in self.options.mapping:
                if column == "typeidnumber" and not self.selection.custom:
                    continue
                if column not in self.headings:
                    self._abort("importdata", "csvnotvalidmissingfieldx", field=column)
        if self.element == "user":
            self._check_custom_fields()

    def _check_custom_fields(self) -> None:
        for column in self.selection.custom:
            heading = self.options.mapping.get(column, column)
            if column in self.selection.required and heading not in self.headings:
                self._abort("importdata", "csvnotvalidmissingfieldx", field=heading)

    def rows(self) -> Iterator[tuple[int, list[str], bool]]:
        """Line, fields and whether a tag may be in them, of every row as wide as the headings; others are logged."""
        expected = len(self.headings)
        for number, record in enumerate(self._records, start=1):
            fields = record.fields
            if fields is None or len(fields) != expected:
                found = 0 if fields is None else len(fields)
                self._journal.add(
                    "error",
                    "populatesynctablecsv",
                    "fieldcountmismatch",
                    rownum=number,
                    fieldcount=found,
                    headercount=expected,
                    delimiter=self.options.delimiter,
                )
                key = clean_text(fields[self._id_at]) if fields and 0 <= self._id_at < found else ""
                self._result.rows.append(RowOutcome(record.line, key, "refuse", "fieldcountmismatch"))
            else:
                yield record.line, fields, record.tagged
            if record.text is not None:
                for line, key in swallowed_rows(record, self.options.delimiter, expected):
                    self._result.rows.append(RowOutcome(line, clean_text(key), "refuse", "swallowed"))

    def close(self) -> None:
        """Let go of the file."""
        self._stream.close()


class TimeReader:
    """Reads ``timemodified`` and date columns; the same few texts come again and again, so it remembers them."""

    def __init__(self, settings: HrImportSettings) -> None:
        self._format = settings.csvdateformat
        self._timezone = settings.timezone
        self._known: dict[str, int | None] = {}

    def stored(self, text: str) -> int | None:
        """What an integer column receives: a date's time, or the number itself; None: the database refuses."""
        if text not in self._known:
            if len(self._known) > 100_000:
                self._known.clear()
            parsed = parse_date(text, self._format, self._timezone)
            self._known[text] = parsed or database_integer(text)
        return self._known[text]

    def date(self, text: str, timezone: str | None = None) -> int:
        """The time of a date in the site's format, 0 when it is none."""
        return parse_date(text, self._format, timezone or self._timezone)


class LengthCheck:
    """Finds over-long values; their log rows come after the reading faults of the same 10,000 rows."""

    BATCH = 10_000

    def __init__(self, table: CsvTable, journal: Journal) -> None:
        limits = columns_of(table.element, table.settings)
        self._table = table
        self._journal = journal
        self._waiting: list[dict[str, str]] = []
        self._rows = 0
        self._limits = [
            (table.index[name], name, limit)
            for name, limit in limits.items()
            if limit is not None and name in table.selection.plain and name in table.index
        ]
        self._shortest = min((limit for _, _, limit in self._limits), default=0)

    def too_long(self, fields: list[str]) -> list[tuple[str, int, str]]:
        """The columns whose value is too long: name, position and the text the log quotes."""
        found = []
        if max(map(len, fields)) > self._shortest:
            for at, name, limit in self._limits:
                if len(fields[at]) > limit:
                    value = fields[at]
                    quoted = value[:75] + " ..." if len(value) > 75 else value
                    found.append((name, at, quoted))
                    self._waiting.append(
                        {
                            "value": quoted,
                            "field": self._table.options.mapping.get(name, name),
                            "length": str(limit),
                            "source": self._table.element,
                            "idnumber": fields[self._table.index["idnumber"]]
                            if "idnumber" in self._table.index
                            else "",
                        }
                    )
        return found

    def row_done(self) -> None:
        """Count a row; at the end of a batch its log rows are written."""
        self._rows += 1
        if self._rows >= self.BATCH:
            self.flush()

    def flush(self) -> None:
        """Write the log rows that wait."""
        self._rows = 0
        for values in self._waiting:
            self._journal.add("error", "populatesynctablecsv", "lengthlimitexceeded", **values)
        self._waiting.clear()
