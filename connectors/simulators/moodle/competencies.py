"""The competency tree: create, change, move, order, delete, list; and what clears a rule.

Observed on Moodle 4.5.6 (`contracts/moodle-4.5`, Behaviour and Concurrency).
"""

import json
from typing import Any

from connectors.simulators.moodle.errors import (
    INVALID_DATA,
    coding,
    database_write,
    invalid_parameter,
    invalid_persistent,
    missing_record,
    no_context,
)
from connectors.simulators.moodle.frameworks import (
    BAD_SCALE,
    IN_USE,
    MANAGE,
    TAKEN,
    VIEW,
    framework,
    scale_errors,
)
from connectors.simulators.moodle.records import check_order, ordered, page, too_long
from connectors.simulators.moodle.site import Call, function
from connectors.simulators.moodle.tables import Row, collate

RULE_ALL = "core_competency\\competency_rule_all"
RULE_POINTS = "core_competency\\competency_rule_points"
FIELDS = (
    "shortname",
    "idnumber",
    "description",
    "descriptionformat",
    "sortorder",
    "parentid",
    "path",
    "ruleoutcome",
    "ruletype",
    "ruleconfig",
    "scaleid",
    "scaleconfiguration",
    "competencyframeworkid",
    "id",
    "timecreated",
    "timemodified",
    "usermodified",
)


def competency(call: Call, competency_id: int) -> Row:
    """Return a competency, or raise the refusal for an unknown one."""
    row = call.db.competencies.get(competency_id)
    if row is None:
        if competency_id <= 0:
            raise no_context()
        raise missing_record("competency", "id", competency_id)
    return row


def export(call: Call, row: Row) -> Row:
    """Return a competency as Moodle answers it."""
    answer = {field: row[field] for field in FIELDS}
    answer["shortname"] = call.string(row["shortname"])
    answer["description"], answer["descriptionformat"] = call.text(row["description"], row["descriptionformat"])
    return answer


def scale_of(call: Call, row: Row) -> tuple[int, str]:
    """Return the scale a competency is rated on and its configuration: its own, else its framework's."""
    if row["scaleid"] is not None:
        return row["scaleid"], row["scaleconfiguration"]
    owner = framework(call, row["competencyframeworkid"])
    return owner["scaleid"], owner["scaleconfiguration"]


def _errors(call: Call, row: Row, before: Row | None, parent: Row | None) -> list[str]:
    errors = []
    key = (row["competencyframeworkid"], collate(row["idnumber"]))
    if any(twin["id"] != row.get("id") for twin in call.db.competencies.find("idnumber", key)):
        errors.append(TAKEN)
    if row["descriptionformat"] not in (0, 1, 2, 4):
        errors.append(INVALID_DATA)
    moved = before is not None and before["parentid"] != row["parentid"]
    if moved and parent is not None and parent["competencyframeworkid"] != row["competencyframeworkid"]:
        errors.append(INVALID_DATA)
    if row["ruleoutcome"] not in (0, 1, 2, 3):
        errors.append(INVALID_DATA)
    if row["ruletype"] not in (None, RULE_ALL, RULE_POINTS):
        errors.append(INVALID_DATA)
    if not _valid_rule(call, row):
        errors.append(INVALID_DATA)
    if row["scaleid"] is None and row["scaleconfiguration"] is None:
        return errors
    rescaled = before is not None and row["scaleid"] not in (None, before["scaleid"])
    if rescaled and call.db.user_competencies.count("competency", row["id"]):
        return [*errors, IN_USE]
    problems = scale_errors(call, row)
    if row["scaleid"] is None:
        problems = [p for p in problems if p != BAD_SCALE]
    return errors + problems


def _valid_rule(call: Call, row: Row) -> bool:
    config = row["ruleconfig"]
    if row["ruletype"] != RULE_POINTS:
        return config is None
    try:
        rule = json.loads(config or "")
        points = {int(item["id"]): int(item["points"]) for item in rule["competencies"]}
        base = int(rule["base"]["points"])
    except (ValueError, KeyError, TypeError):
        return False
    if base < 1 or not points or any(value < 0 for value in points.values()):
        return False
    children = {child["id"] for child in call.db.competencies.find("children", row.get("id", -1))}
    return set(points) <= children and sum(points.values()) >= base


def _parent_of(call: Call, parent_id: int) -> Row | None:
    if parent_id == 0:
        return None
    return competency(call, parent_id)


def _path_under(parent: Row | None) -> str:
    return f"{parent['path']}{parent['id']}/" if parent else "/0/"


def _reset_rule(call: Call, row: Row | None) -> None:
    if row is not None and (row["ruletype"] is not None or row["ruleoutcome"]):
        changes = {"ruletype": None, "ruleconfig": None, "ruleoutcome": 0}
        call.db.competencies.update(row, call.stamp(changes, new=False))


