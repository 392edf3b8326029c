"""Many items in one call: for functions that take lists. Items share the fate of their call until it is refused.

Creating accounts and cohorts is all or nothing (contracts/moodle-4.5, Behaviour): of a call that was refused nothing
was done, so that its items are sent again one by one and the bad one is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.ports import BridgeError, Change, FixConfiguration, StopRun
from connectors.moodle.client import Call, Fate, MoodleClient, Result, flatten

Entry = tuple[Change, Mapping[str, Any]]
"""A change and what it says in the list."""

LOST_IN_A_ROW = 3
"""So many lost answers in a row, and no more is sent: the server needs a rest."""


@dataclass(slots=True)
class Bulk:
    """Sends lists of items to one function, one request after another or over several connections.

    `size` items share a call, `calls` calls a request. `stopped` holds the error that ended the sending early.
    """

    client: MoodleClient
    call: Callable[[list[Mapping[str, Any]]], Call]
    size: int
    calls: int = 1
    side_by_side: bool = False
    stopped: BridgeError | None = None

    def run(self, entries: Sequence[Entry]) -> Iterator[tuple[list[Entry], Result]]:
        """Send everything and yield what became of each call with the items in it."""
        alone: list[list[Entry]] = []
        for group, result in self._send(self._groups(entries)):
            if result.fate is Fate.REFUSED and len(group) > 1:
                alone += [[entry] for entry in group]
            else:
                yield group, result
        yield from self._send(alone)

    def _groups(self, entries: Sequence[Entry]) -> list[list[Entry]]:
        size = self.size
        if not self.client.can_batch():
            # A form has few variables, and drops the rest without a word.
            widest = max((len(flatten(arguments)) for _, arguments in entries), default=1)
            size = max(1, min(size, (self.client.options.max_input_vars * 9 // 10 - 5) // max(1, widest)))
        return [list(entries[start : start + size]) for start in range(0, len(entries), size)]

    def _send(self, groups: Sequence[list[Entry]]) -> Iterator[tuple[list[Entry], Result]]:
        requests = [groups[start : start + self.calls] for start in range(0, len(groups), self.calls)]
        width = max(1, self.client.options.connections) if self.side_by_side else 1
        lost = 0
        for start in range(0, len(requests), width):
            window = requests[start : start + width]
            if self.stopped is not None:
                answers = [[Result(Fate.NOT_SENT, error=self.stopped)] * len(request) for request in window]
            elif len(window) == 1:
                answers = [self._write(window[0])]
            else:
                answers = list(self.client.threads().map(self._write, window))
            for request, results in zip(window, answers, strict=True):
                for group, result in zip(request, results, strict=True):
                    if result.fate is Fate.NOT_SENT and isinstance(result.error, StopRun | FixConfiguration):
                        self.stopped = self.stopped or result.error
                    yield group, result
                lost = lost + 1 if any(result.fate is Fate.UNKNOWN for result in results) else 0
                if lost >= LOST_IN_A_ROW and self.stopped is None:
                    self.stopped = StopRun(
                        f"Moodle lost {lost} answers in a row; nothing more was sent. Run again when it is well."
                    )

    def _write(self, request: Sequence[list[Entry]]) -> list[Result]:
        return self.client.write([self.call([arguments for _, arguments in group]) for group in request])
