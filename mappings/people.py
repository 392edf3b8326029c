"""Rows of a feed to rows of the roster, and the roster to people and their jobs. Pure; every fault of a row at once.

What is read into a value: outer and doubled spaces go, an e-mail address is in lower case, a person who manages
themself has no manager. Without a column for it the user name is the person's key in lower case, which stays when
a name or an address changes; without one for `auth` an account signs in by the LMS's own means (`manual`).
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter

from bridge.faults import Fault
from bridge.feed_settings import FeedSettings
from bridge.model import JobAssignment, Person, PersonStatus
from bridge.roster import RosterRow
from bridge.rows import Row, Source, shown
from mappings.columns import (
    ACTION,
    DATES,
    NUMBERS,
    ColumnMapping,
    Values,
    parse_date,
    plain_number,
)

DEFAULT_AUTH = "manual"
"""How an account signs in where no column says so."""

LONGEST: Mapping[str, int] = {
    "person": 100,
    "job": 100,
    "first_name": 100,
    "last_name": 100,
    "email": 100,
    "username": 100,
    "title": 255,
    "unit": 100,
    "unit_name": 255,
    "unit_parent": 100,
    "position": 100,
    "grade": 100,
    "manager": 100,
}
"""Characters that every LMS keeps of a field; a longer value is refused rather than cut."""

LONGEST_EXTRA = 255

STATUSES: Mapping[str, PersonStatus] = {
    **dict.fromkeys(
        ("", "active", "a", "employed", "current", "working", "1", "hired", "aktiv", "actif"), PersonStatus.ACTIVE
    ),
    **dict.fromkeys(
        ("on leave", "on_leave", "leave", "l", "loa", "leave of absence", "parental leave", "maternity leave"),
        PersonStatus.ON_LEAVE,
    ),
    **dict.fromkeys(
        ("terminated", "t", "left", "leaver", "inactive", "resigned", "retired", "dismissed", "0", "ended"),
        PersonStatus.TERMINATED,
    ),
}
"""What the words of HR systems for a status mean; a value map in the settings comes first."""

UPSERT, DELETE = "upsert", "delete"

ACTIONS: Mapping[str, str] = {
    **dict.fromkeys(("", "a", "add", "c", "create", "i", "insert", "n", "new", "u", "update", "change"), UPSERT),
    **dict.fromkeys(("upsert", "m", "modify", "hire", "rehire"), UPSERT),
    **dict.fromkeys(("d", "delete", "remove", "t", "terminate", "leave"), DELETE),
}

YES = frozenset({"", "1", "y", "yes", "true", "x", "primary", "main"})
NO = frozenset({"0", "n", "no", "false", "secondary", "-"})

SEPARATOR = "\xa6"
"""Joins the cells of a row into one text; a cell that holds it (a broken bar) makes the row worth a closer look."""

_INVISIBLE = re.compile("[\xad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_FORMULA = re.compile(r"[=@]|[+-](?=[^0-9\s][^|!]*[(|!])|[+-]\d+[(*/^]")
_EMAIL = re.compile(r"[^\s@<>(),;:\"\[\]\\]+@[^\s@<>(),;:\"\[\]\\.]+(?:\.[^\s@<>(),;:\"\[\]\\.]+)+")
_SCIENTIFIC = re.compile(r"[0-9]([.,][0-9]+)?[eE]\+?[0-9]+")
_INTEGRAL = re.compile(r"[0-9]+\.0+")

LETTERS_LOST = "\ufffd"

_ODD_BEGINNING = frozenset(" =@+-")


def is_suspect(text: str) -> bool:
    """Tell whether joined cells hold anything worth a closer look: odd spaces and characters, a formula's beginning."""
    return (
        not text.isprintable()  # control characters, every space but the plain one, invisible letters
        or "  " in text
        or "\xa6 " in text
        or " \xa6" in text
        or "\xa6=" in text
        or "\xa6@" in text
        or "\xa6+" in text
        or "\xa6-" in text
        or text[:1] in _ODD_BEGINNING
        or text[-1:] == " "
        or LETTERS_LOST in text
    )


