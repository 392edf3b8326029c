"""The sites whose nights are struck, each seen in the same way: what it holds, what it was asked, its faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import asyncssh

from connectors.hrimport_rules.settings import settings_from_mapping
from connectors.simulators.moodle import MoodleSimulator
from connectors.simulators.totara import TotaraSimulator
from connectors.simulators.totara.reports import export_all, export_report
from tests.acceptance.program import COMPANY, scales
from tests.acceptance.totara_site import ERASING
from tests.acceptance.totara_site import SETTINGS as BY_FILES
from tests.integration.feeds.support import PASSWORD, USER, DropServer

Hook = Callable[[str, int, str], None]
"""Told of `before` and `after_commit` of a request, its number from 1, and what was asked."""

FAULTS: dict[str, dict[str, Any]] = {
    "timeout": {"seconds": 0.6},
    "timeout_after_commit": {"seconds": 0.6},
    "reset_before": {},
    "reset_after_commit": {},
    "cut_json": {},
    "http_502": {},
    "http_503": {},
    "http_504": {},
    "http_429": {"seconds": 0.1},
    "empty_500": {},
    "empty_403": {},
    "killed_mid_batch": {"after_writes": 3},
}
"""What any site, or what stands before it, does to one request."""


class Site(Protocol):
    """A simulated site, as a struck night sees it."""

    name: str
    settings: str
    """The site's part of `bridge.toml`, and where the feed arrives for it."""
    faults: Mapping[str, Mapping[str, Any]]
    """The faults it knows, and what they need."""

    def environment(self) -> dict[str, str]:
        """Return what the settings name: address, token, client."""
        ...

    def night(self) -> None:
        """Do what the site does by itself while the bridge sleeps."""
        ...

    def held(self) -> Any:
        """Return what the site holds, comparable with what another one holds."""
        ...

    def requests(self) -> int:
        """Return how many requests came."""
        ...

    def working(self) -> bool:
        """Whether a request is still being worked on."""
        ...

    def watch(self, hook: Hook | None) -> None:
        """Have a hook told of the requests to come; None for nobody."""
        ...

    def strike(self, kind: str, index: int) -> None:
        """Let a fault strike a request, by its number from 1."""
        ...

    def calm(self) -> None:
        """End everything that was wrong with it."""
        ...


FEED = """
[feeds.hr]
path = "inbox"
pattern = "people_*.csv"
interval = 0
model = "model"
"""


class Moodle:
    """A Moodle with a past: people who completed courses, and the reports an administrator has made."""

    name = "moodle"
    settings = f"""{FEED}
[sites.moodle]
url = "env:MOODLE_URL"
token = "env:MOODLE_TOKEN"
model = "model"

[sites.moodle.options]
server_limit = 0.05
attempts = 3
"""
    faults = FAULTS | {
        "sitemaintenance": {},
        "invalidtoken": {"count": None},
        "accessexception": {},
        "dbconnectionfailed": {},
        "deadlock": {},
        "oversize_xml": {},
    }

    def __init__(self, simulator: MoodleSimulator) -> None:
        self.simulator = simulator

    def environment(self) -> dict[str, str]:
        """Return address and token."""
        return {"MOODLE_URL": self.simulator.url, "MOODLE_TOKEN": self.simulator.token}

    def night(self) -> None:
        """Do nothing: what is sent to a Moodle is there at once."""

    def held(self) -> Any:
        """Return its rows by keys and names."""
        return self.simulator.comparable()

    def requests(self) -> int:
        """Return how many requests came."""
        return self.simulator.requests.total

    def working(self) -> bool:
        """Whether a request is still being worked on."""
        return self.simulator.requests.in_flight > 0

    def watch(self, hook: Hook | None) -> None:
        """Have a hook told of the requests to come."""
        self.simulator.on_request(hook)

    def strike(self, kind: str, index: int) -> None:
        """Let a fault strike a request; a token that is gone is gone for all that follow."""
        at = index if kind != "invalidtoken" else None
        self.simulator.faults.add(kind, at=at, start=index, **self.faults[kind])

    def calm(self) -> None:
        """End its faults."""
        self.simulator.faults.clear()


