"""A page for people: how a chain went at a site, and how the site stands after it."""

from __future__ import annotations

import datetime as dt
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.model import RESULT_KINDS
from bridge.ports import FixConfiguration
from bridge.store import feeds as feed_store
from bridge.store import journal, results, roster, state

if TYPE_CHECKING:
    from jobs.steps import Circumstances


def write_report(here: Circumstances, folder: Path, kept: int) -> Path:
    """Write the report of a chain into a folder of the site's own and return its path; all but the last `kept` go.

    Raises FixConfiguration where it cannot be written.
    """
    now = dt.datetime.fromtimestamp(here.clock.now(), here.zone)
    # Names come from settings, but a path is not made of them as they are.
    own = folder / (re.sub(r"[^\w.-]", "_", here.site).lstrip(".") or "site")
    path = own / f"{now:%Y-%m-%d-%H%M%S}.md"
    try:
        own.mkdir(parents=True, exist_ok=True)
        text = "\n".join(_lines(here, now)) + "\n"
        temporary = path.with_name(path.name + ".part")
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
        for old in sorted(own.glob("????-??-??-??????.md"))[:-kept]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise FixConfiguration(
            f"The report {path} cannot be written: {error.strerror or error}. Set `reports` under [daemon] to a folder "
            "that this account may write to."
        ) from error
    return path


def _lines(here: Circumstances, now: dt.datetime) -> list[str]:
    lines = [f"# {here.site}, {now:%Y-%m-%d %H:%M} ({here.zone.key})", "", "## What ran", ""]
    lines += [f"- **{one.step}**: {one.state}. {one.message}".rstrip() for one in here.earlier] or ["- nothing"]
    with here.store.read() as connection:
        lines += ["", "## What stands now", ""]
        counts = state.base_counts(connection, here.site)
        lines += [f"- {kind}: {number:,}" for kind, number in sorted(counts.items())] or ["- nothing was written yet"]
        pending = len(journal.open_entries(connection, here.site))
        if pending:
            lines.append(f"- waiting for the LMS's answer: {pending:,} changes")
        for kind in RESULT_KINDS:
            number = sum(1 for _ in results.live_results(connection, here.site, kind))
            if number:
                lines.append(f"- {kind} brought back: {number:,}")
        for name in here.feeds:
            feed = feed_store.find_feed(connection, name)
            roll = roster.roll_of(connection, name)
            refused = feed_store.open_rejections(connection, name)
            titles = feed_store.unmapped_titles(connection, name)
            lines += [
                "",
                f"## Feed {name}: {'in quarantine' if feed.quarantined else 'open'}",
                "",
                f"- {roll.people:,} people, {roll.missing:,} missing once, {roll.absent:,} gone for certain, "
                f"{roll.waiting:,} rows wait for their day",
                f"- {refused:,} rows stand refused",
                f"- {len(titles):,} titles of {sum(one.people for one in titles):,} people stand for no position",
            ]
            if feed.quarantined:
                lines.append(f"- {feed.reason}")
    return lines
