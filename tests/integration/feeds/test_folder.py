"""A folder as a drop: what is taken, when, in which order, and what becomes of files afterwards."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from bridge.ports import FixConfiguration, RetryLater, SkipItem, StopRun
from connectors.feeds import FeedSource, FolderFeed, FolderSettings, Order, Readiness, ReadyWhen
from connectors.feeds.inbox import Partial
from tests.integration.feeds.support import AT_ONCE, ROWS, HandClock


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """A drop with one file."""
    folder = tmp_path / "drop"
    folder.mkdir()
    (folder / "people.csv").write_bytes(ROWS)
    return folder


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An inbox that is not there yet."""
    return tmp_path / "state" / "inbox"


def test_a_file_is_taken_whole_and_archived_with_its_companions(drop: Path, inbox: Path) -> None:
    """The copy has the bytes, the hash and the manifest; the drop is empty afterwards and the archive is not."""
    manifest = {"file": "people.csv", "rows": 1, "sha256": hashlib.sha256(ROWS).hexdigest(), "size": len(ROWS)}
    (drop / "people.csv.manifest.json").write_text(json.dumps(manifest))
    (drop / "people.csv.done").touch()
    (drop / "people.csv.why.txt").write_text("an old complaint")
    feed = FolderFeed(FolderSettings(path=drop, readiness=Readiness(when=ReadyWhen.MARKER)))
    assert isinstance(feed, FeedSource)
    [arrival] = feed.arrivals()
    received = feed.take(arrival, inbox)
    assert received.path == inbox / "people.csv"
    assert received.path.read_bytes() == ROWS
    assert received.sha256 == hashlib.sha256(ROWS).hexdigest()
    assert received.manifest is not None
    assert received.manifest.rows == 1
    assert not received.repeated
    assert inbox.stat().st_mode & 0o777 == 0o700
    assert received.path.stat().st_mode & 0o777 == 0o600
    assert feed.archive(received) == str(drop / "archive" / "people.csv")
    assert [one.name for one in drop.iterdir()] == ["archive"]
    assert len(list((drop / "archive").iterdir())) == 4
    assert [one.name for one in inbox.iterdir()] == ["people.csv"]


def test_content_received_before_is_recognised_by_its_hash(drop: Path, inbox: Path) -> None:
    """The same bytes under another name are marked as repeated, for the caller to archive."""
    feed = FolderFeed(FolderSettings(path=drop, readiness=AT_ONCE))
    known = {feed.take(feed.arrivals()[0], inbox).sha256}
    (drop / "people.csv").rename(drop / "people_again.csv")
    [again] = feed.arrivals()
    assert feed.take(again, inbox, known.__contains__).repeated


def test_a_growing_file_waits_until_it_keeps_still(drop: Path) -> None:
    """A file that grows between two looks is not taken; once it kept still over the interval it is."""
    hand = HandClock()
    feed = FolderFeed(FolderSettings(path=drop, readiness=Readiness(interval=60)), hand.clock())
    hand.meanwhile = lambda: (drop / "people.csv").write_bytes(ROWS * (len(hand.slept) + 1)) and None
    survey = feed.survey()
    assert survey.ready == ()
    assert "may still be growing" in survey.waiting[0].why
    hand.meanwhile = lambda: None
    assert [one.name for one in feed.arrivals()] == ["people.csv"]
    assert hand.slept == [60, 60]
    assert len(feed.arrivals()) == 1
    assert len(hand.slept) == 2, "what is known to be stable is not waited for again"


def test_a_daemon_does_not_wait_but_remembers(drop: Path) -> None:
    """With `wait` off the first look finds nothing ready, and a look after the interval does."""
    hand = HandClock()
    feed = FolderFeed(FolderSettings(path=drop, readiness=Readiness(interval=60, wait=False)), hand.clock())
    assert feed.arrivals() == []
    hand.time += 59
    assert feed.arrivals() == []
    hand.time += 1
    assert len(feed.arrivals()) == 1
    assert hand.slept == []


