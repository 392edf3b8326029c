"""The state the bridge keeps: tables, migrations and queries."""

from bridge.store.database import Store, StoreFault

__all__ = ["Store", "StoreFault"]
