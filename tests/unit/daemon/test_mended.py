"""After somebody mended what kept the bridge out: it is tried again without anybody having to tell the daemon."""

from __future__ import annotations

import queue
from pathlib import Path

import apscheduler.schedulers.base
import pytest

from bridge.settings import Settings
from bridge.store import unattended
from bridge.sync.clock import Clock
from jobs import health
from tests.unit.daemon.nights import DAY, HOUR, TOML, inbox, nights
from tests.unit.daemon.test_year import Driven, Simulated, Stepped


def test_a_new_token_is_found_by_the_daemon_without_a_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the LMS did not let it in, it looks into the settings again before it tries: nobody has to tell it."""
    with inbox() as box, nights(tmp_path, box.address, TOML) as here:
        simulated, right = Simulated(here.now), here.moodle.token
        monkeypatch.setattr(apscheduler.schedulers.base, "datetime", simulated.as_datetime())
        tokens = ["0" * 32]

        def load() -> Settings:
            return here.load().model_copy(update={"variables": {**here.load().variables, "MOODLE_TOKEN": tokens[-1]}})

        daemon = Driven(load, Clock(now=lambda: simulated.now, sleep=lambda _s: None), queue.SimpleQueue(), Stepped)
        daemon.begin()
        ends = []
        for hours in (1, 1, 23, 1):
            simulated.now += hours * HOUR
            daemon.step()
            with here.store.read() as connection:
                found = unattended.firing(connection, "hourly", "moodle")
            ends.append([step["state"] for step in found.steps] if found else [])
            tokens[-1] = right
        daemon.end()
        assert ends == [["failed", "done"], ["skipped", "done"], ["done", "done"], ["done", "done"]]


def test_reaching_a_feed_by_hand_lets_unattended_work_try_it_again(tmp_path: Path) -> None:
    """All feeds of the site, that is; another site's are left alone."""
    toml = TOML + '[feeds.hr]\npath = "a"\n[feeds.labs]\npath = "b"\n'
    with inbox() as box, nights(tmp_path, box.address, toml) as here:
        health.failed(here.store, "moodle:feeds", (60.0, DAY), here.now, here.now, "no", access=True)
        health.feeds_reached(here.store, here.settings, ["hr"], here.now)
        assert health.may_try(here.store, "moodle:feeds", here.now).waits == "no"
        health.feeds_reached(here.store, here.settings, ["hr", "labs"], here.now)
        assert health.may_try(here.store, "moodle:feeds", here.now).waits == ""
