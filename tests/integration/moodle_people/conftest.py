"""An empty site a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.moodle_people.site import Place, place


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    """An empty simulated Moodle with a store of its own."""
    with place(tmp_path) as found:
        yield found
