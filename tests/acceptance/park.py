"""Many simulated sites and the commands that work for them, as a provider with a fleet has them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.simulators.moodle import MoodleSimulator, SimulatorConfig
from tests.acceptance.program import COMPANY, Bench, in_process_list, scales, small_model


@dataclass(slots=True)
class Park(Bench):
    """Many sites, one store, and the commands that work for them."""

    sites: dict[str, MoodleSimulator]

    def site(self) -> dict[str, str]:
        """Return the token, which is that of every site, and the setting that names the store."""
        return {"LMS_BRIDGE_STORE": self.store, "TOKEN": next(iter(self.sites.values())).token}

    def secrets(self) -> list[str]:
        """Return the token, and what is secret anyway."""
        return [self.site()["TOKEN"], *Bench.secrets(self)]

    def targets(self) -> Iterable[str]:
        """Return the addresses the sites were asked at."""
        return {target for moodle in self.sites.values() for target in moodle.requests.targets}

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `lms-bridge` with arguments, to work for a while; what it says goes to a file."""
        with (self.folder / "said.txt").open("a") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "bridge", *arguments],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                text=True,
            )
        self.said.append(in_process_list(process.pid))
        return process

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
        made = Park(folder, sites, store=store)
        yield made
        made.finish()


def wait_for(found: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)
