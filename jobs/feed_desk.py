"""From settings to feeds: what a feed's rows are measured by, where its files come from, and taking in what arrived."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bridge.feed_settings import FeedSettings, PgpOptions
from bridge.model import Architecture
from bridge.ports import BridgeError, FixConfiguration, SkipItem
from bridge.rows import Column
from bridge.settings import Settings
from bridge.store import Store, feeds
from bridge.sync.clock import Clock
from bridge.sync.lease import Tenure
from bridge.sync.trust import says_newer
from connectors.feeds import (
    Arrival,
    FeedSource,
    FolderFeed,
    FolderSettings,
    NotYet,
    Order,
    PgpSettings,
    Readiness,
    ReadyWhen,
    ReceivedFile,
    SftpServer,
    SftpSettings,
)
from connectors.tables import UnreadableTable, open_table
from jobs.architecture import read_architecture
from jobs.feed_reading import read_lookups
from jobs.ingest import FeedContext, Incoming, Ingestion, IngestResult, holding_feed
from jobs.retention import expire_feed
from jobs.title_log import Layered, recorded
from mappings.positions import ListedDecisions, PositionFinder, TitleDecisions
from mappings.titles.decisions import RecordedDecisions

DEFAULT_FEED = "hr"
"""Name of the feed that `--file` speaks of where bridge.toml names none."""


DECIDED = (
    Column("job_title", ("title",), required=True),
    Column("department_code", ("department", "unit"), key=True),
    Column("position", ("position_code",), required=True, key=True),
)
"""The columns of a list of decided titles."""


def feed_named(settings: Settings, name: str | None) -> tuple[str, FeedSettings]:
    """Return a feed by name; without a name the only one there is, or one with nothing but defaults.

    Raises FixConfiguration where the name is not there, or several are and none is given.
    """
    known = ", ".join(sorted(settings.feeds))
    if name is None:
        if len(settings.feeds) > 1:
            raise FixConfiguration(f"There are several feeds ({known}). Say which one with --feed NAME.")
        return next(iter(settings.feeds.items()), (DEFAULT_FEED, FeedSettings()))
    if name not in settings.feeds:
        if name == DEFAULT_FEED and not settings.feeds:
            return name, FeedSettings()
        raise FixConfiguration(
            f"There is no feed {name!r} in bridge.toml. " + (f"There are: {known}." if known else "It names none.")
        )
    return name, settings.feeds[name]


def model_of(settings: Settings, feed: FeedSettings) -> Architecture | None:
    """Return the job architecture that a feed's units and titles are measured by; None where nobody names one.

    Raises FixConfiguration where it has faults: half a list of units would refuse good people.
    """
    folder = feed.model
    if not folder:
        models = {site.model for site in settings.sites.values() if site.model}
        folder = next(iter(models)) if len(models) == 1 else ""
    if not folder:
        return None
    reading = read_architecture(settings.folder / folder)
    if reading.faults:
        raise FixConfiguration(
            f"The job architecture in {folder} cannot be read without fault, so nobody can say which units there are. "
            f"The first fault of {len(reading.faults):,}: {reading.faults[0]} "
            f"`lms-bridge plan --model {folder}` lists all of them."
        )
    return reading.architecture


def finder_of(
    settings: Settings, feed: FeedSettings, architecture: Architecture | None, made: RecordedDecisions | None = None
) -> PositionFinder | None:
    """Return what finds positions for titles; None where there is neither a catalogue nor a decision.

    `made` are the decisions recorded in the store; they go before those of a list.
    """
    decisions: TitleDecisions | None = None
    if feed.decisions:
        try:
            with open_table(settings.folder / feed.decisions, DECIDED) as table:
                if table.faults:
                    raise FixConfiguration(f"The decided titles cannot be read. {table.faults[0]}")
                decisions = ListedDecisions.from_rows(table.rows)
        except UnreadableTable as error:
            raise FixConfiguration(
                f"The decided titles in {settings.folder / feed.decisions} cannot be read. {error.fault.message} "
                "Check `decisions` in the feed's settings; it is seen from the folder of bridge.toml."
            ) from error
    if made:
        decisions = Layered(made, decisions) if decisions is not None else made
    if architecture is None and decisions is None:
        return None
    return PositionFinder(architecture.positions if architecture else (), decisions)


def context_of(
    settings: Settings, name: str | None, store: Store | None = None, as_of: dt.date | None = None
) -> FeedContext:
    """Return a feed with everything its rows are measured by. Raises FixConfiguration where settings do not suffice.

    With a `store`, the title decisions recorded there count that are in effect on `as_of`.
    """
    found, feed = feed_named(settings, name)
    architecture = model_of(settings, feed)
    units = None
    if architecture is not None and "organisations" in architecture.given:
        units = frozenset(unit.key for unit in architecture.organisations)
    return FeedContext(
        found,
        feed,
        tuple(other for other in settings.feeds if other != found),
        units,
        finder_of(settings, feed, architecture, recorded(store, as_of) if store is not None and as_of else None),
        read_lookups(feed, settings.folder),
    )


def source_of(settings: Settings, name: str, feed: FeedSettings, clock: Clock) -> FeedSource:
    """Return where a feed's files arrive. Raises FixConfiguration where the settings do not say."""
    place = f"bridge.toml, [feeds.{name}]"
    if not feed.path and feed.kind == "folder":
        raise FixConfiguration(
            f"{place}: `path` is missing. Say in which folder the files arrive, or name a file with --file."
        )

    def secret(reference: str, what: str) -> str | None:
        return settings.secret(reference, f"{place}: {what}").get_secret_value() if reference else None

    readiness = Readiness(ReadyWhen(feed.ready), feed.interval)
    order = Order(feed.order)
    pgp = _pgp(settings.folder, feed.pgp, secret)
    if feed.kind == "folder":
        path = settings.folder / feed.path
        return FolderFeed(
            FolderSettings(
                pattern=feed.pattern,
                order=order,
                readiness=readiness,
                archive=feed.archive,
                max_bytes=feed.max_bytes,
                max_entries=feed.max_entries,
                pgp=pgp,
                place=place,
                path=path,
            ),
            clock,
        )
    if not feed.host or not feed.user:
        raise FixConfiguration(f"{place}: an SFTP feed needs `host` and `user`.")
    from connectors.feeds import SftpFeed  # only those who use SFTP wait for its libraries

    server = SftpServer(
        host=feed.host,
        user=feed.user,
        port=feed.port,
        host_keys=feed.host_keys,
        password=secret(feed.password, "password"),
        key_file=settings.folder / feed.key_file if feed.key_file else None,
        key_passphrase=secret(feed.key_passphrase, "key_passphrase"),
        connect_seconds=feed.connect_seconds,
        operation_seconds=feed.operation_seconds,
        total_seconds=feed.total_seconds,
        attempts=feed.attempts,
        place=place,
    )
    return SftpFeed(
        SftpSettings(
            pattern=feed.pattern,
            order=order,
            readiness=readiness,
            archive=feed.archive,
            max_bytes=feed.max_bytes,
            max_entries=feed.max_entries,
            pgp=pgp,
            place=place,
            server=server,
            path=feed.path or ".",
        ),
        clock,
    )


