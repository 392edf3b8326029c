"""Many simulated sites and the commands that work for them, as a provider with a fleet has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, create_engine, select

from connectors.simulators.moodle import MoodleSimulator, SimulatorConfig
from tests.acceptance.program import COMPANY, ROOT, Answer, leaks_in, scales, small_model


@dataclass(slots=True)
class Park:
    """Many sites, one store, and the commands that work for them."""

    folder: Path
    store: str
    sites: dict[str, MoodleSimulator]

    def environment(self) -> dict[str, str]:
        """Return the environment the commands run in."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        token = next(iter(self.sites.values())).token
        return {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "LMS_BRIDGE_STORE": self.store, "TOKEN": token}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `lms-bridge` with arguments; what it says goes to a file."""
        with (self.folder / "said.txt").open("a") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "bridge", *arguments],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                text=True,
            )

    def run(self, *arguments: str) -> Answer:
        """Run `lms-bridge` with arguments to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "bridge", *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def status(self) -> dict[str, Any]:
        """Return how the queue stands."""
        answer = self.run("fleet", "status", "--json")
        assert answer.code == 0, answer.err
        found: dict[str, Any] = json.loads(answer.out)
        return found

    def begun(self) -> int:
        """Return how many sites have been written to."""
        return sum(len(moodle.db.competencies.rows) > 0 for moodle in self.sites.values())


@contextmanager
def park(folder: Path, store: str, number: int, latency: float = 0.0, competencies: int = 30) -> Iterator[Park]:
    """Make many equal sites, and settings that name them all."""
    small_model(folder / "model", competencies=competencies, positions=2)
    with ExitStack() as stack:
        sites: dict[str, MoodleSimulator] = {}
        lines: list[str] = []
        for count in range(1, number + 1):
            moodle = stack.enter_context(MoodleSimulator(SimulatorConfig(latency=latency)))
            for name, labels in scales(COMPANY):
                moodle.seed.scale(name, labels)
            sites[f"s{count:02}"] = moodle
            lines.append(
                f'[sites.s{count:02}]\nurl = "{moodle.url}"\ntoken = "env:TOKEN"\nmodel = "model"\n'
                f"[sites.s{count:02}.options]\nserver_limit = 0.05\n"
            )
        (folder / "bridge.toml").write_text("\n".join(lines), "utf-8")
        yield Park(folder, store, sites)
        token = next(iter(sites.values())).token
        assert leaks_in(folder, in_store(store), [token]) == []


def in_store(address: str) -> dict[str, str]:
    """Return every row of a store on the tests' own PostgreSQL, also those of the queue, by its table."""
    if "?host=" not in address:
        return {}
    engine = create_engine(address)
    try:
        tables = MetaData()
        tables.reflect(engine)
        with engine.connect() as connection:
            return {
                f"table {table.name}": "\n".join(str(row) for row in connection.execute(select(table)))
                for table in tables.sorted_tables
            }
    finally:
        engine.dispose()


def wait_for(found: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)
