"""Check a site: can it be reached, what is it, what may the account do, and what is missing for what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bridge.ports import Capabilities, Checklist, Remark, Severity
from connectors.moodle.framework_csv import scale_file
from jobs.push import wanted
from jobs.sites import Workplace


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found."""

    capabilities: Capabilities
    waits: tuple[Remark, ...] = ()
    """What the model needs and somebody has to do by hand in the LMS."""

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way of a push and a pull."""
        return not any(finding.blocking and not finding.ok for finding in self.capabilities.findings)


def check(place: Workplace, model: Path | None) -> CheckReport:
    """Ask the site what it is, and with a model also whether that model can go there. Writes nothing."""
    capabilities = place.port.probe()
    if model is None and not place.settings.model:
        return CheckReport(capabilities)
    desired = wanted(place, model)
    # A port is asked for what else it offers as any object.
    port: object = place.port
    if isinstance(port, Checklist):
        capabilities = replace(capabilities, findings=(*capabilities.findings, *port.checklist(desired)))
    translation = place.port.translate(desired)
    waits = tuple(remark for remark in translation.remarks if remark.severity is not Severity.NOTE)
    return CheckReport(capabilities, waits)


def write_scale_file(place: Workplace, model: Path | None, path: Path) -> None:
    """Write a framework file from which Moodle's own importer makes the model's scales; its web services cannot."""
    scale_file(wanted(place, model).architecture, path)
