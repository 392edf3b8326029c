"""A support bundle as support gets it: no secret and nobody's name in it, and its run can be run again."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.acceptance.program import COMPANY, SETTINGS, Workbench, rows, small_model, workbench, write_rows

PEOPLE = SETTINGS.replace('token = "env:MOODLE_TOKEN"\n', 'token = "env:MOODLE_TOKEN"\nmodel = "model"\n', 1)


def a_night_with_people(bench: Workbench) -> list[dict[str, str]]:
    """Push a small model and some people, then a change of both; return the people."""
    model = small_model(bench.folder / "model", competencies=60, positions=3)
    people = rows(COMPANY / "hris_people_day1.csv")[:25]
    write_rows(bench.folder / "people.csv", people)
    assert bench.run("ingest", "--file", "people.csv", "--json").code in (0, 4)
    assert bench.run("push", "--yes").code == 0
    every = rows(model / "competencies.csv")
    every[3]["shortname"] = "Said otherwise"
    write_rows(model / "competencies.csv", every[:-2])
    for person in people[:5]:
        person["last_name"] = "Newname"
    write_rows(bench.folder / "people2.csv", people)
    assert bench.run("ingest", "--file", "people2.csv", "--json").code in (0, 4)
    pushed = bench.run("push", "--yes", "--json", "--limit", "competency.remove=10")
    assert pushed.code == 0, pushed.err
    assert pushed.json["counts"]["user"]["update"]["applied"] == 5
    return people


@pytest.mark.slow
def test_a_bundle_names_nobody_and_its_run_ends_again_as_it_did(tmp_path: Path) -> None:
    """Nobody's key, name or address is in any of its texts, nor the token; run again against a site that holds what the
    real one held before, every change ends as it did."""
    with workbench(tmp_path, settings=PEOPLE, forks=True) as bench:
        people = a_night_with_people(bench)
        packed = bench.run("support-bundle", "--out", "help.zip", "--json")
        assert packed.code == 0, packed.err
        with zipfile.ZipFile(bench.folder / "help.zip") as archive:
            texts = {name: archive.read(name).decode("utf-8") for name in archive.namelist()}
        whole = "\n".join(texts.values())
        assert bench.moodle.token not in whole
        for person in people:
            for column in ("employee_id", "email", "username"):
                if person.get(column):
                    assert person[column] not in whole, column
            assert f"{person['first_name']} {person['last_name']}" not in whole
            assert f'"{person["last_name"]}"' not in whole
        sent = [json.loads(line) for line in texts[f"plans/{packed.json['run']}.jsonl"].splitlines()]
        assert {one["change"]["kind"] for one in sent} >= {"competency", "user"}
        replayed = bench.run("simulate", "moodle", "--bundle", "help.zip", "--replay", "--json")
        assert replayed.json["not_seeded"] == []
        assert replayed.json["different"] == [], replayed.out
        assert replayed.code == 0
        assert replayed.json["changes"] == len(sent)
        assert replayed.json["objects"] > 60


def test_a_file_that_is_no_bundle_is_refused_in_words(tmp_path: Path) -> None:
    """A damaged or foreign file ends in a sentence."""
    with workbench(tmp_path, forks=True) as bench:
        (bench.folder / "x.zip").write_text("no zip")
        answer = bench.run("simulate", "moodle", "--bundle", "x.zip", "--replay")
        assert answer.code == 2
        assert "is no support bundle" in answer.err
