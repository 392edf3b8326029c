"""What is Totara's own: checking HR Import files before they go, and requirements that somebody assigns by hand."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import JsonOption, ModelOption, SiteOption, settings_here
from bridge.cli.screen import REFUSED, REJECTIONS, Screen


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        help="What is Totara's own: HR Import files, requirements.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command("preflight")(preflight)
    group.command("requirements")(requirements)
    app.add_typer(group, name="totara")


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
    from jobs import totara as job  # only these commands wait for it

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


def requirements(
    model: ModelOption = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Write the list to this CSV or XLSX file.", metavar="FILE")
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show confirmed ones too.")] = False,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the requirements to assign by hand in Totara, and which of them its competency status report confirms."""
    from jobs import totara as job  # only these commands wait for it

    screen = Screen(as_json)
    name, found = job.requirements(site, settings_here(), model)
    counts = Counter(one.state for one in found)
    screen.give({"site": name, "counts": dict(sorted(counts.items())), "requirements": [asdict(one) for one in found]})
    if to is not None:
        job.write_requirements(found, to)
        screen.aside(f"The list is in {to}.")
    for one in found:
        if show_all or one.state != job.CONFIRMED:
            whom = one.target if one.target == "everyone" else f"{one.target} {one.target_key} ({one.target_name})"
            what = f"{one.competency} ({one.competency_name}) at {one.level}"
            screen.say(f"  {one.state}: assign {what} to {whom}; {one.says}")
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())) or "none"
    screen.say(f"{len(found):,} requirements: {states}.")
