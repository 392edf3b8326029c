"""Writing Moodle's own CSV of a competency framework: what *Competency frameworks → Import* reads.

One file is one framework: a row for the framework itself and one a competency. The facts were observed on Moodle 4.5.6
(``tool_lpimportcsv``): columns count by position; a scale is found, or made, by its labels; rules refer to competencies
by the exported id; and the importer compares parents as PHP compares strings, by number where both look like numbers.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from pathlib import Path

from bridge.model import Architecture, Competency, Framework, RollUp, RollUpRule, RuleOutcome, Scale
from bridge.ports import FixConfiguration, Remark, Severity

HEADINGS = (
    "Parent ID number",
    "ID number",
    "Short name",
    "Description",
    "Description format",
    "Scale values",
    "Scale configuration",
    "Rule type (optional)",
    "Rule outcome (optional)",
    "Rule config (optional)",
    "Cross-referenced competency ID numbers",
    "Exported ID (optional)",
    "Is framework",
    "Taxonomy",
)
"""The headings in English. A file without the last column is read too."""


class At(IntEnum):
    """Where each column stands."""

    PARENT = 0
    IDNUMBER = 1
    NAME = 2
    DESCRIPTION = 3
    FORMAT = 4
    SCALE = 5
    CONFIGURATION = 6
    RULE = 7
    OUTCOME = 8
    RULE_CONFIG = 9
    RELATED = 10
    EXPORT_ID = 11
    IS_FRAMEWORK = 12
    TAXONOMY = 13


HTML = "1"
"""The description format in which every text is written; the formats 0, 2 and 4 are read as they stand."""

_TAXONOMIES = "competency,competency,competency,competency"
ALL_RULE = "core_competency\\competency_rule_all"
POINTS_RULE = "core_competency\\competency_rule_points"
OUTCOMES: Mapping[RuleOutcome, int] = {
    RuleOutcome.NONE: 0,
    RuleOutcome.EVIDENCE: 1,
    RuleOutcome.COMPLETE: 2,
    RuleOutcome.RECOMMEND: 3,
}
_NUMERIC = re.compile(r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")
"""What PHP takes for a number when it compares two strings."""

LONGEST_NAME = 100
"""Characters of a short name or idnumber that the importer keeps."""


def write_framework_csv(architecture: Architecture, framework: str, path: Path) -> tuple[Remark, ...]:
    """Write one framework of an architecture as a file for Moodle's importer; return what it will not keep as it is.

    Raises FixConfiguration where the importer would lose or mix up competencies without saying so.
    """
    own = next((one for one in architecture.frameworks if one.key == framework), None)
    if own is None:
        there = ", ".join(one.key for one in architecture.frameworks) or "none"
        raise FixConfiguration(f"There is no framework “{framework}” to write; there are: {there}.")
    scales = {scale.key: scale for scale in architecture.scales}
    competencies = _in_sibling_order([one for one in architecture.competencies if one.framework == framework])
    _refuse_what_gets_lost(competencies)
    remarks: list[Remark] = []
    numbers = {one.key: number for number, one in enumerate(competencies, 1)}
    rules = {rule.competency: rule for rule in architecture.rules if rule.competency in numbers}
    related = _related_idnumbers(architecture, competencies)
    rows = [_framework_row(own, scales, remarks)]
    for one in competencies:
        row = [""] * len(HEADINGS)
        row[At.PARENT] = "" if one.parent is None else one.parent.removeprefix(f"{framework}/")
        row[At.IDNUMBER], row[At.NAME] = one.idnumber, _name("competency", one.key, one.name, remarks)
        row[At.DESCRIPTION] = _description("competency", one.key, one.description, remarks)
        row[At.FORMAT] = HTML
        if one.scale is not None:
            row[At.SCALE], row[At.CONFIGURATION] = (
                scale_values(scales[one.scale]),
                scale_configuration(scales[one.scale]),
            )
        row[At.RULE], row[At.OUTCOME], row[At.RULE_CONFIG] = _rule_cells(rules.get(one.key), numbers)
        row[At.RELATED] = ",".join(other.replace(",", "%2C") for other in related.get(one.key, ()))
        row[At.EXPORT_ID] = str(numbers[one.key])
        rows.append(row)
    path.write_text(_php_text(rows), encoding="utf-8", newline="\n")
    return tuple(remarks)


def scale_file(architecture: Architecture, path: Path, missing: Collection[str] | None = None) -> tuple[str, ...]:
    """Write a small framework file whose import makes the scales an LMS lacks; return the keys of those it makes.

    Moodle has no web service that makes a scale, but its framework importer makes each one it does not know, under
    the name “Competency scale: NAME”. The framework that comes with it can be deleted afterwards; the scales stay.
    `missing` are the keys of the scales wanted, all of the architecture's where it is None. Raises FixConfiguration
    where Moodle could not hold one of them.
    """
    wanted = [scale for scale in architecture.scales if missing is None or scale.key in missing]
    if not wanted:
        raise FixConfiguration("There is no scale to write: the architecture has none of those that are missing.")
    remarks: list[Remark] = []
    scales = {scale.key: scale for scale in wanted}
    key = f"scales-{'-'.join(re.sub(r'[^A-Za-z0-9]+', '', scale.key) for scale in wanted)}"[:LONGEST_NAME]
    text = "Made only so that its import creates scales. It can be deleted; the scales stay."
    rows = [_framework_row(Framework(key, wanted[0].name, wanted[0].key, text), scales, remarks)]
    for number, scale in enumerate(wanted[1:], 1):
        row = [""] * len(HEADINGS)
        row[At.IDNUMBER], row[At.NAME], row[At.FORMAT] = f"scale-{number}", scale.name, HTML
        row[At.SCALE], row[At.CONFIGURATION] = scale_values(scale), scale_configuration(scale)
        row[At.OUTCOME], row[At.RULE_CONFIG], row[At.EXPORT_ID] = "0", "null", str(number)
        rows.append(row)
    path.write_text(_php_text(rows), encoding="utf-8", newline="\n")
    return tuple(scales)


def scale_values(scale: Scale) -> str:
    """Return a scale's labels as Moodle joins them. Raises FixConfiguration for one that it would split."""
    for item in scale.items:
        if "," in item.label or item.label != item.label.strip():
            raise FixConfiguration(
                f"Moodle cannot hold the label “{item.label}” of the scale {scale.key}: it separates labels by commas "
                "and drops spaces around them. Change it in competency_scales."
            )
    return ",".join(item.label for item in scale.items)


