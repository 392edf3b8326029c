"""The three-way comparison of one kind: base (last applied), desired (files and feeds) and actual (the LMS now). Pure.

Desired against base is our change; actual against base is drift, somebody's edit in the LMS.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from bridge.ports import Action, Change, Fields, Found, Item, KindSpec, Remark, Removal, Severity, Value
from bridge.store.encoding import dump
from bridge.store.state import Base
from bridge.sync.order import explains, out_of_line, predecessors
from bridge.sync.policy import Policy, Stance

PARENT = "parent"
ORDER = "order"
PRESENCE = "presence"
"""Names of what can differ beside the fields: where an object hangs, its place among siblings, that it is there."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One field of one object that somebody changed in the LMS, and what is done about it."""

    kind: str
    key: str
    field: str
    applied: Value
    actual: Value
    stance: Stance


@dataclass(slots=True)
class KindDiff:
    """What comparing one kind gives."""

    changes: list[Change] = field(default_factory=list)
    drifts: list[Drift] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    converged: list[Base] = field(default_factory=list)
    """Objects on which LMS and files agree though the base does not know yet: only the base moves."""
    forgotten: list[tuple[str, str]] = field(default_factory=list)
    """Objects gone on both sides: only the base drops them."""
    unavailable: set[str] = field(default_factory=set)
    """Desired objects that are held, or are not there and are not to be made: what needs them is left alone too."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The three states of one kind. `actual` is None where the LMS cannot be read for it."""

    spec: KindSpec
    desired: Mapping[str, Item]
    base: Mapping[str, Base]
    actual: Mapping[str, Found] | None
    complete: bool
    """Whether desired is all there should be: only then does something missing from it mean removal."""
    untouchable: Collection[str] = ()
    """Keys that are held, or whose last change is still open: neither changed nor called drift."""
    speaks_of: Callable[[str], bool] = lambda _key: True
    """Whether something missing from desired is spoken of: if not, its absence means nothing."""


def diff_kind(sides: Sides, policy: Policy) -> KindDiff:
    """Compare one kind and return the changes that make it as desired, in the order of the files."""
    result = KindDiff()
    placing = _Placing(sides, policy, result)
    for key, item in sides.desired.items():
        if key in sides.untouchable:
            continue
        base = sides.base.get(key)
        if sides.actual is None:
            _compare_unseen(sides, item, base, placing, result)
            continue
        found = sides.actual.get(key)
        if found is not None and found.held:
            result.unavailable.add(key)
            result.remarks.append(Remark(Severity.HELD, item.kind, key, found.held))
        elif (found is None and not item.make) or (found is not None and found.replaced):
            result.unavailable.add(key)
            if base is not None:
                result.forgotten.append((item.kind, key))
        else:
            _compare(sides, policy, item, base, found, placing, result)
    if sides.complete:
        for key, base in sides.base.items():
            if key not in sides.desired and key not in sides.untouchable and sides.speaks_of(key):
                _compare_removed(sides, policy, base, placing, result)
    result.changes += placing.reorders()
    result.converged += placing.agreed.values()
    return result


def _compare_unseen(sides: Sides, item: Item, base: Base | None, placing: _Placing, result: KindDiff) -> None:
    """The LMS cannot be read: what was applied last has to stand for it."""
    if base is None or base.retired:
        if item.make:
            result.changes.append(placing.created(item))
        else:
            result.unavailable.add(item.key)
        return
    changed = _differing(item.fields, base.fields)
    if changed:
        result.changes.append(_update(sides.spec, item, base.fields, changed, base.lms_id, {}))
    if sides.spec.tree and item.parent != base.parent:
        result.changes.append(placing.moved(item, base.fields, base.parent, base.lms_id, {}, drift=False))


