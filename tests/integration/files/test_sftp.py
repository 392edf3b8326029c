"""A site of kind files over a real SFTP server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.ports import FixConfiguration
from bridge.store import Store
from connectors.files.options import FilesOptions
from connectors.handover import FolderPlace
from connectors.handover.sftp import SftpPlace
from tests.contract.csv_lms import CsvLms
from tests.contract.files.test_blind import Blind
from tests.contract.files.test_conformance import COLUMNS, template
from tests.integration.feeds.support import DropServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DropServer]:
    """A real SFTP server on loopback."""
    with DropServer(tmp_path_factory.mktemp("sftp")) as running:
        yield running


def test_a_push_arrives_over_sftp_and_the_next_one_knows_that_it_was_taken(server: DropServer, tmp_path: Path) -> None:
    """The same files under the same names as in a folder; a file not taken is taken back and merged."""
    lms = CsvLms(server.root / tmp_path.name)
    options = FilesOptions(tmp_path / "spool", (template("competency", "competencies.csv", COLUMNS["competency"]),))
    here = Blind(lms, options, Store.open(f"sqlite:///{tmp_path / 'state.sqlite'}"))
    here.place = SftpPlace(server.server(), f"{tmp_path.name}/inbox")
    assert here.push().state == "pending"
    assert [path.name for path in lms.inbox.iterdir()] == ["competencies.csv"]
    here.now += 3 * 86400
    assert here.push().state == "pending"
    here.night()
    assert here.push().state == "done"
    assert lms.taken == ["competencies.csv"]
    assert here.plan().changes == []
    here.place.close()


def test_it_shows_what_a_folder_shows(server: DropServer, tmp_path: Path) -> None:
    """Sizes, times, notes; a place that is not there is a matter of configuration."""
    folder = server.root / f"{tmp_path.name}-place"
    folder.mkdir()
    (folder / "a.csv.err").write_text("line 3\nis odd", encoding="utf-8")
    place, local = SftpPlace(server.server(), folder.name), FolderPlace(folder, "")
    assert place.note("a.csv.err") == local.note("a.csv.err") == "line 3\nis odd"
    assert place.note("nowhere") == local.note("nowhere") == ""
    here, there = local.files()["a.csv.err"], place.files()["a.csv.err"]
    assert (here.size, int(here.modified)) == (there.size, int(there.modified))
    place.close()
    gone = SftpPlace(server.server(), "no/such/folder")
    with pytest.raises(FixConfiguration):
        gone.files()
    gone.close()
    with pytest.raises(FixConfiguration, match="Make it"):
        FolderPlace(tmp_path / "no", "Make it.").files()
