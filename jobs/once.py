"""One chain now, and then the end: for those who schedule with cron, systemd timers or anything else."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import get_args
from zoneinfo import ZoneInfo

from bridge.cron import Cron
from bridge.daemon_settings import HOUSE_STEPS, Step
from bridge.ports import FixConfiguration
from bridge.settings import Settings
from bridge.store import Store, unattended
from bridge.sync.clock import Clock
from bridge.sync.lease import this_process
from jobs import notices
from jobs.chain import Chain, ChainEnd, claim, conclude
from jobs.notices import Messenger
from jobs.schedule import HOUSE, Appointment, Timing, appointments, tidying

EXIT_CODES = {
    "done": 0,
    "rejected": 4,
    "pending": 5,
    "refused": 3,
    "quarantined": 3,
}
"""What is not here ends with 1."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One chain that ran."""

    site: str
    end: ChainEnd

    @property
    def exit_code(self) -> int:
        """The code a command ends with after it."""
        return EXIT_CODES.get(self.end.state, 1)


def chosen(settings: Settings, job: str, site: str | None) -> list[Appointment]:
    """Return what a job's name stands for: a schedule, or one step at each site.

    Raises FixConfiguration where it is neither, or the site is not there.
    """
    if site not in (None, HOUSE):
        settings.site_named(site)
    found = [one for one in appointments(settings, disabled=True) if one.schedule == job]
    if not found and job in get_args(Step):
        zone = ZoneInfo(settings.daemon.time_zone)
        if not settings.sites:
            settings.site_named(None)
        timing = Timing(Cron("* * * * *"), zone)
        where = [HOUSE] if job in HOUSE_STEPS else list(settings.sites)
        found = [Appointment(job, name, (job,), timing, settings.daemon.misfire_grace) for name in where]
    if not found:
        known = ", ".join((*settings.schedules, *get_args(Step)))
        raise FixConfiguration(f"There is no job {job!r}. There are: {known}.")
    wanted = [one for one in found if site in (None, one.site)]
    if not wanted and any(one.site == HOUSE for one in found):
        raise FixConfiguration(f"{job} is for all sites at once: leave out --site.")
    if not wanted:
        raise FixConfiguration(f"The schedule {job} is not for site {site}. Name it under `sites` there.")
    return wanted


def run_once(
    settings: Settings, job: str, site: str | None, clock: Clock | None = None, stop: Callable[[], str] | None = None
) -> list[Ran]:
    """Run a job now, at each of its sites, and tell people what there is to tell.

    `stop` says, in a sentence, that it is to end at the next place where it can be taken up again; without it SIGTERM
    does. Raises FixConfiguration where the job is not there.
    """
    clock = clock or Clock()
    wanted = chosen(settings, job, site)
    send = notices.sender(settings)
    store = Store.open(settings.store)
    try:
        with _stoppable() as asked:
            stop = stop or asked
            ran: list[Ran] = []
            for one in wanted:
                now = clock.now()
                chain = Chain(settings, store, one, now, clock, stop, forced=True)
                claim(store, one, now, this_process(), now, chain.name)
                end = chain.run()
                conclude(store, one, now, end, clock.now())
                ran.append(Ran(one.site, end))
            if not stop():
                _tidy_up_where_due(settings, store, clock, stop)
            Messenger(store, settings.daemon.notify, send, clock).send_due(gathered=True)
            return ran
    finally:
        store.close()


def _tidy_up_where_due(settings: Settings, store: Store, clock: Clock, stop: Callable[[], str]) -> None:
    """Remove what has expired where nobody did since it was last to be done: where cron starts everything, no daemon
    does. How that goes is told by a message and by `status`; it is not what was asked for."""
    by_itself, now = tidying(settings), clock.now()
    if by_itself is None:
        return
    with store.read() as connection:
        last = unattended.firing(connection, by_itself.schedule, by_itself.site)
    due = None if last is None else by_itself.timing.after(min(last.due, now))
    if last is not None and (due is None or due > now):
        return
    chain = Chain(settings, store, by_itself, now, clock, stop, forced=True)
    if claim(store, by_itself, now, this_process(), now, chain.name):
        conclude(store, by_itself, now, chain.run(), clock.now())


@contextmanager
def _stoppable() -> Iterator[Callable[[], str]]:
    """Say, for the block, whether SIGTERM asked for the end."""
    stopped = threading.Event()

    def stop() -> str:
        """Say whether the end was asked for."""
        return "It was asked to stop; what was sent is recorded." if stopped.is_set() else ""

    if threading.current_thread() is not threading.main_thread():
        # Only the main thread hears signals; whoever runs others has its own way of stopping them.
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda *_args: stopped.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
