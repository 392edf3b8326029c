"""Files that end too early, are empty or of another company, sent once: nobody is touched at the site for that."""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Iterator

import pytest

from bridge.feed_settings import FeedSettings
from bridge.model import Desired
from bridge.ports import Action, Change
from bridge.store import Store
from bridge.sync.clock import Clock
from bridge.sync.plan import ChangePlan
from bridge.sync.push import preview
from connectors.tables import open_table
from jobs.ingest import FeedContext, Incoming, IngestResult, ingest
from jobs.workforce import FeedQuarantined, workforce
from mappings.positions import ListedDecisions, PositionFinder
from tests.databases import databases
from tests.integration.moodle_people import northwind
from tests.integration.moodle_people.northwind import AS_OF, SAMPLE
from tests.integration.moodle_people.site import PEOPLE, Place, place

DAY1, DAY2 = SAMPLE / "hris_people_day1.csv", SAMPLE / "hris_people_day2.csv"


class Site:
    """A site that holds everybody of the first day, and what the bridge knew then."""

    def __init__(self, here: Place) -> None:
        self.here = here
        structure = northwind.structure()
        units = frozenset(unit.key for unit in structure.organisations)
        with open_table(SAMPLE / "title_truth.csv") as table:
            decided = ListedDecisions.from_rows(table.rows)
        self.finders = {"hr": PositionFinder(structure.positions, decided)}
        self.context = FeedContext("hr", FeedSettings(), units=units)
        self.day1 = {row["employee_id"]: row for row in northwind.rows(DAY1.name)}

    def take(self, store: Store, content: bytes) -> IngestResult:
        """Take a file in."""
        path = self.here.folder / "people.csv"
        path.write_bytes(content)
        return ingest(store, self.context, Incoming.of_path(path), AS_OF)

    def wanted(self, store: Store) -> Desired:
        """Return what the site should say by what was accepted."""
        return Desired(northwind.structure(), workforce(store, ["hr"], AS_OF, self.finders))

    def after(self, content: bytes) -> tuple[IngestResult, ChangePlan | None]:
        """Return what becomes of a file, and the plan of the night after it; none where nothing may be pushed."""
        folder = self.here.folder / "copy"
        folder.mkdir()
        store = Store.open(databases.copy(self.here.url, folder / "state.sqlite"))
        try:
            result = self.take(store, content)
            try:
                desired = self.wanted(store)
            except FeedQuarantined:
                assert result.state == "quarantined"
                return result, None
            plan = preview("here", self.here.connector(), store, desired, self.here.rules(PEOPLE, False), Clock())
            return result, plan
        finally:
            store.close()
            databases.finish(folder)
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Everybody of the first day, taken in and pushed."""
    with place(tmp_path_factory.mktemp("cut")) as here:
        site = Site(here)
        assert site.take(here.store, DAY1.read_bytes()).created == 4000
        assert here.push(site.wanted(here.store)).state == "done"
        here.store.close()  # so that the file alone holds everything
        yield site


def suspends(change: Change) -> bool:
    """Say whether a change closes somebody's account."""
    return change.kind == "user" and change.action is Action.UPDATE and "suspended" in change.fields


def check(site: Site, content: bytes) -> ChangePlan | None:
    """Take a file in, once, and check that the plan after it touches nobody whom the file lacks."""
    result, plan = site.after(content)
    assert result.absent == 0
    if plan is None:
        return None
    whole = [line for line in content.decode("utf-8", "replace").splitlines(keepends=True) if line.endswith("\n")]
    told = {row["employee_id"]: row for row in csv.DictReader(whole)}
    for change in plan.changes:
        assert change.kind in PEOPLE
        if change.kind == "cohort":
            continue
        person = change.key.partition("|")[0]
        assert person in told, f"{change.kind} {change.key} would change although the file does not list the person"
        if suspends(change):
            assert told[person]["status"] == "terminated"
        if change.kind == "cohort_member" and change.action is Action.REMOVE:
            before, after = site.day1[person], told[person]
            assert (before["department_code"], before["job_title"]) != (after["department_code"], after["job_title"])
    return plan


def cut_after(rows: int) -> bytes:
    """Return the second day's file up to and with a row."""
    return b"".join(DAY2.read_bytes().splitlines(keepends=True)[: rows + 1])


def test_the_whole_second_day_suspends_those_it_calls_terminated_and_moves_those_it_moves(site: Site) -> None:
    """What the check below lets pass is really there: 25 suspended, 60 who leave a unit's cohort."""
    plan = check(site, DAY2.read_bytes())
    assert plan is not None
    suspended = [change for change in plan.changes if suspends(change)]
    left = [change for change in plan.changes if change.kind == "cohort_member" and change.action is Action.REMOVE]
    assert len(suspended) == 25
    assert len([change for change in left if "|org:" in change.key]) == 60


@pytest.mark.parametrize("rows", [2000, 3599, 3650])
def test_a_file_cut_at_a_row_costs_nobody_their_account_or_a_cohort(site: Site, rows: int) -> None:
    """Far too short, just too short, and long enough to be believed."""
    plan = check(site, cut_after(rows))
    assert (plan is None) == (rows < 3600), "at most a tenth may be missing"


@pytest.mark.parametrize("seed", range(1))
def test_a_file_cut_at_a_byte_costs_nobody_their_account_or_a_cohort(site: Site, seed: int) -> None:
    """In the last tenth, where the file is believed; mostly in the middle of a row."""
    content = DAY2.read_bytes()
    assert check(site, content[: random.Random(seed).randrange(len(content) * 91 // 100, len(content))]) is not None


@pytest.mark.parametrize(
    "content",
    [b"", DAY2.read_bytes().partition(b"\n")[0] + b"\n", DAY2.read_bytes().replace(b"E0", b"Q0")],
    ids=["empty", "header only", "another company"],
)
def test_after_a_file_that_is_none_of_ours_nothing_is_planned_at_all(site: Site, content: bytes) -> None:
    """An empty one, one with nothing but headers, one of another company: the feed is in quarantine."""
    assert check(site, content) is None


@pytest.mark.sweep
@pytest.mark.timeout(7200)
def test_a_file_cut_anywhere_costs_nobody_their_account_or_a_cohort(site: Site) -> None:
    """At every fiftieth row, and at 200 bytes that chance chooses."""
    content = DAY2.read_bytes()
    chance = random.Random(20261231)
    cuts = [cut_after(rows) for rows in range(0, 4011, 50)] + [
        content[: chance.randrange(len(content))] for _ in range(200)
    ]
    planned = sum(check(site, cut) is not None for cut in cuts)
    print(f"{len(cuts)} cuts: {planned} believed and planned, {len(cuts) - planned} in quarantine, nobody touched")
    assert 0 < planned < len(cuts)
