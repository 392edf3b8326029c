"""What each person's learning plan should be: its key, its name, its description, and the competencies in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bridge.model import Desired, Requirement
from bridge.ports import Severity
from bridge.requirements import RequirementIndex
from connectors.moodle import given
from connectors.moodle.given import speaks_of
from connectors.moodle.kinds import Part
from connectors.moodle.options import MoodleOptions
from connectors.moodle.staff import Staff
from connectors.moodle.templates import key_in, marker
from connectors.moodle.text import bullets, clean, name_form, paragraph

CLOSED = " (closed)"
"""Stands behind the key in the marker of a plan that the bridge closed, to tell it from one that somebody finished."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One person's plan."""

    key: str
    person: str
    position: str
    name: str
    description: str
    needs: tuple[str, ...]
    """Competencies, in the order of the files."""


def plan_key(person: str, position: str | None) -> str:
    """Return the key of a person's plan for a position, or for none."""
    return f"{person}|{position or ''}"


def key_of(description: str) -> tuple[str, bool] | None:
    """Return the key that a plan's description carries, and whether the bridge closed the plan; None for none."""
    key = key_in(description)
    if key is None or "|" not in key:
        return None
    return (key.removesuffix(CLOSED), True) if key.endswith(CLOSED) else (key, False)


def closed_description(description: str, key: str) -> str:
    """Return a plan's description with the marker that says that the bridge closed it."""
    return description.replace(marker(key), marker(key + CLOSED))


def open_description(description: str, key: str) -> str:
    """Return a plan's description with the marker of a plan that is open."""
    return description.replace(marker(key + CLOSED), marker(key))


def let_go_description(description: str, key: str) -> str:
    """Return a plan's description without the marker: the bridge knows it no longer."""
    return description.replace(marker(key), "").replace(marker(key + CLOSED), "")


@dataclass(slots=True)
class PlanNeeds:
    """The plans of everybody, worked out once a translation."""

    staff: Staff
    desired: Desired
    options: MoodleOptions
    left_out: frozenset[str]
    _names: dict[str, tuple[str, str]] = field(default_factory=dict)
    _lines: dict[tuple[str, Requirement], str] = field(default_factory=dict)

    @property
    def spoken(self) -> bool:
        """Whether the files say what positions need: otherwise nothing about plans is planned."""
        return self.options.plans and speaks_of(self.desired.architecture, given.REQUIREMENTS)

    def all(self, part: Part) -> Iterator[Wanted]:
        """Yield the plan of each person who needs something; what a reviewer should know goes into `part`."""
        architecture = self.desired.architecture
        index = RequirementIndex.of(architecture)
        order = {one.key: place for place, one in enumerate(architecture.competencies) if one.key not in self.left_out}
        labels = self._labels()
        waiting: list[str] = []
        for person in self.staff.working():
            jobs = self.staff.jobs.get(person.key, ())
            if self.staff.unmapped(person.key):
                waiting.append(person.key)
                if jobs[0].position is not None:
                    continue
            if not jobs:
                continue
            needs = index.holding_for_jobs(
                (self.staff.positions.get(job.position or ""), job.organisation) for job in jobs
            )
            wanted = dict(sorted(((k, n) for k, n in needs.items() if k in order), key=lambda one: order[one[0]]))
            if not wanted:
                continue
            position = self.staff.positions.get(jobs[0].position or "")
            key = plan_key(person.key, position.key if position else None)
            if any(mark in key for mark in "[]") or key.count("|") != 1 or clean(key) != key:
                part.complete = False
                part.remark(
                    Severity.WARNING, "plan", key, "The key cannot be written as a marker (one of [ ] |); left out."
                )
                continue
            name, head = self._named(position.title if position else "", position.key if position else "", part)
            lines = [self._line(competency, need, labels) for competency, need in wanted.items()]
            body = head + paragraph("Levels that this job needs:") + bullets(lines) + marker(key)
            yield Wanted(key, person.key, position.key if position else "", name, body, tuple(wanted))
        if waiting:
            some = ", ".join(waiting[:5]) + (", …" if len(waiting) > 5 else "")
            says = (
                f"{len(waiting):,} people hold a title without a position yet: their plans stay as is; who has none "
                f"gets one with what everybody and their unit needs ({some})."
            )
            part.remark(Severity.WAITS, "plan", "", says)

    def speaks_of(self, person: str) -> bool:
        """Say whether anything is known of a person's plan, so that what is missing may go."""
        return self.staff.works(person) and not self.staff.unmapped(person)

    def _named(self, title: str, position: str, part: Part) -> tuple[str, str]:
        """Return a plan's name and the beginning of its description."""
        known = self._names.get(position)
        if known is None:
            rule = self.options.plan_name if position else self.options.plan_name_without_position
            form = name_form(rule.format(title=title, key=position))
            if form.changed:
                says = f"The name of its people's plans is brought to what Moodle holds: {form.text!r}."
                part.remark(Severity.NOTE, "plan", position, says)
            known = self._names[position] = (form.text, paragraph(form.full) if form.full else "")
        return known

    def _line(self, competency: str, need: Requirement, labels: Mapping[str, tuple[str, Mapping[int, str]]]) -> str:
        known = self._lines.get((competency, need))
        if known is None:
            name, levels = labels[competency]
            label = levels.get(need.level, "")
            known = f"{name}: {need.level}" + (f" ({label})" if label else "")
            if need.due_days is not None:
                known += f", within {need.due_days} days"
            if need.renewal_days is not None:
                known += f", renewed every {need.renewal_days} days"
            self._lines[competency, need] = known
        return known

    def _labels(self) -> dict[str, tuple[str, Mapping[int, str]]]:
        """Return each competency's name and the labels of its levels."""
        architecture = self.desired.architecture
        frameworks = {framework.key: framework.scale for framework in architecture.frameworks}
        scales = {scale.key: {item.value: item.label for item in scale.items} for scale in architecture.scales}
        return {
            one.key: (one.name, scales.get(one.scale or frameworks.get(one.framework, ""), {}))
            for one in architecture.competencies
        }
