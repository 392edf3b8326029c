"""Who the feeds list: taking a staged file over, who is missing since when, what waits for its day, and reading it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, exists, func, insert, literal, or_, select, update

from bridge.roster import CONTENT, RosterRow
from bridge.store.feed_tables import WaitingRow
from bridge.store.stage_tables import (
    REFUSED,
    UNCHANGED,
    WAITING,
    absence,
    is_created,
    is_updated,
    missing,
    roster,
    stage,
    unseen,
)
from bridge.store.staging import Staging
from bridge.store.state import table_of

waiting = table_of(WaitingRow)

VOUCHED = "a manifest vouches for the file"
TWICE = "two accepted files in a row lack the row"
"""Why an absence is certain."""

_KEPT = ("person", "job", *CONTENT)

_same_job = and_(roster.c.feed == waiting.c.feed, roster.c.person == waiting.c.person, roster.c.job == waiting.c.job)


@dataclass(frozen=True, slots=True)
class Absences:
    """What one file changed about who is missing; numbers of people."""

    reported: int = 0
    """Missing for the first time."""
    confirmed: int = 0
    """Certain from this file on."""
    returned: int = 0
    """Listed again after having been missing."""


def take_over(staging: Staging, snapshot_id: int, *, delta: bool) -> None:
    """Make the roster say what the good rows of a staged file say. Nobody is taken away."""
    connection = staging.connection
    names = ["hash", *_KEPT]
    connection.execute(
        insert(roster).from_select(
            ["feed", *names, "line", "snapshot_id"],
            select(literal(staging.feed), *(stage.c[n] for n in names), stage.c.line, literal(snapshot_id))
            .where(is_created)
            .order_by(stage.c.person, stage.c.job),
        )
    )
    if staging.roster_size():
        _update_known(staging, snapshot_id)
    late = [*names, "line", "effective"]
    again = exists().where(
        stage.c.person == waiting.c.person,
        stage.c.job == waiting.c.job,
        stage.c.verdict.in_(["", UNCHANGED, WAITING]),
    )
    listed = delete(waiting).where(waiting.c.feed == staging.feed)
    connection.execute(listed.where(again))
    if not delta:
        # What waits is taken from the file each night; a refused row costs nothing of what was known before.
        refused = exists().where(stage.c.person == waiting.c.person, stage.c.verdict == REFUSED)
        connection.execute(listed.where(~refused))
    connection.execute(
        insert(waiting).from_select(
            ["feed", *late, "snapshot_id"],
            select(literal(staging.feed), *(stage.c[n] for n in late), literal(snapshot_id)).where(
                stage.c.verdict == WAITING
            ),
        )
    )


def _update_known(staging: Staging, snapshot_id: int) -> None:
    """Change the rows of the roster that a file says otherwise, and note how the unchanged ones are written now."""
    connection = staging.connection
    connection.execute(
        update(roster)
        .where(roster.c.id == stage.c.roster_id, is_updated)
        .values(snapshot_id=snapshot_id, hash=stage.c.hash, line=stage.c.line, **{n: stage.c[n] for n in CONTENT})
    )
    connection.execute(
        update(roster).where(roster.c.id == stage.c.roster_id, stage.c.verdict == UNCHANGED).values(hash=stage.c.hash)
    )


def find_missing(staging: Staging) -> None:
    """Note which rows of the roster the file lacks. Who left already is not missed."""
    connection = staging.connection
    connection.execute(delete(missing))
    connection.execute(
        insert(missing).from_select(
            ["id"],
            select(roster.c.id)
            .join_from(unseen, roster, roster.c.id == unseen.c.id)
            .where(
                roster.c.status != "terminated",
                ~exists().where(stage.c.person == roster.c.person, stage.c.job == roster.c.job),
                ~exists().where(stage.c.person == roster.c.person, stage.c.verdict == REFUSED),
            ),
        )
    )


def missing_people(staging: Staging) -> Iterator[tuple[int, str, str, str, str]]:
    """Yield (roster id, person, e-mail, first name, last name) of the rows that the file lacks."""
    yield from staging.connection.execute(
        select(roster.c.id, roster.c.person, roster.c.email, roster.c.first_name, roster.c.last_name).join_from(
            missing, roster, roster.c.id == missing.c.id
        )
    ).all()


def not_missing(staging: Staging, ids: Collection[int]) -> None:
    """Take rows back from those noted as lacking."""
    some = sorted(ids)
    for start in range(0, len(some), 500):
        staging.connection.execute(delete(missing).where(missing.c.id.in_(some[start : start + 500])))


def record_absences(staging: Staging, snapshot_id: int, today: str, *, vouched: bool, counts: bool) -> Absences:
    """Record who came back, and, where the file `counts`, who is missing and whose absence is now certain."""
    connection = staging.connection
    mine = absence.c.feed == staging.feed
    of_roster = and_(
        roster.c.feed == absence.c.feed, roster.c.person == absence.c.person, roster.c.job == absence.c.job
    )
    back = or_(
        exists().where(of_roster, ~exists().where(unseen.c.id == roster.c.id)),
        exists().where(stage.c.person == absence.c.person, stage.c.job == absence.c.job),
        exists().where(stage.c.person == absence.c.person, stage.c.verdict == REFUSED),
    )
    returned = int(connection.execute(select(func.count(absence.c.person.distinct())).where(mine, back)).scalar_one())
    connection.execute(delete(absence).where(mine, back))
    if not counts:
        return Absences(returned=returned)
    lacking = exists().where(of_roster, missing.c.id == roster.c.id)
    again = and_(mine, absence.c.confirmed_snapshot_id.is_(None), lacking)
    confirmed = int(connection.execute(select(func.count(absence.c.person.distinct())).where(again)).scalar_one())
    why = VOUCHED if vouched else TWICE
    connection.execute(
        update(absence).where(again).values(confirmed_snapshot_id=snapshot_id, confirmed_on=today, why=why)
    )
    fresh = (
        select(roster.c.feed, roster.c.person, roster.c.job)
        .join_from(missing, roster, roster.c.id == missing.c.id)
        .where(~exists().where(of_roster))
    )
    reported = int(connection.execute(select(func.count(fresh.subquery().c.person.distinct()))).scalar_one())
    columns = ["feed", "person", "job", "first_snapshot_id", "missed_on"]
    source = fresh.add_columns(literal(snapshot_id), literal(today))
    if vouched:
        columns += ["confirmed_snapshot_id", "confirmed_on", "why"]
        source = source.add_columns(literal(snapshot_id), literal(today), literal(why))
    else:
        columns += ["confirmed_on", "why"]
        source = source.add_columns(literal(""), literal(""))
    connection.execute(insert(absence).from_select(columns, source))
    return Absences(0 if vouched else reported, confirmed + (reported if vouched else 0), returned)


def repeat_absences(connection: Connection, feed: str, snapshot_id: int, today: str, *, vouched: bool) -> int:
    """Confirm what is missing since an earlier file, on the word of a newer one with the same content, or of a
    manifest."""
    open_ones = and_(absence.c.feed == feed, absence.c.confirmed_snapshot_id.is_(None))
    people = int(connection.execute(select(func.count(absence.c.person.distinct())).where(open_ones)).scalar_one())
    connection.execute(
        update(absence)
        .where(open_ones)
        .values(confirmed_snapshot_id=snapshot_id, confirmed_on=today, why=VOUCHED if vouched else TWICE)
    )
    return people


def due_counts(connection: Connection, feed: str, as_of: str, snapshot_id: int) -> tuple[int, int]:
    """Return how many rows of one snapshot whose day has come make a job known, and how many change one."""
    due = and_(waiting.c.feed == feed, waiting.c.snapshot_id == snapshot_id, waiting.c.effective <= as_of)
    total = int(connection.execute(select(func.count()).select_from(waiting).where(due)).scalar_one())
    known = select(func.count()).select_from(waiting).where(due, exists().where(_same_job))
    updated = int(connection.execute(known).scalar_one())
    return total - updated, updated


def apply_due(connection: Connection, feed: str, as_of: str) -> int:
    """Let rows hold whose day has come; return how many there were."""
    due = and_(waiting.c.feed == feed, waiting.c.effective <= as_of)
    if not connection.execute(select(waiting.c.person).where(due).limit(1)).first():
        return 0
    total = int(connection.execute(select(func.count()).select_from(waiting).where(due)).scalar_one())
    connection.execute(
        update(roster)
        .where(due, _same_job)
        .values(
            snapshot_id=waiting.c.snapshot_id,
            hash=waiting.c.hash,
            line=waiting.c.line,
            **{n: waiting.c[n] for n in CONTENT},
        )
    )
    names = ["feed", "hash", *_KEPT, "line", "snapshot_id"]
    connection.execute(
        insert(roster).from_select(names, select(*(waiting.c[n] for n in names)).where(due, ~exists().where(_same_job)))
    )
    connection.execute(delete(waiting).where(due))
    return total


def waiting_count(connection: Connection, feed: str, snapshot_id: int | None = None) -> int:
    """Return how many rows of a feed, or of one of its snapshots, wait for their day."""
    statement = select(func.count()).select_from(waiting).where(waiting.c.feed == feed)
    if snapshot_id is not None:
        statement = statement.where(waiting.c.snapshot_id == snapshot_id)
    return int(connection.execute(statement).scalar_one())


@dataclass(frozen=True, slots=True)
class Roll:
    """How many people a feed lists, and how many it is missing."""

    people: int
    missing: int
    absent: int
    waiting: int


def roll_of(connection: Connection, feed: str) -> Roll:
    """Return the numbers of a feed."""
    people = select(func.count(roster.c.person.distinct())).where(
        roster.c.feed == feed, roster.c.status != "terminated"
    )
    missed = select(func.count(absence.c.person.distinct())).where(absence.c.feed == feed)
    certain = absence.c.confirmed_snapshot_id.is_not(None)
    return Roll(
        int(connection.execute(people).scalar_one()),
        int(connection.execute(missed.where(~certain)).scalar_one()),
        int(connection.execute(missed.where(certain)).scalar_one()),
        waiting_count(connection, feed),
    )


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of the roster, and whether the feed has missed it since: not at all, once, or for certain."""

    feed: str
    row: RosterRow
    missed: bool = False
    absent: bool = False


