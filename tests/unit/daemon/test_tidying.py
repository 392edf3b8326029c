"""Tidying up and copying the store as unattended work: once a day by itself, or when a schedule says so."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import apscheduler.schedulers.base
import pytest
from sqlalchemy import text

from bridge.ports import FixConfiguration
from bridge.settings import FileSettings, load_settings
from bridge.store import Store, unattended
from bridge.sync.clock import Clock
from jobs import fleet
from jobs.chain import Chain, ChainEnd
from jobs.failed_jobs import SCHEMA, drop_failed
from jobs.once import run_once
from jobs.schedule import HOUSE, tidying, timetable
from jobs.worker import run_chain
from tests.unit.daemon.nights import DAY, HOUR, TOML, Nights, inbox, nights
from tests.unit.daemon.test_year import Driven, Simulated, Stepped

UPKEEP = '\n[schedules.upkeep]\ncron = "0 1 * * *"\nrun = ["backup", "tidy"]\n'


def tidied_at(here: Nights, schedule: str = "tidy") -> float | None:
    """Return when the house was last tidied by a schedule."""
    with here.store.read() as connection:
        found = unattended.firing(connection, schedule, HOUSE)
    return found.began_at if found and found.state == "done" else None


def once(here: Nights, job: str = "report") -> list[str]:
    """Run a job as cron does; return how it ended at each site."""
    return [one.end.state for one in run_once(here.settings, job, None, here.clock)]


def leftover(here: Nights, days: float) -> Path:
    """Make a backup that is so many days old, and a newer one beside it."""
    folder = here.folder / ".lms-bridge" / "backups"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "state-old.sqlite", folder / "state-new.sqlite"]
    for path, age in zip(paths, (days, days / 2), strict=True):
        path.write_text("x", "utf-8")
        moment = here.now - age * DAY
        os.utime(path, (moment, moment))
    return paths[0]


def test_where_cron_starts_everything_it_is_tidied_once_a_day_all_the_same(tmp_path: Path) -> None:
    """By whichever job comes first after its time; nobody schedules it, and it is not what the job is judged by."""
    with inbox() as box, nights(tmp_path, box.address, TOML) as here:
        old = leftover(here, 91)
        assert once(here) == ["done"]
        assert (old.exists(), tidied_at(here)) == (False, here.now)
        first = here.now
        here.now += HOUR
        once(here)
        assert tidied_at(here) == first
        here.now += DAY
        once(here)
        assert tidied_at(here) == here.now


def test_it_can_be_switched_off_and_steps_back_before_a_schedule_of_ones_own(tmp_path: Path) -> None:
    """An empty `tidy` under [daemon] is never; a schedule that tidies, even one for cron alone, is instead of it."""
    with inbox() as box, nights(tmp_path, box.address, TOML) as here:
        assert [one.name for one in timetable(here.settings)] == ["hourly|moodle", "tidy|all sites"]
        off = TOML.replace("[daemon]\n", '[daemon]\ntidy = ""\n', 1)
        for text, names in (
            (off, ["hourly|moodle"]),
            (TOML + UPKEEP, ["hourly|moodle", "upkeep|all sites"]),
            (TOML + UPKEEP + "enabled = false\n", ["hourly|moodle"]),
        ):
            (here.folder / "bridge.toml").write_text(text, "utf-8")
            here.settings = here.load()
            assert [one.name for one in timetable(here.settings)] == names
            assert tidying(here.settings) is None
            once(here)
            assert tidied_at(here) is None


def test_a_schedule_copies_the_store_and_then_tidies_for_all_sites_at_once(tmp_path: Path) -> None:
    """One appointment however many sites there are; the copy can be put back, and old ones go but never the newest."""
    with inbox() as box, nights(tmp_path, box.address, TOML + UPKEEP, sites=("a", "b", "c")) as here:
        old = leftover(here, 400)
        (end,) = here.fire("upkeep").values()
        assert [(one.step, one.state) for one in end.steps] == [("backup", "done"), ("tidy", "done")]
        kept = sorted(path.name for path in old.parent.iterdir())
        assert len(kept) == 1
        assert kept[0].startswith("state-2"), "the copy made just now, which is the newest"
        assert once(here, "upkeep") == ["done"]
        assert once(here, "backup") == once(here, "tidy") == ["done"]
        with pytest.raises(FixConfiguration, match="all sites at once: leave out --site"):
            run_once(here.settings, "upkeep", "a", here.clock)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('run = ["push", "tidy"]', "write two schedules"),
        ('run = "backup"\nsites = "moodle"', "leave out `sites`"),
    ],
)
def test_what_is_for_all_sites_is_not_mixed_with_what_is_for_one(tmp_path: Path, lines: str, says: str) -> None:
    """Two hundred sites would copy the store two hundred times."""
    (tmp_path / "bridge.toml").write_text(f'[schedules.night]\ncron = "0 1 * * *"\n{lines}\n', "utf-8")
    with pytest.raises(FixConfiguration, match=says):
        load_settings(tmp_path, {})


def test_a_cron_that_is_none_is_refused_where_it_stands(tmp_path: Path) -> None:
    """Nobody would notice that nothing is ever tidied."""
    (tmp_path / "bridge.toml").write_text('[daemon]\ntidy = "every day"\n', "utf-8")
    with pytest.raises(FixConfiguration, match=r"daemon\.tidy"):
        load_settings(tmp_path, {})
    assert FileSettings.model_validate({"daemon": {"tidy": "@daily"}}).daemon.tidy == "@daily"


def test_a_copy_that_fails_is_told_once_and_that_it_works_again(tmp_path: Path) -> None:
    """With what to do; and the sites are not blamed for it."""
    with inbox() as box, nights(tmp_path, box.address, TOML + UPKEEP) as here:
        backups = here.folder / ".lms-bridge" / "backups"
        backups.parent.mkdir(exist_ok=True)
        backups.write_text("in the way", "utf-8")
        (end,) = here.fire("upkeep").values()
        assert [(one.step, one.state) for one in end.steps] == [("backup", "failed")]
        here.now += HOUR
        here.tell()
        (told,) = box.texts
        assert "all sites: The backup failed. The backup cannot be written to" in told
        assert "Make that a folder that may be written to" in told
        backups.unlink()
        here.now += DAY
        here.fire("upkeep")
        here.now += HOUR
        here.tell()
        assert "all sites: The backup works again." in box.texts[-1]
        assert here.trouble() is None


def test_a_daemon_that_was_away_for_a_week_tidies_at_its_start_and_calls_nothing_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody misses anything by a tidying that comes late: it happens once, and nobody is told."""
    weekly = TOML.replace('cron = "0 * * * *"', 'cron = "0 0 1 1 *"')
    with inbox() as box, nights(tmp_path, box.address, weekly) as here:
        simulated = Simulated(here.now)
        monkeypatch.setattr(apscheduler.schedulers.base, "datetime", simulated.as_datetime())
        clock = Clock(now=lambda: simulated.now, sleep=lambda _seconds: None)
        ran: list[float] = []

        def run(chain: Chain, _steps: Sequence[str]) -> ChainEnd:
            ran.append(chain.due)
            return ChainEnd("done", "")

        for away in (0.0, 7 * DAY):
            simulated.now += away
            daemon = Driven(here.load, clock, queue.SimpleQueue(), Stepped, run)
            daemon.begin()
            daemon.step()
            simulated.now += DAY
            daemon.step()
            daemon.end()
        assert len(ran) == 3, "the first day's, one for the week, the next day's"
        assert box.texts == []


