"""What goes wrong on the way to a Totara, at each file: run again, and the site ends as if nothing had happened."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.model import Architecture, Desired, JobAssignment, Organisation, Person, Position, Workforce
from bridge.ports import BridgeError
from bridge.store import Store
from bridge.sync.clock import Clock
from bridge.sync.push import PushReport, push
from connectors.feeds.settings import SftpOutboxSettings
from connectors.hrimport_rules import ELEMENTS
from connectors.totara.connector import TotaraConnector
from connectors.totara.hrimport.delivery import Drop, FolderDrop
from connectors.totara.hrimport.sftp import SftpDrop
from tests.contract.conformance import company
from tests.contract.conformance.suite import INITIAL
from tests.contract.totara.test_conformance import NightlyTotara
from tests.contract.totara.test_connector import OPTIONS
from tests.databases import address
from tests.integration.feeds.support import DropServer


def desired() -> Desired:
    """Return a small company with something of each kind, so that five files go out."""
    model: Architecture = replace(
        company.architecture(),
        organisations=(Organisation("ORG1", "Head office"), Organisation("ORG2", "Ward", "ORG1")),
        positions=(Position("N1", "Nurse"), Position("N2", "Ward manager")),
    )
    model = replace(model, given=model.given | {"organisations"})
    people = tuple(Person(f"E{n}", f"First {n}", "Last", f"e{n}@example.com") for n in (1, 2, 3))
    jobs = (
        JobAssignment("J3", "E3", "ORG2", "N1", "Nurse", "E1", dt.date(2024, 2, 1)),
        JobAssignment("J2", "E2", "ORG2", "N1", "Nurse", "E1", dt.date(2024, 2, 1)),
        JobAssignment("J1", "E1", "ORG1", "N2", "Boss", None),
    )
    return Desired(model, Workforce(dt.date(2026, 9, 1), people, jobs))


class Way:
    """One site, and pushes to it over a way that may be disturbed."""

    def __init__(self, site: NightlyTotara, store: Store, drop: Callable[[], Drop]) -> None:
        self.site = site
        self.store = store
        self.drop = drop

    def push(self, drop: Drop | None = None) -> PushReport | None:
        """Push once, with a connector of its own; None where the push itself could not go on."""
        port = TotaraConnector(self.site.options, drop=drop or self.drop(), clock=lambda: self.site.moment)
        try:
            clock = Clock(now=lambda: self.site.moment)
            return push("totara", port, self.store, desired(), INITIAL, clock)
        except BridgeError:
            return None
        finally:
            port.close()

    def until_done(self) -> None:
        """Let nights pass and push, until nothing is open."""
        for _ in range(6):
            self.site.run_nightly()
            self.site.moment += 3 * 86_400
            report = self.push()
            assert report is not None
            if report.state == "done":
                return
        pytest.fail(f"still {report.state}")

    def held(self) -> dict[str, Any]:
        """Return all that the site holds."""
        return self.site.totara.snapshot()


def made(folder: Path, spool: Path) -> NightlyTotara:
    """Return a site with its frameworks, whose files directory lies in a folder."""
    site = NightlyTotara(folder, OPTIONS)
    site.totara.define("org", "ORGS")
    site.options = replace(site.options, framework_of={"position": "POSITIONS", "organisation": "ORGS"}, spool=spool)
    return site


def as_undisturbed(way: Way, tmp_path: Path) -> None:
    """Assert that the site holds what an undisturbed push leaves, and that a further push writes nothing."""
    calm = made(tmp_path / "calm", tmp_path / "calm" / "spool")
    other = Way(calm, Store.open(address(tmp_path / "calm.sqlite")), lambda: _folder(calm))
    other.push()
    other.until_done()
    other.store.close()
    held, wanted = way.held(), other.held()
    assert {kind: sorted(held[kind]) for kind in held} == {kind: sorted(wanted[kind]) for kind in wanted}
    for kind in ("comp", "org", "pos", "user"):
        assert held[kind] == wanted[kind]
    for key, job in wanted["jobassignment"].items():
        # No end: the site keeps nothing for a new job, and 0 for one it updates.
        assert {**held["jobassignment"][key], "enddate": None} == {**job, "enddate": None}
    taken = way.site.writes()
    report = way.push()
    assert report is not None
    assert (report.state, report.plan.changes) == ("done", [])
    way.site.run_nightly()
    assert way.site.writes() == taken


def _folder(site: NightlyTotara) -> FolderDrop:
    assert site.options.filesdir is not None
    return FolderDrop(site.options.filesdir)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of its own."""
    opened = Store.open(address(tmp_path / "state.sqlite"))
    yield opened
    opened.close()


