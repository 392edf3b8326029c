"""Columns to fields: headers, rules, dates and numbers, and what a row must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.feed_settings import ColumnRule, FeedSettings
from bridge.roster import RosterRow
from bridge.rows import same_header
from connectors.tables import open_table
from jobs.feed_reading import open_feed, read_lookups
from mappings.columns import KNOWN_HEADERS, columns_wanted, detect_date_format, detect_decimal, map_columns
from mappings.people import SEPARATOR, ReadRow, letters_lost

from .conftest import SAMPLE

MINIMAL = "employee_id,first_name,last_name,email"


def read(tmp_path: Path, text: str, **settings: object) -> list[ReadRow]:
    """Return every row of a file as it is read, after checking that the quick way agrees wherever it answers."""
    path = tmp_path / "people.csv"
    path.write_text(text, "utf-8")
    feed = FeedSettings.model_validate(settings)
    found = []
    with open_feed(path, path.name, feed, None, read_lookups(feed, tmp_path)) as opened:
        for row in opened.rows:
            closely = opened.reader.closely(row)
            values = tuple(row.values.get(source, "") for source in opened.mapping.sources)
            quick = None if row.faults else opened.reader.quick(values, SEPARATOR.join(values))
            if quick is not None:
                assert not closely.faults
                assert not closely.remarks
                assert full(quick) == closely.record
            found.append(closely)
    return found


def full(quick: tuple[str, ...]) -> RosterRow:
    """Return what the quick way gave as a whole row."""
    if len(quick) != 11:
        return RosterRow(*quick)
    names = ("person", "first_name", "last_name", "email", "username", "status", "title", "unit", "manager", "start")
    return RosterRow(**dict(zip((*names, "extra"), quick, strict=True)))


def one(tmp_path: Path, headers: str, cells: str, **settings: object) -> RosterRow:
    """Return the one sound row of a file."""
    [row] = read(tmp_path, f"{headers}\n{cells}\n", **settings)
    assert [fault.rule for fault in row.faults] == []
    return row.record


def rules(tmp_path: Path, headers: str, cells: str, **settings: object) -> list[str]:
    """Return the rules that the one row of a file breaks."""
    [row] = read(tmp_path, f"{headers}\n{cells}\n", **settings)
    return [fault.rule for fault in row.faults]


def test_both_header_styles_of_the_sample_mean_the_same_without_settings() -> None:
    """`employee_id` and `Employee No.` and all their neighbours."""
    with open_feed(SAMPLE / "hris_people_day1.csv", "1", FeedSettings()) as opened:
        plain = opened.columns
        first = [opened.reader.closely(row).record for row in opened.rows][:10]
    settings = FeedSettings(encoding="cp1252")
    with open_feed(SAMPLE / "hris_people_day3_dirty.csv", "3", settings) as opened:
        assert opened.columns.keys() == plain.keys()
        assert [opened.reader.closely(row).record for row in opened.rows][:10] == first
    assert len(plain) == 12


def test_the_two_ways_of_reading_a_row_agree_over_the_whole_sample() -> None:
    """The quick way is only quicker."""
    for day, encoding in ((1, None), (2, None), (3, "cp1252")):
        [path] = SAMPLE.glob(f"hris_people_day{day}*.csv")
        answered = 0
        with open_feed(path, path.name, FeedSettings(encoding=encoding)) as opened:
            for row in opened.rows:
                if row.faults:
                    continue
                values = tuple(row.values[source] for source in opened.mapping.sources)
                quick = opened.reader.quick(values, SEPARATOR.join(values))
                if quick is not None:
                    answered += 1
                    assert full(quick) == opened.reader.closely(row).record
        assert answered > 400


def test_a_header_set_by_hand_takes_precedence_over_the_usual_ones(tmp_path: Path) -> None:
    """`id` is usually the person's; here it is something else."""
    headers = "id,person code,first_name,last_name,email"
    row = one(tmp_path, headers, "17,P1,A,B,a@b.example", columns={"person": "person code", "badge": "id"})
    assert (row.person, row.extra) == ("P1", '{"badge":"17"}')


@pytest.mark.parametrize(
    ("rule", "given", "gives"),
    [
        ({"from": "x", "apply": ["strip", "lower"]}, "  ABC ", "abc"),
        ({"from": "x", "apply": ["upper", "plain"]}, "né", "NE"),
        ({"from": "x", "apply": ["digits"]}, "T-12 3", "123"),
        ({"from": "x", "regex": r"\((\w+)\)"}, "Kaur, Noor (E7)", "E7"),
        ({"from": "x", "regex": r"\d+"}, "unit 77 b", "77"),
        ({"from": "x", "regex": r"\d+", "default": "none"}, "unit", "none"),
        ({"from": "x", "map": {"T": "temp"}}, "t", "temp"),
        ({"from": "x", "map": {"T": "temp"}}, "other", "other"),
        ({"from": "x", "default": "-"}, "", "-"),
        ({"constant": "always"}, "ignored", "always"),
        ({"join": ["x", "y"], "separator": "."}, "a", "a.why"),
    ],
)
def test_a_rule_makes_a_field_from_a_cell(tmp_path: Path, rule: dict[str, object], given: str, gives: str) -> None:
    """One expression each."""
    row = one(tmp_path, f"{MINIMAL},x,y", f'E1,A,B,a@b.example,"{given}",why', columns={"grade": rule})
    assert row.grade == gives


