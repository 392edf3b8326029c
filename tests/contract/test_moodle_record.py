"""The simulator answers what a Moodle 4.5.6 site answered, exchange by exchange."""

import tomllib
from pathlib import Path

import pytest

from tests.contract.moodle_record.interludes import Session, site
from tests.contract.moodle_record.replay import Outcome, Replay, exchanges

DIFFERENCES = Path(__file__).parent / "moodle_record" / "differences.toml"


def listed() -> dict[int, str]:
    """Return the exchanges whose values are known to differ, each with its reason."""
    groups = tomllib.loads(DIFFERENCES.read_text(encoding="utf-8"))["difference"]
    return {int(number): group["reason"] for group in groups for number in group["exchanges"]}


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """Replay the whole record once, in order."""
    moodle, tokens = site()
    found = []
    with moodle:
        replay = Replay(moodle, tokens)
        session = Session(replay)
        for exchange in exchanges():
            session.before(exchange)
            found.append(replay.compare(exchange, replay.send(exchange)))
        replay.session.close()
    return found


def _told(outcome: Outcome) -> str:
    exchange = outcome.exchange
    return (
        f"{exchange.number} {exchange.function} ({exchange.case}):\n  {exchange.body[:300]}\n  {outcome.answered[:300]}"
    )


def test_the_record_is_whole() -> None:
    """All 678 exchanges are there."""
    assert len(exchanges()) == 678


def test_status_shape_and_error_code_are_as_recorded_everywhere(outcomes: list[Outcome]) -> None:
    """No answer, listed or not, differs in HTTP status, in its keys and types, or in its error code."""
    wrong = [_told(o) for o in outcomes if not (o.status and o.shape and o.error)]
    assert not wrong, "\n".join(wrong)


def test_values_are_as_recorded_but_for_the_listed_differences(outcomes: list[Outcome]) -> None:
    """Every answer that is not listed holds the recorded values."""
    known = listed()
    wrong = [_told(o) for o in outcomes if not o.same and o.exchange.number not in known]
    assert not wrong, "\n".join(wrong)


def test_a_listed_difference_is_still_one(outcomes: list[Outcome]) -> None:
    """An exchange that has come to match leaves the list."""
    known = listed()
    stale = [o.exchange.number for o in outcomes if o.same and o.exchange.number in known]
    assert not stale


def test_nearly_all_values_match(outcomes: list[Outcome]) -> None:
    """At least 640 of the 678 answers are the recorded ones, value for value."""
    assert sum(o.same for o in outcomes) >= 640


def test_every_difference_has_a_reason() -> None:
    """The list says why, in a sentence."""
    assert all(len(reason) > 30 for reason in listed().values())