@dataclass(frozen=True, slots=True)
class RowRules:
    """What holds for the rows of one file: the settings, and what was found out from the file and the store."""

    settings: FeedSettings
    date_format: str
    decimal: str = "."
    units: Collection[str] | None = None
    """Keys of the units there are; None where nobody knows them."""


@dataclass(slots=True)
class ReadRow:
    """One row as it was understood. With any fault `record` is what could be made out of it."""

    record: RosterRow
    action: str = UPSERT
    faults: list[Fault] = field(default_factory=list)
    remarks: list[Fault] = field(default_factory=list)
    """What is worth knowing about a row that is kept."""


_COMMON = ("person", "first_name", "last_name", "email", "status", "title", "unit", "manager", "start")
_RARE = tuple(name for name in (*RosterRow._fields, ACTION) if name not in (*_COMMON, "extra"))


class PeopleReader:
    """Reads rows of one file. `closely` takes any row and says what is wrong with it.

    `quick` takes a sound row at speed: it gives either the eleven fields that most rows have (person, first and last
    name, e-mail, user name, status, title, unit, manager, start, further fields), or all those of `RosterRow`; and None
    where the row needs a closer look.
    """

    def __init__(self, mapping: ColumnMapping, rules: RowRules) -> None:
        self.mapping = mapping
        self._rules = rules
        self._days: dict[str, str | None] = {"": ""}
        self._extras: dict[tuple[str, ...], str] = {}
        self._units = None if rules.units is None else frozenset(rules.units)
        self._at = {name: place for place, name in enumerate(mapping.names)}
        self.quick: Callable[[Values, str], tuple[str, ...] | None] = self._compile()

    def closely(self, row: Row) -> ReadRow:
        """Read a row with every fault and remark it deserves. A row broken in its form keeps the faults it has."""
        values = tuple(row.values.get(source, "") for source in self.mapping.sources)
        texts = dict(zip(self.mapping.names, self.mapping.fields(values), strict=True))
        notes = _Notes(row, self.mapping)
        clean = {name: _clean(name, text, notes) for name, text in texts.items()}
        read = self._record(clean, notes)
        if row.faults:
            return ReadRow(read.record, read.action, list(row.faults))
        return read

    def _record(self, clean: dict[str, str], notes: _Notes) -> ReadRow:
        settings = self._rules.settings
        get = clean.get
        person = get("person", "")
        action = ACTIONS.get(get(ACTION, "").casefold(), "")
        if not action:
            notes.fault(
                ACTION,
                "action-unknown",
                f"“{shown(get(ACTION, ''))}” is no action that is understood.",
                "Write add, update or delete, or translate it with `map` in the settings of this column.",
            )
        _check_key(person, notes)
        for name, longest in LONGEST.items():
            if len(get(name, "")) > longest:
                notes.fault(
                    name,
                    f"{name.replace('_', '-')}-too-long",
                    f"The value has {len(clean[name])} characters; at most {longest} can be kept.",
                    f"Shorten it to {longest} characters or fewer.",
                )
        status = STATUSES.get(get("status", "").casefold())
        if status is None:
            notes.fault(
                "status",
                "status-unknown",
                f"“{shown(get('status', ''))}” is no status that is understood.",
                "Write active, on leave or terminated, or translate it with `map` in the settings of this column.",
            )
        if action != DELETE:
            self._check_person(clean, notes)
        days = {name: self._date(name, clean, notes) for name in DATES}
        if days["start"] and days["end"] and days["end"] < days["start"]:
            notes.fault("end", "end-before-start", "The job ends before it starts.", "Correct one of the two dates.")
        unit = get("unit", "")
        if unit and self._units is not None and unit not in self._units:
            if settings.unknown_unit == "reject":
                notes.fault(
                    "unit",
                    "unit-unknown",
                    f"There is no unit “{shown(unit)}”.",
                    "Write the key of a unit that exists, or add the unit to the organisation file first.",
                )
            else:
                notes.remark("unit", "unit-unknown", f"There is no unit “{shown(unit)}”; the person is kept without.")
                unit = ""
        primary = get("primary", "").casefold()
        if primary not in YES and primary not in NO:
            notes.fault("primary", "yes-or-no", "The cell says neither yes nor no.", "Write 1 for yes or 0 for no.")
        manager = get("manager", "")
        extra = {name: self._further(name, clean[name], notes) for name in self.mapping.extra}
        record = RosterRow(
            person=person,
            job=get("job", ""),
            first_name=get("first_name", ""),
            last_name=get("last_name", ""),
            email=get("email", "").lower(),
            username=get("username", "") or person.lower(),
            status=(PersonStatus.TERMINATED if action == DELETE else status or PersonStatus.ACTIVE).value,
            title=get("title", ""),
            unit=unit,
            unit_name=get("unit_name", ""),
            unit_parent=get("unit_parent", ""),
            position=get("position", ""),
            grade=get("grade", ""),
            manager="" if manager == person else manager,
            start=days["start"],
            end=days["end"],
            effective=days["effective"],
            primary="0" if primary in NO else "1",
            extra=_dump(extra),
        )
        return ReadRow(record, action or UPSERT, notes.faults, notes.remarks)

    def _check_person(self, clean: Mapping[str, str], notes: _Notes) -> None:
        if not clean.get("last_name") and not clean.get("first_name"):
            notes.fault("last_name", "name-empty", "The person has no name.", "Fill in first and last name.")
        email = clean.get("email", "")
        if not email:
            if not self._rules.settings.email_optional:
                notes.fault(
                    "email",
                    "email-empty",
                    "The person has no e-mail address.",
                    "Fill it in, or set `email_optional = true` for this feed if people without one are expected.",
                )
        elif not _EMAIL.fullmatch(email):
            notes.fault(
                "email",
                "email",
                f"“{shown(email)}” is no e-mail address.",
                "Write one address, as in name@company.example.",
            )

    def _date(self, name: str, clean: Mapping[str, str], notes: _Notes) -> str:
        text = clean.get(name, "")
        day = self._day(text)
        if day is None:
            notes.fault(
                name,
                "date",
                f"“{shown(text)}” is no day of the calendar in the format {self._rules.date_format}.",
                "Correct the date; if the format is another one, set `date_format` for this feed.",
            )
        return day or ""

    def _day(self, text: str) -> str | None:
        """Return a date as ISO text, None where it is none; the few thousand days there are get parsed once."""
        if text in self._days:
            return self._days[text]
        if len(self._days) > 50_000:
            self._days = {"": ""}
        day = parse_date(text, self._rules.date_format)
        if day is None and self._rules.date_format != "%Y-%m-%d":
            day = parse_date(text[:10], "%Y-%m-%d") if re.match(r"\d{4}-\d\d-\d\d(?:[T ]|$)", text) else None
        found = self._days[text] = None if day is None else day.isoformat()
        return found

    def _further(self, name: str, text: str, notes: _Notes) -> str:
        if len(text) > LONGEST_EXTRA:
            notes.fault(
                name,
                "value-too-long",
                f"The value has {len(text):,} characters; at most {LONGEST_EXTRA} can be kept.",
                "Shorten it.",
            )
        return plain_number(text, self._rules.decimal) if name in NUMBERS else text

    def _compile(self) -> Callable[[Values, str], tuple[str, ...] | None]:
        """Return the function that reads a plain row, or says None where it needs a closer look."""
        mapping = self.mapping
        names, fields, direct = mapping.names, mapping.fields, mapping.direct
        places = mapping.places if direct else tuple(range(len(names)))
        nothing = len(mapping.sources) if direct else len(names)
        where = dict(zip(names, places, strict=True))
        common = itemgetter(*(where.get(name, nothing) for name in _COMMON))
        rare = tuple(where[name] for name in _RARE if where.get(name, nothing) != nothing)
        further = tuple(where[name] for name in mapping.extra)
        numbers = tuple(place for place, name in enumerate(mapping.extra) if name in NUMBERS)
        extra_names = mapping.extra
        decimal = self._rules.decimal
        days, extras, units = self._days, self._extras, self._units
        email_optional = self._rules.settings.email_optional
        address = _EMAIL.fullmatch
        upper_bound = min(LONGEST.values())
        longest_title = LONGEST["title"]

        def quick(values: Values, text: str) -> tuple[str, ...] | None:
            if is_suspect(text):
                return None
            if direct:
                cells = (*values, "")
            else:
                cells = (*fields(values), "")
                if is_suspect(SEPARATOR.join(cells)):
                    return None
            person, first_name, last_name, email, status, title, unit, manager, start = common(cells)
            email = email.lower()
            state = STATUSES.get(status) or STATUSES.get(status.casefold())
            if (
                not person
                or len(text) > 2000
                or len(person) > upper_bound
                or (person[0].isdigit() and (_SCIENTIFIC.fullmatch(person) or _INTEGRAL.fullmatch(person)))
                or not (last_name or first_name)
                or len(first_name) > upper_bound
                or len(last_name) > upper_bound
                or len(email) > upper_bound
                or (not address(email) if email else not email_optional)
                or state is None
                or len(title) > longest_title
                or len(unit) > upper_bound
                or (units is not None and unit and unit not in units)
                or len(manager) > upper_bound
            ):
                return None
            for place in rare:
                if cells[place]:
                    return self._with_rare(values)
            day = days.get(start)
            if day is None:
                day = self._day(start)
                if day is None:
                    return None
            key = tuple([cells[place] for place in further])
            extra = extras.get(key)
            if extra is None:
                if any(len(one) > LONGEST_EXTRA for one in key):
                    return None
                if len(extras) > 50_000:
                    extras.clear()
                plain = list(key)
                for place in numbers:
                    plain[place] = plain_number(plain[place], decimal)
                extra = extras[key] = _dump(dict(zip(extra_names, plain, strict=True)))
            return (
                person, first_name, last_name, email, person.lower(), state.value, title, unit,
                "" if manager == person else manager, day, extra,
            )  # fmt: skip

        return quick

    def _with_rare(self, values: Values) -> tuple[str, ...] | None:
        """Read a row whose rarer fields (a job's key, an end, a grade) say something; None where anything is wrong."""
        notes = _Notes(_NOWHERE, self.mapping)
        read = self._record(dict(zip(self.mapping.names, self.mapping.fields(values), strict=True)), notes)
        if read.faults or read.remarks or read.action != UPSERT:
            return None
        return tuple(read.record)


