"""Taking in one file of a feed: read, staged, compared, judged, and then taken over or put into quarantine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from bridge.faults import Fault
from bridge.feed_settings import FeedSettings
from bridge.ports import FixConfiguration
from bridge.store import Store, feeds, roster
from bridge.store.feeds import Feed, Rejection, Snapshot, UnmappedTitle
from bridge.store.stage_tables import CREATED, HELD, REFUSED, UNCHANGED, UPDATED, WAITING
from bridge.store.staging import Staging, staging
from bridge.sync import trust
from bridge.sync.clock import Clock
from bridge.sync.lease import FEED_LEASE, Tenure, holding
from bridge.sync.trust import Guard
from connectors.feeds import ReceivedFile
from connectors.tables import UnreadableTable
from jobs.feed_checks import SetChecks
from jobs.feed_reading import (
    Findings,
    Found,
    Opened,
    Staged,
    ends_in_line_end,
    open_feed,
    rules_fingerprint,
    sha256_of,
    stage_rows,
)
from mappings.positions import PositionFinder

IDENTICAL = "identical"
LEASE_SECONDS = 900.0
"""A file of half a million people is through in seconds; a program that died holds a feed no longer than this."""


@dataclass(frozen=True, slots=True)
class FeedContext:
    """One feed and what its rows are measured by."""

    name: str
    settings: FeedSettings
    others: tuple[str, ...] = ()
    """The other feeds: whom they list, they own."""
    units: frozenset[str] | None = None
    """Keys of the units there are; None where nobody keeps a list."""
    finder: PositionFinder | None = None
    """Finds positions; without it no title is called unmapped."""
    lookups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file to take in, here and whole, with what its sender says about it."""

    path: Path
    name: str
    sha256: str
    size: int
    stamp: str = ""
    """When it is from, as sortable text; empty where nobody says."""
    has_manifest: bool = False
    manifest_rows: int | None = None
    manifest_sha256: str | None = None

    @classmethod
    def of_path(cls, path: Path) -> Incoming:
        """Describe a file that somebody names. Raises FixConfiguration where it cannot be read."""
        try:
            return cls(path, path.name, sha256_of(path), path.stat().st_size, trust.stamp_in(path.name))
        except OSError as error:
            reason = error.strerror or str(error)
            raise FixConfiguration(f"{path} cannot be read: {reason}. Check the name and the folder.") from error

    @classmethod
    def of_received(cls, received: ReceivedFile) -> Incoming:
        """Describe a file that a feed's drop delivered; without a date in its name, when it was changed counts."""
        manifest = received.manifest
        return cls(
            received.path,
            received.name,
            received.sha256,
            received.size,
            trust.stamp_in(received.name) or received.modified.strftime("%Y-%m-%dT%H:%M:%S"),
            manifest is not None,
            manifest.rows if manifest else None,
            manifest.sha256 if manifest else None,
        )


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of a file. `rows` = created + updated + unchanged + waiting + held + rejected, always."""

    feed: str
    file: str
    state: str
    """accepted, partial, identical, quarantined or refused."""
    snapshot: int | None = None
    rows: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    waiting: int = 0
    held: int = 0
    rejected: int = 0
    changed: Mapping[str, int] = field(default_factory=dict)
    """How many updated rows change each field."""
    terminated: int = 0
    """Updated rows that end a job by their status."""
    missing: int = 0
    """People reported missing for the first time; nothing happens to them."""
    absent: int = 0
    """People whose absence is certain from this file on."""
    returned: int = 0
    """People listed again after having been missing."""
    came_due: int = 0
    """Rows of earlier files whose day has come."""
    guards: tuple[Guard, ...] = ()
    remarks: int = 0
    """Rows that are kept, but have something worth knowing."""
    cleared: int = 0
    """Findings of earlier files that this one clears."""
    unmapped: int = 0
    """People whose title stands for no position yet."""
    statements: tuple[str, ...] = ()
    """How the file was read, in sentences."""
    notes: tuple[str, ...] = ()
    """What else is worth saying."""
    vouched: bool = False

    @property
    def exit_code(self) -> int:
        """0 done · 3 refused by a guard · 4 done, some rows rejected."""
        if self.state in (feeds.QUARANTINED, feeds.REFUSED):
            return 3
        # A discarded file is done with, whatever was wrong in it.
        return 4 if self.rejected and self.state != feeds.DISCARDED else 0

    def as_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return asdict(self)


def ingest(
    store: Store, context: FeedContext, incoming: Incoming, as_of: dt.date, clock: Clock | None = None
) -> IngestResult:
    """Take in one file. Everything foreseeable that is wrong with it is in the result.

    Raises SiteBusy where another program works on the feed.
    """
    clock = clock or Clock()
    with holding_feed(store, context, "ingest", clock) as tenure:
        return Ingestion(store, context, as_of, clock, tenure.confirm).take_in(incoming)


def holding_feed(store: Store, context: FeedContext, what: str, clock: Clock) -> AbstractContextManager[Tenure]:
    """Hold a feed for a block: nobody else fetches, takes in or decides anything of it meanwhile."""
    return holding(store, f"{FEED_LEASE}{context.name}", what, clock, seconds=LEASE_SECONDS)


def release(
    store: Store,
    context: FeedContext,
    reason: str,
    as_of: dt.date,
    *,
    partial: bool = False,
    discard: bool = False,
    clock: Clock | None = None,
) -> IngestResult:
    """Let a person accept what is in quarantine, for a reason: whole, or `partial`, when only its good rows count and
    nobody is missed for lack of a row; or `discard` it. Raises FixConfiguration where there is nothing to decide."""
    clock = clock or Clock()
    if not reason.strip():
        raise FixConfiguration("Say why with --reason TEXT; it is kept with the file.")
    with holding_feed(store, context, "release", clock) as tenure:
        ingestion = Ingestion(store, context, as_of, clock, tenure.confirm)
        return ingestion.release(reason.strip(), partial=partial, discard=discard)


@dataclass(slots=True)
class _Judged:
    """One staged file, compared and judged."""

    snapshot: Snapshot
    counts: Mapping[str, int]
    changed: Mapping[str, int]
    leavers: int
    findings: Findings
    guards: tuple[Guard, ...] = ()


_ENTANGLED = Guard(
    "entangled",
    "Addresses and managers of the rows depend on each other so much that refusing wrong ones never ends.",
    "Correct the rows that `lms-bridge rejections` lists, and send the file again.",
)


class Ingestion:
    """One file of one feed on its way through. Whoever changes something with it holds the feed's lease."""

    def __init__(
        self,
        store: Store,
        context: FeedContext,
        as_of: dt.date,
        clock: Clock,
        confirm: Callable[[Connection], None] = lambda _connection: None,
    ) -> None:
        self._store = store
        self._confirm = confirm
        self._context = context
        self._settings = context.settings
        self._today = as_of.isoformat()
        self._clock = clock
        self._rules = rules_fingerprint(context.settings, context.units, context.lookups)

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        """A transaction that stands only while the feed is held: a run that was frozen decides nothing afterwards."""
        with self._store.begin() as connection:
            yield connection
            self._confirm(connection)

    # --- A file that arrived ----------------------------------------------------------------------------------------

    def take_in(self, incoming: Incoming) -> IngestResult:
        """Take in a file."""
        name = self._context.name
        with self._store.read() as connection:
            feed = feeds.find_feed(connection, name)
            last = feeds.find_snapshot(connection, feed.accepted_id)
            held = feeds.find_snapshot(connection, feed.quarantined_id)
            twin = feeds.latest_with(connection, name, incoming.sha256)
        snapshot = self._snapshot(incoming)
        newer = last is not None and trust.says_newer(incoming.name, last.stamp)
        if last is not None and incoming.sha256 == last.sha256:
            if last.rules == self._rules and not self._hangs_on_others(last):
                return self._identical(feed, last, incoming, newer=newer)
        elif twin is not None and last is not None and twin.id < last.id and not newer:
            return self._refused(snapshot, f"This very file was accepted before {last.file}, which is newer.")
        if last is not None and trust.is_older(incoming.stamp, last.stamp):
            return self._refused(snapshot, f"The file is from {incoming.stamp}, the last accepted from {last.stamp}.")
        if held is not None and held.sha256 == incoming.sha256 and held.rules == self._rules:
            return _result_of(held, replace(snapshot, state=feeds.QUARANTINED), ("It is in quarantine already.",))
        if snapshot.delta and held is not None and held.file != incoming.name:
            return self._out_of_order(snapshot, held)
        try:
            with open_feed(
                incoming.path, incoming.name, self._settings, self._context.units, self._context.lookups
            ) as opened:
                return self._read(opened, incoming, snapshot, last)
        except UnreadableTable as error:
            return self._unreadable(snapshot, incoming, error.fault)

    def look(self, opened: Opened, incoming: Incoming) -> tuple[IngestResult, Findings]:
        """Do everything but take the file over or put it into quarantine: nothing that lasts is touched."""
        findings = Findings()
        with self._store.read() as connection:
            last = feeds.find_snapshot(connection, feeds.find_feed(connection, self._context.name).accepted_id)
        with staging(self._store, self._context.name, self._context.others) as staged, staged.reading():
            read = stage_rows(opened, staged, findings)
            snapshot, cut = self._described(opened, incoming, self._snapshot(incoming), last, read)
            staged.close_input()
            judged = self._judge(staged, snapshot, findings, read if cut else None)
            findings.show_as_sent(incoming.path, incoming.name, self._settings)
            guards = self._guards(staged, judged, incoming, last, opened)
        result = replace(
            _result(replace(snapshot, counts=_numbers(judged)), judged, ()),
            state=feeds.QUARANTINED if guards else feeds.ACCEPTED,
            guards=tuple(guards),
            statements=opened.statements,
        )
        return result, findings

    def _hangs_on_others(self, last: Snapshot) -> bool:
        """Tell whether a file may be judged otherwise now although neither it nor the rules have changed: it has rows
        that are held for another feed, or were refused and other feeds may have brought what they lacked."""
        waits = int(last.counts.get(HELD, 0)) or int(last.counts.get(REFUSED, 0))
        return bool(self._context.others and waits)

    def _snapshot(self, incoming: Incoming) -> Snapshot:
        return Snapshot(
            self._context.name,
            incoming.name,
            incoming.sha256,
            incoming.size,
            feeds.ACCEPTED,
            stamp=incoming.stamp,
            delta=self._settings.snapshot == "delta",
            rules=self._rules,
            as_of=self._today,
            received_at=self._clock.now(),
        )

    def _described(
        self, opened: Opened, incoming: Incoming, snapshot: Snapshot, last: Snapshot | None, read: Staged
    ) -> tuple[Snapshot, bool]:
        """Return the snapshot with what reading the file told, and whether the file ends in the middle of a row."""
        ended = ends_in_line_end(incoming.path, workbook=not opened.table.encoding)
        cut = not ended and last is not None and last.ends_in_line_end
        described = replace(
            snapshot,
            rows=read.rows,
            columns=opened.columns,
            complete=not cut,
            vouched=incoming.manifest_rows is not None or incoming.manifest_sha256 is not None,
            ends_in_line_end=ended,
        )
        return described, cut

    def _guards(
        self, staged: Staging, judged: _Judged, incoming: Incoming, last: Snapshot | None, opened: Opened
    ) -> list[Guard]:
        counted = self._counted(staged, judged, incoming, last)
        # Only once all rows have gone by does a workbook tell that some of its ids have become numbers.
        doubts = (*opened.doubts, *opened.table.remarks)
        return [*_doubtful(doubts), *judged.guards, *trust.tripped(counted, self._settings.trust)]

    def _read(self, opened: Opened, incoming: Incoming, snapshot: Snapshot, last: Snapshot | None) -> IngestResult:
        findings = Findings()
        with staging(self._store, self._context.name, self._context.others) as staged:
            with staged.reading():
                read = stage_rows(opened, staged, findings)
            snapshot, cut = self._described(opened, incoming, snapshot, last, read)
            with staged.writing():
                staged.close_input()
                judged = self._judge(staged, snapshot, findings, read if cut else None)
                findings.show_as_sent(incoming.path, incoming.name, self._settings)
                guards = self._guards(staged, judged, incoming, last, opened)
                if guards:
                    result = self._quarantine(staged, judged, guards)
                else:
                    result = self._accept(staged, judged, partial=False)
                self._confirm(staged.connection)
        notes = list(result.notes)
        if cut:
            notes.append("The file ends in the middle of a line, so nobody is missed for lack of a row in it.")
        return replace(result, statements=opened.statements, notes=tuple(notes))

    def _judge(self, staged: Staging, snapshot: Snapshot, findings: Findings, cut: Staged | None) -> _Judged:
        """Compare the staged rows with the roster and with each other."""
        checks = SetChecks(staged, self._settings, snapshot.file, snapshot.columns, findings)
        if cut is not None and not cut.last_was_seen:
            checks.cut_off(cut.last_line)
        checks.run()
        staged.decide(self._today)
        counts = staged.counts()
        if sum(counts.values()) != snapshot.rows:
            raise RuntimeError(f"{snapshot.rows} rows came in and {counts} went out: a row was lost on the way")
        changed = staged.changed_fields() if counts[UPDATED] else {}
        guards = (_ENTANGLED,) if checks.entangled else ()
        return _Judged(snapshot, counts, changed, staged.leavers() if changed else 0, findings, guards)

    def _counted(self, staged: Staging, judged: _Judged, incoming: Incoming, last: Snapshot | None) -> trust.Counted:
        known = staged.roster_size()
        return trust.Counted(
            rows=judged.snapshot.rows,
            refused=judged.counts[REFUSED],
            in_common=staged.in_common() if known else 0,
            columns=frozenset(judged.snapshot.columns) | _constants(self._settings),
            last_rows=last.rows if last else None,
            last_columns=frozenset(last.columns) - frozenset(self._settings.ignore) if last else frozenset(),
            known=known,
            lost_zeros=staged.lost_zeros() if known else (),
            delta=judged.snapshot.delta,
            manifest_rows=incoming.manifest_rows,
            manifest_sha256=incoming.manifest_sha256,
            sha256=incoming.sha256,
            has_manifest=incoming.has_manifest,
        )

    # --- What becomes of it -----------------------------------------------------------------------------------------

    def _accept(self, staged: Staging, judged: _Judged, *, partial: bool) -> IngestResult:
        """Take the good rows over; say who is missing, unless only part of the file counts."""
        connection = staged.connection
        snapshot = replace(
            judged.snapshot,
            state=feeds.PARTIAL if partial else feeds.ACCEPTED,
            counts=_numbers(judged),
            decided_at=self._clock.now(),
        )
        if snapshot.id:
            feeds.save_snapshot(connection, snapshot)
        else:
            snapshot = replace(snapshot, id=feeds.add_snapshot(connection, snapshot))
            self._keep_findings(connection, snapshot.id, judged.findings)
        name = self._context.name
        feed = feeds.find_feed(connection, name)
        last = feeds.find_snapshot(connection, feed.accepted_id)
        came_due = roster.apply_due(connection, name, self._today) if snapshot.delta else 0
        counting = snapshot.complete and not snapshot.delta and not partial and _is_news(snapshot, last)
        notes: list[str] = []
        if counting:
            # Before the roster changes: who came in this very file cannot be missing from it.
            counting = self._find_missing(staged, notes)
        gone = roster.record_absences(staged, snapshot.id, self._today, vouched=snapshot.vouched, counts=counting)
        roster.take_over(staged, snapshot.id, delta=snapshot.delta or partial)
        people = staged.good_people() if snapshot.delta or partial else None
        cleared = feeds.clear_rejections(connection, name, snapshot.id, people)
        unmapped = self._queue_titles(connection)
        feeds.drop_staged(connection, feed.quarantined_id)
        whole = snapshot.complete and not partial
        accepted = snapshot.id if whole or feed.accepted_id is None else feed.accepted_id
        feeds.save_feed(connection, Feed(name, feeds.OPEN, "", self._clock.now(), accepted))
        if judged.findings.surplus:
            notes.append(f"{judged.findings.surplus:,} further findings are not kept.")
        return replace(
            _result(snapshot, judged, notes),
            missing=gone.reported,
            absent=gone.confirmed,
            returned=gone.returned,
            came_due=came_due,
            cleared=cleared,
            unmapped=unmapped,
        )

    def _find_missing(self, staged: Staging, notes: list[str]) -> bool:
        """Note who is missing, but for those a refused row may be about; say whether anybody may be missed at all."""
        roster.find_missing(staged)
        seen_in = trust.traces(staged.refused_people())
        if seen_in.blind:
            notes.append(
                f"{seen_in.blind:,} refused rows do not say whom they are about, so nobody is missed for lack of a row."
            )
            return False
        if seen_in.emails or seen_in.names:
            spared = [
                roster_id
                for roster_id, _, email, first_name, last_name in roster.missing_people(staged)
                if seen_in.may_be(email, first_name, last_name)
            ]
            roster.not_missing(staged, spared)
        return True

    def _quarantine(self, staged: Staging, judged: _Judged, guards: Iterable[Guard]) -> IngestResult:
        """Keep the file for a person to decide about, and the feed's last good state as it is."""
        connection = staged.connection
        snapshot_id, snapshot = self._into_quarantine(connection, judged.snapshot, guards, _numbers(judged))
        self._keep_findings(connection, snapshot_id, judged.findings)
        staged.keep(snapshot_id)
        return _result(snapshot, judged, ())

    def _into_quarantine(
        self, connection: Any, snapshot: Snapshot, guards: Iterable[Guard], counts: Mapping[str, Any]
    ) -> tuple[int, Snapshot]:
        tripped = tuple(guards)
        feed = feeds.find_feed(connection, self._context.name)
        feeds.drop_staged(connection, feed.quarantined_id)
        snapshot = replace(
            snapshot,
            state=feeds.QUARANTINED,
            guards=tuple(asdict(guard) for guard in tripped),
            counts=counts,
            # A manifest that speaks of another content says nothing of this one, also once a person releases it.
            vouched=snapshot.vouched and not any(trust.is_about_manifest(guard) for guard in tripped),
        )
        snapshot = replace(snapshot, id=feeds.add_snapshot(connection, snapshot))
        reason = f"{snapshot.file}: {' '.join(guard.says for guard in tripped)}"
        feeds.save_feed(
            connection,
            Feed(feed.name, feeds.QUARANTINED, reason, self._clock.now(), feed.accepted_id, snapshot.id),
        )
        return snapshot.id, snapshot

    def _unreadable(self, snapshot: Snapshot, incoming: Incoming, fault: Fault) -> IngestResult:
        """Put a file into quarantine of which not one row can be read."""
        guard = Guard("unreadable", fault.message, fault.remedy)
        snapshot = replace(snapshot, vouched=incoming.has_manifest)
        with self._begin() as connection:
            snapshot_id, snapshot = self._into_quarantine(connection, snapshot, [guard], {})
            feeds.add_rejections(connection, [Rejection(self._context.name, snapshot_id, fault)])
        return _result_of(snapshot, snapshot, ())

    def _refused(self, snapshot: Snapshot, why: str) -> IngestResult:
        """Record a file that is not taken at all: the feed goes on as it was."""
        guard = Guard(
            "older",
            why,
            "Nothing was changed. Send a file from after the last accepted one; if this one is meant, put a later date "
            "into its name, as in people_2026-12-31.csv.",
        )
        snapshot = replace(snapshot, state=feeds.REFUSED, guards=(asdict(guard),), decided_at=self._clock.now())
        with self._begin() as connection:
            before = feeds.latest_with(connection, snapshot.feed, snapshot.sha256, feeds.REFUSED)
            # It lies in the drop until somebody takes it away, and is refused each night: once is enough to remember.
            known = before.id if before is not None and before.guards == snapshot.guards else None
            snapshot = replace(snapshot, id=known or feeds.add_snapshot(connection, snapshot))
        return _result_of(snapshot, snapshot, ())

    def _out_of_order(self, snapshot: Snapshot, held: Snapshot) -> IngestResult:
        """Refuse changes while earlier ones are in quarantine: taken over first, they would be lost for good."""
        name = self._context.name
        guard = Guard(
            "out-of-order",
            f"The changes of {held.file} came before these and are in quarantine.",
            f"Release or discard them first (`lms-bridge feed release {name}`), or have {held.file} sent again, "
            "corrected, under its name; then take this file in.",
        )
        snapshot = replace(snapshot, state=feeds.REFUSED, guards=(asdict(guard),))
        return _result_of(snapshot, snapshot, ())

    def _identical(self, feed: Feed, last: Snapshot, incoming: Incoming, *, newer: bool) -> IngestResult:
        """Take a file whose every byte is as in the last accepted one: only what the calendar changes happens.

        Where the date in its name says that it is a newer one, or a manifest vouches for it, it confirms who was
        missing already.
        """
        counts = last.counts
        name = self._context.name
        with self._begin() as connection:
            created, updated = roster.due_counts(connection, name, self._today, last.id)
            came_due = roster.apply_due(connection, name, self._today)
            waiting = roster.waiting_count(connection, name, last.id)
            absent = 0
            vouched = incoming.manifest_sha256 == last.sha256 or incoming.manifest_rows == last.rows
            if (newer or vouched) and last.complete and not last.delta:
                absent = roster.repeat_absences(connection, name, last.id, self._today, vouched=vouched)
            if newer:
                feeds.save_snapshot(connection, replace(last, stamp=incoming.stamp))
            unmapped = self._queue_titles(connection)
            feeds.drop_staged(connection, feed.quarantined_id)
            feeds.save_feed(connection, Feed(name, feeds.OPEN, "", self._clock.now(), feed.accepted_id))
        rejected, held = int(counts.get(REFUSED, 0)), int(counts.get(HELD, 0))
        return IngestResult(
            name,
            incoming.name,
            IDENTICAL,
            last.id,
            rows=last.rows,
            created=created,
            updated=updated,
            unchanged=last.rows - created - updated - waiting - held - rejected,
            waiting=waiting,
            held=held,
            rejected=rejected,
            absent=absent,
            came_due=came_due,
            unmapped=unmapped,
            notes=(f"Every byte is as in {last.file}, which was accepted before.",),
        )

    # --- A person's decision ----------------------------------------------------------------------------------------

    def release(self, reason: str, *, partial: bool, discard: bool) -> IngestResult:
        """Accept or discard what is in quarantine."""
        name = self._context.name
        with self._store.read() as connection:
            feed = feeds.find_feed(connection, name)
            snapshot = feeds.find_snapshot(connection, feed.quarantined_id)
        if not feed.quarantined or snapshot is None:
            raise FixConfiguration(f"Nothing of the feed {name} is in quarantine. See `lms-bridge feed status`.")
        snapshot = replace(snapshot, reason=reason, as_of=self._today)
        if discard:
            with self._begin() as connection:
                gone = replace(snapshot, state=feeds.DISCARDED, decided_at=self._clock.now())
                feeds.save_snapshot(connection, gone)
                feeds.clear_rejections_of(connection, snapshot.id)
                feeds.drop_staged(connection, snapshot.id)
                feeds.save_feed(connection, Feed(name, feeds.OPEN, "", self._clock.now(), feed.accepted_id))
            return _result_of(gone, gone, ("It was discarded; the last good state holds.",))
        if not snapshot.rows:
            raise FixConfiguration(
                f"{snapshot.file} has no row that could be accepted. "
                f"Discard it with `lms-bridge feed release {name} --discard --reason TEXT`, or send a good file."
            )
        with staging(self._store, name, self._context.others) as staged:
            findings = Findings()
            with staged.writing():
                staged.take_back(snapshot.id, snapshot.rows)
                judged = self._judge(staged, snapshot, findings, None)
                self._keep_findings(staged.connection, snapshot.id, findings)
                result = self._accept(staged, judged, partial=partial)
                self._confirm(staged.connection)
        return result

    # --- Notes ------------------------------------------------------------------------------------------------------

    def _keep_findings(self, connection: Any, snapshot_id: int, findings: Findings) -> None:
        feeds.add_rejections(connection, (_rejection(self._context.name, snapshot_id, one) for one in findings.found))

    def _queue_titles(self, connection: Any) -> int:
        """Bring the queue of titles without a position up to date; return how many people have one."""
        finder = self._context.finder
        if finder is None:
            return 0
        waiting: dict[tuple[str, str, str], int] = {}
        for title, unit, grade, code, people in roster.titles_in_use(connection, self._context.name):
            if finder.find(title, unit, grade, code).position is None:
                key = (title, unit, grade)
                waiting[key] = waiting.get(key, 0) + people
        feeds.save_unmapped(
            connection,
            self._context.name,
            (UnmappedTitle(self._context.name, *key, people, self._today) for key, people in sorted(waiting.items())),
        )
        return sum(waiting.values())


