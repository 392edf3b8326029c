"""What lies in a drop, taken file by file: which one may hold up which, and what is told of those left behind."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from typer.testing import CliRunner

from bridge.cli import main as cli
from bridge.feed_settings import FeedSettings
from bridge.ports import FixConfiguration, StopRun
from bridge.settings import Settings
from bridge.store import Store, feeds, roster
from bridge.store.state import table_of
from bridge.store.tables import LeaseRow
from bridge.sync.clock import Clock
from bridge.sync.lease import SiteBusy, holding
from connectors.feeds import SftpFeed
from jobs.feed_desk import Delivery, context_of, ingest_arrivals, source_of
from jobs.ingest import Ingestion

from .conftest import HEADERS, TODAY
from .test_feed_commands import Office

ROWS = [[f"E{n:02d}", "Ana", f"Kaur{n}", f"p{n}@x.example", "Nurse", "", "", ""] for n in range(20)]


def content(rows: Sequence[Sequence[str]]) -> bytes:
    """Return rows as a file."""
    out = io.StringIO()
    csv.writer(out).writerows([HEADERS, *rows])
    return out.getvalue().encode()


class Night:
    """A drop, and a store that is kept from night to night."""

    def __init__(self, folder: Path, store: Store, **feed: object) -> None:
        self.drop = folder / "drop"
        self.drop.mkdir(exist_ok=True)
        settings = FeedSettings.model_validate({"path": "drop", "interval": 0, **feed})
        self.settings = Settings(folder=folder, store="", sites={}, feeds={"hr": settings}, variables={})
        self.store = store

    def put(self, name: str, rows: Sequence[Sequence[str]]) -> Path:
        """Put a file into the drop."""
        path = self.drop / name
        path.write_bytes(content(rows))
        return path

    def fall(self) -> Delivery:
        """Take in what lies there."""
        return ingest_arrivals(self.store, self.settings, context_of(self.settings, "hr"), TODAY)


@pytest.fixture
def night(tmp_path: Path, store: Store) -> Callable[..., Night]:
    """Make a drop with an empty store; settings of the feed may be given."""
    return lambda **feed: Night(tmp_path, store, **feed)


def titles(night: Night) -> dict[str, str]:
    """Return the title of each person."""
    with night.store.read() as connection:
        return {one.row.person: one.row.title for one in roster.listed(connection, ["hr"])}


def test_a_file_that_is_still_on_its_way_keeps_no_other_from_being_taken(night: Callable[..., Night]) -> None:
    """Its manifest tells another size; the file behind it is whole, and is taken."""
    here = night()
    path = here.put("people_1.csv", ROWS)
    (here.drop / "people_1.csv.manifest.json").write_text(
        json.dumps({"file": "people_1.csv", "size": path.stat().st_size + 1}), "utf-8"
    )
    here.put("people_2.csv", ROWS)
    delivery = here.fall()
    assert [result.file for result in delivery.results] == ["people_2.csv"]
    assert "may still be on its way" in delivery.waiting[0]


def change(person: int, title: str) -> list[list[str]]:
    """Return one change: somebody gets another title."""
    return [[*ROWS[person][:4], title, "", "", ""]]


def test_changes_wait_for_those_that_were_sent_before_them(night: Callable[..., Night]) -> None:
    """The second of four files of changes is damaged on its way: the first is taken, the third and fourth wait."""
    here = night(snapshot="delta")
    here.put("changes_1.csv", ROWS)
    here.put("changes_2.csv", change(0, "Doctor"))
    (here.drop / "changes_2.csv.manifest.json").write_text(
        json.dumps({"file": "changes_2.csv", "sha256": "0" * 64}), "utf-8"
    )
    here.put("changes_3.csv", change(0, "Chief"))
    here.put("changes_4.csv", change(1, "Chief"))
    delivery = here.fall()
    assert [result.file for result in delivery.results] == ["changes_1.csv"]
    assert "changes_2.csv" in delivery.refused[0]
    assert [note.partition(":")[0] for note in delivery.waiting] == ["changes_3.csv", "changes_4.csv"]
    assert "changes_2.csv comes first" in delivery.waiting[0]
    (here.drop / "changes_2.csv.manifest.json").unlink()
    delivery = here.fall()
    assert [result.file for result in delivery.results] == ["changes_2.csv", "changes_3.csv", "changes_4.csv"]
    assert titles(here)["E00"] == "Chief"


def test_a_file_that_cannot_be_archived_is_taken_over_all_the_same_and_named(night: Callable[..., Night]) -> None:
    """Somebody has put a file where the archive should be; what was taken over is told before anything else."""
    here = night()
    (here.drop / "archive").write_text("in the way", "utf-8")
    here.put("people.csv", ROWS)
    delivery = here.fall()
    assert [result.created for result in delivery.results] == [20]
    assert (delivery.exit_code, "people.csv" in delivery.troubles[0]) == (2, True)
    assert len(titles(here)) == 20


def test_a_file_too_old_to_take_is_remembered_once_however_often_it_is_met(night: Callable[..., Night]) -> None:
    """It stays in the drop until somebody takes it away, and does not fill the store meanwhile."""
    here = night()
    here.put("people_2026-12-02.csv", ROWS)
    here.fall()
    here.put("people_2026-12-01.csv", ROWS[:19])
    for _ in range(3):
        [result] = here.fall().results
        assert (result.state, result.exit_code) == ("refused", 3)
    with here.store.read() as connection:
        assert len(feeds.latest_snapshots(connection, "hr")) == 2
    assert "2026-12-02" in (here.drop / "people_2026-12-01.csv.why.txt").read_text("utf-8")


def test_monday_s_file_with_wednesday_s_date_is_taken_from_the_drop(night: Callable[..., Night]) -> None:
    """The drop recognises the content, and the date in the name tells that it is meant."""
    here = night()
    for day, rows in ((1, ROWS), (2, [*ROWS[1:], *change(0, "Docter")]), (3, ROWS)):
        here.put(f"people_2026-12-0{day}.csv", rows)
        assert [result.state for result in here.fall().results] == ["accepted"]
    assert titles(here)["E00"] == "Nurse"


def test_a_file_that_was_discarded_stays_discarded_though_its_name_is_of_a_later_day(office: Office) -> None:
    """It lies in the drop still: the next night puts it away, and does not ask the same question again."""
    many = [[f"E{n}", "Ana", f"Kaur{n}", f"p{n}@x.example", "Nurse", "", "", ""] for n in range(100, 180)]
    (office.drop / "hris_people_2026-11-20.csv").write_bytes(content(many))
    assert office.run("ingest")[0] == 0
    (office.drop / "hris_people_2026-11-27.csv").write_bytes(content(many[:20]))
    assert office.run("ingest")[0] == 3
    assert office.run("feed", "release", "hr", "--discard", "--reason", "cut off")[0] == 0
    code, said = office.json("ingest")
    assert (code, said["feeds"][0]["files"]) == (0, [])
    assert "dealt with before" in said["feeds"][0]["again"][0]
    assert office.json("feed", "status")[1]["feeds"][0]["state"] == "open"
    assert (office.drop / "archive" / "hris_people_2026-11-27.csv").exists()


def test_a_file_larger_than_the_limit_set_is_refused_with_the_name_of_the_setting(night: Callable[..., Night]) -> None:
    """What the page on deliveries promises can be set."""
    here = night(max_bytes=100)
    here.put("people.csv", ROWS)
    assert "max_bytes in bridge.toml, [feeds.hr]" in here.fall().refused[0]


def test_limits_on_an_sftp_server_reach_the_connection(tmp_path: Path) -> None:
    """Attempts and seconds are settings, and the last word on how long anything takes."""
    feed = FeedSettings.model_validate(
        {
            "kind": "sftp", "host": "sftp.example", "user": "u", "password": "env:P", "host_keys": "SHA256:x",
            "connect_seconds": 3, "operation_seconds": 4, "total_seconds": 5, "attempts": 6, "max_entries": 7,
        }
    )  # fmt: skip
    settings = Settings(folder=tmp_path, store="", sites={}, feeds={"hr": feed}, variables={"P": "secret"})
    source = source_of(settings, "hr", feed, Clock())
    assert isinstance(source, SftpFeed)
    server = source._settings.server
    told = (server.connect_seconds, server.operation_seconds, server.total_seconds, server.attempts)
    assert (told, source._settings.max_entries, server.host_keys) == ((3, 4, 5, 6), 7, ("SHA256:x",))


# --- As people run it -----------------------------------------------------------------------------------------------


@pytest.fixture
def office(home: Path) -> Office:
    """A folder in which commands are run."""
    return Office(home)


def test_one_feeds_trouble_does_not_keep_another_from_being_taken_in(office: Office) -> None:
    """The first feed's folder is gone; the second one's file is taken, and the exit code tells of the first."""
    (office.folder / "bridge.toml").write_text(
        '[feeds.away]\npath = "gone"\ninterval = 0\n[feeds.hr]\npath = "drop"\ninterval = 0\n', "utf-8"
    )
    (office.drop / "people.csv").write_bytes(content(ROWS))
    code, said = office.json("ingest", "--as-of", "2026-12-31")
    away, hr = said["feeds"]
    assert (code, "There is no folder" in away["error"]) == (2, True)
    assert hr["files"][0]["created"] == 20


def test_a_command_that_waits_says_why(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wonders for a minute whether it hangs."""
    slept: list[float] = []
    monkeypatch.setattr("bridge.cli.feeds.time.sleep", slept.append)
    (office.folder / "bridge.toml").write_text('[feeds.hr]\npath = "drop"\n', "utf-8")
    (office.drop / "people.csv").write_bytes(content(ROWS))
    answer = CliRunner().invoke(cli.app, ["ingest"])
    assert [round(one) for one in slept] == [60]
    assert "hr: waiting 60 s" in answer.stderr


