"""Whatever goes wrong in a night: it ends right, or stops cleanly and says why, and the next one is right."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.night import Night, Undisturbed, night
from tests.faults.warm import Warm

SEED = 20261126
SAMPLE = 10
"""How many pairs of a fault and a request the ordinary tests try; `make sweep` tries all."""
STOPPED = {1, 2, 3, 4, 5}
"""Exit codes of a command that did not get to its end and says so."""

REQUEST_FAULTS: dict[str, dict[str, Any]] = {
    "timeout": {"seconds": 0.6},
    "timeout_after_commit": {"seconds": 0.6},
    "reset_before": {},
    "reset_after_commit": {},
    "cut_json": {},
    "http_502": {},
    "http_503": {},
    "http_504": {},
    "http_429": {"seconds": 0.1},
    "sitemaintenance": {},
    "invalidtoken": {"count": None},
    "accessexception": {},
    "empty_500": {},
    "killed_mid_batch": {"after_writes": 3},
    "dbconnectionfailed": {},
    "empty_403": {},
    "deadlock": {},
    "oversize_xml": {},
}
"""What the site or the network does to one request (`invalidtoken`: to all from then on)."""


def expect_a_clean_end(found: Night, codes: list[int], wanted: Any, what: str) -> bool:
    """It is through and right, or stopped and said why; the night after is right. Tells whether it stopped."""
    said = found.said()
    assert "Traceback" not in said, f"{what}: {said[-3000:]}"
    stopped = codes[-1] != 0
    if stopped:
        assert codes[-1] in STOPPED, f"{what}: ended with {codes}\n{said[-3000:]}"
        assert len(said.strip().splitlines()[-1]) > 20, f"{what}: no word of what happened: {said[-500:]}"
    else:
        assert found.left() == wanted, what
    found.moodle.faults.clear()
    again, _ = found.run()
    assert again == [0, 0, 0], f"{what}: the night after ended with {again}\n{found.said()[-3000:]}"
    assert found.left() == wanted, f"{what}: the night after"
    assert found.made_twice() == [], what
    assert found.still_open() == 0, what
    return stopped


def strike_requests(
    folder: Path, company: Path, process: Warm, stores: Callable[[], str], wanted: Any, pairs: list[tuple[str, int]]
) -> int:
    """Let each fault strike its request; return how many nights stopped."""
    stopped = 0
    for number, (kind, index) in enumerate(pairs):
        with night(folder / f"night{number}", company, stores(), process) as found:
            found.moodle.faults.add(
                kind, at=index if kind != "invalidtoken" else None, start=index, **REQUEST_FAULTS[kind]
            )
            codes, _ = found.run()
            stopped += expect_a_clean_end(found, codes, wanted, f"{kind} at request {index}")
    return stopped


@pytest.mark.slow
def test_a_fault_at_any_request_ends_the_night_right_or_stops_it_with_a_reason(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, sqlite_stores: Callable[[], str]
) -> None:
    """A seeded sample of faults and requests."""
    wanted, requests = undisturbed.left, undisturbed.requests
    pairs = [(kind, index) for kind in REQUEST_FAULTS for index in range(1, requests + 1)]
    strike_requests(tmp_path, company, process, sqlite_stores, wanted, random.Random(SEED).sample(pairs, SAMPLE))


@pytest.mark.sweep
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", REQUEST_FAULTS)
def test_every_fault_at_every_request(
    tmp_path: Path,
    company: Path,
    process: Warm,
    undisturbed: Undisturbed,
    sqlite_stores: Callable[[], str],
    kind: str,
) -> None:
    """All of them, one fault class at a time."""
    wanted, requests = undisturbed.left, undisturbed.requests
    pairs = [(kind, index) for index in range(1, requests + 1)]
    stopped = strike_requests(tmp_path, company, process, sqlite_stores, wanted, pairs)
    print(f"\n{kind}: {len(pairs)} requests struck, {stopped} nights stopped with a reason, all right the night after")


# --- What strikes from inside: names, certificates, disks, databases, clocks ------------------------------------------


def test_a_name_server_that_fails_stops_the_night_with_a_reason(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, sqlite_stores: Callable[[], str]
) -> None:
    """The name of the site is not found, at the first look-up or a later one."""
    wanted = undisturbed.left
    for at in (1, 2, 3):
        with night(tmp_path / f"night{at}", company, sqlite_stores(), process) as found:
            codes, _ = found.run({"kind": "names", "at": at})
            expect_a_clean_end(found, codes, wanted, f"no names from look-up {at} on")


def test_a_site_that_does_not_speak_tls_stops_the_night_with_a_reason(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, sqlite_stores: Callable[[], str]
) -> None:
    """The address says https and what answers does not."""
    wanted = undisturbed.left
    with night(tmp_path / "night", company, sqlite_stores(), process) as found:
        found.more["MOODLE_URL"] = found.moodle.url.replace("http://", "https://")
        codes, _ = found.run()
        assert codes[-1] in STOPPED, found.said()
        found.more.clear()
        assert expect_a_clean_end(found, codes, wanted, "no TLS")


def test_a_disk_that_fills_up_stops_the_night_with_a_reason(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, sqlite_stores: Callable[[], str]
) -> None:
    """The store's file can grow no further, from one of several boundaries on."""
    wanted, commits = undisturbed.left, undisturbed.commits
    stopped = 0
    for at in random.Random(SEED).sample(range(1, commits), 4):
        with night(tmp_path / f"night{at}", company, sqlite_stores(), process) as found:
            codes, _ = found.run({"kind": "full", "at": at, "side": "before"})
            stopped += expect_a_clean_end(found, codes, wanted, f"disk full after transaction {at}")
    assert stopped