def scale_configuration(scale: Scale) -> str:
    """Return which values count as proficient and which is the default, as the importer expects it.

    The first entry names the scale by an id, which the importer replaces by that of the scale it finds or makes.
    """
    entries: list[dict[str, object]] = [{"scaleid": "0"}]
    entries += [
        {"id": item.value, "scaledefault": int(item.default), "proficient": int(item.proficient)}
        for item in scale.items
    ]
    return json.dumps(entries, separators=(",", ":"))


def _framework_row(framework: Framework, scales: Mapping[str, Scale], remarks: list[Remark]) -> list[str]:
    """Return the row of the framework itself."""
    _refuse_backslashes(framework.key, "idnumber", framework.key)
    row = [""] * len(HEADINGS)
    row[At.IDNUMBER] = framework.key
    row[At.NAME] = _name("framework", framework.key, framework.name, remarks)
    row[At.DESCRIPTION] = _description("framework", framework.key, framework.description, remarks)
    row[At.FORMAT] = HTML
    scale = scales[framework.scale]
    row[At.SCALE], row[At.CONFIGURATION] = scale_values(scale), scale_configuration(scale)
    row[At.IS_FRAMEWORK], row[At.TAXONOMY] = "1", _TAXONOMIES
    return row


def _in_sibling_order(competencies: list[Competency]) -> list[Competency]:
    """Return competencies so that siblings stand in their order, which is that of the rows; else as they are."""
    last: dict[str | None, int] = {}
    for one in competencies:
        if one.order < last.get(one.parent, -1):
            return sorted(competencies, key=lambda each: each.order)
        last[one.parent] = one.order
    return competencies


