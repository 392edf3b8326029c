"""HR Import of job assignments: faulty rows are skipped, managers may come later in the same file."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

from connectors.hrimport_rules.outcome import Aborted, ElementResult, Journal, Outcome, RowOutcome
from connectors.hrimport_rules.php import TRIM, clean_int, clean_text, is_numeric, whole_number
from connectors.hrimport_rules.reading import LEGACY_MANAGER_JOB, CsvTable, LengthCheck, TimeReader
from connectors.hrimport_rules.settings import HrImportSettings
from connectors.hrimport_rules.state import Item, Job, SiteState, User

_DATES = ("startdate", "enddate", "tempmanagerexpirydate")
_KEPT = (
    "fullname",
    "startdate",
    "enddate",
    "orgidnumber",
    "posidnumber",
    "appraiseridnumber",
    "manageridnumber",
    "managerjaidnumber",
    "tempmanageridnumber",
    "tempmanagerjaidnumber",
    "tempmanagerexpirydate",
)


class _Row:
    """A row that reached the import; in each column None stands for "leave what is there"."""

    __slots__ = ("deleted", "idnumber", "line", "outcome", "owner", "rule", "timemodified", "warning", *_KEPT)

    fullname: str | None
    startdate: str | None
    enddate: str | None
    orgidnumber: str | None
    posidnumber: str | None
    appraiseridnumber: str | None
    manageridnumber: str | None
    managerjaidnumber: str | None
    tempmanageridnumber: str | None
    tempmanagerjaidnumber: str | None
    tempmanagerexpirydate: str | None

    def __init__(self, line: int, idnumber: str, owner: str) -> None:
        self.line = line
        self.idnumber = idnumber
        self.owner = owner
        self.timemodified = 0
        self.deleted = False
        self.outcome: Outcome = "skip"
        self.rule = "unchanged"
        self.warning = ""


class JobImport:
    """One run of the job assignment element over a file."""

    def __init__(
        self,
        state: SiteState,
        settings: HrImportSettings,
        *,
        now: int,
        keep_info: bool,
        keep_rows: bool = True,
    ) -> None:
        self.state = state
        self.keep_rows = keep_rows
        self.settings = settings
        self.options = settings.element("jobassignment")
        self.now = now
        self.journal = Journal("jobassignment", keep_info=keep_info)
        self.result = ElementResult("jobassignment")
        self.rows: list[_Row] = []
        self._columns: set[str] = set()

    def run(self, source: bytes | Path) -> ElementResult:
        """Import the file into the state and say what happened."""
        self.journal.add("info", "sync", "syncstarted")
        try:
            self._read(source)
            linked = self.options.previouslylinkedonjobassignmentidnumber
            if linked is None:
                linked = self.state.previously_linked
            if self.options.updateidnumbers and linked:
                self.journal.add("error", "sync", "previouslylinkedmismatch")
                reason = "previouslylinkedmismatch"
                raise Aborted(reason)
            self._apply(self._check(self._delete()))
        except Aborted as stop:
            self.result.aborts = True
            self.result.reason = stop.reason
            self.result.detail = stop.detail
            for row in self.rows:
                row.outcome, row.rule = "refuse", stop.reason
        else:
            self.journal.add("info", "sync", "syncfinished")
            if not self.options.updateidnumbers:
                self.state.previously_linked = True
        if self.keep_rows:
            self.result.take(RowOutcome(row.line, row.idnumber, row.outcome, row.rule, row.owner) for row in self.rows)
        self.result.log = self.journal.rows
        return self.result

    # -- reading ----------------------------------------------------------------------------------

    def _read(self, source: bytes | Path) -> None:
        table = CsvTable(source, self.settings, self.journal, self.result)
        try:
            self._read_rows(table)
        finally:
            table.close()

    def _read_rows(self, table: CsvTable) -> None:
        times = TimeReader(self.settings)
        lengths = LengthCheck(table, self.journal)
        at = {name: table.index[name] for name in table.selection.plain if name in table.index}
        if LEGACY_MANAGER_JOB in at:
            at["managerjaidnumber"] = at.pop(LEGACY_MANAGER_JOB)
        self._columns = set(at)
        id_at, owner_at, time_at = at["idnumber"], at["useridnumber"], at["timemodified"]
        deleted_at = at.get("deleted", -1)
        # A column the file lacks reads the None put behind the last field.
        kept: Callable[[list[Any]], tuple[Any, ...]] = itemgetter(*(at.get(name, -1) for name in _KEPT))
        dates = [(name, at[name]) for name in _DATES if name in at]
        erase = self.options.erases
        refused: str | None = None
        for line, raw, tagged in table.rows():
            fields = [value.strip(TRIM) for value in raw]
            if tagged:
                fields = [clean_text(value) for value in fields]
            row = _Row(line, fields[id_at], fields[owner_at])
            text = fields[time_at]
            stamp = 0 if text in {"", "0"} else times.stored(text)
            undated: list[str] = []
            for name, place in dates:
                value = fields[place]
                if value == "" or value == "0":
                    continue
                moment = times.stored(value)
                if moment is not None:
                    fields[place] = str(moment)
                elif is_numeric(value) and (number := whole_number(value)) is not None:
                    fields[place] = str(number)
                else:
                    self._bad_date(row, name)
                    undated.append(name)
                    fields[place] = ""
            if lengths.too_long(fields):
                if self.settings.modern:
                    # Dropped here, the row counts as missing later.
                    self.result.rows.append(RowOutcome(line, row.idnumber, "refuse", "lengthlimitexceeded", row.owner))
                    lengths.row_done()
                    continue
                refused = refused or "a value is too long for its column"
            if stamp is None:
                refused = refused or f"timemodified {text!r} is neither a unix time nor a date in the site's format"
            row.timemodified = stamp or 0
            if deleted_at >= 0 and fields[deleted_at] != "0":
                row.deleted = clean_int(fields[deleted_at]) == 1
            values = kept([*fields, None])
            (
                row.fullname,
                row.startdate,
                row.enddate,
                row.orgidnumber,
                row.posidnumber,
                row.appraiseridnumber,
                row.manageridnumber,
                row.managerjaidnumber,
                row.tempmanageridnumber,
                row.tempmanagerjaidnumber,
                row.tempmanagerexpirydate,
            ) = values if erase else [value or None for value in values]
            for name in undated:
                setattr(row, name, None)
            self.rows.append(row)
            lengths.row_done()
        lengths.flush()
        if refused is not None:
            self.journal.add(
                "error",
                "populatesynctablecsv",
                "couldnotimportallrecords",
                detail="Error writing to database",
            )
            reason = "couldnotimportallrecords"
            raise Aborted(reason, refused)

    def _bad_date(self, row: _Row, name: str) -> None:
        if row.idnumber and row.owner:
            self.journal.add(
                "warn",
                "updatejobassignments",
                "invaliddateformatjobassignment",
                field=name,
                idnumber=row.idnumber,
                useridnumber=row.owner,
            )
        else:
            self.journal.add("warn", "updatejobassignments", "invaliddateformatforfield", field=name)
        row.warning = "invaliddateformatjobassignment"

    # -- deleting comes first ---------------------------------------------------------------------

    def _delete(self) -> list[_Row]:
        """Delete what is flagged or missing; the rows that go on."""
        if self.options.allow_delete:
            doomed = self._missing() if self.options.sourceallrecords else self._flagged()
            for job in doomed:
                self.journal.add(
                    "info",
                    "delete",
                    "deletedjobassignmentx",
                    idnumber=job.idnumber,
                    useridnumber=job.user.idnumber,
                )
                self.result.removed.append(job.idnumber)
            self.state.delete_jobs(doomed)
        going_on: list[_Row] = []
        for row in self.rows:
            if not row.deleted:
                going_on.append(row)
            elif row.outcome != "delete":
                row.rule = "deleted"
        return going_on

    def _missing(self) -> list[Job]:
        listed = {(row.owner, row.idnumber) for row in self.rows}
        return [
            job
            for job in self.state.jobs.values()
            if job.totarasync and (not job.user.idnumber or (job.user.idnumber, job.idnumber) not in listed)
        ]

    def _flagged(self) -> list[Job]:
        found: dict[int, Job] = {}
        for row in self.rows:
            if row.deleted:
                user = self.state.find_user(row.owner) if row.owner else None
                job = self.state.job_of(user, row.idnumber) if user else None
                if job is not None and job.totarasync:
                    found[job.id] = job
                    row.outcome, row.rule = "delete", "deletedjobassignmentx"
        return [found[number] for number in sorted(found)]

    # -- the checks that skip a row ---------------------------------------------------------------

    def _refuse(self, row: _Row, action: str, code: str, value: str = "", manager: str = "") -> None:
        self.journal.add(
            "error",
            action,
            code,
            idnumber=row.idnumber,
            useridnumber=row.owner,
            value=value,
            manageridnumber=manager,
        )
        if row.outcome != "refuse":
            row.outcome, row.rule = "refuse", code

    def _check(self, rows: list[_Row]) -> list[_Row]:
        nameless = [row for row in rows if not row.idnumber or not row.owner]
        if nameless:
            self.journal.add("error", "checksanity", "missingrequiredfieldjobassignment")
            for row in nameless:
                row.outcome, row.rule = "refuse", "missingrequiredfieldjobassignment"
        # Any user's job with this id number and time stands for this row (order 91).
        done = {(job.idnumber, job.timemodified) for job in self.state.jobs.values()}
        left: list[_Row] = []
        for row in rows:
            if row.outcome == "refuse":
                continue
            if row.timemodified and (row.idnumber, row.timemodified) in done:
                row.rule = "timemodified"
            else:
                left.append(row)
        self._check_items(left, "pos", "posidnumber", "posxnotexistjobassignment")
        self._check_items(left, "org", "orgidnumber", "orgxnotexistjobassignment")
        self._check_people(left, "manager")
        if self.settings.modern:
            self._check_people(left, "tempmanager")
            self._check_expiry(left)
        self._check_people(left, "appraiser")
        self._check_twice(left)
        for row in left:
            if self.state.find_user(row.owner) is None:
                self._refuse(row, "checksanity", "unabletomatchuseridnumber")
        return [row for row in left if row.outcome != "refuse"]

    def _check_items(self, rows: list[_Row], element: str, column: str, code: str) -> None:
        known = self.state.hierarchy(element).by_idnumber
        if element in self.state.presumed:
            return
        value_of: Callable[[_Row], str | None] = attrgetter(column)
        for row in rows:
            value = value_of(row)
            if value and value not in known:
                self._refuse(row, "checksanity", code, value)

    def _check_people(self, rows: list[_Row], role: str) -> None:
        value_of: Callable[[_Row], str | None] = attrgetter(f"{role}idnumber")
        for row in rows:
            if row.owner == value_of(row) and row.owner:
                self._refuse(row, "checksanity", f"selfassigned{role}jobassignment")
        known = self.state.user_by_idnumber
        for row in rows:
            value = value_of(row)
            if value and value not in known and self.state.find_user(value) is None:
                self._refuse(row, "checksanity", f"{role}xnotexistjobassignment", value)

    def _check_expiry(self, rows: list[_Row]) -> None:
        """A temporary manager needs a date in the future until which the person stands in."""
        for row in rows:
            if row.tempmanageridnumber and not row.tempmanagerexpirydate:
                self._refuse(row, "checksanity", "tempmanagerxexpirydatenotset", row.tempmanageridnumber)
        for row in rows:
            if row.tempmanageridnumber and row.tempmanagerexpirydate and int(row.tempmanagerexpirydate) <= self.now:
                self._refuse(row, "checksanity", "tempmanagerxexpirydateinthepast", row.tempmanageridnumber)

    def _check_twice(self, rows: list[_Row]) -> None:
        seen: set[tuple[str, str]] = set()
        twice: dict[tuple[str, str], None] = {}
        for row in rows:
            key = (row.idnumber, row.owner)
            if key in seen:
                twice[key] = None
            seen.add(key)
        if not twice:
            return
        told: set[tuple[str, str]] = set()
        for row in rows:
            key = (row.idnumber, row.owner)
            if key in twice:
                if key not in told:
                    self._refuse(row, "checksanity", "duplicateentriesjobassignment")
                    told.add(key)
                row.outcome, row.rule = "refuse", "duplicateentriesjobassignment"

    # -- creating and updating --------------------------------------------------------------------

    def _apply(self, rows: list[_Row]) -> None:
        waiting = [row for row in rows if not self._try(row, last=False)]
        while True:
            # Managers may have arrived meanwhile; go on while that helps.
            before = len(waiting)
            waiting = [row for row in waiting if not self._try(row, last=False)]
            if not waiting or len(waiting) >= before:
                break
        for row in waiting:
            self._try(row, last=True)

    def _try(self, row: _Row, *, last: bool) -> bool:
        """Apply a row; False when its manager may still come."""
        manager: Job | None = None
        temporary: Job | None = None
        for role in ("manager", "tempmanager"):
            name = getattr(row, f"{role}idnumber")
            if not name:
                continue
            found, error, value = self._manager_job(row, role, name)
            if found is None:
                if "hasnojobassignment" in error or "jaxnotexist" in error:
                    if name in self.state.presumed_users or "jobassignment" in self.state.presumed:
                        continue
                    if not last:
                        return False
                self._refuse(row, "create/update", error, value, name)
                return True
            if role == "manager":
                manager = found
            else:
                temporary = found
        error = self._create_or_update(row, manager, temporary)
        if error == "managementloop" and not last:
            return False
        if error:
            self._refuse(row, "create/update", error)
        return True

    def _manager_job(self, row: _Row, role: str, name: str) -> tuple[Job | None, str, str]:
        user = self.state.find_user(name)
        assert user is not None  # noqa: S101 - the checks refuse rows whose manager is unknown
        column = f"{role}jaidnumber"
        if column not in self._columns:
            return self.state.first_job(user), f"{role}xhasnojobassignment", name
        wanted = getattr(row, column)
        if not wanted:
            return None, f"empty{role}jobassignmentidnumber", name
        return self.state.job_of(user, wanted), f"{role}jaxnotexistjobassignment", wanted

    def _create_or_update(self, row: _Row, manager: Job | None, temporary: Job | None) -> str:
        user = self.state.find_user(row.owner)
        assert user is not None  # noqa: S101 - the checks refuse rows whose user is unknown
        by_order = self.options.updateidnumbers
        job = self.state.first_job(user) if by_order else self.state.job_of(user, row.idnumber)
        if job is None and not self.options.allow_create:
            row.rule = "allow_create"
            return ""
        if job is not None and not self.options.allow_update:
            row.rule = "allow_update"
            return ""
        if job is not None and not job.totarasync:
            return "jobassignmentsyncdisabled"
        error = self._single_check(row, job, user, manager)
        if error:
            return error
        created = job is None
        if job is None:
            job = self.state.add_job(row.idnumber, user)
        elif self.options.updateidnumbers:
            job.idnumber = row.idnumber
        self._store(job, row, manager, temporary, created)
        code = "createdjobassignmentx" if created else "updatedjobassignmentx"
        if self.journal.keep_info:
            action = "create" if created else "update"
            self.journal.add("info", action, code, idnumber=row.idnumber, useridnumber=row.owner)
        row.outcome, row.rule = "create" if created else "update", row.warning or code
        return ""

    def _single_check(self, row: _Row, job: Job | None, user: User, manager: Job | None) -> str:
        start = row.startdate if row.startdate is not None else (job.startdate if job else None)
        end = row.enddate if row.enddate is not None else (job.enddate if job else None)
        if start and end and int(start) > int(end):
            return "startafterendjobassignment"
        if job is not None:
            boss = manager
            if boss is None and row.manageridnumber is None:
                boss = job.manager
            above: set[int] = set()
            while boss is not None and boss.id not in above:
                if boss is job:
                    return "managementloop"
                above.add(boss.id)
                boss = boss.manager
            other = self.state.job_of(user, row.idnumber)
            if job.idnumber != row.idnumber and other is not None:
                return "willcreateduplicatejobidnumber"
        elif not self.settings.allow_multiple_jobs and self.state.first_job(user) is not None:
            return "multiplejobsdisablednocreate"
        return ""

    def _store(self, job: Job, row: _Row, manager: Job | None, temporary: Job | None, created: bool) -> None:
        # A blank date that erases is stored as 0, but a new job has none (orders 94, 102).
        job.timemodified = row.timemodified
        if row.fullname is not None:
            job.fullname = row.fullname
        if row.startdate is not None:
            job.startdate = int(row.startdate or 0) if row.startdate or not created else None
        if row.enddate is not None:
            job.enddate = int(row.enddate or 0) if row.enddate or not created else None
        if row.orgidnumber is not None:
            job.organisation = self._item("org", row.orgidnumber)
        if row.posidnumber is not None:
            job.position = self._item("pos", row.posidnumber)
        if row.appraiseridnumber is not None:
            job.appraiser = self.state.find_user(row.appraiseridnumber) if row.appraiseridnumber else None
        if row.manageridnumber is not None:
            job.manager = manager
        if row.tempmanageridnumber is not None:
            job.tempmanager = temporary
            job.tempexpiry = int(row.tempmanagerexpirydate or 0) or None if temporary else None

    def _item(self, element: str, idnumber: str) -> Item | None:
        return self.state.hierarchy(element).by_idnumber.get(idnumber)
