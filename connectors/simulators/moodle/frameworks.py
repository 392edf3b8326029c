"""Competency frameworks and the scales they are rated on."""

import json

from connectors.simulators.moodle.errors import (
    INVALID_DATA,
    MoodleError,
    coding,
    invalid_parameter,
    invalid_persistent,
    missing_record,
    no_context,
)
from connectors.simulators.moodle.records import check_order, ordered, page, too_long
from connectors.simulators.moodle.site import COURSECAT, SYSTEM, Call, function
from connectors.simulators.moodle.tables import Row, collate

MANAGE = "moodle/competency:competencymanage"
VIEW = "moodle/competency:competencyview"
TAXONOMIES = {
    "behaviour",
    "competency",
    "concept",
    "domain",
    "indicator",
    "level",
    "outcome",
    "practice",
    "proficiency",
    "skill",
    "value",
}
BAD_SCALE = "Incorrect scale ID"
UNCONFIGURED = "The scale needs to be configured by selecting default and proficient items."
IN_USE = "The scale cannot be changed, as it is already in use."
TAKEN = "This ID number is already in use"


def scale_items(call: Call, scale: int) -> list[str]:
    """Return the item names of a scale."""
    row = call.db.scales.get(scale)
    return [item.strip() for item in row["items"].split(",")] if row else []


def scale_errors(call: Call, row: Row) -> list[str]:
    """Return what is wrong with a record's scale and its configuration."""
    errors = []
    if call.db.scales.get(row["scaleid"]) is None:
        errors.append(BAD_SCALE)
    if not _configured(row):
        errors.append(UNCONFIGURED)
    return errors


def _configured(row: Row) -> bool:
    try:
        items = json.loads(row["scaleconfiguration"] or "")
    except ValueError:
        return False
    if not isinstance(items, list) or not items or not isinstance(items[0], dict):
        return False
    if str(items[0].get("scaleid")) != str(row["scaleid"]):
        return False
    rest = [item for item in items[1:] if isinstance(item, dict)]
    return any(_true(item.get("scaledefault")) for item in rest) and any(_true(item.get("proficient")) for item in rest)


def _true(value: object) -> bool:
    return value not in (None, 0, "0", "", False)


def framework(call: Call, framework_id: int) -> Row:
    """Return a framework, or raise the refusal for an unknown one."""
    row = call.db.frameworks.get(framework_id)
    if row is None:
        if framework_id <= 0:
            raise no_context()
        raise missing_record("competency_framework", "id", framework_id)
    return row


def export(call: Call, row: Row) -> Row:
    """Return a framework as Moodle answers it."""
    context = call.db.contexts.get(row["contextid"]) or {}
    description, form = call.text(row["description"], row["descriptionformat"])
    return {
        "shortname": call.string(row["shortname"]),
        "idnumber": row["idnumber"],
        "description": description,
        "descriptionformat": form,
        "visible": row["visible"],
        "scaleid": row["scaleid"],
        "scaleconfiguration": row["scaleconfiguration"],
        "contextid": row["contextid"],
        "taxonomies": row["taxonomies"],
        "id": row["id"],
        "timecreated": row["timecreated"],
        "timemodified": row["timemodified"],
        "usermodified": row["usermodified"],
        "canmanage": call.may(MANAGE),
        "competenciescount": call.db.competencies.count("framework", row["id"]),
        "contextname": call.site.context_name(context),
        "contextnamenoprefix": call.site.context_name(context, prefix=False),
    }


def _validate(call: Call, row: Row, before: Row | None) -> None:
    errors = []
    twin = [r for r in call.db.frameworks.find("idnumber", collate(row["idnumber"])) if r["id"] != row.get("id")]
    if twin:
        errors.append(TAKEN)
    if row["descriptionformat"] not in (0, 1, 2, 4):
        errors.append(INVALID_DATA)
    if before is not None and before["scaleid"] != row["scaleid"] and is_rated(call, before["id"]):
        errors.append(IN_USE)
    else:
        errors += scale_errors(call, row)
    if before is not None and before["contextid"] != row["contextid"]:
        errors.append("Invalid context")
    unknown = [part for part in row["taxonomies"].split(",") if part and part not in TAXONOMIES]
    errors += [f"Invalid taxonomy: {part}" for part in unknown[:1]]
    if errors:
        raise invalid_persistent(*errors)
    too_long(row, shortname=100, idnumber=100, taxonomies=255)


def is_rated(call: Call, framework_id: int) -> bool:
    """Return whether somebody has a rating, or a record of one, in a framework."""
    return any(
        call.db.user_competencies.count("competency", c["id"])
        for c in call.db.competencies.find("framework", framework_id)
    )


@function("core_competency_create_competency_framework")
def create_framework(call: Call, args: Row) -> Row:
    """Create a framework; it needs a context, a scale and that scale's configuration."""
    given = args["competencyframework"]
    context = call.context(given)
    if context["level"] not in (SYSTEM, COURSECAT):
        raise invalid_parameter("Framework context must be system or category")
    call.require(MANAGE)
    row: Row = {
        "shortname": given["shortname"],
        "idnumber": given["idnumber"],
        "description": given["description"],
        "descriptionformat": _format(given),
        "visible": given["visible"],
        "scaleid": given["scaleid"],
        "scaleconfiguration": given["scaleconfiguration"],
        "contextid": context["id"],
        "taxonomies": given.get("taxonomies") or "",
    }
    _validate(call, row, None)
    call.think()
    return export(call, call.db.frameworks.insert(call.stamp(row)))


