"""A Totara site from the command line: check, plan, push, settle, what happened; and beside a Moodle, from one file."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.simulators.moodle import MoodleSimulator
from tests.acceptance.forked import Ended, forked
from tests.acceptance.program import COMPANY, ROOT, rows, scales, small_model
from tests.acceptance.totara_site import API, SETTINGS, TotaraBench, totara_bench
from tests.databases import setting, store_of

MOODLE = """
[sites.moodle]
kind = "moodle"
url = "env:MOODLE_URL"
token = "env:MOODLE_TOKEN"
model = "architecture"

[sites.moodle.options]
server_limit = 0.05
"""


def run(bench: TotaraBench, *arguments: str) -> Ended:
    """Run a command."""
    return forked(bench.folder, bench.environment(), arguments)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the sample company."""
    return small_model(tmp_path_factory.mktemp("model") / "architecture", competencies=40)


@pytest.fixture
def bench(tmp_path: Path, model: Path) -> Iterator[TotaraBench]:
    """A Totara with frameworks, and settings for it."""
    with totara_bench(tmp_path / "bench") as made:
        shutil.copytree(model, made.folder / "architecture")
        yield made


def test_check_says_what_the_site_is_and_what_somebody_has_to_make(bench: TotaraBench) -> None:
    """Before the first night: the folder is clear, no report is there, frameworks cannot be seen; nothing blocks."""
    found = run(bench, "check", "--json")
    assert found.code == 0, found.err
    findings = {one["subject"]: one for one in found.json["findings"]}
    assert findings["HR Import folder"]["ok"]
    assert not findings["sync log report"]["ok"]
    assert "POSITIONS" in findings["position framework POSITIONS"]["remedy"]
    run(bench, "push", "--yes")
    bench.night()
    later = {one["subject"]: one for one in run(bench, "check", "--json").json["findings"]}
    assert later["sync log report"]["ok"]
    assert later["position framework POSITIONS"]["ok"]
    assert later["state of competencies"]["ok"]


def test_a_push_is_pending_until_the_night_and_settled_by_the_next(bench: TotaraBench) -> None:
    """Exit codes 10, 5, 5 and 0; the journal of the first run then says applied; a further push sends nothing."""
    assert run(bench, "plan", "--json").code == 10
    first = run(bench, "push", "--yes", "--json")
    assert (first.code, first.json["state"]) == (5, "pending")
    assert run(bench, "push", "--yes", "--json").code == 5
    open_now = run(bench, "runs", "show", str(first.json["run"]), "--json").json
    assert {one["state"] for one in open_now["journal"]} == {"pending"}
    assert len(list((bench.folder / "files" / "csv" / "ready").glob("[!.]*.csv"))) == 2
    bench.night()
    second = run(bench, "push", "--yes", "--json")
    assert (second.code, second.json["counts"]) == (0, {})
    assert second.json["settled"]["competency"]["create"] == {"applied": 40}
    shown = run(bench, "runs", "show", str(first.json["run"]), "--json").json
    assert {one["state"] for one in shown["journal"]} == {"applied"}
    assert run(bench, "plan", "--json").code == 0
    assert bench.taken() == ["comp", "pos"]


def test_an_import_that_stops_after_taking_the_file_is_told_and_made_good(bench: TotaraBench) -> None:
    """The framework of the positions is missing: consumed, nothing applied, told in the site's words; then mended."""
    hierarchy = bench.totara.site.state.hierarchy("pos")
    frameworks = dict(hierarchy.frameworks)
    hierarchy.frameworks.clear()
    first = run(bench, "push", "--yes", "--json")
    bench.night()
    hierarchy.frameworks.update(frameworks)
    second = run(bench, "push", "--yes", "--json")
    assert second.code == 5, second.err
    assert second.json["settled"]["position"]["create"] == {"refused": 6}
    assert "framework" in second.json["settled_refused"][0]["why"]
    assert second.json["counts"]["position"]["create"] == {"pending": 6}
    shown = run(bench, "runs", "show", str(first.json["run"]), "--json").json
    assert {one["state"] for one in shown["entries"]} == {"refused"}
    bench.night()
    assert run(bench, "push", "--yes").code == 0
    assert len(bench.snapshot()["pos"]) == 6


def test_a_kind_that_nothing_shows_is_said_to_be_unchecked_and_loses_nothing(bench: TotaraBench) -> None:
    """Without a report of positions the plan says so, and one gone from the files stays until --unverified."""
    run(bench, "push", "--yes")
    bench.night()
    run(bench, "push", "--yes")
    for path in (bench.folder / "reports").rglob("Bridge positions*"):
        path.unlink()
    positions = bench.folder / "architecture" / "positions.csv"
    lines = positions.read_text("utf-8").splitlines(keepends=True)
    gone = rows(positions)[-1]["idnumber"]
    positions.write_text("".join(lines[:-1]), "utf-8")
    needs = bench.folder / "architecture" / "position_competencies.csv"
    kept = [line for line in needs.read_text("utf-8").splitlines(keepends=True) if gone not in line]
    needs.write_text("".join(kept), "utf-8")
    plan = run(bench, "plan", "--json")
    said = " ".join(one["says"] for one in plan.json["remarks"])
    assert (plan.code, plan.json["changes"]) == (0, [])
    assert "not checkable" in said
    assert "--unverified" in said
    sure = run(bench, "plan", "--unverified", "--json").json
    assert [(one["kind"], one["action"], one["key"]) for one in sure["changes"]] == [("position", "remove", gone)]


