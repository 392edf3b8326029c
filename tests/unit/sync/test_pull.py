"""Pulling: page by page, resumable, overlapping, reconciled weekly, and believed only within reason."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import suppress

import pytest

from bridge.model import RESULT_KIND_OF, Attainment, CourseCompletion, Result
from bridge.ports import Page, PullScope, StopRun
from bridge.store import Store, results
from bridge.sync.pull import DAY, FULL_EVERY, OVERLAP, VANISHED_SMALL, PullOrder, PullReport, pull
from bridge.sync.running import Rules
from connectors.memory import MemoryLms, Shelf
from tests.unit.sync.engine import HERE, Here, Killed

BOTH = frozenset({"completions", "attainments"})
ONLY = PullOrder(frozenset({"completions"}))


class Paging(MemoryLms):
    """Gives results three at a time, kind by kind, remembers what it was asked, and dies where it is told to."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(shelf)
        self.asked: list[tuple[PullScope, str | None]] = []
        self.pages = 0
        self.die_after: int | None = None
        self.silent = False

    def pull(self, scope: PullScope, cursor: str | None = None) -> Iterator[Page]:
        """Yield pages; each kind is whole with its own last page, as real connectors do it."""
        self.asked.append((scope, cursor))
        rows = [row for kind in sorted(scope.kinds) for row in self.shelf.results if RESULT_KIND_OF[type(row)] == kind]
        start = int(cursor or 0)
        while True:
            part = rows[start : start + 3]
            rest = {RESULT_KIND_OF[type(row)] for row in rows[start + 3 :]}
            start += len(part)
            last = start >= len(rows)
            whole = frozenset(scope.kinds) if last else frozenset(RESULT_KIND_OF[type(row)] for row in part) - rest
            self.pages += 1
            yield Page(part, str(start), last and not self.silent, whole if scope.since is None else frozenset())
            if self.die_after == self.pages:
                raise Killed
            if last:
                return


class Pulls:
    """One site, pulled from again and again."""

    def __init__(self, store: Store) -> None:
        self.here = Here(store)
        self.port = Paging(self.here.shelf)

    def __call__(self, order: PullOrder = ONLY) -> PullReport:
        """Pull."""
        return pull(HERE, self.port, self.here.store, order, Rules(), self.here.clock)

    def live(self, kind: str = "completions") -> list[str]:
        """Return whose results are live."""
        with self.here.store.read() as connection:
            return [one["person"] for one in results.live_results(connection, HERE, kind)]

    def past(self) -> list[tuple[str, str]]:
        """Return person and reason of the history."""
        with self.here.store.read() as connection:
            return [(one["person"], one["reason"]) for one in results.past_results(connection, HERE, "completions")]

    def fill(self, *numbers: int) -> None:
        """Put completions of numbered people on the shelf, in place of those that are there."""
        others = [row for row in self.here.shelf.results if not isinstance(row, CourseCompletion)]
        self.here.shelf.results = [*(done(number) for number in numbers), *others]


def done(number: int) -> Result:
    """Return a completion."""
    return CourseCompletion(f"p{number:03}", "C1", dt.datetime(2026, 5, 1, tzinfo=dt.UTC), lms_user=str(number))


@pytest.fixture
def pulls(any_store: Store) -> Pulls:
    """A site with seven completions: three pages."""
    made = Pulls(any_store)
    made.fill(*range(7))
    return made


def test_a_first_pull_reads_everything_and_says_what_was_new(pulls: Pulls) -> None:
    """Three pages, no beginning of a window."""
    report = pulls()
    assert (report.full, report.since, report.pages, report.counts()) == (
        True,
        None,
        3,
        {"completions": {"new": 7, "changed": 0, "unchanged": 0, "vanished": 0}},
    )
    assert len(pulls.live()) == 7


