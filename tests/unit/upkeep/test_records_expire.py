"""Records of runs, deliveries and results go by rule; what recovery, undo, limits and `why` need of them stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select, text

from bridge.faults import Fault
from bridge.model import CourseCompletion
from bridge.ports import Action, Change, Status, outcome_of
from bridge.retention_settings import DAY
from bridge.settings import SiteSettings
from bridge.store import Store, feeds, history, journal, results, state, unattended
from bridge.store.feed_tables import RejectionRow, RosterTable, SnapshotRow
from bridge.store.feeds import Feed, Rejection, Snapshot
from bridge.store.retention import expire_deliveries, expire_runs
from bridge.store.state import Base, table_of
from bridge.store.tables import JournalRow, ResultHistoryRow, RunRow
from bridge.store.unattended_tables import DaemonRow, FiringRow, NoticeRow
from bridge.sync.clock import Clock
from jobs.retention import tidy
from tests.unit.upkeep.test_retention import NOW, at_home


def ran(
    store: Store,
    days_ago: float,
    *keys: str,
    state_of: str = "done",
    ended: str = "applied",
    verb: str = "push",
    undoes: int | None = None,
) -> int:
    """Record a run of so many days ago that changed some objects, and what stands after it; return its number."""
    moment = NOW - days_ago * DAY
    changes = [Change("user", key, Action.UPDATE, {"name": "a"}, {"name": "b"}, ("name",)) for key in keys]
    with store.begin() as connection:
        run = journal.start_run(connection, "here", verb, moment, undoes)
        journal.intend(connection, run, "here", 1, moment, changes)
        if ended != journal.INTENDED:
            outcomes = ((run, seq, ended, outcome_of(one, Status.APPLIED)) for seq, one in enumerate(changes, 1))
            journal.settle(connection, moment, outcomes)
        if ended == "applied":
            state.save_base(connection, "here", run, moment, (Base("user", key, {"name": "b"}) for key in keys))
        journal.finish_run(connection, run, state_of, moment, {}, "")
    return run


def runs_left(store: Store) -> list[int]:
    """Return the runs there is a record of, oldest first."""
    with store.read() as connection:
        return sorted(one.id for one in journal.runs(connection, limit=1000))


def count(store: Store, model: Any) -> int:
    """Return how many rows a table has."""
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table_of(model))).scalar_one())


def expire(store: Store, days: float = 400) -> tuple[int, int]:
    """Drop what is older than so many days."""
    return expire_runs(store, NOW - days * DAY)


def test_old_runs_go_with_what_they_sent_but_the_last_word_about_each_object(any_store: Store) -> None:
    """At the limit to the second; of two runs about one person the older one's line goes, and what stands of somebody
    nobody changed since can still be told, the run as well as the moment."""
    older, old = ran(any_store, 500, "E1", "E2", "gone"), ran(any_store, 450, "E1")
    at_limit, latest = ran(any_store, 400, "E3"), ran(any_store, 1, "E4")
    with any_store.begin() as connection:
        state.forget_base(connection, "here", [("user", "gone")])
    assert expire(any_store) == (2, 2)
    assert runs_left(any_store) == [at_limit, latest]
    with any_store.read() as connection:
        told = {key: [(one.entry.run_id, one.verb) for one in history.done_to(connection, [key], [])] for key in
                ("E1", "E2", "E3", "gone")}  # fmt: skip
        assert told == {"E1": [(old, "")], "E2": [(older, "")], "E3": [(at_limit, "push")], "gone": []}
        sent = next(history.done_to(connection, ["E2"], [])).entry
        assert (sent.change.after, sent.sent_at) == ({"name": "b"}, NOW - 500 * DAY)
    ran(any_store, 0, "E1")
    assert expire(any_store) == (0, 1), "once something newer was applied, the old line goes too"
    assert expire(any_store) == (0, 0)


def test_what_is_still_needed_stays_however_old_it_is(any_store: Store) -> None:
    """Answers outstanding, objects an undo holds, an undo under way, what a cut-off load left, and a site's latest."""
    unanswered = ran(any_store, 900, "E1", state_of="interrupted", ended=journal.INTENDED)
    handed_over = ran(any_store, 900, "E2", state_of="pending", ended="pending")
    undone = ran(any_store, 900, "E3")
    undo = ran(any_store, 890, "E3", verb="undo", undoes=undone)
    cut_off = ran(any_store, 900, "E4", state_of="stopped")
    being_undone = ran(any_store, 900, "E5")
    with any_store.begin() as connection:
        state.hold(connection, "here", undo, NOW, "undone", [("user", "E3")])
        under_way = journal.start_run(connection, "here", "undo", NOW - 900 * DAY, being_undone)
        pulled = journal.start_run(connection, "here", "pull", NOW - 900 * DAY)
        journal.finish_run(connection, pulled, "done", NOW - 900 * DAY, {})
    forgettable = ran(any_store, 900, "E6")
    latest = ran(any_store, 800, "E6")
    assert expire(any_store) == (1, 1)
    stays = [unanswered, handed_over, undone, undo, cut_off, being_undone, under_way, pulled, latest]
    assert runs_left(any_store) == sorted(stays)
    assert forgettable not in stays
    with any_store.begin() as connection:
        assert len(journal.open_entries(connection, "here")) == 2
        assert state.settled_counts(connection, "here") == {"user": 3}, "all but the one that a cut-off run left"
        state.release(connection, "here", undone)
        # Somebody goes on with the load that was cut off, and it gets to its end.
        state.save_base(connection, "here", latest, NOW, [Base("user", "E4", {"name": "b"})])
    expire(any_store)
    assert runs_left(any_store) == sorted({*stays} - {undone, undo, cut_off})


