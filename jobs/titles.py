"""Legacy titles: suggest, score, draft families, apply a reviewed workbook, and tell what follows from decisions."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bridge.ports import FixConfiguration
from bridge.requirements import RequirementIndex
from bridge.settings import Settings
from bridge.store import Store, feeds, roster
from bridge.sync.clock import Clock
from bridge.sync.lease import holding
from connectors.tables import TableOptions, open_table, write_table
from jobs.architecture import read_architecture
from jobs.feed_desk import finder_of, model_of
from jobs.title_log import Layered, StoredLog
from jobs.titles_workbook import read_review, write_review
from mappings.positions import PositionFinder
from mappings.titles.catalogue import Catalogue, Position, read_catalogue
from mappings.titles.decisions import (
    CROSSWALK,
    Decision,
    Impact,
    Placement,
    RecordedDecisions,
    Status,
    Verdict,
    answers,
    crosswalk,
    impact,
    standing,
    status,
    undo,
)
from mappings.titles.families import DraftPlace, FamilyDraft
from mappings.titles.gazetteer import GazetteerEntry, read_gazetteer, shipped_gazetteer, shipped_occupations
from mappings.titles.legacy import LegacyGroup, LegacyTitles, group_id, read_legacy
from mappings.titles.review import Problem, Reviewed, SheetReader
from mappings.titles.score import AfterReview, Score, Stopwatch, Truth, alternatives, read_truth, score
from mappings.titles.semantic import load_encoder
from mappings.titles.simulate import review_curve
from mappings.titles.suggest import Suggester, Suggestions

SUGGESTIONS = (
    "group", "title", "department", "grade", "headcount", "rank", "key", "candidate", "family", "probability", "band",
    "level", "track", "evidence",
)  # fmt: skip
"""Columns of suggestions.csv."""

READ = ("seniority", "numeral", "specialism", "conditions")
"""What JSON Lines say beside them of each title."""

OFFERED = 200
"""How many groups are put into the order of review; the rest follow by headcount."""


@dataclass(frozen=True)
class SheetRows:
    """A table read whole: headings, rows by heading."""

    headings: tuple[str, ...]
    rows: Sequence[Mapping[str, str]]
    warnings: tuple[str, ...] = ()


def read_rows(path: Path, sheet: str | None = None) -> SheetRows:
    """Reads a CSV file or workbook whole. Raises FixConfiguration where not one row can be read."""
    with open_table(path, options=TableOptions(sheet=sheet)) as table:
        rows: list[dict[str, str]] = []
        warnings = [str(fault) for fault in table.faults]
        for row in table.rows:
            if row.faults:
                # A row that is broken in its form (too short, an unclosed quote) cannot be trusted with anything.
                warnings.extend(str(fault) for fault in row.faults)
            else:
                rows.append(dict(row.values))
        return SheetRows(tuple(table.headers), rows, tuple(warnings))


SHIPPED = "onet"
"""Name of the gazetteer and of the catalogue of occupations that come with the program."""


def catalogue_of(path: Path) -> Catalogue:
    """Reads a catalogue: a CSV file, a workbook, or a folder with the files of a job architecture; `onet` stands for
    the shipped occupations.
    """
    if str(path) == SHIPPED and not path.exists():
        return shipped_occupations()
    if path.is_dir():
        reading = read_architecture(path)
        if reading.faults:
            raise FixConfiguration(f"The job architecture in {path} has faults. The first: {reading.faults[0]}")
        names = {family.key: family.name for family in reading.architecture.families}
        return Catalogue(
            tuple(
                Position(
                    p.key,
                    p.title,
                    p.family or "",
                    str(p.level or ""),
                    str(p.track or ""),
                    names.get(p.family or "", ""),
                )
                for p in reading.architecture.positions
            )
        )
    table = read_rows(path)
    catalogue = read_catalogue(table.rows, table.headings, None, _family_names(path), path.name)
    return replace(catalogue, warnings=(*table.warnings, *catalogue.warnings))


def _family_names(path: Path) -> dict[str, str]:
    """Names of families where a file of families lies beside the catalogue, as in a job architecture."""
    beside = path.with_name("job_families.csv")
    if not beside.is_file():
        return {}
    return {row.get("idnumber", ""): row.get("name", "") for row in read_rows(beside).rows}


def unit_names(catalogue: Path) -> dict[str, str]:
    """What departments are called, by code, where the units of a job architecture lie in the catalogue's folder."""
    folder = catalogue if catalogue.is_dir() else catalogue.parent
    file = folder / "organisations.csv"
    if not file.is_file():
        return {}
    return {row.get("idnumber", ""): row.get("name", "") for row in read_rows(file).rows}


