"""Whatever two feeds say, one night after the other, the site ends as the second says, and nobody is deleted."""

from __future__ import annotations

import csv
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from bridge.feed_settings import FeedSettings, TrustSettings
from bridge.model import Architecture, Desired, Organisation, PersonStatus, Position
from bridge.store.roster import Listed, listed
from bridge.sync.clock import Clock
from bridge.sync.plan import Scope
from bridge.sync.policy import Limit, Limits, Touch
from bridge.sync.push import PushReport, push
from bridge.sync.running import Rules
from jobs.ingest import FeedContext, Incoming, IngestResult, ingest
from jobs.workforce import workforce
from mappings.positions import PositionFinder
from tests.integration.moodle_people.northwind import AS_OF
from tests.integration.moodle_people.site import PEOPLE, Place, place

HEADERS = ("employee_id", "first_name", "last_name", "email", "job_title", "department_code", "manager_id", "status")
UNITS = (Organisation("OPS", "Operations"), Organisation("MED", "Medicine", "OPS"))
POSITIONS = (Position("N", "Nurse", "F", "1"), Position("D", "Doctor", "F", "2"))
STRUCTURE = Architecture(organisations=UNITS, positions=POSITIONS, given=frozenset({"organisations", "positions"}))
FINDERS = {"hr": PositionFinder(POSITIONS)}
EVERYTHING_BELIEVED = TrustSettings(
    minimum_rows=0, maximum_rejected=100, maximum_drop=100, minimum_in_common=0, small=0, required=()
)
CONTEXT = FeedContext("hr", FeedSettings(trust=EVERYTHING_BELIEVED), units=frozenset({"OPS", "MED"}))

_WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
_NUMBERS = st.integers(1, 7).map(lambda n: f"E{n}")
_ROWS = st.lists(
    st.tuples(
        st.one_of(_NUMBERS, _NUMBERS, _NUMBERS, _WORDS),
        st.one_of(st.sampled_from(("Ana", "Bo")), _WORDS),
        st.one_of(st.sampled_from(("Kaur", "Ek")), _WORDS),
        st.integers(1, 9).map(lambda n: f"p{n}@x.example"),
        st.one_of(st.sampled_from(("Nurse", "Doctor")), _WORDS),
        st.sampled_from(("", "OPS", "MED", "NONE")),
        st.one_of(st.just(""), _NUMBERS),
        st.sampled_from(("active", "active", "on leave", "terminated", "?")),
    ),
    max_size=7,
    unique_by=lambda row: row[0],
)
Rows = Sequence[tuple[str, ...]]

_FRESH = itertools.count()

ANOTHER = ("E99", "Zoë", "Zed", "zed@x.example", "Nurse", "OPS", "", "active")
"""Somebody further, who makes a third file another one than the second."""

ANYTHING = {f"{kind}.{touch.value}": Limit(1000, 100, 1000) for kind in PEOPLE for touch in Touch}


class Company:
    """One company at one site, night after night."""

    def __init__(self, here: Place) -> None:
        self.here = here

    def roll(self) -> dict[str, Listed]:
        """Return the rows of the roster by person."""
        with self.here.store.read() as connection:
            return {one.row.person: one for one in listed(connection, ["hr"])}

    def night(self, rows: Rows, file: str) -> IngestResult:
        """Take a file in."""
        path = self.here.folder / file
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(HEADERS)
            writer.writerows(rows)
        return ingest(self.here.store, CONTEXT, Incoming.of_path(path), AS_OF)

    def wanted(self) -> Desired:
        """Return what the site should say."""
        return Desired(STRUCTURE, workforce(self.here.store, ["hr"], AS_OF, FINDERS))

    def push(self) -> PushReport:
        """Push people, with limits out of the way: how much may change is another matter."""
        here = self.here
        here.moodle.requests.reset()
        rules = Rules(limits=Limits(ANYTHING), scope=Scope(PEOPLE))
        return push("here", here.connector(), here.store, self.wanted(), rules, Clock())

    def accounts(self) -> dict[str, dict[str, Any]]:
        """Return the site's accounts by ID number."""
        users = self.here.moodle.db.users
        return {row["idnumber"]: dict(row) for row in users if row["idnumber"] and not row["deleted"]}


PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: each example starts a site of its own, and a failing one is small as it is."""


@settings(max_examples=12, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=_ROWS, second=_ROWS)
def test_after_any_two_feeds_the_site_is_as_the_second_says(
    sqlite_template: Path, tmp_path: Path, first: Rows, second: Rows
) -> None:
    """A second push writes nothing; who is in the second file is as it says; others keep their account as it was
    until a further file lacks them too, and then are suspended; nobody is deleted."""
    folder = tmp_path / str(next(_FRESH))
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "state.sqlite")
    two_feeds(folder, first, second)


@pytest.mark.sweep
@pytest.mark.timeout(7200)
@settings(max_examples=400, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=_ROWS, second=_ROWS)
def test_after_any_two_feeds_the_site_is_as_the_second_says_at_length(
    sqlite_template: Path, tmp_path: Path, first: Rows, second: Rows
) -> None:
    """The same, four hundred times."""
    folder = tmp_path / str(next(_FRESH))
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "state.sqlite")
    two_feeds(folder, first, second)


def two_feeds(folder: Path, first: Rows, second: Rows) -> None:
    """Take two files in, one night after the other, then a third like the second, and check the site after each."""
    with place(folder) as here:
        company = Company(here)
        assume(company.night(first, "first.csv").state == "accepted")
        pushed_twice(company)
        before = company.accounts()
        assume(company.night(second, "second.csv").state == "accepted")
        as_said(company, pushed_twice(company))
        missed = {person for person, one in company.roll().items() if one.missed}
        for person in missed & before.keys():
            assert company.accounts()[person] == before[person], f"{person} was merely missing from one file"
        assume(company.night([*second, ANOTHER], "third.csv").state == "accepted")
        pushed_twice(company)
        after = company.accounts()
        assert before.keys() <= after.keys(), "nobody is deleted"
        assert all(after[person]["id"] == before[person]["id"] for person in before), "everybody keeps their account"
        for person, one in company.roll().items():
            if one.absent and person in after:
                assert after[person]["suspended"]
        here.store.close()


def pushed_twice(company: Company) -> PushReport:
    """Push, and check that pushing again writes nothing; return what the first push had to say."""
    report = company.push()
    assert report.state == "done", report.message
    again = company.push()
    assert (again.plan.changes, company.here.writes()) == ([], 0)
    return report


def as_said(company: Company, report: PushReport) -> None:
    """Check that everybody whom the feed describes is at the site as it says, or named with the reason why not."""
    accounts, members = company.accounts(), company.here.memberships()
    staff = company.wanted().workforce
    assert staff is not None
    jobs = {job.person: job for job in staff.assignments}
    for person in staff.people:
        if person.status is PersonStatus.TERMINATED:
            assert accounts.get(person.key, {"suspended": True})["suspended"]
            continue
        account = accounts.get(person.key)
        if account is None:  # a user name that is none, or is somebody else's
            assert person.key in {remark.key for remark in report.plan.remarks}
            continue
        assert not account["suspended"]
        assert account["email"] == person.email
        job = jobs[person.key]
        units = {f"org:{job.organisation}"} if job.organisation else set()
        held = {cohort for key, cohort in members if key == person.key}
        assert {cohort for cohort in held if cohort.startswith("org:")} == units
        if job.position:
            assert f"pos:{job.position}" in held