def listed(connection: Connection, feeds: Collection[str]) -> Iterator[Listed]:
    """Yield every row of some feeds, by person."""
    content = [roster.c[name] for name in CONTENT]
    rows = connection.execute(
        select(
            roster.c.feed, roster.c.person, roster.c.job, absence.c.missed_on, absence.c.confirmed_snapshot_id, *content
        )
        .outerjoin_from(
            roster,
            absence,
            and_(absence.c.feed == roster.c.feed, absence.c.person == roster.c.person, absence.c.job == roster.c.job),
        )
        .where(roster.c.feed.in_(sorted(feeds)))
        .order_by(roster.c.person, roster.c.job, roster.c.feed)
        .execution_options(yield_per=5_000)
    )
    for feed, person, job, missed, confirmed, *values in rows:
        row = RosterRow(person, job, **dict(zip(CONTENT, values, strict=True)))
        yield Listed(feed, row, missed is not None, confirmed is not None)


def due(connection: Connection, feeds: Collection[str], as_of: str) -> list[tuple[str, RosterRow]]:
    """Return the waiting rows of some feeds whose day has come, with their feed."""
    content = [waiting.c[name] for name in CONTENT]
    rows = connection.execute(
        select(waiting.c.feed, waiting.c.person, waiting.c.job, waiting.c.effective, *content)
        .where(waiting.c.feed.in_(sorted(feeds)), waiting.c.effective <= as_of)
        .order_by(waiting.c.person, waiting.c.job)
    )
    return [
        (feed, RosterRow(person, job, effective=effective, **dict(zip(CONTENT, values, strict=True))))
        for feed, person, job, effective, *values in rows
    ]


