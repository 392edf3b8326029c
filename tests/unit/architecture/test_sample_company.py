"""The sample company reads without a fault, to the last row."""

from pathlib import Path

from bridge.model import RollUp, Target
from jobs.architecture import read_architecture

SAMPLE = Path(__file__).parents[3] / "samples" / "company"


def test_the_sample_company_reads_whole_and_without_faults() -> None:
    """Every row of every architecture file becomes a record."""
    reading = read_architecture(SAMPLE)
    architecture = reading.architecture
    assert reading.faults == ()
    assert len(architecture.scales) == 2
    assert len(architecture.frameworks) == 2
    assert len(architecture.competencies) == 2495
    assert sum(one.framework == "CORE" for one in architecture.competencies) == 22
    assert len(architecture.descriptors) == 10
    assert [rule.kind for rule in architecture.rules] == [RollUp.ALL, RollUp.POINTS, RollUp.ALL]
    assert len(architecture.related) == 4
    assert len(architecture.course_links) == 6
    assert len(architecture.families) == 22
    assert len(architecture.positions) == 997
    assert len(architecture.organisations) == 218
    of_positions = [one for one in architecture.requirements if one.target is Target.POSITION]
    assert (len(of_positions), len(architecture.requirements)) == (13_462, 13_469)


def test_the_sample_says_which_files_were_given_and_which_are_none_of_its_own() -> None:
    """Files of people are left alone, and named."""
    reading = read_architecture(SAMPLE)
    assert len(reading.architecture.given) == 12
    assert "competencies" in reading.architecture.given
    assert "hris_people_day1.csv" in reading.ignored


def test_names_over_the_limit_are_remarks_that_name_the_line() -> None:
    """Five names of the sample are longer than any LMS keeps; that is no fault."""
    remarks = read_architecture(SAMPLE).remarks
    assert [remark.rule for remark in remarks if remark.file == "competencies.csv"] == ["name-too-long"] * 5
    assert remarks[0].line == 418


def test_siblings_are_counted_from_zero_in_the_order_of_the_file() -> None:
    """The order in the file is the order an LMS should show."""
    children = [one for one in read_architecture(SAMPLE).architecture.competencies if one.parent == "CORE/1.C.1"]
    assert [(child.idnumber, child.order) for child in children] == [("1.C.1.a", 0), ("1.C.1.b", 1), ("1.C.1.c", 2)]
