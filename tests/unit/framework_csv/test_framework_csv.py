"""Moodle's own framework CSV: what its exporter wrote is read, and what is written its importer reads.

``exported.csv`` is what the exporter of a Moodle 4.5.6 wrote of a framework made for the purpose.
"""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.model import (
    Architecture,
    Competency,
    Framework,
    RelatedCompetencies,
    RollUp,
    RollUpPoints,
    RollUpRule,
    RuleOutcome,
    Scale,
    ScaleItem,
)
from bridge.ports import FixConfiguration
from connectors.moodle.framework_csv import HEADINGS, At, scale_file, write_framework_csv
from connectors.moodle.framework_csv_reader import is_framework_csv, read_framework_csv
from jobs.architecture import ArchitectureReading, read_architecture

EXPORTED = Path(__file__).parent / "exported.csv"
SAMPLE = Path(__file__).parents[3] / "samples" / "company"

THREE = Scale("S3", "Three", (ScaleItem(1, "Low", default=True), ScaleItem(2, "Mid", True), ScaleItem(3, "Top", True)))
TWO = Scale("S2", "Two", (ScaleItem(1, "No", default=True), ScaleItem(2, "Yes", True)))
SCALES_CSV = (
    "scale,name,value,label,proficient,default\n"
    "S3,Three,1,Low,0,1\nS3,Three,2,Mid,1,0\nS3,Three,3,Top,1,0\nS2,Two,1,No,0,1\nS2,Two,2,Yes,1,0\n"
)


