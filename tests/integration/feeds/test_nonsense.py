"""An SFTP server that answers nonsense gets an error in words, in bounded time."""

from __future__ import annotations

import asyncio
import random
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from bridge.ports import BridgeError
from connectors.feeds import Arrival, SftpFeed, SftpServer, SftpSettings
from connectors.feeds.readiness import utc
from tests.integration.feeds.support import AT_ONCE, hang_up

_KINDS = [101, 102, 103, 104, 105, 201, 0, 255]


class NonsenseServer:
    """Answers each request with a packet of the right number and otherwise random content."""

    def __init__(self) -> None:
        self.random = random.Random(0)
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self.started = threading.Event()
        self.stop: asyncio.Event
        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(self.serve()))

    async def serve(self) -> None:
        """Run until told to stop."""
        self.stop = asyncio.Event()

        connections: list[asyncssh.SSHServerConnection] = []

        class Door(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                connections.append(conn)

            def begin_auth(self, username: str) -> bool:  # noqa: ARG002 - asyncssh calls it so
                return False

        listener = await asyncssh.create_server(
            Door, "127.0.0.1", 0, server_host_keys=[self.key], process_factory=self.converse, encoding=None
        )
        self.port = listener.get_port()
        self.started.set()
        await self.stop.wait()
        listener.close()
        await listener.wait_closed()
        await hang_up(connections)

    async def converse(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Hold one conversation."""
        process.stdout.write(struct.pack(">IBI", 5, 2, 3))
        while True:
            try:
                (length,) = struct.unpack(">I", await process.stdin.readexactly(4))
                request = await process.stdin.readexactly(length)
            except (asyncio.IncompleteReadError, asyncssh.Error):
                process.exit(0)
                return
            if request[0] != 1:
                process.stdout.write(self.answer(request[1:5]))

    def answer(self, number: bytes) -> bytes:
        """Return a packet: often of a plausible kind, sometimes with absurd counts or lengths."""
        dice = self.random
        body = dice.choice(
            [
                dice.randbytes(dice.randrange(60)),
                struct.pack(">I", dice.choice([0, 1, 2, 3, 4, 9, 2**31, 2**32 - 1]))
                + dice.randbytes(dice.randrange(40)),
                struct.pack(">I", 4) + b"hndl",
                struct.pack(">I", 2) + 2 * (struct.pack(">I", 3) + b"a.c" + struct.pack(">II", 0, dice.randrange(64))),
            ]
        )
        packet = bytes([dice.choice(_KINDS)]) + (number if dice.random() < 0.95 else dice.randbytes(4)) + body
        return struct.pack(">I", len(packet) + (dice.random() < 0.05) * dice.choice([1, 2**31])) + packet


@pytest.fixture(scope="module")
def nonsense() -> Iterator[NonsenseServer]:
    """One such server."""
    server = NonsenseServer()
    server.thread.start()
    assert server.started.wait(10)
    yield server
    server.loop.call_soon_threadsafe(server.stop.set)
    server.thread.join(10)
    server.loop.close()


@pytest.mark.parametrize("seed", range(8))
def test_nonsense_is_told_in_words_and_within_bounds(nonsense: NonsenseServer, tmp_path: Path, seed: int) -> None:
    """A look and a download either succeed or raise one of the port's errors; nothing unfinished stays in the inbox."""
    nonsense.random.seed(seed)
    server = SftpServer(
        host="127.0.0.1",
        port=nonsense.port,
        user="feed",
        password="x",
        host_keys=(nonsense.key.get_fingerprint("sha256"),),
        operation_seconds=0.2,
        total_seconds=2,
        attempts=1,
    )
    feed = SftpFeed(SftpSettings(server=server, readiness=AT_ONCE))
    started = time.monotonic()
    arrival = Arrival("people.csv", 100_000, utc(1_000_000), 0)
    faults: list[str] = []
    for act in (feed.survey, lambda: feed.take(arrival, tmp_path / "inbox")):
        try:
            act()
        except BridgeError as error:
            faults.append(str(error))
    feed.close()
    assert time.monotonic() - started < 10
    assert faults, "nonsense is never taken for a file"
    assert all(fault.isprintable() and len(fault) > 40 for fault in faults)
