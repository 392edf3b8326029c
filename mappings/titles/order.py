"""In which order groups are offered for review: the people a decision places, and those it helps to place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mappings.titles.answers import Answer
from mappings.titles.confidence import draw
from mappings.titles.evidence import GroupSpace
from mappings.titles.extras import require
from mappings.titles.lexical import Floats

Integers = NDArray[np.int64]

PROOF = 8
"""Every so many offers one goes to a group that looks certain."""
CERTAIN_FEW = (0.85,)
CERTAIN_MANY = (0.95, 0.9)
"""What looks certain enough to be worth a proof, the first that any group reaches: where positions are known by one
title each, probabilities begin lower than where many titles are filed under each."""
_FAINT = 0.05
"""Nearness below this changes no order."""
_CONSIDERED = 3000
_DOUBT = 1.0
"""Evidence that counts as much as one decision on the same title elsewhere."""


class ReviewOrder:
    """Offers the group whose decision is expected to put most people right, its own and its neighbours'."""

    def __init__(self, space: GroupSpace) -> None:
        self.space = space
        self.people = np.array([group.headcount for group in space.groups], np.float32)
        everybody = np.argsort(-self.people, kind="stable")[:_CONSIDERED]
        self._considered: Integers = np.sort(everybody).astype(np.int64)
        sparse = require("scipy.sparse")
        blocks = []
        for start in range(0, len(self._considered), 256):
            near = space.nearness(self._considered[start : start + 256], self._considered)
            near[near < _FAINT] = 0
            blocks.append(sparse.csr_matrix(near))
        self._near = sparse.vstack(blocks).tocsr()
        self._by_column = self._near.tocsc()
        self._row_of = np.repeat(np.arange(len(self._considered)), np.diff(self._near.indptr))

    def next(
        self,
        answered: Sequence[tuple[int, Answer]],
        count: int,
        state: tuple[Floats, Floats] | None = None,
        sure: Floats | None = None,
    ) -> list[int]:
        """The next COUNT groups to decide, by number, the most useful first.

        STATE holds, where the caller has it already, each group's leading probability and strength of
        evidence. SURE holds measured probabilities: every eighth offer is then drawn at random, by
        headcount, from the groups that look certain. Without such proof nobody could say whether what looks
        certain is.
        """
        rows = self._considered
        if state is None:
            probabilities, strength = self.space.posterior(np.arange(len(self.people), dtype=np.int64), answered)
            leading = probabilities.max(axis=1)
        else:
            leading, strength = state
        decided = np.zeros(len(self.people), bool)
        decided[[i for i, _ in answered]] = True
        doubt = np.where(decided, 0, (1 - leading) * self.people).astype(np.float32)
        open_doubt, evidence = doubt[rows].copy(), strength[rows].astype(np.float32).copy()
        available = ~decided[rows]
        chosen: list[int] = []
        for _ in range(min(count, int(available.sum()))):
            if sure is not None and (len(answered) + len(chosen)) % PROOF == PROOF - 1:
                proof = self._proof(rows, available, sure)
                if proof is not None:
                    available[proof] = False
                    open_doubt[proof] = 0
                    chosen.append(int(rows[proof]))
                    continue
            near_all = self._near.data
            reach = near_all / (evidence[self._row_of] + near_all + _DOUBT) * open_doubt[self._row_of]
            gain = np.bincount(self._near.indices, weights=reach, minlength=len(rows)) + open_doubt
            # Where nothing is in doubt any more, headcount decides.
            gain = gain + 1e-6 * self.people[rows]
            gain[~available] = -1
            best = int(gain.argmax())
            chosen.append(int(rows[best]))
            available[best] = False
            part = slice(self._by_column.indptr[best], self._by_column.indptr[best + 1])
            touched, near = self._by_column.indices[part], self._by_column.data[part]
            open_doubt[touched] *= 1 - near / (evidence[touched] + near + _DOUBT)
            open_doubt[best] = 0
            evidence[touched] += near
        return self._filled(chosen, count, decided, doubt)

    def _proof(self, rows: Integers, available: NDArray[np.bool_], sure: Floats) -> int | None:
        """A group that looks certain, drawn by headcount; the same draw on every run."""
        many = self.space.matcher.space.many_titles
        for bound in CERTAIN_MANY if many else CERTAIN_FEW:
            certain = np.flatnonzero(available & (sure[rows] >= bound))
            if len(certain):
                break
        else:
            return None
        # Exponential races: the smallest waiting time wins with chance proportional to headcount.
        waits = [-np.log(draw(self.space.groups[rows[i]].id)) / max(self.people[rows[i]], 1.0) for i in certain]
        return int(certain[int(np.argmin(waits))])

    @staticmethod
    def _filled(chosen: list[int], count: int, decided: NDArray[np.bool_], doubt: Floats) -> list[int]:
        if len(chosen) < count:
            taken = decided.copy()
            taken[chosen] = True
            rest = np.flatnonzero(~taken)
            chosen.extend(int(i) for i in rest[np.argsort(-doubt[rest], kind="stable")][: count - len(chosen)])
        return chosen
