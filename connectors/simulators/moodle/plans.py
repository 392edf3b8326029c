"""Learning plans: their life from draft to complete, and the competencies in them."""

from typing import Any

from connectors.simulators.moodle import competencies, frameworks, rating, templates
from connectors.simulators.moodle.errors import INVALID_DATA, coding, invalid_persistent, missing_record
from connectors.simulators.moodle.records import by_place, move, next_place, too_long
from connectors.simulators.moodle.site import USER, Call, function
from connectors.simulators.moodle.tables import Row

MANAGE = "moodle/competency:planmanage"
VIEW = "moodle/competency:planview"
DRAFT, ACTIVE, COMPLETE, WAITING, IN_REVIEW = range(5)
STATUS_NAMES = ("Draft", "Active", "Complete", "Waiting for review", "In review")
COMMENT = (
    '<div class="comment-message"><div class="comment-message-meta me-3"><span class="picture">___picture___</span>'
    '<span class="user">___name___</span> - <span class="time">___time___</span></div>'
    '<div class="text">___content___</div></div>'
)


def plan(call: Call, plan_id: int) -> Row:
    """Return a plan, or raise the refusal for an unknown one."""
    row = call.db.plans.get(plan_id)
    if row is None:
        raise missing_record("competency_plan", "id", plan_id)
    return row


def managed(call: Call, plan_id: int) -> Row:
    """Return a plan the account may manage."""
    row = plan(call, plan_id)
    call.require(MANAGE)
    return row


def require_view(call: Call, user: int) -> None:
    """Raise unless the account may see somebody's plans."""
    if user != call.user_id and not call.may(MANAGE):
        call.require(VIEW)


def comment_area(call: Call, area: str, item: int, user: int, name: str) -> Row:
    """Return the comments block of a page; nobody comments here."""
    return {
        "component": "competency",
        "commentarea": area,
        "itemid": item,
        "courseid": 1,
        "contextid": call.site.add_context(USER, user),
        "cid": name,
        "autostart": False,
        "canpost": True,
        "canview": True,
        "count": 0,
        "collapsediconkey": "t/collapsed",
        "displaytotalcount": True,
        "displaycancel": False,
        "fullwidth": True,
        "linktext": "Comments",
        "notoggle": False,
        "template": COMMENT,
        "canpostorhascomments": True,
    }


def export(call: Call, row: Row) -> Row:
    """Return a plan as Moodle answers it."""
    description, form = call.text(row["description"], row["descriptionformat"])
    status = row["status"]
    based = row["templateid"] is not None
    manage = call.may(MANAGE)
    answer: Row = {
        "name": call.string(row["name"]),
        "description": description,
        "descriptionformat": form,
        "userid": row["userid"],
        "templateid": row["templateid"],
        "origtemplateid": row["origtemplateid"],
        "status": status,
        "duedate": row["duedate"],
        "reviewerid": row["reviewerid"],
        "id": row["id"],
        "timecreated": row["timecreated"],
        "timemodified": row["timemodified"],
        "usermodified": row["usermodified"],
        "statusname": STATUS_NAMES[status],
        "isbasedontemplate": based,
        "canmanage": manage,
        "canrequestreview": manage,
        "canreview": manage,
        "canbeedited": not based and status != COMPLETE,
        "isactive": status == ACTIVE,
        "isdraft": status == DRAFT,
        "iscompleted": status == COMPLETE,
        "isinreview": status == IN_REVIEW,
        "iswaitingforreview": status == WAITING,
        "isreopenallowed": manage and status == COMPLETE,
        "iscompleteallowed": manage and status == ACTIVE,
        "isunlinkallowed": manage and based and status not in (DRAFT, COMPLETE),
        "isrequestreviewallowed": manage and status == DRAFT,
        "iscancelreviewrequestallowed": manage and status == WAITING,
        "isstartreviewallowed": manage and status == WAITING,
        "isstopreviewallowed": manage and status == IN_REVIEW,
        "isapproveallowed": manage and not based and status in (DRAFT, WAITING, IN_REVIEW),
        "isunapproveallowed": manage and not based and status == ACTIVE,
        "duedateformatted": call.date(row["duedate"]),
        "commentarea": comment_area(call, "plan", row["id"], row["userid"], f"plancommentarea{row['id']}"),
    }
    if row["reviewerid"]:
        from connectors.simulators.moodle.people import summary

        answer["reviewer"] = summary(call, call.active_user(row["reviewerid"]))
    source = call.db.templates.get(row["templateid"]) if based else None
    if source is not None:
        answer["template"] = templates.export(call, source)
    answer["url"] = f"{call.wwwroot}/admin/tool/lp/plan.php?id={row['id']}"
    return answer


