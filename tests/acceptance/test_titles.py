"""The sample company's titles, from the command line: its first feed, a reviewed workbook, and positions in Moodle."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook

from bridge.rows import same_when_folded
from mappings.titles.legacy import group_id
from mappings.titles.review import COLUMNS
from tests.acceptance.program import COMPANY, Answer, Workbench, rows, workbench, write_rows

SETTINGS = """
[sites.moodle]
kind = "moodle"
url = "env:MOODLE_URL"
token = "env:MOODLE_TOKEN"
model = "architecture"

[sites.moodle.options]
server_limit = 0.05
"""

pytestmark = pytest.mark.timeout(600)

TODAY = ("--as-of", "2026-12-31")
COLUMN = {heading: number for number, heading in enumerate(COLUMNS, start=1)}


def group_of(row: dict[str, str]) -> str:
    """The group a person of the feed is in."""
    return group_id(row["job_title"], row["department_code"])


@dataclass
class Project:
    """A mapping project: what each command said, and who was in which position's cohort after each push."""

    bench: Workbench
    feed: list[dict[str, str]]
    truth: dict[str, Counter[str]]
    said: dict[str, Answer] = field(default_factory=dict)
    placed: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)
    undone: str = ""
    """The group whose decision is reversed, and later undone."""
    other: str = ""
    """The position it is given in between."""

    def run(self, name: str, *arguments: str) -> Any:
        """Run a command and return what it said."""
        self.said[name] = answer = self.bench.run(*arguments, "--json", timeout=280)
        return json.loads(answer.out) if answer.out else None

    def push(self, name: str, *more: str) -> None:
        """Push the people, and note who is in which position then."""
        moodle = self.bench.moodle
        moodle.requests.reset()
        self.run(name, "push", "--kind", "people", *TODAY, "--yes", *more)
        stats = moodle.requests.stats()
        called = {**stats["by_function"], **stats["inner_by_function"]}
        verbs = ("_create_", "_update_", "_delete_", "_add_", "_remove_")
        self.writes[name] = sum(count for function, count in called.items() if any(verb in function for verb in verbs))
        db = moodle.db
        found: dict[str, set[str]] = defaultdict(set)
        for row in db.cohort_members:
            cohort = db.cohorts.rows[row["cohortid"]]["idnumber"]
            if cohort.startswith("pos:"):
                found[db.users.rows[row["userid"]]["idnumber"]].add(cohort.removeprefix("pos:"))
        self.placed[name] = found

    def people(self, group: str) -> set[str]:
        """Return who is in a group."""
        return {row["employee_id"] for row in self.feed if group_of(row) == group}

    def review(self, path: Path) -> int:
        """Decide every group of a workbook as the truth has it, and return how many groups it holds."""
        book = load_workbook(path)
        sheet = book["Groups"]
        for number in range(2, sheet.max_row + 1):
            keys = self.truth[str(sheet.cell(number, COLUMN["Group"]).value)]
            suggested = str(sheet.cell(number, COLUMN["Suggestion"]).value).partition(" | ")[0]
            if len(keys) > 1:
                sheet.cell(number, COLUMN["Split"]).value = "; ".join(f"{key}={n}" for key, n in keys.items())
            elif suggested in keys:
                sheet.cell(number, COLUMN["Decision"]).value = "accept"
            else:
                sheet.cell(number, COLUMN["Position"]).value = next(iter(keys))
        book.save(path)
        return sheet.max_row - 1

    @staticmethod
    def change(path: Path, group: str, key: str) -> None:
        """Choose another position for one group of a workbook."""
        book = load_workbook(path)
        sheet = book["Groups"]
        (number,) = [n for n in range(2, sheet.max_row + 1) if sheet.cell(n, COLUMN["Group"]).value == group]
        sheet.cell(number, COLUMN["Decision"]).value = "change"
        sheet.cell(number, COLUMN["Position"]).value = key
        book.save(path)


