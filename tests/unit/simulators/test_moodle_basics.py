"""The simulated Moodle answers the calls a first push and pull are made of."""

from typing import Any

from connectors.simulators.moodle import MoodleSimulator


def test_site_info_names_the_account_and_the_functions(client: Any) -> None:
    """The service account sees every function; a narrow token sees its own."""
    info = client.call("core_webservice_get_site_info")
    assert info["username"] == "wsbridge"
    assert len(info["functions"]) == 262


def test_a_narrow_token_is_refused_what_its_service_lacks(moodle: MoodleSimulator, client: Any) -> None:
    """A function outside the service answers accessexception, and site info does not list it."""
    moodle.seed.narrow_token("few", functions=["core_webservice_get_site_info"])
    assert [f["name"] for f in client.call("core_webservice_get_site_info", token="few")["functions"]] == [
        "core_webservice_get_site_info"
    ]
    refused = client.call("core_competency_read_competency", token="few", id="1")
    assert refused["errorcode"] == "accessexception"


def test_siblings_keep_the_order_of_creation_and_paths_name_the_ancestors(client: Any) -> None:
    """Created one after another, children get places 0, 1, 2 and the path of their parent."""
    framework = client.framework()
    root = client.competency(framework, "R")
    children = [client.competency(framework, f"R.{n}", root["id"]) for n in range(3)]
    assert [child["sortorder"] for child in children] == [0, 1, 2]
    assert {child["path"] for child in children} == {f"/0/{root['id']}/"}


def test_a_batch_stops_at_the_first_error_and_keeps_what_was_done(client: Any) -> None:
    """The second of three creates is a duplicate: two answers, one of them an error, one competency."""
    framework = client.framework()
    arguments = [
        {"competency": {"shortname": name, "idnumber": name, "competencyframeworkid": framework}} for name in "AAB"
    ]
    answer = client.batch(*(("core_competency_create_competency", item) for item in arguments))
    assert [item["error"] for item in answer["responses"]] == [False, True]
    filters = {"filters[0][column]": "competencyframeworkid", "filters[0][value]": framework}
    assert client.call("core_competency_count_competencies", **filters) == 1


def test_variables_beyond_the_limit_are_dropped_without_a_word(moodle: MoodleSimulator, client: Any) -> None:
    """Of 600 calls in one request 499 arrive, the last without its arguments.

    Two variables each, after three.
    """
    framework = client.framework()
    calls = [("core_competency_read_competency_framework", {"id": framework})] * 600
    answered = client.batch(*calls)["responses"]
    assert moodle.config.max_input_vars == 1000
    assert len(answered) == 499


def test_the_completion_report_gives_every_enrolment_in_one_request(moodle: MoodleSimulator, client: Any) -> None:
    """`perpage=0` returns 3,000 rows, and a filter narrows them to the 1,500 completed."""
    moodle.seed.reference_site()
    report = moodle.seed.completion_report()
    everything = client.call("core_reportbuilder_retrieve_report", reportid=report, perpage=0)
    assert len(everything["data"]["rows"]) == everything["data"]["totalrowcount"] == 3000
    values = '{"completion:timecompleted_operator": 1}'
    assert client.call("core_reportbuilder_set_filters", reportid=report, values=values) is True
    narrowed = client.call("core_reportbuilder_retrieve_report", reportid=report, perpage=1)
    assert narrowed["data"]["totalrowcount"] == 1500


def test_an_unknown_filter_answers_true_and_is_ignored(moodle: MoodleSimulator, client: Any) -> None:
    """Only what comes back tells whether a filter was understood."""
    moodle.seed.reference_site()
    report = moodle.seed.completion_report()
    assert client.call("core_reportbuilder_set_filters", reportid=report, values='{"nope:x_operator": 1}') is True
    answer = client.call("core_reportbuilder_retrieve_report", reportid=report, perpage=1)
    assert answer["data"]["totalrowcount"] == 3000


def test_without_asking_for_json_the_answer_is_xml(moodle: MoodleSimulator, client: Any) -> None:
    """Moodle's default format is XML, for answers as for errors."""
    form = {"wstoken": moodle.token, "wsfunction": "core_competency_get_scale_values", "scaleid": "2"}
    response = client.session.post(moodle.url + "/webservice/rest/server.php", data=form, timeout=5)
    assert response.headers["Content-Type"].startswith("application/xml")
    assert '<KEY name="name"><VALUE>Competent</VALUE>' in response.text
