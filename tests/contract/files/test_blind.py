"""A site of kind files that shows nothing: handed over, taken or not, removals on trust only, killed anywhere."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.model import Architecture, Desired, JobAssignment, Person, PersonStatus, Workforce
from bridge.ports import RetryLater, SafetyLimit, Status, StopRun
from bridge.store import Store, journal
from bridge.sync.clock import Clock
from bridge.sync.plan import ChangePlan
from bridge.sync.policy import Limits
from bridge.sync.push import PushReport, preview, push
from bridge.sync.running import Rules
from connectors.files.connector import FilesConnector
from connectors.files.options import FilesOptions, TakenWhen
from connectors.files.spool import SpoolRow
from connectors.files.writing import refusal, write_rows
from connectors.handover import FolderPlace, Lying, Place
from tests.contract.conformance import company
from tests.contract.csv_lms import CsvLms
from tests.contract.files.test_conformance import COLUMNS, template
from tests.databases import address

PEOPLE = {
    "Employee": "{key}",
    "Name": "{last_name}, {first_name}",
    "Mail": "{email}",
    "Grade": "{grade}",
    "On": "{active:Y/N}",
}
JOBS = {"Job": "{key}", "Who": "{person}", "Boss": "{manager_job}", "From": "{start:%d.%m.%Y}", "To": "{end}"}
INITIAL = Rules(limits=Limits(initial=True))


class Killed(BaseException):
    """Stands for the end of the process."""


class FragilePlace:
    """A place at which the process dies, or the line breaks, before or after its n-th touch."""

    def __init__(self, place: Place, at: int, error: BaseException, *, after: bool) -> None:
        self._place, self._left, self._error, self._after = place, at, error, after

    def _touch(self, work: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise self._error
        result = work()
        if self._left == 0:
            raise self._error
        return result

    @property
    def broke(self) -> bool:
        """Whether it came to that."""
        return self._left <= 0

    def files(self) -> dict[str, Lying]:
        """List, if it lasts."""
        found: dict[str, Lying] = self._touch(self._place.files)
        return found

    def put(self, source: Path, name: str) -> None:
        """Put, if it lasts."""
        self._touch(lambda: self._place.put(source, name))

    def rename(self, old: str, new: str) -> None:
        """Rename, if it lasts."""
        self._touch(lambda: self._place.rename(old, new))

    def remove(self, name: str) -> None:
        """Remove, if it lasts."""
        self._touch(lambda: self._place.remove(name))

    def note(self, name: str) -> str:
        """Read, if it lasts."""
        found: str = self._touch(lambda: self._place.note(name))
        return found

    def close(self) -> None:
        """Nothing to close."""


@dataclass
class Blind:
    """A site, its store, and a clock turned by hand."""

    lms: CsvLms
    options: FilesOptions
    store: Store
    now: float = 1_790_000_000.0
    place: Place | None = None
    model: Architecture = field(default_factory=company.architecture)
    workforce: Workforce | None = None

    def _port(self) -> FilesConnector:
        return FilesConnector(self.options, self.place or FolderPlace(self.lms.inbox, ""), clock=lambda: self.now)

    def push(self, rules: Rules = INITIAL) -> PushReport:
        """Push what is desired now."""
        clock = Clock(lambda: self.now, lambda _seconds: None)
        return push("here", self._port(), self.store, Desired(self.model, self.workforce), rules, clock)

    def plan(self, rules: Rules = INITIAL) -> ChangePlan:
        """Plan without writing."""
        clock = Clock(lambda: self.now, lambda _seconds: None)
        return preview("here", self._port(), self.store, Desired(self.model, self.workforce), rules, clock)

    def night(self) -> None:
        """Let the LMS take what lies there."""
        self.now += 8 * 3600
        self.lms.run(self.now)


@pytest.fixture
def here(tmp_path: Path) -> Blind:
    """A site with files for competencies and positions, taken when they are gone."""
    options = FilesOptions(
        tmp_path / "spool",
        (
            template("competency", "competencies.csv", COLUMNS["competency"]),
            template("position", "positions.csv", COLUMNS["position"]),
        ),
    )
    return Blind(CsvLms(tmp_path), options, Store.open(address(tmp_path / "state.sqlite")))


def test_what_was_handed_over_counts_once_it_was_taken_and_goes_only_once(here: Blind) -> None:
    """Pending until the file is gone; then applied, as far as anybody can tell; and nothing is sent again."""
    assert here.push().state == "pending"
    assert sorted(path.name for path in here.lms.inbox.iterdir()) == ["competencies.csv", "positions.csv"]
    here.night()
    assert here.push().state == "done"
    assert here.lms.tables["positions"]["N1"] == {"Code": "N1", "Title": "Nurse (Nursing)", "Active": "1"}
    assert here.plan().changes == []
    assert here.push().state == "done"
    assert (list(here.lms.inbox.iterdir()), len(here.lms.taken)) == ([], 2)


def test_the_plan_says_that_nobody_can_look(here: Blind) -> None:
    """Drift is not checkable, and kinds without a file are named."""
    said = [remark.says for remark in here.plan().remarks]
    assert any("not checkable" in says for says in said)
    assert any("3 requirements are not sent" in says for says in said)


def test_removals_wait_until_somebody_has_looked(here: Blind) -> None:
    """Without --unverified a removal waits; with it the row says that it goes."""
    here.push()
    here.night()
    here.model = company.without(here.model, "LEAD/L2")
    assert here.push().state == "done"
    assert list(here.lms.inbox.iterdir()) == []
    assert any("--unverified" in remark.says for remark in here.plan().remarks)
    assert here.push(replace(INITIAL, unverified=True)).state == "pending"
    here.night()
    here.push()
    assert here.lms.tables["competencies"]["LEAD/L2"]["Active"] == "no"
    assert here.plan(replace(INITIAL, unverified=True)).changes == []


def test_a_file_not_taken_is_taken_back_and_goes_together_with_the_next(here: Blind) -> None:
    """One file in the folder, with both changes, each object once, the younger row winning."""
    here.push()
    here.model = company.renamed(here.model, "CARE/A1", "Washes hands well")
    here.now += 3 * 86400
    here.push()
    text = (here.lms.inbox / "competencies.csv").read_text(encoding="utf-8")
    assert text.count("\nCARE/A1,") == 1
    assert "Washes hands well" in text
    here.night()
    assert here.push().state == "done"
    assert here.lms.tables["competencies"]["CARE/A1"]["name"] == "Washes hands well"
    assert here.plan().changes == []


def test_somebody_elses_file_is_not_written_over(here: Blind) -> None:
    """Ours waits beside it under a name that no LMS reads, or not there at all."""
    (here.lms.inbox / "positions.csv").write_text("theirs", encoding="utf-8")
    here.push()
    assert (here.lms.inbox / "positions.csv").read_text(encoding="utf-8") == "theirs"
    (here.lms.inbox / "positions.csv").unlink()
    here.push()
    assert "Nurse" in (here.lms.inbox / "positions.csv").read_text(encoding="utf-8")


def test_a_receipt_of_failure_is_told_in_the_words_of_the_lms_and_the_rows_go_again(here: Blind) -> None:
    """Refused with what the LMS wrote; the next push plans the same again."""
    here.options = replace(here.options, taken_when=TakenWhen.RECEIPT)
    here.lms.receipts = True
    here.push()
    here.lms.fails = "Line 3: there is no such framework"
    here.night()
    here.lms.fails = ""
    here.push()
    with here.store.read() as connection:
        told = list(journal.entries(connection, 1, [Status.REFUSED.value]))
    assert len(told) == len(company.COMPETENCIES) + 2
    assert all("no such framework" in entry.why for entry in told)
    here.night()
    here.push()
    assert set(here.lms.tables["positions"]) == {"N1", "N2"}
    assert here.plan().changes == []


def test_where_nobody_tells_anything_files_are_stamped_and_count_as_handed_over(here: Blind) -> None:
    """Applied at once, each file under a name of its own."""
    files = tuple(replace(one, name=one.name.replace(".csv", "-{stamp}.csv")) for one in here.options.files)
    here.options = replace(here.options, taken_when=TakenWhen.HANDED_OVER, files=files)
    assert here.push().state == "done"
    here.now += 60
    here.model = company.renamed(here.model, "CARE/A1", "Washes hands well")
    assert here.push().state == "done"
    assert len(list(here.lms.inbox.iterdir())) == 3
    assert here.plan().changes == []


def test_in_waves_a_kind_waits_for_those_before_it(here: Blind) -> None:
    """Positions are handed over when competencies were taken."""
    here.options = replace(here.options, waves=True)
    here.push()
    assert [path.name for path in here.lms.inbox.iterdir()] == ["competencies.csv"]
    here.night()
    here.push()
    assert [path.name for path in here.lms.inbox.iterdir()] == ["positions.csv"]


def test_a_folder_that_is_not_there_stops_the_run_and_nothing_is_lost(here: Blind) -> None:
    """Told in a sentence; once the folder is there the next run hands over what was written down."""
    away = here.lms.inbox.with_name("away")
    here.lms.inbox.rename(away)
    report = here.push()
    assert report.state == "stopped"
    assert "cannot be read" in report.message
    away.rename(here.lms.inbox)
    here.push()
    here.night()
    assert here.push().state == "done"
    assert len(here.lms.tables["competencies"]) == len(company.COMPETENCIES)
    assert here.plan().changes == []


def test_a_file_of_everything_lists_what_stays_and_leaves_out_what_goes(here: Blind) -> None:
    """Each file is whole, also while the last one lies there; what is gone is in none."""
    columns = {"ID": "{key}", "name": "{name}", "Under": "{parent}"}
    file = replace(template("competency", "competencies.csv", columns), everything=True)
    here.options = replace(here.options, files=(file,))

    def listed() -> dict[str, str]:
        text = (here.lms.inbox / "competencies.csv").read_text(encoding="utf-8")
        return {row["ID"]: row["name"] for row in csv.DictReader(io.StringIO(text, newline=""))}

    here.push()
    assert len(listed()) == len(company.COMPETENCIES)
    here.night()
    here.push()
    unverified = replace(INITIAL, unverified=True)
    here.model = company.without(here.model, "LEAD/L2")
    here.push(unverified)
    assert set(listed()) == {one.key for one in company.COMPETENCIES} - {"LEAD/L2"}
    here.model = company.renamed(here.model, "CARE/A1", "Scrubs")
    here.now += 3 * 86400
    here.push(unverified)
    assert set(listed()) == {one.key for one in company.COMPETENCIES} - {"LEAD/L2"}
    assert listed()["CARE/A1"] == "Scrubs"
    here.night()
    assert here.push(unverified).state == "done"
    assert here.plan(unverified).changes == []


def test_a_file_of_everything_is_not_sent_where_it_is_not_known_what_the_last_one_listed(
    here: Blind, tmp_path: Path
) -> None:
    """With our own folder lost, a new file would take away whatever did not change: nothing is sent."""
    file = replace(template("competency", "competencies.csv", {"ID": "{key}", "name": "{name}"}), everything=True)
    here.options = replace(here.options, files=(file,))
    here.push()
    here.night()
    here.push()
    here.options = replace(here.options, spool=tmp_path / "another")
    here.model = company.with_more(here.model, company.competency("CARE", "C", "Nutrition"))
    report = here.push()
    assert report.state == "failed"
    assert "would take 10 competencies away" in report.tally.refused[0].why
    assert list(here.lms.inbox.iterdir()) == []


def _cut(folder: Path, options: FilesOptions, at: int, error: BaseException, *, after: bool) -> bool:
    """Two pushes that end at one touch of the folder, then nights of peace; whether they got to that touch."""
    folder.mkdir()
    receipts = options.taken_when is TakenWhen.RECEIPT
    one = Blind(
        CsvLms(folder, receipts=receipts),
        replace(options, spool=folder / "spool"),
        Store.open(address(folder / "state.sqlite")),
    )
    one.place = fragile = FragilePlace(FolderPlace(one.lms.inbox, ""), at, error, after=after)
    renamed = company.renamed(one.model, "CARE/A1", "Washes hands well")
    with contextlib.suppress(Killed, RetryLater, StopRun):
        one.push()
        one.model = renamed
        one.push()
    one.place, one.model = None, renamed
    # The lease of the dead run has to run out, and a push that was never answered its deadline.
    for _ in range(3):
        one.now += 3 * 86400
        one.push()
        one.night()
    one.push()
    assert one.plan().changes == []
    assert one.lms.tables["competencies"]["CARE/A1"]["name"] == "Washes hands well"
    assert len(one.lms.tables["competencies"]) == len(company.COMPETENCIES)
    assert not [path for path in one.lms.inbox.iterdir() if path.suffix == ".part"]
    return fragile.broke


_ERRORS = {"killed": Killed(), "line": RetryLater("the line is down")}
_WAYS = [(when, how, after) for when in ("gone", "receipt") for how in _ERRORS for after in (False, True)]


@pytest.mark.parametrize(("at", "way"), [(2, 0), (4, 5), (7, 2), (11, 7), (16, 1), (21, 6)])
def test_cut_off_at_a_touch_it_ends_in_the_same_state(tmp_path: Path, here: Blind, at: int, way: int) -> None:
    """Before or after a touch of the folder, killed or cut off, in a first push and in one that takes a file back."""
    when, how, after = _WAYS[way]
    assert _cut(tmp_path / "cut", replace(here.options, taken_when=TakenWhen(when)), at, _ERRORS[how], after=after)


@pytest.mark.sweep
@pytest.mark.parametrize(("when", "how", "after"), _WAYS)
def test_cut_off_at_every_touch_it_ends_in_the_same_state(
    tmp_path: Path, here: Blind, when: str, how: str, after: bool
) -> None:
    """The same at each touch there is."""
    options = replace(here.options, taken_when=TakenWhen(when))
    at = 1
    while _cut(tmp_path / str(at), options, at, _ERRORS[how], after=after):
        at += 1
    assert at > 20


# -- people ----------------------------------------------------------------------------------------------------------


def _person(key: str, status: PersonStatus = PersonStatus.ACTIVE, **more: Any) -> Person:
    return Person(key, more.get("first", "Ann"), "Lee", f"{key}@example.org", status, extra=(("grade", "7"),))


def test_people_and_jobs_are_written_by_template_and_leavers_are_switched_off(here: Blind) -> None:
    """Columns put together, dates in the LMS's form, further columns of the feed; nobody is ever deleted."""
    files = (template("person", "people.csv", PEOPLE), template("job", "jobs.csv", JOBS))
    here.options = replace(here.options, files=files)
    here.lms.tables["jobs"] = {}
    start = dt.date(2024, 2, 1)
    jobs = (
        JobAssignment("J1", "P1", start=start),
        JobAssignment("J2", "P2", start=start, manager="P1"),
    )
    here.workforce = Workforce(dt.date(2026, 11, 26), (_person("P1"), _person("P2")), jobs)
    here.push()
    people = (here.lms.inbox / "people.csv").read_text(encoding="utf-8").splitlines()
    assert people == [
        "Employee,Name,Mail,Grade,On",
        'P1,"Lee, Ann",P1@example.org,7,Y',
        'P2,"Lee, Ann",P2@example.org,7,Y',
    ]
    assert (here.lms.inbox / "jobs.csv").read_text(encoding="utf-8").splitlines()[1:] == [
        "J1,P1,,01.02.2024,",
        "J2,P2,J1,01.02.2024,",
    ]
    (here.lms.inbox / "jobs.csv").unlink()
    here.night()
    here.push()
    leaver = _person("P2", PersonStatus.TERMINATED)
    here.workforce = Workforce(dt.date(2026, 11, 27), (leaver,), jobs, frozenset({"P1", "NEVER-HERE"}))
    here.push()
    people = (here.lms.inbox / "people.csv").read_text(encoding="utf-8").splitlines()
    assert sorted(people[1:]) == ['P1,"Lee, Ann",P1@example.org,7,N', 'P2,"Lee, Ann",P2@example.org,7,N']
    assert (here.lms.inbox / "jobs.csv").read_text(encoding="utf-8").splitlines()[1:] == [
        "J2,P2,J1,01.02.2024,2026-11-27"
    ]


