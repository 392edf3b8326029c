"""One run per site at a time, whatever happens to the one that holds it."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import replace

import pytest

from bridge.ports import StopRun
from bridge.store import Store, leases
from bridge.sync.clock import Clock
from bridge.sync.lease import SiteBusy, Tenure, holding, this_machine, this_process


def take(store: Store, holder: str, now: float, seconds: float = 60) -> leases.Lease | None:
    """Take the lease of the site `here` in a transaction of its own."""
    with store.begin() as connection:
        return leases.take(connection, "here", holder, "push", now, seconds)


def test_of_two_that_race_for_a_free_site_exactly_one_gets_it(any_store: Store) -> None:
    """Eight threads, each with a connection of its own, start at the same moment."""
    assert len(_race(any_store, now=100.0)) == 1


def test_of_two_that_race_for_an_expired_lease_exactly_one_gets_it(any_store: Store) -> None:
    """All of them have seen the same dead holder."""
    take(any_store, "dead", 0.0, 10)
    assert len(_race(any_store, now=100.0)) == 1


def _race(store: Store, now: float) -> list[leases.Lease]:
    ready = threading.Barrier(8)
    taken: list[leases.Lease | None] = []

    def run(number: int) -> None:
        ready.wait()
        taken.append(take(store, f"racer-{number}", now))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [lease for lease in taken if lease is not None]


def test_a_held_site_is_not_given_to_another_until_the_lease_runs_out(any_store: Store) -> None:
    """At the very second it runs out it is free, not one earlier; and epochs grow."""
    first = take(any_store, "one", 0.0, 60)
    assert first is not None
    assert take(any_store, "two", 59.9) is None
    second = take(any_store, "two", 60.0)
    assert second is not None
    assert second.epoch == first.epoch + 1


def test_a_heartbeat_prolongs_what_is_ours_and_nothing_else(any_store: Store) -> None:
    """Renewing in time works, too late does not, even where nobody else has come; nor with another's name."""
    lease = take(any_store, "one", 0.0, 60)
    assert lease is not None
    with any_store.begin() as connection:
        assert leases.renew(connection, lease, 50.0, 60)
        assert not leases.renew(connection, replace(lease, holder="two"), 60.0, 60)
        assert not leases.renew(connection, lease, 110.0, 60)


def test_giving_back_what_another_holds_by_now_does_nothing(any_store: Store) -> None:
    """A late end of a run does not free its successor's site."""
    first = take(any_store, "one", 0.0, 10)
    second = take(any_store, "two", 20.0, 60)
    assert first is not None
    with any_store.begin() as connection:
        leases.give_back(connection, first)
        assert leases.current(connection, "here") == second


def test_sites_do_not_wait_for_each_other(any_store: Store) -> None:
    """A lease is one site's."""
    take(any_store, "one", 0.0)
    with any_store.begin() as connection:
        assert leases.take(connection, "there", "one", "push", 0.0, 60) is not None


def test_a_second_run_is_told_who_works_there(any_store: Store) -> None:
    """The message names the work and the process; afterwards the site is free again."""
    with (
        holding(any_store, "here", "pull", Clock()),
        pytest.raises(SiteBusy, match=rf"^Site here is being worked on by a pull \(process {os.getpid()} on "),
        holding(any_store, "here", "push", Clock()),
    ):
        pass
    with holding(any_store, "here", "push", Clock()):
        pass


def test_a_run_may_wait_for_another_to_end(store: Store) -> None:
    """With patience given, the second begins when the first is done."""
    first = take(store, "elsewhere:1:other:x", 0.0, 10)
    assert first is not None
    moments = [1.0]

    def sleep(seconds: float) -> None:
        moments[0] += max(seconds, 3.0)

    with holding(store, "here", "push", Clock(lambda: moments[0], sleep), wait=30) as tenure:
        assert tenure.lease.epoch == 2
    assert moments[0] >= 10.0


