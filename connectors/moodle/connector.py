"""Moodle as an LMS port: the kinds put together, writes in an order that Moodle bears."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from uuid import uuid4

from bridge.model import Desired
from bridge.ports import (
    Action,
    BridgeError,
    Capabilities,
    Change,
    Finding,
    Found,
    Outcome,
    Page,
    PullScope,
    Receipt,
    Remark,
    Severity,
    StopRun,
    Translation,
)
from connectors.http import HttpTransport, Sleep
from connectors.moodle.accounts import Accounts
from connectors.moodle.client import MoodleClient
from connectors.moodle.cohorts import CohortKeys, CohortMembers, Cohorts
from connectors.moodle.competencies import Competencies
from connectors.moodle.directory import Directory
from connectors.moodle.enrolments import Enrolments
from connectors.moodle.frameworks import Frameworks
from connectors.moodle.kinds import Context, KindHandler, ReadsByKey, not_sent
from connectors.moodle.links import CourseLinks, RelatedPairs
from connectors.moodle.options import MoodleOptions
from connectors.moodle.plan_contents import PlanCompetencies
from connectors.moodle.plans import LinkedPlans, Plans, PlanShelf
from connectors.moodle.probe import inspect, probe
from connectors.moodle.pull import Pull
from connectors.moodle.rules import Rules
from connectors.moodle.templates import TemplateCompetencies, Templates
from connectors.moodle.users import Users

SHAPE = ("framework", "competency")
"""Kinds that are written before anything is removed: what hangs on them must find them in place."""


class MoodleConnector:
    """A Moodle site behind the LMS port, over REST web services with a token."""

    def __init__(
        self, options: MoodleOptions, *, transport: HttpTransport | None = None, sleep: Sleep = time.sleep
    ) -> None:
        self.options = options
        self._client = MoodleClient(options, transport, sleep)
        self._context = Context(self._client, options, Directory(self._client))
        self._competencies = Competencies(self._context)
        handlers: tuple[KindHandler, ...] = (
            Frameworks(self._context),
            self._competencies,
            Rules(self._context),
            RelatedPairs(self._context),
            CourseLinks(self._context),
            Templates(self._context),
            TemplateCompetencies(self._context),
            *self._people(),
        )
        self._handlers: Mapping[str, KindHandler] = {handler.spec.kind: handler for handler in handlers}
        self._open: dict[str, Receipt] = {}
        self._lock = threading.Lock()

    def _people(self) -> tuple[KindHandler, ...]:
        """Return the kinds that a feed of people fills."""
        accounts = Accounts(self._client)
        keys = CohortKeys(self._context)
        cohorts = Cohorts(self._context, keys)
        shelf = PlanShelf(self._context, accounts)
        self._enrolments = Enrolments(self._context, accounts, keys)
        return (
            Users(self._context, accounts),
            cohorts,
            CohortMembers(self._context, accounts, cohorts, keys),
            Plans(self._context, shelf),
            LinkedPlans(self._context, shelf),
            PlanCompetencies(self._context, shelf),
            self._enrolments,
        )

    @property
    def requests_sent(self) -> int:
        """How many HTTP requests this connector sent."""
        return self._client.requests_sent

    def guard(self, check: Callable[[bool], None]) -> None:
        """Ask `check` right before each request goes out."""
        self._client.guard = check

    def probe(self) -> Capabilities:
        """Ask Moodle what it is and which functions the token has: one request."""
        self._client.site(fresh=True)
        return probe(self._context, self._handlers.values(), self._readable())

    def inspect(self) -> Iterator[Finding]:
        """Yield which scales, reports and permissions there are, found out by calls that change nothing."""
        return inspect(self._context)

    def translate(self, desired: Desired) -> Translation:
        """Return what this Moodle should hold. What it cannot hold is left out with a remark, and then of that kind
        nothing counts as complete, so that nothing is removed because of it."""
        left_out, part = self._competencies.unsayable(desired)
        items, remarks = [], list(part.remarks)
        complete = set()
        speaks_of: dict[str, Callable[[str], bool]] = {}
        readable = self._readable()
        for kind, handler in self._handlers.items():
            part = handler.translate(desired, left_out)
            if kind not in readable:
                if part.items:
                    missing = ", ".join(sorted(handler.reads.keys() - self._client.functions()))
                    says = f"Left out: the service lacks {missing}, so that {handler.spec.plural} cannot be compared."
                    remarks.append(Remark(Severity.WARNING, kind, "", says))
                continue
            items += part.items
            remarks += part.remarks
            if part.complete:
                complete.add(kind)
            if part.speaks_of is not None:
                speaks_of[kind] = part.speaks_of
        return Translation(tuple(items), tuple(remarks), frozenset(complete), speaks_of)

    def _readable(self) -> frozenset[str]:
        """Return the kinds whose reading functions are in the service; frameworks and competencies are not optional."""
        functions = self._client.functions()
        return frozenset(
            kind for kind, handler in self._handlers.items() if kind in SHAPE or handler.reads.keys() <= functions
        )

    def read(self, kind: str) -> Iterator[Found]:
        """Yield every object of a kind that carries a key. Raises KeyError for a kind that Moodle has not."""
        return self._handlers[kind].read()

    def read_some(self, kind: str, keys: Collection[str]) -> Iterator[Found]:
        """Yield some objects of a kind by their keys; kinds that cannot be read so are read whole."""
        handler = self._handlers[kind]
        return handler.read_some(keys) if isinstance(handler, ReadsByKey) else handler.read()

    def observed(self, kinds: Collection[str]) -> Iterator[Remark]:
        """Yield which cohorts lack enrolment in courses that jobs need."""
        if "enrolment" in kinds and "enrolment" in self._readable():
            yield from self._enrolments.observed()

    def submit(self, changes: Sequence[Change]) -> Receipt:
        """Take changes over; nothing is sent before `settle`."""
        receipt = Receipt(uuid4().hex, tuple(changes))
        with self._lock:
            self._open[receipt.token] = receipt
        return receipt

    def settle(self, receipt: Receipt) -> Iterator[Outcome]:
        """Send the changes of a receipt and yield what became of each.

        A receipt of an earlier process was never sent, or its outcomes are lost: of that nothing is yielded, which
        counts as unknown.
        """
        with self._lock:
            known = self._open.pop(receipt.token, None)
        if known is None:
            return
        told: set[tuple[str, str, Action]] = set()
        stopped: StopRun | None = None
        for handler, changes, removal in self._stages(known.changes):
            if stopped is None:
                try:
                    for outcome in handler.remove(changes) if removal else handler.write(changes):
                        told.add((outcome.kind, outcome.key, outcome.action))
                        yield outcome
                except StopRun as error:
                    stopped = error
                except BridgeError as error:
                    # The rest of this kind cannot be done; other kinds may.
                    for change in changes:
                        if (change.kind, change.key, change.action) not in told:
                            yield not_sent(change, str(error))
                    continue
            if stopped is not None:
                for change in changes:
                    if (change.kind, change.key, change.action) not in told:
                        yield not_sent(change, str(stopped))
        if stopped is not None:
            raise stopped

    def _stages(self, changes: Sequence[Change]) -> Iterator[tuple[KindHandler, list[Change], bool]]:
        """Yield what to do in which order: the shape, then removals from the links inwards, then what hangs on it.

        Frameworks are hidden last, since a hidden framework takes no links (contracts/moodle-4.5, Behaviour).
        """
        writes: dict[str, list[Change]] = {}
        removals: dict[str, list[Change]] = {}
        for change in changes:
            group = removals if change.action is Action.REMOVE else writes
            group.setdefault(change.kind, []).append(change)
        for kind in SHAPE:
            if kind in writes:
                yield self._handlers[kind], writes[kind], False
        for kind in reversed(tuple(self._handlers)):
            if kind in removals and kind != "framework":
                yield self._handlers[kind], removals[kind], True
        for kind, handler in self._handlers.items():
            if kind in writes and kind not in SHAPE:
                yield handler, writes[kind], False
        if "framework" in removals:
            yield self._handlers["framework"], removals["framework"], True

    def pull(self, scope: PullScope, cursor: str | None = None) -> Iterator[Page]:
        """Yield completions, ratings, plan statuses and badges, page by page."""
        return Pull(self._context, scope).pages(cursor)

    def close(self) -> None:
        """Give back connections and threads."""
        self._client.close()
