"""What every kind of Moodle object offers to the connector: a spec, items, a reading and a writing side."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from bridge.model import Desired, RuleOutcome
from bridge.ports import (
    Action,
    Change,
    Fields,
    Found,
    Item,
    KindSpec,
    Outcome,
    Remark,
    Severity,
    Status,
    StopRun,
    outcome_of,
)
from connectors.moodle.client import Call, Fate, MoodleClient, Result
from connectors.moodle.directory import Directory
from connectors.moodle.options import MoodleOptions
from connectors.moodle.text import NAME_LIMIT, Form, description_form, name_form, paragraph

OUTCOME_NUMBERS = {
    RuleOutcome.NONE: 0,
    RuleOutcome.EVIDENCE: 1,
    RuleOutcome.RECOMMEND: 2,
    RuleOutcome.COMPLETE: 3,
}
OUTCOME_NAMES = {number: outcome.value for outcome, number in OUTCOME_NUMBERS.items()}

STATUS_OF = {
    Fate.DONE: Status.APPLIED,
    Fate.REFUSED: Status.REFUSED,
    Fate.UNKNOWN: Status.UNKNOWN,
    Fate.NOT_SENT: Status.NOT_SENT,
}


@dataclass(slots=True)
class Context:
    """What the kinds share: the connection, the options, and what is known of ids."""

    client: MoodleClient
    options: MoodleOptions
    directory: Directory


@dataclass(slots=True)
class Part:
    """The share of a translation that one kind contributes. `complete` says that the items are all there should be."""

    items: list[Item] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    complete: bool = False
    speaks_of: Callable[[str], bool] | None = None
    """Says by its key whether an object that is missing from the items is spoken of; None: all are."""

    def remark(self, severity: Severity, kind: str, key: str, says: str) -> None:
        """Add a remark for the reviewer."""
        self.remarks.append(Remark(severity, kind, key, says))


class KindHandler(Protocol):
    """One kind of object: how it is said, read and written in Moodle."""

    @property
    def spec(self) -> KindSpec:
        """How the kind behaves."""

    @property
    def reads(self) -> Mapping[str, str]:
        """Functions that reading needs, with what stops working without each."""

    @property
    def writes(self) -> Mapping[str, str]:
        """Functions that writing needs, with what stops working without each."""

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return the items of this kind. `left_out` names competencies that cannot be said in Moodle."""

    def read(self) -> Iterator[Found]:
        """Yield every keyed object of this kind."""

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Carry out everything but removals; raises StopRun after the outcomes."""

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Carry out removals; raises StopRun after the outcomes."""


@runtime_checkable
class ReadsByKey(Protocol):
    """A kind that can be read in part (`KindSpec.by_key`)."""

    def read_some(self, keys: Collection[str]) -> Iterator[Found]:
        """Yield those of some objects that are there."""


def settled(change: Change, result: Result, lms_id: object = None, detail: Fields | None = None) -> Outcome:
    """Return the outcome of a change as the result of its call says."""
    return outcome_of(
        change,
        STATUS_OF[result.fate],
        result.why,
        None if lms_id is None else str(lms_id),
        detail,
    )


def refused(change: Change, why: str) -> Outcome:
    """Return the outcome of a change that was refused before anything was sent."""
    return outcome_of(change, Status.REFUSED, why)


def not_sent(change: Change, why: str) -> Outcome:
    """Return the outcome of a change that was not sent."""
    return outcome_of(change, Status.NOT_SENT, why)


def stop_in(results: Iterable[Result]) -> StopRun | None:
    """Return the error that ends the run among results, where there is one."""
    return next((r.error for r in results if isinstance(r.error, StopRun) and r.fate is not Fate.DONE), None)


def one_by_one(client: MoodleClient, pairs: Sequence[tuple[Change, Call]], false_means: str = "") -> Iterator[Outcome]:
    """Carry out one call a change, in order, and yield the outcomes; raises StopRun after them.

    `false_means` is the sentence for a call that Moodle answers with *false*; empty where that is as good as true.
    """
    size = client.options.batch_size
    stopped: StopRun | None = None
    for start in range(0, len(pairs), size):
        chunk = pairs[start : start + size]
        if stopped is not None:
            for change, _ in chunk:
                yield not_sent(change, str(stopped))
            continue
        results = client.write([call for _, call in chunk])
        for (change, _), result in zip(chunk, results, strict=True):
            if result.fate is Fate.DONE and result.data is False and false_means:
                yield refused(change, false_means)
            else:
                yield settled(change, result)
        stopped = stop_in(results)
    if stopped is not None:
        raise stopped


def adopted(changes: Sequence[Change]) -> tuple[list[Outcome], list[Change]]:
    """Split off adoptions that have nothing to write; returns their outcomes and what is left to do."""
    done = [
        outcome_of(change, Status.APPLIED) for change in changes if change.action is Action.ADOPT and not change.fields
    ]
    return done, [change for change in changes if not (change.action is Action.ADOPT and not change.fields)]


def said(part: Part, kind: str, key: str, name: str, description: str) -> tuple[str, str]:
    """Return a name and a description in the form Moodle keeps, with a remark wherever a reader would notice."""
    named = name_form(name)
    described = description_form(description)
    if named.full:
        part.remark(
            Severity.NOTE,
            kind,
            key,
            f"The name is longer than the {NAME_LIMIT} characters Moodle holds. It becomes {named.text!r}, and the "
            "whole name the first line of the description.",
        )
        described = Form(paragraph(named.full) + described.text, described.changed)
    elif named.changed:
        part.remark(
            Severity.NOTE, kind, key, f"Moodle would take part of the name for a tag; it becomes {named.text!r}."
        )
    if described.changed:
        part.remark(
            Severity.NOTE,
            kind,
            key,
            "The description is brought to the HTML that Moodle keeps; formatting it does not keep is gone.",
        )
    return named.text, described.text


def after(change: Change) -> Mapping[str, Any]:
    """Return the fields a change leads to; empty for a removal."""
    return change.after or {}
