"""Decisions about legacy titles: records that are only ever added to, and everything that follows from them."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from bridge.ports import FixConfiguration
from bridge.rows import same_when_folded
from mappings.titles.answers import Answer
from mappings.titles.catalogue import Catalogue
from mappings.titles.legacy import LegacyGroup, group_id


class Verdict(StrEnum):
    """What was decided for a group."""

    PLACED = "placed"
    DEFERRED = "deferred"
    WANTED = "new position"
    """None of the catalogue's positions fits; a new one is wanted."""
    EXCLUDED = "excluded"
    """Still open, but some positions are ruled out."""
    WITHDRAWN = "withdrawn"
    """The decision it undoes holds no longer."""


@dataclass(frozen=True, slots=True)
class Placement:
    """People of a group that go to one position."""

    key: str
    people: int


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of one reviewer about one group. `id` is 0 until it is stored."""

    title: str
    department: str
    grade: str
    headcount: int
    verdict: Verdict
    reviewer: str
    decided_at: dt.datetime
    placements: tuple[Placement, ...] = ()
    excluded: tuple[str, ...] = ()
    reason: str = ""
    effective: dt.date | None = None
    catalogue: str = ""
    """Fingerprint of the catalogue it was made with."""
    batch: str = ""
    """The workbook or command it came with; what came together can be undone together."""
    undoes: int | None = None
    id: int = 0

    @property
    def group(self) -> str:
        """The group's id."""
        return group_id(self.title, self.department, self.grade)

    @property
    def said(self) -> tuple[object, ...]:
        """What it says, whoever said it and when: two decisions that say the same do not conflict."""
        placed = tuple(sorted((p.key, p.people) for p in self.placements))
        if len(placed) == 1:
            placed = ((placed[0][0], 0),)
        return self.verdict, placed, tuple(sorted(self.excluded)), self.effective

    @property
    def position(self) -> str | None:
        """The one position all its people go to; None where there is none or several."""
        keys = {placement.key for placement in self.placements}
        return next(iter(keys)) if self.verdict is Verdict.PLACED and len(keys) == 1 else None


