"""A drop on an SFTP server."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from datetime import datetime

from bridge.ports import BridgeError, FixConfiguration, SkipItem
from bridge.sync.clock import Clock
from connectors.feeds.drop import Drop, changed_meanwhile
from connectors.feeds.inbox import Partial
from connectors.feeds.names import shown
from connectors.feeds.readiness import Entry, EntryKind, expired
from connectors.feeds.session import Bound, ConnectionBroken, Session
from connectors.feeds.settings import SftpSettings
from connectors.feeds.source import Arrival, NotYet, ReceivedFile
from connectors.feeds.wire import Wire

_OVERLAP = 32 * 1024
MOST_ARCHIVED = 100_000
"""Files of an archive looked at in one go; the next look sees the rest."""


class SftpFeed(Drop):
    """Takes files from a folder on an SFTP server; broken downloads are resumed, within one take and in the next."""

    def __init__(self, settings: SftpSettings, clock: Clock | None = None) -> None:
        super().__init__(settings, clock or Clock())
        self._settings = settings
        self._server = settings.server
        self._session = Session(settings.server)

    def archive(self, received: ReceivedFile) -> str:
        """Move a file and its companions to the archive on the server and return where it is now."""
        arrival = received.arrival
        source = self._at(arrival.name)
        where = f"{self._server.host}:{source}"
        if not self._settings.archive:
            return where
        folder = self._at(self._settings.archive)
        doing = f"moving {shown(arrival.name)} to {folder}"
        with Bound(self._server.total_seconds) as bound, self._session.work(doing, bound) as wire:
            try:
                now = wire.entry(source)
            except FileNotFoundError:
                return f"{where} (no longer there: moved or taken away meanwhile)"
            if (now.size, now.modified) != (arrival.size, arrival.modified):
                return f"{where} (replaced by a newer file meanwhile, which stays to be taken)"
            if not wire.exists(folder):
                wire.mkdir(folder, 0o700)
            name = self._archive_name(arrival, lambda one: wire.exists(posixpath.join(folder, one)))
            # The marker goes first: one that stayed behind would vouch for the next file of the same name.
            for companion in (*arrival.companions, arrival.name):
                if companion == arrival.name or wire.exists(self._at(companion)):
                    moved = posixpath.join(folder, name + companion.removeprefix(arrival.name))
                    wire.move(self._at(companion), moved)
        return f"{self._server.host}:{posixpath.join(folder, name)}"

    def leave(self, what: ReceivedFile | Arrival, why: str) -> str | None:
        """Put a note beside a file that says why it was left; None where that cannot be done."""
        name, text = self._why_note(what, why)
        path = self._at(name)
        try:
            with Bound(self._server.total_seconds) as bound, self._session.work(f"writing {path}", bound) as wire:
                handle = wire.open_to_write(path, new=False)
                wire.write_from(handle, [text.encode()])
                wire.close_handle(handle)
        except BridgeError:
            return None  # the caller keeps the reason, as the contract of `leave` says; the fault itself is met again
        return f"{self._server.host}:{path}"

    def expire(self, before: datetime) -> tuple[str, ...]:
        """Remove files from the archive on the server that were last changed before a moment; return their names."""
        if not self._settings.archive:
            return ()
        folder = self._at(self._settings.archive)
        with (
            Bound(self._server.total_seconds) as bound,
            self._session.work(f"tidying {folder}", bound) as wire,
        ):
            if not wire.exists(folder):
                return ()
            old = expired(wire.entries(folder, MOST_ARCHIVED), self._settings, before)
            for one in old:
                wire.remove(posixpath.join(folder, one.name))
        return tuple(shown(one.name) for one in old)

    def close(self) -> None:
        """Hang up."""
        self._session.close()
        super().close()

    def _at(self, name: str) -> str:
        return posixpath.join(self._settings.path, name)

    def _entries(self) -> list[Entry]:
        path, most = self._settings.path, self._settings.max_entries
        doing = f"listing {path}"
        with Bound(self._server.total_seconds) as bound, self._session.work(doing, bound) as wire:
            entries = wire.entries(path, most)
        if len(entries) > most:
            raise FixConfiguration(
                f"The folder {path} on {self._server.host} holds more than {most:,} files: it is probably not the "
                f"drop. Check path in {self._settings.place}, or have it tidied."
            )
        return entries

    def _receive(self, arrival: Arrival, partial: Partial, note: Callable[[str], None]) -> str:
        pause, attempt = self._server.pause_seconds, 1
        with Bound(self._server.total_seconds) as bound:
            while True:
                try:
                    with self._session.work(f"fetching {shown(arrival.name)}", bound) as wire:
                        return self._download(wire, arrival, partial, note)
                except ConnectionBroken:
                    partial.close()
                    if attempt >= self._server.attempts or bound.left <= pause:
                        raise
                note(f"The connection broke after {partial.size:,} of {arrival.size:,} bytes.")
                self._clock.sleep(pause)
                pause, attempt = pause * 2, attempt + 1

    def _download(self, wire: Wire, arrival: Arrival, partial: Partial, note: Callable[[str], None]) -> str:
        path = self._at(arrival.name)
        try:
            if wire.entry(path).kind is not EntryKind.FILE:
                raise SkipItem(f"{shown(arrival.name)} is not a file any more. Ask the sender who changed it.")
            handle = wire.open_to_read(path)
        except FileNotFoundError as error:
            partial.discard()
            raise NotYet(f"{shown(arrival.name)} is no longer there. The next run looks again.") from error
        _same(wire.entry_of_handle(handle), arrival, partial)
        identity: dict[str, str | int] = {
            "server": f"{self._server.user}@{self._server.host}:{self._server.port}",
            "path": path,
            "size": arrival.size,
            "modified": arrival.modified.isoformat(),
        }
        offset = partial.begin(identity, arrival.size)
        if offset:
            tail = partial.tail(_OVERLAP)
            if wire.read_at(handle, offset - len(tail), len(tail)) == tail:
                note(f"Resumed after {offset:,} of {arrival.size:,} bytes.")
            else:
                # Same size and time, other content: replaced within the second that the server's clock can tell.
                partial.restart()
                note("Started over: the file on the server is another than the one begun.")
        for block in wire.read_from(handle, partial.size, arrival.size):
            partial.write(block)
        if partial.size != arrival.size:
            partial.discard()
            raise changed_meanwhile(arrival.name)
        _same(wire.entry(path), arrival, partial)
        wire.close_handle(handle)
        return partial.finish()

    def _read_companion(self, name: str, largest: int) -> tuple[bytes, datetime]:
        path = self._at(name)
        with (
            Bound(self._server.total_seconds) as bound,
            self._session.work(f"fetching {shown(name)}", bound) as wire,
        ):
            handle = wire.open_to_read(path)
            modified = wire.entry_of_handle(handle).modified
            content = wire.read_at(handle, 0, largest + 1)
            wire.close_handle(handle)
        if len(content) > largest:
            raise SkipItem(f"{shown(name)} is larger than {largest:,} bytes and so no manifest. Ask the sender.")
        return content, modified


def _same(now: Entry, arrival: Arrival, partial: Partial) -> None:
    if (now.size, now.modified) != (arrival.size, arrival.modified):
        partial.discard()
        raise changed_meanwhile(arrival.name)
