"""What can go wrong with a Totara's API goes wrong on request, in the shapes that were observed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from connectors.simulators.totara import TotaraSimulator
from connectors.simulators.totara.faults import KINDS

CREATE = (
    "mutation m($input: core_user_create_user_input!) { core_user_create_user(input: $input) { user { id idnumber } } }"
)


@pytest.fixture
def totara() -> Iterator[TotaraSimulator]:
    """A site with nobody but its own accounts."""
    with TotaraSimulator() as simulator:
        yield simulator


class Client:
    """Asks a site without minding what it answers. The token is its first request."""

    def __init__(self, totara: TotaraSimulator) -> None:
        self.totara = totara
        self.token = self.ask_for_token()["access_token"]

    def ask_for_token(self) -> Any:
        """Return what the site says to the client's id and secret."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.totara.client_id,
            "client_secret": self.totara.client_secret,
        }
        return requests.post(f"{self.totara.url}/totara/oauth2/token.php", data=form, timeout=5).json()

    def create(self, *names: str, timeout: float = 5) -> requests.Response:
        """Ask for accounts, each in an operation of its own."""
        people = [
            {"username": n, "email": f"{n}@x.example", "firstname": "A", "lastname": "B", "password": "Pass-12345"}
            for n in names
        ]
        return requests.post(
            f"{self.totara.url}/api/graphql.php",
            json=[{"query": CREATE, "variables": {"input": person}} for person in people],
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=timeout,
        )

    def made(self) -> int:
        """Return how many accounts there are but for the site's own."""
        return sum(user.email.endswith("@x.example") for user in self.totara.site.state.users.values())


@pytest.mark.parametrize(
    ("kind", "status", "marker"),
    [
        ("http_502", 502, "502 Bad Gateway"),
        ("http_503", 503, "503 Service Temporarily Unavailable"),
        ("http_504", 504, "504 Gateway Time-out"),
        ("http_429", 429, "Too many requests"),
        ("html_200", 200, "<title>Site upgrade</title>"),
        ("empty_500", 500, ""),
        ("empty_403", 403, ""),
        ("internalerror", 200, "Internal server error"),
        ("invalidtoken", 200, "errors"),
        ("invalidclient", 200, "errors"),
    ],
)
def test_a_refusing_fault_makes_nothing(totara: TotaraSimulator, kind: str, status: int, marker: str) -> None:
    """The request is answered in the fault's shape; the next one is answered as ever, if the client may still ask."""
    client = Client(totara)
    totara.faults.add(kind, at=2)
    response = client.create("one")
    assert response.status_code == status
    assert marker in response.text
    assert client.made() == 0
    if kind == "invalidclient":
        assert client.ask_for_token()["error"] == "invalid_client"
        return
    client.token = client.ask_for_token()["access_token"]
    assert client.create("one").status_code == 200
    assert client.made() == 1


@pytest.mark.parametrize(
    ("kind", "made"),
    [("reset_before", 0), ("reset_after_commit", 1), ("timeout", 0), ("timeout_after_commit", 1), ("cut_json", 1)],
)
def test_a_lost_answer_may_or_may_not_have_been_carried_out(totara: TotaraSimulator, kind: str, made: int) -> None:
    """The client sees a broken connection each time; only the site knows what was done."""
    client = Client(totara)
    totara.faults.add(kind, at=2, seconds=0.4)
    with pytest.raises((requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)):
        client.create("one", timeout=0.2)
    assert client.made() == made


def test_a_process_killed_in_an_array_leaves_the_first_part_done(totara: TotaraSimulator) -> None:
    """Of five accounts three are there, and the answer is an empty 500."""
    client = Client(totara)
    totara.faults.add("killed_mid_batch", at=2, after_writes=3)
    response = client.create("one", "two", "three", "four", "five")
    assert (response.status_code, response.text) == (500, "")
    assert client.made() == 3


def test_moments_of_a_request_are_told(totara: TotaraSimulator) -> None:
    """Before it is worked on, after that, and when the answer has left."""
    told: list[tuple[str, int, str]] = []
    totara.on_moment = lambda *moment: told.append(moment)
    Client(totara)
    totara.stop()
    path = "/totara/oauth2/token.php"
    assert told == [(moment, 1, path) for moment in ("before", "after_commit", "answered")]


def test_every_fault_is_tried_here() -> None:
    """And one that is not known is refused, so that a typing error does not pass as a fault that never comes."""
    tried = {"reset_before", "reset_after_commit", "timeout", "timeout_after_commit", "cut_json", "killed_mid_batch"}
    refusing = next(mark for mark in test_a_refusing_fault_makes_nothing.pytestmark if mark.name == "parametrize")
    assert tried | {kind for kind, _, _ in refusing.args[1]} == set(KINDS)
    with pytest.raises(ValueError, match="unknown fault"):
        TotaraSimulator().faults.add("http_999")