def test_objects_whose_run_is_forgotten_count_for_limits_as_before(any_store: Store) -> None:
    """Percentages are of what stands: forgetting a run must not make a removal look like a first load."""
    ran(any_store, 500, *(f"E{number}" for number in range(10)))
    ran(any_store, 1, "E1")
    with any_store.read() as connection:
        before = state.settled_counts(connection, "here")
    assert expire(any_store)[0] == 1
    with any_store.read() as connection:
        assert state.settled_counts(connection, "here") == before == {"user": 10}


def test_numbers_of_runs_are_never_given_twice(any_store: Store) -> None:
    """Results and objects remember them: a bridge that lay still for years goes on where it was."""
    last = [ran(any_store, 900, "E1") for _ in range(3)][-1]
    expire(any_store)
    assert runs_left(any_store) == [last]
    assert ran(any_store, 0, "E1") == last + 1


def test_deliveries_go_but_for_those_that_something_still_rests_on(any_store: Store) -> None:
    """A row as it came, a person missing, a refused row, the last accepted file, one in quarantine, the latest."""
    ages = ("plain", "row", "missing", "refused", "accepted", "quarantined", "latest")
    with any_store.begin() as connection:
        ids = {
            name: feeds.add_snapshot(
                connection, Snapshot("hr", name, name, 1, feeds.ACCEPTED, received_at=NOW - 900 * DAY)
            )
            for name in ages
        }
        feeds.save_feed(connection, Feed("hr", accepted_id=ids["accepted"], quarantined_id=ids["quarantined"]))
        fault = Fault("refused", 2, "", "", "email", "", "")
        feeds.add_rejections(connection, [Rejection("hr", ids["refused"], fault)])
        row = {"feed": "hr", "person": "E1", "job": "", "hash": b"x", "snapshot_id": ids["row"]}
        said = dict.fromkeys(
            ("first_name", "last_name", "email", "username", "title", "unit", "unit_name", "unit_parent",
             "position", "grade", "manager", "start", "end", "extra"), "",
        )  # fmt: skip
        connection.execute(table_of(RosterTable).insert().values(**row, **said, status="active", primary="1"))
        connection.execute(
            text(
                "INSERT INTO absence (feed, person, job, first_snapshot_id, missed_on, confirmed_on, why) "
                "VALUES ('hr', 'E2', '', :number, '2026-01-01', '', '')"
            ),
            {"number": ids["missing"]},
        )
        assert expire_deliveries(connection, NOW - 1100 * DAY) == 0
        assert expire_deliveries(connection, NOW - 800 * DAY) == 1
        assert not feeds.was_received(connection, "hr", "plain")
        assert all(feeds.was_received(connection, "hr", name) for name in ages if name != "plain")


