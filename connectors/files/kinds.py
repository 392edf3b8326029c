"""From the canonical model to the objects of an LMS that knows them only as rows of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bridge.model import Architecture, Desired, JobAssignment, PersonStatus, Workforce
from bridge.ports import FixConfiguration, Item, KindSpec, Remark, Removal, Severity, Translation, Value
from connectors.files.options import FilesOptions, FileTemplate
from connectors.files.template import ACTIVE, DELETED, Cell

PERSON, JOB = "person", "job"
SUSPENDED = "suspended"
"""The field of a person that is no column: the `active` column says it the other way round."""

_ALWAYS = frozenset({"key", ACTIVE, DELETED})


@dataclass(frozen=True, slots=True)
class _Kind:
    singular: str
    plural: str
    fields: frozenset[str]
    removal: Removal
    source: str = ""
    """The architecture file that makes the kind complete."""
    relation: bool = False


def _kind(singular: str, plural: str, fields: str, source: str = "", removal: Removal = Removal.HIDE) -> _Kind:
    return _Kind(singular, plural, _ALWAYS | set(fields.split()), removal, source, removal is Removal.UNLINK)


KINDS: Mapping[str, _Kind] = {
    "framework": _kind("framework", "frameworks", "name description scale", "competency_frameworks"),
    "competency": _kind(
        "competency",
        "competencies",
        "idnumber framework framework_name name description parent parent_idnumber scale",
        "competencies",
    ),
    "organisation": _kind("organisation", "organisations", "name parent cost_centre", "organisations"),
    "position": _kind("position", "positions", "name family family_name level track parent", "positions"),
    "requirement": _kind(
        "requirement",
        "requirements",
        "target target_key competency competency_idnumber level due_days renewal_days",
        "position_competencies",
        Removal.UNLINK,
    ),
    PERSON: _kind("person", "people", "username first_name last_name email status", removal=Removal.SUSPEND),
    JOB: _kind(
        "job assignment",
        "job assignments",
        "person title organisation position manager manager_job start end primary",
        removal=Removal.CLOSE,
    ),
}
"""What a file may hold, in the order of work, with the fields that its templates may name."""


def field_known(kind: str) -> Callable[[str], bool]:
    """Whether a template of a kind may name a field; a person's further columns come from the feed under any name."""
    fields = KINDS[kind].fields
    return lambda name: name in fields or (kind == PERSON and name.isidentifier())


def spec_of(template: FileTemplate, *, readable: bool) -> KindSpec:
    """How this LMS holds a kind, as far as its file can say it."""
    kind = KINDS[template.kind]
    sayable = template.everything or template.switch(ACTIVE) or template.switch(DELETED)
    removal = kind.removal if sayable else Removal.KEEP
    return KindSpec(
        template.kind,
        kind.singular,
        kind.plural,
        removal,
        tree=template.tree,
        readable=readable,
        relation=kind.relation,
        removed_by=SUSPENDED if template.kind == PERSON else "",
        of_people=template.kind in (PERSON, JOB),
    )


def check_template(template: FileTemplate, where: str) -> None:
    """Raise FixConfiguration where a file could not do what it is for."""
    if template.column_with("key") is None:
        raise FixConfiguration(
            f"{where}: one column must be {{key}} and nothing else, by which the LMS knows a {template.kind} again."
        )
    if template.kind == PERSON and template.switch(ACTIVE) is None:
        raise FixConfiguration(
            f"{where}: people who leave are never deleted but switched off, so one column must be {{active}}, or "
            "{active:YES/NO} with the words of the LMS."
        )
    mixed = [one.heading for one in template.columns if one.fields & {ACTIVE, DELETED} and len(one.pieces) > 1]
    if mixed:
        raise FixConfiguration(f"{where}: {mixed[0]!r} mixes {{active}} or {{deleted}} with something else.")
    headings = [one.heading for one in template.columns]
    if len(set(headings)) < len(headings):
        raise FixConfiguration(f"{where}: two columns have the same heading.")