def test_a_frozen_holder_cannot_write_once_another_has_taken_over(any_store: Store) -> None:
    """What it writes in the transaction that asks for its lease is rolled back with it, and it is told to stop."""
    moments = [0.0]
    lease = take(any_store, "one", 0.0, 60)
    assert lease is not None
    frozen = Tenure(any_store, lease, Clock(lambda: moments[0]), 60)
    moments[0] = 100.0
    assert take(any_store, "two", 100.0) is not None
    with pytest.raises(StopRun, match="lost its hold"), any_store.begin() as connection:
        frozen.confirm(connection)
    with pytest.raises(StopRun, match="lost its hold"):
        frozen.check()


def test_a_frozen_holder_notices_by_itself_before_its_next_write(store: Store) -> None:
    """Between two writes the clock alone tells that the lease has run out; no store is asked."""
    moments = [0.0]
    lease = take(store, "one", 0.0, 60)
    assert lease is not None
    tenure = Tenure(store, lease, Clock(lambda: moments[0]), 60)
    moments[0] = 59.9
    tenure.check()
    moments[0] = 60.0
    with pytest.raises(StopRun, match="lost its hold"):
        tenure.check()


def test_a_holder_of_this_machine_whose_process_is_gone_is_not_waited_for(any_store: Store) -> None:
    """After a kill -9 the next run begins at once, not when the lease runs out."""
    with subprocess.Popen(["true"]) as ended:
        pass
    dead = this_process().replace(f":{os.getpid()}:", f":{ended.pid}:")
    assert take(any_store, dead, time.time(), 3600) is not None
    with holding(any_store, "here", "push", Clock()) as tenure:
        assert tenure.lease.epoch == 2


@pytest.mark.parametrize("holder", ["{host}:{pid}:othermachine:x", "{host}:{pid}", "elsewhere:1:other:x"])
def test_a_holder_that_may_live_elsewhere_is_waited_for(store: Store, holder: str) -> None:
    """A process number says nothing about a clone with the same host name, or about another container."""
    host = this_process().partition(":")[0]
    take(store, holder.format(host=host, pid=2**22 - 1), time.time(), 3600)
    with pytest.raises(SiteBusy), holding(store, "here", "push", Clock()):
        pass


def test_a_living_process_of_this_machine_is_waited_for(store: Store) -> None:
    """The parent of this very process is surely alive."""
    take(store, this_process(), time.time(), 3600)
    assert this_machine() in this_process()
    with pytest.raises(SiteBusy), holding(store, "here", "push", Clock()):
        pass


def test_a_heartbeat_keeps_a_long_run_in_office(any_store: Store) -> None:
    """A run longer than its lease, that touches the store nowhere, still holds the site at its end."""
    with holding(any_store, "here", "push", Clock(), seconds=1.5) as tenure:
        time.sleep(2.0)
        with pytest.raises(SiteBusy), holding(any_store, "here", "push", Clock()):
            pass
        with any_store.begin() as connection:
            tenure.confirm(connection)


def test_a_heartbeat_survives_a_store_that_is_away_for_a_moment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One beat that fails is made up for by the next."""
    from sqlalchemy.exc import OperationalError

    real, failed = leases.renew, threading.Event()

    def renew(*args: object) -> bool:
        if not failed.is_set():
            failed.set()
            raise OperationalError("UPDATE", {}, Exception("the server went away"))
        return real(*args)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(leases, "renew", renew)
    with holding(store, "here", "push", Clock(), seconds=1.8) as tenure:
        time.sleep(2.2)
        assert failed.is_set()
        tenure.check()


def test_a_run_that_only_waits_ends_soon_after_it_is_asked_to(store: Store) -> None:
    """Before it looks up what an earlier run sent it waits out the server, which may take a minute."""
    waited: list[float] = []
    clock = Clock(sleep=waited.append)

    def stop() -> str:
        """Ask for the end in the third second."""
        return "asked to stop" if sum(waited) > 2 else ""

    with holding(store, "here", "push", clock, stop=stop) as tenure:
        tenure.pause(2.5)
        assert sum(waited) == 2.5
        with pytest.raises(StopRun, match="asked to stop"):
            tenure.pause(60.0)
        assert sum(waited) < 4
