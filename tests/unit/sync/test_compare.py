"""Comparing two sites: by concept and key, texts as a person reads them, and what cannot be compared said so."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.model import RETIRED
from bridge.sync.compare import Basis, Difference, Seen, Side, as_read, compare, implied_frameworks, plain_fields

NAMES = ("old", "new")


def _side(*objects: Seen, basis: Basis = Basis.SHOWN, why: str = "") -> dict[str, Side]:
    return {"competency": Side("competency", "competencies", basis, {one.key: one for one in objects}, why)}


def test_what_differs_is_named_by_key_and_field() -> None:
    """Same, missing on either side, renamed, hung elsewhere."""
    first = _side(
        Seen("F/A", {"name": "Hygiene"}, None, True),
        Seen("F/B", {"name": "Dose"}, "F/A", True),
        Seen("F/C", {"name": "Gone"}, None, True),
    )
    second = _side(
        Seen("F/A", {"name": "Hygiene"}, None, True),
        Seen("F/B", {"name": "Dosage"}, None, True),
        Seen("F/D", {"name": "Fresh"}, None, True),
    )
    (found,) = compare(NAMES, first, second)
    assert (found.same, found.only_first, found.only_second) == (1, ("F/C",), ("F/D",))
    assert found.differences == (
        Difference("F/B", "name", "Dose", "Dosage"),
        Difference("F/B", "parent", "F/A", None),
    )
    assert not found.equal


def test_only_fields_that_both_show_are_compared() -> None:
    """A description that one site has not is no difference, nor is a place that one of them does not tell."""
    first = _side(Seen("F/A", {"name": "X", "description": "long"}, "F/P", True))
    second = _side(Seen("F/A", {"name": "X", "scale": "3"}))
    (found,) = compare(NAMES, first, second)
    assert found.equal
    assert found.fields == ("name",)


def test_what_a_site_does_not_show_is_said_and_not_taken_for_missing() -> None:
    """Nothing is listed as only here because the other site is blind; what was last applied is told apart."""
    shown = _side(Seen("F/A", {"name": "X"}))
    (blind,) = compare(NAMES, shown, _side(basis=Basis.UNKNOWN, why="no report"))
    assert not blind.comparable
    assert (blind.only_first, blind.equal) == ((), False)
    assert any("does not show its competencies" in note and "no report" in note for note in blind.notes)
    assert any("old: 1 competencies" in note for note in blind.notes)
    (none,) = compare(NAMES, shown, {})
    assert any("new: has no competencies" in note for note in none.notes)
    (applied,) = compare(NAMES, shown, _side(Seen("F/A", {"name": "X"}), basis=Basis.APPLIED))
    assert applied.equal
    assert any("last applied" in note for note in applied.notes)


def test_texts_are_compared_as_they_read() -> None:
    """Tags, entities and blanks are forms of storing, not differences."""
    assert as_read("<p>R&amp;D  <b>lab</b></p>") == "R&D lab"
    assert as_read("R&D lab") == "R&D lab"
    assert as_read(3) == 3
    one = _side(Seen("F/A", {"name": "R&amp;D", "description": ""}))
    other = _side(Seen("F/A", {"name": "R&D", "description": None}))
    assert compare(NAMES, one, other)[0].equal


def test_frameworks_are_read_off_competencies_where_a_site_has_no_such_kind() -> None:
    """Their keys can be compared; that their names cannot is said."""
    implied = implied_frameworks(_side(Seen("F/A", {}), Seen("G/A", {}))["competency"])
    own = Side("framework", "frameworks", Basis.SHOWN, {"F": Seen("F", {"name": "Eff"})})
    (found,) = compare(NAMES, {"framework": own}, {"framework": implied})
    assert (found.same, found.only_second, found.differences) == (1, ("G",), ())
    assert any("cannot be compared" in note for note in found.notes)


def test_a_place_among_what_is_retired_is_no_place() -> None:
    """Two sites retire in different ways."""
    one, other = _side(Seen("F/A", {}, RETIRED, True)), _side(Seen("F/A", {}, None, True))
    assert compare(NAMES, one, other)[0].equal


def test_fields_get_the_names_all_sites_share() -> None:
    """Moodle's and Totara's words for the same thing."""
    assert plain_fields({"firstname": "A", "title": "T", "other": 1}) == {"first_name": "A", "name": "T", "other": 1}


_OBJECTS = st.dictionaries(
    st.sampled_from(["F/A", "F/B", "F/C", "G/A"]),
    st.fixed_dictionaries({"name": st.sampled_from(["x", "y"])}),
    max_size=4,
)


@given(_OBJECTS, _OBJECTS)
def test_both_ways_round_it_is_the_same_comparison(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Every object is counted exactly once, and turning the sites round turns the lists round."""
    first = _side(*(Seen(key, fields) for key, fields in one.items()))
    second = _side(*(Seen(key, fields) for key, fields in other.items()))
    (there,), (back,) = compare(NAMES, first, second), compare(NAMES, second, first)
    assert (sorted(there.only_first), sorted(there.only_second)) == (sorted(back.only_second), sorted(back.only_first))
    assert there.same == back.same
    different = {difference.key for difference in there.differences}
    assert there.same + len(different) + len(there.only_first) == len(one)
    assert there.same + len(different) + len(there.only_second) == len(other)
