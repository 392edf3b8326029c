"""kill -9 at any step of pushes to Totara: run again, and the site holds what undisturbed pushes leave."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from bridge.store import Store, journal, state
from connectors.totara import channels, spool
from connectors.totara.hrimport import delivery
from tests.acceptance.forked import Ended, forked
from tests.acceptance.program import COMPANY, rows, small_model, write_rows
from tests.acceptance.totara_site import SETTINGS, TotaraBench, totara_bench

SEED = 20261126
POINTS = 50
FIRST_STEPS = 4
FEED = """
[feeds.hr]
encoding = "cp1252"
"""
TODAY = ("--as-of", "2026-12-31")

WRITES = (
    (journal, ("intend", "settle", "note_receipt", "start_run", "close_pending")),
    (state, ("save_base",)),
    (spool, ("_write",)),
    (spool.Spool, ("next_stamp",)),
    (channels.Ledger, ("note", "settle", "note_ends")),
    (delivery.FolderDrop, ("put", "rename", "remove")),
)
"""All that the program writes on the way: its store, its spool, the site's folder. Before and after each is a step."""


def run(bench: TotaraBench, *arguments: str, at: int = 0) -> Ended:
    """Run a command in a process of its own, which is killed at a step (0: never)."""
    return forked(bench.folder, bench.environment(), arguments, counted=WRITES, at=at)


def push(bench: TotaraBench, at: int = 0) -> Ended:
    """Push with everything, and be killed at a step (0: never)."""
    return run(bench, "push", *TODAY, "--yes", "--initial", "--json", at=at)


def until_done(bench: TotaraBench, nights: int = 5) -> None:
    """Push and let nights pass until a push says that nothing is open."""
    for _ in range(nights):
        ended = push(bench)
        if ended.code == 0:
            return
        assert ended.code == 5, ended.err
        bench.night()
    pytest.fail(f"still not done after {nights} nights: {ended.out}")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small company: part of the model, and some forty people of whom one leaves on the second day."""
    folder = tmp_path_factory.mktemp("small") / "bench"
    folder.mkdir()
    small_model(folder / "architecture", competencies=40, positions=6)
    people = rows(COMPANY / "hris_people_day1.csv")[:40]
    units = {row["department_code"] for row in people}
    every = {row["idnumber"]: row for row in rows(COMPANY / "organisations.csv")}
    for unit in list(units):
        while (above := every[unit]["parent"]) and above not in units:
            units.add(above)
            unit = above
    write_rows(folder / "architecture" / "organisations.csv", [row for key, row in every.items() if key in units])
    known = {row["employee_id"] for row in people}
    day1 = [{**row, "manager_id": row["manager_id"] if row["manager_id"] in known else ""} for row in people]
    write_rows(folder / "day1.csv", day1)
    day2 = [
        {**row, "status": "terminated"}
        if row is day1[3]
        else {**row, "job_title": "Ward lead"}
        if row is day1[5]
        else row
        for row in day1
    ]
    write_rows(folder / "day2.csv", day2)
    (folder / "bridge.toml").write_text(SETTINGS + FEED.replace("cp1252", "utf-8"), "utf-8")
    return folder


def begun(prepared: Path, folder: Path) -> Any:
    """Return a bench in a copy of the prepared folder."""
    shutil.copytree(prepared, folder)
    return totara_bench(folder, settings=(prepared / "bridge.toml").read_text("utf-8"))


def both_days(bench: TotaraBench, first: int = 0, second: int = 0) -> tuple[int, int]:
    """Bring day one and day two in, and kill the first push, or the one that settles the last, at a step.

    Returns the steps of the two, 0 for one that was killed.
    """
    assert run(bench, "ingest", "--file", "day1.csv", *TODAY).code == 0
    sent = push(bench, first)
    assert sent.code == (-signal.SIGKILL if first else 5), sent.err
    if first % 2:
        bench.night()
    until_done(bench)
    assert run(bench, "ingest", "--file", "day2.csv", *TODAY).code == 0
    assert push(bench).code == 5
    bench.night()
    settled = push(bench, second)
    assert settled.code == (-signal.SIGKILL if second else 0), settled.err
    until_done(bench)
    return sent.steps, settled.steps


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> tuple[Any, int, int]:
    """What undisturbed pushes leave, and how many steps the first push and the settling of the last one take."""
    with begun(prepared, tmp_path_factory.mktemp("undisturbed") / "bench") as bench:
        sent, settled = both_days(bench)
        held = bench.snapshot()
        assert held["user"]["E00001"]
        assert sum(one["suspended"] for key, one in held["user"].items() if key.startswith("E")) == 1
        return held, sent, settled


def points() -> list[tuple[int, float]]:
    """Return the seeded points: of which push (0 the first, 1 the one that settles), and how far into its steps."""
    chance = random.Random(SEED)
    return [(0 if number % 4 else 1, chance.random()) for number in range(POINTS)]


def strike(tmp_path: Path, prepared: Path, undisturbed: tuple[Any, int, int], which: int, share: float) -> None:
    """Kill one push at a point, run again, and compare."""
    wanted, sent, settled = undisturbed
    at = 1 + int(share * (settled if which else sent))
    with begun(prepared, tmp_path / "bench") as bench:
        both_days(bench, *((0, at) if which else (at, 0)))
        assert bench.snapshot() == wanted
        jobs = [job.idnumber for job in bench.totara.site.state.jobs.values()]
        assert len(jobs) == len(set(jobs))
        taken = bench.taken()
        assert push(bench).code == 0
        bench.night()
        assert bench.taken() == taken
        store = Store.open(bench.store)
        with store.read() as connection:
            states = {one.state for one in journal.runs(connection, "totara", 50)}
        store.close()
        assert states <= {"done", "pending", "interrupted"}
        # In its first steps a push has not written down yet that it began.
        assert at <= FIRST_STEPS or "interrupted" in states


SAMPLED = points()[::6]
EVERY = [point for point in points() if point not in SAMPLED]


@pytest.mark.slow
@pytest.mark.parametrize(("which", "share"), SAMPLED)
def test_a_killed_push_run_again_ends_as_if_it_had_not_been_killed(
    tmp_path: Path, prepared: Path, undisturbed: tuple[Any, int, int], which: int, share: float
) -> None:
    """Some of the points: no settled run is lost, nothing is sent twice, the end state is the same."""
    strike(tmp_path, prepared, undisturbed, which, share)


@pytest.mark.sweep
@pytest.mark.parametrize(("which", "share"), EVERY)
def test_wherever_a_push_is_killed_the_rerun_ends_the_same(
    tmp_path: Path, prepared: Path, undisturbed: tuple[Any, int, int], which: int, share: float
) -> None:
    """All other points of the fifty."""
    strike(tmp_path, prepared, undisturbed, which, share)


def test_there_are_fifty_points_and_they_spread_over_both_pushes() -> None:
    """The sweep is what it says, and the sample a part of it."""
    assert len(SAMPLED) + len(EVERY) == len(points()) == POINTS
    assert {which for which, _ in SAMPLED} == {which for which, _ in EVERY} == {0, 1}
    assert os.name == "posix"
