"""Files on their way: written down before anything is sent, found again after a restart."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import uuid4


class Stage(StrEnum):
    """How far a file is."""

    WRITTEN = "written"
    RENAMING = "renaming"
    """It lies there under its temporary name, or has its own by now."""
    DELIVERED = "delivered"
    TAKEN = "taken"
    FAILED = "failed"
    MERGED = "merged"
    """Its rows went into a younger file before it was delivered."""


@dataclass(slots=True)
class SpoolRow:
    """One row of a file: the object's key, the changes it stands for, its cells by heading."""

    key: str
    changes: list[str]
    cells: dict[str, str]


@dataclass(slots=True)
class SpoolFile:
    """One file on its way."""

    token: str
    kind: str
    number: int
    name: str = ""
    stage: Stage = Stage.WRITTEN
    delivered_at: float = 0.0
    taken_at: float = 0.0
    rows: int = 0
    says: str = ""
    """What the LMS's receipt of failure says."""
    merged_into: str = ""
    refused: dict[str, list[str]] = field(default_factory=dict)
    """``<action> <key>`` to status and reason of changes that went into no file."""

    @property
    def open(self) -> bool:
        """Whether something may still become of it."""
        return self.stage in {Stage.WRITTEN, Stage.RENAMING, Stage.DELIVERED}


_SAVED = tuple(one.name for one in fields(SpoolFile))


def _write(path: Path, plain: Any) -> None:
    """Put JSON in place in one step, on the disk before its name is."""
    temporary = path.with_suffix(".part")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(plain, stream, ensure_ascii=True)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


class Spool:
    """A folder with one sub-folder a file on its way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def new(self, kind: str) -> SpoolFile:
        """A file behind all others; nothing is on disk yet but its folder."""
        entry = SpoolFile(uuid4().hex, kind, 1 + max((one.number for one in self.entries()), default=0))
        (self._folder / entry.token).mkdir()
        return entry

    def path(self, entry: SpoolFile) -> Path:
        """Where a file itself is."""
        return self._folder / entry.token / "content"

    def save(self, entry: SpoolFile, rows: list[SpoolRow] | None = None) -> None:
        """Write down how far a file is, and its rows where they are new."""
        folder = self._folder / entry.token
        if rows is not None:
            entry.rows = len(rows)
            _write(folder / "rows.json", [[row.key, row.changes, row.cells] for row in rows])
        _write(folder / "receipt.json", {name: getattr(entry, name) for name in _SAVED})

    def load(self, token: str) -> SpoolFile | None:
        """The file of a token; None where it never got as far as being written down."""
        path = self._folder / token / "receipt.json"
        if not path.is_file():
            return None
        plain = json.loads(path.read_text("utf-8"))
        return SpoolFile(**{**plain, "stage": Stage(plain["stage"])})

    def rows(self, entry: SpoolFile) -> list[SpoolRow]:
        """The rows of a file."""
        plain = json.loads((self._folder / entry.token / "rows.json").read_text("utf-8"))
        return [SpoolRow(*row) for row in plain]

    def entries(self) -> list[SpoolFile]:
        """All files, oldest first."""
        found = [self.load(path.name) for path in self._folder.iterdir() if path.is_dir()]
        return sorted((one for one in found if one is not None), key=lambda one: one.number)

    def forget_old(self, keep: int = 60) -> None:
        """Remove what was taken long ago, but for the last few."""
        settled = [one for one in self.entries() if not one.open]
        # The last file of a kind is what the LMS was told: where files list everything, the next one builds on it.
        last = {one.kind: one.token for one in settled if one.stage is Stage.TAKEN and one.rows}
        for entry in settled[:-keep]:
            if last.get(entry.kind) == entry.token:
                continue
            shutil.rmtree(self._folder / entry.token, ignore_errors=True)
