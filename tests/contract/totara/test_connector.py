"""What is Totara's own behind the LMS port: people, two files in one night, files that must not go, crashes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.model import Architecture, Desired, JobAssignment, Organisation, Person, PersonStatus, Workforce
from bridge.ports import Action, Change, PullScope, Severity, Status, StopRun
from bridge.store import Store
from bridge.sync.clock import Clock
from bridge.sync.policy import Policy, Touch, touch_of
from bridge.sync.push import PushReport, push
from connectors.hrimport_rules.settings import settings_from_mapping
from connectors.totara.connector import TotaraConnector
from connectors.totara.hrimport.delivery import FolderDrop
from connectors.totara.reports import ReportSource
from tests.contract.conformance import company
from tests.contract.conformance.suite import INITIAL
from tests.contract.totara.test_conformance import NightlyTotara
from tests.databases import address

OPTIONS = settings_from_mapping({name: {"csvsaveemptyfields": 1} for name in ("org", "pos", "comp", "jobassignment")})


def _person(key: str, status: PersonStatus = PersonStatus.ACTIVE) -> Person:
    return Person(key, f"First {key}", f"Last {key}", f"{key.lower()}@example.com", status, key.lower())


def _desired(*people: Person, absent: frozenset[str] = frozenset(), title: str = "Nurse") -> Desired:
    jobs = (
        JobAssignment("J-E2-2", "E2", "ORG2", None, "Second job", "E1", None, None, False),
        JobAssignment("J-E2", "E2", "ORG2", None, title, "E1", dt.date(2024, 2, 1), None),
        JobAssignment("J-E1", "E1", "ORG1", None, "Boss", None),
    )
    architecture = Architecture(
        organisations=(Organisation("ORG1", "Head office"), Organisation("ORG2", "Ward", "ORG1")),
        given=frozenset({"organisations"}),
    )
    workforce = Workforce(dt.date(2026, 9, 1), people or (_person("E1"), _person("E2")), jobs, absent)
    return Desired(architecture, workforce)


@pytest.fixture
def site(tmp_path: Path) -> NightlyTotara:
    """A site with frameworks for everything."""
    made = NightlyTotara(tmp_path, OPTIONS)
    made.totara.define("org", "ORGS")
    made.options = replace(made.options, framework_of={"position": "POSITIONS", "organisation": "ORGS"})
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of its own."""
    return Store.open(address(tmp_path / "state.sqlite"))


def _push(site: NightlyTotara, store: Store, desired: Desired) -> PushReport:
    return push("totara", site.connect(), store, desired, INITIAL, Clock(now=lambda: site.moment))


def test_people_and_their_jobs_arrive_in_one_night_with_managers_and_the_primary_first(
    site: NightlyTotara, store: Store
) -> None:
    """Organisations, accounts and jobs go out together; the site's order of elements makes them fit."""
    assert _push(site, store, _desired()).state == "pending"
    site.run_nightly()
    assert _push(site, store, _desired()).state == "done"
    held = site.totara.snapshot()
    assert held["user"]["E2"]["username"] == "e2"
    assert held["jobassignment"]["E2", "J-E2"]["manager"] == "J-E1"
    assert held["jobassignment"]["E2", "J-E2"]["organisation"] == "ORG2"
    assert (held["jobassignment"]["E2", "J-E2"]["order"], held["jobassignment"]["E2", "J-E2-2"]["order"]) == (0, 1)
    taken = site.writes()
    assert _push(site, store, _desired()).state == "done"
    site.run_nightly()
    assert site.writes() == taken


