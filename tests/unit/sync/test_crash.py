"""Whatever instruction a run dies at, the next ends where an uninterrupted run would have: nothing lost or twice."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.model import Architecture, RollUp, RollUpRule, RuleOutcome
from bridge.ports import Action, OutcomeUnknown, RetryLater, Status, StopRun
from bridge.store import Store, journal
from bridge.sync.policy import Policy, Stance
from connectors.memory import Mode
from connectors.memory.connector import MemoryLms
from tests.contract.conformance import company
from tests.databases import address
from tests.unit.sync.engine import FREE, Here, Killed, Wrapped, creations, ordered, snapshot


def changed() -> Architecture:
    """Return the small model after a busy day: renamed, moved, reordered, added with children, retired, rules set."""
    model = company.renamed(company.architecture(), "CARE/A1", "Washes hands well")
    model = company.moved(model, "CARE/A31", "CARE/A2")
    model = company.without(model, "LEAD/L2")
    model = ordered(model, "CARE/B2", "CARE/B1")
    model = company.with_more(
        model,
        company.competency("CARE", "C", "Nutrition"),
        company.competency("CARE", "C1", "Weighs", "C"),
        company.competency("CARE", "B3", "Documents", "B"),
    )
    return replace(model, rules=(*model.rules, RollUpRule("CARE/C", RollUp.ALL, RuleOutcome.RECOMMEND)))


Boundary = Callable[[Here, pytest.MonkeyPatch, int], Any]


def before_intent(here: Here, patch: pytest.MonkeyPatch, number: int) -> Any:
    """Die before the journal knows what will be sent."""
    patch.setattr(journal, "intend", _dying(journal.intend, number, before=True))
    return here.port()


def after_intent(here: Here, _patch: pytest.MonkeyPatch, number: int) -> Any:
    """Die with the intent on record and nothing sent."""
    submissions = [0]

    def die(_changes: object) -> None:
        submissions[0] += 1
        if submissions[0] == number:
            raise Killed

    return Wrapped(here.port(), before_submit=die)


def before_the_write(here: Here, _patch: pytest.MonkeyPatch, number: int) -> Any:
    """Die in the middle of a wave, a write about to be sent."""
    writes = [0]

    def die(_change: object) -> None:
        writes[0] += 1
        if writes[0] == number:
            raise Killed

    here.before_write = die
    port = here.port()
    here.before_write = lambda _change: None
    return port


def after_the_write(here: Here, _patch: pytest.MonkeyPatch, number: int) -> Any:
    """Die when the LMS has carried a write out and nobody has heard of it."""
    outcomes = [0]

    def die(_outcome: object) -> None:
        outcomes[0] += 1
        if outcomes[0] == number:
            raise Killed

    return Wrapped(here.port(), after_outcome=die)


def before_the_outcome_is_recorded(here: Here, patch: pytest.MonkeyPatch, number: int) -> Any:
    """Die with a whole wave answered and nothing of it on record."""
    patch.setattr(journal, "settle", _dying(journal.settle, number, before=True))
    return here.port()


def after_the_outcome_is_recorded(here: Here, patch: pytest.MonkeyPatch, number: int) -> Any:
    """Die in the transaction that records outcomes, after the journal's part of it."""
    patch.setattr(journal, "settle", _dying(journal.settle, number, before=False))
    return here.port()


def _dying(real: Callable[..., None], number: int, *, before: bool) -> Callable[..., None]:
    calls = [0]

    def call(*args: Any) -> None:
        calls[0] += 1
        if before and calls[0] == number:
            raise Killed
        real(*args)
        if not before and calls[0] == number:
            raise Killed

    return call


