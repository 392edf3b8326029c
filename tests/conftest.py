"""What any test may ask for: a store on SQLite, and one on a real PostgreSQL that is started for these tests alone."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from bridge.store import Store

WITHOUT_SERVER = (
    "there is no PostgreSQL server on this machine; install it with: sudo apt-get install postgresql "
    "(the package with the server, not only psql)"
)


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


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[str]:
    """A private PostgreSQL cluster on a socket of its own: yields the address without a database's name."""
    server = _server()
    if server is None:
        pytest.skip(WITHOUT_SERVER)
    user = _other_user()
    # Not under pytest's own folder: that is closed to other accounts, and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if user is not None:
        shutil.chown(folder, user)
    data, log = folder / "data", folder / "log"
    make = [server.with_name("initdb"), "-D", data, "-U", "bridge", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run([*make, "--locale=C.UTF-8"], user=user, cwd=folder, check=True, capture_output=True)
    settings = {"listen_addresses": "", "unix_socket_directories": str(folder), "fsync": "off", "max_connections": "60"}
    flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with log.open("wb") as out:
        running = subprocess.Popen([server, "-D", data, *flags], user=user, cwd=folder, stdout=out, stderr=out)
    try:
        _wait_for(running, folder, log)
        yield f"postgresql+psycopg://bridge@/{{name}}?host={folder}"
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.send_signal(3)  # immediate shutdown
            running.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(running: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
    for _ in range(200):
        if running.poll() is not None:
            raise RuntimeError(f"PostgreSQL did not start: {log.read_text('utf-8', 'replace')}")
        try:
            psycopg.connect(host=str(folder), user="bridge", dbname="postgres").close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not answer: {log.read_text('utf-8', 'replace')}")


@pytest.fixture(scope="session")
def postgres_template(postgres_cluster: str) -> str:
    """The name of a database with the newest schema, of which each test gets a copy."""
    in_cluster(postgres_cluster, "CREATE DATABASE upgraded")
    Store.open(postgres_cluster.format(name="upgraded")).close()
    return "upgraded"


def in_cluster(cluster: str, statement: str) -> None:
    """Run a statement in the cluster's own database."""
    host = cluster.partition("host=")[2]
    with closing(psycopg.connect(host=host, user="bridge", dbname="postgres", autocommit=True)) as connection:
        connection.execute(statement)  # type: ignore[arg-type]  # statements of this module alone


@pytest.fixture
def empty_postgres(postgres_cluster: str) -> Iterator[str]:
    """The address of an empty PostgreSQL database, dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    in_cluster(postgres_cluster, f"CREATE DATABASE {name}")
    yield postgres_cluster.format(name=name)
    in_cluster(postgres_cluster, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_cluster: str, postgres_template: str) -> Iterator[str]:
    """The address of a PostgreSQL database with the newest schema and nothing in it, dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    in_cluster(postgres_cluster, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    yield postgres_cluster.format(name=name)
    in_cluster(postgres_cluster, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema, of which each test gets a copy."""
    path = tmp_path_factory.mktemp("template") / "state.sqlite"
    Store.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The address of a SQLite store with the newest schema and nothing in it."""
    path = tmp_path / "state.sqlite"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty store, once on SQLite and once on PostgreSQL."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def any_store(any_url: str) -> Iterator[Store]:
    """An empty store, once on SQLite and once on PostgreSQL."""
    store = Store.open(any_url)
    yield store
    store.close()


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    """An empty store on SQLite."""
    store = Store.open(sqlite_url)
    yield store
    store.close()


@pytest.fixture
def new_store(sqlite_template: Path, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """A maker of empty stores on SQLite, for tests that need several."""
    made: list[Store] = []

    def make() -> Store:
        path = tmp_path / f"state-{len(made)}.sqlite"
        shutil.copy(sqlite_template, path)
        made.append(Store.open(f"sqlite:///{path}"))
        return made[-1]

    yield make
    for one in made:
        one.close()
