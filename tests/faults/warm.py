"""A process kept warm: it has the program loaded and forks a child for each command.

A crash test needs a thousand real processes, and starting Python a thousand times would cost an hour. What runs in the
children is the real command line; they are killed with real signals.

Spoken over pipes, a JSON object a line. In: `{"cwd", "env", "command", "out", "strike"}`. Out: `{"pid"}` at the start
and `{"code"}` at the end (minus the signal's number where one ended it).
"""

from __future__ import annotations

import importlib
import json
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LOADED = (
    "bridge.cli.main",
    "connectors.feeds",
    "connectors.moodle",
    "jobs.totara_site",
    "requests",
    "alembic.command",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
)


class Warm:
    """The warm process, from outside."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.warm"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        command: list[str],
        folder: Path,
        environment: Mapping[str, str],
        strike: Mapping[str, Any] | None = None,
        *,
        fresh: bool = True,
        started: Callable[[int], None] = lambda _pid: None,
        words: str = "said.txt",
    ) -> tuple[int, int]:
        """Run one command in a child; return its exit code and how many moments the strike counted so far.

        `fresh` starts the count anew. `started` is told the child's process number; `words` is the file in the folder
        that the command's words are added to.
        """
        order = {
            "cwd": str(folder),
            "env": dict(environment),
            "command": command,
            "out": str(folder / words),
            "strike": strike,
            "fresh": fresh,
        }
        self._say(order)
        started(self._hear()["pid"])
        answer = self._hear()
        return answer["code"], answer["counted"]

    def _say(self, order: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the warm process ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End the warm process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@contextmanager
def warm() -> Iterator[Warm]:
    """A warm process for the block."""
    found = Warm()
    try:
        yield found
    finally:
        found.close()


def serve() -> None:
    """Be the warm process: load the program, then fork for each order until there is none."""
    # Loaded before the first fork, so that no child pays for it.
    for name in LOADED:
        importlib.import_module(name)
    from tests.faults.strikes import Counter, hurry

    hurry()
    memory = mmap.mmap(-1, 8)
    counter = Counter(memoryview(memory))
    for line in sys.stdin:
        order = json.loads(line)
        if order["fresh"]:
            memory[:] = bytes(8)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _be_the_program(order, counter)
        print(json.dumps({"pid": child}), flush=True)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        counted = int.from_bytes(memory[:8], sys.byteorder)
        print(json.dumps({"code": code, "counted": counted}), flush=True)


def _be_the_program(order: dict[str, Any], counter: Any) -> None:
    """In the child: become what a scheduler would have started. Never returns."""
    from tests.faults.strikes import install

    code = 1
    try:
        out = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["env"])
        if order["strike"]:
            install(order["strike"], counter)
        sys.argv = ["lms-bridge", *order["command"]]
        import bridge.cli.main

        try:
            bridge.cli.main.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  a fault of the program, whatever it is, is what these tests look for
        import traceback

        traceback.print_exc()
        code = 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
