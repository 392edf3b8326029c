"""A real SFTP server as a drop: the right server, the right files, and what happens when things break."""

from __future__ import annotations

import hashlib
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import asyncssh
import pytest

from bridge.ports import AccessNotGiven, FixConfiguration, RetryLater, SkipItem, StopRun
from connectors.feeds import FeedSource, Readiness, ReadyWhen, SftpFeed, SftpServer, SftpSettings
from tests.integration.feeds.support import AT_ONCE, ROWS, USER, DropServer, HandClock

BIG = bytes(range(256)) * 8192  # 2 MiB
MIDDLE = len(BIG) // 2


@pytest.fixture(scope="module")
def host_key() -> asyncssh.SSHKey:
    """One host key for all servers here."""
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def server(tmp_path: Path, host_key: asyncssh.SSHKey) -> Iterator[DropServer]:
    """A server with one file in its drop."""
    root = tmp_path / "root"
    (root / "drop").mkdir(parents=True)
    (root / "drop" / "people.csv").write_bytes(ROWS)
    with DropServer(root, host_key=host_key) as running:
        yield running


@pytest.fixture
def drop(server: DropServer) -> Path:
    """The drop's folder, seen from the server's side."""
    return server.root / "drop"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An inbox that is not there yet."""
    return tmp_path / "inbox"


def test_a_file_is_taken_and_archived_with_a_password(server: DropServer, drop: Path, inbox: Path) -> None:
    """From the listing to the archive; the second file of the same name keeps the first."""
    feed = SftpFeed(server.settings(), HandClock().clock())
    assert isinstance(feed, FeedSource)
    for night, content in enumerate([ROWS, ROWS * 2]):
        (drop / "people.csv").write_bytes(content)
        (drop / "people.csv.done").touch()
        received = feed.take(feed.arrivals()[0], inbox / str(night))
        assert received.path.read_bytes() == content
        assert received.sha256 == hashlib.sha256(content).hexdigest()
        feed.archive(received)
    assert sorted(one.name for one in (drop / "archive").iterdir()) == [
        "people-20270115T080000Z.csv",
        "people-20270115T080000Z.csv.done",
        "people.csv",
        "people.csv.done",
    ]
    assert [one.name for one in drop.iterdir()] == ["archive"]
    assert "no longer there" in feed.archive(received)
    feed.close()
    assert server.mischief.logins == 1, "one connection served everything"


@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_a_key_logs_in(tmp_path: Path, host_key: asyncssh.SSHKey, inbox: Path, passphrase: str | None) -> None:
    """A private key, with or without passphrase, opens a server that takes no passwords."""
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "people.csv").write_bytes(ROWS)
    key = asyncssh.generate_private_key("ssh-rsa" if passphrase else "ssh-ed25519")
    path = tmp_path / "key"
    # The older PEM form opens without a deliberately slow key derivation.
    path.write_bytes(key.export_private_key("pkcs1-pem" if passphrase else "openssh", passphrase))
    path.chmod(0o600)
    with DropServer(tmp_path, client_key=key, host_key=host_key) as server:
        feed = SftpFeed(server.settings({"password": None, "key_file": path, "key_passphrase": passphrase}))
        assert feed.take(feed.arrivals()[0], inbox).size == len(ROWS)
        feed.close()
        refused = SftpFeed(server.settings())
        with pytest.raises(FixConfiguration, match="does not take this way of logging in; it offers: publickey"):
            refused.arrivals()
        refused.close()


def test_faults_of_the_key_file_are_told_apart(server: DropServer, tmp_path: Path) -> None:
    """Missing, open to others, no key at all, locked: each says what to do, before anything is connected."""
    path = tmp_path / "key"

    def fault(passphrase: str | None = None) -> str:
        feed = SftpFeed(server.settings({"key_file": path, "key_passphrase": passphrase}))
        with pytest.raises(FixConfiguration) as caught:
            feed.arrivals()
        return str(caught.value)

    assert "is not there" in fault()
    path.write_text("no key")
    path.chmod(0o644)
    assert f"chmod 600 {path}" in fault()
    path.chmod(0o600)
    assert "not a private key in OpenSSH" in fault()
    path.write_bytes(asyncssh.generate_private_key("ssh-rsa").export_private_key("pkcs1-pem", "secret"))
    assert "locked with a passphrase" in fault()
    assert "passphrase" in fault("wrong")
    assert server.mischief.logins == 0


def test_an_unknown_host_key_is_refused_with_the_line_that_pins_it(server: DropServer) -> None:
    """Nothing is sent before the key is known; the line given, put where it says, then works."""
    feed = SftpFeed(server.settings({"host_keys": ()}))
    with pytest.raises(FixConfiguration) as caught:
        feed.arrivals()
    told = str(caught.value)
    assert server.fingerprint in told
    assert "bridge.toml, [feeds.hr]" in told
    line = told.splitlines()[-1]
    assert server.mischief.logins == 0
    key = line.removeprefix('host_keys = ["').removesuffix('"]')
    pinned = SftpFeed(server.settings({"host_keys": (key,)}))
    assert len(pinned.arrivals()) == 1
    pinned.close()


def test_a_changed_host_key_is_refused_with_both_fingerprints(server: DropServer) -> None:
    """The pinned and the shown key are named, and no password goes out."""
    other = asyncssh.generate_private_key("ssh-ed25519")
    for pin in (other.get_fingerprint("sha256"), other.export_public_key("openssh").decode()):
        feed = SftpFeed(server.settings({"host_keys": (pin,)}))
        with pytest.raises(FixConfiguration, match="another host key than the one pinned") as caught:
            feed.arrivals()
        assert other.get_fingerprint("sha256") in str(caught.value)
        assert server.fingerprint in str(caught.value)
    assert server.mischief.logins == 0


def test_host_keys_are_taken_in_each_usual_form(server: DropServer) -> None:
    """Fingerprint, key, key with comment, known_hosts line: all pin the same key."""
    line = server.public_line
    for pin in (server.fingerprint, server.fingerprint + "=", line, f"{line} a comment", f"[127.0.0.1]:2222 {line}"):
        feed = SftpFeed(server.settings({"host_keys": ("SHA256:" + "A" * 43, pin)}))
        assert len(feed.arrivals()) == 1
        feed.close()
    wrong = ["MD5:aa:bb", "", "ssh-ed25519", line[:-9], line.replace("ssh-ed25519", "ssh-rsa"), f"@revoked * {line}"]
    for pin in wrong:
        feed = SftpFeed(server.settings({"host_keys": (pin,)}))
        with pytest.raises(FixConfiguration, match="neither a fingerprint"):
            feed.arrivals()


def test_of_several_host_keys_the_pinned_one_is_asked_for(tmp_path: Path) -> None:
    """A server may have an RSA key too; pinning that one whole is enough."""
    rsa = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    (tmp_path / "drop").mkdir()
    with DropServer(tmp_path, host_key=rsa) as server:
        feed = SftpFeed(server.settings({"host_keys": (server.public_line,)}))
        assert feed.arrivals() == []
        feed.close()


def test_a_wrong_password_is_told_and_tried_once(server: DropServer) -> None:
    """Repeating it could lock the account; the password itself is not in the message."""
    feed = SftpFeed(server.settings({"password": "guess-me"}))
    with pytest.raises(AccessNotGiven, match=f"does not let the account {USER} in") as caught:
        feed.arrivals()
    assert "guess-me" not in str(caught.value)
    assert "guess-me" not in repr(server.server(password="guess-me"))
    assert server.mischief.logins == 1


def test_without_password_and_key_nothing_is_tried(server: DropServer) -> None:
    """The setting that is missing is named."""
    with pytest.raises(FixConfiguration, match="neither a password nor a key"):
        SftpFeed(server.settings({"password": None})).arrivals()


@pytest.mark.parametrize("cuts", [[MIDDLE], [MIDDLE, MIDDLE + 300_000, len(BIG) - 60_000]])
def test_a_connection_dropped_in_mid_file_is_resumed(
    server: DropServer, drop: Path, inbox: Path, cuts: list[int]
) -> None:
    """Within one take: after each cut it goes on where it stopped, and the whole is hashed."""
    (drop / "people.csv").write_bytes(BIG)
    hand = HandClock()
    feed = SftpFeed(server.settings(), hand.clock())
    [arrival] = feed.arrivals()
    server.mischief.cut_at = list(cuts)
    received = feed.take(arrival, inbox)
    feed.close()
    assert received.path.read_bytes() == BIG
    assert received.sha256 == hashlib.sha256(BIG).hexdigest()
    assert hand.slept == [2.0, 4.0, 8.0][: len(cuts)]
    assert sum("Resumed after" in note for note in received.notes) == len(cuts)
    assert server.mischief.offsets.count(0) == 1, "the first block was asked for once"
    assert [one.name for one in inbox.iterdir()] == ["people.csv"]


def test_a_download_that_stays_broken_is_resumed_by_the_next_run(server: DropServer, drop: Path, inbox: Path) -> None:
    """Attempts are bounded; another process goes on from the partial file."""
    (drop / "people.csv").write_bytes(BIG)
    first = SftpFeed(server.settings({"attempts": 2}), HandClock().clock())
    [arrival] = first.arrivals()
    server.mischief.cut_at = [MIDDLE, MIDDLE + 100_000]
    with pytest.raises(RetryLater, match=r"broke at fetching people.csv"):
        first.take(arrival, inbox)
    kept = max(one.stat().st_size for one in inbox.iterdir())
    assert kept > MIDDLE // 2
    server.mischief.offsets.clear()
    second = SftpFeed(server.settings())
    received = second.take(second.arrivals()[0], inbox)
    second.close()
    assert received.path.read_bytes() == BIG
    assert min(server.mischief.offsets) >= kept - 32 * 1024


@pytest.mark.parametrize("same_time", [True, False])
def test_a_file_that_changed_after_the_break_starts_over(
    server: DropServer, drop: Path, inbox: Path, same_time: bool
) -> None:
    """Never two halves of two files, not even where size and time stayed the same."""
    (drop / "people.csv").write_bytes(BIG)
    feed = SftpFeed(server.settings({"attempts": 1}))
    [arrival] = feed.arrivals()
    server.mischief.cut_at = [MIDDLE]
    with pytest.raises(RetryLater):
        feed.take(arrival, inbox)
    other = BIG[::-1]
    (drop / "people.csv").write_bytes(other)
    shift = 0 if same_time else 5
    time_then = arrival.modified.timestamp()
    os.utime(drop / "people.csv", (time_then, time_then + shift))
    if not same_time:
        with pytest.raises(RetryLater, match="changed while it was being fetched"):
            feed.take(arrival, inbox)
    received = feed.take(feed.arrivals()[0], inbox)
    feed.close()
    assert received.path.read_bytes() == other
    assert received.sha256 == hashlib.sha256(other).hexdigest()


def test_a_file_that_changes_while_it_is_read_is_not_taken(server: DropServer, drop: Path, inbox: Path) -> None:
    """It grew after the first block: nothing stays in the inbox."""
    (drop / "people.csv").write_bytes(BIG)

    def grow() -> None:
        with (drop / "people.csv").open("ab") as file:
            file.write(b"more")

    feed = SftpFeed(server.settings())
    [arrival] = feed.arrivals()
    server.mischief.after_read = grow
    with pytest.raises(RetryLater, match="still being written"):
        feed.take(arrival, inbox)
    feed.close()
    assert list(inbox.iterdir()) == []


def test_a_file_that_shrinks_while_it_is_read_is_not_taken(server: DropServer, drop: Path, inbox: Path) -> None:
    """The end comes early: no half file."""
    (drop / "people.csv").write_bytes(BIG)
    feed = SftpFeed(server.settings())
    [arrival] = feed.arrivals()
    server.mischief.after_read = lambda: os.truncate(drop / "people.csv", 100_000)
    with pytest.raises(RetryLater, match="changed while"):
        feed.take(arrival, inbox)
    feed.close()
    assert list(inbox.iterdir()) == []


def test_a_growing_file_waits(server: DropServer, drop: Path) -> None:
    """Two looks an interval apart see it grow; a third pair sees it stable."""
    hand = HandClock()
    feed = SftpFeed(server.settings(readiness=Readiness(interval=60)), hand.clock())
    hand.meanwhile = lambda: (drop / "people.csv").write_bytes(ROWS * 2) and None
    assert "may still be growing" in feed.survey().waiting[0].why
    hand.meanwhile = lambda: None
    assert len(feed.arrivals()) == 1
    feed.close()


def test_a_manifest_on_the_server_is_obeyed(server: DropServer, drop: Path, inbox: Path) -> None:
    """With the right checksum the file is taken, with a wrong one refused and left with a note."""
    feed = SftpFeed(server.settings(readiness=Readiness(when=ReadyWhen.MANIFEST)))
    assert feed.arrivals() == []
    manifest = drop / "people.csv.manifest.json"
    manifest.write_text('{"rows": 1, "sha256": "' + hashlib.sha256(ROWS).hexdigest() + '"}')
    received = feed.take(feed.arrivals()[0], inbox)
    assert received.manifest is not None
    assert received.manifest.rows == 1
    manifest.write_text('{"sha256": "' + "0" * 64 + '"}')
    [arrival] = feed.arrivals()
    with pytest.raises(SkipItem, match="not what its manifest says") as caught:
        feed.take(arrival, inbox)
    assert feed.leave(arrival, str(caught.value)) == "127.0.0.1:drop/people.csv.why.txt"
    feed.close()
    assert "not what its manifest says" in (drop / "people.csv.why.txt").read_text()
    assert (drop / "people.csv").read_bytes() == ROWS


HOSTILE = [
    "../../people.csv",
    "/etc/cron.d/people.csv",
    "..\\..\\people.csv",
    "C:people.csv",
    "people\x00.csv",
    "people\n.csv",
    "people\x1b[2J.csv",
    "pe\u202eople.csv",
    "people\u200b.csv",
    "people\u2215x.csv",
    "．．／people.csv",
    "con.csv",
    "LPT1.csv",
    "aux .csv",
    " people.csv",
    "-people.csv",
    "~people.csv",
]


def test_hostile_names_are_refused_with_a_reason_and_never_become_paths(
    server: DropServer, inbox: Path, tmp_path: Path
) -> None:
    """Every hostile name is shown escaped with its reason; plain ones beside them still arrive."""
    server.mischief.extra_names = [name.encode() for name in HOSTILE] + [b"\xff\xfe.csv", b"..", b".", b""]
    feed = SftpFeed(server.settings())
    survey = feed.survey()
    assert [one.name for one in survey.ready] == ["people.csv"]
    assert len(survey.refused) == len(HOSTILE) + 1
    assert all(one.why.endswith("Ask the sender to give the file a plain name.") for one in survey.refused)
    assert all(one.name.isprintable() for one in survey.refused)
    before = {path for path in tmp_path.rglob("*") if inbox not in path.parents and path != inbox}
    feed.take(survey.ready[0], inbox)
    for name in HOSTILE:
        with pytest.raises(ValueError, match="not a plain file name"):
            replace(survey.ready[0], name=name)
    feed.close()
    assert {path for path in tmp_path.rglob("*") if inbox not in path.parents and path != inbox} == before
    assert [one.name for one in inbox.iterdir()] == ["people.csv"]


def test_awkward_names_are_renamed_with_a_reason(server: DropServer, drop: Path, inbox: Path) -> None:
    """Long names, other Unicode forms and characters that some systems forbid are kept under a safe name."""
    names = ["x" * 240 + ".csv", "Mu\u0308ller.csv", 'a<b>"c".csv']
    for name in names:
        (drop / name).write_bytes(ROWS)
    (drop / "people.csv").unlink()
    feed = SftpFeed(server.settings())
    arrivals = {one.name: one for one in feed.arrivals()}
    assert set(arrivals) == set(names)
    received = {name: feed.take(one, inbox) for name, one in arrivals.items()}
    for one in received.values():
        assert "Kept as" in one.notes[0]
        assert feed.archive(one).startswith("127.0.0.1:drop/archive/")
    feed.close()
    assert received[names[1]].path.name == "M\u00fcller.csv"
    assert len(received[names[0]].path.name.encode()) <= 180
    assert not set('<>"') & set(received[names[2]].path.name)


def test_links_on_the_server_are_refused(server: DropServer, drop: Path) -> None:
    """A link might lead anywhere on the server."""
    (drop / "link.csv").symlink_to(drop / "people.csv")
    feed = SftpFeed(server.settings())
    survey = feed.survey()
    feed.close()
    assert [one.name for one in survey.ready] == ["people.csv"]
    assert "symbolic link" in survey.refused[0].why


def test_a_listing_without_end_is_refused(server: DropServer) -> None:
    """A bound on the number of entries, and words about the path."""
    server.mischief.extra_names = [f"{n}.csv".encode() for n in range(50)]
    feed = SftpFeed(server.settings(max_entries=20))
    with pytest.raises(FixConfiguration, match="more than 20 files"):
        feed.arrivals()
    feed.close()


def test_missing_permission_is_told_for_folder_file_and_archive(server: DropServer, drop: Path, inbox: Path) -> None:
    """Each names the account, what was not allowed, and whom to ask."""
    (server.root / "forbidden").mkdir()
    (drop / "forbidden.csv").write_bytes(ROWS)
    locked = SftpFeed(server.settings(path="forbidden"))
    with pytest.raises(FixConfiguration, match=r"no permission on 127.0.0.1 for listing forbidden"):
        locked.arrivals()
    missing = SftpFeed(server.settings(path="nowhere"))
    with pytest.raises(FixConfiguration, match="finds no such file or folder for listing nowhere"):
        missing.arrivals()
    feed = SftpFeed(server.settings(archive="forbidden"))
    forbidden, people = feed.arrivals()
    with pytest.raises(FixConfiguration, match=r"no permission .* fetching forbidden.csv"):
        feed.take(forbidden, inbox)
    assert feed.leave(forbidden, "no permission") is None
    with pytest.raises(FixConfiguration, match=r"no permission .* moving people.csv"):
        feed.archive(feed.take(people, inbox))
    assert (drop / "people.csv").exists()
    for one in (locked, missing, feed):
        one.close()


def test_a_full_disk_on_our_side_leaves_no_partial_file(server: DropServer, drop: Path, inbox: Path) -> None:
    """The kernel refuses the write in mid-file: by the limit on file sizes, as mounting a small disk needs rights."""
    (drop / "people.csv").write_bytes(BIG)
    feed = SftpFeed(server.settings())
    [arrival] = feed.arrivals()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIDDLE, before[1]))
    try:
        with pytest.raises(StopRun, match="disk of this machine is full"):
            feed.take(arrival, inbox)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(inbox.iterdir()) == []
    assert (drop / "people.csv").read_bytes() == BIG
    assert feed.take(arrival, inbox).path.read_bytes() == BIG
    feed.close()


def test_a_slow_server_meets_the_bound_on_the_whole(server: DropServer, drop: Path, inbox: Path) -> None:
    """Each answer comes within the limit for one, but all together take too long; what came is kept."""
    (drop / "people.csv").write_bytes(BIG)
    feed = SftpFeed(server.settings({"total_seconds": 0.8}))
    [arrival] = feed.arrivals()
    server.mischief.read_delay = 0.4
    started = time.monotonic()
    with pytest.raises(RetryLater, match=r"took longer than 0.8 seconds in all.*raise total_seconds"):
        feed.take(arrival, inbox)
    assert time.monotonic() - started < 5
    server.mischief.read_delay = 0
    assert feed.take(arrival, inbox).path.read_bytes() == BIG
    feed.close()


def test_a_silent_server_meets_the_bound_on_one_request(server: DropServer, inbox: Path) -> None:
    """No answer within the limit for one request."""
    feed = SftpFeed(server.settings({"operation_seconds": 0.3, "attempts": 1}))
    [arrival] = feed.arrivals()
    server.mischief.read_delay = 30
    with pytest.raises(RetryLater, match="was silent for too long"):
        feed.take(arrival, inbox)
    feed.close()


def test_a_server_that_gives_less_than_asked_for_is_read_to_the_end(
    server: DropServer, drop: Path, inbox: Path
) -> None:
    """Short answers are allowed by the protocol."""
    content = BIG[:300_001]
    (drop / "people.csv").write_bytes(content)
    server.mischief.short_reads = True
    feed = SftpFeed(server.settings())
    assert feed.take(feed.arrivals()[0], inbox).path.read_bytes() == content
    feed.close()


def _settings_for(port: int, host: str = "127.0.0.1") -> SftpSettings:
    server = SftpServer(
        host=host, port=port, user=USER, password="x", host_keys=("SHA256:" + "A" * 43,), connect_seconds=0.5
    )
    return SftpSettings(server=server, readiness=AT_ONCE)


def test_a_port_without_server_and_a_name_without_machine_are_told_apart() -> None:
    """The one may come back, the other is a setting."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RetryLater, match="takes no connections"):
        SftpFeed(_settings_for(port)).arrivals()
    with pytest.raises((FixConfiguration, RetryLater), match=r"There is no machine called|could not be looked up"):
        SftpFeed(_settings_for(port, "no-such-machine.invalid")).arrivals()


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n" + b"\x00" * 64])
def test_something_that_is_no_sftp_server_is_told_within_bounds(
    greeting: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """Silence, another protocol, garbage: an error in words, in time, and no traceback on the terminal."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def serve() -> None:
            peer, _ = listener.accept()
            taken.append(peer)
            peer.sendall(greeting)

        thread = threading.Thread(target=serve)
        thread.start()
        started = time.monotonic()
        feed = SftpFeed(_settings_for(listener.getsockname()[1]))
        with pytest.raises(RetryLater):
            feed.arrivals()
        feed.close()
        assert time.monotonic() - started < 5
        thread.join()
        taken[0].close()
    assert "Traceback" not in capfd.readouterr().err


def test_files_of_the_archive_expire_on_the_server(server: DropServer, drop: Path) -> None:
    """Those of this feed that are older than the limit, with their companions; an archive that is not there is none."""
    feed = SftpFeed(server.settings(), HandClock().clock())
    limit = datetime(2026, 1, 1, tzinfo=UTC)
    assert feed.expire(limit) == ()
    (drop / "archive").mkdir()
    for name, year in (("people.csv", 2025), ("people.csv.done", 2025), ("fresh.csv", 2026), ("notes.txt", 2025)):
        path = drop / "archive" / name
        path.write_bytes(b"x")
        moment = datetime(year, 6, 1, tzinfo=UTC).timestamp()
        os.utime(path, (moment, moment))
    assert sorted(feed.expire(limit)) == ["people.csv", "people.csv.done"]
    assert sorted(one.name for one in (drop / "archive").iterdir()) == ["fresh.csv", "notes.txt"]
    feed.close()
