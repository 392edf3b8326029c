"""Suggestions: candidates, probabilities, bands, evidence, decisions that sharpen the rest, and what they
score.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.titles import gazetteer_of, write_suggestions
from mappings.titles.agreement import agreement
from mappings.titles.answers import Answer
from mappings.titles.catalogue import Catalogue, Position
from mappings.titles.confidence import AUTO, REVIEW, BandRule, draw, sampled
from mappings.titles.families import FamilyDraft
from mappings.titles.gazetteer import GazetteerEntry, shipped_gazetteer, shipped_occupations
from mappings.titles.legacy import LegacyGroup
from mappings.titles.score import Stopwatch, read_truth, score
from mappings.titles.simulate import review_curve
from mappings.titles.suggest import Suggester

CATALOGUE = Catalogue(
    (
        Position("N1", "Registered Nurse I", "HC"),
        Position("N2", "Registered Nurse II", "HC"),
        Position("N3", "Nurse Manager", "HC"),
        Position("I1", "Software Engineer I", "IT"),
        Position("I2", "Software Engineer II", "IT"),
        Position("I3", "Help Desk Specialist", "IT"),
        Position("F1", "Accountant", "FN"),
        Position("F2", "Payroll Specialist", "FN"),
    )
)
GROUPS = (
    LegacyGroup("RN 2", "Surgery", "", 9),
    LegacyGroup("SW ENGR I", "IT", "", 5),
    LegacyGroup("Generalist", "IT", "", 4),
    LegacyGroup("Generalist", "Finance", "", 4),
    LegacyGroup("Generalist", "Surgery", "", 4),
    LegacyGroup("PAYROLL SPEC", "Finance", "", 2),
)


def suggester(groups: Sequence[LegacyGroup] = GROUPS, **options: object) -> Suggester:
    """A small suggester without background knowledge, quick to build."""
    return Suggester(groups, CATALOGUE, background=(), semantic=False, **options)  # type: ignore[arg-type]


def first(items: Sequence[object], title: str, department: str) -> str:
    """The key suggested first for one group."""
    for item in items:
        if (item.group.title, item.group.department) == (title, department):  # type: ignore[attr-defined]
            return str(item.candidates[0].position.key)  # type: ignore[attr-defined]
    raise AssertionError(title)


def test_words_and_levels_find_their_position() -> None:
    """Abbreviations are read and numerals pick the level."""
    items = suggester().suggest().items
    assert first(items, "RN 2", "Surgery") == "N2"
    assert first(items, "SW ENGR I", "IT") == "I1"
    assert first(items, "PAYROLL SPEC", "Finance") == "F2"


def test_probabilities_of_one_group_are_probabilities() -> None:
    """They fall with rank and do not exceed one together; every candidate says what it rests on."""
    for item in suggester().suggest().items:
        shares = [candidate.probability for candidate in item.candidates]
        assert len(shares) <= 5
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1.001
        assert all(candidate.evidence for candidate in item.candidates)


def test_a_decision_sharpens_the_rest_at_once_and_department_tells_apart() -> None:
    """The same title goes where it went before, and elsewhere where that department goes."""
    tool = suggester()
    finance, it = GROUPS[3], GROUPS[2]
    answers = {finance.id: Answer(finance, (("F1", 4.0),)), it.id: Answer(it, (("I3", 4.0),))}
    items = tool.suggest(answers).items
    assert first(items, "Generalist", "Finance") == "F1"
    assert first(items, "Generalist", "IT") == "I3"
    assert first(items, "Generalist", "Surgery") in ("F1", "I3")
    evidence = next(i for i in items if i.group == finance).candidates[0].evidence
    assert "decided: Generalist in Finance" in evidence


def test_a_key_ruled_out_is_not_offered_again() -> None:
    """Excluding one candidate leaves the others."""
    group = GROUPS[0]
    items = suggester().suggest({group.id: Answer(group, (), ("N2",))}).items
    keys = [c.position.key for c in next(i for i in items if i.group == group).candidates]
    assert "N2" not in keys
    assert keys


def test_nothing_is_automatic_before_enough_decisions() -> None:
    """However sure the words look."""
    found = suggester().suggest()
    assert found.threshold is None
    assert all(item.band != AUTO for item in found.items)


def test_with_decisions_the_band_opens_and_a_sample_still_goes_to_review() -> None:
    """A company whose titles are its standard titles earns automation; one in twenty is looked at all the
    same.
    """
    names = ("Registered Nurse I", "Software Engineer II", "Accountant", "Payroll Specialist", "Nurse Manager")
    keys = ("N1", "I2", "F1", "F2", "N3")
    groups = [LegacyGroup(name, f"Unit {unit}", "", 3) for unit in range(40) for name in names]
    tool = suggester(groups, rule=BandRule(sample=0.1))
    right = dict(zip(names, keys, strict=True))
    answers = {g.id: Answer(g, ((right[g.title], 3.0),)) for g in groups[:80]}
    found = tool.suggest(answers)
    assert found.threshold is not None
    left = [item for item in found.items if item.decided is None]
    automatic = [item for item in left if item.band == AUTO]
    assert len(automatic) > len(left) / 2
    assert all(item.candidates[0].position.key == right[item.group.title] for item in automatic)
    drawn = [item for item in left if item.in_sample]
    assert drawn
    assert all(item.band == REVIEW for item in drawn)


def test_wrong_answers_keep_the_band_shut() -> None:
    """Where decisions contradict the words, nothing is automatic."""
    groups = [LegacyGroup("Accountant", f"Unit {unit}", "", 3) for unit in range(120)]
    keys = ("F1", "F2", "N1", "I2")
    answers = {g.id: Answer(g, ((keys[i % 4], 3.0),)) for i, g in enumerate(groups[:80])}
    found = suggester(groups).suggest(answers)
    assert all(item.band != AUTO for item in found.items)


def test_the_random_sample_is_the_same_on_every_run_and_about_as_large_as_asked() -> None:
    """It depends on the group alone."""
    drawn = [sampled(f"g{i}", 0.05) for i in range(4000)]
    assert drawn == [sampled(f"g{i}", 0.05) for i in range(4000)]
    assert 120 < sum(drawn) < 280
    assert 0 < draw("a") <= 1


def test_the_offered_order_asks_where_most_people_hang_on_the_answer() -> None:
    """A title spread over many departments comes before a larger group that stands alone and is sure."""
    groups = [LegacyGroup("Accountant", "Finance", "", 30)]
    groups += [LegacyGroup("Associate Level Z", f"Unit {i}", "", 10) for i in range(10)]
    items = suggester(groups).suggest(offer=3).items
    offered = sorted((i for i in items if i.offered), key=lambda i: i.offered)
    assert offered[0].group.title == "Associate Level Z"
    assert sorted(i.offered for i in items) == list(range(1, 12))


def test_a_simulated_reviewer_places_more_people_than_same_as_last_time() -> None:
    """And everybody once all groups are decided."""
    truth = [{"N2": 9.0}, {"I1": 5.0}, {"I3": 4.0}, {"F1": 4.0}, {"N1": 4.0}, {"F2": 2.0}]
    points, answered = review_curve(suggester().space, truth, at=(2, 6))
    assert len(answered) == 6
    assert points[0].offered >= points[0].headcount
    assert points[1].offered == 100


def test_the_score_is_what_counting_by_hand_gives() -> None:
    """Three people right of four, both families right; a truth outside the catalogue is wrong, not lost."""
    rows = [
        {"title": "RN 2", "headcount": "3", "key": "N2"},
        {"title": "PAYROLL SPEC", "headcount": "1", "key": "F1"},
    ]
    truth = read_truth(rows, ["title", "headcount", "key"])
    suggestions = suggester(truth.legacy.groups).suggest()
    result = score(suggestions, truth.keys, CATALOGUE, Stopwatch())
    assert (result.people, result.groups, result.titles) == (4, 2, 2)
    assert result.by_people.top1 == 75
    assert result.by_title.top1 == 50
    assert result.by_people.family == 100
    assert result.as_json()["bands"]["auto"]["precision"] is None


def test_titles_of_a_gazetteer_speak_for_their_position() -> None:
    """A title nobody could guess is found because it is filed."""
    filed = [GazetteerEntry("Zookeeper of Ledgers", "F1"), GazetteerEntry("Wizard", "I2")]
    tool = Suggester([LegacyGroup("Wizard")], CATALOGUE, filed, background=(), semantic=False)
    assert tool.suggest().items[0].candidates[0].position.key == "I2"


def test_no_groups_and_no_catalogue_are_told_apart() -> None:
    """Nothing to map is no fault; nothing to map onto is."""
    with pytest.raises(ValueError, match="holds no positions"):
        Suggester(GROUPS, Catalogue(()), background=(), semantic=False)


def test_a_missing_extra_is_named_with_the_command_that_installs_it() -> None:
    """Importing works without it; using it says what to do."""
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import mappings.titles.suggest as s\n"
        "from mappings.titles.lexical import TextIndex\n"
        "try: TextIndex(['a'], 'char')\n"
        "except ImportError as e: print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'lms-bridge[titles]'" in done.stdout


def test_agreement_counts_pairs_and_members() -> None:
    """A grouping agrees wholly with itself; putting all together recalls everything."""
    assert agreement("aabb", "xxyy").f1 == 1
    together = agreement("aaaa", "xxyy")
    assert together.recall == 1
    assert together.precision == pytest.approx(1 / 3)
    assert together.bcubed_precision == 0.5


def test_a_draft_places_every_title() -> None:
    """Known titles among the gazetteer's families, unknown ones in groups named after their words."""
    entries = [
        GazetteerEntry(t, k, k[:2]) for t, k in (("Nurse", "29-1"), ("Charge Nurse", "29-1"), ("Welder", "51-4"))
    ]
    draft = FamilyDraft(entries, {"29": "Healthcare", "51": "Production"})
    groups = [LegacyGroup("Staff Nurse"), LegacyGroup("Welder II"), LegacyGroup("Qqxyz Vvwk"), LegacyGroup("Qqxyz Jjk")]
    places = draft.draft(groups)
    assert [p.family_name for p in places] == [
        "Healthcare",
        "Production",
        "Not in the gazetteer",
        "Not in the gazetteer",
    ]
    assert places[1].level == "2"
    assert places[2].position == places[3].position == "x-qqxyz"


