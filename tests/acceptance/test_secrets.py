"""A token and passwords that must turn up nowhere: not in a log, an error, a plan, a report, a bundle, the store, the
process list or a URL. Every other acceptance test looks for the token as well (`program.leaks`)."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_plus

import pytest
import requests

from bridge.store import Store, journal
from tests.acceptance.forked import forked
from tests.acceptance.program import in_process_list, leaks, leaks_in, small_model, workbench
from tests.acceptance.totara_site import totara_bench
from tests.databases import KINDS, POSTGRESQL, on
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
        assert leaks(bench, [*bench.secrets(), *PASSWORDS.values()]) == []


def _wait_for(come: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not come():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_search_for_secrets_finds_one(tmp_path: Path, kind: str) -> None:
    """A secret in a file, inside a zip file, in the store, in what a command said and in an address is found, each by
    itself."""
    with on(kind), workbench(tmp_path) as bench:
        assert leaks(bench, ["canary"]) == []
        (bench.folder / "note.txt").write_text("a canary sings")
        with zipfile.ZipFile(bench.folder / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner.txt", "canary " * 100)
        store = Store.open(bench.store)
        with store.begin() as connection:
            journal.start_run(connection, "canary", "push", 1.0)
        store.close()
        bench.said.append("canary")
        requests.get(f"{bench.moodle.url}/?token=canary", timeout=10)
        found = [one.partition(" in ")[2].removeprefix(f"{bench.folder}/") for one in leaks(bench, ["canary"])]
        stored = "table public.run" if kind == POSTGRESQL else ".lms-bridge/state.sqlite"
        # On SQLite it may lie in the log beside the file as well.
        assert {place for place in found if not place.startswith(f"{stored}-")} == {
            *("note.txt", "bundle.zip inner.txt", "output 0", "request /?token=canary", stored)
        }
        for path in ("note.txt", "bundle.zip"):
            (bench.folder / path).unlink()


@pytest.mark.parametrize("user", ["", "x", "id"])
def test_a_secret_is_found_in_every_spelling(tmp_path: Path, user: str) -> None:
    """As in JSON, as in an address, as in a header of basic authentication behind a name of any length."""
    secret = 'kan"ärie/9'
    header = base64.b64encode(f"{user}:{secret}:more".encode()).decode()
    for text in (json.dumps({"a": secret}), quote_plus(secret), header):
        assert secret not in text
        assert leaks_in(tmp_path, {"here": text}, [secret]) == [f"{secret} in here"]
    assert leaks_in(tmp_path, {"here": base64.b64encode(b"something else of some length").decode()}, [secret]) == []


def test_a_secret_in_an_earlier_command_of_a_forked_process_is_found(tmp_path: Path) -> None:
    """What each command said is looked at, not only what the last one did; so is what a Totara was asked at."""
    with totara_bench(tmp_path / "bench") as bench:
        forked(bench.folder, bench.environment(), ("why", "canary"))
        forked(bench.folder, bench.environment(), ("runs",))
        requests.get(f"{bench.totara.url}/?canary", timeout=10)
        places = {found.partition(" in ")[2] for found in leaks(bench, ["canary"])}
        assert places == {str(bench.folder / ".said"), "request /?canary"}
