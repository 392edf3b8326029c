"""Steps that bring siblings into order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.moodle.directory import Node
from connectors.moodle.placement import MOVE_UP, Wish, steps, wanted_order


def children(orders: list[int]) -> list[Node]:
    """Return siblings with these sort orders, ids from 1."""
    nodes = [
        Node(place, f"K{place}", "", "", 1, 0, order, None, None, None, 0, None)
        for place, order in enumerate(orders, start=1)
    ]
    return sorted(nodes, key=lambda node: (node.order, node.id))


def carried_out(orders: list[int], taken: list[tuple[str, int]]) -> list[int]:
    """Do the steps as Moodle would; return ids in the resulting order."""
    state = dict(enumerate(orders, start=1))
    for function, node in taken:
        target = state[node] + (-1 if function == MOVE_UP else 1)
        assert 0 <= target < len(state), "Moodle would answer false"
        for other in state:
            if state[other] == target:
                state[other] = state[node]
        state[node] = target
    assert len(set(state.values())) == len(state), "sort orders are told apart"
    return sorted(state, key=lambda node: state[node])


@given(st.permutations(range(1, 8)))
def test_sound_orders_take_as_many_steps_as_there_are_inversions(order: list[int]) -> None:
    """Neighbour swaps cannot do it in fewer."""
    taken = steps(children(list(range(7))), order)
    inversions = sum(order[a] > order[b] for a in range(7) for b in range(a + 1, 7))
    assert len(taken) == inversions
    assert carried_out(list(range(7)), taken) == list(order)


@given(st.lists(st.integers(0, 5), min_size=6, max_size=6), st.permutations(range(1, 7)))
def test_doubled_orders_are_told_apart_and_sorted(orders: list[int], order: list[int]) -> None:
    """Whatever parallel creation left behind ends in the wanted order."""
    if len(set(orders)) < 6:
        assert carried_out(orders, steps(children(orders), order)) == list(order)


def test_wishes_are_granted_in_chains_and_strangers_do_not_matter() -> None:
    """A wish to follow something that itself moves waits for it; the Retired node between is no reason to move."""
    rows = children([0, 1, 2, 3])
    assert wanted_order(rows, [Wish(4, 2)], frozenset({3})) == [1, 2, 3, 4]
    assert wanted_order(rows, [Wish(1, 4), Wish(4, None)], frozenset()) == [4, 1, 2, 3]
    assert wanted_order(rows, [Wish(9, 1), Wish(2, 8)], frozenset()) == [1, 2, 3, 4]
