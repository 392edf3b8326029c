"""Latency, costs and what happens when requests meet."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from connectors.simulators.moodle import CostModel, MoodleSimulator, SimulatorConfig

from .conftest import Client


def _together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run the work in that many threads and return what each returned."""
    results: list[Any] = [None] * count

    def run(n: int) -> None:
        results[n] = work(n)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def busy() -> Any:
    """Give a site that takes time over its work, and clients to press it with."""
    config = SimulatorConfig(cost=CostModel(workers=4, request=0.002, write=0.02, write_locked=0.002))
    with MoodleSimulator(config) as moodle:
        clients = [Client(moodle) for _ in range(8)]
        yield moodle, clients
        for client in clients:
            client.session.close()


def test_latency_is_spent_outside_the_workers() -> None:
    """Eight requests at once take less than eight times the network time, though there is one worker."""
    config = SimulatorConfig(latency=0.2, cost=CostModel(workers=1))
    with MoodleSimulator(config) as moodle:
        clients = [Client(moodle) for _ in range(8)]
        started = time.perf_counter()
        _together(8, lambda n: clients[n].call("core_webservice_get_site_info")["userid"])
        assert 0.2 <= time.perf_counter() - started < 8 * 0.2
        assert moodle.requests.in_flight_high == 8
        for client in clients:
            client.session.close()


def test_requests_beyond_the_workers_queue() -> None:
    """Eight requests of 50 ms on two workers take four rounds."""
    with MoodleSimulator(SimulatorConfig(cost=CostModel(workers=2, request=0.05))) as moodle:
        clients = [Client(moodle) for _ in range(8)]
        started = time.perf_counter()
        _together(8, lambda n: clients[n].call("core_webservice_get_site_info")["userid"])
        assert time.perf_counter() - started >= 0.2
        for client in clients:
            client.session.close()


def test_the_measured_cost_model_is_what_was_observed() -> None:
    """4 workers, 11 ms a request, 4 ms a write of which 2.1 ms under one lock."""
    cost = CostModel.measured()
    assert (cost.workers, cost.request, cost.write, cost.write_locked) == (4, 0.011, 0.004, 0.0021)


def test_a_batch_costs_one_request_and_its_writes() -> None:
    """Twenty creates in one request are several times faster than one by one."""
    cost = CostModel(workers=4, request=0.02, write=0.002, write_locked=0.001)
    with MoodleSimulator(SimulatorConfig(cost=cost)) as moodle:
        client = Client(moodle)
        framework = client.framework()
        started = time.perf_counter()
        for n in range(20):
            client.competency(framework, f"single {n}")
        single = time.perf_counter() - started
        given = [
            ("core_competency_create_competency",
             {"competency": {"shortname": f"b{n}", "idnumber": f"b{n}", "competencyframeworkid": framework}})
            for n in range(20)
        ]  # fmt: skip
        started = time.perf_counter()
        client.batch(*given)
        assert (time.perf_counter() - started) * 3 < single
        client.session.close()


def test_siblings_created_at_once_get_the_same_place(busy: Any) -> None:
    """Each request counts the siblings before the others have written theirs."""
    moodle, clients = busy
    framework = clients[0].framework()
    _together(4, lambda n: clients[n].competency(framework, f"c{n}"))
    places = Counter(row["sortorder"] for row in moodle.db.competencies)
    assert max(places.values()) > 1


def test_children_of_different_parents_created_at_once_keep_their_places(busy: Any) -> None:
    """Parallel creates under different parents do not disturb each other."""
    moodle, clients = busy
    framework = clients[0].framework()
    parents = [clients[0].competency(framework, f"p{n}")["id"] for n in range(4)]

    def grow(n: int) -> None:
        for m in range(3):
            clients[n].competency(framework, f"p{n}.{m}", parents[n])

    _together(4, grow)
    for parent in parents:
        assert sorted(row["sortorder"] for row in moodle.db.competencies.find("children", parent)) == [0, 1, 2]


def test_moves_at_once_deadlock(busy: Any) -> None:
    """Of four moves in one framework at once at least one fails like any failed write."""
    _, clients = busy
    framework = clients[0].framework()
    target = clients[0].competency(framework, "target")["id"]
    movers = [clients[0].competency(framework, f"m{n}")["id"] for n in range(4)]
    answers = _together(
        4,
        lambda n: clients[n].call("core_competency_set_parent_competency", competencyid=movers[n], parentid=target),
    )
    assert any(isinstance(answer, dict) and answer["errorcode"] == "dmlwriteexception" for answer in answers)
    assert any(answer is True for answer in answers)


def test_cohorts_created_at_once_may_share_an_id_number(busy: Any) -> None:
    """Nothing but the check before the write keeps id numbers apart."""
    moodle, clients = busy
    form = {
        "cohorts[0][categorytype][type]": "system",
        "cohorts[0][categorytype][value]": "",
        "cohorts[0][name]": "C",
        "cohorts[0][idnumber]": "C",
    }
    _together(4, lambda n: clients[n].call("core_cohort_create_cohorts", **form))
    assert len(moodle.db.cohorts.find("idnumber", "c")) > 1


def test_the_same_id_number_created_at_once_clashes_in_the_index(busy: Any) -> None:
    """Competencies have a unique index: one create wins; the others see it in time, or fail like any failed write."""
    moodle, clients = busy
    framework = clients[0].framework()
    answers = _together(4, lambda n: clients[n].competency(framework, "same"))
    assert len(moodle.db.competencies) == 1
    failed = [answer["errorcode"] for answer in answers if "errorcode" in answer]
    assert len(failed) == 3
    assert set(failed) <= {"dmlwriteexception", "invalidpersistenterror"}


def test_enrolling_the_same_person_at_once_clashes(busy: Any) -> None:
    """One enrolment, and failed writes for the rest."""
    moodle, clients = busy
    person = moodle.seed.users(1)[0]
    course = moodle.seed.course("C", "Course")
    form = {"enrolments[0][roleid]": 5, "enrolments[0][userid]": person, "enrolments[0][courseid]": course}
    answers = _together(4, lambda n: clients[n].call("enrol_manual_enrol_users", **form))
    assert len(moodle.db.enrolments) == 1
    assert any(answer and answer["errorcode"] == "dmlwriteexception" for answer in answers)


def test_a_nested_batch_loses_what_follows_a_failed_transaction(moodle: MoodleSimulator, client: Any) -> None:
    """The later create answers success, and is gone after the request (observed on Moodle 4.5.6)."""
    framework = client.framework()
    cohort = {"cohorts": [{"categorytype": {"type": "system", "value": ""}, "name": "C", "idnumber": "C"}]}
    competency = {"competency": {"shortname": "late", "idnumber": "late", "competencyframeworkid": framework}}

    def nested(function: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        import json

        inner = [{"function": function, "arguments": json.dumps(arguments)}]
        return "tool_mobile_call_external_functions", {"requests": inner}

    answer = client.batch(
        nested("core_cohort_create_cohorts", cohort),
        nested("core_cohort_create_cohorts", cohort),
        nested("core_competency_create_competency", competency),
    )
    assert [item["error"] for item in answer["responses"]] == [False, False, False]
    assert "late" in answer["responses"][2]["data"]
    assert len(moodle.db.cohorts) == 1
    assert len(moodle.db.competencies) == 0
