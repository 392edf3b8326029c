"""An LMS in memory that settles at once, late, partly or never: the port, shown working.

It stands in for any LMS where one is needed without a server: tests of the sync engine use it, it passes the same
conformance suite as the real connectors, and it is the shortest complete example of a connector.
"""

from connectors.memory.connector import MemoryLms, Mode, Shelf

__all__ = ["MemoryLms", "Mode", "Shelf"]