def project(folder: Path, people: int) -> Iterator[Project]:
    """Carry out the whole of a project for the first so many people of the sample."""
    model = folder / "architecture"
    model.mkdir(parents=True)
    for name in ("job_families.csv", "organisations.csv"):
        shutil.copy(COMPANY / name, model / name)
    feed = rows(COMPANY / "hris_people_day1.csv")[:people]
    write_rows(folder / "day1.csv", feed)
    known = {row["employee_id"]: row["position"] for row in rows(COMPANY / "title_truth.csv")}
    truth: dict[str, Counter[str]] = defaultdict(Counter)
    for row in feed:
        truth[group_of(row)][known[row["employee_id"]]] += 1
    needed = {key for keys in truth.values() for key in keys}
    catalogue = [
        row for n, row in enumerate(rows(COMPANY / "positions.csv")) if row["idnumber"] in needed or n < people
    ]
    write_rows(model / "positions.csv", catalogue)
    with workbench(folder, settings=SETTINGS) as bench:
        told = Project(bench, feed, truth)
        told.run("ingest", "ingest", "--file", "day1.csv", *TODAY)
        told.push("before", "--initial")
        told.run("suggest", "titles", "suggest", "--out", "review.xlsx", "--core")
        told.review(folder / "review.xlsx")
        told.run("impact", "titles", "impact", "review.xlsx", *TODAY)
        told.run("apply", "titles", "apply", "review.xlsx", "--reviewer", "Ana")
        told.push("decided", "--initial")
        told.push("unchanged")
        told.run("again", "titles", "apply", "review.xlsx", "--reviewer", "Ana")
        told.run("queue", "titles", "queue", *TODAY)
        told.run("status", "titles", "status")
        titles = {group_of(row): row["job_title"] for row in feed}
        spread = Counter(same_when_folded(title) for title in titles.values())
        exact = {same_when_folded(row["title"]) for row in catalogue}
        told.undone = next(
            group
            for group, keys in truth.items()
            if len(keys) == 1 and spread[name := same_when_folded(titles[group])] == 1 and name not in exact
        )
        told.other = next(key for row in catalogue if (key := row["idnumber"]) not in truth[told.undone])
        told.change(folder / "review.xlsx", told.undone, told.other)
        told.run("refused", "titles", "apply", "review.xlsx", "--reviewer", "Ben")
        told.run("reverse", "titles", "apply", "review.xlsx", "--reviewer", "Ben", "--overrule")
        told.push("reversed")
        history = told.run("history", "titles", "history", titles[told.undone])
        first, second = (str(decision["id"]) for decision in history["decisions"])
        told.run("undo", "titles", "undo", second, "--reviewer", "Ben")
        told.push("undone")
        told.run("undo the first", "titles", "undo", first, "--reviewer", "Ben")
        told.push("open again")
        told.run("queue after", "titles", "queue", *TODAY)
        yield told


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project for a part of the company, large enough for every kind of title."""
    yield from project(tmp_path_factory.mktemp("titles") / "bench", 100)


def check(done: Project) -> None:
    """Everything that has to hold of a project, of whatever size."""
    failed = {name: answer.err for name, answer in done.said.items() if answer.code}
    assert failed.keys() == {"refused"}, failed
    (problem,) = json.loads(done.said["refused"].out)["problems"]
    assert "Ana has meanwhile decided" in problem
    single = {group for group, keys in done.truth.items() if len(keys) == 1}
    after = done.placed["decided"]
    for group, keys in done.truth.items():
        wanted = set(keys) if group in single else set()
        assert all(after.get(person, set()) == wanted for person in done.people(group)), group
    # Before, only titles that are the catalogue's own had a position.
    assert sum(map(len, done.placed["before"].values())) < sum(map(len, after.values()))
    assert json.loads(done.said["apply"].out)["recorded"] == len(done.truth)
    assert (json.loads(done.said["again"].out)["recorded"], json.loads(done.said["again"].out)["unchanged"]) == (
        0,
        len(done.truth),
    )
    assert done.writes["unchanged"] == 0
    assert done.placed["unchanged"] == after
    turned = done.placed["reversed"]
    moved = {person for person in after.keys() | turned.keys() if after.get(person) != turned.get(person)}
    assert moved == done.people(done.undone)
    assert all(turned[person] == {done.other} for person in moved)
    assert done.placed["undone"] == after
    # With no decision left the title waits in the queue, and nobody is taken out of a position for that.
    assert (done.placed["open again"], done.writes["open again"]) == (after, 0)


def test_the_reviewed_workbook_puts_everybody_where_it_says_and_one_reversal_moves_only_its_people(
    done: Project,
) -> None:
    """A second run writes nothing; split groups wait for a code."""
    check(done)


def test_the_impact_foretells_how_many_people_get_their_first_position(done: Project) -> None:
    """What the workbook would change is what the push then changes."""
    foretold = json.loads(done.said["impact"].out)
    before, after = done.placed["before"], done.placed["decided"]
    assert foretold["people"] == len(done.feed)
    assert foretold["position"] == sum(before.get(p) != after.get(p) for p in before.keys() | after.keys())
    assert foretold["problems"] == []


def test_the_queue_is_empty_but_for_what_was_reversed(done: Project) -> None:
    """And everybody else counts as covered."""
    assert json.loads(done.said["queue"].out)["titles"] == []
    (waiting,) = json.loads(done.said["queue after"].out)["titles"]
    assert group_id(waiting["title"], waiting["unit"]) == done.undone
    status = json.loads(done.said["status"].out)
    assert (status["people_placed"], status["people"]) == (len(done.feed), len(done.feed))


@pytest.mark.sweep
@pytest.mark.timeout(1800)
def test_the_whole_company(tmp_path: Path) -> None:
    """All 4,000 people and 3,116 titles."""
    for done in project(tmp_path / "bench", 4_000):
        check(done)
