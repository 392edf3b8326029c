"""Whole pushes into a site that fails: what each fault makes of the run, of the journal, and of the run after it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bridge.model import Desired
from bridge.ports import BridgeError
from bridge.store import Store, journal
from bridge.sync.clock import Clock
from bridge.sync.push import PushReport, push
from bridge.sync.running import Rules
from connectors.http import Timeouts
from connectors.moodle import MoodleConnector, MoodleOptions
from connectors.simulators.moodle import MoodleSimulator
from connectors.simulators.moodle.faults import KINDS
from jobs.push import read_model
from tests.acceptance.program import COMPANY, scales, small_model
from tests.databases import address

SEED = 20261126

PASSING = {"http_503", "sitemaintenance", "http_429", "dbconnectionfailed", "deadlock", "oversize_xml"}
"""Struck once, these cost time and nothing else."""

ENDING = {"invalidtoken", "empty_403", "accessexception"}
"""These end the run: nothing can work until somebody has mended it."""

CREATE = "core_competency_create_competency"

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def desired(tmp_path_factory: pytest.TempPathFactory) -> Desired:
    """A part of the sample company."""
    folder = small_model(tmp_path_factory.mktemp("faults") / "model", competencies=60, positions=2)
    return Desired(read_model(folder).architecture)


@pytest.fixture
def moodle() -> Iterator[MoodleSimulator]:
    """A site with the sample's scales."""
    with fresh() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of its own."""
    made = Store.open(address(tmp_path / "state.sqlite"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def uninterrupted(desired: Desired, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, int]:
    """What a push without faults leaves, and how many requests it takes."""
    made = Store.open(address(tmp_path_factory.mktemp("calm") / "state.sqlite"))
    with fresh() as moodle:
        assert run(moodle, made, desired).state == "done"
        made.close()
        return held(moodle), moodle.requests.total


def fresh() -> MoodleSimulator:
    """Return a site with the sample's scales."""
    moodle = MoodleSimulator()
    for name, labels in scales(COMPANY):
        moodle.seed.scale(name, labels)
    return moodle


def run(moodle: MoodleSimulator, store: Store, desired: Desired) -> PushReport:
    """Push once, with a connector of its own that waits for little."""
    options = MoodleOptions(
        moodle.url, SecretStr(moodle.token), batch_size=8, server_limit=0.05, timeouts=Timeouts(connect=2.0, read=0.5)
    )
    port = MoodleConnector(options, sleep=lambda _seconds: None)
    try:
        return push("here", port, store, desired, Rules(), Clock())
    finally:
        port.close()


def held(moodle: MoodleSimulator) -> dict[str, Any]:
    """Return what the site holds, by keys and names, and how many rows that is in each table."""
    tables = moodle.db.tables()
    counted = {name: len(tables[name].rows) for name in ("competencies", "frameworks", "templates")}
    return {"held": moodle.comparable(), "rows": counted}


def test_the_kinds_of_fault_are_all_there(uninterrupted: tuple[Any, int]) -> None:
    """Time-outs, resets, cut answers, gateways, maintenance, too many requests, tokens: and each is tried below."""
    assert set(KINDS) > PASSING | ENDING
    assert uninterrupted[1] > 15


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turn", range(2))
def test_a_fault_leaves_a_true_journal_and_the_next_push_completes_the_work(
    moodle: MoodleSimulator, store: Store, desired: Desired, uninterrupted: tuple[Any, int], kind: str, turn: int
) -> None:
    """Retried, skipped or stopped as its class says, in words; afterwards the site equals an untroubled one."""
    wanted, requests = uninterrupted
    chance = random.Random(f"{SEED} {kind} {turn}")
    # Beyond the first requests, which only read: there a fault is felt by writes.
    at = chance.randrange(8, requests)
    lasts = kind in ENDING
    # A deadlock is of writes, and a body too large of batches.
    where = {"start": 1, "function": CREATE} if kind in ("deadlock", "oversize_xml") else {"start": at}
    moodle.faults.add(kind, count=None if lasts else 1, seconds=0 if kind == "http_429" else 0.8, **where)
    says = ""
    try:
        report = run(moodle, store, desired)
        says = report.message
        if kind in PASSING:
            assert report.state == "done"
        if lasts:
            assert report.state in ("stopped", "failed")
    except BridgeError as error:
        says = str(error)
        assert kind not in PASSING
    if lasts:
        assert len(says) > 30 or says == ""
    assert TOKEN not in says
    journal_is_true(moodle, store)
    moodle.faults.clear()
    assert run(moodle, store, desired).state == "done"
    assert held(moodle) == wanted
    calm = run(moodle, store, desired)
    assert (calm.state, calm.plan.changes) == ("done", [])
    with store.read() as connection:
        assert journal.open_entries(connection, "here") == []


@pytest.mark.parametrize("kind", ["http_502", "http_503", "timeout", "reset_before", "cut_json", "empty_500"])
def test_a_site_that_stays_away_ends_the_run_in_a_sentence(
    moodle: MoodleSimulator, store: Store, desired: Desired, uninterrupted: tuple[Any, int], kind: str
) -> None:
    """It does not go on for hours; nothing is guessed, and once the site is back the work is completed."""
    moodle.faults.add(kind, start=12, count=None, seconds=0.8)
    try:
        report = run(moodle, store, desired)
        assert report.state in ("stopped", "failed")
        says = report.message or report.tally.refused[0].why
    except BridgeError as error:
        says = str(error)
    assert len(says) > 30
    assert says[0].isupper() or says.startswith("http")
    assert "Traceback" not in says
    assert moodle.requests.total < 400
    journal_is_true(moodle, store)
    moodle.faults.clear()
    assert run(moodle, store, desired).state == "done"
    assert held(moodle) == uninterrupted[0]


def test_a_token_that_expires_in_the_middle_stops_the_run_and_a_new_one_completes_it(
    moodle: MoodleSimulator, store: Store, desired: Desired, uninterrupted: tuple[Any, int]
) -> None:
    """The first use after expiry is refused like a function outside the service, every later one as unknown."""
    row = moodle.db.tokens.first("token", moodle.token)
    assert row is not None

    def expire(moment: str, number: int, _function: str) -> None:
        if moment == "before" and number == 14:
            row["expired"] = True

    moodle.on_request(expire)
    try:
        says = run(moodle, store, desired).message
    except BridgeError as error:
        says = str(error)
    assert "stopped accepting the token" in says or "does not know this token" in says
    journal_is_true(moodle, store)
    moodle.on_request(None)
    moodle.seed.narrow_token(moodle.token)
    assert run(moodle, store, desired).state == "done"
    assert held(moodle) == uninterrupted[0]


def journal_is_true(moodle: MoodleSimulator, store: Store) -> None:
    """Assert that what the journal calls applied is there, and that what is there is applied or still open."""
    with store.read() as connection:
        entries = [
            entry
            for listed in journal.runs(connection, "here", 10)
            for entry in journal.entries(connection, listed.id)
            if entry.change.kind == "competency"
        ]
    applied = {entry.change.key for entry in entries if entry.state == "applied"}
    unsettled = {entry.change.key for entry in entries if entry.state == "intended"}
    frameworks = {row["id"]: row["idnumber"] for row in moodle.db.frameworks.rows.values()}
    there = {
        f"{frameworks[row['competencyframeworkid']]}/{row['idnumber']}" for row in moodle.db.competencies.rows.values()
    }
    assert applied <= there
    assert there <= applied | unsettled
