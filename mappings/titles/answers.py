"""What has been decided for a group, as the suggester takes it."""

from __future__ import annotations

from dataclasses import dataclass

from mappings.titles.legacy import LegacyGroup


@dataclass(frozen=True, slots=True)
class Answer:
    """What was decided for a group: the people that went to each key, and the keys ruled out.

    No placement means that the catalogue holds no fitting position.
    """

    group: LegacyGroup
    placements: tuple[tuple[str, float], ...] = ()
    excluded: tuple[str, ...] = ()