BOUNDARIES: list[tuple[Boundary, int]] = [
    *((boundary, number) for boundary in (before_intent, after_intent) for number in range(1, 6)),
    *((boundary, number) for boundary in (before_the_write, after_the_write) for number in (1, 2, 3, 5, 8, 11, 14)),
    *((before_the_outcome_is_recorded, number) for number in range(1, 6)),
    *((after_the_outcome_is_recorded, number) for number in (1, 3)),
]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the LMS holds after the first load and after the busy day, when nothing goes wrong."""
    store = Store.open(address(tmp_path_factory.mktemp("plain") / "state.sqlite"))
    here = Here(store)
    here.push()
    first = here.held()
    here.push(changed())
    store.close()
    return {"first": first, "changed": here.held()}


@pytest.mark.parametrize(
    ("boundary", "number", "stance"),
    [
        *((boundary, number, Stance.RESPECT) for boundary, number in BOUNDARIES),
        *((boundary, number, Stance.ENFORCE) for boundary, number in BOUNDARIES[::4]),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_push_that_dies_is_made_good_by_the_next(
    here: Here,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: dict[str, Any],
    boundary: Boundary,
    number: int,
    stance: Stance,
) -> None:
    """The same end state, every object made once, the journal closed, and nothing left to do.

    Where edits are respected too: what the dead run left half done must not pass for somebody's edit.
    """
    rules = replace(FREE, policy=Policy(stance))
    here.push(rules=rules)
    with monkeypatch.context() as patch, suppress(Killed):
        here.push(changed(), rules, port=boundary(here, patch, number))
    here.push(changed(), rules)
    assert here.held() == uninterrupted["changed"]
    made = creations(here.shelf)
    # A rule is not made twice either, but the LMS itself drops it, and then it is made anew.
    assert sorted(at for at in made if at[0] != "rule") == sorted({at for at in made if at[0] != "rule"})
    assert here.open_entries() == []
    plan = here.plan(changed(), rules)
    assert (plan.changes, plan.drifts) == ([], [])


@pytest.fixture
def here(store: Store) -> Here:
    """An empty site."""
    return Here(store)


@pytest.mark.parametrize("number", [1, 2, 5, 9, 14, 18])
def test_a_first_load_that_dies_again_and_again_still_ends_whole(
    here: Here, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any], number: int
) -> None:
    """Three deaths in a row at different places, then one run to the end."""
    for boundary in (after_the_write, before_the_outcome_is_recorded, after_intent):
        with monkeypatch.context() as patch, suppress(Killed):
            here.push(port=boundary(here, patch, number if boundary is after_the_write else 2))
    here.push()
    assert here.held() == uninterrupted["first"]
    made = creations(here.shelf)
    assert sorted(made) == sorted(set(made))
    assert here.plan().empty


def test_the_journal_says_of_a_looked_up_change_what_became_of_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Applied with the id found in the LMS, or lost; the dead run is called interrupted or stopped, never done."""
    with suppress(Killed):
        here.push(port=after_the_write(here, monkeypatch, 5))
    dead = here.runs()[0].id
    here.push()
    with here.store.read() as connection:
        found = {(one.change.kind, one.change.key): one for one in journal.entries(connection, dead)}
        run = journal.find_run(connection, dead)
    assert run is not None
    assert run.state in ("stopped", "interrupted")
    states = {one.state for one in found.values()}
    assert states == {"applied", journal.LOST}
    for at, entry in found.items():
        if entry.state == "applied":
            assert entry.lms_id == here.shelf.objects[at].lms_id


