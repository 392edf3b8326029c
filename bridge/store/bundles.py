"""What a support bundle is made of: who is known, what a site holds, what was sent."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sqlalchemy import Connection, select

from bridge.store.feed_tables import RosterTable
from bridge.store.state import Base, table_of
from bridge.store.tables import BaseRow, JournalRow, ResultRow


def known_people(connection: Connection, site: str) -> Iterator[dict[str, str]]:
    """Yield everybody whom the store can name, some of them more than once."""
    roster = table_of(RosterTable)
    names = ("person", "email", "username", "first_name", "last_name")
    for row in connection.execute(select(*(roster.c[name] for name in names))):
        yield dict(zip(names, row, strict=True))
    base = table_of(BaseRow)
    for row in connection.execute(select(base.c.key, base.c.fields).where(base.c.site == site, base.c.kind == "user")):
        yield _account(row.key, row.fields)
    journal = table_of(JournalRow)
    for row in connection.execute(
        select(journal.c.key, journal.c.change).where(journal.c.site == site, journal.c.kind == "user")
    ):
        change = json.loads(row.change)
        for side in ("before", "after"):
            yield _account(row.key, json.dumps(change.get(side) or {}))
    result = table_of(ResultRow)
    for row in connection.execute(select(result.c.person).where(result.c.site == site).distinct()):
        if row.person:
            yield {"person": row.person}


def _account(key: str, text: str) -> dict[str, str]:
    fields = json.loads(text)
    return {
        "person": key,
        "email": str(fields.get("email") or ""),
        "username": str(fields.get("username") or ""),
        "first_name": str(fields.get("firstname") or ""),
        "last_name": str(fields.get("lastname") or ""),
    }


def whole_base(connection: Connection, site: str) -> Iterator[Base]:
    """Yield everything that was last applied to a site."""
    table = table_of(BaseRow)
    rows = connection.execute(
        select(table).where(table.c.site == site).order_by(table.c.kind, table.c.place, table.c.key)
    )
    for row in rows:
        yield Base(
            row.kind,
            row.key,
            json.loads(row.fields),
            row.parent,
            row.place,
            row.lms_id,
            row.retired,
            row.origin,
        )
