"""What a person or a program sees: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from bridge.ports import BridgeError, FixConfiguration, SafetyLimit

DONE = 0
FAILED = 1
MISUSED = 2
REFUSED = 3
REJECTIONS = 4
PENDING = 5
CHANGES = 10
"""Exit codes: done · failed · usage or configuration · refused by a safety limit · finished, some rows rejected ·
submitted, outcome pending · `plan` alone: there are changes."""


def exit_code_of(error: BridgeError) -> int:
    """Return the exit code that says what kind of fault ended a command."""
    if isinstance(error, SafetyLimit):
        return REFUSED
    if isinstance(error, FixConfiguration):
        return MISUSED
    return FAILED


FEWEST = 100
"""A line of progress stands for at least so many steps."""


class Screen:
    """One command's output. With `as_json` stdout carries one JSON object and nothing else."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self._out = Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True, emoji=False)
        self.err = Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True, emoji=False)

    @property
    def moves(self) -> bool:
        """Whether a moving line may be shown: a person sits at a terminal and no program listens."""
        return self.err.is_terminal and not self.as_json

    def say(self, text: str = "", style: str | None = None) -> None:
        """Print a line of a result for a person; nothing where a program listens."""
        if not self.as_json:
            self._out.print(text, style=style)

    def aside(self, text: str, style: str | None = None) -> None:
        """Print a line that is no result: a warning, progress, what comes next."""
        self.err.print(text, style=style)

    def give(self, result: Any) -> None:
        """Print the result as one JSON object, where a program listens."""
        if self.as_json:
            print(json.dumps(result, ensure_ascii=False, indent=2, default=str))  # noqa: T201  this is the output

    @contextmanager
    def busy(self, what: str) -> Iterator[Busy]:
        """Show that something takes its time, and once it is known how much there is, how far it got."""
        shown = Busy(self, what)
        try:
            yield shown
        finally:
            shown.done()


class Busy:
    """Progress of one command: a moving line and then a bar on a terminal, plain lines elsewhere.

    Nothing moves while somebody is being asked: `done` clears the line first.
    """

    def __init__(self, screen: Screen, what: str) -> None:
        self._screen = screen
        self._live: Progress | None = None
        self._task: TaskID | None = None
        self._lines: _Lines | None = None
        self._begin(what, None)

    def count(self, what: str, total: int | None = None) -> None:
        """Begin to count something, `total` of it where that is known."""
        self.done()
        self._begin(what, total)

    def reached(self, number: int) -> None:
        """Say how far the counting is."""
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=number)
        elif self._lines is not None:
            self._lines(number)

    def done(self) -> None:
        """Take the moving line off the terminal."""
        if self._live is not None:
            self._live.stop()
        self._live = self._task = self._lines = None

    def _begin(self, what: str, total: int | None) -> None:
        if not self._screen.moves:
            if total is None:
                self._screen.aside(f"{what} ...")
            self._lines = _Lines(self._screen, what, total)
            return
        columns: tuple[ProgressColumn, ...] = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        if total is not None:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._live = Progress(*columns, console=self._screen.err, transient=True)
        self._task = self._live.add_task(what, total=total)
        self._live.start()


class _Lines:
    """Progress as lines in a log: one each tenth of the way, or each 5,000 where the way is unknown."""

    def __init__(self, screen: Screen, what: str, total: int | None) -> None:
        self._screen = screen
        self._what = what
        self._total = total
        self._said = 0

    def __call__(self, number: int) -> None:
        step = max(FEWEST, -(-self._total // 10)) if self._total else 5000
        if number // step > self._said // step:
            self._said = number
            of = f" of {self._total:,}" if self._total else ""
            self._screen.aside(f"{self._what}: {number:,}{of}")
