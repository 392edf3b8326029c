"""The daemon: schedules of every site on APScheduler, each firing run once by whichever daemon takes it first.

*Misfire and coalescing.* A firing begins late where the machine slept or the daemon was away: up to `misfire_grace`
seconds it still runs, later it is left out and people are told. Several firings of one schedule and site that are due
at once are one. A firing whose predecessor still runs is left out. How long a firing waits for a free worker does not
count as late.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from apscheduler.events import EVENT_JOB_MAX_INSTANCES
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.date import DateTrigger
from structlog.contextvars import bound_contextvars

from bridge.logs import logger, name_process
from bridge.ports import BridgeError, FixConfiguration
from bridge.settings import Settings
from bridge.store import Store, StoreFault, unattended
from bridge.store.unattended import Firing
from bridge.sync.clock import Clock
from bridge.sync.lease import is_dead as holder_is_dead
from bridge.sync.lease import this_process
from jobs import notices
from jobs.chain import POSTPONED, Chain, ChainEnd, claim, conclude
from jobs.endpoints import Answer, Endpoints
from jobs.metrics import Metrics
from jobs.notices import FAILURE, Messenger, Telling, note
from jobs.schedule import LIVES, Appointment, WallClockTrigger, timetable

STOP, RELOAD = "stop", "reload"

TICK = 5.0
"""Seconds between two looks at what is due besides schedules: messages, the sign of life."""

REST = "rest|"
"""What the jobs are called that take up the rest of a chain."""

LOOK = 60.0
"""Seconds between two looks for chains that another daemon has left."""

STORE_PAUSE = 5.0
"""Seconds between two tries to take a firing while the store is away."""

_log = logger("daemon")


@dataclass(frozen=True, slots=True)
class Due:
    """One firing on its way to a worker."""

    appointment: Appointment
    moment: float
    late: float = 0.0
    found: Firing | None = None
    """A firing that was cut off or put off, to be taken up."""
    steps: tuple[str, ...] = ()
    """What is left of it; empty: everything."""


class _Workers(BaseExecutor):  # type: ignore[misc]  # APScheduler 3 carries no types
    """Hands firings to a bounded number of threads, with the time they were due."""

    def __init__(self, work: Callable[[Due], None], number: int, clock: Clock) -> None:
        super().__init__()
        self._work = work
        self._clock = clock
        self._pool = ThreadPoolExecutor(number, thread_name_prefix="chain")

    def _do_submit_job(self, job: Any, run_times: Sequence[dt.datetime]) -> None:
        due: Due = job.kwargs["due"]
        if due.found is None:
            moment = run_times[-1].timestamp()
            due = replace(due, moment=moment, late=self._clock.now() - moment)

        def carry_out() -> None:
            """Run it in a worker's thread, and let the next firing of the same job begin."""
            try:
                self._work(due)
            except Exception:  # noqa: BLE001  a defect must be seen in the log, not die with a thread
                _log.exception("firing broke off", firing=due.appointment.name)
            finally:
                self._run_job_success(job.id, [])

        self._pool.submit(carry_out)

    def shutdown(self, wait: bool = True) -> None:
        """Take nothing more, and forget what has not begun."""
        self._pool.shutdown(wait=wait, cancel_futures=True)


def _nothing(due: Due) -> None:
    """Stand where APScheduler wants a function: `_Workers` does the work."""


Run = Callable[[Chain, Sequence[str]], ChainEnd]
"""Carries a chain out."""


