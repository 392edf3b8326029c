"""Courses and their categories."""

from typing import Any

from connectors.simulators.moodle.errors import (
    MoodleError,
    course_closed,
    invalid_parameter,
    plain,
)
from connectors.simulators.moodle.records import too_long
from connectors.simulators.moodle.site import COURSE, COURSECAT, Call, function
from connectors.simulators.moodle.tables import Row, collate


def enter(call: Call, course_id: int) -> Row:
    """Return a course the account may enter, or raise the refusal."""
    course = call.course(course_id)
    if not call.may("moodle/course:view") and not call.site.is_enrolled(course_id, call.user_id, active=True):
        raise course_closed()
    return course


def course_context(call: Call, course: int) -> int:
    """Return the id of a course's context."""
    return call.site.add_context(COURSE, course)


def in_order(rows: list[Row]) -> list[Row]:
    """Return courses in the site's order."""
    return sorted(rows, key=lambda c: (c.get("sortorder", 0), c["id"]))


@function("core_course_get_courses")
def get_courses(call: Call, args: Row) -> list[Row]:
    """Answer courses by id, or all of them; one the account may not enter fails the whole call."""
    ids = args["options"].get("ids") if isinstance(args["options"], dict) else None
    if ids:
        rows = [row for row in (call.db.courses.get(i) for i in ids) if row]
    else:
        rows = sorted(call.db.courses, key=lambda c: c["id"])
    answer = []
    for row in rows:
        try:
            if row["id"] != 1:
                enter(call, row["id"])
        except MoodleError as error:
            raise plain(
                "errorcoursecontextnotvalid",
                f"You cannot execute functions in the course context (course id:{row['id']}). "
                f"The context error message was: {error.message}",
            ) from None
        answer.append(_course(call, row))
    return answer


def _course(call: Call, row: Row) -> Row:
    summary, form = call.text(row.get("summary", ""), row.get("summaryformat", 1))
    return {
        "id": row["id"],
        "shortname": call.string(row["shortname"]),
        "categoryid": row["category"],
        "categorysortorder": row.get("sortorder", 1),
        "fullname": call.string(row["fullname"]),
        "displayname": call.string(row["fullname"]),
        "idnumber": row["idnumber"],
        "summary": summary,
        "summaryformat": form,
        "format": row.get("format", "site"),
        "showgrades": row.get("showgrades", 1),
        "newsitems": row.get("newsitems", 3),
        "startdate": row.get("startdate", 0),
        "enddate": row.get("enddate", 0),
        "numsections": row.get("numsections", 1),
        "maxbytes": 0,
        "showreports": 0,
        "visible": row["visible"],
        "hiddensections": 1,
        "groupmode": 0,
        "groupmodeforce": 0,
        "defaultgroupingid": 0,
        "timecreated": row.get("timecreated", 0),
        "timemodified": row.get("timemodified", 0),
        "enablecompletion": row.get("enablecompletion", 0),
        "completionnotify": 0,
        "lang": row.get("lang", ""),
        "forcetheme": "",
        "courseformatoptions": [
            {"name": "hiddensections", "value": 1},
            {"name": "coursedisplay", "value": 0},
        ],
        "showactivitydates": False,
        "showcompletionconditions": True,
    }


_FILTERS = ("displayh5p", "activitynames", "mathjaxloader", "emoticon", "urltolink", "mediaplugin")


@function("core_course_get_courses_by_field")
def courses_by_field(call: Call, args: Row) -> Row:
    """Answer courses by id, ids, short name, id number or category."""
    field, value = args["field"], args["value"] or ""
    table = call.db.courses
    if not field:
        rows = [row for row in table if row["id"] != 1] + [row for row in table if row["id"] == 1]
        rows = in_order(rows)
    elif field in ("id", "ids"):
        rows = [row for row in (table.get(int(i)) for i in value.split(",") if i.strip().isdigit()) if row]
    elif field in ("shortname", "idnumber"):
        rows = table.find(field, collate(value)) if value else []
    elif field == "category":
        rows = in_order([row for row in table if str(row["category"]) == value])
    else:
        raise invalid_parameter("Invalid field name")
    rows = [
        r
        for r in rows
        if call.may("moodle/course:view") or r["visible"] or call.site.is_enrolled(r["id"], call.user_id)
    ]
    return {"courses": [_public_course(call, row) for row in rows], "warnings": []}


