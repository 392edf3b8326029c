"""Titles become comparable words, and what they say about level stays beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mappings.titles.normalise import MAX_TITLE, load_abbreviations, normalise


@pytest.mark.parametrize(
    ("title", "core"),
    [
        ("SR INFORM PROC CONSLT", "information technology consultant"),
        ("Café  Manager", "cafe manager"),
        ("Nurse (R-20931) Part-Time", "nurse"),
        ("BWT-003-Community Planner", "community planner"),
        ("Accountants and Auditors - KBGFJG51066-13", "accountant auditor"),
        ("Warehouse Operative - Night Shift (Fixed Term)", "warehouse operative"),
        ("Geschäftsführer (m/w/d)", "geschaftsfuhrer"),
        ("Software Eng II", "software engineer"),
        ("Eng Technician", "engineering technician"),
        ("Night Auditor", "night auditor"),
        ("GIS Analyst", "geographic information system analyst"),
    ],
)
def test_only_the_work_itself_is_left_in_the_core(title: str, core: str) -> None:
    """Case, accents, abbreviations, codes, contract and shift words are dealt with."""
    assert normalise(title).core == core


def test_an_ambiguous_abbreviation_is_resolved_by_its_surroundings_or_left_alone() -> None:
    """PA is a physician assistant in a clinic, in public television something else, and elsewhere it stays
    PA.
    """
    assert "physician assistant" in normalise("PA", "Emergency Medicine").text
    assert "production assistant" in normalise("PA", "Television").text
    assert normalise("PA", "Warehouse 4").text == "pa"


def test_codes_conditions_and_specialism_are_kept_apart() -> None:
    """What is taken out of the core is not lost."""
    title = normalise("Nurse (R-20931), Intensive Care - Nights")
    assert title.codes == ("R-20931",)
    assert title.conditions == ("nights",)
    assert title.specialism == "intensive care nights"


def test_a_project_may_bring_its_own_abbreviations(tmp_path: Path) -> None:
    """The list is a CSV file anybody can edit."""
    path = tmp_path / "own.csv"
    path.write_text("abbreviation,expansion,context\nzx,zone keeper,\n", encoding="utf-8")
    assert normalise("ZX II", abbreviations=load_abbreviations(path)).core == "zone keeper"


@pytest.mark.parametrize("title", ["", "   ", "🚀🚀", "=cmd|' /C calc'!A0", "x" * 5000, "\x00\n\t", "日本語の肩書き"])
def test_no_text_is_too_odd_to_read(title: str) -> None:
    """Empty, endless, foreign and hostile titles are read without a fault."""
    read = normalise(title)
    assert read.raw == title
    assert len(read.text) <= 3 * MAX_TITLE
