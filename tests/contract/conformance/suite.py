"""The conformance suite. A connector's tests inherit it and say how to reach, read and disturb one LMS."""

from __future__ import annotations

import abc
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bridge.model import Desired
from bridge.ports import Action, LmsPort, one_item_each
from bridge.store import Store
from bridge.sync.clock import Clock
from bridge.sync.plan import ChangePlan
from bridge.sync.policy import Limits, Policy, Stance
from bridge.sync.push import PushReport, preview, push
from bridge.sync.running import Rules
from bridge.sync.undo import undo
from tests.contract.conformance import company
from tests.databases import address

INITIAL = Rules(limits=Limits(initial=True))


class Site(abc.ABC):
    """One LMS as a test sees it: how to connect to it, and how to look at it and tamper with it behind the bridge."""

    @abc.abstractmethod
    def connect(self) -> LmsPort:
        """Return a connector to the site."""

    @abc.abstractmethod
    def snapshot(self) -> Any:
        """Return everything the site holds, comparable, without ids and times."""

    @abc.abstractmethod
    def writes(self) -> int:
        """Return how many writes the site has received."""

    @abc.abstractmethod
    def rename_by_hand(self, key: str, name: str) -> None:
        """Rename a competency as an administrator would."""

    @abc.abstractmethod
    def refuse(self, key: str) -> None:
        """Refuse, from now on, to make the competency of this key, for a reason of its own."""

    @abc.abstractmethod
    def lose_answers(self) -> None:
        """Carry out some of the next requests but lose the answers to them."""

    def run_nightly(self) -> None:  # noqa: B027  most sites do nothing by themselves
        """Let the site do what it does by itself between two runs."""


