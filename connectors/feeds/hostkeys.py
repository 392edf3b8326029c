"""Pinned host keys: which server is the right one, and what to say when another answers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

import paramiko

from bridge.ports import FixConfiguration
from connectors.feeds.names import shown
from connectors.feeds.settings import SftpServer

_FINGERPRINT = re.compile(r"^SHA256:([A-Za-z0-9+/]{43})=?$")
_TYPE = re.compile(r"^(ssh-(rsa|ed25519)|ecdsa-sha2-nistp(256|384|521))$")


@dataclass(frozen=True, slots=True)
class Pins:
    """The host keys that are accepted."""

    fingerprints: frozenset[str]
    """``SHA256:`` and 43 characters."""
    types: tuple[str, ...]
    """Types of the keys that were given whole; the server is asked for these first."""


def read_pins(server: SftpServer) -> Pins:
    """Read the pinned keys; FixConfiguration where one is not written as a key or fingerprint."""
    fingerprints: set[str] = set()
    types: list[str] = []
    for pin in server.host_keys:
        if match := _FINGERPRINT.match(pin.strip()):
            fingerprints.add(f"SHA256:{match[1]}")
            continue
        words = pin.split()
        place = next((i for i, word in enumerate(words) if _TYPE.match(word)), None)
        if place is None or place + 1 >= len(words) or any(word.startswith("@") for word in words[:place]):
            raise _unreadable(pin, server)
        try:
            blob = base64.b64decode(words[place + 1], validate=True)
        except binascii.Error as error:
            raise _unreadable(pin, server) from error
        # The key's own first field says its type once more; a cut or mixed-up line does not agree with itself.
        if not blob.startswith(len(words[place]).to_bytes(4, "big") + words[place].encode()):
            raise _unreadable(pin, server)
        fingerprints.add(_fingerprint(blob))
        types.append(words[place])
    return Pins(frozenset(fingerprints), tuple(dict.fromkeys(types)))


def preferred_types(pins: Pins, offered: tuple[str, ...]) -> tuple[str, ...]:
    """Return the host key algorithms with those of the pinned keys first, so that the server shows a pinned one."""
    wanted = {
        one for name in pins.types for one in (("rsa-sha2-512", "rsa-sha2-256") if name == "ssh-rsa" else (name,))
    }
    return tuple(sorted(offered, key=lambda name: name not in wanted))


def check_host_key(key: paramiko.PKey, pins: Pins, server: SftpServer) -> None:
    """Accept a pinned key; refuse any other with its fingerprint and the line that would pin it."""
    found = key.fingerprint
    if found in pins.fingerprints:
        return
    line = f'host_keys = ["{key.get_name()} {key.get_base64()}"]'
    address = f"{server.host}:{server.port}"
    if not pins.fingerprints:
        raise FixConfiguration(
            f"The server {address} is not known yet, so no name and no password was sent to it. It shows a host key "
            f"of type {key.get_name()} with the fingerprint {found}. Ask the operator of the server, by another way "
            f"than this connection, for its fingerprint; if it is the same, put this line into {server.place}:\n{line}"
        )
    pinned = ", ".join(sorted(pins.fingerprints))
    raise FixConfiguration(
        f"The server {address} shows another host key than the one pinned, so no name and no password was sent to it. "
        f"Pinned: {pinned}. Shown: {found} ({key.get_name()}). Either the server was set up anew, or somebody stands "
        "between. Ask the operator of the server, by another way than this connection; only if they confirm the shown "
        f"fingerprint, replace host_keys in {server.place} by this line:\n{line}"
    )


def _fingerprint(blob: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _unreadable(pin: str, server: SftpServer) -> FixConfiguration:
    return FixConfiguration(
        f"{shown(pin)!r} in host_keys of {server.place} is neither a fingerprint (SHA256:...) nor a key "
        "(ssh-ed25519 AAAA...). Copy it whole, on one line, as ssh-keyscan or ssh-keygen -lf prints it."
    )
