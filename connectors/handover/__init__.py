"""Places where files change hands: a folder both sides see, directly or through SFTP.

A file goes in under a temporary name and gets its own by a rename, so that the other side never meets half a file; the
two steps are apart, so that whoever notes the one durably knows after a crash whether the other was done.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bridge.ports import FixConfiguration

NOTE_BYTES = 65_536
"""As much of a receipt is read; what a person is to be told fits."""


@dataclass(frozen=True, slots=True)
class Lying:
    """A file in a place: its bytes, and when it was last changed (epoch seconds)."""

    size: int
    modified: float


class Place(Protocol):
    """One folder where files change hands. Methods raise `bridge.ports` errors and nothing else foreseeable."""

    def files(self) -> dict[str, Lying]:
        """The files that lie there by name, temporary ones included."""

    def put(self, source: Path, name: str) -> None:
        """Copy a file there, replacing what an interrupted run left under that name."""

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; FileNotFoundError where it is gone."""

    def remove(self, name: str) -> None:
        """Take a file away; one that is gone already is no fault."""

    def note(self, name: str) -> str:
        """The beginning of a small text that lies there; empty where it is gone."""

    def close(self) -> None:
        """Give back connections."""


class FolderPlace:
    """A folder on a file system both sides see."""

    def __init__(self, folder: Path, remedy: str) -> None:
        """`remedy` says what to do where the folder cannot be read."""
        self._folder = folder
        self._remedy = remedy

    def exists(self) -> bool:
        """Whether the folder is there at all."""
        return self._folder.is_dir()

    def files(self) -> dict[str, Lying]:
        """The files that lie there by name."""
        found: dict[str, Lying] = {}
        try:
            for path in self._folder.iterdir():
                try:
                    status = path.stat()
                except FileNotFoundError:
                    # Taken between the listing and the look: the other side is at work.
                    continue
                if path.is_file():
                    found[path.name] = Lying(status.st_size, status.st_mtime)
        except OSError as error:
            raise FixConfiguration(
                f"The folder {self._folder} cannot be read: {error.strerror}. {self._remedy}"
            ) from error
        return found

    def put(self, source: Path, name: str) -> None:
        """Copy a file there and have the disk keep it."""
        target = self._folder / name
        try:
            shutil.copyfile(source, target)
            with target.open("rb") as stream:
                os.fsync(stream.fileno())
        except OSError as error:
            message = f"{target} cannot be written: {error.strerror}. Give this account the right to write there."
            raise FixConfiguration(message) from error

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; FileNotFoundError where it is gone."""
        (self._folder / old).replace(self._folder / new)

    def remove(self, name: str) -> None:
        """Take a file away."""
        (self._folder / name).unlink(missing_ok=True)

    def note(self, name: str) -> str:
        """The beginning of a small text that lies there."""
        try:
            with (self._folder / name).open("rb") as stream:
                return stream.read(NOTE_BYTES).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        """Nothing to give back."""


__all__ = ["NOTE_BYTES", "FolderPlace", "Lying", "Place"]