def test_leavers_count_as_removals_in_the_limits(here: Blind) -> None:
    """More people switched off than the limits allow stop the run before anything is written."""
    here.options = replace(here.options, files=(template("person", "people.csv", PEOPLE),))
    keys = [f"P{number}" for number in range(40)]
    here.workforce = Workforce(dt.date(2026, 11, 26), tuple(_person(key) for key in keys))
    here.push()
    here.night()
    here.push()
    gone = tuple(_person(key, PersonStatus.TERMINATED) for key in keys)
    here.workforce = Workforce(dt.date(2026, 11, 27), gone)
    with pytest.raises(SafetyLimit, match="remove people"):
        here.push()
    assert list(here.lms.inbox.iterdir()) == []


# -- writing ---------------------------------------------------------------------------------------------------------

NASTY = st.text(max_size=40) | st.sampled_from(
    [
        '=HYPERLINK("http://x")',
        "\\",
        'a\\"',
        "-1+1",
        "<b>x</b>",
        "x" * 400,
        "\N{PILE OF POO}",
        "שלום עולם",
        "a\r\nb",
        "\ufeff",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(NASTY, NASTY), max_size=6), st.sampled_from([",", ";", "\t"]), st.booleans(), st.booleans())
def test_every_cell_arrives_as_it_is_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
    cells: list[tuple[str, str]],
    delimiter: str,
    quote_all: bool,
    backslash: bool,
) -> None:
    """What a CSV reader gets is what was to be written, row by row; a refused row is not in the file."""
    folder = tmp_path_factory.mktemp("written")
    options = FilesOptions(folder, delimiter=delimiter, quote_all=quote_all, backslash_escapes=backslash)
    file = template("competency", "c.csv", {"ID": "{key}", "Name": "{name}", "Text": "{description}"})
    rows = [SpoolRow(f"K{n}", [], {"ID": f"K{n}", "Name": a, "Text": b}) for n, (a, b) in enumerate(cells)]
    sent = [row for row in rows if not refusal(file, options, row.cells)]
    write_rows(folder / "c.csv", file, options, sent)
    text = (folder / "c.csv").read_bytes().decode("utf-8")
    read = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    assert read == [row.cells for row in sent]
    unfit = [row for row in rows if row not in sent]
    assert all(
        backslash or any(char == "\0" or "\ud800" <= char <= "\udfff" for char in "".join(row.cells.values()))
        for row in unfit
    )


def test_a_cell_longer_than_allowed_or_outside_the_encoding_is_refused_with_its_column(here: Blind) -> None:
    """The sentence names the column and what to do."""
    file = template("competency", "c.csv", {"ID": "{key}", "Name": "{name}"})
    short = replace(file, columns=(file.columns[0], replace(file.columns[1], longest=5)))
    assert "Name 'too long'" in refusal(short, here.options, {"ID": "K", "Name": "too long"})
    latin = replace(here.options, encoding="latin-1")
    assert "use UTF-8" in refusal(file, latin, {"ID": "K", "Name": "Łódź"})
    assert "a key must not" in refusal(file, here.options, {"ID": " K", "Name": ""})
