"""Rating people: their competencies, the evidence behind them, reviews.

And the rules that pass a rating upwards.
"""

import json
from typing import Any

from connectors.simulators.moodle import competencies, frameworks
from connectors.simulators.moodle.errors import coding, invalid_persistent, missing_record
from connectors.simulators.moodle.people import summary
from connectors.simulators.moodle.site import COURSE, USER, Call, function
from connectors.simulators.moodle.tables import Row

GRADE = "moodle/competency:competencygrade"
VIEW = "moodle/competency:usercompetencyview"
IDLE, WAITING, IN_REVIEW = range(3)
STATUS_NAMES = ("-", "Waiting for review", "In review")
LOG, COMPLETE, OVERRIDE = 0, 2, 3
_DESCRIPTIONS = {
    "evidence_manualoverride": "The competency rating was manually set.",
    "evidence_manualoverrideinplan": "The competency rating was manually set in the learning plan '{}'.",
    "evidence_manualoverrideincourse": "The competency rating was manually set in the course '{}'.",
    "evidence_competencyrule": "The rule of the competency was met.",
}


def current(call: Call, user: int, competency: int) -> Row:
    """Return somebody's rating of a competency, or an empty one that is not stored."""
    found = call.db.user_competencies.first("pair", (user, competency))
    if found is not None:
        return found
    return {
        "userid": user,
        "competencyid": competency,
        "status": IDLE,
        "reviewerid": None,
        "proficiency": None,
        "grade": None,
        "id": 0,
        "timecreated": 0,
        "timemodified": 0,
        "usermodified": 0,
    }


def stored(call: Call, user: int, competency: int) -> Row:
    """Return somebody's stored rating record of a competency, adding an empty one."""
    row = current(call, user, competency)
    if not row["id"]:
        row = call.db.user_competencies.insert(call.stamp({**row}))
    return row


def grade_name(call: Call, subject: Row, grade: int | None) -> str:
    """Return the name of a rating on a competency's scale."""
    items = frameworks.scale_items(call, competencies.scale_of(call, subject)[0])
    return call.string(items[grade - 1]) if grade and grade <= len(items) else "-"


def export(call: Call, row: Row, subject: Row) -> Row:
    """Return somebody's rating as Moodle answers it."""
    status = row["status"]
    return {
        "userid": row["userid"],
        "competencyid": row["competencyid"],
        "status": status,
        "reviewerid": row["reviewerid"],
        "proficiency": row["proficiency"],
        "grade": row["grade"],
        "id": row["id"],
        "timecreated": row["timecreated"],
        "timemodified": row["timemodified"],
        "usermodified": row["usermodified"],
        "canrequestreview": True,
        "canreview": True,
        "gradename": grade_name(call, subject, row["grade"]),
        "isrequestreviewallowed": status == IDLE,
        "iscancelreviewrequestallowed": status == WAITING,
        "isstartreviewallowed": status == WAITING,
        "isstopreviewallowed": status == IN_REVIEW,
        "isstatusidle": status == IDLE,
        "isstatusinreview": status == IN_REVIEW,
        "isstatuswaitingforreview": status == WAITING,
        "proficiencyname": "Yes" if row["proficiency"] else "No",
        "statusname": STATUS_NAMES[status],
        "url": f"{call.wwwroot}/admin/tool/lp/user_competency.php?id={row['id']}",
    }


def export_in_plan(call: Call, row: Row, subject: Row) -> Row:
    """Return the rating a completed plan kept."""
    keys = (
        "userid",
        "competencyid",
        "proficiency",
        "grade",
        "planid",
        "sortorder",
        "id",
        "timecreated",
        "timemodified",
        "usermodified",
    )
    answer = {key: row.get(key) for key in keys}
    answer["gradename"] = grade_name(call, subject, row.get("grade"))
    answer["proficiencyname"] = "Yes" if row.get("proficiency") else "No"
    return answer


def evidence_of(call: Call, user_competency: int) -> list[Row]:
    """Return the evidence behind a rating, the newest first."""
    rows = call.db.evidence.find("usercompetency", user_competency)
    return sorted(rows, key=lambda r: r["id"], reverse=True)


