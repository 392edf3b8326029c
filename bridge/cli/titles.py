"""Legacy titles onto standard positions: suggest, review, decide, and see what follows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.options import JsonOption, settings_here
from bridge.cli.screen import FAILED, Screen
from bridge.ports import FixConfiguration
from bridge.store import Store

if TYPE_CHECKING:
    from mappings.titles.catalogue import Catalogue
    from mappings.titles.decisions import Decision
    from mappings.titles.gazetteer import GazetteerEntry
    from mappings.titles.legacy import LegacyGroup

MOST_SHOWN = 40
"""Lines of a list printed for a person; files and --json have them all."""

LegacyArgument = Annotated[Path, typer.Argument(help="File with the old titles: .csv or .xlsx.")]
LegacyOrFeed = Annotated[
    Path | None, typer.Argument(help="File with the old titles: .csv or .xlsx. Else the titles of the feeds' people.")
]
CatalogueOption = Annotated[
    Path | None,
    typer.Option(
        "--catalogue",
        help="The standard positions: a .csv or .xlsx file, a model folder, or `onet`. Else the site's model.",
    ),
]
GazetteerOption = Annotated[
    str | None,
    typer.Option(
        "--gazetteer",
        help="File with further titles for positions or families; `onet` for the shipped one, which is taken by itself "
        "where the catalogue's keys are O*NET-SOC codes; `none` for none.",
    ),
]
DecisionsOption = Annotated[
    Path | None, typer.Option("--decisions", help="Decided titles from a file (title, department, grade, key) too.")
]
TitleOption = Annotated[str | None, typer.Option("--title", help="Heading of the column with the titles.")]
DepartmentOption = Annotated[str | None, typer.Option("--department", help="Heading of the department.")]
GradeOption = Annotated[str | None, typer.Option("--grade", help="Heading of the grade.")]
CodeOption = Annotated[str | None, typer.Option("--code", help="Heading of the job code.")]
HeadcountOption = Annotated[str | None, typer.Option("--headcount", help="Heading of the number of people.")]
SheetOption = Annotated[str | None, typer.Option("--sheet", help="Which sheet of a workbook.")]
CoreOption = Annotated[bool, typer.Option("--core", help="Leave the model of meaning out, even where it is installed.")]
FeedOption = Annotated[str | None, typer.Option("--feed", help="Only this feed.")]
AsOfOption = Annotated[
    str | None, typer.Option("--as-of", help="Take this day for today (YYYY-MM-DD).", metavar="DATE")
]
ReviewerOption = Annotated[str, typer.Option("--reviewer", help="Who decided.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Old job titles onto standard positions: suggest, review, decide.", rich_markup_mode=None)
    for command in (suggest, apply, score, families, queue, undo, history, crosswalk, status, impact):
        group.command()(command)
    app.add_typer(group, name="titles", no_args_is_help=True)


def _job() -> ModuleType:
    """Return the module that does the work, or say which extra is missing."""
    try:
        import jobs.titles as job
    except ModuleNotFoundError as missing:
        raise FixConfiguration(
            f"Mapping titles needs the Python package {missing.name}, which is not installed. "
            "Install lms-bridge[titles], or lms-bridge[semantic] for better suggestions."
        ) from missing
    return job


def _catalogue_path(given: Path | None) -> Path:
    if given is not None:
        return given
    settings = settings_here()
    models = {settings.folder / site.model for site in settings.sites.values() if site.model}
    if len(models) != 1:
        raise FixConfiguration(
            "Which standard positions? Name them with --catalogue FILE, or set `model` for the site in bridge.toml."
        )
    return models.pop()


def _catalogue(screen: Screen, given: Path | None) -> Catalogue:
    found: Catalogue = _job().catalogue_of(_catalogue_path(given))
    _warn(screen, found.warnings)
    return found


def _warn(screen: Screen, warnings: Sequence[str]) -> None:
    for warning in warnings[:MOST_SHOWN]:
        screen.aside(warning, "yellow")
    if len(warnings) > MOST_SHOWN:
        screen.aside(f"... and {len(warnings) - MOST_SHOWN:,} more rows with faults.", "yellow")


def _gazetteer(screen: Screen, given: str | None, catalogue: Catalogue) -> tuple[GazetteerEntry, ...]:
    found: tuple[GazetteerEntry, ...] = _job().gazetteer_of(given, catalogue)
    if given is None and found:
        screen.aside(
            f"The catalogue's keys are O*NET-SOC codes: the {len(found):,} shipped titles of occupations are used "
            "(--gazetteer none leaves them out)."
        )
    return found


def _named(**headings: str | None) -> dict[str, str]:
    return {name: heading for name, heading in headings.items() if heading is not None}


def _decisions(extra: Path | None) -> list[Decision]:
    """Return the recorded decisions and those of a file; no store is made where there is none."""
    from jobs.feed_check import store_or_none
    from jobs.title_log import StoredLog

    with store_or_none(settings_here().store) as store:
        found = list(StoredLog(store).all()) if store is not None else []
    if extra is not None:
        found = [*_job().decisions_from_list(extra, _now()), *found]
    return found


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _day(text: str | None) -> dt.date | None:
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise FixConfiguration(f"{text!r} is no date. Write it as 2026-12-31.") from error


def suggest(
    legacy: LegacyOrFeed = None,
    *,
    out: Annotated[Path, typer.Option("--out", help="What to write: review.xlsx, suggestions.csv or .jsonl.")],
    catalogue: CatalogueOption = None,
    gazetteer: GazetteerOption = None,
    decisions: DecisionsOption = None,
    title: TitleOption = None,
    department: DepartmentOption = None,
    grade: GradeOption = None,
    code: CodeOption = None,
    headcount: HeadcountOption = None,
    sheet: SheetOption = None,
    feed: FeedOption = None,
    core: CoreOption = False,
    as_json: JsonOption = False,
) -> None:
    """Suggest standard positions for old titles, into a workbook to review or a table. Records nothing."""
    screen = Screen(as_json)
    job = _job()
    places = job.unit_names(_catalogue_path(catalogue))
    if legacy is not None:
        named = _named(title=title, department=department, grade=grade, code=code, headcount=headcount)
        old = job.legacy_of(legacy, named, sheet, places)
    else:
        store = Store.open(settings_here().store)
        try:
            old = job.legacy_in_feeds(store, _feeds(feed), places)
        finally:
            store.close()
    positions = _catalogue(screen, catalogue)
    _warn(screen, old.warnings)
    made = _decisions(decisions)
    found = job.suggest(old, positions, _gazetteer(screen, gazetteer, positions), made, semantic=not core)
    groups = job.write_suggestions(out, found, positions, made)
    bands: dict[str, int] = {}
    for item in found.items:
        bands[item.band] = bands.get(item.band, 0) + item.group.headcount
    screen.give(
        {
            "out": str(out),
            "groups": groups,
            "people": old.people,
            "columns": dict(old.columns),
            "people_by_band": bands,
            "automatic_from": found.threshold,
            "decisions": found.decisions,
            "semantic": found.semantic,
            "warnings": [*old.warnings, *positions.warnings],
        }
    )
    screen.say(f"Wrote {out}: {groups:,} groups of {old.people:,} people.")
    screen.say("  Columns: " + ", ".join(f"{name} from {heading!r}" for name, heading in old.columns.items()))
    screen.say("  People by band: " + ", ".join(f"{band} {people:,}" for band, people in sorted(bands.items())))
    if found.threshold is None:
        screen.say(f"  Nothing is automatic yet: {found.decisions:,} decisions do not prove enough.")
    if not found.semantic and not core:
        screen.aside("Install lms-bridge[semantic] for suggestions that also go by meaning.")


def apply(
    workbook: Annotated[Path, typer.Argument(help="The reviewed workbook.")],
    reviewer: ReviewerOption,
    catalogue: CatalogueOption = None,
    effective: Annotated[
        str | None, typer.Option("--effective", help="Day from which the decisions hold (YYYY-MM-DD); else at once.")
    ] = None,
    overrule: Annotated[
        bool, typer.Option("--overrule", help="Replace what other reviewers have decided in the meantime.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Record the decisions of a reviewed workbook: all of them, or none and every problem named by its cell."""
    screen = Screen(as_json)
    job = _job()
    positions = _catalogue(screen, catalogue)
    store = Store.open(settings_here().store)
    try:
        done = job.apply(workbook, positions, store, reviewer, _now(), _day(effective), overrule)
    finally:
        store.close()
    code = FAILED if done.problems else 0
    screen.give({**asdict(done), "problems": [str(p) for p in done.problems], "exit_code": code})
    if done.problems:
        for problem in done.problems:
            screen.say(str(problem))
        screen.say(f"Nothing was recorded: {len(done.problems):,} problems. Put them right and apply again.")
        raise typer.Exit(code)
    screen.say(f"Recorded {done.recorded:,} decisions as {done.batch}.")
    screen.say(f"  {done.unchanged:,} groups were decided like that already, {done.undecided:,} are left undecided.")
    if done.split_people:
        screen.say(
            f"  {done.split_people:,} people are in groups that were split. Which of them goes where, no title tells: "
            "they get their position once the feed gives its key as their job code."
        )


