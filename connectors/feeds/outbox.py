"""Delivery in the other direction: files put where somebody else takes them away."""

from __future__ import annotations

import contextlib
import os
import posixpath
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from bridge.ports import BridgeError, FixConfiguration, OutcomeUnknown, RetryLater, SkipItem, StopRun
from connectors.feeds.inbox import Partial, local_fault, prepare_inbox
from connectors.feeds.names import judge_name, shown
from connectors.feeds.readiness import EntryKind, utc
from connectors.feeds.session import Bound, ConnectionBroken, Session
from connectors.feeds.settings import FolderOutboxSettings, SftpOutboxSettings
from connectors.feeds.wire import Wire

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
        wanted = [_plain(name) for name in names]
        self._must_exist()
        return not any(os.path.lexists(self._path / name) for name in wanted)

    def put(self, name: str, local_path: Path, replace: bool = False) -> None:
        """Deliver a file under a temporary name, verify its size, rename it."""
        target = self._path / _plain(name)
        self._must_exist()
        if not replace and os.path.lexists(target):
            raise _there_already(name, str(self._path))
        temporary = self._path / _temporary(name)
        size = _size_of(local_path)
        try:
            with temporary.open("xb") as copy:
                for block in _blocks(local_path):
                    copy.write(block)
                copy.flush()
                os.fsync(copy.fileno())
            if temporary.stat().st_size != size:
                raise RetryLater(
                    f"{shown(name)} arrived in {self._path} with another size than sent. Deliver it again."
                )
            os.replace(temporary, target)
        except OSError as error:
            raise local_fault(error, target) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

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
        source = self._path / _plain(name)
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
            raise _not_there(name, str(self._path)) from error
        except OSError as error:
            partial.discard()
            raise local_fault(error, source) from error
        return partial.settle(_local(name), partial.finish())

    def close(self) -> None:
        """Nothing is held."""

    def _must_exist(self) -> None:
        if not self._path.is_dir():
            raise FixConfiguration(
                f"There is no folder {self._path}. Make it, mount it, or correct it in {self._place}."
            )


class SftpOutbox:
    """Delivers into a folder on an SFTP server, within the same bounds and with the same pinned keys as a feed."""

    def __init__(self, settings: SftpOutboxSettings) -> None:
        self._server = settings.server
        self._path = settings.path
        self._session = Session(settings.server)

    def is_clear(self, names: Iterable[str]) -> bool:
        """Tell whether none of these files lies there."""
        wanted = [_plain(name) for name in names]
        with self._work(f"looking into {self._path}") as wire:
            # The folder itself first: without it nothing lies there, and nothing could be delivered either.
            wire.stat(self._path)
            return not any(wire.exists(self._at(name)) for name in wanted)

    def put(self, name: str, local_path: Path, replace: bool = False) -> None:
        """Deliver a file under a temporary name, verify its size, rename it."""
        target, temporary = self._at(_plain(name)), self._at(_temporary(name))
        size = _size_of(local_path)
        with self._work(f"delivering {shown(name)}") as wire:
            if not replace and wire.exists(target):
                raise _there_already(name, f"{self._path} on {self._server.host}")
            try:
                handle = wire.open_to_write(temporary)
                wire.write_from(handle, _blocks(local_path))
                wire.close_handle(handle)
                arrived = wire.entry(temporary).size
                if arrived != size:
                    raise RetryLater(
                        f"{shown(name)} arrived on {self._server.host} with {arrived:,} bytes instead of {size:,}. "
                        "Nothing was put in place; deliver it again."
                    )
            except Exception:
                with contextlib.suppress(Exception):  # the first fault is the one to tell
                    wire.remove(temporary)
                raise
        try:
            with self._work(f"renaming {shown(name)} into place") as wire:
                wire.posix_rename(temporary, target) if replace else wire.move(temporary, target)
        except ConnectionBroken as error:
            raise OutcomeUnknown(
                f"The connection to {self._server.host} broke while {shown(name)} was being renamed into place: it may "
                f"be there or not. Look whether it lies in {self._path} with {size:,} bytes before delivering it again."
            ) from error

    def list(self) -> list[Delivered]:
        """Return what lies there, by name."""
        with self._work(f"listing {self._path}") as wire:
            entries = wire.entries(self._path, _MOST)
        if len(entries) > _MOST:
            raise FixConfiguration(
                f"The folder {self._path} on {self._server.host} holds more than {_MOST:,} files. Check the path in "
                f"{self._server.place}, or have it tidied."
            )
        found = [
            Delivered(one.name, one.size, one.modified)
            for one in entries
            if one.kind is EntryKind.FILE and not judge_name(one.name).refused and not one.name.startswith(".")
        ]
        return sorted(found, key=lambda one: one.name)

    def fetch(self, name: str, folder: Path) -> Path:
        """Bring a file into a folder and return its path there."""
        path = self._at(_plain(name))
        prepare_inbox(folder)
        partial = Partial(folder, name)
        partial.discard()
        try:
            with self._work(f"fetching {shown(name)}") as wire:
                try:
                    handle = wire.open_to_read(path)
                except FileNotFoundError as error:
                    raise _not_there(name, f"{self._path} on {self._server.host}") from error
                size = wire.entry_of_handle(handle).size
                partial.begin({}, size)
                for block in wire.read_from(handle, 0, size):
                    partial.write(block)
                wire.close_handle(handle)
        except BridgeError:
            partial.discard()
            raise
        if partial.size != size:
            partial.discard()
            raise RetryLater(f"{shown(name)} became shorter while it was fetched. Fetch it again.")
        return partial.settle(_local(name), partial.finish())

    def close(self) -> None:
        """Hang up."""
        self._session.close()

    @contextlib.contextmanager
    def _work(self, doing: str) -> Iterator[Wire]:
        with Bound(self._server.total_seconds) as bound, self._session.work(doing, bound) as wire:
            yield wire

    def _at(self, name: str) -> str:
        return posixpath.join(self._path, name)


def _plain(name: str) -> str:
    """Return a name that is one plain component, or raise: no name becomes a path elsewhere."""
    verdict = judge_name(name)
    if verdict.refused:
        raise SkipItem(f"{shown(name)} cannot be the name of a delivered file. {verdict.why}")
    return name


def _local(name: str) -> str:
    return judge_name(name).local


def _temporary(name: str) -> str:
    return f".{name[:80]}.{secrets.token_hex(6)}{_TEMPORARY}"


def _there_already(name: str, where: str) -> SkipItem:
    return SkipItem(
        f"{shown(name)} lies in {where} already, so the last delivery was not taken away yet. Nothing was sent; wait "
        "until it is gone, or find out why nobody takes it."
    )


def _not_there(name: str, where: str) -> SkipItem:
    return SkipItem(f"There is no {shown(name)} in {where}. List what is there, then ask again.")


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise StopRun(f"{path} cannot be read ({error.strerror}), so it was not delivered. Make it anew.") from error


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise StopRun(f"{path} cannot be read ({error.strerror}), so it was not delivered. Make it anew.") from error
