"""What can go wrong with a Moodle goes wrong on request, in the shapes that were observed."""

import json
import time
from typing import Any

import pytest
import requests

from connectors.simulators.moodle import FAULT_KINDS, MoodleSimulator


def _count(moodle: MoodleSimulator) -> int:
    return len(moodle.db.competencies)


@pytest.mark.parametrize(
    ("kind", "status", "marker"),
    [
        ("http_502", 502, "502 Bad Gateway"),
        ("http_504", 504, "504 Gateway Time-out"),
        ("http_503", 503, "under maintenance"),
        ("http_429", 429, "429"),
        ("empty_500", 500, ""),
        ("empty_403", 403, ""),
        ("sitemaintenance", 200, '"errorcode":"sitemaintenance"'),
        ("dbconnectionfailed", 200, '"errorcode":"dbconnectionfailed"'),
        ("deadlock", 200, '"errorcode":"dmlwriteexception"'),
        ("invalidtoken", 200, '"errorcode":"invalidtoken"'),
        ("accessexception", 200, '"errorcode":"accessexception"'),
        ("oversize_xml", 200, "<ERRORCODE>invalidtoken</ERRORCODE>"),
    ],
)
def test_a_refusing_fault_commits_nothing(
    moodle: MoodleSimulator, client: Any, kind: str, status: int, marker: str
) -> None:
    """The request is answered in the fault's shape, and the competency is not created."""
    framework = client.framework()
    moodle.faults.add(kind, function="core_competency_create_competency")
    given = {"competency[shortname]": "x", "competency[idnumber]": "x", "competency[competencyframeworkid]": framework}
    response = client.post("core_competency_create_competency", **given)
    assert response.status_code == status
    assert marker in response.text
    assert _count(moodle) == 0
    if kind == "http_429":
        assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("kind", "committed"),
    [("reset_before", 0), ("reset_after_commit", 1), ("timeout", 0), ("timeout_after_commit", 1), ("cut_json", 1)],
)
def test_a_lost_answer_may_or_may_not_have_been_committed(
    moodle: MoodleSimulator, client: Any, kind: str, committed: int
) -> None:
    """The client sees a broken connection each time; only the server knows what was done."""
    framework = client.framework()
    moodle.faults.add(kind, function="core_competency_create_competency", seconds=0.4)
    with pytest.raises(
        (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, ValueError)
    ):
        client.competency(framework, "x") if kind == "cut_json" else client.post(
            "core_competency_create_competency",
            timeout=0.2,
            **{
                "competency[shortname]": "x",
                "competency[idnumber]": "x",
                "competency[competencyframeworkid]": framework,
            },
        )
    assert _count(moodle) == committed


def test_a_process_killed_in_a_batch_leaves_the_first_part_committed(moodle: MoodleSimulator, client: Any) -> None:
    """Of ten creates four are there, and the answer is an empty 500."""
    framework = client.framework()
    moodle.faults.add("killed_mid_batch", after_writes=4)
    form = {}
    for n in range(10):
        given = {"competency": {"shortname": f"{n}", "idnumber": f"{n}", "competencyframeworkid": framework}}
        form[f"requests[{n}][function]"] = "core_competency_create_competency"
        form[f"requests[{n}][arguments]"] = json.dumps(given)
    response = client.post("tool_mobile_call_external_functions", **form)
    assert (response.status_code, response.text) == (500, "")
    assert _count(moodle) == 4


def test_a_revoked_token_stays_revoked(moodle: MoodleSimulator, client: Any) -> None:
    """From the third request on every answer is invalidtoken."""
    moodle.faults.add("invalidtoken", start=3)
    codes = [client.call("core_webservice_get_site_info").get("errorcode") for _ in range(5)]
    assert codes == [None, None, "invalidtoken", "invalidtoken", "invalidtoken"]


def test_faults_strike_at_a_number_by_function_or_by_chance(moodle: MoodleSimulator, client: Any) -> None:
    """A fault at request 2 strikes only there; one by chance strikes as its seed says."""
    moodle.faults.add("http_502", at=2)
    statuses = [client.post("core_webservice_get_site_info").status_code for _ in range(3)]
    assert statuses == [200, 502, 200]
    moodle.faults.add("http_502", probability=0.5, count=None)
    struck = sum(client.post("core_webservice_get_site_info").status_code == 502 for _ in range(40))
    assert 8 < struck < 32


def test_an_unknown_fault_is_refused(moodle: MoodleSimulator) -> None:
    """A typing error in a test does not pass as a fault that never comes."""
    with pytest.raises(ValueError, match="unknown fault"):
        moodle.faults.add("http_999")
    assert "timeout" in FAULT_KINDS


def test_a_body_over_the_limit_becomes_an_xml_invalid_token(moodle: MoodleSimulator, client: Any) -> None:
    """PHP drops the whole form, so Moodle finds neither token nor format."""
    moodle.config.post_max_size = 1000
    response = client.post("core_webservice_get_site_info", filler="x" * 2000)
    assert response.status_code == 200
    assert "<ERRORCODE>invalidtoken</ERRORCODE>" in response.text


def test_the_hook_sees_each_request_before_and_after_its_commit(moodle: MoodleSimulator, client: Any) -> None:
    """A kill test can strike before the work, after it and before the answer leaves, or after the answer left."""
    seen: list[tuple[str, int, str, int]] = []
    framework = client.framework()
    time.sleep(0.05)
    moodle.on_request(lambda moment, index, function: seen.append((moment, index, function, _count(moodle))))
    client.competency(framework, "x")
    name = "core_competency_create_competency"
    deadline = time.monotonic() + 5
    while len(seen) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen == [("before", 2, name, 0), ("after_commit", 2, name, 1), ("answered", 2, name, 1)]


def test_an_idle_connection_is_closed() -> None:
    """After the keep-alive time the next request needs a new connection, as behind nginx."""
    with MoodleSimulator() as moodle:
        moodle.config.keep_alive = 1.0
        session = requests.Session()
        for wait in (0.0, 0.0, 1.5):
            time.sleep(wait)
            assert session.post(moodle.url + "/webservice/rest/server.php", data={}).status_code == 200
        session.close()
        assert moodle.requests.connections == 2
