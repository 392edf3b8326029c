"""Backups: whole while somebody writes, put back in one step, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect, select

from bridge.ports import FixConfiguration
from bridge.settings import Settings
from bridge.store import Store, feeds, journal, leases, unattended
from bridge.store.feeds import Feed, Snapshot
from bridge.store.state import table_of
from bridge.store.tables import LeaseRow
from bridge.sync.clock import Clock
from bridge.sync.lease import SiteBusy
from jobs import backups
from jobs.backups import back_up, put_back
from tests.databases import PASSWORD

NOW = 1_800_000_000.0
CLOCK = Clock(now=lambda: NOW)


@pytest.fixture
def settings(any_url: str, tmp_path: Path) -> Settings:
    """Settings with a store, once on SQLite and once on PostgreSQL."""
    return Settings(folder=tmp_path / "home", store=any_url, sites={}, feeds={}, variables={})


@pytest.fixture
def opened(settings: Settings) -> Iterator[Store]:
    """That store, with one feed in it."""
    store = Store.open(settings.store)
    remember(store, "Monday")
    yield store
    store.close()


def remember(store: Store, reason: str) -> None:
    """Write something into the store that tells one state of it from another."""
    with store.begin() as connection:
        feeds.save_feed(connection, Feed("hr", reason=reason))
        feeds.add_snapshot(connection, Snapshot("hr", f"{reason}.csv", "0" * 64, 1, feeds.ACCEPTED))
        journal.start_run(connection, "moodle", "push", NOW)


def remembered(store: Store) -> tuple[str, int, int]:
    """Return what tells one state of the store from another."""
    with store.read() as connection:
        feed = feeds.find_feed(connection, "hr")
        return feed.reason, len(feeds.latest_snapshots(connection, "hr")), len(journal.runs(connection))


def test_what_is_put_back_is_what_was_copied(opened: Store, settings: Settings) -> None:
    """Monday's copy, then Tuesday; Monday again, and Tuesday's copy was made on the way."""
    monday = back_up(opened, settings, None, CLOCK)
    assert monday.kind == opened.engine.dialect.name
    remember(opened, "Tuesday")
    assert remembered(opened) == ("Tuesday", 2, 2)
    tuesday = put_back(opened, settings, monday.path, Clock(now=lambda: NOW + 60))
    assert remembered(opened) == ("Monday", 1, 1)
    assert tuesday is not None
    put_back(opened, settings, tuesday.path, Clock(now=lambda: NOW + 120))
    assert remembered(opened) == ("Tuesday", 2, 2)
    remember(opened, "Wednesday")
    assert remembered(opened) == ("Wednesday", 3, 3), "numbers go on where they were"


def test_a_copy_holds_every_table(opened: Store, settings: Settings, tmp_path: Path) -> None:
    """A table that somebody adds to the store is in the backup by itself."""
    everything = set(inspect(opened.engine).get_table_names())
    copy = back_up(opened, settings, tmp_path / "copy", CLOCK)
    if copy.kind == "sqlite":
        with closing(sqlite3.connect(copy.path)) as raw:
            held = {row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert held - {"sqlite_sequence"} == everything
    else:
        assert set(backups._tables(opened.engine)) == everything


def test_a_copy_is_for_its_owner_alone_and_overwrites_nothing(
    opened: Store, settings: Settings, tmp_path: Path
) -> None:
    """It names people."""
    path = tmp_path / "deep" / "copy"
    made = back_up(opened, settings, path, CLOCK)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["copy"], "nothing unfinished stays beside it"
    with pytest.raises(FixConfiguration, match="never overwrites"):
        back_up(opened, settings, path, CLOCK)
    into_folder = back_up(opened, settings, tmp_path / "deep", CLOCK)
    assert into_folder.path.parent == path.parent


def test_two_copies_of_one_second_stand_beside_each_other(opened: Store, settings: Settings) -> None:
    """Putting a copy back right after it was made keeps what was there under a name of its own."""
    monday = back_up(opened, settings, None, CLOCK)
    remember(opened, "Tuesday")
    tuesday = put_back(opened, settings, monday.path, CLOCK)
    assert tuesday is not None
    assert tuesday.path != monday.path
    assert remembered(opened) == ("Monday", 1, 1)


def test_a_copy_made_while_others_write_is_of_one_moment(opened: Store, settings: Settings, tmp_path: Path) -> None:
    """Each transaction writes to three tables; no copy has only part of one."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            remember(opened, "again")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        copies = [back_up(opened, settings, tmp_path / str(n), CLOCK).path for n in range(4)]
    finally:
        stop.set()
        writer.join()
    counts = []
    for copy in copies:
        put_back(opened, settings, copy, CLOCK)
        with opened.read() as connection:
            runs = len(journal.runs(connection, limit=1_000_000))
            counts.append((runs, len(feeds.latest_snapshots(connection, "hr", 1_000_000))))
        for left in (settings.folder / ".lms-bridge" / "backups").glob("*"):
            left.unlink()
    assert all(runs == files for runs, files in counts), counts
    assert counts == sorted(counts)


