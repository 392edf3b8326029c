"""The state without ids and times, so that two runs can be compared by what they left behind."""

import json
from typing import Any

from connectors.simulators.moodle.tables import Database, Row

_SKIP = {
    "id",
    "timecreated",
    "timemodified",
    "usermodified",
    "path",
    "sortorder",
    "parentid",
    "competencyframeworkid",
}


def comparable(db: Database) -> dict[str, Any]:
    """Return frameworks, competencies, links, templates, plans.

    Cohorts and accounts by the keys people give them.
    """
    return {
        "frameworks": {f["idnumber"]: _without(f) for f in db.frameworks},
        "competencies": {_key(db, c["id"]): _competency(db, c) for c in db.competencies},
        "related": sorted(
            sorted((_key(db, r["competencyid"]), _key(db, r["relatedcompetencyid"]))) for r in db.related
        ),
        "course_links": sorted(
            [
                (db.courses.get(r["courseid"]) or {}).get("shortname"),
                _key(db, r["competencyid"]),
                r["ruleoutcome"],
            ]
            for r in db.course_competencies
        ),
        "templates": sorted(
            [
                t["shortname"],
                t["description"],
                t["visible"],
                t["duedate"],
                [_key(db, r["competencyid"]) for r in _placed(db.template_competencies.find("template", t["id"]))],
            ]
            for t in db.templates
        ),
        "plans": sorted(
            [
                _user(db, p["userid"]),
                p["name"],
                p["description"],
                p["status"],
                p["duedate"],
                (db.templates.get(p["templateid"] or 0) or {}).get("shortname", ""),
                [_key(db, r["competencyid"]) for r in _placed(db.plan_competencies.find("plan", p["id"]))],
            ]
            for p in db.plans
        ),
        "cohorts": {
            c["idnumber"]: {
                **_without(c),
                "members": sorted(_user(db, m["userid"]) for m in db.cohort_members.find("cohort", c["id"])),
            }
            for c in db.cohorts
        },
        "users": {u["username"]: _without(u) for u in db.users if not u["deleted"]},
        "enrolments": sorted(
            [(db.courses.get(e["courseid"]) or {}).get("shortname"), _user(db, e["userid"]), e["status"]]
            for e in db.enrolments
        ),
    }


def _without(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in _SKIP and key not in ("contextid", "capabilities")}


def _placed(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda r: (r["sortorder"], r["id"]))


def _key(db: Database, competency: int) -> str:
    row = db.competencies.get(competency)
    if row is None:
        return f"gone {competency}"
    framework = db.frameworks.get(row["competencyframeworkid"]) or {}
    return f"{framework.get('idnumber')}/{row['idnumber']}"


def _user(db: Database, user: int) -> str:
    return str((db.users.get(user) or {}).get("username", f"gone {user}"))


def _competency(db: Database, row: Row) -> Row:
    siblings = _placed(db.competencies.find("parent", (row["competencyframeworkid"], row["parentid"])))
    names = [_key(db, int(part)) for part in row["path"].strip("/").split("/") if part != "0"]
    return {
        **_without(row),
        "parent": _key(db, row["parentid"]) if row["parentid"] else "",
        "place": [s["id"] for s in siblings].index(row["id"]),
        "sortorder": row["sortorder"],
        "path": names,
        "ruleconfig": _rule(db, row["ruleconfig"]),
    }


def _rule(db: Database, config: str | None) -> Any:
    """Return a roll-up rule's configuration with keys where it names children by id."""
    if not config:
        return config
    rule = json.loads(config)
    if not isinstance(rule, dict):
        return rule
    children = [{**child, "id": _key(db, int(child["id"]))} for child in rule.get("competencies", [])]
    return {**rule, "competencies": children}
