"""The command line as people and programs meet it: a terminal, no terminal, wrong ways, and Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.cli.main import main
from tests.acceptance.program import SETTINGS, Answer, Workbench, rows, small_model, workbench, write_rows

SLOW = SETTINGS.replace("[sites.moodle.options]", "[sites.moodle.options]\nbatch_size = 2\nconnections = 1")
"""A site asked in small steps, so that a push takes long enough to be watched."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the sample company."""
    return small_model(tmp_path_factory.mktemp("line") / "model", competencies=120, positions=1)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A folder with settings and a simulated Moodle."""
    with workbench(tmp_path / "bench") as made:
        yield made


class Inside:
    """Runs commands within the test's own process: for the many that end before they begin."""

    def __init__(self, bench: Workbench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(bench.folder)
        for name, value in bench.environment().items():
            monkeypatch.setenv(name, value)

    def run(self, *arguments: str) -> Answer:
        """Run `lms-bridge` with arguments to its end."""
        self._monkeypatch.setattr(sys, "argv", ["lms-bridge", *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = self._capsys.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)


@pytest.fixture
def inside(bench: Workbench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    """Commands run within this process."""
    return Inside(bench, monkeypatch, capsys)


class Terminal:
    """A command on a terminal of its own, with somebody who reads and types."""

    def __init__(self, bench: Workbench, *arguments: str) -> None:
        self._mine, theirs = pty.openpty()
        environment = {**bench.environment(), "TERM": "xterm", "COLUMNS": "100"}
        del environment["NO_COLOR"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bridge", *arguments],
            cwd=bench.folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def read_until(self, text: str, timeout: float = 60) -> None:
        """Read until a text has been shown; fails where it never is."""
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen[-2000:]
            if not self._read():
                break
        assert text in self.seen, self.seen[-2000:]

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._mine, text.encode())

    def end(self, timeout: float = 60) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self._read():
            pass
        os.close(self._mine)
        return self.process.wait(timeout)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._mine], [], [], 0.2)
        if not ready:
            return self.process.poll() is None
        with contextlib.suppress(OSError):
            found = os.read(self._mine, 65536)
            self.seen += found.decode("utf-8", errors="replace")
            return bool(found)
        return False


def test_on_a_terminal_a_push_asks_while_nothing_moves_and_then_shows_a_bar(tmp_path: Path, model: Path) -> None:
    """The question stands at the end of what is shown; the bar knows how much there is to do."""
    with workbench(tmp_path / "bench", settings=SLOW, latency=0.02) as bench:
        terminal = Terminal(bench, "push", "--model", str(model))
        terminal.read_until("Carry this out? [y/N]:")
        time.sleep(0.5)
        assert terminal.seen.rstrip().endswith("[y/N]:")
        assert "Comparing the files with the LMS" in terminal.seen
        terminal.type("y\n")
        assert terminal.end() == 0
        total = json.loads(bench.run("runs", "show", "1", "--json", "--all").out)["entries"]
        assert "Writing" in terminal.seen
        assert f"/{len(total)}" in terminal.seen
        assert "Done:" in terminal.seen


def test_elsewhere_a_push_writes_plain_lines_to_stderr(bench: Workbench, tmp_path: Path) -> None:
    """One each tenth of the way, nothing that moves, and nothing of it on stdout."""
    model = small_model(tmp_path / "model", competencies=1100, positions=1)
    answer = bench.run("push", "--model", str(model), "--yes")
    assert answer.code == 0, answer.err
    lines = [line for line in answer.err.splitlines() if line.startswith("Writing: ")]
    assert 5 <= len(lines) <= 11
    assert all(" of 1," in line for line in lines)
    assert "\x1b" not in answer.err + answer.out
    assert "Writing" not in answer.out


def test_where_nobody_can_be_asked_nothing_is_sent(bench: Workbench, model: Path) -> None:
    """A scheduler that forgot --yes gets a sentence and exit code 3; the run is recorded as declined."""
    answer = bench.run("push", "--model", str(model))
    assert answer.code == 3
    assert "--yes" in answer.err
    assert not bench.moodle.db.competencies.rows
    assert bench.run("runs", "--json").json["runs"][0]["state"] == "declined"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("plan", "--nonsense"), 2, "--nonsense"),
        (("nonsense",), 2, "nonsense"),
        (("undo",), 2, "which run"),
        (("undo", "17"), 2, "has no run 17"),
        (("runs", "show", "x"), 2, "valid integer"),
        (("runs", "show", "17"), 2, "There is no run 17"),
        (("export", "completions"), 2, "--to"),
        (("export", "completions", "--to", "x.pdf"), 2, ".xlsx"),
        (("export", "completions", "--to", "no/such/folder/x.csv"), 2, "folder"),
        (("export", "nonsense", "--to", "x.csv"), 2, "completions"),
        (("pull", "--since", "yesterday"), 2, "YYYY-MM-DD"),
        (("pull", "--kind", "nonsense"), 2, "completions"),
        (("plan", "--site", "other"), 2, "no site 'other'"),
        (("plan", "--model", "nowhere"), 2, "no such folder"),
        (("plan", "--model", "bridge.toml"), 2, "not a folder"),
        (("plan", "--model", "MODEL", "--out", "no/such/folder/plan.json"), 2, "cannot be written"),
        (("plan", "--model", "MODEL", "--limit", "all"), 2, "KIND.create"),
        (("push", "--model", "MODEL", "--plan", "bridge.toml"), 2, "not a plan"),
        (("push", "--model", "MODEL", "--plan", "nowhere.json"), 2, "There is no plan"),
        (("check", "--scale-file", "x.csv"), 2, "--model DIR"),
        (("framework-csv", "NOPE", "--model", "MODEL"), 2, "CORE"),
        (("framework-csv", "CORE", "--model", "MODEL", "--to", "no/such/folder/x.csv"), 2, "cannot be written"),
    ],
)
def test_whatever_is_wrong_a_program_gets_one_object_and_a_person_a_sentence(
    inside: Inside, model: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    """The exit code says which kind of fault it is; nobody sees a traceback."""
    written = tuple(str(model) if one == "MODEL" else one for one in arguments)
    answer = inside.run(*written, "--json")
    assert answer.code == code, answer.err
    assert answer.json["exit_code"] == code
    assert says in answer.json["error"]
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('[sites.moodle.options]\nconnections = "many"\n', "connections"),
        ("[sites.moodle.options]\nbatch_size = 0\n", "batch_size"),
        ("[sites.moodle.options]\ntimeouts = 3\n", "timeouts"),
        ("[sites.moodle.options]\nno_such_thing = 3\n", "no_such_thing"),
        ('[sites.moodle.policy]\n"competency.name" = "perhaps"\n', "'enforce', 'respect' or 'report'"),
        ('[sites.moodle.limits]\n"competency.rename" = { number = 3 }\n', "competency.rename"),
        ("[sites.one]\n[sites.two]\n", "url"),
        ('[sites.one]\nurl = "env:MOODLE_URL"\n[sites.two]\nurl = "env:MOODLE_URL"\n', "--site"),
        ("[sites.moodle\n", "not valid TOML"),
    ],
)
def test_settings_that_cannot_be_used_are_named(bench: Workbench, inside: Inside, settings: str, says: str) -> None:
    """Before anything is asked of the LMS."""
    (bench.folder / "bridge.toml").write_text(settings, "utf-8")
    answer = inside.run("check", "--json")
    assert answer.code == 2, answer.err
    assert says in answer.json["error"]
    assert bench.moodle.requests.total == 0


