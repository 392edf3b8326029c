"""Faults a test can ask for: what goes wrong, at which request, for which function, how often.

The shapes are those observed on Moodle 4.5.6 behind nginx (`contracts/moodle-4.5`, Faults).
"""

import random
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

KINDS = (
    "timeout",  # the answer never comes; the connection hangs for `seconds`, nothing is committed
    "timeout_after_commit",  # the same, but the work was done
    "reset_before",  # the connection is reset before anything happens
    "reset_after_commit",  # the work is done and the connection reset before the answer
    "cut_json",  # the work is done, the body is shorter than announced
    "http_502",  # the gateway lost its worker: HTML
    "http_504",  # the gateway gave up waiting: HTML; nothing is committed
    "http_503",  # maintenance page, HTML
    "sitemaintenance",  # maintenance mode, HTTP 200
    "http_429",  # too many requests, Retry-After `seconds`
    "invalidtoken",  # the token is revoked, from this request on unless `count` says otherwise
    "empty_500",  # PHP died before doing anything
    "killed_mid_batch",  # PHP died after `after_writes` writes were committed: 500, empty
    "dbconnectionfailed",  # HTTP 200, the database is down
    "empty_403",  # web services are switched off
    "deadlock",  # HTTP 200 dmlwriteexception, nothing committed
    "oversize_xml",  # HTTP 200, XML invalidtoken: what a body over post_max_size becomes
    "accessexception",  # the token's service or address does not allow the call
)


@dataclass(slots=True)
class Fault:
    """One thing to go wrong.

    It applies to request number `at` (from 1, counted over the whole run) or to every request from `start`
    on, of one function if `function` is given (inner functions of a batch count as its function too), with
    `probability`, at most `count` times.
    """

    kind: str
    at: int | None = None
    start: int = 1
    function: str | None = None
    probability: float = 1.0
    count: int | None = 1
    seconds: float = 1.0
    after_writes: int = 1
    fired: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; known are {', '.join(KINDS)}")


@dataclass(slots=True)
class FaultPlan:
    """The faults still to come, drawn with one seeded generator."""

    seed: int = 0
    faults: list[Fault] = field(default_factory=list)
    _random: random.Random = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - repeatable, not secret

    def add(self, kind: str, **options: Any) -> Fault:
        """Ask for a fault; the options are the fields of `Fault`."""
        fault = Fault(kind, **options)
        with self._lock:
            self.faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self.faults.clear()

    def pick(self, index: int, functions: tuple[str, ...]) -> Fault | None:
        """Return the fault that strikes this request, if any, and count it."""
        if not self.faults:
            return None
        with self._lock:
            for fault in self.faults:
                if fault.count is not None and fault.fired >= fault.count:
                    continue
                if fault.at is not None and index != fault.at:
                    continue
                if fault.at is None and index < fault.start:
                    continue
                if fault.function is not None and fault.function not in functions:
                    continue
                if fault.probability < 1.0 and self._random.random() >= fault.probability:
                    continue
                fault.fired += 1
                return fault
        return None

    def load(self, items: list[Mapping[str, Any]]) -> None:
        """Add faults given as JSON objects."""
        for item in items:
            self.add(**{str(key): value for key, value in item.items()})

    def dump(self) -> list[dict[str, Any]]:
        """Return the faults as JSON objects."""
        with self._lock:
            return [asdict(fault) for fault in self.faults]


def gateway_page(status: int, reason: str) -> str:
    """Return the page nginx sends when PHP does not answer."""
    return (
        f"<html>\r\n<head><title>{status} {reason}</title></head>\r\n"
        f"<body>\r\n<center><h1>{status} {reason}</h1></center>\r\n"
        "<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
    )


def maintenance_page(sitename: str) -> str:
    """Return the page of a site taken down from the command line."""
    return (
        '<!DOCTYPE html>\n<html  lang="en" xml:lang="en">\n    <head>\n'
        '        <meta http-equiv="Content-Type" content="text/html; charset=utf-8" />\n'
        f"        <title>{sitename} under maintenance</title>\n    </head>\n    <body>\n"
        f"        <h1>{sitename} under maintenance</h1>\n"
        "        <div class='alert-danger'>"
        "The site is undergoing maintenance and is currently not available</div>\n"
        "    </body>\n</html>\n"
    )


XML_REFUSAL = (
    '<?xml version="1.0" encoding="UTF-8" ?>\n<EXCEPTION class="core\\exception\\moodle_exception">\n'
    "<ERRORCODE>invalidtoken</ERRORCODE>\n<MESSAGE>Invalid token - token not found</MESSAGE>\n</EXCEPTION>\n"
)
