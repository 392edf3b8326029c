"""A folder behind SFTP where files change hands, with the pinned keys and bounds every other delivery has."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator
from pathlib import Path

from bridge.ports import FixConfiguration, RetryLater
from connectors.feeds.outbox import blocks, size_of
from connectors.feeds.readiness import EntryKind
from connectors.feeds.session import Bound, Session
from connectors.feeds.settings import SftpServer
from connectors.feeds.wire import Wire
from connectors.handover import NOTE_BYTES, Lying

_MOST = 20_000


class SftpPlace:
    """One folder on an SFTP server; several may share a session."""

    def __init__(self, server: SftpServer, path: str, session: Session | None = None) -> None:
        self._server = server
        self._path = path
        self._session = session or Session(server)

    def exists(self) -> bool:
        """Whether the folder is there at all."""
        with self._work(f"looking for {self._path}") as wire:
            return wire.exists(self._path)

    def files(self) -> dict[str, Lying]:
        """The files that lie there by name."""
        with self._work(f"listing {self._path}") as wire:
            entries = wire.entries(self._path, _MOST)
        if len(entries) > _MOST:
            raise FixConfiguration(
                f"The folder {self._path} on {self._server.host} holds more than {_MOST:,} files. Check the path in "
                f"{self._server.place}, or have it tidied there."
            )
        return {one.name: Lying(one.size, one.modified.timestamp()) for one in entries if one.kind is EntryKind.FILE}

    def put(self, source: Path, name: str) -> None:
        """Copy a file there and compare the size it arrived with."""
        target, size = posixpath.join(self._path, name), size_of(source)
        with self._work(f"delivering {source.name}") as wire:
            handle = wire.open_to_write(target, new=False)
            wire.write_from(handle, blocks(source))
            wire.close_handle(handle)
            arrived = wire.entry(target).size
        if arrived != size:
            raise RetryLater(
                f"{source.name} arrived on {self._server.host} with {arrived:,} bytes instead of {size:,}. Nothing was "
                "put in place."
            )

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; FileNotFoundError where it is gone."""
        source, target = posixpath.join(self._path, old), posixpath.join(self._path, new)
        with self._work(f"renaming {old}") as wire:
            there = wire.exists(source)
            if there:
                wire.move(source, target)
        if not there:
            raise FileNotFoundError(source)

    def remove(self, name: str) -> None:
        """Take a file away."""
        path = posixpath.join(self._path, name)
        with self._work(f"removing {name}") as wire:
            if wire.exists(path):
                wire.remove(path)

    def note(self, name: str) -> str:
        """The beginning of a small text that lies there."""
        path = posixpath.join(self._path, name)
        with self._work(f"reading {name}") as wire:
            if not wire.exists(path):
                return ""
            handle = wire.open_to_read(path)
            size = min(wire.entry_of_handle(handle).size, NOTE_BYTES)
            text = b"".join(wire.read_from(handle, 0, size))
            wire.close_handle(handle)
        return text.decode("utf-8", "replace")

    def close(self) -> None:
        """Hang up."""
        self._session.close()

    @contextlib.contextmanager
    def _work(self, doing: str) -> Iterator[Wire]:
        with Bound(self._server.total_seconds) as bound, self._session.work(doing, bound) as wire:
            yield wire