def _check_width(row: Row) -> None:
    too_long(row, shortname=100, idnumber=100, path=255, ruletype=100)


@function("core_competency_create_competency")
def create_competency(call: Call, args: Row) -> Row:
    """Create a competency as the last child of its parent.

    Its place is the number of siblings counted before the write: two creates at once under one parent count
    the same.
    """
    given = args["competency"]
    owner = framework(call, given["competencyframeworkid"])
    call.require(MANAGE)
    row: Row = {field: given[field] for field in FIELDS if field in given}
    if row["descriptionformat"] is None:
        row["descriptionformat"] = 1
    parent = _parent_of(call, given["parentid"])
    row["path"] = _path_under(parent)
    row["sortorder"] = call.db.competencies.count("parent", (owner["id"], given["parentid"]))
    errors = _errors(call, row, None, parent)
    if errors:
        raise invalid_persistent(*errors)
    _check_width(row)
    call.think()
    if call.db.competencies.count("idnumber", (owner["id"], collate(row["idnumber"]))):
        raise database_write("Duplicate entry for key 'mdl_comp_comidn_uix'")
    row = call.db.competencies.insert(call.stamp(row))
    _reset_rule(call, parent)
    return export(call, row)


@function("core_competency_read_competency")
def read_competency(call: Call, args: Row) -> Row:
    """Answer one competency."""
    row = competency(call, args["id"])
    call.require(VIEW)
    return export(call, row)


@function("core_competency_update_competency")
def update_competency(call: Call, args: Row) -> bool:
    """Change a competency; place, path, parent and framework are ignored.

    The description's format resets to 1.
    """
    given = args["competency"]
    row = competency(call, given["id"])
    call.require(MANAGE)
    changes = {
        field: given[field]
        for field in (
            "shortname",
            "idnumber",
            "description",
            "ruleoutcome",
            "ruletype",
            "ruleconfig",
            "scaleid",
            "scaleconfiguration",
        )
        if field in given
    }
    changes["descriptionformat"] = 1 if given["descriptionformat"] is None else given["descriptionformat"]
    merged = {**row, **changes}
    errors = _errors(call, merged, row, None)
    if errors:
        raise invalid_persistent(*errors)
    _check_width(merged)
    call.think()
    call.db.competencies.update(row, call.stamp(changes, new=False))
    return True


def _reparent(call: Call, row: Row, parent_id: int) -> None:
    """Move one competency, give it the last place, repair the paths below it and close the gap it leaves."""
    table = call.db.competencies
    parent = _parent_of(call, parent_id)
    before = dict(row)
    changes = {
        "parentid": parent_id,
        "path": _path_under(parent),
        "sortorder": table.count("parent", (row["competencyframeworkid"], parent_id)),
    }
    errors = _errors(call, {**row, **changes}, before, parent)
    if errors:
        raise invalid_persistent(*errors)
    _check_width({**row, **changes})
    table.update(row, call.stamp(changes, new=False))
    _rebase(call, f"{before['path']}{row['id']}/", f"{row['path']}{row['id']}/", row["id"])
    _close_gap(call, before)


def _rebase(call: Call, old: str, new: str, top: int) -> None:
    pending = [top]
    while pending:
        for child in call.db.competencies.find("children", pending.pop()):
            if child["path"].startswith(old):
                child["path"] = child["path"].replace(old, new)
            pending.append(child["id"])


def _close_gap(call: Call, gone: Row) -> None:
    for sibling in call.db.competencies.find("parent", (gone["competencyframeworkid"], gone["parentid"])):
        if sibling["sortorder"] > gone["sortorder"]:
            sibling["sortorder"] -= 1


@function("core_competency_set_parent_competency")
def set_parent(call: Call, args: Row) -> bool:
    """Move a competency; into its own descendant it promotes its children first.

    Two moves at once in one framework deadlock: the later is refused like any failed write.
    """
    row = competency(call, args["competencyid"])
    call.require(MANAGE)
    parent_id = args["parentid"]
    if row["id"] == parent_id:
        raise coding("Can not set a competency as a parent of itself.")
    if row["parentid"] == parent_id:
        raise coding("Can not move a competency to the same location.")
    parent = _parent_of(call, parent_id)
    _alone(call, row["competencyframeworkid"])
    with call.transaction():
        if parent is not None and f"/{row['id']}/" in parent["path"]:
            _reset_rule(call, row)
            for child in call.db.competencies.find("children", row["id"]):
                _reparent(call, child, row["parentid"])
        old = call.db.competencies.get(row["parentid"])
        _reset_rule(call, old)
        _reset_rule(call, parent)
        _reparent(call, row, parent_id)
    return True


