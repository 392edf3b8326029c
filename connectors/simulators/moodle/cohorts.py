"""Cohorts and their members.

Observed on Moodle 4.5.6 (`contracts/moodle-4.5`): creating is all or nothing and refuses a known id number,
changing accepts one; members are added item by item, with warnings.
"""

from connectors.simulators.moodle.errors import MoodleError, coding, invalid_parameter, invalid_user, missing_record
from connectors.simulators.moodle.frameworks import contexts_including
from connectors.simulators.moodle.records import page, too_long
from connectors.simulators.moodle.site import COURSECAT, SYSTEM, Call, function
from connectors.simulators.moodle.tables import Row, collate


def cohort(call: Call, cohort_id: int) -> Row:
    """Return a cohort, or raise the refusal for an unknown one."""
    row = call.db.cohorts.get(cohort_id)
    if row is None:
        raise missing_record("cohort", "id", cohort_id)
    return row


def _context(call: Call, given: Row) -> int:
    kind, value = given["type"], given["value"] or ""
    if kind == "system":
        return 1
    if kind == "id":
        category = call.db.categories.get(int(value)) if value.isdigit() else None
    elif kind == "idnumber":
        category = call.db.categories.first("idnumber", collate(value)) if value else None
    else:
        category = None
    if category is None:
        raise invalid_parameter(f"category not exists: category {kind}={value}")
    return call.site.add_context(COURSECAT, category["id"])


def export(call: Call, row: Row, custom: bool = True) -> Row:
    """Return a cohort as Moodle answers it."""
    description, form = call.text(row["description"], row["descriptionformat"])
    answer = {
        "id": row["id"],
        "name": row["name"],
        "idnumber": row["idnumber"],
        "description": description,
        "descriptionformat": form,
        "visible": row["visible"],
        "theme": "",
    }
    if custom:
        answer["customfields"] = []
    return answer


@function("core_cohort_create_cohorts")
def create_cohorts(call: Call, args: Row) -> list[Row]:
    """Create cohorts, all or none; at most one may be without an id number.

    Nothing but this check keeps id numbers apart: two requests at once can both pass it.
    """
    created: list[Row] = []
    with call.transaction():
        try:
            for given in args["cohorts"]:
                context = _context(call, given["categorytype"])
                taken = bool(call.db.cohorts.find("idnumber", collate(given["idnumber"])))
                if taken or not given["idnumber"]:
                    _refuse_twin(call, given)
                call.require("moodle/cohort:manage")
                row: Row = {
                    "name": given["name"],
                    "idnumber": given["idnumber"],
                    "description": given.get("description") or "",
                    "descriptionformat": 1 if given["descriptionformat"] is None else given["descriptionformat"],
                    "visible": given.get("visible", True) is not False,
                    "contextid": context,
                }
                too_long(row, name=254, idnumber=100)
                call.think()
                created.append(call.db.cohorts.insert(call.stamp(row)))
        except MoodleError:
            for row in created:
                call.db.cohorts.delete(row["id"])
            raise
    return [export(call, row, custom=False) for row in created]


def _refuse_twin(call: Call, given: Row) -> None:
    if call.db.cohorts.find("idnumber", collate(given["idnumber"])):
        raise invalid_parameter("record already exists: idnumber=" + given["idnumber"])


@function("core_cohort_update_cohorts")
def update_cohorts(call: Call, args: Row) -> None:
    """Change cohorts; a known id number is accepted."""
    for given in args["cohorts"]:
        row = cohort(call, given["id"])
        call.require("moodle/cohort:manage")
        changes: Row = {"contextid": _context(call, given["categorytype"])}
        changes |= {
            key: given[key] for key in ("name", "idnumber", "description", "visible") if given.get(key) is not None
        }
        if "description" in changes:
            changes["descriptionformat"] = 1 if given["descriptionformat"] is None else given["descriptionformat"]
        too_long(changes, name=254, idnumber=100)
        call.think()
        call.db.cohorts.update(row, call.stamp(changes, new=False))


@function("core_cohort_delete_cohorts")
def delete_cohorts(call: Call, args: Row) -> None:
    """Delete cohorts with their memberships and template links, all or none."""
    rows = []
    for identity in args["cohortids"]:
        rows.append(cohort(call, identity))
        call.require("moodle/cohort:manage")
    for row in rows:
        call.think()
        call.db.cohort_members.delete_where("cohort", row["id"])
        for link in [r for r in call.db.template_cohorts if r["cohortid"] == row["id"]]:
            call.db.template_cohorts.delete(link["id"])
        call.db.cohorts.delete(row["id"])


