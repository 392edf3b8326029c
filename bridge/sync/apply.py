"""Applying a plan: write the intent, hand the changes over, record what became of them, and only then move the base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from sqlalchemy import Connection

from bridge.ports import (
    AccessEnded,
    AccessRefused,
    Action,
    BridgeError,
    Capabilities,
    Change,
    Found,
    KindSpec,
    LmsPort,
    Outcome,
    Removal,
    Status,
    StopRun,
    outcome_of,
    read_keys,
)
from bridge.store import Store, journal, state
from bridge.store.encoding import dump
from bridge.store.journal import LOST
from bridge.store.state import Base
from bridge.sync.clock import Clock
from bridge.sync.diff import ORDER
from bridge.sync.lease import Tenure
from bridge.sync.order import predecessors
from bridge.sync.plan import ChangePlan, Object

ROUNDS = 3
"""How often changes that turned out not to have been carried out are sent again within one run."""

RECORD_EVERY = 200
"""Outcomes recorded in one transaction."""

READS_TO_AGREE = 6
"""How many reads may be spent on finding two that agree before giving up."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A change with its place in the journal."""

    run_id: int
    seq: int
    change: Change


@dataclass(slots=True)
class Tally:
    """What a run did, and what it could not do."""

    states: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(kind, action, state) → how many."""
    refused: list[Outcome] = field(default_factory=list)
    noted: list[Outcome] = field(default_factory=list)
    """What was applied, but not without something to say about it."""
    stopped: str = ""
    """Why the run ended before its end; empty where it did not."""
    shut_out: bool = False
    """True where it ended because the LMS no longer let the account in."""

    def count(self, *wanted: str) -> int:
        """Return how many changes ended in one of the states."""
        return sum(number for (_, _, state_name), number in self.states.items() if state_name in wanted)

    def to_json(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return the counts by kind, action and state."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for (kind, action, state_name), number in sorted(self.states.items()):
            found.setdefault(kind, {}).setdefault(action, {})[state_name] = number
        return found


Progress = Callable[[Change, str], None]
"""Told each change and the state it ended in."""


@dataclass(slots=True)
class Applier:
    """Applies plans to one site, under one lease."""

    site: str
    port: LmsPort
    capabilities: Capabilities
    store: Store
    tenure: Tenure
    clock: Clock
    run_id: int
    progress: Progress = lambda _change, _state: None
    tally: Tally = field(default_factory=Tally)
    next_seq: int = 1
    failed: set[Object] = field(default_factory=set)

    def apply(self, plan: ChangePlan) -> Tally:
        """Carry a plan out. Item by item nothing is raised; what ends the run early is in the tally."""
        with self.store.begin() as connection:
            self.tenure.confirm(connection)
            state.save_base(connection, self.site, self.run_id, self.clock.now(), plan.converged)
            state.forget_base(connection, self.site, plan.forgotten)
            dropped = state.load_some(connection, self.site, plan.again).values()
            gone = (replace(base, retired=True) for base in dropped)
            state.save_base(connection, self.site, self.run_id, self.clock.now(), gone)
        self._adopt([change for change in plan.changes if change.action is Action.ADOPT])
        try:
            for wave in self.waves(plan.changes):
                self._apply_wave(wave)
        except StopRun as stop:
            self.tally.stopped = str(stop)
            self.tally.shut_out = isinstance(stop, AccessRefused)
        return self.tally

    def waves(self, changes: Iterable[Change]) -> Iterator[list[Change]]:
        """Cut a plan, in its order, where the kind changes or making turns into removing."""
        sent = (change for change in changes if change.action is not Action.ADOPT)
        for _, wave in groupby(sent, key=lambda change: (change.kind, change.action is Action.REMOVE)):
            yield list(wave)

    def _adopt(self, adoptions: Sequence[Change]) -> None:
        """Take over what is there already: only the store changes, so intent and outcome are one."""
        if not adoptions:
            return
        now = self.clock.now()
        outcomes = [
            (self.run_id, seq, Status.APPLIED.value, outcome_of(change, Status.APPLIED))
            for seq, change in enumerate(adoptions, self.next_seq)
        ]
        with self.store.begin() as connection:
            self.tenure.confirm(connection)
            journal.intend(connection, self.run_id, self.site, self.next_seq, now, adoptions)
            journal.settle(connection, now, outcomes)
            adopted = [base for change in adoptions if (base := self._base_after(change, None)) is not None]
            state.save_base(connection, self.site, self.run_id, now, adopted)
        self.next_seq += len(adoptions)
        for change in adoptions:
            self._count(change, Status.APPLIED.value)

    def _apply_wave(self, wave: Sequence[Change]) -> None:
        """Send one wave, look up whatever is unclear, and send again what turned out not to have arrived."""
        places = {id(change): place for place, change in enumerate(wave)}
        to_send = list(wave)
        for attempt in range(ROUNDS):
            to_send, blocked = self._split_blocked(to_send)
            self._record_blocked(blocked)
            if not to_send:
                return
            unclear, left, stop = self._send(to_send, last=attempt == ROUNDS - 1)
            unsent, reasons = [one for one, _ in left], [outcome for _, outcome in left]
            if stop is not None and (not unclear or isinstance(stop, AccessRefused)):
                # Shut out, nothing can be looked up either: what is unclear stays open, and the next run begins there.
                self._not_sent(unsent, str(stop))
                raise stop
            if unclear:
                arrived, lost = self._look_up(unclear, stop)
                self.record((one, outcome, Status.APPLIED.value) for one, outcome in arrived)
                if stop is not None:
                    self._lost(lost)
                    self._not_sent(unsent, str(stop))
                    raise stop
                if attempt == ROUNDS - 1:
                    self._lost(lost)
                    self._not_sent(unsent, "what it depends on did not get through")
                    return
                self._lost(lost, counted=False)
                self._drop(unsent)
                again = [one.change for one in (*lost, *unsent)]
                to_send = sorted(again, key=lambda change: places[id(change)])
            else:
                self.record((one, outcome, Status.NOT_SENT.value) for one, outcome in zip(unsent, reasons, strict=True))
                return

    def _split_blocked(self, wave: Sequence[Change]) -> tuple[list[Change], list[tuple[Change, Object]]]:
        """Set aside what needs an object that could not be made in this run."""
        to_send: list[Change] = []
        blocked: list[tuple[Change, Object]] = []
        for change in wave:
            missing = next((need for need in change.needs if need in self.failed), None)
            if missing is None:
                to_send.append(change)
            else:
                blocked.append((change, missing))
                self.failed.add((change.kind, change.key))
        return to_send, blocked

    def _record_blocked(self, blocked: Sequence[tuple[Change, Object]]) -> None:
        if not blocked:
            return
        numbered = self.intend([change for change, _ in blocked])
        self.record(
            (
                one,
                outcome_of(one.change, Status.NOT_SENT, f"it needs {missing[0]} {missing[1]}, which is not there"),
                Status.NOT_SENT.value,
            )
            for one, (_, missing) in zip(numbered, blocked, strict=True)
        )

    def intend(self, changes: Sequence[Change]) -> list[Numbered]:
        """Write down what will be sent."""
        with self.store.begin() as connection:
            self.tenure.confirm(connection)
            journal.intend(connection, self.run_id, self.site, self.next_seq, self.clock.now(), changes)
        numbered = [Numbered(self.run_id, seq, change) for seq, change in enumerate(changes, self.next_seq)]
        self.next_seq += len(changes)
        return numbered

    def _send(
        self, changes: Sequence[Change], *, last: bool
    ) -> tuple[list[Numbered], list[tuple[Numbered, Outcome]], StopRun | None]:
        """Send changes; return those whose fate is unclear, those not sent, and what stopped the sending."""
        numbered = self.intend(changes)
        waiting = {(one.change.kind, one.change.key, one.change.action): one for one in numbered}
        unclear: list[Numbered] = []
        unsent: list[tuple[Numbered, Outcome]] = []
        stop: StopRun | None = None
        settled: list[tuple[Numbered, Outcome, str]] = []
        try:
            receipt = self.port.submit(changes)
            within = self.capabilities.answers_within(changes[0].kind)
            if within:
                deadline = self.clock.now() + within
                with self.store.begin() as connection:
                    journal.note_receipt(connection, self.run_id, (n.seq for n in numbered), receipt.token, deadline)
            for outcome in self.port.settle(receipt):
                self.tenure.check()
                one = waiting.pop((outcome.kind, outcome.key, outcome.action))
                if outcome.status is Status.UNKNOWN:
                    unclear.append(one)
                elif outcome.status is Status.NOT_SENT and not last:
                    unsent.append((one, outcome))
                else:
                    settled.append((one, outcome, outcome.status.value))
                if len(settled) >= RECORD_EVERY:
                    self.record(settled)
                    settled = []
        except StopRun as error:
            stop = error
        except BridgeError as error:
            stop = _ending(error, str(error))
        self.record(settled)
        unclear += waiting.values()
        return unclear, unsent, stop

    def _look_up(
        self, unclear: Sequence[Numbered], stop: StopRun | None
    ) -> tuple[list[tuple[Numbered, Outcome]], list[Numbered]]:
        """Wait out the server, read until two reads agree, and tell what arrived from what did not.

        Where the LMS cannot be read now, everything stays open in the journal and the run stops: the next one looks.
        """
        # Who has lost the site cannot write down what it finds: its successor looks, and asks the LMS only once.
        self.tenure.check()
        hidden = [one for one in unclear if not self.capabilities.spec(one.change.kind).readable]
        why = "sent, but the LMS does not tell whether it was carried out"
        self.record((one, outcome_of(one.change, Status.UNKNOWN, why), Status.UNKNOWN.value) for one in hidden)
        unseen = {one.seq for one in hidden}
        visible = [one for one in unclear if one.seq not in unseen]
        try:
            return look_up(self.port, self.capabilities, self.clock, visible, since=self.clock.now())
        except BridgeError as error:
            reason = stop or _ending(
                error,
                f"{len(unclear):,} changes were sent, but it is not known whether they arrived, and looking them up "
                f"failed: {error} Nothing is sent twice: run this again, it begins by looking them up.",
            )
            raise reason from error

    def record(self, outcomes: Iterable[tuple[Numbered, Outcome, str]]) -> None:
        """Write down what became of changes, and move the base for those that were applied, in one transaction."""
        rows = list(outcomes)
        if not rows:
            return
        now = self.clock.now()
        with self.store.begin() as connection:
            self.tenure.confirm(connection)
            journal.settle(connection, now, ((one.run_id, one.seq, name, outcome) for one, outcome, name in rows))
            self._move_base(connection, now, [(one, outcome) for one, outcome, name in rows if name == "applied"])
        for one, outcome, name in rows:
            self._count(one.change, name)
            if name in (Status.REFUSED.value, Status.NOT_SENT.value):
                self.tally.refused.append(outcome)
                if one.change.action in (Action.CREATE, Action.REVIVE):
                    self.failed.add((one.change.kind, one.change.key))
            elif name == Status.APPLIED.value and outcome.why:
                self.tally.noted.append(outcome)

    def _move_base(self, connection: Connection, now: float, applied: Sequence[tuple[Numbered, Outcome]]) -> None:
        moved: dict[Object, Base] = {}
        dropped: list[Object] = []
        partial = [one.change for one, _ in applied if one.change.action not in (Action.CREATE, Action.ADOPT)]
        known: Mapping[Object, Base] = state.load_some(connection, self.site, [(c.kind, c.key) for c in partial])
        for one, outcome in applied:
            change = one.change
            before = moved.get((change.kind, change.key), known.get((change.kind, change.key)))
            base = self._base_after(change, before, outcome.lms_id)
            if base is not None and outcome.kept:
                base = replace(base, fields={**base.fields, **outcome.kept})
            if base is None:
                dropped.append((change.kind, change.key))
                moved.pop((change.kind, change.key), None)
            else:
                moved[change.kind, change.key] = base
        state.save_base(connection, self.site, self.run_id, now, moved.values())
        state.forget_base(connection, self.site, dropped)

    def _base_after(self, change: Change, before: Base | None, lms_id: str | None = None) -> Base | None:
        """Return the base once a change is applied; None where nothing is left to remember."""
        return base_after(self.capabilities.spec(change.kind), change, before, lms_id)

    def _not_sent(self, unsent: Sequence[Numbered], why: str) -> None:
        self.record(
            (one, outcome_of(one.change, Status.NOT_SENT, f"not sent: {why}"), Status.NOT_SENT.value) for one in unsent
        )

    def _lost(self, lost: Sequence[Numbered], *, counted: bool = True) -> None:
        """Record changes that were looked for and had not been carried out."""
        now = self.clock.now()
        why = "looked up in the LMS: it had not been carried out"
        with self.store.begin() as connection:
            self.tenure.confirm(connection)
            rows = ((one.run_id, one.seq, LOST, outcome_of(one.change, Status.UNKNOWN, why)) for one in lost)
            journal.settle(connection, now, rows)
        for one in lost if counted else ():
            self._count(one.change, LOST)
            if one.change.action in (Action.CREATE, Action.REVIVE):
                self.failed.add((one.change.kind, one.change.key))

    def _drop(self, unsent: Sequence[Numbered]) -> None:
        """Close the entries of changes that will be sent again under new numbers."""
        now = self.clock.now()
        with self.store.begin() as connection:
            self.tenure.confirm(connection)
            rows = [(n.run_id, n.seq, LOST, outcome_of(n.change, Status.NOT_SENT, "sent again below")) for n in unsent]
            journal.settle(connection, now, rows)

    def _count(self, change: Change, name: str) -> None:
        self.tally.states[change.kind, change.action.value, name] += 1
        self.progress(change, name)


def _ending(error: BridgeError, says: str) -> StopRun:
    """Return what ends a run because of an error, with another text; that nobody is let in any more is not lost."""
    return AccessEnded(says) if isinstance(error, AccessRefused) else StopRun(says)


def base_after(spec: KindSpec, change: Change, before: Base | None, lms_id: str | None = None) -> Base | None:
    """Return the base of an object once a change to it is applied; None where nothing is left to remember."""
    lms_id = lms_id or change.lms_id or (before.lms_id if before else None)
    origin = before.origin if before else ("adopted" if change.action is Action.ADOPT else "made")
    fields = dict(before.fields) if before else {}
    match change.action:
        case Action.CREATE | Action.ADOPT:
            said = {name: value for name, value in (change.after or {}).items() if name not in change.initial}
            return Base(change.kind, change.key, said, change.parent, change.place, lms_id, False, origin)
        case Action.REMOVE:
            if change.erase or spec.removal is Removal.UNLINK or spec.relation:
                return None
            kept = fields or dict(change.before or {})
            parent = change.old_parent if before is None else before.parent
            return Base(change.kind, change.key, kept, parent, before.place if before else 0, lms_id, True, origin)
        case Action.UPDATE:
            after = dict(change.after or {})
            # An update of nothing sets again what the LMS dropped, somebody's respected edits included: no news.
            fields.update({name: after[name] for name in (change.fields if before else after)})
            place, parent = (before.place, before.parent) if before else (change.place, change.parent)
            return Base(change.kind, change.key, fields, parent, place, lms_id, False, origin)
        case Action.MOVE | Action.REVIVE:
            fields = fields or dict(change.after or {})
            # Places among siblings are learnt for all of them at once, when they stand in line: until then the base
            # keeps the order it had, which tells a half-done reordering from one that somebody else did.
            place = before.place if before and change.fields == (ORDER,) else change.place
            return Base(change.kind, change.key, fields, change.parent, place, lms_id, False, origin)


def look_up(
    port: LmsPort,
    capabilities: Capabilities,
    clock: Clock,
    unclear: Sequence[Numbered],
    *,
    since: float,
    pause: Callable[[float], None] | None = None,
) -> tuple[list[tuple[Numbered, Outcome]], list[Numbered]]:
    """Tell which of some changes were carried out, by reading the LMS: those that were, and those that were not.

    Waits until the server can no longer be working on them (`since` plus its own limit), then reads until two reads
    in a row agree. `pause` waits, else the clock does.

    Raises what reading raises, and StopRun where no two reads agree.
    """
    if not unclear:
        return [], []
    wait = since + capabilities.server_limit - clock.now()
    if wait > 0:
        (pause or clock.sleep)(wait)
    kinds = list(dict.fromkeys(one.change.kind for one in unclear))
    unreadable = [kind for kind in kinds if not capabilities.spec(kind).readable]
    if unreadable:
        raise StopRun(f"the LMS cannot show {', '.join(unreadable)}.")
    keys: dict[str, set[str]] = {}
    for one in unclear:
        keys.setdefault(one.change.kind, set()).add(one.change.key)
    reordered = {(one.change.kind, one.change.parent) for one in unclear if one.change.fields == (ORDER,)}
    last: dict[Object, Found] | None = None
    for attempt in range(READS_TO_AGREE):
        if attempt > 1:
            clock.sleep(min(1.0, capabilities.server_limit))
        seen = {
            (k, found.key): found
            for k in kinds
            for found in (
                read_keys(port, capabilities.spec(k), keys[k]) if capabilities.spec(k).by_key else port.read(k)
            )
            if found.key in keys[k] or (k, found.parent) in reordered
        }
        if last is not None and _same(seen, last):
            break
        last = seen
    else:
        raise StopRun(f"{READS_TO_AGREE} reads of the LMS gave different answers: something else is writing to it.")
    stands = _who_follows(seen, reordered)
    arrived: list[tuple[Numbered, Outcome]] = []
    lost: list[Numbered] = []
    for one in unclear:
        found = seen.get((one.change.kind, one.change.key))
        if carried_out(one.change, found, stands.get((one.change.kind, one.change.key))):
            lms_id = found.lms_id if found else None
            outcome = outcome_of(one.change, Status.APPLIED, "found in the LMS after an unclear answer", lms_id)
            arrived.append((one, outcome))
        else:
            lost.append(one)
    return arrived, lost


def _who_follows(
    seen: Mapping[Object, Found], lines: Iterable[tuple[str, str | None]]
) -> dict[Object, tuple[str | None]]:
    """Return the sibling before each object, for those under some parents; each in a tuple, to tell first from not."""
    siblings: dict[tuple[str, str | None], list[Found]] = {line: [] for line in lines}
    for (kind, _), found in seen.items():
        if not found.retired and (kind, found.parent) in siblings:
            siblings[kind, found.parent].append(found)
    stands: dict[Object, tuple[str | None]] = {}
    for (kind, _), line in siblings.items():
        keys = [found.key for found in sorted(line, key=lambda found: found.order)]
        stands.update(((kind, key), (previous,)) for key, previous in predecessors(keys).items())
    return stands


def carried_out(change: Change, found: Found | None, behind: tuple[str | None] | None = None) -> bool:
    """Tell from what the LMS holds whether a change has been carried out. `behind` is the sibling it stands behind."""
    if change.action is Action.REMOVE:
        return found is None or found.retired
    if found is None or (found.retired and change.action is not Action.ADOPT):
        return False
    if change.fields == (ORDER,):
        return found.parent == change.parent and behind == (change.previous,)
    if change.action in (Action.MOVE, Action.REVIVE):
        return found.parent == change.parent
    if change.action is Action.CREATE:
        # It is there under its key: whatever it says, making it again would make it twice. A difference is drift.
        return True
    after = change.after or {}
    return all(
        name in found.fields and dump(found.fields[name]) == dump(after[name]) for name in change.fields or after
    )


def _same(one: Mapping[Object, Found], other: Mapping[Object, Found]) -> bool:
    return one.keys() == other.keys() and all(
        replace(one[key], detail={}) == replace(other[key], detail={}) for key in one
    )