def _public_course(call: Call, row: Row) -> Row:
    context = course_context(call, row["id"])
    plain_course = _course(call, row)
    category = call.db.categories.get(row["category"]) or {}
    answer: Row = {
        "id": row["id"],
        "fullname": plain_course["fullname"],
        "displayname": plain_course["displayname"],
        "shortname": plain_course["shortname"],
        "courseimage": f"{call.wwwroot}/pluginfile.php/{context}/course/generated/course.svg",
        "categoryid": row["category"],
        "categoryname": call.string(category.get("name", "")),
        "sortorder": row.get("sortorder", 1),
        "summary": plain_course["summary"],
        "summaryformat": plain_course["summaryformat"],
        "summaryfiles": [],
        "overviewfiles": [],
        "showactivitydates": False,
        "showcompletionconditions": True,
        "contacts": [],
        "enrollmentmethods": ["manual"],
    }
    for key in (
        "idnumber",
        "format",
        "showgrades",
        "newsitems",
        "startdate",
        "enddate",
        "maxbytes",
        "showreports",
        "visible",
        "groupmode",
        "groupmodeforce",
        "defaultgroupingid",
        "enablecompletion",
        "completionnotify",
        "lang",
    ):
        answer[key] = plain_course[key]
    answer |= {
        "theme": "",
        "marker": row.get("marker", 0),
        "legacyfiles": 0,
        "calendartype": "",
        "timecreated": plain_course["timecreated"],
        "timemodified": plain_course["timemodified"],
        "requested": 0,
        "cacherev": row.get("cacherev", plain_course["timemodified"]),
        "filters": [{"filter": name, "localstate": 0, "inheritedstate": 1} for name in _FILTERS],
        "courseformatoptions": [
            {"name": "hiddensections", "value": 1},
            {"name": "coursedisplay", "value": 0},
            {"name": "indentation", "value": "1"},
        ],
    }
    return answer


@function("core_course_get_categories")
def get_categories(call: Call, args: Row) -> list[Row]:
    """Answer course categories that meet all criteria."""
    rows = sorted(call.db.categories, key=lambda c: c["sortorder"])
    for item in args["criteria"]:
        key, value = item["key"], item["value"] or ""
        if key == "ids":
            rows = [row for row in rows if str(row["id"]) in value.split(",")]
        elif key in ("id", "parent", "name", "idnumber", "visible"):
            rows = [row for row in rows if collate(str(row.get(key, 1))) == collate(value)]
        else:
            raise plain("criteriaerror", f"Missing permissions to search on a criterion: {key}")
    return [
        {
            "id": row["id"],
            "name": call.string(row["name"]),
            "idnumber": row["idnumber"],
            "description": "",
            "descriptionformat": 0,
            "parent": row["parent"],
            "sortorder": row["sortorder"],
            "coursecount": sum(1 for c in call.db.courses if c["category"] == row["id"]),
            "visible": 1,
            "visibleold": 1,
            "timemodified": row.get("timemodified", 0),
            "depth": 1,
            "path": f"/{row['id']}",
            "theme": "",
        }
        for row in rows
    ]


@function("core_course_create_courses")
def create_courses(call: Call, args: Row) -> list[Row]:
    """Create courses, with manual enrolment open."""
    call.require("moodle/course:create")
    answer = []
    for given in args["courses"]:
        if call.db.categories.get(given["categoryid"]) is None:
            raise invalid_parameter("Unknown category")
        if call.db.courses.find("shortname", collate(given["shortname"])):
            raise plain("shortnametaken", f"Short name is already used for another course ({given['shortname']})")
        if given.get("idnumber") and call.db.courses.find("idnumber", collate(given["idnumber"])):
            raise plain("courseidnumbertaken", f"ID number is already used for another course ({given['idnumber']})")
        call.think()
        now = call.now()
        row: Row = {
            "shortname": given["shortname"],
            "fullname": given["fullname"],
            "category": given["categoryid"],
            "idnumber": given.get("idnumber") or "",
            "summary": given.get("summary") or "",
            "summaryformat": 1,
            "format": given["format"],
            "visible": given.get("visible", 1),
            "startdate": given.get("startdate") or now,
            "enddate": given.get("enddate") or 0,
            "enablecompletion": given.get("enablecompletion") or 0,
            "lang": "",
            "newsitems": given["newsitems"],
            "showgrades": given["showgrades"],
            "timecreated": now,
            "timemodified": now,
            "sortorder": given["categoryid"] * 10000,
        }
        too_long(row, shortname=255, fullname=254, idnumber=100)
        row = call.db.courses.insert(row)
        course_context(call, row["id"])
        answer.append({"id": row["id"], "shortname": row["shortname"]})
    return answer


