"""Feeds, the files that came from them, and what was refused: reading and recording."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from bridge.faults import Fault
from bridge.store import encoding
from bridge.store.feed_tables import FeedRow, RejectionRow, SnapshotRow, StagedRow, UnmappedTitleRow
from bridge.store.state import in_batches, table_of, upsert

OPEN, QUARANTINED = "open", "quarantined"

ACCEPTED, PARTIAL, REFUSED, DISCARDED = "accepted", "partial", "refused", "discarded"
"""What may become of a snapshot, besides QUARANTINED."""

MOST_FINDINGS = 20_000
"""Findings kept of one file; a file with more is broken as a whole, and the first ones tell how."""


@dataclass(frozen=True, slots=True)
class Feed:
    """One feed as the store knows it."""

    name: str
    state: str = OPEN
    reason: str = ""
    since: float = 0.0
    accepted_id: int | None = None
    quarantined_id: int | None = None

    @property
    def quarantined(self) -> bool:
        """True where pushes from it stop."""
        return self.state == QUARANTINED


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One file of a feed and what became of it. See `bridge.store.feed_tables.SnapshotRow`."""

    feed: str
    file: str
    sha256: str
    size: int
    state: str
    id: int = 0
    stamp: str = ""
    delta: bool = False
    complete: bool = False
    vouched: bool = False
    ends_in_line_end: bool = True
    rules: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Fields that its columns gave, each with its header."""
    rows: int = 0
    counts: Mapping[str, Any] = field(default_factory=dict)
    guards: Sequence[Mapping[str, Any]] = ()
    as_of: str = ""
    received_at: float = 0.0
    decided_at: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One thing found in one row of a file."""

    feed: str
    snapshot_id: int
    fault: Fault
    person: str = ""
    refused: bool = True
    cells: Mapping[str, str] = field(default_factory=dict)
    cleared_by: int | None = None


def find_feed(connection: Connection, name: str) -> Feed:
    """Return a feed; one that nothing came from yet is open and empty."""
    table = table_of(FeedRow)
    row = connection.execute(select(table).where(table.c.name == name)).one_or_none()
    return Feed(name) if row is None else _feed(row)


def all_feeds(connection: Connection) -> list[Feed]:
    """Return every feed that something came from, by name."""
    table = table_of(FeedRow)
    return [_feed(row) for row in connection.execute(select(table).order_by(table.c.name))]


def save_feed(connection: Connection, feed: Feed) -> None:
    """Record the state of a feed."""
    upsert(
        connection,
        FeedRow,
        [
            {
                "name": feed.name,
                "state": feed.state,
                "reason": feed.reason,
                "since": feed.since,
                "accepted_id": feed.accepted_id,
                "quarantined_id": feed.quarantined_id,
            }
        ],
    )


def _feed(row: Any) -> Feed:
    return Feed(row.name, row.state, row.reason, row.since, row.accepted_id, row.quarantined_id)


def add_snapshot(connection: Connection, snapshot: Snapshot) -> int:
    """Record a file; return its number."""
    key = connection.execute(insert(table_of(SnapshotRow)).values(**_columns(snapshot))).inserted_primary_key
    assert key is not None  # noqa: S101  an insert into a table with a numbered key always gives one
    return int(key[0])


def save_snapshot(connection: Connection, snapshot: Snapshot) -> None:
    """Record what became of a file."""
    table = table_of(SnapshotRow)
    connection.execute(update(table).where(table.c.id == snapshot.id).values(**_columns(snapshot)))


def find_snapshot(connection: Connection, snapshot_id: int | None) -> Snapshot | None:
    """Return a snapshot by number, or None."""
    if snapshot_id is None:
        return None
    table = table_of(SnapshotRow)
    row = connection.execute(select(table).where(table.c.id == snapshot_id)).one_or_none()
    return None if row is None else _snapshot(row)


