"""Which account is whose: reading accounts by what people are known by, and never touching one that is not theirs.

An account belongs to a person by its ID number. One without an ID number is taken over where it is the only one that
fits by a configured field, and fits nobody else; a name alone never decides. Whatever is not certain is held, for a
person to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from bridge.ports import Fields, SkipItem, Value
from connectors.moodle.client import Call, MoodleClient
from connectors.moodle.directory import good
from connectors.moodle.profile import PLAIN_FIELDS, PROFILE, day_of
from connectors.moodle.text import fold

BY_FIELD = "core_user_get_users_by_field"
SEARCH = "core_user_get_users"

VALUES_PER_CALL = 100
ACCOUNTS_PER_REQUEST = 500
"""Moodle works some 5 to 10 ms on each account it answers (observed on Moodle 4.5.6): more would time out."""

ALWAYS_PROTECTED = frozenset({"admin", "guest"})


@dataclass(frozen=True, slots=True)
class Account:
    """An account as Moodle shows it to the service account."""

    id: int
    username: str
    email: str
    idnumber: str
    fields: Fields
    types: Mapping[str, str]
    """The types of the custom profile fields that have a value, by the field's name here."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Account:
        """Return the account that a row of get_users or get_users_by_field states."""
        fields: dict[str, Value] = {
            "idnumber": str(row.get("idnumber") or ""),
            "firstname": str(row.get("firstname") or ""),
            "lastname": str(row.get("lastname") or ""),
            "email": str(row.get("email") or ""),
            "username": str(row.get("username") or ""),
            "auth": str(row.get("auth") or ""),
            "suspended": bool(row.get("suspended")),
        }
        # Moodle leaves empty ones out.
        fields.update({name: str(row.get(name) or "") for name in PLAIN_FIELDS})
        types: dict[str, str] = {}
        for custom in row.get("customfields") or ():
            name = PROFILE + str(custom["shortname"])
            value = str(custom.get("value") or "")
            types[name] = str(custom["type"])
            # A date is stored as the second its day begins, in the zone of whoever set it.
            fields[name] = day_of(value) if custom["type"] == "datetime" else value
        return cls(
            int(row["id"]),
            str(fields["username"]),
            str(fields["email"]),
            str(fields["idnumber"]),
            fields,
            types,
        )

    def wears(self, pattern: str) -> bool:
        """Say whether a pattern names this account, by user name, address or ID number."""
        wanted = pattern.casefold()
        return any(fnmatchcase(name.casefold(), wanted) for name in (self.username, self.email, self.idnumber) if name)


@dataclass(frozen=True, slots=True)
class Sought:
    """By what one person's account is looked for; empty texts are not."""

    key: str
    email: str = ""
    username: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """What was found for a person: the account that is theirs, or why nobody can tell."""

    key: str
    account: Account | None
    held: str = ""


