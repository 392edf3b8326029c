"""A token and passwords that must turn up nowhere: not in a log, an error, a plan, a report, a bundle, the store, the
process list or a URL. Every other acceptance test looks for the token as well (`program.leaks`)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.program import Workbench, in_process_list, leaks, small_model, workbench
from tests.unit.daemon.nights import free_port, inbox

PASSWORDS = {"HR_PASSWORD": "canary-sftp-5f1d0c", "CHAT_PASSWORD": "canary-chat-9be27a"}

SETTINGS = """
[sites.moodle]
url = "env:MOODLE_URL"
token = "env:MOODLE_TOKEN"
model = "model"

[sites.moodle.options]
server_limit = 0.05
attempts = 2

[feeds.hr]
kind = "sftp"
host = "127.0.0.1"
port = {port}
user = "bridge"
password = "env:HR_PASSWORD"
host_keys = ["SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"]

[daemon]
listen = "127.0.0.1:{listen}"
log_format = "json"
log_level = "debug"
log_file = "log/bridge.log"

[daemon.notify]
to = ["env:CHAT"]
every = 1

[schedules.often]
every = 1
run = ["push", "report", "pull"]

[schedules.arrivals]
every = 2
run = "ingest"
"""


@pytest.mark.slow
def test_a_night_that_goes_wrong_in_every_way_shows_no_secret(tmp_path: Path) -> None:
    """The token is accepted, then refused, the feed's server is away, messages go out with a password of their own; all
    that is written, said, sent as an address or shown in the process list is free of them."""
    with (
        inbox() as arrived,
        workbench(tmp_path, settings=SETTINGS.format(port=free_port(), listen=free_port())) as bench,
    ):
        small_model(bench.folder / "model", competencies=40, positions=2)
        chat = arrived.address.replace("hush-hush-hush", PASSWORDS["CHAT_PASSWORD"])
        bench.more |= {"CHAT": chat, "HR_PASSWORD": PASSWORDS["HR_PASSWORD"]}
        assert bench.run("plan", "--out", "plan.json").code == 10
        out = (bench.folder / "daemon.out").open("wb")
        command = [sys.executable, "-m", "bridge", "daemon"]
        process = subprocess.Popen(command, cwd=bench.folder, env=bench.environment(), stdout=out, stderr=out)
        try:
            time.sleep(6)
            bench.said.append(in_process_list(process.pid))
            bench.moodle.faults.add("invalidtoken")
            log = bench.folder / "log" / "bridge.log"
            _wait_for(lambda: bool(arrived.messages) and "does not know this token" in log.read_text("utf-8"), process)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            out.close()
        for command in (
            ("status",),
            ("check",),
            ("push", "--yes"),
            ("ingest",),
            ("runs", "show", "1", "--all", "--json"),
            ("support-bundle", "--json"),
        ):
            bench.run(*command)
        bench.said += arrived.texts
        assert "run ends" in log.read_text("utf-8")
        # What is looked for could be found: the same search finds what is there.
        assert leaks(bench, ["does not know this token"]) != []
        assert leaks(bench, [bench.moodle.token, *PASSWORDS.values()]) == []


def _wait_for(come: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not come():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.2)


def test_the_search_for_secrets_finds_one(tmp_path: Path) -> None:
    """A secret in a file, inside a zip file and in what a command said is found, each by itself."""
    with workbench(tmp_path) as bench:
        assert leaks(bench, ["canary"]) == []
        _plant(bench)
        assert len(leaks(bench, ["canary"])) == 3


def _plant(bench: Workbench) -> None:
    import zipfile

    (bench.folder / "note.txt").write_text("a canary sings")
    with zipfile.ZipFile(bench.folder / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", "canary " * 100)
    bench.said.append("canary")
