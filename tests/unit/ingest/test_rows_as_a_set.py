"""Rows beside each other and beside what is known: ids, addresses, managers, days to come, several jobs and feeds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import openpyxl
import pytest

from bridge.feed_settings import ColumnRule, FeedSettings, TrustSettings
from bridge.model import JobAssignment, PersonStatus, Position, Workforce
from bridge.ports import FixConfiguration
from bridge.store import Store, feeds
from jobs.ingest import FeedContext, Incoming, ingest
from jobs.workforce import FeedQuarantined, feed_organisations, workforce
from mappings.positions import ListedDecisions, PositionFinder

from .conftest import Desk

LENIENT = TrustSettings(maximum_rejected=100, maximum_drop=100, minimum_in_common=0)

MakeDesk = Callable[..., Desk]


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, make_desk: MakeDesk) -> Iterator[Desk]:
    """A desk that believes any file, on both databases."""
    if request.param == "sqlite":
        yield make_desk(FeedSettings(trust=LENIENT))
        return
    with closing(Store.open(request.getfixturevalue("postgres_url"))) as store:
        yield make_desk(FeedSettings(trust=LENIENT), store)


def person(number: int, **said: str) -> list[str]:
    """Return a row about a person; keyword arguments replace cells."""
    cells = {
        "id": f"E{number}", "first": "A", "last": f"N{number}", "email": f"p{number}@x.example", "title": "Nurse",
        "unit": "", "manager": "", "start": "",
    }  # fmt: skip
    return list((cells | said).values())


def refused(desk: Desk) -> dict[int | None, str]:
    """Return the rule by which each line stands refused."""
    return {one.fault.line: one.fault.rule for one in desk.rejections() if one.refused}


def test_rows_that_contradict_each_other_are_all_refused(desk: Desk) -> None:
    """Nobody can tell which of two rows of one number is right."""
    result = desk.take_rows([person(1), person(2), person(1, last="Other")])
    assert (result.created, result.rejected) == (1, 2)
    assert refused(desk) == {2: "duplicate-id", 4: "duplicate-id"}


def test_the_same_row_twice_is_taken_once(desk: Desk) -> None:
    """Word for word the same is no contradiction."""
    assert desk.take_rows([person(1), person(1)]).created == 1
    assert refused(desk) == {3: "duplicate-row"}
    assert desk.take_rows([person(1), person(2), person(1)]).unchanged == 1
    assert refused(desk) == {4: "duplicate-row"}


def test_a_known_row_that_another_one_contradicts_is_refused_too_and_costs_nothing(desk: Desk) -> None:
    """Also where one of the two is word for word as before."""
    desk.take_rows([person(1), person(2)])
    result = desk.take_rows([person(1), person(2), person(1, title="Doctor")])
    assert (result.unchanged, result.rejected, result.missing) == (1, 2, 0)
    assert desk.roster()["E1"].row.title == "Nurse"


def test_a_corrected_row_clears_its_rejection(desk: Desk) -> None:
    """A later file that is right says that all is well."""
    desk.take_rows([person(1), person(2, email="nowhere")])
    assert refused(desk) == {3: "email"}
    result = desk.take_rows([person(1), person(2)], "next.csv")
    assert (result.cleared, refused(desk)) == (1, {})
    assert [one.fault.rule for one in desk.rejections(cleared=True)] == ["email"]


def test_a_shared_address_stays_with_who_had_it(desk: Desk) -> None:
    """The newcomer to the address is refused; among two newcomers, both are."""
    desk.take_rows([person(1), person(2)])
    assert desk.take_rows([person(1), person(2, email="P1@x.example")]).rejected == 1
    assert refused(desk) == {3: "email-shared"}
    desk.take_rows([person(1), person(2), person(3, email="new@x.example"), person(4, email="new@x.example")])
    assert refused(desk) == {4: "email-shared", 5: "email-shared"}


def test_two_people_may_exchange_addresses_in_one_file(desk: Desk) -> None:
    """Only what holds afterwards counts."""
    desk.take_rows([person(1), person(2)])
    swapped = [person(1, email="p2@x.example"), person(2, email="p1@x.example")]
    assert desk.take_rows(swapped).updated == 2


def test_an_address_of_somebody_missing_from_the_file_is_still_theirs(desk: Desk) -> None:
    """Until their absence is certain."""
    desk.take_rows([person(1), person(2)])
    want = [person(1, email="p2@x.example")]
    assert desk.take_rows(want).rejected == 1
    assert desk.take_rows([*want, person(3)], "b.csv").absent == 1
    assert desk.take_rows([*want, person(4), person(3)], "c.csv").rejected == 0


def test_addresses_may_be_shared_where_the_settings_allow_it(make_desk: MakeDesk) -> None:
    """Some companies give whole shifts one mailbox."""
    desk = make_desk(FeedSettings(duplicate_email="allow"))
    assert desk.take_rows([person(1), person(2, email="p1@x.example")]).created == 2


def test_a_manager_must_be_in_the_file_or_known_from_before(desk: Desk) -> None:
    """Somebody who is known is a manager also when the file no longer has them."""
    desk.take_rows([person(1), person(2, manager="E1"), person(3, manager="E77")])
    assert refused(desk) == {4: "manager-unknown"}
    result = desk.take_rows([person(2, manager="E1"), person(4, manager="E1")], "next.csv")
    assert (result.rejected, desk.roster()["E4"].row.manager) == (0, "E1")


def test_a_manager_whose_own_row_is_refused_costs_nobody_their_row(desk: Desk) -> None:
    """The link is left out until the manager is known."""
    result = desk.take_rows([person(1, email="nowhere"), person(2, manager="E1")])
    assert (result.created, result.rejected) == (1, 1)
    assert jobs_of(desk)["E2"].manager is None


def test_an_unknown_manager_may_be_left_out_instead(make_desk: MakeDesk) -> None:
    """By a setting; the row is kept with a remark."""
    desk = make_desk(FeedSettings(unknown_manager="drop"))
    assert desk.take_rows([person(1, manager="E77")]).created == 1
    assert [(one.fault.rule, one.refused) for one in desk.rejections()] == [("manager-unknown", False)]


def test_managers_in_a_circle_are_refused_and_nobody_else(desk: Desk) -> None:
    """Who hangs below the circle stays."""
    rows = [person(1, manager="E2"), person(2, manager="E3"), person(3, manager="E1"), person(4, manager="E1")]
    assert desk.take_rows(rows).created == 1
    assert set(refused(desk).values()) == {"manager-circle"}
    assert set(desk.roster()) == {"E4"}


def test_a_circle_between_the_file_and_what_is_known_is_found(desk: Desk) -> None:
    """The refused row leaves an old link standing, which a good row would close to a circle."""
    desk.take_rows([person(1, manager="E2"), person(2)])
    result = desk.take_rows([person(1, email="nowhere"), person(2, manager="E1")])
    assert result.rejected == 2
    assert refused(desk) == {2: "email", 3: "manager-circle"}


def test_an_unknown_unit_is_refused_or_left_out(make_desk: MakeDesk) -> None:
    """Where somebody keeps a list of units."""
    units = frozenset({"OPS"})
    desk = make_desk(FeedSettings(), units=units)
    desk.take_rows([person(1, unit="OPS"), person(2, unit="NONE")])
    assert refused(desk) == {3: "unit-unknown"}
    desk = make_desk(FeedSettings(unknown_unit="drop"), units=units)
    assert desk.take_rows([person(2, unit="NONE")]).created == 1
    assert desk.roster()["E2"].row.unit == ""


def test_a_refused_row_is_never_absence(desk: Desk) -> None:
    """Not by its number, not by its address, not by its name, and not if it says nothing at all."""
    everybody = [person(n) for n in range(1, 6)]
    desk.take_rows(everybody)
    wounded = [
        person(1, email="nowhere"),
        person(2, id=""),
        person(3, id="", email="nowhere"),
        person(4, id="E5", last="Other"),
        person(5),
    ]
    for night in range(3):
        result = desk.take_rows([*wounded, person(100, title=str(night))], f"{night}.csv")
        assert (result.missing, result.absent) == (0, 0)
    blind = [person(1), person(2, id="", first="", last="", email="")]
    for night in range(3):
        result = desk.take_rows([*blind, person(100, title=str(night))], f"blind{night}.csv")
        assert (result.missing, result.absent) == (0, 0)
        assert "do not say whom" in " ".join(result.notes)


def test_who_comes_back_is_no_longer_missing(desk: Desk) -> None:
    """Missing, certain, back again: the same row of the roster all the time."""
    desk.take_rows([person(1), person(2)])
    assert desk.take_rows([person(1)], "b.csv").missing == 1
    assert desk.take_rows([person(1), person(3)], "c.csv").absent == 1
    assert workforce_of(desk).absent == {"E2"}
    result = desk.take_rows([person(1), person(2), person(3)], "d.csv")
    assert (result.returned, result.unchanged) == (1, 3)
    assert workforce_of(desk).absent == frozenset()


def test_who_left_by_status_is_not_missed_when_the_file_drops_them(make_desk: MakeDesk) -> None:
    """HR systems list leavers for a while and then no longer."""
    desk = make_desk(FeedSettings(columns={"status": "job_title"}, trust=LENIENT))
    desk.take_rows([person(1, title="active"), person(2, title="terminated")])
    assert desk.take_rows([person(1, title="active")]).missing == 0


def test_a_future_hire_waits_and_comes_on_the_day(desk: Desk) -> None:
    """Also where no further file arrives."""
    desk.today = dt.date(2026, 5, 1)
    rows = [person(1, start="2020-01-01"), person(2, start="2026-05-03", manager="E1")]
    result = desk.take_rows(rows)
    assert (result.created, result.waiting) == (1, 1)
    assert keys(workforce_of(desk)) == {"E1"}
    assert keys(workforce_of(desk, dt.date(2026, 5, 3))) == {"E1", "E2"}
    desk.today = dt.date(2026, 5, 2)
    assert desk.take_rows([*rows, person(3)], "next.csv").waiting == 1
    desk.today = dt.date(2026, 5, 3)
    result = desk.take_rows([*rows, person(3)], "next.csv")
    assert (result.state, result.created, result.came_due, result.waiting) == ("identical", 1, 1, 0)


def test_a_future_move_waits_and_a_past_one_applies(make_desk: MakeDesk) -> None:
    """By a column that says from when on a row holds."""
    desk = make_desk(FeedSettings(columns={"effective": "hire_date"}, trust=LENIENT))
    desk.today = dt.date(2026, 5, 1)
    desk.take_rows([person(1, unit="A"), person(2, unit="A")])
    rows = [person(1, unit="B", start="2026-06-01"), person(2, unit="B", start="2026-04-01")]
    result = desk.take_rows(rows)
    assert (result.updated, result.waiting, result.missing) == (1, 1, 0)
    assert {key: job.organisation for key, job in jobs_of(desk).items()} == {"E1": "A", "E2": "B"}
    assert jobs_of(desk, dt.date(2026, 6, 1))["E1"].organisation == "B"


def test_a_person_may_have_several_jobs(make_desk: MakeDesk) -> None:
    """Each a row of its own; the primary one speaks for the person; a job that ended is gone."""
    desk = make_desk(FeedSettings(columns={"job": "job_title", "title": "department_code", "end": "hire_date"}))
    desk.take_rows(
        [
            person(1, title="J1", unit="Nurse", start=""),
            person(1, title="J2", unit="Tutor", start=""),
            person(1, title="J3", unit="Clerk", start="2020-01-01"),
        ]
    )
    found = workforce_of(desk)
    assert keys(found) == {"E1"}
    assert [(job.key, job.title) for job in found.assignments] == [("E1/J1", "Nurse"), ("E1/J2", "Tutor")]
    assert sum(job.primary for job in found.assignments) == 1


def test_somebody_whose_every_job_has_ended_counts_as_terminated(make_desk: MakeDesk) -> None:
    """The last working day is still a working day."""
    desk = make_desk(FeedSettings(columns={"end": "hire_date"}))
    desk.take_rows([person(1, start="2026-12-30"), person(2, start="2026-12-31")])
    assert {one.key: one.status for one in workforce_of(desk).people} == {
        "E1": PersonStatus.TERMINATED,
        "E2": PersonStatus.ACTIVE,
    }


def test_a_delta_changes_only_whom_it_names(make_desk: MakeDesk) -> None:
    """Add, change, delete; nobody is missing from a delta."""
    columns = {"action": "department_code"}
    desk = make_desk(FeedSettings(snapshot="delta", columns=columns, trust=LENIENT))
    desk.take_rows([person(n, unit="add") for n in range(1, 5)])
    result = desk.take_rows(
        [
            person(1, unit="update", title="Doctor"),
            ["E2", "", "", "", "", "delete", "", ""],
            person(9, unit="add"),
            ["E77", "", "", "", "", "delete", "", ""],
        ]
    )
    assert (result.updated, result.created, result.rejected, result.missing) == (2, 1, 1, 0)
    found = {one.key: one for one in workforce_of(desk).people}
    assert found["E2"].status is PersonStatus.TERMINATED
    assert found["E2"].last_name == "N2", "what a deletion does not say stays"
    assert len(found) == 5


def test_moving_to_another_feed_is_not_leaving(make_desk: MakeDesk) -> None:
    """While the first feed lists somebody, the second one's row is held; then it takes over."""
    settings = FeedSettings(trust=LENIENT)
    first = make_desk(settings, name="hr", others=("contractors",))
    second = make_desk(settings, first.store, name="contractors", others=("hr",))
    first.take_rows([person(1), person(2)])
    assert second.take_rows([person(2, title="Adviser")], "b.csv").held == 1
    first.take_rows([person(1)], "c.csv")
    assert second.take_rows([person(2, title="Adviser"), person(3)], "d.csv").held == 0
    first.take_rows([person(1), person(4)], "e.csv")
    found = workforce(first.store, ["hr", "contractors"], first.today)
    assert found.absent == frozenset()
    assert {job.person: job.title for job in found.assignments}["E2"] == "Adviser"


