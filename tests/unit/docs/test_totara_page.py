"""The page on Totara is true: every option is told of, every example is valid, every report has its name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from bridge.settings import FileSettings
from connectors.hrimport_rules.settings import settings_from_mapping
from connectors.simulators.totara.reports import STATE_REPORTS
from connectors.totara.options import StateReports
from jobs.totara_site import Api, TotaraSiteOptions

PAGE = (Path(__file__).parents[3] / "docs" / "totara.md").read_text("utf-8")


def test_every_option_of_a_totara_site_is_in_the_table() -> None:
    """And the table promises none that there is not."""
    table = PAGE.partition("## Options")[2].partition("\n## ")[0]
    named = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert named == set(TotaraSiteOptions.model_fields)


def test_every_example_of_settings_can_be_copied() -> None:
    """Those of sites are settings of sites with options of a Totara; the other one holds HR Import settings."""
    blocks = [
        re.sub(r"^ {3}", "", block, flags=re.MULTILINE) for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    ]
    assert len(blocks) >= 3
    for block in blocks:
        plain = tomllib.loads(block)
        if "sites" in plain:
            plain["sites"]["totara"].setdefault("kind", "totara")
            site = FileSettings.model_validate(plain).sites["totara"]
            assert TotaraSiteOptions.model_validate(site.options)
        else:
            assert settings_from_mapping(plain).csvdateformat == "d/m/Y"
    assert set(Api.model_fields) <= set(re.findall(r"\w+", PAGE))


def test_every_report_is_told_of_under_the_name_it_is_looked_for_and_simulated_under() -> None:
    """One name in the page, in the connector and in the simulator."""
    names = StateReports()
    for name in (names.sync_log, names.competency, names.organisation, names.position, names.users, names.requirements):
        assert f"`{name}`" in PAGE
    assert {"comp": names.competency, "org": names.organisation, "pos": names.position} == STATE_REPORTS
