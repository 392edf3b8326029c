"""The site around the web services: cron, hand-made links, persistence, snapshots, a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from connectors.simulators.moodle import MoodleSimulator


def _template(client: Any) -> int:
    given = {"template[shortname]": "Position 1", "template[visible]": 1, "template[contextid]": 1}
    return int(client.call("core_competency_create_template", **given)["id"])


def _cohort(client: Any) -> int:
    given = {"categorytype][type": "system", "categorytype][value": "", "name": "P1", "idnumber": "P1"}
    return int(client.call("core_cohort_create_cohorts", **{f"cohorts[0][{k}]": v for k, v in given.items()})[0]["id"])


def _join(client: Any, username: str) -> None:
    given = {"cohorttype][type": "idnumber", "cohorttype][value": "P1", "usertype][type": "username",
             "usertype][value": username}  # fmt: skip
    client.call("core_cohort_add_cohort_members", **{f"members[0][{k}]": v for k, v in given.items()})


def test_cron_makes_plans_for_members_of_a_linked_cohort(moodle: MoodleSimulator, client: Any) -> None:
    """Joining brings the plan at the next run, leaving does not take it away, and nobody gets a second."""
    person = moodle.seed.users(1)[0]
    template, cohort = _template(client), _cohort(client)
    moodle.link_template_to_cohort(template, cohort)
    assert moodle.run_cron()["plans"] == 0
    _join(client, "emp0001")
    assert moodle.run_cron()["plans"] == 1
    assert moodle.run_cron()["plans"] == 0
    client.call("core_cohort_delete_cohort_members", **{"members[0][cohortid]": cohort, "members[0][userid]": person})
    plans = client.call("core_competency_list_user_plans", userid=person)
    assert [(plan["name"], plan["isbasedontemplate"]) for plan in plans] == [("Position 1", True)]


def test_linking_what_does_not_exist_is_an_error(moodle: MoodleSimulator) -> None:
    """A test that names the wrong template hears about it."""
    with pytest.raises(LookupError):
        moodle.link_template_to_cohort(1, 1)


def test_cron_dates_a_course_completion_by_its_last_criterion(moodle: MoodleSimulator, client: Any) -> None:
    """A completion surfaces at the run, dated when its last activity was done (observed on Moodle 4.5.6)."""
    person = moodle.seed.users(1)[0]
    course = moodle.seed.course("C", "Course")
    moodle.seed.criteria(course, 4)
    moodle.seed.enrol(course, person)
    done = moodle.site.now()
    for module in [m["id"] for m in moodle.db.modules.find("course", course) if m["completion"]]:
        answer = client.call(
            "core_completion_override_activity_completion_status", userid=person, cmid=module, newstate=1
        )
        assert answer["state"] == 1
    moodle.site.advance(86400)
    assert moodle.run_cron()["completions"] == 1
    completion = moodle.db.completions.first("pair", (course, person))
    assert completion is not None
    assert done <= completion["timecompleted"] <= done + 60


def test_state_survives_in_a_file(moodle: MoodleSimulator, client: Any, tmp_path: Path) -> None:
    """A saved site opens again with the same rows and the next free ids."""
    framework = client.framework()
    client.competency(framework, "a")
    file = tmp_path / "state.json"
    moodle.save(file)
    with MoodleSimulator(state=file) as again:
        assert again.snapshot() == moodle.snapshot()
        assert again.db.competencies.next_id == moodle.db.competencies.next_id


def test_comparable_states_do_not_depend_on_ids_or_times() -> None:
    """Two sites filled in another order compare as equal by key, and unequal once a name differs."""
    from .conftest import Client

    states = []
    for order in ("ab", "ba"):
        with MoodleSimulator() as moodle:
            moodle.site.advance(1000 if order == "ba" else 0)
            client = Client(moodle)
            for name in order:
                client.framework(name)
            states.append(moodle.comparable()["frameworks"])
            client.session.close()
    assert states[0] == states[1]
    assert {**states[0], "a": {}} != states[1]


def test_the_control_endpoint_drives_a_simulator(moodle: MoodleSimulator, client: Any) -> None:
    """Faults, statistics, snapshot and reset are reachable over HTTP."""
    base = moodle.url + "/_simulator/"
    client.framework()
    assert len(requests.get(base + "snapshot", timeout=5).json()["frameworks"]) == 1
    assert requests.get(base + "stats", timeout=5).json()["requests"] == 1
    added = requests.post(base + "faults", json={"faults": [{"kind": "http_502"}]}, timeout=5).json()
    assert added[0]["kind"] == "http_502"
    assert client.post("core_webservice_get_site_info").status_code == 502
    requests.post(base + "reset", timeout=5)
    assert len(moodle.db.frameworks) == 0
    assert requests.post(base + "nonsense", timeout=5).status_code == 404
    assert client.call("core_webservice_get_site_info")["username"] == "wsbridge"


def test_the_control_endpoint_refuses_nonsense(moodle: MoodleSimulator) -> None:
    """A fault of an unknown kind is a readable error, not a dropped connection."""
    answer = requests.post(moodle.url + "/_simulator/faults", json={"faults": [{"kind": "nope"}]}, timeout=5)
    assert answer.status_code == 400
    assert "unknown fault" in answer.json()["error"]


def test_it_runs_as_a_process_and_keeps_its_state(tmp_path: Path) -> None:
    """Started from the command line it tells address and token, and saves on SIGTERM."""
    file = tmp_path / "state.json"
    command = [sys.executable, "-m", "connectors.simulators.moodle", "--port", "0", "--empty", "--state", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout is not None
        url = re.sub(r"^MOODLE_URL=", "", process.stdout.readline().strip())
        token = re.sub(r"^MOODLE_TOKEN=", "", process.stdout.readline().strip())
        form = {"wstoken": token, "wsfunction": "core_webservice_get_site_info", "moodlewsrestformat": "json"}
        assert requests.post(url + "/webservice/rest/server.php", data=form, timeout=10).json()["userid"] == 3
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(10) == 0
    assert len(json.loads(file.read_text(encoding="utf-8"))["users"]["rows"]) == 3


def test_a_function_that_is_not_modelled_says_so(client: Any) -> None:
    """A call outside the model is a readable error, never a made-up answer."""
    answer = client.call("core_course_get_contents", courseid=1)
    assert answer["errorcode"] == "notsimulated"
    assert "docs/simulator-moodle.md" in answer["message"]
