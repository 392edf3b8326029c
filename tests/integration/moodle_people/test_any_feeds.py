"""Any feed, and any feeds in a row, from the file to the site: what holds whatever they say."""

from __future__ import annotations

import csv
import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bridge.feed_settings import FeedSettings, TrustSettings
from bridge.model import Architecture, Desired, Requirement, Target
from bridge.sync.clock import Clock
from bridge.sync.policy import Limit, Limits, Touch
from bridge.sync.push import push
from bridge.sync.running import Rules
from jobs.ingest import FeedContext, Incoming, ingest
from jobs.workforce import workforce
from mappings.positions import ListedDecisions, PositionFinder
from tests.contract.conformance import company
from tests.integration.moodle_people.site import Place, place
from tests.integration.moodle_people.small import STRUCTURE, UNITS

TODAY = dt.date(2026, 12, 31)
KINDS = ("framework", "competency", "user", "cohort", "cohort_member", "plan", "linked_plan", "plan_competency")
FREE = Limit(10**6, 100, 10**6)
"""A handful of people: every night touches most of them."""
RULES = Rules(limits=Limits({f"{kind}.{touch.value}": FREE for kind in KINDS for touch in Touch}, initial=True))
SETTINGS = FeedSettings(trust=TrustSettings(maximum_drop=100, maximum_rejected=100, minimum_in_common=0))
HEADERS = (
    "employee_id",
    "first_name",
    "last_name",
    "email",
    "job_title",
    "department_code",
    "effective_date",
    "status",
)

POSITIONS = {"Nurse": "N1", "Ward manager": "N2", "Stationsschwester": "N1", "Astronaut": None}
"""Titles: two of the catalogue, one that was decided, one that nobody knows."""
DECISIONS = ListedDecisions([("Stationsschwester", "", "N1")])
ANCHOR = ("E9", "Anna", "Anker", "e9@ward.example", "Nurse", "WARD", "", "active")
"""Somebody who is in every file, since an empty one is not believed."""


@dataclass(frozen=True)
class Line:
    """One row of a file."""

    person: int
    first_name: str
    variant: int
    title: str
    unit: str
    effective: str
    status: str
    broken: bool

    @property
    def key(self) -> str:
        """The person's number."""
        return f"E{self.person}"

    @property
    def last_name(self) -> str:
        """A name that is nobody else's."""
        return f"Nr {self.person}" + " née X" * self.variant

    @property
    def email(self) -> str:
        """An address that is nobody else's; broken ones are none."""
        return f"e{self.person}{'.x' * self.variant}{' ' if self.broken else ''}@ward.example"

    @property
    def taken(self) -> bool:
        """Whether the row says something today."""
        return not self.broken and self.effective <= TODAY.isoformat()

    def cells(self) -> tuple[str, ...]:
        """Return the row as it is written."""
        return (
            self.key, self.first_name, self.last_name, self.email, self.title, self.unit, self.effective, self.status,
        )  # fmt: skip


SOMEBODY_NEW = Line(8, "Nova", 0, "Nurse", "TOP", "", "active", False)
"""So that a third file is another one."""


def feeds() -> st.SearchStrategy[list[Line]]:
    """Any file of up to five people."""
    line = st.builds(
        Line,
        person=st.integers(1, 5),
        first_name=st.sampled_from(["Ada", "Şule", "Jean-Luc", "O'Neil", "李"]),
        variant=st.integers(0, 1),
        title=st.sampled_from(sorted(POSITIONS)),
        unit=st.sampled_from(["TOP", "WARD"]),
        effective=st.sampled_from(["", "", "2026-12-31", "2027-02-01"]),
        status=st.sampled_from(["active", "active", "active", "on leave", "terminated"]),
        broken=st.sampled_from([False, False, False, False, True]),
    )
    return st.lists(line, max_size=5, unique_by=lambda one: one.person)


def model() -> Architecture:
    """Return a small company in which everybody needs something."""
    whole = company.architecture()
    everyone = Requirement(Target.EVERYONE, "", whole.competencies[1].key, 2)
    nurses = Requirement(Target.POSITION, "N1", whole.competencies[6].key, 2)
    return replace(
        whole, organisations=UNITS, positions=STRUCTURE.positions, requirements=(everyone, nurses),
        related=(), rules=(), given=company.GIVEN | {"organisations", "requirements"},
    )  # fmt: skip