def reading_of(folder: Path, content: str | bytes, name: str = "exported framework.csv") -> ArchitectureReading:
    """Read a folder that holds a framework file and nothing else."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_architecture(folder)


def architecture_of(*competencies: Competency, **more: object) -> Architecture:
    """Return an architecture of one framework."""
    return Architecture((THREE, TWO), (Framework("F", "Framework", "S3"),), competencies, **more)  # type: ignore[arg-type] - fields by name


def test_what_moodle_exported_is_read_whole(tmp_path: Path) -> None:
    """Quotes, commas, a second line, commas in idnumbers, own scales, and a quote after a backslash."""
    reading = reading_of(tmp_path, EXPORTED.read_bytes())
    assert reading.faults == ()
    architecture = reading.architecture
    by_id = {one.idnumber: one for one in architecture.competencies}
    assert list(by_id) == [
        "SAFE",
        "SAFE.1",
        "SAFE.2",
        "SAFE,3",
        "TEAM",
        "TEAM.1",
        "TEAM.2",
        "TEAM.1.1",
        "TEAM.1.2",
    ]
    assert architecture.frameworks[0].key == "EXAMPLE"
    assert by_id["SAFE.1"].name == 'Fire, smoke and "heat"'
    assert by_id["SAFE.1"].description == '<p>Quotes "as here", commas, and</p>\n<p>a second line.</p>'
    assert by_id["TEAM.1.2"].name == "Back\\slash"
    assert by_id["TEAM.1.2"].description == 'C:\\temp and a \\"quoted\\" word'
    assert by_id["TEAM.1.1"].parent == "EXAMPLE/TEAM.1"
    scales = {scale.key: [item.label for item in scale.items] for scale in architecture.scales}
    assert scales[architecture.frameworks[0].scale][0] == "Not competent"
    own = by_id["SAFE.2"].scale
    assert own is not None
    assert scales[own][-1] == "Expert"


def test_rules_and_related_competencies_come_with_it(tmp_path: Path) -> None:
    """Rules refer by exported id; a relation stands at both ends and is one."""
    architecture = reading_of(tmp_path, EXPORTED.read_bytes()).architecture
    assert architecture.rules == (
        RollUpRule(
            "EXAMPLE/SAFE",
            RollUp.POINTS,
            RuleOutcome.COMPLETE,
            3,
            (
                RollUpPoints("EXAMPLE/SAFE.1", 2, True),
                RollUpPoints("EXAMPLE/SAFE.2", 1),
                RollUpPoints("EXAMPLE/SAFE,3", 1),
            ),
        ),
        RollUpRule("EXAMPLE/TEAM", RollUp.ALL, RuleOutcome.EVIDENCE),
    )
    assert architecture.related == (
        RelatedCompetencies("EXAMPLE/SAFE.1", "EXAMPLE/SAFE,3"),
        RelatedCompetencies("EXAMPLE/SAFE.1", "EXAMPLE/TEAM.2"),
    )
    assert "related_competencies" in architecture.given


def test_beside_other_competencies_it_does_not_speak_of_their_relations(tmp_path: Path) -> None:
    """The framework file has none here, so no file spoke of relations."""
    (tmp_path / "competency_scales.csv").write_text(SCALES_CSV)
    (tmp_path / "competency_frameworks.csv").write_text("framework,name,scale\nOWN,Own,S3\n")
    (tmp_path / "competencies.csv").write_text("framework,idnumber,parent,shortname\nOWN,A,,A\n")
    write_framework_csv(architecture_of(Competency("F", "A", "A")), "F", tmp_path / "export.csv")
    reading = read_architecture(tmp_path)
    assert reading.faults == ()
    assert [one.key for one in reading.architecture.competencies] == ["OWN/A", "F/A"]
    assert "related_competencies" not in reading.architecture.given


def test_a_known_scale_is_recognised_by_its_labels_and_configuration(tmp_path: Path) -> None:
    """Then the framework has its key, else one made of what it holds."""
    path = tmp_path / "export.csv"
    write_framework_csv(architecture_of(Competency("F", "A", "A")), "F", path)
    assert read_architecture(tmp_path).architecture.scales[0].key == "Low, Mid, Top [-PP 1]"
    (tmp_path / "competency_scales.csv").write_text(SCALES_CSV)
    reading = read_architecture(tmp_path)
    assert reading.architecture.frameworks[0].scale == "S3"
    assert [scale.key for scale in reading.architecture.scales] == ["S3", "S2"]


def test_the_sample_makes_the_round_trip(tmp_path: Path) -> None:
    """Records to files to records."""
    before = read_architecture(SAMPLE).architecture
    for framework in before.frameworks:
        write_framework_csv(before, framework.key, tmp_path / f"{framework.key}.csv")
    (tmp_path / "competency_scales.csv").write_bytes((SAMPLE / "competency_scales.csv").read_bytes())
    reading = read_architecture(tmp_path)
    after = reading.architecture
    assert reading.faults == ()
    assert len(after.competencies) == 2495
    assert (after.scales, after.frameworks, after.competencies) == (
        before.scales,
        before.frameworks,
        before.competencies,
    )
    assert after.rules == before.rules
    assert pairs(after) == pairs(before)


def cells_of(path: Path) -> list[list[str]]:
    """Return the cells of a file as any reader of CSV sees them."""
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines(keepends=True)))


def pairs(architecture: Architecture) -> set[frozenset[str]]:
    """Return the related competencies, whichever way round they are written."""
    return {frozenset((pair.first, pair.second)) for pair in architecture.related}


NAME = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\\"), min_size=1, max_size=8).filter(
    lambda name: name != "0"
)
DESCRIPTION = st.text(st.sampled_from('ab"\\,;<>&\n é'), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAME, DESCRIPTION, st.booleans()), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_any_competencies_make_the_round_trip(tmp_path: Path, texts: list[tuple[str, str, bool]], random) -> None:
    """Any text, any tree; a backslash before a quote comes back as the entity it shows as."""
    competencies: list[Competency] = []
    orders: dict[str | None, int] = {}
    for number, (name, description, own) in enumerate(texts):
        parent = random.choice([None, *(one.key for one in competencies)])
        order = orders.setdefault(parent, 0)
        orders[parent] += 1
        idnumber = f"id,{number}"
        description = description.strip()
        competencies.append(Competency("F", idnumber, name, parent, description, order, "S2" if own else None))
    related = tuple(RelatedCompetencies(competencies[0].key, one.key) for one in competencies[1:3])
    before = architecture_of(*competencies, related=related)
    write_framework_csv(before, "F", tmp_path / "export.csv")
    (tmp_path / "competency_scales.csv").write_text(SCALES_CSV)
    reading = read_architecture(tmp_path)
    assert reading.faults == ()
    plain = [
        replace(one, description=one.description.replace("&#92;", "\\")) for one in reading.architecture.competencies
    ]
    assert plain == competencies
    assert pairs(reading.architecture) == pairs(before)


def test_what_is_written_has_no_quote_after_a_backslash_and_none_at_a_cells_end(tmp_path: Path) -> None:
    """Moodle's importer would swallow the cells that follow."""
    path = tmp_path / "export.csv"
    remarks = write_framework_csv(
        architecture_of(Competency("F", "A", "A", description='C:\\dir says \\"x\\\\" and \\')), "F", path
    )
    cell = cells_of(path)[2][At.DESCRIPTION]
    assert cell == 'C:\\dir says &#92;"x&#92;&#92;" and &#92;'
    assert '\\"' not in path.read_text(encoding="utf-8")
    assert [remark.key for remark in remarks] == ["F/A"]


