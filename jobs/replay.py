"""Running a bundle's run again: a simulated site that holds what the real one held, and the same changes sent by the
same connector."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bridge.ports import Action, BridgeError, Change, FixConfiguration, Outcome, StopRun, read_keys
from bridge.store.encoding import as_value, change_from_json
from connectors.moodle.connector import MoodleConnector
from connectors.moodle.options import MoodleOptions
from connectors.simulators.moodle import MoodleSimulator

FORMATS = (1,)


@dataclass(frozen=True, slots=True)
class Sent:
    """One change of the run, with what became of it then."""

    change: Change
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Packed:
    """What a bundle holds of a run."""

    run: int
    objects: Sequence[Any]
    sent: Sequence[Sent]


@dataclass(frozen=True, slots=True)
class Compared:
    """One change, then and now."""

    change: Change
    then: str
    now: str
    why_then: str
    why_now: str

    @property
    def same(self) -> bool:
        """True where it ended as it did then."""
        return self.then == self.now


@dataclass(slots=True)
class Seeded:
    """What the simulated site was given."""

    made: int = 0
    left: list[str] = field(default_factory=list)
    """What could not be put there, each with the reason."""


def read_bundle(path: Path) -> Packed:
    """Return what a bundle holds. Raises FixConfiguration where it is none, or holds no run."""
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read("about.json"))
            if about.get("format") not in FORMATS:
                raise FixConfiguration(f"{path} was packed by a newer lms-bridge. Install that version to read it.")
            if "site.json" not in archive.namelist():
                raise FixConfiguration(f"{path} holds no run that sent anything: there is nothing to run again.")
            site = json.loads(archive.read("site.json"))
            name = f"plans/{site['run']}.jsonl"
            lines = archive.read(name).decode("utf-8").splitlines() if name in archive.namelist() else []
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise FixConfiguration(f"{path} is no support bundle, or a damaged one ({error}).") from error
    sent = []
    for line in lines:
        plain = json.loads(line)
        sent.append(Sent(change_from_json(plain["change"]), plain["state"], plain["why"]))
    return Packed(site["run"], site["objects"], sent)


def connector(moodle: MoodleSimulator) -> MoodleConnector:
    """Return the connector that a bridge would have to this simulated site."""
    return MoodleConnector(MoodleOptions(url=moodle.url, token=SecretStr(moodle.token), server_limit=0.1))


def seed(moodle: MoodleSimulator, packed: Packed) -> Seeded:
    """Put what the real site held into a simulated one: what only a person can make by hand, the rest as the bridge
    makes it."""
    found = Seeded()
    changes = [_made(one) for one in packed.objects if not one["retired"]]
    _by_hand(moodle, [*changes, *(one.change for one in packed.sent)])
    people = [one for one in changes if one.kind == "user"]
    for person in people:
        _account(moodle, person)
        found.made += 1
    port = connector(moodle)
    try:
        order = [spec.kind for spec in port.probe().kinds]
        rest = sorted((one for one in changes if one.kind in order and one.kind != "user"), key=_rank(order))
        for _, wave in groupby(_parents_first(rest), key=lambda one: one.kind):
            for outcome in _submit(port, list(wave)):
                if outcome.status.value == "applied":
                    found.made += 1
                else:
                    found.left.append(f"{outcome.kind} {outcome.key}: {outcome.why}")
    finally:
        port.close()
    return found


def replay(moodle: MoodleSimulator, packed: Packed) -> list[Compared]:
    """Send the changes of the run again, in their order, and compare what becomes of each with what became of it."""
    port = connector(moodle)
    now: dict[int, Outcome] = {}
    try:
        specs = {spec.kind: spec for spec in port.probe().kinds}
        numbered = [(number, one.change) for number, one in enumerate(packed.sent) if one.change.kind in specs]
        for (kind, _), wave in groupby(numbered, key=lambda one: (one[1].kind, one[1].action is Action.REMOVE)):
            pairs = [(number, change) for number, change in wave if change.action is not Action.ADOPT]
            there = {one.key: one for one in read_keys(port, specs[kind], {change.key for _, change in pairs})}
            ready = [
                replace(change, lms_id=there[change.key].lms_id, detail=there[change.key].detail)
                if change.key in there
                else change
                for _, change in pairs
            ]
            outcomes = {(one.key, one.action): one for one in _submit(port, ready)}
            now |= {
                number: outcomes[change.key, change.action]
                for number, change in pairs
                if (change.key, change.action) in outcomes
            }
    finally:
        port.close()
    return [
        Compared(
            one.change,
            one.state,
            "applied"
            if one.change.action is Action.ADOPT
            else (now[number].status.value if number in now else "not answered"),
            one.why,
            now[number].why if number in now else "",
        )
        for number, one in enumerate(packed.sent)
    ]


def _submit(port: MoodleConnector, changes: Sequence[Change]) -> Iterator[Outcome]:
    try:
        yield from port.settle(port.submit(changes))
    except StopRun:
        return
    except BridgeError:
        return


def _made(plain: Any) -> Change:
    fields = {name: as_value(value) for name, value in plain["fields"].items()}
    return Change(
        plain["kind"],
        plain["key"],
        Action.CREATE,
        None,
        fields,
        tuple(fields),
        parent=plain["parent"],
        ordered=True,
        place=plain["place"],
    )


def _rank(order: Sequence[str]) -> Any:
    return lambda change: (order.index(change.kind), change.place)


def _parents_first(changes: Iterable[Change]) -> Iterator[Change]:
    """Yield changes kind by kind as they come, each after what it hangs under."""
    for _, wave in groupby(changes, key=lambda one: one.kind):
        waiting = {one.key: one for one in wave}
        while waiting:
            ready = [one for one in waiting.values() if one.parent is None or one.parent not in waiting]
            for one in ready or list(waiting.values()):
                yield waiting.pop(one.key)


def _by_hand(moodle: MoodleSimulator, changes: Iterable[Change]) -> None:
    """Make what no web service makes: scales, and the courses that competencies are linked to."""
    scales: set[tuple[str, ...]] = set()
    courses: set[str] = set()
    for change in changes:
        for fields in (change.before, change.after):
            scale = (fields or {}).get("scale")
            if isinstance(scale, tuple):
                scales.add(tuple(str(item[0]) for item in scale if isinstance(item, tuple)))
        if change.kind == "course_link":
            courses |= set(change.key.split("|"))
    for labels in sorted(scales):
        moodle.seed.scale(" – ".join((labels[0], labels[-1])), list(labels))
    competencies = {change.key for change in changes if change.kind == "competency"}
    for name in sorted(courses - competencies):
        moodle.seed.course(name, name, idnumber=name)


def _account(moodle: MoodleSimulator, change: Change) -> None:
    fields = dict(change.after or {})
    name = str(fields.get("username") or change.key).lower()
    moodle.seed.user(
        name,
        str(fields.get("firstname") or "First"),
        str(fields.get("lastname") or "Last"),
        str(fields.get("email") or f"{name}@people.example"),
        idnumber=change.key,
        suspended=int(bool(fields.get("suspended"))),
    )
