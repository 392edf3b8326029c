"""Which columns of a feed mean what, and how a field is made from them. Pure: rules in, functions out."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from types import MappingProxyType

from bridge.feed_settings import ColumnRule, FeedSettings
from bridge.rows import Column, same_header

Values = tuple[str, ...]
"""The cells of one row, in the order of `ColumnMapping.sources`."""

ACTION = "action"
"""The field that says what a row of a delta feed does."""

KNOWN_HEADERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "person": (
            "employee id",
            "employee no",
            "employee number",
            "employee code",
            "emp id",
            "emp no",
            "worker id",
            "staff id",
            "staff no",
            "staff number",
            "person id",
            "person number",
            "personnel no",
            "personnel number",
            "pernr",
            "payroll no",
            "payroll number",
            "associate id",
            "user id",
            "idnumber",
            "Personalnummer",
            "id",
        ),
        "job": ("job id", "assignment id", "assignment number", "position id", "contract id", "contract number"),
        "first_name": ("first name", "given name", "given names", "forename", "legal first name", "Vorname", "prénom"),
        "last_name": ("last name", "family name", "surname", "legal last name", "Nachname", "nom", "apellidos"),
        "email": ("email", "e-mail", "email address", "work email", "business email", "mail"),
        "username": ("username", "user name", "login", "network id", "sam account name", "upn"),
        "status": ("status", "employment status", "employee status", "worker status", "assignment status"),
        "title": ("job title", "title", "business title", "position title", "role", "job name", "designation"),
        "unit": (
            "department code",
            "dept",
            "dept code",
            "department id",
            "department",
            "org unit",
            "organisation code",
            "organization code",
            "organisational unit",
            "cost center code",
            "Abteilung",
        ),
        "unit_name": ("department name", "org unit name", "organisation name", "organization name"),
        "unit_parent": ("parent department", "parent department code", "parent org unit"),
        "position": ("position code", "job code", "position key"),
        "grade": ("grade", "job grade", "pay grade", "band", "job level"),
        "manager": (
            "manager id",
            "manager no",
            "manager number",
            "manager employee id",
            "supervisor id",
            "supervisor no",
            "reports to",
            "line manager id",
            "manager",
        ),
        "start": ("hire date", "start date", "date of hire", "original hire date", "date joined", "Eintrittsdatum"),
        "end": ("end date", "termination date", "leaving date", "last working day", "contract end", "Austrittsdatum"),
        "effective": ("effective date", "effective from", "valid from"),
        "primary": ("primary", "primary job", "is primary", "main job"),
        ACTION: ("action", "change type", "operation", "record action"),
    }
)
"""Headers that HR systems commonly use, by field. Case, accents, spaces and punctuation do not count."""

KNOWN_EXTRA: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "country": ("country", "country code"),
        "fte": ("fte", "full time equivalent"),
        "location": ("location", "site", "office", "work location"),
    }
)
"""Further fields taken where a file has them, unless `ignore` names them."""

KEYS = frozenset({"person", "job", "unit", "unit_parent", "position", "manager"})
"""Fields that hold identifiers, in which every zero counts."""

DATES = ("start", "end", "effective")

NUMBERS = frozenset({"fte"})
"""Further fields that hold a number: their decimal comma becomes a point."""


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """How the fields of a row are made from one file's columns.

    `fields` returns the texts of `names`, in that order, from the cells of `sources`; it does not clean them.
    """

    sources: tuple[str, ...]
    """Columns to take from the file, by the name the reader gives them."""
    names: tuple[str, ...]
    fields: Callable[[Values], list[str]]
    origins: Mapping[str, str]
    """For each field the source column it is made from (the first, where several are joined); empty: none."""
    extra: tuple[str, ...]
    """Names of the further fields, which follow the others in `names`."""
    places: tuple[int, ...]
    """For each of `names` where its cell stands among `sources`; one past their end where there is none."""
    direct: bool
    """True where every field is one cell as it stands, so that `places` alone tells all."""

    def origin(self, field: str) -> str:
        """Return the source column that a field is made from, for naming the place of a fault."""
        return self.origins.get(field, "") or field


def rules_of(settings: FeedSettings) -> tuple[dict[str, ColumnRule], dict[str, ColumnRule]]:
    """Return the rule of every field and of every further field: what is set, else the headers commonly used."""
    fields = {
        name: settings.columns.get(name, ColumnRule.model_validate({"from": aliases}))
        for name, aliases in KNOWN_HEADERS.items()
        if name not in settings.ignore
    }
    extra = {
        name: ColumnRule.model_validate({"from": aliases})
        for name, aliases in KNOWN_EXTRA.items()
        if name not in settings.ignore and name not in settings.columns
    }
    extra.update({name: rule for name, rule in settings.columns.items() if name not in KNOWN_HEADERS})
    extra.update(settings.extra)
    return fields, dict(sorted(extra.items()))


def columns_wanted(settings: FeedSettings) -> tuple[Column, ...]:
    """Return the columns to look for in a file. Every header is asked for once, by the first field that wants it."""
    fields, extra = rules_of(settings)
    set_by_hand = {*settings.columns, *settings.extra}
    taken: dict[str, str] = {}
    columns: dict[str, Column] = {}
    # What a person has set goes first: it takes a header away from a field that only commonly has it.
    everything = sorted({**extra, **fields}.items(), key=lambda item: item[0] not in set_by_hand)
    for _, rule in everything:
        for header in rule.join:
            if taken.setdefault(same_header(header), header) == header:
                columns[header] = Column(header)
    for name, rule in everything:
        free = tuple(alias for alias in rule.from_ if taken.setdefault(same_header(alias), name) == name)
        if rule.from_ and taken.setdefault(same_header(name), name) == name:
            others = tuple(alias for alias in free if same_header(alias) != same_header(name))
            columns[name] = Column(name, others, key=name in KEYS)
        elif free:
            columns[free[0]] = Column(free[0], free[1:], key=name in KEYS)
    return tuple(columns.values())


def map_columns(
    settings: FeedSettings, present: Iterable[str], lookups: Mapping[str, Mapping[str, str]] | None = None
) -> ColumnMapping:
    """Return how fields are made from the columns a file has. `lookups` holds the tables that rules name, by name."""
    have = set(present)
    fields, extra = rules_of(settings)
    wanted = columns_wanted(settings)
    by_header = {same_header(text): column.name for column in wanted for text in (column.name, *column.aliases)}
    origins: dict[str, str] = {}
    parts: dict[str, list[str]] = {}
    for name, rule in {**extra, **fields}.items():
        headers = rule.join or (*rule.from_, name) if rule.constant is None else ()
        found = [by_header[same_header(header)] for header in headers if same_header(header) in by_header]
        found = [source for source in dict.fromkeys(found) if source in have]
        if not rule.join:
            found = found[:1]
        parts[name] = found
        origins[name] = found[0] if found else ""
    kept_extra = tuple(name for name, rule in extra.items() if parts[name] or rule.constant is not None)
    names = (*fields, *kept_extra)
    sources = tuple(sorted({source for name in names for source in parts[name]}))
    index = {source: place for place, source in enumerate(sources)}
    nothing = len(sources)
    places: list[int] = []
    made: list[tuple[int, Callable[[Values], str]]] = []
    for place, name in enumerate(names):
        rule = fields.get(name) or extra[name]
        at = [index[source] for source in parts[name]]
        places.append(at[0] if at else nothing)
        if not rule.is_plain:
            made.append((place, _maker(rule, at, (lookups or {}).get(rule.lookup, {}))))
    pick = itemgetter(*places)

    def texts(values: Values) -> list[str]:
        out = list(pick((*values, "")))
        for place, make in made:
            out[place] = make(values)
        return out

    return ColumnMapping(sources, names, texts, origins, kept_extra, tuple(places), not made)


def _maker(rule: ColumnRule, at: Sequence[int], lookup: Mapping[str, str]) -> Callable[[Values], str]:
    """Return the function that makes one field from the cells of a row."""
    pattern = re.compile(rule.regex) if rule.regex else None
    steps = [_STEPS[step] for step in rule.apply]
    table = {_same_value(given): meant for given, meant in (*lookup.items(), *rule.map.items())}

    def convert(text: str) -> str:
        if pattern is not None:
            match = pattern.search(text)
            text = (match[1] if match.re.groups else match[0]) or "" if match else ""
        for step in steps:
            text = step(text)
        if table:
            text = table.get(_same_value(text), text)
        return text if text.strip() else rule.default

    if rule.constant is not None:
        constant = convert(rule.constant)
        return lambda _values: constant
    if rule.join:
        separator = rule.separator
        return lambda values: convert(separator.join(part for i in at if (part := values[i].strip())))
    if not at:
        return lambda _values: rule.default
    first = at[0]
    cache: dict[str, str] = {}

    def one(values: Values) -> str:
        text = values[first]
        found = cache.get(text)
        if found is None:
            if len(cache) > 50_000:
                cache.clear()
            found = cache[text] = convert(text)
        return found

    return one


def _same_value(text: str) -> str:
    """Return a value as value maps compare it: without case and outer spaces."""
    return text.strip().casefold()


def without_accents(text: str) -> str:
    """Return text with letters stripped of their accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


