"""The competencies in people's learning plans: what the job needs, by difference; what is finished stays."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from bridge.model import Desired, competency_key
from bridge.ports import Change, Found, Item, KindSpec, Outcome, Removal
from connectors.moodle.client import Call
from connectors.moodle.directory import good
from connectors.moodle.kinds import Context, Part, adopted, not_sent, settled
from connectors.moodle.plan_needs import PlanNeeds
from connectors.moodle.plans import REOPEN, PlanShelf
from connectors.moodle.schedule import Schedule, Task
from connectors.moodle.staff import Staff

CONTENTS = "core_competency_list_plan_competencies"
ADD = "core_competency_add_competency_to_plan"
TAKE = "core_competency_remove_competency_from_plan"

PLANS_PER_READ = 50
"""Moodle answers some 2 KB for each competency of a plan: more at once is slow and large."""

WRITES_PER_REQUEST = 200
"""Putting one competency into one plan is the smallest write there is."""


def split(key: str) -> tuple[str, str]:
    """Return the plan's key and the competency's of an object's key (PERSON|POSITION|COMPETENCY)."""
    person, _, rest = key.partition("|")
    position, _, competency = rest.partition("|")
    return f"{person}|{position}", competency


class PlanCompetencies:
    """Which competencies are in the plans that the bridge made."""

    reads: Mapping[str, str] = {CONTENTS: "the competencies in learning plans cannot be compared"}
    writes: Mapping[str, str] = {
        ADD: "competencies cannot be put into learning plans",
        TAKE: "competencies cannot be taken out of learning plans",
    }

    def __init__(self, context: Context, shelf: PlanShelf) -> None:
        self._context = context
        self._shelf = shelf
        self._wanted: frozenset[str] = frozenset()
        self.spec = KindSpec(
            "plan_competency",
            "competency in a plan",
            "competencies in plans",
            Removal.UNLINK,
            relation=True,
            by_key=True,
            of_people=True,
            rotation=max(1, context.options.plan_rotation_days),
        )

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return one item for each competency that each person's plan should hold."""
        part = Part()
        self._wanted = frozenset()
        staff = Staff.of(desired)
        if staff is None:
            return part
        needs = PlanNeeds(staff, desired, self._context.options, left_out)
        if not needs.spoken:
            return part
        shelf = self._shelf
        part.complete = not left_out
        for plan, wanted in shelf.wanted.items():
            if wanted.position in shelf.linked:
                continue
            for competency in wanted.needs:
                part.items.append(
                    Item(
                        "plan_competency",
                        f"{plan}|{competency}",
                        {},
                        group=wanted.name,
                        needs=(("plan", plan), ("competency", competency)),
                    )
                )
        self._wanted = frozenset(item.key for item in part.items)
        held = shelf.accounts.held

        def spoken_of(key: str) -> bool:
            """Say whether a competency that a plan no longer asks for should leave it: a plan that ends keeps all."""
            person = key.partition("|")[0]
            return split(key)[0] in shelf.wanted and person not in held

        part.speaks_of = spoken_of
        return part

    def read(self) -> Iterator[Found]:
        """Yield what is in every plan that carries a key."""
        return self.read_some(None)

    def read_some(self, keys: Collection[str] | None) -> Iterator[Found]:
        """Yield what is in the plans of the people that some keys name."""
        shelf = self._shelf
        people = set(shelf.people_in(keys))
        shelf.read(people, fresh=False)
        plans = {
            key: row
            for key, row in shelf.ours.items()
            if row.person in people and (key in shelf.wanted or not row.complete)
        }
        if not plans:
            return
        directory = self._context.directory
        if not directory.frameworks:
            directory.list_frameworks()
        frameworks = {id_: key for key, id_ in directory.frameworks.items()}
        calls = [Call(CONTENTS, {"id": row.id}, raw=True) for row in plans.values()]
        answers = self._context.client.read_many(calls, size=PLANS_PER_READ)
        keeps = self._context.options.plan_keeps_finished
        for (plan, row), answer in zip(plans.items(), answers, strict=True):
            for entry in good(answer):
                competency = entry["competency"]
                framework = frameworks.get(int(competency["competencyframeworkid"]))
                if framework is None or not competency["idnumber"]:
                    continue
                key = f"{plan}|{competency_key(framework, str(competency['idnumber']))}"
                # What is finished stays, also where the job no longer asks for it.
                retired = keeps and key not in self._wanted and _finished(entry)
                yield Found("plan_competency", key, {}, f"{row.id}-{competency['id']}", retired=retired)

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Put competencies into plans; a plan that somebody completed is opened again for it."""
        done, changes = adopted(changes)
        yield from done
        yield from self._link(changes, ADD)

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Take competencies out of plans; the ratings stay with the person."""
        yield from self._link(changes, TAKE)

    def _link(self, changes: Sequence[Change], function: str) -> Iterator[Outcome]:
        shelf = self._shelf
        ends = [(change, *split(change.key)) for change in changes]
        ids = self._context.directory.competency_ids({competency for _, _, competency in ends})
        shelf.read({plan.partition("|")[0] for _, plan, _ in ends if plan not in shelf.ours}, fresh=True)
        tasks: list[Task[Change | None]] = []
        opened: set[str] = set()
        for change, plan, competency in ends:
            row, competency_id = shelf.ours.get(plan), ids.get(competency)
            if row is None or competency_id is None:
                yield not_sent(change, "The plan or the competency is not in Moodle (yet).")
                continue
            if row.complete and plan not in opened:
                opened.add(plan)
                tasks.append(_task(None, plan, Call(REOPEN, {"planid": row.id})))
            tasks.append(_task(change, plan, Call(function, {"planid": row.id, "competencyid": competency_id})))
        schedule = Schedule(self._context.client, tasks, batch=WRITES_PER_REQUEST)
        for task, result in schedule.run():
            if task.subject is not None:
                yield settled(task.subject, result)
        if schedule.stopped is not None:
            raise schedule.stopped


def _task(change: Change | None, plan: str, call: Call) -> Task[Change | None]:
    name = f"{plan}#open" if change is None else change.key
    return Task(change, name, plan, lambda: call)


def _finished(entry: Mapping[str, Any]) -> bool:
    """Say whether the person has reached a competency of a plan, now or when the plan was completed."""
    rating = entry.get("usercompetency") or entry.get("usercompetencyplan") or {}
    return bool(rating.get("proficiency"))
