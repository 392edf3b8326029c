"""Changes to the shape of a competency tree: moves, order, retirement, deletion. One writer, one step after another.

Parallel moves deadlock and leave wrong paths (contracts/moodle-4.5, Concurrency), a move into an own descendant
promotes the children, and any change among children clears the parent's rule: so moves are sequenced, checked against
the tree as it stands, and rules are given back at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bridge.ports import Action, BridgeError, Change, Outcome, Status, StopRun, Value, outcome_of
from connectors.moodle.client import Call, Fate, Result
from connectors.moodle.directory import Node, Tree, good
from connectors.moodle.kinds import Context, not_sent, refused, settled, stop_in
from connectors.moodle.placement import Wish, steps, wanted_order

CREATE = "core_competency_create_competency"
UPDATE = "core_competency_update_competency"
DELETE = "core_competency_delete_competency"
MOVE = "core_competency_set_parent_competency"
COURSES_USING = "tool_lp_list_courses_using_competency"
TEMPLATES_USING = "core_competency_list_templates_using_competency"

IN_USE = (
    "Moodle does not delete this competency because somebody was rated in it, or a course, template or plan uses it. "
    "Retire it instead."
)


class Restructuring:
    """Work on the trees of some frameworks. Outcomes that depend on the order are told by `finish`."""

    def __init__(self, context: Context, trees: dict[str, Tree]) -> None:
        self._context = context
        self.trees = trees
        self._fresh = {(key, 0) for key, tree in trees.items() if not tree.children(0)}
        self._wishes: dict[tuple[str, int], list[tuple[Change, int]]] = {}
        self._touched: dict[tuple[str, int], list[Change]] = {}
        self._held: dict[str, Outcome] = {}
        self._stopped: StopRun | None = None

    # --- Creation --------------------------------------------------------------------------------------------------

    def created(self, change: Change, node: Node) -> bool:
        """Take in a new competency; says whether its outcome waits for its place among siblings that were there."""
        key = self._framework(change)
        tree = self.trees.get(key)
        if tree is None:
            return False
        tree.add(node)
        self._fresh.add((key, node.id))
        self._touch(key, node.parent, change)
        if (key, node.parent) in self._fresh or not change.ordered:
            return False
        self._wishes.setdefault((key, node.parent), []).append((change, node.id))
        return True

    def hold(self, outcome: Outcome) -> None:
        """Keep an outcome until the order is settled."""
        self._held[outcome.key] = outcome

    # --- Moves -----------------------------------------------------------------------------------------------------

    def move(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Move and revive competencies, never into an own descendant."""
        open_moves: list[tuple[Change, Tree, Node, int]] = []
        parents = self._context.directory.competency_ids({change.parent for change in changes if change.parent})
        for change in changes:
            found = self._find(change)
            if found is None:
                yield refused(change, "This competency is no longer in Moodle. A new plan will see it as it is.")
                continue
            tree, node = found
            if change.parent and change.parent not in parents:
                yield not_sent(change, f"The competency it moves under, {change.parent!r}, is not in Moodle (yet).")
                continue
            target = parents[change.parent] if change.parent else 0
            if target and target not in tree.nodes:
                yield refused(
                    change,
                    "It would move into another framework, which Moodle cannot do. Retire it and make a new one.",
                )
                continue
            if node.parent == target:
                yield from self._moved(change, tree, node)
            else:
                open_moves.append((change, tree, node, target))
        yield from self._sequence(open_moves)

    def _sequence(self, open_moves: list[tuple[Change, Tree, Node, int]]) -> Iterator[Outcome]:
        while open_moves and self._stopped is None:
            legal = [entry for entry in open_moves if not entry[1].is_under(entry[3], entry[2].id)]
            if not legal:
                # They go round in a circle: one of them steps aside to the top first.
                change, tree, node, _ = open_moves[0]
                result = self._write([Call(MOVE, {"competencyid": node.id, "parentid": 0})])[0]
                if result.fate is not Fate.DONE:
                    open_moves.pop(0)
                    yield settled(change, result)
                    continue
                self._touch(tree.key, node.parent, change)
                tree.moved(node.id, 0)
                continue
            batch: list[tuple[Change, Tree, Node, int]] = []
            targets: set[int] = set()
            movers: set[int] = set()
            for entry in legal:
                _, tree, node, target = entry
                # Within a request no target may lie under something that moves in it: then the sequence is safe
                # whichever of its steps fail.
                if any(tree.is_under(target, mover) for mover in movers) or any(
                    other and tree.is_under(other, node.id) for other in targets
                ):
                    continue
                batch.append(entry)
                targets.add(target)
                movers.add(node.id)
                if len(batch) >= self._context.options.batch_size:
                    break
            results = self._write([Call(MOVE, {"competencyid": n.id, "parentid": p}) for _, _, n, p in batch])
            for entry, result in zip(batch, results, strict=True):
                change, tree, node, target = entry
                open_moves.remove(entry)
                if result.fate is Fate.DONE:
                    self._touch(tree.key, node.parent, change)
                    tree.moved(node.id, target)
                    self._touch(tree.key, target, change)
                    yield from self._moved(change, tree, node)
                else:
                    yield settled(change, result)
                    if result.fate is Fate.UNKNOWN:
                        self._stopped = self._stopped or StopRun(result.why)
        for change, _, _, _ in open_moves:
            yield not_sent(change, str(self._stopped))

    def _moved(self, change: Change, tree: Tree, node: Node) -> Iterator[Outcome]:
        why = self._relink(change, node) if change.action is Action.REVIVE else ""
        outcome = outcome_of(change, Status.APPLIED, why, str(node.id))
        if change.ordered:
            self._wishes.setdefault((tree.key, node.parent), []).append((change, node.id))
            self.hold(outcome)
        else:
            yield outcome

    def _relink(self, change: Change, node: Node) -> str:
        """Give a revived competency back the links that its retirement cut; says what could not be given back."""
        calls: list[Call] = []
        calls += [
            Call("core_competency_add_competency_to_course", {"courseid": course, "competencyid": node.id})
            for course, _ in _pairs(change.detail.get("courses"))
        ]
        calls += [
            Call("core_competency_add_competency_to_template", {"templateid": template, "competencyid": node.id})
            for template in _numbers(change.detail.get("templates"))
        ]
        if not calls:
            return ""
        lost = [result for result in self._write(calls) if result.fate is not Fate.DONE]
        try:
            lost += self._outcomes_again(_pairs(change.detail.get("courses")), node)
        except BridgeError as error:
            # It is moved, and that has to be told; what its courses do on completion shows in the next plan.
            return f"What its courses do to it on completion could not be looked up: {error}"
        return f"{len(lost)} of its former links could not be given back: {lost[0].why}" if lost else ""

    def _outcomes_again(self, courses: Sequence[tuple[int, int]], node: Node) -> list[Result]:
        links = self._course_links({course for course, _ in courses})
        calls = [
            Call(
                "core_competency_set_course_competency_ruleoutcome",
                {"coursecompetencyid": links[course, node.id][0], "ruleoutcome": outcome},
            )
            for course, outcome in courses
            if (course, node.id) in links and links[course, node.id][1] != outcome
        ]
        return [result for result in self._write(calls) if result.fate is not Fate.DONE] if calls else []

    # --- Retirement ------------------------------------------------------------------------------------------------

    def retire(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Cut links and move under the Retired node. Children that retire as well stay with their parent."""
        found: list[tuple[Change, Tree, Node]] = []
        for change in changes:
            place = self._find(change)
            if place is None:
                yield outcome_of(change, Status.APPLIED, "It was no longer in Moodle.")
            else:
                found.append((change, *place))
        if not found:
            return
        bins, problems = self._bins({tree.key: tree for _, tree, _ in found})
        going = {node.id for _, _, node in found}
        cut = self._cut_links([node for _, _, node in found])
        for start in range(0, len(found), self._context.options.batch_size):
            chunk = found[start : start + self._context.options.batch_size]
            movers = [
                (change, tree, node)
                for change, tree, node in chunk
                if tree.key in bins and node.parent not in going and node.parent != bins[tree.key]
            ]
            results = dict(
                zip(
                    (change.key for change, _, _ in movers),
                    self._write([Call(MOVE, {"competencyid": n.id, "parentid": bins[t.key]}) for _, t, n in movers]),
                    strict=True,
                )
            )
            for change, tree, node in chunk:
                if tree.key not in bins:
                    yield settled(change, problems[tree.key])
                    continue
                links, failed = cut[node.id]
                detail: dict[str, Value] = {"parent": node.parent, **links}
                others = [c for c in tree.children(node.id) if c.id not in going]
                notes = list(failed)
                if others:
                    notes.append(f"{len(others)} competencies under it that are not ours went along with it.")
                result = results.get(change.key, Result(Fate.DONE))
                if result.fate is Fate.DONE:
                    if change.key in results:
                        self._touch(tree.key, node.parent, change)
                        tree.moved(node.id, bins[tree.key])
                    yield outcome_of(change, Status.APPLIED, " ".join(notes), str(node.id), detail)
                else:
                    yield settled(change, result, node.id, detail)

    def _bins(self, trees: Mapping[str, Tree]) -> tuple[dict[str, int], dict[str, Result]]:
        """Return the Retired node of each framework, made where it is missing, and what went wrong."""
        options = self._context.options
        bins: dict[str, int] = {}
        problems: dict[str, Result] = {}
        for key, tree in trees.items():
            node = tree.find(options.retired_idnumber)
            if node is not None:
                bins[key] = node.id
                continue
            call = Call(
                CREATE,
                {
                    "competency": {
                        "shortname": options.retired_name,
                        "idnumber": options.retired_idnumber,
                        "description": "<p>Competencies that are no longer in use, kept for their history.</p>",
                        "descriptionformat": 1,
                        "parentid": 0,
                        "competencyframeworkid": tree.framework,
                    }
                },
            )
            result = self._write([call])[0]
            if result.fate is Fate.DONE:
                made = Node.of(result.data)
                tree.add(made)
                bins[key] = made.id
            else:
                problems[key] = result
        return bins, problems

    def _cut_links(self, nodes: Sequence[Node]) -> dict[int, tuple[dict[str, Value], list[str]]]:
        """Cut courses and templates off competencies; returns what was cut, and what could not be."""
        functions = self._context.client.functions()
        out: dict[int, tuple[dict[str, Value], list[str]]] = {node.id: ({}, []) for node in nodes}
        calls: list[tuple[int, str, int, Call]] = []
        outcomes: dict[tuple[int, int], tuple[int, int]] = {}
        if COURSES_USING in functions:
            using = self._using(COURSES_USING, nodes)
            outcomes = self._course_links({course for courses in using.values() for course in courses})
            for node_id, courses in using.items():
                for course in courses:
                    arguments = {"courseid": course, "competencyid": node_id}
                    calls.append(
                        (node_id, "courses", course, Call("core_competency_remove_competency_from_course", arguments))
                    )
        if TEMPLATES_USING in functions:
            for node_id, templates in self._using(TEMPLATES_USING, nodes).items():
                for template in templates:
                    arguments = {"templateid": template, "competencyid": node_id}
                    calls.append(
                        (
                            node_id,
                            "templates",
                            template,
                            Call("core_competency_remove_competency_from_template", arguments),
                        )
                    )
        for (node_id, what, other, _), result in zip(
            calls, self._write([call for _, _, _, call in calls]), strict=True
        ):
            links, failed = out[node_id]
            if result.fate is not Fate.DONE:
                failed.append(f"It stays linked to one of its {what}: {result.why}")
            elif what == "courses":
                entry = (other, outcomes.get((other, node_id), (0, 0))[1])
                links["courses"] = (*_pairs(links.get("courses")), entry)
            else:
                links["templates"] = (*_numbers(links.get("templates")), other)
        return out

    def _using(self, function: str, nodes: Sequence[Node]) -> dict[int, list[int]]:
        answers = self._context.client.read_many([Call(function, {"id": node.id}) for node in nodes])
        return {node.id: [int(row["id"]) for row in good(answer)] for node, answer in zip(nodes, answers, strict=True)}

    def _course_links(self, courses: set[int]) -> dict[tuple[int, int], tuple[int, int]]:
        """Return (link id, outcome) by (course, competency) for some courses."""
        asked = sorted(courses)
        links: dict[tuple[int, int], tuple[int, int]] = {}
        answers = self._context.client.read_many(
            [Call("core_competency_list_course_competencies", {"id": course}) for course in asked]
        )
        for course, answer in zip(asked, answers, strict=True):
            for row in good(answer):
                link = row["coursecompetency"]
                links[course, int(link["competencyid"])] = (int(link["id"]), int(link["ruleoutcome"]))
        return links

    # --- Deletion --------------------------------------------------------------------------------------------------

    def erase(self, changes: Sequence[Change], *, fall_back: bool) -> Iterator[Outcome]:
        """Delete competencies, deepest first; never one that has children which stay.

        With `fall_back` what cannot be deleted is retired instead.
        """
        found: list[tuple[Change, Tree, Node]] = []
        for change in changes:
            place = self._find(change)
            if place is None:
                yield outcome_of(change, Status.APPLIED, "It was no longer in Moodle.")
            else:
                found.append((change, *place))
        going = {node.id for _, _, node in found}
        stays = {node.id for _, tree, node in found if _has_foreigner(tree, node.id, going)}
        left: list[Change] = []
        queue = sorted(
            ((c, t, n) for c, t, n in found if n.id not in stays), key=lambda entry: -_depth(entry[1], entry[2].id)
        )
        for change, _, node in found:
            if node.id in stays:
                if fall_back:
                    left.append(change)
                else:
                    yield refused(
                        change, "There are competencies under it that are not ours, so that it is not deleted."
                    )
        results = self._write([Call(DELETE, {"id": node.id}) for _, _, node in queue])
        for (change, tree, node), result in zip(queue, results, strict=True):
            if result.fate is Fate.DONE and result.data is False:
                if fall_back:
                    left.append(change)
                else:
                    yield refused(change, IN_USE)
                continue
            if result.fate is Fate.DONE:
                self._touch(tree.key, node.parent, change)
                if node.id in tree.nodes:
                    tree.removed(node.id)
                self._context.directory.competencies.pop(change.key, None)
            yield settled(change, result)
        if left:
            yield from self.retire(left)

    # --- The end ---------------------------------------------------------------------------------------------------

    def finish(self) -> Iterator[Outcome]:
        """Put siblings in order, give rules back, and tell the outcomes that waited for it; then raises StopRun."""
        notes = self._place() if self._stopped is None else {}
        for key, why in (self._restore_rules() if self._stopped is None else {}).items():
            notes[key] = f"{notes[key]} {why}" if key in notes else why
        for outcome in self._held.values():
            why = " ".join(part for part in (outcome.why, notes.get(outcome.key, "")) if part)
            yield replace(outcome, why=why)
        self._held.clear()
        if self._stopped is not None:
            raise self._stopped

    def break_off(self) -> Iterator[Outcome]:
        """Tell the outcomes that waited for the order, which is not settled any more in this run."""
        for outcome in self._held.values():
            yield replace(outcome, why=f"{outcome.why} It may not stand in its place among its siblings yet.".strip())
        self._held.clear()

    def _place(self) -> dict[str, str]:
        notes: dict[str, str] = {}
        directory = self._context.directory
        for (key, parent), wishes in self._wishes.items():
            tree = self.trees[key]
            children = tree.children(parent)
            by_key = {change.key: change for change, _ in wishes}
            present = {node.id for node in children}
            asked = []
            for change, node_id in wishes:
                previous = change.previous
                while previous is not None and directory.competencies.get(previous) not in present:
                    # A sibling that did not come is passed over: what it was to follow is followed instead.
                    previous = by_key[previous].previous if previous in by_key else None
                asked.append(Wish(node_id, None if previous is None else directory.competencies[previous]))
            bin_node = tree.find(self._context.options.retired_idnumber)
            ignored = frozenset(
                node.id for node in children if not node.idnumber or (bin_node is not None and node.id == bin_node.id)
            )
            order = wanted_order(children, asked, ignored)
            if order == [node.id for node in children]:
                continue
            results = self._write([Call(function, {"id": node_id}) for function, node_id in steps(children, order)])
            failed = next((result for result in results if result.fate is not Fate.DONE), None)
            if failed is not None:
                for change, _ in wishes:
                    notes[change.key] = f"It may not stand in its place among its siblings: {failed.why}"
        return notes

    def _touch(self, framework: str, parent: int, change: Change) -> None:
        node = self.trees[framework].nodes.get(parent)
        if node is not None and node.rule_type:
            self._touched.setdefault((framework, parent), []).append(change)

    def _restore_rules(self) -> dict[str, str]:
        """Give rules back that Moodle cleared because a child came, went or moved."""
        notes: dict[str, str] = {}
        places = [(key, node_id) for key, node_id in self._touched if node_id in self.trees[key].nodes]
        calls = [_rule_call(self.trees[key].nodes[node_id]) for key, node_id in places]
        for place, result in zip(places, self._write(calls), strict=True):
            if result.fate is Fate.DONE:
                continue
            name = self.trees[place[0]].nodes[place[1]].name
            for change in self._touched[place]:
                notes[change.key] = f"The roll-up rule of {name!r} was cleared by it and not given back: {result.why}"
        return notes

    def _write(self, calls: Sequence[Call]) -> list[Result]:
        if not calls:
            return []
        if self._stopped is not None:
            return [Result(Fate.NOT_SENT, error=self._stopped)] * len(calls)
        results = self._context.client.write(calls)
        self._stopped = stop_in(results)
        return results

    def _framework(self, change: Change) -> str:
        return self._context.directory.framework_of(change.key)

    def _find(self, change: Change) -> tuple[Tree, Node] | None:
        tree = self.trees.get(self._framework(change))
        if tree is None:
            return None
        node = tree.nodes.get(int(change.lms_id)) if change.lms_id else None
        if node is None:
            node = tree.find(change.key[len(tree.key) + 1 :])
        return None if node is None else (tree, node)


def _rule_call(node: Node) -> Call:
    rule: dict[str, Any] = {
        "id": node.id,
        "descriptionformat": node.format,
        "ruletype": node.rule_type,
        "ruleoutcome": node.rule_outcome,
    }
    if node.rule_config:
        rule["ruleconfig"] = node.rule_config
    return Call(UPDATE, {"competency": rule})


def _has_foreigner(tree: Tree, node_id: int, going: set[int]) -> bool:
    return any(child.id not in going or _has_foreigner(tree, child.id, going) for child in tree.children(node_id))


def _depth(tree: Tree, node_id: int) -> int:
    depth = 0
    while node_id in tree.nodes and depth < len(tree.nodes):
        node_id = tree.nodes[node_id].parent
        depth += 1
    return depth


def _pairs(value: Any) -> tuple[tuple[int, int], ...]:
    """Return (id, outcome) pairs out of a detail, which may come back from JSON as lists."""
    return tuple((int(entry[0]), int(entry[1])) for entry in value or ())


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(int(entry) for entry in value or ())
