"""The simulator answers the recorded requests as the recorded site did."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from connectors.hrimport_rules.settings import settings_from_mapping
from connectors.simulators.totara import TotaraSimulator
from tests.contract.totara.hrimport_record import DATA, SAMPLES, SITE

EXCHANGES = [json.loads(line) for line in (DATA / "exchanges.jsonl").read_text(encoding="utf-8").splitlines()]
# Reads of courses and programs: results come from report exports, these calls serve nothing the bridge does.
NOT_SIMULATED = (
    "core_course_get_courses",
    "core_enrol_get_enrolled_users",
    "core_completion_get_activities_completion_status",
    "totara_program_assignment_filter",
)
# Who shows whose e-mail changed between the first and the last recording, by hand.
CHANGED_BY_HAND = {"users: e-mail with the stock API User role"}


class Recorded:
    """A simulated site in the state of the recorded one, and the requests replayed against it."""

    def __init__(self, totara: TotaraSimulator) -> None:
        self.totara = totara
        self.bearer = "none"
        self.session = requests.Session()

    def prepare(self, name: str) -> None:
        """What the recording did to the site's settings before this request."""
        api = self.totara.api
        api.enabled = name not in {"external API feature off", "token while the feature is off"}
        api.client_rate_limit = 40 if name.startswith("rate limit") else 250_000
        api.max_depth = 3 if "too deep" in name else 15
        api.response_debug = 0 if "response_debug none" in name else 1
        api.wide_role = "after adding" in name
        self.totara.client_enabled = name != "token with client disabled"
        account = next(user for user in self.totara.site.state.users.values() if user.username == "apisvc")
        account.suspended = name == "service account suspended"
        if name in {"token row removed (cleaned by cron task)", "client and provider disabled"}:
            self.totara.forget_tokens()
        if not name.startswith("rate limit step") or name.startswith("rate limit step 1"):
            self.totara.forget_spending()

    def ask(self, exchange: dict[str, Any]) -> tuple[int, Any]:
        """Send the recorded request with this site's own secrets."""
        request = exchange["request"]
        path = urlsplit(request["url"]).path
        body = request["body"] or ""
        if path.endswith("token.php"):
            body = body.replace("TOKEN", self.totara.client_secret).replace("CLIENT_ID", self.totara.client_id)
        else:
            body = body.replace("wstoken=TOKEN", f"wstoken={self.totara.ws_token}")
        headers = {}
        for name, value in request["headers"].items():
            if value.startswith("Basic"):
                pair = f"{self.totara.client_id}:{self.totara.client_secret}"
                value = "Basic " + base64.b64encode(pair.encode()).decode()
            headers[name] = value.replace("Bearer TOKEN", f"Bearer {self.bearer}")
        answer = self.session.request(
            request["method"], self.totara.url + path, headers=headers, data=body.encode(), timeout=30
        )
        if "content_type" in exchange:
            assert answer.headers["Content-Type"] == exchange["content_type"]
        found = answer.json()
        if isinstance(found, dict) and "access_token" in found:
            self.bearer = found["access_token"]
            found["access_token"] = "TOKEN"
        return answer.status_code, found


@pytest.fixture(scope="module")
def recorded() -> Iterator[Recorded]:
    """A site that holds the samples and the two service accounts, as the recorded one did."""
    totara = TotaraSimulator(settings=settings_from_mapping(SITE), service_accounts=())
    totara.site.load_samples(SAMPLES)
    for user in totara.site.state.users.values():
        user.timemodified = 1700000000 if user.idnumber else 1795285734
    for seconds, username in enumerate(("apisvc", "wssvc")):
        totara.add_service_account(username)
        totara.site.state.users[max(totara.site.state.users)].timemodified += seconds
    members = [user.id for user in totara.site.state.users.values() if user.idnumber][:10]
    audience = {"id": 1, "name": "Audience 1", "idnumber": "AUD1", "description": "", "descriptionformat": 1}
    totara.web_services.audiences["AUD1"] = {**audience, "visible": True, "members": members}
    totara.web_services.completions[3] = {4: False}
    for element, names in (
        ("pos", {"POSFW-A": "Positions A", "POSFW-B": "Positions B"}),
        ("org", {"ORGFW": "Organisations"}),
    ):
        totara.web_services.framework_names[element] = names
    with totara:
        replayed = Recorded(totara)
        yield replayed
        replayed.session.close()


