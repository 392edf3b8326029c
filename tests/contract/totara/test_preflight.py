"""Preflight over a folder predicts what the recorded imports did, from the files that last went in."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.ports import FixConfiguration
from connectors.hrimport_rules import ELEMENTS
from connectors.hrimport_rules.reading import columns_of
from connectors.hrimport_rules.settings import settings_from_mapping
from connectors.totara.hrimport import preflight, preflight_directory
from connectors.totara.hrimport.rules import advice
from tests.contract.totara.hrimport_record import SAMPLES, Case, cases

FROM_SAMPLES = [case for case in cases() if case.from_samples]
HOLDS = SAMPLES["pos"].parent


def _folder(tmp_path: Path, case: Case) -> tuple[Path, Path]:
    folder = tmp_path / "ready"
    folder.mkdir()
    (folder / f"{case.element}.csv").write_bytes(case.content)
    options = tmp_path / "settings.json"
    options.write_text(json.dumps({case.element: case.settings}), encoding="utf-8")
    return folder, options


@pytest.mark.parametrize("case", FROM_SAMPLES, ids=lambda case: f"{case.order}-{case.element}")
def test_preflight_predicts_the_recorded_import(case: Case, tmp_path: Path) -> None:
    """Aborts, deletions, and which rows are created, updated or passed over."""
    folder, options = _folder(tmp_path, case)
    report = preflight_directory(folder, HOLDS, options, now=1795286400)
    result = report.elements[case.element]
    assert result.aborts is not case.finished
    codes = [code for _, _, code, _ in case.log]
    counts = result.counts()
    if case.finished and case.log_complete:
        assert counts.get("create", 0) == sum(code.startswith("created") for code in codes)
        assert counts.get("update", 0) == sum(code.startswith("updated") for code in codes)
        assert len(result.removed) == sum(code.startswith(("deleted", "suspended")) for code in codes)
    if case.order == 38:
        assert len(result.removed) == 30
    if case.order == 62:
        assert counts == {"update": 30, "skip": 570}
    assert bool(report.blocking()) is (result.aborts or bool(result.removed))


def test_the_json_streamed_is_the_json_built(tmp_path: Path) -> None:
    """Writing row by row gives the same object as building it."""
    case = next(case for case in FROM_SAMPLES if case.order == 38)
    folder, options = _folder(tmp_path, case)
    report = preflight_directory(folder, HOLDS, options, now=1795286400)
    stream = io.StringIO()
    report.write_json(stream)
    assert json.loads(stream.getvalue()) == report.as_json()
    assert set(report.as_json()["elements"]["pos"]["rows"][0]) == {"line", "idnumber", "outcome", "rule"}


def test_a_swallowed_row_is_named_with_its_own_line(tmp_path: Path) -> None:
    """The row behind a trailing backslash is refused by line and key, not silently absent."""
    case = next(case for case in cases() if case.order == 31)
    folder, options = _folder(tmp_path, case)
    result = preflight_directory(folder, HOLDS, options).elements["pos"]
    assert [(row.line, row.idnumber, row.outcome, row.rule) for row in result.rows] == [
        (2, "N-30", "refuse", "fieldcountmismatch"),
        (3, "N-30b", "refuse", "swallowed"),
    ]


def test_without_what_the_site_holds_nothing_is_refused_for_a_reference(tmp_path: Path) -> None:
    """With no --holds, references are presumed to be met, and the report says so."""
    case = next(case for case in cases() if case.order == 9)
    folder, _ = _folder(tmp_path, case)
    report = preflight_directory(folder)
    assert not report.aborts
    assert report.elements["pos"].counts() == {"create": 2}
    assert any("pos" in assumption for assumption in report.assumptions)


def test_a_store_folder_stands_for_what_went_in_by_its_youngest_files(tmp_path: Path) -> None:
    """``<time>.<element>.csv`` files are taken, the youngest of each element."""
    store = tmp_path / "store"
    store.mkdir()
    header = b"idnumber,fullname,frameworkidnumber,parentidnumber,timemodified\n"
    (store / "100.org.csv").write_bytes(header + b"OLD,Old,F,,5\n")
    (store / "200.org.csv").write_bytes(header + b"NEW,New,F,,5\n")
    ready = tmp_path / "ready"
    ready.mkdir()
    (ready / "org.csv").write_bytes(header + b"CHILD,Child,F,OLD,6\n")
    report = preflight_directory(ready, store)
    assert report.elements["org"].reason == "parentxnotexist"
    assert "OLD" in report.blocking()[0]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("{", "neither JSON nor TOML"),
        ('{"pos": {"sourceallrecord": 1}}', "sourceallrecord"),
        ('{"pos": {"allow_delete": "perhaps"}}', "allow_delete"),
        ("[1]", "named settings"),
        ('{"delimiter": "::"}', "delimiter"),
        ('{"encoding": "klingon"}', "encoding"),
        ('{"encoding": "base64"}', "encoding"),
        ('{"timezone": "Middle/Earth"}', "time zone"),
    ],
)
def test_wrong_settings_are_told_in_a_sentence(tmp_path: Path, written: str, says: str) -> None:
    """A settings file that cannot be used is refused with the spot and the remedy."""
    case = FROM_SAMPLES[0]
    folder, path = _folder(tmp_path, case)
    path.write_text(written, encoding="utf-8")
    with pytest.raises(FixConfiguration, match=says):
        preflight_directory(folder, HOLDS, path)


def test_an_empty_folder_is_a_configuration_fault(tmp_path: Path) -> None:
    """No file to check, or no folder at all, is said plainly."""
    with pytest.raises(FixConfiguration, match=r"org\.csv"):
        preflight_directory(tmp_path)
    with pytest.raises(FixConfiguration, match="cannot be read"):
        preflight_directory(tmp_path / "nowhere")


def test_settings_may_be_flat_nested_or_named_as_the_site_names_its_plugins(tmp_path: Path) -> None:
    """All three spellings of an option mean the same."""
    case = next(case for case in FROM_SAMPLES if case.order == 36)
    folder, path = _folder(tmp_path, case)
    for spelling in (
        {"sourceallrecords": "1", "allow_delete": 1},
        {"elements": {"pos": {"sourceallrecords": True}}},
        {"totara_sync_element_pos": {"sourceallrecords": 1}, "totara_sync_source_pos_csv": {"delimiter": ","}},
    ):
        path.write_text(json.dumps(spelling), encoding="utf-8")
        assert preflight_directory(folder, HOLDS, path).removed() == {"pos": ["POS-A-F00-20"]}


def test_a_site_that_linked_jobs_by_id_number_cannot_link_by_order_again(tmp_path: Path) -> None:
    """What went in with managers' jobs named linked by id number; a setting can say otherwise."""
    case = next(case for case in cases() if case.order == 118)
    folder, path = _folder(tmp_path, case)
    assert preflight_directory(folder, HOLDS, path).elements["jobassignment"].reason == "previouslylinkedmismatch"
    options = {**case.settings, "previouslylinkedonjobassignmentidnumber": 0}
    path.write_text(json.dumps({"jobassignment": options}), encoding="utf-8")
    assert preflight_directory(folder, HOLDS, path).elements["jobassignment"].counts() == {"update": 1}


