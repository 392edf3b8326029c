"""Preflight: what HR Import would do with files, told before anything is sent.

The rules themselves are in ``connectors.hrimport_rules``; this module finds the files, builds what the site holds
and turns the result into a report for a person and a program.
"""

from __future__ import annotations

import gc
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from bridge.ports import FixConfiguration
from connectors.hrimport_rules import (
    ELEMENTS,
    ElementResult,
    HrImportSettings,
    SettingsError,
    SiteState,
    import_files,
    load_settings,
    site_state_from_files,
)
from connectors.totara.hrimport.rules import advice

# ``pos.csv``, or ``1795286148.pos.csv`` as the site keeps it in its store folder.
_FILE_NAME = re.compile(r"(?:(\d+)\.)?(comp|org|pos|user|jobassignment)\.csv", re.IGNORECASE)


@contextmanager
def _bulk_work() -> Iterator[None]:
    """No search for reference cycles while hundreds of thousands of records that form none are built."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(slots=True)
class PreflightReport:
    """What would happen, element by element in the site's order, and what had to be assumed to say so."""

    elements: dict[str, ElementResult]
    assumptions: list[str] = field(default_factory=list)

    @property
    def aborts(self) -> bool:
        """Whether any element would stop as a whole."""
        return any(result.aborts for result in self.elements.values())

    def removed(self) -> dict[str, list[str]]:
        """The keys each element would delete or suspend, where there are any."""
        return {name: result.removed for name, result in self.elements.items() if result.removed}

    def refused(self) -> int:
        """How many rows would not be taken."""
        return sum(result.counts().get("refuse", 0) for result in self.elements.values())

    def blocking(self, removals_allowed: Mapping[str, int] | None = None) -> list[str]:
        """Why these files must not be sent: an element that stops, or removes more than allowed (default: none).

        Sentences for a person; empty when the files may go.
        """
        reasons = []
        for name, result in self.elements.items():
            if result.aborts:
                why = advice(result.reason)
                detail = f" ({result.detail})" if result.detail and result.detail != result.reason else ""
                reasons.append(f"{name}.csv would be refused as a whole: {result.reason}{detail}. {why}".strip())
            allowed = (removals_allowed or {}).get(name, 0)
            if len(result.removed) > allowed:
                verb = "suspend" if result.suspended else "delete"
                sample = ", ".join(result.removed[:5]) + (", ..." if len(result.removed) > 5 else "")
                reasons.append(
                    f"{name}.csv would {verb} {len(result.removed)} record(s) where {allowed} are allowed: {sample}. "
                    "Send in partial mode, or raise the limit after looking at the list."
                )
        return reasons

    def lines(self) -> Iterator[str]:
        """The report for a person: file, line and rule of everything that is not simply taken or left alone."""
        for name, result in self.elements.items():
            counts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(result.counts().items()))
            yield f"{name}.csv: {counts or 'no rows'}; {len(result.removed)} removed"
            if result.aborts:
                yield f"{name}.csv: STOPS as a whole: {result.reason} {result.detail} {advice(result.reason)}".rstrip()
            for row in result.rows:
                if result.aborts and row.rule == result.reason:
                    continue
                says = advice(row.rule)
                if row.outcome in {"refuse", "delete"} or (says and row.outcome != "skip"):
                    yield f"{name}.csv line {row.line} {row.idnumber}: {row.outcome} ({row.rule}) {says}".rstrip()
        for assumption in self.assumptions:
            yield f"Assumed: {assumption}"

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "aborts": self.aborts,
            "elements": {name: result.as_json() for name, result in self.elements.items()},
            "assumptions": self.assumptions,
        }

    def write_json(self, stream: TextIO) -> None:
        """Write the report as one JSON object, row by row, so that a large one needs no memory."""
        stream.write('{"aborts": ' + json.dumps(self.aborts) + ', "assumptions": ' + json.dumps(self.assumptions))
        stream.write(', "elements": {')
        for position, (name, result) in enumerate(self.elements.items()):
            head = {
                "element": name,
                "aborts": result.aborts,
                "reason": result.reason,
                "detail": result.detail,
                "counts": result.counts(),
                "removed": result.removed,
                "suspended": result.suspended,
                "log": [row._asdict() for row in result.log if row.logtype != "info"],
            }
            stream.write(", " if position else "")
            stream.write(json.dumps(name) + ": " + json.dumps(head, ensure_ascii=False)[:-1] + ', "rows": [')
            for number, row in enumerate(result.json_rows()):
                stream.write((",\n" if number else "\n") + json.dumps(row, ensure_ascii=False))
            stream.write("]}")
        stream.write("}}\n")


