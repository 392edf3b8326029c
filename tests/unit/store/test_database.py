"""Opening a store: made, upgraded, refused, shared."""

from __future__ import annotations

import datetime as dt
import sqlite3
import stat
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, insert, inspect, select, text
from sqlalchemy.exc import OperationalError
from sqlmodel import SQLModel

from bridge.feed_settings import FeedSettings
from bridge.ports import FixConfiguration
from bridge.store import Store, StoreFault, database, journal
from bridge.store.database import alembic_config, known_revisions
from bridge.store.stage_tables import insert_rows
from bridge.store.state import load_base, table_of
from bridge.store.tables import RunRow
from jobs.ingest import FeedContext, Incoming, ingest


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'deep' / 'state.sqlite'}"
    url: str = request.getfixturevalue("empty_postgres")
    return url


def test_models_and_migrations_say_the_same(any_store: Store) -> None:
    """Autogenerate finds nothing to do: no migration was forgotten."""
    for path in Path(database.__file__).parent.glob("*.py"):
        # Tables belong to the schema once their module is loaded, and this test may be the first to need them.
        import_module(f"bridge.store.{path.stem}")
    with any_store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []


def test_migrations_stand_in_one_line_in_the_order_of_their_numbers() -> None:
    """The quick look at file names and Alembic's own reading name the same newest revision."""
    script = ScriptDirectory.from_config(alembic_config())
    assert script.get_heads() == [known_revisions()[-1]]
    assert sorted(revision.revision for revision in script.walk_revisions()) == known_revisions()


def test_a_store_of_the_first_release_is_upgraded_and_keeps_what_it_held(empty_url: str) -> None:
    """Bases, runs and the journal written under revision 0001 are there after opening."""
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).parent.mkdir()
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO base (site, kind, key, fields, parent, place, lms_id, retired, origin, run_id, changed_at)"
                " VALUES ('here', 'competency', 'F/A', '{\"name\":\"A\"}', NULL, 3, '7', FALSE, 'made', 1, 5.0)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO run (id, site, verb, state, started_at, counts, message)"
                " VALUES (1, 'here', 'push', 'done', 1.0, '{}', '')"
            )
        )
    engine.dispose()
    store = Store.open(empty_url)
    with store.read() as connection:
        base = load_base(connection, "here", "competency")["F/A"]
        run = journal.find_run(connection, 1)
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    store.close()
    assert (base.fields, base.place, base.lms_id) == ({"name": "A"}, 3, "7")
    assert run is not None
    assert run.state == "done"
    assert revision == known_revisions()[-1]


def test_a_store_written_by_a_newer_release_is_refused_with_a_remedy(any_url: str) -> None:
    """Nobody guesses at a schema from the future."""
    store = Store.open(any_url)
    with store.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(FixConfiguration, match=r"newer lms-bridge \(schema 9999"):
        Store.open(any_url)


