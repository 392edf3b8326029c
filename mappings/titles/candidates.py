"""Which standard positions a legacy title could be, before anybody has decided anything.

Every position is known by its own title and by the gazetteer titles filed under its key. A legacy title is
compared with all of them in up to three ways (word pieces, words, meaning); the nearest ones vote. To the
vote come: a naive Bayes reading of the word pieces where positions have many titles, the level and track the
title states, what the department is about, and a bridge over a background gazetteer (two titles that sit
near the same occupations).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mappings.titles.catalogue import Catalogue
from mappings.titles.extras import require
from mappings.titles.gazetteer import GazetteerEntry
from mappings.titles.legacy import LegacyGroup
from mappings.titles.lexical import Floats, PieceVote, TextIndex
from mappings.titles.normalise import Abbreviations, NormalisedTitle, normalise_all, shipped_abbreviations
from mappings.titles.semantic import StaticEncoder, unit_rows

Integers = NDArray[np.int64]

NEIGHBOURS = 40
"""How many nearest titles vote."""
_CHUNK = 256
_MANY_TITLES = 3.0
"""From this many titles a position on average the naive Bayes reading is worth its place."""


@dataclass(frozen=True)
class Weights:
    """How much each sign counts. Tuned on public data, the same for everybody."""

    char: float = 0.6
    word: float = 0.4
    meaning: float = 1.0
    vote_temperature: float = 0.10
    pieces: float = 0.35
    department: float = 0.3
    department_meaning: float = 0.7
    bridge: float = 0.4
    step: float = 0.7
    track: float = 0.08


@dataclass(frozen=True)
class Nearest:
    """A title of the catalogue or gazetteer that speaks for a candidate, and how alike it is (0 to 1)."""

    title: str
    position: int
    likeness: float


@dataclass(frozen=True)
class TitleScores:
    """Scores of distinct normalised titles against all positions; higher is likelier, in log units."""

    scores: Floats
    nearest: tuple[tuple[Nearest, ...], ...]


class Meaning:
    """Vectors of meaning, stretched so that titles of one occupation lie close (linear discriminant
    directions).
    """

    def __init__(self, encoder: StaticEncoder, titles: Sequence[NormalisedTitle], classes: Integers) -> None:
        self._encoder = encoder
        vectors = encoder.encode([title.text for title in titles])
        number = int(classes.max()) + 1 if len(classes) else 0
        sizes = np.bincount(classes, minlength=number).astype(np.float32)
        sums = np.zeros((number, vectors.shape[1]), np.float32)
        np.add.at(sums, classes, vectors)
        inside = vectors - (sums / np.maximum(sizes, 1)[:, None])[classes]
        spread = inside.T @ inside / max(len(vectors), 1)
        ridge = np.trace(spread) / len(spread)
        values, directions = np.linalg.eigh(spread + ridge * np.eye(len(spread)))
        self._stretch = (directions / np.sqrt(values)).astype(np.float32)
        self._centre = vectors.mean(axis=0)

    def encode(self, texts: Sequence[str]) -> Floats:
        """One unit vector a text."""
        return unit_rows((self._encoder.encode(texts) - self._centre) @ self._stretch)

    def encode_titles(self, titles: Sequence[NormalisedTitle]) -> Floats:
        """One unit vector a title: half its whole text, half its core."""
        return unit_rows(self.encode([t.text for t in titles]) + self.encode([t.core for t in titles]))


class TitleSpace:
    """Titles filed under classes, searchable in up to three ways at once."""

    def __init__(
        self,
        titles: Sequence[NormalisedTitle],
        classes: Integers,
        number: int,
        meaning: Meaning | None,
        weights: Weights,
    ) -> None:
        order = np.argsort(classes, kind="stable")
        self.titles = [titles[i] for i in order]
        self.classes = classes[order]
        self.number = number
        self.weights = weights
        self._present, self._starts = np.unique(self.classes, return_index=True)
        self._char = TextIndex([title.text for title in self.titles], "char")
        self._word = TextIndex([title.core for title in self.titles], "word")
        self._meaning = meaning
        self._vectors = meaning.encode_titles(self.titles) if meaning else None
        many = len(self.titles) >= _MANY_TITLES * max(len(self._present), 1)
        self.many_titles = many
        self._pieces = PieceVote(self._char, self.classes, number) if many else None

    def vote(self, queries: Sequence[NormalisedTitle]) -> tuple[Floats, list[list[tuple[int, float]]]]:
        """Log scores of QUERIES (rows) for each class (columns), and for each query its nearest (title,
        likeness).
        """
        scores = np.empty((len(queries), self.number), np.float32)
        nearest: list[list[tuple[int, float]]] = []
        for start in range(0, len(queries), _CHUNK):
            chunk = queries[start : start + _CHUNK]
            part, near = self._vote_chunk(chunk)
            scores[start : start + len(chunk)] = part
            nearest.extend(near)
        return scores, nearest

    def _vote_chunk(self, queries: Sequence[NormalisedTitle]) -> tuple[Floats, list[list[tuple[int, float]]]]:
        weights = self.weights
        char = self._char.transform([query.text for query in queries])
        alike = weights.char * self._char.likeness(char)
        alike += weights.word * self._word.likeness(self._word.transform([query.core for query in queries]))
        total = weights.char + weights.word
        if self._meaning is not None and self._vectors is not None:
            alike += weights.meaning * (self._meaning.encode_titles(queries) @ self._vectors.T)
            total += weights.meaning
        alike /= total
        count = min(NEIGHBOURS, alike.shape[1])
        nearest = np.argpartition(-alike, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(alike, nearest, axis=1)
        # The vote of the nearest titles, on a floor set by each class's single best title.
        floor = np.full((len(queries), self.number), -1.0, np.float32)
        floor[:, self._present] = np.maximum.reduceat(alike, self._starts, axis=1)
        votes = 0.1 * np.exp(floor / weights.vote_temperature)
        rows = np.repeat(np.arange(len(queries)), count)
        np.add.at(votes, (rows, self.classes[nearest].ravel()), np.exp(values / weights.vote_temperature).ravel())
        scores = np.asarray(np.log(votes), dtype=np.float32)
        scores -= scores.max(axis=1, keepdims=True)
        if self._pieces is not None:
            odds = self._pieces.log_odds(char)
            odds -= odds.max(axis=1, keepdims=True)
            scores = _mixture(scores, odds, weights.pieces)
        order = np.argsort(-values, axis=1, kind="stable")[:, :12]
        near = [[(int(nearest[i, j]), float(values[i, j])) for j in order[i]] for i in range(len(queries))]
        return scores, near


def _mixture(votes: Floats, odds: Floats, share: float) -> Floats:
    """Log of a weighted mean of two opinions; the second, always too sure of itself, is tempered."""
    first = _softmax(votes)
    second = _softmax(odds / 2)
    return np.asarray(np.log((1 - share) * first + share * second + 1e-6), dtype=np.float32)


def _softmax(scores: NDArray[np.floating[Any]]) -> Floats:
    exponent = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True), dtype=np.float32)


class Matcher:
    """Scores legacy groups against a catalogue."""

    def __init__(
        self,
        catalogue: Catalogue,
        gazetteer: Sequence[GazetteerEntry] = (),
        background: Sequence[GazetteerEntry] = (),
        encoder: StaticEncoder | None = None,
        weights: Weights | None = None,
        abbreviations: Abbreviations | None = None,
    ) -> None:
        """GAZETTEER holds titles filed under catalogue keys; BACKGROUND titles of occupations of any other
        scheme.

        Gazetteer entries whose key is not in the catalogue join the background.
        """
        self.catalogue = catalogue
        self.weights = weights or Weights()
        self.abbreviations = abbreviations or shipped_abbreviations()
        self.positions = catalogue.distinct
        number = len(self.positions)
        index = catalogue.slots
        own = normalise_all(
            [p.title for p in self.positions],
            [p.family_name for p in self.positions],
            self.abbreviations,
        )
        filed = [entry for entry in gazetteer if entry.key in index]
        strange = [entry for entry in gazetteer if entry.key and entry.key not in index]
        if len(strange) > len(filed):
            background = strange
        elif filed:
            background = [] if len(filed) >= _MANY_TITLES * number else background
        ground = normalise_all([entry.title for entry in background], None, self.abbreviations)
        more = normalise_all([entry.title for entry in filed], None, self.abbreviations)
        codes = {key: i for i, key in enumerate(sorted({entry.key or entry.family for entry in background}))}
        ground_classes = np.array([codes[entry.key or entry.family] for entry in background], np.int64)
        filed_classes = np.array([index[entry.key] for entry in filed], np.int64)
        self.meaning: Meaning | None = None
        if encoder is not None:
            teach, taught = (ground, ground_classes) if len(ground) > len(more) else (more, filed_classes)
            if len(teach) > 1000:
                self.meaning = Meaning(encoder, teach, taught)
        classes = np.concatenate([np.arange(number, dtype=np.int64), filed_classes])
        self.space = TitleSpace([*own, *more], classes, number, self.meaning, self.weights)
        self._steps = np.array([title.level.step for title in own], np.float32)
        self._tracks = np.array([p.track == "M" for p in self.positions], bool)
        if not any(p.track for p in self.positions):
            self._tracks = np.array([title.level.track == "M" for title in own], bool)
        self._bridge = TitleSpace(ground, ground_classes, len(codes), self.meaning, self.weights) if ground else None
        self._bridged = self._occupations(own) if self._bridge else None
        self.own = own
        self._vocabulary: list[set[str]] = [set() for _ in range(number)]
        for title, position in zip(self.space.titles, self.space.classes, strict=True):
            self._vocabulary[int(position)].update(title.core.split())
        about = [f"{title.core} {p.family_name.lower()}".strip() for title, p in zip(own, self.positions, strict=True)]
        self._about = TextIndex(about, "char")
        self._about_vectors = self.meaning.encode(about) if self.meaning else None

    def _occupations(self, titles: Sequence[NormalisedTitle]) -> Any:
        """Which background occupations each title sits near: sparse unit rows."""
        if self._bridge is None:
            raise ValueError("there is no background to look into")
        sparse = require("scipy.sparse")
        preprocessing = require("sklearn.preprocessing")
        blocks = []
        for start in range(0, len(titles), _CHUNK):
            scores, _ = self._bridge.vote(titles[start : start + _CHUNK])
            share = _softmax(scores)
            share[share < 0.01] = 0
            blocks.append(sparse.csr_matrix(share))
        return preprocessing.normalize(sparse.vstack(blocks).tocsr())

    def words_known(self, title: NormalisedTitle, position: int) -> float:
        """The share of a title's words that some title of the position has too."""
        words = set(title.core.split())
        return len(words & self._vocabulary[position]) / len(words) if words else 0.0

    def normalise(self, groups: Sequence[LegacyGroup]) -> list[NormalisedTitle]:
        """Reads the groups' titles, each in the light of its department."""
        return normalise_all([g.title for g in groups], [g.where for g in groups], self.abbreviations)

    def score_titles(self, titles: Sequence[NormalisedTitle]) -> TitleScores:
        """Scores distinct titles against all positions, from the titles alone."""
        weights = self.weights
        scores, nearest = self.space.vote(titles)
        temperature = weights.vote_temperature
        total = weights.char + weights.word + (weights.meaning if self.meaning else 0)
        if self._bridge is not None and self._bridged is not None:
            shared = self._occupations(titles) @ self._bridged.T
            scores += weights.bridge / (temperature * total) * np.asarray(shared.toarray(), dtype=np.float32)
        steps = np.array([title.level.step for title in titles], np.float32)
        scores -= weights.step / (temperature * total * 8) * np.abs(steps[:, None] - self._steps[None, :])
        tracks = np.array([title.level.track == "M" for title in titles], bool)
        scores -= weights.track / (temperature * total) * (tracks[:, None] != self._tracks[None, :])
        named = tuple(
            tuple(Nearest(self.space.titles[i].raw, int(self.space.classes[i]), likeness) for i, likeness in near)
            for near in nearest
        )
        return TitleScores(scores, named)

    def score_departments(self, departments: Sequence[str]) -> Floats:
        """How much each department (rows) speaks for each position (columns), in the same log units."""
        weights = self.weights
        names = normalise_all(departments, None, self.abbreviations)
        total = weights.char + weights.word + (weights.meaning if self.meaning else 0)
        unit = weights.vote_temperature * total
        scores = weights.department / unit * self._about.likeness(self._about.transform([n.core for n in names]))
        if self.meaning is not None and self._about_vectors is not None:
            scores += (
                weights.department_meaning
                / unit
                * (self.meaning.encode([name.core for name in names]) @ self._about_vectors.T)
            )
        empty = np.array([not any(c.isalpha() for c in name.core) for name in names], bool)
        scores[empty] = 0
        return np.asarray(scores, dtype=np.float32)
