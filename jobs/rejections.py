"""What was refused in the feeds' rows: as a list, and as a workbook that the sender can mend from."""

from __future__ import annotations

from pathlib import Path

from bridge.ports import FixConfiguration
from bridge.store import Store, feeds
from bridge.store.feeds import Rejection
from connectors.tables import write_table
from jobs.feed_reading import Found

HEADERS = ("File", "Line", "Person", "Column", "Value", "What is wrong", "What to do", "Taken", "Rule")


def list_rejections(store: Store, feed: str | None = None, *, cleared: bool = False) -> list[Rejection]:
    """Return what stands refused, by feed, file and line."""
    with store.read() as connection:
        return list(feeds.rejections(connection, feed, cleared=cleared))


def as_rejection(feed: str, one: Found) -> Rejection:
    """Return what was found in a file that was only looked at, as a rejection."""
    return Rejection(feed, 0, one.fault, one.person, one.refused, one.cells)


def export_rejections(found: list[Rejection], path: Path) -> int:
    """Write rejections with the cells of their rows to a workbook (or .csv, .jsonl); return how many lines it has.

    A line says where, what and what to do first, then repeats the row as it was sent, under the headers of its file.
    Raises FixConfiguration where the file cannot be written.
    """
    headers = list(dict.fromkeys(name for one in found for name in one.cells))
    if path.is_dir():
        raise FixConfiguration(f"{path} is a folder. Name a file, as in --out rejections.xlsx.")
    return write_table(
        path,
        (*HEADERS, *(f"Row: {name}" for name in headers)),
        (
            (
                one.fault.file,
                one.fault.line or "",
                one.person,
                one.fault.column,
                one.fault.value,
                one.fault.message,
                one.fault.remedy,
                "no" if one.refused else "yes",
                one.fault.rule,
                *(one.cells.get(name, "") for name in headers),
            )
            for one in sorted(found, key=lambda one: (not one.refused, one.feed, one.fault.file, one.fault.line or 0))
        ),
        widths={"What is wrong": 60, "What to do": 60, "File": 30, "Value": 30},
    )
