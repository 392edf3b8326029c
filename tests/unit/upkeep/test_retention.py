"""What expires by rule: rejections, archived files, leftovers and backups; and what never does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from bridge.faults import Fault
from bridge.feed_settings import FeedSettings
from bridge.retention_settings import DAY, RetentionSettings
from bridge.settings import FileSettings, Settings
from bridge.store import Store, feeds
from bridge.store.feeds import Feed, Rejection, Snapshot
from bridge.sync.clock import Clock
from connectors.feeds import FolderFeed, FolderSettings
from jobs.feed_desk import context_of, ingest_arrivals
from jobs.retention import tidy
from tests.unit.ingest.conftest import TODAY
from tests.unit.ingest.test_deliveries import ROWS, content

NOW = 1_800_000_000.0
CLOCK = Clock(now=lambda: NOW)


def at_home(folder: Path, feed: FeedSettings | None = None, **days: int) -> Settings:
    """Return settings with a feed and so many days."""
    retention = RetentionSettings.model_validate(days)
    told = {"hr": feed} if feed else {}
    return Settings(folder=folder, store="", sites={}, feeds=told, retention=retention, variables={})


def aged(path: Path, days: float) -> Path:
    """Make a file that was last changed so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x", "utf-8")
    os.utime(path, (NOW - days * DAY, NOW - days * DAY))
    return path


def found(store: Store) -> list[str]:
    """Return the files of which rejections are kept, cleared ones too."""
    with store.read() as connection:
        return [one.fault.file for one in feeds.rejections(connection, cleared=True)]


def test_old_rejections_go_and_those_that_stand_against_the_last_file_stay(any_store: Store, tmp_path: Path) -> None:
    """At the limit to the second; what is in quarantine, or was accepted last, is never too old."""
    ages = {"old": 31, "limit": 30, "accepted": 400, "quarantined": 400, "other": 400}
    with any_store.begin() as connection:
        ids = {}
        for name, days in ages.items():
            feed = "labs" if name == "other" else "hr"
            snapshot = Snapshot(feed, name, name.ljust(64, "0"), 1, feeds.ACCEPTED, received_at=NOW - days * DAY)
            ids[name] = feeds.add_snapshot(connection, snapshot)
            fault = Fault(name, 2, "", "", "email", "", "")
            feeds.add_rejections(connection, [Rejection(feed, ids[name], fault, cleared_by=7)])
        feeds.save_feed(connection, Feed("hr", accepted_id=ids["accepted"], quarantined_id=ids["quarantined"]))
        feeds.save_feed(connection, Feed("labs", accepted_id=ids["other"]))
    done = tidy(any_store, at_home(tmp_path, rejections=30), CLOCK, {})
    assert done.feeds["hr"].rejections == 1
    assert found(any_store) == ["limit", "accepted", "quarantined", "other"]
    assert tidy(any_store, at_home(tmp_path, rejections=0), CLOCK, {}).feeds["hr"].rejections == 0, "0 keeps them"


def test_archived_files_go_with_their_companions_and_nothing_else_does(store: Store, tmp_path: Path) -> None:
    """Only plain files of this feed, in its archive, from before the limit."""
    archive = tmp_path / "drop" / "archive"
    gone = [
        "people_1.csv", "people_1.csv.why.txt", "people_1.csv.done", "people_1.csv.manifest.json",
        "people_1-20260101T010000Z.csv", "people_1-20260101T010000Z-2.csv",
    ]  # fmt: skip
    for name in gone:
        aged(archive / name, 100)
    stays = [
        aged(archive / "people_2.csv", 80),
        aged(archive / "somebody_elses.csv", 1000),
        aged(archive / "deeper" / "people_1.csv", 1000),
        aged(tmp_path / "drop" / "people_1.csv", 1000),
        aged(tmp_path / "people_1.csv", 1000),
    ]
    (archive / "people_link.csv").symlink_to(stays[-1])
    os.utime(archive / "people_link.csv", (0, 0), follow_symlinks=False)
    source = FolderFeed(FolderSettings(path=tmp_path / "drop", pattern="people_*.csv"), CLOCK)
    done = tidy(store, at_home(tmp_path, FeedSettings(), archives=90), CLOCK, {"hr": source})
    assert sorted(done.feeds["hr"].archived) == sorted(gone)
    assert all(path.exists() for path in stays)
    assert (archive / "people_link.csv").is_symlink()


