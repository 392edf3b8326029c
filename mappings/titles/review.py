"""The review sheet: what its columns mean, and decisions out of its rows, with every problem named by its cell."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mappings.titles.catalogue import Catalogue, Position
from mappings.titles.decisions import Decision, Placement, Verdict, standing
from mappings.titles.legacy import group_id

GROUPS, SUMMARY, CATALOGUE, HELP = "Groups", "Summary", "Catalogue", "How to"
"""Names of the sheets."""

COLUMNS = (
    "Group", "Title", "Department", "Department name", "Grade", "People", "Reads as", "Suggestion", "Probability",
    "Band", "Evidence", "Other candidates", "Decision", "Position", "Split", "Not these", "Reason", "Effective from",
    "Decided by", "Seen",
)  # fmt: skip
"""Headings of the sheet of groups, in order. `Group` and `Seen` are the bridge's own."""

NEEDED = ("Group", "Title", "Department", "Grade", "People", "Suggestion", "Decision", "Position", "Seen")
"""Headings without which a sheet cannot be applied."""

ACCEPT, CHANGE, SPLIT, DEFER, WANTED, EXCLUDE, CLEAR = (
    "accept", "change", "split", "defer", "new position", "exclude", "clear",
)  # fmt: skip
CHOICES = (ACCEPT, CHANGE, SPLIT, DEFER, WANTED, EXCLUDE, CLEAR)
"""What can be chosen in the column `Decision`."""


@dataclass(frozen=True, slots=True)
class SheetCell:
    """A cell: where it stands, what it shows, and whether it holds a formula."""

    place: str
    text: str = ""
    formula: bool = False
    date: dt.date | None = None


