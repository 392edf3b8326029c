"""The plan: its order, what it binds itself to, and its way through a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from bridge.model import Architecture, RelatedCompetencies, RollUp, RollUpRule, RuleOutcome
from bridge.ports import Action, Change, FixConfiguration, SafetyLimit, Severity
from bridge.store import Store
from bridge.sync.plan import Scope, parents_first
from bridge.sync.policy import Limit, Limits, Policy, Stance
from bridge.sync.reviewed import plan_from_json, plan_to_json, reviewed
from bridge.sync.running import Rules
from tests.contract.conformance import company
from tests.unit.sync.engine import FREE, Here, ordered


@pytest.fixture
def here(store: Store) -> Here:
    """A site that has been pushed to once."""
    site = Here(store)
    site.push()
    return site


def small() -> Architecture:
    """Return the small company's model."""
    return company.architecture()


def test_parents_come_before_children_and_removals_the_other_way_round(here: Here) -> None:
    """A new branch is made from its root, an old one taken away from its leaves, links before what they link."""
    model = company.without(company.without(small(), "CARE/A31"), "CARE/A3")
    model = replace(model, competencies=(*model.competencies,), related=())
    branch = [company.competency("CARE", "Z11", "z11", "Z1"), company.competency("CARE", "Z1", "z1", "Z")]
    model = company.with_more(model, *branch, company.competency("CARE", "Z", "z"))
    steps = [(change.action, change.key) for change in here.plan(model).changes]
    assert steps == [
        (Action.CREATE, "CARE/Z"),
        (Action.CREATE, "CARE/Z1"),
        (Action.CREATE, "CARE/Z11"),
        (Action.REMOVE, "CARE/A1|CARE/A2"),
        (Action.REMOVE, "CARE/A31"),
        (Action.REMOVE, "CARE/A3"),
    ]


def test_swapping_parent_and_child_goes_through_without_a_knot(here: Here) -> None:
    """The child is moved up before its parent is hung under it."""
    found = {one.key: one for one in small().competencies}
    up, down = replace(found["CARE/A3"], parent="CARE/A31"), replace(found["CARE/A31"], parent="CARE/A")
    model = replace(
        small(),
        competencies=tuple({"CARE/A3": up, "CARE/A31": down}.get(one.key, one) for one in small().competencies),
    )
    assert here.push(model).state == "done"
    assert here.shelf.objects["competency", "CARE/A31"].parent == "CARE/A"
    assert here.shelf.objects["competency", "CARE/A3"].parent == "CARE/A31"
    assert here.plan(model).empty


def test_siblings_are_put_in_place_from_left_to_right(here: Here) -> None:
    """A new one that follows a moved one waits for it; a second push has nothing to do."""
    model = ordered(small(), "CARE/A3", "CARE/A1", "CARE/A2")
    place = next(number for number, one in enumerate(model.competencies) if one.key == "CARE/A3") + 1
    new = company.competency("CARE", "A0", "New", "A")
    model = replace(model, competencies=(*model.competencies[:place], new, *model.competencies[place:]))
    steps = [(change.action, change.key, change.previous) for change in here.plan(model).changes]
    assert steps == [(Action.MOVE, "CARE/A3", None), (Action.CREATE, "CARE/A0", "CARE/A3")]
    here.push(model)
    assert here.plan(model).empty


def test_placing_follows_its_chain_however_the_changes_come() -> None:
    """Behind whatever is put in its place in the same plan."""
    changes = [
        Change("k", key, Action.MOVE, {}, {}, parent="P", previous=previous, ordered=True)
        for key, previous in (("C", "B"), ("B", "A"), ("X", None), ("A", None))
    ]
    assert [change.key for change in parents_first(changes)] == ["A", "B", "C", "X"]
    knot = [replace(changes[0], previous="B"), replace(changes[1], previous="C")]
    assert {change.key for change in parents_first(knot)} == {"B", "C"}


