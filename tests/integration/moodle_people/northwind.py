"""The sample company's people as a workforce, read as plainly as can be: titles are decided by title_truth.csv."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from bridge.model import Architecture, Desired, JobAssignment, Person, PersonStatus, Workforce
from jobs.architecture import read_architecture

SAMPLE = Path(__file__).parents[3] / "samples" / "company"
AS_OF = dt.date(2026, 12, 31)


@cache
def architecture() -> Architecture:
    """Return the sample's job architecture."""
    reading = read_architecture(SAMPLE)
    assert reading.faults == ()
    return reading.architecture


@cache
def structure() -> Architecture:
    """Return the sample's units and positions alone: what accounts and cohorts are made from."""
    whole = architecture()
    return Architecture(
        families=whole.families,
        positions=whole.positions,
        organisations=whole.organisations,
        given=frozenset({"positions", "organisations", "job_families"}),
    )


def rows(name: str) -> list[dict[str, str]]:
    """Return the rows of one of the sample's files."""
    with (SAMPLE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def decisions() -> dict[tuple[str, str], str]:
    """Return the position of each person's title: as the truth has it, and for others with the same title."""
    truth = rows("title_truth.csv")
    found: dict[tuple[str, str], str] = {(row["employee_id"], row["job_title"]): row["position"] for row in truth}
    for row in truth:
        found.setdefault(("", row["job_title"]), row["position"])
    return found


def day(
    number: int, *, absent: Iterable[str] = (), only: int | None = None, model: Architecture | None = None
) -> Desired:
    """Return what Moodle should say after the feed of a day. `only` takes that many people from the top."""
    people: list[Person] = []
    jobs: list[JobAssignment] = []
    known = decisions()
    for row in rows(f"hris_people_day{number}.csv")[:only]:
        key, title = row["employee_id"], row["job_title"]
        people.append(
            Person(
                key,
                row["first_name"],
                row["last_name"],
                row["email"],
                PersonStatus(row["status"]),
                extra=(("country", row["country"]), ("location", row["location"])),
            )
        )
        jobs.append(
            JobAssignment(
                f"{key}/1",
                key,
                row["department_code"],
                known.get((key, title), known.get(("", title))),
                title,
                row["manager_id"] or None,
                dt.date.fromisoformat(row["hire_date"]),
            )
        )
    workforce = Workforce(AS_OF, tuple(people), tuple(jobs), frozenset(absent))
    return Desired(model or structure(), workforce)
