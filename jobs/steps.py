"""The steps of a chain: the same jobs that a person starts by hand, each with an end that can be told in a word."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from bridge.ports import AccessRefused, BridgeError, SafetyLimit, Severity
from bridge.settings import Settings
from bridge.store import Store, StoreFault
from bridge.store import feeds as feed_store
from bridge.sync.clock import Clock
from bridge.sync.lease import SiteBusy
from bridge.sync.pull import PullOrder
from jobs import feed_desk
from jobs import pull as pull_job
from jobs import push as push_job
from jobs.backups import back_up
from jobs.ingest import FeedContext
from jobs.night_report import write_report
from jobs.notices import FAILURE, QUARANTINE, REFUSAL, TITLES, Telling
from jobs.sites import workplace
from jobs.tidying import tidy as tidy_up
from jobs.workforce import FeedQuarantined

DONE, PENDING, REJECTED, PARTIAL = "done", "pending", "rejected", "partial"
FAILED, REFUSED, QUARANTINED, STOPPED, BUSY = "failed", "refused", "quarantined", "stopped", "busy"

WELL = (DONE, PENDING, REJECTED)
"""Ends after which the next step begins."""

TITLES_REMIND = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class StepEnd:
    """How a step ended, in a word and in sentences, and what a person should hear of it."""

    step: str
    state: str
    message: str = ""
    seconds: float = 0.0
    run_id: int | None = None
    access: bool = False
    """True where the LMS did not let the account in."""
    troubles_site: bool = False
    """True where it failed for a reason that lies with the site, so that it is left alone for a while."""
    tell: tuple[Telling, ...] = ()

    @property
    def well(self) -> bool:
        """True where the next step may begin."""
        return self.state in WELL


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a chain works with."""

    settings: Settings
    store: Store
    site: str
    feeds: tuple[str, ...]
    zone: ZoneInfo
    clock: Clock
    stop: Callable[[], str] = lambda: ""
    """Says, in a sentence, that nothing more is to begin; empty while it may."""
    earlier: list[StepEnd] = field(default_factory=list)
    """The steps of this chain that have ended."""

    @property
    def today(self) -> dt.date:
        """The day it is where the schedule is at home."""
        return dt.datetime.fromtimestamp(self.clock.now(), self.zone).date()

    def overrides(self) -> dict[str, object]:
        """Return what differs from a run that a person starts."""
        return {"lease_wait": self.settings.daemon.site_wait, "stop": self.stop}


def run_step(step: str, here: Circumstances) -> StepEnd:
    """Run one step to its end. What is foreseeable is in the result; anything else is raised."""
    try:
        return STEPS[step](here)
    except StoreFault as error:
        # That is nothing the site or its feeds can help.
        return StepEnd(step, FAILED, str(error))
    except FeedQuarantined as error:
        return StepEnd(step, QUARANTINED, str(error))
    except SafetyLimit as error:
        tell = Telling(
            f"refused:{here.site}:{step}",
            REFUSAL,
            here.site,
            f"The {step} was refused by a limit before anything was sent. {error}",
            f"Look at what it would do: `lms-bridge plan --site {here.site}`. If it is right, push it by hand once.",
        )
        return StepEnd(step, REFUSED, str(error), tell=(tell,))
    except SiteBusy as error:
        return StepEnd(step, BUSY, str(error))
    except BridgeError as error:
        if here.stop():
            return StepEnd(step, STOPPED, str(error))
        return StepEnd(step, FAILED, str(error), access=isinstance(error, AccessRefused), troubles_site=True)


def ingest(here: Circumstances) -> StepEnd:
    """Take in what the feeds of the site have delivered."""
    said: list[str] = []
    tell: list[Telling] = []
    states: set[str] = set()
    for name in here.feeds:
        if here.stop():
            return StepEnd("ingest", STOPPED, here.stop(), tell=tuple(tell))
        context = feed_desk.context_of(here.settings, name, here.store, here.today)
        delivery = _arrivals(here, context)
        for result in delivery.results:
            said.append(
                f"{name}: {result.file} {result.state}, {result.rows:,} rows, {result.created:,} new, "
                f"{result.updated:,} changed, {result.rejected:,} rejected"
            )
            states.add(REJECTED if result.rejected else DONE)
        if not delivery.results:
            said.append(f"{name}: nothing new has arrived")
        said += [f"{name}: {note}" for note in (*delivery.waiting, *delivery.refused, *delivery.troubles)]
        tell += [
            Telling(
                f"file:{name}:{note.partition(':')[0]}",
                QUARANTINE,
                here.site,
                f"Feed {name}: a file was not taken. {note}",
                "Ask the sender for a good file, or look at the note beside it.",
            )
            for note in delivery.refused
        ]
        tell += [
            Telling(
                f"archive:{name}",
                FAILURE,
                here.site,
                f"Feed {name}: {note}",
                'Let the account write to the archive, or set archive = "" for this feed.',
            )
            for note in delivery.troubles
        ]
        tell += _about_feed(here.store, name, here.site)
        with here.store.read() as connection:
            if feed_store.find_feed(connection, name).quarantined:
                states.add(QUARANTINED)
    state = next((one for one in (QUARANTINED, REJECTED) if one in states), DONE)
    return StepEnd("ingest", state, "; ".join(said), tell=tuple(tell))