class LmsConformance:
    """What holds of every connector."""

    kind: ClassVar[str] = "competency"
    """The kind whose tree is looked at."""

    def shaped(self, desired: Desired) -> Desired:
        """Return what is wanted in the shape this LMS is tested with."""
        return desired

    @pytest.fixture
    def site(self) -> Site:
        """The LMS under test, empty."""
        raise NotImplementedError("say how to reach the LMS")

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """A store of its own."""
        return Store.open(address(tmp_path / "state.sqlite"))

    def push(
        self, site: Site, store: Store, desired: Desired | None = None, rules: Rules = INITIAL, **more: Any
    ) -> PushReport:
        """Push until the site has answered."""
        wanted = self.shaped(desired or company.desired())
        report = push("here", site.connect(), store, wanted, rules, Clock(), **more)
        if report.state == "pending":
            site.run_nightly()
            push("here", site.connect(), store, wanted, rules, Clock())
        return report

    def plan(self, site: Site, store: Store, desired: Desired | None = None, rules: Rules = INITIAL) -> ChangePlan:
        """Plan without writing."""
        return preview("here", site.connect(), store, self.shaped(desired or company.desired()), rules, Clock())

    def test_it_says_what_it_is_and_names_each_kind_once(self, site: Site) -> None:
        """Capabilities carry a product, a release and kinds without repetition."""
        found = site.connect().probe()
        kinds = [spec.kind for spec in found.kinds]
        assert found.product
        assert found.release
        assert len(kinds) == len(set(kinds)) > 0

    def test_translation_is_the_same_twice_and_gives_each_object_one_item(self, site: Site) -> None:
        """The same model gives equal items, of declared kinds, none twice."""
        port = site.connect()
        kinds = {spec.kind for spec in port.probe().kinds}
        first, second = (port.translate(self.shaped(company.desired())) for _ in range(2))
        assert first == second
        assert {kind for kind, _ in one_item_each(first.items)} <= kinds

    def test_the_first_push_makes_everything_and_the_second_writes_nothing(self, site: Site, store: Store) -> None:
        """After a push the plan is empty, and pushing again leaves the LMS alone."""
        assert self.push(site, store).state in ("done", "pending")
        written, held = site.writes(), site.snapshot()
        assert written > 0
        assert self.plan(site, store).changes == []
        assert self.push(site, store).state == "done"
        assert (site.writes(), site.snapshot()) == (written, held)

    def test_with_the_store_lost_a_plan_only_adopts(self, site: Site, store: Store, tmp_path: Path) -> None:
        """What is there is taken over by key; nothing is made twice."""
        self.push(site, store)
        written = site.writes()
        fresh = Store.open(address(tmp_path / "fresh.sqlite"))
        plan = self.plan(site, fresh)
        assert {change.action for change in plan.changes} == {Action.ADOPT}
        self.push(site, fresh)
        assert site.writes() == written
        assert self.plan(site, fresh).empty

    def test_with_the_store_lost_an_edit_made_meanwhile_shows_as_that(
        self, site: Site, store: Store, tmp_path: Path
    ) -> None:
        """The one competency edited by hand is adopted and put right; all others are only adopted."""
        self.push(site, store)
        site.rename_by_hand("CARE/A2", "Wears mittens")
        plan = self.plan(site, Store.open(address(tmp_path / "fresh.sqlite")))
        others = [change for change in plan.changes if change.action is not Action.ADOPT]
        assert [(change.action, change.key, change.drift) for change in others] == [(Action.UPDATE, "CARE/A2", True)]

    def test_a_plan_names_exactly_what_changed_in_the_files(self, site: Site, store: Store) -> None:
        """One renamed, one moved, one added, one retired: four changes, and pushing them leaves nothing to do."""
        self.push(site, store)
        model = company.renamed(company.architecture(), "CARE/A1", "Washes hands well")
        model = company.moved(model, "CARE/A31", "CARE/A2")
        model = company.without(model, "LEAD/L2")
        model = company.with_more(model, company.competency("CARE", "C", "Nutrition"))
        plan = self.plan(site, store, company.desired(model))
        changes = sorted((change.action.value, change.key) for change in plan.changes if change.kind == self.kind)
        assert changes == [
            ("create", "CARE/C"),
            ("move", "CARE/A31"),
            ("remove", "LEAD/L2"),
            ("update", "CARE/A1"),
        ]
        self.push(site, store, company.desired(model))
        assert self.plan(site, store, company.desired(model)).changes == []

    def test_a_retired_competency_comes_back_when_the_files_name_it_again(self, site: Site, store: Store) -> None:
        """Retiring is reversible: the LMS ends as it was."""
        self.push(site, store)
        held = site.snapshot()
        self.push(site, store, company.desired(company.without(company.architecture(), "LEAD/L2")))
        assert site.snapshot() != held
        self.push(site, store)
        assert self.plan(site, store).changes == []

    def test_siblings_stand_in_the_order_of_the_files(self, site: Site, store: Store) -> None:
        """A competency put first in the files comes first in the LMS; a plan after it is empty."""
        self.push(site, store)
        model = company.architecture()
        first = company.competency("CARE", "A0", "Reads the protocol", "A")
        model = company.with_more(model)
        model = type(model)(
            **{
                **{name: getattr(model, name) for name in model.__dataclass_fields__},
                "competencies": (model.competencies[0], first, *model.competencies[1:]),
            }
        )
        plan = self.plan(site, store, company.desired(model))
        mine = [change for change in plan.changes if change.kind == self.kind]
        assert [(change.action, change.key) for change in mine] == [(Action.CREATE, "CARE/A0")]
        self.push(site, store, company.desired(model))
        assert self.plan(site, store, company.desired(model)).changes == []

    @pytest.mark.parametrize(
        ("stance", "name"), [(Stance.ENFORCE, "Wears gloves"), (Stance.RESPECT, "Edited"), (Stance.REPORT, "Edited")]
    )
    def test_an_edit_in_the_lms_is_drift_and_the_stance_decides(
        self, site: Site, store: Store, stance: Stance, name: str
    ) -> None:
        """Enforce puts it back; respect and report leave it; all three name it."""
        self.push(site, store)
        site.rename_by_hand("CARE/A2", "Edited")
        rules = Rules(policy=Policy(default=stance))
        plan = self.plan(site, store, rules=rules)
        assert [(drift.key, drift.field, drift.stance) for drift in plan.drifts] == [("CARE/A2", "name", stance)]
        self.push(site, store, rules=rules)
        found = {one.key: one for one in site.connect().read(self.kind)}
        assert found["CARE/A2"].fields["name"] == name

    def test_one_refused_item_does_not_stop_the_others(self, site: Site, store: Store) -> None:
        """The refused one is named with its reason, what needs it is not sent, everything else arrives."""
        site.refuse("CARE/B")
        report = self.push(site, store)
        assert report.state in ("failed", "pending")
        found = {one.key for one in site.connect().read(self.kind)}
        assert {"CARE/A1", "LEAD/L2"} <= found
        assert not {"CARE/B", "CARE/B1"} & found

    def test_lost_answers_are_looked_up_and_nothing_is_made_twice(self, site: Site, store: Store) -> None:
        """Changes whose answers got lost end as if they had not."""
        site.lose_answers()
        report = self.push(site, store)
        assert report.state in ("done", "pending")
        wanted = sorted(one.key for one in company.COMPETENCIES)
        assert sorted(one.key for one in site.connect().read(self.kind) if one.key in wanted) == wanted
        assert self.plan(site, store).changes == []

    def test_undo_brings_back_what_was_there_and_stays_undone(self, site: Site, store: Store) -> None:
        """After undo the LMS holds what it held before, and the next push does not redo it."""
        self.push(site, store)
        held = site.snapshot()
        model = company.renamed(company.architecture(), "CARE/A1", "Washes hands well")
        model = company.moved(model, "CARE/A31", "CARE/A2")
        model = company.with_more(model, company.competency("CARE", "C", "Nutrition"))
        report = self.push(site, store, company.desired(model))
        undone = undo("here", site.connect(), store, report.run_id, INITIAL, Clock())
        assert undone.state in ("done", "pending")
        site.run_nightly()
        self.push(site, store, company.desired(model))
        assert site.snapshot() == held


SiteMaker = Callable[[], Site]
