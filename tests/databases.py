"""Which database the tests' stores are in: SQLite, or with `--database postgresql` a real PostgreSQL of their own.

A test says where its store would be as a file, and asks `address` for the address of what stands there. On SQLite that
is the file; on PostgreSQL a database made for that place alone, a fresh copy of one with the newest schema.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from bridge.store import Store

SQLITE, POSTGRESQL = "sqlite", "postgresql"
KINDS = (SQLITE, POSTGRESQL)

WITHOUT_SERVER = (
    "there is no PostgreSQL server on this machine; install it with: sudo apt-get install postgresql "
    "(the package with the server, not only psql)"
)

PASSWORD = "canary-store-7c41e9"
"""Of the stores: the cluster asks for none, so what turns up anywhere else was leaked by the bridge."""

TEMPLATE = "upgraded"
"""The name of a database with the newest schema, of which each test gets a copy."""


class Cluster:
    """A private PostgreSQL cluster on a socket of its own."""

    def __init__(self, server: Path) -> None:
        self._server = server
        user = _other_user()
        # Not under pytest's own folder: that is closed to other accounts, and a socket's path must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        if user is not None:
            shutil.chown(self.folder, user)
        data, self._log = self.folder / "data", self.folder / "log"
        make = [server.with_name("initdb"), "-D", data, "-U", "bridge", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*make, "--locale=C.UTF-8"], user=user, cwd=self.folder, check=True, capture_output=True)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "max_connections": "100",
        }
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("wb") as out:
            self._running = subprocess.Popen(
                [server, "-D", data, *flags], user=user, cwd=self.folder, stdout=out, stderr=out
            )
        self._template_made = False
        self.address = f"postgresql+psycopg://bridge:{PASSWORD}@/{{name}}?host={self.folder}"
        """The address of a database in it, but for the `{name}`."""
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        for _ in range(200):
            if self._running.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {self._log.read_text('utf-8', 'replace')}")
            try:
                psycopg.connect(host=str(self.folder), user="bridge", dbname="postgres").close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"PostgreSQL did not answer: {self._log.read_text('utf-8', 'replace')}")

    def run(self, *statements: str) -> None:
        """Run statements in the cluster's own database."""
        with closing(
            psycopg.connect(host=str(self.folder), user="bridge", dbname="postgres", autocommit=True)
        ) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]  # statements of the tests alone

    def template(self) -> str:
        """Return the name of the database with the newest schema; made when first asked for."""
        if not self._template_made:
            self.run(f"CREATE DATABASE {TEMPLATE}")
            Store.open(self.address.format(name=TEMPLATE)).close()
            self._template_made = True
        return TEMPLATE

    def stop(self) -> None:
        """Stop the server and remove what it kept."""
        self._running.terminate()
        try:
            self._running.wait(10)
        except subprocess.TimeoutExpired:
            self._running.send_signal(3)  # immediate shutdown
            self._running.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


def _server() -> Path | None:
    """Return the PostgreSQL server's program; Debian keeps it out of the path."""
    found = shutil.which("postgres")
    places = [Path(found)] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return places[-1].resolve() if places else None


