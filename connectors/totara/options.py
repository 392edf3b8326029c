"""What a Totara connection can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from connectors.hrimport_rules import HrImportSettings
from connectors.totara.channels import Channels
from connectors.totara.graphql import GraphQlOptions
from connectors.totara.reports import ReportFormat, ReportSource


@dataclass(frozen=True, slots=True)
class StateReports:
    """Names of the scheduled reports that show what the site holds and did; empty where there is none."""

    sync_log: str = "Bridge sync log"
    competency: str = "Bridge competencies"
    organisation: str = "Bridge organisations"
    position: str = "Bridge positions"
    users: str = "Bridge users"
    """Which accounts HR Import may change: id number and *Totara sync*."""
    requirements: str = "Bridge requirements"
    """Which competencies people were assigned, with their positions and organisations."""


@dataclass(frozen=True, slots=True)
class TotaraOptions:
    """Where a Totara takes its files, where it leaves its reports, and how to treat it."""

    filesdir: Path | None
    """The files directory of HR Import; ``csv/ready`` lies in it. None where no kind goes in by files."""
    spool: Path
    """Our own folder for files on their way and for receipts."""
    reports: Path | None = None
    """The export path of scheduled reports."""
    hrimport: HrImportSettings = field(default_factory=HrImportSettings)
    report_names: StateReports = field(default_factory=StateReports)
    report_format: ReportFormat = field(default_factory=ReportFormat)
    result_reports: tuple[ReportSource, ...] = ()
    """The scheduled reports with completions, certifications and competency status."""
    level_names: Mapping[str, int] = field(default_factory=dict)
    """Scale value name to level, for the competency status report."""
    framework_of: Mapping[str, str] = field(default_factory=dict)
    """Kind (``organisation``, ``position``) to the framework its items go into."""
    type_of: Mapping[str, str] = field(default_factory=dict)
    """Kind to the type its items get; none where it is not named."""
    aggregation: str = "ALL"
    """How a new competency sums up its children: ALL, ANY or OFF."""
    retired_suffix: str = "-RETIRED"
    """A framework's retired items hang under an item with the framework's id number and this."""
    settle_within_hours: float = 48.0
    """How long the site may take to import a file and export its log."""
    reserved: frozenset[str] = frozenset()
    """Keys that belong to somebody else: they are never written."""
    delete_leavers: bool = False
    """Whether whoever left is removed (which a rule turns into deleting) instead of suspended."""
    site_name: str = "Totara"
    channels: Channels = field(default_factory=Channels)
    """Which way each kind goes in."""
    graphql: GraphQlOptions | None = None
    """How to reach the API; it shows people and jobs, whichever way they go in."""
    api_server_limit: float = 60.0
    """Seconds the site may go on working on an API request nobody waits for any more."""
    all_records: frozenset[str] = frozenset()
    """Kinds whose files hold all records because the site deletes what is not in them, and somebody wants that."""
