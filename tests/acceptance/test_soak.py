"""The daemon at short intervals for a long time: memory flat, no descriptor more, the log within its bounds."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.store import Store, journal
from tests.acceptance.program import COMPANY, in_process_list, rows, small_model, workbench, write_rows

LOG_BYTES, LOG_FILES = 100_000, 2

SETTINGS = f"""
[sites.moodle]
url = "env:MOODLE_URL"
token = "env:MOODLE_TOKEN"
model = "model"

[sites.moodle.options]
server_limit = 0.05

[feeds.hr]
path = "in"
interval = 0

[daemon]
listen = ""
log_format = "json"
log_level = "debug"
log_file = "log/bridge.log"
log_bytes = {LOG_BYTES}
log_files = {LOG_FILES}
reports_kept = 5

[schedules.arrivals]
every = 2
run = ["ingest", "push", "report"]

[schedules.results]
every = 3
run = "pull"
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process held at a moment."""

    seconds: float
    megabytes: float
    descriptors: int
    threads: int


def sample(pid: int, began: float) -> Sample:
    """Look at a process from outside."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    numbers = {name: rest.split() for name, _, rest in (line.partition(":") for line in status.splitlines())}
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    return Sample(time.monotonic() - began, int(numbers["VmRSS"][0]) / 1024, descriptors, int(numbers["Threads"][0]))


def slope(samples: list[Sample]) -> float:
    """Return megabytes an hour, by least squares."""
    fit = statistics.linear_regression([one.seconds for one in samples], [one.megabytes for one in samples])
    return fit.slope * 3600


@pytest.mark.parametrize(
    ("minutes", "most_growth"),
    [
        pytest.param(0.6, 12.0, marks=pytest.mark.slow),
        pytest.param(30.0, 6.0, marks=(pytest.mark.sweep, pytest.mark.timeout(2400))),
    ],
)
def test_a_daemon_that_runs_for_long_grows_in_nothing(tmp_path: Path, minutes: float, most_growth: float) -> None:
    """Files arrive, are pushed, results are pulled, every few seconds: after warming up the memory at the end is that
    of before, as are descriptors and threads, and the log turns over."""
    people = rows(COMPANY / "hris_people_day1.csv")[:30]
    with workbench(tmp_path, settings=SETTINGS) as bench:
        small_model(bench.folder / "model", competencies=40, positions=2)
        bench.moodle.seed.reference_site()
        (bench.folder / "in").mkdir()
        began = time.monotonic()
        samples: list[Sample] = []
        with (bench.folder / "daemon.out").open("wb") as out:
            command = [sys.executable, "-m", "bridge", "daemon"]
            process = subprocess.Popen(command, cwd=bench.folder, env=bench.environment(), stdout=out, stderr=out)
            bench.said.append(in_process_list(process.pid))
            try:
                number = 0
                while (passed := time.monotonic() - began) < minutes * 60:
                    assert process.poll() is None, (bench.folder / "daemon.out").read_text("utf-8")
                    samples.append(sample(process.pid, began))
                    if passed > number * 5:
                        number += 1
                        # So few that no limit stops a push that has many files to make up for.
                        people[number % 5]["last_name"] = f"Name{number}"
                        part = bench.folder / "in" / f"people-{number:06}.part"
                        write_rows(part, people)
                        shutil.move(part, part.with_name(f"people-2026-05-01T{number:06}.csv"))
                    time.sleep(1)
            finally:
                process.send_signal(signal.SIGTERM)
                code = process.wait(60)
        assert code == 0
        store = Store.open(bench.store)
        with store.read() as connection:
            runs = journal.runs(connection, limit=100_000)
        store.close()
        warm = samples[len(samples) // 3 :]
        third = max(1, len(warm) // 3)
        first = statistics.median(one.megabytes for one in warm[:third])
        last = statistics.median(one.megabytes for one in warm[-third:])
        logs = list((bench.folder / "log").iterdir())
        size = sum(one.stat().st_size for one in logs)
        print(
            f"\n{minutes:g} minutes, {len(runs):,} runs: {first:.1f} MB, then {last:.1f} MB (slope "
            f"{slope(warm):+.1f} MB an hour); descriptors {min(one.descriptors for one in warm)} to "
            f"{max(one.descriptors for one in warm)}, threads up to {max(one.threads for one in warm)}; "
            f"log {size:,} bytes in {len(logs)} files"
        )
        assert {run.state for run in runs} <= {"done", "stopped"}
        assert len(runs) > minutes * 60 / 12
        assert last - first < most_growth
        assert statistics.median(one.descriptors for one in warm[-third:]) <= (
            statistics.median(one.descriptors for one in warm[:third]) + 2
        )
        assert max(one.threads for one in warm[-third:]) <= max(one.threads for one in warm[:third]) + 2
        assert size <= LOG_BYTES * (LOG_FILES + 1)
        assert len(list((bench.folder / ".lms-bridge" / "reports" / "moodle").iterdir())) == 5
