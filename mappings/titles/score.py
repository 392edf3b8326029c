"""Measures suggestions against a known truth."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mappings.titles.catalogue import Catalogue
from mappings.titles.columns import CATALOGUE_COLUMNS, LEGACY_COLUMNS, find_columns
from mappings.titles.confidence import BANDS
from mappings.titles.legacy import LegacyGroup, LegacyTitles, group_id, read_legacy
from mappings.titles.simulate import CurvePoint
from mappings.titles.suggest import Suggestion, Suggestions


@dataclass(frozen=True)
class Truth:
    """Legacy groups and, by group id, how many of their people belong to each key."""

    legacy: LegacyTitles
    keys: Mapping[str, Mapping[str, float]]
    """A key may name several, parted by a bar: any of them is right."""


@dataclass(frozen=True)
class Accuracy:
    """Percentages, each person (or each distinct title) counting once."""

    top1: float
    top5: float
    family: float


@dataclass(frozen=True)
class BandScore:
    """How much a band covers, and how often its first candidate is right (None where it is empty)."""

    groups: int
    people: float
    coverage: float
    precision: float | None
    precision_groups: float | None


@dataclass(frozen=True)
class Reliability:
    """Groups whose probability lies in one tenth: what was promised and what was right."""

    from_probability: float
    groups: int
    promised: float
    right: float


@dataclass(frozen=True)
class AfterReview:
    """Whether bands and probabilities keep what they promise once a simulated reviewer has decided."""

    decisions: int
    threshold: float | None
    bands: Mapping[str, BandScore]
    brier: float
    reliability: tuple[Reliability, ...]


@dataclass(frozen=True)
class Score:
    """Everything `titles score` prints."""

    groups: int
    people: float
    titles: int
    by_people: Accuracy
    by_title: Accuracy
    bands: Mapping[str, BandScore]
    threshold: float | None
    brier: float
    reliability: tuple[Reliability, ...]
    decisions: int
    semantic: bool
    seconds: float
    peak_memory_mb: float
    review_curve: tuple[CurvePoint, ...] = ()
    after_review: AfterReview | None = None
    """Of the groups the simulated reviewer left undecided; None where nobody was simulated."""

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def read_truth(
    rows: Iterable[Mapping[str, str]],
    headings: Sequence[str],
    named: Mapping[str, str] | None = None,
    source: str = "the truth file",
) -> Truth:
    """Reads legacy titles with the key each row belongs to.

    The columns are those of a legacy file and one for the key ("key", "position", "new code", …). Raises
    ColumnMissingError where the title or the key is nowhere to be found.
    """
    given = dict(named or {})
    key_name = given.pop("key", None)
    legacy_columns = find_columns(headings, LEGACY_COLUMNS, given, ("title",), source)
    target = ("position", *CATALOGUE_COLUMNS["key"], "keys", "codes", "positions", "label", "soc code")
    left = headings if key_name else [heading for heading in headings if heading not in legacy_columns.values()]
    key_column = find_columns(left, {"key": target}, {"key": key_name} if key_name else None, ("key",), source)["key"]
    legacy_columns = {field: heading for field, heading in legacy_columns.items() if heading != key_column}
    kept = list(rows)
    legacy = read_legacy(kept, headings, legacy_columns, source)
    keys: dict[str, dict[str, float]] = {}
    for row in kept:
        values = {f: " ".join((row.get(h) or "").split()) for f, h in legacy_columns.items()}
        key = (row.get(key_column) or "").strip()
        if not key or not values["title"]:
            continue
        name = group_id(values["title"], values.get("department", ""), values.get("grade", ""))
        count = values.get("headcount", "") if "person" not in legacy_columns else ""
        shares = keys.setdefault(name, {})
        shares[key] = shares.get(key, 0.0) + (float(count) if count.isdigit() else 1.0)
    return Truth(legacy, keys)


_Slots = frozenset[int]
"""Numbers of distinct positions of a catalogue."""


def alternatives(key: str) -> list[str]:
    """The keys that a truth accepts: one, or several parted by a bar."""
    return [part.strip() for part in key.split("|") if part.strip()]


class Stopwatch:
    """Seconds since it was made, and the process's peak memory."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds gone by."""
        return time.perf_counter() - self._start

    @property
    def peak_memory_mb(self) -> float:
        """The most memory the process has held so far, in megabytes."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1024 / (1024 if sys.platform == "darwin" else 1)


def score(
    suggestions: Suggestions,
    truth: Mapping[str, Mapping[str, float]],
    catalogue: Catalogue,
    watch: Stopwatch,
    curve: Sequence[CurvePoint] = (),
) -> Score:
    """Scores SUGGESTIONS against TRUTH (group id → key → people); groups without a truth are left out.

    A candidate is right when it is the true position or another key of the same position (same title and
    family). Where a truth names several keys, parted by a bar, any of them is right.
    """
    items = [(s, _by_slot(truth[s.group.id], catalogue)) for s in suggestions.items if truth.get(s.group.id)]
    people = sum(sum(shares.values()) for _, shares in items)
    rows = [_Row(s, shares, catalogue) for s, shares in items]
    by_title: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        by_title[row.group.title.casefold()].append(row)
    titles = [_accuracy(same) for same in by_title.values()]
    mean = Accuracy(
        *(round(sum(getattr(t, f) for t in titles) / max(len(titles), 1), 2) for f in ("top1", "top5", "family"))
    )
    brier = sum(row.people * (row.promised - row.top1 / row.people) ** 2 for row in rows) / max(people, 1)
    return Score(
        groups=len(rows),
        people=people,
        titles=len(by_title),
        by_people=_accuracy(rows),
        by_title=mean,
        bands={band: _band_score([r for r in rows if r.band == band], people) for band in BANDS},
        threshold=suggestions.threshold,
        brier=round(brier, 4),
        reliability=tuple(_reliability(rows)),
        decisions=suggestions.decisions,
        semantic=suggestions.semantic,
        seconds=round(watch.seconds, 2),
        peak_memory_mb=round(watch.peak_memory_mb, 1),
        review_curve=tuple(curve),
    )


class _Row:
    """One group's people: how many its candidates place right."""

    def __init__(self, suggestion: Suggestion, shares: Mapping[_Slots, float], catalogue: Catalogue) -> None:
        self.group: LegacyGroup = suggestion.group
        self.band = suggestion.band
        self.people = sum(shares.values())
        slots = catalogue.slots
        ranked = [slots[c.position.key] for c in suggestion.candidates]
        self.promised = suggestion.candidates[0].probability if suggestion.candidates else 0.0
        self.top1 = sum(n for right, n in shares.items() if ranked and ranked[0] in right)
        self.top5 = sum(n for right, n in shares.items() if right.intersection(ranked))
        family = suggestion.candidates[0].position.family if suggestion.candidates else None
        distinct = catalogue.distinct
        self.family = sum(n for right, n in shares.items() if family in {distinct[slot].family for slot in right})


