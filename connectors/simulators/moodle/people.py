"""Accounts: create, change, suspend, delete, find; and their profile fields.

Observed on Moodle 4.5.6 (`contracts/moodle-4.5`): creating is all or nothing, updating goes item by item with
warnings; an unknown profile field is accepted silently, a wrong menu value removes the stored one, text is
cut at the field's length.
"""

import re
from datetime import UTC, datetime
from typing import Any

from connectors.simulators.moodle import text
from connectors.simulators.moodle.errors import MoodleError, coding, database_write, invalid_parameter, plain
from connectors.simulators.moodle.records import too_long
from connectors.simulators.moodle.site import COURSE, USER, Call, function
from connectors.simulators.moodle.siteinfo import picture
from connectors.simulators.moodle.tables import Row, collate

_EMAIL = re.compile(r"[^@\s<>]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\.[A-Za-z]{2,}\Z")
_LIMITS = {
    "username": 100,
    "firstname": 100,
    "lastname": 100,
    "email": 100,
    "idnumber": 255,
    "department": 255,
    "institution": 255,
    "city": 120,
    "country": 2,
    "phone1": 20,
    "phone2": 20,
    "address": 255,
    "auth": 20,
}
#: Ways of signing in for which the site keeps a password; the others bring their own (observed on Moodle 4.5.6).
_OWN_PASSWORDS = frozenset({"manual", "email", "nologin", "none", "db"})
_WRITABLE = (
    "username",
    "auth",
    "firstname",
    "lastname",
    "email",
    "city",
    "country",
    "timezone",
    "description",
    "firstnamephonetic",
    "lastnamephonetic",
    "middlename",
    "alternatename",
    "idnumber",
    "institution",
    "department",
    "phone1",
    "phone2",
    "address",
    "lang",
    "theme",
    "mailformat",
)


def fullname(user: Row) -> str:
    """Return a person's name as the site shows it."""
    return f"{user['firstname']} {user['lastname']}".strip()


def summary(call: Call, user: Row, full: bool = True) -> Row:
    """Return the short form in which an account appears inside other answers.

    Only the identity fields the site shows are filled for accounts read as part of a list (`full=False`).
    """
    return {
        "id": user["id"],
        "email": user["email"],
        "idnumber": user["idnumber"] if full else "",
        "phone1": user["phone1"] if full else "",
        "phone2": user["phone2"] if full else "",
        "department": user["department"] if full else "",
        "institution": user["institution"] if full else "",
        "fullname": fullname(user),
        "identity": user["email"],
        "profileurl": f"{call.wwwroot}/user/profile.php?id={user['id']}",
        "profileimageurl": picture(call, 1),
        "profileimageurlsmall": picture(call, 2),
    }


def _field_place(field: Row) -> int:
    return int(field.get("place") or field["id"])


def custom_fields(call: Call, user: Row, display: bool = True) -> list[Row]:
    """Return the profile fields of an account that have a value (a checkbox always has one)."""
    answer = []
    for field in sorted(call.db.profile_fields, key=_field_place):
        value = user["profile"].get(field["shortname"], "")
        if field["datatype"] == "checkbox":
            shown = "Yes" if value == "1" else "No"
        elif not value:
            continue
        elif field["datatype"] == "datetime":
            shown = text.format_date(int(value), call.timezone, "date")
        else:
            shown = text.format_string(value) if "<" not in value else text.format_string(text.strip_tags(value))
        item = {"type": field["datatype"], "value": value}
        if display:
            item["displayvalue"] = shown
        answer.append({**item, "name": field["name"], "shortname": field["shortname"]})
    return answer


def details(call: Call, user: Row) -> Row:
    """Return an account as a search answers it."""
    answer: Row = {
        "id": user["id"],
        "username": user["username"],
        "firstname": user["firstname"],
        "lastname": user["lastname"],
        "fullname": fullname(user),
        "email": user["email"],
    }
    for optional in ("address", "phone1", "phone2"):
        if user[optional]:
            answer[optional] = user[optional]
    answer["department"] = user["department"]
    if user["institution"]:
        answer["institution"] = user["institution"]
    if user["idnumber"]:
        answer["idnumber"] = user["idnumber"]
    answer |= {
        "firstaccess": user["firstaccess"],
        "lastaccess": user["lastaccess"],
        "auth": user["auth"],
        "suspended": bool(user["suspended"]),
        "confirmed": bool(user["confirmed"]),
        "lang": user["lang"],
        "theme": user["theme"],
        "timezone": user["timezone"],
        "mailformat": user["mailformat"],
        "trackforums": user["trackforums"],
    }
    if user["description"]:
        answer["description"], answer["descriptionformat"] = call.text(user["description"], 1)
    if user["city"]:
        answer["city"] = user["city"]
    answer["country"] = user["country"]
    answer["profileimageurlsmall"] = picture(call, 2)
    answer["profileimageurl"] = picture(call, 1)
    fields = custom_fields(call, user)
    if fields:
        answer["customfields"] = fields
    return answer


