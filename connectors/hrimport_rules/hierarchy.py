"""HR Import of organisations, positions and competencies: one fault in the file stops the whole element."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connectors.hrimport_rules.outcome import Aborted, ElementResult, Journal, Outcome, RowOutcome
from connectors.hrimport_rules.php import TRIM, clean_int, clean_text
from connectors.hrimport_rules.reading import CsvTable, LengthCheck, TimeReader
from connectors.hrimport_rules.settings import CustomField, HrImportSettings
from connectors.hrimport_rules.state import Hierarchy, Item, SiteState

_AGGREGATION = {"ALL": 1, "ANY": 2, "OFF": 3}
_AVAILABILITY = {"NONE": 0, "SELF": 1, "OTHER": 2, "ANY": 3}


class _Row:
    """A row that reached the import; None stands for "leave what is there"."""

    __slots__ = (
        "aggregation",
        "deleted",
        "framework",
        "idnumber",
        "line",
        "outcome",
        "parent",
        "rule",
        "timemodified",
        "type",
        "values",
        "warning",
    )

    def __init__(self, line: int, idnumber: str) -> None:
        self.line = line
        self.idnumber = idnumber
        self.framework: str | None = ""
        self.parent: str | None = ""
        self.type: str | None = ""
        self.timemodified = 0
        self.deleted = False
        self.aggregation: int | None = None
        self.values: dict[str, Any] | None = None
        self.outcome: Outcome = "skip"
        self.rule = "unchanged"
        self.warning = ""


class HierarchyImport:
    """One run of one hierarchy element over a file."""

    def __init__(
        self,
        element: str,
        state: SiteState,
        settings: HrImportSettings,
        *,
        now: int,
        keep_values: bool,
        keep_info: bool,
    ) -> None:
        self.element = element
        self.state = state
        self.settings = settings
        self.options = settings.element(element)
        self.now = now
        self.keep_values = keep_values
        self.hierarchy: Hierarchy = state.hierarchy(element)
        self.journal = Journal(element, keep_info=keep_info)
        self.result = ElementResult(element)
        self.rows: list[_Row] = []
        self.first_of: dict[str, _Row] = {}
        self.custom_columns: list[str] = []

    def run(self, source: bytes | Path) -> ElementResult:
        """Import the file into the state and say what happened."""
        self.journal.add("info", f"{self.element}sync", "syncstarted")
        try:
            self._read(source)
            self._check()
            self._apply()
            self._delete()
        except Aborted as stop:
            self.result.aborts = True
            self.result.reason = stop.reason
            self.result.detail = stop.detail
            for row in self.rows:
                if row.outcome == "skip":
                    row.outcome, row.rule = "refuse", stop.reason
        else:
            self.journal.add("info", f"{self.element}sync", "syncfinished")
        self.result.take(RowOutcome(row.line, row.idnumber, row.outcome, row.rule) for row in self.rows)
        self.result.log = self.journal.rows
        return self.result

    def hold(self, source: bytes | Path, custom_types: Mapping[str, CustomField]) -> bool:
        """Take the file's rows as what the site holds, unchecked; False when the file cannot be read.

        Frameworks, types and their custom fields are those the rows name. A parent outside the file exists,
        but is nobody's to delete.
        """
        try:
            self._read(source)
        except Aborted:
            return False
        hierarchy = self.hierarchy
        kept = [row for row in self.rows if not row.deleted]
        shorts = [name.removeprefix("customfield_") for name in self.custom_columns]
        for row in kept:
            if row.framework:
                hierarchy.add_framework(row.framework)
            if row.type:
                hierarchy.types.setdefault(
                    row.type, {short: custom_types.get(short, CustomField()) for short in shorts}
                )
        for row in kept:
            item = hierarchy.by_idnumber.get(row.idnumber) or hierarchy.add(row.idnumber, row.framework or "")
            item.type = row.type or ""
            item.timemodified = row.timemodified
            if self.keep_values:
                item.fields = {"fullname": "", "shortname": "", "description": "", **(row.values or {})}
                if self.element == "comp":
                    item.fields["aggregationmethod"] = row.aggregation
                self._keep_custom(item)
        for row in kept:
            if row.parent:
                parent = hierarchy.by_idnumber.get(row.parent)
                if parent is None:
                    parent = hierarchy.add(row.parent, row.framework or "")
                    parent.totarasync = False
                hierarchy.by_idnumber[row.idnumber].parent = parent
        return True

    # -- reading ----------------------------------------------------------------------------------

    def _read(self, source: bytes | Path) -> None:
        table = CsvTable(source, self.settings, self.journal, self.result)
        try:
            self._read_rows(table)
        finally:
            table.close()

    def _read_rows(self, table: CsvTable) -> None:
        times = TimeReader(self.settings)
        lengths = LengthCheck(table, self.journal)
        chosen = table.selection.plain
        at = {name: table.index.get(name, -1) for name in chosen}
        erase = self.options.erases
        custom = [(name, table.index[name]) for name in table.selection.custom if name in table.index]
        self.custom_columns = [name for name, _ in custom]
        refused: str | None = None
        described = at.get("description", -1)
        for line, raw, tagged in table.rows():
            fields = [value.strip(TRIM) for value in raw]
            if tagged:
                fields = [value if place == described else clean_text(value) for place, value in enumerate(fields)]

            def value_of(name: str, fields: list[str] = fields) -> str | None:
                """A plain column's value; None leaves what is there: not imported, or not in the file."""
                place = at.get(name, -1)
                if place < 0:
                    return None
                value = fields[place]
                return None if value == "" and not erase else value

            idnumber = value_of("idnumber")
            row = _Row(line, idnumber or "")
            row.framework = value_of("frameworkidnumber")
            row.parent = value_of("parentidnumber")
            row.type = self._type_of(fields, at, erase)
            row.deleted = "deleted" in at and clean_int(fields[at["deleted"]] if at["deleted"] >= 0 else "") == 1
            text = fields[at["timemodified"]] if at.get("timemodified", -1) >= 0 else ""
            stamp = self.now if text in {"", "0"} else times.stored(text)
            if self.element == "comp":
                self._read_aggregation(row, fields, at, erase)
            if custom:
                self._check_custom(row, raw, fields, custom, at.get("typeidnumber", -1))
            if lengths.too_long(fields):
                if self.settings.modern:
                    # Dropped here, the row counts as missing later (order 33).
                    self.result.rows.append(RowOutcome(line, row.idnumber, "refuse", "lengthlimitexceeded"))
                    lengths.row_done()
                    continue
                refused = refused or "a value is too long for its column"
            if idnumber is None:
                refused = refused or "idnumber is empty"
            if stamp is None:
                refused = refused or f"timemodified {text!r} is neither a unix time nor a date in the site's format"
            row.timemodified = stamp or 0
            if self.keep_values:
                row.values = self._values(fields, at, custom, erase)
            self.rows.append(row)
            lengths.row_done()
        lengths.flush()
        if refused is not None:
            self.journal.add(
                "error",
                "populatesynctablecsv",
                "couldnotimportallrecords",
                detail="Error writing to database",
            )
            reason = "couldnotimportallrecords"
            raise Aborted(reason, refused)
        for row in self.rows:
            self.first_of.setdefault(row.idnumber, row)

    @staticmethod
    def _type_of(fields: list[str], at: dict[str, int], erase: bool) -> str | None:
        """The type; a column switched on but not in the file, or a 0, is a blank."""
        if "typeidnumber" not in at:
            return None
        text = fields[at["typeidnumber"]] if at["typeidnumber"] >= 0 else ""
        return text if text not in {"", "0"} else ("" if erase else None)

    def _read_aggregation(self, row: _Row, fields: list[str], at: dict[str, int], erase: bool) -> None:
        name = "assignavailability" if self.settings.competency_assignment else "aggregationmethod"
        words = _AVAILABILITY if self.settings.competency_assignment else _AGGREGATION
        place = at.get(name, -1)
        text = fields[place] if place >= 0 else ""
        if text == "" and (place < 0 or not erase):
            return
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else words.get(text.upper())
        if number in words.values():
            row.aggregation = number
        elif name == "aggregationmethod":
            self.journal.add("error", "populatesynctablecsv", "unrecognisedaggregrationmethod", value=text)
            row.warning = "unrecognisedaggregrationmethod"

    def _check_custom(
        self, row: _Row, raw: list[str], fields: list[str], custom: list[tuple[str, int]], type_at: int
    ) -> None:
        type_name = raw[type_at] if type_at >= 0 else ""
        own = self.hierarchy.types.get(type_name)
        for name, place in custom:
            if fields[place] in {"", "0"}:
                continue
            short = name.removeprefix("customfield_")
            if type_name == "":
                if any(short in definition for definition in self.hierarchy.types.values()):
                    self.journal.add("error", "customfieldprocessing", "customfieldsnotype", idnumber=row.idnumber)
                    row.warning = "customfieldsnotype"
            elif own is None or short not in own:
                self.journal.add(
                    "error",
                    "customfieldprocessing",
                    "customfieldinvalidmaptype",
                    idnumber=row.idnumber,
                    column=name,
                    type=type_name,
                )
                row.warning = "customfieldinvalidmaptype"

    def _values(
        self, fields: list[str], at: dict[str, int], custom: list[tuple[str, int]], erase: bool
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in ("fullname", "shortname", "description"):
            if name in at:
                text = fields[at[name]] if at[name] >= 0 else ""
                if text or erase:
                    values[name] = text
        for name, place in custom:
            if fields[place] or erase:
                values[name] = fields[place]
        return values

    # -- the checks that stop the element ---------------------------------------------------------

    def _fail(self, code: str, **values: str) -> None:
        self.journal.add("error", "checksanity", code, **values)

    def _stop(self, reason: str, detail: str) -> None:
        self.journal.add("error", f"{self.element}sync", "sanitycheckfailed")
        raise Aborted(reason, detail)

    def _check(self) -> None:
        presumed = self.element in self.state.presumed
        frameworks = {row.framework for row in self.rows if row.framework is not None}
        self._stop_on("frameworkxnotexist", [] if presumed else sorted(frameworks - self.hierarchy.frameworks.keys()))
        seen: set[str] = set()
        twice: dict[str, None] = {}
        for row in self.rows:
            if row.idnumber in seen:
                twice[row.idnumber] = None
            seen.add(row.idnumber)
        for idnumber in twice:
            self.journal.add("warn", "checksanity", "duplicateidnumberx", idnumber=idnumber)
        parents = dict.fromkeys(row.parent for row in self.rows if row.parent)
        missing = [name for name in parents if name not in seen]
        if self.options.sourceallrecords:
            self._stop_on("parentxnotexistinfile", missing)
        elif not presumed:
            self._stop_on("parentxnotexist", [name for name in missing if name not in self.hierarchy.by_idnumber])
        types = dict.fromkeys(row.type for row in self.rows if row.type)
        self._stop_on("typexnotexist", [] if presumed else [name for name in types if name not in self.hierarchy.types])
        self._check_circles()
        if self.element == "comp" and not self.settings.competency_assignment and not presumed:
            unset = [
                row.idnumber
                for row in self.rows
                if row.aggregation is None and row.idnumber not in self.hierarchy.by_idnumber
            ]
            for idnumber in unset:
                self._fail("aggregrationmethodmusthavevalue", idnumber=idnumber)
            if unset:
                self._stop("aggregrationmethodmusthavevalue", ", ".join(unset))
        if not self.options.sourceallrecords and self.options.switched.get("deleted") is False:
            self.journal.add("error", f"{self.element}sync", "deletefieldmissingnotallrecords")
            reason = "deletefieldmissingnotallrecords"
            raise Aborted(reason)

    def _stop_on(self, code: str, names: list[str]) -> None:
        if names:
            for name in names:
                self._fail(code, name=name)
            self._stop(code, ", ".join(names))

    def _check_circles(self) -> None:
        parent_of: dict[str, str] = {row.idnumber: row.parent or "" for row in self.rows}
        if not self.options.sourceallrecords:
            for item in self.hierarchy.items.values():
                parent_of.setdefault(item.idnumber, item.parent.idnumber if item.parent else "")
        rooted: set[str] = {""}
        for start in parent_of:
            trail: list[str] = []
            on_trail: set[str] = set()
            node = start
            while node not in rooted and node in parent_of and node not in on_trail:
                trail.append(node)
                on_trail.add(node)
                node = parent_of[node]
            if node in rooted or node not in parent_of:
                rooted.update(trail)
        naughty = [node for node in parent_of if node not in rooted]
        if naughty:
            names = ", ".join(naughty)
            self._fail("circularreferror", names=names)
            self._stop("circularreferror", names)

    # -- creating and updating --------------------------------------------------------------------

    def _apply(self) -> None:
        held = self.hierarchy.by_idnumber
        unchanged = {
            row.idnumber
            for row in self.rows
            if row.idnumber in held and held[row.idnumber].timemodified == row.timemodified
        }
        for row in self.rows:
            if row.idnumber in unchanged:
                row.rule = "timemodified"
            else:
                try:
                    self._sync(row, set())
                except Aborted as stop:
                    self.journal.add("error", "syncitem", stop.reason, idnumber=stop.detail)
                    raise

    def _sync(self, row: _Row, above: set[str]) -> None:
        if not self.options.allow_create and not self.options.allow_update:
            self._leave(row, "allow_create" if row.idnumber not in self.hierarchy.by_idnumber else "allow_update")
            return
        item = self.hierarchy.by_idnumber.get(row.idnumber)
        framework = row.framework
        if framework is None and item is None and self.element in self.state.presumed:
            # It is an update of something we cannot see.
            framework = ""
        if framework is None:
            if item is None:
                row.outcome, row.rule = "refuse", "existingitemxframeworkidnotfound"
                reason = "existingitemxframeworkidnotfound"
                raise Aborted(reason, row.idnumber)
            framework = item.framework
        parent = self._parent(row, item, above)
        if item is None:
            # The parent's own turn may have brought this very row in (a circle through the site's own tree).
            item = self.hierarchy.by_idnumber.get(row.idnumber)
        if item is None:
            self._create(row, framework, parent)
        elif not item.totarasync:
            self._leave(row, "totarasync")
        elif row.timemodified and row.timemodified == item.timemodified:
            self._leave(row, "timemodified")
        elif not self.options.allow_update:
            self._leave(row, "allow_update")
        else:
            self._update(row, item, framework, parent)

    @staticmethod
    def _leave(row: _Row, rule: str) -> None:
        if row.outcome == "skip":
            row.rule = rule

    def _parent(self, row: _Row, item: Item | None, above: set[str]) -> Item | None:
        if row.parent is None:
            return item.parent if item is not None else None
        if row.parent == "":
            return None
        found = self.hierarchy.by_idnumber.get(row.parent)
        if found is None and row.parent in self.first_of and row.parent not in above:
            try:
                self._sync(self.first_of[row.parent], above | {row.idnumber})
            except Aborted as stop:
                reason = "cannotsyncitemparent"
                row.outcome, row.rule = "refuse", reason
                raise Aborted(reason, row.parent) from stop
            found = self.hierarchy.by_idnumber.get(row.parent)
        return found

    def _create(self, row: _Row, framework: str, parent: Item | None) -> None:
        if not self.options.allow_create:
            self._leave(row, "allow_create")
            return
        item = self.hierarchy.add(row.idnumber, framework)
        item.parent = parent
        item.type = row.type or ""
        # The clock, not the file: the same file again updates once (orders 0-2).
        item.timemodified = self.now
        if self.keep_values:
            item.fields = {"fullname": "", "shortname": "", "description": "", **(row.values or {})}
            if self.element == "comp":
                item.fields["aggregationmethod"] = row.aggregation
            self._keep_custom(item)
        self.journal.add("info", "syncitem", "createdx", item=f"{self.element} {row.idnumber}")
        row.outcome, row.rule = "create", row.warning or "createdx"

    def _keep_custom(self, item: Item) -> None:
        """Only the fields of the item's own type are stored."""
        own = self.hierarchy.types.get(item.type, {})
        assert item.fields is not None  # noqa: S101 - the caller has just set it
        item.fields = {
            name: value
            for name, value in item.fields.items()
            if not name.startswith("customfield_") or name.removeprefix("customfield_") in own
        }

    def _update(self, row: _Row, item: Item, framework: str, parent: Item | None) -> None:
        moved = parent is not item.parent or framework != item.framework
        if row.type is not None:
            item.type = row.type
        item.timemodified = row.timemodified or self.now
        if self.keep_values and item.fields is not None:
            item.fields.update(row.values or {})
            if row.aggregation is not None:
                item.fields["aggregationmethod"] = row.aggregation
            self._keep_custom(item)
        # A move under an item of another framework, or under itself, fails silently: the rest is updated.
        if moved and (parent is None or (parent.framework == framework and item not in parent.path())):
            item.parent = parent
            item.framework = framework
        self.journal.add("info", "syncitem", "updatedx", item=f"{self.element} {row.idnumber}")
        if row.outcome != "create":
            row.outcome, row.rule = "update", row.warning or "updatedx"

    # -- deleting ---------------------------------------------------------------------------------

    def _delete(self) -> None:
        if not self.options.allow_delete:
            return
        doomed: list[Item] = []
        flagged: dict[str, list[_Row]] = {}
        if self.options.sourceallrecords:
            kept = {row.idnumber for row in self.rows}
            doomed = [item for item in self.hierarchy.items.values() if item.totarasync and item.idnumber not in kept]
        else:
            for row in self.rows:
                if row.deleted:
                    flagged.setdefault(row.idnumber, []).append(row)
            for idnumber in flagged:
                item = self.hierarchy.by_idnumber.get(idnumber)
                if item is not None and item.totarasync:
                    doomed.append(item)
        if not doomed:
            return
        children = self.hierarchy.children()
        gone: dict[int, Item] = {}
        for item in sorted(doomed, key=lambda member: member.id):
            label = f"{self.element} {item.idnumber}"
            # A row repeated in the file asks again for what is already gone.
            for _ in range(len(flagged.get(item.idnumber, "1"))):
                if item.id in gone:
                    self.journal.add("warn", f"{self.element}sync", "cannotdeletex", item=label)
                    continue
                for member in self.hierarchy.subtree(item, children):
                    gone.setdefault(member.id, member)
                self.journal.add("info", f"{self.element}sync", "deletedx", item=label)
            for row in flagged.get(item.idnumber, ()):
                row.outcome, row.rule = "delete", "deletedx"
        members = list(gone.values())
        self.result.removed.extend(member.idnumber for member in members)
        self.state.remove_items(self.element, members)
