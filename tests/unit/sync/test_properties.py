"""What holds of any architecture, drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bridge.model import (
    RETIRED,
    Architecture,
    Competency,
    Framework,
    Position,
    RelatedCompetencies,
    Requirement,
    RollUp,
    RollUpRule,
    RuleOutcome,
    Target,
)
from bridge.store import Store
from bridge.sync.policy import Policy, Stance
from tests.contract.conformance import company
from tests.unit.sync.engine import FREE, Here

# Without shrinking and explaining, which would take minutes over a real store: a failing draw is printed as it is.
FEW = settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NAMES = st.sampled_from(["Plans", "Leads", "Writes", "Reads"])


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Draw a tree of up to nine competencies in random order, with relations, rules, positions and requirements."""
    numbers = draw(st.lists(st.integers(0, 11), unique=True, max_size=9))
    parents: dict[int, int | None] = {}
    for place, number in enumerate(sorted(numbers)):
        lower = sorted(numbers)[:place]
        parents[number] = draw(st.sampled_from([None, *lower]))
    turned = draw(st.booleans())
    if turned and len(numbers) > 1:
        # Other numbers on top than in most draws, so that parents and children change places between two draws.
        parents = {number: None if parent is None else parent for number, parent in parents.items()}
        swap = dict(zip(sorted(numbers), sorted(numbers, reverse=True), strict=True))
        parents = {swap[number]: None if parent is None else swap[parent] for number, parent in parents.items()}

    def key(number: int | None) -> str | None:
        return None if number is None else f"F/K{number}"

    competencies = tuple(
        Competency("F", f"K{number}", draw(NAMES), key(parents[number]), draw(st.sampled_from(["", "d"])))
        for number in numbers
    )
    keys = [one.key for one in competencies]
    pairs: list[Any] = []
    if len(keys) > 1:
        pairs = draw(st.lists(st.lists(st.sampled_from(keys), min_size=2, max_size=2, unique=True), max_size=3))
    related = {tuple(sorted(pair)): RelatedCompetencies(*pair) for pair in pairs}
    ruled = sorted({one.parent for one in competencies if one.parent})
    outcome = st.sampled_from(RuleOutcome)
    rules = tuple(RollUpRule(parent, RollUp.ALL, draw(outcome)) for parent in ruled if draw(st.booleans()))
    needed = draw(st.lists(st.sampled_from(keys), max_size=3, unique=True)) if keys else []
    return Architecture(
        scales=company.SCALES,
        frameworks=(Framework("F", draw(NAMES), "THREE"),),
        competencies=competencies,
        rules=rules,
        related=tuple(related.values()),
        positions=(Position("P", draw(NAMES)),),
        requirements=tuple(Requirement(Target.POSITION, "P", one, draw(st.integers(1, 3))) for one in needed),
        given=company.GIVEN,
    )


def living(here: Here) -> dict[tuple[str, str], Any]:
    """Return what the LMS holds apart from what was retired."""
    return {at: one for at, one in here.held().items() if not one[2]}


@given(model=architectures())
@FEW
def test_pushed_twice_anything_writes_nothing_the_second_time(
    new_store: Callable[[], Store], model: Architecture
) -> None:
    """And the plan after it is empty, without drift."""
    here = Here(new_store())
    assert here.push(model).state == "done"
    written = len(here.shelf.writes)
    plan = here.plan(model)
    assert (plan.changes, plan.drifts) == ([], [])
    here.push(model)
    assert len(here.shelf.writes) == written


@given(first=architectures(), second=architectures())
@FEW
def test_any_two_one_after_the_other_end_as_the_second_alone(
    new_store: Callable[[], Store], first: Architecture, second: Architecture
) -> None:
    """Fields, tree, order, relations, rules; but for what is retired, which keeps its place in the attic."""
    here, alone = Here(new_store()), Here(new_store())
    here.push(first)
    assert here.push(second).state == "done"
    alone.push(second)
    assert living(here) == living(alone)
    plan = here.plan(second)
    assert (plan.changes, plan.drifts) == ([], [])
    retired = {key for (kind, key), one in here.held().items() if one[2] and kind == "competency"}
    assert retired == {one.key for one in first.competencies} - {one.key for one in second.competencies}
    assert all(here.shelf.objects["competency", key].parent == f"F/{RETIRED}" for key in retired)


@given(first=architectures(), second=architectures())
@settings(FEW, max_examples=15)
def test_undoing_any_push_ends_as_before_it(
    new_store: Callable[[], Store], first: Architecture, second: Architecture
) -> None:
    """Whatever the second changed; and pushing it again changes nothing until it is released."""
    here = Here(new_store())
    here.push(first)
    before = living(here)
    day = here.push(second)
    if not day.plan.changes:
        return
    assert here.undo(day.run_id).state == "done"
    assert living(here) == before
    here.push(second)
    assert living(here) == before


@given(first=architectures(), second=architectures(), stance=st.sampled_from(Stance))
@FEW
def test_under_any_stance_our_own_changes_all_arrive(
    new_store: Callable[[], Store], first: Architecture, second: Architecture, stance: Stance
) -> None:
    """Where nobody edits in the LMS, respecting edits makes no difference."""
    rules = replace(FREE, policy=Policy(stance))
    here, alone = Here(new_store()), Here(new_store())
    here.push(first, rules)
    here.push(second, rules)
    alone.push(second, rules)
    assert living(here) == living(alone)


@given(first=architectures(), second=architectures())
@FEW
def test_with_the_store_lost_any_push_still_ends_as_desired(
    new_store: Callable[[], Store], first: Architecture, second: Architecture
) -> None:
    """What the lost store had made and the files dropped stays, being nobody's now; everything desired is right."""
    here, alone = Here(new_store()), Here(new_store())
    here.push(first)
    fresh = Here(new_store(), here.shelf)
    fresh.push(second)
    alone.push(second)
    ends = living(fresh)
    for at, one in living(alone).items():
        assert ends[at][:3] == one[:3]
    plan = fresh.plan(second)
    assert (plan.changes, plan.drifts) == ([], [])
