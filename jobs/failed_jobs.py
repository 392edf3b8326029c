"""Jobs of a fleet that failed: they stay in the queue, so that people can see them, until their time is over."""

from __future__ import annotations

from sqlalchemy import text

from bridge.store import Store

SCHEMA = "lms_bridge_fleet"
"""Where the queue lives in the store's PostgreSQL."""


def drop_failed(store: Store, before: float) -> int:
    """Take out of the queue what failed, or was given up, before a moment (UTC epoch seconds); return how many jobs.

    Nothing is done where there is no queue. What went well was taken out at once.
    """
    if store.engine.dialect.name != "postgresql":
        return 0
    jobs, events = f"{SCHEMA}.procrastinate_jobs", f"{SCHEMA}.procrastinate_events"
    over = "job.status IN ('failed', 'cancelled', 'aborted', 'succeeded')"
    recent = f"SELECT 1 FROM {events} AS event WHERE event.job_id = job.id AND event.at >= to_timestamp(:before)"  # noqa: S608  constants of this module
    with store.begin() as connection:
        if connection.execute(text("SELECT to_regclass(:jobs)"), {"jobs": jobs}).scalar_one() is None:
            return 0
        statement = text(f"DELETE FROM {jobs} AS job WHERE {over} AND NOT EXISTS ({recent})")  # noqa: S608  as above
        return connection.execute(statement, {"before": before}).rowcount
