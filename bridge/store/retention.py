"""What the store need not remember for ever, and how it forgets it without losing what is still needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, not_, select

from bridge.store import Store
from bridge.store.feed_tables import (
    AbsenceRow,
    FeedRow,
    RejectionRow,
    RosterTable,
    SnapshotRow,
    StagedRow,
    WaitingRow,
)
from bridge.store.journal import OPEN
from bridge.store.state import UNFINISHED, table_of
from bridge.store.tables import BaseRow, HoldRow, JournalRow, ResultHistoryRow, ResultRow, RunRow
from bridge.store.unattended_tables import DaemonRow, FiringRow, HealthRow, NoticeRow, StepRow

PORTION = 200
"""Runs taken out in one transaction: others who write wait for no more than that."""


def expire_rejections(connection: Connection, feed: str, before: float) -> int:
    """Drop what was found in files that a feed received before a moment (UTC epoch seconds); return how much.

    What stands against the last accepted file, or the one in quarantine, stays however old it is.
    """
    rejection, snapshot, known = table_of(RejectionRow), table_of(SnapshotRow), table_of(FeedRow)
    row = connection.execute(
        select(known.c.accepted_id, known.c.quarantined_id).where(known.c.name == feed)
    ).one_or_none()
    standing = [number for number in (row or ()) if number is not None]
    old = select(snapshot.c.id).where(snapshot.c.feed == feed, snapshot.c.received_at < before)
    return connection.execute(
        delete(rejection).where(
            rejection.c.feed == feed, rejection.c.snapshot_id.in_(old), rejection.c.snapshot_id.not_in(standing)
        )
    ).rowcount


def expire_runs(store: Store, before: float, stop: Callable[[], str] = lambda: "") -> tuple[int, int]:
    """Drop runs that ended before a moment (UTC epoch seconds), with what they sent; return how many runs and changes.

    A run stays while something of it is not answered for, its undoing holds objects or is under way, it is a site's
    latest of its kind, or it was cut off and objects stand as it left them (limits count those apart). Of what a run
    sent, the latest that was applied to an object still known stays: by it anybody can tell why the object is so.
    `stop` says that this is to end early; the rest goes next time.
    """
    run, line = table_of(RunRow), table_of(JournalRow)
    with store.read() as connection:
        old = list(connection.execute(select(run.c.id).where(_is_over(before)).order_by(run.c.id)).scalars())
    runs = lines = 0
    for portion in _portions(old):
        if stop():
            return runs, lines
        with store.begin() as connection:
            # Asked again: somebody may have begun to undo one meanwhile.
            runs += connection.execute(delete(run).where(run.c.id.in_(portion), _is_over(before))).rowcount
    with store.read() as connection:
        without = select(line.c.run_id).where(line.c.run_id.not_in(select(run.c.id))).distinct()
        left = sorted(connection.execute(without).scalars())
    for portion in _portions(left):
        if stop():
            return runs, lines
        with store.begin() as connection:
            # Those still here among them belong to a run that began after the look above.
            gone = and_(line.c.run_id.in_(portion), line.c.run_id.not_in(select(run.c.id)))
            lines += connection.execute(delete(line).where(gone, not_(_is_last_word()))).rowcount
    return runs, lines


def _is_over(before: float) -> ColumnElement[bool]:
    """Say that a run ended before a moment and nothing needs its record any more."""
    run, line, hold, base = table_of(RunRow), table_of(JournalRow), table_of(HoldRow), table_of(BaseRow)
    undoing = run.alias("undoing")
    holding = undoing.c.id.in_(select(hold.c.run_id))
    latest = run.alias("latest")
    return and_(
        run.c.finished_at < before,
        run.c.state.not_in(("running", "pending")),
        run.c.id.not_in(select(func.max(latest.c.id)).group_by(latest.c.site, latest.c.verb)),
        run.c.id.not_in(select(line.c.run_id).where(line.c.state.in_(OPEN))),
        run.c.id.not_in(select(hold.c.run_id)),
        not_(exists().where(undoing.c.undoes == run.c.id, holding | (undoing.c.state == "running"))),
        not_(run.c.state.in_(UNFINISHED) & exists().where(base.c.run_id == run.c.id, base.c.site == run.c.site)),
    )


def _is_last_word() -> ColumnElement[bool]:
    """Say that a line of the journal is the latest that was applied to an object that is still known."""
    line, base = table_of(JournalRow), table_of(BaseRow)
    later = line.alias("later")
    same = and_(later.c.site == line.c.site, later.c.kind == line.c.kind, later.c.key == line.c.key)
    after = (later.c.run_id > line.c.run_id) | ((later.c.run_id == line.c.run_id) & (later.c.seq > line.c.seq))
    return and_(
        line.c.state == "applied",
        exists().where(base.c.site == line.c.site, base.c.kind == line.c.kind, base.c.key == line.c.key),
        not_(exists().where(same, later.c.state == "applied", after)),
    )


def expire_deliveries(connection: Connection, before: float) -> int:
    """Drop what became of files that came before a moment (UTC epoch seconds); return how many.

    A file stays known while a row of its feed stands as it came in it, somebody is missing since it, something in it
    stands refused, it is the last that was accepted or in quarantine, or the latest of its feed.
    """
    snapshot, feed = table_of(SnapshotRow), table_of(FeedRow)
    latest = snapshot.alias("latest")
    needed: list[ColumnElement[Any]] = [
        *(table_of(model).c.snapshot_id for model in (RosterTable, WaitingRow, StagedRow, RejectionRow)),
        table_of(AbsenceRow).c.first_snapshot_id,
        table_of(AbsenceRow).c.confirmed_snapshot_id,
        feed.c.accepted_id,
        feed.c.quarantined_id,
    ]
    return connection.execute(
        delete(snapshot).where(
            snapshot.c.received_at < before,
            snapshot.c.id.not_in(select(func.max(latest.c.id)).group_by(latest.c.feed)),
            *(snapshot.c.id.not_in(select(column).where(column.is_not(None))) for column in needed),
        )
    ).rowcount


def expire_results(connection: Connection, before: float) -> int:
    """Drop results that vanished before a moment (UTC epoch seconds), and what results said before they changed then;
    return how many. What the LMS still says is never dropped."""
    result, history = table_of(ResultRow), table_of(ResultHistoryRow)
    gone = connection.execute(delete(result).where(result.c.gone_at < before)).rowcount
    return gone + connection.execute(delete(history).where(history.c.recorded_at < before)).rowcount


def expire_unattended(
    connection: Connection, *, told: float, seen: float, before: float, sites: Collection[str], jobs: Collection[str]
) -> None:
    """Drop notices sent before `told`, daemons last seen before `seen`, and how sites and schedules that are no longer
    among `sites` and `jobs` stood before `before` (all UTC epoch seconds)."""
    notice, daemon, firing = table_of(NoticeRow), table_of(DaemonRow), table_of(FiringRow)
    step, health = table_of(StepRow), table_of(HealthRow)
    connection.execute(delete(notice).where(notice.c.sent_at.is_not(None), notice.c.created_at < told))
    connection.execute(delete(daemon).where(daemon.c.seen_at < seen))
    known = firing.c.schedule.in_(sorted(jobs)) & firing.c.site.in_(sorted(sites))
    connection.execute(delete(firing).where(firing.c.began_at < before, firing.c.state != "running", not_(known)))
    connection.execute(delete(step).where(step.c.ended_at < before, step.c.site.not_in(sorted(sites))))
    subjects = [*sites, *(f"{site}:feeds" for site in sites)]
    connection.execute(delete(health).where(health.c.failed_at < before, health.c.site.not_in(sorted(subjects))))


def _portions(numbers: Iterable[int]) -> Iterator[list[int]]:
    found = list(numbers)
    for start in range(0, len(found), PORTION):
        yield found[start : start + PORTION]
