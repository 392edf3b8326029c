"""HR Import as the owner channel of kinds: files go in, the sync log tells what became of them.

Nothing answers at once: `submit` writes a file and hands it over as soon as the site's folder is clear, `settle`
drives what is left and reads the outcome.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bridge.ports import Action, Change, Found, Outcome, Receipt, RetryLater, Status, outcome_of
from connectors.hrimport_rules import SiteState
from connectors.totara import people
from connectors.totara.channels import HRIMPORT, PLURAL, Known, Ledger
from connectors.totara.hierarchies import COMPETENCY, ELEMENT_OF, Hierarchies
from connectors.totara.hrimport.delivery import Drop, deliver, taken, temporary_name
from connectors.totara.hrimport.files import FileWriter
from connectors.totara.hrimport.outcomes import (
    FileReport,
    RowFate,
    RowReport,
    SentRow,
    SyncLogRow,
    element_run,
    settle_rows,
)
from connectors.totara.hrimport.preflight import preflight
from connectors.totara.options import TotaraOptions
from connectors.totara.people import People
from connectors.totara.site_reports import SiteReports
from connectors.totara.spool import DELIVERED, MERGED, RENAMING, SETTLED, WRITTEN, Spool, SpoolEntry, SpoolRow

ELEMENTS = {**ELEMENT_OF, **people.ELEMENT_OF}
KIND_OF = {element: kind for kind, element in ELEMENTS.items()}
SENT = "sent"
"""Fate of an object whose row has been handed over and not been answered for yet."""
_FATES = {
    RowFate.APPLIED: Status.APPLIED,
    RowFate.REFUSED: Status.REFUSED,
    RowFate.UNKNOWN: Status.UNKNOWN,
    RowFate.PENDING: Status.PENDING,
}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Sendable:
    """Changes split into what goes into the file and what cannot, with why."""

    sent: list[Change]
    refused: dict[str, list[str]]


def _name(change: Change) -> str:
    return f"{change.action.value} {change.key}"


def _packed(row: Mapping[str, Any]) -> str:
    """A row as text, dates included, the same for the same row; without its ``timemodified``."""
    plain = {
        name: {"date": value.isoformat()} if isinstance(value, dt.date) else value
        for name, value in row.items()
        if name != "timemodified"
    }
    return json.dumps(plain, ensure_ascii=False, sort_keys=True)


def _unpacked(text: str, seen_at: int) -> Row:
    row: Row = {
        name: dt.date.fromisoformat(value["date"]) if isinstance(value, dict) else value
        for name, value in json.loads(text).items()
    }
    return {**row, "timemodified": seen_at}


class HrImportChannel:
    """The files directory of one site, and our own folder of files on their way."""

    def __init__(
        self,
        options: TotaraOptions,
        drop: Drop,
        reports: SiteReports,
        groups: tuple[Hierarchies, People],
        ledger: Ledger,
        clock: Callable[[], float],
        shown: Callable[[str], Iterator[Found] | None] = lambda _kind: None,
    ) -> None:
        self._options = options
        self._drop = drop
        self._reports = reports
        self._hierarchies, self._people = groups
        self._ledger = ledger
        self._clock = clock
        self._shown = shown
        self._spool = Spool(options.spool)
        self._may_send: Callable[[bool], None] = lambda _writes: None

    def guard(self, check: Callable[[bool], None]) -> None:
        """Ask `check` before a file is handed over whether it may be."""
        self._may_send = check

    def _group(self, kind: str) -> Hierarchies | People:
        """Who knows a kind's items and rows."""
        return self._people if kind in people.ELEMENT_OF else self._hierarchies

    # -- handing over -----------------------------------------------------------------------------

    def submit(self, changes: Sequence[Change]) -> Receipt:
        """Write the changes of one kind into a file, check it, and hand it over if the site's folder is clear."""
        self.drive()
        entry = self._spool.new(ELEMENTS[changes[0].kind], self._clock())
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

    def recall(self, changes: Sequence[Change], since: float) -> Receipt | None:
        """The receipt of changes that were written down here at or after a moment, though nobody noted it."""
        element = ELEMENTS[changes[0].kind]
        for light in reversed(self._spool.entries()):
            if light.element != element or light.created_at < since:
                continue
            entry = self._spool.load(light.token)
            if entry is None:
                continue
            named = {key for row in entry.rows for key in row.keys} | entry.refused.keys()
            covered = tuple(change for change in changes if _name(change) in named)
            if covered:
                return Receipt(entry.token, covered)
        return None

    def _untaken(self, entry: SpoolEntry) -> SpoolEntry | None:
        """The last file of the same element, if the site has not taken it yet."""
        mine = [one for one in self._spool.entries() if one.element == entry.element and one.row_count]
        if not mine or not entry.rows or mine[-1].state not in {WRITTEN, DELIVERED}:
            return None
        return self._spool.load(mine[-1].token)

    def _merge(self, older: SpoolEntry, entry: SpoolEntry) -> bool:
        """Put an older file's rows before ours and withdraw it, so that one night does for both.

        The rows of one file are applied in their order, deletions last, whatever comes twice. A file of all records
        holds the older one's rows anyway and takes its place.
        """
        path = self._spool.file(entry)
        alone = path.read_bytes()
        own_headings, _, own_rows = alone.partition(b"\n")
        before = self._spool.file(older).read_bytes()
        if before.partition(b"\n")[0] != own_headings:
            return False
        if not self._all_records(entry.element):
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

    def _all_records(self, element: str) -> bool:
        """Whether the site deletes what is not in a file of this element."""
        options = self._options.hrimport.element(element)
        return options.sourceallrecords and bool(options.allow_delete)

    def _write(self, entry: SpoolEntry, changes: Sequence[Change]) -> None:
        kind = KIND_OF[entry.element]
        known = self._ledger.known(kind)
        split = self._sendable(changes, known)
        entry.refused = split.refused
        group = self._group(kind)
        rows = group.rows(split.sent, 0)
        by_row: dict[str, list[Change]] = {}
        for change in split.sent:
            by_row.setdefault(group.idnumber(kind, change.key), []).append(change)
        # Somebody's edit is put back by saying the same again: only a new time makes the site take it.
        forced = {idnumber for idnumber, those in by_row.items() if any(one.drift for one in those)}
        again = self._date(rows, known, forced)
        packed = {idnumber: _packed(row) for idnumber, row in rows.items()}
        if self._all_records(entry.element):
            rows = self._completed(kind, rows, known)
        path = self._spool.file(entry)
        columns = dict.fromkeys((*group.columns(kind), *(name for row in rows.values() for name in row)))
        noted: list[tuple[Known, str]] = []
        with FileWriter(entry.element, path, self._options.hrimport, tuple(columns)) as writer:
            for row in group.ordered(kind, list(rows.values())):
                idnumber = str(row["idnumber"])
                owner = str(row.get("useridnumber") or "")
                those = by_row.get(idnumber, ())
                if writer.write(row):
                    # In a file of all records, what did not change is carried along and not asked about.
                    if idnumber in packed:
                        spooled = SpoolRow(idnumber, owner, [_name(change) for change in those])
                        spooled.seen_at, spooled.again = int(row["timemodified"]), again.get(idnumber, False)
                        entry.rows.append(spooled)
                        content = hashlib.sha256(packed[idnumber].encode()).hexdigest()
                        fate = known[idnumber].fate if idnumber in known and spooled.again else ""
                        one = Known(kind, idnumber, HRIMPORT, owner, content, spooled.seen_at, fate)
                        noted.append((one, packed[idnumber]))
                    continue
                why = writer.written.refused[-1].why
                for change in those:
                    entry.refused[_name(change)] = [Status.REFUSED.value, why]
        # Before anything is sent: a rerun must find the time at which this content was first seen.
        self._ledger.note(noted)

    def _date(self, rows: Mapping[str, Row], known: Mapping[str, Known], forced: set[str]) -> dict[str, bool]:
        """Set each row's ``timemodified`` to the moment its content was first seen.

        Returns which rows the site has been handed with that very time before: it passes those over in silence.
        """
        fresh = self._spool.next_stamp(self._clock())
        again: dict[str, bool] = {}
        for idnumber, row in rows.items():
            one = known.get(idnumber)
            same = one is not None and one.content == hashlib.sha256(_packed(row).encode()).hexdigest()
            if one is not None and same and idnumber not in forced and one.fate != RowFate.UNKNOWN.value:
                row["timemodified"] = one.seen_at
                again[idnumber] = one.fate in {SENT, RowFate.APPLIED.value}
            else:
                row["timemodified"] = fresh
        return again

    def _completed(self, kind: str, rows: Mapping[str, Row], known: Mapping[str, Known]) -> dict[str, Row]:
        """All that went in before with the changed rows in place: a file of all records lets nothing go."""
        kept = {
            idnumber: _unpacked(text, known[idnumber].seen_at)
            for idnumber, text in self._ledger.rows(kind).items()
            if known[idnumber].channel == HRIMPORT and "deleted" not in json.loads(text)
        }
        return {**kept, **rows}

    def _sendable(self, changes: Sequence[Change], known: Mapping[str, Known]) -> _Sendable:
        """Set aside what no file can say, what belongs to the other channel, and what hangs under the unmade."""
        sent: list[Change] = []
        refused: dict[str, list[str]] = {}
        unmade: set[str] = set()
        for change in changes:
            group = self._group(change.kind)
            why = group.refusal(change) or self._not_ours(change, known.get(group.idnumber(change.kind, change.key)))
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

    def _not_ours(self, change: Change, known: Known | None) -> str:
        if known is None or known.channel == HRIMPORT or change.kind in self._options.channels.switched:
            return ""
        return (
            f"{change.key} was made through GraphQL, and HR Import leaves such objects alone without a word. Run "
            "`check`: it says how to hand them over"
        )

    def _check(self, entry: SpoolEntry, others: Sequence[SpoolRow]) -> None:
        """Preflight: a file that would stop as a whole, or delete what nobody asked it to, is not sent."""
        if not entry.rows:
            return
        why = self._objection(entry, others)
        if why:
            for row in entry.rows:
                for key in row.keys:
                    entry.refused[key] = [Status.REFUSED.value, f"Preflight stopped it: {why}"]
            entry.rows = []

    def _objection(self, entry: SpoolEntry, others: Sequence[SpoolRow]) -> str:
        """Why a file must not go; empty where it may. Notes what is expected of each row."""
        kind = KIND_OF[entry.element]
        held = self._held(entry, others)
        if self._all_records(entry.element):
            if kind not in self._options.all_records:
                return (
                    f"the site takes a file of {PLURAL[kind]} for all records and deletes what is not in it. Set "
                    f"“Source contains all records” to No there, or name {kind} under all_records in the options of "
                    "this site"
                )
            if held is None:
                return (
                    f"a file of all {PLURAL[kind]} deletes what is not in it, and nothing younger than the last import "
                    "shows what the site holds"
                )
        path = self._spool.file(entry)
        now = int(self._clock())
        result = preflight({entry.element: path}, held, self._options.hrimport, now=now).elements[entry.element]
        if result.aborts:
            return f"the whole file would be refused: {result.reason} {result.detail}".strip()
        asked = {row.idnumber for row in (*entry.rows, *others) if any(_removes(key) for key in row.keys)}
        beyond = [idnumber for idnumber in result.removed if idnumber not in asked]
        if beyond:
            named = ", ".join(beyond[:5]) + (f" and {len(beyond) - 5:,} more" if len(beyond) > 5 else "")
            return (
                f"the file would delete {len(result.removed):,} items, {len(beyond):,} of which nobody named: {named}"
            )
        verdicts = {row.idnumber: row for row in result.rows}
        for row in entry.rows:
            verdict = verdicts.get(row.idnumber)
            if verdict is not None:
                row.expected, row.rule = verdict.outcome, verdict.rule
        return ""

    def _held(self, entry: SpoolEntry, others: Sequence[SpoolRow]) -> SiteState | None:
        """What the site holds of the file's kind, as a fresh report or the API shows it; None where neither does."""
        kind = KIND_OF[entry.element]
        if kind in people.ELEMENT_OF:
            found = self._shown(kind) if self._all_records(entry.element) else None
            return None if found is None else self._held_people(kind, found)
        report = self._reports.fresh(kind)
        if report is None:
            return None
        held = SiteState()
        self._hierarchies.held(held, kind, self._reports.rows_of(report))
        # A framework or type without items is in no report of items: it is not taken for missing.
        for framework in self._frameworks_in([*entry.rows, *others], kind):
            held.hierarchy(entry.element).add_framework(framework)
        for name in self._options.type_of.values():
            held.hierarchy(entry.element).types.setdefault(name, {})
        return held

    @staticmethod
    def _held_people(kind: str, found: Iterable[Found]) -> SiteState:
        held = SiteState()
        held.presumed = {"org", "pos", "comp"} | ({"user"} if kind == people.JOB else {"jobassignment"})
        for one in found:
            if kind == people.PERSON:
                user = held.add_user(one.key, str(one.fields.get("username") or ""))
                user.email = str(one.fields.get("email") or "")
                user.suspended = bool(one.fields.get("suspended"))
            else:
                owner = held.find_user(str(one.fields.get("person") or ""))
                if owner is not None:
                    held.add_job(one.key, owner)
        return held

    def _frameworks_in(self, rows: Sequence[SpoolRow], kind: str) -> set[str]:
        if kind != COMPETENCY:
            return {self._options.framework_of.get(kind, "")}
        keys = [key.partition(" ")[2] for row in rows for key in row.keys]
        return {key.partition("/")[0] for key in keys}

    # -- driving what is on its way ---------------------------------------------------------------

    def drive(self) -> None:
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
            entry.log_after = max((row.id for row in self._reports.log()), default=0)
            entry.stored_before = sorted(self._drop.stored())
            self._spool.save(entry)

        self._may_send(True)
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
            # The site has not taken what lies there, or cannot be reached: the next settle tries again.
            return
        entry.state = DELIVERED
        entry.delivered_at = self._clock()
        self._spool.save(entry)
        whole = self._spool.load(entry.token)
        if whole is not None:
            self._remember_fates(whole, ((row, SENT) for row in whole.rows if not row.again))

    def _remember_fates(self, entry: SpoolEntry, fates: Iterable[tuple[SpoolRow, str]]) -> None:
        self._ledger.settle(KIND_OF[entry.element], ((row.idnumber, row.seen_at, fate) for row, fate in fates))

    def _note_fates(self, entry: SpoolEntry) -> None:
        """Write down what became of a file's rows, once that is known of all."""
        report = self._file_report(entry)
        if any(told.fate is RowFate.PENDING for told in report.rows):
            if not self._given_up(entry):
                return
            why = "the site took the file, and its log never told of it"
            report = replace(report, rows=[RowReport(told.row, RowFate.UNKNOWN, why) for told in report.rows])
        for row, told in zip(entry.rows, report.rows, strict=True):
            row.fate, row.why = told.fate.value, told.why
        if entry.state != MERGED:
            entry.state = SETTLED
        self._spool.save(entry)
        self._remember_fates(entry, ((row, row.fate) for row in entry.rows))

    def _given_up(self, entry: SpoolEntry) -> bool:
        """Whether the site has taken a file so long ago that its log will not tell of it any more."""
        late = entry.delivered_at and self._clock() > entry.delivered_at + self._options.settle_within_hours * 3600
        return bool(late) and entry.element in taken(self._drop, dict.fromkeys(entry.stored_before, 0))

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
        self._reports.refresh()
        self.drive()
        entry = self._spool.load(receipt.token) or entry
        report = self._file_report(entry)
        if entry.state == MERGED and not all(row.fate for row in entry.rows):
            self._note_fates(entry)
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
        sent = [SentRow(row.idnumber, row.owner, row.expected, row.rule, row.again) for row in entry.rows]
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
                log = self._reports.log(entry.log_after)
                run = element_run(log, entry.element, entry.log_after, taken_at=int(name.partition(".")[0]))
        report = settle_rows(entry.element, sent, run)
        faults = any(row.logtype == "error" for row in run)
        if run and not report.finished and not faults:
            # The report was made in the middle of the run: the next one tells the rest.
            return settle_rows(entry.element, sent, [])
        return report

    def waiting(self) -> list[str]:
        """The files that lie in the site's folder under names it reads."""
        return sorted(name for name in self._drop.ready() if not name.startswith("."))

    def stored(self) -> list[str]:
        """The files the site has taken."""
        return sorted(self._drop.stored())

    def close(self) -> None:
        """Hang up."""
        self._drop.close()


def _removes(name: str) -> bool:
    return name.partition(" ")[0] == Action.REMOVE.value
