"""Recorded title decisions out of the store and into it, and what the nightly ingest makes of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

from bridge.store import Store
from bridge.store import titles as stored
from bridge.store.titles import StoredDecision
from mappings.positions import TitleDecisions
from mappings.titles.decisions import Decision, Placement, RecordedDecisions, Verdict


class StoredLog:
    """The decisions in the store, as a log."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> Sequence[Decision]:
        """Every decision, in the order they were made."""
        with self._store.read() as connection:
            return [_read(row) for row in stored.all_decisions(connection)]

    def add(self, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Record decisions, all or none, and return them with their ids."""
        with self._store.begin() as connection:
            ids = stored.add_decisions(connection, map(_written, decisions))
        return [replace(decision, id=number) for decision, number in zip(decisions, ids, strict=True)]


def _written(decision: Decision) -> StoredDecision:
    return StoredDecision(
        group_id=decision.group,
        title=decision.title,
        department=decision.department,
        grade=decision.grade,
        headcount=decision.headcount,
        verdict=str(decision.verdict),
        placements=tuple((p.key, p.people) for p in decision.placements),
        excluded=decision.excluded,
        reviewer=decision.reviewer,
        decided_at=decision.decided_at.timestamp(),
        reason=decision.reason,
        effective=decision.effective.isoformat() if decision.effective else "",
        catalogue=decision.catalogue,
        batch=decision.batch,
        undoes=decision.undoes,
    )


def _read(row: StoredDecision) -> Decision:
    return Decision(
        title=row.title,
        department=row.department,
        grade=row.grade,
        headcount=row.headcount,
        verdict=Verdict(row.verdict),
        reviewer=row.reviewer,
        decided_at=dt.datetime.fromtimestamp(row.decided_at, dt.UTC),
        placements=tuple(Placement(key, people) for key, people in row.placements),
        excluded=row.excluded,
        reason=row.reason,
        effective=dt.date.fromisoformat(row.effective) if row.effective else None,
        catalogue=row.catalogue,
        batch=row.batch,
        undoes=row.undoes,
        id=row.id,
    )


class Layered:
    """Recorded decisions first, then those of a list."""

    def __init__(self, first: TitleDecisions, then: TitleDecisions) -> None:
        self._first, self._then = first, then

    def settles(self, title: str, department: str, grade: str) -> bool:
        """Return whether somebody decided about this very group."""
        return self._first.settles(title, department, grade) or self._then.settles(title, department, grade)

    def position_for(self, title: str, department: str, grade: str) -> str | None:
        """Return what was decided for the title, or None where nobody has decided."""
        found = self._first.position_for(title, department, grade)
        if found is not None or self._first.settles(title, department, grade):
            return found
        return self._then.position_for(title, department, grade)


def recorded(store: Store, on: dt.date) -> RecordedDecisions:
    """Return the decisions in effect on a day, as the ingest asks for them."""
    return RecordedDecisions(StoredLog(store).all(), on)
