"""Files that come encrypted or signed with PGP: opened with GnuPG, refused where the signer is not the expected one."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.ports import BridgeError, FixConfiguration, SkipItem, StopRun
from connectors.feeds.inbox import local_fault, sha256_of
from connectors.feeds.names import shown, with_tag
from connectors.feeds.settings import PgpSettings
from connectors.feeds.source import NotYet

if TYPE_CHECKING:
    import gnupg

# What the library logs as errors is judged below, from what GnuPG itself said.
logging.getLogger("gnupg").setLevel(logging.CRITICAL)

_ENDINGS = (".pgp", ".gpg", ".asc")
_FULL_FINGERPRINT = re.compile(r"^([0-9A-F]{40}|[0-9A-F]{64})$")
_SAFE_VERSION = (2, 2, 8)
"""Older ones can be made to report signatures that are not there (CVE-2018-12020) and to skip integrity checks."""
_BAD_SIGNATURES = {
    "BADSIG": "its signature does not fit: the file was changed after it was signed",
    "ERRSIG": "its signature cannot be checked, as the signer's public key is missing",
    "EXPSIG": "its signature has expired",
    "EXPKEYSIG": "the signer's key has expired",
    "REVKEYSIG": "the signer's key was revoked",
}


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file that was decrypted, with the fingerprint of the primary key that signed it."""

    path: Path
    sha256: str
    signed_by: str | None


class PgpOpener:
    """Decrypts files and checks their signatures with the keys of one private folder."""

    def __init__(self, settings: PgpSettings, max_bytes: int, place: str = "bridge.toml, [feeds.NAME]") -> None:
        self._settings = settings
        self._max_bytes = max_bytes
        self._place = place
        self._signers = frozenset(_fingerprint(one, place) for one in settings.signers)
        self._gpg: gnupg.GPG | None = None

    def open(self, delivered: Path, name: str, local_name: str) -> OpenedFile:
        """Decrypt a file into the same folder and remove what was delivered, also where it is refused.

        Raises SkipItem for a file that is not encrypted, damaged, unsigned or signed by somebody else,
        FixConfiguration where our own key or GnuPG itself is missing, StopRun where the disk is full.
        """
        clear = delivered.with_name(f".{delivered.name}.clear")
        try:
            clear.unlink(missing_ok=True)
            signed_by = self._decrypt(delivered, clear, name)
            sha256 = sha256_of(clear)
            target = delivered.with_name(_without_ending(local_name))
            if target != delivered and target.exists() and sha256_of(target) != sha256:
                target = target.with_name(with_tag(target.name, sha256[:12]))
            os.replace(clear, target)
            if target != delivered:
                delivered.unlink()
        except OSError as error:
            raise local_fault(error, clear) from error
        finally:
            if clear.exists():  # refused, or the disk is full: neither form stays
                clear.unlink()
                delivered.unlink(missing_ok=True)
        return OpenedFile(target, sha256, signed_by)

    def close(self) -> None:
        """Stop the agent that GnuPG left running: it would keep the key open in memory."""
        if self._gpg is not None:
            self._gpg = None
            end_agent(self._settings)

    def _decrypt(self, delivered: Path, clear: Path, name: str) -> str | None:
        settings, gpg = self._settings, self._ready()
        clear.touch(mode=0o600)
        # GnuPG stops by itself after this many bytes, so a small file cannot unpack into a full disk. It reads the
        # file by itself too; through a pipe a refusal would show as a broken pipe first.
        arguments = ["--max-output", str(self._max_bytes + 1), str(delivered.absolute())]
        with _time_bound(gpg, settings.seconds) as expired:
            result = gpg.decrypt_file(
                io.BytesIO(),
                output=str(clear),
                passphrase=settings.passphrase,
                always_trust=True,
                extra_args=arguments,
            )
        if expired.is_set():
            raise NotYet(
                f"Decrypting {shown(name)} took longer than {settings.seconds:g} seconds and was given up. If the file "
                f"is that large, raise the seconds of PGP in {self._place}."
            )
        said = getattr(result, "stderr", "")
        words = [line.split()[1:] for line in said.splitlines() if line.startswith("[GNUPG:] ")]
        if fault := self._fault({one[0] for one in words if one}, said.lower(), clear, name):
            raise fault
        return self._signer(words, name) if self._signers else None

    def _fault(self, words: set[str], said: str, clear: Path, name: str) -> BridgeError | None:
        """Return why a file was not opened, or None where it was. Signatures are judged apart."""
        home, place = self._settings.home, self._place
        if "no space left" in said or "file too large" in said:
            return StopRun(
                f"The disk of this machine is full: {shown(name)} could not be decrypted. What was fetched of it was "
                "removed again and the drop is untouched. Free some space, then run again."
            )
        if "max-output" in said or "exceed" in said or clear.stat().st_size > self._max_bytes:
            return SkipItem(
                f"{shown(name)} unpacks into more than {self._max_bytes:,} bytes. If that is right, raise max_bytes in "
                f"{place}."
            )
        decrypted = "DECRYPTION_OKAY" in words and "DECRYPTION_FAILED" not in words
        if decrypted:
            return None
        if words & {"BAD_PASSPHRASE", "MISSING_PASSPHRASE"} or "bad passphrase" in said or "no pinentry" in said:
            return FixConfiguration(
                f"The private key in {home} did not open: its passphrase is missing or another. Set it for {place}."
            )
        if "NO_SECKEY" in words:
            return FixConfiguration(
                f"{shown(name)} is encrypted for a key that is not in {home}. Import your private key there "
                f"(gpg --homedir {home} --import KEYFILE), or give the sender your public key."
            )
        if "DECRYPTION_FAILED" in words or not words & {"PLAINTEXT"}:
            return SkipItem(
                f"{shown(name)} could not be opened: it is damaged, or no PGP file. Ask the sender to deliver it anew, "
                "encrypted with your public key."
            )
        if self._settings.encrypted:
            return SkipItem(
                f"{shown(name)} is not encrypted, and encrypted files are asked for. Ask the sender to encrypt it with "
                f"your public key, or set encrypted = false in {place}."
            )
        return None

    def _signer(self, words: list[list[str]], name: str) -> str:
        """Return the fingerprint of the expected signer's primary key, or refuse the file."""
        for one in words:
            if one and one[0] in _BAD_SIGNATURES:
                raise SkipItem(
                    f"{shown(name)} is refused: {_BAD_SIGNATURES[one[0]]}. Expected signer: {self._expected()}. Ask "
                    f"the sender; a new key is imported with: gpg --homedir {self._settings.home} --import KEYFILE"
                )
        # VALIDSIG gives the signing key first and its primary key last; either may be the one that was agreed on.
        valid = [one for one in words if one and one[0] == "VALIDSIG" and len(one) > 1]
        good = sum(bool(one) and one[0] == "GOODSIG" for one in words)
        if not valid or good != len(valid):
            raise SkipItem(
                f"{shown(name)} is not signed, and a signature is asked for. Expected signer: {self._expected()}. Ask "
                "the sender to sign it."
            )
        for one in valid:
            if not self._signers & {one[1], one[-1]}:
                raise SkipItem(
                    f"{shown(name)} is signed by {one[-1]}, which is not the expected signer ({self._expected()}). Ask "
                    f"the sender; if the key has rightly changed, set signers in {self._place}."
                )
        return valid[0][-1]

    def _expected(self) -> str:
        return ", ".join(sorted(self._signers))

    def _ready(self) -> gnupg.GPG:
        if self._gpg is not None:
            return self._gpg
        settings = self._settings
        try:
            import gnupg
        except ImportError as error:
            raise FixConfiguration(
                "PGP files need the package python-gnupg. Install it: pip install 'lms-bridge[pgp]'"
            ) from error
        if shutil.which(settings.program) is None:
            raise FixConfiguration(
                f"PGP files need GnuPG, and there is no program {settings.program}. Install it (Debian, Ubuntu: "
                "sudo apt-get install gnupg; Red Hat: sudo dnf install gnupg2; Windows: Gpg4win), then run again."
            )
        home = settings.home
        if not home.is_dir():
            raise FixConfiguration(
                f"There is no folder {home} for the PGP keys. Make it (mkdir -m 700 {home}) and import the keys "
                f"(gpg --homedir {home} --import KEYFILE), or correct it in {self._place}."
            )
        if os.name == "posix" and home.stat().st_mode & 0o077:
            raise FixConfiguration(f"The folder {home} holds private keys and is open to others: chmod 700 {home}")
        try:
            gpg = gnupg.GPG(
                gpgbinary=settings.program,
                gnupghome=str(home),
                options=["--disable-dirmngr", "--no-auto-key-retrieve"],  # nothing is fetched from anywhere
                env={**os.environ, "LC_ALL": "C"},  # its messages are read, so they must be in one language
            )
        except (OSError, ValueError) as error:
            raise FixConfiguration(f"GnuPG does not start with the keys in {home}: {shown(str(error))}") from error
        gpg.encoding = "utf-8"
        if gpg.version is None or gpg.version < _SAFE_VERSION:
            raise FixConfiguration(
                f"The GnuPG here ({settings.program}) is older than 2.2.8 and its verdict on signatures is not safe. "
                "Bring it up to date."
            )
        self._gpg = gpg
        return gpg


