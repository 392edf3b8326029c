"""What people at a command line ask of a push of people: a day, a part of the company, several feeds, and why."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.store import Store
from jobs.title_log import StoredLog
from mappings.titles.decisions import Decision, Placement, Verdict
from tests.acceptance.people_site import FEED, OPTIONS, SITE, TODAY, PeopleSite, changed, people_site, without
from tests.acceptance.program import rows, write_rows


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeopleSite]:
    """A small company whose first file was taken in and pushed; tests of this module leave the site as it is."""
    with people_site(tmp_path_factory.mktemp("pushed") / "bench") as site:
        assert site.take(site.people).code == 0
        answer = site.push("--initial")
        assert answer.code == 0, answer.err
        second = changed(without(site.people, "E00002"), "E00003", email="new.address@northwind.example")
        second = changed(changed(second, "E00004", status="terminated"), "E00005", email="no address")
        assert site.take(second, "next.csv").code == 4
        assert site.push().code == 0
        yield site


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[PeopleSite]:
    """A small company of which nothing was taken in."""
    with people_site(tmp_path / "bench", 12) as site:
        yield site


# --- Which people -----------------------------------------------------------------------------------------------------


def test_a_site_without_feeds_plans_its_architecture_and_no_more(fresh: PeopleSite) -> None:
    """As before there were any: nothing is said of people, and nothing is planned for them."""
    fresh.settings(SITE + OPTIONS)
    answer = fresh.run("plan", "--json")
    assert answer.code == 10
    assert set(answer.json["counts"]) & {"user", "cohort", "cohort_member", "plan"} == set()
    assert "feed" not in json.dumps(answer.json["remarks"])


def test_a_feed_from_which_nothing_was_accepted_leaves_people_alone_and_says_so(fresh: PeopleSite) -> None:
    """The plan names the feed, and the command that takes its files in."""
    plan = fresh.plan()
    assert plan["counts"] == {}
    assert any("hr" in one["says"] and "lms-bridge ingest" in one["says"] for one in plan["remarks"])


def test_a_file_taken_in_by_hand_needs_no_feed_in_the_settings(fresh: PeopleSite) -> None:
    """With one site and no feed in bridge.toml, `ingest --file` and `plan` suffice; titles need a catalogue."""
    fresh.settings(SITE + OPTIONS)
    assert fresh.take(fresh.people).code == 0
    assert fresh.plan()["counts"]["user"] == {"create": 12}


def test_a_feed_in_quarantine_stops_plans_and_pushes_of_people_but_not_of_the_architecture(fresh: PeopleSite) -> None:
    """Exit code 3 says so; --kind architecture goes on; a release lets people go again."""
    assert fresh.take(fresh.people).code == 0
    assert fresh.take(fresh.people[:2], "cut.csv").code == 3
    for command in ("plan", "push"):
        answer = fresh.run(command, *TODAY, "--json")
        assert answer.code == 3
        assert "feed release hr" in answer.json["error"]
    assert fresh.accounts().keys() & {row["employee_id"] for row in fresh.people} == set()
    assert fresh.push("--kind", "architecture").code == 0
    assert fresh.run("check", "--json").json["ok"]
    assert fresh.run("feed", "release", "hr", "--discard", "--reason", "cut off", *TODAY).code == 0
    assert fresh.plan()["counts"]["user"] == {"create": 12}


def test_the_day_given_is_today_everywhere(fresh: PeopleSite) -> None:
    """Somebody hired in the new year has no account on its eve, and one on the day, from the same file."""
    later = changed(fresh.people, "E00012", hire_date="2027-01-04")
    assert fresh.take(later).code == 0
    assert fresh.plan()["counts"]["user"] == {"create": 11}
    answer = fresh.run("plan", "--kind", "user", "--as-of", "2027-01-04", "--json")
    assert answer.json["counts"]["user"] == {"create": 12}


def test_a_reviewed_plan_of_people_runs_for_its_own_day_and_part(fresh: PeopleSite) -> None:
    """`push --plan` asks for neither --as-of nor --scope nor --kind again, and does just what was reviewed."""
    assert fresh.take(changed(fresh.people, "E00012", hire_date="2027-01-04")).code == 0
    scope = ("--scope", "person=E00012", "--scope", "person=E00001")
    stored = fresh.run("plan", "--kind", "user", "--as-of", "2027-01-05", *scope, "--out", "plan.json")
    assert stored.code == 10
    answer = fresh.run("push", "--plan", "plan.json", "--yes", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["counts"] == {"user": {"create": {"applied": 2}}}
    assert set(fresh.accounts()) & {row["employee_id"] for row in fresh.people} == {"E00001", "E00012"}


def test_a_reviewed_plan_is_refused_once_another_file_was_accepted(fresh: PeopleSite) -> None:
    """The people moved since the plan was made: nothing is sent."""
    assert fresh.take(fresh.people).code == 0
    assert fresh.run("plan", "--kind", "user", *TODAY, "--out", "plan.json").code == 10
    assert fresh.take(changed(fresh.people, "E00001", first_name="Another"), "next.csv").code == 0
    answer = fresh.run("push", "--plan", "plan.json", "--yes", "--json")
    assert answer.code == 3
    assert "changed since the plan was made" in answer.json["error"]


def test_decisions_recorded_in_the_store_place_titles_from_the_day_they_take_effect(fresh: PeopleSite) -> None:
    """Before that day the title waits; on it the person is in the position's cohort; `why` names who decided."""
    fresh.settings(SITE + OPTIONS + "\n[feeds.hr]\n")
    people = [{**row, "job_title": "Ward Angel"} for row in fresh.people[:1]]
    assert fresh.take(people).code == 0
    key = rows(fresh.bench.folder / "model" / "positions.csv")[0]["idnumber"]
    store = Store.open(fresh.bench.store)
    StoredLog(store).add(
        [
            Decision(
                "Ward Angel", "", "", 1, Verdict.PLACED, "Ana Silva", dt.datetime(2026, 12, 1, tzinfo=dt.UTC),
                placements=(Placement(key, 1),), effective=dt.date(2027, 1, 1),
            )
        ]
    )  # fmt: skip
    store.close()
    wanted = f"E00001|pos:{key}"
    for day, there in (("2026-12-31", False), ("2027-01-01", True)):
        changes = fresh.run("plan", "--kind", "people", "--as-of", day, "--json").json["changes"]
        assert (wanted in {one["key"] for one in changes}) is there
    told = fresh.run("why", "Ward Angel", "--as-of", "2027-01-01")
    assert f"Position {key}" in told.out
    assert "Ana Silva" in told.out


