"""What an earlier run left open: changes that were sent and never settled, because it died or the LMS answers late."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bridge.ports import Outcome, Recaller, Receipt, Status, outcome_of
from bridge.store import journal
from bridge.store.journal import Entry
from bridge.sync.apply import Applier, Numbered, look_up
from bridge.sync.plan import Object

UNANSWERED = "unanswered"
"""Journal state of a change that was never answered before its deadline, in a kind that the LMS cannot show."""


def settle_open(applier: Applier) -> dict[Object, str]:
    """Find out what became of every open change of the site, and record it.

    Returns the objects that are still open, with what is waited for. Raises what reading the LMS raises: then nothing
    may be sent yet.
    """
    now = applier.clock.now()
    within = {spec.kind: applier.capabilities.answers_within(spec.kind) for spec in applier.capabilities.kinds}
    with applier.store.read() as connection:
        entries = journal.open_entries(connection, applier.site)
    entries, not_given = _recall(applier, entries, within)
    pending = [entry for entry in entries if entry.receipt is not None]
    outcomes, waiting = _ask_again(applier, pending, now)
    applier.record(outcomes)
    answered = {(one.run_id, one.seq) for one, _, _ in outcomes}
    unclear = {
        (entry.run_id, entry.seq): _numbered(entry)
        for entry in entries
        if (entry.run_id, entry.seq) not in answered and (entry.change.kind, entry.change.key) not in waiting
    }
    # A run that died between handing over and noting the receipt: an LMS that answers late may still be at it.
    handed_over = {
        (entry.run_id, entry.seq)
        for entry in entries
        if entry.receipt is None and (late := within.get(entry.change.kind)) and now < entry.sent_at + late
    } - not_given
    shown = {kind.kind for kind in applier.capabilities.kinds if kind.readable}
    readable = [one for one in unclear.values() if one.change.kind in shown]
    # When the earlier run died is not known: it may have sent something a moment ago.
    arrived, missing = look_up(
        applier.port, applier.capabilities, applier.clock, readable, since=now, pause=applier.tenure.pause
    )
    lost = [one for one in missing if (one.run_id, one.seq) not in handed_over]
    why = "looked up in the LMS: it had not been carried out"
    applier.record((one, outcome, Status.APPLIED.value) for one, outcome in arrived)
    applier.record((one, outcome_of(one.change, Status.UNKNOWN, why), journal.LOST) for one in lost)
    hidden = [one for one in unclear.values() if one.change.kind not in shown]
    never = "never answered, and the LMS cannot show it: it will be planned again"
    given_up = [one for one in hidden if (one.run_id, one.seq) not in handed_over]
    applier.record((one, outcome_of(one.change, Status.UNKNOWN, never), UNANSWERED) for one in given_up)
    for one in (*missing, *hidden):
        if (one.run_id, one.seq) in handed_over:
            waiting[one.change.kind, one.change.key] = f"run {one.run_id} may have handed it over before it was cut off"
    if entries:
        with applier.store.begin() as connection:
            applier.tenure.confirm(connection)
            journal.close_pending(connection, applier.site, now)
    return waiting


def _recall(
    applier: Applier, entries: list[Entry], within: Mapping[str, float]
) -> tuple[list[Entry], set[tuple[int, int]]]:
    """Find the receipts that a run which died did not note, where the connector remembers what it was given.

    Returns the entries with those receipts in place, and which changes were never handed over.
    """
    port: object = applier.port
    if not isinstance(port, Recaller):
        return entries, set()
    waves: dict[tuple[int, str, float], list[Entry]] = {}
    for entry in entries:
        if entry.receipt is None and within.get(entry.change.kind):
            waves.setdefault((entry.run_id, entry.change.kind, entry.sent_at), []).append(entry)
    found: dict[tuple[int, int], Entry] = {}
    never: set[tuple[int, int]] = set()
    for (run_id, kind, sent_at), wave in waves.items():
        receipt = port.recall([entry.change for entry in wave], sent_at)
        covered = {(one.key, one.action) for one in receipt.changes} if receipt is not None else set()
        known = [entry for entry in wave if (entry.change.key, entry.change.action) in covered]
        never |= {(entry.run_id, entry.seq) for entry in wave if (entry.change.key, entry.change.action) not in covered}
        if receipt is None or not known:
            continue
        deadline = sent_at + within[kind]
        with applier.store.begin() as connection:
            applier.tenure.confirm(connection)
            journal.note_receipt(connection, run_id, (entry.seq for entry in known), receipt.token, deadline)
        found |= {(e.run_id, e.seq): replace(e, receipt=receipt.token, deadline=deadline) for e in known}
    return [found.get((entry.run_id, entry.seq), entry) for entry in entries], never


def _ask_again(
    applier: Applier, pending: list[Entry], now: float
) -> tuple[list[tuple[Numbered, Outcome, str]], dict[Object, str]]:
    """Ask the LMS about changes it had not answered; return what it says now and what is still open."""
    outcomes: list[tuple[Numbered, Outcome, str]] = []
    waiting: dict[Object, str] = {}
    for token in dict.fromkeys(entry.receipt for entry in pending if entry.receipt is not None):
        entries = {
            (entry.change.kind, entry.change.key, entry.change.action): entry
            for entry in pending
            if entry.receipt == token
        }
        receipt = Receipt(token, tuple(entry.change for entry in entries.values()))
        for outcome in applier.port.settle(receipt):
            if outcome.status in (Status.PENDING, Status.UNKNOWN):
                continue
            entry = entries.pop((outcome.kind, outcome.key, outcome.action))
            outcomes.append((_numbered(entry), outcome, outcome.status.value))
        # What the LMS says nothing about is as open as what it calls open.
        for entry in entries.values():
            if entry.deadline is None or now < entry.deadline:
                waiting[entry.change.kind, entry.change.key] = f"the answer to run {entry.run_id} is outstanding"
    return outcomes, waiting


def _numbered(entry: Entry) -> Numbered:
    return Numbered(entry.run_id, entry.seq, entry.change)
