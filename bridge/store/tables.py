"""The tables. Times are UTC epoch seconds; what a record holds is JSON text, canonical, so that equal means equal."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Text
from sqlmodel import Field, SQLModel


class BaseRow(SQLModel, table=True):
    """What was last applied to one object of one site: the *base* of the three-way comparison."""

    __tablename__ = "base"

    site: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    fields: str = Field(sa_column=Column(Text, nullable=False))
    parent: str | None = None
    place: int = 0
    """Order among the siblings, as last applied."""
    lms_id: str | None = None
    retired: bool = False
    origin: str = "made"
    """`made` by the bridge, or `adopted`."""
    run_id: int
    changed_at: float


class RunRow(SQLModel, table=True):
    """One run: a push, a pull, an undo, an ingest."""

    __tablename__ = "run"

    id: int | None = Field(default=None, primary_key=True)
    site: str = Field(index=True)
    verb: str
    state: str = "running"
    """running, done, failed, stopped, refused, pending or interrupted."""
    started_at: float
    finished_at: float | None = None
    counts: str = Field(default="{}", sa_column=Column(Text, nullable=False))
    message: str = Field(default="", sa_column=Column(Text, nullable=False))
    undoes: int | None = None


class JournalRow(SQLModel, table=True):
    """One change of one run: what was about to be sent, and what became of it."""

    __tablename__ = "journal"
    __table_args__ = (Index("ix_journal_open", "site", "state"), Index("ix_journal_object", "site", "kind", "key"))

    run_id: int = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    site: str
    kind: str
    key: str
    action: str
    change: str = Field(sa_column=Column(Text, nullable=False))
    state: str
    """intended, then applied, refused, unknown, pending, not_sent or lost (looked for and not there)."""
    why: str = Field(default="", sa_column=Column(Text, nullable=False))
    lms_id: str | None = None
    detail: str = Field(default="{}", sa_column=Column(Text, nullable=False))
    receipt: str | None = None
    sent_at: float
    settled_at: float | None = None
    deadline: float | None = None


class LeaseRow(SQLModel, table=True):
    """Who works on a site now. `epoch` grows with every holder, so that a late one can be told from the present one."""

    __tablename__ = "lease"

    site: str = Field(primary_key=True)
    holder: str
    what: str
    epoch: int
    expires_at: float


class HoldRow(SQLModel, table=True):
    """An object that pushes leave alone until a person releases it."""

    __tablename__ = "hold"

    site: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    run_id: int = Field(index=True)
    reason: str
    held_at: float


class UndecidedRow(SQLModel, table=True):
    """An object that the last push which looked at it left alone until a person decides, and why."""

    __tablename__ = "undecided"

    site: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    says: str = Field(sa_column=Column(Text, nullable=False))
    run_id: int
    """The run that found it first."""
    found_at: float


class CursorRow(SQLModel, table=True):
    """Where a pull stands: which window it reads, how far it got, when it was last through."""

    __tablename__ = "pull_cursor"

    site: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    value: str = Field(sa_column=Column(Text, nullable=False))
    changed_at: float


class ResultRow(SQLModel, table=True):
    """One result brought back: a completion, an attainment, a plan's status, a badge, a certification."""

    __tablename__ = "result"
    __table_args__ = (Index("ix_result_person", "site", "person"),)

    site: str = Field(primary_key=True)
    type: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    """The LMS account it belongs to."""
    object: str = Field(primary_key=True)
    """The course, competency, plan, badge or certification."""
    person: str
    happened_at: float | None = None
    payload: str = Field(sa_column=Column(Text, nullable=False))
    first_run: int
    seen_run: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    gone_at: float | None = None
    """When a full pull no longer found it: from then on it is history."""


class ResultHistoryRow(SQLModel, table=True):
    """What a result said before it changed or vanished."""

    __tablename__ = "result_history"
    __table_args__ = (Index("ix_result_history_object", "site", "type", "subject", "object"),)

    id: int | None = Field(default=None, primary_key=True)
    site: str
    type: str
    subject: str
    object: str
    person: str
    happened_at: float | None = None
    payload: str = Field(sa_column=Column(Text, nullable=False))
    reason: str
    run_id: int
    recorded_at: float
