"""`lms-bridge compare`: a Moodle, a Totara and an LMS that takes only files, from one bridge.toml."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge.cli.main import app
from bridge.model import Architecture, Desired, Person, Workforce
from bridge.settings import load_settings
from bridge.store import Store
from bridge.sync.clock import Clock
from bridge.sync.push import push
from connectors.simulators.moodle import MoodleSimulator
from jobs.sites import workplace
from tests.contract.conformance import company
from tests.contract.conformance.suite import INITIAL
from tests.contract.csv_lms import CsvLms
from tests.contract.totara.test_conformance import NightlyTotara
from tests.databases import address

SETTINGS = """
store = "{store}"

[sites.moodle]
url = "{moodle}"
token = "env:MOODLE_TOKEN"

[sites.moodle.options]
server_limit = 0.0

[sites.totara]
kind = "totara"

[sites.totara.options]
filesdir = "totara/files"
reports = "totara/reports"
framework_of = {{ position = "POSITIONS" }}

[sites.totara.options.hrimport]
csvsaveemptyfields = 1

[sites.academy]
kind = "files"

[sites.academy.options]
folder = "csv/inbox"
exports = "csv/exports"

[sites.academy.options.files.competency]
name = "competencies.csv"
columns = {{ ID = "{{key}}", Title = "{{name}}", Under = "{{parent}}", Active = "{{active}}" }}

[sites.academy.options.files.person]
name = "people.csv"
export = "people.csv"

[sites.academy.options.files.person.columns]
Employee = "{{key}}"
First = "{{first_name}}"
Last = "{{last_name}}"
Mail = "{{email}}"
On = "{{active}}"
"""


@dataclass
class Sites:
    """Three LMSs and the folder with the settings that name them."""

    folder: Path
    moodle: MoodleSimulator
    totara: NightlyTotara
    academy: CsvLms

    def push(self, site: str, model: Architecture, workforce: Workforce | None = None) -> None:
        """Push a model to one of them and let its night pass."""
        for _ in range(2):
            with workplace(load_settings(self.folder), site) as place:
                store: Store = place.store
                push(site, place.port, store, Desired(model, workforce), INITIAL, Clock())
            self.totara.run_nightly()
            self.academy.run(0.0)

    def compare(self, first: str, second: str) -> dict[str, Any]:
        """Return what the command prints for programs, by kind."""
        result = CliRunner().invoke(app, ["compare", first, second, "--json"])
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return {**found, "kinds": {one["kind"]: one for one in found["kinds"]}}


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sites]:
    """The three of them, empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOODLE_URL", raising=False)
    with MoodleSimulator() as moodle:
        moodle.seed.scale("Competence (three levels)", ["Not competent", "Competent with supervision", "Competent"])
        monkeypatch.setenv("MOODLE_TOKEN", moodle.token)
        (tmp_path / "totara").mkdir()
        (tmp_path / "csv").mkdir()
        toml = SETTINGS.format(moodle=moodle.url, store=address(tmp_path / "state.sqlite"))
        (tmp_path / "bridge.toml").write_text(toml, encoding="utf-8")
        yield Sites(tmp_path, moodle, NightlyTotara(tmp_path / "totara"), CsvLms(tmp_path / "csv"))


def test_one_model_on_moodle_and_totara_is_the_same_as_far_as_both_show_it(sites: Sites) -> None:
    """Competencies and positions match although a position is a template in Moodle; what differs later is listed."""
    sites.push("moodle", company.architecture())
    sites.push("totara", company.architecture())
    kinds = sites.compare("moodle", "totara")["kinds"]
    assert (kinds["competency"]["same"], kinds["competency"]["different"]) == (len(company.COMPETENCIES), [])
    assert kinds["framework"]["same"] == 2
    assert kinds["framework"]["second"] == "implied"
    assert (kinds["position"]["same"], kinds["position"]["only_first"]) == (2, [])
    assert not kinds["related"]["comparable"]
    assert any("totara: has no related pairs" in note for note in kinds["related"]["notes"])
    sites.totara.rename_by_hand("CARE/A2", "Wears mittens")
    model = company.with_more(company.architecture(), company.competency("CARE", "C", "Nutrition"))
    sites.push("moodle", model)
    found = sites.compare("moodle", "totara")
    assert found["equal"] is False
    competencies = found["kinds"]["competency"]
    assert competencies["only_first"] == ["CARE/C"]
    assert competencies["different"] == [
        {"key": "CARE/A2", "field": "name", "first": "Wears gloves", "second": "Wears mittens"}
    ]


def test_a_site_that_shows_nothing_is_represented_by_what_was_last_applied(sites: Sites) -> None:
    """And that is said; before anything was applied nothing is comparable, and nothing counts as missing."""
    sites.push("moodle", company.architecture())
    before = sites.compare("moodle", "academy")["kinds"]["competency"]
    assert (before["comparable"], before["only_first"]) == (False, [])
    sites.push("academy", company.renamed(company.architecture(), "CARE/A1", "Scrubs"))
    found = sites.compare("moodle", "academy")["kinds"]["competency"]
    assert (found["second"], found["same"]) == ("applied", len(company.COMPETENCIES) - 1)
    assert [(one["key"], one["second"]) for one in found["different"]] == [("CARE/A1", "Scrubs")]
    assert found["fields"] == ["name"]
    assert any("last applied" in note for note in found["notes"])


def test_people_are_matched_by_key_and_moodle_is_asked_for_those_the_other_site_has(sites: Sites) -> None:
    """Moodle shows the accounts of people it is asked for: those that the other site shows."""
    people = tuple(Person(f"P{n}", "Ada", f"Lovelace{n}", f"p{n}@ward.example") for n in range(3))
    workforce = Workforce(dt.datetime.now(dt.UTC).date(), people)
    sites.push("academy", Architecture(), workforce)
    sites.academy.export(2_000_000_000.0)
    sites.push("moodle", company.architecture(), Workforce(workforce.as_of, people[:2]))
    found = sites.compare("academy", "moodle")["kinds"]["person"]
    assert (found["same"], found["only_first"], found["only_second"]) == (2, ["P2"], [])
    assert {"first_name", "last_name", "email"} <= set(found["fields"])


def test_the_table_says_the_same_for_a_person(sites: Sites) -> None:
    """One line a kind, then what is only here, only there and different, ten of each unless --all is given."""
    sites.push("moodle", company.architecture())
    result = CliRunner().invoke(app, ["compare", "moodle", "totara"])
    assert result.exit_code == 0
    assert "only moodle" in result.stdout
    assert "competencies" in result.stdout
    unknown = CliRunner().invoke(app, ["compare", "moodle", "nowhere"])
    assert unknown.exit_code != 0
