"""Moves, order, retirement, deletion and rules on a simulated site, as a plan would ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from pydantic import SecretStr

from bridge.model import (
    RETIRED,
    Architecture,
    Competency,
    CourseLink,
    Desired,
    Framework,
    LevelDescriptor,
    Position,
    Requirement,
    RollUp,
    RollUpPoints,
    RollUpRule,
    RuleOutcome,
    Scale,
    ScaleItem,
    Target,
)
from bridge.ports import Action, Change, Found, Item, Outcome, Status
from connectors.moodle import MoodleConnector, MoodleOptions
from connectors.simulators.moodle import MoodleSimulator

SCALE = Scale("S", "Scale", (ScaleItem(1, "No", default=True), ScaleItem(2, "Yes", proficient=True)))
FILES = frozenset(
    {"competency_frameworks", "competencies", "roll_up_rules", "course_links", "positions", "position_competencies"}
)


def node(path: str) -> Competency:
    """Return a competency whose idnumber is the last step of a path, under the step before."""
    *above, idnumber = path.split("/")
    return Competency("F", idnumber, f"Name of {idnumber}", f"F/{above[-1]}" if above else None)


TREE = tuple(node(path) for path in ("A", "A/A1", "A/A2", "A/A3", "A/A2/A21", "B", "B/B1", "C"))


def model(competencies: Sequence[Competency] = TREE, **more: object) -> Architecture:
    """Return an architecture of one framework."""
    return Architecture(
        scales=(SCALE,),
        frameworks=(Framework("F", "Framework", "S"),),
        competencies=tuple(competencies),
        given=FILES,
        **more,  # type: ignore[arg-type]  # the fields a test needs
    )


def creations(items: Sequence[Item], kinds: Sequence[str]) -> list[Change]:
    """Return the changes that make items, each after the sibling before it."""
    last: dict[tuple[str, str | None], str] = {}
    changes = []
    for item in items:
        if item.kind in kinds:
            place = (item.kind, item.parent)
            changes.append(
                Change(
                    item.kind,
                    item.key,
                    Action.CREATE,
                    None,
                    item.fields,
                    tuple(item.fields),
                    parent=item.parent,
                    previous=last.get(place),
                    ordered=item.kind == "competency",
                    needs=item.needs,
                )
            )
            last[place] = item.key
    return changes


class World:
    """A simulated site and a connector to it."""

    def __init__(self, moodle: MoodleSimulator, **options: object) -> None:
        self.moodle = moodle
        settings = MoodleOptions(moodle.url, SecretStr(moodle.token), **options)  # type: ignore[arg-type]  # by test
        self.connector = MoodleConnector(settings, sleep=lambda _seconds: None)

    def make(self, architecture: Architecture) -> None:
        """Put an architecture into Moodle, kind by kind."""
        items = self.connector.translate(Desired(architecture)).items
        for kind in dict.fromkeys(item.kind for item in items):
            for outcome in self.settle(creations(items, [kind])):
                assert outcome.status is Status.APPLIED, outcome

    def settle(self, changes: Sequence[Change]) -> list[Outcome]:
        """Carry changes out; every change must be told of exactly once."""
        outcomes = list(self.connector.settle(self.connector.submit(changes)))
        assert sorted((o.kind, o.key, o.action) for o in outcomes) == sorted((c.kind, c.key, c.action) for c in changes)
        return outcomes

    def found(self, kind: str = "competency") -> dict[str, Found]:
        """Return what Moodle holds of a kind."""
        return {found.key: found for found in self.connector.read(kind)}

    def children(self, parent: str | None) -> list[str]:
        """Return the idnumbers under a parent, in order."""
        rows = [found for found in self.found().values() if found.parent == parent]
        return [found.key.partition("/")[2] for found in sorted(rows, key=lambda one: one.order)]

    def change(self, key: str, action: Action, **more: object) -> Change:
        """Return a change to a competency as it is now."""
        now = self.found()[key]
        return Change(
            "competency",
            key,
            action,
            now.fields,
            now.fields,
            lms_id=now.lms_id,
            old_parent=now.parent,
            **more,  # type: ignore[arg-type]  # by test
        )


@pytest.fixture
def world() -> Iterator[Callable[..., World]]:
    """Makes worlds, and takes them down."""
    made: list[World] = []
    with MoodleSimulator() as moodle:
        moodle.seed.scale("Scale", ["No", "Yes"])

        def make(**options: object) -> World:
            """Return a world with options of its own."""
            made.append(World(moodle, **options))
            return made[-1]

        yield make
        for one in made:
            one.connector.close()


def test_siblings_come_in_the_order_of_the_files_over_four_connections(world: Callable[..., World]) -> None:
    """Forty parents of thirty children, in small batches: every group is in order, with sort orders 0 to 29."""
    here = world(batch_size=7)
    competencies = [node(f"P{p:02}") for p in range(40)]
    competencies += [node(f"P{p:02}/P{p:02}-{c:02}") for p in range(40) for c in range(30)]
    here.make(model(competencies))
    assert here.children(None) == [f"P{p:02}" for p in range(40)]
    for p in range(40):
        assert here.children(f"F/P{p:02}") == [f"P{p:02}-{c:02}" for c in range(30)]
    rows = here.moodle.db.competencies.rows.values()
    assert len({(row["parentid"], row["sortorder"]) for row in rows}) == len(competencies)


def test_two_competencies_can_change_places_in_the_tree(world: Callable[..., World]) -> None:
    """A under B and B under A's child is a circle on the way: one steps aside, nobody's children are promoted."""
    here = world()
    here.make(model())
    outcomes = here.settle(
        [
            here.change("F/A", Action.MOVE, parent="F/B"),
            here.change("F/B", Action.MOVE, parent=None),
            here.change("F/C", Action.MOVE, parent="F/A21"),
            here.change("F/B1", Action.MOVE, parent="F/C"),
        ]
    )
    assert {outcome.status for outcome in outcomes} == {Status.APPLIED}
    parents = {key: found.parent for key, found in here.found().items()}
    assert parents["F/A"] == "F/B"
    assert parents["F/C"] == "F/A21"
    assert parents["F/B1"] == "F/C"
    assert parents["F/A21"] == "F/A2"


def test_moves_that_would_make_a_circle_end_in_a_tree(world: Callable[..., World]) -> None:
    """A2 under B1 and B under A21 cannot both be: nothing is lost or promoted, and the rest stays a tree."""
    here = world()
    here.make(model())
    here.settle([here.change("F/A2", Action.MOVE, parent="F/B1"), here.change("F/B", Action.MOVE, parent="F/A21")])
    parents = {key: found.parent for key, found in here.found().items()}
    assert parents.keys() == {one.key for one in TREE}
    assert (parents["F/A21"], parents["F/B1"]) == ("F/A2", "F/B")
    for key in parents:
        step: str | None = key
        for _ in parents:
            step = parents[step] if step else None
        assert step is None


def test_a_reordering_takes_as_few_steps_as_swaps_allow(world: Callable[..., World]) -> None:
    """The last of three becomes the first: two steps up, no more."""
    here = world()
    here.make(model())
    here.settle([here.change("F/A3", Action.MOVE, parent="F/A", ordered=True, previous=None)])
    assert here.children("F/A") == ["A3", "A1", "A2"]
    counted = here.moodle.requests.stats()["inner_by_function"]
    assert counted.get("core_competency_move_up_competency") == 2
    assert "core_competency_set_parent_competency" not in counted


def test_new_competencies_take_their_place_among_old_ones(world: Callable[..., World]) -> None:
    """One first, one in the middle, two after each other at the end."""
    here = world()
    here.make(model())
    wanted = ["A0", "A1", "A15", "A2", "A3", "A4", "A5"]
    fresh = [node(f"A/{idnumber}") for idnumber in ("A0", "A15", "A4", "A5")]
    items = {item.key: item for item in here.connector.translate(Desired(model([*TREE, *fresh]))).items}
    changes = [
        Change(
            "competency",
            one.key,
            Action.CREATE,
            None,
            items[one.key].fields,
            parent="F/A",
            ordered=True,
            previous=None if one.idnumber == "A0" else f"F/{wanted[wanted.index(one.idnumber) - 1]}",
        )
        for one in fresh
    ]
    assert {outcome.status for outcome in here.settle(changes)} == {Status.APPLIED}
    assert here.children("F/A") == wanted


def test_sort_orders_that_somebody_doubled_are_pulled_apart(world: Callable[..., World]) -> None:
    """Three children with the same sort order end in the order that was asked for."""
    here = world()
    here.make(model())
    for row in here.moodle.db.competencies.rows.values():
        if row["idnumber"] in ("A1", "A2", "A3"):
            row["sortorder"] = 0
    here.settle(
        [
            here.change("F/A3", Action.MOVE, parent="F/A", ordered=True, previous=None),
            here.change("F/A1", Action.MOVE, parent="F/A", ordered=True, previous="F/A3"),
            here.change("F/A2", Action.MOVE, parent="F/A", ordered=True, previous="F/A1"),
        ]
    )
    assert here.children("F/A") == ["A3", "A1", "A2"]


def test_a_rule_survives_changes_among_its_children(world: Callable[..., World]) -> None:
    """Moodle clears the rule when a child comes or goes; it is given back with its configuration."""
    here = world()
    points = (RollUpPoints("F/A1", 2, required=True), RollUpPoints("F/A2", 1))
    rule = RollUpRule("F/A", RollUp.POINTS, RuleOutcome.RECOMMEND, 2, points)
    here.make(model(rules=(rule, RollUpRule("F/B", RollUp.ALL, RuleOutcome.COMPLETE))))
    before = here.found("rule")
    assert before.keys() == {"F/A", "F/B"}
    assert before["F/A"].fields["children"] == (("F/A1", 2, True), ("F/A2", 1, False))
    here.settle([here.change("F/A3", Action.MOVE, parent="F/B")])
    assert {key: dict(found.fields) for key, found in here.found("rule").items()} == {
        key: dict(found.fields) for key, found in before.items()
    }
    here.settle([here.change("F/B1", Action.REMOVE)])
    assert here.found("rule").keys() == before.keys()


def test_saving_in_the_browser_changes_nothing_that_the_bridge_compares(world: Callable[..., World]) -> None:
    """The editor puts each block on a line of its own; texts and templates' keys are read as they were written."""
    here = world()
    here.make(
        model(
            positions=(Position("P1", "Nurse"),),
            requirements=(Requirement(Target.POSITION, "P1", "F/A2", 2),),
            descriptors=(LevelDescriptor("F/A2", 1, "Starts"), LevelDescriptor("F/A2", 2, "Can")),
        )
    )
    before = {kind: here.found(kind) for kind in ("framework", "competency", "template")}
    assert "<ul><li>" in str(before["competency"]["F/A2"].fields["description"])
    db = here.moodle.db
    for row in (*db.competencies, *db.templates):
        row["description"] = row["description"].replace("><", ">\n<")
    next(iter(db.templates))["description"] += "\n<p>Ask the ward manager.</p>"
    after = {kind: here.found(kind) for kind in before}
    assert after["competency"] == before["competency"]
    assert after["template"].keys() == {"P1"}
    assert str(after["template"]["P1"].fields["description"]).endswith(
        "<p>[lms-bridge: P1]</p><p>Ask the ward manager.</p>"
    )


