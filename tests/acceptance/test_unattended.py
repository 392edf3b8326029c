"""The daemon as a process of its own: raced, frozen, signalled, killed, and started again."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bridge.store import Store, journal, unattended
from tests.acceptance.program import Workbench, in_process_list, small_model, workbench
from tests.databases import KINDS, on

LEASE = 3.0
"""Seconds, where a lease is to run out; elsewhere a busy machine must not make it do so."""

SETTINGS = """
[sites.moodle]
url = "env:MOODLE_URL"
token = "env:MOODLE_TOKEN"
model = "{model}"

[sites.moodle.options]
server_limit = 0.05
connections = {connections}
batch_size = 10

[daemon]
listen = ""
log_format = "json"
lease = {lease}
stop_within = 30

[schedules.often]
every = {every}
run = "push"
"""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the sample company, small enough to be pushed often."""
    return small_model(tmp_path_factory.mktemp("unattended") / "model", competencies=120, positions=4)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[Any, int]:
    """What an uninterrupted push leaves, and how many requests it takes over one connection."""
    with workbench(tmp_path_factory.mktemp("whole"), settings=settings(model)) as bench:
        assert bench.run("push", "--yes").code == 0
        return bench.moodle.comparable(), bench.moodle.requests.total


def settings(model: Path, *, every: float = 1, connections: int = 1, lease: float = 60) -> str:
    """Return what bridge.toml says."""
    return SETTINGS.format(model=model, every=every, connections=connections, lease=lease)


@contextmanager
def daemon(bench: Workbench, name: str = "daemon") -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run a daemon, its log in a file; killed at the end if it still runs."""
    log = bench.folder / f"{name}.log"
    with log.open("a") as out:
        command = [*_command(), "daemon"]
        process = subprocess.Popen(
            command, cwd=bench.folder, env=bench.environment(), stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
        try:
            bench.said.append(in_process_list(process.pid))
            yield process, log  # type: ignore[misc]  # nothing is piped, so text or bytes is the same
        finally:
            process.kill()
            process.wait()


def _command() -> list[str]:
    import sys

    return [sys.executable, "-m", "bridge"]


def lines(log: Path) -> list[dict[str, Any]]:
    """Return what a daemon has logged. Every line is JSON and names its run."""
    found = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert all(line["run"] for line in found)
    return found


def wait_until(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"it did not come true within {seconds} seconds"
        time.sleep(0.1)


def store_of(bench: Workbench) -> Store:
    """Return the store the commands of a workbench use."""
    return Store.open(bench.store)


# --- Racing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rounds",
    [pytest.param(6, marks=pytest.mark.slow), pytest.param(200, marks=(pytest.mark.sweep, pytest.mark.timeout(3600)))],
)
@pytest.mark.parametrize("kind", KINDS)
def test_of_two_daemons_that_race_for_a_site_exactly_one_runs(
    tmp_path: Path, model: Path, rounds: int, kind: str
) -> None:
    """Both fire in the same second, round after round: each firing begins once, and no two runs overlap."""
    with on(kind), workbench(tmp_path, settings=settings(model)) as bench:
        with daemon(bench, "one") as (one, first), daemon(bench, "two") as (two, second):

            def began() -> Counter[str]:
                """Count the chains that began, by their name."""
                return Counter(x["run"] for log in (first, second) for x in lines_so_far(log, "chain begins"))

            wait_until(lambda: len(began()) >= rounds, 30 + rounds * 10)
            for process in (one, two):
                process.send_signal(signal.SIGTERM)
            assert [one.wait(60), two.wait(60)] == [0, 0]
        begun = began()
        assert max(begun.values()) == 1
        beaten = sum(len(lines_so_far(log, "taken by another daemon")) for log in (first, second))
        print(f"{len(begun)} rounds, each run once; {beaten} times the other daemon had come first")
        assert beaten
        store = store_of(bench)
        with store.read() as connection:
            found = sorted(journal.runs(connection, limit=10_000), key=lambda run: run.id)
        store.close()
        for before, after in pairwise(found):
            assert before.finished_at is not None
            assert after.started_at >= before.finished_at


def lines_so_far(log: Path, event: str) -> list[dict[str, Any]]:
    """Return the lines of one kind, while the log may still be written."""
    whole = [line for line in log.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
    return [found for line in whole if (found := json.loads(line)).get("event") == event]


# --- Frozen ---------------------------------------------------------------------------------------------------------


class Freezer:
    """Stops a process at a moment of a request, and notes each request from then on."""

    def __init__(self, bench: Workbench, moment: str, index: int) -> None:
        self.bench, self.moment, self.index = bench, moment, index
        self.process: subprocess.Popen[str] | None = None
        self.frozen = threading.Event()
        self.phase = "holder"
        self.requests: Counter[str] = Counter()
        self.open_at_first_write: list[Any] | None = None
        self._start: Any = None
        bench.moodle.on_request(self._see)

    def successor_begins(self) -> None:
        """Watch for the successor's first write."""
        self.phase, self._start = "successor", self.bench.moodle.comparable()

    def _see(self, moment: str, index: int, _function: str) -> None:
        if moment == "before":
            self.requests[self.phase] += 1
        if self.phase == "holder" and moment == self.moment and index == self.index and self.process is not None:
            self.process.send_signal(signal.SIGSTOP)
            self.frozen.set()
        wrote = self.phase == "successor" and moment == "after_commit" and self.open_at_first_write is None
        if wrote and self.bench.moodle.comparable() != self._start:
            store = store_of(self.bench)
            with store.read() as connection:
                open_ones = journal.open_entries(connection, "moodle")
            store.close()
            self.open_at_first_write = [one for one in open_ones if one.run_id == 1]