# --- A part of the company --------------------------------------------------------------------------------------------


def test_a_standing_pilot_bounds_accounts_cohorts_and_absences(fresh: PeopleSite) -> None:
    """Only its unit's people get accounts and cohorts; whoever leaves outside of it is not touched."""
    unit = fresh.people[0]["department_code"]
    inside = {row["employee_id"] for row in fresh.people if row["department_code"] == unit}
    pilot = f'\n[sites.moodle.pilot]\nunits = ["{unit}"]\npeople = ["E00002"]\n'
    fresh.settings(SITE + pilot + OPTIONS + FEED)
    assert fresh.take(fresh.people).code == 0
    assert fresh.push("--kind", "people", "--initial").code == 0
    ours = {row["employee_id"] for row in fresh.people}
    assert set(fresh.accounts()) & ours == inside | {"E00002"}
    cohorts = {row["idnumber"] for row in fresh.bench.moodle.db.cohorts if str(row["idnumber"]).startswith("org:")}
    assert cohorts == {f"org:{unit}", f"org:{fresh.people[1]['department_code']}"}
    # Everybody now, then a pilot again: those outside who left, or were renamed, stay as they are.
    fresh.settings(SITE + OPTIONS + FEED)
    assert fresh.push("--kind", "people", "--initial").code == 0
    before = fresh.accounts()
    assert set(before) & ours == ours
    fresh.settings(SITE + pilot + OPTIONS + FEED)
    outside = sorted(ours - inside - {"E00002"})[:2]
    next_day = changed(changed(fresh.people, outside[0], status="terminated"), outside[1], last_name="Changed")
    next_day = changed(next_day, "E00002", last_name="Changed-Too")
    assert fresh.take(next_day, "next.csv").code == 0
    assert fresh.push("--kind", "people").code == 0
    after = fresh.accounts()
    assert {key for key in before if before[key] != after[key]} == {"E00002"}


