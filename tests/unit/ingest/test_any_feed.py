"""Feeds as chance makes them: broken bytes, and any two nights in a row."""

from __future__ import annotations

import csv
import itertools
import random
import resource
import shutil
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.feed_settings import FeedSettings, TrustSettings
from bridge.model import PersonStatus
from bridge.store import Store
from jobs.ingest import FeedContext, IngestResult
from jobs.workforce import FeedQuarantined, workforce
from tests.databases import SQLITE, address, databases

from .conftest import HEADERS, SAMPLE, TODAY, Desk, sample_units

Damage = Callable[[random.Random, bytes], bytes]


def flip(chance: random.Random, content: bytes) -> bytes:
    """Change bytes anywhere."""
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 5, 50))):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged)


def swap_columns(chance: random.Random, content: bytes) -> bytes:
    """Put two headers in each other's place, or all columns in another order."""
    head, _, rest = content.partition(b"\n")
    names = head.split(b",")
    if len(names) < 2:
        return content  # another damage has left nothing to swap
    one, other = chance.sample(range(len(names)), 2)
    names[one], names[other] = names[other], names[one]
    return b",".join(names) + b"\n" + rest


def break_quotes(chance: random.Random, content: bytes) -> bytes:
    """Put quotes where none belong."""
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 3, 20))):
        damaged.insert(chance.randrange(len(damaged)), ord('"'))
    return bytes(damaged)


def add_zero_bytes(chance: random.Random, content: bytes) -> bytes:
    """Put zero bytes somewhere."""
    place = chance.randrange(len(content))
    return content[:place] + b"\0" * chance.choice((1, 7, 4000)) + content[place:]


def cut(chance: random.Random, content: bytes) -> bytes:
    """End somewhere."""
    return content[: chance.randrange(len(content))]


def repeat(chance: random.Random, content: bytes) -> bytes:
    """Repeat a stretch of the file."""
    start = chance.randrange(len(content))
    return content + content[start : start + chance.randrange(20_000)]


def swell(chance: random.Random, content: bytes) -> bytes:
    """Put a value of ten megabytes into a row."""
    place = content.find(b",", chance.randrange(max(1, len(content) - 200))) + 1  # 0 where another damage left no comma
    return content[:place] + chance.choice((b"x", b"=", b"\xc3\xa9")) * 10_000_000 + content[place:]


def mix_line_ends(chance: random.Random, content: bytes) -> bytes:
    """End lines in other ways."""
    return content.replace(b"\n", chance.choice((b"\r", b"\r\n", b"\n\r", b"\n\n", b"\x85")))


def other_delimiter(chance: random.Random, content: bytes) -> bytes:
    """Separate by something else, everywhere or in half the file."""
    half = len(content) // 2
    sign = chance.choice((b";", b"\t", b"|", b" "))
    return content.replace(b",", sign) if chance.random() < 0.5 else content[:half] + content[half:].replace(b",", sign)


def other_encoding(chance: random.Random, content: bytes) -> bytes:
    """Write it in another encoding than anybody expects."""
    return content.decode(errors="replace").encode(
        chance.choice(("utf-16", "utf-16-le", "cp1252", "utf-8-sig", "utf-32")), "replace"
    )


DAMAGES: tuple[Damage, ...] = (
    flip, swap_columns, break_quotes, add_zero_bytes, cut, repeat, mix_line_ends, other_delimiter, other_encoding,
)  # fmt: skip


PEOPLE = 400
"""People of the company whose second day is damaged: enough for every rule to have something to bite on."""

LONGEST = 60
"""Times the cost of the undamaged file that an answer to a damaged one may take: every row wrong in every way."""

MOST_MEMORY = 100 * 1024 * 1024
"""Bytes that an answer to a file with a value of ten megabytes may take."""


@dataclass(frozen=True)
class Company:
    """A part of the sample company, known as of its first day, and the file of its second."""

    store: str
    second_day: bytes
    cost: float
    """Seconds of computing that the undamaged second day takes."""


def first_lines(day: int) -> bytes:
    """Return the header and the first people of a day's file."""
    return b"".join((SAMPLE / f"hris_people_day{day}.csv").read_bytes().splitlines(keepends=True)[: PEOPLE + 1])


def desk_at(store: str, folder: Path) -> Desk:
    """Return a desk on a store."""
    context = FeedContext("hr", FeedSettings(encoding="cp1252"), units=sample_units())
    return Desk(Store.open(store), folder, context)


@pytest.fixture(scope="session")
def company_of_400(tmp_path_factory: pytest.TempPathFactory) -> Company:
    """The first 400 people, and what their second day costs when nothing is wrong with it."""
    folder = tmp_path_factory.mktemp("company")
    growing = address(folder / "growing.sqlite")
    desk = desk_at(growing, folder)
    desk.take_bytes(first_lines(1))
    desk.store.close()
    day1 = databases.copy(growing, folder / "day1.sqlite")
    start = time.process_time()
    assert desk.take_bytes(first_lines(2)).state == "accepted"
    cost = time.process_time() - start
    desk.store.close()
    return Company(day1, first_lines(2), cost)


