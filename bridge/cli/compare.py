"""Two sites side by side: where a migration from one LMS to another starts."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bridge.cli.options import JsonOption, settings_here
from bridge.cli.screen import Screen
from bridge.sync.compare import Compared
from jobs import compare as job

_FEW = 10


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(compare)


def compare(
    first: Annotated[str, typer.Argument(help="A site of bridge.toml.", metavar="SITE")],
    second: Annotated[str, typer.Argument(help="The site to compare it with.", metavar="SITE")],
    every: Annotated[bool, typer.Option("--all", help="List everything, not the first ten of each.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List what differs between two sites, by key, from what each of them shows, and what cannot be compared.

    Writes nothing, in neither site. A migration from one LMS to another starts here and ends when this is empty.
    """
    screen = Screen(as_json)
    found = job.compare_sites(settings_here(), first, second)
    screen.give(
        {
            "first": found.first,
            "second": found.second,
            "equal": all(one.equal for one in found.concepts),
            "kinds": [_plain(one) for one in found.concepts],
        }
    )
    rows: list[tuple[str, ...]] = [("", "same", f"only {found.first}", f"only {found.second}", "different")]
    rows += [_row(one) for one in found.concepts]
    widths = [max(len(row[place]) for row in rows if len(row) > place) for place in range(5)]
    for row in rows:
        cells = [
            f"{row[0]:<{widths[0]}}",
            *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=False)),
        ]
        screen.say("  ".join(cells).rstrip())
    for one in found.concepts:
        _details(screen, found, one, every)


def _row(one: Compared) -> tuple[str, ...]:
    if not one.comparable:
        return (one.plural, "not comparable")
    different = len({difference.key for difference in one.differences})
    numbers = (one.same, len(one.only_first), len(one.only_second), different)
    return (one.plural, *(f"{number:,}" for number in numbers))


def _details(screen: Screen, found: job.Comparison, one: Compared, every: bool) -> None:
    shown = one if every else job.shortened(one, _FEW)
    for note in one.notes:
        screen.say(f"{one.plural}: {note}", "yellow")
    for site, keys, all_keys in (
        (found.first, shown.only_first, one.only_first),
        (found.second, shown.only_second, one.only_second),
    ):
        if keys:
            screen.say(f"{one.plural} only in {site}: {', '.join(keys)}{_rest(len(all_keys) - len(keys))}")
    for difference in shown.differences:
        screen.say(f"{one.concept} {difference.key}: {difference.field} {difference.first!r} | {difference.second!r}")
    left = len(one.differences) - len(shown.differences)
    if left:
        screen.say(f"{one.plural}: {left:,} more differences; --all lists them.")


def _rest(left: int) -> str:
    return f" and {left:,} more" if left else ""


def _plain(one: Compared) -> dict[str, Any]:
    return {
        "kind": one.concept,
        "comparable": one.comparable,
        "first": one.first.value,
        "second": one.second.value,
        "same": one.same,
        "only_first": list(one.only_first),
        "only_second": list(one.only_second),
        "different": [
            {"key": item.key, "field": item.field, "first": item.first, "second": item.second}
            for item in one.differences
        ],
        "fields": list(one.fields),
        "notes": list(one.notes),
    }
