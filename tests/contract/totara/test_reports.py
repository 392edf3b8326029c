"""Report exports are read as the recorded site writes them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from bridge.ports import FixConfiguration, PullScope, RetryLater
from connectors.totara import reports
from connectors.totara.reports import ReportFormat, ReportRows, ReportSource, parse_date
from connectors.totara.results import Results
from tests.contract.totara.hrimport_record import DATA

EXPORTS = DATA / "report-exports"
DAY = dt.date(2026, 11, 21)


def _rows(name: str) -> ReportRows:
    found = reports.find_report(EXPORTS, ReportSource(name, "any"))
    assert found is not None
    assert found.day == DAY
    return ReportRows(found.path, ReportFormat())


def test_completed_courses_come_back_and_open_ones_do_not() -> None:
    """Only rows with a completion are results; the date is the day, in UTC."""
    rows = _rows("Bridge course completion")
    found = list(reports.course_completions(rows))
    assert rows.remarks == []
    assert len(found) > 10
    assert found[0].person == "E00001"
    assert found[0].completed_at == dt.datetime(2024, 3, 10, tzinfo=dt.UTC)
    assert {one.course for one in found} <= {"CRS1", "CRS2", "CRS3"}


def test_certifications_programs_and_plans_are_read() -> None:
    """Statuses stay the site's words; due dates carry their time, turned to UTC."""
    held = {one.person: one for one in reports.certifications(_rows("Bridge certification completion"))}
    assert held["E00001"].status == "Expired"
    assert held["E00001"].expires_at == dt.datetime(2025, 3, 10, 16, 0, tzinfo=dt.UTC)
    programs = list(reports.program_completions(_rows("Bridge program completion")))
    assert [one.status for one in programs[:2]] == ["Not complete", "Complete"]
    assert len(list(reports.learning_plan_certifications(_rows("Bridge dp certification")))) >= 10


def test_attainment_takes_keys_and_levels_from_the_callers_model() -> None:
    """A competency that is not ours is left out; a scale value becomes a level."""
    levels = {"Competent": 3, "Competent with supervision": 2, "Not competent": 1}
    found = list(
        reports.attainments(
            _rows("Bridge competency status"),
            lambda idnumber: f"COMPFW/{idnumber}" if idnumber != "C0.1.1" else None,
            lambda _key, value: levels.get(value),
        )
    )
    assert (found[0].competency, found[0].level, found[0].proficient) == ("COMPFW/C0.1.0", 3, True)
    assert all(one.competency != "COMPFW/C0.1.1" for one in found)
    assert any(one.proficient is False for one in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("21 Nov 2026", dt.datetime(2026, 11, 21, tzinfo=dt.UTC)),
        ("21 Nov 2026 at 18:32:54", dt.datetime(2026, 11, 21, 18, 32, 54, tzinfo=dt.UTC)),
        ("10 Jul 2025 at 16:00", dt.datetime(2025, 7, 10, 15, 0, tzinfo=dt.UTC)),
        ("10 juil. 2025", dt.datetime(2025, 7, 10, tzinfo=dt.UTC)),
        ("3. März 2024", dt.datetime(2024, 3, 3, tzinfo=dt.UTC)),
        ("10 de diciembre de 2024", dt.datetime(2024, 12, 10, tzinfo=dt.UTC)),
        ("December 10, 2024, 3:05 PM", dt.datetime(2024, 12, 10, 15, 5, tzinfo=dt.UTC)),
        ("31/12/2024", dt.datetime(2024, 12, 31, tzinfo=dt.UTC)),
        ("2024-12-31", dt.datetime(2024, 12, 31, tzinfo=dt.UTC)),
        ("1700000000", dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)),
        ("", None),
        ("-", None),
    ],
)
def test_dates_are_read_in_the_sites_words(text: str, expected: dt.datetime | None) -> None:
    """Months in several languages, times in the site's zone, dates alone as days."""
    assert parse_date(text, ReportFormat()) == expected


def test_a_month_nobody_knows_is_asked_for_not_guessed() -> None:
    """A word of another language is unreadable until the site's format names it."""
    with pytest.raises(reports.UnreadableDate):
        parse_date("10 tammikuu 2024", ReportFormat())
    known = ReportFormat(months={"tammikuu": 1})
    assert parse_date("10 tammikuu 2024", known) == dt.datetime(2024, 1, 10, tzinfo=dt.UTC)


