"""A small company whose people reach a simulated Moodle through the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.main import main
from connectors.simulators.moodle import SimulatorConfig
from tests.acceptance.program import COMPANY, Answer, Workbench, rows, small_model, workbench, write_rows

TODAY = ("--as-of", "2026-12-31")

SITE = """
[sites.moodle]
kind = "moodle"
url = "env:MOODLE_URL"
token = "env:MOODLE_TOKEN"
model = "model"
"""

OPTIONS = """
[sites.moodle.options]
server_limit = 0.05
"""

FEED = """
[feeds.hr]
decisions = "titles.csv"
"""

Row = dict[str, str]


@dataclass(slots=True)
class PeopleSite:
    """A folder with settings, a model and files of people, and the Moodle that the commands talk to."""

    bench: Workbench
    people: list[Row]
    """The first day's rows."""

    def run(self, *arguments: str) -> Answer:
        """Run a command to its end, within this process: starting a program anew each time is what takes time."""
        out, err = StringIO(), StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            chdir(self.bench.folder),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            for name, value in self.bench.environment().items():
                patch.setenv(name, value)
            patch.setattr("sys.argv", ["lms-bridge", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        self.bench.said += [out.getvalue(), err.getvalue()]
        return Answer(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    def settings(self, text: str) -> None:
        """Write bridge.toml."""
        (self.bench.folder / "bridge.toml").write_text(text, "utf-8")

    def take(self, people: list[Row], name: str = "people.csv", *more: str) -> Answer:
        """Take people in as a file of the feed."""
        write_rows(self.bench.folder / name, people)
        return self.run("ingest", "--file", name, *TODAY, *more)

    def plan(self, *more: str) -> dict[str, Any]:
        """Return the plan of the people, as --json prints it."""
        answer = self.run("plan", "--kind", "people", *TODAY, "--json", *more)
        assert answer.code in (0, 10), answer.err
        found: dict[str, Any] = answer.json
        return found

    def push(self, *more: str) -> Answer:
        """Push everything."""
        return self.run("push", *TODAY, "--yes", "--json", *more)

    # --- What the site holds ------------------------------------------------------------------------------------------

    def accounts(self) -> dict[str, dict[str, Any]]:
        """Return the accounts with an ID number."""
        return {row["idnumber"]: dict(row) for row in self.bench.moodle.db.users if row["idnumber"]}

    def members(self) -> set[tuple[str, str]]:
        """Return (person's ID number, cohort's ID number) of everybody in a cohort."""
        db = self.bench.moodle.db
        return {
            (db.users.rows[row["userid"]]["idnumber"], db.cohorts.rows[row["cohortid"]]["idnumber"])
            for row in db.cohort_members
        }

    def plans(self) -> dict[tuple[str, str], int]:
        """Return the status of every learning plan, by person and name."""
        db = self.bench.moodle.db
        return {(db.users.rows[row["userid"]]["idnumber"], row["name"]): row["status"] for row in db.plans}


def company(folder: Path, people: int, competencies: int = 40) -> list[Row]:
    """Write a small company into a folder, and return the rows of its first people."""
    folder.mkdir(parents=True, exist_ok=True)
    first = rows(COMPANY / "hris_people_day1.csv")[:people]
    keys = {row["employee_id"] for row in first}
    for row in first:
        if row["manager_id"] not in keys:
            row["manager_id"] = ""
    truth = [row for row in rows(COMPANY / "title_truth.csv") if row["employee_id"] in keys]
    write_rows(folder / "titles.csv", truth)
    model = small_model(folder / "model", competencies, 997)
    held = {row["position"] for row in truth}
    for name, column in (("positions.csv", "idnumber"), ("position_competencies.csv", "position")):
        write_rows(model / name, [row for row in rows(model / name) if row[column] in held])
    units = {row["department_code"] for row in first}
    every = {row["idnumber"]: row for row in rows(COMPANY / "organisations.csv")}
    for key in list(units):
        while (parent := every[key]["parent"]) and parent not in units:
            units.add(parent)
            key = parent
    write_rows(model / "organisations.csv", [row for key, row in every.items() if key in units])
    return first


@contextmanager
def people_site(
    folder: Path, people: int = 24, *, settings: str = SITE + OPTIONS + FEED, config: SimulatorConfig | None = None
) -> Iterator[PeopleSite]:
    """Give a small company with an empty simulated Moodle."""
    first = company(folder, people)
    with workbench(folder, settings=settings, config=config) as bench:
        yield PeopleSite(bench, first)


def changed(people: list[Row], key: str, **fields: str) -> list[Row]:
    """Return rows with some fields of one person changed."""
    return [{**row, **fields} if row["employee_id"] == key else dict(row) for row in people]


def without(people: list[Row], *keys: str) -> list[Row]:
    """Return rows without some people."""
    return [dict(row) for row in people if row["employee_id"] not in keys]
