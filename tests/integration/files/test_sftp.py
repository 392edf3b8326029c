"""A site of kind files over a real SFTP server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.ports import FixConfiguration
from bridge.settings import load_settings
from bridge.store import Store
from bridge.sync.clock import Clock
from bridge.sync.push import preview, push
from connectors.files.connector import FilesConnector
from connectors.files.options import FilesOptions
from connectors.handover import FolderPlace
from connectors.handover.sftp import SftpPlace
from jobs.files_site import files
from tests.contract.conformance import company
from tests.contract.csv_lms import CsvLms
from tests.contract.files.test_blind import INITIAL, Blind
from tests.contract.files.test_conformance import COLUMNS, template
from tests.databases import address
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
    here = Blind(lms, options, Store.open(address(tmp_path / "state.sqlite")))
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


def test_settings_reach_a_site_whose_folders_are_both_behind_sftp(server: DropServer, tmp_path: Path) -> None:
    """From bridge.toml alone: files go up, the export comes down, and the kind it shows is readable."""
    lms = CsvLms(server.root / f"{tmp_path.name}-both")
    reached = server.server()
    keys = ", ".join(json.dumps(key) for key in reached.host_keys)
    place = f'host = "{reached.host}"\nport = {reached.port}\nuser = "{reached.user}"\npassword = "env:DROP"\n'
    place += f"host_keys = [{keys}]\n"
    (tmp_path / "bridge.toml").write_text(
        '[sites.academy]\nkind = "files"\n\n[sites.academy.options.sftp]\n'
        f'{place}path = "{lms.inbox.parent.name}/inbox"\n\n[sites.academy.options.exports_sftp]\n'
        f'{place}path = "{lms.inbox.parent.name}/exports"\n\n[sites.academy.options.files.competency]\n'
        'name = "competencies.csv"\nexport = "competencies.csv"\n'
        'columns = { ID = "{key}", name = "{name}", Active = "{active:yes/no}" }\n',
        encoding="utf-8",
    )
    settings = load_settings(tmp_path, {"DROP": reached.password or ""})
    store = Store.open(address(tmp_path / "state.sqlite"))

    def connect() -> FilesConnector:
        return files(*settings.site_named("academy"), settings)

    port = connect()
    assert [spec.readable for spec in port.probe().kinds] == [False]
    assert push("academy", port, store, company.desired(), INITIAL, Clock()).state == "pending"
    port.close()
    lms.run(0.0)
    port = connect()
    assert push("academy", port, store, company.desired(), INITIAL, Clock()).state == "done"
    port.close()
    lms.tables["competencies"]["CARE/A2"]["name"] = "Wears mittens"
    lms.export(time.time() + 60)
    port = connect()
    plan = preview("academy", port, store, company.desired(), INITIAL, Clock())
    assert [(change.key, change.drift) for change in plan.changes] == [("CARE/A2", True)]
    port.close()
