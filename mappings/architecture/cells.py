"""Reading single cells: keys, names, numbers and yes or no; and remembering what was wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bridge.faults import Fault
from bridge.model import RuleOutcome
from bridge.rows import Row, same_when_folded, shown

LONGEST_KEY = 100
"""Characters an idnumber may have: what Moodle and Totara keep."""

LONGEST_NAME = 100
"""Characters of a name that every LMS keeps; longer ones are cut there by a rule that shows in the plan."""

TOO_LONG = "name-too-long"
"""The rule of a remark on a name over LONGEST_NAME."""

YES = frozenset({"1", "yes", "y", "true", "t", "x", "ja", "oui", "si", "✓"})
NO = frozenset({"", "0", "no", "n", "false", "f", "-", "nein", "non"})


@dataclass(slots=True)
class Findings:
    """What was found wrong (faults) or worth knowing (remarks) so far."""

    faults: list[Fault] = field(default_factory=list)
    remarks: list[Fault] = field(default_factory=list)

    def sound(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows whose form is sound; what is wrong with the form of the others becomes their faults."""
        kept = []
        for row in rows:
            if row.faults:
                self.faults.extend(row.faults)
            else:
                kept.append(row)
        return kept

    def fault(self, row: Row, column: str, rule: str, message: str, remedy: str, value: str | None = None) -> None:
        """Note a fault at a column of a row."""
        self.faults.append(row.fault(column, rule, message, remedy, value))

    def remark(self, row: Row, column: str, rule: str, message: str, remedy: str) -> None:
        """Note something at a column of a row that is no fault."""
        self.remarks.append(row.fault(column, rule, message, remedy))


def text(row: Row, column: str) -> str:
    """Return a cell without outer spaces and with plain line ends; empty where the column is missing."""
    value = row.values.get(column, "").strip()
    return value.replace("\r\n", "\n").replace("\r", "\n") if "\r" in value else value


def key(row: Row, column: str, findings: Findings) -> str | None:
    """Return the key a row is known by; None, with a fault, where it is empty or longer than any LMS keeps."""
    value = text(row, column)
    if not value:
        findings.fault(
            row,
            column,
            "key-empty",
            "The row has no key, so nothing can refer to it.",
            "Give it a key that no other row has, and keep that key for good.",
        )
        return None
    if len(value) > LONGEST_KEY:
        findings.fault(
            row,
            column,
            "key-too-long",
            f"The key has {len(value)} characters; an LMS keeps at most {LONGEST_KEY}.",
            f"Shorten it to {LONGEST_KEY} characters or fewer, here and wherever it is referred to.",
        )
        return None
    return value


def name(row: Row, column: str, what: str, findings: Findings) -> str | None:
    """Return a name; None, with a fault, where it is empty. One that an LMS will cut is a remark."""
    value = text(row, column)
    if not value:
        findings.fault(
            row, column, "name-empty", f"The {what} has no name.", "Give it the name that people should see."
        )
        return None
    if len(value) > LONGEST_NAME:
        findings.remark(
            row,
            column,
            TOO_LONG,
            f"The name has {len(value)} characters; an LMS shows at most {LONGEST_NAME}, so it will be cut there.",
            "Shorten it if the cut end matters; the plan shows the name as it will be.",
        )
    return value


def whole_number(
    row: Row, column: str, findings: Findings, *, least: int = 0, optional: bool = False
) -> tuple[bool, int | None]:
    """Return whether a cell holds what it may, and the whole number in it; None for an empty cell that may be."""
    value = text(row, column)
    if not value and optional:
        return True, None
    if re.fullmatch(r"[0-9]{1,9}([.,]0+)?", value):
        number = int(re.split(r"[.,]", value)[0])
        if number >= least:
            return True, number
    findings.fault(
        row,
        column,
        "number",
        f"“{shown(value)}” is not a whole number of at least {least}." if value else "There is no number.",
        f"Write a whole number in digits, {least} or more{', or leave the cell empty' if optional else ''}.",
    )
    return False, None


def yes_or_no(row: Row, column: str, findings: Findings) -> bool | None:
    """Return what a cell answers, an empty one no; None, with a fault, where it answers neither."""
    value = text(row, column).casefold()
    if value in YES:
        return True
    if value in NO:
        return False
    findings.fault(row, column, "yes-or-no", "The cell says neither yes nor no.", "Write 1 for yes or 0 for no.")
    return None


_OUTCOMES: Mapping[str, RuleOutcome] = {
    "none": RuleOutcome.NONE,
    "do nothing": RuleOutcome.NONE,
    "evidence": RuleOutcome.EVIDENCE,
    "attach evidence": RuleOutcome.EVIDENCE,
    "recommend": RuleOutcome.RECOMMEND,
    "send for review": RuleOutcome.RECOMMEND,
    "complete": RuleOutcome.COMPLETE,
    "complete the competency": RuleOutcome.COMPLETE,
}


def outcome(row: Row, column: str, default: RuleOutcome | None, findings: Findings) -> RuleOutcome | None:
    """Return the outcome a cell names; `default` for an empty cell, None, with a fault, where it names none."""
    value = same_when_folded(text(row, column))
    if not value and default is not None:
        return default
    found = _OUTCOMES.get(value)
    if found is None:
        findings.fault(
            row,
            column,
            "outcome",
            "This is no outcome that a rule or a course can have.",
            "Write one of: none, evidence, recommend, complete.",
        )
    return found


def close_to(value: str, known: Iterable[str]) -> str:
    """Return a sentence that names the known key a value was probably meant to be; empty where none is close."""
    folded = same_when_folded(value)
    bare = folded.lstrip("0")
    for candidate in known:
        other = same_when_folded(candidate)
        if other == folded:
            return f" There is “{candidate}”: upper and lower case, accents and spaces count."
        if bare and other.lstrip("0") == bare:
            return f" There is “{candidate}”: a spreadsheet may have dropped the leading zeros."
    return ""


class Keys:
    """The keys of one kind, each with the row that has it: finds doubles, also those a database takes for equal."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._rows: dict[str, tuple[str, Row]] = {}

    def add(self, value: str, row: Row, column: str, findings: Findings) -> bool:
        """Take a key; False, with a fault, where it or one that databases hold to be the same is there already."""
        folded = same_when_folded(value)
        earlier = self._rows.setdefault(folded, (value, row))
        if earlier[1] is row:
            return True
        where = f"line {earlier[1].line}"
        if earlier[1].source.file != row.source.file:
            where += f" of {earlier[1].source.file}"
        if earlier[0] == value:
            message = f"The {self._what} “{value}” is there already, on {where}."
            remedy = "Keep one of the two rows, or give this one a key of its own."
        else:
            message = (
                f"“{value}” and “{earlier[0]}”, on {where}, differ only in case, accents or spaces; "
                f"an LMS takes them for the same {self._what}."
            )
            remedy = "Give this one a key that differs by a letter or digit."
        findings.fault(row, column, "duplicate", message, remedy, value)
        return False
