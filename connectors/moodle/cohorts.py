"""Organisation units and positions as cohorts, and who is in them.

Cohorts are known by their ID number, in the site's own context only: `core_cohort_update_cohorts` moves a cohort to
the context it is given, so that one in a course category is left alone. Parallel creation duplicates ID numbers
(contracts/moodle-4.5, Concurrency), so that there is one writer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bridge.model import Desired, Organisation, Position
from bridge.ports import Action, Change, Found, Item, KindSpec, Outcome, Removal, Severity, Status, outcome_of
from connectors.moodle import given
from connectors.moodle.accounts import Accounts
from connectors.moodle.bulk import Bulk, Entry
from connectors.moodle.client import Call, Fate, Result
from connectors.moodle.directory import SYSTEM, good
from connectors.moodle.given import speaks_of
from connectors.moodle.kinds import Context, Part, adopted, after, not_sent, settled
from connectors.moodle.staff import Staff
from connectors.moodle.text import clean, fold, name_form

LIST = "core_cohort_get_cohorts"
SEARCH = "core_cohort_search_cohorts"
CREATE = "core_cohort_create_cohorts"
UPDATE = "core_cohort_update_cohorts"
DELETE = "core_cohort_delete_cohorts"
MEMBERS = "core_cohort_get_cohort_members"
ADD = "core_cohort_add_cohort_members"
TAKE = "core_cohort_delete_cohort_members"

IN_THE_SITE = {"type": "system", "value": ""}
NAME_LIMIT, IDNUMBER_LIMIT = 254, 100

COHORTS_PER_CALL = 50
MEMBERS_PER_CALL = 250
COHORTS_READ_PER_CALL = 250
CALLS_PER_REQUEST = 2
CALLS_PER_READ = 5

ALREADY_MEMBER = "3"
"""Warning code of a member that was one already (contracts/moodle-4.5, `core_cohort_add_cohort_members`)."""


class CohortKeys:
    """The ID numbers of cohorts, by the configured scheme, and the ids of the cohorts that have them."""

    def __init__(self, context: Context) -> None:
        self._options = context.options
        self.ids: dict[str, int] = {}
        self.twice: set[str] = set()

    def unit(self, key: str) -> str:
        """Return the ID number of a unit's cohort; empty where units have none."""
        return self._options.organisation_cohort.format(key=key) if self._options.organisation_cohort else ""

    def position(self, key: str) -> str:
        """Return the ID number of a position's cohort; empty where positions have none."""
        return self._options.position_cohort.format(key=key) if self._options.position_cohort else ""


