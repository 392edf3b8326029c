"""Serving the simulators, with the sample company's scales in place."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridge.ports import FixConfiguration
from connectors.simulators.moodle import MoodleSimulator, serve
from jobs.replay import Compared, Seeded, read_bundle, replay
from jobs.replay import seed as seed_from
from jobs.samples import sample_scales


@dataclass(frozen=True, slots=True)
class Replayed:
    """A bundle's run, run again."""

    run: int
    seeded: Seeded
    compared: list[Compared]


def replay_bundle(bundle: Path) -> Replayed:
    """Run a bundle's run again against a simulated Moodle. Raises FixConfiguration where the bundle cannot be used."""
    packed = read_bundle(bundle)
    with MoodleSimulator() as moodle:
        seeded = seed_from(moodle, packed)
        return Replayed(packed.run, seeded, replay(moodle, packed))


Announce = Callable[[str], None]
"""Told address and token, as lines of a `.env`."""


def moodle_of_bundle(
    bundle: Path, *, port: int, latency: float, state: Path | None, announce: Announce | None = None
) -> int:
    """Serve a simulated Moodle that holds what a bundle's site held, until interrupted; return its exit code.

    A `state` that is there already is gone on with. Raises FixConfiguration where the bundle cannot be used.
    """
    packed = read_bundle(bundle)
    with tempfile.TemporaryDirectory() as folder:
        place = state or Path(folder) / "site.json"
        if not place.exists():
            with MoodleSimulator() as made:
                seed_from(made, packed)
                made.save(place)
        with _free(port):
            return serve(port=port, latency=latency, state=place, reference=False, announce=announce)


def moodle(
    *,
    port: int,
    latency: float,
    state: Path | None,
    seed: int,
    empty: bool,
    measured_cost: bool,
    announce: Announce | None = None,
) -> int:
    """Serve a simulated Moodle on loopback until interrupted; return its exit code.

    Raises FixConfiguration where the port is taken.
    """
    with _free(port):
        return serve(
            port=port,
            latency=latency,
            state=state,
            seed=seed,
            reference=not empty,
            measured_cost=measured_cost,
            scales=sample_scales(),
            announce=announce,
        )


@contextmanager
def _free(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FixConfiguration(
            f"The simulator cannot serve on port {port}: {error.strerror or error}. Give another with --port, or 0 for "
            "a free one."
        ) from error
