"""A plan as a person reviews it: counts by kind, then the changes grouped by parent, then what to be aware of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import takewhile

from bridge.cli.screen import Screen
from bridge.ports import Action, Capabilities, Change, Fields, KindSpec, Removal, Severity, Value
from bridge.sync.diff import PRESENCE, Drift
from bridge.sync.plan import ChangePlan
from bridge.sync.policy import Stance, Touch, touch_of

SHOWN = 12
"""Changes shown in one group before the rest is only counted."""

REMARKS_SHOWN = 15

WIDTH = 80
"""Characters shown of a text."""

LEAD = 25
"""Of them, those before the place where two texts begin to differ."""

SIGNS = {
    Action.ADOPT: ("=", "cyan"),
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.MOVE: (">", "blue"),
    Action.REVIVE: ("^", "green"),
    Action.REMOVE: ("-", "red"),
}

REMOVAL_WORDS = {
    Removal.RETIRE: "retire",
    Removal.HIDE: "hide",
    Removal.UNLINK: "unlink",
    Removal.SUSPEND: "suspend",
    Removal.CLOSE: "close",
    Removal.KEEP: "keep",
}


def show_plan(screen: Screen, plan: ChangePlan, capabilities: Capabilities, *, show_all: bool = False) -> None:
    """Print a plan."""
    specs = {spec.kind: spec for spec in capabilities.kinds}
    screen.say(f"Plan for {plan.site} ({capabilities.product} {capabilities.release}, {capabilities.site_name})")
    if plan.empty:
        screen.say(
            "No changes: what differs below is left as it is."
            if plan.drifts
            else "No changes: the LMS says what the files say."
        )
    for line in count_lines(plan, specs):
        screen.say(f"  {line}")
    for spec in capabilities.kinds:
        mine = [change for change in plan.changes if change.kind == spec.kind]
        if mine:
            screen.say()
            screen.say(spec.plural.capitalize(), "bold")
            _show_groups(screen, spec, mine, show_all)
    _show_drift(screen, plan, show_all)
    _show_remarks(screen, plan, show_all)


def count_lines(plan: ChangePlan, specs: dict[str, KindSpec]) -> Iterator[str]:
    """Yield a line of counts for each kind that changes."""
    found: dict[str, Counter[str]] = {}
    for change in plan.changes:
        found.setdefault(change.kind, Counter())[_word(change, specs[change.kind])] += 1
    for kind, counts in found.items():
        parts = [f"{number:,} {word}" for word, number in sorted(counts.items())]
        yield f"{specs[kind].plural}: {', '.join(parts)}"


def _word(change: Change, spec: KindSpec) -> str:
    return REMOVAL_WORDS[spec.removal] if touch_of(change, spec) is Touch.REMOVE else change.action.value


def _show_groups(screen: Screen, spec: KindSpec, changes: Iterable[Change], show_all: bool) -> None:
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.group, []).append(change)
    quiet = not show_all and len(groups) > SHOWN * 4
    for number, (group, members) in enumerate(groups.items()):
        if quiet and number >= SHOWN * 2:
            rest = sum(len(one) for one in list(groups.values())[number:])
            screen.say(f"  … and {rest:,} more in {len(groups) - number:,} groups (--all shows them)")
            return
        if group:
            screen.say(f"  {group}")
        shown = members if show_all else members[:SHOWN]
        for change in shown:
            sign, style = SIGNS[Action.REMOVE if touch_of(change, spec) is Touch.REMOVE else change.action]
            screen.say(f"    {sign} {_line(change, spec)}", style)
        if len(members) > len(shown):
            screen.say(f"    … and {len(members) - len(shown):,} more (--all shows them)")


def _line(change: Change, spec: KindSpec) -> str:
    """Return a change as one line: what is done to what, and how it differs."""
    name = _name(change.after or change.before or {})
    called = f"{change.key}  {_text(name)}" if name else change.key
    verb = "erase" if change.erase else _word(change, spec)
    again = " (puts back what was changed in the LMS)" if change.drift else ""
    match change.action:
        case Action.UPDATE:
            before, after = change.before or {}, change.after or {}
            if not change.fields:
                return f"{verb} {called}: set again, since the LMS drops it when its children change"
            parts = [f"{field}: {_turn(before.get(field), after.get(field))}" for field in change.fields]
            return f"{verb} {called if spec.of_people else change.key}  {'; '.join(parts)}{again}"
        case Action.MOVE if change.parent == change.old_parent:
            where = f"after {change.previous}" if change.previous else "to the top"
            return f"{verb} {called}: {where}{again}"
        case Action.MOVE | Action.REVIVE if spec.tree:
            return f"{verb} {called}: {change.old_parent or 'the top'} → {change.parent or 'the top'}{again}"
        case Action.CREATE if change.parent:
            return f"{verb} {called}  (under {change.parent}){again}"
        case _:
            return f"{verb} {called}{again}"


def _name(fields: Fields) -> Value:
    """Return what an object is called: its name or title, or a person's names under whatever the LMS calls them."""
    for one in ("name", "title"):
        if fields.get(one):
            return fields[one]
    for first, last in (("firstname", "lastname"), ("first_name", "last_name")):
        names = " ".join(str(fields[part]) for part in (first, last) if fields.get(part))
        if names:
            return names
    return None