def export_evidence(call: Call, row: Row, subject: Row) -> Row:
    """Return one piece of evidence as Moodle answers it."""
    answer = {
        key: row[key]
        for key in (
            "usercompetencyid",
            "contextid",
            "action",
            "actionuserid",
            "descidentifier",
            "desccomponent",
            "desca",
            "url",
            "grade",
            "note",
            "id",
            "timecreated",
            "timemodified",
            "usermodified",
        )
    }
    name = json.loads(row["desca"]) if row["desca"] else ""
    actor = call.db.users.get(row["actionuserid"] or 0)
    if actor is not None:
        answer["actionuser"] = summary(call, actor)
    answer["description"] = _DESCRIPTIONS.get(str(row["descidentifier"]), "").format(name)
    answer["gradename"] = grade_name(call, subject, row["grade"])
    answer["userdate"] = call.date(row["timecreated"])
    answer["candelete"] = call.may("moodle/competency:evidencedelete")
    return answer


def is_proficient(call: Call, subject: Row, grade: int) -> bool:
    """Return whether a rating counts as proficient by the scale's configuration."""
    items = json.loads(competencies.scale_of(call, subject)[1] or "[]")[1:]
    return any(int(item.get("id", 0)) == grade and item.get("proficient") for item in items)


def _default_grade(call: Call, subject: Row) -> int | None:
    items = json.loads(competencies.scale_of(call, subject)[1] or "[]")[1:]
    proficient = [int(item["id"]) for item in items if item.get("proficient")]
    return proficient[0] if proficient else None


def add_evidence(
    call: Call,
    user: int,
    subject: Row,
    grade: int | None,
    identifier: str,
    context: int,
    name: str | None = None,
    **more: Any,
) -> Row:
    """Write evidence, and the rating it brings."""
    row = stored(call, user, subject["id"])
    changes: Row = {}
    if grade is not None:
        changes = {"grade": grade, "proficiency": is_proficient(call, subject, grade)}
        if row["status"] != IDLE:
            changes |= {"status": IDLE, "reviewerid": None}
    call.db.user_competencies.update(row, call.stamp(changes, new=False))
    evidence = {
        "usercompetencyid": row["id"],
        "contextid": context,
        "action": OVERRIDE,
        "actionuserid": call.user_id,
        "descidentifier": identifier,
        "desccomponent": "core_competency",
        "desca": None if name is None else json.dumps(name, ensure_ascii=False),
        "url": None,
        "grade": grade,
        "note": None,
        **more,
    }
    result = call.db.evidence.insert(call.stamp(evidence))
    if grade is not None and row["proficiency"]:
        _apply_rules(call, user, subject)
    return result


def _apply_rules(call: Call, user: int, subject: Row) -> None:
    """Pass a proficient rating to the parent, where its rule is met."""
    parent = call.db.competencies.get(subject["parentid"])
    if parent is None or not parent["ruletype"] or not parent["ruleoutcome"]:
        return
    children = call.db.competencies.find("children", parent["id"])
    reached = {child["id"] for child in children if current(call, user, child["id"])["proficiency"]}
    if parent["ruletype"] == competencies.RULE_ALL:
        met = len(reached) == len(children)
    else:
        rule = json.loads(parent["ruleconfig"])
        items = {int(item["id"]): item for item in rule["competencies"]}
        met = all(i in reached for i, item in items.items() if int(item.get("required", 0)))
        met = met and sum(int(item["points"]) for i, item in items.items() if i in reached) >= int(
            rule["base"]["points"]
        )
    if not met:
        return
    context = call.site.add_context(USER, user)
    outcome = parent["ruleoutcome"]
    rated = current(call, user, parent["id"])["grade"] is not None
    grade = _default_grade(call, parent) if outcome == 3 and not rated else None
    action = COMPLETE if outcome == 3 else LOG
    add_evidence(call, user, parent, grade, "evidence_competencyrule", context, action=action, actionuserid=None)
    if outcome == 2:
        row = stored(call, user, parent["id"])
        if row["status"] == IDLE:
            call.db.user_competencies.update(row, {"status": WAITING})


def _check_grade(call: Call, subject: Row, grade: int) -> None:
    if not 1 <= grade <= len(frameworks.scale_items(call, competencies.scale_of(call, subject)[0])):
        raise invalid_persistent("Invalid rating")


def _require_rating(call: Call) -> None:
    call.require(VIEW)
    call.require(GRADE)


@function("core_competency_grade_competency")
def grade_competency(call: Call, args: Row) -> Row:
    """Rate somebody, whether or not a plan or course of theirs has the competency.

    Each time leaves evidence.
    """
    subject = competencies.competency(call, args["competencyid"])
    _require_rating(call)
    user = call.db.users.get(args["userid"])
    if user is None or user["deleted"]:
        raise invalid_persistent("Invalid user ID")
    _check_grade(call, subject, args["grade"])
    context = call.site.add_context(USER, user["id"])
    call.think()
    row = add_evidence(call, user["id"], subject, args["grade"], "evidence_manualoverride", context, note=args["note"])
    return export_evidence(call, row, subject)


