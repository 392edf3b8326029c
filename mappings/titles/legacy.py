"""Legacy titles as they come, gathered into the groups that are decided one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from mappings.titles.columns import LEGACY_COLUMNS, find_columns

LONG_TITLE = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class LegacyGroup:
    """All people with one title in one department at one grade: the unit of work."""

    title: str
    department: str = ""
    grade: str = ""
    headcount: int = 1
    code: str = ""
    place: str = ""
    """What the department is called, where DEPARTMENT is a code."""

    @property
    def where(self) -> str:
        """The department in words, as far as anybody has told."""
        return self.place or self.department

    @property
    def id(self) -> str:
        """A short name of the group that stays the same from one run to the next."""
        return group_id(self.title, self.department, self.grade)


@dataclass(frozen=True)
class LegacyTitles:
    """The groups, largest first, and what was wrong with the rows they came from."""

    groups: tuple[LegacyGroup, ...]
    warnings: tuple[str, ...] = ()
    rows: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def people(self) -> int:
        """How many people the groups hold."""
        return sum(group.headcount for group in self.groups)


def group_id(title: str, department: str = "", grade: str = "") -> str:
    """The name of the group with this title, department and grade; upper case and spacing make no
    difference.
    """
    parts = [" ".join(part.split()).casefold() for part in (title, department, grade)]
    return "g" + sha256("\x1f".join(parts).encode()).hexdigest()[:10]


def read_legacy(
    rows: Iterable[Mapping[str, str]],
    headings: Sequence[str],
    named: Mapping[str, str] | None = None,
    source: str = "the legacy file",
    places: Mapping[str, str] | None = None,
) -> LegacyTitles:
    """Gathers ROWS (one a person, or one a group with a headcount) into groups, largest headcount first.

    PLACES says what departments are called that are known by a code.

    Empty titles, unreadable headcounts and titles longer than 255 characters become warnings that name the
    row and column; the people of a readable row are never lost. Raises ColumnMissingError where there is no
    title column.
    """
    columns = find_columns(headings, LEGACY_COLUMNS, named, ("title",), source)
    if "person" in columns and "headcount" in columns and "headcount" not in (named or {}):
        del columns["headcount"]
    counts: dict[tuple[str, str, str], int] = {}
    shown: dict[tuple[str, str, str], tuple[str, str, str, str]] = {}
    warnings: list[str] = []
    read = 0
    for number, row in enumerate(rows, start=2):
        values = {name: _plain(row.get(heading) or "") for name, heading in columns.items()}
        read += 1
        title = values["title"]
        if not any(character.isalnum() for character in title):
            if any(values.values()):
                what = f"{title!r} is no title" if title else "the title is empty"
                warnings.append(f"{source}, row {number}, column {columns['title']!r}: {what}; the row is left out.")
            continue
        if len(title) > LONG_TITLE:
            warnings.append(
                f"{source}, row {number}, column {columns['title']!r}: the title has {len(title)} "
                f"characters; it is kept, the first 300 are compared. It begins {title[:40]!r}."
            )
        headcount = 1
        if "headcount" in columns:
            count = _count(values["headcount"])
            if count is None:
                warnings.append(
                    f"{source}, row {number}, column {columns['headcount']!r}: "
                    f"{values['headcount'][:40]!r} is no number of people; 1 is assumed."
                )
            headcount = 1 if count is None else count
        department, grade = values.get("department", ""), values.get("grade", "")
        key = (title.casefold(), department.casefold(), grade.casefold())
        counts[key] = counts.get(key, 0) + headcount
        shown.setdefault(key, (title, department, grade, values.get("code", "")))
    groups = [
        LegacyGroup(title, department, grade, counts[key], code, (places or {}).get(department, ""))
        for key, (title, department, grade, code) in shown.items()
    ]
    groups.sort(key=lambda g: (-g.headcount, g.title.casefold(), g.department.casefold(), g.grade.casefold()))
    return LegacyTitles(tuple(groups), tuple(warnings), read, columns)


def _plain(text: str) -> str:
    """TEXT without what no sheet can hold, and with single spaces."""
    return " ".join(_CONTROL.sub(" ", text).split())


def _count(text: str) -> int | None:
    match = re.fullmatch(r"(\d+)(?:[.,]0+)?", text.replace(" ", "").replace("\u00a0", ""))
    return int(match[1]) if match else None
