"""What an earlier run left open: changes that were sent and never settled, because it died or the LMS answers late."""

from __future__ import annotations

from bridge.ports import Outcome, Receipt, Status, outcome_of
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
    with applier.store.read() as connection:
        entries = journal.open_entries(connection, applier.site)
    pending = [entry for entry in entries if entry.receipt is not None]
    outcomes, waiting = _ask_again(applier, pending, now)
    applier.record(outcomes)
    answered = {(one.run_id, one.seq) for one, _, _ in outcomes}
    unclear = [
        _numbered(entry)
        for entry in entries
        if (entry.run_id, entry.seq) not in answered and (entry.change.kind, entry.change.key) not in waiting
    ]
    readable = [one for one in unclear if applier.capabilities.spec(one.change.kind).readable]
    # When the earlier run died is not known: it may have sent something a moment ago.
    arrived, lost = look_up(applier.port, applier.capabilities, applier.clock, readable, since=now)
    why = "looked up in the LMS: it had not been carried out"
    applier.record((one, outcome, Status.APPLIED.value) for one, outcome in arrived)
    applier.record((one, outcome_of(one.change, Status.UNKNOWN, why), journal.LOST) for one in lost)
    hidden = [one for one in unclear if one not in readable]
    never = "never answered, and the LMS cannot show it: it will be planned again"
    applier.record((one, outcome_of(one.change, Status.UNKNOWN, never), UNANSWERED) for one in hidden)
    return waiting


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
            entry = entries[outcome.kind, outcome.key, outcome.action]
            if outcome.status in (Status.PENDING, Status.UNKNOWN):
                if entry.deadline is None or now < entry.deadline:
                    waiting[outcome.kind, outcome.key] = f"the answer to run {entry.run_id} is outstanding"
                continue
            outcomes.append((_numbered(entry), outcome, outcome.status.value))
    return outcomes, waiting


def _numbered(entry: Entry) -> Numbered:
    return Numbered(entry.run_id, entry.seq, entry.change)
