"""Unattended work, as the store knows it: reading and recording."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from bridge.store import encoding
from bridge.store.state import table_of, upsert
from bridge.store.unattended_tables import DaemonRow, FiringRow, HealthRow, NoticeRow, StepRow

WRONG_CLOCK = 2 * 86_400.0
"""What happened further in the future than this was recorded while a clock was wrong."""

# --- Firings --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Firing:
    """The latest firing of a schedule for a site. See `bridge.store.unattended_tables.FiringRow`."""

    schedule: str
    site: str
    due: float
    holder: str
    state: str
    began_at: float
    ended_at: float | None
    chain: str
    message: str
    steps: Sequence[Mapping[str, Any]]


def claim(
    connection: Connection, schedule: str, site: str, due: float, holder: str, now: float, chain: str = ""
) -> bool:
    """Take a firing; False where it, or a later one, was taken already, by whomever.

    One that lies days ahead was taken while a clock was wrong: it does not count.
    """
    table = table_of(FiringRow)
    fresh = {"due": due, "holder": holder, "state": "running", "began_at": now, "ended_at": None, "chain": chain}
    fresh |= {"message": "", "steps": "[]"}
    changed = connection.execute(
        update(table)
        .where(
            table.c.schedule == schedule, table.c.site == site, or_(table.c.due < due, table.c.due > now + WRONG_CLOCK)
        )
        .values(**fresh)
    ).rowcount
    if changed:
        return True
    try:
        with connection.begin_nested():
            connection.execute(insert(table).values(schedule=schedule, site=site, **fresh))
    except IntegrityError:
        return False
    return True


def take_over(connection: Connection, found: Firing, holder: str, now: float) -> bool:
    """Take up a firing that was cut off or put off; False where somebody else did."""
    table = table_of(FiringRow)
    same = (
        table.c.schedule == found.schedule,
        table.c.site == found.site,
        table.c.due == found.due,
        table.c.holder == found.holder,
        table.c.state == found.state,
        table.c.began_at == found.began_at,
    )
    values = {"holder": holder, "state": "running", "began_at": now, "ended_at": None}
    return connection.execute(update(table).where(*same).values(**values)).rowcount == 1


def end_firing(
    connection: Connection,
    schedule: str,
    site: str,
    due: float,
    state: str,
    now: float,
    message: str,
    steps: Sequence[Mapping[str, Any]],
) -> None:
    """Record how a firing went; does nothing where a later one has begun."""
    table = table_of(FiringRow)
    connection.execute(
        update(table)
        .where(table.c.schedule == schedule, table.c.site == site, table.c.due == due)
        .values(state=state, ended_at=now, message=message, steps=encoding.dump([dict(one) for one in steps]))
    )


def cut_off(connection: Connection, why: str) -> None:
    """End every firing that says it is under way or waits to be taken up: nobody takes it up any more."""
    table = table_of(FiringRow)
    open_ones = table.c.state.in_(("running", "stopped", "postponed"))
    connection.execute(update(table).where(open_ones).values(state="failed", message=why))


def firing(connection: Connection, schedule: str, site: str) -> Firing | None:
    """Return the latest firing of a schedule for a site; None where there was none yet."""
    table = table_of(FiringRow)
    row = connection.execute(select(table).where(table.c.schedule == schedule, table.c.site == site)).one_or_none()
    return None if row is None else _firing(row)


def _firing(row: Any) -> Firing:
    members = dict(row._mapping)
    members["steps"] = json.loads(members["steps"])
    return Firing(**members)


# --- Steps ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepEnd:
    """How a step last ended at a site, and when it last ended well."""

    site: str
    step: str
    state: str
    ended_at: float
    succeeded_at: float | None
    seconds: float
    message: str


def record_step(
    connection: Connection, site: str, step: str, state: str, now: float, seconds: float, message: str, *, well: bool
) -> None:
    """Record that a step ended."""
    table = table_of(StepRow)
    before = connection.execute(
        select(table.c.succeeded_at).where(table.c.site == site, table.c.step == step)
    ).scalar_one_or_none()
    succeeded = now if well else before
    row = {"site": site, "step": step, "state": state, "ended_at": now, "succeeded_at": succeeded}
    upsert(connection, StepRow, [{**row, "seconds": seconds, "message": message}])


def steps(connection: Connection) -> list[StepEnd]:
    """Return how each step last ended, by site."""
    table = table_of(StepRow)
    rows = connection.execute(select(table).order_by(table.c.site, table.c.step))
    return [StepEnd(**row._mapping) for row in rows]


# --- Health ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trouble:
    """A site that fails. See `bridge.store.unattended_tables.HealthRow`."""

    site: str
    failures: int
    open: bool
    since: float
    failed_at: float
    next_try: float
    reason: str


def trouble(connection: Connection, site: str) -> Trouble | None:
    """Return what is wrong with a site; None where nothing is."""
    table = table_of(HealthRow)
    row = connection.execute(select(table).where(table.c.site == site)).one_or_none()
    return None if row is None else Trouble(**row._mapping)


def troubles(connection: Connection) -> dict[str, Trouble]:
    """Return every site in trouble."""
    table = table_of(HealthRow)
    return {row.site: Trouble(**row._mapping) for row in connection.execute(select(table).order_by(table.c.site))}


def save_trouble(connection: Connection, one: Trouble) -> None:
    """Record that a site is in trouble."""
    row = {name: getattr(one, name) for name in one.__dataclass_fields__}
    upsert(connection, HealthRow, [row])


def clear_trouble(connection: Connection, site: str) -> None:
    """Record that a site is well."""
    table = table_of(HealthRow)
    connection.execute(delete(table).where(table.c.site == site))


def let_try(connection: Connection, now: float, site: str | None = None) -> bool:
    """Let a site in trouble, or every one, be tried at its next time: somebody may have mended it.

    Say whether any was being left alone.
    """
    table = table_of(HealthRow)
    statement = update(table).where(table.c.next_try > now).values(next_try=now)
    if site is not None:
        statement = statement.where(table.c.site == site)
    return bool(connection.execute(statement).rowcount)


# --- Notices --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should hear of, and what to do about it."""

    id: int
    key: str
    about: str
    site: str
    text: str
    remedy: str
    created_at: float
    times: int
    sent_at: float | None


