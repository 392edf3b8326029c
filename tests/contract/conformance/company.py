"""A company small enough to read: two frameworks, a tree three deep, relations, a rule, positions and requirements."""

from __future__ import annotations

from dataclasses import replace

from bridge.model import (
    Architecture,
    Competency,
    Desired,
    Framework,
    JobFamily,
    Position,
    RelatedCompetencies,
    Requirement,
    RollUp,
    RollUpRule,
    RuleOutcome,
    Scale,
    ScaleItem,
    Target,
)

SCALES = (
    Scale(
        "THREE",
        "Competence (three levels)",
        (
            ScaleItem(1, "Not competent", default=True),
            ScaleItem(2, "Competent with supervision"),
            ScaleItem(3, "Competent", proficient=True),
        ),
    ),
)
FRAMEWORKS = (Framework("CARE", "Care", "THREE"), Framework("LEAD", "Leadership", "THREE"))


def competency(framework: str, idnumber: str, name: str, parent: str | None = None) -> Competency:
    """Return a competency whose parent is named within its framework."""
    return Competency(framework, idnumber, name, f"{framework}/{parent}" if parent else None)


COMPETENCIES = (
    competency("CARE", "A", "Hygiene"),
    competency("CARE", "A1", "Washes hands", "A"),
    competency("CARE", "A2", "Wears gloves", "A"),
    competency("CARE", "A3", "Cleans surfaces", "A"),
    competency("CARE", "A31", "Cleans theatres", "A3"),
    competency("CARE", "B", "Medication"),
    competency("CARE", "B1", "Checks the dose", "B"),
    competency("CARE", "B2", "Checks the patient", "B"),
    competency("LEAD", "L1", "Plans rosters"),
    competency("LEAD", "L2", "Gives feedback"),
)

GIVEN = frozenset(
    {
        "competency_scales",
        "competency_frameworks",
        "competencies",
        "positions",
        "position_competencies",
        "related_competencies",
        "roll_up_rules",
    }
)


def architecture() -> Architecture:
    """Return the small company's architecture."""
    return Architecture(
        scales=SCALES,
        frameworks=FRAMEWORKS,
        competencies=COMPETENCIES,
        rules=(RollUpRule("CARE/B", RollUp.ALL, RuleOutcome.COMPLETE),),
        related=(RelatedCompetencies("CARE/A1", "CARE/A2"),),
        families=(JobFamily("NUR", "Nursing"),),
        positions=(Position("N1", "Nurse", "NUR", "2"), Position("N2", "Ward manager", "NUR", "4")),
        requirements=(
            Requirement(Target.EVERYONE, "", "CARE/A1", 3),
            Requirement(Target.POSITION, "N1", "CARE/B1", 3),
            Requirement(Target.POSITION, "N2", "LEAD/L1", 2),
        ),
        given=GIVEN,
    )


def desired(changed: Architecture | None = None) -> Desired:
    """Return what an LMS should say of the small company."""
    return Desired(changed or architecture())


def renamed(model: Architecture, key: str, name: str) -> Architecture:
    """Return the architecture with one competency renamed."""
    return replace(
        model, competencies=tuple(replace(one, name=name) if one.key == key else one for one in model.competencies)
    )


def moved(model: Architecture, key: str, parent: str | None) -> Architecture:
    """Return the architecture with one competency under another parent, last among its new siblings."""
    found = next(one for one in model.competencies if one.key == key)
    others = tuple(one for one in model.competencies if one.key != key)
    return replace(model, competencies=(*others, replace(found, parent=parent)))


def without(model: Architecture, key: str) -> Architecture:
    """Return the architecture without one competency, and without whatever speaks of it."""
    return replace(
        model,
        competencies=tuple(one for one in model.competencies if one.key != key),
        rules=tuple(one for one in model.rules if one.competency != key),
        related=tuple(one for one in model.related if key not in (one.first, one.second)),
        requirements=tuple(one for one in model.requirements if one.competency != key),
    )


def with_more(model: Architecture, *more: Competency) -> Architecture:
    """Return the architecture with competencies added at the end."""
    return replace(model, competencies=(*model.competencies, *more))