def _compare(
    sides: Sides,
    policy: Policy,
    item: Item,
    base: Base | None,
    found: Found | None,
    placing: _Placing,
    result: KindDiff,
) -> None:
    spec = sides.spec
    live = base is not None and not base.retired
    if found is None:
        if not live or _wanted_back(sides, policy, item.key, result):
            result.changes.append(replace(placing.created(item), drift=live))
        return
    if found.retired and live and not _wanted_back(sides, policy, item.key, result):
        return
    actual = _only(found.fields, item.fields)
    changes: list[Change] = []
    hangs = found.parent
    if found.retired:
        changes.append(placing.revived(item, found))
    elif spec.tree and found.parent != item.parent:
        ours = base is None or base.retired or item.parent != base.parent
        drifted = base is None or found.parent != base.parent
        hung = None if base is None else base.parent
        if _write(policy, spec.kind, item.key, PARENT, ours, drifted, hung, found.parent, result):
            changes.append(placing.moved(item, actual, found.parent, found.lms_id, found.detail, drift=drifted))
        else:
            hangs = item.parent
    known: Fields = {} if base is None else base.fields
    differing = _differing(item.fields, found.fields)
    changed, drifted_any = [], False
    for name in differing:
        applied = known.get(name)
        ours = base is None or dump(item.fields[name]) != dump(applied)
        drifted = base is None or dump(found.fields.get(name)) != dump(applied)
        if _write(policy, spec.kind, item.key, name, ours, drifted, applied, found.fields.get(name), result):
            changed.append(name)
            drifted_any = drifted_any or drifted
    if changed:
        changes.append(replace(_update(spec, item, actual, changed, found.lms_id, found.detail), drift=drifted_any))
    if base is None:
        # What is left as somebody has it counts as applied the files' way: so it stays drift, and stays respected.
        left = {name: item.fields[name] for name in differing if name not in changed}
        changes.insert(0, _adoption(item, found, {**actual, **left}, hangs, placing.place.get(item.key, 0)))
    elif not found.retired:
        placing.agree(base, item, found, differing)
    result.changes += changes


def _adoption(item: Item, found: Found, after: Fields, hangs: str | None, place: int) -> Change:
    """Return the change that takes over what is there."""
    return Change(
        item.kind,
        item.key,
        Action.ADOPT,
        _only(found.fields, item.fields),
        after,
        lms_id=found.lms_id,
        parent=hangs,
        place=place,
        group=item.group,
        detail=found.detail,
    )


def _write(
    policy: Policy,
    kind: str,
    key: str,
    name: str,
    ours: bool,
    drifted: bool,
    applied: Value,
    actual: Value,
    result: KindDiff,
) -> bool:
    """Decide whether a difference is written, and note the drift in it.

    Where both sides changed since the base, the stance decides: only `enforce` overwrites somebody's edit.
    """
    if not drifted:
        return ours
    stance = policy.stance(kind, name)
    result.drifts.append(Drift(kind, key, name, applied, actual, stance))
    return stance is Stance.ENFORCE


def _wanted_back(sides: Sides, policy: Policy, key: str, result: KindDiff) -> bool:
    """Somebody retired or deleted by hand what the files still want: note it, and tell whether it is put back."""
    stance = policy.stance(sides.spec.kind, PRESENCE)
    result.drifts.append(Drift(sides.spec.kind, key, PRESENCE, True, False, stance))
    return stance is Stance.ENFORCE


