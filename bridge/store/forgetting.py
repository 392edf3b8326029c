"""Forgetting a person: what the store holds of them, and taking it out."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, update

from bridge.ports import Action, Change
from bridge.store import Store, encoding
from bridge.store.feed_tables import AbsenceRow, RejectionRow, RosterTable, SnapshotRow, StagedRow, WaitingRow
from bridge.store.journal import OPEN
from bridge.store.state import table_of
from bridge.store.tables import BaseRow, HoldRow, JournalRow, ResultHistoryRow, ResultRow, RunRow, UndecidedRow
from bridge.store.unattended_tables import FiringRow, HealthRow, NoticeRow, StepRow

FORGOTTEN = "forgotten"
"""The state of a journal entry whose content was taken out, and what stands in place of a key."""

SEPARATORS = "|/"
"""What follows a person's key in the key of something that belongs to them: a membership, a plan, a job."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows of a person that stands against forgetting them, or is worth knowing before."""

    listed: tuple[str, ...] = ()
    """Feeds by which they work here."""
    left: tuple[str, ...] = ()
    """Feeds that list them as terminated, or from whose files they are certainly gone."""
    doubtful: tuple[str, ...] = ()
    """Feeds with a file in quarantine that lists them."""
    accounts: tuple[str, ...] = ()
    """Sites at which the bridge keeps an account of theirs open."""
    unsettled: tuple[str, ...] = ()
    """Sites where something sent about them has not been answered for."""
    manages: int = 0
    """Rows of other people that name them as manager."""
    anything: bool = False
    """Whether there is anything at all to forget."""


def known_of(connection: Connection, person: str, kinds: Collection[str], account_kinds: Collection[str]) -> Known:
    """Return what is known of a person. `kinds` are those whose keys begin with a person's key."""
    roster, absence = table_of(RosterTable), table_of(AbsenceRow)
    staged, base, journal = table_of(StagedRow), table_of(BaseRow), table_of(JournalRow)
    gone = select(absence.c.feed, absence.c.job).where(
        absence.c.person == person, absence.c.confirmed_snapshot_id.is_not(None)
    )
    certain = {(row.feed, row.job) for row in connection.execute(gone)}
    rows = connection.execute(select(roster.c.feed, roster.c.job, roster.c.status).where(roster.c.person == person))
    here: dict[str, bool] = {}
    for row in rows:
        works = row.status != "terminated" and (row.feed, row.job) not in certain
        here[row.feed] = here.get(row.feed, False) or works
    quarantined = _snapshots_of(connection, select(staged.c.snapshot_id).where(staged.c.person == person))
    accounts = [
        row.site
        for row in connection.execute(
            select(base.c.site, base.c.fields).where(
                base.c.kind.in_(sorted(account_kinds)), base.c.key == person, base.c.retired.is_(False)
            )
        )
        if not encoding.load_fields(row.fields).get("suspended")
    ]
    unsettled = connection.execute(
        select(journal.c.site).where(_theirs(journal, person, kinds), journal.c.state.in_(OPEN)).distinct()
    ).scalars()
    manages = connection.execute(
        select(func.count()).where(roster.c.manager == person, roster.c.person != person)
    ).scalar_one()
    return Known(
        tuple(sorted(feed for feed, works in here.items() if works)),
        tuple(sorted(feed for feed, works in here.items() if not works)),
        tuple(quarantined),
        tuple(sorted(accounts)),
        tuple(sorted(unsettled)),
        int(manages),
        _anything(connection, person, kinds),
    )


def forget_person(connection: Connection, person: str, kinds: Collection[str]) -> dict[str, int]:
    """Take out what the store holds of a person; return how much, by what it was.

    The journal keeps that something was sent, when, and what became of it, but neither about whom nor what it said.
    """
    results, history, base = table_of(ResultRow), table_of(ResultHistoryRow), table_of(BaseRow)
    accounts = connection.execute(
        select(base.c.site, base.c.lms_id).where(
            base.c.kind.in_(sorted(kinds)), base.c.key == person, base.c.lms_id.is_not(None)
        )
    ).all()
    subjects: list[tuple[str, str]] = [(site, lms_id) for site, lms_id in accounts]
    addresses = _addresses(connection, person)
    done = {
        "rows of feeds": _drop(connection, RosterTable, person) + _drop(connection, WaitingRow, person),
        "absences": _drop(connection, AbsenceRow, person),
        "rejections": _drop(connection, RejectionRow, person),
        "objects of sites": connection.execute(delete(base).where(_theirs(base, person, kinds))).rowcount,
        "results": connection.execute(delete(results).where(_about(results, person, subjects))).rowcount,
        "earlier results": connection.execute(delete(history).where(_about(history, person, subjects))).rowcount,
        "entries of the journal": _blank_journal(connection, person, kinds),
        "mentions": _blank_mentions(connection, (person, *addresses)),
    }
    for model in (HoldRow, UndecidedRow):
        table = table_of(model)
        connection.execute(delete(table).where(_theirs(table, person, kinds)))
    return {what: count for what, count in done.items() if count}