def test_leaving_suspends_and_deletes_nothing(site: NightlyTotara, store: Store) -> None:
    """A terminated person and one confirmed absent are suspended; the accounts stay."""
    _push(site, store, _desired(_person("E1"), _person("E2"), _person("E3")))
    site.run_nightly()
    leaver = replace(_person("E2"), status=PersonStatus.TERMINATED)
    gone = _desired(_person("E1"), leaver, absent=frozenset({"E3"}))
    _push(site, store, gone)
    site.run_nightly()
    assert _push(site, store, gone).state == "done"
    held = site.totara.snapshot()["user"]
    assert [held[key]["suspended"] for key in ("E1", "E2", "E3")] == [False, True, True]
    assert held["E3"]["email"] == "e3@example.com"
    ended = site.totara.snapshot()["jobassignment"]["E2", "J-E2"]["enddate"]
    assert dt.datetime.fromtimestamp(ended, dt.UTC).date() in {dt.date(2026, 8, 31), dt.date(2026, 9, 1)}


def test_deleting_happens_by_rule_only_and_only_for_who_left(site: NightlyTotara, store: Store) -> None:
    """With `erase` for people the leaver's row says deleted=1 and counts as a removal; nobody else is touched."""
    site.totara.configure(user={"allow_delete": 1})
    hrimport = settings_from_mapping({"user": {"allow_delete": 1}}, OPTIONS)
    site.options = replace(site.options, hrimport=hrimport, delete_leavers=True)
    rules = replace(INITIAL, policy=Policy(erase=frozenset({"person"})), unverified=True)
    clock = Clock(now=lambda: site.moment)
    push("totara", site.connect(), store, _desired(), rules, clock)
    site.run_nightly()
    gone = _desired(_person("E1"), replace(_person("E2"), status=PersonStatus.TERMINATED))
    report = push("totara", site.connect(), store, gone, rules, clock)
    assert [(one.action, one.key, one.erase) for one in report.plan.changes] == [(Action.REMOVE, "E2", True)]
    assert touch_of(report.plan.changes[0], site.connect().probe().spec("person")) is Touch.REMOVE
    site.run_nightly()
    assert push("totara", site.connect(), store, gone, rules, clock).state == "done"
    held = site.totara.snapshot()
    assert "E2" not in held["user"]
    assert not held["user"]["E1"]["suspended"]


def test_jobs_with_one_id_number_for_two_people_wait(site: NightlyTotara) -> None:
    """The site would take the one for the other; a remark says so and neither is sent."""
    desired = _desired()
    assert desired.workforce is not None
    twin = JobAssignment("J-E1", "E2", None, None, "Twin")
    workforce = replace(desired.workforce, assignments=(*desired.workforce.assignments, twin))
    found = site.connect().translate(replace(desired, workforce=workforce))
    assert any(one.severity is Severity.WAITS and one.key == "J-E1" for one in found.remarks)


def _create(key: str, parent: str | None = None, **fields: str) -> Change:
    after = {"name": key, "description": "", **fields}
    return Change("organisation", key, Action.CREATE, None, after, tuple(after), parent=parent)


def test_two_files_of_one_kind_before_the_night_become_one(site: NightlyTotara) -> None:
    """The second withdraws the first, carries its rows, and both receipts are answered by one import."""
    port = site.connect()
    first = port.submit([_create("A")])
    second = port.submit([_create("B", "A")])
    assert [one.status for one in port.settle(first)] == [Status.PENDING]
    site.run_nightly()
    assert site.writes() == 1
    assert [one.status for one in port.settle(first)] == [Status.APPLIED]
    assert [one.status for one in port.settle(second)] == [Status.APPLIED]


def test_what_is_renamed_and_moved_at_once_keeps_its_new_name(site: NightlyTotara) -> None:
    """The move carries the texts of before in its change; the row carries those of now."""
    port = site.connect()
    port.submit([_create("A"), _create("B")])
    site.run_nightly()
    before = {"name": "B", "description": ""}
    renamed = Change("organisation", "B", Action.UPDATE, before, {**before, "name": "New"}, ("name",), parent="A")
    moved = Change("organisation", "B", Action.MOVE, before, before, ("parent",), parent="A")
    receipt = port.submit([renamed, moved])
    site.run_nightly()
    assert {one.status for one in port.settle(receipt)} == {Status.APPLIED}
    held = site.totara.state.hierarchy("org").by_idnumber["B"]
    assert (held.fields or {})["fullname"] == "New"
    assert held.parent is not None
    assert held.parent.idnumber == "A"


