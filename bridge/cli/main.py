"""The command `lms-bridge`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from bridge.cli import daemon, feeds, plans, results, runs, setup, simulators, titles, totara
from bridge.cli.screen import Screen, exit_code_of
from bridge.ports import BridgeError

app = typer.Typer(
    name="lms-bridge",
    help="Moves job architecture, competencies and people from HR systems into learning systems, and results back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (setup, feeds, plans, results, runs, daemon, simulators, titles, totara):
    group.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lms-bridge {version('lms-bridge')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Moves job architecture, competencies and people from HR systems into learning systems, and results back."""


def main() -> None:
    """Run the command line. A foreseeable fault ends in a sentence and an exit code, never in a traceback."""
    try:
        app()
    except BridgeError as error:
        screen = Screen("--json" in sys.argv)
        code = exit_code_of(error)
        screen.aside(str(error), "red")
        screen.give({"error": str(error), "exit_code": code})
        sys.exit(code)
    except KeyboardInterrupt:
        Screen().aside("Stopped by you. The next run begins by looking up what this one had sent.")
        sys.exit(130)
