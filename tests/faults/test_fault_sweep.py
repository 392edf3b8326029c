"""Whatever goes wrong in a night: it ends right, or stops cleanly and says why, and the next one is right."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.store.database import BUSY_SECONDS
from tests.databases import databases
from tests.faults.night import Night, Undisturbed, night
from tests.faults.sites import SITES, Moodle, TotaraApi, TotaraSftp
from tests.faults.tls import TlsFront
from tests.faults.warm import Warm, warm

SEED = 20261126
STOPPED = {1, 2, 3, 4, 5}
"""Exit codes of a command that did not get to its end and says so."""
SAMPLE = 10
"""How many faults of a site the ordinary tests try; `make sweep` tries all."""
AT_ONCE = 20
"""How many times two nights run at once, each time with another lead."""

OF_SITES = [(site.name, fault) for site in (Moodle, TotaraApi, TotaraSftp) for fault in site.faults]
"""What a site, its network or its file server does to one request: each of these, at every request of a night."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where nights are struck: what they need, wherever they are made."""

    folder: Path
    company: Path
    process: Warm
    stores: dict[str, Callable[[], str]]
    undisturbed_of: Callable[[str], Undisturbed]

    @contextmanager
    def night(self, kind: str, database: str = "") -> Iterator[Night]:
        """A night of a kind of site that is yet to come; nothing is kept of it here if it ended well."""
        database = database or databases.kind
        folder = self.folder / "night"
        with night(kind, folder, self.company, self.stores[database](), self.process) as found:
            yield found
        shutil.rmtree(folder)


@pytest.fixture
def place(
    tmp_path: Path,
    company: Path,
    process: Warm,
    sqlite_stores: Callable[[], str],
    postgres_stores: Callable[[], str],
    undisturbed_of: Callable[[str], Undisturbed],
) -> Place:
    """Nights on both databases."""
    stores = {"sqlite": sqlite_stores, "postgresql": postgres_stores}
    return Place(tmp_path, company, process, stores, undisturbed_of)


def expect_words(found: Night, codes: list[int], what: str) -> bool:
    """It is through, or stopped and said why. Tells whether it stopped."""
    said = found.said()
    assert "Traceback" not in said, f"{what}: {said[-3000:]}"
    stopped = codes[-1] != 0
    if stopped:
        assert codes[-1] in STOPPED, f"{what}: ended with {codes}\n{said[-3000:]}"
        assert len(said.strip().splitlines()[-1]) > 20, f"{what}: no word of what happened: {said[-500:]}"
    return stopped


def expect_a_clean_end(found: Night, codes: list[int], wanted: Any, what: str) -> bool:
    """It is through and right, or stopped and said why; the night after is right. Tells whether it stopped."""
    stopped = expect_words(found, codes, what)
    assert stopped or found.left() == wanted, what
    found.site.watch(None)
    found.site.calm()
    again, _ = found.run()
    assert again == [0, 0, 0], f"{what}: the night after ended with {again}\n{found.said()[-3000:]}"
    assert found.left() == wanted, f"{what}: the night after"
    assert found.made_twice() == [], what
    assert found.still_open() == 0, what
    return stopped


# --- What a site, its network or its file server does -----------------------------------------------------------------


