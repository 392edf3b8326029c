"""The sample's feeds, one after another, end right on the simulated site: each number of its README is counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.ports import Action
from tests.integration.moodle_people import northwind
from tests.integration.moodle_people.site import Place, place

FIELDS = {"profile_field_jobtitle": "title", "city": "location", "country": "country"}


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Four nights on one site: day 1, day 1 again, day 2, and day 2 with the absences confirmed."""
    with place(tmp_path_factory.mktemp("nights")) as here:
        here.moodle.seed.profile_field("jobtitle", "Job title")
        told: dict[str, Any] = {"place": here}
        for name, desired in (
            ("first", northwind.day(1)),
            ("unchanged", northwind.day(1)),
            ("second", northwind.day(2)),
            ("confirmed", northwind.day(2, absent=gone())),
        ):
            report = here.push(desired, initial=name == "first", user_fields=FIELDS)
            told[name] = {
                "report": report,
                "requests": here.requests(),
                "writes": here.writes(),
                "stats": here.moodle.requests.stats(),
                "users": {row["idnumber"]: dict(row) for row in here.moodle.db.users if row["idnumber"]},
                "members": here.memberships(),
            }
        yield told


def gone() -> set[str]:
    """Return who is in the first file and not in the second."""
    first, second = (
        {row["employee_id"] for row in northwind.rows(f"hris_people_day{number}.csv")} for number in (1, 2)
    )
    return first - second


def changed(nights: dict[str, Any], one: str, other: str, field: str) -> set[str]:
    """Return whose account differs in a field between the ends of two nights."""
    before, after = nights[one]["users"], nights[other]["users"]
    return {key for key in before.keys() & after.keys() if before[key][field] != after[key][field]}


def test_the_first_night_gives_everybody_an_account_and_their_two_cohorts(nights: dict[str, Any]) -> None:
    """4,000 accounts, 218 and 997 cohorts, 8,000 memberships, and nothing refused."""
    here: Place = nights["place"]
    first = nights["first"]
    assert first["report"].state == "done"
    assert len(first["users"]) == 4_000
    assert len(here.moodle.db.cohorts) == 218 + 997
    assert len(first["members"]) == 8_000
    assert ("E00001", "org:DIG-S-05") in first["members"]
    assert ("E00001", "pos:15-1255.01") in first["members"]


def test_accounts_carry_what_the_mapping_says(nights: dict[str, Any]) -> None:
    """Names, address, title and place of work arrive letter by letter."""
    row = nights["first"]["users"]["E00001"]
    told = (row["username"], row["firstname"], row["lastname"], row["email"], row["auth"], row["city"], row["country"])
    assert told == ("e00001", "Mateo", "Fernández", "mateo.fernandez.1@northwind.example", "manual", "South", "SE")
    assert row["profile"]["jobtitle"] == "Video Game Designers"


def test_the_memberships_of_the_first_night_take_at_most_sixty_requests(nights: dict[str, Any]) -> None:
    """Beside some 9,000 one by one: cohorts and members together, read and written."""
    inner = nights["first"]["stats"]["inner_by_function"]
    adding = inner["core_cohort_add_cohort_members"]
    creating = inner["core_cohort_create_cohorts"]
    assert adding * 250 >= 8_000
    assert adding + creating + inner["core_cohort_get_cohorts"] <= 60


def test_an_unchanged_night_writes_nothing_and_reads_little(nights: dict[str, Any]) -> None:
    """No change, no write, and at most 25 requests, those that look at the site included."""
    night = nights["unchanged"]
    assert night["report"].plan.changes == []
    assert (night["writes"], night["requests"] <= 25) == (0, True)


def test_the_second_day_suspends_exactly_the_25_who_were_terminated(nights: dict[str, Any]) -> None:
    """And nobody who is merely missing from the file."""
    suspended = changed(nights, "first", "second", "suspended")
    terminated = {row["employee_id"] for row in northwind.rows("hris_people_day2.csv") if row["status"] == "terminated"}
    assert len(suspended) == 25
    assert suspended == terminated


def test_the_second_day_leaves_the_40_absent_as_they_are(nights: dict[str, Any]) -> None:
    """Not one field and not one membership of theirs changes."""
    absent = gone()
    before, after = nights["first"], nights["second"]
    assert len(absent) == 40
    for key in absent:
        assert before["users"][key] == after["users"][key]
    for night in (before, after):
        night["absent"] = {pair for pair in night["members"] if pair[0] in absent}
    assert before["absent"] == after["absent"]
    assert len(after["absent"]) == 80


def test_the_absent_are_suspended_once_their_absence_is_confirmed(nights: dict[str, Any]) -> None:
    """All 40, by one run that does nothing else."""
    assert changed(nights, "second", "confirmed", "suspended") == gone()
    assert nights["confirmed"]["report"].plan.counts() == {"user": {"update": 40}}


def test_the_second_day_moves_60_people_between_units(nights: dict[str, Any]) -> None:
    """Each leaves one unit's cohort and joins another's."""
    units = {
        night: {pair for pair in nights[night]["members"] if pair[1].startswith("org:")}
        for night in ("first", "second")
    }
    left, joined = units["first"] - units["second"], units["second"] - units["first"]
    hired = set(nights["second"]["users"]) - set(nights["first"]["users"])
    assert len(left) == 60
    assert len({pair for pair in joined if pair[0] not in hired}) == 60
    assert {person for person, _ in left} == {person for person, _ in joined} - hired


def test_the_second_day_retitles_80_people(nights: dict[str, Any]) -> None:
    """Their title is in their account; those whose new title has a position are in its cohort alone; others wait."""
    before, after = nights["first"]["users"], nights["second"]["users"]
    retitled = {key for key in before if before[key]["profile"] != after[key]["profile"]}
    assert len(retitled) == 80
    known = northwind.decisions()
    second = {row["employee_id"]: row["job_title"] for row in northwind.rows("hris_people_day2.csv")}
    members = nights["second"]["members"]
    for key in retitled:
        position = known.get((key, second[key]), known.get(("", second[key])))
        held = {cohort for person, cohort in members if person == key and cohort.startswith("pos:")}
        stays = {c for person, c in nights["first"]["members"] if person == key and c.startswith("pos:")}
        assert held == (stays if position is None else {f"pos:{position}"})


def test_the_second_day_gives_30_new_addresses_and_50_accounts_and_deletes_nobody(nights: dict[str, Any]) -> None:
    """Whoever has a new address keeps the account with its id."""
    assert len(changed(nights, "first", "second", "email")) == 30
    assert changed(nights, "first", "second", "id") == set()
    assert len(set(nights["second"]["users"]) - set(nights["first"]["users"])) == 50
    assert not any(row["deleted"] for row in nights["place"].moodle.db.users)


def test_the_second_day_stays_inside_the_limits_that_hold_by_default(nights: dict[str, Any]) -> None:
    """Nothing had to be lifted for it."""
    assert nights["second"]["report"].state == "done"


def test_with_the_store_lost_the_next_night_only_adopts(nights: dict[str, Any], tmp_path: Path) -> None:
    """Accounts, cohorts and memberships are taken over by key; nothing is made twice."""
    here: Place = nights["place"]
    fresh = Place(here.moodle, tmp_path)
    plan = fresh.plan(northwind.day(2, absent=gone()), user_fields=FIELDS)
    assert {change.action for change in plan.changes} == {Action.ADOPT}
    for connector in fresh.open:
        connector.close()
