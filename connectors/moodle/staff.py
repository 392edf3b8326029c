"""The people of a workforce with the jobs they hold on its day: what accounts, cohorts and plans are made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bridge.model import Desired, JobAssignment, Organisation, Person, PersonStatus, Position, Workforce


@dataclass(frozen=True, slots=True)
class Staff:
    """A workforce by person, with the architecture its jobs refer to."""

    workforce: Workforce
    people: Mapping[str, Person]
    """Everybody the feeds describe, by key; leavers too."""
    jobs: Mapping[str, tuple[JobAssignment, ...]]
    """The jobs each person holds on the day, the primary one first."""
    units: Mapping[str, Organisation] = field(default_factory=dict)
    positions: Mapping[str, Position] = field(default_factory=dict)

    @classmethod
    def of(cls, desired: Desired) -> Staff | None:
        """Return the staff of what is desired; None where no feed is in play."""
        workforce = desired.workforce
        if workforce is None:
            return None
        jobs: dict[str, list[JobAssignment]] = {}
        for job in workforce.assignments:
            # Who is in the workforce works here. Where HR moves the start ahead (a new contract), nobody loses anything
            # over that; who has not come yet waits where files are taken in.
            begun = job.primary or job.start is None or job.start <= workforce.as_of
            if begun and (job.end is None or job.end >= workforce.as_of):
                jobs.setdefault(job.person, []).append(job)
        architecture = desired.architecture
        return cls(
            workforce,
            {person.key: person for person in workforce.people},
            {key: tuple(sorted(held, key=lambda job: (not job.primary, job.key))) for key, held in jobs.items()},
            {unit.key: unit for unit in architecture.organisations},
            {position.key: position for position in architecture.positions},
        )

    def working(self) -> Iterator[Person]:
        """Yield everybody who works here, in the feed's order."""
        return (person for person in self.people.values() if person.status is not PersonStatus.TERMINATED)

    def leavers(self) -> Iterator[str]:
        """Yield the keys of people who are known to have left: by their status, or by a confirmed absence."""
        for person in self.people.values():
            if person.status is PersonStatus.TERMINATED:
                yield person.key
        yield from sorted(self.workforce.absent - self.people.keys())

    def works(self, key: str) -> bool:
        """Say whether a key is that of somebody who works here."""
        person = self.people.get(key)
        return person is not None and person.status is not PersonStatus.TERMINATED

    def unmapped(self, key: str) -> bool:
        """Say whether somebody holds a job whose title has no position yet, though there are positions."""
        return bool(self.positions) and any(job.position is None and job.title for job in self.jobs.get(key, ()))

    def units_above(self, unit: str) -> Iterator[str]:
        """Yield a unit and the units above it, as far as they are known; stops where the tree bites its tail."""
        seen: set[str] = set()
        step: str | None = unit
        while step is not None and step not in seen:
            seen.add(step)
            yield step
            step = self.units[step].parent if step in self.units else None

    def facts(self, person: Person) -> dict[str, str]:
        """Return what a mapping of account fields can name: a person's columns, and facts of the primary job."""
        facts = dict(person.extra)
        facts.update(
            key=person.key,
            first_name=person.first_name,
            last_name=person.last_name,
            email=person.email,
            status=person.status.value,
        )
        job = next(iter(self.jobs.get(person.key, ())), None)
        if job is not None:
            unit = self.units.get(job.organisation or "")
            position = self.positions.get(job.position or "")
            facts.update(
                title=job.title,
                manager=job.manager or "",
                start=job.start.isoformat() if job.start else "",
                organisation=job.organisation or "",
                organisation_name=unit.name if unit else "",
                cost_centre=unit.cost_centre if unit else "",
                position=job.position or "",
                position_title=position.title if position else "",
                family=(position.family or "") if position else "",
                level=(position.level or "") if position else "",
            )
        return facts