_STEPS: Mapping[str, Callable[[str], str]] = {
    "strip": str.strip,
    "squeeze": lambda text: " ".join(text.split()),
    "lower": str.lower,
    "upper": str.upper,
    "plain": without_accents,
    "digits": lambda text: re.sub(r"[^0-9]", "", text),
}

# --- Dates and numbers ----------------------------------------------------------------------------------------------

DATE_FORMATS = (
    "%Y-%m-%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%Y/%m/%d",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y%m%d",
    "%d %b %Y",
    "%d-%b-%Y",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d.%m.%y",
)
"""Formats that dates are tried with where none is declared."""


@dataclass(frozen=True, slots=True)
class DateFormat:
    """In which format a file writes dates, or between which it cannot be told."""

    format: str
    among: tuple[str, ...] = ()
    """Formats that fit equally well and disagree; empty where `format` is sure."""


def parse_date(text: str, written: str) -> dt.date | None:
    """Return the date a text stands for in a format; None where it is none, or no year that people work in."""
    try:
        day = dt.datetime.strptime(text, written).date()  # noqa: DTZ007 - a calendar day has no time zone
    except ValueError:
        return None
    return day if 1900 <= day.year <= 2200 else None


def detect_date_format(samples: Iterable[str]) -> DateFormat:
    """Return the format that reads most of the samples as dates. Two that read as many differently are `among`."""
    texts = sorted({text.strip() for text in samples} - {""})
    read = {one: tuple(parse_date(text, one) for text in texts) for one in DATE_FORMATS}
    counts = {one: sum(day is not None for day in days) for one, days in read.items()}
    best = max(counts.values(), default=0)
    if best == 0:
        return DateFormat(DATE_FORMATS[0])
    winners = [one for one in DATE_FORMATS if counts[one] == best]
    different = [one for one in winners if read[one] != read[winners[0]]]
    return DateFormat(winners[0], (winners[0], *different) if different else ())


def detect_decimal(samples: Iterable[str]) -> str:
    """Return the decimal mark of numbers: a comma where one of them has a comma and none has a point."""
    texts = [text.strip() for text in samples]
    has_comma = any(re.fullmatch(r"[+-]?\d*,\d+", text) for text in texts)
    return "," if has_comma and not any("." in text for text in texts) else "."


def plain_number(text: str, decimal: str) -> str:
    """Return a number with a decimal point; a text that is no number stays as it is."""
    if decimal == "," and re.fullmatch(r"[+-]?[0-9.]*,[0-9]+", text):
        return text.replace(".", "").replace(",", ".")
    return text
