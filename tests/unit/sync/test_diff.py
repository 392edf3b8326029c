"""The three-way comparison: every meeting of base, desired and actual, and whose doing a difference is."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.ports import Action, Change, Found, Item, KindSpec, Removal, Severity
from bridge.store.encoding import dump_change, load_change
from bridge.store.state import Base
from bridge.sync.apply import base_after
from bridge.sync.diff import ORDER, PARENT, PRESENCE, KindDiff, Sides, diff_kind
from bridge.sync.policy import Policy, Stance

TREE = KindSpec("competency", "competency", "competencies", Removal.RETIRE, tree=True, ordered=True)
FLAT = KindSpec("position", "position", "positions", Removal.HIDE)
LINK = KindSpec("related", "related pair", "related pairs", Removal.UNLINK, relation=True)
GONE = "the retired"

ENFORCE, RESPECT, REPORT = Policy(), Policy(Stance.RESPECT), Policy(Stance.REPORT)


def item(key: str, name: str = "A", parent: str | None = None, **fields: Any) -> Item:
    """Return what is desired."""
    return Item("competency", key, {"name": name, **fields}, parent)


def base(key: str, name: str = "A", parent: str | None = None, place: int = 0, **more: Any) -> Base:
    """Return what was last applied."""
    retired = more.pop("retired", False)
    return Base("competency", key, {"name": name, **more}, parent, place, f"id-{key}", retired)


def found(key: str, name: str = "A", parent: str | None = None, order: int = 0, **more: Any) -> Found:
    """Return what the LMS holds."""
    retired = more.pop("retired", False)
    return Found("competency", key, {"name": name, **more}, f"id-{key}", GONE if retired else parent, retired, order)


def compare(
    desired: list[Item],
    bases: list[Base],
    actual: list[Found] | None,
    policy: Policy = ENFORCE,
    *,
    spec: KindSpec = TREE,
    complete: bool = True,
    untouchable: set[str] | None = None,
) -> KindDiff:
    """Compare three lists."""
    seen = None if actual is None else {one.key: one for one in actual}
    wanted, known = {one.key: one for one in desired}, {one.key: one for one in bases}
    return diff_kind(Sides(spec, wanted, known, seen, complete, untouchable or set()), policy)


def did(result: KindDiff) -> list[tuple[Action, str]]:
    """Return action and key of each change."""
    return [(change.action, change.key) for change in result.changes]


def drifted(result: KindDiff) -> list[tuple[str, str]]:
    """Return key and field of each drift."""
    return [(drift.key, drift.field) for drift in result.drifts]


def only(result: KindDiff) -> Change:
    """Return the one change there is."""
    assert len(result.changes) == 1
    return result.changes[0]


def test_where_all_three_agree_nothing_happens() -> None:
    """No change, no drift, no word."""
    result = compare([item("K")], [base("K")], [found("K")])
    assert result == KindDiff()


def test_what_is_nowhere_yet_is_made() -> None:
    """With everything it is to hold, and not called drift."""
    change = only(compare([item("K", parent="P")], [], []))
    assert (change.action, change.before, change.after, change.parent) == (Action.CREATE, None, {"name": "A"}, "P")
    assert not change.drift


def test_what_is_there_already_is_adopted() -> None:
    """Nothing is written where it is as it should be."""
    change = only(compare([item("K")], [], [found("K")]))
    assert (change.action, change.lms_id, change.before, change.after) == (
        Action.ADOPT,
        "id-K",
        {"name": "A"},
        {"name": "A"},
    )


def test_what_is_there_but_differs_is_adopted_and_put_right() -> None:
    """The difference counts as somebody's edit, since nobody knows better."""
    result = compare([item("K", "B")], [], [found("K")])
    assert did(result) == [(Action.ADOPT, "K"), (Action.UPDATE, "K")]
    assert result.changes[1].drift
    assert drifted(result) == [("K", "name")]


@pytest.mark.parametrize("policy", [RESPECT, REPORT])
def test_what_differs_at_adoption_stays_for_good_where_edits_are_not_overwritten(policy: Policy) -> None:
    """Neither now nor in the next push, when it would look like our own change."""
    result = compare([item("K", "B", "P")], [], [found("K", parent="Q")], policy)
    adoption = only(result)
    assert drifted(result) == [("K", PARENT), ("K", "name")]
    after = Base("competency", "K", dict(adoption.after or {}), adoption.parent, adoption.place, adoption.lms_id)
    again = compare([item("K", "B", "P")], [after], [found("K", parent="Q")], policy)
    assert again.changes == []
    assert drifted(again) == [("K", PARENT), ("K", "name")]


