"""What each fault of Moodle means for what to do next, in one sentence a person can act on.

Moodle reports nearly every fault with HTTP 200 and a body that names an exception (contracts/moodle-4.5, Faults);
the rest is HTML from PHP or a gateway, an empty body, or XML. A write is only ever sent again where the fault proves
that it was not carried out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from bridge.ports import (
    AccessEnded,
    AccessNotGiven,
    BridgeError,
    FixConfiguration,
    OutcomeUnknown,
    RetryLater,
    SkipItem,
    StopRun,
)
from connectors.http import Reply


@dataclass(frozen=True, slots=True)
class Fault:
    """An exception as Moodle states it."""

    errorcode: str
    message: str
    exception: str = ""


class BodyTooLarge(BridgeError):
    """The request was over the server's post_max_size, so that Moodle saw an empty form: send less at once."""


class MaybeDeadlock(BridgeError):
    """The database refused a write whose lengths were checked before: a deadlock or a clash, worth another try."""


class Incomplete(BridgeError):
    """Moodle answered fewer calls of a batch than were sent, and none of them failed: the rest was not seen."""


class LacksPermission(FixConfiguration):
    """The account's role lacks a permission; Moodle names it in the language of its pages, not by its short name."""


class LacksFunction(FixConfiguration):
    """The service, or this Moodle, has no such function."""


class NoEntry(SkipItem):
    """The account may not enter a course."""


_TAGS = re.compile(r"<[^>]*>")

_ACCOUNT = {
    "invalidtoken": "Moodle does not know this token (it was revoked, or it expired). Make a new token for the service "
    "account, put it into MOODLE_TOKEN and run again.",
    "wsaccessusersuspended": "The service account is suspended in Moodle. Activate it and run again.",
    "wsaccessuserexpired": "The password of the service account expired in Moodle. Renew it and run again.",
    "wsaccessusernologin": "The service account may not log in to Moodle (its authentication is 'no login'). Change "
    "that and run again.",
    "wsaccessuserdeleted": "The service account was deleted in Moodle. Make a new one, with a new token.",
    "wsaccessuserunconfirmed": "The service account is not confirmed in Moodle. Confirm it and run again.",
    "forcepasswordchangenotice": "Moodle wants the service account to change its password first. Log in as that "
    "account once, and run again.",
}

_STOP = {"upgraderunning": "Moodle is being upgraded. Run again when that is done."}

_WAIT = {
    "sitemaintenance": "Moodle is in maintenance mode",
    "dbconnectionfailed": "Moodle cannot reach its database",
    "dbconnectionfailedwithdatabase": "Moodle cannot reach its database",
    "sitewideblock": "Moodle is busy",
    "locktimeout": "Moodle is busy",
}

_CONFIGURE = {
    "competenciesarenotenabled": "Competencies are switched off in this Moodle. An administrator can switch them on "
    "under Site administration > Advanced features.",
    "sitepolicynotagreed": "The service account has not agreed to the site policy. Log in to Moodle as that account "
    "once, agree, and run again.",
    "enablewsdescription": "Web services are switched off in this Moodle. Switch them on under Site administration > "
    "Advanced features.",
    "servicenotavailable": "The web service of this token is disabled in Moodle. Enable it under Site administration "
    "> Server > Web services > External services.",
    "usernotfullysetup": "The profile of the service account lacks something that Moodle requires. Log in as that "
    "account once and fill it in.",
}


def parse_fault(body: Any) -> Fault | None:
    """Return the fault that a decoded JSON answer states; None where it states none."""
    if not isinstance(body, dict):
        return None
    if "exception" in body and ("message" in body or "errorcode" in body):
        return Fault(
            str(body.get("errorcode") or ""), plain(str(body.get("message") or "")), str(body.get("exception") or "")
        )
    return None


def parse_inner_fault(text: str) -> Fault:
    """Return the fault of one call of a batch, which comes as a JSON string without the exception's class."""
    try:
        body = json.loads(text)
    except ValueError:
        return Fault("", plain(text))
    if not isinstance(body, dict):
        return Fault("", plain(str(body)))
    return Fault(str(body.get("errorcode") or ""), plain(str(body.get("message") or "")))


def plain(text: str) -> str:
    """Return Moodle's message without tags, on one line, not too long."""
    return " ".join(_TAGS.sub(" ", text).split())[:300]


def error_of(fault: Fault, function: str, *, writes: bool, worked_before: bool = False) -> BridgeError:
    """Return the error that a stated fault is, as a call of `function` met it.

    `worked_before` tells that the token was accepted earlier in this run: an access refusal then is an expired token
    rather than a wrong setting (contracts/moodle-4.5: the first use after expiry answers `accessexception`).
    """
    code, said = fault.errorcode, fault.message
    if code in _ACCOUNT:
        # At first contact it is a wrong setting; in the middle of a run it ends the run.
        return (AccessEnded if worked_before else AccessNotGiven)(_ACCOUNT[code])
    if code in _STOP:
        return StopRun(_STOP[code])
    if code in _WAIT:
        return RetryLater(f"{_WAIT[code]}; nothing was changed by this request. Run again when it is open.")
    if code in _CONFIGURE:
        return FixConfiguration(_CONFIGURE[code])
    if code == "accessexception":
        return _no_access(function, worked_before)
    if code == "nopermissions":
        return LacksPermission(
            f"The service account lacks a permission that {function} needs: {said} Add it to the account's role in "
            "Moodle (Site administration > Users > Permissions > Define roles)."
        )
    if code == "invalidrecord" and "external_functions" in said:
        return LacksFunction(
            f"This Moodle has no function {function}. It is older than 4.5, or a plugin is missing; leave out what "
            "needs it, or upgrade Moodle."
        )
    if code == "dmlwriteexception" and writes:
        return MaybeDeadlock(
            f"Moodle's database refused the change ({function}), several times. Try again later; if it stays, ask the "
            "administrator to look into Moodle's log."
        )
    if code == "dmlreadexception":
        return RetryLater(f"Moodle's database could not answer {function}. Run again later.")
    if code in {"errorcoursecontextnotvalid", "requireloginerror"}:
        return NoEntry(
            f"The service account may not enter the course: {_sentence(said)} Give it 'moodle/course:view' there."
        )
    return SkipItem(_item_says(code, said, function))


