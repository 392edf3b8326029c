"""The external GraphQL API of the simulated site, with the quirks recorded on 17.3.

Errors are HTTP 200; fields and arguments nobody knows are dropped without a word; aliased mutations stop at the
first failure and lose the answers of the earlier ones, which stay committed; the cost of a query is counted as
it runs; a page's cursor forgets ties.
"""

from __future__ import annotations

import base64
import datetime as dt
import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from connectors.hrimport_rules.state import Item, Job, User
from connectors.simulators.totara.accounts import ApiFault, InvalidValue, create_user, delete_user, update_user
from connectors.simulators.totara.assignments import create_job, delete_job, update_job
from connectors.simulators.totara.language import Field, Operation, SyntaxFault, Variable, locate, parse
from connectors.simulators.totara.places import create_place, delete_place, update_place
from connectors.simulators.totara.site import TotaraSite

GENERIC = "Internal server error"
USER_SORTS = ("id", "firstname", "lastname", "username", "timemodified")
JOB_SORTS = (
    "id",
    "userid",
    "shortname",
    "startdate",
    "enddate",
    "position",
    "organisation",
    "managerjaid",
    "tempmanagerjaid",
    "tempmanagerexpirydate",
    "appraiserid",
    "staffcount",
    "tempstaffcount",
)


@dataclass(slots=True)
class ApiSettings:
    """How the API is set on the site."""

    enabled: bool = True
    # 0 none, 1 normal, 2 developer: from 1 on an error says what it was.
    response_debug: int = 1
    max_complexity: int = 6000
    max_depth: int = 15
    client_rate_limit: int = 250_000
    introspection: bool = False
    # Beyond the stock role: sees every e-mail address and the frameworks of positions and organisations.
    wide_role: bool = False
    # 18.7's filter and field; off, they are ignored as 17 ignores them.
    since_filter: bool = False
    # 19's reads and writes of positions and organisations.
    hierarchies: bool = False


@dataclass(slots=True)
class _Run:
    """One operation being answered."""

    source: str
    variables: Mapping[str, Any]
    cost: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)


class _RequestFault(Exception):
    def __init__(self, message: str, category: str, location: dict[str, int] | None = None) -> None:
        super().__init__(message)
        self.category = category
        self.location = location


