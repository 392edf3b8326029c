"""Help from outside: a bundle of what support needs to see."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import JsonOption, SiteOption, settings_here
from bridge.cli.screen import Screen
from jobs import support as job


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("support-bundle")(support_bundle)


def support_bundle(
    out: Annotated[Path, typer.Option("--out", help="Where to write it.", metavar="FILE")] = Path(
        "lms-bridge-support.zip"
    ),
    run: Annotated[
        int | None, typer.Option("--run", help="The run to be looked into; else the latest that sent anything.")
    ] = None,
    runs: Annotated[int, typer.Option("--runs", help="How many of the latest runs go along.", min=1)] = 10,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pack settings, runs, plans and the log for support: without secrets, and without anybody's name."""
    screen = Screen(as_json)
    packed = job.pack(settings_here(), site, out, runs=runs, run=run, now=time.time())
    screen.say(f"{packed.path}: {packed.runs:,} runs of site {packed.site}, without secrets; people go by other names.")
    if packed.run is not None:
        screen.say(f"Run {packed.run} can be run again: lms-bridge simulate moodle --bundle {packed.path} --replay")
    screen.say("Look into it before you send it: it is a zip file of texts.")
    screen.give({"file": str(packed.path), "site": packed.site, "runs": packed.runs, "run": packed.run})
