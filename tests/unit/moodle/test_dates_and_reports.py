"""Reading report pages: dates in words, columns by heading, people without a key, rows that are none."""

from __future__ import annotations

import datetime as dt

import pytest

from connectors.moodle.dates import moment_of, parse_moment
from connectors.moodle.reports import Count, Table, Unsuitable, attainments_in, completions_in

TIME = "Time completed"
ANNA = '<a href="https://m.example/user/profile.php?id=66">Anna</a>'


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Thursday, 22 October 2026, 7:03 PM", (2026, 10, 22, 19, 3)),
        ("Monday, 9 June 2025, 12:35 AM", (2025, 6, 9, 0, 35)),
        ("Monday, 9 June 2025, 12:35 PM", (2025, 6, 9, 12, 35)),
        ("1 Mar 2024, 09:00", (2024, 3, 1, 9, 0)),
        ("March 1, 2024, 9:00 am", (2024, 3, 1, 9, 0)),
        ("2024-03-01 21:05", (2024, 3, 1, 21, 5)),
        ("03/04/24, 10:00", None),
        ("31 February 2024, 10:00", None),
        ("1 Foo 2024, 10:00", None),
        ("", None),
    ],
)
def test_dates_are_read_where_they_are_certain(text: str, moment: tuple[int, int, int, int, int] | None) -> None:
    """Words and ISO are read as UTC; an all-number date could be two days and is left."""
    assert parse_moment(text) == (None if moment is None else dt.datetime(*moment, tzinfo=dt.UTC))


def test_epoch_seconds_are_cut_to_the_minute_as_reports_have_them() -> None:
    """So that both routes tell the same moment."""
    assert moment_of(1741412781) == dt.datetime(2025, 3, 8, 5, 46, tzinfo=dt.UTC)
    assert moment_of(0) is None
    assert moment_of(None) is None


def test_completions_come_once_each_with_person_or_account() -> None:
    """Two ways of enrolment make two rows; rows without a user are none; an account without a key keeps its name."""
    table = Table(
        [
            "ID number",
            "Full name with link",
            "Course ID number",
            "Course short name",
            "Course full name",
            "Time completed",
        ],
        [
            ["E1", "x", "TRN-1", "C1", "R&amp;D", "1 March 2024, 9:00 AM"],
            ["E1", "x", "TRN-1", "C1", "R&amp;D", "1 March 2024, 9:00 AM"],
            [
                "",
                '<a href="https://m.example/user/profile.php?id=66">Anna</a>',
                "",
                "C2",
                "Two",
                "1 March 2024, 9:00 AM",
            ],
            ["", "", "TRN-1", "C1", "One", ""],
            ["E2", "x", "TRN-1", "C1", "One", ""],
            ["E3", "x", "TRN-1", "C1", "One", "yesterday"],
        ],
        6,
    )
    count = Count()
    found = list(completions_in(table, None, count))
    assert [(one.person, one.lms_user, one.course) for one in found] == [
        ("E1", "", "TRN-1"),
        ("", "id:66", "C2"),
        ("E3", "", "TRN-1"),
    ]
    assert found[0].course_name == "R&D"
    assert found[2].completed_at is None
    assert count.unreadable == 1


def test_what_the_filter_should_have_kept_out_is_dropped_and_counted() -> None:
    """An unknown filter is ignored by Moodle without a word."""
    table = Table(
        ["Username", "Course ID number", "Time completed"],
        [["anna", "T", "1 March 2020, 9:00 AM"], ["anna", "T2", "1 March 2024, 9:00 AM"]],
        2,
    )
    count = Count()
    since = dt.datetime(2024, 2, 1, tzinfo=dt.UTC).timestamp()
    assert [one.course for one in completions_in(table, since, count)] == ["T2"]
    assert count.early == 1


def test_a_report_without_the_needed_columns_is_unsuitable() -> None:
    """It is named, so that the slower route can be taken."""
    with pytest.raises(Unsuitable, match="time completed"):
        list(completions_in(Table(["ID number", "Course ID number"], [], 0), None, Count()))
    with pytest.raises(Unsuitable, match="framework"):
        list(attainments_in(Table(["ID number", "Rating"], [], 0), {}, Count()))
    swapped = Table(
        ["ID number", "ID number", "ID number", "Rating", "Proficient"], [["E1", "A", "F", "Yes", "Yes"]], 1
    )
    with pytest.raises(Unsuitable, match="Reorder"):
        list(attainments_in(swapped, {"F": ("No", "Yes")}, Count()))


def test_ratings_are_told_as_levels_of_their_scale() -> None:
    """Columns with the same heading go by their order; nobody rated gives no row."""
    table = Table(
        ["ID number", "Name", "ID number", "Name", "ID number", "Username", "Rating", "Proficient"],
        [
            ["F", "x", "A", "x", "E1", "e1", "Yes", "Yes"],
            ["F", "x", "B", "x", "", "anna", "No", "No"],
            ["F", "x", "C", "x", "E1", "e1", "Odd", ""],
            ["F", "x", "D", "x", "", "", "", ""],
            ["F", "x", "E", "x", "E1", "e1", "", ""],
        ],
        5,
    )
    count = Count()
    found = list(attainments_in(table, {"F": ("No", "Yes")}, count))
    assert [(one.person, one.lms_user, one.competency, one.level, one.proficient) for one in found] == [
        ("E1", "", "F/A", 2, True),
        ("", "anna", "F/B", 1, False),
        ("E1", "", "F/C", None, None),
    ]
    assert count.unrated == 1
