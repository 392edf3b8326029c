"""What differs between two sites, from what each of them shows: a pure comparison that knows no LMS by name.

Two LMSs hold the same thing under names of their own (a position is a template in Moodle), and keep its texts in forms
of their own. So objects are matched by concept and key, and texts are compared as a person would read them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bridge.model import RETIRED
from bridge.ports import Fields, Value

_TAG = re.compile(r"<[^<>]*>")
_BLANK = re.compile(r"\s+")
CONCEPT_OF: Mapping[str, str] = {"template": "position", "user": "person"}
"""Kinds that are another word for the same thing. A Moodle template carries its position's key."""
NAME_OF: Mapping[str, str] = {"title": "name", "firstname": "first_name", "lastname": "last_name", "fullname": "name"}
"""Fields that are another word for the same thing."""
COMPARED = ("name", "description", "first_name", "last_name", "email", "suspended", "cost_centre")
"""The fields that two LMSs can be asked about alike; what only one of them has is not compared."""


class Basis(StrEnum):
    """What is known of a kind on a site."""

    SHOWN = "shown"
    APPLIED = "applied"
    """The site does not show it: what the bridge last wrote there stands for it."""
    IMPLIED = "implied"
    """The site has no such kind, but its keys are in those of another."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Seen:
    """One object as a site shows it, fields under the names all sites share."""

    key: str
    fields: Fields
    parent: str | None = None
    tree: bool = False
    """Whether this site says under what the object hangs."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one site shows of one concept."""

    concept: str
    plural: str
    basis: Basis
    objects: Mapping[str, Seen] = field(default_factory=dict)
    why: str = ""
    """Why nothing, or not everything, can be said."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in which two sites say different things of the same object."""

    key: str
    field: str
    first: Value
    second: Value


@dataclass(frozen=True, slots=True)
class Compared:
    """One concept on two sites."""

    concept: str
    plural: str
    first: Basis
    second: Basis
    same: int = 0
    only_first: tuple[str, ...] = ()
    only_second: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    fields: tuple[str, ...] = ()
    """The fields that both sites show, and that were compared."""
    notes: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        """Whether anything could be said at all."""
        return Basis.UNKNOWN not in (self.first, self.second)

    @property
    def equal(self) -> bool:
        """Whether both sites hold the same, as far as they show it."""
        return self.comparable and not (self.only_first or self.only_second or self.differences)


def plain_fields(fields: Fields) -> Fields:
    """Return fields under the names all sites share; others keep theirs."""
    return {NAME_OF.get(name, name): value for name, value in fields.items()}


def as_read(value: Value) -> Value:
    """Return a text as a person reads it: no tags, entities resolved, blanks alike."""
    if not isinstance(value, str):
        return value
    return _BLANK.sub(" ", html.unescape(_TAG.sub(" ", value)) if "<" in value or "&" in value else value).strip()


def implied_frameworks(competencies: Side) -> Side:
    """Return the frameworks that the keys of competencies name, for a site that has no such kind of its own."""
    keys = dict.fromkeys(key.partition("/")[0] for key in competencies.objects if "/" in key)
    why = "known only by their competencies: frameworks without any, and their names, cannot be compared"
    return Side("framework", "frameworks", Basis.IMPLIED, {key: Seen(key, {}) for key in keys}, why)


def compare(names: tuple[str, str], first: Mapping[str, Side], second: Mapping[str, Side]) -> list[Compared]:
    """Compare two sites concept by concept, in the order of the first."""
    concepts = [*first, *(concept for concept in second if concept not in first)]
    return [_compared(names, concept, first.get(concept), second.get(concept)) for concept in concepts]


def _compared(names: tuple[str, str], concept: str, first: Side | None, second: Side | None) -> Compared:
    known = first or second
    assert known is not None  # noqa: S101 - the concept comes from one of them
    notes = [
        f"{name}: {says}"
        for name, side in zip(names, (first, second), strict=True)
        if (says := _said(side, known.plural))
    ]
    one, other = first or _nothing(known), second or _nothing(known)
    if Basis.UNKNOWN in (one.basis, other.basis):
        held = [
            f"{name}: {len(side.objects):,} {side.plural}"
            for name, side in zip(names, (one, other), strict=True)
            if side.objects
        ]
        return Compared(concept, known.plural, one.basis, other.basis, notes=(*notes, *held))
    shared = [key for key in one.objects if key in other.objects]
    fields = _fields_of_both(one.objects.values(), other.objects.values())
    differences = [
        difference for key in shared for difference in _differences(one.objects[key], other.objects[key], fields)
    ]
    return Compared(
        concept,
        known.plural,
        one.basis,
        other.basis,
        len(shared) - len({difference.key for difference in differences}),
        tuple(key for key in one.objects if key not in other.objects),
        tuple(key for key in other.objects if key not in one.objects),
        tuple(differences),
        fields,
        tuple(notes),
    )


def _nothing(like: Side) -> Side:
    return Side(like.concept, like.plural, Basis.UNKNOWN)


def _said(side: Side | None, plural: str) -> str:
    if side is None:
        return f"has no {plural}; not comparable"
    if side.basis is Basis.APPLIED:
        return f"does not show its {plural}; what was last applied there stands for them{_more(side.why)}"
    if side.basis is Basis.UNKNOWN:
        return f"does not show its {plural}, and nothing was applied there yet; not comparable{_more(side.why)}"
    return side.why


def _more(why: str) -> str:
    return f" ({why})" if why else ""


def _fields_of_both(first: Iterable[Seen], second: Iterable[Seen]) -> tuple[str, ...]:
    shown = [{name for one in side for name in one.fields} for side in (first, second)]
    return tuple(name for name in COMPARED if name in shown[0] & shown[1])


def _differences(first: Seen, second: Seen, fields: tuple[str, ...]) -> list[Difference]:
    found = []
    for name in fields:
        if name in first.fields and name in second.fields:
            one, other = as_read(first.fields[name]), as_read(second.fields[name])
            if (one or None) != (other or None):
                found.append(Difference(first.key, name, first.fields[name], second.fields[name]))
    if first.tree and second.tree and _hangs(first) != _hangs(second):
        found.append(Difference(first.key, "parent", first.parent, second.parent))
    return found


def _hangs(seen: Seen) -> str | None:
    return None if seen.parent == RETIRED else seen.parent
