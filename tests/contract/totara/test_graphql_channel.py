"""What is the API's own behind the LMS port: what it hides, what it drops in silence, leavers, further columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.model import Desired, JobAssignment, Person, PersonStatus, Position, Workforce
from bridge.ports import Severity, StopRun
from bridge.store import Store
from bridge.sync.clock import Clock
from bridge.sync.plan import ChangePlan
from bridge.sync.policy import Policy
from bridge.sync.push import PushReport, Watching, preview, push
from connectors.simulators.totara import TotaraSimulator
from tests.contract.conformance import company
from tests.contract.conformance.suite import INITIAL
from tests.contract.totara.test_graphql_conformance import ApiSite, BothWays, with_people
from tests.databases import address

DAY = dt.date(2026, 9, 1)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ApiSite]:
    """A Totara reached through its API alone."""
    with TotaraSimulator() as totara:
        made = ApiSite(totara, tmp_path)
        yield made
        for connector in made.open:
            connector.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of its own."""
    opened = Store.open(address(tmp_path / "state.sqlite"))
    yield opened
    opened.close()


def person(key: str, status: PersonStatus = PersonStatus.ACTIVE, **extra: str) -> Person:
    """Return somebody."""
    return Person(key, "Ada", key, f"{key.lower()}@ward.example", status, extra=tuple(sorted(extra.items())))


def people(*found: Person, jobs: tuple[JobAssignment, ...] = (), absent: frozenset[str] = frozenset()) -> Desired:
    """Return people and jobs as what is wanted."""
    return replace(Desired(), workforce=Workforce(DAY, found, jobs, absent))


def send(site: ApiSite, store: Store, wanted: Desired, rules: object = INITIAL) -> PushReport:
    """Push once."""
    return push("here", site.connect(), store, wanted, rules, Clock())  # type: ignore[arg-type]  # rules are rules


def test_leavers_are_suspended_and_every_job_of_theirs_ends_the_day_they_left(site: ApiSite, store: Store) -> None:
    """By status and by certain absence; a second job the feed drops is ended too; the next day changes nothing."""
    jobs = tuple(JobAssignment(f"{key}/{n}", key, title="Nurse") for key in ("P1", "P2", "P3") for n in (1, 2))
    jobs = tuple(replace(one, primary=one.key.endswith("/1")) for one in jobs)
    assert send(site, store, people(person("P1"), person("P2"), person("P3"), jobs=jobs)).state == "done"
    left = person("P2", PersonStatus.TERMINATED)
    kept = (jobs[0],)
    later = people(person("P1"), left, jobs=kept, absent=frozenset({"P3"}))
    report = send(site, store, later)
    assert report.state == "done", report.tally.refused
    held = site.totara.site.snapshot()
    assert [held["user"][key]["suspended"] for key in ("P1", "P2", "P3")] == [False, True, True]
    ends = {key: job["enddate"] for (_, key), job in held["jobassignment"].items()}
    assert ends.pop("P1/1") is None
    assert {dt.datetime.fromtimestamp(end, dt.UTC).date() for end in ends.values()} <= {DAY, dt.date(2026, 8, 31)}
    assert len(ends) == 5
    tomorrow = replace(later, workforce=replace(later.workforce, as_of=DAY + dt.timedelta(days=1)))  # type: ignore[type-var]  # there is one
    assert preview("here", site.connect(), store, tomorrow, INITIAL, Clock()).changes == []


def test_whoever_left_has_no_account_made_and_comes_back_by_the_feed(site: ApiSite, store: Store) -> None:
    """A leaver who was never there stays away; one who returns is let in again, with the job going on."""
    job = (JobAssignment("P1/1", "P1", title="Nurse"),)
    send(site, store, people(person("P1"), person("P9", PersonStatus.TERMINATED), jobs=job))
    assert "P9" not in site.totara.site.snapshot()["user"]
    send(site, store, people(person("P1", PersonStatus.TERMINATED)))
    assert send(site, store, people(person("P1"), jobs=job)).state == "done"
    held = site.totara.site.snapshot()
    assert not held["user"]["P1"]["suspended"]
    assert held["jobassignment"]["P1", "P1/1"]["enddate"] is None


