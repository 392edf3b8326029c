"""What a site that takes only files can be told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from connectors.files.template import ACTIVE, DELETED, KEY, PARENT, Column


class TakenWhen(StrEnum):
    """What tells that the LMS has taken a file. What it then did with the rows, nobody tells."""

    GONE = "gone"
    """The file disappears from where it was put."""
    RECEIPT = "receipt"
    """A receipt appears beside it."""
    HANDED_OVER = "handed_over"
    """Nothing: putting it there is all there is."""


@dataclass(frozen=True)
class FileTemplate:
    """The file of one kind: its name, its columns, and where the LMS exports the same, if it does."""

    kind: str
    name: str
    """May hold ``{stamp}``: the moment of writing, as YYYYMMDDhhmmss."""
    columns: tuple[Column, ...]
    everything: bool = False
    """True where the LMS takes a file for all there is: each one lists every object, and what it does not list goes."""
    export: str = ""
    """Name of a file, in the exports folder, in which the LMS shows what it holds, under the same headings."""

    def column_with(self, field_name: str) -> Column | None:
        """The column that is one field and nothing else."""
        return next((one for one in self.columns if one.single == field_name), None)

    def switch(self, field_name: str) -> Column | None:
        """The column made of one yes-or-no field."""
        return next((one for one in self.columns if one.fields == {field_name} and len(one.pieces) == 1), None)

    @cached_property
    def compared(self) -> tuple[Column, ...]:
        """The columns that are an object's fields: neither its key, nor its place, nor whether it is still there."""
        special = {KEY, PARENT} if self.tree else {KEY}
        return tuple(one for one in self.columns if one.single not in special and not one.fields & {ACTIVE, DELETED})

    @cached_property
    def tree(self) -> bool:
        """Whether the file says under what an object hangs."""
        return self.column_with(PARENT) is not None


@dataclass(frozen=True, slots=True)
class FilesOptions:
    """Where an LMS takes its files, how they are written, and what can be known of them afterwards."""

    spool: Path
    """Our own folder for files on their way and for receipts."""
    files: tuple[FileTemplate, ...] = ()
    """In the order in which they are delivered."""
    taken_when: TakenWhen = TakenWhen.GONE
    receipt: str = "{file}.ok"
    failure: str = "{file}.err"
    waves: bool = False
    """Hand a kind over only when the LMS has taken those before it."""
    delimiter: str = ","
    encoding: str = "UTF-8"
    line_end: str = "\r\n"
    quote_all: bool = False
    backslash_escapes: bool = False
    """True for an LMS that reads a backslash before a quote as an escape (anything that uses PHP's fgetcsv)."""
    exports: Path | None = None
    """The folder with the LMS's own exports."""
    settle_within_hours: float = 48.0
    reserved: frozenset[str] = frozenset()
    """Keys that belong to somebody else: they are never written."""
    site_name: str = "Files"

    def template(self, kind: str) -> FileTemplate | None:
        """The file of a kind; None where the LMS takes none."""
        return next((one for one in self.files if one.kind == kind), None)
