"""Courses, categories, enrolments, roles and groups.

Observed on Moodle 4.5.6 (`contracts/moodle-4.5`, Encoding): enrolling again without times resets start, end
and suspension.
"""

from typing import Any

from connectors.simulators.moodle.errors import (
    MoodleError,
    course_closed,
    database_write,
    invalid_parameter,
    plain,
)
from connectors.simulators.moodle.people import course_part, custom_fields, details, fullname
from connectors.simulators.moodle.records import page, too_long
from connectors.simulators.moodle.site import COURSE, Call, function
from connectors.simulators.moodle.tables import Row, collate

ROLES = {1, 2, 3, 4, 5, 6, 7, 8}
ASSIGNABLE = {1, 2, 3, 4, 5}


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


@function("enrol_manual_enrol_users")
def enrol_users(call: Call, args: Row) -> None:
    """Enrol by hand, all or none; again without times resets start, end and suspension."""
    planned = []
    for given in args["enrolments"]:
        if call.db.courses.get(given["courseid"]) is None or given["courseid"] == 1:
            raise invalid_parameter(f"Course with id {given['courseid']} does not exist or has no manual enrolment")
        enter(call, given["courseid"])
        call.require("enrol/manual:enrol")
        if given["roleid"] not in ASSIGNABLE:
            raise plain(
                "wsusercannotassign",
                f"You don't have the permission to assign this role ({given['roleid']}) "
                f"to this user ({given['userid']}) in this course ({given['courseid']}).",
            )
        call.active_user(given["userid"])
        known = bool(call.db.enrolments.count("pair", (given["courseid"], given["userid"])))
        planned.append((given, known))
    for given, known in planned:
        call.think()
        existing = call.db.enrolments.first("pair", (given["courseid"], given["userid"]))
        if (
            existing is not None
            and not known
            and sum(1 for g, _ in planned if g is given) == 1
            and _raced(planned, given)
        ):
            raise database_write("Duplicate entry for key 'mdl_userenro_enruse_uix'")
        _enrol(call, given, existing)


def _raced(planned: list[tuple[Row, bool]], given: Row) -> bool:
    """Return whether nobody else in the same request could have made the enrolment."""
    same = [g for g, _ in planned if (g["courseid"], g["userid"]) == (given["courseid"], given["userid"])]
    return same[0] is given


def _enrol(call: Call, given: Row, existing: Row | None) -> None:
    now = call.now()
    changes = {
        "status": 1 if given.get("suspend") else 0,
        "timestart": given.get("timestart") or 0,
        "timeend": given.get("timeend") or 0,
        "timemodified": now,
    }
    if existing is None:
        call.db.enrolments.insert(
            {
                "courseid": given["courseid"],
                "userid": given["userid"],
                "timecreated": now,
                "method": "manual",
                **changes,
            }
        )
    else:
        call.db.enrolments.update(existing, changes)
    _assign(call, course_context(call, given["courseid"]), given["userid"], given["roleid"])


def _assign(call: Call, context: int, user: int, role: int) -> None:
    if not call.db.role_assignments.count("exact", (context, user, role)):
        call.db.role_assignments.insert({"contextid": context, "userid": user, "roleid": role})


@function("enrol_manual_unenrol_users")
def unenrol_users(call: Call, args: Row) -> None:
    """Take people out of courses."""
    for given in args["enrolments"]:
        enter(call, given["courseid"])
        call.require("enrol/manual:unenrol")
        call.active_user(given["userid"])
    for given in args["enrolments"]:
        call.think()
        call.db.enrolments.delete_where("pair", (given["courseid"], given["userid"]))
        call.db.role_assignments.delete_where("who", (course_context(call, given["courseid"]), given["userid"]))


@function("core_enrol_unenrol_user_enrolment")
def unenrol_enrolment(call: Call, args: Row) -> Row:
    """Remove one enrolment by its id."""
    row = call.db.enrolments.get(args["ueid"])
    if row is None:
        return {"result": False, "errors": [{"key": "invalidrequest", "message": "Invalid request"}]}
    enter(call, row["courseid"])
    call.require("enrol/manual:unenrol")
    call.db.enrolments.delete(row["id"])
    call.db.role_assignments.delete_where("who", (course_context(call, row["courseid"]), row["userid"]))
    return {"result": True, "errors": []}


@function("core_enrol_get_course_enrolment_methods")
def enrolment_methods(call: Call, args: Row) -> list[Row]:
    """Answer how people may enrol themselves; by hand is not among them."""
    enter(call, args["courseid"])
    return []


