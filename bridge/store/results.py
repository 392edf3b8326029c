"""Results that pulls bring back: the latest of each, and what they said before."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, insert, literal, select, update

from bridge.model import (
    RESULT_KIND_OF,
    ActivityCompletion,
    Attainment,
    BadgeAward,
    Certification,
    CourseCompletion,
    PlanStatus,
    Result,
)
from bridge.store import encoding
from bridge.store.state import in_batches, table_of, upsert
from bridge.store.tables import CursorRow, ResultHistoryRow, ResultRow

CHUNK = 10_000
"""Results looked up at a time; with their two lists well below the 32,766 parameters a SQLite statement takes."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What recording some results changed."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0


def object_of(result: Result) -> str:
    """Return what a result is about, within its kind and person."""
    match result:
        case ActivityCompletion():
            return f"{result.course}|{result.activity}"
        case CourseCompletion():
            return result.course
        case Attainment():
            return result.competency
        case PlanStatus():
            return result.plan
        case BadgeAward():
            return result.badge
        case Certification():
            return result.certification


def happened_at(result: Result) -> float | None:
    """Return when a result came about, as epoch seconds; None where the LMS does not say."""
    moment: dt.datetime | None = getattr(result, "completed_at", None) or getattr(result, "issued_at", None)
    return None if moment is None else moment.timestamp()


def payload_of(result: Result) -> str:
    """Return a result as canonical JSON text."""
    plain = {spec.name: getattr(result, spec.name) for spec in dataclasses.fields(result)}
    return encoding.dump({k: v.isoformat() if isinstance(v, dt.datetime) else v for k, v in plain.items()})


