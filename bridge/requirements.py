"""Who needs which competency: the union of what holds for a position, an organisation, a family, a level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bridge.model import Architecture, Position, Requirement, Target


@dataclass(frozen=True, slots=True)
class RequirementIndex:
    """Requirements by target, built once and asked many times."""

    by_target: Mapping[tuple[Target, str], tuple[Requirement, ...]]
    above: Mapping[str, str | None] = field(default_factory=dict)
    """Each organisation's parent: a unit needs what the units above it need."""
    family_above: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, architecture: Architecture) -> RequirementIndex:
        """Index an architecture's requirements."""
        groups: dict[tuple[Target, str], list[Requirement]] = {}
        for requirement in architecture.requirements:
            target_key = "" if requirement.target is Target.EVERYONE else requirement.target_key
            groups.setdefault((requirement.target, target_key), []).append(requirement)
        return cls(
            {target: tuple(found) for target, found in groups.items()},
            {unit.key: unit.parent for unit in architecture.organisations},
            {family.key: family.parent for family in architecture.families},
        )

    def holding_for(
        self, position: Position | None, organisations: Iterable[str] = (), *, everyone: bool = True
    ) -> dict[str, Requirement]:
        """Return what holds for somebody in a position and in organisations, by competency key.

        The union holds. Where several requirements name a competency one of them wins: the highest level, among
        equals the one due soonest, then the one renewed most often.
        """
        targets: list[tuple[Target, str]] = [(Target.EVERYONE, "")] if everyone else []
        for organisation in organisations:
            targets += [(Target.ORGANISATION, unit) for unit in _upwards(organisation, self.above)]
        if position is not None:
            if position.family is not None:
                targets += [(Target.FAMILY, family) for family in _upwards(position.family, self.family_above)]
            if position.level is not None:
                targets.append((Target.LEVEL, position.level))
            targets.append((Target.POSITION, position.key))
        found: dict[str, Requirement] = {}
        for target in targets:
            for requirement in self.by_target.get(target, ()):
                held = found.get(requirement.competency)
                if held is None or _strictness(requirement) > _strictness(held):
                    found[requirement.competency] = requirement
        return found

    def holding_for_jobs(self, jobs: Iterable[tuple[Position | None, str | None]]) -> dict[str, Requirement]:
        """Return what holds for somebody with several jobs, each a position and a unit: the strictest of them all."""
        found: dict[str, Requirement] = {}
        for position, organisation in jobs:
            needs = self.holding_for(position, () if organisation is None else (organisation,))
            for competency, requirement in needs.items():
                held = found.get(competency)
                if held is None or _strictness(requirement) > _strictness(held):
                    found[competency] = requirement
        return found


def _strictness(requirement: Requirement) -> tuple[int, float, float]:
    """Order requirements of one competency: higher level, then sooner due, then sooner renewed."""
    due = float("-inf") if requirement.due_days is None else -requirement.due_days
    renewal = float("-inf") if requirement.renewal_days is None else -requirement.renewal_days
    return (requirement.level, due, renewal)


def _upwards(key: str, above: Mapping[str, str | None]) -> list[str]:
    """Return a key and the keys above it; stops where the tree bites its tail."""
    path: list[str] = []
    step: str | None = key
    while step is not None and step not in path:
        path.append(step)
        step = above.get(step)
    return path
