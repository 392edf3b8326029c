"""What the Moodle connector costs against a site that takes as long as the measured one, with 30 ms of network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from bridge.model import Architecture, CourseCompletion, Desired
from bridge.ports import Change, PullScope, Status
from connectors.moodle import MoodleConnector, MoodleOptions
from connectors.simulators.moodle import CostModel, MoodleSimulator, SimulatorConfig
from jobs.architecture import read_architecture
from tests.integration.moodle.test_structure import creations

pytestmark = pytest.mark.bench

SAMPLE = Path(__file__).parents[2] / "samples" / "company"
ONE_BY_ONE = 120
"""Competencies made one at a time for the comparison; their time is scaled up to all."""


@pytest.fixture(scope="module")
def sample() -> Architecture:
    """The sample company."""
    return read_architecture(SAMPLE).architecture


@pytest.fixture
def moodle(sample: Architecture) -> Iterator[MoodleSimulator]:
    """A site as measured: 4 workers, 11 ms a request, 4 ms a write of which 2.1 ms under one lock."""
    with MoodleSimulator(SimulatorConfig(latency=0.03, cost=CostModel.measured())) as site:
        for scale in sample.scales:
            site.seed.scale(scale.name, [item.label for item in scale.items])
        yield site


def connect(moodle: MoodleSimulator, **options: object) -> MoodleConnector:
    """Return a connector."""
    return MoodleConnector(MoodleOptions(moodle.url, SecretStr(moodle.token), **options))  # type: ignore[arg-type]  # by test


def made(connector: MoodleConnector, changes: list[Change]) -> float:
    """Carry changes out, all of which must succeed; return the seconds it took."""
    start = time.perf_counter()
    outcomes = list(connector.settle(connector.submit(changes)))
    took = time.perf_counter() - start
    assert {outcome.status for outcome in outcomes} == {Status.APPLIED}
    assert len(outcomes) == len(changes)
    return took


def test_a_push_is_fifteen_times_as_fast_as_one_call_at_a_time(moodle: MoodleSimulator, sample: Architecture) -> None:
    """2,495 competencies over four connections, in order, and read back in four requests."""
    connector = connect(moodle)
    items = connector.translate(Desired(sample)).items
    made(connector, creations(items, ["framework"]))
    changes = creations(items, ["competency"])
    before = connector.requests_sent
    fast = made(connector, changes)
    requests = connector.requests_sent - before
    assert moodle.requests.stats()["in_flight_high"] <= 4
    connector.close()

    reader = connect(moodle)
    found = [one for kind in ("framework", "competency") for one in reader.read(kind)]
    reads = reader.requests_sent
    reader.close()
    wanted = {item.key: dict(item.fields) for item in items if item.kind in ("framework", "competency")}
    assert {one.key: dict(one.fields) for one in found} == wanted
    assert reads <= 4

    moodle.reset()
    for scale in sample.scales:
        moodle.seed.scale(scale.name, [item.label for item in scale.items])
    slow = connect(moodle, connections=1, batch_size=1)
    slow.translate(Desired(sample))
    made(slow, creations(items, ["framework"]))
    each = made(slow, changes[:ONE_BY_ONE]) / ONE_BY_ONE
    slow.close()
    ratio = each * len(changes) / fast
    print(
        f"\npush of {len(changes):,} competencies: {fast:.1f} s in {requests} requests, "
        f"one at a time {each * len(changes):.0f} s: {ratio:.1f} times as fast; read back in {reads} requests"
    )
    assert ratio >= 15


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
