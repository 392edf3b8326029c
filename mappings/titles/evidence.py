"""What the recorded decisions say about groups nobody has decided yet.

A decision speaks loudest for its own title in the same department, less for the title elsewhere, and a
little for titles that look alike or carry a neighbouring code: for those it points to the same series of
positions, at the level the title asks for. Departments lend their families. Nothing is learned behind the
scenes: every opinion can be traced to the decisions that carry it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mappings.titles.answers import Answer
from mappings.titles.candidates import Matcher, TitleScores
from mappings.titles.extras import require
from mappings.titles.legacy import LegacyGroup
from mappings.titles.lexical import Floats, TextIndex
from mappings.titles.normalise import NormalisedTitle

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class EvidenceWeights:
    """How far a decision reaches. Tuned on public data, the same for everybody."""

    same_department: float = 6.0
    same_title: float = 1.0
    like_department: float = 2.0
    other_grade: float = 0.7
    like_title: float = 0.6
    like_title_from: float = 0.45
    code: float = 0.3
    department_family: float = 0.35
    prior: float = 0.8
    own_series: float = 0.1
    family: float = 1.0
    """What a whole family's likeness to a group adds to that of each of its positions."""
    family_temperature: float = 2.0
    other_series: float = 0.7
    fit: float = 0.5


