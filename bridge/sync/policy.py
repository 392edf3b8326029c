"""Rules a person sets: what happens to edits made in the LMS, how removals are done, how much may change at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from bridge.ports import Action, Change, KindSpec


class Stance(StrEnum):
    """What to do about somebody's edit in the LMS."""

    ENFORCE = "enforce"
    """Put back what the files say."""
    RESPECT = "respect"
    """Leave the LMS as it is, and say so."""
    REPORT = "report"
    """Neither: report it as something to decide."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The stance by kind, and by field of a kind where it differs (`competency.description`)."""

    default: Stance = Stance.ENFORCE
    by_kind: Mapping[str, Stance] = field(default_factory=dict)
    erase: frozenset[str] = frozenset()
    """Kinds whose removals take the object away instead of retiring it. Empty unless somebody asked for it."""

    def stance(self, kind: str, field_name: str) -> Stance:
        """Return the stance for one field: its own, else its kind's, else the default."""
        return self.by_kind.get(f"{kind}.{field_name}", self.by_kind.get(kind, self.default))


@dataclass(frozen=True, slots=True)
class Limit:
    """How many objects one run may touch in one way: a number, and a percentage of what the base holds."""

    number: int
    percent: float
    small: int
    """The percentage never stops this many or fewer: half of four is not a flood."""

    def exceeded_by(self, count: int, base: int) -> str | None:
        """Return which bounds `count` breaks, in words, or None. Exact: n pass, n+1 do not."""
        broken: list[str] = []
        if count > self.number:
            broken.append(f"{count:,} is over the limit of {self.number:,}")
        # A share as it was written: 33.3 % of 1,000 is 333, which binary fractions would miss by a hair.
        if base > 0 and count > self.small and count * 100 > Fraction(str(self.percent)) * base:
            broken.append(f"{count:,} of {base:,} is over the limit of {self.percent:g} %")
        return "; ".join(broken) or None


class Touch(StrEnum):
    """The ways of touching an object that limits tell apart."""

    CREATE = "create"
    UPDATE = "update"
    MOVE = "move"
    REMOVE = "remove"


TOUCH_OF: Mapping[Action, Touch] = {
    Action.CREATE: Touch.CREATE,
    Action.UPDATE: Touch.UPDATE,
    Action.REVIVE: Touch.UPDATE,
    Action.MOVE: Touch.MOVE,
    Action.REMOVE: Touch.REMOVE,
}
"""Adopting writes nothing to the LMS, so no limit counts it."""


def touch_of(change: Change, spec: KindSpec) -> Touch | None:
    """Return the way in which a change touches its object; None where nothing is written."""
    if spec.removed_by and spec.removed_by in change.fields and (change.after or {}).get(spec.removed_by) is True:
        return Touch.REMOVE
    return TOUCH_OF.get(change.action)


OBJECT_LIMITS: Mapping[Touch, Limit] = {
    Touch.CREATE: Limit(20_000, 100, 10),
    Touch.UPDATE: Limit(5_000, 50, 10),
    Touch.MOVE: Limit(500, 20, 10),
    Touch.REMOVE: Limit(250, 10, 3),
}
RELATION_LIMITS: Mapping[Touch, Limit] = {
    Touch.CREATE: Limit(100_000, 100, 50),
    Touch.UPDATE: Limit(20_000, 50, 50),
    Touch.MOVE: Limit(5_000, 20, 50),
    Touch.REMOVE: Limit(5_000, 10, 10),
}
"""Links between objects come by the dozen per person, so their numbers are larger; their shares are not."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one site. `own` overrides one kind's one touch, under `kind.touch`; `initial` lifts creates."""

    own: Mapping[str, Limit] = field(default_factory=dict)
    initial: bool = False

    def limit(self, spec: KindSpec, touch: Touch) -> Limit | None:
        """Return the limit that holds, or None where `initial` lifts it. Nothing lifts removals."""
        if self.initial and touch is Touch.CREATE:
            return None
        own = self.own.get(f"{spec.kind}.{touch.value}")
        if own is not None:
            return own
        return (RELATION_LIMITS if spec.relation else OBJECT_LIMITS)[touch]