def test_our_change_is_written_and_is_no_drift() -> None:
    """Desired differs from base, actual does not."""
    result = compare([item("K", "B", note="n")], [base("K", note="n")], [found("K", note="n")], RESPECT)
    change = only(result)
    assert (change.action, change.fields, change.after, change.drift) == (
        Action.UPDATE,
        ("name",),
        {"name": "B", "note": "n"},
        False,
    )
    assert result.drifts == []


@pytest.mark.parametrize(("policy", "written"), [(ENFORCE, True), (RESPECT, False), (REPORT, False)])
@pytest.mark.parametrize("wanted", ["A", "B"])
def test_an_edit_in_the_lms_is_drift_whether_or_not_the_files_changed_too(
    policy: Policy, written: bool, wanted: str
) -> None:
    """Only `enforce` overwrites somebody's edit; all three name it, with what was applied and what is there."""
    result = compare([item("K", wanted)], [base("K")], [found("K", "X")], policy)
    assert [(one.field, one.applied, one.actual, one.stance) for one in result.drifts] == [
        ("name", "A", "X", policy.default)
    ]
    assert did(result) == ([(Action.UPDATE, "K")] if written else [])
    assert all(change.drift for change in result.changes)


def test_fields_have_stances_of_their_own() -> None:
    """One field is put back while another is left; a field's stance is nearer than its kind's."""
    policy = Policy(Stance.ENFORCE, {"competency": Stance.REPORT, "competency.name": Stance.ENFORCE})
    result = compare([item("K", note="n")], [base("K", note="n")], [found("K", "X", note="Y")], policy)
    change = only(result)
    assert change.fields == ("name",)
    assert change.after == {"name": "A", "note": "Y"}
    assert {one.field: one.stance for one in result.drifts} == {"name": Stance.ENFORCE, "note": Stance.REPORT}


@pytest.mark.parametrize(("policy", "written"), [(ENFORCE, True), (RESPECT, False), (REPORT, False)])
def test_hanging_it_elsewhere_in_the_lms_is_drift(policy: Policy, written: bool) -> None:
    """The parent has a stance like any field."""
    result = compare([item("K", parent="P")], [base("K", parent="P")], [found("K", parent="Q")], policy)
    assert drifted(result) == [("K", PARENT)]
    assert did(result) == ([(Action.MOVE, "K")] if written else [])


def test_a_move_in_the_files_is_ours() -> None:
    """It says whence and whither."""
    change = only(compare([item("K", parent="Q")], [base("K", parent="P")], [found("K", parent="P")], RESPECT))
    assert (change.action, change.old_parent, change.parent, change.drift) == (Action.MOVE, "P", "Q", False)


@pytest.mark.parametrize(("policy", "written"), [(ENFORCE, True), (RESPECT, False), (REPORT, False)])
@pytest.mark.parametrize("how", ["deleted", "retired"])
def test_taking_it_away_in_the_lms_is_drift(policy: Policy, written: bool, how: str) -> None:
    """Deleted it is made again, retired it is brought back: where the stance says so, and not touched at all else."""
    actual = [] if how == "deleted" else [found("K", "X", retired=True)]
    result = compare([item("K")], [base("K")], actual, policy)
    assert drifted(result)[0] == ("K", PRESENCE)
    expected = [(Action.CREATE, "K")] if how == "deleted" else [(Action.REVIVE, "K"), (Action.UPDATE, "K")]
    assert did(result) == (expected if written else [])


def test_a_retired_one_that_the_files_name_again_comes_back_as_our_doing() -> None:
    """Where edits are respected too: we took it away ourselves."""
    result = compare([item("K", "B")], [base("K", retired=True)], [found("K", retired=True)], RESPECT)
    assert did(result) == [(Action.REVIVE, "K"), (Action.UPDATE, "K")]
    assert result.drifts == []


def test_a_retired_one_that_was_deleted_meanwhile_is_made_anew() -> None:
    """And that is nobody's edit of something the files wanted."""
    result = compare([item("K")], [base("K", retired=True)], [], RESPECT)
    assert did(result) == [(Action.CREATE, "K")]
    assert result.drifts == []


def test_a_retired_one_that_both_sides_brought_back_is_live_again() -> None:
    """Only the base learns it; without that it could never be removed again."""
    result = compare([item("K")], [base("K", retired=True)], [found("K")])
    assert result.changes == []
    assert [one.retired for one in result.converged] == [False]


