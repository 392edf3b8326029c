"""What stands where in Moodle: ids by key, and the competency trees as they are while we change them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.model import competency_key
from bridge.ports import BridgeError, SkipItem, StopRun
from connectors.moodle.client import Call, MoodleClient
from connectors.moodle.text import fold, unescaped, unwrapped

SYSTEM = {"contextlevel": "system", "instanceid": 0}
"""Moodle's context of the whole site; ids of contexts differ from site to site."""

LIST_FRAMEWORKS = "core_competency_list_competency_frameworks"
GET_COURSES = "core_course_get_courses"
COURSES_BY_FIELD = "core_course_get_courses_by_field"
LIST_COMPETENCIES = "core_competency_list_competencies"
SCALE_VALUES = "core_competency_get_scale_values"


@dataclass(slots=True)
class Node:
    """A competency as it stands in Moodle."""

    id: int
    idnumber: str
    name: str
    description: str
    format: int
    parent: int
    order: int
    scale: int | None
    scale_configuration: str | None
    rule_type: str | None
    rule_outcome: int
    rule_config: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Node:
        """Return the node that a row of list_competencies or the answer to a create states."""
        return cls(
            int(row["id"]),
            str(row["idnumber"]),
            str(row["shortname"]),
            unwrapped(str(row["description"] or "")),
            int(row["descriptionformat"]),
            int(row["parentid"] or 0),
            int(row["sortorder"]),
            None if row.get("scaleid") is None else int(row["scaleid"]),
            row.get("scaleconfiguration"),
            row.get("ruletype") or None,
            int(row.get("ruleoutcome") or 0),
            row.get("ruleconfig"),
        )


class Tree:
    """The competencies of one framework, kept true while moves and creations are carried out."""

    def __init__(self, framework: int, key: str, rows: Iterable[Mapping[str, Any]]) -> None:
        self.framework = framework
        self.key = key
        self.nodes: dict[int, Node] = {}
        self._by_idnumber: dict[str, int] = {}
        self._children: dict[int, list[int]] = {}
        for row in rows:
            self.add(Node.of(row))

    def add(self, node: Node) -> None:
        """Take in a competency."""
        self.nodes[node.id] = node
        self._children.setdefault(node.parent, []).append(node.id)
        if node.idnumber:
            self._by_idnumber[fold(node.idnumber)] = node.id

    def find(self, idnumber: str) -> Node | None:
        """Return the competency with an ID number, compared as Moodle compares."""
        found = self._by_idnumber.get(fold(idnumber))
        return None if found is None else self.nodes[found]

    def children(self, parent: int) -> list[Node]:
        """Return the children of a competency (0: of the framework), in their order."""
        rows = [self.nodes[child] for child in self._children.get(parent, ())]
        return sorted(rows, key=lambda node: (node.order, node.id))

    def moved(self, node_id: int, parent: int) -> None:
        """Take note of a move: the competency is now the last child of another parent."""
        node = self.nodes[node_id]
        self._children[node.parent].remove(node_id)
        for sibling in self.children(node.parent):
            # Moodle closes the gap that a leaving sibling makes.
            if sibling.order > node.order:
                sibling.order -= 1
        # Moodle numbers a newcomer by how many siblings it finds.
        node.order = len(self._children.get(parent, ()))
        node.parent = parent
        self._children.setdefault(parent, []).append(node_id)

    def removed(self, node_id: int) -> None:
        """Take note of a deletion."""
        node = self.nodes.pop(node_id)
        self._children[node.parent].remove(node_id)
        self._by_idnumber.pop(fold(node.idnumber), None)

    def is_under(self, node_id: int, above: int) -> bool:
        """Say whether a competency is another one, or lies anywhere under it."""
        seen: set[int] = set()
        while node_id and node_id not in seen:
            if node_id == above:
                return True
            seen.add(node_id)
            node = self.nodes.get(node_id)
            if node is None:
                return False
            node_id = node.parent
        return False

    def walk(self, parent: int = 0) -> Iterator[tuple[Node, int]]:
        """Yield each competency with its rank among its siblings, parents before children."""
        stack = [(node, rank) for rank, node in reversed(list(enumerate(self.children(parent))))]
        while stack:
            node, rank = stack.pop()
            yield node, rank
            stack += [(child, place) for place, child in reversed(list(enumerate(self.children(node.id))))]