def _pgp(folder: Path, options: PgpOptions | None, secret: Callable[[str, str], str | None]) -> PgpSettings | None:
    if options is None:
        return None
    return PgpSettings(
        home=folder / options.home,
        signers=options.signers,
        encrypted=options.encrypted,
        passphrase=secret(options.passphrase, "pgp.passphrase"),
    )


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one look into a feed's drop came to."""

    results: tuple[IngestResult, ...] = ()
    waiting: tuple[str, ...] = ()
    """Files that cannot be taken yet, each with the reason."""
    refused: tuple[str, ...] = ()
    """Files that are not taken, each with the reason."""
    again: tuple[str, ...] = ()
    """Files that were dealt with on an earlier day."""
    troubles: tuple[str, ...] = ()
    """What did not work beside: files that were taken over and could not be archived, archives that are not tidy."""
    expired: tuple[str, ...] = ()
    """What was removed because its time was over, in words."""

    @property
    def exit_code(self) -> int:
        """3 where a file is not taken or not believed, 2 where the archive is in trouble, 4 where rows are rejected."""
        codes = {result.exit_code for result in self.results}
        codes |= {3} if self.refused else set()
        codes |= {2} if self.troubles else set()
        return next((code for code in (3, 2, 4) if code in codes), 0)


def ingest_arrivals(
    store: Store, settings: Settings, context: FeedContext, as_of: dt.date, clock: Clock | None = None
) -> Delivery:
    """Take in every file that lies whole in a feed's drop, in order. A taken one goes to the archive; any other stays
    there with a note that says why. Of a feed of changes none is taken before those that were sent earlier.

    Raises SiteBusy where another program works on the feed.
    """
    clock = clock or Clock()
    # From the first look on: two programs that fetch the same file at once would take it from under each other's hands.
    with holding_feed(store, context, "ingest", clock) as tenure:
        return _take_arrivals(store, settings, context, as_of, clock, tenure)