def test_a_marker_of_an_earlier_file_does_not_vouch(drop: Path) -> None:
    """Without marker, or with one older than the file, a file waits."""
    feed = FolderFeed(FolderSettings(path=drop, readiness=Readiness(when=ReadyWhen.MARKER)))
    assert "people.csv.done is not there yet" in feed.survey().waiting[0].why
    (drop / "people.csv.done").touch()
    os.utime(drop / "people.csv.done", (1_000_000, 1_000_000))
    assert "older than the file" in feed.survey().waiting[0].why
    (drop / "people.csv.done").touch()
    assert len(feed.arrivals()) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("people.csv.manifest.json", '{"rows": 1, "sha256": "HASH"}'),
        (
            "people.csv.manifest.json",
            '{"files": [{"name": "x.csv", "rows": 2}, {"name": "people.csv", "records": "1"}]}',
        ),
        ("people.csv.manifest.csv", "file,rows,sha256\nother.csv,9,\npeople.csv,1,HASH\n"),
        ("people.csv.manifest.csv", "file;row_count;checksum\r\npeople.csv;1;HASH\r\n"),
        ("people.csv.manifest.csv", "rows,1\nsha256,HASH\n"),
        ("people.csv.manifest.csv", "rows,sha256\n1,HASH\n"),
    ],
)
def test_manifests_are_read_as_json_and_csv(drop: Path, inbox: Path, name: str, content: str) -> None:
    """Rows and checksum are found in each of the usual forms."""
    (drop / name).write_text(content.replace("HASH", hashlib.sha256(ROWS).hexdigest().upper()))
    feed = FolderFeed(FolderSettings(path=drop, readiness=Readiness(when=ReadyWhen.MANIFEST)))
    received = feed.take(feed.arrivals()[0], inbox)
    assert received.manifest is not None
    assert received.manifest.rows == 1


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ('{"sha256": "' + "0" * 64 + '"}', SkipItem, "is not what its manifest says"),
        ('{"size": 3}', RetryLater, "may still be on its way"),
        ('{"rows": "many"}', SkipItem, "not a whole number"),
        ('{"sha256": "abc"}', SkipItem, "not a SHA-256"),
        ("{}", SkipItem, "neither rows nor size nor sha256"),
        ("[" * 100_000, SkipItem, "cannot be read"),
        ("\x00\xff", SkipItem, "cannot be read"),
        ('[{"file": "other.csv", "rows": 1}]', SkipItem, "other files only"),
        ('{"rows": 1}' + " " * 2**20, SkipItem, "no manifest"),
    ],
)
def test_a_file_that_contradicts_its_manifest_is_not_taken(
    drop: Path, inbox: Path, content: str, error: type[Exception], words: str
) -> None:
    """Checksum, size and nonsense are refused in words, and the inbox is left clean."""
    (drop / "people.csv.manifest.json").write_text(content)
    feed = FolderFeed(FolderSettings(path=drop, readiness=AT_ONCE))
    with pytest.raises(error, match=words):
        feed.take(feed.arrivals()[0], inbox)
    assert list(inbox.iterdir()) == []


def test_without_manifest_a_file_waits_for_it(drop: Path) -> None:
    """Where a manifest is asked for, the file alone is not enough."""
    feed = FolderFeed(FolderSettings(path=drop, readiness=Readiness(when=ReadyWhen.MANIFEST)))
    assert "people.csv.manifest.json" in feed.survey().waiting[0].why


def test_files_come_in_the_order_of_names_or_dates(drop: Path) -> None:
    """Name order is the names', date order the times', and the pattern holds."""
    for name, moment in [("a.csv", 300), ("b.csv", 100), ("c.csv", 200), ("d.txt", 50)]:
        (drop / name).touch()
        os.utime(drop / name, (moment, moment))
    (drop / "people.csv").unlink()
    by_name = FolderFeed(FolderSettings(path=drop, readiness=AT_ONCE))
    by_date = FolderFeed(FolderSettings(path=drop, readiness=AT_ONCE, order=Order.DATE))
    assert [one.name for one in by_name.arrivals()] == ["a.csv", "b.csv", "c.csv"]
    assert [(one.name, one.order) for one in by_date.arrivals()] == [("b.csv", 0), ("c.csv", 1), ("a.csv", 2)]


def test_links_pipes_and_giants_are_refused_and_folders_and_hidden_files_overlooked(drop: Path) -> None:
    """Each refusal says why; nothing of it is opened."""
    (drop / "link.csv").symlink_to("/etc/passwd")
    os.mkfifo(drop / "pipe.csv")
    (drop / "big.csv").write_bytes(b"x" * 1000)
    (drop / "folder.csv").mkdir()
    (drop / ".people.csv.filepart.csv").touch()
    feed = FolderFeed(FolderSettings(path=drop, readiness=AT_ONCE, max_bytes=999))
    survey = feed.survey()
    assert [one.name for one in survey.ready] == ["people.csv"]
    why = {one.name: one.why for one in survey.refused}
    assert set(why) == {"link.csv", "pipe.csv", "big.csv"}
    assert "symbolic link" in why["link.csv"]
    assert "pipe" in why["pipe.csv"]
    assert "raise max_bytes" in why["big.csv"]


def test_a_file_swapped_for_a_link_after_the_look_is_not_followed(drop: Path, inbox: Path) -> None:
    """Between the look and the taking a link may take the file's place; it is not followed."""
    feed = FolderFeed(FolderSettings(path=drop, readiness=AT_ONCE))
    [arrival] = feed.arrivals()
    (drop / "people.csv").unlink()
    (drop / "people.csv").symlink_to("/etc/passwd")
    with pytest.raises((RetryLater, SkipItem)):
        feed.take(arrival, inbox)
    assert list(inbox.iterdir()) == []


def test_a_file_that_changed_after_the_look_is_left_for_the_next_run(drop: Path, inbox: Path) -> None:
    """A file that grew since is not taken half."""
    feed = FolderFeed(FolderSettings(path=drop, readiness=AT_ONCE))
    [arrival] = feed.arrivals()
    (drop / "people.csv").write_bytes(ROWS * 2)
    with pytest.raises(RetryLater, match="changed while it was being fetched"):
        feed.take(arrival, inbox)


