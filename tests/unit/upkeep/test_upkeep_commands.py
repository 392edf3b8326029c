"""Backup, restore, forget and tidy, as people run them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.cli import main as cli
from bridge.ports import FixConfiguration, SafetyLimit
from tests.unit.ingest.test_deliveries import ROWS, content
from tests.unit.ingest.test_feed_commands import Office


@pytest.fixture
def office(home: Path) -> Office:
    """A folder in which commands are run, with twenty people taken in."""
    here = Office(home)
    (home / "bridge.toml").write_text('[feeds.hr]\npath = "drop"\ninterval = 0\n', "utf-8")
    (here.drop / "people.csv").write_bytes(content(ROWS))
    assert here.run("ingest")[0] == 0
    return here


def people(office: Office) -> int:
    """Return how many people the store knows."""
    return int(office.json("feed", "status")[1]["feeds"][0]["people"])


def test_a_backup_is_put_back_by_the_command_that_it_names(office: Office) -> None:
    """And what was there before is kept."""
    code, out = office.run("backup")
    assert code == 0
    named = out.split("`lms-bridge restore ")[1].split("`")[0]
    (office.drop / "people.csv").write_bytes(content([*ROWS, ["E99", "Bo", "Ek", "bo@x.example", "Nurse", "", "", ""]]))
    office.run("ingest")
    assert people(office) == 21
    code, said = office.json("restore", named, "--yes")
    assert (code, people(office)) == (0, 20)
    office.run("restore", said["before"], "--yes")
    assert people(office) == 21


def test_a_no_leaves_everything_as_it_is(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked and answered with no, nothing happens; without a terminal and --yes, nothing either."""
    office.run("backup", "--to", "copy")
    monkeypatch.setattr("bridge.cli.upkeep.typer.confirm", lambda *_words, **_how: False)
    for command in (["restore", "copy"], ["forget", "E01"]):
        with pytest.raises(FixConfiguration, match="Nothing was changed"):
            cli.app(command, standalone_mode=False)
    assert people(office) == 20


def test_forgetting_somebody_who_works_here_is_refused_with_the_way_out(office: Office) -> None:
    """A refusal by rule, exit code 3."""
    with pytest.raises(SafetyLimit, match="works here") as told:
        cli.app(["forget", "E01", "--yes"], standalone_mode=False)
    assert cli.exit_code_of(told.value) == 3
    code, said = office.json("forget", "E01", "--yes", "--anyway")
    assert (code, said["gone"]["rows of feeds"], people(office)) == (0, 1, 19)
    assert any("archives" in one["what"] for one in said["stays"])


def test_tidying_says_what_went(office: Office) -> None:
    """Nothing by default; then by the rule."""
    assert office.run("tidy") == (0, "Nothing has expired.\n")
    with (office.folder / "bridge.toml").open("a", encoding="utf-8") as stream:
        stream.write("[retention]\narchives = 1\n")
    archived = office.drop / "archive" / "people.csv"
    os.utime(archived, (0, 0))
    code, out = office.run("tidy")
    assert (code, "people.csv" in out, archived.exists()) == (0, True, False)
