"""What a site should say: its job architecture, and the people of the feeds that belong to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bridge.faults import Fault
from bridge.model import Architecture, Desired
from bridge.ports import FixConfiguration
from bridge.settings import PilotSettings, Settings
from bridge.store import Store, feeds, roster
from bridge.store.feeds import Feed, Snapshot
from bridge.sync.clock import Clock
from jobs.architecture import ArchitectureReading, read_architecture
from jobs.feed_desk import DEFAULT_FEED, finder_of
from jobs.pilot import Pilot
from jobs.sites import Workplace
from jobs.title_log import recorded
from jobs.workforce import feed_organisations, feed_positions, workforce
from mappings.architecture.cells import TOO_LONG
from mappings.positions import PositionFinder


class FaultyFiles(FixConfiguration):
    """The files of the job architecture have faults; nothing is planned from them."""

    def __init__(self, folder: Path, faults: tuple[Fault, ...]) -> None:
        shown = "\n  ".join(str(fault) for fault in faults[:50])
        more = f"\n  and {len(faults) - 50:,} more" if len(faults) > 50 else ""
        count = "1 fault" if len(faults) == 1 else f"{len(faults):,} faults"
        super().__init__(
            f"{count} in {folder}. Nothing was planned or sent: mend them and run this again.\n  {shown}{more}"
        )
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Wish:
    """What a command asks for beside the settings: where the architecture is, which day is today, and for whom."""

    model: Path | None = None
    as_of: dt.date | None = None
    """The day that counts as today everywhere; None: the day it is here."""
    scope: PilotSettings = field(default_factory=PilotSettings)
    """Only this part of the company, within the standing pilot."""

    def today(self, clock: Clock) -> dt.date:
        """Return the day that counts as today."""
        return self.as_of or dt.datetime.fromtimestamp(clock.now()).astimezone().date()


def read_model(folder: Path) -> ArchitectureReading:
    """Read a job architecture. Raises FaultyFiles with every fault at once."""
    reading = read_architecture(folder)
    if reading.faults:
        raise FaultyFiles(folder, reading.faults)
    return reading


def wanted(place: Workplace, wish: Wish, clock: Clock) -> Desired:
    """Return what the site should say.

    Raises FaultyFiles, FeedQuarantined where a feed of the site is in quarantine (but not where no kind of people is
    planned), and FixConfiguration where the settings do not suffice.
    """
    names = feeds_of(place) if place.rules.scope.of_people else ()
    architecture, said = _architecture(place, wish.model, names)
    if not names:
        if wish.scope:
            raise FixConfiguration(
                f"--scope speaks of people, but no feed of people belongs to the site {place.site}. Name its feeds in "
                f"bridge.toml (`feeds = [...]` under [sites.{place.site}]), or leave --scope out."
            )
        return Desired(architecture, notes=said)
    arrived = [name for name in names if _is_known(place.store, name)]
    notes = [
        f"Nothing was accepted from the feed {name} yet, so nothing is planned for its people: `lms-bridge ingest`."
        for name in names
        if name not in arrived
    ]
    notes[:0] = said
    if not arrived:
        return Desired(architecture, notes=tuple(notes))
    today = wish.today(clock)
    architecture = with_feed_columns(architecture, place.store, arrived)
    pilot = Pilot.of((place.settings.pilot, wish.scope), architecture)
    people = workforce(place.store, arrived, today, _finders(place, arrived, architecture, today), pilot)
    notes += [_provenance(place.store, name, today) for name in arrived]
    if pilot:
        notes += _about(pilot, place.store, arrived, len(people.people))
    return Desired(architecture, people, tuple(notes))


def with_feed_columns(architecture: Architecture, store: Store, names: Sequence[str]) -> Architecture:
    """Return an architecture with the units and positions that feeds speak of, where no file lists them."""
    if "organisations" not in architecture.given:
        architecture = replace(architecture, organisations=feed_organisations(store, names))
    if "positions" not in architecture.given:
        architecture = replace(architecture, positions=feed_positions(store, names))
    return architecture


def feeds_of(place: Workplace) -> tuple[str, ...]:
    """Return the feeds whose people a site holds. See `feeds_of_site`."""
    return feeds_of_site(place.configuration, place.store, place.site)


def feeds_of_site(settings: Settings, store: Store, site: str) -> tuple[str, ...]:
    """Return the feeds whose people a site holds, the one that speaks first where several list somebody.

    Those its `feeds` name; where that is not said and there is one site only, every feed there is.
    Raises FixConfiguration for a feed that bridge.toml does not have.
    """
    known, given = settings.feeds, settings.sites[site].feeds
    if given is not None:
        unknown = [name for name in given if name not in known and not _is_by_hand(store, name)]
        if unknown:
            there = f"There are: {', '.join(known)}." if known else "It names none."
            raise FixConfiguration(
                f"The site {site} takes people from {', '.join(unknown)}, which is no feed in bridge.toml. {there}"
            )
        return given
    if len(settings.sites) > 1:
        return ()
    if known:
        return tuple(known)
    return (DEFAULT_FEED,) if _is_by_hand(store, DEFAULT_FEED) else ()


def _is_by_hand(store: Store, name: str) -> bool:
    """Say whether a file was taken in for the feed that needs no settings."""
    return name == DEFAULT_FEED and _is_known(store, name)


def _is_known(store: Store, name: str) -> bool:
    """Say whether anything came from a feed that was accepted, or waits in quarantine."""
    with store.read() as connection:
        feed = feeds.find_feed(connection, name)
    return feed.accepted_id is not None or feed.quarantined


def _architecture(place: Workplace, model: Path | None, names: Sequence[str]) -> tuple[Architecture, tuple[str, ...]]:
    """Return the job architecture, and what a reviewer should know of its files; without one, of the model that the
    site's feeds name its units and positions."""
    if model is not None or place.settings.model or not names:
        reading = read_model(place.model_folder(model))
        return reading.architecture, tuple(_doubts(reading))
    known = place.configuration.feeds
    folders = list(dict.fromkeys(known[name].model for name in names if name in known and known[name].model))
    if len(folders) != 1:
        return Architecture(), ()
    whole = read_model(place.folder / folders[0]).architecture
    needed = Architecture(
        families=whole.families,
        positions=whole.positions,
        organisations=whole.organisations,
        given=whole.given & {"job_families", "positions", "organisations"},
    )
    return needed, ()