def _compare_removed(sides: Sides, policy: Policy, base: Base, placing: _Placing, result: KindDiff) -> None:
    """The files no longer name an object that the bridge made or adopted."""
    spec = sides.spec
    drifted = False
    if sides.actual is None:
        if base.retired:
            return
        before, lms_id, parent, detail = base.fields, base.lms_id, base.parent, {}
        previous = None
    else:
        found = sides.actual.get(base.key)
        if found is None:
            result.forgotten.append((base.kind, base.key))
            return
        if found.held:
            result.remarks.append(Remark(Severity.HELD, spec.kind, base.key, found.held))
            return
        if found.retired:
            if not base.retired:
                result.converged.append(replace(base, retired=True))
            return
        if base.retired:
            # Taken out of the LMS by us, brought back there by somebody.
            drifted = True
            stance = policy.stance(spec.kind, PRESENCE)
            result.drifts.append(Drift(spec.kind, base.key, PRESENCE, False, True, stance))
            if stance is not Stance.ENFORCE:
                return
        before, lms_id, parent, detail = found.fields, found.lms_id, found.parent, dict(found.detail)
        previous = placing.stands.get(base.key)
    if spec.removal is Removal.KEEP:
        result.remarks.append(
            Remark(
                Severity.NOTE,
                spec.kind,
                base.key,
                f"{spec.singular} {base.key} is no longer in the files; it stays in the LMS, as the rules say.",
            )
        )
        return
    result.changes.append(
        Change(
            spec.kind,
            base.key,
            Action.REMOVE,
            before,
            None,
            lms_id=lms_id,
            old_parent=parent,
            old_previous=previous,
            detail=detail,
            drift=drifted,
            erase=spec.kind in policy.erase,
        )
    )


def _line(sides: Sides) -> dict[str, str | None]:
    """Return who follows whom in the LMS now."""
    if sides.actual is None or not sides.spec.ordered:
        return {}
    lines: dict[str | None, list[Found]] = {}
    for found in sides.actual.values():
        lines.setdefault(found.parent, []).append(found)
    result: dict[str, str | None] = {}
    for siblings in lines.values():
        result.update(predecessors([one.key for one in sorted(siblings, key=lambda one: one.order)]))
    return result