def test_faults_of_files_come_as_objects_too(inside: Inside, tmp_path: Path) -> None:
    """File, line, column, value, rule, message and remedy, each by itself."""
    model = small_model(tmp_path / "model", competencies=40, positions=1)
    every = rows(model / "competencies.csv")
    every[5]["parent"] = "NOWHERE"
    write_rows(model / "competencies.csv", every)
    (fault,) = inside.run("plan", "--model", str(model), "--json").json["faults"]
    assert (fault["file"], fault["line"], fault["column"], fault["value"]) == (
        "competencies.csv",
        7,
        "parent",
        "NOWHERE",
    )
    assert fault["message"]
    assert fault["remedy"]


def test_what_nothing_reads_is_said_in_the_plan(inside: Inside, tmp_path: Path) -> None:
    """A column of another name, a file with a misspelt one."""
    model = small_model(tmp_path / "model", competencies=40, positions=1)
    every = [{**row, "colour": "red"} for row in rows(model / "competencies.csv")]
    write_rows(model / "competencies.csv", every)
    write_rows(model / "cuorse_links.csv", [{"course": "C1", "competency": "1.C.1"}])
    says = [remark["says"] for remark in inside.run("plan", "--model", str(model), "--json").json["remarks"]]
    assert any("column colour: Nothing reads this column" in one for one in says)
    assert any("cuorse_links.csv" in one for one in says)