def test_a_file_already_taken_is_not_merged_but_followed(site: NightlyTotara) -> None:
    """Taken mid-way: the second file waits for the first one's outcome, then goes."""
    port = site.connect()
    first = port.submit([_create("A")])
    site.totara.run_hr_import()
    second = port.submit([_create("B", "A")])
    assert [one.status for one in port.settle(second)] == [Status.PENDING]
    site.run_nightly()
    assert [one.status for one in port.settle(first)] == [Status.APPLIED]
    assert [one.status for one in port.settle(second)] == [Status.PENDING]
    site.run_nightly()
    assert [one.status for one in port.settle(second)] == [Status.APPLIED]


def test_somebody_elses_file_in_the_folder_is_left_alone(site: NightlyTotara) -> None:
    """Ours waits until the site has taken theirs."""
    theirs = site.totara.ready / "org.csv"
    theirs.write_text("idnumber,fullname,frameworkidnumber,timemodified,deleted\nX,X,ORGS,5,0\n", encoding="utf-8")
    port = site.connect()
    receipt = port.submit([_create("A")])
    assert "X,X" in theirs.read_text(encoding="utf-8")
    assert [one.status for one in port.settle(receipt)] == [Status.PENDING]
    site.run_nightly()
    list(port.settle(receipt))
    site.run_nightly()
    assert [one.status for one in port.settle(receipt)] == [Status.APPLIED]
    assert {"X", "A"} <= set(site.totara.state.hierarchy("org").by_idnumber)


def test_a_file_the_site_would_refuse_as_a_whole_is_not_sent(site: NightlyTotara) -> None:
    """Two organisations under each other: preflight stops the file and says why; nothing reaches the folder."""
    port = site.connect()
    receipt = port.submit([_create("A", "B"), _create("B", "A")])
    outcomes = list(port.settle(receipt))
    assert {one.status for one in outcomes} == {Status.REFUSED}
    assert "circularreferror" in outcomes[0].why
    assert list(site.totara.ready.iterdir()) == []


def test_an_import_that_stops_is_told_for_each_change(site: NightlyTotara) -> None:
    """The framework was deleted meanwhile: consumed, not applied, every change refused with the site's words."""
    port = site.connect()
    receipt = port.submit([_create("A")])
    site.totara.state.hierarchy("org").frameworks.clear()
    site.run_nightly()
    outcomes = list(port.settle(receipt))
    assert [one.status for one in outcomes] == [Status.REFUSED]
    assert "framework ORGS does not exist" in outcomes[0].why


def test_a_name_no_file_can_carry_is_refused_alone(site: NightlyTotara) -> None:
    """One row stays here with its reason; the other goes."""
    port = site.connect()
    receipt = port.submit([_create("A", name="a, b\\"), _create("B")])
    site.run_nightly()
    assert {one.key: one.status for one in port.settle(receipt)} == {"A": Status.REFUSED, "B": Status.APPLIED}


def test_what_no_fresh_report_shows_is_not_read(site: NightlyTotara) -> None:
    """A report older than the last import is no evidence: the kind is not readable until the next export."""
    port = site.connect()
    port.submit([_create("A")])
    site.run_nightly()
    assert port.probe().spec("organisation").readable
    port.submit([_create("B")])
    site.moment += 86_400
    site.totara.run_hr_import()
    assert not port.probe().spec("organisation").readable
    with pytest.raises(StopRun, match="report"):
        list(port.read("organisation"))
    assert not port.probe().spec("person").readable