def legacy_of(
    path: Path,
    named: Mapping[str, str] | None = None,
    sheet: str | None = None,
    places: Mapping[str, str] | None = None,
) -> LegacyTitles:
    """Reads legacy titles from a CSV file or workbook, its columns found or named."""
    table = read_rows(path, sheet)
    legacy = read_legacy(table.rows, table.headings, named, path.name, places)
    return replace(legacy, warnings=(*table.warnings, *legacy.warnings))


def legacy_in_feeds(store: Store, names: Sequence[str], places: Mapping[str, str]) -> LegacyTitles:
    """The titles of the people that the feeds' last accepted files list."""
    groups = tuple(replace(g, place=places.get(g.department, "")) for g in groups_in_feeds(store, names))
    if not groups:
        raise FixConfiguration(
            f"The feeds ({', '.join(names)}) list nobody yet. Take in a file with `lms-bridge ingest`, or name a file "
            "with the old titles."
        )
    rows = sum(group.headcount for group in groups)
    return LegacyTitles(groups, rows=rows, columns={"title": "the feeds: " + ", ".join(names)})


def gazetteer_of(name: str | None, catalogue: Catalogue) -> tuple[GazetteerEntry, ...]:
    """Reads a gazetteer file; `onet` stands for the shipped one, `none` for none.

    Without a name the shipped one is taken where most keys of the catalogue are occupation codes that it knows.
    """
    if name is None:
        known = {entry.key for entry in shipped_gazetteer()}
        shared = sum(position.key in known for position in catalogue.positions)
        return shipped_gazetteer() if 2 * shared > len(catalogue) else ()
    if name == "none":
        return ()
    if name == SHIPPED:
        return shipped_gazetteer()
    table = read_rows(Path(name))
    return read_gazetteer(table.rows, table.headings, None, Path(name).name)


def suggest(
    legacy: LegacyTitles,
    catalogue: Catalogue,
    gazetteer: Sequence[GazetteerEntry],
    decisions: Sequence[Decision],
    semantic: bool = True,
) -> Suggestions:
    """Suggestions for all groups in the light of the decisions."""
    suggester = Suggester(legacy.groups, catalogue, gazetteer, semantic=semantic)
    return suggester.suggest(answers(decisions), OFFERED)


def write_suggestions(path: Path, suggestions: Suggestions, catalogue: Catalogue, decisions: Sequence[Decision]) -> int:
    """Writes a review workbook (.xlsx) or a table of candidates (.csv, .jsonl); returns the number of groups."""
    if path.suffix.lower() == ".xlsx":
        return write_review(path, suggestions, catalogue, decisions)
    found = standing(decisions)
    # A table has exactly its columns; JSON Lines can hold all that was read from the title.
    whole = path.suffix.lower() != ".csv"

    def rows() -> list[tuple[str | int | float | None, ...]]:
        out: list[tuple[str | int | float | None, ...]] = []
        for item in suggestions.items:
            group = item.group
            band = "decided" if group.id in found else item.band
            head = (group.id, group.title, group.department, group.grade, group.headcount)
            read = item.reading
            tail = (item.level, item.track)
            more = (
                (read.level.seniority, read.level.level, read.specialism, "; ".join(read.conditions)) if whole else ()
            )
            out.extend(
                (
                    *head,
                    c.rank,
                    c.position.key,
                    c.position.title,
                    c.position.family,
                    c.probability,
                    band,
                    *tail,
                    c.evidence,
                    *more,
                )
                for c in item.candidates
            )
            if not item.candidates:
                out.append((*head, 0, "", "", "", 0.0, band, *tail, "", *more))
        return out

    # Programs read this table; people have the workbook. Programs stumble over a byte order mark.
    write_table(path, (*SUGGESTIONS, *(READ if whole else ())), rows(), mark=False)
    return len(suggestions.items)


