"""From legacy groups to suggestions: up to five candidates a group, each with its probability, band and
evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mappings.titles.answers import Answer
from mappings.titles.candidates import Matcher, Weights
from mappings.titles.catalogue import Catalogue, Position
from mappings.titles.confidence import AUTO, NO_MATCH, REVIEW, BandRule, Confidence, measure, sampled
from mappings.titles.evidence import GroupSpace
from mappings.titles.gazetteer import GazetteerEntry, shipped_gazetteer
from mappings.titles.legacy import LegacyGroup
from mappings.titles.lexical import Floats
from mappings.titles.normalise import Abbreviations, NormalisedTitle
from mappings.titles.order import ReviewOrder
from mappings.titles.semantic import StaticEncoder, load_encoder

CANDIDATES = 5
_UNLIKE = 0.12
"""A nearest title less alike than this is no match at all."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A standard position a group could be."""

    rank: int
    position: Position
    probability: float
    score: float
    evidence: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What is suggested for one group."""

    group: LegacyGroup
    candidates: tuple[Candidate, ...]
    band: str
    reading: NormalisedTitle
    decided: Answer | None = None
    in_sample: bool = False
    """In the automatic band, but drawn for review all the same."""
    offered: int = 0
    """Place in the order of review, 1 first; 0 where the group is decided."""

    @property
    def level(self) -> str:
        """Seniority and numeral the title states."""
        reading = self.reading.level
        return f"{reading.seniority} {reading.level}" if reading.level is not None else reading.seniority

    @property
    def track(self) -> str:
        """M where the title manages people, otherwise IC."""
        return self.reading.level.track


@dataclass(frozen=True)
class Suggestions:
    """Suggestions for all groups, largest headcount first, and how far they can be trusted."""

    items: tuple[Suggestion, ...]
    threshold: float | None
    """Probability from which answers are automatic; None while too few decisions prove it."""
    decisions: int
    semantic: bool
    """Whether the model of meaning took part."""


class Suggester:
    """Holds catalogue, gazetteer and groups ready, so that new decisions cost little."""

    def __init__(
        self,
        groups: Sequence[LegacyGroup],
        catalogue: Catalogue,
        gazetteer: Sequence[GazetteerEntry] = (),
        *,
        background: Sequence[GazetteerEntry] | None = None,
        semantic: bool = True,
        abbreviations: Abbreviations | None = None,
        weights: Weights | None = None,
        rule: BandRule | None = None,
    ) -> None:
        """BACKGROUND defaults to the shipped gazetteer; with SEMANTIC the model of meaning is used where
        installed.

        Raises TitlesExtraMissingError where scikit-learn is not installed, ValueError for an empty catalogue.
        """
        if not catalogue.positions:
            raise ValueError("The catalogue holds no positions: there is nothing to map the titles onto.")
        encoder: StaticEncoder | None = load_encoder() if semantic else None
        self.rule = rule or BandRule()
        ground = shipped_gazetteer() if background is None else background
        self.matcher = Matcher(catalogue, gazetteer, ground, encoder, weights, abbreviations)
        self.space = GroupSpace(self.matcher, groups)
        self._order: ReviewOrder | None = None
        self._number = {group.id: i for i, group in enumerate(self.space.groups)}

    def suggest(self, answers: Mapping[str, Answer] | None = None, offer: int = 0) -> Suggestions:
        """Suggestions in the light of ANSWERS (group id → answer; answers of groups not in this file count
        too).

        OFFER says how many undecided groups are put into the order of review (the rest follow by headcount).
        """
        groups = self.space.groups
        if not groups:
            return Suggestions((), None, 0, self.matcher.meaning is not None)
        answers = answers or {}
        answered = [(self._number[name], answer) for name, answer in answers.items() if name in self._number]
        rows = np.arange(len(groups), dtype=np.int64)
        probabilities, strength = self.space.posterior(rows, answered)
        for number, answer in answered:
            ruled_out = [self.space.position_index[k] for k in answer.excluded if k in self.space.position_index]
            probabilities[number, ruled_out] = 0
            probabilities[number] /= max(float(probabilities[number].sum()), 1e-9)
        confidence = measure(self.space, rows, probabilities, answered, self.rule)
        order = self._offered(answered, confidence, probabilities, strength, offer)
        place = {number: i for i, number in enumerate(order, start=1)}
        by_number = dict(answered)
        count = min(CANDIDATES, probabilities.shape[1])
        top = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
        items = []
        voices = self._voices(answered)
        for number, group in enumerate(groups):
            candidates = self._candidates(number, top[number], probabilities[number], confidence, voices)
            band, in_sample = self._band(group, candidates, confidence, number)
            items.append(
                Suggestion(
                    group=group,
                    candidates=candidates if band != NO_MATCH else (),
                    band=band,
                    reading=self.space.titles[number],
                    decided=by_number.get(number),
                    in_sample=in_sample,
                    offered=place.get(number, 0),
                )
            )
        return Suggestions(tuple(items), confidence.threshold, confidence.decisions, self.matcher.meaning is not None)

    def _offered(
        self,
        answered: Sequence[tuple[int, Answer]],
        confidence: Confidence,
        probabilities: Floats,
        strength: Floats,
        offer: int,
    ) -> list[int]:
        decided = {number for number, _ in answered}
        first: list[int] = []
        if offer:
            if self._order is None:
                self._order = ReviewOrder(self.space)
            state = (probabilities.max(axis=1), strength)
            first = self._order.next(answered, offer, state, confidence.leading)
        seen = decided | set(first)
        people = self._order.people if self._order else np.array([g.headcount for g in self.space.groups])
        rest = [int(i) for i in np.argsort(-people, kind="stable") if int(i) not in seen]
        return [*first, *rest]

    def _candidates(
        self,
        number: int,
        top: NDArray[np.int64],
        probabilities: Floats,
        confidence: Confidence,
        voices: Mapping[int, Sequence[tuple[LegacyGroup, int, float]]],
    ) -> tuple[Candidate, ...]:
        positions = self.matcher.positions
        leading = float(confidence.leading[number])
        others = max(1.0 - float(probabilities[top[0]]), 1e-9)
        out = []
        for rank, index in enumerate(top, start=1):
            share = float(probabilities[index])
            if share <= 0:
                break
            # What the leader does not take is parted among the others as their shares of the vote stand.
            probability = leading if rank == 1 else min((1.0 - leading) * share / others, leading)
            evidence = self._evidence(number, int(index), voices)
            out.append(Candidate(rank, positions[index], round(probability, 4), round(share, 4), evidence))
        return tuple(out)

    def _evidence(
        self, number: int, position: int, voices: Mapping[int, Sequence[tuple[LegacyGroup, int, float]]]
    ) -> str:
        title = int(self.space.title_index[number])
        department = self.space.groups[number].department
        parts = []
        decided = [(g, share) for g, p, share in voices.get(title, ()) if p == position]
        decided.sort(key=lambda item: (item[0].department != department, -item[0].headcount))
        for group, share in decided[:2]:
            where = f" in {group.where}" if group.where else ""
            parts.append(f"decided: {group.title}{where} ({share:.0%} of {group.headcount})")
        near = [n for n in self.space.scored.nearest[title] if n.position == position][:2]
        parts.extend(f"like: {n.title} ({n.likeness:.2f})" for n in near)
        if not parts:
            parts.append(f"like: {self.matcher.positions[position].title}")
        return "; ".join(parts)

    def _voices(self, answered: Sequence[tuple[int, Answer]]) -> dict[int, list[tuple[LegacyGroup, int, float]]]:
        """Decided groups by title: where their people went."""
        found: dict[int, list[tuple[LegacyGroup, int, float]]] = {}
        for number, answer in answered:
            total = sum(n for _, n in answer.placements)
            for key, people in answer.placements:
                position = self.space.position_index.get(key)
                if position is not None and total:
                    place = found.setdefault(int(self.space.title_index[number]), [])
                    place.append((self.space.groups[number], position, people / total))
        return found

    def _band(
        self, group: LegacyGroup, candidates: Sequence[Candidate], confidence: Confidence, number: int
    ) -> tuple[str, bool]:
        near = self.space.scored.nearest[int(self.space.title_index[number])]
        likeness = near[0].likeness if near else 0.0
        leading = candidates[0].probability if candidates else 0.0
        if not candidates or leading < self.rule.no_match or (likeness < _UNLIKE and leading < 0.5):
            return NO_MATCH, False
        if confidence.threshold is not None and leading >= confidence.threshold:
            drawn = sampled(group.id, self.rule.sample)
            return (REVIEW if drawn else AUTO), drawn
        return REVIEW, False
