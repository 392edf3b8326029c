"""The manual names every function the connector uses, so that nobody sets up half a service."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import SecretStr

from connectors.moodle import MoodleConnector, MoodleOptions
from connectors.moodle.probe import PULL_FUNCTIONS

ROOT = Path(__file__).parents[3]
FUNCTION = re.compile(r'"((?:core|tool|mod|enrol)_[a-z]+_[a-z_]{4,})"')


def test_the_manual_lists_exactly_the_functions_in_the_code() -> None:
    """None missing, none too many; and `check` asks for each of them."""
    used: set[str] = set()
    for module in (ROOT / "connectors" / "moodle").glob("*.py"):
        used |= set(FUNCTION.findall(module.read_text(encoding="utf-8")))
    manual = (ROOT / "docs" / "moodle.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`((?:core|tool|enrol_manual)_[a-z_]+)`", manual))
    assert listed == used
    connector = MoodleConnector(MoodleOptions("https://moodle.example", SecretStr("t"), course_enrolment="enrol"))
    asked = {name for handler in connector._handlers.values() for name in (*handler.reads, *handler.writes)}
    connector.close()
    assert used - asked - set(PULL_FUNCTIONS) == {
        "core_webservice_get_site_info",
        "tool_mobile_call_external_functions",
    }