def test_the_file_has_the_shape_that_the_importer_takes(tmp_path: Path) -> None:
    """Fourteen cells a row, lines that end in LF, no byte order mark."""
    path = tmp_path / "export.csv"
    rule = RollUpRule("F/A", RollUp.POINTS, RuleOutcome.RECOMMEND, 1, (RollUpPoints("F/B", 1, True),))
    write_framework_csv(
        architecture_of(Competency("F", "A", "A"), Competency("F", "B", "x" * 120, "F/A"), rules=(rule,)), "F", path
    )
    assert b"\r" not in path.read_bytes()
    header, framework, first, second = cells_of(path)
    assert tuple(header) == HEADINGS
    assert (framework[At.IS_FRAMEWORK], first[At.IS_FRAMEWORK]) == ("1", "")
    assert framework[At.SCALE] == "Low,Mid,Top"
    assert json.loads(framework[At.CONFIGURATION])[1:] == [
        {"id": 1, "scaledefault": 1, "proficient": 0},
        {"id": 2, "scaledefault": 0, "proficient": 1},
        {"id": 3, "scaledefault": 0, "proficient": 1},
    ]
    assert first[At.RULE] == "core_competency\\competency_rule_points"
    config = json.loads(first[At.RULE_CONFIG])
    assert config == {"base": {"points": 1}, "competencies": [{"id": 2, "points": 1, "required": 1}]}
    assert second[At.EXPORT_ID] == "2"
    assert second[At.RULE_CONFIG] == "null"


def test_siblings_stand_in_their_order_whatever_order_they_were_given_in(tmp_path: Path) -> None:
    """The importer gives siblings the order of the rows."""
    path = tmp_path / "export.csv"
    write_framework_csv(architecture_of(Competency("F", "B", "B", order=1), Competency("F", "A", "A")), "F", path)
    assert [row[At.IDNUMBER] for row in cells_of(path)][2:] == ["A", "B"]


@pytest.mark.parametrize(
    ("competencies", "says"),
    [
        (
            (Competency("F", "1.1", "A"), Competency("F", "1.10", "B"), Competency("F", "x", "C", "F/1.1")),
            "same number",
        ),
        ((Competency("F", "0", "A"),), "drops"),
        ((Competency("F", "A\\", "A"),), "backslash"),
        ((Competency("F", "A", 'A\\"'),), "backslash"),
    ],
)
def test_what_the_importer_would_lose_in_silence_is_refused(
    tmp_path: Path, competencies: tuple[Competency, ...], says: str
) -> None:
    """With what to do about it."""
    with pytest.raises(FixConfiguration, match=says):
        write_framework_csv(architecture_of(*competencies), "F", tmp_path / "export.csv")


def test_equal_numbers_that_are_nobodys_parent_are_fine(tmp_path: Path) -> None:
    """The importer mixes up parents only."""
    write_framework_csv(
        architecture_of(Competency("F", "1.1", "A"), Competency("F", "1.10", "B")), "F", tmp_path / "export.csv"
    )


def test_a_framework_that_is_not_there_is_said(tmp_path: Path) -> None:
    """With those that are."""
    with pytest.raises(FixConfiguration, match="there are: F"):
        write_framework_csv(architecture_of(), "G", tmp_path / "export.csv")


def test_a_scale_file_makes_each_missing_scale(tmp_path: Path) -> None:
    """The framework's row carries the first, a competency each other one, under the scale's name."""
    path = tmp_path / "scales.csv"
    assert scale_file(architecture_of(), path) == ("S3", "S2")
    _, framework, competency = cells_of(path)
    assert (framework[At.NAME], framework[At.SCALE]) == ("Three", "Low,Mid,Top")
    assert (competency[At.NAME], competency[At.SCALE]) == ("Two", "No,Yes")
    assert scale_file(architecture_of(), path, {"S2"}) == ("S2",)
    assert [row[At.NAME] for row in cells_of(path)][1:] == ["Two"]
    with pytest.raises(FixConfiguration):
        scale_file(architecture_of(), path, {"S9"})


def test_a_label_that_moodle_would_split_is_refused(tmp_path: Path) -> None:
    """It separates labels by commas."""
    scale = replace(TWO, items=(*TWO.items, ScaleItem(3, "Yes, very", True)))
    with pytest.raises(FixConfiguration, match="Yes, very"):
        scale_file(Architecture((scale,)), tmp_path / "scales.csv")


