"""Reading Moodle's own CSV of a competency framework, in whichever language and quoting it was exported.

A scale is the list of its labels; rules refer to competencies by the exported id; related competencies stand at both
ends; and a quote straight after a backslash is not doubled, as PHP writes it (observed on Moodle 4.5.6).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bridge.faults import Fault
from bridge.model import Scale, ScaleItem
from bridge.rows import Row, Source, same_header
from connectors.moodle.framework_csv import ALL_RULE, HEADINGS, LONGEST_NAME, OUTCOMES, POINTS_RULE, At
from connectors.tables import TableOptions, UnreadableTable, open_table

_OUTCOME_NAMES = {str(number): str(outcome) for outcome, number in OUTCOMES.items()}


@dataclass(slots=True)
class FrameworkRows:
    """A framework file as rows of the architecture's own files, by their base names, and what is wrong with it.

    `scales` are those the file needs; the rows describe the ones that were not known before.
    """

    rows: dict[str, list[Row]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    remarks: list[Fault] = field(default_factory=list)
    scales: tuple[Scale, ...] = ()


def is_framework_csv(path: Path) -> bool:
    """Return whether a file is a framework that Moodle exported, by its headings or, in another language, its look."""
    try:
        with open_table(path) as table:
            headings = {same_header(heading) for heading in HEADINGS}
            if sum(same_header(header) in headings for header in table.headers) >= len(HEADINGS) - 2:
                return True
            if len(table.headers) not in (len(HEADINGS) - 1, len(HEADINGS)):
                return False
            first = next(table.rows, None)
            cells = [] if first is None else [first.values.get(header, "") for header in table.headers]
            return any('"scaleid"' in cell and cell.lstrip().startswith("[") for cell in cells)
    except UnreadableTable:
        return False


def read_framework_csv(path: Path, known: Sequence[Scale] = (), name: str | None = None) -> FrameworkRows:
    """Read a framework file into rows. `known` scales are used where their labels and configuration are the same.

    Raises UnreadableTable where the file is no table at all.
    """
    file = name or path.name
    reading = _Reading(file, known)
    reading.take(_records(path, file, reading.found.faults))
    return reading.found


@dataclass(frozen=True, slots=True)
class _Record:
    """One line of a framework file, with its cells in the order of HEADINGS."""

    line: int
    cells: Sequence[str]


def _records(path: Path, file: str, faults: list[Fault]) -> tuple[tuple[str, ...], list[_Record]]:
    """Return the headings and records of a file, whichever way its quotes are written."""
    with open_table(path, options=TableOptions(name=file)) as table:
        headers, encoding, delimiter = table.headers, table.encoding, table.delimiter
        text = path.read_text(encoding)
        if '\\"' in text:
            tidy = _php_records(text, delimiter)
            if tidy is not None and all(len(record.cells) == len(headers) for record in tidy):
                return headers, tidy[1:]
        records = []
        for row in table.rows:
            if row.faults:
                faults.extend(row.faults)
            else:
                records.append(_Record(row.line, [row.values.get(header.strip(), "") for header in headers]))
        faults.extend(table.faults)
    return headers, records


def _php_records(text: str, delimiter: str) -> list[_Record] | None:
    """Return records quoted as PHP quotes: after a backslash, a quote belongs to the text and stands alone.

    None where something stands between a closing quote and the next delimiter: then it was quoted otherwise.
    """
    records: list[_Record] = []
    cell = re.compile(
        rf'"((?:[^"\\]|\\.|"")*)"([^{re.escape(delimiter)}\r\n]*)|([^{re.escape(delimiter)}\r\n]*)', re.DOTALL
    )
    at, line, start = 0, 1, 1
    cells: list[str] = []
    text = text.removeprefix("\ufeff")
    while at < len(text):
        found = cell.match(text, at)
        if found is None or found[2]:
            return None
        quoted = found[1]
        cells.append(found[3] if quoted is None else re.sub(r'\\.|""', _undoubled, quoted, flags=re.DOTALL))
        line += found[0].count("\n")
        at = found.end()
        if text[at : at + 1] == delimiter:
            at += 1
            if at < len(text):
                continue
            cells.append("")
        if any(cells):
            records.append(_Record(start, cells))
        at += 2 if text[at : at + 2] == "\r\n" else 1
        line += 1
        start, cells = line, []
    if cells:
        records.append(_Record(start, cells))
    return records


def _undoubled(found: re.Match[str]) -> str:
    """Return the one quote that two stand for, and what a backslash keeps from closing as it is."""
    return '"' if found[0] == '""' else found[0]


class _Reading:
    """The reading of one framework file."""

    def __init__(self, file: str, known: Sequence[Scale]) -> None:
        self.found = FrameworkRows()
        self._file = file
        self._known = list(known)
        self._headers: Sequence[str] = HEADINGS
        self._scales: dict[str, Scale] = {}

    def take(self, table: tuple[tuple[str, ...], list[_Record]]) -> None:
        """Turn the records into rows."""
        self._headers, records = _in_order(*table)
        frameworks = [record for record in records if record.cells[At.IS_FRAMEWORK] not in ("", "0")]
        if not frameworks:
            message = "The file has no row for the framework itself."
            remedy = "Export the framework again; its row has 1 in the column “Is framework”."
            self.found.faults.append(Fault(self._file, None, "", "", "framework-missing", message, remedy))
            return
        for record in frameworks[1:]:
            message = "The file has more than one framework; Moodle's importer would take only the last."
            self._fault(record, At.IS_FRAMEWORK, "framework-twice", message, "Make a file for each framework.")
        own = frameworks[0]
        framework = own.cells[At.IDNUMBER].strip()
        for base in ("competency_scales", "competency_frameworks", "competencies"):
            self.found.rows[base] = []
        names = {"framework": At.IDNUMBER, "name": At.NAME, "scale": At.SCALE, "description": At.DESCRIPTION}
        scale = self._scale(own)
        values = {
            "framework": framework,
            "name": own.cells[At.NAME],
            "scale": scale,
            "description": own.cells[At.DESCRIPTION],
        }
        self._row("competency_frameworks", own, values, names)
        competencies = [record for record in records if record not in frameworks]
        for record in competencies:
            self._competency(framework, record)
        self._rules(framework, competencies)
        self._related(framework, competencies)
        self.found.scales = tuple(self._scales.values())

    def _competency(self, framework: str, record: _Record) -> None:
        """Add the row of one competency."""
        cells = record.cells
        values = {
            "framework": framework,
            "idnumber": cells[At.IDNUMBER],
            "parent": cells[At.PARENT],
            "shortname": cells[At.NAME],
            "description": cells[At.DESCRIPTION],
            "scale": self._scale(record) if cells[At.SCALE] else "",
        }
        names = {
            "idnumber": At.IDNUMBER,
            "parent": At.PARENT,
            "shortname": At.NAME,
            "description": At.DESCRIPTION,
            "scale": At.SCALE,
        }
        self._row("competencies", record, values, names)

    def _scale(self, record: _Record) -> str:
        """Return the key of the scale a record describes, and add the scale's rows where it is a new one."""
        labels = [label.strip() for label in record.cells[At.SCALE].split(",")]
        if not any(labels):
            return ""
        configuration = self._configuration(record, len(labels))
        if configuration is None:
            return ""
        proficient, default = configuration
        items = tuple(
            ScaleItem(value, label, value in proficient, value in default) for value, label in enumerate(labels, 1)
        )
        for scale in self._known:
            if scale.items == items:
                self._scales.setdefault(scale.key, scale)
                return scale.key
        scale = Scale(_scale_key(items), _scale_name(items), items)
        self._known.append(scale)
        self._scales[scale.key] = scale
        names = {
            "scale": At.SCALE,
            "name": At.SCALE,
            "value": At.SCALE,
            "label": At.SCALE,
            "proficient": At.CONFIGURATION,
            "default": At.CONFIGURATION,
        }
        for item in items:
            values = {
                "scale": scale.key,
                "name": scale.name,
                "value": str(item.value),
                "label": item.label,
                "proficient": "1" if item.proficient else "0",
                "default": "1" if item.default else "0",
            }
            self._row("competency_scales", record, values, names)
        return scale.key

    def _configuration(self, record: _Record, size: int) -> tuple[frozenset[int], frozenset[int]] | None:
        """Return the proficient and default values of a scale configuration; None, with a fault, where it is none."""
        try:
            entries = json.loads(record.cells[At.CONFIGURATION])
            items = [(int(entry["id"]), entry) for entry in entries if "id" in entry]
            proficient = frozenset(value for value, entry in items if int(entry.get("proficient") or 0))
            default = frozenset(value for value, entry in items if int(entry.get("scaledefault") or 0))
        except (ValueError, TypeError, KeyError, AttributeError):
            message = "The scale's configuration cannot be read."
            remedy = "Export the framework again, and leave this column as Moodle wrote it."
            self._fault(record, At.CONFIGURATION, "scale-configuration", message, remedy)
            return None
        outside = sorted(value for value in proficient | default if not 1 <= value <= size)
        if outside:
            message = f"The scale's configuration speaks of value {outside[0]}, but the scale has {size} values."
            remedy = "Export the framework again, and leave both scale columns as Moodle wrote them."
            self._fault(record, At.CONFIGURATION, "level-outside", message, remedy)
            return None
        return proficient, default

    def _rules(self, framework: str, records: Iterable[_Record]) -> None:
        """Add the rows of the roll-up rules."""
        records = list(records)
        by_export_id = {record.cells[At.EXPORT_ID]: record.cells[At.IDNUMBER].strip() for record in records}
        names = {
            "competency": At.IDNUMBER,
            "rule": At.RULE,
            "outcome": At.OUTCOME,
            "required_points": At.RULE_CONFIG,
            "child": At.RULE_CONFIG,
            "points": At.RULE_CONFIG,
            "required": At.RULE_CONFIG,
        }
        for record in records:
            kind = record.cells[At.RULE].strip().lstrip("\\")
            if not kind:
                continue
            common = {
                "competency": f"{framework}/{record.cells[At.IDNUMBER].strip()}",
                "outcome": _OUTCOME_NAMES.get(record.cells[At.OUTCOME].strip() or "0", record.cells[At.OUTCOME]),
            }
            if kind == ALL_RULE:
                self._row("roll_up_rules", record, {**common, "rule": "all"}, names)
                continue
            if kind != POINTS_RULE:
                message = "No such rule is known; Moodle's importer leaves it out without a word."
                self._fault(record, At.RULE, "rule-kind", message, "Empty the cell, or write the rule's class name.")
                continue
            for child in self._points(record, by_export_id):
                values = {**common, "rule": "points", **child}
                if child["child"]:
                    values["child"] = f"{framework}/{child['child']}"
                self._row("roll_up_rules", record, values, names)

    def _points(self, record: _Record, by_export_id: Mapping[str, str]) -> list[dict[str, str]]:
        """Return what each child is worth under a points rule; a child that cannot be found is a fault."""
        try:
            config = json.loads(record.cells[At.RULE_CONFIG])
            needed = str(int(config["base"]["points"]))
            children = [
                (str(child["id"]), int(child["points"]), child.get("required")) for child in config["competencies"]
            ]
        except (ValueError, TypeError, KeyError, AttributeError):
            message = "The rule's configuration cannot be read."
            remedy = "Export the framework again, and leave this column as Moodle wrote it."
            self._fault(record, At.RULE_CONFIG, "rule-configuration", message, remedy)
            return []
        found: list[dict[str, str]] = []
        for export_id, points, required in children:
            child = by_export_id.get(export_id)
            if child is None:
                message = f"The rule counts the competency with the exported ID {export_id}, which no row has."
                remedy = "Export the framework again; the exported IDs must be those of the same file."
                self._fault(record, At.RULE_CONFIG, "competency-missing", message, remedy)
                continue
            must = "1" if required and str(required) != "0" else "0"
            found.append({"required_points": needed, "child": child, "points": str(points), "required": must})
        return found

    def _related(self, framework: str, records: Iterable[_Record]) -> None:
        """Add the rows of the related competencies, once a pair: the exporter names each at both ends."""
        records = list(records)
        there = {record.cells[At.IDNUMBER].strip() for record in records}
        pairs: set[frozenset[str]] = set()
        names = {"competency": At.IDNUMBER, "related": At.RELATED}
        for record in records:
            own = record.cells[At.IDNUMBER].strip()
            for written in record.cells[At.RELATED].split(","):
                other = written.replace("%2C", ",").strip()
                if not other or frozenset((own, other)) in pairs:
                    continue
                if other not in there:
                    message = f"The file has no competency “{other}”."
                    remedy = "Correct its ID number, or take it out; a comma inside one is written %2C."
                    self._fault(record, At.RELATED, "competency-missing", message, remedy)
                    continue
                pairs.add(frozenset((own, other)))
                values = {"competency": f"{framework}/{own}", "related": f"{framework}/{other}"}
                self._row("related_competencies", record, values, names)

    def _row(self, base: str, record: _Record, values: Mapping[str, str], columns: Mapping[str, int]) -> None:
        """Add a row of one of the architecture's files, whose faults will name this file's own headings."""
        source = Source(self._file, {column: self._headers[at] for column, at in columns.items()})
        self.found.rows.setdefault(base, []).append(Row(source, record.line, values))

    def _fault(self, record: _Record, column: int, rule: str, message: str, remedy: str) -> None:
        source = Source(self._file)
        heading, value = self._headers[column], record.cells[column]
        self.found.faults.append(source.fault(record.line, heading, value, rule, message, remedy))


