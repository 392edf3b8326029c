"""Receipts of files on their way: written before anything is sent, found again after a restart."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

WRITTEN, RENAMING, DELIVERED, SETTLED = "written", "renaming", "delivered", "settled"
MERGED = "merged"
"""Its rows went into a younger file of the same element before the site had taken it."""


@dataclass(slots=True)
class SpoolRow:
    """One row of a spooled file: its keys there, and the changes it stands for."""

    idnumber: str
    owner: str
    keys: list[str]
    """``<action> <key>`` of each change, as one row may carry an update and a move."""
    expected: str = ""
    rule: str = ""
    seen_at: int = 0
    """Its ``timemodified``: when its content was first seen."""
    again: bool = False
    """Whether the site was handed the same content with the same time before."""
    fate: str = ""
    """What became of it, once known; the site's log may be cleared later."""
    why: str = ""


@dataclass(slots=True)
class SpoolEntry:
    """One file on its way."""

    token: str
    element: str
    number: int
    state: str = WRITTEN
    log_after: int = 0
    """The last id of the site's sync log known when the file was handed over."""
    stored_before: list[str] = field(default_factory=list)
    """What lay in the site's store folder then."""
    created_at: float = 0.0
    delivered_at: float = 0.0
    """When it got the name under which the site reads it."""
    rows: list[SpoolRow] = field(default_factory=list)
    row_count: int = 0
    whole: bool = True
    """Whether the rows are loaded."""
    merged_into: str = ""
    """The token of the younger entry that carries its rows."""
    refused: dict[str, list[str]] = field(default_factory=dict)
    """``<action> <key>`` to the status and reason of changes that were not sent at all."""


_SAVED = tuple(one.name for one in fields(SpoolEntry) if one.name not in {"rows", "whole"})


def _write(path: Path, plain: Any) -> None:
    """Put JSON in place in one step, on the disk before its name is."""
    temporary = path.with_suffix(".part")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(plain, stream, ensure_ascii=False)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


class Spool:
    """A folder with one sub-folder a file on its way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def new(self, element: str, now: float) -> SpoolEntry:
        """An entry behind all others; nothing is on disk yet but its folder."""
        entry = SpoolEntry(uuid4().hex, element, 1 + max((one.number for one in self.entries()), default=0))
        entry.created_at = now
        (self._folder / entry.token).mkdir()
        return entry

    def file(self, entry: SpoolEntry) -> Path:
        """Where an entry's file is."""
        return self._folder / entry.token / f"{entry.element}.csv"

    def save(self, entry: SpoolEntry) -> None:
        """Write an entry down so that it survives this process; its rows only where they were loaded."""
        folder = self._folder / entry.token
        if entry.whole:
            entry.row_count = len(entry.rows)
            _write(folder / "rows.json", [asdict(row) for row in entry.rows])
        plain = {name: getattr(entry, name) for name in _SAVED}
        _write(folder / "receipt.json", plain)

    def load(self, token: str) -> SpoolEntry | None:
        """The entry of a token with its rows; None where it never got as far as being written down."""
        entry = self._light(token)
        if entry is not None:
            rows = json.loads((self._folder / token / "rows.json").read_text(encoding="utf-8"))
            entry.rows = [SpoolRow(**row) for row in rows]
            entry.whole = True
        return entry

    def _light(self, token: str) -> SpoolEntry | None:
        path = self._folder / token / "receipt.json"
        if not path.is_file():
            return None
        return SpoolEntry(**json.loads(path.read_text(encoding="utf-8")), whole=False)

    def entries(self) -> list[SpoolEntry]:
        """All entries, oldest first, without their rows."""
        found = [self._light(path.name) for path in self._folder.iterdir() if path.is_dir()]
        return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.number)

    def ahead_of(self, entry: SpoolEntry) -> list[SpoolEntry]:
        """Entries that must be handed over first, and those of the same element that are not settled."""
        return [
            one
            for one in self.entries()
            if one.number < entry.number
            and (
                one.state in {WRITTEN, RENAMING}
                or (one.element == entry.element and one.state not in {SETTLED, MERGED})
            )
        ]

    def forget_settled(self, keep: int = 60) -> None:
        """Remove the files of settled entries, but for the last few, and what a run that died left unfinished."""
        for path in self._folder.iterdir():
            if path.is_dir() and not (path / "receipt.json").is_file():
                shutil.rmtree(path, ignore_errors=True)
        settled = [entry for entry in self.entries() if entry.state in {SETTLED, MERGED}]
        for entry in settled[:-keep]:
            shutil.rmtree(self._folder / entry.token, ignore_errors=True)

    def next_stamp(self, now: float) -> int:
        """A ``timemodified`` later than every one given out before: an equal one would be passed over."""
        path = self._folder / "last-stamp"
        last = int(path.read_text(encoding="ascii")) if path.is_file() else 0
        stamp = max(int(now), last + 1)
        # In one step: killed in the middle of the writing, it would leave a file that says nothing.
        _write(path, stamp)
        return stamp
