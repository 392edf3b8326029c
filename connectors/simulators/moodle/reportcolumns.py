"""The columns of the report sources: what they hold, how they sort and filter, how they show."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from connectors.simulators.moodle import text
from connectors.simulators.moodle.frameworks import scale_items
from connectors.simulators.moodle.site import Call
from connectors.simulators.moodle.tables import Row

PARTICIPANTS = "core_course\\reportbuilder\\datasource\\participants"
COMPETENCIES = "core_competency\\reportbuilder\\datasource\\competencies"
SOURCES = {PARTICIPANTS: "Course participants", COMPETENCIES: "Competencies"}
COMPLETION_COLUMNS = (
    "course:coursefullnamewithlink",
    "user:fullnamewithlink",
    "enrol:name",
    "user:idnumber",
    "course:idnumber",
    "completion:completed",
    "completion:timecompleted",
    "completion:timeenrolled",
    "completion:timestarted",
    "completion:progresspercent",
    "completion:grade",
    "enrolment:status",
    "course:shortname",
)
COMPETENCY_COLUMNS = ("framework:name", "competency:name", "user:fullname", "usercompetency:proficient")
ASCENDING, DESCENDING = 4, 3


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, the value it sorts and filters by, and how it shows."""

    title: str
    value: Callable[[Call, Row], Any]
    show: Callable[[Call, Any, Row], str | None] = lambda _call, value, _row: "" if value is None else str(value)
    date: bool = False


def _date(call: Call, value: Any, _row: Row) -> str:
    return call.date(value) if value else ""


def yes_no(_call: Call, value: Any, _row: Row) -> str:
    """Show a boolean."""
    return "" if value is None else ("Yes" if value else "No")


def _link(call: Call, path: str, identity: int, name: str) -> str:
    return f'<a href="{call.wwwroot}/{path}?id={identity}">{text.format_string(name)}</a>'


def _user(field: str) -> Callable[[Call, Row], Any]:
    return lambda _call, row: (row["user"] or {}).get(field)


def _course(field: str) -> Callable[[Call, Row], Any]:
    return lambda _call, row: row["course"].get(field)


def _completion(field: str) -> Callable[[Call, Row], Any]:
    return lambda _call, row: (row["completion"] or {}).get(field)


def _fullname(_call: Call, row: Row) -> str | None:
    user = row["user"]
    return f"{user['firstname']} {user['lastname']}" if user else None


def _progress(call: Call, row: Row) -> float | None:
    """Return the share of a course's activities that are done; a course completed counts as all."""
    if row["enrolment"] is None:
        return None
    if (row["completion"] or {}).get("timecompleted"):
        return 100.0
    modules = [m for m in call.db.modules.find("course", row["course"]["id"]) if m["completion"]]
    if not modules:
        return None
    done = 0
    for module in modules:
        state = call.db.module_completions.first("pair", (module["id"], row["user"]["id"]))
        done += bool(state and state["completionstate"])
    return 100.0 * done / len(modules)


_STATUS = {0: "Active", 1: "Suspended"}

