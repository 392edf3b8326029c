"""What a site's scheduled reports show of it: its items, which accounts HR Import may change, and the sync log."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from bridge.ports import FixConfiguration
from connectors.hrimport_rules import SiteState
from connectors.totara.hierarchies import COMPETENCY, ELEMENT_OF, ORGANISATION, POSITION, Hierarchies
from connectors.totara.hierarchies import state_report_columns as columns_of_kind
from connectors.totara.hrimport.outcomes import SyncLogRow, read_sync_log
from connectors.totara.options import TotaraOptions
from connectors.totara.report_mirror import ReportMirror
from connectors.totara.reports import ReportFile, ReportRows, ReportSource, find_report
from connectors.totara.requirements import COLUMNS as REQUIREMENT_COLUMNS

_STORED = re.compile(r"(\d+)\.(\w+)\.csv")

SyncLog = Callable[[int], Iterator[SyncLogRow]]
"""The rows of the sync log whose id is beyond a number, wherever they come from."""


class SiteReports:
    """The reports of one site, in a folder here or copied from the other side."""

    def __init__(
        self,
        options: TotaraOptions,
        hierarchies: Hierarchies,
        stored: Callable[[], list[str]],
        mirror: ReportMirror | None = None,
        log: SyncLog | None = None,
    ) -> None:
        self._options = options
        self._hierarchies = hierarchies
        self._stored = stored
        self._mirror = mirror
        self._log = log

    def refresh(self) -> None:
        """Fetch what is new, where the reports are behind a connection."""
        if self._mirror is not None:
            self._mirror.refresh()

    def close(self) -> None:
        """Hang up."""
        if self._mirror is not None:
            self._mirror.close()

    def file(self, name: str) -> ReportFile | None:
        """The youngest file of a report."""
        folder = self._options.reports
        if folder is None or not name or not folder.is_dir():
            return None
        return find_report(folder, ReportSource(name, "state"))

    def name_of(self, kind: str) -> str:
        """The name of the report that shows a kind."""
        names = self._options.report_names
        return {COMPETENCY: names.competency, ORGANISATION: names.organisation, POSITION: names.position}[kind]

    def fresh(self, kind: str) -> ReportFile | None:
        """The report of a kind, if it is younger than everything of that kind the site has taken."""
        file = self.file(self.name_of(kind))
        if file is None:
            return None
        last = 0
        for stored in self._stored():
            match = _STORED.fullmatch(stored)
            if match and match[2].lower() == ELEMENT_OF[kind]:
                last = max(last, int(match[1]))
        return file if file.path.stat().st_mtime >= last else None

    def rows_of(self, file: ReportFile) -> ReportRows:
        """The rows of a report, in the site's own form."""
        return ReportRows(file.path, self._options.report_format)

    def lines(self, kind: str) -> list[dict[str, str]] | None:
        """The rows of a kind's report, whatever its age; None where there is none."""
        file = self.file(self.name_of(kind))
        if file is None:
            return None
        return list(self.rows_of(file).rows(kind, columns_of_kind(kind)))

    def held(self, kinds: dict[str, str]) -> SiteState:
        """What the reports show of the site, for checking files nobody sent yet; the rest is presumed to be there."""
        held = SiteState()
        held.presumed = set(kinds.values())
        for kind, element in ELEMENT_OF.items():
            file = self.fresh(kind)
            if file is None:
                continue
            held.presumed.discard(element)
            self._hierarchies.held(held, kind, self.rows_of(file))
            framework, of_kind = self._options.framework_of.get(kind), self._options.type_of.get(kind)
            if framework:
                held.hierarchy(element).add_framework(framework)
            if of_kind:
                held.hierarchy(element).types.setdefault(of_kind, {})
        return held

    # -- the sync log -----------------------------------------------------------------------------

    @property
    def log_from_elsewhere(self) -> bool:
        """Whether the sync log is read from the site's database instead of a report."""
        return self._log is not None

    def log(self, after: int = 0) -> list[SyncLogRow]:
        """The rows of the sync log beyond an id, as far as they are known here."""
        if self._log is not None:
            return list(self._log(after))
        file = self.file(self._options.report_names.sync_log)
        if file is None:
            return []
        rows = read_sync_log(file.path, self._options.report_format.headings, clock=self._log_time)
        return [row for row in rows if row.id > after]

    def log_is_there(self) -> str:
        """Where the sync log comes from, in words; empty where there is none. Raises what asking it raises."""
        if self._log is not None:
            rows = self._log(0)
            first = next(rows, None)
            return "read from the site's database" + ("" if first is not None else "; it is empty so far")
        name = self._options.report_names.sync_log
        return f"“{name}” is exported" if self.file(name) is not None else ""

    def _log_time(self, text: str) -> float | None:
        """A log row's time; None where the report's words are not known (the order of ids then decides)."""
        rows = ReportRows(Path("sync log"), self._options.report_format)
        moment = rows.date("sync log", text)
        return moment.timestamp() if moment is not None else None

    def requirement_lines(self) -> list[dict[str, str]] | None:
        """The rows of the report that shows which competencies people were assigned; None where there is none."""
        file = self.file(self._options.report_names.requirements)
        return None if file is None else list(self.rows_of(file).rows("requirements", REQUIREMENT_COLUMNS))

    # -- whom HR Import may change ----------------------------------------------------------------

    def not_for_hrimport(self) -> list[str] | None:
        """Id numbers of accounts that HR Import leaves alone; None where no report tells."""
        file = self.file(self._options.report_names.users)
        if file is None:
            return None
        rows = self.rows_of(file)
        try:
            lines = list(rows.rows("person", ("user-idnumber", "user-totarasync")))
        except FixConfiguration as error:
            raise FixConfiguration(f"The report of accounts cannot be used. {error}") from error
        yes = self._options.report_format.yes
        return [
            line["user_idnumber"]
            for line in lines
            if line["user_idnumber"] and line["user_totarasync"].strip().lower() not in yes
        ]
