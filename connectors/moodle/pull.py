"""Bringing results back."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.ports import FixConfiguration, Page, PullScope
from connectors.moodle.kinds import Context


class Pull:
    """One pull of a scope."""

    def __init__(self, context: Context, scope: PullScope) -> None:
        self._context = context
        self._scope = scope

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """Yield the pages after a cursor."""
        raise FixConfiguration(f"Results of {sorted(self._scope.kinds)} are not read yet (after {cursor}).")
