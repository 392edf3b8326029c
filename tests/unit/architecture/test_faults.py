"""Every fault names file, line, column and value, and says what to do; several are reported at once."""

from pathlib import Path

import pytest

from bridge.faults import Fault
from jobs.architecture import ArchitectureReading, read_architecture


def the_fault(reading: ArchitectureReading) -> Fault:
    """Return the one fault there is, once it is known to be of use to a person."""
    assert len(reading.faults) == 1, [str(fault) for fault in reading.faults]
    fault = reading.faults[0]
    assert fault.message.endswith((".", "?"))
    assert fault.remedy.endswith(".")
    return fault


def test_the_sound_architecture_is_sound(read) -> None:
    """Else the other tests say nothing."""
    reading = read()
    assert reading.faults == ()
    assert reading.remarks == ()
    assert len(reading.architecture.requirements) == 8
    assert reading.architecture.rules[0].required_points == 2
    assert reading.architecture.competencies[2].scale == "S2"


LONG = "x" * 101

ONE_BAD_LINE = [
    # file, line added, column, value, rule
    ("competency_scales.csv", "S3,Three,3,Highest,1,0", "value", "3", "duplicate"),
    ("competency_scales.csv", "S3,Three,5,Highest,1,0", "value", "5", "scale-gap"),
    ("competency_scales.csv", "S3,Three,four,Highest,1,0", "value", "four", "number"),
    ("competency_scales.csv", "S3,Three,4,HIGH,1,0", "label", "HIGH", "duplicate"),
    ("competency_scales.csv", "S3,Three,4,,1,0", "label", "", "name-empty"),
    ("competency_scales.csv", "S3,Four,4,Top,1,0", "name", "Four", "scale-name"),
    ("competency_scales.csv", "S3,Three,4,Top,perhaps,0", "proficient", "perhaps", "yes-or-no"),
    ("competency_scales.csv", "S3,Three,4,Top,0,0", "proficient", "0", "scale-proficient"),
    ("competency_scales.csv", "S3,Three,4,Top,1,1", "default", "1", "scale-default"),
    ("competency_scales.csv", "S9,Nine,1,Only,1,1", "value", "1", "scale-short"),
    ("competency_scales.csv", "s3,Three,1,Low,0,1", "scale", "s3", "duplicate"),
    ("competency_frameworks.csv", "CORE,Again,S3", "framework", "CORE", "duplicate"),
    ("competency_frameworks.csv", "Córe,Again,S3", "framework", "Córe", "duplicate"),
    ("competency_frameworks.csv", "NEW,,S3", "name", "", "name-empty"),
    ("competency_frameworks.csv", "NEW,New,", "scale", "", "scale-missing"),
    ("competency_frameworks.csv", "NEW,New,S7", "scale", "S7", "scale-unknown"),
    ("competency_frameworks.csv", "A/B,New,S3", "framework", "A/B", "slash-in-key"),
    ("competencies.csv", "CORE,C1.1,,Again,,", "idnumber", "C1.1", "duplicate"),
    ("competencies.csv", "CORE,c1.1,,Again,,", "idnumber", "c1.1", "duplicate"),
    ("competencies.csv", "CORE,,,Nameless,,", "idnumber", "", "key-empty"),
    ("competencies.csv", f"CORE,{LONG},,Long,,", "idnumber", LONG, "key-too-long"),
    ("competencies.csv", "CORE,C2,,,,", "shortname", "", "name-empty"),
    ("competencies.csv", "CORE,C2,C9,Orphan,,", "parent", "C9", "parent-unknown"),
    ("competencies.csv", "CORE,C2,T1,Elsewhere,,", "parent", "T1", "parent-unknown"),
    ("competencies.csv", "CORE,C2,C2,Own parent,,", "parent", "C2", "parent-circle"),
    ("competencies.csv", "CODE,C2,,Unknown,,", "framework", "CODE", "framework-unknown"),
    ("competencies.csv", ",C2,,Unknown,,", "framework", "", "framework-unknown"),
    ("competencies.csv", "CORE,C2,,Own scale,,S8", "scale", "S8", "scale-unknown"),
    ("competencies.csv", "CORE,C2,,Short", "", "CORE | C2 |  | Short", "row-too-short"),
    ("level_descriptors.csv", "C1,4,Beyond", "level", "4", "level-outside"),
    ("level_descriptors.csv", "C1,Highest,Beyond", "level", "Highest", "level-outside"),
    ("level_descriptors.csv", "C1,2,", "text", "", "text-empty"),
    ("level_descriptors.csv", "C1,1,Again", "level", "1", "duplicate"),
    ("level_descriptors.csv", "C9,1,Nothing", "competency", "C9", "competency-unknown"),
    ("level_descriptors.csv", "C1.2,3,Its own scale has two", "level", "3", "level-outside"),
    ("roll_up_rules.csv", "T1,all,complete,,,,", "competency", "T1", "rule-childless"),
    ("roll_up_rules.csv", "C1,all,,,C1.1,1,", "rule", "all", "rule-disagrees"),
    ("roll_up_rules.csv", "C1,,,3,C1.1,1,", "required_points", "3", "rule-disagrees"),
    ("roll_up_rules.csv", "C1,,,,C1.1,1,", "child", "C1.1", "duplicate"),
    ("roll_up_rules.csv", "C1,,,,T1,1,", "child", "T1", "rule-child"),
    ("roll_up_rules.csv", "C1,,,,CORE/BOTH,1,", "child", "CORE/BOTH", "rule-child"),
    ("roll_up_rules.csv", "C1,,,,C1.9,1,", "child", "C1.9", "competency-unknown"),
    ("related_competencies.csv", "C1.2,C1.1", "related", "C1.1", "duplicate"),
    ("related_competencies.csv", "C1,C1", "related", "C1", "related-itself"),
    ("related_competencies.csv", "C1,T1", "related", "T1", "related-across"),
    ("related_competencies.csv", "C1,", "related", "", "competency-missing"),
    ("related_competencies.csv", "BOTH,C1", "competency", "BOTH", "competency-ambiguous"),
    ("course_links.csv", "k01,C1,", "competency", "C1", "duplicate"),
    ("course_links.csv", ",C1,", "course", "", "course-missing"),
    ("course_links.csv", "K02,C1,perhaps", "outcome", "perhaps", "outcome"),
    ("job_families.csv", "F1,Again,", "idnumber", "F1", "duplicate"),
    ("job_families.csv", "F3,Orphan,F9", "parent", "F9", "parent-unknown"),
    ("positions.csv", "P3,Porter,F9,1,IC", "family", "F9", "family-unknown"),
    ("positions.csv", "P3,Porter,F1,1,X", "track", "X", "track"),
    ("positions.csv", "P3,,F1,1,IC", "title", "", "name-empty"),
    ("organisations.csv", "O3,,O1,", "name", "", "name-empty"),
    ("organisations.csv", "O3,Orphan,O9,", "parent", "O9", "parent-unknown"),
    ("position_competencies.csv", "P9,C1,1", "position", "P9", "position-unknown"),
    ("position_competencies.csv", "P1,C9,1", "competency", "C9", "competency-unknown"),
    ("position_competencies.csv", "P1,BOTH,1", "competency", "BOTH", "competency-ambiguous"),
    ("position_competencies.csv", "P2,T1,3", "required_level", "3", "level-outside"),
    ("position_competencies.csv", "P2,T1,0", "required_level", "0", "level-outside"),
    ("position_competencies.csv", "P2,T1,", "required_level", "", "number"),
    ("position_competencies.csv", "P1,CORE/C1,1", "competency", "CORE/C1", "duplicate"),
    ("requirements.csv", "someone,,C1,1,,", "target", "someone", "target"),
    ("requirements.csv", "everyone,O1,C1.1,1,,", "target_key", "O1", "target-key"),
    ("requirements.csv", "organisation,O9,C1,1,,", "target_key", "O9", "organisation-unknown"),
    ("requirements.csv", "family,,C1,1,,", "target_key", "", "family-unknown"),
    ("requirements.csv", "level,3,C1,1,,", "target_key", "3", "level-unknown"),
    ("requirements.csv", "position,P9,C1,1,,", "target_key", "P9", "position-unknown"),
    ("requirements.csv", "position,P1,C1,1,soon,", "due_days", "soon", "number"),
    ("requirements.csv", "position,P1,C1,1,-5,", "due_days", "-5", "number"),
    ("requirements.csv", "position,P1,C1,1,,0", "renewal_days", "0", "number"),
    ("requirements.csv", "everyone,,C1,2,,", "competency", "C1", "duplicate"),
]