def test_further_columns_go_to_the_account_but_a_date_field_does_not(site: ApiSite, store: Store) -> None:
    """City and a text field arrive and are compared; the API would store a date a day late."""
    fields = {"grade": {"datatype": "text"}, "joined": {"datatype": "date"}}
    site.options["hrimport"] = {"user_custom_fields": fields}
    site.totara.site.configure(user_custom_fields=fields)
    one = person("P1", city="Leeds", customfield_grade="7", customfield_joined="2020-03-15", unknown="x")
    assert send(site, store, people(one)).state == "done"
    held = site.totara.site.snapshot()["user"]["P1"]
    assert (held["city"], held["customfield_grade"]) == ("Leeds", "7")
    assert "customfield_joined" not in held
    assert send(site, store, people(one)).plan.changes == []
    user = site.totara.site.state.user_by_idnumber["P1"]
    assert user.fields is not None
    user.fields["city"] = "York"
    drift = send(site, store, people(one)).plan.drifts
    assert [(each.key, each.field, each.actual) for each in drift] == [("P1", "city", "York")]
    assert user.fields["city"] == "Leeds"


def test_hidden_addresses_stop_the_comparison_and_say_what_to_give(site: ApiSite, store: Store) -> None:
    """Comparing what is hidden would write everybody anew each night."""
    send(site, store, people(person("P1")))
    site.totara.api.wide_role = False
    with pytest.raises(StopRun, match="moodle/site:viewuseridentity"):
        send(site, store, people(person("P1")))
    findings = [one for one in site.connect().probe().findings if not one.ok]
    assert any("viewuseridentity" in one.says for one in findings)


def test_a_kind_the_release_does_not_have_blocks_and_says_from_when_on(site: ApiSite, store: Store) -> None:
    """Positions on a 17: the site answers in silence, the check does not."""
    site.totara.api.hierarchies = False
    finding = next(one for one in site.connect().probe().findings if one.subject == "positions through GraphQL")
    assert finding.blocking
    assert "from Totara 19 on" in finding.says
    wanted = replace(Desired(), architecture=replace(Desired().architecture, positions=(Position("N1", "Nurse"),)))
    with pytest.raises(Exception, match="does not show positions"):
        send(site, store, wanted)


def test_a_write_that_the_site_carries_out_otherwise_is_not_called_applied(site: ApiSite, store: Store) -> None:
    """It answers with success and another title: refused, with both; the others are done."""
    real = site.totara.graphql._mutations
    site.totara.graphql._mutations = (
        lambda: {  # type: ignore[method-assign]  # a site that cuts titles
            **real(),
            "totara_job_create_job_assignment": lambda a: real()["totara_job_create_job_assignment"](
                {"input": {**a["input"], "fullname": a["input"]["fullname"][:5]}}
            ),
        }
    )
    jobs = (JobAssignment("P1/1", "P1", title="Nurse"), JobAssignment("P2/1", "P2", title="Ward manager"))
    report = send(site, store, people(person("P1"), person("P2"), jobs=jobs))
    assert [one.key for one in report.tally.refused] == ["P2/1"]
    assert "instead of “Ward manager”" in report.tally.refused[0].why


def test_a_job_id_number_that_two_people_have_on_the_site_is_held(site: ApiSite, store: Store) -> None:
    """Nobody's job is changed until they differ; the plan says so."""
    job = (JobAssignment("P1/1", "P1", title="Nurse"),)
    send(site, store, people(person("P1"), person("P2"), jobs=job))
    state = site.totara.site.state
    state.add_job("P1/1", state.user_by_idnumber["P2"])
    plan = preview(
        "here", site.connect(), store, people(person("P1"), jobs=(replace(job[0], title="Sister"),)), INITIAL, Clock()
    )
    assert plan.changes == []
    held = [one for one in plan.remarks if one.severity is Severity.HELD]
    assert [(one.kind, one.key) for one in held] == [("job", "P1/1")]


def test_deleting_an_account_happens_by_rule_only(site: ApiSite, store: Store) -> None:
    """With `erase` for people of the site the leaver is deleted through the API; without it nobody ever is."""
    send(site, store, people(person("P1"), person("P2")))
    connector = site.connect()
    options = replace(connector.options, delete_leavers=True)  # type: ignore[attr-defined]  # it is a TotaraConnector
    erasing = type(connector)(options)  # type: ignore[call-arg]  # as above
    rules = replace(INITIAL, policy=Policy(erase=frozenset({"person"})))
    gone = people(person("P1"), person("P2", PersonStatus.TERMINATED))
    assert push("here", erasing, store, gone, rules, Clock()).state == "done"
    erasing.close()
    assert {"P1"} == {key for key in site.totara.site.snapshot()["user"] if key.startswith("P")}


