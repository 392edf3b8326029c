"""The organisation tree as feed rows speak of it, for companies that keep no list of units."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.model import Organisation


def build_organisations(units: Iterable[tuple[str, str, str]]) -> tuple[Organisation, ...]:
    """Return the units that rows of (key, name, parent) name, parents first.

    A unit without a name is called by its key; a parent that no row describes becomes a unit of its own; of several
    names or parents the first one holds; a parent that would close a circle is left out.
    """
    names: dict[str, str] = {}
    parents: dict[str, str] = {}
    for key, name, parent in units:
        if not key:
            continue
        if name or key not in names:
            names[key] = names.get(key) or name
        if parent and parent != key:
            names.setdefault(parent, "")
            if key not in parents and not _leads_to(parents, parent, key):
                parents[key] = parent
    ordered: list[Organisation] = []
    done: set[str] = set()
    for key in names:
        chain: list[str] = []
        at: str | None = key
        while at is not None and at not in done:
            chain.append(at)
            done.add(at)
            at = parents.get(at)
        ordered.extend(Organisation(one, names[one] or one, parents.get(one)) for one in reversed(chain))
    return tuple(ordered)


def _leads_to(parents: dict[str, str], start: str, goal: str) -> bool:
    """Tell whether going up from `start` comes to `goal`."""
    at: str | None = start
    while at is not None:
        if at == goal:
            return True
        at = parents.get(at)
    return False