def _other_user() -> str | None:
    """Return the account that the server runs under: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return None
    accounts = {account.pw_name for account in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in accounts)


class Databases:
    """What this process of pytest uses: the kind that was asked for, the cluster, and the databases made in it."""

    def __init__(self) -> None:
        self.kind = SQLITE
        self._cluster: Cluster | None = None
        self._made: dict[Path, str] = {}
        self._engines: dict[str, list[Engine]] = {}

    def cluster(self) -> Cluster:
        """Return the cluster, started when first asked for; skips the test where this machine has no server."""
        if self._cluster is None:
            server = _server()
            if server is None:
                pytest.skip(WITHOUT_SERVER)
            self._cluster = Cluster(server)
        return self._cluster

    def stop(self) -> None:
        """Stop the cluster, if there is one."""
        for name in list(self._engines):
            self.let_go(name)
        if self._cluster is not None:
            self._cluster.stop()
            self._cluster = None
            self._made.clear()

    def address(self, path: Path) -> str:
        """Return the address of the store at a place."""
        path = path.absolute()
        if self.kind == SQLITE:
            return f"sqlite:///{path}"
        if path not in self._made:
            self._make(path, self.cluster().template())
        return self.cluster().address.format(name=self._made[path])

    def _make(self, path: Path, template: str) -> None:
        name = f"at_{hashlib.sha256(str(path).encode()).hexdigest()[:24]}"
        self.cluster().run(f"CREATE DATABASE {name} TEMPLATE {template}")
        self._made[path] = name

    def copy(self, source: str, path: Path) -> str:
        """Copy a store that nobody has open to another place, and return the address of the copy."""
        path = path.absolute()
        if source.startswith(SQLITE):
            with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as raw:
                raw.execute("VACUUM INTO ?", (str(path),))
            return f"sqlite:///{path}"
        self._make(path, str(make_url(source).database))
        return self.cluster().address.format(name=self._made[path])

    def keep(self, store: str) -> None:
        """Remember what a PostgreSQL store holds now; SQLite's is a file that is copied like others."""
        if not store.startswith(SQLITE):
            self._replace(name := str(make_url(store).database), f"{name}_kept")

    def bring_back(self, store: str) -> None:
        """Let a PostgreSQL store hold again what was remembered of it."""
        if not store.startswith(SQLITE):
            self._replace(f"{(name := str(make_url(store).database))}_kept", name)

    def _replace(self, source: str, target: str) -> None:
        for name in (source, target):
            self.let_go(name)
        # Whoever is still connected would stand in the way, a process that was just killed too.
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{source}'"  # noqa: S608 - ours
        drop = f"DROP DATABASE IF EXISTS {target} WITH (FORCE)"
        self.cluster().run(end, drop, f"CREATE DATABASE {target} TEMPLATE {source}")

    def opened(self, store: Store) -> None:
        """Note a store that a test opened on PostgreSQL: not every test closes what it opens."""
        self._engines.setdefault(str(store.engine.url.database), []).append(store.engine)

    def let_go(self, name: str) -> None:
        """Close what is still open of a database."""
        for engine in self._engines.pop(name, ()):
            engine.dispose()

    def finish(self, folder: Path) -> None:
        """Drop the databases that stand for places in a folder, whoever is still connected to them.

        Raises AssertionError where the folder holds a store on SQLite although it was to be on PostgreSQL.
        """
        gone = {path: name for path, name in self._made.items() if path.is_relative_to(folder.absolute())}
        for path, name in gone.items():
            self.let_go(name)
            self.cluster().run(f"DROP DATABASE {name} WITH (FORCE)")
            del self._made[path]
        if gone or self.kind == POSTGRESQL:
            strays = list(sqlite_stores(folder))
            assert not strays, f"{strays}: stores on SQLite in a test on PostgreSQL; ask tests.databases for addresses"


databases = Databases()
"""Those of this process."""


def address(path: Path) -> str:
    """Return the address of the store at a place: the file's on SQLite, on PostgreSQL that of a database of its own."""
    return databases.address(path)


def store_of(folder: Path) -> str:
    """Return the address of the store that commands run in a folder use."""
    return address(folder / ".lms-bridge" / "state.sqlite")


def setting(store: str) -> dict[str, str]:
    """Return the one setting, as an environment, by which commands use a store.

    On SQLite it is left out: without it the store is the file that `store_of` names.
    """
    return {} if store.startswith(SQLITE) else {"LMS_BRIDGE_STORE": store}


def kind_of(store: str) -> str:
    """Return which kind of database an address is of."""
    return SQLITE if store.startswith(SQLITE) else POSTGRESQL


@contextmanager
def on(kind: str) -> Iterator[None]:
    """Have stores made in one database, whatever was asked for."""
    before, databases.kind = databases.kind, kind
    try:
        yield
    finally:
        databases.kind = before


def sqlite_stores(folder: Path) -> Iterator[Path]:
    """Find the stores on SQLite below a folder, by what is in the files."""
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size >= len(_SQLITE_FILE):
            with path.open("rb") as file:
                if file.read(len(_SQLITE_FILE)) == _SQLITE_FILE and b"alembic_version" in file.read():
                    yield path


_SQLITE_FILE = b"SQLite format 3\0"


def in_store(store: str) -> dict[str, str]:
    """Return all that a store on the tests' own PostgreSQL holds, the queue's tables too, by table.

    Nothing for one on SQLite, which is a file like others.
    """
    if PASSWORD not in store:
        return {}
    url = make_url(store)
    found: dict[str, str] = {}
    with closing(psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))) as connection:
        tables = connection.execute(
            "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables "
            "WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for (table,) in tables:
            with connection.cursor().copy(f"COPY {table} TO STDOUT") as rows:
                found[f"table {table}"] = b"".join(bytes(part) for part in rows).decode("utf-8")
    return found
