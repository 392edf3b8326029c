"""Results from Totara's scheduled report exports.

The site copies a report's CSV into ``<path>/<owner>/<report name>_<ddmmYYYY>_<schedule id>.csv``: not in one go,
over the same name all day, and not at all when the report is empty. Its dates and statuses are text in the owner's
language, its headings can be overridden, its cells can hold new lines (contracts: report-exports).
"""

from __future__ import annotations

import csv
import datetime as dt
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from bridge.model import Attainment, Certification, CourseCompletion
from bridge.ports import FixConfiguration, Remark, RetryLater, Severity

_NAME = re.compile(r"(?P<name>.+)_(?P<day>\d{8})_(?P<schedule>\d+)\.csv")

# Month names as sites write them, by their first letters; a site's own go into ``ReportFormat.months``.
_MONTHS = {
    **{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11},
    **{"dec": 12},
    **{"janv": 1, "févr": 2, "fév": 2, "mars": 3, "avr": 4, "mai": 5, "juin": 6, "juil": 7, "août": 8, "déc": 12},
    **{"jän": 1, "mär": 3, "mrz": 3, "okt": 10, "dez": 12, "ene": 1, "abr": 4, "ago": 8, "dic": 12, "set": 9},
    **{"gen": 1, "mag": 5, "giu": 6, "lug": 7, "ott": 10, "mrt": 3, "mei": 5, "maj": 5, "fev": 2, "out": 10, "juni": 6},
    **{"juli": 7, "giugno": 6, "luglio": 7, "junio": 6, "julio": 7, "junho": 6, "julho": 7},
}
_CLOCK = re.compile(r"(\d{1,2})[:.h](\d{2})(?:[:.](\d{2}))?\s*([ap]\.?m\.?)?", re.IGNORECASE)
_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_NUMERIC = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.](\d{4})")
_YES = frozenset({"yes", "oui", "ja", "sí", "si", "sì", "sim", "1", "true", "kyllä", "tak", "ano"})


@dataclass(frozen=True, slots=True)
class ReportFormat:
    """How this site's reports are written: time zone and language of their owner, headings where overridden."""

    timezone: str = "Europe/London"
    months: Mapping[str, int] = field(default_factory=dict)
    """Month words this module does not know, lower case, to their number."""
    yes: frozenset[str] = _YES
    proficient: frozenset[str] = frozenset({"proficient", "yes", "1"})
    headings: Mapping[str, str] = field(default_factory=dict)
    """Column (as ``course_completion-completeddate``) to its heading in the file."""
    month_first: bool = False
    """True where 03/10/2024 is 10 March."""


@dataclass(frozen=True, slots=True)
class ReportSource:
    """One scheduled report: the name it has on the site, and what it holds."""

    name: str
    kind: str
    """``course_completion``, ``course_completion_all``, ``program_completion``, ``certification_completion``,
    ``dp_certification`` or ``competency_status``."""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A report's file as found: the day in its name and its schedule."""

    path: Path
    day: dt.date
    schedule: int


class UnreadableDate(ValueError):
    """A date in a language or form nobody told us."""


def find_report(directory: Path, source: ReportSource, *, on: dt.date | None = None) -> ReportFile | None:
    """The youngest file of a report (of one day, if given); None where there is none.

    Raises:
        FixConfiguration: the folder cannot be read.
    """
    folders = [directory / source.owner] if source.owner else [directory, *_folders(directory)]
    found = []
    for folder in folders:
        if not folder.is_dir():
            continue
        for path in folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match and match["name"] == source.name:
                day = dt.datetime.strptime(match["day"], "%d%m%Y").replace(tzinfo=dt.UTC).date()
                if on is None or day == on:
                    found.append(ReportFile(path, day, int(match["schedule"])))
    return max(found, key=lambda file: (file.day, file.schedule), default=None)


def _folders(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if path.is_dir()]
    except OSError as error:
        message = (
            f"The report folder {directory} cannot be read: {error.strerror}. Name the export path of the site's "
            "report builder settings."
        )
        raise FixConfiguration(message) from error


def absent(source: ReportSource, on: dt.date | None = None) -> Remark:
    """What a missing file means: one cannot tell, and says so."""
    when = f" of {on:%d %B %Y}" if on else ""
    says = (
        f"There is no file{when} of the report “{source.name}”. The site writes none when the report is empty, and "
        "none when it failed: nothing was read, and nothing is taken for gone. Look at its schedule if you expect rows."
    )
    return Remark(Severity.WARNING, source.kind, source.name, says)


def stable(path: Path, *, wait: float = 2.0, sleep: Callable[[float], None] = time.sleep) -> Path:
    """The path, once the file no longer grows and ends with a line end: the site's copy is not atomic.

    Raises:
        RetryLater: it is still being written.
    """
    before = path.stat().st_size
    sleep(wait)
    after = path.stat().st_size
    with path.open("rb") as stream:
        if after:
            stream.seek(-1, 2)
        complete = after > 0 and stream.read(1) == b"\n"
    if before != after or not complete:
        message = f"{path.name} is still being written. Try again in a minute."
        raise RetryLater(message, 60.0)
    return path


