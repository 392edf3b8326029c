"""The report builder: reports made by hand or column by column, read in pages, filtered per user and report.

Observed on Moodle 4.5.6 (`contracts/moodle-4.5`, Pull): `perpage=0` returns everything; filters are stored
per user and report; an unknown filter answers true and is ignored; dates are text in the caller's zone, to
the minute; rows without a user appear.
"""

import json
from typing import Any

from connectors.simulators.moodle.errors import MoodleError, invalid_parameter, missing_record
from connectors.simulators.moodle.people import summary
from connectors.simulators.moodle.records import next_place
from connectors.simulators.moodle.reportcolumns import (
    ASCENDING,
    DESCENDING,
    PARTICIPANTS,
    SOURCES,
    Column,
    columns_of,
    yes_no,
)
from connectors.simulators.moodle.site import Call, Site, function
from connectors.simulators.moodle.tables import Row, collate


def add_report(
    site: Site,
    name: str,
    source: str,
    columns: list[str],
    conditions: dict[str, Any] | None = None,
    **more: Any,
) -> int:
    """Add a report as its maker left it, sorted by its first columns, and return its id."""
    now = site.now()
    owner = more.pop("usercreated", 2)
    sorted_by = more.pop("sorted_by", 0 if not columns else None)
    data = None if conditions is None else text_json(conditions)
    row = site.db.reports.insert(
        {
            "name": name,
            "source": source,
            "type": 0,
            "uniquerows": False,
            "conditiondata": data,
            "settingsdata": None,
            "contextid": 1,
            "component": "",
            "area": "",
            "itemid": 0,
            "usercreated": owner,
            "timecreated": now,
            "timemodified": now,
            "usermodified": owner,
            **more,
        }
    )
    for place, column in enumerate(columns):
        enabled = place < 2 if sorted_by is None else False
        site.db.report_columns.insert(
            {
                "reportid": row["id"],
                "uniqueidentifier": column,
                "sortorder": place + 1,
                "sortenabled": enabled,
                "sortdirection": ASCENDING,
                "columnorder": place + 1,
            }
        )
    return int(row["id"])


def text_json(value: Any) -> str:
    """Return JSON as the report builder stores it."""
    return json.dumps(value, separators=(",", ":"))


def _report(call: Call, report_id: int, edit: bool = False) -> Row:
    row = call.db.reports.get(report_id)
    if row is None:
        raise missing_record("reportbuilder_report", "id", report_id)
    owner = row["usercreated"] == call.user_id
    if not owner and not call.may("moodle/reportbuilder:viewall"):
        raise MoodleError(
            "core_reportbuilder\\exception\\report_access_exception",
            "errorreportview",
            "You cannot view this report",
        )
    if edit and not owner and not call.may("moodle/reportbuilder:editall"):
        raise MoodleError(
            "core_reportbuilder\\exception\\report_access_exception",
            "errorreportedit",
            "You cannot edit this report",
        )
    return row


def readable_report(call: Call, report_id: int) -> Row:
    """Return a report the account may see."""
    return _report(call, report_id)


def editable_report(call: Call, report_id: int) -> Row:
    """Return a report the account may edit."""
    return _report(call, report_id, edit=True)


def _details(call: Call, row: Row) -> Row:
    modifier = call.db.users.get(row["usermodified"]) or call.user
    answer = {
        key: row[key]
        for key in (
            "name",
            "source",
            "type",
            "uniquerows",
            "conditiondata",
            "settingsdata",
            "contextid",
            "component",
            "area",
            "itemid",
            "usercreated",
            "id",
            "timecreated",
            "timemodified",
            "usermodified",
        )
    }
    answer["name"] = call.string(row["name"])
    answer["sourcename"] = SOURCES.get(row["source"], row["source"])
    answer["tags"] = []
    answer["modifiedby"] = summary(call, modifier)
    return answer


