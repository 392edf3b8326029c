"""Reading the files of a job architecture from a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bridge.faults import Fault
from bridge.model import Architecture
from bridge.rows import Row, same_header
from connectors.tables import Table, TableOptions, UnreadableTable, open_table
from mappings.architecture import FILES, FileSpec, build_architecture

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
        self.unreadable: set[str] = set()
        self.files: list[str] = []
        self.ignored: list[str] = []

    def offer(self, path: Path) -> None:
        """Take a file for what its name, or else its header, says it is."""
        spec = _SPECS.get(same_header(path.stem))
        if spec is not None:
            self._take(spec, path, path.name, None)
        else:
            self.ignored.append(path.name)

    def remarks(self) -> Iterator[Fault]:
        """Return what is doubtful about the tables: columns nobody asked for, and what their reader noticed."""
        for table in self._tables:
            for header in table.unknown:
                message = "Nothing reads this column."
                remedy = "If it should be read, give it one of the headers that the documentation lists."
                yield Fault(table.source.file, None, header, header, "header-unknown", message, remedy)
            yield from table.remarks

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
        self.rows[spec.name] = () if table.faults else table.rows
        if table.faults:
            self.unreadable.add(spec.name)
