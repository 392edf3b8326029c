"""Why something is as it is: file, row, rule, change, request and answer, from the store."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from bridge.cli.options import AsOfOption, JsonOption, day_of, settings_here
from bridge.cli.screen import Screen
from bridge.store import Store
from jobs import why as job

SHOWN = 12
"""Lines of one sort shown before the rest is only counted."""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(why)


def why(
    what: Annotated[str, typer.Argument(help="A person's number, a position's key, or a job title.", metavar="WHAT")],
    everything: Annotated[bool, typer.Option("--all", help="Every line, however many there are.")] = False,
    as_of: AsOfOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell from the store why a person, a position or a title is as it is: file, row, rule, change, request, answer."""
    screen = Screen(as_json)
    settings = settings_here()
    store = Store.open(settings.store)
    try:
        found = job.why(settings, store, what, day_of(as_of) or dt.datetime.now().astimezone().date())
    finally:
        store.close()
    screen.give(found.to_json())
    most = None if everything else SHOWN
    if found.person is not None:
        _person(screen, found.person, most)
    if found.position is not None:
        _position(screen, found.position, most)
    if found.title is not None:
        _title(screen, found.title, most)
    for note in found.notes:
        screen.say(note, "yellow")


def _person(screen: Screen, told: dict[str, Any], most: int | None) -> None:
    screen.say(f"Person {told['key']}", "bold")
    if not told["rows"]:
        screen.say("  No accepted file lists them.")
    for row in told["rows"]:
        _row(screen, row)
    for row in told["later"]:
        _row(screen, row, f" From {row['effective']} on:")
    for one in told["refused"]:
        done = "cleared by a later file" if one["cleared"] else "refused, so that the last good row stands"
        verdict = done if one["refused"] else "the row was kept"
        line = f", line {one['line']}" if one["line"] else ""
        column = f", column {one['column']}" if one["column"] else ""
        screen.say(f"  {one['file']}{line}{column}: {one['message']} {one['remedy']} ({one['rule']}; {verdict})")
    for site in told["sites"]:
        screen.say(f"  Site {site['site']}: people of {', '.join(site['feeds'])}")
        if site["quarantined"]:
            held = ", ".join(site["quarantined"])
            screen.say(f"    Nothing of people is pushed: {held} is in quarantine (`lms-bridge feed status`).", "red")
        if site.get("in_pilot") is False:
            screen.say("    Outside the pilot: nothing is done to them here.")
        if site["needs"]:
            parts = ", ".join(f"{count} of {target}" for target, count in site["needs"].items())
            screen.say(f"    Their job needs {sum(site['needs'].values())} competencies: {parts}")
    _sent(screen, told, most)


def _row(screen: Screen, row: dict[str, Any], when: str = "") -> None:
    line = f", line {row['line']}" if row["line"] else ""
    because = f"; released: {row['released_because']}" if row["released_because"] else ""
    screen.say(
        f"  Feed {row['feed']}: {row['file'] or 'a file'}{line} ({row['state']} {_when(row['received_at'])}{because})"
    )
    said = "; ".join(f"{name} {value}" for name, value in row["says"].items())
    screen.say(f"   {when} {said}")
    if row["title"] is not None:
        _rule(screen, row["title"], "    ")
    missing = row.get("missing")
    if missing:
        screen.say(f"    Missing since {missing['since']} (first in {missing['file']})")
        if missing["certain_since"]:
            by = f"{missing['confirmed_by']} ({missing['confirmed_in']})"
            screen.say(f"    Gone for certain since {missing['certain_since']}: {by}")
        else:
            screen.say(
                "    Nothing happens until a second accepted file lacks them too, or a manifest vouches for one."
            )


def _rule(screen: Screen, rule: dict[str, Any], indent: str) -> None:
    where = f"Position {rule['position']}" if rule["position"] else "No position"
    screen.say(f"{indent}{where}: {rule['because']}")
    for one in rule.get("decisions", ()):
        screen.say(f"{indent}  {_decision(one)}")