def test_nothing_is_put_back_while_somebody_works_with_the_store(opened: Store, settings: Settings) -> None:
    """A push that runs would go on with a store that knows nothing of it."""
    copy = back_up(opened, settings, None, CLOCK)
    with opened.begin() as connection:
        assert leases.take(connection, "moodle", "me", "push", NOW, 60)
    remember(opened, "Tuesday")
    with pytest.raises(SiteBusy, match="push at moodle"):
        put_back(opened, settings, copy.path, CLOCK)
    assert remembered(opened)[0] == "Tuesday"
    assert put_back(opened, settings, copy.path, Clock(now=lambda: NOW + 61)) is not None


def test_a_holder_from_before_is_never_taken_for_the_present_one(opened: Store, settings: Settings) -> None:
    """Leases are numbered; the backup knows small numbers, and a frozen program may hold a large one."""
    for turn in range(3):
        with opened.begin() as connection:
            leases.take(connection, "moodle", f"holder{turn}", "push", NOW + turn * 100, 60)
        if turn == 0:
            copy = back_up(opened, settings, None, CLOCK)
    put_back(opened, settings, copy.path, Clock(now=lambda: NOW + 1000))
    table = table_of(LeaseRow)
    with opened.read() as connection:
        row = connection.execute(select(table)).one()
    assert row.epoch > 3
    assert row.expires_at == 0