def test_any_of_several_true_keys_is_right() -> None:
    """A truth may name several keys, parted by a bar, under a heading of its own."""
    rows = [{"title": "RN 2", "codes": "N1|N2"}, {"title": "PAYROLL SPEC", "codes": "N1|I1"}]
    truth = read_truth(rows, ["title", "codes"])
    result = score(suggester(truth.legacy.groups).suggest(), truth.keys, CATALOGUE, Stopwatch())
    assert (result.by_people.top1, result.by_people.family) == (50, 50)


def test_the_shipped_gazetteer_is_taken_by_itself_where_the_keys_are_occupation_codes() -> None:
    """And nowhere else, and not against somebody's word."""
    occupations = shipped_occupations()
    assert len(occupations) == 1016
    assert gazetteer_of(None, occupations) == shipped_gazetteer()
    assert gazetteer_of("none", occupations) == ()
    assert gazetteer_of(None, CATALOGUE) == ()


def test_a_department_known_by_its_name_speaks_for_its_positions() -> None:
    """A code says nothing; what the code is called does."""
    coded = [LegacyGroup("Generalist", "D1"), LegacyGroup("Generalist", "D2")]
    named = [replace(coded[0], place="Software"), replace(coded[1], place="Payroll")]
    assert [g.id for g in coded] == [g.id for g in named]
    items = suggester(named).suggest().items
    assert first(items, "Generalist", "D1") in ("I1", "I2")
    assert first(items, "Generalist", "D2") == "F2"


def test_the_table_of_suggestions_has_exactly_its_columns(tmp_path: Path) -> None:
    """Rank 0 and an empty key where there is no candidate; JSON Lines say more of the title."""
    groups = (LegacyGroup("Sr RN 2, Surgery", "Ward", "7", 9), LegacyGroup("Zzqx"))
    suggestions = suggester(groups).suggest()
    write_suggestions(tmp_path / "s.csv", suggestions, CATALOGUE, [])
    raw = (tmp_path / "s.csv").read_bytes()
    assert raw.startswith(
        b"group,title,department,grade,headcount,rank,key,candidate,family,probability,band,level,track,evidence"
    )
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows if row["title"] == "Sr RN 2, Surgery"] == ["1", "2", "3", "4", "5"]
    (none,) = [row for row in rows if row["title"] == "Zzqx"]
    assert (none["rank"], none["key"], none["band"]) == ("0", "", "no match")
    write_suggestions(tmp_path / "s.jsonl", suggestions, CATALOGUE, [])
    one = json.loads((tmp_path / "s.jsonl").read_text("utf-8").splitlines()[0])
    assert (one["seniority"], one["numeral"], one["specialism"], one["track"]) == ("senior", 2, "surgery", "IC")
