"""A run: it holds the site's lease, is recorded from its first moment, and its record says how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from structlog.contextvars import bound_contextvars

from bridge.logs import logger
from bridge.ports import BridgeError, SafetyLimit
from bridge.redaction import redact
from bridge.store import Store, journal
from bridge.sync.clock import Clock
from bridge.sync.lease import LEASE_SECONDS, Tenure, holding
from bridge.sync.plan import Scope
from bridge.sync.policy import Limits, Policy

_log = logger("run")


@dataclass(frozen=True, slots=True)
class Rules:
    """What a person has set for a site."""

    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    scope: Scope = field(default_factory=Scope)
    unverified: bool = False
    """Allow removals in kinds that the LMS cannot show."""
    lease_seconds: float = LEASE_SECONDS
    lease_wait: float = 0.0
    """Seconds to wait for another run on the site to end before giving up."""
    stop: Callable[[], str] = field(default=lambda: "", compare=False)
    """Says, in a sentence, that the run is to end early, after what is under way; empty while it may go on."""


@dataclass(slots=True)
class Running:
    """A run under way. What is set here is what its record says at the end."""

    id: int
    site: str
    store: Store
    tenure: Tenure
    clock: Clock
    state: str = "done"
    counts: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""


@contextmanager
def running(
    store: Store, site: str, verb: str, clock: Clock, rules: Rules, *, undoes: int | None = None
) -> Iterator[Running]:
    """Hold the site and record a run for the block.

    Raises SiteBusy where another run works on the site. What the block raises is recorded and passed on.
    """
    held = holding(store, site, verb, clock, seconds=rules.lease_seconds, wait=rules.lease_wait, stop=rules.stop)
    with held as tenure:
        with store.begin() as connection:
            tenure.confirm(connection)
            journal.mark_interrupted(connection, site, clock.now())
            run_id = journal.start_run(connection, site, verb, clock.now(), undoes)
        run = Running(run_id, site, store, tenure, clock)
        began = clock.now()
        try:
            with bound_contextvars(run_id=run_id):
                _log.info("run begins", site=site, verb=verb)
                yield run
        except BaseException as error:
            run.state = "refused" if isinstance(error, SafetyLimit) else "stopped"
            run.message = redact(_why(error))
            raise
        finally:
            with store.begin() as connection:
                journal.finish_run(connection, run_id, run.state, clock.now(), run.counts, run.message)
            seconds = round(clock.now() - began, 3)
            _log.info("run ends", run_id=run_id, site=site, verb=verb, state=run.state, seconds=seconds)


def _why(error: BaseException) -> str:
    """Return why a run ended early, for its record."""
    if isinstance(error, BridgeError):
        return str(error)
    return "stopped by hand" if isinstance(error, KeyboardInterrupt) else f"ended by {type(error).__name__}"