def survive(company: Company, folder: Path, seed: int, damages: tuple[Damage, ...]) -> None:
    """Take in a damaged second day and check that nobody was lost over it, for a bounded price."""
    chance = random.Random(seed)
    content = company.second_day
    for damage in chance.sample(damages, chance.choice((1, 1, 2)) if len(damages) > 1 else 1):
        content = damage(chance, content) or b"\n"
    place = folder / str(seed)
    place.mkdir()
    desk = desk_at(databases.copy(company.store, place / "state.sqlite"), folder)
    start = time.process_time()
    result = desk.take_bytes(content)
    assert time.process_time() - start < LONGEST * max(company.cost, 0.05), f"seed {seed}"
    assert result.absent == 0, f"seed {seed}"
    listed = desk.roster()
    assert len(listed) >= PEOPLE
    assert not any(one.absent for one in listed.values())
    if result.state == "quarantined":
        with pytest.raises(FeedQuarantined):
            workforce(desk.store, ["hr"], TODAY)
    else:
        there = workforce(desk.store, ["hr"], TODAY)
        assert len(there.people) >= PEOPLE
        assert not there.absent
        left = sum(one.status is PersonStatus.TERMINATED for one in there.people)
        assert left <= result.terminated, f"seed {seed}: somebody left whom no row calls terminated"
    desk.store.close()
    databases.finish(place)
    shutil.rmtree(place)  # the sweep makes thousands of them


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_feed_costs_nobody_anything(company_of_400: Company, tmp_path: Path, seed: int) -> None:
    """No traceback, no absence, an answer for a bounded price: a seeded sample of the sweep."""
    survive(company_of_400, tmp_path, seed, DAMAGES)


def test_a_value_of_ten_megabytes_costs_its_row_alone_and_little_memory(
    company_of_400: Company, tmp_path: Path
) -> None:
    """The row is refused, or kept where nothing reads the value; the value is not held a dozen times over."""
    tracemalloc.start()
    try:
        survive(company_of_400, tmp_path, 1, (swell,))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY


@pytest.mark.sweep
@pytest.mark.timeout(7200)
def test_five_thousand_damaged_feeds(company_of_400: Company, tmp_path: Path) -> None:
    """The full sweep; what the process holds at its worst stays bounded too."""
    survive(company_of_400, tmp_path, 0, (swell,))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(5000):
        survive(company_of_400, tmp_path, seed, (*DAMAGES, swell) if seed % 25 == 0 else DAMAGES)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"5,000 damaged feeds; peak memory grew by {grown:.0f} MB on the way")
    assert grown < MOST_MEMORY / 1024**2


# --- Any two nights -------------------------------------------------------------------------------------------------

_WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12)
_NUMBERS = st.integers(1, 8).map(lambda n: f"E{n}")
_ROWS = st.lists(
    st.tuples(
        st.one_of(_NUMBERS, _NUMBERS, _WORDS),
        st.one_of(st.just("Ana"), _WORDS),
        st.one_of(st.just("Kaur"), _WORDS),
        st.one_of(st.integers(1, 9).map(lambda n: f"p{n}@x.example"), _WORDS),
        st.one_of(st.sampled_from(("Nurse", "Doctor")), _WORDS),
        st.sampled_from(("", "OPS", "MED")),
        st.one_of(st.just(""), _NUMBERS),
        st.sampled_from(("", "2020-01-01", "2027-06-01", "2026-02-30")),
        st.sampled_from(("active", "active", "terminated", "on leave", "?")),
    ),
    max_size=10,
)


_FRESH = itertools.count()


@pytest.fixture
def shared_store(tmp_path: Path) -> Iterator[Store]:
    """A store, in memory where SQLite is chosen; each example has a feed of its own in it."""
    store = Store.open("sqlite://" if databases.kind == SQLITE else address(tmp_path / "state.sqlite"))
    yield store
    store.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=_ROWS, second=_ROWS)
def test_after_any_two_feeds_everyone_is_as_the_second_says(
    tmp_path: Path, shared_store: Store, first: list[tuple[str, ...]], second: list[tuple[str, ...]]
) -> None:
    """Good rows of the second file hold, the same file again changes nothing, and nobody is ever taken away."""
    trust = TrustSettings(
        minimum_rows=0, maximum_rejected=100, maximum_drop=100, minimum_in_common=0, small=0, required=()
    )
    name = f"feed{next(_FRESH)}"
    desk = Desk(shared_store, tmp_path, FeedContext(name, FeedSettings(trust=trust, date_format="%Y-%m-%d")))
    headers = (*HEADERS, "status")
    _take(desk, headers, first, "first.csv")
    known = desk.roster()
    result = _take(desk, headers, second, "second.csv")
    after = desk.roster()
    assert known.keys() <= after.keys()
    assert result.absent == 0
    if result.state != "accepted":
        return
    refused = {one.fault.line for one in desk.rejections() if one.refused}
    assert result.rejected == len(refused)
    again = _take(desk, headers, [*second, ("E99", "Zed", "Zed", "z@x.example", "", "", "", "", "active")], "c.csv")
    if again.state == "accepted" and again.rejected == result.rejected and again.created == 1:
        assert again.updated == 0, "the same rows change nothing the second time"
        everybody = {one.key: one for one in workforce(shared_store, [name], TODAY).people}
        for person, one in after.items():
            if not one.missed:
                assert everybody[person].status is PersonStatus(one.row.status)


def _take(desk: Desk, headers: tuple[str, ...], rows: list[tuple[str, ...]], name: str) -> IngestResult:
    path = desk.folder / name
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(headers)
        writer.writerows(rows)
    return desk.take(path)
