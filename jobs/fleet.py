"""The queue of a fleet: jobs for many sites, worked on by any number of workers on any number of machines.

It lives in the store's own PostgreSQL, in a schema of its own, on the engine procrastinate: locks, retries and the
recovery of what a dead worker left are the engine's. What is done is what the daemon and `daemon --once` do.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import make_url

from bridge.ports import FixConfiguration
from bridge.settings import Settings
from jobs.failed_jobs import SCHEMA
from jobs.once import chosen

if TYPE_CHECKING:
    from procrastinate import App

TASK = "chain"
QUEUE = "sites"


@dataclass(frozen=True, slots=True)
class Deferred:
    """One job at one site, put into the queue, or found waiting there already."""

    job: str
    site: str
    number: int | None
    """None where the same job for the same site was waiting already: it is not put in twice."""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """One job as it stands in the queue."""

    number: int
    job: str
    site: str
    state: str
    """todo, doing, failed, aborted..., as the engine calls it."""
    attempts: int
    worker: int | None
    begins: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Fleet:
    """How the queue stands."""

    jobs: tuple[QueuedJob, ...]
    workers: tuple[tuple[int, dt.datetime], ...]
    """Number and last sign of life of each worker."""


def queue_of(settings: Settings) -> App:
    """Return the queue in the store's database, made on the way where it is not there yet.

    Raises FixConfiguration where the store is no PostgreSQL or the engine is not installed.
    """
    url = make_url(settings.store)
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise FixConfiguration(
            "A fleet shares its store and its queue over PostgreSQL, and this store is a file on one machine. Set "
            "LMS_BRIDGE_STORE=postgresql://USER:PASSWORD@HOST/DATABASE; on one machine `lms-bridge daemon` does."
        )
    try:
        import procrastinate
        import psycopg
    except ModuleNotFoundError as error:
        raise FixConfiguration(f"A fleet needs the Python package {error.name}. Install lms-bridge[fleet].") from error
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        _make_schema(address)
    except psycopg.Error as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise FixConfiguration(
            f"The queue in {url.render_as_string(hide_password=True)} cannot be opened: {said}. "
            "Check LMS_BRIDGE_STORE, and that this account may create a schema there."
        ) from error
    connector = procrastinate.PsycopgConnector(conninfo=address, kwargs={"options": f"-c search_path={SCHEMA}"})
    return procrastinate.App(connector=connector)


def _make_schema(address: str) -> None:
    """Make the engine's tables, or bring them to the version that is installed; its name is noted at the schema."""
    import procrastinate
    import psycopg
    from procrastinate.schema import SchemaManager

    installed = procrastinate.__version__
    with psycopg.connect(address) as connection:
        # Workers started at once must not both create the tables.
        connection.execute("SELECT pg_advisory_xact_lock(4210734)")
        row = connection.execute(
            "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s", [SCHEMA]
        ).fetchone()
        if row is not None and row[0] == installed:
            return
        if row is None:
            connection.execute(f"CREATE SCHEMA {SCHEMA}")
            steps = [SchemaManager.get_schema()]
        else:
            steps = list(_later_steps(Path(SchemaManager.get_migrations_path()), str(row[0])))
        connection.execute(f"SET LOCAL search_path = {SCHEMA}")
        for step in steps:
            connection.execute(step.encode())
        connection.execute(f"COMMENT ON SCHEMA {SCHEMA} IS '{installed}'")


def _later_steps(folder: Path, since: str) -> Iterator[str]:
    """Yield the engine's own migrations that came after a version."""
    for path in sorted(folder.glob("*.sql")):
        if _version(path.name.partition("_")[0]) > _version(since):
            yield path.read_text("utf-8")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


@contextmanager
def opened(settings: Settings) -> Iterator[App]:
    """The queue, connected for the block."""
    with queue_of(settings).open() as app:
        yield app


def defer(settings: Settings, job: str, site: str | None) -> list[Deferred]:
    """Put a job into the queue: a schedule for each of its sites, or a step for every site.

    Raises FixConfiguration where there is no such job or site.
    """
    from procrastinate.exceptions import AlreadyEnqueued

    wanted = chosen(settings, job, site)
    found: list[Deferred] = []
    with opened(settings) as app:
        for one in wanted:
            entry = app.configure_task(
                TASK, queue=QUEUE, lock=f"site:{one.site}", queueing_lock=f"{one.schedule}:{one.site}"
            )
            try:
                number = entry.defer(job=one.schedule, site=one.site)
            except AlreadyEnqueued:
                found.append(Deferred(one.schedule, one.site, None))
            else:
                found.append(Deferred(one.schedule, one.site, number))
    return found


def standing(settings: Settings) -> Fleet:
    """Return how the queue stands."""
    with opened(settings) as app:
        listed = [job for job in app.job_manager.list_jobs(queue=QUEUE) if job.task_name == TASK]
        rows: list[dict[str, Any]] = app.connector.get_sync_connector().execute_query_all(
            "SELECT id, last_heartbeat FROM procrastinate_workers ORDER BY id"
        )
    jobs = tuple(
        QueuedJob(
            job.id or 0,
            str(job.task_kwargs.get("job", "")),
            str(job.task_kwargs.get("site", "")),
            job.status or "",
            job.attempts,
            job.worker_id,
            job.scheduled_at,
        )
        for job in listed
        if job.status != "succeeded"
    )
    return Fleet(jobs, tuple((int(row["id"]), row["last_heartbeat"]) for row in rows))
