"""What taking files from a drop has in common, wherever the drop is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from bridge.ports import SkipItem
from bridge.sync.clock import Clock
from connectors.feeds.inbox import Partial, prepare_inbox
from connectors.feeds.manifests import LARGEST, read_manifest
from connectors.feeds.names import judge_name, shown, with_tag
from connectors.feeds.pgp import PgpOpener
from connectors.feeds.readiness import WHY_SUFFIX, Entry, Watch, older, sort_out, utc
from connectors.feeds.settings import FeedSettings
from connectors.feeds.source import Arrival, Manifest, NotYet, ReceivedFile, Seen, Survey, never_seen


class Drop(ABC):
    """A drop: survey it, take files from it. Where it is, and how bytes come from there, its heirs know."""

    def __init__(self, settings: FeedSettings, clock: Clock) -> None:
        self._common = settings
        self._clock = clock
        pgp = settings.pgp
        self._opener = None if pgp is None else PgpOpener(pgp, settings.max_bytes, settings.place)
        self._watch = Watch()

    def survey(self) -> Survey:
        """Look once (twice, an interval apart, where files must be seen to be stable) and sort what lies there."""
        survey, wait = sort_out(self._entries(), self._common, self._watch, self._clock.now())
        if wait > 0 and self._common.readiness.wait:
            self._clock.sleep(wait)
            survey, _ = sort_out(self._entries(), self._common, self._watch, self._clock.now())
        return survey

    def arrivals(self) -> list[Arrival]:
        """Return what is ready, in the order in which to take it."""
        return list(self.survey().ready)

    def take(self, arrival: Arrival, inbox: Path, seen: Seen = never_seen) -> ReceivedFile:
        """Bring a file into the inbox, whole and checked against its manifest and signature, or raise."""
        prepare_inbox(inbox)
        manifest = self._manifest(arrival)
        notes = [arrival.note] if arrival.note else []
        partial = Partial(inbox, arrival.name)
        try:
            sha256 = self._receive(arrival, partial, notes.append)
        finally:
            partial.close()
        if manifest is not None and manifest.sha256 not in {None, sha256}:
            partial.discard()
            raise SkipItem(
                f"{shown(arrival.name)} is not what its manifest says: its SHA-256 is {sha256}, the manifest gives "
                f"{manifest.sha256}. It was damaged or changed on its way; ask the sender to deliver both anew."
            )
        path, signed_by = partial.settle(judge_name(arrival.name).local, sha256), None
        if self._opener is not None:
            opened = self._opener.open(path, arrival.name, path.name)
            path, sha256, signed_by = opened.path, opened.sha256, opened.signed_by
            # What it said of the encrypted file holds; whoever reads on compares with the content that was in it.
            manifest = None if manifest is None else _of_content(manifest, sha256, path.stat().st_size)
        return ReceivedFile(
            path=path,
            name=arrival.name,
            sha256=sha256,
            size=path.stat().st_size,
            modified=arrival.modified,
            manifest=manifest,
            arrival=arrival,
            repeated=seen(sha256),
            signed_by=signed_by,
            notes=tuple(notes),
        )

    def close(self) -> None:
        """Give back connections."""
        if self._opener is not None:
            self._opener.close()

    @abstractmethod
    def _entries(self) -> list[Entry]:
        """List the drop's folder."""

    @abstractmethod
    def _receive(self, arrival: Arrival, partial: Partial, note: Callable[[str], None]) -> str:
        """Bring the bytes of a file into `partial` and return their SHA-256. Its size is that of `arrival` then."""

    @abstractmethod
    def _read_companion(self, name: str, largest: int) -> tuple[bytes, datetime]:
        """Return the content and the time of change of a small file; SkipItem where it is larger."""

    def _manifest(self, arrival: Arrival) -> Manifest | None:
        if arrival.manifest_name is None:
            return None
        content, modified = self._read_companion(arrival.manifest_name, LARGEST)
        manifest = read_manifest(arrival.manifest_name, content, arrival.name)
        if manifest.size not in {None, arrival.size}:
            raise NotYet(
                f"{shown(arrival.name)} has {arrival.size:,} bytes and its manifest says {manifest.size:,}: it may "
                "still be on its way. The next run looks again; if it stays so, ask the sender to deliver it anew."
            )
        if manifest.sha256 is None and manifest.size is None and older(modified, arrival.modified):
            raise NotYet(
                f"The manifest of {shown(arrival.name)} is older than the file and carries no checksum, so it may "
                "belong to an earlier file. It is tried again at the next run; the sender should put a sha256 into "
                "the manifest, or the manifest there last."
            )
        return manifest

    def _why_note(self, what: ReceivedFile | Arrival, why: str) -> tuple[str, str]:
        """Return name and text of the note that tells why a file was left."""
        when = utc(self._clock.now()).strftime("%Y-%m-%d %H:%M:%S UTC")
        text = (
            f"{when}\n{shown(what.name)} was not taken over.\n\n{why}\n\n"
            "The file was left here as it is. Once it is put right, or replaced by a corrected one, "
            "the next run takes it and this note goes.\n"
        )
        return what.name + WHY_SUFFIX, text

    def _archive_name(self, arrival: Arrival, taken: Callable[[str], bool]) -> str:
        """Return a name that is free in the archive, for the file and its companions: its own, else with the time."""
        suffixes = [one.removeprefix(arrival.name) for one in (arrival.name, *arrival.companions)]
        stamp = utc(self._clock.now()).strftime("%Y%m%dT%H%M%SZ")
        candidate, number = arrival.name, 1
        while any(taken(candidate + suffix) for suffix in suffixes):
            candidate = with_tag(arrival.name, stamp if number == 1 else f"{stamp}-{number}")
            number += 1
        return candidate


def _of_content(manifest: Manifest, sha256: str, size: int) -> Manifest:
    """Return what a manifest said of an encrypted file, and was found true, said of its content."""
    return replace(
        manifest,
        sha256=None if manifest.sha256 is None else sha256,
        size=None if manifest.size is None else size,
    )


def changed_meanwhile(name: str) -> NotYet:
    """Return the error for a file that changed between being looked at and being read."""
    return NotYet(
        f"{shown(name)} changed while it was being fetched, so it is probably still being written. "
        "Nothing was taken over; the next run looks again."
    )
