"""Learning-plan templates: one a position that needs something, with the competencies it needs.

Moodle's templates have no ID number, so that the position's key stands in the last paragraph of the description, for
everyone to see: ``[lms-bridge: KEY]``. Moodle knows only *proficient*; the level a position needs is written into the
description, and attainment is judged against the level elsewhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bridge.model import Desired, Position, Requirement, competency_key
from bridge.ports import (
    Action,
    Change,
    Found,
    Item,
    KindSpec,
    Outcome,
    Removal,
    Severity,
    Status,
    outcome_of,
)
from bridge.requirements import RequirementIndex
from connectors.moodle import given
from connectors.moodle.client import Call, Fate
from connectors.moodle.directory import SYSTEM, good
from connectors.moodle.given import speaks_of
from connectors.moodle.kinds import Context, Part, adopted, after, not_sent, one_by_one, said, settled
from connectors.moodle.links import split_key
from connectors.moodle.schedule import Schedule, Task
from connectors.moodle.text import bullets, clean, escape, paragraph, unescaped, unwrapped

LIST = "core_competency_list_templates"
CREATE = "core_competency_create_template"
UPDATE = "core_competency_update_template"
DELETE = "core_competency_delete_template"
HAS_PLANS = "core_competency_template_has_related_data"
CONTENTS = "core_competency_list_competencies_in_template"
ADD = "core_competency_add_competency_to_template"
TAKE = "core_competency_remove_competency_from_template"

_MARKER = re.compile(r"(?:<p>|^)\s*\[lms-bridge: (?P<key>[^\[\]\n]+)\]\s*(?:</p>|$)")

IN_USE = "Plans were made from this template, so that it is not deleted. Hide it instead."


def marker(key: str) -> str:
    """Return the paragraph that carries a position's key."""
    return f"<p>[lms-bridge: {escape(key)}]</p>"


def key_in(description: str) -> str | None:
    """Return the position's key that a template's description carries; None where it carries none.

    It need not stay the last paragraph: what somebody wrote after it makes the template nobody else's.
    """
    found = next(reversed(list(_MARKER.finditer(description))), None)
    return unescaped(found["key"]) if found else None


def needs_of(desired: Desired, left_out: frozenset[str]) -> Iterator[tuple[Position, dict[str, Requirement]]]:
    """Yield each position that needs something, with what it needs by competency key, in the files' order."""
    architecture = desired.architecture
    index = RequirementIndex.of(architecture)
    order = {competency.key: place for place, competency in enumerate(architecture.competencies)}
    for position in architecture.positions:
        found = index.holding_for(position)
        kept = {key: need for key, need in found.items() if key in order and key not in left_out}
        if kept:
            yield position, dict(sorted(kept.items(), key=lambda entry: order[entry[0]]))


def _speaks(desired: Desired) -> bool:
    architecture = desired.architecture
    return speaks_of(architecture, given.POSITIONS) and speaks_of(architecture, given.REQUIREMENTS)