def _agrees(got: Any, want: Any, *, partial: bool, path: str = "") -> None:
    """Equal, except that long recorded lists are cut, and (``partial``) objects may have fewer members."""
    if isinstance(want, list) and want and isinstance(want[-1], str) and want[-1].endswith(" more"):
        assert isinstance(got, list), path
        if not partial:
            assert len(got) == len(want) - 1 + int(want[-1].split()[1]), path
        want = want[:-1]
        got = got[: len(want)]
    if isinstance(want, dict) and isinstance(got, dict):
        assert set(got) <= set(want), path
        assert partial or set(got) == set(want), path
        for name in got:
            if name not in _VOLATILE:
                _agrees(got[name], want[name], partial=partial, path=f"{path}.{name}")
    elif isinstance(want, list) and isinstance(got, list):
        assert len(got) == len(want), path
        for number, (one, other) in enumerate(zip(got, want, strict=True)):
            _agrees(one, other, partial=partial, path=f"{path}[{number}]")
    else:
        assert got == want, path


# Clocks, and cursors that hold one.
_VOLATILE = {"timestamp", "next_cursor", "sitename", "siteurl", "functions", "advancedfeatures", "preferences"}


@pytest.fixture(scope="module")
def answers(recorded: Recorded) -> list[tuple[int, Any] | None]:
    """Every exchange asked again, in the recorded order: each one stands on what those before it left."""
    found: list[tuple[int, Any] | None] = []
    for exchange in EXCHANGES:
        name = exchange["name"]
        recorded.prepare(name)
        found.append(None if name.removeprefix("ws ") in NOT_SIMULATED else recorded.ask(exchange))
    return found


@pytest.mark.parametrize("number", range(len(EXCHANGES)), ids=lambda number: f"{number}-{EXCHANGES[number]['name']}")
def test_the_answer_is_the_recorded_one(number: int, answers: list[tuple[int, Any] | None], recorded: Recorded) -> None:
    """Status, content type and body of every recorded exchange."""
    exchange = EXCHANGES[number]
    name = exchange["name"]
    answer = answers[number]
    if answer is None:
        assert name.removeprefix("ws ") not in recorded.totara.web_services.functions
        return
    status, found = answer
    assert status == exchange["status"]
    want = exchange["body"]
    if "complexity" in json.dumps(want):
        # The site names each field that went over, in an order of its own.
        assert {error["message"] for error in found["errors"]} == {
            error["message"] for error in want["errors"] if isinstance(error, dict)
        }
        assert found["errors"][0]["extensions"] == want["errors"][0]["extensions"]
    elif name in CHANGED_BY_HAND:
        assert [item["job_assignments"] for item in found["data"]["core_user_users"]["items"]] == [
            item["job_assignments"] for item in want["data"]["core_user_users"]["items"]
        ]
    else:
        _agrees(found, want, partial=name.startswith("ws "))


def test_a_cursor_by_id_is_the_recorded_one(answers: list[tuple[int, Any] | None]) -> None:
    """Cursors are excluded above because of clocks; by id they hold none and must be equal."""
    number = next(at for at, one in enumerate(EXCHANGES) if one["name"] == "users limit 1000")
    answer = answers[number]
    assert answer is not None
    page = answer[1]["data"]["core_user_users"]
    assert page["next_cursor"] == EXCHANGES[number]["body"]["data"]["core_user_users"]["next_cursor"]
