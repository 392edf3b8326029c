"""When schedules run: cron as cron reads it, changes of the clock, blackouts, each site in its own place."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.cron import Cron
from bridge.daemon_settings import Blackout, DaemonSettings, ScheduleSettings
from bridge.ports import FixConfiguration
from bridge.settings import Settings, SiteSettings
from jobs.schedule import Timing, WallClockTrigger, appointments, blackout_end, instant

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")


def moment(text: str, zone: ZoneInfo, fold: int = 0) -> float:
    """Return a local time as epoch seconds."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def wall(text: str) -> dt.datetime:
    """Return a time as the wall shows it, without a zone."""
    return dt.datetime.fromisoformat(text)


def firings(timing: Timing, start: float, end: float) -> Iterator[float]:
    """Yield every firing in (start, end]."""
    found = timing.after(start)
    while found is not None and found <= end:
        yield found
        found = timing.after(found)


def shown(moments: Iterator[float], zone: ZoneInfo) -> list[str]:
    """Return moments as the wall shows them, with the offset."""
    return [f"{dt.datetime.fromtimestamp(one, zone):%m-%d %H:%M%z}" for one in moments]


def test_a_fixed_time_that_the_clocks_jump_over_happens_once_when_the_jump_is_done() -> None:
    """Half past two on the last Sunday of March does not exist in Berlin; the night still comes, at three."""
    timing = Timing(Cron("30 2 * * *"), BERLIN)
    found = firings(timing, moment("2026-03-28T00:00", BERLIN), moment("2026-03-30T12:00", BERLIN))
    assert shown(found, BERLIN) == ["03-28 02:30+0100", "03-29 03:00+0200", "03-30 02:30+0200"]


def test_a_fixed_time_that_comes_twice_happens_the_first_time_only() -> None:
    """Half past two comes twice on the last Sunday of October; the night runs once."""
    timing = Timing(Cron("30 2 * * *"), BERLIN)
    found = firings(timing, moment("2026-10-24T00:00", BERLIN), moment("2026-10-26T12:00", BERLIN))
    assert shown(found, BERLIN) == ["10-24 02:30+0200", "10-25 02:30+0200", "10-26 02:30+0100"]


def test_every_hour_goes_on_by_real_time_through_both_changes() -> None:
    """No hour is longer or shorter for a schedule of every hour."""
    timing = Timing(Cron("15 * * * *"), BERLIN)
    for day in ("2026-03-29", "2026-10-25"):
        found = list(firings(timing, moment(f"{day}T00:00", BERLIN), moment(f"{day}T06:00", BERLIN)))
        assert {later - one for one, later in pairwise(found)} == {3600.0}


def test_a_change_of_half_an_hour_is_met_too() -> None:
    """On Lord Howe Island the clocks move by thirty minutes."""
    timing = Timing(Cron("15 2 * * *"), LORD_HOWE)
    found = firings(timing, moment("2026-10-03T12:00", LORD_HOWE), moment("2026-10-05T12:00", LORD_HOWE))
    assert shown(found, LORD_HOWE) == ["10-04 02:30+1100", "10-05 02:15+1100"]


def test_zero_and_seven_are_sunday_as_in_cron_and_not_monday() -> None:
    """The library underneath counts from Monday; administrators do not."""
    for text in ("0 6 * * 0", "0 6 * * 7", "0 6 * * sun"):
        assert Cron(text).after(wall("2026-11-26T00:00")) == wall("2026-11-29T06:00")
    week = [Cron("0 6 * * 5-1").after(wall(f"2026-11-{23 + day}T07:00")) for day in range(4)]
    assert week == [wall("2026-11-27T06:00")] * 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("30 1 * *", "write minute, hour, day, month and weekday"),
        ("61 1 * * *", "is no cron expression"),
        ("0 6 1 * 1", "Write two schedules instead"),
        ("0 6 31 2 *", "names a day that never comes"),
        ("0 6 * * 8", "is no weekday"),
    ],
)
def test_an_expression_that_is_none_is_refused_in_words(text: str, says: str) -> None:
    """What is wrong is said when the settings are read, not in the first night."""
    with pytest.raises(ValueError, match=says):
        Cron(text)