class _Placing:
    """Where objects hang and stand: fills in who follows whom, and finds siblings that are out of line."""

    def __init__(self, sides: Sides, policy: Policy, result: KindDiff) -> None:
        self.sides = sides
        self.policy = policy
        self.result = result
        self.wanted: dict[str | None, list[str]] = {}
        self.before: dict[str, str | None] = {}
        self.place: dict[str, int] = {}
        self.stands = _line(sides)
        self.agreed: dict[str, Base] = {}
        """Bases that only have to learn what files and LMS agree on already."""
        if sides.spec.ordered:
            for item in sides.desired.values():
                self.wanted.setdefault(item.parent, []).append(item.key)
            for siblings in self.wanted.values():
                # Nothing can stand behind a sibling that will not be there.
                self.before.update(predecessors([key for key in siblings if not self._stays_away(key)]))
                self.place.update((key, index) for index, key in enumerate(siblings))

    def _stays_away(self, key: str) -> bool:
        """Tell whether a desired object will not be under its parent even after this plan."""
        sides, item, base = self.sides, self.sides.desired[key], self.sides.base.get(key)
        if sides.actual is None:
            return False
        found = sides.actual.get(key)
        if found is not None and not found.retired and found.parent == item.parent:
            return False
        if key in sides.untouchable:
            return True
        if found is None or found.retired:
            somebodys = base is not None and not base.retired
            return somebodys and self.policy.stance(item.kind, PRESENCE) is not Stance.ENFORCE
        somebodys = base is None or found.parent != base.parent
        return somebodys and self.policy.stance(item.kind, PARENT) is not Stance.ENFORCE

    def agree(self, base: Base, item: Item, found: Found, differing: Iterable[str]) -> None:
        """Let the base learn every single thing on which files and LMS agree, whatever else is still different."""
        apart = set(differing)
        fields = {name: base.fields.get(name) if name in apart else value for name, value in item.fields.items()}
        fields = {name: value for name, value in fields.items() if name not in apart or name in base.fields}
        parent = item.parent if not self.sides.spec.tree or found.parent == item.parent else base.parent
        learnt = replace(base, fields=fields, parent=parent, lms_id=found.lms_id, retired=False)
        if replace(learnt, fields={}) != replace(base, fields={}) or dump(fields) != dump(dict(base.fields)):
            self.agreed[item.key] = learnt

    def created(self, item: Item) -> Change:
        """Return the change that makes an item at its place."""
        spec = self.sides.spec
        return Change(
            spec.kind,
            item.key,
            Action.CREATE,
            None,
            {**item.initial, **item.fields},
            (*item.initial, *item.fields),
            parent=item.parent,
            previous=self.before.get(item.key),
            ordered=spec.ordered,
            place=self.place.get(item.key, 0),
            group=item.group,
            needs=item.needs,
            initial=tuple(item.initial),
        )

    def moved(
        self, item: Item, before: Fields, parent: str | None, lms_id: str | None, detail: Fields, *, drift: bool
    ) -> Change:
        """Return the change that hangs an object under another parent, or at another place."""
        return Change(
            self.sides.spec.kind,
            item.key,
            Action.MOVE,
            before,
            before,
            (PARENT,) if parent != item.parent else (ORDER,),
            lms_id,
            item.parent,
            parent,
            self.before.get(item.key),
            self.stands.get(item.key),
            self.sides.spec.ordered,
            self.place.get(item.key, 0),
            item.group,
            item.needs,
            drift,
            detail,
        )

    def revived(self, item: Item, found: Found) -> Change:
        """Return the change that brings a retired object back."""
        actual = _only(found.fields, item.fields)
        return replace(
            self.moved(item, actual, found.parent, found.lms_id, found.detail, drift=False),
            action=Action.REVIVE,
            fields=(PRESENCE,),
            old_previous=None,
        )

    def reorders(self) -> list[Change]:
        """Return moves for siblings that stay under their parent but out of line.

        Whose doing it is: ours where the files changed the order, and the LMS has the one last applied (or one on the
        way from it to the files', left by a run that was cut off); otherwise somebody moved them in the LMS.
        """
        sides = self.sides
        if not sides.spec.ordered or sides.actual is None:
            return []
        changes: list[Change] = []
        for parent, siblings in self.wanted.items():
            here = [sides.actual[key] for key in siblings if key in sides.actual]
            staying = [one for one in here if one.parent == parent and not one.retired]
            line = [one.key for one in sorted(staying, key=lambda one: one.order)]
            astray = out_of_line(line, siblings)
            if not astray:
                self._learn_places(line)
                continue
            based = [sides.base[key] for key in line if key in sides.base]
            based = [one for one in based if one.parent == parent and not one.retired]
            applied = [one.key for one in sorted(based, key=lambda one: one.place)]
            drifted = not out_of_line(applied, siblings) or not explains(applied, siblings, line)
            for key in siblings:
                if key not in astray or key in sides.untouchable:
                    continue
                found, item = sides.actual[key], sides.desired[key]
                place = sides.base[key].place if key in sides.base else None
                if _write(self.policy, sides.spec.kind, key, ORDER, True, drifted, place, found.order, self.result):
                    actual = _only(found.fields, item.fields)
                    changes.append(self.moved(item, actual, parent, found.lms_id, found.detail, drift=drifted))
        return changes

    def _learn_places(self, line: Iterable[str]) -> None:
        """Let the bases of siblings that stand in line know their places."""
        for key in line:
            base = self.agreed.get(key, self.sides.base.get(key))
            if base is not None and key not in self.sides.untouchable and base.place != self.place[key]:
                self.agreed[key] = replace(base, place=self.place[key])


def _update(
    spec: KindSpec, item: Item, before: Fields, changed: Iterable[str], lms_id: str | None, detail: Fields
) -> Change:
    return Change(
        spec.kind,
        item.key,
        Action.UPDATE,
        before,
        {**before, **{name: item.fields[name] for name in changed}},
        tuple(changed),
        lms_id,
        item.parent,
        item.parent,
        group=item.group,
        needs=item.needs,
        detail=detail,
    )


def _differing(desired: Fields, actual: Fields) -> list[str]:
    """Return the names of desired fields that say something else in actual."""
    return [name for name, value in desired.items() if name not in actual or dump(value) != dump(actual[name])]


def _only(fields: Fields, names: Iterable[str]) -> dict[str, Value]:
    return {name: fields[name] for name in names if name in fields}
