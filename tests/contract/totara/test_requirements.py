"""Requirements become a worklist for an administrator, and the competency status report tells which are done."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.model import Target
from bridge.ports import FixConfiguration
from connectors.totara.connector import TotaraConnector
from connectors.totara.requirements import worklist
from tests.acceptance.forked import forked
from tests.acceptance.program import small_model
from tests.contract.conformance import company
from tests.contract.totara.test_conformance import NightlyTotara

HEADINGS = (
    "user_idnumber",
    "competency_idnumber",
    "job_assignment_allpositionidnumbers",
    "job_assignment_allorganisationidnumbers",
)


def report(folder: Path, *rows: tuple[str, str, str, str], headings: tuple[str, ...] = HEADINGS) -> None:
    """Write the competency status report as the site exports it."""
    path = folder / "bridge" / "Bridge requirements_21112026_40.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([headings, *rows])


def test_each_requirement_says_whom_what_and_how_well(tmp_path: Path) -> None:
    """Names and the word of the level, in the order of the files; without a report nothing is called done."""
    found = worklist(company.architecture(), None)
    assert [(one.target, one.target_key, one.competency, one.level) for one in found] == [
        ("everyone", "", "CARE/A1", "Competent"),
        ("position", "N1", "CARE/B1", "Competent"),
        ("position", "N2", "LEAD/L1", "Competent with supervision"),
    ]
    assert (found[1].target_name, found[1].competency_name) == ("Nurse", "Checks the dose")
    assert {one.state for one in found} == {"not checked"}
    site = NightlyTotara(tmp_path)
    assert {one.state for one in site.connect().requirements(company.architecture())} == {"not checked"}


def test_the_report_confirms_what_reached_everybody_in_a_position(tmp_path: Path) -> None:
    """All have it: confirmed; some: partly; none: missing; nobody there: said so. Several positions in one cell."""
    site = NightlyTotara(tmp_path)
    assert site.options.reports is not None
    report(
        site.options.reports,
        ("E1", "A1", "N1", "WARD"),
        ("E1", "B1", "N1", "WARD"),
        ("E2", "A1", "N1\nN3", "WARD"),
        ("E2", "B1", "N1\nN3", "WARD"),
        ("E3", "X", "N3", "HQ"),
    )
    model = company.architecture()
    port = TotaraConnector(site.options)
    assert [one.state for one in port.requirements(model)] == ["partly", "confirmed", "nobody to see it by"]
    ward = replace(model.requirements[0], target=Target.ORGANISATION, target_key="WARD")
    family = replace(model.requirements[1], target=Target.FAMILY, target_key="NUR")
    missing = replace(model.requirements[2], target=Target.ORGANISATION, target_key="HQ")
    states = [one.state for one in port.requirements(replace(model, requirements=(ward, family, missing)))]
    assert states == ["confirmed", "confirmed", "missing"]


def test_a_report_without_the_positions_is_a_fault_of_the_set_up(tmp_path: Path) -> None:
    """The sentence names the column to add."""
    site = NightlyTotara(tmp_path)
    assert site.options.reports is not None
    report(site.options.reports, headings=HEADINGS[:2])
    with pytest.raises(FixConfiguration, match="allpositionidnumbers"):
        TotaraConnector(site.options).requirements(company.architecture())


def test_the_command_writes_the_list_to_a_file(tmp_path: Path) -> None:
    """`totara requirements --to FILE`: as many rows as requirements, each with its state."""
    small_model(tmp_path / "architecture", competencies=40)
    settings = '[sites.here]\nkind = "totara"\nmodel = "architecture"\n[sites.here.options]\nfilesdir = "files"\n'
    (tmp_path / "bridge.toml").write_text(settings, "utf-8")
    ended = forked(tmp_path, {"PATH": "/usr/bin:/bin"}, ("totara", "requirements", "--to", "list.csv", "--json"))
    assert ended.code == 0, ended.err
    found = ended.json["requirements"]
    assert found
    with (tmp_path / "list.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["competency"] for row in rows] == [one["competency"] for one in found]
    assert ended.json["counts"] == {"not checked": len(found)}
    said = forked(tmp_path, {"PATH": "/usr/bin:/bin"}, ("totara", "requirements"))
    assert "assign" in said.out
