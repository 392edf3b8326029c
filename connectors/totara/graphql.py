"""Totara's external GraphQL API (17 and later) with what its answers do not say filled in.

Nearly every fault is HTTP 200; a field or an argument the site does not know is dropped without a word; aliased
mutations stop at the first failure and lose the answers of those before it; a cursor that sorts by anything but
the id loses rows; a 429 does not say how long to wait. So: one mutation an operation, sent as an array; pages by
id only; what a site can do is believed when it comes back.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.ports import (
    AccessEnded,
    AccessNotGiven,
    BridgeError,
    FixConfiguration,
    OutcomeUnknown,
    RetryLater,
    SkipItem,
    StopRun,
)
from connectors.http import HttpTransport, Redactor, TransportFault, retrying, without_query

_TOKEN_PATH = "/totara/oauth2/token.php"  # noqa: S105 - an address, not a secret
_GRAPHQL_PATH = "/api/graphql.php"
# The site's own limits where nobody changed them (recorded): fields a query, depth, cost a minute a client.
MAX_COMPLEXITY = 6_000
MINUTE_LIMIT = 250_000
# A token is renewed this long before it ends, so that none ends on the way.
_EARLY = 60.0
_INVALID_TOKEN = "access token"  # noqa: S105 - words of an error message


@dataclass(frozen=True, slots=True)
class GraphQlOptions:
    """How to reach the API. The client's id and secret come from the site's API client."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    max_complexity: int = MAX_COMPLEXITY
    minute_limit: int = MINUTE_LIMIT
    attempts: int = 5


@dataclass(frozen=True, slots=True)
class Mutation:
    """One write: the mutation's field, its arguments with their types, and the fields wanted back."""

    name: str
    arguments: Mapping[str, tuple[str, Any]]
    wanted: str

    def operation(self) -> dict[str, Any]:
        """The request of this one mutation."""
        declared = ", ".join(f"${name}: {kind}" for name, (kind, _) in self.arguments.items())
        passed = ", ".join(f"{name}: ${name}" for name in self.arguments)
        query = f"mutation m({declared}) {{ {self.name}({passed}) {{ {self.wanted} }} }}"
        return {"query": query, "variables": {name: value for name, (_, value) in self.arguments.items()}}


@dataclass(frozen=True, slots=True)
class MutationResult:
    """What became of one write: its data, or why not. ``error`` is SkipItem or OutcomeUnknown."""

    data: Mapping[str, Any] | None = None
    error: BridgeError | None = None


@dataclass(slots=True)
class Proven:
    """What the site showed it can do."""

    users: bool = False
    jobs: bool = False
    since_filter: bool = False
    positions: bool = False
    organisations: bool = False
    frameworks_visible: bool = False
    emails_visible: bool = False
    notes: list[str] = field(default_factory=list)


