"""Records as text: what goes in comes out, and equal gives equal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.ports import Action, Change
from bridge.store.encoding import (
    as_value,
    change_from_json,
    change_to_json,
    digest,
    dump,
    dump_change,
    fields_equal,
    load_change,
    load_fields,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, width=32) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=8)
FIELDS = st.dictionaries(TEXTS, VALUES, max_size=4)
CHANGES = st.builds(
    Change,
    kind=TEXTS,
    key=TEXTS,
    action=st.sampled_from(Action),
    before=st.none() | FIELDS,
    after=st.none() | FIELDS,
    fields=st.lists(TEXTS, max_size=3).map(tuple),
    lms_id=st.none() | TEXTS,
    parent=st.none() | TEXTS,
    old_parent=st.none() | TEXTS,
    previous=st.none() | TEXTS,
    old_previous=st.none() | TEXTS,
    ordered=st.booleans(),
    place=st.integers(0, 100),
    group=TEXTS,
    needs=st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(tuple),
    drift=st.booleans(),
    detail=FIELDS,
    erase=st.booleans(),
)


@given(FIELDS)
def test_fields_come_back_as_they_went_in(fields: dict[str, object]) -> None:
    """Tuples stay tuples, however deep, and numbers keep their type."""
    back = load_fields(dump(fields))
    assert back == fields
    assert dump(back) == dump(fields)


@given(CHANGES)
def test_a_change_comes_back_as_it_went_in(change: Change) -> None:
    """Through the journal's text, and through a plan file's JSON."""
    assert load_change(dump_change(change)) == change
    assert change_from_json(json.loads(json.dumps(change_to_json(change)))) == change


@given(FIELDS)
def test_the_order_of_fields_says_nothing(fields: dict[str, object]) -> None:
    """The same fields in another order give the same text and the same digest."""
    turned = dict(reversed(list(fields.items())))
    assert dump(turned) == dump(fields)
    assert digest(turned) == digest(fields)
    assert fields_equal(turned, fields)  # type: ignore[arg-type]  # what Hypothesis drew are fields


def test_values_that_only_look_alike_differ() -> None:
    """One, true and the text "1" are three things to an LMS."""
    assert len({dump(value) for value in (1, True, "1")}) == 3
    assert not fields_equal({"a": None}, {})


def test_a_change_is_written_without_what_is_at_its_default() -> None:
    """The journal of a large push stays small: only what says something is written."""
    change = Change("competency", "F/A", Action.CREATE, None, {"name": "A"})
    assert set(change_to_json(change)) == {"kind", "key", "action", "before", "after"}


def test_what_is_no_value_is_refused() -> None:
    """A mapping inside a field would come back as something else."""
    with pytest.raises(TypeError, match="dict"):
        as_value({"a": 1})
    with pytest.raises(TypeError, match="object"):
        dump(object())
