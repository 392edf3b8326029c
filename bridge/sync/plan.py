"""The change plan of one site: what would be done, what drifted, what waits. Made once, shown, stored, applied."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.ports import (
    Action,
    Capabilities,
    Change,
    Fields,
    Found,
    Item,
    KindSpec,
    LmsPort,
    Observer,
    Remark,
    SafetyLimit,
    Severity,
    Translation,
    one_item_each,
    read_keys,
)
from bridge.store.encoding import digest, dump
from bridge.store.state import Base
from bridge.sync.diff import PRESENCE, Drift, KindDiff, Sides, diff_kind
from bridge.sync.policy import Limits, Policy, Stance, Touch, touch_of
from bridge.sync.rotation import owner_of, owners_due, standing_for

Object = tuple[str, str]
"""(kind, key)."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which kinds are planned; empty for all."""

    kinds: frozenset[str] = frozenset()
    of_people: bool = True
    """Whether kinds that feeds of people fill are among them."""

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
    again: list[Object] = field(default_factory=list)
    """Objects that the LMS drops on the way, so that they are set once more at the end. Until then they count as gone
    by our doing: a run that is cut off in between must not take their absence for somebody's edit."""
    back: list[Object] = field(default_factory=list)
    """In an undo: objects that are already as they were before the run."""
    seen: dict[Object, str] = field(default_factory=dict)
    """A digest of each touched object's three states, for telling whether it moved since."""
    rules: str = ""
    """A digest of the policy."""
    wanted: str = ""
    """A digest of all that the files want."""
    base_counts: dict[str, int] = field(default_factory=dict)
    """Live objects in the base, by kind: what percentages in limits count from."""
    asked: dict[str, Any] = field(default_factory=dict)
    """What a person asked for beside the settings (a day, kinds, a part of the company), to be asked for again."""
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
    plan = ChangePlan(site, now, remarks=list(translation.remarks), rules=digest_rules(policy))
    plan.wanted = _digest_wanted(translation)
    plan.remarks += _unknown_kinds(capabilities, policy, limits)
    by_kind: dict[str, dict[str, Item]] = {}
    for (kind, key), item in one_item_each(translation.items).items():
        by_kind.setdefault(kind, {})[key] = item
    diffs: dict[str, KindDiff] = {}
    touched: dict[str, set[str]] = {}
    away: dict[Object, str] = {}
    unavailable: set[Object] = set()
    late: set[Object] = set()
    # Of kinds that the LMS cannot show nobody knows what is there: what needs them is sent, and the LMS decides.
    left_out = {spec.kind for spec in capabilities.kinds if spec.readable and not scope.covers(spec.kind)}
    due = _due(capabilities, scope, by_kind, translation, knowledge, now)
    for spec in capabilities.kinds:
        cleared = touched.get(spec.cleared_by, set())
        if not scope.covers(spec.kind) and not cleared:
            continue
        desired, base = by_kind.get(spec.kind, {}), knowledge.base.get(spec.kind, {})
        plan.base_counts[spec.kind] = sum(not one.retired for one in base.values())
        plan.settled_counts[spec.kind] = knowledge.settled.get(spec.kind, 0)
        if not desired and (not base or spec.kind not in translation.complete) and not cleared:
            continue
        actual = _read(port, spec, desired, base, due)
        held = {key for kind, key in knowledge.held if kind == spec.kind}
        pending = {key for kind, key in knowledge.open if kind == spec.kind}
        stranded = {key for key, item in desired.items() if not unavailable.isdisjoint(item.needs)}
        sides = Sides(
            spec,
            desired,
            base,
            actual,
            spec.kind in translation.complete,
            held | pending | stranded,
            translation.speaks_of.get(spec.kind, _anything),
        )
        result = diff_kind(sides, policy) if scope.covers(spec.kind) else KindDiff()
        unavailable |= {(spec.kind, key) for key in result.unavailable | stranded}
        if actual is None:
            plan.remarks.append(_not_checkable(spec))
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
        _note_away(sides, result, held, away)
        result.changes = _without_waiting(spec, result.changes, away, plan.remarks)
        result.changes = _without_unplanned(spec, result.changes, left_out, knowledge, plan.remarks)
        if capabilities.answers_within(spec.kind):
            made = {change.key for change in result.changes if change.action in (Action.CREATE, Action.REVIVE)}
            late |= {(spec.kind, key) for key in made | {key for key in pending if key not in base}}
        elif late:
            result.changes = _without_late(spec, result.changes, late, plan.remarks)
        if cleared:
            changing = {change.key for change in result.changes if change.action is not Action.ADOPT}
            again = set_again(cleared, sides, changing | pending, plan.remarks)
            result.changes += again
            leaving = pending | {change.key for change in result.changes if change.action is Action.REMOVE}
            plan.again += [(spec.kind, key) for key in sorted(cleared - leaving) if key in base]
        if spec.tree:
            touched[spec.kind] = parents_touched(result.changes, base)
        diffs[spec.kind] = result
        for change in result.changes:
            plan.seen[spec.kind, change.key] = _digest_of(sides, change.key)
    _put_in_order(plan, capabilities, diffs)
    _mention(plan, knowledge)
    # A port is asked for what else it offers as any object.
    observer: object = port
    if isinstance(observer, Observer):
        plan.remarks += observer.observed({spec.kind for spec in capabilities.kinds if scope.covers(spec.kind)})
    return plan


