"""One push: settle what is open, plan, hold the plan against the limits, apply it, and say what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bridge.model import Desired
from bridge.ports import Capabilities, LmsPort, Remark, Severity, Status, Translation, guarded
from bridge.store import Store, journal, state
from bridge.store.state import Base
from bridge.sync.apply import Applier, Progress, Tally
from bridge.sync.clock import Clock
from bridge.sync.plan import ChangePlan, Knowledge, Object, check_limits, make_plan
from bridge.sync.recover import settle_open
from bridge.sync.reviewed import reviewed
from bridge.sync.running import Rules, Running, running


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push or an undo did."""

    run_id: int
    state: str
    """done, pending (submitted, answer outstanding), failed (some refused or not sent), stopped or declined."""
    plan: ChangePlan
    tally: Tally
    message: str = ""
    earlier: Tally = field(default_factory=Tally)
    """What became of changes that earlier runs had sent and not seen answered."""


@dataclass(frozen=True, slots=True)
class Watching:
    """Whom to ask and tell while a push runs."""

    confirm: Callable[[ChangePlan], bool] = lambda _plan: True
    """Asked once, with the plan, before the first write."""
    progress: Progress = lambda _change, _state: None


WATCHING = Watching()
"""Nobody asked, nobody told."""


def knowledge_of(
    store: Store, site: str, capabilities: Capabilities, open_objects: dict[Object, str] | None = None
) -> Knowledge:
    """Return what the store knows of a site. Without `open_objects`, what is open is taken from the journal."""
    with store.read() as connection:
        base: dict[str, dict[str, Base]] = {
            spec.kind: state.load_base(connection, site, spec.kind) for spec in capabilities.kinds
        }
        holds = state.load_holds(connection, site)
        settled = state.settled_counts(connection, site)
        if open_objects is None:
            open_objects = {
                (entry.change.kind, entry.change.key): f"what run {entry.run_id} sent is not settled"
                for entry in journal.open_entries(connection, site)
            }
    return Knowledge(base, holds, settled, open_objects)


def preview(site: str, port: LmsPort, store: Store, desired: Desired, rules: Rules, clock: Clock) -> ChangePlan:
    """Return what a push would do now. Writes nothing, neither here nor there."""
    capabilities = port.probe()
    knowledge = knowledge_of(store, site, capabilities)
    return _plan(site, port, capabilities, knowledge, desired, rules, clock, port.translate(desired))


def push(
    site: str,
    port: LmsPort,
    store: Store,
    desired: Desired,
    rules: Rules,
    clock: Clock,
    *,
    stored: ChangePlan | None = None,
    watching: Watching = WATCHING,
) -> PushReport:
    """Bring a site to what is desired.

    `stored` is a reviewed plan, which is then exactly what runs. Raises SiteBusy where another run works on the site,
    SafetyLimit where a limit or a moved plan forbids it, and what the port raises where the LMS cannot be asked at all.
    """
    with running(store, site, "push", clock, rules) as run, guarded(port, run.tenure.check_sending):
        capabilities = port.probe()
        applier = Applier(site, port, capabilities, store, run.tenure, clock, run.id)
        open_objects = settle_open(applier)
        knowledge = knowledge_of(store, site, capabilities, open_objects)
        translation = port.translate(desired)
        plan = _plan(site, port, capabilities, knowledge, desired, rules, clock, translation)
        _remember_undecided(run, capabilities, plan, translation, rules)
        if stored is not None:
            plan = reviewed(stored, plan)
        check_limits(plan, capabilities, rules.limits)
        report = carry_out(run, port, capabilities, plan, watching)
        if report.state == "done" and open_objects:
            # Nothing new was to be sent, but what was sent earlier is not answered yet.
            run.state = "pending"
        return replace(report, state=run.state, earlier=applier.tally)


def carry_out(
    run: Running,
    port: LmsPort,
    capabilities: Capabilities,
    plan: ChangePlan,
    watching: Watching,
    once_confirmed: Callable[[], None] = lambda: None,
) -> PushReport:
    """Apply a plan within a run, once confirmed, and set what the run's record will say.

    `once_confirmed` is called between the confirmation and the first write.
    """
    if plan.changes and not watching.confirm(plan):
        run.state, run.message = "declined", "Nothing was sent: the plan was not confirmed."
        return PushReport(run.id, run.state, plan, Tally(), run.message)
    once_confirmed()
    applier = Applier(run.site, port, capabilities, run.store, run.tenure, run.clock, run.id, watching.progress)
    tally = applier.apply(plan)
    run.counts = tally.to_json()
    run.message = tally.stopped
    if tally.stopped:
        run.state = "stopped"
    elif tally.count(Status.REFUSED, Status.NOT_SENT, Status.UNKNOWN, journal.LOST):
        run.state = "failed"
    elif tally.count(Status.PENDING):
        run.state = "pending"
    return PushReport(run.id, run.state, plan, tally, run.message)


def _plan(
    site: str,
    port: LmsPort,
    capabilities: Capabilities,
    knowledge: Knowledge,
    desired: Desired,
    rules: Rules,
    clock: Clock,
    translation: Translation,
) -> ChangePlan:
    plan = make_plan(
        site,
        port,
        capabilities,
        translation,
        knowledge,
        rules.policy,
        rules.limits,
        clock.now(),
        scope=rules.scope,
        unverified=rules.unverified,
    )
    plan.remarks[:0] = [Remark(Severity.NOTE, "", "", says) for says in desired.notes]
    return plan


def _remember_undecided(
    run: Running, capabilities: Capabilities, plan: ChangePlan, translation: Translation, rules: Rules
) -> None:
    """Keep in the store what this plan leaves alone until a person decides, and drop what has been decided since.

    What the plan did not look at (another kind, another part of the company) stays as an earlier one found it.
    """
    # Of kinds that are read back part by part not every night could tell.
    told = {spec.kind for spec in capabilities.kinds if spec.rotation == 1}
    held = [one for one in plan.remarks if one.severity is Severity.HELD and one.key and one.kind in told]
    found = {(one.kind, one.key): one.says for one in held}
    with run.store.read() as connection:
        before = state.load_undecided(connection, run.site)
    wanted = {(one.kind, one.key) for one in translation.items} if before else set()

    def looked_at(kind: str, key: str) -> bool:
        """Tell whether the plan would have found it, were it still undecided."""
        if not rules.scope.covers(kind):
            return False
        speaks_of = translation.speaks_of.get(kind)
        whole = kind in translation.complete and (speaks_of is None or speaks_of(key))
        return whole or (kind, key) in wanted

    decided = [one for one in before if one not in found and looked_at(*one)]
    news = {one: says for one, says in found.items() if before.get(one) != says}
    if not news and not decided:
        return
    with run.store.begin() as connection:
        run.tenure.confirm(connection)
        state.save_undecided(connection, run.site, run.id, run.clock.now(), news, decided)
