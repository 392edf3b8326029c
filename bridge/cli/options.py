"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.screen import Screen
from bridge.ports import FixConfiguration
from bridge.settings import Settings, load_settings
from bridge.sync.clock import Clock
from jobs.push import scope_of
from jobs.sites import Workplace, parse_limits, workplace

SiteOption = Annotated[str | None, typer.Option("--site", help="Which LMS, where bridge.toml names several.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Folder with the files of the job architecture.", metavar="DIR")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before writing.")]
KindOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        help="Only this kind of object (may be given several times); `people` and `architecture` name all of one sort.",
    ),
]
AsOfOption = Annotated[
    str | None, typer.Option("--as-of", help="Take this day for today (YYYY-MM-DD).", metavar="DATE")
]
ScopeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        help="Only these people: unit=KEY (and below), position=KEY or person=KEY; may be given several times. Nobody "
        "else is changed, nor counts as absent.",
        metavar="WHAT=KEY",
    ),
]
LimitOption = Annotated[
    list[str] | None,
    typer.Option("--limit", help="Raise one limit for this run, e.g. competency.remove=30.", metavar="KIND.TOUCH=N"),
]
InitialOption = Annotated[
    bool, typer.Option("--initial", help="This is a first load: lift the limits on creating (never on removing).")
]
UnverifiedOption = Annotated[
    bool, typer.Option("--unverified", help="Allow removals in kinds that the LMS cannot show.")
]
WaitOption = Annotated[float, typer.Option("--wait", help="Seconds to wait for another run on the site to end.", min=0)]


def settings_here() -> Settings:
    """Return the settings of the folder the command was started in."""
    return load_settings(Path.cwd())


@contextmanager
def opened(
    screen: Screen,
    site: str | None,
    *,
    limit: list[str] | None = None,
    initial: bool = False,
    kind: list[str] | None = None,
    unverified: bool = False,
    wait: float = 0.0,
) -> Iterator[Workplace]:
    """Open the site a command works on, with the rules the command line asked for."""
    settings = settings_here()
    for warning in settings.warnings:
        screen.aside(warning, "yellow")
    overrides: dict[str, Any] = {
        "limits": parse_limits(limit or []),
        "initial": initial,
        "unverified": unverified,
        "lease_wait": wait,
    }
    with workplace(settings, site, overrides) as place:
        if kind:
            place = replace(place, rules=replace(place.rules, scope=scope_of(place.port, kind)))
        yield place


def day_of(text: str | None) -> dt.date | None:
    """Return the day that a person takes for today; None where nobody said. Raises FixConfiguration for no day."""
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise FixConfiguration(f"--as-of {text} is not a day. Write it as YYYY-MM-DD.") from error


LONG = 3.0
"""Seconds of waiting after which a person wants to know why nothing happens."""


def clock_that_says(screen: Screen) -> Clock:
    """Return the real clock, which says so where it lets a person wait."""

    def sleep(seconds: float) -> None:
        if seconds >= LONG:
            screen.aside(
                f"Waiting {seconds:.0f} s, until the LMS can no longer be working on what was sent; then it is "
                "looked up."
            )
        time.sleep(seconds)

    return Clock(sleep=sleep)
