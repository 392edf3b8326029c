"""Why something is as it is: from a person, a position or a title to the file, the row, the rule, and what was sent."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from bridge.feed_settings import FeedSettings
from bridge.model import Architecture, JobAssignment, Position
from bridge.ports import Change, FixConfiguration
from bridge.requirements import RequirementIndex
from bridge.rows import same_when_folded
from bridge.settings import Settings
from bridge.store import Store, feeds, history
from bridge.store.history import Done, Origin, Said
from bridge.store.state import Base
from bridge.store.titles import StoredDecision, all_decisions
from connectors.moodle.options import MoodleOptions
from jobs.desired import feeds_of_site, with_feed_columns
from jobs.feed_desk import finder_of, model_of
from jobs.pilot import Pilot
from jobs.title_log import recorded
from mappings.people import build_person
from mappings.positions import PositionFinder

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the store tells of one word that a person asked about; parts that do not apply are None."""

    asked: str
    person: Plain | None = None
    position: Plain | None = None
    title: Plain | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> Plain:
        """Return it as one JSON object."""
        return {
            "asked": self.asked,
            "person": self.person,
            "position": self.position,
            "title": self.title,
            "notes": list(self.notes),
        }


def why(settings: Settings, store: Store, asked: str, today: dt.date) -> Explanation:
    """Tell what is known of a person's key, a position's key, or a title; of all that it is.

    Raises FixConfiguration where nothing is known of it.
    """
    desk = _Desk(settings, store, today)
    position = desk.position(asked)
    found = Explanation(asked, desk.person(asked, listed=position is not None), position, desk.title(asked))
    found = replace(found, notes=tuple(desk.notes))
    if found.person is None and found.position is None and found.title is None:
        raise FixConfiguration(
            f"Nothing is known of {asked!r}: no feed lists such a person or title, no run sent anything about it, and "
            "the job architecture has no such position. Keys are written as in the files, zeros included."
        )
    return found


@dataclass(slots=True)
class _Rules:
    """What places the titles of one feed."""

    settings: FeedSettings
    architecture: Architecture
    finder: PositionFinder