def who_is_listed(connection: Connection, feeds: Collection[str], people: Collection[str]) -> set[str]:
    """Return which of some people the feeds list, or list from a later day on."""
    found: set[str] = set()
    asked = sorted(people)
    for table in (roster, waiting):
        for start in range(0, len(asked), 500):
            statement = select(table.c.person).where(
                table.c.feed.in_(sorted(feeds)), table.c.person.in_(asked[start : start + 500])
            )
            found.update(connection.execute(statement).scalars())
    return found


def titles_in_use(connection: Connection, feed: str) -> Iterator[tuple[str, str, str, str, int]]:
    """Yield (title, unit, grade, position code, how many) of the jobs of people who work here."""
    columns = (roster.c.title, roster.c.unit, roster.c.grade, roster.c.position)
    statement = (
        select(*columns, func.count()).where(roster.c.feed == feed, roster.c.status != "terminated").group_by(*columns)
    )
    yield from ((row[0], row[1], row[2], row[3], row[4]) for row in connection.execute(statement))


def units_in_use(connection: Connection, feeds: Collection[str]) -> list[tuple[str, str, str]]:
    """Return (key, name, parent) of the units that rows name."""
    statement = (
        select(roster.c.unit, roster.c.unit_name, roster.c.unit_parent)
        .where(roster.c.feed.in_(sorted(feeds)), roster.c.unit != "")
        .distinct()
        .order_by(roster.c.unit, roster.c.unit_name.desc(), roster.c.unit_parent.desc())
    )
    return [(key, name, parent) for key, name, parent in connection.execute(statement)]