def parse_date(text: str, form: ReportFormat) -> dt.datetime | None:
    """A date as reports print it, in UTC; a date without a time is the midnight of that day in UTC.

    Raises:
        UnreadableDate: neither figures nor a month this site is known to use.
    """
    text = text.strip()
    if text in {"", "-", "0"}:
        return None
    if text.isdigit() and len(text) >= 9:
        return dt.datetime.fromtimestamp(int(text), dt.UTC)
    day = _day(text, form)
    clock = _CLOCK.search(text)
    if clock is None:
        return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
    hour = int(clock[1])
    if clock[4]:
        hour = hour % 12 + (12 if clock[4].lower().startswith("p") else 0)
    local = dt.datetime(
        day.year, day.month, day.day, hour, int(clock[2]), int(clock[3] or 0), tzinfo=ZoneInfo(form.timezone)
    )
    return local.astimezone(dt.UTC)


def _day(text: str, form: ReportFormat) -> dt.date:
    try:
        if match := _ISO.search(text):
            return dt.date(int(match[1]), int(match[2]), int(match[3]))
        if match := _NUMERIC.search(text):
            first, second = int(match[1]), int(match[2])
            return dt.date(int(match[3]), first if form.month_first else second, second if form.month_first else first)
        years = re.findall(r"\b\d{4}\b", text)
        days = re.findall(r"(?<![\d:.])\d{1,2}(?![\d:h])", text)
        month = _month(text, form)
        if years and days and month:
            return dt.date(int(years[0]), month, int(days[0]))
    except ValueError as error:
        raise UnreadableDate(text) from error
    raise UnreadableDate(text)


def _month(text: str, form: ReportFormat) -> int | None:
    for word in re.findall(r"[^\W\d_]+", text.lower()):
        for known in (form.months, _MONTHS):
            if word in known:
                return known[word]
        for length in (4, 3):
            if word[:length] in _MONTHS:
                return _MONTHS[word[:length]]
    return None


@dataclass(slots=True)
class ReportRows:
    """A report's rows by column, and what could not be read of them."""

    path: Path
    form: ReportFormat
    remarks: list[Remark] = field(default_factory=list)
    """What was left out: with any, nothing of the report counts as read whole."""
    notes: list[Remark] = field(default_factory=list)
    """What a person should know of rows that were read nevertheless."""

    def rows(self, kind: str, needed: Iterable[str]) -> Iterator[dict[str, str]]:
        """Rows by column name (``user-idnumber``).

        Raises:
            FixConfiguration: a needed column is missing, or it is no CSV in UTF-8.
        """
        try:
            yield from self._rows(kind, needed)
        except (UnicodeDecodeError, csv.Error) as error:
            message = (
                f"The report {self.path.name} cannot be read: {error}. Schedule it in the format CSV (not Excel), "
                "which Totara writes as UTF-8."
            )
            raise FixConfiguration(message) from error

    def _rows(self, kind: str, needed: Iterable[str]) -> Iterator[dict[str, str]]:
        with self.path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            headings = next(reader, [])
            columns = {_plain(heading): place for place, heading in enumerate(headings)}
            for column, heading in self.form.headings.items():
                if heading in headings:
                    columns[_plain(column)] = headings.index(heading)
            missing = [column for column in needed if _plain(column) not in columns]
            if missing:
                message = (
                    f"The report {self.path.name} has no column {', '.join(missing)}. Add it there, or name its "
                    f"heading in the site's settings; it has: {', '.join(headings)}."
                )
                raise FixConfiguration(message)
            for cells in reader:
                if len(cells) == len(headings):
                    yield {column: cells[place] for column, place in columns.items()}
                elif cells:
                    self.leave_out(kind, f"line {reader.line_num} has {len(cells)} cells, left out")

    def date(self, kind: str, text: str) -> dt.datetime | None:
        """A date cell; one that cannot be read is remarked and left out."""
        try:
            return parse_date(text, self.form)
        except UnreadableDate:
            self.leave_out(kind, f"the date “{text}” cannot be read: name the month words of this site's language")
            return None

    def note(self, kind: str, says: str) -> None:
        """Say once what a person should know of the rows."""
        remark = Remark(Severity.NOTE, kind, self.path.name, f"{self.path.name}: {says}")
        if remark not in self.notes and len(self.notes) < 20:
            self.notes.append(remark)

    def leave_out(self, kind: str, says: str) -> None:
        """Say what was not read: the report is not whole then."""
        if len(self.remarks) < 100:
            self.remarks.append(Remark(Severity.WARNING, kind, self.path.name, f"{self.path.name}: {says}"))


def _plain(heading: str) -> str:
    return heading.strip().lower().replace("-", "_").replace(" ", "_")


def _account(row: Mapping[str, str]) -> str:
    """Who it is where the account carries no id number; empty where it does."""
    return "" if row["user_idnumber"] else row.get("user_username", "")