def _anything(_key: str) -> bool:
    return True


def _due(
    capabilities: Capabilities,
    scope: Scope,
    by_kind: Mapping[str, Mapping[str, Item]],
    translation: Translation,
    knowledge: Knowledge,
    now: float,
) -> set[str]:
    """Return whose objects are read tonight, over all kinds that are read in turns."""
    due: set[str] = set()
    for spec in capabilities.kinds:
        if spec.rotation > 1 and scope.covers(spec.kind):
            speaks_of = translation.speaks_of.get(spec.kind, _anything)
            removable = speaks_of if spec.kind in translation.complete else _nothing
            desired, base = by_kind.get(spec.kind, {}), knowledge.base.get(spec.kind, {})
            due |= owners_due(spec, desired, base, removable, now)
    return due


def _nothing(_key: str) -> bool:
    return False


def _read(
    port: LmsPort, spec: KindSpec, desired: Mapping[str, Item], base: Mapping[str, Base], due: set[str]
) -> dict[str, Found] | None:
    """Return what the LMS holds of a kind by key; None where it cannot show it."""
    if not spec.readable:
        return None
    if spec.rotation <= 1:
        return {found.key: found for found in port.read(spec.kind)}
    keys = {key for key in (*desired, *base) if owner_of(key) in due}
    actual = standing_for(base, due)
    actual.update((found.key, found) for found in read_keys(port, spec, keys))
    return actual


def _digest_wanted(translation: Translation) -> str:
    """Return a digest of every item, item by item, so that it costs no second copy of them in memory."""
    total = hashlib.sha256(dump(sorted(translation.complete)).encode())
    for item in translation.items:
        total.update(dump([item.kind, item.key, item.fields, item.parent]).encode())
    return total.hexdigest()[:32]


def _unknown_kinds(capabilities: Capabilities, policy: Policy, limits: Limits) -> list[Remark]:
    """Say which rules speak of kinds that there are not: a misspelt limit protects nothing."""
    known = {spec.kind for spec in capabilities.kinds}
    named = dict.fromkeys(name.partition(".")[0] for name in (*policy.by_kind, *sorted(policy.erase), *limits.own))
    kinds = ", ".join(sorted(known))
    return [
        Remark(
            Severity.WARNING,
            kind,
            "",
            f"The rules speak of {kind!r}, a kind that this LMS does not have, so that they do nothing. "
            f"It has: {kinds}. Check the spelling in bridge.toml.",
        )
        for kind in named
        if kind not in known
    ]


def _not_checkable(spec: KindSpec) -> Remark:
    says = f"this LMS does not show its {spec.plural}: whether somebody edited them there is not checkable."
    return Remark(Severity.NOTE, spec.kind, "", says)


def _note_away(sides: Sides, result: KindDiff, held: Iterable[str], away: dict[Object, str]) -> None:
    """Note which desired objects are not in the LMS and will not be made, with the reason."""
    kind = sides.spec.kind
    for key in held:
        found = (sides.actual or {}).get(key)
        if sides.actual is not None and key in sides.desired and (found is None or found.retired):
            away[kind, key] = "is held as undone"
    for drift in result.drifts:
        if drift.field == PRESENCE and drift.actual is False and drift.stance is not Stance.ENFORCE:
            away[kind, drift.key] = "was taken away in the LMS, which the rules leave so"


