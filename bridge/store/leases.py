"""The lease: one run per site at a time, whoever and wherever it is."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from bridge.store.state import table_of
from bridge.store.tables import LeaseRow


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds a site, for what, until when (epoch seconds)."""

    site: str
    holder: str
    what: str
    epoch: int
    expires_at: float


def current(connection: Connection, site: str) -> Lease | None:
    """Return the lease of a site as it stands, expired or not."""
    table = table_of(LeaseRow)
    row = connection.execute(select(table).where(table.c.site == site)).one_or_none()
    return None if row is None else Lease(row.site, row.holder, row.what, row.epoch, row.expires_at)


def take(connection: Connection, site: str, holder: str, what: str, now: float, seconds: float) -> Lease | None:
    """Take a site that is free or whose holder has not been heard of in time; None where somebody works on it."""
    table = table_of(LeaseRow)
    held = current(connection, site)
    if held is None:
        first = Lease(site, holder, what, 1, now + seconds)
        try:
            with connection.begin_nested():
                connection.execute(
                    insert(table).values(site=site, holder=holder, what=what, epoch=1, expires_at=first.expires_at)
                )
        except IntegrityError:
            return None
        return first
    if held.expires_at > now:
        return None
    taken = Lease(site, holder, what, held.epoch + 1, now + seconds)
    # The epoch in the condition decides a race: of two that saw the same expired lease, one changes the row.
    changed = connection.execute(
        update(table)
        .where(table.c.site == site, table.c.epoch == held.epoch, table.c.expires_at <= now)
        .values(holder=holder, what=what, epoch=taken.epoch, expires_at=taken.expires_at)
    ).rowcount
    return taken if changed == 1 else None


def renew(connection: Connection, lease: Lease, now: float, seconds: float) -> bool:
    """Prolong a lease; False where it is no longer ours, even if nobody else has taken it yet."""
    table = table_of(LeaseRow)
    changed = connection.execute(
        update(table)
        .where(
            table.c.site == lease.site,
            table.c.epoch == lease.epoch,
            table.c.holder == lease.holder,
            table.c.expires_at > now,
        )
        .values(expires_at=now + seconds)
    ).rowcount
    return changed == 1


def give_back(connection: Connection, lease: Lease) -> None:
    """End a lease; does nothing where it is no longer ours."""
    table = table_of(LeaseRow)
    connection.execute(
        update(table)
        .where(table.c.site == lease.site, table.c.epoch == lease.epoch, table.c.holder == lease.holder)
        .values(expires_at=0)
    )
