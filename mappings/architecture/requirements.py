"""Rows to requirements: those of positions, and those of everyone, an organisation, a family or a level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.model import Requirement, Target
from bridge.rows import Row, same_when_folded
from mappings.architecture.cells import Findings, close_to, text, whole_number
from mappings.architecture.competencies import CompetencyIndex
from mappings.architecture.scales import level_on

_TARGETS: Mapping[str, Target] = {
    "everyone": Target.EVERYONE,
    "everybody": Target.EVERYONE,
    "all": Target.EVERYONE,
    "organisation": Target.ORGANISATION,
    "organization": Target.ORGANISATION,
    "unit": Target.ORGANISATION,
    "family": Target.FAMILY,
    "job family": Target.FAMILY,
    "level": Target.LEVEL,
    "position": Target.POSITION,
}

_LISTED_IN: Mapping[Target, str] = {
    Target.ORGANISATION: "organisations",
    Target.FAMILY: "job_families",
    Target.LEVEL: "positions, column level",
    Target.POSITION: "positions",
}


def read_requirements(
    rows: Iterable[Row], index: CompetencyIndex, known: Mapping[Target, frozenset[str]], findings: Findings
) -> tuple[Requirement, ...]:
    """Return the requirements of any target. `known` has the keys that each kind of target may have."""
    found: dict[tuple[Target, str, str], int] = {}
    requirements: list[Requirement] = []
    for row in findings.sound(rows):
        target = _target(row, findings)
        target_key = None if target is None else _target_key(row, "target_key", target, known, findings)
        _take(row, target, target_key, index, found, requirements, findings)
    return tuple(requirements)


def read_position_competencies(
    rows: Iterable[Row], index: CompetencyIndex, positions: frozenset[str], findings: Findings
) -> tuple[Requirement, ...]:
    """Return the requirements of positions."""
    found: dict[tuple[Target, str, str], int] = {}
    requirements: list[Requirement] = []
    known = {Target.POSITION: positions}
    for row in findings.sound(rows):
        position = _target_key(row, "position", Target.POSITION, known, findings)
        _take(row, Target.POSITION, position, index, found, requirements, findings)
    return tuple(requirements)


def _take(
    row: Row,
    target: Target | None,
    target_key: str | None,
    index: CompetencyIndex,
    found: dict[tuple[Target, str, str], int],
    requirements: list[Requirement],
    findings: Findings,
) -> None:
    """Read what every requirement has, and add it where all of it is sound and nothing like it is there."""
    competency = index.find(row, "competency", findings)
    level = None if competency is None else level_on(row, "required_level", index.scale_of(competency), findings)
    due_good, due = whole_number(row, "due_days", findings, optional=True)
    renewal_good, renewal = whole_number(row, "renewal_days", findings, least=1, optional=True)
    if target is None or target_key is None or competency is None or level is None:
        return
    if not due_good or not renewal_good:
        return
    identity = (target, target_key, competency)
    if identity in found:
        who = f"{target} {target_key}".rstrip()
        message = f"“{competency}” is required of {who} already, on line {found[identity]}."
        findings.fault(row, "competency", "duplicate", message, "Keep one of the two rows.")
        return
    found[identity] = row.line
    requirements.append(Requirement(target, target_key, competency, level, due, renewal))


def _target(row: Row, findings: Findings) -> Target | None:
    """Return the kind of target a row names; None, with a fault, where it names none."""
    target = _TARGETS.get(same_when_folded(text(row, "target")))
    if target is None:
        message = "The row does not say to whom the requirement applies."
        remedy = "Write one of: everyone, organisation, family, level, position."
        findings.fault(row, "target", "target", message, remedy)
    return target


def _target_key(
    row: Row, column: str, target: Target, known: Mapping[Target, frozenset[str]], findings: Findings
) -> str | None:
    """Return the key of the target a row names; None, with a fault, where there is none of that key."""
    value = text(row, column)
    if target is Target.EVERYONE:
        if value and same_when_folded(value) not in ("everyone", "all", "*"):
            message = f"The requirement is for everyone, yet names “{value}”."
            findings.fault(row, column, "target-key", message, "Empty the cell, or name another target.")
            return None
        return ""
    keys = known.get(target, frozenset())
    if value in keys:
        return value
    what = "job family" if target is Target.FAMILY else str(target)
    if value:
        message = f"There is no {what} “{value}”.{close_to(value, keys)}"
    else:
        message = f"The row does not say which {what} it is about."
    remedy = f"Write a key that {_LISTED_IN[target]} has, or add it there."
    findings.fault(row, column, f"{target}-unknown", message, remedy)
    return None