def test_objects_of_the_other_channel_are_found_and_explained(bench: TotaraBench) -> None:
    """People made through the API, then HR Import chosen for them: `check` blocks and says how to hand them over."""
    (bench.folder / "people.csv").write_bytes(
        (COMPANY / "hris_people_day1.csv").read_bytes()[:2000].rpartition(b"\n")[0]
    )
    api = SETTINGS.replace('kind = "totara"', 'kind = "totara"\nurl = "env:TOTARA_URL"') + API
    feed = '\n[feeds.hr]\nencoding = "cp1252"\n'
    by_api = '\n[sites.totara.options.channels]\nperson = "graphql"\njob = "graphql"\n'
    settings = bench.folder / "bridge.toml"
    settings.write_text(api + by_api + feed, "utf-8")
    assert run(bench, "ingest", "--file", "people.csv", "--as-of", "2026-12-31").code == 0
    pushed = run(bench, "push", "--yes", "--initial", "--json", "--as-of", "2026-12-31")
    people = pushed.json["counts"]["person"]["create"]["applied"]
    assert people > 3, pushed.out
    settings.write_text(api + feed, "utf-8")
    found = run(bench, "check", "--json")
    findings = {one["subject"]: one for one in found.json["findings"]}
    strangers = findings["people HR Import cannot see"]
    assert found.code != 0
    assert strangers["says"].startswith(f"{people} of these")
    assert "switched_channel" in strangers["remedy"]
    before = bench.taken()
    (bench.folder / "people.csv").write_text(
        (bench.folder / "people.csv").read_bytes().decode("cp1252").replace("@northwind", "@north", 2), "cp1252"
    )
    run(bench, "ingest", "--file", "people.csv", "--as-of", "2026-12-31")
    again = run(bench, "push", "--yes", "--json", "--as-of", "2026-12-31", "--kind", "person")
    assert {one["kind"] for one in again.json["refused"]} == {"person"}
    assert len(again.json["refused"]) == 2
    assert "made through GraphQL" in again.json["refused"][0]["why"]
    bench.night()
    assert "user" not in bench.taken()[len(before) :]


def test_one_model_goes_to_a_moodle_and_a_totara_from_one_file_of_settings(bench: TotaraBench) -> None:
    """Two sites, a plan for each, both pushed; each plan is empty afterwards, and each journal names its site."""
    (bench.folder / "bridge.toml").write_text(MOODLE + SETTINGS, "utf-8")
    with MoodleSimulator() as moodle:
        for name, labels in scales(COMPANY):
            moodle.seed.scale(name, labels)
        bench.more = {"MOODLE_URL": moodle.url, "MOODLE_TOKEN": moodle.token}
        unsaid = run(bench, "plan")
        assert unsaid.code == 2
        assert "--site" in unsaid.err
        plans = {site: run(bench, "plan", "--site", site, "--json") for site in ("moodle", "totara")}
        assert {site: plan.code for site, plan in plans.items()} == {"moodle": 10, "totara": 10}
        assert all(plan.json["counts"]["competency"] == {"create": 40} for plan in plans.values())
        assert "position" in plans["totara"].json["counts"]
        assert run(bench, "push", "--site", "moodle", "--yes").code == 0
        assert run(bench, "push", "--site", "totara", "--yes").code == 5
        bench.night()
        assert run(bench, "push", "--site", "totara", "--yes").code == 0
        assert {run(bench, "plan", "--site", site).code for site in ("moodle", "totara")} == {0}
        ran = run(bench, "runs", "--json").json["runs"]
        assert [one["site"] for one in ran] == ["totara", "totara", "moodle"]


def test_the_simulated_site_serves_the_whole_way_from_the_command_line(tmp_path: Path, model: Path) -> None:
    """`simulate totara` in a process of its own imports and exports by itself; a push settles once it has."""
    folder = tmp_path / "bench"
    shutil.copytree(model, folder / "architecture")
    (folder / "bridge.toml").write_text(SETTINGS, "utf-8")
    (folder / "import.toml").write_text("csvsaveemptyfields = 1\n[user]\ncsvsaveemptyfields = 0\n", "utf-8")
    made = [f"competency={name}" for name in ("CORE", "WORK")] + ["position=POSITIONS", "organisation=UNITS"]
    serving = subprocess.Popen(
        [sys.executable, "-m", "bridge", "simulate", "totara", "files", "--port", "0", "--wait", "0", "--every", "0.3"]
        + ["--reports", "reports", "--settings", "import.toml", "--release", "19"]
        + [word for one in made for word in ("--framework", one)],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stdout is not None
        told = dict(serving.stdout.readline().strip().split("=", 1) for _ in range(5))
        assert told["TOTARA_URL"].startswith("http://127.0.0.1:")
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **setting(store_of(folder))}
        assert forked(folder, environment, ("push", "--yes")).code in (0, 5)
        deadline = time.monotonic() + 60
        while (code := forked(folder, environment, ("push", "--yes")).code) == 5 and time.monotonic() < deadline:
            time.sleep(0.3)
        assert code == 0
        assert len(list((folder / "reports").rglob("Bridge *.csv"))) >= 3
        assert forked(folder, environment, ("plan",)).code == 0
    finally:
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(20) == 0
        assert serving.stdout is not None
        serving.stdout.close()
