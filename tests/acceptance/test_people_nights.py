"""The sample's feeds, one after another, from the command line: each number of its README is counted in the site."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.program import COMPANY, Workbench, rows, workbench
from tests.databases import KINDS, on
from tests.integration.moodle_people import northwind
from tests.unit.ingest.test_sample_feeds import PLANTED

SETTINGS = """
[sites.moodle]
kind = "moodle"
url = "env:MOODLE_URL"
token = "env:MOODLE_TOKEN"
model = "architecture"

[sites.moodle.options]
server_limit = 0.05

[sites.moodle.options.user_fields]
profile_field_jobtitle = "title"
city = "location"
country = "country"

[feeds.hr]
encoding = "cp1252"
decisions = "title_truth.csv"
"""

TODAY = ("--as-of", "2026-12-31")

pytestmark = pytest.mark.timeout(900)
"""Whoever comes first waits for six nights of 4,000 people."""


class Nights:
    """What each command said, and what the site held after each push."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.said: dict[str, Any] = {}
        self.after: dict[str, dict[str, Any]] = {}

    def ingest(self, name: str, file: Path) -> None:
        """Take a file in."""
        answer = self.bench.run("ingest", "--file", str(file), *TODAY, "--json")
        self.said[name] = {**answer.json, "code": answer.code}

    def push(self, name: str, *more: str) -> None:
        """Push people, and note what is there then."""
        moodle = self.bench.moodle
        moodle.requests.reset()
        answer = self.bench.run("push", "--kind", "people", *TODAY, "--yes", "--json", *more, timeout=280)
        db = moodle.db
        self.after[name] = {
            "code": answer.code,
            "said": json.loads(answer.out),
            "err": answer.err,
            "stats": moodle.requests.stats(),
            "users": {row["idnumber"]: dict(row) for row in db.users if row["idnumber"]},
            "members": {
                (db.users.rows[row["userid"]]["idnumber"], db.cohorts.rows[row["cohortid"]]["idnumber"])
                for row in db.cohort_members
            },
        }

    def writes(self, name: str) -> int:
        """Return how many writing functions a push called."""
        stats = self.after[name]["stats"]
        called = {**stats["by_function"], **stats["inner_by_function"]}
        verbs = ("_create_", "_update_", "_delete_", "_add_", "_remove_")
        return sum(count for function, count in called.items() if any(verb in function for verb in verbs))

    def changed(self, one: str, other: str, field: str) -> set[str]:
        """Return whose account differs in a field between the ends of two nights."""
        before, after = self.after[one]["users"], self.after[other]["users"]
        return {key for key in before.keys() & after.keys() if before[key][field] != after[key][field]}


@pytest.fixture(scope="module", params=KINDS)
def nights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """Six nights on one site: day 1, the same again, day 2, a second file like it, day 3, and day 3 released.

    Once with the store on SQLite and once on PostgreSQL.
    """
    folder = tmp_path_factory.mktemp("nights") / "bench"
    model = folder / "architecture"
    model.mkdir(parents=True)
    for name in ("job_families.csv", "positions.csv", "organisations.csv"):
        shutil.copy(COMPANY / name, model / name)
    shutil.copy(COMPANY / "title_truth.csv", folder / "title_truth.csv")
    day2 = COMPANY / "hris_people_day2.csv"
    lines = day2.read_bytes().splitlines(keepends=True)
    again = folder / "the_night_after.csv"
    again.write_bytes(b"".join([lines[0], *reversed(lines[1:])]))
    with on(request.param), workbench(folder, settings=SETTINGS, forks=True) as bench:
        bench.moodle.seed.profile_field("jobtitle", "Job title")
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
        answer = bench.run("feed", "release", "hr", "--partial", "--reason", "good rows alone", *TODAY, "--json")
        told.said["released"] = {**answer.json, "code": answer.code}
        told.push("released")
        told.said["rejections"] = bench.run("rejections", "--json").json["rejections"]
        yield told


def gone() -> set[str]:
    """Return who is in the first file and not in the second."""
    first, second = (
        {row["employee_id"] for row in northwind.rows(f"hris_people_day{number}.csv")} for number in (1, 2)
    )
    return first - second


# --- Day 1 ------------------------------------------------------------------------------------------------------------


def test_the_first_night_gives_everybody_an_account_and_their_two_cohorts(nights: Nights) -> None:
    """4,000 accounts, 218 and 997 cohorts, 8,000 memberships, and nothing refused."""
    first = nights.after["first"]
    assert (first["code"], first["said"]["state"]) == (0, "done"), first["err"]
    assert len(first["users"]) == 4_000
    assert len(nights.bench.moodle.db.cohorts) == 218 + 997
    assert len(first["members"]) == 8_000
    assert ("E00001", "org:DIG-S-05") in first["members"]
    assert ("E00001", "pos:15-1255.01") in first["members"]


