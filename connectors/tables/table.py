"""What a table is to its readers: headers, rows as they stream by, and what was wrong with either."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType

from bridge.faults import Fault
from bridge.ports import FixConfiguration
from bridge.rows import Row, Source

LONGEST_VALUE = 1_000_000
"""Characters of the longest value taken, unless an option says otherwise; no HR system has a longer one."""


class UnreadableTable(FixConfiguration):
    """A file of which not one row can be read. `fault` says why, and what to do."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What is declared about a file. Everything left None is found out, and never guessed into the data.

    `name` is what faults call the file; `sheet` names a workbook's sheet (else the first that is visible is read).
    """

    name: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    longest_value: int = LONGEST_VALUE


@dataclass(slots=True)
class Table:
    """An open table. Use it in a `with` statement; `rows` streams and can be gone through once.

    `headers` are as written, `unknown` those that no column answers to. `faults` are about the headers and stand from
    the start; faults of rows travel with the rows. `remarks` gathers, while the rows go by, what is doubtful.
    """

    source: Source
    headers: tuple[str, ...]
    rows: Iterator[Row]
    faults: tuple[Fault, ...] = ()
    unknown: tuple[str, ...] = ()
    remarks: list[Fault] = field(default_factory=list)
    encoding: str = ""
    delimiter: str = ""
    close: Callable[[], None] = lambda: None

    def __enter__(self) -> Table:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
