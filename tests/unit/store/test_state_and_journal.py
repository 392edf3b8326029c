"""Bases, holds, runs and the journal: what is written is what is read, and only that of the site asked for."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bridge.ports import Action, Change, Status, outcome_of
from bridge.store import Store, journal, state
from bridge.store.state import Base


def base(key: str, **fields: str) -> Base:
    """Return a competency's base."""
    return Base("competency", key, fields or {"name": key})


def change(key: str, action: Action = Action.CREATE) -> Change:
    """Return a competency's change."""
    return Change("competency", key, action, None, {"name": key, "tags": ("a", ("b",))}, ("name",))


def test_saving_a_base_twice_overwrites_it(any_store: Store) -> None:
    """Every column of the second is there, and one row."""
    newer = Base("competency", "F/A", {"name": "B", "tags": ("x",)}, "F/P", 4, "12", True, "adopted")
    with any_store.begin() as connection:
        state.save_base(connection, "here", 1, 1.0, [base("F/A"), base("F/B")])
        state.save_base(connection, "here", 2, 2.0, [newer])
        assert state.load_base(connection, "here", "competency") == {"F/A": newer, "F/B": base("F/B")}


def test_more_rows_than_one_batch_are_all_written(any_store: Store) -> None:
    """Batches are cut, not dropped."""
    many = [base(f"F/{number}") for number in range(state.BATCH + 7)]
    with any_store.begin() as connection:
        state.save_base(connection, "here", 1, 1.0, iter(many))
        assert len(state.load_base(connection, "here", "competency")) == len(many)
        asked = [("competency", one.key) for one in many] + [("competency", "F/none")]
        assert len(state.load_some(connection, "here", asked)) == len(many)


def test_sites_and_kinds_are_kept_apart(any_store: Store) -> None:
    """The same key on another site, or of another kind, is another object."""
    with any_store.begin() as connection:
        state.save_base(connection, "here", 1, 1.0, [base("A")])
        state.save_base(connection, "there", 1, 1.0, [base("A", name="other")])
        state.save_base(connection, "here", 1, 1.0, [Base("position", "A", {})])
        state.forget_base(connection, "there", [("competency", "A"), ("competency", "none")])
        assert state.load_base(connection, "here", "competency") == {"A": base("A")}
        assert state.load_base(connection, "there", "competency") == {}
        assert state.load_some(connection, "here", [("position", "A")]) == {
            ("position", "A"): Base("position", "A", {})
        }


def test_percentages_count_from_live_objects(any_store: Store) -> None:
    """The retired do not make a removal look small."""
    with any_store.begin() as connection:
        retired = Base("competency", "C", {}, retired=True)
        state.save_base(connection, "here", 1, 1.0, [base("A"), base("B"), retired])
        assert state.base_counts(connection, "here") == {"competency": 2}


def test_holds_last_until_they_are_released(any_store: Store) -> None:
    """One run's holds can be released alone; a later hold on the same object takes it over."""
    with any_store.begin() as connection:
        state.hold(connection, "here", 7, 1.0, "undone (run 6)", [("competency", "A"), ("competency", "B")])
        state.hold(connection, "here", 8, 2.0, "undone (run 7)", [("competency", "B")])
        state.hold(connection, "there", 7, 1.0, "undone (run 6)", [("competency", "A")])
        assert state.release(connection, "here", 7) == 1
        assert state.load_holds(connection, "here") == {("competency", "B"): "undone (run 7)"}
        assert state.release(connection, "here") == 1
        assert state.load_holds(connection, "there") == {("competency", "A"): "undone (run 6)"}