class Night:
    """A site of its own and a feed of its own, on a Moodle and a store that many share one after another."""

    numbers = itertools.count()

    def __init__(self, here: Place) -> None:
        self.here = here
        self.name = f"n{next(self.numbers)}"
        moodle = here.moodle
        moodle.reset()
        for scale in company.SCALES:
            moodle.seed.scale(scale.name, [item.label for item in scale.items])
        self.model = model()

    def take(self, lines: Sequence[Line], stamp: int) -> None:
        """Take a file in."""
        path = self.here.folder / f"{self.name}_{stamp}.csv"
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(HEADERS)
            writer.writerows([*(line.cells() for line in lines), ANCHOR])
        units = frozenset(unit.key for unit in UNITS)
        context = FeedContext(self.name, SETTINGS, units=units, finder=self._finder())
        result = ingest(self.here.store, context, Incoming.of_path(path), TODAY)
        assert result.state in ("accepted", "identical"), result
        path.unlink()

    def _finder(self) -> PositionFinder:
        return PositionFinder(self.model.positions, DECISIONS)

    def push(self) -> dict[str, Any]:
        """Push, then push once more, which must change nothing; return what the site holds."""
        for again in (False, True):
            self.here.moodle.requests.reset()
            people = workforce(self.here.store, [self.name], TODAY, {self.name: self._finder()})
            connector = self.here.connector(plan_rotation_days=1)
            report = push(self.name, connector, self.here.store, Desired(self.model, people), RULES, Clock())
            connector.close()
            assert report.state == "done", report.tally.refused
            if again:
                assert (report.plan.changes, self.here.writes()) == ([], 0)
        return self.held()

    def held(self) -> dict[str, Any]:
        """Return each person's account, memberships and plans."""
        db = self.here.moodle.db
        found = {}
        for user in db.users:
            if user["idnumber"]:
                cohorts = {
                    db.cohorts.rows[m["cohortid"]]["idnumber"] for m in db.cohort_members if m["userid"] == user["id"]
                }
                plans = [
                    (plan["id"], plan["status"], plan["description"])
                    for plan in db.plans
                    if plan["userid"] == user["id"]
                ]
                names = ("id", "firstname", "lastname", "email", "suspended", "deleted", "username")
                account = {name: user[name] for name in names}
                found[user["idnumber"]] = {"account": account, "cohorts": cohorts, "plans": plans}
        return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A simulated Moodle and a store for all of them."""
    with place(tmp_path_factory.mktemp("any")) as found:
        yield found
        found.store.close()


def as_it_says(line: Line, before: Any, after: Any) -> None:
    """Check that somebody's account, memberships and plan are as a good row says."""
    account, cohorts = after["account"], after["cohorts"]
    if line.status == "terminated":
        assert account["suspended"]
        assert before is None or cohorts == before["cohorts"]
        return
    assert (account["firstname"], account["lastname"]) == (line.first_name, line.last_name)
    assert (account["email"], bool(account["suspended"])) == (line.email, False)
    assert {cohort for cohort in cohorts if cohort.startswith("org:")} == {f"org:{line.unit}"}
    jobs = {cohort for cohort in cohorts if cohort.startswith("pos:")}
    position = POSITIONS[line.title]
    if position is None:
        assert jobs == (set() if before is None else {c for c in before["cohorts"] if c.startswith("pos:")})
        return
    assert jobs == {f"pos:{position}"}
    assert [
        text.count(f"[lms-bridge: {line.key}|{position}]") for _, status, text in after["plans"] if status == 1
    ] == [1]


def check(here: Place, first: list[Line], second: list[Line]) -> None:
    """Follow two files, and a third that lacks whom the second lacks."""
    night = Night(here)
    night.take(first, 1)
    one = night.push()
    said = {line.key: line for line in first}
    for line in first:
        if line.taken and line.status != "terminated":
            as_it_says(line, None, one[line.key])
        else:
            assert line.key not in one, (
                "nobody is given an account by a row that is refused, waits or tells of a leaver"
            )
    night.take(second, 2)
    two = night.push()
    named = {line.key: line for line in second}
    for line in second:
        before = one.get(line.key)
        if not line.taken:
            assert two.get(line.key) == before, "a refused row, or one to come, costs its person nothing"
        elif line.status == "terminated" and before is None:
            assert line.key not in two
        else:
            as_it_says(line, before, two[line.key])
    for key in one.keys() - named.keys():
        assert two[key] == one[key], "missing once is not gone"
    night.take([*reversed(second), SOMEBODY_NEW], 3)
    three = night.push()
    for key in one:
        assert three[key]["account"]["id"] == one[key]["account"]["id"]
        assert not three[key]["account"]["deleted"]
    for key in (said.keys() & one.keys()) - named.keys() - {"E8"}:
        assert three[key]["account"]["suspended"], "missing twice is gone"
        assert (three[key]["cohorts"], three[key]["plans"]) == (one[key]["cohorts"], one[key]["plans"])
    for key in named:
        assert three.get(key) == two.get(key)


SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=SUPPRESSED,
          phases=(Phase.explicit, Phase.generate))  # fmt: skip
@given(first=feeds(), second=feeds())
def test_any_two_feeds_end_as_the_second_says_and_cost_the_others_nothing(
    here: Place, first: list[Line], second: list[Line]
) -> None:
    """Pushed twice nothing is written the second time; who is missing twice is suspended, with their history whole."""
    check(here, first, second)


@pytest.mark.sweep
@pytest.mark.timeout(7200)
@settings(max_examples=400, deadline=None, suppress_health_check=SUPPRESSED)
@given(first=feeds(), second=feeds())
def test_many_pairs_of_feeds_end_as_the_second_says(here: Place, first: list[Line], second: list[Line]) -> None:
    """The same, of many more."""
    check(here, first, second)
