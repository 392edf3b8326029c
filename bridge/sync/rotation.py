"""Kinds that are too many to be read back every night: whom to look at tonight, and what stands for the others. Pure.

Objects of such a kind belong to an owner (a learning plan to its person), who stands first in their keys. Owners are
looked at whole: all whose objects are about to change, or are not known to the base, and a share of the rest that goes
round in so many nights. For everybody else the base stands: what was last applied, or seen.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping

from bridge.ports import Found, Item, KindSpec
from bridge.store.encoding import dump
from bridge.store.state import Base

DAY = 86_400.0


def owner_of(key: str) -> str:
    """Return the owner of an object: what stands before the first bar of its key."""
    return key.partition("|")[0]


def whose_turn(owner: str, nights: int, now: float) -> bool:
    """Say whether an owner is looked at tonight though nothing changes; each is, once in so many nights."""
    return zlib.crc32(owner.encode()) % nights == int(now // DAY) % nights


def owners_due(
    spec: KindSpec,
    desired: Mapping[str, Item],
    base: Mapping[str, Base],
    removable: Callable[[str], bool],
    now: float,
) -> set[str]:
    """Return the owners in one kind who must be looked at tonight. `removable` says whether a missing key may go."""
    due = {owner_of(key) for key, item in desired.items() if _moves(item, base.get(key))}
    due |= {owner_of(key) for key, one in base.items() if key not in desired and not one.retired and removable(key)}
    owners = {owner_of(key) for keys in (desired, base) for key in keys}
    return due | {owner for owner in owners if whose_turn(owner, spec.rotation, now)}


def _moves(item: Item, base: Base | None) -> bool:
    """Say whether what is wanted differs from what was last applied."""
    if base is None or base.retired:
        return True
    return any(name not in base.fields or dump(value) != dump(base.fields[name]) for name, value in item.fields.items())


def standing_for(base: Mapping[str, Base], due: Iterable[str]) -> dict[str, Found]:
    """Return the base of everybody who is not looked at, as if it had been read."""
    looked_at = set(due)
    return {
        key: Found(one.kind, key, one.fields, one.lms_id or "", one.parent, one.retired)
        for key, one in base.items()
        if owner_of(key) not in looked_at
    }
