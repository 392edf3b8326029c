"""What the simulator answers has the shape that each function of a Moodle 4.5 declares, also off the recorded path."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from connectors.simulators.moodle import MoodleSimulator

DECLARED = Path(__file__).parent / "data" / "moodle-4.5-returns.json.gz"
SCALE = '[{"scaleid":"2"},{"id":1,"scaledefault":1,"proficient":0},{"id":2,"scaledefault":0,"proficient":1}]'
RULE_ALL = "core_competency\\competency_rule_all"


def faults_of(declared: Any, value: Any, path: str = "") -> list[str]:
    """Return where a value departs from a declaration."""
    if declared is None:
        return [] if value is None else [f"{path}: nothing was declared"]
    if value is None:
        return [] if declared.get("null_allowed", True) else [f"{path}: null"]
    kind = declared["kind"]
    if kind == "value":
        return _scalar_faults(declared["type"], value, path)
    if kind == "list":
        if not isinstance(value, list):
            return [f"{path}: no list"]
        return [f for n, item in enumerate(value) for f in faults_of(declared["items"], item, f"{path}[{n}]")]
    if not isinstance(value, dict):
        return [f"{path}: no structure"]
    keys = declared["keys"]
    found = [f"{path}/{key}: not declared" for key in value if key not in keys]
    for key, part in keys.items():
        if key in value:
            found += faults_of(part, value[key], f"{path}/{key}")
        elif part.get("presence") == "required":
            found.append(f"{path}/{key}: missing")
    return found


def _scalar_faults(kind: str, value: Any, path: str) -> list[str]:
    if isinstance(value, dict | list):
        return [f"{path}: no scalar"]
    if kind == "int" and (isinstance(value, bool) or not isinstance(value, int | float)):
        return [f"{path}: {value!r} is no number"]
    if kind == "bool" and not isinstance(value, bool):
        return [f"{path}: {value!r} is no boolean"]
    return []


class Caller:
    """Calls functions and holds every answer to its declaration."""

    def __init__(self, moodle: MoodleSimulator) -> None:
        self.moodle = moodle
        self.session = requests.Session()
        self.declared = json.loads(gzip.decompress(DECLARED.read_bytes()))
        self.called: set[str] = set()

    def __call__(self, function: str, **form: Any) -> Any:
        """Call a function, which must succeed, and return its answer."""
        base = {"wstoken": self.moodle.token, "wsfunction": function, "moodlewsrestformat": "json"}
        url = self.moodle.url + "/webservice/rest/server.php"
        answer = self.session.post(url, data={**base, **form}, timeout=20).json()
        assert not (isinstance(answer, dict) and "exception" in answer), f"{function}: {answer}"
        assert not faults_of(self.declared[function], answer), function
        self.called.add(function)
        return answer


@pytest.fixture(scope="module")
def call() -> Iterator[Caller]:
    """Give the reference site with a framework, a template, a plan and reports."""
    with MoodleSimulator() as moodle:
        moodle.seed.reference_site()
        caller = Caller(moodle)
        yield caller
        caller.session.close()


def _framework(call: Caller, idnumber: str) -> int:
    given = {"shortname": idnumber, "idnumber": idnumber, "scaleid": 2, "contextid": 1, "scaleconfiguration": SCALE}
    form = {f"competencyframework[{key}]": value for key, value in given.items()}
    return int(call("core_competency_create_competency_framework", **form)["id"])


def _competency(call: Caller, framework: int, idnumber: str, parent: int = 0) -> int:
    given = {"shortname": idnumber, "idnumber": idnumber, "competencyframeworkid": framework, "parentid": parent}
    return int(call("core_competency_create_competency", **{f"competency[{k}]": v for k, v in given.items()})["id"])


def test_the_life_of_a_plan(call: Caller) -> None:
    """From draft through review, ratings and completion to being reopened."""
    framework = _framework(call, "PLAN")
    top = _competency(call, framework, "top")
    child = _competency(call, framework, "child", top)
    rule = {"competency[id]": top, "competency[ruletype]": RULE_ALL, "competency[ruleoutcome]": 3}
    call("core_competency_update_competency", **rule)
    plan = call("core_competency_create_plan", **{"plan[name]": "P", "plan[userid]": 7})["id"]
    for identity in (top, child):
        call("core_competency_add_competency_to_plan", planid=plan, competencyid=identity)
    for step in ("plan_request_review", "plan_start_review", "plan_stop_review", "approve_plan", "read_plan"):
        call(f"core_competency_{step}", id=plan)
    call("core_competency_grade_competency", userid=7, competencyid=child, grade=2, note="seen")
    listed = call("core_competency_list_plan_competencies", id=plan)
    assert [item["usercompetency"]["gradename"] for item in listed] == ["Competent", "Competent"]
    call("core_competency_grade_competency_in_plan", planid=plan, competencyid=child, grade=1)
    call("tool_lp_data_for_user_competency_summary", userid=7, competencyid=child)
    call("tool_lp_data_for_user_competency_summary_in_plan", planid=plan, competencyid=child)
    call("core_competency_complete_plan", planid=plan)
    kept = call("core_competency_list_plan_competencies", id=plan)
    assert [item["usercompetencyplan"]["gradename"] for item in kept] == ["Competent", "Not yet competent"]
    call("tool_lp_data_for_plan_page", planid=plan)
    call("tool_lp_data_for_plans_page", userid=7)
    call("core_competency_reopen_plan", planid=plan)
    call("core_competency_list_user_plans", userid=7)


def test_templates_courses_and_pages(call: Caller) -> None:
    """Links to courses and templates, and the pages that show them."""
    framework = _framework(call, "LINKS")
    one, other = _competency(call, framework, "one"), _competency(call, framework, "other")
    call("core_competency_add_competency_to_course", courseid=2, competencyid=one)
    call("core_competency_list_course_competencies", id=2)
    call("core_competency_add_related_competency", competencyid=one, relatedcompetencyid=other)
    call("tool_lp_data_for_related_competencies_section", competencyid=other)
    template = call("core_competency_create_template", **{"template[shortname]": "T", "template[contextid]": 1})["id"]
    call("core_competency_add_competency_to_template", templateid=template, competencyid=one)
    call("core_competency_list_competencies_in_template", id=template)
    page = {"pagecontext[contextid]": 1}
    call("tool_lp_data_for_template_competencies_page", templateid=template, **page)
    call("tool_lp_data_for_templates_manage_page", **page)
    call("tool_lp_data_for_competency_frameworks_manage_page", **page)
    call("tool_lp_data_for_competencies_manage_page", competencyframeworkid=framework)
    call("tool_lp_data_for_competency_summary", competencyid=one, includerelated=1, includecourses=1)
    call("tool_lp_data_for_course_competencies_page", courseid=2)
    call("tool_lp_data_for_user_competency_summary_in_course", userid=7, courseid=2, competencyid=one)
    call("report_competency_data_for_report", courseid=2, userid=7, moduleid=0)
    call("core_competency_duplicate_template", id=template)
    call("core_competency_duplicate_competency_framework", id=framework)


def test_people_courses_and_completions(call: Caller) -> None:
    """Accounts, enrolments, progress, groups, cohorts and badges."""
    call.moodle.seed.award(call.moodle.seed.badge("B"), 7)
    call("core_user_get_users", **{"criteria[0][key]": "lastname", "criteria[0][value]": "%"})
    call("core_user_get_users_by_field", field="id", **{"values[0]": 7})
    call("core_user_get_course_user_profiles", **{"userlist[0][userid]": 7, "userlist[0][courseid]": 2})
    call("core_enrol_get_enrolled_users", courseid=2)
    call("core_enrol_get_users_courses", userid=7)
    call("core_course_get_courses")
    call("core_course_get_courses_by_field")
    call("core_course_get_categories")
    assert call("core_course_search_courses", criterianame="search", criteriavalue="fire")["total"] == 1
    call("core_completion_get_course_completion_status", courseid=11, userid=30)
    call("core_completion_get_activities_completion_status", courseid=11, userid=30)
    group = {"groups[0][courseid]": 2, "groups[0][name]": "G", "groups[0][description]": ""}
    call("core_group_create_groups", **group)
    call("core_group_add_group_members", **{"members[0][groupid]": 1, "members[0][userid]": 7})
    assert call("core_group_get_group_members", **{"groupids[0]": 1}) == [{"groupid": 1, "userids": [7]}]
    call("core_badges_get_user_badges", userid=7)
    call("core_cohort_search_cohorts", query="", **{"context[contextid]": 1})
    call("tool_lp_search_users", query="a", capability="moodle/competency:planviewown")


def test_reports_and_site(call: Caller) -> None:
    """Both report sources, a report of one's own with a column, a filter and a condition, and the site itself."""
    seed = call.moodle.seed
    for report in (seed.completion_report(), seed.competencies_report()):
        call("core_reportbuilder_retrieve_report", reportid=report, perpage=0)
    own = seed.report("own", "core_course\\reportbuilder\\datasource\\participants", [], usercreated=3, filters=[])
    call("core_reportbuilder_columns_add", reportid=own, uniqueidentifier="completion:timecompleted")
    values = '{"completion:timecompleted_operator": 1}'
    call("core_reportbuilder_set_filters", reportid=own, values=values)
    unfiltered = call("core_reportbuilder_retrieve_report", reportid=own, perpage=1)["data"]["totalrowcount"]
    call("core_reportbuilder_filters_add", reportid=own, uniqueidentifier="completion:timecompleted")
    filtered = call("core_reportbuilder_retrieve_report", reportid=own, perpage=1)["data"]["totalrowcount"]
    assert (unfiltered, filtered) == (3040, 1500)
    call("core_reportbuilder_conditions_add", reportid=own, uniqueidentifier="completion:completed")
    call("core_reportbuilder_list_reports")
    for function in ("core_webservice_get_site_info", "tool_mobile_get_public_config", "tool_mobile_get_config"):
        call(function)