def latest_with(connection: Connection, feed: str, sha256: str, state: str = ACCEPTED) -> Snapshot | None:
    """Return the latest snapshot of a feed that had this very content and came to this, or None."""
    table = table_of(SnapshotRow)
    row = connection.execute(
        select(table)
        .where(table.c.feed == feed, table.c.sha256 == sha256, table.c.state == state)
        .order_by(table.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _snapshot(row)


def was_received(connection: Connection, feed: str, sha256: str) -> bool:
    """Tell whether a feed already had a file of this content, whatever became of it."""
    table = table_of(SnapshotRow)
    statement = select(table.c.id).where(table.c.feed == feed, table.c.sha256 == sha256).limit(1)
    return connection.execute(statement).first() is not None


def was_decided(connection: Connection, feed: str, sha256: str) -> bool:
    """Tell whether a file of this content was accepted, in whole or in part, or discarded."""
    table = table_of(SnapshotRow)
    states = (ACCEPTED, PARTIAL, DISCARDED)
    statement = select(table.c.id).where(table.c.feed == feed, table.c.sha256 == sha256, table.c.state.in_(states))
    return connection.execute(statement.limit(1)).first() is not None


def latest_snapshots(connection: Connection, feed: str, limit: int = 10) -> list[Snapshot]:
    """Return the latest files of a feed, newest first."""
    table = table_of(SnapshotRow)
    rows = connection.execute(select(table).where(table.c.feed == feed).order_by(table.c.id.desc()).limit(limit))
    return [_snapshot(row) for row in rows]


def _columns(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "feed": snapshot.feed,
        "file": snapshot.file,
        "sha256": snapshot.sha256,
        "size": snapshot.size,
        "stamp": snapshot.stamp,
        "state": snapshot.state,
        "delta": snapshot.delta,
        "complete": snapshot.complete,
        "vouched": snapshot.vouched,
        "ends_in_line_end": snapshot.ends_in_line_end,
        "rules": snapshot.rules,
        "columns": encoding.dump(dict(snapshot.columns)),
        "rows": snapshot.rows,
        "counts": encoding.dump(dict(snapshot.counts)),
        "guards": encoding.dump([dict(one) for one in snapshot.guards]),
        "as_of": snapshot.as_of,
        "received_at": snapshot.received_at,
        "decided_at": snapshot.decided_at,
        "reason": snapshot.reason,
    }


def _snapshot(row: Any) -> Snapshot:
    members = dict(row._mapping)
    members["columns"] = json.loads(members["columns"])
    members["counts"] = json.loads(members["counts"])
    members["guards"] = tuple(json.loads(members["guards"]))
    return Snapshot(**members)


def drop_staged(connection: Connection, snapshot_id: int | None) -> None:
    """Drop the rows that were kept of a file, once it is decided about."""
    if snapshot_id is not None:
        table = table_of(StagedRow)
        connection.execute(delete(table).where(table.c.snapshot_id == snapshot_id))


# --- Rejections -----------------------------------------------------------------------------------------------------


def add_rejections(connection: Connection, rejections: Iterable[Rejection]) -> None:
    """Record what was found in rows."""
    rows = (
        {
            "feed": one.feed,
            "snapshot_id": one.snapshot_id,
            "line": one.fault.line or 0,
            "person": one.person,
            "file": one.fault.file,
            "column": one.fault.column,
            "value": one.fault.value,
            "rule": one.fault.rule,
            "message": one.fault.message,
            "remedy": one.fault.remedy,
            "refused": one.refused,
            "cells": encoding.dump(dict(one.cells)),
            "cleared_by": None,
        }
        for one in rejections
    )
    for batch in in_batches(rows):
        connection.execute(insert(table_of(RejectionRow)), batch)


def clear_rejections(connection: Connection, feed: str, by: int, people: Collection[str] | None = None) -> int:
    """Clear what earlier files were refused for: everything, or what was about some people. Return how many."""
    table = table_of(RejectionRow)
    statement = (
        update(table)
        .where(table.c.feed == feed, table.c.snapshot_id != by, table.c.cleared_by.is_(None))
        .values(cleared_by=by)
    )
    if people is None:
        return connection.execute(statement).rowcount
    names = sorted(people)
    return sum(
        connection.execute(statement.where(table.c.person.in_(names[start : start + 500]))).rowcount
        for start in range(0, len(names), 500)
    )


def clear_rejections_of(connection: Connection, snapshot_id: int) -> None:
    """Clear what one file was refused for: nobody will send it again."""
    table = table_of(RejectionRow)
    connection.execute(
        update(table)
        .where(table.c.snapshot_id == snapshot_id, table.c.cleared_by.is_(None))
        .values(cleared_by=snapshot_id)
    )


def rejections(
    connection: Connection, feed: str | None = None, *, cleared: bool = False, snapshot_id: int | None = None
) -> Iterator[Rejection]:
    """Yield rejections by feed, file and line; those that a later file cleared only if asked for."""
    table = table_of(RejectionRow)
    statement = select(table).order_by(table.c.feed, table.c.snapshot_id, table.c.line, table.c.id)
    if feed is not None:
        statement = statement.where(table.c.feed == feed)
    if snapshot_id is not None:
        statement = statement.where(table.c.snapshot_id == snapshot_id)
    if not cleared:
        statement = statement.where(table.c.cleared_by.is_(None))
    for row in connection.execute(statement):
        fault = Fault(row.file, row.line or None, row.column, row.value, row.rule, row.message, row.remedy)
        yield Rejection(
            row.feed, row.snapshot_id, fault, row.person, row.refused, json.loads(row.cells), row.cleared_by
        )


def open_rejections(connection: Connection, feed: str) -> int:
    """Return how many rows of a feed stand refused."""
    table = table_of(RejectionRow)
    lines = (
        select(table.c.snapshot_id, table.c.line)
        .where(table.c.feed == feed, table.c.cleared_by.is_(None), table.c.refused.is_(True))
        .distinct()
        .subquery()
    )
    return int(connection.execute(select(func.count()).select_from(lines)).scalar_one())


# --- Titles without a position --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UnmappedTitle:
    """A job title that stands for no position yet, in a unit and grade, and how many have it."""

    feed: str
    title: str
    unit: str
    grade: str
    people: int
    first_seen: str = ""


def save_unmapped(connection: Connection, feed: str, titles: Iterable[UnmappedTitle]) -> None:
    """Make the queue of a feed what it is now; a title that stays keeps the day it was first seen."""
    table = table_of(UnmappedTitleRow)
    earlier = {
        (row.title, row.unit, row.grade): row.first_seen
        for row in connection.execute(select(table).where(table.c.feed == feed))
    }
    connection.execute(delete(table).where(table.c.feed == feed))
    rows = (
        {
            "feed": feed,
            "title": one.title,
            "unit": one.unit,
            "grade": one.grade,
            "people": one.people,
            "first_seen": earlier.get((one.title, one.unit, one.grade), one.first_seen),
        }
        for one in titles
    )
    for batch in in_batches(rows):
        connection.execute(insert(table), batch)


def unmapped_titles(connection: Connection, feed: str | None = None) -> list[UnmappedTitle]:
    """Return the queue, most people first."""
    table = table_of(UnmappedTitleRow)
    statement = select(table).order_by(table.c.people.desc(), table.c.title, table.c.unit, table.c.grade)
    if feed is not None:
        statement = statement.where(table.c.feed == feed)
    return [
        UnmappedTitle(row.feed, row.title, row.unit, row.grade, row.people, row.first_seen)
        for row in connection.execute(statement)
    ]
