"""Totara as an LMS port, over HR Import: files go in, the sync log tells what became of them, reports show the site.

Nothing answers at once: `submit` writes a file and hands it over as soon as the site's folder is clear, `settle`
drives what is left and reads the outcome. A kind is readable as long as a report younger than the last import shows
it; otherwise what was applied last stands for it.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from bridge.model import Desired
from bridge.ports import (
    Action,
    Capabilities,
    Change,
    Finding,
    FixConfiguration,
    Found,
    KindSpec,
    Outcome,
    Page,
    PullScope,
    Receipt,
    RetryLater,
    Status,
    StopRun,
    Translation,
    outcome_of,
)
from connectors.hrimport_rules import SiteState
from connectors.totara import people
from connectors.totara.checklist import checklist
from connectors.totara.hierarchies import (
    COMPETENCY,
    ELEMENT_OF,
    ORGANISATION,
    POSITION,
    SPECS,
    Hierarchies,
    state_report_columns,
)
from connectors.totara.hrimport.delivery import Drop, FolderDrop, deliver, taken, temporary_name
from connectors.totara.hrimport.files import FileWriter
from connectors.totara.hrimport.outcomes import (
    FileReport,
    RowFate,
    RowReport,
    SentRow,
    SyncLogRow,
    element_run,
    read_sync_log,
    settle_rows,
)
from connectors.totara.hrimport.preflight import preflight
from connectors.totara.options import TotaraOptions
from connectors.totara.people import People
from connectors.totara.report_mirror import ReportMirror
from connectors.totara.reports import ReportFile, ReportRows, ReportSource, find_report
from connectors.totara.results import Results
from connectors.totara.spool import DELIVERED, MERGED, RENAMING, SETTLED, WRITTEN, Spool, SpoolEntry, SpoolRow

_ELEMENTS = {**ELEMENT_OF, **people.ELEMENT_OF}
_KIND_OF = {element: kind for kind, element in _ELEMENTS.items()}
_STORED = re.compile(r"(\d+)\.(\w+)\.csv")
_FATES = {
    RowFate.APPLIED: Status.APPLIED,
    RowFate.REFUSED: Status.REFUSED,
    RowFate.UNKNOWN: Status.UNKNOWN,
    RowFate.PENDING: Status.PENDING,
}


@dataclass(frozen=True, slots=True)
class _Sendable:
    """Changes split into what goes into the file and what cannot, with why."""

    sent: list[Change]
    refused: dict[str, list[str]]


def _name(change: Change) -> str:
    return f"{change.action.value} {change.key}"


class TotaraConnector:
    """One Totara site behind the LMS port."""

    def __init__(
        self,
        options: TotaraOptions,
        *,
        drop: Drop | None = None,
        reports: ReportMirror | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self._mirror = reports
        self._drop = drop or FolderDrop(options.filesdir)
        self._clock = clock
        self._spool = Spool(options.spool)
        self._hierarchies = Hierarchies(options)
        today = dt.datetime.fromtimestamp(clock(), ZoneInfo(options.hrimport.timezone)).date()
        self._people = People(options, today)

    def _group(self, kind: str) -> Hierarchies | People:
        """Who knows a kind's items and rows."""
        return self._people if kind in people.ELEMENT_OF else self._hierarchies

    # -- what the site is -------------------------------------------------------------------------

    def probe(self) -> Capabilities:
        """Look at the folder and the reports; a kind that no fresh report shows is not readable."""
        self._refresh()
        findings = [self._folder_finding(), self._log_finding()]
        kinds = []
        kinds_of_people = people.SPECS
        for spec in SPECS:
            file = self._state_report(spec.kind)
            kinds.append(replace(spec, readable=file is not None))
            findings.append(self._report_finding(spec, file))
        return Capabilities(
            product="Totara",
            release=".".join(str(part) for part in self.options.hrimport.version),
            site_name=self.options.site_name,
            account="HR Import",
            kinds=(*kinds, *kinds_of_people),
            settle_within=self.options.settle_within_hours * 3600,
            server_limit=0.0,
            findings=tuple(findings),
        )

    def _folder_finding(self) -> Finding:
        try:
            waiting = [name for name in self._drop.ready() if not name.startswith(".")]
        except FixConfiguration as error:
            return Finding("HR Import folder", False, str(error), blocking=True)
        says = "csv/ready is clear" if not waiting else f"csv/ready holds {', '.join(sorted(waiting))}"
        return Finding("HR Import folder", True, says)

    def _log_finding(self) -> Finding:
        name = self.options.report_names.sync_log
        if self._report(name) is not None:
            return Finding("sync log report", True, f"“{name}” is exported")
        remedy = (
            f"Schedule a report “{name}” on the source “HR Import log” as CSV, saved to the file system. Without it no "
            "outcome is ever known."
        )
        return Finding("sync log report", False, f"no file of “{name}” was found", remedy)

    @staticmethod
    def _report_finding(spec: KindSpec, file: ReportFile | None) -> Finding:
        if file is not None:
            return Finding(f"state of {spec.plural}", True, f"{file.path.name} is younger than the last import")
        remedy = "Schedule its report after the import. Until then what was applied last stands for what is there."
        return Finding(f"state of {spec.plural}", False, f"no fresh report shows the {spec.plural}", remedy)

    def checklist(self, desired: Desired) -> Iterator[Finding]:
        """What only a person can make on this site, and whether the reports show it."""
        self._refresh()
        yield from checklist(desired.architecture, self.options, self._state_rows)

    # -- reports ----------------------------------------------------------------------------------

    def _refresh(self) -> None:
        if self._mirror is not None:
            self._mirror.refresh()

    def _state_rows(self, kind: str) -> list[dict[str, str]] | None:
        """The rows of a kind's report, whatever its age; None where there is none."""
        file = self._report(self._report_name(kind))
        if file is None:
            return None
        return list(ReportRows(file.path, self.options.report_format).rows(kind, state_report_columns(kind)))

    def held_state(self) -> SiteState:
        """What the reports show of this site, for checking files nobody sent yet; the rest is presumed to be there."""
        self._refresh()
        held = SiteState()
        held.presumed = set(_KIND_OF)
        for kind, element in ELEMENT_OF.items():
            file = self._state_report(kind)
            if file is None:
                continue
            held.presumed.discard(element)
            self._hierarchies.held(held, kind, ReportRows(file.path, self.options.report_format))
            framework, of_kind = self.options.framework_of.get(kind), self.options.type_of.get(kind)
            if framework:
                held.hierarchy(element).add_framework(framework)
            if of_kind:
                held.hierarchy(element).types.setdefault(of_kind, {})
        return held

    def _report_name(self, kind: str) -> str:
        names = self.options.report_names
        return {COMPETENCY: names.competency, ORGANISATION: names.organisation, POSITION: names.position}[kind]

    def _report(self, name: str) -> ReportFile | None:
        if self.options.reports is None or not name or not self.options.reports.is_dir():
            return None
        return find_report(self.options.reports, ReportSource(name, "state"))

    def _state_report(self, kind: str) -> ReportFile | None:
        """The report of a kind, if it is younger than everything of that kind the site has taken."""
        file = self._report(self._report_name(kind))
        if file is None:
            return None
        last = 0
        for stored in self._drop.stored():
            match = _STORED.fullmatch(stored)
            if match and match[2].lower() == ELEMENT_OF[kind]:
                last = max(last, int(match[1]))
        return file if file.path.stat().st_mtime >= last else None

    def translate(self, desired: Desired) -> Translation:
        """Turn the model into what this site can hold, with worklists for what no file can make."""
        found = self._hierarchies.translate(desired.architecture)
        items, remarks = found.items, found.remarks
        if desired.workforce is not None:
            persons, said = self._people.translate(desired.workforce)
            items, remarks = items + persons, remarks + said
        return Translation(tuple(items), tuple(remarks), frozenset(found.complete))

    def read(self, kind: str) -> Iterator[Found]:
        """What the youngest report shows of a kind.

        Raises:
            StopRun: no fresh report shows it.
        """
        file = self._state_report(kind) if kind in ELEMENT_OF else None
        if file is None:
            message = (
                f"No report younger than the last import shows the {kind}s. Export it on the site, then run again."
            )
            raise StopRun(message)
        yield from self._hierarchies.read(kind, ReportRows(file.path, self.options.report_format))

    # -- handing over -----------------------------------------------------------------------------

    def submit(self, changes: Sequence[Change]) -> Receipt:
        """Write the changes of one kind into a file, check it, and hand it over if the site's folder is clear."""
        kinds = {change.kind for change in changes}
        if len(kinds) != 1:
            message = f"A Totara file holds one kind, not {', '.join(sorted(kinds))}."
            raise StopRun(message)
        self._drive()
        entry = self._spool.new(_ELEMENTS[kinds.pop()])
        self._write(entry, changes)
        older = self._untaken(entry)
        if older is None or not self._merge(older, entry):
            self._check(entry, [])
        if not entry.rows:
            entry.state = SETTLED
        self._spool.save(entry)
        if older is not None and older.merged_into == entry.token:
            # From here on the younger file speaks for the older one.
            older.state = MERGED
            self._spool.save(older)
            self._drop.remove(temporary_name(older.element, older.token))
        self._advance(entry)
        return Receipt(entry.token, tuple(changes))

    def _untaken(self, entry: SpoolEntry) -> SpoolEntry | None:
        """The last file of the same element, if the site has not taken it yet."""
        mine = [one for one in self._spool.entries() if one.element == entry.element and one.row_count]
        if not mine or not entry.rows or mine[-1].state not in {WRITTEN, DELIVERED}:
            return None
        return self._spool.load(mine[-1].token)

    def _merge(self, older: SpoolEntry, entry: SpoolEntry) -> bool:
        """Put an older file's rows before ours and withdraw it, so that one night does for both.

        The rows of one file are applied in their order, deletions last, whatever comes twice.
        """
        path = self._spool.file(entry)
        alone = path.read_bytes()
        own_headings, _, own_rows = alone.partition(b"\n")
        before = self._spool.file(older).read_bytes()
        if before.partition(b"\n")[0] != own_headings:
            return False
        path.write_bytes(before + own_rows)
        self._check(entry, older.rows)
        if entry.rows and self._withdrawn(older):
            older.merged_into = entry.token
            return True
        path.write_bytes(alone)
        return not entry.rows

    def _withdrawn(self, older: SpoolEntry) -> bool:
        if older.state == WRITTEN:
            return True
        # Noted first: after a crash the file is renamed back, or found to be in place.
        older.state = RENAMING
        self._spool.save(older)
        try:
            self._drop.rename(f"{older.element}.csv", temporary_name(older.element, older.token))
        except FileNotFoundError:
            older.state = DELIVERED
            self._spool.save(older)
            return False
        return True

    def _write(self, entry: SpoolEntry, changes: Sequence[Change]) -> None:
        kind = _KIND_OF[entry.element]
        split = self._sendable(changes)
        entry.refused = split.refused
        stamp = self._spool.next_stamp(self._clock())
        group = self._group(kind)
        rows = group.rows(split.sent, stamp)
        by_row: dict[str, list[Change]] = {}
        for change in split.sent:
            by_row.setdefault(group.idnumber(kind, change.key), []).append(change)
        path = self._spool.file(entry)
        columns = dict.fromkeys((*group.columns(kind), *(name for row in rows.values() for name in row)))
        with FileWriter(entry.element, path, self.options.hrimport, tuple(columns)) as writer:
            for row in group.ordered(kind, list(rows.values())):
                idnumber = str(row["idnumber"])
                if writer.write(row):
                    keys = [_name(change) for change in by_row.get(idnumber, ())]
                    entry.rows.append(SpoolRow(idnumber, str(row.get("useridnumber") or ""), keys))
                else:
                    why = writer.written.refused[-1].why
                    for change in by_row.get(idnumber, ()):
                        entry.refused[_name(change)] = [Status.REFUSED.value, why]

    def _sendable(self, changes: Sequence[Change]) -> _Sendable:
        """Set aside what no file can say, and what hangs under something that is not made."""
        sent: list[Change] = []
        refused: dict[str, list[str]] = {}
        unmade: set[str] = set()
        for change in changes:
            why = self._group(change.kind).refusal(change)
            if why:
                refused[_name(change)] = [Status.REFUSED.value, why]
            elif change.parent in unmade:
                why = f"it hangs under {change.parent}, which is not made"
                refused[_name(change)] = [Status.NOT_SENT.value, why]
            else:
                sent.append(change)
                continue
            if change.action is Action.CREATE:
                unmade.add(change.key)
        return _Sendable(sent, refused)

    def _check(self, entry: SpoolEntry, others: Sequence[SpoolRow]) -> None:
        """Preflight: a file that would stop as a whole, or delete what nobody asked it to, is not sent."""
        if not entry.rows:
            return
        path = self._spool.file(entry)
        kind = _KIND_OF[entry.element]
        held: SiteState | None = None
        report = self._state_report(kind) if kind in ELEMENT_OF else None
        if report is not None:
            held = SiteState()
            self._hierarchies.held(held, kind, ReportRows(report.path, self.options.report_format))
            # A framework or type without items is in no report of items: it is not taken for missing.
            for framework in self._frameworks_in([*entry.rows, *others], kind):
                held.hierarchy(entry.element).add_framework(framework)
            for name in self.options.type_of.values():
                held.hierarchy(entry.element).types.setdefault(name, {})
        result = preflight({entry.element: path}, held, self.options.hrimport, now=int(self._clock())).elements[
            entry.element
        ]
        asked = sum(any(key.startswith(Action.REMOVE.value) for key in row.keys) for row in (*entry.rows, *others))
        if result.aborts or len(result.removed) > asked:
            why = (
                f"the whole file would be refused: {result.reason} {result.detail}".strip()
                if result.aborts
                else f"the file would delete {len(result.removed):,} items where {asked:,} are meant"
            )
            for row in entry.rows:
                for key in row.keys:
                    entry.refused[key] = [Status.REFUSED.value, f"Preflight stopped it: {why}"]
            entry.rows = []
            return
        verdicts = {row.idnumber: row for row in result.rows}
        for row in entry.rows:
            verdict = verdicts.get(row.idnumber)
            if verdict is not None:
                row.expected, row.rule = verdict.outcome, verdict.rule

    def _frameworks_in(self, rows: Sequence[SpoolRow], kind: str) -> set[str]:
        if kind != COMPETENCY:
            return {self.options.framework_of.get(kind, "")}
        keys = [key.partition(" ")[2] for row in rows for key in row.keys]
        return {key.partition("/")[0] for key in keys}

    def _drive(self) -> None:
        """Bring every file on its way one step further, the oldest first.

        Also those whose receipt nobody holds, because the process died before it could note it.
        """
        for entry in self._spool.entries():
            if entry.state in {WRITTEN, RENAMING}:
                self._advance(entry)
            whole = self._spool.load(entry.token) if entry.state == DELIVERED else None
            if whole is not None:
                self._note_fates(whole)
        self._spool.forget_settled()

    def _advance(self, entry: SpoolEntry) -> None:
        """Hand a file over as soon as its turn has come and the site's folder is clear of its element."""
        if entry.state not in {WRITTEN, RENAMING} or self._spool.ahead_of(entry):
            return

        def renaming() -> None:
            # What the site took and logged before this moment is not ours.
            entry.state = RENAMING
            entry.log_after = max((row.id for row in self._log()), default=0)
            entry.stored_before = sorted(self._drop.stored())
            self._spool.save(entry)

        ours = {f"{one.element}.csv" for one in self._spool.entries() if one.state == DELIVERED}
        try:
            deliver(
                {entry.element: self._spool.file(entry)},
                self._drop,
                entry.token,
                renaming=entry.state == RENAMING,
                before_rename=renaming,
                alongside=frozenset(ours - {f"{entry.element}.csv"}),
            )
        except RetryLater:
            # The site has not taken what lies there: the next settle tries again.
            return
        entry.state = DELIVERED
        self._spool.save(entry)

    def _note_fates(self, entry: SpoolEntry) -> None:
        """Write down what became of a file's rows, once that is known of all."""
        report = self._file_report(entry)
        if any(told.fate is RowFate.PENDING for told in report.rows):
            return
        for row, told in zip(entry.rows, report.rows, strict=True):
            row.fate, row.why = told.fate.value, told.why
        entry.state = SETTLED
        self._spool.save(entry)

    # -- what became of it ------------------------------------------------------------------------

    def settle(self, receipt: Receipt) -> Iterator[Outcome]:
        """Drive the file and tell what is known of each change.

        A change of a file the site has not taken, or whose log is not exported yet, is pending.
        """
        entry = self._spool.load(receipt.token)
        if entry is None:
            # Nothing was handed over: it died before the receipt was written down.
            for change in receipt.changes:
                yield outcome_of(change, Status.NOT_SENT, "it was never handed over")
            return
        self._refresh()
        self._drive()
        entry = self._spool.load(receipt.token) or entry
        report = self._file_report(entry)
        fates: dict[str, tuple[Status, str]] = {
            key: (Status(status), why) for key, (status, why) in entry.refused.items()
        }
        for row, told in zip(entry.rows, report.rows, strict=True):
            for key in row.keys:
                fates[key] = (_FATES[told.fate], told.why)
        waiting = "the site has not taken the file and told of it yet"
        for change in receipt.changes:
            status, why = fates.get(_name(change), (Status.NOT_SENT, "it was not in the file"))
            idnumber = self._group(change.kind).idnumber(change.kind, change.key)
            yield outcome_of(change, status, why or (waiting if status is Status.PENDING else ""), idnumber)

    def _file_report(self, entry: SpoolEntry) -> FileReport:
        sent = [SentRow(row.idnumber, row.owner, row.expected, row.rule) for row in entry.rows]
        if entry.rows and all(row.fate for row in entry.rows):
            known = [RowReport(one, RowFate(row.fate), row.why) for one, row in zip(sent, entry.rows, strict=True)]
            return FileReport(entry.element, True, "", known)
        run: list[SyncLogRow] = []
        while entry.state == MERGED:
            younger = self._spool.load(entry.merged_into)
            if younger is None:
                break
            entry = younger
        if entry.state in {DELIVERED, SETTLED} and sent:
            stored = taken(self._drop, dict.fromkeys(entry.stored_before, 0))
            name = stored.get(entry.element)
            if name is not None:
                run = element_run(self._log(), entry.element, entry.log_after, taken_at=int(name.partition(".")[0]))
        report = settle_rows(entry.element, sent, run)
        faults = any(row.logtype == "error" for row in run)
        if run and not report.finished and not faults:
            # The report was made in the middle of the run: the next one tells the rest.
            return settle_rows(entry.element, sent, [])
        return report

    def _log(self) -> list[SyncLogRow]:
        file = self._report(self.options.report_names.sync_log)
        if file is None:
            return []
        return list(read_sync_log(file.path, self.options.report_format.headings, clock=self._log_time))

    def _log_time(self, text: str) -> float | None:
        """A log row's time; None where the report's words are not known (the order of ids then decides)."""
        rows = ReportRows(Path("sync log"), self.options.report_format)
        moment = rows.date("sync log", text)
        return moment.timestamp() if moment is not None else None

    def pull(self, scope: PullScope, cursor: str | None = None) -> Iterator[Page]:
        """Results from the scheduled reports that the settings name."""
        self._refresh()
        keys: dict[str, str] = {}
        report = self._state_report(COMPETENCY)
        if report is not None:
            rows = ReportRows(report.path, self.options.report_format)
            keys = {one.lms_id: one.key for one in self._hierarchies.read(COMPETENCY, rows)}
        results = Results(
            self.options.reports,
            self.options.result_reports,
            self.options.report_format,
            keys.get,
            lambda _key, value: self.options.level_names.get(value),
        )
        yield from results.pages(scope, cursor)

    def close(self) -> None:
        """Hang up where files or reports are behind a connection."""
        self._drop.close()
        if self._mirror is not None:
            self._mirror.close()