def test_a_status_is_translated_by_the_feeds_own_words(tmp_path: Path) -> None:
    """`T` means something already; `9` only where the settings say so."""
    columns = {"status": {"from": "state", "map": {"9": "terminated"}}}
    assert one(tmp_path, f"{MINIMAL},state", "E1,A,B,a@b.example,9", columns=columns).status == "terminated"
    assert one(tmp_path, f"{MINIMAL},status", "E1,A,B,a@b.example,T").status == "terminated"
    assert one(tmp_path, f"{MINIMAL},status", "E1,A,B,a@b.example,On Leave").status == "on_leave"


def test_a_lookup_table_translates_a_column(tmp_path: Path) -> None:
    """A file of two columns, from and to."""
    (tmp_path / "units.csv").write_text("old,new\n77,OPS\n", "utf-8")
    columns = {"unit": {"from": "dept", "lookup": "units.csv"}}
    assert one(tmp_path, f"{MINIMAL},dept", "E1,A,B,a@b.example,77", columns=columns).unit == "OPS"


def test_a_part_of_a_join_may_also_be_a_field_of_its_own(tmp_path: Path) -> None:
    """The first name is one, and part of the user name."""
    columns = {"username": {"join": ["first_name", "last_name"], "separator": ".", "apply": ["lower"]}}
    row = one(tmp_path, MINIMAL, "E1,Ana,Kaur,a@b.example", columns=columns)
    assert (row.first_name, row.username) == ("Ana", "ana.kaur")


def test_without_a_column_the_user_name_is_the_key_in_lower_case(tmp_path: Path) -> None:
    """It stays when the name or the address changes."""
    assert one(tmp_path, MINIMAL, "E1,Ana,Kaur,a@b.example").username == "e1"


def test_what_is_ignored_is_not_stored(tmp_path: Path) -> None:
    """Only mapped columns are kept."""
    headers = f"{MINIMAL},location,country,shoe size"
    assert one(tmp_path, headers, "E1,A,B,a@b.example,South,SE,43", ignore=["country"]).extra == '{"location":"South"}'


def test_several_rules_at_once_are_refused() -> None:
    """A field comes from one place."""
    with pytest.raises(ValueError, match="not several"):
        ColumnRule.model_validate({"from": "a", "constant": "b"})
    with pytest.raises(ValueError, match="regular expression"):
        ColumnRule.model_validate({"from": "a", "regex": "("})


def test_every_usual_header_means_one_field_alone() -> None:
    """No header is asked for twice."""
    wanted = columns_wanted(FeedSettings())
    headers = [same_header(text) for column in wanted for text in (column.name, *column.aliases)]
    assert len(headers) == len(set(headers))
    assert {column.name for column in wanted} >= set(KNOWN_HEADERS)


def test_a_mapping_without_any_column_reads_nothing() -> None:
    """All fields are empty, none is missing."""
    mapping = map_columns(FeedSettings(), ())
    assert set(mapping.fields(())) == {""}


@pytest.mark.parametrize(
    ("dates", "found", "among"),
    [
        (["2026-12-31", ""], "%Y-%m-%d", ()),
        (["01/02/2026", "13/02/2026"], "%d/%m/%Y", ()),
        (["01/02/2026", "02/13/2026"], "%m/%d/%Y", ()),
        (["31.12.2026"], "%d.%m.%Y", ()),
        (["01/02/2026", "03/04/2026"], "%d/%m/%Y", ("%d/%m/%Y", "%m/%d/%Y")),
        (["05/05/2026"], "%d/%m/%Y", ()),
        (["nonsense"], "%Y-%m-%d", ()),
    ],
)
def test_the_format_of_dates_is_found_out_or_said_to_be_open(
    dates: list[str], found: str, among: tuple[str, ...]
) -> None:
    """The one that reads most; two that read as much but mean other days are not chosen between."""
    detected = detect_date_format(dates)
    assert (detected.format, detected.among) == (found, among)


def test_dates_that_may_be_either_put_the_file_into_doubt(tmp_path: Path) -> None:
    """Nobody guesses whether the first or the second number is the day."""
    path = tmp_path / "people.csv"
    path.write_text(f"{MINIMAL},hire_date\nE1,A,B,a@b.example,01/02/2020\n", "utf-8")
    with open_feed(path, path.name, FeedSettings()) as opened:
        assert [fault.rule for fault in opened.doubts] == ["date-format"]
    with open_feed(path, path.name, FeedSettings(date_format="%m/%d/%Y")) as opened:
        assert opened.doubts == ()