def test_accounts_carry_what_the_mapping_says(nights: Nights) -> None:
    """Names, address, title and place of work arrive letter by letter."""
    row = nights.after["first"]["users"]["E00001"]
    told = (row["username"], row["firstname"], row["lastname"], row["email"], row["auth"], row["city"], row["country"])
    assert told == ("e00001", "Mateo", "Fernández", "mateo.fernandez.1@northwind.example", "manual", "South", "SE")
    assert row["profile"]["jobtitle"] == "Video Game Designers"


def test_the_memberships_of_the_first_night_take_at_most_sixty_requests(nights: Nights) -> None:
    """Beside some 9,000 one by one: cohorts and members together, read and written."""
    inner = nights.after["first"]["stats"]["inner_by_function"]
    adding = inner["core_cohort_add_cohort_members"]
    creating = inner["core_cohort_create_cohorts"]
    assert adding * 250 >= 8_000
    assert adding + creating + inner["core_cohort_get_cohorts"] <= 60


def test_an_unchanged_night_writes_nothing_and_reads_little(nights: Nights) -> None:
    """No change, no write, and at most 25 requests, those that look at the site included."""
    night = nights.after["unchanged"]
    assert (night["code"], night["said"]["counts"]) == (0, {})
    assert (nights.writes("unchanged"), night["stats"]["requests"] <= 25) == (0, True)


# --- Day 2 ------------------------------------------------------------------------------------------------------------


def test_the_second_day_suspends_exactly_the_25_who_were_terminated(nights: Nights) -> None:
    """And nobody who is merely missing from the file."""
    suspended = nights.changed("first", "second", "suspended")
    terminated = {row["employee_id"] for row in northwind.rows("hris_people_day2.csv") if row["status"] == "terminated"}
    assert len(suspended) == 25
    assert suspended == terminated


def test_the_second_day_reports_the_40_absent_and_leaves_them_as_they_are(nights: Nights) -> None:
    """Not one field and not one membership of theirs changes."""
    absent = gone()
    assert len(absent) == nights.said["second"]["missing"] == 40
    before, after = nights.after["first"], nights.after["second"]
    for key in absent:
        assert before["users"][key] == after["users"][key]
    held = [{pair for pair in night["members"] if pair[0] in absent} for night in (before, after)]
    assert held[0] == held[1]
    assert len(held[1]) == 80


def test_a_second_file_without_them_suspends_the_40_and_does_nothing_else(nights: Nights) -> None:
    """The absence is certain now; their memberships stay, as the history does."""
    assert nights.said["confirmed"]["absent"] == 40
    assert nights.changed("second", "confirmed", "suspended") == gone()
    assert nights.after["confirmed"]["said"]["counts"] == {"user": {"update": {"applied": 40}}}
    assert nights.after["confirmed"]["members"] == nights.after["second"]["members"]


def test_the_second_day_moves_60_people_between_units(nights: Nights) -> None:
    """Each leaves one unit's cohort and joins another's."""
    units = {
        night: {pair for pair in nights.after[night]["members"] if pair[1].startswith("org:")}
        for night in ("first", "second")
    }
    left, joined = units["first"] - units["second"], units["second"] - units["first"]
    hired = set(nights.after["second"]["users"]) - set(nights.after["first"]["users"])
    assert len(left) == 60
    assert len({pair for pair in joined if pair[0] not in hired}) == 60
    assert {person for person, _ in left} == {person for person, _ in joined} - hired


def test_the_second_day_retitles_80_people(nights: Nights) -> None:
    """Their title is in their account; those whose new title has a position are in its cohort alone; others wait."""
    before, after = nights.after["first"]["users"], nights.after["second"]["users"]
    retitled = {key for key in before if before[key]["profile"] != after[key]["profile"]}
    assert len(retitled) == 80
    decided = Decided()
    second = {row["employee_id"]: row for row in northwind.rows("hris_people_day2.csv")}
    members = nights.after["second"]["members"]
    waiting = 0
    for key in retitled:
        position = decided.position(second[key]["job_title"], second[key]["department_code"])
        waiting += position is None
        held = {cohort for person, cohort in members if person == key and cohort.startswith("pos:")}
        stays = {c for person, c in nights.after["first"]["members"] if person == key and c.startswith("pos:")}
        assert held == (stays if position is None else {f"pos:{position}"})
    assert 0 < waiting < 80


