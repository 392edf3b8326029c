"""What unattended work keeps in the store: firings taken once, notices told once, on both databases."""

from __future__ import annotations

import threading

from bridge.store import Store, unattended


def claim(store: Store, due: float, holder: str) -> bool:
    """Take a firing in a transaction of its own."""
    with store.begin() as connection:
        return unattended.claim(connection, "night", "academy", due, holder, due)


def test_of_many_that_take_a_firing_at_once_exactly_one_gets_it(any_store: Store) -> None:
    """The first firing there ever was, and the next; eight at the same moment, each with a connection of its own."""
    for due in (100.0, 200.0):
        ready = threading.Barrier(8)
        taken: list[bool] = []

        def run(number: int, due: float = due, ready: threading.Barrier = ready, taken: list[bool] = taken) -> None:
            ready.wait()
            taken.append(claim(any_store, due, f"daemon-{number}"))

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == [False] * 7 + [True]


def test_a_firing_of_before_is_never_taken_again(any_store: Store) -> None:
    """Not after a clock was set back, nor by a daemon that comes late."""
    assert claim(any_store, 200.0, "one")
    assert not claim(any_store, 200.0, "two")
    assert not claim(any_store, 100.0, "two")
    assert claim(any_store, 200.5, "two")


def test_a_firing_taken_while_the_clock_was_years_ahead_blocks_nothing(any_store: Store) -> None:
    """Once the clock is right again, the schedule goes on; a few minutes ahead still count as taken."""
    assert claim(any_store, 200_000_000.0, "wrong")
    assert claim(any_store, 100.0, "one")
    assert not claim(any_store, 100.0, "two")
    assert claim(any_store, 400.0, "ahead")
    with any_store.begin() as connection:
        assert not unattended.claim(connection, "night", "academy", 200.0, "two", 200.0)


def test_a_late_end_does_not_overwrite_the_next_firing(any_store: Store) -> None:
    """Whoever ends a firing after a later one has begun changes nothing."""
    assert claim(any_store, 100.0, "one")
    assert claim(any_store, 200.0, "two")
    with any_store.begin() as connection:
        unattended.end_firing(connection, "night", "academy", 100.0, "failed", 300.0, "too late", [])
    with any_store.read() as connection:
        found = unattended.firing(connection, "night", "academy")
    assert found is not None
    assert (found.state, found.holder) == ("running", "two")


def test_what_was_cut_off_is_taken_up_by_one(any_store: Store) -> None:
    """Of two daemons that find the same firing cut off, the second finds it taken."""
    assert claim(any_store, 100.0, "dead")
    with any_store.read() as connection:
        found = unattended.firing(connection, "night", "academy")
    assert found is not None
    with any_store.begin() as connection:
        assert unattended.take_over(connection, found, "one", 150.0)
    with any_store.begin() as connection:
        assert not unattended.take_over(connection, found, "two", 151.0)


def test_the_same_trouble_is_counted_and_told_again_only_after_a_while(any_store: Store) -> None:
    """Ten failures in a row are one notice that says ten times; a day later it is told anew, and after its end too."""
    with any_store.begin() as connection:
        told = [
            unattended.add_notice(connection, "failed:a", "failure", "a", f"no {n}", "", 100.0 + n, 86_400.0)
            for n in range(10)
        ]
    assert told == [True, *[False] * 9]
    with any_store.begin() as connection:
        (one,) = unattended.unsent(connection)
        assert (one.times, one.text) == (10, "no 9")
        unattended.mark_sent(connection, [one.id], 200.0)
        assert unattended.add_notice(connection, "failed:a", "failure", "a", "no", "", 90_000.0, 86_400.0)
        assert unattended.forget_notices(connection, "failed:a")
        assert unattended.add_notice(connection, "failed:a", "failure", "a", "no", "", 90_001.0, 86_400.0)
        assert unattended.last_sent(connection) == 200.0


def test_a_step_that_fails_keeps_the_time_of_its_last_success(any_store: Store) -> None:
    """Lag counts from there."""
    with any_store.begin() as connection:
        unattended.record_step(connection, "a", "push", "done", 100.0, 1.0, "", well=True)
        unattended.record_step(connection, "a", "push", "failed", 200.0, 1.0, "no", well=False)
        (step,) = unattended.steps(connection)
    assert (step.state, step.ended_at, step.succeeded_at) == ("failed", 200.0, 100.0)


def test_daemons_that_stopped_are_not_taken_for_lost(any_store: Store) -> None:
    """Alive, stopped, or fallen asleep."""
    with any_store.begin() as connection:
        unattended.seen(connection, "alive", 0.0, 990.0)
        unattended.seen(connection, "stopped", 0.0, 100.0, stopped=100.0)
        unattended.seen(connection, "asleep", 0.0, 100.0)
        assert [one.name for one in unattended.daemons(connection, 900.0)] == ["alive"]
        assert unattended.fallen_asleep(connection, 900.0) == frozenset({"asleep"})
        unattended.prune_daemons(connection, 500.0)
        assert unattended.fallen_asleep(connection, 900.0) == frozenset()
