"""A plan as a person reads it."""

from __future__ import annotations

import pytest

from bridge.cli.screen import Screen
from bridge.cli.show_plan import show_plan
from bridge.ports import Capabilities, KindSpec, Removal, Value
from bridge.sync.diff import Drift
from bridge.sync.plan import ChangePlan
from bridge.sync.policy import Stance

CAPABILITIES = Capabilities("LMS", "1", "Here", "bridge", (KindSpec("user", "account", "accounts", Removal.SUSPEND),))


@pytest.mark.parametrize(
    ("field", "applied", "actual", "says"),
    [
        ("firstname", "Ada", "Adah", "“Ada” → “Adah”: put back"),
        ("firstname", None, "Ben", "“Ben” was there before, and the files say otherwise: put back"),
        ("presence", True, False, "presence: gone: put back"),
        ("presence", False, True, "presence: there again: put back"),
    ],
)
def test_an_edit_in_the_lms_is_told_as_what_it_is(
    capsys: pytest.CaptureFixture[str], field: str, applied: Value, actual: Value, says: str
) -> None:
    """What was changed, what was there before us, what is gone and what came back read differently."""
    drift = Drift("user", "E1", field, applied, actual, Stance.ENFORCE)
    show_plan(Screen(), ChangePlan("here", 0.0, drifts=[drift]), CAPABILITIES)
    assert says in capsys.readouterr().out
