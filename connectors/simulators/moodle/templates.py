"""Learning-plan templates and the competencies in them."""

from connectors.simulators.moodle import competencies, frameworks
from connectors.simulators.moodle.errors import (
    INVALID_DATA,
    coding,
    invalid_parameter,
    invalid_persistent,
    missing_record,
)
from connectors.simulators.moodle.records import by_place, check_order, move, next_place, ordered, page, too_long
from connectors.simulators.moodle.site import COURSECAT, SYSTEM, Call, function
from connectors.simulators.moodle.tables import Row

MANAGE = "moodle/competency:templatemanage"
VIEW = "moodle/competency:templateview"
PAST = "The due date cannot be set in the past."
COMPLETE = 2
COLUMNS = {
    "id",
    "shortname",
    "description",
    "descriptionformat",
    "duedate",
    "visible",
    "contextid",
    "timecreated",
    "timemodified",
    "usermodified",
}


def template(call: Call, template_id: int) -> Row:
    """Return a template, or raise the refusal for an unknown one."""
    row = call.db.templates.get(template_id)
    if row is None:
        raise missing_record("competency_template", "id", template_id)
    return row


def require_view(call: Call) -> None:
    """Raise unless the account may see templates; whoever manages them may."""
    if not call.may(MANAGE):
        call.require(VIEW)


def export(call: Call, row: Row) -> Row:
    """Return a template as Moodle answers it."""
    context = call.db.contexts.get(row["contextid"]) or {}
    description, form = call.text(row["description"], row["descriptionformat"])
    return {
        "shortname": call.string(row["shortname"]),
        "description": description,
        "descriptionformat": form,
        "duedate": row["duedate"],
        "visible": row["visible"],
        "contextid": row["contextid"],
        "id": row["id"],
        "timecreated": row["timecreated"],
        "timemodified": row["timemodified"],
        "usermodified": row["usermodified"],
        "duedateformatted": call.date(row["duedate"]),
        "cohortscount": call.db.template_cohorts.count("template", row["id"]),
        "planscount": call.db.plans.count("template", row["id"]),
        "canmanage": call.may(MANAGE),
        "canread": True,
        "contextname": call.site.context_name(context),
        "contextnamenoprefix": call.site.context_name(context, prefix=False),
    }


def _validate(call: Call, row: Row, before: Row | None) -> None:
    errors = []
    if row["descriptionformat"] not in (0, 1, 2, 4):
        errors.append(INVALID_DATA)
    changed = before is None or before["duedate"] != row["duedate"]
    if row["duedate"] and changed and row["duedate"] < call.now() - 600:
        errors.append(PAST)
    if before is not None and before["contextid"] != row["contextid"]:
        errors.append("Invalid context")
    if errors:
        raise invalid_persistent(*errors)
    too_long(row, shortname=100)


@function("core_competency_create_template")
def create_template(call: Call, args: Row) -> Row:
    """Create a template; names need not differ."""
    given = args["template"]
    context = call.context(given)
    if context["level"] not in (SYSTEM, COURSECAT):
        raise invalid_parameter("Template context must be system or category")
    call.require(MANAGE)
    row: Row = {
        "shortname": given["shortname"],
        "description": given["description"],
        "descriptionformat": 1 if given["descriptionformat"] is None else given["descriptionformat"],
        "duedate": given["duedate"] or 0,
        "visible": given["visible"],
        "contextid": context["id"],
    }
    _validate(call, row, None)
    call.think()
    return export(call, call.db.templates.insert(call.stamp(row)))


@function("core_competency_read_template")
def read_template(call: Call, args: Row) -> Row:
    """Answer one template."""
    row = template(call, args["id"])
    require_view(call)
    return export(call, row)


@function("core_competency_update_template")
def update_template(call: Call, args: Row) -> bool:
    """Change a template, and with it the unfinished plans made from it."""
    given = args["template"]
    row = template(call, given["id"])
    call.require(MANAGE)
    changes = {
        key: given[key]
        for key in ("shortname", "description", "duedate", "visible", "contextid")
        if given.get(key) is not None
    }
    changes["descriptionformat"] = 1 if given["descriptionformat"] is None else given["descriptionformat"]
    _validate(call, {**row, **changes}, row)
    call.think()
    call.db.templates.update(row, call.stamp(changes, new=False))
    for plan in call.db.plans.find("template", row["id"]):
        if plan["status"] != COMPLETE:
            call.db.plans.update(
                plan,
                {
                    "name": row["shortname"],
                    "description": row["description"],
                    "descriptionformat": row["descriptionformat"],
                    "duedate": row["duedate"],
                },
            )
    return True


@function("core_competency_delete_template")
def delete_template(call: Call, args: Row) -> bool:
    """Delete a template; its plans go with it or stay as plans of their own."""
    from connectors.simulators.moodle.plans import forget_plan, unlink

    row = template(call, args["id"])
    call.require(MANAGE)
    call.think()
    for plan in call.db.plans.find("template", row["id"]):
        if args["deleteplans"]:
            forget_plan(call, plan)
        else:
            unlink(call, plan)
    call.db.template_competencies.delete_where("template", row["id"])
    call.db.template_cohorts.delete_where("template", row["id"])
    call.db.templates.delete(row["id"])
    return True


