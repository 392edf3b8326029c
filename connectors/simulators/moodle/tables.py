"""A small in-memory database: tables of rows with indexes, comparable and storable as JSON."""

import unicodedata
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

Row = dict[str, Any]
IndexKey = Callable[[Row], Hashable]


def collate(text: str) -> str:
    """Return the form under which the database compares text.

    Case, accents and trailing spaces do not count.
    """
    if text.isascii():
        return text.lower().rstrip(" ")
    decomposed = unicodedata.normalize("NFKD", text)
    # The collation gives every character beyond the basic plane, such as emoji, one and the same weight.
    kept = ("\ufffd" if c > "\uffff" else c for c in decomposed if not unicodedata.combining(c))
    return "".join(kept).casefold().rstrip(" ")


class Table:
    """Rows by id, with named indexes kept current; `version` counts the changes."""

    def __init__(self, name: str, indexes: Mapping[str, IndexKey] | None = None) -> None:
        self.name = name
        self.rows: dict[int, Row] = {}
        self.next_id = 1
        self.version = 0
        self._keys = dict(indexes or {})
        # Most keys have one row: its bare id takes a fifth of the memory of a set with it.
        self._indexes: dict[str, dict[Hashable, int | dict[int, None]]] = {name: {} for name in self._keys}

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows.values())

    def get(self, row_id: int) -> Row | None:
        """Return the row with this id, if there is one."""
        return self.rows.get(row_id)

    def insert(self, row: Row, row_id: int | None = None) -> Row:
        """Add a row under the next id (or the one given) and return it."""
        identity = self.next_id if row_id is None else row_id
        self.next_id = max(self.next_id, identity + 1)
        self.version += 1
        row["id"] = identity
        self.rows[identity] = row
        for name, key in self._keys.items():
            self._add(name, key(row), identity)
        return row

    def update(self, row: Row, changes: Row) -> None:
        """Change fields of a row in place."""
        self.version += 1
        before = {name: key(row) for name, key in self._keys.items()}
        row.update(changes)
        for name, key in self._keys.items():
            after = key(row)
            if after != before[name]:
                self._drop(name, before[name], row["id"])
                self._add(name, after, row["id"])

    def delete(self, row_id: int) -> None:
        """Remove a row; its id is not used again."""
        self.version += 1
        row = self.rows.pop(row_id)
        for name, key in self._keys.items():
            self._drop(name, key(row), row_id)

    def delete_where(self, index: str, key: Hashable) -> int:
        """Remove every row under an index key and return how many there were."""
        ids = self._ids(index, key)
        for row_id in ids:
            self.delete(row_id)
        return len(ids)

    def find(self, index: str, key: Hashable) -> list[Row]:
        """Return the rows under an index key, in id order."""
        return [self.rows[row_id] for row_id in self._ids(index, key)]

    def first(self, index: str, key: Hashable) -> Row | None:
        """Return the row with the lowest id under an index key, if any."""
        ids = self._indexes[index].get(key)
        if ids is None:
            return None
        return self.rows[ids if isinstance(ids, int) else min(ids)]

    def count(self, index: str, key: Hashable) -> int:
        """Return how many rows an index key has."""
        ids = self._indexes[index].get(key)
        if ids is None:
            return 0
        return 1 if isinstance(ids, int) else len(ids)

    def dump(self) -> dict[str, Any]:
        """Return the table as JSON-ready data."""
        return {"next_id": self.next_id, "rows": [dict(row) for row in self.rows.values()]}

    def load(self, data: Mapping[str, Any]) -> None:
        """Replace the content by what `dump` returned."""
        self.version += 1
        self.rows.clear()
        for index in self._indexes.values():
            index.clear()
        for row in data["rows"]:
            self.insert(dict(row), row["id"])
        self.next_id = data["next_id"]

    def _ids(self, index: str, key: Hashable) -> list[int]:
        ids = self._indexes[index].get(key)
        if ids is None:
            return []
        return [ids] if isinstance(ids, int) else sorted(ids)

    def _add(self, index: str, key: Hashable, row_id: int) -> None:
        rows = self._indexes[index]
        ids = rows.get(key)
        if ids is None:
            rows[key] = row_id
        elif isinstance(ids, int):
            rows[key] = {ids: None, row_id: None}
        else:
            ids[row_id] = None

    def _drop(self, index: str, key: Hashable, row_id: int) -> None:
        rows = self._indexes[index]
        ids = rows[key]
        if isinstance(ids, int):
            del rows[key]
            return
        ids.pop(row_id, None)
        if not ids:
            del rows[key]


