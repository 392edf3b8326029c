"""Forgetting a person: nothing of them stays in the store, others keep theirs, and nobody is forgotten too early."""

from __future__ import annotations

import csv
import datetime as dt
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import event
from sqlmodel import SQLModel

from bridge.feed_settings import FeedSettings
from bridge.model import CourseCompletion
from bridge.ports import Action, Change, FixConfiguration, Outcome, Status
from bridge.settings import Settings
from bridge.store import Store, feeds, journal, leases, results, state, unattended
from bridge.store.state import Base
from bridge.sync.clock import Clock
from bridge.sync.lease import SiteBusy
from connectors.moodle import MoodleConnector, MoodleOptions
from connectors.totara.people import SPECS
from jobs.forget import ACCOUNTS, PEOPLE, NotYet, forget, look
from jobs.ingest import FeedContext, Incoming, ingest

NOW = 1_800_000_000.0
CLOCK = Clock(now=lambda: NOW)
TODAY = dt.date(2026, 12, 31)
HEADERS = ("employee_id", "first_name", "last_name", "email", "job_title", "manager_id", "status")
WORDS = ("E77", "Zebulon", "Quagmire", "zebulon@x.example")
"""What nobody else has in common with the person who is to be forgotten."""


class Office:
    """A store with people, accounts, runs and results, and the settings that belong to it."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.settings = Settings(
            folder=folder, store="", sites={}, feeds={"hr": FeedSettings(path="drop")}, variables={}
        )
        self.rows = {
            f"E{n}": [f"E{n}", "Ana", f"Kaur{n}", f"p{n}@x.example", "Nurse", "", "active"] for n in range(70, 90)
        }
        self.rows["E77"] = [*WORDS, "Nurse", "", "active"]
        self.rows["E7"] = ["E7", "Bo", "Ek", "bo@x.example", "Nurse", "", "active"]

    def night(self, name: str = "people.csv", **changed: str) -> None:
        """Take everybody in; by number who has another status tonight."""
        path = self.folder / name
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(HEADERS)
            writer.writerows([*row[:-1], changed.get(number, row[-1])] for number, row in self.rows.items())
        ingest(self.store, FeedContext("hr", FeedSettings()), Incoming.of_path(path), TODAY)
        path.unlink()

    def pushed(self, *, suspended: bool, settled: bool = True) -> int:
        """Record a push that wrote accounts and memberships of two people; return its number."""
        with self.store.begin() as connection:
            run = journal.start_run(connection, "moodle", "push", NOW)
            changes = []
            bases = []
            for number in ("E77", "E7"):
                fields = {"lastname": self.rows[number][2], "suspended": suspended}
                changes += [
                    Change("user", number, Action.CREATE, None, fields, tuple(fields)),
                    Change("cohort_member", f"{number}|org:OPS", Action.CREATE, None, {}),
                ]
                bases += [
                    Base("user", number, fields, lms_id=f"1{number[1:]}"),
                    Base("cohort_member", f"{number}|org:OPS", {}),
                ]
            journal.intend(connection, run, "moodle", 1, NOW, changes)
            if settled:
                done = [
                    (run, seq, "applied", Outcome(one.kind, one.key, one.action, Status.APPLIED))
                    for seq, one in enumerate(changes, 1)
                ]
                journal.settle(connection, NOW, done)
                state.save_base(connection, "moodle", run, NOW, bases)
                journal.finish_run(connection, run, "done", NOW, {}, "E77 was refused once. And E777 too.")
            return run

    def pulled(self) -> None:
        """Record completions of two people: one known by number, one by the account alone."""
        moment = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
        with self.store.begin() as connection:
            for person, user in (("E77", "177"), ("", "177"), ("E7", "17")):
                for course in ("safety", f"fire{user}{person}"):
                    found = CourseCompletion(person, course, moment, "Safety", user)
                    results.record_results(connection, "moodle", 1, NOW, [found])

    def everything(self) -> str:
        """Return all that the store holds, as text."""
        with self.store.read() as connection:
            tables = {table.name: connection.execute(table.select()).all() for table in SQLModel.metadata.sorted_tables}
        return "\n".join(f"{name} {tuple(row)}" for name, rows in tables.items() for row in rows)


@pytest.fixture
def office(any_store: Store, tmp_path: Path) -> Office:
    """A store, once on SQLite and once on PostgreSQL."""
    (tmp_path / "home").mkdir()
    return Office(any_store, tmp_path / "home")


def leave(office: Office) -> None:
    """Bring it about that somebody came, was refused once, was pushed, left, was suspended, and has results."""
    office.night()
    office.rows["E77"][3] = "nowhere"
    office.night("second.csv")
    office.rows["E77"][3] = WORDS[3]
    office.rows["E80"][3] = WORDS[3]  # refused, and the reason names the other person
    office.night("third.csv", E77="active")
    office.rows["E80"][3] = "p80@x.example"
    office.night("fourth.csv", E77="terminated")
    office.pushed(suspended=True)
    office.pulled()
    with office.store.begin() as connection:
        unattended.add_notice(
            connection, "failed:moodle", "failure", "moodle", "E77 was refused.", "See E77.", NOW, 0.0
        )
        unsure = {("user", "E77"): "Two could be.", ("user", "E80"): f"It could be theirs or that of {WORDS[3]}."}
        state.save_undecided(connection, "moodle", 1, NOW, unsure, [])
    office.rows.pop("E77")


def test_nothing_of_a_person_stays_in_the_store(office: Office) -> None:
    """Neither number, name nor address, in whatever table; and everything of others is as it was."""
    leave(office)
    before = office.everything()
    assert all(word in before for word in WORDS)
    done = forget(office.store, office.settings, "E77", CLOCK)
    after = office.everything()
    assert not [line for line in after.splitlines() for word in WORDS[1:] if word in line]
    assert not [line for line in after.splitlines() if "E77" in line and "E777" not in line]
    assert "E777 too" in after, "only the number itself is taken out of a sentence"
    assert done.gone["objects of sites"] == 2
    assert done.gone["entries of the journal"] == 2
    assert done.gone["results"] >= 3
    others = [line for line in before.splitlines() if "'E7'" in line or "'E7|" in line]
    assert others
    assert all(line in after for line in others)


@pytest.mark.sqlite_only("about the store's file")
def test_nothing_of_a_person_stays_in_the_file_of_the_store(store: Store, tmp_path: Path) -> None:
    """Also not in the free space, where deleted rows lie until something is written over them."""
    office = Office(store, tmp_path)
    leave(office)
    forget(store, office.settings, "E77", CLOCK)
    store.close()
    for path in Path(str(store.engine.url.database)).parent.glob("state.sqlite*"):
        content = path.read_bytes()
        assert not [word for word in WORDS[1:] if word.encode() in content], path.name


@pytest.mark.sqlite_only("about SQLite's locks")
def test_a_database_that_cannot_be_written_anew_now_is_told(store: Store, tmp_path: Path) -> None:
    """Somebody reads for long: the rows are gone all the same, and the rest is said in words."""
    office = Office(store, tmp_path)
    leave(office)
    store.engine.dispose()
    with closing(sqlite3.connect(str(store.engine.url.database))) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM roster").fetchone()

        @event.listens_for(store.engine, "connect")
        def hasty(raw: sqlite3.Connection, _record: Any) -> None:
            raw.execute("PRAGMA busy_timeout = 50")

        done = forget(store, office.settings, "E77", CLOCK)
    assert "free space" in done.stays[-1].what
    assert "somebody is reading" in done.stays[-1].why
    assert "zebulon" not in office.everything()


def test_the_journal_still_adds_up_and_an_undo_leaves_what_was_forgotten_alone(office: Office) -> None:
    """That a run sent four changes is known; of two of them not what they were about."""
    leave(office)
    forget(office.store, office.settings, "E77", CLOCK)
    with office.store.read() as connection:
        run = next(one for one in journal.runs(connection) if one.verb == "push")
        entries = list(journal.entries(connection, run.id))
        assert [entry.change.key for entry in entries] == ["forgotten", "forgotten", "E7", "E7|org:OPS"]
        assert {entry.state for entry in entries} == {"forgotten", "applied"}
        assert [one.change.key for one in journal.entries(connection, run.id, ("applied",))] == ["E7", "E7|org:OPS"]
        latest = journal.runs(connection, limit=1)[0]
    assert (latest.verb, latest.state) == ("forget", "done")
    assert "E77" not in latest.message


def test_what_cannot_be_forgotten_is_named_with_the_reason_and_who_can(office: Office) -> None:
    """The LMS, the journal, the archives, copies; and others who name the person."""
    leave(office)
    office.rows["E70"][5] = "E77"
    office.rows["E77"] = [*WORDS, "Nurse", "", "terminated"]
    office.night("fifth.csv")
    said = "\n".join(str(one) for one in look(office.store, office.settings, "E77").stays)
    words = ("The LMS keeps", "Data requests", "journal", "1 rows of others", "unknown_manager", "archives", "Backups")
    assert [word for word in words if word not in said] == []
    assert "hr that still lists the person brings them back" in said


@pytest.mark.parametrize(
    ("arrange", "words", "anyway"),
    [
        (lambda office: office.night(), "works here", True),
        (lambda office: (office.night(E77="terminated"), office.pushed(suspended=False)), "is open", True),
        (lambda office: office.pushed(suspended=True, settled=False), "not been answered for", False),
    ],
    ids=["still works here", "account open", "unanswered"],
)
def test_it_is_refused_while_it_is_too_early(
    office: Office, arrange: Callable[[Office], Any], words: str, anyway: bool
) -> None:
    """With what to do first; `anyway` overrules what a person may take upon themselves, and nothing else."""
    arrange(office)
    before = office.everything()
    with pytest.raises(NotYet, match=words) as told:
        forget(office.store, office.settings, "E77", CLOCK)
    assert office.everything() == before
    assert ("--anyway" in str(told.value)) == anyway
    if anyway:
        assert forget(office.store, office.settings, "E77", CLOCK, anyway=True).gone
    else:
        with pytest.raises(NotYet):
            forget(office.store, office.settings, "E77", CLOCK, anyway=True)


def test_somebody_in_a_file_in_quarantine_is_not_forgotten_before_it_is_decided(office: Office) -> None:
    """A release would bring them back, and the counts of the file would no longer be true."""
    office.night(E77="terminated")
    everybody = office.rows
    office.rows = {number: everybody[number] for number in ("E77", "E70")}
    office.night("part.csv", E77="active")
    with pytest.raises(NotYet, match="quarantine"):
        forget(office.store, office.settings, "E77", CLOCK, anyway=True)


def test_nobody_is_forgotten_while_somebody_works_with_them(office: Office) -> None:
    """A push that runs would write the person anew."""
    leave(office)
    with office.store.begin() as connection:
        leases.take(connection, "moodle", "somebody", "push", NOW, 60)
    with pytest.raises(SiteBusy):
        forget(office.store, office.settings, "E77", CLOCK)


def test_a_number_that_nobody_has_is_told(office: Office) -> None:
    """Letter by letter: another case is another number."""
    office.night(E77="terminated")
    for number in ("e77", "E7 7", "E99"):
        with pytest.raises(FixConfiguration, match="holds nothing about"):
            forget(office.store, office.settings, number, CLOCK)
    with office.store.read() as connection:
        assert feeds.find_feed(connection, "hr").accepted_id is not None


def test_every_kind_whose_keys_begin_with_a_person_is_known_to_forgetting() -> None:
    """A connector with a further kind of people must be told of here, or something would stay."""
    with closing(MoodleConnector(MoodleOptions("http://moodle.example", token=SecretStr("t")))) as moodle:
        specs = [*(handler.spec for handler in moodle._handlers.values()), *SPECS]
    of_people = {spec.kind for spec in specs if spec.of_people}
    assert of_people - {"cohort"} == PEOPLE, "a cohort's key is a unit's or a position's"
    assert {spec.kind for spec in specs if spec.removed_by == "suspended"} == ACCOUNTS