def _by_slot(shares: Mapping[str, float], catalogue: Catalogue) -> dict[_Slots, float]:
    """People by the positions that would be right for them; a key the catalogue does not hold adds none."""
    found: dict[_Slots, float] = {}
    for key, people in shares.items():
        right = frozenset(catalogue.slots[k] for k in alternatives(key) if k in catalogue.slots)
        found[right] = found.get(right, 0.0) + people
    return found


def _accuracy(rows: Sequence[_Row]) -> Accuracy:
    people = sum(row.people for row in rows) or 1.0
    top1, top5, family = (sum(getattr(row, f) for row in rows) for f in ("top1", "top5", "family"))
    return Accuracy(round(100 * top1 / people, 2), round(100 * top5 / people, 2), round(100 * family / people, 2))


def _band_score(rows: Sequence[_Row], people: float) -> BandScore:
    inside = sum(row.people for row in rows)
    return BandScore(
        groups=len(rows),
        people=inside,
        coverage=round(100 * inside / people, 2) if people else 0.0,
        precision=round(100 * sum(row.top1 for row in rows) / inside, 2) if inside else None,
        precision_groups=round(100 * sum(r.top1 / r.people for r in rows) / len(rows), 2) if rows else None,
    )


def _reliability(rows: Sequence[_Row]) -> list[Reliability]:
    tenths: dict[int, list[_Row]] = defaultdict(list)
    for row in rows:
        tenths[min(int(row.promised * 10), 9)].append(row)
    return [
        Reliability(
            tenth / 10,
            len(inside),
            round(sum(row.promised for row in inside) / len(inside), 3),
            round(sum(row.top1 / row.people for row in inside) / len(inside), 3),
        )
        for tenth, inside in sorted(tenths.items())
    ]
