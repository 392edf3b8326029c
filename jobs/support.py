"""A support bundle: what whoever helps needs to see and to run again, without secrets and without people's names."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import re
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bridge.ports import Action, Change, FixConfiguration
from bridge.pseudonyms import Pseudonyms, everybody
from bridge.redaction import is_secret_name, redact, redacted
from bridge.settings import Settings
from bridge.store import Store, bundles, journal
from bridge.store.encoding import change_to_json
from bridge.store.journal import Entry, Run
from bridge.store.state import Base
from jobs import status as standing

FORMAT = 1
LOG_TAIL = 2_000_000
"""Bytes of the log that go along, the latest."""
MOST_CHANGES = 20_000
"""Changes of one run that go along."""

README = """A support bundle of LMS Bridge. It holds no secret, and no name, address or key of a person: they are
replaced by names that mean nothing outside this file. What is in it:

about.json     versions
settings.json  bridge.toml as it is read, and which variables are set (not what they hold)
status.json    how everything stands
runs.json      the latest runs
plans/         what each of them planned and sent, change by change, with what became of it
site.json      what the site held before the run named there, as far as the bridge knows
log.txt        the end of the log, where one is written to a file

To run that run again against a simulated site:

    lms-bridge simulate moodle --bundle THIS_FILE --replay
"""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was packed."""

    path: Path
    site: str
    runs: int
    run: int | None
    """The run that can be run again."""


def pack(settings: Settings, site: str | None, path: Path, *, runs: int, run: int | None, now: float) -> Bundle:
    """Write a bundle about one site. Raises FixConfiguration where the run is not there or the file cannot be
    written."""
    name, _ = settings.site_named(site)
    store = Store.open(settings.store)
    try:
        pseudonyms = Pseudonyms()
        with store.read() as connection:
            everybody(pseudonyms, bundles.known_people(connection, name))
            latest = journal.runs(connection, name, runs)
            wanted = _run_to_replay(store, name, latest, run)
            if wanted is not None and all(one.id != wanted.id for one in latest):
                latest = [*latest, wanted]
            members = dict(_members(settings, store, name, latest, wanted, pseudonyms, now))
        try:
            _write(path, members)
        except OSError as error:
            raise FixConfiguration(
                f"{path} cannot be written: {error.strerror or error}. Choose another place with --out."
            ) from error
    finally:
        store.close()
    return Bundle(path, name, len(latest), wanted.id if wanted else None)


def _run_to_replay(store: Store, site: str, latest: list[Run], run: int | None) -> Run | None:
    """Return the run asked for, or the latest that sent anything."""
    with store.read() as connection:
        if run is not None:
            found = journal.find_run(connection, run)
            if found is None or found.site != site:
                raise FixConfiguration(f"Site {site} has no run {run}. `lms-bridge runs --site {site}` lists them.")
            return found
        return next((one for one in latest if journal.entry_counts(connection, one.id)), None)


def _write(path: Path, members: dict[str, str]) -> None:
    temporary = path.with_name(path.name + ".part")
    handle = os.open(temporary, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w+b") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            # Whatever it is and wherever it comes from: nothing is packed that was not looked at for secrets.
            archive.writestr(name, redact(text))
    temporary.replace(path)


def _members(
    settings: Settings,
    store: Store,
    site: str,
    runs: list[Run],
    wanted: Run | None,
    pseudonyms: Pseudonyms,
    now: float,
) -> Iterator[tuple[str, str]]:
    yield "README.txt", README
    yield "about.json", _json(_about(site, now))
    yield "settings.json", _json(_settings(settings))
    found = standing.status(settings, store, now)
    yield "status.json", _json(pseudonyms.value(standing.as_json(found)))
    yield "runs.json", _json([_run(one, pseudonyms) for one in runs])
    for one in runs:
        with store.read() as connection:
            entries = list(_first(journal.entries(connection, one.id), MOST_CHANGES))
        if entries:
            lines = (json.dumps(_entry(entry, pseudonyms), ensure_ascii=False) for entry in entries)
            yield f"plans/{one.id}.jsonl", "\n".join(lines) + "\n"
    if wanted is not None:
        held = before(store, site, wanted.id)
        yield "site.json", _json({"run": wanted.id, "site": site, "objects": [_base(one, pseudonyms) for one in held]})
    log = settings.folder / settings.daemon.log_file if settings.daemon.log_file else None
    if log is not None and log.is_file():
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL))
            yield "log.txt", pseudonyms.text(file.read().decode("utf-8", "replace"))


