"""The SFTP requests that feeds and outboxes need, with several reads or writes under way at once.

`paramiko.SFTPClient` is used for what travels on the wire. Its own listing stops at the first name that is not UTF-8,
and its read-ahead thread outlives a broken connection; both are done anew here.
"""

from __future__ import annotations

import posixpath
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import paramiko
from paramiko.message import Message
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_CLOSE,
    CMD_DATA,
    CMD_FSTAT,
    CMD_HANDLE,
    CMD_NAME,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READ,
    CMD_READDIR,
    CMD_STATUS,
    CMD_WRITE,
    SFTP_FLAG_CREATE,
    SFTP_FLAG_EXCL,
    SFTP_FLAG_READ,
    SFTP_FLAG_TRUNC,
    SFTP_FLAG_WRITE,
    SFTPError,
    int64,
)
from paramiko.sftp_attr import SFTPAttributes

from connectors.feeds.readiness import Entry, EntryKind, utc

BLOCK = 32 * 1024
"""Bytes in one read or write; the most that every server takes."""
AHEAD = 16
"""Requests under way at once: half a megabyte, enough for 100 ms of delay at 5 MB/s."""


class _Answers:
    """Collects the answers to requests that were sent ahead."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[int, Message]] = {}

    def _async_response(self, kind: int, message: Message, number: int) -> None:
        self.found[number] = (kind, message)


class Wire(paramiko.SFTPClient):
    """An SFTP conversation. Raises what paramiko raises: EOFError, OSError, SSHException, SFTPError."""

    if TYPE_CHECKING:  # not in the published types

        def _request(self, kind: int, *arguments: object) -> tuple[int, Message]: ...
        def _async_request(self, answers: object, kind: int, *arguments: object) -> int: ...
        def _read_response(self, waitfor: int | None = None) -> tuple[int, Message]: ...
        def _convert_status(self, message: Message) -> None: ...

    def entries(self, path: str, most: int) -> list[Entry]:
        """List a folder; stops after `most` + 1 entries, so that the caller can tell that there are more."""
        handle = self._handle(CMD_OPENDIR, path.encode())
        found: list[Entry] = []
        try:
            while len(found) <= most:
                try:
                    kind, message = self._request(CMD_READDIR, handle)
                except EOFError:
                    break
                if kind != CMD_NAME:
                    raise SFTPError("a listing was asked for and something else came")
                for _ in range(message.get_int()):
                    name = message.get_string().decode("utf-8", "surrogateescape")
                    long_name = message.get_string()
                    attributes = SFTPAttributes._from_msg(message)  # type: ignore[attr-defined]  # missing in the types
                    if name not in {".", ".."}:
                        found.append(self._entry(path, name, long_name, attributes))
                    if len(found) > most:
                        break
        finally:
            self._forget(handle)
        return found

    def entry(self, path: str) -> Entry:
        """Return what lies at a path, without following a link. FileNotFoundError where nothing does."""
        name = posixpath.basename(path)
        return _entry_of(name, b"", self.lstat(path))

    def exists(self, path: str) -> bool:
        """Tell whether anything lies at a path."""
        try:
            self.lstat(path)
        except FileNotFoundError:
            return False
        return True

    def open_to_read(self, path: str) -> bytes:
        """Return a handle for reading."""
        return self._handle(CMD_OPEN, path.encode(), SFTP_FLAG_READ, SFTPAttributes())

    def open_to_write(self, path: str, new: bool = True) -> bytes:
        """Return a handle for writing from the first byte; FileExistsError-like OSError where `new` and it is there."""
        flags = SFTP_FLAG_WRITE | SFTP_FLAG_CREATE | (SFTP_FLAG_EXCL if new else SFTP_FLAG_TRUNC)
        return self._handle(CMD_OPEN, path.encode(), flags, SFTPAttributes())

    def entry_of_handle(self, handle: bytes) -> Entry:
        """Return size, time and kind of an open file."""
        kind, message = self._request(CMD_FSTAT, handle)
        if kind != CMD_ATTRS:
            raise SFTPError("attributes were asked for and something else came")
        return _entry_of("", b"", SFTPAttributes._from_msg(message))  # type: ignore[attr-defined]  # missing in the types

    def close_handle(self, handle: bytes) -> None:
        """Give a handle back; a failed write may be told only now."""
        self._request(CMD_CLOSE, handle)

    def read_at(self, handle: bytes, offset: int, length: int) -> bytes:
        """Return up to `length` bytes; fewer only at the end of the file."""
        parts: list[bytes] = []
        while length > 0:
            try:
                kind, message = self._request(CMD_READ, handle, int64(offset), min(length, BLOCK))
            except EOFError:
                break
            block = _data(kind, message, length)
            parts.append(block)
            offset, length = offset + len(block), length - len(block)
        return b"".join(parts)

    def read_from(self, handle: bytes, offset: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `offset` to `end`, in order, asking ahead. Ends early where the file does."""
        answers = _Answers()
        under_way: deque[tuple[int, int, int]] = deque()
        while offset < end or under_way:
            while offset < end and len(under_way) < AHEAD:
                length = min(BLOCK, end - offset)
                under_way.append(
                    (self._async_request(answers, CMD_READ, handle, int64(offset), length), offset, length)
                )
                offset += length
            number, start, length = under_way.popleft()
            kind, message = self._answer(answers, number)
            if kind == CMD_STATUS:
                try:
                    self._convert_status(message)
                except EOFError:
                    return
            block = _data(kind, message, length)
            yield block
            if len(block) < length:  # a server may give less than asked for
                rest = self.read_at(handle, start + len(block), length - len(block))
                yield rest
                if len(block) + len(rest) < length:
                    return

    def write_from(self, handle: bytes, blocks: Iterable[bytes]) -> None:
        """Write blocks one after the other from the first byte on, several under way at once."""
        answers = _Answers()
        under_way: deque[int] = deque()
        offset = 0
        for block in blocks:
            for start in range(0, len(block), BLOCK):
                piece = block[start : start + BLOCK]
                under_way.append(self._async_request(answers, CMD_WRITE, handle, int64(offset), piece))
                offset += len(piece)
                if len(under_way) >= AHEAD:
                    self._written(answers, under_way.popleft())
        while under_way:
            self._written(answers, under_way.popleft())

    def move(self, old: str, new: str) -> None:
        """Rename a file to a name that is free. Never overwrites."""
        try:
            self.rename(old, new)
        except (FileNotFoundError, PermissionError):
            raise
        except OSError:
            # The plain rename needs hard links on some servers, and file systems exist without them.
            if self.exists(new):
                raise
            self.posix_rename(old, new)

    def _written(self, answers: _Answers, number: int) -> None:
        kind, message = self._answer(answers, number)
        if kind != CMD_STATUS:
            raise SFTPError("a status was asked for and something else came")
        self._convert_status(message)

    def _answer(self, answers: _Answers, number: int) -> tuple[int, Message]:
        while number not in answers.found:
            self._read_response()
        return answers.found.pop(number)

    def _handle(self, command: int, *arguments: object) -> bytes:
        kind, message = self._request(command, *arguments)
        if kind != CMD_HANDLE:
            raise SFTPError("a handle was asked for and something else came")
        return message.get_string()

    def _forget(self, handle: bytes) -> None:
        """Close a handle after reading, where an answer teaches nothing more."""
        self._async_request(type(None), CMD_CLOSE, handle)

    def _entry(self, path: str, name: str, long_name: bytes, attributes: SFTPAttributes) -> Entry:
        if attributes.st_size is None and "/" not in name:
            try:
                attributes = self.lstat(posixpath.join(path, name).encode("utf-8", "surrogateescape"))
            except OSError:
                attributes = SFTPAttributes()  # gone, or not to be looked at: taking it will tell
        return _entry_of(name, long_name, attributes)


def _data(kind: int, message: Message, length: int) -> bytes:
    if kind != CMD_DATA:
        raise SFTPError("data was asked for and something else came")
    block = message.get_string()
    if not 0 < len(block) <= length:
        raise SFTPError("the server sent more or less data than was asked for")
    return block


def _entry_of(name: str, long_name: bytes, attributes: SFTPAttributes) -> Entry:
    mode = attributes.st_mode
    if mode is not None and stat.S_IFMT(mode):
        kind = {stat.S_IFREG: EntryKind.FILE, stat.S_IFDIR: EntryKind.FOLDER, stat.S_IFLNK: EntryKind.LINK}.get(
            stat.S_IFMT(mode), EntryKind.OTHER
        )
    else:  # some gateways send no mode; the line meant for people starts as `ls -l` does
        kind = {b"d": EntryKind.FOLDER, b"l": EntryKind.LINK}.get(long_name[:1], EntryKind.FILE)
    return Entry(name, attributes.st_size or 0, utc(attributes.st_mtime or 0), kind)