def test_the_command_line_narrows_within_the_pilot_and_names_what_it_does_not_know(fresh: PeopleSite) -> None:
    """--scope never reaches beyond the pilot; a unit that is not there is refused, a person nobody lists is said."""
    fresh.settings(SITE + '\n[sites.moodle.pilot]\npeople = ["E00001", "E00002"]\n' + OPTIONS + FEED)
    assert fresh.take(fresh.people).code == 0
    plan = fresh.plan("--kind", "user", "--scope", "person=E00002", "--scope", "person=E00003")
    assert [one["key"] for one in plan["changes"] if one["kind"] == "user"] == ["E00002"]
    answer = fresh.run("plan", "--scope", "unit=NOWHERE", *TODAY, "--json")
    assert answer.code == 2
    assert "NOWHERE" in answer.json["error"]
    assert fresh.run("plan", "--scope", "ward 7", *TODAY).code == 2
    plan = fresh.plan("--scope", "person=E99999")
    assert plan["counts"] == {}
    assert any("E99999" in one["says"] for one in plan["remarks"])


def test_a_plan_names_people_and_says_who_would_be_suspended(fresh: PeopleSite) -> None:
    """Beside the numbers; whoever is suspended is not merely called updated."""
    assert fresh.take(fresh.people).code == 0
    assert fresh.push("--kind", "user", "--initial").code == 0
    next_day = changed(changed(fresh.people, "E00003", status="terminated"), "E00004", last_name="Changed")
    assert fresh.take(next_day, "next.csv").code == 0
    said = fresh.run("plan", "--kind", "user", *TODAY).out
    assert "accounts: 1 suspend, 1 update" in said
    leaver, renamed = fresh.people[2], fresh.people[3]
    assert "- suspend E00003" in said
    assert f"~ update E00004  “{renamed['first_name']} Changed”" in said
    assert leaver["employee_id"] == "E00003"


# --- Several feeds, several sites -------------------------------------------------------------------------------------


def test_each_site_takes_the_feeds_that_it_names(fresh: PeopleSite) -> None:
    """Two feeds, two sites: one holds both, the other one of them; where that is not said, none are pushed."""
    other = SITE.replace("[sites.moodle]", "[sites.second]")
    options = OPTIONS + OPTIONS.replace("sites.moodle", "sites.second")
    both = SITE + 'feeds = ["hr", "agency"]\n' + other + 'feeds = ["agency"]\n' + options + FEED + "\n[feeds.agency]\n"
    fresh.settings(both)
    write_rows(fresh.bench.folder / "staff.csv", fresh.people[:8])
    write_rows(fresh.bench.folder / "agency.csv", [{**row, "manager_id": ""} for row in fresh.people[8:]])
    for feed, file in (("hr", "staff.csv"), ("agency", "agency.csv")):
        assert fresh.run("ingest", "--feed", feed, "--file", file, *TODAY).code == 0
    for site, people in (("moodle", 12), ("second", 4)):
        answer = fresh.run("plan", "--site", site, "--kind", "user", *TODAY, "--json")
        assert answer.json["counts"] == {"user": {"create": people}}
    fresh.settings(SITE + other + options + FEED + "\n[feeds.agency]\n")
    answer = fresh.run("plan", "--site", "moodle", "--kind", "people", *TODAY, "--json")
    assert answer.json["counts"] == {}
    fresh.settings(both.replace('feeds = ["agency"]', 'feeds = ["nobody"]'))
    assert fresh.run("plan", "--site", "second", *TODAY).code == 2


