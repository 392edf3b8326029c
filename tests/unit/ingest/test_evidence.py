"""What is no evidence that somebody left: the same bytes again, a new time of change, a manifest that does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bridge.feed_settings import FeedSettings, TrustSettings
from bridge.store import Store, roster

from .conftest import SAMPLE, Desk

DAY1, DAY2 = SAMPLE / "hris_people_day1.csv", SAMPLE / "hris_people_day2.csv"

ROWS = [[f"E{n:02d}", "Ana", f"Kaur{n}", f"p{n}@x.example", "Nurse", "", "", ""] for n in range(20)]


def absent(desk: Desk) -> set[str]:
    """Return whose absence is certain."""
    return {person for person, one in desk.roster().items() if one.absent}


def test_the_same_bytes_read_by_other_rules_confirm_nobodys_absence(after_day2: Desk) -> None:
    """Somebody changes a setting and takes the same file in once more: that is no second file."""
    after_day2.context = replace(
        after_day2.context, settings=after_day2.context.settings.model_copy(update={"unknown_unit": "drop"})
    )
    result = after_day2.take(DAY2)
    assert (result.state, result.unchanged, result.absent) == ("accepted", 4010, 0)
    assert absent(after_day2) == set()
    assert sum(one.missed for one in after_day2.roster().values()) == 40, "they are still missed"


def test_the_same_bytes_with_a_later_time_of_change_confirm_nobodys_absence(day1: Desk) -> None:
    """Whoever copies a file gives it a new time; only a date in its name, or a manifest, is the sender's word."""
    assert day1.take(DAY2, stamp="2026-12-30T02:00:00").missing == 40
    assert day1.take(DAY2, stamp="2026-12-31T02:00:00").absent == 0
    assert absent(day1) == set()


def test_a_manifest_that_comes_later_vouches_for_the_same_bytes(after_day2: Desk) -> None:
    """The sender says now that the file is whole: nobody waits for another one."""
    result = after_day2.take(DAY2, has_manifest=True, manifest_rows=4010)
    assert (result.state, result.absent, len(absent(after_day2))) == ("identical", 40, 40)


def test_an_older_file_that_comes_again_with_a_new_date_in_its_name_is_taken(desk: Desk) -> None:
    """A mistake was sent on Tuesday, and on Wednesday all is as it was on Monday: the date says that it is news."""
    desk.take_rows(ROWS, "people_2026-12-01.csv")
    wrong = [[*ROWS[0][:4], "Docter", *ROWS[0][5:]], *ROWS[1:]]
    desk.take_rows(wrong, "people_2026-12-02.csv")
    result = desk.take_rows(ROWS, "people_2026-12-03.csv")
    assert (result.state, result.updated) == ("accepted", 1)
    assert desk.roster()["E00"].row.title == "Nurse"


def test_an_older_file_that_merely_comes_again_is_refused(desk: Desk) -> None:
    """Without a newer date in its name nobody can tell it from a file that was put there by mistake."""
    desk.take_rows(ROWS, "people.csv")
    desk.take_rows([[*ROWS[0][:4], "Doctor", *ROWS[0][5:]], *ROWS[1:]], "people.csv")
    result = desk.take_rows(ROWS, "people.csv", stamp="2030-01-01T02:00:00")
    assert (result.state, result.exit_code) == ("refused", 3)
    assert "date" in result.guards[0].remedy
    assert desk.roster()["E00"].row.title == "Doctor"


def test_a_manifest_that_does_not_fit_its_file_vouches_for_nothing_when_somebody_releases_it(day1: Desk) -> None:
    """3,900 people are missing from the released file; it takes a second one to be certain of it."""
    part = b"".join(DAY1.read_bytes().splitlines(keepends=True)[:101])
    result = day1.take_bytes(part, has_manifest=True, manifest_rows=4000)
    assert "manifest-rows" in [guard.name for guard in result.guards]
    result = day1.release()
    assert (result.state, result.missing, result.absent) == ("accepted", 3900, 0)
    assert absent(day1) == set()