def decisions_from_list(path: Path, now: dt.datetime) -> list[Decision]:
    """Reads decided titles from a table (title, department, grade, key) as decisions, for trying out."""
    table = read_rows(path)
    # A crosswalk has a row for each part of a split group, and the people of the part in a column of their own.
    named = {"headcount": "people"} if set(CROSSWALK) <= set(table.headings) else None
    truth = read_truth(table.rows, table.headings, named, path.name)
    out: list[Decision] = []
    for group in truth.legacy.groups:
        shares = truth.keys.get(group.id, {})
        placements = tuple(Placement(alternatives(key)[0], int(n)) for key, n in sorted(shares.items()))
        if placements:
            out.append(
                Decision(
                    group.title, group.department, group.grade, group.headcount, Verdict.PLACED, path.name, now,
                    placements, id=len(out) + 1,
                )
            )  # fmt: skip
    return out


def score_file(
    truth_file: Path,
    catalogue: Catalogue,
    gazetteer: Sequence[GazetteerEntry],
    decisions: Sequence[Decision],
    semantic: bool = True,
    curve: bool = False,
    named: Mapping[str, str] | None = None,
) -> Score:
    """Scores suggestions for the titles of a truth file against it; with CURVE also simulates a reviewer, and scores
    what the bands promise of the groups that reviewer left.
    """
    watch = Stopwatch()
    table = read_rows(truth_file)
    truth = read_truth(table.rows, table.headings, named, truth_file.name)
    if not truth.legacy.groups:
        raise FixConfiguration(f"{truth_file.name} holds no title that can be read.")
    suggester = Suggester(truth.legacy.groups, catalogue, gazetteer, semantic=semantic)
    suggestions = suggester.suggest(answers(decisions))
    result = score(suggestions, truth.keys, catalogue, watch)
    if not curve:
        return result
    points, answered = review_curve(suggester.space, _shares(suggestions, truth, catalogue))
    decided = {**answers(decisions), **{truth.legacy.groups[i].id: answer for i, answer in answered}}
    left = {name: shares for name, shares in truth.keys.items() if name not in decided}
    then = score(suggester.suggest(decided), left, catalogue, watch)
    after = AfterReview(len(answered), then.threshold, then.bands, then.brier, then.reliability)
    return replace(
        result,
        review_curve=tuple(points),
        after_review=after,
        seconds=round(watch.seconds, 2),
        peak_memory_mb=round(watch.peak_memory_mb, 1),
    )


def _shares(suggestions: Suggestions, truth: Truth, catalogue: Catalogue) -> list[dict[str, float]]:
    """For each group, people by the key a reviewer would choose; of several right ones the suggested one goes first."""
    distinct, slots = catalogue.distinct, catalogue.slots
    first = {s.group.id: s.candidates[0].position.key for s in suggestions.items if s.candidates}
    found: list[dict[str, float]] = []
    for group in truth.legacy.groups:
        part: dict[str, float] = {}
        for key, people in truth.keys.get(group.id, {}).items():
            names = [distinct[slots[k]].key if k in slots else k for k in alternatives(key)]
            name = first[group.id] if first.get(group.id) in names else names[0]
            part[name] = part.get(name, 0.0) + people
        found.append(part)
    return found


FAMILIES = (
    "title", "department", "grade", "headcount", "family", "family_name", "position", "position_title", "level",
    "track", "probability",
)  # fmt: skip
"""Columns of a drafted catalogue."""


def draft_families(legacy: LegacyTitles, wanted: int | None = None, semantic: bool = True) -> list[DraftPlace]:
    """A place for every title, without any catalogue."""
    return FamilyDraft(encoder=load_encoder() if semantic else None).draft(legacy.groups, wanted)


def write_families(path: Path, places: Sequence[DraftPlace], legacy: LegacyTitles, semantic: bool = True) -> None:
    """Writes a draft: a table with a row a group, or the review workbook against the drafted catalogue."""
    if path.suffix.lower() != ".xlsx":
        rows = [
            (
                *(p.group.title, p.group.department, p.group.grade, p.group.headcount, p.family, p.family_name),
                *(p.position, p.position_title, p.level, p.track, round(p.probability, 3)),
            )
            for p in places
        ]
        write_table(path, FAMILIES, rows)
        return
    drafted = drafted_catalogue(places)
    suggestions = Suggester(legacy.groups, drafted, shipped_gazetteer(), semantic=semantic).suggest(offer=OFFERED)
    write_review(path, suggestions, drafted)


