"""What machines ask the daemon: whether it lives, whether it can work, and its figures."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from bridge.daemon_settings import DaemonSettings, ScheduleSettings
from bridge.ports import FixConfiguration
from bridge.settings import Settings, SiteSettings
from bridge.store import Store, unattended
from jobs.daemon import STOP, Daemon
from jobs.endpoints import Endpoints
from jobs.metrics import Metrics
from jobs.steps import StepEnd


@pytest.fixture
def daemon(store_url: str) -> Iterator[tuple[Daemon, str]]:
    """A daemon that has nothing to do for a while, and where it answers."""
    settings = Settings(
        folder=Path(),
        store=store_url,
        sites={"academy": SiteSettings(url="https://lms.example")},
        daemon=DaemonSettings(listen="127.0.0.1:0"),
        schedules={"rarely": ScheduleSettings(run="pull", cron="0 0 1 1 *")},
        variables={},
    )
    wakes: queue.SimpleQueue[str] = queue.SimpleQueue()
    made = Daemon(lambda: settings, wakes=wakes)
    thread = threading.Thread(target=made.run)
    thread.start()
    assert made._endpoints is not None
    while not made._endpoints.answering:
        time.sleep(0.01)
    yield made, f"http://{made._endpoints.address}"
    wakes.put(STOP)
    thread.join(30)
    made.close()


def test_a_daemon_that_works_says_so_and_counts(daemon: tuple[Daemon, str], store_url: str) -> None:
    """/healthz and /readyz answer 200 in words; /metrics tells of steps, lag, trouble and the store."""
    made, where = daemon
    store = Store.open(store_url)
    with store.begin() as connection:
        unattended.record_step(connection, "academy", "pull", "done", 1000.0, 2.0, "", well=True)
        unattended.save_trouble(connection, unattended.Trouble("academy", 3, True, 1.0, 2.0, 3.0, "no"))
    store.close()
    made._metrics.step("academy", StepEnd("pull", "done", seconds=2.0))
    for path in ("/healthz", "/readyz"):
        answer = requests.get(where + path, timeout=5)
        assert (answer.status_code, answer.text) == (200, "The daemon runs.\n")
    figures = requests.get(where + "/metrics", timeout=5).text
    for line in (
        'lms_bridge_steps_total{site="academy",state="done",step="pull"} 1.0',
        'lms_bridge_site_failures{site="academy"} 3.0',
        'lms_bridge_circuit_open{site="academy"} 1.0',
        'lms_bridge_last_success_timestamp_seconds{site="academy",step="pull"} 1000.0',
        "lms_bridge_store_up 1.0",
    ):
        assert line in figures
    assert requests.get(where + "/", timeout=5).status_code == 404


@pytest.mark.sqlite_only("takes a file away")
def test_a_store_that_is_away_makes_it_not_ready_but_leaves_it_alive(tmp_path: Path) -> None:
    """Restarting the daemon would not help, so /healthz stays well; /readyz and the figures tell."""
    path = tmp_path / "state.sqlite"
    store = Store.open(f"sqlite:///{path}")
    store.close()
    path.unlink()
    path.mkdir()
    assert b"lms_bridge_store_up 0.0" in Metrics(store).text()


def test_a_port_that_is_taken_is_told_in_words() -> None:
    """The second daemon on a machine says what to set."""
    one = Endpoints("127.0.0.1:0", lambda: (200, ""), lambda: (200, ""), lambda: b"")
    with pytest.raises(FixConfiguration, match=r"set `listen` to a free port"):
        Endpoints(one.address, lambda: (200, ""), lambda: (200, ""), lambda: b"")
    one.stop()


def test_only_this_machine_is_answered_unless_asked_otherwise() -> None:
    """The default listens on loopback."""
    assert DaemonSettings().listen.startswith("127.0.0.1:")
