"""Check a site: can it be reached, what is it, what may the account do, and what is missing for what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.model import Desired
from bridge.ports import Capabilities, Checklist, Finding, Inspector, Remark, Severity
from bridge.store import feeds, unattended
from bridge.sync.clock import Clock
from connectors.moodle.framework_csv import scale_file
from jobs.desired import Wish, feeds_of, wanted
from jobs.sites import Workplace


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found."""

    capabilities: Capabilities
    waits: tuple[Remark, ...] = ()
    """What the model needs and somebody has to do by hand in the LMS."""
    tried_again: bool = False
    """True where unattended work had been kept away because the LMS did not let it in, and now is no longer."""

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way of a push and a pull."""
        return not any(finding.blocking and not finding.ok for finding in self.capabilities.findings)


def check(place: Workplace, model: Path | None, clock: Clock | None = None) -> CheckReport:
    """Ask the site what it is, and with a model also whether that model can go there. Writes nothing there."""
    capabilities = place.port.probe()
    tried_again = _let_in(place, (clock or Clock()).now())
    # A port is asked for what else it offers as any object.
    port: object = place.port
    more = tuple(port.inspect()) if isinstance(port, Inspector) else ()
    capabilities = replace(capabilities, findings=(*capabilities.findings, *more, *_feeds(place)))
    if model is None and not place.settings.model:
        return CheckReport(capabilities, tried_again=tried_again)
    desired = _architecture(place, model)
    if isinstance(port, Checklist):
        capabilities = replace(capabilities, findings=(*capabilities.findings, *port.checklist(desired)))
    translation = place.port.translate(desired)
    waits = tuple(remark for remark in translation.remarks if remark.severity is not Severity.NOTE)
    return CheckReport(capabilities, waits, tried_again)


def _let_in(place: Workplace, now: float) -> bool:
    """Let unattended work try the site at its next time, where it is kept away because it was not let in."""
    with place.store.read() as connection:
        trouble = unattended.trouble(connection, place.site)
    if trouble is None or not trouble.open:
        return False
    with place.store.begin() as connection:
        return unattended.let_try(connection, now, place.site)


def _architecture(place: Workplace, model: Path | None) -> Desired:
    """Return what the site should say of the job architecture alone: a feed in quarantine is no fault of the site."""
    rules = replace(place.rules, scope=replace(place.rules.scope, of_people=False))
    return wanted(replace(place, rules=rules), Wish(model), Clock())


def _feeds(place: Workplace) -> Iterator[Finding]:
    """Yield how the feeds stand that the site's people come from."""
    for name in feeds_of(place):
        with place.store.read() as connection:
            feed = feeds.find_feed(connection, name)
        subject = f"feed {name}"
        if feed.quarantined:
            remedy = f"See `lms-bridge feed status`, then `lms-bridge feed release {name} --reason TEXT`."
            yield Finding(subject, False, f"in quarantine, so that no people are pushed: {feed.reason}", remedy)
        elif feed.accepted_id is None:
            yield Finding(
                subject, False, "nothing was accepted yet, so that no people are pushed.", "lms-bridge ingest"
            )
        else:
            yield Finding(subject, True, "accepted; its people are pushed to this site.")


def write_scale_file(place: Workplace, model: Path | None, path: Path) -> None:
    """Write a framework file from which Moodle's own importer makes the model's scales; its web services cannot."""
    scale_file(_architecture(place, model).architecture, path)
