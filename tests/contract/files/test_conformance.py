"""A site of kind files passes the conformance suite where the LMS exports what it holds, and leaves receipts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.model import Desired
from bridge.ports import LmsPort, Status
from bridge.store import Store
from bridge.sync.push import PushReport
from bridge.sync.running import Rules
from connectors.files.connector import FilesConnector
from connectors.files.kinds import field_known
from connectors.files.options import FilesOptions, FileTemplate, TakenWhen
from connectors.files.template import column_of
from connectors.handover import FolderPlace
from tests.contract.conformance.suite import INITIAL, LmsConformance, Site
from tests.contract.csv_lms import CsvLms

COLUMNS = {
    "competency": {
        "ID": "{key}",
        "Framework": "{framework}",
        "name": "{name}",
        "Text": "{description}",
        "Under": "{parent}",
        "Active": "{active:yes/no}",
        "Delete": "{deleted}",
    },
    "position": {"Code": "{key}", "Title": "{name} ({family_name})", "Active": "{active}", "Delete": "{deleted}"},
}


def template(kind: str, name: str, columns: dict[str, str], export: str = "") -> FileTemplate:
    """Return a file of one kind."""
    found = tuple(column_of(heading, text, field_known(kind), None, "test") for heading, text in columns.items())
    return FileTemplate(kind, name, found, export=export)


class NightlyCsv(Site):
    """An LMS that takes files and exports itself at night."""

    def __init__(self, folder: Path) -> None:
        self.lms = CsvLms(folder, receipts=True)
        self.moment = 1_790_000_000.0
        self.options = FilesOptions(
            folder / "spool",
            (
                template("competency", "competencies.csv", COLUMNS["competency"], "competencies.csv"),
                template("position", "positions.csv", COLUMNS["position"], "positions.csv"),
            ),
            TakenWhen.RECEIPT,
            exports=folder / "exports",
        )

    def connect(self) -> LmsPort:
        """Return a connector to the site."""
        return FilesConnector(self.options, FolderPlace(self.lms.inbox, ""), clock=lambda: self.moment)

    def run_nightly(self) -> None:
        """Take what lies there, then export."""
        self.moment += 8 * 3600
        self.lms.run(self.moment)
        self.moment += 60
        self.lms.export(self.moment)

    def snapshot(self) -> Any:
        """Return what the LMS holds."""
        return {table: dict(sorted(rows.items())) for table, rows in self.lms.tables.items()}

    def writes(self) -> int:
        """Return how many files were taken."""
        return len(self.lms.taken)

    def rename_by_hand(self, key: str, name: str) -> None:
        """Rename a competency in the LMS; its export shows it."""
        self.lms.tables["competencies"][key]["name"] = name
        self.lms.export(self.moment)

    def refuse(self, key: str) -> None:
        """Reserve a competency for somebody else."""
        self.options = replace(self.options, reserved=self.options.reserved | {key})

    def lose_answers(self) -> None:
        """Lose the receipts of the next night."""
        self.lms.silent = True


class TestFiles(LmsConformance):
    """Files into a folder, receipts beside them, exports to read."""

    def push(
        self, site: Site, store: Store, desired: Desired | None = None, rules: Rules = INITIAL, **more: Any
    ) -> PushReport:
        """Push until the LMS has answered: beside a refusal known at once, the rest is open until the night."""
        report = super().push(site, store, desired, rules, **more)
        if report.state != "pending" and report.tally.count(Status.PENDING):
            site.run_nightly()
            super().push(site, store, desired)
        return report

    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        """An LMS with nothing in it."""
        return NightlyCsv(tmp_path)
