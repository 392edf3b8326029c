"""Custom reports of Moodle's report builder: which one fits, and reading it in pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bridge.ports import BridgeError, Finding
from connectors.moodle.client import Call
from connectors.moodle.kinds import Context

LIST_REPORTS = "core_reportbuilder_list_reports"
RETRIEVE = "core_reportbuilder_retrieve_report"
SET_FILTERS = "core_reportbuilder_set_filters"
RESET_FILTERS = "core_reportbuilder_filters_reset"

PARTICIPANTS = "core_course\\reportbuilder\\datasource\\participants"
COMPETENCIES = "core_competency\\reportbuilder\\datasource\\competencies"

SETTINGS = {"moodlewssettingtimezone": "UTC", "moodlewssettinglang": "en"}
"""Report dates are text in the asking account's zone and language (contracts/moodle-4.5, Pull): we ask for ours."""


@dataclass(frozen=True, slots=True)
class Report:
    """A custom report. Columns are found by their headings, which an administrator may have renamed."""

    id: int
    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Reports:
    """The reports that a pull uses; None where there is none."""

    completions: Report | None
    competencies: Report | None


def choose_reports(context: Context) -> Reports:
    """Return the reports to read: those named in the options, else the only or first ones of the fitting sources."""
    rows = context.client.read(Call(LIST_REPORTS, {"page": 0, "perpage": 500}))["reports"]
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
            "the user's ID number, the course's ID number and time completed, and the filter *time completed*",
        ),
        (
            reports.competencies,
            "report of competency ratings",
            "ratings are pulled plan by plan",
            "Competencies",
            "the framework's and the competency's ID number, the user's ID number, rating and proficient",
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


def page_of(report: Report, page: int, rows: int) -> Call:
    """Return the call for one page of a report."""
    return Call(RETRIEVE, {"reportid": report.id, "page": page, "perpage": rows})


def table(answer: Any) -> tuple[list[str], list[list[str]], int]:
    """Return headings, rows and the total row count of a report's page."""
    data = answer["data"]
    rows = [[("" if cell is None else str(cell)) for cell in row["columns"]] for row in data["rows"]]
    return [str(heading) for heading in data["headers"]], rows, int(data["totalrowcount"])


def refused(answer: Any) -> BridgeError | None:
    """Return the error that stands where an answer should be."""
    return answer if isinstance(answer, BridgeError) else None
