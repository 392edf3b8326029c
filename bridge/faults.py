"""What is wrong with something that was read, in words a person can act on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a file: where it stands, what stands there, and what to do about it.

    `line` is the physical line on which the record starts (in a workbook the number of the row), counted from 1, and
    None where the fault is about the file as a whole. `rule` is a short name that stays the same between releases.
    """

    file: str
    line: int | None
    column: str
    value: str
    rule: str
    message: str
    remedy: str

    @property
    def place(self) -> str:
        """Where it is, as a person would say it: ``competencies.csv, line 7, column parent``."""
        parts = [self.file]
        if self.line is not None:
            parts.append(f"line {self.line}")
        if self.column:
            parts.append(f"column {self.column}")
        return ", ".join(parts)

    def __str__(self) -> str:
        """Return place, message and remedy as one line."""
        return f"{self.place}: {self.message} {self.remedy}".rstrip()
