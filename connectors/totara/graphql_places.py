"""Positions and organisations through the API of Totara 19: how they are read, and which write a change is.

The queries and mutations are named in the public change log of 19.0; the shape of their inputs follows that of the
operations observed on 17.3. What a site does not know it drops, so that everything is believed only when it came back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.ports import Action, Change, Found
from connectors.totara.graphql import GraphQlClient, Mutation
from connectors.totara.hierarchies import Hierarchies

_MEMBERS = {"name": "fullname", "description": "description"}


class Places:
    """The kind ``position`` or ``organisation``."""

    def __init__(self, kind: str, hierarchies: Hierarchies) -> None:
        self.kind = kind
        self._framework = hierarchies.options.framework_of.get(kind, "")
        self._type = hierarchies.options.type_of.get(kind)
        self._retired = hierarchies.retired(self._framework)

    def sendable(self, name: str) -> bool:
        """Whether the API can be told a field."""
        return name in _MEMBERS

    def read(self, client: GraphQlClient) -> Iterator[Found]:
        """Every item of the framework; where the account may not see frameworks, every item with an id number."""
        wanted = "idnumber fullname description parent { idnumber } framework { idnumber }"
        name = f"totara_hierarchy_{self.kind}s"
        for item in client.pages(name, f"{name}_query", wanted, fields=6):
            key = str(item.get("idnumber") or "")
            framework = (item.get("framework") or {}).get("idnumber")
            if not key or key == self._retired or (framework is not None and framework != self._framework):
                continue
            above = (item.get("parent") or {}).get("idnumber") or None
            fields = {field: str(item.get(member) or "") for field, member in _MEMBERS.items()}
            yield Found(self.kind, key, fields, key, above, retired=above == self._retired)

    def refusal(self, change: Change) -> str:
        """Why a change cannot be said to the API; empty where it can."""
        if change.action is Action.CREATE and not self._framework:
            return (
                f"the settings of this site name no framework for {self.kind}s: set framework_of.{self.kind} to the id "
                "number of one that exists in Totara"
            )
        return ""

    def mutation(self, change: Change) -> Mutation:
        """The write of a change."""
        if change.erase:
            return self._delete(change.key)
        after = change.after or {}
        match change.action:
            case Action.CREATE:
                return self._create(change.key, {_MEMBERS[name]: after[name] for name in after}, change.parent)
            case Action.REMOVE:
                return self._update(change.key, {"parent": {"idnumber": self._retired}})
            case Action.MOVE | Action.REVIVE:
                return self._update(change.key, {"parent": {"idnumber": change.parent} if change.parent else None})
            case _:
                return self._update(change.key, {_MEMBERS[name]: after[name] for name in change.fields})

    def retired_place(self) -> Mutation:
        """The write that makes the item retired ones hang under; refused where it is there already."""
        return self._create(self._retired, {"fullname": "Retired"}, None)

    def _create(self, key: str, values: Mapping[str, Any], parent: str | None) -> Mutation:
        told: dict[str, Any] = {**values, "idnumber": key, "framework": {"idnumber": self._framework}}
        if parent:
            told["parent"] = {"idnumber": parent}
        if self._type:
            told["type"] = {"idnumber": self._type}
        arguments = {"input": (f"totara_hierarchy_create_{self.kind}_input!", told)}
        return Mutation(f"totara_hierarchy_create_{self.kind}", arguments, self._wanted())

    def _update(self, key: str, values: Mapping[str, Any]) -> Mutation:
        arguments = {
            f"target_{self.kind}": (f"totara_hierarchy_{self.kind}_reference!", {"idnumber": key}),
            "input": (f"totara_hierarchy_update_{self.kind}_input!", dict(values)),
        }
        return Mutation(f"totara_hierarchy_update_{self.kind}", arguments, self._wanted())

    def _delete(self, key: str) -> Mutation:
        arguments = {f"target_{self.kind}": (f"totara_hierarchy_{self.kind}_reference!", {"idnumber": key})}
        return Mutation(f"totara_hierarchy_delete_{self.kind}", arguments, f"{self.kind}_id")

    def _wanted(self) -> str:
        return f"{self.kind} {{ id idnumber fullname description parent {{ idnumber }} }}"

    def differs(self, change: Change, answer: Mapping[str, Any]) -> str:
        """What the site holds after the write other than it was told; empty where nothing."""
        item = answer.get(self.kind)
        if not isinstance(item, Mapping):
            return ""
        after = change.after or {}
        above = (item.get("parent") or {}).get("idnumber") or None
        if change.action in {Action.CREATE, Action.MOVE, Action.REVIVE} and above != change.parent:
            return f"the site took the write and holds it under {above or 'the top'}, not {change.parent or 'the top'}"
        for name in after if change.action is Action.CREATE else change.fields:
            member = _MEMBERS.get(name)
            if member and str(item.get(member) or "") != str(after.get(name) or ""):
                return f"the site took the write and holds {member} “{item.get(member)}” instead of “{after.get(name)}”"
        return ""
