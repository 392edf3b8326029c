"""Feeds: looking at a file, taking files in, what became of them, and a person's decision about a doubtful one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.options import AsOfOption, JsonOption, day_of, settings_here
from bridge.cli.screen import MISUSED, REFUSED, REJECTIONS, Screen
from bridge.faults import Fault
from bridge.ports import FixConfiguration
from bridge.settings import Settings
from bridge.store import Store
from bridge.store import feeds as stored
from bridge.store.roster import roll_of
from connectors.tables import UnreadableTable
from jobs.feed_check import check_file, store_or_none
from jobs.feed_desk import context_of, feed_named, ingest_arrivals
from jobs.ingest import Incoming, IngestResult
from jobs.ingest import ingest as take_in
from jobs.ingest import release as decide
from jobs.rejections import export_rejections, list_rejections

FeedOption = Annotated[str | None, typer.Option("--feed", help="Which feed, where bridge.toml names several.")]

MOST_SHOWN = 200
"""Faults printed for a person; --json and --out have them all."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="HRIS feeds: check a file, see where feeds stand, release one.", rich_markup_mode=None)
    group.command("check")(check)
    group.command("status")(status)
    group.command("release")(release)
    app.add_typer(group, name="feed", no_args_is_help=True)
    app.command()(ingest)
    app.command()(rejections)