def test_a_rule_that_the_lms_drops_on_the_way_is_set_again_at_the_end(here: Here) -> None:
    """A child is added under B, whose rule is gone by then; afterwards all is as desired."""
    model = company.with_more(small(), company.competency("CARE", "B3", "Documents", "B"))
    plan = here.plan(model)
    assert [(change.action, change.kind, change.key) for change in plan.changes] == [
        (Action.CREATE, "competency", "CARE/B3"),
        (Action.UPDATE, "rule", "CARE/B"),
    ]
    here.push(model)
    assert ("rule", "CARE/B") in here.shelf.objects
    assert here.plan(model).empty


def test_a_rule_is_set_again_even_when_it_is_being_adopted(here: Here, new_store: Callable[[], Store]) -> None:
    """With the store lost, adopting a rule must not make the plan forget that the LMS will drop it."""
    model = company.with_more(small(), company.competency("CARE", "B3", "Documents", "B"))
    fresh = Here(new_store(), here.shelf)
    fresh.push(model)
    assert ("rule", "CARE/B") in here.shelf.objects
    assert fresh.plan(model).empty


@pytest.mark.parametrize("stance", [Stance.RESPECT, Stance.REPORT])
def test_somebodys_edit_of_a_rule_survives_that_the_lms_drops_it(here: Here, stance: Stance) -> None:
    """What is respected is put back as they had it, and is still theirs afterwards."""
    here.shelf.objects["rule", "CARE/B"].fields["outcome"] = "evidence"
    rules = replace(FREE, policy=Policy(stance))
    model = company.with_more(small(), company.competency("CARE", "B3", "Documents", "B"))
    here.push(model, rules)
    assert here.shelf.objects["rule", "CARE/B"].fields["outcome"] == "evidence"
    plan = here.plan(model, rules)
    assert plan.changes == []
    assert [(drift.kind, drift.field) for drift in plan.drifts] == [("rule", "outcome")]


def test_a_rule_is_set_again_where_only_competencies_are_in_scope(here: Here) -> None:
    """Leaving rules out of a push does not mean losing them."""
    model = company.with_more(small(), company.competency("CARE", "B3", "Documents", "B"))
    model = replace(model, rules=(RollUpRule("CARE/B", RollUp.ALL, RuleOutcome.EVIDENCE),))
    here.push(model, replace(FREE, scope=Scope(frozenset({"competency"}))))
    assert here.shelf.objects["rule", "CARE/B"].fields["outcome"] == "complete"


def test_a_rule_that_somebody_else_set_is_named_before_the_lms_drops_it(here: Here) -> None:
    """It is not ours to write, but nobody shall lose it unwarned."""
    here.shelf.objects["rule", "CARE/A"] = replace(here.shelf.objects["rule", "CARE/B"], lms_id="77")
    plan = here.plan(company.with_more(small(), company.competency("CARE", "A4", "Airs rooms", "A")))
    warned = [remark.key for remark in plan.remarks if remark.severity is Severity.WARNING and remark.kind == "rule"]
    assert warned == ["CARE/A"]
    assert {change.kind for change in plan.changes} == {"competency"}


def test_what_needs_a_held_object_waits_instead_of_failing_every_night(here: Here) -> None:
    """A branch was undone; what the files hang under it since is named as waiting, not sent to be refused."""
    with_c = company.with_more(small(), company.competency("CARE", "C", "Nutrition"))
    here.undo(here.push(with_c).run_id)
    deeper = company.with_more(
        with_c, company.competency("CARE", "C1", "Weighs", "C"), company.competency("CARE", "C11", "Notes", "C1")
    )
    deeper = replace(deeper, related=(*deeper.related, RelatedCompetencies("CARE/A1", "CARE/C11")))
    plan = here.plan(deeper)
    assert plan.changes == []
    waiting = {remark.key for remark in plan.remarks if "waits: it needs" in remark.says}
    assert waiting == {"CARE/C1", "CARE/C11", "CARE/A1|CARE/C11"}
    assert here.push(deeper).state == "done"
    here.release()
    here.push(deeper)
    assert here.plan(deeper).empty
    assert ("competency", "CARE/C11") in here.shelf.objects


