"""Accounts and job assignments through the API: how they are read, and which write a change is.

The fields are those of ``people``: an item is the same whichever way it goes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from bridge.ports import Action, Change, Fields, Found, StopRun, Value
from connectors.totara import graphql
from connectors.totara.graphql import GraphQlClient, Mutation
from connectors.totara.people import JOB, PERSON, People

_USER_MEMBERS = {"username": "username", "first_name": "firstname", "last_name": "lastname", "email": "email"}
# What the API's input has beside those, as the external schema of 17.3 lists it, and shows as it was written.
_USER_EXTRAS = frozenset(
    {"firstnamephonetic", "lastnamephonetic", "middlename", "alternatename", "city", "url"}
    | {"institution", "department", "phone1", "phone2", "address", "country", "timezone", "lang", "auth"}
)
_CUSTOM = "customfield_"
# A date given as text was stored a day late on a site in London (recorded): none is sent.
_DATES = frozenset({"date", "datetime"})


class Accounts:
    """The kind ``person``."""

    kind = PERSON

    def __init__(self, people: People) -> None:
        self._people = people
        self._options = people.options

    def sendable(self, name: str) -> bool:
        """Whether the API can be told a further column of an account."""
        if not name.startswith(_CUSTOM):
            return name in _USER_EXTRAS
        field = self._options.hrimport.user_custom_fields.get(name.removeprefix(_CUSTOM))
        return field is None or field.datatype not in _DATES

    def read(self, client: GraphQlClient) -> Iterator[Found]:
        """Every account with an id number.

        Raises:
            StopRun: the API account may not see an e-mail address, so that comparing would mislead.
        """
        extras = sorted(name for name in self._people.extras if self.sendable(name))
        plain = [name for name in extras if not name.startswith(_CUSTOM)]
        custom = len(extras) > len(plain)
        wanted = " ".join(["idnumber", "suspended", *_USER_MEMBERS.values(), *plain])
        if custom:
            wanted += " custom_fields { shortname data }"
        fields = 7 + len(plain) + (12 if custom else 0)
        for item in client.pages("core_user_users", "core_user_users_query", wanted, fields=fields):
            key = str(item.get("idnumber") or "")
            if not key:
                continue
            if item.get("email") is None:
                message = (
                    f"The API account may not see the e-mail address of {key}. Give its role "
                    "moodle/site:viewuseridentity, then run this again."
                )
                raise StopRun(message)
            held: dict[str, Value] = {name: str(item.get(member) or "") for name, member in _USER_MEMBERS.items()}
            held["suspended"] = bool(item.get("suspended"))
            held |= {name: str(item.get(name) or "") for name in plain}
            if custom:
                data = {one["shortname"]: str(one.get("data") or "") for one in item.get("custom_fields") or ()}
                held |= {name: data.get(name.removeprefix(_CUSTOM), "") for name in extras if name.startswith(_CUSTOM)}
            # The rest is needed to write a row of HR Import for somebody of whom only one field is wanted.
            yield Found(PERSON, key, held, key, detail=held)

    def refusal(self, change: Change) -> str:
        """Why a change cannot be said to the API; empty where it can."""
        del change
        return ""

    def mutation(self, change: Change) -> Mutation:
        """The write of a change."""
        if change.erase:
            return graphql.delete_user(change.key)
        if change.action is Action.REMOVE:
            return graphql.update_user(change.key, {"suspended": True})
        after = change.after or {}
        names = after if change.action is Action.CREATE else change.fields
        values = self._input({name: after[name] for name in names})
        if change.action is Action.CREATE:
            # The API makes no account without a password; this one is the site's own, and nobody's here.
            return graphql.create_user({**values, "idnumber": change.key, "generate_password": True})
        return graphql.update_user(change.key, values)

    def _input(self, fields: Fields) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, value in fields.items():
            if name.startswith(_CUSTOM):
                entry = {"shortname": name.removeprefix(_CUSTOM), "data": str(value or "")}
                values.setdefault("custom_fields", []).append(entry)
            elif name == "suspended":
                values[name] = bool(value)
            else:
                values[_USER_MEMBERS.get(name, name)] = value
        return values

    def differs(self, change: Change, answer: Mapping[str, Any]) -> str:
        """What the site holds after the write other than it was told; empty where nothing."""
        user = answer.get("user") or {}
        after = change.after or {}
        names = after if change.action is Action.CREATE else change.fields
        for name, member in (*_USER_MEMBERS.items(), ("suspended", "suspended")):
            if name in names and user.get(member) is not None and user[member] != after[name]:
                return f"the site took the write and holds {member} “{user[member]}” instead of “{after[name]}”"
        return ""


class Jobs:
    """The kind ``job``."""

    kind = JOB

    def __init__(self, people: People) -> None:
        self._people = people
        self._zone = ZoneInfo(people.options.hrimport.timezone)

    def sendable(self, name: str) -> bool:
        """Whether the API can be told a field: all of them."""
        return bool(name)

    def read(self, client: GraphQlClient) -> Iterator[Found]:
        """Every job assignment whose holder has an id number; a key that several people's jobs share is held."""
        wanted = (
            "idnumber user { idnumber } fullname startdate enddate position { idnumber } organisation { idnumber } "
            "managerja { idnumber user { idnumber } }"
        )
        name, kind = "totara_job_job_assignments", "totara_job_job_assignments_query"
        found: dict[str, list[Found]] = {}
        for item in client.pages(name, kind, wanted, fields=9):
            person = str((item.get("user") or {}).get("idnumber") or "")
            key = str(item.get("idnumber") or "")
            if person and key:
                self._people.owners[key] = person
                found.setdefault(key, []).append(self._found(key, person, item))
        for key, several in found.items():
            if len(several) > 1:
                says = f"{len(several)} people have a job {key} on the site. Give the others another id number there."
                yield Found(JOB, key, several[0].fields, key, held=says)
            else:
                yield several[0]

    def _found(self, key: str, person: str, item: Mapping[str, Any]) -> Found:
        boss = item.get("managerja") or {}
        title = str(item.get("fullname") or "")
        end = self._day(item.get("enddate"))
        fields: Fields = {
            "person": person,
            # How the site calls a job nobody named.
            "title": "" if title == f"Unnamed job assignment (ID: {key})" else title,
            "organisation": (item.get("organisation") or {}).get("idnumber") or None,
            "position": (item.get("position") or {}).get("idnumber") or None,
            "manager": (boss.get("user") or {}).get("idnumber") or None,
            "manager_job": boss.get("idnumber") or None,
            "start": self._day(item.get("startdate")),
            "end": end,
        }
        # Ended, and nobody speaks of it any more: that is what closing a job leaves.
        over = end is not None and end <= self._people.today.isoformat() and key not in self._people.wanted_jobs
        return Found(JOB, key, fields, key, retired=over, detail=fields)

    def _day(self, moment: Any) -> str | None:
        """A date as the site's own calendar has it; the API tells unix time."""
        if not moment:
            return None
        return dt.datetime.fromtimestamp(int(moment), self._zone).date().isoformat()

    def refusal(self, change: Change) -> str:
        """Why a change cannot be said to the API; empty where it can."""
        if change.action is Action.UPDATE and "person" in change.fields:
            return "a job assignment cannot be handed to somebody else: give the new holder's job its own id number"
        return ""

    def mutation(self, change: Change) -> Mutation:
        """The write of a change."""
        before = {**change.detail, **(change.before or {})}
        if change.action is Action.REMOVE:
            person = str(before.get("person") or "")
            if change.erase:
                return graphql.delete_job(change.key, person)
            start = before.get("start")
            last = max(self._people.today.isoformat(), str(start or ""))
            return graphql.update_job(change.key, person, {"end_date": last})
        after = change.after or {}
        person = str(after.get("person") or before.get("person") or "")
        if change.action is Action.REVIVE:
            return graphql.update_job(change.key, person, {"end_date": None})
        names = [name for name in (after if change.action is Action.CREATE else change.fields) if name != "person"]
        values = self._input({name: after.get(name) for name in names}, after)
        if change.action is Action.CREATE:
            told = {name: value for name, value in values.items() if value is not None}
            return graphql.create_job({**told, "idnumber": change.key, "user": {"idnumber": person}})
        return graphql.update_job(change.key, person, values)

    @staticmethod
    def _input(fields: Fields, after: Fields) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, value in fields.items():
            match name:
                case "title":
                    values["fullname"] = value
                case "start" | "end":
                    values[f"{name}_date"] = value
                case "position" | "organisation":
                    values[name] = {"idnumber": value} if value else None
                case _:
                    boss, job = after.get("manager"), after.get("manager_job")
                    values["manager"] = {"idnumber": job, "user": {"idnumber": boss}} if boss and job else None
        return values

    def differs(self, change: Change, answer: Mapping[str, Any]) -> str:
        """What the site holds after the write other than it was told; empty where nothing."""
        job = answer.get("job_assignment")
        if not isinstance(job, Mapping) or change.action in {Action.REMOVE, Action.REVIVE}:
            return ""
        held = self._found(change.key, str((change.after or {}).get("person") or ""), job).fields
        after = change.after or {}
        for name in after if change.action is Action.CREATE else change.fields:
            if name != "person" and held.get(name) != after.get(name):
                return f"the site took the write and holds {name} “{held.get(name)}” instead of “{after.get(name)}”"
        return ""
