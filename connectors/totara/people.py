"""Accounts and job assignments: items, file rows, and who must come first."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from bridge.model import JobAssignment, Person, PersonStatus, Workforce
from bridge.ports import Action, Change, Fields, Item, KindSpec, Remark, Removal, Severity, Value
from connectors.hrimport_rules.reading import columns_of
from connectors.totara.hrimport.files import Row, kept_form, leaver_columns, managers_first
from connectors.totara.options import TotaraOptions

PERSON, JOB = "person", "job"
ELEMENT_OF = {PERSON: "user", JOB: "jobassignment"}
_SUSPENDED = "suspended"
SPECS = (
    KindSpec(PERSON, "person", "people", Removal.SUSPEND, readable=False, removed_by=_SUSPENDED, of_people=True),
    KindSpec(JOB, "job assignment", "job assignments", Removal.CLOSE, readable=False, of_people=True),
)
_PERSON_COLUMNS = {"username": "username", "first_name": "firstname", "last_name": "lastname", "email": "email"}
_JOB_COLUMNS = {
    "title": "fullname",
    "organisation": "orgidnumber",
    "position": "posidnumber",
    "manager": "manageridnumber",
    "manager_job": "managerjaidnumber",
}


class People:
    """The two kinds of people on one site."""

    def __init__(self, options: TotaraOptions, today: dt.date, sendable: Callable[[str], bool] | None = None) -> None:
        self.options = options
        self.today = today
        self._sendable = sendable or self.has_column
        self.extras: set[str] = set()
        """Further columns that the people translated last carry."""
        self.wanted_jobs: frozenset[str] = frozenset()
        """The jobs that were translated last: one that ended is over only where nobody speaks of it any more."""
        self.owners: dict[str, str] = {}
        """Job to person, as far as the site or what was sent tells."""
        self.ends: dict[str, str] = {}
        """Job to the last day it was given before, as ISO text: whoever left on one day did not leave on each since."""
        self.left: frozenset[str] = frozenset()
        """Who left for certain, of the people translated last."""
        self._spoken_of: frozenset[str] = frozenset()

    def has_column(self, name: str) -> bool:
        """Whether the site's user file has a further column of an account."""
        return name in columns_of("user", self.options.hrimport) or is_custom(name)

    def speaks_of_leaver(self, key: str) -> bool:
        """Whether somebody is certain to have left, by the people translated last."""
        return key in self.left

    def speaks_of_job(self, key: str) -> bool:
        """Whether a job belongs to somebody the people translated last speak of: if not, its absence means nothing."""
        return self.owners.get(key) in self._spoken_of

    # -- from the model to items ------------------------------------------------------------------

    def translate(self, workforce: Workforce) -> tuple[list[Item], list[Remark]]:
        """The accounts and jobs a site should hold; who is gone is suspended and their jobs end."""
        self.today = workforce.as_of
        remarks: list[Remark] = []
        self.left = workforce.absent | {one.key for one in workforce.people if one.status is PersonStatus.TERMINATED}
        if self.options.delete_leavers:
            # Nothing is wanted of them any more: they are removed, and their jobs go with them.
            workforce = replace(
                workforce,
                people=tuple(one for one in workforce.people if one.key not in self.left),
                assignments=tuple(one for one in workforce.assignments if one.person not in self.left),
                absent=frozenset(),
            )
        items = [self._person(one, remarks) for one in workforce.people]
        # Somebody confirmed absent is suspended, and nothing else of the account is touched; nobody is made for that.
        items += [Item(PERSON, key, {_SUSPENDED: True}, make=False) for key in sorted(workforce.absent)]
        self.extras = {name for one in workforce.people for name, _ in one.extra if self._sendable(name)}
        self._spoken_of = workforce.absent | {one.key for one in workforce.people}
        gone = {one.key for one in workforce.people if one.status is PersonStatus.TERMINATED}
        items += self._jobs(workforce, gone, remarks)
        return items, remarks

    def _person(self, one: Person, remarks: list[Remark]) -> Item:
        limits = columns_of("user", self.options.hrimport)
        plain = {
            "username": (one.username or one.key).lower(),
            "first_name": one.first_name,
            "last_name": one.last_name,
            "email": one.email,
        }
        fields: dict[str, Value] = {}
        for name, value in plain.items():
            kept = kept_form(value, limit=limits[_PERSON_COLUMNS[name]])
            if kept != value:
                remarks.append(Remark(Severity.NOTE, PERSON, one.key, f"Totara keeps {name} as “{kept}”"))
            fields[name] = kept
        fields[_SUSPENDED] = one.status is PersonStatus.TERMINATED
        fields |= {name: kept_form(value) for name, value in one.extra if self._sendable(name)}
        # Whoever left has no account made.
        return Item(PERSON, one.key, fields, make=one.status is not PersonStatus.TERMINATED)

    def _jobs(self, workforce: Workforce, gone: set[str], remarks: list[Remark]) -> list[Item]:
        owners: dict[str, set[str]] = {}
        main: dict[str, str] = {}
        for one in workforce.assignments:
            owners.setdefault(one.key, set()).add(one.person)
            if one.primary:
                main[one.person] = one.key
        items = []
        # The order of making decides the primary job: it goes first of a person's.
        for one in sorted(workforce.assignments, key=lambda job: (job.person, not job.primary)):
            if len(owners[one.key]) > 1:
                says = (
                    f"{len(owners[one.key])} people have a job {one.key}. The site compares job id numbers over all "
                    "people, so none of them is sent until they differ."
                )
                remarks.append(Remark(Severity.WAITS, JOB, one.key, says))
                owners[one.key] = {one.person}
                continue
            items.append(self._job(one, workforce, gone, main))
        # Of somebody who left no feed lists a job any more: those known from before end.
        listed, left = {item.key for item in items}, workforce.absent | gone
        for key, owner in sorted(self.owners.items()):
            if owner in left and key not in listed:
                items.append(Item(JOB, key, {"end": self._last_day(key).isoformat()}, make=False))
        self.wanted_jobs = frozenset(item.key for item in items)
        return items

    def _last_day(self, job: str) -> dt.date:
        """The day a leaver's job ends: the one it was given before, else today."""
        known = self.ends.get(job)
        day = dt.date.fromisoformat(known) if known else self.today
        return min(day, self.today)

    def _job(self, one: JobAssignment, workforce: Workforce, gone: set[str], main: dict[str, str]) -> Item:
        end = one.end
        if one.person in gone and (end is None or end > workforce.as_of):
            end = self._last_day(one.key)
        manager_job = main.get(one.manager) if one.manager else None
        fields: Fields = {
            "person": one.person,
            "title": kept_form(one.title, limit=255),
            "organisation": one.organisation,
            "position": one.position,
            "manager": one.manager if manager_job else None,
            "manager_job": manager_job,
            "start": one.start.isoformat() if one.start else None,
            "end": end.isoformat() if end else None,
        }
        needs = [(PERSON, one.person)]
        needs += [("organisation", one.organisation)] if one.organisation else []
        needs += [("position", one.position)] if one.position else []
        return Item(JOB, one.key, fields, needs=tuple(needs))

    # -- from changes to file rows ----------------------------------------------------------------

    def idnumber(self, kind: str, key: str) -> str:
        """A key is the site's id number."""
        del kind
        return key

    def refusal(self, change: Change) -> str:
        """Why a change cannot be said in a file; empty where it can."""
        element = ELEMENT_OF[change.kind]
        options = self.options.hrimport.element(element)
        if change.key in self.options.reserved:
            return f"{change.key} is reserved for somebody else by the settings of this site"
        if change.erase and (options.sourceallrecords or not options.allow_delete):
            return f"the site does not delete by file: allow it for the {element} element, in partial mode"
        if change.action is Action.CREATE and change.kind == PERSON and "username" not in (change.after or {}):
            return f"{change.key} is absent from every feed and was never sent: there is nothing to suspend"
        return ""

    def rows(self, changes: Iterable[Change], stamp: int) -> dict[str, dict[str, object]]:
        """The file's rows by id number."""
        rows: dict[str, dict[str, object]] = {}
        for change in changes:
            values = {**change.detail, **(change.before or {}), **(change.after or {})}
            row = rows.setdefault(change.key, {"idnumber": change.key, "timemodified": stamp})
            if change.kind == PERSON:
                self._person_row(change, values, row)
            else:
                self._job_row(change, values, row)
        return rows

    def _person_row(self, change: Change, values: dict[str, Value], row: dict[str, object]) -> None:
        row |= {column: values[name] for name, column in _PERSON_COLUMNS.items() if values.get(name) is not None}
        row |= {
            name: value
            for name, value in values.items()
            if name not in _PERSON_COLUMNS and name != _SUSPENDED and value is not None
        }
        leaves = bool(values.get(_SUSPENDED)) or change.action is Action.REMOVE
        if change.erase:
            row["deleted"] = 1
        elif leaves:
            row |= leaver_columns(self.options.hrimport)
        else:
            row["suspended"] = 0

    def _job_row(self, change: Change, values: dict[str, Value], row: dict[str, object]) -> None:
        row["useridnumber"] = values.get("person")
        row |= {column: values.get(name) for name, column in _JOB_COLUMNS.items()}
        for name, column in (("start", "startdate"), ("end", "enddate")):
            text = values.get(name)
            row[column] = dt.date.fromisoformat(str(text)) if text else None
        if change.erase:
            row["deleted"] = 1
        elif change.action is Action.REMOVE:
            row["enddate"] = self.today

    def columns(self, kind: str) -> tuple[str, ...]:
        """The columns our files of a kind may hold."""
        if kind == JOB:
            return (*_JOB_COLUMNS.values(), "startdate", "enddate")
        imported = self.options.hrimport.element("user").imported or frozenset()
        return (*_PERSON_COLUMNS.values(), "suspended", *sorted(imported))

    def ordered(self, kind: str, rows: Sequence[Row]) -> list[Row]:
        """Managers' jobs before their reports', each person's primary job first."""
        return managers_first(rows) if kind == JOB else list(rows)


def is_custom(name: str) -> bool:
    """Whether a column of the user file is a profile field of the site's own."""
    return name.startswith("customfield_")
