"""A chain: steps at one site, one after the other, each only when the one before it ended well."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from structlog.contextvars import bound_contextvars

from bridge.logs import logger
from bridge.redaction import redact
from bridge.settings import Settings
from bridge.store import Store, unattended
from bridge.store.unattended import Trouble
from bridge.sync.clock import Clock
from jobs import health
from jobs.notices import FAILURE, RECOVERY, Telling, note
from jobs.schedule import Appointment, feeds_of_site
from jobs.steps import BUSY, FAILED, PARTIAL, QUARANTINED, REFUSED, STOPPED, Circumstances, StepEnd, run_step

SKIPPED, POSTPONED = "skipped", "postponed"

_WORST = (STOPPED, FAILED, REFUSED, QUARANTINED, BUSY, POSTPONED, SKIPPED, PARTIAL, "rejected", "pending", "done")

_log = logger("chain")

StepWatch = Callable[[str, StepEnd], None]
"""Told the site and each step that ended."""


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """How a chain went."""

    state: str
    message: str
    steps: tuple[StepEnd, ...] = ()
    left: tuple[str, ...] = ()
    """Steps that were postponed."""
    resume_at: float | None = None
    """When they begin."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One firing of a schedule for a site."""

    settings: Settings
    store: Store
    appointment: Appointment
    due: float
    clock: Clock
    stop: Callable[[], str] = lambda: ""
    watch: StepWatch = lambda _site, _end: None
    forced: bool = False
    """A person started it: blackouts do not hold it up."""

    @property
    def name(self) -> str:
        """What the log calls it."""
        moment = dt.datetime.fromtimestamp(self.due, dt.UTC)
        return f"{self.appointment.schedule}-{self.appointment.site}-{moment:%Y%m%dT%H%M%S}".replace(" ", "-")

    def run(self, steps: Sequence[str] | None = None) -> ChainEnd:
        """Run the steps (or those that are left) and say how it went. Nothing is raised: the daemon goes on."""
        with bound_contextvars(run=self.name, schedule=self.appointment.schedule, site=self.appointment.site):
            return self._run(tuple(steps or self.appointment.steps))

    def _run(self, steps: tuple[str, ...]) -> ChainEnd:
        here = self._circumstances()
        ends: list[StepEnd] = here.earlier
        _log.info("chain begins", steps=list(steps))
        for position, step in enumerate(steps):
            if reason := self.stop():
                return self._end(ends, STOPPED, reason)
            later = self.appointment.timing.out_of_blackout(self.clock.now())
            if later > self.clock.now() and not self.forced:
                left = steps[position:]
                says = f"{', '.join(left)} begins when the blackout ends, at {_when(later)}."
                return replace(self._end(ends, POSTPONED, says), left=left, resume_at=later)
            if ends and not all(one.well for one in ends) and step != "report":
                # What comes after would build on something that is not there. The report tells of it all the same.
                _log.info("step left out", step=step)
                continue
            ends.append(self._step(step, here))
            if ends[-1].state == STOPPED:
                break
        worst = min((one.state for one in ends), key=_WORST.index, default="done")
        says = "; ".join(f"{one.step}: {one.message or one.state}" for one in ends)
        return self._end(ends, worst, says)

    def _circumstances(self) -> Circumstances:
        schedule = self.settings.schedules.get(self.appointment.schedule)
        feeds = (schedule.feeds if schedule else ()) or feeds_of_site(self.settings, self.appointment.site)
        timing = self.appointment.timing
        return Circumstances(
            self.settings, self.store, self.appointment.site, feeds, timing.zone, self.clock, self.stop
        )

    def _step(self, step: str, here: Circumstances) -> StepEnd:
        subject = _subject(step, here.site)
        with bound_contextvars(step=step):
            verdict = health.may_try(self.store, subject, self.clock.now()) if subject else health.Verdict()
            if verdict.recovered is not None:
                self._recovered(verdict.recovered)
            if verdict.waits:
                until = _when(verdict.until or 0.0)
                _log.info("left alone", until=until, reason=verdict.waits)
                return StepEnd(step, SKIPPED, f"left alone until {until}, because it failed: {verdict.waits}")
            end = self._work(step, here)
        with self.store.begin() as connection:
            now = self.clock.now()
            unattended.record_step(connection, here.site, step, end.state, now, end.seconds, end.message, well=end.well)
        note(self.store, self.settings.daemon.notify, end.tell, self.clock.now())
        if subject:
            self._judge(end, subject)
        else:
            self._judge_by_itself(end)
        self.watch(here.site, end)
        return end

    def _work(self, step: str, here: Circumstances) -> StepEnd:
        began = time.monotonic()
        _log.info("step begins")
        try:
            end = run_step(step, here)
        except Exception as error:  # noqa: BLE001  a defect in one site's step must not end the nights of the others
            _log.exception("step broke off")
            end = StepEnd(
                step,
                FAILED,
                f"An unforeseen fault ended it ({type(error).__name__}: {error}). The log has the details; "
                "`lms-bridge support-bundle` packs what support needs.",
                troubles_site=True,
            )
        end = replace(end, seconds=round(time.monotonic() - began, 3), message=redact(end.message))
        level = _log.info if end.well else _log.warning
        level("step ends", state=end.state, seconds=end.seconds, says=end.message)
        return end

    def _judge(self, end: StepEnd, subject: str) -> None:
        """Draw from a step how the site (or its feeds) is, and note what people should hear of it."""
        site, now = self.appointment.site, self.clock.now()
        tell: list[Telling] = []
        if end.troubles_site:
            waits = self.settings.daemon.backoff
            trouble = health.failed(self.store, subject, waits, self.due, now, end.message, access=end.access)
            tell += _about_trouble(end, site, trouble, len(waits))
        elif end.state == FAILED:
            tell.append(Telling(f"broken:{subject}", FAILURE, site, f"The {end.step} failed. {end.message}"))
        elif end.well or end.state in (QUARANTINED, PARTIAL):
            recovered = health.well(self.store, subject)
            if recovered is not None:
                self._recovered(recovered)
        if end.well:
            self._forget(f"refused:{site}:{end.step}", f"partial:{site}", f"busy:{site}:{end.step}")
        if end.step == "ingest" and end.well:
            self._released()
        if end.state == BUSY:
            text = f"The {end.step} was left out. {end.message}"
            tell.append(Telling(f"busy:{site}:{end.step}", FAILURE, site, text, "It comes with the next run."))
        note(self.store, self.settings.daemon.notify, tell, now)

    def _judge_by_itself(self, end: StepEnd) -> None:
        """Note what people should hear of a step that tells nothing about a site."""
        site, now = self.appointment.site, self.clock.now()
        key = f"broken:{site}:{end.step}"
        if end.state == FAILED:
            tell = Telling(key, FAILURE, site, f"The {end.step} failed. {end.message}")
        elif end.well and self._forget(key):
            tell = Telling(f"recovered:{site}:{end.step}:{now:.0f}", RECOVERY, site, f"The {end.step} works again.")
        else:
            return
        note(self.store, self.settings.daemon.notify, [tell], now)

    def _recovered(self, before: Trouble) -> None:
        site, subject = self.appointment.site, before.site
        told = self._forget(f"failed:{subject}", f"broken:{subject}", f"slow:{subject}", f"access:{subject}")
        _log.info("site is well again", failures=before.failures, since=_when(before.since))
        if told:
            had = f"had failed {_times(before.failures)} {'on' if before.failures == 1 else 'since'}"
            text = f"Works again. It {had} {_when(before.since)}; what it said then: {before.reason}"
            tell = Telling(f"recovered:{subject}:{before.since:.0f}", RECOVERY, site, text, "Nothing.")
            note(self.store, self.settings.daemon.notify, [tell], self.clock.now())

    def _released(self) -> None:
        """Tell that feeds are out of quarantine."""
        site = self.appointment.site
        for name in self._circumstances().feeds:
            if self._forget(f"quarantine:{name}"):
                text = f"Feed {name} is out of quarantine."
                tell = Telling(f"released:{name}:{self.due:.0f}", RECOVERY, site, text, "Nothing.")
                note(self.store, self.settings.daemon.notify, [tell], self.clock.now())

    def _forget(self, *keys: str) -> bool:
        with self.store.begin() as connection:
            told = [unattended.forget_notices(connection, key) for key in keys]
        return any(told)

    def _end(self, ends: Sequence[StepEnd], state: str, says: str) -> ChainEnd:
        level = _log.info if state in ("done", "pending", "rejected", POSTPONED) else _log.warning
        level("chain ends", state=state, says=says)
        return ChainEnd(state, says, tuple(ends))


