"""Which filters and conditions a report has.

Both are added by web service, with the values of a condition set on its page.
"""

from connectors.simulators.moodle.errors import invalid_parameter
from connectors.simulators.moodle.reportcolumns import columns_of
from connectors.simulators.moodle.reports import editable_report
from connectors.simulators.moodle.site import Call, function
from connectors.simulators.moodle.tables import Row

_ENTITIES = {
    "course": "Course",
    "enrol": "Enrolment method",
    "enrolment": "Enrolment",
    "user": "User",
    "completion": "Course completion",
    "framework": "Framework",
    "competency": "Competency",
    "usercompetency": "User competency",
}


def _available(report: Row, taken: list[str]) -> list[Row]:
    groups: dict[str, list[Row]] = {}
    for name, column in columns_of(report["source"]).items():
        if name not in taken:
            groups.setdefault(name.split(":")[0], []).append({"value": name, "visiblename": column.title})
    return [
        {"optiongroup": {"text": _ENTITIES.get(entity, entity), "values": values}} for entity, values in groups.items()
    ]


def _check(report: Row, name: str, taken: list[str]) -> None:
    if name not in columns_of(report["source"]) or name in taken:
        raise invalid_parameter(f"Invalid or repeated {name}")


def _filters(report: Row) -> Row:
    active = report.get("filters") or []
    known = columns_of(report["source"])
    entries = [
        {
            "id": report["id"] * 1000 + place,
            "heading": known[name].title,
            "headingeditable": known[name].title,
            "sortorder": place,
            "movetitle": f"Move filter '{known[name].title}'",
            "entityname": _ENTITIES.get(name.split(":")[0], ""),
        }
        for place, name in enumerate(active, 1)
    ]
    available = _available(report, active)
    return {
        "hasavailablefilters": bool(available),
        "availablefilters": available,
        "hasactivefilters": bool(entries),
        "activefilters": entries,
        "helpicon": "",
    }


@function("core_reportbuilder_filters_add")
def add_filter(call: Call, args: Row) -> Row:
    """Let viewers filter a report by one more thing; values for filters a report lacks are ignored."""
    report = editable_report(call, args["reportid"])
    active = report.get("filters") or []
    _check(report, args["uniqueidentifier"], active)
    call.db.reports.update(report, {"filters": [*active, args["uniqueidentifier"]]})
    return _filters(report)


@function("core_reportbuilder_filters_delete")
def delete_filter(call: Call, args: Row) -> Row:
    """Take a filter out of a report."""
    report = editable_report(call, args["reportid"])
    active = report.get("filters") or []
    place = args["filterid"] - report["id"] * 1000
    if not 1 <= place <= len(active):
        raise invalid_parameter("Invalid filter")
    call.db.reports.update(report, {"filters": active[: place - 1] + active[place:]})
    return _filters(report)


@function("core_reportbuilder_conditions_add")
def add_condition(call: Call, args: Row) -> Row:
    """Add a condition to a report; it narrows nothing until its values are set by hand."""
    report = editable_report(call, args["reportid"])
    chosen = report.get("conditions") or []
    _check(report, args["uniqueidentifier"], chosen)
    call.db.reports.update(report, {"conditions": [*chosen, args["uniqueidentifier"]]})
    available = _available(report, report["conditions"])
    return {
        "hasavailableconditions": bool(available),
        "availableconditions": available,
        "hasactiveconditions": True,
        "activeconditionsform": "<form></form>",
        "helpicon": "",
        "javascript": "",
    }


@function("core_reportbuilder_reports_delete")
def delete_report(call: Call, args: Row) -> bool:
    """Delete a report with its columns."""
    report = editable_report(call, args["reportid"])
    call.db.report_columns.delete_where("report", report["id"])
    call.db.reports.delete(report["id"])
    return True
