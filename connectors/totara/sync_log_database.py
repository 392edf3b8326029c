"""The sync log read from the site's own database, with an account that may only read.

The one table that is read is ``totara_sync_log`` under the site's prefix. Nothing is written, and where the database
knows read-only transactions one is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, TextClause, create_engine, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from bridge.ports import FixConfiguration, RetryLater
from connectors.totara.hrimport.outcomes import SyncLogRow

_PREFIX = re.compile(r"[A-Za-z0-9_]*")
_BATCH = 5_000


class SyncLogDatabase:
    """The sync log of one site, by the id of its rows. Nothing of the address is ever shown: it holds a password."""

    def __init__(self, url: str, prefix: str) -> None:
        """Prepare to read; nothing is asked yet. Raises FixConfiguration where the address cannot be one."""
        if not _PREFIX.fullmatch(prefix):
            raise FixConfiguration(f"The table prefix {prefix!r} is none: it holds letters, digits and underscores.")
        self._table = f"{prefix}totara_sync_log"
        try:
            self._engine: Engine = create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, TypeError) as error:
            raise FixConfiguration(
                "The address of the site's database is not understood. Write it as "
                "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, or another address SQLAlchemy knows."
            ) from error

    def __call__(self, after: int) -> Iterator[SyncLogRow]:
        """Yield the rows beyond an id, oldest first.

        Raises:
            FixConfiguration: the table cannot be read; RetryLater: the database cannot be reached.
        """
        # The table's name is made of a checked prefix, the rest is bound.
        query = text(
            f"select id, runid, time, element, logtype, action, info from {self._table} "  # noqa: S608 - as said above
            "where id > :after order by id limit :batch"
        )
        while True:
            rows = self._rows(query, after)
            for row in rows:
                yield SyncLogRow(
                    int(row[0]), int(row[1]), str(row[3]), str(row[4]), str(row[5]), str(row[6] or ""), float(row[2])
                )
            if len(rows) < _BATCH:
                return
            after = int(rows[-1][0])

    def _rows(self, query: TextClause, after: int) -> list[tuple[Any, ...]]:
        try:
            with self._engine.connect() as connection:
                if self._engine.dialect.name == "postgresql":
                    connection.execute(text("set transaction read only"))
                return [tuple(row) for row in connection.execute(query, {"after": after, "batch": _BATCH})]
        except SQLAlchemyError as error:
            # Its own words may repeat the address: only the kind of fault is told.
            kind = type(getattr(error, "orig", None) or error).__name__
            if kind == "OperationalError" and self._engine.dialect.name != "sqlite":
                raise RetryLater(f"The site's database cannot be reached ({kind}). Try again later.") from None
            raise FixConfiguration(
                f"{self._table} cannot be read in the site's database ({kind}). Look at the table prefix "
                "(`sync_log_prefix`), and give the account the right to read this one table."
            ) from None

    def close(self) -> None:
        """Give back the connection."""
        self._engine.dispose()
