"""Custom reports of Moodle's report builder: which one fits, reading it in pages, and making records of its rows."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.model import Attainment, CourseCompletion, competency_key
from bridge.ports import BridgeError, Finding, SkipItem
from connectors.moodle.client import Call
from connectors.moodle.dates import parse_moment
from connectors.moodle.kinds import Context

LIST_REPORTS = "core_reportbuilder_list_reports"
RETRIEVE = "core_reportbuilder_retrieve_report"
SET_FILTERS = "core_reportbuilder_set_filters"

PARTICIPANTS = "core_course\\reportbuilder\\datasource\\participants"
COMPETENCIES = "core_competency\\reportbuilder\\datasource\\competencies"

SETTINGS = {"moodlewssettingtimezone": "UTC", "moodlewssettinglang": "en"}
"""Report dates are text in the asking account's zone and language (contracts/moodle-4.5, Pull): we ask for ours."""

RANGE, NOT_EMPTY = 3, 1
"""Operators of the report builder's date filter (contracts/moodle-4.5, Pull)."""

_TAGS = re.compile(r"<[^>]*>")
_PROFILE = re.compile(r"/user/(?:profile|view)\.php\?id=(\d+)")


@dataclass(frozen=True, slots=True)
class Report:
    """A custom report. Columns are found by their headings."""

    id: int
    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Reports:
    """The reports that a pull uses; None where there is none."""

    completions: Report | None
    competencies: Report | None


