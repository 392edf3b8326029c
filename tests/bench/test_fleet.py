"""How much faster several workers are than one, on the same sites in one run."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.acceptance.park import Park, park, wait_for

SITES = 24
LATENCY = 0.25
"""Seconds of network for each request: what a worker spends its time on."""


def emptied(here: Park, workers: int) -> float:
    """Put a pull for every site into the queue, let some workers do it, one site at a time each; return the seconds."""
    running = [here.begin("worker", "--concurrency", "1", "--heartbeat", "2") for _ in range(workers)]
    try:
        wait_for(lambda: len(here.status()["workers"]) >= workers)
        began = time.monotonic()
        assert here.run("fleet", "defer", "push").code == 0
        wait_for(lambda: not here.status()["jobs"], 600)
        return time.monotonic() - began
    finally:
        for one in running:
            one.send_signal(signal.SIGTERM)
        for one in running:
            one.wait(60)


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_throughput_with_one_two_and_four_workers(tmp_path: Path, postgres_url: str) -> None:
    """The aim is three times at four workers; nothing is written, so that each round does the same."""
    with park(tmp_path, postgres_url, SITES, latency=LATENCY, competencies=24) as here:
        emptied(here, 4)  # the first push writes; the measured ones read and compare
        seconds = {workers: emptied(here, workers) for workers in (1, 2, 4)}
    for workers, taken in seconds.items():
        print(
            f"{workers} workers: {SITES} sites in {taken:.1f} s, {SITES / taken * 60:.0f} sites a minute, "
            f"{seconds[1] / taken:.1f} times one worker"
        )
    assert seconds[1] / seconds[4] > 1.5