def freezes() -> Iterator[Any]:
    """Yield moments and how far into the push, a few for every day and more for the sweep."""
    moments = ("before", "after_commit", "answered")
    for number in range(24):
        marks = pytest.mark.slow if number in (4, 11, 18) else pytest.mark.sweep
        yield pytest.param(moments[number % 3], 0.25 + 0.7 * number / 24, marks=marks)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("moment", "share"), list(freezes()))
def test_a_holder_frozen_past_its_lease_sends_nothing_more_once_woken(
    tmp_path: Path, model: Path, uninterrupted: tuple[Any, int], moment: str, share: float, kind: str
) -> None:
    """SIGSTOP in the middle of a push, longer than the lease; another push settles what was in flight before its own
    first write, and ends the work; SIGCONT, and the first one stops without another request."""
    end_state, requests = uninterrupted
    with on(kind), workbench(tmp_path, settings=settings(model, lease=LEASE)) as bench:
        freezer = Freezer(bench, moment, max(6, int(requests * share)))
        holder = bench.start("push", "--yes")
        freezer.process = holder
        assert freezer.frozen.wait(60), holder.communicate(timeout=10)
        time.sleep(LEASE + 0.5)
        freezer.successor_begins()
        successor = bench.run("push", "--yes", "--json")
        assert successor.code == 0, successor.err
        assert freezer.open_at_first_write == []
        assert bench.moodle.comparable() == end_state
        freezer.phase = "woken"
        holder.send_signal(signal.SIGCONT)
        out, err = holder.communicate(timeout=60)
        assert holder.returncode == 1, err
        assert "lost its hold on site moodle" in out + err
        # At most the one request that was on its way when it froze.
        assert freezer.requests["woken"] <= 1
        assert bench.moodle.comparable() == end_state
        store = store_of(bench)
        with store.read() as connection:
            assert journal.open_entries(connection, "moodle") == []
        store.close()
        again = bench.run("push", "--yes", "--json")
        assert again.json["counts"] == {}


