"""Rows out of CSV files and workbooks, each with the place it came from; and tables into files."""

from connectors.tables.reader import WORKBOOKS, open_table
from connectors.tables.table import LONGEST_VALUE, Table, TableOptions, UnreadableTable
from connectors.tables.workbook import sheet_names
from connectors.tables.write import LONGEST_WORKBOOK_CELL, Cell, harmless, write_table

__all__ = [
    "LONGEST_VALUE",
    "LONGEST_WORKBOOK_CELL",
    "WORKBOOKS",
    "Cell",
    "Table",
    "TableOptions",
    "UnreadableTable",
    "harmless",
    "open_table",
    "sheet_names",
    "write_table",
]