def _position(screen: Screen, told: dict[str, Any], most: int | None) -> None:
    about = [f"family {told['family']}" if told["family"] else "", f"level {told['level']}" if told["level"] else ""]
    known = "" if told["in_catalogue"] else " (not in the catalogue)"
    screen.say(f"Position {told['key']}  {told['title']}{known}", "bold")
    if any(about):
        screen.say("  " + ", ".join(part for part in about if part))
    screen.say(f"  {told['people']:,} people hold it, by {len(told['titles']):,} titles")
    lines = [
        f"  {one['people']:,} × “{one['title']}”{_part(' in ', one['unit'])}: {one['because']}"
        for one in sorted(told["titles"], key=lambda one: -int(one["people"]))
    ]
    _some(screen, lines, most)
    _some(screen, [f"  {_decision(one)}" for one in told["decisions"]], most)
    _sent(screen, told, most)


def _title(screen: Screen, told: dict[str, Any], most: int | None) -> None:
    screen.say(f"Title “{told['title']}”: {told['people']:,} people", "bold")
    for one in told["uses"][:most]:
        where = f" in {one['unit']}" if one["unit"] else ""
        screen.say(f"  {one['people']:,} in the feed {one['feed']}{where}")
        _rule(screen, one, "    ")
    if most is not None and len(told["uses"]) > most:
        screen.say(f"  … and {len(told['uses']) - most:,} more (--all shows them)")
    _some(screen, [f"  {_decision(one)}" for one in told["decisions"]], most)


def _sent(screen: Screen, told: dict[str, Any], most: int | None) -> None:
    """Say what stands in the LMS and what was sent, newest first."""
    standing = [
        f"    {one['kind']} {one['key']}{_id(one)}{' (retired)' if one['retired'] else ''}"
        f"{': ' if one['fields'] else ''}{'; '.join(f'{name} {_text(value)}' for name, value in one['fields'].items())}"
        for one in told["standing"]
    ]
    if standing:
        screen.say("  What the bridge last wrote or found:")
        _some(screen, standing, most)
    for one in told["undecided"]:
        screen.say(
            f"  Left alone on {one['site']} until somebody decides, since {_when(one['since'])} (run {one['run']}): "
            f"{one['kind']} {one['key']}: {one['reason']}",
            "yellow",
        )
    for one in told["held"]:
        screen.say(f"  Held on {one['site']}: {one['kind']} {one['key']}: {one['reason']}")
    lines = [
        f"    run {one['run']} ({_part('', one['verb'], ' ')}on {one['site']}, {_when(one['at'])}): "
        f"{one['action']} {one['kind']} {one['key']}{_fields(one['sent'])}: "
        f"{one['answer']}{_id(one)}{_part(': ', one['because'])}"
        for one in told["done"]
    ]
    if lines:
        screen.say("  What was sent, and the answer, newest first:")
        _some(screen, lines, most)
    elif not standing and not told["undecided"]:
        screen.say("  Nothing was sent about it yet.")
    if "rows" in told:
        scope = f"lms-bridge plan --kind people --scope person={told['key']}"
        screen.say(f"  What would be done now, and what holds it: {scope}")


def _fields(sent: dict[str, dict[str, Any]]) -> str:
    parts = [
        f"{name} {_text(one['after'])}"
        if one["before"] is None
        else f"{name} {_text(one['before'])} → {_text(one['after'])}"
        for name, one in sent.items()
    ]
    return f" ({'; '.join(parts)})" if parts else ""


def _part(joint: str, text: str, after: str = "") -> str:
    return f"{joint}{text}{after}" if text else ""


def _text(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else text[:79] + "…"


def _id(one: dict[str, Any]) -> str:
    return f" [id {one['lms_id']}]" if one["lms_id"] else ""


def _decision(one: dict[str, Any]) -> str:
    placed = ", ".join(place["position"] for place in one["placements"])
    where = f" in {one['department']}" if one["department"] else ""
    said = f" → {placed}" if placed else ""
    effective = f", from {one['effective']}" if one["effective"] else ""
    reason = f": {one['reason']}" if one["reason"] else ""
    return (
        f"decision {one['id']} by {one['reviewer']}, {_when(one['decided_at'])}{effective}: “{one['title']}”{where} "
        f"{one['verdict']}{said}{reason}"
    )


def _some(screen: Screen, lines: Iterable[str], most: int | None) -> None:
    every = list(lines)
    for line in every[:most]:
        screen.say(line)
    if most is not None and len(every) > most:
        screen.say(f"    … and {len(every) - most:,} more (--all shows them)")


def _when(moment: float | None) -> str:
    if moment is None:
        return ""
    return dt.datetime.fromtimestamp(moment, dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M")
