"""Stand-ins for real servers, and the demonstration that uses them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import JsonOption
from bridge.cli.screen import FAILED, Screen
from bridge.ports import FixConfiguration
from bridge.sync.plan import ChangePlan
from bridge.sync.push import Watching


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
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Begin with what a support bundle's site held.", metavar="FILE")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Send the bundle's run again, say what differs from then, and end.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve a simulated Moodle 4.5, with the sample company's scales, until interrupted; print address and token."""
    from jobs import simulate as job  # only these commands wait for it

    if bundle is None and replay:
        raise FixConfiguration("--replay runs a bundle's run again: name it with --bundle FILE.")
    if bundle is not None and replay:
        _replay(Screen(as_json), bundle)
        return
    announce = _object_of(2) if as_json else None
    if bundle is not None:
        job.moodle_of_bundle(bundle, port=port, latency=latency, state=state, announce=announce)
        return
    job.moodle(
        port=port,
        latency=latency,
        state=state,
        seed=seed,
        empty=empty,
        measured_cost=measured_cost,
        announce=announce,
    )


def _object_of(number: int) -> Callable[[str], None]:
    """Return what takes lines of a `.env`, and prints them as one JSON object once there are so many."""
    found: dict[str, str] = {}

    def take(line: str) -> None:
        name, _, value = line.partition("=")
        found[name] = value
        if len(found) == number:
            print(json.dumps(found), flush=True)  # noqa: T201  this is the output

    return take


def _replay(screen: Screen, bundle: Path) -> None:
    """Say what became of each change of a bundle's run, then and now; ends with 1 where something ended otherwise."""
    from jobs import simulate as job  # only these commands wait for it

    found = job.replay_bundle(bundle)
    different = [one for one in found.compared if not one.same]
    screen.give(
        {
            "run": found.run,
            "objects": found.seeded.made,
            "not_seeded": found.seeded.left,
            "changes": len(found.compared),
            "same": len(found.compared) - len(different),
            "different": [
                {
                    "kind": one.change.kind,
                    "key": one.change.key,
                    "action": one.change.action.value,
                    "then": one.then,
                    "why_then": one.why_then,
                    "now": one.now,
                    "why_now": one.why_now,
                }
                for one in different
            ],
        }
    )
    screen.say(f"The simulated site held {found.seeded.made:,} objects before run {found.run}.")
    for left in found.seeded.left[:20]:
        screen.say(f"  not put there: {left}", "yellow")
    screen.say(f"{len(found.compared):,} changes sent again: {len(found.compared) - len(different):,} ended as then.")
    for one in different[:50]:
        change = one.change
        screen.say(f"  {change.action.value} {change.kind} {change.key}", "yellow")
        screen.say(f"    then {one.then}" + (f": {one.why_then}" if one.why_then else ""))
        screen.say(f"    now  {one.now}" + (f": {one.why_now}" if one.why_now else ""))
    if different:
        raise typer.Exit(FAILED)


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
        Path | None, typer.Option("--reports", help="Folder the scheduled reports are exported to.", metavar="DIR")
    ] = None,
    as_json: JsonOption = False,
    framework: Annotated[
        list[str] | None,
        typer.Option(
            "--framework",
            help="A framework made by hand, as competency=ID, position=ID or organisation=ID. Again for each.",
            metavar="KIND=ID",
        ),
    ] = None,
    release: Annotated[
        int, typer.Option("--release", help="Whose API it has: 17, 18 or 19 (positions and organisations too).")
    ] = 17,
    stock_role: Annotated[
        bool, typer.Option("--stock-role", help="Let the API account see as little as the site's own role does.")
    ] = False,
) -> None:
    """Serve a simulated Totara 17 with HR Import over a folder until interrupted; print address, client and token."""
    from jobs import totara as totara_job  # only these commands wait for it

    totara_job.simulate(
        filesdir=filesdir,
        port=port,
        wait=wait,
        every=every,
        settings=settings,
        holds=holds,
        reports=reports,
        announce=_object_of(5) if as_json else None,
        frameworks=framework or (),
        release=release,
        stock_role=stock_role,
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
    from jobs import demo as demonstration  # only these commands wait for it

    screen = Screen(as_json)
    report = demonstration.demo(folder, model, latency, screen.say, lambda: _watched(screen))
    screen.give(report.to_json())
    if not report.ok:
        raise typer.Exit(FAILED)


@contextmanager
def _watched(screen: Screen) -> Iterator[Watching]:
    """Show how far a push is, without asking anybody."""
    with screen.busy("Comparing the files with the LMS") as busy:
        numbers = count(1)

        def begin(plan: ChangePlan) -> bool:
            busy.count("Writing", len(plan.changes))
            return True

        yield Watching(begin, lambda _change, _state: busy.reached(next(numbers)))
