"""Limits are exact, and stances go from the particular to the general."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.ports import Action, Capabilities, Change, KindSpec, Removal, SafetyLimit
from bridge.sync.plan import ChangePlan, check_limits
from bridge.sync.policy import OBJECT_LIMITS, RELATION_LIMITS, Limit, Limits, Policy, Stance, Touch

KINDS = (
    KindSpec("competency", "competency", "competencies", Removal.RETIRE),
    KindSpec("related", "related pair", "related pairs", Removal.UNLINK, relation=True),
)
SITE = Capabilities("x", "1", "x", "x", KINDS)


def plan(base: int = 0, kind: str = "competency", **counts: int) -> ChangePlan:
    """Return a plan of so many changes of each action, over a base of so many objects."""
    changes = [
        Change(kind, f"{action}{number}", Action(action), None, None)
        for action, count in counts.items()
        for number in range(count)
    ]
    return ChangePlan("here", 0.0, changes, base_counts={kind: base}, settled_counts={kind: base})


def refused(found: ChangePlan, limits: Limits) -> str:
    """Return why a plan is refused; empty where it passes."""
    try:
        check_limits(found, SITE, limits)
    except SafetyLimit as error:
        return str(error)
    return ""


@pytest.mark.parametrize("touch", list(Touch))
def test_n_pass_and_one_more_does_not(touch: Touch) -> None:
    """For each way of touching an object."""
    limits = Limits({f"competency.{touch.value}": Limit(5, 100, 0)})
    assert refused(plan(1000, **{touch.value: 5}), limits) == ""
    said = refused(plan(1000, **{touch.value: 6}), limits)
    assert f"{touch.value} competencies: 6 is over the limit of 5" in said
    assert f"--limit competency.{touch.value}=6" in said


@pytest.mark.parametrize(("percent", "base", "most"), [(10, 250, 25), (2.3, 3000, 69), (33.3, 1000, 333), (0, 50, 0)])
def test_a_share_is_exact_too(percent: float, base: int, most: int) -> None:
    """The very share passes, in decimal as it was written; one more does not."""
    limit = Limit(10_000, percent, 0)
    assert limit.exceeded_by(most, base) is None
    assert limit.exceeded_by(most + 1, base) is not None


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(0, 1000))
def test_a_share_in_tenths_of_a_percent_is_whole_arithmetic(tenths: int, base: int, count: int) -> None:
    """No binary fraction decides."""
    broken = Limit(10_000, tenths / 10, 0).exceeded_by(count, base) is not None
    assert broken is (count * 1000 > tenths * base)


def test_shares_do_not_apply_to_an_empty_base_nor_to_a_handful() -> None:
    """The number still does."""
    limit = Limit(50, 10, 3)
    assert limit.exceeded_by(50, 0) is None
    assert limit.exceeded_by(51, 0) is not None
    assert limit.exceeded_by(3, 4) is None
    assert limit.exceeded_by(4, 4) is not None


def test_a_first_load_lifts_creating_and_nothing_else() -> None:
    """Updates, moves and, above all, removals keep their limits."""
    own = {f"competency.{touch.value}": Limit(1, 100, 0) for touch in Touch}
    said = refused(plan(100, create=99, update=2, move=2, remove=2), Limits(own, initial=True))
    assert "create" not in said
    assert all(f"{name} competencies" in said for name in ("update", "move", "remove"))


def test_every_broken_limit_is_named_at_once() -> None:
    """Over all kinds and ways, number and share alike."""
    both = plan(10, create=3, remove=4)
    both.changes += plan(10, "related", remove=5).changes
    both.base_counts["related"] = 10
    own = {
        "competency.create": Limit(2, 10, 0),
        "competency.remove": Limit(3, 90, 0),
        "related.remove": Limit(9, 40, 0),
    }
    said = refused(both, Limits(own))
    assert "create competencies: 3 is over the limit of 2; 3 of 10 is over the limit of 10 %" in said
    assert "remove competencies: 4 is over the limit of 3" in said
    assert "remove related pairs: 5 of 10 is over the limit of 40 %" in said
    assert "Nothing was sent" in said


def test_bringing_back_counts_as_updating_and_adopting_counts_as_nothing() -> None:
    """Adopting writes nothing."""
    own = Limits({f"competency.{touch.value}": Limit(0, 100, 0) for touch in Touch})
    assert "update competencies: 1 " in refused(plan(revive=1), own)
    assert refused(plan(adopt=9), own) == ""


def test_links_have_larger_numbers_and_the_same_finite_end() -> None:
    """There is a limit for everything where nobody set one."""
    for spec in KINDS:
        expected = RELATION_LIMITS if spec.relation else OBJECT_LIMITS
        assert {touch: Limits().limit(spec, touch) for touch in Touch} == dict(expected)
    assert all(RELATION_LIMITS[touch].number > OBJECT_LIMITS[touch].number for touch in Touch)


def test_the_nearest_stance_holds() -> None:
    """Field before kind before default; another kind's says nothing."""
    policy = Policy(Stance.REPORT, {"a": Stance.RESPECT, "a.name": Stance.ENFORCE, "b.name": Stance.RESPECT})
    assert policy.stance("a", "name") is Stance.ENFORCE
    assert policy.stance("a", "other") is Stance.RESPECT
    assert policy.stance("b", "name") is Stance.RESPECT
    assert policy.stance("b", "other") is Stance.REPORT
