"""Replaying the exchanges recorded on a Moodle 4.5.6 site against the simulator, in order.

`Replay` sends each recorded request, keeps ids and clock in step with the record (`interludes`), and says how
the answer compares: its HTTP status, its shape (keys and types at every depth), its error code, and its
values.
"""

import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import requests

from connectors.simulators.moodle import MoodleSimulator

RECORD = Path(__file__).parent.parent / "data" / "moodle-4.5-exchanges.jsonl.gz"
BEGAN = 1795285890
ENDED = 1795299999


@dataclass(frozen=True)
class Exchange:
    """One recorded request and its answer."""

    number: int
    case: str
    function: str
    form: dict[str, str]
    status: int
    content_type: str
    body: str


@dataclass(frozen=True)
class Outcome:
    """How one answer compares with the record."""

    exchange: Exchange
    status: bool
    shape: bool
    error: bool
    values: bool
    answered: str

    @property
    def same(self) -> bool:
        """Return whether everything is as recorded."""
        return self.status and self.shape and self.error and self.values


def exchanges() -> list[Exchange]:
    """Return the recorded exchanges in order."""
    lines = gzip.decompress(RECORD.read_bytes()).decode().splitlines()
    rows = [json.loads(line) for line in lines]
    return [
        Exchange(
            n, row["case"], row["function"] or "", row["form"], row["status"], row["content_type"], row["body"] or ""
        )
        for n, row in enumerate(rows)
    ]


class Replay:
    """Sends recorded requests to a simulator over one session."""

    def __init__(self, simulator: MoodleSimulator, tokens: dict[str, str]) -> None:
        self.simulator = simulator
        self.tokens = tokens
        self.session = requests.Session()

    def tick(self, exchange: Exchange) -> None:
        """Bring the simulator's clock to the latest time of the recording that an answer shows."""
        shown = [int(t) for t in re.findall(r"\b17952\d{5}\b", exchange.body)]
        latest = max([t for t in shown if t < ENDED], default=0)
        self.simulator.config.clock = max(self.simulator.config.clock or 0, latest)

    def send(self, exchange: Exchange) -> requests.Response:
        """Send the recorded request with this simulator's tokens."""
        form = exchange.form
        if "_path" in form:
            return self._send_raw(form)
        given = {key: self._token(value) if key == "wstoken" else value for key, value in form.items()}
        return self.session.post(
            self.simulator.url + "/webservice/rest/server.php",
            data=urlencode(given, quote_via=quote, errors="surrogatepass").encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            timeout=20,
        )

    def _send_raw(self, form: dict[str, str]) -> requests.Response:
        body = form["_body"].replace("PASSWORD", self.simulator.config.password)
        body = re.sub(r"\bTOKEN\b", self.simulator.token, body)
        headers = {"Content-Type": form["_content_type_sent"]} if form["_content_type_sent"] else {}
        return self.session.request(
            form["_method"], self.simulator.url + form["_path"], data=body.encode(), headers=headers, timeout=20
        )

    def _token(self, name: str) -> str:
        return self.simulator.token if name == "TOKEN" else self.tokens.get(name, name)

    def compare(self, exchange: Exchange, response: requests.Response) -> Outcome:
        """Return how an answer compares with the recorded one."""
        token = self.simulator.token
        wanted, got = decode(exchange.body), decode(response.text.replace(token, "TOKEN"))
        return Outcome(
            exchange,
            response.status_code == exchange.status
            and response.headers["Content-Type"].split(";")[0] == exchange.content_type.split(";")[0],
            shape(wanted) == shape(got),
            code(wanted) == code(got),
            equal(wanted, got),
            response.text,
        )


def decode(body: str) -> Any:
    """Return what an answer says, with the JSON inside a batch's JSON decoded as well."""
    try:
        value = json.loads(body)
    except ValueError:
        return body.strip()
    return _inner(value)


def _inner(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _decoded(v) if k in ("data", "exception") else _inner(v) for k, v in value.items()}
    return [_inner(item) for item in value] if isinstance(value, list) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "[", '"', "t", "f"):
        try:
            return _inner(json.loads(value))
        except ValueError:
            return value
    return _inner(value)


def shape(value: Any) -> Any:
    """Return the keys and types of an answer; a list has the shape of its first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items() if key != "debuginfo"}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def code(value: Any) -> Any:
    """Return the error code of an answer, of its parts where it is a batch."""
    if isinstance(value, dict) and "responses" in value:
        return [code(item.get("exception") or item.get("data")) for item in value["responses"]]
    return value.get("errorcode") if isinstance(value, dict) else None


_TIMES = re.compile(r"time|issued|added")
_CLOCK = re.compile(r"^(\w+, \d+ \w+ 2026), \d+:\d\d [AP]M$")


def equal(wanted: Any, got: Any, key: str = "") -> bool:
    """Return whether two answers hold the same values.

    The functions of a service may come in any order, and of the picture Moodle draws for a course only the
    kind counts. Times of the recording itself need only both lie within it: when an unanswered write happened
    is not in the record.
    """
    if isinstance(wanted, dict) and isinstance(got, dict):
        return set(wanted) == set(got) and all(equal(wanted[k], got[k], k) for k in wanted)
    if isinstance(wanted, list) and isinstance(got, list):
        if key == "functions":
            wanted, got = (sorted(items, key=lambda item: item["name"]) for items in (wanted, got))
        return len(wanted) == len(got) and all(equal(a, b, key) for a, b in zip(wanted, got, strict=True))
    if _TIMES.search(key) and isinstance(wanted, int) and isinstance(got, int) and wanted >= BEGAN:
        return got >= BEGAN
    if key == "userdate" and isinstance(wanted, str) and isinstance(got, str):
        return _CLOCK.sub(r"\1", wanted) == _CLOCK.sub(r"\1", got)
    if key == "courseimage" and isinstance(wanted, str) and wanted.startswith("data:image/svg+xml;base64,"):
        return isinstance(got, str) and got.startswith("data:image/svg+xml;base64,")
    if key == "cid" and isinstance(wanted, str) and re.fullmatch(r"[0-9a-f]{13}", wanted):
        return isinstance(got, str)
    return (type(wanted) is type(got) and wanted == got) or (
        isinstance(wanted, int | float)
        and isinstance(got, int | float)
        and not isinstance(wanted, bool)
        and wanted == got
    )
