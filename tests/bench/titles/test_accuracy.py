"""Prints how accurate suggestions, bands, families and levels are on public data, beside plain
alternatives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np
import pytest
from rapidfuzz import fuzz, process

from mappings.titles.agreement import Agreement, agreement
from mappings.titles.answers import Answer
from mappings.titles.confidence import AUTO
from mappings.titles.families import FamilyDraft, agglomerative, pieces
from mappings.titles.gazetteer import shipped_gazetteer
from mappings.titles.legacy import LegacyGroup
from mappings.titles.normalise import normalise, normalise_all
from mappings.titles.score import Stopwatch, score
from mappings.titles.semantic import load_encoder
from mappings.titles.simulate import review_curve
from mappings.titles.suggest import Suggester
from tests.bench.titles.data import is_staff, needs_data, occupations, read, university

pytestmark = [pytest.mark.bench, needs_data]


def by_id(groups: Sequence[LegacyGroup], truth: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Truth by group id."""
    return {group.id: part for group, part in zip(groups, truth, strict=True)}


def show(name: str, found: dict[str, object]) -> None:
    """Prints one line of figures."""
    print(f"\n  {name}: {json.dumps(found)}")


@pytest.mark.parametrize("people", ["staff", "all"])
def test_the_university_migration_with_no_decision_at_all(people: str) -> None:
    """Catalogue only: plain alternatives, the core alone, and the core with the model of meaning."""
    groups, catalogue, truth = university(is_staff if people == "staff" else lambda _: True)
    keys = [p.key for p in catalogue.distinct]
    scores = process.cdist(
        [g.title.lower() for g in groups], [p.title.lower() for p in catalogue.distinct], scorer=fuzz.WRatio
    )
    plain = sum(
        sum(n for key, n in part.items() if catalogue.slots[key] == best)
        for part, best in zip(truth, scores.argmax(axis=1), strict=True)
    )
    show(f"university, {people}: WRatio", {"top1": 100 * plain / sum(g.headcount for g in groups), "keys": len(keys)})
    found = {}
    for semantic in (False, True):
        watch = Stopwatch()
        suggestions = Suggester(groups, catalogue, semantic=semantic).suggest()
        result = score(suggestions, by_id(groups, truth), catalogue, watch)
        found[semantic] = result
        show(
            f"university, {people}: {'with meaning' if semantic else 'core'}",
            {
                "by people": vars(result.by_people),
                "by title": vars(result.by_title),
                "brier": result.brier,
                "seconds": result.seconds,
            },
        )
    best = found[True].by_people
    if people == "staff":
        assert best.top1 >= 30
        assert best.top5 >= 52
        assert best.family >= 66


def test_occupations_from_their_other_titles() -> None:
    """Titles left out of the gazetteer find their occupation; any of several codes is right."""
    rows = read("onet_match.csv")
    catalogue = occupations()
    groups = [LegacyGroup(row["title"]) for row in rows]
    accepted = [set(row["codes"].split("|")) for row in rows]
    for semantic in (False, True):
        watch = Stopwatch()
        suggestions = Suggester(groups, catalogue, shipped_gazetteer(), semantic=semantic).suggest()
        ranked = [[c.position.key for c in item.candidates] for item in suggestions.items]
        top1 = 100 * np.mean([bool(keys) and keys[0] in right for keys, right in zip(ranked, accepted, strict=True)])
        top5 = 100 * np.mean([bool(right & set(keys)) for keys, right in zip(ranked, accepted, strict=True)])
        show(
            f"occupations: {'with meaning' if semantic else 'core'}",
            {"top1": round(top1, 1), "top5": round(top5, 1), "seconds": round(watch.seconds, 1)},
        )
    assert top1 >= 51
    assert top5 >= 78


@pytest.mark.parametrize("people", ["staff", "all", "occupations"])
def test_the_review_curve_and_the_automatic_band(people: str) -> None:
    """People placed right after 50, 100 and 200 decisions, and whether the automatic band keeps its
    promise.
    """
    if people == "occupations":
        catalogue = occupations()
        rows = read("onet_match.csv")
        groups = [LegacyGroup(row["title"]) for row in rows]
        suggester = Suggester(groups, catalogue, shipped_gazetteer())
        first = suggester.suggest()
        truth = []
        for row, item in zip(rows, first.items, strict=True):
            codes = row["codes"].split("|")
            best = item.candidates[0].position.key if item.candidates else codes[0]
            truth.append({best if best in codes else codes[0]: 1.0})
    else:
        groups, catalogue, truth = university(is_staff if people == "staff" else lambda _: True)
        suggester = Suggester(groups, catalogue)
        slots, distinct = catalogue.slots, catalogue.distinct
        truth = [{distinct[slots[k]].key: 0.0 for k in part} | merged(part, slots, distinct) for part in truth]
    points, answered = review_curve(suggester.space, truth)
    for point in points:
        show(f"review, {people}", vars(point))
    decided: dict[str, Answer] = {groups[i].id: answer for i, answer in answered}
    suggestions = suggester.suggest(decided)
    left = {g.id: part for g, part in zip(groups, truth, strict=True) if g.id not in decided}
    result = score(suggestions, left, catalogue, Stopwatch())
    show(
        f"bands, {people}, after {len(decided)} decisions",
        {
            "threshold": result.threshold,
            "bands": {k: vars(v) for k, v in result.bands.items()},
            "brier": result.brier,
            "reliability": [(r.promised, r.right, r.groups) for r in result.reliability],
        },
    )
    auto = result.bands[AUTO]
    assert auto.groups > 0
    assert auto.precision is not None
    assert auto.precision >= 93
    if people != "occupations":
        assert points[1].offered >= points[1].headcount + 10


