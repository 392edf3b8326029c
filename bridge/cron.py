"""Cron expressions as cron reads them, in wall-clock time. Zones and changes of the clock are `jobs.schedule`'s."""

from __future__ import annotations

import datetime as dt
from typing import Any

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
}


class Cron:
    """Five fields: minute, hour, day of the month, month, day of the week (0 and 7 are Sunday, as in cron).

    Raises ValueError with a sentence where it is none, or names no day that there is.
    """

    def __init__(self, text: str) -> None:
        self.text = _NICKNAMES.get(text.strip().lower(), text.strip())
        fields = self.text.split()
        if len(fields) != 5:
            raise ValueError(
                f"{text!r} is no cron expression: write minute, hour, day, month and weekday, as in '30 1 * * *' "
                "for half past one every night"
            )
        minute, hour, day, month, weekday = fields
        if day != "*" and weekday != "*":
            # cron takes either day, others only days that are both: whichever was meant, half would be surprised.
            raise ValueError(f"{text!r} names a day of the month and a weekday. Write two schedules instead")
        from apscheduler.triggers.cron import CronTrigger  # only settings with schedules wait for it

        self.every_hour = hour == "*"
        """True where it goes by the minute: then it follows real time through a change of the clock."""
        try:
            self._trigger: Any = CronTrigger(
                minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone=dt.UTC
            )
        except ValueError as error:
            raise ValueError(f"{text!r} is no cron expression: {error}") from error
        if self.after(dt.datetime(2024, 1, 1)) is None:  # noqa: DTZ001  wall-clock time has no zone
            raise ValueError(f"{text!r} names a day that never comes")

    def after(self, wall: dt.datetime) -> dt.datetime | None:
        """Return the first time on the wall clock that is later than the given one; both without a zone."""
        start = wall.replace(tzinfo=dt.UTC) + dt.timedelta(microseconds=1)
        found: dt.datetime | None = self._trigger.get_next_fire_time(None, start)
        return None if found is None else found.replace(tzinfo=None)


def _weekdays(text: str) -> str:
    """Return cron's weekdays by name: APScheduler counts from Monday, cron from Sunday."""
    if text == "*":
        return text
    chosen: set[int] = set()
    for part in text.lower().split(","):
        days, _, step = part.partition("/")
        first, _, last = days.partition("-")
        if step and not (step.isdigit() and int(step)):
            raise ValueError(f"{part!r} is no weekday")
        if days == "*":
            low, high = 0, 6
        else:
            low = _weekday(first)
            high = _weekday(last) if last else (6 if step else low)
        if high < low:
            high += 7
        chosen.update(day % 7 for day in range(low, high + 1, int(step or 1)))
    return ",".join(_DAYS[day] for day in sorted(chosen))


def _weekday(text: str) -> int:
    if text[:3] in _DAYS and text.isalpha():
        return _DAYS.index(text[:3])
    if text.isdigit() and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text!r} is no weekday: write sun to sat, or 0 to 7 with 0 and 7 for Sunday")
