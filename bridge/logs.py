"""Structured logs: one line a fact, for a person or for a program, with the run it belongs to and without secrets.

Until `configure` is called nothing is written: a one-shot command speaks through its screen.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor

from bridge.redaction import redacted

ROOM = "lms_bridge"
"""The logger all of ours hang under."""


def logger(name: str) -> Any:
    """Return a logger of a part of the program."""
    return structlog.stdlib.get_logger(f"{ROOM}.{name}")


_process = {"run": "-"}


def name_process(run: str) -> None:
    """Say what a line belongs to that no chain has written: every line names its run."""
    _process["run"] = run


def _named(_logger: Any, _method: str, event: EventDict) -> EventDict:
    event.setdefault("run", _process["run"])
    return event


def _without_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Take secrets out of everything that a line says."""
    return {key: value if key.startswith("_") else redacted(value, key) for key, value in event.items()}


_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    _named,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)

structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_SHARED,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=False,
)
logging.getLogger(ROOM).addHandler(logging.NullHandler())
logging.getLogger(ROOM).propagate = False


class PrivateRotatingFile(logging.handlers.RotatingFileHandler):
    """A log file that its owner alone may read, and that never outgrows its bounds."""

    def _open(self) -> Any:
        descriptor = os.open(self.baseFilename, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")


def configure(
    form: Literal["console", "json"] = "console",
    level: str = "info",
    file: Path | None = None,
    *,
    file_bytes: int = 10_000_000,
    files: int = 5,
) -> None:
    """Begin to write logs: to standard error, or to a file that is turned over before it grows too large.

    May be called again, with other settings. Raises OSError where the file cannot be written.
    """
    if file is None:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = PrivateRotatingFile(file, maxBytes=file_bytes, backupCount=files, encoding="utf-8")
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False, sort_keys=False, pad_event_to=32)
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _without_secrets,
                renderer,
            ],
        )
    )
    for name, own_level in ((ROOM, level.upper()), ("", "WARNING")):
        log = logging.getLogger(name)
        for old in list(log.handlers):
            if getattr(old, "_ours", False) or isinstance(old, logging.NullHandler):
                log.removeHandler(old)
                old.close()
        log.addHandler(handler)
        log.setLevel(own_level)
    handler._ours = True  # type: ignore[attr-defined]  # a mark, so that a second call takes it away again
    # The libraries' own lines about every step would drown ours.
    for name in ("apscheduler", "apprise", "paramiko"):
        logging.getLogger(name).setLevel("WARNING")