@pytest.mark.parametrize(("policy", "written"), [(ENFORCE, True), (RESPECT, False), (REPORT, False)])
def test_bringing_back_in_the_lms_what_the_files_dropped_is_drift(policy: Policy, written: bool) -> None:
    """Enforced it is retired once more."""
    result = compare([], [base("K", retired=True)], [found("K")], policy)
    assert [(one.field, one.applied, one.actual) for one in result.drifts] == [(PRESENCE, False, True)]
    assert did(result) == ([(Action.REMOVE, "K")] if written else [])


def test_what_the_files_no_longer_name_is_removed() -> None:
    """It remembers where it was."""
    change = only(compare([item("J")], [base("J"), base("K")], [found("J"), found("K", parent="P", order=1)]))
    assert (change.action, change.key, change.after, change.old_parent, change.erase) == (
        Action.REMOVE,
        "K",
        None,
        "P",
        False,
    )


def test_a_rule_may_ask_for_deletion() -> None:
    """Only for the kinds it names."""
    assert only(compare([], [base("K")], [found("K")], Policy(erase=frozenset({"competency"})))).erase
    assert not only(compare([], [base("K")], [found("K")], Policy(erase=frozenset({"framework"})))).erase


def test_what_is_not_ours_is_never_removed_nor_mentioned() -> None:
    """An object of the LMS that neither files nor base know."""
    assert compare([], [], [found("theirs")]) == KindDiff()


def test_files_that_do_not_speak_of_everything_remove_nothing() -> None:
    """An incomplete kind: missing is not absent."""
    assert compare([], [base("K")], [found("K")], complete=False).changes == []


def test_what_both_sides_dropped_is_forgotten() -> None:
    """Also where it had been retired before."""
    assert compare([], [base("K")], []).forgotten == [("competency", "K")]
    assert compare([], [base("K", retired=True)], []).forgotten == [("competency", "K")]


def test_what_both_sides_retired_only_the_base_learns() -> None:
    """Nothing is sent."""
    result = compare([], [base("K")], [found("K", retired=True)])
    assert result.changes == []
    assert [one.retired for one in result.converged] == [True]


def test_a_kind_that_is_kept_stays_with_a_word() -> None:
    """The rules say that leaving the files does not take it from the LMS."""
    kept = KindSpec("competency", "competency", "competencies", Removal.KEEP)
    result = compare([], [base("K")], [found("K")], spec=kept)
    assert result.changes == []
    assert [remark.severity for remark in result.remarks] == [Severity.NOTE]


def test_the_same_edit_on_both_sides_only_moves_the_base() -> None:
    """Files and LMS agree on B, the base still says A."""
    result = compare([item("K", "B", "P")], [base("K")], [found("K", "B", "P")])
    assert (result.changes, result.drifts) == ([], [])
    assert [(one.fields, one.parent) for one in result.converged] == [({"name": "B"}, "P")]


def test_the_base_learns_what_both_agree_on_even_beside_a_difference_that_is_left() -> None:
    """Else a later edit of the agreed field would pass for ours."""
    result = compare([item("K", "B", note="n")], [base("K", "A", note="n")], [found("K", "B", note="edited")], RESPECT)
    assert result.changes == []
    assert [one.fields for one in result.converged] == [{"name": "B", "note": "n"}]


def test_a_new_id_of_the_same_object_is_learnt() -> None:
    """Somebody deleted and made it again by hand."""
    actual = Found("competency", "K", {"name": "A"}, "other", None)
    assert [one.lms_id for one in compare([item("K")], [base("K")], [actual]).converged] == ["other"]


@pytest.mark.parametrize("desired", [[], [item("K", "B")]])
def test_what_is_held_or_open_is_neither_changed_nor_called_drift(desired: list[Item]) -> None:
    """Whatever the three sides say."""
    result = compare(desired, [base("K")], [found("K", "X", "Q")], untouchable={"K"})
    assert (result.changes, result.drifts, result.converged, result.forgotten) == ([], [], [], [])


def test_in_a_kind_that_cannot_be_read_the_base_stands_for_the_lms() -> None:
    """Ours is sent, nothing is drift, nothing is adopted."""
    result = compare(
        [item("new"), item("K", "B"), item("moved", parent="Q"), item("back"), item("same")],
        [base("K"), base("moved", parent="P"), base("back", retired=True), base("same"), base("gone")],
        None,
    )
    assert did(result) == [
        (Action.CREATE, "new"),
        (Action.UPDATE, "K"),
        (Action.MOVE, "moved"),
        (Action.CREATE, "back"),
        (Action.REMOVE, "gone"),
    ]
    assert result.drifts == []


def test_fields_that_the_files_do_not_speak_of_are_left_alone() -> None:
    """The LMS may hold more than the bridge writes."""
    assert compare([item("K")], [base("K")], [found("K", theirs="x")]).changes == []


