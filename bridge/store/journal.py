"""Runs and their journal: what was about to be sent, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from bridge.ports import Change, Fields, Outcome
from bridge.store import encoding
from bridge.store.state import in_batches, table_of
from bridge.store.tables import JournalRow, RunRow

INTENDED = "intended"
OPEN = (INTENDED, "unknown", "pending")
"""States of changes that were sent, or were about to be, and of which it is not known what became of them."""
LOST = "lost"
"""Looked for after a crash or an ambiguous answer, and found not to have been carried out."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run, as the store knows it."""

    id: int
    site: str
    verb: str
    state: str
    started_at: float
    finished_at: float | None
    counts: Mapping[str, Any]
    message: str
    undoes: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of one run, and what became of it."""

    run_id: int
    seq: int
    change: Change
    state: str
    why: str
    lms_id: str | None
    detail: Fields
    receipt: str | None
    sent_at: float
    deadline: float | None


def start_run(connection: Connection, site: str, verb: str, now: float, undoes: int | None = None) -> int:
    """Record that a run begins; return its number."""
    result = connection.execute(
        insert(table_of(RunRow)).values(
            site=site, verb=verb, state="running", started_at=now, counts="{}", message="", undoes=undoes
        )
    )
    key = result.inserted_primary_key
    assert key is not None  # noqa: S101  an insert into a table with a numbered key always gives one
    return int(key[0])


def finish_run(
    connection: Connection, run_id: int, state: str, now: float, counts: Mapping[str, Any], message: str = ""
) -> None:
    """Record how a run ended."""
    table = table_of(RunRow)
    connection.execute(
        update(table)
        .where(table.c.id == run_id)
        .values(state=state, finished_at=now, counts=encoding.dump(dict(counts)), message=message)
    )


def mark_interrupted(connection: Connection, site: str, now: float) -> int:
    """Runs of a site that say *running* while nobody holds its lease were cut off; say so. Return how many."""
    table = table_of(RunRow)
    return connection.execute(
        update(table)
        .where(table.c.site == site, table.c.state == "running")
        .values(state="interrupted", finished_at=now, message="The program ended before the run did.")
    ).rowcount


def close_pending(connection: Connection, site: str, now: float) -> None:
    """Record how runs ended that were waiting for the LMS, once nothing of theirs is open any more."""
    table, lines = table_of(RunRow), table_of(JournalRow)
    still_open = select(lines.c.run_id).where(lines.c.site == site, lines.c.state.in_(OPEN))
    waiting = select(table.c.id).where(table.c.site == site, table.c.state == "pending", table.c.id.not_in(still_open))
    for run_id in connection.execute(waiting).scalars().all():
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for kind, action, state, number in entry_counts(connection, run_id):
            counts.setdefault(kind, {}).setdefault(action, {})[state] = number
        states = {state for actions in counts.values() for found in actions.values() for state in found}
        finish_run(connection, run_id, "done" if states <= {"applied"} else "failed", now, counts)


def runs(connection: Connection, site: str | None = None, limit: int = 20) -> list[Run]:
    """Return the latest runs, newest first."""
    table = table_of(RunRow)
    statement = select(table).order_by(table.c.id.desc()).limit(limit)
    if site is not None:
        statement = statement.where(table.c.site == site)
    return [_run(row) for row in connection.execute(statement)]


def find_run(connection: Connection, run_id: int) -> Run | None:
    """Return one run, or None where there is none of that number."""
    table = table_of(RunRow)
    row = connection.execute(select(table).where(table.c.id == run_id)).one_or_none()
    return None if row is None else _run(row)


def _run(row: Any) -> Run:
    return Run(
        row.id,
        row.site,
        row.verb,
        row.state,
        row.started_at,
        row.finished_at,
        json.loads(row.counts),
        row.message,
        row.undoes,
    )


def intend(connection: Connection, run_id: int, site: str, first: int, now: float, changes: Sequence[Change]) -> None:
    """Record what will be sent, numbered from `first`, before anything is."""
    rows = (
        {
            "run_id": run_id,
            "seq": seq,
            "site": site,
            "kind": change.kind,
            "key": change.key,
            "action": change.action.value,
            "change": encoding.dump_change(change),
            "state": INTENDED,
            "why": "",
            "lms_id": change.lms_id,
            "detail": "{}",
            "receipt": None,
            "sent_at": now,
            "settled_at": None,
            "deadline": None,
        }
        for seq, change in enumerate(changes, first)
    )
    for batch in in_batches(rows):
        connection.execute(insert(table_of(JournalRow)), batch)


def note_receipt(connection: Connection, run_id: int, seqs: Iterable[int], receipt: str, deadline: float) -> None:
    """Record that changes were handed over under a receipt, and when they count as never answered."""
    table = table_of(JournalRow)
    statement = (
        update(table)
        .where(table.c.run_id == run_id, table.c.seq == bindparam("b_seq"))
        .values(receipt=receipt, deadline=deadline)
    )
    for batch in in_batches({"b_seq": seq} for seq in seqs):
        connection.execute(statement, batch)


def settle(connection: Connection, now: float, outcomes: Iterable[tuple[int, int, str, Outcome]]) -> None:
    """Record what became of changes, each given as (run, seq, state, outcome)."""
    table = table_of(JournalRow)
    statement = (
        update(table)
        .where(table.c.run_id == bindparam("b_run"), table.c.seq == bindparam("b_seq"))
        .values(
            state=bindparam("b_state"),
            why=bindparam("b_why"),
            lms_id=bindparam("b_id"),
            detail=bindparam("b_detail"),
            settled_at=now,
        )
    )
    rows = (
        {
            "b_run": run_id,
            "b_seq": seq,
            "b_state": state,
            "b_why": outcome.why,
            "b_id": outcome.lms_id,
            "b_detail": encoding.dump(dict(outcome.detail)),
        }
        for run_id, seq, state, outcome in outcomes
    )
    for batch in in_batches(rows):
        connection.execute(statement, batch)


def open_entries(connection: Connection, site: str) -> list[Entry]:
    """Return what was sent and never settled: after a crash, an ambiguous answer, or while an import is under way."""
    table = table_of(JournalRow)
    rows = connection.execute(
        select(table).where(table.c.site == site, table.c.state.in_(OPEN)).order_by(table.c.run_id, table.c.seq)
    )
    return [entry_of(row) for row in rows]


def entries(connection: Connection, run_id: int, states: Sequence[str] = ()) -> Iterator[Entry]:
    """Yield a run's journal in the order of sending."""
    table = table_of(JournalRow)
    statement = select(table).where(table.c.run_id == run_id).order_by(table.c.seq)
    if states:
        statement = statement.where(table.c.state.in_(states))
    for row in connection.execute(statement):
        yield entry_of(row)


def entry_counts(connection: Connection, run_id: int) -> list[tuple[str, str, str, int]]:
    """Return (kind, action, state, count) of a run's journal."""
    table = table_of(JournalRow)
    rows = connection.execute(
        select(table.c.kind, table.c.action, table.c.state, func.count())
        .where(table.c.run_id == run_id)
        .group_by(table.c.kind, table.c.action, table.c.state)
        .order_by(table.c.kind, table.c.action, table.c.state)
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def entry_of(row: Any) -> Entry:
    """Return a row of the journal's table as the entry it holds."""
    return Entry(
        row.run_id,
        row.seq,
        encoding.load_change(row.change),
        row.state,
        row.why,
        row.lms_id,
        encoding.load_fields(row.detail),
        row.receipt,
        row.sent_at,
        row.deadline,
    )