def test_a_file_that_may_grow_no_further_stops_the_night_with_a_reason(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, sqlite_stores: Callable[[], str]
) -> None:
    """The kernel refuses to let any file grow beyond a size, as a quota does."""
    wanted = undisturbed.left
    for number, size in enumerate((150_000, 400_000)):
        with night(tmp_path / f"night{number}", company, sqlite_stores(), process) as found:
            codes, _ = found.run({"kind": "disk", "bytes": size})
            expect_a_clean_end(found, codes, wanted, f"files of at most {size} bytes")


def test_a_store_that_somebody_else_locks_is_waited_for(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, sqlite_stores: Callable[[], str]
) -> None:
    """Another program holds the file for a second in the middle of the night: the night goes on afterwards."""
    wanted, requests = undisturbed.left, undisturbed.requests
    url = sqlite_stores()
    with night(tmp_path / "night", company, url, process) as found:
        holder = Holder(url.removeprefix("sqlite:///"))
        found.moodle.on_request(_at(requests // 2, holder.hold))
        codes, _ = found.run()
        assert holder.held.wait(5)
        assert codes == [0, 0, 0], found.said()
        assert not expect_a_clean_end(found, codes, wanted, "locked store")


class Holder:
    """Locks a SQLite file for a second, as a backup program does."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.held = threading.Event()

    def hold(self) -> None:
        """Take the file, and let it go a second later."""
        threading.Thread(target=self._hold).start()

    def _hold(self) -> None:
        with closing(sqlite3.connect(self.path, timeout=10, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            self.held.set()
            threading.Event().wait(1.0)
            other.execute("ROLLBACK")


def _at(index: int, act: Callable[[], None]) -> Callable[[str, int, str], None]:
    def hook(moment: str, number: int, _function: str) -> None:
        if moment == "before" and number == index:
            act()

    return hook


def test_a_clock_that_jumps_does_no_harm(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, sqlite_stores: Callable[[], str]
) -> None:
    """Two hours forward, two hours back, at seeded boundaries of the night."""
    wanted, commits = undisturbed.left, undisturbed.commits
    chance = random.Random(SEED)
    for number, seconds in enumerate((7200, -7200, 7200, -7200)):
        at = chance.randint(1, commits)
        with night(tmp_path / f"night{number}", company, sqlite_stores(), process) as found:
            codes, _ = found.run({"kind": "jump", "at": at, "side": "after", "seconds": seconds})
            expect_a_clean_end(found, codes, wanted, f"{seconds} s at transaction {at}")


def test_a_lost_connection_to_postgresql_stops_the_night_with_a_reason(
    tmp_path: Path, company: Path, process: Warm, undisturbed: Undisturbed, postgres_stores: Callable[[], str]
) -> None:
    """PostgreSQL ends the connection in the middle of a transaction, at seeded ones."""
    wanted, commits = undisturbed.left, undisturbed.commits
    for at in random.Random(SEED).sample(range(1, commits), 3):
        with night(tmp_path / f"night{at}", company, postgres_stores(), process) as found:
            codes, _ = found.run({"kind": "cut", "at": at, "side": "before"})
            expect_a_clean_end(found, codes, wanted, f"connection lost in transaction {at}")
