"""What happened: runs, and one run in full."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from bridge.cli.options import JsonOption, SiteOption, settings_here
from bridge.cli.screen import Screen
from bridge.ports import FixConfiguration
from bridge.store import Store, journal
from bridge.store.journal import Entry, Run


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="List what ran, newest first; `runs show ID` shows one run.", rich_markup_mode=None)
    group.callback(invoke_without_command=True)(runs)
    group.command("show")(show)
    app.add_typer(group, name="runs")


def runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", help="How many.", min=1)] = 20,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what ran, newest first."""
    if context.invoked_subcommand is not None:
        return
    screen = Screen(as_json)
    store = Store.open(settings_here().store)
    with store.read() as connection:
        found = journal.runs(connection, site, limit)
    store.close()
    screen.give({"runs": [_plain(run) for run in found]})
    if not found:
        screen.say("Nothing has run yet." if site is None else f"Nothing has run on a site {site!r} yet.")
    for run in found:
        screen.say(f"{run.id:>6}  {_when(run.started_at)}  {run.site}  {run.verb:<6} {run.state:<11} {_brief(run)}")


def show(
    run: Annotated[int, typer.Argument(help="The run's number.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Every change, not only those that were not applied.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one run: what it did, and each change that was refused, not sent or is still open, with the reason."""
    screen = Screen(as_json)
    store = Store.open(settings_here().store)
    with store.read() as connection:
        found = journal.find_run(connection, run)
        if found is None:
            raise FixConfiguration(
                f"There is no run {run}. `lms-bridge runs` lists those there are; what ran longer ago than `runs` "
                "under [retention] says is no longer recorded."
            )
        counts = journal.entry_counts(connection, run)
        entries = [e for e in journal.entries(connection, run) if everything or e.state != "applied" or e.why]
    store.close()
    screen.give(
        {
            **_plain(found),
            "journal": [
                {"kind": kind, "action": action, "state": state, "count": count}
                for kind, action, state, count in counts
            ],
            "entries": [_plain_entry(entry) for entry in entries],
        }
    )
    undoes = f" of run {found.undoes}" if found.undoes else ""
    screen.say(f"Run {found.id}: {found.verb}{undoes} on {found.site}, {found.state}")
    ended = _when(found.finished_at) if found.finished_at else "not ended"
    screen.say(f"  {_when(found.started_at)} to {ended}")
    if found.message:
        screen.say(f"  {found.message}")
    for kind, action, state, count in counts:
        screen.say(f"  {kind}: {action} {count:,} {state}")
    if found.verb == "pull":
        for kind, numbers in found.counts.items():
            screen.say(f"  {kind}: " + ", ".join(f"{number:,} {name}" for name, number in numbers.items() if number))
    for entry in entries:
        why = f": {entry.why}" if entry.why else ""
        screen.say(
            f"  {entry.seq:>6} {entry.state} {entry.change.action.value} {entry.change.kind} {entry.change.key}{why}"
        )


def _when(moment: float | None) -> str:
    if moment is None:
        return ""
    return dt.datetime.fromtimestamp(moment, dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _brief(run: Run) -> str:
    if run.message:
        return run.message.splitlines()[0][:100]
    total = sum(
        number
        for actions in run.counts.values()
        for states in actions.values()
        if isinstance(states, dict)
        for number in states.values()
    )
    return f"{total:,} changes" if total else ""


def _plain(run: Run) -> dict[str, object]:
    return {
        "id": run.id,
        "site": run.site,
        "verb": run.verb,
        "state": run.state,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "counts": dict(run.counts),
        "message": run.message,
        "undoes": run.undoes,
    }


def _plain_entry(entry: Entry) -> dict[str, object]:
    return {
        "seq": entry.seq,
        "kind": entry.change.kind,
        "key": entry.change.key,
        "action": entry.change.action.value,
        "state": entry.state,
        "why": entry.why,
        "lms_id": entry.lms_id,
    }
