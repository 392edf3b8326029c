"""Stand-ins for real servers, and the demonstration that uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import JsonOption
from bridge.cli.screen import FAILED, Screen
from jobs import demo as demonstration
from jobs import simulate as job
from jobs import totara as totara_job


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        help="Run a stand-in for a real LMS on this machine.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command("moodle")(moodle)
    group.command("totara")(totara)
    app.add_typer(group, name="simulate")
    app.command()(demo)


def moodle(
    port: Annotated[int, typer.Option("--port", help="Port on this machine; 0 takes a free one.")] = 8088,
    latency: Annotated[float, typer.Option("--latency", help="Network time of each request, in seconds.")] = 0.0,
    state: Annotated[
        Path | None, typer.Option("--state", help="JSON file that keeps the site between runs.", metavar="FILE")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the invented people's completions.")] = 0,
    empty: Annotated[bool, typer.Option("--empty", help="Start without people and courses.")] = False,
    measured_cost: Annotated[
        bool, typer.Option("--measured-cost", help="Take as long as a measured Moodle server did.")
    ] = False,
) -> None:
    """Serve a simulated Moodle 4.5, with the sample company's scales, until interrupted; print address and token."""
    job.moodle(port=port, latency=latency, state=state, seed=seed, empty=empty, measured_cost=measured_cost)


def totara(
    filesdir: Annotated[
        Path, typer.Argument(help="HR Import's files directory; csv/ready is made in it.", metavar="DIR")
    ],
    port: Annotated[int, typer.Option("--port", help="Port on this machine; 0 takes a free one.")] = 8087,
    wait: Annotated[float, typer.Option("--wait", help="Seconds a file must lie still before it is taken.")] = 2.0,
    every: Annotated[float, typer.Option("--every", help="Seconds between two HR Import runs.")] = 60.0,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="HR Import settings, as JSON or TOML.", metavar="FILE")
    ] = None,
    holds: Annotated[
        Path | None,
        typer.Option("--holds", help="Folder with the files the site holds at the start.", metavar="DIR"),
    ] = None,
    reports: Annotated[
        Path | None, typer.Option("--reports", help="Folder the sync log report is exported to.", metavar="DIR")
    ] = None,
) -> None:
    """Serve a simulated Totara 17 with HR Import over a folder until interrupted; print address, client and token."""
    totara_job.simulate(
        filesdir=filesdir, port=port, wait=wait, every=every, settings=settings, holds=holds, reports=reports
    )


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where the demonstration keeps its files.")] = Path(
        "demo-run"
    ),
    model: Annotated[
        Path | None, typer.Option("--model", help="Another job architecture than the sample company's.", metavar="DIR")
    ] = None,
    latency: Annotated[float, typer.Option("--latency", help="Network time of each request, in seconds.")] = 0.005,
    as_json: JsonOption = False,
) -> None:
    """Run the main job end to end against a simulated Moodle: check, plan, push, push again, drift, undo, pull."""
    screen = Screen(as_json)
    report = demonstration.demo(folder, model, latency, screen.say)
    screen.give(report.to_json())
    if not report.ok:
        raise typer.Exit(FAILED)
