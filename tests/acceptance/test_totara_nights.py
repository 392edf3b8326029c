"""The sample company's model and its feeds, night after night, into a simulated Totara through the command line.

The same numbers are counted as for Moodle; a night with nothing new writes no file.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.forked import Ended, forked
from tests.acceptance.program import COMPANY, rows
from tests.acceptance.totara_site import SETTINGS, TotaraBench, totara_bench
from tests.databases import KINDS, on

FEED = """
[feeds.hr]
encoding = "cp1252"
decisions = "title_truth.csv"
"""

TODAY = ("--as-of", "2026-12-31")


# A model and thousands of people go through ten times: on a busy machine that takes its time.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def run(bench: TotaraBench, *arguments: str) -> Ended:
    """Run a command in a process of its own."""
    return forked(bench.folder, bench.environment(), arguments)


class Nights:
    """What each command said, and what the site held after each night."""

    def __init__(self, bench: TotaraBench) -> None:
        self.bench = bench
        self.said: dict[str, Any] = {}
        self.after: dict[str, dict[str, Any]] = {}

    def ingest(self, name: str, file: Path) -> None:
        """Take a file in."""
        answer = run(self.bench, "ingest", "--file", str(file), *TODAY, "--json")
        self.said[name] = {**answer.json, "code": answer.code}

    def push(self, name: str, *more: str) -> None:
        """Push, let the site have its night, push again, and note what is there then."""
        before = self.bench.taken()
        first = run(self.bench, "push", *TODAY, "--yes", "--json", *more)
        self.bench.night()
        second = run(self.bench, "push", *TODAY, "--yes", "--json", *more)
        held = self.bench.snapshot()
        self.after[name] = {
            "codes": (first.code, second.code),
            "said": json.loads(first.out),
            "err": first.err + second.err,
            "files": len(self.bench.taken()) - len(before),
            "users": held["user"],
            # No end: the site keeps nothing for a new job, and 0 for one it updates.
            "jobs": {
                person: {**job, "enddate": job["enddate"] or None} for (person, _), job in held["jobassignment"].items()
            },
            "held": held,
        }

    def changed(self, one: str, other: str, what: str, field: str) -> set[str]:
        """Return whose account or job differs in a field between the ends of two nights."""
        before, after = self.after[one][what], self.after[other][what]
        return {key for key in before.keys() & after.keys() if before[key].get(field) != after[key].get(field)}


@pytest.fixture(scope="module", params=KINDS)
def nights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """Model and day 1, the same again, day 2, a second file like it, day 3, and day 3 released.

    Once with the store on SQLite and once on PostgreSQL.
    """
    folder = tmp_path_factory.mktemp("nights") / "bench"
    shutil.copytree(COMPANY, folder / "architecture", ignore=shutil.ignore_patterns("hris_*", "*.md", "title_*"))
    shutil.copy(COMPANY / "title_truth.csv", folder / "title_truth.csv")
    day2 = COMPANY / "hris_people_day2.csv"
    lines = day2.read_bytes().splitlines(keepends=True)
    again = folder / "the_night_after.csv"
    again.write_bytes(b"".join([lines[0], *reversed(lines[1:])]))
    frameworks = tuple(row["framework"] for row in rows(COMPANY / "competency_frameworks.csv"))
    with (
        on(request.param),
        totara_bench(folder, settings=SETTINGS + FEED, competencies=frameworks) as bench,
    ):
        told = Nights(bench)
        told.ingest("first", COMPANY / "hris_people_day1.csv")
        told.push("first", "--initial")
        told.push("unchanged")
        told.ingest("second", day2)
        told.push("second")
        told.ingest("confirmed", again)
        told.push("confirmed")
        told.ingest("third", COMPANY / "hris_people_day3_dirty.csv")
        told.push("third")
        answer = run(bench, "feed", "release", "hr", "--partial", "--reason", "good rows alone", *TODAY, "--json")
        told.said["released"] = {**answer.json, "code": answer.code}
        told.push("released")
        yield told


def gone() -> set[str]:
    """Return who is in the first file and not in the second."""
    first, second = ({row["employee_id"] for row in people(number)} for number in (1, 2))
    return first - second


def people(number: int) -> list[dict[str, str]]:
    """Return the rows of a day's feed."""
    return rows(COMPANY / f"hris_people_day{number}.csv")


def accounts(night: dict[str, Any]) -> dict[str, Any]:
    """Return the accounts of people, without those of the site itself."""
    return {key: row for key, row in night["users"].items() if key.startswith("E")}


def test_the_first_night_brings_the_whole_model_and_everybody(nights: Nights) -> None:
    """One file an element: 2,495 competencies, 218 units, 997 positions, 4,000 accounts and as many jobs."""
    first = nights.after["first"]
    assert first["codes"] == (5, 0), first["err"]
    assert first["files"] == 5
    held = first["held"]
    assert len(held["comp"]) == len(rows(COMPANY / "competencies.csv"))
    assert (len(held["org"]), len(held["pos"])) == (218, 997)
    assert (len(accounts(first)), len(first["jobs"])) == (4_000, 4_000)


