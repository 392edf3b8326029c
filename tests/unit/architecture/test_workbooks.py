"""The same architecture reads the same from CSV files, from workbooks and from one workbook."""

import csv
import shutil
from collections.abc import Iterable
from pathlib import Path

from openpyxl.workbook import Workbook

from jobs.architecture import read_architecture
from mappings.architecture import FILES
from mappings.architecture.columns import POSITION_COMPETENCIES

SAMPLE = Path(__file__).parents[3] / "samples" / "company"


def sheet_rows(name: str) -> Iterable[list[str | int]]:
    """Return the rows of a sample file as a spreadsheet holds them: what looks like a small number is one."""
    with (SAMPLE / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.reader(stream):
            yield [int(cell) if cell.isdigit() and str(int(cell)) == cell else cell for cell in row]


def test_the_sample_as_one_workbook_is_the_same_architecture(tmp_path: Path) -> None:
    """Sheets may be named as people name them, and a sheet of notes is left alone."""
    workbook = Workbook(write_only=True)
    workbook.create_sheet("Read me").append(["Notes"])
    plain = tmp_path / "plain"
    plain.mkdir()
    for spec in FILES:
        if spec is POSITION_COMPETENCIES:
            continue  # 13,461 rows of three cells would say nothing that the others do not
        shutil.copy(SAMPLE / f"{spec.name}.csv", plain)
        sheet = workbook.create_sheet(spec.name.replace("_", " ").capitalize())
        for row in sheet_rows(spec.name):
            sheet.append(row)
    workbook.save(tmp_path / "Architecture.xlsx")
    reading = read_architecture(tmp_path)
    assert reading.faults == ()
    assert reading.architecture == read_architecture(plain).architecture
    assert "sheet-unknown" in {remark.rule for remark in reading.remarks}


def test_a_workbook_may_stand_for_a_single_file(read, tmp_path: Path) -> None:
    """The others stay CSV; a fault names the workbook and the row."""
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    for row in (["idnumber", "name", "parent"], ["F1", "Family", None], ["F2", "Sub-family", "F1"]):
        sheet.append(row)
    workbook.save(tmp_path / "job_families.xlsx")
    reading = read({"job_families.csv": None})
    assert reading.faults == ()
    assert [family.parent for family in reading.architecture.families] == [None, "F1"]
    sheet.append(["F3", "Orphan", "F9"])
    workbook.save(tmp_path / "job_families.xlsx")
    (fault,) = read({"job_families.csv": None}).faults
    assert (fault.file, fault.line, fault.column, fault.value) == ("job_families.xlsx", 4, "parent", "F9")


def test_windows_line_ends_semicolons_and_other_headers_make_no_difference(read) -> None:
    """A file is what it says, not how it was saved."""
    plain = read().architecture
    other = "Target type;Key;Competency ID;Level;Due in days;Valid days\r\n"
    rows = "Everybody;;C1;Low;90;365\r\nOrganization;O1;C1;2;;\r\nJob family;F1;T1;yes;;\r\nLevel;4;C1.1;3.0;;\r\n"
    changed = read({"requirements.csv": f"\ufeff{other}{rows}POSITION;P1;CORE/C1.2;2;30;\r\n\r\n"})
    assert changed.faults == ()
    assert changed.architecture == plain
