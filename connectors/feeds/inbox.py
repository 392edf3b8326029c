"""Our side of a transfer: partial files that can be resumed, and their way to a final name in the inbox."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from bridge.ports import BridgeError, FixConfiguration, StopRun
from connectors.feeds.names import with_tag

_BLOCK = 1024 * 1024
_STALE = 14 * 24 * 3600
"""Seconds after which a partial file is given up."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def prepare_inbox(inbox: Path) -> None:
    """Make the inbox where it is missing, open to this account only: feeds hold personal data.

    Partial files that nobody resumed for two weeks are removed, for the same reason.
    """
    try:
        inbox.mkdir(mode=0o700, parents=True, exist_ok=True)
        for partial in inbox.glob(".*.partial*"):
            if time.time() - partial.lstat().st_mtime > _STALE:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise local_fault(error, inbox) from error


def local_fault(error: OSError, path: Path) -> BridgeError:
    """Say what a failed write or read on this machine means and what to do next."""
    where = path if path.is_dir() else path.parent
    if error.errno in _FULL:
        return StopRun(
            f"The disk of this machine is full: {where} takes no more. The unfinished file was removed again and the "
            "drop is untouched. Free some space, then run again."
        )
    if isinstance(error, PermissionError):
        return FixConfiguration(
            f"This account may not write to {where}. Give it that right, or choose another folder, then run again."
        )
    return StopRun(f"Writing to {where} failed: {error.strerror or error}. Mend the disk or the mount, then run again.")


class Partial:
    """A file on its way into the inbox. Closing keeps it, so that it can be resumed; `discard` removes it."""

    def __init__(self, inbox: Path, name: str) -> None:
        key = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        self.path = inbox / f".{key}.partial"
        self._identity_path = inbox / f".{key}.partial.json"
        self._inbox = inbox
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self.size = 0

    def begin(self, identity: Mapping[str, str | int], size: int) -> int:
        """Open it for a remote file of this identity and size. Return the offset at which to go on.

        Bytes of another identity (another size or time of change) are thrown away first.
        """
        self.close()
        self._hash, self.size = hashlib.sha256(), 0
        try:
            if self._read_identity() != dict(identity) or not self.path.is_file() or self.path.is_symlink():
                self.discard()
            have = self.path.stat().st_size if self.path.exists() else 0
            if have > size:
                self.discard()
                have = 0
            free = shutil.disk_usage(self._inbox).free
            if size - have > free:
                raise StopRun(
                    f"The disk of this machine is too full: the file needs {size - have:,} bytes and {self._inbox} has "
                    f"{free:,} left. The drop is untouched. Free some space, then run again."
                )
            self._identity_path.write_text(json.dumps(dict(identity)), encoding="utf-8")
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            self._file = os.fdopen(os.open(self.path, flags, 0o600), "r+b")
            while block := self._file.read(_BLOCK):
                self._hash.update(block)
                self.size += len(block)
        except OSError as error:
            self.discard()
            raise local_fault(error, self.path) from error
        return self.size

    def tail(self, length: int) -> bytes:
        """Return the last bytes, to be compared with what the server has there now."""
        assert self._file is not None, "begin comes first"  # noqa: S101 - a programming error, not a foreseeable fault
        self._file.seek(max(0, self.size - length))
        return self._file.read(length)

    def restart(self) -> None:
        """Throw away what was written and go on from the first byte."""
        assert self._file is not None, "begin comes first"  # noqa: S101 - a programming error, not a foreseeable fault
        self._file.seek(0)
        self._file.truncate()
        self._hash, self.size = hashlib.sha256(), 0

    def write(self, block: bytes) -> None:
        """Append bytes. Where the disk is full the partial file is removed and StopRun raised."""
        assert self._file is not None, "begin comes first"  # noqa: S101 - a programming error, not a foreseeable fault
        try:
            self._file.write(block)
        except OSError as error:
            self.discard()
            raise local_fault(error, self.path) from error
        self._hash.update(block)
        self.size += len(block)

    def finish(self) -> str:
        """Bring it to the disk and return its SHA-256."""
        assert self._file is not None, "begin comes first"  # noqa: S101 - a programming error, not a foreseeable fault
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self.discard()
            raise local_fault(error, self.path) from error
        self.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Close it, keeping the bytes for a later attempt."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:
                self.discard()
                raise local_fault(error, self.path) from error

    def discard(self) -> None:
        """Remove it."""
        if self._file is not None:
            file, self._file = self._file, None
            # Closing flushes; on a full disk that fails, and the bytes are not wanted anyway.
            with contextlib.suppress(OSError):
                file.close()
        self.path.unlink(missing_ok=True)
        self._identity_path.unlink(missing_ok=True)

    def settle(self, local_name: str, sha256: str) -> Path:
        """Give it its final name in the inbox. Another content of that name is kept: this one then gets a tag."""
        target = self._inbox / local_name
        try:
            if target.exists() and sha256_of(target) != sha256:
                target = self._inbox / with_tag(local_name, sha256[:12])
            os.replace(self.path, target)
            self._identity_path.unlink(missing_ok=True)
        except OSError as error:
            raise local_fault(error, target) from error
        return target

    def _read_identity(self) -> object:
        try:
            return json.loads(self._identity_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None  # nothing to resume, or not known to what it belongs: start over


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