def _take_arrivals(
    store: Store, settings: Settings, context: FeedContext, as_of: dt.date, clock: Clock, tenure: Tenure
) -> Delivery:
    source = source_of(settings, context.name, context.settings, clock)
    inbox = settings.folder / ".lms-bridge" / "inbox" / context.name
    look = _Look(store, context, source, inbox, Ingestion(store, context, as_of, clock, tenure.confirm))
    in_order, by_name = context.settings.snapshot == "delta", context.settings.order == "name"
    try:
        survey = source.survey()
        look.waiting += [f"{one.name}: {one.why}" for one in survey.waiting]
        look.refused += [f"{one.name}: {one.why}" for one in survey.refused]
        stopped = ""
        for arrival in survey.ready:
            # By date nobody knows where in the order a file stands that is still growing.
            growing = (one.name for one in survey.waiting if not by_name or one.name < arrival.name)
            ahead = stopped or next(growing, "")
            if in_order and ahead:
                look.waiting.append(
                    f"{arrival.name}: {ahead} comes first; changes are taken in the order they are sent."
                )
            elif not look.take(arrival):
                stopped = arrival.name
        gone = expire_feed(store, settings.retention, context.name, source, clock.now())
    finally:
        source.close()
    return Delivery(
        tuple(look.results),
        tuple(look.waiting),
        tuple(look.refused),
        tuple(look.again),
        (*look.troubles, *gone.troubles),
        gone.in_words(),
    )


@dataclass(slots=True)
class _Look:
    """One look into a drop, and what it has come to so far."""

    store: Store
    context: FeedContext
    source: FeedSource
    inbox: Path
    ingestion: Ingestion
    results: list[IngestResult] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def take(self, arrival: Arrival) -> bool:
        """Take in one file; say whether it is dealt with, so that files sent after it may follow."""
        try:
            received = self.source.take(arrival, self.inbox, self._seen)
        except SkipItem as error:
            self.source.leave(arrival, str(error))
            self.refused.append(f"{arrival.name}: {error}")
            return False
        except NotYet as error:
            self.waiting.append(f"{arrival.name}: {error}")
            return False
        if received.repeated and _is_done_with(self.store, self.context.name, received):
            received.path.unlink(missing_ok=True)
            self.again.append(
                f"{received.name}: this very file was dealt with before; it is now {self._archive(received)}"
            )
            return True
        try:
            result = self.ingestion.take_in(Incoming.of_received(received))
        finally:
            received.path.unlink(missing_ok=True)
        self.results.append(result)
        if result.exit_code == 3:
            self.source.leave(received, " ".join(str(guard) for guard in result.guards))
            return result.state != feeds.QUARANTINED
        self._archive(received)
        return True

    def _seen(self, sha256: str) -> bool:
        with self.store.read() as connection:
            return feeds.was_received(connection, self.context.name, sha256)

    def _archive(self, received: ReceivedFile) -> str:
        """Move a file to the archive. One that cannot be moved has been taken over all the same."""
        try:
            return self.source.archive(received)
        except BridgeError as error:
            self.troubles.append(f"{received.name} was taken over, but not moved to the archive: {error}")
            return f"where it was. {error}"


def _is_done_with(store: Store, feed: str, received: ReceivedFile) -> bool:
    """Tell whether a content needs no second look: somebody or something decided about it, it is not the last accepted
    one, which may bring rows whose day has come, and its name does not say that it is from a later day. A file that a
    person discarded is done with under its name, whatever day that says."""
    with store.read() as connection:
        last = feeds.find_snapshot(connection, feeds.find_feed(connection, feed).accepted_id)
        if not feeds.was_decided(connection, feed, received.sha256):
            return False
        discarded = feeds.latest_with(connection, feed, received.sha256, feeds.DISCARDED)
        if discarded is not None and discarded.file == received.name:
            return True
        return last is None or (received.sha256 != last.sha256 and not says_newer(received.name, last.stamp))
