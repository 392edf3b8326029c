"""Names that stand for people: the same person has the same one throughout a bundle, and another in the next."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

_WORDS = re.compile(r"[^\s,;:|\"'<>()\[\]{}=]+")
_ADDRESS = re.compile(r"[^\s,;:|\"'<>()\[\]{}=@]+@[\w-]+(?:\.[\w-]+)*")

_NAMES = ("first_name", "last_name", "firstname", "lastname", "middlename", "alternatename", "name")
_PLAIN = frozenset({"suspended", "auth", "lang", "country", "timezone", "status"})
"""Fields of an account that say nothing about who it is."""


class Pseudonyms:
    """Turns what names people into what names nobody. Nothing is kept by which that could be undone."""

    def __init__(self, salt: bytes | None = None) -> None:
        self._salt = salt or secrets.token_bytes(32)
        self._known: dict[str, str] = {}
        self._pairs: dict[tuple[str, str], str] = {}

    def know(self, key: str, email: str = "", username: str = "", first: str = "", last: str = "") -> None:
        """Take note of a person, so that key, address, user name and full name are found in any text."""
        name = self.key(key)
        self._known[key] = name
        for text, instead in ((email, self.address(key)), (username, name)):
            if text:
                self._known[text] = self._known[text.casefold()] = instead
        if first and last:
            self._pairs[first, last] = self._pairs[last, first] = name

    def key(self, key: str) -> str:
        """Return what stands for a person's key."""
        return f"person-{self._hash(key)}"

    def address(self, key: str) -> str:
        """Return what stands for a person's address; no mail ever arrives there."""
        return f"{self.key(key)}@people.example"

    def text(self, text: str) -> str:
        """Return a text with everybody known, and every e-mail address, replaced."""
        words = _WORDS.findall(text)
        for first, last in pairwise(words):
            instead = self._pairs.get((first, last.rstrip(".")))
            if instead is not None:
                text = re.sub(rf"{re.escape(first)}[\s,]+{re.escape(last.rstrip('.'))}", instead, text)
        text = _WORDS.sub(lambda found: self._word(found.group()), text)
        return _ADDRESS.sub(lambda found: self._any_address(found.group()), text)

    def object_key(self, kind: str, key: str) -> str:
        """Return the key of an object, in which people may be named (of an account, a membership, a plan)."""
        if kind == "user":
            return self._known.get(key) or self.key(key)
        return "|".join(self._known.get(part, part) for part in key.split("|"))

    def fields(self, kind: str, fields: Mapping[str, Any] | None, key: str) -> dict[str, Any] | None:
        """Return the fields of an object; of an account only what says nothing about who it is stays."""
        if fields is None:
            return None
        if kind != "user":
            return {name: self.value(value) for name, value in fields.items()}
        return {name: self._of_account(name, value, key) for name, value in fields.items()}

    def value(self, value: Any) -> Any:
        """Return a value, however deep, with everybody replaced."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {str(name): self.value(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        return value

    def _of_account(self, name: str, value: Any, key: str) -> Any:
        if not isinstance(value, str) or not value or name in _PLAIN:
            return value
        person = self.key(key)
        if name == "idnumber":
            return person
        if name == "username":
            return person
        if name == "email":
            return self.address(key)
        if name in _NAMES:
            return f"{name.title().replace('_', '')}-{self._hash(key)}"
        return f"x-{self._hash(value)}"

    def _word(self, word: str) -> str:
        bare = word.rstrip(".")
        instead = self._known.get(bare) or self._known.get(bare.casefold())
        return word if instead is None else instead + word[len(bare) :]

    def _any_address(self, address: str) -> str:
        if address.endswith("@people.example"):
            return address
        return f"someone-{self._hash(address.casefold())}@people.example"

    def _hash(self, text: str) -> str:
        return hmac.new(self._salt, text.encode(), hashlib.sha256).hexdigest()[:10]


def everybody(pseudonyms: Pseudonyms, people: Iterable[Mapping[str, str]]) -> None:
    """Take note of many people, each given by `person`, and as far as known `email`, `username` and names."""
    for one in people:
        pseudonyms.know(
            one["person"],
            one.get("email", ""),
            one.get("username", ""),
            one.get("first_name", ""),
            one.get("last_name", ""),
        )