def _check_key(person: str, notes: _Notes) -> None:
    if not person:
        notes.fault(
            "person",
            "id-empty",
            "The row does not say whom it is about.",
            "Fill in the person's number.",
        )
    elif _SCIENTIFIC.fullmatch(person) or _INTEGRAL.fullmatch(person):
        notes.fault(
            "person",
            "id-as-number",
            f"“{shown(person)}” is what a spreadsheet makes of a number; the id it was is not certain.",
            "Format the column as text and export it again.",
        )


_NOWHERE = Row(Source(""), 0, {})
"""Stands for the row where only whether there is a fault counts, not where."""


class _Notes:
    """What is found in one row."""

    def __init__(self, row: Row, mapping: ColumnMapping) -> None:
        self._row = row
        self._mapping = mapping
        self.faults: list[Fault] = []
        self.remarks: list[Fault] = []

    def fault(self, name: str, rule: str, message: str, remedy: str) -> None:
        self.faults.append(self._row.fault(self._mapping.origin(name), rule, message, remedy))

    def remark(self, name: str, rule: str, message: str, remedy: str = "") -> None:
        self.remarks.append(self._row.fault(self._mapping.origin(name), rule, message, remedy))


def _clean(name: str, text: str, notes: _Notes) -> str:
    """Return a cell without outer, doubled and invisible characters; what it must not hold becomes a fault."""
    if not text:
        return text
    text = _INVISIBLE.sub("", text)
    if _CONTROL.search(text):
        notes.fault(
            name,
            "control-character",
            "The value contains a control character, which nobody can have typed.",
            "Export the file again; it was damaged on the way or by the system that wrote it.",
        )
        text = _CONTROL.sub("", text)
    squeezed = " ".join(text.split())
    if len(text.strip().splitlines()) > 1:
        notes.remark(
            name,
            "line-break",
            "The value runs over several lines; it was read as one line, with a space between.",
            "Take the line break out if it does not belong there.",
        )
    if _FORMULA.match(squeezed):
        notes.fault(
            name,
            "formula",
            "The value begins like a spreadsheet formula, which would run where somebody opens a list.",
            "Write the plain value.",
        )
    return squeezed