def test_cells_may_hold_new_lines_and_headings_may_be_renamed(tmp_path: Path) -> None:
    """A cell of several values spans lines; an overridden heading is found by the site's settings."""
    path = tmp_path / "R_21112026_1.csv"
    path.write_text(
        'Matricule,course_idnumber,"Done on",user_username\n"E1","C\n1","10 Mar 2024",u1\nE2,C2,,u2\n', encoding="utf-8"
    )
    form = ReportFormat(headings={"user-idnumber": "Matricule", "course_completion-completeddate": "Done on"})
    found = list(reports.course_completions(ReportRows(path, form)))
    assert [(one.person, one.course) for one in found] == [("E1", "C\n1")]


def test_a_missing_column_is_named_with_what_there_is(tmp_path: Path) -> None:
    """The sentence says which column, and what the report has."""
    path = tmp_path / "R_21112026_1.csv"
    path.write_text("user_idnumber\nE1\n", encoding="utf-8")
    with pytest.raises(FixConfiguration, match="course-idnumber"):
        list(reports.course_completions(ReportRows(path, ReportFormat())))


def test_no_file_means_no_rows_or_a_failure_and_says_so(tmp_path: Path) -> None:
    """The remark names both readings; nothing is taken for gone."""
    source = ReportSource("Bridge course completion", "course_completion")
    assert reports.find_report(tmp_path, source) is None
    says = reports.absent(source, DAY).says
    assert "empty" in says
    assert "failed" in says


def test_a_file_still_being_written_waits(tmp_path: Path) -> None:
    """Growing, or without its last line end, it is not read yet."""
    path = tmp_path / "R_21112026_1.csv"
    path.write_text("a,b\n1,", encoding="utf-8")
    with pytest.raises(RetryLater):
        reports.stable(path, sleep=lambda _seconds: None)
    path.write_text("a,b\n1,2\n", encoding="utf-8")

    def grow(_seconds: float) -> None:
        with path.open("a", encoding="utf-8") as stream:
            stream.write("3,4\n")

    with pytest.raises(RetryLater):
        reports.stable(path, sleep=grow)
    assert reports.stable(path, sleep=lambda _seconds: None) == path


def test_a_recertification_keeps_the_completion_it_moved_to_history() -> None:
    """Current and historic rows together give the youngest completion."""
    old = dt.datetime(2024, 3, 10, tzinfo=dt.UTC)
    new = dt.datetime(2025, 3, 10, tzinfo=dt.UTC)
    make = reports.CourseCompletion
    found = reports.latest_completions([make("E1", "C1", old), make("E1", "C1", new), make("E2", "C1", old)])
    assert [(one.person, one.completed_at) for one in found] == [("E1", new), ("E2", old)]


def _results(*sources: ReportSource) -> Results:
    levels = {"Competent": 3, "Competent with supervision": 2, "Not competent": 1}
    return Results(
        EXPORTS,
        sources,
        ReportFormat(),
        lambda idnumber: f"COMPFW/{idnumber}",
        lambda _key, value: levels.get(value),
        settled=lambda path: path,
        today=lambda: DAY,
    )


SOURCES = (
    ReportSource("Bridge course completion", "course_completion"),
    ReportSource("Bridge certification completion", "certification_completion"),
    ReportSource("Bridge competency status", "competency_status"),
)


def test_a_pull_pages_through_the_reports_and_resumes() -> None:
    """Every report once, in pages; from a cursor the rest; completions without their history are never whole."""
    pages = list(_results(*SOURCES).pages(PullScope(page_rows=7)))
    results = [one for page in pages for one in page.results]
    assert max(len(page.results) for page in pages) == 7
    assert [page.last for page in pages].count(True) == 1
    assert pages[-1].whole == {"certifications", "attainments"}
    halfway = next(page.cursor for page in pages if page.cursor == "1")
    rest = [one for page in _results(*SOURCES).pages(PullScope(page_rows=500), halfway) for one in page.results]
    assert rest == [one for one in results if not isinstance(one, reports.CourseCompletion)]


def test_a_pull_of_some_kinds_or_since_a_day_reads_less_and_is_not_whole() -> None:
    """A window or a kind narrows; nothing outside it is taken for gone."""
    only = list(_results(*SOURCES).pages(PullScope(kinds=frozenset({"attainments"}))))
    assert {type(one).__name__ for page in only for one in page.results} == {"Attainment"}
    since = dt.datetime(2024, 3, 12, tzinfo=dt.UTC).timestamp()
    late = list(_results(SOURCES[0]).pages(PullScope(since=since)))
    assert all(one.completed_at >= dt.datetime(2024, 3, 12, tzinfo=dt.UTC) for page in late for one in page.results)
    assert late[-1].whole == frozenset()


