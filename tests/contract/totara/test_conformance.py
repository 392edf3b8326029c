"""Totara over HR Import passes the conformance suite, as an LMS that answers after its nightly import."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.model import Desired
from bridge.ports import LmsPort, Status
from bridge.store import Store
from bridge.sync.push import PushReport
from bridge.sync.running import Rules
from connectors.hrimport_rules.settings import HrImportSettings, settings_from_mapping
from connectors.simulators.totara import TotaraSite
from connectors.simulators.totara.reports import export_hierarchy, export_sync_log
from connectors.totara.connector import TotaraConnector
from connectors.totara.options import TotaraOptions
from tests.contract.conformance.suite import INITIAL, LmsConformance, Site

SETTINGS = settings_from_mapping({name: {"csvsaveemptyfields": 1} for name in ("org", "pos", "comp")})


class NightlyTotara(Site):
    """A simulated Totara whose import and reports run at night."""

    def __init__(self, folder: Path, settings: HrImportSettings = SETTINGS) -> None:
        self.moment = 1_790_000_000.0
        self.totara = TotaraSite(folder / "files", settings, wait=0.0, clock=lambda: self.moment)
        for framework in ("CARE", "LEAD"):
            self.totara.define("comp", framework)
        self.totara.define("pos", "POSITIONS")
        self.options = TotaraOptions(
            folder / "files",
            folder / "spool",
            folder / "reports",
            hrimport=settings,
            framework_of={"position": "POSITIONS"},
        )
        self.lose_log = False

    def connect(self) -> LmsPort:
        """Return a connector to the site."""
        return TotaraConnector(self.options, clock=lambda: self.moment)

    def export(self) -> None:
        """Write the reports of what the site holds."""
        names = self.options.report_names
        assert self.options.reports is not None
        for element, name in (("comp", names.competency), ("org", names.organisation), ("pos", names.position)):
            path = export_hierarchy(self.totara, self.options.reports, element, name)
            if path is not None:
                os.utime(path, (self.moment, self.moment))

    def run_nightly(self) -> None:
        """Import what lies there, then export the reports."""
        self.moment += 8 * 3600
        self.totara.run_hr_import()
        self.moment += 60
        if self.lose_log:
            self.lose_log = False
        else:
            assert self.options.reports is not None
            export_sync_log(self.totara, self.options.reports, name=self.options.report_names.sync_log)
        self.export()

    def snapshot(self) -> Any:
        """Return what the site holds, without the empty place for what is retired."""
        held = self.totara.snapshot()
        return {
            kind: {
                key: {name: value for name, value in item.items() if name != "aggregationmethod"}
                for key, item in held[kind].items()
                if not key.endswith("-RETIRED")
            }
            for kind in ("comp", "org", "pos")
        }

    def writes(self) -> int:
        """Return how many files the site has taken."""
        return len(list(self.totara.store.iterdir())) if self.totara.store.is_dir() else 0

    def rename_by_hand(self, key: str, name: str) -> None:
        """Rename a competency on the site; the reports show it."""
        item = self.totara.state.hierarchy("comp").by_idnumber[key.partition("/")[2]]
        assert item.fields is not None
        item.fields["fullname"] = name
        self.export()

    def refuse(self, key: str) -> None:
        """Reserve a competency for somebody else."""
        self.options = replace(self.options, reserved=self.options.reserved | {key})

    def lose_answers(self) -> None:
        """Carry the next files out, but export no log of it."""
        self.lose_log = True


class TestTotara(LmsConformance):
    """HR Import over a folder, outcomes from the sync log, state from reports."""

    def push(
        self, site: Site, store: Store, desired: Desired | None = None, rules: Rules = INITIAL, **more: Any
    ) -> PushReport:
        """Push until the site has answered: beside a refusal known at once, the rest is open until the night."""
        report = super().push(site, store, desired, rules, **more)
        if report.state != "pending" and report.tally.count(Status.PENDING):
            site.run_nightly()
            super().push(site, store, desired)
        return report

    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        """A site with its frameworks and nothing in them."""
        return NightlyTotara(tmp_path)
