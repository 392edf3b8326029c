"""Running HR Import: one element over its file, or all that have a file, in the site's order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from connectors.hrimport_rules.hierarchy import HierarchyImport
from connectors.hrimport_rules.jobs import JobImport
from connectors.hrimport_rules.outcome import ElementResult
from connectors.hrimport_rules.settings import ELEMENT_NAMES, HIERARCHIES, HrImportSettings
from connectors.hrimport_rules.state import SiteState
from connectors.hrimport_rules.users import UserImport

# The order of the site's default task (order 129).
ELEMENTS = ELEMENT_NAMES


def import_element(
    element: str,
    source: bytes | Path,
    state: SiteState,
    settings: HrImportSettings,
    *,
    now: int,
    keep_values: bool = True,
    keep_info: bool = True,
) -> ElementResult:
    """Import one file into ``state`` as the site would and say what happened to every row.

    ``now`` is the site's clock (unix time). ``keep_values=False`` keeps only what the rules look at, and
    ``keep_info=False`` leaves out log rows of success: both for predictions over large files.

    Raises:
        ValueError: no such element.
    """
    if element in HIERARCHIES:
        hierarchy = HierarchyImport(element, state, settings, now=now, keep_values=keep_values, keep_info=keep_info)
        return hierarchy.run(source)
    if element == "user":
        users = UserImport(state, settings, now=now, keep_values=keep_values, keep_info=keep_info)
        return users.run(source)
    if element == "jobassignment":
        return JobImport(state, settings, now=now, keep_info=keep_info).run(source)
    message = f"{element!r} is no element of HR Import; there are {', '.join(ELEMENTS)}"
    raise ValueError(message)


def import_files(
    files: Mapping[str, bytes | Path],
    state: SiteState,
    settings: HrImportSettings,
    *,
    now: int,
    keep_values: bool = True,
    keep_info: bool = True,
) -> dict[str, ElementResult]:
    """Import every given file in the site's order; an element that aborts does not stop the next."""
    return {
        element: import_element(
            element, files[element], state, settings, now=now, keep_values=keep_values, keep_info=keep_info
        )
        for element in ELEMENTS
        if element in files
    }
