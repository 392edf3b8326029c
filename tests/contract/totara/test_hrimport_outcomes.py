"""The rules of HR Import give what a real Totara 17.3 gave: log, abort, exit code and effect."""

from __future__ import annotations

import pytest

from tests.contract.totara.hrimport_record import SNAPSHOTS, Case, Replay, cases, replay_all

# PostgreSQL returned these deletions in an order of its own: the same items went.
_ORDER_OF_THE_DATABASE = {38}
ALL = cases()


@pytest.fixture(scope="module")
def replays() -> dict[int, Replay]:
    """Every recorded case, run again in order."""
    return replay_all()


def _ids(case: Case) -> str:
    return f"{case.order}-{case.element}"


@pytest.mark.parametrize("case", ALL, ids=_ids)
def test_the_log_is_the_recorded_one(case: Case, replays: dict[int, Replay]) -> None:
    """Every log row: type, action, message; as many as recorded."""
    log = [(row.logtype, row.action, row.code, row.info) for row in replays[case.order].result.log]
    assert log[0][2] == "syncstarted"
    assert len(log) == case.log_total
    if case.order in _ORDER_OF_THE_DATABASE:
        assert {row[2] for row in case.log} <= {row[2] for row in log}
    elif case.log_complete:
        assert sorted(log[1:]) == sorted(case.log)
    else:
        assert log[1 : len(case.log) + 1] == case.log


@pytest.mark.parametrize("case", ALL, ids=_ids)
def test_it_stops_exactly_when_the_recorded_import_stopped(case: Case, replays: dict[int, Replay]) -> None:
    """An import stops as a whole, or the task dies, exactly where the site's did."""
    result = replays[case.order].result
    assert result.aborts is not case.finished
    assert result.task_exit == case.task_exit
    assert bool(result.reason) is result.aborts


def _rows(case: Case) -> list[list[str]]:
    """The effect's rows that are laid out column by column."""
    rows = [line.split("|") for line in (case.effect or "").split("\n")]
    return [row for row in rows if len(row) in _WIDTHS[case.element] or row[0] in {"pos", "ja with pos"}]


# How wide the effect rows are that can be compared column by column.
_WIDTHS = {"pos": {7}, "comp": set(), "org": set(), "user": {8, 9}, "jobassignment": {11}}
_COMPARABLE = [case for case in ALL if _rows(case)]


@pytest.mark.parametrize("case", _COMPARABLE, ids=_ids)
def test_the_site_holds_what_it_held(case: Case, replays: dict[int, Replay]) -> None:
    """What the record shows of the site afterwards, column by column, is what the state holds."""
    now = replays[case.order].now
    for want in _rows(case):
        key = "|".join(want[:2]) if case.element == "jobassignment" else want[0]
        got = SNAPSHOTS[case.order].get(key)
        assert got is not None, f"{key} is not there"
        width = min(len(want), len(got))
        for place, (expected, actual) in enumerate(zip(want[:width], got[:width], strict=True)):
            if expected.startswith("17952"):
                # The recording site's own clock; ours is another.
                assert abs(int(actual) - now) < 1000
            else:
                assert actual == expected, f"{key}, column {place} of {want}"


def test_most_effects_are_compared() -> None:
    """The comparison above is not empty by accident."""
    assert len(_COMPARABLE) > 30
