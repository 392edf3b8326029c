"""How a drop is set up: plain values, read from nowhere. Whoever reads the configuration fills them in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class ReadyWhen(StrEnum):
    """What tells that a file lies there whole."""

    STABLE = "stable"
    """Size and time of change stayed the same over an interval."""
    MARKER = "marker"
    """The sender put an empty file beside it, afterwards: ``people.csv.done``."""
    MANIFEST = "manifest"
    """The sender put a manifest beside it: ``people.csv.manifest.json`` or ``people.csv.manifest.csv``."""


class Order(StrEnum):
    """In which order files are taken. Names are compared character by character, so dates in them go year first."""

    NAME = "name"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class Readiness:
    """When a file counts as whole. A manifest that lies beside a file is read and obeyed in every mode."""

    when: ReadyWhen = ReadyWhen.STABLE
    interval: float = 60.0
    """Seconds over which size and time must stay the same, for `ReadyWhen.STABLE`."""
    wait: bool = True
    """Wait the interval out within one look. A daemon that looks again soon sets False: the next look then decides."""
    marker_suffix: str = ".done"
    manifest_suffixes: tuple[str, ...] = (".manifest.json", ".manifest.csv")


@dataclass(frozen=True, slots=True)
class PgpSettings:
    """How files are opened that come encrypted or signed with PGP."""

    home: Path
    """A folder of its own for the keys (GNUPGHOME), open to nobody else (mode 700)."""
    signers: tuple[str, ...] = ()
    """Full fingerprints (40 or 64 hexadecimal digits) of the keys that may sign. Empty: no signature is asked for."""
    encrypted: bool = True
    """True: a file that is signed but not encrypted is refused."""
    passphrase: str | None = field(default=None, repr=False)
    program: str = "gpg"
    seconds: float = 600.0
    """Longest time to decrypt one file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSettings:
    """What folder and SFTP feeds have in common."""

    pattern: str = "*.csv"
    """Which names are meant; ``*``, ``?`` and ``[...]``, upper and lower case told apart."""
    order: Order = Order.NAME
    readiness: Readiness = Readiness()
    archive: str = "archive"
    """Where files go after success, seen from the drop's folder; empty: they stay where they are."""
    max_bytes: int = 2 * 1024**3
    """A larger file is refused."""
    max_entries: int = 20_000
    """A folder that lists more than this is refused: the path is probably wrong."""
    pgp: PgpSettings | None = None
    place: str = "bridge.toml, [feeds.NAME]"
    """Where these settings stand, for messages that ask to change one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings(FeedSettings):
    """A feed that arrives in a folder of this machine or one mounted here."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpServer:
    """How to reach an SFTP server, which one it must be, and how long anything may take."""

    host: str
    user: str
    port: int = 22
    host_keys: tuple[str, ...] = ()
    """Accepted host keys: ``SHA256:...`` fingerprints, ``ssh-ed25519 AAAA...`` keys, or lines of a known_hosts file."""
    password: str | None = field(default=None, repr=False)
    key_file: Path | None = None
    """Private key to log in with; a file that nobody else may read."""
    key_passphrase: str | None = field(default=None, repr=False)
    connect_seconds: float = 20.0
    """Longest time for each of: connecting, agreeing on keys, logging in."""
    operation_seconds: float = 30.0
    """Longest silence of the server within one request."""
    total_seconds: float = 1800.0
    """Longest time for one look, one download or one upload, all attempts together."""
    attempts: int = 4
    """How often a broken transfer is resumed before giving up until the next run."""
    pause_seconds: float = 2.0
    """Pause before the second attempt; doubles each time."""
    place: str = "bridge.toml, [feeds.NAME]"
    """Where these settings stand, for messages that ask to change one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpSettings(FeedSettings):
    """A feed that arrives on an SFTP server."""

    server: SftpServer
    path: str = "."
    """Folder on the server; relative to where the account lands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOutboxSettings:
    """A folder of this machine, or one mounted here, into which files are delivered."""

    path: Path
    place: str = "bridge.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpOutboxSettings:
    """A folder on an SFTP server into which files are delivered."""

    server: SftpServer
    path: str = "."