def test_by_default_no_archived_file_is_ever_removed(store: Store, tmp_path: Path) -> None:
    """They are the sender's; somebody has to say that they may go."""
    old = aged(tmp_path / "drop" / "archive" / "people.csv", 10_000)
    source = FolderFeed(FolderSettings(path=tmp_path / "drop"), CLOCK)
    tidy(store, at_home(tmp_path, FeedSettings()), CLOCK, {"hr": source})
    assert old.exists()


def test_taking_files_in_tidies_the_feed_by_the_way(store: Store, tmp_path: Path) -> None:
    """Nobody has to schedule it; and what is archived tonight is not gone tonight, old as the file may be."""
    (tmp_path / "drop").mkdir()
    feed = FeedSettings(path="drop", interval=0)
    settings = at_home(tmp_path, feed, archives=90)
    old = aged(tmp_path / "drop" / "archive" / "people_1.csv", 100)
    (tmp_path / "drop" / "people_2.csv").write_bytes(content(ROWS))
    delivery = ingest_arrivals(store, settings, context_of(settings, "hr"), TODAY, CLOCK)
    assert [result.created for result in delivery.results] == [20]
    assert "people_1.csv" in delivery.expired[0]
    assert not old.exists()
    assert (tmp_path / "drop" / "archive" / "people_2.csv").exists()


def test_an_archive_that_cannot_be_tidied_is_told_and_stops_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of the night are taken over all the same."""
    (tmp_path / "drop").mkdir()
    settings = at_home(tmp_path, FeedSettings(path="drop", interval=0), archives=90)
    aged(tmp_path / "drop" / "archive" / "people_1.csv", 100)
    (tmp_path / "drop" / "people_2.csv").write_bytes(content(ROWS))

    def refuse(_path: Path, **_how: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", _only_for("people_1.csv", refuse, Path.unlink))
        delivery = ingest_arrivals(store, settings, context_of(settings, "hr"), TODAY, CLOCK)
    assert [result.created for result in delivery.results] == [20]
    assert (delivery.exit_code, "was not tidied" in delivery.troubles[0]) == (2, True)


def _only_for(name: str, one: Callable[..., None], other: Callable[..., None]) -> Callable[..., None]:
    return lambda path, **how: (one if path.name == name else other)(path, **how)


def test_what_a_crash_left_in_the_inbox_and_old_backups_go(store: Store, tmp_path: Path) -> None:
    """Both hold people's data; a backup that somebody put elsewhere or named otherwise is theirs."""
    house = tmp_path / ".lms-bridge"
    gone = [aged(house / "inbox" / "hr" / "people.csv", 15), aged(house / "backups" / "state-20260101.sqlite", 31)]
    stays = [
        aged(house / "inbox" / "hr" / "fresh.csv", 13),
        aged(house / "backups" / "state-20260201.sqlite", 29),
        aged(house / "backups" / "before_the_move.sqlite", 1000),
        aged(house / "state.sqlite", 1000),
    ]
    done = tidy(store, at_home(tmp_path, backups=30), CLOCK, {})
    assert (done.inbox, done.backups) == (("people.csv",), ("state-20260101.sqlite",))
    assert [path.exists() for path in (*gone, *stays)] == [False, False, True, True, True, True]


def test_days_are_set_in_bridge_toml_and_a_misspelt_one_is_a_fault() -> None:
    """A rule that nobody reads would keep what should go."""
    assert FileSettings.model_validate({"retention": {"archives": 400}}).retention.archives == 400
    for wrong in ({"archive": 400}, {"archives": -1}, {"archives": "soon"}):
        with pytest.raises(ValidationError):
            FileSettings.model_validate({"retention": wrong})