@function("core_competency_grade_competency_in_plan")
def grade_in_plan(call: Call, args: Row) -> Row:
    """Rate somebody in a plan of theirs that is open and has the competency."""
    from connectors.simulators.moodle import plans

    plan = plans.plan(call, args["planid"])
    _require_rating(call)
    if args["competencyid"] not in plans.competency_ids(call, plan):
        raise coding(f"The competency does not belong to this plan: {args['competencyid']}, {plan['id']}")
    if plan["status"] == plans.COMPLETE:
        raise coding("The competency may not be rated at this time.")
    subject = competencies.competency(call, args["competencyid"])
    _check_grade(call, subject, args["grade"])
    context = call.site.add_context(USER, plan["userid"])
    call.think()
    row = add_evidence(
        call,
        plan["userid"],
        subject,
        args["grade"],
        "evidence_manualoverrideinplan",
        context,
        call.string(plan["name"]),
        note=args["note"],
    )
    return export_evidence(call, row, subject)


@function("core_competency_grade_competency_in_course")
def grade_in_course(call: Call, args: Row) -> Row:
    """Rate somebody in a course they are in and that has the competency."""
    course = call.course(args["courseid"])
    _require_rating(call)
    subject = competencies.competency(call, args["competencyid"])
    if not call.db.course_competencies.count("pair", (course["id"], subject["id"])):
        raise coding(f"The competency does not belong to this course: {subject['id']}, {course['id']}")
    if not call.site.is_enrolled(course["id"], args["userid"], active=True):
        raise coding("The competency may not be rated at this time.")
    _check_grade(call, subject, args["grade"])
    context = call.site.add_context(COURSE, course["id"])
    call.think()
    in_course = (course["id"], args["userid"], subject["id"])
    kept = {"grade": args["grade"], "proficiency": is_proficient(call, subject, args["grade"])}
    known = call.db.user_competency_courses.first("exact", in_course)
    if known is None:
        ids = {"courseid": in_course[0], "userid": in_course[1], "competencyid": in_course[2]}
        call.db.user_competency_courses.insert(call.stamp({**ids, **kept}))
    else:
        call.db.user_competency_courses.update(known, call.stamp(kept, new=False))
    row = add_evidence(
        call,
        args["userid"],
        subject,
        args["grade"],
        "evidence_manualoverrideincourse",
        context,
        f"Course: {call.string(course['fullname'])}",
        note=args["note"],
    )
    return export_evidence(call, row, subject)


@function("core_competency_delete_evidence")
def delete_evidence(call: Call, args: Row) -> bool:
    """Delete one piece of evidence."""
    row = call.db.evidence.get(args["id"])
    if row is None:
        raise missing_record("competency_evidence", "id", args["id"])
    call.require("moodle/competency:evidencedelete")
    call.db.evidence.delete(row["id"])
    return True


def _review(call: Call, args: Row, allowed: int, status: int, reviewer: int | None, create: bool = False) -> bool:
    competencies.competency(call, args["competencyid"])
    call.active_user(args["userid"])
    call.require(VIEW)
    row = current(call, args["userid"], args["competencyid"])
    if not row["id"]:
        if not create:
            raise missing_record("competency_usercomp", "id", 0)
        row = stored(call, args["userid"], args["competencyid"])
    if row["status"] != allowed:
        raise coding("The competency review cannot be changed at this stage.")
    call.think()
    call.db.user_competencies.update(row, call.stamp({"status": status, "reviewerid": reviewer}, new=False))
    return True


@function("core_competency_user_competency_request_review")
def request_review(call: Call, args: Row) -> bool:
    """Ask for somebody's rating to be reviewed."""
    return _review(call, args, IDLE, WAITING, None, create=True)


@function("core_competency_user_competency_cancel_review_request")
def cancel_review(call: Call, args: Row) -> bool:
    """Take the request back."""
    return _review(call, args, WAITING, IDLE, None)


@function("core_competency_user_competency_start_review")
def start_review(call: Call, args: Row) -> bool:
    """Begin a review."""
    return _review(call, args, WAITING, IN_REVIEW, call.user_id)


@function("core_competency_user_competency_stop_review")
def stop_review(call: Call, args: Row) -> bool:
    """End a review."""
    return _review(call, args, IN_REVIEW, IDLE, None)


