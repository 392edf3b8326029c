"""Job assignments through the API."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from connectors.hrimport_rules.state import Item, Job, User
from connectors.simulators.totara.accounts import ApiFault, find_user
from connectors.simulators.totara.site import TotaraSite

_NOT_ONE = (
    "There was a problem finding a single job assignment record match or you do not have permission to manage it."
)
_NONE = "Job assignment does not exist or you do not have permission to manage it."


def _matching(site: TotaraSite, reference: Mapping[str, Any]) -> list[Job]:
    owner = find_user(site, reference["user"]) if reference.get("user") else None
    return [
        job
        for job in site.state.sorted_jobs()
        if (reference.get("id") is None or str(job.id) == str(reference["id"]))
        and (reference.get("idnumber") is None or job.idnumber == reference["idnumber"])
        and (owner is None or job.user is owner)
    ]


def _find(site: TotaraSite, reference: Mapping[str, Any], none: str) -> Job:
    found = _matching(site, reference)
    if not found:
        raise ApiFault(none)
    if len(found) > 1:
        raise ApiFault(_NOT_ONE)
    return found[0]


def create_job(site: TotaraSite, given: Mapping[str, Any]) -> Job:
    """Make a job assignment; HR Import will leave it alone."""
    owner = find_user(
        site,
        given.get("user") or {},
        "The user does not exist or you do not have permission to create a job assignment.",
    )
    idnumber = str(given["idnumber"])
    if site.state.job_of(owner, idnumber) is not None:
        raise ApiFault("Tried to create job assignment idnumber which is not unique for this user")
    values = _resolved(site, owner, given, None)
    job = site.state.add_job(idnumber, owner)
    job.totarasync = False
    _assign(job, values)
    return job


def update_job(site: TotaraSite, reference: Mapping[str, Any], given: Mapping[str, Any]) -> Job:
    """Change what is given; null clears."""
    job = _find(site, reference, _NONE)
    values = _resolved(site, job.user, given, job)
    boss = values.get("manager")
    above: set[int] = set()
    while isinstance(boss, Job) and boss.id not in above:
        if boss is job:
            raise ApiFault("Tried to create a manager path loop in job_assignment::calculate_managerjapath")
        above.add(boss.id)
        boss = boss.manager
    if given.get("idnumber"):
        other = site.state.job_of(job.user, str(given["idnumber"]))
        if other is not None and other is not job:
            raise ApiFault("Tried to update job assignment to an idnumber which is not unique for this user")
        job.idnumber = str(given["idnumber"])
    _assign(job, values)
    return job


def delete_job(site: TotaraSite, reference: Mapping[str, Any]) -> str:
    """Delete a job assignment; its id comes back."""
    job = _find(site, reference, _NOT_ONE)
    site.state.delete_job(job)
    return str(job.id)


def _assign(job: Job, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(job, name, value)


def _resolved(site: TotaraSite, owner: User, given: Mapping[str, Any], job: Job | None) -> dict[str, Any]:
    """The references and dates of an input turned into what a job holds; only what is given."""
    values: dict[str, Any] = {}
    if "fullname" in given:
        values["fullname"] = str(given["fullname"] or "")
    for member, attribute in (("start_date", "startdate"), ("end_date", "enddate")):
        if member in given:
            values[attribute] = _moment(given[member], site.settings.timezone)
    start = values.get("startdate", job.startdate if job else None)
    end = values.get("enddate", job.enddate if job else None)
    if start and end and start > end:
        raise ApiFault("The start date can not be later than the end date.")
    for member, element, word in (("position", "pos", "Position"), ("organisation", "org", "Organisation")):
        if member in given:
            values[member] = _item(site, element, given[member], word)
    for member, attribute, word in (
        ("manager", "manager", "Manager"),
        ("temp_manager", "tempmanager", "Temporary manager"),
    ):
        if member in given:
            values[attribute] = _manager(site, owner, given[member], word)
    if values.get("tempmanager") is not None:
        if given.get("temp_manager_expiry_date") is None:
            raise ApiFault("A temporary manager expiry date is required.")
        values["tempexpiry"] = _moment(given["temp_manager_expiry_date"], site.settings.timezone)
    if "appraiser" in given:
        appraiser = given["appraiser"]
        values["appraiser"] = None if appraiser is None else find_user(site, appraiser, "Appraiser reference not found")
        if values["appraiser"] is owner:
            raise ApiFault("The user cannot be assigned as their own appraiser.")
    return values


def _item(site: TotaraSite, element: str, reference: Mapping[str, Any] | None, word: str) -> Item | None:
    if reference is None:
        return None
    hierarchy = site.state.hierarchy(element)
    found = hierarchy.by_idnumber.get(str(reference.get("idnumber")))
    if reference.get("id") is not None:
        found = hierarchy.items.get(int(reference["id"]))
    if found is None:
        raise ApiFault(f"{word} reference not found")
    return found


def _manager(site: TotaraSite, owner: User, reference: Mapping[str, Any] | None, word: str) -> Job | None:
    if reference is None:
        return None
    found = _matching(site, reference)
    if len(found) != 1:
        raise ApiFault(f"{word} reference not found")
    if found[0].user is owner:
        raise ApiFault(f"The user cannot be assigned as their own {word.lower()}.")
    return found[0]


def _moment(value: Any, timezone: str) -> int | None:
    if value is None:
        return None
    text = str(value)
    if text.lstrip("-").isdigit():
        return int(text)
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone)).timestamp())
