"""The main job end to end, against a simulated Moodle: what a newcomer sees first."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bridge.feed_settings import FeedSettings
from bridge.ports import SafetyLimit
from bridge.settings import load_settings
from bridge.sync.clock import Clock
from bridge.sync.pull import PullOrder
from bridge.sync.push import WATCHING, Watching
from connectors.simulators.moodle import MoodleSimulator, SimulatorConfig
from jobs import check, pull, push
from jobs.feed_desk import context_of
from jobs.ingest import FeedContext, Incoming, ingest
from jobs.pilot import parse_scope
from jobs.samples import sample_company, sample_scales
from jobs.sites import Workplace, workplace

TODAY = dt.date(2026, 12, 31)
UNIT = "DIG-S"
FIRST_DAY, SECOND_DAY, DIRTY_DAY = "hris_people_day1.csv", "hris_people_day2.csv", "hris_people_day3_dirty.csv"
TITLES = "title_truth.csv"


@dataclass(slots=True)
class DemoReport:
    """What the demonstration did, in numbers, and what did not come out as it should."""

    numbers: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything came out as it should."""
        return not self.wrong

    def expect(self, what: str, holds: bool) -> None:
        """Note what did not come out as it should."""
        if not holds:
            self.wrong.append(what)

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {"ok": self.ok, "wrong": self.wrong, **self.numbers}


Show = Callable[[], AbstractContextManager[Watching]]
"""Shows how far a push is, for as long as the context lasts."""


def demo(
    folder: Path,
    model: Path | None,
    latency: float,
    say: Callable[[str], None],
    show: Show = lambda: nullcontext(WATCHING),
) -> DemoReport:
    """Push a competency model into a simulated Moodle, tamper with it, undo, and pull completions back.

    Everything it writes lies in `folder`, which is emptied first if an earlier demonstration made it.
    """
    model = model or sample_company()
    _clear(folder)
    report = DemoReport()
    with MoodleSimulator(SimulatorConfig(latency=latency)) as moodle:
        moodle.seed.reference_site()
        moodle.seed.completion_report()
        moodle.seed.ratings_report()
        for name, labels in sample_scales():
            moodle.seed.scale(name, labels)
        variables = {"MOODLE_URL": moodle.url, "MOODLE_TOKEN": moodle.token}
        settings = load_settings(folder.absolute(), variables)
        feed = FeedSettings(model=str(model.absolute()), encoding="cp1252", decisions=str(model.absolute() / TITLES))
        if (model / FIRST_DAY).is_file():
            settings = settings.model_copy(update={"feeds": {"hr": feed}})
        with workplace(settings, None) as place:
            say(f"A simulated Moodle 4.5 runs at {moodle.url}; the job architecture comes from {model}.")
            _check(place, model, say, report)
            _push_twice(place, moodle, model, say, report, show)
            _tamper(place, moodle, model, say, report)
            if settings.feeds:
                _people(place, moodle, model, say, report)
            _bring_back(place, folder, say, report)
    for what in report.wrong:
        say(f"This did not come out as it should: {what}")
    say(f"Done. The store and the exported completions are in {folder}/.")
    say("Next: `lms-bridge init`, put the address and token of your own Moodle into .env, then `lms-bridge check`.")
    return report


def _clear(folder: Path) -> None:
    if (folder / ".lms-bridge").is_dir():
        shutil.rmtree(folder / ".lms-bridge")
    folder.mkdir(parents=True, exist_ok=True)


def _check(place: Workplace, model: Path, say: Callable[[str], None], report: DemoReport) -> None:
    found = check.check(place, model)
    missing = [finding for finding in found.capabilities.findings if not finding.ok]
    say(f"\n$ lms-bridge check --model {model}")
    say(f"{found.capabilities.product} {found.capabilities.release}, {len(missing)} things missing, ready: {found.ok}")
    report.expect("the site is ready", found.ok)


def _push_twice(
    place: Workplace, moodle: MoodleSimulator, model: Path, say: Callable[[str], None], report: DemoReport, show: Show
) -> None:
    say(f"\n$ lms-bridge push --model {model} --yes")
    began = time.monotonic()
    with show() as watching:
        first = push.push(place, push.Wish(model), Clock(), watching=watching)
    seconds = time.monotonic() - began
    requests = moodle.requests.total
    for kind, actions in first.tally.to_json().items():
        counted = ", ".join(
            f"{number:,} {action} {state}" for action, states in actions.items() for state, number in states.items()
        )
        say(f"  {kind}: {counted}")
    say(f"{first.tally.count('applied'):,} changes in {seconds:.1f} s and {requests:,} requests.")
    report.numbers["first_push"] = {"applied": first.tally.count("applied"), "seconds": seconds, "requests": requests}
    report.expect("the first push ends well", first.state == "done")
    say(f"\n$ lms-bridge push --model {model} --yes        # once more")
    second = push.push(place, push.Wish(model), Clock())
    say(f"{second.tally.count('applied'):,} changes: the LMS says what the files say.")
    report.numbers["second_push"] = {"applied": second.tally.count("applied")}
    report.expect("the second push writes nothing", not second.plan.changes)


