"""The order in which tasks go out: lanes in their order, never twice at a time, over a bounded number of threads."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from bridge.ports import OutcomeUnknown, SkipItem, StopRun
from connectors.moodle.client import Call, Fate, Result
from connectors.moodle.schedule import Schedule, Task


class Recorder:
    """Stands in for the client: carries calls out in its own way and remembers who was under way together."""

    def __init__(self, connections: int = 4, batch_size: int = 20) -> None:
        self.options = SimpleNamespace(connections=connections, batch_size=batch_size)
        self.pool = ThreadPoolExecutor(connections)
        self.sent: list[str] = []
        self.batches: list[list[str]] = []
        self.busy: set[str] = set()
        self.most = 0
        self.fates: dict[str, Result] = {}
        self._lock = threading.Lock()

    def threads(self) -> ThreadPoolExecutor:
        """Return the threads."""
        return self.pool

    def write(self, calls: Sequence[Call], *, batch: int | None = None) -> list[Result]:
        """Note the calls, wait a moment, answer."""
        assert batch is None or len(calls) <= batch
        names = [call.function for call in calls]
        lanes = {name.rpartition("/")[0] for name in names}
        with self._lock:
            assert not lanes & self.busy, "two requests of one lane at a time"
            self.busy |= lanes
            self.most = max(self.most, len(self.busy))
            self.batches.append(names)
            self.sent += names
        time.sleep(0.001)
        with self._lock:
            self.busy -= lanes
        results: list[Result] = []
        for name in names:
            if results and results[-1].fate in (Fate.UNKNOWN, Fate.NOT_SENT):
                results.append(Result(results[-1].fate, error=results[-1].error))
            else:
                results.append(self.fates.get(name, Result(Fate.DONE, name)))
        return results


@pytest.fixture
def client() -> Iterator[Recorder]:
    """A client without a server."""
    recorder = Recorder()
    yield recorder
    recorder.pool.shutdown()


def tree(width: int, depth: int, above: str = "") -> Iterator[Task[str]]:
    """Yield the tasks of a tree, parents first, named by their path."""
    for number in range(width):
        name = f"{above}/{number}"
        yield Task(name, name, above or "top", lambda name=name: Call(name, {}), above or None)  # type: ignore[misc]
        if depth > 1:
            yield from tree(width, depth - 1, name)


def run(client: Any, tasks: list[Task[str]]) -> tuple[dict[str, Fate], Schedule[str]]:
    """Run tasks; return the fate of each, told once."""
    schedule = Schedule(client, tasks)
    fates: dict[str, Fate] = {}
    for task, result in schedule.run():
        assert task.subject not in fates
        fates[task.subject] = result.fate
    assert fates.keys() == {task.subject for task in tasks}
    return fates, schedule


def test_a_tree_is_sent_parents_first_and_siblings_in_order(client: Recorder) -> None:
    """Five levels of four: everything done, no batch too large, each lane in its order."""
    tasks = list(tree(4, 4))
    fates, schedule = run(client, tasks)
    assert set(fates.values()) == {Fate.DONE}
    assert schedule.stopped is None
    place = {name: at for at, name in enumerate(client.sent)}
    for name in place:
        parent, _, number = name.rpartition("/")
        assert not parent or place[parent] < place[name]
        assert number == "0" or place[f"{parent}/{int(number) - 1}"] < place[name]
    assert max(len(batch) for batch in client.batches) <= 20
    assert len(client.batches) < len(tasks) / 4


def test_what_hangs_under_a_refused_task_is_left_and_its_siblings_go_on(client: Recorder) -> None:
    """A refusal takes its subtree along and nothing else."""
    client.fates["/1"] = Result(Fate.REFUSED, error=SkipItem("no"))
    fates, _ = run(client, list(tree(3, 3)))
    assert fates["/1"] is Fate.REFUSED
    assert {fate for name, fate in fates.items() if name.startswith("/1/")} == {Fate.NOT_SENT}
    assert {fate for name, fate in fates.items() if not name.startswith("/1")} == {Fate.DONE}


def test_after_an_unknown_task_its_lane_waits_for_the_next_run(client: Recorder) -> None:
    """Later siblings would stand in the wrong place, so they are not sent; other branches are."""
    client.options.batch_size = 1
    client.fates["/0/1"] = Result(Fate.UNKNOWN, error=OutcomeUnknown("lost"))
    fates, schedule = run(client, list(tree(3, 2)))
    assert (fates["/0/0"], fates["/0/1"], fates["/0/2"]) == (Fate.DONE, Fate.UNKNOWN, Fate.NOT_SENT)
    assert fates["/2/2"] is Fate.DONE
    assert schedule.stopped is None


def test_an_error_that_ends_the_run_is_kept_and_nothing_more_is_sent(client: Recorder) -> None:
    """Everything left is told as not sent."""
    client.options.batch_size = 1
    client.options.connections = 1
    client.fates["/1"] = Result(Fate.NOT_SENT, error=StopRun("the token expired"))
    fates, schedule = run(client, list(tree(3, 2)))
    assert isinstance(schedule.stopped, StopRun)
    assert fates["/1"] is Fate.NOT_SENT
    assert fates["/2"] is Fate.NOT_SENT
    assert "/2" not in client.sent


def test_three_lost_answers_in_a_row_end_the_sending(client: Recorder) -> None:
    """A server that loses everything is left alone."""
    client.options.batch_size = 1
    for name in [task.name for task in tree(30, 1)]:
        client.fates[name] = Result(Fate.UNKNOWN, error=OutcomeUnknown("lost"))
    tasks = [Task(t.name, t.name, t.name, t.call) for t in tree(30, 1)]
    fates, schedule = run(client, tasks)
    assert isinstance(schedule.stopped, StopRun)
    assert list(fates.values()).count(Fate.UNKNOWN) < 10


def test_closing_early_waits_for_what_is_under_way(client: Recorder) -> None:
    """No write outlives the run that started it."""
    schedule = Schedule(client, list(tree(10, 2)))  # type: ignore[arg-type]  # stands in
    running = schedule.run()
    next(running)
    running.close()
    assert not client.busy


@pytest.mark.timeout(60)
def test_ctrl_c_at_any_step_ends_the_sending(client: Recorder) -> None:
    """Whatever the main thread is at when the key is pressed: it does not wait for an answer that came already."""
    client.options.batch_size = 2
    client.options.connections = 2
    step = stopped = 0
    while stopped == step:
        step += 1
        stopped += interrupted(Schedule(client, list(tree(2, 2))), step)  # type: ignore[arg-type]  # stands in
    assert stopped > 100


def interrupted(schedule: Schedule[str], at: int) -> bool:
    """Run a schedule and press Ctrl-C at a step of its main thread; return whether it came to that step."""
    left = at

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left
        if frame.f_code is not Schedule.run.__code__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if not left:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for _ in schedule.run():
            pass
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False
