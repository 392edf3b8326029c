"""The review workbook goes out and comes back; every mishandled cell is named and nothing is half recorded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from openpyxl import load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from bridge.ports import FixConfiguration
from bridge.store import Store
from jobs.title_log import StoredLog
from jobs.titles import apply
from jobs.titles_workbook import write_review
from mappings.titles.catalogue import Catalogue, Position
from mappings.titles.decisions import Verdict, answers, standing
from mappings.titles.legacy import LegacyGroup, read_legacy
from mappings.titles.review import COLUMNS
from mappings.titles.suggest import Suggester
from tests.databases import address

NOW = dt.datetime(2026, 11, 1, 9, 0, tzinfo=dt.UTC)
CATALOGUE = Catalogue(
    (Position("A", "Cook", "F"), Position("B", "Chef", "F"), Position("C", "Clerk", "G"), Position("D", "Driver", "H"))
)
GROUPS = (
    LegacyGroup("Cook", "Kitchen", "7", 5),
    LegacyGroup("=cmd|' /C calc'!A0", "Office", "", 4),
    LegacyGroup("Clerk II", "Office", "", 3),
    LegacyGroup("Van Driver", "Depot", "", 2),
)
COLUMN = {heading: number for number, heading in enumerate(COLUMNS, start=1)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of its own."""
    return Store.open(address(tmp_path / "s.sqlite"))


def write(path: Path, store: Store) -> Path:
    """A fresh workbook over the decisions in the store."""
    log = StoredLog(store).all()
    tool = Suggester(GROUPS, CATALOGUE, background=(), semantic=False)
    write_review(path, tool.suggest(answers(log), offer=4), CATALOGUE, log)
    return path


def edit(path: Path, change: Callable[[Worksheet], None]) -> None:
    """Changes the sheet of groups as a person would."""
    book = load_workbook(path)
    change(book["Groups"])
    book.save(path)


def row_of(sheet: Worksheet, title: str) -> int:
    """The row of a title."""
    for row in range(2, sheet.max_row + 1):
        if str(sheet.cell(row, COLUMN["Title"]).value) == title:
            return row
    raise AssertionError(title)


def fill(**cells: dict[str, object]) -> Callable[[Worksheet], None]:
    """Writes values by title and heading; underscores in titles stand for spaces."""

    def change(sheet: Worksheet) -> None:
        for title, values in cells.items():
            row = row_of(sheet, title.replace("_", " "))
            for heading, value in values.items():
                sheet.cell(row, COLUMN[heading.replace("_", " ")]).value = value  # type: ignore[assignment]

    return change


def test_every_kind_of_decision_is_recorded_and_stays_when_suggested_again(tmp_path: Path, store: Store) -> None:
    """Accept, change, split, and a round trip that changes nothing."""
    path = write(tmp_path / "r.xlsx", store)
    edit(
        path,
        fill(
            Cook={"Decision": "split", "Split": "A=3; B=2", "Reason": "two kitchens"},
            Clerk_II={"Decision": "accept"},
            Van_Driver={"Position": "B | Chef", "Effective from": dt.datetime(2027, 1, 1)},  # noqa: DTZ001  cells have no zone
        ),
    )
    done = apply(path, CATALOGUE, store, "Ana", NOW)
    assert (done.recorded, done.undecided, done.problems) == (3, 1, ())
    held = {d.title: d for d in standing(StoredLog(store).all()).values()}
    assert [(p.key, p.people) for p in held["Cook"].placements] == [("A", 3), ("B", 2)]
    assert held["Clerk II"].position == "C"
    assert (held["Van Driver"].position, held["Van Driver"].effective) == ("B", dt.date(2027, 1, 1))
    assert held["Cook"].catalogue == CATALOGUE.version
    again = apply(path, CATALOGUE, store, "Ana", NOW)
    assert (again.recorded, again.unchanged) == (0, 3)
    fresh = apply(write(tmp_path / "r2.xlsx", store), CATALOGUE, store, "Ben", NOW)
    assert (fresh.recorded, fresh.unchanged, fresh.undecided) == (0, 3, 1)


