"""Totara over GraphQL passes the conformance suite: all kinds through the API, and beside files for competencies."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bridge.model import Desired, JobAssignment, Organisation, Person, Position, Workforce
from bridge.ports import LmsPort
from bridge.settings import Settings, SiteSettings
from bridge.store import Store
from bridge.sync.push import PushReport
from bridge.sync.running import Rules
from connectors.simulators.totara import TotaraSimulator
from connectors.totara.connector import TotaraConnector
from jobs.totara_site import totara as connector_of
from tests.contract.conformance.suite import INITIAL, LmsConformance, Site
from tests.contract.totara import test_conformance
from tests.contract.totara.test_conformance import SETTINGS, NightlyTotara

CHANNELS = dict.fromkeys(("organisation", "position", "person", "job"), "graphql")


def with_people(wanted: Desired) -> Desired:
    """Return what is wanted with a unit and three people in it, one of them with two jobs and a manager."""
    people = tuple(Person(f"P{n}", "Ada", f"Lovelace {n}", f"p{n}@ward.example") for n in range(3))
    jobs = (
        JobAssignment("P2/2", "P2", "WARD", None, "Fire warden", "P1", primary=False),
        JobAssignment("P2/1", "P2", "WARD", "N1", "Nurse", "P1", dt.date(2026, 2, 1)),
        JobAssignment("P1/1", "P1", "WARD", "N2", "Ward manager"),
        JobAssignment("P0/1", "P0", "WARD", "N1", "Nurse", "P1"),
    )
    model = replace(
        wanted.architecture,
        organisations=(Organisation("WARD", "Ward 7"),),
        given=wanted.architecture.given | {"organisations"},
    )
    return Desired(model, Workforce(dt.date(2026, 12, 31), people, jobs))


def as_positions(wanted: Desired) -> Desired:
    """Return what is wanted with the tree of competencies told as one of positions, which the API can write."""
    model = wanted.architecture
    tree = tuple(Position(one.key, one.name, parent=one.parent) for one in model.competencies)
    return replace(wanted, architecture=replace(model, positions=(*model.positions, *tree)))


class ApiSite(Site):
    """A simulated Totara 19 that is reached through its API alone, set up as bridge.toml would."""

    def __init__(self, totara: TotaraSimulator, folder: Path) -> None:
        self.totara = totara
        self.folder = folder
        self.options: dict[str, Any] = {
            "channels": CHANNELS,
            "framework_of": {"position": "POSITIONS", "organisation": "ORGS"},
            "graphql": {"server_limit": 0.0, "max_complexity": 60},
        }
        self.open: list[TotaraConnector] = []
        totara.api.hierarchies = totara.api.wide_role = True
        totara.site.define("pos", "POSITIONS")
        totara.site.define("org", "ORGS")

    def connect(self) -> LmsPort:
        """Return a connector with the API client's id and secret from the environment."""
        variables = {"TOTARA_CLIENT_ID": self.totara.client_id, "TOTARA_CLIENT_SECRET": self.totara.client_secret}
        site = SiteSettings(kind="totara", url=self.totara.url, options=self.options)
        settings = Settings(folder=self.folder, store="", sites={"here": site}, variables=variables)
        connector = connector_of("here", site, settings)
        self.open.append(connector)
        return connector

    def snapshot(self) -> Any:
        """Return what the site holds, without the empty place for what is retired."""
        held = self.totara.site.snapshot()
        for kind in ("pos", "org"):
            held[kind] = {key: item for key, item in held[kind].items() if not key.endswith("-RETIRED")}
        return held

    def writes(self) -> int:
        """Return how many mutations were asked for."""
        return sum(body.count('"mutation ') for _, path, body in self.totara.requests if path.endswith("graphql.php"))

    def rename_by_hand(self, key: str, name: str) -> None:
        """Rename a position on the site."""
        item = self.totara.site.state.hierarchy("pos").by_idnumber[key]
        assert item.fields is not None
        item.fields["fullname"] = name

    def refuse(self, key: str) -> None:
        """Have the site refuse a creation by its id number."""
        self.totara.graphql.refused.add(key)

    def lose_answers(self) -> None:
        """Carry out the second and third request with writes, and answer them with a broken gateway."""
        counted = iter(range(100))

        def answer(_method: str, path: str, body: str) -> tuple[int, Any] | None:
            """Do the work, then lose the answer."""
            if not path.endswith("graphql.php") or '"mutation ' not in body or next(counted) not in {1, 2}:
                return None
            self.totara.graphql.answer(json.loads(body))
            return 502, "Bad gateway"

        self.totara.on_request = answer


class TestGraphQl(LmsConformance):
    """Positions, organisations, people and jobs through the API of Totara 19."""

    kind: ClassVar[str] = "position"

    def shaped(self, desired: Desired) -> Desired:
        """Return what is wanted as positions, with people."""
        return with_people(as_positions(desired))

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        """A site with its frameworks and nothing in them."""
        with TotaraSimulator() as totara:
            made = ApiSite(totara, tmp_path)
            yield made
            for connector in made.open:
                connector.close()


class BothWays(NightlyTotara):
    """A Totara that takes competencies and organisations by files and the rest through its API."""

    def __init__(self, folder: Path, totara: TotaraSimulator) -> None:
        super().__init__(folder, SETTINGS)
        self.simulator = totara
        totara.site = totara.graphql.site = self.totara
        for name in ("apisvc", "wssvc"):
            totara.add_service_account(name)
        totara.api.hierarchies = totara.api.wide_role = True
        self.totara.define("org", "ORGS")
        self.api = ApiSite(totara, folder)
        self.open = self.api.open
        self.api.options |= {
            "filesdir": "files",
            "spool": "spool",
            "reports": "reports",
            "hrimport": {name: {"csvsaveemptyfields": 1} for name in ("org", "pos", "comp")},
            "channels": {"position": "graphql", "person": "graphql", "job": "graphql"},
        }

    def connect(self) -> LmsPort:
        """Return a connector whose clock is the site's."""
        self.api.options["reserved"] = sorted(self.options.reserved)
        connector = self.api.connect()
        assert isinstance(connector, TotaraConnector)
        found = TotaraConnector(connector.options, clock=lambda: self.moment)
        self.open.append(found)
        return found

    def writes(self) -> int:
        """Return how many files were taken and how many mutations were asked for."""
        return super().writes() + self.api.writes()


class TestFilesAndGraphQl(test_conformance.TestTotara):
    """One push through both channels: competencies and organisations at night, people, jobs and positions at once."""

    def shaped(self, desired: Desired) -> Desired:
        """Return what is wanted with people."""
        return with_people(desired)

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        """A site reached both ways."""
        with TotaraSimulator() as totara:
            made = BothWays(tmp_path, totara)
            yield made
            for connector in made.open:
                connector.close()

    def push(
        self, site: Site, store: Store, desired: Desired | None = None, rules: Rules = INITIAL, **more: Any
    ) -> PushReport:
        """Push until both channels have answered: what needs an organisation waits for the night that makes it."""
        report = super().push(site, store, desired, rules, **more)
        for _ in range(3):
            following = super().push(site, store, desired, rules)
            if following.state == "done" and not following.plan.changes:
                break
            site.run_nightly()
        return report