def test_a_backup_of_an_older_schema_is_brought_up_to_date(
    opened: Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made before an update, put back after it: the tables that came since are made anew."""
    from alembic import command

    from bridge.store.database import alembic_config, known_revisions

    old = known_revisions()[1]
    with opened.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, old)
    copy = back_up(opened, settings, tmp_path / "old", CLOCK)
    Store.open(settings.store).close()
    monkeypatch.setattr(backups, "_holds_anything", lambda _store: False)
    put_back(opened, settings, copy.path, CLOCK)
    reopened = Store.open(settings.store)
    try:
        assert remembered(reopened) == ("Monday", 1, 1)
        assert "title_decision" in inspect(reopened.engine).get_table_names()
    finally:
        reopened.close()


@pytest.mark.sqlite_only("about copies of the store's file")
@pytest.mark.parametrize("what", ["text", "cut", "flipped", "other", "missing"])
def test_what_is_no_whole_backup_is_refused_before_anything_is_touched(
    sqlite_url: str, tmp_path: Path, what: str
) -> None:
    """With the reason, and the store as it was."""
    settings = Settings(folder=tmp_path / "home", store=sqlite_url, sites={}, feeds={}, variables={})
    store = Store.open(sqlite_url)
    remember(store, "Monday")
    path = back_up(store, settings, tmp_path / "copy", CLOCK).path
    content = bytearray(path.read_bytes())
    if what == "text":
        path.write_text("not a backup", "utf-8")
    elif what == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif what == "flipped":
        content[4096:8192] = os.urandom(4096)
        path.write_bytes(content)
    elif what == "other":
        path.unlink()
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("CREATE TABLE somebody_elses (x)")
            raw.commit()
    else:
        path.unlink()
    with pytest.raises(FixConfiguration):
        put_back(store, settings, path, CLOCK)
    assert remembered(store) == ("Monday", 1, 1)
    store.close()


@pytest.mark.sqlite_only("about both kinds at once")
def test_a_backup_of_the_other_kind_of_store_is_refused(sqlite_url: str, postgres_url: str, tmp_path: Path) -> None:
    """A SQLite file is nothing that PostgreSQL takes, and the other way round."""
    made = {}
    for url in (sqlite_url, postgres_url):
        store = Store.open(url)
        settings = Settings(folder=tmp_path / "home", store=url, sites={}, feeds={}, variables={})
        made[url] = back_up(store, settings, tmp_path / store.engine.dialect.name, CLOCK).path
        store.close()
    for url, other in ((sqlite_url, postgres_url), (postgres_url, sqlite_url)):
        store = Store.open(url)
        settings = Settings(folder=tmp_path / "home", store=url, sites={}, feeds={}, variables={})
        with pytest.raises(FixConfiguration, match="of the same kind"):
            put_back(store, settings, made[other], CLOCK)
        store.close()


def test_without_the_programs_of_postgresql_the_message_says_what_to_run(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word, and without the password."""
    monkeypatch.setattr(backups, "_program", lambda _name, _engine: None)
    store = Store.open(postgres_url)
    settings = Settings(folder=tmp_path, store=postgres_url, sites={}, feeds={}, variables={})
    with pytest.raises(FixConfiguration, match="pg_dump --dbname=") as told:
        back_up(store, settings, tmp_path / "copy", CLOCK)
    assert "--format=custom" in str(told.value)
    assert "s3cret" not in str(told.value)
    assert not list(tmp_path.iterdir())
    store.close()


def test_the_password_of_the_database_stands_in_no_list_of_processes(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes by the environment of the one program that needs it."""
    seen = tmp_path / "seen"
    fake = tmp_path / "pg_dump"
    fake.write_text(f'#!/bin/sh\necho "$@" > {seen}\necho "$PGPASSWORD" >> {seen}\nexit 1\n', "utf-8")
    fake.chmod(0o700)
    monkeypatch.setattr(backups, "_program", lambda _name, _engine: fake)
    store = Store.open(postgres_url)
    settings = Settings(folder=tmp_path / "home", store=postgres_url, sites={}, feeds={}, variables={})
    with pytest.raises(Exception, match="pg_dump failed") as told:
        back_up(store, settings, tmp_path / "copy", CLOCK)
    arguments, password = seen.read_text("utf-8").splitlines()
    assert PASSWORD not in arguments + str(told.value)
    assert password == PASSWORD
    store.close()


def test_tables_of_others_in_the_same_database_are_neither_copied_nor_put_back(
    postgres_url: str, tmp_path: Path
) -> None:
    """A fleet's queue may live there: jobs of last week must not come back with the store."""
    store = Store.open(postgres_url)
    settings = Settings(folder=tmp_path / "home", store=postgres_url, sites={}, feeds={}, variables={})
    with store.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE somebody_elses (x int)")
    copy = back_up(store, settings, tmp_path / "copy", CLOCK)
    with store.begin() as connection:
        connection.exec_driver_sql("INSERT INTO somebody_elses VALUES (7)")
    put_back(store, settings, copy.path, CLOCK)
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT x FROM somebody_elses").scalar_one() == 7
    store.close()


def test_the_programs_of_postgresql_are_on_the_machine_that_runs_these_tests() -> None:
    """Where the server is, its own programs are; otherwise the tests above would have tested nothing."""
    assert shutil.which("pg_dump") or list(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"))


def test_nothing_is_put_back_while_a_daemon_lives_and_nothing_of_then_goes_on(
    opened: Store, settings: Settings
) -> None:
    """Even one that does nothing at the moment would take up what the backup says was under way, and push."""
    with opened.begin() as connection:
        unattended.claim(connection, "night", "here", 1.0, "somebody", 1.0)
    copy = back_up(opened, settings, None, Clock()).path
    now = Clock().now()
    with opened.begin() as connection:
        unattended.seen(connection, "elsewhere:1:abc:d", now, now)
    with pytest.raises(SiteBusy, match="a daemon on elsewhere"):
        put_back(opened, settings, copy, Clock())
    with opened.begin() as connection:
        unattended.seen(connection, "elsewhere:1:abc:d", now, now, stopped=now)
    put_back(opened, settings, copy, Clock())
    with opened.read() as connection:
        found = unattended.firing(connection, "night", "here")
    assert found is not None
    assert (found.state, "under way" in found.message) == ("failed", True)
