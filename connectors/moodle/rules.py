"""Roll-up rules: when the children of a competency complete it.

A rule is part of its competency in Moodle and is cleared whenever a child is made, deleted or moved
(contracts/moodle-4.5, Behaviour): rules are written after all that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bridge.model import Desired, RollUp, RuleOutcome, competency_key
from bridge.ports import Change, Found, Item, KindSpec, Outcome, Removal, Severity
from connectors.moodle import given
from connectors.moodle.client import Call
from connectors.moodle.directory import Node, Tree
from connectors.moodle.given import speaks_of
from connectors.moodle.kinds import (
    OUTCOME_NAMES,
    OUTCOME_NUMBERS,
    Context,
    Part,
    adopted,
    after,
    not_sent,
    one_by_one,
)

UPDATE = "core_competency_update_competency"

TYPES = {
    RollUp.ALL.value: "core_competency\\competency_rule_all",
    RollUp.POINTS.value: "core_competency\\competency_rule_points",
}
KINDS = {type_: kind for kind, type_ in TYPES.items()}


class Rules:
    """The roll-up rule of each competency that has one."""

    spec = KindSpec("rule", "roll-up rule", "roll-up rules", Removal.UNLINK, relation=True)
    reads: Mapping[str, str] = {}
    writes: Mapping[str, str] = {UPDATE: "roll-up rules cannot be set"}

    def __init__(self, context: Context) -> None:
        self._context = context

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return one item a rule that does something."""
        architecture = desired.architecture
        part = Part(complete=speaks_of(architecture, given.RULES))
        names = {competency.key: competency.name for competency in architecture.competencies}
        parents = {competency.key: competency.parent for competency in architecture.competencies}
        for rule in architecture.rules:
            if rule.outcome is RuleOutcome.NONE:
                part.remark(
                    Severity.NOTE,
                    "rule",
                    rule.competency,
                    "A rule whose outcome is 'none' does nothing; it is not set.",
                )
                continue
            children = [child for child in rule.children if child.competency not in left_out]
            strangers = [child.competency for child in children if parents.get(child.competency) != rule.competency]
            if rule.competency in left_out or len(children) < len(rule.children) or strangers:
                part.complete = False
                part.remark(
                    Severity.WARNING,
                    "rule",
                    rule.competency,
                    "Its competency or one of its children is left out, or is no child of it; the rule is left out too."
                    + (f" Not a child: {', '.join(strangers[:5])}." if strangers else ""),
                )
                continue
            points: tuple[tuple[str, int, bool], ...] = ()
            if rule.kind is RollUp.POINTS:
                points = tuple(sorted((child.competency, child.points, child.required) for child in children))
            part.items.append(
                Item(
                    "rule",
                    rule.competency,
                    {
                        "kind": rule.kind.value,
                        "outcome": rule.outcome.value,
                        "points": rule.required_points if rule.kind is RollUp.POINTS else 0,
                        "children": points,
                    },
                    group=names.get(rule.competency, rule.competency),
                    needs=(
                        ("competency", rule.competency),
                        *(("competency", child.competency) for child in children),
                    ),
                )
            )
        return part

    def read(self) -> Iterator[Found]:
        """Yield the rule of every keyed competency that has one with an outcome."""
        for tree in self._context.directory.read_trees():
            for node, _ in tree.walk():
                if node.idnumber and node.rule_type in KINDS and node.rule_outcome:
                    key = competency_key(tree.key, node.idnumber)
                    yield Found("rule", key, _fields(tree, node), str(node.id), detail={"format": node.format})

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Set rules, one after another."""
        done, changes = adopted(changes)
        yield from done
        keys = {change.key for change in changes}
        keys |= {child[0] for change in changes for child in after(change).get("children", ())}
        ids = self._context.directory.competency_ids(keys)
        pairs: list[tuple[Change, Call]] = []
        for change in changes:
            fields = after(change)
            missing = [key for key in (change.key, *(child[0] for child in fields["children"])) if key not in ids]
            if missing:
                yield not_sent(change, f"It needs {missing[0]!r}, which is not in Moodle (yet).")
                continue
            rule: dict[str, Any] = {
                "id": ids[change.key],
                "ruletype": TYPES[str(fields["kind"])],
                "ruleoutcome": OUTCOME_NUMBERS[RuleOutcome(str(fields["outcome"]))],
            }
            if "format" in change.detail:
                rule["descriptionformat"] = change.detail["format"]
            if fields["kind"] == RollUp.POINTS.value:
                rule["ruleconfig"] = json.dumps(
                    {
                        "base": {"points": fields["points"]},
                        "competencies": [
                            {"id": ids[key], "points": points, "required": int(required)}
                            for key, points, required in fields["children"]
                        ],
                    }
                )
            pairs.append((change, Call(UPDATE, {"competency": rule})))
        yield from one_by_one(self._context.client, pairs)

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Take rules away: without an outcome a rule does nothing."""
        pairs = []
        for change in changes:
            rule: dict[str, Any] = {"id": int(change.lms_id or 0), "ruleoutcome": 0}
            if "format" in change.detail:
                rule["descriptionformat"] = change.detail["format"]
            pairs.append((change, Call(UPDATE, {"competency": rule})))
        yield from one_by_one(self._context.client, pairs)


def _fields(tree: Tree, node: Node) -> dict[str, Any]:
    kind = KINDS[str(node.rule_type)]
    config: Any = {}
    if kind == RollUp.POINTS.value and node.rule_config:
        try:
            config = json.loads(node.rule_config)
        except ValueError:
            config = {}
    entries = config.get("competencies", []) if isinstance(config, dict) else []
    children = []
    for entry in entries:
        child = tree.nodes.get(int(entry.get("id") or 0))
        points = int(entry.get("points") or 0)
        if child is not None and child.idnumber and (points or entry.get("required")):
            children.append((competency_key(tree.key, child.idnumber), points, bool(int(entry.get("required") or 0))))
    base = config.get("base", {}) if isinstance(config, dict) else {}
    return {
        "kind": kind,
        "outcome": OUTCOME_NAMES.get(node.rule_outcome, str(node.rule_outcome)),
        "points": int(base.get("points") or 0) if isinstance(base, dict) else 0,
        "children": tuple(sorted(children)),
    }
