"""The change plan of one site: what would be done, what drifted, what waits. Made once, shown, stored, applied."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.ports import (
    Action,
    Capabilities,
    Change,
    FixConfiguration,
    Found,
    Item,
    LmsPort,
    Remark,
    SafetyLimit,
    Severity,
    Translation,
    one_item_each,
)
from bridge.store.encoding import as_value, change_from_json, change_to_json, digest
from bridge.store.state import Base
from bridge.sync.diff import Drift, KindDiff, Sides, diff_kind
from bridge.sync.policy import TOUCH_OF, Limits, Policy, Stance, Touch

FORMAT = 1
"""Version of the stored plan's form."""

Object = tuple[str, str]
"""(kind, key)."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which kinds are planned; empty for all."""

    kinds: frozenset[str] = frozenset()

    def covers(self, kind: str) -> bool:
        """Tell whether a kind is planned."""
        return not self.kinds or kind in self.kinds


@dataclass(slots=True)
class ChangePlan:
    """What would be done to one site, in the order of doing it."""

    site: str
    made_at: float
    changes: list[Change] = field(default_factory=list)
    drifts: list[Drift] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    converged: list[Base] = field(default_factory=list)
    forgotten: list[Object] = field(default_factory=list)
    seen: dict[Object, str] = field(default_factory=dict)
    """A digest of each touched object's three states, for telling whether it moved since."""
    rules: str = ""
    """A digest of the policy and the limits."""
    base_counts: dict[str, int] = field(default_factory=dict)
    """Live objects in the base, by kind: what percentages in limits count from."""
    settled_counts: dict[str, int] = field(default_factory=dict)
    """Those of them that runs left which got to their end: what the percentages on creating count from."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many changes there are, by kind and action."""
        found: dict[str, Counter[str]] = {}
        for change in self.changes:
            found.setdefault(change.kind, Counter())[change.action.value] += 1
        return {kind: dict(sorted(counter.items())) for kind, counter in found.items()}

    @property
    def empty(self) -> bool:
        """Whether a push would do nothing, not even adopt."""
        return not self.changes


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the store knows of a site when a plan is made."""

    base: Mapping[str, Mapping[str, Base]]
    held: Mapping[Object, str] = field(default_factory=dict)
    """Objects that an undo or a person keeps pushes away from, with the reason."""
    settled: Mapping[str, int] = field(default_factory=dict)
    """Live objects left by runs that got to their end, by kind."""
    open: Mapping[Object, str] = field(default_factory=dict)
    """Objects whose last change has not been answered yet, with what is waited for."""


def make_plan(
    site: str,
    port: LmsPort,
    capabilities: Capabilities,
    translation: Translation,
    knowledge: Knowledge,
    policy: Policy,
    limits: Limits,
    now: float,
    *,
    scope: Scope = Scope(),
    unverified: bool = False,
) -> ChangePlan:
    """Read the LMS and compare it with what is wanted and what was last applied.

    `unverified` allows removals in kinds that the LMS cannot show. Raises what reading raises.
    """
    plan = ChangePlan(site, now, remarks=list(translation.remarks), rules=digest_rules(policy, limits))
    by_kind: dict[str, dict[str, Item]] = {}
    for (kind, key), item in one_item_each(translation.items).items():
        by_kind.setdefault(kind, {})[key] = item
    diffs: dict[str, KindDiff] = {}
    touched: dict[str, set[str]] = {}
    for spec in capabilities.kinds:
        if not scope.covers(spec.kind):
            continue
        desired, base = by_kind.get(spec.kind, {}), knowledge.base.get(spec.kind, {})
        plan.base_counts[spec.kind] = sum(not one.retired for one in base.values())
        plan.settled_counts[spec.kind] = knowledge.settled.get(spec.kind, 0)
        if not desired and not base:
            continue
        actual = {found.key: found for found in port.read(spec.kind)} if spec.readable else None
        untouchable = {key for kind, key in (*knowledge.held, *knowledge.open) if kind == spec.kind}
        sides = Sides(spec, desired, base, actual, spec.kind in translation.complete, untouchable)
        result = diff_kind(sides, policy)
        if actual is None and not unverified:
            result.changes, left = _without_removals(result.changes)
            if left:
                plan.remarks.append(
                    Remark(
                        Severity.WAITS,
                        spec.kind,
                        "",
                        f"{left:,} {spec.plural} would be removed, but this LMS cannot show them, so nobody can check. "
                        "Look at them in the LMS, then push with --unverified.",
                    )
                )
        if spec.cleared_by:
            parents = touched.get(spec.cleared_by, set())
            result.changes += _set_again(parents, sides, {change.key for change in result.changes})
        if spec.tree:
            touched[spec.kind] = _parents_touched(result.changes, base)
        diffs[spec.kind] = result
        for change in result.changes:
            plan.seen[spec.kind, change.key] = _digest_of(sides, change.key)
    _put_in_order(plan, capabilities, diffs)
    _mention(plan, knowledge)
    return plan


def _without_removals(changes: list[Change]) -> tuple[list[Change], int]:
    kept = [change for change in changes if change.action is not Action.REMOVE]
    return kept, len(changes) - len(kept)


def _parents_touched(changes: Iterable[Change], base: Mapping[str, Base]) -> set[str]:
    """Return the parents whose children are made, moved or removed."""
    parents: set[str] = set()
    for change in changes:
        if change.action in (Action.CREATE, Action.MOVE, Action.REVIVE, Action.REMOVE):
            parents.update(key for key in (change.parent, change.old_parent) if key)
            if change.key in base and (parent := base[change.key].parent):
                parents.add(parent)
    return parents


def _set_again(parents: Iterable[str], sides: Sides, changing: set[str]) -> list[Change]:
    """Return updates for objects that the LMS will have dropped by the time this kind's turn comes."""
    again: list[Change] = []
    for key in sorted(set(parents)):
        item = sides.desired.get(key)
        found = (sides.actual or {}).get(key)
        if item is None or found is None or key in changing or key in sides.untouchable:
            continue
        again.append(
            Change(
                sides.spec.kind,
                key,
                Action.UPDATE,
                dict(found.fields),
                dict(item.fields),
                (),
                found.lms_id,
                group=item.group,
                needs=item.needs,
                detail=found.detail,
            )
        )
    return again


