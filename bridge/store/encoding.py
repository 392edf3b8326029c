"""Records to canonical JSON text and back: tuples as lists, keys sorted, so that equal records give equal text."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from bridge.ports import Action, Change, Fields, Value


def dump(value: Any) -> str:
    """Return canonical JSON text of JSON's scalars, tuples, lists and mappings."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_plain)


def load_fields(text: str) -> dict[str, Value]:
    """Return the fields that `dump` wrote, lists as tuples again."""
    found: dict[str, Value] = {name: as_value(value) for name, value in json.loads(text).items()}
    return found


def as_value(value: Any) -> Value:
    """Return a JSON value with its lists turned into tuples, all the way down."""
    if isinstance(value, list | tuple):
        return tuple(as_value(part) for part in value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} cannot be a field's value")


def dump_change(change: Change) -> str:
    """Return a change as text for the journal or a plan file."""
    return dump(change_to_json(change))


def change_to_json(change: Change) -> dict[str, Any]:
    """Return a change as a JSON object, without the members that are at their default."""
    plain: dict[str, Any] = {}
    for spec in dataclasses.fields(change):
        value = getattr(change, spec.name)
        default = spec.default_factory() if spec.default_factory is not dataclasses.MISSING else spec.default
        if spec.name in _ALWAYS or value != default:
            plain[spec.name] = dict(value) if isinstance(value, Mapping) else value
    return plain


def load_change(text: str) -> Change:
    """Return the change that `dump_change` wrote."""
    return change_from_json(json.loads(text))


def change_from_json(plain: Mapping[str, Any]) -> Change:
    """Return the change that `change_to_json` gave. Raises KeyError or ValueError where it is none."""
    members = dict(plain)
    members["action"] = Action(members["action"])
    for name in ("before", "after", "detail"):
        if members.get(name) is not None:
            members[name] = {field: as_value(value) for field, value in members[name].items()}
    for name in ("fields", "initial"):
        members[name] = tuple(members.get(name, ()))
    members["needs"] = tuple((kind, key) for kind, key in members.get("needs", ()))
    return Change(**members)


def digest(*parts: Any) -> str:
    """Return a short hash of canonical JSON text, for telling whether something moved."""
    return hashlib.sha256(dump(parts).encode()).hexdigest()[:32]


def fields_equal(one: Fields, other: Fields) -> bool:
    """Tell whether two sets of fields say the same."""
    return dump(dict(one)) == dump(dict(other))


_ALWAYS = frozenset({"kind", "key", "action", "before", "after"})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