@dataclass(slots=True)
class Directory:
    """Ids by key, learnt by reading and by writing, shared by all kinds."""

    client: MoodleClient
    frameworks: dict[str, int] = field(default_factory=dict)
    competencies: dict[str, int] = field(default_factory=dict)
    templates: dict[str, int] = field(default_factory=dict)
    courses: dict[str, int] = field(default_factory=dict)
    wanted_courses: set[str] = field(default_factory=set)
    """Keys of courses that the files or a pull speak of."""
    scale_labels: dict[int, tuple[str, ...] | None] = field(default_factory=dict)
    framework_rank: dict[str, int] = field(default_factory=dict)
    """Order of the frameworks in the files, as the last translation saw it."""
    framework_rows: list[Mapping[str, Any]] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    # --- Frameworks ------------------------------------------------------------------------------------------------

    def list_frameworks(self) -> list[Mapping[str, Any]]:
        """Read all frameworks of the site context."""
        rows = self.client.read(Call(LIST_FRAMEWORKS, {"context": SYSTEM, "includes": "self"}, raw=True))
        self._frameworks_read(rows)
        return list(rows)

    def _frameworks_read(self, rows: list[Mapping[str, Any]]) -> None:
        self.framework_rows = rows
        self.frameworks = {str(row["idnumber"]): int(row["id"]) for row in rows if row["idnumber"]}

    def framework_id(self, key: str) -> int | None:
        """Return a framework's id; None where Moodle has none with this key."""
        if key not in self.frameworks:
            self.list_frameworks()
        return self.frameworks.get(key)

    def framework_of(self, key: str) -> str:
        """Return the framework's key that begins a competency's key; the longest where several do."""
        fits = [framework for framework in self.frameworks if key.startswith(competency_key(framework, ""))]
        return max(fits, key=len) if fits else key.partition("/")[0]

    # --- Competencies ----------------------------------------------------------------------------------------------

    def read_trees(self, only: Iterable[str] | None = None) -> list[Tree]:
        """Read the competencies of all keyed frameworks, or of some, in as few requests as can be."""
        wanted = None if only is None else set(only)
        known = dict(self.frameworks)
        if (wanted is not None and not wanted <= known.keys()) or (
            wanted is None and (not known or not self.client.can_batch())
        ):
            self.list_frameworks()
            known = dict(self.frameworks)
        asked = {key: id_ for key, id_ in known.items() if wanted is None or key in wanted}
        fresh = wanted is None and self.client.can_batch() and bool(asked)
        calls = [Call(LIST_FRAMEWORKS, {"context": SYSTEM, "includes": "self"}, raw=True)] if fresh else []
        calls += [_competencies_of(id_) for id_ in asked.values()]
        answers = list(self.client.read_many(calls))
        if fresh:
            rows = good(answers.pop(0))
            self._frameworks_read(rows)
            gone = asked.keys() - self.frameworks.keys()
            new = {key: id_ for key, id_ in self.frameworks.items() if asked.get(key) != id_}
        else:
            gone, new = set(), {}
        trees: dict[str, Tree] = {}
        for (key, id_), answer in zip(asked.items(), answers, strict=True):
            if key in gone or key in new:
                continue
            trees[key] = Tree(id_, key, good(answer))
        if new:
            for (key, id_), answer in zip(
                new.items(), self.client.read_many([_competencies_of(id_) for id_ in new.values()]), strict=True
            ):
                trees[key] = Tree(id_, key, good(answer))
        for tree in trees.values():
            self.remember(tree)
        return [trees[key] for key in self.frameworks if key in trees]

    def remember(self, tree: Tree) -> None:
        """Take the ids of a tree in."""
        for node in tree.nodes.values():
            if node.idnumber:
                self.competencies[competency_key(tree.key, node.idnumber)] = node.id

    def competency_ids(self, keys: Iterable[str]) -> dict[str, int]:
        """Return the ids of competencies that exist; frameworks that are not known yet are read for it."""
        wanted = set(keys)
        missing = {key for key in wanted if key not in self.competencies}
        if missing:
            if not self.frameworks:
                self.list_frameworks()
            self.read_trees({self.framework_of(key) for key in missing} & self.frameworks.keys())
        return {key: self.competencies[key] for key in wanted if key in self.competencies}

    # --- Courses ---------------------------------------------------------------------------------------------------

    def list_courses(self) -> dict[int, str]:
        """Read all courses; returns keys by id: the ID number, or the short name of a course without one.

        Moodle shows ID numbers only to who may change the course (observed: `core_course_get_courses` without
        moodle/course:update leaves the field out), but finds a course by it for anybody: those that are spoken of are
        asked for by their ID numbers.
        """
        rows = self.client.read(Call(GET_COURSES, {}, raw=True))
        rows = [row for row in rows if row.get("format") != "site"]
        keys = {int(row["id"]): str(row.get("idnumber") or row["shortname"]) for row in rows}
        by_name = {str(row["shortname"]): int(row["id"]) for row in rows}
        if any("idnumber" not in row for row in rows) and COURSES_BY_FIELD in self.client.functions():
            asked = sorted(self.wanted_courses - by_name.keys())
            answers = self.client.read_many(
                [Call(COURSES_BY_FIELD, {"field": "idnumber", "value": key}) for key in asked]
            )
            for key, answer in zip(asked, answers, strict=True):
                for row in good(answer)["courses"]:
                    keys[int(row["id"])] = key
        self.courses = by_name | {key: id_ for id_, key in keys.items()}
        return keys

    # --- Scales ----------------------------------------------------------------------------------------------------

    def labels_of(self, scales: Iterable[int]) -> dict[int, tuple[str, ...] | None]:
        """Return the item labels of scales by id, None for an id that is no scale; asked once each."""
        wanted = list(dict.fromkeys(scales))
        unknown = [scale for scale in wanted if scale not in self.scale_labels]
        if unknown:
            answers = self.client.read_many([Call(SCALE_VALUES, {"scaleid": scale}, raw=True) for scale in unknown])
            for scale, answer in zip(unknown, answers, strict=True):
                if isinstance(answer, BridgeError) and not isinstance(answer, SkipItem):
                    raise answer
                # An unknown id makes Moodle fail with an unnamed error (contracts/moodle-4.5: "unknown scale").
                self.scale_labels[scale] = (
                    None if isinstance(answer, BridgeError) else tuple(unescaped(str(item["name"])) for item in answer)
                )
        return {scale: self.scale_labels[scale] for scale in wanted}

    def find_scale(self, labels: tuple[str, ...]) -> int | None:
        """Return the id of a scale with these items; frameworks' scales first, then ids from 1 on."""
        rows = self.framework_rows if self.framework_rows is not None else self.list_frameworks()
        self.labels_of(int(row["scaleid"]) for row in rows)
        found = self._known_scale(labels)
        start, unknown = 1, 0
        step = self.client.options.scale_probe
        while found is None and unknown < step:
            answers = self.labels_of(range(start, start + step))
            for scale in sorted(answers):
                unknown = 0 if answers[scale] is not None else unknown + 1
            start += step
            found = self._known_scale(labels)
        return found

    def _known_scale(self, labels: tuple[str, ...]) -> int | None:
        return min((scale for scale, known in self.scale_labels.items() if known == labels), default=None)


