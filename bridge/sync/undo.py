"""Undoing a run: the inverse of what it applied, as a plan like any other, on objects that did not move since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from bridge.ports import Action, Capabilities, Change, FixConfiguration, Found, LmsPort, Remark, Removal, Severity
from bridge.store import Store, journal, state
from bridge.store.encoding import digest, dump
from bridge.store.journal import Entry
from bridge.sync.apply import Applier
from bridge.sync.clock import Clock
from bridge.sync.plan import ChangePlan, Object, check_limits, digest_rules, parents_first
from bridge.sync.push import WATCHING, PushReport, Watching, carry_out
from bridge.sync.recover import settle_open
from bridge.sync.running import Rules, running


def plan_undo(
    site: str, port: LmsPort, capabilities: Capabilities, store: Store, run_id: int, rules: Rules, clock: Clock
) -> ChangePlan:
    """Return the plan that takes a run back, with what cannot come back named in its remarks.

    Raises FixConfiguration where there is no such run of the site, or it did nothing that could be undone.
    """
    with store.read() as connection:
        run = journal.find_run(connection, run_id)
        if run is None or run.site != site:
            raise FixConfiguration(f"Site {site} has no run {run_id}. `lms-bridge runs` lists those it has.")
        if run.verb not in ("push", "undo"):
            raise FixConfiguration(
                f"Run {run_id} was a {run.verb}: it wrote nothing to the LMS, so there is nothing to undo."
            )
        applied = list(journal.entries(connection, run_id, ("applied",)))
        counts = state.base_counts(connection, site)
    plan = ChangePlan(site, clock.now(), rules=digest_rules(rules.policy, rules.limits), base_counts=counts)
    kinds = dict.fromkeys(entry.change.kind for entry in applied if entry.change.action is not Action.ADOPT)
    actual: dict[Object, Found] = {
        (kind, found.key): found for kind in kinds if capabilities.spec(kind).readable for found in port.read(kind)
    }
    backwards: list[Change] = []
    for entry in reversed(applied):
        found = actual.get((entry.change.kind, entry.change.key))
        _take_back(plan, capabilities, entry, found, backwards)
    _put_in_order(plan, capabilities, backwards)
    for change in plan.changes:
        found = actual.get((change.kind, change.key))
        plan.seen[change.kind, change.key] = digest(None if found is None else [dict(found.fields), found.parent])
    return plan


def _take_back(
    plan: ChangePlan, capabilities: Capabilities, entry: Entry, found: Found | None, backwards: list[Change]
) -> None:
    """Add the inverse of one applied change, or the reason why there is none."""
    change, spec = entry.change, capabilities.spec(entry.change.kind)
    lms_id = entry.lms_id or change.lms_id
    what = f"{spec.singular} {change.key}"
    if change.action is Action.ADOPT:
        plan.forgotten.append((change.kind, change.key))
        return
    if found is None and spec.readable and not (change.action is Action.REMOVE and _is_gone(spec.removal, change)):
        _cannot(plan, change, f"{what} is no longer in the LMS; nothing to take back.")
        return
    if found is not None and _moved_since(change, found):
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
            _cannot(
                plan, change, f"{what} was made by this run and is deleted; its id and any ratings do not come back."
            )
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


def _moved_since(change: Change, found: Found) -> bool:
    """Tell whether somebody touched, after the run, what the run changed."""
    match change.action:
        case Action.CREATE:
            after = change.after or {}
            return any(dump(found.fields.get(name)) != dump(value) for name, value in after.items()) or found.retired
        case Action.UPDATE:
            after = change.after or {}
            return any(dump(found.fields.get(name)) != dump(after.get(name)) for name in change.fields)
        case Action.MOVE | Action.REVIVE:
            return found.parent != change.parent
        case Action.REMOVE:
            return not found.retired
        case Action.ADOPT:
            return False


def _cannot(plan: ChangePlan, change: Change, says: str) -> None:
    plan.remarks.append(Remark(Severity.WARNING, change.kind, change.key, says))


def _put_in_order(plan: ChangePlan, capabilities: Capabilities, changes: Iterable[Change]) -> None:
    """Makings in the order of kinds with parents first, removals in reverse, then what the LMS cleared meanwhile."""
    by_kind: dict[str, list[Change]] = {}
    for change in changes:
        by_kind.setdefault(change.kind, []).append(change)
    removals: list[Change] = []
    afterwards: list[Change] = []
    for spec in capabilities.kinds:
        mine = by_kind.get(spec.kind, [])
        making = [change for change in mine if change.action is not Action.REMOVE]
        unmaking = [change for change in mine if change.action is Action.REMOVE]
        (afterwards if spec.cleared_by else plan.changes).extend(parents_first(making) if spec.tree else making)
        removals[:0] = parents_first(unmaking, by_old=True)[::-1] if spec.tree else unmaking
    plan.changes += removals + afterwards


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
    with running(store, site, "undo", clock, rules, undoes=run_id) as run:
        capabilities = port.probe()
        settle_open(Applier(site, port, capabilities, store, run.tenure, clock, run.id))
        plan = plan_undo(site, port, capabilities, store, run_id, rules, clock)
        check_limits(plan, capabilities, rules.limits)
        return carry_out(run, port, capabilities, plan, _holding(store, site, run.id, run_id, plan, clock, watching))


def _holding(
    store: Store, site: str, undo_id: int, run_id: int, plan: ChangePlan, clock: Clock, watching: Watching
) -> Watching:
    """Hold the objects once the undo is confirmed, so that after a crash half-way the next push redoes nothing."""

    def confirm(shown: ChangePlan) -> bool:
        if not watching.confirm(shown):
            return False
        objects: Mapping[Object, None] = dict.fromkeys(
            [*((change.kind, change.key) for change in plan.changes), *plan.forgotten]
        )
        with store.begin() as connection:
            state.hold(connection, site, undo_id, clock.now(), f"undone (run {run_id})", objects)
        return True

    return Watching(confirm, watching.progress)
