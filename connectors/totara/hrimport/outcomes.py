"""What became of the rows of a delivered file, read from the site's sync log and joined back to the rows.

Consumed is not applied: the site takes a file away and may then refuse it, and its task ends well either way. The
log has no interface; it comes as a scheduled report's CSV. The text of its rows is in the site's language, the
action and the marker rows are told apart by their place, so English texts are read exactly and others by key.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bridge.ports import FixConfiguration
from connectors.hrimport_rules.messages import recognise
from connectors.totara.hrimport.rules import advice

PASSED_OVER = (
    "the import finished, and its log says nothing of this row. So it goes with what was made by hand or through an "
    "API: HR Import leaves it alone until “HR Import” is ticked in its own settings on the site"
)
# Actions under which the site logs a row it carried out, whatever its language.
_DONE_ACTIONS = {"syncitem", "createuser", "updateusers", "deleteuser", "suspenduser", "create", "update", "delete"}
_KEPT_WITH_ERROR = {"customfieldsnotype", "customfieldinvalidmaptype", "invalidlangx", "unrecognisedaggregrationmethod"}
_COLUMNS = ("id", "runid", "time", "element", "logtype", "action", "info")
_ERROR_WORDS = {"error", "erreur", "fehler", "fout", "errore", "erro", "fejl", "fel", "virhe", "feil", "błąd"}
_WARN_WORDS = {"warning", "warn", "avertissement", "warnung", "waarschuwing", "advertencia", "aviso", "avviso"}


class RowFate(StrEnum):
    """What is known of one row."""

    APPLIED = "applied"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class SyncLogRow:
    """One row of the site's sync log."""

    id: int
    runid: int
    element: str
    logtype: str
    action: str
    info: str
    time: float | None = None
    """Unix time, where the report's date could be read."""


@dataclass(frozen=True, slots=True)
class SentRow:
    """A row as it was sent: its key (for jobs also the person's), and what preflight expected of it."""

    idnumber: str
    owner: str = ""
    expected: str = ""
    """Preflight's verdict: create, update, skip, refuse or delete."""
    rule: str = ""
    again: bool = False
    """Whether the same content went to the site with the same time before: it passes over what it has."""


@dataclass(frozen=True, slots=True)
class RowReport:
    """What became of one row, and why where it was not simply applied."""

    row: SentRow
    fate: RowFate
    why: str = ""


def read_sync_log(
    path: Path,
    headings: Mapping[str, str] | None = None,
    *,
    clock: Callable[[str], float | None] = lambda _text: None,
) -> Iterator[SyncLogRow]:
    """Rows of a sync log report export, oldest first as exported.

    ``headings`` names a column's heading where the site's report has another than ``totara_sync_log_<column>``.

    Raises:
        FixConfiguration: a column is missing from the report.
    """
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        first = next(reader, [])
        place: dict[str, int] = {}
        for column in _COLUMNS:
            wanted = {
                (headings or {}).get(column, ""),
                f"totara_sync_log_{column}",
                f"totara_sync_log-{column}",
                column,
            }
            found = [at for at, heading in enumerate(first) if heading in wanted]
            if found:
                place[column] = found[0]
        missing = [column for column in _COLUMNS if column not in place and column != "time"]
        if missing:
            message = (
                f"The sync log report {path.name} has no column for {', '.join(missing)}. Add it there, or name "
                "its heading in the site's settings."
            )
            raise FixConfiguration(message)
        for cells in reader:
            if len(cells) >= len(first):
                yield SyncLogRow(
                    int(cells[place["id"]]),
                    int(cells[place["runid"]]),
                    cells[place["element"]],
                    _logtype(cells[place["logtype"]]),
                    cells[place["action"]],
                    cells[place["info"]],
                    clock(cells[place["time"]]) if "time" in place else None,
                )


def _logtype(text: str) -> str:
    word = text.strip().lower()
    if word in _ERROR_WORDS:
        return "error"
    return "warn" if word in _WARN_WORDS else "info"