def _participants(call: Call) -> list[Row]:
    """Return a row a user enrolment, and one without a user for each way into a course that nobody took.

    Every course has the ways by hand, as guest and by oneself (3,040 rows for 3,000 enrolments, observed on
    Moodle 4.5.6).
    """
    db = call.db
    rows: list[Row] = []
    for course in sorted(db.courses, key=lambda c: c["id"]):
        if course["id"] == 1:
            continue
        taken = 0
        for enrolment in db.enrolments.find("course", course["id"]):
            user = db.users.get(enrolment["userid"])
            if user is None or user.get("deleted"):
                continue
            taken += 1
            completion = db.completions.first("pair", (course["id"], user["id"]))
            row = {"course": course, "user": user, "enrolment": enrolment, "completion": completion}
            rows.append({**row, "way": "Manual enrolments"})
        empty = {"course": course, "user": None, "enrolment": None, "completion": None}
        ways = (
            ["Guest access", "Self enrolment (Student)"]
            if taken
            else ["Manual enrolments", "Guest access", "Self enrolment (Student)"]
        )
        rows += [{**empty, "way": way} for way in ways]
    return rows


def _competency_rows(call: Call) -> list[Row]:
    """Return a row a rating, and one for what has none: an unrated competency, an empty framework."""
    db = call.db
    rows: list[Row] = []
    for framework in sorted(db.frameworks, key=lambda f: f["id"]):
        competencies = db.competencies.find("framework", framework["id"])
        if not competencies:
            rows.append({"framework": framework, "competency": None, "usercompetency": None, "user": None})
        for competency in competencies:
            ratings = db.user_competencies.find("competency", competency["id"])
            pairs: list[Row | None] = [*ratings] or [None]
            for rating in pairs:
                user = db.users.get(rating["userid"]) if rating else None
                rows.append({"framework": framework, "competency": competency, "usercompetency": rating, "user": user})
    return rows


def _key(value: Any) -> tuple[int, Any]:
    if value is None:
        return (0, 0)
    return (1, collate(value)) if isinstance(value, str) else (1, value)


DAY_UNIT = {0: 60, 1: 3600, 2: 86400, 3: 604800, 4: 30 * 86400, 5: 365 * 86400}


def _passes_date(call: Call, value: int | None, operator: int, given: Row, name: str) -> bool:
    """Return whether a time passes a date filter (1 not empty, 2 empty, 3 range, 4 last, 5 current.

    6 next, 8 before, 9 after).
    """
    if operator == 1:
        return bool(value)
    if operator == 2:
        return not value
    if operator == 3:
        start, end = _int(given.get(f"{name}_from")), _int(given.get(f"{name}_to"))
        if not start and not end:
            return True
        return bool(value) and (not start or (value or 0) >= start) and (not end or (value or 0) < end)
    amount, unit = _int(given.get(f"{name}_value")) or 1, _int(given.get(f"{name}_unit"))
    span = amount * DAY_UNIT.get(unit, 86400)
    now = call.now()
    if operator == 4:
        return bool(value) and now - span <= (value or 0) <= now
    if operator == 6:
        return bool(value) and now <= (value or 0) <= now + span
    if operator == 8:
        return bool(value) and (value or 0) < now - span
    if operator == 9:
        return bool(value) and (value or 0) > now + span
    if operator == 10:
        return bool(value) and (value or 0) < now - 100 * 365 * 86400
    return True


def _passes(call: Call, column: Column, row: Row, operator: int, given: Row, name: str) -> bool:
    value = column.value(call, row)
    if column.date:
        return _passes_date(call, value, operator, given, name)
    wanted = given.get(f"{name}_value")
    if column.show is yes_no:
        return operator == 0 or (bool(value) if operator == 1 else value is not None and not value)
    if isinstance(value, int) or name == "enrolment:status":
        return operator == 0 or ((value == _int(wanted)) if operator == 1 else value != _int(wanted))
    have, needle = collate(str(value or "")), collate(str(wanted or ""))
    tests = {
        0: True,
        1: needle in have,
        2: needle not in have,
        3: have == needle,
        4: have != needle,
        5: have.startswith(needle),
        6: have.endswith(needle),
        7: not have,
        8: bool(have),
    }
    return tests.get(operator, True)


