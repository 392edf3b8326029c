"""What a person or a program sees: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

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


class Screen:
    """One command's output. With `as_json` stdout carries one JSON object and nothing else."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self._out = Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True, emoji=False)
        self._err = Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True, emoji=False)

    def say(self, text: str = "", style: str | None = None) -> None:
        """Print a line of a result for a person; nothing where a program listens."""
        if not self.as_json:
            self._out.print(text, style=style)

    def aside(self, text: str, style: str | None = None) -> None:
        """Print a line that is no result: a warning, progress, what comes next."""
        self._err.print(text, style=style)

    def give(self, result: Any) -> None:
        """Print the result as one JSON object, where a program listens."""
        if self.as_json:
            print(json.dumps(result, ensure_ascii=False, indent=2, default=str))  # noqa: T201  this is the output

    @contextmanager
    def bar(self, what: str, total: int | None) -> Iterator[_Bar]:
        """Show progress: a bar on a terminal, now and then a plain line elsewhere."""
        if self._err.is_terminal and not self.as_json:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            with Progress(*columns, console=self._err, transient=True) as progress:
                task = progress.add_task(what, total=total)
                yield _Bar(lambda number: progress.update(task, completed=number))
        else:
            yield _Bar(_Lines(self, what, total))


@dataclass(slots=True)
class _Bar:
    """Told how far the work is."""

    reached: Any


class _Lines:
    """Progress as lines in a log: one each tenth of the way, or each 5,000 where the way is unknown."""

    def __init__(self, screen: Screen, what: str, total: int | None) -> None:
        self._screen = screen
        self._what = what
        self._total = total
        self._said = 0

    def __call__(self, number: int) -> None:
        step = max(1000, self._total // 10) if self._total else 5000
        if number // step > self._said // step:
            self._said = number
            of = f" of {self._total:,}" if self._total else ""
            self._screen.aside(f"{self._what}: {number:,}{of}")