def _no_access(function: str, worked_before: bool) -> BridgeError:
    if worked_before:
        return AccessEnded(
            f"Moodle stopped accepting the token while this was running (at {function}): it probably expired. Extend "
            "it or make a new one, and run again; what was done stays done."
        )
    # Until anything worked, it is the token that is not let in, not one function.
    says = (
        f"Moodle refuses {function} to this token. Either the function is not in the token's service, or the token "
        "expired, or this computer's address is not allowed, or the account lacks 'webservice/rest:use'."
    )
    # Where even the first question is refused, `check` knows no more.
    first = function == "core_webservice_get_site_info"
    return AccessNotGiven(says if first else f"{says} `lms-bridge check` names what is missing.")


def _item_says(code: str, said: str, function: str) -> str:
    if code == "invalidpersistenterror":
        if "ID number is already in use" in said:
            return (
                "Moodle already has something with this ID number (it compares them without case, accents and "
                "trailing spaces). Rename one of the two."
            )
        if "scale" in said.lower():
            return f"Moodle refuses the scale: {_sentence(said)} What is rated already keeps its scale."
        return f"Moodle refuses this as it stands: {_sentence(said)}"
    if code == "invalidparameter":
        return (
            f"Moodle refuses a value of this item ({function}). It names no field unless debugging is on there; "
            "look for unusual characters in its name or description."
        )
    if code == "invalidrecord":
        return f"Moodle no longer has what this change rests on: {_sentence(said)} A new plan will see it as it is."
    if code == "errorreportview":
        return (
            "The service account may not see this report. Give it 'moodle/reportbuilder:viewall', or share the report "
            "with it."
        )
    if code == "wsusercannotassign":
        return (
            f"The service account may not give this role ({function}): {_sentence(said)} Allow it under Site "
            "administration > Users > Permissions > Define roles > Allow role assignments, in the row of the account's "
            "role."
        )
    if code == "codingerror":
        reason = said.partition("must be fixed by a programmer:")[2].strip() or said
        return f"Moodle refuses this step ({function}): {_sentence(reason)}"
    if not code and not said:
        return f"Moodle refused this item ({function}) without a reason."
    return f"Moodle refused this item ({function}): {_sentence(said or code)}"


def _sentence(text: str) -> str:
    text = text.removeprefix("Error: ").strip()
    return text if not text or text[-1] in ".!?" else text + "."


def error_of_reply(reply: Reply, function: str, *, where: str) -> BridgeError | None:
    """Return the error that an HTTP answer is by itself, before its JSON is looked at; None for a JSON answer."""
    status, kind = reply.status, reply.content_type.lower()
    if 300 <= status < 400:
        target = reply.headers.get("Location", "").partition("?")[0]
        return FixConfiguration(
            f"{where} sends us on to {target or 'another address'}. Put the address that Moodle really has into "
            "MOODLE_URL (mind https and www)."
        )
    if status == 429:
        return RetryLater(
            f"{where} says we ask too often. Run again a little later, or with fewer connections.", reply.retry_after()
        )
    if status == 503:
        return RetryLater(
            f"{where} is closed for maintenance or overloaded. Run again when it is open.", reply.retry_after()
        )
    if status == 413:
        return BodyTooLarge(f"{where} does not take a request this large.")
    if status == 403:
        return StopRun(
            f"{where} answers 403 (forbidden): web services are switched off, or a firewall is in between. Switch them "
            "on under Site administration > Advanced features, or ask for this computer to be let through."
        )
    if status in {404, 405, 410}:
        return FixConfiguration(
            f"There is no Moodle web service at {where} (HTTP {status}). Correct MOODLE_URL: the address of the site "
            "as in a browser, with its folder."
        )
    if status in {401, 407}:
        return FixConfiguration(
            f"{where} wants a login of its own (HTTP {status}), before Moodle is reached. Let this computer through "
            "without it."
        )
    if status >= 500:
        return OutcomeUnknown(
            f"{where} broke off while it worked on {function} (HTTP {status}); whether it was done is looked up before "
            "anything is sent again."
        )
    if status >= 400:
        return FixConfiguration(f"{where} refuses the request (HTTP {status}). Check MOODLE_URL and what is between.")
    if "xml" in kind:
        # Asked for JSON, Moodle answers in XML only where it could not read the form at all: the body was dropped
        # for being over post_max_size (contracts/moodle-4.5, Faults).
        return BodyTooLarge(f"{where} did not read the request: it is over the server's post_max_size.")
    if (
        "json" not in kind
        and reply.body.lstrip()[:1] not in (b"{", b"[", b'"', b"t", b"f", b"n")
        and not (reply.body.strip().isdigit())
    ):
        if not reply.body.strip():
            return OutcomeUnknown(f"{where} answered {function} with nothing at all; it is looked up before going on.")
        return FixConfiguration(
            f"{where} answers with a web page instead of Moodle's web service. Correct MOODLE_URL, and see that "
            "nothing (a login page, a firewall) stands in between."
        )
    return None
