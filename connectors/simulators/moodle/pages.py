"""What the pages of the competency tool ask for.

A competency in its surroundings, plans, templates and courses with figures.
"""

import base64
from typing import Any

from connectors.simulators.moodle import competencies, courselinks, frameworks, plans, rating, templates
from connectors.simulators.moodle.courses import course_context, enter
from connectors.simulators.moodle.people import summary
from connectors.simulators.moodle.site import USER, Call, function
from connectors.simulators.moodle.tables import Row

OUTCOMES = ("Do nothing", "Attach evidence", "Send for review", "Complete the competency")
_PICTURE = base64.b64encode(b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>').decode()


#: Pages come with buttons as HTML; an empty one stands for them.
_BUTTON = '<div class="singlebutton"></div>'


def _base(call: Call) -> str:
    return f"{call.wwwroot}/admin/tool/lp"


def course_summary(call: Call, row: Row) -> Row:
    """Return a course as it stands beside a competency."""
    text, form = call.text(row.get("summary", ""), row.get("summaryformat", 0))
    category = call.db.categories.get(row["category"]) or {}
    name = call.string(row["fullname"])
    return {
        "id": row["id"],
        "fullname": name,
        "shortname": call.string(row["shortname"]),
        "idnumber": row["idnumber"],
        "summary": text,
        "summaryformat": form if "summaryformat" in row else 0,
        "startdate": row.get("startdate", 0),
        "enddate": row.get("enddate", 0),
        "visible": bool(row["visible"]),
        "showactivitydates": False,
        "showcompletionconditions": True if row["id"] != 1 else None,
        "pdfexportfont": "",
        "fullnamedisplay": name,
        "viewurl": f"{call.wwwroot}/course/view.php?id={row['id']}",
        "courseimage": f"data:image/svg+xml;base64,{_PICTURE}",
        "progress": 0,
        "hasprogress": False,
        "isfavourite": False,
        "hidden": False,
        "showshortname": False,
        "coursecategory": call.string(category.get("name", "")),
    }


def _linked_courses(call: Call, competency: int) -> list[Row]:
    links = call.db.course_competencies.find("competency", competency)
    return [call.course(link["courseid"]) for link in links]


def path_of(call: Call, row: Row, context: int) -> Row:
    """Return the way from the framework to a competency."""
    above = [int(part) for part in row["path"].strip("/").split("/") if part != "0"]
    ancestors = [
        {
            "id": identity,
            "name": call.string(competencies.competency(call, identity)["shortname"]),
            "first": place == 1,
            "last": place == len(above),
            "position": place,
        }
        for place, identity in enumerate(above, 1)
    ]
    owner = frameworks.framework(call, row["competencyframeworkid"])
    return {
        "ancestors": ancestors,
        "framework": {
            "id": owner["id"],
            "name": call.string(owner["shortname"]),
            "first": False,
            "last": False,
            "position": -1,
        },
        "pluginbaseurl": _base(call),
        "pagecontextid": context,
        "showlinks": True,
    }


def competency_summary(call: Call, row: Row, with_related: bool, with_courses: bool) -> Row:
    """Return a competency with its framework, scale, way, related competencies and courses."""
    linked = _linked_courses(call, row["id"]) if with_courses else []
    related = competencies.related_to(call, row["id"]) if with_related else []
    scale, configuration = competencies.scale_of(call, row)
    owner = frameworks.framework(call, row["competencyframeworkid"])
    terms = (owner["taxonomies"] or "").split(",")
    level = row["path"].count("/") - 2
    term = terms[level] if level < len(terms) and terms[level] else "competency"
    # Moodle keeps the context of the course it looked at last.
    context = course_context(call, linked[-1]["id"]) if linked else owner["contextid"]
    return {
        "linkedcourses": [course_summary(call, course) for course in linked],
        "relatedcompetencies": [competencies.export(call, other) for other in related],
        "competency": competencies.export(call, row),
        "framework": frameworks.export(call, owner),
        "hascourses": bool(linked),
        "hasrelatedcompetencies": bool(related),
        "scaleid": scale,
        "scaleconfiguration": configuration,
        "taxonomyterm": term.capitalize(),
        "comppath": path_of(call, row, context),
        "pluginbaseurl": _base(call),
    }


@function("tool_lp_data_for_competency_summary")
def data_for_competency_summary(call: Call, args: Row) -> Row:
    """Answer a competency in its surroundings."""
    row = competencies.competency(call, args["competencyid"])
    call.require(frameworks.VIEW)
    return competency_summary(call, row, args["includerelated"], args["includecourses"])


@function("tool_lp_list_courses_using_competency")
def courses_using(call: Call, args: Row) -> list[Row]:
    """Answer the courses a competency is linked to."""
    row = competencies.competency(call, args["id"])
    return [course_summary(call, course) for course in _linked_courses(call, row["id"])]


@function("tool_lp_data_for_related_competencies_section")
def related_section(call: Call, args: Row) -> Row:
    """Answer the competencies related to one."""
    row = competencies.competency(call, args["competencyid"])
    call.require(frameworks.VIEW)
    related = [competencies.export(call, other) for other in competencies.related_to(call, row["id"])]
    return {"relatedcompetencies": related, "showdeleterelatedaction": call.may(frameworks.MANAGE)}


def _user_summary(call: Call, user: Row, subject: Row, key: str, value: Row) -> Row:
    rated = rating.current(call, user["id"], subject["id"])
    evidence = rating.evidence_of(call, rated["id"]) if rated["id"] else []
    answer: Row = {
        "showrelatedcompetencies": True,
        "cangrade": call.may(rating.GRADE),
        "competency": competency_summary(call, subject, with_related=True, with_courses=False),
        "user": summary(call, user),
        key: value,
        "evidence": [rating.export_evidence(call, row, subject) for row in evidence],
    }
    if rated["id"]:
        name = "cid"
        answer["commentarea"] = plans.comment_area(call, "user_competency", rated["id"], user["id"], name)
    return answer


def _rated(call: Call, user: int, subject: Row) -> Row:
    return rating.export(call, rating.current(call, user, subject["id"]), subject)


@function("tool_lp_data_for_user_competency_summary")
def user_competency_summary(call: Call, args: Row) -> Row:
    """Answer somebody's competency with all evidence."""
    user = call.active_user(args["userid"])
    subject = competencies.competency(call, args["competencyid"])
    call.require(rating.VIEW)
    rating.stored(call, user["id"], subject["id"])
    return _user_summary(call, user, subject, "usercompetency", _rated(call, user["id"], subject))


@function("tool_lp_data_for_user_competency_summary_in_plan")
def user_competency_in_plan(call: Call, args: Row) -> Row:
    """Answer somebody's competency as their plan shows it."""
    plan = plans.plan(call, args["planid"])
    user = call.active_user(plan["userid"])
    subject = competencies.competency(call, args["competencyid"])
    plans.require_view(call, user["id"])
    rating.stored(call, user["id"], subject["id"])
    return {
        "usercompetencysummary": _user_summary(
            call, user, subject, "usercompetency", _rated(call, user["id"], subject)
        ),
        "plan": plans.export(call, plan),
    }


def _in_course(call: Call, course: int, user: int, subject: Row) -> Row:
    key = (course, user, subject["id"])
    row = call.db.user_competency_courses.first("exact", key)
    if row is None:
        ids = {"courseid": course, "userid": user, "competencyid": subject["id"], "grade": None, "proficiency": None}
        row = call.db.user_competency_courses.insert(call.stamp(ids))
    keys = (
        "userid",
        "courseid",
        "competencyid",
        "proficiency",
        "grade",
        "id",
        "timecreated",
        "timemodified",
        "usermodified",
    )
    return {
        **{name: row[name] for name in keys},
        "gradename": rating.grade_name(call, subject, row["grade"]),
        "proficiencyname": "Yes" if row["proficiency"] else "No",
    }


def _course_evidence(call: Call, answer: Row, course: int) -> Row:
    """Leave only the evidence of one course, and no comments."""
    context = course_context(call, course)
    mine = [item for item in answer["evidence"] if item["contextid"] == context]
    answer["evidence"] = sorted(mine, key=lambda item: (-item["timecreated"], item["id"]))
    answer.pop("commentarea", None)
    return answer


@function("tool_lp_data_for_user_competency_summary_in_course")
def user_competency_in_course(call: Call, args: Row) -> Row:
    """Answer somebody's competency as a course shows it."""
    course = enter(call, args["courseid"])
    user = call.active_user(args["userid"])
    subject = competencies.competency(call, args["competencyid"])
    value = _in_course(call, course["id"], user["id"], subject)
    shown = _user_summary(call, user, subject, "usercompetencycourse", value)
    with_it = [
        plan for plan in call.db.plans.find("user", user["id"]) if subject["id"] in plans.competency_ids(call, plan)
    ]
    return {
        "usercompetencysummary": _course_evidence(call, shown, course["id"]),
        "course": course_summary(call, course),
        "coursemodules": [],
        "plans": [plans.export(call, plan) for plan in with_it],
        "pluginbaseurl": _base(call),
    }


@function("report_competency_data_for_report")
def report_data(call: Call, args: Row) -> Row:
    """Answer somebody's competencies in a course."""
    course = enter(call, args["courseid"])
    user = call.active_user(args["userid"])
    items = []
    for link in courselinks.links(call, course["id"]):
        subject = competencies.competency(call, link["competencyid"])
        items.append(
            {
                "usercompetencycourse": _in_course(call, course["id"], user["id"], subject),
                "competency": competency_summary(call, subject, with_related=False, with_courses=False),
            }
        )
    settings = call.db.course_settings.first("course", course["id"])
    return {
        "courseid": course["id"],
        "user": summary(call, user),
        "course": course_summary(call, course),
        "usercompetencies": items,
        "pushratingstouserplans": bool(settings and settings["pushratingstouserplans"]),
    }


@function("tool_lp_data_for_plans_page")
def plans_page(call: Call, args: Row) -> Row:
    """Answer somebody's plans."""
    user = call.active_user(args["userid"] or call.user_id)
    plans.require_view(call, user["id"])
    return {
        "userid": user["id"],
        "plans": [plans.export(call, row) for row in call.db.plans.find("user", user["id"])],
        "pluginbaseurl": _base(call),
        "navigation": [_BUTTON],
        "canreaduserevidence": True,
        "canmanageuserplans": call.may(plans.MANAGE),
    }


def _share(part: int, whole: int) -> tuple[Any, str]:
    value = 100 * part / whole if whole else 0
    return (int(value) if float(value).is_integer() else value), f"{value:.1f}" if whole else ""


@function("tool_lp_data_for_plan_page")
def plan_page(call: Call, args: Row) -> Row:
    """Answer a plan with its competencies and how many are proficient."""
    row = plans.plan(call, args["planid"])
    plans.require_view(call, row["userid"])
    items = plans.plan_competencies(call, row)
    for item in items:
        subject = competencies.competency(call, item["competency"]["id"])
        owner = frameworks.framework(call, subject["competencyframeworkid"])
        item["comppath"] = path_of(call, subject, owner["contextid"])
    reached = sum(
        bool((item.get("usercompetency") or item.get("usercompetencyplan") or {}).get("proficiency")) for item in items
    )
    percentage, formatted = _share(reached, len(items))
    return {
        "plan": plans.export(call, row),
        "contextid": call.site.add_context(USER, row["userid"]),
        "pluginbaseurl": _base(call),
        "competencies": items,
        "competencycount": len(items),
        "proficientcompetencycount": reached,
        "proficientcompetencypercentage": percentage,
        "proficientcompetencypercentageformatted": formatted,
    }


@function("tool_lp_data_for_template_competencies_page")
def template_page(call: Call, args: Row) -> Row:
    """Answer a template with its competencies and figures."""
    row = templates.template(call, args["templateid"])
    context = call.context(args["pagecontext"])
    templates.require_view(call)
    subjects = templates.competencies_of(call, row["id"])
    linked = sum(1 for s in subjects if call.db.course_competencies.count("competency", s["id"]))
    made = call.db.plans.find("template", row["id"])
    complete = [plan for plan in made if plan["status"] == plans.COMPLETE]
    kept = [r for plan in complete for r in call.db.user_competency_plans.find("plan", plan["id"])]
    reached = [r for r in kept if r["proficiency"]]
    linked_share, linked_text = _share(linked, len(subjects))
    complete_share, complete_text = _share(len(complete), len(made))
    reached_share, reached_text = _share(len(reached), len(kept))
    return {
        "template": templates.export(call, row),
        "pagecontextid": context["id"],
        "canmanagecompetencyframeworks": call.may(frameworks.MANAGE),
        "canmanagetemplatecompetencies": call.may(templates.MANAGE),
        "competencies": [competency_summary(call, s, with_related=False, with_courses=True) for s in subjects],
        "manageurl": f"{_base(call)}/competencyframeworks.php?pagecontextid={context['id']}",
        "pluginbaseurl": _base(call),
        "statistics": {
            "competencycount": len(subjects),
            "unlinkedcompetencycount": len(subjects) - linked,
            "plancount": len(made),
            "completedplancount": len(complete),
            "usercompetencyplancount": len(kept),
            "proficientusercompetencyplancount": len(reached),
            "linkedcompetencypercentage": linked_share,
            "linkedcompetencypercentageformatted": linked_text,
            "linkedcompetencycount": linked,
            "completedplanpercentage": complete_share,
            "completedplanpercentageformatted": complete_text,
            "proficientusercompetencyplanpercentage": reached_share,
            "proficientusercompetencyplanpercentageformatted": reached_text,
            "leastproficient": [],
            "leastproficientcount": 0,
        },
    }


@function("tool_lp_data_for_course_competencies_page")
def course_page(call: Call, args: Row) -> Row:
    """Answer the competencies of a course with their outcomes and figures."""
    course = enter(call, args["courseid"])
    manage = call.may(courselinks.MANAGE)
    links = courselinks.links(call, course["id"])
    items = []
    for link in links:
        subject = competencies.competency(call, link["competencyid"])
        owner = frameworks.framework(call, subject["competencyframeworkid"])
        items.append(
            {
                "competency": competencies.export(call, subject),
                "coursecompetency": courselinks.export_link(link),
                "coursemodules": [],
                "ruleoutcomeoptions": [
                    {"value": value, "text": name, "selected": value == link["ruleoutcome"]}
                    for value, name in enumerate(OUTCOMES)
                ],
                "comppath": path_of(call, subject, owner["contextid"]),
                "plans": [],
            }
        )
    settings = call.db.course_settings.first("course", course["id"])
    return {
        "courseid": course["id"],
        "pagecontextid": course_context(call, course["id"]),
        "canmanagecompetencyframeworks": call.may(frameworks.MANAGE),
        "canmanagecoursecompetencies": manage,
        "canconfigurecoursecompetencies": call.may("moodle/competency:coursecompetencyconfigure"),
        "cangradecompetencies": call.may(rating.GRADE),
        "settings": _settings(settings, course["id"]),
        "statistics": {
            "competencycount": len(links),
            "proficientcompetencycount": 0,
            "proficientcompetencypercentage": 0,
            "proficientcompetencypercentageformatted": "0.0",
            "leastproficient": [item["competency"] for item in items][:3],
            "leastproficientcount": len(items[:3]),
            "canbegradedincourse": False,
            "canmanagecoursecompetencies": manage,
        },
        "competencies": items,
        "manageurl": f"{_base(call)}/competencyframeworks.php?pagecontextid=1",
        "pluginbaseurl": _base(call),
    }


def _settings(row: Row | None, course: int) -> Row:
    keys = ("courseid", "pushratingstouserplans", "id", "timecreated", "timemodified", "usermodified")
    if row is None:
        return {"courseid": course, "pushratingstouserplans": False} | dict.fromkeys(keys[2:], 0)
    return {key: row[key] for key in keys}


@function("tool_lp_data_for_competencies_manage_page")
def competencies_page(call: Call, args: Row) -> Row:
    """Answer what the page of one framework needs."""
    row = frameworks.framework(call, args["competencyframeworkid"])
    call.require(frameworks.VIEW)
    rules = (
        '[{"name":"All children are complete","type":"core_competency\\\\competency_rule_all",'
        '"amd":"tool_lp\\/competency_rule_all"},'
        '{"name":"Points required are met","type":"core_competency\\\\competency_rule_points",'
        '"amd":"tool_lp\\/competency_rule_points"}]'
    )
    return {
        "framework": frameworks.export(call, row),
        "canmanage": call.may(frameworks.MANAGE),
        "pagecontextid": row["contextid"],
        "search": args["search"] or "",
        "rulesmodules": rules,
        "pluginbaseurl": _base(call),
    }


@function("tool_lp_data_for_competency_frameworks_manage_page")
def frameworks_page(call: Call, args: Row) -> Row:
    """Answer the frameworks of a context; the page's buttons are left out."""
    context = call.context(args["pagecontext"])
    given = {
        "sort": "shortname",
        "order": "ASC",
        "skip": 0,
        "limit": 0,
        "includes": "children",
        "onlyvisible": False,
        "query": "",
        "context": {"contextid": context["id"]},
    }
    return {
        "competencyframeworks": frameworks.list_frameworks(call, given),
        "pluginbaseurl": _base(call),
        "navigation": [_BUTTON],
        "pagecontextid": context["id"],
    }


@function("tool_lp_data_for_templates_manage_page")
def templates_page(call: Call, args: Row) -> Row:
    """Answer the templates of a context; the page's buttons are left out."""
    context = call.context(args["pagecontext"])
    given = {
        "sort": "shortname",
        "order": "ASC",
        "skip": 0,
        "limit": 0,
        "includes": "children",
        "onlyvisible": False,
        "context": {"contextid": context["id"]},
    }
    return {
        "templates": templates.list_templates(call, given),
        "pluginbaseurl": _base(call),
        "navigation": [_BUTTON],
        "pagecontextid": context["id"],
        "canmanage": call.may(templates.MANAGE),
    }


@function("tool_lp_data_for_user_evidence_list_page")
def evidence_list_page(call: Call, args: Row) -> Row:
    """Answer somebody's prior learning; the page's buttons are left out."""
    user = call.active_user(args["userid"] or call.user_id)
    rows = call.db.user_evidence.find("user", user["id"])
    return {
        "canmanage": call.may("moodle/competency:userevidencemanage"),
        "userid": user["id"],
        "pluginbaseurl": _base(call),
        "evidence": [rating.export_user_evidence(call, row) for row in rows],
        "navigation": [_BUTTON],
    }
