"""A simulated Moodle with the sample's scales, and pushes of people to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bridge.model import Desired
from bridge.store import Store
from bridge.sync.clock import Clock
from bridge.sync.plan import ChangePlan, Scope
from bridge.sync.policy import Limits
from bridge.sync.push import PushReport, preview, push
from bridge.sync.running import Rules
from connectors.moodle import MoodleConnector, MoodleOptions
from connectors.simulators.moodle import MoodleSimulator
from tests.databases import address

PEOPLE = frozenset({"user", "cohort", "cohort_member"})


class Place:
    """One simulated Moodle and the store that remembers it."""

    def __init__(self, moodle: MoodleSimulator, folder: Path) -> None:
        self.moodle = moodle
        self.folder = folder
        self.url = address(folder / "state.sqlite")
        self.store = Store.open(self.url)
        self.open: list[MoodleConnector] = []

    def connector(self, **options: Any) -> MoodleConnector:
        """Return a fresh connector, as a new process would have."""
        told: dict[str, Any] = {"token": SecretStr(self.moodle.token), "server_limit": 0.0, **options}
        given = MoodleOptions(self.moodle.url, **told)
        connector = MoodleConnector(given, sleep=lambda _seconds: None)
        self.open.append(connector)
        return connector

    def push(
        self, desired: Desired, kinds: frozenset[str] = PEOPLE, *, initial: bool = True, **options: Any
    ) -> PushReport:
        """Push some kinds, with a new connector."""
        self.moodle.requests.reset()
        return push("here", self.connector(**options), self.store, desired, self.rules(kinds, initial), Clock())

    def plan(self, desired: Desired, kinds: frozenset[str] = PEOPLE, **options: Any) -> ChangePlan:
        """Plan some kinds, with a new connector."""
        return preview("here", self.connector(**options), self.store, desired, self.rules(kinds, True), Clock())

    def rules(self, kinds: frozenset[str], initial: bool) -> Rules:
        """Return rules narrowed to some kinds."""
        return Rules(limits=Limits(initial=initial), scope=Scope(kinds))

    # --- What the site holds ----------------------------------------------------------------------------------------

    def account(self, key: str) -> dict[str, Any]:
        """Return the one account with an ID number."""
        (row,) = self.accounts(key)
        return row

    def accounts(self, key: str) -> list[dict[str, Any]]:
        """Return the accounts with an ID number."""
        return [row for row in self.moodle.db.users if row["idnumber"] == key and not row["deleted"]]

    def suspended(self) -> set[str]:
        """Return the ID numbers of suspended accounts."""
        return {row["idnumber"] for row in self.moodle.db.users if row["suspended"]}

    def memberships(self) -> set[tuple[str, str]]:
        """Return (person's ID number, cohort's ID number) of everybody in a cohort."""
        db = self.moodle.db
        return {
            (db.users.rows[row["userid"]]["idnumber"], db.cohorts.rows[row["cohortid"]]["idnumber"])
            for row in db.cohort_members
        }

    def writes(self) -> int:
        """Return how many writing functions were called since the last count began."""
        stats = self.moodle.requests.stats()
        names = ("_create_", "_update_", "_delete_", "_add_", "_remove_", "_complete_", "_reopen_", "enrol_manual")
        counted = {**stats["by_function"], **stats["inner_by_function"]}
        return sum(count for name, count in counted.items() if any(part in name for part in names))

    def requests(self) -> int:
        """Return how many requests were sent since the last count began."""
        return int(self.moodle.requests.stats()["requests"])


@contextmanager
def place(folder: Path) -> Iterator[Place]:
    """Give an empty simulated Moodle with the sample's two scales."""
    with MoodleSimulator() as moodle:
        moodle.seed.scale("Competence (three levels)", ["Not competent", "Competent with supervision", "Competent"])
        moodle.seed.scale("Proficiency (five levels)", ["Awareness", "Basic", "Working", "Skilled", "Expert"])
        here = Place(moodle, folder)
        yield here
        for connector in here.open:
            connector.close()