def _is_news(snapshot: Snapshot, last: Snapshot | None) -> bool:
    """Tell whether a file says anything that the last accepted one has not said: the same bytes, read anew because
    the rules changed, are no second witness."""
    if last is None or last.id == snapshot.id or snapshot.sha256 != last.sha256:
        return True
    return snapshot.vouched or trust.says_newer(snapshot.file, last.stamp)


def _rejection(feed: str, snapshot_id: int, one: Found) -> Rejection:
    return Rejection(feed, snapshot_id, one.fault, one.person, one.refused, one.cells)


def _doubtful(doubts: Collection[Fault]) -> list[Guard]:
    """Return what is wrong with a file as a whole as guards."""
    return [Guard(fault.rule, f"{fault.place}: {fault.message}", fault.remedy) for fault in doubts]


def _constants(settings: FeedSettings) -> frozenset[str]:
    """Return the fields that need no column."""
    return frozenset(name for name, rule in settings.columns.items() if rule.constant is not None)


def _numbers(judged: _Judged) -> dict[str, Any]:
    return {**judged.counts, "changed": dict(judged.changed), "terminated": judged.leavers}


def _result(snapshot: Snapshot, judged: _Judged, notes: Iterable[str]) -> IngestResult:
    found = _result_of(snapshot, snapshot, notes)
    return replace(found, remarks=sum(not one.refused for one in judged.findings.found))


def _result_of(counted: Snapshot, snapshot: Snapshot, notes: Iterable[str]) -> IngestResult:
    """Return the result of a snapshot from the numbers recorded with one."""
    counts = counted.counts
    return IngestResult(
        snapshot.feed,
        snapshot.file,
        snapshot.state,
        counted.id or None,
        rows=counted.rows,
        created=int(counts.get(CREATED, 0)),
        updated=int(counts.get(UPDATED, 0)),
        unchanged=int(counts.get(UNCHANGED, 0)),
        waiting=int(counts.get(WAITING, 0)),
        held=int(counts.get(HELD, 0)),
        rejected=int(counts.get(REFUSED, 0)),
        changed=dict(counts.get("changed", {})),
        terminated=int(counts.get("terminated", 0)),
        guards=tuple(Guard(**one) for one in counted.guards),
        notes=tuple(notes),
        vouched=counted.vouched,
    )
