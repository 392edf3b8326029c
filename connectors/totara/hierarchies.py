"""Organisations, positions and competencies: items, file rows, and what a state report says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.model import Architecture, Competency, Organisation, Position, competency_key
from bridge.ports import Action, Change, Fields, Found, Item, KindSpec, Remark, Removal, Severity
from connectors.hrimport_rules.reading import columns_of
from connectors.hrimport_rules.state import SiteState
from connectors.totara.hrimport.files import Row, kept_form, parents_first
from connectors.totara.options import TotaraOptions
from connectors.totara.reports import ReportRows

ORGANISATION, POSITION, COMPETENCY = "organisation", "position", "competency"
ELEMENT_OF = {ORGANISATION: "org", POSITION: "pos", COMPETENCY: "comp"}
SPECS = (
    KindSpec(COMPETENCY, "competency", "competencies", Removal.RETIRE, tree=True),
    KindSpec(ORGANISATION, "organisation", "organisations", Removal.RETIRE, tree=True),
    KindSpec(POSITION, "position", "positions", Removal.RETIRE, tree=True),
)
_COLUMNS: Mapping[str, Mapping[str, str]] = {
    COMPETENCY: {
        "idnumber": "competency-idnumber",
        "name": "competency-fullname",
        "description": "competency-description",
        "framework": "framework-idnumber",
        "parent": "parent_competency-idnumber",
    },
    ORGANISATION: {
        "idnumber": "org-idnumber",
        "name": "org-fullname",
        "description": "org-description",
        "framework": "org-frameworkidnumber",
        "parent": "org-parentidnumber",
    },
    POSITION: {
        "idnumber": "pos-idnumber",
        "name": "pos-fullname",
        "description": "pos-description",
        "framework": "pos-frameworkidnumber",
        "parent": "pos-parentidnumber",
    },
}


def state_report_columns(kind: str) -> list[str]:
    """The columns the state report of a kind must have, as the report builder names them."""
    return list(_COLUMNS[kind].values())


@dataclass(slots=True)
class Translated:
    """The share of a translation that the hierarchies contribute."""

    items: list[Item] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    complete: set[str] = field(default_factory=set)


class Hierarchies:
    """The three kinds of hierarchy on one site."""

    def __init__(self, options: TotaraOptions) -> None:
        self.options = options

    def retired(self, framework: str) -> str:
        """The id number of the item that a framework's retired items hang under."""
        return framework + self.options.retired_suffix

    # -- from the model to items ------------------------------------------------------------------

    def translate(self, model: Architecture) -> Translated:
        """The items a site should hold, texts in the form it keeps, and what it cannot be told by files."""
        found = Translated()
        self._competencies(model, found)
        self._organisations(model.organisations, found)
        self._positions(model.positions, found)
        self._worklists(model, found)
        sources = {COMPETENCY: "competencies", ORGANISATION: "organisations", POSITION: "positions"}
        found.complete = {kind for kind, name in sources.items() if name in model.given}
        return found

    def _fields(self, kind: str, key: str, name: str, description: str, found: Translated) -> dict[str, str]:
        limit = columns_of(ELEMENT_OF[kind], self.options.hrimport)["fullname"]
        kept = kept_form(name, limit=limit)
        if kept != name:
            says = f"Totara keeps the name as “{kept}”: no tags, no outer blanks, {limit} characters at most"
            found.remarks.append(Remark(Severity.NOTE, kind, key, says))
        return {"name": kept, "description": kept_form(description, html=True)}

    def _competencies(self, model: Architecture, found: Translated) -> None:
        frameworks_of: dict[str, set[str]] = {}
        for one in model.competencies:
            frameworks_of.setdefault(one.idnumber, set()).add(one.framework)
        names = {framework.key: framework.name for framework in model.frameworks}
        for one in model.competencies:
            if len(frameworks_of[one.idnumber]) > 1:
                others = ", ".join(sorted(frameworks_of[one.idnumber]))
                says = (
                    f"HR Import knows a competency by its id number alone; {one.idnumber} is in {others}. It is not "
                    "sent until the id numbers differ."
                )
                found.remarks.append(Remark(Severity.WAITS, COMPETENCY, one.key, says))
                continue
            found.items.append(self._competency(one, names, found))

    def _competency(self, one: Competency, names: Mapping[str, str], found: Translated) -> Item:
        fields: Fields = self._fields(COMPETENCY, one.key, one.name, one.description, found)
        needs = ((COMPETENCY, one.parent),) if one.parent else ()
        return Item(COMPETENCY, one.key, fields, one.parent, names.get(one.framework, one.framework), needs)

    def _organisations(self, organisations: Sequence[Organisation], found: Translated) -> None:
        for one in organisations:
            fields: Fields = self._fields(ORGANISATION, one.key, one.name, "", found)
            needs = ((ORGANISATION, one.parent),) if one.parent else ()
            found.items.append(Item(ORGANISATION, one.key, fields, one.parent, "", needs))

    def _positions(self, positions: Sequence[Position], found: Translated) -> None:
        for one in positions:
            fields: Fields = self._fields(POSITION, one.key, one.title, "", found)
            needs = ((POSITION, one.parent),) if one.parent else ()
            found.items.append(Item(POSITION, one.key, fields, one.parent, one.family or "", needs))

    def _worklists(self, model: Architecture, found: Translated) -> None:
        """What no file can make becomes a worklist for the administrator."""
        for framework in model.frameworks:
            says = (
                f"The framework {framework.key} (“{framework.name}”) and its scale {framework.scale} must exist in "
                "Totara: no file makes them."
            )
            found.remarks.append(Remark(Severity.NOTE, COMPETENCY, framework.key, says))
        if model.requirements:
            says = (
                f"{len(model.requirements):,} requirements (which competency at which level for whom) have no file in "
                "Totara 17: assign the competencies to positions, organisations or audiences there. "
                "`lms-bridge totara requirements` lists them and tells which are done."
            )
            found.remarks.append(Remark(Severity.WAITS, COMPETENCY, "", says))
        if model.rules:
            says = (
                f"{len(model.rules):,} roll-up rules have no file in Totara 17: set the achievement paths of these "
                "competencies there."
            )
            found.remarks.append(Remark(Severity.WAITS, COMPETENCY, "", says))

    # -- from changes to file rows ----------------------------------------------------------------

    def idnumber(self, kind: str, key: str) -> str:
        """A key as the site's id number: a competency's goes without its framework."""
        return key.partition("/")[2] if kind == COMPETENCY else key

    def framework(self, kind: str, key: str) -> str:
        """The framework an item belongs to; empty where the settings name none."""
        return key.partition("/")[0] if kind == COMPETENCY else self.options.framework_of.get(kind, "")

    def refusal(self, change: Change) -> str:
        """Why a change cannot be said in a file; empty where it can."""
        element = ELEMENT_OF[change.kind]
        options = self.options.hrimport.element(element)
        if change.key in self.options.reserved:
            return f"{change.key} is reserved for somebody else by the settings of this site"
        if not self.framework(change.kind, change.key):
            return (
                f"the settings of this site name no framework for {change.kind}s: set framework_of.{change.kind} to "
                "the id number of one that exists in Totara"
            )
        to_top = change.action in {Action.MOVE, Action.REVIVE} and change.parent is None
        if to_top and not options.csvsaveemptyfields:
            return (
                "the site ignores empty strings, so no file moves anything to the top. Set “Empty strings erase "
                f"existing data” for the {element} element"
            )
        if change.erase and (options.sourceallrecords or not options.allow_delete):
            return f"the site does not delete by file: allow it for the {element} element, in partial mode"
        return ""

    def rows(self, changes: Iterable[Change], stamp: int) -> dict[str, dict[str, object]]:
        """The file's rows by id number, several changes of one object in one row."""
        rows: dict[str, dict[str, object]] = {}
        for change in changes:
            framework = self.framework(change.kind, change.key)
            key = self.idnumber(change.kind, change.key)
            values = {**(change.before or {}), **(change.after or {})}
            row = rows.setdefault(key, {"idnumber": key, "frameworkidnumber": framework, "timemodified": stamp})
            for name, column in (("name", "fullname"), ("description", "description")):
                # A move beside an update carries the texts of before: they do not stand over the new ones.
                if row.get(column) is None or name in change.fields:
                    row[column] = values.get(name, row.get(column))
            row.setdefault("typeidnumber", self.options.type_of.get(change.kind))
            if change.kind == COMPETENCY and change.action is Action.CREATE:
                row["aggregationmethod"] = self.options.aggregation
            if change.action is Action.REMOVE:
                if change.erase:
                    row["deleted"] = 1
                    continue
                retired = self.retired(framework)
                row["parentidnumber"] = retired
                rows.setdefault(retired, self._retired_row(change.kind, framework, retired, stamp))
            elif change.parent is not None:
                row["parentidnumber"] = self.idnumber(change.kind, change.parent)
        return rows

    def _retired_row(self, kind: str, framework: str, retired: str, stamp: int) -> dict[str, object]:
        row: dict[str, object] = {
            "idnumber": retired,
            "fullname": "Retired",
            "frameworkidnumber": framework,
            "timemodified": stamp,
        }
        if kind == COMPETENCY:
            row["aggregationmethod"] = "OFF"
        return row

    def ordered(self, kind: str, rows: Sequence[Row]) -> list[Row]:
        """Parents before their children."""
        del kind
        return parents_first(rows)

    def columns(self, kind: str) -> tuple[str, ...]:
        """The columns our files of a kind may hold."""
        base = ("fullname", "description", "frameworkidnumber", "parentidnumber")
        typed = ("typeidnumber",) if kind in self.options.type_of else ()
        return (*base, *typed, "aggregationmethod") if kind == COMPETENCY else (*base, *typed)

    # -- from a state report to what is there -----------------------------------------------------

    def read(self, kind: str, rows: ReportRows) -> Iterator[Found]:
        """What a state report shows of a kind; an item without id number has no key and is not ours."""
        columns = {name: column.replace("-", "_") for name, column in _COLUMNS[kind].items()}
        wanted = self.options.framework_of.get(kind)
        lines = list(rows.rows(kind, state_report_columns(kind)))
        framework_of = {line[columns["idnumber"]]: line[columns["framework"]] for line in lines}
        for line in lines:
            idnumber, framework = line[columns["idnumber"]], line[columns["framework"]]
            if not idnumber or idnumber == self.retired(framework):
                continue
            if kind != COMPETENCY and wanted and framework != wanted:
                continue
            above = line[columns["parent"]]
            retired = above == self.retired(framework)
            yield Found(
                kind,
                competency_key(framework, idnumber) if kind == COMPETENCY else idnumber,
                {"name": line[columns["name"]], "description": line[columns["description"]]},
                idnumber,
                self._parent_key(kind, above, framework_of),
                retired,
            )

    @staticmethod
    def _parent_key(kind: str, above: str, framework_of: Mapping[str, str]) -> str | None:
        if not above:
            return None
        return competency_key(framework_of.get(above, ""), above) if kind == COMPETENCY else above

    def held(self, state: SiteState, kind: str, rows: ReportRows) -> None:
        """Put a state report's items into a state that preflight can check against."""
        columns = {name: column.replace("-", "_") for name, column in _COLUMNS[kind].items()}
        hierarchy = state.hierarchy(ELEMENT_OF[kind])
        lines = list(rows.rows(kind, state_report_columns(kind)))
        for line in lines:
            hierarchy.add_framework(line[columns["framework"]])
            hierarchy.add(line[columns["idnumber"]], line[columns["framework"]])
        for line in lines:
            parent = hierarchy.by_idnumber.get(line[columns["parent"]]) if line[columns["parent"]] else None
            hierarchy.by_idnumber[line[columns["idnumber"]]].parent = parent
