"""The command line starts without what only some commands need."""

from __future__ import annotations

import subprocess
import sys

ELSEWHERE = (
    "paramiko",
    "apscheduler.schedulers",
    "connectors.totara.connector",
    "connectors.simulators",
    "prometheus_client",
)


def test_no_command_waits_for_libraries_that_only_others_need() -> None:
    """On a crowded machine every library that is loaded for nothing costs each nightly command seconds."""
    said = subprocess.run(
        [sys.executable, "-c", "import sys, bridge.cli.main; print(*sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = said.stdout.split()
    assert "bridge.cli.plans" in loaded
    assert [name for name in loaded if name.startswith(ELSEWHERE)] == []
