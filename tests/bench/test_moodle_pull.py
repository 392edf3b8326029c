"""How many requests a pull from Moodle takes, on a site as slow as the measured one, with 30 ms of network."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from bridge.model import CourseCompletion
from bridge.ports import PullScope
from connectors.moodle import MoodleConnector, MoodleOptions
from connectors.simulators.moodle import CostModel, MoodleSimulator, SimulatorConfig

pytestmark = pytest.mark.bench


@pytest.fixture
def moodle() -> Iterator[MoodleSimulator]:
    """A site as measured: 4 workers, 11 ms a request, 4 ms a write of which 2.1 ms under one lock."""
    with MoodleSimulator(SimulatorConfig(latency=0.03, cost=CostModel.measured())) as site:
        yield site


def connect(moodle: MoodleSimulator, **options: object) -> MoodleConnector:
    """Return a connector."""
    return MoodleConnector(MoodleOptions(moodle.url, SecretStr(moodle.token), **options))  # type: ignore[arg-type]  # by test


def test_a_pull_takes_a_handful_of_requests(moodle: MoodleSimulator) -> None:
    """300 people in 20 courses: first pull, a night without news, and without a report."""
    people, courses = moodle.seed.users(300), moodle.seed.courses(20)
    moodle.seed.enrolments(people, courses)
    moodle.seed.completion_report()
    kinds = frozenset({"completions"})
    told = {}
    for name, scope, report in (
        ("first", PullScope(kinds=kinds), ""),
        ("nothing new", PullScope(since=moodle.site.now() + 3 * 86_400, kinds=kinds), ""),
        ("no report", PullScope(kinds=kinds), "there is none"),
    ):
        connector = connect(moodle, completion_report=report)
        start = time.perf_counter()
        found = [one for page in connector.pull(scope) for one in page.results if isinstance(one, CourseCompletion)]
        told[name] = (len(found), connector.requests_sent, time.perf_counter() - start)
        connector.close()
        print(f"\npull, {name}: {told[name][0]:,} completions in {told[name][1]} requests, {told[name][2]:.1f} s")
    assert told["first"][1] <= 5
    assert told["nothing new"][1] <= 3
    assert told["no report"][1] <= 300 / 20 + told["no report"][0] / 50