def test_the_pages_of_a_read_stay_inside_a_small_limit(site: ApiSite, store: Store) -> None:
    """Sixty fields a query: many pages, every job once."""
    wanted = with_people(company.desired())
    assert wanted.workforce is not None
    send(site, store, wanted)
    asked = len(site.totara.requests)
    found = [one.key for one in site.connect().read("job")]
    assert sorted(found) == sorted(one.key for one in wanted.workforce.assignments)
    assert len(site.totara.requests) - asked > 1


def test_people_sent_by_files_are_looked_at_through_the_api(tmp_path: Path, store: Store) -> None:
    """A leaver's rows keep all that was there, drift is seen and put back, and a night without news writes no file."""
    with TotaraSimulator() as totara:
        both = BothWays(tmp_path, totara)
        erasing = {"csvsaveemptyfields": 1}
        fields = {"joined": {"datatype": "date"}}
        both.totara.configure(jobassignment=erasing, user_custom_fields=fields)
        both.api.options["channels"] = {}
        both.api.options["hrimport"] = {**both.api.options["hrimport"], "jobassignment": erasing}
        both.api.options["hrimport"]["user_custom_fields"] = fields
        wanted = with_people(company.desired())
        assert wanted.workforce is not None
        further = (("city", "Leeds"), ("customfield_joined", "15/03/2020"), ("emailstop", "1"))
        richer = (replace(wanted.workforce.people[0], extra=further), *wanted.workforce.people[1:])
        wanted = replace(wanted, workforce=replace(wanted.workforce, people=richer))

        def night(desired: Desired) -> PushReport:
            """Push, let the night pass, push again."""
            clock = Clock(now=lambda: both.moment)
            push("here", both.connect(), store, desired, INITIAL, clock)
            both.run_nightly()
            return push("here", both.connect(), store, desired, INITIAL, clock)

        assert night(wanted).state == "done"
        assert night(wanted).plan.changes == [], "columns the API does not show are compared with what was sent"
        assert both.connect().probe().spec("job").readable
        before = both.totara.snapshot()["jobassignment"]["P2", "P2/1"]
        assert wanted.workforce is not None
        left = tuple(
            replace(one, status=PersonStatus.TERMINATED) if one.key == "P2" else one for one in wanted.workforce.people
        )
        gone = replace(wanted.workforce, people=left, assignments=wanted.workforce.assignments[2:])
        user = both.totara.state.user_by_idnumber["P0"]
        assert user.fields is not None
        user.fields["lastname"] = "Edited"
        plan = preview("here", both.connect(), store, replace(wanted, workforce=gone), INITIAL, Clock())
        assert [(one.key, one.actual) for one in plan.drifts] == [("P0", "Edited")]
        assert night(replace(wanted, workforce=gone)).state == "done"
        held = both.totara.snapshot()
        after = held["jobassignment"]["P2", "P2/1"]
        assert held["user"]["P2"]["suspended"]
        assert held["user"]["P0"]["lastname"] == "Lovelace 0"
        assert after["enddate"]
        assert {**after, "enddate": None} == {**before, "enddate": None}
        taken = both.writes()
        assert night(replace(wanted, workforce=gone)).plan.changes == []
        assert both.writes() == taken
        for connector in both.open:
            connector.close()


def test_a_client_that_is_switched_off_in_the_middle_of_a_push_shuts_the_run_out(site: ApiSite, store: Store) -> None:
    """The dead token and the client that gets no new one are told from a failing request: unattended work then asks
    once a day. Nothing is refused for it, and what is left goes once the client is back."""
    wanted = people(*(person(f"E{number}") for number in range(3)))

    def end_it(_plan: ChangePlan) -> bool:
        """Switch the client off between the plan and its first write."""
        site.totara.forget_tokens()
        site.totara.client_enabled = False
        return True

    report = push("here", site.connect(), store, wanted, INITIAL, Clock(), watching=Watching(confirm=end_it))
    assert (report.state, report.tally.shut_out) == ("stopped", True)
    assert "Check the API client's id and secret" in report.message
    assert report.tally.count("not_sent") == 3
    site.totara.client_enabled = True
    assert send(site, store, wanted).tally.count("applied") == 3
