"""Results: the latest of each, and what they said before."""

from __future__ import annotations

import datetime as dt
from typing import Any

from bridge.model import (
    ActivityCompletion,
    Attainment,
    BadgeAward,
    Certification,
    CourseCompletion,
    PlanStatus,
    Result,
)
from bridge.store import Store, results

MAY = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


def completion(person: str, course: str = "C1", when: dt.datetime | None = MAY) -> CourseCompletion:
    """Return a completion of an account that is numbered like its person."""
    return CourseCompletion(person, course, when, lms_user=f"u-{person}")


def record(store: Store, pull: int, *found: Result, site: str = "here") -> results.Taken:
    """Record one page."""
    with store.begin() as connection:
        return results.record_results(connection, site, pull, float(pull), found)


def live(store: Store, name: str = "completions") -> list[dict[str, Any]]:
    """Return what is known now."""
    with store.read() as connection:
        return list(results.live_results(connection, "here", name))


def past(store: Store, name: str = "completions") -> list[tuple[str, str, object]]:
    """Return (person, reason, when it had been completed) of the history."""
    with store.read() as connection:
        return [
            (one["person"], one["reason"], one["completed_at"])
            for one in results.past_results(connection, "here", name)
        ]


def retire(store: Store, pull: int, name: str = "completions") -> int:
    """Turn what a pull did not see into history."""
    with store.begin() as connection:
        return results.retire_unseen(connection, "here", name, pull, float(pull))


def test_new_changed_and_unchanged_results_are_told_apart(any_store: Store) -> None:
    """What a changed one said before goes to the history, the rest does not."""
    assert record(any_store, 1, completion("p1"), completion("p2")) == results.Taken(new=2)
    later = MAY + dt.timedelta(days=1)
    assert record(any_store, 2, completion("p1"), completion("p2", when=later)) == results.Taken(0, 1, 1)
    assert [one["completed_at"] for one in live(any_store)] == [MAY.isoformat(), later.isoformat()]
    assert past(any_store) == [("p2", "changed", MAY.isoformat())]


def test_what_a_complete_pull_misses_becomes_history_and_may_come_back(any_store: Store) -> None:
    """Gone is not deleted; found again it is live once more, and the history keeps that it was away."""
    record(any_store, 1, completion("p1"), completion("p2"))
    record(any_store, 2, completion("p1"))
    with any_store.read() as connection:
        assert results.unseen(connection, "here", "completions", 2) == (1, 2)
    assert retire(any_store, 2) == 1
    assert retire(any_store, 2) == 0
    assert [one["person"] for one in live(any_store)] == ["p1"]
    assert past(any_store) == [("p2", "vanished", MAY.isoformat())]
    assert record(any_store, 3, completion("p2")) == results.Taken(0, 1, 0)
    assert [one["person"] for one in live(any_store)] == ["p1", "p2"]
    assert len(past(any_store)) == 1


def test_what_another_pull_saw_meanwhile_is_not_unseen(any_store: Store) -> None:
    """A pull that was cut off and ends later does not take back what a newer one has seen in between."""
    record(any_store, 5, completion("p1"))
    record(any_store, 6, completion("p1"), completion("p2"))
    record(any_store, 5, completion("p2"))
    assert retire(any_store, 5) == 0
    assert retire(any_store, 6) == 0


def test_every_kind_of_result_is_kept_by_what_it_is_about(any_store: Store) -> None:
    """Six kinds, two of each for one person, none of them overwriting another."""
    found: list[Result] = []
    for key in ("x", "y"):
        found += [
            CourseCompletion("p", key, None),
            ActivityCompletion("p", "c", key, "complete", MAY),
            Attainment("p", f"F/{key}", 2, True),
            PlanStatus("p", key, "Plan", "active"),
            BadgeAward("p", key, "Badge", MAY),
            Certification("p", key, "Cert", "certified"),
        ]
    assert record(any_store, 1, *found) == results.Taken(new=12)
    assert record(any_store, 2, *found) == results.Taken(unchanged=12)
    with any_store.read() as connection:
        counts = results.result_counts(connection, "here")
    assert counts == dict.fromkeys(["completions", "activities", "attainments", "plans", "badges", "certifications"], 2)


def test_a_page_larger_than_one_look_up_is_recorded_whole(any_store: Store) -> None:
    """Look-ups are cut to what a statement takes."""
    many = [completion(f"p{number}") for number in range(results.CHUNK * 2 + 3)]
    assert record(any_store, 1, *many).new == len(many)
    assert record(any_store, 2, *many).unchanged == len(many)


def test_sites_are_kept_apart(any_store: Store) -> None:
    """Another site's pull neither sees nor retires these."""
    record(any_store, 1, completion("p1"))
    record(any_store, 2, completion("p1"), site="there")
    with any_store.begin() as connection:
        assert results.retire_unseen(connection, "there", "completions", 3, 3.0) == 1
    assert len(live(any_store)) == 1


def test_the_place_of_a_pull_is_kept_and_overwritten(any_store: Store) -> None:
    """One place a name."""
    with any_store.begin() as connection:
        assert results.load_cursor(connection, "here", "pull:a") is None
        results.save_cursor(connection, "here", "pull:a", 1.0, {"cursor": "3"})
        results.save_cursor(connection, "here", "pull:a", 2.0, {"cursor": "4", "kinds": ["a"]})
        assert results.load_cursor(connection, "here", "pull:a") == {"cursor": "4", "kinds": ["a"]}
