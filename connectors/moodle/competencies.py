"""Competencies: a tree in each framework, in the order of the files; retired instead of deleted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bridge.model import RETIRED, Architecture, Competency, Desired, competency_key
from bridge.ports import (
    Action,
    BridgeError,
    Change,
    Found,
    Item,
    KindSpec,
    Outcome,
    Removal,
    Severity,
    Status,
    Value,
    outcome_of,
)
from connectors.moodle import given
from connectors.moodle.client import Call, Fate, Result
from connectors.moodle.directory import LIST_COMPETENCIES, Node, Tree, scale_configuration, scale_field
from connectors.moodle.frameworks import NO_SCALE, labels_in, scale_value
from connectors.moodle.given import speaks_of
from connectors.moodle.kinds import Context, Part, adopted, after, not_sent, said, settled
from connectors.moodle.placement import MOVE_DOWN, MOVE_UP
from connectors.moodle.schedule import Schedule, Task
from connectors.moodle.structure import Restructuring
from connectors.moodle.text import NAME_LIMIT, bullets, fold, paragraph

CREATE = "core_competency_create_competency"
UPDATE = "core_competency_update_competency"
DELETE = "core_competency_delete_competency"
MOVE = "core_competency_set_parent_competency"

FRAMEWORK_APART = 1_000_000
"""Added to the order of the top competencies of each further framework, so that they stand one after another."""

TAKEN = "already has something with this ID number"


class Competencies:
    """The competencies of all frameworks."""

    spec = KindSpec(
        "competency",
        "competency",
        "competencies",
        Removal.RETIRE,
        tree=True,
        ordered=True,
        retired_to="the node that Moodle keeps retired competencies under",
    )
    reads: Mapping[str, str] = {LIST_COMPETENCIES: "competencies cannot be read, so that nothing about them works"}
    writes: Mapping[str, str] = {
        CREATE: "competencies cannot be made",
        UPDATE: "competencies cannot be renamed, and roll-up rules cannot be set",
        MOVE: "competencies cannot be moved or retired",
        MOVE_UP: "competencies cannot be put into the order of the files",
        MOVE_DOWN: "competencies that share a place cannot be pulled apart",
        DELETE: "competencies that were just made cannot be taken back by undo; they are retired instead",
        "tool_lp_list_courses_using_competency": "a retired competency keeps its courses",
        "core_competency_list_templates_using_competency": "a retired competency stays in learning-plan templates",
    }

    def __init__(self, context: Context) -> None:
        self._context = context

    # --- Translation -----------------------------------------------------------------------------------------------

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return one item a competency; `left_out` comes from `unsayable`."""
        architecture = desired.architecture
        part = Part(complete=speaks_of(architecture, given.COMPETENCIES) and not left_out)
        frameworks = {framework.key: framework for framework in architecture.frameworks}
        scales = {scale.key: scale for scale in architecture.scales}
        by_key = {competency.key: competency for competency in architecture.competencies}
        levels = _levels(architecture) if self._context.options.descriptor_in_description else {}
        # Framework by framework: the top competencies of all frameworks are siblings to whoever knows no LMS, and
        # must come in an order that Moodle, which keeps one a framework, can have.
        rank = {framework.key: place for place, framework in enumerate(architecture.frameworks)}
        self._context.directory.framework_rank = rank
        for competency in sorted(architecture.competencies, key=lambda one: rank.get(one.framework, len(rank))):
            key = competency.key
            if key in left_out:
                continue
            name, description = said(part, "competency", key, competency.name, competency.description)
            if key in levels:
                description += paragraph("Levels:") + bullets(levels[key])
            framework = frameworks[competency.framework]
            own = competency.scale if competency.scale not in (None, framework.scale) else None
            value: Value = None
            if own is not None and own in scales:
                value = scale_value(scales[own])
            elif own is not None:
                part.remark(Severity.WARNING, "competency", key, f"Its own scale {own!r} is in no file and left out.")
            parent = by_key.get(competency.parent) if competency.parent else None
            part.items.append(
                Item(
                    "competency",
                    key,
                    {"name": name, "description": description, "scale": value},
                    parent=competency.parent,
                    group=f"{framework.name} > {parent.name}" if parent is not None else framework.name,
                    needs=(("framework", competency.framework),),
                )
            )
        return part

    def unsayable(self, desired: Desired) -> tuple[frozenset[str], Part]:
        """Return the keys of competencies that Moodle cannot hold, with those under them, and remarks why."""
        part = Part()
        retired = fold(self._context.options.retired_idnumber)
        frameworks = {framework.key for framework in desired.architecture.frameworks}
        seen: dict[tuple[str, str], str] = {}
        bad: set[str] = set()
        for competency in desired.architecture.competencies:
            place = (competency.framework, fold(competency.idnumber))
            why = ""
            if competency.framework not in frameworks:
                why = f"Its framework {competency.framework!r} is in no file."
            elif not competency.idnumber.strip() or len(competency.idnumber) > NAME_LIMIT:
                why = f"Its key has {len(competency.idnumber)} characters; Moodle takes 1 to {NAME_LIMIT}."
            elif place in seen:
                why = f"To Moodle its key is the same as that of {seen[place]!r} (no case, accents, trailing spaces)."
            elif place[1] == retired:
                why = f"Its key is the one under which retired competencies are kept ({competency.idnumber})."
            if why:
                bad.add(competency.key)
                part.remark(
                    Severity.WARNING, "competency", competency.key, f"{why} It is left out with all that is under it."
                )
            else:
                seen[place] = competency.key
        grown = True
        while grown:
            under = {c.key for c in desired.architecture.competencies if c.parent in bad and c.key not in bad}
            grown = bool(under)
            bad |= under
        return frozenset(bad), part

    # --- Reading ---------------------------------------------------------------------------------------------------

    def read(self) -> Iterator[Found]:
        """Yield every competency that has an ID number, parents before children."""
        directory = self._context.directory
        trees = directory.read_trees()
        labels = directory.labels_of(
            {node.scale for tree in trees for node in tree.nodes.values() if node.scale is not None}
        )
        known = directory.framework_rank
        for place, tree in enumerate(sorted(trees, key=lambda t: (known.get(t.key, len(known)), t.framework))):
            yield from self._found_in(tree, labels, place)

    def _found_in(self, tree: Tree, labels: Mapping[int, tuple[str, ...] | None], place: int) -> Iterator[Found]:
        bin_node = tree.find(self._context.options.retired_idnumber)
        retired: set[int] = {bin_node.id} if bin_node is not None else set()
        keys: dict[int, str] = {}
        for node, rank in tree.walk():
            if bin_node is not None and node.id == bin_node.id:
                continue
            if node.parent in retired:
                retired.add(node.id)
            if not node.idnumber:
                continue
            keys[node.id] = competency_key(tree.key, node.idnumber)
            parent = keys.get(node.parent)
            if bin_node is not None and node.parent == bin_node.id:
                parent = RETIRED
            yield Found(
                "competency",
                keys[node.id],
                {
                    "name": node.name,
                    "description": node.description,
                    "scale": None
                    if node.scale is None
                    else scale_field(labels.get(node.scale), node.scale_configuration),
                },
                str(node.id),
                parent=parent,
                retired=node.id in retired,
                order=rank if node.parent else place * FRAMEWORK_APART + rank,
                detail={"format": node.format},
            )

    # --- Writing ---------------------------------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Update, create, move and place competencies, in this order."""
        done, changes = adopted(changes)
        yield from done
        updates = [change for change in changes if change.action in (Action.UPDATE, Action.ADOPT)]
        creates = [change for change in changes if change.action is Action.CREATE]
        moves = [change for change in changes if change.action in (Action.MOVE, Action.REVIVE)]
        updates += [change for change in moves if self._update_arguments(change)]
        if updates:
            yield from self._update(updates, {change.key for change in moves})
        if creates or moves:
            work = Restructuring(self._context, self._trees_of([*creates, *moves]))
            try:
                yield from self._create(creates, work)
                yield from work.move(moves)
            except BridgeError:
                yield from work.break_off()
                raise
            yield from work.finish()

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Retire competencies, or delete those that are to be taken away altogether."""
        work = Restructuring(self._context, self._trees_of(changes))
        delete = self._context.options.delete_unused_competencies
        yield from work.erase([c for c in changes if c.erase], fall_back=False)
        if delete:
            yield from work.erase([c for c in changes if not c.erase], fall_back=True)
        else:
            yield from work.retire([c for c in changes if not c.erase])
        yield from work.finish()

    def _trees_of(self, changes: Sequence[Change]) -> dict[str, Tree]:
        directory = self._context.directory
        if not directory.frameworks:
            directory.list_frameworks()
        wanted = {directory.framework_of(change.key) for change in changes} & directory.frameworks.keys()
        return {tree.key: tree for tree in directory.read_trees(wanted)} if wanted else {}

    def _update_arguments(self, change: Change) -> dict[str, Any]:
        fields = after(change)
        wanted = set(change.fields)
        arguments: dict[str, Any] = {}
        if "name" in wanted:
            arguments["shortname"] = fields["name"]
        if "description" in wanted:
            arguments |= {"description": fields["description"], "descriptionformat": 1}
        if "scale" in wanted:
            if fields["scale"] is None:
                # Null means the framework's scale; only a batch can say it, a lone call leaves the scale as it is.
                arguments |= {"scaleid": None, "scaleconfiguration": None}
            else:
                scale = self._context.directory.find_scale(labels_in(fields["scale"]))
                if scale is not None:
                    arguments |= {"scaleid": scale, "scaleconfiguration": scale_configuration(scale, fields["scale"])}
        return arguments

    def _update(self, changes: Sequence[Change], also_moved: set[str]) -> Iterator[Outcome]:
        """Update competencies; of those that move as well, only a failure is told here."""
        tasks: list[Task[Change]] = []
        for change in changes:
            arguments = self._update_arguments(change)
            if not arguments:
                if "scale" in change.fields:
                    labels = ", ".join(labels_in(after(change)["scale"]))
                    yield outcome_of(change, Status.REFUSED, NO_SCALE.format(labels=labels))
                else:
                    yield outcome_of(change, Status.APPLIED)
                continue
            if "description" not in arguments:
                arguments |= self._format_of(change)
            call = Call(UPDATE, {"competency": {"id": int(change.lms_id or 0)} | arguments})
            tasks.append(Task(change, change.key, change.key, lambda call=call: call))  # type: ignore[misc]  # bound per turn
        schedule = Schedule(self._context.client, tasks)
        for task, result in schedule.run():
            if task.subject.key not in also_moved:
                yield settled(task.subject, result)
        if schedule.stopped is not None:
            raise schedule.stopped

    def _format_of(self, change: Change) -> dict[str, Any]:
        # An update without a format resets it to HTML; a description we do not touch keeps the one it has.
        kept = change.detail.get("format")
        return {} if kept is None else {"descriptionformat": kept}

    def _create(self, changes: Sequence[Change], work: Restructuring) -> Iterator[Outcome]:
        directory = self._context.directory
        client = self._context.client
        made = {change.key for change in changes}
        outside = directory.competency_ids({c.parent for c in changes if c.parent and c.parent not in made})
        tasks: list[Task[Change]] = []
        for change in changes:
            framework_key = directory.framework_of(change.key)
            framework = directory.frameworks.get(framework_key)
            if framework is None:
                yield not_sent(change, f"Its framework {framework_key!r} is not in Moodle (yet).")
                continue
            if change.parent and change.parent not in made and change.parent not in outside:
                yield not_sent(change, f"The competency it hangs under, {change.parent!r}, is not in Moodle (yet).")
                continue
            fields = after(change)
            if fields.get("scale") is not None and directory.find_scale(labels_in(fields["scale"])) is None:
                labels = ", ".join(labels_in(fields["scale"]))
                yield outcome_of(change, Status.REFUSED, NO_SCALE.format(labels=labels))
                continue
            tasks.append(
                Task(
                    change,
                    change.key,
                    change.parent or f"\n{framework_key}",
                    self._maker(change, framework_key, framework),
                    change.parent if change.parent in made else None,
                )
            )
        schedule = Schedule(client, tasks)
        for task, result in schedule.run():
            change = task.subject
            if result.fate is Fate.REFUSED and TAKEN in result.why:
                result = self._perhaps_ours(change, result, work)
            if result.fate is Fate.DONE:
                node = Node.of(result.data)
                directory.competencies[change.key] = node.id
                outcome = settled(change, result, node.id)
                if work.created(change, node):
                    work.hold(outcome)
                else:
                    yield outcome
            else:
                yield settled(change, result)
        if schedule.stopped is not None:
            raise schedule.stopped

    def _maker(self, change: Change, framework_key: str, framework: int) -> Any:
        def call() -> Call:
            """Build the call; the parent's id is known by the time it is asked for."""
            fields = after(change)
            competency: dict[str, Any] = {
                "shortname": fields["name"],
                "idnumber": change.key[len(framework_key) + 1 :],
                "description": fields["description"],
                "descriptionformat": 1,
                "parentid": self._context.directory.competencies[change.parent] if change.parent else 0,
                "competencyframeworkid": framework,
            }
            if fields.get("scale") is not None:
                scale = self._context.directory.find_scale(labels_in(fields["scale"])) or 0
                competency |= {"scaleid": scale, "scaleconfiguration": scale_configuration(scale, fields["scale"])}
            return Call(CREATE, {"competency": competency}, raw=False)

        return call

    def _perhaps_ours(self, change: Change, result: Result, work: Restructuring) -> Result:
        """Look whether an ID number is taken because this very creation went through before its error.

        Moodle resets the parent's rule after a creation, outside of any transaction: a deadlock there reports an error
        for a competency that exists, and the next try finds its number taken.
        """
        tree = work.trees.get(self._context.directory.framework_of(change.key))
        rows = self._context.client.read(
            Call(
                LIST_COMPETENCIES,
                {
                    "filters": [
                        {"column": "idnumber", "value": change.key[len(tree.key) + 1 :]},
                        {"column": "competencyframeworkid", "value": tree.framework},
                    ]
                },
                raw=True,
            )
        ) if tree is not None else []  # fmt: skip
        fields = after(change)
        for row in rows:
            node = Node.of(row)
            if (
                tree is not None
                and node.id not in tree.nodes
                and node.idnumber == change.key[len(tree.key) + 1 :]
                and (node.name, node.description) == (fields["name"], fields["description"])
            ):
                return Result(Fate.DONE, row)
        return result


def _levels(architecture: Architecture) -> dict[str, list[str]]:
    """Return the level descriptors of each competency as lines, lowest level first."""
    scales = {scale.key: scale for scale in architecture.scales}
    frameworks = {framework.key: framework for framework in architecture.frameworks}
    by_key: dict[str, Competency] = {competency.key: competency for competency in architecture.competencies}
    lines: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for descriptor in architecture.descriptors:
        competency = by_key.get(descriptor.competency)
        if competency is None:
            continue
        framework = frameworks.get(competency.framework)
        scale = scales.get(competency.scale or (framework.scale if framework is not None else ""))
        label = next((item.label for item in scale.items if item.value == descriptor.level), "") if scale else ""
        title = f"{descriptor.level} {label}".strip()
        lines[descriptor.competency].append((descriptor.level, f"{title}: {descriptor.text}"))
    return {key: [line for _, line in sorted(found)] for key, found in lines.items()}
