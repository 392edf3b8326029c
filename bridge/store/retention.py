"""What the store need not remember for ever."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from bridge.store.feed_tables import FeedRow, RejectionRow, SnapshotRow
from bridge.store.state import table_of


def expire_rejections(connection: Connection, feed: str, before: float) -> int:
    """Drop what was found in files that a feed received before a moment (UTC epoch seconds); return how much.

    What stands against the last accepted file, or the one in quarantine, stays however old it is.
    """
    rejection, snapshot, known = table_of(RejectionRow), table_of(SnapshotRow), table_of(FeedRow)
    row = connection.execute(
        select(known.c.accepted_id, known.c.quarantined_id).where(known.c.name == feed)
    ).one_or_none()
    standing = [number for number in (row or ()) if number is not None]
    old = select(snapshot.c.id).where(snapshot.c.feed == feed, snapshot.c.received_at < before)
    return connection.execute(
        delete(rejection).where(
            rejection.c.feed == feed, rejection.c.snapshot_id.in_(old), rejection.c.snapshot_id.not_in(standing)
        )
    ).rowcount
