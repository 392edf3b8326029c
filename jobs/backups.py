"""Copies of the store, and putting one back."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, inspect, select, update
from sqlmodel import SQLModel

from bridge.ports import FixConfiguration, StopRun
from bridge.settings import Settings
from bridge.store import Store, unattended
from bridge.store.database import known_revisions
from bridge.store.state import table_of
from bridge.store.tables import LeaseRow
from bridge.sync.clock import Clock
from bridge.sync.lease import SiteBusy, is_dead
from jobs.retention import backups_of
from jobs.schedule import LIVES

SQLITE_BEGINS = b"SQLite format 3\0"
POSTGRES_BEGINS = b"PGDMP"

TOOLS_SECONDS = 3600.0
"""Longest time for PostgreSQL's own programs to copy a store."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of the store that was written and looked at."""

    path: Path
    bytes: int
    kind: str
    """sqlite or postgresql."""


def back_up(store: Store, settings: Settings, to: Path | None, clock: Clock) -> Backup:
    """Copy the store while it is in use; the copy is whole, checked, and readable by its owner alone.

    Raises FixConfiguration where it cannot be written, or PostgreSQL's own programs are not there.
    """
    kind = store.engine.dialect.name
    ending = "sqlite" if kind == "sqlite" else "pgdump"
    stamp = dt.datetime.fromtimestamp(clock.now(), dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    path = to or backups_of(settings)
    if to is None or path.is_dir():
        path = _free_name(path, f"state-{stamp}", ending)
    if path.exists():
        raise FixConfiguration(f"{path} is there already, and a backup never overwrites anything. Name another file.")
    fresh = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
        if kind == "sqlite":
            _copy_sqlite(store.engine, fresh)
        else:
            _dump(store.engine, fresh)
        os.replace(fresh, path)
    except OSError as error:
        raise FixConfiguration(
            f"The backup cannot be written to {path.parent}: {error.strerror or error}. "
            "Make that a folder that may be written to and has room, or name another with --to."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
    return Backup(path, path.stat().st_size, kind)


def _free_name(folder: Path, stem: str, ending: str) -> Path:
    """Return a path that is not taken yet: two backups may fall into one second."""
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(path for name in names if not (path := folder / f"{name}.{ending}").exists())


def put_back(store: Store, settings: Settings, path: Path, clock: Clock) -> Backup | None:
    """Make the store what a backup says; return the backup that was made of it before (none of an empty store).

    Raises FixConfiguration where the file is none for this store, SiteBusy while somebody works with the store, and
    StopRun where putting it back failed; the store is then as it was.
    """
    kind = kind_of(path)
    mine = store.engine.dialect.name
    if kind != mine:
        raise FixConfiguration(
            f"{path} is a backup of {_named(kind)}, and the store is {_named(mine)}. "
            "Set `store` (or LMS_BRIDGE_STORE) to one of the same kind, or take another backup."
        )
    if kind == "sqlite":
        _check_sqlite(path)
    busy = _holders(store, clock.now())
    if busy:
        raise SiteBusy(
            f"Somebody works with the store now ({'; '.join(busy)}). Stop the daemon and wait for running commands, "
            "then restore."
        )
    epochs = _epochs(store)
    before = back_up(store, settings, None, clock) if _holds_anything(store) else None
    try:
        if kind == "sqlite":
            _fill_sqlite(store.engine, path)
        else:
            _load(store.engine, path)
    except (sqlite3.Error, OSError) as error:
        raise StopRun(f"Putting {path} back failed: {error}. The store is as it was.") from error
    # The copy may be of an older schema; opening it brings it up to date.
    reopened = Store.open(store.engine.url.render_as_string(hide_password=False))
    try:
        _outdate_leases(reopened, epochs)
    finally:
        reopened.close()
    return before


def kind_of(path: Path) -> str:
    """Return of which kind of store a file is a backup. Raises FixConfiguration where it is none."""
    try:
        with path.open("rb") as stream:
            head = stream.read(len(SQLITE_BEGINS))
    except OSError as error:
        raise FixConfiguration(f"{path} cannot be read: {error.strerror or error}. Check the name.") from error
    if head == SQLITE_BEGINS:
        return "sqlite"
    if head.startswith(POSTGRES_BEGINS):
        return "postgresql"
    raise FixConfiguration(f"{path} is no backup of a store. `lms-bridge backup` writes one.")


def _named(kind: str) -> str:
    return {"sqlite": "a SQLite file", "postgresql": "a PostgreSQL database"}.get(kind, kind)


# --- Who works with the store, and what it holds --------------------------------------------------------------------


def _holders(store: Store, now: float) -> list[str]:
    table = table_of(LeaseRow)
    with store.read() as connection:
        rows = connection.execute(select(table.c.site, table.c.what).where(table.c.expires_at > now))
        found = [f"{row.what} at {row.site}" for row in rows]
        # One that does nothing now would go on with what the backup says was under way.
        living = [one.name for one in unattended.daemons(connection, now - LIVES) if not is_dead(one.name)]
    named = [(one.partition(":")[0], one.partition(":")[2].partition(":")[0]) for one in living]
    return [*found, *(f"a daemon on {host}, process {pid}" for host, pid in named)]


def _epochs(store: Store) -> int:
    """Return the highest number that a holder of a lease was given."""
    with store.read() as connection:
        return int(connection.execute(select(func.coalesce(func.max(table_of(LeaseRow).c.epoch), 0))).scalar_one())


def _outdate_leases(store: Store, highest: int) -> None:
    """End the leases that the backup holds, and number them beyond all that were given since: whoever was frozen
    while holding one must not be taken for the present holder. What was under way then is nobody's to take up."""
    table = table_of(LeaseRow)
    with store.begin() as connection:
        connection.execute(update(table).values(epoch=table.c.epoch + highest + 1, expires_at=0))
        unattended.cut_off(connection, "It was under way when the backup was made that the store comes from.")


def _holds_anything(store: Store) -> bool:
    names = ("run", "snapshot", "base", "title_decision")
    with store.read() as connection:
        tables = [table for table in SQLModel.metadata.sorted_tables if table.name in names]
        return any(connection.execute(select(1).select_from(table).limit(1)).first() for table in tables)


# --- SQLite ---------------------------------------------------------------------------------------------------------


def _file_of(engine: Engine) -> str:
    database = engine.url.database
    if not database or database == ":memory:":
        raise FixConfiguration("The store is in memory only; there is nothing to back up. Set `store` to a file.")
    return database


def _copy_sqlite(engine: Engine, to: Path) -> None:
    """Copy by SQLite's own online backup: whole although others may be writing."""
    with closing(sqlite3.connect(_file_of(engine))) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file that stands by itself
        found = target.execute("PRAGMA integrity_check").fetchone()
    if found != ("ok",):
        raise StopRun(
            f"The store itself is damaged: {found[0] if found else 'no answer'}. Restore an earlier backup with "
            "`lms-bridge restore FILE`."
        )


def _check_sqlite(path: Path) -> None:
    """Raise FixConfiguration where a file is no whole store of this program or an older one."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source:
            sound = source.execute("PRAGMA integrity_check").fetchone()
            names = {row[0] for row in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            revision = source.execute("SELECT version_num FROM alembic_version").fetchone() if names else None
    except sqlite3.Error as error:
        raise FixConfiguration(f"{path} is not a whole backup: {error}. Take another one.") from error
    if sound != ("ok",):
        raise FixConfiguration(f"{path} is damaged: {sound[0] if sound else 'no answer'}. Take another backup.")
    if revision is None or "base" not in names:
        raise FixConfiguration(f"{path} is a SQLite file, but not a store of the bridge.")
    if revision[0] not in known_revisions():
        raise FixConfiguration(
            f"{path} was written by a newer lms-bridge (schema {revision[0]}). Install that version, then restore."
        )


def _fill_sqlite(engine: Engine, path: Path) -> None:
    """Copy a backup into the store in one transaction: whoever looks sees all of it or nothing."""
    target_file = _file_of(engine)
    engine.dispose()
    with (
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(target_file, timeout=30)) as target,
    ):
        source.backup(target)
        target.execute("PRAGMA journal_mode = WAL")


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def _dump(engine: Engine, to: Path) -> None:
    """Copy the bridge's own tables by pg_dump: a fleet's queue may live in the same database and is none of them."""
    tables = [f"--table=public.{name}" for name in _tables(engine)]
    _run(engine, "pg_dump", ["--format=custom", "--no-owner", "--no-privileges", f"--file={to}", *tables], str(to))


def _load(engine: Engine, path: Path) -> None:
    """Put tables back by pg_restore, in one transaction."""
    arguments = ["--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"]
    before = _tables(engine)
    _run(engine, "pg_restore", [*arguments, str(path)], str(path))
    listed = _run(engine, "pg_restore", ["--list", str(path)], str(path), connect=False)
    dumped = {line.split()[5] for line in listed.splitlines() if " TABLE public " in line}
    with engine.begin() as connection:
        for name in before:  # a table that came after the backup is made anew by the migration that made it then
            if name not in dumped:
                connection.exec_driver_sql(f'DROP TABLE "{name}" CASCADE')


def _tables(engine: Engine) -> list[str]:
    """Return the bridge's own tables that the database has."""
    import bridge.store.feed_tables
    import bridge.store.titles
    import bridge.store.unattended_tables  # noqa: F401  tables are known once their modules are

    return sorted(set(inspect(engine).get_table_names()) & {*SQLModel.metadata.tables, "alembic_version"})


def _run(engine: Engine, program: str, arguments: Sequence[str], file: str, *, connect: bool = True) -> str:
    """Run one of PostgreSQL's programs on the store; return what it printed. The password goes by the environment,
    where no list of processes shows it."""
    told = _reach(engine)
    environment = {**os.environ, "PGCONNECT_TIMEOUT": "20"}
    if password := told.pop("password", None):
        environment["PGPASSWORD"] = str(password)
    where = " ".join(f"{name}='{_quoted(str(value))}'" for name, value in told.items())
    by_hand = f'{program} --dbname="{where}" {" ".join(arguments)}'
    found = _program(program, engine)
    if found is None:
        raise FixConfiguration(
            f"{program} is not on this machine (Debian, Ubuntu: sudo apt-get install postgresql-client). Install it in "
            f"the server's version or newer, or run this where it is:\n  {by_hand}"
        )
    try:
        done = subprocess.run(  # noqa: S603  PostgreSQL's own programs, with what the settings say and no shell
            [str(found), *([f"--dbname={where}"] if connect else []), *arguments],
            env=environment, capture_output=True, text=True, timeout=TOOLS_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise StopRun(f"{program} was not through after {TOOLS_SECONDS / 60:g} minutes and was stopped.") from error
    if done.returncode:
        said = " ".join(done.stderr.split())[:500]
        hint = (
            " Install the client programs of the server's version." if "server version mismatch" in done.stderr else ""
        )
        raise StopRun(f"{program} failed on {file}: {said}.{hint} The store is as it was.")
    return done.stdout


def _reach(engine: Engine) -> dict[str, Any]:
    """Return how PostgreSQL's programs reach the database, as its own keywords."""
    _, options = engine.dialect.create_connect_args(engine.url)
    known = ("host", "hostaddr", "port", "dbname", "user", "password", "sslmode", "sslrootcert", "sslcert", "sslkey")
    return {name: options[name] for name in known if options.get(name)}


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _program(name: str, engine: Engine) -> Path | None:
    """Return a program that is not older than the server: Debian keeps those of several versions apart."""
    with engine.connect() as connection:
        server = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
    beside = {int(path.parent.parent.name): path for path in Path("/usr/lib/postgresql").glob(f"[0-9]*/bin/{name}")}
    fitting = sorted(version for version in beside if version >= server)
    if fitting:
        return beside[fitting[0]]
    found = shutil.which(name)
    return Path(found) if found else None