def test_faults_of_a_file_that_is_only_looked_at_can_be_written_down(office: Office) -> None:
    """The sender gets a workbook before anything is taken in."""
    (office.folder / "odd.csv").write_bytes(content([*ROWS, ["E99", "Ana", "Ek", "nowhere", "", "", "", ""]]))
    code, out = office.run("feed", "check", "odd.csv", "--out", "faults.xlsx")
    assert (code, "faults.xlsx" in out, (office.folder / ".lms-bridge").exists()) == (4, True, False)
    sheet = openpyxl.load_workbook("faults.xlsx").active
    assert sheet is not None
    assert [cell.value for cell in list(sheet.rows)[1]][:5] == ["odd.csv", 22, "E99", "email", "nowhere"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('columns.title = { from = "Role", lookup = "nowhere.csv" }', ("nowhere.csv", "lookup")),
        ('decisions = "nowhere.csv"', ("nowhere.csv", "decisions")),
        ('decisions = "drop/odd.csv"', ("job_title",)),
        ('date_format = "dd/mm/yyyy"', ("day (%d)",)),
        ('date_format = "%d/%m"', ("year (%Y",)),
        ('model = "nowhere"', ("nowhere", "lms-bridge plan --model nowhere")),
    ],
)
def test_a_setting_that_cannot_be_names_itself(office: Office, settings: str, words: tuple[str, ...]) -> None:
    """Which one, and what to do."""
    (office.drop / "odd.csv").write_text("a,b\n1,2\n", "utf-8")
    (office.folder / "bridge.toml").write_text(f"[feeds.hr]\n{settings}\n", "utf-8")
    (office.folder / "people.csv").write_bytes(content(ROWS))
    with pytest.raises(FixConfiguration) as told:
        cli.app(["feed", "check", "people.csv"], standalone_mode=False)
    assert all(word in str(told.value) for word in words), str(told.value)