def test_a_quarantined_feed_stops_what_would_be_pushed(desk: Desk) -> None:
    """The message says how to go on."""
    desk.take_rows([person(n) for n in range(30)])
    desk.take_bytes(b"")
    with pytest.raises(FeedQuarantined, match="feed release hr"):
        workforce_of(desk)


def test_a_release_needs_something_to_decide_and_a_reason(desk: Desk) -> None:
    """Neither an open feed nor an empty reason will do."""
    desk.take_rows([person(1)])
    with pytest.raises(FixConfiguration, match="Nothing of the feed"):
        desk.release()
    desk.take_bytes(b"")
    with pytest.raises(FixConfiguration, match="no row that could be accepted"):
        desk.release()
    assert desk.release(discard=True).state == "discarded"


def test_titles_without_a_position_wait_in_a_queue(make_desk: MakeDesk) -> None:
    """By exact title, by decision, else unmapped; the person is there either way."""
    finder = PositionFinder(
        [Position("P1", "Registered  Nurses"), Position("P2", "Doctor")],
        ListedDecisions([("Ward nurse", "OPS", "P1"), ("Medic", "A", "P1"), ("Medic", "B", "P2")]),
    )
    desk = make_desk(finder=finder)
    titles = ["registered nurses", "Ward Nurse", "Medic", "Wizard", "Wizard"]
    result = desk.take_rows([person(n, title=title, unit="OPS") for n, title in enumerate(titles)])
    assert result.unmapped == 3
    with desk.store.read() as connection:
        queue = [(one.title, one.unit, one.people) for one in feeds.unmapped_titles(connection, "hr")]
    assert queue == [("Wizard", "OPS", 2), ("Medic", "OPS", 1)]
    found = workforce(desk.store, ["hr"], desk.today, {"hr": finder})
    assert [job.position for job in found.assignments] == ["P1", "P1", None, None, None]


