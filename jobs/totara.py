"""Checking HR Import files before anybody sends them, and serving a simulated Totara."""

from __future__ import annotations

from pathlib import Path

from connectors.simulators.totara.serving import serve
from connectors.totara.hrimport import PreflightReport, preflight_directory


def preflight(directory: Path, holds: Path | None, settings: Path | None) -> PreflightReport:
    """Say what a Totara site would do with the files of a folder. Raises FixConfiguration where they cannot be read."""
    return preflight_directory(directory, holds, settings)


def simulate(
    *,
    filesdir: Path,
    port: int,
    wait: float,
    every: float,
    settings: Path | None,
    holds: Path | None,
    reports: Path | None,
) -> int:
    """Serve a simulated Totara on loopback until interrupted; return its exit code."""
    return serve(filesdir, port=port, wait=wait, import_every=every, settings=settings, holds=holds, reports=reports)