def course_completions(rows: ReportRows, kind: str = "course_completion") -> Iterator[CourseCompletion]:
    """Completed courses. A course not completed gives no record: a recertification's reset is not a loss.

    The report of all completions (``course_completion_all``) carries the history the reset moved them to.
    """
    for row in rows.rows(kind, ("user-idnumber", "course-idnumber", "course_completion-completeddate")):
        moment = rows.date(kind, row["course_completion_completeddate"])
        said = row.get("course_completion_iscomplete")
        if moment is None and (said is None or said.strip().lower() not in rows.form.yes):
            continue
        yield CourseCompletion(
            row["user_idnumber"],
            row["course_idnumber"],
            moment,
            row.get("course_shortname", row.get("course_fullname", "")),
            _account(row),
        )


def program_completions(rows: ReportRows) -> Iterator[Certification]:
    """Programs a person is in, completed or not."""
    kind = "program_completion"
    for row in rows.rows(kind, ("user-idnumber", "prog-idnumber", "progcompletion-status")):
        yield Certification(
            row["user_idnumber"],
            row["prog_idnumber"],
            row.get("prog_fullname", ""),
            row["progcompletion_status"],
            rows.date(kind, row.get("progcompletion_completeddate", "")),
            None,
            _account(row),
        )


def certifications(rows: ReportRows) -> Iterator[Certification]:
    """Certifications a person holds or works towards, from the certification completion report."""
    kind = "certification_completion"
    for row in rows.rows(kind, ("user-idnumber", "certif-idnumber", "certcompletion-status")):
        yield Certification(
            row["user_idnumber"],
            row["certif_idnumber"],
            row.get("certif_fullname", ""),
            row["certcompletion_status"],
            rows.date(kind, row.get("certcompletion_completeddate", "")),
            rows.date(kind, row.get("certcompletion_timeexpires", row.get("certcompletion_duedate", ""))),
            _account(row),
        )


def learning_plan_certifications(rows: ReportRows) -> Iterator[Certification]:
    """Certifications from the learner's view (``dp_certification``): the only one with window and expiry."""
    kind = "dp_certification"
    for row in rows.rows(kind, ("user-idnumber", "certif_completion-status")):
        if "base_idnumber" not in row and "certif_idnumber" not in row:
            rows.note(kind, "it does not say which certification a row is about: add the column base-idnumber")
        yield Certification(
            row["user_idnumber"],
            row.get("base_idnumber", row.get("certif_idnumber", "")),
            row.get("base_fullname", ""),
            row["certif_completion_status"],
            rows.date(kind, row.get("certif_completion_timecompleted", "")),
            rows.date(kind, row.get("certif_completion_timeexpires", "")),
            _account(row),
        )


def attainments(
    rows: ReportRows,
    key_of: Callable[[str], str | None],
    level_of: Callable[[str, str], int | None],
) -> Iterator[Attainment]:
    """What people have reached, from the competency status report.

    ``key_of`` gives a competency's key by the id number in the report (None: not ours, left out); ``level_of`` the
    level by key and the scale value's name, None where the scale has no such value.
    """
    kind = "competency_status"
    needed = ("user-idnumber", "competency-idnumber", "competency_status-scale_value_name")
    strange: dict[str, None] = {}
    ours = False
    for row in rows.rows(kind, needed):
        key = key_of(row["competency_idnumber"])
        if key is None:
            strange[row["competency_idnumber"]] = None
            continue
        ours = True
        said = row.get("competency_status_proficient", "").strip().lower()
        value = row["competency_status_scale_value_name"]
        level = level_of(key, value)
        if level is None and value.strip():
            rows.note(kind, f"the scale value “{value}” is no level: name it under level_names in the site's options")
        yield Attainment(
            row["user_idnumber"],
            key,
            level,
            said in rows.form.proficient if said else None,
            _account(row),
        )
    if strange:
        some = ", ".join([*strange][:5]) + (", ..." if len(strange) > 5 else "")
        says = f"ratings of {len(strange):,} competencies that are not known here were left out ({some})"
        if ours:
            rows.note(kind, says)
        else:
            rows.leave_out(kind, f"{says}. No report shows the site's competencies: schedule it, or look at its name")


def latest_completions(results: Iterable[CourseCompletion]) -> list[CourseCompletion]:
    """One record a person and course, the youngest: current and historic rows of several reports put together."""
    best: dict[tuple[str, str, str], CourseCompletion] = {}
    never = dt.datetime.min.replace(tzinfo=dt.UTC)
    for one in results:
        at = (one.person, one.course, "" if one.person else one.lms_user)
        held = best.get(at)
        if held is None or (one.completed_at or never) > (held.completed_at or never):
            best[at] = one
    return list(best.values())


__all__ = [
    "ReportFile",
    "ReportFormat",
    "ReportRows",
    "ReportSource",
    "UnreadableDate",
    "absent",
    "attainments",
    "certifications",
    "course_completions",
    "find_report",
    "latest_completions",
    "learning_plan_certifications",
    "parse_date",
    "program_completions",
    "stable",
]
