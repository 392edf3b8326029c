"""Names that somebody else chose: told apart into plain ones, ones to be renamed, and ones to be refused.

A name from a drop never becomes a path: what passes here is one component, printable, and means a plain file on
every system this runs on.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

LONGEST = 180
"""Bytes (UTF-8) that a local name may have: room is left for suffixes below the 255 of common file systems."""

_DEVICES = re.compile(r"(?i)^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?$")
_DRIVE = re.compile(r"^[A-Za-z]:")
_UNFIT = re.compile(r'[<>:"|?*]')
# What looks like a separator or a dot to a reader, or becomes one under compatibility normalisation.
_LOOKALIKES = frozenset("\u2044\u2215\u29f8\u29f9\ufe68\uff0f\uff3c\u2024\u2025\u2026\uff0e\ufe52")
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class NameVerdict:
    """What becomes of a name. `local` is empty where it is refused; `why` says why it is refused or renamed."""

    local: str
    why: str = ""

    @property
    def refused(self) -> bool:
        """True where no file of this name may be taken."""
        return not self.local


def shown(name: str) -> str:
    """Return a name fit for a message or a log: unprintable characters as escapes, long ones cut."""
    text = "".join(
        c
        if c.isprintable() and unicodedata.category(c) != "Cf"
        else c.encode("unicode_escape", "surrogatepass").decode()
        for c in name
    )
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(name)} characters)"


def judge_name(name: str) -> NameVerdict:
    """Say under which local name a file of this name may be kept, or why not at all."""
    reason = _hostile(name)
    if reason:
        return NameVerdict("", f"{reason} Ask the sender to give the file a plain name.")
    local = unicodedata.normalize("NFC", name)
    # Normalising may uncover what the raw name hid.
    reason = _hostile(local)
    if reason:
        return NameVerdict("", f"{reason} Ask the sender to give the file a plain name.")
    reasons = []
    if local != name:
        reasons.append("its letters are written in another Unicode form")
    if _UNFIT.search(local):
        local = _tagged(_UNFIT.sub("_", local), name)
        reasons.append("it holds characters that some systems do not allow in file names")
    if len(local.encode()) > LONGEST:
        local = _tagged(local, name)
        reasons.append("it is very long")
    why = f"Kept as {local}, because of the sender's name: {' and '.join(reasons)}." if reasons else ""
    return NameVerdict(local, why)


def with_tag(local: str, tag: str) -> str:
    """Return a local name with a tag before its ending: ``people.csv``, ``2f6b`` → ``people-2f6b.csv``."""
    stem, dot, ending = local.partition(".")
    if not stem:
        stem, ending = local, ""
    ending = (dot + ending).encode()[: LONGEST // 3].decode(errors="ignore").rstrip(". ") if ending else ""
    room = LONGEST - len(ending.encode()) - len(tag.encode()) - 1
    return f"{stem.encode()[:room].decode(errors='ignore')}-{tag}{ending}"


def _tagged(local: str, name: str) -> str:
    return with_tag(local, hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12])


def _hostile(name: str) -> str:
    if not name or name in {".", ".."}:
        return "It is not a file name."
    if any("\ud800" <= c <= "\udfff" for c in name):
        return "Its name is not valid UTF-8."
    if "/" in name or "\\" in name:
        return "Its name holds a path separator and would point to another folder."
    if _DRIVE.match(name):
        return "Its name starts with a drive letter and would point to another folder."
    if any(unicodedata.category(c) == "Cc" for c in name):
        return "Its name holds control characters."
    if any(unicodedata.category(c) in {"Cf", "Zl", "Zp", "Co", "Cn"} for c in name):
        return "Its name holds invisible characters, or ones that turn the direction of writing."
    if any(c in _LOOKALIKES for c in name):
        return "Its name holds characters that look like path separators or dots."
    if _DEVICES.match(name):
        return "Its name means a device on some systems."
    if name != name.strip() or name.endswith("."):
        return "Its name starts or ends with a space, or ends with a dot."
    if name.startswith(("-", "~")):
        return "Its name starts with a character that commands take for an option or a home folder."
    return ""
