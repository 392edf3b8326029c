"""What only a person can make in Totara before a model can go in: what the reports show of it, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from bridge.model import Architecture, Scale
from bridge.ports import Finding, KindSpec
from connectors.totara.channels import HRIMPORT, PLURAL
from connectors.totara.options import TotaraOptions

Rows = Callable[[str], Sequence[dict[str, str]] | None]
"""Kind to the rows of its state report; None where there is none."""

_FRAMEWORK = {
    "competency": "framework_idnumber",
    "organisation": "org_frameworkidnumber",
    "position": "pos_frameworkidnumber",
}
_TYPE = {"competency": "type_idnumber", "organisation": "org_orgtypeidnumber", "position": "pos_postypeidnumber"}
_SCALE = "scale_name"


def checklist(model: Architecture, options: TotaraOptions, rows_of: Rows) -> Iterator[Finding]:
    """Frameworks, scales, types, custom fields, achievement paths and requirements that a model needs.

    A report lists items, not frameworks: one without items is in none, so that it cannot be found before the first
    push, and the finding says so.
    """
    rows = {kind: rows_of(kind) for kind in _FRAMEWORK}
    yield from _frameworks(model, options, rows)
    yield from _scales(model, rows["competency"])
    yield from _types(options, rows)
    yield from _fields(options)
    yield from _by_hand(model)


def _frameworks(
    model: Architecture, options: TotaraOptions, rows: dict[str, Sequence[dict[str, str]] | None]
) -> Iterator[Finding]:
    wanted = [("competency", framework.key) for framework in model.frameworks]
    for kind, items in (("organisation", model.organisations), ("position", model.positions)):
        if not items:
            continue
        key = options.framework_of.get(kind, "")
        if key:
            wanted.append((kind, key))
        else:
            yield Finding(
                f"{kind} framework",
                False,
                f"the settings name none for {len(items):,} {PLURAL[kind]}",
                f"Set {kind} under framework_of to the id number of a {kind} framework that exists in Totara.",
            )
    for kind, key in wanted:
        held = Counter(row[_FRAMEWORK[kind]] for row in rows[kind] or ())
        subject = f"{kind} framework {key}"
        if held[key]:
            yield Finding(subject, True, f"found, with {held[key]:,} items")
            continue
        others = ", ".join(sorted(name for name in held if name))
        seen = (
            "no report shows an item in it"
            if rows[kind] is not None
            else f"there is no report of {PLURAL[kind]} to look in"
        )
        shown = f"; the report has items of {others}" if others else ""
        yield Finding(
            subject,
            False,
            f"{seen}, so it cannot be told whether it exists{shown}",
            f"Make it in Totara with the id number {key}, if it is not there yet: a file that names an unknown "
            "framework is refused as a whole.",
        )


def _scales(model: Architecture, rows: Sequence[dict[str, str]] | None) -> Iterator[Finding]:
    scales = {scale.key: scale for scale in model.scales}
    for framework in model.frameworks:
        scale = scales.get(framework.scale)
        if scale is None:
            continue
        subject = f"scale of {framework.key}"
        held = {row[_SCALE] for row in rows or () if row[_FRAMEWORK["competency"]] == framework.key and _SCALE in row}
        remedy = f"Make the scale “{scale.name}” ({_values(scale)}) and choose it for the framework {framework.key}."
        if scale.name in held:
            yield Finding(subject, True, f"“{scale.name}” is in use; compare its values: {_values(scale)}")
        elif held:
            says = f"the report shows “{', '.join(sorted(held))}” instead of “{scale.name}”"
            yield Finding(subject, False, says, remedy)
        else:
            says = "not seen: the competency report has no column “Scale name” or no item of this framework"
            yield Finding(subject, False, says, remedy)


def _values(scale: Scale) -> str:
    return ", ".join(f"{one.label}{' (proficient)' if one.proficient else ''}" for one in scale.items)


def _types(options: TotaraOptions, rows: dict[str, Sequence[dict[str, str]] | None]) -> Iterator[Finding]:
    for kind, name in sorted(options.type_of.items()):
        column = _TYPE.get(kind)
        held = {row.get(column, "") for row in rows.get(kind) or ()} if column else set()
        if name in held:
            yield Finding(f"{kind} type {name}", True, "found")
        else:
            says = f"no report shows a {kind} of this type"
            remedy = f"Make the type with the id number {name}: a file with an unknown type is refused as a whole."
            yield Finding(f"{kind} type {name}", False, says, remedy)


def _fields(options: TotaraOptions) -> Iterator[Finding]:
    for element, held in sorted(options.hrimport.elements.items()):
        custom = sorted(name for name in held.imported or () if name.startswith("customfield_"))
        if custom:
            names = ", ".join(name.removeprefix("customfield_") for name in custom)
            if element != "user" and held.csvsaveemptyfields:
                yield Finding(
                    f"values of custom fields in {element}.csv",
                    False,
                    f"{names}: the model has no values for them, and the site takes empty cells to erase",
                    "Switch these columns off in the element's source settings, or every push clears them.",
                )
            yield Finding(
                f"custom fields of {element}.csv",
                False,
                f"{names}: no report tells whether they exist",
                "Make them in Totara with these short names, and switch them on in the element's source settings.",
            )


def _by_hand(model: Architecture) -> Iterator[Finding]:
    if model.rules:
        yield Finding(
            "achievement paths",
            False,
            f"{len(model.rules):,} roll-up rules have no file and no interface",
            "Set the achievement paths of these competencies in Totara (Competencies, Achievement paths).",
        )
    if model.requirements:
        yield Finding(
            "requirements",
            False,
            f"{len(model.requirements):,} requirements have no file and no interface",
            "`lms-bridge totara requirements` writes the list; assign them, then verify with the same command.",
        )


def strangers(spec: KindSpec, owner: str, keys: Sequence[str], *, seen: bool = False) -> Finding:
    """Objects that the channel of their kind cannot change, because the other one (or a hand) made them.

    `seen` where the site itself shows it; otherwise it is known from what was sent earlier.
    """
    named = ", ".join(keys[:5]) + (f" and {len(keys) - 5:,} more" if len(keys) > 5 else "")
    if owner == HRIMPORT:
        says = (
            f"{len(keys):,} of these were made by hand or through the API ({named}): HR Import leaves them alone "
            "without a word"
        )
        remedy = "On the site, tick “HR Import” in the settings of each, or let it be" + (
            "." if seen else f"; then add {spec.kind} to `switched_channel` in the options of this site."
        )
        return Finding(f"{spec.plural} HR Import cannot see", False, says, remedy, blocking=not seen)
    says = (
        f"{len(keys):,} {spec.plural} were made through HR Import ({named}), and now belong to GraphQL: a file that "
        "names them would undo what the API writes"
    )
    remedy = (
        f"See that no HR Import file of {spec.plural} goes in any more (switch the element off on the site), then add "
        f"{spec.kind} to `switched_channel` in the options of this site."
    )
    return Finding(f"{spec.plural} of the other channel", False, says, remedy, blocking=True)
