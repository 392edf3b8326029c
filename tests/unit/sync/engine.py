"""The engine over the in-memory LMS, in few words: a site, its store, a clock that is turned by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.model import Architecture, Desired
from bridge.ports import Change, LmsPort, Outcome, Receipt
from bridge.store import Store, journal, state
from bridge.sync.clock import Clock
from bridge.sync.plan import ChangePlan
from bridge.sync.policy import Limit, Limits, Touch
from bridge.sync.push import PushReport, preview, push
from bridge.sync.running import Rules
from bridge.sync.undo import undo
from connectors.memory import MemoryLms, Mode, Shelf
from connectors.memory.connector import KINDS
from tests.contract.conformance import company

HERE = "here"

NO_LIMITS = Limits({f"{kind.kind}.{touch.value}": Limit(10_000, 100, 10_000) for kind in KINDS for touch in Touch})
FREE = Rules(limits=NO_LIMITS)
"""Rules that stop nothing: these tests are about something else than limits."""


class Killed(BaseException):
    """Stands for the end of the process: nothing in the engine may catch it and go on."""


@dataclass
class Here:
    """One site."""

    store: Store
    shelf: Shelf = field(default_factory=Shelf)
    mode: Mode = Mode.AT_ONCE
    unreadable: frozenset[str] = frozenset()
    now: float = 1_000_000.0
    before_write: Callable[[Change], None] = lambda _change: None

    @property
    def clock(self) -> Clock:
        """A clock that stands still, and whose waiting takes no time."""
        return Clock(lambda: self.now, lambda _seconds: None)

    def port(self) -> LmsPort:
        """Return a fresh connector."""
        return MemoryLms(self.shelf, self.mode, before_write=self.before_write, unreadable=self.unreadable)

    def push(self, model: Architecture | None = None, rules: Rules = FREE, **more: Any) -> PushReport:
        """Push a model, the small company's by default."""
        port = more.pop("port", None) or self.port()
        return push(HERE, port, self.store, Desired(model or company.architecture()), rules, self.clock, **more)

    def plan(self, model: Architecture | None = None, rules: Rules = FREE) -> ChangePlan:
        """Plan without writing."""
        return preview(HERE, self.port(), self.store, Desired(model or company.architecture()), rules, self.clock)

    def undo(self, run_id: int, rules: Rules = FREE, **more: Any) -> PushReport:
        """Take a run back."""
        port = more.pop("port", None) or self.port()
        return undo(HERE, port, self.store, run_id, rules, self.clock, **more)

    def release(self) -> None:
        """Release everything that undos hold."""
        with self.store.begin() as connection:
            state.release(connection, HERE)

    def open_entries(self) -> list[journal.Entry]:
        """Return what the journal has open."""
        with self.store.read() as connection:
            return journal.open_entries(connection, HERE)

    def runs(self) -> list[journal.Run]:
        """Return the runs, newest first."""
        with self.store.read() as connection:
            return journal.runs(connection, HERE, limit=1000)

    def held(self) -> Any:
        """Return what the LMS holds, siblings in order, without ids."""
        return snapshot(self.shelf)


def snapshot(shelf: Shelf) -> dict[tuple[str, str], Any]:
    """Return everything on a shelf but ids: fields, parent, whether retired, the sibling before it."""
    lines: dict[tuple[str, str | None], list[tuple[float, str]]] = {}
    for (kind, key), one in shelf.objects.items():
        if kind == "competency" and not one.retired:
            lines.setdefault((kind, one.parent), []).append((one.order, key))
    before: dict[tuple[str, str], str | None] = {}
    for (kind, _), line in lines.items():
        keys = [key for _, key in sorted(line)]
        before.update(((kind, key), keys[place - 1] if place else None) for place, key in enumerate(keys))
    return {at: (dict(one.fields), one.parent, one.retired, before.get(at)) for at, one in shelf.objects.items()}


def creations(shelf: Shelf) -> list[tuple[str, str]]:
    """Return every object that was made, as often as it was made."""
    return [(change.kind, change.key) for change in shelf.writes if change.action.value == "create"]


def ordered(model: Architecture, *keys: str) -> Architecture:
    """Return the model with some competencies (which must be siblings) in this order, in the places they have."""
    mine = {one.key: one for one in model.competencies if one.key in keys}
    turn = iter(keys)
    return replace(
        model, competencies=tuple(mine[next(turn)] if one.key in mine else one for one in model.competencies)
    )


class Wrapped:
    """A connector with something happening around its `submit` and `settle`."""

    def __init__(
        self,
        inner: LmsPort,
        *,
        before_submit: Callable[[Sequence[Change]], None] = lambda _changes: None,
        after_submit: Callable[[], None] = lambda: None,
        after_outcome: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        self._inner = inner
        self._before_submit = before_submit
        self._after_submit = after_submit
        self._after_outcome = after_outcome

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def submit(self, changes: Sequence[Change]) -> Receipt:
        """Hand changes over."""
        self._before_submit(changes)
        receipt = self._inner.submit(changes)
        self._after_submit()
        return receipt

    def settle(self, receipt: Receipt) -> Iterator[Outcome]:
        """Tell what became of them; the write is done before what happens here."""
        for outcome in self._inner.settle(receipt):
            self._after_outcome(outcome)
            yield outcome
