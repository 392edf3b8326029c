"""How well one grouping of titles agrees with another: pairwise and B-cubed precision, recall and F1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """Shares between 0 and 1."""

    precision: float
    recall: float
    f1: float
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f1: float


def agreement(found: Sequence[Hashable], true: Sequence[Hashable]) -> Agreement:
    """Compares the grouping FOUND with the TRUE one, item by item."""
    cells = Counter(zip(found, true, strict=True))
    left, right = Counter(found), Counter(true)

    def pairs(counts: Counter[Hashable] | Counter[tuple[Hashable, Hashable]]) -> float:
        return sum(n * (n - 1) / 2 for n in counts.values())

    together, put_together, belong_together = pairs(cells), pairs(left), pairs(right)
    precision = together / put_together if put_together else 1.0
    recall = together / belong_together if belong_together else 1.0
    total = max(len(found), 1)
    b_precision = sum(n * n / left[f] for (f, _), n in cells.items()) / total
    b_recall = sum(n * n / right[t] for (_, t), n in cells.items()) / total
    return Agreement(precision, recall, _f1(precision, recall), b_precision, b_recall, _f1(b_precision, b_recall))


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
