"""What expires by rule: old files in the archives of feeds, old rejections, what a program that died left behind."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from bridge.ports import BridgeError
from bridge.retention_settings import RetentionSettings
from bridge.settings import Settings
from bridge.store import Store, feeds
from bridge.store.retention import expire_rejections
from bridge.sync.clock import Clock
from connectors.feeds import FeedSource


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


def tidy(store: Store, settings: Settings, clock: Clock, sources: dict[str, FeedSource]) -> Tidied:
    """Remove everything that has expired: of every feed, in the inbox, and among the backups."""
    now = clock.now()
    with store.read() as connection:
        names = sorted({*settings.feeds, *(one.name for one in feeds.all_feeds(connection))})
    found = {name: expire_feed(store, settings.retention, name, sources.get(name), now) for name in names}
    inbox = _old_files(settings.folder / ".lms-bridge" / "inbox", "*/*", settings.retention.before("inbox", now))
    backups = _old_files(backups_of(settings), "state-*", settings.retention.before("backups", now))
    return Tidied(found, inbox, backups)


def backups_of(settings: Settings) -> Path:
    """Return the folder into which backups go where nobody names another place."""
    return settings.folder / ".lms-bridge" / "backups"


def _old_files(folder: Path, pattern: str, before: float | None) -> tuple[str, ...]:
    """Remove plain files that were last changed before a moment; return their names."""
    if before is None:
        return ()
    old = sorted(
        path
        for path in folder.glob(pattern)
        if not path.is_symlink() and path.is_file() and path.stat().st_mtime < before
    )
    for path in old:
        path.unlink(missing_ok=True)
    return tuple(path.name for path in old)
