"""Chains that somebody else began and did not end: taken up where the other is gone, left alone where it lives."""

from __future__ import annotations

import queue
from collections.abc import Sequence

import apscheduler.schedulers.base
import pytest

from bridge.store import Store, unattended
from bridge.sync.clock import Clock
from bridge.sync.lease import this_machine
from jobs.chain import POSTPONED, Chain, ChainEnd
from tests.unit.daemon.test_year import Driven, Simulated, Stepped, settings_of

START = 1_780_000_000.0
SCHEDULE, SITE = "night-Europe/Berlin", "Europe/Berlin"
ELSEWHERE = "otherhost:77:deadbeef:01"


def began(store: Store, holder: str, state: str = "running") -> None:
    """Record a firing that somebody began an hour ago."""
    with store.begin() as connection:
        assert unattended.claim(connection, SCHEDULE, SITE, START - 3600, holder, START - 3600)
        if state != "running":
            unattended.end_firing(connection, SCHEDULE, SITE, START - 3600, state, START - 3500, "", [])


@pytest.mark.parametrize(
    ("holder", "state", "seen", "taken"),
    [
        (ELSEWHERE, "running", START - 600, True),
        (ELSEWHERE, "running", START - 10, False),
        (ELSEWHERE, "stopped", None, True),
        (ELSEWHERE, POSTPONED, None, True),
        (ELSEWHERE, "done", None, False),
        (f"here:999999999:{this_machine()}:01", "running", None, True),
        ("somebody's push by hand", "running", None, False),
    ],
)
def test_a_chain_is_taken_up_where_whoever_began_it_is_gone(
    store_url: str,
    monkeypatch: pytest.MonkeyPatch,
    holder: str,
    state: str,
    seen: float | None,
    taken: bool,
) -> None:
    """A daemon not seen for minutes, on whichever machine, a process that no longer runs, a chain that was laid down or
    put off: done again, once. What another one is still at: not."""
    simulated = Simulated(START)
    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", simulated.as_datetime())
    store = Store.open(store_url)
    began(store, holder, state)
    if seen is not None:
        with store.begin() as connection:
            unattended.seen(connection, holder, START - 7200, seen)
    ran: list[float] = []

    def run(chain: Chain, _steps: Sequence[str]) -> ChainEnd:
        ran.append(chain.due)
        return ChainEnd("done", "")

    clock = Clock(now=lambda: simulated.now, sleep=lambda _seconds: None)
    made = Driven(lambda: settings_of(store_url), clock, queue.SimpleQueue(), Stepped, run)
    made.begin()
    made.step()
    assert ran == ([START - 3600] if taken else [])
    simulated.now += 61
    made._tick()
    made.step()
    assert ran == ([START - 3600] if taken else [])
    if holder == ELSEWHERE and state == "running" and not taken:
        # The other machine goes out while this daemon runs.
        simulated.now += 300
        made._tick()
        made.step()
        assert ran == [START - 3600]
    made.end()
    store.close()
