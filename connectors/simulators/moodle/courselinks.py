"""Competencies linked to courses, and what their completion does."""

from connectors.simulators.moodle import competencies, frameworks
from connectors.simulators.moodle.errors import INVALID_DATA, coding, invalid_module, invalid_persistent, missing_record
from connectors.simulators.moodle.records import by_place, move, next_place
from connectors.simulators.moodle.site import Call, function
from connectors.simulators.moodle.tables import Row

MANAGE = "moodle/competency:coursecompetencymanage"
EVIDENCE = 1


def links(call: Call, course: int) -> list[Row]:
    """Return the competency links of a course in their order."""
    return by_place(call.db.course_competencies.find("course", course))


def export_link(row: Row) -> Row:
    """Return one link as Moodle answers it."""
    keys = ("courseid", "competencyid", "sortorder", "ruleoutcome", "id", "timecreated", "timemodified", "usermodified")
    return {key: row[key] for key in keys}


@function("core_competency_add_competency_to_course")
def add_to_course(call: Call, args: Row) -> bool:
    """Link a competency to a course; answer whether the link is new."""
    course = call.course(args["courseid"])
    call.require(MANAGE)
    row = competencies.competency(call, args["competencyid"])
    if not frameworks.framework(call, row["competencyframeworkid"])["visible"]:
        raise coding("A competency belonging to hidden framework can not be linked to course")
    pair = (course["id"], row["id"])
    if call.db.course_competencies.count("pair", pair):
        return False
    place = next_place(call.db.course_competencies, "course", course["id"])
    call.think()
    call.db.course_competencies.insert(
        call.stamp({"courseid": pair[0], "competencyid": pair[1], "sortorder": place, "ruleoutcome": EVIDENCE})
    )
    return True


@function("core_competency_remove_competency_from_course")
def remove_from_course(call: Call, args: Row) -> bool:
    """Take a link back; answer whether there was one."""
    course = call.course(args["courseid"])
    call.require(MANAGE)
    call.think()
    return call.db.course_competencies.delete_where("pair", (course["id"], args["competencyid"])) > 0


@function("core_competency_list_course_competencies")
def list_in_course(call: Call, args: Row) -> list[Row]:
    """Answer the competencies of a course with their links."""
    course = call.course(args["id"])
    call.require("moodle/competency:coursecompetencyview")
    return [
        {
            "competency": competencies.export(call, competencies.competency(call, link["competencyid"])),
            "coursecompetency": export_link(link),
        }
        for link in links(call, course["id"])
    ]


@function("core_competency_count_competencies_in_course")
def count_in_course(call: Call, args: Row) -> int:
    """Answer how many competencies a course has."""
    return call.db.course_competencies.count("course", call.course(args["id"])["id"])


@function("core_competency_count_courses_using_competency")
def count_courses(call: Call, args: Row) -> int:
    """Answer how many courses a competency is linked to."""
    return call.db.course_competencies.count("competency", competencies.competency(call, args["id"])["id"])


@function("core_competency_set_course_competency_ruleoutcome")
def set_outcome(call: Call, args: Row) -> bool:
    """Set what completing the course does: 0 nothing, 1 evidence, 2 review, 3 complete the competency."""
    row = call.db.course_competencies.get(args["coursecompetencyid"])
    if row is None:
        raise missing_record("competency_coursecomp", "id", args["coursecompetencyid"])
    call.require(MANAGE)
    if args["ruleoutcome"] not in (0, 1, 2, 3):
        raise invalid_persistent(INVALID_DATA)
    call.think()
    call.db.course_competencies.update(row, call.stamp({"ruleoutcome": args["ruleoutcome"]}, new=False))
    return True


@function("core_competency_reorder_course_competency")
def reorder_in_course(call: Call, args: Row) -> bool:
    """Put a competency where another of the course stands."""
    course = call.course(args["courseid"])
    call.require(MANAGE)
    table = call.db.course_competencies
    first = table.first("pair", (course["id"], args["competencyidfrom"]))
    second = table.first("pair", (course["id"], args["competencyidto"]))
    if first is None or second is None:
        raise coding("The competency does not belong to this course")
    move(table, table.find("course", course["id"]), first, second)
    return True


@function("core_competency_update_course_competency_settings")
def update_settings(call: Call, args: Row) -> bool:
    """Set whether ratings in a course reach people's plans."""
    course = call.course(args["courseid"])
    call.require("moodle/competency:coursecompetencyconfigure")
    value = args["settings"]["pushratingstouserplans"]
    row = call.db.course_settings.first("course", course["id"])
    if row is None:
        call.db.course_settings.insert(call.stamp({"courseid": course["id"], "pushratingstouserplans": value}))
    else:
        call.db.course_settings.update(row, call.stamp({"pushratingstouserplans": value}, new=False))
    return True


def _module(call: Call, module: int) -> None:
    if call.db.modules.get(module) is None:
        raise invalid_module()


@function("core_competency_list_course_module_competencies")
def list_in_module(call: Call, args: Row) -> list[Row]:
    """Answer the competencies of an activity; they cannot be set by web service, and none are here."""
    _module(call, args["cmid"])
    return []


@function("core_competency_count_course_module_competencies")
def count_in_module(call: Call, args: Row) -> int:
    """Answer how many competencies an activity has."""
    _module(call, args["cmid"])
    return 0