class Database:
    """All tables of a simulated site."""

    def __init__(self) -> None:
        self.contexts = Table("context", {"instance": lambda r: (r["level"], r["instanceid"])})
        self.users = Table(
            "user",
            {
                "username": lambda r: r["username"],
                "email": lambda r: collate(r["email"]),
                "idnumber": lambda r: collate(r["idnumber"]),
            },
        )
        self.profile_fields = Table("user_info_field", {"shortname": lambda r: r["shortname"]})
        self.tokens = Table("external_tokens", {"token": lambda r: r["token"]})
        self.scales = Table("scale")
        self.categories = Table("course_categories", {"idnumber": lambda r: collate(r["idnumber"])})
        self.courses = Table(
            "course",
            {"shortname": lambda r: collate(r["shortname"]), "idnumber": lambda r: collate(r["idnumber"])},
        )
        self.modules = Table("course_modules", {"course": lambda r: r["course"]})
        self.criteria = Table("course_completion_criteria", {"course": lambda r: r["course"]})
        self.enrolments = Table(
            "user_enrolments",
            {
                "course": lambda r: r["courseid"],
                "user": lambda r: r["userid"],
                "pair": lambda r: (r["courseid"], r["userid"]),
            },
        )
        self.role_assignments = Table(
            "role_assignments",
            {
                "who": lambda r: (r["contextid"], r["userid"]),
                "exact": lambda r: (r["contextid"], r["userid"], r["roleid"]),
            },
        )
        self.completions = Table(
            "course_completions",
            {"pair": lambda r: (r["course"], r["userid"]), "user": lambda r: r["userid"]},
        )
        self.criteria_completions = Table(
            "course_completion_crit_compl", {"pair": lambda r: (r["criteriaid"], r["userid"])}
        )
        self.module_completions = Table(
            "course_modules_completion", {"pair": lambda r: (r["coursemoduleid"], r["userid"])}
        )
        self.groups = Table("groups", {"course": lambda r: r["courseid"]})
        self.group_members = Table(
            "groups_members", {"group": lambda r: r["groupid"], "pair": lambda r: (r["groupid"], r["userid"])}
        )
        self.frameworks = Table("competency_framework", {"idnumber": lambda r: collate(r["idnumber"])})
        self.competencies = Table(
            "competency",
            {
                "framework": lambda r: r["competencyframeworkid"],
                "parent": lambda r: (r["competencyframeworkid"], r["parentid"]),
                "children": lambda r: r["parentid"],
                "idnumber": lambda r: (r["competencyframeworkid"], collate(r["idnumber"])),
                "anyidnumber": lambda r: collate(r["idnumber"]),
            },
        )
        self.related = Table(
            "competency_relatedcomp",
            {
                "pair": lambda r: (r["competencyid"], r["relatedcompetencyid"]),
                "one": lambda r: r["competencyid"],
                "other": lambda r: r["relatedcompetencyid"],
            },
        )
        self.course_competencies = Table(
            "competency_coursecomp",
            {
                "course": lambda r: r["courseid"],
                "competency": lambda r: r["competencyid"],
                "pair": lambda r: (r["courseid"], r["competencyid"]),
            },
        )
        self.course_settings = Table("competency_coursecompsetting", {"course": lambda r: r["courseid"]})
        self.templates = Table("competency_template")
        self.template_competencies = Table(
            "competency_templatecomp",
            {
                "template": lambda r: r["templateid"],
                "competency": lambda r: r["competencyid"],
                "pair": lambda r: (r["templateid"], r["competencyid"]),
            },
        )
        self.template_cohorts = Table(
            "competency_templatecohort",
            {"template": lambda r: r["templateid"], "pair": lambda r: (r["templateid"], r["cohortid"])},
        )
        self.plans = Table(
            "competency_plan",
            {
                "user": lambda r: r["userid"],
                "template": lambda r: r["templateid"],
                "origtemplate": lambda r: (r["userid"], r["origtemplateid"]),
                "usertemplate": lambda r: (r["userid"], r["templateid"]),
            },
        )
        self.plan_competencies = Table(
            "competency_plancomp",
            {
                "plan": lambda r: r["planid"],
                "competency": lambda r: r["competencyid"],
                "pair": lambda r: (r["planid"], r["competencyid"]),
            },
        )
        self.user_competencies = Table(
            "competency_usercomp",
            {"pair": lambda r: (r["userid"], r["competencyid"]), "competency": lambda r: r["competencyid"]},
        )
        self.user_competency_plans = Table(
            "competency_usercompplan",
            {
                "plan": lambda r: r["planid"],
                "competency": lambda r: r["competencyid"],
                "exact": lambda r: (r["planid"], r["competencyid"]),
            },
        )
        self.user_competency_courses = Table(
            "competency_usercompcourse",
            {
                "course": lambda r: r["courseid"],
                "exact": lambda r: (r["courseid"], r["userid"], r["competencyid"]),
            },
        )
        self.evidence = Table("competency_evidence", {"usercompetency": lambda r: r["usercompetencyid"]})
        self.user_evidence = Table("competency_userevidence", {"user": lambda r: r["userid"]})
        self.user_evidence_competencies = Table(
            "competency_userevidencecomp",
            {
                "evidence": lambda r: r["userevidenceid"],
                "pair": lambda r: (r["userevidenceid"], r["competencyid"]),
            },
        )
        self.cohorts = Table("cohort", {"idnumber": lambda r: collate(r["idnumber"])})
        self.cohort_members = Table(
            "cohort_members",
            {"cohort": lambda r: r["cohortid"], "pair": lambda r: (r["cohortid"], r["userid"])},
        )
        self.reports = Table("reportbuilder_report")
        self.report_columns = Table("reportbuilder_column", {"report": lambda r: r["reportid"]})
        self.report_filters = Table("reportbuilder_user_filter", {"pair": lambda r: (r["reportid"], r["userid"])})
        self.badges = Table("badge")
        self.issued_badges = Table("badge_issued", {"user": lambda r: r["userid"]})

    def tables(self) -> dict[str, Table]:
        """Return every table by its attribute name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Table)}

    def dump(self) -> dict[str, Any]:
        """Return the whole state as JSON-ready data."""
        return {name: table.dump() for name, table in self.tables().items()}

    def load(self, data: Mapping[str, Any]) -> None:
        """Replace the whole state by what `dump` returned."""
        for name, table in self.tables().items():
            table.load(data.get(name, {"next_id": 1, "rows": []}))
