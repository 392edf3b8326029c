"""An LMS that takes only files, as an LMS port.

Each kind goes into a file of its own, by template, with the objects that changed: a row is a whole object, known by its
key. What is known afterwards is that the file was handed over, and taken; what the LMS made of it is known only where
it exports the same columns again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from bridge.model import Desired
from bridge.ports import (
    Action,
    BridgeError,
    Capabilities,
    Change,
    Fields,
    Finding,
    Found,
    Outcome,
    Page,
    PullScope,
    Receipt,
    Remark,
    Severity,
    Status,
    StopRun,
    Translation,
    outcome_of,
)
from connectors.files.exports import read_export
from connectors.files.kinds import KINDS, PERSON, SUSPENDED, Kinds, spec_of
from connectors.files.options import FilesOptions, FileTemplate, TakenWhen
from connectors.files.spool import Spool, SpoolFile, SpoolRow, Stage
from connectors.files.template import ACTIVE, DELETED, PARENT
from connectors.files.writing import refusal, write_rows
from connectors.handover import Place

HANDED_OVER = "handed over: the LMS does not tell what it made of it"
_GOES = f"{Action.REMOVE.value} "
TAKEN = "handed over and taken: the LMS does not tell what it made of it"


class Mirror(Protocol):
    """Keeps the folder of exports equal to one elsewhere."""

    def refresh(self) -> None:
        """Fetch what is new."""

    def close(self) -> None:
        """Give back connections."""


def _name(change: Change) -> str:
    return f"{change.action.value} {change.key}"


class FilesConnector:
    """One LMS behind a folder."""

    def __init__(
        self,
        options: FilesOptions,
        place: Place,
        *,
        mirror: Mirror | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self._place = place
        self._mirror = mirror
        self._clock = clock
        self._spool = Spool(options.spool)
        self._kinds = Kinds(options)
        self._wanted: dict[str, list[str]] = {}

    # -- what the site is -------------------------------------------------------------------------

    def probe(self) -> Capabilities:
        """Look at the folder, at what lies there, and at the exports; a kind without a fresh export is not readable."""
        self._refresh()
        findings = [self._folder_finding()]
        specs = []
        for template in self.options.files:
            readable = self._export(template) is not None
            specs.append(spec_of(template, readable=readable))
            if template.export:
                findings.append(self._export_finding(template, readable))
        return Capabilities(
            product="CSV files",
            release="1",
            site_name=self.options.site_name,
            account="file delivery",
            kinds=tuple(specs),
            settle_within=self.options.settle_within_hours * 3600,
            server_limit=0.0,
            findings=tuple(findings),
        )

    def _folder_finding(self) -> Finding:
        try:
            self._drive()
            lying = set(self._place.files())
        except BridgeError as error:
            return Finding("delivery folder", False, str(error), blocking=True)
        waiting = [one for one in self._spool.entries() if one.stage is Stage.DELIVERED and one.name in lying]
        if not waiting:
            return Finding("delivery folder", True, "nothing of ours waits to be taken")
        hours = (self._clock() - min(one.delivered_at for one in waiting)) / 3600
        names = ", ".join(one.name for one in waiting)
        late = hours > self.options.settle_within_hours
        remedy = "Look in the LMS why its import does not run." if late else ""
        return Finding("delivery folder", not late, f"{names} waits to be taken, for {hours:.0f} hours now", remedy)

    @staticmethod
    def _export_finding(template: FileTemplate, readable: bool) -> Finding:
        plural = KINDS[template.kind].plural
        if readable:
            return Finding(f"export of {plural}", True, f"{template.export} is younger than what was last taken")
        remedy = "Have the LMS export it after its import. Until then what was applied last stands for what is there."
        return Finding(f"export of {plural}", False, f"no fresh {template.export} shows the {plural}", remedy)

    def _refresh(self) -> None:
        if self._mirror is not None:
            self._mirror.refresh()

    def _export(self, template: FileTemplate) -> Path | None:
        """The export of a kind, if it is younger than everything of that kind the LMS has taken."""
        if self.options.exports is None or not template.export:
            return None
        path = self.options.exports / template.export
        if not path.is_file():
            return None
        taken = [one.taken_at for one in self._spool.entries() if one.kind == template.kind and one.taken_at]
        return path if path.stat().st_mtime >= max(taken, default=0.0) else None

    def translate(self, desired: Desired) -> Translation:
        """Turn the model into rows, kind by kind, as far as there are files for it."""
        found = self._kinds.translate(desired)
        self._wanted = {}
        for item in (one for one in found.items if one.make):
            self._wanted.setdefault(item.kind, []).append(item.key)
        return found

    def read(self, kind: str) -> Iterator[Found]:
        """What the LMS's own export shows of a kind.

        Raises:
            StopRun: there is no fresh one.
        """
        template = self.options.template(kind)
        path = self._export(template) if template is not None else None
        if template is None or path is None:
            raise StopRun(f"No export younger than what was last taken shows the {kind}s. Have the LMS make it.")
        yield from read_export(path, template, self.options)

    def in_plain_words(self, kind: str, fields: Fields) -> Fields:
        """Cells by the field they are; a column put together from several is none of them."""
        template = self.options.template(kind)
        if template is None:
            return fields
        of_heading = {column.heading: column.single for column in template.columns if column.single}
        own = {SUSPENDED: fields[SUSPENDED]} if SUSPENDED in fields else {}
        return {**{of_heading[name]: value for name, value in fields.items() if name in of_heading}, **own}

    # -- handing over -----------------------------------------------------------------------------

    def submit(self, changes: Sequence[Change]) -> Receipt:
        """Write the changes into the file of their kind, and hand it over as soon as the last one was taken."""
        kinds = {change.kind for change in changes}
        if len(kinds) != 1:
            raise StopRun(f"A file holds one kind, not {', '.join(sorted(kinds))}.")
        template = self.options.template(kinds.pop())
        if template is None:
            raise StopRun("The settings of this site have no file for this kind.")
        # Trouble with the place does not keep changes from being written down: `settle` tells of it.
        with contextlib.suppress(BridgeError):
            self._drive()
        entry = self._spool.new(template.kind)
        rows = self._rows(template, changes, entry)
        older = [one for one in self._spool.entries() if one.kind == entry.kind and rows and self._withdrawn(one)]
        if template.everything:
            rows = self._with_all_others(template, rows, entry, older, changes) if rows else rows
        else:
            for one in reversed(older):
                rows = _merged(self._spool.rows(one), rows)
        stamp = dt.datetime.fromtimestamp(self._clock(), dt.UTC).strftime("%Y%m%d%H%M%S")
        entry.name = template.name.replace("{stamp}", stamp)
        if not rows:
            entry.stage = Stage.TAKEN
        write_rows(self._spool.path(entry), template, self.options, rows)
        self._spool.save(entry, rows)
        for one in older if rows else ():
            # From here on the younger file speaks for the older one.
            one.stage, one.merged_into = Stage.MERGED, entry.token
            self._spool.save(one)
            with contextlib.suppress(BridgeError):
                self._place.remove(_temporary(one))
        with contextlib.suppress(BridgeError):
            self._advance(entry)
        return Receipt(entry.token, tuple(changes))

    def _with_all_others(
        self,
        template: FileTemplate,
        rows: list[SpoolRow],
        entry: SpoolFile,
        older: Sequence[SpoolFile],
        changes: Sequence[Change],
    ) -> list[SpoolRow]:
        """The whole file: what the last one listed, with the rows that are new, and without those that go.

        None, and all changes refused, where it is not known here any more what the last one listed.
        """
        told = [one for one in self._spool.entries() if one.kind == entry.kind and one.rows]
        told = [*(one for one in told if one.stage in {Stage.TAKEN, Stage.DELIVERED}), *older]
        rows = _merged(self._spool.rows(told[-1]) if told else [], rows)
        here = {row.key for row in rows} | {name.partition(" ")[2] for name in entry.refused}
        lost = [key for key in self._wanted.get(entry.kind, ()) if key not in here]
        plural = KINDS[entry.kind].plural
        if lost and not told and (len(lost) > len(rows) or any(one.action is not Action.CREATE for one in changes)):
            return self._refuse_all(
                entry,
                changes,
                f"{template.name} lists everything, and what the last one listed is not known here, as "
                f"{self.options.spool} holds nothing of it. A new one would take {len(lost):,} {plural} away. Bring "
                "that folder back from a backup",
            )
        if template.switch(ACTIVE) is None and template.switch(DELETED) is None:
            rows = [row for row in rows if not any(name.startswith(_GOES) for name in row.changes)]
        if not rows:
            return self._refuse_all(entry, changes, f"{template.name} would list nothing, which empties the LMS")
        return rows

    @staticmethod
    def _refuse_all(entry: SpoolFile, changes: Sequence[Change], why: str) -> list[SpoolRow]:
        entry.refused |= {_name(change): [Status.REFUSED.value, why] for change in changes}
        return []

    def _withdrawn(self, older: SpoolFile) -> bool:
        """Take back a file that was not taken yet, so that one file, and one night, does for both."""
        if older.stage is not Stage.DELIVERED:
            return older.stage is Stage.WRITTEN
        # Noted first: after a crash it gets its name back, or is found to have it.
        older.stage = Stage.RENAMING
        self._spool.save(older)
        try:
            self._place.rename(older.name, _temporary(older))
        except FileNotFoundError:
            older.stage = Stage.DELIVERED
            self._spool.save(older)
            return False
        except BridgeError:
            # Whether it has its name or not is found out when the place can be reached again.
            return False
        return True

    def _rows(self, template: FileTemplate, changes: Sequence[Change], entry: SpoolFile) -> list[SpoolRow]:
        """The rows for the changes; what cannot be written, and what hangs under it, is noted as refused."""
        by_key: dict[str, list[Change]] = {}
        for change in changes:
            by_key.setdefault(change.key, []).append(change)
        rows: list[SpoolRow] = []
        unmade: set[str] = set()
        for key, mine in by_key.items():
            cells = _cells(template, mine)
            parent = mine[-1].parent
            if parent in unmade:
                fate = [Status.NOT_SENT.value, f"it hangs under {parent}, which is not made"]
            else:
                why = self._cannot(template, mine) or refusal(template, self.options, cells)
                fate = [Status.REFUSED.value, why] if why else []
            if not fate:
                rows.append(SpoolRow(key, [_name(change) for change in mine], cells))
                continue
            entry.refused |= {_name(change): fate for change in mine}
            if any(change.action is Action.CREATE for change in mine):
                unmade.add(key)
        return rows

    def _cannot(self, template: FileTemplate, changes: Sequence[Change]) -> str:
        key = changes[0].key
        if key in self.options.reserved:
            return f"{key} is reserved for somebody else by the settings of this site"
        removed = any(change.action is Action.REMOVE for change in changes)
        if removed and not template.everything and template.switch(ACTIVE) is None and template.switch(DELETED) is None:
            return "the file has no column with {active} or {deleted}, so it cannot say that something goes"
        return ""

    def _drive(self) -> None:
        """Bring every file on its way one step further, the oldest first.

        Also those whose receipt nobody holds, because the process died before it could note it.
        """
        lying = self._place.files()
        for entry in self._spool.entries():
            if entry.stage is Stage.DELIVERED:
                self._look_for(entry, set(lying))
        for entry in self._spool.entries():
            if entry.stage in {Stage.WRITTEN, Stage.RENAMING}:
                self._advance(entry)
        self._spool.forget_old()

    def _look_for(self, entry: SpoolFile, lying: set[str]) -> None:
        """See whether a delivered file was taken."""
        files = self._place.files() if self.options.taken_when is TakenWhen.RECEIPT else {}
        match self.options.taken_when:
            case TakenWhen.HANDED_OVER:
                entry.stage, entry.taken_at = Stage.TAKEN, entry.delivered_at
            case TakenWhen.GONE if entry.name not in lying:
                entry.stage, entry.taken_at = Stage.TAKEN, self._clock()
            case TakenWhen.RECEIPT if (ok := self._receipt(entry)) in files:
                entry.stage, entry.taken_at = Stage.TAKEN, files[ok].modified
            case TakenWhen.RECEIPT if (failed := self._failure(entry)) in files:
                entry.stage, entry.taken_at = Stage.FAILED, files[failed].modified
                entry.says = " ".join(self._place.note(failed).split())[:500]
            case _:
                return
        self._spool.save(entry)

    def _receipt(self, entry: SpoolFile) -> str:
        return self.options.receipt.replace("{file}", entry.name)

    def _failure(self, entry: SpoolFile) -> str:
        return self.options.failure.replace("{file}", entry.name)

    def _advance(self, entry: SpoolFile) -> None:
        """Hand a file over once its turn has come: temporary name first, then its own."""
        if entry.stage not in {Stage.WRITTEN, Stage.RENAMING} or self._waits(entry):
            return
        temporary = _temporary(entry)
        if entry.stage is Stage.WRITTEN:
            if entry.name in self._place.files() and not self._was_ours(entry):
                # Somebody else's, or one that was never taken: nothing is written over.
                return
            self._place.put(self._spool.path(entry), temporary)
            entry.stage, entry.delivered_at = Stage.RENAMING, self._clock()
            self._spool.save(entry)
        if temporary in self._place.files():
            # A receipt that lies there is an older file's.
            self._place.remove(self._receipt(entry))
            self._place.remove(self._failure(entry))
            self._place.remove(entry.name)
            # Gone already: an earlier attempt came this far before the connection broke.
            with contextlib.suppress(FileNotFoundError):
                self._place.rename(temporary, entry.name)
        entry.stage = Stage.DELIVERED
        self._spool.save(entry)
        if self.options.taken_when is TakenWhen.HANDED_OVER:
            self._look_for(entry, set())

    def _waits(self, entry: SpoolFile) -> bool:
        """Whether another file has to be taken first."""
        return any(
            one.open and one.number < entry.number and (one.kind == entry.kind or self.options.waves)
            for one in self._spool.entries()
        )

    def _was_ours(self, entry: SpoolFile) -> bool:
        """Whether what lies under the name was ours and is settled: such an LMS leaves it there beside its receipt."""
        return self.options.taken_when is TakenWhen.RECEIPT and any(
            one.name == entry.name and one.stage in {Stage.TAKEN, Stage.FAILED} and one.rows
            for one in self._spool.entries()
        )

    # -- what became of it ------------------------------------------------------------------------

    def settle(self, receipt: Receipt) -> Iterator[Outcome]:
        """Drive the file and tell what is known of each change: that it was handed over, taken, or refused whole."""
        entry = self._spool.load(receipt.token)
        if entry is None:
            # Nothing was handed over: it died before the file was written down.
            for change in receipt.changes:
                yield outcome_of(change, Status.NOT_SENT, "it was never handed over")
            return
        trouble: BridgeError | None = None
        try:
            self._drive()
        except BridgeError as error:
            trouble = error
        entry = self._spool.load(receipt.token) or entry
        refused = entry.refused
        while entry.stage is Stage.MERGED:
            younger = self._spool.load(entry.merged_into)
            if younger is None:
                break
            entry = younger
        status, why = self._fate(entry)
        for change in receipt.changes:
            told = refused.get(_name(change))
            if told is not None:
                yield outcome_of(change, Status(told[0]), told[1])
            else:
                yield outcome_of(change, status, why, change.key)
        if trouble is not None and status is Status.PENDING:
            raise StopRun(f"{trouble} What was to go there is kept, and goes with the next run.") from trouble

    def _fate(self, entry: SpoolFile) -> tuple[Status, str]:
        match entry.stage:
            case Stage.TAKEN if self.options.taken_when is TakenWhen.HANDED_OVER:
                return Status.APPLIED, HANDED_OVER
            case Stage.TAKEN:
                return Status.APPLIED, TAKEN
            case Stage.FAILED:
                return Status.REFUSED, f"the LMS refused {entry.name}: {entry.says or 'it does not say why'}"
            case Stage.DELIVERED:
                return Status.PENDING, f"{entry.name} lies there and has not been taken yet"
            case _:
                return Status.PENDING, "the file waits until the last one has been taken"

    def pull(self, scope: PullScope, cursor: str | None = None) -> Iterator[Page]:
        """Such an LMS gives nothing back; the page says so."""
        del scope
        says = "A site of kind files gives no results back: it only takes files."
        yield Page((), cursor or "", last=True, remarks=(Remark(Severity.NOTE, "", "", says),))

    def close(self) -> None:
        """Hang up."""
        self._place.close()
        if self._mirror is not None:
            self._mirror.close()


def _temporary(entry: SpoolFile) -> str:
    """The name a file has before it gets its own; no LMS takes it for a CSV."""
    return f".{entry.name}.{entry.token}.part"


def _cells(template: FileTemplate, changes: Sequence[Change]) -> dict[str, str]:
    """The whole row of an object after some changes to it."""
    values = dict(changes[0].before or {})
    parent, active, deleted = changes[0].old_parent, True, False
    for change in changes:
        if change.action is Action.CREATE:
            values |= change.after or {}
        elif change.after is not None:
            values |= {name: change.after[name] for name in change.fields if name in change.after}
        if change.action is Action.REMOVE:
            active, deleted = False, change.erase
        else:
            parent = change.parent
    if template.kind == PERSON and values.get(SUSPENDED) is True:
        active = False
    cells: dict[str, str] = {}
    for column in template.columns:
        if column.single == "key":
            cells[column.heading] = changes[0].key
        elif template.tree and column.single == PARENT:
            cells[column.heading] = parent or ""
        elif column.fields & {ACTIVE, DELETED}:
            cells[column.heading] = column.cell({ACTIVE: active, DELETED: deleted}.get)
        else:
            value = values.get(column.heading)
            cells[column.heading] = "" if value is None else str(value)
    return cells


def _merged(older: Sequence[SpoolRow], younger: Sequence[SpoolRow]) -> list[SpoolRow]:
    """The rows of two files in one: of two of the same object the younger says how it is now."""
    now = {row.key: row for row in younger}
    kept = [row for row in older if row.key not in now]
    return [*kept, *younger]