@pytest.mark.parametrize(("file", "line", "column", "value", "rule"), ONE_BAD_LINE)
def test_a_bad_line_is_one_fault_with_its_place_and_value(
    read_with_line, file: str, line: str, column: str, value: str, rule: str
) -> None:
    """One fault, whatever else may follow from it."""
    reading, number = read_with_line(file, line)
    fault = the_fault(reading)
    assert (fault.file, fault.line, fault.column, fault.value, fault.rule) == (file, number, column, value, rule)


def test_a_rule_out_of_reach_and_one_that_names_children_of_all_are_faults(read) -> None:
    """Both name the row that says so."""
    header = "competency,rule,outcome,required_points,child,points,required\n"
    fault = the_fault(read({"roll_up_rules.csv": header + "C1,points,complete,3,C1.1,1,\nC1,,,,C1.2,1,\n"}))
    assert (fault.rule, fault.line, fault.value) == ("rule-out-of-reach", 2, "3")
    fault = the_fault(read({"roll_up_rules.csv": header + "C1,all,complete,,C1.1,,\n"}))
    assert (fault.rule, fault.column) == ("rule-all", "child")
    fault = the_fault(read({"roll_up_rules.csv": header + "C1,some,complete,,,,\n"}))
    assert (fault.rule, fault.value) == ("rule-kind", "some")


