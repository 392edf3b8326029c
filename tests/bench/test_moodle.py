"""Moodle, measured: a push against one call at a time, and how much memory big pushes and pulls take.

The simulated server takes as long as a real one was measured to (contracts/moodle-4.5, Batching): 4 workers, 11 ms a
request, 4 ms a create of which 2.1 ms under one lock; and the network takes 30 ms.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from bridge.model import Architecture, Competency, Desired
from bridge.store import Store, results
from bridge.sync.clock import Clock
from bridge.sync.push import push
from bridge.sync.running import Rules
from connectors.moodle.connector import MoodleConnector
from connectors.moodle.options import MoodleOptions
from connectors.simulators.moodle import MoodleSimulator
from jobs.push import read_model
from tests.acceptance.program import COMPANY, ROOT, SETTINGS, write_rows

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1200)]

NETWORK = 0.030


def bare_model() -> Architecture:
    """Return the sample's frameworks and competencies alone."""
    model = read_model(COMPANY).architecture
    return replace(
        model,
        positions=(),
        requirements=(),
        course_links=(),
        related=(),
        rules=(),
        given=frozenset({"competency_frameworks", "competencies"}),
    )


@dataclass(frozen=True, slots=True)
class Server:
    """A simulated Moodle in a process of its own: its work is not done at the cost of what is measured."""

    url: str
    token: str

    def ask(self, what: str) -> Any:
        """Return what the server knows of itself."""
        return requests.get(f"{self.url}/_simulator/{what}", timeout=60).json()

    def count_anew(self) -> None:
        """Begin to count requests from none."""
        requests.post(f"{self.url}/_simulator/stats/reset", timeout=60)


@contextmanager
def measured_moodle(folder: Path) -> Iterator[Server]:
    """A server that takes as long as a measured one, with the sample's scales."""
    with serving(folder, "--empty", "--latency", str(NETWORK), "--measured-cost") as told:
        yield Server(told["MOODLE_URL"], told["MOODLE_TOKEN"])


def one_call_at_a_time(moodle: Server, model: Architecture) -> float:
    """Create the model as a simple script would: one call a competency on one connection. Return the seconds."""
    session = requests.Session()
    url = f"{moodle.url}/webservice/rest/server.php"

    def call(function: str, group: str, **members: object) -> int:
        form = {"wstoken": moodle.token, "wsfunction": function, "moodlewsrestformat": "json"}
        form |= {f"{group}[{name}]": str(value) for name, value in members.items()}
        answer = session.post(url, data=form, timeout=60).json()
        return int(answer["id"])

    scale_ids = {row["name"]: row["id"] for row in moodle.ask("snapshot")["scales"].values()}
    began = time.monotonic()
    frameworks: dict[str, int] = {}
    for framework in model.frameworks:
        scale = next(one for one in model.scales if one.key == framework.scale)
        items = [{"id": i.value, "scaledefault": int(i.default), "proficient": int(i.proficient)} for i in scale.items]
        frameworks[framework.key] = call(
            "core_competency_create_competency_framework",
            "competencyframework",
            shortname=framework.name,
            idnumber=framework.key,
            scaleid=scale_ids[scale.name],
            scaleconfiguration=json.dumps([{"scaleid": str(scale_ids[scale.name])}, *items]),
            contextid=1,
        )
    ids: dict[str, int] = {}
    for one in parents_first(model.competencies):
        ids[one.key] = call(
            "core_competency_create_competency",
            "competency",
            shortname=one.name[:100],
            idnumber=one.idnumber,
            competencyframeworkid=frameworks[one.framework],
            parentid=ids[one.parent] if one.parent else 0,
        )
    return time.monotonic() - began


def parents_first(competencies: tuple[Competency, ...]) -> Iterator[Competency]:
    """Yield competencies so that every parent comes before its children."""
    done: set[str] = set()
    waiting = list(competencies)
    while waiting:
        ready = [one for one in waiting if one.parent is None or one.parent in done]
        yield from ready
        done |= {one.key for one in ready}
        waiting = [one for one in waiting if one.key not in done]