def spoilt(column: At, value: str, at: int = 1) -> str:
    """Return a framework file with one cell changed, in English and quoted as everybody quotes."""
    rows = [list(HEADINGS)]
    rows.append(
        [
            "",
            "F",
            "Framework",
            "",
            "1",
            "Low,Top",
            '[{"scaleid":"1"},{"id":1,"scaledefault":1,"proficient":0},{"id":2,"scaledefault":0,"proficient":1}]',
            "",
            "",
            "",
            "",
            "",
            "1",
            "",
        ]
    )
    rows.append(
        [
            "",
            "A",
            "Care",
            "",
            "1",
            "",
            "",
            "core_competency\\competency_rule_points",
            "2",
            '{"base":{"points":1},"competencies":[{"id":2,"points":1,"required":0}]}',
            "",
            "1",
            "",
            "",
        ]
    )
    rows.append(["A", "B", "Listening", "", "1", "", "", "", "0", "null", "", "2", "", ""])
    rows[at][column] = value
    return "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("column", "value", "at", "rule"),
    [
        (At.CONFIGURATION, "oops", 1, "scale-configuration"),
        (At.CONFIGURATION, '[{"scaleid":1},{"id":3,"scaledefault":1,"proficient":1}]', 1, "level-outside"),
        (At.CONFIGURATION, '[{"scaleid":1},{"id":2,"scaledefault":0,"proficient":1}]', 1, "scale-default"),
        (At.SCALE, "", 1, "scale-missing"),
        (At.NAME, "", 1, "name-empty"),
        (At.RULE, "local_x\\rule", 2, "rule-kind"),
        (At.RULE_CONFIG, "null", 2, "rule-configuration"),
        (
            At.RULE_CONFIG,
            '{"base":{"points":1},"competencies":[{"id":9,"points":1,"required":0}]}',
            2,
            "competency-missing",
        ),
        (
            At.RULE_CONFIG,
            '{"base":{"points":5},"competencies":[{"id":2,"points":1,"required":0}]}',
            2,
            "rule-out-of-reach",
        ),
        (At.PARENT, "Z", 3, "parent-unknown"),
        (At.IDNUMBER, "a", 3, "duplicate"),
        (At.RELATED, "Z", 3, "competency-missing"),
        (At.IS_FRAMEWORK, "1", 3, "framework-twice"),
    ],
)
def test_a_fault_names_moodles_own_heading(tmp_path: Path, column: At, value: str, at: int, rule: str) -> None:
    """And the line of the file that Moodle exported."""
    assert reading_of(tmp_path, spoilt(At.NAME, "Framework")).faults == ()
    faults = [fault for fault in reading_of(tmp_path, spoilt(column, value, at)).faults if fault.rule == rule]
    assert [(fault.file, fault.line, fault.column) for fault in faults] == [
        ("exported framework.csv", at + 1, HEADINGS[column])
    ]
    assert faults[0].remedy


def test_a_file_without_its_framework_row_is_a_fault(tmp_path: Path) -> None:
    """Its competencies belong to nothing."""
    reading = reading_of(tmp_path, spoilt(At.IS_FRAMEWORK, "0"))
    assert [fault.rule for fault in reading.faults] == ["framework-missing"]


def test_headings_in_another_language_count_by_position(tmp_path: Path) -> None:
    """The exporter writes them in the language of whoever exports."""
    path = tmp_path / "export.csv"
    body = spoilt(At.NAME, "Framework").split("\n", 1)[1]
    path.write_text(",".join(f"Spalte {number}" for number in range(len(HEADINGS))) + "\n" + body)
    assert is_framework_csv(path)
    assert [one.idnumber for one in read_architecture(tmp_path).architecture.competencies] == ["A", "B"]


def test_a_file_saved_by_a_spreadsheet_reads_the_same(tmp_path: Path) -> None:
    """With semicolons, a byte order mark, CRLF, and a quote after a backslash doubled like any other."""
    rows = list(csv.reader(spoilt(At.DESCRIPTION, 'a \\"b', 2).splitlines()))
    with (tmp_path / "export.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream, delimiter=";").writerows(rows)
    reading = read_architecture(tmp_path)
    assert reading.faults == ()
    assert reading.architecture.competencies[0].description == 'a \\"b'


def test_other_tables_are_no_framework_files(tmp_path: Path) -> None:
    """Nor is what is no table."""
    assert is_framework_csv(EXPORTED)
    assert not is_framework_csv(SAMPLE / "hris_people_day1.csv")
    (tmp_path / "empty.csv").write_bytes(b"")
    assert not is_framework_csv(tmp_path / "empty.csv")


def test_the_rows_can_be_had_without_a_folder() -> None:
    """By the base names of the architecture's own files."""
    found = read_framework_csv(EXPORTED)
    assert {name: len(rows) for name, rows in found.rows.items()} == {
        "competency_scales": 8,
        "competency_frameworks": 1,
        "competencies": 9,
        "roll_up_rules": 4,
        "related_competencies": 2,
    }
