"""Manifests: what a sender says about a file, as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping

from bridge.ports import SkipItem
from connectors.feeds.names import shown
from connectors.feeds.source import Manifest

LARGEST = 1024 * 1024
"""Bytes a manifest may have."""

_ROWS = ("rows", "row_count", "rowcount", "records", "record_count", "recordcount", "count")
_SHA256 = ("sha256", "sha-256", "sha256sum", "checksum")
_SIZE = ("size", "bytes", "file_size", "filesize")
_FILE = ("file", "filename", "file_name", "name")


def read_manifest(name: str, content: bytes, of: str) -> Manifest:
    """Return what the manifest called `name` says about the file called `of`.

    JSON: one object, or ``{"files": [...]}`` or a list of objects, one a file. CSV: a heading and one row a file
    (comma, semicolon or tab), or lines of two cells, a word and its value.
    Raises SkipItem where it cannot be read, or does not speak of the file, or says nothing about it.
    """
    try:
        text = content.decode("utf-8-sig")
        entries = _from_json(text) if name.lower().endswith(".json") else _from_csv(text)
    except (ValueError, csv.Error) as error:
        raise _refused(name, of, f"it cannot be read ({error})") from error
    entry = _entry_for(entries, name, of)
    rows, size = _number(entry, _ROWS, name, of), _number(entry, _SIZE, name, of)
    sha256 = _text(entry, _SHA256).lower().removeprefix("sha256:") or None
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise _refused(name, of, "its checksum is not a SHA-256 (64 hexadecimal digits)")
    if rows is None and size is None and sha256 is None:
        raise _refused(name, of, "it gives neither rows nor size nor sha256")
    return Manifest(name, rows, sha256, size)


def _refused(name: str, of: str, reason: str) -> SkipItem:
    return SkipItem(
        f"The manifest {shown(name)} of {shown(of)} is of no use: {reason}. "
        f'Ask the sender for one like {{"file": "{shown(of)}", "rows": 4000, "sha256": "…"}}.'
    )


def _from_json(text: str) -> list[Mapping[str, object]]:
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if isinstance(found, dict) and isinstance(found.get("files"), list):
        found = found["files"]
    entries = found if isinstance(found, list) else [found]
    if not entries or not all(isinstance(one, dict) for one in entries):
        raise ValueError("it is not an object with names and values")
    return [{str(key).strip().lower(): value for key, value in one.items()} for one in entries]


def _from_csv(text: str) -> list[Mapping[str, object]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    if "\x00" in text:
        raise ValueError("it holds NUL characters")
    rows = [
        [cell.strip() for cell in row]
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        if any(row)
    ]
    if not rows:
        raise ValueError("it is empty")
    known = {*_ROWS, *_SHA256, *_SIZE, *_FILE}
    heading = [cell.lower() for cell in rows[0]]
    if all(len(row) == 2 for row in rows) and not (len(rows) > 1 and set(heading) <= known):
        return [{row[0].lower(): row[1] for row in rows}]
    if len(rows) < 2:
        raise ValueError("it has a heading and no row")
    return [dict(zip(heading, row, strict=False)) for row in rows[1:]]


def _entry_for(entries: list[Mapping[str, object]], name: str, of: str) -> Mapping[str, object]:
    named = [one for one in entries if _text(one, _FILE)]
    fitting = [one for one in named if _text(one, _FILE) == of]
    if len(fitting) == 1:
        return fitting[0]
    if len(fitting) > 1:
        raise _refused(name, of, "it speaks of the file more than once")
    if not named and len(entries) == 1:
        return entries[0]
    raise _refused(name, of, "it speaks of other files only")


def _text(entry: Mapping[str, object], words: tuple[str, ...]) -> str:
    for word in words:
        value = entry.get(word)
        if value is not None and str(value).strip():
            return str(value).strip()
    return ""


def _number(entry: Mapping[str, object], words: tuple[str, ...], name: str, of: str) -> int | None:
    text = _text(entry, words)
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", text, re.ASCII):
        raise _refused(name, of, f"{shown(text)!r} is not a whole number")
    return int(text)
