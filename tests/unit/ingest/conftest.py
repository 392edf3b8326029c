"""A store, the sample company's feed, and files made from rows, for the tests of taking feeds in."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bridge.feed_settings import FeedSettings
from bridge.store import Store, feeds, roster
from connectors.tables import open_table
from jobs.ingest import FeedContext, Incoming, IngestResult, ingest, release
from tests.databases import address, databases

SAMPLE = Path(__file__).parents[3] / "samples" / "company"
TODAY = dt.date(2026, 12, 31)
HEADERS = ("employee_id", "first_name", "last_name", "email", "job_title", "department_code", "manager_id", "hire_date")


def sample_units() -> frozenset[str]:
    """Return the keys of the sample company's units."""
    with open_table(SAMPLE / "organisations.csv") as table:
        return frozenset(row.values["idnumber"] for row in table.rows)


@dataclass
class Desk:
    """Takes files of one feed in, as the command line does, and looks at what the store then says."""

    store: Store
    folder: Path
    context: FeedContext
    today: dt.date = TODAY
    results: list[IngestResult] = field(default_factory=list)

    def take(self, path: Path, **described: Any) -> IngestResult:
        """Take a file in; keyword arguments say what its sender says of it."""
        incoming = Incoming.of_path(path)
        if described:
            incoming = Incoming(
                **{name: getattr(incoming, name) for name in ("path", "name", "sha256", "size", "stamp")} | described
            )
        return self._checked(ingest(self.store, self.context, incoming, self.today))

    def take_bytes(self, content: bytes, name: str = "people.csv", **described: Any) -> IngestResult:
        """Take in a file of these bytes."""
        path = self.folder / name
        path.write_bytes(content)
        return self.take(path, **described)

    def take_rows(self, rows: Iterable[Sequence[str]], name: str = "people.csv", **described: Any) -> IngestResult:
        """Take in a file of these rows, under the usual headers."""
        path = self.folder / name
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(HEADERS)
            writer.writerows(rows)
        return self.take(path, **described)

    def release(self, **how: Any) -> IngestResult:
        """Release the feed, with a reason."""
        return self._checked(release(self.store, self.context, "looked at it", self.today, **how))

    def roster(self) -> dict[str, Any]:
        """Return the rows of the roster by person."""
        with self.store.read() as connection:
            return {one.row.person: one for one in roster.listed(connection, [self.context.name])}

    def rejections(self, *, cleared: bool = False) -> list[feeds.Rejection]:
        """Return what was found in rows."""
        with self.store.read() as connection:
            return list(feeds.rejections(connection, self.context.name, cleared=cleared))

    def state(self) -> str:
        """Return whether the feed is open or in quarantine."""
        with self.store.read() as connection:
            return feeds.find_feed(connection, self.context.name).state

    def _checked(self, result: IngestResult) -> IngestResult:
        parts = (result.created, result.updated, result.unchanged, result.waiting, result.held, result.rejected)
        assert sum(parts) == result.rows
        self.results.append(result)
        return result


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """Make a desk with an empty store; settings and the rest of its context may be given."""
    stores: list[Store] = []

    def make(settings: FeedSettings | None = None, store: Store | None = None, **context: Any) -> Desk:
        if store is None:
            store = Store.open(address(tmp_path / f"state{len(stores)}.sqlite"))
            stores.append(store)
        name = context.pop("name", "hr")
        return Desk(store, tmp_path, FeedContext(name, settings or FeedSettings(), **context))

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    """A desk with an empty store and no settings but the defaults."""
    return make_desk()


@pytest.fixture(scope="session")
def days(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """Addresses of stores of the sample company after its first and its second day, to be copied."""
    folder = tmp_path_factory.mktemp("days")
    growing = address(folder / "growing.sqlite")
    store = Store.open(growing)
    desk = Desk(store, folder, FeedContext("hr", FeedSettings(encoding="cp1252"), units=sample_units()))
    found: dict[int, str] = {}
    for day in (1, 2):
        desk.take(SAMPLE / f"hris_people_day{day}.csv")
        store.close()
        found[day] = databases.copy(growing, folder / f"day{day}.sqlite")
    store.close()
    return found


@pytest.fixture
def copies(days: dict[int, str], tmp_path: Path) -> Iterator[Callable[[int], Desk]]:
    """Make a desk of the sample company as it is after a day."""
    stores: list[Store] = []

    def make(day: int) -> Desk:
        stores.append(Store.open(databases.copy(days[day], tmp_path / f"copy{len(stores)}.sqlite")))
        context = FeedContext("hr", FeedSettings(encoding="cp1252"), units=sample_units())
        return Desk(stores[-1], tmp_path, context)

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def day1(copies: Callable[[int], Desk]) -> Desk:
    """The sample company after its first day."""
    return copies(1)


@pytest.fixture
def after_day1_copies(copies: Callable[[int], Desk]) -> Callable[[], Desk]:
    """Makes the sample company after its first day, as often as wanted."""
    return lambda: copies(1)


@pytest.fixture
def after_day2(copies: Callable[[int], Desk]) -> Desk:
    """The sample company after its first two days."""
    return copies(2)


@pytest.fixture
def company(make_desk: Callable[..., Desk]) -> Desk:
    """A desk for the sample company."""
    return make_desk(FeedSettings(encoding="cp1252"), units=sample_units())
