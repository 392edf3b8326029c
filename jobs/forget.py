"""Forgetting a person: what goes, what cannot go and why, and when it is too early."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from bridge.ports import FixConfiguration, SafetyLimit
from bridge.settings import Settings
from bridge.store import Store, feeds, journal
from bridge.store.forgetting import FORGOTTEN, Known, forget_person, known_of, wipe_free_space
from bridge.store.state import table_of
from bridge.store.tables import BaseRow
from bridge.sync.clock import Clock
from bridge.sync.lease import FEED_LEASE, holding

ACCOUNTS = frozenset({"user", "person"})
"""Kinds whose key is a person's: an account in Moodle, a person in Totara."""

PEOPLE = ACCOUNTS | {"cohort_member", "plan", "plan_competency", "linked_plan", "enrolment", "job"}
"""Kinds whose keys are a person's or begin with it."""


class NotYet(SafetyLimit):
    """The person still works here, or something about them is under way."""


@dataclass(frozen=True, slots=True)
class Stays:
    """Something that the bridge cannot take away, or that others need."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} {self.why}"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What became of a wish to forget somebody."""

    person: str
    known: Known
    gone: dict[str, int]
    """How much was taken out, by what it was; empty where it was only looked at."""
    stays: tuple[Stays, ...]
    run: int | None = None


def look(store: Store, settings: Settings, person: str) -> Forgotten:
    """Say what the store knows of a person and what would stay. Changes nothing. Raises FixConfiguration where there
    is nothing."""
    with store.read() as connection:
        known = known_of(connection, person, PEOPLE, ACCOUNTS)
    if not known.anything:
        raise FixConfiguration(
            f"The store holds nothing about “{person}”. Give the person's number as the feeds write it."
        )
    return Forgotten(person, known, {}, tuple(_staying(settings, known)))


def why_not(person: str, known: Known) -> list[str]:
    """Return what speaks against forgetting a person now, each with what to do first."""
    said = []
    if known.unsettled:
        said.append(
            f"Something sent about {person} to {_names(known.unsettled)} has not been answered for. "
            "Run `lms-bridge push` there, which settles it."
        )
    if known.doubtful:
        said.append(
            f"A file of {_names(known.doubtful)} in quarantine lists {person}. "
            "Release or discard it first: `lms-bridge feed status`."
        )
    if known.listed:
        said.append(
            f"By {_names(known.listed)}, {person} works here: the next file would bring everything back. "
            "Have the HR system end the job, or take the person out, first."
        )
    if known.accounts:
        said.append(
            f"The account of {person} at {_names(known.accounts)} is open, and the bridge would never close it again. "
            "Push once the feed says that they left."
        )
    return said


def forget(store: Store, settings: Settings, person: str, clock: Clock, *, anyway: bool = False) -> Forgotten:
    """Take out of the store what it holds of a person.

    Raises FixConfiguration where there is nothing, NotYet where it is too early; of that, `anyway` overrules all but
    what has not been answered for and files in quarantine. Raises SiteBusy where somebody works with a feed or a site.
    """
    found = look(store, settings, person)
    known = found.known
    against = why_not(person, known)
    binding = why_not(person, Known(doubtful=known.doubtful, unsettled=known.unsettled))
    if binding or (against and not anyway):
        overrule = "" if binding else " --anyway forgets them all the same."
        raise NotYet(f"{person} was not forgotten. {' '.join(binding or against)}{overrule}")
    with ExitStack() as held:
        for name in _workplaces(store, settings):
            held.enter_context(holding(store, name, "forget", clock))
        with store.begin() as connection:
            gone = forget_person(connection, person, PEOPLE)
            run = journal.start_run(connection, "", "forget", clock.now())
            journal.finish_run(connection, run, "done", clock.now(), {}, f"Somebody was {FORGOTTEN}.")
        unwiped = wipe_free_space(store)
    stays = found.stays
    if unwiped:
        stays = (
            *stays,
            Stays(
                "What was deleted may still lie in the free space of the database's files.",
                f"They could not be written anew now ({unwiped}). It goes as it is written over; at once with the "
                "database's own VACUUM (PostgreSQL: VACUUM FULL), while nothing else runs.",
            ),
        )
    return Forgotten(person, known, gone, stays, run)


def _workplaces(store: Store, settings: Settings) -> list[str]:
    """Return what nobody may work on meanwhile: every feed and every site."""
    base = table_of(BaseRow)
    with store.read() as connection:
        known = {one.name for one in feeds.all_feeds(connection)}
        sites = set(connection.execute(base.select().with_only_columns(base.c.site).distinct()).scalars())
    return [
        *sorted(f"{FEED_LEASE}{name}" for name in known | set(settings.feeds)),
        *sorted(sites | set(settings.sites)),
    ]


def _staying(settings: Settings, known: Known) -> Iterator[Stays]:
    """Yield what the bridge cannot forget, each with the reason and who can."""
    yield Stays(
        "The LMS keeps the account, completions and ratings.",
        "They are its records; the bridge never deletes people. Delete them there (in Moodle: Site administration > "
        "Users > Privacy and policies > Data requests). While the account carries the person's number, a pull brings "
        "results back.",
    )
    yield Stays(
        "The journal keeps that something was sent, when, and that its content was forgotten.",
        "Runs must add up; neither name nor number nor value is left in it. Such a change cannot be undone any more.",
    )
    if known.left:
        yield Stays(
            f"A coming file of {_names(known.left)} that still lists the person brings them back.",
            "The bridge believes its feeds; have the row taken out in the HR system.",
        )
    if known.manages:
        yield Stays(
            f"{known.manages:,} rows of others name the person as manager.",
            "They are those people's rows. Once the person is unknown, changed rows that still name them are refused: "
            'have the HR system give these people another manager, or set `unknown_manager = "drop"`.',
        )
    archives = [name for name, feed in settings.feeds.items() if feed.archive]
    if archives:
        days = settings.retention.archives
        yield Stays(
            f"Files of {_names(archives)} in their archives hold the person's rows.",
            f"A file is kept as it came, and goes {days:,} days after it was written ([retention] archives)."
            if days
            else "A file is kept as it came, and nothing removes it: set `archives` under [retention].",
        )
    yield Stays(
        "Backups of the store, files sent to an LMS that takes files, reports and logs keep what they say.",
        "They are copies outside the store. Old backups go by `backups` under [retention], logs by their size. Whoever "
        "restores a backup from before brings the person back.",
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)
