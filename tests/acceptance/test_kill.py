"""kill -9 at any moment of a push: run again, and the LMS holds what an uninterrupted push leaves, nothing twice."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.forked import forked
from tests.acceptance.program import Workbench, small_model, workbench

SEED = 20261121
MOMENTS = 50


class Killer:
    """Kills a process when the simulator has reached a moment of a request."""

    def __init__(self, bench: Workbench, moment: str, index: int, delay: float) -> None:
        self.bench = bench
        self.moment = "before" if moment == "before" else "after_commit"
        self.index = index
        # Before the outcome is journalled: the answer has left, and the program may be anywhere after receiving it.
        self.delay = delay if moment == "answered" else 0.0
        self._process: int | None = None
        self.struck = threading.Event()
        bench.moodle.on_request(self._see)

    def started(self, process: int) -> None:
        """Take note of the process to kill: a descriptor of it, since its number may come to be another's."""
        self._process = os.pidfd_open(process)

    def close(self) -> None:
        """Stop watching; what is killed from now on is nobody."""
        self.bench.moodle.on_request(None)
        if (process := self._process) is not None:
            self._process = None
            os.close(process)

    def _see(self, moment: str, index: int, _function: str) -> None:
        if moment != self.moment or index != self.index:
            return
        if self.delay:
            threading.Timer(self.delay, self._strike).start()
        else:
            self._strike()

    def _strike(self) -> None:
        if (process := self._process) is not None:
            with suppress(OSError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        self.struck.set()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the sample company, small enough to be pushed a hundred times."""
    return small_model(tmp_path_factory.mktemp("kill") / "model")


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[Any, int]:
    """What an uninterrupted push leaves, and how many requests it takes."""
    with workbench(tmp_path_factory.mktemp("uninterrupted")) as bench:
        answer = bench.run("push", "--model", str(model), "--yes", "--json")
        assert answer.code == 0, answer.err
        return bench.moodle.comparable(), bench.moodle.requests.total


def moments() -> list[tuple[str, float, float]]:
    """Return the seeded moments: which, how far into the push (a share of its requests), and a delay in seconds."""
    chance = random.Random(SEED)
    kinds = ("before", "committed", "answered")
    return [(kinds[number % 3], chance.random(), chance.uniform(0.0005, 0.02)) for number in range(MOMENTS)]


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "share", "delay"), moments())
def test_a_killed_push_run_again_ends_as_if_it_had_not_been_killed(
    tmp_path: Path, model: Path, uninterrupted: tuple[Any, int], moment: str, share: float, delay: float
) -> None:
    """The process is killed once; the rerun succeeds; the site equals that of an uninterrupted push."""
    wanted, requests = uninterrupted
    index = 1 + int(share * requests)
    with workbench(tmp_path / "bench", forks=True) as bench:
        killer = Killer(bench, moment, index, delay)
        if moment == "before":
            # What is killed before it sends leaves nothing at the server: the request ends where the process does.
            bench.moodle.faults.add("reset_before", at=index)
        killed = forked(
            bench.folder, bench.environment(), ("push", "--model", str(model), "--yes"), started=killer.started
        )
        assert killed.code in (-signal.SIGKILL, 0), killed.err
        if index < requests:
            assert killer.struck.wait(5), "the push ended before the moment came"
        killer.close()
        bench.moodle.faults.clear()
        deadline = time.monotonic() + 5
        while bench.moodle.requests.in_flight and time.monotonic() < deadline:
            time.sleep(0.01)
        answer = bench.run("push", "--model", str(model), "--yes", "--json")
        assert answer.code == 0, answer.err
        assert bench.moodle.comparable() == wanted
