"""What the store tells of one person: rows with their file and line, absences, and what was sent, newest first."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from bridge.feed_settings import FeedSettings, TrustSettings
from bridge.ports import Action, Change, Outcome, Status
from bridge.store import Store, history, journal, state
from bridge.store.state import Base
from jobs.ingest import FeedContext, Incoming, ingest
from tests.unit.ingest.conftest import TODAY

HEADERS = ("employee_id", "first_name", "last_name", "email", "job_title", "effective_date")
LENIENT = FeedSettings(trust=TrustSettings(maximum_drop=100, maximum_rejected=100, minimum_in_common=0))


def take(store: Store, folder: Path, name: str, rows: Sequence[Sequence[str]]) -> None:
    """Take a file of these rows in."""
    path = folder / name
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADERS)
        writer.writerows(rows)
    ingest(store, FeedContext("hr", LENIENT), Incoming.of_path(path), TODAY)


def row(number: int, title: str = "Nurse", effective: str = "") -> tuple[str, ...]:
    """Return somebody's row."""
    return (f"E{number}", "Ada", f"Nr {number}", f"e{number}@x.example", title, effective)


def test_a_row_knows_the_file_and_the_line_that_last_changed_it(any_store: Store, tmp_path: Path) -> None:
    """A file that repeats it does not; one that changes it does; one to come is told apart; on its day it holds."""
    take(any_store, tmp_path, "a.csv", [row(1), row(2), row(3)])
    take(any_store, tmp_path, "b.csv", [row(3), row(2, "Ward manager"), row(1), row(4, effective="2027-02-01")])
    with any_store.read() as connection:
        told = {key: history.rows_about(connection, key) for key in ("E1", "E2", "E4")}
        later = history.rows_to_come(connection, "E4")
    assert [(one.origin.file, one.origin.line) for one in told["E1"]] == [("a.csv", 2)]
    assert [(one.origin.file, one.origin.line, one.row.title) for one in told["E2"]] == [("b.csv", 3, "Ward manager")]
    assert told["E4"] == []
    assert [(one.origin.file, one.origin.line, one.row.effective) for one in later] == [("b.csv", 5, "2027-02-01")]
    take(any_store, tmp_path, "c.csv", [row(2, "Ward manager"), row(1)])
    with any_store.read() as connection:
        (gone,) = history.rows_about(connection, "E3")
        titles = history.all_titles(connection)
    assert (gone.missed_on, gone.missed_in, gone.confirmed_on) == (TODAY.isoformat(), "c.csv", "")
    assert ("hr", "Ward manager", "", "", "", 1) in titles


def test_what_was_sent_about_somebody_comes_newest_first_and_is_nobody_elses(any_store: Store) -> None:
    """Their account and what hangs on it; never that of somebody whose number begins alike."""
    with any_store.begin() as connection:
        for number, (key, kind) in enumerate((("E1", "user"), ("E10", "user"), ("E1|org:A", "cohort_member"))):
            run = journal.start_run(connection, "here", "push", float(number))
            change = Change(kind, key, Action.CREATE, None, {"email": "a@x.example"})
            journal.intend(connection, run, "here", 1, float(number), [change])
            outcome = Outcome(kind, key, Action.CREATE, Status.APPLIED, str(number))
            journal.settle(connection, float(number), [(run, 1, "applied", outcome)])
            state.save_base(connection, "here", run, float(number), [Base(kind, key, {"email": "a@x.example"})])
        state.hold(connection, "here", run, 1.0, "undone", [("user", "E1"), ("user", "E10")])
    with any_store.read() as connection:
        done = list(history.done_to(connection, ["E1"], ["E1|", "E1/"]))
        standing = history.standing(connection, ["E1"], ["E1|", "E1/"])
        held = history.held(connection, ["E1"], ["E1|", "E1/"])
    assert [(one.entry.change.key, one.entry.lms_id) for one in done] == [("E1|org:A", "2"), ("E1", "0")]
    assert [base.key for _, base in standing] == ["E1|org:A", "E1"]
    assert [(kind, key) for _, kind, key, _ in held] == [("user", "E1")]
