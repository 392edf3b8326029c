"""Dates as Moodle's reports write them: text, to the minute, in the zone and language we asked for (UTC, English)."""

from __future__ import annotations

import datetime as dt
import re

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("january", "jan"),
            ("february", "feb"),
            ("march", "mar"),
            ("april", "apr"),
            ("may",),
            ("june", "jun"),
            ("july", "jul"),
            ("august", "aug"),
            ("september", "sep", "sept"),
            ("october", "oct"),
            ("november", "nov"),
            ("december", "dec"),
        ),
        start=1,
    )
    for name in names
}

_WORDS = re.compile(
    r"(?P<day>\d{1,2})\s+(?P<month>[A-Za-z]+)\.?\s+(?P<year>\d{4}),?\s+"
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::\d{2})?\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*$"
)
_AMERICAN = re.compile(
    r"(?P<month>[A-Za-z]+)\.?\s+(?P<day>\d{1,2}),?\s+(?P<year>\d{4}),?\s+"
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::\d{2})?\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*$"
)
_ISO = re.compile(
    r"^(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})[ T,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::\d{2})?"
    r"\s*(?P<half>[AaPp][Mm])?$"
)


def parse_moment(text: str) -> dt.datetime | None:
    """Return the moment a report's cell states, in UTC; None for an empty or unreadable one.

    Moodle's English writes "Thursday, 22 October 2026, 7:03 PM" (contracts/moodle-4.5, Pull); a site that changed its
    language pack may write 24 hours, the American order or ISO. All-number forms are not guessed at: 03/04 is two days.
    """
    text = " ".join(text.split())
    found = _WORDS.search(text) or _AMERICAN.search(text) or _ISO.match(text)
    if found is None:
        return None
    month = found["month"]
    number = int(month) if month.isdigit() else _MONTHS.get(month.lower(), 0)
    hour = int(found["hour"])
    half = (found["half"] or "").lower().replace(".", "")
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    try:
        return dt.datetime(int(found["year"]), number, int(found["day"]), hour, int(found["minute"]), tzinfo=dt.UTC)
    except ValueError:
        return None


def moment_of(epoch: object) -> dt.datetime | None:
    """Return the moment of an epoch second, cut to the minute as reports have it; None for none."""
    seconds = int(str(epoch or 0))
    return dt.datetime.fromtimestamp(seconds - seconds % 60, dt.UTC) if seconds > 0 else None
