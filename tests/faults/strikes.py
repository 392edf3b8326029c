"""What can strike the program from inside its own process: ends, clocks, names, databases. Installed after a fork.

Everything here acts on the real parts (a real SIGKILL, a real connection ended by PostgreSQL, a real full database);
only the moment is chosen by the test.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import Engine

from bridge.store import Store


class Counter:
    """Counts moments over several processes; the number lives in memory that forks share."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory.cast("q")

    def next(self) -> int:
        """Count one more and return its number, from 1."""
        self._memory[0] += 1
        return self._memory[0]


PATIENCE = 0.05
"""Seconds that a struck program waits at most before it looks or asks again."""


def hurry() -> None:
    """Shorten what is only waited for: nights by the hundred would wait for hours.

    A report has to keep its size for two seconds; a site that is busy is asked again after seconds, one whose limit is
    used up after a minute.
    """
    from connectors.moodle.connector import MoodleConnector
    from connectors.totara.graphql import GraphQlClient
    from connectors.totara.reports import stable

    def briefly(seconds: float) -> None:
        time.sleep(min(seconds, PATIENCE))

    for function in (MoodleConnector.__init__, GraphQlClient.__init__, stable):
        function.__kwdefaults__["sleep"] = briefly


def install(strike: dict[str, Any], counter: Counter) -> None:
    """Arrange for a strike at its moment. `kind` says which; other keys are its own."""
    kind = strike["kind"]
    if kind == "names":
        _lose_names(strike["at"], counter)
    elif kind == "effects":
        _at_effects(strike, counter)
    elif kind in _REFUSALS:
        _at_effects(strike, counter, _REFUSALS[kind])
    elif kind == "disk":
        # Beyond this size the kernel refuses to let a file grow, as a full disk does.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (strike["bytes"], strike["bytes"]))
    else:
        _at_commits(_COMMITS[kind], strike, counter)


Act = Callable[[dict[str, Any], Engine, Connection | None], None]
"""What strikes at a boundary: told its settings, the store's engine, and the connection if it is still open."""


def _at_commits(act: Act, strike: Any, counter: Counter) -> None:
    """Call `act` at the chosen boundary: before or after the commit of one transaction of the main thread."""
    begin = Store.begin
    main = threading.main_thread()

    @contextmanager
    def counted(self: Store) -> Iterator[Connection]:
        # The heartbeat writes on its own time; a boundary counted there would move between two runs of one night.
        if threading.current_thread() is not main:
            with begin(self) as connection:
                yield connection
            return
        number = counter.next()
        chosen = number == strike.get("at")
        with begin(self) as connection:
            yield connection
            if chosen and strike["side"] == "before":
                act(strike, self.engine, connection)
        if chosen and strike["side"] == "after":
            act(strike, self.engine, None)

    Store.begin = counted


_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_EFFECTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}


_REFUSALS = {"no room": errno.ENOSPC, "read only": errno.EROFS}


def _at_effects(strike: dict[str, Any], counter: Counter, refusal: int | None = None) -> None:
    """Strike the chosen effect on the files of the folder.

    Die before it, or a little after it has begun; or have it refused, and all that follow, as a disk does that is full
    or was made read-only.
    """
    folder, main = f"{Path.cwd()}{os.sep}", threading.main_thread()

    def heard(name: str, arguments: tuple[Any, ...]) -> None:
        if name != "open" and name not in _EFFECTS:
            return
        if name == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITING):
            return
        path = arguments[0]
        if not isinstance(path, str | os.PathLike) or threading.current_thread() is not main:
            return
        if not os.path.abspath(path).startswith(folder):
            return
        number = counter.next()
        if refusal is not None:
            if number >= strike["at"]:
                raise OSError(refusal, os.strerror(refusal), str(path))
        elif number == strike.get("at"):
            _die_after(strike["delay"])

    sys.addaudithook(heard)


def _die_after(delay: float) -> None:
    if delay:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def _nothing(_strike: dict[str, Any], _engine: Engine, _connection: Connection | None) -> None:
    """Only count."""


def _die(_strike: dict[str, Any], _engine: Engine, _connection: Connection | None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _jump(strike: dict[str, Any], _engine: Engine, _connection: Connection | None) -> None:
    """Set the clock forward or back, as a machine does that finds out what time it is."""
    real, seconds = time.time, strike["seconds"]
    time.time = lambda: real() + seconds
    # The program's clock took hold of the real one when it was loaded.
    from bridge.sync.clock import Clock

    Clock.__init__.__defaults__ = (time.time, *Clock.__init__.__defaults__[1:])


def _cut_database(_strike: dict[str, Any], engine: Engine, _connection: Connection | None) -> None:
    """Let PostgreSQL end every connection of this process, as it does when it is restarted."""
    import psycopg

    address = engine.url.set(drivername="postgresql").render_as_string(False)
    with psycopg.connect(address, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def _fill_database(_strike: dict[str, Any], engine: Engine, connection: Connection | None) -> None:
    """Let SQLite find no page more, as on a full disk; for this connection and all that follow."""

    @event.listens_for(engine, "begin")
    def full(found: Connection) -> None:
        pages = found.exec_driver_sql("PRAGMA page_count").scalar_one()
        found.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    if connection is not None:
        connection.execute(text("PRAGMA max_page_count = 1"))


def _forbid_writing(_strike: dict[str, Any], engine: Engine, connection: Connection | None) -> None:
    """Let SQLite refuse to write, as on a disk made read-only; for this connection and all that follow."""

    @event.listens_for(engine, "begin")
    def refuse(found: Connection) -> None:
        found.exec_driver_sql("PRAGMA query_only = ON")

    if connection is not None:
        connection.execute(text("PRAGMA query_only = ON"))


def _lock_database(strike: dict[str, Any], engine: Engine, _connection: Connection | None) -> None:
    """Hold SQLite's file for a while, as a backup program does."""
    held = threading.Event()

    def hold() -> None:
        other = sqlite3.connect(str(engine.url.database), timeout=10, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        held.set()
        time.sleep(strike["seconds"])
        other.execute("ROLLBACK")
        other.close()

    threading.Thread(target=hold, daemon=True).start()
    if not held.wait(15):
        raise RuntimeError("the file could not be locked")


_COMMITS: dict[str, Act] = {
    "count": _nothing,
    "die": _die,
    "jump": _jump,
    "cut": _cut_database,
    "full": _fill_database,
    "query only": _forbid_writing,
    "locked": _lock_database,
}


def _lose_names(at: int, counter: Counter) -> None:
    """Let the name server fail from the given look-up on."""
    real = socket.getaddrinfo

    def failing(*arguments: Any, **options: Any) -> Any:
        if counter.next() >= at:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(*arguments, **options)

    socket.getaddrinfo = failing
