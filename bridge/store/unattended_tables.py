"""What unattended work remembers: firings taken, the health of sites, messages to send, daemons that live."""

from __future__ import annotations

from sqlalchemy import Column, Index, Text
from sqlmodel import Field, SQLModel


class FiringRow(SQLModel, table=True):
    """The latest time at which a schedule began for a site, and how it went."""

    __tablename__ = "firing"

    schedule: str = Field(primary_key=True)
    site: str = Field(primary_key=True)
    due: float
    """When it was to begin. It only grows: whoever raises it has taken the firing, and nobody takes it again."""
    holder: str
    state: str
    """running, done, pending, failed, refused, quarantined, stopped, postponed, skipped or missed."""
    began_at: float
    ended_at: float | None = None
    chain: str = ""
    """Its name in the log."""
    message: str = Field(default="", sa_column=Column(Text, nullable=False))
    steps: str = Field(default="[]", sa_column=Column(Text, nullable=False))


class StepRow(SQLModel, table=True):
    """The latest success and the latest end of a step at a site: what *lag* is counted from."""

    __tablename__ = "step"

    site: str = Field(primary_key=True)
    step: str = Field(primary_key=True)
    state: str
    ended_at: float
    succeeded_at: float | None = None
    seconds: float = 0.0
    message: str = Field(default="", sa_column=Column(Text, nullable=False))


class HealthRow(SQLModel, table=True):
    """A site that fails: how often in a row, since when, and when it is tried again."""

    __tablename__ = "health"

    site: str = Field(primary_key=True)
    failures: int
    open: bool = False
    """True where the LMS does not let the account in: until that is mended, one try a day is all."""
    since: float
    failed_at: float
    next_try: float
    reason: str = Field(default="", sa_column=Column(Text, nullable=False))


class NoticeRow(SQLModel, table=True):
    """Something a person should hear of."""

    __tablename__ = "notice"
    __table_args__ = (Index("ix_notice_key", "key", "created_at"),)

    id: int | None = Field(default=None, primary_key=True)
    key: str
    """Equal for what is the same trouble."""
    about: str
    site: str
    text: str = Field(sa_column=Column(Text, nullable=False))
    remedy: str = Field(default="", sa_column=Column(Text, nullable=False))
    created_at: float
    times: int = 1
    sent_at: float | None = Field(default=None, index=True)


class DaemonRow(SQLModel, table=True):
    """A daemon that is running, or was when it was last seen."""

    __tablename__ = "daemon"

    name: str = Field(primary_key=True)
    started_at: float
    seen_at: float
    stopped_at: float | None = None
