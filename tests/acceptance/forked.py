"""The real command line in a process forked from the test's own: a real one, killed for real, that starts at once."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.cli.main import main

Counted = Sequence[tuple[object, Sequence[str]]]
"""Functions by their owner and names: before and after each call of one is a step."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code (-9 where it was killed), what it said, and the steps it took."""

    code: int
    out: str
    err: str
    steps: int

    @property
    def json(self) -> Any:
        """The object that `--json` printed."""
        return json.loads(self.out)


def forked(
    folder: Path,
    environment: Mapping[str, str],
    arguments: Sequence[str],
    *,
    counted: Counted = (),
    at: int = 0,
    started: Callable[[int], None] = lambda _pid: None,
) -> Ended:
    """Run `lms-bridge` with arguments in a folder; killed with SIGKILL at a step (0: never).

    `started` is told the number of the process.
    """
    places = [folder / name for name in (".out", ".err", ".steps")]
    # What earlier commands said is kept beside: a bench looks for secrets in it at its end.
    with (folder / ".said").open("ab") as said:
        for place in places[:2]:
            said.write(place.read_bytes() if place.is_file() else b"")
    for place in places:
        place.unlink(missing_ok=True)
    with warnings.catch_warnings():
        # Newer Pythons warn of forking beside other threads: what the simulator's hold, the child never asks for.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be_the_program(folder, environment, arguments, counted, at, places)
    started(child)
    _, status = os.waitpid(child, 0)
    out, err, steps = (place.read_text("utf-8") if place.is_file() else "" for place in places)
    return Ended(os.waitstatus_to_exitcode(status), out, err, int(steps or 0))


def _be_the_program(
    folder: Path,
    environment: Mapping[str, str],
    arguments: Sequence[str],
    counted: Counted,
    at: int,
    places: Sequence[Path],
) -> None:
    """What the forked process does; it never returns."""
    code = 70
    try:
        for number, place in enumerate(places[:2], 1):
            os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT), number)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin = os.fdopen(0, closefd=False)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        taken = _count(counted, at)
        sys.argv = ["lms-bridge", *arguments]
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        places[2].write_text(str(taken[0]), "utf-8")
    except BaseException:  # noqa: BLE001 - nothing may reach the test that was forked
        traceback.print_exc(file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _count(counted: Counted, at: int) -> list[int]:
    """Have each call of some functions counted before and after; return where the count is kept."""
    taken = [0]

    def step() -> None:
        taken[0] += 1
        if taken[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(real: Callable[..., Any]) -> Callable[..., Any]:
        def hooked(*args: Any, **more: Any) -> Any:
            """Take a step, do it, take a step."""
            step()
            answer = real(*args, **more)
            step()
            return answer

        return hooked

    for owner, names in counted:
        for name in names:
            setattr(owner, name, around(getattr(owner, name)))
    return taken
