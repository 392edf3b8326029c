"""The main job on Moodle, from the command line: the whole sample company into a simulated site, and what follows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.acceptance.program import COMPANY, Workbench, rows, small_model, workbench, write_rows
from tests.databases import KINDS, on


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """A folder with settings and a simulated Moodle that ends with the test."""
    with workbench(tmp_path / "bench", forks=True) as made:
        yield made


@pytest.fixture(scope="module", params=KINDS)
def pushed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """The sample's frameworks and competencies, pushed once; tests of this module share it and leave it pushed.

    Once with the store on SQLite and once on PostgreSQL.
    """
    folder = tmp_path_factory.mktemp("main")
    model = folder / "model"
    model.mkdir()
    for name in ("competency_scales.csv", "competency_frameworks.csv", "competencies.csv"):
        shutil.copy(COMPANY / name, model / name)
    with on(request.param), workbench(folder / "bench", forks=True) as made:
        answer = made.run("push", "--model", str(model), "--yes", "--json")
        assert answer.code == 0, answer.err
        assert answer.json["counts"]["competency"] == {"create": {"applied": 2495}}
        assert answer.json["counts"]["framework"] == {"create": {"applied": 2}}
        yield made


def model_of(bench: Workbench) -> Path:
    """Return the folder of the model that was pushed."""
    return bench.folder.parent / "model"


def counts(bench: Workbench, *arguments: str) -> dict[str, dict[str, int]]:
    """Return the counts of a plan."""
    answer = bench.run("plan", "--json", *arguments)
    assert answer.code in (0, 10), answer.err
    found: dict[str, dict[str, int]] = answer.json["counts"]
    return found


def test_the_whole_sample_arrives_in_the_order_of_the_files(pushed: Workbench) -> None:
    """2,495 competencies in two frameworks, each under its parent, siblings in file order, none with a shared place."""
    held = pushed.moodle.comparable()["competencies"]
    every = rows(COMPANY / "competencies.csv")
    assert len(held) == len(every) == 2495
    siblings: dict[str, list[str]] = {}
    for row in every:
        parent = f"{row['framework']}/{row['parent']}" if row["parent"] else ""
        one = held[f"{row['framework']}/{row['idnumber']}"]
        assert one["parent"] == parent
        siblings.setdefault(f"{row['framework']}|{parent}", []).append(one["sortorder"])
    assert all(places == sorted(set(places)) for places in siblings.values())


def test_a_second_push_sends_no_write_and_a_plan_after_it_exits_0(pushed: Workbench) -> None:
    """Nothing but reads reaches the site, in at most four requests beside asking who we are."""
    before = pushed.moodle.snapshot()
    pushed.moodle.requests.reset()
    model = str(model_of(pushed))
    assert pushed.run("push", "--model", model, "--yes").code == 0
    assert pushed.moodle.snapshot() == before
    asked = {**pushed.moodle.requests.by_function, **pushed.moodle.requests.inner_by_function}
    assert not [name for name in asked if any(verb in name for verb in ("create", "update", "delete", "set_", "move"))]
    assert pushed.run("plan", "--model", model).code == 0


def test_with_the_store_deleted_a_plan_shows_only_adoptions_and_the_one_edit(pushed: Workbench, tmp_path: Path) -> None:
    """A second workplace without a store takes over what is there; the competency edited by hand shows as that."""
    model = str(model_of(pushed))
    only = {"competency": {"adopt": 2495}, "framework": {"adopt": 2}}
    victim = next(row for row in pushed.moodle.db.competencies.rows.values() if row["idnumber"] == "1.C.1.b")
    was = victim["shortname"]
    try:
        with pushed.beside(tmp_path) as fresh:
            assert counts(fresh, "--model", model) == only
            victim["shortname"] = "Edited by hand"
            answer = fresh.run("plan", "--json", "--model", model)
            assert answer.json["counts"] == {**only, "competency": {"adopt": 2495, "update": 1}}
            assert [(one["key"], one["actual"]) for one in answer.json["drift"]] == [("CORE/1.C.1.b", "Edited by hand")]
    finally:
        victim["shortname"] = was


def test_renames_moves_additions_and_retirements_show_and_happen_exactly(pushed: Workbench, tmp_path: Path) -> None:
    """Rename 10, move 5, add 20, retire 3: the plan names those 38 changes and no other, and so does the push."""
    model = tmp_path / "changed"
    shutil.copytree(model_of(pushed), model)
    every = rows(model / "competencies.csv")
    parents = {row["parent"] for row in every}
    leaves = [row for row in every if row["framework"] == "WORK" and row["idnumber"] not in parents]
    renamed, movable, retired = leaves[:10], leaves[100:105], leaves[200:203]
    for row in renamed:
        row["shortname"] = f"{row['shortname'][:60]} (renamed)"
    target = next(
        row["idnumber"] for row in every if row["framework"] == "WORK" and row["parent"] and row not in leaves
    )
    for row in movable:
        assert row["parent"] != target
        row["parent"] = target
    kept = [row for row in every if row not in retired]
    more = [
        {**leaves[0], "idnumber": f"NEW.{number}", "shortname": f"New competency {number}", "description": "New"}
        for number in range(20)
    ]
    # In the middle of the file, where the siblings are: the place among them matters too.
    middle = kept.index(leaves[0]) + 1
    write_rows(model / "competencies.csv", [*kept[:middle], *more, *kept[middle:]])
    expected = {"competency": {"create": 20, "move": 5, "remove": 3, "update": 10}}
    assert counts(pushed, "--model", str(model)) == expected
    answer = pushed.run("push", "--model", str(model), "--yes", "--json")
    assert answer.code == 0, answer.err
    assert {action: states["applied"] for action, states in answer.json["counts"]["competency"].items()} == expected[
        "competency"
    ]
    held = pushed.moodle.comparable()["competencies"]
    assert all(held[f"WORK/{row['idnumber']}"]["parent"] == "WORK/RETIRED" for row in retired)
    assert pushed.run("plan", "--model", str(model)).code == 0
    # Undo takes exactly that back, and holds it back.
    undone = pushed.run("undo", str(answer.json["run"]), "--yes", "--json")
    assert undone.code == 0, undone.err
    assert pushed.run("plan", "--model", str(model)).code == 0
    released = pushed.run("undo", "--release")
    assert released.code == 0
    assert counts(pushed, "--model", str(model)) == expected
    assert counts(pushed, "--model", str(model_of(pushed))) == {}


def test_undo_brings_the_site_back_field_for_field(bench: Workbench, tmp_path: Path) -> None:
    """After undoing a push, the site holds what it held before it, but for the Retired node that undo names."""
    model = small_model(tmp_path / "model")
    assert bench.run("push", "--model", str(model), "--yes").code == 0
    before = bench.moodle.comparable()
    every = rows(model / "competencies.csv")
    parents = {row["parent"] for row in every}
    leaf = next(row for row in reversed(every) if row["idnumber"] not in parents)
    every.remove(leaf)
    every[0]["shortname"] = "Renamed"
    write_rows(model / "competencies.csv", every)
    needed = [row for row in rows(model / "position_competencies.csv") if row["competency"] != leaf["idnumber"]]
    write_rows(model / "position_competencies.csv", needed)
    answer = bench.run("push", "--model", str(model), "--yes", "--json")
    assert answer.code == 0, answer.err
    assert bench.moodle.comparable() != before
    undone = bench.run("undo", str(answer.json["run"]), "--yes")
    assert undone.code == 0, undone.err
    assert "The node that Moodle keeps retired competencies under stays" in undone.out
    after = bench.moodle.comparable()
    after["competencies"] = {key: one for key, one in after["competencies"].items() if not key.endswith("/RETIRED")}
    assert after == before


def test_a_push_over_a_limit_stops_before_the_first_write_and_exits_3(bench: Workbench, tmp_path: Path) -> None:
    """The message names the limit and how to allow it once; n pass, n+1 stop."""
    model = small_model(tmp_path / "model", competencies=60, positions=0 + 1)
    refused = bench.run("push", "--model", str(model), "--yes", "--limit", "competency.create=59")
    assert refused.code == 3
    assert "--limit competency.create=60" in refused.err
    assert len(bench.moodle.db.competencies.rows) == 0
    assert bench.run("push", "--model", str(model), "--yes", "--limit", "competency.create=60").code == 0


def test_a_stored_plan_runs_exactly_or_not_at_all(bench: Workbench, tmp_path: Path) -> None:
    """A reviewed plan is refused once the files moved, and carried out while they have not."""
    model = small_model(tmp_path / "model", competencies=40, positions=1)
    plan = bench.folder / "plan.json"
    assert bench.run("plan", "--model", str(model), "--out", str(plan)).code == 10
    every = rows(model / "competencies.csv")
    name = every[3]["shortname"]
    every[3]["shortname"] = "Moved meanwhile"
    write_rows(model / "competencies.csv", every)
    refused = bench.run("push", "--model", str(model), "--plan", str(plan), "--yes")
    assert refused.code == 3
    assert "plan again" in refused.err
    every[3]["shortname"] = name
    write_rows(model / "competencies.csv", every)
    done = bench.run("push", "--model", str(model), "--plan", str(plan), "--yes", "--json")
    assert done.code == 0, done.err
    stored = json.loads(plan.read_text("utf-8"))["counts"]
    done_counts = {
        kind: {action: states["applied"] for action, states in actions.items()}
        for kind, actions in done.json["counts"].items()
    }
    assert done_counts == stored


def test_faulty_files_are_reported_all_at_once_and_nothing_is_sent(bench: Workbench, tmp_path: Path) -> None:
    """Each fault names file, line, column, value and remedy; the site hears nothing."""
    model = small_model(tmp_path / "model", competencies=40, positions=1)
    every = rows(model / "competencies.csv")
    every[5]["parent"] = "NOWHERE"
    every[7]["idnumber"] = every[6]["idnumber"]
    write_rows(model / "competencies.csv", every)
    answer = bench.run("push", "--model", str(model), "--yes")
    assert answer.code == 2
    assert "competencies.csv, line 7, column parent" in answer.err
    assert "NOWHERE" in answer.err
    assert "competencies.csv, line 9" in answer.err
    assert bench.moodle.requests.total == 0


def test_three_wrong_ways_end_in_a_sentence_and_exit_code_2(bench: Workbench) -> None:
    """No model, no such folder, an unknown kind: what to do next is said, without a traceback."""
    for arguments in (
        ("plan",),
        ("plan", "--model", "nowhere"),
        ("plan", "--model", str(COMPANY), "--kind", "nonsense"),
    ):
        answer = bench.run(*arguments)
        assert answer.code == 2
        assert "Traceback" not in answer.err
        assert answer.err.strip()
