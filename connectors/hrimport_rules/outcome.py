"""What one import did, told two ways: the rows of the site's log, and a verdict for every row of the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from connectors.hrimport_rules.messages import text_of

Outcome = Literal["create", "update", "skip", "refuse", "delete"]


class LogRow(NamedTuple):
    """One row of ``totara_sync_log`` without its id, time and run: ``info`` is cut at 255 as the site cuts it."""

    element: str
    logtype: str
    action: str
    code: str
    info: str


class RowOutcome(NamedTuple):
    """What becomes of one row: the physical line it starts on, its key, the verdict and the deciding rule."""

    line: int
    idnumber: str
    outcome: Outcome
    rule: str
    owner: str = ""


class Journal:
    """Collects the log rows of one element; ``keep_info=False`` drops the ones that only say what went well."""

    def __init__(self, element: str, *, keep_info: bool = True) -> None:
        self.element = element
        self.rows: list[LogRow] = []
        self.keep_info = keep_info

    def add(self, logtype: str, action: str, code: str, **values: Any) -> None:
        """Log one message by its code; the values fill the text the site would show."""
        if logtype == "info" and not self.keep_info:
            return
        info = text_of(code, values)
        if len(info) > 255:
            info = info[:252].strip() + "..."
        self.rows.append(LogRow(self.element, logtype, action, code, info))


class Aborted(Exception):
    """The import of one element stops here; what it already changed stays changed."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class ElementResult:
    """The import of one element: aborted or not and why, every row's verdict, what is gone, and the log."""

    element: str
    aborts: bool = False
    reason: str = ""
    detail: str = ""
    # 1 where the scheduled task itself dies of a PHP error; aborted imports exit with 0.
    task_exit: int = 0
    rows: list[RowOutcome] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    # Users switched off rather than deleted; they are in ``removed`` as well.
    suspended: list[str] = field(default_factory=list)
    log: list[LogRow] = field(default_factory=list)

    def take(self, rows: Iterable[RowOutcome]) -> None:
        """Add verdicts, in the order of the file's lines."""
        dropped = bool(self.rows)
        self.rows.extend(rows)
        if dropped:
            self.rows.sort(key=attrgetter("line"))

    def counts(self) -> dict[str, int]:
        """How many rows met each verdict."""
        totals: dict[str, int] = {}
        for row in self.rows:
            totals[row.outcome] = totals.get(row.outcome, 0) + 1
        return totals

    def as_json(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return {
            "element": self.element,
            "aborts": self.aborts,
            "reason": self.reason,
            "detail": self.detail,
            "counts": self.counts(),
            "rows": list(self.json_rows()),
            "removed": self.removed,
            "suspended": self.suspended,
            "log": [row._asdict() for row in self.log if row.logtype != "info"],
        }

    def json_rows(self) -> Iterator[dict[str, Any]]:
        """The rows one by one, for output that must not be built in memory."""
        for row in self.rows:
            plain: dict[str, Any] = {
                "line": row.line,
                "idnumber": row.idnumber,
                "outcome": row.outcome,
                "rule": row.rule,
            }
            if row.owner:
                plain["useridnumber"] = row.owner
            yield plain
