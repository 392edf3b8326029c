"""Positions and organisations through the API of Totara 19.

Their names are in the public change log; the shape of their inputs is taken from that of the operations on job
assignments observed on 17.3 (``target_...``, references by id number, null clears).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.hrimport_rules.state import Item
from connectors.simulators.totara.accounts import ApiFault
from connectors.simulators.totara.site import TotaraSite

_WORDS = {"pos": "Position", "org": "Organisation"}
_TEXTS = ("fullname", "shortname", "description")


def _find(site: TotaraSite, element: str, reference: Mapping[str, Any]) -> Item:
    hierarchy = site.state.hierarchy(element)
    found = hierarchy.by_idnumber.get(str(reference.get("idnumber")))
    if reference.get("id") is not None:
        found = hierarchy.items.get(int(reference["id"]))
    if found is None:
        raise ApiFault(f"{_WORDS[element]} reference not found")
    return found


def create_place(site: TotaraSite, element: str, given: Mapping[str, Any]) -> Item:
    """Make an item. It is not HR Import's: a file will leave it alone."""
    hierarchy = site.state.hierarchy(element)
    framework = str((given.get("framework") or {}).get("idnumber") or "")
    if framework not in hierarchy.frameworks:
        raise ApiFault(f"{_WORDS[element]} framework reference not found")
    idnumber = str(given.get("idnumber") or "")
    if not str(given.get("fullname") or ""):
        raise ApiFault("Missing full name")
    if idnumber in hierarchy.by_idnumber:
        raise ApiFault(f"Idnumber already exists: {idnumber}")
    parent = _find(site, element, given["parent"]) if given.get("parent") else None
    of_type = _type(site, element, given)
    item = hierarchy.add(idnumber, framework)
    item.totarasync = False
    item.parent = parent
    item.type = of_type
    item.fields = {name: str(given.get(name) or "") for name in _TEXTS}
    item.timemodified = site.now()
    return item


def _type(site: TotaraSite, element: str, given: Mapping[str, Any]) -> str:
    name = str((given.get("type") or {}).get("idnumber") or "")
    if name and name not in site.state.hierarchy(element).types:
        raise ApiFault(f"{_WORDS[element]} type reference not found")
    return name


def update_place(site: TotaraSite, element: str, reference: Mapping[str, Any], given: Mapping[str, Any]) -> Item:
    """Change what is given; a null parent moves to the top."""
    item = _find(site, element, reference)
    if "parent" in given:
        parent = _find(site, element, given["parent"]) if given["parent"] else None
        if parent is not None and item in parent.path():
            raise ApiFault("An item cannot be moved under itself")
        item.parent = parent
    fields = item.fields = item.fields or {}
    for name in _TEXTS:
        if given.get(name) is not None:
            fields[name] = str(given[name])
    if given.get("type"):
        item.type = _type(site, element, given)
    item.timemodified = site.now()
    return item


def delete_place(site: TotaraSite, element: str, reference: Mapping[str, Any]) -> str:
    """Delete an item with everything under it; its id comes back."""
    item = _find(site, element, reference)
    site.state.remove_items(element, site.state.hierarchy(element).subtree(item))
    return str(item.id)