def test_a_held_row_takes_over_although_its_file_says_the_same_every_night(
    make_desk: Callable[..., Desk], any_store: Store
) -> None:
    """Labs sends the same bytes each night; once HR no longer lists the person, the row of labs holds."""
    hr = make_desk(name="hr", others=("labs",), store=any_store)
    labs = make_desk(name="labs", others=("hr",), store=hr.store)
    hr.take_rows(ROWS)
    mover = [["E00", "Ana", "Kaur0", "p0@x.example", "Chemist", "", "", ""]]
    assert labs.take_rows(mover, "labs.csv").held == 1
    assert labs.take_rows(mover, "labs.csv").held == 1
    hr.take_rows(ROWS[1:])
    result = labs.take_rows(mover, "labs.csv")
    assert (result.created, result.held, result.absent) == (1, 0, 0)
    assert labs.roster()["E00"].row.title == "Chemist"


def test_a_row_refused_for_what_only_another_feed_knows_is_looked_at_again(
    make_desk: Callable[..., Desk], any_store: Store
) -> None:
    """The manager becomes known through the other feed; the same bytes are then right, and clear the rejection."""
    hr = make_desk(name="hr", others=("labs",), store=any_store)
    labs = make_desk(name="labs", others=("hr",), store=hr.store)
    rows = [["L1", "Bo", "Ek", "bo@x.example", "Chemist", "", "E00", ""]]
    assert labs.take_rows(rows, "labs.csv").rejected == 1
    hr.take_rows(ROWS)
    result = labs.take_rows(rows, "labs.csv")
    assert (result.created, result.rejected) == (1, 0)
    assert labs.rejections() == []


def test_an_identical_file_counts_its_own_rows_alone(make_desk: Callable[..., Desk], any_store: Store) -> None:
    """A row that waits from an earlier file, whose person's row is refused now, is not one of this file's rows."""
    desk = make_desk(FeedSettings(date_format="%Y-%m-%d"), any_store)
    late = ["E99", "Bo", "Ek", "bo@x.example", "Nurse", "", "", "2027-06-01"]
    desk.take_rows([*ROWS, late])
    broken = [*ROWS, [*late[:3], "no address", *late[4:]]]
    desk.take_rows(broken, "second.csv")
    with desk.store.read() as connection:
        assert roster.waiting_count(connection, "hr") == 1, "a refused row costs nothing of what was known"
    result = desk.take_rows(broken, "second.csv")
    assert (result.rows, result.unchanged, result.waiting, result.rejected) == (21, 20, 0, 1)


def test_a_day_that_comes_is_counted_once_by_an_identical_file(
    make_desk: Callable[..., Desk], any_store: Store
) -> None:
    """Waiting one night, new the next, unchanged from then on; the rows add up each night."""
    desk = make_desk(FeedSettings(date_format="%Y-%m-%d"), any_store)
    rows = [*ROWS, ["E99", "Bo", "Ek", "bo@x.example", "Nurse", "", "", "2027-06-01"]]
    desk.take_rows(rows)
    seen = []
    for day in (
        desk.today,
        desk.today.replace(year=2027, month=6, day=1),
        desk.today.replace(year=2027, month=6, day=2),
    ):
        desk.today = day
        result = desk.take_rows(rows)
        seen.append((result.state, result.created, result.unchanged, result.waiting))
    assert seen == [("identical", 0, 20, 1), ("identical", 1, 20, 0), ("identical", 0, 21, 0)]


def test_changes_are_not_taken_before_earlier_ones_that_are_in_quarantine(
    make_desk: Callable[..., Desk], any_store: Store
) -> None:
    """The first change file is in doubt; a later one would overtake it, and the first would then be refused as old."""
    desk = make_desk(FeedSettings(snapshot="delta", trust=TrustSettings(small=0)), any_store)
    desk.take_rows([[*row[:4], "Nurse", "", "", ""] for row in ROWS], "changes_1.csv")
    assert desk.take_rows([["E00", "Ana", "Kaur0", "nowhere", "", "", "", ""]], "changes_2.csv").state == "quarantined"
    after = [["E01", "Ana", "Kaur1", "p1@x.example", "Doctor", "", "", ""]]
    result = desk.take_rows(after, "changes_3.csv")
    assert (result.state, [guard.name for guard in result.guards]) == ("refused", ["out-of-order"])
    assert desk.state() == "quarantined"
    assert desk.roster()["E01"].row.title == "Nurse"
    corrected = [["E00", "Ana", "Kaur0", "p0@x.example", "Chief", "", "", ""]]
    assert desk.take_rows(corrected, "changes_2.csv").updated == 1, "a corrected one takes its place"
    assert desk.take_rows(after, "changes_3.csv").updated == 1