def test_check_names_what_is_missing(site: NightlyTotara) -> None:
    """Without reports the findings say which to schedule; a folder that is not there blocks."""
    findings = {one.subject: one for one in site.connect().probe().findings}
    assert findings["HR Import folder"].ok
    assert "Schedule" in findings["sync log report"].remedy
    lost = TotaraConnector(replace(site.options, filesdir=site.options.filesdir / "nowhere"))
    assert any(one.blocking for one in lost.probe().findings)


class _Killed(BaseException):
    """The process dies here."""


class _Dying(FolderDrop):
    """Dies before the n-th operation on the site's folder."""

    def __init__(self, filesdir: Path, at: int) -> None:
        super().__init__(filesdir)
        self.left = at

    def _step(self, do: Callable[[], None]) -> None:
        self.left -= 1
        if self.left == 0:
            raise _Killed
        do()

    def put(self, source: Path, temporary: str) -> None:
        """Copy, or die."""
        self._step(lambda: super(_Dying, self).put(source, temporary))

    def rename(self, temporary: str, name: str) -> None:
        """Rename, or die."""
        self._step(lambda: super(_Dying, self).rename(temporary, name))

    def remove(self, name: str) -> None:
        """Remove, or die."""
        self._step(lambda: super(_Dying, self).remove(name))


@pytest.mark.parametrize("at", range(1, 11))
def test_killed_anywhere_the_rerun_ends_in_the_same_state(site: NightlyTotara, store: Store, at: int) -> None:
    """Died at any step on the site's folder: pushing again until it is done leaves what an undisturbed push leaves."""
    desired = Desired(company.architecture(), _desired().workforce)
    model = replace(company.architecture(), organisations=_desired().architecture.organisations)
    desired = replace(desired, architecture=replace(model, given=model.given | {"organisations"}))
    port = TotaraConnector(site.options, drop=_Dying(site.options.filesdir, at), clock=lambda: site.moment)
    clock = Clock(now=lambda: site.moment)
    try:
        push("totara", port, store, desired, INITIAL, clock)
    except _Killed:
        site.moment += 3600
    for _ in range(5):
        site.run_nightly()
        site.moment += 3 * 86_400
        report = push("totara", site.connect(), store, desired, INITIAL, clock)
    assert report.state == "done"
    taken = site.writes()
    site.run_nightly()
    assert push("totara", site.connect(), store, desired, INITIAL, clock).state == "done"
    assert site.writes() == taken
    held = site.totara.snapshot()
    assert sorted(held["comp"]) == sorted(one.idnumber for one in company.COMPETENCIES)
    assert sorted(held["org"]) == ["ORG1", "ORG2"]
    assert sorted(held["jobassignment"]) == [("E1", "J-E1"), ("E2", "J-E2"), ("E2", "J-E2-2")]
    assert held["jobassignment"]["E2", "J-E2"]["order"] == 0


@pytest.mark.parametrize(("framework", "key"), [("CARE", "CARE/C0.1.0"), ("", "C0.1.0")])
def test_ratings_come_back_where_no_report_shows_the_competencies(
    site: NightlyTotara, tmp_path: Path, framework: str, key: str
) -> None:
    """The framework of the settings stands in, else the id number alone: nothing is dropped without a word."""
    folder = tmp_path / "ratings"
    folder.mkdir()
    (folder / "Ratings_21112026_1.csv").write_text(
        "user_idnumber,competency_idnumber,competency_status_scale_value_name,competency_status_proficient\n"
        "E1,C0.1.0,Competent,Proficient\n",
        encoding="utf-8",
    )
    site.options = replace(
        site.options,
        reports=folder,
        result_reports=(ReportSource("Ratings", "competency_status"),),
        level_names={"Competent": 3},
        framework_of={"competency": framework} if framework else {},
    )
    found = [one for page in site.connect().pull(PullScope()) for one in page.results]
    assert [(one.person, one.competency, one.level) for one in found] == [("E1", key, 3)]
