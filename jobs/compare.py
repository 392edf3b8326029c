"""Comparing two sites: what each shows, kind by kind, and what it cannot."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from bridge.model import Desired, Person, Workforce
from bridge.ports import BridgeError, Capabilities, Fields, Found, KindSpec, LmsPort, PlainWords
from bridge.settings import Settings
from bridge.store import Store, state
from bridge.sync.compare import CONCEPT_OF, Basis, Compared, Seen, Side, compare, implied_frameworks, plain_fields
from jobs.sites import Workplace, workplace

PEOPLES = frozenset({"person", "job", "cohort"})
"""Concepts about people that are compared; memberships, plans and the like follow from them."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sites side by side."""

    first: str
    second: str
    concepts: tuple[Compared, ...]


def compare_sites(settings: Settings, first: str, second: str) -> Comparison:
    """Compare what two sites show. Writes nothing. Raises FixConfiguration where there is no such site."""
    with workplace(settings, first) as one, workplace(settings, second) as other:
        sides = _sides_of_both(one, other)
        return Comparison(one.site, other.site, tuple(compare((one.site, other.site), *sides)))


def _sides_of_both(one: Workplace, other: Workplace) -> tuple[dict[str, Side], dict[str, Side]]:
    able = one.port.probe(), other.port.probe()
    first, second = (_sides(place, found) for place, found in zip((one, other), able, strict=True))
    # Who is asked for by name: an LMS may show only the accounts of people it is told of.
    named = {**_people(first), **_people(second)}
    for place, found, sides in ((one, able[0], first), (other, able[1], second)):
        spec = next((spec for spec in found.kinds if concept_of(spec.kind) == "person"), None)
        if spec is not None and named:
            sides["person"] = _side(place, spec, named)
    return first, second


def concept_of(kind: str) -> str:
    """Return what a kind of an LMS stands for."""
    return CONCEPT_OF.get(kind, kind)


def _sides(place: Workplace, able: Capabilities) -> dict[str, Side]:
    sides: dict[str, Side] = {}
    for spec in able.kinds:
        concept = concept_of(spec.kind)
        if spec.of_people and concept not in PEOPLES:
            continue
        sides[concept] = _side(place, spec, {})
    if "framework" not in sides and "competency" in sides and sides["competency"].basis is not Basis.UNKNOWN:
        sides = {"framework": implied_frameworks(sides["competency"]), **sides}
    return sides


def _people(sides: Mapping[str, Side]) -> dict[str, Seen]:
    side = sides.get("person")
    return dict(side.objects) if side is not None else {}


def _side(place: Workplace, spec: KindSpec, named: Mapping[str, Seen]) -> Side:
    """What a site shows of a kind, else what was last applied to it."""
    concept = concept_of(spec.kind)
    why = ""
    if spec.readable:
        try:
            objects = {one.key: one for one in _shown(place.port, spec, named)}
        except BridgeError as error:
            why = str(error)
        else:
            return Side(concept, spec.plural, Basis.SHOWN, objects, _only_named(spec, named))
    objects = {one.key: one for one in _applied(place.store, place, spec)}
    return Side(concept, spec.plural, Basis.APPLIED if objects else Basis.UNKNOWN, objects, why)


def _only_named(spec: KindSpec, named: Mapping[str, Seen]) -> str:
    return f"of its {spec.plural}, those of the {len(named):,} people either site is known to hold" if named else ""


def _shown(port: LmsPort, spec: KindSpec, named: Mapping[str, Seen]) -> Iterator[Seen]:
    if named:
        people = tuple(
            Person(
                key,
                str(one.fields.get("first_name") or key),
                str(one.fields.get("last_name") or key),
                str(one.fields.get("email") or ""),
            )
            for key, one in named.items()
        )
        port.translate(Desired(workforce=Workforce(dt.datetime.now(dt.UTC).date(), people)))
    for found in port.read(spec.kind):
        if not found.retired and (found.lms_id or not found.held):
            yield _seen(port, spec, found)


def _seen(port: LmsPort, spec: KindSpec, found: Found) -> Seen:
    return Seen(found.key, _plain(port, spec.kind, found.fields), found.parent, spec.tree)


def _plain(port: LmsPort, kind: str, fields: Fields) -> Fields:
    words: object = port
    plain = plain_fields(words.in_plain_words(kind, fields) if isinstance(words, PlainWords) else fields)
    # A template's description is about the template, and carries its key: it is not the position's.
    return {name: value for name, value in plain.items() if name != "description"} if kind == "template" else plain


def _applied(store: Store, place: Workplace, spec: KindSpec) -> Iterable[Seen]:
    with store.read() as connection:
        bases = state.load_base(connection, place.site, spec.kind)
    return [
        Seen(base.key, _plain(place.port, spec.kind, base.fields), base.parent, spec.tree)
        for base in bases.values()
        if not base.retired
    ]


def shortened(found: Compared, most: int) -> Compared:
    """Return a concept with at most so many of each list, for a screen."""
    return replace(
        found,
        only_first=found.only_first[:most],
        only_second=found.only_second[:most],
        differences=found.differences[:most],
    )