def test_a_decimal_comma_becomes_a_point(tmp_path: Path) -> None:
    """Where a file writes its numbers so."""
    assert detect_decimal(["0,5", "1"]) == ","
    assert detect_decimal(["1.5", "1,000"]) == "."
    assert one(tmp_path, f"{MINIMAL},FTE", 'E1,A,B,a@b.example,"0,5"').extra == '{"fte":"0.5"}'


@pytest.mark.parametrize(
    ("headers", "cells", "broken"),
    [
        (MINIMAL, ",A,B,a@b.example", ["id-empty"]),
        (MINIMAL, "1.2E+05,A,B,a@b.example", ["id-as-number"]),
        (MINIMAL, "1204.0,A,B,a@b.example", ["id-as-number"]),
        (MINIMAL, "E1,,,a@b.example", ["name-empty"]),
        (MINIMAL, "E1,A,B,", ["email-empty"]),
        (MINIMAL, "E1,A,B,nowhere", ["email"]),
        (MINIMAL, "E1,A,B,a@b@c.example", ["email"]),
        (MINIMAL, "E1,=1+1,B,a@b.example", ["formula"]),
        (MINIMAL, "E1,@SUM(A1),B,a@b.example", ["formula"]),
        (MINIMAL, "E1,A\x07,B,a@b.example", ["control-character"]),
        (MINIMAL, f"E1,A,{'x' * 101},a@b.example", ["last-name-too-long"]),
        (f"{MINIMAL},title", f"E1,A,B,a@b.example,{'x' * 256}", ["title-too-long"]),
        (f"{MINIMAL},status", "E1,A,B,a@b.example,on holiday", ["status-unknown"]),
        (f"{MINIMAL},start,end", "E1,A,B,a@b.example,2026-05-01,2026-04-30", ["end-before-start"]),
        (f"{MINIMAL},start date", "E1,A,B,a@b.example,2026-02-31", ["date"]),
        (f"{MINIMAL},start date", "E1,A,B,a@b.example,0026-02-01", ["date"]),
        (f"{MINIMAL},primary", "E1,A,B,a@b.example,perhaps", ["yes-or-no"]),
        (f"{MINIMAL},action", "E1,A,B,a@b.example,explode", ["action-unknown"]),
        (f"{MINIMAL},location", f"E1,A,B,a@b.example,{'x' * 256}", ["value-too-long"]),
        (f"{MINIMAL},status", ",=A,B,nowhere,odd", ["formula", "id-empty", "status-unknown", "email"]),
    ],
)
def test_a_row_that_cannot_be_says_every_reason(tmp_path: Path, headers: str, cells: str, broken: list[str]) -> None:
    """All that is wrong with a row, at once."""
    assert rules(tmp_path, headers, cells) == broken


def test_odd_spaces_and_invisible_letters_are_taken_out(tmp_path: Path) -> None:
    """What nobody sees must not make another title of it."""
    row = one(tmp_path, f"{MINIMAL},title", " E1 ,A\u200b,O\u2019Brien,A@B.Example,\u00a0 Nurse   II ")
    assert (row.person, row.first_name, row.last_name, row.email, row.title) == (
        "E1", "A", "O’Brien", "a@b.example", "Nurse II",
    )  # fmt: skip


def test_who_manages_themself_has_no_manager(tmp_path: Path) -> None:
    """HR systems write it so for the one at the top."""
    assert one(tmp_path, f"{MINIMAL},manager_id", "E1,A,B,a@b.example,E1").manager == ""


def test_a_cell_with_the_joining_sign_is_read_like_any_other(tmp_path: Path) -> None:
    """A broken bar in a title changes nothing."""
    assert one(tmp_path, f"{MINIMAL},title", "E1,A,B,a@b.example,Nurse¦II").title == "Nurse¦II"


@pytest.mark.parametrize(
    ("known", "incoming", "lost"),
    [
        ("Şahin", "ahin", True),
        ("Yıldız", "Yldz", True),
        ("Dvořák", "Dvo?ák", True),
        ("Dvořák", "Dvo\ufffdák", True),
        ("Novák", "Nov??k", True),
        ("Dvořák", "Dvorak", False),
        ("Smith", "Smit", False),
        ("Şahin", "Şahin", False),
        ("Şahin", "Kaya", False),
        ("Åsa", "sa", True),
    ],
)
def test_only_letters_that_an_encoding_cannot_hold_count_as_lost(known: str, incoming: str, lost: bool) -> None:
    """A name that differs in anything else is another name."""
    assert letters_lost(known, incoming) is lost


def test_a_workbook_is_read_like_a_file(tmp_path: Path) -> None:
    """The same people from .xlsx, dates as dates."""
    import datetime as dt

    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["Employee No.", "Given name", "Family name", "E-mail", "Start date"])
    book.active.append(["E1", "Ana", "Kaur", "a@b.example", dt.date(2020, 2, 1)])
    path = tmp_path / "people.xlsx"
    book.save(path)
    with open_feed(path, path.name, FeedSettings()) as opened:
        [row] = [opened.reader.closely(row).record for row in opened.rows]
    assert (row.person, row.start) == ("E1", "2020-02-01")
    with open_table(path) as table:
        assert table.headers[0] == "Employee No."
