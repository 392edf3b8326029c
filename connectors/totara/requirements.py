"""Requirements as a worklist: no file and no interface assigns a competency in Totara 17, somebody does it by hand.

Whether it was done shows in the competency status report: whoever an assignment reaches has a row for the competency.
So a requirement of a position is confirmed when everybody the report shows in that position has one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bridge.model import Architecture, Requirement, Target

COLUMNS = (
    "user-idnumber",
    "competency-idnumber",
    "job_assignment-allpositionidnumbers",
    "job_assignment-allorganisationidnumbers",
)
"""What the competency status report has to have for this, as the report builder names it."""

CONFIRMED, PARTLY, MISSING, NOBODY, UNSEEN = "confirmed", "partly", "missing", "nobody to see it by", "not checked"

_SEPARATORS = re.compile(r"\s*(?:<br\s*/?>|\n|,|;|\|)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One line of the worklist: what to assign to whom on the site, and whether the report shows that it was done."""

    target: str
    target_key: str
    target_name: str
    competency: str
    competency_name: str
    level: str
    state: str
    says: str


@dataclass(slots=True)
class _Seen:
    """What the report shows: who is in a position or an organisation, and which competencies each person has."""

    positions: dict[str, set[str]]
    organisations: dict[str, set[str]]
    competencies: dict[str, set[str]]

    def holders(self, target: Target, keys: Iterable[str]) -> set[str]:
        """The people a target reaches, as far as the report shows them."""
        if target is Target.EVERYONE:
            return set(self.competencies)
        held = self.organisations if target is Target.ORGANISATION else self.positions
        return {person for key in keys for person in held.get(key, ())}


def worklist(model: Architecture, rows: Iterable[Mapping[str, str]] | None) -> list[Assignment]:
    """The requirements of a model as assignments to make, with what a report's rows show (None: there is none)."""
    seen = None if rows is None else _seen(rows)
    index = _Index(model)
    return [_assignment(one, index, seen) for one in model.requirements]


class _Index:
    """Names, levels and groups of positions of a model, by key."""

    def __init__(self, model: Architecture) -> None:
        self.competencies = {one.key: one.name for one in model.competencies}
        self.names: dict[Target, dict[str, str]] = {
            Target.POSITION: {one.key: one.title for one in model.positions},
            Target.ORGANISATION: {one.key: one.name for one in model.organisations},
            Target.FAMILY: {one.key: one.name for one in model.families},
            Target.LEVEL: {one.level: f"level {one.level}" for one in model.positions if one.level},
            Target.EVERYONE: {},
        }
        self.positions: dict[tuple[Target, str], list[str]] = {}
        for one in model.positions:
            for target, key in ((Target.FAMILY, one.family), (Target.LEVEL, one.level)):
                self.positions.setdefault((target, key or ""), []).append(one.key)
        scales = {one.key: {item.value: item.label for item in one.items} for one in model.scales}
        self.levels = {one.key: scales.get(one.scale, {}) for one in model.frameworks}

    def keys(self, one: Requirement) -> list[str]:
        """The positions or organisations that somebody assigns to on the site for a requirement."""
        if one.target in {Target.FAMILY, Target.LEVEL}:
            return self.positions.get((one.target, one.target_key), [])
        return [one.target_key]

    def level(self, one: Requirement) -> str:
        """The word of a requirement's level."""
        return self.levels.get(one.competency.partition("/")[0], {}).get(one.level, str(one.level))


def _seen(rows: Iterable[Mapping[str, str]]) -> _Seen:
    seen = _Seen({}, {}, {})
    for row in rows:
        person = row["user_idnumber"]
        if not person:
            continue
        seen.competencies.setdefault(person, set()).add(row["competency_idnumber"])
        for held, column in (
            (seen.positions, "job_assignment_allpositionidnumbers"),
            (seen.organisations, "job_assignment_allorganisationidnumbers"),
        ):
            for key in _SEPARATORS.split(row[column]):
                if key.strip():
                    held.setdefault(key.strip(), set()).add(person)
    return seen


def _assignment(one: Requirement, index: _Index, seen: _Seen | None) -> Assignment:
    state, says = _state(one, index.keys(one), seen)
    name = index.names[one.target].get(one.target_key, "")
    competency = index.competencies.get(one.competency, "")
    return Assignment(one.target.value, one.target_key, name, one.competency, competency, index.level(one), state, says)


def _state(one: Requirement, keys: list[str], seen: _Seen | None) -> tuple[str, str]:
    if seen is None:
        return UNSEEN, "no report shows it"
    holders = seen.holders(one.target, keys)
    if not holders:
        return NOBODY, "the report shows nobody in it"
    idnumber = one.competency.partition("/")[2]
    having = sum(idnumber in seen.competencies[person] for person in holders)
    if having == len(holders):
        return CONFIRMED, f"all {having:,} people the report shows there have it"
    if having:
        return PARTLY, f"{having:,} of {len(holders):,} people the report shows there have it"
    return MISSING, f"none of {len(holders):,} people the report shows there has it"
