"""The simulated site behind the HTTP server.

State, clock, rights, locks and costs, and one call's view of them.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from connectors.simulators.moodle import text
from connectors.simulators.moodle.config import SimulatorConfig
from connectors.simulators.moodle.errors import (
    MoodleError,
    invalid_parameter,
    invalid_user,
    missing_record,
    no_permission,
)
from connectors.simulators.moodle.tables import Database, Row

SYSTEM, USER, COURSECAT, COURSE, MODULE = 10, 30, 40, 50, 70
LEVEL_NAMES = {"system": SYSTEM, "user": USER, "coursecat": COURSECAT, "course": COURSE, "module": MODULE}

#: What an ordinary signed-in account may do everywhere.
DEFAULT_CAPABILITIES = frozenset(
    {
        "moodle/competency:competencyview",
        "moodle/competency:planviewown",
        "moodle/competency:userevidencemanageown",
        "moodle/badges:viewbadges",
    }
)

#: The rights observed to be enough for everything here (`contracts/moodle-4.5`, Least privilege).
BRIDGE_CAPABILITIES = (
    "*",
    "-moodle/competency:evidencedelete",
    "-moodle/site:config",
    "-moodle/site:doanything",
)


class Site:
    """Everything the simulated Moodle remembers, and how long it takes to think."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.db = Database()
        self.lock = threading.Lock()
        self.write_lock = threading.Lock()
        self.write_free = 0.0
        self._workers: tuple[int, threading.Semaphore | None] = (0, None)
        self.moving: set[int] = set()
        self.wwwroot = config.wwwroot or "http://localhost"
        self._offset = 0
        self.report_rows: dict[tuple[int, int], tuple[Any, list[Row]]] = {}
        self.setup()

    def setup(self) -> None:
        """Fill the tables a fresh site has: contexts, scales, administrator, categories, the front page."""
        db = self.db
        db.contexts.insert({"level": SYSTEM, "instanceid": 0}, 1)
        db.scales.insert(
            {
                "name": "Separate and Connected ways of knowing",
                "items": "Mostly separate knowing,Separate and connected,Mostly connected knowing",
            },
            1,
        )
        db.scales.insert({"name": "Default competence scale", "items": "Not yet competent,Competent"}, 2)
        self.add_context(COURSE, 1, 2)
        db.courses.insert(
            {
                "shortname": self.config.shortname,
                "fullname": self.config.sitename,
                "idnumber": "",
                "category": 0,
                "visible": 1,
                "enablecompletion": 0,
            },
            1,
        )
        db.categories.insert({"name": "Category 1", "idnumber": "", "parent": 0, "sortorder": 10000}, 1)
        self.add_context(COURSECAT, 1, 3)

    @property
    def workers(self) -> threading.Semaphore | None:
        """Return what counts the busy workers, or nothing where their number is not limited."""
        count = self.config.cost.workers
        if self._workers[0] != count:
            self._workers = (count, threading.Semaphore(count) if count else None)
        return self._workers[1]

    def now(self) -> int:
        """Return the site's time, in epoch seconds."""
        base = self.config.clock if self.config.clock is not None else int(time.time())
        return base + self._offset

    def advance(self, seconds: int) -> None:
        """Move the site's clock forward."""
        self._offset += seconds

    def add_context(self, level: int, instance: int, context_id: int | None = None) -> int:
        """Return the id of a context, adding it where it is missing."""
        found = self.db.contexts.first("instance", (level, instance))
        if found is None:
            found = self.db.contexts.insert({"level": level, "instanceid": instance}, context_id)
        identity: int = found["id"]
        return identity

    def context_name(self, context: Row, prefix: bool = True) -> str:
        """Return a context's name as Moodle shows it."""
        level, instance = context["level"], context["instanceid"]
        if level == COURSECAT:
            name = (self.db.categories.get(instance) or {}).get("name", "")
            return f"Category: {name}" if prefix else name
        if level == COURSE:
            name = (self.db.courses.get(instance) or {}).get("fullname", "")
            return f"Course: {name}" if prefix else name
        return "System"

    def may(self, user: Row, capability: str) -> bool:
        """Return whether an account holds a capability everywhere."""
        granted = user.get("capabilities") or ()
        if f"-{capability}" in granted:
            return False
        return "*" in granted or capability in granted or capability in DEFAULT_CAPABILITIES

    def is_enrolled(self, course: int, user: int, active: bool = False) -> bool:
        """Return whether somebody has an enrolment in a course."""
        rows = self.db.enrolments.find("pair", (course, user))
        return any(not active or row["status"] == 0 for row in rows)


