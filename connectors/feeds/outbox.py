"""Delivery in the other direction: files put where somebody else takes them away."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from bridge.ports import FixConfiguration, RetryLater, SkipItem, StopRun
from connectors.feeds.inbox import Partial, local_fault, prepare_inbox
from connectors.feeds.names import judge_name, shown
from connectors.feeds.readiness import utc
from connectors.feeds.settings import FolderOutboxSettings

_BLOCK = 1024 * 1024
_MOST = 20_000
_TEMPORARY = ".uploading"


@dataclass(frozen=True, slots=True)
class Delivered:
    """A file that lies in an outbox."""

    name: str
    size: int
    modified: datetime


@runtime_checkable
class Outbox(Protocol):
    """A place into which files are delivered. Methods raise `bridge.ports` errors and nothing else foreseeable."""

    def is_clear(self, names: Iterable[str]) -> bool:
        """Tell whether none of these files lies there: whoever takes them away has taken the last ones."""

    def put(self, name: str, local_path: Path, replace: bool = False) -> None:
        """Deliver a file: under a hidden temporary name first, its size verified, then renamed.

        Raises SkipItem where a file of that name lies there and `replace` is not given, OutcomeUnknown where the
        connection broke at the renaming: look with `list` before putting it again.
        """

    def list(self) -> list[Delivered]:
        """Return what lies there, by name; temporary and other hidden files, folders and links left out."""

    def fetch(self, name: str, folder: Path) -> Path:
        """Bring a file (a log or a result that the other side left) into a folder and return its path there."""

    def close(self) -> None:
        """Give back connections."""


class FolderOutbox:
    """Delivers into a folder of this machine, or one mounted here."""

    def __init__(self, settings: FolderOutboxSettings) -> None:
        self._path = settings.path
        self._place = settings.place

    def is_clear(self, names: Iterable[str]) -> bool:
        """Tell whether none of these files lies there."""
        wanted = [plain(name) for name in names]
        self._must_exist()
        return not any(os.path.lexists(self._path / name) for name in wanted)

    def put(self, name: str, local_path: Path, replace: bool = False) -> None:
        """Deliver a file under a temporary name, verify its size, rename it."""
        target = self._path / plain(name)
        self._must_exist()
        if not replace and os.path.lexists(target):
            raise there_already(name, str(self._path))
        hidden = self._path / temporary(name)
        size = size_of(local_path)
        try:
            with hidden.open("xb") as copy:
                for block in blocks(local_path):
                    copy.write(block)
                copy.flush()
                os.fsync(copy.fileno())
            if hidden.stat().st_size != size:
                raise RetryLater(
                    f"{shown(name)} arrived in {self._path} with another size than sent. Deliver it again."
                )
            os.replace(hidden, target)
        except OSError as error:
            raise local_fault(error, target) from error
        finally:
            with contextlib.suppress(OSError):
                hidden.unlink(missing_ok=True)

    def list(self) -> list[Delivered]:
        """Return what lies there, by name."""
        self._must_exist()
        try:
            with os.scandir(self._path) as entries:
                found = [
                    Delivered(one.name, status.st_size, utc(status.st_mtime))
                    for one in entries
                    if one.is_file(follow_symlinks=False) and not one.name.startswith(".")
                    for status in [one.stat(follow_symlinks=False)]
                ]
        except FileNotFoundError as error:
            raise RetryLater(f"A file in {self._path} went while it was listed. Look again.") from error
        except OSError as error:
            raise local_fault(error, self._path) from error
        return sorted(found, key=lambda one: one.name)

    def fetch(self, name: str, folder: Path) -> Path:
        """Bring a file into a folder and return its path there."""
        source = self._path / plain(name)
        self._must_exist()
        if source.is_symlink():
            raise SkipItem(f"{shown(name)} in {self._path} is a symbolic link and is not followed. Look who laid it.")
        prepare_inbox(folder)
        partial = Partial(folder, name)
        partial.discard()
        try:
            with source.open("rb") as file:
                partial.begin({}, os.fstat(file.fileno()).st_size)
                while block := file.read(_BLOCK):
                    partial.write(block)
        except FileNotFoundError as error:
            raise not_there(name, str(self._path)) from error
        except OSError as error:
            partial.discard()
            raise local_fault(error, source) from error
        return partial.settle(local(name), partial.finish())

    def close(self) -> None:
        """Nothing is held."""

    def _must_exist(self) -> None:
        if not self._path.is_dir():
            raise FixConfiguration(
                f"There is no folder {self._path}. Make it, mount it, or correct it in {self._place}."
            )


def plain(name: str) -> str:
    """Return a name that is one plain component, or raise: no name becomes a path elsewhere."""
    verdict = judge_name(name)
    if verdict.refused:
        raise SkipItem(f"{shown(name)} cannot be the name of a delivered file. {verdict.why}")
    return name


def local(name: str) -> str:
    """Return the name that a plain name gets on this machine."""
    return judge_name(name).local


def temporary(name: str) -> str:
    """Return a hidden name under which a file goes up, another each time."""
    return f".{name[:80]}.{secrets.token_hex(6)}{_TEMPORARY}"


def there_already(name: str, where: str) -> SkipItem:
    """Return the error for a file that was not taken away."""
    return SkipItem(
        f"{shown(name)} lies in {where} already, so the last delivery was not taken away yet. Nothing was sent; wait "
        "until it is gone, or find out why nobody takes it."
    )


def not_there(name: str, where: str) -> SkipItem:
    """Return the error for a file that does not lie there."""
    return SkipItem(f"There is no {shown(name)} in {where}. List what is there, then ask again.")


def size_of(path: Path) -> int:
    """Return the bytes of a file to be delivered; StopRun where it cannot be read."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise StopRun(f"{path} cannot be read ({error.strerror}), so it was not delivered. Make it anew.") from error


def blocks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file to be delivered; StopRun where it cannot be read."""
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise StopRun(f"{path} cannot be read ({error.strerror}), so it was not delivered. Make it anew.") from error
