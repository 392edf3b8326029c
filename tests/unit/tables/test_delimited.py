"""Delimited text: every row comes with its line, and whatever is wrong with it is a fault, never an exception."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.rows import Column, Row
from connectors.tables import Table, TableOptions, UnreadableTable, open_table

COLUMNS = (
    Column("key", ("Employee No.", "Código"), required=True, key=True),
    Column("name", ("full name",), required=True),
    Column("note"),
)


def rows_of(path: Path, content: str | bytes, columns: tuple[Column, ...] = (), **options: object) -> list[Row]:
    """Write a file and return its rows."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with open_table(path, columns, TableOptions(**options)) as table:  # type: ignore[arg-type] - as the test says
        return list(table.rows)


def table_of(path: Path, content: str, columns: tuple[Column, ...] = ()) -> Table:
    """Write a file and return what its header says."""
    path.write_bytes(content.encode())
    with open_table(path, columns) as table:
        return table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file to write."""
    return tmp_path / "people.csv"


def test_rows_come_with_their_values_by_header_and_their_line(file: Path) -> None:
    """The header is line 1."""
    rows = rows_of(file, "key,name\na,Ann\nb,Bob\n")
    assert [(row.line, row.values) for row in rows] == [
        (2, {"key": "a", "name": "Ann"}),
        (3, {"key": "b", "name": "Bob"}),
    ]


def test_the_line_is_the_one_on_which_a_record_starts(file: Path) -> None:
    """A quoted value may go over several lines; blank lines count too."""
    rows = rows_of(file, 'key,name\r\na,"two\r\nlines, ""quoted"""\r\n\r\n,\r\nb,Bob\r\n')
    assert [(row.line, row.values["name"]) for row in rows] == [(2, 'two\r\nlines, "quoted"'), (6, "Bob")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_out_from_the_header(file: Path, delimiter: str) -> None:
    """A delimiter inside a quoted header does not count."""
    rows = rows_of(
        file, delimiter.join(["Employee No.", '"Full, name"']) + f"\n1{delimiter}x,y;z\n".replace("x,y;z", "A")
    )
    assert list(rows[0].values.values()) == ["1", "A"]


def test_a_spreadsheets_sep_line_is_no_header(file: Path) -> None:
    """Excel writes one line before the header that only says what the delimiter is."""
    rows = rows_of(file, "sep=;\nkey;name\n1;A,B\n")
    assert [(row.line, row.values) for row in rows] == [(3, {"key": "1", "name": "A,B"})]


def test_known_headers_decide_on_the_delimiter(file: Path) -> None:
    """However many commas a header has."""
    rows = rows_of(file, "key;full name;first, second, third\n1;A;B\n", COLUMNS)
    assert rows[0].values == {"key": "1", "name": "A"}


def test_headers_are_matched_by_alias_without_case_accents_and_punctuation(file: Path) -> None:
    """The values come by the column's own name, a fault names the header as it stands."""
    rows = rows_of(file, "CODIGO,Full_Name,Shoe size\n7,Ann,38\n", COLUMNS)
    assert rows[0].values == {"key": "7", "name": "Ann"}
    assert rows[0].fault("key", "r", "m", "d").column == "CODIGO"


def test_missing_double_and_unknown_headers_are_all_reported(file: Path) -> None:
    """A header nobody asked for is no fault."""
    table = table_of(file, "key,employee no,size\n1,2,3\n", COLUMNS)
    assert [(fault.rule, fault.line, fault.column) for fault in table.faults] == [
        ("header-twice", 1, "employee no"),
        ("header-missing", 1, "name"),
    ]
    assert "full name" in table.faults[1].remedy
    assert table.unknown == ("size",)


def test_a_short_and_a_long_row_are_faults_and_keep_what_they_have(file: Path) -> None:
    """Whom a broken row is about must be known: a rejected row is not an absent person."""
    rows = rows_of(file, "key,name,note\n1,A\n2,B,C,D,E\n3,C,n,,\n4,D,n\n")
    assert [(row.line, [fault.rule for fault in row.faults]) for row in rows] == [
        (2, ["row-too-short"]),
        (3, ["row-too-long"]),
        (4, []),
        (5, []),
    ]
    assert rows[0].values["key"] == "1"
    assert rows[1].faults[0].value == "D | E"
    assert rows[1].cells == ("2", "B", "C", "D", "E")


def test_a_zero_byte_is_a_fault_of_its_row_only(file: Path) -> None:
    """The row's other values are there."""
    rows = rows_of(file, "key,name\n1,A\0B\n2,C\n")
    assert [fault.rule for fault in rows[0].faults] == ["zero-byte"]
    assert (rows[0].faults[0].column, rows[0].values["key"]) == ("name", "1")
    assert rows[1].faults == ()


def test_a_value_of_ten_megabytes_is_a_fault_of_its_row_only(file: Path) -> None:
    """And the fault does not repeat it."""
    rows = rows_of(file, "key,name\n1," + "x" * 10_000_000 + "\n2,B\n")
    assert [fault.rule for fault in rows[0].faults] == ["value-too-long"]
    assert len(rows[0].faults[0].value) < 200
    assert rows[1].values["name"] == "B"


def test_a_line_without_end_costs_bounded_memory_and_only_its_own_row(file: Path) -> None:
    """A line of 40 million characters is cut while it is read."""
    rows = rows_of(file, "key,name\n1," + "x" * 40_000_000 + "\n2,B\n")
    assert [fault.rule for fault in rows[0].faults] == ["value-too-long"]
    assert (rows[1].line, rows[1].values["name"]) == (3, "B")


def test_a_stray_quote_costs_its_line_and_not_the_rows_after_it(file: Path) -> None:
    """The quote would swallow everything up to the next one."""
    rows = rows_of(file, 'key,name\n1,"A\n2,B\n3,"C, D"\n4,E\n')
    assert [(row.line, row.values["key"], [fault.rule for fault in row.faults]) for row in rows] == [
        (2, "1", ["quote"]),
        (3, "2", []),
        (4, "3", []),
        (5, "4", []),
    ]


def test_two_stray_quotes_do_not_make_the_rows_between_them_disappear(file: Path) -> None:
    """By themselves they would be a sound record over several lines."""
    rows = rows_of(file, 'key,name,unit,note\n1,"A,U,x\n2,B,U,y\n3,C",U,z\n4,"D\n, E",U,z\n')
    assert [(row.line, row.values["key"], [fault.rule for fault in row.faults]) for row in rows] == [
        (2, "1", ["quote"]),
        (3, "2", []),
        (4, "3", []),
        (5, "4", []),
    ]
    assert "whole rows inside" in rows[0].faults[0].message
    rows = rows_of(file, 'key,name,unit,note\n1,"A,U,x\n3,C",U,z\n')
    assert [(row.values["key"], len(row.faults)) for row in rows] == [("1", 1), ("3", 0)]


def test_a_quote_that_is_never_closed_says_so(file: Path) -> None:
    """The rows after it are read all the same."""
    rows = rows_of(file, 'key,name\n1,A\n2,"B\n3,C\n')
    assert "before the quote is closed" in rows[1].faults[0].message
    assert rows[2].values == {"key": "3", "name": "C"}


def test_a_quote_in_the_middle_of_a_plain_value_is_text(file: Path) -> None:
    """Inches are common in product names."""
    assert rows_of(file, 'key,name\n1,5" pipe\n')[0].values["name"] == '5" pipe'


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8-sig", b""), ("utf-16", b""), ("utf-16-le", b"\xff\xfe"), ("utf-32", b"")]
)
def test_a_byte_order_mark_tells_the_encoding(file: Path, encoding: str, mark: bytes) -> None:
    """Whatever may be declared."""
    rows = rows_of(file, mark + "key,name\n1,Zoë\n".encode(encoding), encoding="cp1252")
    assert rows[0].values == {"key": "1", "name": "Zoë"}