class Kinds:
    """Turns the model into items whose fields are the cells of a row, by heading."""

    def __init__(self, options: FilesOptions) -> None:
        self._options = options

    def translate(self, desired: Desired) -> Translation:
        """The objects the LMS should hold, and what no file can tell it."""
        items: list[Item] = []
        remarks: list[Remark] = []
        for kind, rows in self._all(desired):
            template = self._options.template(kind)
            found = list(rows)
            if template is not None:
                items += [self._item(template, one) for one in found]
            elif found:
                says = (
                    f"{len(found):,} {KINDS[kind].plural} are not sent: the settings of this site have no file for "
                    f"them (files.{kind})."
                )
                remarks.append(Remark(Severity.NOTE, kind, "", says))
        if desired.workforce is not None and self._options.template(PERSON) is not None:
            items += [Item(PERSON, key, {SUSPENDED: True}, make=False) for key in sorted(desired.workforce.absent)]
        given = desired.architecture.given
        complete = {kind for kind, about in KINDS.items() if about.source in given and self._options.template(kind)}
        return Translation(tuple(items), tuple(remarks), frozenset(complete))

    def _item(self, template: FileTemplate, one: dict[str, Cell]) -> Item:
        fields: dict[str, Value] = {column.heading: column.cell(one.get) for column in template.compared}
        if template.kind == PERSON:
            fields[SUSPENDED] = one[ACTIVE] is False
        key = str(one["key"])
        parent = str(one["parent"]) if template.tree and one.get("parent") else None
        needs = [(kind, str(one[name])) for kind, name in _NEEDS.get(template.kind, ()) if one.get(name)]
        needs = [pair for pair in needs if self._options.template(pair[0]) is not None]
        needs += [(template.kind, parent)] if parent else []
        return Item(template.kind, key, fields, parent, str(one.get("group") or ""), tuple(needs))

    def _all(self, desired: Desired) -> Iterator[tuple[str, Iterator[dict[str, Cell]]]]:
        model = desired.architecture
        yield "framework", _frameworks(model)
        yield "competency", _competencies(model)
        yield "organisation", _organisations(model)
        yield "position", _positions(model)
        yield "requirement", _requirements(model)
        if desired.workforce is not None:
            yield PERSON, _people(desired.workforce)
            yield JOB, _jobs(desired.workforce)


_NEEDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "competency": (("framework", "framework"),),
    "requirement": (("competency", "competency"),),
    JOB: ((PERSON, "person"), ("organisation", "organisation"), ("position", "position")),
}


def _frameworks(model: Architecture) -> Iterator[dict[str, Cell]]:
    for one in model.frameworks:
        yield {"key": one.key, "name": one.name, "description": one.description, "scale": one.scale}


def _competencies(model: Architecture) -> Iterator[dict[str, Cell]]:
    names = {one.key: one.name for one in model.frameworks}
    scales = {one.key: one.scale for one in model.frameworks}
    for one in model.competencies:
        yield {
            "key": one.key,
            "idnumber": one.idnumber,
            "framework": one.framework,
            "framework_name": names.get(one.framework, one.framework),
            "name": one.name,
            "description": one.description,
            "parent": one.parent,
            "parent_idnumber": one.parent.partition("/")[2] if one.parent else None,
            "scale": one.scale or scales.get(one.framework),
            "group": names.get(one.framework, one.framework),
        }


def _organisations(model: Architecture) -> Iterator[dict[str, Cell]]:
    for one in model.organisations:
        yield {"key": one.key, "name": one.name, "parent": one.parent, "cost_centre": one.cost_centre}


def _positions(model: Architecture) -> Iterator[dict[str, Cell]]:
    families = {one.key: one.name for one in model.families}
    for one in model.positions:
        yield {
            "key": one.key,
            "name": one.title,
            "family": one.family,
            "family_name": families.get(one.family or ""),
            "level": one.level,
            "track": one.track.value if one.track else None,
            "parent": one.parent,
            "group": families.get(one.family or "", ""),
        }


def _requirements(model: Architecture) -> Iterator[dict[str, Cell]]:
    for one in model.requirements:
        yield {
            "key": f"{one.target.value}|{one.target_key}|{one.competency}",
            "target": one.target.value,
            "target_key": one.target_key,
            "competency": one.competency,
            "competency_idnumber": one.competency.partition("/")[2],
            "level": one.level,
            "due_days": one.due_days,
            "renewal_days": one.renewal_days,
        }


def _people(workforce: Workforce) -> Iterator[dict[str, Cell]]:
    for one in workforce.people:
        further: dict[str, Cell] = dict(one.extra)
        yield {
            **further,
            "key": one.key,
            "username": one.username or one.key,
            "first_name": one.first_name,
            "last_name": one.last_name,
            "email": one.email,
            "status": one.status.value,
            ACTIVE: one.status is not PersonStatus.TERMINATED,
        }


def _jobs(workforce: Workforce) -> Iterator[dict[str, Cell]]:
    gone = {one.key for one in workforce.people if one.status is PersonStatus.TERMINATED}
    main = {one.person: one.key for one in workforce.assignments if one.primary}

    def end_of(one: JobAssignment) -> Cell:
        """A leaver's job ends on the day we know of it at the latest."""
        ends = one.end
        return workforce.as_of if one.person in gone and (ends is None or ends > workforce.as_of) else ends

    for one in workforce.assignments:
        yield {
            "key": one.key,
            "person": one.person,
            "title": one.title,
            "organisation": one.organisation,
            "position": one.position,
            "manager": one.manager,
            "manager_job": main.get(one.manager) if one.manager else None,
            "start": one.start,
            "end": end_of(one),
            "primary": one.primary,
        }
