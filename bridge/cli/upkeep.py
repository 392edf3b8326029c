"""The commands that keep the bridge's own house: backup, restore, forget, tidy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import JsonOption, settings_here
from bridge.cli.screen import Screen
from bridge.ports import FixConfiguration
from bridge.store import Store
from bridge.sync.clock import Clock
from jobs.backups import back_up, put_back
from jobs.forget import forget as forget_them
from jobs.forget import look, why_not
from jobs.tidying import tidy as tidy_up


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(backup)
    app.command()(restore)
    app.command()(forget)
    app.command()(tidy)


def backup(
    to: Annotated[
        Path | None, typer.Option("--to", help="File or folder to write to; else .lms-bridge/backups.", metavar="PATH")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the store while it is in use. The copy is checked, and readable by you alone."""
    screen = Screen(as_json)
    settings = settings_here()
    store = Store.open(settings.store)
    try:
        made = back_up(store, settings, to, Clock())
    finally:
        store.close()
    screen.give({"file": str(made.path), "bytes": made.bytes, "kind": made.kind, "exit_code": 0})
    screen.say(f"{made.path}: {made.bytes:,} bytes, whole.")
    screen.say(f"`lms-bridge restore {made.path}` puts it back. Settings and secrets are not in it: keep .env apart.")


def restore(
    file: Annotated[Path, typer.Argument(help="A backup that `lms-bridge backup` wrote.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the store what a backup says. What it is now is backed up first."""
    screen = Screen(as_json)
    settings = settings_here()
    store = Store.open(settings.store)
    try:
        if not yes and not typer.confirm(
            f"Replace everything the store remembers by what {file} says? What it is now is backed up first.", err=True
        ):
            raise FixConfiguration("Nothing was changed.")
        before = put_back(store, settings, file, Clock())
    finally:
        store.close()
    screen.give({"file": str(file), "before": str(before.path) if before else None, "exit_code": 0})
    screen.say(f"The store is what {file} says.")
    if before is not None:
        screen.say(f"What it was is in {before.path}.")
    screen.say(
        "What was written to an LMS since that backup, the store no longer knows of. `lms-bridge plan` shows it as "
        "drift or adopts it; look at it before you push."
    )


def forget(
    person: Annotated[str, typer.Argument(help="The person's number, as the feeds write it.")],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also somebody who still works here, or whose account is open.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take everything about a person out of the store, and say what cannot be taken out, and why."""
    screen = Screen(as_json)
    settings = settings_here()
    store = Store.open(settings.store)
    try:
        seen = look(store, settings, person)
        if not yes:
            for against in why_not(person, seen.known):
                screen.aside(against, "yellow")
            for stays in seen.stays:
                screen.aside(f"Stays: {stays}")
            if not typer.confirm(f"Forget {person}? It cannot be undone.", err=True):
                raise FixConfiguration("Nothing was changed.")
        done = forget_them(store, settings, person, Clock(), anyway=anyway)
    finally:
        store.close()
    screen.give(
        {
            "person": person,
            "gone": done.gone,
            "stays": [asdict(one) for one in done.stays],
            "run": done.run,
            "exit_code": 0,
        }
    )
    gone = ", ".join(f"{count:,} {what}" for what, count in done.gone.items()) or "nothing"
    screen.say(f"{person} is forgotten: {gone}.")
    screen.say("What stays, and why:")
    for stays in done.stays:
        screen.say(f"  {stays}")


def tidy(as_json: JsonOption = False) -> None:
    """Remove what has expired by [retention]: old archived files, rejections, backups, records of runs and deliveries.

    The daemon, `--once` and workers do it once a day by themselves.
    """
    screen = Screen(as_json)
    settings = settings_here()
    store = Store.open(settings.store)
    try:
        done = tidy_up(store, settings, Clock())
    finally:
        store.close()
    code = 1 if done.troubles else 0
    screen.give(
        {
            "feeds": {name: asdict(one) for name, one in done.feeds.items()},
            "inbox": list(done.inbox),
            "backups": list(done.backups),
            "runs": done.runs,
            "changes": done.changes,
            "deliveries": done.deliveries,
            "results": done.results,
            "queued": done.queued,
            "troubles": list(done.troubles),
            "exit_code": code,
        }
    )
    for line in done.in_words() or ("Nothing has expired.",):
        screen.say(line)
    for trouble in done.troubles:
        screen.aside(trouble, "red")
    raise typer.Exit(code)