def test_a_stored_plan_knows_the_folder_it_was_made_from(bench: Workbench, model: Path) -> None:
    """So that what `plan` says to type next works as it stands."""
    planned = bench.run("plan", "--model", str(model), "--out", "plan.json")
    assert "lms-bridge push --plan plan.json" in planned.err
    pushed = bench.run("push", "--plan", "plan.json", "--yes", "--json")
    assert pushed.code == 0, pushed.err
    assert pushed.json["counts"]["competency"]["create"]["applied"] == 120


def test_an_undo_can_be_looked_at_first(bench: Workbench, model: Path) -> None:
    """It shows what would go and what cannot come back, says when a limit forbids it, and writes nothing."""
    assert bench.run("push", "--model", str(model), "--yes").code == 0
    before = bench.moodle.snapshot()
    shown = bench.run("undo", "1", "--dry-run", "--json")
    assert shown.code == 10
    assert shown.json["counts"]["competency"] == {"remove": 120}
    assert "--limit competency.remove=120" in shown.json["over_limits"]
    assert bench.moodle.snapshot() == before
    assert bench.run("plan", "--model", str(model)).code == 0


def test_ctrl_c_stops_a_push_in_a_sentence_and_the_next_one_completes_it(tmp_path: Path, model: Path) -> None:
    """Exit code 130; the run is recorded as stopped, nothing is made twice."""
    with workbench(tmp_path / "bench", settings=SLOW, latency=0.02) as bench:
        process = bench.start("push", "--model", str(model), "--yes")
        deadline = time.monotonic() + 60
        while len(bench.moodle.db.competencies.rows) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "Stopped by you" in err
        assert "Traceback" not in err
        stopped = bench.run("runs", "--json").json["runs"][0]
        assert (stopped["state"], stopped["message"]) == ("stopped", "stopped by hand")
        again = bench.run("push", "--model", str(model), "--yes", "--json")
        assert again.code == 0, again.err
        assert len(bench.moodle.db.competencies.rows) == 120
        assert bench.run("plan", "--model", str(model)).code == 0


def test_the_simulator_tells_a_program_where_it_is(bench: Workbench) -> None:
    """One object with address and token; a port that is taken is named."""
    process = bench.start("simulate", "moodle", "--port", "0", "--empty", "--json")
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())
        port = told["MOODLE_URL"].rpartition(":")[2]
        taken = bench.run("simulate", "moodle", "--port", port, "--json")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert len(told["MOODLE_TOKEN"]) == 32
    assert taken.code == 2
    assert "--port" in taken.json["error"]


def test_the_demonstration_comes_out_as_it_should(tmp_path: Path, model: Path) -> None:
    """Push, push again, drift, undo and pull, in a folder of its own; what it says at the end is what happened."""
    with workbench(tmp_path / "bench") as bench:
        answer = bench.run("demo", "--folder", "here", "--model", str(model), "--latency", "0", "--json")
        assert answer.code == 0, answer.err
        told = answer.json
        assert (told["ok"], told["wrong"]) == (True, [])
        assert told["first_push"]["applied"] > 120
        assert told["second_push"]["applied"] == 0
        assert told["pull"]["completions"]["new"] == 1500
        assert len(rows(bench.folder / "here" / "completions.csv")) == 1500
        # It works on a site of its own, not on the one that the settings here name.
        assert bench.moodle.requests.total == 0
