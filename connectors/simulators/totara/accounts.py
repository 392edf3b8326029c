"""Accounts through the API: found by any key, made, changed, deleted; the errors are the site's own words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from connectors.hrimport_rules.settings import AUTH_PLUGINS, COUNTRIES
from connectors.hrimport_rules.state import User
from connectors.simulators.totara.site import TotaraSite

_NOT_ONE = "There was a problem finding a single user record match or you do not have sufficient capabilities."
_FIELDS = ("firstname", "lastname", "middlename", "alternatename", "city", "country", "lang", "auth", "timezone")
_MORE_FIELDS = ("address", "department", "institution", "phone1", "phone2", "url", "description")


class ApiFault(Exception):
    """An operation failed; the text is the site's debug message."""


class InvalidValue(Exception):
    """A variable's value does not fit its type; ``variable`` is its name."""

    def __init__(self, message: str, variable: str) -> None:
        super().__init__(message)
        self.variable = variable


def find_user(site: TotaraSite, reference: Mapping[str, Any], message: str = _NOT_ONE) -> User:
    """The one account all keys of the reference agree on."""
    keys = {name: value for name, value in reference.items() if name in {"id", "idnumber", "username", "email"}}
    found = [user for user in site.state.live_users() if keys and all(_matches(user, *pair) for pair in keys.items())]
    if len(found) != 1:
        raise ApiFault(message)
    return found[0]


def _matches(user: User, key: str, value: Any) -> bool:
    return str(getattr(user, key)) == str(value)


def create_user(site: TotaraSite, given: Mapping[str, Any]) -> User:
    """Make an account. It is not HR Import's: a file will leave it alone."""
    username, email = str(given.get("username", "")), str(given.get("email", ""))
    if given.get("password") is None and given.get("generate_password") is not True:
        raise ApiFault(
            "Coding error detected, it must be fixed by a programmer: Required parameter - password not being passed"
        )
    if username != username.lower():
        raise ApiFault("The username must be in lower case")
    _check_free(site, None, username=username, email=email, idnumber=str(given.get("idnumber") or ""))
    _check_values(site, given)
    user = site.state.add_user(str(given.get("idnumber") or ""), username)
    user.email = email
    user.totarasync = False
    user.timemodified = site.now()
    user.fields = {"auth": "manual", "lang": "en"}
    _store(site, user, given)
    return user


def update_user(site: TotaraSite, reference: Mapping[str, Any], given: Mapping[str, Any]) -> User:
    """Change what is given of an account."""
    user = find_user(site, reference)
    _check_free(
        site,
        user,
        username=str(given.get("username") or ""),
        email=str(given.get("email") or ""),
        idnumber=str(given.get("idnumber") or ""),
    )
    _check_values(site, given)
    if given.get("username"):
        user.username = str(given["username"])
    if given.get("email"):
        user.email = str(given["email"])
    user.timemodified = site.now()
    _store(site, user, given)
    return user


def delete_user(site: TotaraSite, reference: Mapping[str, Any], service_account: str) -> str:
    """Delete an account; its id comes back."""
    user = find_user(site, reference)
    if user.username == service_account:
        raise ApiFault("A service account user is not allowed to delete itself when making a request.")
    if user.username in site.state.administrators:
        raise ApiFault("For deleting a user: Admin user can not be specified for User.")
    site.state.delete_users([user], how=site.settings.authdeleteusers)
    return str(user.id)


def _check_free(site: TotaraSite, own: User | None, **keys: str) -> None:
    words = {"username": "Username", "email": "Email address", "idnumber": "Idnumber"}
    for name, value in keys.items():
        taken = [user for user in site.state.live_users() if value and getattr(user, name) == value]
        if any(user is not own for user in taken):
            raise ApiFault(f"{words[name]} already exists: {value}")


def _check_values(site: TotaraSite, given: Mapping[str, Any]) -> None:
    country, auth = given.get("country"), given.get("auth")
    if country and country not in COUNTRIES:
        raise ApiFault(f"Country does not exist: {country}")
    if auth and auth not in AUTH_PLUGINS:
        raise ApiFault(f"Authentication plugin does not exist: {auth}")
    for entry in given.get("custom_fields") or ():
        definition = site.settings.user_custom_fields.get(entry["shortname"])
        if definition is None:
            raise ApiFault("The custom field does not exist.")
        if definition.options and entry.get("data") is not None and entry["data"] not in definition.options:
            raise ApiFault(f"{entry['shortname']}: You must pass a valid menu option.")


def _store(site: TotaraSite, user: User, given: Mapping[str, Any]) -> None:
    fields = user.fields = user.fields or {}
    for name in (*_FIELDS, *_MORE_FIELDS):
        if given.get(name) is not None:
            fields[name] = given[name]
    if given.get("suspended") is not None:
        user.suspended = bool(given["suspended"])
    for entry in given.get("custom_fields") or ():
        name = f"customfield_{entry['shortname']}"
        if entry.get("delete"):
            fields.pop(name, None)
            continue
        value: Any = entry.get("data")
        if site.settings.user_custom_fields[entry["shortname"]].datatype == "date":
            value = _profile_date(str(value), site.settings.timezone)
        fields[name] = value


def _profile_date(text: str, timezone: str) -> int:
    """A profile date as the API stores it: noon UTC of the day after (recorded with a London site)."""
    if text.lstrip("-").isdigit():
        return int(text)
    day = dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone)).astimezone(dt.UTC)
    noon = dt.datetime(day.year, day.month, day.day, 12, tzinfo=dt.UTC)
    return int((noon + dt.timedelta(days=1)).timestamp())