def merged(part: dict[str, float], slots: dict[str, int], distinct: Sequence[object]) -> dict[str, float]:
    """Shares with the keys of one position taken together."""
    found: dict[str, float] = {}
    for key, people in part.items():
        name = distinct[slots[key]].key  # type: ignore[attr-defined]
        found[name] = found.get(name, 0.0) + people
    return found


CLUSTERS = ("nyc", "sf", "uw_standard", "uw_legacy", "onet")


@pytest.mark.parametrize("semantic", [False, True], ids=["core", "with meaning"])
def test_families_drafted_from_nothing(semantic: bool) -> None:
    """The draft beside average-linkage clusters of the same vectors, at the same number of groups."""
    encoder = load_encoder() if semantic else None
    draft = FamilyDraft(encoder=encoder)
    for name in CLUSTERS:
        rows = read(f"cluster_{name}.csv")
        label = "family" if name == "nyc" else "label"
        rows = [row for row in rows if row[label]]
        titles, labels = [row["title"] for row in rows], [row[label] for row in rows]
        groups = [LegacyGroup(title) for title in titles]
        read_titles = normalise_all(titles)
        vectors = draft.vectors(read_titles) if semantic else pieces(read_titles)
        own = draft.draft(groups)
        wanted = draft.draft(groups, wanted=len(set(labels)))
        found = {
            "labels": len(set(labels)),
            "families": len({p.family for p in own}),
            "drafted families": line(agreement([p.family for p in own], labels)),
            "agglomerative, as many": line(
                agreement(list(agglomerative(vectors, len({p.family for p in own}))), labels)
            ),
            "drafted positions": line(agreement([p.position for p in own], labels)),
            "as many families as labels": line(agreement([p.family for p in wanted], labels)),
            "agglomerative, as many as labels": line(agreement(list(agglomerative(vectors, len(set(labels)))), labels)),
        }
        show(f"families, {name} ({len(titles)} titles)", found)


def line(found: Agreement) -> str:
    """Agreement in one line."""
    return (
        f"pairs {found.precision:.3f}/{found.recall:.3f}/{found.f1:.3f} "
        f"B3 {found.bcubed_precision:.3f}/{found.bcubed_recall:.3f}/{found.bcubed_f1:.3f}"
    )


def keyword_band(title: str) -> str:
    """The plain alternative: the first keyword found anywhere in the title."""
    text = title.lower()
    for band, words in (
        ("Management", ("vorstand", "ceo", "geschäftsführer", "president", "chief", "partner", "founder", "owner")),
        ("Director", ("direct", "direkt")),
        ("Lead", ("head", "lead", "leiter", "manager")),
        ("Senior", ("senior", "sr")),
        ("Junior", ("junior", "intern", "assistant", "trainee", "student")),
    ):
        if any(word in text for word in words):
            return band
    return "Professional"


def f1(found: Sequence[object], true: Sequence[object], label: object) -> tuple[float, float, float]:
    """Precision, recall and F1 of one label."""
    both = sum(a == b == label for a, b in zip(found, true, strict=True))
    precision = both / max(sum(a == label for a in found), 1)
    recall = both / max(sum(b == label for b in true), 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def test_levels_and_the_manager_track() -> None:
    """Seniority on titles from CVs; managers of people there and, roughly, in a city's civil service."""
    rows = read("snapaddy_levels.csv")
    true = [row["seniority"] for row in rows]
    readings = [normalise(row["position"]).level for row in rows]
    for name, found in (
        ("read", [r.band for r in readings]),
        ("keywords", [keyword_band(r["position"]) for r in rows]),
    ):
        per_label = {label: tuple(round(x, 3) for x in f1(found, true, label)) for label in sorted(set(true))}
        macro = sum(values[2] for values in per_label.values()) / len(per_label)
        show(f"seniority, {name}", {"macro F1": round(macro, 3), **{k: list(v) for k, v in per_label.items()}})
    keyword = re.compile(r"manager|director|head|lead|chief|supervis", re.I)
    managers = [label in ("Lead", "Director", "Management") for label in true]
    read_managers = [r.track == "M" for r in readings]
    show("manager track, CVs: read", {"P/R/F1": [round(x, 3) for x in f1(read_managers, managers, True)]})
    guessed = [bool(keyword.search(row["position"])) for row in rows]
    show("manager track, CVs: keywords", {"P/R/F1": [round(x, 3) for x in f1(guessed, managers, True)]})
    city = read("cluster_nyc.csv")
    service = [managerial(row["civil_service_title"]) for row in city]
    read_city = [normalise(row["title"]).level.track == "M" for row in city]
    show(
        "manager track, city (by civil-service title): read",
        {"P/R/F1": [round(x, 3) for x in f1(read_city, service, True)]},
    )
    guessed = [bool(keyword.search(row["title"])) for row in city]
    show("manager track, city: keywords", {"P/R/F1": [round(x, 3) for x in f1(guessed, service, True)]})
    precision, recall, _ = f1(read_managers, managers, True)
    assert precision >= 0.7
    assert recall >= 0.6


def managerial(service_title: str) -> bool:
    """Whether a civil-service title is a managerial one, as far as its words tell."""
    if re.search(r"NON-?\s?MGRL|\bNM\b|PROJECT MANAGER|INVESTMENT MANAGER", service_title):
        return False
    return bool(
        re.search(r"MGR|MANAGER|^ADMINISTRATIVE |^ADM |DIRECTOR|COMMISSIONER|EXECUTIVE|CHIEF|SUPERVIS", service_title)
    )
