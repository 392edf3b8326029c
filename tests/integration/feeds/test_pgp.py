"""Encrypted and signed files, with keys made for the occasion by a real GnuPG."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.ports import FixConfiguration, RetryLater, SkipItem
from connectors.feeds import FolderFeed, FolderSettings, PgpOpener, PgpSettings, ReceivedFile
from connectors.feeds.pgp import end_agent
from tests.integration.feeds.support import AT_ONCE, ROWS

PASSPHRASE = "wine and roses"


@dataclass
class Keys:
    """One person's private key folder."""

    home: Path

    def gpg(self, *arguments: str, content: bytes = b"") -> bytes:
        """Run GnuPG and return what it prints."""
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--no-tty", "--trust-model", "always"]
        loopback = ["--pinentry-mode", "loopback", "--passphrase", PASSPHRASE if self.home.name == "us" else ""]
        run = subprocess.run([*command, *loopback, *arguments], input=content, capture_output=True, timeout=60)
        assert run.returncode == 0, run.stderr.decode()
        return run.stdout

    def fingerprint(self) -> str:
        """Return the fingerprint of the one secret key."""
        listing = self.gpg("--list-secret-keys", "--with-colons").decode()
        return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))

    def knows(self, other: Keys) -> None:
        """Import the public key of another."""
        self.gpg("--import", content=other.gpg("--export"))


@pytest.fixture(scope="module")
def people() -> Iterator[dict[str, Keys]]:
    """We, the sender, and a stranger; the sender and we know each other, and the stranger knows us."""
    assert shutil.which("gpg"), "GnuPG is needed: sudo apt-get install gnupg (`make test` does so as root)"
    base = Path(tempfile.mkdtemp(prefix="pgp"))  # short: the agent's socket lies inside, and its path has a limit
    found = {}
    for name in ("us", "sender", "stranger"):
        (base / name).mkdir(mode=0o700)
        found[name] = keys = Keys(base / name)
        keys.gpg(
            "--quick-gen-key", f"{name}@example.com", *(["future-default"] if name == "us" else ["ed25519", "sign"])
        )
    us, sender, stranger = found.values()
    us.knows(sender)
    sender.knows(us)
    stranger.knows(us)
    yield found
    for keys in found.values():
        end_agent(PgpSettings(home=keys.home))
    shutil.rmtree(base)


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """An empty drop."""
    (tmp_path / "drop").mkdir()
    return tmp_path / "drop"


def take(drop: Path, content: bytes, settings: PgpSettings, max_bytes: int = 10**6) -> ReceivedFile:
    """Deliver a file and take it."""
    (drop / "people.csv.pgp").write_bytes(content)
    feed = FolderFeed(
        FolderSettings(path=drop, pattern="*.pgp", readiness=AT_ONCE, pgp=settings, max_bytes=max_bytes, place="HERE")
    )
    try:
        return feed.take(feed.arrivals()[0], drop.parent / "inbox")
    finally:
        feed.close()


def inbox(drop: Path) -> list[str]:
    """Return what lies in the inbox, hidden files too."""
    return sorted(one.name for one in (drop.parent / "inbox").iterdir())


def sealed(by: Keys, content: bytes = ROWS, sign: bool = True, to: str = "us@example.com") -> bytes:
    """Encrypt, and sign unless told not to."""
    return by.gpg("--encrypt", "--recipient", to, *(["--sign"] if sign else []), content=content)


def ours(people: dict[str, Keys], **changes: object) -> PgpSettings:
    """Return our settings, expecting the sender's signature."""
    given: dict[str, object] = {
        "home": people["us"].home,
        "signers": (people["sender"].fingerprint(),),
        "passphrase": PASSPHRASE,
    }
    return PgpSettings(**(given | changes))  # type: ignore[arg-type]  # values as the fields have them


def test_an_encrypted_and_signed_file_arrives_readable(people: dict[str, Keys], drop: Path) -> None:
    """Content, hash of the content, signer; nothing encrypted and nothing temporary stays in the inbox."""
    received = take(drop, sealed(people["sender"]), ours(people))
    assert received.path.name == "people.csv"
    assert received.path.read_bytes() == ROWS
    assert received.sha256 == hashlib.sha256(ROWS).hexdigest()
    assert received.size == len(ROWS)
    assert received.name == "people.csv.pgp"
    assert received.signed_by == people["sender"].fingerprint()
    assert received.path.stat().st_mode & 0o777 == 0o600
    assert inbox(drop) == ["people.csv"]