def test_an_upgrade_that_breaks_half_way_leaves_nothing_behind(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables appear all together or not at all, so that opening again starts cleanly."""
    real = command.upgrade

    def breaks(*args: object) -> None:
        real(*args)  # type: ignore[arg-type]  # passed on as they came
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(command, "upgrade", breaks)
        with pytest.raises(FixConfiguration, match="the disk is full"):
            Store.open(empty_url)
    engine = create_engine(empty_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()
    Store.open(empty_url).close()


def test_two_programs_may_open_a_new_store_at_once(empty_url: str) -> None:
    """One makes the tables, the other waits and finds them."""
    program = f"from bridge.store import Store; Store.open({empty_url!r}).close()"
    started = [
        subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, cwd=Path.cwd()) for _ in range(2)
    ]
    ended = [(one.communicate()[1].decode(), one.returncode) for one in started]
    assert [code for _, code in ended] == [0, 0], ended


@pytest.mark.sqlite_only("about the store's file")
def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """The store names people: nobody else on the machine reads it, its log included."""
    path = tmp_path / "new" / "state.sqlite"
    store = Store.open(f"sqlite:///{path}")
    with store.begin() as connection:
        journal.start_run(connection, "here", "push", 1.0)
        modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    store.close()
    assert set(modes.values()) == {0o600}, modes


def test_a_transaction_that_raises_writes_nothing(any_store: Store) -> None:
    """All of a block or none of it."""

    def half_way() -> None:
        with any_store.begin() as connection:
            journal.start_run(connection, "here", "push", 1.0)
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        half_way()
    with any_store.read() as connection:
        assert journal.runs(connection) == []


def test_reading_waits_for_nobody(any_store: Store) -> None:
    """While one writes, another reads what was there before."""
    with any_store.begin() as writing:
        journal.start_run(writing, "here", "push", 1.0)
        with any_store.read() as reading:
            assert journal.runs(reading) == []


def test_what_is_committed_outlives_the_process_that_is_killed(any_url: str) -> None:
    """A SIGKILL right after the end of a block loses nothing of it, and nothing of the next stays."""
    program = (
        "import os\nfrom bridge.store import Store, journal\n"
        f"store = Store.open({any_url!r})\n"
        "with store.begin() as c: journal.start_run(c, 'here', 'push', 1.0)\n"
        "with store.begin() as c:\n    journal.start_run(c, 'here', 'pull', 2.0)\n    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    store = Store.open(any_url)
    with store.read() as connection:
        assert [run.verb for run in journal.runs(connection)] == ["push"]
    store.close()


@pytest.mark.sqlite_only("addresses of both kinds that cannot be opened")
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "LMS_BRIDGE_STORE"),
        ("sqlite:////proc/nowhere/state.sqlite", "may write there"),
        ("postgresql://bridge:sesame@127.0.0.1:9/none", "cannot be opened"),
    ],
)
def test_a_store_that_cannot_be_opened_is_a_sentence_without_the_password(url: str, says: str) -> None:
    """What happened and what to do, no traceback, no secret; a bare postgresql address finds its driver."""
    with pytest.raises(FixConfiguration, match=says) as caught:
        Store.open(url)
    assert "sesame" not in str(caught.value)


@pytest.mark.sqlite_only("about the store's file")
def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    """Pointing the store at any other file does not destroy it."""
    path = tmp_path / "letter.txt"
    path.write_text("Dear administrator, " * 100)
    with pytest.raises(FixConfiguration, match="not a database"):
        Store.open(f"sqlite:///{path}")
    assert path.read_text().startswith("Dear administrator")


@pytest.mark.sqlite_only("about SQLite's locks")
def test_two_writers_of_one_file_wait_for_each_other(sqlite_url: str) -> None:
    """A second connection's write begins when the first one's transaction has ended."""
    one, other = Store.open(sqlite_url), Store.open(sqlite_url)
    with one.begin() as connection:
        journal.start_run(connection, "here", "push", 1.0)
        raw = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            raw.execute("BEGIN IMMEDIATE")
        raw.close()
    with other.begin() as connection:
        connection.execute(
            insert(table_of(RunRow)).values(site="x", verb="y", state="z", started_at=0, counts="", message="")
        )
        assert len(connection.execute(select(table_of(RunRow))).all()) == 2
    one.close()
    other.close()


def test_a_database_that_fails_in_use_is_told_in_words(any_store: Store) -> None:
    """The sentence names the store and what to do, and repeats nothing of what was to be written."""
    with pytest.raises(StoreFault) as told, any_store.begin() as connection:
        raise OperationalError("INSERT", {"name": "Ada Lovelace"}, Exception("no room left.\nINSERT INTO person ..."))
    assert connection.closed
    assert "no room left. Look whether" in str(told.value)
    assert "run this again" in str(told.value)
    assert "Ada" not in str(told.value)
    assert "INSERT" not in str(told.value)


def test_a_nul_in_a_text_stops_nothing(any_store: Store) -> None:
    """What a broken file or answer brings is written down on both databases: by one statement, by many, in bulk."""
    runs = table_of(RunRow)
    told = {"site": "x", "verb": "y", "state": "z", "started_at": 0.0, "counts": ""}
    with any_store.begin() as connection:
        connection.execute(insert(runs), {**told, "message": "one\0"})
        connection.execute(insert(runs), [{**told, "message": text} for text in ("many\0", "plain")])
        insert_rows(connection, runs, (*told, "message"), [(*told.values(), "bulk\0")])
        found = connection.execute(select(runs.c.message).order_by(runs.c.id)).scalars().all()
    assert [text.replace("\0", "\u2400") for text in found] == ["one␀", "many␀", "plain", "bulk␀"]


@pytest.mark.parametrize("content", [b"a\0b,c\n1\n", b"\0\0\0\0", bytes(range(256)) * 8])
def test_rows_that_are_none_are_refused_on_both_databases(any_store: Store, tmp_path: Path, content: bytes) -> None:
    """With what was found in them, and no fault of the database's."""
    path = tmp_path / "people.csv"
    path.write_bytes(b"employee_id,first_name,last_name,email\n" + content)
    taken = ingest(any_store, FeedContext("hr", FeedSettings()), Incoming.of_path(path), dt.date(2026, 12, 31))
    assert (taken.created, taken.rejected) == (0, taken.rows)
