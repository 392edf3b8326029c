"""Stand-ins for real servers, and the demonstration that uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import JsonOption
from bridge.cli.screen import FAILED, Screen
from jobs import demo as demonstration
from jobs import simulate as job


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        help="Run a stand-in for a real LMS on this machine.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command("moodle")(moodle)
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