def drafted_catalogue(places: Sequence[DraftPlace]) -> Catalogue:
    """The catalogue that a draft proposes."""
    positions: dict[str, Position] = {}
    for p in places:
        positions.setdefault(p.position, Position(p.position, p.position_title, p.family, "", p.track, p.family_name))
    return Catalogue(tuple(positions.values()))


def write_catalogue(path: Path, places: Sequence[DraftPlace]) -> int:
    """Writes the drafted catalogue as a table that `titles suggest --catalogue` reads; returns its positions."""
    found = drafted_catalogue(places).positions
    return write_table(
        path,
        ("key", "title", "family", "level", "track"),
        [(p.key, p.title, p.family, p.level, p.track) for p in found],
    )


@dataclass(frozen=True)
class Applied:
    """What applying a workbook came to. Where there are problems, nothing was recorded."""

    recorded: int
    unchanged: int
    undecided: int
    problems: tuple[Problem, ...]
    batch: str
    split_people: int = 0
    """People of groups that were split: who goes where, only a code of the feed can tell."""


LONGEST_WAIT = 60.0
"""Seconds to wait for somebody else's workbook to be applied."""


def read_workbook(
    path: Path,
    catalogue: Catalogue,
    log: Sequence[Decision],
    reviewer: str,
    now: dt.datetime,
    effective: dt.date | None = None,
    overrule: bool = False,
) -> tuple[Reviewed, str]:
    """Reads a reviewed workbook; returns its decisions or problems, and the name of the batch."""
    batch = f"{path.stem}@{now:%Y%m%dT%H%M%S}"
    rows, problems = read_review(path)
    if problems:
        return Reviewed(problems=problems), batch
    return SheetReader(catalogue, log, reviewer, now, batch, effective, overrule).read(rows), batch


def apply(
    path: Path,
    catalogue: Catalogue,
    store: Store,
    reviewer: str,
    now: dt.datetime,
    effective: dt.date | None = None,
    overrule: bool = False,
) -> Applied:
    """Records the decisions of a reviewed workbook: all of them, or none and every problem by its cell."""
    if not reviewer.strip():
        raise FixConfiguration("Who reviewed this? Give a name with --reviewer NAME.")
    log = StoredLog(store)
    # Two workbooks applied at the same moment must see one another's decisions.
    with holding(store, "titles", "titles apply", Clock(), wait=LONGEST_WAIT):
        reviewed, batch = read_workbook(path, catalogue, log.all(), reviewer.strip(), now, effective, overrule)
        if not reviewed.problems and reviewed.decisions:
            log.add(reviewed.decisions)
    done = () if reviewed.problems else tuple(reviewed.decisions)
    split = sum(d.headcount for d in done if d.verdict is Verdict.PLACED and d.position is None)
    return Applied(len(done), reviewed.unchanged, reviewed.undecided, tuple(reviewed.problems), batch, split)


def undo_decisions(store: Store, wanted: str, reviewer: str, reason: str, now: dt.datetime) -> list[Decision]:
    """Withdraws one decision (by its number) or a batch (by its name); what stood before stands again."""
    log = StoredLog(store)
    number: int | str = int(wanted) if wanted.isdigit() else wanted
    with holding(store, "titles", "titles undo", Clock(), wait=LONGEST_WAIT):
        return list(log.add(undo(log.all(), number, reviewer, reason, now)))


def write_crosswalk(path: Path, store: Store, catalogue: Catalogue | None) -> int:
    """Writes old title → new position with headcount and dates; returns the number of rows."""
    return write_table(path, CROSSWALK, crosswalk(StoredLog(store).all(), catalogue))


