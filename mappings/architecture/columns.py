"""The files of a job architecture: what each is called and which columns it has."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.rows import Column


@dataclass(frozen=True, slots=True)
class FileSpec:
    """One file (or sheet) of a job architecture: its base name, other names it goes by, its columns."""

    name: str
    columns: tuple[Column, ...]
    aliases: tuple[str, ...] = ()


def _key(*aliases: str, name: str = "idnumber", required: bool = True) -> Column:
    """Return a column that holds the key of the record itself."""
    return Column(name, aliases or ("id number", "id", "key", "code"), required, key=True)


_COMPETENCY = Column(
    "competency",
    ("competency idnumber", "competency id", "competency code", "competency key"),
    required=True,
    key=True,
)
_LEVEL = ("required level", "level", "target level", "proficiency level")

SCALES = FileSpec(
    "competency_scales",
    (
        Column("scale", ("scale key", "scale id", "scale code", "scale idnumber"), required=True, key=True),
        Column("name", ("scale name",), required=True),
        Column("value", ("number", "position", "rank"), required=True),
        Column("label", ("level", "level name", "value name"), required=True),
        Column("proficient", ("is proficient", "counts as proficient"), required=True),
        Column("default", ("is default", "default value"), required=True),
    ),
    ("scales",),
)
FRAMEWORKS = FileSpec(
    "competency_frameworks",
    (
        Column("framework", ("framework key", "idnumber", "id number", "id", "code"), required=True, key=True),
        Column("name", ("framework name", "shortname", "short name", "title"), required=True),
        Column("scale", ("scale key", "scale id", "scale code", "scale idnumber"), required=True, key=True),
        Column("description", ("framework description",)),
    ),
    ("frameworks",),
)
COMPETENCIES = FileSpec(
    "competencies",
    (
        Column("framework", ("framework key", "framework idnumber", "framework id"), required=True, key=True),
        _key("id number", "competency idnumber", "competency id", "id", "key", "code"),
        Column("parent", ("parent idnumber", "parent id number", "parent id", "parent code"), required=True, key=True),
        Column("shortname", ("short name", "name", "competency", "competency name", "title"), required=True),
        Column("description", ("definition", "text")),
        Column("scale", ("scale key", "scale id", "own scale"), key=True),
    ),
)
DESCRIPTORS = FileSpec(
    "level_descriptors",
    (
        _COMPETENCY,
        Column("level", ("value", "scale value"), required=True),
        Column("text", ("descriptor", "description", "level descriptor"), required=True),
    ),
    ("descriptors",),
)
RULES = FileSpec(
    "roll_up_rules",
    (
        Column(
            "competency",
            ("parent", "parent competency", "competency idnumber", "competency id"),
            required=True,
            key=True,
        ),
        Column("rule", ("kind", "rule type"), required=True),
        Column("outcome", ("rule outcome", "result"), required=True),
        Column("required_points", ("points required", "total points")),
        Column("child", ("child competency", "child idnumber", "child id"), key=True),
        Column("points", ("child points", "worth")),
        Column("required", ("child required", "must have")),
    ),
    ("rollup rules", "competency rules"),
)
RELATED = FileSpec(
    "related_competencies",
    (
        _COMPETENCY,
        Column("related", ("related competency", "related to", "related idnumber"), required=True, key=True),
    ),
)
COURSE_LINKS = FileSpec(
    "course_links",
    (
        Column("course", ("course idnumber", "course id", "course short name", "course code"), required=True, key=True),
        _COMPETENCY,
        Column("outcome", ("rule outcome", "on completion", "when completed")),
    ),
    ("course competencies",),
)
FAMILIES = FileSpec(
    "job_families",
    (
        _key("id number", "family", "family id", "family code", "id", "key", "code"),
        Column("name", ("family name", "job family", "title"), required=True),
        Column("parent", ("parent idnumber", "parent family", "parent id", "parent code"), key=True),
    ),
    ("families",),
)
POSITIONS = FileSpec(
    "positions",
    (
        _key("id number", "position", "position id", "position code", "job code", "id", "key", "code"),
        Column("title", ("name", "position title", "job title", "position name"), required=True),
        Column("family", ("job family", "family idnumber", "family id", "family code"), key=True),
        Column("level", ("job level", "grade"), key=True),
        Column("track", ("career track", "ladder")),
        Column("parent", ("parent idnumber", "parent position", "parent id"), key=True),
    ),
    ("standard positions",),
)
ORGANISATIONS = FileSpec(
    "organisations",
    (
        _key("id number", "organisation", "organization", "unit", "department code", "id", "key", "code"),
        Column("name", ("organisation name", "organization name", "unit name", "department", "title"), required=True),
        Column("parent", ("parent idnumber", "parent unit", "parent id", "parent code"), key=True),
        Column("cost_centre", ("cost center", "cost centre code"), key=True),
    ),
    ("organizations",),
)
POSITION_COMPETENCIES = FileSpec(
    "position_competencies",
    (
        Column("position", ("position idnumber", "position id", "position code", "job code"), required=True, key=True),
        _COMPETENCY,
        Column("required_level", _LEVEL, required=True),
        Column("due_days", ("due in days", "due after days")),
        Column("renewal_days", ("renew after days", "renewal in days", "valid days")),
    ),
    ("position requirements",),
)
REQUIREMENTS = FileSpec(
    "requirements",
    (
        Column("target", ("applies to", "target type", "for"), required=True),
        Column("target_key", ("target idnumber", "target id", "key", "idnumber", "who"), required=True, key=True),
        _COMPETENCY,
        Column("required_level", _LEVEL, required=True),
        Column("due_days", ("due in days", "due after days")),
        Column("renewal_days", ("renew after days", "renewal in days", "valid days")),
    ),
)

FILES: tuple[FileSpec, ...] = (
    SCALES,
    FRAMEWORKS,
    COMPETENCIES,
    DESCRIPTORS,
    RULES,
    RELATED,
    COURSE_LINKS,
    FAMILIES,
    POSITIONS,
    ORGANISATIONS,
    POSITION_COMPETENCIES,
    REQUIREMENTS,
)
"""Every file, in the order in which they are read and their faults reported."""
