"""Keeping secrets out of what is written down: by their type, by the name they stand under, by value and by pattern."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

from pydantic import SecretBytes, SecretStr

STARS = "***"

_NAMES = re.compile(
    r"token|passw|passphrase|secret|authori[sz]ation|credential|api_?key|private_?key|cookie", re.IGNORECASE
)
"""A name under which a secret stands, whatever its value."""

_PATTERNS = (
    # A form or a query: wstoken=..., password=...
    (re.compile(r"(?i)\b(\w*(?:token|passw(?:or)?d|passphrase|secret|api_?key))(=)([^&\s\"',;]+)"), r"\1\2" + STARS),
    # JSON, Python or TOML: "token": "..."
    (
        re.compile(
            r"(?i)([\"'](?:\w*(?:token|passw(?:or)?d|passphrase|secret|api_?key))[\"']\s*[:=]\s*[\"'])([^\"']+)"
        ),
        r"\1" + STARS,
    ),
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}"), r"\1\2" + STARS),
    # An address with a password in it.
    (re.compile(r"([A-Za-z][\w+.-]*://)[^\s/@:]*:[^\s/@]+@"), r"\1" + STARS + "@"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), STARS),
)

SHORTEST = 6
"""A shorter text is not looked for by value: it would black out half of what is said."""

_known: set[str] = set()
_lock = threading.Lock()


def remember(secret: str) -> None:
    """Take note of a secret, so that `redact` finds it wherever it turns up."""
    if len(secret) >= SHORTEST:
        with _lock:
            _known.add(secret)


def redact(text: str) -> str:
    """Return a text without what is known, or looks like, a secret."""
    with _lock:
        known = sorted(_known, key=len, reverse=True)
    for secret in known:
        if secret in text:
            text = text.replace(secret, STARS)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def redacted(value: Any, name: str = "") -> Any:
    """Return a value, however deep, with every secret in it replaced. `name` is what it stands under."""
    if isinstance(value, SecretStr | SecretBytes):
        return STARS
    if isinstance(value, Mapping):
        return {str(key): redacted(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(inner, name) for inner in value]
    if isinstance(value, str):
        if value and is_secret_name(name) and not is_reference(value):
            return STARS
        return redact(value)
    return value


def is_secret_name(name: str) -> bool:
    """Tell whether what stands under a name is a secret."""
    return bool(_NAMES.search(name))


def is_reference(value: str) -> bool:
    """Tell whether a value only says where a secret is."""
    return value.startswith(("env:", "file:", "keyring:"))