def record_results(connection: Connection, site: str, pull: int, now: float, results: Sequence[Result]) -> Taken:
    """Record a page of results as seen by a pull; what they replace goes to the history."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for result in results:
        name, subject = RESULT_KIND_OF[type(result)], result.lms_user or result.person
        rows[name, subject, object_of(result)] = {
            "site": site,
            "type": name,
            "subject": subject,
            "object": object_of(result),
            "person": result.person,
            "happened_at": happened_at(result),
            "payload": payload_of(result),
            "first_run": pull,
            "seen_run": pull,
            "gone_at": None,
        }
    known = _known(connection, site, list(rows))
    written: list[dict[str, Any]] = []
    seen: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    for key, row in rows.items():
        before = known.get(key)
        if before is None:
            written.append(row)
        elif before.payload != row["payload"] or before.gone_at is not None:
            written.append({**row, "first_run": before.first_run, "seen_run": max(pull, before.seen_run)})
            if before.gone_at is None:
                history.append(_past(before, "changed", pull, now))
        else:
            seen.append({"b_type": key[0], "b_subject": key[1], "b_object": key[2], "b_pull": pull})
    upsert(connection, ResultRow, written)
    _insert_history(connection, history)
    table = table_of(ResultRow)
    mark = (
        update(table)
        .where(
            table.c.site == site,
            table.c.type == bindparam("b_type"),
            table.c.subject == bindparam("b_subject"),
            table.c.object == bindparam("b_object"),
            table.c.seen_run < bindparam("b_pull"),
        )
        .values(seen_run=bindparam("b_pull"))
    )
    for batch in in_batches(seen):
        connection.execute(mark, batch)
    new = sum(1 for key in rows if key not in known)
    return Taken(new, len(written) - new, len(seen))


def _known(
    connection: Connection, site: str, keys: Sequence[tuple[str, str, str]]
) -> dict[tuple[str, str, str], Row[Any]]:
    table = table_of(ResultRow)
    found: dict[tuple[str, str, str], Row[Any]] = {}
    by_type: dict[str, list[tuple[str, str, str]]] = {}
    for key in keys:
        by_type.setdefault(key[0], []).append(key)
    for name, mine in by_type.items():
        for start in range(0, len(mine), CHUNK):
            part = mine[start : start + CHUNK]
            # Two lists instead of one list of pairs: SQLite finds the former by its index and scans for the latter.
            subjects, objects = {key[1] for key in part}, {key[2] for key in part}
            wanted = and_(table.c.type == name, table.c.subject.in_(subjects), table.c.object.in_(objects))
            for row in connection.execute(select(table).where(table.c.site == site, wanted)):
                found[row.type, row.subject, row.object] = row
    return found


def _past(row: Row[Any], reason: str, pull: int, now: float) -> dict[str, Any]:
    return {
        "site": row.site,
        "type": row.type,
        "subject": row.subject,
        "object": row.object,
        "person": row.person,
        "happened_at": row.happened_at,
        "payload": row.payload,
        "reason": reason,
        "run_id": pull,
        "recorded_at": now,
    }


def _insert_history(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    for batch in in_batches(rows):
        connection.execute(insert(table_of(ResultHistoryRow)), batch)


def unseen(connection: Connection, site: str, name: str, pull: int) -> tuple[int, int]:
    """Return how many live results of a kind a pull did not see, and how many live ones there are."""
    table = table_of(ResultRow)
    live = and_(table.c.site == site, table.c.type == name, table.c.gone_at.is_(None))
    total = connection.execute(select(func.count()).select_from(table).where(live)).scalar_one()
    missed = connection.execute(
        select(func.count()).select_from(table).where(live, table.c.seen_run < pull)
    ).scalar_one()
    return int(missed), int(total)


def retire_unseen(connection: Connection, site: str, name: str, pull: int, now: float) -> int:
    """Turn live results that a complete pull did not see into history; return how many.

    What a later run saw meanwhile (pulls of different kinds take turns) is not unseen. The rows stay in the store.
    """
    table, history = table_of(ResultRow), table_of(ResultHistoryRow)
    where = and_(table.c.site == site, table.c.type == name, table.c.gone_at.is_(None), table.c.seen_run < pull)
    kept = ("site", "type", "subject", "object", "person", "happened_at", "payload")
    said = [literal("vanished").label("reason"), literal(pull).label("run_id"), literal(now).label("recorded_at")]
    gone = select(*(table.c[column] for column in kept), *said).where(where)
    connection.execute(insert(history).from_select([*kept, "reason", "run_id", "recorded_at"], gone))
    return connection.execute(update(table).where(where).values(gone_at=now)).rowcount


def live_results(connection: Connection, site: str, name: str) -> Iterator[dict[str, Any]]:
    """Yield what is known now of a kind of result, as plain objects, person by person."""
    table = table_of(ResultRow)
    statement = (
        select(table.c.payload)
        .where(table.c.site == site, table.c.type == name, table.c.gone_at.is_(None))
        .order_by(table.c.person, table.c.subject, table.c.object)
        .execution_options(yield_per=2000)
    )
    for row in connection.execute(statement):
        yield json.loads(row.payload)


def past_results(connection: Connection, site: str, name: str) -> Iterator[dict[str, Any]]:
    """Yield what results of a kind said before they changed or vanished, oldest first."""
    table = table_of(ResultHistoryRow)
    statement = (
        select(table)
        .where(table.c.site == site, table.c.type == name)
        .order_by(table.c.id)
        .execution_options(yield_per=2000)
    )
    for row in connection.execute(statement):
        yield {**json.loads(row.payload), "reason": row.reason, "recorded_at": row.recorded_at}


def live_keys(connection: Connection, site: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield (subject, object) of every live result of a kind; the subject is the person's key, or the account's."""
    table = table_of(ResultRow)
    statement = (
        select(table.c.subject, table.c.object)
        .where(table.c.site == site, table.c.type == name, table.c.gone_at.is_(None))
        .execution_options(yield_per=10_000)
    )
    for row in connection.execute(statement):
        yield row.subject, row.object


def result_counts(connection: Connection, site: str) -> dict[str, int]:
    """Return how many live results there are, by kind."""
    table = table_of(ResultRow)
    rows = connection.execute(
        select(table.c.type, func.count()).where(table.c.site == site, table.c.gone_at.is_(None)).group_by(table.c.type)
    )
    return {row[0]: row[1] for row in rows}


def load_cursor(connection: Connection, site: str, name: str) -> dict[str, Any] | None:
    """Return where a pull stands, or None where none has begun."""
    table = table_of(CursorRow)
    row = connection.execute(select(table.c.value).where(table.c.site == site, table.c.name == name)).one_or_none()
    return None if row is None else dict(json.loads(row.value))


def save_cursor(connection: Connection, site: str, name: str, now: float, value: Mapping[str, Any]) -> None:
    """Record where a pull stands."""
    row = {"site": site, "name": name, "value": encoding.dump(dict(value)), "changed_at": now}
    upsert(connection, CursorRow, [row])