def _tamper(
    place: Workplace, moodle: MoodleSimulator, model: Path, say: Callable[[str], None], report: DemoReport
) -> None:
    victim = next(row for row in moodle.db.competencies.rows.values() if row["idnumber"] not in ("", "RETIRED"))
    was = victim["shortname"]
    victim["shortname"] = "Edited by hand in Moodle"
    say(f"\nSomebody renames “{was}” in Moodle …")
    say(f"$ lms-bridge plan --model {model}")
    plan = push.plan(place, push.Wish(model), Clock())
    for drift in plan.drifts:
        say(f"  ! {drift.kind} {drift.key} {drift.field}: “{drift.applied}” → “{drift.actual}” ({drift.stance.value})")
    report.expect("the edit shows as drift", [drift.actual for drift in plan.drifts] == ["Edited by hand in Moodle"])
    back = push.push(place, push.Wish(model), Clock())
    say(f"After a push it is “{victim['shortname']}” again.")
    report.expect("the edit is put back", victim["shortname"] == was)
    say(f"\n$ lms-bridge undo {back.run_id} --yes")
    push.undo(place, back.run_id, Clock())
    say(f"Undone, it is “{victim['shortname']}” once more, and pushes leave it so until it is released.")
    held = push.push(place, push.Wish(model), Clock())
    report.expect("the undo holds", not held.plan.changes and victim["shortname"] == "Edited by hand in Moodle")
    say(f"\n$ lms-bridge undo {back.run_id} --release")
    say(f"{push.release(place, back.run_id):,} released.")
    push.push(place, push.Wish(model), Clock())
    report.expect("once released it is put back", victim["shortname"] == was)


def _people(
    place: Workplace, moodle: MoodleSimulator, model: Path, say: Callable[[str], None], report: DemoReport
) -> None:
    """Take two nights' files in and push one unit's people; then a file that nobody should believe."""
    only = replace(place, rules=replace(place.rules, scope=push.scope_of(place.port, ["people"])))
    wish = push.Wish(model, TODAY, parse_scope([f"unit={UNIT}"]))
    say("\nPeople, from the files of an HR system; one unit of them, as a pilot would:")
    before = len(moodle.db.users)
    for name in (FIRST_DAY, SECOND_DAY):
        say(f"$ lms-bridge ingest --file {name} --as-of {TODAY}")
        taken = ingest(place.store, _feed(place), Incoming.of_path(model / name), TODAY)
        say(
            f"  {taken.state}: {taken.rows:,} rows: {taken.created:,} new, {taken.updated:,} changed, "
            f"{taken.terminated:,} left, {taken.missing:,} missing (nothing happens to them yet)"
        )
        say(f"$ lms-bridge push --kind people --scope unit={UNIT} --as-of {TODAY} --yes")
        pushed = push.push(only, wish, Clock())
        for kind, actions in pushed.plan.counts().items():
            say(f"  {kind}: " + ", ".join(f"{number:,} {action}" for action, number in actions.items()))
        report.expect(f"the push of {name} ends well", pushed.state == "done")
        report.numbers.setdefault("people", {})[name] = pushed.plan.counts()
    report.expect("people have accounts", len(moodle.db.users) > before)
    say(f"$ lms-bridge ingest --file {DIRTY_DAY} --as-of {TODAY}")
    dirty = ingest(place.store, _feed(place), Incoming.of_path(model / DIRTY_DAY), TODAY)
    for guard in dirty.guards:
        say(f"  {dirty.state}: {guard}")
    report.expect("a file that lacks most people is not believed", bool(dirty.guards))
    try:
        push.push(only, wish, Clock())
        report.expect("nothing is pushed from a feed in quarantine", False)
    except SafetyLimit as refusal:
        say(f"$ lms-bridge push --kind people\n  {refusal}")


def _feed(place: Workplace) -> FeedContext:
    return context_of(place.configuration, "hr", place.store, TODAY)


def _bring_back(place: Workplace, folder: Path, say: Callable[[str], None], report: DemoReport) -> None:
    say("\n$ lms-bridge pull")
    first = pull.pull(place, PullOrder(), Clock())
    for kind, counts in first.counts().items():
        counted = ", ".join(f"{number:,} {word}" for word, number in counts.items() if number)
        say(f"  {kind}: {counted or 'none yet'}")
    target = folder / "completions.csv"
    say(f"\n$ lms-bridge export completions --to {target}")
    rows = pull.export(place, "completions", target)
    say(f"{rows:,} rows in {target}.")
    report.numbers["pull"] = first.counts()
    report.expect("completions come back", rows > 0)
