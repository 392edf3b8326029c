"""Competency frameworks and the scales they use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bridge.model import Desired, Scale
from bridge.ports import (
    Action,
    Change,
    FixConfiguration,
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
from connectors.moodle.client import Call, Fate
from connectors.moodle.directory import LIST_FRAMEWORKS, SCALE_VALUES, SYSTEM, scale_configuration, scale_field
from connectors.moodle.given import speaks_of
from connectors.moodle.kinds import Context, Part, adopted, after, one_by_one, refused, said, settled, stop_in
from connectors.moodle.text import NAME_LIMIT, fold, unwrapped

CREATE = "core_competency_create_competency_framework"
UPDATE = "core_competency_update_competency_framework"
DELETE = "core_competency_delete_competency_framework"

NO_SCALE = (
    "Moodle has no scale with the items {labels}, and none can be made from outside. Make it by hand (Site "
    "administration > Grades > Scales), or import the file that `lms-bridge check --scale-file` writes (Site "
    "administration > Competencies > Import competency framework), and run again."
)


def scale_value(scale: Scale) -> tuple[Value, ...]:
    """Return a scale as a framework's or competency's field: (label, proficient, default), lowest first."""
    default_given = any(item.default for item in scale.items)
    items = sorted(scale.items, key=lambda item: item.value)
    return tuple(
        (item.label, item.proficient, item.default or (not default_given and place == 0))
        for place, item in enumerate(items)
    )


def labels_in(value: Any) -> tuple[str, ...]:
    """Return the labels of a scale field."""
    return tuple(str(item[0]) for item in value or ())


class Frameworks:
    """Frameworks: made, renamed, hidden instead of deleted."""

    spec = KindSpec("framework", "competency framework", "competency frameworks", Removal.HIDE)
    reads: Mapping[str, str] = {
        LIST_FRAMEWORKS: "frameworks cannot be read, so that nothing about competencies works",
        SCALE_VALUES: "scales cannot be recognised, so that no framework can be made",
    }
    writes: Mapping[str, str] = {
        CREATE: "frameworks cannot be made",
        UPDATE: "frameworks cannot be renamed or hidden",
        DELETE: "a framework that was just made cannot be taken back by undo; it is hidden instead",
    }

    def __init__(self, context: Context) -> None:
        self._context = context

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:  # noqa: ARG002 - the same for all kinds
        """Return one item a framework."""
        part = Part(complete=speaks_of(desired.architecture, given.FRAMEWORKS))
        scales = {scale.key: scale for scale in desired.architecture.scales}
        seen: dict[str, str] = {}
        for framework in desired.architecture.frameworks:
            why = ""
            if not framework.key.strip() or len(framework.key) > NAME_LIMIT:
                why = f"Its key has {len(framework.key)} characters; Moodle takes 1 to {NAME_LIMIT}."
            elif fold(framework.key) in seen:
                why = f"To Moodle its key is the same as that of {seen[fold(framework.key)]!r}."
            elif framework.scale not in scales:
                why = f"Its scale {framework.scale!r} is in no file."
            if why:
                part.complete = False
                part.remark(
                    Severity.WARNING, "framework", framework.key, f"{why} It is left out with all its competencies."
                )
                continue
            seen[fold(framework.key)] = framework.key
            name, description = said(part, "framework", framework.key, framework.name, framework.description)
            value = scale_value(scales[framework.scale])
            if self._lacks(labels_in(value)):
                part.remark(
                    Severity.WAITS,
                    "framework",
                    framework.key,
                    "It waits for a scale. " + NO_SCALE.format(labels=", ".join(labels_in(value))),
                )
            part.items.append(
                Item(
                    "framework",
                    framework.key,
                    {"name": name, "description": description, "scale": value, "visible": True},
                    group=framework.name,
                )
            )
        return part

    def _lacks(self, labels: tuple[str, ...]) -> bool:
        """Tell whether Moodle surely has no scale with these items; asked only for one that was not seen yet."""
        directory = self._context.directory
        if labels in set(directory.scale_labels.values()):
            return False
        if not self.reads.keys() <= self._context.client.functions():
            return False
        try:
            return directory.find_scale(labels) is None
        except FixConfiguration:
            # Whoever may not look at scales is told so when the frameworks are read.
            return False

    def read(self) -> Iterator[Found]:
        """Yield every framework that has an ID number."""
        directory = self._context.directory
        rows = [row for row in directory.list_frameworks() if row["idnumber"]]
        labels = directory.labels_of(int(row["scaleid"]) for row in rows)
        for rank, row in enumerate(rows):
            yield Found(
                "framework",
                str(row["idnumber"]),
                {
                    "name": str(row["shortname"]),
                    "description": unwrapped(str(row["description"] or "")),
                    "scale": scale_field(labels[int(row["scaleid"])], row.get("scaleconfiguration")),
                    "visible": bool(row["visible"]),
                },
                str(row["id"]),
                retired=not row["visible"],
                order=rank,
            )

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Make, update and show frameworks, one at a time."""
        done, changes = adopted(changes)
        yield from done
        directory = self._context.directory
        pairs: list[tuple[Change, Call]] = []
        for change in changes:
            fields = after(change)
            arguments: dict[str, Any] = {}
            wanted = set(fields) if change.action is Action.CREATE else set(change.fields)
            if change.action is Action.REVIVE:
                wanted |= {"visible"}
            if "name" in wanted:
                arguments["shortname"] = fields["name"]
            if "description" in wanted:
                arguments |= {"description": fields["description"], "descriptionformat": 1}
            if "visible" in wanted:
                arguments["visible"] = bool(fields.get("visible", True))
            if "scale" in wanted:
                scale = directory.find_scale(labels_in(fields["scale"]))
                if scale is None:
                    yield refused(change, NO_SCALE.format(labels=", ".join(labels_in(fields["scale"]))))
                    continue
                arguments |= {"scaleid": scale, "scaleconfiguration": scale_configuration(scale, fields["scale"])}
            if change.action is Action.CREATE:
                call = Call(CREATE, {"competencyframework": arguments | {"idnumber": change.key} | SYSTEM})
            elif not arguments:
                yield outcome_of(change, Status.APPLIED)
                continue
            else:
                if "description" not in arguments:
                    # Without it Moodle resets the description's format to HTML; that is what ours has.
                    arguments["descriptionformat"] = 1
                call = Call(UPDATE, {"competencyframework": {"id": int(change.lms_id or 0)} | arguments})
            pairs.append((change, call))
        results = self._context.client.write([call for _, call in pairs])
        for (change, _), result in zip(pairs, results, strict=True):
            lms_id = None
            if change.action is Action.CREATE and result.fate is Fate.DONE:
                lms_id = int(result.data["id"])
                directory.frameworks[change.key] = lms_id
            yield settled(change, result, lms_id)
        stopped = stop_in(results)
        if stopped is not None:
            raise stopped

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Hide frameworks; delete those that an undo takes back and that nothing uses."""
        hide = [change for change in changes if not change.erase]
        erase = [change for change in changes if change.erase]
        yield from one_by_one(
            self._context.client,
            [
                (change, Call(UPDATE, {"competencyframework": {"id": int(change.lms_id or 0), "visible": False}}))
                for change in hide
            ],
        )
        kept: list[tuple[Change, Call]] = []
        for change in erase:
            tree = next(iter(self._context.directory.read_trees({change.key})), None)
            if tree is not None and tree.nodes:
                yield refused(
                    change,
                    f"The framework still holds {len(tree.nodes)} competencies, so that it is not deleted. Hide it "
                    "instead.",
                )
                continue
            kept.append((change, Call(DELETE, {"id": int(change.lms_id or 0)})))
        yield from one_by_one(
            self._context.client,
            kept,
            "Moodle does not delete this framework because something in it is in use. Hide it instead.",
        )
