"""The review workbook as a file: written for people who know jobs, read back cell by cell."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from openpyxl import Workbook, load_workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, Cell
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.worksheet import Worksheet

from bridge.ports import FixConfiguration
from connectors.tables import LONGEST_WORKBOOK_CELL, harmless
from mappings.titles.catalogue import Catalogue
from mappings.titles.confidence import BANDS
from mappings.titles.decisions import Decision, standing
from mappings.titles.review import (
    CATALOGUE,
    CHOICES,
    COLUMNS,
    GROUPS,
    HELP,
    NEEDED,
    SUMMARY,
    Problem,
    SheetCell,
    SheetRow,
    choice_of,
    position_label,
)
from mappings.titles.suggest import Suggestion, Suggestions

_WIDTHS = {
    "Title": 34, "Department": 22, "Department name": 26, "Grade": 8, "People": 8, "Reads as": 22, "Suggestion": 38,
    "Probability": 11, "Band": 10,
    "Evidence": 50, "Other candidates": 50, "Decision": 14, "Position": 38, "Split": 24, "Not these": 18,
    "Reason": 30, "Effective from": 14, "Decided by": 16,
}  # fmt: skip
_TO_FILL = ("Decision", "Position", "Split", "Not these", "Reason", "Effective from")
_IDENTITY = ("Title", "Department", "Grade")
_HEAD = PatternFill("solid", fgColor="1F3864")
_FILL_IN = PatternFill("solid", fgColor="FFF2CC")
_LEAVE = PatternFill("solid", fgColor="EDEDED")
_ROW_HEIGHT = 30
"""Two lines of text, in points."""
_NOTES = {
    "Reads as": "What the title says about seniority, level (I, II, III), managing people (M) and specialism.",
    "Probability": "How often such a suggestion turns out right, measured on decisions.",
    "Band": "auto: proven to be right 95 times in 100. review: look at it. no match: nothing is like it.",
    "Evidence": "The titles and decisions the suggestion rests on, and how alike they are (1.00: the same).",
    "Decision": "Choose one. Empty: decide another time. The sheet How to explains each.",
    "Position": "The right position, where it is not the suggested one. Choosing one is enough.",
    "Split": "Where people of one group belong to several positions: KEY=PEOPLE; KEY=PEOPLE.",
    "Not these": "Positions that are wrong, parted by semicolons.",
    "Effective from": "The day from which it holds; empty: at once.",
}
"""What a heading says when the pointer rests on it."""
_TEXT = Alignment(wrap_text=True, vertical="top")
_LONGEST = 2000

_OF_PEOPLE = ("decided", *BANDS)
"""Of the people of a family: how many are decided, and in which band the others are."""

_HOW_TO = (
    "What this is: every group of people with the same title, department and grade, and the standard position the"
    " bridge would give them.",
    "What to do: go down the sheet Groups from the top and fill in the yellow columns. Leave a row empty to decide it"
    " another time. Rows may be sorted and filtered; the grey columns must stay as they are.",
    "accept: the suggestion is right.",
    "change: another position is right. Choose it under Position (or type its key). Choosing one is enough.",
    "split: its people belong to several positions. Write under Split, for example: IT001=3; IT002=2.",
    "defer: not now. The group stays out of the queue until somebody decides.",
    "new position: nothing in the catalogue fits. Write under Position or Reason what is wanted.",
    "exclude: the positions under Not these (or the suggestion) are wrong; suggest others.",
    "clear: take back the decision that stands for this group.",
    "Several old titles become one position by choosing the same position in each of their rows.",
    "Then: lms-bridge titles apply THIS-FILE --reviewer YOUR-NAME. Either all of it is recorded, or nothing and every"
    " problem is named by its cell.",
)


def write_review(path: Path, suggestions: Suggestions, catalogue: Catalogue, recorded: Sequence[Decision] = ()) -> int:
    """Writes the workbook, whole or not at all, and returns how many groups it holds.

    Undecided groups come in the order of review, then the decided ones. Raises FixConfiguration where the folder cannot
    be written to.
    """
    book = Workbook()
    groups = book.active
    if not isinstance(groups, Worksheet):
        raise TypeError("a new workbook begins with a sheet")
    groups.title = GROUPS
    now = standing(recorded)
    items = sorted(suggestions.items, key=lambda item: (item.group.id in now, item.offered or 0))
    _write_groups(groups, items, now, catalogue)
    _write_summary(book.create_sheet(SUMMARY), suggestions, catalogue, now)
    _write_catalogue(book.create_sheet(CATALOGUE), catalogue)
    help_sheet = book.create_sheet(HELP)
    help_sheet.column_dimensions["A"].width = 120
    for number, line in enumerate(_HOW_TO, start=1):
        _put(help_sheet, number, 1, line).alignment = Alignment(wrap_text=True)
    _save(book, path)
    return len(items)


def _write_groups(
    sheet: Worksheet, items: Sequence[Suggestion], now: Mapping[str, Decision], catalogue: Catalogue
) -> None:
    _head(sheet, COLUMNS)
    column = {heading: number for number, heading in enumerate(COLUMNS, start=1)}
    for number, item in enumerate(items, start=2):
        group = item.group
        leader = item.candidates[0] if item.candidates else None
        others = "; ".join(f"{position_label(c.position)} ({c.probability:.0%})" for c in item.candidates[1:])
        decision = now.get(group.id)
        word, position, split, excluded = ("", "", "", "")
        if decision is not None:
            word, position, split, excluded = choice_of(decision, leader.position.key if leader else None)
        catalogued = catalogue.get(position)
        values: dict[str, str | int | float | dt.date] = {
            "Group": group.id,
            "Title": group.title,
            "Department": group.department,
            "Department name": group.place,
            "Grade": group.grade,
            "People": group.headcount,
            "Reads as": _reads_as(item),
            "Suggestion": position_label(leader.position) if leader else "",
            "Probability": leader.probability if leader else 0.0,
            "Band": "decided" if decision else item.band + (" (sample)" if item.in_sample else ""),
            "Evidence": leader.evidence if leader else "nothing in the catalogue is like this title",
            "Other candidates": others,
            "Decision": word,
            "Position": position_label(catalogued) if catalogued else position,
            "Split": split,
            "Not these": excluded,
            "Reason": decision.reason if decision else "",
            "Effective from": decision.effective if decision and decision.effective else "",
            "Decided by": decision.reviewer if decision else "",
            "Seen": decision.id if decision else 0,
        }
        for heading, value in values.items():
            # What says which group a row is must come back letter by letter.
            longest = LONGEST_WORKBOOK_CELL if heading in _IDENTITY else _LONGEST
            cell = _put(sheet, number, column[heading], value, longest)
            cell.alignment = _TEXT
            cell.fill = _FILL_IN if heading in _TO_FILL else _LEAVE
            if heading == "Probability":
                cell.number_format = "0%"
        sheet.row_dimensions[number].height = _ROW_HEIGHT
    last = max(len(items) + 1, 2)
    choices = DataValidation(type="list", formula1=f'"{",".join(CHOICES)}"', allow_blank=True, showErrorMessage=True)
    choices.errorTitle, choices.error = "Decision", "Choose one from the list."
    choices.add(f"{get_column_letter(column['Decision'])}2:{get_column_letter(column['Decision'])}{last}")
    listed = DataValidation(type="list", formula1=f"='{CATALOGUE}'!$A$2:$A${len(catalogue) + 1}", allow_blank=True)
    # A warning, not a refusal: a wanted position is typed here too.
    listed.errorStyle, listed.showErrorMessage = "warning", True
    listed.add(f"{get_column_letter(column['Position'])}2:{get_column_letter(column['Position'])}{last}")
    sheet.add_data_validation(choices)
    sheet.add_data_validation(listed)
    for heading, width in _WIDTHS.items():
        sheet.column_dimensions[get_column_letter(column[heading])].width = width
    for heading, note in _NOTES.items():
        sheet.cell(row=1, column=column[heading]).comment = Comment(note, "LMS Bridge", height=90, width=280)
    empty = [] if any(item.group.place for item in items) else ["Department name"]
    empty += [] if any(item.group.grade for item in items) else ["Grade"]
    for heading in ("Group", "Seen", *empty):
        sheet.column_dimensions[get_column_letter(column[heading])].hidden = True
    sheet.freeze_panes = "C2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(COLUMNS))}{last}"


def _write_summary(
    sheet: Worksheet, suggestions: Suggestions, catalogue: Catalogue, now: Mapping[str, Decision]
) -> None:
    for letter, width in zip("ABCDEFGH", (48, 10, 10, 16, 10, 10, 10, 10), strict=True):
        sheet.column_dimensions[letter].width = width
    people = sum(item.group.headcount for item in suggestions.items)
    decided = [item for item in suggestions.items if item.group.id in now]
    rows: list[tuple[str | int | float, ...]] = [
        ("", "Groups", "People", "Share of people"),
        ("All", len(suggestions.items), people, 1.0 if people else 0.0),
        _line("Decided", decided, people),
    ]
    left = [item for item in suggestions.items if item.group.id not in now]
    rows += [_line(f"Undecided, {band}", [i for i in left if i.band == band], people) for band in BANDS]
    standing_of = {item.group.id: "decided" if item.group.id in now else item.band for item in suggestions.items}
    rows += [
        ("", "", "", ""),
        ("Family of the decision, else of the suggestion", "Groups", "People", "Share of people", *_OF_PEOPLE),
    ]
    counts: dict[str, Counter[str]] = {}
    groups: Counter[str] = Counter()
    names = catalogue.families
    for item in suggestions.items:
        decision = now.get(item.group.id)
        found = catalogue.get(decision.position or "") if decision else None
        if found is None and item.candidates:
            found = item.candidates[0].position
        known = [found.family, names.get(found.family, "")] if found else ["no suggestion"]
        name = " ".join(dict.fromkeys(part for part in known if part)) or "(no family)"
        counts.setdefault(name, Counter())[standing_of[item.group.id]] += item.group.headcount
        groups[name] += 1
    for name, by_band in sorted(counts.items(), key=lambda one: (-one[1].total(), one[0])):
        n = by_band.total()
        bands = (by_band["decided"], *(by_band[band] for band in BANDS))
        rows.append((name, groups[name], n, n / people if people else 0.0, *bands))
    threshold = suggestions.threshold
    rows += [
        ("", "", "", ""),
        ("Decisions the probabilities were measured on", suggestions.decisions, "", ""),
        ("Automatic from probability", threshold if threshold is not None else "not yet: too few decisions", "", ""),
    ]
    for number, row in enumerate(rows, start=1):
        for place, value in enumerate(row, start=1):
            cell = _put(sheet, number, place, value)
            if place == 4 and isinstance(value, float):
                cell.number_format = "0.0%"
            if row[1] == "Groups":
                cell.font = Font(bold=True)


def _reads_as(item: Suggestion) -> str:
    """Level, track and specialism of a title in a few words."""
    reading = item.reading
    parts = [item.level, item.track, reading.specialism, *reading.conditions]
    return " · ".join(part for part in dict.fromkeys(parts) if part)


def _line(name: str, items: Sequence[Suggestion], people: int) -> tuple[str | int | float, ...]:
    inside = sum(item.group.headcount for item in items)
    return name, len(items), inside, inside / people if people else 0.0


def _write_catalogue(sheet: Worksheet, catalogue: Catalogue) -> None:
    _head(sheet, ("Position", "Key", "Title", "Family", "Level", "Track"))
    for number, p in enumerate(sorted(catalogue.positions, key=lambda p: (p.family, p.title, p.key)), start=2):
        for place, value in enumerate((position_label(p), p.key, p.title, p.family, p.level, p.track), start=1):
            _put(sheet, number, place, value)
    for letter, width in zip("ABCDEF", (50, 16, 44, 14, 8, 8), strict=True):
        sheet.column_dimensions[letter].width = width
    sheet.freeze_panes = "A2"


def _head(sheet: Worksheet, headings: Sequence[str]) -> None:
    for number, heading in enumerate(headings, start=1):
        cell = _put(sheet, 1, number, heading)
        cell.font = Font(bold=True, color="FFFFFF")
        cell.fill = _HEAD


def _put(sheet: Worksheet, row: int, column: int, value: str | int | float | dt.date, longest: int = _LONGEST) -> Cell:
    """Writes one value; a text never runs as a formula, whatever it looks like."""
    cell = sheet.cell(row=row, column=column)
    if not isinstance(cell, Cell):
        raise TypeError("a fresh sheet has no merged cells")
    if isinstance(value, str):
        text = ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", harmless(value))
        cell.value = text if len(text) <= longest else f"{text[: longest - 8]}… [cut]"
        cell.data_type = "s"
    else:
        cell.value = value
    return cell


def _save(book: Workbook, path: Path) -> None:
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise FixConfiguration(
            f"Cannot write into {path.parent}: {error.strerror}. Choose a folder that exists and may be written to."
        ) from error
    unfinished = Path(name)
    try:
        book.save(unfinished)
        mask = os.umask(0o077)
        os.umask(mask)
        unfinished.chmod(0o666 & ~mask)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def read_review(path: Path) -> tuple[list[SheetRow], list[Problem]]:
    """Reads the rows of the sheet of groups, and what is wrong with the sheet as a whole.

    Raises FixConfiguration where the file is no workbook or has no such sheet.
    """
    try:
        book = load_workbook(path, data_only=False)
    except FileNotFoundError as error:
        raise FixConfiguration(f"There is no file {path}. Check the name and the folder.") from error
    except (BadZipFile, KeyError, ValueError, OSError) as error:
        raise FixConfiguration(
            f"{path.name} is no workbook that can be read: {error}. Save it as .xlsx and try again."
        ) from error
    if GROUPS not in book.sheetnames:
        raise FixConfiguration(
            f"{path.name} has no sheet {GROUPS!r}. Its sheets are: {', '.join(book.sheetnames)}. "
            "Start again from the workbook that `lms-bridge titles suggest` wrote."
        )
    sheet = book[GROUPS]
    headings: dict[str, int] = {}
    for cell in sheet[1]:
        text = str(cell.value).strip() if cell.value is not None else ""
        if text in COLUMNS and cell.column is not None:
            headings.setdefault(text, cell.column)
    problems = [
        Problem("1:1", f"the column {heading!r} is missing. Restore it from the workbook as it was written.")
        for heading in NEEDED
        if heading not in headings
    ]
    problems += [
        Problem(str(merged), "merged cells hide what stands in them. Undo the merging and fill in every row.")
        for merged in sheet.merged_cells.ranges
    ]
    rows = [
        SheetRow(number, {h: _cell(sheet.cell(row=number, column=c)) for h, c in headings.items()})
        for number in range(2, sheet.max_row + 1)
    ]
    book.close()
    return rows, problems


def _cell(cell: Any) -> SheetCell:
    value = cell.value
    place = str(cell.coordinate)
    if value is None:
        return SheetCell(place)
    if getattr(cell, "data_type", "") == "f":
        return SheetCell(place, str(value), formula=True)
    if isinstance(value, dt.datetime):
        return SheetCell(place, value.date().isoformat(), date=value.date())
    if isinstance(value, dt.date):
        return SheetCell(place, value.isoformat(), date=value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = " ".join(str(value).split(" ")).strip()
    # What was made harmless on the way out is itself again.
    if text.startswith("'") and harmless(text[1:]) == text:
        text = text[1:]
    return SheetCell(place, text)