def test_an_intent_is_open_until_its_outcome_is_recorded(any_store: Store) -> None:
    """Intended, pending and unknown are open; applied, refused, not sent and lost are not."""
    states = ["applied", "refused", "unknown", "pending", "not_sent", journal.LOST]
    with any_store.begin() as connection:
        run = journal.start_run(connection, "here", "push", 1.0)
        changes = [change(f"F/{number}") for number in range(len(states) + 1)]
        journal.intend(connection, run, "here", 1, 1.0, changes)
        assert [entry.seq for entry in journal.open_entries(connection, "here")] == list(range(1, len(states) + 2))
        outcomes = [
            (run, seq, name, outcome_of(changes[seq - 1], Status.APPLIED, "why", "9", {"cut": ("a",)}))
            for seq, name in enumerate(states, 1)
        ]
        journal.settle(connection, 2.0, outcomes)
        still = {entry.seq: entry.state for entry in journal.open_entries(connection, "here")}
        assert still == {3: "unknown", 4: "pending", 7: "intended"}
        first = next(journal.entries(connection, run, ("applied",)))
        assert (first.change, first.lms_id, first.why, dict(first.detail)) == (changes[0], "9", "why", {"cut": ("a",)})
        assert journal.open_entries(connection, "there") == []


def test_a_receipt_and_its_deadline_are_found_again(any_store: Store) -> None:
    """After a restart the LMS can be asked under the same token."""
    with any_store.begin() as connection:
        run = journal.start_run(connection, "here", "push", 1.0)
        journal.intend(connection, run, "here", 1, 5.0, [change("A"), change("B")])
        journal.note_receipt(connection, run, [2], "token-1", 99.0)
        found = [(entry.receipt, entry.deadline, entry.sent_at) for entry in journal.open_entries(connection, "here")]
    assert found == [(None, None, 5.0), ("token-1", 99.0, 5.0)]


def test_runs_that_were_cut_off_are_called_interrupted(any_store: Store) -> None:
    """Only those of the site that still say running."""
    with any_store.begin() as connection:
        cut = journal.start_run(connection, "here", "push", 1.0)
        done = journal.start_run(connection, "here", "pull", 2.0)
        journal.finish_run(connection, done, "done", 3.0, {"a": 1}, "fine")
        other = journal.start_run(connection, "there", "push", 1.0)
        assert journal.mark_interrupted(connection, "here", 4.0) == 1
        states = {run.id: (run.state, run.finished_at) for run in journal.runs(connection)}
    assert states == {cut: ("interrupted", 4.0), done: ("done", 3.0), other: ("running", None)}


@pytest.mark.parametrize(("ended", "state_name"), [("applied", "done"), ("refused", "failed"), (None, "pending")])
def test_a_run_that_waited_for_the_lms_ends_when_its_last_answer_is_in(
    any_store: Store, ended: str | None, state_name: str
) -> None:
    """Done where everything was applied, failed where not, pending while anything is open."""
    with any_store.begin() as connection:
        run = journal.start_run(connection, "here", "push", 1.0)
        journal.intend(connection, run, "here", 1, 1.0, [change("A"), change("B")])
        journal.settle(connection, 2.0, [(run, 1, "applied", outcome_of(change("A"), Status.APPLIED))])
        journal.settle(connection, 2.0, [(run, 2, ended or "pending", outcome_of(change("B"), Status.PENDING))])
        journal.finish_run(connection, run, "pending", 3.0, {})
        journal.close_pending(connection, "here", 4.0)
        found = journal.find_run(connection, run)
    assert found is not None
    assert found.state == state_name
    counts: Mapping[str, object] = {} if ended is None else found.counts["competency"]["create"]
    assert sum(int(str(number)) for number in counts.values()) == (0 if ended is None else 2)


def test_runs_come_newest_first_and_by_site(any_store: Store) -> None:
    """With a limit, the newest of the site."""
    with any_store.begin() as connection:
        for site in ("here", "there", "here", "here"):
            journal.start_run(connection, site, "push", 1.0)
        assert [run.id for run in journal.runs(connection, "here", limit=2)] == [4, 3]
        assert journal.find_run(connection, 99) is None
        assert journal.entry_counts(connection, 1) == []