def test_rules_for_kinds_that_there_are_not_are_named(here: Here) -> None:
    """A misspelt limit would protect nothing, silently."""
    limits = Limits({"competencies.remove": Limit(1, 100, 0)})
    rules = Rules(Policy(by_kind={"framwork.name": Stance.RESPECT}), limits)
    warned = {remark.kind for remark in here.plan(rules=rules).remarks if remark.severity is Severity.WARNING}
    assert warned == {"competencies", "framwork"}


# --- Reviewed plans ---------------------------------------------------------------------------------------------------


def edited() -> Architecture:
    """Return the small model with one renamed, one added, one gone, two swapped."""
    model = company.renamed(small(), "CARE/B1", "Double-checks the dose")
    model = company.without(model, "LEAD/L2")
    return company.with_more(ordered(model, "CARE/A2", "CARE/A1"), company.competency("CARE", "C", "Nutrition"))


def test_a_plan_comes_back_from_its_file_as_it_went_in(here: Here) -> None:
    """Changes, drift, remarks and what it binds itself to."""
    here.shelf.objects["competency", "CARE/A3"].fields["name"] = "Edited"
    plan = here.plan(company.renamed(edited(), "CARE/B2", "x" * 200))
    back = plan_from_json(json.dumps(plan_to_json(plan)))
    assert plan_to_json(back) == plan_to_json(plan)
    assert (back.changes, back.drifts, back.remarks, back.seen) == (plan.changes, plan.drifts, plan.remarks, plan.seen)


def test_a_reviewed_plan_runs_as_it_was_reviewed(here: Here) -> None:
    """Through a file and back, and exactly that."""
    stored = plan_from_json(json.dumps(plan_to_json(here.plan(edited()))))
    report = here.push(edited(), stored=stored)
    assert report.state == "done"
    assert report.plan.changes == stored.changes
    assert here.plan(edited()).empty


def test_what_drifted_elsewhere_since_is_not_done_by_a_reviewed_plan(here: Here) -> None:
    """Nobody reviewed that."""
    stored = here.plan(edited())
    here.shelf.objects["competency", "CARE/A31"].fields["name"] = "Edited"
    here.push(edited(), stored=stored)
    assert here.shelf.objects["competency", "CARE/A31"].fields["name"] == "Edited"
    assert [change.key for change in here.plan(edited()).changes] == ["CARE/A31"]


@pytest.mark.parametrize(
    ("kind", "key", "how"),
    [
        ("competency", "CARE/B1", "name"),
        ("competency", "CARE/B1", "parent"),
        ("competency", "LEAD/L2", "deleted"),
        ("competency", "LEAD/L2", "name"),
        ("competency", "CARE/A1", "name"),
    ],
)
def test_a_reviewed_plan_is_refused_where_something_it_touches_moved(here: Here, kind: str, key: str, how: str) -> None:
    """And nothing is sent; the message names it."""
    stored = here.plan(edited())
    match how:
        case "name":
            here.shelf.objects[kind, key].fields["name"] = "Edited"
        case "parent":
            here.shelf.objects[kind, key].parent = "CARE/A"
        case _:
            del here.shelf.objects[kind, key]
    written = len(here.shelf.writes)
    with pytest.raises(SafetyLimit, match=key):
        here.push(edited(), stored=stored)
    assert len(here.shelf.writes) == written
    assert here.runs()[0].state == "refused"


def test_a_reviewed_plan_is_refused_where_what_it_makes_is_there_by_now(here: Here) -> None:
    """Somebody made it by hand: that would be an adoption."""
    stored = here.plan(edited())
    here.shelf.objects["competency", "CARE/C"] = replace(here.shelf.objects["competency", "CARE/B"], lms_id="88")
    with pytest.raises(SafetyLimit, match="CARE/C"):
        here.push(edited(), stored=stored)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: (company.renamed(edited(), "CARE/A31", "Other"), FREE), "files changed"),
        (lambda: (ordered(edited(), "CARE/B2", "CARE/B1"), FREE), "files changed"),
        (lambda: (edited(), replace(FREE, policy=Policy(Stance.RESPECT))), "rules"),
        (lambda: (edited(), replace(FREE, policy=Policy(erase=frozenset({"competency"})))), "rules"),
    ],
)
def test_a_reviewed_plan_is_refused_where_files_or_rules_moved(
    here: Here, change: Callable[[], tuple[Architecture, Rules]], says: str
) -> None:
    """Whatever in the files it was: what was reviewed is not what they say any more."""
    stored = here.plan(edited())
    model, rules = change()
    with pytest.raises(SafetyLimit, match=says):
        here.push(model, rules, stored=stored)