@function("core_competency_duplicate_template")
def duplicate_template(call: Call, args: Row) -> Row:
    """Copy a template with its competencies."""
    source = template(call, args["id"])
    call.require(MANAGE)
    row = {**source, "shortname": f"{source['shortname']} (copy)"}
    too_long(row, shortname=100)
    call.think()
    row = call.db.templates.insert(call.stamp(row))
    for link in by_place(call.db.template_competencies.find("template", source["id"])):
        call.db.template_competencies.insert(call.stamp({**link, "templateid": row["id"]}))
    return export(call, row)


def _listed(call: Call, given: Row, includes: str, only_visible: bool) -> list[Row]:
    context = call.context(given)
    require_view(call)
    ids = frameworks.contexts_including(call, context, includes)
    rows = [row for row in sorted(call.db.templates, key=lambda r: r["id"]) if row["contextid"] in ids]
    return [row for row in rows if row["visible"]] if only_visible else rows


@function("core_competency_list_templates")
def list_templates(call: Call, args: Row) -> list[Row]:
    """Answer the templates of a context."""
    check_order(args["order"])
    rows = _listed(call, args["context"], args["includes"], bool(args["onlyvisible"]))
    rows = ordered(rows, args["sort"], args["order"], COLUMNS)
    return [export(call, row) for row in page(rows, args["skip"], args["limit"])]


@function("core_competency_count_templates")
def count_templates(call: Call, args: Row) -> int:
    """Answer how many templates a context has."""
    return len(_listed(call, args["context"], args["includes"], False))


@function("core_competency_template_has_related_data")
def has_related_data(call: Call, args: Row) -> bool:
    """Answer whether plans were made from a template."""
    row = template(call, args["id"])
    require_view(call)
    return call.db.plans.count("template", row["id"]) > 0


@function("core_competency_template_viewed")
def template_viewed(call: Call, args: Row) -> bool:
    """Record that somebody looked at a template."""
    template(call, args["id"])
    require_view(call)
    return True


def competencies_of(call: Call, template_id: int) -> list[Row]:
    """Return the competencies of a template in their order."""
    links = by_place(call.db.template_competencies.find("template", template_id))
    return [competencies.competency(call, link["competencyid"]) for link in links]


@function("core_competency_add_competency_to_template")
def add_competency(call: Call, args: Row) -> bool:
    """Put a competency into a template; answer whether it was new there."""
    row = competencies.competency(call, args["competencyid"])
    owner = template(call, args["templateid"])
    call.require(MANAGE)
    if not frameworks.framework(call, row["competencyframeworkid"])["visible"]:
        raise coding("A competency belonging to hidden framework can not be added")
    if call.db.template_competencies.count("pair", (owner["id"], row["id"])):
        return False
    place = next_place(call.db.template_competencies, "template", owner["id"])
    call.think()
    call.db.template_competencies.insert(
        call.stamp({"templateid": owner["id"], "competencyid": row["id"], "sortorder": place})
    )
    return True


@function("core_competency_remove_competency_from_template")
def remove_competency(call: Call, args: Row) -> bool:
    """Take a competency out of a template; answer whether it was there."""
    competencies.competency(call, args["competencyid"])
    owner = template(call, args["templateid"])
    call.require(MANAGE)
    call.think()
    return call.db.template_competencies.delete_where("pair", (owner["id"], args["competencyid"])) > 0


@function("core_competency_reorder_template_competency")
def reorder_competency(call: Call, args: Row) -> bool:
    """Put a competency where another of the template stands."""
    owner = template(call, args["templateid"])
    call.require(MANAGE)
    table = call.db.template_competencies
    first = table.first("pair", (owner["id"], args["competencyidfrom"]))
    second = table.first("pair", (owner["id"], args["competencyidto"]))
    if first is None or second is None:
        raise coding("The competency does not belong to this template")
    move(table, table.find("template", owner["id"]), first, second)
    return True


@function("core_competency_list_competencies_in_template")
def list_in_template(call: Call, args: Row) -> list[Row]:
    """Answer the competencies of a template in their order."""
    owner = template(call, args["id"])
    require_view(call)
    return [competencies.export(call, row) for row in competencies_of(call, owner["id"])]


@function("core_competency_count_competencies_in_template")
def count_in_template(call: Call, args: Row) -> int:
    """Answer how many competencies a template has."""
    owner = template(call, args["id"])
    require_view(call)
    return call.db.template_competencies.count("template", owner["id"])


def _using(call: Call, competency_id: int) -> list[Row]:
    competencies.competency(call, competency_id)
    require_view(call)
    ids = {link["templateid"] for link in call.db.template_competencies.find("competency", competency_id)}
    return [template(call, identity) for identity in sorted(ids)]


@function("core_competency_list_templates_using_competency")
def templates_using(call: Call, args: Row) -> list[Row]:
    """Answer the templates a competency is in."""
    return [export(call, row) for row in _using(call, args["id"])]


@function("core_competency_count_templates_using_competency")
def count_templates_using(call: Call, args: Row) -> int:
    """Answer how many templates a competency is in."""
    return len(_using(call, args["id"]))
