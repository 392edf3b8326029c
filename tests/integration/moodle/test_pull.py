"""Bringing results back from a simulated site: by report, person by person, in pages, cut off and resumed."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from bridge.model import BadgeAward, CourseCompletion, PlanStatus
from bridge.ports import AccessNotGiven, Page, PullScope
from connectors.moodle import MoodleConnector, MoodleOptions
from connectors.moodle.client import Call
from connectors.simulators.moodle import MoodleSimulator

PEOPLE, COURSES = 60, 6
COMPLETIONS = frozenset({"completions"})


@pytest.fixture(scope="module")
def moodle() -> Iterator[MoodleSimulator]:
    """A site with people in courses, half of them through, and both reports."""
    with MoodleSimulator() as site:
        seeded = random.Random(7)
        people = site.seed.users(PEOPLE)
        courses = site.seed.courses(COURSES)
        for course in courses:
            for person in people:
                site.seed.enrol(course, person)
            for person in seeded.sample(people, PEOPLE // 2):
                site.seed.complete(course, person, site.site.now() - seeded.randrange(1, 400) * 86_400)
        site.seed.completion_report()
        site.seed.competencies_report()
        yield site


def connect(moodle: MoodleSimulator, **options: object) -> MoodleConnector:
    """Return a fresh connector."""
    settings = MoodleOptions(moodle.url, SecretStr(moodle.token), **options)  # type: ignore[arg-type]  # by test
    return MoodleConnector(settings, sleep=lambda _seconds: None)


def completions(pages: list[Page]) -> set[tuple[str, str]]:
    """Return (person, course) of the completions in pages, each at most once."""
    found = [one for page in pages for one in page.results if isinstance(one, CourseCompletion)]
    keys = [(one.person or one.lms_user, one.course) for one in found]
    assert len(keys) == len(set(keys))
    assert all(one.completed_at is not None for one in found)
    return set(keys)


def test_a_first_pull_by_report_takes_few_requests(moodle: MoodleSimulator) -> None:
    """Everything in at most five, and the kind is whole."""
    connector = connect(moodle)
    pages = list(connector.pull(PullScope(kinds=COMPLETIONS)))
    assert len(completions(pages)) == PEOPLE // 2 * COURSES
    assert pages[-1].whole == COMPLETIONS
    assert pages[-1].last
    assert connector.requests_sent <= 5
    connector.close()


def test_with_nothing_new_three_requests_suffice(moodle: MoodleSimulator) -> None:
    """However many people there are."""
    connector = connect(moodle)
    pages = list(connector.pull(PullScope(since=moodle.site.now() + 86_400 * 3, kinds=COMPLETIONS)))
    assert completions(pages) == set()
    assert connector.requests_sent <= 3
    connector.close()


def test_a_window_brings_what_was_completed_in_it(moodle: MoodleSimulator) -> None:
    """Less than everything, more than nothing, and not whole."""
    since = moodle.site.now() - 100 * 86_400
    connector = connect(moodle)
    pages = list(connector.pull(PullScope(since=since, kinds=COMPLETIONS)))
    assert 0 < len(completions(pages)) < PEOPLE // 2 * COURSES
    assert all(
        one.completed_at is not None and one.completed_at.timestamp() >= since - 86_400
        for page in pages
        for one in page.results
        if isinstance(one, CourseCompletion)
    )
    assert not any(page.whole for page in pages)
    connector.close()


@pytest.mark.parametrize("cut", [1, 3])
@pytest.mark.parametrize("report", ["", "none of this name"])
def test_a_pull_that_was_cut_off_goes_on_where_it_was(moodle: MoodleSimulator, cut: int, report: str) -> None:
    """The pages before and after the cut make up the whole, whichever route."""
    scope = PullScope(kinds=frozenset({"completions", "badges"}), page_rows=40)
    one = connect(moodle, completion_report=report)
    everything = completions(list(one.pull(scope)))
    first: list[Page] = []
    for page in one.pull(scope):
        first.append(page)
        if len(first) == cut:
            break
    other = connect(moodle, completion_report=report)
    rest = list(other.pull(scope, first[-1].cursor))
    assert completions(first) | completions(rest) == everything
    assert rest[-1].last
    one.close()
    other.close()


def test_both_routes_tell_the_same(moodle: MoodleSimulator) -> None:
    """Person by person brings the same completions at the same minute, within the stated number of requests."""
    fast, slow = connect(moodle), connect(moodle, completion_report="none of this name")
    scope = PullScope(kinds=COMPLETIONS)
    told = [
        {
            (one.person, one.course, one.completed_at)
            for page in connector.pull(scope)
            for one in page.results
            if isinstance(one, CourseCompletion)
        }
        for connector in (fast, slow)
    ]
    assert told[0] == told[1]
    # Beside them: what the site is, which reports it has, who there is.
    assert slow.requests_sent <= PEOPLE / 20 + len(told[1]) / 50 + 3
    fast.close()
    slow.close()


def test_known_completions_are_not_asked_for_again(moodle: MoodleSimulator) -> None:
    """Where each time costs a call, only new ones are looked up."""
    connector = connect(moodle, completion_report="none of this name")
    scope = PullScope(since=1.0, kinds=COMPLETIONS, known=lambda _person, course: not course.endswith("001"))
    found = completions(list(connector.pull(scope)))
    assert {course for _, course in found} == {"TRN-001"}
    connector.close()


def test_a_report_that_lost_a_column_is_named_and_the_slow_route_taken(moodle: MoodleSimulator) -> None:
    """The remark says what it lacks."""
    moodle.seed.report(
        "Narrow", "core_course\\reportbuilder\\datasource\\participants", ["user:idnumber", "course:idnumber"], {}
    )
    connector = connect(moodle, completion_report="Narrow")
    pages = list(connector.pull(PullScope(kinds=COMPLETIONS)))
    assert len(completions(pages)) == PEOPLE // 2 * COURSES
    assert any("lacks a column" in remark.says for page in pages for remark in page.remarks)
    connector.close()


def test_names_come_back_as_people_wrote_them(moodle: MoodleSimulator) -> None:
    """Moodle answers names as for display (`R&amp;D`); results carry the characters themselves, by person too."""
    course = moodle.seed.course("R&D 1", "Research & Development", idnumber="")
    person = moodle.seed.user("rnd", "Rita", "Dee", "rnd@example.org", idnumber="E-RND")
    moodle.seed.enrol(course, person["id"])
    moodle.seed.complete(course, person["id"], moodle.site.now() - 3600)
    badge = moodle.seed.badge("Safe & sound")
    moodle.seed.award(badge, person["id"])
    client = connect(moodle)._client
    plan = {"name": "Plan & goals", "userid": person["id"], "status": 1}
    client.write([Call("core_competency_create_plan", {"plan": plan})])
    client.close()
    connector = connect(moodle, completion_report="none such")
    kinds = frozenset({"completions", "plans", "badges"})
    results = [one for page in connector.pull(PullScope(kinds=kinds)) for one in page.results if one.person == "E-RND"]
    connector.close()
    (completion,) = [one for one in results if isinstance(one, CourseCompletion)]
    assert (completion.course, completion.course_name) == ("R&D 1", "Research & Development")
    assert [one.name for one in results if isinstance(one, PlanStatus)] == ["Plan & goals"]
    assert [one.name for one in results if isinstance(one, BadgeAward)] == ["Safe & sound"]


def test_every_kind_has_its_page_and_an_end(moodle: MoodleSimulator) -> None:
    """Ratings, plans and badges come too; what lacks a report still ends well."""
    connector = connect(moodle)
    pages = list(connector.pull(PullScope(activities_of=("TRN-001", "NOPE"))))
    assert pages[-1].last
    assert sum(page.last for page in pages) == 1
    kinds = {type(one) for page in pages for one in page.results}
    assert CourseCompletion in kinds
    assert any(remark.key == "NOPE" for page in pages for remark in page.remarks)
    connector.close()


def test_what_moodle_refuses_for_one_person_is_counted_and_nothing_counts_as_gone() -> None:
    """An account that is deleted while it is asked about: the others come, a remark says so, the kind is not whole."""
    with MoodleSimulator() as site:
        people = site.seed.users(5)
        connector = connect(site)

        def delete(moment: str, _number: int, function: str) -> None:
            if moment == "before" and function != "core_user_get_users":
                site.db.users.rows[people[2]]["deleted"] = site.requests.by_function["core_user_get_users"]

        site.on_request(delete)
        pages = list(connector.pull(PullScope(kinds=frozenset({"badges"}))))
        connector.close()
    assert [page.whole for page in pages] == [frozenset()]
    (remark,) = pages[-1].remarks
    assert "1 answers about badges were refused" in remark.says


def test_a_site_that_lets_nobody_in_is_not_taken_for_one_with_nothing_new(moodle: MoodleSimulator) -> None:
    """Refused at the first request of a pull of several kinds: it ends there, and says why."""
    connector = connect(moodle)
    moodle.faults.add("accessexception", at=moodle.requests.total + 1)
    with pytest.raises(AccessNotGiven, match="refuses core_webservice_get_site_info to this token"):
        list(connector.pull(PullScope(kinds=frozenset({"completions", "attainments"}))))
    assert [page.last for page in connector.pull(PullScope(kinds=frozenset({"completions", "attainments"})))][-1]
    connector.close()
