"""How everything stands: what ran last and when it runs next, who is well, what lags, what waits for a person."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from bridge.settings import Settings
from bridge.store import Store, feeds, unattended
from bridge.store.unattended import Alive, Firing, StepEnd, Trouble
from jobs.schedule import HOUSE, LIVES, Appointment, timetable


@dataclass(frozen=True, slots=True)
class Line:
    """One schedule at one site."""

    appointment: Appointment
    last: Firing | None
    next: float | None

    def overdue(self, now: float, daemon_lives: bool) -> bool:
        """Tell whether a time has gone by at which it should have begun and did not."""
        if math.isinf(self.appointment.misfire_grace):
            return False
        if self.last is None:
            return not daemon_lives
        expected = self.appointment.timing.after(self.last.due)
        return expected is not None and expected + self.appointment.misfire_grace < now


@dataclass(frozen=True, slots=True)
class FeedLine:
    """One feed."""

    name: str
    quarantined: bool
    reason: str
    unmapped_titles: int
    unmapped_people: int
    rejected_rows: int


@dataclass(frozen=True, slots=True)
class Status:
    """How everything stands at a moment (UTC epoch seconds)."""

    now: float
    daemons: list[Alive]
    lines: list[Line]
    steps: list[StepEnd]
    troubles: dict[str, Trouble]
    feeds: list[FeedLine]
    waiting: int
    scheduled: bool = field(default=True)

    def lag(self, step: StepEnd) -> float | None:
        """Return the seconds since a step last ended well; None where it never did."""
        return None if step.succeeded_at is None else max(0.0, self.now - step.succeeded_at)

    @property
    def well(self) -> bool:
        """True where nothing waits for a person."""
        late = any(line.overdue(self.now, bool(self.daemons)) for line in self.lines)
        return not (self.troubles or late or any(one.quarantined for one in self.feeds))


def status(settings: Settings, store: Store, now: float, site: str | None = None) -> Status:
    """Return how everything stands, or one site. Raises FixConfiguration where a schedule cannot be used."""
    with store.read() as connection:
        daemons = unattended.daemons(connection, now - LIVES)
        lines = [
            Line(one, unattended.firing(connection, one.schedule, one.site), one.timing.after(now))
            for one in (timetable(settings) if settings.schedules else ())
            if site in (None, one.site)
        ]
        # What is no longer in the settings, nobody can mend.
        asked = (site,) if site is not None else (*settings.sites, HOUSE)
        steps = [one for one in unattended.steps(connection) if one.site in asked]
        troubles = {
            name: one for name, one in unattended.troubles(connection).items() if name.removesuffix(":feeds") in asked
        }
        known = {one.name: one for one in feeds.all_feeds(connection)}
        found = []
        for name in dict.fromkeys((*settings.feeds, *known)):
            feed = known.get(name, feeds.Feed(name))
            titles = feeds.unmapped_titles(connection, name)
            refused = feeds.open_rejections(connection, name)
            people = sum(one.people for one in titles)
            found.append(FeedLine(name, feed.quarantined, feed.reason, len(titles), people, refused))
        waiting = len(unattended.unsent(connection))
    return Status(now, daemons, lines, steps, troubles, found, waiting, bool(settings.schedules))


def in_words(found: Status) -> Iterator[tuple[str, str | None]]:
    """Yield what a person reads, line by line, each with a colour or none."""
    for daemon in found.daemons:
        ago = _ago(found.now - daemon.seen_at)
        host, _, rest = daemon.name.partition(":")
        since = _when(daemon.started_at)
        yield f"A daemon runs on {host} (process {rest.partition(':')[0]}), since {since}, seen {ago} ago.", None
    if found.scheduled and not found.daemons:
        yield "No daemon runs: nothing starts but what cron starts with `lms-bridge daemon --once`.", "yellow"
    if not found.scheduled:
        yield "No schedule is set up. docs/daemon.md says how to write one.", "yellow"
    for line in found.lines:
        one = line.appointment
        yield "", None
        yield f"{one.schedule} at {one.site}: {', then '.join(one.steps)}", None
        if line.last is None:
            yield "  last   never", None
        else:
            last = line.last
            good = last.state in ("done", "pending", "rejected", "running", "postponed")
            yield f"  last   {_when(last.began_at)}  {last.state}. {last.message}".rstrip(), None if good else "red"
        if line.overdue(found.now, bool(found.daemons)):
            says = (
                "Nothing has started it yet. Start the daemon; if cron is to start it, wait for its first time."
                if line.last is None
                else "It should have run since. Is the daemon (or cron) running?"
            )
            yield f"  late   {says}", "red"
        if line.next is None:
            yield "  next   never", None
        else:
            local = dt.datetime.fromtimestamp(line.next, one.timing.zone)
            yield f"  next   {local:%Y-%m-%d %H:%M} ({one.timing.zone.key}), in {_ago(line.next - found.now)}", None
    if found.steps:
        yield "", None
        yield "Lag (time since it last ended well):", None
    for step in found.steps:
        lag = found.lag(step)
        age = "never ended well" if lag is None else _ago(lag)
        bad = step.state in ("failed", "refused", "quarantined", "partial", "busy")
        tail = f"; the last one ended {step.state}: {step.message}" if bad else ""
        yield f"  {step.site} {step.step}: {age}{tail}", "red" if bad else None
    for trouble in found.troubles.values():
        times = "once" if trouble.failures == 1 else f"{trouble.failures} times in a row"
        site = trouble.site.replace(":feeds", " (its feeds)")
        yield "", None
        if trouble.open:
            whose = "a feed's server" if trouble.site.endswith(":feeds") else "the LMS"
            yield f"{site}: {whose} does not let the bridge in, since {_when(trouble.since)}.", "red"
        else:
            yield f"{site}: failed {times}, {'on' if trouble.failures == 1 else 'since'} {_when(trouble.since)}.", "red"
        yield f"  {trouble.reason}", None
        later = trouble.next_try > found.now
        yield f"  It is tried again {f'from {_when(trouble.next_try)} on' if later else 'at its next time'}.", None
    if found.feeds:
        yield "", None
    for feed in found.feeds:
        state = "in quarantine" if feed.quarantined else "open"
        said = f"Feed {feed.name}: {state}, {feed.rejected_rows:,} rows stand refused"
        if feed.unmapped_titles:
            said += f", {feed.unmapped_titles:,} titles of {feed.unmapped_people:,} people without a position"
        yield said + ".", "red" if feed.quarantined else None
        if feed.quarantined:
            yield f"  {feed.reason}", None
            yield (
                f"  Accept it: `lms-bridge feed release {feed.name} --reason TEXT`. Or wait for a good file.",
                None,
            )
    if found.waiting:
        yield "", None
        yield f"{found.waiting:,} notices wait for the next message.", None
    yield "", None
    yield ("All is well." if found.well else "Something needs a person: see above."), "green" if found.well else "red"


def as_json(found: Status) -> dict[str, object]:
    """Return the same for a program. Times are UTC epoch seconds, lags seconds."""
    return {
        "well": found.well,
        "daemons": [{"name": one.name, "started_at": one.started_at, "seen_at": one.seen_at} for one in found.daemons],
        "schedules": [
            {
                "schedule": line.appointment.schedule,
                "site": line.appointment.site,
                "steps": list(line.appointment.steps),
                "time_zone": line.appointment.timing.zone.key,
                "next": line.next,
                "last": None
                if line.last is None
                else {
                    "due": line.last.due,
                    "began_at": line.last.began_at,
                    "ended_at": line.last.ended_at,
                    "state": line.last.state,
                    "message": line.last.message,
                    "steps": list(line.last.steps),
                },
            }
            for line in found.lines
        ],
        "steps": [
            {
                "site": one.site,
                "step": one.step,
                "state": one.state,
                "ended_at": one.ended_at,
                "succeeded_at": one.succeeded_at,
                "lag": found.lag(one),
                "message": one.message,
            }
            for one in found.steps
        ],
        "health": [
            {
                "site": one.site.removesuffix(":feeds"),
                "feeds": one.site.endswith(":feeds"),
                "failures": one.failures,
                "circuit_open": one.open,
                "since": one.since,
                "next_try": one.next_try,
                "reason": one.reason,
            }
            for one in found.troubles.values()
        ],
        "feeds": [
            {
                "feed": one.name,
                "quarantined": one.quarantined,
                "reason": one.reason,
                "rejected_rows": one.rejected_rows,
                "unmapped_titles": one.unmapped_titles,
                "unmapped_people": one.unmapped_people,
            }
            for one in found.feeds
        ],
        "notices_waiting": found.waiting,
    }


def _when(moment: float) -> str:
    return f"{dt.datetime.fromtimestamp(moment, dt.UTC):%Y-%m-%d %H:%M} UTC"


def _ago(seconds: float) -> str:
    """Return a span of time in words."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} hours"
    return f"{seconds / 86_400:.0f} days"