def test_a_push_is_at_least_fifteen_times_faster_than_one_call_at_a_time(tmp_path: Path) -> None:
    """The same 2,495 competencies into the same server; the push also reads, compares and keeps its journal."""
    model = bare_model()
    with measured_moodle(tmp_path) as moodle:
        moodle.count_anew()
        slow = one_call_at_a_time(moodle, model)
        slow_requests = moodle.ask("stats")["requests"]
    with measured_moodle(tmp_path) as moodle:
        store = Store.open(f"sqlite:///{tmp_path / 'state.sqlite'}")
        port = MoodleConnector(MoodleOptions(url=moodle.url, token=SecretStr(moodle.token)))
        began = time.monotonic()
        report = push("here", port, store, Desired(model), Rules(), Clock())
        fast = time.monotonic() - began
        assert report.tally.count("applied") == 2497
        counted = moodle.ask("stats")
        fast_requests, connections = counted["requests"], counted["in_flight_high"]
        moodle.count_anew()
        began = time.monotonic()
        again = push("here", port, store, Desired(model), Rules(), Clock())
        unchanged, unchanged_requests = time.monotonic() - began, moodle.ask("stats")["requests"]
        assert not again.plan.changes
        port.close()
        store.close()
    print(f"\none call at a time:  {slow:6.1f} s, {slow_requests:,} requests, 1 connection")
    print(f"push:                {fast:6.1f} s, {fast_requests:,} requests, {connections} connections")
    print(f"push, unchanged:     {unchanged:6.1f} s, {unchanged_requests:,} requests")
    print(f"ratio:               {slow / fast:6.1f} times faster (must be at least 15)")
    assert connections <= 4
    assert slow / fast >= 15


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[dict[str, str]]:
    """Serve a simulated Moodle in a process of its own, so that its memory does not count; yield how to reach it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge", "simulate", "moodle", "--port", "0", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield dict(process.stdout.readline().strip().split("=", 1) for _ in range(2))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def peak_of(folder: Path, environment: dict[str, str], *arguments: str) -> float:
    """Run a command to its end and return the most memory it held, in MB."""
    (folder / "bridge.toml").write_text(SETTINGS, "utf-8")
    # A process begins with the memory of the one that started it, so a small one stands between it and this one.
    between = (
        "import os, subprocess, sys; process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "_, status, usage = os.wait4(process.pid, 0); print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", between, sys.executable, "-m", "bridge", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    code, kilobytes = answer.stdout.split()
    assert code == "0"
    return int(kilobytes) / 1024


def test_pushing_13000_competencies_stays_under_300_megabytes(tmp_path: Path) -> None:
    """Six frameworks as large as the sample, in a process of its own."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "competency_scales.csv").write_bytes((COMPANY / "competency_scales.csv").read_bytes())
    copies = [f"F{number}" for number in range(6)]
    write_rows(
        model / "competency_frameworks.csv", [{"framework": key, "name": key, "scale": "THREE"} for key in copies]
    )
    rows = [
        {
            "framework": copy,
            "idnumber": one.idnumber,
            "parent": one.parent.partition("/")[2] if one.parent else "",
            "shortname": one.name,
            "description": one.description,
        }
        for copy in copies
        for one in bare_model().competencies
    ]
    write_rows(model / "competencies.csv", rows[:13_000])
    with serving(tmp_path, "--empty") as told:
        first = peak_of(tmp_path, told, "push", "--model", str(model), "--yes")
        again = peak_of(tmp_path, told, "push", "--model", str(model), "--yes")
    print(f"\npushing 13,000 competencies: {first:.0f} MB; once more: {again:.0f} MB (must be under 300)")
    assert max(first, again) < 300


def test_pulling_200000_completions_stays_under_300_megabytes(tmp_path: Path) -> None:
    """10,000 people, each in 20 courses, all complete; in a process of its own."""
    state = tmp_path / "site.json"
    now = int(time.time())
    with MoodleSimulator() as moodle:
        moodle.seed.completion_report()
        people, courses = moodle.seed.users(10_000), moodle.seed.courses(20)
        for course in courses:
            for number, person in enumerate(people):
                moodle.seed.enrol(course, person)
                moodle.seed.complete(course, person, now - number * 60 - 86400)
        moodle.save(state)
    with serving(tmp_path, "--state", str(state)) as told:
        began = time.monotonic()
        peak = peak_of(tmp_path, told, "pull", "--kind", "completions")
        seconds = time.monotonic() - began
    store = Store.open(f"sqlite:///{tmp_path / '.lms-bridge' / 'state.sqlite'}")
    with store.read() as connection:
        count = results.result_counts(connection, "moodle")["completions"]
    store.close()
    print(f"\npulling {count:,} completions: {peak:.0f} MB (must be under 300), {seconds:.0f} s")
    assert count == 200_000
    assert peak < 300
