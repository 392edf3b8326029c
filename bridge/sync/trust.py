"""Whether a file is believed: guards over what was counted in it, and the rules that look at rows as a set. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bridge.feed_settings import TrustSettings


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard that tripped: its name, what it saw, and what to do."""

    name: str
    says: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.says} {self.remedy}"


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted in a file, and in the last one that was accepted (None and 0 where there is none)."""

    rows: int
    refused: int
    in_common: int = 0
    columns: frozenset[str] = frozenset()
    """Fields that have a column."""
    last_rows: int | None = None
    last_columns: frozenset[str] = frozenset()
    known: int = 0
    """Rows the feed's roster has."""
    lost_zeros: Sequence[tuple[str, str]] = ()
    """(known id, id in the file) where the second is the first without its leading zeros."""
    delta: bool = False
    manifest_rows: int | None = None
    manifest_sha256: str | None = None
    sha256: str = ""
    has_manifest: bool = False


def tripped(counted: Counted, trust: TrustSettings) -> tuple[Guard, ...]:
    """Return the guards that a file trips, in a fixed order; none where it is to be believed.

    Percentages are exact: a drop of just the percentage allowed passes. No percentage stops `small` rows or fewer.
    """
    guards: list[Guard] = []
    guards.extend(_columns(counted, trust))
    guards.extend(_manifest(counted, trust))
    if counted.rows < trust.minimum_rows and not counted.delta:
        guards.append(
            Guard(
                "minimum-rows",
                f"The file has {_rows(counted.rows)}; at least {trust.minimum_rows:,} must be there.",
                "Ask the sender for the whole file.",
            )
        )
    if counted.last_rows and not counted.delta:
        drop = counted.last_rows - counted.rows
        if drop > trust.small and drop * 100 > trust.maximum_drop * counted.last_rows:
            guards.append(
                Guard(
                    "maximum-drop",
                    f"The file has {_rows(counted.rows)}; the last accepted one had {counted.last_rows:,}, "
                    f"so {drop * 100 / counted.last_rows:.1f} % are gone; at most {trust.maximum_drop:g} % may be.",
                    "Ask the sender whether the file is whole.",
                )
            )
    if counted.refused > trust.small and counted.refused * 100 > trust.maximum_rejected * counted.rows:
        guards.append(
            Guard(
                "maximum-rejected",
                f"{counted.refused:,} of {_rows(counted.rows)} are refused; "
                f"at most {trust.maximum_rejected:g} % may be.",
                "Look at `lms-bridge rejections`: one cause behind most of them is likely.",
            )
        )
    if counted.lost_zeros:
        known, now = counted.lost_zeros[0]
        guards.append(
            Guard(
                "leading-zeros",
                f"Ids have lost their leading zeros: {known} is now {now}.",
                "Format the column as text where the file is made, and export it again.",
            )
        )
    if counted.known and counted.rows > trust.small and not counted.delta:
        possible = min(counted.rows, counted.known)
        if counted.in_common * 100 < trust.minimum_in_common * possible:
            guards.append(
                Guard(
                    "in-common",
                    f"Only {counted.in_common:,} of {_rows(counted.rows)} are about people this feed has listed; "
                    f"at least {trust.minimum_in_common:g} % should be.",
                    "Check that it is a file of this company, and that its ids are the same as before.",
                )
            )
    return tuple(guards)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _columns(counted: Counted, trust: TrustSettings) -> Iterable[Guard]:
    lacking = [name for name in trust.required if name not in counted.columns]
    if lacking:
        yield Guard(
            "required-columns",
            f"The file has no column for {', '.join(lacking)}.",
            "Add the column, or name its header in the feed's `columns`.",
        )
    gone = sorted(counted.last_columns - counted.columns - set(lacking))
    if gone and not counted.delta:
        yield Guard(
            "columns-gone",
            f"The last accepted file had a column for {', '.join(gone)}; this one has none, "
            "so that everybody's would be emptied.",
            "Ask the sender to put it back, or take it out with `ignore` in the feed's settings.",
        )


def is_about_manifest(guard: Guard) -> bool:
    """Tell whether a guard tripped because a manifest and its file do not agree."""
    return guard.name in ("manifest-rows", "manifest-checksum")


