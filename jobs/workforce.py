"""The workforce: the people and jobs that the accepted feeds describe on one day, ready to be pushed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from types import MappingProxyType

from bridge.model import Extent, JobAssignment, Organisation, Person, Position, Workforce
from bridge.ports import SafetyLimit
from bridge.roster import RosterRow
from bridge.store import Store, feeds, roster
from bridge.store.roster import Listed
from jobs.pilot import Pilot
from mappings.organisations import build_organisations
from mappings.people import build_person
from mappings.positions import PositionFinder, build_positions

NOTHING: Mapping[str, PositionFinder] = MappingProxyType({})


class FeedQuarantined(SafetyLimit):
    """A feed is in quarantine: nothing of its people may be pushed until somebody has decided."""


EVERYBODY = Pilot()
"""No part of the company is singled out."""


def workforce(
    store: Store,
    names: Sequence[str],
    as_of: dt.date,
    finders: Mapping[str, PositionFinder] = NOTHING,
    pilot: Pilot = EVERYBODY,
) -> Workforce:
    """Return who works here on a day, by the feeds of these names; the first one that still lists a person speaks.

    Somebody missing from a file once is still there; somebody whose absence is certain is in `absent` and nowhere else.
    Rows that waited for a day up to this one hold. A manager nobody lists is left out. `finders` place the titles of
    each feed; who is outside the `pilot` is not spoken of, neither as present nor as absent.
    Raises FeedQuarantined where one of the feeds is in quarantine.
    """
    unplaced = PositionFinder(())

    def position_in(feed: str, row: RosterRow) -> str | None:
        return finders.get(feed, unplaced).find(row.title, row.unit, row.grade, row.position).position

    with store.read() as connection:
        for name in names:
            feed = feeds.find_feed(connection, name)
            if feed.quarantined:
                raise FeedQuarantined(
                    f"The feed {name} is in quarantine, so nobody's account, membership or plan is changed. "
                    f"{feed.reason} Look at `lms-bridge feed status` and `lms-bridge rejections`, then release it with "
                    f"`lms-bridge feed release {name} --reason TEXT`, or wait for a good file. Nothing was sent; the "
                    "job architecture alone can still go: --kind architecture."
                )
        late: dict[str, list[tuple[str, RosterRow]]] = {}
        for feed_name, row in roster.due(connection, names, as_of.isoformat()):
            late.setdefault(row.person, []).append((feed_name, row))
        people: list[Person] = []
        jobs: list[JobAssignment] = []
        absent: set[str] = set()
        known: set[str] = set()
        rank = {name: place for place, name in enumerate(names)}
        for key, rows in _by_person(roster.listed(connection, names), late):
            chosen = _speaking(rows, rank)
            if chosen:
                known.add(key)
            if pilot and not pilot.covers(
                key,
                {one.row.unit for one in chosen or rows},
                {position_in(one.feed, one.row) for one in chosen or rows},
            ):
                continue
            if not chosen:
                absent.add(key)
                continue
            person, assignments = build_person([one.row for one in chosen], as_of, partial(position_in, chosen[0].feed))
            people.append(person)
            jobs.extend(assignments)
    jobs = [job if job.manager is None or job.manager in known else replace(job, manager=None) for job in jobs]
    return Workforce(as_of, tuple(people), tuple(jobs), frozenset(absent), _extent(pilot, jobs) if pilot else None)


def _extent(pilot: Pilot, jobs: Iterable[JobAssignment]) -> Extent:
    """Return the units and positions that belong to a part of the company: those named, and those of its people."""
    units = {unit for below in pilot.units for unit in below} if len(pilot.units) == 1 else set()
    positions = {key for one in pilot.lists for key in one.positions} if len(pilot.lists) == 1 else set()
    for job in jobs:
        units.add(job.organisation or "")
        positions.add(job.position or "")
    return Extent(frozenset(units - {""}), frozenset(positions - {""}))


def feed_organisations(store: Store, names: Sequence[str]) -> tuple[Organisation, ...]:
    """Return the organisation tree that the rows of feeds speak of, for companies that keep no list of units."""
    with store.read() as connection:
        return build_organisations(roster.units_in_use(connection, names))


def feed_positions(store: Store, names: Sequence[str]) -> tuple[Position, ...]:
    """Return the positions whose codes the rows of feeds carry, for companies that keep no catalogue."""
    with store.read() as connection:
        used = [row for name in names for row in roster.titles_in_use(connection, name)]
    return build_positions((code, title, grade, people) for title, _, grade, code, people in used)


def _by_person(
    listed: Iterable[Listed], late: dict[str, list[tuple[str, RosterRow]]]
) -> Iterator[tuple[str, list[Listed]]]:
    """Yield each person's rows, those whose day has come in place of those they follow."""
    for key, group in groupby(listed, key=lambda one: one.row.person):
        rows = list(group)
        for feed, row in late.pop(key, ()):
            rows = [one for one in rows if (one.feed, one.row.job) != (feed, row.job)]
            rows.append(Listed(feed, row))
        yield key, rows
    for key, fresh in sorted(late.items()):
        yield key, [Listed(feed, row) for feed, row in fresh]


def _speaking(rows: Sequence[Listed], rank: dict[str, int]) -> list[Listed]:
    """Return the rows of the feed that speaks for a person; none where every feed is certain that they are gone."""
    present = [one for one in rows if not one.absent]
    if not present:
        return []
    leading = min(present, key=lambda one: (one.missed, one.row.status == "terminated", rank[one.feed]))
    return [one for one in present if one.feed == leading.feed]
