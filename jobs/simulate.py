"""Serving the simulators, with the sample company's scales in place."""

from __future__ import annotations

from pathlib import Path

from connectors.simulators.moodle import serve
from jobs.samples import sample_scales


def moodle(*, port: int, latency: float, state: Path | None, seed: int, empty: bool, measured_cost: bool) -> int:
    """Serve a simulated Moodle on loopback until interrupted; return its exit code."""
    return serve(
        port=port,
        latency=latency,
        state=state,
        seed=seed,
        reference=not empty,
        measured_cost=measured_cost,
        scales=sample_scales(),
    )