def test_a_manifest_speaks_of_the_encrypted_file(people: dict[str, Keys], drop: Path) -> None:
    """Its checksum is compared before decrypting; whoever reads on finds rows and checksum of the content."""
    content = sealed(people["sender"])
    manifest = drop / "people.csv.pgp.manifest.json"
    manifest.write_text(json.dumps({"rows": 1, "sha256": hashlib.sha256(content).hexdigest()}))
    received = take(drop, content, ours(people))
    assert received.manifest is not None
    assert (received.manifest.rows, received.manifest.sha256) == (1, received.sha256)
    manifest.write_text(json.dumps({"rows": 1, "sha256": hashlib.sha256(ROWS).hexdigest()}))
    with pytest.raises(SkipItem, match="not what its manifest says"):
        take(drop, content, ours(people))


def test_the_hash_is_of_the_content_so_that_a_second_encryption_is_recognised(
    people: dict[str, Keys], drop: Path
) -> None:
    """Two encryptions of the same rows differ in every byte and carry the same content."""
    settings = ours(people, signers=())
    first = take(drop, sealed(people["sender"]), settings)
    again = take(drop, sealed(people["sender"]), settings)
    assert first.sha256 == again.sha256
    assert again.signed_by is None


def test_unsigned_files_and_other_signers_are_refused(people: dict[str, Keys], drop: Path) -> None:
    """Unsigned, signed by a stranger unknown to us, signed by somebody known who is not the expected one."""
    expected = people["sender"].fingerprint()
    with pytest.raises(SkipItem, match=f"is not signed.*{expected}"):
        take(drop, sealed(people["sender"], sign=False), ours(people))
    with pytest.raises(SkipItem, match=f"public key is missing.*{expected}"):
        take(drop, sealed(people["stranger"]), ours(people))
    with pytest.raises(SkipItem, match=f"signed by {expected}, which is not the expected signer"):
        take(drop, sealed(people["sender"]), ours(people, signers=(people["stranger"].fingerprint(),)))
    assert inbox(drop) == []


def test_damaged_and_plain_files_are_refused(people: dict[str, Keys], drop: Path) -> None:
    """A flipped byte, a cut end, no PGP at all, signed but not encrypted: nothing of it stays."""
    whole = sealed(people["sender"], ROWS * 500)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    signed = people["sender"].gpg("--sign", content=ROWS)
    for content in (bytes(flipped), whole[:-40], whole[:40], ROWS, b"", signed):
        with pytest.raises(SkipItem, match="Ask the sender"):
            take(drop, content, ours(people, signers=()))
        assert inbox(drop) == []
    received = take(drop, signed, ours(people, encrypted=False))
    assert received.path.read_bytes() == ROWS
    assert received.signed_by == people["sender"].fingerprint()
    with pytest.raises(SkipItem):
        take(drop, ROWS, ours(people, encrypted=False))


def test_a_file_that_unpacks_beyond_the_limit_is_refused(people: dict[str, Keys], drop: Path) -> None:
    """Ten megabytes of zeros travel as a few kilobytes."""
    bomb = sealed(people["sender"], bytes(10**7))
    assert len(bomb) < 50_000
    with pytest.raises(SkipItem, match="unpacks into more than 1,000,000 bytes"):
        take(drop, bomb, ours(people))
    assert inbox(drop) == []


def test_faults_of_our_own_keys_say_what_to_set(people: dict[str, Keys], drop: Path, tmp_path: Path) -> None:
    """Wrong passphrase, key not there, folder open to others or missing, GnuPG not installed, short fingerprint."""
    content = sealed(people["sender"])
    with pytest.raises(FixConfiguration, match="passphrase is missing or another"):
        take(drop, content, ours(people, passphrase="wrong"))
    with pytest.raises(FixConfiguration, match=r"encrypted for a key that is not in .*--import"):
        take(drop, content, PgpSettings(home=people["stranger"].home))
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(FixConfiguration, match="chmod 700"):
        take(drop, content, PgpSettings(home=tmp_path / "open"))
    with pytest.raises(FixConfiguration, match="mkdir -m 700"):
        take(drop, content, PgpSettings(home=tmp_path / "none"))
    with pytest.raises(FixConfiguration, match="apt-get install gnupg"):
        take(drop, content, ours(people, program="gpg-that-is-not-there"))
    with pytest.raises(FixConfiguration, match="not a full fingerprint"):
        PgpOpener(PgpSettings(home=tmp_path, signers=("DEADBEEF",)), 1)


def test_decrypting_has_a_bound_in_time(people: dict[str, Keys], drop: Path, tmp_path: Path) -> None:
    """A GnuPG that never ends is killed, and the file can be tried again."""
    slow = tmp_path / "slow-gpg"
    slow.write_text('#!/bin/sh\ncase "$*" in *--list-config*) exec gpg "$@";; esac\nexec sleep 60\n')
    slow.chmod(0o755)
    with pytest.raises(RetryLater, match=r"took longer than 0\.5 seconds"):
        take(drop, sealed(people["sender"]), ours(people, program=str(slow), seconds=0.5))
    assert inbox(drop) == []
