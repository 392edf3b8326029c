"""HR Import of users: a faulty row is skipped, the others go on; absence deletes or suspends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from pathlib import Path
from typing import Any

from connectors.hrimport_rules.outcome import Aborted, ElementResult, Journal, Outcome, RowOutcome
from connectors.hrimport_rules.php import TRIM, clean_text, clean_username, is_numeric, valid_email, whole_number
from connectors.hrimport_rules.reading import CsvTable, LengthCheck, TimeReader
from connectors.hrimport_rules.settings import AUTH_PLUGINS, COUNTRIES, CustomField, HrImportSettings
from connectors.hrimport_rules.state import SiteState, User

KEEP, DELETE, SUSPEND = 0, 1, 2
# What the site writes into the username of a row with an over-long value (order 75).
EXCEEDED = "data_exceeded_length"
_RAW_COLUMNS = ("description", "password")
_STORED = (
    "firstname",
    "lastname",
    "firstnamephonetic",
    "lastnamephonetic",
    "middlename",
    "alternatename",
    "city",
    "country",
    "timezone",
    "lang",
    "description",
    "url",
    "institution",
    "department",
    "phone1",
    "phone2",
    "address",
    "auth",
    "emailstop",
)


class _Row:
    """A row that reached the import."""

    __slots__ = (
        "deleted",
        "email",
        "idnumber",
        "invalid",
        "line",
        "outcome",
        "rule",
        "suspended",
        "timemodified",
        "username",
        "values",
        "warning",
    )

    def __init__(self, line: int, idnumber: str, username: str) -> None:
        self.line = line
        self.idnumber = idnumber
        self.username = username
        self.email: str | None = None
        self.timemodified = 0
        self.deleted = False
        self.suspended: bool | None = None
        self.values: dict[str, Any] | None = None
        self.invalid = ""
        self.warning = ""
        self.outcome: Outcome = "skip"
        self.rule = "unchanged"


class UserImport:
    """One run of the user element over a file."""

    def __init__(
        self,
        state: SiteState,
        settings: HrImportSettings,
        *,
        now: int,
        keep_values: bool,
        keep_info: bool,
        keep_rows: bool = True,
    ) -> None:
        self.state = state
        self.keep_rows = keep_rows
        self.settings = settings
        self.options = settings.element("user")
        self.now = now
        self.keep_values = keep_values
        self.journal = Journal("user", keep_info=keep_info)
        self.result = ElementResult("user")
        self.rows: list[_Row] = []
        # Rows with a value worth a second look, by column: nothing is kept for the others.
        self._doubtful: dict[str, list[tuple[_Row, str]]] = {}
        self._unique: dict[str, list[tuple[_Row, str]]] = {}
        self._has_email = False
        # Sign-in plugins met where the site's list is not known.
        self.auth_seen: set[str] = set()

    def run(self, source: bytes | Path) -> ElementResult:
        """Import the file into the state and say what happened."""
        self.journal.add("info", "usersync", "syncstarted")
        try:
            self._read(source)
            self._check()
            self._remove()
            self._apply()
        except Aborted as stop:
            self.result.aborts = True
            self.result.reason = stop.reason
            self.result.detail = stop.detail
            for row in self.rows:
                row.outcome, row.rule = "refuse", stop.reason
        else:
            self.journal.add("info", "usersync", "syncfinished")
        if self.keep_rows:
            self.result.take(RowOutcome(row.line, row.idnumber, row.outcome, row.rule) for row in self.rows)
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
        custom = [(name, table.index[name]) for name in table.selection.custom if name in table.index]
        checked = self._checked_custom(custom)
        self._has_email = "email" in at
        erase = self.options.erases
        id_at, name_at, mail_at = at["idnumber"], at["username"], at.get("email", -1)
        time_at, deleted_at, suspended_at = at["timemodified"], at.get("deleted", -1), at.get("suspended", -1)
        first_at, last_at = at.get("firstname", -1), at.get("lastname", -1)
        country_at, auth_at, lang_at = at.get("country", -1), at.get("auth", -1), at.get("lang", -1)
        raw_places = {at[name] for name in _RAW_COLUMNS if name in at}
        languages = self.settings.languages
        plugins = self.settings.auth_plugins or AUTH_PLUGINS
        refused: str | None = None
        for line, raw, tagged in table.rows():
            fields = [value.strip(TRIM) for value in raw]
            if tagged:
                fields = [value if place in raw_places else clean_text(value) for place, value in enumerate(fields)]
            exceeded = lengths.too_long(fields)
            if exceeded:
                if self.settings.modern:
                    for _, place, quoted in exceeded:
                        fields[place] = quoted
                    fields[name_at] = EXCEEDED
                else:
                    refused = refused or "a value is too long for its column"
            text = fields[time_at]
            stamp = 0 if text in {"", "0"} else times.stored(text)
            if stamp is None:
                refused = refused or f"timemodified {text!r} is neither a unix time nor a date in the site's format"
            row = _Row(line, fields[id_at], fields[name_at])
            row.timemodified = stamp or 0
            row.warning = "lengthlimitexceeded" if exceeded else ""
            if deleted_at >= 0:
                row.deleted = fields[deleted_at] not in {"", "0"}
            if suspended_at >= 0 and (fields[suspended_at] or erase):
                row.suspended = fields[suspended_at] not in {"", "0"}
            if mail_at >= 0:
                # Where blank cells are known to leave what is there, a blank address is no address to check.
                row.email = None if fields[mail_at] == "" and not erase else fields[mail_at]
            if not row.deleted or self.options.sourceallrecords:
                if first_at >= 0 and not fields[first_at]:
                    self._doubt("firstname", row, "")
                if last_at >= 0 and not fields[last_at]:
                    self._doubt("lastname", row, "")
                if auth_at >= 0 and fields[auth_at] not in plugins:
                    if fields[auth_at] and self.settings.auth_plugins is None:
                        self.auth_seen.add(fields[auth_at])
                    else:
                        self._doubt("auth", row, fields[auth_at])
                if country_at >= 0 and fields[country_at] and fields[country_at] not in COUNTRIES:
                    self._doubt("country", row, fields[country_at])
                if languages is not None and lang_at >= 0 and fields[lang_at] and fields[lang_at] not in languages:
                    self._doubt("lang", row, fields[lang_at])
                if checked:
                    self._look_at_custom(row, fields, checked, times)
                if self.settings.tenants is not None:
                    self._look_at_tenants(row, fields, at)
            if self.keep_values:
                row.values = self._values(fields, at, custom, times, erase)
            self.rows.append(row)
            lengths.row_done()
        lengths.flush()
        if refused is not None:
            self.journal.add("error", "unknown", "couldnotimportallrecords", detail="Error writing to database")
            reason = "couldnotimportallrecords"
            raise Aborted(reason, refused)

    def _doubt(self, kind: str, row: _Row, value: str) -> None:
        self._doubtful.setdefault(kind, []).append((row, value))

    def _checked_custom(self, custom: Iterable[tuple[str, int]]) -> list[tuple[str, int, CustomField]]:
        definitions = self.settings.user_custom_fields
        found = []
        for name, place in custom:
            definition = definitions.get(name.removeprefix("customfield_"))
            if definition and (definition.options or definition.unique or definition.required):
                found.append((name, place, definition))
        return found

    def _look_at_custom(
        self, row: _Row, fields: list[str], checked: list[tuple[str, int, CustomField]], times: TimeReader
    ) -> None:
        for name, place, definition in checked:
            value = fields[place]
            if value == "" and not self.options.erases:
                continue
            if definition.required and value == "":
                self._doubt("required", row, name)
            options = {option.lower() for option in definition.options}
            if options and value and value.lower() not in options:
                self._doubt("option", row, f"{name}\0{value}")
            if definition.unique and value:
                if definition.datatype in {"date", "datetime"}:
                    moment = times.date(value, "UTC" if definition.datatype == "date" else None)
                    if moment and definition.datatype == "date":
                        moment += 43_200
                    value = str(moment or value)
                self._unique.setdefault(name, []).append((row, value))

    def _look_at_tenants(self, row: _Row, fields: list[str], at: dict[str, int]) -> None:
        member = fields[at["tenantmember"]] if "tenantmember" in at else ""
        participant = fields[at["tenantparticipant"]] if "tenantparticipant" in at else ""
        if member and participant:
            self._doubt("tenants", row, member)
        for name in [member, *(part.strip() for part in participant.split(","))]:
            if name and name not in (self.settings.tenants or ()):
                self._doubt("tenant", row, name)
                break

    def _values(
        self,
        fields: list[str],
        at: dict[str, int],
        custom: list[tuple[str, int]],
        times: TimeReader,
        erase: bool,
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in _STORED:
            place = at.get(name, -1)
            if place >= 0 and (fields[place] or (erase and name not in {"firstname", "lastname"})):
                values[name] = fields[place]
        for name, place in custom:
            value: Any = fields[place]
            definition = self.settings.user_custom_fields.get(name.removeprefix("customfield_"), CustomField())
            if value == "":
                if erase:
                    values[name] = ""
                continue
            if definition.datatype in {"date", "datetime"}:
                parsed = times.date(value, "UTC" if definition.datatype == "date" else None)
                if not parsed and (value == "0" or not is_numeric(value)):
                    continue
                value = parsed or whole_number(value)
                if value is None:
                    continue
                if definition.datatype == "date":
                    # A profile date is kept at noon UTC of its day.
                    value += 43_200 - value % 86_400
            elif definition.datatype == "checkbox":
                value = 0 if value == "0" else 1
            elif definition.datatype == "menu" and definition.options:
                matching = [option for option in definition.options if option.lower() == value.lower()]
                if not matching:
                    continue
                value = matching[0]
            values[name] = value
        return values

    # -- the checks that skip a row ---------------------------------------------------------------

    def _refuse(self, row: _Row, code: str, logtype: str = "error", **values: str) -> None:
        self.journal.add(logtype, "checksanity", code, idnumber=row.idnumber, **values)
        row.invalid = row.invalid or code

    def _refuse_doubtful(self, kind: str, code: str, only: Callable[[str], bool] | None = None) -> None:
        for row, value in self._doubtful.get(kind, ()):
            if only is None or only(value):
                self._refuse(row, code, value=value)

    def _check(self) -> None:
        if not self.rows:
            return
        held = self.state.user_by_idnumber
        for row in self.rows:
            user = held.get(row.idnumber)
            if user is not None and not user.totarasync:
                self._refuse(row, "usersyncdisabled")
        self._check_twice("duplicateuserswithidnumberx", lambda row: row.idnumber)
        for row in self.rows:
            if row.idnumber == "":
                self._refuse(row, "emptyvalueidnumberx")
        self._check_usernames()
        self._check_twice("duplicateuserswithusernamex", lambda row: row.username)
        for row in self._counted():
            if row.username == "":
                self._refuse(row, "emptyvalueusernamex")
        self._check_in_site("duplicateusernamexdb", "username")
        self._refuse_doubtful("auth", "emptyvalueauthx", lambda value: value == "")
        self._refuse_doubtful("firstname", "emptyvaluefirstnamex")
        self._refuse_doubtful("lastname", "emptyvaluelastnamex")
        for row, _ in self._doubtful.get("lang", ()):
            # Logged as an error, but the account is created with the unknown language.
            self.journal.add("error", "checksanity", "invalidlangx", idnumber=row.idnumber)
            row.warning = row.warning or "invalidlangx"
        self._refuse_doubtful("country", "invalidcountrycode")
        self._refuse_doubtful("auth", "invalidauthxforuserx", lambda value: value != "")
        if not self.options.allow_create:
            for row in self._counted():
                user = held.get(row.idnumber)
                if user is not None and user.deleted:
                    self._refuse(row, "cannotupdatedeleteduserx")
        self._refuse_doubtful("tenants", "tenantmemberandparticipantpresent")
        self._refuse_doubtful("tenant", "tenantmemberxnotexist")
        if self._has_email:
            self._check_emails()
        self._check_custom()

    def _counted(self) -> list[_Row]:
        """The rows the checks look at: in partial mode, not those about to be deleted."""
        if self.options.sourceallrecords:
            return self.rows
        return [row for row in self.rows if not row.deleted]

    def _check_twice(self, code: str, key: Callable[[_Row], str | None]) -> None:
        """Refuse all rows with a value that counted rows share; None is no value."""
        seen: set[str] = set()
        twice: set[str] = set()
        for row in self._counted():
            value = key(row)
            if value is None:
                continue
            if value in seen:
                twice.add(value)
            seen.add(value)
        if twice:
            for row in self.rows:
                value = key(row)
                if value in twice:
                    self._refuse(row, code, value=value)

    def _check_usernames(self) -> None:
        for row in self.rows:
            if row.username.isascii() and row.username.isalnum() and row.username.islower():
                continue
            clean = clean_username(row.username, extended=self.settings.extended_usernames)
            if clean == row.username:
                continue
            if row.username.lower() != clean:
                self._refuse(row, "invalidusernamex", value=row.username)
            else:
                self.journal.add(
                    "warn",
                    "checksanity",
                    "invalidcaseusernamex",
                    idnumber=row.idnumber,
                    value=row.username,
                )
                row.warning = row.warning or "invalidcaseusernamex"
                row.username = clean

    def _check_in_site(self, code: str, column: str) -> None:
        value_of: Callable[[User | _Row], str | None] = attrgetter(column)
        owners: dict[str, str] = {}
        shared: dict[str, list[str]] = {}
        for user in self.state.users.values():
            value = (value_of(user) or "").lower()
            if value in owners:
                shared.setdefault(value, [owners[value]]).append(user.idnumber)
            elif value:
                owners[value] = user.idnumber
        if not owners:
            return
        for row in self._counted():
            text = value_of(row) or ""
            value = text.lower()
            owner = owners.get(value)
            if owner is None or (owner == row.idnumber and value not in shared):
                continue
            for idnumber in shared.get(value, [owner]):
                if idnumber != row.idnumber:
                    self._refuse(row, code, value=text)

    def _check_emails(self) -> None:
        counted = self._counted()
        if not self.options.defaultsyncemail:
            for row in counted:
                if row.email is not None and not valid_email(row.email):
                    self._refuse(row, "invalidemailx")
            if self.settings.modern and self.options.allow_create:
                # Rows marked deleted are looked at as well.
                for row in self.rows:
                    if not row.email and row.idnumber and row.idnumber not in self.state.user_by_idnumber:
                        self._refuse(row, "emptyemailusercreation")
        if self.options.allowduplicatedemails:
            return
        for row in counted:
            if row.email == "":
                self._refuse(row, "emptyvalueemailx")
        self._check_twice("duplicateuserswithemailx", lambda row: None if row.email is None else row.email.lower())
        self._check_in_site("duplicateusersemailxdb", "email")

    def _check_custom(self) -> None:
        for row, name in self._doubtful.get("required", ()):
            self.journal.add("warn", "checksanity", "fieldrequired", idnumber=row.idnumber, field=name)
        for row, pair in self._doubtful.get("option", ()):
            name, _, value = pair.partition("\0")
            self.journal.add("warn", "checksanity", "optionxnotexist", idnumber=row.idnumber, field=name, value=value)
            row.warning = row.warning or "optionxnotexist"
        for name, entries in self._unique.items():
            taken: dict[str, set[str]] = {}
            for user in self.state.users.values():
                held = (user.fields or {}).get(name)
                if held not in {None, ""}:
                    taken.setdefault(str(held), set()).add(user.idnumber)
            free: dict[str, list[_Row]] = {}
            for row, value in entries:
                if taken.get(value, set()) - {row.idnumber}:
                    self._refuse(row, "fieldduplicated", value=value, field=name)
                else:
                    free.setdefault(value, []).append(row)
            for value, rows in free.items():
                if len(rows) > 1:
                    for row in rows:
                        self._refuse(row, "fieldmustbeunique", value=value, field=name)

    # -- removing ---------------------------------------------------------------------------------

    def _remove(self) -> None:
        for row in self.rows:
            if row.invalid:
                row.outcome, row.rule = "refuse", row.invalid
        how = self.options.allow_delete
        if how == KEEP:
            self._drop_deleted("allow_delete")
            return
        named = [row for row in self.rows if row.deleted and not row.invalid]
        candidates = self._absent() if self.options.sourceallrecords else []
        for row in named:
            user = self.state.user_by_idnumber.get(row.idnumber)
            if user is not None and user.totarasync and not user.deleted:
                candidates.append(user)
        if how == SUSPEND:
            candidates = [user for user in candidates if not user.suspended]
        if candidates and not self.rows:
            # The site looks for these accounts in a list that is none: PHP dies (orders 86, 87).
            if self.settings.modern:
                self.result.task_exit = 1
                reason = "headeronly"
                raise Aborted(reason, "The file holds no row: the site's task fails with a PHP error")
            return
        protected = {row.idnumber for row in self.rows if row.invalid}
        doomed = {user.id: user for user in candidates if user.idnumber not in protected}
        gone: set[str] = set()
        removed: list[User] = []
        for user in doomed.values():
            if how == DELETE and user.username in self.state.administrators | {"guest"}:
                kind = "guest" if user.username == "guest" else "admin"
                self.journal.add("warn", "deleteuser", f"cannotdeleteuser{kind}", idnumber=user.idnumber)
                continue
            gone.add(user.idnumber)
            removed.append(user)
            if how == DELETE:
                self.journal.add("info", "deleteuser", "deleteduserx", idnumber=user.idnumber)
            else:
                self.journal.add("info", "suspenduser", "suspendeduserx", idnumber=user.idnumber)
        self.result.removed.extend(user.idnumber for user in removed)
        if how == SUSPEND:
            self.result.suspended.extend(user.idnumber for user in removed)
            for user in removed:
                user.suspended = True
                user.timemodified = self.now
        else:
            self.state.delete_users(removed, how=self.settings.authdeleteusers)
        code = "deleteduserx" if how == DELETE else "suspendeduserx"
        for row in named:
            if row.idnumber in gone:
                row.outcome, row.rule = "delete", code
        self._drop_deleted("deleted")

    def _absent(self) -> list[User]:
        listed = {row.idnumber for row in self.rows}
        return [
            user
            for user in self.state.users.values()
            if user.totarasync and not user.deleted and user.idnumber not in listed
        ]

    def _drop_deleted(self, rule: str) -> None:
        for row in self.rows:
            if row.deleted and row.outcome == "skip":
                row.rule = rule

    # -- creating and updating --------------------------------------------------------------------

    def _apply(self) -> None:
        ready = [row for row in self.rows if not row.invalid and not row.deleted]
        fresh: list[_Row] = []
        changed: list[tuple[_Row, User]] = []
        for row in ready:
            user = self.state.user_by_idnumber.get(row.idnumber)
            if user is None:
                fresh.append(row)
            elif row.timemodified and row.timemodified == user.timemodified:
                row.rule = "timemodified"
            elif not self.options.allow_update:
                row.rule = "allow_update"
            else:
                changed.append((row, user))
        told = self.journal.keep_info
        for row in sorted(fresh, key=attrgetter("idnumber")):
            if not self.options.allow_create:
                row.rule = "allow_create"
                continue
            user = self.state.add_user(row.idnumber, row.username.lower())
            if self.keep_values:
                user.fields = {"auth": "manual", "lang": "en"}
            self._store(user, row)
            if told:
                self.journal.add("info", "createuser", "createduserx", idnumber=row.idnumber)
            row.outcome, row.rule = "create", row.warning or "createduserx"
        for row, user in changed:
            if user.deleted:
                if not self.options.allow_create:
                    continue
                user.deleted = False
                self.journal.add("info", "updateusers", "reviveduserx", idnumber=row.idnumber)
            if self.options.allow_delete == SUSPEND:
                # Being in the file again lifts a suspension (order 79).
                user.suspended = False
            self._store(user, row)
            if told:
                self.journal.add("info", "updateusers", "updateduserx", idnumber=row.idnumber)
            row.outcome, row.rule = "update", row.warning or "updateduserx"

    def _store(self, user: User, row: _Row) -> None:
        if row.username:
            user.username = row.username.lower()
        if row.email:
            user.email = row.email
        if (not user.email or not valid_email(user.email)) and (
            self.options.allowduplicatedemails and self.options.defaultsyncemail
        ):
            user.email = self.options.defaultsyncemail
        if row.suspended is not None:
            user.suspended = row.suspended
        user.timemodified = row.timemodified or self.now
        if user.fields is not None:
            user.fields.update(row.values or {})
