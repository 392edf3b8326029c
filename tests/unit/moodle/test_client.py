"""The HTTP edge: where the token goes, what is sent again, and what a batch's answer means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
import responses
from pydantic import SecretStr

from bridge.ports import FixConfiguration, OutcomeUnknown, RetryLater, SkipItem, StopRun
from connectors.http import HttpTransport, Redactor, Reply, Timeouts, TransportFault, retrying, without_query
from connectors.moodle.client import BATCH, Call, Fate, MoodleClient, flatten
from connectors.moodle.options import MoodleOptions

TOKEN = "5ecre75ecre75ecre75ecre75ecre7"
URL = "https://moodle.example/sub/webservice/rest/server.php"
SITE = {"sitename": "S", "release": "4.5.6", "functions": [{"name": BATCH}, {"name": "f"}]}
REFUSED = {"error": True, "exception": json.dumps({"errorcode": "invalidparameter", "message": "Invalid"})}


def done(data: Any) -> dict[str, Any]:
    """Return one inner answer of a batch."""
    return {"error": False, "data": json.dumps(data)}


@pytest.fixture
def slept() -> list[float]:
    """The waits that were asked for."""
    return []


@pytest.fixture
def client(slept: list[float]) -> Iterator[MoodleClient]:
    """A client that does not sleep."""
    options = MoodleOptions("https://moodle.example/sub/", SecretStr(TOKEN), batch_size=4)
    made = MoodleClient(options, sleep=slept.append)
    yield made
    made.close()


def forms(mocked: responses.RequestsMock) -> list[dict[str, list[str]]]:
    """Return the forms that were sent."""
    return [parse_qs(str(call.request.body, "ascii"), keep_blank_values=True) for call in mocked.calls]  # type: ignore[arg-type]  # bytes here


@responses.activate
def test_the_token_travels_first_in_the_body_and_nowhere_else(client: MoodleClient) -> None:
    """Not in the address, not in a header; first, since PHP keeps the beginning of an over-long form."""
    sent = responses.add(responses.POST, URL, json=[])
    client.read(Call("f", {"a": [{"b": True}, {"b": False}]}, raw=True))
    request = sent.calls[0].request
    assert TOKEN not in str(request.url)
    assert TOKEN not in str(request.headers)
    assert bytes(request.body or b"").startswith(b"wstoken=" + TOKEN.encode())  # type: ignore[arg-type]  # bytes here
    form = parse_qs(bytes(request.body or b"").decode())  # type: ignore[arg-type]  # bytes here
    assert form["a[0][b]"] == ["1"]
    assert form["a[1][b]"] == ["0"]
    assert form["moodlewssettingraw"] == ["1"]
    assert TOKEN not in repr(client.options)


@responses.activate
def test_no_error_text_shows_the_token(client: MoodleClient) -> None:
    """Even where the network layer repeats what it was given."""
    responses.add(responses.POST, URL, body=requests.exceptions.ConnectionError(f"no way with {TOKEN}"))
    with pytest.raises(StopRun) as caught:
        client.read(Call("f", {}))
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None


@responses.activate
def test_a_batch_stops_at_the_first_refusal_and_the_rest_is_sent_again(client: MoodleClient) -> None:
    """Four calls, the second refused: one is set apart, two go in the next request."""
    responses.add(responses.POST, URL, json=SITE)
    responses.add(responses.POST, URL, json={"responses": [done(1), REFUSED]})
    responses.add(responses.POST, URL, json={"responses": [done(3), done(4)]})
    results = client.write([Call("f", {"n": n}) for n in range(1, 5)])
    assert [(r.fate, r.data) for r in results] == [
        (Fate.DONE, 1),
        (Fate.REFUSED, None),
        (Fate.DONE, 3),
        (Fate.DONE, 4),
    ]
    assert isinstance(results[1].error, SkipItem)


@responses.activate
def test_fewer_answers_than_calls_shrink_the_batches(client: MoodleClient) -> None:
    """Variables dropped by the server are noticed by counting."""
    responses.add(responses.POST, URL, json=SITE)
    responses.add(responses.POST, URL, json={"responses": [done(1), done(2)]})
    responses.add(responses.POST, URL, json={"responses": [done(3), done(4)]})
    assert [r.data for r in client.write([Call("f", {"n": n}) for n in range(4)])] == [1, 2, 3, 4]
    with responses.RequestsMock() as later:
        later.add(responses.POST, URL, json={"responses": [done(1), done(2)]})
        later.add(responses.POST, URL, json={"responses": [done(3), done(4)]})
        client.write([Call("f", {"n": n}) for n in range(4)])
        assert [sum("function" in name for name in form) - 1 for form in forms(later)] == [2, 2]


@responses.activate
@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500, "body": b"", "content_type": "text/html"},
        {"status": 502, "body": b"<html>Bad Gateway</html>", "content_type": "text/html"},
        {"status": 504, "body": b"<html>", "content_type": "text/html"},
        {"status": 200, "body": b'{"responses":[{"error":fal', "content_type": "application/json"},
        {"status": 200, "body": b"", "content_type": "text/html"},
        {"body": requests.exceptions.ReadTimeout("slow")},
        {"body": requests.exceptions.ConnectionError("Connection aborted.")},
        {"status": 200, "json": {"responses": []}},
    ],
)
def test_a_write_whose_answer_is_lost_is_unknown_and_never_repeated(
    client: MoodleClient, answer: dict[str, Any]
) -> None:
    """One request, no second one; the calls of the next request are not sent at all."""
    responses.add(responses.POST, URL, json=SITE)
    client.site()
    lost = responses.add(responses.POST, URL, **answer)
    results = client.write([Call("f", {"n": n}) for n in range(6)])
    assert [r.fate for r in results] == [Fate.UNKNOWN] * 4 + [Fate.NOT_SENT] * 2
    assert all(isinstance(r.error, OutcomeUnknown) for r in results)
    assert lost.call_count == 1


@responses.activate
def test_a_read_whose_answer_is_lost_is_simply_repeated(client: MoodleClient) -> None:
    """Reading changes nothing."""
    responses.add(responses.POST, URL, status=500)
    responses.add(responses.POST, URL, json={"ok": 1})
    assert client.read(Call("f", {})) == {"ok": 1}


@responses.activate
def test_the_wait_the_server_asks_for_is_kept(client: MoodleClient, slept: list[float]) -> None:
    """Retry-After in seconds is the least that is waited."""
    responses.add(responses.POST, URL, status=429, headers={"Retry-After": "17"})
    responses.add(responses.POST, URL, json={"ok": 1})
    client.read(Call("f", {}))
    assert slept[0] >= 17


@responses.activate
def test_a_wait_beyond_patience_ends_the_run(client: MoodleClient, slept: list[float]) -> None:
    """An hour is for the next run, not for this one."""
    responses.add(responses.POST, URL, status=503, headers={"Retry-After": "3600"})
    with pytest.raises(StopRun):
        client.read(Call("f", {}))
    assert slept == []


@responses.activate
def test_a_deadlock_is_tried_again_and_then_refused(client: MoodleClient) -> None:
    """A few times, then it is the item's fault."""
    responses.add(responses.POST, URL, json=SITE)
    fault = {"exception": "dml_write_exception", "errorcode": "dmlwriteexception", "message": "Error writing"}
    hit = responses.add(responses.POST, URL, json=fault)
    (result,) = client.write([Call("core_x_create_y", {})])
    assert result.fate is Fate.REFUSED
    assert hit.call_count == 5


