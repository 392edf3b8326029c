"""Frameworks as Moodle's own files: for a start, or for a site whose web services are closed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import JsonOption, ModelOption, SiteOption, settings_here
from bridge.cli.screen import Screen
from bridge.ports import FixConfiguration
from jobs.framework_file import write_framework


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("framework-csv")(framework_csv)


def framework_csv(
    framework: Annotated[
        str | None, typer.Argument(help="Key of the framework; not needed where the model has only one.")
    ] = None,
    to: Annotated[Path, typer.Option("--to", help="The file to write, for Moodle's importer.", metavar="FILE")] = Path(
        "framework.csv"
    ),
    model: ModelOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a framework of the model as the CSV that Moodle's own importer reads. Asks the LMS nothing."""
    screen = Screen(as_json)
    done = write_framework(_folder(model, site), framework, to)
    screen.say(f"{to} written: {done.name} ({done.framework}) with {done.competencies:,} competencies.")
    for remark in done.remarks:
        screen.say(f"  {remark.key}: {remark.says}")
    screen.say(
        "In Moodle: Site administration > Competencies > Import competency framework. It makes a new framework each "
        "time, together with the scales that the site lacks; a push then adopts it by its ID numbers."
    )
    screen.give(
        {
            "file": str(to),
            "framework": done.framework,
            "competencies": done.competencies,
            "remarks": [{"key": remark.key, "says": remark.says} for remark in done.remarks],
        }
    )


def _folder(model: Path | None, site: str | None) -> Path:
    if model is not None:
        return model
    settings = settings_here()
    if settings.sites:
        _, found = settings.site_named(site)
        if found.model:
            return settings.folder / found.model
    raise FixConfiguration("Which job architecture? Name its folder with --model DIR.")
