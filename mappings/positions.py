"""Job titles to standard positions: the HRIS's own code, a decision about this very group of people, an exact title of
the catalogue, a decision about the same title elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from bridge.model import Position
from bridge.rows import Row, same_when_folded

_Key = TypeVar("_Key")


class TitleDecisions(Protocol):
    """What people have decided about titles."""

    def settles(self, title: str, department: str, grade: str) -> bool:
        """Return whether somebody decided about this very title, department and grade: then nothing else counts."""

    def position_for(self, title: str, department: str, grade: str) -> str | None:
        """Return the key of the position a title stands for, or None where nobody has decided."""


class NoDecisions:
    """Nobody has decided anything yet."""

    def settles(self, title: str, department: str, grade: str) -> bool:  # noqa: ARG002 - the protocol's
        """Say of any group that nobody has decided about it."""
        return False

    def position_for(self, title: str, department: str, grade: str) -> str | None:  # noqa: ARG002 - the protocol's
        """Say of any title that nobody has decided."""
        return None


class ListedDecisions:
    """Decisions from a list: titles per department, and across departments where all of them agree."""

    def __init__(self, decided: Iterable[tuple[str, str, str]]) -> None:
        self._here: dict[tuple[str, str], str | None] = {}
        self._anywhere: dict[str, str | None] = {}
        for title, department, position in decided:
            folded = same_title(title)
            _agree(self._here, (folded, department), position)
            _agree(self._anywhere, folded, position)

    def __len__(self) -> int:
        return len(self._here)

    @classmethod
    def from_rows(cls, rows: Iterable[Row]) -> ListedDecisions:
        """Take decisions from rows with the columns job_title, department_code (may be missing) and position."""
        return cls(
            (row.values.get("job_title", ""), row.values.get("department_code", "").strip(), position)
            for row in rows
            if not row.faults and (position := row.values.get("position", "").strip())
        )

    def settles(self, title: str, department: str, grade: str) -> bool:  # noqa: ARG002 - the protocol's
        """Say no: an exact title of the catalogue goes before a list."""
        return False

    def position_for(self, title: str, department: str, grade: str) -> str | None:  # noqa: ARG002 - lists have no grade
        """Return what was decided for the title in its department, else wherever it was decided, if all agree."""
        folded = same_title(title)
        if (folded, department) in self._here:
            return self._here[folded, department]
        return self._anywhere.get(folded)


def _agree(decided: dict[_Key, str | None], key: _Key, position: str) -> None:
    """Record a decision; one that contradicts an earlier one leaves none."""
    if decided.setdefault(key, position) != position:
        decided[key] = None


def same_title(title: str) -> str:
    """Return a title as titles are compared: without case, accents and surplus spaces."""
    return same_when_folded(title)


def build_positions(jobs: Iterable[tuple[str, str, str, int]]) -> tuple[Position, ...]:
    """Return the positions that rows of (code, title, grade, how many) name, for companies that keep no catalogue.

    A position is called what most of its people are called, else by its code. Its level is the grade, where all of
    them have one.
    """
    titles: dict[str, Counter[str]] = {}
    grades: dict[str, set[str]] = {}
    for code, title, grade, people in jobs:
        if code:
            titles.setdefault(code, Counter())[title] += people
            grades.setdefault(code, set()).add(grade)
    return tuple(
        Position(
            code,
            min(found, key=lambda title: (not title, -found[title], title)) or code,
            level=next(iter(grades[code])) or None if len(grades[code]) == 1 else None,
        )
        for code, found in sorted(titles.items())
    )


@dataclass(frozen=True, slots=True)
class Placed:
    """Which position a job has, and why: `code`, `catalogue`, `decision`, or `unmapped`."""

    position: str | None
    basis: str


class PositionFinder:
    """Finds positions of jobs. A title that two positions share decides nothing by itself."""

    def __init__(self, catalogue: Iterable[Position], decisions: TitleDecisions | None = None) -> None:
        self._keys: set[str] = set()
        self._titles: dict[str, str | None] = {}
        self._decisions = decisions or NoDecisions()
        for position in catalogue:
            self._keys.add(position.key)
            _agree(self._titles, same_title(position.title), position.key)
        self._found: dict[tuple[str, str, str, str], Placed] = {}

    def find(self, title: str, department: str = "", grade: str = "", code: str = "") -> Placed:
        """Return the position of a job, else unmapped: by code, by a decision about its title, department and grade, by
        exact title, by decisions about the same title elsewhere."""
        asked = (title, department, grade, code)
        found = self._found.get(asked)
        if found is None:
            found = self._found[asked] = self._look(*asked)
        return found

    def _look(self, title: str, department: str, grade: str, code: str) -> Placed:
        if code in self._keys:
            return Placed(code, "code")
        if title:
            settled = self._decisions.settles(title, department, grade)
            exact = None if settled else self._titles.get(same_title(title))
            if exact is not None:
                return Placed(exact, "catalogue")
            decided = self._decisions.position_for(title, department, grade)
            if decided is not None and (decided in self._keys or not self._keys):
                return Placed(decided, "decision")
        return Placed(None, "unmapped")