def test_a_file_replaced_before_the_archive_stays(drop: Path, inbox: Path) -> None:
    """What was not read is not archived."""
    feed = FolderFeed(FolderSettings(path=drop, readiness=AT_ONCE))
    received = feed.take(feed.arrivals()[0], inbox)
    (drop / "people.csv").write_bytes(ROWS * 2)
    assert "replaced by a newer file" in feed.archive(received)
    assert (drop / "people.csv").read_bytes() == ROWS * 2


def test_the_archive_overwrites_nothing(drop: Path, inbox: Path) -> None:
    """Three nights with the same name leave three files."""
    feed = FolderFeed(FolderSettings(path=drop, readiness=AT_ONCE), HandClock().clock())
    for night in range(3):
        (drop / "people.csv").write_bytes(ROWS * (night + 1))
        feed.archive(feed.take(feed.arrivals()[0], inbox))
    sizes = {one.name: one.stat().st_size // len(ROWS) for one in (drop / "archive").iterdir()}
    assert sizes == {"people.csv": 1, "people-20270115T080000Z.csv": 2, "people-20270115T080000Z-2.csv": 3}


def test_two_contents_of_one_name_both_stay_in_the_inbox(drop: Path, inbox: Path) -> None:
    """What lies in the inbox still is not overwritten."""
    feed = FolderFeed(FolderSettings(path=drop, readiness=AT_ONCE))
    first = feed.take(feed.arrivals()[0], inbox)
    (drop / "people.csv").write_bytes(ROWS * 2)
    second = feed.take(feed.arrivals()[0], inbox)
    assert first.path.read_bytes() == ROWS
    assert second.path != first.path
    assert second.path.parent == inbox


def test_a_failed_file_stays_with_a_note(drop: Path, inbox: Path) -> None:
    """The note says why, is not itself taken for a feed, and the file is offered again."""
    feed = FolderFeed(FolderSettings(path=drop, pattern="*", readiness=AT_ONCE), HandClock().clock())
    received = feed.take(feed.arrivals()[0], inbox)
    note = feed.leave(received, "Column employee_id is missing.")
    assert note == str(drop / "people.csv.why.txt")
    assert "Column employee_id is missing." in Path(note).read_text()
    assert [one.name for one in feed.arrivals()] == ["people.csv"]


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    """The error names the folder and the setting."""
    feed = FolderFeed(FolderSettings(path=tmp_path / "nowhere", place="bridge.toml, [feeds.hr]"))
    with pytest.raises(FixConfiguration, match=r"There is no folder .*nowhere.*\[feeds.hr\]"):
        feed.arrivals()


def test_a_folder_without_end_is_refused(drop: Path) -> None:
    """A listing has a bound."""
    (drop / "more.csv").touch()
    feed = FolderFeed(FolderSettings(path=drop, max_entries=1))
    with pytest.raises(FixConfiguration, match="more than 1 files"):
        feed.arrivals()


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path: Path) -> None:
    """A file larger than what is free is not begun."""
    with pytest.raises(StopRun, match="Free some space"):
        Partial(tmp_path, "people.csv").begin({}, 2**62)
    assert list(tmp_path.iterdir()) == []


def test_a_link_laid_under_the_name_of_the_note_is_not_followed(drop: Path, tmp_path: Path) -> None:
    """Whoever may write to the drop could otherwise have our files overwritten."""
    precious = tmp_path / "precious"
    precious.write_text("ours")
    (drop / "people.csv.why.txt").symlink_to(precious)
    feed = FolderFeed(FolderSettings(path=drop, readiness=AT_ONCE))
    assert feed.leave(feed.arrivals()[0], "Wrong.") is not None
    assert precious.read_text() == "ours"
    assert "Wrong." in (drop / "people.csv.why.txt").read_text()


def test_an_archive_on_another_disk_works(
    drop: Path, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renaming across disks is refused by the system; here by hand, as there may be one disk only."""
    rename = os.rename

    def across(source: Path, target: Path) -> None:
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", across)
    (drop / "people.csv.done").touch()
    feed = FolderFeed(FolderSettings(path=drop, readiness=AT_ONCE, archive=str(tmp_path / "elsewhere")))
    feed.archive(feed.take(feed.arrivals()[0], inbox))
    assert list(drop.iterdir()) == []
    assert (tmp_path / "elsewhere" / "people.csv").read_bytes() == ROWS
    assert sorted(one.name for one in (tmp_path / "elsewhere").iterdir()) == ["people.csv", "people.csv.done"]


def test_partial_files_that_nobody_resumes_go_after_two_weeks(drop: Path, inbox: Path) -> None:
    """They hold personal data."""
    inbox.mkdir(mode=0o700, parents=True)
    for name, days in [(".old.partial", 15), (".old.partial.json", 15), (".new.partial", 13)]:
        (inbox / name).touch()
        os.utime(inbox / name, (time.time() - days * 86_400,) * 2)
    feed = FolderFeed(FolderSettings(path=drop, readiness=AT_ONCE))
    feed.take(feed.arrivals()[0], inbox)
    assert sorted(one.name for one in inbox.iterdir()) == [".new.partial", "people.csv"]
