"""In which encoding a text file is written: a byte order mark tells, else strict UTF-8, else what was declared.

Nothing is guessed into the data. Where no rule decides, the error offers what the bytes look like as advice.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from bridge.faults import Fault
from connectors.tables.table import UnreadableTable

CHUNK = 1 << 20

_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""UTF-32 stands before UTF-16, whose little-endian mark is how UTF-32's begins."""

_NOT_ASCII_BASED = ("utf-16", "utf-32", "utf-7", "iso2022", "hz")
"""Encodings in which text is made of bytes that are also valid UTF-8, but mean something else."""

_SAVE_AS_UTF8 = "In a spreadsheet, save the file again as “CSV UTF-8”"


@dataclass(frozen=True, slots=True)
class _BadBytes:
    """The first bytes that an encoding cannot have: the line they stand in, and what is around them."""

    line: int
    near: bytes


def encoding_of(path: Path, file: str, declared: str | None) -> str:
    """Return the name of the encoding a file is in; reads it once, in pieces.

    Raises UnreadableTable where the bytes are in no encoding that a mark, UTF-8 or the declaration stands for.
    """
    wanted = None if declared is None else _codec_name(file, declared)
    with path.open("rb") as stream:
        head = stream.read(4096)
    marked = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
    if marked is not None:
        bad = _first_bad_bytes(path, marked)
        if bad is not None:
            name = marked.removesuffix("-sig").upper()
            message = f"The file's first bytes say that it is {name}, but this line is not."
            raise _unreadable(file, bad, message, f"{_SAVE_AS_UTF8}.")
        return marked
    if declared is not None and wanted is not None and wanted.startswith(_NOT_ASCII_BASED):
        encodings = [declared]
    else:
        encodings = ["utf-8"] if declared is None or wanted == "utf-8" else ["utf-8", declared]
    bad = None
    for encoding in encodings:
        bad = _first_bad_bytes(path, encoding)
        if bad is None:
            if encoding == "utf-8" and _every_other_is_zero(head):
                message = "Every other byte of the file is zero: it is UTF-16 without a byte order mark."
                remedy = f"{_SAVE_AS_UTF8}; declaring the encoding utf-16-le (or utf-16-be) helps too."
                raise _unreadable(file, _BadBytes(1, head[:20]), message, remedy)
            return encoding
    assert bad is not None, "at least one encoding was tried"  # noqa: S101 - tells the type checker what the loop did
    if declared is None:
        message = "The file is not UTF-8 text, and no encoding is declared for it."
        raise _unreadable(file, bad, message, f"{_SAVE_AS_UTF8}, or declare its encoding. {_looks_like(bad.near)}")
    message = f"The file is not {' or '.join(encodings)} text, though {declared} is declared for it."
    raise _unreadable(file, bad, message, f"{_SAVE_AS_UTF8}, or declare its real encoding. {_looks_like(bad.near)}")


def _codec_name(file: str, declared: str) -> str:
    """Return Python's name of an encoding; raises UnreadableTable where nobody knows it."""
    try:
        "a".encode(declared)  # refuses codecs that are not for text
        return codecs.lookup(declared).name
    except (LookupError, UnicodeError):
        remedy = "Declare one that exists, for example utf-8, cp1252 (Windows, Western) or iso-8859-2."
        message = f"There is no encoding called “{declared}”."
        raise UnreadableTable(Fault(file, None, "", declared, "encoding-unknown", message, remedy)) from None


def _first_bad_bytes(path: Path, encoding: str) -> _BadBytes | None:
    """Return the first bytes that do not decode, or None; reads in pieces, so the file may be of any size."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    lines = 1
    with path.open("rb") as stream:
        while True:
            chunk = stream.read(CHUNK)
            kept = decoder.getstate()[0]
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                seen = bytes(error.object[: error.start])
                near = bytes(error.object[max(0, error.start - 20) : error.start + 20]) or kept
                return _BadBytes(lines + seen.count(b"\n"), near)
            if not chunk:
                return None
            lines += text.count("\n")


def _looks_like(near: bytes) -> str:
    """Return a sentence of advice on what bytes may be; never acted upon."""
    try:
        text = near.decode("cp1252")
    except UnicodeDecodeError:
        return "It does not look like Windows-1252 either; ask whoever made the file how it was exported."
    words = " ".join(text.split())
    return f"It may be Windows-1252 (cp1252), in which it would read “{words}”; check before declaring it."


def _every_other_is_zero(head: bytes) -> bool:
    """Return whether bytes look like plain letters in UTF-16."""
    halves = head[0::2], head[1::2]
    zeros = sorted(half.count(0) / max(len(half), 1) for half in halves)
    return zeros[0] < 0.25 and zeros[1] > 0.75


def _unreadable(file: str, bad: _BadBytes, message: str, remedy: str) -> UnreadableTable:
    value = bad.near.decode("ascii", "backslashreplace")
    return UnreadableTable(Fault(file, bad.line, "", value, "encoding", message, remedy))
