"""Unattended work: the daemon, one job for cron, and how everything stands."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from bridge import logs
from bridge.cli.options import JsonOption, SiteOption, settings_here
from bridge.cli.screen import DONE, FAILED, Screen
from bridge.ports import FixConfiguration
from bridge.settings import Settings, load_settings
from bridge.store import Store
from jobs import status as standing


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(daemon)
    app.command()(status)


def daemon(
    once: Annotated[
        str | None,
        typer.Option("--once", help="Run this schedule, or this step, now, and end: for cron.", metavar="JOB"),
    ] = None,
    send_test: Annotated[
        bool, typer.Option("--send-test", help="Send a test message to the addresses in [daemon.notify], and end.")
    ] = False,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the schedules in bridge.toml until stopped (SIGTERM); SIGHUP reads the settings again."""
    screen = Screen(as_json)
    settings = settings_here()
    for warning in settings.warnings:
        screen.aside(warning, "yellow")
    log_as(settings)
    if send_test:
        _send_test(screen, settings)
        return
    if once is not None:
        raise typer.Exit(_once(screen, settings, once, site))
    if site is not None:
        raise FixConfiguration("--site goes with --once. For a daemon, name `sites` in the schedules.")
    from jobs.daemon import serve  # only the daemon waits for its libraries

    folder = Path.cwd()

    def load() -> Settings:
        """Read the settings, and write the log as they say."""
        found = load_settings(folder)
        log_as(found)
        return found

    code = serve(load)
    if code:
        raise typer.Exit(code)


def log_as(settings: Settings) -> None:
    """Write the log as the settings say. Raises FixConfiguration where it cannot be written."""
    wanted = settings.daemon
    file = settings.folder / wanted.log_file if wanted.log_file else None
    try:
        logs.configure(wanted.log_format, wanted.log_level, file, file_bytes=wanted.log_bytes, files=wanted.log_files)
    except OSError as error:
        raise FixConfiguration(
            f"bridge.toml, [daemon]: the log {file} cannot be written: {error.strerror or error}. Choose another place."
        ) from error


def _once(screen: Screen, settings: Settings, job: str, site: str | None) -> int:
    from jobs.once import run_once  # as above

    ran = run_once(settings, job, site)
    codes = {one.exit_code for one in ran}
    code = next((one for one in (FAILED, 3, 5, 4) if one in codes), DONE)
    screen.give(
        {
            "job": job,
            "sites": [
                {
                    "site": one.site,
                    "state": one.end.state,
                    "message": one.end.message,
                    "steps": [
                        {
                            "step": step.step,
                            "state": step.state,
                            "message": step.message,
                            "run": step.run_id,
                            "seconds": step.seconds,
                        }
                        for step in one.end.steps
                    ],
                }
                for one in ran
            ],
            "exit_code": code,
        }
    )
    for one in ran:
        screen.say(f"{one.site}: {one.end.state}", None if one.exit_code in (0, 4, 5) else "red")
        for step in one.end.steps:
            screen.say(f"  {step.step}: {step.state}. {step.message}")
        if not one.end.steps:
            screen.say(f"  {one.end.message}")
    return code


def _send_test(screen: Screen, settings: Settings) -> None:
    from jobs.notices import sender  # as above

    send = sender(settings)
    if send is None:
        raise FixConfiguration("There is no address to send to. Name one under `to` in [daemon.notify] of bridge.toml.")
    if not send("LMS Bridge: a test", "This is a test. Messages about failures and recoveries arrive here."):
        screen.aside("The message did not get through. The log above says why; look at the address.", "red")
        raise typer.Exit(FAILED)
    screen.say("Sent. See whether it has arrived.")
    screen.give({"sent": True})


def status(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Show what ran last and runs next, who is well, what lags, and what waits for a person."""
    screen = Screen(as_json)
    settings = settings_here()
    if site is not None:
        settings.site_named(site)
    store = Store.open(settings.store)
    try:
        found = standing.status(settings, store, time.time(), site)
    finally:
        store.close()
    screen.give(standing.as_json(found))
    for line, style in standing.in_words(found):
        screen.say(line, style)
