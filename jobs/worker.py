"""A worker of a fleet: takes jobs from the queue and does what `daemon --once` does, one site at a time each.

Whatever a worker leaves when it dies is given to another as soon as its signs of life stop; the site's lease and the
journal do the rest, as after any crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bridge.logs import logger, name_process
from bridge.ports import BridgeError
from bridge.settings import Settings
from bridge.store import StoreFault
from bridge.sync.clock import Clock
from bridge.sync.lease import this_process
from jobs.fleet import QUEUE, TASK, queue_of
from jobs.once import run_once
from jobs.steps import BUSY, STOPPED

if TYPE_CHECKING:
    from procrastinate import App
    from procrastinate.jobs import Job

HEARTBEAT = 10.0
"""Seconds between two signs of life of a worker."""

DEAD = 30.0
"""Seconds without a sign of life after which a worker's jobs are given to others."""

TRIES = 12
"""How often a job is tried whose site is busy or whose store is away, before it is left for its next time."""

_log = logger("worker")


class Again(Exception):
    """The job is to be done again: the worker was stopped, or somebody else works on the site."""

    def __init__(self, says: str, seconds: int) -> None:
        super().__init__(says)
        self.seconds = seconds


class ChainFailed(Exception):
    """The chain ended badly. It has its own way of trying again, so the queue does not."""


def work(
    load: Callable[[], Settings], *, concurrency: int, until_empty: bool = False, heartbeat: float = HEARTBEAT
) -> int:
    """Work until stopped (SIGTERM, SIGINT), or until the queue is empty; return the exit code.

    `load` reads the settings, for each job anew. `heartbeat` is in seconds; a worker silent for three of them is dead.
    Raises FixConfiguration where there can be no queue.
    """
    settings = load()
    app = queue_of(settings)
    stopping = threading.Event()
    _register(app, load, stopping, heartbeat)
    name_process(f"worker-{this_process().rpartition(':')[2]}")
    _log.info("worker begins", concurrency=concurrency)
    asyncio.run(_work(app, stopping, concurrency, until_empty, heartbeat, settings.daemon.stop_within))
    _log.info("worker ends")
    return 0


async def _work(
    app: App, stopping: threading.Event, concurrency: int, until_empty: bool, heartbeat: float, stop_within: float
) -> None:
    async with app.open_async():
        running = asyncio.create_task(
            app.run_worker_async(
                concurrency=concurrency,
                wait=not until_empty,
                install_signal_handlers=False,
                update_heartbeat_interval=heartbeat,
                stalled_worker_timeout=3 * heartbeat,
                fetch_job_polling_interval=max(1.0, heartbeat / 2),
                shutdown_graceful_timeout=stop_within,
                delete_jobs="successful",
            )
        )

        def stop() -> None:
            """Take nothing more, and let chains under way come to the next place where they can be taken up."""
            _log.info("stopping", within=stop_within)
            stopping.set()
            running.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        with contextlib.suppress(asyncio.CancelledError):
            await running


def _register(app: App, load: Callable[[], Settings], stopping: threading.Event, heartbeat: float) -> None:
    """Teach a queue what its jobs mean."""
    from procrastinate import BaseRetryStrategy, RetryDecision

    class Patience(BaseRetryStrategy):
        """When a job comes back into the queue."""

        def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
            """Return when to try again; None where it is over."""
            if isinstance(exception, Again) and stopping.is_set():
                return RetryDecision(retry_in={"seconds": exception.seconds})
            if isinstance(exception, Again | StoreFault) and job.attempts < TRIES:
                return RetryDecision(retry_in={"seconds": getattr(exception, "seconds", 60)})
            return None

    @app.task(name=TASK, queue=QUEUE, retry=Patience())
    def chain(job: str, site: str) -> None:
        """Run one job at one site."""
        run_chain(load(), job, site, stopping)

    step = max(1, round(heartbeat))

    @app.periodic(cron=f"* * * * * */{step}" if step < 60 else "* * * * *")
    @app.task(name="take up", queue=QUEUE, lock="take up", queueing_lock="take up")
    async def take_up(timestamp: int) -> None:
        """Put back what workers left that give no sign of life any more."""
        _log.debug("looking for jobs of workers that are gone", moment=timestamp)
        left: Any = await app.job_manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=3 * heartbeat)
        for job in left:
            _log.warning("a worker is gone; its job is taken up", site=job.task_kwargs.get("site", ""), job=job.id)
            await app.job_manager.retry_job(job)


def run_chain(settings: Settings, job: str, site: str, stopping: threading.Event) -> None:
    """Run one job at one site as `daemon --once` does.

    Raises Again where it is to come back, ChainFailed where it went badly, StoreFault where the store is away.
    """

    def stop() -> str:
        """Say whether the worker is to end."""
        return "The worker was asked to stop; what was sent is recorded." if stopping.is_set() else ""

    try:
        ran = run_once(settings, job, site, Clock(), stop=stop)
    except StoreFault:
        raise
    except BridgeError as error:
        raise ChainFailed(str(error)) from error
    for one in ran:
        if one.end.state == STOPPED:
            raise Again(one.end.message, 1)
        if one.end.state == BUSY:
            raise Again(one.end.message, 60)
        if one.exit_code not in (0, 4, 5):
            raise ChainFailed(one.end.message)