def _int(value: Any) -> int:
    try:
        return int(value or 0)
    except (TypeError, ValueError):
        return 0


def _apply(call: Call, rows: list[Row], columns: dict[str, Column], values: Row) -> list[Row]:
    for key, operator in values.items():
        name = key.removesuffix("_operator")
        column = columns.get(name)
        if name == key or column is None:
            continue
        number = _int(operator)
        rows = [row for row in rows if _passes(call, column, row, number, values, name)]
    return rows


def _filter_values(call: Call, report: int, user: int) -> Row:
    stored = call.db.report_filters.first("pair", (report, user))
    return stored["values"] if stored else {}


def _rows(call: Call, report: Row, columns: list[Row]) -> list[Row]:
    """Return all rows of a report, filtered and sorted; the last ones are kept, for the next page."""
    known = columns_of(report["source"])
    values = _filter_values(call, report["id"], call.user_id)
    versions = tuple(table.version for table in call.db.tables().values())
    stamp = (versions, call.now() // 60)
    kept = call.site.report_rows.get((report["id"], call.user_id))
    if kept is not None and kept[0] == stamp:
        return kept[1]
    rows = _participants(call) if report["source"] == PARTICIPANTS else _competency_rows(call)
    conditions = json.loads(report["conditiondata"]) if report["conditiondata"] else {}
    rows = _apply(call, rows, known, conditions)
    offered = known if report.get("filters") is None else {n: c for n, c in known.items() if n in report["filters"]}
    rows = _apply(call, rows, offered, values)
    for row in sorted((c for c in columns if c["sortenabled"]), key=lambda c: -c["sortorder"]):
        _sort(call, rows, known[row["uniqueidentifier"]], row["sortdirection"] == DESCENDING)
    call.site.report_rows = {(report["id"], call.user_id): (stamp, rows)}
    return rows


def _sort(call: Call, rows: list[Row], column: Column, descending: bool) -> None:
    rows.sort(key=lambda row: _key(column.value(call, row)), reverse=descending)


@function("core_reportbuilder_retrieve_report")
def retrieve_report(call: Call, args: Row) -> Row:
    """Answer a page of a report; `perpage=0` is all of it."""
    report = _report(call, args["reportid"])
    known = columns_of(report["source"])
    chosen = [row for row in by_place_of(call, report["id"]) if row["uniqueidentifier"] in known]
    rows = _rows(call, report, chosen)
    total = len(rows)
    page, size = args["page"], args["perpage"]
    shown = rows if size == 0 else rows[page * size : (page + 1) * size]
    columns = [known[row["uniqueidentifier"]] for row in chosen]
    return {
        "details": _details(call, report),
        "data": {
            "headers": [column.title for column in columns],
            "rows": [{"columns": [c.show(call, c.value(call, row), row) for c in columns]} for row in shown],
            "totalrowcount": total,
        },
        "warnings": [],
    }


def by_place_of(call: Call, report: int) -> list[Row]:
    """Return the columns of a report from left to right."""
    return sorted(call.db.report_columns.find("report", report), key=lambda c: (c["columnorder"], c["id"]))


@function("core_reportbuilder_list_reports")
def list_reports(call: Call, args: Row) -> Row:
    """Answer the reports the account may see, by name."""
    mine = [r for r in call.db.reports if r["usercreated"] == call.user_id or call.may("moodle/reportbuilder:viewall")]
    mine.sort(key=lambda r: (collate(r["name"]), r["id"]))
    page, size = args["page"], args["perpage"]
    shown = mine if size == 0 else mine[page * size : (page + 1) * size]
    return {"reports": [_details(call, row) for row in shown], "warnings": []}


@function("core_reportbuilder_set_filters")
def set_filters(call: Call, args: Row) -> bool:
    """Store filter values for this account and report; whatever they are, the answer is true."""
    report = _report(call, args["reportid"])
    try:
        values = json.loads(args["values"])
    except ValueError:
        values = None
    _store_filters(call, report["id"], values if isinstance(values, dict) else {})
    return True


def _store_filters(call: Call, report: int, values: Row) -> None:
    call.db.report_filters.delete_where("pair", (report, call.user_id))
    if values:
        call.db.report_filters.insert({"reportid": report, "userid": call.user_id, "values": values})


@function("core_reportbuilder_filters_reset")
def reset_filters(call: Call, args: Row) -> bool:
    """Forget the filter values of this account and report."""
    report = _report(call, args["reportid"])
    _store_filters(call, report["id"], {})
    return True


def _sorting(call: Call, report: Row) -> Row:
    known = columns_of(report["source"])
    columns = sorted(call.db.report_columns.find("report", report["id"]), key=lambda c: (c["sortorder"], c["id"]))
    entries = []
    for row in columns:
        title = known[row["uniqueidentifier"]].title
        ascending = row["sortdirection"] == ASCENDING
        entries.append(
            {
                "id": row["id"],
                "title": title,
                "heading": title,
                "sortdirection": row["sortdirection"],
                "sortenabled": row["sortenabled"],
                "sortorder": row["sortorder"],
                "sorticon": {
                    "key": "t/sort_asc" if ascending else "t/sort_desc",
                    "component": "moodle",
                    "title": f"Change initial sorting for column '{title}' to "
                    + ("descending" if ascending else "ascending"),
                },
                "movetitle": f"Move sorting for column '{title}'",
                "sortenabledtitle": ("Disable" if row["sortenabled"] else "Enable")
                + f" initial sorting for column '{title}'",
            }
        )
    return {"hassortablecolumns": bool(entries), "sortablecolumns": entries, "helpicon": ""}


@function("core_reportbuilder_columns_add")
def add_column(call: Call, args: Row) -> Row:
    """Add a column at the right end of a report."""
    report = _report(call, args["reportid"], edit=True)
    if args["uniqueidentifier"] not in columns_of(report["source"]):
        raise invalid_parameter("Invalid column")
    place = max(1, next_place(call.db.report_columns, "report", report["id"]))
    call.db.report_columns.insert(
        {
            "reportid": report["id"],
            "uniqueidentifier": args["uniqueidentifier"],
            "sortorder": place,
            "sortenabled": False,
            "sortdirection": ASCENDING,
            "columnorder": place,
        }
    )
    return _sorting(call, report)


@function("core_reportbuilder_columns_delete")
def delete_column(call: Call, args: Row) -> Row:
    """Take a column out of a report."""
    report = _report(call, args["reportid"], edit=True)
    row = call.db.report_columns.get(args["columnid"])
    if row is None or row["reportid"] != report["id"]:
        raise invalid_parameter("Invalid column")
    call.db.report_columns.delete(row["id"])
    return _sorting(call, report)


@function("core_reportbuilder_columns_sort_get")
def get_sorting(call: Call, args: Row) -> Row:
    """Answer how a report is sorted."""
    return _sorting(call, _report(call, args["reportid"], edit=True))


@function("core_reportbuilder_columns_sort_toggle")
def toggle_sorting(call: Call, args: Row) -> Row:
    """Sort by a column, or no longer."""
    report = _report(call, args["reportid"], edit=True)
    row = call.db.report_columns.get(args["columnid"])
    if row is None or row["reportid"] != report["id"]:
        raise invalid_parameter("Invalid column")
    call.db.report_columns.update(row, {"sortenabled": args["enabled"], "sortdirection": args["direction"]})
    return _sorting(call, report)
