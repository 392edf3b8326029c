"""The reference night: a small company's feed is taken in, model and people are pushed, results are pulled.

It runs through the real command line, in processes that can be struck. What it leaves behind, in the LMS and in the
store, can be compared with what an undisturbed night leaves.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import text

from bridge.store import Store
from tests.acceptance.program import COMPANY, rows, small_model, write_rows
from tests.databases import on
from tests.faults.sites import SITES, Site
from tests.faults.warm import Warm

AS_OF = "2026-12-31"
PEOPLE = 12
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("ingest", "--as-of", AS_OF),
    ("push", "--yes", "--initial", "--as-of", AS_OF),
    ("pull",),
)
PENDING = 5
"""A push's exit code where the site takes what was handed over in a night of its own."""
MOST_PUSHES = 4
TABLES = {
    "base": "SELECT site, kind, key, fields, parent, place, retired, origin FROM base",
    "result": "SELECT site, type, subject, object, person, happened_at, payload, gone_at IS NULL FROM result",
    "roster": "SELECT feed, person, job, email, status, unit, title FROM roster",
    "snapshot": "SELECT feed, file, sha256, state, rows FROM snapshot",
    "hold": "SELECT site, kind, key FROM hold",
    "lease": "SELECT site FROM lease WHERE expires_at > 0",
}
"""What of the store has to be equal after two nights: everything but numbers, moments and the way there."""


def small_company(folder: Path) -> None:
    """Write a job architecture and a feed of a dozen people who report to each other."""
    small_model(folder / "model", competencies=60, positions=5)
    everybody = rows(COMPANY / "hris_people_day1.csv")
    chosen = [row for row in everybody if not row["manager_id"]][:1]
    for row in everybody:
        if len(chosen) < PEOPLE and row["manager_id"] in {one["employee_id"] for one in chosen}:
            chosen.append(row)
    positions = [row["idnumber"] for row in rows(folder / "model" / "positions.csv")]
    units = {row["department_code"] for row in chosen}
    kept = [dict(row) for row in rows(COMPANY / "organisations.csv")]
    above = {row["idnumber"]: row["parent"] for row in kept}
    wanted = set()
    for unit in units:
        at = unit
        while at:
            wanted.add(at)
            at = above[at]
    write_rows(folder / "model" / "organisations.csv", [row for row in kept if row["idnumber"] in wanted])
    people = [dict(row, position=positions[number % len(positions)]) for number, row in enumerate(chosen)]
    (folder / "inbox").mkdir()
    write_rows(folder / "inbox" / "people_2026-12-31.csv", people)


@dataclass(slots=True)
class Night:
    """One small company with its site and its store, and a process that runs commands for it."""

    folder: Path
    site: Site
    store: str
    process: Warm
    more: dict[str, str] = field(default_factory=dict)
    words: str = "said.txt"
    """The file that what it prints is written to."""
    dusk: threading.Lock = field(default_factory=threading.Lock)
    """Held while the site has a night of its own: it has one at a time."""

    def environment(self) -> dict[str, str]:
        """Return the environment the commands run in."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "NO_COLOR": "1",
            "LMS_BRIDGE_STORE": self.store,
            **self.site.environment(),
            **self.more,
        }

    def run(
        self,
        strike: Mapping[str, Any] | None = None,
        started: Callable[[int], None] = lambda _pid: None,
        commands: tuple[tuple[str, ...], ...] = COMMANDS,
    ) -> tuple[list[int], int]:
        """Run the commands of a night one after another, as a scheduler does; stop where one was killed or failed.

        A push that waits for the site's own night is run again after it. Returns the exit codes, one a command, and
        how many moments were counted.
        """
        codes: list[int] = []
        counted = 0
        for number, command in enumerate(commands):
            for again in range(MOST_PUSHES):
                code, counted = self.process.run(
                    list(command),
                    self.folder,
                    self.environment(),
                    strike,
                    fresh=number == again == 0,
                    started=started,
                    words=self.words,
                )
                if command[0] != "push" or code != PENDING:
                    break
                with self.dusk:
                    self.site.night()
            codes.append(code)
            if code != 0:
                break
        return codes, counted

    def said(self) -> str:
        """Return everything the commands printed so far."""
        path = self.folder / self.words
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def left(self) -> dict[str, Any]:
        """Return what is there now: in the LMS by keys and names, in the store without numbers and moments."""
        return {"site": self.site.held(), **stored(self.store)}

    def made_twice(self) -> list[str]:
        """Return what the journal says was created more than once."""
        statement = (
            "SELECT kind, key, count(*) FROM journal WHERE action = 'create' AND state = 'applied' "
            "GROUP BY site, kind, key HAVING count(*) > 1"
        )
        return [f"{row[0]} {row[1]}: {row[2]} times" for row in _rows(self.store, statement)]

    def still_open(self) -> int:
        """Return how many changes the journal still calls open."""
        return int(
            _rows(self.store, "SELECT count(*) FROM journal WHERE state IN ('intended', 'pending', 'unknown')")[0][0]
        )


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What a night leaves that nothing struck, and how many commits, requests, effects on files and look-ups it has."""

    kind: str
    left: dict[str, Any]
    commits: int
    requests: int
    effects: int
    names: int


def stored(url: str) -> dict[str, list[Any]]:
    """Return the parts of a store that two equal nights leave equal."""
    return {name: sorted(map(list, _rows(url, statement)), key=json.dumps) for name, statement in TABLES.items()}


def database_of(url: str) -> str:
    """Return which database an address is of."""
    return url.partition(":")[0].partition("+")[0]


def _rows(url: str, statement: str) -> list[Any]:
    # A night's store is where the test put it, whichever database the other tests run on.
    with on(database_of(url)), closing(Store.open(url)) as store, store.read() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


@contextmanager
def night(kind: str, folder: Path, template: Path, store: str, process: Warm) -> Iterator[Night]:
    """A fresh site of a kind and a fresh folder, made after the template's company."""
    shutil.copytree(template, folder)
    with SITES[kind](folder) as site:
        (folder / "bridge.toml").write_text(site.settings, "utf-8")
        yield Night(folder, site, store, process)
