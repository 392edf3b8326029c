"""How sure a suggestion is: a probability that is measured on decisions, and the band that follows from it.

Likeness is not confidence. A few signs of the leading candidate (its share of the vote, its lead, whether
the words are the same, what was decided for the title before) go into a logistic model. Its starting values
were measured on public data; every decision, looked at as if it had not been taken yet, moves them towards
the project's own truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import log

import numpy as np
from numpy.typing import NDArray

from mappings.titles.answers import Answer
from mappings.titles.evidence import GroupSpace
from mappings.titles.lexical import Floats

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

AUTO, REVIEW, NO_MATCH = "auto", "review", "no match"
BANDS = (AUTO, REVIEW, NO_MATCH)

SIGNS = (
    "constant",
    "share",
    "lead",
    "same words",
    "nearest agree",
    "likeness",
    "title decided",
    "decided alike",
    "decided here",
    "words known",
    "level apart",
)
"""What the model looks at, in the order of its coefficients."""

FEW_TITLES = np.array([-1.85, 0.6, -0.45, 2.2, 4.0, 0.8, 0.4, 1.9, 0.5, -0.2, -0.35])
"""Coefficients measured on public data before a project has decided anything: positions known by one title each."""

MANY_TITLES = np.array([-1.95, 0.36, 0.64, 2.34, 2.37, 0.04, 0.0, 1.55, 0.5, 1.45, 0.0])
"""The same where a gazetteer files many titles under each position."""

_IN_HAND = 0.2
"""How far into the room above its promise the automatic band begins."""

_MANY_PROOFS = 25
"""From so many decided groups on luck is no explanation any more."""

_HOLD = 6.0
"""How strongly the starting values are held on to, in decisions a sign."""


@dataclass(frozen=True)
class BandRule:
    """What the bands promise."""

    promise: float = 0.95
    """Share of automatic answers that must be right."""
    enough: int = 60
    """Decisions needed before anything is automatic."""
    proven: int = 5
    """Decided groups that must lie in the automatic band, and prove it, before it opens."""
    no_match: float = 0.03
    """Below this probability a suggestion is not worth showing as a match."""
    sample: float = 0.05
    """Share of the automatic band that goes to review at random all the same."""


@dataclass(frozen=True)
class Confidence:
    """Probability of each candidate, and where the automatic band begins (None: nowhere yet)."""

    leading: Floats
    threshold: float | None
    decisions: int


def signs(space: GroupSpace, rows: Integers, probabilities: Floats, answered: Sequence[tuple[int, Answer]]) -> Doubles:
    """The signs of the leading candidate of each of ROWS, one row each; a row's own answer is not looked
    at.
    """
    order = np.argpartition(-probabilities, 1, axis=1)[:, :2] if probabilities.shape[1] > 1 else None
    if order is None:
        first, second = probabilities[:, 0], np.full(len(rows), 1e-6, np.float32)
        top = np.zeros(len(rows), np.int64)
    else:
        pair = np.take_along_axis(probabilities, order, axis=1)
        top = order[np.arange(len(rows)), pair.argmax(axis=1)]
        first, second = pair.max(axis=1), pair.min(axis=1)
    first = np.clip(first, 0.001, 0.995)
    out = np.zeros((len(rows), len(SIGNS)))
    out[:, 0] = 1
    out[:, 1] = np.log(first / (1 - first))
    out[:, 2] = np.minimum(np.log(first / np.maximum(second, 1e-6)), 6)
    decided = _decided_shares(space, answered)
    own_answer = dict(answered)
    for number, (row, best) in enumerate(zip(rows, top, strict=True)):
        index = space.title_index[row]
        title = space.distinct[index]
        near = space.scored.nearest[index]
        agreeing = [item for item in near if item.position == best]
        out[number, 3] = float(title.text == space.matcher.own[best].text)
        out[number, 4] = sum(item.position == best for item in near[:5]) / max(len(near[:5]), 1)
        out[number, 5] = agreeing[0].likeness if agreeing else 0.0
        out[number, 9] = space.matcher.words_known(title, int(best))
        out[number, 10] = min(abs(title.level.step - space.matcher.own[best].level.step), 4.0) / 4
        out[number, 6:9] = decided.of(space, int(row), int(best), own_answer.get(int(row)))
    return out


class _DecidedShares:
    """People decided so far, by title and by title and department, for each position."""

    def __init__(self) -> None:
        self.by_title: dict[int, dict[int, float]] = {}
        self.by_place: dict[tuple[int, int], dict[int, float]] = {}

    def add(self, title: int, department: int, position: int, people: float) -> None:
        for shares in (
            self.by_title.setdefault(title, {}),
            self.by_place.setdefault((title, department), {}),
        ):
            shares[position] = shares.get(position, 0.0) + people

    def of(self, space: GroupSpace, row: int, best: int, own: Answer | None) -> tuple[float, float, float]:
        title, department = int(space.title_index[row]), int(space.department_index[row])
        mine = {space.position_index[key]: n for key, n in own.placements if key in space.position_index} if own else {}
        out = [0.0, 0.0, 0.0]
        elsewhere = {p: n - mine.get(p, 0.0) for p, n in self.by_title.get(title, {}).items()}
        total = sum(elsewhere.values())
        if total > 0.5:
            out[0] = min(log(1 + total), 4.0) / 4
            out[1] = elsewhere.get(best, 0.0) / total - 0.5
        here = {p: n - mine.get(p, 0.0) for p, n in self.by_place.get((title, department), {}).items()}
        total_here = sum(here.values())
        if total_here > 0.5:
            out[2] = here.get(best, 0.0) / total_here - 0.5
        return out[0], out[1], out[2]


def _decided_shares(space: GroupSpace, answered: Sequence[tuple[int, Answer]]) -> _DecidedShares:
    shares = _DecidedShares()
    for row, answer in answered:
        for key, people in answer.placements:
            if key in space.position_index:
                shares.add(
                    int(space.title_index[row]),
                    int(space.department_index[row]),
                    space.position_index[key],
                    people,
                )
    return shares


def fit(signs_seen: Doubles, right: Doubles, weight: Doubles, start: Doubles, hold: float = _HOLD) -> Doubles:
    """Coefficients that explain which leading candidates were RIGHT (0 to 1), held to START where little is
    known.
    """
    coefficients = np.array(start, dtype=np.float64)
    if not len(right):
        return coefficients
    for _ in range(25):
        expected = _logistic(signs_seen @ coefficients)
        slope = signs_seen.T @ (weight * (right - expected)) - hold * (coefficients - start)
        curve = (signs_seen * (weight * expected * (1 - expected))[:, None]).T @ signs_seen
        step = np.linalg.solve(curve + hold * np.eye(len(start)), slope)
        coefficients += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-6:
            break
    return coefficients


def _logistic(values: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), dtype=np.float64)


def measure(
    space: GroupSpace,
    rows: Integers,
    probabilities: Floats,
    answered: Sequence[tuple[int, Answer]],
    rule: BandRule,
) -> Confidence:
    """Probability that the leading candidate of each of ROWS is right, and where the automatic band
    begins.
    """
    looked = [(i, a) for i, a in answered if sum(n for _, n in a.placements) > 0 or not a.placements]
    start = MANY_TITLES if space.matcher.space.many_titles else FEW_TITLES
    coefficients, seen, right = start, np.zeros((0, len(SIGNS))), np.zeros(0)
    if looked:
        columns = np.array([i for i, _ in looked], np.int64)
        blind, _ = space.posterior(columns, answered, leave_out_self=True)
        seen = signs(space, columns, blind, answered)
        right = np.array(
            [_share_right(space, a, int(p)) for (_, a), p in zip(looked, blind.argmax(axis=1), strict=True)]
        )
        coefficients = fit(seen, right, np.ones(len(right)), start)
    leading = _logistic(signs(space, rows, probabilities, answered) @ coefficients)
    threshold = None
    if len(looked) >= rule.enough:
        threshold = _threshold(_logistic(seen @ coefficients), right, rule)
    return Confidence(np.asarray(leading, dtype=np.float32), threshold, len(looked))


def _share_right(space: GroupSpace, answer: Answer, position: int) -> float:
    total = sum(n for _, n in answer.placements)
    if total <= 0:
        return 0.0
    return sum(n for key, n in answer.placements if space.position_index.get(key) == position) / total


def _threshold(expected: Doubles, right: Doubles, rule: BandRule) -> float | None:
    """The lowest probability above which the decisions bear the promise out, with something in hand."""
    best = None
    for candidate in np.arange(0.995, rule.promise + _IN_HAND * (1 - rule.promise) - 1e-9, -0.005):
        inside = expected >= candidate
        count = int(inside.sum())
        if count < rule.proven:
            continue
        # Two imagined answers, one of them half wrong, keep a handful of lucky ones from opening the band.
        kept = (right[inside].sum() + 1.5) / (count + 2)
        observed = right[inside].mean()
        if observed >= rule.promise + 0.005 and (kept >= rule.promise or count < _MANY_PROOFS):
            best = float(candidate)
        elif best is not None or count >= _MANY_PROOFS:
            break
        # A single wrong one among the first few proves nothing yet: more of them may.
    return best


def draw(name: str, salt: str = "") -> float:
    """A number above 0 and at most 1 that looks random and is the same on every run."""
    return (int.from_bytes(sha256(f"{salt}{name}".encode()).digest()[:4], "big") + 1) / 2**32


def sampled(group_id: str, share: float) -> bool:
    """Whether this group belongs to the random sample that is reviewed whatever its band; the same on every
    run.
    """
    return draw(group_id, "review sample") <= share