def test_nothing_begins_in_a_blackout_but_at_its_end_and_once() -> None:
    """Of the firings in a blackout one is left, at the moment it ends; over midnight and across days as well."""
    day = Blackout.model_validate({"from": "08:00", "to": "18:00", "days": ["mon"]})
    night = Blackout.model_validate({"from": "22:00", "to": "02:00"})
    timing = Timing(Cron("0 * * * *"), BERLIN, 0.0, (day, night))
    found = shown(firings(timing, moment("2026-11-23T06:30", BERLIN), moment("2026-11-24T03:30", BERLIN)), BERLIN)
    hours = [one.partition(" ")[2][:5] for one in found]
    assert hours == ["07:00", "18:00", "19:00", "20:00", "21:00", "02:00", "03:00"]
    assert blackout_end((night,), BERLIN, moment("2026-11-24T02:00", BERLIN)) is None


def test_each_site_keeps_its_own_place_and_two_daemons_agree_on_it() -> None:
    """Jitter spreads the sites; it does not change from night to night, nor from process to process."""
    sites = {f"site{number}": SiteSettings(url="https://x.example") for number in range(40)}
    plan = {"night": ScheduleSettings(run="push", cron="0 1 * * *", jitter=3600)}
    whole = settings_with(sites=sites, schedules=plan)
    once = [one.timing.offset for one in appointments(whole)]
    assert once == [one.timing.offset for one in appointments(whole)]
    assert len(set(once)) > 35
    assert all(0 <= one <= 3600 for one in once)


def test_a_schedule_for_a_site_that_is_not_there_is_refused_in_words() -> None:
    """A misspelt site would silently never be worked on."""
    plan = {"night": ScheduleSettings(run="push", cron="0 1 * * *", sites=("acadmy",))}
    with pytest.raises(FixConfiguration, match=r"no site 'acadmy'.*There are: academy"):
        list(appointments(settings_with(sites={"academy": SiteSettings()}, schedules=plan)))


def settings_with(sites: dict[str, SiteSettings], schedules: dict[str, ScheduleSettings]) -> Settings:
    """Return settings as they would be read."""
    from pathlib import Path

    return Settings(
        folder=Path(), store="sqlite://", sites=sites, daemon=DaemonSettings(), schedules=schedules, variables={}
    )


MOMENTS = st.integers(1_700_000_000, 1_860_000_000)


@settings(max_examples=60, deadline=None)
@given(
    MOMENTS,
    st.sampled_from(["30 2 * * *", "0 * * * *", "15 1-3 * * *", "*/20 * * * *", "5 0 1 * *", "45 1 * * 0"]),
    st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE]),
    st.integers(0, 7200),
)
def test_the_next_time_is_later_and_nothing_lies_between(start: int, text: str, zone: ZoneInfo, offset: int) -> None:
    """Asked from anywhere before the next firing, the answer is that firing; asked at it, a later one."""
    timing = Timing(Cron(text), zone, float(offset))
    found = timing.after(float(start))
    assert found is not None
    assert found > start
    assert timing.after((start + found) / 2) == found
    later = timing.after(found)
    assert later is not None
    assert later > found
    first = WallClockTrigger(timing).get_next_fire_time(None, dt.datetime.fromtimestamp(found, dt.UTC))
    assert first is not None
    assert first.timestamp() == found


def test_an_instant_in_the_gap_is_the_end_of_the_jump() -> None:
    """Every minute of the missing hour stands for the same moment."""
    ends = {instant(wall(f"2026-03-29T02:{minute:02}"), BERLIN) for minute in range(0, 60, 7)}
    assert ends == {dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC)}
