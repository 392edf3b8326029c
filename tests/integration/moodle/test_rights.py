"""Permissions are tried out, each by a call that changes nothing, and each one that is missing is named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from bridge.ports import Finding
from connectors.moodle import MoodleConnector, MoodleOptions
from connectors.moodle.rights import TRIALS
from connectors.simulators.moodle import MoodleSimulator
from connectors.simulators.moodle.seeding import BRIDGE_CAPABILITIES

BY_COURSE = (
    "moodle/competency:coursecompetencymanage",
    "moodle/course:viewparticipants",
)
PLANMANAGE = "moodle/competency:planmanage"
MORE = {
    "moodle/cohort:view": ["moodle/cohort:manage"],
    "moodle/competency:planview": [PLANMANAGE],
    "moodle/competency:templateview": ["moodle/competency:templatemanage"],
    "moodle/course:viewparticipants": ["moodle/course:enrolreview"],
}
"""Permissions that include others."""
TRIED = (*(trial.capability for trial in TRIALS), PLANMANAGE, *BY_COURSE)


@pytest.fixture
def moodle() -> Iterator[MoodleSimulator]:
    """A site with people and courses."""
    with MoodleSimulator() as site:
        site.seed.reference_site()
        yield site


def tried(moodle: MoodleSimulator, token: str) -> list[Finding]:
    """Return what trying an account's permissions found."""
    connector = MoodleConnector(MoodleOptions(moodle.url, SecretStr(token)), sleep=lambda _seconds: None)
    try:
        return [one for one in connector.inspect() if one.subject.startswith("permission")]
    finally:
        connector.close()


def without(moodle: MoodleSimulator, *capabilities: str) -> str:
    """Return the token of an account that may do all the bridge needs but some things."""
    kept = [*BRIDGE_CAPABILITIES, *(f"-{one}" for one in capabilities)]
    moodle.seed.narrow_token("narrow0123456789", capabilities=kept)
    return "narrow0123456789"


def test_a_full_account_lacks_nothing_and_trying_changes_nothing(moodle: MoodleSimulator) -> None:
    """Every trial passes, and the site is as it was."""
    before = moodle.snapshot()
    findings = tried(moodle, moodle.token)
    assert [finding.ok for finding in findings] == [True]
    assert moodle.snapshot() == before


def test_an_account_without_rights_is_not_ready(moodle: MoodleSimulator) -> None:
    """Moodle shows frameworks to everybody, so that only trying shows that nothing may be written."""
    findings = tried(moodle, "token-limited")
    missing = {finding.subject for finding in findings if not finding.ok}
    assert "permission moodle/competency:competencymanage" in missing
    assert "permission moodle/user:create" in missing
    assert any(finding.blocking for finding in findings)
    assert all(finding.remedy for finding in findings if not finding.ok)


@pytest.mark.parametrize("capability", TRIED)
def test_each_permission_that_is_missing_is_named_and_no_other(moodle: MoodleSimulator, capability: str) -> None:
    """With what stops working without it."""
    lost = [capability, *MORE.get(capability, [])]
    missing = [one for one in tried(moodle, without(moodle, *lost)) if not one.ok]
    assert f"permission {capability}" in [one.subject for one in missing]
    assert {one.subject.removeprefix("permission ") for one in missing} <= set(lost)
    assert all(len(one.says) > 40 for one in missing)


def test_a_function_that_is_missing_is_not_tried(moodle: MoodleSimulator) -> None:
    """`check` names it already."""
    moodle.seed.narrow_token("few0123456789", ["core_webservice_get_site_info"])
    assert tried(moodle, "few0123456789") == []
