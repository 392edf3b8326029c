"""A handful of people in two units and two positions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from bridge.model import (
    Architecture,
    Desired,
    JobAssignment,
    Organisation,
    Person,
    PersonStatus,
    Position,
    Workforce,
)

AS_OF = dt.date(2026, 12, 31)
UNITS = (Organisation("TOP", "Hospital"), Organisation("WARD", "Ward 7", "TOP"))
POSITIONS = (Position("N1", "Nurse", "NUR", "2"), Position("N2", "Ward manager", "NUR", "4"))
STRUCTURE = Architecture(
    organisations=UNITS, positions=POSITIONS, given=frozenset({"organisations", "positions", "position_competencies"})
)


def person(key: str, first: str = "Ada", last: str = "Lovelace", **more: Any) -> Person:
    """Return somebody whose address comes from the key."""
    return Person(key, first, last, more.pop("email", f"{key.lower()}@ward.example"), **more)


def job(key: str, unit: str | None = "WARD", position: str | None = "N1", **more: Any) -> JobAssignment:
    """Return somebody's one job."""
    return JobAssignment(f"{key}/1", key, unit, position, more.pop("title", "Nurse"), **more)


def desired(
    people: Iterable[Person],
    jobs: Iterable[JobAssignment] | None = None,
    *,
    absent: Iterable[str] = (),
    model: Architecture = STRUCTURE,
) -> Desired:
    """Return what Moodle should say of some people; without jobs everybody is a nurse on the ward."""
    known = tuple(people)
    held = tuple(job(one.key) for one in known) if jobs is None else tuple(jobs)
    return Desired(model, Workforce(AS_OF, known, held, frozenset(absent)))


def terminated(one: Person) -> Person:
    """Return somebody who left."""
    return replace(one, status=PersonStatus.TERMINATED)
