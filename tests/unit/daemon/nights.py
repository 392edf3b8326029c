"""Chains on a clock that tests turn, against a simulated Moodle, with messages that arrive at a real server."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bridge.settings import Settings, load_settings
from bridge.store import Store, unattended
from bridge.sync.clock import Clock
from connectors.simulators.moodle import MoodleSimulator
from jobs import notices
from jobs.chain import Chain, ChainEnd, claim, conclude
from jobs.notices import Messenger
from jobs.schedule import appointments
from tests.acceptance.program import COMPANY, scales, small_model
from tests.databases import setting, store_of

START = 1_780_000_000.0
HOUR, DAY = 3600.0, 86_400.0

TOML = """
[daemon]
listen = ""

[daemon.notify]
to = ["env:NOTIFY"]

[schedules.hourly]
cron = "0 * * * *"
run = ["push", "report"]
"""

SITE = """
[sites.{name}]
url = "env:MOODLE_URL"
token = "env:MOODLE_TOKEN"
model = "model"

[sites.{name}.options]
server_limit = 0.05
attempts = 2
"""


class Inbox:
    """A server on loopback that takes what apprise posts to a json:// address."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.broken = False
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if inbox.broken:
                    self.send_error(500)
                    return
                inbox.messages.append(json.loads(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"json://bridge:hush-hush-hush@127.0.0.1:{self.server.server_port}/"

    @property
    def texts(self) -> list[str]:
        """The bodies of what arrived."""
        return [one["message"] for one in self.messages]


@contextmanager
def inbox() -> Iterator[Inbox]:
    """A server that takes messages."""
    made = Inbox()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


class Mailbox:
    """A mail server on loopback, as little of one as takes a letter."""

    def __init__(self) -> None:
        self.letters: list[str] = []
        mailbox = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 here\r\n")
                while line := self.rfile.readline():
                    word = line[:4].upper()
                    if word == b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        letter = b""
                        while (part := self.rfile.readline()) not in (b".\r\n", b""):
                            letter += part
                        mailbox.letters.append(letter.decode("utf-8", "replace"))
                    if word == b"QUIT":
                        self.wfile.write(b"221 bye\r\n")
                        return
                    self.wfile.write(b"250 fine\r\n")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """A mail server that takes letters."""
    made = Mailbox()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


class Nights:
    """A folder with settings, a site, and a clock that goes when it is told to."""

    def __init__(self, folder: Path, moodle: MoodleSimulator, address: str, toml: str) -> None:
        self.folder, self.moodle, self.address = folder, moodle, address
        self.now = START
        (folder / "bridge.toml").write_text(toml, "utf-8")
        self.clock = Clock(now=lambda: self.now, sleep=lambda _seconds: None)
        self.settings = self.load()
        self.store = Store.open(self.settings.store)
        self.send = notices.sender(self.settings)

    def load(self) -> Settings:
        """Read the settings."""
        variables = {"MOODLE_URL": self.moodle.url, "MOODLE_TOKEN": self.moodle.token, "NOTIFY": self.address}
        variables |= setting(store_of(self.folder))
        return load_settings(self.folder, variables)

    def fire(self, schedule: str = "hourly") -> dict[str, ChainEnd]:
        """Run what a schedule runs at this moment, at each of its sites; return how it went."""
        ends = {}
        for one in appointments(self.settings):
            if one.schedule != schedule:
                continue
            chain = Chain(self.settings, self.store, one, self.now, self.clock)
            assert claim(self.store, one, self.now, "test", self.now, chain.name)
            ends[one.site] = chain.run()
            conclude(self.store, one, self.now, ends[one.site], self.now)
        return ends

    def tell(self) -> int:
        """Send what is due; return how many notices that told."""
        return Messenger(self.store, self.settings.daemon.notify, self.send, self.clock).send_due()

    def trouble(self, site: str = "moodle") -> unattended.Trouble | None:
        """Return what is wrong with a site."""
        with self.store.read() as connection:
            return unattended.trouble(connection, site)


@contextmanager
def nights(folder: Path, address: str, toml: str = TOML, sites: tuple[str, ...] = ("moodle",)) -> Iterator[Nights]:
    """A site with the sample company's scales, a small model, and settings."""
    small_model(folder / "model", competencies=40, positions=2)
    with MoodleSimulator() as moodle:
        for name, labels in scales(COMPANY):
            moodle.seed.scale(name, labels)
        made = Nights(folder, moodle, address, toml + "".join(SITE.format(name=name) for name in sites))
        try:
            yield made
        finally:
            made.store.close()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])
