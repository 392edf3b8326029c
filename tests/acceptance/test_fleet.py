"""A fleet: several workers on one queue, one of them killed or stopped, and every site ends as with a single one."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.acceptance.park import park, wait_for

SITES = 40


def test_a_killed_worker_leaves_every_site_as_a_single_worker_does(tmp_path: Path, postgres_url: str) -> None:
    """Two workers, forty sites, one worker killed in the middle of its work: the other one ends it all."""
    with park(tmp_path, postgres_url, SITES) as here:
        first = here.run("push", "--site", "s01", "--yes")
        assert first.code == 0, first.err
        wanted = here.sites["s01"].comparable()
        deferred = here.run("fleet", "defer", "push", "--json")
        assert deferred.code == 0, deferred.err
        assert len(deferred.json["deferred"]) == SITES
        assert len(here.run("fleet", "defer", "push", "--json").json["waiting_already"]) == SITES
        doomed = here.begin("worker", "--concurrency", "3", "--heartbeat", "1")
        wait_for(lambda: here.begun() >= 6)
        doomed.send_signal(signal.SIGKILL)
        assert doomed.wait(10) == -signal.SIGKILL
        left = here.status()
        assert left["counts"].get("doing", 0) >= 1, left["counts"]
        other = here.begin("worker", "--concurrency", "3", "--heartbeat", "1")
        try:
            wait_for(lambda: not here.status()["jobs"], 150)
        finally:
            other.send_signal(signal.SIGTERM)
        assert other.wait(30) == 0, (tmp_path / "said.txt").read_text()[-3000:]
        for name, moodle in here.sites.items():
            assert moodle.comparable() == wanted, name
        assert "is gone; its job is taken up" in (tmp_path / "said.txt").read_text()


def test_a_stopped_worker_hands_back_what_it_had_begun(tmp_path: Path, postgres_url: str) -> None:
    """SIGTERM in the middle of a push: it ends soon, and the job waits for the next worker."""
    with park(tmp_path, postgres_url, 2, latency=0.2) as here:
        assert here.run("fleet", "defer", "push").code == 0
        worker = here.begin("worker", "--concurrency", "2", "--heartbeat", "1")
        wait_for(lambda: here.begun() == 2)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0, (tmp_path / "said.txt").read_text()[-3000:]
        assert here.status()["counts"] == {"todo": 2}
        done = here.run("worker", "--until-empty", "--heartbeat", "1")
        assert done.code == 0, done.err
        wait_for(lambda: not here.status()["jobs"] or here.run("worker", "--until-empty").code, 60)
        states = [moodle.comparable() for moodle in here.sites.values()]
        assert states[0] == states[1]
        assert len(states[0]["competencies"]) == 30


def test_what_goes_wrong_at_a_site_is_seen_in_the_queue(tmp_path: Path, postgres_url: str) -> None:
    """A site that cannot be reached fails by itself; the others are done."""
    with park(tmp_path, postgres_url, 2) as here:
        here.sites["s02"].stop()
        assert here.run("fleet", "defer", "push").code == 0
        assert here.run("worker", "--until-empty", "--heartbeat", "1").code == 0
        found = here.status()
        assert [(job["site"], job["state"]) for job in found["jobs"]] == [("s02", "failed")]
        assert len(here.sites["s01"].comparable()["competencies"]) == 30
        shown = here.run("fleet", "status")
        assert "push at s02" in shown.out
        assert "lms-bridge status --site" in shown.out


@pytest.mark.parametrize(
    ("arguments", "store", "says"),
    [
        (("worker",), "sqlite:///state.sqlite", "LMS_BRIDGE_STORE=postgresql://"),
        (("fleet", "defer", "push"), "sqlite:///state.sqlite", "`lms-bridge daemon` does"),
        (("fleet", "status"), "postgresql://nobody@127.0.0.1:1/none", "cannot be opened"),
    ],
)
def test_without_a_usable_postgresql_a_fleet_says_what_to_do(
    tmp_path: Path, arguments: tuple[str, ...], store: str, says: str
) -> None:
    """A file is no store for a fleet, and neither is a server that is not there."""
    with park(tmp_path, store, 1) as here:
        answer = here.run(*arguments)
        assert answer.code == 2, answer.err
        assert says in answer.err
        assert "Traceback" not in answer.err


def test_a_job_that_is_not_there_is_named(tmp_path: Path, postgres_url: str) -> None:
    """A misspelt schedule is told with those there are."""
    with park(tmp_path, postgres_url, 1) as here:
        answer = here.run("fleet", "defer", "nigth")
        assert answer.code == 2
        assert "There are: ingest, push, report, pull" in answer.err
