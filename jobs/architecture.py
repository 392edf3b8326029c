"""Reading the files of a job architecture from a folder: CSV, workbooks, and frameworks that Moodle exported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from bridge.faults import Fault
from bridge.model import Architecture
from bridge.rows import Row, same_header
from connectors.moodle.framework_csv_reader import is_framework_csv, read_framework_csv
from connectors.tables import WORKBOOKS, Table, TableOptions, UnreadableTable, open_table, sheet_names
from mappings.architecture import FILES, FileSpec, build_architecture
from mappings.architecture.cells import Findings
from mappings.architecture.scales import read_scales

SUFFIXES = (".csv", ".xlsx", ".xlsm")
"""Suffixes of files that are looked at."""

WORKBOOK = "architecture"
"""Base name of the workbook that has a sheet for each file."""

_SPECS: Mapping[str, FileSpec] = {same_header(name): spec for spec in FILES for name in (spec.name, *spec.aliases)}


@dataclass(frozen=True, slots=True)
class ArchitectureReading:
    """What a folder says. With any fault the architecture is what was sound, and must not be planned from.

    `files` are the names of those read, `ignored` those that looked like tables but are none of the architecture's.
    """

    architecture: Architecture
    faults: tuple[Fault, ...] = ()
    remarks: tuple[Fault, ...] = ()
    files: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def read_architecture(folder: Path) -> ArchitectureReading:
    """Read the architecture files of a folder. Whatever is wrong with them is in the reading; nothing is raised."""
    if not folder.is_dir():
        message = "This is a file, not a folder." if folder.exists() else "There is no such folder."
        remedy = "Name the folder that holds competencies.csv and the other files of the job architecture."
        return ArchitectureReading(Architecture(), (Fault(str(folder), None, "", "", "folder", message, remedy),))
    with ExitStack() as opened:
        tables = _Tables(opened)
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith((".", "~$")) and path.is_file():
                tables.offer(path)
        tables.read_frameworks()
        if not tables.files and not tables.faults:
            message = "The folder holds none of the files of a job architecture."
            remedy = f"Put at least one of these there, as .csv or .xlsx: {', '.join(spec.name for spec in FILES)}."
            tables.faults.append(Fault(str(folder), None, "", "", "no-files", message, remedy))
        built = build_architecture(tables.rows, frozenset(tables.unreadable))
        return ArchitectureReading(
            built.architecture,
            (*tables.faults, *built.faults),
            (*tables.remarks(), *built.remarks),
            tuple(tables.files),
            tuple(tables.ignored),
        )


class _Tables:
    """The tables found in a folder, by the base name of the file they stand for."""

    def __init__(self, opened: ExitStack) -> None:
        self._opened = opened
        self._tables: list[Table] = []
        self._named: dict[str, str] = {}
        self.rows: dict[str, Iterable[Row]] = {}
        self.faults: list[Fault] = []
        self._frameworks: list[Path] = []
        self._unread_sheets: list[Fault] = []
        self.unreadable: set[str] = set()
        self.files: list[str] = []
        self.ignored: list[str] = []

    def offer(self, path: Path) -> None:
        """Take a file for what its name, or else its header, says it is."""
        spec = _SPECS.get(same_header(path.stem))
        workbook = path.suffix.lower() in WORKBOOKS
        if spec is not None:
            self._take(spec, path, path.name, None)
        elif workbook and same_header(path.stem) == WORKBOOK:
            self._take_sheets(path)
        elif not workbook and is_framework_csv(path):
            self._frameworks.append(path)
        else:
            self.ignored.append(path.name)

    def read_frameworks(self) -> None:
        """Read the framework files that Moodle exported, once it is known which scales the other files have."""
        if not self._frameworks:
            return
        with_competencies = "competencies" in self.rows
        scale_rows = list(self._guarded(self.rows.get("competency_scales", ())))
        scales = list(read_scales(scale_rows, Findings()).values())
        if scale_rows:
            self.rows["competency_scales"] = scale_rows
        for path in self._frameworks:
            self.files.append(path.name)
            try:
                found = read_framework_csv(path, scales)
            except UnreadableTable as error:
                self.faults.append(error.fault)
                continue
            self.faults.extend(found.faults)
            known = {scale.key for scale in scales}
            scales.extend(scale for scale in found.scales if scale.key not in known)
            for name, rows in found.rows.items():
                self.rows[name] = chain(self.rows.get(name, ()), rows)
        if not with_competencies:
            # The files speak for all competencies there are, so also for what relates them and rolls them up.
            for name in ("related_competencies", "roll_up_rules"):
                self.rows.setdefault(name, ())

    def remarks(self) -> Iterator[Fault]:
        """Return what is doubtful about the tables: columns nobody asked for, and what their reader noticed."""
        for table in self._tables:
            for header in table.unknown:
                message = "Nothing reads this column."
                remedy = "If it should be read, give it one of the headers that the documentation lists."
                yield Fault(table.source.file, None, header, header, "header-unknown", message, remedy)
            yield from table.remarks
        yield from self._unread_sheets

    def _take_sheets(self, path: Path) -> None:
        """Take each sheet of the one workbook for the file of the same name."""
        try:
            sheets = sheet_names(path, path.name)
        except UnreadableTable as error:
            self.files.append(path.name)
            self.faults.append(error.fault)
            return
        for sheet in sheets:
            spec = _SPECS.get(same_header(sheet))
            name = f"{path.name} ({sheet})"
            if spec is not None:
                self._take(spec, path, name, sheet)
                continue
            message = "No file of the architecture has this sheet's name, so nothing reads it."
            remedy = f"If it should be read, rename it to one of: {', '.join(spec.name for spec in FILES)}."
            self._unread_sheets.append(Fault(name, None, "", sheet, "sheet-unknown", message, remedy))

    def _take(self, spec: FileSpec, path: Path, name: str, sheet: str | None) -> None:
        """Open a table as the file it stands for."""
        self.files.append(name)
        earlier = self._named.setdefault(spec.name, name)
        if earlier != name:
            message = f"{earlier} and {name} both stand for {spec.name}."
            self.faults.append(Fault(name, None, "", "", "file-twice", message, "Take one of the two away."))
            return
        try:
            table = self._opened.enter_context(open_table(path, spec.columns, TableOptions(name=name, sheet=sheet)))
        except UnreadableTable as error:
            self.faults.append(error.fault)
            self.rows[spec.name] = ()
            self.unreadable.add(spec.name)
            return
        self._tables.append(table)
        self.faults.extend(table.faults)
        self.rows[spec.name] = () if table.faults else self._guarded(table.rows)
        if table.faults:
            self.unreadable.add(spec.name)

    def _guarded(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Go through rows; a file that turns out to be damaged on the way ends there, with a fault."""
        try:
            yield from rows
        except UnreadableTable as error:
            self.faults.append(error.fault)
