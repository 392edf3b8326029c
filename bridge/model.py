"""The canonical records: what a job architecture, its people and their results are, whatever the LMS.

Everything here is frozen, free of input and output, and knows no LMS. Keys are the `idnumber` that the HR side and
the LMS share; a competency's key is its framework's key and its own idnumber joined by a slash, since an LMS only
promises that an idnumber is unique inside its framework.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

RETIRED = "\N{NO-BREAK SPACE}retired"
"""Stands where a competency's parent key stands once it is retired; no file can name it by accident."""


def competency_key(framework: str, idnumber: str) -> str:
    """Return the key under which a competency is known everywhere: ``FRAMEWORK/idnumber``."""
    return f"{framework}/{idnumber}"


@dataclass(frozen=True, slots=True)
class ScaleItem:
    """One value of a scale, from the lowest (1) upwards."""

    value: int
    label: str
    proficient: bool = False
    default: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """An ordered list of levels in which attainment is expressed."""

    key: str
    name: str
    items: tuple[ScaleItem, ...]

    @property
    def proficient_from(self) -> int:
        """The lowest value that counts as proficient; one above the highest where none does."""
        return min((item.value for item in self.items if item.proficient), default=len(self.items) + 1)


@dataclass(frozen=True, slots=True)
class Framework:
    """A tree of competencies that share a scale."""

    key: str
    name: str
    scale: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Competency:
    """A node of a framework's tree. `parent` is a competency key, None at the top; `order` counts siblings from 0."""

    framework: str
    idnumber: str
    name: str
    parent: str | None = None
    description: str = ""
    order: int = 0
    scale: str | None = None

    @property
    def key(self) -> str:
        """The key under which this competency is known everywhere."""
        return competency_key(self.framework, self.idnumber)


@dataclass(frozen=True, slots=True)
class LevelDescriptor:
    """What a level of a competency looks like in practice."""

    competency: str
    level: int
    text: str


class RollUp(StrEnum):
    """How children count towards their parent."""

    ALL = "all"
    POINTS = "points"


class RuleOutcome(StrEnum):
    """What happens to the parent (or, for a course link, to the competency) when the condition is met."""

    NONE = "none"
    EVIDENCE = "evidence"
    RECOMMEND = "recommend"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class RollUpPoints:
    """What one child is worth under a points rule, and whether the parent cannot be reached without it."""

    competency: str
    points: int
    required: bool = False


@dataclass(frozen=True, slots=True)
class RollUpRule:
    """When a competency's children make it complete: all of them, or enough points of them."""

    competency: str
    kind: RollUp
    outcome: RuleOutcome
    required_points: int = 0
    children: tuple[RollUpPoints, ...] = ()


@dataclass(frozen=True, slots=True)
class RelatedCompetencies:
    """Two competencies of one framework that belong together; the order of the pair says nothing."""

    first: str
    second: str


@dataclass(frozen=True, slots=True)
class CourseLink:
    """A course (by its idnumber, else its short name) that teaches a competency."""

    course: str
    competency: str
    outcome: RuleOutcome = RuleOutcome.EVIDENCE


@dataclass(frozen=True, slots=True)
class JobFamily:
    """A group of positions that do related work."""

    key: str
    name: str
    parent: str | None = None


class Track(StrEnum):
    """The two ladders: individual contributors and managers of people."""

    INDIVIDUAL = "IC"
    MANAGER = "M"


@dataclass(frozen=True, slots=True)
class Position:
    """A standard position: what a job is called, in which family, on which level and track."""

    key: str
    title: str
    family: str | None = None
    level: str | None = None
    track: Track | None = None
    parent: str | None = None


class Target(StrEnum):
    """To whom a requirement applies."""

    EVERYONE = "everyone"
    ORGANISATION = "organisation"
    FAMILY = "family"
    LEVEL = "level"
    POSITION = "position"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A competency that a target needs, at a level of the competency's scale.

    `due_days` counts from the day the requirement starts to apply to a person; `renewal_days` from the day it was met.
    """

    target: Target
    target_key: str
    competency: str
    level: int
    due_days: int | None = None
    renewal_days: int | None = None


@dataclass(frozen=True, slots=True)
class Organisation:
    """A unit of the organisation tree."""

    key: str
    name: str
    parent: str | None = None
    cost_centre: str = ""


class PersonStatus(StrEnum):
    """Whether somebody works here."""

    ACTIVE = "active"
    ON_LEAVE = "on_leave"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody the HRIS knows. `extra` holds further mapped columns, as (name, value) pairs in name order."""

    key: str
    first_name: str
    last_name: str
    email: str
    status: PersonStatus = PersonStatus.ACTIVE
    username: str = ""
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class JobAssignment:
    """One job of one person: where, as what, under whom, from when to when (both days included)."""

    key: str
    person: str
    organisation: str | None = None
    position: str | None = None
    title: str = ""
    manager: str | None = None
    start: dt.date | None = None
    end: dt.date | None = None
    primary: bool = True