def test_relations_without_fields_are_there_or_not() -> None:
    """A pair is made and unlinked, never updated."""
    pair = Item("related", "A|B", {})
    assert did(compare([pair], [], [], spec=LINK)) == [(Action.CREATE, "A|B")]
    gone = compare([], [Base("related", "A|B", {})], [Found("related", "A|B", {}, "7")], spec=LINK)
    assert did(gone) == [(Action.REMOVE, "A|B")]


# --- Order among siblings ---------------------------------------------------------------------------------------------


def line(keys: str, make: Any) -> list[Any]:
    """Return objects in a line; the maker gets key and place."""
    return [make(key, place) for place, key in enumerate(keys)]


def order(desired: str, applied: str, actual: str, policy: Policy = ENFORCE) -> KindDiff:
    """Compare lines of siblings."""
    return compare(
        line(desired, lambda key, _: item(key)),
        line(applied, lambda key, place: base(key, place=place)),
        line(actual, lambda key, place: found(key, order=place)),
        policy,
    )


def test_a_new_order_in_the_files_is_ours() -> None:
    """The fewest are moved, each behind the one it follows."""
    change = only(order("CAB", "ABC", "ABC", RESPECT))
    assert (change.action, change.key, change.fields) == (Action.MOVE, "C", (ORDER,))
    assert (change.previous, change.old_previous, change.drift) == (None, "B", False)


@pytest.mark.parametrize(("policy", "written"), [(ENFORCE, True), (RESPECT, False), (REPORT, False)])
@pytest.mark.parametrize("desired", ["ABCD", "DABC"])
def test_a_new_order_in_the_lms_is_drift_whether_or_not_the_files_changed_too(
    policy: Policy, written: bool, desired: str
) -> None:
    """Only `enforce` puts the siblings back."""
    result = order(desired, "ABCD", "BACD", policy)
    assert {drift.field for drift in result.drifts} == {ORDER}
    assert bool(result.changes) is written
    assert all(change.drift for change in result.changes)


def test_a_reordering_that_was_cut_off_goes_on_even_where_edits_are_respected() -> None:
    """D and E were to come first; only D got there."""
    result = order("DEABC", "ABCDE", "DABCE", RESPECT)
    assert did(result) == [(Action.MOVE, "E")]
    assert result.drifts == []


def test_places_are_learnt_once_the_siblings_stand_in_line() -> None:
    """Not while one is still astray."""
    assert order("CAB", "ABC", "ABC").converged == []
    assert {one.key: one.place for one in order("CAB", "ABC", "CAB").converged} == {"C": 0, "A": 1, "B": 2}


def test_a_new_one_in_the_middle_moves_nobody() -> None:
    """It is made behind its predecessor; the places of those after it are learnt."""
    result = order("AXB", "AB", "AB")
    assert only(result).previous == "A"
    assert {one.key: one.place for one in result.converged} == {"B": 2}


def test_nothing_is_put_behind_a_sibling_that_will_not_be_there() -> None:
    """X was taken away by hand and that is respected; H is held and gone: the new one follows A."""
    result = compare(
        [item("A"), item("X"), item("H"), item("new")],
        [base("A"), base("X", place=1), base("H", place=2)],
        [found("A")],
        RESPECT,
        untouchable={"H"},
    )
    assert [(change.key, change.previous) for change in result.changes] == [("new", "A")]


def test_the_order_at_adoption_is_left_for_good_where_edits_are_not_overwritten() -> None:
    """Else the next push would take the difference for a change of the files."""
    first = order("ABC", "", "CAB", RESPECT)
    assert {change.action for change in first.changes} == {Action.ADOPT}
    bases = [base(change.key, place=change.place) for change in first.changes]
    actual = line("CAB", lambda key, place: found(key, order=place))
    again = compare(line("ABC", lambda key, _: item(key)), bases, actual, RESPECT)
    assert again.changes == []
    assert {drift.field for drift in again.drifts} == {ORDER}


def test_what_is_only_said_at_the_making_is_not_remembered() -> None:
    """It goes out with the create, and the base holds what is compared, so that nothing is to be learnt later."""
    wanted = Item("position", "P", {"name": "A"}, initial={"username": "ada"})
    (change,) = compare([wanted], [], [], spec=FLAT).changes
    assert change.after == {"username": "ada", "name": "A"}
    assert load_change(dump_change(change)) == change
    applied = base_after(FLAT, change, None, "7")
    assert applied is not None
    assert applied.fields == {"name": "A"}
    there = Found("position", "P", {"name": "A"}, "7")
    again = compare([wanted], [applied], [there], spec=FLAT)
    assert (again.changes, again.converged) == ([], [])
