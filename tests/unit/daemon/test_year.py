"""A year of schedules in three time zones, by the daemon itself: nothing is missed, nothing happens twice."""

from __future__ import annotations

import datetime as dt
import queue
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import apscheduler.schedulers.base
import pytest
from apscheduler.schedulers.base import BaseScheduler
from sqlalchemy import Engine, event

from bridge.daemon_settings import DaemonSettings, ScheduleSettings
from bridge.settings import Settings, SiteSettings
from bridge.sync.clock import Clock
from jobs.chain import Chain, ChainEnd
from jobs.daemon import Daemon

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
PLANS: dict[str, tuple[str, Callable[[dt.datetime], bool]]] = {
    "night": ("30 2 * * *", lambda wall: (wall.hour, wall.minute) == (2, 30)),
    "thrice": ("0 */3 * * *", lambda wall: wall.hour % 3 == 0 and wall.minute == 0),
    "week": ("15 2 * * 0", lambda wall: wall.isoweekday() == 7 and (wall.hour, wall.minute) == (2, 15)),
}
"""Cron, and the same said by hand for the test."""


class Simulated:
    """A clock that goes when it is told to, and what APScheduler takes for `datetime`."""

    def __init__(self, start: float) -> None:
        self.now = start

    def as_datetime(self) -> type[dt.datetime]:
        """Return a `datetime` whose now is this clock's."""
        clock = self

        class Fake(dt.datetime):
            @classmethod
            def now(cls, tz: dt.tzinfo | None = None) -> Any:
                return dt.datetime.fromtimestamp(clock.now, tz)

        return Fake


class Stepped(BaseScheduler):  # type: ignore[misc]  # APScheduler 3 carries no types
    """APScheduler without a thread of its own: the test looks for what is due."""

    def wakeup(self) -> None:
        """Nothing sleeps."""

    def shutdown(self, wait: bool = True) -> None:
        """End as the others do."""
        super().shutdown(wait)


class Driven(Daemon):
    """The daemon, step by step."""

    running = True

    def step(self) -> float:
        """Do what is due, to its end, and return the seconds until the next look."""
        wait: float = self._scheduler._process_jobs()
        while self._scheduler._executors["default"]._instances:
            time.sleep(0)
        return wait

    def end(self) -> int:
        """Stop."""
        self.running = False
        code = super().end()
        self.close()
        return code


@pytest.fixture
def unsynced() -> Iterator[None]:
    """Have SQLite not wait for the disk: ten thousand firings are many commits."""

    def connected(raw: Any, _record: Any) -> None:
        if isinstance(raw, sqlite3.Connection):
            raw.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", connected)
    yield
    event.remove(Engine, "connect", connected)


def expected(start: float, end: float) -> Counter[tuple[str, str, float]]:
    """Return every firing of a span, found minute by minute from the wall clocks alone."""
    found: Counter[tuple[str, str, float]] = Counter()
    for name in ZONES:
        zone = ZoneInfo(name)
        before = dt.datetime.fromtimestamp(start - 60, zone)
        for moment in range(int(start), int(end), 60):
            local = dt.datetime.fromtimestamp(moment, zone)
            left_out = []
            wall, last = local.replace(tzinfo=None, fold=0), before.replace(tzinfo=None, fold=0)
            while last + dt.timedelta(minutes=1) < wall:
                last += dt.timedelta(minutes=1)
                left_out.append(last)
            for plan, (_, matches) in PLANS.items():
                if any(matches(one) for one in left_out) or (matches(wall) and not local.fold):
                    found[f"{plan}-{name}", name, float(moment)] = 1
            before = local
    days = range(int(start), int(end), 86_400)
    # What nobody has to write: tidying up, by the daemon's own clock.
    found.update({("tidy", "all sites", day + 4 * 3600 + 45 * 60.0): 1 for day in days})
    return found


def settings_of(store: str) -> Settings:
    """Return the settings of the year: each plan in each zone, at a site of its own."""
    return Settings(
        folder=Path(),
        store=store,
        sites={name: SiteSettings(url="https://lms.example") for name in ZONES},
        daemon=DaemonSettings(listen="", workers=1, misfire_grace=3600),
        schedules={
            f"{plan}-{name}": ScheduleSettings(run="pull", cron=cron, time_zone=name, sites=name)
            for plan, (cron, _) in PLANS.items()
            for name in ZONES
        },
        variables={},
    )


@pytest.mark.parametrize(
    ("first", "last", "at_least"),
    [
        # The weeks in which the clocks of all three zones change, two of them forth and one back.
        pytest.param("2026-03-06", "2026-04-07", 800, marks=pytest.mark.slow),
        pytest.param("2026-10-02", "2026-11-03", 800, marks=pytest.mark.sweep),
        pytest.param("2026-01-01", "2027-01-01", 10_000, marks=(pytest.mark.sweep, pytest.mark.timeout(1800))),
    ],
)
@pytest.mark.usefixtures("unsynced")
def test_every_firing_happens_once(
    store_url: str, monkeypatch: pytest.MonkeyPatch, first: str, last: str, at_least: int
) -> None:
    """Two daemons share the work, wake late, are restarted by turns, and meet a clock that is set back: each firing
    that the wall clocks of three zones ask for happens once, with every change of the clock."""
    chance = random.Random(20261126)
    start, end = (dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC).timestamp() for day in (first, last))
    simulated = Simulated(start)
    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", simulated.as_datetime())
    done: Counter[tuple[str, str, float]] = Counter()

    def run(chain: Chain, _steps: Sequence[str]) -> ChainEnd:
        done[chain.appointment.schedule, chain.appointment.site, chain.due] += 1
        return ChainEnd("done", "")

    def daemon() -> Driven:
        clock = Clock(now=lambda: simulated.now, sleep=lambda _seconds: None)
        made = Driven(lambda: settings_of(store_url), clock, queue.SimpleQueue(), Stepped, run)
        made.begin()
        return made

    daemons = [daemon(), daemon()]
    simulated.now += 1
    while simulated.now < end + 3600:
        waits = [one.step() for one in daemons]
        simulated.now += max(1.0, min(waits)) + chance.choice((0.0, chance.uniform(0, 120)))
        luck = chance.random()
        if luck < 0.01:
            # Restarted, and away for most of an hour, over whatever is due meanwhile.
            daemons[chance.randrange(2)].end()
            daemons = [one for one in daemons if one.running]
            simulated.now += chance.uniform(60, 3000) if luck < 0.005 else 0.0
            if luck < 0.005:
                daemons[0].end()
                daemons = []
            daemons += [daemon() for _ in range(2 - len(daemons))]
        elif luck < 0.02:
            simulated.now -= 30.0
    for one in daemons:
        one.end()
    wanted = expected(start, end)
    print(f"{wanted.total():,} firings in {len(ZONES)} zones, {len(done):,} happened, {done.total():,} in all")
    assert wanted.total() > at_least
    assert Counter({key: count for key, count in done.items() if start <= key[2] < end}) == wanted
