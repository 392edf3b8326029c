"""The workforce: the people and jobs that the accepted feeds describe on one day, ready to be pushed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from bridge.model import JobAssignment, Organisation, Person, Workforce
from bridge.ports import SafetyLimit
from bridge.roster import RosterRow
from bridge.store import Store, feeds, roster
from bridge.store.roster import Listed
from mappings.organisations import build_organisations
from mappings.people import build_person
from mappings.positions import PositionFinder


class FeedQuarantined(SafetyLimit):
    """A feed is in quarantine: nothing of its people may be pushed until somebody has decided."""


def workforce(store: Store, names: Sequence[str], as_of: dt.date, finder: PositionFinder | None = None) -> Workforce:
    """Return who works here on a day, by the feeds of these names; the first one that still lists a person speaks.

    Somebody missing from a file once is still there; somebody whose absence is certain is in `absent` and nowhere else.
    Rows that waited for a day up to this one hold. A manager nobody lists is left out.
    Raises FeedQuarantined where one of the feeds is in quarantine.
    """
    places = finder or PositionFinder(())
    with store.read() as connection:
        for name in names:
            feed = feeds.find_feed(connection, name)
            if feed.quarantined:
                raise FeedQuarantined(
                    f"The feed {name} is in quarantine, so nobody's account or membership is changed. {feed.reason} "
                    f"Look at `lms-bridge feed status`, then release it with "
                    f"`lms-bridge feed release {name} --reason TEXT`, or wait for a good file."
                )
        late: dict[str, list[tuple[str, RosterRow]]] = {}
        for feed_name, row in roster.due(connection, names, as_of.isoformat()):
            late.setdefault(row.person, []).append((feed_name, row))
        people: list[Person] = []
        jobs: list[JobAssignment] = []
        absent: set[str] = set()
        rank = {name: place for place, name in enumerate(names)}
        for key, rows in _by_person(roster.listed(connection, names), late):
            chosen = _speaking(rows, rank)
            if chosen is None:
                absent.add(key)
                continue
            person, assignments = build_person(
                chosen, as_of, lambda row: places.find(row.title, row.unit, row.grade, row.position).position
            )
            people.append(person)
            jobs.extend(assignments)
    known = {person.key for person in people}
    jobs = [job if job.manager is None or job.manager in known else replace(job, manager=None) for job in jobs]
    return Workforce(as_of, tuple(people), tuple(jobs), frozenset(absent))


def feed_organisations(store: Store, names: Sequence[str]) -> tuple[Organisation, ...]:
    """Return the organisation tree that the rows of feeds speak of, for companies that keep no list of units."""
    with store.read() as connection:
        return build_organisations(roster.units_in_use(connection, names))


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


def _speaking(rows: Sequence[Listed], rank: dict[str, int]) -> list[RosterRow] | None:
    """Return the rows of the feed that speaks for a person; None where every feed is certain that they are gone."""
    present = [one for one in rows if not one.absent]
    if not present:
        return None
    leading = min(present, key=lambda one: (one.missed, one.row.status == "terminated", rank[one.feed]))
    return [one.row for one in present if one.feed == leading.feed]
