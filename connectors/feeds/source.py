"""What a feed's drop must offer, and what it speaks of: arrivals, manifests, received files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from bridge.ports import RetryLater
from connectors.feeds.names import judge_name, shown

Seen = Callable[[str], bool]
"""Tells from a SHA-256 (64 lower-case hexadecimal digits) whether content was received before."""


class NotYet(RetryLater):
    """This one file cannot be taken now (it changed, it is on its way); others may be. The next look may take it."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that lies in the drop and is whole, as far as the drop's rule can tell.

    `name` is the sender's, checked to be a plain file name; `local_name` is what it will be called here. Whoever
    reads a drop that it may not empty can tell by (`name`, `size`, `modified`) what it has fetched already.
    """

    name: str
    size: int
    """Bytes, as delivered."""
    modified: datetime
    """When it was last changed, by the clock of the machine that holds it; UTC."""
    order: int
    """0 for the file to take first."""
    local_name: str = ""
    note: str = ""
    """Why `local_name` differs from `name`, as a sentence; empty where it does not."""
    manifest_name: str | None = None
    companions: tuple[str, ...] = ()
    """Files that belong to it (marker, manifest, note) and go to the archive with it."""

    def __post_init__(self) -> None:
        """Refuse names that could be paths: whoever holds an arrival may build a path with it.

        Raises ValueError; `judge_name` says beforehand whether a name will do, and why not.
        """
        manifest = (self.manifest_name,) if self.manifest_name else ()
        for name in (self.name, self.local_name or self.name, *manifest, *self.companions):
            if judge_name(name).refused:
                raise ValueError(f"not a plain file name: {shown(name)}")


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file that lies in the drop and is not taken now, with the reason as a sentence.

    `name` is fit to be shown: control characters and the like are written as escapes.
    """

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What one look into the drop found. Files that do not fit the pattern are not mentioned unless their names are
    hostile."""

    ready: tuple[Arrival, ...] = ()
    waiting: tuple[PassedOver, ...] = ()
    """Not whole yet, or not said to be."""
    refused: tuple[PassedOver, ...] = ()
    """Never to be taken as they are: hostile names, symbolic links, files above the size limit."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the sender says about a file, in a file of its own. None where it does not say."""

    name: str
    """Name of the manifest file."""
    rows: int | None = None
    """Data records, without the heading. Whoever reads the rows compares it."""
    sha256: str | None = None
    """64 lower-case hexadecimal digits. Already compared when a `ReceivedFile` carries the manifest. The sender gives
    that of the file as delivered; where it came encrypted, the received manifest gives that of the content instead."""
    size: int | None = None
    """Bytes. Already compared as well."""


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file that has arrived here whole. `path` lies directly in the inbox; the caller owns it from now on."""

    path: Path
    name: str
    """The sender's name, to be used in messages and rejections."""
    sha256: str
    """Of the content at `path` (after decryption, where there was one)."""
    size: int
    """Bytes at `path`."""
    modified: datetime
    manifest: Manifest | None
    arrival: Arrival
    """What it was taken from; `archive` and `leave` need it."""
    repeated: bool = False
    """True where `seen` said that this content was received before."""
    signed_by: str | None = None
    """Fingerprint of the primary key that signed it; None where no signature was asked for."""
    notes: tuple[str, ...] = ()
    """Sentences worth a line in the log: renamed, resumed, started over."""


def never_seen(sha256: str) -> bool:  # noqa: ARG001 - has the form of `Seen`
    """Say of any content that it is new."""
    return False


@runtime_checkable
class FeedSource(Protocol):
    """A drop from which files are taken. Methods raise the errors of `bridge.ports` and nothing else foreseeable:

    `NotYet` (this file is on its way or changed while it was read), `RetryLater` (the drop is busy or away),
    `SkipItem` (this file is refused; say so with `leave` and go on), `StopRun` (our disk is full),
    `FixConfiguration` (host key, login, permission, path).
    """

    def survey(self) -> Survey:
        """Look once (twice, an interval apart, where files must be seen to be stable) and sort what lies there."""

    def arrivals(self) -> list[Arrival]:
        """Return what is ready, in the order in which to take it. The same as ``list(survey().ready)``."""

    def take(self, arrival: Arrival, inbox: Path, seen: Seen = never_seen) -> ReceivedFile:
        """Bring a file into the inbox, whole and checked against its manifest and signature, or raise.

        The inbox is made where it is missing, open to this account only. Nothing changes in the drop. A broken
        download leaves a hidden partial file in the inbox, which the next `take` resumes.
        """

    def archive(self, received: ReceivedFile) -> str:
        """After success: move the file and its companions to the drop's archive. Return where it is now, for a person.

        A file that was replaced meanwhile stays: it is new.
        """

    def leave(self, what: ReceivedFile | Arrival, why: str) -> str | None:
        """After failure: leave the file where it is and put a note ``NAME.why.txt`` beside it.

        Return where the note is, or None where the drop may not be written to; the caller then keeps the reason.
        """

    def expire(self, before: datetime) -> tuple[str, ...]:
        """Remove files from the drop's archive that were last changed before a moment, with their companions; return
        their names. What does not look like a file of this feed stays, and so does everything outside the archive.
        """

    def close(self) -> None:
        """Give back connections."""
