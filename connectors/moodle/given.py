"""Which files an architecture came from: only what a file speaks of can be missing from it."""

from __future__ import annotations

from bridge.model import Architecture

FRAMEWORKS = frozenset({"competency_frameworks", "frameworks"})
COMPETENCIES = frozenset({"competencies"})
RULES = frozenset({"roll_up_rules", "rules"})
RELATED = frozenset({"related_competencies", "related"})
COURSE_LINKS = frozenset({"course_links"})
POSITIONS = frozenset({"positions"})
REQUIREMENTS = frozenset({"requirements", "position_competencies"})


def speaks_of(architecture: Architecture, names: frozenset[str]) -> bool:
    """Say whether one of the files was there."""
    return bool(architecture.given & names)
