"""Staging: the rows of one file in tables of their own, and their comparison with what the feed last said, as sets.

The tables are temporary: they live with one connection, cost the store's log nothing, and take no lock. What lasts is
written by `take_over` in `bridge.store.roster` alone. Memory is bounded by the batch.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Connection,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from bridge.roster import CONTENT, RosterRow
from bridge.store import Store
from bridge.store.feed_tables import StagedRow, WaitingRow
from bridge.store.stage_tables import (
    BATCH,
    CREATED,
    HELD,
    LONG,
    REFUSED,
    SHORT,
    UNCHANGED,
    UNSEEN,
    UPDATED,
    WAITING,
    absence,
    asked,
    bosses,
    insert_rows,
    is_created,
    is_good,
    is_updated,
    metadata,
    roster,
    stage,
    unseen,
)
from bridge.store.state import table_of


class Staging:
    """One file on its way. Rows are added, then compared; every method works on all rows at once."""

    def __init__(self, connection: Connection, feed: str, others: Collection[str]) -> None:
        self.connection = connection
        self.feed = feed
        self.feeds = (feed, *sorted(set(others) - {feed}))
        self._short: list[tuple[Any, ...]] = []
        self._long: list[tuple[Any, ...]] = []
        self.known: dict[bytes, int] = {}
        """Rows of the roster by the hash of how they were written, as far as the file has not repeated them yet."""
        self.lines = array("q")
        """The line on which the file repeats a row of the roster, by the row's number less `first_id`."""
        self.first_id = 0
        self._seen_count = 0
        self._roster_size: int | None = None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A transaction that writes to the staging tables alone: it neither waits for anybody nor keeps anybody."""
        self.connection.execution_options(bridge_reads_only=True)
        with self.connection.begin():
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction that may write what lasts; committed at the end of the block."""
        self.connection.execution_options(bridge_reads_only=False)
        with self.connection.begin():
            yield

    # --- Adding rows ------------------------------------------------------------------------------------------------

    def load_known(self) -> None:
        """Fill `known` and make room in `lines`. Whoever finds a row's hash there pops it and notes the line."""
        of_feed = roster.c.feed == self.feed
        low, high = self.connection.execute(select(func.min(roster.c.id), func.max(roster.c.id)).where(of_feed)).one()
        if low is None:
            return
        self.first_id = low
        self.lines = array("q", bytes(8 * (high - low + 1)))
        mark = "?" if self.connection.dialect.paramstyle == "qmark" else "%s"
        result = self.connection.exec_driver_sql(f"SELECT hash, id FROM roster WHERE feed = {mark}", (self.feed,))  # noqa: S608  a mark, not a value
        while rows := result.cursor.fetchmany(20_000):  # half a million rows: the driver's own tuples are quickest
            self.known.update(rows)

    def add_plain(self, row: tuple[Any, ...]) -> None:
        """Add a good row given as line, hash, the fields of PLAIN, and the further fields."""
        self._short.append(row)
        if len(self._short) >= BATCH:
            self.flush()

    def add(self, line: int, row_hash: bytes, record: RosterRow, action: str = "", verdict: str = "") -> None:
        """Add a row, good or refused."""
        self._long.append((line, row_hash, *record, action, verdict))
        if len(self._long) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Hand over what was added."""
        for columns, rows in ((SHORT, self._short), (LONG, self._long)):
            insert_rows(self.connection, stage, columns, rows)
            rows.clear()

    def close_input(self) -> None:
        """End the adding: find the row of the roster that each row is about."""
        self.flush()
        self._seen_count = sum(map(bool, self.lines))
        rows = sorted(self.known.values())
        self.known.clear()
        for start in range(0, len(rows), BATCH):
            insert_rows(self.connection, unseen, ("id",), [(one,) for one in rows[start : start + BATCH]])
        self._match()

    def _match(self) -> None:
        self._index("stage", "person, job")
        if self.connection.dialect.name == "postgresql":
            self.connection.exec_driver_sql("ANALYZE stage")
        if self.roster_size():
            match = select(roster.c.id).where(
                roster.c.feed == self.feed, roster.c.person == stage.c.person, roster.c.job == stage.c.job
            )
            self.connection.execute(update(stage).values(roster_id=match.scalar_subquery()))

    # --- Questions about sets ---------------------------------------------------------------------------------------

    def duplicates(self) -> Iterator[tuple[int, str, str, bytes, str]]:
        """Yield (line, person, job, hash, verdict) of rows that share person and job, in order of these."""
        twice = (
            select(stage.c.person, stage.c.job)
            .where(stage.c.person != "")
            .group_by(stage.c.person, stage.c.job)
            .having(func.count() > 1)
        )
        yield from self._all(
            select(stage.c.line, stage.c.person, stage.c.job, stage.c.hash, stage.c.verdict)
            .where(tuple_(stage.c.person, stage.c.job).in_(twice))
            .order_by(stage.c.person, stage.c.job, stage.c.line)
        )

    def repeats_of_seen(self) -> list[tuple[int, str, str, int, bool]]:
        """Return (line, person, verdict, roster id, same words) of rows about a job that a row seen word for word is
        about too."""
        return self._all(
            select(stage.c.line, stage.c.person, stage.c.verdict, roster.c.id, stage.c.hash == roster.c.hash)
            .join_from(stage, roster, roster.c.id == stage.c.roster_id)
            .where(~exists().where(unseen.c.id == roster.c.id))
            .order_by(stage.c.line)
        )

    def line_of(self, roster_id: int) -> int:
        """Return the line on which the file repeats a row of the roster; 0 where it does not."""
        place = roster_id - self.first_id
        return self.lines[place] if 0 <= place < len(self.lines) else 0

    def unsee(self, roster_ids: Iterable[int]) -> None:
        """Take rows that were word for word as before into the comparison, refused: another row contradicts them."""
        names = ["hash", *_ROSTER_FIELDS]
        for one in sorted(set(roster_ids)):
            source = select(
                literal(self.line_of(one)), *(roster.c[name] for name in names), literal(one), literal(REFUSED)
            ).where(roster.c.id == one)
            self.connection.execute(insert(stage).from_select(["line", *names, "roster_id", "verdict"], source))
            self.connection.execute(insert(unseen).values(id=one))
            self._seen_count -= 1

    def refuse(self, lines: Iterable[int]) -> None:
        """Refuse rows."""
        for some in _portions(lines):
            self.connection.execute(update(stage).where(stage.c.line.in_(some)).values(verdict=REFUSED))

    def drop_manager(self, lines: Iterable[int]) -> None:
        """Keep rows, but without a manager."""
        for some in _portions(lines):
            self.connection.execute(update(stage).where(stage.c.line.in_(some)).values(manager=""))

    def records(self, lines: Iterable[int]) -> Iterator[tuple[int, RosterRow]]:
        """Yield rows by their lines."""
        columns = [stage.c[name] for name in RosterRow._fields]
        for some in _portions(lines):
            for line, *fields in self._all(select(stage.c.line, *columns).where(stage.c.line.in_(some))):
                yield line, RosterRow(*fields)

    def unknown_managers(self) -> list[tuple[int, str, str]]:
        """Return (line, person, manager) of good rows whose manager is neither in the file nor known to the store."""
        self._find_bosses(whole=False)
        other = stage.alias()
        waiting = table_of(WaitingRow)
        unknown = select(bosses.c.person).where(
            ~exists().where(other.c.person == bosses.c.person),
            ~exists().where(roster.c.feed.in_(self.feeds), roster.c.person == bosses.c.person),
            ~exists().where(waiting.c.feed.in_(self.feeds), waiting.c.person == bosses.c.person),
        )
        names = [row[0] for row in self._all(unknown)]
        found: list[tuple[int, str, str]] = []
        for some in _portions(names):
            found += self._all(
                select(stage.c.line, stage.c.person, stage.c.manager)
                .where(stage.c.verdict == "", stage.c.manager.in_(some))
                .order_by(stage.c.line)
            )
        return found

    def _find_bosses(self, *, whole: bool) -> None:
        """Note everybody whom a good row (and, `whole`, the roster) names as manager."""
        self.connection.execute(delete(bosses))
        named: Any = select(stage.c.manager).where(is_good, stage.c.manager != "").distinct()
        if whole and self._anybody_known():
            known = select(roster.c.manager).where(roster.c.feed.in_(self.feeds), roster.c.manager != "")
            named = named.union(known)
        self.connection.execute(insert(bosses).from_select(["person"], named))

    def manager_edges(self) -> dict[str, tuple[str, int]]:
        """Return, for everybody who manages somebody, their own manager and the line that says so (0: the roster).

        Empty where no row changes a manager, so that no circle can have come about.
        """
        changes = (
            select(stage.c.line)
            .outerjoin(roster, roster.c.id == stage.c.roster_id)
            .where(
                stage.c.verdict == "",
                stage.c.manager != "",
                or_(roster.c.id.is_(None), roster.c.manager != stage.c.manager),
            )
            .limit(1)
        )
        if not self.connection.execute(changes).first():
            return {}
        self._find_bosses(whole=True)
        edges: dict[str, tuple[str, int]] = {}
        for person, manager in self._all(
            select(roster.c.person, roster.c.manager)
            .join_from(bosses, roster, roster.c.person == bosses.c.person)
            .where(roster.c.feed.in_(self.feeds), roster.c.manager != "")
        ):
            edges[person] = (manager, 0)
        for person, manager, line in self._all(
            select(stage.c.person, stage.c.manager, stage.c.line)
            .join_from(bosses, stage, stage.c.person == bosses.c.person)
            .where(stage.c.verdict == "")
            .order_by(stage.c.line)
        ):
            edges[person] = (manager, line)
        return edges

    def shared_addresses(self) -> Iterator[tuple[str, int, str, bool]]:
        """Yield (address, line, person, had it before) of good rows whose address several rows have, by address."""
        twice = (
            select(stage.c.email)
            .where(stage.c.verdict == "", stage.c.email != "", stage.c.status != "terminated")
            .group_by(stage.c.email)
            .having(func.count() > 1)
        )
        addresses = [row[0] for row in self._all(twice.order_by(stage.c.email))]
        for some in _portions(addresses):
            yield from self._all(
                select(stage.c.email, stage.c.line, stage.c.person, func.coalesce(roster.c.email, "") == stage.c.email)
                .outerjoin_from(stage, roster, roster.c.id == stage.c.roster_id)
                .where(is_good, stage.c.status != "terminated", stage.c.email.in_(some))
                .order_by(stage.c.email, stage.c.line)
            )

    def taken_addresses(self) -> list[tuple[int, str, str, str]]:
        """Return (line, person, address, whose) of good rows that want an address somebody else still has."""
        if not self._anybody_known():
            return []
        self.connection.execute(delete(asked))
        fresh = (
            select(stage.c.line, stage.c.email, stage.c.person)
            .outerjoin_from(stage, roster, roster.c.id == stage.c.roster_id)
            .where(
                stage.c.verdict == "",
                stage.c.email != "",
                stage.c.status != "terminated",
                or_(roster.c.id.is_(None), roster.c.email != stage.c.email),
            )
        )
        self.connection.execute(insert(asked).from_select(["line", "email", "person"], fresh))
        if not self.connection.execute(select(asked.c.line).limit(1)).first():
            return []
        mover = stage.alias()
        self._index("stage_address", "email")
        return self._all(
            select(asked.c.line, asked.c.person, asked.c.email, roster.c.person)
            .join_from(roster, asked, asked.c.email == roster.c.email)
            .where(
                roster.c.feed.in_(self.feeds),
                roster.c.person != asked.c.person,
                roster.c.status != "terminated",
                ~exists().where(
                    absence.c.feed == roster.c.feed,
                    absence.c.person == roster.c.person,
                    absence.c.job == roster.c.job,
                    absence.c.confirmed_snapshot_id.is_not(None),
                ),
                ~exists().where(
                    mover.c.roster_id == roster.c.id,
                    mover.c.person == roster.c.person,
                    mover.c.job == roster.c.job,
                    mover.c.verdict == "",
                    or_(mover.c.email != roster.c.email, mover.c.status == "terminated"),
                ),
            )
            .order_by(asked.c.line)
        )

    def renamed(self) -> Iterator[tuple[int, str, str, str, str]]:
        """Yield (line, first name, last name, first name before, last name before) of good rows that change a name."""
        if not self.roster_size():
            return
        yield from self._all(
            select(stage.c.line, stage.c.first_name, stage.c.last_name, roster.c.first_name, roster.c.last_name)
            .join_from(stage, roster, roster.c.id == stage.c.roster_id)
            .where(
                stage.c.verdict == "",
                or_(stage.c.first_name != roster.c.first_name, stage.c.last_name != roster.c.last_name),
            )
            .order_by(stage.c.line)
        )

    def rename(self, line: int, first_name: str, last_name: str) -> None:
        """Set the names of a row."""
        self.connection.execute(
            update(stage).where(stage.c.line == line).values(first_name=first_name, last_name=last_name)
        )

    def fill_deletions(self) -> list[tuple[int, str]]:
        """Take everything but the status of a row that ends a job from the roster; return those nobody knows."""
        rows = and_(stage.c.action == "delete", stage.c.verdict == "")
        kept = {name: roster.c[name] for name in CONTENT if name != "status"}
        self.connection.execute(update(stage).where(rows, roster.c.id == stage.c.roster_id).values(**kept))
        return self._all(select(stage.c.line, stage.c.person).where(rows, stage.c.roster_id.is_(None)))

    # --- Verdicts ---------------------------------------------------------------------------------------------------

    def decide(self, as_of: str) -> None:
        """Say of every row that is still good what becomes of it."""
        back = exists().where(
            roster.c.id == stage.c.roster_id, roster.c.status == "terminated", stage.c.status != "terminated"
        )
        later = case((stage.c.effective != "", stage.c.effective), else_=stage.c.start)
        starts_later = and_(stage.c.effective == "", stage.c.start > as_of, or_(stage.c.roster_id.is_(None), back))
        self.connection.execute(
            update(stage)
            .where(is_good, or_(stage.c.effective > as_of, starts_later))
            .values(verdict=WAITING, effective=later)
        )
        if len(self.feeds) > 1:
            elsewhere = exists().where(
                roster.c.feed.in_(self.feeds[1:]),
                roster.c.person == stage.c.person,
                roster.c.status != "terminated",
                ~exists().where(absence.c.feed == roster.c.feed, absence.c.person == roster.c.person),
            )
            self.connection.execute(update(stage).where(is_created, elsewhere).values(verdict=HELD))
        if self.roster_size():
            same = exists().where(roster.c.id == stage.c.roster_id, *(roster.c[n] == stage.c[n] for n in CONTENT))
            self.connection.execute(update(stage).where(is_updated, same).values(verdict=UNCHANGED))

    def counts(self) -> dict[str, int]:
        """Return how many rows have each verdict; those seen word for word are unchanged."""
        verdict = case((is_created, CREATED), (is_updated, UPDATED), else_=stage.c.verdict).label("becomes")
        found = {CREATED: 0, UPDATED: 0, UNCHANGED: 0, WAITING: 0, HELD: 0, REFUSED: 0}
        found.update({row[0]: row[1] for row in self._all(select(verdict, func.count()).group_by("becomes"))})
        found[UNCHANGED] += self.seen_count()
        return found

    def roster_size(self) -> int:
        """Return how many rows the feed's roster had before this file."""
        if self._roster_size is None:
            statement = select(func.count()).select_from(roster).where(roster.c.feed == self.feed)
            self._roster_size = int(self.connection.execute(statement).scalar_one())
        return self._roster_size

    def _anybody_known(self) -> bool:
        """Tell whether any feed lists anybody."""
        statement = select(roster.c.id).where(roster.c.feed.in_(self.feeds)).limit(1)
        return self.connection.execute(statement).first() is not None

    def seen_count(self) -> int:
        """Return how many rows are word for word as they were."""
        return self._seen_count

    def changed_fields(self) -> dict[str, int]:
        """Return how many updated rows change each field."""
        sums = [func.sum(case((stage.c[n] != roster.c[n], 1), else_=0)) for n in CONTENT]
        row = self.connection.execute(
            select(*sums).join_from(stage, roster, roster.c.id == stage.c.roster_id).where(is_updated)
        ).one()
        return {name: int(count) for name, count in zip(CONTENT, row, strict=True) if count}

    def leavers(self) -> int:
        """Return how many updated rows end a job by their status."""
        return int(
            self.connection.execute(
                select(func.count())
                .join_from(stage, roster, roster.c.id == stage.c.roster_id)
                .where(is_updated, stage.c.status == "terminated", roster.c.status != "terminated")
            ).scalar_one()
        )

    def in_common(self) -> int:
        """Return how many of the file's rows are about somebody the feed knows already."""
        staged = select(func.count()).select_from(stage).where(stage.c.roster_id.is_not(None))
        return self.seen_count() + int(self.connection.execute(staged).scalar_one())

    def lost_zeros(self) -> list[tuple[str, str]]:
        """Return (known id, id in the file), at most ten, where the file's is the known one without leading zeros."""
        stripped = func.ltrim(roster.c.person, "0")
        present = stage.alias()
        return self._all(
            select(roster.c.person, stage.c.person)
            .join_from(roster, stage, stage.c.person == stripped)
            .where(
                roster.c.feed == self.feed,
                roster.c.person.like("0%"),
                stage.c.roster_id.is_(None),
                exists().where(unseen.c.id == roster.c.id),
                ~exists().where(present.c.person == roster.c.person),
            )
            .order_by(roster.c.person)
            .limit(10)
        )

    def refused_people(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (person, e-mail, first name, last name) of refused rows, as far as they could be made out.

        A row whose number and name are those of somebody known is about them and nobody else; it is left out.
        """
        theirs = and_(roster.c.first_name == stage.c.first_name, roster.c.last_name == stage.c.last_name)
        yield from self._all(
            select(stage.c.person, stage.c.email, stage.c.first_name, stage.c.last_name)
            .outerjoin_from(stage, roster, and_(roster.c.id == stage.c.roster_id, theirs))
            .where(stage.c.verdict == REFUSED, roster.c.id.is_(None))
        )

    def good_people(self) -> set[str]:
        """Return the people whose rows are good: what they were refused for before is mended."""
        good = select(stage.c.person).where(stage.c.verdict.not_in([REFUSED, HELD]))
        again = select(roster.c.person).where(roster.c.feed == self.feed, ~exists().where(unseen.c.id == roster.c.id))
        return {row[0] for statement in (good, again) for row in self._all(statement)}

    # --- Keeping a file for later -----------------------------------------------------------------------------------

    def keep(self, snapshot_id: int) -> None:
        """Keep the staged rows with their snapshot, for whoever decides about it."""
        kept = table_of(StagedRow)
        names = ["line", "hash", *RosterRow._fields, "action"]
        verdict = case((stage.c.verdict == REFUSED, REFUSED), else_="")
        self.connection.execute(
            insert(kept).from_select(
                ["snapshot_id", *names, "verdict"],
                select(literal(snapshot_id), *(stage.c[name] for name in names), verdict),
            )
        )
        marks = ["person", "job", "hash"]
        self.connection.execute(
            insert(kept).from_select(
                ["snapshot_id", "line", *marks, "verdict", *CONTENT, "effective", "action"],
                select(
                    literal(snapshot_id),
                    -roster.c.id,
                    *(roster.c[name] for name in marks),
                    literal(UNSEEN),
                    *(literal("") for _ in (*CONTENT, "effective", "action")),
                ).join_from(unseen, roster, roster.c.id == unseen.c.id),
            )
        )

    def take_back(self, snapshot_id: int, rows: int) -> None:
        """Stage again what `keep` kept of a file of so many rows."""
        kept = table_of(StagedRow)
        of_it = kept.c.snapshot_id == snapshot_id
        same = and_(roster.c.feed == self.feed, roster.c.person == kept.c.person, roster.c.job == kept.c.job)
        self.connection.execute(
            insert(unseen).from_select(
                ["id"],
                select(roster.c.id).join_from(kept, roster, same).where(of_it, kept.c.verdict == UNSEEN),
            )
        )
        names = ["line", "hash", *RosterRow._fields, "action", "verdict"]
        self.connection.execute(
            insert(stage).from_select(
                names, select(*(kept.c[name] for name in names)).where(of_it, kept.c.verdict != UNSEEN)
            )
        )
        staged = int(self.connection.execute(select(func.count()).select_from(stage)).scalar_one())
        self._seen_count = rows - staged
        self._match()

    def _all(self, statement: Any) -> list[Any]:
        return list(self.connection.execute(statement))

    def _index(self, table: str, columns: str) -> None:
        """Index a staging table once it is filled: building it then is quicker than keeping it up to date."""
        schema = "temp." if self.connection.dialect.name == "sqlite" else ""
        self.connection.exec_driver_sql(f"CREATE INDEX IF NOT EXISTS {schema}ix_{table} ON {table} ({columns})")


_ROSTER_FIELDS = ("person", "job", *CONTENT)


def _portions(values: Iterable[Any], size: int = 500) -> Iterator[list[Any]]:
    """Cut values into lists that fit into one statement."""
    portion: list[Any] = []
    for value in values:
        portion.append(value)
        if len(portion) >= size:
            yield portion
            portion = []
    if portion:
        yield portion


@contextmanager
def staging(store: Store, feed: str, others: Collection[str]) -> Iterator[Staging]:
    """Give empty staging tables on a connection of their own. Use `adding` to fill them, then `writing`."""
    with store.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            with connection.execution_options(bridge_reads_only=True).begin():
                connection.exec_driver_sql("PRAGMA cache_size = -16000")
                connection.exec_driver_sql("PRAGMA temp.cache_size = -32000")
        staged = Staging(connection, feed, others)
        try:
            with staged.reading():
                metadata.create_all(connection, checkfirst=False)
            yield staged
        finally:
            if connection.in_transaction():
                connection.rollback()
            if connection.dialect.name == "sqlite" and connection.engine.url.database in (None, "", ":memory:"):
                with staged.reading():
                    metadata.drop_all(connection, checkfirst=False)
            else:
                connection.detach()  # closing it for good takes the temporary tables away, at no cost