def _arrivals(here: Circumstances, context: FeedContext) -> feed_desk.Delivery:
    """Take in what arrived; where another chain is at the same feed, after that one."""
    deadline = here.clock.now() + here.settings.daemon.site_wait
    while True:
        try:
            return feed_desk.ingest_arrivals(here.store, here.settings, context, here.today, here.clock)
        except SiteBusy:
            if here.stop() or here.clock.now() >= deadline:
                raise
            here.clock.sleep(1.0)


def _about_feed(store: Store, name: str, site: str) -> list[Telling]:
    """Return what a person should hear of a feed as it stands now."""
    with store.read() as connection:
        feed = feed_store.find_feed(connection, name)
        unmapped = feed_store.unmapped_titles(connection, name)
    found: list[Telling] = []
    if feed.quarantined:
        found.append(
            Telling(
                f"quarantine:{name}",
                QUARANTINE,
                site,
                f"Feed {name} is in quarantine; its last good state stays, and nothing is pushed from it. "
                f"{feed.reason}",
                f"Look at `lms-bridge rejections --feed {name}`, then `lms-bridge feed release {name} --reason TEXT`, "
                "or wait for a good file.",
            )
        )
    if unmapped:
        people = sum(title.people for title in unmapped)
        few = ", ".join(repr(title.title) for title in unmapped[:3])
        found.append(
            Telling(
                f"titles:{name}:{len(unmapped)}:{people}",
                TITLES,
                site,
                f"Feed {name}: {len(unmapped):,} job titles of {people:,} people stand for no position yet ({few}).",
                "Decide them: docs/titles.md says how; `lms-bridge feed status` counts them.",
                TITLES_REMIND,
            )
        )
    return found


def push(here: Circumstances) -> StepEnd:
    """Bring the site to what the files say."""
    with workplace(here.settings, here.site, here.overrides()) as place:
        report = push_job.push(place, push_job.Wish(as_of=here.today), here.clock)
    applied = report.tally.count("applied")
    says = {
        "done": f"{applied:,} changes" if applied else "nothing to do",
        "pending": (
            f"handed over; {report.tally.count('pending'):,} changes are not answered yet"
            if report.tally.count("pending")
            else "nothing new; what was handed over earlier is not answered yet"
        ),
    }.get(report.state, report.message or f"{applied:,} changes done, {len(report.tally.refused):,} not")
    if report.state in (DONE, PENDING):
        return StepEnd("push", report.state, says, run_id=report.run_id)
    if report.state == "stopped":
        if here.stop():
            return StepEnd("push", STOPPED, says, run_id=report.run_id)
        shut_out = report.tally.shut_out
        return StepEnd("push", FAILED, says, run_id=report.run_id, access=shut_out, troubles_site=True)
    first = "; ".join(f"{one.kind} {one.key}: {one.why}" for one in report.tally.refused[:3])
    tell = Telling(
        f"partial:{here.site}",
        FAILURE,
        here.site,
        f"The push (run {report.run_id}) did {applied:,} changes; {len(report.tally.refused):,} were not done: {first}",
        f"See all with `lms-bridge runs show {report.run_id}`, and mend what it names.",
    )
    return StepEnd("push", PARTIAL, says, run_id=report.run_id, tell=(tell,))


def pull(here: Circumstances) -> StepEnd:
    """Bring results back."""
    with workplace(here.settings, here.site, here.overrides()) as place:
        report = pull_job.pull(place, PullOrder(), here.clock)
    counts = report.counts()
    says = "; ".join(
        f"{kind}: " + ", ".join(f"{number:,} {word}" for word, number in numbers.items())
        for kind, numbers in counts.items()
    )
    warnings = [remark.says for remark in report.remarks if remark.severity is Severity.WARNING]
    tell = tuple(
        Telling(f"pull:{here.site}:{says[:80]}", FAILURE, here.site, f"The pull warns: {says}", "") for says in warnings
    )
    return StepEnd("pull", DONE, "; ".join([says or "nothing found", *warnings]), run_id=report.run_id, tell=tell)


def tidy(here: Circumstances) -> StepEnd:
    """Remove what has expired."""
    done = tidy_up(here.store, here.settings, here.clock, here.stop)
    says = "; ".join((*done.troubles, *(done.in_words() or ("nothing has expired",))))
    return StepEnd("tidy", FAILED if done.troubles else DONE, says)


def backup(here: Circumstances) -> StepEnd:
    """Copy the store."""
    made = back_up(here.store, here.settings, None, here.clock)
    return StepEnd("backup", DONE, f"{made.path}, {made.bytes:,} bytes")


def report(here: Circumstances) -> StepEnd:
    """Write down for people how the chain went and how the site stands."""
    folder = here.settings.folder / here.settings.daemon.reports
    path: Path = write_report(here, folder, here.settings.daemon.reports_kept)
    return StepEnd("report", DONE, f"written to {path}")


STEPS: Mapping[str, Callable[[Circumstances], StepEnd]] = {
    "ingest": ingest,
    "push": push,
    "report": report,
    "pull": pull,
    "tidy": tidy,
    "backup": backup,
}
