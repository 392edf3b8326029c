"""Stores for nights that are struck: as many as a sweep needs."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import in_cluster
from tests.faults.night import Undisturbed, night, small_company
from tests.faults.sites import SITES
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
def undisturbed_of(
    tmp_path_factory: pytest.TempPathFactory, company: Path, process: Warm
) -> Callable[[str], Undisturbed]:
    """What a night leaves that nothing strikes, by the kind of its site; each passes once."""

    @cache
    def found(kind: str) -> Undisturbed:
        return calm_night(kind, tmp_path_factory.mktemp("undisturbed"), company, process)

    return found


@pytest.fixture(params=list(SITES))
def undisturbed(request: pytest.FixtureRequest, undisturbed_of: Callable[[str], Undisturbed]) -> Undisturbed:
    """A night that nothing strikes, of each kind of site."""
    return undisturbed_of(request.param)


def calm_night(kind: str, folder: Path, company: Path, process: Warm) -> Undisturbed:
    """Let three nights pass undisturbed, counting commits in one, effects on files and look-ups of names in others."""
    counted: list[int] = []
    left: list[dict[str, Any]] = []
    asked: list[int] = []
    for number, strike in enumerate(({"kind": "count"}, {"kind": "effects"}, {"kind": "names", "at": NEVER})):
        store = f"sqlite:///{folder}/state{number}.sqlite"
        with night(kind, folder / f"night{number}", company, store, process) as one:
            codes, moments = one.run(strike)
            assert codes == [0, 0, 0], one.said()
            assert one.made_twice() == []
            counted.append(moments)
            left.append(one.left())
            asked.append(one.site.requests())
    assert left[0] == left[1] == left[2]
    commits, effects, names = counted
    return Undisturbed(kind, left[0], commits, min(asked), effects, names)


NEVER = 10**9


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
def sqlite_stores(tmp_path: Path, sqlite_template: Path) -> Callable[[], str]:
    """A maker of SQLite files with the newest schema."""
    numbers = count()

    def make() -> str:
        path = tmp_path / f"state{next(numbers)}.sqlite"
        shutil.copy(sqlite_template, path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def any_stores(request: pytest.FixtureRequest) -> Callable[[], str]:
    """A maker of empty stores, once on SQLite and once on PostgreSQL."""
    made: Callable[[], str] = request.getfixturevalue(
        "sqlite_stores" if request.param == "sqlite" else "postgres_stores"
    )
    return made
