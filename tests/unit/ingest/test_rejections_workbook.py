"""The workbook of rejections: the sender mends the file from it alone, and the next file clears what it lists."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from .conftest import SAMPLE, Desk
from .test_feed_commands import Office

DIRTY = SAMPLE / "hris_people_day3_dirty.csv"


@pytest.fixture
def office(home: Path) -> Office:
    """A folder in which commands are run, after the company's first two days and the third one's release."""
    here = Office(home)
    for day in ("day1", "day2", "day3_dirty"):
        here.run("ingest", "--file", str(SAMPLE / f"hris_people_{day}.csv"), "--as-of", "2026-12-31")
    here.run("feed", "release", "hr", "--partial", "--reason", "ward lists", "--as-of", "2026-12-31")
    return here


def sheet_of(path: Path) -> tuple[Any, list[dict[str, str]]]:
    """Return a workbook's sheet, and its rows by header."""
    sheet = openpyxl.load_workbook(path).active
    assert sheet is not None
    head, *rows = sheet.iter_rows(values_only=True)
    return sheet, [
        {str(name): "" if value is None else str(value) for name, value in zip(head, row, strict=True)} for row in rows
    ]


def sent() -> dict[int, list[str]]:
    """Return the records of the third day by the line on which each starts, as they were sent."""
    stream = io.StringIO(DIRTY.read_bytes().decode("cp1252"), newline="")
    reader = csv.reader(stream, delimiter=";")
    found: dict[int, list[str]] = {}
    line = 1
    for record in reader:
        found[line] = record
        line = reader.line_num + 1
    return found


def test_each_line_repeats_the_row_as_it_was_sent(office: Office) -> None:
    """Letter by letter under the headers of the file: dates and decimals as written, lost letters still lost."""
    office.run("rejections", "--out", "r.xlsx")
    _, lines = sheet_of(Path("r.xlsx"))
    records = sent()
    head = records[1]
    compared = 0
    for line in lines:
        record = records[int(line["Line"])]
        if len(record) != len(head) or line["Rule"] == "formula":
            continue
        for name, value in zip(head, record, strict=True):
            if len(value) < 100:
                assert line[f"Row: {name}"].replace("\r", "") == value.replace("\r", ""), (line["Line"], name)
                compared += 1
    assert compared > 500
    lost = next(line for line in lines if line["Line"] == "17")
    assert (lost["Value"], lost["Row: Family name"], lost["Taken"]) == ("ahin", "ahin", "yes")


def test_the_sheet_is_made_to_be_worked_with(office: Office) -> None:
    """Refused rows first and in the order of the file, headers in sight, columns to filter, nothing that runs."""
    office.run("rejections", "--out", "r.xlsx")
    sheet, lines = sheet_of(Path("r.xlsx"))
    refused = [line for line in lines if line["Taken"] == "no"]
    assert lines[: len(refused)] == refused
    assert [int(line["Line"]) for line in refused] == sorted(int(line["Line"]) for line in refused)
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("A2", sheet.dimensions)
    assert sheet["A1"].font.b
    assert sheet.column_dimensions["F"].width == 60
    assert not any(cell.data_type == "f" for row in sheet.iter_rows() for cell in row)
    assert all(line["What is wrong"] and line["Column"] for line in lines if not line["Rule"].startswith("row-too"))


MENDED = {
    "id-empty": "E00021",
    "email": "mended.{person}@northwind.example",
    "email-shared": "mended.{person}@northwind.example",
    "unit-unknown": "OPS-E-05",
    "manager-unknown": "E00001",
    "manager-circle": "E00001",
    "date": "28/02/2020",
    "title-too-long": "Nurse",
    "status-unknown": "on leave",
    "formula": "Ana",
}
"""What the sender writes instead, by the rule that the workbook names."""


def test_a_sender_who_mends_what_the_workbook_lists_has_it_all_cleared(office: Office) -> None:
    """From line, column and remedy alone; the corrected file is a whole one, and afterwards no row stands refused."""
    office.run("rejections", "--out", "r.xlsx")
    _, lines = sheet_of(Path("r.xlsx"))
    records = sent()
    head = records[1]
    for line in lines:
        at, rule = int(line["Line"]), line["Rule"]
        record = records.get(at, [])
        if line["Taken"] == "yes":
            continue
        if rule == "duplicate-id":
            del records[at]  # the sender takes the wrong rows out; the good one comes with tomorrow's file
        elif rule == "row-too-short":
            records[at] = [*record, *[""] * (len(head) - len(record))]
        elif rule == "row-too-long":
            records[at] = record[: len(head)]
        else:
            record[head.index(line["Column"])] = MENDED[rule].format(person=line["Person"])
    with Path("mended.csv").open("w", encoding="cp1252", newline="") as stream:
        csv.writer(stream, delimiter=";").writerows(records.values())
    office.run("ingest", "--file", "mended.csv", "--as-of", "2026-12-31")
    code, said = office.json(
        "feed", "release", "hr", "--partial", "--reason", "mended ward lists", "--as-of", "2026-12-31"
    )
    left = [one for one in office.json("rejections")[1]["rejections"] if one["refused"]]
    assert (code, said["rejected"]) == (0, 0), left
    assert {one["person"] for one in left} <= {"", "E00012"}, "only what names nobody, or was taken out, may stand"
    code, said = office.json("ingest", "--file", str(SAMPLE / "hris_people_day2.csv"), "--as-of", "2026-12-31")
    assert [one for one in office.json("rejections")[1]["rejections"] if one["refused"]] == left, "an older file"


def test_a_whole_file_that_is_right_clears_every_rejection(after_day2: Desk) -> None:
    """Also those of rows that named nobody."""
    after_day2.take(DIRTY)
    after_day2.release(partial=True)
    assert len([one for one in after_day2.rejections() if one.refused]) == 15
    lines = (SAMPLE / "hris_people_day2.csv").read_bytes().splitlines(keepends=True)
    result = after_day2.take_bytes(b"".join([lines[0], *reversed(lines[1:])]))
    assert (result.state, result.rejected) == ("accepted", 0)
    assert after_day2.rejections() == []
    assert len(after_day2.rejections(cleared=True)) == 52, "what was cleared can still be looked at"
