"""A connection to an SFTP server: the right server, logged in, within bounds, its faults told by what to do next."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import TracebackType

import paramiko
from paramiko.sftp import SFTPError

from bridge.ports import AccessNotGiven, BridgeError, FixConfiguration, RetryLater
from connectors.feeds.hostkeys import check_host_key, preferred_types, read_pins
from connectors.feeds.names import shown
from connectors.feeds.settings import SftpServer
from connectors.feeds.wire import Wire

# What paramiko logs as errors (with tracebacks) is raised as well, and told from there.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

_IDLE = 20.0
"""Seconds after which an unused connection is not trusted any more: firewalls forget without a word."""

# What paramiko raises where a server breaks off or answers nonsense.
_FAULTS = (
    EOFError,
    OSError,
    paramiko.SSHException,
    SFTPError,
    struct.error,
    ValueError,
    IndexError,
    KeyError,
    MemoryError,
)


class ConnectionBroken(RetryLater):
    """The connection was lost on the way: worth another attempt within the same run."""


class Bound:
    """The longest time for one piece of work. When it is over, the connection in use is cut."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._transport: paramiko.Transport | None = None
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Bound:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._transport = None

    @property
    def left(self) -> float:
        """Seconds left, never less than 0."""
        return max(0.0, self._end - time.monotonic())

    def guard(self, transport: paramiko.Transport) -> None:
        """Cut this connection when the time is over; at once where it is."""
        with self._lock:
            self._transport = transport
            expired = self.expired
        if expired:
            transport.close()

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            transport = self._transport
        if transport is not None:
            transport.close()


class Session:
    """Connects when needed, keeps the connection for a short while, and translates what goes wrong."""

    def __init__(self, server: SftpServer) -> None:
        self._server = server
        self._transport: paramiko.Transport | None = None
        self._wire: Wire | None = None
        self._used = 0.0

    @contextlib.contextmanager
    def work(self, doing: str, bound: Bound) -> Iterator[Wire]:
        """Offer the wire for one piece of work; faults come out as `bridge.ports` errors that say what was done."""
        try:
            wire = self._ready(bound)
            yield wire
        except BridgeError:
            self.close()
            raise
        except _FAULTS as error:
            alive = self._transport is not None and self._transport.is_active()
            told = self._told(error, doing, bound, alive)
            # Permission and the like leave the conversation in order; after anything else its answers may be mixed up.
            if not isinstance(error, (PermissionError, FileNotFoundError)):
                self.close()
            raise told from error
        except BaseException:
            self.close()
            raise
        self._used = time.monotonic()

    def close(self) -> None:
        """Hang up."""
        transport, self._transport, self._wire = self._transport, None, None
        if transport is not None:
            transport.close()
            transport.sock.close()

    def _ready(self, bound: Bound) -> Wire:
        idle = time.monotonic() - self._used
        if self._wire is not None and self._transport is not None and self._transport.is_active() and idle < _IDLE:
            bound.guard(self._transport)
            return self._wire
        self.close()
        return self._connect(bound)

    def _connect(self, bound: Bound) -> Wire:
        server = self._server
        pins = read_pins(server)
        key = _private_key(server)
        if key is None and server.password is None:
            raise FixConfiguration(
                f"There is neither a password nor a key to log in to {server.host} with. Set one in {server.place} "
                "(the password itself belongs into the environment, not into the file)."
            )
        seconds = max(0.001, min(server.connect_seconds, bound.left))
        connection = socket.create_connection((server.host, server.port), timeout=seconds)
        try:
            transport = paramiko.Transport(connection)
        except BaseException:
            connection.close()
            raise
        self._transport = transport
        bound.guard(transport)
        transport.banner_timeout = transport.handshake_timeout = server.connect_seconds
        transport.auth_timeout = transport.channel_timeout = server.connect_seconds
        options = transport.get_security_options()
        options.key_types = preferred_types(pins, tuple(options.key_types))
        transport.start_client(timeout=seconds)
        if not transport.initial_kex_done:
            raise TimeoutError
        try:
            check_host_key(transport.get_remote_server_key(), pins, server)
        except FixConfiguration:
            self.close()
            raise
        self._log_in(transport, key)
        channel = transport.open_session(timeout=server.connect_seconds)
        channel.settimeout(server.operation_seconds)
        channel.invoke_subsystem("sftp")
        self._wire = Wire(channel)
        self._used = time.monotonic()
        return self._wire

    def _log_in(self, transport: paramiko.Transport, key: paramiko.PKey | None) -> None:
        server = self._server
        if key is not None:
            try:
                if not transport.auth_publickey(server.user, key):
                    return
            except paramiko.AuthenticationException:
                if server.password is None or not transport.is_active():
                    raise
        # After a key that was accepted in part, or one that was not, the password decides.
        if server.password is None or transport.auth_password(server.user, server.password):
            raise paramiko.AuthenticationException("more is asked for than a key or a password")

    def _told(self, error: BaseException, doing: str, bound: Bound, alive: bool) -> BridgeError:
        server = self._server
        address = f"{server.host}:{server.port}"
        if bound.expired:
            return RetryLater(
                f"{doing} took longer than {bound.seconds:g} seconds in all and was given up; what has arrived is kept "
                f"and resumed by the next run. If {server.host} is simply slow, raise total_seconds in {server.place}."
            )
        if isinstance(error, paramiko.BadAuthenticationType):
            kinds = ", ".join(sorted(error.allowed_types))
            return FixConfiguration(
                f"{address} does not take this way of logging in; it offers: {shown(kinds)}. Set a key (key_file) or a "
                f"password for {server.user} to suit, in {server.place}."
            )
        if isinstance(error, paramiko.AuthenticationException) and (not alive or "timeout" in str(error).lower()):
            # Not tried again at once: every attempt may count towards locking the account.
            return RetryLater(
                f"{address} hung up while {server.user} was logging in{_detail(error)}. Try again later; if it stays "
                f"so, check user, password and key in {server.place} and ask the operator of the server."
            )
        if isinstance(error, paramiko.AuthenticationException):
            return AccessNotGiven(
                f"{address} does not let the account {server.user} in: name, password or key are wrong, or the account "
                f"is locked. Check them in {server.place} and with the operator of the server, then run again."
            )
        if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
            return FixConfiguration(
                f"{address} and this side share no way of encrypting ({shown(str(error))}). The server's software is "
                "probably very old: its operator has to bring it up to date."
            )
        if isinstance(error, socket.gaierror):
            return _no_such_host(error, server)
        if isinstance(error, PermissionError):
            return FixConfiguration(
                f"The account {server.user} has no permission on {server.host} for {doing}. Ask the operator of the "
                "server to give it that permission, then run again."
            )
        if isinstance(error, FileNotFoundError):
            return FixConfiguration(
                f"{server.host} finds no such file or folder for {doing}. Check path in {server.place}; it counts from "
                "where the account lands after logging in."
            )
        if isinstance(error, TimeoutError):
            return ConnectionBroken(
                f"{address} was silent for too long at {doing} (connect_seconds {server.connect_seconds:g}, "
                f"operation_seconds {server.operation_seconds:g}). Try again later; if it stays so, ask the operator "
                "of the server, or whether a firewall stands between."
            )
        if isinstance(error, ConnectionRefusedError):
            return ConnectionBroken(
                f"{address} takes no connections. Try again later; if it stays so, check host and port in "
                f"{server.place} and ask the operator of the server."
            )
        if isinstance(error, (EOFError, paramiko.SSHException, ConnectionError)) or not alive:
            return ConnectionBroken(
                f"The connection to {address} broke at {doing}. Try again later; if it stays so, ask the operator of "
                f"the server.{_detail(error)}"
            )
        if isinstance(error, OSError):
            return RetryLater(
                f"{server.host} refused {doing}{_detail(error) or ' without a reason'}. Try again later; if it stays "
                "so, ask the operator of the server (is its disk full?)."
            )
        return RetryLater(
            f"{address} answered {doing} with something that is not SFTP. Try again later; if it stays so, ask the "
            "operator of the server."
        )


