"""The health of a site: how often it failed in a row, when it is tried again, and that it is well again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bridge.settings import Settings
from bridge.store import Store, journal, unattended
from bridge.store.unattended import Trouble
from jobs.schedule import feeds_of_site

WELL = ("done", "pending")
"""States of runs after which a site is well."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a site may be tried now; `waits` says why not, `recovered` from what a person's own run healed it."""

    waits: str = ""
    until: float | None = None
    recovered: Trouble | None = None


def may_try(store: Store, site: str, now: float) -> Verdict:
    """Tell whether a site may be tried now. A run of somebody's that went well since ends the trouble."""
    with store.read() as connection:
        trouble = unattended.trouble(connection, site)
        latest = journal.runs(connection, site, 1)
    if trouble is None:
        return Verdict()
    if latest and latest[0].state in WELL and latest[0].started_at >= trouble.failed_at:
        with store.begin() as connection:
            unattended.clear_trouble(connection, site)
        return Verdict(recovered=trouble)
    if now >= trouble.next_try or trouble.failed_at > now + unattended.WRONG_CLOCK:
        return Verdict()
    return Verdict(trouble.reason, trouble.next_try)


def failed(
    store: Store, site: str, waits: Sequence[float], due: float, now: float, reason: str, *, access: bool
) -> Trouble:
    """Record that a site failed in a chain that was due at a moment, and return how it stands.

    `waits` are the seconds until the next try after the first, second... failure. They count from when the chain was
    due, so that one that runs every day is tried every day. `access` opens the circuit: the longest wait at once.
    """
    with store.begin() as connection:
        before = unattended.trouble(connection, site)
        failures = (before.failures if before else 0) + 1
        wait = waits[-1] if access else waits[min(failures, len(waits)) - 1]
        trouble = Trouble(
            site=site,
            failures=failures,
            open=access,
            since=before.since if before else now,
            failed_at=now,
            next_try=due + wait,
            reason=reason,
        )
        unattended.save_trouble(connection, trouble)
    return trouble


def feeds_reached(store: Store, settings: Settings, names: Collection[str], now: float) -> None:
    """Let unattended work try feeds again at its next time, where a person has reached all of a site's by hand."""
    for site in settings.sites:
        own = feeds_of_site(settings, site)
        if own and set(own) <= set(names):
            with store.begin() as connection:
                unattended.let_try(connection, now, f"{site}:feeds")


def well(store: Store, site: str) -> Trouble | None:
    """Record that a site is well; return the trouble that it was in."""
    with store.read() as connection:
        trouble = unattended.trouble(connection, site)
    if trouble is not None:
        with store.begin() as connection:
            unattended.clear_trouble(connection, site)
    return trouble