class GroupSpace:
    """Groups and how near they are to one another; built once, asked with ever more decisions."""

    def __init__(self, matcher: Matcher, groups: Sequence[LegacyGroup], weights: EvidenceWeights | None = None) -> None:
        self.matcher = matcher
        self.groups = tuple(groups)
        self.weights = weights or EvidenceWeights()
        titles = matcher.normalise(self.groups)
        self.titles = titles
        distinct: dict[tuple[str, str], int] = {}
        self.title_index = np.array([distinct.setdefault((t.text, t.core), len(distinct)) for t in titles], np.int64)
        first: dict[int, NormalisedTitle] = {}
        for index, title in zip(self.title_index, titles, strict=True):
            first.setdefault(int(index), title)
        self.distinct = [first[i] for i in range(len(distinct))]
        names = sorted({group.where for group in self.groups})
        place = {name: i for i, name in enumerate(names)}
        self.department_index = np.array([place[group.where] for group in self.groups], np.int64)
        self.scored: TitleScores = matcher.score_titles(self.distinct)
        self.department_scores = matcher.score_departments(names)
        self._title_vectors = _vectors([t.text for t in self.distinct], matcher)
        self._department_vectors = _vectors([name.casefold() for name in names], matcher)
        self._departments_named = np.array([bool(name.strip()) for name in names], bool)
        self._grades = np.array([hash(g.grade.casefold()) for g in self.groups], np.int64)
        self._codes = [group.code.casefold() for group in self.groups]
        self.steps = np.array([t.level.step for t in titles], np.float32)
        self.position_index = matcher.catalogue.slots
        self._family_of, self._family_members = _families(matcher)
        self._series, self._series_members, self._position_steps = _series(matcher)

    def prior(self, rows: Integers) -> Floats:
        """Probability of every position (columns) for the groups ROWS before any decision."""
        scores = self.scored.scores[self.title_index[rows]] + self.department_scores[self.department_index[rows]]
        scores = scores + self._family_opinion(scores)
        exponent = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(exponent / exponent.sum(axis=1, keepdims=True), dtype=np.float32)

    def _family_opinion(self, scores: Floats) -> Floats:
        """What the positions of each family say together: one that nothing in its family supports is a chance likeness.

        Large families are held back, or they would win by their numbers.
        """
        member = self._family_members
        if member.shape[1] < _FAMILIES or self.matcher.space.many_titles:
            # Positions known by many titles are told apart by those better than by their family.
            return np.zeros_like(scores)
        near = np.exp((scores - scores.max(axis=1, keepdims=True)) / self.weights.family_temperature)
        mass = near @ member / np.sqrt(member.sum(axis=0))
        opinion = self.weights.family * np.log(mass / mass.sum(axis=1, keepdims=True) + 1e-9)
        return np.asarray(opinion[:, self._family_of], dtype=np.float32)

    def nearness(self, rows: Integers, columns: Integers) -> Floats:
        """How loudly a decision on each group of COLUMNS speaks for each group of ROWS (its own included)."""
        weights = self.weights
        titles = _cosines(self._title_vectors, self.title_index[rows], self.title_index[columns])
        alike = np.clip((titles - weights.like_title_from) / (1 - weights.like_title_from), 0, 1) ** 2
        same_title = self.title_index[rows][:, None] == self.title_index[columns][None, :]
        same_department = self.department_index[rows][:, None] == self.department_index[columns][None, :]
        departments = _cosines(self._department_vectors, self.department_index[rows], self.department_index[columns])
        named = self._departments_named[self.department_index[rows]]
        departments = np.clip(departments, 0, 1) * named[:, None]
        grade = np.where(
            self._grades[rows][:, None] == self._grades[columns][None, :],
            np.float32(1.0),
            np.float32(weights.other_grade),
        )
        here = np.float32(weights.same_title) + np.float32(weights.like_department) * departments**2
        here = np.where(same_department, np.float32(weights.same_department), here)
        code = weights.code * self._shared_code(rows, columns)
        there = (weights.like_title * alike + code) * (0.5 + 0.5 * departments + same_department)
        return np.asarray(np.where(same_title, here, np.minimum(there, 0.9)) * grade, dtype=np.float32)

    def _shared_code(self, rows: Integers, columns: Integers) -> Floats:
        """1 where two groups' job codes agree but for the last sign, 0.5 where they share three signs."""
        if not any(self._codes):
            return np.zeros((len(rows), len(columns)), np.float32)
        shared = np.zeros((len(rows), len(columns)), np.float32)
        for length, worth in ((3, 0.5), (4, 1.0)):
            stems: dict[str, int] = {}
            stem = np.array([stems.setdefault(c[:length] if len(c) >= length else "", len(stems)) for c in self._codes])
            blank = stems.get("", -1)
            left, right = stem[rows][:, None], stem[columns][None, :]
            shared[(left == right) & (left != blank)] = worth
        return shared

    def posterior(
        self, rows: Integers, answered: Sequence[tuple[int, Answer]], leave_out_self: bool = False
    ) -> tuple[Floats, Floats]:
        """Probabilities of every position for the groups ROWS, given answers by group number; and how much
        decided evidence stands behind each row. With LEAVE_OUT_SELF a group's own answer is not used for
        it.
        """
        prior = self.prior(rows)
        answered = [(i, a) for i, a in answered if a.placements]
        if not answered:
            return prior, np.zeros(len(rows), np.float32)
        weights = self.weights
        columns = np.array([i for i, _ in answered], np.int64)
        near = self.nearness(rows, columns)
        if leave_out_self:
            near[rows[:, None] == columns[None, :]] = 0
        voice = np.array([np.sqrt(sum(n for _, n in a.placements)) for _, a in answered], np.float32)
        near = near * (voice / (voice + 1.0) * 2)[None, :]
        shares = self._shares(answered)
        same = self.title_index[rows][:, None] == self.title_index[columns][None, :]
        votes = self._directed(rows, columns, np.where(same, near, 0), shares, weights.own_series)
        votes += self._directed(rows, columns, np.where(same, 0, near), shares, weights.other_series)
        strength = votes.sum(axis=1)
        # Among keys the decisions name, the department and the words still say which fits best here.
        fitted = votes * prior**weights.fit
        sums = fitted.sum(axis=1, keepdims=True)
        fitted *= np.where(sums > 0, strength[:, None] / np.where(sums > 0, sums, 1), 0)
        mixed = (fitted + weights.prior * prior) / (strength + weights.prior)[:, None]
        mixed *= self._department_families(rows, columns, shares, leave_out_self) ** weights.department_family
        mixed /= mixed.sum(axis=1, keepdims=True)
        return np.asarray(mixed, dtype=np.float32), np.asarray(strength, dtype=np.float32)

    def _shares(self, answered: Sequence[tuple[int, Answer]]) -> Any:
        """Sparse rows: which share of each answer went to which position."""
        sparse = require("scipy.sparse")
        index = self.position_index
        data, row, column = [], [], []
        for number, (_, answer) in enumerate(answered):
            known = [(index[key], n) for key, n in answer.placements if key in index]
            total = sum(n for _, n in known)
            for position, n in known:
                data.append(n / total)
                row.append(number)
                column.append(position)
        return sparse.csr_matrix(
            (np.array(data, np.float32), (row, column)),
            shape=(len(answered), len(self.matcher.positions)),
            dtype=np.float32,
        )

    def _directed(self, rows: Integers, columns: Integers, near: Floats, shares: Any, to_series: float) -> Floats:
        """Votes for positions; TO_SERIES of each goes to the level of the series that the title asks for."""
        sparse = require("scipy.sparse")
        near_sparse = sparse.csr_matrix(near)
        votes = np.asarray((near_sparse @ shares).todense(), dtype=np.float32)
        out = (1 - to_series) * votes
        # The level asked for: the level decided, moved by how much higher this title stands than the decided
        # one.
        series_share = shares @ self._series_members
        by_series = np.asarray((near_sparse @ series_share).todense(), dtype=np.float32)
        decided_step = np.asarray(shares @ self._position_steps, dtype=np.float32).ravel() - self.steps[columns]
        moved = sparse.diags(decided_step) @ series_share
        step_sum = np.asarray((near_sparse @ moved).todense(), dtype=np.float32)
        wanted = (
            np.where(by_series > 0, step_sum / np.where(by_series > 0, by_series, 1), 0) + self.steps[rows][:, None]
        )
        used = np.flatnonzero(by_series.any(axis=0))
        for series in used:
            members = np.flatnonzero(self._series == series)
            distance = np.abs(self._position_steps[members][None, :] - wanted[:, [series]])
            fit = np.exp(-1.5 * distance)
            fit /= fit.sum(axis=1, keepdims=True)
            out[:, members] += to_series * by_series[:, [series]] * fit
        return out

    def _department_families(self, rows: Integers, columns: Integers, shares: Any, leave_out_self: bool) -> Floats:
        """How much more often than elsewhere the decisions of a row's department go to each position's
        family.
        """
        of_position, member = self._family_of, self._family_members
        decided = np.asarray(shares @ member, dtype=np.float32)
        here = (self.department_index[rows][:, None] == self.department_index[columns][None, :]).astype(np.float32)
        if leave_out_self:
            here[rows[:, None] == columns[None, :]] = 0
        here *= self._departments_named[self.department_index[rows]][:, None]
        overall = (decided.sum(axis=0) + 1.0) / (decided.sum() + member.shape[1])
        counts = here @ decided
        share = (counts + 3.0 * overall[None, :]) / (counts.sum(axis=1, keepdims=True) + 3.0)
        return np.asarray((share / overall[None, :])[:, of_position], dtype=np.float32)