def _doubts(reading: ArchitectureReading) -> Iterator[str]:
    """Yield what stops nothing but may be a mistake: columns, sheets and files that nothing reads, doubtful keys."""
    # A name that is too long for an LMS is remarked upon by its connector, which knows the limit and what comes of it.
    yield from (str(remark) for remark in reading.remarks if remark.rule != TOO_LONG)
    if reading.ignored:
        yield f"Nothing reads these files of the folder; a misspelt name may be why: {', '.join(reading.ignored)}."


def _finders(
    place: Workplace, names: Sequence[str], architecture: Architecture, today: dt.date
) -> dict[str, PositionFinder]:
    """Return what places the titles of each feed: the site's catalogue, recorded decisions, and the feed's own list."""
    made = recorded(place.store, today)
    found = {}
    for name in names:
        settings = place.configuration.feeds.get(name)
        if settings is None:
            found[name] = PositionFinder(architecture.positions, made)
            continue
        finder = finder_of(place.configuration, settings, architecture, made)
        if finder is not None:
            found[name] = finder
    return found


def _provenance(store: Store, name: str, today: dt.date) -> str:
    """Say which file people come from."""
    with store.read() as connection:
        feed: Feed = feeds.find_feed(connection, name)
        snapshot: Snapshot | None = feeds.find_snapshot(connection, feed.accepted_id)
        roll = roster.roll_of(connection, name)
    file = snapshot.file if snapshot is not None else "no file"
    said = f"People from the feed {name} ({file}) as of {today}: {roll.people:,} work here"
    if roll.missing:
        said += f", {roll.missing:,} are missing from the last file (nothing happens to them yet)"
    if roll.absent:
        said += f", {roll.absent:,} are gone for certain"
    return said + "."


def _about(pilot: Pilot, store: Store, names: Sequence[str], people: int) -> list[str]:
    """Say what the pilot comes to."""
    notes = [f"Only part of the company is pushed ({pilot.words}): {people:,} people. Nobody else is touched."]
    with store.read() as connection:
        listed = roster.who_is_listed(connection, names, pilot.people)
    unknown = [key for key in pilot.people if key not in listed]
    if unknown:
        notes.append(
            f"No feed lists {', '.join(unknown[:10])}{', …' if len(unknown) > 10 else ''}, whom the scope names."
        )
    return notes