def add_notice(
    connection: Connection, key: str, about: str, site: str, text: str, remedy: str, now: float, remind: float
) -> bool:
    """Note something to tell. The same trouble within `remind` seconds is counted, not told again; say which."""
    table = table_of(NoticeRow)
    last = connection.execute(
        select(table.c.id).where(table.c.key == key, table.c.created_at > now - remind).order_by(table.c.id.desc())
    ).first()
    if last is not None:
        connection.execute(
            update(table).where(table.c.id == last.id).values(times=table.c.times + 1, text=text, remedy=remedy)
        )
        return False
    connection.execute(
        insert(table).values(
            key=key, about=about, site=site, text=text, remedy=remedy, created_at=now, times=1, sent_at=None
        )
    )
    return True


def forget_notices(connection: Connection, key: str) -> bool:
    """End a trouble: should it come back, it is told anew. Say whether anybody has been, or would have been, told."""
    table = table_of(NoticeRow)
    changed = connection.execute(update(table).where(table.c.key == key).values(key="past:" + key)).rowcount
    return bool(changed)


def unsent(connection: Connection) -> list[Notice]:
    """Return what is still to be told, oldest first."""
    table = table_of(NoticeRow)
    rows = connection.execute(select(table).where(table.c.sent_at.is_(None)).order_by(table.c.id))
    return [Notice(**row._mapping) for row in rows]


def mark_sent(connection: Connection, ids: Sequence[int], now: float) -> None:
    """Record that something was told."""
    table = table_of(NoticeRow)
    for start in range(0, len(ids), 500):
        connection.execute(update(table).where(table.c.id.in_(ids[start : start + 500])).values(sent_at=now))


def last_sent(connection: Connection) -> float | None:
    """Return when somebody was last told something."""
    found: float | None = connection.execute(select(func.max(table_of(NoticeRow).c.sent_at))).scalar_one_or_none()
    return found


def prune_notices(connection: Connection, before: float) -> None:
    """Drop what was told before a moment."""
    table = table_of(NoticeRow)
    connection.execute(delete(table).where(table.c.sent_at.is_not(None), table.c.created_at < before))


# --- Daemons --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Alive:
    """A daemon, as it was last seen."""

    name: str
    started_at: float
    seen_at: float
    stopped_at: float | None


def seen(connection: Connection, name: str, started: float, now: float, stopped: float | None = None) -> None:
    """Record that a daemon lives, or that it stops."""
    upsert(connection, DaemonRow, [{"name": name, "started_at": started, "seen_at": now, "stopped_at": stopped}])


def daemons(connection: Connection, since: float) -> list[Alive]:
    """Return the daemons seen since a moment that have not stopped."""
    table = table_of(DaemonRow)
    rows = connection.execute(
        select(table).where(table.c.stopped_at.is_(None), table.c.seen_at >= since).order_by(table.c.started_at)
    )
    return [Alive(**row._mapping) for row in rows]


def fallen_asleep(connection: Connection, since: float) -> frozenset[str]:
    """Return the daemons that have not stopped and were not seen since a moment: their machine is gone."""
    table = table_of(DaemonRow)
    rows = connection.execute(select(table.c.name).where(table.c.stopped_at.is_(None), table.c.seen_at < since))
    return frozenset(row.name for row in rows)


def prune_daemons(connection: Connection, before: float) -> None:
    """Drop daemons that were last seen before a moment."""
    table = table_of(DaemonRow)
    connection.execute(delete(table).where(table.c.seen_at < before))