def _subject(step: str, site: str) -> str:
    """Return whose health a step tells of: the site's, its feeds', or nobody's."""
    return {"ingest": f"{site}:feeds", "report": "", "tidy": "", "backup": ""}.get(step, site)


def _about_trouble(bad: StepEnd, site: str, trouble: Trouble, steps: int) -> list[Telling]:
    """Return what to tell of a site that failed."""
    subject, again = trouble.site, _when(trouble.next_try)
    if trouble.open:
        feeds = bad.step == "ingest"
        whose = "The server of a feed" if feeds else "The LMS"
        mended = "take them in once by hand: `lms-bridge ingest`" if feeds else f"run `lms-bridge check --site {site}`"
        return [
            Telling(
                f"access:{subject}",
                FAILURE,
                site,
                f"{whose} does not let the bridge in ({bad.step}). {bad.message}",
                "Renew the token, password or account that has ended, put what is new where the settings say it is "
                f"(.env, for example), then {mended}. After that it runs at its next time again; until then it is "
                f"tried once a day only, next from {again} on.",
            )
        ]
    found = [
        Telling(
            f"failed:{subject}",
            FAILURE,
            site,
            f"The {bad.step} failed ({_times(trouble.failures)}). {bad.message}",
            f"If the text names nothing to do, wait: it is tried again from {again} on. "
            f"`lms-bridge runs --site {site}` shows what was done.",
        )
    ]
    if trouble.failures == steps:
        found.append(
            Telling(
                f"slow:{subject}",
                FAILURE,
                site,
                f"It has failed {trouble.failures} times in a row since {_when(trouble.since)}; from now on it is "
                "tried once a day.",
                "Mend what the message above names. It goes back to its schedule by itself once a run went well.",
            )
        )
    return found


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times in a row"


def _when(moment: float) -> str:
    return f"{dt.datetime.fromtimestamp(moment, dt.UTC):%Y-%m-%d %H:%M} UTC"


def claim(store: Store, appointment: Appointment, due: float, holder: str, now: float, name: str) -> bool:
    """Take a firing; False where another daemon took it."""
    with store.begin() as connection:
        return unattended.claim(connection, appointment.schedule, appointment.site, due, holder, now, name)


def conclude(store: Store, appointment: Appointment, due: float, end: ChainEnd, now: float) -> None:
    """Record how a firing went."""
    plain = [
        {"step": one.step, "state": one.state, "message": one.message, "seconds": one.seconds, "run": one.run_id}
        for one in end.steps
    ]
    with store.begin() as connection:
        unattended.end_firing(
            connection, appointment.schedule, appointment.site, due, end.state, now, redact(end.message), plain
        )


__all__ = ["POSTPONED", "SKIPPED", "Chain", "ChainEnd", "StepWatch", "claim", "conclude"]
