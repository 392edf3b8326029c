"""Jobs of a fleet that failed: they stay in the queue, so that people can see them, until their time is over."""

from __future__ import annotations

from sqlalchemy import text

from bridge.store import Store

SCHEMA = "lms_bridge_fleet"
"""Where the queue lives in the store's PostgreSQL."""

_DELETE = text(
    "DELETE FROM procrastinate_jobs AS job WHERE status IN ('failed', 'cancelled', 'aborted', 'succeeded') AND NOT "
    "EXISTS (SELECT 1 FROM procrastinate_events AS event "
    "WHERE event.job_id = job.id AND event.at >= to_timestamp(:before))"
)


def drop_failed(store: Store, before: float) -> int:
    """Take out of the queue what failed, or was given up, before a moment (UTC epoch seconds); return how many jobs.

    Nothing is done where there is no queue. What went well was taken out at once.
    """
    if store.engine.dialect.name != "postgresql":
        return 0
    with store.begin() as connection:
        if (
            connection.execute(text("SELECT to_regclass(:jobs)"), {"jobs": f"{SCHEMA}.procrastinate_jobs"}).scalar()
            is None
        ):
            return 0
        # The engine's own triggers look for its tables by their bare names.
        connection.execute(text(f"SET LOCAL search_path = {SCHEMA}"))
        return connection.execute(_DELETE, {"before": before}).rowcount