@dataclass(frozen=True)
class SheetRow:
    """A row of the sheet of groups, its cells by heading."""

    number: int
    cells: Mapping[str, SheetCell]

    def cell(self, heading: str) -> SheetCell:
        """The cell under a heading; an empty one where the column is not there."""
        return self.cells.get(heading, SheetCell(f"row {self.number}"))


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a workbook that must be put right before anything of it is recorded."""

    cell: str
    message: str

    def __str__(self) -> str:
        return f"{GROUPS}!{self.cell}: {self.message}"


@dataclass
class Reviewed:
    """What a sheet comes to: decisions to record, or problems; never both are acted upon."""

    decisions: list[Decision] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unchanged: int = 0
    undecided: int = 0


def position_label(position: Position) -> str:
    """How a position is shown and chosen: its key, a bar, its title."""
    return f"{position.key} | {position.title}"


class SheetReader:
    """Turns rows of a sheet into decisions."""

    def __init__(
        self,
        catalogue: Catalogue,
        recorded: Sequence[Decision],
        reviewer: str,
        now: dt.datetime,
        batch: str = "",
        effective: dt.date | None = None,
        overrule: bool = False,
    ) -> None:
        """RECORDED are the decisions there are; with OVERRULE another reviewer's newer decision is replaced."""
        self._catalogue = catalogue
        self._version = catalogue.version
        self._standing = standing(recorded)
        self._by_id = {decision.id: decision for decision in recorded}
        self._reviewer, self._now, self._batch = reviewer, now, batch
        self._effective, self._overrule = effective, overrule
        titles: dict[str, str | None] = {}
        for position in catalogue.positions:
            name = position.title.casefold()
            titles[name] = position.key if name not in titles else None
        self._keys_by_title = titles

    def read(self, rows: Iterable[SheetRow]) -> Reviewed:
        """Decisions and problems of ROWS. A row that says what holds already is unchanged."""
        result = Reviewed()
        first: dict[str, tuple[SheetRow, Decision | None]] = {}
        for row in rows:
            if not any(cell.text for cell in row.cells.values()):
                continue
            problems: list[Problem] = []
            name = self._identity(row, problems)
            decision = None if problems else self._decision(row, problems)
            if problems:
                result.problems.extend(problems)
                continue
            if name in first:
                earlier, said = first[name]
                if (said.said if said else None) != (decision.said if decision else None):
                    result.problems.append(
                        Problem(
                            row.cell("Decision").place,
                            f"the group of row {earlier.number} stands here a second time with another answer. "
                            "Keep one of the two rows.",
                        )
                    )
                continue
            first[name] = (row, decision)
            self._settle(row, name, decision, result)
        return result

    def _settle(self, row: SheetRow, name: str, decision: Decision | None, result: Reviewed) -> None:
        now = self._standing.get(name)
        seen_text = row.cell("Seen").text
        seen = int(seen_text) if seen_text.isdigit() else 0
        if decision is None:
            result.undecided += 1
            return
        if decision.verdict is Verdict.WITHDRAWN and now is None:
            result.unchanged += 1
            return
        base = self._by_id.get(seen)
        if (now is not None and decision.said == now.said) or (base is not None and decision.said == base.said):
            # What the reviewer left as it was when the workbook was made is no opinion of today.
            result.unchanged += 1
            return
        if now is not None and now.id != seen and now.reviewer != self._reviewer and not self._overrule:
            what = ", ".join(p.key for p in now.placements) or str(now.verdict)
            result.problems.append(
                Problem(
                    row.cell("Decision").place,
                    f"{now.reviewer} has meanwhile decided {what} for {now.title!r} ({now.decided_at:%Y-%m-%d %H:%M}). "
                    "Talk to each other; then clear this cell to keep that, or apply with --overrule to replace it.",
                )
            )
            return
        if decision.verdict is Verdict.WITHDRAWN and now is not None:
            decision = Decision(
                now.title, now.department, now.grade, now.headcount, Verdict.WITHDRAWN, self._reviewer, self._now,
                reason=decision.reason, catalogue=self._version, batch=self._batch, undoes=now.id,
            )  # fmt: skip
        result.decisions.append(decision)

    def _identity(self, row: SheetRow, problems: list[Problem]) -> str:
        problems.extend(_formulas(row, ("Group", "Title", "Department", "Grade", "People")))
        group = row.cell("Group")
        title, department, grade = (row.cell(h).text for h in ("Title", "Department", "Grade"))
        if problems:
            return ""
        wanted = group_id(title, department, grade)
        if group.text != wanted:
            shown = f"{group.text!r} is not the id" if group.text else "the id is missing"
            problems.append(
                Problem(
                    group.place,
                    f"{shown} of {title[:60]!r} in {department!r}, grade {grade!r}: the id, the title, the department "
                    "or the grade was edited. Put them back as they were (from a fresh workbook).",
                )
            )
        return wanted

    def _decision(self, row: SheetRow, problems: list[Problem]) -> Decision | None:
        written = ("Decision", "Position", "Split", "Not these", "Reason", "Effective from", "Suggestion")
        problems.extend(_formulas(row, written))
        choice, position = row.cell("Decision"), row.cell("Position")
        word = " ".join(choice.text.casefold().split())
        if not word and position.text:
            word = CHANGE
        if not word and row.cell("Split").text:
            word = SPLIT
        people = row.cell("People")
        if not people.text.isdigit():
            problems.append(Problem(people.place, f"{people.text[:40]!r} is no number of people."))
        if problems or not word:
            return None
        if word not in CHOICES:
            problems.append(
                Problem(choice.place, f"{choice.text[:40]!r} is no decision. Choose one of: {', '.join(CHOICES)}.")
            )
            return None
        headcount = int(people.text)
        effective = self._date(row, problems)
        verdict, placements, excluded = self._said(word, row, headcount, problems)
        reason = row.cell("Reason").text
        if word == WANTED and position.text:
            reason = f"wanted: {position.text}" + (f"; {reason}" if reason else "")
        if problems:
            return None
        return Decision(
            title=row.cell("Title").text,
            department=row.cell("Department").text,
            grade=row.cell("Grade").text,
            headcount=headcount,
            verdict=verdict,
            reviewer=self._reviewer,
            decided_at=self._now,
            placements=placements,
            excluded=excluded,
            reason=reason,
            effective=effective,
            catalogue=self._version,
            batch=self._batch,
        )

    def _said(
        self, word: str, row: SheetRow, headcount: int, problems: list[Problem]
    ) -> tuple[Verdict, tuple[Placement, ...], tuple[str, ...]]:
        excluded = tuple(
            key
            for text in _parts(row.cell("Not these").text)
            if (key := self._key(text, row.cell("Not these"), problems)) is not None
        )
        position, suggestion, split = row.cell("Position"), row.cell("Suggestion"), row.cell("Split")
        if word == ACCEPT:
            if position.text and self._plain(position.text) != self._plain(suggestion.text):
                problems.append(
                    Problem(position.place, "another position stands here, but the decision says accept. Say change.")
                )
                return Verdict.PLACED, (), excluded
            key = self._key(suggestion.text, suggestion, problems)
            return Verdict.PLACED, (Placement(key, headcount),) if key else (), excluded
        if word == CHANGE:
            key = self._key(position.text, position, problems)
            return Verdict.PLACED, (Placement(key, headcount),) if key else (), excluded
        if word == SPLIT:
            return Verdict.PLACED, self._split(split, headcount, problems), excluded
        if word == EXCLUDE:
            if not excluded and suggestion.text:
                key = self._key(suggestion.text, suggestion, problems)
                excluded = (key,) if key else ()
            if not excluded and not problems:
                problems.append(Problem(row.cell("Not these").place, "name the positions that are ruled out."))
            return Verdict.EXCLUDED, (), excluded
        verdict = {DEFER: Verdict.DEFERRED, WANTED: Verdict.WANTED, CLEAR: Verdict.WITHDRAWN}[word]
        return verdict, (), excluded

    def _split(self, cell: SheetCell, headcount: int, problems: list[Problem]) -> tuple[Placement, ...]:
        placements: list[Placement] = []
        for part in _parts(cell.text):
            match = re.fullmatch(r"(.+?)\s*[=:]\s*(\d+)", part)
            if match is None:
                problems.append(Problem(cell.place, f"{part[:60]!r} is not KEY=PEOPLE, for example IT001=3; IT002=2."))
                return ()
            key = self._key(match[1], cell, problems)
            if key is not None:
                placements.append(Placement(key, int(match[2])))
        if problems:
            return ()
        if len(placements) < 2:
            problems.append(Problem(cell.place, "a split needs two positions at least, as KEY=PEOPLE; KEY=PEOPLE."))
        elif sum(p.people for p in placements) != headcount:
            total = sum(p.people for p in placements)
            problems.append(Problem(cell.place, f"the parts hold {total} people, the group {headcount}."))
        return tuple(placements)

    def _key(self, text: str, cell: SheetCell, problems: list[Problem]) -> str | None:
        plain = self._plain(text)
        if not plain:
            problems.append(Problem(cell.place, "no position is named. Choose one from the list."))
            return None
        if self._catalogue.get(plain) is not None:
            return plain
        by_title = self._keys_by_title.get(plain.casefold())
        if by_title is not None:
            return by_title
        problems.append(Problem(cell.place, f"the catalogue has no position {plain[:60]!r}. Choose one from the list."))
        return None

    @staticmethod
    def _plain(text: str) -> str:
        return text.partition(" | ")[0].strip().removeprefix("'")

    def _date(self, row: SheetRow, problems: list[Problem]) -> dt.date | None:
        cell = row.cell("Effective from")
        if cell.date is not None:
            return cell.date
        if not cell.text:
            return self._effective
        try:
            return dt.date.fromisoformat(cell.text)
        except ValueError:
            problems.append(Problem(cell.place, f"{cell.text[:40]!r} is no date. Write it as 2026-12-31."))
            return None


def _formulas(row: SheetRow, headings: Iterable[str]) -> list[Problem]:
    cells = [row.cell(heading) for heading in headings]
    return [Problem(cell.place, "holds a formula. Write the value itself.") for cell in cells if cell.formula]


def _parts(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[;\n]", text) if part.strip()]


def choice_of(decision: Decision, suggested: str | None) -> tuple[str, str, str, str]:
    """How a decision stands in a sheet: decision, position, split, not these."""
    excluded = "; ".join(decision.excluded)
    if decision.verdict is Verdict.PLACED:
        if len(decision.placements) > 1:
            return SPLIT, "", "; ".join(f"{p.key}={p.people}" for p in decision.placements), excluded
        key = decision.placements[0].key if decision.placements else ""
        return (ACCEPT, "", "", excluded) if key == suggested else (CHANGE, key, "", excluded)
    word = {Verdict.DEFERRED: DEFER, Verdict.WANTED: WANTED, Verdict.EXCLUDED: EXCLUDE}.get(decision.verdict, "")
    return word, "", "", excluded
