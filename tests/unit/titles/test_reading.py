"""Legacy files, catalogues and gazetteers are read with every oddity named."""

from __future__ import annotations

import pytest

from mappings.titles.catalogue import read_catalogue
from mappings.titles.columns import ColumnMissingError
from mappings.titles.gazetteer import read_gazetteer, shipped_families, shipped_gazetteer
from mappings.titles.legacy import group_id, read_legacy


def test_people_become_groups_ordered_by_headcount() -> None:
    """One row a person: the same title, department and grade make one group, whatever the spelling of
    case.
    """
    rows = [
        {"Employee ID": "1", "Job Title": "Cook", "Dept": "Kitchen"},
        {"Employee ID": "2", "Job Title": "COOK ", "Dept": "kitchen"},
        {"Employee ID": "3", "Job Title": "Cook", "Dept": "Canteen"},
    ]
    legacy = read_legacy(rows, list(rows[0]))
    assert [(g.title, g.department, g.headcount) for g in legacy.groups] == [
        ("Cook", "Kitchen", 2),
        ("Cook", "Canteen", 1),
    ]
    assert legacy.groups[0].id == group_id("cook", "KITCHEN", "")


def test_bad_rows_are_named_and_good_rows_kept() -> None:
    """Empty titles, emoji, long titles and unreadable headcounts."""
    rows = [
        {"title": "", "headcount": "4"},
        {"title": "🚀", "headcount": "1"},
        {"title": "x" * 5000, "headcount": "1"},
        {"title": "Cook", "headcount": "many"},
        {"title": "=cmd|x", "headcount": "2"},
    ]
    legacy = read_legacy(rows, ["title", "headcount"], source="old.csv")
    assert [(g.title[:6], g.headcount) for g in legacy.groups] == [("=cmd|x", 2), ("Cook", 1), ("xxxxxx", 1)]
    assert [warning.split(":")[0] for warning in legacy.warnings] == [
        "old.csv, row 2, column 'title'",
        "old.csv, row 3, column 'title'",
        "old.csv, row 4, column 'title'",
        "old.csv, row 5, column 'headcount'",
    ]


def test_a_named_column_that_does_not_exist_is_refused_with_the_columns_there_are() -> None:
    """The message is what a person needs to try again."""
    with pytest.raises(ColumnMissingError, match=r"no column named 'Titel'.*'Job Title'"):
        read_legacy([], ["Job Title"], {"title": "Titel"})


def test_the_first_of_two_equal_keys_is_kept() -> None:
    """And the second is named with its row."""
    rows = [
        {"key": "A", "title": "Cook", "family": "F"},
        {"key": "A", "title": "Chef", "family": "F"},
        {"key": "", "title": "Baker", "family": "F"},
    ]
    catalogue = read_catalogue(rows, ["key", "title", "family"], source="cat.csv")
    assert [p.title for p in catalogue.positions] == ["Cook"]
    assert "cat.csv, row 3" in catalogue.warnings[0]
    assert "'Chef' is left out" in catalogue.warnings[0]
    assert "no key" in catalogue.warnings[1]


def test_one_job_under_several_keys_is_one_position() -> None:
    """Suggestions are not filled up with its doubles."""
    rows = [{"key": k, "title": "Cook", "family": "F"} for k in ("A1", "A1U")] + [
        {"key": "B", "title": "Cook", "family": "G"}
    ]
    catalogue = read_catalogue(rows, ["key", "title", "family"])
    assert [p.key for p in catalogue.distinct] == ["A1", "B"]
    assert catalogue.slots == {"A1": 0, "A1U": 0, "B": 1}


def test_a_gazetteer_needs_a_key_or_a_family() -> None:
    """Titles alone say nothing."""
    assert read_gazetteer([{"title": "Chef", "family": "F"}], ["title", "family"])[0].family == "F"
    with pytest.raises(ColumnMissingError, match="position key or for the family"):
        read_gazetteer([], ["title"])


def test_the_shipped_gazetteer_is_whole() -> None:
    """Every occupation belongs to a named family."""
    entries = shipped_gazetteer()
    assert len(entries) == 43182
    assert {entry.family for entry in entries} == set(shipped_families())