def test_a_site_that_takes_only_files_gets_the_people_of_its_feeds_the_same_way(fresh: PeopleSite) -> None:
    """`--kind people` is what feeds fill there, a quarantine stops it, and a file is handed over with exit code 5."""
    (fresh.bench.folder / "outbox").mkdir()
    fresh.settings(
        SITE
        + "feeds = []\n"
        + OPTIONS
        + FEED
        + """
[sites.academy]
kind = "files"
model = "model"
feeds = ["hr"]

[sites.academy.options]
folder = "outbox"
taken_when = "gone"

[sites.academy.options.files.person]
name = "people.csv"

[sites.academy.options.files.person.columns]
"Number" = "{key}"
"Name" = "{last_name}, {first_name}"
"Active" = "{active:yes/no}"

[sites.academy.options.files.position]
name = "jobs.csv"

[sites.academy.options.files.position.columns]
"Code" = "{key}"
"Title" = "{name}"
"""
    )
    assert fresh.take(fresh.people).code == 0
    site = ("--site", "academy", "--kind", "people", *TODAY)
    assert fresh.run("plan", *site, "--json").json["counts"] == {"person": {"create": 12}}
    assert fresh.run("push", *site, "--yes", "--json").code == 5
    written = rows(fresh.bench.folder / "outbox" / "people.csv")
    assert {(row["Number"], row["Active"]) for row in written} == {(row["employee_id"], "yes") for row in fresh.people}
    assert not (fresh.bench.folder / "outbox" / "jobs.csv").exists()
    assert fresh.take(fresh.people[:2], "cut.csv").code == 3
    assert fresh.run("push", *site, "--yes", "--json").code == 3
    assert fresh.run("plan", "--site", "moodle", "--json").code == 10, "a site without feeds goes on as ever"
    text = (fresh.bench.folder / "bridge.toml").read_text("utf-8")
    without_people = text.replace("files.person", "files.organisation").replace('"people.csv"', '"units.csv"')
    fresh.settings(without_people.replace("{last_name}, {first_name}", "{name}"))
    answer = fresh.run("plan", *site, "--json")
    assert answer.code == 2, "no kind of people is not the same as every kind"
    assert "no kind of people" in answer.json["error"]


# --- From one night to the next ---------------------------------------------------------------------------------------


def test_a_new_title_brings_the_new_cohort_and_plan_and_closes_the_old_one(fresh: PeopleSite) -> None:
    """The account stays, with its id and name; whoever is hired again after leaving gets theirs back."""
    assert fresh.take(fresh.people).code == 0
    assert fresh.push("--initial").code == 0
    before, plans = fresh.accounts(), fresh.plans()
    (old,) = [name for person, name in plans if person == "E00002"]
    (new,) = [name for person, name in plans if person == "E00001"]
    retitled = changed(fresh.people, "E00002", job_title=fresh.people[0]["job_title"], last_name="Renamed")
    assert fresh.take(changed(retitled, "E00003", status="terminated"), "second.csv").code == 0
    assert fresh.push().code == 0
    after, plans = fresh.accounts(), fresh.plans()
    assert (after["E00002"]["id"], after["E00002"]["username"]) == (before["E00002"]["id"], "e00002")
    assert after["E00002"]["lastname"] == "Renamed"
    assert (plans["E00002", old], plans["E00002", new]) == (2, 1), "closed, and active"
    jobs = {cohort for person, cohort in fresh.members() if person == "E00002" and cohort.startswith("pos:")}
    assert jobs == {cohort for person, cohort in fresh.members() if person == "E00001" and cohort.startswith("pos:")}
    assert after["E00003"]["suspended"]
    assert fresh.take(retitled, "third.csv").code == 0
    assert fresh.push().code == 0
    back = fresh.accounts()["E00003"]
    assert (back["id"], back["suspended"]) == (before["E00003"]["id"], 0)
    assert fresh.run("plan", *TODAY).code == 0


# --- Absence with a manifest ------------------------------------------------------------------------------------------


def test_a_manifest_makes_the_next_push_suspend_whom_its_file_lacks_at_once(fresh: PeopleSite) -> None:
    """From a drop folder, as an HR system leaves them: file and manifest; one file suffices."""
    drop = fresh.bench.folder / "drop"
    drop.mkdir()
    fresh.settings(SITE + OPTIONS + FEED + 'path = "drop"\npattern = "*.csv"\nready = "manifest"\n')
    for name, people in (("a.csv", fresh.people), ("b.csv", without(fresh.people, "E00012"))):
        write_rows(drop / name, people)
        digest = hashlib.sha256((drop / name).read_bytes()).hexdigest()
        manifest = {"file": name, "rows": len(people), "sha256": digest}
        (drop / f"{name}.manifest.json").write_text(json.dumps(manifest), "utf-8")
        taken = fresh.run("ingest", *TODAY, "--json")
        assert taken.code == 0, (taken.out, taken.err)
        assert fresh.push("--kind", "user", "--initial").code == 0
    suspended = {key for key, row in fresh.accounts().items() if row["suspended"]}
    assert suspended == {"E00012"}