def test_a_worker_of_a_fleet_does_it_as_the_daemon_does(tmp_path: Path) -> None:
    """One job for all sites, and once a day by the way of whatever else it does."""
    with inbox() as box, nights(tmp_path, box.address, TOML) as here:
        run_chain(here.settings, "tidy", HOUSE, threading.Event())
        with here.store.read() as connection:
            first = unattended.firing(connection, "tidy", HOUSE)
        assert first is not None
        assert first.state == "done"
        run_chain(here.settings, "report", "moodle", threading.Event())
        with here.store.read() as connection:
            assert unattended.firing(connection, "tidy", HOUSE) == first, "it was done today"


def test_jobs_that_failed_in_the_queue_go_with_the_records_of_runs(tmp_path: Path, postgres_url: str) -> None:
    """Those that failed before the limit; one that waits, and one that failed since, stay."""
    with inbox() as box, nights(tmp_path, box.address, TOML, sites=("a", "b", "c")) as here:
        settings = here.settings.model_copy(update={"store": postgres_url})
        store = Store.open(postgres_url)
        assert drop_failed(store, here.now) == 0, "there is no queue yet"
        assert len(fleet.defer(settings, "hourly", None)) == 3
        with store.begin() as connection:
            connection.execute(text(f"SET LOCAL search_path = {SCHEMA}"))
            failing = text("UPDATE procrastinate_jobs SET status = 'failed' WHERE args ->> 'site' IN ('a', 'b')")
            connection.execute(failing)
            long_ago = text(
                "UPDATE procrastinate_events AS event SET at = now() - interval '10 days' FROM procrastinate_jobs AS "
                "job WHERE job.id = event.job_id AND job.args ->> 'site' <> 'b'"
            )
            connection.execute(long_ago)
        assert drop_failed(store, time.time() - 5 * DAY) == 1
        assert [(one.site, one.state) for one in fleet.standing(settings).jobs] == [("b", "failed"), ("c", "todo")]
        store.close()