def _digest_of(sides: Sides, key: str) -> str:
    item, base = sides.desired.get(key), sides.base.get(key)
    found: Found | None = (sides.actual or {}).get(key)
    return digest(
        None if item is None else [dict(item.fields), item.parent],
        None if base is None else [dict(base.fields), base.parent, base.retired],
        None if found is None else [dict(found.fields), found.parent, found.retired, found.lms_id],
    )


def _put_in_order(plan: ChangePlan, capabilities: Capabilities, diffs: Mapping[str, KindDiff]) -> None:
    """Makings in the order of kinds with parents first, then removals in reverse, then what the LMS cleared."""
    removals: list[Change] = []
    afterwards: list[Change] = []
    for spec in capabilities.kinds:
        diff = diffs.get(spec.kind)
        if diff is None:
            continue
        plan.drifts += diff.drifts
        plan.remarks += diff.remarks
        plan.converged += diff.converged
        plan.forgotten += diff.forgotten
        making = [change for change in diff.changes if change.action is not Action.REMOVE]
        unmaking = [change for change in diff.changes if change.action is Action.REMOVE]
        if spec.tree:
            making = parents_first(making)
            unmaking = parents_first(unmaking, by_old=True)[::-1]
        (afterwards if spec.cleared_by else plan.changes).extend(making)
        removals[:0] = unmaking
    plan.changes += removals + afterwards


def parents_first(changes: Sequence[Change], *, by_old: bool = False) -> list[Change]:
    """Return a tree's changes with every parent before its children, otherwise in the given order.

    `by_old` goes by where the objects hang now instead of where they will hang.
    """
    parent_of = {change.key: (change.old_parent if by_old else change.parent) for change in changes}

    def depth(key: str) -> int:
        steps, at = 0, parent_of.get(key)
        while at in parent_of and steps <= len(parent_of):
            steps, at = steps + 1, parent_of[at]
        return steps

    return sorted(changes, key=lambda change: depth(change.key))


def _mention(plan: ChangePlan, knowledge: Knowledge) -> None:
    """Say what the plan leaves alone."""
    for (kind, key), reason in knowledge.held.items():
        plan.remarks.append(
            Remark(Severity.NOTE, kind, key, f"held: {reason}. Release it to let pushes touch it again.")
        )
    for (kind, key), reason in knowledge.open.items():
        plan.remarks.append(Remark(Severity.WAITS, kind, key, f"not planned again while {reason}."))


def digest_rules(policy: Policy, limits: Limits) -> str:
    """Return a digest of the rules a plan was made under."""
    return digest(
        policy.default.value,
        {name: stance.value for name, stance in policy.by_kind.items()},
        sorted(policy.erase),
        {name: [limit.number, limit.percent, limit.small] for name, limit in limits.own.items()},
        limits.initial,
    )


