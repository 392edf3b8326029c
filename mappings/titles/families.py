"""Drafts families and positions for a team that has no catalogue yet.

Every title is first looked up among the shipped gazetteer's occupations: the occupation its nearest titles
vote for becomes its proposed position, and the occupation group its family. What the gazetteer does not know
is gathered into groups named after their own most telling words. Every title gets a place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mappings.titles.candidates import Meaning, TitleSpace, Weights
from mappings.titles.extras import require
from mappings.titles.gazetteer import GazetteerEntry, shipped_families, shipped_gazetteer
from mappings.titles.legacy import LegacyGroup
from mappings.titles.lexical import Floats, TextIndex
from mappings.titles.normalise import Abbreviations, NormalisedTitle, normalise_all
from mappings.titles.semantic import StaticEncoder, unit_rows

Integers = NDArray[np.int64]

UNKNOWN_BELOW = 0.17
"""A title whose nearest gazetteer title is less alike than this is not known to the gazetteer."""

NEIGHBOURS = 10
TRUST_NEIGHBOURS = 0.6
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class DraftPlace:
    """Where the draft puts one group."""

    group: LegacyGroup
    family: str
    family_name: str
    position: str
    """A proposed key: an occupation code, or a name for a group of titles the gazetteer does not know."""
    position_title: str
    level: str
    track: str
    probability: float


class FamilyDraft:
    """Places titles among the families and occupations of a gazetteer."""

    def __init__(
        self,
        gazetteer: Sequence[GazetteerEntry] | None = None,
        names: dict[str, str] | None = None,
        encoder: StaticEncoder | None = None,
        weights: Weights | None = None,
        abbreviations: Abbreviations | None = None,
    ) -> None:
        entries = shipped_gazetteer() if gazetteer is None else gazetteer
        self._names = shipped_families() if names is None and gazetteer is None else names or {}
        self._abbreviations = abbreviations
        keys = sorted({entry.key or entry.family for entry in entries})
        place = {key: i for i, key in enumerate(keys)}
        self.keys = keys
        self._title_of: dict[str, str] = {}
        family_of: dict[str, str] = {}
        for entry in entries:
            key = entry.key or entry.family
            self._title_of.setdefault(key, entry.title)
            family_of.setdefault(key, entry.family)
        self.families = sorted(set(family_of.values()))
        number = {family: i for i, family in enumerate(self.families)}
        self._family_index = np.array([number[family_of[key]] for key in keys], np.int64)
        self._member = np.zeros((len(keys), len(self.families)), np.float32)
        self._member[np.arange(len(keys)), self._family_index] = 1
        titles = normalise_all([entry.title for entry in entries], None, abbreviations)
        classes = np.array([place[entry.key or entry.family] for entry in entries], np.int64)
        self._meaning = Meaning(encoder, titles, classes) if encoder is not None and len(titles) > 1000 else None
        self._space = TitleSpace(titles, classes, len(keys), self._meaning, weights or Weights())

    def votes(self, titles: Sequence[NormalisedTitle]) -> tuple[Floats, Floats, Floats]:
        """Probability of each occupation and of each family for TITLES, and the likeness of the nearest
        title.
        """
        scores, near = self._space.vote(titles)
        share = np.exp(scores - scores.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        nearest = np.array([items[0][1] if items else 0.0 for items in near], np.float32)
        return share, np.asarray(share @ self._member, dtype=np.float32), nearest

    def draft(self, groups: Sequence[LegacyGroup], wanted: int | None = None) -> list[DraftPlace]:
        """A place for every group, in the order given.

        Without WANTED the families are the gazetteer's own; with it, about that many families are formed
        from what the titles mean and which occupations they sit near, each named after the occupations most
        of its titles belong to.
        """
        titles = normalise_all([g.title for g in groups], [g.where for g in groups], self._abbreviations)
        distinct: dict[tuple[str, str], int] = {}
        index = [distinct.setdefault((t.text, t.core), len(distinct)) for t in titles]
        first: dict[int, NormalisedTitle] = {}
        for i, title in zip(index, titles, strict=True):
            first.setdefault(i, title)
        chosen = [first[i] for i in range(len(distinct))]
        if not chosen:
            return []
        occupation, _, nearest = self.votes(chosen)
        vectors = self.vectors(chosen)
        occupation = _smoothed(occupation, vectors)
        family = occupation @ self._member
        best_family = family.argmax(axis=1)
        best = np.where(self._family_index[None, :] == best_family[:, None], occupation, -1).argmax(axis=1)
        unknown = {int(i) for i in np.flatnonzero(nearest < UNKNOWN_BELOW)}
        rest = dict(zip(sorted(unknown), self._name_rest([chosen[i] for i in sorted(unknown)]), strict=True))
        formed = None
        if wanted is not None and 1 < wanted < len(chosen):
            formed = self._formed(occupation, family, vectors, best, wanted)
        places = []
        for group, i, title in zip(groups, index, titles, strict=True):
            code, name = self.families[best_family[i]], self._names.get(self.families[best_family[i]], "")
            key, position = self.keys[best[i]], self._title_of[self.keys[best[i]]]
            probability = float(family[i, best_family[i]])
            if i in rest:
                code, name = "other", "Not in the gazetteer"
                key, position, probability = "x-" + rest[i].replace(" ", "-"), rest[i].capitalize(), 0.0
            if formed is not None:
                code, name = formed[i]
            reading = title.level
            level = str(reading.level) if reading.level is not None else reading.seniority
            places.append(DraftPlace(group, code, name or code, key, position, level, reading.track, probability))
        return places

    def vectors(self, titles: Sequence[NormalisedTitle]) -> Floats:
        """What the draft compares: vectors of meaning where there is a model, otherwise of word pieces."""
        if self._meaning is not None:
            return self._meaning.encode_titles(titles)
        return pieces(titles)

    def _formed(
        self, occupation: Floats, family: Floats, vectors: Floats, best: Integers, wanted: int
    ) -> list[tuple[str, str]]:
        """Code and name of the family each title falls into when WANTED families are formed."""
        minor = np.array([key[:4] for key in self.keys])
        kinds = sorted(set(minor))
        middle = np.stack([occupation[:, minor == kind].sum(axis=1) for kind in kinds], axis=1)
        signs = np.hstack([vectors, np.sqrt(family), np.sqrt(middle), np.sqrt(occupation)]).astype(np.float32)
        model = require("sklearn.cluster").AgglomerativeClustering(n_clusters=wanted, linkage="average")
        labels = model.fit_predict(signs)
        names: dict[int, tuple[str, str]] = {}
        sizes = Counter(int(label) for label in labels)
        for number, (label, _) in enumerate(sizes.most_common(), start=1):
            inside = best[labels == label]
            top = self.keys[Counter(int(i) for i in inside).most_common(1)[0][0]]
            parent = self.families[int(self._family_index[self.keys.index(top)])]
            names[label] = (f"F{number:03d}", f"{self._names.get(parent, parent)}: {self._title_of[top]}")
        return [names[int(label)] for label in labels]

    def _name_rest(self, titles: Sequence[NormalisedTitle]) -> list[str]:
        """A name for each title nobody knows: the most widespread of its telling words."""
        spread = Counter(word for title in titles for word in set(title.core.split()) if len(word) > 2)
        names = []
        for title in titles:
            words = [word for word in title.core.split() if len(word) > 2]
            names.append(
                max(words, key=lambda w: (spread[w], len(w))) if words else (title.core or "other titles")[:40]
            )
        return names


def pieces(titles: Sequence[NormalisedTitle]) -> Floats:
    """Vectors of word pieces, a hundred numbers a title at most: what there is without a model of meaning."""
    matrix = TextIndex([title.text for title in titles], "char").matrix
    size = min(100, min(matrix.shape) - 1)
    if size < 2:
        return np.asarray(matrix.todense(), dtype=np.float32)
    reduce = require("sklearn.decomposition").TruncatedSVD(n_components=size, random_state=0)
    return unit_rows(np.asarray(reduce.fit_transform(matrix), dtype=np.float32))


def _smoothed(shares: Floats, vectors: Floats) -> Floats:
    """Each title's opinion joined with those of its ten nearest neighbours in the same file."""
    count = min(NEIGHBOURS, len(vectors) - 1)
    if count < 1:
        return shares
    nearest = np.empty((len(vectors), count), np.int64)
    weight = np.empty((len(vectors), count), np.float32)
    for start in range(0, len(vectors), 512):
        alike = vectors[start : start + 512] @ vectors.T
        own = np.arange(len(alike))
        alike[own, own + start] = -1
        part = np.argpartition(-alike, count - 1, axis=1)[:, :count]
        nearest[start : start + 512] = part
        weight[start : start + 512] = np.maximum(np.take_along_axis(alike, part, axis=1), 0) ** 2
    weight /= weight.sum(axis=1, keepdims=True) + 1e-9
    sparse = require("scipy.sparse")
    rows = np.repeat(np.arange(len(vectors)), count)
    graph = sparse.csr_matrix((weight.ravel(), (rows, nearest.ravel())), shape=(len(vectors), len(vectors)))
    joined = shares
    for _ in range(ROUNDS):
        joined = np.asarray((1 - TRUST_NEIGHBOURS) * shares + TRUST_NEIGHBOURS * (graph @ joined), dtype=np.float32)
    return joined


def agglomerative(vectors: Floats, number: int) -> Integers:
    """The plain alternative the draft is measured against: average-linkage clusters of the same vectors."""
    cluster = require("sklearn.cluster")
    model = cluster.AgglomerativeClustering(n_clusters=number, metric="cosine", linkage="average")
    return np.asarray(model.fit_predict(vectors), dtype=np.int64)
