"""A drop that is a folder of this machine, or one mounted here."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from bridge.ports import BridgeError, FixConfiguration, RetryLater, SkipItem
from bridge.sync.clock import Clock
from connectors.feeds.drop import Drop, changed_meanwhile
from connectors.feeds.inbox import Partial
from connectors.feeds.names import shown
from connectors.feeds.readiness import Entry, EntryKind, expired, utc
from connectors.feeds.settings import FolderSettings
from connectors.feeds.source import Arrival, NotYet, ReceivedFile

_BLOCK = 1024 * 1024


class FolderFeed(Drop):
    """Takes files from a folder. Symbolic links are never followed."""

    def __init__(self, settings: FolderSettings, clock: Clock | None = None) -> None:
        super().__init__(settings, clock or Clock())
        self._settings = settings
        self._path = settings.path

    def archive(self, received: ReceivedFile) -> str:
        """Move a file and its companions to the archive and return where it is now."""
        arrival = received.arrival
        source = self._path / arrival.name
        if not self._settings.archive:
            return str(source)
        folder = self._path / self._settings.archive
        try:
            try:
                now = source.lstat()
            except FileNotFoundError:
                return f"{source} (no longer there: moved or taken away meanwhile)"
            if (now.st_size, _modified(now)) != (arrival.size, arrival.modified):
                return f"{source} (replaced by a newer file meanwhile, which stays to be taken)"
            folder.mkdir(parents=True, exist_ok=True)
            name = self._archive_name(arrival, lambda one: os.path.lexists(folder / one))
            # The marker goes first: one that stayed behind would vouch for the next file of the same name.
            for companion in (*arrival.companions, arrival.name):
                moved = folder / (name + companion.removeprefix(arrival.name))
                if os.path.lexists(self._path / companion):
                    _move(self._path / companion, moved)
        except OSError as error:
            raise self._fault(error, f"moving {shown(arrival.name)} to {folder}") from error
        return str(folder / name)

    def leave(self, what: ReceivedFile | Arrival, why: str) -> str | None:
        """Put a note beside a file that says why it was left; None where the folder may not be written to."""
        name, text = self._why_note(what, why)
        path = self._path / name
        # Written beside and put in place, so that a link that somebody laid under this name is not followed.
        fresh = self._path / f".{secrets.token_hex(8)}.why"
        try:
            with fresh.open("x", encoding="utf-8") as file:
                file.write(text)
            os.replace(fresh, path)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            return None  # the caller keeps the reason, as the contract of `leave` says
        return str(path)

    def expire(self, before: datetime) -> tuple[str, ...]:
        """Remove files from the archive that were last changed before a moment; return their names."""
        folder = self._path / self._settings.archive
        if not self._settings.archive or not folder.is_dir():
            return ()
        old = expired(self._list(folder), self._settings, before)
        for one in old:
            try:
                (folder / one.name).unlink(missing_ok=True)
            except OSError as error:
                raise self._fault(error, f"removing {shown(one.name)} from {folder}") from error
        return tuple(shown(one.name) for one in old)

    def _entries(self) -> list[Entry]:
        return self._list(self._path)

    def _list(self, folder: Path) -> list[Entry]:
        entries: list[Entry] = []
        try:
            with os.scandir(folder) as listing:
                for one in listing:
                    if len(entries) >= self._settings.max_entries:
                        raise FixConfiguration(
                            f"The folder {folder} holds more than {self._settings.max_entries:,} files: it is "
                            f"probably not the drop. Check path in {self._settings.place}, or have it tidied."
                        )
                    try:
                        status = one.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # gone between the listing and the look: not there
                    entries.append(Entry(one.name, status.st_size, _modified(status), _kind(status.st_mode)))
        except OSError as error:
            raise self._fault(error, f"listing {folder}") from error
        return entries

    def _receive(self, arrival: Arrival, partial: Partial, note: Callable[[str], None]) -> str:  # noqa: ARG002 - nothing to note here: a local copy starts over
        partial.discard()
        descriptor, status = self._open(arrival.name)
        with os.fdopen(descriptor, "rb") as source:
            if (status.st_size, _modified(status)) != (arrival.size, arrival.modified):
                raise changed_meanwhile(arrival.name)
            partial.begin({}, arrival.size)
            while block := self._read(source.read, arrival.name):
                partial.write(block)
                if partial.size > arrival.size:
                    partial.discard()
                    raise changed_meanwhile(arrival.name)
            after = os.fstat(source.fileno())
        if partial.size != arrival.size or _modified(after) != arrival.modified:
            partial.discard()
            raise changed_meanwhile(arrival.name)
        return partial.finish()

    def _read(self, read: Callable[[int], bytes], name: str) -> bytes:
        try:
            return read(_BLOCK)
        except OSError as error:
            raise self._fault(error, f"reading {shown(name)}") from error

    def _read_companion(self, name: str, largest: int) -> tuple[bytes, datetime]:
        descriptor, status = self._open(name)
        with os.fdopen(descriptor, "rb") as source:
            content = self._read(lambda _: source.read(largest + 1), name)
        if len(content) > largest:
            raise SkipItem(f"{shown(name)} is larger than {largest:,} bytes and so no manifest. Ask the sender.")
        return content, _modified(status)

    def _open(self, name: str) -> tuple[int, os.stat_result]:
        flags = os.O_RDONLY
        for extra in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC"):
            flags |= getattr(os, extra, 0)
        try:
            descriptor = os.open(self._path / name, flags)
        except OSError as error:
            raise self._fault(error, f"opening {shown(name)}") from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise SkipItem(
                f"{shown(name)} in {self._path} is not a file any more. Look who changed it, then run again."
            )
        return descriptor, status

    def _fault(self, error: OSError, doing: str) -> BridgeError:
        if isinstance(error, PermissionError):
            return FixConfiguration(
                f"This account has no permission for {doing}. Give it read and write permission on {self._path}, "
                f"or correct path in {self._settings.place}."
            )
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) and not self._path.is_dir():
            return FixConfiguration(
                f"There is no folder {self._path}. Make it, or mount it, or correct path in {self._settings.place}."
            )
        if isinstance(error, FileNotFoundError):
            return NotYet(f"A file was gone when it came to {doing}. The next run looks again.")
        return RetryLater(
            f"Failed {doing}: {error.strerror or error}. If that stays so, look at the disk or the mount."
        )


def _move(source: Path, target: Path) -> None:
    """Move a file; the archive may lie on another disk."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        fresh = target.with_name(f".{secrets.token_hex(8)}.moving")
        try:
            shutil.copy2(source, fresh, follow_symlinks=False)
            if not fresh.is_symlink() and fresh.stat().st_size != source.stat().st_size:
                raise OSError(errno.EIO, "the copy in the archive is not whole") from error
            os.rename(fresh, target)
        finally:
            fresh.unlink(missing_ok=True)
        source.unlink()


def _modified(status: os.stat_result) -> datetime:
    return utc(status.st_mtime)


def _kind(mode: int) -> EntryKind:
    if stat.S_ISREG(mode):
        return EntryKind.FILE
    if stat.S_ISDIR(mode):
        return EntryKind.FOLDER
    return EntryKind.LINK if stat.S_ISLNK(mode) else EntryKind.OTHER
