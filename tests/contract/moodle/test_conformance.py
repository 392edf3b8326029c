"""The Moodle connector passes the conformance suite against the simulator, also over a bad line."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from bridge.model import Desired, JobAssignment, Organisation, Person, Workforce
from bridge.ports import LmsPort
from bridge.store import Store
from bridge.sync.plan import ChangePlan
from bridge.sync.push import PushReport
from bridge.sync.running import Rules
from connectors.http import Timeouts
from connectors.moodle import MoodleConnector, MoodleOptions
from connectors.simulators.moodle import MoodleSimulator
from connectors.simulators.moodle.errors import invalid_parameter
from connectors.simulators.moodle.site import HANDLERS
from tests.contract.conformance import company
from tests.contract.conformance.suite import INITIAL, LmsConformance, Site

WRITERS = (
    "_create_",
    "_update_",
    "_delete_",
    "_set_parent",
    "_move_up",
    "_move_down",
    "_add_",
    "_remove_",
    "_set_course",
)


CREATE = "core_competency_create_competency"


class SimulatedSite(Site):
    """A simulated Moodle with the small company's scale."""

    def __init__(self, moodle: MoodleSimulator, patch: pytest.MonkeyPatch) -> None:
        self.moodle = moodle
        self.patch = patch
        self.open: list[MoodleConnector] = []
        self.more: dict[str, Any] = {}

    def connect(self) -> LmsPort:
        """Return a connector with the service account's token; a server that gives up at once keeps tests short."""
        options = MoodleOptions(
            self.moodle.url,
            SecretStr(self.moodle.token),
            batch_size=4,
            server_limit=0.0,
            timeouts=Timeouts(connect=5.0, read=20.0),
            **self.more,
        )
        connector = MoodleConnector(options, sleep=lambda _seconds: None)
        self.open.append(connector)
        return connector

    def snapshot(self) -> Any:
        """Return what the site says of competencies, without ids and times."""
        return self.moodle.comparable()

    def writes(self) -> int:
        """Return how many writing functions were asked for."""
        counted = self.moodle.requests.stats()["inner_by_function"]
        return sum(n for function, n in counted.items() if any(part in function for part in WRITERS))

    def rename_by_hand(self, key: str, name: str) -> None:
        """Rename a competency in the database."""
        self.row(key)["shortname"] = name

    def row(self, key: str) -> dict[str, Any]:
        """Return the row of a competency."""
        framework, _, idnumber = key.partition("/")
        tables = self.moodle.db.tables()
        ids = {row["id"] for row in tables["frameworks"].rows.values() if row["idnumber"] == framework}
        return next(
            row
            for row in tables["competencies"].rows.values()
            if row["idnumber"] == idnumber and row["competencyframeworkid"] in ids
        )

    def refuse(self, key: str) -> None:
        """Refuse a creation by its ID number, as Moodle refuses a value it does not like."""
        willing = HANDLERS[CREATE]

        def unwilling(call: Any, args: Any) -> Any:
            """Refuse this one."""
            if args["competency"]["idnumber"] == key.partition("/")[2]:
                raise invalid_parameter()
            return willing(call, args)

        self.patch.setitem(HANDLERS, CREATE, unwilling)

    def lose_answers(self) -> None:
        """Lose three answers after the work was done."""
        for at in (6, 9, 12):
            self.moodle.faults.add("reset_after_commit", at=at)


class TestMoodle(LmsConformance):
    """A Moodle that answers while it is asked."""

    @pytest.fixture
    def site(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
        """A simulated Moodle."""
        with MoodleSimulator() as moodle:
            moodle.seed.scale("Competence (three levels)", ["Not competent", "Competent with supervision", "Competent"])
            site = SimulatedSite(moodle, monkeypatch)
            yield site
            for connector in site.open:
                connector.close()


def with_people(wanted: Desired) -> Desired:
    """Return what is wanted with three people in it, whose jobs need some of the competencies."""
    people = tuple(Person(f"P{n}", "Ada", f"Lovelace {n}", f"p{n}@ward.example") for n in range(3))
    jobs = tuple(
        JobAssignment(f"{one.key}/1", one.key, "WARD", position, "Nurse")
        for one, position in zip(people, ("N1", "N2", "N1"), strict=True)
    )
    model = replace(
        wanted.architecture,
        organisations=(Organisation("WARD", "Ward 7"),),
        given=wanted.architecture.given | {"organisations"},
    )
    return Desired(model, Workforce(dt.date(2026, 12, 31), people, jobs))


class TestMoodleWithPeople(TestMoodle):
    """The same with accounts, cohorts and plans in play, all plans read back each time."""

    @pytest.fixture
    def site(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
        """A simulated Moodle whose connector reads every plan every night."""
        with MoodleSimulator() as moodle:
            moodle.seed.scale("Competence (three levels)", ["Not competent", "Competent with supervision", "Competent"])
            site = SimulatedSite(moodle, monkeypatch)
            site.more = {"plan_rotation_days": 1}
            yield site
            for connector in site.open:
                connector.close()

    def push(
        self, site: Site, store: Store, desired: Desired | None = None, rules: Rules = INITIAL, **more: Any
    ) -> PushReport:
        """Push with people."""
        return super().push(site, store, with_people(desired or company.desired()), rules, **more)

    def plan(self, site: Site, store: Store, desired: Desired | None = None, rules: Rules = INITIAL) -> ChangePlan:
        """Plan with people."""
        return super().plan(site, store, with_people(desired or company.desired()), rules)