def element_run(
    log: Iterable[SyncLogRow], element: str, after: int, *, taken_at: float | None = None
) -> list[SyncLogRow]:
    """The log rows of the run of an element that took our file, of those whose id is beyond ``after``.

    ``taken_at`` is the moment in the file's name in the store folder: the last run begun by then is the one. Without
    it, or where the log's times could not be read, it is the first run that found a file at all.
    """
    runs: dict[int, list[SyncLogRow]] = {}
    for row in sorted(log, key=lambda row: row.id):
        if row.id > after and row.element == element:
            runs.setdefault(row.runid, []).append(row)
    found_file = [run for run in runs.values() if not (len(run) == 2 and run[1].logtype == "warn")]
    if taken_at is not None:
        begun = [run for run in found_file if run[0].time is not None and run[0].time <= taken_at + 1]
        if begun:
            return begun[-1]
    return found_file[0] if found_file else []


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of a file: whether its import went through, and of every row."""

    element: str
    finished: bool
    why: str
    rows: list[RowReport]


def settle_rows(element: str, sent: Sequence[SentRow], run: Sequence[SyncLogRow]) -> FileReport:
    """Join the rows sent with the log of the run that took them.

    An empty ``run`` leaves every row pending. A row the log does not name was passed over in silence: it counts as
    applied when the site holds it already (preflight saw that, or it was handed over before), as refused when a
    setting or the item itself forbids it, and as unknown otherwise.
    """
    if not run:
        return FileReport(element, False, "", [RowReport(row, RowFate.PENDING) for row in sent])
    said = _by_key(run, sent)
    last = run[-1]
    finished = last.logtype == "info" and last.action in {f"{element}sync", "sync"} and last is not run[0]
    faults = [row.info for row in run if row.logtype == "error"]
    why = "" if finished else (faults[-2] if len(faults) > 1 else faults[-1] if faults else "the import did not finish")
    return FileReport(element, finished, why, [_fate(row, said.get(_key(row), []), finished, why) for row in sent])


def _key(row: SentRow) -> tuple[str, str]:
    return row.idnumber, row.owner


def _by_key(run: Sequence[SyncLogRow], sent: Sequence[SentRow]) -> dict[tuple[str, str], list[tuple[str, SyncLogRow]]]:
    keys = {_key(row) for row in sent}
    owners: dict[str, list[str]] = {}
    for idnumber, owner in keys:
        owners.setdefault(idnumber, []).append(owner)
    found: dict[tuple[str, str], list[tuple[str, SyncLogRow]]] = {}
    for row in run:
        known = recognise(row.info)
        code = known[0] if known else ""
        idnumber, owner = "", ""
        if known:
            values = known[1]
            idnumber = values.get("idnumber", values.get("item", "").partition(" ")[2])
            owner = values.get("useridnumber", "")
        if (idnumber, owner) not in keys:
            idnumber, owner = _named_in(row.info, owners, keys)
        if (idnumber, owner) in keys:
            found.setdefault((idnumber, owner), []).append((code, row))
    return found


def _named_in(info: str, owners: Mapping[str, list[str]], keys: set[tuple[str, str]]) -> tuple[str, str]:
    """The key a text in another language names: its words are looked up, never the keys searched one by one."""
    words = [word for word in re.split(r"[\s'\"“”«»„]+", info) if word]
    candidates = {trimmed for word in words for trimmed in (word, word.rstrip(".,;:)"), word.strip("().,;:"))}
    for word in sorted(candidates & owners.keys(), key=len, reverse=True):
        for owner in owners[word]:
            if (word, owner) in keys and (not owner or owner in candidates):
                return word, owner
    return "", ""


def _fate(row: SentRow, said: list[tuple[str, SyncLogRow]], finished: bool, why: str) -> RowReport:
    refused = [(code, log) for code, log in said if log.logtype == "error" and code not in _KEPT_WITH_ERROR]
    done = [log for _, log in said if log.logtype == "info" and log.action in _DONE_ACTIONS | {f"{log.element}sync"}]
    if done:
        return RowReport(row, RowFate.APPLIED)
    if refused:
        code, log = refused[0]
        return RowReport(row, RowFate.REFUSED, f"{log.info} {advice(code)}".strip())
    if not finished:
        return RowReport(row, RowFate.REFUSED, f"HR Import stopped: {why}")
    if row.expected == "skip" and row.rule in {"timemodified", "unchanged", "deleted"}:
        return RowReport(row, RowFate.APPLIED, "the site held it already")
    if row.expected in {"skip", "refuse"}:
        return RowReport(row, RowFate.REFUSED, f"passed over in silence ({row.rule}): {advice(row.rule)}".strip())
    if row.again:
        return RowReport(row, RowFate.APPLIED, "the site held it already, with the same content and time")
    return RowReport(row, RowFate.UNKNOWN, PASSED_OVER)
