"""Course and activity completion, and what changed in a course.

Observed on Moodle 4.5.6 (`contracts/moodle-4.5`, Pull): the status call gives the criteria's times, not the
course's.
"""

from connectors.simulators.moodle.courses import enter
from connectors.simulators.moodle.errors import invalid_module, invalid_parameter, plain
from connectors.simulators.moodle.seeding import ACTIVITY, DATE, SELF
from connectors.simulators.moodle.site import Call, function
from connectors.simulators.moodle.tables import Row
from connectors.simulators.moodle.text import format_date


def _module(call: Call, module_id: int) -> Row:
    row = call.db.modules.get(module_id)
    if row is None:
        raise invalid_module()
    return row


@function("core_completion_get_course_completion_status")
def course_status(call: Call, args: Row) -> Row:
    """Answer how far one person is in one course, criterion by criterion."""
    user = call.active_user(args["userid"])
    course = enter(call, args["courseid"])
    if not call.site.is_enrolled(course["id"], user["id"]):
        raise plain("usernotenroled", "User is not enrolled in this course")
    criteria = call.db.criteria.find("course", course["id"])
    if not criteria:
        raise plain("nocriteriaset", "No completion criteria set for this course")
    completion = call.db.completions.first("pair", (course["id"], user["id"]))
    return {
        "completionstatus": {
            "completed": bool(completion and completion["timecompleted"]),
            "aggregation": 1,
            "completions": [
                _criterion(call, row, user["id"]) for row in sorted(criteria, key=lambda c: (c["type"], c["id"]))
            ],
        },
        "warnings": [],
    }


def _criterion(call: Call, row: Row, user: int) -> Row:
    done = call.db.criteria_completions.first("pair", (row["id"], user))
    status = "Yes" if done else "No"
    kind, detail = row["type"], {"status": ""}
    if kind == SELF:
        title, names = "Self completion", ("Self completion", "Self completion", "Marking yourself complete")
    elif kind == DATE:
        until = format_date(row["timeend"], call.timezone, "shortdate")
        status = "Yes" if done else until
        title, names = "Date", ("Date passed", "Remaining enrolled until a specified date", until)
    elif kind == ACTIVITY:
        module = call.db.modules.get(row["module"]) or {}
        label = module["name"]
        if module["modname"] != "label":
            address = f"{call.wwwroot}/mod/{module['modname']}/view.php?id={module['id']}"
            label = f'<a href="{address}">{call.string(label)}</a>'
        needed = "Viewing the page" if module["completion"] == 2 else "Marking yourself complete"
        title, names = "Activity completion", ("Activity completion", label, needed)
    else:
        title, names = "Manager", ("Manual completion by others", "Manager", "Marked complete by Manager")
    return {
        "type": kind,
        "title": title,
        "status": status,
        "complete": bool(done),
        "timecompleted": done["timecompleted"] if done else None,
        "details": {"type": names[0], "criteria": names[1], "requirement": names[2], **detail},
    }


@function("core_completion_get_activities_completion_status")
def activities_status(call: Call, args: Row) -> Row:
    """Answer the tracked activities of one person in one course."""
    user = call.active_user(args["userid"])
    course = enter(call, args["courseid"])
    statuses = []
    for module in call.db.modules.find("course", course["id"]):
        if not module["completion"]:
            continue
        state = call.db.module_completions.first("pair", (module["id"], user["id"])) or {
            "completionstate": 0,
            "timemodified": 0,
            "overrideby": None,
        }
        automatic = module["completion"] == 2
        viewed = 1 if state["completionstate"] and state["overrideby"] else 0
        rules = [{"rulename": "completionview", "rulevalue": {"status": viewed, "description": "View"}}]
        statuses.append(
            {
                "cmid": module["id"],
                "modname": module["modname"],
                "instance": module["instance"],
                "state": state["completionstate"],
                "timecompleted": state["timemodified"],
                "tracking": module["completion"],
                "overrideby": state["overrideby"],
                "valueused": False,
                "hascompletion": True,
                "isautomatic": automatic,
                "istrackeduser": call.site.is_enrolled(course["id"], user["id"]),
                "uservisible": True,
                "details": rules if automatic else [],
                "isoverallcomplete": bool(state["completionstate"]),
            }
        )
    return {"statuses": statuses, "warnings": []}


