"""Which of the files that lie in a drop are whole and may be taken: a pure judgement over a listing."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from fnmatch import fnmatchcase

from connectors.feeds.names import judge_name, shown
from connectors.feeds.settings import FeedSettings, Order, Readiness, ReadyWhen
from connectors.feeds.source import Arrival, PassedOver, Survey

WHY_SUFFIX = ".why.txt"
"""Ending of the note that tells why a file was left where it is."""


class EntryKind(Enum):
    """What a name in a listing stands for."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "symbolic link"
    OTHER = "device or pipe"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing. `name` is as it came, not yet judged."""

    name: str
    size: int
    modified: datetime
    kind: EntryKind = EntryKind.FILE


def utc(seconds: float) -> datetime:
    """Return epoch seconds as a time in UTC; nonsense from a server becomes the epoch."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class Watch:
    """Remembers since when each file has looked the same."""

    _known: dict[str, tuple[int, datetime, float]] = field(default_factory=dict)

    def same_for(self, entry: Entry, now: float) -> float:
        """Note what a file looks like now and return for how many seconds it has looked so."""
        size, modified, since = self._known.get(entry.name, (-1, entry.modified, now))
        if (size, modified) != (entry.size, entry.modified) or since > now:
            since = now
        self._known[entry.name] = (entry.size, entry.modified, since)
        return now - since

    def forget_all_but(self, names: set[str]) -> None:
        """Drop what is known of files that are gone."""
        self._known = {name: known for name, known in self._known.items() if name in names}


def sort_out(entries: Sequence[Entry], settings: FeedSettings, watch: Watch, now: float) -> tuple[Survey, float]:
    """Sort a listing. Return it with the seconds after which another look may find more (0: no use in waiting)."""
    files = {one.name: one for one in entries if one.kind is EntryKind.FILE}
    watch.forget_all_but(set(files))
    ready: list[tuple[Entry, str, str]] = []
    waiting: list[PassedOver] = []
    refused: list[PassedOver] = []
    wait = 0.0
    for entry in sorted(entries, key=lambda one: one.name):
        if entry.kind is EntryKind.FOLDER or not fits(entry.name, settings):
            continue
        verdict = judge_name(entry.name)
        if reason := verdict.why if verdict.refused else _unfit(entry, settings):
            refused.append(PassedOver(shown(entry.name), reason))
            continue
        reason, seconds = _incomplete(entry, files, settings.readiness, watch, now)
        if reason:
            waiting.append(PassedOver(shown(entry.name), reason))
            wait = max(wait, seconds)
            continue
        ready.append((entry, verdict.local, verdict.why))
    if settings.order is Order.DATE:
        ready.sort(key=lambda one: (one[0].modified, one[0].name))
    arrivals = tuple(
        _arrival(entry, local, note, order, files, settings.readiness)
        for order, (entry, local, note) in enumerate(ready)
    )
    return Survey(arrivals, tuple(waiting), tuple(refused)), wait


def fits(name: str, settings: FeedSettings) -> bool:
    """Tell whether a name is meant by the pattern and is neither hidden nor a companion of another file."""
    last = name.replace("\\", "/").rpartition("/")[2]
    if name.endswith((settings.readiness.marker_suffix, *settings.readiness.manifest_suffixes, WHY_SUFFIX)):
        return False
    if last.startswith(".") and not settings.pattern.startswith("."):
        return False
    pattern = unicodedata.normalize("NFC", settings.pattern)
    return any(fnmatchcase(unicodedata.normalize("NFC", one), pattern) for one in (name, last))


_TAG = re.compile(r"-\d{8}T\d{6}Z(-\d+)?(?=\.|$)")
"""What the archive puts into a name that was taken already."""


def expired(entries: Sequence[Entry], settings: FeedSettings, before: datetime) -> list[Entry]:
    """Return those of an archive's files that belong to a feed and were last changed before a moment."""
    suffixes = (WHY_SUFFIX, settings.readiness.marker_suffix, *settings.readiness.manifest_suffixes)

    def belongs(name: str) -> bool:
        own = next((name.removesuffix(one) for one in suffixes if name.endswith(one)), name)
        return fits(own, settings) or fits(_TAG.sub("", own, count=1), settings)

    return [
        one
        for one in entries
        if one.kind is EntryKind.FILE
        and one.modified < before
        and not judge_name(one.name).refused
        and belongs(one.name)
    ]


def _unfit(entry: Entry, settings: FeedSettings) -> str:
    if entry.kind is EntryKind.LINK:
        return "It is a symbolic link; only files themselves are taken. Ask the sender to put the file itself there."
    if entry.kind is EntryKind.OTHER:
        return "It is not a file but a device or a pipe. Remove it from the drop."
    if entry.size > settings.max_bytes:
        return (
            f"It has {entry.size:,} bytes, more than the {settings.max_bytes:,} allowed. "
            f"If that is right, raise max_bytes in {settings.place}."
        )
    return ""


def _incomplete(
    entry: Entry, files: dict[str, Entry], readiness: Readiness, watch: Watch, now: float
) -> tuple[str, float]:
    if readiness.when is ReadyWhen.MANIFEST:
        if _manifest_of(entry, files, readiness) is None:
            names = " or ".join(shown(entry.name) + suffix for suffix in readiness.manifest_suffixes)
            return f"Its manifest ({names}) is not there yet.", 0.0
        return "", 0.0
    if readiness.when is ReadyWhen.MARKER:
        name = entry.name + readiness.marker_suffix
        marker = files.get(name)
        if marker is None:
            return f"Its marker {shown(name)} is not there yet.", 0.0
        if older(marker.modified, entry.modified):
            return (
                f"Its marker {shown(name)} is older than the file, so it belongs to an earlier one. "
                "The sender must put the marker there last.",
                0.0,
            )
        return "", 0.0
    same = watch.same_for(entry, now)
    if same < readiness.interval:
        return (
            f"It may still be growing: it has to keep its size and time for {readiness.interval:g} seconds.",
            readiness.interval - same,
        )
    return "", 0.0


def older(companion: datetime, file: datetime) -> bool:
    """Tell whether a companion is from before its file; whole seconds, as some servers keep no finer time."""
    return math.floor(companion.timestamp()) < math.floor(file.timestamp())


def _manifest_of(entry: Entry, files: dict[str, Entry], readiness: Readiness) -> str | None:
    return next((entry.name + s for s in readiness.manifest_suffixes if entry.name + s in files), None)


def _arrival(entry: Entry, local: str, note: str, order: int, files: dict[str, Entry], readiness: Readiness) -> Arrival:
    suffixes = (readiness.marker_suffix, *readiness.manifest_suffixes, WHY_SUFFIX)
    return Arrival(
        name=entry.name,
        size=entry.size,
        modified=entry.modified,
        order=order,
        local_name=local,
        note=note,
        manifest_name=_manifest_of(entry, files, readiness),
        companions=tuple(entry.name + suffix for suffix in suffixes if entry.name + suffix in files),
    )
