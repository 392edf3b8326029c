"""What is wrong with rows as a set: ids, addresses and managers that only make sense beside the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from bridge.faults import Fault
from bridge.feed_settings import FeedSettings
from bridge.roster import RosterRow
from bridge.rows import shown
from bridge.store.stage_tables import REFUSED
from bridge.store.staging import Staging
from bridge.sync.trust import Sharer, circles, wrongly_shared
from jobs.feed_reading import Findings, Found
from mappings.people import letters_lost

MOST_ROUNDS = 20
"""How often refusing some rows may make others wrong before the file as a whole is held to be in disorder."""


@dataclass(frozen=True, slots=True)
class _Wrong:
    """Why a row is refused."""

    column: str
    value: str
    rule: str
    message: str
    remedy: str


class SetChecks:
    """Looks at the staged rows of one file together, refuses those that cannot be, and says why."""

    def __init__(
        self, staging: Staging, settings: FeedSettings, file: str, headers: Mapping[str, str], findings: Findings
    ) -> None:
        self._staging = staging
        self._settings = settings
        self._file = file
        self._headers = headers
        self._findings = findings
        self.entangled = False
        """True where refusing never came to an end."""

    def run(self) -> None:
        """Refuse what must be refused, and mend names that only lost letters."""
        self._deletions()
        self._duplicates()
        self._managers()
        if not self._settings.names_may_lose_letters:
            self._names()
        for _ in range(MOST_ROUNDS):
            if not self._addresses() and not self._circles():
                return
        self.entangled = True

    def cut_off(self, line: int) -> None:
        """Refuse the last row of a file that ends in the middle."""
        self._refuse(
            {
                line: _Wrong(
                    "",
                    "",
                    "cut-row",
                    "The file ends in the middle of this row: the last line is not ended, as it was in earlier files.",
                    "Send the whole file.",
                )
            }
        )

    def _refuse(self, wrong: Mapping[int, _Wrong]) -> None:
        """Refuse rows by line, each for its reason."""
        if not wrong:
            return
        for line, record in self._staging.records(wrong):
            why = wrong[line]
            self._add(line, record, why, refused=True)
        self._staging.refuse(wrong)

    def _add(self, line: int, record: RosterRow, why: _Wrong, *, refused: bool) -> None:
        header = self._headers.get(why.column, why.column)
        fault = Fault(self._file, line, header, shown(why.value), why.rule, why.message, why.remedy)
        further: dict[str, str] = json.loads(record.extra) if record.extra else {}
        told = {**further, **record._asdict()}
        cells = {header: shown(told.get(name, "")) for name, header in self._headers.items()}
        self._findings.add(Found(fault, record.person, refused, cells, as_sent=False))

    def _deletions(self) -> None:
        if self._settings.snapshot != "delta":
            return
        wrong = {
            line: _Wrong(
                "person",
                person,
                "delete-unknown",
                f"The row ends the job of “{shown(person)}”, whom this feed has never listed.",
                "Check the number, and the job's number where people have several.",
            )
            for line, person in self._staging.fill_deletions()
        }
        self._refuse(wrong)

    def _duplicates(self) -> None:
        repeated: dict[int, _Wrong] = {}
        for (person, _), group in groupby(self._staging.duplicates(), key=lambda row: (row[1], row[2])):
            rows = list(group)
            lines = [row[0] for row in rows]
            if len({row[3] for row in rows}) == 1 and rows[0][4] != REFUSED:
                repeated.update({line: _same_again(person, lines[0]) for line in lines[1:]})
                continue
            for line, _, _, _, verdict in rows:
                if verdict != REFUSED:
                    repeated[line] = _duplicate(person, [other for other in lines if other != line])
        contradicted: list[int] = []
        for line, person, verdict, roster_id, same in self._staging.repeats_of_seen():
            seen_line = self._staging.line_of(roster_id)
            if not same:
                contradicted.append(roster_id)
                repeated[seen_line] = _duplicate(person, [line])
            if verdict != REFUSED:
                repeated[line] = _same_again(person, seen_line) if same else _duplicate(person, [seen_line])
        self._staging.unsee(contradicted)
        self._refuse(repeated)

    def _managers(self) -> None:
        unknown = self._staging.unknown_managers()
        if self._settings.unknown_manager == "drop":
            self._staging.drop_manager(line for line, _, _ in unknown)
            records = dict(self._staging.records(line for line, _, _ in unknown))
            for line, _, manager in unknown:
                why = _Wrong("manager", manager, "manager-unknown", f"{_nobody(manager)} The person is kept.", "")
                self._add(line, records[line], why, refused=False)
            return
        self._refuse(
            {
                line: _Wrong(
                    "manager",
                    manager,
                    "manager-unknown",
                    _nobody(manager),
                    "Write the number of somebody who is in the file or was before, or leave the cell empty.",
                )
                for line, _, manager in unknown
            }
        )

    def _addresses(self) -> bool:
        """Refuse rows whose address somebody else has; say whether there were any."""
        if self._settings.duplicate_email == "allow":
            return False
        wrong: dict[int, _Wrong] = {}
        for email, group in groupby(self._staging.shared_addresses(), key=lambda row: row[0]):
            sharers = [Sharer(line, person, had_it) for _, line, person, had_it in group]
            for one in wrongly_shared(sharers):
                others = sorted({other.person for other in sharers if other.person != one.person})
                wrong[one.line] = _shared(email, others)
        taken = self._staging.taken_addresses()
        wrong.update({line: _shared(email, [holder]) for line, _, email, holder in taken if line not in wrong})
        self._refuse(wrong)
        return bool(wrong)

    def _circles(self) -> bool:
        """Refuse rows that make people their own manager's manager; say whether there were any."""
        edges = self._staging.manager_edges()
        wrong: dict[int, _Wrong] = {}
        for circle in circles(edges):
            way = " → ".join((*circle[:6], circle[0]) if len(circle) <= 6 else (*circle[:6], "…"))
            for person in circle:
                manager, line = edges[person]
                if line:
                    wrong[line] = _Wrong(
                        "manager",
                        manager,
                        "manager-circle",
                        f"The managers go round in a circle: {way}.",
                        "Correct the manager of at least one of them.",
                    )
        self._refuse(wrong)
        return bool(wrong)

    def _names(self) -> None:
        """Keep the name that is known where the file's is the same but for letters that its encoding cannot hold."""
        for line, first, last, known_first, known_last in self._staging.renamed():
            kept_first = known_first if letters_lost(known_first, first) else first
            kept_last = known_last if letters_lost(known_last, last) else last
            if (kept_first, kept_last) == (first, last):
                continue
            column = "first_name" if kept_first != first else "last_name"
            why = _Wrong(
                column,
                first if column == "first_name" else last,
                "letters-lost",
                f"The name lost letters on the way; “{kept_first} {kept_last}” is kept.",
                "Have the file written in UTF-8. If the name really changed, set `names_may_lose_letters = true` once.",
            )
            for _, record in self._staging.records([line]):
                self._add(line, record, why, refused=False)
            self._staging.rename(line, kept_first, kept_last)


def _same_again(person: str, first: int) -> _Wrong:
    return _Wrong(
        "person",
        person,
        "duplicate-row",
        f"The same row stands on line {first}, word for word; that one is taken.",
        "Take one of the two out.",
    )


def _duplicate(person: str, others: Iterable[int]) -> _Wrong:
    lines = sorted(others)
    where = ", ".join(str(line) for line in lines[:5]) + (" and more" if len(lines) > 5 else "")
    return _Wrong(
        "person",
        person,
        "duplicate-id",
        f"“{shown(person)}” stands in other rows too (line {where}) that say something else; none of them is taken.",
        "Correct the number in the wrong row; where people have several jobs, give each job a number of its own.",
    )


def _nobody(manager: str) -> str:
    return f"“{shown(manager)}” is named as manager, but is neither in the file nor known from before."


def _shared(email: str, others: Iterable[str]) -> _Wrong:
    people = list(others)
    whose = ", ".join(people[:5]) + (" and more" if len(people) > 5 else "")
    return _Wrong(
        "email",
        email,
        "email-shared",
        f"The address {shown(email)} is also that of {whose}.",
        'Give each person an address of their own, or set `duplicate_email = "allow"` if your LMS lets them share.',
    )
