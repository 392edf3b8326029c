"""A simulated Moodle, and a client that calls it as any bridge would."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from connectors.simulators.moodle import MoodleSimulator

SCALE = json.dumps(
    [
        {"scaleid": "2"},
        {"id": 1, "scaledefault": 1, "proficient": 0},
        {"id": 2, "scaledefault": 0, "proficient": 1},
    ]
)


class Client:
    """Calls web service functions over one keep-alive session."""

    def __init__(self, simulator: MoodleSimulator) -> None:
        self.simulator = simulator
        self.session = requests.Session()

    def post(self, function: str, timeout: float = 20, token: str | None = None, **form: Any) -> requests.Response:
        """Send one call and return the raw response."""
        base = {
            "wstoken": token or self.simulator.token,
            "wsfunction": function,
            "moodlewsrestformat": "json",
        }
        return self.session.post(
            self.simulator.url + "/webservice/rest/server.php", data={**base, **form}, timeout=timeout
        )

    def call(self, function: str, **form: Any) -> Any:
        """Send one call and return what its JSON says."""
        return self.post(function, **form).json()

    def batch(self, *calls: tuple[str, dict[str, Any]], **form: Any) -> Any:
        """Send many calls in one request."""
        for number, (function, arguments) in enumerate(calls):
            form[f"requests[{number}][function]"] = function
            form[f"requests[{number}][arguments]"] = json.dumps(arguments)
        return self.call("tool_mobile_call_external_functions", **form)

    def framework(self, idnumber: str = "FW") -> int:
        """Create a framework and return its id."""
        answer = self.call(
            "core_competency_create_competency_framework",
            **{
                "competencyframework[shortname]": idnumber,
                "competencyframework[idnumber]": idnumber,
                "competencyframework[scaleid]": "2",
                "competencyframework[contextid]": "1",
                "competencyframework[scaleconfiguration]": SCALE,
            },
        )
        return int(answer["id"])

    def competency(self, framework: int, idnumber: str, parent: int = 0, **more: Any) -> Any:
        """Create a competency and return the answer."""
        given = {
            "shortname": idnumber,
            "idnumber": idnumber,
            "parentid": parent,
            "competencyframeworkid": framework,
        }
        return self.call(
            "core_competency_create_competency",
            **{f"competency[{k}]": v for k, v in {**given, **more}.items()},
        )


@pytest.fixture
def moodle() -> Iterator[MoodleSimulator]:
    """Give a fresh, empty site."""
    with MoodleSimulator() as simulator:
        yield simulator


@pytest.fixture
def client(moodle: MoodleSimulator) -> Iterator[Client]:
    """Give a client of that site."""
    client = Client(moodle)
    yield client
    client.session.close()
