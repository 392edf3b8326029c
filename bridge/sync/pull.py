"""One pull: bring results back page by page, resume where an earlier one was cut off, and let nothing vanish unseen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from bridge.model import RESULT_KIND_OF
from bridge.ports import LmsPort, Page, PullScope, Remark, Severity, StopRun, guarded
from bridge.store import Store, results
from bridge.sync.clock import Clock
from bridge.sync.running import Rules, Running, running

DAY = 86_400.0
OVERLAP = 7 * DAY
"""Completions surface late and backdated: each window reaches this far back before the last one began."""
FULL_EVERY = 7 * DAY
"""Some completions vanish, some surface later than any window: this often everything is read again."""
VANISHED_SHARE = 0.2
VANISHED_SMALL = 25
"""A complete pull that misses more than this share (and more than this number) of what is known is not believed."""


@dataclass(frozen=True, slots=True)
class PullOrder:
    """What a person or a schedule asks for."""

    kinds: frozenset[str] = frozenset({"completions", "attainments", "certifications"})
    """What every LMS can be asked for in bulk, if it has it at all."""
    since: float | None = None
    """Epoch seconds; None lets the last pull decide."""
    full: bool = False
    activities_of: tuple[str, ...] = ()
    accept_vanished: bool = False
    """Believe a complete pull even where it misses much of what is known."""


@dataclass(slots=True)
class PullReport:
    """What a pull brought back."""

    run_id: int
    full: bool
    since: float | None
    resumed: bool = False
    pages: int = 0
    new: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    vanished: Counter[str] = field(default_factory=Counter)
    remarks: list[Remark] = field(default_factory=list)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the counts by kind of result."""
        found: dict[str, dict[str, int]] = {}
        for name in ("new", "changed", "unchanged", "vanished"):
            for kind, number in getattr(self, name).items():
                found.setdefault(kind, {})[name] = number
        return found


def pull(
    site: str,
    port: LmsPort,
    store: Store,
    order: PullOrder,
    rules: Rules,
    clock: Clock,
    progress: Callable[[PullReport], None] = lambda _report: None,
) -> PullReport:
    """Bring results back and record them. A pull that was cut off is taken up at its last page.

    Raises SiteBusy where another run works on the site, and what the port raises; pages recorded until then stay.
    """
    with running(store, site, "pull", clock, rules) as run, guarded(port, run.tenure.check_sending):
        state, report = _begin(run, order)
        known = None if state["full"] else _Known(store, site)
        scope = PullScope(state["since"], frozenset(state["kinds"]), tuple(state["activities_of"]), known=known)
        for page in () if state["through"] else port.pull(scope, state["cursor"]):
            _take(run, page, state, report)
            if not state["through"]:
                run.tenure.check_sending()
            run.counts = report.counts()
            progress(report)
        if not state["through"]:
            raise StopRun(
                "The LMS ended before its last page. What came until then is kept, nothing was marked as gone. "
                "Run the pull again: it goes on from there."
            )
        _finish(run, order, state, report)
        run.counts = report.counts()
        run.message = "; ".join(remark.says for remark in report.remarks)
    return report


class _Known:
    """Says whether a completion is recorded already. Read from the store once, and only where a connector asks."""

    def __init__(self, store: Store, site: str) -> None:
        self._store = store
        self._site = site
        self._courses: dict[str, set[str]] | None = None

    def __call__(self, person: str, course: str) -> bool:
        if self._courses is None:
            self._courses = {}
            with self._store.read() as connection:
                for subject, about in results.live_keys(connection, self._site, "completions"):
                    self._courses.setdefault(subject, set()).add(about)
        return course in self._courses.get(person, ())


def _name_of(kinds: Collection[str]) -> str:
    """Return the name a pull's place is kept under: pulls of different kinds do not disturb each other."""
    return "pull:" + "+".join(sorted(kinds))


def _begin(run: Running, order: PullOrder) -> tuple[dict[str, Any], PullReport]:
    """Take up an unfinished pull, or decide what a new one reads."""
    now = run.clock.now()
    with run.store.read() as connection:
        last = results.load_cursor(connection, run.site, _name_of(order.kinds)) or {}
    unfinished = bool(last.get("cursor")) and not order.full and order.since is None
    if unfinished and list(order.activities_of) == last["activities_of"]:
        report = PullReport(run.id, last["full"], last["since"], resumed=True)
        return {**last, "resumed": last["resumed"] or not last["through"]}, report
    since = order.since
    if since is None and not order.full and last.get("full_at") and now - last["full_at"] < FULL_EVERY:
        since = last["began_at"] - OVERLAP
    state = {
        "pull": run.id,
        "since": since,
        "full": since is None,
        "kinds": sorted(order.kinds),
        "activities_of": list(order.activities_of),
        "cursor": None,
        "through": False,
        "whole": [],
        "resumed": False,
        "start": now,
        "began_at": last.get("began_at"),
        "full_at": last.get("full_at"),
    }
    return state, PullReport(run.id, since is None, since)


def _take(run: Running, page: Page, state: dict[str, Any], report: PullReport) -> None:
    """Record a page and, in the same transaction, that it has been read."""
    by_name: dict[str, list[Any]] = {}
    for result in page.results:
        by_name.setdefault(RESULT_KIND_OF[type(result)], []).append(result)
    state["cursor"] = page.cursor
    state["through"] = page.last
    state["whole"] = sorted({*state["whole"], *page.whole})
    with run.store.begin() as connection:
        run.tenure.confirm(connection)
        now = run.clock.now()
        for name, found in by_name.items():
            taken = results.record_results(connection, run.site, state["pull"], now, found)
            report.new[name] += taken.new
            report.changed[name] += taken.changed
            report.unchanged[name] += taken.unchanged
        results.save_cursor(connection, run.site, _name_of(state["kinds"]), now, state)
    report.pages += 1
    report.remarks += page.remarks


def _finish(run: Running, order: PullOrder, state: dict[str, Any], report: PullReport) -> None:
    """Turn what a complete pull no longer found into history, unless that is more than is believable."""
    reconciled = state["full"]
    with run.store.begin() as connection:
        run.tenure.confirm(connection)
        now = run.clock.now()
        for name in state["whole"] if state["full"] else ():
            missed, total = results.unseen(connection, run.site, name, state["pull"])
            says = ""
            if missed and state["resumed"]:
                # Between two halves rows move from page to page: one may have been passed over without being gone.
                reconciled = False
                says = (
                    f"{missed:,} of {total:,} known {name} were not in this pull, which was cut off and taken up "
                    "again. Nothing was marked as gone; the next pull reads everything once more."
                )
            elif missed > VANISHED_SMALL and missed > total * VANISHED_SHARE and not order.accept_vanished:
                says = (
                    f"{missed:,} of {total:,} known {name} were not in this complete pull. That is too many to "
                    "believe, so nothing was marked as gone. Look at the report in the LMS; if it is right, pull again "
                    "with --full --accept-vanished."
                )
            if says:
                report.remarks.append(Remark(Severity.WARNING, name, "", says))
                continue
            report.vanished[name] += results.retire_unseen(connection, run.site, name, state["pull"], now)
        place = {"cursor": None, "through": False, "whole": [], "resumed": False, "began_at": state["start"]}
        done = {**state, **place, "full_at": state["start"] if reconciled else state["full_at"]}
        results.save_cursor(connection, run.site, _name_of(state["kinds"]), now, done)
