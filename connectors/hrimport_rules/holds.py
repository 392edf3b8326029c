"""What a site holds, taken from the files that last went in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from connectors.hrimport_rules.hierarchy import HierarchyImport
from connectors.hrimport_rules.jobs import JobImport
from connectors.hrimport_rules.outcome import Aborted, ElementResult, Journal
from connectors.hrimport_rules.reading import LEGACY_MANAGER_JOB, CsvTable, columns_of
from connectors.hrimport_rules.settings import ELEMENT_NAMES, HIERARCHIES, CustomField, HrImportSettings
from connectors.hrimport_rules.state import SiteState
from connectors.hrimport_rules.users import UserImport

_STORED = re.compile(r"\d+\.\w+\.csv", re.IGNORECASE)


def site_state_from_files(
    files: Mapping[str, bytes | Path],
    settings: HrImportSettings,
    *,
    keep_values: bool = False,
    custom_types: Mapping[str, CustomField] | None = None,
) -> tuple[SiteState, HrImportSettings]:
    """A site that took these files, and the settings with the columns those files show to be imported.

    Frameworks, types and their custom fields are those the rows name. Rows marked deleted are not held. Each
    record carries the file's ``timemodified``: the site converged. An element without a file is not known, and
    references to it are presumed to be met.
    """
    state = SiteState()
    state.presumed = {name for name in ELEMENT_NAMES if name not in files}
    for name in ELEMENT_NAMES:
        if name in files:
            settings = _hold(name, files[name], state, settings, keep_values, custom_types)
    return state, settings


def _hold(
    element: str,
    source: bytes | Path,
    state: SiteState,
    settings: HrImportSettings,
    keep_values: bool,
    custom_types: Mapping[str, CustomField] | None,
) -> HrImportSettings:
    lenient = settings.with_element(
        element,
        sourceallrecords=False,
        allow_create=True,
        allow_update=True,
        allow_delete=1,
        imported=None,
        switched={},
        previouslylinkedonjobassignmentidnumber=None,
    )
    if isinstance(source, Path) and _STORED.fullmatch(source.name):
        # What the site keeps it has turned into UTF-8, whatever it came in.
        lenient = lenient.with_element(element, encoding="UTF-8")
    headings = _headings(element, source, lenient)
    if headings is None:
        state.presumed.add(element)
        return settings
    if "deleted" not in headings:
        lenient = lenient.with_element(element, sourceallrecords=True)
    if element in HIERARCHIES:
        run = HierarchyImport(element, state, lenient, now=0, keep_values=keep_values, keep_info=False)
        if not run.hold(source, custom_types or {}):
            state.presumed.add(element)
    elif element == "user":
        # Accounts once taken are not judged by their sign-in plugin again: it is installed there.
        trusting = replace(lenient, auth_plugins=None)
        users = UserImport(state, trusting, now=0, keep_values=keep_values, keep_info=False, keep_rows=False)
        users.run(source)
        if settings.auth_plugins is not None:
            settings = replace(settings, auth_plugins=settings.auth_plugins | users.auth_seen)
    else:
        plain = lenient.with_element("jobassignment", updateidnumbers=False)
        JobImport(state, replace(plain, allow_multiple_jobs=True), now=0, keep_info=False, keep_rows=False).run(source)
        # The managers' job column is imported only where jobs are linked by id number, which a site never forgets.
        state.previously_linked = bool({"managerjaidnumber", LEGACY_MANAGER_JOB} & set(headings))
    if settings.element(element).imported is None:
        known = columns_of(element, settings)
        imported = {name for name in headings if name in known or name.startswith("customfield_")}
        settings = settings.with_element(element, imported=frozenset(imported - {"deleted"}))
    return settings


def _headings(element: str, source: bytes | Path, settings: HrImportSettings) -> list[str] | None:
    for all_records in (False, True):
        # A held file may lack its deleted column: then it was one of all records.
        tried = settings.with_element(element, sourceallrecords=all_records)
        try:
            table = CsvTable(source, tried, Journal(element), ElementResult(element))
        except Aborted:
            continue
        table.close()
        return list(table.index)
    return None