@pytest.mark.parametrize("encoding", ["UTF-16", "UTF-16LE", "UTF-32", "windows-1252", "UTF-8"])
@pytest.mark.parametrize("marked", [True, False])
def test_a_file_in_another_encoding_meets_what_the_site_keeps_in_utf_8(
    tmp_path: Path, encoding: str, marked: bool
) -> None:
    """The file is read in the site's encoding; what lies in the store folder was turned into UTF-8 by the site."""
    text = "idnumber,fullname,frameworkidnumber,timemodified,deleted\nA,Zoë,F,{},0\n"
    big = {"UTF-16": "UTF-16-BE", "UTF-32": "UTF-32-BE"}
    ready, store = tmp_path / "ready", tmp_path / "store"
    for folder in (ready, store):
        folder.mkdir()
    codec = encoding if marked else big.get(encoding, encoding)
    (ready / "org.csv").write_bytes(text.format(6).encode(codec))
    (store / "1700000000.org.csv").write_bytes(text.format(5).encode("UTF-8"))
    (tmp_path / "s.json").write_text(json.dumps({"org": {"encoding": encoding}}), encoding="utf-8")
    report = preflight_directory(ready, store, tmp_path / "s.json")
    assert report.elements["org"].counts() == {"update": 1}


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ELEMENTS),
    st.lists(st.text(st.sampled_from('ab01,;"\\\n\r <>/é\0'), max_size=30), max_size=6),
    st.booleans(),
    st.sampled_from([(17, 3), (12, 9)]),
    st.sampled_from(["UTF-8", "UTF-16", "latin-1", "UTF-16LE"]),
)
def test_whatever_a_file_holds_preflight_ends_with_a_verdict(
    element: str, lines: list[str], all_records: bool, version: tuple[int, int], encoding: str
) -> None:
    """No content makes it fall over: every file either stops with a reason or gives each row a verdict."""
    options = settings_from_mapping({"sourceallrecords": int(all_records), "allow_delete": 1, "csvsaveemptyfields": 1})
    options = replace(options, version=version)
    headings = ",".join(columns_of(element, options))
    options = options.with_element(element, encoding=encoding)
    for content in ("\n".join(lines).encode(), "\n".join([headings, *lines]).encode(encoding, "ignore")):
        result = preflight({element: content}, None, options, now=5).elements[element]
        assert result.aborts is bool(result.reason)
        assert all(row.line >= 1 and row.rule for row in result.rows)


@pytest.mark.parametrize(
    "odd", ["9" * 5000, "1e999", "-" + "9" * 30, "00/01/0001", "31/12/9999", "\u0661", "0x1A", "٣"]
)
@pytest.mark.parametrize("element", ELEMENTS)
def test_numbers_beyond_all_numbers_end_with_a_verdict_too(element: str, odd: str) -> None:
    """In every column in turn: dates, switches, times, aggregation; never a fault of ours."""
    options = settings_from_mapping({"csvsaveemptyfields": 1})
    columns = list(columns_of(element, options))
    plain = {"idnumber": "A", "username": "a", "useridnumber": "U", "frameworkidnumber": "F", "timemodified": "5"}
    for column in columns:
        row = [odd if name == column else plain.get(name, "") for name in columns]
        content = ",".join(columns) + "\n" + ",".join(row) + "\n"
        result = preflight({element: content.encode()}, None, options, now=5).elements[element]
        assert result.aborts is bool(result.reason)


def test_every_rule_that_refuses_has_advice() -> None:
    """A refused row never comes without a sentence on what to do."""
    refusing = {
        code
        for case in cases()
        for logtype, _, code, _ in case.log
        if logtype == "error" and code not in {"sanitycheckfailed"}
    }
    assert [code for code in sorted(refusing) if not advice(code)] == []
