"""The in-memory LMS passes the conformance suite, whenever it settles."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.ports import LmsPort
from connectors.memory import MemoryLms, Mode, Shelf
from tests.contract.conformance.suite import LmsConformance, Site


class MemorySite(Site):
    """A shelf, and a connector to it in one mode."""

    def __init__(self, mode: Mode) -> None:
        self.shelf = Shelf()
        self.mode = mode

    def connect(self) -> LmsPort:
        """Return a connector to the shelf."""
        return MemoryLms(self.shelf, self.mode)

    def snapshot(self) -> Any:
        """Return what is on the shelf, siblings in order."""
        objects = sorted(self.shelf.objects.items(), key=lambda pair: (pair[0][0], pair[1].parent or "", pair[1].order))
        return [(kind, key, one.fields, one.parent, one.retired) for (kind, key), one in objects]

    def writes(self) -> int:
        """Return how many changes reached the shelf."""
        return len(self.shelf.writes)

    def rename_by_hand(self, key: str, name: str) -> None:
        """Change the name on the shelf."""
        self.shelf.objects["competency", key].fields["name"] = name

    def refuse(self, key: str) -> None:
        """Refuse changes to a key."""
        self.shelf.refused[key] = "the LMS does not like it"

    def lose_answers(self) -> None:
        """Lose every third answer."""
        if self.mode is Mode.AT_ONCE:
            self.mode = Mode.PARTLY

    def run_nightly(self) -> None:
        """Carry out what was handed over."""
        self.shelf.answer()


class TestMemoryAtOnce(LmsConformance):
    """An LMS that answers while it is asked."""

    @pytest.fixture
    def site(self) -> Site:
        """An empty shelf."""
        return MemorySite(Mode.AT_ONCE)


class TestMemoryPartly(LmsConformance):
    """An LMS that loses every third answer."""

    @pytest.fixture
    def site(self) -> Site:
        """An empty shelf behind a bad line."""
        return MemorySite(Mode.PARTLY)


class TestMemoryLate(LmsConformance):
    """An LMS that answers the next morning."""

    @pytest.fixture
    def site(self) -> Site:
        """An empty shelf whose import runs at night."""
        return MemorySite(Mode.LATE)