def _alone(call: Call, key: int) -> None:
    """Think, and fail like a deadlock where another move in the framework began meanwhile."""
    if call.site.config.cost.write <= 0:
        return
    if key in call.site.moving:
        call.think()
        raise database_write("Deadlock found when trying to get lock; try restarting transaction")
    call.site.moving.add(key)
    try:
        call.think()
    finally:
        call.site.moving.discard(key)


def _shift(call: Call, identity: int, step: int) -> bool:
    row = competency(call, identity)
    call.require(MANAGE)
    siblings = call.db.competencies.find("parent", (row["competencyframeworkid"], row["parentid"]))
    last = max(len(siblings) - 1, 0)
    if row["sortorder"] == (0 if step < 0 else last):
        return False
    _alone(call, row["competencyframeworkid"])
    wanted = row["sortorder"] + step
    for sibling in siblings:
        if sibling["sortorder"] == wanted and sibling["id"] != row["id"]:
            call.db.competencies.update(sibling, call.stamp({"sortorder": row["sortorder"]}, new=False))
    call.db.competencies.update(row, call.stamp({"sortorder": wanted}, new=False))
    return True


@function("core_competency_move_up_competency")
def move_up(call: Call, args: Row) -> bool:
    """Swap a competency with the sibling before it."""
    return _shift(call, args["id"], -1)


@function("core_competency_move_down_competency")
def move_down(call: Call, args: Row) -> bool:
    """Swap a competency with the sibling after it."""
    return _shift(call, args["id"], 1)


def can_be_deleted(call: Call, ids: list[int]) -> bool:
    """Return whether no course, template, plan or rating uses any of these competencies."""
    tables = (
        call.db.template_competencies,
        call.db.plan_competencies,
        call.db.course_competencies,
        call.db.user_competencies,
        call.db.user_competency_plans,
    )
    return not any(table.count("competency", identity) for table in tables for identity in ids)


def forget(call: Call, identity: int) -> None:
    """Remove a competency and its relations."""
    call.db.related.delete_where("one", identity)
    call.db.related.delete_where("other", identity)
    call.db.competencies.delete(identity)


def descendants(call: Call, identity: int) -> list[int]:
    """Return the ids of a competency's children, their children and so on."""
    found: list[int] = []
    pending = [identity]
    while pending:
        for child in call.db.competencies.find("children", pending.pop()):
            found.append(child["id"])
            pending.append(child["id"])
    return found


@function("core_competency_delete_competency")
def delete_competency(call: Call, args: Row) -> bool:
    """Delete a competency with its descendants where none is in use; otherwise answer false."""
    row = competency(call, args["id"])
    call.require(MANAGE)
    below = descendants(call, row["id"])
    if not can_be_deleted(call, [row["id"], *below]):
        return False
    call.think()
    if call.db.competencies.get(row["id"]) is None:
        raise missing_record("competency", "id", row["id"])
    parent = call.db.competencies.get(row["parentid"])
    _reset_rule(call, parent)
    gone = dict(row)
    for identity in reversed(below):
        forget(call, identity)
    forget(call, row["id"])
    _close_gap(call, gone)
    return True


def copy_tree(call: Call, source: int, target: int) -> None:
    """Copy all competencies of a framework into another, parents first, with relations and rules."""
    new_ids: dict[int, int] = {0: 0}
    pending = [0]
    while pending:
        parent = pending.pop(0)
        siblings = call.db.competencies.find("parent", (source, parent))
        for place, row in enumerate(sorted(siblings, key=lambda r: (r["sortorder"], r["id"]))):
            above = call.db.competencies.get(new_ids[parent])
            copy = {
                **row,
                "competencyframeworkid": target,
                "parentid": new_ids[parent],
                "path": _path_under(above),
                "sortorder": place,
            }
            new_ids[row["id"]] = call.db.competencies.insert(call.stamp(copy))["id"]
            pending.append(row["id"])
    for old, new in new_ids.items():
        copied = call.db.competencies.get(new)
        if copied is not None and copied["ruleconfig"]:
            rule = json.loads(copied["ruleconfig"])
            for item in rule["competencies"]:
                item["id"] = new_ids.get(int(item["id"]), item["id"])
            copied["ruleconfig"] = json.dumps(rule)
        for link in call.db.related.find("one", old):
            if link["relatedcompetencyid"] in new_ids:
                pair = {"competencyid": new, "relatedcompetencyid": new_ids[link["relatedcompetencyid"]]}
                call.db.related.insert(call.stamp(pair))


FILTERS = ("id", "shortname", "description", "sortorder", "idnumber", "parentid", "competencyframeworkid")
NUMBERS = {"id", "sortorder", "parentid", "competencyframeworkid"}