@dataclass
class _Desk:
    """The store and the settings, asked about one word."""

    settings: Settings
    store: Store
    today: dt.date
    notes: list[str] = field(default_factory=list)
    _rules: dict[str, _Rules] = field(default_factory=dict)

    # --- A person -----------------------------------------------------------------------------------------------------

    def person(self, key: str, *, listed: bool = False) -> Plain | None:
        """Tell of a person; only of one that files list (or refuse), where that is asked."""
        with self.store.read() as connection:
            now, later = history.rows_about(connection, key), history.rows_to_come(connection, key)
            refused = [one for one in feeds.rejections(connection, cleared=True) if one.person == key]
        sent = self._sent([key], [f"{key}|", f"{key}/"])
        about = sent["standing"] or sent["done"] or sent["undecided"]
        if not now and not later and not refused and (listed or not about):
            return None
        return {
            "key": key,
            "rows": [self._row(one) for one in now],
            "later": [{**self._row(one), "effective": one.row.effective} for one in later],
            "refused": [
                {
                    "file": one.fault.file,
                    "line": one.fault.line,
                    "column": one.fault.column,
                    "value": one.fault.value,
                    "rule": one.fault.rule,
                    "message": one.fault.message,
                    "remedy": one.fault.remedy,
                    "refused": one.refused,
                    "cleared": one.cleared_by is not None,
                }
                for one in refused
            ],
            "sites": self._sites(key, now),
            **sent,
        }

    def _row(self, said: Said) -> Plain:
        row = {name: value for name, value in said.row._asdict().items() if value and name not in ("person", "primary")}
        told: Plain = {**_origin(said.origin), "says": row, "title": self._placed(said)}
        if said.missed_on:
            told["missing"] = {
                "since": said.missed_on,
                "file": said.missed_in,
                "certain_since": said.confirmed_on,
                "confirmed_by": said.confirmed_by,
                "confirmed_in": said.confirmed_in,
            }
        return told

    def _placed(self, said: Said) -> Plain | None:
        row = said.row
        if not row.title and not row.position:
            return None
        return self._rule(said.origin.feed, row.title, row.unit, row.grade, row.position)

    def _sites(self, key: str, rows: list[Said]) -> list[Plain]:
        """Say for each site whether somebody is pushed there, and what their job needs."""
        found = []
        for name, site in self.settings.sites.items():
            names = feeds_of_site(self.settings, self.store, name)
            mine = [one for one in rows if one.origin.feed in names]
            if not mine:
                continue
            told: Plain = {"site": name, "feeds": list(names)}
            with self.store.read() as connection:
                told["quarantined"] = [one for one in names if feeds.find_feed(connection, one).quarantined]
            rules = self._rules_of(mine[0].origin.feed)
            places = {one.row: self._position_of(one) for one in mine}
            try:
                pilot = Pilot.of((site.pilot,), rules.architecture)
                told["in_pilot"] = not pilot or pilot.covers(key, {one.row.unit for one in mine}, set(places.values()))
            except FixConfiguration as error:
                self.notes.append(str(error))
            speaking = [one.row for one in mine if one.origin.feed == mine[0].origin.feed]
            _, jobs = build_person(speaking, self.today, places.__getitem__)
            told["needs"] = self._needs(rules.architecture, jobs)
            found.append(told)
        return found

    def _position_of(self, said: Said) -> str | None:
        row = said.row
        return self._rules_of(said.origin.feed).finder.find(row.title, row.unit, row.grade, row.position).position

    def _needs(self, architecture: Architecture, jobs: Iterable[JobAssignment]) -> dict[str, int]:
        """Return how many competencies jobs need, by whom they are required of."""
        positions = {one.key: one for one in architecture.positions}
        needs = RequirementIndex.of(architecture).holding_for_jobs(
            (positions.get(job.position or ""), job.organisation) for job in jobs
        )
        counted = Counter(f"{one.target.value} {one.target_key}".strip() for one in needs.values())
        return dict(counted.most_common())

    # --- A position ---------------------------------------------------------------------------------------------------

    def position(self, key: str) -> Plain | None:
        """Tell of a position."""
        known = self._catalogue.get(key)
        titles = [
            {**rule, "feed": feed, "title": title, "unit": unit, "grade": grade, "people": people}
            for feed, title, unit, grade, code, people in self._jobs
            if (rule := self._rule(feed, title, unit, grade, code))["position"] == key
        ]
        sent = self._sent([key, *self._cohorts(key)], [f"{key}|"])
        if known is None and not titles:
            return None
        return {
            "key": key,
            "title": known.title if known else "",
            "family": known.family if known else None,
            "level": known.level if known else None,
            "in_catalogue": known is not None,
            "people": sum(one["people"] for one in titles),
            "titles": titles,
            "decisions": [
                _decision(one)
                for one in self._decisions
                if any(placed == key for placed, _ in one.placements)
            ],
            **sent,
        }  # fmt: skip

    def _cohorts(self, key: str) -> list[str]:
        """Return the keys that a position's cohort has on the sites."""
        usual = MoodleOptions.__dataclass_fields__["position_cohort"].default
        schemes = {str(site.options.get("position_cohort", usual)) for site in self.settings.sites.values()}
        return [scheme.format(key=key) for scheme in sorted(schemes) if "{key}" in scheme]

    # --- A title ------------------------------------------------------------------------------------------------------

    def title(self, title: str) -> Plain | None:
        """Tell of a title."""
        folded = same_when_folded(title)
        uses = [
            {
                "feed": feed,
                "title": written,
                "unit": unit,
                "grade": grade,
                "people": people,
                **self._rule(feed, written, unit, grade, code),
            }
            for feed, written, unit, grade, code, people in self._jobs
            if written and same_when_folded(written) == folded
        ]
        decisions = [_decision(one) for one in self._decisions if same_when_folded(one.title) == folded]
        if not uses and not decisions:
            return None
        return {"title": title, "people": sum(one["people"] for one in uses), "uses": uses, "decisions": decisions}

    # --- Rules --------------------------------------------------------------------------------------------------------

    def _rule(self, feed: str, title: str, unit: str, grade: str, code: str) -> Plain:
        """Return which position a title stands for and by which rule, in words too."""
        rules = self._rules_of(feed)
        placed = rules.finder.find(title, unit, grade, code)
        told: Plain = {"position": placed.position, "rule": placed.basis}
        match placed.basis:
            case "code":
                told["because"] = f"HR's own position code {code} is in the catalogue"
            case "catalogue":
                told["because"] = "the catalogue has a position of exactly this title"
            case "decision" if recorded(self.store, self.today).position_for(title, unit, grade) is not None:
                told["because"] = "people decided it (`lms-bridge titles history`)"
                told["decisions"] = [
                    _decision(one)
                    for one in self._decisions
                    if same_when_folded(one.title) == same_when_folded(title) and one.placements
                ]
            case "decision":
                told["because"] = f"the list {rules.settings.decisions} says so"
            case _:
                since = self._queued.get((feed, title, unit, grade), "")
                told["because"] = (
                    "no position has this title and nobody has decided about it"
                    + (f"; it waits in the queue since {since}" if since else "")
                    + " (`lms-bridge titles queue`)"
                )
        return told

    def _rules_of(self, feed: str) -> _Rules:
        found = self._rules.get(feed)
        if found is None:
            settings = self.settings.feeds.get(feed, FeedSettings())
            try:
                architecture = with_feed_columns(
                    model_of(self.settings, settings) or Architecture(), self.store, [feed]
                )
                finder = finder_of(self.settings, settings, architecture, recorded(self.store, self.today))
            except FixConfiguration as error:
                self.notes.append(f"Positions of titles cannot be told: {error}")
                architecture, finder = Architecture(), None
            found = self._rules[feed] = _Rules(settings, architecture, finder or PositionFinder(()))
        return found

    @cached_property
    def _catalogue(self) -> Mapping[str, Position]:
        """The positions of all feeds' catalogues, by key."""
        names = list(self.settings.feeds) or [""]
        return {one.key: one for name in names for one in self._rules_of(name).architecture.positions}

    @cached_property
    def _jobs(self) -> list[tuple[str, str, str, str, str, int]]:
        with self.store.read() as connection:
            return history.all_titles(connection)

    @cached_property
    def _decisions(self) -> list[StoredDecision]:
        with self.store.read() as connection:
            return all_decisions(connection)

    @cached_property
    def _queued(self) -> dict[tuple[str, str, str, str], str]:
        with self.store.read() as connection:
            waiting = feeds.unmapped_titles(connection)
        return {(one.feed, one.title, one.unit, one.grade): one.first_seen for one in waiting}

    # --- What was sent ------------------------------------------------------------------------------------------------

    def _sent(self, keys: list[str], beginnings: list[str]) -> Plain:
        with self.store.read() as connection:
            standing = history.standing(connection, keys, beginnings)
            done = list(history.done_to(connection, keys, beginnings))
            held = history.held(connection, keys, beginnings)
            undecided = history.undecided(connection, keys, beginnings)
        return {
            "standing": [_standing(site, base) for site, base in standing],
            "held": [
                {"site": site, "kind": kind, "key": key, "reason": reason} for site, kind, key, reason in held
            ],
            "undecided": [
                {"site": site, "kind": kind, "key": key, "reason": says, "run": run, "since": moment}
                for site, kind, key, says, run, moment in undecided
            ],
            "done": [_done(one) for one in done],
        }  # fmt: skip