@function("core_course_update_courses")
def update_courses(call: Call, args: Row) -> Row:
    """Change courses one by one; what fails becomes a warning."""
    warnings = []
    for given in args["courses"]:
        try:
            row = enter(call, given["id"])
            call.require("moodle/course:update")
            changes: dict[str, Any] = {k: v for k, v in given.items() if k in row and v is not None and k != "id"}
            for key, code in (("shortname", "shortnametaken"), ("idnumber", "courseidnumbertaken")):
                twins = call.db.courses.find(key, collate(changes[key])) if changes.get(key) else []
                if any(twin["id"] != row["id"] for twin in twins):
                    raise plain(code, f"Already used for another course ({changes[key]})")
            call.think()
            call.db.courses.update(row, {**changes, "timemodified": call.now()})
        except MoodleError as error:
            warnings.append(
                {
                    "item": "course",
                    "itemid": given["id"],
                    "warningcode": error.errorcode,
                    "message": error.message,
                }
            )
    return {"warnings": warnings}


@function("core_course_delete_courses")
def delete_courses(call: Call, args: Row) -> Row:
    """Delete courses with everything in them; what fails becomes a warning."""
    warnings = []
    for identity in args["courseids"]:
        row = call.db.courses.get(identity)
        if row is None or identity == 1:
            warnings.append(
                {
                    "item": "course",
                    "itemid": identity,
                    "warningcode": "unknowncourseidnumber",
                    "message": f"Unknown course ID {identity}",
                }
            )
            continue
        call.require("moodle/course:delete")
        call.think()
        db = call.db
        for table in (db.enrolments, db.criteria, db.modules, db.groups, db.course_competencies, db.course_settings):
            table.delete_where("course", identity)
        for completion in [c for c in db.completions if c["course"] == identity]:
            db.completions.delete(completion["id"])
        db.courses.delete(identity)
    return {"warnings": warnings}


@function("core_course_search_courses")
def search_courses(call: Call, args: Row) -> Row:
    """Answer courses whose names, id number or summary contain a text."""
    if args["criterianame"] != "search":
        raise invalid_parameter(f"Invalid criteria name: {args['criterianame']}")
    needle = collate(args["criteriavalue"] or "")
    fields = ("fullname", "shortname", "idnumber", "summary")
    rows = in_order(
        [r for r in call.db.courses if r["id"] != 1 and any(needle in collate(r.get(f, "")) for f in fields)]
    )
    if args["limittoenrolled"]:
        rows = [row for row in rows if call.site.is_enrolled(row["id"], call.user_id)]
    if args["onlywithcompletion"]:
        rows = [row for row in rows if row.get("enablecompletion")]
    size = args["perpage"]
    shown = rows[args["page"] * size :][:size] if size else rows
    told = {
        *("id", "fullname", "displayname", "shortname", "courseimage", "categoryid", "categoryname", "sortorder"),
        *("summary", "summaryformat", "summaryfiles", "overviewfiles", "showactivitydates"),
        *("showcompletionconditions", "contacts", "enrollmentmethods"),
    }
    courses = [{k: v for k, v in _public_course(call, row).items() if k in told} for row in shown]
    return {"total": len(rows), "courses": courses, "warnings": []}


@function("core_course_create_categories")
def create_categories(call: Call, args: Row) -> list[Row]:
    """Create course categories; an id number is taken once."""
    call.require("moodle/category:manage")
    answer = []
    for given in args["categories"]:
        if given["parent"] and call.db.categories.get(given["parent"]) is None:
            raise plain("unknowncategory", "Unknown category!")
        idnumber = given.get("idnumber") or ""
        if idnumber and call.db.categories.find("idnumber", collate(idnumber)):
            raise plain("categoryidnumbertaken", "ID number is already used for another category")
        call.think()
        number = call.db.categories.next_id
        row = call.db.categories.insert(
            {"name": given["name"], "idnumber": idnumber, "parent": given["parent"], "sortorder": number * 10000,
             "timemodified": call.now()}
        )  # fmt: skip
        call.site.add_context(COURSECAT, row["id"])
        answer.append({"id": row["id"], "name": row["name"]})
    return answer