@pytest.mark.parametrize("page", [1, 2])
def test_a_pull_that_dies_goes_on_at_the_page_it_had_reached(pulls: Pulls, page: int) -> None:
    """What was recorded stays, the rest is asked for, and only the rest."""
    pulls.port.die_after = page
    with suppress(Killed):
        pulls()
    assert len(pulls.live()) == 3 * page
    pulls.port.die_after = None
    report = pulls()
    assert report.resumed
    assert pulls.port.asked[-1][1] == str(3 * page)
    assert report.new == {"completions": 7 - 3 * page}
    assert len(pulls.live()) == 7


def test_a_pull_that_dies_after_its_last_page_only_has_to_be_closed(
    pulls: Pulls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every page is on record: nothing is read again, and what had vanished becomes history."""
    pulls()
    pulls.fill(*range(6))
    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(results, "unseen", _dies)
        pulls(PullOrder(ONLY.kinds, full=True))
    pages = pulls.port.pages
    report = pulls()
    assert report.resumed
    assert pulls.port.pages == pages
    assert pulls.past() == [("p006", "vanished")]


def _dies(*_args: object) -> tuple[int, int]:
    raise Killed


def test_the_next_window_overlaps_the_last_by_seven_days(pulls: Pulls) -> None:
    """Completions surface late and backdated."""
    pulls()
    began = pulls.here.now
    pulls.here.now += DAY
    report = pulls()
    assert (report.full, report.since) == (False, began - OVERLAP)
    assert OVERLAP == 7 * DAY
    assert pulls.port.asked[-1][0].since == began - OVERLAP


def test_once_a_week_everything_is_read_again(pulls: Pulls) -> None:
    """Not a second earlier; windows in between do not put it off."""
    pulls()
    for _ in range(6):
        pulls.here.now += DAY
        assert not pulls().full
    pulls.here.now += DAY - 1
    assert not pulls().full
    pulls.here.now += 1
    assert pulls().full
    assert FULL_EVERY == 7 * DAY


def test_what_vanished_becomes_history_with_the_next_full_pull_only(pulls: Pulls) -> None:
    """A window does not see everything, so that missing there says nothing."""
    pulls()
    pulls.fill(*range(5))
    pulls.here.now += DAY
    assert pulls().vanished == {}
    assert len(pulls.live()) == 7
    pulls.here.now += FULL_EVERY
    assert pulls().vanished == {"completions": 2}
    assert len(pulls.live()) == 5
    assert pulls.past() == [("p005", "vanished"), ("p006", "vanished")]


def test_a_whole_kind_that_is_empty_now_vanishes_too(pulls: Pulls) -> None:
    """Few enough to be believed."""
    pulls()
    pulls.fill()
    assert pulls(PullOrder(ONLY.kinds, full=True)).vanished == {"completions": 7}


def test_too_much_vanishing_is_not_believed_until_a_person_says_so(pulls: Pulls) -> None:
    """More than a fifth, and more than a handful: nothing is marked, the message says what to do."""
    pulls.fill(*range(100))
    pulls()
    pulls.fill(*range(100 - VANISHED_SMALL - 1))
    report = pulls(PullOrder(ONLY.kinds, full=True))
    assert report.vanished == {}
    assert ["--full --accept-vanished" in remark.says for remark in report.remarks] == [True]
    assert len(pulls.live()) == 100
    assert pulls(PullOrder(ONLY.kinds, full=True, accept_vanished=True)).vanished == {"completions": 26}


@pytest.mark.parametrize(("known", "missing", "believed"), [(100, 25, True), (130, 26, True), (129, 26, False)])
def test_the_bound_of_belief_is_exact(pulls: Pulls, known: int, missing: int, believed: bool) -> None:
    """Twenty-five are believed of however few; beyond that a fifth is, and one more is not."""
    pulls.fill(*range(known))
    pulls()
    pulls.fill(*range(known - missing))
    assert (pulls(PullOrder(ONLY.kinds, full=True)).vanished["completions"] == missing) is believed


def test_a_person_may_say_since_when(pulls: Pulls) -> None:
    """It is taken as said, nothing vanishes by it, and the weekly full pull is not put off."""
    pulls()
    pulls.fill(*range(5))
    pulls.here.now += DAY
    report = pulls(PullOrder(ONLY.kinds, since=123.0))
    assert (report.full, report.since, report.vanished) == (False, 123.0, {})
    pulls.here.now += 6 * DAY
    assert pulls().full


def test_an_order_for_everything_starts_anew_instead_of_resuming(pulls: Pulls) -> None:
    """So does one with a date."""
    pulls.port.die_after = 2
    with suppress(Killed):
        pulls()
    pulls.port.die_after = None
    for order in (PullOrder(ONLY.kinds, full=True), PullOrder(ONLY.kinds, since=5.0)):
        assert not pulls(order).resumed
        assert pulls.port.asked[-1][1] is None


def test_a_pull_that_was_taken_up_again_marks_nothing_as_gone(pulls: Pulls) -> None:
    """A row deleted on a page read before moves another one past the reader; the next pull is full and sees it."""
    pulls()
    pulls.here.now += FULL_EVERY
    pulls.port.die_after = pulls.port.pages + 2
    with suppress(Killed):
        pulls()
    pulls.fill(1, 2, 3, 4, 5, 6)
    pulls.port.die_after = None
    report = pulls()
    assert (report.resumed, report.vanished) == (True, {})
    assert any("taken up again" in remark.says for remark in report.remarks)
    assert len(pulls.live()) == 7
    report = pulls()
    assert (report.full, report.vanished) == (True, {"completions": 1})
    assert pulls.past() == [("p000", "vanished")]


def test_a_kind_that_was_through_before_the_death_is_reconciled_all_the_same(pulls: Pulls) -> None:
    """That attainments had been read whole is remembered over the interruption."""
    pulls.here.shelf.results.append(Attainment("p001", "CARE/A", 2, False))
    order = PullOrder(BOTH, full=True)
    pulls(order)
    pulls.here.now += FULL_EVERY
    pulls.port.die_after = pulls.port.pages + 1
    with suppress(Killed):
        pulls(PullOrder(BOTH))
    pulls.port.die_after = None
    with pulls.here.store.read() as connection:
        place = results.load_cursor(connection, HERE, "pull:attainments+completions")
    assert place is not None
    assert place["whole"] == ["attainments"]
    assert pulls(PullOrder(BOTH)).resumed


def test_an_lms_that_ends_before_its_last_page_is_not_believed(pulls: Pulls) -> None:
    """A cut-off list must not make the rest vanish."""
    pulls()
    pulls.port.silent = True
    pulls.fill(*range(3))
    with pytest.raises(StopRun, match="before its last page"):
        pulls(PullOrder(ONLY.kinds, full=True))
    assert len(pulls.live()) == 7
    assert pulls.here.runs()[0].state == "stopped"


def test_pulls_of_different_kinds_do_not_disturb_each_other(pulls: Pulls) -> None:
    """One is cut off, another of other kinds runs in between, the first ends: no false vanishing, no wrong place."""
    pulls.here.shelf.results.append(Attainment("p001", "CARE/A", 2, False))
    pulls()
    pulls(PullOrder(BOTH))
    pulls.here.now += FULL_EVERY
    pulls.port.die_after = pulls.port.pages + 1
    with suppress(Killed):
        pulls()
    pulls.port.die_after = None
    assert not pulls(PullOrder(BOTH)).resumed
    report = pulls()
    assert report.resumed
    assert report.vanished.total() == 0
    assert pulls.past() == []
    assert len(pulls.live()) == 7
    assert len(pulls.live("attainments")) == 1


def test_a_page_and_its_place_are_recorded_together(pulls: Pulls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A death between the two would lose a page or record it as new twice."""
    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(results, "save_cursor", _dies)
        pulls()
    assert pulls.live() == []
    assert pulls().new == {"completions": 7}
