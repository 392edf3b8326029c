"""A real SFTP server on loopback that can be told to misbehave, and a clock moved by hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from bridge.sync.clock import Clock
from connectors.feeds import Readiness, SftpServer, SftpSettings

USER, PASSWORD = "feed", "correct horse"
AT_ONCE = Readiness(interval=0)
ROWS = b"employee_id,name\n007,Bond\n"


@dataclass
class HandClock:
    """A clock that moves only when somebody waits; `meanwhile` is what happens during the wait."""

    time: float = 1_800_000_000.0
    meanwhile: Callable[[], None] = lambda: None
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.time += seconds
        self.meanwhile()

    def clock(self) -> Clock:
        """Return it in the form the feed takes."""
        return Clock(lambda: self.time, self.sleep)


@dataclass
class Mischief:
    """What the server does wrong, and what it saw."""

    cut_at: list[int] = field(default_factory=list)
    """Hang up when a read reaches this offset; one entry a time."""
    read_delay: float = 0.0
    """Seconds before each answer to a read."""
    short_reads: bool = False
    """Answer reads with fewer bytes than asked for."""
    after_read: Callable[[], None] | None = None
    """Done once, after the first read."""
    extra_names: list[bytes] = field(default_factory=list)
    """Names that a listing shows though no such file exists."""
    full: bool = False
    """Refuse writes as a full disk does."""
    cut_at_rename: bool = False
    """Hang up when something is to be renamed."""
    lost_bytes: int = 0
    """How many bytes to keep back of each written file."""
    strike_at: int = 0
    """The operation at which `strike` happens, by its number from 1; 0 for none."""
    strike: str = ""
    """`cut` or `cut_after` (the line breaks before or after the work is done), `denied`, or `full` (from then on)."""
    told: Callable[[str, int, str], None] | None = None
    """Told of `before` and `after_commit` of each operation, its number and its name."""
    operations: int = 0
    logins: int = 0
    offsets: list[int] = field(default_factory=list)
    """Where reads began."""


class DropServer:
    """An asyncssh server in a thread of its own, with one folder as its root."""

    def __init__(self, root: Path, client_key: asyncssh.SSHKey | None = None, host_key: asyncssh.SSHKey | None = None):
        self.root = root
        self.mischief = Mischief()
        self.host_key = host_key or asyncssh.generate_private_key("ssh-ed25519")
        self._client_key = client_key
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started = threading.Event()
        self._stop: asyncio.Event | None = None
        self.port = 0

    def __enter__(self) -> DropServer:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    @property
    def fingerprint(self) -> str:
        """The host key's fingerprint, as ssh-keygen prints it."""
        return self.host_key.get_fingerprint("sha256")

    @property
    def public_line(self) -> str:
        """The host key, as in a known_hosts file without the name."""
        return self.host_key.export_public_key("openssh").decode().strip()

    def server(self, **changes: Any) -> SftpServer:
        """Return settings that reach this server."""
        given: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "password": PASSWORD,
            "host_keys": (self.fingerprint,),
            "place": "bridge.toml, [feeds.hr]",
            "operation_seconds": 5.0,
        }
        return SftpServer(**(given | changes))

    def settings(self, server: dict[str, Any] | None = None, **changes: Any) -> SftpSettings:
        """Return settings of a feed on this server."""
        given: dict[str, Any] = {"server": self.server(**(server or {})), "path": "drop", "readiness": AT_ONCE}
        return SftpSettings(**(given | {"place": "bridge.toml, [feeds.hr]"} | changes))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        outer = self
        connections: list[asyncssh.SSHServerConnection] = []
        opened: list[Any] = []

        class Door(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                connections.append(conn)

            def begin_auth(self, username: str) -> bool:  # noqa: ARG002 - asyncssh calls it so
                outer.mischief.logins += 1
                return True

            def password_auth_supported(self) -> bool:
                return outer._client_key is None

            def public_key_auth_supported(self) -> bool:
                return outer._client_key is not None

            def validate_password(self, username: str, password: str) -> bool:
                return (username, password) == (USER, PASSWORD)

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                return (
                    username == USER
                    and outer._client_key is not None
                    and key.public_data == outer._client_key.public_data
                )

        class Files(asyncssh.SFTPServer):
            def __init__(self, chan: Any) -> None:
                super().__init__(chan, chroot=str(outer.root).encode())
                self._connection = chan.get_connection()
                self._cut = False

            def _begin(self, name: str) -> int:
                """Count an operation and let what was to strike it do so; return its number."""
                mischief = outer.mischief
                mischief.operations += 1
                number = mischief.operations
                if mischief.told is not None:
                    mischief.told("before", number, name)
                if number == mischief.strike_at:
                    match mischief.strike:
                        case "cut":
                            self._hang_up()
                        case "denied":
                            raise asyncssh.SFTPPermissionDenied("no")
                        case "full":
                            mischief.full = True
                if self._cut:
                    raise asyncssh.SFTPConnectionLost("cut")
                return number

            def _done(self, name: str, number: int) -> None:
                mischief = outer.mischief
                if mischief.told is not None:
                    mischief.told("after_commit", number, name)
                if (number, mischief.strike) == (mischief.strike_at, "cut_after"):
                    self._hang_up()
                    raise asyncssh.SFTPConnectionLost("cut")

            def _hang_up(self) -> None:
                self._cut = True
                self._connection.abort()

            def stat(self, path: bytes) -> Any:
                number = self._begin("stat")
                found = super().stat(path)
                self._done("stat", number)
                return found

            def lstat(self, path: bytes) -> Any:
                number = self._begin("lstat")
                found = super().lstat(path)
                self._done("lstat", number)
                return found

            def remove(self, path: bytes) -> Any:
                number = self._begin("remove")
                done = super().remove(path)
                self._done("remove", number)
                return done

            def _deny(self, path: bytes) -> None:
                if b"forbidden" in path:
                    raise asyncssh.SFTPPermissionDenied("no")

            def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
                number = self._begin("open")
                self._deny(path)
                opened.append(super().open(path, pflags, attrs))
                self._done("open", number)
                return opened[-1]

            async def scandir(self, path: bytes) -> AsyncIterator[Any]:
                number = self._begin("scandir")
                self._deny(path)
                async for one in super().scandir(path):
                    yield one
                for name in outer.mischief.extra_names:
                    yield asyncssh.SFTPName(
                        name, attrs=asyncssh.SFTPAttrs(size=5, permissions=0o100644, mtime=1, atime=1)
                    )
                self._done("scandir", number)

            async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
                mischief = outer.mischief
                mischief.offsets.append(offset)
                if mischief.read_delay:
                    await asyncio.sleep(mischief.read_delay)
                number = self._begin("read")
                if mischief.cut_at and offset >= mischief.cut_at[0]:
                    mischief.cut_at.pop(0)
                    self._hang_up()
                    raise asyncssh.SFTPConnectionLost("cut")
                file_obj.seek(offset)
                data: bytes = file_obj.read(max(1, size // 3) if mischief.short_reads else size)
                if mischief.after_read is not None:
                    act, mischief.after_read = mischief.after_read, None
                    act()
                self._done("read", number)
                return data

            def write(self, file_obj: Any, offset: int, data: bytes) -> int:
                number = self._begin("write")
                if outer.mischief.full:
                    raise asyncssh.SFTPFailure("No space left on device")
                kept = data[: max(0, len(data) - outer.mischief.lost_bytes)]
                file_obj.seek(offset)
                file_obj.write(kept)
                self._done("write", number)
                return len(data)

            def rename(self, oldpath: bytes, newpath: bytes) -> Any:
                number = self._begin("rename")
                if outer.mischief.cut_at_rename:
                    self._hang_up()
                    raise asyncssh.SFTPConnectionLost("cut")
                self._deny(newpath)
                done = super().rename(oldpath, newpath)
                self._done("rename", number)
                return done

            def posix_rename(self, oldpath: bytes, newpath: bytes) -> Any:
                number = self._begin("posix_rename")
                done = super().posix_rename(oldpath, newpath)
                self._done("posix_rename", number)
                return done

            def mkdir(self, path: bytes, attrs: Any) -> Any:
                number = self._begin("mkdir")
                self._deny(path)
                done = super().mkdir(path, attrs)
                self._done("mkdir", number)
                return done

        listener = await asyncssh.create_server(
            Door, "127.0.0.1", 0, server_host_keys=[self.host_key], sftp_factory=Files, allow_scp=False
        )
        self.port = listener.get_port()
        self._started.set()
        await self._stop.wait()
        listener.close()
        await listener.wait_closed()
        await hang_up(connections)
        for file in opened:
            file.close()


async def hang_up(connections: list[asyncssh.SSHServerConnection]) -> None:
    """End what a server still has under way, and wait until its sockets are closed."""
    for connection in connections:
        connection.abort()
    await asyncio.gather(*(connection.wait_closed() for connection in connections), return_exceptions=True)
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    await asyncio.sleep(0.01)  # the loop closes sockets one turn after they were told to
