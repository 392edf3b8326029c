"""Completions handed over to Totara: the columns and limits of its upload, and what it would refuse left out."""

from __future__ import annotations

import csv
import datetime as dt
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.cli.main import app
from bridge.model import Certification, CourseCompletion
from bridge.store import Store, results
from connectors.totara.completion_import import COLUMNS, write_upload
from tests.databases import address

DAY = dt.datetime(2026, 3, 10, 23, 30, tzinfo=dt.UTC)


def _stored(**more: object) -> dict[str, object]:
    return {"person": "E1", "course": "C1", "course_name": "First aid", "completed_at": DAY.isoformat(), **more}


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_columns_are_those_the_upload_asks_for(tmp_path: Path) -> None:
    """All of them, in the recorded order, with the recorded limits; a certification has a due date."""
    assert list(COLUMNS["completions"].items()) == [
        ("username", 100),
        ("courseshortname", 255),
        ("courseidnumber", 100),
        ("completiondate", 10),
        ("grade", 10),
    ]
    assert list(COLUMNS["certifications"]) == [
        "username",
        "certificationshortname",
        "certificationidnumber",
        "completiondate",
        "duedate",
    ]
    path = tmp_path / "c.csv"
    held = {"person": "E1", "certification": "CERT1", "name": "Aid", "completed_at": DAY.isoformat()}
    upload = write_upload(path, "certifications", [held, {**held, "person": "E2", "completed_at": None}], str.lower)
    assert (upload.rows, upload.left_out) == (1, [])
    assert _read(path) == [
        {
            "username": "e1",
            "certificationshortname": "",
            "certificationidnumber": "CERT1",
            "completiondate": "2026-03-10",
            "duedate": "",
        }
    ]


def test_one_row_a_person_and_course_and_the_youngest_counts(tmp_path: Path) -> None:
    """The upload calls two of them duplicates."""
    path = tmp_path / "c.csv"
    later = _stored(completed_at=(DAY + dt.timedelta(days=400)).isoformat())
    upload = write_upload(path, "completions", [_stored(), later, _stored(person="E2")], str.lower, grade="80")
    assert upload.rows == 2
    assert [(row["username"], row["courseidnumber"], row["completiondate"], row["grade"]) for row in _read(path)] == [
        ("e1", "C1", "2027-04-14", "80"),
        ("e2", "C1", "2026-03-10", "80"),
    ]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"person": "", "lms_user": ""}, "no username"),
        ({"completed_at": None}, "when it was completed"),
        ({"course": "", "course_name": ""}, "neither an id number nor a short name"),
        ({"course": "x" * 101}, "101 characters"),
        ({"person": "p" * 101}, "username has 101"),
        ({"course": 'a,"b\\'}, "backslash"),
    ],
)
def test_what_the_upload_would_refuse_is_left_out_and_told(tmp_path: Path, more: dict[str, object], why: str) -> None:
    """By person and course, with the reason."""
    path = tmp_path / "c.csv"
    upload = write_upload(path, "completions", [_stored(**more), _stored(person="E9")], str.lower)
    assert upload.rows == 1
    assert why in upload.left_out[0].why


def test_the_command_writes_it_from_what_any_site_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Completions pulled from one LMS become an upload for another; what is left out ends with 4."""
    monkeypatch.chdir(tmp_path)
    where = address(tmp_path / "state.sqlite")
    (tmp_path / "bridge.toml").write_text(
        f'store = "{where}"\n[sites.old]\nurl = "http://127.0.0.1:9"\ntoken = "env:TOKEN"\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("TOKEN", "0" * 32)
    store = Store.open(where)
    found = [
        CourseCompletion("E1", "C1", DAY, "First aid"),
        CourseCompletion("", "C1", DAY, "First aid", "guest7"),
        CourseCompletion("E2", "C1", None),
        Certification("E1", "CERT1", "Aid", "Certified", DAY, DAY + dt.timedelta(days=365)),
    ]
    with store.begin() as connection:
        results.record_results(connection, "old", 1, DAY.timestamp(), found)
    store.close()
    words = ["export", "completions", "--to", "up.csv", "--format", "totara-completionimport", "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 4, result.output
    told = json.loads(result.stdout)
    assert (told["rows"], [one["person"] for one in told["left_out"]]) == (2, ["E2"])
    assert [row["username"] for row in _read(tmp_path / "up.csv")] == ["guest7", "e1"]
    result = CliRunner().invoke(app, ["export", "certifications", *words[2:]])
    assert result.exit_code == 0, result.output
    assert _read(tmp_path / "up.csv")[0]["duedate"] == "2027-03-10"
    for wrong in (["attainments", "--to", "up.csv"], ["completions", "--to", "up.xlsx"]):
        assert CliRunner().invoke(app, ["export", *wrong, "--format", "totara-completionimport"]).exit_code != 0
