"""An LMS that makes one kind at night and another at once, and remembers what it was given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bridge.model import Desired
from bridge.ports import (
    Capabilities,
    Change,
    Found,
    Item,
    KindSpec,
    Outcome,
    Page,
    PullScope,
    Receipt,
    Removal,
    Severity,
    Status,
    Translation,
    outcome_of,
)
from bridge.store import Store, journal
from bridge.sync.clock import Clock
from bridge.sync.push import PushReport, preview, push
from bridge.sync.running import Rules
from tests.databases import address

UNITS = KindSpec("unit", "unit", "units", Removal.RETIRE)
JOBS = KindSpec("job", "job", "jobs", Removal.CLOSE, answers_at_once=True)


class Died(BaseException):
    """The process ends here."""


class TwoSpeeds:
    """Units are made at night, jobs at once; a job needs its unit."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Found]] = {"unit": {}, "job": {}}
        self.given: dict[str, list[Change]] = {}
        self.dies_before = self.dies_after = False

    def probe(self) -> Capabilities:
        """Two kinds, two days for an answer where one comes late."""
        return Capabilities("Two", "1", "two", "x", (UNITS, JOBS), settle_within=172_800.0, server_limit=0.0)

    def translate(self, desired: Desired) -> Translation:
        """A unit and a job in it."""
        del desired
        return Translation(
            (Item("unit", "U", {"name": "Ward"}), Item("job", "J", {"name": "Nurse"}, needs=(("unit", "U"),)))
        )

    def read(self, kind: str) -> Iterator[Found]:
        """What is there."""
        yield from self.held[kind].values()

    def submit(self, changes: Sequence[Change]) -> Receipt:
        """Take changes; the process may die before or after that."""
        if self.dies_before:
            raise Died
        token = f"r{len(self.given)}"
        self.given[token] = list(changes)
        if self.dies_after:
            raise Died
        return Receipt(token, tuple(changes))

    def settle(self, receipt: Receipt) -> Iterator[Outcome]:
        """Make jobs now; say of units whether the night has made them."""
        for change in receipt.changes:
            if change.kind == "job":
                assert "U" in self.held["unit"], "a job came before its unit"
                self._make(change)
            there = change.key in self.held[change.kind]
            yield outcome_of(change, Status.APPLIED if there else Status.PENDING)

    def night(self) -> None:
        """Make the units that were handed over."""
        for changes in self.given.values():
            for change in changes:
                self._make(change)

    def _make(self, change: Change) -> None:
        self.held[change.kind][change.key] = Found(change.kind, change.key, change.after or {}, change.key)

    def recall(self, changes: Sequence[Change], since: float) -> Receipt | None:
        """The receipt of what was handed over, noted or not."""
        del since
        for token, given in self.given.items():
            names = {(one.kind, one.key) for one in given}
            covered = tuple(one for one in changes if (one.kind, one.key) in names)
            if covered:
                return Receipt(token, covered)
        return None

    def pull(self, scope: PullScope, cursor: str | None = None) -> Iterator[Page]:
        """Nothing."""
        del scope, cursor
        yield Page((), "", last=True)

    def close(self) -> None:
        """Nothing to give back."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of its own."""
    opened = Store.open(address(tmp_path / "state.sqlite"))
    yield opened
    opened.close()


def send(lms: TwoSpeeds, store: Store) -> PushReport:
    """Push once."""
    return push("two", lms, store, Desired(), Rules(), Clock())


def test_what_needs_an_object_of_the_night_waits_for_it_and_is_not_refused(store: Store) -> None:
    """First the unit is pending and the job waits, with a remark; after the night the job is made."""
    lms = TwoSpeeds()
    first = send(lms, store)
    assert (first.state, [one.key for one in first.plan.changes]) == ("pending", ["U"])
    waits = [one for one in first.plan.remarks if one.severity is Severity.WAITS]
    assert [one.kind for one in waits] == ["job"]
    assert "wait for a unit" in waits[0].says
    assert send(lms, store).state == "pending", "nothing new, and still no answer"
    lms.night()
    second = send(lms, store)
    assert (second.state, [one.key for one in second.plan.changes]) == ("done", ["J"])
    assert second.earlier.count("applied") == 1
    assert preview("two", lms, store, Desired(), Rules(), Clock()).changes == []


def test_what_a_run_that_died_had_handed_over_is_followed_by_its_receipt(store: Store) -> None:
    """Nobody noted the receipt; the connector knows it, nothing is sent twice, and the answer is awaited."""
    lms = TwoSpeeds()
    lms.dies_after = True
    with pytest.raises(Died):
        send(lms, store)
    lms.dies_after = False
    assert send(lms, store).state == "pending"
    assert len(lms.given) == 1
    with store.read() as connection:
        assert [entry.receipt for entry in journal.open_entries(connection, "two")] == ["r0"]
    lms.night()
    assert send(lms, store).earlier.count("applied") == 1


def test_what_a_run_that_died_had_not_handed_over_is_sent_at_once(store: Store) -> None:
    """The connector knows nothing of it: it is not waited for until the deadline."""
    lms = TwoSpeeds()
    lms.dies_before = True
    with pytest.raises(Died):
        send(lms, store)
    lms.dies_before = False
    report = send(lms, store)
    assert (report.state, [one.key for one in report.plan.changes]) == ("pending", ["U"])
    assert len(lms.given) == 1
