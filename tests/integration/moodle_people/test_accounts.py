"""Accounts: made without passwords or mail, kept true, suspended and revived, never deleted, nothing lost silently."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bridge.ports import Action, SafetyLimit, Severity
from bridge.sync.clock import Clock
from bridge.sync.undo import undo
from connectors.moodle.profile import day_of, nobodys_password, usable_email, username_of
from connectors.simulators.moodle import people as simulated
from connectors.simulators.moodle.site import HANDLERS
from tests.integration.moodle_people.site import PEOPLE, Place
from tests.integration.moodle_people.small import desired, person, terminated


def sent(patch: pytest.MonkeyPatch, function: str) -> list[dict[str, Any]]:
    """Return a list that fills with the users of every call of a function."""
    seen: list[dict[str, Any]] = []
    real = HANDLERS[function]

    def watched(call: Any, args: Any) -> Any:
        """Note and answer."""
        seen.extend(dict(one) for one in args["users"])
        return real(call, args)

    patch.setitem(HANDLERS, function, watched)
    return seen


def test_nobody_learns_a_password_and_no_mail_goes_out(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moodle wants a password for a manual account: it gets a different unknown one for each, kept nowhere here."""
    seen = sent(monkeypatch, "core_user_create_users")
    here.push(desired([person("P1"), person("P2")]))
    passwords = {one["password"] for one in seen}
    assert len(passwords) == 2
    assert not any(one.get("createpassword") for one in seen)
    here.store.close()
    stored = b"".join(path.read_bytes() for path in Path(here.folder).iterdir())
    assert not any(password.encode() in stored for password in passwords)