def test_deferring_wanting_excluding_and_clearing(tmp_path: Path, store: Store) -> None:
    """What is no placement is recorded too."""
    path = write(tmp_path / "r.xlsx", store)
    edit(
        path,
        fill(
            Cook={"Decision": "Defer"},
            Clerk_II={"Decision": "new position", "Position": "Registrar"},
            Van_Driver={"Decision": "exclude", "Not these": "D; B"},
        ),
    )
    apply(path, CATALOGUE, store, "Ana", NOW)
    held = {d.title: d for d in standing(StoredLog(store).all()).values()}
    assert held["Cook"].verdict is Verdict.DEFERRED
    assert (held["Clerk II"].verdict, held["Clerk II"].reason) == (Verdict.WANTED, "wanted: Registrar")
    assert held["Van Driver"].excluded == ("D", "B")
    second = write(tmp_path / "r2.xlsx", store)
    edit(second, fill(Cook={"Decision": "clear"}))
    assert apply(second, CATALOGUE, store, "Ana", NOW).recorded == 1
    assert "Cook" not in {d.title for d in standing(StoredLog(store).all()).values()}


def test_a_title_that_looks_like_a_formula_is_text_and_comes_back_as_it_was(tmp_path: Path, store: Store) -> None:
    """It never runs, and its group is still its group."""
    path = write(tmp_path / "r.xlsx", store)
    book = load_workbook(path)
    sheet = book["Groups"]
    row = row_of(sheet, "'=cmd|' /C calc'!A0")
    assert sheet.cell(row, COLUMN["Title"]).data_type == "s"
    sheet.cell(row, COLUMN["Position"]).value = "C"
    book.save(path)
    assert apply(path, CATALOGUE, store, "Ana", NOW).recorded == 1
    assert StoredLog(store).all()[0].title == "=cmd|' /C calc'!A0"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"Decision": "acept"}, "'acept' is no decision"),
        ({"Decision": "change", "Position": "Z9"}, "no position 'Z9'"),
        ({"Decision": "change"}, "no position is named"),
        ({"Decision": "accept", "Position": "B | Chef"}, "the decision says accept"),
        ({"Decision": "split", "Split": "A=3; B=9"}, "the parts hold 12 people, the group 5"),
        ({"Decision": "split", "Split": "A three"}, "is not KEY=PEOPLE"),
        ({"Decision": "split", "Split": "A=5"}, "two positions at least"),
        ({"Decision": "=A1"}, "holds a formula"),
        ({"Decision": "accept", "People": "many"}, "no number of people"),
        ({"Decision": "accept", "Effective from": "soon"}, "'soon' is no date"),
        ({"Decision": "accept", "Group": "g000"}, "the id, the title, the department or the grade was edited"),
        ({"Decision": "accept", "Department": "Elsewhere"}, "was edited"),
    ],
)
def test_a_problem_is_named_by_its_cell_and_nothing_is_recorded(
    cells: dict[str, object], message: str, tmp_path: Path, store: Store
) -> None:
    """Not even the good rows beside it: a workbook is applied whole or not at all."""
    path = write(tmp_path / "r.xlsx", store)
    edit(path, fill(Cook=cells, Van_Driver={"Decision": "accept"}))
    done = apply(path, CATALOGUE, store, "Ana", NOW)
    assert done.recorded == 0
    assert StoredLog(store).all() == []
    row = row_of(load_workbook(path)["Groups"], "Cook")
    assert any(message in p.message and p.cell.endswith(str(row)) for p in done.problems), done.problems
    assert str(done.problems[0]).startswith("Groups!")


def test_deleted_columns_and_merged_cells_are_named(tmp_path: Path, store: Store) -> None:
    """And nothing is recorded from such a sheet."""
    path = write(tmp_path / "r.xlsx", store)

    def spoil(sheet: Worksheet) -> None:
        sheet.merge_cells("M2:M3")
        sheet.delete_cols(COLUMN["Seen"])

    edit(path, spoil)
    done = apply(path, CATALOGUE, store, "Ana", NOW)
    assert [p.cell for p in done.problems] == ["1:1", "M2:M3"]
    assert "'Seen' is missing" in done.problems[0].message


def test_sorted_rows_are_still_their_groups(tmp_path: Path, store: Store) -> None:
    """The id finds them."""
    path = write(tmp_path / "r.xlsx", store)

    def turn(sheet: Worksheet) -> None:
        fill(Van_Driver={"Decision": "accept"})(sheet)
        rows = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)]
        for number, values in enumerate(reversed(rows), start=2):
            for column, value in enumerate(values, start=1):
                cell = sheet.cell(number, column)
                cell.value = value  # type: ignore[assignment]
                if isinstance(value, str):
                    cell.data_type = "s"

    edit(path, turn)
    assert apply(path, CATALOGUE, store, "Ana", NOW).recorded == 1
    assert StoredLog(store).all()[0].title == "Van Driver"


