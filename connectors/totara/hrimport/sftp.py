"""A site's files directory behind SFTP, with the pinned keys and bounds every other delivery has."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator
from pathlib import Path

from bridge.ports import FixConfiguration, RetryLater
from connectors.feeds.outbox import blocks, size_of
from connectors.feeds.readiness import EntryKind
from connectors.feeds.session import Bound, Session
from connectors.feeds.settings import SftpOutboxSettings
from connectors.feeds.wire import Wire

_MOST = 20_000


class SftpDrop:
    """The files directory of a site; ``csv/ready`` and ``csv/store`` lie in the path of the settings."""

    def __init__(self, settings: SftpOutboxSettings) -> None:
        self._server = settings.server
        self._ready = posixpath.join(settings.path, "csv", "ready")
        self._store = posixpath.join(settings.path, "csv", "store")
        self._session = Session(settings.server)

    def ready(self) -> dict[str, int]:
        """The files in ``ready/`` with their sizes, temporary ones included."""
        with self._work(f"listing {self._ready}") as wire:
            return self._files(wire, self._ready)

    def stored(self) -> dict[str, int]:
        """The files in ``store/``; the site makes the folder with its first import."""
        with self._work(f"listing {self._store}") as wire:
            return self._files(wire, self._store) if wire.exists(self._store) else {}

    def _files(self, wire: Wire, folder: str) -> dict[str, int]:
        entries = wire.entries(folder, _MOST)
        if len(entries) > _MOST:
            raise FixConfiguration(
                f"The folder {folder} on {self._server.host} holds more than {_MOST:,} files. Have it tidied: the site "
                "never removes what it has imported."
            )
        return {one.name: one.size for one in entries if one.kind is EntryKind.FILE}

    def put(self, source: Path, temporary: str) -> None:
        """Copy a file into ``ready/`` under a temporary name and compare the size there."""
        target, size = posixpath.join(self._ready, temporary), size_of(source)
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

    def rename(self, temporary: str, name: str) -> None:
        """Give a file in ``ready/`` another name; FileNotFoundError where the site has taken it."""
        old, new = posixpath.join(self._ready, temporary), posixpath.join(self._ready, name)
        with self._work(f"renaming {temporary}") as wire:
            there = wire.exists(old)
            if there:
                wire.move(old, new)
        if not there:
            raise FileNotFoundError(old)

    def remove(self, name: str) -> None:
        """Take a file of ours out of ``ready/``; one that is gone already is no fault."""
        path = posixpath.join(self._ready, name)
        with self._work(f"removing {name}") as wire:
            if wire.exists(path):
                wire.remove(path)

    def close(self) -> None:
        """Hang up."""
        self._session.close()

    @contextlib.contextmanager
    def _work(self, doing: str) -> Iterator[Wire]:
        with Bound(self._server.total_seconds) as bound, self._session.work(doing, bound) as wire:
            yield wire
