"""When things run: cron in a time zone, through changes of the clock, around blackouts, each site in its own place.

A schedule that names its hours runs once for each of them: an hour that the clocks jump over happens the moment the
jump is done, an hour that comes twice happens the first time. A schedule of every hour (`*`) follows real time: it
runs in both of two equal hours, and leaves out what there is not.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger

from bridge.cron import Cron
from bridge.daemon_settings import DAYS, Blackout, zone
from bridge.ports import FixConfiguration
from bridge.settings import Settings

HOUSE = "all sites"
"""What stands in place of a site where steps are for the bridge as a whole."""

TIDYING = "tidy"
"""The schedule that nobody has to write."""

LIVES = 120.0
"""A daemon not seen for so many seconds is taken for dead."""

_WIDEST_JUMP = dt.timedelta(hours=25)
"""Further than this no clock was ever set back or forth."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When one schedule runs for one site. Moments are UTC epoch seconds."""

    when: Cron | float
    """A cron expression, or the seconds between two times."""
    zone: ZoneInfo
    offset: float = 0.0
    """Seconds after the cron time: the site's own place."""
    blackouts: tuple[Blackout, ...] = ()

    def after(self, moment: float) -> float | None:
        """Return the first moment after the given one at which it is to begin."""
        start = moment - self.offset
        while (found := self._next(start)) is not None:
            begins = self.out_of_blackout(found + self.offset)
            if begins > moment:
                return begins
            # Several moments of one blackout come down to its end, which has been.
            start = found
        return None

    def out_of_blackout(self, moment: float) -> float:
        """Return the moment itself, or the end of the blackouts it lies in."""
        while (end := blackout_end(self.blackouts, self.zone, moment)) is not None:
            moment = end
        return moment

    def _next(self, moment: float) -> float | None:
        if isinstance(self.when, float):
            return (moment // self.when + 1) * self.when
        by = self._by_real_time if self.when.every_hour else self._by_the_clock
        found = by(self.when, moment)
        return None if found is None else found.timestamp()

    def _by_the_clock(self, cron: Cron, moment: float) -> dt.datetime | None:
        """Return the next of the times on the wall, each taken once."""
        wall = _at(moment, self.zone).replace(tzinfo=None) - _WIDEST_JUMP
        while (time := cron.after(wall)) is not None:
            real = instant(time, self.zone)
            if real.timestamp() > moment:
                return real
            wall = time
        return None

    def _by_real_time(self, cron: Cron, moment: float) -> dt.datetime | None:
        """Return the next moment at which the wall shows a time, however often it shows it."""
        now = _at(moment, self.zone)
        while True:
            wall = now.replace(tzinfo=None)
            time = cron.after(wall)
            if time is None:
                return None
            later = _at(now.timestamp() + (time - wall).total_seconds(), self.zone)
            change = _first_change(now, later)
            if change is None:
                return later
            first = change.replace(tzinfo=None)
            if cron.after(first - dt.timedelta(microseconds=1)) == first:
                return change
            now = change


def instant(wall: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """Return when a time on the wall is: the first time of two, the end of the jump where the clocks leave it out."""
    first = wall.replace(tzinfo=zone, fold=0).astimezone(dt.UTC)
    if first.astimezone(zone).replace(tzinfo=None) == wall:
        return first
    # Read by the offset after the jump it lies before it, by the one before the jump after it.
    before = wall.replace(tzinfo=zone, fold=1).astimezone(zone).astimezone(dt.UTC)
    low, high = sorted((before, first))
    change = _first_change(low.astimezone(zone), high.astimezone(zone))
    return first if change is None else change.astimezone(dt.UTC)


def _first_change(low: dt.datetime, high: dt.datetime) -> dt.datetime | None:
    """Return the first moment in (low, high] with another offset than at `low`; None where there is none."""
    offset, day = low.utcoffset(), 86_400.0
    zone = low.tzinfo
    start, end = low.timestamp(), high.timestamp()
    while start < end:
        step = min(start + day, end)
        if _at(step, zone).utcoffset() != offset:
            first, last = start, step
            while last - first > 1e-3:
                middle = (first + last) / 2
                if _at(middle, zone).utcoffset() == offset:
                    first = middle
                else:
                    last = middle
            # Clocks change on whole seconds.
            return _at(round(last), zone)
        start = step
    return None


def _at(moment: float, zone: dt.tzinfo | None) -> dt.datetime:
    return dt.datetime.fromtimestamp(moment, zone)


def blackout_end(blackouts: tuple[Blackout, ...], zone: ZoneInfo, moment: float) -> float | None:
    """Return when the blackout that a moment lies in ends; None where it lies in none."""
    wall = _at(moment, zone).replace(tzinfo=None)
    for one in blackouts:
        for day in (wall.date() - dt.timedelta(days=1), wall.date()):
            if one.days and DAYS[day.weekday()] not in one.days:
                continue
            begins = dt.datetime.combine(day, one.from_)
            last_day = day if one.to > one.from_ else day + dt.timedelta(days=1)
            ends = dt.datetime.combine(last_day, one.to)
            end = instant(ends, zone).timestamp()
            if begins <= wall < ends and end > moment:
                return end
    return None


class WallClockTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 carries no types
    """Hands a timing to APScheduler."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing

    def get_next_fire_time(self, previous_fire_time: dt.datetime | None, now: dt.datetime) -> dt.datetime | None:
        """Return when it is next to begin: after the last time, or, before there was one, at `now` or later."""
        moment = now.timestamp() - 1e-6 if previous_fire_time is None else previous_fire_time.timestamp()
        found = self.timing.after(moment)
        return None if found is None else dt.datetime.fromtimestamp(found, dt.UTC)

    def __getstate__(self) -> Any:
        raise TypeError("schedules come from the settings, they are not stored")


@dataclass(frozen=True, slots=True)
class Appointment:
    """One schedule for one site."""

    schedule: str
    site: str
    steps: tuple[str, ...]
    timing: Timing
    misfire_grace: float
    """Seconds by which it may begin late; infinite where it is to happen however late."""

    @property
    def name(self) -> str:
        """What it is called in logs and in the store."""
        return f"{self.schedule}|{self.site}"


def appointments(settings: Settings, *, disabled: bool = False) -> Iterator[Appointment]:
    """Yield every schedule for each of its sites. Raises FixConfiguration where one names a site or feed that is not
    there, or pushes where there is no site."""
    for name, one in settings.schedules.items():
        where = f"bridge.toml, [schedules.{name}]"
        for kind, given, known in (("site", one.sites, settings.sites), ("feed", one.feeds, settings.feeds)):
            unknown = [each for each in given if each not in known]
            if unknown:
                there = f"There are: {', '.join(sorted(known))}." if known else "It names none."
                raise FixConfiguration(f"{where}: there is no {kind} {unknown[0]!r} in bridge.toml. {there}")
        if not settings.sites:
            raise FixConfiguration(f"{where}: no site is set up. Name one under [sites.NAME], or set MOODLE_URL.")
        if not (one.enabled or disabled):
            continue
        place = zone(one.time_zone or settings.daemon.time_zone)
        grace = one.misfire_grace or settings.daemon.misfire_grace
        blackouts = (*settings.daemon.blackouts, *one.blackouts)
        for site in (HOUSE,) if one.keeps_house else one.sites or tuple(settings.sites):
            timing = Timing(
                Cron(one.cron) if one.every is None else one.every, place, _place_of(name, site, one.jitter), blackouts
            )
            yield Appointment(name, site, one.run, timing, grace)


def tidying(settings: Settings) -> Appointment | None:
    """Return when what has expired is removed by itself; None where a schedule of somebody's says so, or it is switched
    off. It happens however late: nobody misses anything by it."""
    written = any("tidy" in one.run for one in settings.schedules.values())
    if written or not settings.daemon.tidy or not settings.sites:
        return None
    timing = Timing(Cron(settings.daemon.tidy), zone(settings.daemon.time_zone), 0.0, settings.daemon.blackouts)
    return Appointment(TIDYING, HOUSE, ("tidy",), timing, math.inf)


def timetable(settings: Settings) -> list[Appointment]:
    """Return every schedule for each of its sites and, where there is any, that of tidying up. Raises as
    `appointments`."""
    found = list(appointments(settings))
    by_itself = tidying(settings)
    return [*found, by_itself] if found and by_itself else found


def feeds_of_site(settings: Settings, site: str) -> tuple[str, ...]:
    """Return the feeds that `ingest` takes in for a site where its schedule names none: those it pushes people of."""
    if site == HOUSE:
        return ()
    own = settings.sites[site].feeds
    if own is None:
        own = tuple(settings.feeds if len(settings.sites) == 1 else ())
    return tuple(name for name in own if name in settings.feeds)


def _place_of(schedule: str, site: str, jitter: float) -> float:
    """Return the seconds by which a site begins after the others: by chance, but the same every time and everywhere,
    so that two daemons agree and a person knows when to look."""
    if not jitter:
        return 0.0
    number = int.from_bytes(hashlib.sha256(f"{schedule}|{site}".encode()).digest()[:8], "big")
    return float(round(number / 2**64 * jitter))
