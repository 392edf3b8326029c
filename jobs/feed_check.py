"""Looking at a file of a feed without touching anything: how its rows would be read, and every fault in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy.engine import make_url

from bridge.roster import RosterRow
from bridge.store import Store
from bridge.sync.clock import Clock
from jobs.feed_reading import Found, open_feed
from jobs.ingest import FeedContext, Incoming, Ingestion, IngestResult

SHOWN = 5
"""Rows shown as they would be read."""


@dataclass(frozen=True, slots=True)
class ColumnUse:
    """What one field is made from."""

    field: str
    header: str
    """The header in the file; empty where the file has no column for it."""
    how: str
    """What else is done to it, in words; empty where it is taken as it stands."""


@dataclass(frozen=True, slots=True)
class FeedCheck:
    """What a file looks like through the eyes of a feed."""

    result: IngestResult
    columns: tuple[ColumnUse, ...]
    unread: tuple[str, ...]
    """Headers that nothing reads."""
    rows: tuple[tuple[int, RosterRow], ...]
    """The first rows as they would be read, with their lines."""
    found: tuple[Found, ...]
    surplus: int


def check_file(store: Store, context: FeedContext, path: Path, as_of: dt.date, shown: int = SHOWN) -> FeedCheck:
    """Read a file as `ingest` would, compare and judge it, and leave everything as it is.

    Raises UnreadableTable where not one row can be read.
    """
    incoming = Incoming.of_path(path)
    with open_feed(path, incoming.name, context.settings, context.units, context.lookups) as opened:
        first = tuple((row.line, opened.reader.closely(row).record) for row in islice(opened.rows, shown))
        uses = tuple(
            ColumnUse(name, header, _how(context, name))
            for name in opened.mapping.names
            if (header := opened.columns.get(name, "")) or _how(context, name)
        )
        unread = opened.table.unknown
    with open_feed(path, incoming.name, context.settings, context.units, context.lookups) as opened:
        result, findings = Ingestion(store, context, as_of, Clock()).look(opened, incoming)
    found = tuple(sorted(findings.found, key=lambda one: one.fault.line or 0))
    return FeedCheck(result, uses, unread, first, found, findings.surplus)


def _how(context: FeedContext, name: str) -> str:
    """Return in words what a rule does to a field."""
    rule = context.settings.columns.get(name) or context.settings.extra.get(name)
    if rule is None or rule.is_plain:
        return ""
    words = []
    if rule.constant is not None:
        words.append(f"always “{rule.constant}”")
    if rule.join:
        words.append(f"joined from {', '.join(rule.join)}")
    if rule.regex:
        words.append(f"the part that matches {rule.regex}")
    words.extend(rule.apply)
    if rule.map:
        words.append("translated: " + ", ".join(f"{given} → {meant}" for given, meant in rule.map.items()))
    if rule.lookup:
        words.append(f"looked up in {rule.lookup}")
    if rule.default:
        words.append(f"“{rule.default}” where it is empty")
    return "; ".join(words)


@contextmanager
def store_or_none(url: str) -> Iterator[Store]:
    """Open the store if there is one, else an empty one in memory: looking must not make a file."""
    parsed = make_url(url)
    database = parsed.database or ""
    there = parsed.get_backend_name() != "sqlite" or (database and Path(database).exists())
    store = Store.open(url if there else "sqlite://")
    try:
        yield store
    finally:
        store.close()
