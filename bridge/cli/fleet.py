"""More than one machine: workers, the queue they share, and how it stands."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.daemon import log_as
from bridge.cli.options import JsonOption, SiteOption, settings_here
from bridge.cli.screen import Screen
from bridge.settings import Settings, load_settings

SHOWN = 20
"""Jobs printed for a person; --json has them all."""


WORDS = {"todo": "waiting", "doing": "being worked on", "aborting": "stopping", "aborted": "stopped"}
"""The queue's states in plain words."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(worker)
    group = typer.Typer(
        help="Put jobs into the queue that workers share, and see how it stands.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("defer")(defer)
    group.command("status")(status)
    app.add_typer(group, name="fleet")


def worker(
    concurrency: Annotated[
        int, typer.Option("--concurrency", help="Sites this worker works on at once.", min=1, max=64)
    ] = 4,
    until_empty: Annotated[bool, typer.Option("--until-empty", help="End once the queue is empty.")] = False,
    heartbeat: Annotated[
        float,
        typer.Option("--heartbeat", help="Seconds between signs of life; silent for three, it counts as dead.", min=1),
    ] = 10.0,
) -> None:
    """Work on the jobs of a fleet until stopped (SIGTERM). Start as many as you like, on any machines."""
    from jobs.worker import work  # only a worker waits for its libraries

    folder = Path.cwd()

    def load() -> Settings:
        """Read the settings as they are now."""
        return load_settings(folder)

    log_as(load())
    work(load, concurrency=concurrency, until_empty=until_empty, heartbeat=heartbeat)


def defer(
    job: Annotated[
        str, typer.Argument(help="A schedule in bridge.toml, or a step: ingest, push, report, pull, tidy, backup.")
    ],
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a job into the queue, once for each of its sites: for cron, timers and any other scheduler."""
    from jobs.fleet import defer as put  # as above

    screen = Screen(as_json)
    found = put(settings_here(), job, site)
    waiting = [one for one in found if one.number is None]
    screen.give(
        {
            "deferred": [{"job": one.job, "site": one.site, "number": one.number} for one in found if one.number],
            "waiting_already": [{"job": one.job, "site": one.site} for one in waiting],
        }
    )
    screen.say(f"{job}: put into the queue for {len(found) - len(waiting):,} sites.")
    if waiting:
        names = ", ".join(one.site for one in waiting[:SHOWN])
        screen.say(
            f"Waiting there already, so not put in twice: {names}. Are workers running? `lms-bridge fleet status`"
        )


def status(as_json: JsonOption = False) -> None:
    """Show what waits, what is being worked on and by whom, and what failed."""
    from jobs.fleet import standing  # as above

    screen = Screen(as_json)
    found = standing(settings_here())
    now = dt.datetime.now(dt.UTC)
    counts = Counter(job.state for job in found.jobs)
    screen.give(
        {
            "counts": dict(counts),
            "jobs": [
                {
                    "number": job.number,
                    "job": job.job,
                    "site": job.site,
                    "state": job.state,
                    "attempts": job.attempts,
                    "worker": job.worker,
                    "begins": None if job.begins is None else job.begins.isoformat(),
                }
                for job in found.jobs
            ],
            "workers": [
                {"number": number, "silent_for": round((now - seen).total_seconds(), 1)}
                for number, seen in found.workers
            ],
        }
    )
    if not found.workers:
        screen.say("No worker is running. Start one: lms-bridge worker", "yellow")
    for number, seen in found.workers:
        screen.say(f"Worker {number}: last sign of life {(now - seen).total_seconds():,.0f} s ago.")
    if not found.jobs:
        screen.say("The queue is empty.")
    for state, number in counts.items():
        screen.say(f"{number:,} {WORDS.get(state, state)}:")
        for job in [job for job in found.jobs if job.state == state][:SHOWN]:
            again = f", attempt {job.attempts}" if job.attempts > 1 else ""
            by = f", worker {job.worker}" if job.worker is not None else ""
            later = f", from {job.begins:%Y-%m-%d %H:%M} on" if job.begins is not None and job.begins > now else ""
            screen.say(f"  {job.job} at {job.site}{by}{again}{later}")
        if number > SHOWN:
            screen.say(f"  and {number - SHOWN:,} more: lms-bridge fleet status --json")
    if counts.get("failed"):
        screen.say("What went wrong at a site: lms-bridge status --site SITE.")