@function("core_completion_override_activity_completion_status")
def override_status(call: Call, args: Row) -> Row:
    """Set somebody's completion of an activity by hand."""
    user = call.active_user(args["userid"])
    module = _module(call, args["cmid"])
    enter(call, module["course"])
    if args["newstate"] not in (0, 1):
        raise plain(
            "err_system",
            "An internal error occurred in the completion system. "
            "(System administrators can enable debugging information to see more detail.)",
        )
    state = _set_state(call, module, user["id"], args["newstate"], call.user_id)
    return {
        "cmid": module["id"],
        "userid": user["id"],
        "state": state["completionstate"],
        "timecompleted": state["timemodified"],
        "overrideby": state["overrideby"],
        "tracking": module["completion"],
    }


def _set_state(call: Call, module: Row, user: int, state: int, by: int | None) -> Row:
    call.think()
    changes = {"completionstate": state, "timemodified": call.now(), "overrideby": by}
    row = call.db.module_completions.first("pair", (module["id"], user))
    if row is None:
        return call.db.module_completions.insert({"coursemoduleid": module["id"], "userid": user, **changes})
    call.db.module_completions.update(row, changes)
    return row


@function("core_completion_update_activity_completion_status_manually")
def update_own_status(call: Call, args: Row) -> Row:
    """Tick an activity for oneself."""
    module = _module(call, args["cmid"])
    enter(call, module["course"])
    if module["completion"] != 1:
        raise plain("cannotmanualctrack", "Activity does not provide manual completion tracking")
    _set_state(call, module, call.user_id, int(args["completed"]), None)
    return {"status": True, "warnings": []}


@function("core_completion_mark_course_self_completed")
def mark_self_completed(call: Call, args: Row) -> Row:
    """Complete a course for oneself, where one is a participant and the course allows it."""
    course = enter(call, args["courseid"])
    if not call.site.is_enrolled(course["id"], call.user_id):
        raise plain("nottracked", "You are currently not being tracked by completion in this course")
    criterion = next((c for c in call.db.criteria.find("course", course["id"]) if c["type"] == SELF), None)
    if criterion is None:
        raise plain("noselfcompletioncriteria", "No self completion criteria")
    call.db.criteria_completions.insert(
        {
            "criteriaid": criterion["id"],
            "userid": call.user_id,
            "course": course["id"],
            "timecompleted": call.now(),
        }
    )
    return {"status": True, "warnings": []}


def _updates(module: Row, since: int) -> Row | None:
    if module["added"] <= since:
        return None
    return {
        "contextlevel": "module",
        "id": module["id"],
        "updates": [{"name": "configuration", "timeupdated": module["added"]}],
    }


@function("core_course_get_updates_since")
def updates_since(call: Call, args: Row) -> Row:
    """Answer which activities of a course changed since a time."""
    course = enter(call, args["courseid"])
    found = [_updates(module, args["since"]) for module in call.db.modules.find("course", course["id"])]
    return {"instances": [item for item in found if item], "warnings": []}


@function("core_course_check_updates")
def check_updates(call: Call, args: Row) -> Row:
    """Answer which of the named activities changed since their times."""
    course = enter(call, args["courseid"])
    found = []
    for item in args["tocheck"]:
        module = _module(call, item["id"])
        if module["course"] != course["id"]:
            raise invalid_parameter("The module does not belong to the course")
        found.append(_updates(module, item["since"]))
    return {"instances": [item for item in found if item], "warnings": []}