@cache
def _past() -> dict[str, Any]:
    """Return a Moodle's past. Made once, so that every night begins with the same moments in it."""
    moodle = MoodleSimulator()
    for name, labels in scales(COMPANY):
        moodle.seed.scale(name, labels)
    people = moodle.seed.users(6)
    courses = moodle.seed.courses(3)
    moodle.seed.enrolments(people, courses)
    moodle.seed.completion_report()
    moodle.seed.ratings_report()
    return moodle.db.dump()


@contextmanager
def moodle(_folder: Path) -> Iterator[Moodle]:
    """A simulated Moodle."""
    with MoodleSimulator(state=_past()) as simulator:
        yield Moodle(simulator)


RESULTS = """
results = [
    { name = "Course completion", kind = "course_completion_all" },
    { name = "Competency status", kind = "competency_status" },
]
level_names = { "Competent" = 3, "Not competent" = 1 }
"""
BY_API = """
[sites.totara.options.graphql]
client_id = "env:TOTARA_CLIENT_ID"
client_secret = "env:TOTARA_CLIENT_SECRET"
server_limit = 0.05

[sites.totara.options.channels]
person = "graphql"
job = "graphql"
"""


class Totara:
    """A Totara that imports files from a folder and exports its reports, each night."""

    name = "totara"
    settings = FEED + BY_FILES.replace('"architecture"', '"model"').replace(
        'reports = "reports"', f'reports = "reports"{RESULTS}'
    )
    faults: Mapping[str, Mapping[str, Any]] = {}

    def __init__(self, simulator: TotaraSimulator, folder: Path) -> None:
        self.simulator = simulator
        self.reports = folder / "reports"
        for framework in ("CORE", "WORK", "TOOLS"):
            simulator.site.define("comp", framework)
        simulator.site.define("pos", "POSITIONS")
        simulator.site.define("org", "UNITS")
        self._results()

    def environment(self) -> dict[str, str]:
        """Return nothing: files need no address."""
        return {}

    def night(self) -> None:
        """Import what lies there and export the reports."""
        self.simulator.site.run_hr_import()
        export_all(self.simulator.site, self.reports)
        self._results()

    def _results(self) -> None:
        """Export what people have completed and reached."""
        done = ("user-idnumber", "course-idnumber", "course_completion-iscomplete", "course_completion-completeddate")
        rows = [(f"E0000{n}", f"C{n % 3}", "Yes", f"{n} Nov 2026") for n in range(1, 9)]
        export_report(self.simulator.site, self.reports, "bridge", "Course completion", 40, done, rows)
        reached = ("user-idnumber", "competency-idnumber", "competency_status-scale_value_name")
        levels = [(f"E0000{n}", "1.C.3.a", "Competent" if n % 2 else "Not competent") for n in range(1, 9)]
        export_report(self.simulator.site, self.reports, "bridge", "Competency status", 41, reached, levels)

    def held(self) -> Any:
        """Return what it holds without ids and times, by words; an empty place for what is retired is nothing."""
        found = self.simulator.site.snapshot()
        for element in ("comp", "org", "pos"):
            found[element] = {key: item for key, item in found[element].items() if not key.endswith("-RETIRED")}
        # The site keeps no end for a new job and 0 for one it updates.
        found["jobassignment"] = {
            " ".join(key): {**job, "enddate": job["enddate"] or None} for key, job in found["jobassignment"].items()
        }
        return found

    def requests(self) -> int:
        """Return how many requests came."""
        return len(self.simulator.requests)

    def working(self) -> bool:
        """Whether a request is still being worked on."""
        return self.simulator.in_flight > 0

    def watch(self, hook: Hook | None) -> None:
        """Have a hook told of the requests to come."""
        self.simulator.on_moment = hook or (lambda _moment, _number, _path: None)

    def strike(self, kind: str, index: int) -> None:
        """Let a fault strike a request."""
        self.simulator.faults.add(kind, at=index, **self.faults[kind])

    def calm(self) -> None:
        """End its faults, and switch the API client on again."""
        self.simulator.faults.clear()
        self.simulator.client_enabled = True