@responses.activate
def test_a_body_the_server_did_not_read_is_halved(client: MoodleClient) -> None:
    """XML with invalidtoken is a body over post_max_size, not a revoked token."""
    responses.add(responses.POST, URL, json=SITE)
    xml = '<?xml version="1.0"?><EXCEPTION><ERRORCODE>invalidtoken</ERRORCODE></EXCEPTION>'
    responses.add(responses.POST, URL, body=xml, content_type="application/xml; charset=utf-8")
    responses.add(responses.POST, URL, json={"responses": [done(1), done(2)]})
    assert [r.data for r in client.write([Call("f", {"n": n}) for n in range(2)])][:1] in (
        [1],
        [{"responses": [done(1), done(2)]}],
    )


@responses.activate
def test_a_redirect_is_never_followed(client: MoodleClient) -> None:
    """A POST would arrive as a GET, with the form gone; and the token might go elsewhere."""
    responses.add(responses.POST, URL, status=301, headers={"Location": "https://elsewhere.example/?x=1"})
    with pytest.raises(FixConfiguration, match="elsewhere"):
        client.read(Call("f", {}))
    assert len(responses.calls) == 1


def test_addresses_and_tokens_that_cannot_work_are_refused_at_once() -> None:
    """Before any request."""
    with pytest.raises(FixConfiguration, match="MOODLE_TOKEN"):
        MoodleClient(MoodleOptions("https://m.example", SecretStr(" ")))
    with pytest.raises(FixConfiguration, match="MOODLE_URL"):
        MoodleClient(MoodleOptions("m.example", SecretStr("t")))


def test_nested_arguments_become_php_variables_and_null_is_left_out() -> None:
    """Booleans are 1 and 0; a form cannot say null."""
    flat = flatten({"a": {"b": [1, None, {"c": True}]}, "d": "x"})
    assert flat == [("a[b][0]", "1"), ("a[b][2][c]", "1"), ("d", "x")]


def test_a_connection_that_was_never_made_leaves_nothing_sent() -> None:
    """Refused and unknown hosts may be tried again; a broken answer may not."""
    transport = HttpTransport(timeouts=Timeouts(connect=1.0, read=1.0))
    with pytest.raises(TransportFault) as refused:
        transport.post("http://127.0.0.1:9/", b"")
    assert not refused.value.sent
    transport.close()


@responses.activate
def test_a_session_idle_for_too_long_is_replaced() -> None:
    """The server closes idle connections after a while; a fresh one costs less than a lost answer."""
    now = [0.0]
    transport = HttpTransport(idle_limit=30.0, clock=lambda: now[0])
    first = transport._session()
    now[0] = 20.0
    assert transport._session() is first
    now[0] = 60.0
    assert transport._session() is not first
    transport.close()


def test_retry_after_may_be_a_date_and_nonsense_is_none() -> None:
    """Seconds, an HTTP date, or nothing."""
    date = Reply(503, "", b"", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})
    assert date.retry_after(now=lambda: 1792567680.0 - 30.0) == pytest.approx(30.0)
    assert Reply(503, "", b"", {"Retry-After": "soon"}).retry_after() is None
    assert Reply(503, "", b"").retry_after() is None


def test_retries_wait_at_random_and_give_up() -> None:
    """Full jitter: between nothing and a bound that grows; the last error is raised as it was."""
    slept: list[float] = []

    def fail() -> None:
        """Fail in passing."""
        raise RetryLater("busy")

    with pytest.raises(RetryLater, match="busy"):
        retrying(attempts=6, first=0.5, longest=2.0, sleep=slept.append)(fail)
    assert len(slept) == 5
    assert all(0 <= wait <= 2.0 for wait in slept)


def test_what_may_be_shown_holds_no_secret() -> None:
    """Passwords and queries leave an address, known secrets leave a text."""
    assert without_query("https://u:p@m.example/a?wstoken=1#x") == "https://m.example/a"
    assert Redactor(["abc", ""])("x abc y") == "x *** y"
