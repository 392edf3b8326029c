"""Running the simulator as a process of its own."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from connectors.simulators.moodle.config import CostModel, SimulatorConfig
from connectors.simulators.moodle.simulator import MoodleSimulator


def serve(
    host: str = "127.0.0.1",
    port: int = 8088,
    latency: float = 0.0,
    state: Path | None = None,
    seed: int = 0,
    reference: bool = True,
    measured_cost: bool = False,
    announce: Callable[[str], None] | None = None,
    scales: Sequence[tuple[str, list[str]]] = (),
) -> int:
    """Serve until interrupted, and return the exit code.

    `latency` is in seconds. `state` is a JSON file read at the start where it exists and written at the end.
    A fresh site is the reference site with its reports unless `reference` is false, and has `scales` (name and
    labels) beside its own. `announce` is told the
    address and token, one sentence each.
    """
    config = SimulatorConfig(host=host, port=port, latency=latency, seed=seed)
    if measured_cost:
        config.cost = CostModel.measured()
    known = state is not None and state.exists()
    simulator = MoodleSimulator(config, state if known else None)
    if reference and not known:
        simulator.seed.reference_site()
        simulator.seed.completion_report()
        simulator.seed.ratings_report()
    if not known:
        for name, labels in scales:
            simulator.seed.scale(name, labels)
    say = announce or (lambda line: print(line, flush=True))  # noqa: T201 - this is the program's own output

    def finish(_number: int, _frame: object) -> None:
        simulator.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, finish)
    url = simulator.start()
    say(f"MOODLE_URL={url}")
    say(f"MOODLE_TOKEN={simulator.token}")
    simulator.wait()
    if state is not None:
        simulator.save(state)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="moodle-simulator", description="Serve a simulated Moodle 4.5 on this machine."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8088, help="port to listen on; 0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="network time per request, in seconds")
    parser.add_argument("--state", type=Path, help="JSON file that keeps the site between runs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the invented completions and of random faults")
    parser.add_argument("--empty", action="store_true", help="start without people and courses")
    parser.add_argument("--measured-cost", action="store_true", help="take as long as the measured server did")
    given = parser.parse_args(argv)
    return serve(given.host, given.port, given.latency, given.state, given.seed, not given.empty, given.measured_cost)


if __name__ == "__main__":
    sys.exit(main())