def _validate(call: Call, row: Row, before: Row | None) -> None:
    errors = []
    if row["descriptionformat"] not in (0, 1, 2, 4):
        errors.append(INVALID_DATA)
    if row["status"] not in range(5):
        errors.append(INVALID_DATA)
    changed = before is None or before["duedate"] != row["duedate"] or before["status"] != row["status"]
    if row["status"] not in (DRAFT, COMPLETE) and row["duedate"] and changed and row["duedate"] <= call.now():
        errors.append(templates.PAST)
    if errors:
        raise invalid_persistent(*errors)
    too_long(row, name=100)


@function("core_competency_create_plan")
def create_plan(call: Call, args: Row) -> Row:
    """Create a plan of somebody; one from a template is always refused (observed on Moodle 4.5.6)."""
    given = args["plan"]
    call.active_user(given["userid"])
    call.require(MANAGE)
    if given["templateid"]:
        raise coding("To create a plan from a template use api::create_plan_from_template().")
    if given["status"] == COMPLETE:
        raise coding("A plan cannot be created as complete.")
    row: Row = {
        "name": given["name"],
        "description": given["description"],
        "descriptionformat": 1 if given["descriptionformat"] is None else given["descriptionformat"],
        "userid": given["userid"],
        "templateid": None,
        "origtemplateid": given["origtemplateid"],
        "status": given["status"],
        "duedate": given["duedate"] or 0,
        "reviewerid": given["reviewerid"],
    }
    _validate(call, row, None)
    call.think()
    return export(call, call.db.plans.insert(call.stamp(row)))


@function("core_competency_update_plan")
def update_plan(call: Call, args: Row) -> Row:
    """Change a plan that is neither complete nor made from a template."""
    given = args["plan"]
    row = managed(call, given["id"])
    if row["status"] == COMPLETE:
        raise coding("Cannot update a complete plan.")
    if row["templateid"] is not None:
        raise coding("Cannot update a plan that is based on a template.")
    if given.get("templateid"):
        raise coding("Cannot base a plan on a template.")
    if given.get("userid") not in (None, row["userid"]):
        raise coding("A plan cannot be transfered to another user")
    if given.get("status") not in (None, row["status"]):
        raise coding("To change the status of a plan use the appropriate methods.")
    changes: dict[str, Any] = {
        key: given[key] for key in ("name", "description", "duedate") if given.get(key) is not None
    }
    changes["descriptionformat"] = 1 if given["descriptionformat"] is None else given["descriptionformat"]
    _validate(call, {**row, **changes}, row)
    call.think()
    call.db.plans.update(row, call.stamp(changes, new=False))
    return export(call, row)


@function("core_competency_read_plan")
def read_plan(call: Call, args: Row) -> Row:
    """Answer one plan."""
    row = plan(call, args["id"])
    require_view(call, row["userid"])
    return export(call, row)


@function("core_competency_list_user_plans")
def list_user_plans(call: Call, args: Row) -> list[Row]:
    """Answer the plans of one person."""
    user = call.active_user(args["userid"])
    require_view(call, user["id"])
    return [export(call, row) for row in call.db.plans.find("user", user["id"])]


def forget_plan(call: Call, row: Row) -> None:
    """Remove a plan with its competencies."""
    call.db.plan_competencies.delete_where("plan", row["id"])
    call.db.user_competency_plans.delete_where("plan", row["id"])
    call.db.plans.delete(row["id"])


