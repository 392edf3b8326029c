"""Undoing a run: the inverse of what it applied, as a plan like any other, on objects that did not move since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from bridge.ports import (
    Action,
    Capabilities,
    Change,
    FixConfiguration,
    Found,
    KindSpec,
    LmsPort,
    Remark,
    Removal,
    Severity,
    guarded,
    read_keys,
)
from bridge.store import Store, journal, state
from bridge.store.encoding import digest, dump
from bridge.store.journal import Entry
from bridge.store.state import Base
from bridge.sync.apply import Applier
from bridge.sync.clock import Clock
from bridge.sync.diff import ORDER, Sides
from bridge.sync.plan import ChangePlan, Object, check_limits, digest_rules, parents_first, parents_touched, set_again
from bridge.sync.push import WATCHING, PushReport, Watching, carry_out
from bridge.sync.recover import settle_open
from bridge.sync.running import Rules, running


def plan_undo(
    site: str,
    port: LmsPort,
    capabilities: Capabilities,
    store: Store,
    run_id: int,
    rules: Rules,
    clock: Clock,
    *,
    open_objects: Mapping[Object, str] | None = None,
) -> ChangePlan:
    """Return the plan that takes a run back, with what cannot come back named in its remarks.

    `open_objects` are those still waiting for the LMS; without it the journal tells. Raises FixConfiguration where
    there is no such run of the site, or it did nothing that could be undone.
    """
    with store.read() as connection:
        run = journal.find_run(connection, run_id)
        if run is None or run.site != site:
            raise FixConfiguration(
                f"Site {site} has no run {run_id}. `lms-bridge runs` lists those it has; what ran longer ago than "
                "`runs` under [retention] says is no longer recorded, and cannot be undone."
            )
        if run.verb not in ("push", "undo"):
            raise FixConfiguration(
                f"Run {run_id} was a {run.verb}: it wrote nothing to the LMS, so there is nothing to undo."
            )
        applied = list(journal.entries(connection, run_id, ("applied",)))
        unsettled = list(journal.entries(connection, run_id, journal.OPEN))
        counts = state.base_counts(connection, site)
        begun = {at for at, reason in state.load_holds(connection, site).items() if reason == _reason(run_id)}
        bases = state.load_some(connection, site, {(one.change.kind, one.change.key): None for one in applied})
        if open_objects is None:
            open_objects = {
                (entry.change.kind, entry.change.key): f"what run {entry.run_id} sent is not settled"
                for entry in journal.open_entries(connection, site)
            }
    if not applied:
        raise FixConfiguration(
            f"Nothing of run {run_id} has been answered by the LMS yet. Undo it when it has."
            if unsettled
            else f"Run {run_id} changed nothing, so there is nothing to undo."
        )
    plan = ChangePlan(site, clock.now(), rules=digest_rules(rules.policy), base_counts=counts)
    kinds = dict.fromkeys(entry.change.kind for entry in applied if entry.change.action is not Action.ADOPT)
    touched: dict[str, set[str]] = {}
    for entry in applied:
        touched.setdefault(entry.change.kind, set()).add(entry.change.key)
    # Elsewhere all of a kind is read: the siblings of what is put back matter, and whatever hangs under it.
    actual: dict[Object, Found] = {
        (kind, found.key): found
        for kind in kinds
        if capabilities.spec(kind).readable
        for found in (
            read_keys(port, capabilities.spec(kind), touched[kind])
            if capabilities.spec(kind).by_key
            else port.read(kind)
        )
    }
    for entry in unsettled:
        says = (
            f"{entry.change.key} is not undone: its change has not been answered yet. Undo the run again when it has."
        )
        plan.remarks.append(Remark(Severity.WAITS, entry.change.kind, entry.change.key, says))
    backwards: list[Change] = []
    lines = siblings_of(actual.values())
    for entry in reversed(applied):
        at = (entry.change.kind, entry.change.key)
        if at in open_objects:
            says = f"{entry.change.key} is not undone while {open_objects[at]}."
            plan.remarks.append(Remark(Severity.WAITS, entry.change.kind, entry.change.key, says))
            continue
        _take_back(plan, capabilities, entry, actual.get(at), lines, backwards, begun=at in begun)
    backwards = _without_inhabited(plan, capabilities, backwards, actual.values())
    for spec in capabilities.kinds:
        if spec.retired_to and any(one.kind == spec.kind and one.action is Action.REVIVE for one in backwards):
            says = f"{spec.retired_to} stays, even where nothing is left under it."
            plan.remarks.append(Remark(Severity.NOTE, spec.kind, "", says[:1].upper() + says[1:]))
    for spec in capabilities.kinds:
        if spec.cleared_by:
            backwards += _set_again(plan, port, spec, store, backwards)
    _put_in_order(plan, capabilities, backwards)
    plan.converged += _old_places(plan.changes, bases, lines)
    for change in plan.changes:
        found = actual.get((change.kind, change.key))
        plan.seen[change.kind, change.key] = digest(None if found is None else [dict(found.fields), found.parent])
    return plan


def _without_inhabited(
    plan: ChangePlan, capabilities: Capabilities, changes: Iterable[Change], found: Iterable[Found]
) -> list[Change]:
    """Leave out deletions of what somebody has put something under since, and name them."""
    kept = list(changes)
    under: dict[Object, set[str]] = {}
    for one in found:
        if one.parent is not None and capabilities.spec(one.kind).tree:
            under.setdefault((one.kind, one.parent), set()).add(one.key)
    for change in kept:
        if change.action is Action.REMOVE or change.parent != change.old_parent:
            under.get((change.kind, change.old_parent or ""), set()).discard(change.key)
    again = True
    while again:
        again = False
        for change in kept:
            if change.erase and under.get((change.kind, change.key)):
                what = f"{capabilities.spec(change.kind).singular} {change.key}"
                others = ", ".join(sorted(under[change.kind, change.key])[:5])
                _cannot(
                    plan, change, f"{what} has {others} under it, which this run did not make; it is left as it is."
                )
                under.get((change.kind, change.old_parent or ""), set()).add(change.key)
                kept = [one for one in kept if one is not change]
                again = True
                break
    return kept


def _set_again(
    plan: ChangePlan, port: LmsPort, spec: KindSpec, store: Store, changes: Iterable[Change]
) -> list[Change]:
    """Return updates for what the LMS drops when this undo touches what is under it."""
    touched = parents_touched((change for change in changes if change.kind == spec.cleared_by), {})
    changing = {change.key for change in changes if change.kind == spec.kind}
    if not touched:
        return []
    with store.read() as connection:
        base = state.load_base(connection, plan.site, spec.kind)
    actual = {found.key: found for found in port.read(spec.kind)} if spec.readable else None
    plan.again += [(spec.kind, key) for key in sorted(touched) if key in base]
    return set_again(touched, Sides(spec, {}, base, actual, False), changing, plan.remarks)


Lines = Mapping[tuple[str, str | None], list[str]]
"""(kind, parent) → the keys under it, in order."""


def _reason(run_id: int) -> str:
    """Return why the objects of an undone run are held."""
    return f"undone (run {run_id})"


def siblings_of(found: Iterable[Found]) -> Lines:
    """Return the lines of siblings that objects stand in now, retired ones left out."""
    lines: dict[tuple[str, str | None], list[Found]] = {}
    for one in found:
        if not one.retired:
            lines.setdefault((one.kind, one.parent), []).append(one)
    return {at: [one.key for one in sorted(line, key=lambda one: one.order)] for at, line in lines.items()}


def _old_places(changes: Iterable[Change], bases: Mapping[Object, Base], lines: Lines) -> Iterator[Base]:
    """Yield bases with the places that reordered siblings get back."""
    for change in changes:
        base = bases.get((change.kind, change.key))
        if change.fields != (ORDER,) or base is None:
            continue
        others = [key for key in lines.get((change.kind, change.parent), []) if key != change.key]
        place = others.index(change.previous) + 1 if change.previous in others else 0
        yield replace(base, place=place)


def _take_back(
    plan: ChangePlan,
    capabilities: Capabilities,
    entry: Entry,
    found: Found | None,
    lines: Lines,
    backwards: list[Change],
    *,
    begun: bool,
) -> None:
    """Add the inverse of one applied change, or the reason why there is none.

    `begun` says that an undo of this run has been at it before, and may have moved the siblings around it.
    """
    change, spec = entry.change, capabilities.spec(entry.change.kind)
    lms_id = entry.lms_id or change.lms_id
    what = f"{spec.singular} {change.key}"
    if change.action is Action.ADOPT:
        plan.forgotten.append((change.kind, change.key))
        return
    behind = _behind(change, lines)
    if spec.readable and _is_back(change, found, behind, spec):
        (plan.forgotten if found is None else plan.back).append((change.kind, change.key))
        return
    if found is None and spec.cleared_by and change.action is Action.UPDATE:
        # Dropped by the LMS itself, when an undo that was cut off took back what is under it.
        held = dict(change.before or {})
        backwards.append(replace(change, action=Action.CREATE, before=None, after=held, fields=tuple(held)))
        return
    if found is None and spec.readable and not (change.action is Action.REMOVE and _is_gone(spec.removal, change)):
        _cannot(plan, change, f"{what} is no longer in the LMS; nothing to take back.")
        return
    if begun and change.fields == (ORDER,) and found is not None and found.parent == change.parent:
        behind = (change.previous,)
    if found is not None and _moved_since(change, found, behind):
        _cannot(plan, change, f"{what} was changed in the LMS after run {entry.run_id}; it is left as it is.")
        return
    detail = dict(found.detail) if found else {}
    inverse = replace(
        change,
        before=dict(found.fields) if found else change.after,
        lms_id=found.lms_id if found else lms_id,
        parent=change.old_parent,
        old_parent=change.parent,
        previous=change.old_previous,
        old_previous=change.previous,
        drift=False,
        detail={**detail, **entry.detail},
        needs=(),
    )
    match change.action:
        case Action.CREATE:
            inverse = replace(
                inverse, action=Action.REMOVE, after=None, fields=(), old_parent=change.parent, erase=True
            )
            fate = (
                "was made by this run and is suspended: people's accounts are never deleted."
                if spec.removal is Removal.SUSPEND
                else "was made by this run and is deleted; its id and any ratings do not come back."
            )
            _cannot(plan, change, f"{what} {fate}")
        case Action.UPDATE:
            before = change.before or {}
            after = {**dict(found.fields if found else before), **{name: before.get(name) for name in change.fields}}
            inverse = replace(inverse, after=after, parent=change.parent, old_parent=change.parent)
        case Action.MOVE:
            inverse = replace(inverse, after=inverse.before)
        case Action.REVIVE:
            inverse = replace(inverse, action=Action.REMOVE, after=None, fields=(), old_parent=change.parent)
        case Action.REMOVE:
            gone = _is_gone(spec.removal, change)
            inverse = replace(
                inverse,
                action=Action.CREATE if gone else Action.REVIVE,
                before=None if gone else inverse.before,
                lms_id=None if gone else inverse.lms_id,
                after=dict(change.before or {}),
                fields=tuple(change.before or {}),
                ordered=spec.ordered,
                erase=False,
            )
            if change.erase:
                _cannot(plan, change, f"{what} was deleted; it is made again with a new id, without its ratings.")
    backwards.append(inverse)


def _is_gone(removal: Removal, change: Change) -> bool:
    """Tell whether a removal took the object away, instead of putting it aside."""
    return change.erase or removal is Removal.UNLINK


def _behind(change: Change, lines: Lines) -> tuple[str | None] | None:
    """Return the sibling that an object stands behind now, in a tuple; None where it is not under that parent."""
    line = lines.get((change.kind, change.parent), [])
    if change.key not in line:
        return None
    place = line.index(change.key)
    return (line[place - 1] if place else None,)


def _moved_since(change: Change, found: Found, behind: tuple[str | None] | None) -> bool:
    """Tell whether somebody touched, after the run, what the run changed."""
    match change.action:
        case Action.CREATE:
            after = change.after or {}
            compared = [name for name in after if name not in change.initial]
            edited = any(dump(found.fields.get(name)) != dump(after[name]) for name in compared)
            return edited or found.retired or found.parent != change.parent
        case Action.UPDATE:
            after = change.after or {}
            return any(dump(found.fields.get(name)) != dump(after.get(name)) for name in change.fields)
        case Action.MOVE | Action.REVIVE:
            elsewhere = change.fields == (ORDER,) and behind != (change.previous,)
            return found.retired or found.parent != change.parent or elsewhere
        case Action.REMOVE:
            return not found.retired
        case Action.ADOPT:
            return False


def _is_back(change: Change, found: Found | None, behind: tuple[str | None] | None, spec: KindSpec) -> bool:
    """Tell whether the LMS is already as it was before a change: an undo that was cut off had come this far."""
    if change.action is Action.CREATE:
        return found is None
    if found is None:
        return False
    match change.action:
        case Action.UPDATE:
            before = change.before or {}
            fields = change.fields
            return bool(fields) and all(dump(found.fields.get(name)) == dump(before.get(name)) for name in fields)
        case Action.MOVE if change.fields == (ORDER,):
            return behind == (change.old_previous,) != (change.previous,)
        case Action.MOVE:
            return not found.retired and found.parent == change.old_parent
        case Action.REVIVE:
            return found.retired
        case Action.REMOVE if _is_gone(spec.removal, change):
            before = change.before or {}
            return all(dump(found.fields.get(name)) == dump(value) for name, value in before.items())
        case Action.REMOVE:
            return not found.retired and found.parent == change.old_parent
        case _:
            return False


def _cannot(plan: ChangePlan, change: Change, says: str) -> None:
    plan.remarks.append(Remark(Severity.WARNING, change.kind, change.key, says))


def _put_in_order(plan: ChangePlan, capabilities: Capabilities, changes: Iterable[Change]) -> None:
    """Makings in the order of kinds with parents first, removals in reverse, then what the LMS cleared meanwhile.

    What the LMS would clear and is to go anyway goes first, while it is still there.
    """
    by_kind: dict[str, list[Change]] = {}
    for change in changes:
        by_kind.setdefault(change.kind, []).append(change)
    first: list[Change] = []
    removals: list[Change] = []
    afterwards: list[Change] = []
    for spec in capabilities.kinds:
        mine = by_kind.get(spec.kind, [])
        making = [change for change in mine if change.action is not Action.REMOVE]
        unmaking = [change for change in mine if change.action is Action.REMOVE]
        (afterwards if spec.cleared_by else plan.changes).extend(parents_first(making) if spec.tree else making)
        if spec.cleared_by:
            first += unmaking
        else:
            removals[:0] = parents_first(unmaking, by_old=True)[::-1] if spec.tree else unmaking
    plan.changes = first + plan.changes + removals + afterwards


def undo(
    site: str,
    port: LmsPort,
    store: Store,
    run_id: int,
    rules: Rules,
    clock: Clock,
    *,
    watching: Watching = WATCHING,
) -> PushReport:
    """Take a run back, and hold its objects so that the next push does not redo it. Raises as `push` does."""
    with running(store, site, "undo", clock, rules, undoes=run_id) as run, guarded(port, run.tenure.check_sending):
        capabilities = port.probe()
        waiting = settle_open(Applier(site, port, capabilities, store, run.tenure, clock, run.id))
        plan = plan_undo(site, port, capabilities, store, run_id, rules, clock, open_objects=waiting)
        check_limits(plan, capabilities, rules.limits)

        def hold() -> None:
            """Hold the objects before the first write: after a crash half-way the next push redoes nothing."""
            changed = [one for one in plan.changes if one.fields or one.action is not Action.UPDATE]
            objects = dict.fromkeys([*((one.kind, one.key) for one in changed), *plan.forgotten, *plan.back])
            with store.begin() as connection:
                run.tenure.confirm(connection)
                state.hold(connection, site, run.id, clock.now(), _reason(run_id), objects)

        return carry_out(run, port, capabilities, plan, watching, hold)
