"""Plan, push and undo: read what is wanted, and hand it to the synchronisation of one site."""

from __future__ import annotations

from pathlib import Path

from bridge.faults import Fault
from bridge.model import Desired
from bridge.ports import FixConfiguration, LmsPort
from bridge.store import state
from bridge.sync.clock import Clock
from bridge.sync.plan import ChangePlan, plan_from_json
from bridge.sync.push import WATCHING, PushReport, Watching
from bridge.sync.push import preview as preview_plan
from bridge.sync.push import push as push_desired
from bridge.sync.undo import plan_undo
from bridge.sync.undo import undo as undo_run
from jobs.architecture import ArchitectureReading, read_architecture
from jobs.sites import Workplace


class FaultyFiles(FixConfiguration):
    """The files of the job architecture have faults; nothing is planned from them."""

    def __init__(self, folder: Path, faults: tuple[Fault, ...]) -> None:
        shown = "\n  ".join(str(fault) for fault in faults[:50])
        more = f"\n  and {len(faults) - 50:,} more" if len(faults) > 50 else ""
        count = "1 fault" if len(faults) == 1 else f"{len(faults):,} faults"
        super().__init__(
            f"{count} in {folder}. Nothing was planned or sent: mend them and run this again.\n  {shown}{more}"
        )
        self.faults = faults


def read_model(folder: Path) -> ArchitectureReading:
    """Read a job architecture. Raises FaultyFiles with every fault at once."""
    reading = read_architecture(folder)
    if reading.faults:
        raise FaultyFiles(folder, reading.faults)
    return reading


def plan(place: Workplace, model: Path | None, clock: Clock) -> ChangePlan:
    """Return what a push would do now. Writes nothing."""
    desired = wanted(place, model)
    return preview_plan(place.site, place.port, place.store, desired, place.rules, clock)


def wanted(place: Workplace, model: Path | None) -> Desired:
    """Return what the site should say. Raises FaultyFiles."""
    return Desired(read_model(place.model_folder(model)).architecture)


def push(
    place: Workplace, model: Path | None, clock: Clock, *, stored: Path | None = None, watching: Watching = WATCHING
) -> PushReport:
    """Bring the site to what the files say; with a stored plan, exactly as far as that says."""
    desired = wanted(place, model)
    reviewed = read_plan(stored) if stored is not None else None
    return push_desired(
        place.site, place.port, place.store, desired, place.rules, clock, stored=reviewed, watching=watching
    )


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


def kinds_of(port: LmsPort, given: list[str]) -> frozenset[str]:
    """Return the kinds a person named. Raises FixConfiguration where the LMS has no such kind."""
    known = [spec.kind for spec in port.probe().kinds]
    unknown = [kind for kind in given if kind not in known]
    if unknown:
        raise FixConfiguration(f"There is no kind {', '.join(unknown)} here. There are: {', '.join(known)}.")
    return frozenset(given)