class DecisionLog(Protocol):
    """Where decisions are kept. They are never changed, only added to."""

    def all(self) -> Sequence[Decision]:
        """Every decision, in the order they were made."""

    def add(self, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Record decisions, all or none, and return them with their ids."""


class DecisionsInMemory:
    """A log that lasts as long as the program, for trying out and for tests."""

    def __init__(self, decisions: Iterable[Decision] = ()) -> None:
        self._decisions = list(decisions)

    def all(self) -> Sequence[Decision]:
        """Every decision, in the order they were made."""
        return tuple(self._decisions)

    def add(self, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Record decisions and return them with their ids."""
        start = len(self._decisions) + 1
        kept = [replace(decision, id=start + i) for i, decision in enumerate(decisions)]
        self._decisions.extend(kept)
        return kept


def standing(decisions: Iterable[Decision], on: dt.date | None = None) -> dict[str, Decision]:
    """The decision that holds for each group: its last one that is not withdrawn and, on day ON, already in effect.

    Without ON, decisions for a later day count too: they are what was decided.
    """
    kept = list(decisions)
    withdrawn = {decision.undoes for decision in kept if decision.undoes is not None}
    found: dict[str, Decision] = {}
    for decision in kept:
        if decision.verdict is Verdict.WITHDRAWN or decision.id in withdrawn:
            continue
        if on is not None and decision.effective is not None and decision.effective > on:
            continue
        found[decision.group] = decision
    return found


def answers(decisions: Iterable[Decision]) -> dict[str, Answer]:
    """What the standing decisions say, as the suggester takes it: group id → answer."""
    found = {}
    for name, decision in standing(decisions).items():
        if decision.verdict is Verdict.DEFERRED:
            continue
        group = LegacyGroup(decision.title, decision.department, decision.grade, decision.headcount)
        placements = tuple((p.key, float(max(p.people, 1))) for p in decision.placements)
        found[name] = Answer(group, placements, decision.excluded)
    return found


class RecordedDecisions:
    """Finds positions by the decisions in effect on one day, for the nightly ingest."""

    def __init__(self, decisions: Iterable[Decision], on: dt.date) -> None:
        self._exact: dict[tuple[str, str, str], Decision] = {}
        self._here: dict[tuple[str, str], set[str | None]] = defaultdict(set)
        self._anywhere: dict[str, set[str | None]] = defaultdict(set)
        for decision in standing(decisions, on).values():
            title, department, grade = map(same_when_folded, (decision.title, decision.department, decision.grade))
            self._exact[title, department, grade] = decision
            if decision.verdict is not Verdict.PLACED:
                continue
            self._here[title, department].add(decision.position)
            self._anywhere[title].add(decision.position)

    def __len__(self) -> int:
        return len(self._exact)

    def settles(self, title: str, department: str, grade: str) -> bool:
        """Whether this very group was decided about, be it deferred, split or wanting a new position."""
        name, place, step = map(same_when_folded, (title, department, grade))
        return (name, place, step) in self._exact

    def position_for(self, title: str, department: str, grade: str) -> str | None:
        """The position decided for the group; else for the title in the department, else anywhere, if all agree.

        A group that was split, deferred or wants a new position has none, whatever holds elsewhere; a position ruled
        out for a group is not given to it.
        """
        name, place, step = map(same_when_folded, (title, department, grade))
        mine = self._exact.get((name, place, step))
        if mine is not None and mine.verdict is not Verdict.EXCLUDED:
            return mine.position
        for agreed in (self._here.get((name, place)), self._anywhere.get(name)):
            if agreed is not None:
                found = next(iter(agreed)) if len(agreed) == 1 else None
                return None if mine is not None and found in mine.excluded else found
        return None


class CannotUndo(FixConfiguration):
    """There is nothing to undo, or something newer stands on it."""


def undo(
    decisions: Sequence[Decision], wanted: int | str, reviewer: str, reason: str, now: dt.datetime
) -> list[Decision]:
    """Withdrawals of one decision (by id) or of all that came in one batch (by its name).

    The decision that stood before stands again. Raises CannotUndo where there is none, it is withdrawn already, or a
    later decision on the same group stands in its place.
    """
    chosen = [d for d in decisions if d.verdict is not Verdict.WITHDRAWN and wanted in (d.id, d.batch)]
    if not chosen:
        raise CannotUndo(f"There is no decision and no batch {wanted!r}. `titles history` lists them.")
    now_standing = standing(decisions)
    out = []
    for decision in chosen:
        holds = now_standing.get(decision.group)
        if holds is None or holds.id != decision.id:
            if isinstance(wanted, str):
                continue
            instead = f"decision {holds.id} of {holds.reviewer} stands in its place" if holds else "it is withdrawn"
            raise CannotUndo(f"Decision {decision.id} on {decision.title!r} does not hold: {instead}. Nothing to undo.")
        out.append(
            Decision(
                decision.title, decision.department, decision.grade, decision.headcount, Verdict.WITHDRAWN, reviewer,
                now, reason=reason, catalogue=decision.catalogue, undoes=decision.id,
            )
        )  # fmt: skip
    if not out:
        raise CannotUndo(f"Nothing of batch {wanted!r} holds any more: it is withdrawn or decided anew.")
    return out


def history(decisions: Iterable[Decision], title: str) -> list[Decision]:
    """Every decision on groups with this title, oldest first."""
    wanted = same_when_folded(title)
    return [decision for decision in decisions if same_when_folded(decision.title) == wanted]


CROSSWALK = (
    "title", "department", "grade", "headcount", "key", "position", "family", "people", "verdict", "effective",
    "reviewer", "decided_at", "reason", "catalogue", "decision",
)  # fmt: skip
"""Columns of the crosswalk."""


def crosswalk(decisions: Iterable[Decision], catalogue: Catalogue | None) -> Iterator[tuple[str | int | None, ...]]:
    """Old title → new position, a row for each placement; deferred groups and wanted positions have no key."""
    found = standing(decisions)
    for decision in sorted(found.values(), key=lambda d: (-d.headcount, d.title.casefold(), d.department.casefold())):
        if decision.verdict is Verdict.EXCLUDED:
            continue
        for placement in decision.placements or (None,):
            position = catalogue.get(placement.key) if catalogue and placement else None
            people = decision.headcount if placement is None or len(decision.placements) == 1 else placement.people
            yield (
                decision.title,
                decision.department,
                decision.grade,
                decision.headcount,
                placement.key if placement else "",
                position.title if position else "",
                position.family if position else "",
                people,
                str(decision.verdict),
                decision.effective.isoformat() if decision.effective else "",
                decision.reviewer,
                decision.decided_at.isoformat(timespec="seconds"),
                decision.reason,
                decision.catalogue,
                decision.id,
            )


@dataclass(frozen=True)
class Status:
    """How far the mapping has come."""

    people: int
    people_placed: int
    titles: int
    titles_placed: int
    """Titles all of whose groups are placed."""
    groups: int
    groups_placed: int
    deferred: int
    wanted: int
    split_people: int
    """People of groups that were split: they count as placed, but who goes where only a code of the feed can tell."""
    by_family: Mapping[str, int]
    """People placed, by family."""
    conflicts: tuple[Decision, ...]
    """Standing decisions that overrule what another reviewer had decided."""
    orphans: tuple[Decision, ...]
    """Standing decisions for positions that the catalogue has no more."""
    empty_positions: tuple[str, ...]
    """Keys of positions nobody maps to."""

    @property
    def people_share(self) -> float:
        """Percentage of people placed."""
        return 100 * self.people_placed / self.people if self.people else 0.0


def status(groups: Sequence[LegacyGroup], decisions: Sequence[Decision], catalogue: Catalogue) -> Status:
    """Measures the standing decisions against the groups there are."""
    found = standing(decisions)
    placed = [g for g in groups if (d := found.get(g.id)) is not None and d.verdict is Verdict.PLACED]
    placed_ids = {group.id for group in placed}
    open_titles = {same_when_folded(g.title) for g in groups if g.id not in placed_ids}
    titles = {same_when_folded(g.title) for g in groups}
    by_family: dict[str, int] = defaultdict(int)
    used: set[str] = set()
    for decision in found.values():
        used.update(p.key for p in decision.placements)
    for group in placed:
        decision = found[group.id]
        total = sum(p.people for p in decision.placements) or 1
        for placement in decision.placements:
            position = catalogue.get(placement.key)
            share = group.headcount * (placement.people or total) / total
            by_family[position.family if position else "?"] += round(share)
    return Status(
        people=sum(g.headcount for g in groups),
        people_placed=sum(g.headcount for g in placed),
        titles=len(titles),
        titles_placed=len(titles - open_titles),
        groups=len(groups),
        groups_placed=len(placed),
        deferred=sum(d.verdict is Verdict.DEFERRED for d in found.values()),
        wanted=sum(d.verdict is Verdict.WANTED for d in found.values()),
        split_people=sum(group.headcount for group in placed if found[group.id].position is None),
        by_family=dict(sorted(by_family.items(), key=lambda item: -item[1])),
        conflicts=tuple(overruled(decisions)),
        orphans=tuple(d for d in found.values() if any(catalogue.get(p.key) is None for p in d.placements)),
        empty_positions=tuple(p.key for p in catalogue.positions if p.key not in used),
    )


def overruled(decisions: Sequence[Decision]) -> list[Decision]:
    """Standing decisions that say something else than another reviewer's decision they replaced."""
    found = standing(decisions)
    withdrawn = {d.undoes for d in decisions if d.undoes is not None}
    return [
        now
        for name, now in found.items()
        if any(
            d.group == name and d.id < now.id and d.id not in withdrawn and d.verdict is not Verdict.WITHDRAWN
            and d.reviewer != now.reviewer and d.said != now.said
            for d in decisions
        )
    ]  # fmt: skip


@dataclass(frozen=True)
class Impact:
    """What would change for people if decisions were applied."""

    people: int
    position: int
    """People who get another position (or one for the first time)."""
    first_position: int
    family: int
    level: int
    plan: int
    """People whose learning plan changes, because their position's requirements do."""
    lose_plan: int
    losers: tuple[tuple[str, str, str, int], ...]
    """Title, department, grade and people of the groups that would lose their plan."""


def impact(
    groups: Sequence[LegacyGroup],
    before: Mapping[str, str | None],
    after: Mapping[str, str | None],
    catalogue: Catalogue,
    plan: Callable[[LegacyGroup, str | None], frozenset[str]],
) -> Impact:
    """Compares positions by group id BEFORE and AFTER; PLAN tells which competencies a group's people need in a
    position, be it for the position, its family or level, their unit or everyone.
    """
    counts: dict[str, int] = defaultdict(int)
    losers = []
    for group in groups:
        old, new = before.get(group.id), after.get(group.id)
        if old == new:
            continue
        was, will = catalogue.get(old or ""), catalogue.get(new or "")
        counts["position"] += group.headcount
        counts["first"] += group.headcount if old is None else 0
        for field in ("family", "level"):
            if getattr(was, field, None) != getattr(will, field, None):
                counts[field] += group.headcount
        needed, needs = plan(group, old), plan(group, new)
        if needed != needs:
            counts["plan"] += group.headcount
        if needed and not needs:
            counts["lose"] += group.headcount
            losers.append((group.title, group.department, group.grade, group.headcount))
    return Impact(
        sum(g.headcount for g in groups), counts["position"], counts["first"], counts["family"], counts["level"],
        counts["plan"], counts["lose"], tuple(losers),
    )  # fmt: skip
