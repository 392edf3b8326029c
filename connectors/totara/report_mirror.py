"""Scheduled reports that a site exports to a folder behind SFTP: copied here, so that they are read as local files."""

from __future__ import annotations

import contextlib
import os
import posixpath
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bridge.ports import FixConfiguration
from connectors.feeds.names import judge_name
from connectors.feeds.readiness import Entry, EntryKind
from connectors.feeds.session import Bound, Session
from connectors.feeds.settings import SftpOutboxSettings
from connectors.feeds.wire import Wire

_MOST = 20_000
_FRESH = 20.0


class ReportMirror:
    """A folder of reports on an SFTP server and its copy here, one level of owners' folders included."""

    def __init__(
        self, settings: SftpOutboxSettings, folder: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._server = settings.server
        self._path = settings.path
        self._folder = folder
        self._session = Session(settings.server)
        self._clock = clock
        self._looked: float | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def refresh(self) -> None:
        """Fetch what is new or changed, and drop here what is gone there; within seconds nothing is asked again."""
        if self._looked is not None and self._clock() - self._looked < _FRESH:
            return
        with self._work(f"looking into {self._path}") as wire:
            here = self._mirror(wire, self._path, self._folder, deep=True)
        for path in self._folder.rglob("*.csv"):
            if path not in here:
                path.unlink()
        self._looked = self._clock()

    def _mirror(self, wire: Wire, path: str, folder: Path, *, deep: bool) -> set[Path]:
        entries = wire.entries(path, _MOST)
        if len(entries) > _MOST:
            raise FixConfiguration(
                f"The folder {path} on {self._server.host} holds more than {_MOST:,} files. Check the path of the "
                "reports, or have old reports removed there."
            )
        kept: set[Path] = set()
        for one in entries:
            # A name from the other side becomes a path here only if it is a plain one.
            if judge_name(one.name).refused or one.name.startswith("."):
                continue
            place = posixpath.join(path, one.name)
            if one.kind is EntryKind.FOLDER and deep:
                kept |= self._mirror(wire, place, folder / one.name, deep=False)
            elif one.kind is EntryKind.FILE and one.name.endswith(".csv"):
                target = folder / one.name
                self._fetch(wire, place, one, target)
                kept.add(target)
        return kept

    @staticmethod
    def _fetch(wire: Wire, place: str, entry: Entry, target: Path) -> None:
        """Copy a file unless it is here with the same size and time; its time is kept, as it tells how fresh it is."""
        if target.is_file():
            held = target.stat()
            if held.st_size == entry.size and int(held.st_mtime) == int(entry.modified.timestamp()):
                return
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.part")
        handle = wire.open_to_read(place)
        size = wire.entry_of_handle(handle).size
        with partial.open("wb") as stream:
            for block in wire.read_from(handle, 0, size):
                stream.write(block)
        wire.close_handle(handle)
        moment = entry.modified.timestamp()
        os.utime(partial, (moment, moment))
        partial.replace(target)

    def close(self) -> None:
        """Hang up."""
        self._session.close()

    @contextlib.contextmanager
    def _work(self, doing: str) -> Iterator[Wire]:
        with Bound(self._server.total_seconds) as bound, self._session.work(doing, bound) as wire:
            yield wire