def test_retirement_cuts_links_tells_which_and_revival_gives_them_back(world: Callable[..., World]) -> None:
    """A retired competency lies under the Retired node, out of its course and template; reviving restores all."""
    here = world()
    course = here.moodle.seed.course("C1", "Course one", idnumber="TRN-1")
    assert course
    here.make(
        model(
            course_links=(CourseLink("TRN-1", "F/A2", RuleOutcome.RECOMMEND),),
            positions=(Position("P1", "Nurse"),),
            requirements=(Requirement(Target.POSITION, "P1", "F/A2", 2),),
        )
    )
    links, contents = here.found("course_link"), here.found("template_competency")
    assert links.keys() == {"TRN-1|F/A2"}
    assert contents.keys() == {"P1|F/A2"}
    gone = here.change("F/A2", Action.REMOVE)
    (outcome,) = here.settle([gone])
    assert outcome.status is Status.APPLIED
    assert "not ours went along" in outcome.why
    found = here.found()
    assert (found["F/A2"].parent, found["F/A2"].retired) == (RETIRED, True)
    assert found["F/A21"].retired
    assert here.found("course_link") == {}
    assert here.found("template_competency") == {}
    back = Change(
        "competency",
        "F/A2",
        Action.REVIVE,
        gone.after,
        gone.after,
        lms_id=gone.lms_id,
        parent="F/A",
        previous="F/A1",
        ordered=True,
        detail=outcome.detail,
    )
    (outcome,) = here.settle([back])
    assert (outcome.status, outcome.why) == (Status.APPLIED, "")
    assert here.children("F/A") == ["A1", "A2", "A3"]
    assert {key: dict(one.fields) for key, one in here.found("course_link").items()} == {
        key: dict(one.fields) for key, one in links.items()
    }
    assert here.found("template_competency").keys() == contents.keys()


