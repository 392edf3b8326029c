"""A simulated reviewer, to measure how many people are placed right after so many decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mappings.titles.answers import Answer
from mappings.titles.confidence import BandRule, measure
from mappings.titles.evidence import GroupSpace
from mappings.titles.order import ReviewOrder

Truth = Sequence[Mapping[str, float]]
"""For each group, how many of its people belong to each key."""


@dataclass(frozen=True)
class CurvePoint:
    """Percentage of people placed right after so many decisions."""

    decisions: int
    offered: float
    headcount: float
    headcount_with_suggestions: float


def answer_of(space: GroupSpace, truth: Truth, group: int) -> Answer:
    """What a reviewer who knows the truth decides for a group: a split where its people belong apart."""
    return Answer(space.groups[group], tuple(sorted(truth[group].items(), key=lambda item: (-item[1], item[0]))))


def people_right(truth: Truth, best: Sequence[str | None], decided: set[int]) -> float:
    """People (not a share) whom BEST places right; a decided group counts with its largest part only."""
    right = 0.0
    for number, shares in enumerate(truth):
        if not shares:
            continue
        key = best[number]
        right += max(shares.values()) if number in decided else shares.get(key, 0.0) if key is not None else 0.0
    return right


def review_curve(
    space: GroupSpace,
    truth: Truth,
    at: Sequence[int] = (50, 100, 200),
    batch: int = 10,
    rule: BandRule | None = None,
) -> tuple[list[CurvePoint], list[tuple[int, Answer]]]:
    """Lets a reviewer decide groups in the offered order, and beside it in plain headcount order.

    In headcount order the other groups of a decided title get "the same as last time"; titles never met stay
    unplaced, or, in the last column, take today's first suggestion. Returns the points and the offered
    decisions.
    """
    keys = [position.key for position in space.matcher.positions]
    everyone = np.arange(len(space.groups), dtype=np.int64)
    total = sum(sum(shares.values()) for shares in truth)
    in_truth = [i for i, shares in enumerate(truth) if shares]
    order = ReviewOrder(space)
    rule = rule or BandRule()
    answered: list[tuple[int, Answer]] = []
    zero = space.prior(everyone).argmax(axis=1)
    by_headcount = sorted(in_truth, key=lambda i: -sum(truth[i].values()))
    points = []
    limit = min(max(at), len(in_truth))
    while len(answered) < limit:
        probabilities, strength = space.posterior(everyone, answered)
        state = (probabilities.max(axis=1), strength)
        next_stop = min(stop for stop in [*at, limit] if stop > len(answered))
        wanted = min(batch, next_stop - len(answered))
        sure = measure(space, everyone, probabilities, answered, rule).leading
        chosen = [i for i in order.next(answered, wanted, state, sure) if truth[i]]
        if not chosen:
            chosen = [i for i in in_truth if i not in {j for j, _ in answered}][:wanted]
        answered.extend((i, answer_of(space, truth, i)) for i in chosen)
        if len(answered) in at:
            probabilities, _ = space.posterior(everyone, answered)
            best = [keys[p] for p in probabilities.argmax(axis=1)]
            decided = {i for i, _ in answered}
            count = len(answered)
            points.append(
                CurvePoint(
                    count,
                    100 * people_right(truth, best, decided) / total,
                    100 * _same_as_last_time(space, truth, by_headcount[:count], None) / total,
                    100 * _same_as_last_time(space, truth, by_headcount[:count], [keys[p] for p in zero]) / total,
                )
            )
    return points, answered


def _same_as_last_time(
    space: GroupSpace, truth: Truth, decided: Sequence[int], otherwise: Sequence[str] | None
) -> float:
    last: dict[str, str] = {}
    for number in decided:
        last[space.groups[number].title.casefold()] = max(truth[number].items(), key=lambda item: item[1])[0]
    best: list[str | None] = [
        last.get(group.title.casefold(), otherwise[i] if otherwise else None) for i, group in enumerate(space.groups)
    ]
    return people_right(truth, best, set(decided))