class Decided:
    """The positions of titles, worked out here once more from the sample's files alone."""

    def __init__(self) -> None:
        self.catalogue: dict[str, set[str]] = {}
        for row in northwind.rows("positions.csv"):
            self.catalogue.setdefault(row["title"].casefold(), set()).add(row["idnumber"])
        self.here: dict[tuple[str, str], set[str]] = {}
        self.anywhere: dict[str, set[str]] = {}
        for row in northwind.rows("title_truth.csv"):
            title = row["job_title"].casefold()
            self.here.setdefault((title, row["department_code"]), set()).add(row["position"])
            self.anywhere.setdefault(title, set()).add(row["position"])

    def position(self, title: str, unit: str) -> str | None:
        """Return the one position of the catalogue's title, else of the decisions in the unit, else of all."""
        title = title.casefold()
        exact = self.catalogue.get(title, set())
        if len(exact) == 1:
            return next(iter(exact))
        decided = self.here.get((title, unit), self.anywhere.get(title, set()))
        return next(iter(decided)) if len(decided) == 1 else None


def test_the_second_day_gives_30_new_addresses_and_50_accounts_and_deletes_nobody(nights: Nights) -> None:
    """Whoever has a new address keeps the account with its id."""
    assert len(nights.changed("first", "second", "email")) == 30
    assert nights.changed("first", "second", "id") == set()
    assert len(set(nights.after["second"]["users"]) - set(nights.after["first"]["users"])) == 50
    assert not any(row["deleted"] for row in nights.bench.moodle.db.users)


def test_the_second_day_stays_inside_the_limits_that_hold_by_default(nights: Nights) -> None:
    """Nothing had to be lifted for it."""
    second = nights.after["second"]
    assert (second["code"], second["said"]["state"]) == (0, "done")


# --- Day 3 ------------------------------------------------------------------------------------------------------------


def test_the_third_day_trips_the_guard_and_its_push_sends_nothing(nights: Nights) -> None:
    """500 rows where 4,010 were: exit code 3 twice, what to do is said, and nothing is written."""
    said, night = nights.said["third"], nights.after["third"]
    assert (said["state"], said["code"], night["code"]) == ("quarantined", 3, 3)
    assert nights.writes("third") == 0
    assert "feed release hr" in night["said"]["error"]
    assert "--kind architecture" in night["said"]["error"]
    assert night["users"] == nights.after["confirmed"]["users"]
    assert night["members"] == nights.after["confirmed"]["members"]


def test_released_in_part_the_third_day_changes_one_title_and_removes_nobody(nights: Nights) -> None:
    """Its one good row that says something new; nobody is suspended, nobody leaves a cohort."""
    before, after = nights.after["third"], nights.after["released"]
    assert (nights.said["released"]["state"], after["code"]) == ("partial", 0)
    differing = {key for key in before["users"] if before["users"][key] != after["users"][key]}
    assert differing == {"E00101"}
    assert after["users"]["E00101"]["profile"]["jobtitle"] == 'Nurse; "Lead" Ward 7'
    assert nights.changed("third", "released", "suspended") == set()
    assert before["members"] - after["members"] == set()
    assert len(after["users"]) == len(before["users"])


def test_every_planted_fault_of_the_third_day_is_listed_with_its_line(nights: Nights) -> None:
    """Fifteen refused rows, and the sixteenth kept with a remark."""
    refused = {one["line"]: (one["person"], one["rule"]) for one in nights.said["rejections"] if one["refused"]}
    assert refused == PLANTED
    kept = {(one["line"], one["rule"]) for one in nights.said["rejections"] if not one["refused"]}
    assert (102, "line-break") in kept


def test_rows_in_are_rows_out_every_night(nights: Nights) -> None:
    """New, changed, unchanged, waiting, held and rejected rows add up, file by file."""
    ways = ("created", "updated", "unchanged", "waiting", "held", "rejected")
    for name, expected in (("first", 4000), ("second", 4010), ("confirmed", 4010), ("third", 500), ("released", 500)):
        said = nights.said[name]
        assert said["rows"] == sum(said[way] for way in ways) == expected


# --- The store lost ---------------------------------------------------------------------------------------------------


def test_with_the_store_lost_the_next_night_only_adopts(nights: Nights, tmp_path: Path) -> None:
    """Accounts, cohorts and memberships are taken over by key; nothing is made twice."""
    folder = tmp_path / "fresh"
    shutil.copytree(nights.bench.folder, folder, ignore=shutil.ignore_patterns(".lms-bridge"))
    with nights.bench.beside(folder) as fresh:
        taken = fresh.run("ingest", "--file", str(COMPANY / "hris_people_day2.csv"), *TODAY, "--json")
        answer = fresh.run("plan", "--kind", "people", *TODAY, "--json")
    assert (taken.code, taken.json["rejected"]) == (4, 18), "managers who left that day, whom this store never knew"
    assert answer.code == 10, answer.err
    counts = answer.json["counts"]
    # The forty are not in this file, and it knows of no third day.
    assert counts == {
        "user": {"adopt": len(rows(COMPANY / "hris_people_day2.csv")) - 18, "update": 1},
        "cohort": {"adopt": 1215},
        "cohort_member": {"adopt": counts["cohort_member"]["adopt"]},
    }
    assert counts["cohort_member"]["adopt"] > 7_800
