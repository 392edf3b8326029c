"""The tables of feeds: what arrived, what was made of it, who is known, who is missing, what was refused."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel


def _text(default: str | None = "") -> Any:
    """Return a text column without a limit."""
    return Field(default=default, sa_type=Text, nullable=False)


class FeedRow(SQLModel, table=True):
    """One feed: whether it may be pushed from, and what it last had to say."""

    __tablename__ = "feed"

    name: str = Field(primary_key=True)
    state: str = "open"
    """`open`, or `quarantined` until a person releases it or a good file follows."""
    reason: str = _text()
    since: float = 0.0
    accepted_id: int | None = None
    """The last accepted snapshot."""
    quarantined_id: int | None = None
    """The snapshot that a release would accept."""


class SnapshotRow(SQLModel, table=True):
    """One file of a feed and what became of it."""

    __tablename__ = "snapshot"
    __table_args__ = (Index("ix_snapshot_feed_sha256", "feed", "sha256"),)

    id: int | None = Field(default=None, primary_key=True)
    feed: str
    file: str = _text()
    sha256: str
    size: int
    stamp: str = ""
    """When the sender says it is from, as sortable text; empty where nobody says."""
    state: str
    """accepted, partial, quarantined, refused or discarded."""
    delta: bool = False
    complete: bool = False
    """Parsed to its end and whole: only such a file can make somebody absent."""
    vouched: bool = False
    """A manifest says that it is whole."""
    ends_in_line_end: bool = True
    rules: str = ""
    """Fingerprint of the settings it was read with; row hashes hold only under the same."""
    columns: str = Field(default="{}", sa_column=Column(Text, nullable=False))
    """Fields that its columns gave, each with its header, as JSON."""
    rows: int = 0
    counts: str = Field(default="{}", sa_column=Column(Text, nullable=False))
    guards: str = Field(default="[]", sa_column=Column(Text, nullable=False))
    """Guards that tripped, as JSON."""
    as_of: str = ""
    received_at: float = 0.0
    decided_at: float | None = None
    reason: str = _text()
    """Why a person released or discarded it."""


class _Content(SQLModel):
    """What a row says; see `bridge.roster.RosterRow`."""

    first_name: str = _text()
    last_name: str = _text()
    email: str = _text()
    username: str = _text()
    status: str = _text("active")
    title: str = _text()
    unit: str = _text()
    unit_name: str = _text()
    unit_parent: str = _text()
    position: str = _text()
    grade: str = _text()
    manager: str = _text()
    start: str = _text()
    end: str = _text()
    primary: str = _text("1")
    extra: str = _text()


class RosterTable(_Content, table=True):
    """One job of one person as a feed last said it, in a row that was good. `hash` is of the row as it was written."""

    __tablename__ = "roster"
    __table_args__ = (Index("ix_roster_row", "feed", "person", "job", unique=True),)

    id: int | None = Field(default=None, primary_key=True)
    feed: str
    person: str
    job: str = ""
    hash: bytes = Field(sa_type=LargeBinary, nullable=False)
    snapshot_id: int
    """The snapshot that last changed it."""
    line: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """The line of that snapshot's file on which it stood; 0 where that is not known."""


class WaitingRow(_Content, table=True):
    """A good row that holds only from a later day on."""

    __tablename__ = "waiting"

    feed: str = Field(primary_key=True)
    person: str = Field(primary_key=True)
    job: str = Field(primary_key=True)
    effective: str
    hash: bytes = Field(sa_type=LargeBinary, nullable=False)
    snapshot_id: int
    line: int = Field(default=0, sa_column_kwargs={"server_default": "0"})


class StagedRow(_Content, table=True):
    """A row of a snapshot in quarantine, kept for the person who decides about it."""

    __tablename__ = "staged"

    snapshot_id: int = Field(primary_key=True)
    line: int = Field(primary_key=True)
    person: str
    job: str = ""
    effective: str = ""
    action: str = ""
    verdict: str = ""
    hash: bytes = Field(sa_type=LargeBinary, nullable=False)


class AbsenceRow(SQLModel, table=True):
    """A job of somebody that a feed no longer lists: since when, and whether it is certain."""

    __tablename__ = "absence"

    feed: str = Field(primary_key=True)
    person: str = Field(primary_key=True)
    job: str = Field(primary_key=True)
    first_snapshot_id: int
    missed_on: str
    confirmed_snapshot_id: int | None = None
    confirmed_on: str = ""
    why: str = _text()
    """What confirmed it."""


class RejectionRow(SQLModel, table=True):
    """One thing found in one row: why it was refused, or what to know about it although it was kept."""

    __tablename__ = "rejection"
    __table_args__ = (Index("ix_rejection_feed", "feed", "cleared_by"),)

    id: int | None = Field(default=None, primary_key=True)
    feed: str
    snapshot_id: int = Field(index=True)
    line: int
    person: str = _text()
    file: str = _text()
    column: str = _text()
    value: str = _text()
    rule: str
    message: str = _text()
    remedy: str = _text()
    refused: bool = True
    """False where the row was kept."""
    cells: str = Field(default="{}", sa_column=Column(Text, nullable=False))
    """The mapped cells of the row by their header, as JSON, for the workbook that the sender mends."""
    cleared_by: int | None = None
    """The later snapshot in which the row was right, or which no longer has it."""


class UnmappedTitleRow(SQLModel, table=True):
    """A job title that stands for no position yet."""

    __tablename__ = "unmapped_title"

    feed: str = Field(primary_key=True)
    title: str = Field(primary_key=True)
    unit: str = Field(primary_key=True)
    grade: str = Field(primary_key=True)
    people: int
    first_seen: str
