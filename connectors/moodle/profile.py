"""What goes into the fields of an account: the mapping a person configures, and the forms that Moodle keeps.

Moodle takes an unknown profile field, a choice that a menu does not have and a text that is too long without a word,
and loses them (contracts/moodle-4.5, Behaviour). What can be seen beforehand is said in the plan; the rest is read
back after writing.
"""

from __future__ import annotations

import datetime as dt
import re
import secrets
from collections.abc import Mapping, Sequence

from bridge.model import Person
from bridge.ports import FixConfiguration
from connectors.moodle.staff import Staff
from connectors.moodle.text import clean, name_form

PROFILE = "profile_field_"
"""What stands before the short name of a custom profile field, as in Moodle's own upload of users."""

PLAIN_FIELDS: Mapping[str, int] = {
    "department": 255,
    "institution": 255,
    "city": 120,
    "country": 2,
    "phone1": 20,
    "phone2": 20,
    "address": 255,
}
"""Fields of an account that a mapping may fill, with the characters they hold."""

USERNAME_LIMIT = NAME_FIELD_LIMIT = 100
IDNUMBER_LIMIT = 255

_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\.[A-Za-z]{2,}")
_NOT_IN_USERNAMES = re.compile(r"[^-.@_a-z0-9]")
_SHORTNAME = re.compile(r"[A-Za-z0-9_]+")


def day_of(epoch: str) -> str:
    """Return the day that a profile field of type date holds, as 2026-12-31; empty where it holds none.

    Moodle keeps the second at which the day begins, in the zone of whoever set it: half a day later is that day
    everywhere between 12 hours west and east.
    """
    if not re.fullmatch(r"-?[0-9]{1,11}", epoch) or epoch == "0":
        return ""
    return dt.datetime.fromtimestamp(int(epoch) + 43_200, dt.UTC).date().isoformat()


def usable_email(text: str) -> bool:
    """Say whether Moodle takes an e-mail address."""
    return len(text) <= NAME_FIELD_LIMIT and _EMAIL.fullmatch(text) is not None and ".." not in text


def username_of(person: Person, rule: str) -> str:
    """Return the user name of a new account by the configured rule; empty where nothing usable comes out.

    Moodle allows small letters, digits and ``-._@``.
    """
    if rule == "email":
        name = person.email
    elif rule == "key":
        name = person.key
    else:
        name = person.username or person.key
    name = name.strip().lower()
    return "" if _NOT_IN_USERNAMES.search(name) or len(name) > USERNAME_LIMIT else name


def check_mapping(fields: Mapping[str, str]) -> None:
    """Raise FixConfiguration naming each target of the mapping that an account does not have."""
    wrong = [
        name
        for name in fields
        if name not in PLAIN_FIELDS and not (name.startswith(PROFILE) and _SHORTNAME.fullmatch(name[len(PROFILE) :]))
    ]
    if wrong:
        raise FixConfiguration(
            f"user_fields: an account has no field {', '.join(wrong)}. There are {', '.join(PLAIN_FIELDS)}, and "
            f"{PROFILE}NAME for a custom profile field, NAME being its short name in Moodle."
        )


def mapped_values(person: Person, staff: Staff, fields: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return what a person's account should hold in the mapped fields, and sentences on what had to be changed."""
    facts = staff.facts(person)
    values: dict[str, str] = {}
    notes: list[str] = []
    for name, source in fields.items():
        text = clean(facts.get(source, "")).strip()
        if name.startswith(PROFILE):
            values[name] = text
            continue
        limit = PLAIN_FIELDS[name]
        if name == "country":
            text = text.upper()
            if text and not re.fullmatch("[A-Z]{2}", text):
                notes.append(f"country: Moodle takes two-letter codes, not {text!r}; left as it is.")
                continue
        elif name.startswith("phone") and len(text) > limit:
            notes.append(f"{name}: {text!r} is longer than the {limit} characters Moodle holds; left as it is.")
            continue
        form = name_form(text, limit)
        if form.changed:
            notes.append(f"{name}: Moodle cannot hold {text[:60]!r} as it is; it becomes {form.text[:60]!r}.")
        values[name] = form.text
    return values, notes


def nobodys_password() -> str:
    """Return a password that nobody ever learns.

    Moodle refuses an account that signs in by password and has none (contracts/moodle-4.5, `core_user_create_users`),
    and would otherwise mail one. This one meets any usual policy, is different each time, and is kept nowhere.
    """
    groups: Sequence[str] = ("abcdefghijkmnopqrstuvwxyz", "ABCDEFGHJKLMNPQRSTUVWXYZ", "23456789", "!#%*+-.:=?@_")
    # One of each kind in turn: no two neighbours alike, whatever the policy asks of runs.
    return "".join(secrets.choice(groups[place % len(groups)]) for place in range(40))
