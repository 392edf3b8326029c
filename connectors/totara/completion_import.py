"""Completions for Totara's upload (``totara_completionimport``): its columns, its limits, its key.

The upload has no interface but a form and a folder that the site reads (contracts: pull.json). Its key is the username;
every column must be there, a column it does not know is refused, and so is a row without date, grade or course.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.totara.hrimport.files import quoted

COLUMNS: Mapping[str, Mapping[str, int]] = {
    "completions": {
        "username": 100,
        "courseshortname": 255,
        "courseidnumber": 100,
        "completiondate": 10,
        "grade": 10,
    },
    "certifications": {
        "username": 100,
        "certificationshortname": 255,
        "certificationidnumber": 100,
        "completiondate": 10,
        "duedate": 10,
    },
}
"""The columns of each upload with their longest values, in the site's order."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A completion that the upload would refuse, and why."""

    person: str
    about: str
    why: str


@dataclass(slots=True)
class Upload:
    """An upload as written."""

    rows: int = 0
    left_out: list[LeftOut] = field(default_factory=list)


def write_upload(
    path: Path,
    kind: str,
    results: Iterable[Mapping[str, Any]],
    username_of: Callable[[str], str],
    *,
    grade: str = "100",
) -> Upload:
    """Write results (as stored, people and courses by key) as an upload; what it would refuse is left out and told.

    `username_of` gives the site's username of a person, empty where it is not known. Of several completions of one
    course by one person the youngest goes. `grade` stands in every row: the upload refuses an empty one. A
    certification that is not completed is none. Raises OSError where the file cannot be written.
    """
    upload = Upload()
    best: dict[tuple[str, str], dict[str, str]] = {}
    for row, person, about in _rows(kind, results, username_of, grade):
        why = _refusal(kind, row)
        at = (row["username"], about)
        if why:
            upload.left_out.append(LeftOut(person, about, why))
        elif at not in best or row["completiondate"] > best[at]["completiondate"]:
            best[at] = row
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(",".join(COLUMNS[kind]) + "\n")
        for row in best.values():
            stream.write(",".join(quoted(row[column], ",") or "" for column in COLUMNS[kind]) + "\n")
    upload.rows = len(best)
    return upload


def _rows(
    kind: str, results: Iterable[Mapping[str, Any]], username_of: Callable[[str], str], grade: str
) -> Iterator[tuple[dict[str, str], str, str]]:
    about_of, name = ("course", "course") if kind == "completions" else ("certification", "certification")
    for one in results:
        person, about = str(one.get("person") or ""), str(one.get(about_of) or "")
        if kind == "certifications" and not one.get("completed_at"):
            continue
        username = (username_of(person) if person else "") or str(one.get("lms_user") or "")
        row = {
            "username": username,
            # With both given, the site looks for a course that has both: the id number alone is the safer key.
            f"{name}shortname": "" if about else str(one.get(f"{name}_name", one.get("name")) or ""),
            f"{name}idnumber": about,
            "completiondate": _day(one.get("completed_at")),
        }
        row |= {"grade": grade} if kind == "completions" else {"duedate": _day(one.get("expires_at"))}
        yield row, person or username, about


def _day(moment: Any) -> str:
    """The day of a stored moment, in the form the upload takes by default (Y-m-d)."""
    if not moment:
        return ""
    return dt.datetime.fromisoformat(str(moment)).astimezone(dt.UTC).date().isoformat()


def _refusal(kind: str, row: Mapping[str, str]) -> str:
    if not row["username"]:
        return "no username is known: the upload knows people by it alone"
    if not row["completiondate"]:
        return "the LMS did not tell when it was completed"
    if not any(row[column] for column in row if column.endswith(("shortname", "idnumber"))):
        return "neither an id number nor a short name is known"
    for column, longest in COLUMNS[kind].items():
        if len(row[column]) > longest:
            return f"{column} has {len(row[column]):,} characters and the upload takes {longest}"
        if quoted(row[column], ",") is None:
            return f"{column} ends in a backslash that the upload cannot read"
    return ""
