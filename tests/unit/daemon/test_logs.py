"""The log: structured, with its run on every line, without secrets, and never larger than it may be."""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.contextvars import bound_contextvars

from bridge import logs
from bridge.redaction import redact, redacted, remember


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """A log of JSON lines in a file; afterwards nothing is logged any more."""
    path = tmp_path / "log" / "bridge.log"
    logs.configure("json", "debug", path, file_bytes=20_000, files=2)
    yield path
    for name in ("lms_bridge", ""):
        for handler in list(logging.getLogger(name).handlers):
            if getattr(handler, "_ours", False):
                logging.getLogger(name).removeHandler(handler)
                handler.close()
    logging.getLogger("lms_bridge").addHandler(logging.NullHandler())


def lines(path: Path) -> list[dict[str, object]]:
    """Return what was logged."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_every_line_names_its_run_also_those_of_libraries(log: Path) -> None:
    """Inside a chain its name, outside the process's; our own loggers and those of libraries alike."""
    logs.name_process("daemon-1")
    logs.logger("a").info("outside")
    with bound_contextvars(run="night-1"):
        logs.logger("a").info("inside")
        logging.getLogger("some.library").warning("theirs")
    assert [(one["event"], one["run"]) for one in lines(log)] == [
        ("outside", "daemon-1"),
        ("inside", "night-1"),
        ("theirs", "night-1"),
    ]


def test_secrets_are_taken_out_by_type_name_value_and_pattern(log: Path) -> None:
    """However a secret gets into a line, it does not get out of it."""
    remember("known-by-value-77")
    logger = logs.logger("a")
    logger.info("by type", given=SecretStr("canary-1"), deep={"list": [SecretStr("canary-2")]})
    logger.info("by name", token="canary-3", settings={"smtp_password": "canary-4", "api_key": "canary-5"})
    logger.info("by value: known-by-value-77", other="x known-by-value-77 y")
    logger.info("by pattern", url="https://bridge:canary-6@host/x?wstoken=canary-7&a=1", head="Bearer canary-8-abcdef")
    try:
        raise ValueError('{"password": "canary-9"} at token=canary-10')
    except ValueError:
        logger.exception("in a traceback")
    logging.getLogger("some.library").warning("posting to %s", "mailtos://user:canary-11@mail.example")
    text = log.read_text("utf-8")
    assert "canary" not in text
    assert "known-by-value" not in text
    assert "ValueError" in text
    assert "host/x" in text


def test_what_only_says_where_a_secret_is_stays_readable() -> None:
    """Settings in a bundle are of use: references are no secrets."""
    plain = {"token": "env:MOODLE_TOKEN", "password": "file:secrets/x", "url": "https://lms.example/path"}
    assert redacted(plain) == plain
    assert redact("The variable MOODLE_TOKEN is not set.") == "The variable MOODLE_TOKEN is not set."


def test_a_log_file_is_turned_over_and_for_its_owner_alone(log: Path) -> None:
    """However much is logged, the files stay within their bounds."""
    for number in range(2000):
        logs.logger("a").info("a line that is not so short", number=number)
    files = sorted(log.parent.iterdir())
    assert len(files) == 3
    assert sum(one.stat().st_size for one in files) <= 3 * 20_000
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o600 for one in files)
    assert lines(log)[-1]["number"] == 1999


def test_without_being_asked_nothing_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    """A one-shot command speaks through its screen."""
    logs.logger("quiet").warning("nobody hears this")
    assert capfd.readouterr() == ("", "")
