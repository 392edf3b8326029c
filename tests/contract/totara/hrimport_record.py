"""The recorded outcomes of HR Import, with the state each one started from as far as the record tells it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from connectors.hrimport_rules import (
    ELEMENTS,
    CustomField,
    ElementResult,
    HrImportSettings,
    SiteState,
    import_element,
    site_state_from_files,
)
from connectors.hrimport_rules.settings import settings_from_mapping

DATA = Path(__file__).parent.parent / "data" / "totara"
SAMPLES = {name: DATA / "hrimport-samples" / f"{name}.csv" for name in ELEMENTS}
SITE = {
    "jobassignment": {"csvsaveemptyfields": 1},
    "user_custom_fields": {
        "region": {"datatype": "menu", "options": ["North", "South"]},
        "hired": {"datatype": "date"},
        "costcode": {"datatype": "text"},
    },
}
_FIELDS = {"grade": CustomField("menu", ("G1", "G2", "G3")), "effective": CustomField("datetime")}


@dataclass(frozen=True)
class Case:
    """One recorded outcome."""

    order: int
    name: str
    element: str
    settings: dict[str, Any]
    content: bytes
    task_exit: int
    log: list[tuple[str, str, str, str]]
    log_total: int
    effect: str | None
    from_samples: bool

    @property
    def log_complete(self) -> bool:
        """Whether the record holds every log row (of long ones only the first are kept)."""
        return len(self.log) == self.log_total - 1

    @property
    def finished(self) -> bool:
        """Whether the import went through to its end."""
        return any(code == "syncfinished" for _, _, code, _ in self.log) or not self.log_complete


def _content(record: dict[str, Any], edits: dict[str, list[tuple[int, int, list[str]]]]) -> bytes:
    if "csv" in record:
        # The record keeps bytes as Latin-1 characters.
        return record["csv"].encode("latin-1")
    base = SAMPLES[record["element"]].read_bytes().decode().splitlines(keepends=True)
    out: list[str] = []
    done = 0
    for first, after, lines in edits[str(record["order"])]:
        out += base[done:first] + lines
        done = after
    return "".join(out + base[done:]).encode()


@lru_cache(maxsize=1)
def cases() -> tuple[Case, ...]:
    """Every recorded outcome of one element's import, in the order they ran."""
    edits = json.loads((DATA / "hrimport-edits.json").read_text(encoding="utf-8"))
    found = []
    for line in (DATA / "hrimport-outcomes.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "log_total" in record:
            found.append(
                Case(
                    record["order"],
                    record["case"],
                    record["element"],
                    record["settings"],
                    _content(record, edits),
                    record["task_exit"],
                    [(row["logtype"], row["action"], row["code"], row["info"]) for row in record["log"]],
                    record["log_total"],
                    record.get("effect"),
                    record["starts_from"] == "samples",
                )
            )
    return tuple(found)


def _item(state: SiteState, idnumber: str) -> Any:
    return state.hierarchy("pos").by_idnumber[idnumber]


def _third_pass(state: SiteState) -> None:
    _item(state, "N-1").timemodified = 1700000001
    _item(state, "N-1").fields["fullname"] = "New 1 changed"


def _handmade_position(state: SiteState) -> None:
    for item in state.hierarchy("pos").items.values():
        item.timemodified = 1
    _item(state, "POS-A-F00-20").totarasync = False


def _handmade_user(state: SiteState) -> None:
    state.user_by_idnumber["X-1"].totarasync = False


def _handmade_job(state: SiteState) -> None:
    _job(state, "E00004", "JA-00004-1").totarasync = False


def _job(state: SiteState, user: str, idnumber: str) -> Any:
    return state.job_of(state.user_by_idnumber[user], idnumber)


def _leaf_gone(state: SiteState) -> None:
    state.remove_items("pos", [_item(state, "POS-A-F00-20")])


def _unknown_language(state: SiteState) -> None:
    user = state.add_user("X-17", "xuser17")
    user.email = "x17@example.com"


def _other_users_job(state: SiteState) -> None:
    job = state.add_job("X1", state.user_by_idnumber["E00005"])
    job.fullname = "Other user"
    job.organisation = state.hierarchy("org").by_idnumber["ORG0001"]
    job.position = _item(state, "POS-A-F00-01")
    job.timemodified = 1700000002


def _one_more_job(state: SiteState) -> None:
    state.add_job("kept aside", state.user_by_idnumber["E00001"])


def _never_linked(state: SiteState) -> None:
    state.previously_linked = False


def _api_accounts(state: SiteState) -> None:
    for idnumber, username in (("GB1", "gqlb1"), ("", "gqla0")):
        user = state.add_user(idnumber, username)
        user.email = f"{username}@example.com"
        user.totarasync = False


def _api_job(state: SiteState) -> None:
    state.add_job("GJ1", state.user_by_idnumber["E00100"]).totarasync = False


# What happened by hand, by API or in an outcome kept aside between a case and the one before it.
BEFORE: dict[int, Callable[[SiteState], None]] = {
    2: _third_pass,
    43: _handmade_position,
    54: _leaf_gone,
    73: _unknown_language,
    94: _other_users_job,
    100: _one_more_job,
    83: _handmade_user,
    108: _handmade_job,
    118: _never_linked,
    123: _api_accounts,
    125: _api_job,
}


@lru_cache(maxsize=1)
def _frozen_samples() -> tuple[bytes, HrImportSettings]:
    state, settings = site_state_from_files(
        SAMPLES, settings_from_mapping(SITE), keep_values=True, custom_types=_FIELDS
    )
    return pickle.dumps(state), settings


def samples_state() -> tuple[SiteState, HrImportSettings]:
    """The site as it held exactly the sample files, each time a copy of its own."""
    frozen, settings = _frozen_samples()
    state: SiteState = pickle.loads(frozen)  # noqa: S301 - our own bytes of a moment ago
    return state, settings


@dataclass
class Replay:
    """A case run again, and the state it left."""

    case: Case
    result: ElementResult
    state: SiteState
    now: int


def replay_all() -> dict[int, Replay]:
    """Run every recorded case in order, each on what its record says it started from."""
    state, settings = samples_state()
    done: dict[int, Replay] = {}
    effects: dict[int, Any] = {}
    for case in cases():
        if case.from_samples:
            state, settings = samples_state()
        if case.order in BEFORE:
            BEFORE[case.order](state)
        now = 1795286140 + case.order * 4
        options = settings_from_mapping({case.element: case.settings}, settings)
        result = import_element(case.element, case.content, state, options, now=now)
        done[case.order] = Replay(case, result, state, now)
        effects[case.order] = _snapshot(case, state)
    SNAPSHOTS.update(effects)
    return done


SNAPSHOTS: dict[int, dict[str, list[str]]] = {}


def _snapshot(case: Case, state: SiteState) -> dict[str, list[str]]:
    """What the site holds after a case, keyed and laid out as the record's effects are."""
    if case.element == "user":
        return {
            user.idnumber: [
                user.idnumber,
                user.username,
                user.email,
                str(int(user.suspended)),
                str(int(user.deleted)),
            ]
            for user in state.users.values()
        }
    if case.element == "jobassignment":
        return {
            f"{job.idnumber}|{job.user.idnumber}": [
                job.idnumber,
                job.user.idnumber,
                job.fullname,
                str(state.jobs_of[job.user.id].index(job) + 1),
                job.organisation.idnumber if job.organisation else "",
                job.position.idnumber if job.position else "",
                job.manager.idnumber if job.manager else "",
                job.appraiser.idnumber if job.appraiser else "",
                "" if job.startdate is None else str(job.startdate),
                "" if job.enddate is None else str(job.enddate),
                str(job.timemodified),
            ]
            for job in state.jobs.values()
        }
    held = state.hierarchy(case.element)
    snapshot = {
        item.idnumber: [
            item.idnumber,
            (item.fields or {}).get("fullname", ""),
            str(item.timemodified),
            str(item.parent.id if item.parent else 0),
            str(list(held.types).index(item.type) + 1 if item.type in held.types else 0),
            str(int(item.totarasync)),
            str(len(item.path())),
        ]
        for item in held.items.values()
    }
    snapshot["pos"] = ["pos", str(len(held.items))]
    snapshot["ja with pos"] = ["ja with pos", str(sum(job.position is not None for job in state.jobs.values()))]
    return snapshot