def _dump(extra: Mapping[str, str]) -> str:
    """Return further fields as canonical JSON, empty ones left out; nothing at all where there are none."""
    kept = {name: text for name, text in extra.items() if text}
    return json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":")) if kept else ""


# --- Letters that a file lost ---------------------------------------------------------------------------------------


def letters_lost(known: str, incoming: str) -> bool:
    """Tell whether `incoming` is `known` with letters replaced by ``?`` or U+FFFD, or dropped.

    Only letters outside ASCII get lost that way; a name that differs in anything else is another name.
    """
    if known == incoming or known.isascii():
        return False
    # Each letter outside ASCII may stand as it is, as a substitute, or not at all.
    pattern = "".join(
        re.escape(letter) if letter.isascii() else f"(?:{re.escape(letter)}|[?{LETTERS_LOST}]{{1,4}}|)"
        for letter in known
    )
    return re.fullmatch(pattern, incoming) is not None


# --- The roster to people -------------------------------------------------------------------------------------------


def job_key(row: RosterRow) -> str:
    """Return the key of a job assignment: the person's, and the job's own behind a slash where there are several."""
    return f"{row.person}/{row.job}" if row.job else row.person


def build_person(
    rows: Iterable[RosterRow], as_of: dt.date, position: Callable[[RosterRow], str | None] = lambda _row: None
) -> tuple[Person, tuple[JobAssignment, ...]]:
    """Return a person and their jobs in force on a day from that person's rows (at least one).

    The primary row speaks for the person: the one that says so, among several the one that started last. Somebody
    whose every job has ended counts as terminated. `position` tells which position a row's job has.
    """
    kept = sorted(rows, key=attrgetter("job"))
    today = as_of.isoformat()
    in_force = [row for row in kept if not row.end or row.end >= today]
    among = in_force or kept
    leading = max(among, key=lambda row: (row.status != PersonStatus.TERMINATED, row.primary == "1", row.start))
    extra: dict[str, str] = json.loads(leading.extra) if leading.extra else {}
    status = PersonStatus(leading.status) if in_force else PersonStatus.TERMINATED
    person = Person(
        leading.person,
        leading.first_name,
        leading.last_name,
        leading.email,
        status,
        leading.username,
        tuple(sorted(extra.items())),
    )
    if status is PersonStatus.TERMINATED:
        return person, ()
    jobs = tuple(
        JobAssignment(
            job_key(row),
            row.person,
            row.unit or None,
            position(row),
            row.title,
            row.manager or None,
            dt.date.fromisoformat(row.start) if row.start else None,
            dt.date.fromisoformat(row.end) if row.end else None,
            row is leading,
        )
        for row in in_force
        if row.status != PersonStatus.TERMINATED and (not row.start or row.start <= today or row is leading)
    )
    return person, jobs


def auth_of(person: Person) -> str:
    """Return how a person's account signs in: the mapped column `auth`, else the LMS's own means."""
    return dict(person.extra).get("auth") or DEFAULT_AUTH