@function("core_competency_delete_plan")
def delete_plan(call: Call, args: Row) -> bool:
    """Delete a plan; ratings stay."""
    row = managed(call, args["id"])
    call.think()
    forget_plan(call, row)
    return True


def _set_status(call: Call, row: Row, status: int, **more: Any) -> bool:
    call.think()
    call.db.plans.update(row, call.stamp({"status": status, **more}, new=False))
    return True


@function("core_competency_approve_plan")
def approve_plan(call: Call, args: Row) -> bool:
    """Make a draft, or a plan under review, active."""
    row = managed(call, args["id"])
    if row["status"] not in (DRAFT, WAITING, IN_REVIEW) or row["templateid"] is not None:
        raise coding("The plan cannot be approved at this stage.")
    _validate(call, {**row, "status": ACTIVE}, row)
    return _set_status(call, row, ACTIVE, reviewerid=None)


@function("core_competency_unapprove_plan")
def unapprove_plan(call: Call, args: Row) -> bool:
    """Send an active plan back to draft."""
    row = managed(call, args["id"])
    if row["status"] != ACTIVE or row["templateid"] is not None:
        raise coding("The plan cannot be sent back to draft at this stage.")
    return _set_status(call, row, DRAFT)


@function("core_competency_complete_plan")
def complete_plan(call: Call, args: Row) -> bool:
    """Complete a plan in whatever state, and keep its ratings as they are now."""
    row = managed(call, args["planid"])
    if row["status"] == COMPLETE:
        raise coding("The plan is already completed.")
    for place, identity in enumerate(competency_ids(call, row)):
        now = call.db.user_competencies.first("pair", (row["userid"], identity)) or {}
        kept = {"userid": row["userid"], "competencyid": identity, "planid": row["id"], "sortorder": place}
        kept |= {"proficiency": now.get("proficiency"), "grade": now.get("grade")}
        call.db.user_competency_plans.insert(call.stamp(kept))
    return _set_status(call, row, COMPLETE)


@function("core_competency_reopen_plan")
def reopen_plan(call: Call, args: Row) -> bool:
    """Make a completed plan active again."""
    row = managed(call, args["planid"])
    if row["status"] != COMPLETE:
        raise coding("The plan cannot be reopened as it is not completed.")
    call.db.user_competency_plans.delete_where("plan", row["id"])
    due = row["duedate"]
    return _set_status(call, row, ACTIVE, duedate=0 if due and due <= call.now() else due)


def unlink(call: Call, row: Row) -> None:
    """Make a plan from a template a plan of its own, with the template's competencies."""
    for place, identity in enumerate(competency_ids(call, row)):
        call.db.plan_competencies.insert(
            call.stamp({"planid": row["id"], "competencyid": identity, "sortorder": place})
        )
    call.db.plans.update(row, call.stamp({"origtemplateid": row["templateid"], "templateid": None}, new=False))


@function("core_competency_unlink_plan_from_template")
def unlink_plan(call: Call, args: Row) -> bool:
    """Unlink a plan that is not complete from its template."""
    row = managed(call, args["planid"])
    if row["status"] == COMPLETE:
        raise coding("Only draft or active plan can be unliked from a template")
    if row["templateid"] is None:
        raise coding("The plan is not based on a template.")
    call.think()
    unlink(call, row)
    return True


def _review(call: Call, args: Row, allowed: int, status: int, message: str, **more: Any) -> bool:
    row = managed(call, args["id"])
    if row["status"] != allowed:
        raise coding(message)
    return _set_status(call, row, status, **more)


@function("core_competency_plan_request_review")
def request_review(call: Call, args: Row) -> bool:
    """Ask for a draft to be reviewed."""
    return _review(call, args, DRAFT, WAITING, "The plan cannot be sent for review at this stage.")


@function("core_competency_plan_cancel_review_request")
def cancel_review(call: Call, args: Row) -> bool:
    """Take the request back."""
    return _review(call, args, WAITING, DRAFT, "The plan review cannot be cancelled at this stage.")