def _origin(origin: Origin) -> Plain:
    return {
        "feed": origin.feed,
        "file": origin.file,
        "line": origin.line or None,
        "received_at": origin.received_at,
        "state": origin.state,
        "released_because": origin.reason,
    }


def _standing(site: str, base: Base) -> Plain:
    return {
        "site": site,
        "kind": base.kind,
        "key": base.key,
        "lms_id": base.lms_id,
        "fields": dict(base.fields),
        "retired": base.retired,
        "origin": base.origin,
    }


def _done(one: Done) -> Plain:
    entry = one.entry
    return {
        "site": one.site,
        "run": entry.run_id,
        "verb": one.verb,
        "at": entry.sent_at,
        "kind": entry.change.kind,
        "key": entry.change.key,
        "action": entry.change.action.value,
        "sent": _sent_fields(entry.change),
        "answer": entry.state,
        "because": entry.why,
        "lms_id": entry.lms_id,
    }


def _sent_fields(change: Change) -> Plain:
    """Return the fields that a change wrote, each with what was there before."""
    before, after = change.before or {}, change.after or {}
    names = change.fields or tuple(after)
    return {name: {"before": before.get(name), "after": after.get(name)} for name in names if name in after}


def _decision(one: StoredDecision) -> Plain:
    return {
        "id": one.id,
        "title": one.title,
        "department": one.department,
        "grade": one.grade,
        "verdict": one.verdict,
        "placements": [{"position": key, "people": people} for key, people in one.placements],
        "reviewer": one.reviewer,
        "decided_at": one.decided_at,
        "effective": one.effective,
        "reason": one.reason,
        "undoes": one.undoes,
    }