class Templates:
    """The template of each position."""

    spec = KindSpec("template", "learning-plan template", "learning-plan templates", Removal.HIDE)
    reads: Mapping[str, str] = {LIST: "learning-plan templates cannot be read"}
    writes: Mapping[str, str] = {
        CREATE: "learning-plan templates cannot be made",
        UPDATE: "learning-plan templates cannot be changed or hidden",
        DELETE: "a template that was just made cannot be taken back by undo; it is hidden instead",
        HAS_PLANS: "templates are never deleted, since it cannot be seen whether plans were made from them",
    }

    def __init__(self, context: Context) -> None:
        self._context = context

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return one item a position that needs something."""
        architecture = desired.architecture
        part = Part(complete=_speaks(desired) and not left_out)
        if not _speaks(desired):
            return part
        names = {competency.key: competency.name for competency in architecture.competencies}
        frameworks = {framework.key: framework.scale for framework in architecture.frameworks}
        scales = {scale.key: {item.value: item.label for item in scale.items} for scale in architecture.scales}
        scale_of = {c.key: c.scale or frameworks.get(c.framework, "") for c in architecture.competencies}
        made = 0
        for position, needs in needs_of(desired, left_out):
            if "[" in position.key or "]" in position.key or clean(position.key) != position.key:
                part.complete = False
                part.remark(
                    Severity.WARNING,
                    "template",
                    position.key,
                    "Its key cannot be written as a marker ([ or ]); left out.",
                )
                continue
            lines = []
            for key, need in needs.items():
                label = scales.get(scale_of.get(key, ""), {}).get(need.level, "")
                lines.append(f"{names[key]}: {need.level}" + (f" ({label})" if label else ""))
            title = self._context.options.template_name.format(title=position.title, key=position.key)
            name, head = said(part, "template", position.key, title, "")
            body = head + paragraph(f"Levels that {position.title} needs:") + bullets(lines) + marker(position.key)
            part.items.append(
                Item("template", position.key, {"name": name, "description": body}, group=position.family or "")
            )
            made += 1
        if made:
            part.remark(
                Severity.WAITS,
                "template",
                "",
                f"{made} learning-plan templates can be linked to cohorts only by hand in Moodle (Site administration "
                "> Competencies > Learning plan templates > Edit > Add cohorts to sync). Without that, plans are made "
                "one a person.",
            )
        return part

    def read(self) -> Iterator[Found]:
        """Yield every template that carries the marker."""
        counted: Counter[str] = Counter()
        for row in _rows(self._context):
            key = key_in(str(row["description"] or ""))
            if key is None:
                continue
            counted[key] += 1
            if counted[key] > 1:
                # A copy made in Moodle carries the marker too; the oldest is ours.
                continue
            self._context.directory.templates[key] = int(row["id"])
            yield Found(
                "template",
                key,
                {"name": str(row["shortname"]), "description": unwrapped(str(row["description"] or ""))},
                str(row["id"]),
                retired=not row["visible"],
            )

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Make, change and show templates."""
        done, changes = adopted(changes)
        yield from done
        pairs: list[tuple[Change, Call]] = []
        for change in changes:
            fields = after(change)
            create = change.action is Action.CREATE
            arguments: dict[str, Any] = {"descriptionformat": 1}
            if create or "name" in change.fields:
                arguments["shortname"] = fields["name"]
            if create or "description" in change.fields:
                arguments["description"] = fields["description"]
            if create or change.action is Action.REVIVE:
                arguments["visible"] = True
            if create:
                arguments |= SYSTEM
            else:
                arguments["id"] = int(change.lms_id or 0)
            pairs.append((change, Call(CREATE if create else UPDATE, {"template": arguments})))
        tasks = [
            Task(change, change.key, change.key, lambda call=call: call)  # type: ignore[misc]  # bound per turn
            for change, call in pairs
        ]
        schedule = Schedule(self._context.client, tasks)
        for task, result in schedule.run():
            lms_id = None
            if task.subject.action is Action.CREATE and result.fate is Fate.DONE:
                lms_id = int(result.data["id"])
                self._context.directory.templates[task.subject.key] = lms_id
            yield settled(task.subject, result, lms_id)
        if schedule.stopped is not None:
            raise schedule.stopped

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Hide templates; delete those that an undo takes back, where no plan was made from them."""
        client = self._context.client
        try_delete = self._context.options.delete_unused_templates
        erase = [change for change in changes if change.erase or try_delete]
        used = dict(
            zip(
                (change.key for change in erase),
                client.read_many([Call(HAS_PLANS, {"id": int(change.lms_id or 0)}) for change in erase]),
                strict=True,
            )
        )
        hide = [c for c in changes if not c.erase and (not try_delete or used.get(c.key) is not False)]
        for change in erase:
            if change.erase and used[change.key] is not False:
                yield outcome_of(change, Status.REFUSED, IN_USE)
        yield from one_by_one(
            client,
            [
                (c, Call(DELETE, {"id": int(c.lms_id or 0), "deleteplans": False}))
                for c in erase
                if used[c.key] is False
            ],
            IN_USE,
        )
        yield from one_by_one(
            client,
            [
                (c, Call(UPDATE, {"template": {"id": int(c.lms_id or 0), "visible": False, "descriptionformat": 1}}))
                for c in hide
            ],
        )


class TemplateCompetencies:
    """Which competencies a position's template holds."""

    spec = KindSpec(
        "template_competency", "template competency", "template competencies", Removal.UNLINK, relation=True
    )
    reads: Mapping[str, str] = {CONTENTS: "the competencies of learning-plan templates cannot be compared"}
    writes: Mapping[str, str] = {
        ADD: "competencies cannot be put into learning-plan templates",
        TAKE: "competencies cannot be taken out of learning-plan templates",
    }

    def __init__(self, context: Context) -> None:
        self._context = context

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return one item for each competency a position needs."""
        part = Part(complete=_speaks(desired) and not left_out)
        if not _speaks(desired):
            return part
        for position, needs in needs_of(desired, left_out):
            for key in needs:
                part.items.append(
                    Item(
                        "template_competency",
                        f"{position.key}|{key}",
                        {},
                        group=position.title,
                        needs=(("template", position.key), ("competency", key)),
                    )
                )
        return part

    def read(self) -> Iterator[Found]:
        """Yield every keyed competency in a template that carries the marker."""
        directory = self._context.directory
        keys = {
            node.id: competency_key(tree.key, node.idnumber)
            for tree in directory.read_trees()
            for node in tree.nodes.values()
            if node.idnumber
        }
        list(Templates(self._context).read())
        templates = dict(directory.templates)
        answers = self._context.client.read_many([Call(CONTENTS, {"id": id_}) for id_ in templates.values()])
        for (position, template), answer in zip(templates.items(), answers, strict=True):
            for row in good(answer):
                key = keys.get(int(row["id"]))
                if key is not None:
                    yield Found("template_competency", f"{position}|{key}", {}, f"{template}-{row['id']}")

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Put competencies into templates; templates side by side, one template's in order."""
        yield from self._link(changes, ADD)

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Take competencies out of templates; what is out already counts as done."""
        yield from self._link(changes, TAKE)

    def _link(self, changes: Sequence[Change], function: str) -> Iterator[Outcome]:
        done, changes = adopted(changes)
        yield from done
        directory = self._context.directory
        ends = {change.key[place + 1 :] for change in changes for place, c in enumerate(change.key) if c == "|"}
        ids = directory.competency_ids(
            {key for change in changes for kind, key in change.needs if kind == "competency"} or ends
        )
        if any(split_key(change.key, directory.templates, ids) is None for change in changes):
            list(Templates(self._context).read())
            ids = directory.competency_ids(ends)
        tasks: list[Task[Change]] = []
        for change in changes:
            found = split_key(change.key, directory.templates, ids)
            if found is None:
                yield not_sent(change, "The template or the competency is not in Moodle (yet).")
                continue
            call = Call(function, {"templateid": directory.templates[found[0]], "competencyid": ids[found[1]]})
            tasks.append(Task(change, change.key, found[0], lambda call=call: call))  # type: ignore[misc]  # bound per turn
        schedule = Schedule(self._context.client, tasks)
        for task, result in schedule.run():
            yield settled(task.subject, result)
        if schedule.stopped is not None:
            raise schedule.stopped


def _rows(context: Context) -> list[Mapping[str, Any]]:
    """Return all templates of the site, oldest first."""
    rows = context.client.read(Call(LIST, {"context": SYSTEM, "includes": "self"}, raw=True))
    return sorted(rows, key=lambda row: int(row["id"]))