def groups_in_feeds(store: Store, names: Sequence[str]) -> tuple[LegacyGroup, ...]:
    """The groups of people who work here by the feeds' last accepted files, largest first."""
    counts: dict[str, int] = {}
    shown: dict[str, tuple[str, str, str, str]] = {}
    with store.read() as connection:
        for name in names:
            for title, unit, grade, code, people in roster.titles_in_use(connection, name):
                if any(character.isalnum() for character in title):
                    key = group_id(title, unit, grade)
                    counts[key] = counts.get(key, 0) + people
                    shown.setdefault(key, (title, unit, grade, code))
    groups = [
        LegacyGroup(title, unit, grade, headcount=counts[key], code=code)
        for key, (title, unit, grade, code) in shown.items()
    ]
    return tuple(sorted(groups, key=lambda g: (-g.headcount, g.title, g.department, g.grade)))


def queue(store: Store, settings: Settings, names: Sequence[str], on: dt.date) -> list[feeds.UnmappedTitle]:
    """Titles of the feeds that stand for no position today, most people first; those decided about are left out.

    Looked up afresh: what was decided or undone since the last file counts.
    """
    log = StoredLog(store).all()
    decided = standing(log)
    out: list[feeds.UnmappedTitle] = []
    for name in names:
        found = settings.feeds.get(name)
        architecture = model_of(settings, found) if found else None
        finder = finder_of(settings, found, architecture, RecordedDecisions(log, on)) if found else None
        with store.read() as connection:
            stored = feeds.unmapped_titles(connection, name)
        if finder is None:
            out += [one for one in stored if group_id(one.title, one.unit, one.grade) not in decided]
            continue
        since = {group_id(one.title, one.unit, one.grade): one.first_seen for one in stored}
        out += [
            feeds.UnmappedTitle(name, g.title, g.department, g.grade, g.headcount, since.get(g.id, ""))
            for g in groups_in_feeds(store, [name])
            if g.id not in decided and finder.find(g.title, g.department, g.grade, g.code).position is None
        ]
    return sorted(out, key=lambda one: (-one.people, one.title, one.unit, one.grade))


def status_now(groups: Sequence[LegacyGroup], store: Store, catalogue: Catalogue) -> Status:
    """How far the mapping has come."""
    return status(groups, StoredLog(store).all(), catalogue)


def impact_of(
    groups: Sequence[LegacyGroup],
    proposed: Sequence[Decision],
    store: Store,
    settings: Settings,
    catalogue: Catalogue,
    feed: str,
    on: dt.date,
    model: Path | None = None,
) -> Impact:
    """What the PROPOSED decisions would change for the people of a feed, before anything is recorded.

    Needs are those of the feed's job architecture, else of the one in the folder MODEL.
    """
    log = list(StoredLog(store).all())
    start = max((d.id for d in log), default=0)
    with_proposed = [*log, *(_numbered(d, start + i) for i, d in enumerate(proposed, start=1))]
    found = settings.feeds.get(feed)
    architecture = model_of(settings, found) if found else None
    if architecture is None and model is not None:
        architecture = read_architecture(model).architecture
    listed = finder_of(settings, found, None) if found else None

    def positions(decisions: Sequence[Decision]) -> dict[str, str | None]:
        recorded = RecordedDecisions(decisions, on)
        known = architecture.positions if architecture else ()
        finder = PositionFinder(known, Layered(recorded, _Listed(listed)))
        return {g.id: finder.find(g.title, g.department, g.grade, g.code).position for g in groups}

    index = RequirementIndex.of(architecture) if architecture else None
    known_positions = {p.key: p for p in architecture.positions} if architecture else {}

    def plan(group: LegacyGroup, position: str | None) -> frozenset[str]:
        if index is None:
            return frozenset()
        return frozenset(index.holding_for(known_positions.get(position or ""), [group.department]))

    return impact(groups, positions(log), positions(with_proposed), catalogue, plan)


class _Listed:
    """The decisions of a feed's list, behind the finder that read them."""

    def __init__(self, finder: PositionFinder | None) -> None:
        self._finder = finder

    def settles(self, title: str, department: str, grade: str) -> bool:  # noqa: ARG002 - the protocol's
        """Say no: lists have no grade."""
        return False

    def position_for(self, title: str, department: str, grade: str) -> str | None:
        """Return what the list says, or None."""
        return self._finder.find(title, department, grade).position if self._finder else None


def _numbered(decision: Decision, number: int) -> Decision:
    return replace(decision, id=number)


def as_json(value: object) -> object:
    """Plain values of a score or status, ready for JSON."""
    return json.loads(json.dumps(value, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