def check_limits(plan: ChangePlan, capabilities: Capabilities, limits: Limits) -> None:
    """Raise SafetyLimit where the plan touches more than allowed, naming every limit it breaks."""
    touched: Counter[tuple[str, str]] = Counter()
    for change in plan.changes:
        touch = TOUCH_OF.get(change.action)
        if touch is not None:
            touched[change.kind, touch.value] += 1
    broken: list[str] = []
    for spec in capabilities.kinds:
        for touch in dict.fromkeys(TOUCH_OF.values()):
            count = touched[spec.kind, touch.value]
            limit = limits.limit(spec, touch)
            if count == 0 or limit is None:
                continue
            counts = plan.settled_counts if touch is Touch.CREATE else plan.base_counts
            over = limit.exceeded_by(count, counts.get(spec.kind, 0))
            if over:
                lift = " A first load is let through by --initial." if touch.value == "create" else ""
                once = f"To allow it once: --limit {spec.kind}.{touch.value}={count}"
                broken.append(f"{touch.value} {spec.plural}: {over}.{lift} {once}")
    if broken:
        raise SafetyLimit(
            "Nothing was sent, because this touches more than the limits allow. "
            "Look at the plan; if it is right, raise the limit.\n  " + "\n  ".join(broken)
        )


# --- Stored plans ---------------------------------------------------------------------------------------------------


def plan_to_json(plan: ChangePlan) -> dict[str, Any]:
    """Return a plan as a JSON object: what `plan --out` writes and `--json` prints."""
    return {
        "format": FORMAT,
        "site": plan.site,
        "made_at": plan.made_at,
        "rules": plan.rules,
        "counts": plan.counts(),
        "base_counts": plan.base_counts,
        "changes": [change_to_json(change) for change in plan.changes],
        "drift": [
            {
                "kind": one.kind,
                "key": one.key,
                "field": one.field,
                "applied": one.applied,
                "actual": one.actual,
                "stance": one.stance.value,
            }
            for one in plan.drifts
        ],
        "remarks": [
            {"severity": one.severity.value, "kind": one.kind, "key": one.key, "says": one.says} for one in plan.remarks
        ],
        "seen": [[kind, key, seen] for (kind, key), seen in plan.seen.items()],
    }


def plan_from_json(text: str) -> ChangePlan:
    """Return the plan that a file holds. Raises FixConfiguration where it holds none that this program can read."""
    try:
        plain = json.loads(text)
        if plain["format"] != FORMAT:
            raise FixConfiguration(
                f"The plan is in form {plain['format']}, this program reads form {FORMAT}: plan again."
            )
        return ChangePlan(
            site=plain["site"],
            made_at=plain["made_at"],
            changes=[change_from_json(change) for change in plain["changes"]],
            drifts=[
                Drift(
                    one["kind"],
                    one["key"],
                    one["field"],
                    as_value(one["applied"]),
                    as_value(one["actual"]),
                    Stance(one["stance"]),
                )
                for one in plain["drift"]
            ],
            remarks=[
                Remark(Severity(one["severity"]), one["kind"], one["key"], one["says"]) for one in plain["remarks"]
            ],
            seen={(kind, key): seen for kind, key, seen in plain["seen"]},
            rules=plain["rules"],
            base_counts=plain["base_counts"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FixConfiguration(
            f"This is not a plan that `lms-bridge plan --out` wrote ({error}): make it again."
        ) from error


def reviewed(stored: ChangePlan, fresh: ChangePlan) -> ChangePlan:
    """Return the fresh plan cut down to exactly what was reviewed.

    Raises SafetyLimit where the rules, the site or any object of the reviewed plan moved since, naming them.
    """
    if stored.site != fresh.site:
        raise SafetyLimit(f"The plan was made for site {stored.site}, not {fresh.site}. Nothing was sent.")
    if stored.rules != fresh.rules:
        raise SafetyLimit("The rules (policy or limits) changed since the plan was made. Nothing was sent: plan again.")
    moved = [f"{kind} {key}" for (kind, key), seen in stored.seen.items() if fresh.seen.get((kind, key)) != seen]
    wanted = [_essence(change) for change in stored.changes]
    kept = [change for change in fresh.changes if (change.kind, change.key) in stored.seen]
    if moved or sorted(wanted) != sorted(_essence(change) for change in kept):
        named = ", ".join(moved[:10]) + (f" and {len(moved) - 10:,} more" if len(moved) > 10 else "")
        raise SafetyLimit(
            "Since the plan was made, the files or the LMS moved"
            + (f": {named}" if named else "")
            + ". Nothing was sent: plan again and review that."
        )
    objects = set(stored.seen)
    return replace(fresh, changes=kept, converged=[], forgotten=[], seen={one: fresh.seen[one] for one in objects})


def _essence(change: Change) -> str:
    return digest(change.kind, change.key, change.action.value, change.after and dict(change.after), change.parent)