def set_profile(call: Call, user: Row, given: list[Row]) -> None:
    """Store profile fields as silently as Moodle does."""
    profile = dict(user["profile"])
    for item in given:
        field = call.db.profile_fields.first("shortname", item["type"])
        if field is None:
            continue
        name, value = field["shortname"], item["value"]
        if field["datatype"] == "menu":
            if value in field["options"]:
                profile[name] = value
            else:
                profile.pop(name, None)
        elif field["datatype"] == "checkbox":
            profile[name] = "1" if value not in ("", "0") else "0"
        elif field["datatype"] == "datetime":
            profile[name] = _midnight(value)
        else:
            profile[name] = (value or "")[: field["maxlength"]]
    user["profile"] = profile


def _midnight(value: str) -> str:
    """Return the start of the day of a time or a date, as a field without time of day keeps it."""
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value or ""):
        return str(int(datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()))
    if not re.fullmatch(r"-?\d+", value or ""):
        return "0"
    return str(int(value) // 86400 * 86400)


def _password_faults(password: str) -> str:
    faults = []
    if len(password) < 8:
        faults.append("Passwords must be at least 8 characters long.")
    if not re.search(r"\d", password):
        faults.append("Passwords must have at least 1 digit(s).")
    if not re.search(r"[a-z]", password):
        faults.append("Passwords must have at least 1 lower case letter(s).")
    if not re.search(r"[A-Z]", password):
        faults.append("Passwords must have at least 1 upper case letter(s).")
    if not re.search(r"[^A-Za-z0-9]", password):
        faults.append("The password must have at least 1 special character(s) such as *, -, or #.")
    return "".join(f"<div>{fault}</div>" for fault in faults)


def _check_password(given: Row) -> None:
    faults = _password_faults(given["password"])
    if faults:
        raise MoodleError("core\\exception\\moodle_exception", faults, f"error/{faults}")


def _email_taken(call: Call, email: str, but: int | None = None) -> bool:
    return any(not u["deleted"] and u["id"] != but for u in call.db.users.find("email", collate(email)))


def _check_new(call: Call, given: Row) -> None:
    if any(not u["deleted"] for u in call.db.users.find("username", given["username"])):
        raise invalid_parameter(f"Username already exists: {given['username']}")
    if not given["username"] or given["username"] != given["username"].lower():
        raise invalid_parameter("The username must be in lower case")
    for field in ("firstname", "lastname"):
        if not given[field].strip():
            raise invalid_parameter(f"The field {field} cannot be blank")
    if not _EMAIL.match(given["email"]):
        raise invalid_parameter(f"Email address is invalid: {given['email']}")
    if _email_taken(call, given["email"]):
        raise invalid_parameter(f"Email address already exists: {given['email']}")
    if given["auth"] in _OWN_PASSWORDS and not given.get("createpassword") and not given.get("password"):
        raise invalid_parameter("Invalid password: you must provide a password, or set createpassword.")


@function("core_user_create_users")
def create_users(call: Call, args: Row) -> list[Row]:
    """Create accounts, all or none."""
    call.require("moodle/user:create")
    created: list[Row] = []
    before = call.db.users.next_id
    with call.transaction():
        try:
            for given in args["users"]:
                _check_new(call, given)
                if given["auth"] in _OWN_PASSWORDS and not given.get("createpassword"):
                    _check_password(given)
                call.think()
                created.append(_create(call, given))
        except MoodleError:
            for row in created:
                call.db.users.delete(row["id"])
                for context in call.db.contexts.find("instance", (USER, row["id"])):
                    call.db.contexts.delete(context["id"])
            call.db.users.next_id = max(call.db.users.next_id, before)
            raise
    return [{"id": row["id"], "username": row["username"]} for row in created]


def _create(call: Call, given: Row) -> Row:
    now = call.now()
    row: Row = {
        "idnumber": "",
        "department": "",
        "institution": "",
        "city": "",
        "phone1": "",
        "phone2": "",
        "address": "",
        "suspended": 0,
        "confirmed": 1,
        "deleted": 0,
        "theme": "",
        "timezone": "99",
        "mailformat": 1,
        "trackforums": 0,
        "country": call.site.config.country,
        "firstaccess": 0,
        "lastaccess": 0,
        "description": "",
        "middlename": "",
        "alternatename": "",
        "firstnamephonetic": "",
        "lastnamephonetic": "",
        "profile": {},
        "timecreated": now,
        "timemodified": now,
    }
    row.update({field: given[field] for field in _WRITABLE if given.get(field) is not None})
    too_long(row, **_LIMITS)
    row = call.db.users.insert(row)
    call.site.add_context(USER, row["id"])
    set_profile(call, row, given.get("customfields") or [])
    return row


@function("core_user_update_users")
def update_users(call: Call, args: Row) -> Row:
    """Change accounts one by one; what fails becomes a warning."""
    call.require("moodle/user:update")
    warnings: list[Row] = []
    for given in args["users"]:
        try:
            _update(call, given)
        except MoodleError as error:
            warnings.append(
                {
                    "item": "user",
                    "itemid": given["id"],
                    "warningcode": error.errorcode,
                    "message": error.message,
                }
            )
    return {"warnings": warnings}


def _update(call: Call, given: Row) -> None:
    user = call.db.users.get(given["id"])
    if user is None or user["deleted"]:
        raise plain("invaliduserid", "Invalid user ID")
    if user.get("siteadmin") and not call.user.get("siteadmin"):
        raise plain("usernotupdatedadmin", "Cannot update admin accounts")
    if user["username"] == "guest":
        raise plain("usernotupdatedguest", "Cannot update guest account")
    if given.get("email") is not None and given["email"] != user["email"]:
        if not _EMAIL.match(given["email"]):
            raise plain("useremailinvalid", "Invalid email address")
        if _email_taken(call, given["email"], user["id"]):
            raise plain("useremailduplicate", "Duplicate address")
    renamed = given.get("username") not in (None, user["username"])
    if renamed and call.db.users.find("username", given["username"]):
        raise database_write("Duplicate entry for key 'mdl_user_mneuse_uix'")
    if given.get("password"):
        _check_password(given)
    changes: dict[str, Any] = {field: given[field] for field in _WRITABLE if given.get(field) is not None}
    if "suspended" in given and given["suspended"] is not None:
        changes["suspended"] = int(given["suspended"])
    too_long(changes, **_LIMITS)
    call.think()
    call.db.users.update(user, {**changes, "timemodified": call.now()})
    set_profile(call, user, given.get("customfields") or [])


@function("core_user_delete_users")
def delete_users(call: Call, args: Row) -> None:
    """Delete accounts, all or none; administrators and oneself are refused."""
    call.require("moodle/user:delete")
    chosen = []
    for identity in args["userids"]:
        user = call.active_user(identity)
        if user.get("siteadmin"):
            raise plain("useradminodelete", "Administrator accounts cannot be deleted.")
        if identity == call.user_id:
            raise plain("usernotdeletederror", "User not deleted - error")
        chosen.append(user)
    for user in chosen:
        call.think()
        forget_user(call, user)


def forget_user(call: Call, user: Row) -> None:
    """Mark an account deleted and take it out of cohorts, courses and plans, as Moodle does."""
    db = call.db
    identity = user["id"]
    for member in [m for m in db.cohort_members if m["userid"] == identity]:
        db.cohort_members.delete(member["id"])
    db.enrolments.delete_where("user", identity)
    for assignment in [r for r in db.role_assignments if r["userid"] == identity]:
        db.role_assignments.delete(assignment["id"])
    for plan in db.plans.find("user", identity):
        db.plan_competencies.delete_where("plan", plan["id"])
        db.user_competency_plans.delete_where("plan", plan["id"])
        db.plans.delete(plan["id"])
    for token in [t for t in db.tokens if t["userid"] == identity]:
        db.tokens.delete(token["id"])
    db.users.update(
        user,
        {
            "deleted": 1,
            "idnumber": "",
            "username": f"{user['email']}.{call.now()}",
            "email": f"deleted{identity}@invalid",
        },
    )


_FIELDS = {"id", "idnumber", "username", "email"}


@function("core_user_get_users_by_field")
def users_by_field(call: Call, args: Row) -> list[Row]:
    """Answer accounts by id, id number, user name or e-mail; what the account may not see is left out."""
    field = args["field"]
    if field not in _FIELDS:
        raise coding("invalid field parameter")
    found: dict[int, Row] = {}
    for value in args["values"]:
        if field == "id":
            row = call.db.users.get(int(value)) if re.fullmatch(r"\d{1,18}", value or "") else None
            rows = [row] if row else []
        elif field == "username":
            rows = call.db.users.find("username", (value or "").lower())
        else:
            rows = call.db.users.find(field, collate(value or ""))
        found |= {row["id"]: row for row in rows if not row["deleted"]}
    if not call.may("moodle/user:viewdetails"):
        found = {key: row for key, row in found.items() if key == call.user_id}
    return [details(call, found[key]) for key in sorted(found)]


_CRITERIA = {"id", "lastname", "firstname", "idnumber", "username", "email", "auth"}


@function("core_user_get_users")
def get_users(call: Call, args: Row) -> Row:
    """Answer accounts that meet all criteria; `%` stands for anything in names and addresses."""
    rows = [
        row for row in sorted(call.db.users, key=lambda r: r["id"]) if not row["deleted"] and row["username"] != "guest"
    ]
    warnings = []
    for item in args["criteria"]:
        key, value = item["key"], item["value"] or ""
        if key not in _CRITERIA:
            warnings.append(
                {
                    "item": key,
                    "warningcode": "invalidfieldparameter",
                    "message": f"The search key '{key}' is not supported, look at the web service documentation",
                }
            )
            continue
        if key in ("id", "idnumber", "username", "auth"):
            rows = [row for row in rows if collate(str(row[key])) == collate(value)]
        else:
            pattern = re.compile(".*".join(re.escape(part) for part in collate(value).split("%")) + r"\Z", re.DOTALL)
            rows = [row for row in rows if pattern.match(collate(row[key]))]
    if not call.may("moodle/user:viewdetails"):
        rows = [row for row in rows if row["id"] == call.user_id]
    return {"users": [details(call, row) for row in rows], "warnings": warnings}


@function("core_user_get_course_user_profiles")
def course_profiles(call: Call, args: Row) -> list[Row]:
    """Answer accounts as a course shows them, with roles and courses."""
    answer = []
    for pair in args["userlist"]:
        course = call.course(pair["courseid"])
        user = call.db.users.get(pair["userid"])
        if user is None or user["deleted"] or not call.site.is_enrolled(course["id"], user["id"]):
            continue
        answer.append({**details(call, user), **course_part(call, user, course)})
    return answer


_ROLE_NAMES = {1: "manager", 3: "editingteacher", 4: "teacher", 5: "student"}


def course_part(call: Call, user: Row, course: Row) -> Row:
    """Return the roles somebody has in a course and the courses they are in."""
    context = call.db.contexts.first("instance", (COURSE, course["id"])) or {"id": 0}
    roles = call.db.role_assignments.find("who", (context["id"], user["id"]))
    courses = {e["courseid"] for e in call.db.enrolments.find("user", user["id"]) if e["status"] == 0}
    rows = sorted((call.course(identity) for identity in courses), key=lambda c: c.get("sortorder", 0))
    return {
        "roles": [
            {"roleid": r["roleid"], "name": "", "shortname": _ROLE_NAMES.get(r["roleid"], ""), "sortorder": 0}
            for r in roles
        ],
        "enrolledcourses": [
            {"id": c["id"], "fullname": call.string(c["fullname"]), "shortname": call.string(c["shortname"])}
            for c in rows
        ],
    }


@function("tool_lp_search_users")
def search_users(call: Call, args: Row) -> Row:
    """Answer accounts whose name contains a text, by name."""
    needle = collate(args["query"])
    rows = [
        row
        for row in call.db.users
        if not row["deleted"] and row["username"] != "guest" and needle in collate(fullname(row))
    ]
    rows.sort(key=lambda r: (collate(r["lastname"]), collate(r["firstname"]), r["id"]))
    page = rows[args["limitfrom"] :][: int(args["limitnum"] or 0) or None]
    return {"users": [summary(call, row, full=False) for row in page], "count": len(rows)}