@dataclass(slots=True)
class Accounts:
    """The accounts of the people who are spoken of."""

    client: MoodleClient
    sought: dict[str, Sought] = field(default_factory=dict)
    """People by key, as the last translation named them; empty: everybody with an ID number."""
    ids: dict[str, int] = field(default_factory=dict)
    """Ids of accounts by the person's key, as last read or made."""
    held: dict[str, str] = field(default_factory=dict)
    without: set[str] = field(default_factory=set)
    """People who were looked up and have no account."""
    was_read: bool = False
    """Whether everybody sought was looked up, so that who is in neither of the two has no account."""
    types: dict[str, str] = field(default_factory=dict)
    """Types of custom profile fields, as far as an account showed them."""

    def read(self, keys: Collection[str] | None = None) -> Iterator[Match]:
        """Yield what there is for each person sought, or for some keys; nothing for a person without an account."""
        if keys is not None:
            sought: dict[str, Sought] | None = {key: self.sought.get(key, Sought(key)) for key in keys}
        else:
            sought = self.sought or None
        found = self._all() if sought is None else self._by("idnumber", sought)
        by_number: dict[str, list[Account]] = {}
        for account in found:
            by_number.setdefault(fold(account.idnumber), []).append(account)
        if sought is None:
            sought = {account.idnumber: Sought(account.idnumber) for group in by_number.values() for account in group}
        self.was_read = self.was_read or keys is None
        missing: list[Sought] = []
        for key, person in sought.items():
            match = self._by_number(key, by_number.get(fold(key), []))
            if match is None:
                missing.append(person)
            else:
                yield self._told(match)
        self.without -= sought.keys()
        self.without.update(person.key for person in missing)
        if missing:
            for match in self._by_other_fields(missing):
                yield self._told(match)

    def ids_of(self, keys: Collection[str]) -> dict[str, int]:
        """Return the ids of accounts that are certain; people who were not looked up yet are."""
        unknown = [key for key in keys if key not in self.ids and key not in self.held and key not in self.without]
        if unknown:
            for _ in self.read(unknown):
                pass
        return {key: self.ids[key] for key in keys if key in self.ids}

    def made(self, key: str, account_id: int) -> None:
        """Take note of a new account."""
        self.ids[key] = account_id
        self.without.discard(key)
        self.held.pop(key, None)

    def _told(self, match: Match) -> Match:
        self.ids.pop(match.key, None)
        self.without.discard(match.key)
        self.held.pop(match.key, None)
        if match.held:
            self.held[match.key] = match.held
        elif match.account is not None:
            self.ids[match.key] = match.account.id
        if match.account is not None:
            self.types.update(match.account.types)
        return match

    # --- Whose ------------------------------------------------------------------------------------------------------

    def _by_number(self, key: str, accounts: Sequence[Account]) -> Match | None:
        exact = [account for account in accounts if account.idnumber == key]
        if not accounts:
            return None
        if len(accounts) > 1:
            named = ", ".join(sorted(account.username for account in accounts))
            return Match(
                key,
                None,
                f"{len(accounts)} accounts have the ID number {key} ({named}). Decide which one is right, and empty "
                "the ID number of the others in Moodle.",
            )
        if not exact:
            other = accounts[0]
            return Match(
                key,
                None,
                f"The account {other.username} has the ID number {other.idnumber!r}, which Moodle does not tell from "
                f"{key!r}. Correct it in Moodle, or in the feed.",
            )
        return Match(key, exact[0], self._untouchable(exact[0]))

    def _by_other_fields(self, missing: Sequence[Sought]) -> Iterator[Match]:
        """Look for accounts without an ID number that can only be one person's."""
        options = self.client.options
        candidates: dict[str, dict[int, Account]] = {}
        claims: dict[int, list[str]] = {}
        lookups: tuple[tuple[str, Callable[[Sought], str]], ...] = (
            ("email", lambda person: person.email),
            ("username", lambda person: person.username),
        )
        for name, of in lookups:
            # A name that is taken stands in the way of a new account, whether or not it identifies anybody.
            by_value: dict[str, list[str]] = {}
            for person in missing:
                if of(person):
                    by_value.setdefault(of(person).casefold(), []).append(person.key)
            if not by_value:
                continue
            for account in self._by(name, by_value):
                if name == "email" and options.shared_addresses and account.idnumber:
                    continue
                value = account.email if name == "email" else account.username
                for key in by_value.get(value.casefold(), ()):
                    if account.id not in candidates.setdefault(key, {}):
                        candidates[key][account.id] = account
                        claims.setdefault(account.id, []).append(key)
        for person in missing:
            fits = list(candidates.get(person.key, {}).values())
            if fits:
                yield self._decided(person, fits, claims)

    def _decided(self, person: Sought, fits: Sequence[Account], claims: Mapping[int, Sequence[str]]) -> Match:
        taken = next((account for account in fits if account.idnumber), None)
        if taken is not None:
            return Match(
                person.key,
                None,
                f"The account {taken.username} has this address or user name, but the ID number {taken.idnumber}. "
                "Correct the one that is wrong: two people cannot share it.",
            )
        if len(fits) > 1:
            named = ", ".join(sorted(account.username for account in fits))
            return Match(
                person.key,
                None,
                f"{len(fits)} accounts could be theirs ({named}). Give the right one the ID number {person.key}.",
            )
        account = fits[0]
        others = [key for key in claims[account.id] if key != person.key]
        if others:
            return Match(
                person.key,
                None,
                f"The account {account.username} could be theirs or that of {', '.join(others[:5])}. Give it the ID "
                "number of the right one.",
            )
        allowed = self.client.options.match_users_by
        fitting = [name for name, value in (("email", account.email), ("username", account.username))
                   if name in allowed and value.casefold() == getattr(person, name).casefold() != ""]  # fmt: skip
        if not fitting:
            return Match(
                person.key,
                None,
                f"The account {account.username} has this address or user name, but no ID number. If it is theirs, "
                f"give it the ID number {person.key}.",
            )
        return Match(person.key, account, self._untouchable(account))

    def _untouchable(self, account: Account) -> str:
        """Return why an account is never touched; empty where it may be."""
        options = self.client.options
        own = str(self.client.site().get("username", ""))
        if account.username in ALWAYS_PROTECTED or account.username == own:
            return f"The account {account.username} is protected: the bridge never changes administrators or itself."
        if any(account.wears(pattern) for pattern in options.protected_accounts):
            return f"The account {account.username} is on the list of protected accounts."
        if options.account_scope and not any(account.wears(pattern) for pattern in options.account_scope):
            return f"The account {account.username} is outside the accounts this bridge may touch (account_scope)."
        return ""

    # --- Reading ----------------------------------------------------------------------------------------------------

    def _by(self, name: str, values: Iterable[str]) -> list[Account]:
        """Return the accounts whose field has one of some values."""
        wanted = list(values)
        calls = [
            Call(BY_FIELD, {"field": name, "values": wanted[start : start + VALUES_PER_CALL]}, raw=True)
            for start in range(0, len(wanted), VALUES_PER_CALL)
        ]
        found: dict[int, Account] = {}
        while calls:
            refused: list[Call] = []
            answers = self.client.read_many(calls, size=ACCOUNTS_PER_REQUEST // VALUES_PER_CALL)
            for call, answer in zip(calls, answers, strict=True):
                asked = call.arguments["values"]
                if isinstance(answer, SkipItem):
                    # One value that Moodle takes for malformed spoils the whole call; alone it finds nobody.
                    halves = (asked[: len(asked) // 2], asked[len(asked) // 2 :]) if len(asked) > 1 else ()
                    refused += [Call(BY_FIELD, {"field": name, "values": half}, raw=True) for half in halves]
                else:
                    found.update((int(row["id"]), Account.of(row)) for row in good(answer))
            calls = refused
        return list(found.values())

    def _all(self) -> list[Account]:
        """Return all accounts with an ID number."""
        answer = self.client.read(Call(SEARCH, {"criteria": [{"key": "email", "value": "%"}]}, raw=True))
        return [account for row in answer["users"] if (account := Account.of(row)).idnumber]
