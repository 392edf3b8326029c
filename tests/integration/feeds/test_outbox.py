"""Delivery in the other direction: whole files or none, never over one that was not taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.ports import FixConfiguration, OutcomeUnknown, RetryLater, SkipItem, StopRun
from connectors.feeds import FolderOutbox, FolderOutboxSettings, Outbox, SftpOutbox, SftpOutboxSettings
from tests.integration.feeds.support import ROWS, DropServer

BIG = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DropServer]:
    """One server for all outboxes here."""
    with DropServer(tmp_path_factory.mktemp("root")) as server:
        yield server


@pytest.fixture
def server(running: DropServer, tmp_path: Path) -> DropServer:
    """The server with good manners and a folder of its own for each test."""
    running.mischief.__init__()  # type: ignore[misc]  # back to a fresh one
    (running.root / tmp_path.name).mkdir()
    return running


@pytest.fixture
def folder(server: DropServer, tmp_path: Path) -> Path:
    """The folder into which is delivered."""
    return server.root / tmp_path.name


@pytest.fixture(params=["folder", "sftp"])
def outbox(request: pytest.FixtureRequest, server: DropServer, folder: Path) -> Iterator[Outbox]:
    """Both kinds behave alike."""
    box: Outbox
    if request.param == "folder":
        box = FolderOutbox(FolderOutboxSettings(path=folder))
    else:
        box = SftpOutbox(SftpOutboxSettings(server=server.server(), path=folder.name))
    yield box
    box.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file to deliver."""
    path = tmp_path / "made-here.csv"
    path.write_bytes(BIG)
    return path


def test_a_file_is_delivered_listed_and_fetched_again(outbox: Outbox, folder: Path, file: Path, tmp_path: Path) -> None:
    """The whole round, with nothing temporary left over."""
    assert isinstance(outbox, Outbox)
    assert outbox.is_clear(["pos.csv", "org.csv"])
    outbox.put("pos.csv", file)
    assert not outbox.is_clear(["org.csv", "pos.csv"])
    (folder / ".hidden").touch()
    (folder / "link.csv").symlink_to(file)
    (folder / "below").mkdir()
    assert [(one.name, one.size) for one in outbox.list()] == [("pos.csv", len(BIG))]
    fetched = outbox.fetch("pos.csv", tmp_path / "back")
    assert fetched == tmp_path / "back" / "pos.csv"
    assert fetched.read_bytes() == BIG
    assert sorted(one.name for one in folder.iterdir()) == [".hidden", "below", "link.csv", "pos.csv"]


def test_what_was_not_taken_away_is_not_overwritten(outbox: Outbox, folder: Path, file: Path) -> None:
    """Unless asked for."""
    (folder / "pos.csv").write_bytes(ROWS)
    with pytest.raises(SkipItem, match="was not taken away yet"):
        outbox.put("pos.csv", file)
    assert (folder / "pos.csv").read_bytes() == ROWS
    outbox.put("pos.csv", file, replace=True)
    assert (folder / "pos.csv").read_bytes() == BIG
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("name", ["../x.csv", "/x.csv", "a\x00.csv", "..", "", "con.csv"])
def test_names_are_plain_in_this_direction_too(outbox: Outbox, file: Path, tmp_path: Path, name: str) -> None:
    """Nothing is put, looked for or fetched elsewhere."""
    tries: list[Callable[[], object]] = [
        lambda: outbox.put(name, file),
        lambda: outbox.is_clear([name]),
        lambda: outbox.fetch(name, tmp_path),
    ]
    for one in tries:
        with pytest.raises(SkipItem, match="cannot be the name"):
            one()


def test_missing_files_and_folders_are_told(outbox: Outbox, folder: Path, file: Path, tmp_path: Path) -> None:
    """On this side and on the other."""
    with pytest.raises(SkipItem, match=r"There is no log\.csv"):
        outbox.fetch("log.csv", tmp_path)
    with pytest.raises(StopRun, match="cannot be read"):
        outbox.put("pos.csv", tmp_path / "nowhere.csv")
    folder.rmdir()
    for act in (lambda: outbox.put("pos.csv", file), lambda: outbox.is_clear(["pos.csv"]), outbox.list):
        with pytest.raises(FixConfiguration, match=r"no folder|no such file or folder"):
            act()


def test_a_full_disk_over_there_leaves_nothing_in_place(server: DropServer, folder: Path, file: Path) -> None:
    """The reason the server gives is passed on."""
    box = SftpOutbox(SftpOutboxSettings(server=server.server(), path=folder.name))
    server.mischief.full = True
    with pytest.raises(RetryLater, match=r"refused delivering pos\.csv .No space left on device"):
        box.put("pos.csv", file)
    box.close()
    assert list(folder.iterdir()) == []


def test_a_file_that_arrives_short_is_not_put_in_place(server: DropServer, folder: Path, file: Path) -> None:
    """The size over there is compared before the renaming."""
    box = SftpOutbox(SftpOutboxSettings(server=server.server(), path=folder.name))
    server.mischief.lost_bytes = 7
    with pytest.raises(RetryLater, match="instead of 1,048,576"):
        box.put("pos.csv", file)
    box.close()
    assert list(folder.iterdir()) == []


def test_a_break_at_the_renaming_is_told_as_unknown(server: DropServer, folder: Path, file: Path) -> None:
    """It may have happened: look first."""
    box = SftpOutbox(SftpOutboxSettings(server=server.server(), path=folder.name))
    server.mischief.cut_at_rename = True
    with pytest.raises(OutcomeUnknown, match="Look whether it lies in"):
        box.put("pos.csv", file)
    box.close()


def test_another_host_key_stops_delivery_as_well(server: DropServer, folder: Path, file: Path) -> None:
    """The same pins hold in this direction."""
    box = SftpOutbox(SftpOutboxSettings(server=server.server(host_keys=("SHA256:" + "A" * 43,)), path=folder.name))
    with pytest.raises(FixConfiguration, match="another host key"):
        box.put("pos.csv", file)
    assert list(folder.iterdir()) == []
