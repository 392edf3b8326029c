"""kill -9 at any moment of a night of people, and a night taken back: nothing lost, nothing twice, nobody deleted."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.forked import forked
from tests.acceptance.people_site import TODAY, PeopleSite, changed, people_site, without
from tests.acceptance.test_kill import Killer
from tests.databases import databases

SEED = 20261126
SAMPLED, SWEPT = 5, 60

PUSH = ("push", "--kind", "people", *TODAY, "--yes")


class Eve:
    """The evening before the second night: its files are taken in, nothing of them is pushed."""

    def __init__(self, site: PeopleSite, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.state = folder / "site.json"
        site.bench.moodle.save(self.state)
        # With the store on PostgreSQL nothing need be in it.
        (site.bench.folder / ".lms-bridge").mkdir(exist_ok=True)
        shutil.copytree(site.bench.folder / ".lms-bridge", folder / "store")
        databases.keep(site.bench.store)

    def again(self) -> None:
        """Bring the site and the store back to that evening."""
        moodle = self.site.bench.moodle
        moodle.on_request(None)
        moodle.load(self.state)
        moodle.requests.reset()
        store = self.site.bench.folder / ".lms-bridge"
        shutil.rmtree(store)
        shutil.copytree(self.folder / "store", store)
        databases.bring_back(self.site.bench.store)

    def held(self) -> dict[str, Any]:
        """Return what the site holds, without what is drawn by lot."""
        found = self.site.bench.moodle.comparable()
        for user in found["users"].values():
            user.pop("password", None)
        return found


@pytest.fixture(scope="module")
def eve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Eve]:
    """A night with everything in it: hires, leavers, renames, moves, new titles and plans."""
    folder = tmp_path_factory.mktemp("eve")
    with people_site(folder / "bench", 20) as site:
        assert site.take(site.people[:16]).code == 0
        answer = site.push("--initial")
        assert answer.code == 0, answer.err
        second = changed(site.people, "E00002", last_name="Another", email="another@northwind.example")
        second = changed(second, "E00003", status="terminated")
        second = changed(second, "E00004", department_code=site.people[0]["department_code"])
        second = changed(second, "E00005", job_title=site.people[0]["job_title"])
        assert site.take(without(second, "E00006"), "second.csv").code == 0
        yield Eve(site, folder)


@pytest.fixture(scope="module")
def uninterrupted(eve: Eve) -> tuple[Any, int]:
    """What an uninterrupted push leaves, and how many requests it takes."""
    eve.again()
    answer = eve.site.bench.run(*PUSH, "--json")
    assert answer.code == 0, answer.err
    assert {"user", "cohort_member", "plan", "plan_competency"} <= answer.json["counts"].keys()
    return eve.held(), eve.site.bench.moodle.requests.total


def moments(count: int) -> list[tuple[str, float, float]]:
    """Return the seeded moments: which, how far into the push (a share of its requests), and a delay in seconds."""
    chance = random.Random(SEED)
    kinds = ("committed", "answered", "before")
    return [(kinds[number % 3], chance.random(), chance.uniform(0.0005, 0.02)) for number in range(count)]


def killed_and_run_again(eve: Eve, uninterrupted: tuple[Any, int], moment: str, share: float, delay: float) -> None:
    """Kill one push at a moment, run it again, and compare with what an uninterrupted one leaves."""
    wanted, requests = uninterrupted
    eve.again()
    bench = eve.site.bench
    index = 1 + int(share * requests)
    killer = Killer(bench, moment, index, delay)
    killed = forked(bench.folder, bench.environment(), PUSH, started=killer.started)
    assert killed.code in (-signal.SIGKILL, 0), killed.err
    if index < requests:
        assert killer.struck.wait(5), "the push ended before the moment came"
    killer.close()
    deadline = time.monotonic() + 5
    while bench.moodle.requests.in_flight and time.monotonic() < deadline:
        time.sleep(0.01)
    answer = eve.site.run(*PUSH, "--json")
    assert answer.code == 0, answer.err
    assert eve.held() == wanted
    keys = [row["idnumber"] for row in bench.moodle.db.users if row["idnumber"]]
    assert len(keys) == len(set(keys)), "nobody has two accounts"


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "share", "delay"), moments(SAMPLED))
def test_a_killed_push_of_people_run_again_ends_as_if_it_had_not_been_killed(
    eve: Eve, uninterrupted: tuple[Any, int], moment: str, share: float, delay: float
) -> None:
    """The same accounts, memberships and plans, once each."""
    killed_and_run_again(eve, uninterrupted, moment, share, delay)


@pytest.mark.sweep
@pytest.mark.parametrize(("moment", "share", "delay"), moments(SWEPT)[SAMPLED:])
def test_a_push_of_people_killed_at_many_moments_ends_as_if_it_had_not_been_killed(
    eve: Eve, uninterrupted: tuple[Any, int], moment: str, share: float, delay: float
) -> None:
    """As the sample of it, at more moments."""
    killed_and_run_again(eve, uninterrupted, moment, share, delay)


def test_a_night_of_people_taken_back_leaves_accounts_suspended_and_everything_else_as_it_was(eve: Eve) -> None:
    """Names, memberships and plans are as the evening before; new accounts are suspended; the next night keeps off."""
    eve.again()
    before = eve.held()
    site = eve.site
    answer = site.run(*PUSH, "--json")
    assert answer.code == 0, answer.err
    run = answer.json["run"]
    pushed = eve.held()
    refused = site.run("undo", str(run), "--yes", "--json")
    assert refused.code == 3, "half of a small company is more than the limits let go unasked"
    limits = [f"--limit={kind}.remove=99" for kind in ("user", "cohort", "cohort_member", "plan", "plan_competency")]
    undone = site.run("undo", str(run), "--yes", "--json", *limits)
    assert undone.code == 0, undone.err
    after = eve.held()
    hired = {row["employee_id"].lower() for row in site.people[16:]}
    assert {name for name, user in after["users"].items() if name not in before["users"]} == hired
    assert all(after["users"][name]["suspended"] for name in hired)
    assert {name: user for name, user in after["users"].items() if name in before["users"]} == before["users"]
    members = {key: cohort["members"] for key, cohort in after["cohorts"].items()}
    assert {key: found for key, found in members.items() if key in before["cohorts"]} == {
        key: cohort["members"] for key, cohort in before["cohorts"].items()
    }
    assert after["plans"] == before["plans"]
    quiet = site.run(*PUSH, "--json")
    assert (quiet.code, quiet.json["counts"]) == (0, {}), "what was undone is held"
    assert site.run("undo", str(run), "--release", "--json").json["released"] > 0
    assert site.run(*PUSH, "--json").code == 0
    assert eve.held() == pushed