# --- Feed columns instead of files ------------------------------------------------------------------------------------


def test_units_and_positions_come_from_feed_columns_where_no_file_lists_them(fresh: PeopleSite) -> None:
    """Cohorts are named after the columns; roll-up puts people into the units above theirs."""
    fresh.settings(
        SITE.replace('model = "model"', "")
        + OPTIONS
        + "roll_up_organisations = true\n"
        + '[feeds.hr.columns]\nposition = "job"\nunit_name = "unit"\nunit_parent = "above"\n'
    )
    told = [
        {**row, "job": f"J{number % 2}", "unit": f"Unit {row['department_code']}", "above": "TOP"}
        for number, row in enumerate(fresh.people)
    ]
    assert fresh.take(told).code == 0
    assert fresh.push("--initial").code == 0
    members = fresh.members()
    assert {pair for pair in members if pair[0] == "E00001"} == {
        ("E00001", f"org:{fresh.people[0]['department_code']}"),
        ("E00001", "org:TOP"),
        ("E00001", "pos:J0"),
    }
    told = fresh.run("why", "J0", *TODAY, "--json").json["position"]
    assert (told["people"], {one["rule"] for one in told["titles"]}) == (6, {"code"})
    names = {row["idnumber"]: row["name"] for row in fresh.bench.moodle.db.cohorts}
    assert names[f"org:{fresh.people[0]['department_code']}"] == f"Unit {fresh.people[0]['department_code']}"


# --- Why --------------------------------------------------------------------------------------------------------------


def test_why_tells_of_a_person_the_file_the_row_the_rule_the_change_and_the_answer(pushed: PeopleSite) -> None:
    """From the line of the file to the id in Moodle."""
    told = pushed.run("why", "E00003", *TODAY, "--json").json["person"]
    (row,) = told["rows"]
    assert (row["file"], row["line"], row["says"]["email"]) == ("next.csv", 3, "new.address@northwind.example")
    assert row["title"]["position"]
    assert row["title"]["rule"] in ("catalogue", "decision")
    newest = told["done"][0]
    assert (newest["kind"], newest["action"], newest["answer"]) == ("user", "update", "applied")
    assert newest["sent"]["email"]["after"] == "new.address@northwind.example"
    assert newest["lms_id"] == str(pushed.accounts()["E00003"]["id"])
    assert {one["kind"] for one in told["standing"]} >= {"user", "cohort_member"}


def test_why_tells_who_is_missing_who_left_and_whose_row_was_refused(pushed: PeopleSite) -> None:
    """Each with its file, and with what happens next."""
    missing = pushed.run("why", "E00002", *TODAY).out
    assert "Missing since 2026-12-31 (first in next.csv)" in missing
    assert "Nothing happens until a second accepted file lacks them too" in missing
    left = pushed.run("why", "E00004", *TODAY).out
    assert "suspended False → True" in left
    refused = pushed.run("why", "E00005", *TODAY).out
    assert "next.csv, line 5, column email: “no address” is no e-mail address" in refused
    assert "people.csv, line 6" in refused


def test_why_tells_of_a_position_who_holds_it_and_of_a_title_what_it_stands_for(pushed: PeopleSite) -> None:
    """A position names the titles that lead to it and its cohort; a title its position and the rule."""
    person = pushed.run("why", "E00001", *TODAY, "--json").json["person"]["rows"][0]
    key, title = person["title"]["position"], person["says"]["title"]
    position = pushed.run("why", key, *TODAY, "--json").json
    assert position["person"] is None
    assert [one["title"] for one in position["position"]["titles"]] == [title]
    assert f"pos:{key}" in {one["key"] for one in position["position"]["standing"]}
    told = pushed.run("why", title.upper(), *TODAY, "--json").json["title"]
    assert [(one["position"], one["rule"]) for one in told["uses"]] == [(key, person["title"]["rule"])]


def test_why_says_so_where_nothing_is_known(pushed: PeopleSite) -> None:
    """With exit code 2, and what could be wrong with the word."""
    answer = pushed.run("why", "E9", "--json")
    assert answer.code == 2
    assert "zeros included" in answer.json["error"]
