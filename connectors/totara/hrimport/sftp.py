"""A site's files directory behind SFTP."""

from __future__ import annotations

import posixpath
from pathlib import Path

from connectors.feeds.session import Session
from connectors.feeds.settings import SftpOutboxSettings
from connectors.handover.sftp import SftpPlace


class SftpDrop:
    """The files directory of a site; ``csv/ready`` and ``csv/store`` lie in the path of the settings."""

    def __init__(self, settings: SftpOutboxSettings) -> None:
        session = Session(settings.server)
        self._ready = SftpPlace(settings.server, posixpath.join(settings.path, "csv", "ready"), session)
        self._store = SftpPlace(settings.server, posixpath.join(settings.path, "csv", "store"), session)

    def ready(self) -> dict[str, int]:
        """The files in ``ready/`` with their sizes, temporary ones included."""
        return {name: one.size for name, one in self._ready.files().items()}

    def stored(self) -> dict[str, int]:
        """The files in ``store/``; the site makes the folder with its first import."""
        return {name: one.size for name, one in self._store.files().items()} if self._store.exists() else {}

    def put(self, source: Path, temporary: str) -> None:
        """Copy a file into ``ready/`` under a temporary name and compare the size there."""
        self._ready.put(source, temporary)

    def rename(self, temporary: str, name: str) -> None:
        """Give a file in ``ready/`` another name; FileNotFoundError where the site has taken it."""
        self._ready.rename(temporary, name)

    def remove(self, name: str) -> None:
        """Take a file of ours out of ``ready/``; one that is gone already is no fault."""
        self._ready.remove(name)

    def close(self) -> None:
        """Hang up."""
        self._ready.close()