def check(
    file: Annotated[Path, typer.Argument(help="The file to look at.")],
    feed: FeedOption = None,
    as_of: AsOfOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how a file would be read, what each column became, and every fault. Touches nothing."""
    screen = Screen(as_json)
    settings = settings_here()
    context = context_of(settings, feed)
    with store_or_none(settings.store) as store:
        try:
            seen = check_file(store, context, file, _day(as_of))
        except UnreadableTable as error:
            screen.give({"file": str(file), "readable": False, "faults": [_fault(error.fault)], "exit_code": MISUSED})
            screen.say(str(error.fault), "red")
            raise typer.Exit(MISUSED) from error
    result = seen.result
    screen.give(
        {
            "file": str(file),
            "readable": True,
            "result": result.as_json(),
            "columns": [asdict(one) for one in seen.columns],
            "unread": list(seen.unread),
            "rows": [{"line": line, **row._asdict()} for line, row in seen.rows],
            "faults": [{**_fault(one.fault), "person": one.person, "refused": one.refused} for one in seen.found],
            "exit_code": result.exit_code,
        }
    )
    screen.say(f"{file}, as the feed {context.name} reads it: {'; '.join(result.statements)}.")
    screen.say("Columns:")
    for use in seen.columns:
        screen.say(f"  {use.field:<12} {use.header or '—'}" + (f"  ({use.how})" if use.how else ""))
    if seen.unread:
        screen.say(f"  Nothing reads: {', '.join(seen.unread)}")
    screen.say("The first rows:")
    for line, row in seen.rows:
        said = "; ".join(f"{name} {value}" for name, value in row._asdict().items() if value and name != "primary")
        screen.say(f"  line {line}: {said}")
    _say_findings(screen, ((one.fault, one.refused) for one in seen.found))
    if seen.surplus:
        screen.say(f"  and {seen.surplus:,} more.")
    _say_counts(screen, result, would=True)
    screen.say("Nothing was changed.")
    raise typer.Exit(result.exit_code)


def ingest(
    file: Annotated[Path | None, typer.Option("--file", help="Take this file in, instead of what arrived.")] = None,
    feed: FeedOption = None,
    as_of: AsOfOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in what feeds have delivered, or one file: read, compared, judged, and taken over or put into quarantine."""
    screen = Screen(as_json)
    settings = settings_here()
    today = _day(as_of)
    store = Store.open(settings.store)
    try:
        if file is not None:
            context = context_of(settings, feed, store, today)
            result = take_in(store, context, Incoming.of_path(file), today)
            _say_result(screen, result)
            screen.give({**result.as_json(), "exit_code": result.exit_code})
            raise typer.Exit(result.exit_code)
        code = _ingest_arrived(screen, settings, store, feed, today)
    finally:
        store.close()
    raise typer.Exit(code)


def _ingest_arrived(screen: Screen, settings: Settings, store: Store, feed: str | None, today: dt.date) -> int:
    """Take in what lies in the drops of one feed or of all; return the exit code."""
    names = [feed_named(settings, feed)[0]] if feed is not None or not settings.feeds else list(settings.feeds)
    said: list[dict[str, Any]] = []
    codes: set[int] = set()
    for name in names:
        delivery = ingest_arrivals(store, settings, context_of(settings, name, store, today), today)
        for result in delivery.results:
            _say_result(screen, result)
        for note in (*delivery.waiting, *delivery.refused, *delivery.again):
            screen.say(f"{name}: {note}")
        if not delivery.results:
            screen.say(f"{name}: nothing new has arrived.")
        codes.add(delivery.exit_code)
        said.append(
            {
                "feed": name,
                "files": [result.as_json() for result in delivery.results],
                "waiting": list(delivery.waiting),
                "refused": list(delivery.refused),
                "again": list(delivery.again),
            }
        )
    code = next((one for one in (REFUSED, REJECTIONS) if one in codes), 0)
    screen.give({"feeds": said, "exit_code": code})
    return code


def status(as_json: JsonOption = False) -> None:
    """Show each feed: open or in quarantine and why, how many people it lists, and its latest files."""
    screen = Screen(as_json)
    settings = settings_here()
    store = Store.open(settings.store)
    try:
        with store.read() as connection:
            known = {one.name: one for one in stored.all_feeds(connection)}
            names = list(dict.fromkeys((*settings.feeds, *known)))
            found = []
            for name in names:
                one = known.get(name, stored.Feed(name))
                roll = roll_of(connection, name)
                latest = stored.latest_snapshots(connection, name, 5)
                refused = stored.open_rejections(connection, name)
                unmapped = stored.unmapped_titles(connection, name)
                found.append((one, roll, latest, refused, unmapped))
    finally:
        store.close()
    screen.give(
        {
            "feeds": [
                {
                    **asdict(one),
                    **asdict(roll),
                    "rejected_rows": refused,
                    "unmapped_titles": len(unmapped),
                    "unmapped_people": sum(title.people for title in unmapped),
                    "files": [asdict(snapshot) for snapshot in latest],
                }
                for one, roll, latest, refused, unmapped in found
            ]
        }
    )
    if not found:
        screen.say(
            "There are no feeds yet. Name one in bridge.toml under [feeds.NAME], or run `lms-bridge ingest --file`."
        )
    for one, roll, latest, refused, unmapped in found:
        screen.say(f"{one.name}: {'in quarantine' if one.quarantined else 'open'}", "red" if one.quarantined else None)
        if one.quarantined:
            screen.say(f"  {one.reason}")
            screen.say(f"  Accept it with `lms-bridge feed release {one.name} --reason TEXT`.")
        screen.say(
            f"  {roll.people:,} people, {roll.missing:,} missing once, {roll.absent:,} gone for certain, "
            f"{roll.waiting:,} rows wait for their day, {refused:,} rows refused"
        )
        if unmapped:
            people = sum(title.people for title in unmapped)
            screen.say(f"  {len(unmapped):,} titles of {people:,} people stand for no position yet")
        for snapshot in latest:
            screen.say(f"  {_when(snapshot.received_at)}  {snapshot.state:<11} {snapshot.file}  {snapshot.rows:,} rows")


def release(
    name: Annotated[str, typer.Argument(help="The feed.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept with the file.")],
    partial: Annotated[
        bool, typer.Option("--partial", help="Apply only the good rows, and miss nobody for lack of a row.")
    ] = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Drop the file instead; the last good state goes on.")
    ] = False,
    as_of: AsOfOption = None,
    as_json: JsonOption = False,
) -> None:
    """Accept the file for which a feed is in quarantine."""
    screen = Screen(as_json)
    if partial and discard:
        raise FixConfiguration("--partial takes the good rows and --discard takes none: give one of them.")
    settings = settings_here()
    store = Store.open(settings.store)
    try:
        context = context_of(settings, name, store, _day(as_of))
        result = decide(store, context, reason, _day(as_of), partial=partial, discard=discard)
    finally:
        store.close()
    _say_result(screen, result)
    screen.give({**result.as_json(), "exit_code": result.exit_code})
    raise typer.Exit(result.exit_code)


