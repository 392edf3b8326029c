"""Opening a table, whatever kind of file it is in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bridge.faults import Fault
from bridge.rows import Column
from connectors.tables.delimited import open_delimited
from connectors.tables.table import Table, TableOptions, UnreadableTable
from connectors.tables.workbook import open_workbook

WORKBOOKS = frozenset({".xlsx", ".xlsm"})
"""Suffixes of files that are read as workbooks; everything else is delimited text."""


def open_table(path: Path, columns: Sequence[Column] = (), options: TableOptions | None = None) -> Table:
    """Open a CSV file or workbook and return its headers and a stream of its rows.

    With `columns`, headers are matched to them by name or alias, and rows have one value a column found; without,
    every header is a column. Memory is bounded by the longest row. Raises UnreadableTable where no row can be read.
    """
    options = options or TableOptions()
    file = options.name or path.name
    opener = open_workbook if path.suffix.lower() in WORKBOOKS else open_delimited
    try:
        return opener(path, file, columns, options)
    except FileNotFoundError:
        raise UnreadableTable(
            Fault(file, None, "", str(path), "file-missing", "There is no such file.", "Check the name and the folder.")
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableTable(
            Fault(
                file,
                None,
                "",
                str(path),
                "file-unreadable",
                f"The file cannot be read: {reason}.",
                "Check that it is a file, that this account may read it, and that no other program holds it.",
            )
        ) from None
