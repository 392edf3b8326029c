"""Whose account is whose: certain ones are taken over, uncertain ones wait for a person, some are never touched."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from bridge.ports import Action, Severity
from bridge.settings import Settings
from bridge.sync.plan import ChangePlan
from jobs.why import why
from tests.integration.moodle_people.site import Place
from tests.integration.moodle_people.small import desired, person


def held(plan: ChangePlan) -> dict[str, str]:
    """Return why accounts are held, by the person's key."""
    return {one.key: one.says for one in plan.remarks if one.severity is Severity.HELD and one.kind == "user"}


def add(here: Place, username: str, **more: Any) -> dict[str, Any]:
    """Put an account into the site by hand."""
    given = {"email": f"{username}@elsewhere.example", **more}
    return here.moodle.seed.user(username, "Ada", "Lovelace", given.pop("email"), **given)


def test_an_account_with_the_id_number_is_taken_over_as_it_is(here: Place) -> None:
    """Its user name stays, though the rule would have made another."""
    add(here, "ada", email="p1@ward.example", idnumber="P1")
    report = here.push(desired([person("P1")]))
    assert report.state == "done"
    assert [change.action for change in report.plan.changes if change.kind == "user"] == [Action.ADOPT]
    assert here.account("P1")["username"] == "ada"


def test_one_account_without_id_number_that_has_the_address_is_adopted(here: Place) -> None:
    """It gets the ID number and keeps its id."""
    row = add(here, "ada", email="P1@Ward.example")
    here.push(desired([person("P1")]))
    assert here.account("P1")["id"] == row["id"]


def test_a_name_alone_never_decides(here: Place) -> None:
    """A namesake gets nothing; a new account is made."""
    row = add(here, "ada")
    here.push(desired([person("P1")]))
    assert here.account("P1")["id"] != row["id"]
    assert row["idnumber"] == ""


def test_two_accounts_that_could_be_theirs_are_held_and_nothing_hangs_on_them(here: Place) -> None:
    """One has the address, the other the user name: a person decides; the others go on."""
    add(here, "somebody", email="p1@ward.example")
    add(here, "p1")
    report = here.push(desired([person("P1"), person("P2")]))
    assert report.state == "done"
    assert "2 accounts could be theirs" in held(report.plan)["P1"]
    assert here.accounts("P1") == []
    assert {pair[0] for pair in here.memberships()} == {"P2"}


def test_why_tells_who_is_left_alone_until_somebody_decides_and_no_longer_once_they_have(here: Place) -> None:
    """With the accounts in question and what to do, from the first push that found it; a push of something else, or of
    others, changes nothing about it."""

    def told() -> list[dict[str, Any]]:
        """Ask as `lms-bridge why P1` does."""
        settings = Settings(folder=here.folder, store=here.url, sites={}, variables={})
        person_told = why(settings, here.store, "P1", dt.date(2026, 9, 1)).person
        assert person_told is not None
        found: list[dict[str, Any]] = person_told["undecided"]
        return found

    add(here, "somebody", email="p1@ward.example")
    twin = add(here, "p1")
    first = here.push(desired([person("P1"), person("P2")]))
    here.push(desired([person("P1"), person("P2")]))
    here.push(desired([person("P2")]), frozenset({"cohort"}))
    ((one,), (run,)) = told(), {first.run_id}
    assert (one["site"], one["kind"], one["run"]) == ("here", "user", run)
    assert "2 accounts could be theirs" in one["reason"]
    assert "Give the right one the ID number P1." in one["reason"]
    here.moodle.db.users.update(twin, {"idnumber": "P1"})
    here.push(desired([person("P1"), person("P2")]))
    assert told() == []


def test_two_accounts_with_one_id_number_are_held(here: Place) -> None:
    """Moodle accepts duplicate ID numbers; neither account is touched, even where somebody left."""
    add(here, "one", idnumber="P1")
    add(here, "two", idnumber="P1")
    report = here.push(desired([], [], absent=["P1"]))
    assert "2 accounts have the ID number P1" in held(report.plan)["P1"]
    assert [row["suspended"] for row in here.accounts("P1")] == [0, 0]


def test_an_id_number_that_differs_in_case_is_not_guessed_at(here: Place) -> None:
    """Moodle does not tell p1 from P1, the HR system may."""
    add(here, "one", idnumber="p1")
    report = here.push(desired([person("P1")]))
    assert "does not tell from" in held(report.plan)["P1"]


def test_an_address_that_belongs_to_another_id_number_is_held(here: Place) -> None:
    """Making a second account would be refused; taking the first would be theft."""
    add(here, "other", email="p1@ward.example", idnumber="X9")
    report = here.push(desired([person("P1")]))
    assert "ID number X9" in held(report.plan)["P1"]
    assert here.accounts("P1") == []


def test_where_addresses_may_be_shared_that_is_no_conflict(here: Place) -> None:
    """A site that lets accounts share an address says so in the options."""
    add(here, "other", email="p1@ward.example", idnumber="X9")
    plan = here.plan(desired([person("P1")]), shared_addresses=True)
    assert held(plan) == {}
    assert [change.action for change in plan.changes if change.kind == "user"] == [Action.CREATE]


def test_two_people_who_claim_one_account_are_both_held(here: Place) -> None:
    """The same address twice in the feed fits one account: neither gets it."""
    add(here, "ada", email="shared@ward.example")
    people = [person("P1", email="shared@ward.example"), person("P2", email="shared@ward.example")]
    assert held(here.plan(desired(people))).keys() == {"P1", "P2"}


def test_a_field_that_is_not_configured_does_not_identify(here: Place) -> None:
    """With matching by address alone, a fitting user name is only asked about."""
    add(here, "p1")
    plan = here.plan(desired([person("P1")]), match_users_by=("email",))
    assert "give it the ID number P1" in held(plan)["P1"]


@pytest.mark.parametrize("username", ["admin", "wsbridge", "guest"])
def test_administrators_and_the_service_account_are_never_touched(here: Place, username: str) -> None:
    """Even where the feed says that they left."""
    row = next(one for one in here.moodle.db.users if one["username"] == username)
    here.moodle.db.users.update(row, {"idnumber": "P1"})
    before = dict(row)
    report = here.push(desired([], [], absent=["P1"]))
    assert "protected" in held(report.plan)["P1"]
    assert row == before


def test_protected_accounts_and_those_outside_the_scope_are_left_alone(here: Place) -> None:
    """By pattern, on user name, address or ID number."""
    add(here, "boss", idnumber="P1")
    add(here, "extern", idnumber="P2", email="extern@partner.example")
    add(here, "ours", idnumber="P3", email="ours@ward.example")
    report = here.push(
        desired([], [], absent=["P1", "P2", "P3"]),
        protected_accounts=("BOSS", "root*"),
        account_scope=("*@ward.example", "boss"),
    )
    assert held(report.plan).keys() == {"P1", "P2"}
    assert here.suspended() == {"P3"}


def test_a_malformed_value_does_not_spoil_the_search_for_others(here: Place) -> None:
    """Moodle refuses a whole lookup for one value it cannot read."""
    add(here, "ada", email="p2@ward.example")
    here.push(desired([person("P1", email="nobody at all"), person("P2")]))
    assert here.account("P2")["username"] == "ada"
    assert here.accounts("P1") == []