def test_strict_utf8_goes_before_the_declared_encoding(file: Path) -> None:
    """A declaration is for files that are not UTF-8."""
    assert rows_of(file, "key,name\n1,Zoë\n", encoding="cp1252")[0].values["name"] == "Zoë"
    assert rows_of(file, "key,name\n1,Zoë\n".encode("cp1252"), encoding="cp1252")[0].values["name"] == "Zoë"


def test_an_undeclared_encoding_is_advice_and_not_a_guess(file: Path) -> None:
    """The error names the line and how it would read."""
    with pytest.raises(UnreadableTable) as caught:
        rows_of(file, "key,name\n1,A\n2,Zoë\n".encode("cp1252"))
    fault = caught.value.fault
    assert (fault.file, fault.line, fault.rule) == ("people.csv", 3, "encoding")
    assert "Windows-1252" in fault.remedy
    assert "Zoë" in fault.remedy


def test_bad_bytes_are_found_across_the_pieces_a_file_is_read_in(file: Path) -> None:
    """A character may lie on the border of two pieces, and a bad byte in a late one."""
    border = b"key,name\n1," + "é".encode() * 700_000 + b"\n"
    assert len(rows_of(file, border)[0].values["name"]) == 700_000
    with pytest.raises(UnreadableTable) as caught:
        rows_of(file, border + b"2,\xff\n")
    assert caught.value.fault.line == 3


