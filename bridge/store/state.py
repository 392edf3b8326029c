"""The base states and the holds: what was last applied to each object, and which objects pushes leave alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from bridge.ports import Fields
from bridge.store import encoding
from bridge.store.tables import BaseRow, HoldRow, RunRow, UndecidedRow

BATCH = 2000
"""Rows written in one statement's worth of parameters; bounds memory."""


@dataclass(frozen=True, slots=True)
class Base:
    """What was last applied to one object."""

    kind: str
    key: str
    fields: Fields
    parent: str | None = None
    place: int = 0
    lms_id: str | None = None
    retired: bool = False
    origin: str = "made"


def table_of(model: Any) -> Table:
    """Return the table behind a SQLModel class."""
    table: Table = model.__table__
    return table


def upsert(connection: Connection, model: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows, or overwrite those with the same primary key."""
    table = table_of(model)
    keys = [column.name for column in table.primary_key.columns]
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    changed = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
    statement = statement.on_conflict_do_update(index_elements=keys, set_=changed)
    for batch in in_batches(rows):
        connection.execute(statement, batch)


def in_batches(rows: Iterable[Mapping[str, Any]], size: int = BATCH) -> Iterable[list[dict[str, Any]]]:
    """Cut rows into lists of at most `size`."""
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(dict(row))
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def load_base(connection: Connection, site: str, kind: str) -> dict[str, Base]:
    """Return the base of every object of a kind, by key."""
    table = table_of(BaseRow)
    rows = connection.execute(select(table).where(table.c.site == site, table.c.kind == kind).order_by(table.c.key))
    return {row.key: base_of(row) for row in rows}


def base_of(row: Any) -> Base:
    """Return a row of the base's table as what was last applied."""
    return Base(
        row.kind, row.key, encoding.load_fields(row.fields), row.parent, row.place, row.lms_id, row.retired, row.origin
    )


def load_some(connection: Connection, site: str, objects: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Base]:
    """Return the base of some objects, by (kind, key); those without one are left out."""
    found: dict[tuple[str, str], Base] = {}
    table = table_of(BaseRow)
    by_kind: dict[str, list[str]] = {}
    for kind, key in objects:
        by_kind.setdefault(kind, []).append(key)
    for kind, keys in by_kind.items():
        for start in range(0, len(keys), 500):
            rows = connection.execute(
                select(table).where(
                    table.c.site == site, table.c.kind == kind, table.c.key.in_(keys[start : start + 500])
                )
            )
            found.update(((kind, row.key), base_of(row)) for row in rows)
    return found


def save_base(connection: Connection, site: str, run_id: int, now: float, bases: Iterable[Base]) -> None:
    """Record what is applied now."""
    upsert(
        connection,
        BaseRow,
        (
            {
                "site": site,
                "kind": base.kind,
                "key": base.key,
                "fields": encoding.dump(dict(base.fields)),
                "parent": base.parent,
                "place": base.place,
                "lms_id": base.lms_id,
                "retired": base.retired,
                "origin": base.origin,
                "run_id": run_id,
                "changed_at": now,
            }
            for base in bases
        ),
    )


def forget_base(connection: Connection, site: str, objects: Iterable[tuple[str, str]]) -> None:
    """Drop the base of objects that are gone on both sides."""
    table = table_of(BaseRow)
    for kind, key in objects:
        connection.execute(delete(table).where(table.c.site == site, table.c.kind == kind, table.c.key == key))


def base_counts(connection: Connection, site: str) -> dict[str, int]:
    """Return how many live objects the base holds, by kind: what percentages in limits count from."""
    table = table_of(BaseRow)
    rows = connection.execute(
        select(table.c.kind, func.count())
        .where(table.c.site == site, table.c.retired.is_(False))
        .group_by(table.c.kind)
    )
    return {row[0]: row[1] for row in rows}


UNFINISHED = ("running", "interrupted", "stopped")
"""States of runs that did not get to their end."""


def settled_counts(connection: Connection, site: str) -> dict[str, int]:
    """Return how many live objects were last written by runs that got to their end, by kind.

    A first load that is cut off leaves a part of itself in the base; going on with it is still a first load. A run of
    which nothing is recorded any more got to its end: the others stay recorded as long as it matters.
    """
    base, run = table_of(BaseRow), table_of(RunRow)
    unfinished = select(run.c.id).where(run.c.site == site, run.c.state.in_(UNFINISHED))
    rows = connection.execute(
        select(base.c.kind, func.count())
        .where(base.c.site == site, base.c.retired.is_(False), base.c.run_id.not_in(unfinished))
        .group_by(base.c.kind)
    )
    return {row[0]: row[1] for row in rows}


def load_holds(connection: Connection, site: str) -> dict[tuple[str, str], str]:
    """Return the reason of each hold, by (kind, key)."""
    table = table_of(HoldRow)
    rows = connection.execute(select(table).where(table.c.site == site))
    return {(row.kind, row.key): row.reason for row in rows}


def hold(
    connection: Connection, site: str, run_id: int, now: float, reason: str, objects: Collection[tuple[str, str]]
) -> None:
    """Keep pushes away from objects until they are released."""
    upsert(
        connection,
        HoldRow,
        (
            {"site": site, "kind": kind, "key": key, "run_id": run_id, "reason": reason, "held_at": now}
            for kind, key in objects
        ),
    )


def release(connection: Connection, site: str, run_id: int | None = None) -> int:
    """Release what undoing a run holds, or everything of a site; return how many objects that was.

    `run_id` is the run that was undone, or the one that undid it.
    """
    table, runs = table_of(HoldRow), table_of(RunRow)
    statement = delete(table).where(table.c.site == site)
    if run_id is not None:
        undoing = select(runs.c.id).where(runs.c.undoes == run_id)
        statement = statement.where(or_(table.c.run_id == run_id, table.c.run_id.in_(undoing)))
    return connection.execute(statement).rowcount


def load_undecided(connection: Connection, site: str) -> dict[tuple[str, str], str]:
    """Return what pushes leave alone until a person decides, by (kind, key), with the reason."""
    table = table_of(UndecidedRow)
    rows = connection.execute(select(table.c.kind, table.c.key, table.c.says).where(table.c.site == site))
    return {(row.kind, row.key): row.says for row in rows}


def save_undecided(
    connection: Connection,
    site: str,
    run_id: int,
    now: float,
    found: Mapping[tuple[str, str], str],
    decided: Iterable[tuple[str, str]],
) -> None:
    """Record what a push found undecided, with the reason, and what no longer is."""
    table = table_of(UndecidedRow)
    rows = (
        {"site": site, "kind": kind, "key": key, "says": says, "run_id": run_id, "found_at": now}
        for (kind, key), says in found.items()
    )
    upsert(connection, UndecidedRow, rows)
    for kind, key in decided:
        connection.execute(delete(table).where(table.c.site == site, table.c.kind == kind, table.c.key == key))
