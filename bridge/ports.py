"""What an LMS must offer, and the errors, grouped by what to do next.

An LMS speaks in *items*: a kind, a key and fields, in the form that LMS keeps them. `LmsPort.translate` turns the
canonical model into the items that one LMS should hold, so that everything after it (diff, plan, limits, journal,
undo) compares like with like and knows no LMS by name.

The port is asynchronous: `submit` hands changes over and returns a receipt, `settle` tells what became of them,
as far as it is known. Moodle answers while it is being asked; Totara's file import answers hours later, or never.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from bridge.model import Desired, Result

# --- Errors, by what to do next -------------------------------------------------------------------------------------


class BridgeError(Exception):
    """A foreseeable fault. Its text is for a person: what happened, where, and what to do next."""


class RetryLater(BridgeError):
    """The other side is busy or away; nothing was done. Try again, after `retry_after` seconds where it said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutcomeUnknown(BridgeError):
    """The request may or may not have been carried out (time-out, reset, cut answer): look before sending it again."""


class SkipItem(BridgeError):
    """This one item was refused, for a reason of its own; the others can go on."""


class StopRun(BridgeError):
    """Going on would do harm or is pointless now (the token expired, the site is closed). Rerun when mended."""


class FixConfiguration(BridgeError):
    """Nothing can work until somebody changes a setting, here or in the LMS."""


class SafetyLimit(BridgeError):
    """A safety limit refused the work before anything was sent."""


class AccessRefused(BridgeError):
    """The LMS does not let the account in. Comes together with one of the classes above; asking again and again could
    lock the account, so that unattended work asks once a day until somebody has mended it."""


class AccessEnded(AccessRefused, StopRun):
    """The token or the account is no longer accepted."""


class AccessNotGiven(AccessRefused, FixConfiguration):
    """The token or the account was not accepted at all."""


# --- Items and changes ----------------------------------------------------------------------------------------------

Value = str | int | float | bool | None | tuple["Value", ...]
"""What a field may hold: JSON's scalars, and tuples of them."""

Fields = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Item:
    """One object as the LMS should hold it, in the LMS's own form, ready to be compared raw."""

    kind: str
    key: str
    fields: Fields
    parent: str | None = None
    """Key of the same kind under which it hangs, in a kind that is a tree; None at the top."""
    group: str = ""
    """What the change is shown under in a plan, for example a framework's or a template's name."""
    needs: tuple[tuple[str, str], ...] = ()
    """(kind, key) of other objects that must exist before this one can be made."""
    initial: Fields = field(default_factory=dict)
    """What is said only when the object is made, and not compared afterwards (a user name, say)."""
    make: bool = True
    """False where it is changed if it is there, but never made (somebody who left has no account made)."""


@dataclass(frozen=True, slots=True)
class Found:
    """One object as the LMS holds it now."""

    kind: str
    key: str
    fields: Fields
    lms_id: str
    parent: str | None = None
    retired: bool = False
    """True where it is already in the state that a removal would bring it to."""
    order: int = 0
    """Where it stands among its siblings."""
    detail: Mapping[str, Value] = field(default_factory=dict)
    """What the connector needs again to write it (ids of the other end of a link, say). Never compared."""
    held: str = ""
    """Why nothing may be done to it until a person has decided (several accounts could be it, it is protected): a
    sentence. Neither it nor what needs it is touched."""
    replaced: bool = False
    """True where it is not there, and another object does its work for now: it is neither made nor missed."""


class Action(StrEnum):
    """What a change does."""

    ADOPT = "adopt"
    CREATE = "create"
    UPDATE = "update"
    MOVE = "move"
    REMOVE = "remove"
    REVIVE = "revive"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do to one object.

    `before` is what the LMS holds now (None for a create), `after` what it will hold (None for a removal);
    `fields` names those that differ. `previous` is the sibling it follows once done (None: the first), `ordered`
    says whether the place among the siblings matters.
    """

    kind: str
    key: str
    action: Action
    before: Fields | None
    after: Fields | None
    fields: tuple[str, ...] = ()
    lms_id: str | None = None
    parent: str | None = None
    old_parent: str | None = None
    previous: str | None = None
    old_previous: str | None = None
    ordered: bool = False
    place: int = 0
    """Its index among the desired siblings."""
    group: str = ""
    needs: tuple[tuple[str, str], ...] = ()
    drift: bool = False
    """True where it puts back what somebody changed in the LMS."""
    detail: Mapping[str, Value] = field(default_factory=dict)
    """The `detail` of the object found, and for an undo what else is to be put back."""
    initial: tuple[str, ...] = ()
    """For a create: names in `after` that are only said at the making. Nobody compares them later, so the base does not
    remember them."""
    erase: bool = False
    """For a removal: take the object away altogether instead of retiring it. Only rules and undo ask for it."""


class Status(StrEnum):
    """What became of a submitted change."""

    APPLIED = "applied"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    PENDING = "pending"
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one change. `why` is a sentence for a person wherever it was not simply applied."""

    kind: str
    key: str
    action: Action
    status: Status
    lms_id: str | None = None
    why: str = ""
    detail: Mapping[str, Value] = field(default_factory=dict)
    """What an undo needs to know (links that a retirement cut, say)."""
    kept: Fields = field(default_factory=dict)
    """Fields of an applied change that the LMS does not hold as they were sent, with what it holds instead: they are
    still to be done, and nobody's edit."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that changes were handed over. `token` finds them again after a restart, where that is possible."""

    token: str
    changes: tuple[Change, ...]


