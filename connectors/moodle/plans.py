"""Learning plans: one a person, kept equal to what the person's job needs.

Moodle makes no plan from a template on request (contracts/moodle-4.5), and links templates to cohorts only by hand. So
each person gets a plan of their own, which carries its key (person and position) in the last paragraph of the
description. Where an administrator did link a position's template to a cohort, membership makes the plans, and the
bridge only sees to it that they are closed when somebody leaves the position.

Leaving a position closes its plan as it stands, with the ratings of that day; the next position gets another one.
Plans that do not carry the bridge's marker, or stem from somebody else's templates, are never touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.model import Desired
from bridge.ports import Action, Change, Fields, Found, Item, KindSpec, Outcome, Removal, Severity
from connectors.moodle.accounts import Accounts
from connectors.moodle.client import Call, Fate, Result
from connectors.moodle.directory import SYSTEM, good
from connectors.moodle.kinds import Context, Part, adopted, after, not_sent, settled
from connectors.moodle.plan_needs import (
    PlanNeeds,
    Wanted,
    closed_description,
    key_of,
    let_go_description,
    open_description,
    plan_key,
)
from connectors.moodle.schedule import Schedule, Task
from connectors.moodle.staff import Staff
from connectors.moodle.templates import LIST as LIST_TEMPLATES
from connectors.moodle.templates import key_in
from connectors.moodle.text import unwrapped

LIST = "core_competency_list_user_plans"
CREATE = "core_competency_create_plan"
UPDATE = "core_competency_update_plan"
COMPLETE = "core_competency_complete_plan"
REOPEN = "core_competency_reopen_plan"
DELETE = "core_competency_delete_plan"
UNLINK = "core_competency_unlink_plan_from_template"

ACTIVE, COMPLETED = 1, 2
"""Numbers of plan statuses (contracts/moodle-4.5: 0 draft, 1 active, 2 complete, 3 and 4 under review)."""

REMOVALS = {"close": Removal.CLOSE, "unlink": Removal.UNLINK, "keep": Removal.KEEP}


@dataclass(frozen=True, slots=True)
class Row:
    """A plan as Moodle holds it."""

    id: int
    person: str
    name: str
    description: str
    status: int
    template: int | None

    @property
    def complete(self) -> bool:
        """Whether it is complete, so that Moodle lets nobody change it."""
        return self.status == COMPLETED


@dataclass(slots=True)
class PlanShelf:
    """The plans of people, as read last, and what is wanted of them: shared by the kinds that plans are made of."""

    context: Context
    accounts: Accounts
    wanted: dict[str, Wanted] = field(default_factory=dict)
    """By the plan's key, as the last translation worked them out."""
    undecided: frozenset[str] = frozenset()
    """People whose title has no position yet."""
    linked: frozenset[str] = frozenset()
    """Positions whose template an administrator linked to a cohort."""
    positions: dict[int, str] = field(default_factory=dict)
    """The position that a template of ours belongs to, by the template's id."""
    looked: bool = False
    """Whether the templates were looked at: an undo, and a look at what a crash left, translate nothing before."""
    rows: dict[str, list[Row]] = field(default_factory=dict)
    """The plans of each person that was looked at."""
    ours: dict[str, Row] = field(default_factory=dict)
    """Plans that carry a key of ours, by that key."""

    def translate(self, desired: Desired, left_out: frozenset[str], part: Part) -> PlanNeeds | None:
        """Work out what is wanted; None where nothing is known of plans."""
        self.wanted = {}
        self.undecided = frozenset()
        self.rows, self.ours = {}, {}
        staff = Staff.of(desired)
        if staff is None:
            return None
        needs = PlanNeeds(staff, desired, self.context.options, left_out)
        if not needs.spoken:
            return None
        self.look_at_templates()
        part.complete = not left_out and self.context.options.plan_leaving != "keep"
        self.wanted = {wanted.key: wanted for wanted in needs.all(part)}
        self.undecided = frozenset(one.key for one in staff.working() if staff.unmapped(one.key))
        return needs

    def look_at_templates(self) -> None:
        """Learn which templates of ours an administrator linked to a cohort; Moodle tells how many, not which."""
        self.looked = True
        if LIST_TEMPLATES not in self.context.client.functions():
            return
        rows = self.context.client.read(Call(LIST_TEMPLATES, {"context": SYSTEM, "includes": "self"}, raw=True))
        self.positions = {}
        linked: set[str] = set()
        for row in sorted(rows, key=lambda row: int(row["id"])):
            position = key_in(str(row["description"] or ""))
            if position is None:
                continue
            self.positions[int(row["id"])] = position
            if int(row.get("cohortscount") or 0) and row["visible"]:
                linked.add(position)
        self.linked = frozenset(linked)

    def read(self, people: Collection[str], *, fresh: bool) -> None:
        """Look at the plans of people; those looked at already only where it must be `fresh`."""
        ids = self.accounts.ids_of(people)
        asked = {person: account for person, account in ids.items() if fresh or person not in self.rows}
        calls = [Call(LIST, {"userid": account}, raw=True) for account in asked.values()]
        answers = self.context.client.read_many(calls)
        for person, answer in zip(asked, answers, strict=True):
            self._take_in(person, good(answer))

    def _take_in(self, person: str, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in self.rows.get(person, ()):
            found = key_of(row.description)
            if found is not None:
                self.ours.pop(found[0], None)
        plans = [
            Row(
                int(row["id"]),
                person,
                str(row["name"]),
                unwrapped(str(row["description"] or "")),
                int(row["status"]),
                None if row.get("templateid") is None else int(row["templateid"]),
            )
            for row in sorted(rows, key=lambda row: int(row["id"]))
        ]
        self.rows[person] = plans
        # Of several with one key (somebody copied one) an open one is ours, else the oldest.
        for plan in sorted(plans, key=lambda plan: (plan.complete, plan.id)):
            found = key_of(plan.description)
            if found is not None and plan.template is None and found[0].partition("|")[0] == person:
                self.ours.setdefault(found[0], plan)

    def is_replaced(self, key: str, person: str) -> bool:
        """Say whether the plan of somebody without a position is not needed: who has an open one for the position
        they held keeps that, until the new title has a position."""
        if person not in self.undecided or key not in self.wanted:
            return False
        if key in self.ours and not self.ours[key].complete:
            return False
        for row in self.rows.get(person, ()):
            found = key_of(row.description)
            ours = row.template is None and found is not None and found[0].partition("|")[0] == person
            if not row.complete and (ours or row.template in self.positions):
                return True
        return False

    def people_in(self, keys: Collection[str] | None) -> Collection[str]:
        """Return the people whose plans some keys name; everybody who is wanted or has an account, without keys."""
        if keys is not None:
            return {key.partition("|")[0] for key in keys}
        if not self.accounts.was_read:
            for _ in self.accounts.read():
                pass
        return list(self.accounts.ids)

    def made(self, key: str, row: Row) -> None:
        """Take note of a new plan."""
        self.ours[key] = row
        self.rows.setdefault(row.person, []).append(row)


def _removal(context: Context) -> Removal:
    return REMOVALS[context.options.plan_leaving]


class Plans:
    """The plan of each person who needs something."""

    reads: Mapping[str, str] = {LIST: "learning plans cannot be compared, so that none are made"}
    writes: Mapping[str, str] = {
        CREATE: "no learning plans are made",
        UPDATE: "learning plans are not kept true",
        COMPLETE: "the plan of a position that somebody left is not closed",
        REOPEN: "the plan of a position that somebody comes back to is not opened again",
        DELETE: "a plan that was just made cannot be taken back by undo",
    }

    def __init__(self, context: Context, shelf: PlanShelf) -> None:
        self._context = context
        self._shelf = shelf
        nights = max(1, context.options.plan_rotation_days)
        self.spec = KindSpec(
            "plan",
            "learning plan",
            "learning plans",
            _removal(context),
            by_key=True,
            of_people=True,
            rotation=nights,
        )

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return one item a person, but for positions whose template makes the plans."""
        part = Part()
        needs = self._shelf.translate(desired, left_out, part)
        if needs is None:
            return part
        by_template = 0
        for key, wanted in self._shelf.wanted.items():
            if wanted.position in self._shelf.linked:
                by_template += 1
                continue
            fields = {"name": wanted.name, "description": wanted.description}
            part.items.append(Item("plan", key, fields, group=wanted.name, needs=(("user", wanted.person),)))
        if by_template:
            says = (
                f"{by_template:,} people get their plan from a template that is linked to a cohort (within an hour of "
                "joining it): the bridge makes none for them."
            )
            part.remark(Severity.NOTE, "plan", "", says)
        part.speaks_of = self._spoken_of(needs)
        return part

    def _spoken_of(self, needs: PlanNeeds) -> Any:
        held = self._shelf.accounts.held
        return lambda key: (person := key.partition("|")[0]) not in held and needs.speaks_of(person)

    def read(self) -> Iterator[Found]:
        """Yield every plan that carries a key."""
        return self.read_some(None)

    def read_some(self, keys: Collection[str] | None) -> Iterator[Found]:
        """Yield the plans of the people that some keys name.

        A plan that somebody completed is finished, whatever its text: it is as wanted, or as closed.
        """
        shelf = self._shelf
        people = set(shelf.people_in(keys))
        shelf.read(people, fresh=True)
        replaced = [key for person in people if shelf.is_replaced(key := plan_key(person, None), person)]
        for key, row in list(shelf.ours.items()):
            if row.person not in people:
                continue
            _, closed = key_of(row.description) or (key, False)
            wanted = shelf.wanted.get(key)
            # That it is closed is told by `retired`; the text is compared as it stands in an open plan.
            fields: Fields = {"name": row.name, "description": open_description(row.description, key)}
            if row.complete and not closed and wanted is not None:
                fields = {"name": wanted.name, "description": wanted.description}
            retired = row.complete and (closed or wanted is None)
            if key not in replaced:
                yield Found("plan", key, fields, str(row.id), retired=retired)
        yield from (Found("plan", key, {}, "", replaced=True) for key in replaced)

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Make, open and change plans; one person's in order."""
        done, changes = adopted(changes)
        yield from done
        shelf = self._shelf
        accounts = shelf.accounts.ids_of({c.key.partition("|")[0] for c in changes if c.action is Action.CREATE})
        work: list[Steps] = []
        for change in changes:
            calls = self._calls(change, accounts)
            if calls:
                work.append((change, calls))
            else:
                yield not_sent(change, "The person's account is not in Moodle (yet), or not certain.")
        for change, result in _in_steps(self._context, work):
            lms_id = None
            if result.fate is Fate.DONE and change.action is Action.CREATE:
                lms_id = int(result.data["id"])
                fields = after(change)
                person = change.key.partition("|")[0]
                row = Row(lms_id, person, str(fields["name"]), str(fields["description"]), ACTIVE, None)
                shelf.made(change.key, row)
            yield settled(change, result, lms_id)

    def _calls(self, change: Change, accounts: Mapping[str, int]) -> list[Call]:
        fields = after(change)
        if change.action is Action.CREATE:
            account = accounts.get(change.key.partition("|")[0])
            if account is None:
                return []
            plan = {"name": fields["name"], "description": fields["description"], "descriptionformat": 1}
            return [Call(CREATE, {"plan": {**plan, "userid": account, "status": ACTIVE}})]
        plan_id = int(change.lms_id or 0)
        if change.action is Action.REVIVE:
            text = open_description(str((change.before or fields)["description"]), change.key)
            plan = {"id": plan_id, "descriptionformat": 1, "description": text}
            return [Call(REOPEN, {"planid": plan_id}), Call(UPDATE, {"plan": plan})]
        said = {name: fields[name] for name in ("name", "description") if name in change.fields}
        return [Call(UPDATE, {"plan": {"id": plan_id, "descriptionformat": 1, **said}})]

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Close plans, or let go of them, by the rule; delete those that an undo takes back."""
        unlinks = self._context.options.plan_leaving == "unlink"
        work: list[Steps] = []
        for change in changes:
            description = str((change.before or {}).get("description", ""))
            plan_id = int(change.lms_id or 0)
            if change.erase:
                calls = [Call(DELETE, {"id": plan_id})]
            else:
                told = let_go_description if unlinks else closed_description
                plan = {"id": plan_id, "descriptionformat": 1, "description": told(description, change.key)}
                calls = [Call(UPDATE, {"plan": plan})]
                if not unlinks:
                    calls.append(Call(COMPLETE, {"planid": plan_id}))
            work.append((change, calls))
        for change, result in _in_steps(self._context, work):
            yield settled(change, result)


Steps = tuple[Change, list[Call]]
"""A change and the calls that carry it out, one after the other."""


def _in_steps(context: Context, work: Sequence[Steps]) -> Iterator[tuple[Change, Result]]:
    """Carry out changes, one person's in order, and tell of each once: how its last step ended, or the first that
    failed. Raises what stopped the sending early, after them."""
    tasks = [
        Task((number, step), f"{change.key}#{number}.{step}", change.key, lambda call=call: call)  # type: ignore[misc]  # bound per turn
        for number, (change, calls) in enumerate(work)
        for step, call in enumerate(calls)
    ]
    told: set[int] = set()
    schedule = Schedule(context.client, tasks)
    for task, result in schedule.run():
        number, step = task.subject
        change, calls = work[number]
        if number in told or (result.fate is Fate.DONE and step + 1 < len(calls)):
            continue
        told.add(number)
        yield change, result
    if schedule.stopped is not None:
        raise schedule.stopped


class LinkedPlans:
    """Plans that Moodle makes for the members of a cohort that an administrator linked to a position's template.

    The bridge makes none of them; it takes them over, and closes or unlinks them when somebody leaves the position,
    since Moodle leaves them where they are (contracts/moodle-4.5).
    """

    reads: Mapping[str, str] = {LIST: "plans from linked templates are not closed when somebody leaves a position"}
    writes: Mapping[str, str] = {
        COMPLETE: "plans from linked templates are not closed when somebody leaves a position",
        UNLINK: "plans from linked templates are not unlinked when somebody leaves a position",
    }

    def __init__(self, context: Context, shelf: PlanShelf) -> None:
        self._context = context
        self._shelf = shelf
        self._spoken: frozenset[str] = frozenset()
        self.spec = KindSpec(
            "linked_plan",
            "plan from a linked template",
            "plans from linked templates",
            _removal(context),
            by_key=True,
            of_people=True,
            rotation=max(1, context.options.plan_rotation_days),
        )

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return one item for each job in a position whose template is linked; none of them is ever made."""
        del left_out
        part = Part()
        staff = Staff.of(desired)
        shelf = self._shelf
        self._spoken = frozenset()
        if staff is None or not PlanNeeds(staff, desired, self._context.options, frozenset()).spoken:
            return part
        part.complete = self._context.options.plan_leaving != "keep"
        wanted = {
            plan_key(person.key, job.position)
            for person in staff.working()
            for job in staff.jobs.get(person.key, ())
            if job.position in shelf.linked
        }
        self._spoken = frozenset(wanted)
        for key in sorted(wanted):
            person = key.partition("|")[0]
            part.items.append(Item("linked_plan", key, {}, needs=(("user", person),), make=False))
        held = shelf.accounts.held
        part.speaks_of = lambda key: (
            (person := key.partition("|")[0]) not in held and staff.works(person) and not staff.unmapped(person)
        )
        return part

    def read(self) -> Iterator[Found]:
        """Yield every plan that stems from a template of ours."""
        return self.read_some(None)

    def read_some(self, keys: Collection[str] | None) -> Iterator[Found]:
        """Yield the plans from templates of the people that some keys name."""
        shelf = self._shelf
        if not shelf.looked:
            shelf.look_at_templates()
        people = shelf.people_in(keys)
        shelf.read(people, fresh=False)
        told: set[str] = set()
        for person in people:
            for row in sorted(shelf.rows.get(person, ()), key=lambda row: (row.complete, row.id)):
                position = shelf.positions.get(row.template) if row.template is not None else None
                if position is None or plan_key(person, position) in told:
                    continue
                key = plan_key(person, position)
                told.add(key)
                yield Found("linked_plan", key, {}, str(row.id), retired=row.complete and key not in self._spoken)

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Open plans again for an undo; nothing else is ever written to them."""
        done, changes = adopted(changes)
        yield from done
        work = [(change, [Call(REOPEN, {"planid": int(change.lms_id or 0)})]) for change in changes]
        for change, result in _in_steps(self._context, work):
            yield settled(change, result)

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Close plans as they stand, or make them their person's own."""
        function = UNLINK if self._context.options.plan_leaving == "unlink" else COMPLETE
        work = [(change, [Call(function, {"planid": int(change.lms_id or 0)})]) for change in changes]
        for change, result in _in_steps(self._context, work):
            yield settled(change, result)
