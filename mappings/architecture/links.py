"""Rows to what hangs on competencies: level descriptors, related competencies, course links."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.model import CourseLink, LevelDescriptor, RelatedCompetencies, RuleOutcome
from bridge.rows import Row, same_when_folded
from mappings.architecture.cells import LONGEST_KEY, Findings, outcome, text
from mappings.architecture.competencies import CompetencyIndex
from mappings.architecture.scales import level_on


def read_descriptors(rows: Iterable[Row], index: CompetencyIndex, findings: Findings) -> tuple[LevelDescriptor, ...]:
    """Return the level descriptors."""
    found: dict[tuple[str, int], LevelDescriptor] = {}
    lines: dict[tuple[str, int], int] = {}
    for row in findings.sound(rows):
        competency = index.find(row, "competency", findings)
        level = None if competency is None else level_on(row, "level", index.scale_of(competency), findings)
        words = text(row, "text")
        if not words:
            message = "The level has no text that describes it."
            findings.fault(row, "text", "text-empty", message, "Write the text, or take the row out.")
        if competency is None or level is None or not words:
            continue
        if (competency, level) in found:
            message = f"Level {level} of “{competency}” is described already, on line {lines[competency, level]}."
            findings.fault(row, "level", "duplicate", message, "Keep one of the two rows.")
            continue
        lines[competency, level] = row.line
        found[competency, level] = LevelDescriptor(competency, level, words)
    return tuple(found.values())


def read_related(rows: Iterable[Row], index: CompetencyIndex, findings: Findings) -> tuple[RelatedCompetencies, ...]:
    """Return the pairs of related competencies, each once whichever way round it is written."""
    found: dict[frozenset[str], RelatedCompetencies] = {}
    lines: dict[frozenset[str], int] = {}
    for row in findings.sound(rows):
        first = index.find(row, "competency", findings)
        second = index.find(row, "related", findings)
        if first is None or second is None:
            continue
        if first == second:
            message = "The competency is related to itself."
            findings.fault(row, "related", "related-itself", message, "Name another one, or take the row out.")
            continue
        frameworks = index.framework_of(first), index.framework_of(second)
        if frameworks[0] != frameworks[1]:
            message = f"“{first}” and “{second}” are in different frameworks, across which an LMS relates nothing."
            remedy = "Relate competencies of one framework, or take the row out."
            findings.fault(row, "related", "related-across", message, remedy)
            continue
        pair = frozenset((first, second))
        if pair in found:
            message = f"These two are related already, on line {lines[pair]}; the order says nothing."
            findings.fault(row, "related", "duplicate", message, "Keep one of the two rows.")
            continue
        lines[pair] = row.line
        found[pair] = RelatedCompetencies(first, second)
    return tuple(found.values())


def read_course_links(rows: Iterable[Row], index: CompetencyIndex, findings: Findings) -> tuple[CourseLink, ...]:
    """Return the links between courses and competencies. Whether a course exists only the LMS knows."""
    found: dict[tuple[str, str], CourseLink] = {}
    lines: dict[tuple[str, str], int] = {}
    for row in findings.sound(rows):
        course = text(row, "course")
        competency = index.find(row, "competency", findings)
        met = outcome(row, "outcome", RuleOutcome.EVIDENCE, findings)
        if not course:
            message = "The row names no course."
            findings.fault(row, "course", "course-missing", message, "Write the course's ID number or short name.")
        elif len(course) > LONGEST_KEY + 155:
            message = f"No course has an ID number or short name of {len(course)} characters."
            findings.fault(row, "course", "key-too-long", message, "Write the course's ID number or short name.")
            course = ""
        if not course or competency is None or met is None:
            continue
        pair = (same_when_folded(course), competency)
        if pair in found:
            message = f"The course is linked to “{competency}” already, on line {lines[pair]}."
            findings.fault(row, "competency", "duplicate", message, "Keep one of the two rows.")
            continue
        lines[pair] = row.line
        found[pair] = CourseLink(course, competency, met)
    return tuple(found.values())
