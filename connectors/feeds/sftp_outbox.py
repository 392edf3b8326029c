"""Delivery to a folder on an SFTP server."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path

from bridge.ports import BridgeError, FixConfiguration, OutcomeUnknown, RetryLater
from connectors.feeds.inbox import Partial, prepare_inbox
from connectors.feeds.names import judge_name, shown
from connectors.feeds.outbox import Delivered, blocks, local, not_there, plain, size_of, temporary, there_already
from connectors.feeds.readiness import EntryKind
from connectors.feeds.session import Bound, ConnectionBroken, Session
from connectors.feeds.settings import SftpOutboxSettings
from connectors.feeds.wire import Wire

_MOST = 20_000


class SftpOutbox:
    """Delivers into a folder on an SFTP server, within the same bounds and with the same pinned keys as a feed."""

    def __init__(self, settings: SftpOutboxSettings) -> None:
        self._server = settings.server
        self._path = settings.path
        self._session = Session(settings.server)

    def is_clear(self, names: Iterable[str]) -> bool:
        """Tell whether none of these files lies there."""
        wanted = [plain(name) for name in names]
        with self._work(f"looking into {self._path}") as wire:
            # The folder itself first: without it nothing lies there, and nothing could be delivered either.
            wire.stat(self._path)
            return not any(wire.exists(self._at(name)) for name in wanted)

    def put(self, name: str, local_path: Path, replace: bool = False) -> None:
        """Deliver a file under a temporary name, verify its size, rename it."""
        target, hidden = self._at(plain(name)), self._at(temporary(name))
        size = size_of(local_path)
        with self._work(f"delivering {shown(name)}") as wire:
            if not replace and wire.exists(target):
                raise there_already(name, f"{self._path} on {self._server.host}")
            try:
                handle = wire.open_to_write(hidden)
                wire.write_from(handle, blocks(local_path))
                wire.close_handle(handle)
                arrived = wire.entry(hidden).size
                if arrived != size:
                    raise RetryLater(
                        f"{shown(name)} arrived on {self._server.host} with {arrived:,} bytes instead of {size:,}. "
                        "Nothing was put in place; deliver it again."
                    )
            except Exception:
                with contextlib.suppress(Exception):  # the first fault is the one to tell
                    wire.remove(hidden)
                raise
        try:
            with self._work(f"renaming {shown(name)} into place") as wire:
                wire.posix_rename(hidden, target) if replace else wire.move(hidden, target)
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
        path = self._at(plain(name))
        prepare_inbox(folder)
        partial = Partial(folder, name)
        partial.discard()
        try:
            with self._work(f"fetching {shown(name)}") as wire:
                try:
                    handle = wire.open_to_read(path)
                except FileNotFoundError as error:
                    raise not_there(name, f"{self._path} on {self._server.host}") from error
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
        return partial.settle(local(name), partial.finish())

    def close(self) -> None:
        """Hang up."""
        self._session.close()

    @contextlib.contextmanager
    def _work(self, doing: str) -> Iterator[Wire]:
        with Bound(self._server.total_seconds) as bound, self._session.work(doing, bound) as wire:
            yield wire

    def _at(self, name: str) -> str:
        return posixpath.join(self._path, name)
