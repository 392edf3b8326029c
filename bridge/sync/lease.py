"""Holding a site's lease while a run works on it: one run per site at a time."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from bridge.ports import StopRun
from bridge.store import Store, leases
from bridge.store.leases import Lease
from bridge.sync.clock import Clock

LEASE_SECONDS = 60.0
"""After this long without a heartbeat the holder counts as dead and another run may begin."""


class SiteBusy(StopRun):
    """Another run works on the site."""


class Tenure:
    """A lease that is kept alive by a heartbeat, and can be asked whether it still holds."""

    def __init__(self, store: Store, lease: Lease, clock: Clock, seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._seconds = seconds
        self._stop = threading.Event()
        self._lost = threading.Event()
        self.lease = lease
        self._thread = threading.Thread(target=self._beat, name=f"lease-{lease.site}", daemon=True)

    def confirm(self, connection: Connection) -> None:
        """Prolong the lease in the caller's transaction, so that what it writes stands only while the lease holds.

        Raises StopRun where another run took over meanwhile (this one was frozen or cut off for too long).
        """
        if self._lost.is_set() or not leases.renew(connection, self.lease, self._clock.now(), self._seconds):
            self._lost.set()
            raise StopRun(
                f"This run lost its hold on site {self.lease.site}: it was out of touch for more than "
                f"{self._seconds:.0f} s, so that another run may have begun. It stops here; the next run looks up "
                "what it sent."
            )

    def still_ours(self) -> None:
        """Raise StopRun where the lease is no longer ours. Asked before every submission."""
        with self._store.begin() as connection:
            self.confirm(connection)

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
            with self._store.begin() as connection:
                if not leases.renew(connection, self.lease, self._clock.now(), self._seconds):
                    self._lost.set()
                    return


def this_process() -> str:
    """Return a name for this process that nobody else has: machine, process number and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@contextmanager
def holding(
    store: Store, site: str, what: str, clock: Clock, *, seconds: float = LEASE_SECONDS, wait: float = 0.0
) -> Iterator[Tenure]:
    """Hold a site's lease for the block. Raises SiteBusy where somebody else holds it for `wait` seconds and longer.

    A holder on this machine whose process is gone is not waited for.
    """
    deadline = clock.now() + wait
    while True:
        with store.begin() as connection:
            held = leases.current(connection, site)
            if held is not None and held.expires_at > clock.now() and _is_dead(held.holder):
                leases.give_back(connection, held)
            lease = leases.take(connection, site, this_process(), what, clock.now(), seconds)
            held = leases.current(connection, site)
        if lease is not None:
            break
        if clock.now() >= deadline:
            busy = "another run" if held is None else f"a {held.what} ({held.holder})"
            raise SiteBusy(f"Site {site} is being worked on by {busy}. Wait until it is done, then run this again.")
        clock.sleep(0.2)
    tenure = Tenure(store, lease, clock, seconds)
    tenure.start()
    try:
        yield tenure
    finally:
        tenure.end()


def _is_dead(holder: str) -> bool:
    """Tell whether a holder is a process of this machine that no longer runs."""
    machine, _, rest = holder.partition(":")
    pid = rest.partition(":")[0]
    if machine != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