# --- What an LMS says of itself -------------------------------------------------------------------------------------


class Removal(StrEnum):
    """What a removal does to an object of a kind, unless a rule says otherwise."""

    RETIRE = "retire"
    HIDE = "hide"
    UNLINK = "unlink"
    SUSPEND = "suspend"
    CLOSE = "close"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class KindSpec:
    """How an LMS holds one kind of object. The order of the specs is the order of work; removals go in reverse."""

    kind: str
    singular: str
    plural: str
    removal: Removal
    tree: bool = False
    ordered: bool = False
    readable: bool = True
    relation: bool = False
    """True for a link between two objects, which has no fields a person would edit by themselves."""
    by_key: bool = False
    """True where the connector can read some objects by their keys, without reading all (see `PartialReader`)."""
    rotation: int = 1
    """In how many nights every object is read back once, in a kind with too many to read each night (needs `by_key`).
    Whatever is about to change is always read; for the rest the base stands. Keys of such a kind are OWNER|..., and an
    owner's objects are read together. 1: everything is read each time."""
    removed_by: str = ""
    """A field that, once true, is what a removal does (an account's *suspended*): setting it counts as a removal in
    limits."""
    of_people: bool = False
    """True for what feeds of people fill (accounts, memberships, plans); else it comes from the job architecture."""
    answers_at_once: bool = False
    """True where changes of this kind are answered while they are sent, though the LMS answers late for others."""
    retired_to: str = ""
    """What retired objects are put under, in words, where that is an object of its own: an undo leaves it there."""
    cleared_by: str = ""
    """A tree kind: whenever a child of K is made, moved or removed there, the LMS drops this kind's object with key K,
    so that it has to be set again, after everything else."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`: what was looked at, whether it holds, and what stops working or what to do if not."""

    subject: str
    ok: bool
    says: str
    remedy: str = ""
    blocking: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the LMS is and can do with the account in use."""

    product: str
    release: str
    site_name: str
    account: str
    kinds: tuple[KindSpec, ...]
    settle_within: float = 0.0
    """Seconds after which a pending change counts as never answered; 0 where the LMS answers at once."""
    server_limit: float = 60.0
    """Seconds the server may go on working on a request nobody waits for any more."""
    findings: tuple[Finding, ...] = ()

    def answers_within(self, kind: str) -> float:
        """Return the seconds after which a pending change of a kind counts as never answered; 0 where it has none."""
        return 0.0 if self.spec(kind).answers_at_once else self.settle_within

    def spec(self, kind: str) -> KindSpec:
        """Return the spec of a kind; KeyError where the LMS has none."""
        for spec in self.kinds:
            if spec.kind == kind:
                return spec
        raise KeyError(kind)


class Severity(StrEnum):
    """How much a remark on a plan matters."""

    NOTE = "note"
    WARNING = "warning"
    WAITS = "waits"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Remark:
    """Something a reviewer should know: a text brought to the form the LMS keeps, a thing that waits for a hand."""

    severity: Severity
    kind: str
    key: str
    says: str


@dataclass(frozen=True, slots=True)
class Translation:
    """What one LMS should hold, kind by kind, and what could not be said in it."""

    items: tuple[Item, ...]
    remarks: tuple[Remark, ...] = ()
    complete: frozenset[str] = frozenset()
    """Kinds of which the items are all there should be: only in these may something missing be removed."""
    speaks_of: Mapping[str, Callable[[str], bool]] = field(default_factory=dict, compare=False)
    """For complete kinds whose objects belong to somebody: says by its key whether an object is spoken of at all. What
    is not spoken of (memberships of a person the feed says nothing about) is left as it is."""


@dataclass(frozen=True, slots=True)
class PullScope:
    """What to bring back. `since` is epoch seconds (None: everything); `kinds` are of `RESULT_KINDS`, empty for all."""

    since: float | None = None
    kinds: frozenset[str] = frozenset()
    activities_of: tuple[str, ...] = ()
    """Courses whose activities' completion is wanted too."""
    page_rows: int = 5000
    known: Callable[[str, str], bool] | None = field(default=None, compare=False)
    """Says whether a completion (person, course) is recorded already, so that where times cost a request each only new
    ones are asked for; None asks for all."""


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a pull. `cursor` resumes after this page; `whole` names (as in `RESULT_KINDS`) the kinds that this
    pull, once through, has read completely, so that what was not in it is gone from the LMS."""

    results: Sequence[Result]
    cursor: str
    last: bool = False
    whole: frozenset[str] = frozenset()
    remarks: tuple[Remark, ...] = ()


@runtime_checkable
class LmsPort(Protocol):
    """What every LMS connector offers. All methods may raise the errors above and nothing else foreseeable."""

    def probe(self) -> Capabilities:
        """Ask the LMS what it is and what the account may do. Writes nothing."""

    def translate(self, desired: Desired) -> Translation:
        """Turn the canonical model into this LMS's items, texts in the form it keeps them.

        Pure but for facts learnt by `probe` (limits, scales). Raises FixConfiguration where nothing sensible
        can come out.
        """

    def read(self, kind: str) -> Iterator[Found]:
        """Yield every object of a kind that carries a key, as it is now, in bulk."""

    def submit(self, changes: Sequence[Change]) -> Receipt:
        """Hand changes over, of one kind or several. May return before anything is sent; `settle` then drives it."""

    def settle(self, receipt: Receipt) -> Iterator[Outcome]:
        """Yield what became of each change of the receipt, as it becomes known; one outcome a change.

        A change that is still open is yielded as pending. Raises StopRun only after yielding what is known;
        a change not yielded counts as unknown.
        """

    def pull(self, scope: PullScope, cursor: str | None = None) -> Iterator[Page]:
        """Yield results page by page, from after `cursor` where one is given."""

    def close(self) -> None:
        """Give back connections."""


@runtime_checkable
class PartialReader(Protocol):
    """What a connector offers beside `LmsPort` where it has kinds that can be read by key (`KindSpec.by_key`)."""

    def read_some(self, kind: str, keys: Collection[str]) -> Iterator[Found]:
        """Yield those of some objects that are there, without reading all; others of the kind may come along."""


@runtime_checkable
class Checklist(Protocol):
    """What a connector offers beside `LmsPort` where the model needs things that only a person can make in the LMS."""

    def checklist(self, desired: Desired) -> Iterator[Finding]:
        """Yield what has to be there before the model can go in: whether it was found, and how to make it."""


@runtime_checkable
class Guarded(Protocol):
    """What a connector offers beside `LmsPort` where it sends several requests before it tells of the first."""

    def guard(self, check: Callable[[bool], None]) -> None:
        """Ask `check` right before each request goes out, telling it whether that writes. It raises StopRun where it
        may not be sent."""


@contextmanager
def guarded(port: LmsPort, check: Callable[[bool], None]) -> Iterator[None]:
    """Have a connector ask `check` before each request, for the block, where it offers that."""
    guard: object = port
    if not isinstance(guard, Guarded):
        yield
        return
    guard.guard(check)
    try:
        yield
    finally:
        guard.guard(lambda _writes: None)


@runtime_checkable
class PlainWords(Protocol):
    """What a connector offers beside `LmsPort` where its fields bear names of its own (the headings of files, say)."""

    def in_plain_words(self, kind: str, fields: Fields) -> Fields:
        """Return those fields that are one of the model's, under the model's names (`name`, `email` and the like)."""


@runtime_checkable
class Observer(Protocol):
    """What a connector offers beside `LmsPort` where it can tell more once everything was read for a plan."""

    def observed(self, kinds: Collection[str]) -> Iterator[Remark]:
        """Yield what a reviewer should know about some kinds, as the site is now."""


@runtime_checkable
class Inspector(Protocol):
    """What a connector offers beside `LmsPort` where more can be found out than every run needs to know."""

    def inspect(self) -> Iterator[Finding]:
        """Yield what is there and what the account may do, found out by calls that change nothing."""


@runtime_checkable
class Recaller(Protocol):
    """What a connector offers beside `LmsPort` where it remembers what it was given, receipt noted or not."""

    def recall(self, changes: Sequence[Change], since: float) -> Receipt | None:
        """Return the receipt of changes of one kind that were handed over at or after a moment (epoch seconds).

        Its changes are those of the given ones that it covers; None where none of them was ever handed over.
        """


def read_keys(port: LmsPort, spec: KindSpec, keys: Collection[str]) -> Iterator[Found]:
    """Yield those of some objects that are there, by the cheapest way the connector has."""
    reader: object = port
    found = port.read(spec.kind)
    if spec.by_key and isinstance(reader, PartialReader):
        found = reader.read_some(spec.kind, keys)
    return (one for one in found if one.key in keys)


def outcome_of(
    change: Change, status: Status, why: str = "", lms_id: str | None = None, detail: Fields | None = None
) -> Outcome:
    """Return the outcome of a change, keyed as the change is."""
    return Outcome(change.kind, change.key, change.action, status, lms_id or change.lms_id, why, detail or {})


def one_item_each(items: Iterable[Item]) -> dict[tuple[str, str], Item]:
    """Return items by (kind, key). Raises ValueError where a key comes twice: a translation must not do that."""
    found: dict[tuple[str, str], Item] = {}
    for item in items:
        if (item.kind, item.key) in found:
            raise ValueError(f"two items of kind {item.kind} share the key {item.key!r}")
        found[item.kind, item.key] = item
    return found
