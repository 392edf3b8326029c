"""HR Import files over a real SFTP server: handed over, merged, and a line that breaks at each step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.ports import FixConfiguration, RetryLater, Status
from connectors.feeds.settings import SftpOutboxSettings
from connectors.totara.connector import TotaraConnector
from connectors.totara.hrimport.delivery import FolderDrop
from connectors.totara.hrimport.sftp import SftpDrop
from tests.contract.totara.test_conformance import NightlyTotara
from tests.contract.totara.test_connector import OPTIONS, _create
from tests.integration.feeds.support import DropServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DropServer]:
    """A real SFTP server on loopback."""
    with DropServer(tmp_path_factory.mktemp("sftp")) as running:
        yield running


@pytest.fixture
def site(server: DropServer, tmp_path: Path) -> NightlyTotara:
    """A site whose files directory lies on the server."""
    folder = server.root / tmp_path.name
    folder.mkdir()
    made = NightlyTotara(folder, OPTIONS)
    made.totara.define("org", "ORGS")
    made.options = replace(made.options, framework_of={"organisation": "ORGS"}, spool=tmp_path / "spool")
    return made


@pytest.fixture
def drop(server: DropServer, tmp_path: Path, site: NightlyTotara) -> Iterator[SftpDrop]:
    """That directory, from here."""
    assert site.totara.ready.is_dir()
    made = SftpDrop(SftpOutboxSettings(server=server.server(), path=f"{tmp_path.name}/files"))
    yield made
    made.close()


def test_it_shows_and_does_what_the_folder_does(site: NightlyTotara, drop: SftpDrop, tmp_path: Path) -> None:
    """The same files with the same sizes, the same renaming, and a file taken meanwhile is not found."""
    local = FolderDrop(site.options.filesdir)
    source = tmp_path / "org.csv"
    source.write_bytes(b"x" * 70_000)
    drop.put(source, ".org.csv.t.part")
    drop.put(source, ".org.csv.t.part")
    assert drop.ready() == local.ready() == {".org.csv.t.part": 70_000}
    drop.rename(".org.csv.t.part", "org.csv")
    assert drop.stored() == {}
    with pytest.raises(FileNotFoundError):
        drop.rename(".org.csv.t.part", "org.csv")
    drop.remove("org.csv")
    drop.remove("org.csv")
    assert local.ready() == {}


def test_a_push_over_sftp_arrives_and_two_files_become_one(site: NightlyTotara, drop: SftpDrop) -> None:
    """The connector is the same; only the drop is another."""
    port = TotaraConnector(site.options, drop=drop, clock=lambda: site.moment)
    first = port.submit([_create("A")])
    second = port.submit([_create("B", "A")])
    site.run_nightly()
    assert site.writes() == 1
    assert [one.status for receipt in (first, second) for one in port.settle(receipt)] == [Status.APPLIED] * 2


def test_a_line_that_breaks_at_the_renaming_is_mended_by_the_next_look(
    site: NightlyTotara, drop: SftpDrop, server: DropServer
) -> None:
    """The file lies there under its temporary name, which the site does not read; settling goes on from there."""
    port = TotaraConnector(site.options, drop=drop, clock=lambda: site.moment)
    server.mischief.cut_at_rename = True
    receipt = port.submit([_create("A")])
    server.mischief.cut_at_rename = False
    site.run_nightly()
    assert [one.status for one in port.settle(receipt)] == [Status.PENDING]
    site.run_nightly()
    assert [one.status for one in port.settle(receipt)] == [Status.APPLIED]
    assert site.writes() == 1


def test_a_full_disk_over_there_leaves_nothing_the_site_would_read(
    site: NightlyTotara, drop: SftpDrop, server: DropServer, tmp_path: Path
) -> None:
    """The fault is passed on; no element file lies there."""
    source = tmp_path / "org.csv"
    source.write_bytes(b"x")
    server.mischief.full = True
    with pytest.raises(RetryLater):
        drop.put(source, ".org.csv.t.part")
    server.mischief.full = False
    assert not [name for name in drop.ready() if not name.startswith(".")]
    assert site.writes() == 0


def test_a_folder_that_is_not_there_is_a_configuration_fault(server: DropServer) -> None:
    """The sentence names the folder."""
    lost = SftpDrop(SftpOutboxSettings(server=server.server(), path="nowhere"))
    with pytest.raises(FixConfiguration, match="nowhere"):
        lost.ready()
    lost.close()
