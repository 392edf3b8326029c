"""Results back: pull, and export of what is known."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import JsonOption, SiteOption, WaitOption, opened
from bridge.cli.screen import REJECTIONS, Screen
from bridge.model import RESULT_KINDS
from bridge.ports import FixConfiguration
from bridge.sync.clock import Clock
from bridge.sync.pull import PullOrder, PullReport
from connectors.totara.completion_import import Upload
from jobs import pull as job

_FEW = 10


class ExportFormat(StrEnum):
    """What an export is for."""

    TABLE = "table"
    UPLOAD = "totara-completionimport"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(pull)
    app.command()(export)


def pull(
    since: Annotated[
        str | None, typer.Option("--since", help="Only what changed since this day (YYYY-MM-DD), e.g. 2026-11-01.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything again, and see what is gone.")] = False,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help=f"What to pull: {', '.join(RESULT_KINDS)} (several times for several)."),
    ] = None,
    activities_of: Annotated[
        list[str] | None, typer.Option("--activities-of", help="Also the activities of this course.", metavar="COURSE")
    ] = None,
    accept_vanished: Annotated[
        bool, typer.Option("--accept-vanished", help="Believe a full pull even where much of what is known is missing.")
    ] = False,
    wait: WaitOption = 0.0,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring completions, attainment and certifications back from the LMS. Takes up an interrupted pull at its place."""
    screen = Screen(as_json)
    unknown = [name for name in kind or [] if name not in RESULT_KINDS]
    if unknown:
        raise FixConfiguration(f"There is nothing called {unknown[0]!r} to pull. There is: {', '.join(RESULT_KINDS)}.")
    kinds = frozenset(kind or PullOrder().kinds) | (frozenset({"activities"}) if activities_of else frozenset())
    order = PullOrder(kinds, _day(since), full, tuple(activities_of or ()), accept_vanished)
    with opened(screen, site, wait=wait) as place, screen.busy("Reading results") as busy:

        def progress(report: PullReport) -> None:
            taken = (report.new, report.changed, report.unchanged)
            busy.reached(sum(counter.total() for counter in taken))

        report = job.pull(place, order, Clock(), progress)
    screen.give(
        {
            "run": report.run_id,
            "full": report.full,
            "since": report.since,
            "resumed": report.resumed,
            "pages": report.pages,
            "counts": report.counts(),
            "remarks": [remark.says for remark in report.remarks],
        }
    )
    how = "everything" if report.full else f"what is newer than {_shown(report.since)}"
    screen.say(f"Run {report.run_id}. Read {how}{', taking up an interrupted pull' if report.resumed else ''}.")
    if not any(report.counts().values()):
        screen.say("  Nothing new.")
    for name, counts in report.counts().items():
        screen.say(f"  {name}: " + (", ".join(f"{n:,} {word}" for word, n in counts.items() if n) or "none"))
    for remark in report.remarks:
        screen.say(f"  {remark.says}")


def export(
    what: Annotated[str, typer.Argument(help=f"What to export: {', '.join(RESULT_KINDS)}.")],
    to: Annotated[Path, typer.Option("--to", help="The file to write: .csv, .xlsx or .jsonl.")],
    history: Annotated[
        bool, typer.Option("--history", help="What results said before they changed or vanished, instead.")
    ] = False,
    form: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="table: for people and programs; totara-completionimport: for Totara's upload of completions or "
            "certifications.",
        ),
    ] = ExportFormat.TABLE,
    grade: Annotated[str, typer.Option("--grade", help="The grade in Totara's upload, which wants one.")] = "100",
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what the bridge knows of completions, attainment and the like to a file. Asks the LMS nothing."""
    screen = Screen(as_json)
    with opened(screen, site) as place:
        if form is ExportFormat.UPLOAD:
            if history:
                raise FixConfiguration("Totara's upload takes what holds now: leave --history out.")
            _upload(screen, job.export_upload(place, what, to, grade), to)
            return
        count = job.export(place, what, to, history=history)
    screen.give({"rows": count, "file": str(to)})
    screen.say(f"{count:,} rows in {to}.")


def _upload(screen: Screen, upload: Upload, to: Path) -> None:
    screen.give(
        {
            "rows": upload.rows,
            "file": str(to),
            "left_out": [{"person": one.person, "about": one.about, "why": one.why} for one in upload.left_out],
        }
    )
    screen.say(f"{upload.rows:,} rows in {to}, for Totara: Courses > Upload completion records.")
    for one in upload.left_out[:_FEW]:
        screen.say(f"  left out: {one.person} {one.about}: {one.why}", "yellow")
    if len(upload.left_out) > _FEW:
        screen.say(f"  and {len(upload.left_out) - _FEW:,} more; --json lists them.", "yellow")
    if upload.left_out:
        raise typer.Exit(REJECTIONS)


def _day(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        day = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise FixConfiguration(f"--since {text} is not a day. Write it as YYYY-MM-DD.") from error
    return (day if day.tzinfo else day.replace(tzinfo=dt.UTC)).timestamp()


def _shown(moment: float | None) -> str:
    return "ever" if moment is None else dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
