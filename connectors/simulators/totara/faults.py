"""The faults a test can ask a simulated Totara for.

The bodies are those recorded on Totara 17.3 (`contracts/totara-17`); the gateway's pages are nginx's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from connectors.simulators.faults import Fault, gateway_page

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
KINDS = (
    "timeout",  # the answer never comes; the connection hangs for `seconds`, nothing is done
    "timeout_after_commit",  # the same, but the work was done
    "reset_before",  # the connection is reset before anything happens
    "reset_after_commit",  # the work is done and the connection reset before the answer
    "cut_json",  # the work is done, the body is shorter than announced
    "http_502",  # the gateway lost its worker: HTML
    "http_503",  # the site is taken down for an upgrade: HTML
    "http_504",  # the gateway gave up waiting: HTML; nothing is done
    "http_429",  # the client's minute is used up; nothing says how long to wait
    "html_200",  # a page of the site's where an answer should be
    "empty_500",  # PHP died before doing anything
    "empty_403",  # something before the site lets nobody through
    "killed_mid_batch",  # PHP died after `after_writes` of the operations sent as one array
    "internalerror",  # HTTP 200, "Internal server error": what nearly every fault becomes
    "invalidtoken",  # the access tokens are forgotten: a new one is needed
    "invalidclient",  # the API client is switched off from this request on
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><title>Site upgrade</title></head>
<body>Come back later.</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back over the line: a body, which may be cut short, or a connection that is reset instead."""

    status: int
    kind: str
    body: Any = ""
    cut: bool = False
    reset: bool = False
    number: int = 0

    def payload(self) -> bytes:
        """Return the body's bytes."""
        text = self.body if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False)
        return text.encode()


def strike(fault: Fault, work: Callable[[int | None], Reply], error: Callable[[str], Any]) -> Reply:
    """Return what a fault makes of a request. `work` does it, up to so many operations of an array; `error` is the
    body of a GraphQL error."""
    if fault.kind == "timeout":
        time.sleep(fault.seconds)
        return Reply(0, HTML, reset=True)
    if fault.kind == "timeout_after_commit":
        work(None)
        time.sleep(fault.seconds)
        return Reply(0, HTML, reset=True)
    if fault.kind == "reset_before":
        return Reply(0, HTML, reset=True)
    if fault.kind == "reset_after_commit":
        return replace(work(None), reset=True)
    if fault.kind == "cut_json":
        return replace(work(None), cut=True)
    if fault.kind == "killed_mid_batch":
        work(fault.after_writes)
        return Reply(500, HTML)
    said = "Too many requests"
    return {
        "http_502": Reply(502, HTML, gateway_page(502, "Bad Gateway")),
        "http_503": Reply(503, HTML, gateway_page(503, "Service Temporarily Unavailable")),
        "http_504": Reply(504, HTML, gateway_page(504, "Gateway Time-out")),
        "http_429": Reply(429, JSON, {"errors": [{"message": said}], "error": said}),
        "html_200": Reply(200, HTML, _PAGE),
        "empty_500": Reply(500, HTML),
        "empty_403": Reply(403, HTML),
        "internalerror": Reply(200, JSON, error("Internal server error")),
    }[fault.kind]