PARTICIPANT_COLUMNS: dict[str, Column] = {
    "course:fullname": Column("Course full name", _course("fullname")),
    "course:shortname": Column("Course short name", _course("shortname")),
    "course:idnumber": Column("Course ID number", _course("idnumber")),
    "course:coursefullnamewithlink": Column(
        "Course full name with link",
        _course("fullname"),
        lambda call, value, row: _link(call, "course/view.php", row["course"]["id"], value),
    ),
    "course:courseshortnamewithlink": Column(
        "Course short name with link",
        _course("shortname"),
        lambda call, value, row: _link(call, "course/view.php", row["course"]["id"], value),
    ),
    "course:timecreated": Column("Time created", _course("timecreated"), _date, date=True),
    "user:fullname": Column("Full name", _fullname),
    "user:fullnamewithlink": Column(
        "Full name with link",
        _fullname,
        lambda call, value, row: _link(call, "user/profile.php", row["user"]["id"], value) if value else "",
    ),
    "user:username": Column("Username", _user("username")),
    "user:idnumber": Column("ID number", _user("idnumber")),
    "user:email": Column("Email address", _user("email")),
    "user:firstname": Column("First name", _user("firstname")),
    "user:lastname": Column("Last name", _user("lastname")),
    "user:department": Column("Department", _user("department")),
    "user:institution": Column("Institution", _user("institution")),
    "user:suspended": Column("Suspended", _user("suspended"), yes_no),
    "enrol:name": Column("Name", lambda _call, row: row["way"]),
    "enrolment:status": Column(
        "Status",
        lambda _call, row: row["enrolment"]["status"] if row["enrolment"] else None,
        lambda _call, value, _row: "" if value is None else _STATUS.get(value, ""),
    ),
    "enrolment:timecreated": Column(
        "Time created",
        lambda _call, row: row["enrolment"]["timecreated"] if row["enrolment"] else None,
        _date,
        date=True,
    ),
    "enrolment:timestarted": Column(
        "Time started",
        lambda _call, row: row["enrolment"]["timestart"] if row["enrolment"] else None,
        _date,
        date=True,
    ),
    "completion:completed": Column(
        "Completed",
        lambda _call, row: bool(row["completion"]["timecompleted"]) if row["completion"] else None,
        yes_no,
    ),
    "completion:timecompleted": Column("Time completed", _completion("timecompleted"), _date, date=True),
    "completion:timeenrolled": Column("Time enrolled", _completion("timeenrolled"), _date, date=True),
    "completion:timestarted": Column("Time started", _completion("timestarted"), _date, date=True),
    "completion:progresspercent": Column(
        "Student progress", _progress, lambda _call, value, _row: "" if value is None else f"{value:.1f}%"
    ),
    "completion:grade": Column("Grade", lambda _call, _row: None),
    "completion:dayscourse": Column(
        "Days taking course",
        lambda _call, row: _days(row["completion"], "timestarted"),
    ),
    "completion:daysuntilcompletion": Column(
        "Days until completion",
        lambda _call, row: _days(row["completion"], "timeenrolled"),
    ),
}


def _days(completion: Row | None, start: str) -> int | None:
    if not completion or not completion["timecompleted"] or not completion.get(start):
        return None
    return int((completion["timecompleted"] - completion[start]) // 86400)


def _rated(field: str) -> Callable[[Call, Row], Any]:
    return lambda _call, row: (row["usercompetency"] or {}).get(field)


def _named(key: str, field: str) -> Callable[[Call, Row], Any]:
    return lambda _call, row: (row[key] or {}).get(field)


def _shown_name(_call: Call, value: Any, _row: Row) -> str | None:
    return None if value is None else text.format_string(value)


def _rating(call: Call, row: Row) -> str | None:
    grade = (row["usercompetency"] or {}).get("grade")
    if grade is None:
        return None
    scale = row["competency"]["scaleid"] or row["framework"]["scaleid"]
    items = scale_items(call, scale)
    return items[grade - 1] if 0 < grade <= len(items) else None


COMPETENCY_REPORT_COLUMNS: dict[str, Column] = {
    "framework:name": Column("Name", _named("framework", "shortname"), _shown_name),
    "framework:idnumber": Column("ID number", _named("framework", "idnumber"), _shown_name),
    "framework:visible": Column("Visible", _named("framework", "visible"), yes_no),
    "competency:name": Column("Name", _named("competency", "shortname"), _shown_name),
    "competency:idnumber": Column("ID number", _named("competency", "idnumber"), _shown_name),
    "competency:namewithlink": Column("Name with link", _named("competency", "shortname"), _shown_name),
    "user:fullname": PARTICIPANT_COLUMNS["user:fullname"],
    "user:fullnamewithlink": PARTICIPANT_COLUMNS["user:fullnamewithlink"],
    "user:username": PARTICIPANT_COLUMNS["user:username"],
    "user:idnumber": PARTICIPANT_COLUMNS["user:idnumber"],
    "user:email": PARTICIPANT_COLUMNS["user:email"],
    "usercompetency:rating": Column("Rating", _rating, _shown_name),
    "usercompetency:proficient": Column("Proficient", _rated("proficiency"), yes_no),
    "usercompetency:status": Column(
        "Status", _rated("status"), lambda _call, value, _row: "" if not value else str(value)
    ),
}


def columns_of(source: str) -> dict[str, Column]:
    """Return the columns a source offers."""
    return PARTICIPANT_COLUMNS if source == PARTICIPANTS else COMPETENCY_REPORT_COLUMNS