def _options(args: Row, known: set[str]) -> dict[str, str]:
    given = {item["name"]: item["value"] or "" for item in args["options"]}
    unknown = set(given) - known
    if unknown:
        raise invalid_parameter(f"Unknown option {sorted(unknown)[0]}")
    return given


@function("core_enrol_get_enrolled_users")
def enrolled_users(call: Call, args: Row) -> list[Row]:
    """Answer the people of a course, in pages and with chosen fields where asked."""
    course = enter(call, args["courseid"])
    options = _options(
        args,
        {
            "withcapability",
            "groupid",
            "onlyactive",
            "onlysuspended",
            "userfields",
            "limitfrom",
            "limitnumber",
            "sortby",
            "sortdirection",
        },
    )
    wanted = [name for name in options.get("userfields", "").split(",") if name]
    enrolments = call.db.enrolments.find("course", course["id"])
    if options.get("onlyactive") == "1":
        enrolments = [e for e in enrolments if e["status"] == 0]
    if options.get("onlysuspended") == "1":
        enrolments = [e for e in enrolments if e["status"] == 1]
    users = {e["userid"]: call.db.users.get(e["userid"]) for e in enrolments}
    rows = [user for user in users.values() if user is not None and not user["deleted"]]
    sort = options.get("sortby", "id")
    if sort not in ("id", "firstname", "lastname", "siteorder"):
        raise invalid_parameter("Invalid value for sortby parameter")
    keys = ("lastname", "firstname") if sort == "siteorder" else (sort,)
    rows.sort(key=lambda u: tuple(collate(str(u[k])) if k != "id" else u["id"] for k in keys))
    if options.get("sortdirection", "ASC").upper() == "DESC":
        rows.reverse()
    rows = page(rows, int(options.get("limitfrom") or 0), int(options.get("limitnumber") or 0))
    return [_enrolled(call, user, course, wanted) for user in rows]


def _enrolled(call: Call, user: Row, course: Row, wanted: list[str]) -> Row:
    if not wanted:
        answer = details(call, user)
        for key in (
            "auth",
            "suspended",
            "confirmed",
            "theme",
            "timezone",
            "mailformat",
            "trackforums",
            "lang",
        ):
            answer.pop(key, None)
        answer["lastcourseaccess"] = 0
        for item in answer.get("customfields", []):
            item.pop("displayvalue", None)
        return {**answer, **course_part(call, user, course)}
    full = details(call, user)
    answer = {"id": user["id"]}
    for name in (
        "username",
        "firstname",
        "lastname",
        "fullname",
        "email",
        "department",
        "institution",
        "idnumber",
        "phone1",
        "phone2",
        "address",
        "city",
        "country",
        "firstaccess",
        "lastaccess",
        "suspended",
    ):
        if (name in wanted or name == "fullname") and name in full:
            answer[name] = full[name]
    if "customfields" in wanted:
        fields = custom_fields(call, user, display=False)
        if fields:
            answer["customfields"] = fields
    part = course_part(call, user, course)
    answer |= {name: part[name] for name in ("roles", "enrolledcourses") if name in wanted}
    return answer


@function("core_enrol_get_users_courses")
def users_courses(call: Call, args: Row) -> list[Row]:
    """Answer the courses of one person with completion and progress, but no completion time."""
    user = call.db.users.get(args["userid"])
    if user is None or user["deleted"]:
        return []
    if user["id"] != call.user_id and not call.may("moodle/course:view"):
        return []
    courses = {e["courseid"] for e in call.db.enrolments.find("user", user["id"]) if e["status"] == 0}
    return [
        _own_course(call, user, row, args["returnusercount"]) for row in in_order([call.course(c) for c in courses])
    ]


