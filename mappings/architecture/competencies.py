"""Rows to frameworks and competencies, and the lookup by which every other file refers to a competency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.model import Competency, Framework, Scale, competency_key
from bridge.rows import Row
from mappings.architecture.cells import Findings, Keys, close_to, key, name, text
from mappings.architecture.scales import known_scale
from mappings.architecture.trees import Branch, sound_branches


def read_frameworks(rows: Iterable[Row], scales: Mapping[str, Scale], findings: Findings) -> dict[str, Framework]:
    """Return the frameworks by key. One with a fault is there too, so that its competencies are not faults as well."""
    frameworks: dict[str, Framework] = {}
    keys = Keys("framework")
    for row in findings.sound(rows):
        framework = key(row, "framework", findings)
        if framework is None or not keys.add(framework, row, "framework", findings):
            continue
        if "/" in framework:
            message = "The key contains a slash, which separates a framework's key from a competency's."
            findings.fault(row, "framework", "slash-in-key", message, "Use another sign, here and in competencies.")
        framework_name = name(row, "name", "framework", findings)
        scale = known_scale(row, "scale", scales, findings)
        frameworks[framework] = Framework(framework, framework_name or framework, scale or "", text(row, "description"))
    return frameworks


class CompetencyIndex:
    """The competencies that files may refer to: by ``FRAMEWORK/idnumber``, or by an idnumber only one of them has.

    It knows every competency that has a row, also those left out for a fault of their own, so that one fault does
    not bring a hundred others.
    """

    def __init__(self, frameworks: Mapping[str, Framework], scales: Mapping[str, Scale]) -> None:
        self._frameworks = frameworks
        self._scales = scales
        self._by_key: dict[str, tuple[str, str | None]] = {}
        self._by_idnumber: dict[str, list[str]] = {}
        self.competencies: dict[str, Competency] = {}

    def declare(self, framework: str, idnumber: str, own_scale: str | None) -> None:
        """Make a competency known."""
        known = competency_key(framework, idnumber)
        self._by_key[known] = (framework, own_scale)
        self._by_idnumber.setdefault(idnumber, []).append(known)

    def find(self, row: Row, column: str, findings: Findings) -> str | None:
        """Return the key of the competency a cell names; None, with a fault, where it names none or several."""
        value = text(row, column)
        if not value:
            message = "The row names no competency."
            remedy = "Write the competency's idnumber, or FRAMEWORK/idnumber."
            findings.fault(row, column, "competency-missing", message, remedy)
            return None
        found = list(self._by_idnumber.get(value, ()))
        if value in self._by_key and value not in found:
            found.append(value)
        if len(found) == 1:
            return found[0]
        if found:
            message = f"“{value}” may be any of {', '.join(found)}."
            findings.fault(row, column, "competency-ambiguous", message, "Write FRAMEWORK/idnumber.")
        else:
            message = f"There is no competency “{value}”.{self._hint(value)}"
            remedy = "Correct it, or add the competency to competencies."
            findings.fault(row, column, "competency-unknown", message, remedy)
        return None

    def scale_of(self, competency: str) -> Scale | None:
        """Return the scale on which a competency is rated; None where its absence has been reported."""
        framework, own = self._by_key[competency]
        if own is not None:
            return self._scales.get(own)
        found = self._frameworks.get(framework)
        return None if found is None else self._scales.get(found.scale)

    def framework_of(self, competency: str) -> str:
        """Return the key of a competency's framework."""
        return self._by_key[competency][0]

    def _hint(self, value: str) -> str:
        return close_to(value, self._by_idnumber) or close_to(value, self._by_key)


def read_competencies(
    rows: Iterable[Row], frameworks: Mapping[str, Framework], scales: Mapping[str, Scale], findings: Findings
) -> CompetencyIndex:
    """Return the index of the competencies; its `competencies` are those without a fault, in the order of the file."""
    index = CompetencyIndex(frameworks, scales)
    branches: dict[str, dict[str, Branch]] = {}
    read: dict[str, tuple[Row, str]] = {}
    keys: dict[str, Keys] = {}
    for row in findings.sound(rows):
        framework = text(row, "framework")
        idnumber = key(row, "idnumber", findings)
        known = _known_framework(row, framework, frameworks, findings)
        shortname = name(row, "shortname", "competency", findings)
        own_scale = known_scale(row, "scale", scales, findings) if text(row, "scale") else None
        if idnumber is None or not keys.setdefault(framework, Keys("competency")).add(
            idnumber, row, "idnumber", findings
        ):
            continue
        index.declare(framework, idnumber, own_scale)
        branches.setdefault(framework, {})[idnumber] = Branch(idnumber, text(row, "parent") or None, row)
        if known and shortname is not None:
            read[competency_key(framework, idnumber)] = (row, shortname)
    elsewhere = {
        idnumber: f"It is in the framework {framework}, and a parent must be in the same framework."
        for framework, nodes in branches.items()
        for idnumber in nodes
    }
    sound = {
        framework: sound_branches(nodes, "competency", findings, elsewhere) for framework, nodes in branches.items()
    }
    siblings: dict[tuple[str, str | None], int] = {}
    for full_key, (row, shortname) in read.items():
        framework, idnumber = text(row, "framework"), text(row, "idnumber")
        branch = sound[framework].get(idnumber)
        if branch is None:
            continue
        order = siblings.setdefault((framework, branch.parent), 0)
        siblings[framework, branch.parent] = order + 1
        index.competencies[full_key] = Competency(
            framework,
            idnumber,
            shortname,
            None if branch.parent is None else competency_key(framework, branch.parent),
            text(row, "description"),
            order,
            text(row, "scale") or None,
        )
    return index


def _known_framework(row: Row, framework: str, frameworks: Mapping[str, Framework], findings: Findings) -> bool:
    """Return whether a competency's framework exists, with a fault where it does not."""
    if framework in frameworks:
        return True
    if framework:
        message = f"There is no framework “{framework}”.{close_to(framework, frameworks)}"
    else:
        message = "The competency belongs to no framework."
    remedy = "Write the key of a framework of competency_frameworks, or add the framework there."
    findings.fault(row, "framework", "framework-unknown", message, remedy)
    return False
