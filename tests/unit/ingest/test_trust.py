"""Files that are not to be believed: guards, pure and at work, and what they must never cost anybody."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from bridge.feed_settings import FeedSettings, TrustSettings
from bridge.sync.trust import Counted, circles, is_older, stamp_in, tripped

from .conftest import SAMPLE, Desk

DAY1, DAY2 = SAMPLE / "hris_people_day1.csv", SAMPLE / "hris_people_day2.csv"
COLUMNS = frozenset({"person", "last_name", "email"})
GOOD = Counted(rows=1000, refused=0, in_common=1000, columns=COLUMNS, last_rows=1000, last_columns=COLUMNS, known=1000)


def names(counted: Counted, **trust: float) -> list[str]:
    """Return the names of the guards that trip."""
    return [guard.name for guard in tripped(counted, TrustSettings.model_validate(trust))]


def test_a_drop_of_exactly_the_percentage_passes_and_one_row_more_does_not() -> None:
    """Ten per cent of 1,000 may go; 101 may not."""
    assert names(replace(GOOD, rows=900)) == []
    assert names(replace(GOOD, rows=899)) == ["maximum-drop"]


def test_a_small_company_may_lose_a_few_rows() -> None:
    """Five of twenty is a quarter, and still no flood."""
    assert names(replace(GOOD, rows=15, last_rows=20)) == []
    assert names(replace(GOOD, rows=14, last_rows=20)) == ["maximum-drop"]


def test_the_share_of_refused_rows_is_exact() -> None:
    """Fifty of 1,000 pass, fifty-one do not."""
    assert names(replace(GOOD, refused=50)) == []
    assert names(replace(GOOD, refused=51)) == ["maximum-rejected"]


def test_a_file_of_strangers_is_of_another_company() -> None:
    """Fewer than half known: not ours."""
    assert names(replace(GOOD, in_common=500)) == []
    assert names(replace(GOOD, in_common=499)) == ["in-common"]


def test_a_column_that_was_there_must_stay() -> None:
    """Without it everybody's manager would be emptied."""
    assert names(replace(GOOD, last_columns=COLUMNS | {"manager"})) == ["columns-gone"]
    assert names(replace(GOOD, columns=frozenset({"person"}))) == ["required-columns"]


def test_a_manifest_must_agree_with_the_file() -> None:
    """Count and checksum, each by itself; and it must be there where it is required."""
    vouched = replace(GOOD, has_manifest=True, manifest_rows=1001, manifest_sha256="a" * 64, sha256="b" * 64)
    assert names(vouched) == ["manifest-rows", "manifest-checksum"]
    required = TrustSettings(manifest="required")
    assert [guard.name for guard in tripped(GOOD, required)] == ["manifest-missing"]


def test_a_delta_is_not_measured_by_its_size() -> None:
    """Three changes where a thousand people are is what a delta is for."""
    assert names(replace(GOOD, rows=3, in_common=0, delta=True)) == []


@pytest.mark.parametrize(
    ("name", "stamp"),
    [
        ("people_20261231.csv", "2026-12-31T00:00:00"),
        ("people-2026-12-31_0215.csv", "2026-12-31T02:15:00"),
        ("2026.12.31.csv", "2026-12-31T00:00:00"),
        ("people_20261399.csv", ""),
        ("people.csv", ""),
        ("export_1202612310.csv", ""),
    ],
)
def test_a_date_in_a_file_name_is_read(name: str, stamp: str) -> None:
    """Year first, with or without a time; what is no date is none."""
    assert stamp_in(name) == stamp


def test_without_both_stamps_nobody_can_tell_which_file_is_older() -> None:
    """An empty stamp is never older."""
    assert is_older("2026-01-01", "2026-01-02")
    assert not is_older("", "2026-01-02")
    assert not is_older("2026-01-01", "")


def test_circles_among_managers_are_found_each_once() -> None:
    """A chain that leads into a circle is not part of it; a very long chain is no trouble."""
    edges = {"a": ("b", 1), "b": ("c", 2), "c": ("b", 3), "d": ("d2", 4), "e": ("a", 5)}
    assert [set(circle) for circle in circles(edges)] == [{"b", "c"}]
    assert circles({str(n): (str(n + 1), n) for n in range(100_000)}) == []


# --- At work --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "guard"),
    [
        (b"", "unreadable"),
        (b"employee_id,first_name,last_name,email\n", "minimum-rows"),
        (b"\xff\xfe\x00junk", "unreadable"),
        (b"employee_id,first_name,last_name,email\nX1,A,B,a@b.example\n" * 1, "maximum-drop"),
    ],
    ids=["empty", "header only", "not text", "one row"],
)
def test_a_file_that_says_next_to_nothing_costs_nobody_anything(day1: Desk, content: bytes, guard: str) -> None:
    """The feed goes into quarantine, and everybody is as they were."""
    before = day1.roster()
    result = day1.take_bytes(content)
    assert result.state == "quarantined"
    assert guard in [one.name for one in result.guards]
    assert day1.roster() == before


