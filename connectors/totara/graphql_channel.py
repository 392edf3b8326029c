"""The API as the owner channel of kinds: what it shows of them, and one write a change, each for itself.

People and their jobs from Totara 17, positions and organisations from 19. Unlike HR Import it answers while it is
asked; what an answer that broke off left behind is looked up. What a write came back with is compared with what was
sent: a site drops what it does not know without a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from bridge.ports import (
    AccessEnded,
    AccessRefused,
    Action,
    BridgeError,
    Change,
    Finding,
    FixConfiguration,
    Found,
    Outcome,
    OutcomeUnknown,
    Status,
    StopRun,
    outcome_of,
)
from connectors.totara.channels import PLURAL, SINCE
from connectors.totara.graphql import GraphQlClient, Mutation, MutationResult, Proven
from connectors.totara.graphql_people import Accounts, Jobs
from connectors.totara.graphql_places import Places
from connectors.totara.hierarchies import ORGANISATION, POSITION, Hierarchies
from connectors.totara.hrimport.files import managers_first
from connectors.totara.people import JOB, PERSON, People

TOKEN = "graphql"  # noqa: S105 - what its receipts are known by
BATCH = 40
"""Writes in one request: few enough that a request cut off leaves little to look up."""

_TAKEN = re.compile(r"already exists", re.IGNORECASE)


class KindApi(Protocol):
    """How one kind is read and written."""

    kind: str

    def sendable(self, name: str) -> bool:
        """Whether the API can be told a field."""

    def read(self, client: GraphQlClient) -> Iterator[Found]:
        """Everything of the kind."""

    def refusal(self, change: Change) -> str:
        """Why a change cannot be said; empty where it can."""

    def mutation(self, change: Change) -> Mutation:
        """The write of a change."""

    def differs(self, change: Change, answer: Mapping[str, Any]) -> str:
        """What the site holds other than it was told."""


class GraphQlChannel:
    """The API of one site."""

    def __init__(self, client: GraphQlClient, hierarchies: Hierarchies, people: People) -> None:
        self._client = client
        self._reserved = people.options.reserved
        self._kinds: dict[str, KindApi] = {
            PERSON: Accounts(people),
            JOB: Jobs(people),
            ORGANISATION: Places(ORGANISATION, hierarchies),
            POSITION: Places(POSITION, hierarchies),
        }
        self._proven: Proven | None = None
        self._unreached: BridgeError | None = None

    def guard(self, check: Callable[[bool], None]) -> None:
        """Ask `check` before each request whether it may be sent."""
        self._client.guard(check)

    def proven(self) -> Proven:
        """What the site showed it can do, asked once; a site that could not be asked is not tried again and again."""
        if self._unreached is not None:
            raise self._unreached
        if self._proven is None:
            try:
                self._proven = self._client.prove()
            except BridgeError as error:
                self._unreached = error
                raise
        return self._proven

    def offers(self, kind: str) -> bool:
        """Whether the site showed a kind."""
        proven = self.proven()
        return {
            PERSON: proven.users,
            JOB: proven.jobs,
            POSITION: proven.positions,
            ORGANISATION: proven.organisations,
        }.get(kind, False)

    def shows(self, kind: str) -> bool:
        """Whether what the site shows of a kind can be compared."""
        return self.offers(kind) and (kind != PERSON or self.proven().emails_visible)

    def sendable(self, kind: str, name: str) -> bool:
        """Whether the API can be told a field of a kind."""
        return self._kinds[kind].sendable(name)

    def findings(self, owned: Sequence[str]) -> Iterator[Finding]:
        """What `check` says of the API: reached or not, what it showed, what is hidden from the account."""
        try:
            proven = self.proven()
        except BridgeError as error:
            yield Finding("GraphQL API", False, str(error), blocking=bool(owned))
            return
        shown = [kind for kind in self._kinds if self.offers(kind)]
        yield Finding(
            "GraphQL API", True, f"reached; it shows {', '.join(PLURAL[kind] for kind in shown) or 'nothing'}"
        )
        for kind in owned:
            if kind not in shown:
                yield Finding(
                    f"{PLURAL[kind]} through GraphQL",
                    False,
                    f"the site answered without them: its API has {PLURAL[kind]} from Totara {SINCE[kind]} on",
                    f'Set channels.{kind} = "hrimport" in the options of this site.',
                    blocking=True,
                )
        for note in proven.notes:
            yield Finding("what the API account may see", False, note)

    def read(self, kind: str) -> Iterator[Found]:
        """Everything the site shows of a kind, by id in pages within its limits."""
        yield from self._kinds[kind].read(self._client)

    def settle(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Send the changes of one kind, and yield what became of each.

        Raises:
            StopRun: the site cannot be asked any more; what was not sent has been yielded as such.
        """
        kind = changes[0].kind
        if not self.offers(kind):
            message = f"The API of this site has no {PLURAL[kind]}. Run `check`: it says what to change."
            raise FixConfiguration(message)
        api = self._kinds[kind]
        queue = list(changes) if kind != JOB else _managers_first(changes)
        if isinstance(api, Places) and any(one.action is Action.REMOVE and not one.erase for one in queue):
            self._make_retired(api)
        blocked: dict[str, Status] = {}
        while queue:
            batch: list[Change] = []
            while queue and len(batch) < BATCH:
                change = queue.pop(0)
                turned = self._turned_away(api, change, blocked)
                if turned is None:
                    batch.append(change)
                else:
                    self._note(change, turned.status, blocked)
                    yield turned
            if not batch:
                break
            try:
                results = self._client.mutate([api.mutation(change) for change in batch])
            except BridgeError as error:
                for change in (*batch, *queue):
                    yield outcome_of(change, Status.NOT_SENT, f"not sent: {error}")
                if isinstance(error, StopRun):
                    raise
                raise (AccessEnded if isinstance(error, AccessRefused) else StopRun)(str(error)) from error
            for change, result in zip(batch, results, strict=True):
                outcome = self._outcome(api, change, result)
                self._note(change, outcome.status, blocked)
                yield outcome

    def _turned_away(self, api: KindApi, change: Change, blocked: Mapping[str, Status]) -> Outcome | None:
        """The outcome of what is not sent at all; None where it is sent."""
        if change.key in self._reserved:
            why = f"{change.key} is reserved for somebody else by the settings of this site"
            return outcome_of(change, Status.REFUSED, why)
        why = api.refusal(change)
        if why:
            return outcome_of(change, Status.REFUSED, why)
        if change.parent is not None and change.parent in blocked:
            refused = blocked[change.parent] is Status.REFUSED
            reason = "is not made" if refused else "may not be made: its answer got lost"
            return outcome_of(change, Status.NOT_SENT, f"it hangs under {change.parent}, which {reason}")
        return None

    @staticmethod
    def _note(change: Change, status: Status, blocked: dict[str, Status]) -> None:
        if change.action in {Action.CREATE, Action.REVIVE} and status is not Status.APPLIED:
            blocked[change.key] = status

    def _make_retired(self, api: Places) -> None:
        """Have the item that retired ones hang under; that it is there already is what was wanted."""
        result = self._client.mutate([api.retired_place()])[0]
        if result.error is not None and not _TAKEN.search(str(result.error)):
            raise StopRun(f"The place for what is retired could not be made. {result.error}")

    @staticmethod
    def _outcome(api: KindApi, change: Change, result: MutationResult) -> Outcome:
        if isinstance(result.error, OutcomeUnknown):
            return outcome_of(change, Status.UNKNOWN, str(result.error))
        if result.error is not None:
            return outcome_of(change, Status.REFUSED, str(result.error))
        differs = api.differs(change, result.data or {})
        if differs:
            return outcome_of(change, Status.REFUSED, differs)
        return outcome_of(change, Status.APPLIED, lms_id=change.key)

    def close(self) -> None:
        """Give back connections."""
        self._client.close()


def _managers_first(changes: Sequence[Change]) -> list[Change]:
    """Managers' jobs before their reports'; a person's own keep their order, the primary one first."""
    rows = [
        {
            "idnumber": (change.key, change.action.value),
            "managerjaidnumber": ((change.after or {}).get("manager_job"), Action.CREATE.value),
            "change": change,
        }
        for change in changes
    ]
    return [row["change"] for row in managers_first(rows)]