def _without_waiting(
    spec: KindSpec, changes: list[Change], away: dict[Object, str], remarks: list[Remark]
) -> list[Change]:
    """Leave out what would hang on an object that is not there, and say what waits for what."""
    waiting: set[int] = set()
    for change in parents_first(changes) if away else ():
        if change.action not in (Action.CREATE, Action.REVIVE, Action.MOVE):
            continue
        missing = next((need for need in change.needs if need in away), None)
        if missing is None:
            continue
        waiting.add(id(change))
        says = f"{spec.singular} {change.key} waits: it needs {missing[0]} {missing[1]}, which {away[missing]}."
        remarks.append(Remark(Severity.WAITS, spec.kind, change.key, says))
        if change.action is not Action.MOVE:
            away[spec.kind, change.key] = f"waits for {missing[0]} {missing[1]}"
    return [change for change in changes if id(change) not in waiting]


def _without_late(spec: KindSpec, changes: list[Change], late: set[Object], remarks: list[Remark]) -> list[Change]:
    """Leave out, in a kind that is answered at once, what needs an object that the LMS makes only later."""
    kept: list[Change] = []
    needed: Counter[str] = Counter()
    for change in parents_first(changes):
        missing = next((need for need in change.needs if need in late), None)
        if missing is None or change.action in (Action.ADOPT, Action.REMOVE):
            kept.append(change)
            continue
        needed[missing[0]] += 1
        if change.action in (Action.CREATE, Action.REVIVE):
            late.add((spec.kind, change.key))
    for kind, count in needed.items():
        says = (
            f"{count:,} {spec.plural} wait for a {kind} that the LMS has not made yet: they are sent once it has told "
            "of it."
        )
        remarks.append(Remark(Severity.WAITS, spec.kind, "", says))
    return kept


def _without_unplanned(
    spec: KindSpec, changes: list[Change], left_out: Collection[str], knowledge: Knowledge, remarks: list[Remark]
) -> list[Change]:
    """Leave out what needs an object that was never written and whose kind is left out of this plan."""
    missing: dict[str, int] = {}
    kept: list[Change] = []
    for change in changes:
        lacks = None
        if change.action in (Action.CREATE, Action.REVIVE):
            lacks = next((kind for kind, key in change.needs if _is_unplanned(kind, key, left_out, knowledge)), None)
        if lacks is None:
            kept.append(change)
        else:
            missing[lacks] = missing.get(lacks, 0) + 1
    for kind, count in missing.items():
        says = (
            f"{count:,} {spec.plural} wait: they need objects of the kind {kind} that were not pushed yet, and this "
            f"plan leaves that kind out. Push it first (--kind {kind}), or push without --kind."
        )
        remarks.append(Remark(Severity.WAITS, spec.kind, "", says))
    return kept


def _is_unplanned(kind: str, key: str, left_out: Collection[str], knowledge: Knowledge) -> bool:
    if kind not in left_out:
        return False
    known = knowledge.base.get(kind, {}).get(key)
    return known is None or known.retired


def _without_removals(changes: list[Change]) -> tuple[list[Change], int]:
    kept = [change for change in changes if change.action is not Action.REMOVE]
    return kept, len(changes) - len(kept)


def parents_touched(changes: Iterable[Change], base: Mapping[str, Base]) -> set[str]:
    """Return the parents whose children are made, moved or removed."""
    parents: set[str] = set()
    for change in changes:
        if change.action in (Action.CREATE, Action.MOVE, Action.REVIVE, Action.REMOVE):
            parents.update(key for key in (change.parent, change.old_parent) if key)
            if change.key in base and (parent := base[change.key].parent):
                parents.add(parent)
    return parents