@dataclass(frozen=True, slots=True)
class Architecture:
    """A job architecture and competency model, read whole and without faults. Tuples keep the order of the files."""

    scales: tuple[Scale, ...] = ()
    frameworks: tuple[Framework, ...] = ()
    competencies: tuple[Competency, ...] = ()
    descriptors: tuple[LevelDescriptor, ...] = ()
    rules: tuple[RollUpRule, ...] = ()
    related: tuple[RelatedCompetencies, ...] = ()
    course_links: tuple[CourseLink, ...] = ()
    families: tuple[JobFamily, ...] = ()
    positions: tuple[Position, ...] = ()
    organisations: tuple[Organisation, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    given: frozenset[str] = frozenset()
    """Names of the files that were there. What no file speaks of is not desired absent: it is not spoken of."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The part of a company that is pushed, where it is not the whole: the units and positions in it."""

    units: frozenset[str] = frozenset()
    positions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Workforce:
    """The people and their jobs, as of one day, that the accepted feeds describe."""

    as_of: dt.date
    people: tuple[Person, ...] = ()
    assignments: tuple[JobAssignment, ...] = ()
    absent: frozenset[str] = frozenset()
    """Keys of people whose absence is confirmed; anyone else who is missing is simply not spoken of."""
    extent: Extent | None = None
    """Where only part of the company is pushed: what is in it. People outside are not spoken of."""


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything the bridge wants an LMS to say."""

    architecture: Architecture = field(default_factory=Architecture)
    workforce: Workforce | None = None
    """None where no feed is in play: then nothing about people is planned."""
    notes: tuple[str, ...] = ()
    """What a reviewer should know about where this comes from: which files, which day, which part of the company."""


@dataclass(frozen=True, slots=True)
class CourseCompletion:
    """A person's completion of a course. Times are UTC; None where the LMS does not say when."""

    person: str
    course: str
    completed_at: dt.datetime | None
    course_name: str = ""
    lms_user: str = ""


@dataclass(frozen=True, slots=True)
class ActivityCompletion:
    """A person's completion of one activity of a course."""

    person: str
    course: str
    activity: str
    state: str
    completed_at: dt.datetime | None
    lms_user: str = ""


@dataclass(frozen=True, slots=True)
class Attainment:
    """The level a person has been rated at in a competency; None where not rated."""

    person: str
    competency: str
    level: int | None
    proficient: bool | None
    lms_user: str = ""


@dataclass(frozen=True, slots=True)
class PlanStatus:
    """How far a person's learning plan is."""

    person: str
    plan: str
    name: str
    status: str
    lms_user: str = ""


@dataclass(frozen=True, slots=True)
class BadgeAward:
    """A badge a person holds."""

    person: str
    badge: str
    name: str
    issued_at: dt.datetime | None
    expires_at: dt.datetime | None = None
    lms_user: str = ""


@dataclass(frozen=True, slots=True)
class Certification:
    """A certification or program a person holds or works towards, where the LMS has such things."""

    person: str
    certification: str
    name: str
    status: str
    completed_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    lms_user: str = ""


Result = CourseCompletion | ActivityCompletion | Attainment | PlanStatus | BadgeAward | Certification
"""What a pull brings back. `person` is the person's key; it is empty where the LMS account carries none, and `lms_user`
tells who it is."""

RESULT_KINDS: Mapping[str, type[Result]] = {
    "completions": CourseCompletion,
    "activities": ActivityCompletion,
    "attainments": Attainment,
    "plans": PlanStatus,
    "badges": BadgeAward,
    "certifications": Certification,
}
"""The names of the kinds of result, in commands, scopes and exports."""

RESULT_KIND_OF: Mapping[type[Result], str] = {record: name for name, record in RESULT_KINDS.items()}
