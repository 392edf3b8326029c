"""What any test may ask for: a store on SQLite, and one on a real PostgreSQL that is started for these tests alone.

`--database postgresql` has every store of a run on PostgreSQL, but for tests marked `sqlite_only("why")`.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from itertools import count
from pathlib import Path

import pytest

from bridge.store import Store
from tests.databases import KINDS, POSTGRESQL, SQLITE, address, databases, on, setting, store_of

# --- Choosing the database --------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run choose the database of every store."""
    parser.addoption(
        "--database",
        choices=KINDS,
        default=SQLITE,
        help="the database that every store of the tests is in (default: sqlite; some tests run on both anyway)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take the choice before the first fixture is made, also in each worker."""
    databases.kind = config.getoption("--database")
    # A shell that starts a run in the background has it ignore Ctrl-C, and all its children with it: those that are to
    # be stopped that way would not notice.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure() -> None:
    """Stop the PostgreSQL server that was started for these tests."""
    databases.stop()


def pytest_report_header(config: pytest.Config) -> str:
    """Say at the start which database it is."""
    return f"database of the stores: {config.getoption('--database')}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL leave out the twins, on SQLite, of tests that run on both."""
    if config.getoption("--database") == SQLITE:
        return
    twins = [item for item in items if isinstance(item, pytest.Function) and SQLITE in _parameters(item)]
    config.hook.pytest_deselected(items=twins)
    gone = set(twins)
    items[:] = [item for item in items if item not in gone]


def _parameters(item: pytest.Function) -> list[object]:
    return list(item.callspec.params.values()) if hasattr(item, "callspec") else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end which tests stayed on SQLite, and why."""
    stayed: dict[str, int] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call" and (why := dict(report.user_properties).get("sqlite_only")):
                stayed[str(why)] = stayed.get(str(why), 0) + 1
    if stayed and terminalreporter.config.getoption("--database") == POSTGRESQL:
        terminalreporter.section(f"{sum(stayed.values())} tests stayed on SQLite")
        for why, number in sorted(stayed.items()):
            terminalreporter.line(f"{number:4} {why}")


def _why_not_on_postgresql(item: pytest.Item) -> str | None:
    """Return why a test keeps its stores where it has them; empty where it chose PostgreSQL by itself."""
    if (only := item.get_closest_marker("sqlite_only")) is not None:
        return str(only.args[0])
    if FAULTS not in item.path.parents:
        return None
    chosen = isinstance(item, pytest.Function) and POSTGRESQL in _parameters(item)
    return "" if chosen else "a sweep of faults, which chooses the database strike by strike"


FAULTS = Path(__file__).parent / "faults"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Give a test that is about SQLite alone its SQLite, fixtures included."""
    why = _why_not_on_postgresql(item)
    if why is None or databases.kind == SQLITE:
        return (yield)
    if why:
        item.user_properties.append(("sqlite_only", why))
    databases.kind = SQLITE
    try:
        return (yield)
    finally:
        databases.kind = POSTGRESQL


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """After a test drop the databases that stood for places in its folder."""
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    try:
        return (yield)
    finally:
        if folder is not None:
            databases.finish(folder)


@pytest.fixture(scope="session", autouse=True)
def _stores_are_where_they_were_asked_for() -> Iterator[None]:
    """Let no test that is to be on PostgreSQL open a store on SQLite by an address of its own."""
    real = Store.open

    def guarded(url: str) -> Store:
        """Open a store, and note it."""
        if databases.kind == POSTGRESQL:
            assert not url.startswith(SQLITE), f"{url} in a run on PostgreSQL: ask tests.databases for the address"
        store = real(url)
        if store.engine.dialect.name == POSTGRESQL:
            databases.opened(store)
        return store

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "open", guarded)
        yield


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_cluster() -> str:
    """The address of the tests' PostgreSQL, without a database's name."""
    return databases.cluster().address


@pytest.fixture(scope="session")
def postgres_template(postgres_cluster: str) -> str:  # noqa: ARG001 - the cluster it is in
    """The name of a database with the newest schema, of which each test gets a copy."""
    return databases.cluster().template()


def in_cluster(_cluster: str, statement: str) -> None:
    """Run a statement in the cluster's own database."""
    databases.cluster().run(statement)


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
    databases.let_go(name)
    in_cluster(postgres_cluster, f"DROP DATABASE {name} WITH (FORCE)")


# --- SQLite -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema, of which each test gets a copy."""
    path = tmp_path_factory.mktemp("template") / "state.sqlite"
    with on(SQLITE):
        Store.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The address of a SQLite store with the newest schema and nothing in it, for tests about SQLite."""
    return _sqlite_at(tmp_path / "state.sqlite", sqlite_template)


def _sqlite_at(path: Path, template: Path) -> str:
    shutil.copy(template, path)
    return f"sqlite:///{path}"


# --- Either -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """A maker of empty stores' addresses, in the database that was chosen, for tests that need several."""
    numbers = count()

    def make() -> str:
        path = tmp_path / f"state-{next(numbers)}.sqlite"
        if databases.kind == SQLITE:
            return _sqlite_at(path, request.getfixturevalue("sqlite_template"))
        return address(path)

    return make


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store in the database that was chosen."""
    if databases.kind == SQLITE:
        url: str = request.getfixturevalue("sqlite_url")
        return url
    return address(tmp_path / "state.sqlite")


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store in the database that was chosen."""
    store = Store.open(store_url)
    yield store
    store.close()


@pytest.fixture
def new_store(new_url: Callable[[], str]) -> Iterator[Callable[[], Store]]:
    """A maker of empty stores in the database that was chosen, for tests that need several."""
    made: list[Store] = []

    def make() -> Store:
        made.append(Store.open(new_url()))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands are run in within the test's own process, with a store in the database chosen."""
    monkeypatch.chdir(tmp_path)
    for name, value in setting(store_of(tmp_path)).items():
        monkeypatch.setenv(name, value)
    return tmp_path


# --- Both -------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=KINDS)
def any_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty store, once on SQLite and once on PostgreSQL."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == SQLITE else "postgres_url")
    return url


@pytest.fixture
def any_store(any_url: str) -> Iterator[Store]:
    """An empty store, once on SQLite and once on PostgreSQL."""
    store = Store.open(any_url)
    yield store
    store.close()