def _vectors(texts: Sequence[str], matcher: Matcher) -> tuple[Any, Floats | None]:
    index = TextIndex(texts, "char")
    return index.matrix, matcher.meaning.encode(texts) if matcher.meaning else None


def _cosines(vectors: tuple[Any, Floats | None], rows: Integers, columns: Integers) -> Floats:
    """Likeness of items ROWS to items COLUMNS, word pieces and (where there is a model) meaning in equal
    parts.
    """
    left, back = np.unique(rows, return_inverse=True)
    right, forth = np.unique(columns, return_inverse=True)
    pieces, meaning = vectors
    alike = np.asarray((pieces[left] @ pieces[right].T).todense(), dtype=np.float32)
    if meaning is not None:
        alike = 0.5 * alike + 0.5 * (meaning[left] @ meaning[right].T)
    return np.asarray(alike[back][:, forth], dtype=np.float32)


_FAMILIES = 3
"""With fewer families than this, which one it is says nothing."""


def _families(matcher: Matcher) -> tuple[Integers, Floats]:
    """The family of each position, and a row of membership for each position."""
    families = {family: i for i, family in enumerate(sorted({p.family for p in matcher.positions}))}
    of_position = np.array([families[p.family] for p in matcher.positions], np.int64)
    member = np.zeros((len(of_position), len(families)), np.float32)
    member[np.arange(len(of_position)), of_position] = 1
    return of_position, member


def _series(matcher: Matcher) -> tuple[Integers, Any, Floats]:
    """Positions that differ by level only: the series of each, the sparse membership, the step of each."""
    sparse = require("scipy.sparse")
    names: dict[tuple[str, str], int] = {}
    series = np.array(
        [
            names.setdefault((position.family, _series_name(title)), len(names))
            for position, title in zip(matcher.positions, matcher.own, strict=True)
        ],
        np.int64,
    )
    member = sparse.csr_matrix(
        (np.ones(len(series), np.float32), (np.arange(len(series)), series)), shape=(len(series), len(names))
    )
    steps = np.array([title.level.step for title in matcher.own], np.float32)
    return series, member, steps


def _series_name(title: NormalisedTitle) -> str:
    return title.core
