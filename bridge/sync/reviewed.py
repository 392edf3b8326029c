"""Reviewed plans: written to a file, read again, and carried out only as far as nothing they touch has moved."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from bridge.ports import Change, FixConfiguration, Remark, SafetyLimit, Severity
from bridge.store.encoding import as_value, change_from_json, change_to_json, digest
from bridge.sync.diff import Drift
from bridge.sync.plan import ChangePlan
from bridge.sync.policy import Stance

FORMAT = 1
"""Version of the stored plan's form."""


def plan_to_json(plan: ChangePlan) -> dict[str, Any]:
    """Return a plan as a JSON object: what `plan --out` writes and `--json` prints."""
    return {
        "format": FORMAT,
        "site": plan.site,
        "made_at": plan.made_at,
        "rules": plan.rules,
        "wanted": plan.wanted,
        "asked": plan.asked,
        "counts": plan.counts(),
        "base_counts": plan.base_counts,
        "changes": [change_to_json(change) for change in plan.changes],
        "drift": [
            {
                "kind": one.kind,
                "key": one.key,
                "field": one.field,
                "applied": one.applied,
                "actual": one.actual,
                "stance": one.stance.value,
            }
            for one in plan.drifts
        ],
        "remarks": [
            {"severity": one.severity.value, "kind": one.kind, "key": one.key, "says": one.says} for one in plan.remarks
        ],
        "seen": [[kind, key, seen] for (kind, key), seen in plan.seen.items()],
    }


def plan_from_json(text: str) -> ChangePlan:
    """Return the plan that a file holds. Raises FixConfiguration where it holds none that this program can read."""
    try:
        plain = json.loads(text)
        if plain["format"] != FORMAT:
            raise FixConfiguration(
                f"The plan is in form {plain['format']}, this program reads form {FORMAT}: plan again."
            )
        return ChangePlan(
            site=plain["site"],
            made_at=plain["made_at"],
            changes=[change_from_json(change) for change in plain["changes"]],
            drifts=[
                Drift(
                    one["kind"],
                    one["key"],
                    one["field"],
                    as_value(one["applied"]),
                    as_value(one["actual"]),
                    Stance(one["stance"]),
                )
                for one in plain["drift"]
            ],
            remarks=[
                Remark(Severity(one["severity"]), one["kind"], one["key"], one["says"]) for one in plain["remarks"]
            ],
            seen={(kind, key): seen for kind, key, seen in plain["seen"]},
            rules=plain["rules"],
            wanted=plain["wanted"],
            asked=plain.get("asked", {}),
            base_counts=plain["base_counts"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FixConfiguration(
            f"This is not a plan that `lms-bridge plan --out` wrote ({error}): make it again."
        ) from error


def reviewed(stored: ChangePlan, fresh: ChangePlan) -> ChangePlan:
    """Return the fresh plan cut down to exactly what was reviewed.

    Raises SafetyLimit where the rules, the site or any object of the reviewed plan moved since, naming them.
    """
    if stored.site != fresh.site:
        raise SafetyLimit(f"The plan was made for site {stored.site}, not {fresh.site}. Nothing was sent.")
    if stored.rules != fresh.rules:
        raise SafetyLimit("The rules (the policy) changed since the plan was made. Nothing was sent: plan again.")
    if stored.wanted != fresh.wanted:
        raise SafetyLimit("The files changed since the plan was made. Nothing was sent: plan again and review that.")
    moved = [f"{kind} {key}" for (kind, key), seen in stored.seen.items() if fresh.seen.get((kind, key)) != seen]
    kept = [change for change in fresh.changes if (change.kind, change.key) in stored.seen]
    if not moved:
        wanted, still = ({_essence(change): change for change in side} for side in (stored.changes, kept))
        moved = [f"{wanted[one].kind} {wanted[one].key}" for one in wanted if one not in still]
        moved += [f"{still[one].kind} {still[one].key}" for one in still if one not in wanted]
    if moved:
        moved = list(dict.fromkeys(moved))
        named = ", ".join(moved[:10]) + (f" and {len(moved) - 10:,} more" if len(moved) > 10 else "")
        raise SafetyLimit(
            f"Since the plan was made, the LMS moved: {named}. Nothing was sent: plan again and review that."
        )
    return replace(
        fresh,
        changes=kept,
        converged=[],
        forgotten=[],
        again=[one for one in fresh.again if one in stored.seen],
        seen={one: fresh.seen[one] for one in stored.seen},
    )


def _essence(change: Change) -> str:
    """Return a digest of all that a reviewer sees of a change, and all that decides what it does."""
    return digest(
        change.kind,
        change.key,
        change.action.value,
        change.after and dict(change.after),
        change.parent,
        change.previous if change.ordered else None,
        change.erase,
    )
