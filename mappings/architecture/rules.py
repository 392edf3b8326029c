"""Rows to roll-up rules: when a competency's children make it complete."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.model import RollUp, RollUpPoints, RollUpRule
from bridge.rows import Row, same_when_folded
from mappings.architecture.cells import Findings, outcome, text, whole_number, yes_or_no
from mappings.architecture.competencies import CompetencyIndex

_KINDS = {
    "all": RollUp.ALL,
    "all children": RollUp.ALL,
    "points": RollUp.POINTS,
    "points required": RollUp.POINTS,
}


def read_rules(rows: Iterable[Row], index: CompetencyIndex, findings: Findings) -> tuple[RollUpRule, ...]:
    """Return the rules; a points rule is made of one row a child."""
    groups: dict[str, list[Row]] = {}
    for row in findings.sound(rows):
        competency = index.find(row, "competency", findings)
        if competency is not None:
            groups.setdefault(competency, []).append(row)
    children: dict[str, list[str]] = {}
    for child in index.competencies.values():
        if child.parent is not None:
            children.setdefault(child.parent, []).append(child.key)
    rules = (_rule(key, group, children.get(key, []), index, findings) for key, group in groups.items())
    return tuple(rule for rule in rules if rule is not None)


def _rule(
    competency: str, rows: list[Row], children: list[str], index: CompetencyIndex, findings: Findings
) -> RollUpRule | None:
    """Return the rule that a competency's rows make; None, with a fault, where they make none."""
    first = rows[0]
    kind = _kind(first, findings)
    met = outcome(first, "outcome", None, findings)
    disagreeing = [row for row in rows[1:] if not _agrees(row, first, findings)]
    if competency in index.competencies and not children:
        message = f"“{competency}” has no competencies below it, so no rule can count them."
        findings.fault(first, "competency", "rule-childless", message, "Take the rule out, or correct the key.")
        return None
    if kind is None or met is None or disagreeing:
        return None
    if kind is RollUp.ALL:
        return _all_rule(competency, rows, findings, RollUpRule(competency, kind, met))
    good, needed = whole_number(first, "required_points", findings, least=1)
    counted = _counted_children(competency, rows, children, index, findings)
    if counted is None or not good or needed is None:
        return None
    total = sum(child.points for child in counted)
    if needed > total:
        message = f"{needed} points are required, but all children together are worth {total}."
        remedy = "Require fewer points, or give the children more."
        findings.fault(first, "required_points", "rule-out-of-reach", message, remedy)
        return None
    return RollUpRule(competency, kind, met, needed, counted)


def _kind(row: Row, findings: Findings) -> RollUp | None:
    kind = _KINDS.get(same_when_folded(text(row, "rule")))
    if kind is None:
        message = "This is no way to count children."
        findings.fault(row, "rule", "rule-kind", message, "Write all (every child counts) or points.")
    return kind


def _agrees(row: Row, first: Row, findings: Findings) -> bool:
    """Return whether a later row of a rule says the same as its first row, or nothing, about the rule as a whole."""
    agree = True
    for column in ("rule", "outcome", "required_points"):
        value = text(row, column)
        if value and same_when_folded(value) != same_when_folded(text(first, column)):
            message = f"The rule says “{text(first, column)}” on line {first.line} and “{value}” here."
            remedy = "Write the same on every row of a rule, or only on its first."
            findings.fault(row, column, "rule-disagrees", message, remedy)
            agree = False
    return agree


def _all_rule(competency: str, rows: list[Row], findings: Findings, rule: RollUpRule) -> RollUpRule | None:
    """Return a rule that counts every child, provided that its row names none and there is only one."""
    if len(rows) > 1:
        message = f"“{competency}” has its rule already on line {rows[0].line}."
        findings.fault(rows[1], "competency", "duplicate", message, "A rule over all children takes one row.")
        return None
    for column in ("child", "points", "required_points"):
        if text(rows[0], column):
            message = "A rule over all children names no child and counts no points."
            findings.fault(rows[0], column, "rule-all", message, "Empty the cell, or write points as the rule.")
            return None
    return rule


def _counted_children(
    competency: str, rows: list[Row], children: list[str], index: CompetencyIndex, findings: Findings
) -> tuple[RollUpPoints, ...] | None:
    """Return what each child named is worth; None, with a fault, where one of the rows does not say."""
    counted: dict[str, RollUpPoints] = {}
    whole = True
    for row in rows:
        child = index.find(row, "child", findings)
        good, points = whole_number(row, "points", findings)
        required = yes_or_no(row, "required", findings)
        if child is None or not good or points is None or required is None:
            whole = False
        elif child in counted:
            message = f"“{child}” is counted twice."
            findings.fault(row, "child", "duplicate", message, "Keep one row for each child.")
            whole = False
        elif child not in children:
            if child in index.competencies:
                message = f"“{child}” is not right below “{competency}”."
                remedy = "Name a competency whose parent is the one that the rule is for."
                findings.fault(row, "child", "rule-child", message, remedy)
            whole = False
        else:
            counted[child] = RollUpPoints(child, points, required)
    return tuple(counted.values()) if whole else None
