"""The command `lms-bridge totara preflight`: verdicts, exit codes, one JSON object."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from bridge.cli.main import app
from tests.contract.totara.hrimport_record import SAMPLES, cases

HOLDS = str(SAMPLES["pos"].parent)


def _folder(tmp_path: Path, order: int) -> list[str]:
    case = next(case for case in cases() if case.order == order)
    (tmp_path / f"{case.element}.csv").write_bytes(case.content)
    (tmp_path / "settings.json").write_text(json.dumps({case.element: case.settings}), encoding="utf-8")
    return ["totara", "preflight", str(tmp_path), "--holds", HOLDS, "--settings", str(tmp_path / "settings.json")]


def test_a_file_that_deletes_is_told_and_ends_with_3(tmp_path: Path) -> None:
    """One object on stdout, the sentence on stderr."""
    result = CliRunner().invoke(app, [*_folder(tmp_path, 36), "--json"])
    assert result.exit_code == 3
    element = json.loads(result.stdout)["elements"]["pos"]
    assert (element["aborts"], element["removed"]) == (False, ["POS-A-F00-20"])
    assert len(element["rows"]) == 599
    assert "would delete 1 record" in result.stderr


def test_a_file_that_stops_names_its_reason(tmp_path: Path) -> None:
    """The line for a person says which rule."""
    result = CliRunner().invoke(app, _folder(tmp_path, 37))
    assert result.exit_code == 3
    assert "parentxnotexistinfile" in result.stdout


def test_refused_rows_end_with_4_and_clean_files_with_0(tmp_path: Path) -> None:
    """By file, line and rule."""
    refused = CliRunner().invoke(app, _folder(tmp_path, 113))
    assert refused.exit_code == 4
    assert "jobassignment.csv line 1599 JA-01999-1: refuse (posxnotexistjobassignment)" in refused.stdout
    clean = tmp_path / "clean"
    clean.mkdir()
    assert CliRunner().invoke(app, _folder(clean, 46)).exit_code == 0