def test_a_missing_report_is_remarked_and_nothing_of_it_is_whole() -> None:
    """The others are read all the same."""
    lost = ReportSource("Bridge nowhere", "program_completion")
    pages = list(_results(lost, SOURCES[2]).pages(PullScope()))
    assert "failed" in pages[0].remarks[0].says
    assert pages[-1].whole == {"attainments"}
    with pytest.raises(FixConfiguration, match="no report with results"):
        _results(ReportSource("X", "weather"))
    assert next(_results().pages(PullScope())).last


def test_a_completion_dated_back_comes_with_the_next_pull() -> None:
    """Older than the window but not recorded yet: somebody entered it now, and it is not lost until a full pull."""
    known = {("E00001", "CRS1")}
    scope = PullScope(
        since=dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp(), known=lambda who, what: (who, what) in known
    )
    found = [one for page in _results(SOURCES[0]).pages(scope) for one in page.results]
    assert len(found) > 10
    assert not [one for one in found if isinstance(one, reports.CourseCompletion) and one.person == "E00001"]


def test_both_certification_reports_give_one_record_with_the_dates_of_both(tmp_path: Path) -> None:
    """The learner's view adds when it expires; what only it shows comes beside; twice read nothing changes."""
    (tmp_path / "Cert_21112026_1.csv").write_text(
        "user_idnumber,certif_idnumber,certcompletion_status,certcompletion_completeddate\n"
        'E1,CERT1,Certified,"10 Mar 2024"\nE2,CERT1,"Not certified",\n',
        encoding="utf-8",
    )
    (tmp_path / "Mine_21112026_2.csv").write_text(
        "user_idnumber,base_idnumber,certif_completion_status,certif_completion_timeexpires\n"
        'E1,CERT1,Completed,"10 Mar 2025"\nE3,CERT2,"In progress",\n',
        encoding="utf-8",
    )
    sources = (ReportSource("Cert", "certification_completion"), ReportSource("Mine", "dp_certification"))

    def read() -> list[tuple[str, str, str, dt.datetime | None]]:
        results = Results(
            tmp_path, sources, ReportFormat(), lambda _: None, lambda _key, _value: None, lambda path: path, lambda: DAY
        )
        found = [one for page in results.pages(PullScope()) for one in page.results]
        return [(one.person, one.certification, one.status, one.expires_at) for one in found]

    expires = dt.datetime(2025, 3, 10, tzinfo=dt.UTC)
    assert read() == [
        ("E1", "CERT1", "Certified", expires),
        ("E2", "CERT1", "Not certified", None),
        ("E3", "CERT2", "In progress", None),
    ]
    assert read() == read()


def test_ratings_are_not_taken_for_gone_where_no_report_shows_the_competencies() -> None:
    """Without one known competency nothing is whole, and the pull says why; unknown scale values are named."""
    results = Results(
        EXPORTS,
        SOURCES[2:],
        ReportFormat(),
        lambda _idnumber: None,
        lambda _key, _value: None,
        settled=lambda path: path,
        today=lambda: DAY,
    )
    pages = list(results.pages(PullScope()))
    assert [one for page in pages for one in page.results] == []
    assert pages[-1].whole == frozenset()
    assert "No report shows the site's competencies" in pages[-1].remarks[0].says
    levelless = Results(
        EXPORTS,
        SOURCES[2:],
        ReportFormat(),
        lambda idnumber: f"COMPFW/{idnumber}",
        lambda _key, _value: None,
        settled=lambda path: path,
        today=lambda: DAY,
    )
    last = list(levelless.pages(PullScope()))[-1]
    assert last.whole == {"attainments"}
    assert any("level_names" in remark.says for remark in last.remarks)


def test_an_old_file_is_told_and_a_missing_last_report_does_not_spoil_the_others(tmp_path: Path) -> None:
    """A file of some days ago may mean that nothing happened since, or that the schedule failed."""
    results = Results(
        EXPORTS,
        (SOURCES[1], ReportSource("Bridge nowhere", "competency_status")),
        ReportFormat(),
        lambda _: None,
        lambda _key, _value: None,
        settled=lambda path: path,
        today=lambda: DAY + dt.timedelta(days=9),
    )
    pages = list(results.pages(PullScope()))
    assert any("is of 21 November 2026" in remark.says for page in pages for remark in page.remarks)
    assert pages[-1].whole == {"certifications"}
    path = tmp_path / "R_21112026_1.csv"
    path.write_bytes(b"user_idnumber\n\xff\xfe\n")
    with pytest.raises(FixConfiguration, match="UTF-8"):
        list(ReportRows(path, ReportFormat()).rows("state", ("user-idnumber",)))


def test_somebody_with_an_id_number_is_known_by_it_alone() -> None:
    """As from Moodle: the account's name stands in only where there is no id number, so that reports agree."""
    found = list(reports.course_completions(_rows("Bridge course completion")))
    assert {one.lms_user for one in found if one.person} == {""}
