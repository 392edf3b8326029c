"""The web services of the simulated site that a bridge reads: site info, accounts, hierarchies, audiences.

Errors are HTTP 200; names come back as HTML; an empty result can be ``null``; twenty items a page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from connectors.hrimport_rules.state import Item, User
from connectors.simulators.totara.accounts import ApiFault, create_user
from connectors.simulators.totara.graphql import escaped, full_name
from connectors.simulators.totara.site import TotaraSite

PER_PAGE = 20
_PART = re.compile(r"\[([^\]]*)\]")


class WsFault(Exception):
    """An exception as the web service answers it."""

    def __init__(self, exception: str, errorcode: str, message: str) -> None:
        super().__init__(message)
        self.body = {"exception": exception, "errorcode": errorcode, "message": message}


def _invalid() -> WsFault:
    return WsFault("invalid_parameter_exception", "invalidparameter", "Invalid parameter value detected")


def _off(feature: str) -> WsFault:
    return WsFault(
        "totara_core\\feature_not_available_exception",
        "feature_not_available",
        f"Feature {feature} is not available.",
    )


def nested(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Form parameters with PHP's brackets as a tree; lists are dictionaries by number."""
    tree: dict[str, Any] = {}
    for key, value in pairs:
        name = key.partition("[")[0]
        parts = [name, *_PART.findall(key)]
        node = tree
        for part in parts[:-1]:
            node = node.setdefault(part, {})
        node[parts[-1] or str(len(node))] = value
    return tree


