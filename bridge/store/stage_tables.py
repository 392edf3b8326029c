"""The staging tables: temporary, one set for each connection, and how rows get into them in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Integer, LargeBinary, MetaData, Table, Text, and_

from bridge.roster import RosterRow
from bridge.store.database import without_nul
from bridge.store.feed_tables import AbsenceRow, RosterTable
from bridge.store.state import table_of

BATCH = 5_000
"""Rows handed to the database at once."""

REFUSED, WAITING, HELD = "refused", "waiting", "held"
CREATED, UPDATED, UNCHANGED = "created", "updated", "unchanged"

UNSEEN = "unseen"
"""Marks, among rows kept for later, those of the roster that the file did not repeat word for word."""

metadata = MetaData()

stage = Table(
    "stage",
    metadata,
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    *(
        Column(name, Text, nullable=False, server_default={"status": "active", "primary": "1"}.get(name, ""))
        for name in RosterRow._fields
    ),
    Column("action", Text, nullable=False, server_default=""),
    Column("verdict", Text, nullable=False, server_default=""),
    Column("roster_id", Integer),
    prefixes=["TEMPORARY"],
)
"""The rows of the file that are not word for word as they were; `verdict` is what becomes of each."""

unseen = Table(
    "stage_unseen",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    prefixes=["TEMPORARY"],
)
"""Rows of the roster that the file does not repeat word for word: the others are unchanged."""

bosses = Table("stage_boss", metadata, Column("person", Text, primary_key=True), prefixes=["TEMPORARY"])
"""Everybody whom somebody names as manager."""

asked = Table(
    "stage_address",
    metadata,
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("email", Text, nullable=False),
    Column("person", Text, nullable=False),
    prefixes=["TEMPORARY"],
)
"""Addresses that are new to their person."""

missing = Table(
    "stage_missing",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    prefixes=["TEMPORARY"],
)
"""Rows of the roster that the file lacks."""

PLAIN = ("person", "first_name", "last_name", "email", "username", "status", "title", "unit", "manager", "start")
"""What most rows say and nothing else but `extra`; such rows are handed over in short form."""

SHORT = ("line", "hash", *PLAIN, "extra")
LONG = ("line", "hash", *RosterRow._fields, "action", "verdict")
"""The columns of the two forms in which rows are handed over."""

roster = table_of(RosterTable)
absence = table_of(AbsenceRow)

is_good = stage.c.verdict == ""
is_created = and_(is_good, stage.c.roster_id.is_(None))
"""Once `decide` has been called: the row makes a job known."""
is_updated = and_(is_good, stage.c.roster_id.is_not(None))
"""Once `decide` has been called: the row changes what is known."""


def insert_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows in the driver's own quickest way: they come by the hundred thousand."""
    if not rows:
        return
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(quote(name) for name in columns)
    if connection.dialect.name == "postgresql":
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {quote(table.name)} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row([without_nul(value) for value in row])
        return
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {quote(table.name)} ({names}) VALUES ({marks})"  # noqa: S608  names from this module
    connection.exec_driver_sql(statement, list(rows))