def test_results_are_kept_until_somebody_sets_how_long(any_store: Store, tmp_path: Path) -> None:
    """They are evidence of learning. Where a number of days is set, what vanished or changed before goes, and what the
    LMS still says never does."""

    def seen(pull: int, days_ago: float, *people: str) -> None:
        found = [CourseCompletion(person, "C1", None) for person in people]
        with any_store.begin() as connection:
            results.record_results(connection, "here", pull, NOW - days_ago * DAY, found)
            results.retire_unseen(connection, "here", "completions", pull, NOW - days_ago * DAY)

    seen(1, 900, "E1", "E2", "E3")
    seen(2, 800, "E1", "E2")
    seen(3, 10, "E1")
    assert tidy(any_store, at_home(tmp_path), Clock(now=lambda: NOW), {}).results == 0
    assert tidy(any_store, at_home(tmp_path, results=400), Clock(now=lambda: NOW), {}).results == 2
    with any_store.read() as connection:
        assert [one["person"] for one in results.live_results(connection, "here", "completions")] == ["E1"]
        assert [one["person"] for one in results.past_results(connection, "here", "completions")] == ["E2"]


YEARS = 2
GROWING: tuple[Any, ...] = (
    RunRow, JournalRow, SnapshotRow, ResultHistoryRow, RejectionRow, NoticeRow, FiringRow, DaemonRow,
)  # fmt: skip


def test_after_two_years_of_nights_the_tables_have_stopped_growing(any_store: Store, tmp_path: Path) -> None:
    """Every other night a file is taken in, a row refused, two of forty people are pushed, and results are pulled. With
    everything kept for 60 days, the store holds after two years what it held after half a year, and tells of everybody.
    """
    people, moment = 40, [NOW]
    clock = Clock(now=lambda: moment[0])
    settings = at_home(tmp_path, rejections=30, runs=60, deliveries=60, results=60, backups=60)
    settings = settings.model_copy(update={"sites": {"here": SiteSettings()}})
    sizes: dict[int, dict[str, int]] = {}
    for month in range(YEARS * 12):
        with any_store.begin() as connection:
            for night in range(month * 30, month * 30 + 30, 2):
                moment[0] = NOW + night * DAY
                _night(connection, night, moment[0], [f"E{(night // 2 * step) % people}" for step in (1, 3)])
        tidy(any_store, settings, clock, {})
        sizes[month] = {model.__tablename__: count(any_store, model) for model in GROWING}
    early, late = sizes[6], sizes[YEARS * 12 - 1]
    print(early, late)
    assert all(late[name] <= early[name] * 1.1 + 2 for name in early)
    assert late["run"] < 150
    with any_store.read() as connection:
        for number in range(people):
            assert next(history.done_to(connection, [f"E{number}"], []), None) is not None


def _night(connection: Connection, night: int, now: float, who: list[str]) -> None:
    """Record what one night leaves in the store."""
    unattended.claim(connection, "night", "here", now, "me", now)
    if night % 100 == 0:
        unattended.claim(connection, f"once upon {night}", "here", now, "me", now)
        unattended.end_firing(connection, f"once upon {night}", "here", now, "done", now, "", [])
    unattended.seen(connection, f"daemon {night // 10}", now, now)
    unattended.add_notice(connection, f"night {night}", "failure", "here", "text", "", now, DAY)
    unattended.mark_sent(connection, [one.id for one in unattended.unsent(connection)], now)
    snapshot = Snapshot("hr", f"people_{night}.csv", f"{night}", 1, feeds.ACCEPTED, received_at=now)
    number = feeds.add_snapshot(connection, snapshot)
    feeds.add_rejections(connection, [Rejection("hr", number, Fault("f", 2, "", "", "email", "", ""))])
    feeds.save_feed(connection, Feed("hr", accepted_id=number))
    run = journal.start_run(connection, "here", "push", now)
    changes = [Change("user", key, Action.UPDATE, {"name": "a"}, {"name": "b"}, ("name",)) for key in who]
    changes = list({one.key: one for one in changes}.values())
    journal.intend(connection, run, "here", 1, now, changes)
    outcomes = ((run, seq, "applied", outcome_of(one, Status.APPLIED)) for seq, one in enumerate(changes, 1))
    journal.settle(connection, now, outcomes)
    state.save_base(connection, "here", run, now, (Base("user", one.key, {"name": "b"}) for one in changes))
    journal.finish_run(connection, run, "done", now, {})
    pull = journal.start_run(connection, "here", "pull", now)
    found = [CourseCompletion(f"E{night % 7}", "C1", None, str(night))]
    results.record_results(connection, "here", pull, now, found)
    journal.finish_run(connection, pull, "done", now, {})
