"""The in-memory LMS."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from bridge.model import RESULT_KIND_OF, RETIRED, Desired, Result, RollUp, competency_key
from bridge.ports import (
    Action,
    Capabilities,
    Change,
    Fields,
    Found,
    Item,
    KindSpec,
    Outcome,
    Page,
    PullScope,
    Receipt,
    Remark,
    Removal,
    Severity,
    SkipItem,
    Status,
    StopRun,
    Translation,
    Value,
    outcome_of,
)
from bridge.requirements import RequirementIndex

KINDS = (
    KindSpec("framework", "framework", "frameworks", Removal.HIDE),
    KindSpec("competency", "competency", "competencies", Removal.RETIRE, tree=True, ordered=True),
    KindSpec("related", "related pair", "related pairs", Removal.UNLINK, relation=True),
    KindSpec("position", "position", "positions", Removal.HIDE),
    KindSpec("requirement", "requirement", "requirements", Removal.UNLINK, relation=True),
    KindSpec("rule", "roll-up rule", "roll-up rules", Removal.UNLINK, cleared_by="competency"),
)

NAME_LIMIT = 100


class Mode(StrEnum):
    """When changes take effect, and whether the LMS tells."""

    AT_ONCE = "at_once"
    LATE = "late"
    """Handed over now, carried out and answered when `answer` is called."""
    PARTLY = "partly"
    """Every third change is carried out, but the answer to it gets lost."""
    NEVER = "never"
    """Handed over and never heard of again."""


@dataclass(slots=True)
class Shelved:
    """One object in the LMS."""

    lms_id: str
    fields: dict[str, Value]
    parent: str | None = None
    retired: bool = False
    order: float = 0.0


@dataclass(slots=True)
class Shelf:
    """What the LMS holds, and what was asked of it. Outlives the connector, as a server outlives a client."""

    objects: dict[tuple[str, str], Shelved] = field(default_factory=dict)
    writes: list[Change] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    handed_over: dict[str, list[Change]] = field(default_factory=dict)
    """Changes of receipts that were not carried out yet."""
    answers: dict[str, list[Outcome]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    refused: dict[str, str] = field(default_factory=dict)
    """Keys of objects it refuses to change, with its reason."""

    def answer(self) -> None:
        """Carry out everything that was handed over, as a nightly import does."""
        for token, changes in self.handed_over.items():
            self.answers[token] = [_carry_out(self, change) for change in changes]
        self.handed_over.clear()


class MemoryLms:
    """The connector to a shelf. `before_write` may raise, which stops the run there."""

    def __init__(
        self,
        shelf: Shelf,
        mode: Mode = Mode.AT_ONCE,
        *,
        before_write: Callable[[Change], None] = lambda _change: None,
        unreadable: frozenset[str] = frozenset(),
    ) -> None:
        self.shelf = shelf
        self.mode = mode
        self.before_write = before_write
        self.unreadable = unreadable

    def probe(self) -> Capabilities:
        """Say what this LMS is. It answers within an hour, or not at all."""
        late = self.mode in (Mode.LATE, Mode.NEVER)
        return Capabilities(
            product="memory",
            release="1",
            site_name="An LMS in memory",
            account="nobody",
            kinds=tuple(replace(spec, readable=spec.kind not in self.unreadable) for spec in KINDS),
            settle_within=3600.0 if late else 0.0,
            server_limit=0.0,
        )

    def translate(self, desired: Desired) -> Translation:
        """Turn the canonical model into items. Names are kept to 100 characters, as most LMSs do."""
        items: list[Item] = []
        remarks: list[Remark] = []
        architecture = desired.architecture

        def name(kind: str, key: str, full: str) -> str:
            if len(full) <= NAME_LIMIT:
                return full
            cut = full[: NAME_LIMIT - 1].rstrip() + "…"
            says = f"the name has {len(full)} characters, the LMS keeps {NAME_LIMIT}: it becomes “{cut}”"
            remarks.append(Remark(Severity.NOTE, kind, key, says))
            return cut

        items += [
            Item("framework", one.key, {"name": name("framework", one.key, one.name), "scale": one.scale})
            for one in architecture.frameworks
        ]
        groups = {framework.key: framework.name for framework in architecture.frameworks}
        for one in architecture.competencies:
            fields: Fields = {"name": name("competency", one.key, one.name), "description": one.description}
            needs = (("framework", one.framework), *((("competency", one.parent),) if one.parent else ()))
            items.append(Item("competency", one.key, fields, one.parent, groups[one.framework], needs))
        for pair in architecture.related:
            first, second = sorted((pair.first, pair.second))
            needs = (("competency", first), ("competency", second))
            items.append(Item("related", f"{first}|{second}", {}, needs=needs))
        for rule in architecture.rules:
            children: Value = tuple((child.competency, child.points, child.required) for child in rule.children)
            rule_fields: Fields = {"kind": rule.kind.value, "outcome": rule.outcome.value, "children": children}
            if rule.kind is RollUp.POINTS:
                rule_fields = {**rule_fields, "points": rule.required_points}
            items.append(Item("rule", rule.competency, rule_fields, needs=(("competency", rule.competency),)))
        index = RequirementIndex.of(architecture)
        for position in architecture.positions:
            title = name("position", position.key, position.title)
            items.append(Item("position", position.key, {"title": title}))
            for competency, requirement in index.holding_for(position).items():
                needs = (("position", position.key), ("competency", competency))
                key = f"{position.key}|{competency}"
                items.append(Item("requirement", key, {"level": requirement.level}, None, position.title, needs))
        return Translation(tuple(items), tuple(remarks), _complete(architecture.given))

    def read(self, kind: str) -> Iterator[Found]:
        """Yield what the shelf holds of a kind."""
        self.shelf.reads.append(kind)
        if kind in self.unreadable:
            raise StopRun(f"this LMS cannot show {kind}")
        for (found_kind, key), one in list(self.shelf.objects.items()):
            if found_kind == kind:
                order = int(one.order * 1000)
                yield Found(kind, key, dict(one.fields), one.lms_id, one.parent, one.retired, order)

    def submit(self, changes: Sequence[Change]) -> Receipt:
        """Take changes in. Late and never: they lie there."""
        token = f"receipt-{next(self.shelf.numbers)}"
        if self.mode is Mode.LATE:
            self.shelf.handed_over[token] = list(changes)
        return Receipt(token, tuple(changes))

    def settle(self, receipt: Receipt) -> Iterator[Outcome]:
        """Tell what became of the changes, as the mode has it."""
        if self.mode in (Mode.LATE, Mode.NEVER):
            known = {(o.kind, o.key, o.action): o for o in self.shelf.answers.get(receipt.token, [])}
            for change in receipt.changes:
                outcome = known.get((change.kind, change.key, change.action))
                yield outcome or outcome_of(change, Status.PENDING, "handed over, not answered yet")
            return
        for number, change in enumerate(receipt.changes):
            self.before_write(change)
            outcome = _carry_out(self.shelf, change)
            lost = self.mode is Mode.PARTLY and number % 3 == 2
            yield outcome_of(change, Status.UNKNOWN, "the answer was lost") if lost else outcome

    def pull(self, scope: PullScope, cursor: str | None = None) -> Iterator[Page]:
        """Yield the results on the shelf, in pages; the cursor counts rows."""
        names = frozenset(RESULT_KIND_OF[type(result)] for result in self.shelf.results)
        start = int(cursor) if cursor else 0
        rows = self.shelf.results
        while True:
            part = rows[start : start + scope.page_rows]
            start += len(part)
            last = start >= len(rows)
            yield Page(part, str(start), last, names if last and scope.since is None else frozenset())
            if last:
                return

    def close(self) -> None:
        """Nothing to give back."""


def _complete(given: frozenset[str]) -> frozenset[str]:
    """Return the kinds that the files speak of in full."""
    sources = {
        "framework": {"competency_frameworks"},
        "competency": {"competencies"},
        "related": {"related_competencies"},
        "rule": {"roll_up_rules"},
        "position": {"positions"},
        "requirement": {"position_competencies", "requirements"},
    }
    return frozenset(kind for kind, files in sources.items() if files & given)


def _carry_out(shelf: Shelf, change: Change) -> Outcome:
    """Do one change to the shelf."""
    if change.key in shelf.refused:
        return outcome_of(change, Status.REFUSED, shelf.refused[change.key])
    shelf.writes.append(change)
    try:
        return _do(shelf, change)
    except SkipItem as error:
        return outcome_of(change, Status.REFUSED, str(error))


def _do(shelf: Shelf, change: Change) -> Outcome:
    at = (change.kind, change.key)
    held = shelf.objects.get(at)
    if change.action is Action.CREATE:
        if held is not None:
            raise SkipItem(f"{change.kind} {change.key} is there already")
        if change.parent is not None and (change.kind, change.parent) not in shelf.objects:
            raise SkipItem(f"its parent {change.parent} is not there")
        held = Shelved(str(next(shelf.numbers)), dict(change.after or {}), change.parent)
        shelf.objects[at] = held
        _place(shelf, change, held)
        return outcome_of(change, Status.APPLIED, lms_id=held.lms_id)
    if held is None and change.kind == "rule" and change.action is Action.UPDATE:
        # A rule belongs to its competency: setting it sets it, whether or not the LMS had dropped it.
        held = shelf.objects[at] = Shelved(str(next(shelf.numbers)), {})
    if held is None:
        raise SkipItem(f"{change.kind} {change.key} is not there")
    match change.action:
        case Action.UPDATE:
            held.fields.update(change.after or {})
        case Action.MOVE | Action.REVIVE:
            if change.parent is not None and (change.kind, change.parent) not in shelf.objects:
                raise SkipItem(f"its parent {change.parent} is not there")
            held.parent, held.retired = change.parent, False
            _place(shelf, change, held)
        case Action.REMOVE:
            _clear_rules(shelf, change)
            relation = next(spec for spec in KINDS if spec.kind == change.kind).removal is Removal.UNLINK
            if change.erase and any(kind == at[0] and one.parent == at[1] for (kind, _), one in shelf.objects.items()):
                raise SkipItem(f"{change.kind} {change.key} has others under it")
            if change.erase or relation:
                del shelf.objects[at]
            else:
                held.retired = True
                if change.kind == "competency":
                    held.parent = competency_key(change.key.partition("/")[0], RETIRED)
        case _:
            raise SkipItem(f"{change.action} is nothing an LMS does")
    return outcome_of(change, Status.APPLIED, lms_id=held.lms_id)


def _place(shelf: Shelf, change: Change, held: Shelved) -> None:
    """Put an object behind the sibling it is to follow."""
    _clear_rules(shelf, change)
    siblings = sorted(
        (one for (kind, _), one in shelf.objects.items() if kind == change.kind and one.parent == held.parent),
        key=lambda one: one.order,
    )
    others = [one for one in siblings if one is not held]
    before = shelf.objects.get((change.kind, change.previous or ""))
    if not change.ordered or (change.previous is not None and before not in others):
        index = len(others)
    else:
        index = 0 if before is None else others.index(before) + 1
    others.insert(index, held)
    for place, one in enumerate(others):
        one.order = float(place)


def _clear_rules(shelf: Shelf, change: Change) -> None:
    """Drop the rules of the parents whose children change, as Moodle does."""
    if change.kind == "competency":
        for parent in (change.parent, change.old_parent):
            shelf.objects.pop(("rule", parent or ""), None)
