"""The state the bridge keeps: tables, migrations and queries."""

from bridge.store.database import Store

__all__ = ["Store"]