def test_a_reviewed_plan_of_another_site_is_refused(here: Here) -> None:
    """Two sites may hold the same keys."""
    plan = here.plan(edited())
    with pytest.raises(SafetyLimit, match="made for site there"):
        reviewed(replace(plan, site="there"), plan)


def test_a_limit_that_stops_a_reviewed_plan_can_be_raised_without_a_new_review(here: Here) -> None:
    """The plan says the same under any limit."""
    tight = replace(FREE, limits=Limits({"competency.remove": Limit(0, 100, 0)}))
    stored = here.plan(edited(), tight)
    with pytest.raises(SafetyLimit, match="remove competencies: 1 is over the limit of 0"):
        here.push(edited(), tight, stored=stored)
    assert here.push(edited(), stored=stored).state == "done"


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", "{}", '{"format": 1}', '{"format": 99}', '{"format":1,"site":"x","changes":[7]}']
)
def test_a_file_that_is_no_plan_is_said_to_be_none(text: str) -> None:
    """Never a traceback."""
    with pytest.raises(FixConfiguration, match="plan"):
        plan_from_json(text)


def test_a_plan_file_with_a_broken_change_is_said_to_be_none(here: Here) -> None:
    """Wherever in it the damage is."""
    plain = plan_to_json(here.plan(edited()))
    for name, value in (("action", "explode"), ("detail", 7), ("key", None), ("colour", "red")):
        broken = json.loads(json.dumps(plain))
        broken["changes"][0][name] = value
        if name == "key":
            del broken["changes"][0]["key"]
        with pytest.raises(FixConfiguration, match="plan"):
            plan_from_json(json.dumps(broken))


def test_planning_writes_nothing_anywhere(here: Here) -> None:
    """Neither in the LMS nor in the store."""
    before = (len(here.shelf.writes), here.held(), [run.id for run in here.runs()])
    here.plan(edited())
    assert (len(here.shelf.writes), here.held(), [run.id for run in here.runs()]) == before


def test_a_declined_plan_writes_nothing(here: Here) -> None:
    """The person said no, and the record says so."""
    from bridge.sync.push import Watching

    written = len(here.shelf.writes)
    report = here.push(edited(), watching=Watching(confirm=lambda _plan: False))
    assert (report.state, len(here.shelf.writes)) == ("declined", written)
    assert here.runs()[0].state == "declined"


def test_what_needs_a_kind_that_is_left_out_and_was_never_pushed_waits(store: Store) -> None:
    """One sentence says how many and what to push first; once that is there they go."""
    here = Here(store)
    narrow = replace(FREE, scope=Scope(frozenset({"competency"})))
    plan = here.plan(small(), narrow)
    assert plan.changes == []
    (says,) = [one.says for one in plan.remarks if one.severity is Severity.WAITS]
    assert f"{len(small().competencies)} competencies wait" in says
    assert "--kind framework" in says
    here.push(small(), replace(FREE, scope=Scope(frozenset({"framework"}))))
    assert len(here.plan(small(), narrow).changes) == len(small().competencies)


def test_a_plan_keeps_what_was_asked_for_on_its_way_through_a_file(here: Here) -> None:
    """Day, kinds and part of the company, so that it can be asked for again."""
    plan = here.plan()
    plan.asked = {"as_of": "2026-12-31", "kinds": ["user"], "scope": {"units": ["WARD"]}}
    assert plan_from_json(json.dumps(plan_to_json(plan))).asked == plan.asked
