"""How many requests the people of the sample company take, first night and unchanged night, printed for `make bench`.

Counts, not times: what a request costs is the network's and the server's affair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.sync.plan import Scope
from bridge.sync.policy import Limits
from bridge.sync.push import push
from bridge.sync.running import Rules
from tests.integration.moodle_people import northwind
from tests.integration.moodle_people.site import PEOPLE, Place, place

PLANS = frozenset({"plan", "linked_plan", "plan_competency"})
DAY = 86_400.0


class Nights:
    """A clock that stands still at one night after another."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        """Return the night's time."""
        return self.at

    def sleep(self, seconds: float) -> None:
        """Let no time pass."""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    """A simulated Moodle that holds the sample's competencies."""
    with place(tmp_path) as found:
        found.push(northwind.day(1, model=northwind.architecture()), frozenset({"framework", "competency"}))
        yield found


def night(here: Place, number: int, kinds: frozenset[str], clock: Nights) -> tuple[Any, int, Counter[str]]:
    """Push one day's feed; return the report, how many requests it took, and which functions they called."""
    here.moodle.requests.reset()
    desired = northwind.day(number, model=northwind.architecture())
    rules = Rules(limits=Limits(initial=True), scope=Scope(kinds))
    report = push("here", here.connector(), here.store, desired, rules, clock)
    stats = here.moodle.requests.stats()
    return report, int(stats["requests"]), Counter(stats["inner_by_function"]) + Counter(stats["by_function"])


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_requests_for_4000_people(here: Place) -> None:
    """First night, unchanged nights, all plans read back within the rotation, and the second day's feed."""
    clock = Nights()
    report, requests, _ = night(here, 1, PEOPLE, clock)
    one_by_one = 4_000 + 1_215 + 8_000
    print(f"\npeople, first night: {requests} requests; one by one {one_by_one:,}")
    assert report.state == "done"
    report, requests, _ = night(here, 1, PEOPLE, clock)
    print(f"people, unchanged night: {requests} requests, {here.writes()} writes")
    assert (report.plan.changes, here.writes()) == ([], 0)
    assert requests <= 25

    report, requests, called = night(here, 1, PEOPLE | PLANS, clock)
    plans, contents = called["core_competency_create_plan"], called["core_competency_add_competency_to_plan"]
    print(f"plans, first night: {requests} requests for {plans:,} plans with {contents:,} competencies in them")
    assert report.state == "done"
    assert requests * 40 < plans + contents

    looked_at = 0
    for _ in range(7):
        clock.at += DAY
        report, requests, called = night(here, 1, PEOPLE | PLANS, clock)
        looked_at += called["core_competency_list_plan_competencies"]
        read = called["core_competency_list_plan_competencies"]
        print(f"plans, unchanged night: {requests} requests, {read:,} of {plans:,} plans read back")
        assert (report.plan.changes, here.writes()) == ([], 0)
        assert requests <= 60
    assert looked_at == plans

    clock.at += DAY
    report, requests, _ = night(here, 2, PEOPLE | PLANS, clock)
    print(f"second day: {requests} requests for {sum(map(sum, _values(report)))} changes")
    assert report.state == "done"


def _values(report: Any) -> list[list[int]]:
    return [list(actions.values()) for actions in report.plan.counts().values()]
