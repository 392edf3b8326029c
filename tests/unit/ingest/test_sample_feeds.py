"""The three feeds of the sample company, one after another, number by number."""

from __future__ import annotations

from .conftest import SAMPLE, Desk

DAY1, DAY2, DAY3 = (
    SAMPLE / name for name in ("hris_people_day1.csv", "hris_people_day2.csv", "hris_people_day3_dirty.csv")
)

PLANTED = {
    12: ("E00012", "duplicate-id"),
    13: ("E00012", "duplicate-id"),
    22: ("", "id-empty"),
    32: ("E00031", "email"),
    42: ("E00041", "unit-unknown"),
    52: ("E00051", "manager-unknown"),
    62: ("E00061", "manager-circle"),
    63: ("E00062", "manager-circle"),
    72: ("E00071", "date"),
    82: ("E00081", "row-too-short"),
    92: ("E00091", "row-too-long"),
    113: ("E00111", "formula"),
    123: ("E00122", "title-too-long"),
    133: ("E00132", "status-unknown"),
    143: ("E00142", "email-shared"),
}
"""Faults that somebody put into the third file, by the line on which their row starts."""


def test_the_first_day_makes_four_thousand_people_known(company: Desk) -> None:
    """All rows of the first day are good and new."""
    result = company.take(DAY1)
    assert (result.state, result.rows, result.created, result.rejected) == ("accepted", 4000, 4000, 0)
    assert result.exit_code == 0
    assert len(company.roster()) == 4000


def test_the_second_day_makes_exactly_the_differences_described(company: Desk) -> None:
    """25 leave, 40 are missed, 60 move, 80 get another title, 30 another address, 50 are hired."""
    company.take(DAY1)
    result = company.take(DAY2)
    assert (result.state, result.rows, result.created, result.updated, result.unchanged) == (
        "accepted", 4010, 50, 195, 3765,
    )  # fmt: skip
    assert result.changed == {"status": 25, "unit": 60, "title": 80, "email": 30}
    assert (result.terminated, result.missing, result.absent) == (25, 40, 0)
    listed = company.roster()
    assert sum(one.missed for one in listed.values()) == 40
    assert not any(one.absent for one in listed.values())
    assert len(listed) == 4050, "nobody is taken away"


def test_a_second_file_without_them_makes_the_absence_certain(after_day2: Desk) -> None:
    """Another file that lacks the forty confirms that they are gone."""
    lines = DAY2.read_bytes().splitlines(keepends=True)
    result = after_day2.take_bytes(b"".join([lines[0], *reversed(lines[1:])]))
    assert (result.unchanged, result.missing, result.absent) == (4010, 0, 40)
    assert sum(one.absent for one in after_day2.roster().values()) == 40


def test_a_manifest_makes_the_absence_certain_at_once(company: Desk) -> None:
    """With a manifest that vouches for the file, nobody waits for a second one."""
    company.take(DAY1)
    result = company.take(DAY2, has_manifest=True, manifest_rows=4010)
    assert (result.missing, result.absent) == (0, 40)


def test_the_third_day_trips_the_size_guard_and_changes_nothing(after_day2: Desk) -> None:
    """500 rows where 4,010 were: the feed goes into quarantine, the last good state stays."""
    before = after_day2.roster()
    result = after_day2.take(DAY3)
    assert (result.state, result.exit_code) == ("quarantined", 3)
    assert [guard.name for guard in result.guards] == ["maximum-drop"]
    assert after_day2.state() == "quarantined"
    assert after_day2.roster() == before


def test_released_in_part_the_third_day_changes_only_its_good_rows(after_day2: Desk) -> None:
    """One good row says something new; names that only lost letters keep them; nobody is missed or taken away."""
    before = after_day2.roster()
    after_day2.take(DAY3)
    result = after_day2.release(partial=True)
    assert (result.state, result.rows, result.updated, result.unchanged, result.rejected) == (
        "partial", 500, 1, 484, 15,
    )  # fmt: skip
    after = after_day2.roster()
    changed = {person for person in before if before[person] != after[person]}
    assert changed == {"E00101"}
    assert after["E00101"].row.title == 'Nurse; "Lead" Ward 7'
    assert after.keys() == before.keys()
    assert (result.missing, result.absent) == (0, 0)
    assert after_day2.state() == "open"


def test_the_third_day_lists_every_planted_fault_with_its_line(after_day2: Desk) -> None:
    """Fifteen rows are refused for what was planted in them, the sixteenth is kept with a remark."""
    after_day2.take(DAY3)
    after_day2.release(partial=True)
    refused = {one.fault.line: (one.person, one.fault.rule) for one in after_day2.rejections() if one.refused}
    assert refused == PLANTED
    kept = [(one.fault.line, one.fault.rule) for one in after_day2.rejections() if not one.refused]
    assert (102, "line-break") in kept
    assert sum(rule == "letters-lost" for _, rule in kept) == 36, "the 37th is in a row that is refused anyway"


def test_the_fault_names_the_column_as_the_file_heads_it(after_day2: Desk) -> None:
    """The sender sees the header they wrote, the value, and what to do."""
    after_day2.take(DAY3)
    fault = next(one.fault for one in after_day2.rejections() if one.fault.rule == "status-unknown")
    assert (fault.file, fault.line, fault.column, fault.value) == (DAY3.name, 133, "Status", "on holiday")
    assert "active" in fault.remedy


def test_the_night_after_the_release_is_measured_against_the_last_whole_file(after_day2: Desk) -> None:
    """The partly accepted 500 rows are not what the next whole file is compared with."""
    after_day2.take(DAY3)
    after_day2.release(partial=True)
    lines = DAY2.read_bytes().splitlines(keepends=True)
    result = after_day2.take_bytes(b"".join([lines[0], *reversed(lines[1:])]))
    assert (result.state, result.updated, result.unchanged) == ("accepted", 1, 4009)
    assert not [one for one in after_day2.rejections() if one.refused], "a whole file clears what was refused"


def test_a_byte_identical_file_is_recognised_from_its_hash(after_day2: Desk) -> None:
    """Nothing is read, and nobody's absence becomes certain for having been told twice by the same bytes."""
    result = after_day2.take(DAY2)
    assert (result.state, result.unchanged, result.absent) == ("identical", 4010, 0)


def test_an_identical_file_with_a_later_date_in_its_name_confirms_absences(company: Desk) -> None:
    """Tonight's export says the same as last night's: that is a second file that lacks them."""
    company.take_bytes(DAY1.read_bytes(), "people_2026-12-29.csv")
    company.take_bytes(DAY2.read_bytes(), "people_2026-12-30.csv")
    assert company.take_bytes(DAY2.read_bytes(), "people_2026-12-31.csv").absent == 40


def test_an_older_file_is_refused_and_the_feed_goes_on(after_day2: Desk) -> None:
    """The first day again, after the second: nothing happens, and the feed stays open."""
    result = after_day2.take(DAY1)
    assert (result.state, result.exit_code) == ("refused", 3)
    assert after_day2.state() == "open"
