"""A stand-in for an LMS that knows nothing but CSV files: it takes them at night, and exports what it holds."""

from __future__ import annotations

import csv
import os
from pathlib import Path

KEYS = {"competencies": "ID", "positions": "Code", "people": "Employee"}


class CsvLms:
    """Takes ``<table>*.csv`` from a folder, row by row by key, and leaves receipts and exports."""

    def __init__(self, folder: Path, *, receipts: bool = False) -> None:
        self.inbox = folder / "inbox"
        self.exports = folder / "exports"
        self.receipts = receipts
        self.tables: dict[str, dict[str, dict[str, str]]] = {}
        self.taken: list[str] = []
        self.fails = ""
        """What it writes into its receipts instead of taking anything."""
        self.silent = False
        """Whether tonight's receipts get lost."""
        self.inbox.mkdir(parents=True)
        self.exports.mkdir()

    def run(self, moment: float) -> None:
        """Take every file that lies there under its own name."""
        for path in sorted(self.inbox.iterdir()):
            if path.name.startswith(".") or path.suffix != ".csv":
                continue
            if (path.parent / f"{path.name}.ok").exists():
                continue
            if self.fails:
                self._note(path, "err", self.fails, moment)
                path.unlink()
                continue
            self._take(path)
            if self.receipts and not self.silent:
                self._note(path, "ok", "", moment)
            if not self.receipts:
                path.unlink()
        self.silent = False

    def _take(self, path: Path) -> None:
        table = path.stem.partition("-")[0]
        key = KEYS[table]
        held = self.tables.setdefault(table, {})
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                if row.pop("Delete", "0") == "1":
                    held.pop(row[key], None)
                else:
                    held[row[key]] = row
        self.taken.append(path.name)

    @staticmethod
    def _note(path: Path, suffix: str, text: str, moment: float) -> None:
        note = path.parent / f"{path.name}.{suffix}"
        note.write_text(text, encoding="utf-8")
        os.utime(note, (moment, moment))

    def export(self, moment: float) -> None:
        """Write each table to ``exports/<table>.csv``."""
        for table, rows in self.tables.items():
            path = self.exports / f"{table}.csv"
            headings = list(dict.fromkeys(name for row in rows.values() for name in row))
            with path.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.DictWriter(stream, headings or [KEYS[table]])
                writer.writeheader()
                writer.writerows(rows.values())
            os.utime(path, (moment, moment))