class GraphQlClient:
    """Talks to one site. Safe to use from several threads."""

    def __init__(
        self,
        options: GraphQlOptions,
        transport: HttpTransport | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self._redact = Redactor([options.client_secret])
        self._transport = transport or HttpTransport(redact=self._redact)
        self._base = options.url.rstrip("/")
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._token: tuple[str, float] | None = None
        self._spent: list[tuple[float, int]] = []
        self._may_send: Callable[[bool], None] = lambda _writes: None

    def guard(self, check: Callable[[bool], None]) -> None:
        """Ask `check` before each request whether it may be sent, telling it whether that writes."""
        self._may_send = check

    # -- token ------------------------------------------------------------------------------------

    def token(self) -> str:
        """The access token, fetched when there is none or it is about to end.

        Raises:
            AccessNotGiven: the site refuses this client.
            FixConfiguration: there is no API at this address.
        """
        with self._lock:
            if self._token is None or self._token[1] <= self._clock():
                self._token = self._fetch_token()
            return self._token[0]

    def _fetch_token(self) -> tuple[str, float]:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.options.client_id,
            "client_secret": self.options.client_secret,
        }
        url = self._base + _TOKEN_PATH
        try:
            reply = self._transport.post(url, form)
        except TransportFault as error:
            raise RetryLater(f"No access token: {error}. Try again later.") from None
        answer = _json(reply.text)
        if reply.status in (401, 403):
            message = f"{without_query(url)} refuses this API client ({reply.status}). Check its id and secret there."
            raise AccessNotGiven(message)
        if reply.status != 200 or not isinstance(answer, dict):
            message = f"{without_query(url)} gave no token ({reply.status}). Check the address."
            raise FixConfiguration(message)
        if "access_token" not in answer:
            # An error comes with status 200 as well.
            said = str(answer.get("hint") or answer.get("error_description") or answer.get("error") or "no reason")
            message = (
                f"The site gave no access token: {self._redact(said)}. Check the API client's id and secret, that it "
                "is enabled, and that the API is switched on."
            )
            raise AccessNotGiven(message)
        lifetime = float(answer.get("expires_in", 3600))
        return str(answer["access_token"]), self._clock() + max(lifetime - _EARLY, lifetime / 2)

    def _forget_token(self, token: str) -> None:
        with self._lock:
            if self._token is not None and self._token[0] == token:
                self._token = None

    # -- sending ----------------------------------------------------------------------------------

    def _budget(self, cost: int) -> None:
        """Wait until the minute's cost leaves room: the site's 429 does not say how long."""
        while True:
            now = self._clock()
            with self._lock:
                self._spent = [(moment, spent) for moment, spent in self._spent if moment > now - 60]
                total = sum(spent for _, spent in self._spent)
                if not self._spent or total + cost <= self.options.minute_limit:
                    self._spent.append((now, cost))
                    return
                wait = self._spent[0][0] + 60 - now
            self._sleep(max(wait, 0.05))

    def _post(self, payload: Any, cost: int, *, write: bool) -> Any:
        """One request; a token that ended meanwhile is renewed once."""
        for attempt in (1, 2):
            self._budget(cost)
            token = self.token()
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
            url = self._base + _GRAPHQL_PATH
            self._may_send(write)
            try:
                reply = self._transport.post(url, json.dumps(payload).encode(), headers)
            except TransportFault as error:
                if write and error.sent:
                    raise OutcomeUnknown(f"{error}. Look what the site holds before sending it again.") from None
                raise RetryLater(f"{error}. Try again later.") from None
            answer = _json(reply.text)
            if reply.status == 429:
                raise RetryLater("The site's rate limit is used up; it counts a minute.", 60.0)
            if reply.status == 400:
                raise FixConfiguration(f"The site refused the request: {_said(answer)}. Switch the external API on.")
            if reply.status >= 500:
                message = f"{without_query(url)} answered {reply.status}."
                raise OutcomeUnknown(message) if write else RetryLater(message)
            if answer is None:
                message = f"{without_query(url)} answered with something that is no JSON."
                raise OutcomeUnknown(message) if write else StopRun(message + " Check the address.")
            if isinstance(answer, dict) and _turned_away(answer):
                # With debugging off a site calls this, like anything else, an internal error: only a new token tells.
                self._forget_token(token)
                if attempt == 1:
                    continue
                if _INVALID_TOKEN in _said(answer) or _category(answer) == "api_access":
                    says = "The site does not accept its own new access token. Look at the API client there."
                    raise AccessEnded(says)
            return answer
        raise AssertionError("two attempts end in an answer or an error")

    def query(self, text: str, variables: Mapping[str, Any] | None = None, *, cost: int = 1) -> Mapping[str, Any]:
        """The data of a query, retried while the site is busy.

        Raises:
            StopRun: the query is refused; FixConfiguration: the API is off.
        """
        payload = {"query": text, "variables": dict(variables or {})}
        for attempt in retrying(attempts=self.options.attempts, sleep=self._sleep):
            with attempt:
                answer = self._post(payload, cost, write=False)
        if not isinstance(answer, dict) or answer.get("errors"):
            if _category(answer) == "query_complexity":
                raise TooComplex(_said(answer))
            raise StopRun(f"The site refused a query: {self._redact(_said(answer))}.")
        data = answer.get("data")
        # Nothing of what was asked is known there: PHP's empty list.
        return data if isinstance(data, dict) else {}

    def pages(
        self, name: str, kind: str, wanted: str, *, fields: int, filters: Mapping[str, Any] | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Every item of a paged query, by id, in pages as large as the site's complexity allows.

        ``fields`` is how many fields an item costs; a page the site finds too complex is halved.
        """
        limit = max(1, self.options.max_complexity // max(fields, 1))
        cursor = ""
        seen: set[str] = set()
        text = f"query q($q: {kind}) {{ {name}(query: $q) {{ total next_cursor items {{ id {wanted} }} }} }}"
        while True:
            pagination = {"limit": limit, **({"cursor": cursor} if cursor else {})}
            asked: dict[str, Any] = {"pagination": pagination, "sort": [{"column": "id", "direction": "ASC"}]}
            if filters:
                asked["filters"] = dict(filters)
            try:
                data = self.query(text, {"q": asked}, cost=limit * fields)
            except TooComplex:
                if limit == 1:
                    raise StopRun(f"Even one item of {name} is too complex for the site's limit.") from None
                limit = max(1, limit // 2)
                continue
            if name not in data:
                raise StopRun(f"This site does not know {name}.")
            page = data[name]
            for item in page["items"]:
                if item["id"] not in seen:
                    seen.add(item["id"])
                    yield item
            following = page.get("next_cursor") or ""
            if not following or following == cursor:
                return
            cursor = following

    def mutate(self, mutations: Sequence[Mutation]) -> list[MutationResult]:
        """Carry out writes, each for itself: one that fails does not touch the others.

        A broken connection leaves all of them unknown; nothing is sent twice.
        """
        if not mutations:
            return []
        payload = [mutation.operation() for mutation in mutations]
        try:
            # Only what surely was not carried out (a limit used up, no connection) is sent again.
            for attempt in retrying(attempts=self.options.attempts, sleep=self._sleep):
                with attempt:
                    answer = self._post(payload, len(mutations) * 20, write=True)
        except OutcomeUnknown as error:
            return [MutationResult(error=error) for _ in mutations]
        if isinstance(answer, dict) and answer.get("errors"):
            # One answer to all of them: the request was turned away before the first was looked at.
            message = (
                f"The site refused a request with {len(mutations):,} writes: {self._redact(_said(answer))}. Look at "
                "the API client and its service account there."
            )
            raise AccessEnded(message)
        answers = answer if isinstance(answer, list) else [answer]
        if len(answers) != len(mutations):
            unknown = OutcomeUnknown("The site answered another number of writes than were sent. Look what it holds.")
            return [MutationResult(error=unknown) for _ in mutations]
        return [self._result(mutation, one) for mutation, one in zip(mutations, answers, strict=True)]

    def _result(self, mutation: Mutation, answer: Any) -> MutationResult:
        if isinstance(answer, dict) and answer.get("errors"):
            return MutationResult(error=SkipItem(f"The site refused it: {self._redact(_said(answer))}"))
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict) or mutation.name not in data:
            # A mutation the site does not know is dropped as silently as a field.
            return MutationResult(error=SkipItem(f"This site does not know {mutation.name}; nothing was done."))
        return MutationResult(data=data[mutation.name] or {})

    # -- what the site can do ---------------------------------------------------------------------

    def prove(self) -> Proven:
        """What the site can do, believed only where it came back: what it does not know it ignores in silence."""
        proven = Proven()
        page = {"pagination": {"limit": 25}, "sort": [{"column": "id", "direction": "ASC"}]}
        users = self.query(
            "query q($q: core_user_users_query) { core_user_users(query: $q) { total items { id email } } }",
            {"q": page},
        ).get("core_user_users")
        proven.users = isinstance(users, dict) and "total" in users
        if isinstance(users, dict):
            proven.emails_visible = all(item.get("email") is not None for item in users.get("items", ()))
        if not proven.emails_visible:
            proven.notes.append(
                "Some e-mail addresses are hidden from the API account: give its role moodle/site:viewuseridentity."
            )
        jobs = self.query(
            "query q($q: totara_job_job_assignments_query) { totara_job_job_assignments(query: $q) "
            "{ total items { id timemodified position { id framework { idnumber } } } } }",
            {"q": page},
        ).get("totara_job_job_assignments")
        proven.jobs = isinstance(jobs, dict) and "total" in jobs
        if isinstance(jobs, dict):
            items = jobs.get("items", ())
            placed = [item["position"] for item in items if item.get("position")]
            proven.frameworks_visible = bool(placed) and all(one.get("framework") is not None for one in placed)
            if placed and not proven.frameworks_visible:
                proven.notes.append(
                    "Frameworks are hidden from the API account: give its role "
                    "totara/hierarchy:viewpositionframeworks and vieworganisationframeworks."
                )
            proven.since_filter = self._filters_by_time(items, int(jobs.get("total", 0)))
        roots = self.query("query { totara_hierarchy_positions { total } totara_hierarchy_organisations { total } }")
        proven.positions = "totara_hierarchy_positions" in roots
        proven.organisations = "totara_hierarchy_organisations" in roots
        return proven

    def _filters_by_time(self, items: Sequence[Mapping[str, Any]], total: int) -> bool:
        """Whether a filter by time has an effect: a moment far ahead must find nothing."""
        if not total or not all("timemodified" in item for item in items):
            return False
        asked = {"pagination": {"limit": 1}, "filters": {"since_timemodified": str(int(self._clock()) + 10**8)}}
        text = "query q($q: totara_job_job_assignments_query) { totara_job_job_assignments(query: $q) { total } }"
        found = self.query(text, {"q": asked}).get("totara_job_job_assignments")
        return isinstance(found, dict) and found.get("total") == 0

    def close(self) -> None:
        """Give back connections."""
        self._transport.close()


class TooComplex(StopRun):
    """The site counted more fields than it allows in one query."""


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _said(answer: Any) -> str:
    """What the site says went wrong; with response debugging off it is only "Internal server error"."""
    if not isinstance(answer, dict):
        return "nothing"
    texts = [
        str(error.get("debugMessage") or error.get("message"))
        for error in answer.get("errors") or ()
        if isinstance(error, dict)
    ]
    return "; ".join(dict.fromkeys(texts)) or str(answer.get("error") or "nothing")


def _turned_away(answer: Mapping[str, Any]) -> bool:
    """Whether a whole request was refused before anything in it was looked at, as one with a dead token is."""
    errors = [one for one in answer.get("errors") or () if isinstance(one, dict)]
    if not errors or any("path" in one or "locations" in one for one in errors):
        return False
    return _INVALID_TOKEN in _said(answer) or _category(answer) in {"internal", "api_access"}


def _category(answer: Any) -> str:
    errors = answer.get("errors") if isinstance(answer, dict) else None
    first = errors[0] if errors else {}
    return str((first.get("extensions") or {}).get("category", "")) if isinstance(first, dict) else ""


# --- Writes ---------------------------------------------------------------------------------------------------------


def create_user(values: Mapping[str, Any]) -> Mutation:
    """Make an account; ``values`` as the site's ``core_user_create_user_input``."""
    return Mutation("core_user_create_user", {"input": ("core_user_create_user_input!", dict(values))}, _USER_BACK)


def update_user(idnumber: str, values: Mapping[str, Any]) -> Mutation:
    """Change an account found by id number."""
    return Mutation(
        "core_user_update_user",
        {
            "target_user": ("core_user_user_reference!", {"idnumber": idnumber}),
            "input": ("core_user_update_user_input!", dict(values)),
        },
        _USER_BACK,
    )


def delete_user(idnumber: str) -> Mutation:
    """Delete an account found by id number."""
    return Mutation(
        "core_user_delete_user",
        {"target_user": ("core_user_user_reference!", {"idnumber": idnumber})},
        "user_id",
    )


_USER_BACK = "user { id idnumber username firstname lastname email suspended }"
_JOB_BACK = (
    "job_assignment { id idnumber fullname startdate enddate position { idnumber } organisation { idnumber } "
    "managerja { idnumber user { idnumber } } }"
)


def create_job(values: Mapping[str, Any]) -> Mutation:
    """Make a job assignment; ``values`` as the site's ``totara_job_create_job_assignment_input``."""
    return Mutation(
        "totara_job_create_job_assignment",
        {"input": ("totara_job_create_job_assignment_input!", dict(values))},
        _JOB_BACK,
    )


def _job_reference(idnumber: str, person: str) -> tuple[str, Any]:
    # An id number alone is ambiguous as soon as two people's jobs share it.
    return "totara_job_job_assignment_reference!", {"idnumber": idnumber, "user": {"idnumber": person}}


def update_job(idnumber: str, person: str, values: Mapping[str, Any]) -> Mutation:
    """Change a person's job assignment; a null clears."""
    return Mutation(
        "totara_job_update_job_assignment",
        {
            "target_job": _job_reference(idnumber, person),
            "input": ("totara_job_update_job_assignment_input!", dict(values)),
        },
        _JOB_BACK,
    )


def delete_job(idnumber: str, person: str) -> Mutation:
    """Delete a person's job assignment."""
    return Mutation(
        "totara_job_delete_job_assignment", {"target_job": _job_reference(idnumber, person)}, "job_assignment_id"
    )
