"""Faults a test can ask a simulated site for: what goes wrong, at which request, for which function, how often."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Fault:
    """One thing to go wrong.

    It applies to request number `at` (from 1, counted over the whole run) or to every request from `start`
    on, of one function if `function` is given (inner functions of a batch count as its function too), with
    `probability`, at most `count` times.
    """

    kind: str
    at: int | None = None
    start: int = 1
    function: str | None = None
    probability: float = 1.0
    count: int | None = 1
    seconds: float = 1.0
    after_writes: int = 1
    fired: int = 0


@dataclass(slots=True)
class FaultPlan:
    """The faults still to come, of the kinds a simulator knows, drawn with one seeded generator."""

    kinds: tuple[str, ...]
    seed: int = 0
    faults: list[Fault] = field(default_factory=list)
    _random: random.Random = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - repeatable, not secret

    def add(self, kind: str, **options: Any) -> Fault:
        """Ask for a fault; the options are the fields of `Fault`.

        Raises:
            ValueError: the simulator knows no such fault.
        """
        if kind not in self.kinds:
            raise ValueError(f"unknown fault {kind!r}; known are {', '.join(self.kinds)}")
        fault = Fault(kind, **options)
        with self._lock:
            self.faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self.faults.clear()

    def pick(self, index: int, functions: tuple[str, ...]) -> Fault | None:
        """Return the fault that strikes this request, if any, and count it."""
        if not self.faults:
            return None
        with self._lock:
            for fault in self.faults:
                if fault.count is not None and fault.fired >= fault.count:
                    continue
                if fault.at is not None and index != fault.at:
                    continue
                if fault.at is None and index < fault.start:
                    continue
                if fault.function is not None and fault.function not in functions:
                    continue
                if fault.probability < 1.0 and self._random.random() >= fault.probability:
                    continue
                fault.fired += 1
                return fault
        return None

    def load(self, items: list[Mapping[str, Any]]) -> None:
        """Add faults given as JSON objects."""
        for item in items:
            self.add(**{str(key): value for key, value in item.items()})

    def dump(self) -> list[dict[str, Any]]:
        """Return the faults as JSON objects."""
        with self._lock:
            return [asdict(fault) for fault in self.faults]


def gateway_page(status: int, reason: str) -> str:
    """Return the page nginx sends when PHP does not answer."""
    return (
        f"<html>\r\n<head><title>{status} {reason}</title></head>\r\n"
        f"<body>\r\n<center><h1>{status} {reason}</h1></center>\r\n"
        "<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
    )
