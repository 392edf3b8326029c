"""What expires by rule: old files in the archives of feeds, old records, what a program that died left behind."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bridge.ports import BridgeError
from bridge.retention_settings import DAY, RetentionSettings
from bridge.settings import Settings
from bridge.store import Store, feeds
from bridge.store.retention import (
    expire_deliveries,
    expire_rejections,
    expire_results,
    expire_runs,
    expire_unattended,
)
from bridge.sync.clock import Clock
from connectors.feeds import FeedSource
from jobs.schedule import HOUSE, TIDYING


@dataclass(frozen=True, slots=True)
class Expired:
    """What was removed because its time was over."""

    rejections: int = 0
    archived: tuple[str, ...] = ()
    """Names of files that were in the archive."""
    troubles: tuple[str, ...] = ()
    """What could not be removed, each with the reason."""

    def in_words(self) -> tuple[str, ...]:
        """Say what was removed; nothing where nothing was."""
        said = []
        if self.archived:
            said.append(f"removed from the archive, as its time is over: {', '.join(self.archived)}")
        if self.rejections:
            said.append(f"{self.rejections:,} old rejections removed")
        return tuple(said)


def expire_feed(
    store: Store, retention: RetentionSettings, feed: str, source: FeedSource | None, now: float
) -> Expired:
    """Remove what has expired of one feed; without a `source`, in the store alone. A fault on the way is told, and
    stops nothing: what could not be removed is removed next time."""
    rejections = 0
    troubles: list[str] = []
    if (before := retention.before("rejections", now)) is not None:
        with store.begin() as connection:
            rejections = expire_rejections(connection, feed, before)
    archived: tuple[str, ...] = ()
    if source is not None and (before := retention.before("archives", now)) is not None:
        try:
            archived = source.expire(dt.datetime.fromtimestamp(before, dt.UTC))
        except BridgeError as error:
            troubles.append(f"The archive of the feed {feed} was not tidied: {error}")
    return Expired(rejections, archived, tuple(troubles))


@dataclass(frozen=True, slots=True)
class Tidied:
    """What one tidying up came to."""

    feeds: dict[str, Expired]
    inbox: tuple[str, ...]
    """Files that a program which died had left in the inbox."""
    backups: tuple[str, ...]
    runs: int = 0
    changes: int = 0
    """Lines of the journal: what those runs had sent."""
    deliveries: int = 0
    """Records of files that feeds brought."""
    results: int = 0
    queued: int = 0
    """Jobs of a fleet that had failed."""
    troubles: tuple[str, ...] = ()
    """What could not be tidied, each with the reason."""

    def in_words(self) -> tuple[str, ...]:
        """Say what was removed; nothing where nothing was."""
        said = [f"{name}: {words}" for name, one in self.feeds.items() for words in one.in_words()]
        if self.inbox:
            said.append(f"{len(self.inbox):,} files that a crash had left in the inbox removed")
        if self.backups:
            said.append(f"backups removed, as their time is over: {', '.join(self.backups)}")
        for number, what in (
            (self.runs, "old runs"),
            (self.changes, "lines of old runs' journals"),
            (self.deliveries, "records of old deliveries"),
            (self.results, "old results"),
            (self.queued, "old failed jobs of the fleet"),
        ):
            if number:
                said.append(f"{number:,} {what} removed")
        return tuple(said)


NOTICES_KEPT = 90 * DAY
"""Seconds for which it is known what people were told."""

DAEMONS_KEPT = 30 * DAY
"""Seconds for which it is known that a daemon lived."""


def tidy(
    store: Store,
    settings: Settings,
    clock: Clock,
    sources: dict[str, FeedSource],
    stop: Callable[[], str] = lambda: "",
) -> Tidied:
    """Remove what has expired: of every feed, in the inbox, among the backups, and in the store.

    `stop` says, in a sentence, that this is to end early: the rest goes next time.
    """
    now = clock.now()
    with store.read() as connection:
        names = sorted({*settings.feeds, *(one.name for one in feeds.all_feeds(connection))})
    found = {name: expire_feed(store, settings.retention, name, sources.get(name), now) for name in names}
    inbox = _old_files(settings.folder / ".lms-bridge" / "inbox", "*/*", settings.retention.before("inbox", now))
    backups = _old_files(backups_of(settings), "state-*", settings.retention.before("backups", now), newest_stays=True)
    runs = changes = deliveries = gone = 0
    if (before := settings.retention.before("runs", now)) is not None:
        runs, changes = expire_runs(store, before, stop)
        _expire_unattended(store, settings, now, before)
    with store.begin() as connection:
        if (before := settings.retention.before("deliveries", now)) is not None:
            deliveries = expire_deliveries(connection, before)
        if (before := settings.retention.before("results", now)) is not None:
            gone = expire_results(connection, before)
    troubles = tuple(trouble for one in found.values() for trouble in one.troubles)
    return Tidied(found, inbox, backups, runs, changes, deliveries, gone, troubles=troubles)


def _expire_unattended(store: Store, settings: Settings, now: float, before: float) -> None:
    with store.begin() as connection:
        expire_unattended(
            connection,
            told=now - NOTICES_KEPT,
            seen=now - DAEMONS_KEPT,
            before=before,
            sites=(*settings.sites, HOUSE),
            jobs=(*settings.schedules, TIDYING),
        )


def backups_of(settings: Settings) -> Path:
    """Return the folder into which backups go where nobody names another place."""
    return settings.folder / ".lms-bridge" / "backups"


def _old_files(folder: Path, pattern: str, before: float | None, *, newest_stays: bool = False) -> tuple[str, ...]:
    """Remove plain files that were last changed before a moment; return their names."""
    if before is None:
        return ()
    aged = sorted(
        (path.stat().st_mtime, path) for path in folder.glob(pattern) if not path.is_symlink() and path.is_file()
    )
    old = sorted(path for changed, path in (aged[:-1] if newest_stays else aged) if changed < before)
    for path in old:
        path.unlink(missing_ok=True)
    return tuple(path.name for path in old)
