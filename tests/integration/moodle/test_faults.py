"""What the connector makes of a site that fails: every kind of fault, at every request, with nothing made twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from bridge.model import Desired
from bridge.ports import BridgeError, FixConfiguration, Outcome, Status, StopRun
from connectors.http import Timeouts
from connectors.moodle import MoodleConnector, MoodleOptions
from connectors.simulators.moodle import MoodleSimulator
from tests.integration.moodle.test_structure import creations, model, node

CREATE = "core_competency_create_competency"
COMPETENCIES = [node("A"), node("B"), *(node(f"{p}/{p}{n:02}") for p in "AB" for n in range(12))]
LOST = ["reset_after_commit", "cut_json", "killed_mid_batch", "timeout_after_commit", "http_504"]
PASSING = ["http_503", "sitemaintenance", "http_429", "dbconnectionfailed", "deadlock", "oversize_xml"]
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def moodle() -> Iterator[MoodleSimulator]:
    """A simulated site with a scale."""
    with MoodleSimulator() as site:
        site.seed.scale("Scale", ["No", "Yes"])
        yield site


def connect(moodle: MoodleSimulator, **options: object) -> MoodleConnector:
    """Return a connector that waits for nothing."""
    settings = MoodleOptions(
        moodle.url,
        SecretStr(moodle.token),
        batch_size=5,
        timeouts=Timeouts(connect=2.0, read=1.0),
        **options,  # type: ignore[arg-type]  # by test
    )
    return MoodleConnector(settings, sleep=lambda _seconds: None)


def push(connector: MoodleConnector) -> tuple[list[Outcome], BridgeError | None]:
    """Make what is missing of the competencies; return the outcomes and the error that ended it."""
    items = connector.translate(Desired(model(COMPETENCIES))).items
    there = {found.key for kind in ("framework", "competency") for found in connector.read(kind)}
    changes = [change for change in creations(items, ["framework", "competency"]) if change.key not in there]
    outcomes: list[Outcome] = []
    try:
        outcomes.extend(connector.settle(connector.submit(changes)))
    except BridgeError as error:
        return outcomes, error
    return outcomes, None


def keys_in(moodle: MoodleSimulator) -> list[str]:
    """Return the idnumbers in the database."""
    return sorted(row["idnumber"] for row in moodle.db.competencies.rows.values())


WANTED = sorted(one.idnumber for one in COMPETENCIES)


@pytest.mark.parametrize("kind", LOST)
def test_a_lost_answer_makes_unknowns_and_the_rerun_makes_nothing_twice(moodle: MoodleSimulator, kind: str) -> None:
    """What may have been done is unknown, what hangs on it is not sent, and a second run completes the tree."""
    connector = connect(moodle)
    connector.probe()
    moodle.faults.add(kind, function=CREATE, start=1, count=1, after_writes=2, seconds=1.5)
    outcomes, error = push(connector)
    assert error is None
    states = {outcome.status for outcome in outcomes}
    assert Status.UNKNOWN in states
    assert all(outcome.why for outcome in outcomes if outcome.status is not Status.APPLIED)
    made = {outcome.key.partition("/")[2] for outcome in outcomes if outcome.status is Status.APPLIED}
    assert made - {""} <= set(keys_in(moodle))
    outcomes, error = push(connector)
    assert (error, {outcome.status for outcome in outcomes}) == (None, {Status.APPLIED})
    assert keys_in(moodle) == WANTED
    connector.close()


@pytest.mark.parametrize("kind", PASSING)
def test_a_passing_fault_is_waited_out(moodle: MoodleSimulator, kind: str) -> None:
    """Maintenance, overload, deadlocks and too large bodies cost time, nothing else."""
    connector = connect(moodle)
    connector.probe()
    moodle.faults.add(kind, function=CREATE, count=1 if kind == "oversize_xml" else 2, seconds=0)
    outcomes, error = push(connector)
    assert (error, {outcome.status for outcome in outcomes}) == (None, {Status.APPLIED})
    assert keys_in(moodle) == WANTED
    connector.close()


@pytest.mark.parametrize("kind", ["invalidtoken", "empty_403", "http_503", "accessexception"])
def test_a_fault_that_stays_stops_the_run_after_telling_of_every_change(moodle: MoodleSimulator, kind: str) -> None:
    """Each change is told of, the error has one sentence that names no secret, and a rerun completes the work."""
    connector = connect(moodle)
    connector.probe()
    moodle.faults.add(kind, function=CREATE, start=9, count=500, seconds=0)
    outcomes, error = push(connector)
    assert isinstance(error, StopRun) or (kind == "accessexception" and error is None)
    assert len(outcomes) == len(COMPETENCIES) + 1
    assert {outcome.status for outcome in outcomes} <= {Status.APPLIED, Status.NOT_SENT}
    assert TOKEN not in str(error)
    assert not any(TOKEN in outcome.why for outcome in outcomes)
    moodle.faults.clear()
    outcomes, error = push(connector)
    assert error is None
    assert keys_in(moodle) == WANTED
    connector.close()


def test_an_item_that_is_refused_is_set_apart_and_the_rest_goes_on(moodle: MoodleSimulator) -> None:
    """A number that is taken in other letters is refused with a sentence; its siblings are made, its children not."""
    connector = connect(moodle)
    connector.probe()
    items = connector.translate(Desired(model([*COMPETENCIES, node("B/B03/B031")]))).items
    list(connector.settle(connector.submit(creations(items, ["framework"]))))
    strange = [item for item in connector.translate(Desired(model([node("b03")]))).items if item.kind == "competency"]
    list(connector.settle(connector.submit(creations(strange, ["competency"]))))
    outcomes = list(connector.settle(connector.submit(creations(items, ["competency"]))))
    states = {outcome.key: outcome for outcome in outcomes}
    assert states["F/B03"].status is Status.REFUSED
    assert "Rename one of the two" in states["F/B03"].why
    assert states["F/B031"].status is Status.NOT_SENT
    others = {outcome.status for key, outcome in states.items() if key not in ("F/B03", "F/B031")}
    assert others == {Status.APPLIED}
    connector.close()


def test_a_batch_over_the_form_limit_is_noticed_by_counting(moodle: MoodleSimulator) -> None:
    """Believing a larger limit than the server has, the missing answers are sent again in smaller batches."""
    moodle.config.max_input_vars = 12
    connector = connect(moodle, max_input_vars=1000)
    outcomes, error = push(connector)
    assert (error, {outcome.status for outcome in outcomes}) == (None, {Status.APPLIED})
    assert keys_in(moodle) == WANTED
    connector.close()


def test_a_wrong_token_a_wrong_address_and_a_missing_function_say_what_to_mend(moodle: MoodleSimulator) -> None:
    """Each is one sentence for whoever sets the bridge up."""
    wrong = MoodleConnector(MoodleOptions(moodle.url, SecretStr("f" * 32)), sleep=lambda _seconds: None)
    with pytest.raises(FixConfiguration, match="MOODLE_TOKEN"):
        wrong.probe()
    lost = MoodleConnector(MoodleOptions(moodle.url + "/nowhere", SecretStr(moodle.token)), sleep=lambda _seconds: None)
    with pytest.raises(FixConfiguration, match="MOODLE_URL"):
        lost.probe()
    moodle.seed.narrow_token("few0123456789", ["core_webservice_get_site_info"])
    few = MoodleConnector(MoodleOptions(moodle.url, SecretStr("few0123456789")))
    findings = [finding for finding in few.probe().findings if not finding.ok]
    assert any("core_competency_create_competency" in finding.says for finding in findings)
    assert any(finding.blocking for finding in findings)
    for connector in (wrong, lost, few):
        connector.close()


def test_a_server_that_is_away_is_named() -> None:
    """Nobody listens: the run stops with where and what to do."""
    connector = MoodleConnector(
        MoodleOptions("http://127.0.0.1:9", SecretStr("t" * 32), attempts=2), sleep=lambda _seconds: None
    )
    with pytest.raises(StopRun, match=r"127\.0\.0\.1:9.*run again later"):
        connector.probe()
    connector.close()


def test_what_was_made_before_the_run_stopped_is_told_as_made(moodle: MoodleSimulator) -> None:
    """Outcomes that wait for their place among old siblings are not lost when the token is revoked meanwhile."""
    connector = connect(moodle)
    items = connector.translate(Desired(model([node("A"), node("A/A00")]))).items
    list(connector.settle(connector.submit(creations(items, ["framework", "competency"]))))
    more = creations(connector.translate(Desired(model(COMPETENCIES))).items, ["competency"])
    more = [change for change in more if change.key not in ("F/A", "F/A00")]
    moodle.requests.reset()
    moodle.faults.add("invalidtoken", function=CREATE, start=4, count=500)
    outcomes: list[Outcome] = []
    with pytest.raises(StopRun):
        outcomes.extend(connector.settle(connector.submit(more)))
    told = {outcome.key.partition("/")[2] for outcome in outcomes if outcome.status is Status.APPLIED}
    there = {change.key.partition("/")[2] for change in more} & set(keys_in(moodle))
    assert told == there != set()
    assert len(outcomes) == len(more)
    connector.close()