def _filtered(call: Call, filters: list[Row]) -> list[Row]:
    wanted: dict[str, Any] = {}
    for item in filters:
        column, value = item["column"], item["value"]
        if column not in FILTERS:
            raise invalid_parameter(f"Filter column was invalid: {column}")
        wanted[column] = _number(value) if column in NUMBERS else (value or "")
        if column == "competencyframeworkid":
            framework(call, wanted[column])
    call.require(VIEW)
    table = call.db.competencies
    if "id" in wanted:
        row = table.get(wanted["id"])
        rows = [row] if row else []
    elif "competencyframeworkid" in wanted and "parentid" in wanted:
        rows = table.find("parent", (wanted["competencyframeworkid"], wanted["parentid"]))
    elif "idnumber" in wanted:
        rows = table.find("anyidnumber", collate(wanted["idnumber"]))
    elif "parentid" in wanted:
        rows = table.find("children", wanted["parentid"])
    elif "competencyframeworkid" in wanted:
        rows = _as_stored(call, table.find("framework", wanted["competencyframeworkid"]))
    else:
        rows = sorted(table, key=lambda r: r["id"])
    for column, value in wanted.items():
        if column in NUMBERS:
            rows = [row for row in rows if row[column] == value]
        else:
            rows = [row for row in rows if collate(row[column]) == collate(value)]
    return rows


def _as_stored(call: Call, rows: list[Row]) -> list[Row]:
    """Return rows as the database finds them unsorted: by its id number index in a small framework."""
    if len(rows) * 3 > len(call.db.competencies):
        return rows
    return sorted(rows, key=lambda row: collate(row["idnumber"]))


def _number(value: str | None) -> int:
    try:
        return int(value or 0)
    except ValueError:
        return 0


@function("core_competency_list_competencies")
def list_competencies(call: Call, args: Row) -> list[Row]:
    """Answer the competencies that equal all filters, in one go however many."""
    check_order(args["order"])
    rows = _filtered(call, args["filters"])
    rows = ordered(rows, args["sort"], args["order"], set(FIELDS))
    return [export(call, row) for row in page(rows, args["skip"], args["limit"])]


@function("core_competency_count_competencies")
def count_competencies(call: Call, args: Row) -> int:
    """Answer how many competencies equal all filters."""
    return len(_filtered(call, args["filters"]))


@function("core_competency_search_competencies")
def search_competencies(call: Call, args: Row) -> list[Row]:
    """Answer the competencies of a framework whose name or id number contains a text.

    Then their ancestors.
    """
    owner = framework(call, args["competencyframeworkid"])
    call.require(VIEW)
    needle = collate(args["searchtext"])
    rows = [
        row
        for row in call.db.competencies.find("framework", owner["id"])
        if needle in collate(row["shortname"]) or needle in collate(row["idnumber"])
    ]
    rows.sort(key=lambda r: (r["path"], r["sortorder"], r["id"]))
    found = {row["id"] for row in rows}
    above = {int(part) for row in rows for part in row["path"].strip("/").split("/")} - found - {0}
    rows += [row for row in (call.db.competencies.get(identity) for identity in sorted(above)) if row]
    return [export(call, row) for row in rows]


@function("core_competency_competency_viewed")
def competency_viewed(call: Call, args: Row) -> bool:
    """Record that somebody looked at a competency."""
    competency(call, args["id"])
    call.require(VIEW)
    return True


def _pair(one: int, other: int) -> tuple[int, int]:
    return (min(one, other), max(one, other))


@function("core_competency_add_related_competency")
def add_related(call: Call, args: Row) -> bool:
    """Relate two competencies of one framework; both directions are the same relation."""
    row = competency(call, args["competencyid"])
    call.require(MANAGE)
    other = competency(call, args["relatedcompetencyid"])
    if row["id"] == other["id"] or row["competencyframeworkid"] != other["competencyframeworkid"]:
        raise invalid_persistent(INVALID_DATA)
    pair = _pair(row["id"], other["id"])
    if not call.db.related.count("pair", pair):
        call.think()
        call.db.related.insert(call.stamp({"competencyid": pair[0], "relatedcompetencyid": pair[1]}))
    return True


@function("core_competency_remove_related_competency")
def remove_related(call: Call, args: Row) -> bool:
    """Take a relation back; answer whether there was one."""
    competency(call, args["competencyid"])
    call.require(MANAGE)
    competency(call, args["relatedcompetencyid"])
    return call.db.related.delete_where("pair", _pair(args["competencyid"], args["relatedcompetencyid"])) > 0


def related_to(call: Call, identity: int) -> list[Row]:
    """Return the competencies related to one."""
    ids = {link["relatedcompetencyid"] for link in call.db.related.find("one", identity)}
    ids |= {link["competencyid"] for link in call.db.related.find("other", identity)}
    return [competency(call, other) for other in sorted(ids)]