class Cohorts:
    """The cohort of each organisation unit and of each position."""

    reads: Mapping[str, str] = {
        LIST: "cohorts cannot be compared",
        SEARCH: "cohorts cannot be compared",
    }
    writes: Mapping[str, str] = {
        CREATE: "no cohorts are made",
        UPDATE: "cohorts are not renamed or hidden",
        DELETE: "a cohort that was just made cannot be taken back by undo",
    }

    def __init__(self, context: Context, keys: CohortKeys) -> None:
        self._context = context
        self._keys = keys
        # Where cohorts are hidden from teachers anyway, hiding one says nothing.
        removal = Removal.HIDE if context.options.cohorts_visible else Removal.KEEP
        self.spec = KindSpec("cohort", "cohort", "cohorts", removal, of_people=True)

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return one item a unit and one a position, where a feed is in play."""
        del left_out
        architecture = desired.architecture
        part = Part()
        if desired.workforce is None:
            return part
        keys = self._keys
        units, positions = self._in_play(desired)
        wanted = [("organisations", keys.unit(unit.key), unit.name, unit.key) for unit in units]
        wanted += [("positions", keys.position(one.key), one.title, one.key) for one in positions]
        part.complete = (
            desired.workforce.extent is None
            and bool(architecture.organisations)
            and (speaks_of(architecture, given.POSITIONS) or not keys.position("x"))
        )
        seen: dict[str, str] = {}
        for group, idnumber, name, key in wanted:
            if not idnumber:
                continue
            if clean(idnumber).strip() != idnumber or len(idnumber) > IDNUMBER_LIMIT:
                part.complete = False
                says = f"This cannot be the ID number of a cohort ({IDNUMBER_LIMIT} characters at most); left out."
                part.remark(Severity.WARNING, "cohort", idnumber, says)
                continue
            if seen.setdefault(fold(idnumber), idnumber) != idnumber:
                part.complete = False
                says = f"Moodle does not tell this ID number from {seen[fold(idnumber)]!r}; left out."
                part.remark(Severity.WARNING, "cohort", idnumber, says)
                continue
            form = name_form(self._context.options.cohort_name.format(name=name, key=key), NAME_LIMIT)
            if form.changed:
                part.remark(Severity.NOTE, "cohort", idnumber, f"Moodle keeps the name as {form.text!r}.")
            part.items.append(Item("cohort", idnumber, {"name": form.text}, group=group))
        return part

    def _in_play(self, desired: Desired) -> tuple[Sequence[Organisation], Sequence[Position]]:
        """Return the units and positions that have a cohort: all, or those of the part that is pushed."""
        architecture = desired.architecture
        staff = Staff.of(desired)
        extent = None if staff is None else staff.workforce.extent
        if staff is None or extent is None:
            return architecture.organisations, architecture.positions
        units = set(extent.units)
        if self._context.options.roll_up_organisations:
            units = {above for unit in units for above in staff.units_above(unit)}
        return (
            [unit for unit in architecture.organisations if unit.key in units],
            [position for position in architecture.positions if position.key in extent.positions],
        )

    def read(self) -> Iterator[Found]:
        """Yield every cohort with an ID number."""
        everywhere, in_site = (
            good(answer)
            for answer in self._context.client.read_many(
                [
                    Call(LIST, {}, raw=True),
                    Call(SEARCH, {"query": "", "context": SYSTEM, "includes": "self", "limitnum": 0}, raw=True),
                ]
            )
        )
        ours = {int(row["id"]) for row in in_site["cohorts"]}
        rows = sorted((row for row in everywhere if row["idnumber"]), key=lambda row: int(row["id"]))
        counted: dict[str, int] = {}
        for row in rows:
            counted[fold(str(row["idnumber"]))] = counted.get(fold(str(row["idnumber"])), 0) + 1
        self._keys.ids = {}
        told: set[str] = set()
        for row in rows:
            key = str(row["idnumber"])
            if key in told:
                continue
            told.add(key)
            held = ""
            if counted[fold(key)] > 1:
                held = f"Several cohorts have the ID number {key}. Decide which one is right, and change the others."
            elif int(row["id"]) not in ours:
                held = (
                    f"The cohort with the ID number {key} belongs to a course category. Move it to the system context "
                    "in Moodle, or change the scheme of ID numbers."
                )
            else:
                self._keys.ids[key] = int(row["id"])
            hidden = self._context.options.cohorts_visible and not row["visible"]
            yield Found("cohort", key, {"name": str(row["name"])}, str(row["id"]), retired=hidden, held=held)

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Make, rename and show cohorts, one request after another."""
        done, changes = adopted(changes)
        yield from done
        visible = self._context.options.cohorts_visible
        creates: list[Entry] = []
        updates: list[Entry] = []
        for change in changes:
            if change.action is Action.CREATE:
                row = {"name": after(change)["name"], "idnumber": change.key, "visible": visible}
                creates.append((change, {**row, "categorytype": IN_THE_SITE}))
            else:
                updates.append((change, self._update(change, visible=visible)))
        bulk = self._bulk(CREATE)
        for group, result in bulk.run(creates):
            rows = result.data if result.fate is Fate.DONE else [None] * len(group)
            for (change, _), made in zip(group, rows, strict=True):
                if made is not None:
                    self._keys.ids[change.key] = int(made["id"])
                yield settled(change, result, None if made is None else made["id"])
        if bulk.stopped is not None:
            raise bulk.stopped
        yield from self._change(updates)

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Hide cohorts; those that an undo takes back are deleted."""
        erase: list[Entry] = [(c, {"id": int(c.lms_id or 0)}) for c in changes if c.erase]
        bulk = Bulk(
            self._context.client,
            lambda rows: Call(DELETE, {"cohortids": [row["id"] for row in rows]}),
            COHORTS_PER_CALL,
        )
        for group, result in bulk.run(erase):
            for change, _ in group:
                self._keys.ids.pop(change.key, None)
                yield settled(change, result)
        if bulk.stopped is not None:
            raise bulk.stopped
        yield from self._change([(c, self._update(c, visible=False)) for c in changes if not c.erase])

    def _update(self, change: Change, *, visible: bool) -> Mapping[str, Any]:
        # The function wants the name, ID number and context even where only something else changes.
        fields = change.after or change.before or {}
        return {
            "id": int(change.lms_id or 0),
            "name": fields["name"],
            "idnumber": change.key,
            "visible": visible,
            "categorytype": IN_THE_SITE,
        }

    def _change(self, updates: Sequence[Entry]) -> Iterator[Outcome]:
        bulk = self._bulk(UPDATE)
        for group, result in bulk.run(updates):
            for change, _ in group:
                yield settled(change, result)
        if bulk.stopped is not None:
            raise bulk.stopped

    def _bulk(self, function: str) -> Bulk:
        return Bulk(
            self._context.client, lambda rows: Call(function, {"cohorts": rows}), COHORTS_PER_CALL, CALLS_PER_REQUEST
        )


def member_key(person: str, cohort: str) -> str:
    """Return the key of a membership."""
    return f"{person}|{cohort}"


class CohortMembers:
    """Who is in the cohorts of units and positions. Members that the bridge did not put there stay."""

    spec = KindSpec(
        "cohort_member", "membership", "memberships", Removal.UNLINK, relation=True, by_key=True, of_people=True
    )
    reads: Mapping[str, str] = {MEMBERS: "who is in which cohort cannot be compared"}
    writes: Mapping[str, str] = {
        ADD: "nobody is put into cohorts",
        TAKE: "nobody is taken out of cohorts",
    }

    def __init__(self, context: Context, accounts: Accounts, cohorts: Cohorts, keys: CohortKeys) -> None:
        self._context = context
        self._accounts = accounts
        self._cohorts = cohorts
        self._keys = keys
        self._wanted: frozenset[str] = frozenset()

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return one item for each cohort that each person belongs to."""
        del left_out
        part = Part()
        staff = Staff.of(desired)
        self._wanted = frozenset()
        if staff is None:
            return part
        part.complete = True
        unknown: dict[str, int] = {}
        for person in staff.working():
            for cohort in self._belongs(person.key, staff, unknown):
                needs = (("user", person.key), ("cohort", cohort))
                part.items.append(Item("cohort_member", member_key(person.key, cohort), {}, group=cohort, needs=needs))
        for cohort, count in unknown.items():
            says = f"{count:,} people belong to it, but the files do not know it: they are put into no cohort for it."
            part.remark(Severity.WARNING, "cohort", cohort, says)
        positions = {self._keys.position(key) for key in staff.positions}
        units = {self._keys.unit(key) for key in staff.units}
        self._wanted = frozenset((positions | units) - {""})
        waiting = [person.key for person in staff.working() if staff.unmapped(person.key)]
        if waiting and self._keys.position("x"):
            says = (
                f"{len(waiting):,} people hold a title without a position yet: they stay in the cohorts of positions "
                f"they are in until it has one ({', '.join(waiting[:5])}{', …' if len(waiting) > 5 else ''})."
            )
            part.remark(Severity.WAITS, "cohort_member", "", says)
        part.speaks_of = self._spoken_of(staff, positions)
        return part

    def _belongs(self, person: str, staff: Staff, unknown: dict[str, int]) -> Iterator[str]:
        told: set[str] = set()
        for job in staff.jobs.get(person, ()):
            cohorts: list[tuple[bool, str]] = []
            if job.organisation is not None:
                units: Iterable[str] = [job.organisation]
                if self._context.options.roll_up_organisations:
                    units = staff.units_above(job.organisation)
                cohorts += [(unit in staff.units, self._keys.unit(unit)) for unit in units]
            if job.position is not None:
                cohorts.append((job.position in staff.positions, self._keys.position(job.position)))
            for known, cohort in cohorts:
                if cohort and cohort not in told:
                    told.add(cohort)
                    if known:
                        yield cohort
                    else:
                        unknown[cohort] = unknown.get(cohort, 0) + 1

    def _spoken_of(self, staff: Staff, positions: Collection[str]) -> Any:
        leavers = frozenset() if self._context.options.leavers_keep_cohorts else frozenset(staff.leavers())

        def spoken_of(key: str) -> bool:
            """Say whether a membership that is not wanted is one that should end."""
            for place, letter in enumerate(key):
                person = key[:place]
                if letter != "|" or not (staff.works(person) or person in leavers):
                    continue
                if person in self._accounts.held:
                    return False
                return not (staff.unmapped(person) and key[place + 1 :] in positions)
            return False

        return spoken_of

    def read(self) -> Iterator[Found]:
        """Yield the memberships of people whose account is certain, in the cohorts of units and positions."""
        return self._memberships(self._cohort_ids(), self._people())

    def read_some(self, keys: Collection[str]) -> Iterator[Found]:
        """Yield the memberships of some people in some cohorts."""
        cohorts = self._cohort_ids(all_of_them=True)
        parts = {(key[:at], key[at + 1 :]) for key in keys for at, letter in enumerate(key) if letter == "|"}
        people = self._accounts.ids_of({person for person, cohort in parts if cohort in cohorts})
        named = {cohort for person, cohort in parts if person in people and cohort in cohorts}
        return self._memberships({cohort: cohorts[cohort] for cohort in named}, people)

    def _people(self) -> Mapping[str, int]:
        if not self._accounts.was_read:
            for _ in self._accounts.read():
                pass
        return self._accounts.ids

    def _cohort_ids(self, *, all_of_them: bool = False) -> dict[str, int]:
        if not self._keys.ids:
            for _ in self._cohorts.read():
                pass
        if all_of_them or not self._wanted:
            return dict(self._keys.ids)
        return {key: id_ for key, id_ in self._keys.ids.items() if key in self._wanted}

    def _memberships(self, cohorts: Mapping[str, int], people: Mapping[str, int]) -> Iterator[Found]:
        person_of = {account: key for key, account in people.items()}
        cohort_of = {id_: key for key, id_ in cohorts.items()}
        ids = list(cohort_of)
        calls = [
            Call(MEMBERS, {"cohortids": ids[start : start + COHORTS_READ_PER_CALL]})
            for start in range(0, len(ids), COHORTS_READ_PER_CALL)
        ]
        for answer in self._context.client.read_many(calls, size=CALLS_PER_READ):
            for row in good(answer):
                cohort = cohort_of[int(row["cohortid"])]
                for account in row["userids"]:
                    person = person_of.get(int(account))
                    if person is not None:
                        key = member_key(person, cohort)
                        detail = {"cohort": int(row["cohortid"]), "account": int(account)}
                        yield Found("cohort_member", key, {}, f"{row['cohortid']}-{account}", detail=detail)

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Put people into cohorts, in large batches; who is in already counts as done."""
        done, changes = adopted(changes)
        yield from done
        yield from self._carry_out(changes, adding=True)

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Take people out of cohorts; who is out already counts as done."""
        yield from self._carry_out(changes, adding=False)

    def _carry_out(self, changes: Sequence[Change], *, adding: bool) -> Iterator[Outcome]:
        entries: list[Entry] = []
        row: Mapping[str, Any]
        for change, cohort, account in self._ends(changes):
            if cohort is None or account is None:
                missing = "cohort" if cohort is None else "account"
                yield not_sent(change, f"The {missing} is not in Moodle (yet), or not certain.")
            elif adding:
                row = {
                    "cohorttype": {"type": "id", "value": str(cohort)},
                    "usertype": {"type": "id", "value": str(account)},
                }
                entries.append((change, row))
            else:
                entries.append((change, {"cohortid": cohort, "userid": account}))
        bulk = Bulk(
            self._context.client,
            lambda rows: Call(ADD if adding else TAKE, {"members": rows}),
            MEMBERS_PER_CALL,
            CALLS_PER_REQUEST,
        )
        for group, result in bulk.run(entries):
            warned = _warnings(result)
            for change, row in group:
                why = _complaint(row, warned) if adding else ""
                yield outcome_of(change, Status.REFUSED, why) if why else settled(change, result)
        if bulk.stopped is not None:
            raise bulk.stopped

    def _ends(self, changes: Sequence[Change]) -> Iterator[tuple[Change, int | None, int | None]]:
        """Yield each change with the ids of its cohort and its account."""
        cohorts = self._cohort_ids(all_of_them=True)
        open_ends: list[tuple[Change, str, str]] = []
        for change in changes:
            if "cohort" in change.detail and "account" in change.detail:
                yield change, int(str(change.detail["cohort"])), int(str(change.detail["account"]))
                continue
            places = [at for at, letter in enumerate(change.key) if letter == "|"]
            ends = [(change.key[:at], change.key[at + 1 :]) for at in places]
            person, cohort = next((pair for pair in ends if pair[1] in cohorts), ends[0] if ends else ("", ""))
            open_ends.append((change, person, cohort))
        accounts = self._accounts.ids_of({person for _, person, _ in open_ends})
        for change, person, cohort in open_ends:
            yield change, cohorts.get(cohort), accounts.get(person)


def _warnings(result: Result) -> list[str]:
    """Return what Moodle says of members it did not add, but for those that were in already."""
    if result.fate is not Fate.DONE or not isinstance(result.data, dict):
        return []
    return [
        str(row.get("message", ""))
        for row in result.data.get("warnings") or ()
        if str(row.get("warningcode")) != ALREADY_MEMBER
    ]


def _complaint(row: Mapping[str, Any], warned: Sequence[str]) -> str:
    """Return what Moodle says against one member; its warnings name the cohort or the account, not the pair."""
    cohort, account = f"cohort id={row['cohorttype']['value']} ", f"user id={row['usertype']['value']} "
    return next((f"Moodle did not add them: {says}." for says in warned if cohort in says or account in says), "")
