"""Rows of the scales file to scales, and the reading of levels on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.model import Scale, ScaleItem
from bridge.rows import Row, same_when_folded
from mappings.architecture.cells import Findings, Keys, close_to, key, name, text, whole_number, yes_or_no


def read_scales(rows: Iterable[Row], findings: Findings) -> dict[str, Scale]:
    """Return the scales by key. A scale with a fault is there too, with the values that could be read."""
    groups: dict[str, list[Row]] = {}
    keys = Keys("scale")
    for row in findings.sound(rows):
        scale = key(row, "scale", findings)
        if scale is None:
            continue
        if scale not in groups and not keys.add(scale, row, "scale", findings):
            continue
        groups.setdefault(scale, []).append(row)
    return {scale: _scale(scale, group, findings) for scale, group in groups.items()}


def _scale(scale: str, rows: list[Row], findings: Findings) -> Scale:
    """Return one scale from the rows of its values."""
    scale_name = name(rows[0], "name", "scale", findings) or scale
    items: dict[int, ScaleItem] = {}
    labels = Keys("label of this scale")
    whole = True
    for row in rows:
        other = text(row, "name")
        if other and other != scale_name:
            message = f"The scale {scale} is called “{scale_name}” on line {rows[0].line} and otherwise here."
            findings.fault(row, "name", "scale-name", message, "Write the same name on every row of a scale.")
        good, value = whole_number(row, "value", findings, least=1)
        label = name(row, "label", "value", findings)
        proficient = yes_or_no(row, "proficient", findings)
        default = yes_or_no(row, "default", findings)
        if not good or value is None or label is None or proficient is None or default is None:
            whole = False
            continue
        if not labels.add(label, row, "label", findings):
            whole = False
            continue
        if value in items:
            message = f"The scale {scale} has the value {value} twice."
            findings.fault(row, "value", "duplicate", message, "Number the values 1, 2, 3 and so on, each once.")
            whole = False
            continue
        if "," in label:
            message = "The label contains a comma, at which some LMSs (Moodle is one) would split it in two."
            findings.remark(row, "label", "comma-in-label", message, "Word it without a comma.")
        items[value] = ScaleItem(value, label, proficient, default)
    ordered = tuple(items[value] for value in sorted(items))
    if whole:
        _check_whole(scale, ordered, rows, findings)
    return Scale(scale, scale_name, ordered)


def _check_whole(scale: str, items: tuple[ScaleItem, ...], rows: list[Row], findings: Findings) -> None:
    """Check what only shows when all values of a scale are at hand."""
    last = rows[-1]
    values = [item.value for item in items]
    if values != list(range(1, len(values) + 1)):
        missing = ", ".join(str(n) for n in range(1, max(values)) if n not in values)
        message = f"The values of the scale {scale} leave out {missing}."
        findings.fault(last, "value", "scale-gap", message, "Number the values 1, 2, 3 and so on, from the lowest up.")
        return
    if len(items) < 2:
        message = f"The scale {scale} has only one value, so it cannot tell anything apart."
        findings.fault(last, "value", "scale-short", message, "Give it at least two values.")
    proficient = [item.proficient for item in items]
    if not any(proficient):
        message = f"No value of the scale {scale} counts as proficient."
        remedy = "Write 1 in the column for every value that counts as having the competency."
        findings.fault(last, "proficient", "scale-proficient", message, remedy)
    elif not all(proficient[proficient.index(True) :]):
        gap = items[proficient.index(False, proficient.index(True))]
        row = next(row for row in rows if text(row, "value").startswith(str(gap.value)))
        message = f"A lower value of the scale {scale} counts as proficient, but “{gap.label}” does not."
        remedy = "Write 1 for the lowest value that counts as proficient and for every value above it."
        findings.fault(row, "proficient", "scale-proficient", message, remedy)
    defaults = [item for item in items if item.default]
    if len(defaults) != 1:
        said = "no value" if not defaults else f"{len(defaults)} values"
        message = f"The scale {scale} has {said} marked as the one given by default."
        remedy = "Write 1 in the column for exactly one value: the one given when a course completes a competency."
        findings.fault(last, "default", "scale-default", message, remedy)


def known_scale(row: Row, column: str, scales: Mapping[str, Scale], findings: Findings) -> str | None:
    """Return the key of the scale that a cell names; None, with a fault, where there is none of that key."""
    scale = text(row, column)
    if not scale:
        message = "The framework has no scale, so no level of its competencies means anything."
        findings.fault(row, column, "scale-missing", message, "Write the key of a scale of competency_scales.")
        return None
    if scale not in scales:
        message = f"There is no scale “{scale}”.{close_to(scale, scales)}"
        remedy = "Correct the key, or add the scale's rows to competency_scales."
        findings.fault(row, column, "scale-unknown", message, remedy)
        return None
    return scale


def level_on(row: Row, column: str, scale: Scale | None, findings: Findings) -> int | None:
    """Return the value of a scale that a cell names, by number or by label; None, with a fault, where it is outside.

    With no scale (its absence has been reported) any number passes.
    """
    value = text(row, column)
    if scale is not None and value:
        folded = same_when_folded(value)
        for item in scale.items:
            if same_when_folded(item.label) == folded:
                return item.value
    if scale is not None and value and not value[0].isdigit():
        choice = ", ".join(f"{item.value} ({item.label})" for item in scale.items)
        message = f"“{value}” is no value of the scale {scale.key}."
        findings.fault(row, column, "level-outside", message, f"Write one of {choice}.")
        return None
    good, number = whole_number(row, column, findings, least=0)
    if not good or number is None:
        return None
    if scale is not None and number not in {item.value for item in scale.items}:
        choice = ", ".join(f"{item.value} ({item.label})" for item in scale.items)
        message = f"The level {number} is outside the scale {scale.key}, which has {len(scale.items)} values."
        findings.fault(row, column, "level-outside", message, f"Write one of {choice}.")
        return None
    return number
