"""Writes side by side: each lane in its own order, lanes as soon as what they hang on is there.

The tasks of one lane (the children of one competency, the competencies of one template) go in their order and never
in two requests at a time, since Moodle gives siblings that are created in parallel the same sort order
(contracts/moodle-4.5, Concurrency). Different lanes share requests and go over several connections. There is no
barrier between levels: a lane opens the moment the task it hangs on is done.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from bridge.ports import BridgeError, FixConfiguration, StopRun
from connectors.moodle.client import Call, Fate, MoodleClient, Result

K = TypeVar("K")

SMALLEST_BATCH = 12
"""Below this many calls the cost of a request outweighs what another busy connection gains."""

LOST_IN_A_ROW = 3
"""So many requests with a lost answer in a row, and no more are sent: the server needs a rest."""


@dataclass(frozen=True, slots=True)
class Task(Generic[K]):
    """One call, made once its turn comes; `lane` names its queue, `after` the task whose success it needs."""

    subject: K
    name: str
    lane: str
    call: Callable[[], Call]
    after: str | None = None


class _Lane(Generic[K]):
    """The tasks of one queue that are still to be sent."""

    __slots__ = ("after", "name", "rank", "tasks", "weight")

    def __init__(self, name: str, after: str | None, rank: int) -> None:
        self.name = name
        self.after = after
        self.rank = rank
        self.tasks: deque[Task[K]] = deque()
        self.weight = 0


_Batch = list[tuple[_Lane[K], list[Task[K]]]]
_Sent = tuple[_Batch[K], list[Result]]


class Schedule(Generic[K]):
    """Runs tasks over the connections of a client. `stopped` holds the error that ended it early, where one did."""

    def __init__(self, client: MoodleClient, tasks: Sequence[Task[K]], *, batch: int | None = None) -> None:
        self._client = client
        self._batch = batch or client.options.batch_size
        self._lanes: dict[str, _Lane[K]] = {}
        self._waiting: dict[str, list[_Lane[K]]] = {}
        self._ready: list[tuple[int, int, _Lane[K]]] = []
        self._ready_tasks = 0
        self.stopped: BridgeError | None = None
        names = {task.name for task in tasks}
        for task in tasks:
            lane = self._lanes.get(task.lane)
            if lane is None:
                after = task.after if task.after in names else None
                lane = self._lanes[task.lane] = _Lane(task.lane, after, len(self._lanes))
            lane.tasks.append(task)
        self._weigh()
        for lane in self._lanes.values():
            if lane.after is None:
                self._open(lane)
            else:
                self._waiting.setdefault(lane.after, []).append(lane)

    def run(self) -> Iterator[tuple[Task[K], Result]]:
        """Carry the tasks out and yield what became of each, as it becomes known."""
        pool = self._client.threads()
        connections = max(1, self._client.options.connections)
        # Kept until it is over, not counted down: Ctrl-C may come between any two steps, and must neither lose a
        # request that is under way nor wait for one that is not.
        under_way: list[Future[_Sent[K]]] = []
        lost = 0
        try:
            while True:
                while len(under_way) < connections and self.stopped is None:
                    batch = self._next_batch(connections)
                    if not batch:
                        break
                    under_way.append(pool.submit(self._send, batch))
                if not under_way:
                    break
                wait(under_way, return_when=FIRST_COMPLETED)
                for over in [one for one in under_way if one.done()]:
                    under_way.remove(over)
                    batch, results = over.result()
                    lost = lost + 1 if any(result.fate is Fate.UNKNOWN for result in results) else 0
                    yield from self._take_in(batch, results)
                    if lost >= LOST_IN_A_ROW and self.stopped is None:
                        self.stopped = StopRun(
                            f"Moodle lost {lost} answers in a row; nothing more was sent. Run again when it is well."
                        )
        finally:
            # Closed early, what is under way is waited for, so that no write outlives the run that started it.
            wait(under_way)
        yield from self._leave_out(self.stopped)

    def _send(self, batch: _Batch[K]) -> _Sent[K]:
        """Send one batch, in a thread, and return what became of it."""
        tasks = [task for _, taken in batch for task in taken]
        try:
            return batch, self._client.write([task.call() for task in tasks], batch=self._batch)
        except BaseException as error:  # noqa: BLE001 - a defect must reach the waiting side, not die in a thread
            told = Result(Fate.UNKNOWN, error=StopRun(f"Sending failed ({type(error).__name__})."))
            return batch, [told] * len(tasks)

    def _weigh(self) -> None:
        """Give each lane the number of tasks in and under it, so that the longest work begins first."""
        under: dict[str, list[_Lane[K]]] = {}
        for lane in self._lanes.values():
            if lane.after is not None:
                under.setdefault(lane.after, []).append(lane)
        # Lanes come parents first wherever the tasks do; a second look settles any that do not.
        for lane in reversed(list(self._lanes.values())):
            lane.weight = len(lane.tasks) + sum(
                inner.weight for task in lane.tasks for inner in under.get(task.name, ())
            )

    def _open(self, lane: _Lane[K]) -> None:
        if lane.tasks:
            heapq.heappush(self._ready, (-lane.weight, lane.rank, lane))
            self._ready_tasks += len(lane.tasks)

    def _next_batch(self, connections: int) -> _Batch[K]:
        """Return the tasks of the next request: few where there are few, so that every connection has some."""
        share = -(-self._ready_tasks // connections)
        room = min(self._batch, max(SMALLEST_BATCH, share))
        batch: _Batch[K] = []
        while room > 0 and self._ready:
            _, _, lane = heapq.heappop(self._ready)
            self._ready_tasks -= len(lane.tasks)
            taken = [lane.tasks.popleft() for _ in range(min(room, len(lane.tasks)))]
            room -= len(taken)
            batch.append((lane, taken))
        return batch

    def _take_in(self, batch: _Batch[K], results: list[Result]) -> Iterator[tuple[Task[K], Result]]:
        position = 0
        for lane, tasks in batch:
            broken = False
            for task in tasks:
                result = results[position]
                position += 1
                if result.fate is Fate.NOT_SENT and isinstance(result.error, StopRun | FixConfiguration):
                    self.stopped = self.stopped or result.error
                yield task, result
                if result.fate is Fate.DONE:
                    lane.weight -= 1
                    for opened in self._waiting.pop(task.name, ()):
                        self._open(opened)
                else:
                    broken = broken or result.fate is not Fate.REFUSED
                    yield from self._leave_under(task, result)
            if broken and lane.tasks:
                # What follows in this lane would stand in the wrong place, or twice.
                yield from self._leave_lane(
                    lane, "It comes after something whose outcome is not known yet. Run again to send it."
                )
            elif lane.tasks:
                self._open(lane)

    def _leave_under(self, task: Task[K], result: Result) -> Iterator[tuple[Task[K], Result]]:
        for lane in self._waiting.pop(task.name, ()):
            why = "What it hangs under was refused." if result.fate is Fate.REFUSED else (
                "What it hangs under is not known to be there. Run again to send it."
            )  # fmt: skip
            yield from self._leave_lane(lane, why)

    def _leave_lane(self, lane: _Lane[K], why: str) -> Iterator[tuple[Task[K], Result]]:
        left = Result(Fate.NOT_SENT, error=BridgeError(why))
        while lane.tasks:
            task = lane.tasks.popleft()
            yield task, left
            yield from self._leave_under(task, left)

    def _leave_out(self, error: BridgeError | None) -> Iterator[tuple[Task[K], Result]]:
        why = str(error) if error is not None else "It was not sent."
        for lane in self._lanes.values():
            yield from self._leave_lane(lane, why)
