"""Time, as something that tests can hold still."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """The present (UTC epoch seconds) and how to wait (seconds)."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