def test_a_retired_family_keeps_its_shape(world: Callable[..., World]) -> None:
    """Parent and children retire together: only the parent moves."""
    here = world()
    here.make(model())
    here.settle([here.change(key, Action.REMOVE) for key in ("F/A21", "F/A2")])
    found = here.found()
    assert (found["F/A2"].parent, found["F/A21"].parent) == (RETIRED, "F/A2")
    assert found["F/A21"].retired
    assert "F/RETIRED" not in found


def test_what_has_children_that_are_not_ours_is_not_deleted(world: Callable[..., World]) -> None:
    """Erasing A2 alone would take A21 along; erasing both goes deepest first; what is used stays."""
    here = world()
    here.moodle.seed.course("C1", "Course one", idnumber="TRN-1")
    here.make(model(course_links=(CourseLink("TRN-1", "F/B1"),)))
    (outcome,) = here.settle([here.change("F/A2", Action.REMOVE, erase=True)])
    assert outcome.status is Status.REFUSED
    assert "not ours" in outcome.why
    both = here.settle([here.change(key, Action.REMOVE, erase=True) for key in ("F/A2", "F/A21")])
    assert {outcome.status for outcome in both} == {Status.APPLIED}
    (used,) = here.settle([here.change("F/B1", Action.REMOVE, erase=True)])
    assert used.status is Status.REFUSED
    assert "Retire it instead" in used.why
    assert here.found().keys() == {"F/A", "F/A1", "F/A3", "F/B", "F/B1", "F/C"}


def test_with_deletion_allowed_what_is_used_is_retired_instead(world: Callable[..., World]) -> None:
    """The option deletes what nothing uses and retires the rest."""
    here = world(delete_unused_competencies=True)
    here.moodle.seed.course("C1", "Course one", idnumber="TRN-1")
    here.make(model(course_links=(CourseLink("TRN-1", "F/B1"),)))
    here.settle([here.change(key, Action.REMOVE) for key in ("F/A1", "F/B1")])
    found = here.found()
    assert "F/A1" not in found
    assert found["F/B1"].retired


def test_without_batching_everything_still_works_call_by_call(world: Callable[..., World]) -> None:
    """A service that lacks the batch function gets single calls; the result is the same."""
    here = world()
    functions = [
        function["name"]
        for function in here.connector._client.site()["functions"]
        if function["name"] != "tool_mobile_call_external_functions"
    ]
    token = here.moodle.seed.narrow_token("narrow0123456789", functions)
    assert token
    slim = MoodleConnector(MoodleOptions(here.moodle.url, SecretStr("narrow0123456789")))
    here.connector.close()
    here.connector = slim
    here.make(model())
    assert here.children("F/A") == ["A1", "A2", "A3"]
    assert not slim._client.can_batch()
    slim.close()