def _format(given: Row) -> int:
    value = given.get("descriptionformat", 1)
    return 1 if value is None else int(value)


@function("core_competency_read_competency_framework")
def read_framework(call: Call, args: Row) -> Row:
    """Answer one framework."""
    row = framework(call, args["id"])
    call.require(VIEW)
    return export(call, row)


@function("core_competency_update_competency_framework")
def update_framework(call: Call, args: Row) -> bool:
    """Change a framework; what is left out stays, except the description's format."""
    given = args["competencyframework"]
    row = framework(call, given["id"])
    call.require(MANAGE)
    changes = {
        key: given[key]
        for key in (
            "shortname",
            "idnumber",
            "description",
            "visible",
            "scaleid",
            "scaleconfiguration",
            "contextid",
            "taxonomies",
        )
        if given.get(key) is not None
    }
    changes["descriptionformat"] = _format(given)
    _validate(call, {**row, **changes}, row)
    call.think()
    call.db.frameworks.update(row, call.stamp(changes, new=False))
    return True


@function("core_competency_delete_competency_framework")
def delete_framework(call: Call, args: Row) -> bool:
    """Delete a framework nobody uses, with its competencies; otherwise answer false."""
    from connectors.simulators.moodle.competencies import can_be_deleted, forget

    row = framework(call, args["id"])
    call.require(MANAGE)
    ids = [c["id"] for c in call.db.competencies.find("framework", row["id"])]
    if not can_be_deleted(call, ids):
        return False
    call.think()
    for identity in ids:
        forget(call, identity)
    call.db.frameworks.delete(row["id"])
    return True


@function("core_competency_duplicate_competency_framework")
def duplicate_framework(call: Call, args: Row) -> Row:
    """Copy a framework with its competencies, related ones and rules."""
    from connectors.simulators.moodle.competencies import copy_tree

    source = framework(call, args["id"])
    call.require(MANAGE)
    number = 1
    while call.db.frameworks.find("idnumber", collate(f"{source['idnumber']}_{number}")):
        number += 1
    row = {
        **source,
        "idnumber": f"{source['idnumber']}_{number}",
        "shortname": f"{source['shortname']} (copy)",
    }
    too_long(row, shortname=100, idnumber=100)
    call.think()
    row = call.db.frameworks.insert(call.stamp(row))
    copy_tree(call, source["id"], row["id"])
    return export(call, row)


def contexts_including(call: Call, context: Row, includes: str) -> set[int]:
    """Return the contexts a list covers: itself, with its parents or its children where asked."""
    if includes not in ("children", "parents", "self"):
        raise coding("Invalid parameter value for 'includes'.")
    ids = {context["id"]}
    if includes == "children" and context["level"] == SYSTEM:
        ids |= {row["id"] for row in call.db.contexts if row["level"] == COURSECAT}
    if includes == "parents":
        ids.add(1)
    return ids


def _listed(call: Call, context: Row, includes: str, only_visible: bool, query: str) -> list[Row]:
    ids = contexts_including(call, context, includes)
    needle = collate(query) if query else ""
    rows = [row for row in sorted(call.db.frameworks, key=lambda r: r["id"]) if row["contextid"] in ids]
    if only_visible:
        rows = [row for row in rows if row["visible"]]
    if needle:
        rows = [r for r in rows if needle in collate(r["shortname"]) or needle in collate(r["idnumber"])]
    return rows


COLUMNS = {
    "id",
    "shortname",
    "idnumber",
    "description",
    "descriptionformat",
    "visible",
    "scaleid",
    "contextid",
    "taxonomies",
    "timecreated",
    "timemodified",
    "usermodified",
}


@function("core_competency_list_competency_frameworks")
def list_frameworks(call: Call, args: Row) -> list[Row]:
    """Answer the frameworks of a context."""
    context = call.context(args["context"])
    check_order(args["order"])
    call.require(VIEW)
    rows = _listed(call, context, args["includes"], bool(args["onlyvisible"]), args.get("query") or "")
    rows = ordered(rows, args["sort"], args["order"], COLUMNS)
    return [export(call, row) for row in page(rows, args["skip"], args["limit"])]


@function("core_competency_count_competency_frameworks")
def count_frameworks(call: Call, args: Row) -> int:
    """Answer how many frameworks a context has."""
    context = call.context(args["context"])
    call.require(VIEW)
    return len(_listed(call, context, args.get("includes") or "children", False, ""))


@function("core_competency_get_scale_values")
def scale_values(call: Call, args: Row) -> list[Row]:
    """Answer the items of a scale; an unknown one fails without an error code."""
    if call.db.scales.get(args["scaleid"]) is None:
        raise MoodleError("Error", None, "Call to a member function load_items() on bool")
    return [
        {"id": number, "name": call.string(name)} for number, name in enumerate(scale_items(call, args["scaleid"]), 1)
    ]


@function("core_competency_competency_framework_viewed")
def framework_viewed(call: Call, args: Row) -> bool:
    """Record that somebody looked at a framework."""
    framework(call, args["id"])
    call.require(VIEW)
    return True