def _own_course(call: Call, user: Row, row: Row, count: bool) -> Row:
    context = course_context(call, row["id"])
    summary, form = call.text(row.get("summary", ""), row.get("summaryformat", 1))
    completion = call.db.completions.first("pair", (row["id"], user["id"]))
    completed = bool(completion and completion["timecompleted"])
    tracked = bool(row.get("enablecompletion"))
    criteria = call.db.criteria.count("course", row["id"]) > 0
    answer: Row = {
        "id": row["id"],
        "shortname": call.string(row["shortname"]),
        "fullname": call.string(row["fullname"]),
        "displayname": call.string(row["fullname"]),
    }
    if count:
        answer["enrolledusercount"] = len({e["userid"] for e in call.db.enrolments.find("course", row["id"])})
    answer |= {
        "idnumber": row["idnumber"],
        "visible": row["visible"],
        "summary": summary,
        "summaryformat": form,
        "format": row.get("format", "topics"),
        "courseimage": f"{call.wwwroot}/pluginfile.php/{context}/course/generated/course.svg",
        "showgrades": bool(row.get("showgrades", 1)),
        "lang": row.get("lang", ""),
        "enablecompletion": tracked,
        "completionhascriteria": criteria,
        "completionusertracked": tracked,
        "category": row["category"],
        "progress": progress(call, row, user["id"], completed) if tracked else None,
        "completed": completed if tracked else None,
        "startdate": row.get("startdate", 0),
        "enddate": row.get("enddate", 0),
        "marker": row.get("marker", 0),
        "lastaccess": None,
        "isfavourite": False,
        "hidden": False,
        "overviewfiles": [],
        "showactivitydates": False,
        "showcompletionconditions": True,
        "timemodified": row.get("timemodified", 0),
    }
    return answer


def progress(call: Call, course: Row, user: int, completed: bool) -> float | int | None:
    """Return the percentage of a course's tracked activities somebody has done; a completed course is 100."""
    if completed:
        return 100
    modules = [m for m in call.db.modules.find("course", course["id"]) if m["completion"]]
    if not modules:
        return None
    done = 0
    for module in modules:
        state = call.db.module_completions.first("pair", (module["id"], user))
        done += bool(state and state["completionstate"])
    share = 100 * done / len(modules)
    return int(share) if share.is_integer() else share


@function("core_role_assign_roles")
def assign_roles(call: Call, args: Row) -> None:
    """Give roles; only those assignable in the context."""
    for given in args["assignments"]:
        context = call.context(given)
        call.require("moodle/role:assign")
        if given["roleid"] not in ASSIGNABLE or (given["roleid"] in (4, 5) and context["level"] != COURSE):
            raise invalid_parameter(f"Can not assign roleid={given['roleid']} in contextid={context['id']}")
        call.active_user(given["userid"])
    for given in args["assignments"]:
        call.think()
        _assign(call, call.context(given)["id"], given["userid"], given["roleid"])


@function("core_role_unassign_roles")
def unassign_roles(call: Call, args: Row) -> None:
    """Take roles back."""
    for given in args["unassignments"]:
        context = call.context(given)
        call.require("moodle/role:assign")
        if given["roleid"] not in ROLES:
            raise invalid_parameter(f"Can not unassign roleid={given['roleid']} in contextid={context['id']}")
        call.think()
        call.db.role_assignments.delete_where("exact", (context["id"], given["userid"], given["roleid"]))


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


@function("gradereport_overview_get_course_grades")
def course_grades(call: Call, args: Row) -> Row:
    """Answer somebody's course grades; nothing is graded here."""
    user = call.active_user(args["userid"] or call.user_id)
    courses = {e["courseid"] for e in call.db.enrolments.find("user", user["id"]) if e["status"] == 0}
    rows = in_order([call.course(c) for c in courses])
    return {
        "grades": [{"courseid": row["id"], "grade": "-", "rawgrade": None} for row in rows],
        "warnings": [],
    }


@function("gradereport_user_get_grade_items")
def grade_items(call: Call, args: Row) -> Row:
    """Answer the grade items of somebody in a course: the course's own, ungraded."""
    course = enter(call, args["courseid"])
    user = call.active_user(args["userid"])
    item: Row = {
        "id": course["id"] - 1,
        "itemname": None,
        "itemtype": "course",
        "itemmodule": None,
        "iteminstance": course["id"] - 1,
    }
    item |= dict.fromkeys(("itemnumber", "idnumber", "categoryid", "outcomeid", "scaleid"))
    item["locked"] = False
    item |= dict.fromkeys(("graderaw", "gradedatesubmitted", "gradedategraded"))
    item |= dict.fromkeys(
        ("gradehiddenbydate", "gradeneedsupdate", "gradeishidden", "gradeislocked", "gradeisoverridden"),
        False,
    )
    item |= {
        "gradeformatted": "-",
        "grademin": 0,
        "grademax": 0,
        "rangeformatted": "0&ndash;0",
        "percentageformatted": "-",
        "feedback": "",
        "feedbackformat": 0,
    }
    return {
        "usergrades": [
            {
                "courseid": course["id"],
                "courseidnumber": course["idnumber"],
                "userid": user["id"],
                "userfullname": fullname(user),
                "useridnumber": user["idnumber"],
                "maxdepth": 2,
                "gradeitems": [item],
            }
        ],
        "warnings": [],
    }
