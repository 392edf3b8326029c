"""Plan, push and undo: read what is wanted, and hand it to the synchronisation of one site."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from bridge.ports import FixConfiguration, LmsPort
from bridge.settings import PilotSettings
from bridge.store import state
from bridge.sync.clock import Clock
from bridge.sync.plan import ChangePlan, Scope
from bridge.sync.push import WATCHING, PushReport, Watching
from bridge.sync.push import preview as preview_plan
from bridge.sync.push import push as push_desired
from bridge.sync.reviewed import plan_from_json, plan_to_json
from bridge.sync.undo import plan_undo
from bridge.sync.undo import undo as undo_run
from jobs.desired import FaultyFiles, Wish, read_model, wanted
from jobs.sites import Workplace

__all__ = [
    "FaultyFiles",
    "Wish",
    "plan",
    "preview_undo",
    "push",
    "read_model",
    "read_plan",
    "release",
    "scope_of",
    "store_plan",
    "undo",
    "wanted",
]


def plan(place: Workplace, wish: Wish, clock: Clock) -> ChangePlan:
    """Return what a push would do now. Writes nothing."""
    found = preview_plan(place.site, place.port, place.store, wanted(place, wish, clock), place.rules, clock)
    found.asked = {
        "as_of": wish.today(clock).isoformat(),
        "kinds": sorted(place.rules.scope.kinds),
        "scope": wish.scope.model_dump(),
    }
    if wish.model is not None:
        found.asked["model"] = str(wish.model.absolute())
    return found


def push(
    place: Workplace, wish: Wish, clock: Clock, *, stored: Path | None = None, watching: Watching = WATCHING
) -> PushReport:
    """Bring the site to what the files say; with a stored plan, exactly as far as that says, for the day it says."""
    reviewed = read_plan(stored) if stored is not None else None
    if reviewed is not None:
        place, wish = _as_asked(place, wish, reviewed)
    desired = wanted(place, wish, clock)
    return push_desired(
        place.site, place.port, place.store, desired, place.rules, clock, stored=reviewed, watching=watching
    )


def _as_asked(place: Workplace, wish: Wish, reviewed: ChangePlan) -> tuple[Workplace, Wish]:
    """Return the folder, the day, the kinds and the part of the company that a stored plan was made for."""
    asked = reviewed.asked
    try:
        if wish.model is None and not place.settings.model and asked.get("model"):
            wish = replace(wish, model=Path(asked["model"]))
        if asked.get("as_of"):
            wish = replace(wish, as_of=dt.date.fromisoformat(asked["as_of"]))
        if asked.get("scope"):
            wish = replace(wish, scope=PilotSettings.model_validate(asked["scope"]))
        if asked.get("kinds"):
            place = replace(place, rules=replace(place.rules, scope=scope_of(place.port, asked["kinds"])))
    except ValueError as error:
        raise FixConfiguration(f"The stored plan is damaged ({error}): make it again.") from error
    return place, wish


def store_plan(path: Path, plan: ChangePlan) -> None:
    """Write a plan for `push --plan`. Raises FixConfiguration where it cannot be written."""
    try:
        path.write_text(json.dumps(plan_to_json(plan), ensure_ascii=False, indent=1), "utf-8")
    except OSError as error:
        raise FixConfiguration(
            f"The plan cannot be written to {path}: {error.strerror}. Choose a folder that exists and may be written "
            "to."
        ) from error


def read_plan(path: Path) -> ChangePlan:
    """Return a stored plan. Raises FixConfiguration where the file is not there or holds none."""
    try:
        return plan_from_json(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise FixConfiguration(f"There is no plan {path}. `lms-bridge plan --out {path}` writes one.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FixConfiguration(f"The plan {path} cannot be read: {error}.") from error


def preview_undo(place: Workplace, run_id: int, clock: Clock) -> ChangePlan:
    """Return what undoing a run would do now."""
    capabilities = place.port.probe()
    return plan_undo(place.site, place.port, capabilities, place.store, run_id, place.rules, clock)


def undo(place: Workplace, run_id: int, clock: Clock, watching: Watching = WATCHING) -> PushReport:
    """Take a run back, and hold its objects until they are released."""
    return undo_run(place.site, place.port, place.store, run_id, place.rules, clock, watching=watching)


def release(place: Workplace, run_id: int | None) -> int:
    """Let pushes touch again what an undo holds; return how many objects that is."""
    with place.store.begin() as connection:
        return state.release(connection, place.site, run_id)


GROUPS = ("people", "architecture")
"""Names that stand for all kinds that feeds of people fill, and for all others."""


def scope_of(port: LmsPort, given: Collection[str]) -> Scope:
    """Return the kinds a person named, or groups of them. Raises FixConfiguration where the LMS has no such kind."""
    kinds = port.probe().kinds
    known = {spec.kind: spec.of_people for spec in kinds}
    unknown = [kind for kind in given if kind not in known and kind not in GROUPS]
    if unknown:
        raise FixConfiguration(
            f"There is no kind {', '.join(unknown)} here. There are: {', '.join(known)}; and `people` and "
            "`architecture` for all of one sort."
        )
    chosen = {kind for kind, of_people in known.items() if kind in given or GROUPS[not of_people] in given}
    if given and not chosen:
        # No kinds at all would mean all kinds.
        raise FixConfiguration(f"This site has no kind of {' or '.join(given)}. There are: {', '.join(known)}.")
    return Scope(frozenset(chosen), of_people=any(known[kind] for kind in chosen))
