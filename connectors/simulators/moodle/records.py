"""What every list of records shares: pages, orders, column widths, places in an order."""

from collections.abc import Hashable
from typing import Any

from connectors.simulators.moodle.errors import database_read, database_write, invalid_parameter
from connectors.simulators.moodle.tables import Row, Table, collate


def page(rows: list[Row], skip: int, limit: int) -> list[Row]:
    """Return the rows of one page; a limit of 0 means all the rest."""
    return rows[skip : skip + limit] if limit else rows[skip:]


def ordered(rows: list[Row], sort: str, order: str, columns: set[str]) -> list[Row]:
    """Return rows sorted by a column as the database does; an unknown column fails like SQL."""
    if not sort:
        return rows
    if sort not in columns:
        raise database_read()

    def key(row: Row) -> Any:
        value = row[sort]
        if isinstance(value, str):
            return (1, collate(value))
        return (0, 0) if value is None else (1, value)

    return sorted(rows, key=key, reverse=order.upper() == "DESC")


def too_long(row: Row, **limits: int) -> None:
    """Raise the database's refusal of values longer than their columns."""
    for field, limit in limits.items():
        if row.get(field) is not None and len(row[field]) > limit:
            raise database_write(f"Data too long for column '{field}' at row 1")


def check_order(order: str) -> None:
    """Refuse a direction other than ASC, DESC or nothing."""
    if order not in ("", "ASC", "DESC"):
        raise invalid_parameter("Invalid order param. Must be ASC, DESC or empty.")


def next_place(table: Table, index: str, key: Hashable) -> int:
    """Return the sort order after the last row under an index key."""
    return max((row["sortorder"] for row in table.find(index, key)), default=-1) + 1


def by_place(rows: list[Row]) -> list[Row]:
    """Return rows in their sort order."""
    return sorted(rows, key=lambda row: (row["sortorder"], row["id"]))


def move(table: Table, rows: list[Row], from_row: Row, to_row: Row) -> None:
    """Put a row where another stands, shifting those between, as Moodle reorders linked competencies."""
    rows = by_place(rows)
    before = rows.index(from_row) < rows.index(to_row)
    rows.remove(from_row)
    rows.insert(rows.index(to_row) + (1 if before else 0), from_row)
    for place, row in enumerate(rows):
        table.update(row, {"sortorder": place})
