"""Level, seniority and track are read from whole words, in four languages."""

from __future__ import annotations

import pytest

from mappings.titles.normalise import normalise


@pytest.mark.parametrize(
    ("title", "level", "seniority", "track"),
    [
        ("Accountant II", 2, "professional", "IC"),
        ("Level 3 Technician", 3, "professional", "IC"),
        ("Sr. Engineer III", 3, "senior", "IC"),
        ("Internal Auditor", None, "professional", "IC"),
        ("Marketing Intern", None, "intern", "IC"),
        ("Internist", None, "professional", "IC"),
        ("Associate Professor", None, "associate", "IC"),
        ("Associate Director", None, "director", "M"),
        ("Project Manager", None, "professional", "IC"),
        ("Senior Product Manager", None, "senior", "IC"),
        ("Key Account Manager", None, "professional", "IC"),
        ("Warehouse Manager", None, "manager", "M"),
        ("Assistant to the Director", None, "junior", "IC"),
        ("Quality Manager Assistant", None, "junior", "IC"),
        ("IT Security Analyst, Office of Chief Information Officer", None, "professional", "IC"),
        ("Director, Office of Inclusion", None, "director", "M"),
        ("Vice President of Sales", None, "executive", "M"),
        ("School Principal", None, "director", "M"),
        ("Principal Engineer", None, "senior", "IC"),
        ("Administrative Manager (Non-Mgrl)", None, "professional", "IC"),
        ("Werkstudent (m/w/d)", None, "intern", "IC"),
        ("Abteilungsleiter Einkauf", None, "lead", "M"),
        ("Projektleiter", None, "lead", "IC"),
        ("Geschäftsführer", None, "executive", "M"),
        ("Chef d'équipe", None, "lead", "M"),
        ("Chef de projet", None, "lead", "IC"),
        ("Directrice financière", None, "director", "M"),
        ("Stagiaire", None, "intern", "IC"),
        ("Jefe de Ventas", None, "lead", "M"),
        ("Jefe de Proyecto", None, "lead", "IC"),
        ("Becaria de Marketing", None, "intern", "IC"),
        ("Directora de Operaciones", None, "director", "M"),
    ],
)
def test_what_the_words_say(title: str, level: int | None, seniority: str, track: str) -> None:
    """Traps included: numerals, "intern" in "internal", "Associate X", managers of things, other people's
    offices.
    """
    read = normalise(title).level
    assert (read.level, read.seniority, read.track) == (level, seniority, track)


def test_the_word_that_names_the_job_stays_in_the_core() -> None:
    """An assistant editor edits; a medical assistant assists."""
    assert normalise("Assistant Editor").core == "editor"
    assert normalise("Medical Assistant").core == "medical assistant"