def test_an_account_that_signs_in_elsewhere_gets_no_password_at_all(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With single sign-on there is nothing to invent."""
    seen = sent(monkeypatch, "core_user_create_users")
    here.push(desired([person("P1")]), user_auth="oauth2")
    assert seen[0]["auth"] == "oauth2"
    assert not seen[0].get("password")


def test_where_asked_moodle_mails_a_password_it_makes(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only then."""
    seen = sent(monkeypatch, "core_user_create_users")
    here.push(desired([person("P1")]), mail_new_passwords=True)
    assert (bool(seen[0]["createpassword"]), seen[0].get("password")) == (True, None)


def test_a_rename_and_a_new_address_keep_the_account(here: Place) -> None:
    """Same id, same user name, one update."""
    here.push(desired([person("P1")]))
    before = dict(here.account("P1"))
    report = here.push(desired([person("P1", last="King", email="ada.king@ward.example")]))
    after = here.account("P1")
    assert report.plan.counts() == {"user": {"update": 1}}
    assert (after["id"], after["username"]) == (before["id"], before["username"])
    assert (after["lastname"], after["email"]) == ("King", "ada.king@ward.example")


def test_who_left_is_suspended_and_revived_when_hired_again(here: Place) -> None:
    """The account, its id and its cohorts stay; no account is made for a leaver who has none."""
    ada = person("P1")
    here.push(desired([ada]))
    first, members = dict(here.account("P1")), here.memberships()
    here.push(desired([terminated(ada), terminated(person("P2"))]))
    assert here.suspended() == {"P1"}
    assert here.accounts("P2") == []
    assert here.memberships() == members
    here.push(desired([ada]))
    assert here.suspended() == set()
    assert here.account("P1")["id"] == first["id"]


def test_suspending_counts_as_a_removal_in_the_limits(here: Place) -> None:
    """A feed in which everybody has left is stopped before the first write."""
    people = [person(f"P{n}") for n in range(20)]
    here.push(desired(people))
    with pytest.raises(SafetyLimit, match="remove accounts: 4 of 20"):
        here.push(desired([*map(terminated, people[:4]), *people[4:]]))
    assert here.suspended() == set()
    here.push(desired([*map(terminated, people[:2]), *people[2:]]))
    assert here.suspended() == {"P0", "P1"}


def test_whoever_is_merely_missing_is_not_spoken_of(here: Place) -> None:
    """An empty feed changes nothing at all."""
    here.push(desired([person("P1"), person("P2")]))
    members = here.memberships()
    assert here.push(desired([])).plan.changes == []
    assert here.suspended() == set()
    assert here.memberships() == members


def test_a_mapped_column_decides_how_an_account_signs_in_and_a_default_does_not(here: Place) -> None:
    """Somebody's switch to single sign-on in Moodle stays, unless the feed says otherwise."""
    told, silent = person("P1", extra=(("auth", "manual"),)), person("P2")
    here.push(desired([told, silent]))
    for key in ("P1", "P2"):
        here.moodle.db.users.update(here.account(key), {"auth": "oauth2"})
    here.push(desired([told, silent]))
    assert [here.account(key)["auth"] for key in ("P1", "P2")] == ["manual", "oauth2"]


def test_a_value_that_no_menu_has_is_refused_and_the_old_one_put_back(here: Place) -> None:
    """Moodle would have removed what was there without a word; the same value is not tried on others."""
    here.moodle.seed.profile_field("grade", "Grade", "menu", options=["Junior", "Senior"])
    fields = {"profile_field_grade": "grade"}
    people = [person(f"P{n}", extra=(("grade", "Junior"),)) for n in range(130)]
    here.push(desired(people), user_fields=fields)
    changed = [replace(one, extra=(("grade", "Boss"),)) for one in people[:60]]
    report = here.push(desired([*changed, *people[60:]]), user_fields=fields)
    assert report.state == "failed"
    assert len(report.tally.refused) == 60
    assert "a menu without this choice" in report.tally.refused[0].why
    assert {here.account(one.key)["profile"]["grade"] for one in people} == {"Junior"}


def test_a_text_that_is_cut_is_refused_and_the_old_one_put_back(here: Place) -> None:
    """The field's length is known to nobody but Moodle."""
    here.moodle.seed.profile_field("code", "Code", maxlength=5)
    fields = {"profile_field_code": "code"}
    here.push(desired([person("P1", extra=(("code", "AB"),))]), user_fields=fields)
    report = here.push(desired([person("P1", extra=(("code", "ABCDEFG"),))]), user_fields=fields)
    assert "after 5 characters" in report.tally.refused[0].why
    assert here.account("P1")["profile"]["code"] == "AB"


def test_an_unknown_profile_field_does_not_stop_an_account_but_is_named_from_then_on(here: Place) -> None:
    """The account is made; the field Moodle has not is refused each night until it is mended."""
    fields = {"profile_field_nope": "code"}
    wanted = desired([person("P1", extra=(("code", "AB"),))])
    here.push(wanted, user_fields=fields)
    assert here.account("P1")["username"] == "p1"
    report = here.push(wanted, user_fields=fields)
    assert "there is no such field" in report.tally.refused[0].why
    here.moodle.seed.profile_field("nope", "There now")
    here.push(wanted, user_fields=fields)
    assert here.plan(wanted, user_fields=fields).changes == []


def test_what_a_new_account_lost_is_told_at_once_and_is_nobodys_edit(here: Place) -> None:
    """The first night says which field did not take; the next plan shows it as still to be done, not as drift."""
    here.moodle.seed.profile_field("code", "Code", maxlength=5)
    fields = {"profile_field_code": "code"}
    wanted = desired([person("P1", extra=(("code", "ABCDEFG"),))])
    report = here.push(wanted, user_fields=fields)
    assert report.state == "done"
    assert ["after 5 characters" in one.why for one in report.tally.noted] == [True]
    assert here.account("P1")["profile"].get("code", "") == ""
    plan = here.plan(wanted, user_fields=fields)
    assert [(one.action, one.fields, one.drift) for one in plan.changes] == [
        (Action.UPDATE, ("profile_field_code",), False)
    ]
    assert plan.drifts == []


def test_a_date_field_is_compared_by_its_day(here: Place) -> None:
    """Moodle keeps seconds; a second plan is empty."""
    here.moodle.seed.profile_field("since", "Since", "datetime")
    wanted = desired([person("P1", extra=(("since", "2024-01-01"),))])
    fields = {"profile_field_since": "since"}
    assert here.push(wanted, user_fields=fields).state == "done"
    assert here.plan(wanted, user_fields=fields).changes == []


def test_one_bad_account_does_not_cost_the_others_theirs(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Creating is all or nothing a call: the bad one is found, named, and what needs it is not sent."""
    real = simulated._check_new

    def choosy(call: Any, given: Any) -> None:
        """Refuse one of them."""
        real(call, given)
        if given["idnumber"] == "P7":
            raise simulated.invalid_parameter("not this one")

    monkeypatch.setattr(simulated, "_check_new", choosy)
    report = here.push(desired([person(f"P{n}") for n in range(40)]))
    assert report.state == "failed"
    assert {(one.kind, one.key) for one in report.tally.refused} == {
        ("user", "P7"),
        ("cohort_member", "P7|org:WARD"),
        ("cohort_member", "P7|pos:N1"),
    }
    assert len({person for person, _ in here.memberships()}) == 39


def test_answers_that_get_lost_make_nothing_twice(here: Place) -> None:
    """Each kind of write loses an answer once; everything ends as it should."""
    wanted = desired([person(f"P{n}") for n in range(30)])
    for name in ("core_user_create_users", "core_cohort_create_cohorts", "core_cohort_add_cohort_members"):
        here.moodle.faults.add("reset_after_commit", function=name, count=1)
    assert here.push(wanted).state == "done"
    assert all(len(here.accounts(f"P{n}")) == 1 for n in range(30))
    assert len(here.moodle.db.cohorts) == 4
    assert len(here.moodle.db.cohort_members) == 60
    assert here.plan(wanted).changes == []


def test_where_accounts_are_not_to_be_made_existing_ones_are_kept_true(here: Place) -> None:
    """Whoever has none gets none, and no membership fails because of it."""
    here.moodle.seed.user("ada", "A", "L", "p1@ward.example", idnumber="P1")
    report = here.push(desired([person("P1"), person("P2")]), create_users=False)
    assert report.state == "done"
    assert here.account("P1")["lastname"] == "Lovelace"
    assert here.accounts("P2") == []
    assert {key for key, _ in here.memberships()} == {"P1"}


def test_undo_of_a_hire_suspends_the_account_and_takes_them_out_of_their_cohorts(here: Place) -> None:
    """Nobody's account is ever deleted."""
    here.push(desired([person("P1")]))
    report = here.push(desired([person("P1"), person("P2")]))
    undo("here", here.connector(), here.store, report.run_id, here.rules(PEOPLE, True), Clock())
    assert here.suspended() == {"P2"}
    assert {key for key, _ in here.memberships()} == {"P1"}
    assert here.push(desired([person("P1"), person("P2")])).plan.changes == []


def test_people_without_a_usable_name_or_address_are_named_and_nobody_else_suffers(here: Place) -> None:
    """A remark each; an account that is there is still kept true."""
    people = [person("P1", email="not an address"), person("P2", first=" "), person("P É!"), person("P4")]
    report = here.push(desired(people))
    warned = {one.key for one in report.plan.remarks if one.severity is Severity.WARNING}
    assert warned == {"P1", "P2", "P É!"}
    assert [row["idnumber"] for row in here.moodle.db.users if row["idnumber"]] == ["P4"]


@pytest.mark.parametrize(("rule", "name"), [("feed", "ada"), ("key", "p-1"), ("email", "ada@ward.example")])
def test_user_names_follow_the_rule(rule: str, name: str) -> None:
    """In small letters, as Moodle wants them."""
    assert username_of(person("P-1", email="Ada@ward.example", username="ADA"), rule) == name


def test_a_password_nobody_learns_meets_any_usual_policy() -> None:
    """Long, of all kinds, no two neighbours alike, never the same."""
    made = {nobodys_password() for _ in range(50)}
    assert len(made) == 50
    for password in made:
        assert any(c.islower() for c in password)
        assert any(c.isupper() for c in password)
        assert any(c.isdigit() for c in password)
        assert any(not c.isalnum() for c in password)
        assert all(one != other for one, other in pairwise(password))


@pytest.mark.parametrize("epoch", ["1704067200", "1704063600", "1704085200", "1704031200"])
def test_a_day_is_the_same_day_in_whatever_zone_it_was_set(epoch: str) -> None:
    """Midnight of 1 January 2024 in London, Vienna, New York and Adelaide's neighbours."""
    assert day_of(epoch) == "2024-01-01"


@pytest.mark.parametrize(
    ("address", "fits"),
    [("a.b+c@d.example", True), ("a@b", False), ("a b@c.example", False), ("a..b@c.example", False), ("", False)],
)
def test_addresses_are_checked_before_moodle_refuses_them(address: str, fits: bool) -> None:
    """Only what Moodle takes is sent."""
    assert usable_email(address) is fits