def end_agent(settings: PgpSettings) -> None:
    """Stop the agent that serves a key folder, where one runs."""
    program = shutil.which("gpgconf")
    if program is not None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # it ends by itself later
            subprocess.run(  # noqa: S603 - a fixed program, arguments of our own
                [program, "--homedir", str(settings.home), "--kill", "gpg-agent"],
                check=False,
                capture_output=True,
                timeout=10,
            )


@contextlib.contextmanager
def _time_bound(gpg: Any, seconds: float) -> Iterator[threading.Event]:
    """Kill the GnuPG process that is started within, once the time is over. The library has no bound of its own."""
    expired = threading.Event()
    started: list[subprocess.Popen[bytes]] = []
    start = gpg._open_subprocess

    def starting(*arguments: Any, **named: Any) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = start(*arguments, **named)
        started.append(process)
        return process

    def expire() -> None:
        expired.set()
        for process in started:
            process.kill()

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    gpg._open_subprocess = starting
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
        del gpg._open_subprocess


def _without_ending(name: str) -> str:
    for ending in _ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def _fingerprint(text: str, place: str) -> str:
    plain = re.sub(r"[\s:]", "", text).upper().removeprefix("0X")
    if not _FULL_FINGERPRINT.match(plain):
        raise FixConfiguration(
            f"{shown(text)!r} in signers of {place} is not a full fingerprint (40 or 64 hexadecimal digits). "
            "gpg --fingerprint shows it; short key ids can be forged."
        )
    return plain
