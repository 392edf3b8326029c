"""How few requests the main job takes: counted at the server, so that no cleverness of the client can hide one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from bridge.model import Desired
from bridge.store import Store, results
from bridge.sync.clock import Clock
from bridge.sync.pull import PullOrder, pull
from bridge.sync.push import push
from bridge.sync.running import Rules
from connectors.moodle.connector import MoodleConnector
from connectors.moodle.options import MoodleOptions
from connectors.simulators.moodle import MoodleSimulator
from jobs.push import read_model
from tests.acceptance.program import COMPANY, scales
from tests.databases import address

COMPLETIONS = PullOrder(kinds=frozenset({"completions"}))


@pytest.fixture
def moodle() -> Iterator[MoodleSimulator]:
    """A site with 300 people, 20 courses, 3,000 enrolments and 1,500 completions, and the sample's scales."""
    with MoodleSimulator() as made:
        made.seed.reference_site()
        for name, labels in scales(COMPANY):
            made.seed.scale(name, labels)
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of its own."""
    made = Store.open(address(tmp_path / "state.sqlite"))
    yield made
    made.close()


@pytest.fixture
def port(moodle: MoodleSimulator) -> Iterator[MoodleConnector]:
    """A connector to the site, as set up by default."""
    made = connect(moodle)
    yield made
    made.close()


def connect(moodle: MoodleSimulator) -> MoodleConnector:
    """Return a connector to the site, as set up by default."""
    return MoodleConnector(MoodleOptions(url=moodle.url, token=SecretStr(moodle.token)))


def test_reading_the_whole_competency_model_back_takes_at_most_four_requests(
    moodle: MoodleSimulator, store: Store, port: MoodleConnector
) -> None:
    """Two frameworks and 2,495 competencies, by a connector that knows nothing yet; at most 4 connections."""
    model = read_model(COMPANY).architecture
    bare = replace(
        model, positions=(), requirements=(), course_links=(), related=(), rules=(), given=frozenset({"competencies"})
    )
    assert push("here", port, store, Desired(bare), Rules(), Clock()).state == "done"
    assert moodle.requests.in_flight_high <= 4
    fresh = connect(moodle)
    moodle.requests.reset()
    frameworks = list(fresh.read("framework"))
    competencies = list(fresh.read("competency"))
    fresh.close()
    assert (len(frameworks), len(competencies)) == (2, 2495)
    assert moodle.requests.total <= 4


def test_the_first_pull_of_completions_takes_at_most_five_requests_where_the_report_exists(
    moodle: MoodleSimulator, store: Store, port: MoodleConnector
) -> None:
    """300 people in 20 courses, every completion with its time."""
    moodle.seed.completion_report()
    report = pull("here", port, store, COMPLETIONS, Rules(), Clock())
    assert report.new["completions"] == 1500
    assert moodle.requests.total <= 5


def test_a_pull_with_nothing_new_takes_at_most_three_requests(
    moodle: MoodleSimulator, store: Store, port: MoodleConnector
) -> None:
    """However many people there are: the window is asked for, not the people."""
    moodle.seed.completion_report()
    pull("here", port, store, COMPLETIONS, Rules(), Clock())
    fresh = connect(moodle)
    moodle.requests.reset()
    report = pull("here", fresh, store, COMPLETIONS, Rules(), Clock())
    fresh.close()
    assert report.since is not None
    assert report.new["completions"] == 0
    assert moodle.requests.total <= 3


def test_without_the_report_a_pull_takes_one_request_per_twenty_people_and_per_fifty_completions(
    moodle: MoodleSimulator, store: Store, port: MoodleConnector
) -> None:
    """Slower, but complete: every completion is found, with its time."""
    report = pull("here", port, store, COMPLETIONS, Rules(), Clock())
    assert report.new["completions"] == 1500
    with store.read() as connection:
        found = list(results.live_results(connection, "here", "completions"))
    assert all(row["completed_at"] for row in found)
    assert moodle.requests.total <= math.ceil(300 / 20) + math.ceil(1500 / 50)


def test_without_the_report_times_are_asked_for_of_new_completions_only(
    moodle: MoodleSimulator, store: Store, port: MoodleConnector
) -> None:
    """What the store knows is not asked for again, and what came since is found with its time."""
    pull("here", port, store, COMPLETIONS, Rules(), Clock())
    status = "core_completion_get_course_completion_status"
    assert moodle.requests.inner_by_function[status] == 1500
    moodle.requests.reset()
    report = pull("here", connect(moodle), store, COMPLETIONS, Rules(), Clock())
    assert report.since is not None
    assert moodle.requests.inner_by_function[status] == 0
    assert moodle.requests.total <= 3 + math.ceil(300 / 20)
    enrolled = next(
        row for row in moodle.db.enrolments if not moodle.db.completions.find("pair", (row["courseid"], row["userid"]))
    )
    moodle.seed.complete(enrolled["courseid"], enrolled["userid"], int(moodle.site.now()))
    moodle.requests.reset()
    report = pull("here", connect(moodle), store, COMPLETIONS, Rules(), Clock())
    assert report.new["completions"] == 1
    assert moodle.requests.inner_by_function[status] + moodle.requests.by_function[status] == 1