def wipe_free_space(store: Store) -> str:
    """Write the database anew, which would otherwise keep what was deleted in the free space of its files.

    Return why that could not be done now, as where somebody reads it for long; empty where it was done.
    """
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        driver: Any = connection.connection.driver_connection
        module: Any = connection.dialect.dbapi
        try:
            if connection.dialect.name == "sqlite":
                driver.execute("VACUUM")
                busy = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                if busy:  # the file itself stays as it was until the last reader is done
                    return "somebody is reading the database"
            else:
                for model in (RosterTable, BaseRow, JournalRow, RejectionRow, ResultRow, ResultHistoryRow):
                    driver.execute(f'VACUUM FULL "{model.__tablename__}"')
        except module.Error as error:
            return str(error).strip() or type(error).__name__
    return ""


def _theirs(table: Any, person: str, kinds: Collection[str]) -> ColumnElement[bool]:
    """Say that an object is the person's: by its whole key, or by the part before a separator. Case counts."""
    begins = func.substr(table.c.key, 1, len(person) + 1).in_([person + sign for sign in SEPARATORS])
    return and_(table.c.kind.in_(sorted(kinds)), or_(table.c.key == person, begins))


def _about(table: Any, person: str, subjects: Collection[tuple[str, str]]) -> ColumnElement[bool]:
    """Say that a result is the person's, or that of an account known to be theirs."""
    theirs = [and_(table.c.site == site, table.c.subject == subject) for site, subject in subjects]
    return or_(table.c.person == person, *theirs)


def _drop(connection: Connection, model: Any, person: str) -> int:
    table = table_of(model)
    return connection.execute(delete(table).where(table.c.person == person)).rowcount


def _anything(connection: Connection, person: str, kinds: Collection[str]) -> bool:
    owned = (RosterTable, WaitingRow, StagedRow, AbsenceRow, RejectionRow, ResultRow, ResultHistoryRow)
    questions = [select(1).where(table_of(model).c.person == person) for model in owned]
    theirs = (BaseRow, JournalRow, UndecidedRow)
    questions += [select(1).where(_theirs(table_of(model), person, kinds)) for model in theirs]
    return any(connection.execute(question.limit(1)).first() is not None for question in questions)


def _snapshots_of(connection: Connection, ids: Any) -> list[str]:
    """Return the feeds of some snapshots."""
    table = table_of(SnapshotRow)
    return sorted(set(connection.execute(select(table.c.feed).where(table.c.id.in_(ids))).scalars()))


def _blank_journal(connection: Connection, person: str, kinds: Collection[str]) -> int:
    """Take whom and what out of what was sent about a person; that, when and how it ended stays."""
    table = table_of(JournalRow)
    theirs = _theirs(table, person, kinds)
    count = 0
    for kind, action in connection.execute(select(table.c.kind, table.c.action).where(theirs).distinct()).all():
        nothing = encoding.dump_change(Change(kind, FORGOTTEN, Action(action), None, None))
        count += connection.execute(
            update(table)
            .where(theirs, table.c.kind == kind, table.c.action == action)
            .values(key=FORGOTTEN, change=nothing, state=FORGOTTEN, why="", lms_id=None, detail="{}", receipt=None)
        ).rowcount
    return count


def _addresses(connection: Connection, person: str) -> list[str]:
    """Return the addresses that feeds gave a person."""
    found: set[str] = set()
    for model in (RosterTable, WaitingRow):
        table = table_of(model)
        rows = connection.execute(select(table.c.email).where(table.c.person == person, table.c.email != ""))
        found.update(rows.scalars())
    return sorted(found)


_SAYS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (RejectionRow, ("message", "value", "cells")),
    (RunRow, ("message",)),
    (NoticeRow, ("text", "remedy")),
    (FiringRow, ("message", "steps")),
    (StepRow, ("message",)),
    (HealthRow, ("reason",)),
    (UndecidedRow, ("says",)),
)
"""Where sentences stand that may name a person."""


def _blank_mentions(connection: Connection, words: Collection[str]) -> int:
    """Take a person's key and addresses out of what was said about rows of others, runs and nights."""
    word = re.compile("|".join(rf"(?<![\w-]){re.escape(one)}(?![\w-])" for one in words), re.IGNORECASE)
    count = 0
    for model, columns in _SAYS:
        table = table_of(model)
        texts = [table.c[name] for name in columns]
        keys = list(table.primary_key.columns)
        mentioned = or_(*(text.icontains(one, autoescape=True) for text in texts for one in words))
        for row in connection.execute(select(*keys, *texts).where(mentioned)).all():
            found = list(row[len(keys) :])
            changed = {name: word.sub(FORGOTTEN, text) for name, text in zip(columns, found, strict=True)}
            if list(changed.values()) != found:
                this = and_(*(key == value for key, value in zip(keys, row, strict=False)))
                connection.execute(update(table).where(this).values(**changed))
                count += 1
    return count