@dataclass(frozen=True, slots=True)
class Table:
    """One page of a report."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: int


class Unsuitable(SkipItem):
    """A report lacks a column that is needed, or the account may not see it."""


def choose_reports(context: Context) -> Reports:
    """Return the reports to read: those named in the options, else the only or first ones of the fitting sources."""
    rows = context.client.read(Call(LIST_REPORTS, {"page": 0, "perpage": 1000}))["reports"]
    reports = [Report(int(row["id"]), str(row["name"]), str(row["source"]).lstrip("\\")) for row in rows]
    return Reports(
        _pick(reports, PARTICIPANTS, context.options.completion_report),
        _pick(reports, COMPETENCIES, context.options.competency_report),
    )


def _pick(reports: list[Report], source: str, wanted: str) -> Report | None:
    fits = [report for report in reports if report.source == source]
    if wanted:
        fits = [report for report in reports if wanted in (str(report.id), report.name)]
    # One that says it is for the bridge wins over others of the same source; then the oldest.
    return min(fits, key=lambda report: ("bridge" not in report.name.lower(), report.id), default=None)


def describe(reports: Reports) -> list[Finding]:
    """Return what `check` says about the reports."""
    wanted = (
        (
            reports.completions,
            "report of course completions",
            "completions are pulled person by person",
            "Course participants",
            "the user's ID number and username, the course's ID number and short name, time completed, and the filter "
            "*time completed*",
        ),
        (
            reports.competencies,
            "report of competency ratings",
            "ratings are pulled plan by plan",
            "Competencies",
            "in this order: the framework's ID number, the competency's ID number, the user's ID number and username, "
            "rating and proficient",
        ),
    )
    findings = []
    for report, subject, slow, source, columns in wanted:
        if report is None:
            findings.append(
                Finding(
                    subject,
                    False,
                    f"There is none that this account sees: {slow}.",
                    f"Make one under Site administration > Reports > Report builder > Custom reports, source {source}, "
                    f"with {columns}; the account needs moodle/reportbuilder:viewall.",
                )
            )
        else:
            findings.append(Finding(subject, True, f"{report.name!r} (id {report.id})"))
    return findings


def completed_filter(since: float | None) -> Mapping[str, int]:
    """Return the filter for what was completed since a moment, or at all."""
    if since is None:
        return {"completion:timecompleted_operator": NOT_EMPTY}
    return {
        "completion:timecompleted_operator": RANGE,
        "completion:timecompleted_from": int(since),
        "completion:timecompleted_to": 0,
    }


def read_page(context: Context, report: Report, page: int, rows: int, filters: Mapping[str, int] | None) -> Table:
    """Return one page of a report. Raises Unsuitable where it cannot be read.

    The filter is stored per account and report, so that it is set again with each page, in the same request.
    """
    calls = [Call(RETRIEVE, {"reportid": report.id, "page": page, "perpage": rows})]
    if filters is not None and SET_FILTERS in context.client.functions():
        calls.insert(0, Call(SET_FILTERS, {"reportid": report.id, "values": json.dumps(filters)}))
    answers = list(context.client.read_many(calls, SETTINGS))
    answer = answers[-1]
    if isinstance(answer, BridgeError):
        raise Unsuitable(f"The report {report.name!r} cannot be read: {answer}")
    if isinstance(answers[0], BridgeError):
        raise Unsuitable(f"The report {report.name!r} takes no filter: {answers[0]}")
    data = answer["data"]
    return Table(
        [str(heading) for heading in data["headers"]],
        [["" if cell is None else str(cell) for cell in row["columns"]] for row in data["rows"]],
        int(data["totalrowcount"]),
    )


@dataclass(slots=True)
class Count:
    """What the rows of a report were, beside results."""

    early: int = 0
    """Completions before the window: the filter did not work."""
    unreadable: int = 0
    """Completions whose date could not be read."""
    unrated: int = 0
    """Ratings that are no item of their scale."""
    example: str = ""
    seen: set[tuple[str, str]] = field(default_factory=set)


def completions_in(table: Table, since: float | None, count: Count) -> Iterator[CourseCompletion]:
    """Yield the completions of a page. Raises Unsuitable where a needed column is missing.

    Somebody enrolled in two ways has two rows, and rows without a user appear; each completion is yielded once.
    """
    columns = _Columns(table.headings)
    person = columns.first("id number", "user id number", "user: id number")
    username = columns.first("username", "email address")
    profile = columns.first("full name with link", "full name with picture and link")
    course = columns.first("course id number", "course: id number")
    short = columns.first("course short name", "course: short name")
    name = columns.first("course full name", "course full name with link")
    time = columns.first("time completed")
    if time is None or (course is None and short is None) or (person is None and username is None and profile is None):
        raise Unsuitable(
            "The report of completions lacks a column: it needs the user's ID number (or username), the course's ID "
            "number (or short name) and time completed."
        )
    count.seen.clear()
    for row in table.rows:
        key = _cell(row, person)
        account = _cell(row, username) or _profile_id(_cell(row, profile, raw=True))
        when = _cell(row, time)
        course_key = _cell(row, course) or _cell(row, short)
        if not (key or account) or not when or not course_key:
            continue
        moment = parse_moment(when)
        if moment is None:
            count.unreadable += 1
            count.example = when
        elif since is not None and moment.timestamp() < since - 86_400:
            # A day of grace, since the report cuts to the minute and a server's filter counts in its own zone.
            count.early += 1
            continue
        if (key or account, course_key) in count.seen:
            continue
        count.seen.add((key or account, course_key))
        yield CourseCompletion(key, course_key, moment, _cell(row, name), "" if key else account)


def attainments_in(table: Table, frameworks: Mapping[str, Sequence[str]], count: Count) -> Iterator[Attainment]:
    """Yield the ratings of a page; `frameworks` gives each framework's scale labels by its key.

    Raises Unsuitable where a needed column is missing or the columns are not what they seem.
    """
    columns = _Columns(table.headings)
    numbers = columns.all("id number")
    framework = columns.first("framework id number", "competency framework id number")
    competency = columns.first("competency id number")
    person = columns.first("user id number")
    # Moodle's own headings repeat; `check` and the manual ask for framework, competency, user, in this order.
    if framework is None and competency is None and len(numbers) >= (2 if person is not None else 3):
        framework, competency = numbers[0], numbers[1]
        person = person if person is not None else numbers[2]
    username = columns.first("username", "email address")
    rating = columns.first("rating")
    proficient = columns.first("proficient")
    if framework is None or competency is None or (person is None and username is None) or rating is None:
        raise Unsuitable(
            "The report of ratings lacks a column: it needs, in this order, the ID numbers of framework, competency "
            "and user, then rating and proficient."
        )
    known = sum(1 for row in table.rows if _cell(row, framework) in frameworks)
    if table.rows and not known:
        raise Unsuitable(
            "The first ID number in the report of ratings is not that of a framework. Reorder its columns."
        )
    for row in table.rows:
        key, account = _cell(row, person), _cell(row, username)
        place = _cell(row, framework)
        idnumber = _cell(row, competency)
        label, said = _cell(row, rating), _cell(row, proficient).lower()
        if not (key or account) or place not in frameworks or not idnumber or (label in {"", "-"} and not said):
            continue
        labels = list(frameworks[place])
        level = labels.index(label) + 1 if label in labels else None
        if level is None and label not in {"", "-"}:
            count.unrated += 1
            count.example = label
        yield Attainment(
            key,
            competency_key(place, idnumber),
            level,
            {"yes": True, "no": False}.get(said),
            "" if key else account,
        )


class _Columns:
    """Headings of a report, compared without case."""

    def __init__(self, headings: Sequence[str]) -> None:
        self._headings = [" ".join(heading.lower().split()) for heading in headings]

    def first(self, *names: str) -> int | None:
        """Return the place of the first heading among some, the first name preferred; None where there is none."""
        return next((self._headings.index(name) for name in names if name in self._headings), None)

    def all(self, name: str) -> list[int]:
        """Return all places of a heading."""
        return [place for place, heading in enumerate(self._headings) if heading == name]


def _cell(row: Sequence[str], place: int | None, *, raw: bool = False) -> str:
    """Return a cell as plain text; report cells are HTML (contracts/moodle-4.5: links, entities)."""
    if place is None or place >= len(row):
        return ""
    return row[place] if raw else html.unescape(_TAGS.sub("", row[place])).strip()


def _profile_id(cell: str) -> str:
    found = _PROFILE.search(cell)
    return f"id:{found[1]}" if found else ""