@dataclass(slots=True)
class Call:
    """One web service call being answered."""

    site: Site
    user: Row
    token: Row
    raw: bool = False
    timezone: str = "UTC"
    depth: int = 0
    request: int = 0
    rollback: dict[str, Any] | None = None
    committed: int = 0
    crash_after: int | None = None
    functions: frozenset[str] | None = None
    held: list[int] = field(default_factory=list)

    @property
    def db(self) -> Database:
        """Return the site's tables."""
        return self.site.db

    @property
    def user_id(self) -> int:
        """Return the id of the token's account."""
        identity: int = self.user["id"]
        return identity

    @property
    def wwwroot(self) -> str:
        """Return the site's address; inside a batch Moodle writes it without https (observed)."""
        root = self.site.wwwroot
        return root.replace("https://", "http://", 1) if self.depth else root

    def now(self) -> int:
        """Return the site's time."""
        return self.site.now()

    def require(self, capability: str) -> None:
        """Raise Moodle's refusal unless the account holds the capability."""
        if not self.site.may(self.user, capability):
            raise no_permission(capability)

    def may(self, capability: str) -> bool:
        """Return whether the account holds the capability."""
        return self.site.may(self.user, capability)

    def string(self, value: str) -> str:
        """Return a name as this call shows it."""
        return value if self.raw else text.format_string(value)

    def text(self, value: str, form: int) -> tuple[str, int]:
        """Return a description and its format as this call shows it."""
        return (value, form) if self.raw else (text.format_text(value, form), 1)

    def date(self, timestamp: int, pattern: str = "full") -> str:
        """Return a time as this call shows it."""
        return text.format_date(timestamp, self.timezone, pattern)

    def think(self) -> None:
        """Spend what one write costs, with the state unlocked.

        Others may write meanwhile, as on a real server.
        """
        cost = self.site.config.cost
        if cost.write <= 0:
            return
        self.site.lock.release()
        try:
            # The lock is a reservation of time: how late a sleeper wakes up must not slow down those behind it.
            with self.site.write_lock:
                begin = max(time.monotonic(), self.site.write_free)
                self.site.write_free = begin + cost.write_locked
            time.sleep(max(0.0, begin + cost.write - time.monotonic()))
        finally:
            self.site.lock.acquire()

    def stamp(self, row: Row, new: bool = True) -> Row:
        """Write who and when into a row."""
        now = self.now()
        if new:
            row["timecreated"] = now
        row["timemodified"] = now
        row["usermodified"] = self.user_id
        return row

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Mark a stretch that Moodle runs in a database transaction.

        An error inside leaves it open. In a plain request nothing follows; in a nested batch later calls
        still answer, and are rolled back at the end of the request (observed on Moodle 4.5.6,
        `contracts/moodle-4.5`, Batching).
        """
        saved = self.db.dump() if self.depth > 1 and self.rollback is None else None
        try:
            yield
        except MoodleError:
            if saved is not None:
                self.rollback = saved
            raise

    def active_user(self, user_id: int) -> Row:
        """Return an account that is not deleted, or raise the refusal for an unknown one."""
        row = self.db.users.get(user_id)
        if row is None or row.get("deleted"):
            raise invalid_user()
        return row

    def course(self, course_id: int) -> Row:
        """Return a course, or raise the refusal for an unknown one."""
        row = self.db.courses.get(course_id)
        if row is None:
            raise missing_record("course", "id", course_id)
        return row

    def context(self, given: Row) -> Row:
        """Return the context named by `contextid`, or by `contextlevel` and `instanceid`."""
        if given.get("contextid"):
            found = self.db.contexts.get(given["contextid"])
            if found is None:
                raise missing_record("context", "id", given["contextid"])
            return found
        if given.get("contextlevel"):
            level = LEVEL_NAMES.get(str(given["contextlevel"]))
            if level is None:
                raise invalid_parameter(f"Invalid context level = {given['contextlevel']}")
            instance = given.get("instanceid") or 0
            found = self.db.contexts.first("instance", (level, 0 if level == SYSTEM else instance))
            if found is None:
                raise missing_record("context", "instanceid", instance)
            return found
        raise invalid_parameter("Missing parameters, please provide either context level with instance id or contextid")


Handler = Callable[[Call, Row], Any]
HANDLERS: dict[str, Handler] = {}


def function(name: str) -> Callable[[Handler], Handler]:
    """Register the behaviour of a web service function."""

    def register(handler: Handler) -> Handler:
        HANDLERS[name] = handler
        return handler

    return register
