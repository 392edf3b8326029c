"""Rows out of CSV files and workbooks, each with the place it came from; and tables into files."""

from connectors.tables.reader import open_table
from connectors.tables.table import LONGEST_VALUE, Table, TableOptions, UnreadableTable

__all__ = ["LONGEST_VALUE", "Table", "TableOptions", "UnreadableTable", "open_table"]
