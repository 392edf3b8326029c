"""Workbooks: the same rows as from CSV, and what a spreadsheet did to identifiers is found."""

import datetime as dt
from pathlib import Path

import pytest
from openpyxl.workbook import Workbook

from bridge.rows import Column
from connectors.tables import TableOptions, UnreadableTable, open_table, sheet_names

DAY = dt.datetime(2024, 2, 29)  # noqa: DTZ001 - the cells of a sheet know no time zone
COLUMNS = (Column("key", required=True, key=True), Column("name"), Column("since"))


def saved(path: Path, *rows: tuple[object, ...], title: str = "Sheet") -> Path:
    """Save a workbook of one sheet."""
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.title = title
    for row in rows:
        sheet.append(row)
    workbook.save(path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A workbook to write."""
    return tmp_path / "people.xlsx"


def test_cells_read_as_the_text_a_csv_file_would_have(file: Path) -> None:
    """Dates as YYYY-MM-DD, whole numbers without a point, empty cells as empty text."""
    path = saved(
        file,
        ("key", "name", "since"),
        ("a", 3.0, DAY),
        ("b", True, DAY.replace(hour=8, minute=30)),
        ("c", 0.25, None),
    )
    with open_table(path, COLUMNS) as table:
        assert [(row.line, *row.values.values()) for row in table.rows] == [
            (2, "a", "3", "2024-02-29"),
            (3, "b", "1", "2024-02-29 08:30:00"),
            (4, "c", "0.25", ""),
        ]


def test_rows_keep_the_numbers_they_have_in_the_sheet(file: Path) -> None:
    """Empty rows are passed over and counted."""
    path = saved(file, (), ("key", "name"), ("a", "A"), (None, None), ("b", "B"))
    with open_table(path, COLUMNS) as table:
        assert [row.line for row in table.rows] == [3, 5]


def test_identifiers_that_became_numbers_or_dates_are_faults_where_something_is_lost(file: Path) -> None:
    """A whole number is what it is; 1.10 became 1.1, 1-2 a date, and of 17 digits the last are zeros."""
    path = saved(file, ("key", "name"), (11, "A"), (1.1, "B"), (DAY, "C"), (12345678901234567, "D"))
    with open_table(path, COLUMNS) as table:
        rows = list(table.rows)
    assert [[fault.rule for fault in row.faults] for row in rows] == [
        [],
        ["key-as-number"],
        ["key-as-date"],
        ["key-as-number"],
    ]
    assert rows[0].values["key"] == "11"
    assert (rows[1].faults[0].line, rows[1].faults[0].column, rows[1].faults[0].value) == (3, "key", "1.1")


def test_a_number_shown_with_leading_zeros_has_them(file: Path) -> None:
    """The format 00000 makes 00042 of 42."""
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.append(["key", "name"])
    sheet.append([42, "A"])
    sheet["A2"].number_format = "00000"
    workbook.save(file)
    with open_table(file, COLUMNS) as table:
        assert next(table.rows).values["key"] == "00042"


def test_numbers_among_identifiers_with_leading_zeros_are_a_remark(file: Path) -> None:
    """Nobody can know whether the zero was there."""
    path = saved(file, ("key", "name"), ("0041", "A"), (42, "B"))
    with open_table(path, COLUMNS) as table:
        assert not any(row.faults for row in table.rows)
    assert [(remark.rule, remark.line, remark.value) for remark in table.remarks] == [("leading-zeros", 3, "42")]


def test_an_error_in_a_cell_is_a_fault(file: Path) -> None:
    """A formula that failed holds no value."""
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.append(["key", "name"])
    sheet.append(["a", "#N/A"])
    sheet["B2"].data_type = "e"
    workbook.save(file)
    with open_table(file, COLUMNS) as table:
        assert [fault.rule for fault in next(table.rows).faults] == ["cell-error"]


def test_merged_cells_below_the_header_are_a_fault_of_the_table(file: Path) -> None:
    """All but the first would read as empty, which may well be a value."""
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    for row in (["key", "name"], ["a", "A"], ["b", None]):
        sheet.append(row)
    sheet.merge_cells("B2:B3")
    workbook.save(file)
    with open_table(file, COLUMNS) as table:
        assert [(fault.rule, fault.line, fault.value) for fault in table.faults] == [("merged-cells", 2, "B2:B3")]


def test_a_cell_right_of_the_headers_is_a_fault(file: Path) -> None:
    """It may be a value that slipped."""
    path = saved(file, ("key", "name"), ("a", "A", "lost"))
    with open_table(path, COLUMNS) as table:
        assert [fault.value for fault in next(table.rows).faults] == ["lost"]


def test_a_sheet_is_chosen_by_name_and_else_the_first_visible(file: Path) -> None:
    """Names are compared as people compare them."""
    workbook = Workbook()
    hidden = workbook.active
    assert hidden is not None
    hidden.sheet_state = "hidden"
    for title in ("People", "Jobs"):
        sheet = workbook.create_sheet(title)
        sheet.append(["key"])
        sheet.append([title])
    workbook.save(file)
    assert sheet_names(file, "people.xlsx") == ("People", "Jobs")
    with open_table(file) as table:
        assert next(table.rows).values == {"key": "People"}
    with open_table(file, options=TableOptions(sheet="jobs ")) as table:
        assert next(table.rows).values == {"key": "Jobs"}
    with pytest.raises(UnreadableTable, match="People, Jobs"):
        open_table(file, options=TableOptions(sheet="Units"))


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "empty-file"),
        (b"key,name\n1,A\n", "workbook-damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "workbook-format"),
    ],
)
def test_what_is_no_workbook_says_so(file: Path, content: bytes, rule: str) -> None:
    """A renamed CSV file, an old or protected workbook, nothing at all."""
    file.write_bytes(content)
    with pytest.raises(UnreadableTable) as caught:
        open_table(file)
    assert caught.value.fault.rule == rule


def test_a_workbook_cut_on_the_way_is_no_exception_of_its_own(file: Path) -> None:
    """Wherever it was cut."""
    whole = saved(file, ("key", "name"), *((str(n), "x" * 50) for n in range(300))).read_bytes()
    for size in range(10, len(whole) - 1, len(whole) // 12):
        file.write_bytes(whole[:size])
        with pytest.raises(UnreadableTable), open_table(file) as table:
            list(table.rows)


def test_an_empty_sheet_is_a_fault(file: Path) -> None:
    """It lacks even its header."""
    with pytest.raises(UnreadableTable, match="header row"):
        open_table(saved(file))