def test_a_file_of_the_wrong_company_costs_nobody_anything(day1: Desk) -> None:
    """The same shape and size, other people."""
    before = day1.roster()
    result = day1.take_bytes(DAY1.read_bytes().replace(b"E0", b"Q0").replace(b"@northwind", b"@southwind"))
    assert [guard.name for guard in result.guards] == ["in-common"]
    assert day1.roster() == before


def test_ids_that_lost_their_leading_zeros_put_the_feed_into_quarantine(desk: Desk) -> None:
    """What a spreadsheet does to numbers must not make new people of old ones."""
    rows = [[f"{n:05d}", "A", f"N{n}", f"p{n}@x.example", "Nurse", "", "", ""] for n in range(1, 30)]
    desk.take_rows(rows)
    result = desk.take_rows([[str(int(row[0])), *row[1:]] for row in rows])
    assert "leading-zeros" in [guard.name for guard in result.guards]
    assert set(desk.roster()) == {row[0] for row in rows}


def test_a_good_file_after_a_bad_one_opens_the_feed_again(day1: Desk) -> None:
    """Nobody has to release a truncated file when the whole one follows."""
    day1.take_bytes(b"employee_id,first_name,last_name,email\n", "cut.csv")
    assert day1.state() == "quarantined"
    assert day1.take(DAY2).state == "accepted"
    assert day1.state() == "open"


def test_a_discarded_file_leaves_the_feed_as_it_was(day1: Desk) -> None:
    """A person may also say: not this one."""
    before = day1.roster()
    day1.take_bytes(b"".join(DAY1.read_bytes().splitlines(keepends=True)[:100]) + b"E99999,short\n")
    result = day1.release(discard=True)
    assert (result.state, result.exit_code) == ("discarded", 0)
    assert result.rejected > 0, "its faults are no news to whoever drops it"
    assert (day1.state(), day1.roster()) == ("open", before)


def test_released_as_a_whole_a_small_file_counts_in_full(day1: Desk) -> None:
    """Who is not in it is missing from then on, and the next file is measured against it."""
    day1.take_bytes(b"".join(DAY1.read_bytes().splitlines(keepends=True)[:101]))
    result = day1.release()
    assert (result.state, result.rows, result.missing, result.absent) == ("accepted", 100, 3900, 0)


def test_day_two_cut_at_a_row_never_makes_an_absence_certain(after_day1_copies: Callable[[], Desk]) -> None:
    """A file that ends too early, sent once, costs nobody anything; in `make test` at every 400th row."""
    lines = DAY2.read_bytes().splitlines(keepends=True)
    for count in range(0, len(lines), 400):
        desk = after_day1_copies()
        result = desk.take_bytes(b"".join(lines[:count]))
        _nobody_lost(desk, result.absent)


def test_day_two_cut_at_any_byte_never_makes_an_absence_certain(after_day1_copies: Callable[[], Desk]) -> None:
    """Also where the cut is inside a row, a quote or a letter; in `make test` at ten places."""
    content = DAY2.read_bytes()
    chance = random.Random(20261231)
    for _ in range(10):
        desk = after_day1_copies()
        result = desk.take_bytes(content[: chance.randrange(len(content))])
        _nobody_lost(desk, result.absent)


@pytest.mark.sweep
@pytest.mark.timeout(1800)
def test_day_two_cut_at_every_fiftieth_row_and_two_hundred_bytes(after_day1_copies: Callable[[], Desk]) -> None:
    """The full sweep of the two tests above."""
    content = DAY2.read_bytes()
    lines = content.splitlines(keepends=True)
    chance = random.Random(7)
    cuts = [b"".join(lines[:count]) for count in range(0, len(lines), 50)]
    cuts += [content[: chance.randrange(len(content))] for _ in range(200)]
    for cut in cuts:
        desk = after_day1_copies()
        result = desk.take_bytes(cut)
        _nobody_lost(desk, result.absent)


def test_the_last_row_of_a_file_cut_short_is_not_believed(make_desk: Callable[..., Desk]) -> None:
    """An address cut at the right place is still an address; the missing line end tells."""
    desk = make_desk()
    rows = b"".join(b"E%d,A,N%d,p%d@x.example\n" % (n, n, n) for n in range(50))
    head = b"employee_id,first_name,last_name,email\n"
    desk.take_bytes(head + rows)
    result = desk.take_bytes(head + rows[: -len(b"ple\n")])
    assert (result.state, result.rejected, result.missing) == ("accepted", 1, 0)
    assert desk.rejections()[0].fault.rule == "cut-row"
    assert desk.roster()["E49"].row.email == "p49@x.example"


def test_a_file_with_too_many_refused_rows_names_the_first_causes(make_desk: Callable[..., Desk]) -> None:
    """The rejections are there for the person who has to decide, also before the release."""
    desk = make_desk(FeedSettings(trust=TrustSettings(small=0)))
    result = desk.take_rows([[f"E{n}", "A", "B", "nowhere", "", "", "", ""] for n in range(10)])
    assert [guard.name for guard in result.guards] == ["maximum-rejected"]
    assert [one.fault.rule for one in desk.rejections()] == ["email"] * 10


def _nobody_lost(desk: Desk, absent: int) -> None:
    assert absent == 0
    listed = desk.roster()
    assert len(listed) >= 4000
    assert not any(one.absent for one in listed.values())
