"""Pull results from one site, and export what is known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bridge.model import RESULT_KINDS
from bridge.ports import FixConfiguration
from bridge.store import results, roster
from bridge.sync.clock import Clock
from bridge.sync.pull import PullOrder, PullReport
from bridge.sync.pull import pull as pull_results
from connectors.tables import write_table
from connectors.totara.completion_import import COLUMNS as UPLOADS
from connectors.totara.completion_import import Upload, write_upload
from jobs.desired import feeds_of
from jobs.sites import Workplace

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "completions": ("person", "course", "course_name", "completed_at", "lms_user"),
    "activities": ("person", "course", "activity", "state", "completed_at", "lms_user"),
    "attainments": ("person", "competency", "level", "proficient", "lms_user"),
    "plans": ("person", "plan", "name", "status", "lms_user"),
    "badges": ("person", "badge", "name", "issued_at", "expires_at", "lms_user"),
    "certifications": ("person", "certification", "name", "status", "completed_at", "expires_at", "lms_user"),
}
"""The columns of each export, in their order."""

HISTORY_COLUMNS = ("reason", "recorded_at")


def pull(
    place: Workplace, order: PullOrder, clock: Clock, progress: Callable[[PullReport], None] = lambda _report: None
) -> PullReport:
    """Bring results back from the site and record them."""
    return pull_results(place.site, place.port, place.store, order, place.rules, clock, progress)


def export(place: Workplace, name: str, path: Path, *, history: bool = False) -> int:
    """Write what is known of a kind of result to a CSV, XLSX or JSON Lines file; return the number of rows.

    With `history`, what results said before they changed or vanished. Raises FixConfiguration where there is no such
    kind or the file cannot be written.
    """
    if name not in RESULT_KINDS:
        raise FixConfiguration(f"There is nothing called {name!r} to export. There is: {', '.join(RESULT_KINDS)}.")
    headers = (*COLUMNS[name], *(HISTORY_COLUMNS if history else ()))
    count = 0

    def rows() -> Iterator[list[Any]]:
        nonlocal count
        with place.store.read() as connection:
            found = results.past_results if history else results.live_results
            for row in found(connection, place.site, name):
                count += 1
                yield [_shown(header, row.get(header)) for header in headers]

    write_table(path, headers, rows())
    return count


def export_upload(place: Workplace, name: str, path: Path, grade: str = "100") -> Upload:
    """Write completions or certifications as a file for Totara's completion upload; say what it would refuse.

    Usernames are those of the site's feeds; somebody no feed lists is taken to have their key as one, as accounts are
    made. Raises FixConfiguration for any other kind of result, or where the file cannot be written.
    """
    if name not in UPLOADS:
        raise FixConfiguration(f"Totara's upload takes {' and '.join(UPLOADS)}, not {name}.")
    if path.suffix.lower() != ".csv":
        raise FixConfiguration(f"Cannot write {path.name}: Totara's upload is a CSV file, so its name ends in .csv.")
    if not grade or len(grade) > UPLOADS["completions"]["grade"]:
        raise FixConfiguration(f"--grade {grade!r} is none that the upload takes: write at most ten characters.")
    names = feeds_of(place)
    with place.store.read() as connection:
        listed = {one.row.person: one.row.username for one in roster.listed(connection, names)} if names else {}
        try:
            return write_upload(
                path,
                name,
                results.live_results(connection, place.site, name),
                lambda person: (listed.get(person) or person).lower(),
                grade=grade,
            )
        except OSError as error:
            raise FixConfiguration(f"{path} cannot be written: {error.strerror}. Choose another place.") from error


def _shown(header: str, value: Any) -> Any:
    if header == "recorded_at" and isinstance(value, int | float):
        return dt.datetime.fromtimestamp(value, dt.UTC).isoformat(timespec="seconds")
    return value