def _about(site: str, now: float) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "made_at": dt.datetime.fromtimestamp(now, dt.UTC).isoformat(timespec="seconds"),
        "site": site,
        "lms_bridge": version("lms-bridge"),
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "packages": {name: version(name) for name in ("apscheduler", "requests", "sqlalchemy", "pydantic")},
    }


def _settings(settings: Settings) -> dict[str, Any]:
    path = settings.folder / settings.variables.get("LMS_BRIDGE_CONFIG", "bridge.toml")
    text = path.read_text("utf-8") if path.is_file() else ""
    ours = ("MOODLE", "LMS_BRIDGE", "TOTARA")
    # Whoever helps wants to know first whether what the settings point to is there.
    named = set(re.findall(r"env:(\w+)", text))
    set_here = sorted(
        name for name in settings.variables if name.startswith(ours) or is_secret_name(name) or name in named
    )
    return {"bridge_toml": redacted(tomllib.loads(text)), "variables_set": set_here, "store": redact(settings.store)}


def _run(run: Run, pseudonyms: Pseudonyms) -> dict[str, Any]:
    return {
        "id": run.id,
        "site": run.site,
        "verb": run.verb,
        "state": run.state,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "counts": dict(run.counts),
        "message": pseudonyms.text(run.message),
        "undoes": run.undoes,
    }


def _entry(entry: Entry, pseudonyms: Pseudonyms) -> dict[str, Any]:
    change = entry.change
    plain = change_to_json(change)
    plain["key"] = pseudonyms.object_key(change.kind, change.key)
    for side in ("before", "after"):
        plain[side] = pseudonyms.fields(change.kind, getattr(change, side), change.key)
    for name in ("group", "detail"):
        if name in plain:
            plain[name] = pseudonyms.value(plain[name])
    if "needs" in plain:
        plain["needs"] = [[kind, pseudonyms.object_key(kind, key)] for kind, key in change.needs]
    return {
        "seq": entry.seq,
        "change": plain,
        "state": entry.state,
        "why": pseudonyms.text(entry.why),
        "sent_at": entry.sent_at,
    }


def _base(base: Base, pseudonyms: Pseudonyms) -> dict[str, Any]:
    return {
        "kind": base.kind,
        "key": pseudonyms.object_key(base.kind, base.key),
        "fields": pseudonyms.fields(base.kind, base.fields, base.key),
        "parent": base.parent,
        "place": base.place,
        "retired": base.retired,
    }


def before(store: Store, site: str, run_id: int) -> list[Base]:
    """Return what a site held before a run, as far as the bridge knows: what it holds now, with everything taken back
    that this run and the later ones applied."""
    with store.read() as connection:
        held = {(one.kind, one.key): one for one in bundles.whole_base(connection, site)}
        later = [one for one in journal.runs(connection, site, 1_000_000) if one.id >= run_id]
        for run in later:
            applied = [one.change for one in journal.entries(connection, run.id, ("applied",))]
            for change in reversed(applied):
                _take_back(held, change)
    return list(held.values())


def _take_back(held: dict[tuple[str, str], Base], change: Change) -> None:
    key = (change.kind, change.key)
    now = held.get(key)
    if change.action in (Action.CREATE, Action.REVIVE) and change.before is None:
        held.pop(key, None)
    elif change.before is not None and change.action is not Action.ADOPT:
        place = now.place if now is not None else change.place
        parent = change.old_parent if change.action is Action.MOVE else (now.parent if now else change.parent)
        held[key] = Base(change.kind, change.key, change.before, parent, place)


def _first(entries: Iterator[Entry], most: int) -> Iterator[Entry]:
    for number, entry in enumerate(entries):
        if number >= most:
            return
        yield entry


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n"
