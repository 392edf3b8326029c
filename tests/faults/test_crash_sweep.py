"""kill -9 anywhere in a night, run the night again: the LMS and the store are as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.night import Night, Undisturbed, night
from tests.faults.warm import Warm

SEED = 20261126
MOMENTS = 300
"""Seeded moments around requests, beside every boundary of the journal."""
SAMPLE = 4
"""How many of each the ordinary tests try on each database; `make sweep` tries all."""


def boundaries(commits: int) -> list[dict[str, Any]]:
    """Return a strike for each side of each commit."""
    return [{"kind": "die", "at": at, "side": side} for at in range(1, commits + 1) for side in ("before", "after")]


class RequestKiller:
    """Kills the command under way when the site has reached a moment of a request."""

    def __init__(self, found: Night, moment: str, index: int, delay: float) -> None:
        self.moment, self.index, self.delay = moment, index, delay
        self.pid = 0
        self.struck = False
        self.lock = threading.Lock()
        found.moodle.on_request(self._see)

    def started(self, pid: int) -> None:
        """Take note of the command that runs now."""
        self.pid = pid

    def _see(self, moment: str, index: int, _function: str) -> None:
        if index == self.index and moment == ("before" if self.moment == "before" else "after_commit"):
            if self.moment == "answered":
                threading.Timer(self.delay, self._strike).start()
            else:
                self._strike()

    def _strike(self) -> None:
        with self.lock:
            if not self.struck:
                self.struck = True
                try:
                    os.kill(self.pid, signal.SIGKILL)
                except ProcessLookupError:
                    return


def moments(requests: int) -> list[tuple[str, int, float]]:
    """Return the seeded moments: which side of which request, and a delay in seconds."""
    chance = random.Random(SEED)
    kinds = ("before", "committed", "answered")
    return [(kinds[number % 3], chance.randint(1, requests), chance.uniform(0.0005, 0.02)) for number in range(MOMENTS)]


def settle_down(found: Night) -> None:
    """Wait until the site has done what it was asked by the process that died."""
    found.moodle.on_request(None)
    deadline = time.monotonic() + 5
    while found.moodle.requests.in_flight and time.monotonic() < deadline:
        time.sleep(0.005)


def expect_the_same_end(found: Night, wanted: Any, what: str) -> None:
    """Run the night again and compare what it leaves with what an undisturbed one leaves."""
    settle_down(found)
    codes, _ = found.run()
    assert codes == [0, 0, 0], f"{what}: the night after ended with {codes}\n{found.said()}"
    assert found.left() == wanted, what
    assert found.made_twice() == [], what
    assert found.still_open() == 0, what


def crash_at_boundaries(
    folder: Path, company: Path, process: Warm, stores: Callable[[], str], wanted: Any, strikes: list[dict[str, Any]]
) -> int:
    """Kill a night at each of the boundaries; return how many were struck."""
    struck = 0
    for number, strike in enumerate(strikes):
        with night(folder / f"night{number}", company, stores(), process) as found:
            codes, _ = found.run(strike)
            assert codes[-1] == -signal.SIGKILL, f"{strike} did not strike: {codes}\n{found.said()}"
            struck += 1
            expect_the_same_end(found, wanted, str(strike))
    return struck


def crash_at_moments(
    folder: Path,
    company: Path,
    process: Warm,
    stores: Callable[[], str],
    wanted: Any,
    chosen: list[tuple[str, int, float]],
) -> int:
    """Kill a night at each of the moments; return how many were struck before the night was through."""
    struck = 0
    for number, (moment, index, delay) in enumerate(chosen):
        with night(folder / f"moment{number}", company, stores(), process) as found:
            killer = RequestKiller(found, moment, index, delay)
            codes, _ = found.run(started=killer.started)
            assert codes[-1] in (0, -signal.SIGKILL), f"{moment} {index}: {codes}\n{found.said()}"
            struck += codes[-1] != 0
            expect_the_same_end(found, wanted, f"{moment} request {index}, {delay * 1000:.1f} ms")
    return struck


@pytest.mark.slow
def test_a_night_killed_at_a_boundary_of_the_journal_ends_the_same(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, any_stores: Callable[[], str]
) -> None:
    """A seeded sample of the boundaries, on both databases."""
    wanted, commits = undisturbed.left, undisturbed.commits
    chosen = random.Random(SEED).sample(boundaries(commits), SAMPLE)
    assert crash_at_boundaries(tmp_path, company, process, any_stores, wanted, chosen) == SAMPLE


@pytest.mark.slow
def test_a_night_killed_around_a_request_ends_the_same(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, any_stores: Callable[[], str]
) -> None:
    """A seeded sample of the moments, on both databases."""
    wanted, requests = undisturbed.left, undisturbed.requests
    struck = crash_at_moments(tmp_path, company, process, any_stores, wanted, moments(requests)[:SAMPLE])
    assert struck >= SAMPLE // 2


@pytest.mark.sweep
@pytest.mark.timeout(10_800)
def test_every_boundary_and_every_moment(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, any_stores: Callable[[], str]
) -> None:
    """All boundaries of the journal and all the seeded moments."""
    wanted, commits, requests = undisturbed.left, undisturbed.commits, undisturbed.requests
    on = any_stores().partition(":")[0].partition("+")[0]
    every = boundaries(commits)
    at_boundaries = crash_at_boundaries(tmp_path, company, process, any_stores, wanted, every)
    at_moments = crash_at_moments(tmp_path, company, process, any_stores, wanted, moments(requests))
    assert at_boundaries == len(every)
    assert at_moments > MOMENTS // 2
    print(
        f"\n{on}: killed at {at_boundaries} sides of {commits} commits and at {at_moments} of {MOMENTS} moments around "
        f"{requests} requests (at the others the night was through); every night after ended as an undisturbed one"
    )
