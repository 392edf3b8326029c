"""Stores for nights that are struck: as many as a sweep needs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.conftest import in_cluster
from tests.faults.night import Undisturbed, night, small_company
from tests.faults.warm import Warm, warm


@pytest.fixture(scope="session")
def process() -> Iterator[Warm]:
    """One warm process for all nights."""
    with warm() as found:
        yield found


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small company's files."""
    folder = tmp_path_factory.mktemp("company") / "company"
    folder.mkdir()
    small_company(folder)
    return folder


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, company: Path, process: Warm) -> Undisturbed:
    """A night that nothing strikes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with night(folder / "night", company, f"sqlite:///{folder}/state.sqlite", process) as found:
        codes, commits = found.run({"kind": "count"})
        assert codes == [0, 0, 0], found.said()
        assert found.made_twice() == []
        return Undisturbed(found.left(), commits, found.moodle.requests.total)


@pytest.fixture
def postgres_stores(postgres_cluster: str, postgres_template: str) -> Iterator[Callable[[], str]]:
    """A maker of PostgreSQL databases with the newest schema; the one before is dropped with the next."""
    made: list[str] = []

    def drop() -> None:
        while made:
            in_cluster(postgres_cluster, f"DROP DATABASE {made.pop()} WITH (FORCE)")

    def make() -> str:
        drop()
        made.append(f"night_{secrets.token_hex(6)}")
        in_cluster(postgres_cluster, f"CREATE DATABASE {made[-1]} TEMPLATE {postgres_template}")
        return postgres_cluster.format(name=made[-1])

    yield make
    drop()


@pytest.fixture
def sqlite_stores(tmp_path: Path) -> Callable[[], str]:
    """A maker of addresses at which there is no SQLite store yet."""
    numbers = count()
    return lambda: f"sqlite:///{tmp_path}/state{next(numbers)}.sqlite"


@pytest.fixture(params=["sqlite", "postgresql"])
def any_stores(request: pytest.FixtureRequest) -> Callable[[], str]:
    """A maker of empty stores, once on SQLite and once on PostgreSQL."""
    made: Callable[[], str] = request.getfixturevalue(
        "sqlite_stores" if request.param == "sqlite" else "postgres_stores"
    )
    return made
