"""Decisions about legacy titles, as they are kept: rows that are added and never changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Column, Connection, Text, insert, select
from sqlmodel import Field, SQLModel

from bridge.store.state import table_of


class TitleDecisionRow(SQLModel, table=True):
    """One decision of one reviewer about one group of people with the same title, department and grade."""

    __tablename__ = "title_decision"

    id: int | None = Field(default=None, primary_key=True)
    group_id: str = Field(index=True)
    title: str = Field(sa_column=Column(Text, nullable=False))
    department: str = Field(sa_column=Column(Text, nullable=False))
    grade: str = Field(sa_column=Column(Text, nullable=False))
    headcount: int
    verdict: str
    placements: str = Field(default="[]", sa_column=Column(Text, nullable=False))
    """Pairs of position key and people, as JSON."""
    excluded: str = Field(default="[]", sa_column=Column(Text, nullable=False))
    """Keys of positions ruled out, as JSON."""
    reviewer: str
    decided_at: float
    reason: str = Field(default="", sa_column=Column(Text, nullable=False))
    effective: str = ""
    """The day from which it holds, as YYYY-MM-DD; empty: at once."""
    catalogue: str = ""
    """Fingerprint of the catalogue it was made with."""
    batch: str = Field(default="", index=True)
    undoes: int | None = None


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision as the store knows it; what it means is other rooms' business."""

    group_id: str
    title: str
    department: str
    grade: str
    headcount: int
    verdict: str
    placements: tuple[tuple[str, int], ...]
    excluded: tuple[str, ...]
    reviewer: str
    decided_at: float
    reason: str = ""
    effective: str = ""
    catalogue: str = ""
    batch: str = ""
    undoes: int | None = None
    id: int = 0


def add_decisions(connection: Connection, decisions: Iterable[StoredDecision]) -> list[int]:
    """Record decisions in the transaction of `connection` and return their ids, in order."""
    table = table_of(TitleDecisionRow)
    ids = []
    for decision in decisions:
        values: dict[str, Any] = asdict(decision)
        del values["id"]
        values["placements"] = json.dumps(decision.placements)
        values["excluded"] = json.dumps(decision.excluded)
        ids.append(int(connection.execute(insert(table).values(**values).returning(table.c.id)).scalar_one()))
    return ids


def all_decisions(connection: Connection) -> list[StoredDecision]:
    """Return every decision, in the order in which they were recorded."""
    table = table_of(TitleDecisionRow)
    return [_stored(row._asdict()) for row in connection.execute(select(table).order_by(table.c.id))]


def _stored(row: Mapping[str, Any]) -> StoredDecision:
    values = dict(row)
    values["placements"] = tuple((key, people) for key, people in json.loads(values["placements"]))
    values["excluded"] = tuple(json.loads(values["excluded"]))
    return StoredDecision(**values)