def strike_request(place: Place, kind: str, fault: str, index: int) -> bool:
    """Let a fault strike a request; tell whether the night stopped."""
    with place.night(kind) as found:
        found.site.strike(fault, index)
        codes, _ = found.run()
        return expect_a_clean_end(found, codes, place.undisturbed_of(kind).left, f"{kind}: {fault} at request {index}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["moodle", "totara-api", "totara-sftp"])
def test_a_fault_at_any_request_ends_the_night_right_or_stops_it_with_a_reason(place: Place, kind: str) -> None:
    """A seeded sample of faults and requests."""
    requests = place.undisturbed_of(kind).requests
    every = [(fault, index) for site, fault in OF_SITES if site == kind for index in range(1, requests + 1)]
    for fault, index in random.Random(SEED).sample(every, SAMPLE if kind == "moodle" else SAMPLE // 2):
        strike_request(place, kind, fault, index)


@pytest.mark.sweep
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("kind", "fault"), OF_SITES)
def test_every_fault_at_every_request(place: Place, kind: str, fault: str) -> None:
    """All of them, one fault class at a time."""
    indexes = range(1, place.undisturbed_of(kind).requests + 1)
    stopped = sum(strike_request(place, kind, fault, index) for index in indexes)
    print(f"\n{kind}, {fault}: {len(indexes)} requests struck, {stopped} nights stopped with a reason, all right after")


# --- What strikes from inside: names, disks, databases, clocks --------------------------------------------------------


def _each(most: int, **more: Any) -> list[dict[str, Any]]:
    return [{"at": at, **more} for at in range(1, most + 1)]


INSIDE: dict[str, tuple[str, Callable[[Undisturbed], list[dict[str, Any]]]]] = {
    "no name server": ("sqlite", lambda calm: _each(calm.names, kind="names")),
    "store's disk full": ("sqlite", lambda calm: _each(calm.commits, kind="full", side="before")),
    "store read-only": ("sqlite", lambda calm: _each(calm.commits, kind="query only", side="before")),
    "store locked for a moment": (
        "sqlite",
        lambda calm: _each(calm.commits, kind="locked", side="after", seconds=0.5),
    ),
    "PostgreSQL lost within a transaction": ("postgresql", lambda calm: _each(calm.commits, kind="cut", side="before")),
    "PostgreSQL lost between two": ("postgresql", lambda calm: _each(calm.commits, kind="cut", side="after")),
    "clock two hours forward": (
        "sqlite",
        lambda calm: _each(calm.commits, kind="jump", side="after", seconds=7200),
    ),
    "clock two hours back": (
        "sqlite",
        lambda calm: _each(calm.commits, kind="jump", side="after", seconds=-7200),
    ),
    "files' disk full": ("sqlite", lambda calm: _each(calm.effects, kind="no room")),
    "files' disk read-only": ("sqlite", lambda calm: _each(calm.effects, kind="read only")),
}
"""What goes wrong around the program: on which database, and all its moments in a night."""


def strike_inside(place: Place, kind: str, fault: str, strike: dict[str, Any]) -> bool:
    """Let something go wrong at its moment; tell whether the night stopped."""
    with place.night(kind, INSIDE[fault][0]) as found:
        codes, _ = found.run(strike)
        return expect_a_clean_end(found, codes, place.undisturbed_of(kind).left, f"{kind}: {fault}, {strike}")


@pytest.mark.slow
@pytest.mark.parametrize("fault", INSIDE)
def test_a_fault_around_the_program_ends_the_night_right_or_stops_it_with_a_reason(place: Place, fault: str) -> None:
    """Of each kind of fault a seeded sample: once on a Moodle, once on a Totara."""
    chance = random.Random(f"{SEED} {fault}")
    for kind in ("moodle", "totara"):
        every = INSIDE[fault][1](place.undisturbed_of(kind))
        if every:
            strike_inside(place, kind, fault, chance.choice(every))


@pytest.mark.sweep
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", ["moodle", "totara", "totara-api"])
@pytest.mark.parametrize("fault", INSIDE)
def test_every_fault_around_the_program_at_every_moment(place: Place, kind: str, fault: str) -> None:
    """All moments. What lies behind SFTP is the same around the program as what lies in a folder."""
    every = INSIDE[fault][1](place.undisturbed_of(kind))
    stopped = sum(strike_inside(place, kind, fault, strike) for strike in every)
    print(f"\n{kind}, {fault}: {len(every)} moments, {stopped} nights stopped with a reason, all right after")


def test_a_file_that_may_grow_no_further_stops_the_night_with_a_reason(place: Place) -> None:
    """The kernel refuses to let any file grow beyond a size, as a quota does."""
    for size in (150_000, 400_000):
        with place.night("moodle") as found:
            codes, _ = found.run({"kind": "disk", "bytes": size})
            expect_a_clean_end(found, codes, place.undisturbed_of("moodle").left, f"files of at most {size} bytes")


@pytest.mark.sweep
@pytest.mark.timeout(1200)
def test_a_store_that_stays_locked_stops_the_night_with_a_reason(place: Place) -> None:
    """Locked for longer than anybody waits, at three boundaries."""
    calm = place.undisturbed_of("moodle")
    stopped = 0
    for at in random.Random(SEED).sample(range(2, calm.commits), 3):
        with place.night("moodle") as found:
            codes, _ = found.run({"kind": "locked", "at": at, "side": "after", "seconds": BUSY_SECONDS + 10})
            stopped += expect_a_clean_end(found, codes, calm.left, f"locked for long after transaction {at}")
    assert stopped
    print(f"\nstore locked for longer than {BUSY_SECONDS} s: 3 moments, {stopped} nights stopped with a reason")


# --- Certificates -----------------------------------------------------------------------------------------------------


def test_a_site_that_does_not_speak_tls_stops_the_night_with_a_reason(place: Place) -> None:
    """The address says https and what answers does not."""
    with place.night("moodle") as found:
        address = found.environment()["MOODLE_URL"]
        found.more["MOODLE_URL"] = address.replace("http://", "https://")
        codes, _ = found.run()
        found.more.clear()
        assert expect_a_clean_end(found, codes, place.undisturbed_of("moodle").left, "no TLS")


def swap_certificate(place: Place, kind: str, index: int) -> bool:
    """Show another certificate from one request on; tell whether the night stopped."""
    variable = {"moodle": "MOODLE_URL", "totara-api": "TOTARA_URL"}[kind]
    with ExitStack() as stack:
        found = stack.enter_context(place.night(kind))
        port = int(found.environment()[variable].rpartition(":")[2])
        front = stack.enter_context(TlsFront(port, found.folder))
        found.more |= {variable: front.url, "REQUESTS_CA_BUNDLE": str(front.trusted)}
        found.site.watch(_at(index, front.spoil))
        codes, _ = found.run()
        front.mend()
        wanted = place.undisturbed_of(kind).left
        return expect_a_clean_end(found, codes, wanted, f"{kind}: another certificate from request {index} on")


def _at(index: int, act: Callable[[], None]) -> Callable[[str, int, str], None]:
    def hook(moment: str, number: int, _function: str) -> None:
        if (moment, number) == ("before", index):
            act()

    return hook


@pytest.mark.slow
def test_a_certificate_that_is_no_longer_trusted_stops_the_night_with_a_reason(place: Place) -> None:
    """Swapped in the middle of a night, once for each site that is spoken to over TLS."""
    for kind in ("moodle", "totara-api"):
        assert swap_certificate(place, kind, random.Random(SEED).randint(1, place.undisturbed_of(kind).requests - 1))


@pytest.mark.sweep
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", ["moodle", "totara-api"])
def test_a_certificate_swapped_at_every_request(place: Place, kind: str) -> None:
    """At each request of a night."""
    indexes = range(1, place.undisturbed_of(kind).requests + 1)
    stopped = sum(swap_certificate(place, kind, index) for index in indexes)
    print(f"\n{kind}, certificate: {len(indexes)} requests, {stopped} nights stopped with a reason, all right after")


# --- Two at once ------------------------------------------------------------------------------------------------------


def two_at_once(place: Place, other: Warm, kind: str, lead: float, database: str) -> list[int]:
    """Run a night of one site from two processes, the second some seconds later; return how the two ended."""
    with place.night(kind, database) as found:
        ended: dict[str, list[int]] = {}
        second = Night(found.folder, found.site, found.store, other, words="second.txt", dusk=found.dusk)

        def follow() -> None:
            time.sleep(lead)
            ended["second"] = second.run()[0]

        thread = threading.Thread(target=follow)
        thread.start()
        ended["first"] = found.run()[0]
        thread.join()
        what = f"{kind} on {database}: two at once, {lead:.2f} s apart"
        expect_words(second, ended["second"], f"{what}, the second")
        expect_a_clean_end(found, ended["first"], place.undisturbed_of(kind).left, what)
        return sorted(codes[-1] for codes in ended.values())


@pytest.fixture(scope="session")
def other_process() -> Iterator[Warm]:
    """A second warm process."""
    with warm() as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "database"), [("moodle", "postgresql"), ("totara", "sqlite")])
def test_two_nights_at_once_leave_what_one_leaves(place: Place, other_process: Warm, kind: str, database: str) -> None:
    """Whoever comes second waits, finds it done, or stops and says who is at it."""
    two_at_once(place, other_process, kind, 0.2, database)


@pytest.mark.sweep
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
@pytest.mark.parametrize("kind", SITES)
def test_two_nights_at_once_with_every_lead(place: Place, other_process: Warm, kind: str, database: str) -> None:
    """The second starts at another moment of the first each time."""
    ends = [two_at_once(place, other_process, kind, number * 0.1, database) for number in range(AT_ONCE)]
    print(f"\n{kind} on {database}: two at once {AT_ONCE} times, {ends.count([0, 0])} both through, all right after")