def _refuse_what_gets_lost(competencies: Sequence[Competency]) -> None:
    """Raise FixConfiguration for idnumbers that the importer would drop or take for each other."""
    parents = {one.parent for one in competencies}
    numeric: dict[float, Competency] = {}
    for one in competencies:
        _refuse_backslashes(one.key, "idnumber", one.idnumber)
        if one.idnumber == "0" or one.name == "0":
            raise FixConfiguration(f"Moodle's importer drops “{one.key}” for the 0 it consists of. Name it otherwise.")
        if not _NUMERIC.fullmatch(one.idnumber):
            continue
        other = numeric.setdefault(float(one.idnumber), one)
        if other is not one and (one.key in parents or other.key in parents):
            raise FixConfiguration(
                f"Moodle's importer takes the parents “{other.idnumber}” and “{one.idnumber}” for the same number. "
                "Change one of the idnumbers, or push the framework through the web services, which keep them apart."
            )


def _refuse_backslashes(key: str, what: str, text: str) -> None:
    """Raise FixConfiguration for a name or idnumber that would make the importer swallow what follows it."""
    if '\\"' in text or text.endswith("\\"):
        raise FixConfiguration(
            f"The {what} of “{key}” has a backslash before a quote or at its end, after which Moodle's importer "
            "misreads the file. Take the backslash out."
        )


def _name(kind: str, key: str, name: str, remarks: list[Remark]) -> str:
    """Return a name; one that the importer cuts is remarked upon."""
    _refuse_backslashes(key, "name", name)
    if len(name) > LONGEST_NAME:
        says = f"The importer cuts the name, which has {len(name)} characters, to {LONGEST_NAME} with “...” at its end."
        remarks.append(Remark(Severity.NOTE, kind, key, says))
    return name


def _description(kind: str, key: str, text: str, remarks: list[Remark]) -> str:
    """Return a description in which no backslash stands where the importer would misread the file."""
    safe = re.sub(r'\\(?=\\*("|$))', "&#92;", text.replace("\r\n", "\n").replace("\r", "\n"))
    if safe.count("&#92;") > text.count("&#92;"):
        says = "A backslash before a quote or at the end is written &#92;, which shows as a backslash."
        remarks.append(Remark(Severity.NOTE, kind, key, says))
    return safe


def _related_idnumbers(architecture: Architecture, competencies: Sequence[Competency]) -> dict[str, list[str]]:
    """Return the idnumbers related to each competency, at both ends, as the exporter does."""
    idnumbers = {one.key: one.idnumber for one in competencies}
    found: dict[str, list[str]] = {}
    for pair in architecture.related:
        if pair.first in idnumbers and pair.second in idnumbers:
            found.setdefault(pair.first, []).append(idnumbers[pair.second])
            found.setdefault(pair.second, []).append(idnumbers[pair.first])
    for others in found.values():
        for other in others:
            if "%2C" in other:
                raise FixConfiguration(f"Moodle's importer misreads “{other}”: it takes %2C for a comma. Change it.")
    return found


def _rule_cells(rule: RollUpRule | None, numbers: Mapping[str, int]) -> tuple[str, str, str]:
    """Return class, outcome and configuration of a rule."""
    if rule is None:
        return "", "0", "null"
    outcome = str(OUTCOMES[rule.outcome])
    if rule.kind is RollUp.ALL:
        return ALL_RULE, outcome, "null"
    config = {
        "base": {"points": rule.required_points},
        "competencies": [
            {"id": numbers[child.competency], "points": child.points, "required": int(child.required)}
            for child in rule.children
        ],
    }
    return POINTS_RULE, outcome, json.dumps(config, separators=(",", ":"))


def _php_text(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV; nothing in them needs PHP's way of quoting, since backslashes before quotes are gone."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADINGS)
    writer.writerows(rows)
    return stream.getvalue()
