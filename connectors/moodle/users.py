"""People's accounts: made, kept true, suspended when somebody left; never deleted.

That somebody left is a field (*suspended*), so that an account is only ever suspended because a feed says so: whoever
is merely missing is not spoken of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bridge.model import Desired, Person
from bridge.ports import (
    Action,
    Change,
    Fields,
    Found,
    Item,
    KindSpec,
    Outcome,
    Removal,
    Severity,
    Status,
    outcome_of,
)
from connectors.moodle.accounts import BY_FIELD, SEARCH, Account, Accounts, Sought
from connectors.moodle.bulk import Bulk, Entry
from connectors.moodle.client import Call, Fate, Result
from connectors.moodle.directory import good
from connectors.moodle.kinds import Context, Part, adopted, after, refused, settled
from connectors.moodle.profile import (
    IDNUMBER_LIMIT,
    NAME_FIELD_LIMIT,
    PROFILE,
    check_mapping,
    mapped_values,
    nobodys_password,
    usable_email,
    username_of,
)
from connectors.moodle.staff import Staff
from connectors.moodle.text import clean, name_form

CREATE = "core_user_create_users"
UPDATE = "core_user_update_users"

USERS_PER_CALL = 25
CALLS_PER_REQUEST = 4

SIGN_IN_BY_PASSWORD = frozenset({"manual", "email", "nologin", "none", "db"})
"""Ways of signing in that Moodle itself keeps a password for; of an account with another one it wants none (observed
on Moodle 4.5.6)."""

TAKEN = (
    "Moodle refuses this account. Usually its user name or its e-mail address is in use already, or the address is not "
    "one that Moodle takes, or there is no such way of signing in"
)


class Users:
    """The account of each person."""

    spec = KindSpec("user", "account", "accounts", Removal.SUSPEND, by_key=True, removed_by="suspended", of_people=True)
    reads: Mapping[str, str] = {
        BY_FIELD: "accounts cannot be compared, so that nothing about people is done",
        SEARCH: "after an interruption it takes longer to see what was done to accounts",
    }
    writes: Mapping[str, str] = {
        CREATE: "no accounts are made for new people",
        UPDATE: "accounts are not kept true, and nobody is suspended",
    }

    def __init__(self, context: Context, accounts: Accounts) -> None:
        self._context = context
        self._accounts = accounts
        self._lost: dict[tuple[str, str], str] = {}

    # --- What should be there ---------------------------------------------------------------------------------------

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return one item a person who works here, and one for each who left."""
        del left_out
        part = Part()
        staff = Staff.of(desired)
        self._accounts.sought = {}
        if staff is None:
            return part
        options = self._context.options
        check_mapping(options.user_fields)
        usernames: dict[str, str] = {}
        addresses: dict[str, str] = {}
        for person in staff.working():
            item = self._item(person, staff, usernames, addresses, part)
            if item is not None:
                part.items.append(item)
        for key in staff.leavers():
            known = staff.people.get(key)
            fields: Fields = {"idnumber": key, "suspended": True}
            self._accounts.sought[key] = Sought(key, known.email if known else "")
            part.items.append(Item("user", key, fields, group="people who left", make=False))
        return part

    def _item(
        self, person: Person, staff: Staff, usernames: dict[str, str], addresses: dict[str, str], part: Part
    ) -> Item | None:
        key, options = person.key, self._context.options
        if not key or clean(key).strip() != key or len(key) > IDNUMBER_LIMIT:
            part.remark(Severity.WARNING, "user", key, "This cannot be an ID number in Moodle; the person is left out.")
            return None
        make = options.create_users
        fields: dict[str, Any] = {"idnumber": key, "suspended": False}
        for name, text in (("firstname", person.first_name), ("lastname", person.last_name)):
            form = name_form(text, NAME_FIELD_LIMIT)
            if form.changed:
                part.remark(Severity.NOTE, "user", key, f"{name}: Moodle keeps it as {form.text!r}.")
            if form.text:
                fields[name] = form.text
            else:
                make = self._not_made(part, key, f"there is no {name}, which Moodle wants")
        if usable_email(person.email):
            fields["email"] = person.email
            other = addresses.setdefault(person.email.casefold(), key)
            if other != key and not options.shared_addresses:
                part.remark(Severity.WARNING, "user", key, f"{person.email} is also the address of {other}.")
        else:
            make = self._not_made(part, key, f"{person.email!r} is no e-mail address that Moodle takes")
        username = username_of(person, options.username_from)
        if not username:
            make = self._not_made(
                part, key, "no user name comes out of the rule (small letters, digits and -._@ are allowed)"
            )
        elif usernames.setdefault(username, key) != key:
            make = self._not_made(part, key, f"the user name {username} is already that of {usernames[username]}")
        auth = dict(person.extra).get("auth", "")
        initial: dict[str, Any] = {"username": username}
        if auth:
            fields["auth"] = auth
        else:
            initial["auth"] = options.user_auth
        values, notes = mapped_values(person, staff, options.user_fields)
        fields.update(values)
        for note in notes:
            part.remark(Severity.NOTE, "user", key, note)
        self._accounts.sought[key] = Sought(key, str(fields.get("email", "")), username)
        job = next(iter(staff.jobs.get(key, ())), None)
        return Item("user", key, fields, group=(job.organisation or "") if job else "", initial=initial, make=make)

    def _not_made(self, part: Part, key: str, why: str) -> bool:
        part.remark(
            Severity.WARNING, "user", key, f"No account is made for them, as {why}. One that is there is kept true."
        )
        return False

    # --- What is there ----------------------------------------------------------------------------------------------

    def read(self) -> Iterator[Found]:
        """Yield the account of each person who is spoken of, and why where it is not certain."""
        return self.read_some(None)

    def read_some(self, keys: Collection[str] | None) -> Iterator[Found]:
        """Yield the accounts of some people."""
        for match in self._accounts.read(keys):
            if match.account is None:
                yield Found("user", match.key, {}, "", held=match.held)
            else:
                yield Found("user", match.key, self._fields(match.account), str(match.account.id), held=match.held)

    def _fields(self, account: Account) -> Fields:
        """Return an account's fields; of profile fields those that are mapped are there even where they are empty."""
        return {**dict.fromkeys(self._context.options.user_fields, ""), **account.fields}

    # --- Writing ----------------------------------------------------------------------------------------------------

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Make accounts, then change them; what Moodle loses without a word is noticed and put back."""
        done, changes = adopted(changes)
        yield from done
        creates = [change for change in changes if change.action is Action.CREATE]
        updates = [change for change in changes if change.action is not Action.CREATE]
        stopped = yield from self._create(creates)
        if stopped is None:
            stopped = yield from self._update(updates)
        if stopped is not None:
            raise stopped

    def _create(self, changes: Sequence[Change]) -> Any:
        entries: list[Entry] = []
        for change in changes:
            lost = self._known_to_be_lost(after(change))
            if lost:
                yield refused(change, lost)
            else:
                entries.append((change, after(change)))
        bulk = Bulk(self._context.client, self._create_call, USERS_PER_CALL, CALLS_PER_REQUEST, side_by_side=True)
        made: list[tuple[Change, int]] = []
        for group, result in bulk.run(entries):
            if result.fate is not Fate.DONE:
                for change, _ in group:
                    if result.fate is Fate.REFUSED:
                        yield refused(change, f"{TAKEN} ({result.why})")
                    else:
                        yield settled(change, result)
                continue
            for (change, _), row in zip(group, result.data, strict=True):
                self._accounts.made(change.key, int(row["id"]))
                made.append((change, int(row["id"])))
        yield from self._checked(made)
        return bulk.stopped

    def _create_call(self, users: list[Mapping[str, Any]]) -> Call:
        options = self._context.options
        rows = []
        for fields in users:
            row = _row({name: value for name, value in fields.items() if name != "suspended"})
            if row["auth"] in SIGN_IN_BY_PASSWORD:
                # Made up at the moment of sending, so that no record of the change can hold it.
                row |= {"createpassword": True} if options.mail_new_passwords else {"password": nobodys_password()}
            rows.append(row)
        return Call(CREATE, {"users": rows})

    def _update(self, changes: Sequence[Change]) -> Any:
        entries: list[Entry] = []
        for change in changes:
            fields = {name: value for name, value in after(change).items() if name in change.fields}
            lost = self._known_to_be_lost(fields)
            if lost:
                yield refused(change, lost)
            elif change.lms_id is None:
                yield refused(change, "The account is no longer in Moodle. A new plan will see it as it is.")
            else:
                entries.append((change, {"id": int(change.lms_id), **fields}))
        bulk = Bulk(
            self._context.client,
            lambda users: Call(UPDATE, {"users": [_row(user) for user in users]}),
            USERS_PER_CALL,
            CALLS_PER_REQUEST,
        )
        kept: list[tuple[Change, int]] = []
        for group, result in bulk.run(entries):
            warned = _warnings(result)
            for change, arguments in group:
                if result.fate is not Fate.DONE:
                    yield settled(change, result)
                elif arguments["id"] in warned:
                    yield refused(change, warned[arguments["id"]])
                else:
                    kept.append((change, int(arguments["id"])))
        yield from self._checked(kept)
        return bulk.stopped

    def _known_to_be_lost(self, fields: Fields) -> str:
        """Return why a value is not even tried again in this run: Moodle has just lost the same one."""
        return next((self._lost[name, str(v)] for name, v in fields.items() if (name, str(v)) in self._lost), "")

    def _checked(self, written: Sequence[tuple[Change, int]]) -> Iterator[Outcome]:
        """Tell what was written, after reading back the profile fields that Moodle may have lost."""
        doubtful = [
            (change, account)
            for change, account in written
            if any(name.startswith(PROFILE) and after(change).get(name) for name in change.fields)
        ]
        losses: dict[int, dict[str, str]] = {}
        if doubtful:
            calls = [
                Call(BY_FIELD, {"field": "id", "values": [str(i) for _, i in doubtful[at : at + 100]]}, raw=True)
                for at in range(0, len(doubtful), 100)
            ]
            there = {
                int(row["id"]): Account.of(row)
                for answer in self._context.client.read_many(calls, size=4)
                for row in good(answer)
            }
            for change, account in doubtful:
                losses[account] = self._losses(change, there.get(account))
        back = [(change, account) for change, account in doubtful if losses[account]]
        self._put_back(back, losses)
        for change, account in written:
            lost = losses.get(account, {})
            why = " ".join(lost.values())
            if not why:
                yield outcome_of(change, Status.APPLIED, lms_id=str(account))
            elif change.action is Action.CREATE:
                # The account is there, with the fields empty that did not take: the next plan shows them as to be done.
                outcome = outcome_of(change, Status.APPLIED, why, str(account))
                yield replace(outcome, kept=dict.fromkeys(lost, ""))
            else:
                yield outcome_of(change, Status.REFUSED, why, str(account))

    def _losses(self, change: Change, account: Account | None) -> dict[str, str]:
        """Return a sentence for each profile field that does not hold what was sent."""
        found: dict[str, str] = {}
        for name in change.fields:
            wanted = str(after(change).get(name) or "")
            if not name.startswith(PROFILE) or not wanted or account is None:
                continue
            kept = str(account.fields.get(name, ""))
            if kept == wanted:
                continue
            short = name[len(PROFILE) :]
            if name not in account.fields:
                says = (
                    f"Moodle dropped {wanted!r} for the profile field {short}: there is no such field, or it is a menu "
                    "without this choice. Add the field or the choice in Moodle, or change the mapping."
                )
            elif wanted.startswith(kept):
                says = (
                    f"Moodle cut {wanted!r} in the profile field {short} after {len(kept)} characters. Make the field "
                    "longer in Moodle, or shorten the value."
                )
            else:
                says = f"Moodle keeps {kept!r} instead of {wanted!r} in the profile field {short}."
            found[name] = self._lost[name, wanted] = says
        return found

    def _put_back(self, changes: Sequence[tuple[Change, int]], losses: Mapping[int, Mapping[str, str]]) -> None:
        """Give profile fields the values they had before Moodle mangled the new ones."""
        rows = []
        for change, account in changes:
            before = change.before or {}
            rows.append(_row({"id": account, **{name: before.get(name) or "" for name in losses[account]}}))
        calls = [Call(UPDATE, {"users": rows[at : at + USERS_PER_CALL]}) for at in range(0, len(rows), USERS_PER_CALL)]
        if calls:
            self._context.client.write(calls)

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Suspend accounts; also those that an undo would take away, since nobody's account is ever deleted."""
        entries: list[Entry] = [(c, {"id": int(c.lms_id or 0), "suspended": True}) for c in changes]
        bulk = Bulk(
            self._context.client,
            lambda users: Call(UPDATE, {"users": [_row(user) for user in users]}),
            USERS_PER_CALL,
            CALLS_PER_REQUEST,
        )
        for group, result in bulk.run(entries):
            warned = _warnings(result)
            for change, arguments in group:
                if arguments["id"] in warned:
                    yield refused(change, warned[arguments["id"]])
                else:
                    yield settled(change, result)
        if bulk.stopped is not None:
            raise bulk.stopped


def _row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return an account's fields as the functions take them."""
    row: dict[str, Any] = {}
    custom: list[dict[str, str]] = []
    for name, value in fields.items():
        if name.startswith(PROFILE):
            custom.append({"type": name[len(PROFILE) :], "value": str(value)})
        else:
            row[name] = value
    if custom:
        row["customfields"] = custom
    return row


def _warnings(result: Result) -> dict[int, str]:
    """Return why Moodle left accounts of an update as they were, by their id."""
    if result.fate is not Fate.DONE or not isinstance(result.data, dict):
        return {}
    says = {
        "useremailduplicate": "Another account has this e-mail address.",
        "useremailinvalid": "Moodle does not take this e-mail address.",
        "usernotupdatedadmin": "It is an administrator's account, which Moodle lets nobody else change.",
        "usernotupdatedguest": "It is the guest account.",
        "invaliduserid": "The account is no longer in Moodle. A new plan will see it as it is.",
        "dmlwriteexception": "Moodle's database refused it: a value is too long, or a user name is in use already.",
    }
    return {
        int(row["itemid"]): says.get(str(row.get("warningcode")), f"Moodle left it as it was: {row.get('message')}")
        for row in result.data.get("warnings") or ()
        if row.get("itemid") is not None
    }
