"""Order among siblings: which steps up bring children into the order that the files have.

Moodle can only swap a competency with the neighbour above or below it (contracts/moodle-4.5: move_up_competency). New
and moved competencies come last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from connectors.moodle.directory import Node

MOVE_UP = "core_competency_move_up_competency"
MOVE_DOWN = "core_competency_move_down_competency"


@dataclass(frozen=True, slots=True)
class Wish:
    """A competency that shall come right after another (None: first)."""

    node: int
    previous: int | None


def wanted_order(children: Sequence[Node], wishes: Sequence[Wish], ignored: frozenset[int]) -> list[int]:
    """Return the ids of the children in the order that fulfils the wishes, each after what it is to follow.

    `ignored` are siblings that count for nothing (the Retired node, what has no key): coming between does not matter.
    """
    order = [node.id for node in children]
    pending = {wish.node: wish for wish in wishes}
    while pending:
        ready = [wish for wish in pending.values() if wish.previous not in pending or wish.previous == wish.node]
        for wish in ready or list(pending.values()):
            del pending[wish.node]
            _put(order, wish, ignored)
    return order


def _put(order: list[int], wish: Wish, ignored: frozenset[int]) -> None:
    if wish.node not in order or (wish.previous is not None and wish.previous not in order):
        return
    place = order.index(wish.node)
    before = next((sibling for sibling in reversed(order[:place]) if sibling not in ignored), None)
    if before == wish.previous or wish.previous == wish.node:
        return
    order.remove(wish.node)
    order.insert(0 if wish.previous is None else order.index(wish.previous) + 1, wish.node)


def steps(children: Sequence[Node], order: Sequence[int]) -> list[tuple[str, int]]:
    """Return (function, id) steps, in their sequence, after which the children stand in `order`.

    As few as neighbour swaps allow where the sort orders are sound. Where two children share one (left by parallel
    creation elsewhere) they are pulled apart first. The nodes' own orders are brought along.
    """
    by_id = {node.id: node for node in children}
    taken: list[tuple[str, int]] = []
    if len({node.order for node in children}) < len(children):
        # From the last place to the first: stepping down onto a place pushes off it whoever shares it, and never
        # touches the places after it.
        for place in range(len(order) - 1, 0, -1):
            node = by_id[order[place]]
            if node.order == place and any(other.order == place for other in by_id.values() if other is not node):
                _swap(by_id.values(), node, -1)
                taken.append((MOVE_UP, node.id))
            while node.order < place:
                _swap(by_id.values(), node, 1)
                taken.append((MOVE_DOWN, node.id))
        return taken
    for place, node_id in enumerate(order):
        node = by_id[node_id]
        while any(by_id[other].order <= node.order for other in order[place + 1 :]) and node.order > place:
            _swap(by_id.values(), node, -1)
            taken.append((MOVE_UP, node.id))
    return taken


def _swap(siblings: Iterable[Node], node: Node, step: int) -> None:
    """Do to the orders what Moodle does: take the neighbouring number, and give the own one to who had it."""
    target = node.order + step
    for other in siblings:
        if other.order == target:
            other.order = node.order
    node.order = target