def test_a_circle_of_parents_is_reported_once_with_its_way(read) -> None:
    """What hangs below the circle is not reported as well."""
    header = "framework,idnumber,parent,shortname\n"
    rows = "CORE,LEAF,A,Leaf\nCORE,A,B,A\nCORE,B,C,B\nCORE,C,A,C\n"
    files = ("level_descriptors", "roll_up_rules", "related_competencies", "course_links", "requirements")
    empty = {f"{name}.csv": None for name in (*files, "position_competencies")}
    fault = the_fault(read({**empty, "competencies.csv": header + rows}))
    assert (fault.rule, fault.line, fault.value) == ("parent-circle", 3, "B")
    assert "A → B → C → A" in fault.message


def test_faults_of_several_files_come_at_once_in_the_order_of_files_and_lines(read) -> None:
    """One run tells a person everything there is to mend."""
    reading = read(
        {
            "competencies.csv": (
                "framework,idnumber,parent,shortname\n"
                "CORE,C1,,Care\nCORE,C1.1,C7,Listening\nCORE,C1.2,C1,\nTECH,T1,,Tools\nCORE,BOTH,,B\n"
            ),
            "positions.csv": "idnumber,title,family,level,track\nP1,Nurse,F7,2,IC\nP2,Head nurse,F1,4,Z\n",
            "roll_up_rules.csv": None,
        }
    )
    assert [(fault.file, fault.line, fault.rule) for fault in reading.faults] == [
        ("competencies.csv", 3, "parent-unknown"),
        ("competencies.csv", 4, "name-empty"),
        ("positions.csv", 2, "family-unknown"),
        ("positions.csv", 3, "track"),
    ]


def test_the_fault_names_the_header_as_it_stands_in_the_file(read) -> None:
    """A person looks for the header they wrote."""
    fault = the_fault(read({"job_families.csv": "Code,Family name\nF1,Family\nF2,\n"}))
    assert (fault.column, fault.place) == ("Family name", "job_families.csv, line 3, column Family name")