def test_units_may_be_built_from_the_feed(make_desk: MakeDesk) -> None:
    """Parents first; a circle is cut; a parent nobody describes is a unit too."""
    settings = FeedSettings(columns={"unit_name": "job_title", "unit_parent": "hire_date"}, ignore=("start",))
    desk = make_desk(settings)
    units: Sequence[tuple[str, str, str]] = [("B", "Beta", "A"), ("A", "Alpha", "TOP"), ("C", "", "C")]
    desk.take_rows([person(n, unit=key, title=name, start=up) for n, (key, name, up) in enumerate(units)])
    found = [(one.key, one.name, one.parent) for one in feed_organisations(desk.store, ["hr"])]
    assert found == [("TOP", "TOP", None), ("A", "Alpha", "TOP"), ("B", "Beta", "A"), ("C", "C", None)]


def test_a_feed_that_another_program_works_on_is_left_alone(desk: Desk) -> None:
    """One at a time, by a lease."""
    from bridge.sync.clock import Clock
    from bridge.sync.lease import SiteBusy, holding

    path = desk.folder / "people.csv"
    path.write_text("employee_id,first_name,last_name,email\n", "utf-8")
    with (
        holding(desk.store, "feed:hr", "ingest", Clock(), seconds=60),
        pytest.raises(SiteBusy),
    ):
        ingest(desk.store, FeedContext("hr", FeedSettings()), Incoming.of_path(path), desk.today)


