"""What happens on a Moodle without anybody asking: plans for cohort members, course completions.

And what only a person can do.
"""

from connectors.simulators.moodle.seeding import DATE
from connectors.simulators.moodle.site import Site
from connectors.simulators.moodle.tables import Row

ADMIN = 2


def link_template_to_cohort(site: Site, template_id: int, cohort_id: int) -> None:
    """Link a learning-plan template to a cohort, as its page does; both must exist."""
    if site.db.templates.get(template_id) is None or site.db.cohorts.get(cohort_id) is None:
        raise LookupError(f"template {template_id} or cohort {cohort_id} does not exist")
    if not site.db.template_cohorts.count("pair", (template_id, cohort_id)):
        now = site.now()
        site.db.template_cohorts.insert(
            {
                "templateid": template_id,
                "cohortid": cohort_id,
                "timecreated": now,
                "timemodified": now,
                "usermodified": ADMIN,
            }
        )


def run_cron(site: Site, completions: bool = True) -> dict[str, int]:
    """Make the plans that linked cohorts call for, and stamp the courses whose criteria are all met."""
    return {"plans": _sync_plans(site), "completions": _aggregate_completions(site) if completions else 0}


def _sync_plans(site: Site) -> int:
    """Give each member of a linked cohort a plan.

    One who has or had a plan of the template keeps it as it is.
    """
    made = 0
    now = site.now()
    for link in sorted(site.db.template_cohorts, key=lambda r: r["id"]):
        template = site.db.templates.get(link["templateid"])
        if template is None or not template["visible"] or (template["duedate"] and template["duedate"] <= now):
            continue
        for member in site.db.cohort_members.find("cohort", link["cohortid"]):
            user = member["userid"]
            key = (user, template["id"])
            if site.db.plans.count("usertemplate", key) or site.db.plans.count("origtemplate", key):
                continue
            site.db.plans.insert(plan_from_template(template, user, now, ADMIN))
            made += 1
    return made


def plan_from_template(template: Row, user: int, now: int, by: int) -> Row:
    """Return the plan a template makes for somebody."""
    return {
        "name": template["shortname"],
        "description": template["description"],
        "descriptionformat": template["descriptionformat"],
        "userid": user,
        "templateid": template["id"],
        "origtemplateid": None,
        "status": 1,
        "duedate": template["duedate"],
        "reviewerid": None,
        "timecreated": now,
        "timemodified": now,
        "usermodified": by,
    }


def _aggregate_completions(site: Site) -> int:
    """Complete courses whose criteria are all met, dated by the last one (observed on Moodle 4.5.6)."""
    made = 0
    now = site.now()
    for course in site.db.courses:
        criteria = site.db.criteria.find("course", course["id"])
        if not criteria:
            continue
        for enrolment in site.db.enrolments.find("course", course["id"]):
            user = enrolment["userid"]
            completion = site.db.completions.first("pair", (course["id"], user))
            if completion is not None and completion["timecompleted"]:
                continue
            times = []
            for row in criteria:
                done = site.db.criteria_completions.first("pair", (row["id"], user))
                if done is None and row["type"] == DATE and row["timeend"] and row["timeend"] <= now:
                    done = site.db.criteria_completions.insert(
                        {
                            "criteriaid": row["id"],
                            "userid": user,
                            "course": course["id"],
                            "timecompleted": row["timeend"],
                        }
                    )
                if done is None and row.get("module"):
                    state = site.db.module_completions.first("pair", (row["module"], user))
                    if state is not None and state["completionstate"]:
                        done = site.db.criteria_completions.insert(
                            {
                                "criteriaid": row["id"],
                                "userid": user,
                                "course": course["id"],
                                "timecompleted": state["timemodified"],
                            }
                        )
                if done is not None:
                    times.append(done["timecompleted"])
            if len(times) < len(criteria):
                continue
            start = enrolment["timecreated"]
            if completion is None:
                site.db.completions.insert(
                    {
                        "course": course["id"],
                        "userid": user,
                        "timeenrolled": start,
                        "timestarted": start,
                        "timecompleted": max(times),
                    }
                )
            else:
                site.db.completions.update(completion, {"timecompleted": max(times)})
            made += 1
    return made