def set_again(parents: Iterable[str], sides: Sides, changing: set[str], remarks: list[Remark]) -> list[Change]:
    """Return updates for objects that the LMS will have dropped by the time this kind's turn comes.

    What somebody edited and the rules respect is put back as they had it. What is not the bridge's is only named.
    """
    again: list[Change] = []
    for key in sorted(set(parents) - changing):
        item, base, found = sides.desired.get(key), sides.base.get(key), (sides.actual or {}).get(key)
        if sides.actual is None and item is not None and base is not None and not base.retired:
            held: Fields = base.fields
            lms_id, detail = base.lms_id, {}
        elif found is not None:
            held, lms_id, detail = found.fields, found.lms_id, dict(found.detail)
        else:
            continue
        if item is None and base is None:
            says = (
                f"The LMS drops the {sides.spec.singular} that somebody set on {key} when what is under it changes. "
                "It is not in the files: set it again by hand after the push."
            )
            remarks.append(Remark(Severity.WARNING, sides.spec.kind, key, says))
            continue
        again.append(
            Change(
                sides.spec.kind,
                key,
                Action.UPDATE,
                dict(held),
                dict(held),
                (),
                lms_id,
                group="" if item is None else item.group,
                needs=() if item is None else item.needs,
                detail=detail,
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
    """Makings in the order of kinds with parents first, then removals in reverse, then what the LMS cleared.

    What the LMS would clear and is to go anyway goes first, while it is still there: only what was removed knowingly
    is in the journal, and can be undone.
    """
    first: list[Change] = []
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
        if spec.cleared_by:
            first += unmaking
        else:
            removals[:0] = unmaking
    plan.changes = first + plan.changes + removals + afterwards


def parents_first(changes: Sequence[Change], *, by_old: bool = False) -> list[Change]:
    """Return a tree's changes with every parent before its children, otherwise in the given order.

    `by_old` goes by where the objects hang now instead of where they will hang.
    """
    parent_of = {change.key: (change.old_parent if by_old else change.parent) for change in changes}
    if not by_old:
        parent_of.update({change.key: change.parent for change in changes if change.action in _PLACING})

    def depth(key: str) -> int:
        steps, at = 0, parent_of.get(key)
        while at in parent_of and steps <= len(parent_of):
            steps, at = steps + 1, parent_of[at]
        return steps

    return _siblings_in_turn(sorted(changes, key=lambda change: depth(change.key)))


_PLACING = (Action.CREATE, Action.MOVE, Action.REVIVE)


def _siblings_in_turn(changes: Sequence[Change]) -> list[Change]:
    """Return changes so that whatever is put behind a sibling comes after what puts that sibling in its place."""
    placing = {
        (change.parent, change.key): change for change in changes if change.ordered and change.action in _PLACING
    }
    done: set[int] = set()
    result: list[Change] = []
    for change in changes:
        chain: list[Change] = []
        at: Change | None = change
        while at is not None and id(at) not in done:
            done.add(id(at))
            chain.append(at)
            goes_behind = at.ordered and at.action in _PLACING and at.previous is not None
            at = placing.get((at.parent, at.previous or "")) if goes_behind else None
        result += reversed(chain)
    return result


def _mention(plan: ChangePlan, knowledge: Knowledge) -> None:
    """Say what the plan leaves alone."""
    for (kind, key), reason in knowledge.held.items():
        plan.remarks.append(
            Remark(Severity.NOTE, kind, key, f"held: {reason}. Release it to let pushes touch it again.")
        )
    for (kind, key), reason in knowledge.open.items():
        plan.remarks.append(Remark(Severity.WAITS, kind, key, f"not planned again while {reason}."))


def digest_rules(policy: Policy) -> str:
    """Return a digest of the rules that shape a plan.

    Limits are not among them: they do not change what a plan says, and hold at the moment it is pushed. So a reviewed
    plan that a limit stops can be pushed with that limit raised, without planning and reviewing it once more.
    """
    return digest(
        policy.default.value,
        {name: stance.value for name, stance in policy.by_kind.items()},
        sorted(policy.erase),
    )


def check_limits(plan: ChangePlan, capabilities: Capabilities, limits: Limits) -> None:
    """Raise SafetyLimit where the plan touches more than allowed, naming every limit it breaks."""
    touched: Counter[tuple[str, str]] = Counter()
    for change in plan.changes:
        touch = touch_of(change, capabilities.spec(change.kind))
        if touch is not None:
            touched[change.kind, touch.value] += 1
    broken: list[str] = []
    for spec in capabilities.kinds:
        for touch in Touch:
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