def score(
    truth: Annotated[Path, typer.Option("--truth", help="File with titles and the key each belongs to.")],
    catalogue: CatalogueOption = None,
    gazetteer: GazetteerOption = None,
    decisions: DecisionsOption = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="Also simulate a reviewer over 200 decisions, and score the bands after it.")
    ] = False,
    key: Annotated[
        str | None, typer.Option("--key", help="Heading of the true key; several right ones are parted by a bar.")
    ] = None,
    title: TitleOption = None,
    department: DepartmentOption = None,
    grade: GradeOption = None,
    code: CodeOption = None,
    headcount: HeadcountOption = None,
    core: CoreOption = False,
) -> None:
    """Measure suggestions against a known truth and print the figures as JSON."""
    screen = Screen(as_json=True)
    job = _job()
    positions = _catalogue(screen, catalogue)
    made = job.decisions_from_list(decisions, _now()) if decisions is not None else []
    named = _named(key=key, title=title, department=department, grade=grade, code=code, headcount=headcount)
    more = _gazetteer(screen, gazetteer, positions)
    result = job.score_file(truth, positions, more, made, semantic=not core, curve=curve, named=named)
    screen.give(job.as_json(result.as_json()))


def families(
    legacy: LegacyArgument,
    out: Annotated[Path, typer.Option("--out", help="What to write: a workbook to review, .csv or .jsonl.")],
    catalogue_out: Annotated[
        Path | None, typer.Option("--catalogue-out", help="Also write the drafted positions as a catalogue.")
    ] = None,
    number: Annotated[
        int | None, typer.Option("--families", help="Form about so many families instead of the shipped ones.", min=2)
    ] = None,
    core: CoreOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draft families and positions for a company that has no catalogue yet. Every title gets a place."""
    screen = Screen(as_json)
    job = _job()
    old = job.legacy_of(legacy)
    _warn(screen, old.warnings)
    places = job.draft_families(old, number, semantic=not core)
    job.write_families(out, places, old, semantic=not core)
    if catalogue_out is not None:
        job.write_catalogue(catalogue_out, places)
    people: dict[str, int] = {}
    for place in places:
        name = f"{place.family} {place.family_name}"
        people[name] = people.get(name, 0) + place.group.headcount
    counts = dict(sorted(people.items(), key=lambda item: -item[1]))
    positions = len({place.position for place in places})
    screen.give({"out": str(out), "groups": len(places), "positions": positions, "people_by_family": counts})
    screen.say(f"Wrote {out}: {len(places):,} groups in {len(counts):,} families and {positions:,} positions.")
    for name, count in list(counts.items())[:MOST_SHOWN]:
        screen.say(f"  {count:>7,}  {name}")


def queue(feed: FeedOption = None, as_of: AsOfOption = None, as_json: JsonOption = False) -> None:
    """Show the titles of the feeds that stand for no position yet, most people first."""
    screen = Screen(as_json)
    store = Store.open(settings_here().store)
    try:
        waiting = _job().queue(store, settings_here(), _feeds(feed), _day(as_of) or _now().date())
    finally:
        store.close()
    screen.give({"titles": [asdict(one) for one in waiting], "people": sum(one.people for one in waiting)})
    screen.say(f"{len(waiting):,} groups of {sum(one.people for one in waiting):,} people wait for a decision.")
    for one in waiting[:MOST_SHOWN]:
        since = f" since {one.first_seen}" if one.first_seen else ""
        screen.say(f"  {one.people:>5,}  {one.title}  ({one.unit or 'no unit'}){since}")
    if len(waiting) > MOST_SHOWN:
        screen.say(f"  ... and {len(waiting) - MOST_SHOWN:,} more (--json lists them all).")
    if waiting:
        screen.say("Decide about them in a workbook: lms-bridge titles suggest --out review.xlsx")


def undo(
    decision: Annotated[str, typer.Argument(help="Number of a decision, or name of a batch (see `titles history`).")],
    reviewer: ReviewerOption,
    reason: Annotated[str, typer.Option("--reason", help="Why.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Withdraw a decision or a whole batch; what stood before stands again."""
    screen = Screen(as_json)
    store = Store.open(settings_here().store)
    try:
        made = _job().undo_decisions(store, decision, reviewer, reason, _now())
    finally:
        store.close()
    screen.give({"withdrawn": [d.undoes for d in made], "people": sum(d.headcount for d in made)})
    screen.say(f"Withdrew {len(made):,} decisions on {sum(d.headcount for d in made):,} people.")


def history(
    title: Annotated[str, typer.Argument(help="The old title.")],
    as_json: JsonOption = False,
) -> None:
    """Show every decision about a title: who, when, what, why."""
    from mappings.titles.decisions import history as decided

    screen = Screen(as_json)
    found = decided(_decisions(None), title)
    screen.give({"decisions": [_shown(d) for d in found]})
    if not found:
        screen.say(f"Nobody has decided anything about {title!r}.")
    for d in found:
        what = ", ".join(f"{p.key} ({p.people})" for p in d.placements) or str(d.verdict)
        what += f" of decision {d.undoes}" if d.undoes is not None else ""
        where = " · ".join(part for part in (d.department, d.grade) if part)
        screen.say(f"{d.id:>6}  {d.decided_at:%Y-%m-%d %H:%M}  {d.reviewer}: {what}  [{where}] {d.reason}  {d.batch}")


def _shown(decision: Decision) -> dict[str, object]:
    return {**asdict(decision), "verdict": str(decision.verdict)}


def crosswalk(
    out: Annotated[Path, typer.Option("--out", help="The file to write: .csv, .xlsx or .jsonl.")],
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write old title to new position, with headcount, dates and reviewers."""
    screen = Screen(as_json)
    positions = _catalogue(screen, catalogue)
    store = Store.open(settings_here().store)
    try:
        rows = _job().write_crosswalk(out, store, positions)
    finally:
        store.close()
    screen.give({"out": str(out), "rows": rows})
    screen.say(f"Wrote {out}: {rows:,} rows.")


def _groups(job: ModuleType, store: Store, legacy: Path | None, feed: str | None) -> tuple[LegacyGroup, ...]:
    """Return the groups of a file, or of the feeds' people."""
    if legacy is not None:
        found: tuple[LegacyGroup, ...] = job.legacy_of(legacy).groups
        return found
    from_feeds: tuple[LegacyGroup, ...] = job.groups_in_feeds(store, _feeds(feed))
    return from_feeds


def _feeds(feed: str | None) -> list[str]:
    """Return the names of the feeds meant: the one named, which must exist, or all there are."""
    settings = settings_here()
    if feed is not None and feed not in settings.feeds and (settings.feeds or feed != "hr"):
        known = ", ".join(settings.feeds) or "none"
        raise FixConfiguration(f"bridge.toml has no feed {feed!r}. Its feeds: {known}.")
    return [feed] if feed else (list(settings.feeds) or ["hr"])


LegacyOption = Annotated[
    Path | None, typer.Option("--legacy", help="File with the old titles; else the people of the feeds.")
]


def status(
    catalogue: CatalogueOption = None,
    legacy: LegacyOption = None,
    feed: FeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far the mapping has come: people, titles, families, conflicts, orphans, empty positions."""
    screen = Screen(as_json)
    job = _job()
    positions = _catalogue(screen, catalogue)
    store = Store.open(settings_here().store)
    try:
        now = job.status_now(_groups(job, store, legacy, feed), store, positions)
    finally:
        store.close()
    screen.give(
        {
            **{k: v for k, v in asdict(now).items() if k not in ("conflicts", "orphans")},
            "people_share": round(now.people_share, 2),
            "conflicts": [_shown(d) for d in now.conflicts],
            "orphans": [_shown(d) for d in now.orphans],
        }
    )
    screen.say(
        f"{now.people_placed:,} of {now.people:,} people ({now.people_share:.1f} %) have a position by decision."
    )
    screen.say(
        f"  {now.groups_placed:,} of {now.groups:,} groups, {now.titles_placed:,} of {now.titles:,} titles wholly."
    )
    screen.say(f"  {now.deferred:,} deferred, {now.wanted:,} wait for a new position.")
    if now.split_people:
        screen.say(f"  {now.split_people:,} people of split groups wait for the feed to give their job code.")
    for family, people in list(now.by_family.items())[:MOST_SHOWN]:
        screen.say(f"  {people:>7,}  {family}")
    for d in now.conflicts[:MOST_SHOWN]:
        screen.say(
            f"  Conflict: {d.reviewer} overruled somebody on {d.title!r} ({d.department}); see `titles history`."
        )
    for d in now.orphans[:MOST_SHOWN]:
        keys = ", ".join(p.key for p in d.placements)
        screen.say(f"  Orphan: {d.title!r} went to {keys}, which the catalogue no longer holds.")
    screen.say(f"  {len(now.empty_positions):,} positions have nobody yet.")


def impact(
    workbook: Annotated[Path, typer.Argument(help="The reviewed workbook, not applied yet.")],
    reviewer: ReviewerOption = "impact",
    catalogue: CatalogueOption = None,
    legacy: LegacyOption = None,
    feed: FeedOption = None,
    as_of: AsOfOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a workbook would change before it is applied: positions, families, levels, plans."""
    screen = Screen(as_json)
    job = _job()
    settings = settings_here()
    positions = _catalogue(screen, catalogue)
    today = _day(as_of) or _now().date()
    store = Store.open(settings.store)
    try:
        reviewed, _ = job.read_workbook(workbook, positions, job.StoredLog(store).all(), reviewer, _now(), None, True)
        groups = _groups(job, store, legacy, feed)
        name = feed or next(iter(settings.feeds), "hr")
        folder = _catalogue_path(catalogue)
        model = folder if folder.is_dir() else None
        found = job.impact_of(groups, reviewed.decisions, store, settings, positions, name, today, model)
    finally:
        store.close()
    for problem in reviewed.problems:
        screen.aside(str(problem), "yellow")
    screen.give({**asdict(found), "problems": [str(p) for p in reviewed.problems]})
    screen.say(f"Of {found.people:,} people, {found.position:,} would get another position")
    screen.say(f"  {found.first_position:,} of them their first.")
    screen.say(f"  {found.family:,} would change family, {found.level:,} level.")
    screen.say(f"  {found.plan:,} would get another learning plan, {found.lose_plan:,} would lose theirs.")
    for title, department, _grade, people in found.losers[:MOST_SHOWN]:
        screen.say(f"  {people:>5,}  would lose their plan: {title} ({department})")
