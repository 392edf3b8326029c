"""Opening the store: SQLite for one machine, PostgreSQL for several, brought to the newest schema on the way."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from bridge.ports import FixConfiguration, StopRun

if TYPE_CHECKING:
    from alembic.config import Config

BUSY_SECONDS = 30
"""How long a command waits for another one that is writing to the same SQLite file."""


class StoreFault(StopRun):
    """The store fails while it is in use: its disk is full, its server went away, somebody locks it for too long."""


class Store:
    """The memory. `begin` gives a transaction to write in, `read` one to read in; both end with its block.

    Both raise StoreFault where the database fails them.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, url: str) -> Store:
        """Open (and where needed create or upgrade) the store at a SQLAlchemy URL.

        Raises FixConfiguration where it cannot be opened or is newer than this program.
        """
        try:
            parsed = make_url(url)
        except Exception as error:
            raise FixConfiguration(
                f"The store's address is not one: {type(error).__name__}. "
                "Set LMS_BRIDGE_STORE to something like sqlite:///state.sqlite."
            ) from error
        shown = parsed.render_as_string(hide_password=True)
        try:
            if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
                _private_file(Path(str(parsed.database)))
            if parsed.drivername in ("postgresql", "postgres"):
                # The driver that the extra installs, whatever SQLAlchemy would take for the bare name.
                parsed = parsed.set(drivername="postgresql+psycopg")
            # A daemon keeps connections for days: one that the server dropped is noticed before it is used.
            engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
            if engine.dialect.name == "sqlite":
                _tune_sqlite(engine)
            else:
                _show_nul(engine)
            try:
                _upgrade(engine)
            except BaseException:
                engine.dispose()
                raise
        except ModuleNotFoundError as error:
            raise FixConfiguration(
                f"The store {shown} needs the Python package {error.name}. Install lms-bridge[postgres]."
            ) from error
        except (DBAPIError, OSError) as error:
            raise FixConfiguration(
                f"The store {shown} cannot be opened: {_reason(error)}. "
                "Check LMS_BRIDGE_STORE and that this account may write there."
            ) from error
        return cls(engine)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction to write in, committed at the end of the block and rolled back if it raises."""
        with self._faults_in_words(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: it waits for nobody."""
        with (
            self._faults_in_words(),
            self.engine.connect().execution_options(bridge_reads_only=True) as connection,
        ):
            yield connection

    @contextmanager
    def _faults_in_words(self) -> Iterator[None]:
        try:
            yield
        except (DataError, IntegrityError, ProgrammingError):
            # These tell of a mistake in this program, not of a database in trouble.
            raise
        except DBAPIError as error:
            shown = self.engine.url.render_as_string(hide_password=True)
            raise StoreFault(
                f"The store {shown} failed: {_reason(error)}. {_ADVICE[self.engine.dialect.name]} Then run this again: "
                "what had been sent and was not written down is looked up first, and nothing is sent twice."
            ) from error

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()


_ADVICE = {
    "sqlite": "Look whether its disk is full or was made read-only, and whether another program keeps the file locked.",
    "postgresql": "Look whether the server runs, can be reached and has room.",
}


def _reason(error: Exception) -> str:
    """Return what a database says is wrong, without the statement, which may hold people's data."""
    said = str(getattr(error, "orig", error)).strip().splitlines()
    return next(iter(said), type(error).__name__).rstrip(".")


def _private_file(path: Path) -> None:
    """Make the file before SQLite does, readable by its owner alone: it names people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


def _tune_sqlite(engine: Engine) -> None:
    """Write-ahead log, real transactions (the driver's own begin too late), and patience with a busy file."""

    @event.listens_for(engine, "connect")
    def connected(raw: sqlite3.Connection, _record: Any) -> None:
        raw.isolation_level = None
        raw.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A writer takes the lock at once: taking it half-way through a transaction fails instead of waiting.
        reads_only = connection.get_execution_options().get("bridge_reads_only", False)
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def without_nul(value: Any) -> Any:
    """Return a value as PostgreSQL takes it: it holds no NUL in text, so that one shows as the picture of one (␀).

    A file that is no table, or an answer cut to pieces, brings such a character, and what was wrong with it is to be
    written down all the same.
    """
    return value.replace("\0", "\u2400") if isinstance(value, str) and "\0" in value else value


def _show_nul(engine: Engine) -> None:
    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def before(
        _connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> tuple[str, Any]:
        return statement, [_shown(one) for one in parameters] if many else _shown(parameters)


def _shown(parameters: Any) -> Any:
    """Return the parameters of one statement without NUL; the same object where there is none, as nearly always."""
    values = parameters.values() if isinstance(parameters, Mapping) else parameters
    if not any(isinstance(value, str) and "\0" in value for value in values):
        return parameters
    if isinstance(parameters, Mapping):
        return {name: without_nul(value) for name, value in parameters.items()}
    return tuple(without_nul(value) for value in parameters)


MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_config() -> Config:
    """Return the configuration of the shipped migrations."""
    # Imported here because it is slow, and hardly ever needed: only where the schema has to change.
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def known_revisions() -> list[str]:
    """Return the schema revisions this program knows, oldest first; the names of the migrations begin with them."""
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _revision(connection: Connection) -> str | None:
    """Return the revision of the schema in a store, None where it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return found


def _upgrade(engine: Engine) -> None:
    """Bring the schema to the newest revision; does nothing but one look where it is there already."""
    known = known_revisions()
    head = known[-1]
    with engine.connect().execution_options(bridge_reads_only=True) as connection:
        current = _revision(connection)
    if current == head:
        return
    if current is not None and current not in known:
        raise FixConfiguration(
            f"The store was written by a newer lms-bridge (schema {current}; this one knows {head}). "
            "Install the newer version again, or restore the store from before."
        )
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # Two programs started at once must not both create the tables.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4210733)")
        if _revision(connection) == head:
            return
        from alembic import command

        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
