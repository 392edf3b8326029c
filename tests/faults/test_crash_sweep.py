"""kill -9 anywhere in a night, run the night again: the LMS and the store are as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.night import Night, Undisturbed, database_of, night
from tests.faults.warm import Warm

SEED = 20261126
MOMENTS = 300
"""Seeded moments around requests, beside every boundary of the journal."""
SAMPLE = 2
"""How many of each the ordinary tests try on each site and database; `make sweep` tries all."""
Moment = tuple[str, int, float]
"""Where a night is killed: around a request or at a file; at the how many-th; how many seconds later."""


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
        found.site.watch(self._see)

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


def moments(undisturbed: Undisturbed) -> list[Moment]:
    """Return the seeded moments: around the requests of a night, and around what it does to files."""
    chance = random.Random(SEED)
    kinds = ("before", "committed", "answered", "file", "file") if undisturbed.requests else ("file",)
    found = []
    for number in range(MOMENTS):
        kind = kinds[number % len(kinds)]
        most = undisturbed.effects if kind == "file" else undisturbed.requests
        # Some right before a file is opened, renamed or removed, some while it is written.
        delay = chance.uniform(0.0005, 0.02) if kind != "file" or chance.random() < 0.5 else 0.0
        found.append((kind, chance.randint(1, most), delay))
    return found


def settle_down(found: Night, *, a_night: bool) -> None:
    """Wait until the site has done what it was asked by the process that died; it may have a night of its own."""
    found.site.watch(None)
    deadline = time.monotonic() + 5
    while found.site.working() and time.monotonic() < deadline:
        time.sleep(0.005)
    if a_night:
        found.site.night()


def expect_the_same_end(found: Night, wanted: Any, what: str, *, a_night: bool) -> None:
    """Run the night again and compare what it leaves with what an undisturbed one leaves."""
    settle_down(found, a_night=a_night)
    codes, _ = found.run()
    assert codes == [0, 0, 0], f"{what}: the night after ended with {codes}\n{found.said()}"
    assert found.left() == wanted, what
    assert found.made_twice() == [], what
    assert found.still_open() == 0, what


def crash_at_boundaries(
    undisturbed: Undisturbed,
    folder: Path,
    company: Path,
    process: Warm,
    stores: Callable[[], str],
    strikes: list[dict[str, Any]],
) -> int:
    """Kill a night at each of the boundaries; return how many were struck."""
    struck = 0
    for number, strike in enumerate(strikes):
        with night(undisturbed.kind, folder / f"night{number}", company, stores(), process) as found:
            codes, _ = found.run(strike)
            assert codes[-1] == -signal.SIGKILL, f"{strike} did not strike: {codes}\n{found.said()}"
            struck += 1
            expect_the_same_end(found, undisturbed.left, str(strike), a_night=number % 2 == 1)
        forget(found)
    return struck


def crash_at_moments(
    undisturbed: Undisturbed,
    folder: Path,
    company: Path,
    process: Warm,
    stores: Callable[[], str],
    chosen: list[Moment],
) -> int:
    """Kill a night at each of the moments; return how many were struck before the night was through."""
    struck = 0
    for number, (moment, index, delay) in enumerate(chosen):
        with night(undisturbed.kind, folder / f"moment{number}", company, stores(), process) as found:
            if moment == "file":
                codes, _ = found.run({"kind": "effects", "at": index, "delay": delay})
            else:
                killer = RequestKiller(found, moment, index, delay)
                codes, _ = found.run(started=killer.started)
            assert codes[-1] in (0, -signal.SIGKILL), f"{moment} {index}: {codes}\n{found.said()}"
            struck += codes[-1] != 0
            what = f"{moment} {index}, {delay * 1000:.1f} ms"
            expect_the_same_end(found, undisturbed.left, what, a_night=number // 5 % 2 == 1)
        forget(found)
    return struck


def forget(found: Night) -> None:
    """Remove what a night that ended well left on this machine: a sweep has a thousand."""
    shutil.rmtree(found.folder)


@pytest.mark.slow
def test_a_night_killed_at_a_boundary_of_the_journal_ends_the_same(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, any_stores: Callable[[], str]
) -> None:
    """A seeded sample of the boundaries, for each kind of site, on both databases."""
    chosen = random.Random(SEED).sample(boundaries(undisturbed.commits), SAMPLE)
    assert crash_at_boundaries(undisturbed, tmp_path, company, process, any_stores, chosen) == SAMPLE


@pytest.mark.slow
def test_a_night_killed_at_a_moment_ends_the_same(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, any_stores: Callable[[], str]
) -> None:
    """A seeded sample of the moments, for each kind of site, on both databases."""
    chosen = random.Random(f"{SEED}{undisturbed.kind}").sample(moments(undisturbed), SAMPLE)
    assert crash_at_moments(undisturbed, tmp_path, company, process, any_stores, chosen) >= SAMPLE // 2


@pytest.mark.sweep
@pytest.mark.timeout(10_800)
def test_every_boundary_and_every_moment(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, any_stores: Callable[[], str]
) -> None:
    """All boundaries of the journal and all the seeded moments."""
    on = database_of(any_stores())
    every = boundaries(undisturbed.commits)
    at_boundaries = crash_at_boundaries(undisturbed, tmp_path, company, process, any_stores, every)
    at_moments = crash_at_moments(undisturbed, tmp_path, company, process, any_stores, moments(undisturbed))
    assert at_boundaries == len(every)
    assert at_moments > MOMENTS // 2
    print(
        f"\n{undisturbed.kind} on {on}: killed at {at_boundaries} sides of {undisturbed.commits} commits and at "
        f"{at_moments} of {MOMENTS} moments around {undisturbed.requests} requests and {undisturbed.effects} files (at "
        "the others the night was through); every night after ended as an undisturbed one"
    )