def _competencies_of(framework: int) -> Call:
    return Call(
        LIST_COMPETENCIES,
        {"filters": [{"column": "competencyframeworkid", "value": framework}], "sort": "id", "order": "ASC"},
        raw=True,
    )


def good(answer: Any) -> Any:
    """Return an answer that a reading cannot do without. Raises StopRun where an error stands in its place: taken as
    *nothing there* it would lead to wrong changes."""
    if isinstance(answer, BridgeError):
        raise StopRun(str(answer))
    return answer


def scale_field(labels: tuple[str, ...] | None, configuration: str | None) -> tuple[tuple[str, bool, bool], ...]:
    """Return a scale as a field: (label, proficient, default) from the lowest item upwards."""
    proficient: set[int] = set()
    default: set[int] = set()
    try:
        entries = json.loads(configuration or "[]")
    except ValueError:
        entries = []
    for entry in entries:
        if isinstance(entry, dict) and "id" in entry:
            if int(entry.get("proficient") or 0):
                proficient.add(int(entry["id"]))
            if int(entry.get("scaledefault") or 0):
                default.add(int(entry["id"]))
    names = labels or ()
    return tuple((name, place in proficient, place in default) for place, name in enumerate(names, start=1))


def scale_configuration(scale_id: int, field_value: Any) -> str:
    """Return Moodle's JSON for a scale's proficient and default items (contracts/moodle-4.5)."""
    entries: list[dict[str, Any]] = [{"scaleid": str(scale_id)}]
    for place, (_, proficient, default) in enumerate(field_value, start=1):
        if proficient or default:
            entries.append({"id": place, "scaledefault": int(default), "proficient": int(proficient)})
    return json.dumps(entries)