def test_accounts_and_jobs_say_what_the_feed_says(nights: Nights) -> None:
    """Names, address, unit, position, title, start and manager arrive letter by letter."""
    first = nights.after["first"]
    row, job = first["users"]["E00001"], first["jobs"]["E00001"]
    assert (row["username"], row["firstname"], row["lastname"]) == ("e00001", "Mateo", "Fernández")
    assert (row["email"], row["country"]) == ("mateo.fernandez.1@northwind.example", "SE")
    assert (job["organisation"], job["position"], job["fullname"]) == (
        "DIG-S-05",
        "15-1255.01",
        "Video Game Designers",
    )
    source = {one["employee_id"]: one for one in people(1)}
    managed = [key for key, one in source.items() if one["manager_id"] in source]
    assert len(managed) > 3_000
    for key in managed:
        assert first["jobs"][key]["manager"].startswith(source[key]["manager_id"]), key


def test_a_night_with_nothing_new_writes_no_file(nights: Nights) -> None:
    """Neither of the two pushes puts a file into the site's folder, and nothing is pending."""
    night = nights.after["unchanged"]
    assert (night["codes"], night["files"], night["said"]["counts"]) == ((0, 0), 0, {}), night["err"]
    assert night["held"] == nights.after["first"]["held"]


def test_the_second_day_suspends_exactly_the_25_who_were_terminated_and_ends_their_jobs(nights: Nights) -> None:
    """Nobody who is merely missing; the accounts stay."""
    suspended = nights.changed("first", "second", "users", "suspended")
    terminated = {row["employee_id"] for row in people(2) if row["status"] == "terminated"}
    assert len(suspended) == 25
    assert suspended == terminated
    assert nights.changed("first", "second", "jobs", "enddate") == terminated
    ends = {nights.after["second"]["jobs"][key]["enddate"] for key in terminated}
    assert all(dt.datetime.fromtimestamp(end, dt.UTC).date() <= dt.date(2026, 12, 31) for end in ends)


def test_the_second_day_leaves_the_40_absent_as_they_are(nights: Nights) -> None:
    """Not one field of theirs changes."""
    absent = gone()
    assert len(absent) == nights.said["second"]["missing"] == 40
    for key in absent:
        for what in ("users", "jobs"):
            assert nights.after["first"][what][key] == nights.after["second"][what][key]


def test_a_second_file_without_them_suspends_the_40_and_ends_their_jobs(nights: Nights) -> None:
    """The absence is certain now; beside them only those change whose manager is gone; nobody is deleted."""
    assert nights.said["confirmed"]["absent"] == 40
    assert nights.changed("second", "confirmed", "users", "suspended") == gone()
    assert nights.changed("second", "confirmed", "jobs", "enddate") == gone()
    absent = gone()
    reports = {row["employee_id"] for row in people(2) if row["manager_id"] in absent} - absent
    assert nights.changed("second", "confirmed", "jobs", "manager") == reports
    assert nights.after["confirmed"]["said"]["counts"] == {
        "person": {"update": {"pending": 40}},
        "job": {"update": {"pending": 40 + len(reports)}},
    }
    assert nights.after["confirmed"]["users"].keys() == nights.after["second"]["users"].keys()


def test_the_second_day_moves_60_people_and_retitles_80(nights: Nights) -> None:
    """Each is in their new unit, and has the new title; the job assignment is the same one."""
    assert len(nights.changed("first", "second", "jobs", "organisation")) == 60
    assert len(nights.changed("first", "second", "jobs", "fullname")) == 80
    source = {row["employee_id"]: row for row in people(2)}
    for key in nights.changed("first", "second", "jobs", "organisation"):
        assert nights.after["second"]["jobs"][key]["organisation"] == source[key]["department_code"]


def test_the_second_day_gives_30_new_addresses_and_50_accounts_and_deletes_nobody(nights: Nights) -> None:
    """Whoever has a new address keeps the account."""
    before, after = nights.after["first"], nights.after["second"]
    assert after["codes"] == (5, 0), after["err"]
    assert len(nights.changed("first", "second", "users", "email")) == 30
    assert len(after["users"].keys() - before["users"].keys()) == 50
    assert before["users"].keys() <= after["users"].keys()


def test_the_third_day_trips_the_guard_and_nothing_is_sent(nights: Nights) -> None:
    """500 rows where 4,010 were: exit code 3 both times, and no file."""
    night = nights.after["third"]
    assert (nights.said["third"]["state"], nights.said["third"]["code"]) == ("quarantined", 3)
    assert (night["codes"], night["files"]) == ((3, 3), 0)
    assert night["held"] == nights.after["confirmed"]["held"]


def test_released_in_part_the_third_day_changes_one_title_and_removes_nobody(nights: Nights) -> None:
    """Its one good row that says something new, quotes and all."""
    before, after = nights.after["third"], nights.after["released"]
    assert after["codes"] == (5, 0), after["err"]
    differing = {key for key in before["jobs"] if before["jobs"][key] != after["jobs"][key]}
    assert differing == {"E00101"}
    assert after["jobs"]["E00101"]["fullname"] == 'Nurse; "Lead" Ward 7'
    assert before["users"] == after["users"]


def test_the_journal_tells_what_became_of_each_change(nights: Nights) -> None:
    """`runs show` of the first push: every change applied, by kind, though the answers came a night later."""
    runs = run(nights.bench, "runs", "--json").json["runs"]
    first = min(one["id"] for one in runs if one["verb"] == "push")
    shown = run(nights.bench, "runs", "show", str(first), "--json").json
    assert {(one["kind"], one["action"], one["state"]): one["count"] for one in shown["journal"]} == {
        ("competency", "create", "applied"): 2_495,
        ("organisation", "create", "applied"): 218,
        ("position", "create", "applied"): 997,
        ("person", "create", "applied"): 4_000,
        ("job", "create", "applied"): 4_000,
    }
