"""The part of a company that is pushed: a standing pilot list, narrowed by what a command names. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from bridge.model import Architecture
from bridge.ports import FixConfiguration
from bridge.settings import PilotSettings

_WORDS = {"unit": "units", "position": "positions", "person": "people"}


def parse_scope(texts: Iterable[str]) -> PilotSettings:
    """Return `unit=KEY`, `position=KEY` and `person=KEY` as a list. Raises FixConfiguration for anything else."""
    found: dict[str, list[str]] = {name: [] for name in _WORDS.values()}
    for text in texts:
        word, _, key = text.partition("=")
        if word not in _WORDS or not key:
            raise FixConfiguration(
                f"--scope {text} is not understood. Write unit=KEY (the units below it count too), position=KEY or "
                "person=KEY, as often as needed, for example --scope unit=WARD-7 --scope person=E00042."
            )
        found[_WORDS[word]].append(key)
    return PilotSettings(**{name: tuple(dict.fromkeys(keys)) for name, keys in found.items()})


@dataclass(frozen=True, slots=True)
class Pilot:
    """Who is inside. Somebody has to be on every one of the lists: by unit, by position, or by name."""

    lists: tuple[PilotSettings, ...] = ()
    units: tuple[frozenset[str], ...] = field(default=())
    """For each list its units with those below them."""

    @classmethod
    def of(cls, lists: Iterable[PilotSettings], architecture: Architecture) -> Pilot:
        """Return the pilot of some lists; empty ones bound nothing.

        Raises FixConfiguration where a list names a unit or position that is not there: a misspelt one would quietly
        push nobody.
        """
        kept = tuple(one for one in lists if one)
        units = {unit.key for unit in architecture.organisations}
        positions = {position.key for position in architecture.positions}
        for what, known, named in (
            ("unit", units, [key for one in kept for key in one.units]),
            ("position", positions, [key for one in kept for key in one.positions]),
        ):
            unknown = [key for key in named if key not in known]
            if unknown:
                raise FixConfiguration(
                    f"The scope names a {what} that is not in the files: {', '.join(unknown)}. "
                    "Correct --scope, or [sites.NAME.pilot] in bridge.toml. Nothing was planned or sent."
                )
        return cls(kept, tuple(_with_below(one.units, architecture) for one in kept))

    def __bool__(self) -> bool:
        return bool(self.lists)

    def covers(self, person: str, units: Collection[str | None], positions: Collection[str | None]) -> bool:
        """Say whether somebody with jobs in these units and positions is inside."""
        return all(
            person in one.people
            or any(unit in below for unit in units)
            or any(position in one.positions for position in positions)
            for one, below in zip(self.lists, self.units, strict=True)
        )

    @property
    def people(self) -> Sequence[str]:
        """The people that are named."""
        return tuple(dict.fromkeys(key for one in self.lists for key in one.people))

    @property
    def words(self) -> str:
        """What it is, as a person would say it."""
        said = []
        for one in self.lists:
            parts = [
                f"{word} {', '.join(keys[:5])}{', …' if len(keys) > 5 else ''}"
                for word, keys in (("units", one.units), ("positions", one.positions), ("people", one.people))
                if keys
            ]
            said.append(" or ".join(parts))
        return ", and of those ".join(said)


def _with_below(units: Collection[str], architecture: Architecture) -> frozenset[str]:
    """Return units and those below them."""
    below: dict[str, list[str]] = {}
    for unit in architecture.organisations:
        below.setdefault(unit.parent or "", []).append(unit.key)
    found: set[str] = set()
    todo = list(units)
    while todo:
        key = todo.pop()
        if key not in found:
            found.add(key)
            todo += below.get(key, [])
    return frozenset(found)
