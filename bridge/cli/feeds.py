"""Feeds: looking at a file, taking files in, what became of them, and a person's decision about a doubtful one."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.options import AsOfOption, JsonOption, day_of, settings_here
from bridge.cli.screen import FAILED, MISUSED, REFUSED, REJECTIONS, Screen, exit_code_of
from bridge.faults import Fault
from bridge.ports import BridgeError, FixConfiguration
from bridge.settings import Settings
from bridge.store import Store
from bridge.store import feeds as stored
from bridge.store.roster import roll_of
from bridge.sync.clock import Clock
from connectors.tables import UnreadableTable
from jobs import health
from jobs.feed_check import check_file, store_or_none
from jobs.feed_desk import context_of, feed_named, ingest_arrivals
from jobs.ingest import IDENTICAL, Incoming, IngestResult
from jobs.ingest import ingest as take_in
from jobs.ingest import release as decide
from jobs.rejections import as_rejection, export_rejections, list_rejections

FeedOption = Annotated[str | None, typer.Option("--feed", help="Which feed, where bridge.toml names several.")]

MOST_SHOWN = 200
"""Refused rows printed for a person; --json and --out have them all."""

MOST_LINES = 20
"""Lines named of rows that are kept with the same remark."""

BECAME = {
    stored.ACCEPTED: "accepted",
    stored.PARTIAL: "accepted in part",
    stored.QUARANTINED: "put into quarantine",
    stored.REFUSED: "not taken",
    stored.DISCARDED: "discarded",
    IDENTICAL: "the same as before",
}
"""What became of a file, in words."""


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
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the faults to a file for the sender: .xlsx, .csv or .jsonl.")
    ] = None,
    as_of: AsOfOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how a file would be read, what each column became, and every fault. Takes nothing in."""
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
    if out is not None:
        export_rejections([as_rejection(context.name, one) for one in seen.found], out)
    screen.give(
        {
            "file": str(file),
            "readable": True,
            "result": result.as_json(),
            "columns": [asdict(one) for one in seen.columns],
            "unread": list(seen.unread),
            "rows": [{"line": line, **row._asdict()} for line, row in seen.rows],
            "faults": [{**_fault(one.fault), "person": one.person, "refused": one.refused} for one in seen.found],
            "out": str(out) if out is not None else None,
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
    _say_findings(screen, [(one.fault, one.refused) for one in seen.found], "--out faults.xlsx")
    if seen.surplus:
        screen.say(f"  … and {seen.surplus:,} faults that are not listed: find the cause of the first ones.")
    _say_counts(screen, result, would=True)
    if out is not None:
        screen.say(f"The faults are in {out}.")
    screen.say("Nothing was taken in.")
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
    """Take in what lies in the drops of one feed or of all; return the exit code. One feed's trouble is no other's."""
    names = [feed_named(settings, feed)[0]] if feed is not None or not settings.feeds else list(settings.feeds)
    said: list[dict[str, Any]] = []
    codes: list[int] = []
    for name in names:
        try:
            delivery = ingest_arrivals(
                store, settings, context_of(settings, name, store, today), today, _patiently(screen, name)
            )
        except BridgeError as error:
            if len(names) == 1:
                raise
            screen.aside(f"{name}: {error}", "red")
            codes.append(exit_code_of(error))
            said.append({"feed": name, "files": [], "error": str(error)})
            continue
        for result in delivery.results:
            _say_result(screen, result)
        for note in (*delivery.waiting, *delivery.refused, *delivery.again, *delivery.expired):
            screen.say(f"{name}: {note}")
        for note in delivery.troubles:
            screen.aside(f"{name}: {note}", "yellow")
        if not delivery.results:
            screen.say(f"{name}: nothing new has arrived.")
        codes.append(delivery.exit_code)
        said.append(
            {
                "feed": name,
                "files": [result.as_json() for result in delivery.results],
                "waiting": list(delivery.waiting),
                "refused": list(delivery.refused),
                "again": list(delivery.again),
                "troubles": list(delivery.troubles),
                "expired": list(delivery.expired),
            }
        )
    health.feeds_reached(store, settings, [one["feed"] for one in said if "error" not in one], time.time())
    code = next((one for one in (MISUSED, FAILED, REFUSED, REJECTIONS) if one in codes), 0)
    screen.give({"feeds": said, "exit_code": code})
    return code


def _patiently(screen: Screen, name: str) -> Clock:
    """Return a clock that says why nothing seems to happen while it waits."""

    def sleep(seconds: float) -> None:
        screen.aside(f"{name}: waiting {seconds:.0f} s, to see that nobody is still writing to the files.")
        time.sleep(seconds)

    return Clock(sleep=sleep)


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
        if one.quarantined:
            screen.say(f"{one.name}: in quarantine since {_when(one.since)}; nothing is pushed from it", "red")
            screen.say(f"  {one.reason}")
            screen.say(f"  {_how_to_decide(one.name)}")
        else:
            screen.say(f"{one.name}: open")
        parts = {
            "people": roll.people,
            "missing from the last file": roll.missing,
            "gone for certain": roll.absent,
            "rows waiting for their day": roll.waiting,
            "rows refused": refused,
        }
        screen.say(
            "  " + ", ".join(f"{count:,} {words}" for words, count in parts.items() if count or words == "people")
        )
        if unmapped:
            people = sum(title.people for title in unmapped)
            screen.say(f"  {len(unmapped):,} titles of {people:,} people stand for no position yet")
        for snapshot in latest:
            became = BECAME[snapshot.state]
            screen.say(f"  {_when(snapshot.received_at)}  {became:<19}  {snapshot.file}  {snapshot.rows:,} rows")
            if snapshot.reason:
                screen.say(f"    decided because: {snapshot.reason}")


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
    settings = settings_here()
    store = Store.open(settings.store)
    try:
        with store.read() as connection:
            names = sorted({*settings.feeds, *(one.name for one in stored.all_feeds(connection))})
        if feed is not None and feed not in names:
            raise FixConfiguration(f"There is no feed {feed!r}. There are: {', '.join(names) or 'none'}.")
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
    _say_findings(screen, [(one.fault, one.refused) for one in found], "--out rejections.xlsx")


def _say_result(screen: Screen, result: IngestResult) -> None:
    if result.statements:
        screen.say(f"{result.file}: {'; '.join(result.statements)}.")
    _say_counts(screen, result, would=False)
    if result.state == stored.QUARANTINED:
        screen.say(
            f"The feed {result.feed} is in quarantine: its last good state stays, and nothing is pushed from it. "
            f"Look at `lms-bridge rejections`. {_how_to_decide(result.feed)}",
            "red",
        )


def _how_to_decide(feed: str) -> str:
    """Say what a person may do about a feed in quarantine."""
    return (
        f"A good file that follows opens it by itself. If this one is right: `lms-bridge feed release {feed} --reason "
        "TEXT`, with --partial where only its good rows shall count; if it is wrong, with --discard."
    )


def _say_counts(screen: Screen, result: IngestResult, *, would: bool) -> None:
    parts = {
        "new": result.created,
        "changed": result.updated,
        "unchanged": result.unchanged,
        "waiting for their day": result.waiting,
        "held": result.held,
        "rejected": result.rejected,
    }
    equation = " + ".join(f"{count:,} {words}" for words, count in parts.items() if count) or "none"
    became = BECAME[result.state]
    rows = f"{result.rows:,} rows = {equation}" if result.rows else "no row"
    screen.say(f"{result.file}: {'would be ' if would else ''}{became}. {rows}.")
    if result.changed:
        screen.say("  Changed: " + ", ".join(f"{name} of {count:,}" for name, count in result.changed.items()))
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
    if result.held:
        screen.say("  Held rows are of people whom another feed still lists; they count once it no longer does.")
    decided = result.state in (stored.PARTIAL, stored.ACCEPTED, stored.DISCARDED)
    for guard in result.guards:
        if decided:
            screen.say(f"  {guard.name}: {guard.says} Somebody has decided about it.")
        else:
            screen.say(f"  {guard.name}: {guard}", "red")
    for note in result.notes:
        screen.say(f"  {note}")


def _say_findings(screen: Screen, findings: Sequence[tuple[Fault, bool]], all_of_them: str) -> None:
    """Print each refused row, and rows that are kept in groups that have the same to say of them."""
    refused = [fault for fault, is_refused in findings if is_refused]
    for fault in refused[:MOST_SHOWN]:
        screen.say(f"  refused  {fault} [{fault.rule}]")
    if len(refused) > MOST_SHOWN:
        screen.say(f"  … and {len(refused) - MOST_SHOWN:,} more; {all_of_them} has them all.")
    kept: dict[tuple[str, str, str], list[Fault]] = {}
    for fault, is_refused in findings:
        if not is_refused:
            kept.setdefault((fault.file, fault.column, fault.rule), []).append(fault)
    for (file, column, rule), faults in kept.items():
        if len(faults) == 1:
            screen.say(f"  kept     {faults[0]} [{rule}]")
            continue
        lines = ", ".join(str(fault.line) for fault in faults[:MOST_LINES])
        more = f" and {len(faults) - MOST_LINES:,} more" if len(faults) > MOST_LINES else ""
        first = faults[0]
        screen.say(f"  kept     {file}, column {column}, {rule}: {len(faults):,} rows (lines {lines}{more}).")
        screen.say(f"           On line {first.line}: {first.message} {first.remedy}".rstrip())


def _fault(fault: Fault) -> dict[str, Any]:
    return asdict(fault)


def _day(text: str | None) -> dt.date:
    """Return the day that counts as today."""
    return day_of(text) or dt.datetime.now().astimezone().date()


def _when(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