def preflight(
    files: Mapping[str, bytes | Path],
    held: SiteState | None,
    settings: HrImportSettings,
    *,
    now: int | None = None,
) -> PreflightReport:
    """Say what HR Import would do with ``files`` (element to content or path) on a site that holds ``held``.

    ``held`` is used up: it changes as the files are tried one after another. None means that nothing is known of
    the site: references are presumed to be met, every row is taken for new, and removals cannot be told.
    ``now`` is the moment of the import, unix time.
    """
    assumptions = []
    if held is None:
        held = SiteState()
        held.presumed = set(ELEMENTS)
    for name in ELEMENTS:
        if name in held.presumed and name in files:
            assumptions.append(
                f"What the site holds of {name} is not known: rows are taken for new, and whatever they refer to for "
                "existing"
                + (
                    "; what all-records mode would delete cannot be told"
                    if settings.element(name).sourceallrecords
                    else ""
                )
            )
        elif name in held.presumed:
            assumptions.append(
                f"What the site holds of {name} is not known: whatever rows refer to is taken for existing"
            )
    moment = int(time.time()) if now is None else now
    try:
        with _bulk_work():
            results = import_files(files, held, settings, now=moment, keep_values=False, keep_info=False)
    except OSError as error:
        message = f"{error.filename or 'A file'} cannot be read: {error.strerror or error}."
        raise FixConfiguration(message) from error
    return PreflightReport(results, assumptions)


def element_files(directory: Path) -> dict[str, Path]:
    """The element files of a folder; of several in a store folder the youngest.

    Raises:
        FixConfiguration: the folder cannot be read.
    """
    found: dict[str, tuple[int, Path]] = {}
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        message = (
            f"The folder {directory} cannot be read: {error.strerror or error}. Name a folder with HR Import files."
        )
        raise FixConfiguration(message) from error
    for path in entries:
        match = _FILE_NAME.fullmatch(path.name)
        if match and path.is_file():
            age = int(match[1]) if match[1] else 2**62
            if age >= found.get(match[2].lower(), (-1, path))[0]:
                found[match[2].lower()] = (age, path)
    return {name: found[name][1] for name in ELEMENTS if name in found}


def preflight_directory(
    directory: Path,
    holds: Path | None = None,
    settings_file: Path | None = None,
    *,
    settings: HrImportSettings | None = None,
    now: int | None = None,
) -> PreflightReport:
    """Check the files of a folder against the files of another that last went in, under settings or those of a file.

    Raises:
        FixConfiguration: a folder cannot be read, no element file is in it, or the settings are wrong.
    """
    try:
        settings = load_settings(settings_file) if settings_file else settings or HrImportSettings()
    except SettingsError as error:
        raise FixConfiguration(str(error)) from error
    files = element_files(directory)
    if not files:
        message = (
            f"{directory} holds no HR Import file. The site reads {', '.join(f'{name}.csv' for name in ELEMENTS)}."
        )
        raise FixConfiguration(message)
    held = None
    if holds is not None:
        held_files = element_files(holds)
        if not held_files:
            message = f"{holds} holds no HR Import file. Name the folder with the files that last went in."
            raise FixConfiguration(message)
        with _bulk_work():
            held, settings = site_state_from_files(held_files, settings)
    return preflight(files, held, settings, now=now)