def _in_order(headers: Sequence[str], records: Sequence[_Record]) -> tuple[Sequence[str], list[_Record]]:
    """Return headings and cells in the order of HEADINGS: by heading where enough are in English, else by position."""
    written = [same_header(header) for header in headers]
    places = [written.index(same_header(heading)) if same_header(heading) in written else -1 for heading in HEADINGS]
    if sum(place >= 0 for place in places) < len(HEADINGS) - 2:
        places = [place if place < len(headers) else -1 for place in range(len(HEADINGS))]
    ordered = [headers[place] if place >= 0 else HEADINGS[at] for at, place in enumerate(places)]
    return ordered, [
        replace(record, cells=[record.cells[place] if place >= 0 else "" for place in places]) for record in records
    ]


def _scale_name(items: Sequence[ScaleItem]) -> str:
    """Return a name for a scale that the file gives none."""
    name = ", ".join(item.label for item in items)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _scale_key(items: Sequence[ScaleItem]) -> str:
    """Return a key that scales with the same labels and configuration share, whichever file they come from."""
    flags = "".join("P" if item.proficient else "-" for item in items)
    default = ",".join(str(item.value) for item in items if item.default)
    ending = f" [{flags} {default}]"
    name = ", ".join(item.label for item in items)
    return f"{name[: LONGEST_NAME - len(ending)]}{ending}"
