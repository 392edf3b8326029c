"""What the store knows of one person, position or title: rows, files, what was refused, what was sent, what stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, func, or_, select

from bridge.roster import CONTENT, RosterRow
from bridge.store.feed_tables import AbsenceRow, RosterTable, SnapshotRow, WaitingRow
from bridge.store.journal import Entry, entry_of
from bridge.store.state import Base, base_of, table_of
from bridge.store.tables import BaseRow, HoldRow, JournalRow, RunRow, UndecidedRow

roster, waiting, absence = table_of(RosterTable), table_of(WaitingRow), table_of(AbsenceRow)
snapshots, journal, base, runs = table_of(SnapshotRow), table_of(JournalRow), table_of(BaseRow), table_of(RunRow)
holds = table_of(HoldRow)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row stood."""

    feed: str
    file: str = ""
    line: int = 0
    """0 where it is not known."""
    received_at: float | None = None
    state: str = ""
    reason: str = ""
    """Why a person released the file, where one did."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a feed says of somebody's job, and whether it still lists it."""

    row: RosterRow
    origin: Origin
    missed_on: str = ""
    missed_in: str = ""
    """The first file that lacked it."""
    confirmed_on: str = ""
    confirmed_in: str = ""
    confirmed_by: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """One line of a run's journal, with the run it belongs to."""

    site: str
    verb: str
    """Empty where the record of the run has expired."""
    entry: Entry


def rows_about(connection: Connection, person: str) -> list[Said]:
    """Return what every feed says of a person now."""
    first, confirmed = snapshots.alias("first"), snapshots.alias("confirmed")
    statement = (
        select(roster, snapshots, absence.c.missed_on, absence.c.confirmed_on, absence.c.why,
               first.c.file, confirmed.c.file)
        .select_from(roster)
        .outerjoin(snapshots, snapshots.c.id == roster.c.snapshot_id)
        .outerjoin(absence, and_(absence.c.feed == roster.c.feed, absence.c.person == roster.c.person,
                                 absence.c.job == roster.c.job))
        .outerjoin(first, first.c.id == absence.c.first_snapshot_id)
        .outerjoin(confirmed, confirmed.c.id == absence.c.confirmed_snapshot_id)
        .where(roster.c.person == person)
        .order_by(roster.c.feed, roster.c.job)
    )  # fmt: skip
    found = []
    for row in connection.execute(statement):
        values = row._mapping
        found.append(
            Said(
                _row(values, roster),
                _origin(values, roster),
                values[absence.c.missed_on] or "",
                values[first.c.file] or "",
                values[absence.c.confirmed_on] or "",
                values[confirmed.c.file] or "",
                values[absence.c.why] or "",
            )
        )
    return found


def rows_to_come(connection: Connection, person: str) -> list[Said]:
    """Return the rows about a person that hold from a later day on."""
    statement = (
        select(waiting, snapshots)
        .select_from(waiting)
        .outerjoin(snapshots, snapshots.c.id == waiting.c.snapshot_id)
        .where(waiting.c.person == person)
        .order_by(waiting.c.feed, waiting.c.job)
    )
    found = []
    for row in connection.execute(statement):
        values = row._mapping
        said = _row(values, waiting)._replace(effective=values[waiting.c.effective])
        found.append(Said(said, _origin(values, waiting)))
    return found


def all_titles(connection: Connection) -> list[tuple[str, str, str, str, str, int]]:
    """Return (feed, title, unit, grade, position code, people) of every job of people who work here."""
    columns = (roster.c.feed, roster.c.title, roster.c.unit, roster.c.grade, roster.c.position)
    statement = (
        select(*columns, func.count(roster.c.person.distinct()))
        .where(roster.c.status != "terminated")
        .group_by(*columns)
        .order_by(*columns)
    )
    return [(row[0], row[1], row[2], row[3], row[4], row[5]) for row in connection.execute(statement)]


def done_to(connection: Connection, keys: Sequence[str], beginnings: Sequence[str]) -> Iterator[Done]:
    """Yield what was sent about objects of some keys, or of keys that begin so, newest first."""
    statement = (
        select(journal, runs.c.verb)
        .outerjoin_from(journal, runs, runs.c.id == journal.c.run_id)
        .where(_about(journal, keys, beginnings))
        .order_by(journal.c.run_id.desc(), journal.c.seq)
    )
    for row in connection.execute(statement):
        yield Done(row.site, row.verb or "", entry_of(row))


def standing(connection: Connection, keys: Sequence[str], beginnings: Sequence[str]) -> list[tuple[str, Base]]:
    """Return (site, what was last applied) of objects of some keys, or of keys that begin so."""
    statement = select(base).where(_about(base, keys, beginnings)).order_by(base.c.site, base.c.kind, base.c.key)
    return [(row.site, base_of(row)) for row in connection.execute(statement)]


def held(connection: Connection, keys: Sequence[str], beginnings: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Return (site, kind, key, reason) of objects that pushes are kept away from."""
    statement = select(holds).where(_about(holds, keys, beginnings)).order_by(holds.c.site, holds.c.kind, holds.c.key)
    return [(row.site, row.kind, row.key, row.reason) for row in connection.execute(statement)]


def undecided(
    connection: Connection, keys: Sequence[str], beginnings: Sequence[str]
) -> list[tuple[str, str, str, str, int, float]]:
    """Return (site, kind, key, why, run, moment) of objects that pushes leave alone until a person decides."""
    table = table_of(UndecidedRow)
    statement = select(table).where(_about(table, keys, beginnings)).order_by(table.c.site, table.c.kind, table.c.key)
    return [(row.site, row.kind, row.key, row.says, row.run_id, row.found_at) for row in connection.execute(statement)]


def _about(table: Table, keys: Sequence[str], beginnings: Sequence[str]) -> ColumnElement[bool]:
    return or_(table.c.key.in_(keys), *(table.c.key.startswith(one, autoescape=True) for one in beginnings))


def _row(values: Mapping[Any, Any], table: Table) -> RosterRow:
    get = values.__getitem__
    return RosterRow(get(table.c.person), get(table.c.job), **{name: get(table.c[name]) for name in CONTENT})


def _origin(values: Mapping[Any, Any], table: Table) -> Origin:
    get = values.__getitem__
    return Origin(
        get(table.c.feed),
        get(snapshots.c.file) or "",
        get(table.c.line),
        get(snapshots.c.received_at),
        get(snapshots.c.state) or "",
        get(snapshots.c.reason) or "",
    )
