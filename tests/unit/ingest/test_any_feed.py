"""Feeds as chance makes them: broken bytes, and any two nights in a row."""

from __future__ import annotations

import csv
import itertools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.feed_settings import FeedSettings, TrustSettings
from bridge.model import PersonStatus
from bridge.store import Store
from jobs.ingest import FeedContext, IngestResult
from jobs.workforce import FeedQuarantined, workforce

from .conftest import HEADERS, SAMPLE, TODAY, Desk

DAY2 = SAMPLE / "hris_people_day2.csv"

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
    place = content.index(b",", chance.randrange(len(content) - 200)) + 1
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


def survive(copies: Callable[[int], Desk], seed: int, damages: tuple[Damage, ...]) -> None:
    """Take in a damaged second day and check that nobody was lost over it, in bounded time."""
    chance = random.Random(seed)
    lines = DAY2.read_bytes().splitlines(keepends=True)
    content = b"".join(lines)
    for damage in chance.sample(damages, chance.choice((1, 1, 2)) if len(damages) > 1 else 1):
        content = damage(chance, content) or b"\n"
    desk = copies(1)
    start = time.perf_counter()
    result = desk.take_bytes(content)
    assert time.perf_counter() - start < 60
    assert result.absent == 0, f"seed {seed}"
    listed = desk.roster()
    assert len(listed) >= 4000
    assert not any(one.absent for one in listed.values())
    if result.state == "quarantined":
        with pytest.raises(FeedQuarantined):
            workforce(desk.store, ["hr"], TODAY)
    else:
        assert len(workforce(desk.store, ["hr"], TODAY).people) >= 4000
    desk.store.close()
    Path(str(desk.store.engine.url.database)).unlink()  # the sweep makes thousands of them


@pytest.mark.parametrize("seed", range(14))
def test_a_damaged_feed_costs_nobody_anything(copies: Callable[[int], Desk], seed: int) -> None:
    """No traceback, no absence, an answer in bounded time: a seeded sample of the sweep."""
    survive(copies, seed, DAMAGES)


def test_a_value_of_ten_megabytes_costs_its_row_alone(copies: Callable[[int], Desk]) -> None:
    """The row is refused, or kept where nothing reads the value."""
    survive(copies, 1, (swell,))


@pytest.mark.sweep
@pytest.mark.timeout(7200)
def test_five_thousand_damaged_feeds(copies: Callable[[int], Desk]) -> None:
    """The full sweep."""
    for seed in range(5000):
        survive(copies, seed, (*DAMAGES, swell) if seed % 25 == 0 else DAMAGES)


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
def shared_store() -> Iterator[Store]:
    """A store in memory; each example has a feed of its own in it."""
    store = Store.open("sqlite://")
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