def user_evidence(call: Call, evidence_id: int) -> Row:
    """Return evidence of prior learning, or raise the refusal for an unknown one."""
    row = call.db.user_evidence.get(evidence_id)
    if row is None:
        raise missing_record("competency_userevidence", "id", evidence_id)
    if row["userid"] != call.user_id:
        call.require("moodle/competency:userevidenceview")
    return row


def export_user_evidence(call: Call, row: Row) -> Row:
    """Return evidence of prior learning as Moodle answers it, but for its competencies."""
    description, form = call.text(row["description"], row["descriptionformat"])
    return {
        "userid": row["userid"],
        "name": call.string(row["name"]),
        "description": description,
        "descriptionformat": form,
        "url": row["url"],
        "id": row["id"],
        "timecreated": row["timecreated"],
        "timemodified": row["timemodified"],
        "usermodified": row["usermodified"],
        "canmanage": call.may("moodle/competency:userevidencemanage"),
    }


def _files(row: Row) -> Row:
    return {
        "filecount": 0,
        "files": [],
        "hasurlorfiles": bool(row["url"]),
        "urlshort": row["url"].split("://", 1)[-1],
    }


@function("core_competency_read_user_evidence")
def read_user_evidence(call: Call, args: Row) -> Row:
    """Answer evidence of prior learning."""
    row = user_evidence(call, args["id"])
    links = call.db.user_evidence_competencies.find("evidence", row["id"])
    subjects = [competencies.export(call, competencies.competency(call, link["competencyid"])) for link in links]
    return {
        **export_user_evidence(call, row),
        "competencycount": len(subjects),
        "competencies": subjects,
        **_files(row),
    }


@function("tool_lp_data_for_user_evidence_page")
def user_evidence_page(call: Call, args: Row) -> Row:
    """Answer what the page of one piece of prior learning shows."""
    row = user_evidence(call, args["id"])
    links = call.db.user_evidence_competencies.find("evidence", row["id"])
    rated = []
    for link in links:
        subject = competencies.competency(call, link["competencyid"])
        rated.append(
            {
                "competency": competencies.export(call, subject),
                "usercompetency": export(call, current(call, row["userid"], subject["id"]), subject),
            }
        )
    return {
        "userevidence": {
            **export_user_evidence(call, row),
            **_files(row),
            "competencycount": len(rated),
            "usercompetencies": rated,
            "userhasplan": call.db.plans.count("user", row["userid"]) > 0,
        },
        "pluginbaseurl": f"{call.wwwroot}/admin/tool/lp",
    }


def _managed_evidence(call: Call, evidence_id: int) -> Row:
    row = user_evidence(call, evidence_id)
    call.require("moodle/competency:userevidencemanage")
    return row


@function("core_competency_delete_user_evidence")
def delete_user_evidence(call: Call, args: Row) -> bool:
    """Delete evidence of prior learning with its links."""
    row = _managed_evidence(call, args["id"])
    call.db.user_evidence_competencies.delete_where("evidence", row["id"])
    call.db.user_evidence.delete(row["id"])
    return True


@function("core_competency_create_user_evidence_competency")
def link_user_evidence(call: Call, args: Row) -> Row:
    """Link evidence of prior learning to a competency."""
    row = _managed_evidence(call, args["userevidenceid"])
    subject = competencies.competency(call, args["competencyid"])
    pair = (row["id"], subject["id"])
    link = call.db.user_evidence_competencies.first("pair", pair)
    if link is None:
        link = call.db.user_evidence_competencies.insert(
            call.stamp({"userevidenceid": pair[0], "competencyid": pair[1]})
        )
        stored(call, row["userid"], subject["id"])
    keys = ("userevidenceid", "competencyid", "id", "timecreated", "timemodified", "usermodified")
    return {key: link[key] for key in keys}


@function("core_competency_delete_user_evidence_competency")
def unlink_user_evidence(call: Call, args: Row) -> bool:
    """Take such a link back."""
    row = _managed_evidence(call, args["userevidenceid"])
    return call.db.user_evidence_competencies.delete_where("pair", (row["id"], args["competencyid"])) > 0


@function("core_competency_request_review_of_user_evidence_linked_competencies")
def review_linked(call: Call, args: Row) -> bool:
    """Ask for a review of every competency a piece of prior learning is linked to."""
    row = _managed_evidence(call, args["id"])
    for link in call.db.user_evidence_competencies.find("evidence", row["id"]):
        rated = stored(call, row["userid"], link["competencyid"])
        if rated["status"] == IDLE:
            call.db.user_competencies.update(rated, call.stamp({"status": WAITING}, new=False))
    return True
