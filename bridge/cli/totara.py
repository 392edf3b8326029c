"""What is Totara's own: checking HR Import files before they go."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import JsonOption, SiteOption, settings_here
from bridge.cli.screen import REFUSED, REJECTIONS, Screen
from jobs import totara as job


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Check files for Totara's HR Import.", no_args_is_help=True, rich_markup_mode=None)
    # With one command only, typer would drop the group's own name.
    group.callback()(_group)
    group.command("preflight")(preflight)
    app.add_typer(group, name="totara")


def _group() -> None:
    """Check files for Totara's HR Import."""


def preflight(
    directory: Annotated[
        Path, typer.Argument(help="Folder with org.csv, pos.csv, comp.csv, user.csv...", metavar="DIR")
    ],
    holds: Annotated[
        Path | None,
        typer.Option("--holds", help="Folder with the files that last went in: what the site holds.", metavar="DIR"),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option("--settings", help="The site's HR Import settings, as JSON or TOML.", metavar="FILE"),
    ] = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what HR Import would do with each row, which fault stops a file, and what would be deleted. Sends nothing.

    Exit code 3: a file would stop as a whole or delete something; 4: some rows would be refused.
    """
    screen = Screen(as_json)
    if site is None:
        report = job.preflight(directory, holds, settings)
    else:
        report = job.preflight_for_site(directory, site, settings_here(), holds, settings)
    if as_json:
        report.write_json(sys.stdout)
    for line in report.lines():
        screen.say(line)
    blocking = report.blocking()
    for reason in blocking:
        screen.aside(reason, "red")
    if blocking:
        raise typer.Exit(REFUSED)
    if report.refused():
        raise typer.Exit(REJECTIONS)
