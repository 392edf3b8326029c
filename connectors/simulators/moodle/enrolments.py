"""Who is in which course, in which role and group, with which progress and grades.

Observed on Moodle 4.5.6 (`contracts/moodle-4.5`, Encoding): enrolling again without times resets start, end and
suspension.
"""

from connectors.simulators.moodle.courses import course_context, enter, in_order
from connectors.simulators.moodle.errors import database_write, invalid_parameter, plain
from connectors.simulators.moodle.people import course_part, custom_fields, details, fullname
from connectors.simulators.moodle.records import page
from connectors.simulators.moodle.site import COURSE, Call, function
from connectors.simulators.moodle.tables import Row, collate

ROLES = {1, 2, 3, 4, 5, 6, 7, 8}
ASSIGNABLE = {1, 2, 3, 4, 5}


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
    if not call.may("moodle/course:enrolreview"):
        call.require("moodle/course:viewparticipants")
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
