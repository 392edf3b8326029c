"""The command `lms-bridge`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer
from sqlalchemy.exc import DBAPIError

from bridge.cli import (
    compare,
    daemon,
    feeds,
    fleet,
    frameworks,
    plans,
    results,
    runs,
    setup,
    simulators,
    support,
    titles,
    totara,
    upkeep,
    why,
)
from bridge.cli.screen import FAILED, MISUSED, Screen, exit_code_of
from bridge.ports import BridgeError
from jobs.desired import FaultyFiles

STOPPED = 130
"""Exit code of a command that somebody stopped with Ctrl-C, as shells have it."""

_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What a wrong command line raises: typer exports only the kinds of it, and brings its own click in some releases."""

app = typer.Typer(
    name="lms-bridge",
    help="Moves job architecture, competencies and people from HR systems into learning systems, and results back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    setup,
    feeds,
    frameworks,
    plans,
    compare,
    results,
    runs,
    why,
    daemon,
    fleet,
    simulators,
    support,
    titles,
    totara,
    upkeep,
):
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
    screen = Screen("--json" in sys.argv)
    try:
        ended = app(standalone_mode=False)
    except BridgeError as error:
        faults = [asdict(fault) for fault in error.faults] if isinstance(error, FaultyFiles) else []
        _end(screen, str(error), exit_code_of(error), faults)
    except _UsageError as error:
        _misused(screen, error)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _end(screen, f"A file cannot be read or written{where}: {error.strerror or error}.", MISUSED)
    except DBAPIError as error:
        _end(screen, f"The store failed: {error.orig}. What was done until then stays done; run this again.", FAILED)
    except (KeyboardInterrupt, typer.Abort):
        ended = STOPPED
    if ended == STOPPED:
        _end(screen, "Stopped by you. The next run begins by looking up what this one had sent.", STOPPED)
    sys.exit(ended if isinstance(ended, int) else 0)


def _end(screen: Screen, says: str, code: int, faults: Sequence[Mapping[str, Any]] = ()) -> NoReturn:
    screen.aside(says, "red")
    screen.give({"error": says, "exit_code": code, **({"faults": faults} if faults else {})})
    sys.exit(code)


def _misused(screen: Screen, error: Any) -> NoReturn:
    """Say how the command line is to be written; `error` is the one of click that typer brings along."""
    error.show()
    screen.give({"error": error.format_message(), "exit_code": MISUSED})
    sys.exit(MISUSED)
