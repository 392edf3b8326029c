"""From settings to feeds: what a feed's rows are measured by, where its files come from, and taking in what arrived."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bridge.feed_settings import FeedSettings, PgpOptions
from bridge.model import Architecture
from bridge.ports import FixConfiguration, SkipItem
from bridge.settings import Settings
from bridge.store import Store, feeds
from bridge.sync.clock import Clock
from connectors.feeds import (
    FeedSource,
    FolderFeed,
    FolderSettings,
    Order,
    PgpSettings,
    Readiness,
    ReadyWhen,
    SftpServer,
    SftpSettings,
)
from connectors.tables import open_table
from jobs.architecture import read_architecture
from jobs.feed_reading import read_lookups
from jobs.ingest import FeedContext, Incoming, IngestResult, ingest
from jobs.title_log import Layered, recorded
from mappings.positions import ListedDecisions, PositionFinder, TitleDecisions
from mappings.titles.decisions import RecordedDecisions

DEFAULT_FEED = "hr"
"""Name of the feed that `--file` speaks of where bridge.toml names none."""


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
            f"The job architecture in {folder} has {len(reading.faults):,} faults, so nobody can say which units "
            f"there are. The first: {reading.faults[0]} See all with `lms-bridge validate --model {folder}`."
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
        with open_table(settings.folder / feed.decisions) as table:
            decisions = ListedDecisions.from_rows(table.rows)
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
        place=place,
    )
    return SftpFeed(
        SftpSettings(
            pattern=feed.pattern,
            order=order,
            readiness=readiness,
            archive=feed.archive,
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
    """Files that are not whole yet, each with the reason."""
    refused: tuple[str, ...] = ()
    """Files that are not taken, each with the reason."""
    again: tuple[str, ...] = ()
    """Files that were dealt with on an earlier day."""

    @property
    def exit_code(self) -> int:
        """3 where a file is not taken or not believed, 4 where rows are rejected, else 0."""
        codes = {result.exit_code for result in self.results} | ({3} if self.refused else set())
        return next((code for code in (3, 4) if code in codes), 0)


def ingest_arrivals(
    store: Store, settings: Settings, context: FeedContext, as_of: dt.date, clock: Clock | None = None
) -> Delivery:
    """Take in every file that lies whole in a feed's drop, in order. A taken one goes to the archive; any other stays
    there with a note that says why."""
    clock = clock or Clock()
    inbox = settings.folder / ".lms-bridge" / "inbox" / context.name
    source = source_of(settings, context.name, context.settings, clock)

    def seen(sha256: str) -> bool:
        with store.read() as connection:
            return feeds.was_received(connection, context.name, sha256)

    results: list[IngestResult] = []
    refused: list[str] = []
    again: list[str] = []
    try:
        survey = source.survey()
        refused += [f"{one.name}: {one.why}" for one in survey.refused]
        for arrival in survey.ready:
            try:
                received = source.take(arrival, inbox, seen)
            except SkipItem as error:
                source.leave(arrival, str(error))
                refused.append(f"{arrival.name}: {error}")
                continue
            if received.repeated and _is_done_with(store, context.name, received.sha256):
                received.path.unlink(missing_ok=True)
                again.append(f"{received.name}: this very file was dealt with before; it went to the archive.")
                source.archive(received)
                continue
            try:
                result = ingest(store, context, Incoming.of_received(received), as_of, clock)
            finally:
                received.path.unlink(missing_ok=True)
            results.append(result)
            if result.exit_code == 3:
                source.leave(received, " ".join(str(guard) for guard in result.guards))
            else:
                source.archive(received)
    finally:
        source.close()
    return Delivery(
        tuple(results), tuple(f"{one.name}: {one.why}" for one in survey.waiting), tuple(refused), tuple(again)
    )


def _is_done_with(store: Store, feed: str, sha256: str) -> bool:
    """Tell whether a content needs no second look: somebody or something decided about it, and it is not the last
    accepted one, which may bring rows whose day has come."""
    with store.read() as connection:
        last = feeds.find_snapshot(connection, feeds.find_feed(connection, feed).accepted_id)
        return feeds.was_decided(connection, feed, sha256) and (last is None or last.sha256 != sha256)
