"""Handing files to a site: into ``ready/`` under a temporary name, then renamed, and only when it is clear."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bridge.ports import RetryLater
from connectors.handover import FolderPlace
from connectors.hrimport_rules import ELEMENTS

_ELEMENT_FILE = re.compile(rf"({'|'.join(ELEMENTS)})\.csv", re.IGNORECASE)
_STORED_FILE = re.compile(rf"(\d+)\.({'|'.join(ELEMENTS)})\.csv", re.IGNORECASE)


class Drop(Protocol):
    """Where a site takes its files: a folder it can see, directly or through SFTP."""

    def ready(self) -> dict[str, int]:
        """The files in ``ready/`` with their sizes, temporary ones included."""

    def stored(self) -> dict[str, int]:
        """The files in ``store/`` with their sizes."""

    def put(self, source: Path, temporary: str) -> None:
        """Copy a file into ``ready/`` under a temporary name, replacing what an interrupted run left there."""

    def rename(self, temporary: str, name: str) -> None:
        """Give a file in ``ready/`` its name."""

    def remove(self, name: str) -> None:
        """Take a file of ours out of ``ready/``; one that is gone already is no fault."""

    def close(self) -> None:
        """Give back connections."""


class FolderDrop:
    """A site's files directory on a file system both sides see; ``csv/ready`` and ``csv/store`` lie in it."""

    def __init__(self, filesdir: Path) -> None:
        remedy = "Name the files directory of the site's HR Import settings, and make csv/ready in it."
        self._ready = FolderPlace(filesdir / "csv" / "ready", remedy)
        self._store = FolderPlace(filesdir / "csv" / "store", remedy)

    def ready(self) -> dict[str, int]:
        """The files in ``ready/`` with their sizes."""
        return {name: one.size for name, one in self._ready.files().items()}

    def stored(self) -> dict[str, int]:
        """The files in ``store/``; the site makes the folder with its first import."""
        return {name: one.size for name, one in self._store.files().items()} if self._store.exists() else {}

    def put(self, source: Path, temporary: str) -> None:
        """Copy a file into ``ready/`` and have the disk keep it."""
        self._ready.put(source, temporary)

    def rename(self, temporary: str, name: str) -> None:
        """Give a file in ``ready/`` its name."""
        self._ready.rename(temporary, name)

    def remove(self, name: str) -> None:
        """Take a file of ours out of ``ready/``."""
        self._ready.remove(name)

    def close(self) -> None:
        """Nothing to give back."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One file handed over: how it can be known again in ``store/``."""

    element: str
    size: int
    sha256: str


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def waiting_files(drop: Drop) -> list[str]:
    """Element files that still lie in ``ready/``: the site has not run since."""
    return sorted(name for name in drop.ready() if _ELEMENT_FILE.fullmatch(name))


def deliver(
    files: Mapping[str, Path],
    drop: Drop,
    token: str,
    *,
    renaming: bool = False,
    before_rename: Callable[[], None] = lambda: None,
    alongside: frozenset[str] = frozenset(),
) -> list[Delivered]:
    """Hand files over, what others depend on first.

    All are copied under temporary names before the first gets its own, so that a broken connection leaves nothing
    the site would read. ``before_rename`` is called between the two: whoever notes that durably passes
    ``renaming=True`` when the rest is done after a crash, and a file that has its name already (or that the site
    has taken already) is not sent twice. ``alongside`` names files of ours that may still lie there.

    Raises:
        RetryLater: ``ready/`` still holds files; nothing was touched.
    """
    order = [name for name in ELEMENTS if name in files]
    present = drop.ready()
    missing = [name for name in order if temporary_name(name, token) in present] if renaming else order
    others = [name for name in present if _ELEMENT_FILE.fullmatch(name) and name not in alongside]
    if renaming:
        others = [name for name in others if name.partition(".")[0].lower() in missing]
    if others:
        message = (
            f"The site has not taken {', '.join(sorted(others))} yet. Nothing was sent. Wait for its next HR Import "
            "run, or look there why it does not run."
        )
        raise RetryLater(message)
    if not renaming:
        for element in order:
            drop.put(files[element], temporary_name(element, token))
        before_rename()
    for element in missing:
        drop.rename(temporary_name(element, token), f"{element}.csv")
    return [Delivered(name, files[name].stat().st_size, _digest(files[name])) for name in order]


def temporary_name(element: str, token: str) -> str:
    """The name a file has in ``ready/`` before it gets its own; the site does not look at it."""
    return f".{element}.csv.{token}.part"


def taken(drop: Drop, since: Mapping[str, int]) -> dict[str, str]:
    """The elements the site has consumed since ``store/`` held ``since``: element to its first name there."""
    found: dict[str, str] = {}
    for name in sorted(drop.stored()):
        match = _STORED_FILE.fullmatch(name)
        if match and name not in since:
            found.setdefault(match[2].lower(), name)
    return found