class TotaraApi(Totara):
    """The same, with people and their jobs through GraphQL."""

    name = "totara-api"
    settings = Totara.settings.replace('kind = "totara"', 'kind = "totara"\nurl = "env:TOTARA_URL"') + BY_API
    faults = FAULTS | {"html_200": {}, "internalerror": {}, "invalidtoken": {}, "invalidclient": {}}

    def environment(self) -> dict[str, str]:
        """Return address and client."""
        return {
            "TOTARA_URL": self.simulator.url,
            "TOTARA_CLIENT_ID": self.simulator.client_id,
            "TOTARA_CLIENT_SECRET": self.simulator.client_secret,
        }


class TotaraSftp(Totara):
    """The same by files alone, all of them behind an SFTP server: the feed, the import's folder and the reports."""

    name = "totara-sftp"
    faults: Mapping[str, Mapping[str, Any]] = {"cut": {}, "cut_after": {}, "full": {}, "denied": {}}

    def __init__(self, simulator: TotaraSimulator, folder: Path, server: DropServer) -> None:
        super().__init__(simulator, folder)
        self.server = server
        self.settings = self._settings()

    def _settings(self) -> str:
        reach = f"""
host = "127.0.0.1"
port = {self.server.port}
user = "{USER}"
password = "env:SFTP_PASSWORD"
host_keys = ["{self.server.fingerprint}"]
attempts = 2
"""
        feed = FEED.replace('path = "inbox"', f'kind = "sftp"\npath = "inbox"\n{reach}')
        site = Totara.settings.replace(FEED, feed).replace('filesdir = "files"\nreports = "reports"', "")
        places = {"sftp": "files", "reports_sftp": "reports"}
        return site + "".join(
            f'\n[sites.totara.options.{name}]\npath = "{path}"\n{reach}pause_seconds = 0.05\n'
            for name, path in places.items()
        )

    def environment(self) -> dict[str, str]:
        """Return the password."""
        return {"SFTP_PASSWORD": PASSWORD}

    def requests(self) -> int:
        """Return how much was asked of the SFTP server."""
        return self.server.mischief.operations

    def watch(self, hook: Hook | None) -> None:
        """Have a hook told of the operations to come."""
        self.server.mischief.told = hook

    def strike(self, kind: str, index: int) -> None:
        """Let a fault strike an operation."""
        self.server.mischief.strike, self.server.mischief.strike_at = kind, index

    def calm(self) -> None:
        """End what is wrong with the server."""
        self.server.mischief.strike_at = 0
        self.server.mischief.full = False


@contextmanager
def _totara(kind: type[Totara], folder: Path) -> Iterator[Totara]:
    with TotaraSimulator(folder / "files", settings_from_mapping(ERASING), wait=0.0) as simulator:
        simulator.api.wide_role = True
        yield kind(simulator, folder)


@contextmanager
def totara(folder: Path) -> Iterator[Totara]:
    """A simulated Totara that is reached by files alone."""
    with _totara(Totara, folder) as found:
        yield found


@contextmanager
def totara_api(folder: Path) -> Iterator[Totara]:
    """A simulated Totara that is reached by files and by its API."""
    with _totara(TotaraApi, folder) as found:
        yield found


@contextmanager
def totara_sftp(folder: Path) -> Iterator[Totara]:
    """A simulated Totara whose files lie behind a real SFTP server."""
    remote = folder / "remote"
    remote.mkdir()
    (folder / "inbox").rename(remote / "inbox")
    with (
        DropServer(remote, host_key=_host_key()) as server,
        TotaraSimulator(remote / "files", settings_from_mapping(ERASING), wait=0.0) as simulator,
    ):
        yield TotaraSftp(simulator, remote, server)


@cache
def _host_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


SITES: dict[str, Callable[[Path], Any]] = {
    "moodle": moodle,
    "totara": totara,
    "totara-api": totara_api,
    "totara-sftp": totara_sftp,
}
"""How each kind of site is made for a night's folder."""