@function("core_cohort_get_cohorts")
def get_cohorts(call: Call, args: Row) -> list[Row]:
    """Answer cohorts by id, or all of them."""
    ids = args["cohortids"]
    rows = sorted(call.db.cohorts, key=lambda r: r["id"])
    if ids:
        rows = [row for row in rows if row["id"] in set(ids)]
    if rows:
        call.require("moodle/cohort:view")
    return [export(call, row) for row in rows]


@function("core_cohort_search_cohorts")
def search_cohorts(call: Call, args: Row) -> Row:
    """Answer cohorts of a context whose name, id number or description contains a text, by name."""
    context = call.context(args["context"])
    if args["includes"] not in ("self", "parents", "all"):
        raise coding("Invalid parameter value for 'includes'.")
    call.require("moodle/cohort:view")
    if args["includes"] == "all":
        contexts = {row["id"] for row in call.db.contexts if row["level"] in (SYSTEM, COURSECAT)}
    else:
        contexts = contexts_including(call, context, args["includes"])
    needle = collate(args["query"] or "")
    rows = [
        row
        for row in call.db.cohorts
        if row["contextid"] in contexts
        and any(needle in collate(row[field]) for field in ("name", "idnumber", "description"))
    ]
    rows.sort(key=lambda r: (collate(r["name"]), r["id"]))
    return {"cohorts": [export(call, row) for row in page(rows, args["limitfrom"], args["limitnum"])]}


@function("tool_lp_search_cohorts")
def search_cohorts_for_templates(call: Call, args: Row) -> Row:
    """Answer cohorts of a context as the page of templates looks for them."""
    answer: Row = search_cohorts(call, args)
    return answer


@function("core_cohort_get_cohort_members")
def get_members(call: Call, args: Row) -> list[Row]:
    """Answer the members of cohorts, by family name."""
    answer = []
    for identity in args["cohortids"]:
        row = cohort(call, identity)
        call.require("moodle/cohort:view")
        members = [call.db.users.rows[m["userid"]] for m in call.db.cohort_members.find("cohort", row["id"])]
        members.sort(key=lambda u: (collate(u["lastname"]), collate(u["firstname"]), u["id"]))
        answer.append({"cohortid": row["id"], "userids": [member["id"] for member in members]})
    return answer


@function("core_cohort_add_cohort_members")
def add_members(call: Call, args: Row) -> Row:
    """Add members one by one; what does not fit becomes a warning."""
    warnings: list[Row] = []
    for given in args["members"]:
        try:
            _add_member(call, given)
        except _WarningError as warning:
            warnings.append({"warningcode": warning.code, "message": warning.message})
    return {"warnings": warnings}


class _WarningError(Exception):
    """What is wrong with one member."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def _add_member(call: Call, given: Row) -> None:
    kind, value = given["cohorttype"]["type"], given["cohorttype"]["value"] or ""
    by, who = given["usertype"]["type"], given["usertype"]["value"] or ""
    if kind not in ("id", "idnumber"):
        raise _WarningError("1", f"invalid parameter: cohortype={kind}")
    if by not in ("id", "username"):
        raise _WarningError("1", f"invalid parameter: usertype={by}")
    if kind == "id":
        row = call.db.cohorts.get(int(value)) if value.isdigit() else None
    else:
        row = call.db.cohorts.first("idnumber", collate(value))
    if row is None:
        raise _WarningError("2", f"cohort {kind}={value} not exists")
    if by == "id":
        user = call.db.users.get(int(who)) if who.isdigit() else None
    else:
        user = call.db.users.first("username", who.lower())
    if user is None or user["deleted"]:
        raise _WarningError("2", f"user {by}={who} not exists")
    call.require("moodle/cohort:assign")
    pair = (row["id"], user["id"])
    if call.db.cohort_members.count("pair", pair):
        raise _WarningError("3", f"record already exists: cohort({kind}={value} {by}={who})")
    call.think()
    if not call.db.cohort_members.count("pair", pair):
        call.db.cohort_members.insert({"cohortid": pair[0], "userid": pair[1], "timeadded": call.now()})


@function("core_cohort_delete_cohort_members")
def delete_members(call: Call, args: Row) -> None:
    """Take members out, all or none; who was no member is no error."""
    pairs = []
    for given in args["members"]:
        row = cohort(call, given["cohortid"])
        user = call.db.users.get(given["userid"])
        if user is None or user["deleted"]:
            raise invalid_user()
        call.require("moodle/cohort:assign")
        pairs.append((row["id"], user["id"]))
    for pair in pairs:
        call.think()
        call.db.cohort_members.delete_where("pair", pair)