@pytest.mark.usefixtures("office")
def test_rejections_of_a_feed_that_is_not_there_are_no_good_news() -> None:
    """A misspelt name must not read like "nothing is wrong"."""
    with pytest.raises(FixConfiguration, match=r"There is no feed 'hrr'\. There are: hr\."):
        cli.app(["rejections", "--feed", "hrr"], standalone_mode=False)


def test_a_workbook_in_which_some_ids_became_numbers_is_not_believed(office: Office) -> None:
    """The first file ever: nothing known could tell that 204 was 0204, but its neighbours do."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(list(HEADERS[:4]))
    for number in range(1, 30):
        person: object = f"{number:04d}" if number < 20 else number
        sheet.append([person, "Ana", f"Kaur{number}", f"p{number}@x.example"])
    book.save("people.xlsx")
    code, said = office.json("ingest", "--file", "people.xlsx")
    assert (code, [guard["name"] for guard in said["guards"]]) == (3, ["leading-zeros"])
    assert "format the column as Text" in said["guards"][0]["remedy"]


def test_two_programs_do_not_take_in_a_feed_at_once(night: Callable[..., Night]) -> None:
    """The second is told so before it looks at the drop; the file stays for whoever is at it."""
    here = night()
    path = here.put("people_1.csv", ROWS)
    with (
        holding(here.store, "feed:hr", "ingest", Clock()),
        pytest.raises(SiteBusy, match=r"^The feed hr is being worked on by an ingest"),
    ):
        here.fall()
    assert path.is_file()
    assert [result.state for result in here.fall().results] == ["accepted"]


def test_an_ingest_that_was_frozen_while_another_took_over_decides_nothing(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was about to accept its file when another program took the feed: nothing of it stands, and the file stays."""
    with closing(Store.open(postgres_url)) as store:
        here = Night(tmp_path, store)
        path = here.put("people_1.csv", ROWS)
        accept, lease = Ingestion._accept, table_of(LeaseRow)

        def accept_late(ingestion: Ingestion, *arguments: Any, **more: Any) -> Any:
            with store.begin() as other:
                other.execute(lease.update().values(holder="elsewhere:1:other:x", epoch=lease.c.epoch + 1))
            return accept(ingestion, *arguments, **more)

        with monkeypatch.context() as patched:
            patched.setattr(Ingestion, "_accept", accept_late)
            with pytest.raises(StopRun, match=r"lost its hold on the feed hr: .* nothing of the file was kept"):
                here.fall()
        assert titles(here) == {}
        assert path.is_file()
        with store.begin() as connection:
            connection.execute(lease.delete())
        assert [result.state for result in here.fall().results] == ["accepted"]