def test_a_dead_runs_reordering_that_arrived_is_known_to_have_arrived(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that undoing that run takes it back."""
    here.push()
    before = here.held()
    model = ordered(company.architecture(), "CARE/A3", "CARE/A1", "CARE/A2")
    with suppress(Killed):
        here.push(model, port=after_the_write(here, monkeypatch, 1))
    dead = here.runs()[0].id
    here.push(model)
    here.undo(dead)
    assert here.held() == before


@pytest.mark.parametrize("fault", [OutcomeUnknown("the line broke"), StopRun("the token expired"), RetryLater("busy")])
@pytest.mark.parametrize("number", [1, 4, 9])
def test_a_fault_in_the_middle_leaves_a_true_journal_and_a_rerun_ends_whole(
    here: Here, uninterrupted: dict[str, Any], fault: Exception, number: int
) -> None:
    """The run says why it stopped; nothing stays open where the LMS could be looked at."""
    writes = [0]

    def fail(_change: object) -> None:
        writes[0] += 1
        if writes[0] == number:
            raise fault

    here.before_write = fail
    report = here.push()
    here.before_write = lambda _change: None
    assert report.state == "stopped"
    assert str(fault) in report.message
    assert here.open_entries() == []
    applied = report.tally.count(Status.APPLIED.value)
    assert applied == len(here.shelf.writes)
    assert here.push().state == "done"
    assert here.held() == uninterrupted["first"]
    assert sorted(creations(here.shelf)) == sorted(set(creations(here.shelf)))


def test_where_looking_up_fails_too_everything_stays_open_for_the_next_run(here: Here) -> None:
    """The LMS went away in the middle and stays away: nothing is guessed, nothing sent twice."""
    port = here.port()
    assert isinstance(port, MemoryLms)
    writes = [0]

    def fail(_change: object) -> None:
        writes[0] += 1
        if writes[0] == 4:
            port.unreadable = frozenset({"competency"})
            raise OutcomeUnknown("the line broke")

    port.before_write = fail
    report = here.push(port=port)
    assert report.state == "stopped"
    assert here.open_entries() != []
    assert here.push().state == "done"
    assert sorted(creations(here.shelf)) == sorted(set(creations(here.shelf)))
    assert here.open_entries() == []


def test_lost_answers_are_looked_up_and_undo_knows_them(here: Here) -> None:
    """Every third answer lost: applied all the same, and reversible."""
    here.push()
    before = here.held()
    here.mode = Mode.PARTLY
    report = here.push(changed())
    assert report.state == "done"
    assert report.tally.count(Status.APPLIED.value) == len(report.plan.changes)
    here.mode = Mode.AT_ONCE
    here.undo(report.run_id)
    assert here.held() == before


def test_a_frozen_run_that_wakes_up_writes_no_more_once_its_lease_is_over(here: Here) -> None:
    """It was stopped for two minutes in the middle of a wave, while another run began and ended."""
    writes = [0]
    other = Here(here.store, here.shelf, now=here.now + 120)

    def freeze(_change: object) -> None:
        writes[0] += 1
        if writes[0] == 3:
            here.now += 120
            other.push()

    here.before_write = freeze
    with suppress(StopRun):
        here.push()
    # The one write that was under way could still happen; it is refused, being there already.
    assert writes[0] == 3
    assert sorted(at for at in here.shelf.objects) == sorted(set(creations(here.shelf)))
    assert other.plan().empty
    assert {run.state for run in here.runs()} == {"done", "stopped"}


DYING_PROCESS = """
import os, pickle, signal, sys
from pathlib import Path
from bridge.model import Desired
from bridge.store import Store, journal
from bridge.sync.clock import Clock
from bridge.sync.push import push
from connectors.memory import MemoryLms
from tests.unit.sync.engine import FREE, Wrapped
from tests.unit.sync.test_crash import changed

shelf_path, url, moment, number = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
shelf = pickle.loads(shelf_path.read_bytes())
count = 0

def die(at):
    global count
    if at == moment:
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

def keep(_outcome):
    fresh = shelf_path.with_suffix(".new")
    fresh.write_bytes(pickle.dumps(shelf))
    fresh.replace(shelf_path)
    die("after-write")

real = journal.settle
def settle(*args):
    die("before-record")
    real(*args)
    die("in-record")
journal.settle = settle
lms = MemoryLms(shelf, before_write=lambda _change: die("before-write"))
port = Wrapped(lms, before_submit=lambda _changes: die("after-intent"), after_outcome=keep)
push("here", port, Store.open(url), Desired(changed()), FREE, Clock())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "number"), [("after-intent", 2), ("after-write", 4), ("before-record", 1), ("in-record", 2)]
)
def test_a_process_that_is_really_killed_is_made_good_by_the_next(
    store_url: str, tmp_path: Path, uninterrupted: dict[str, Any], moment: str, number: int
) -> None:
    """SIGKILL: no handler, no goodbye, the lease still held. The next run begins at once and ends whole."""
    store = Store.open(store_url)
    here = Here(store)
    here.push()
    path = tmp_path / "shelf.pickle"
    path.write_bytes(pickle.dumps(here.shelf))
    ended = subprocess.run(
        [sys.executable, "-c", DYING_PROCESS, str(path), store_url, moment, str(number)],
        check=False,
        cwd=Path.cwd(),
        capture_output=True,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    after = Here(store, pickle.loads(path.read_bytes()))  # noqa: S301  this test wrote it
    report = after.push(changed())
    assert report.state == "done"
    assert snapshot(after.shelf) == uninterrupted["changed"]
    made = [at for at in creations(after.shelf) if at[0] != "rule"]
    assert sorted(made) == sorted(set(made))
    assert {run.state for run in after.runs()} == {"done", "interrupted"}
    assert after.plan(changed()).empty
    store.close()


def test_refused_items_are_named_and_the_rest_arrives(here: Here) -> None:
    """What needs the refused one is not sent, with the reason, and the next push tries again."""
    here.shelf.refused["CARE/B"] = "the LMS does not like it"
    report = here.push()
    assert report.state == "failed"
    whys = {outcome.key: outcome.why for outcome in report.tally.refused if outcome.kind == "competency"}
    assert whys["CARE/B"] == "the LMS does not like it"
    assert ("requirement", "N1|CARE/B1") not in here.shelf.objects
    here.shelf.refused.clear()
    assert here.push().state == "done"
    assert here.plan().empty


def test_adopting_survives_a_death_in_the_middle(
    here: Here, monkeypatch: pytest.MonkeyPatch, new_store: Callable[[], Store]
) -> None:
    """With the store lost: a death while taking over, and the next push still writes nothing."""
    here.push()
    written = len(here.shelf.writes)
    fresh = Here(new_store(), here.shelf)
    with monkeypatch.context() as patch, suppress(Killed):
        fresh.push(port=before_the_outcome_is_recorded(fresh, patch, 1))
    assert {change.action for change in fresh.plan().changes} == {Action.ADOPT}
    fresh.push()
    assert len(here.shelf.writes) == written
    assert fresh.plan().empty
