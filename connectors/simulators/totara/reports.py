"""Scheduled report exports of the simulated site, as the site writes them."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from connectors.simulators.totara.site import TotaraSite

SYNC_LOG_HEADINGS = tuple(
    f"totara_sync_log_{name}" for name in ("id", "runid", "time", "element", "logtype", "action", "info")
)
_LOG_TYPES = {"info": "Info", "warn": "Warning", "error": "Error"}
_QUOTED = set(',"\\\n\r\t ')


def php_csv_line(cells: Sequence[str]) -> str:
    """A line as PHP writes it: a cell with a space, comma, quote, backslash or line end is quoted."""
    return ",".join('"' + cell.replace('"', '""') + '"' if _QUOTED & set(cell) else cell for cell in cells) + "\n"


def site_date(moment: int, timezone: str, *, with_time: bool = False, seconds: bool = False) -> str:
    """A time as the site's reports print it in English: ``21 Nov 2026 at 18:32:54``."""
    local = dt.datetime.fromtimestamp(moment, ZoneInfo(timezone))
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    day = f"{local.day} {months[local.month - 1]} {local.year}"
    if not with_time:
        return day
    return f"{day} at {local:%H:%M:%S}" if seconds else f"{day} at {local:%H:%M}"


def export_report(
    site: TotaraSite,
    directory: Path,
    owner: str,
    name: str,
    schedule: int,
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
) -> Path | None:
    """Write a scheduled report's file; an empty report writes none, the same day overwrites."""
    cells = list(rows)
    if not cells:
        return None
    day = dt.datetime.fromtimestamp(site.now(), ZoneInfo(site.settings.timezone))
    folder = directory / owner
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{day:%d%m%Y}_{schedule}.csv"
    path.write_text("".join(php_csv_line(line) for line in (headings, *cells)), encoding="utf-8", newline="")
    return path


_STATE_HEADINGS = {
    "comp": ("competency", "framework_idnumber", "parent_competency_idnumber"),
    "org": ("org", "org_frameworkidnumber", "org_parentidnumber"),
    "pos": ("pos", "pos_frameworkidnumber", "pos_parentidnumber"),
}


def export_hierarchy(
    site: TotaraSite, directory: Path, element: str, name: str, owner: str = "bridge", schedule: int = 30
) -> Path | None:
    """Write the scheduled export of a report on all items of a hierarchy."""
    prefix, framework, parent = _STATE_HEADINGS[element]
    headings = (f"{prefix}_idnumber", f"{prefix}_fullname", f"{prefix}_description", framework, parent)
    rows = [
        (
            item.idnumber,
            str((item.fields or {}).get("fullname", "")),
            str((item.fields or {}).get("description", "")),
            item.framework,
            item.parent.idnumber if item.parent else "",
        )
        for item in site.state.hierarchy(element).items.values()
    ]
    return export_report(site, directory, owner, name, schedule, headings, rows)


def export_sync_log(
    site: TotaraSite, directory: Path, owner: str = "bridge", name: str = "Bridge totara sync log", schedule: int = 19
) -> Path | None:
    """Write the sync log's scheduled export."""
    rows = [
        (
            str(entry.id),
            str(entry.runid),
            site_date(entry.time, site.settings.timezone, with_time=True, seconds=True),
            entry.row.element,
            _LOG_TYPES[entry.row.logtype],
            entry.row.action,
            entry.row.info,
        )
        for entry in site.log
    ]
    return export_report(site, directory, owner, name, schedule, SYNC_LOG_HEADINGS, rows)


STATE_REPORTS = {"comp": "Bridge competencies", "org": "Bridge organisations", "pos": "Bridge positions"}
"""The names of the reports on all items of an element that administrators are asked to schedule."""


def export_users(
    site: TotaraSite, directory: Path, name: str = "Bridge users", owner: str = "bridge", schedule: int = 33
) -> Path | None:
    """Write the scheduled export of a report on accounts that tells which of them HR Import may change."""
    rows = [
        (user.idnumber, user.username, "Yes" if user.totarasync else "No")
        for user in site.state.live_users()
        if user.idnumber
    ]
    headings = ("user_idnumber", "user_username", "user_totarasync")
    return export_report(site, directory, owner, name, schedule, headings, rows)


def export_all(site: TotaraSite, directory: Path) -> list[Path]:
    """Write every report that administrators are asked to schedule, as the site does after its import."""
    with site.lock:
        written = [
            export_sync_log(site, directory, name="Bridge sync log"),
            *(export_hierarchy(site, directory, element, name) for element, name in STATE_REPORTS.items()),
            export_users(site, directory),
        ]
    found = [path for path in written if path is not None]
    # An import that had to wait for the next free second in the names of its store folder is not in the future.
    latest = max((int(path.name.partition(".")[0]) for path in _stored(site)), default=0)
    for path in found:
        moment = max(float(latest), path.stat().st_mtime)
        os.utime(path, (moment, moment))
    return found


def _stored(site: TotaraSite) -> list[Path]:
    return list(site.store.iterdir()) if site.filesdir is not None and site.store.is_dir() else []
