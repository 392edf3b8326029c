"""Groups inside courses."""

from connectors.simulators.moodle.courses import enter
from connectors.simulators.moodle.errors import invalid_parameter, missing_record
from connectors.simulators.moodle.site import Call, function
from connectors.simulators.moodle.tables import Row, collate


@function("core_group_create_groups")
def create_groups(call: Call, args: Row) -> list[Row]:
    """Create groups in courses; names are unique in a course."""
    answer = []
    for given in args["groups"]:
        course = enter(call, given["courseid"])
        call.require("moodle/course:managegroups")
        if not given["name"].strip() or any(
            collate(g["name"]) == collate(given["name"]) for g in call.db.groups.find("course", course["id"])
        ):
            raise invalid_parameter("Group with the same name already exists in the course")
        call.think()
        row = call.db.groups.insert(
            {
                "courseid": course["id"],
                "name": given["name"],
                "description": given["description"],
                "idnumber": given.get("idnumber") or "",
            }
        )
        answer.append({**_group(call, row), "enrolmentkey": given.get("enrolmentkey") or ""})
    return answer


def _group(call: Call, row: Row) -> Row:
    description, form = call.text(row["description"], 1)
    return {
        "id": row["id"],
        "courseid": row["courseid"],
        "name": call.string(row["name"]),
        "description": description,
        "descriptionformat": form,
        "enrolmentkey": None,
        "idnumber": row["idnumber"],
        "visibility": 0,
        "participation": True,
    }


@function("core_group_get_course_groups")
def course_groups(call: Call, args: Row) -> list[Row]:
    """Answer the groups of a course."""
    course = enter(call, args["courseid"])
    return [_group(call, row) for row in call.db.groups.find("course", course["id"])]


def _managed(call: Call, group_id: int) -> Row:
    row = call.db.groups.get(group_id)
    if row is None:
        raise missing_record("groups", "id", group_id)
    enter(call, row["courseid"])
    call.require("moodle/course:managegroups")
    return row


@function("core_group_get_groups")
def get_groups(call: Call, args: Row) -> list[Row]:
    """Answer groups by id."""
    return [_group(call, _managed(call, identity)) for identity in args["groupids"]]


@function("core_group_delete_groups")
def delete_groups(call: Call, args: Row) -> None:
    """Delete groups with their memberships, all or none; unknown ones are no error."""
    for row in [_managed(call, identity) for identity in args["groupids"] if call.db.groups.get(identity)]:
        call.think()
        call.db.group_members.delete_where("group", row["id"])
        call.db.groups.delete(row["id"])


@function("core_group_add_group_members")
def add_group_members(call: Call, args: Row) -> None:
    """Add members, all or none; only participants of the course may join."""
    pairs = []
    for given in args["members"]:
        row = _managed(call, given["groupid"])
        user = call.active_user(given["userid"])
        if not call.site.is_enrolled(row["courseid"], user["id"]):
            raise invalid_parameter("Only enrolled users may be members of groups")
        pairs.append((row["id"], user["id"]))
    for pair in pairs:
        call.think()
        if not call.db.group_members.count("pair", pair):
            call.db.group_members.insert({"groupid": pair[0], "userid": pair[1], "timeadded": call.now()})


@function("core_group_delete_group_members")
def delete_group_members(call: Call, args: Row) -> None:
    """Take members out."""
    for given in args["members"]:
        row = _managed(call, given["groupid"])
        user = call.active_user(given["userid"])
        call.think()
        call.db.group_members.delete_where("pair", (row["id"], user["id"]))


@function("core_group_get_group_members")
def get_group_members(call: Call, args: Row) -> list[Row]:
    """Answer the members of groups."""
    answer = []
    for identity in args["groupids"]:
        row = _managed(call, identity)
        members = call.db.group_members.find("group", row["id"])
        answer.append({"groupid": row["id"], "userids": [member["userid"] for member in members]})
    return answer
