"""Totara as an LMS port: each kind goes through its owner channel, HR Import's files or the API.

Files are answered hours later, by the sync log; the API at once. A kind is readable as long as a report younger than
the last import shows it, or the API does; otherwise what was applied last stands for it.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from bridge.model import Architecture, Desired, competency_key
from bridge.ports import (
    Action,
    BridgeError,
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
    Remark,
    Severity,
    Status,
    StopRun,
    Translation,
)
from connectors.hrimport_rules import SiteState
from connectors.totara import people
from connectors.totara.channels import GRAPHQL, HRIMPORT, PLURAL, Known, Ledger
from connectors.totara.checklist import checklist, strangers
from connectors.totara.graphql import GraphQlClient
from connectors.totara.graphql_channel import TOKEN, GraphQlChannel
from connectors.totara.hierarchies import COMPETENCY, SPECS, Hierarchies
from connectors.totara.hrimport.channel import ELEMENTS, HrImportChannel
from connectors.totara.hrimport.delivery import Drop, FolderDrop
from connectors.totara.options import TotaraOptions
from connectors.totara.people import JOB, PERSON, People, is_custom
from connectors.totara.report_mirror import ReportMirror
from connectors.totara.requirements import Assignment, worklist
from connectors.totara.results import Results
from connectors.totara.site_reports import SiteReports, SyncLog

KINDS = (*SPECS, *people.SPECS)


class TotaraConnector:
    """One Totara site behind the LMS port."""

    def __init__(
        self,
        options: TotaraOptions,
        *,
        drop: Drop | None = None,
        reports: ReportMirror | None = None,
        log: SyncLog | None = None,
        api: GraphQlClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self._hierarchies = Hierarchies(options)
        today = dt.datetime.fromtimestamp(clock(), ZoneInfo(options.hrimport.timezone)).date()
        self._api: GraphQlChannel | None = None
        self._people = People(options, today, self._sendable)
        if api is None and options.graphql is not None:
            api = GraphQlClient(options.graphql)
        if api is not None:
            self._api = GraphQlChannel(api, self._hierarchies, self._people)
        if drop is None and options.filesdir is not None:
            drop = FolderDrop(options.filesdir)
        self._ledger = Ledger(options.spool / "ledger.sqlite")
        self._reports = SiteReports(options, self._hierarchies, self._stored, reports, log)
        self._files: HrImportChannel | None = None
        if drop is not None:
            groups = (self._hierarchies, self._people)
            self._files = HrImportChannel(options, drop, self._reports, groups, self._ledger, clock, self._shown)

    def _stored(self) -> list[str]:
        return self._files.stored() if self._files is not None else []

    def _sendable(self, name: str) -> bool:
        """Whether the owner channel of people takes a further column of an account."""
        if self._owner(PERSON) == GRAPHQL:
            return self._api is not None and self._api.sendable(PERSON, name)
        return self._people.has_column(name)

    def _owner(self, kind: str) -> str:
        return self.options.channels.owner(kind)

    def _owned(self, channel: str) -> list[str]:
        return [spec.kind for spec in KINDS if self._owner(spec.kind) == channel]

    # -- what the site is -------------------------------------------------------------------------

    def probe(self) -> Capabilities:
        """Look at the folder, the reports and the API; a kind that none of them shows is not readable."""
        self._reports.refresh()
        findings: list[Finding] = []
        if self._files is not None:
            findings += [self._folder_finding(self._files), self._log_finding()]
        if self._api is not None:
            findings += self._api.findings(self._owned(GRAPHQL))
        kinds = tuple(self._kinds(findings))
        findings += self._ownership()
        by_files = any(self._owner(spec.kind) == HRIMPORT for spec in kinds)
        return Capabilities(
            product="Totara",
            release=".".join(str(part) for part in self.options.hrimport.version),
            site_name=self.options.site_name,
            account=" and ".join(["HR Import"] * by_files + ["GraphQL"] * (self._api is not None)),
            kinds=kinds,
            settle_within=self.options.settle_within_hours * 3600 if by_files else 0.0,
            server_limit=self.options.api_server_limit if self._api is not None else 0.0,
            findings=tuple(findings),
        )

    def _kinds(self, findings: list[Finding]) -> Iterator[KindSpec]:
        for spec in KINDS:
            if self._owner(spec.kind) == GRAPHQL:
                yield replace(spec, readable=True, answers_at_once=True)
                continue
            if self._files is None:
                continue
            shown = self._api is not None and spec.kind in people.ELEMENT_OF and self._api_shows(spec.kind)
            if spec.kind not in people.ELEMENT_OF:
                file = self._reports.fresh(spec.kind)
                shown = file is not None
                findings.append(self._report_finding(spec, file.path.name if file is not None else ""))
            yield replace(spec, readable=shown)

    def _api_shows(self, kind: str) -> bool:
        """Whether the API shows a kind that goes in by files; an API that cannot be asked just does not."""
        try:
            return self._api is not None and self._api.shows(kind)
        except BridgeError:
            return False

    def _folder_finding(self, files: HrImportChannel) -> Finding:
        try:
            waiting = files.waiting()
        except BridgeError as error:
            return Finding("HR Import folder", False, str(error), blocking=True)
        says = "csv/ready is clear" if not waiting else f"csv/ready holds {', '.join(waiting)}"
        return Finding("HR Import folder", True, says)

    def _log_finding(self) -> Finding:
        name = self.options.report_names.sync_log
        try:
            says = self._reports.log_is_there()
        except BridgeError as error:
            return Finding("sync log", False, str(error), "Without it no outcome is ever known.")
        if says:
            return Finding("sync log report", True, says)
        remedy = (
            f"Schedule a report “{name}” on the source “HR Import log” as CSV, saved to the file system. Without it no "
            "outcome is ever known."
        )
        return Finding("sync log report", False, f"no file of “{name}” was found", remedy)

    @staticmethod
    def _report_finding(spec: KindSpec, name: str) -> Finding:
        if name:
            return Finding(f"state of {spec.plural}", True, f"{name} is younger than the last import")
        remedy = "Schedule its report after the import. Until then what was applied last stands for what is there."
        return Finding(f"state of {spec.plural}", False, f"no fresh report shows the {spec.plural}", remedy)

    def _ownership(self) -> Iterator[Finding]:
        """Objects that the owner channel of their kind cannot see or should not touch."""
        for spec in KINDS:
            owner = self._owner(spec.kind)
            theirs = self._ledger.made_through(GRAPHQL if owner == HRIMPORT else HRIMPORT, spec.kind)
            if theirs and spec.kind not in self.options.channels.switched:
                yield strangers(spec, owner, theirs)
            passed_over = self._ledger.with_fate(Status.UNKNOWN.value, spec.kind) if owner == HRIMPORT else []
            if passed_over:
                yield strangers(spec, owner, passed_over, seen=True)
        if self._owner(PERSON) == HRIMPORT:
            yield from self._marked()

    def _marked(self) -> Iterator[Finding]:
        """Accounts that the site itself says HR Import may not change."""
        subject = "accounts HR Import may change"
        try:
            hidden = self._reports.not_for_hrimport()
        except FixConfiguration as error:
            yield Finding(subject, False, str(error))
            return
        if hidden:
            yield strangers(people.SPECS[0], HRIMPORT, hidden, seen=True)
        elif hidden is not None:
            yield Finding(subject, True, "all that carry an id number")

    def checklist(self, desired: Desired) -> Iterator[Finding]:
        """What only a person can make on this site, and whether the reports show it."""
        self._reports.refresh()
        yield from checklist(desired.architecture, self.options, self._reports.lines)

    def requirements(self, model: Architecture) -> list[Assignment]:
        """The requirements as a worklist for an administrator, with what the competency status report shows of each.

        Raises:
            FixConfiguration: the report lacks a column.
        """
        self._reports.refresh()
        return worklist(model, self._reports.requirement_lines())

    def held_state(self) -> SiteState:
        """What the reports show of this site, for checking files nobody sent yet; the rest is presumed to be there."""
        self._reports.refresh()
        return self._reports.held(ELEMENTS)

    # -- what is wanted, what is there ------------------------------------------------------------

    def translate(self, desired: Desired) -> Translation:
        """Turn the model into what this site can hold, with worklists for what no channel can make."""
        found = self._hierarchies.translate(desired.architecture)
        items, remarks, complete = found.items, found.remarks, set(found.complete)
        speaks_of: dict[str, Callable[[str], bool]] = {}
        if desired.workforce is not None:
            for key, one in self._ledger.known(JOB).items():
                self._people.owners.setdefault(key, one.person)
            self._people.ends = self._ledger.ends()
            persons, said = self._people.translate(desired.workforce)
            items, remarks = items + persons, remarks + said
            complete.add(JOB)
            speaks_of[JOB] = self._people.speaks_of_job
            if self.options.delete_leavers:
                complete.add(PERSON)
                speaks_of[PERSON] = self._people.speaks_of_leaver
        offered = {spec.kind for spec in KINDS if self._owner(spec.kind) == GRAPHQL or self._files is not None}
        for spec in KINDS:
            left = sum(item.kind == spec.kind for item in items) if spec.kind not in offered else 0
            if left:
                says = (
                    f"{left:,} {spec.plural} stay out: they go in by files, and the settings of this site name no "
                    "files directory."
                )
                remarks.append(Remark(Severity.WAITS, spec.kind, "", says))
        return Translation(
            tuple(item for item in items if item.kind in offered),
            tuple(remarks),
            frozenset(complete & offered),
            speaks_of,
        )

    def read(self, kind: str) -> Iterator[Found]:
        """What the API or the youngest report shows of a kind.

        Raises:
            StopRun: neither shows it.
        """
        if self._owner(kind) == GRAPHQL or kind in people.ELEMENT_OF:
            found = self._shown(kind)
            if found is not None:
                yield from found
                return
        file = self._reports.fresh(kind) if kind not in people.ELEMENT_OF and self._owner(kind) == HRIMPORT else None
        if file is None:
            message = (
                f"No report younger than the last import shows the {PLURAL[kind]}. Export it on the site, then run "
                "this again."
            )
            raise StopRun(message)
        yield from self._hierarchies.read(kind, self._reports.rows_of(file))

    def _shown(self, kind: str) -> Iterator[Found] | None:
        """What the API shows of a kind; None where there is none or it does not show it."""
        if self._api is None or not (self._owner(kind) == GRAPHQL or self._api.shows(kind)):
            return None
        if not self._api.offers(kind):
            message = f"The API of this site does not show {PLURAL[kind]}. Run `check`: it says what to change."
            raise FixConfiguration(message)
        found = self._api.read(kind)
        return self._with_unshown(found) if kind == PERSON and self._owner(PERSON) == HRIMPORT else found

    def _with_unshown(self, found: Iterator[Found]) -> Iterator[Found]:
        """Accounts with those columns of their file that the API does not show as sent: what went in stands."""
        api = self._api
        names = self._people.extras
        unshown = {name for name in names if api is None or is_custom(name) or not api.sendable(PERSON, name)}
        rows = self._ledger.rows(PERSON) if unshown else {}
        for one in found:
            sent = json.loads(rows[one.key]) if one.key in rows else {}
            kept = {name: str(sent.get(name) or "") for name in unshown}
            yield replace(one, fields={**one.fields, **kept}, detail={**one.detail, **kept})

    # -- handing over -----------------------------------------------------------------------------

    def submit(self, changes: Sequence[Change]) -> Receipt:
        """Hand changes of one kind to its channel."""
        kinds = {change.kind for change in changes}
        if len(kinds) != 1:
            message = f"A Totara channel takes one kind at a time, not {', '.join(sorted(kinds))}."
            raise StopRun(message)
        kind = kinds.pop()
        if kind == JOB:
            self._ledger.note_ends((one.key, _end_of(one)) for one in changes if one.after is not None)
        if self._owner(kind) == GRAPHQL:
            if self._api is None:
                raise FixConfiguration(
                    f"The {PLURAL[kind]} of this site go through GraphQL, and no API client is named."
                )
            return Receipt(TOKEN, tuple(changes))
        if self._files is None:
            raise FixConfiguration(f"The {PLURAL[kind]} of this site go in by files, and no files directory is named.")
        return self._files.submit(changes)

    def guard(self, check: Callable[[bool], None]) -> None:
        """Ask `check` right before a file is handed over or a request goes out; it raises StopRun where it may not."""
        for one in (self._files, self._api):
            if one is not None:
                one.guard(check)

    def recall(self, changes: Sequence[Change], since: float) -> Receipt | None:
        """The receipt of changes that were put into a file by a run that died before it could note that."""
        return self._files.recall(changes, since) if self._files is not None else None

    def settle(self, receipt: Receipt) -> Iterator[Outcome]:
        """Tell what is known of each change: the API answers at once, a file once the site has told of it."""
        if receipt.token == TOKEN:
            yield from self._through_the_api(receipt.changes)
        elif self._files is not None:
            yield from self._files.settle(receipt)

    def _through_the_api(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        if self._api is None or not changes:
            return
        kind = changes[0].kind
        known = self._ledger.known(kind) if kind not in self.options.channels.switched else {}
        ours: list[Change] = []
        for change in changes:
            if change.key in known and known[change.key].channel == HRIMPORT:
                why = (
                    f"{change.key} was made through HR Import, whose next file would undo it. Run `check`: it says how "
                    "to hand it over"
                )
                yield Outcome(change.kind, change.key, change.action, Status.REFUSED, change.lms_id, why)
            else:
                ours.append(change)
        if not ours:
            return
        by_key = {(change.key, change.action): change for change in ours}
        for outcome in self._api.settle(ours):
            if outcome.status is Status.APPLIED and outcome.action is Action.CREATE:
                person = str((by_key[outcome.key, outcome.action].after or {}).get("person") or "")
                self._ledger.note([(Known(kind, outcome.key, GRAPHQL, person), "")])
            yield outcome

    # -- results ----------------------------------------------------------------------------------

    def pull(self, scope: PullScope, cursor: str | None = None) -> Iterator[Page]:
        """Results from the scheduled reports that the settings name."""
        self._reports.refresh()
        results = Results(
            self.options.reports,
            self.options.result_reports,
            self.options.report_format,
            self._competency_keys(),
            lambda _key, value: self.options.level_names.get(value),
        )
        yield from results.pages(scope, cursor)

    def _competency_keys(self) -> Callable[[str], str | None]:
        """How ratings, which name a competency by its id number, get its key.

        Where no report shows the site's competencies, their framework is the one of the settings; without that the id
        number, which HR Import keeps unique, stands alone.
        """
        report = self._reports.file(self._reports.name_of(COMPETENCY))
        if report is None:
            framework = self.options.framework_of.get(COMPETENCY, "")
            return lambda idnumber: competency_key(framework, idnumber) if framework else idnumber
        rows = self._reports.rows_of(report)
        return {one.lms_id: one.key for one in self._hierarchies.read(COMPETENCY, rows)}.get

    def close(self) -> None:
        """Hang up where files, reports or the API are behind a connection."""
        for one in (self._files, self._reports, self._api):
            if one is not None:
                one.close()


def _end_of(change: Change) -> str | None:
    """The last day a change gives a job, as ISO text."""
    end = (change.after or {}).get("end")
    return str(end) if end else None
