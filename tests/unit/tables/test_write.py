"""Writing tables: whole files, safe in a spreadsheet, the same content in every kind."""

import datetime as dt
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.ports import FixConfiguration
from connectors.tables import harmless, open_table, write_table

ROWS = (
    ("E1", 3, True, dt.datetime(2024, 5, 1, 12, 0, tzinfo=dt.timezone(dt.timedelta(hours=2))), None),
    ("=1+1", -2, False, dt.date(2024, 5, 1), "Zoë, “x”"),
)
HEADERS = ("person", "level", "passed", "when", "note")


def test_csv_is_utf8_that_spreadsheets_recognise(tmp_path: Path) -> None:
    """Times are in UTC, and what would run does not."""
    path = tmp_path / "out.csv"
    assert write_table(path, HEADERS, ROWS) == 2
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert path.read_text(encoding="utf-8-sig").splitlines() == [
        "person,level,passed,when,note",
        "E1,3,true,2024-05-01T10:00:00Z,",
        '\'=1+1,-2,false,2024-05-01,"Zoë, “x”"',
    ]


def test_a_workbook_says_the_same(tmp_path: Path) -> None:
    """Numbers are numbers there."""
    path = tmp_path / "out.xlsx"
    assert write_table(path, HEADERS, ROWS) == 2
    with open_table(path) as table:
        assert [tuple(row.values.values()) for row in table.rows] == [
            ("E1", "3", "1", "2024-05-01T10:00:00Z", ""),
            ("'=1+1", "-2", "0", "2024-05-01", "Zoë, “x”"),
        ]


def test_json_lines_keep_every_text_as_it_is(tmp_path: Path) -> None:
    """No spreadsheet opens them."""
    path = tmp_path / "out.jsonl"
    assert write_table(path, HEADERS, ROWS) == 2
    first, second = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert first == {"person": "E1", "level": 3, "passed": True, "when": "2024-05-01T10:00:00Z", "note": None}
    assert second["person"] == "=1+1"


@pytest.mark.parametrize("text", ["=A1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "  =1", "\r=1", "＝1+1", "\n+x"])
def test_what_a_spreadsheet_would_run_is_made_harmless(text: str) -> None:
    """An apostrophe goes before it."""
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-5", "+3.5", "-1,25", "a=b", "", "E-1", "1-2"])
def test_what_it_would_not_run_stays(text: str) -> None:
    """Negative numbers are numbers."""
    assert harmless(text) == text


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """What was there before stays when writing fails."""
    path = tmp_path / "out.csv"
    path.write_text("before")

    def failing() -> object:
        yield ("a",)
        raise RuntimeError("the reader stopped")

    with pytest.raises(RuntimeError):
        write_table(path, ("x",), failing())  # type: ignore[arg-type] - a generator of rows
    assert [found.name for found in tmp_path.iterdir()] == ["out.csv"]
    assert path.read_text() == "before"


def test_another_suffix_and_a_missing_folder_are_said(tmp_path: Path) -> None:
    """With what to do instead."""
    with pytest.raises(FixConfiguration, match=r"\.csv, \.xlsx, \.jsonl"):
        write_table(tmp_path / "out.pdf", ("x",), ())
    with pytest.raises(FixConfiguration, match="folder"):
        write_table(tmp_path / "none" / "out.csv", ("x",), ())


def test_a_workbook_takes_control_characters_and_cuts_what_no_cell_holds(tmp_path: Path) -> None:
    """And says so in the cell."""
    path = tmp_path / "out.xlsx"
    write_table(path, ("x",), [("a\x07b",), ("y" * 40_000,)])
    with open_table(path) as table:
        values = [row.values["x"] for row in table.rows]
    assert values[0] == "a\N{REPLACEMENT CHARACTER}b"
    assert values[1].endswith("… [cut]")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text("abc", min_size=1, max_size=3),
            st.text(st.characters(exclude_categories=["Cc", "Cs", "Co", "Cn"]), max_size=9),
        ),
        max_size=4,
    )
)
def test_a_workbook_reads_like_the_csv_file_of_the_same_rows(tmp_path: Path, records: list[tuple[str, str]]) -> None:
    """Any text."""
    read = []
    for suffix in (".csv", ".xlsx"):
        path = tmp_path / f"out{suffix}"
        write_table(path, ("key", "name"), records)
        with open_table(path) as table:
            read.append([(row.line, row.values) for row in table.rows])
    assert read[0] == read[1]
    assert len(read[0]) == len(records)