def rejections(
    feed: Annotated[str | None, typer.Option("--feed", help="Only this feed.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write them to a file the sender can mend from: .xlsx, .csv or .jsonl.")
    ] = None,
    cleared: Annotated[bool, typer.Option("--cleared", help="Also those that a later file has cleared.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the rows that were refused, each with file, line, column, value, reason and what to do."""
    screen = Screen(as_json)
    store = Store.open(settings_here().store)
    try:
        found = list_rejections(store, feed, cleared=cleared)
    finally:
        store.close()
    written = export_rejections(found, out) if out is not None else 0
    screen.give(
        {
            "rejections": [
                {
                    "feed": one.feed,
                    **_fault(one.fault),
                    "person": one.person,
                    "refused": one.refused,
                    "cleared": one.cleared_by is not None,
                }
                for one in found
            ],
            "file": str(out) if out is not None else None,
        }
    )
    if out is not None:
        screen.say(f"{written:,} lines in {out}.")
        return
    if not found:
        screen.say("No row stands refused.")
    _say_findings(screen, ((one.fault, one.refused) for one in found))


def _say_result(screen: Screen, result: IngestResult) -> None:
    if result.statements:
        screen.say(f"{result.file}: {'; '.join(result.statements)}.")
    _say_counts(screen, result, would=False)
    if result.state == stored.QUARANTINED:
        screen.say(
            f"The feed {result.feed} is in quarantine: its last good state stays, and nothing is pushed from it. "
            f"Look at `lms-bridge rejections`, then `lms-bridge feed release {result.feed} --reason TEXT` "
            "(with --partial for its good rows alone), or wait for a good file.",
            "red",
        )


def _say_counts(screen: Screen, result: IngestResult, *, would: bool) -> None:
    verb = "would be " if would else ""
    parts = {
        "new": result.created,
        "changed": result.updated,
        "unchanged": result.unchanged,
        "waiting for their day": result.waiting,
        "held": result.held,
        "rejected": result.rejected,
    }
    equation = " + ".join(f"{count:,} {words}" for words, count in parts.items())
    parts = {
        "new": result.created,
        "changed": result.updated,
        "unchanged": result.unchanged,
        "waiting for their day": result.waiting,
        "held": result.held,
        "rejected": result.rejected,
    }
    equation = " + ".join(f"{count:,} {words}" for words, count in parts.items())
    screen.say(f"{result.file} {verb}{result.state}: {result.rows:,} rows = {equation}.")
    if result.changed:
        screen.say("  Changed: " + ", ".join(f"{count:,} {name}" for name, count in result.changed.items()))
    said = {
        "left by their status": result.terminated,
        "missing for the first time (nothing happens to them)": result.missing,
        "gone for certain": result.absent,
        "back again": result.returned,
        "rows of earlier files came due": result.came_due,
        "people whose title stands for no position yet": result.unmapped,
        "earlier findings cleared": result.cleared,
        "rows kept with a remark": result.remarks,
    }
    for words, count in said.items():
        if count:
            screen.say(f"  {count:,} {words}")
    for guard in result.guards:
        screen.say(f"  {guard.name}: {guard}", "red")
    for note in result.notes:
        screen.say(f"  {note}")


def _say_findings(screen: Screen, findings: Iterable[tuple[Fault, bool]]) -> None:
    shown = 0
    total = 0
    for fault, refused in findings:
        total += 1
        if shown < MOST_SHOWN:
            shown += 1
            screen.say(f"  {'refused' if refused else 'kept'}  {fault}")
    if total > shown:
        screen.say(f"  … {total - shown:,} more; `lms-bridge rejections --out rejections.xlsx` has them all.")


def _fault(fault: Fault) -> dict[str, Any]:
    return asdict(fault)


def _day(text: str | None) -> dt.date:
    """Return the day that counts as today."""
    return day_of(text) or dt.datetime.now().astimezone().date()


def _when(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