def test_two_reviewers_conflict_visibly(tmp_path: Path, store: Store) -> None:
    """The second one learns who decided what, and may overrule knowingly."""
    first, second = write(tmp_path / "a.xlsx", store), write(tmp_path / "b.xlsx", store)
    edit(first, fill(Cook={"Decision": "change", "Position": "A"}))
    edit(second, fill(Cook={"Decision": "change", "Position": "B"}, Clerk_II={"Decision": "accept"}))
    apply(first, CATALOGUE, store, "Ana", NOW)
    done = apply(second, CATALOGUE, store, "Ben", NOW)
    assert done.recorded == 0
    assert "Ana has meanwhile decided A for 'Cook'" in done.problems[0].message
    assert apply(second, CATALOGUE, store, "Ben", NOW, overrule=True).recorded == 2


def test_one_group_twice_with_two_answers_is_a_problem(tmp_path: Path, store: Store) -> None:
    """Copied rows that agree are fine, others are not."""
    path = write(tmp_path / "r.xlsx", store)

    def copy(sheet: Worksheet) -> None:
        row, new = row_of(sheet, "Cook"), sheet.max_row + 1
        for column in range(1, len(COLUMNS) + 1):
            sheet.cell(new, column).value = sheet.cell(row, column).value
        sheet.cell(row, COLUMN["Position"]).value = "A"
        sheet.cell(new, COLUMN["Position"]).value = "B"

    edit(path, copy)
    done = apply(path, CATALOGUE, store, "Ana", NOW)
    assert "a second time with another answer" in done.problems[0].message


def test_what_is_no_workbook_is_refused_in_a_sentence(tmp_path: Path, store: Store) -> None:
    """Missing, not a workbook, or another workbook."""
    with pytest.raises(FixConfiguration, match="There is no file"):
        apply(tmp_path / "none.xlsx", CATALOGUE, store, "Ana", NOW)
    (tmp_path / "text.xlsx").write_text("hello", encoding="utf-8")
    with pytest.raises(FixConfiguration, match="is no workbook that can be read"):
        apply(tmp_path / "text.xlsx", CATALOGUE, store, "Ana", NOW)
    with pytest.raises(FixConfiguration, match="Who reviewed this"):
        apply(tmp_path / "none.xlsx", CATALOGUE, store, " ", NOW)


def test_an_endless_title_is_still_its_group(tmp_path: Path, store: Store) -> None:
    """Titles are not cut in the sheet, or nothing of it could be applied."""
    rows = [{"title": "Clerk " + "x" * 5000 + "\x01", "headcount": "2"}, {"title": "Cook", "headcount": "1"}]
    groups = read_legacy(rows, ["title", "headcount"]).groups
    tool = Suggester(groups, CATALOGUE, background=(), semantic=False)
    path = tmp_path / "long.xlsx"
    write_review(path, tool.suggest(offer=2), CATALOGUE)
    edit(path, lambda sheet: [setattr(sheet.cell(n, COLUMN["Position"]), "value", "C") for n in (2, 3)])
    assert apply(path, CATALOGUE, store, "Ana", NOW).recorded == 2
    assert sorted(len(decision.title) for decision in StoredLog(store).all()) == [4, 5006]


def test_the_summary_counts_people_by_family_and_band(tmp_path: Path, store: Store) -> None:
    """What is decided and what is not stands beside each family; every person is counted once."""
    path = write(tmp_path / "r.xlsx", store)
    edit(path, fill(Cook={"Decision": "accept"}))
    apply(path, CATALOGUE, store, "Ana", NOW)
    sheet = load_workbook(write(tmp_path / "r2.xlsx", store))["Summary"]
    rows = list(sheet.iter_rows(values_only=True))
    (head,) = [n for n, row in enumerate(rows) if row[0] == "Family of the decision, else of the suggestion"]
    assert rows[head][4:] == ("decided", "auto", "review", "no match")
    families = {row[0]: row[1:] for row in rows[head + 1 :] if row[2] is not None}
    assert families["F"][3] == 5
    assert sum(sum(row[3:7]) for row in families.values()) == 14