@function("core_competency_plan_start_review")
def start_review(call: Call, args: Row) -> bool:
    """Begin a review."""
    message = "The plan review cannot be started at this stage."
    return _review(call, args, WAITING, IN_REVIEW, message, reviewerid=call.user_id)


@function("core_competency_plan_stop_review")
def stop_review(call: Call, args: Row) -> bool:
    """End a review."""
    return _review(call, args, IN_REVIEW, DRAFT, "The plan review cannot be stopped at this stage.", reviewerid=None)


def competency_ids(call: Call, row: Row) -> list[int]:
    """Return the competencies of a plan in order: its own, or those of its template."""
    if row["status"] == COMPLETE:
        links = by_place(call.db.user_competency_plans.find("plan", row["id"]))
    elif row["templateid"] is not None:
        links = by_place(call.db.template_competencies.find("template", row["templateid"]))
    else:
        links = by_place(call.db.plan_competencies.find("plan", row["id"]))
    return [link["competencyid"] for link in links]


def plan_competencies(call: Call, row: Row) -> list[Row]:
    """Return the competencies of a plan with somebody's rating of each."""
    answer = []
    for identity in competency_ids(call, row):
        subject = competencies.competency(call, identity)
        item: Row = {"competency": competencies.export(call, subject)}
        if row["status"] == COMPLETE:
            kept = call.db.user_competency_plans.first("exact", (row["id"], identity)) or {}
            item["usercompetencyplan"] = rating.export_in_plan(call, kept, subject)
        else:
            item["usercompetency"] = rating.export(call, rating.current(call, row["userid"], identity), subject)
        answer.append(item)
    return answer


@function("core_competency_list_plan_competencies")
def list_plan_competencies(call: Call, args: Row) -> list[Row]:
    """Answer the competencies of a plan with their ratings."""
    row = plan(call, args["id"])
    require_view(call, row["userid"])
    return plan_competencies(call, row)


def _editable(call: Call, plan_id: int) -> Row:
    row = managed(call, plan_id)
    if row["templateid"] is not None:
        raise coding("A competency can not be added to a learning plan based on a template")
    if row["status"] == COMPLETE:
        raise coding("A competency can not be added to a learning plan completed")
    return row


@function("core_competency_add_competency_to_plan")
def add_competency(call: Call, args: Row) -> bool:
    """Put a competency into a plan of somebody's own."""
    row = _editable(call, args["planid"])
    subject = competencies.competency(call, args["competencyid"])
    if not frameworks.framework(call, subject["competencyframeworkid"])["visible"]:
        raise coding("A competency belonging to hidden framework can not be added")
    table = call.db.plan_competencies
    if not table.count("pair", (row["id"], subject["id"])):
        place = next_place(table, "plan", row["id"])
        call.think()
        table.insert(call.stamp({"planid": row["id"], "competencyid": subject["id"], "sortorder": place}))
    return True


@function("core_competency_remove_competency_from_plan")
def remove_competency(call: Call, args: Row) -> bool:
    """Take a competency out of a plan; answer whether it was there."""
    row = managed(call, args["planid"])
    if row["templateid"] is not None:
        raise coding("A competency can not be removed from a learning plan based on a template")
    if row["status"] == COMPLETE:
        raise coding("A competency can not be removed from a learning plan completed")
    call.think()
    return call.db.plan_competencies.delete_where("pair", (row["id"], args["competencyid"])) > 0


@function("core_competency_reorder_plan_competency")
def reorder_competency(call: Call, args: Row) -> bool:
    """Put a competency where another of the plan stands."""
    row = managed(call, args["planid"])
    if row["templateid"] is not None:
        raise coding("A competency can not be reordered in a learning plan based on a template")
    table = call.db.plan_competencies
    first = table.first("pair", (row["id"], args["competencyidfrom"]))
    second = table.first("pair", (row["id"], args["competencyidto"]))
    if first is None or second is None:
        raise coding("The competency does not belong to this plan")
    move(table, table.find("plan", row["id"]), first, second)
    return True