def _manifest(counted: Counted, trust: TrustSettings) -> Iterable[Guard]:
    if not counted.has_manifest:
        if trust.manifest == "required":
            yield Guard(
                "manifest-missing",
                "The file came without a manifest.",
                "Ask the sender for one, or set `trust.manifest` to optional.",
            )
        return
    if counted.manifest_rows is not None and counted.manifest_rows != counted.rows:
        yield Guard(
            "manifest-rows",
            f"The manifest says {_rows(counted.manifest_rows)}, the file has {counted.rows:,}.",
            "Ask the sender for the whole file.",
        )
    if counted.manifest_sha256 is not None and counted.manifest_sha256 != counted.sha256:
        yield Guard(
            "manifest-checksum",
            "The file is not the one whose checksum the manifest gives.",
            "Fetch it again; if it stays so, ask the sender for a new manifest.",
        )


_STAMP = re.compile(
    r"(?<![0-9])(20[0-9]{2})[-_.]?([01][0-9])[-_.]?([0-3][0-9])"
    r"(?:[-_.T ]?([0-2][0-9])[-_.:]?([0-5][0-9])(?:[-_.:]?([0-5][0-9]))?)?(?![0-9])"
)


def stamp_in(name: str) -> str:
    """Return the day (and time) that a file's name gives, as sortable text; empty where it gives none."""
    for match in reversed(list(_STAMP.finditer(name))):
        year, month, day, hour, minute, second = (int(part) if part else 0 for part in match.groups())
        try:
            return dt.datetime(year, month, day, hour, minute, second).isoformat()  # noqa: DTZ001 - the sender's clock
        except ValueError:
            continue
    return ""


def is_older(stamp: str, last: str) -> bool:
    """Tell whether a file is from before the last accepted one. Without both stamps nobody can tell."""
    return bool(stamp and last and stamp < last)


def says_newer(name: str, last: str) -> bool:
    """Tell whether the date in a file's name is later than a stamp: the sender's word that it is another delivery.

    When a file was changed is not: whoever copies it changes that.
    """
    said = stamp_in(name)
    return bool(said and last and said > last)


def circles(edges: Mapping[str, tuple[str, int]]) -> list[tuple[str, ...]]:
    """Return the circles among managers: each the people who are, link by link, their own manager."""
    done: set[str] = set()
    found: list[tuple[str, ...]] = []
    for start in edges:
        path: dict[str, int] = {}
        at = start
        while at not in done and at in edges and at not in path:
            path[at] = len(path)
            at = edges[at][0]
        if at in path:
            found.append(tuple(list(path)[path[at] :]))
        done.update(path)
    return found


@dataclass(frozen=True, slots=True)
class Sharer:
    """A row that has an address which other rows have too."""

    line: int
    person: str
    had_it: bool


def wrongly_shared(sharers: Sequence[Sharer]) -> list[Sharer]:
    """Return the rows that must not have a shared address: those to whom it is new where somebody had it before, else
    all of them. Several jobs of one person share theirs rightly."""
    if len({one.person for one in sharers}) < 2:
        return []
    had = {one.person for one in sharers if one.had_it}
    return [one for one in sharers if one.person not in had]


@dataclass(frozen=True, slots=True)
class Traces:
    """What refused rows tell of whom they are about."""

    emails: frozenset[str]
    names: frozenset[tuple[str, str]]
    blind: int
    """Rows that tell nothing: they may be about anybody."""

    def may_be(self, email: str, first_name: str, last_name: str) -> bool:
        """Tell whether one of the rows may be about a person with this address and name."""
        return (bool(email) and email in self.emails) or _name(first_name, last_name) in self.names


def traces(refused: Iterable[tuple[str, str, str, str]]) -> Traces:
    """Return what refused rows, given as (person, e-mail, first name, last name), tell of whom they are about."""
    emails: set[str] = set()
    names: set[tuple[str, str]] = set()
    blind = 0
    for person, email, first_name, last_name in refused:
        if email:
            emails.add(email.lower())
        if first_name or last_name:
            names.add(_name(first_name, last_name))
        if not person and not email and not (first_name and last_name):
            blind += 1
    names.discard(("", ""))
    return Traces(frozenset(emails), frozenset(names), blind)


def _name(first_name: str, last_name: str) -> tuple[str, str]:
    return first_name.casefold(), last_name.casefold()
