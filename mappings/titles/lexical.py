"""How alike two titles look: TF-IDF over word pieces and over words, and a naive Bayes vote of word
pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mappings.titles.extras import require

Floats = NDArray[np.float32]


class TextIndex:
    """TF-IDF vectors of a list of texts, and the likeness of other texts to them."""

    def __init__(self, texts: Sequence[str], unit: str) -> None:
        """UNIT is ``char`` (pieces of two to four characters) or ``word`` (words and pairs of words)."""
        text = require("sklearn.feature_extraction.text")
        options: dict[str, Any] = (
            {"analyzer": "char_wb", "ngram_range": (2, 4)}
            if unit == "char"
            else {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"\S+"}
        )
        self._vectorizer = text.TfidfVectorizer(dtype=np.float32, sublinear_tf=True, lowercase=False, **options)
        self.matrix = self._vectorizer.fit_transform([item or "?" for item in texts])
        self._transposed = self.matrix.T.tocsr()

    def transform(self, texts: Sequence[str]) -> Any:
        """Sparse unit vectors of TEXTS."""
        return self._vectorizer.transform([item or "?" for item in texts])

    def likeness(self, vectors: Any) -> Floats:
        """Cosines of VECTORS (rows) to the indexed texts (columns)."""
        return np.asarray((vectors @ self._transposed).toarray(), dtype=np.float32)


class PieceVote:
    """Multinomial naive Bayes over the word pieces of an index: which class speaks like this title."""

    _SMOOTHING = 0.05

    def __init__(self, index: TextIndex, classes: NDArray[np.int64], number: int) -> None:
        sparse = require("scipy.sparse")
        rows = len(classes)
        member = sparse.csr_matrix((np.ones(rows, np.float32), (classes, np.arange(rows))), shape=(number, rows))
        counts = (member @ index.matrix).tocsr()
        total = np.asarray(counts.sum(axis=1)).ravel() + self._SMOOTHING * counts.shape[1]
        # log((count + s) / total) = log(1 + count / s) + log s - log total, of which only the first is not
        # constant.
        counts.data = np.log1p(counts.data / self._SMOOTHING).astype(np.float32)
        self._weights = counts.T.tocsr()
        self._base = (np.log(self._SMOOTHING) - np.log(total)).astype(np.float32)
        size = np.maximum(np.asarray(member.sum(axis=1)).ravel(), 1)
        self._prior = np.log(size / size.sum()).astype(np.float32)

    def log_odds(self, vectors: Any) -> Floats:
        """Log probability of each class (columns) for each vector (rows), up to a constant a row."""
        weight = np.asarray(vectors.sum(axis=1), dtype=np.float32)
        scores = np.asarray((vectors @ self._weights).toarray(), dtype=np.float32)
        return np.asarray(scores + weight * self._base[None, :] + self._prior[None, :], dtype=np.float32)
