"""Every fault in the record is understood for what to do next, in one readable sentence."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bridge.ports import AccessNotGiven, BridgeError, FixConfiguration, OutcomeUnknown, RetryLater, SkipItem, StopRun
from connectors.http import Reply
from connectors.moodle.errors import (
    BodyTooLarge,
    LacksFunction,
    LacksPermission,
    MaybeDeadlock,
    NoEntry,
    error_of,
    error_of_reply,
    parse_fault,
    parse_inner_fault,
)

RECORD = Path(__file__).parents[2] / "contract" / "data" / "moodle-4.5-exchanges.jsonl.gz"
WRITING = re.compile(r"_(create|update|delete|set|add|remove|move|enrol|assign|grade|override|approve|complete|mark)_")

BY_CODE: dict[str, type[BridgeError]] = {
    "invalidtoken": AccessNotGiven,
    "wsaccessusersuspended": AccessNotGiven,
    "accessexception": AccessNotGiven,
    "nopermissions": LacksPermission,
    "errorcoursecontextnotvalid": NoEntry,
    "requireloginerror": NoEntry,
    "competenciesarenotenabled": FixConfiguration,
    "sitepolicynotagreed": FixConfiguration,
    "sitemaintenance": RetryLater,
    "dbconnectionfailed": RetryLater,
    "dmlreadexception": RetryLater,
}
BY_STATUS: dict[int, type[BridgeError]] = {
    403: StopRun,
    404: FixConfiguration,
    500: OutcomeUnknown,
    502: OutcomeUnknown,
    503: RetryLater,
    504: OutcomeUnknown,
}


def error_in(row: dict[str, Any]) -> tuple[BridgeError, str] | None:
    """Return the error of a recorded exchange and its code; None where it is no fault."""
    function = row["function"] or ""
    reply = Reply(row["status"], row["content_type"] or "", (row["body"] or "").encode())
    error = error_of_reply(reply, function, where="https://moodle.example")
    if error is not None:
        return error, ""
    body = json.loads(reply.body)
    fault = parse_fault(body)
    if fault is None and isinstance(body, dict) and body.get("responses") and body["responses"][-1]["error"]:
        fault = parse_inner_fault(body["responses"][-1]["exception"])
    if fault is None:
        return None
    return error_of(fault, function, writes=bool(WRITING.search(function))), fault.errorcode


def expected(row: dict[str, Any], code: str) -> type[BridgeError]:
    """Return what to do next about a recorded fault, as the contract's facts say."""
    if row["status"] != 200:
        return BY_STATUS[row["status"]]
    if "xml" in row["content_type"]:
        return BodyTooLarge
    if code == "invalidrecord" and "external_functions" in row["body"]:
        return LacksFunction
    if code == "dmlwriteexception":
        return MaybeDeadlock if WRITING.search(row["function"]) else SkipItem
    return BY_CODE.get(code, SkipItem)


def test_each_recorded_fault_is_grouped_by_what_to_do_next() -> None:
    """All exchanges: faults get the class the facts call for, and a sentence; successes are none."""
    counted: Counter[str] = Counter()
    for line in gzip.decompress(RECORD.read_bytes()).decode().splitlines():
        row = json.loads(line)
        found = error_in(row)
        if found is None:
            counted["none"] += 1
            continue
        error, code = found
        assert type(error) is expected(row, code), row
        says = str(error)
        assert says[0].isupper() or says.startswith("https://"), says
        assert says.endswith((".", "!", "?")), says
        assert "<" not in says, says
        counted[type(error).__name__] += 1
    assert counted["none"] > 400
    assert min(counted[name] for name in ("StopRun", "FixConfiguration", "RetryLater", "OutcomeUnknown")) > 0
    assert counted["SkipItem"] > 100


def test_a_token_that_worked_before_is_taken_for_expired() -> None:
    """The same refusal is a wrong setting at the start and an expired token in the middle."""
    fault = parse_fault({"exception": "webservice_access_exception", "errorcode": "accessexception", "message": "no"})
    assert fault is not None
    assert isinstance(error_of(fault, "f", writes=True), FixConfiguration)
    assert isinstance(error_of(fault, "f", writes=True, worked_before=True), StopRun)


def test_a_token_that_is_revoked_in_the_middle_stops_the_run() -> None:
    """At first contact an unknown token is a wrong setting."""
    fault = parse_fault({"exception": "moodle_exception", "errorcode": "invalidtoken", "message": "Invalid token"})
    assert fault is not None
    assert isinstance(error_of(fault, "f", writes=True), FixConfiguration)
    assert isinstance(error_of(fault, "f", writes=True, worked_before=True), StopRun)


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (
            Reply(301, "text/html", b"", {"Location": "https://www.m.example/x?wstoken=abc"}),
            FixConfiguration,
            "www.m.example/x.",
        ),
        (Reply(200, "text/html", b"<html>login</html>"), FixConfiguration, "web page"),
        (Reply(200, "text/html", b""), OutcomeUnknown, "nothing at all"),
        (Reply(413, "text/html", b""), BodyTooLarge, "large"),
        (Reply(429, "text/html", b"", {"Retry-After": "7"}), RetryLater, "too often"),
        (Reply(401, "text/html", b""), FixConfiguration, "login of its own"),
    ],
)
def test_answers_that_are_not_moodles_say_what_stands_in_between(
    reply: Reply, error: type[BridgeError], says: str
) -> None:
    """Redirects, login pages, empty and oversize answers each have their sentence; a query is never shown."""
    found = error_of_reply(reply, "core_webservice_get_site_info", where="https://m.example")
    assert type(found) is error
    assert says.rstrip(".") in str(found)
    assert "abc" not in str(found)
    if isinstance(found, RetryLater):
        assert found.retry_after == 7
