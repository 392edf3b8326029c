"""The commands for feeds, as a person or a scheduler runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from typer.testing import CliRunner

from bridge.cli import main as cli

from .conftest import SAMPLE

SETTINGS = """
[feeds.hr]
model = "model"
decisions = "model/title_truth.csv"
encoding = "cp1252"
path = "drop"
pattern = "hris_*.csv"
interval = 0
"""


class Office:
    """A folder with settings, a job architecture and a drop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drop = folder / "drop"
        self.drop.mkdir()
        (folder / "bridge.toml").write_text(SETTINGS, "utf-8")
        (folder / "model").mkdir()
        for name in ("organisations", "positions", "job_families", "title_truth"):
            shutil.copyfile(SAMPLE / f"{name}.csv", folder / "model" / f"{name}.csv")

    def deliver(self, day: str) -> None:
        """Put a day's file into the drop."""
        shutil.copyfile(SAMPLE / f"hris_people_{day}.csv", self.drop / f"hris_people_{day}.csv")

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command; return its exit code and what it printed as a result."""
        answer = CliRunner().invoke(cli.app, list(arguments))
        assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
        return answer.exit_code, answer.stdout

    def json(self, *arguments: str) -> tuple[int, Any]:
        """Run a command with --json; return its exit code and the object."""
        code, out = self.run(*arguments, "--json")
        return code, json.loads(out)


@pytest.fixture
def office(home: Path) -> Office:
    """A folder in which commands are run."""
    return Office(home)


def test_three_nights_from_the_drop_to_the_release(office: Office) -> None:
    """What is taken goes to the archive, what is not believed stays with a note until somebody decides."""
    as_of = ("--as-of", "2026-12-31")
    office.deliver("day1")
    code, said = office.json("ingest", *as_of)
    assert (code, said["feeds"][0]["files"][0]["created"]) == (0, 4000)
    office.deliver("day2")
    code, said = office.json("ingest", *as_of)
    night = said["feeds"][0]["files"][0]
    assert (code, night["changed"], night["missing"], night["unmapped"]) == (
        0, {"email": 30, "status": 25, "title": 80, "unit": 60}, 40, 36,
    )  # fmt: skip
    office.deliver("day3_dirty")
    code, out = office.run("ingest", *as_of)
    assert (code, "maximum-drop" in out, "feed release hr" in out) == (3, True, True)
    assert (office.drop / "hris_people_day3_dirty.csv").exists()
    assert "at most 10 %" in (office.drop / "hris_people_day3_dirty.csv.why.txt").read_text("utf-8")
    code, said = office.json("feed", "status")
    assert (code, said["feeds"][0]["state"], said["feeds"][0]["missing"]) == (0, "quarantined", 40)
    code, said = office.json("feed", "release", "hr", "--partial", "--reason", "only the ward lists", *as_of)
    assert (code, said["state"], said["updated"], said["rejected"]) == (4, "partial", 1, 15)
    code, said = office.json("ingest", *as_of)
    assert (code, said["feeds"][0]["files"]) == (0, [])
    assert "dealt with before" in said["feeds"][0]["again"][0]
    assert not (office.drop / "hris_people_day3_dirty.csv").exists()
    assert not list((office.folder / ".lms-bridge" / "inbox" / "hr").glob("*.csv")), "nothing personal stays behind"


def test_rejections_go_to_a_workbook_that_the_sender_can_mend_from(office: Office) -> None:
    """One line a finding: where, what, what to do, and the row as it was sent; formulas harmless."""
    office.run("ingest", "--file", str(SAMPLE / "hris_people_day3_dirty.csv"), "--as-of", "2026-12-31")
    code, out = office.run("rejections", "--out", "rejections.xlsx")
    assert (code, "rejections.xlsx" in out) == (0, True)
    sheet = openpyxl.load_workbook(office.folder / "rejections.xlsx").active
    assert sheet is not None
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[0][:9] == (
        "File", "Line", "Person", "Column", "Value", "What is wrong", "What to do", "Taken", "Rule",
    )  # fmt: skip
    formula = next(row for row in rows if row[8] == "formula")
    assert str(formula[1]) == "113"
    assert not str(formula[4]).startswith("=")
    assert "Row: Employee No." in rows[0]


def test_checking_a_file_touches_nothing(office: Office) -> None:
    """Not even a store is made."""
    before = sorted(office.folder.rglob("*"))
    code, said = office.json("feed", "check", str(SAMPLE / "hris_people_day3_dirty.csv"), "--as-of", "2026-12-31")
    assert code == 3, "too many rows would be refused: nobody is known yet, so managers are missing"
    assert {one["field"]: one["header"] for one in said["columns"]}["person"] == "Employee No."
    assert said["rows"][0]["start"] == "2008-02-01"
    assert {72, 82, 92, 113} <= {one["line"] for one in said["faults"]}
    assert sorted(office.folder.rglob("*")) == before
    code, out = office.run("feed", "check", str(SAMPLE / "hris_people_day1.csv"), "--as-of", "2026-12-31")
    assert (code, "4,000 new" in out, "Nothing was taken in." in out) == (0, True, True)


def test_checking_against_a_store_shows_what_would_change(office: Office) -> None:
    """Compared with what is known, and still nothing is touched."""
    office.run("ingest", "--file", str(SAMPLE / "hris_people_day1.csv"), "--as-of", "2026-12-31")
    code, said = office.json("feed", "check", str(SAMPLE / "hris_people_day2.csv"), "--as-of", "2026-12-31")
    assert (code, said["result"]["created"], said["result"]["updated"]) == (0, 50, 195)
    _, status = office.json("feed", "status")
    assert len(status["feeds"][0]["files"]) == 1


def test_a_file_that_cannot_be_read_says_why(office: Office) -> None:
    """With the next step, and without a traceback."""
    (office.folder / "odd.csv").write_bytes(b"")
    code, said = office.json("feed", "check", "odd.csv")
    assert (code, said["faults"][0]["rule"]) == (2, "empty-file")


def test_help_says_what_each_command_does(office: Office) -> None:
    """No command is without help."""
    for command in (("feed", "check"), ("feed", "status"), ("feed", "release"), ("ingest",), ("rejections",)):
        code, out = office.run(*command, "--help")
        assert (code, "--json" in out) == (0, True)
