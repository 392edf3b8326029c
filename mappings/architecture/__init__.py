"""A job architecture and competency model from the rows of its files: pure functions, all faults reported at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from bridge.faults import Fault
from bridge.model import Architecture, Target
from bridge.rows import Row
from mappings.architecture.cells import Findings
from mappings.architecture.columns import FILES, FileSpec
from mappings.architecture.competencies import read_competencies, read_frameworks
from mappings.architecture.links import read_course_links, read_descriptors, read_related
from mappings.architecture.positions import read_families, read_organisations, read_positions
from mappings.architecture.requirements import read_position_competencies, read_requirements
from mappings.architecture.rules import read_rules
from mappings.architecture.scales import read_scales

__all__ = ["FILES", "BuiltArchitecture", "FileSpec", "build_architecture"]


@dataclass(frozen=True, slots=True)
class BuiltArchitecture:
    """An architecture and what was wrong with its rows. With any fault, it is what was sound, and not to be used."""

    architecture: Architecture
    faults: tuple[Fault, ...]
    remarks: tuple[Fault, ...]


_LISTED_IN: Mapping[str, str] = {
    "scale-unknown": "competency_scales",
    "framework-unknown": "competency_frameworks",
    "competency-unknown": "competencies",
    "family-unknown": "job_families",
    "position-unknown": "positions",
    "level-unknown": "positions",
    "organisation-unknown": "organisations",
}
"""Which file should list what a rule about unknown keys is about."""


def build_architecture(
    tables: Mapping[str, Iterable[Row]], unreadable: frozenset[str] = frozenset()
) -> BuiltArchitecture:
    """Build an architecture from rows by base name of their file (see FILES). A name that is there was given.

    Faults and remarks come in the order of FILES, and within a file in the order of its lines. Keys that a file
    lacks are not held against the rows that name them where that file is `unreadable`; where it is not there at all,
    one fault for each file that needs it says so.
    """
    findings = Findings()

    def rows(name: str) -> Iterable[Row]:
        return tables.get(name, ())

    scales = read_scales(rows("competency_scales"), findings)
    frameworks = read_frameworks(rows("competency_frameworks"), scales, findings)
    index = read_competencies(rows("competencies"), frameworks, scales, findings)
    descriptors = read_descriptors(rows("level_descriptors"), index, findings)
    rules = read_rules(rows("roll_up_rules"), index, findings)
    related = read_related(rows("related_competencies"), index, findings)
    course_links = read_course_links(rows("course_links"), index, findings)
    families, family_keys = read_families(rows("job_families"), findings)
    positions, position_keys, levels = read_positions(rows("positions"), family_keys, findings)
    organisations, organisation_keys = read_organisations(rows("organisations"), findings)
    of_positions = read_position_competencies(rows("position_competencies"), index, position_keys, findings)
    known = {
        Target.ORGANISATION: organisation_keys,
        Target.FAMILY: family_keys,
        Target.LEVEL: levels,
        Target.POSITION: position_keys,
    }
    of_others = read_requirements(rows("requirements"), index, known, findings)
    architecture = Architecture(
        tuple(scales.values()),
        tuple(frameworks.values()),
        tuple(index.competencies.values()),
        descriptors,
        rules,
        related,
        course_links,
        families,
        positions,
        organisations,
        of_positions + of_others,
        frozenset(tables),
    )
    return BuiltArchitecture(
        architecture, in_order(_explained(findings.faults, tables, unreadable)), in_order(findings.remarks)
    )


def _explained(
    faults: Iterable[Fault], tables: Mapping[str, Iterable[Row]], unreadable: frozenset[str]
) -> Iterator[Fault]:
    """Return faults without those that only follow from a file that could not be read or is not there."""
    without_file: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        listed_in = _LISTED_IN.get(fault.rule)
        if listed_in is None or (listed_in in tables and listed_in not in unreadable):
            yield fault
        elif listed_in not in tables:
            without_file.setdefault((fault.file, listed_in), []).append(fault)
    for (_, listed_in), group in without_file.items():
        first = min(group, key=lambda fault: fault.line or 0)
        rows = "One row refers" if len(group) == 1 else f"{len(group):,} rows refer"
        message = f"{rows} to {listed_in}, of which there is no file; this is the first."
        yield replace(first, rule="file-needed", message=message, remedy=f"Put {listed_in}.csv into the folder.")


def in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Return faults by file, in the order in which the files first appear, and then by line."""
    kept = list(faults)
    files: dict[str, int] = {}
    for fault in kept:
        files.setdefault(fault.file, len(files))
    return tuple(sorted(kept, key=lambda fault: (files[fault.file], fault.line or 0)))