def _text(value: Value) -> str:
    return f"“{_shortened(value, 0)}”" if isinstance(value, str) else "nothing" if value is None else str(value)


def _edit(drift: Drift) -> str:
    """Return what somebody did in the LMS, as a person would say it."""
    if drift.field == PRESENCE:
        return "there again" if drift.actual else "gone"
    if drift.applied is None and drift.actual is not None:
        # Nothing of ours was there to be changed: it is taken over as somebody else had it.
        return f"{_text(drift.actual)} was there before, and the files say otherwise"
    return _turn(drift.applied, drift.actual)


def _turn(before: Value, after: Value) -> str:
    """Return what turns into what; of long texts the part where they begin to differ."""
    if not isinstance(before, str) or not isinstance(after, str):
        return f"{_text(before)} → {_text(after)}"
    letters = zip(" ".join(before.split()), " ".join(after.split()), strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], letters))
    return f"“{_shortened(before, same)}” → “{_shortened(after, same)}”"


def _shortened(text: str, place: int) -> str:
    """Return a text on one line, cut to what surrounds a place of it."""
    flat = " ".join(text.split())
    begin = max(0, min(place - LEAD, len(flat) - WIDTH)) if len(flat) > WIDTH else 0
    head, tail = ("…" if begin else ""), ("…" if begin + WIDTH < len(flat) else "")
    return f"{head}{flat[begin : begin + WIDTH]}{tail}"


def _show_drift(screen: Screen, plan: ChangePlan, show_all: bool) -> None:
    if not plan.drifts:
        return
    screen.say()
    screen.say(f"Changed in the LMS by somebody else: {len(plan.drifts):,}", "bold")
    done = {
        Stance.ENFORCE: "put back",
        Stance.RESPECT: "left as it is (respect)",
        Stance.REPORT: "for you to decide (report)",
    }
    for drift in plan.drifts if show_all else plan.drifts[:REMARKS_SHOWN]:
        screen.say(f"  ! {drift.kind} {drift.key} {drift.field}: {_edit(drift)}: {done[drift.stance]}", "magenta")
    if not show_all and len(plan.drifts) > REMARKS_SHOWN:
        screen.say(f"  … and {len(plan.drifts) - REMARKS_SHOWN:,} more (--all shows them)")


def _show_remarks(screen: Screen, plan: ChangePlan, show_all: bool) -> None:
    headings = {
        Severity.HELD: "Held until a person decides",
        Severity.WARNING: "Warnings",
        Severity.WAITS: "Waits for something to be done by hand, or for an answer",
        Severity.NOTE: "Notes",
    }
    for severity, heading in headings.items():
        mine = [remark for remark in plan.remarks if remark.severity is severity]
        if not mine:
            continue
        screen.say()
        screen.say(f"{heading}: {len(mine):,}", "bold")
        for remark in mine if show_all else mine[:REMARKS_SHOWN]:
            about = " ".join(part for part in (remark.kind, remark.key) if part)
            screen.say(f"  {about}: {remark.says}" if about else f"  {remark.says}")
        if not show_all and len(mine) > REMARKS_SHOWN:
            screen.say(f"  … and {len(mine) - REMARKS_SHOWN:,} more (--all shows them)")