@pytest.mark.parametrize(
    ("content", "rule"),
    [(b"", "empty-file"), (b"\n \n", "empty-file"), ("key,name\n".encode("utf-16-le"), "encoding")],
)
def test_a_file_of_which_nothing_can_be_read_says_what_it_is(file: Path, content: bytes, rule: str) -> None:
    """Empty, or in UTF-16 without a mark."""
    with pytest.raises(UnreadableTable) as caught:
        rows_of(file, content)
    assert caught.value.fault.rule == rule
    assert caught.value.fault.remedy


@pytest.mark.parametrize("declared", ["klingon", "hex", "undefined"])
def test_an_encoding_nobody_knows_is_a_fault_of_the_declaration(file: Path, declared: str) -> None:
    """The fault shows the name as declared."""
    with pytest.raises(UnreadableTable, match=declared):
        rows_of(file, "key\n1\n", encoding=declared)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    """Both are faults a person can act on."""
    with pytest.raises(UnreadableTable, match="no such file"):
        open_table(tmp_path / "gone.csv")
    with pytest.raises(UnreadableTable, match="cannot be read"):
        open_table(tmp_path)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.text("ab1", min_size=1, max_size=3), TEXT, TEXT), max_size=6),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_a_sound_writer_writes_is_read_back_with_its_lines(
    file: Path, records: list[tuple[str, str, str]], delimiter: str, end: str
) -> None:
    """Any text, any delimiter, either line end."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(["key", "name", "note"])
    starts = []
    for record in records:
        written = stream.getvalue()
        starts.append(len(io.StringIO(written, newline=None).read().split("\n")))
        writer.writerow(record)
    rows = rows_of(file, stream.getvalue())
    assert [tuple(row.values.values()) for row in rows] == records
    assert [row.line for row in rows] == starts
    assert not any(row.faults for row in rows)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.text(st.sampled_from('a1,;"\n\r\0 =\t'), max_size=60))
def test_no_text_whatever_raises_anything_but_the_one_error(file: Path, body: str) -> None:
    """Every line of the body is a row, a blank or part of one; the lines only go up."""
    try:
        rows = rows_of(file, f"key,name\n{body}")
    except UnreadableTable:
        assert "\0" in body  # so many zero bytes that it looks like UTF-16
        return
    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))
    for row in rows:
        assert row.faults or set(row.values) == {"key", "name"}
