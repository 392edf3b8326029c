"""The GraphQL client bears what the simulated site, and so the recorded one, does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge.ports import AccessEnded, AccessNotGiven, FixConfiguration, OutcomeUnknown, RetryLater, SkipItem, StopRun
from connectors.simulators.totara import TotaraSimulator
from connectors.totara import graphql
from connectors.totara.graphql import GraphQlClient, GraphQlOptions
from tests.contract.totara.hrimport_record import SAMPLES


@pytest.fixture
def totara() -> Iterator[TotaraSimulator]:
    """A site that holds the samples."""
    simulator = TotaraSimulator()
    simulator.site.load_samples(SAMPLES)
    with simulator:
        yield simulator


@pytest.fixture
def client(totara: TotaraSimulator) -> Iterator[GraphQlClient]:
    """A client of it that does not really sleep."""
    made = GraphQlClient(
        GraphQlOptions(totara.url, totara.client_id, totara.client_secret), sleep=lambda _seconds: None
    )
    yield made
    made.close()


def _user(username: str, **more: object) -> dict[str, object]:
    email = f"{username}@example.com"
    return {"username": username, "email": email, "firstname": "A", "lastname": "B", "password": "Pass-12345", **more}


def test_one_token_serves_many_requests_and_is_renewed_when_the_site_forgets_it(
    totara: TotaraSimulator, client: GraphQlClient
) -> None:
    """The token is cached; one that the site no longer knows is fetched anew without an error."""
    for _ in range(3):
        assert client.query("query { totara_webapi_status { status } }")
    totara.forget_tokens()
    assert client.query("query { totara_webapi_status { status } }")
    assert sum(path.endswith("token.php") for _, path, _ in totara.requests) == 2


@pytest.mark.parametrize("debug", [0, 1])
def test_a_token_that_died_is_renewed_though_the_site_only_says_internal_error(
    totara: TotaraSimulator, client: GraphQlClient, debug: int
) -> None:
    """With debugging off nothing tells a dead token from another fault: writes go through all the same, each once."""
    totara.api.response_debug = debug
    client.token()
    totara.forget_tokens()
    results = client.mutate([graphql.create_user(_user(name, idnumber=name)) for name in ("one", "two")])
    assert [result.error for result in results] == [None, None]
    totara.forget_tokens()
    assert client.query("query { totara_webapi_status { status } }")


def test_a_service_account_that_is_switched_off_stops_the_run_and_refuses_nothing(
    totara: TotaraSimulator, client: GraphQlClient
) -> None:
    """The whole request is turned away: that is no fault of the writes in it."""
    client.token()
    account = next(user for user in totara.site.state.users.values() if user.username == "apisvc")
    account.suspended = True
    with pytest.raises(AccessEnded, match="service account"):
        client.mutate([graphql.create_user(_user("one")), graphql.create_user(_user("two"))])


def test_a_refused_client_is_a_configuration_fault_that_keeps_the_secret(totara: TotaraSimulator) -> None:
    """The error comes with status 200; it is recognised, and the secret is not in it."""
    client = GraphQlClient(GraphQlOptions(totara.url, totara.client_id, "not-the-secret"))
    with pytest.raises(AccessNotGiven, match="authentication failed") as caught:
        client.token()
    assert "not-the-secret" not in str(caught.value)
    client.close()


def test_the_api_switched_off_is_said_so(totara: TotaraSimulator, client: GraphQlClient) -> None:
    """A site whose API is off tells to switch it on."""
    client.token()
    totara.api.enabled = False
    with pytest.raises(FixConfiguration, match="Feature api is not available"):
        client.query("query { totara_webapi_status { status } }")


def test_pages_are_whole_and_within_the_sites_complexity(totara: TotaraSimulator, client: GraphQlClient) -> None:
    """Every job comes once, though the first page size is too complex."""
    wanted = "idnumber position { id idnumber } organisation { idnumber } managerja { idnumber user { idnumber } }"
    name, kind = "totara_job_job_assignments", "totara_job_job_assignments_query"
    found = [item["idnumber"] for item in client.pages(name, kind, wanted, fields=2)]
    assert len(found) == len(set(found)) == 2500
    refused = [body for _, path, body in totara.requests if path.endswith("graphql.php")]
    assert len(refused) > 3


def test_sorting_by_time_would_lose_rows(client: GraphQlClient) -> None:
    """Why pages go by id: by timemodified the cursor forgets ties."""
    asked = {"pagination": {"limit": 250}, "sort": [{"column": "timemodified", "direction": "ASC"}]}
    text = "query q($q: core_user_users_query) { core_user_users(query: $q) { next_cursor items { id } } }"
    seen: set[str] = set()
    while True:
        page = client.query(text, {"q": asked})["core_user_users"]
        seen |= {item["id"] for item in page["items"]}
        if not page["next_cursor"]:
            break
        asked["pagination"] = {"limit": 250, "cursor": page["next_cursor"]}
    assert len(seen) < 2004


def test_one_failed_write_does_not_touch_the_others(totara: TotaraSimulator, client: GraphQlClient) -> None:
    """Three writes, the second refused: the first and the third are made, each has its answer."""
    results = client.mutate(
        [
            graphql.create_user(_user("first", idnumber="F1")),
            graphql.create_user(_user("second", idnumber="E00001")),
            graphql.create_user(_user("third", idnumber="T1")),
        ]
    )
    assert [result.error is None for result in results] == [True, False, True]
    assert isinstance(results[1].error, SkipItem)
    assert "Idnumber already exists" in str(results[1].error)
    assert {"F1", "T1"} <= set(totara.site.state.user_by_idnumber)


def test_jobs_are_made_changed_and_deleted_by_their_persons_key(totara: TotaraSimulator, client: GraphQlClient) -> None:
    """A job's id number alone would be ambiguous; with the person's it is not."""
    for person in ("E00100", "E00102"):
        made = client.mutate([graphql.create_job({"idnumber": "GJ1", "user": {"idnumber": person}})])
        assert made[0].error is None
    changed = client.mutate([graphql.update_job("GJ1", "E00102", {"fullname": "Renamed", "position": None})])
    assert changed[0].error is None
    job = totara.site.state.job_of(totara.site.state.user_by_idnumber["E00102"], "GJ1")
    assert job is not None
    assert (job.fullname, job.totarasync) == ("Renamed", False)
    assert client.mutate([graphql.delete_job("GJ1", "E00102")])[0].error is None
    assert isinstance(client.mutate([graphql.delete_job("GJ1", "E00102")])[0].error, SkipItem)


def test_what_the_site_ignores_is_not_believed(totara: TotaraSimulator, client: GraphQlClient) -> None:
    """On 17 the filter by time and the hierarchy reads are answered with silence; on a newer site they work."""
    proven = client.prove()
    assert (proven.users, proven.jobs) == (True, True)
    assert (proven.since_filter, proven.positions, proven.frameworks_visible) == (False, False, False)
    assert len(proven.notes) == 2
    totara.api.since_filter = totara.api.hierarchies = totara.api.wide_role = True
    newer = client.prove()
    assert (newer.since_filter, newer.positions, newer.organisations, newer.frameworks_visible) == (True,) * 4
    assert newer.notes == []


def test_a_mutation_the_site_does_not_know_is_not_taken_for_done(client: GraphQlClient) -> None:
    """Dropped in silence by the site, named by the client."""
    unknown = graphql.Mutation("totara_hierarchy_create_position", {"input": ("x!", {})}, "position { id }")
    result = client.mutate([unknown])[0]
    assert isinstance(result.error, SkipItem)
    assert "does not know" in str(result.error)


def test_a_write_whose_answer_breaks_off_is_unknown_and_not_sent_again(
    totara: TotaraSimulator, client: GraphQlClient
) -> None:
    """A server fault after a write leaves it unknown."""
    client.token()
    totara.on_request = lambda _method, path, _body: (502, "bad gateway") if path.endswith("graphql.php") else None
    before = len(totara.requests)
    result = client.mutate([graphql.delete_user("E00001")])[0]
    assert isinstance(result.error, OutcomeUnknown)
    assert len(totara.requests) == before + 1


def test_a_rate_limit_is_waited_out_without_being_told_how_long(totara: TotaraSimulator, client: GraphQlClient) -> None:
    """A 429 names no time: the minute it counts is waited, then asked again."""
    client.token()
    answers = iter([429, 429])
    totara.on_request = lambda _m, _p, _b: (
        (code, {"error": "Too many requests"}) if (code := next(answers, 0)) else None
    )
    waits: list[float] = []
    client._sleep = waits.append
    assert client.query("query { totara_webapi_status { status } }")
    assert waits
    assert min(waits) >= 60.0


def test_a_read_of_something_unknown_is_refused_in_words(client: GraphQlClient) -> None:
    """A page query the site does not know, and a syntax the site refuses, stop with a sentence."""
    with pytest.raises(StopRun, match="does not know"):
        list(client.pages("totara_hierarchy_positions", "x", "idnumber", fields=1))
    with pytest.raises(StopRun, match="Syntax Error"):
        client.query("query { nothing ")


def test_an_address_nobody_listens_at_can_be_tried_later() -> None:
    """No connection: nothing was done, try later."""
    client = GraphQlClient(GraphQlOptions("http://127.0.0.1:9", "a", "b"), sleep=lambda _seconds: None)
    with pytest.raises(RetryLater):
        client.token()
    client.close()
