"""Calls that only record that somebody looked at something, and small settings of one's own."""

from connectors.simulators.moodle import competencies, plans, rating
from connectors.simulators.moodle.courses import enter
from connectors.simulators.moodle.errors import missing_record, no_permission
from connectors.simulators.moodle.reports import readable_report
from connectors.simulators.moodle.site import Call, function
from connectors.simulators.moodle.tables import Row

_SEEN: Row = {"status": True, "warnings": []}


@function("core_reportbuilder_view_report")
def view_report(call: Call, args: Row) -> Row:
    """Record that somebody looked at a report."""
    readable_report(call, args["reportid"])
    return dict(_SEEN)


@function("core_user_view_user_profile")
def view_profile(call: Call, args: Row) -> Row:
    """Record that somebody looked at a profile."""
    call.active_user(args["userid"] or call.user_id)
    return dict(_SEEN)


@function("core_user_view_user_list")
def view_user_list(call: Call, args: Row) -> Row:
    """Record that somebody looked at the people of a course."""
    enter(call, args["courseid"])
    return dict(_SEEN)


@function("core_competency_user_competency_viewed")
def user_competency_viewed(call: Call, args: Row) -> bool:
    """Record that somebody looked at a person's competency."""
    if call.db.user_competencies.get(args["usercompetencyid"]) is None:
        raise missing_record("competency_usercomp", "id", args["usercompetencyid"])
    call.require(rating.VIEW)
    return True


@function("core_competency_user_competency_viewed_in_plan")
def viewed_in_plan(call: Call, args: Row) -> bool:
    """Record that somebody looked at a person's competency in a plan."""
    row = plans.plan(call, args["planid"])
    plans.require_view(call, row["userid"])
    competencies.competency(call, args["competencyid"])
    return True


@function("core_competency_user_competency_plan_viewed")
def plan_viewed(call: Call, args: Row) -> bool:
    """Record that somebody looked at a competency of a completed plan."""
    return viewed_in_plan(call, args) is True


@function("core_competency_user_competency_viewed_in_course")
def viewed_in_course(call: Call, args: Row) -> bool:
    """Record that somebody looked at a person's competency in a course."""
    enter(call, args["courseid"])
    competencies.competency(call, args["competencyid"])
    call.active_user(args["userid"])
    return True


@function("core_user_set_user_preferences")
def set_preferences(call: Call, args: Row) -> Row:
    """Take one's own preferences (they are not kept); those of others need the right to configure the site."""
    saved = []
    for given in args["preferences"]:
        user = given["userid"] or call.user_id
        if user != call.user_id and not call.may("moodle/site:config"):
            raise no_permission("moodle/site:config")
        saved.append({"name": given["name"], "userid": user})
    return {"saved": saved, "warnings": []}


@function("tool_mobile_get_plugins_supporting_mobile")
def mobile_plugins(call: Call, args: Row) -> Row:
    """Answer the plugins made for the mobile app; there are none."""
    del call, args
    return {"plugins": [], "warnings": []}