def _detail(error: BaseException) -> str:
    text = shown(str(error)).strip()
    return f" ({text})" if text else ""


def _no_such_host(error: socket.gaierror, server: SftpServer) -> BridgeError:
    if error.errno == socket.EAI_AGAIN:
        return RetryLater(
            f"The name {server.host} could not be looked up just now. Try again later; if it stays so, look at the "
            "name service (DNS) of this machine."
        )
    return FixConfiguration(
        f"There is no machine called {shown(server.host)}. Check host in {server.place}, or the name service (DNS) "
        "of this machine."
    )


def _private_key(server: SftpServer) -> paramiko.PKey | None:
    path = server.key_file
    if path is None:
        return None
    try:
        mode = path.stat().st_mode
        if os.name == "posix" and mode & 0o077:
            raise FixConfiguration(
                f"The key file {path} may be read by others (mode {mode & 0o777:o}). Close it: chmod 600 {path}"
            )
        passphrase = None if server.key_passphrase is None else server.key_passphrase.encode()
        return paramiko.PKey.from_path(path, passphrase)  # type: ignore[arg-type]  # declared as text, read as bytes
    except OSError as error:
        reason = "is not there" if error.errno == errno.ENOENT else f"cannot be read ({error.strerror})"
        raise FixConfiguration(f"The key file {path} {reason}. Check key_file in {server.place}.") from error
    except (paramiko.PasswordRequiredException, TypeError) as error:
        raise FixConfiguration(
            f"The key file {path} is locked with a passphrase, and none is set (or one is set for a key without). "
            f"Check the passphrase for {server.place}."
        ) from error
    except (ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        raise FixConfiguration(
            f"The key file {path} does not open: its passphrase is another, or it is not a private key in OpenSSH's "
            f"form (RSA, ECDSA or Ed25519). Check both for {server.place}; other forms become OpenSSH's by "
            f"ssh-keygen -p -f {path}"
        ) from error
