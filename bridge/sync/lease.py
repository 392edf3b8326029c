"""Holding a site's lease while a run works on it: one run per site at a time."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import secrets
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from bridge.ports import StopRun
from bridge.store import Store, StoreFault, leases
from bridge.store.leases import Lease
from bridge.sync.clock import Clock

LEASE_SECONDS = 60.0
"""After this long without a heartbeat the holder counts as dead and another run may begin."""


FEED_LEASE = "feed:"
"""What the lease of a feed begins with; that of a site is its name."""


class SiteBusy(StopRun):
    """Another run works on the site."""


class Tenure:
    """A lease that is kept alive by a heartbeat, and can be asked whether it still holds."""

    def __init__(
        self, store: Store, lease: Lease, clock: Clock, seconds: float, stop: Callable[[], str] = lambda: ""
    ) -> None:
        self._stop_asked = stop
        self._store = store
        self._clock = clock
        self._seconds = seconds
        self._stop = threading.Event()
        self._lost = threading.Event()
        self.lease = lease
        self._good_until = lease.expires_at
        self._thread = threading.Thread(target=self._beat, name=f"lease-{lease.site}", daemon=True)

    def confirm(self, connection: Connection) -> None:
        """Prolong the lease in the caller's transaction, so that what it writes stands only while the lease holds.

        Raises StopRun where another run took over meanwhile (this one was frozen or cut off for too long).
        """
        now = self._clock.now()
        if self._lost.is_set() or not leases.renew(connection, self.lease, now, self._seconds):
            self._lost.set()
            raise self._too_late()
        self._good_until = now + self._seconds

    def check(self) -> None:
        """Raise StopRun where the lease has run out or is lost, as far as this process knows without asking the store.

        Cheap enough to be asked between any two writes, so that a run that was frozen sends as little as possible
        once it wakes up.
        """
        if self._lost.is_set() or self._clock.now() >= self._good_until:
            self._lost.set()
            raise self._too_late()

    def check_sending(self, writes: bool = True) -> None:
        """Raise StopRun where a request may not be sent: as `check` does, and, for one that writes, where the run was
        asked to end. What was sent before is then still waited for, looked up and recorded.
        """
        self.check()
        if writes and (reason := self._stop_asked()):
            raise StopRun(reason)

    def pause(self, seconds: float) -> None:
        """Wait, and raise StopRun where the run is asked to end meanwhile. For waiting that nothing depends on which
        this run has sent."""
        while seconds > 0:
            self.check_sending()
            self._clock.sleep(min(1.0, seconds))
            seconds -= 1.0

    def _too_late(self) -> StopRun:
        place = _place(self.lease.site)
        after = "nothing of the file was kept" if place.startswith("The feed") else "the next run looks up what it sent"
        return StopRun(
            f"This run lost its hold on {place[0].lower()}{place[1:]}: it was out of touch for more than "
            f"{self._seconds:.0f} s, so that another run may have begun. It stops here; {after}."
        )

    def start(self) -> None:
        """Begin the heartbeat."""
        self._thread.start()

    def end(self) -> None:
        """Stop the heartbeat and give the lease back."""
        self._stop.set()
        self._thread.join()
        with self._store.begin() as connection:
            leases.give_back(connection, self.lease)

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds / 3):
            try:
                with self._store.begin() as connection:
                    now = self._clock.now()
                    if not leases.renew(connection, self.lease, now, self._seconds):
                        self._lost.set()
                        return
                self._good_until = now + self._seconds
            except StoreFault:
                # The store is busy or away for a moment. The next beat may still be in time; if none is, the lease
                # runs out, and whoever asks for it is told so.
                continue


def this_process() -> str:
    """Return a name for this process that nobody else has: host, process number, machine and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{this_machine()}:{secrets.token_hex(4)}"


@functools.cache
def this_machine() -> str:
    """Return a short name for what process numbers count in: this boot of this machine, this container.

    Cloned machines and containers share their host name, and then a process number says nothing about the other.
    """
    marks = [socket.gethostname(), str(uuid.getnode())]
    for path in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        with contextlib.suppress(OSError):
            marks.append(str(path.readlink()) if path.is_symlink() else path.read_text().strip())
    return hashlib.sha256("|".join(marks).encode()).hexdigest()[:8]


@contextmanager
def holding(
    store: Store,
    site: str,
    what: str,
    clock: Clock,
    *,
    seconds: float = LEASE_SECONDS,
    wait: float = 0.0,
    stop: Callable[[], str] = lambda: "",
) -> Iterator[Tenure]:
    """Hold a site's lease for the block. Raises SiteBusy where somebody else holds it for `wait` seconds and longer.

    A holder on this machine whose process is gone is not waited for. `stop` says, in a sentence, that the run is to
    end early; empty while it may go on.
    """
    deadline = clock.now() + wait
    while True:
        with store.begin() as connection:
            held = leases.current(connection, site)
            if held is not None and held.expires_at > clock.now() and is_dead(held.holder):
                leases.give_back(connection, held)
            lease = leases.take(connection, site, this_process(), what, clock.now(), seconds)
            held = leases.current(connection, site)
        if lease is not None:
            break
        if reason := stop():
            raise StopRun(reason)
        if clock.now() >= deadline:
            message = f"{_place(site)} is being worked on by {_who(held)}. Wait until it is done, then run this again."
            raise SiteBusy(message)
        clock.sleep(0.2)
    tenure = Tenure(store, lease, clock, seconds, stop)
    tenure.start()
    try:
        yield tenure
    finally:
        tenure.end()


def _place(lease: str) -> str:
    """Return what a lease is for, in words."""
    return f"The feed {lease.removeprefix(FEED_LEASE)}" if lease.startswith(FEED_LEASE) else f"Site {lease}"


def _who(held: Lease | None) -> str:
    """Return who holds a lease, in words: what runs there, on which machine, as which process."""
    if held is None:
        return "another run"
    host, pid, *_ = (*held.holder.split(":"), "")
    return f"{'an' if held.what[:1] in 'aeiou' else 'a'} {held.what} (process {pid} on {host})"


def is_dead(holder: str) -> bool:
    """Tell whether a holder is a process of this machine that no longer runs."""
    _host, pid, machine, _ = (*holder.split(":"), "", "", "", "")[:4]
    # Asking with signal 0 whether a process lives is a POSIX custom; elsewhere it may end the process.
    if os.name != "posix" or machine != this_machine() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