@pytest.mark.parametrize(
    ("line", "hint"),
    [("P1,c1,1", "There is “C1”"), ("P01,C1,1", "leading zeros"), ("P 1,C1,1", "There is no position")],
)
def test_a_near_miss_is_named(read_with_line, line: str, hint: str) -> None:
    """Where case or leading zeros are all that differs."""
    if "zeros" in hint:
        line = line.replace("P01", "0P1")
    reading, _ = read_with_line("position_competencies.csv", line)
    assert hint in the_fault(reading).message


def test_a_missing_column_does_not_bring_a_fault_for_every_row_that_refers_to_the_file(read) -> None:
    """Nothing can be said of references into a file that could not be read."""
    reading = read({"competencies.csv": "framework,idnumber,shortname\nCORE,C1,Care\n"})
    assert [(fault.rule, fault.column) for fault in reading.faults] == [("header-missing", "parent")]


def test_a_file_that_is_not_there_is_asked_for_once(read) -> None:
    """However many rows refer to it."""
    reading = read({"positions.csv": None})
    assert [(fault.file, fault.line, fault.rule) for fault in reading.faults] == [
        ("position_competencies.csv", 2, "file-needed"),
        ("requirements.csv", 5, "file-needed"),
    ]
    assert "3 rows refer to positions" in reading.faults[0].message


def test_an_unreadable_file_is_a_fault_and_the_others_are_read(read, tmp_path: Path) -> None:
    """An empty one, and one in an undeclared encoding."""
    (tmp_path / "job_families.xlsx").write_bytes(b"")
    reading = read({"job_families.csv": None, "course_links.csv": ""})
    assert {(fault.file, fault.rule) for fault in reading.faults} == {
        ("course_links.csv", "empty-file"),
        ("job_families.xlsx", "empty-file"),
    }
    assert len(reading.architecture.organisations) == 2


def test_two_files_for_one_thing_are_a_fault(read, tmp_path: Path) -> None:
    """Nobody can know which one holds."""
    (tmp_path / "families.csv").write_text("idnumber,name\nF1,Family\nF2,Sub\n")
    fault = the_fault(read())
    assert (fault.rule, fault.file) == ("file-twice", "job_families.csv")


def test_an_unknown_column_and_a_long_name_and_a_comma_in_a_label_are_remarks(read) -> None:
    """They stop nothing."""
    reading = read(
        {
            "job_families.csv": f"idnumber,name,colour\nF1,{LONG},red\nF2,Sub,blue\n",
            "competency_scales.csv": (
                "scale,name,value,label,proficient,default\nS3,Three,1,Low,0,1\nS3,Three,2,Middle,1,0\n"
                'S3,Three,3,"High, very",1,0\nS2,Two,1,No,0,1\nS2,Two,2,Yes,1,0\n'
            ),
            "level_descriptors.csv": None,
        }
    )
    assert reading.faults == ()
    assert [(remark.rule, remark.column) for remark in reading.remarks] == [
        ("header-unknown", "colour"),
        ("comma-in-label", "label"),
        ("name-too-long", "name"),
    ]


def test_a_folder_that_is_none_or_holds_nothing_says_what_belongs_there(tmp_path: Path) -> None:
    """The names of the files are in the remedy."""
    assert the_fault(read_architecture(tmp_path / "none")).rule == "folder"
    fault = the_fault(read_architecture(tmp_path))
    assert fault.rule == "no-files"
    assert "competencies" in fault.remedy


def test_what_was_given_is_what_was_there(read) -> None:
    """An absent file says nothing about what it would hold; an empty one says there is none."""
    reading = read({"related_competencies.csv": None, "course_links.csv": "course,competency,outcome\n"})
    assert "related_competencies" not in reading.architecture.given
    assert "course_links" in reading.architecture.given
    assert reading.architecture.course_links == ()