@pytest.fixture
def here(tmp_path: Path, store: Store) -> Way:
    """A site whose files directory is a folder here."""
    site = made(tmp_path / "site", tmp_path / "spool")
    return Way(site, store, lambda: _folder(site))


# --- A line that breaks -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DropServer]:
    """A real SFTP server on loopback."""
    with DropServer(tmp_path_factory.mktemp("sftp")) as running:
        yield running


class Cut(SftpDrop):
    """A files directory behind SFTP whose line breaks at one file: while it is copied, or at its renaming."""

    def __init__(self, settings: SftpOutboxSettings, server: DropServer, element: str, moment: str) -> None:
        super().__init__(settings)
        self.server = server
        self.file = f".{element}.csv."
        self.moment = moment
        self.struck = False

    def put(self, source: Path, temporary: str) -> None:
        """Copy; at our file the other side keeps the last bytes back."""
        self.server.mischief.lost_bytes = 7 if self._now(temporary, "copying") else 0
        try:
            super().put(source, temporary)
        finally:
            self.server.mischief.lost_bytes = 0

    def rename(self, temporary: str, name: str) -> None:
        """Rename; at our file the other side hangs up."""
        self.server.mischief.cut_at_rename = self._now(temporary, "renaming")
        try:
            super().rename(temporary, name)
        finally:
            self.server.mischief.cut_at_rename = False

    def _now(self, temporary: str, moment: str) -> bool:
        hit = temporary.startswith(self.file) and self.moment == moment
        self.struck = self.struck or hit
        return hit


@pytest.mark.parametrize("moment", [pytest.param("copying", marks=pytest.mark.sweep), "renaming"])
@pytest.mark.parametrize("element", ELEMENTS)
def test_a_line_lost_at_a_file_is_made_good_by_the_next_push(
    server: DropServer, store: Store, tmp_path: Path, element: str, moment: str
) -> None:
    """Nothing half-sent is ever read by the site; what comes after the lost file waits its turn."""
    folder = server.root / tmp_path.name
    folder.mkdir()
    site = made(folder, tmp_path / "spool")
    where = SftpOutboxSettings(
        server=replace(server.server(), attempts=1, pause_seconds=0.0), path=f"{tmp_path.name}/files"
    )
    way = Way(site, store, lambda: SftpDrop(where))
    cut = Cut(where, server, element, moment)
    report = way.push(cut)
    assert cut.struck
    assert report is None or report.state == "pending"
    ready = {path.name for path in site.totara.ready.iterdir() if not path.name.startswith(".")}
    assert f"{element}.csv" not in ready
    way.until_done()
    as_undisturbed(way, tmp_path)


# --- A site that is at work meanwhile ---------------------------------------------------------------------------------


class Busy(FolderDrop):
    """A files directory whose site imports as soon as a number of files have got their names."""

    def __init__(self, site: NightlyTotara, after: int) -> None:
        assert site.options.filesdir is not None
        super().__init__(site.options.filesdir)
        self.site = site
        self.left = after

    def rename(self, temporary: str, name: str) -> None:
        """Rename, then let the site take what lies there."""
        super().rename(temporary, name)
        self.left -= 1
        if self.left == 0:
            self.site.totara.run_hr_import()
            self.site.moment += 60


@pytest.mark.parametrize("after", range(1, 6))
def test_a_site_that_takes_files_in_the_middle_of_a_push_ends_the_same(here: Way, tmp_path: Path, after: int) -> None:
    """The files behind come a night later; what they need is there, or refused and sent again."""
    report = here.push(Busy(here.site, after))
    assert report is not None
    here.until_done()
    as_undisturbed(here, tmp_path)


class ImportDied(Exception):
    """The site's import process ended in the middle."""


@pytest.mark.parametrize("element", ELEMENTS)
def test_an_import_that_dies_after_it_took_a_file_is_made_good(here: Way, tmp_path: Path, element: str) -> None:
    """Consumed, nothing applied, no word in the log: after its deadline the changes are planned and sent again."""
    here.push()

    def die(moment: str, at: str) -> None:
        """End the import where it has moved the file away."""
        if (moment, at) == ("consumed", element):
            raise ImportDied

    here.site.totara.on_moment = die
    here.site.moment += 8 * 3600
    with pytest.raises(ImportDied):
        here.site.totara.run_hr_import()
    here.site.totara.on_moment = lambda _moment, _element: None
    assert not (here.site.totara.ready / f"{element}.csv").exists()
    here.until_done()
    as_undisturbed(here, tmp_path)