class GraphQl:
    """Answers GraphQL requests from a site."""

    def __init__(self, site: TotaraSite, settings: ApiSettings) -> None:
        self.site = site
        self.settings = settings
        self.service_account = "apisvc"
        self.refused: set[str] = set()
        """Id numbers that the site makes nothing with, for a reason of its own: a test's to fill."""

    # -- requests ---------------------------------------------------------------------------------

    def answer(self, payload: Any) -> tuple[Any, int]:
        """The answer to a request's JSON and what it cost; a list is answered one by one, each for itself."""
        if isinstance(payload, list):
            answers, total = [], 0
            for entry in payload:
                body, cost = self._one(entry)
                body.pop("error", None)
                answers.append(body)
                total += cost
            return answers, total
        return self._one(payload)

    def fault(self, debug: str, *, category: str = "internal", message: str = GENERIC) -> dict[str, Any]:
        """A whole-request error body, as the site words it."""
        return {"errors": [self._error(debug, message=message, category=category)], "error": message}

    def _error(
        self,
        debug: str | None,
        *,
        message: str = GENERIC,
        category: str = "internal",
        location: dict[str, int] | None = None,
        path: list[Any] | None = None,
    ) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        if debug is not None and self.settings.response_debug >= 1:
            entry["debugMessage"] = debug
        entry |= {"message": message, "extensions": {"category": category}}
        if location is not None:
            entry["locations"] = [location]
        if path is not None:
            entry["path"] = path
        return entry

    def _one(self, payload: Any) -> tuple[dict[str, Any], int]:
        if not isinstance(payload, Mapping) or not isinstance(payload.get("query"), str):
            return self.fault("Invalid request, request cannot be empty"), 0
        source = payload["query"]
        try:
            operation = self._operation(source, payload.get("operationName"))
            variables = self._variables(operation, payload.get("variables") or {}, source)
            self._check_shape(operation, source)
        except SyntaxFault as error:
            return self._refusal(str(error), "graphql", error.location), 0
        except _RequestFault as error:
            return self._refusal(str(error), error.category, error.location), 0
        except InvalidValue as error:
            place = operation.variables[error.variable][2]
            entry = self._error(str(error), location=locate(source, place))
            return {"errors": [entry], "error": GENERIC}, 0
        run = _Run(source, variables)
        with self.site.lock:
            data = self._execute(operation, run)
        if run.errors:
            joined = ", ".join(dict.fromkeys(error["message"] for error in run.errors))
            return {"errors": run.errors, "error": joined}, run.cost
        return {"data": data}, run.cost

    def _refusal(self, message: str, category: str, location: dict[str, int] | None) -> dict[str, Any]:
        return {"errors": [self._error(None, message=message, category=category, location=location)], "error": message}

    @staticmethod
    def _operation(source: str, name: Any) -> Operation:
        operations = parse(source)
        chosen = [operation for operation in operations if not name or operation.name == name]
        if not chosen:
            message = "Must provide an operation."
            raise _RequestFault(message, "graphql")
        return chosen[0]

    def _variables(self, operation: Operation, given: Mapping[str, Any], source: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, (declared, default, place) in operation.variables.items():
            value = given.get(name, default)
            values[name] = value
            required = _REQUIRED.get(declared.rstrip("!"), {})
            if not isinstance(value, Mapping):
                continue
            shown = json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("/", "\\/")
            for member, kind in required.items():
                if value.get(member) is None:
                    message = (
                        f'Variable "${name}" got invalid value {shown}; Field value.{member} of required type {kind} '
                        "was not provided."
                    )
                    raise _RequestFault(message, "graphql", locate(source, place))
            for member, kind in _SCALARS.items():
                if value.get(member) is not None and not _scalar_fits(kind, value[member]):
                    message = (
                        f'Variable "${name}" got invalid value {shown}; Expected type {kind} at value.{member}; '
                        "Invalid parameter value detected"
                    )
                    raise InvalidValue(message, name)
        return values

    def _check_shape(self, operation: Operation, source: str) -> None:
        deepest = max((_depth(selection, 0) for selection in operation.selections), default=0)
        for selection in operation.selections:
            if selection.name in {"__schema", "__type"} and not self.settings.introspection:
                message = "GraphQL introspection is not enabled."
                raise _RequestFault(message, "graphql", locate(source, selection.position))
        if deepest > self.settings.max_depth:
            message = f"Max query depth should be {self.settings.max_depth} but got {deepest}."
            raise _RequestFault(message, "graphql")

    # -- executing --------------------------------------------------------------------------------

    def _execute(self, operation: Operation, run: _Run) -> Any:
        roots = self._queries() if operation.kind == "query" else self._mutations()
        data: dict[str, Any] = {}
        for selection in operation.selections:
            resolve = roots.get(selection.name)
            if resolve is None:
                continue
            arguments = {name: _bound(value, run.variables) for name, value in selection.arguments.items()}
            try:
                if str((arguments.get("input") or {}).get("idnumber") or "") in self.refused:
                    raise ApiFault("It may not be made here")
                value = resolve(arguments)
            except ApiFault as fault:
                run.errors.append(
                    self._error(str(fault), location=locate(run.source, selection.position), path=[selection.alias])
                )
                return None
            data[selection.alias] = self._shape(value, selection, run, [selection.alias])
        # PHP's empty array: neither object nor list.
        return data or []

    def _shape(self, value: Any, selection: Field, run: _Run, path: list[Any]) -> Any:
        if value is None:
            return None
        if isinstance(value, list):
            return [self._shape(entry, selection, run, [*path, number]) for number, entry in enumerate(value)]
        if selection.selections is None:
            run.cost += 1
            if run.cost > self.settings.max_complexity:
                message = f"Query complexity exceeded maximum allowed complexity of {self.settings.max_complexity}."
                run.errors.append(
                    self._error(
                        None,
                        message=message,
                        category="query_complexity",
                        location=locate(run.source, selection.position),
                        path=path,
                    )
                )
            return value
        shaped: dict[str, Any] = {}
        for wanted in selection.selections:
            found, inner = self._member(value, wanted, run)
            if found:
                shaped[wanted.alias] = self._shape(inner, wanted, run, [*path, wanted.alias])
        return shaped

    def _member(self, owner: Any, wanted: Field, run: _Run) -> tuple[bool, Any]:
        """The value of a field; a field nobody knows is simply not there."""
        if isinstance(owner, dict):
            return wanted.name in owner, owner.get(wanted.name)
        arguments = {name: _bound(value, run.variables) for name, value in wanted.arguments.items()}
        members: Mapping[str, Callable[[Any, dict[str, Any]], Any]]
        if isinstance(owner, User):
            members = self._user_members()
        elif isinstance(owner, Job):
            members = self._job_members()
        else:
            members = self._item_members()
        reader = members.get(wanted.name)
        if reader is None:
            return False, None
        return True, reader(owner, arguments)

    # -- what may be asked ------------------------------------------------------------------------

    def _queries(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        found: dict[str, Callable[[dict[str, Any]], Any]] = {
            "totara_webapi_status": lambda _: _Status(self.site.now()).members,
            "core_user_users": self._users,
            "totara_job_job_assignments": self._jobs,
        }
        if self.settings.hierarchies:
            found["totara_hierarchy_positions"] = lambda arguments: self._items("pos", arguments)
            found["totara_hierarchy_organisations"] = lambda arguments: self._items("org", arguments)
        return found

    def _mutations(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        site = self.site
        return {
            **(self._place_mutations() if self.settings.hierarchies else {}),
            "core_user_create_user": lambda a: {"user": create_user(site, a.get("input") or {})},
            "core_user_update_user": lambda a: {
                "user": update_user(site, a.get("target_user") or {}, a.get("input") or {})
            },
            "core_user_delete_user": lambda a: {
                "user_id": delete_user(site, a.get("target_user") or {}, self.service_account)
            },
            "totara_job_create_job_assignment": lambda a: {"job_assignment": create_job(site, a.get("input") or {})},
            "totara_job_update_job_assignment": lambda a: {
                "job_assignment": update_job(site, a.get("target_job") or {}, a.get("input") or {})
            },
            "totara_job_delete_job_assignment": lambda a: {
                "job_assignment_id": delete_job(site, a.get("target_job") or {})
            },
        }

    def _place_mutations(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        site = self.site
        found: dict[str, Callable[[dict[str, Any]], Any]] = {}
        for element, word in (("pos", "position"), ("org", "organisation")):
            target = f"target_{word}"
            found[f"totara_hierarchy_create_{word}"] = lambda a, e=element, w=word: {  # type: ignore[misc]  # bound now
                w: create_place(site, e, a.get("input") or {})
            }
            found[f"totara_hierarchy_update_{word}"] = lambda a, e=element, w=word, t=target: {  # type: ignore[misc]
                w: update_place(site, e, a.get(t) or {}, a.get("input") or {})
            }
            found[f"totara_hierarchy_delete_{word}"] = lambda a, e=element, w=word, t=target: {  # type: ignore[misc]
                f"{w}_id": delete_place(site, e, a.get(t) or {})
            }
        return found

    def _users(self, arguments: dict[str, Any]) -> Any:
        keys: dict[str, Callable[[Any], Any]] = {
            "id": lambda user: user.id,
            "firstname": lambda user: (user.fields or {}).get("firstname", ""),
            "lastname": lambda user: (user.fields or {}).get("lastname", ""),
            "username": lambda user: user.username,
            "timemodified": lambda user: user.timemodified,
        }
        return self._page(sorted(self.site.state.live_users(), key=lambda user: user.id), keys, USER_SORTS, arguments)

    def _jobs(self, arguments: dict[str, Any]) -> Any:
        keys: dict[str, Callable[[Any], Any]] = {
            "id": lambda job: job.id,
            "userid": lambda job: job.user.id,
            "startdate": lambda job: job.startdate or 0,
            "enddate": lambda job: job.enddate or 0,
            "managerjaid": lambda job: job.manager.id if job.manager else 0,
        }
        return self._page(self.site.state.sorted_jobs(), keys, JOB_SORTS, arguments)

    def _items(self, element: str, arguments: dict[str, Any]) -> Any:
        items = sorted(self.site.state.hierarchy(element).items.values(), key=lambda item: item.id)
        return self._page(items, {"id": lambda item: item.id}, ("id",), arguments)

    def _page(
        self,
        rows: list[Any],
        keys: dict[str, Callable[[Any], Any]],
        sortable: tuple[str, ...],
        arguments: dict[str, Any],
    ) -> dict[str, Any]:
        query = arguments.get("query") or {}
        if self.settings.since_filter:
            since = (query.get("filters") or {}).get("since_timemodified")
            if since is not None:
                rows = [row for row in rows if row.timemodified >= int(since)]
        sorts = query.get("sort") or [{"column": "id"}]
        if len(sorts) > 1:
            raise ApiFault("Sorting by more than one column is not currently supported.")
        column = sorts[0].get("column", "id")
        if column not in sortable:
            raise ApiFault(
                "Coding error detected, it must be fixed by a programmer: sort field must be one of these: "
                + ", ".join(sortable)
            )
        key = keys.get(column, keys["id"])
        descending = str(sorts[0].get("direction", "ASC")).upper() == "DESC"
        # Ties come as the database has them: by id, whatever the direction.
        ordered = sorted(rows, key=key, reverse=descending)
        pagination = query.get("pagination") or {}
        limit = int(pagination.get("limit") or 20)
        after = _decode_cursor(pagination["cursor"], column) if pagination.get("cursor") else None
        if after is not None:
            # The cursor knows the value, not the row: what shares it with the last row is lost.
            wanted = type(key(ordered[0]))(after) if ordered else after
            ordered = [row for row in ordered if (key(row) < wanted if descending else key(row) > wanted)]
        page = ordered[:limit]
        more = len(ordered) > limit
        return {
            "total": len(rows),
            "next_cursor": _encode_cursor(limit, column, key(page[-1])) if more else "",
            "items": page,
        }

    # -- fields -----------------------------------------------------------------------------------

    def _user_members(self) -> dict[str, Callable[[Any, dict[str, Any]], Any]]:
        def stored(name: str) -> Callable[[Any, dict[str, Any]], Any]:
            return lambda user, _: (user.fields or {}).get(name, "")

        return {
            "id": lambda user, _: str(user.id),
            "idnumber": lambda user, _: user.idnumber,
            "username": lambda user, _: user.username,
            "fullname": lambda user, _: full_name(user),
            "email": lambda user, _: user.email if self._sees_email(user) else None,
            "suspended": lambda user, _: user.suspended,
            "timemodified": lambda user, a: self._date(user.timemodified, a),
            "custom_fields": lambda user, _: [
                {"shortname": name.removeprefix("customfield_"), "data": str(value)}
                for name, value in _custom_in_site_order(self.site, user)
            ],
            "job_assignments": lambda user, _: list(self.site.state.jobs_of.get(user.id, ())),
            **{name: stored(name) for name in ("firstname", "lastname", "city", "country", "lang", "auth", "timezone")},
            **{name: stored(name) for name in ("address", "department", "institution", "phone1", "phone2", "url")},
            **{name: stored(name) for name in ("middlename", "alternatename", "description")},
        }

    def _sees_email(self, user: User) -> bool:
        return self.settings.wide_role or user.username == "admin" or bool((user.fields or {}).get("maildisplay"))

    def _job_members(self) -> dict[str, Callable[[Any, dict[str, Any]], Any]]:
        def reference(name: str) -> Callable[[Any, dict[str, Any]], Any]:
            return lambda job, _: str(getattr(job, name).id) if getattr(job, name) is not None else None

        members: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
            "id": lambda job, _: str(job.id),
            "idnumber": lambda job, _: job.idnumber,
            "userid": lambda job, _: str(job.user.id),
            "user": lambda job, _: job.user,
            "fullname": lambda job, _: job.fullname or f"Unnamed job assignment (ID: {job.idnumber})",
            "startdate": lambda job, a: self._date(job.startdate, a),
            "enddate": lambda job, a: self._date(job.enddate, a),
            "position": lambda job, _: job.position,
            "positionid": reference("position"),
            "organisation": lambda job, _: job.organisation,
            "organisationid": reference("organisation"),
            "managerja": lambda job, _: job.manager,
            "managerjaid": reference("manager"),
            "tempmanagerja": lambda job, _: job.tempmanager,
            "tempmanagerjaid": reference("tempmanager"),
            "appraiser": lambda job, _: job.appraiser,
            "appraiserid": reference("appraiser"),
            "staffcount": lambda job, _: sum(other.manager is job for other in self.site.state.jobs.values()),
        }
        if self.settings.since_filter:
            members["timemodified"] = lambda job, a: self._date(job.timemodified, a)
        return members

    def _item_members(self) -> dict[str, Callable[[Any, dict[str, Any]], Any]]:
        def stored(name: str) -> Callable[[Any, dict[str, Any]], Any]:
            return lambda item, _: (item.fields or {}).get(name, "")

        return {
            "id": lambda item, _: str(item.id),
            "idnumber": lambda item, _: item.idnumber,
            "fullname": stored("fullname"),
            "shortname": stored("shortname"),
            "description": stored("description"),
            "parent": lambda item, _: item.parent,
            "framework": lambda item, _: self._framework(item) if self.settings.wide_role else None,
            "type": lambda item, _: self._type(item),
        }

    def _framework(self, item: Item) -> dict[str, str] | None:
        for hierarchy in self.site.state.hierarchies.values():
            if hierarchy.items.get(item.id) is item:
                return {"id": str(hierarchy.frameworks.get(item.framework, 0)), "idnumber": item.framework}
        return None

    def _type(self, item: Item) -> dict[str, str] | None:
        for hierarchy in self.site.state.hierarchies.values():
            if hierarchy.items.get(item.id) is item and item.type in hierarchy.types:
                return {"id": str(list(hierarchy.types).index(item.type) + 1), "idnumber": item.type}
        return None

    def _date(self, moment: int | None, arguments: dict[str, Any]) -> str | None:
        if not moment:
            return None
        shape = str(arguments.get("format", "TIMESTAMP"))
        local = dt.datetime.fromtimestamp(moment, ZoneInfo(self.site.settings.timezone))
        if shape == "ISO8601":
            return local.strftime("%Y-%m-%dT%H:%M:%S%z")
        if shape == "TIMESTAMP":
            return str(moment)
        return f"{local.day:02}/{local.month:02}/{local.year}"


@dataclass(frozen=True, slots=True)
class _Status:
    moment: int

    @property
    def members(self) -> dict[str, Any]:
        """The site is up, at this time."""
        stamp = dt.datetime.fromtimestamp(self.moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S%z")
        return {"status": "ok", "timestamp": stamp}


# What the schema requires of an input, by type; and the members whose text is checked.
_REQUIRED = {
    "core_user_create_user_input": {
        "username": "param_username!",
        "email": "param_email!",
        "firstname": "String!",
        "lastname": "String!",
    },
    "totara_job_create_job_assignment_input": {"user": "core_user_user_reference!", "idnumber": "String!"},
}
_SCALARS = {
    "email": "param_email",
    "start_date": "core_date",
    "end_date": "core_date",
    "temp_manager_expiry_date": "core_date",
}


def _scalar_fits(kind: str, value: Any) -> bool:
    text = str(value)
    if kind == "param_email":
        local, at, domain = text.partition("@")
        return bool(local and at and domain) and " " not in text
    if text.lstrip("-").isdigit():
        return True
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _depth(selection: Field, level: int) -> int:
    """The depth of the deepest field that has fields of its own; a root field is at 0."""
    if selection.selections is None:
        return 0
    return max([level, *(_depth(inner, level + 1) for inner in selection.selections)])


def _bound(value: Any, variables: Mapping[str, Any]) -> Any:
    if isinstance(value, Variable):
        return variables.get(value.name)
    if isinstance(value, list):
        return [_bound(entry, variables) for entry in value]
    if isinstance(value, dict):
        return {name: _bound(entry, variables) for name, entry in value.items()}
    return value


def _encode_cursor(limit: int, column: str, value: Any) -> str:
    shown = value if column == "id" else str(value)
    plain = json.dumps({"limit": limit, "columns": {column: shown}}, separators=(",", ":"))
    return base64.b64encode(plain.encode()).decode()


def _decode_cursor(text: str, column: str) -> Any:
    try:
        value = json.loads(base64.b64decode(text, validate=True))["columns"][column]
    except (ValueError, KeyError, TypeError) as error:
        raise ApiFault(
            "Coding error detected, it must be fixed by a programmer: Invalid cursor given, expected array encoded as "
            "json and base64."
        ) from error
    return value


def _custom_in_site_order(site: TotaraSite, user: User) -> list[tuple[str, Any]]:
    order = {f"customfield_{name}": place for place, name in enumerate(site.settings.user_custom_fields)}
    found = [
        (name, value)
        for name, value in (user.fields or {}).items()
        if name.startswith("customfield_") and value not in {None, ""}
    ]
    return sorted(found, key=lambda pair: order.get(pair[0], len(order)))


def full_name(user: User) -> str:
    """First and last name, as the site joins them."""
    fields = user.fields or {}
    return f"{fields.get('firstname', '')} {fields.get('lastname', '')}".strip()


def escaped(text: str) -> str:
    """A name as the web services return it: HTML, quotes as numbers."""
    return html.escape(text, quote=False).replace('"', "&#34;").replace("'", "&#39;")


__all__ = ["ApiSettings", "GraphQl", "escaped", "full_name"]