def workforce_of(desk: Desk, day: dt.date | None = None) -> Workforce:
    """Return the workforce of a day; without one, of the desk's today."""
    return workforce(desk.store, [desk.context.name], day or desk.today)


def jobs_of(desk: Desk, day: dt.date | None = None) -> dict[str, JobAssignment]:
    """Return jobs by person."""
    return {job.person: job for job in workforce_of(desk, day).assignments}


def keys(found: Workforce) -> set[str]:
    """Return the keys of people."""
    return {one.key for one in found.people}


def test_a_name_that_lost_letters_is_kept_until_somebody_says_that_it_is_the_new_one(make_desk: MakeDesk) -> None:
    """By default the known name stays, with a remark; with the setting, for one run, the file's is taken."""
    desk = make_desk()
    desk.take_rows([person(1, last="Şahin"), *(person(n) for n in range(2, 12))])
    arrived = [person(1, last="ahin"), *(person(n) for n in range(2, 12))]
    assert desk.take_rows(arrived, "second.csv").updated == 0
    assert desk.roster()["E1"].row.last_name == "Şahin"
    assert [(one.fault.rule, one.refused) for one in desk.rejections()] == [("letters-lost", False)]
    desk.context = replace(desk.context, settings=FeedSettings(names_may_lose_letters=True))
    assert desk.take_rows(arrived, "second.csv").updated == 1
    assert desk.roster()["E1"].row.last_name == "ahin"
    assert desk.rejections() == []


def test_deltas_come_as_workbooks_too(make_desk: MakeDesk, tmp_path: Path) -> None:
    """A sheet with an action column, in words that a value map translates."""
    columns = {"action": ColumnRule.model_validate({"from": "What", "map": {"Abgang": "delete", "Neu": "add"}})}
    desk = make_desk(FeedSettings(snapshot="delta", columns=columns))
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["What", "Employee No.", "Given name", "Family name", "E-mail"])
    sheet.append(["Neu", "E1", "Ana", "Kaur", "a@x.example"])
    sheet.append(["Neu", "E2", "Bo", "Ek", "b@x.example"])
    book.save(tmp_path / "1.xlsx")
    sheet.delete_rows(2, 2)
    sheet.append(["Abgang", "E1", None, None, None])
    sheet.append(["Abgang", "E9", None, None, None])
    book.save(tmp_path / "2.xlsx")
    assert desk.take(tmp_path / "1.xlsx").created == 2
    result = desk.take(tmp_path / "2.xlsx")
    assert (result.updated, result.terminated, result.rejected) == (1, 1, 1)
    assert desk.roster()["E1"].row.status == "terminated"
    assert [one.fault.rule for one in desk.rejections()] == ["delete-unknown"]