def _list(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else []


class WebServices:
    """Answers web service calls from a site."""

    def __init__(self, site: TotaraSite, token: str) -> None:
        self.site = site
        self.token = token
        self.account = "wssvc"
        self.competency_assignment = False
        self.audiences: dict[str, dict[str, Any]] = {}
        # Element -> framework's id number -> its name, where it has another.
        self.framework_names: dict[str, dict[str, str]] = {}
        # Course id -> user id -> whether completed; a course without criteria is not among them.
        self.completions: dict[int, dict[int, bool]] = {}
        self.functions: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "core_webservice_get_site_info": self._site_info,
            "core_user_get_users_by_field": self._users_by_field,
            "core_user_get_users": self._users,
            "core_user_create_users": self._create_users,
            "core_cohort_get_cohorts": self._cohorts,
            "core_cohort_create_cohorts": self._create_cohorts,
            "core_cohort_get_cohort_members": self._cohort_members,
            "core_cohort_add_cohort_members": self._add_cohort_members,
            "hierarchy_position_framework_index": lambda p: self._frameworks("pos", p),
            "hierarchy_organisation_framework_index": lambda p: self._frameworks("org", p),
            "hierarchy_position_index": lambda p: self._index("pos", p),
            "hierarchy_organisation_index": lambda p: self._index("org", p),
            "hierarchy_position_show": lambda p: self._show("pos", "position", p),
            "hierarchy_organisation_show": lambda p: self._show("org", "organisation", p),
            "core_completion_get_course_completion_status": self._completion,
            "totara_evidence_type_search": lambda _: None,
            "totara_competency_get_linked_courses": lambda _: {"items": []},
            "totara_competency_get_frameworks": lambda _: None,
            "totara_competency_get_pathways": self._competency_feature,
            "totara_competency_competency_index": self._competency_feature,
            "totara_competency_competency_show": self._competency_feature,
            "totara_competency_assignment_index": self._competency_feature,
        }

    def call(self, pairs: list[tuple[str, str]]) -> Any:
        """The answer to one call's form parameters."""
        parameters = nested(pairs)
        if parameters.get("wstoken") != self.token:
            return WsFault("moodle_exception", "invalidtoken", "Invalid token - token not found").body
        function = self.functions.get(str(parameters.get("wsfunction")))
        if function is None:
            return WsFault(
                "dml_missing_record_exception", "invalidrecordunknown", "Can not find data record in database."
            ).body
        try:
            with self.site.lock:
                return function(parameters)
        except WsFault as fault:
            return fault.body
        except (ApiFault, KeyError, ValueError, TypeError):
            # Whatever does not fit the declared parameters is one and the same error there.
            return _invalid().body

    def _competency_feature(self, _parameters: Mapping[str, Any]) -> Any:
        if not self.competency_assignment:
            raise _off("competency_assignment")
        return {"items": [], "page": 1, "pages": 0, "per_page": PER_PAGE, "next": None, "prev": None, "total": 0}

    def _site_info(self, _parameters: Mapping[str, Any]) -> Any:
        own = next((user for user in self.site.state.users.values() if user.username == self.account), None)
        return {
            "sitename": "Simulated Totara",
            "username": self.account,
            "firstname": self.account,
            "lastname": "Svc",
            "fullname": f"{self.account} Svc",
            "lang": "en",
            "userid": own.id if own else 0,
            "siteurl": "",
            "functions": [{"name": name, "version": "2022110800.03"} for name in sorted(self.functions)],
            "downloadfiles": 1,
            "uploadfiles": 1,
            "release": "3.4.9 (Build: 20190513)",
            "version": "2022110800.03",
            "usercanmanageownfiles": True,
            "siteid": 1,
        }

    def _completion(self, parameters: Mapping[str, Any]) -> Any:
        of_course = self.completions.get(int(parameters["courseid"]))
        if of_course is None:
            raise WsFault("moodle_exception", "nocriteriaset", "No completion criteria set for this course")
        done = of_course.get(int(parameters["userid"]), False)
        criterion = {
            "type": 1,
            "title": "Self completion",
            "status": "Yes" if done else "No",
            "complete": done,
            "timecompleted": None,
            "details": {
                "type": "Self completion",
                "criteria": "Self completion",
                "requirement": "Marking yourself complete",
                "status": "",
            },
        }
        return {"completionstatus": {"completed": done, "aggregation": 1, "completions": [criterion]}, "warnings": []}

    # -- accounts ---------------------------------------------------------------------------------

    def _user(self, user: User) -> dict[str, Any]:
        fields = user.fields or {}
        return {
            "id": user.id,
            "username": user.username,
            "firstname": escaped(fields.get("firstname", "")),
            "lastname": escaped(fields.get("lastname", "")),
            "fullname": escaped(full_name(user)),
            "email": user.email,
            "department": fields.get("department", ""),
            "idnumber": user.idnumber,
            "auth": fields.get("auth", "manual"),
            "suspended": user.suspended,
            "confirmed": True,
            "lang": fields.get("lang", "en"),
            "timezone": fields.get("timezone", "99"),
            "city": fields.get("city", ""),
            "country": fields.get("country", ""),
            "customfields": [
                {
                    "type": self.site.settings.user_custom_fields[name.removeprefix("customfield_")].datatype,
                    "value": str(value),
                    "name": name.removeprefix("customfield_"),
                    "shortname": name.removeprefix("customfield_"),
                }
                for name, value in fields.items()
                if name.removeprefix("customfield_") in self.site.settings.user_custom_fields
            ],
        }

    def _users_by_field(self, parameters: Mapping[str, Any]) -> Any:
        name = str(parameters["field"])
        if name not in {"id", "idnumber", "username", "email"}:
            raise _invalid()
        values = {str(value) for value in _list(parameters.get("values"))}
        return [self._user(user) for user in self.site.state.live_users() if str(getattr(user, name)) in values]

    def _users(self, parameters: Mapping[str, Any]) -> Any:
        criteria = _list(parameters["criteria"])
        if any(entry["key"] not in {"id", "idnumber", "username", "email"} for entry in criteria):
            raise _invalid()
        found = [
            self._user(user)
            for user in self.site.state.live_users()
            if all(str(getattr(user, entry["key"])) == entry["value"] for entry in criteria)
        ]
        return {"users": found, "warnings": []}

    def _create_users(self, parameters: Mapping[str, Any]) -> Any:
        made = [create_user(self.site, entry) for entry in _list(parameters["users"])]
        return [{"id": user.id, "username": user.username} for user in made]

    # -- audiences --------------------------------------------------------------------------------

    def _cohorts(self, _parameters: Mapping[str, Any]) -> Any:
        return self._plain_cohorts()

    def _plain_cohorts(self) -> list[dict[str, Any]]:
        return [{name: entry[name] for name in _COHORT} for entry in self.audiences.values()]

    def _create_cohorts(self, parameters: Mapping[str, Any]) -> Any:
        made = []
        for given in _list(parameters["cohorts"]):
            entry = {
                "id": len(self.audiences) + 1,
                "name": given["name"],
                "idnumber": given["idnumber"],
                "description": given.get("description", ""),
                "descriptionformat": 1,
                "visible": True,
                "members": [],
            }
            self.audiences[str(given["idnumber"])] = entry
            made.append({name: entry[name] for name in _COHORT})
        return made

    def _cohort_members(self, parameters: Mapping[str, Any]) -> Any:
        wanted = {int(value) for value in _list(parameters["cohortids"])}
        return [
            {"cohortid": entry["id"], "userids": list(entry["members"])}
            for entry in self.audiences.values()
            if entry["id"] in wanted
        ]

    def _add_cohort_members(self, parameters: Mapping[str, Any]) -> Any:
        for entry in _list(parameters["members"]):
            cohort, person = entry["cohorttype"], entry["usertype"]
            audience = next(
                one for one in self.audiences.values() if str(one.get(cohort["type"])) == str(cohort["value"])
            )
            user = next(
                one for one in self.site.state.live_users() if str(getattr(one, person["type"])) == person["value"]
            )
            if user.id not in audience["members"]:
                audience["members"].append(user.id)
        return {"warnings": []}

    # -- hierarchies ------------------------------------------------------------------------------

    @staticmethod
    def _paged(rows: list[dict[str, Any]], parameters: Mapping[str, Any]) -> dict[str, Any]:
        page = int(parameters.get("page", 1))
        size = PER_PAGE if page else max(len(rows), 1)
        pages = -(-len(rows) // size)
        start = (page - 1) * size if page else 0
        return {
            "items": rows[start : start + size],
            "page": page,
            "pages": pages,
            "per_page": size,
            "next": str(page + 1) if page and page < pages else None,
            "prev": str(page - 1) if page > 1 else None,
            "total": len(rows),
        }

    def _frameworks(self, element: str, parameters: Mapping[str, Any]) -> Any:
        # An empty filters object cannot be sent as a form: without one key the call is refused.
        text = str(parameters["filters"].get("text", "")).lower()
        names = self.site.state.hierarchy(element).frameworks
        shown = {number: self._framework_name(element, name) for name, number in names.items()}
        rows = [
            {"id": number, "display_name": escaped(name), "fullname": escaped(name)}
            for number, name in shown.items()
            if text in name.lower()
        ]
        return self._paged(rows, parameters)

    def _index(self, element: str, parameters: Mapping[str, Any]) -> Any:
        filters = parameters["filters"]
        hierarchy = self.site.state.hierarchy(element)
        names = {number: name for name, number in hierarchy.frameworks.items()}
        found = list(hierarchy.items.values())
        if "framework" in filters:
            found = [item for item in found if item.framework == names.get(int(filters["framework"]))]
        if "parent" in filters:
            above = int(filters["parent"])
            found = [item for item in found if (item.parent.id if item.parent else 0) == above]
        if "path" in filters:
            above = int(filters["path"])
            found = [item for item in found if any(step.id == above for step in item.path()[:-1])]
        if filters.get("text"):
            found = [item for item in found if filters["text"].lower() in _name(item).lower()]
        found.sort(key=lambda item: (_name(item), item.id), reverse=parameters.get("direction") == "desc")
        rows = [
            {
                "id": item.id,
                "display_name": escaped(_name(item)),
                "fullname": escaped(_name(item)),
                "idnumber": item.idnumber,
                "crumbtrail": [],
            }
            for item in found
        ]
        return self._paged(rows, parameters)

    def _show(self, element: str, word: str, parameters: Mapping[str, Any]) -> Any:
        hierarchy = self.site.state.hierarchy(element)
        item = hierarchy.items.get(int(parameters["id"]))
        if item is None:
            return []
        number = hierarchy.frameworks.get(item.framework, 0)
        answer: dict[str, Any] = {
            "id": item.id,
            "fullname": escaped(_name(item)),
            "idnumber": item.idnumber,
            "description": (item.fields or {}).get("description", ""),
            "shortname": (item.fields or {}).get("shortname", ""),
            "visible": 1,
            "frameworkid": number,
        }
        if "crumbs" in (parameters.get("include") or {}):
            name = self._framework_name(element, item.framework)
            answer["crumbtrail"] = self._crumbs(item, word, number, name)
        return answer

    def _framework_name(self, element: str, idnumber: str) -> str:
        return self.framework_names.get(element, {}).get(idnumber, idnumber)

    @staticmethod
    def _crumbs(item: Item, word: str, number: int, framework: str) -> list[dict[str, Any]]:
        crumbs: list[dict[str, Any]] = [
            {"id": number, "name": escaped(framework), "parent_id": None, "type": "framework"}
        ]
        for step in item.path():
            parent = step.parent.id if step.parent else 0
            crumbs.append({"id": step.id, "name": escaped(_name(step)), "parent_id": parent, "type": word})
        last = len(crumbs) - 1
        return [
            {**crumb, "active": place == last, "first": place == 0, "last": place == last}
            for place, crumb in enumerate(crumbs)
        ]


_COHORT = ("id", "name", "idnumber", "description", "descriptionformat", "visible")


def _name(item: Item) -> str:
    return str((item.fields or {}).get("fullname", ""))
