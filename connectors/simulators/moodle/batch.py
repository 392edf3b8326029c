"""Answering calls: dispatch, rights of the token, and many calls in one request.

Observed on Moodle 4.5.6 (`contracts/moodle-4.5`, Batching): `tool_mobile_call_external_functions` stops at
the first error, earlier calls stay committed and later ones are absent; `data` and `exception` are JSON
strings, `data` may be null; nested in itself, an error that leaves a transaction open rolls back what later
calls answered.
"""

import json
from html import escape
from typing import Any

from connectors.simulators.moodle import params
from connectors.simulators.moodle.errors import (
    MoodleError,
    SimulatedCrashError,
    access_denied,
    invalid_parameter,
    missing_record,
    plain,
)
from connectors.simulators.moodle.site import HANDLERS, Call
from connectors.simulators.moodle.tables import Row

BATCH = "tool_mobile_call_external_functions"
_DENIED = """Access to the function {name}() is not allowed.
                     There could be multiple reasons for this:
                     1. The service linked to the user token does not contain the function.
                     2. The service is user-restricted and the user is not listed.
                     3. The service is IP-restricted and the user IP is not listed.
                     4. The service is time-restricted and the time has expired.
                     5. The token is time-restricted and the time has expired.
                     6. The service requires a specific capability which the user does not have.
                     7. The function is called with username/password (no user token is sent)
                     and none of the services has the function to allow the user.
                     These settings can be found in Administration > Site administration
                     > Server > Web services > External services and Manage tokens."""


def to_json(value: Any) -> str:
    """Return a value as PHP's json_encode writes it: ASCII, no spaces, slashes escaped."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/")


def to_xml(value: Any) -> str:
    """Return a value as Moodle's REST server writes it where JSON was not asked for."""
    return f'<?xml version="1.0" encoding="UTF-8" ?>\n<RESPONSE>\n{_element(value)}</RESPONSE>\n'


def _element(value: Any) -> str:
    if value is None:
        return '<VALUE null="null"/>\n'
    if isinstance(value, dict):
        keys = "".join(f'<KEY name="{escape(key)}">{_element(item)}</KEY>\n' for key, item in value.items())
        return f"<SINGLE>\n{keys}</SINGLE>\n"
    if isinstance(value, list):
        return "<MULTIPLE>\n" + "".join(_element(item) for item in value) + "</MULTIPLE>\n"
    shown = int(value) if isinstance(value, bool) else value
    return f"<VALUE>{escape(str(shown))}</VALUE>\n"


def answer(call: Call, name: str, given: Any) -> Any:
    """Answer one function for a token; raise MoodleError where Moodle answers an exception."""
    signature = params.signatures().get(name)
    if signature is None:
        raise missing_record("external_functions", "name", name)
    if call.functions is not None and name not in call.functions:
        raise access_denied(_DENIED.format(name=name))
    if name == BATCH:
        return _batch(call, params.validate(signature.parameters, given))
    config = call.site.config
    if not config.site_policy_agreed and name != "core_webservice_get_site_info":
        raise plain(
            "sitepolicynotagreed",
            f'Site policy not agreed: <a href="{call.wwwroot}/user/policy.php">Click here to open the site policy.</a>',
        )
    arguments = params.validate(signature.parameters, given)
    handler = HANDLERS.get(name)
    if handler is None:
        raise MoodleError(
            "simulator_exception",
            "notsimulated",
            f"This simulator does not model {name}; see docs/simulator-moodle.md",
        )
    if not config.competencies_enabled and name.startswith(("core_competency_", "tool_lp_")):
        raise plain("competenciesarenotenabled", "Competencies are not enabled.")
    with call.site.lock:
        result = handler(call, arguments)
    if signature.write:
        call.committed += 1
        if call.crash_after is not None and call.committed >= call.crash_after:
            raise SimulatedCrashError
    return result


def _batch(call: Call, arguments: Row) -> Row:
    responses: list[Row] = []
    call.depth += 1
    outer_raw = call.raw
    try:
        for request in arguments["requests"]:
            call.raw = bool(request.get("settingraw"))
            try:
                result = answer(call, request["function"], _inner_arguments(request["arguments"]))
            except MoodleError as error:
                responses.append({"error": True, "exception": to_json(error.inner_body(call.wwwroot))})
                break
            responses.append({"error": False, "data": None if result is None else to_json(result)})
    finally:
        call.depth -= 1
        call.raw = outer_raw
    return {"responses": responses}


def _inner_arguments(text: str | None) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        raise invalid_parameter("Only arrays accepted. The bad value is: ''") from None


def finish(call: Call) -> None:
    """End a request: what an open transaction held is taken back."""
    if call.rollback is not None:
        with call.site.lock:
            ids = {name: table.next_id for name, table in call.db.tables().items()}
            call.db.load(call.rollback)
            for name, table in call.db.tables().items():
                table.next_id = max(table.next_id, ids[name])
        call.rollback = None