# --- Signals --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_daemon_that_ends_in_the_middle_of_a_push_takes_it_up_at_its_next_start(
    tmp_path: Path, model: Path, uninterrupted: tuple[Any, int], sent: signal.Signals, kind: str
) -> None:
    """SIGTERM lays the work down within the bound, SIGKILL drops it; started again, the daemon does the rest at once,
    long before the next time of its schedule, and the site ends as if nothing had happened."""
    end_state, requests = uninterrupted
    with on(kind), workbench(tmp_path, settings=settings(model, every=3), latency=0.02) as bench:
        struck = threading.Event()
        with daemon(bench) as (process, log):

            def strike(moment: str, index: int, _function: str) -> None:
                if moment == "before" and index == requests // 2:
                    process.send_signal(sent)
                    struck.set()

            bench.moodle.on_request(strike)
            assert struck.wait(60)
            began = time.monotonic()
            code = process.wait(40)
            took = time.monotonic() - began
        bench.moodle.on_request(None)
        # From now on the schedule's own time is far away: what happens is the taking up.
        text = (bench.folder / "bridge.toml").read_text("utf-8")
        (bench.folder / "bridge.toml").write_text(text.replace("every = 3", "every = 86400"), "utf-8")
        store = store_of(bench)
        with store.read() as connection:
            before = unattended.firing(connection, "often", "moodle")
        assert before is not None
        if sent is signal.SIGTERM:
            assert code == 0
            assert took < 30
            assert before.state == "stopped"
            assert "asked to stop" in before.message
        else:
            assert before.state == "running"
        assert bench.moodle.comparable() != end_state
        with daemon(bench, "again") as (process, log):

            def ended() -> bool:
                """Tell whether the firing is done."""
                with store.read() as connection:
                    now = unattended.firing(connection, "often", "moodle")
                return now is not None and now.state == "done"

            wait_until(ended)
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) == 0
        store.close()
        assert "taken up again" in log.read_text("utf-8")
        assert bench.moodle.comparable() == end_state


@pytest.mark.slow
def test_sighup_reads_the_settings_again_and_faulty_ones_change_nothing(tmp_path: Path, model: Path) -> None:
    """A new schedule runs after a reload; a misspelt one is refused in words while the old ones go on."""
    with workbench(tmp_path, settings=settings(model, every=86_400)) as bench, daemon(bench) as (process, log):
        wait_until(lambda: lines_so_far(log, "daemon begins"))
        file = bench.folder / "bridge.toml"
        text = file.read_text("utf-8")
        file.write_text(text + '\n[schedules.soon]\nevery = 1\nrun = "pull"\nsites = "academy"\n', "utf-8")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: lines_so_far(log, "reload refused"))
        assert "no site 'academy'" in lines_so_far(log, "reload refused")[0]["says"]
        file.write_text(text + '\n[schedules.soon]\nevery = 1\nrun = "pull"\n', "utf-8")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: lines_so_far(log, "chain ends"))
        assert lines_so_far(log, "chain ends")[0]["schedule"] == "soon"
        status = bench.run("status", "--json").json
        assert [one["name"].split(":")[1] for one in status["daemons"]] == [str(process.pid)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
        assert bench.run("status", "--json").json["daemons"] == []
        lines(log)


# --- Without a daemon -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_job_for_cron_runs_ends_and_is_seen_in_the_status(tmp_path: Path, model: Path) -> None:
    """`--once` takes a schedule or a step, ends with the code that says how it went, and `status` tells of it in words;
    a job that is not there is refused with the names of those that are."""
    text = settings(model, every=86_400).replace('run = "push"', 'run = ["push", "report"]')
    with workbench(tmp_path, settings=text) as bench:
        before = bench.run("status")
        assert "last   never" in before.out
        assert "No daemon runs" in before.out
        done = bench.run("daemon", "--once", "often", "--json")
        assert done.code == 0, done.err
        assert [step["state"] for step in done.json["sites"][0]["steps"]] == ["done", "done"]
        assert all(json.loads(line)["run"] for line in done.err.splitlines())
        step = bench.run("daemon", "--once", "pull")
        assert step.code == 0
        assert "pull: done" in step.out
        unknown = bench.run("daemon", "--once", "nightly")
        assert unknown.code == 2
        assert "There are: often, ingest, push, report, pull" in unknown.err
        after = bench.run("status")
        assert "often at moodle: push, then report" in after.out
        assert "done. push: " in after.out
        assert "next " in after.out
        assert "moodle push: " in after.out
        assert "All is well." in after.out
        bench.moodle.faults.add("invalidtoken")
        refused = bench.run("daemon", "--once", "often", "--json")
        assert refused.code == 1
        troubled = bench.run("status", "--json")
        health = troubled.json["health"]
        assert [(one["site"], one["circuit_open"], one["failures"]) for one in health] == [("moodle", True, 1)]
        told = bench.run("status").out
        assert "the LMS does not let the bridge in" in told
        assert "It is tried again from" in told
        assert "Something needs a person" in told


def test_a_daemon_without_a_schedule_says_how_to_write_one(tmp_path: Path) -> None:
    """Nobody waits for a daemon that has nothing to do."""
    with workbench(tmp_path) as bench:
        answer = bench.run("daemon")
        assert answer.code == 2
        assert "[schedules.night]" in answer.err