class Daemon:
    """Runs schedules until it is told to stop. `load` reads the settings, at the start and at every reload."""

    def __init__(
        self,
        load: Callable[[], Settings],
        clock: Clock | None = None,
        wakes: queue.SimpleQueue[str] | None = None,
        scheduler: type[BaseScheduler] = BackgroundScheduler,
        run: Run = Chain.run,
    ) -> None:
        self._run_chain = run
        self._load = load
        self._clock = clock or Clock()
        self._settings = load()
        if not timetable(self._settings):
            raise FixConfiguration(
                "There is no schedule. Write one into bridge.toml, for example:\n\n  [schedules.night]\n"
                '  cron = "30 1 * * *"\n  run = ["ingest", "push", "report"]\n\ndocs/daemon.md has more.'
            )
        self._send = notices.sender(self._settings)
        self._store = Store.open(self._settings.store)
        self._metrics = Metrics(self._store)
        self._holder = this_process()
        self._started = self._clock.now()
        self._wakes: queue.SimpleQueue[str] = queue.SimpleQueue() if wakes is None else wakes
        self._stopping = threading.Event()
        self._active: set[str] = set()
        self._wanted: tuple[Appointment, ...] = ()
        self._looked = self._started
        self._lock = threading.Lock()
        self._scheduler: Any = scheduler(
            timezone=dt.UTC,
            executors={"default": _Workers(self._fire, self._settings.daemon.workers, self._clock)},
            # Our workers judge lateness themselves, by when a firing was handed over and not by when a thread was free.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._scheduler.add_listener(self._still_running, EVENT_JOB_MAX_INSTANCES)
        self._endpoints: Endpoints | None = None
        if self._settings.daemon.listen:
            self._endpoints = Endpoints(self._settings.daemon.listen, self.healthy, self.ready, self._metrics.text)

    # --- Life -------------------------------------------------------------------------------------------------------

    def wake(self, why: str) -> None:
        """Ask for a reload or the end; may be called from a signal handler and from any thread."""
        self._wakes.put(why)

    def begin(self) -> None:
        """Begin to run schedules, first those that were missed or cut off while nobody ran them."""
        name_process(f"daemon-{self._holder.rpartition(':')[2]}")
        self._alive()
        self._plan(beginning=True)
        self._scheduler.start()
        if self._endpoints is not None:
            self._endpoints.start()
        _log.info("daemon begins", pid=os.getpid(), schedules=len(self._settings.schedules), store=_shown(self._store))

    def run(self) -> int:
        """Run until asked to stop; return the exit code: 0 where everything ended or was laid down in time."""
        self.begin()
        while True:
            try:
                why = self._wakes.get(timeout=TICK)
            except queue.Empty:
                self._tick()
                continue
            if why == RELOAD:
                self.reload()
            else:
                return self.end()

    def reload(self) -> None:
        """Read the settings again. Faulty ones change nothing; chains under way end by the settings they began with."""
        try:
            settings = self._load()
            timetable(settings)
            send = notices.sender(settings)
            if settings.store != self._settings.store:
                raise FixConfiguration("The store moved. That needs a restart of the daemon, not a reload.")
        except BridgeError as error:
            _log.error("reload refused", remedy="the settings from before go on", says=str(error))
            tell = Telling("reload", FAILURE, "settings", f"A reload was refused: {error}", "Mend it and reload again.")
            note(self._store, self._settings.daemon.notify, [tell], self._clock.now())
            return
        self._settings, self._send = settings, send
        with self._store.begin() as connection:
            unattended.let_try(connection, self._clock.now())
            unattended.forget_notices(connection, "reload")
        self._plan(beginning=False)
        _log.info("settings read again", schedules=len(settings.schedules))

    def end(self) -> int:
        """Begin nothing more, let what runs reach the next place to stop, and end within the bound."""
        bound = self._settings.daemon.stop_within
        began = time.monotonic()
        _log.info("stopping", within=bound, running=sorted(self._active))
        self._stopping.set()
        self._scheduler.pause()
        seen = began
        while self._busy() and time.monotonic() - began < bound:
            time.sleep(0.05)
            if time.monotonic() - seen >= TICK:
                # Who is still at work must not be taken for gone, and its chains be taken up elsewhere.
                seen = time.monotonic()
                with contextlib.suppress(StoreFault):
                    self._alive()
        left = sorted(self._active)
        if left:
            # As after a crash: the journal says what was sent, and the next run looks that up first.
            _log.warning("stopped without waiting longer", left=left, remedy="the next run looks up what was sent")
        self._scheduler.shutdown(wait=not left)
        if self._endpoints is not None:
            self._endpoints.stop()
        try:
            if not left:
                Messenger(self._store, self._settings.daemon.notify, self._send, self._clock).send_due(gathered=True)
            with self._store.begin() as connection:
                now = self._clock.now()
                unattended.seen(connection, self._holder, self._started, now, stopped=now)
        except StoreFault as error:
            _log.warning("the store is away", says=str(error))
        _log.info("daemon ends", seconds=round(time.monotonic() - began, 3))
        return 1 if left else 0

    def _busy(self) -> bool:
        with self._lock:
            return bool(self._active)

    def _tick(self) -> None:
        try:
            self._alive()
            now = self._clock.now()
            if now - self._looked >= LOOK:
                self._looked = now
                self._take_up(now)
            Messenger(self._store, self._settings.daemon.notify, self._send, self._clock).send_due()
        except StoreFault as error:
            _log.warning("the store is away", says=str(error), remedy="nothing is lost; it is tried again")

    def _alive(self) -> None:
        with self._store.begin() as connection:
            now = self._clock.now()
            unattended.seen(connection, self._holder, self._started, now)
            unattended.prune_daemons(connection, now - 30 * 86_400.0)

    # --- Plans ------------------------------------------------------------------------------------------------------

    def _plan(self, *, beginning: bool) -> None:
        """Give the scheduler what the settings say, and what is due already and was not taken.

        At the beginning, what was missed or cut off is told or taken up.
        """
        wanted = {one.name: one for one in timetable(self._settings)}
        for job in self._scheduler.get_jobs():
            # What is left of a chain stays, unless nobody wants it any more.
            if job.id.removeprefix(REST) not in wanted or not job.id.startswith(REST):
                job.remove()
        now = self._clock.now()
        for one in wanted.values():
            first = self._first(one, now, telling=beginning)
            if first is None:
                continue
            self._scheduler.add_job(
                _nothing,
                WallClockTrigger(one.timing),
                kwargs={"due": Due(one, first)},
                id=one.name,
                name=one.name,
                next_run_time=dt.datetime.fromtimestamp(first, dt.UTC),
            )
        self._wanted = tuple(wanted.values())
        if beginning:
            self._take_up(now)

    def _first(self, one: Appointment, now: float, *, telling: bool) -> float | None:
        """Return when it is to begin first: in the past where its time was missed by less than its grace."""
        with self._store.read() as connection:
            last = unattended.firing(connection, one.schedule, one.site)
        if last is None:
            return one.timing.after(now)
        missed = one.timing.after(last.due)
        if telling and missed is not None and missed < now - one.misfire_grace:
            self._missed(one, missed, "the daemon was not running")
        # Taken while the clock was ahead, it says nothing about what comes.
        return one.timing.after(max(min(last.due, now), now - one.misfire_grace))

    def _take_up(self, now: float) -> None:
        """Take up what was cut off by a crash, laid down at a stop, or put off by a blackout, here or elsewhere."""
        with self._store.read() as connection:
            asleep = unattended.fallen_asleep(connection, now - LIVES)
            found = [(one, unattended.firing(connection, one.schedule, one.site)) for one in self._wanted]
        for one, last in found:
            if last is None or last.state not in ("running", "stopped", POSTPONED):
                continue
            if last.state == "running" and not (last.holder in asleep or holder_is_dead(last.holder)):
                continue
            if last.state != POSTPONED and now - last.began_at > max(one.misfire_grace, 86_400.0):
                continue
            done = [str(step["step"]) for step in last.steps] if last.state == POSTPONED else []
            left = tuple(step for step in one.steps if step not in done)
            begins = one.timing.out_of_blackout(now)
            _log.info("taken up again", firing=one.name, state=last.state, steps=list(left))
            self._later(Due(one, last.due, found=last, steps=left), begins)

    def _later(self, due: Due, moment: float) -> None:
        self._scheduler.add_job(
            _nothing,
            DateTrigger(dt.datetime.fromtimestamp(moment, dt.UTC)),
            kwargs={"due": due},
            id=REST + due.appointment.name,
            replace_existing=True,
        )

    def _still_running(self, event: Any) -> None:
        _log.warning("firing left out: the one before still runs", firing=event.job_id)
        self._metrics.firing(event.job_id.partition("|")[0], "overlapped")

    def _missed(self, one: Appointment, moment: float, why: str) -> None:
        when = f"{dt.datetime.fromtimestamp(moment, one.timing.zone):%Y-%m-%d %H:%M %Z}"
        _log.warning("firing missed", firing=one.name, due=when, why=why)
        tell = Telling(
            f"missed:{one.name}",
            FAILURE,
            one.site,
            f"{one.schedule} was to begin at {when} and did not: {why}. It is left out.",
            f"If it cannot wait for the next time: `lms-bridge daemon --once {one.schedule} --site {one.site}`.",
        )
        note(self._store, self._settings.daemon.notify, [tell], self._clock.now())
        self._metrics.firing(one.schedule, "missed")

    # --- Firings ----------------------------------------------------------------------------------------------------

    def _fire(self, due: Due) -> None:
        """Take a firing and run it, unless it is too late, another daemon has it, or the daemon stops."""
        one = due.appointment
        if self._stopping.is_set():
            return
        if due.late > one.misfire_grace:
            self._missed(one, due.moment, f"the daemon came to it {due.late / 60:,.0f} minutes late")
            return
        with self._lock:
            self._active.add(one.name)
        try:
            settings = self._settings_for(one.site)
            stop = self._asked_to_stop
            chain = Chain(settings, self._store, one, due.moment, self._clock, stop, self._metrics.step)
            with bound_contextvars(run=chain.name):
                if not self._take(due, chain):
                    return
                try:
                    end = self._run_chain(chain, due.steps)
                except StoreFault as error:
                    _log.error("the store failed in the middle of a chain", says=str(error))
                    end = ChainEnd("failed", str(error))
                self._conclude(due, end)
            self._metrics.firing(one.schedule, end.state)
            if end.resume_at is not None and not self._stopping.is_set():
                with self._store.read() as connection:
                    found = unattended.firing(connection, one.schedule, one.site)
                self._later(Due(one, due.moment, found=found, steps=end.left), end.resume_at)
        finally:
            with self._lock:
                self._active.discard(one.name)

    def _settings_for(self, site: str) -> Settings:
        """Return the settings to run a chain by.

        Where its site did not let us in, a new token may stand in them by now: then how sites and feeds are reached is
        read afresh, for this chain and those after it.
        """
        try:
            with self._store.read() as connection:
                found = [unattended.trouble(connection, subject) for subject in (site, f"{site}:feeds")]
            if not any(trouble is not None and trouble.open for trouble in found):
                return self._settings
            fresh = self._load()
        except BridgeError as error:
            _log.warning("settings not read again", says=str(error), remedy="the settings from before go on")
            return self._settings
        now = self._settings
        sites = {name: fresh.sites.get(name, one) for name, one in now.sites.items()}
        feeds = {name: fresh.feeds.get(name, one) for name, one in now.feeds.items()}
        self._settings = now.model_copy(update={"variables": fresh.variables, "sites": sites, "feeds": feeds})
        return self._settings

    def _take(self, due: Due, chain: Chain) -> bool:
        """Take a firing for this daemon; waits for a store that is away as long as the firing's grace allows."""
        one = due.appointment
        while True:
            try:
                now = self._clock.now()
                if due.found is not None:
                    with self._store.begin() as connection:
                        taken = unattended.take_over(connection, due.found, self._holder, now)
                else:
                    taken = claim(self._store, one, due.moment, self._holder, now, chain.name)
            except StoreFault as error:
                _log.warning("the store is away", says=str(error), firing=one.name)
                if self._clock.now() - due.moment > one.misfire_grace or self._stopping.wait(STORE_PAUSE):
                    return False
                continue
            if not taken:
                _log.info("taken by another daemon", firing=one.name)
                self._metrics.firing(one.schedule, "elsewhere")
            return taken

    def _conclude(self, due: Due, end: ChainEnd) -> None:
        """Record how it went; a store that is away is waited for a little."""
        for _ in range(12):
            try:
                conclude(self._store, due.appointment, due.moment, end, self._clock.now())
            except StoreFault as error:
                _log.warning("the store is away", says=str(error), firing=due.appointment.name)
                if self._stopping.wait(STORE_PAUSE):
                    return
            else:
                return

    def _asked_to_stop(self) -> str:
        return (
            "The daemon was asked to stop; what was sent is recorded, the rest comes next time."
            if (self._stopping.is_set())
            else ""
        )

    # --- Questions --------------------------------------------------------------------------------------------------

    def healthy(self) -> Answer:
        """Tell whether the daemon works: its scheduler runs."""
        thread = getattr(self._scheduler, "_thread", None)
        if thread is None or not thread.is_alive():
            return 503, "The scheduler does not run. Restart the daemon."
        return 200, "The daemon runs."

    def ready(self) -> Answer:
        """Tell whether it can do its work: the store answers, and it is not stopping."""
        if self._stopping.is_set():
            return 503, "The daemon is stopping."
        try:
            with self._store.read() as connection:
                unattended.daemons(connection, 0.0)
        except StoreFault as error:
            return 503, str(error)
        return self.healthy()

    def close(self) -> None:
        """Give back the store."""
        self._store.close()


def _shown(store: Store) -> str:
    return store.engine.url.render_as_string(hide_password=True)


@contextmanager
def signals(wakes: queue.SimpleQueue[str]) -> Iterator[None]:
    """Have SIGTERM and SIGINT ask for the end and SIGHUP for a reload, for the block."""
    wanted = {signal.SIGTERM: STOP, signal.SIGINT: STOP}
    if hasattr(signal, "SIGHUP"):
        wanted[signal.SIGHUP] = RELOAD
    before = {number: signal.signal(number, lambda *_args, why=why: wakes.put(why)) for number, why in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serve(load: Callable[[], Settings]) -> int:
    """Run the daemon until SIGTERM; return its exit code. Raises FixConfiguration where it cannot begin."""
    wakes: queue.SimpleQueue[str] = queue.SimpleQueue()
    with signals(wakes):
        daemon = Daemon(load, wakes=wakes)
        code = daemon.run()
    if code:
        # A thread that still waits for an answer would keep the process for as long as that takes.
        os._exit(code)
    daemon.close()
    return code
