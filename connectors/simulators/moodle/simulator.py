"""The simulator as tests, the demo and the command line use it."""

import copy
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from connectors.simulators.faults import FaultPlan
from connectors.simulators.moodle import (  # noqa: F401 - importing the modules registers what they answer
    badges,
    cohorts,
    competencies,
    completion,
    courselinks,
    courses,
    enrolments,
    frameworks,
    groups,
    pages,
    people,
    plans,
    rating,
    reportfilters,
    reports,
    siteinfo,
    templates,
    visits,
)
from connectors.simulators.moodle.config import SimulatorConfig
from connectors.simulators.moodle.faults import KINDS
from connectors.simulators.moodle.seeding import Seeder
from connectors.simulators.moodle.server import Hook, HttpServer, RequestLog
from connectors.simulators.moodle.site import Site
from connectors.simulators.moodle.tables import Database

VOLATILE = ("timecreated", "timemodified", "usermodified")


class MoodleSimulator:
    """A Moodle that runs in this process, on a loopback port.

    `with MoodleSimulator() as moodle:` gives `moodle.url` and `moodle.token`; `moodle.db` is its state,
    `moodle.seed` fills it, `moodle.faults` breaks it, `moodle.requests` counts what was asked of it.
    """

    def __init__(self, config: SimulatorConfig | None = None, state: Mapping[str, Any] | Path | None = None) -> None:
        self.config = config or SimulatorConfig()
        self.site = Site(self.config)
        self.seed = Seeder(self.site)
        self.faults = FaultPlan(KINDS, self.config.seed)
        self.requests = RequestLog()
        self.server = HttpServer(self.site, self.faults, self.requests, self._control)
        self._url: str | None = None
        self._stopped = threading.Event()
        if isinstance(state, Path):
            self.load(state)
        elif state is not None:
            self.site.db.load(state)
        else:
            self.seed.accounts()

    @property
    def db(self) -> Database:
        """Return the tables, for assertions and seeding."""
        return self.site.db

    @property
    def url(self) -> str:
        """Return the base address; the simulator must have been started."""
        if self._url is None:
            raise RuntimeError("start the simulator before asking for its address")
        return self._url

    @property
    def token(self) -> str:
        """Return the token of the service account."""
        return self.seed.token

    def start(self) -> str:
        """Listen, and return the base address."""
        port = self.server.start()
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        self._url = f"http://{host}:{port}"
        if self.config.wwwroot is None:
            self.site.wwwroot = self._url
        return self._url

    def stop(self) -> None:
        """Close every connection and stop listening."""
        self.server.stop()
        self._stopped.set()

    def wait(self) -> None:
        """Block until somebody stops the simulator."""
        self._stopped.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def on_request(self, hook: Hook | None) -> None:
        """Call `hook(moment, number, function)` at three moments of each request.

        `before` it is worked on, `after_commit` (the work is done, the answer has not left) and `answered` (it has).
        """
        self.server.on_request = hook

    def snapshot(self, volatile: bool = True) -> dict[str, dict[int, dict[str, Any]]]:
        """Return a deep copy of all rows by table and id; without volatile fields it compares across runs."""
        with self.site.lock:
            tables = {name: table.rows for name, table in self.db.tables().items()}
            result = copy.deepcopy(tables)
        if not volatile:
            for rows in result.values():
                for row in rows.values():
                    for field in VOLATILE:
                        row.pop(field, None)
        return result

    def comparable(self) -> dict[str, Any]:
        """Return the state without ids or times, by id numbers and names, to compare how two runs ended."""
        from connectors.simulators.moodle.comparison import comparable

        with self.site.lock:
            return comparable(self.db)

    def save(self, path: Path) -> None:
        """Write the state to a JSON file, whole or not at all."""
        with self.site.lock:
            data = self.db.dump()
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(json.dumps(data), encoding="utf-8")
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Read the state a simulator saved."""
        data = json.loads(path.read_text(encoding="utf-8"))
        with self.site.lock:
            self.db.load(data)

    def reset(self) -> None:
        """Return to a fresh site with its accounts."""
        with self.site.lock:
            fresh = Site(self.config)
            self.site.db.load(fresh.db.dump())
        self.seed.accounts()
        self.requests.reset()
        self.faults.clear()

    def run_cron(self, completions: bool = True) -> dict[str, int]:
        """Run the hourly and minutely tasks.

        Plans for the members of cohorts linked to templates, completions.
        """
        from connectors.simulators.moodle.cron import run_cron

        with self.site.lock:
            return run_cron(self.site, completions)

    def link_template_to_cohort(self, template_id: int, cohort_id: int) -> None:
        """Do by hand what an administrator does on the template's page; Moodle has no web service for it."""
        from connectors.simulators.moodle.cron import link_template_to_cohort

        with self.site.lock:
            link_template_to_cohort(self.site, template_id, cohort_id)

    def _control(self, method: str, action: str, body: bytes) -> tuple[int, Any]:
        """Answer the control endpoint, by which tests drive a simulator in another process."""
        try:
            return self._do(method, action, json.loads(body) if body else {})
        except (ValueError, TypeError, KeyError, LookupError, OSError) as error:
            return 400, {"error": str(error)}

    def _do(self, method: str, action: str, given: dict[str, Any]) -> tuple[int, Any]:
        if action == "snapshot":
            return 200, self.snapshot(volatile=bool(given.get("volatile", True)))
        if action == "comparable":
            return 200, self.comparable()
        if action == "stats":
            return 200, self.requests.stats()
        if method != "POST":
            return 405, {"error": f"POST to {action}, or GET snapshot, comparable or stats"}
        if action == "faults":
            if given.get("clear"):
                self.faults.clear()
            self.faults.load(given.get("faults", []))
            return 200, self.faults.dump()
        if action == "cron":
            return 200, self.run_cron()
        if action == "reset":
            self.reset()
            if given.get("reference"):
                self.seed.reference_site()
            return 200, {}
        if action == "stats/reset":
            self.requests.reset()
            return 200, {}
        if action == "link":
            self.link_template_to_cohort(int(given["template"]), int(given["cohort"]))
            return 200, {}
        if action == "advance":
            self.site.advance(int(given["seconds"]))
            return 200, {"now": self.site.now()}
        if action == "save":
            self.save(Path(given["path"]))
            return 200, {}
        if action == "stop":
            threading.Timer(0.05, self.stop).start()
            return 200, {}
        return 404, {"error": f"no action {action}"}
