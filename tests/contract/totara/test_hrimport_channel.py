"""The file channel end to end against the simulated site: write, check, hand over, read the log, join."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.ports import FixConfiguration, RetryLater
from connectors.hrimport_rules import HrImportSettings, SiteState, import_element
from connectors.hrimport_rules.php import csv_records
from connectors.hrimport_rules.settings import settings_from_mapping
from connectors.simulators.totara import TotaraSimulator
from connectors.simulators.totara.reports import export_sync_log
from connectors.totara.hrimport.delivery import FolderDrop, deliver, taken, waiting_files
from connectors.totara.hrimport.files import (
    FileWriter,
    date_text,
    file_columns,
    kept_form,
    leaver_columns,
    managers_first,
    parents_first,
    quoted,
    write_file,
)
from connectors.totara.hrimport.outcomes import (
    RowFate,
    SentRow,
    SyncLogRow,
    element_run,
    read_sync_log,
    settle_rows,
)

POSITION = ("fullname", "frameworkidnumber", "parentidnumber")
NASTY = [
    'He said "no"',
    "ends with a backslash\\",
    'backslash \\" quote',
    "two\nlines",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "a, b; c: d| e",
    "a < b & c > d",
    "x" * 255,
    "👩‍🔬 Chemist",
    "مدير الموارد",
    "\u202eright to left",
    "R&D",
]
REFUSED = ["<b>bold</b>", "x" * 400, " leading", "nul\0", "a, b\\", "trailing\n", "R&D <script>"]


@pytest.fixture
def totara(tmp_path: Path) -> TotaraSimulator:
    """A site with one framework of each hierarchy and no wait."""
    site = TotaraSimulator(tmp_path / "files", wait=0.0)
    for element in ("org", "pos", "comp"):
        site.site.define(element, "FW")
    return site


def _row(idnumber: str, name: str, **more: object) -> dict[str, object]:
    return {"idnumber": idnumber, "fullname": name, "frameworkidnumber": "FW", "timemodified": 1700000000, **more}


@pytest.mark.parametrize("delimiter", [",", ";", ":", "\t", "|"])
def test_every_name_arrives_as_it_was_or_is_refused_before_sending(
    totara: TotaraSimulator, tmp_path: Path, delimiter: str
) -> None:
    """Quotes, backslashes, new lines, formulas, HTML, emoji, right-to-left: kept or refused, the file whole."""
    totara.site.configure(pos={"delimiter": delimiter})
    rows = [_row(f"P{number}", name) for number, name in enumerate(NASTY + REFUSED)]
    written = write_file("pos", tmp_path / "pos.csv", rows, totara.site.settings, POSITION)
    deliver({"pos": written.path}, FolderDrop(tmp_path / "files"), "t")
    assert totara.site.run_hr_import() == 0
    held = {
        key: (item.fields or {})["fullname"] for key, item in totara.site.state.hierarchy("pos").by_idnumber.items()
    }
    refused = {row.idnumber for row in written.refused}
    for number, name in enumerate(NASTY + REFUSED):
        key = f"P{number}"
        assert (key in refused) != (key in held)
        assert held.get(key, name) == name
    assert {f"P{number}" for number in range(len(NASTY))} & refused <= {"P1"}
    assert len(refused) >= len(REFUSED) - 1
    assert all("cannot be sent" in row.why for row in written.refused)


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from('ab"\\,\n\r <>&é'), max_size=12), st.sampled_from([",", ";"]))
def test_a_quoted_field_reads_back_as_itself_or_there_is_none(value: str, delimiter: str) -> None:
    """Whatever the text: PHP's reading of the field gives it back, and the row behind it is not swallowed."""
    field = quoted(value, delimiter)
    if field is None:
        return
    text = f"K{delimiter}{field}{delimiter}x\nnext{delimiter}y{delimiter}z\n"
    records = [record.fields for record in csv_records(text.splitlines(keepends=True), delimiter)]
    # A lone carriage return splits lines for Python, not for PHP.
    if "\r" not in value:
        assert records == [["K", value, "x"], ["next", "y", "z"]]


ANY_TEXT = (
    st.text(max_size=30)
    | st.sampled_from(NASTY + REFUSED)
    | st.text(st.sampled_from('ab"\\\\,;\n\r <>&é=@'), max_size=14)
)
TEXTS = {
    "pos": ("fullname", "shortname", "description"),
    "org": ("fullname", "description"),
    "comp": ("fullname", "description"),
    "user": ("firstname", "lastname", "city", "description", "institution"),
    "jobassignment": ("fullname",),
}


def _held_texts(state: SiteState, element: str) -> dict[str, dict[str, str]]:
    if element == "user":
        return {one.idnumber: {k: str(v) for k, v in (one.fields or {}).items()} for one in state.users.values()}
    if element == "jobassignment":
        return {one.idnumber: {"fullname": one.fullname} for one in state.jobs.values()}
    held = state.hierarchy(element).by_idnumber
    return {key: {k: str(v) for k, v in (one.fields or {}).items()} for key, one in held.items()}


def test_a_quote_behind_a_backslash_and_a_new_line_are_one_row_and_no_second_one(tmp_path: Path) -> None:
    """A spreadsheet would misread it; the site does not, and preflight tells of no row that is not there."""
    path = tmp_path / "pos.csv"
    row = {"idnumber": "K", "fullname": '\\"', "description": "0\n0", "frameworkidnumber": "FW", "timemodified": 5}
    options = settings_from_mapping({"csvsaveemptyfields": 1})
    assert write_file("pos", path, [row], options, ("fullname", "description")).rows == 1
    state = SiteState()
    state.hierarchy("pos").add_framework("FW")
    result = import_element("pos", path, state, options, now=5)
    assert [(one.idnumber, one.outcome) for one in result.rows] == [("K", "create")]


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(sorted(TEXTS)), st.data(), st.sampled_from([",", ";", ":", "\t", "|"]))
def test_whatever_a_text_holds_every_row_arrives_whole_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, element: str, data: st.DataObject, delimiter: str
) -> None:
    """Through the writer and the site's own reading: each row is its own, each text as it was, none breaks another."""
    options = settings_from_mapping({"delimiter": delimiter, "csvsaveemptyfields": 1})
    texts = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(TEXTS[element], ANY_TEXT)), min_size=1, max_size=5))
    rows: list[dict[str, object]] = []
    for number, text in enumerate(texts):
        key = f"K{number}"
        named: dict[str, object] = {"idnumber": key, "timemodified": 1700000000}
        if element == "user":
            named |= {"username": key.lower(), "email": f"{key}@example.org"}
        elif element == "jobassignment":
            named["useridnumber"] = "E1"
        else:
            named["frameworkidnumber"] = "FW"
            named |= {"aggregationmethod": "ALL"} if element == "comp" else {}
        rows.append({**named, **text})
    path = tmp_path_factory.mktemp("hr") / f"{element}.csv"
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    written = write_file(element, path, rows, options, (*columns, *TEXTS[element]))
    state = SiteState()
    state.add_user("E1", "e1").email = "e1@example.org"
    for name in ("org", "pos", "comp"):
        state.hierarchy(name).add_framework("FW")
    result = import_element(element, path, state, options, now=5)
    assert not result.aborts, result.reason
    refused = {row.idnumber for row in written.refused}
    assert [row.idnumber for row in result.rows] == [row["idnumber"] for row in rows if row["idnumber"] not in refused]
    held = _held_texts(state, element)
    for row, text in zip(rows, texts, strict=True):
        key = str(row["idnumber"])
        verdict = next((one for one in result.rows if one.idnumber == key), None)
        if verdict is None:
            assert key in refused
        elif verdict.outcome == "create":
            assert {name: held[key].get(name, "") for name in text} == text
        else:
            # An account without a first or last name: said by the check before sending, not by the writer.
            assert element == "user"
            assert verdict.rule in {"emptyvaluefirstnamex", "emptyvaluelastnamex"}


def test_a_text_in_kept_form_is_never_refused(tmp_path: Path) -> None:
    """Translating with kept_form is enough for writing."""
    rows = [_row(f"P{number}", kept_form(name, limit=255)) for number, name in enumerate(NASTY + REFUSED)]
    written = write_file("pos", tmp_path / "pos.csv", rows, HrImportSettings(), POSITION)
    assert {row.why.rpartition(": ")[2] for row in written.refused} <= {
        "it ends in a backslash behind a comma, quote or new line, which HR Import cannot read"
    }


def test_a_second_import_of_the_same_file_changes_nothing_but_the_time(totara: TotaraSimulator, tmp_path: Path) -> None:
    """Made at the site's clock, updated once by the file's time, then passed over."""
    path = tmp_path / "pos.csv"
    for expected in ({"create": 2}, {"update": 2}, {"skip": 2}):
        write_file("pos", path, [_row("A", "A"), _row("B", "B", parentidnumber="A")], totara.site.settings, POSITION)
        deliver({"pos": path}, FolderDrop(tmp_path / "files"), "t")
        totara.site.run_hr_import(["pos"])
        assert totara.site.results[-1].counts() == expected


def test_files_wear_the_sites_columns_names_dates_and_version(tmp_path: Path) -> None:
    """12 names the manager's job otherwise and knows no temporary manager; renamed columns and dates follow."""
    options = settings_from_mapping(
        {
            "jobassignment": {"fieldmapping_fullname": "Job title", "delimiter": ";"},
            "csvdateformat": "m/d/Y",
            "version": "12.9",
        }
    )
    path = tmp_path / "jobassignment.csv"
    row = {"idnumber": "J", "useridnumber": "E", "timemodified": 5, "fullname": "Boss", "managerjaidnumber": "M"}
    wanted = ("fullname", "startdate", "manageridnumber", "managerjaidnumber", "tempmanageridnumber")
    written = write_file(
        "jobassignment", path, [{**row, "startdate": dt.date(2024, 2, 1), "manageridnumber": "X"}], options, wanted
    )
    assert written.rows == 1
    assert path.read_text(encoding="utf-8").splitlines() == [
        "idnumber;useridnumber;timemodified;deleted;Job title;startdate;manageridnumber;managerjobassignmentidnumber",
        "J;E;5;0;Boss;02/01/2024;X;M",
    ]
    assert "managerjaidnumber" in file_columns("jobassignment", HrImportSettings(), wanted)
    whole = settings_from_mapping({"jobassignment": {"sourceallrecords": 1}})
    assert "deleted" not in file_columns("jobassignment", whole, wanted)


def test_a_value_the_encoding_lacks_is_refused_not_mangled(tmp_path: Path) -> None:
    """Latin-1 has no emoji: the row stays here, with the remedy."""
    latin = settings_from_mapping({"pos": {"encoding": "ISO-8859-1"}})
    written = write_file("pos", tmp_path / "pos.csv", [_row("A", "Ñandú"), _row("B", "👩")], latin, POSITION)
    assert (written.rows, [row.idnumber for row in written.refused]) == (1, ["B"])
    assert "UTF-8" in written.refused[0].why


def test_a_key_twice_or_missing_is_refused(tmp_path: Path) -> None:
    """A repeated row would be an update of the first, an empty key stops the whole element."""
    with FileWriter("pos", tmp_path / "pos.csv", HrImportSettings(), POSITION) as writer:
        assert writer.write(_row("A", "A"))
        assert not writer.write(_row("A", "Again"))
        assert not writer.write(_row("", "Nameless"))
        assert writer.close().rows == 1


def test_a_date_format_we_cannot_write_is_a_configuration_fault() -> None:
    """Rather no file than dates the site would misread."""
    assert date_text(dt.date(2024, 3, 9), "j F Y") == "9 March 2024"
    with pytest.raises(FixConfiguration, match="csvdateformat"):
        date_text(dt.date(2024, 3, 9), "z/Y")


def test_parents_and_managers_come_first_and_a_persons_jobs_keep_their_order() -> None:
    """The order of making decides the primary job."""
    rows = [
        {"idnumber": "C", "parentidnumber": "B"},
        {"idnumber": "B", "parentidnumber": "A"},
        {"idnumber": "A", "parentidnumber": ""},
    ]
    assert [row["idnumber"] for row in parents_first(rows)] == ["A", "B", "C"]
    jobs = [
        {"idnumber": "J1", "managerjaidnumber": "M1"},
        {"idnumber": "J2", "managerjaidnumber": None},
        {"idnumber": "M1", "managerjaidnumber": "M2"},
        {"idnumber": "M2", "managerjaidnumber": "M1"},
    ]
    assert [row["idnumber"] for row in managers_first(jobs)][:3] == ["M2", "M1", "J1"]


def test_leaving_suspends_by_whatever_the_site_listens_to() -> None:
    """The suspended column, or deleted=1 where the site suspends instead of deleting; never a deletion."""
    assert leaver_columns(HrImportSettings()) == {"suspended": "1"}
    assert leaver_columns(settings_from_mapping({"user": {"allow_delete": 2}})) == {"deleted": "1"}
    with pytest.raises(FixConfiguration):
        leaver_columns(settings_from_mapping({"user": {"allow_delete": 2, "sourceallrecords": 1}}))


def test_nothing_is_sent_while_the_site_has_not_taken_the_last_files(tmp_path: Path, totara: TotaraSimulator) -> None:
    """A file waiting in ready/ is not overwritten; nothing is touched."""
    drop = FolderDrop(tmp_path / "files")
    path = tmp_path / "pos.csv"
    write_file("pos", path, [_row("A", "A")], totara.site.settings, POSITION)
    deliver({"pos": path}, drop, "one")
    with pytest.raises(RetryLater, match=r"pos\.csv"):
        deliver({"pos": path}, drop, "two")
    assert waiting_files(drop) == ["pos.csv"]
    assert sorted(drop.ready()) == ["pos.csv"]
    before = drop.stored()
    totara.site.run_hr_import()
    assert set(taken(drop, before)) == {"pos"}


@pytest.mark.parametrize("breaks_at", range(1, 7))
def test_a_connection_that_breaks_anywhere_leaves_nothing_half_read(
    tmp_path: Path, totara: TotaraSimulator, breaks_at: int
) -> None:
    """Broken while copying or renaming, the delivery goes on where it was; every file goes out once."""
    files = {}
    for element in ("org", "pos", "comp"):
        files[element] = tmp_path / f"{element}.csv"
        rows = [_row(f"{element}1", element, aggregationmethod=1)]
        columns = (*POSITION, "aggregationmethod") if element == "comp" else POSITION
        write_file(element, files[element], rows, totara.site.settings, columns)

    class Breaking(FolderDrop):
        """Fails at the n-th operation."""

        left = breaks_at

        def _count(self) -> None:
            self.left -= 1
            if self.left == 0:
                raise RetryLater("the connection broke")

        def put(self, source: Path, temporary: str) -> None:
            """Copy, or break before it."""
            self._count()
            super().put(source, temporary)

        def rename(self, temporary: str, name: str) -> None:
            """Rename, or break before it."""
            self._count()
            super().rename(temporary, name)

    drop = Breaking(tmp_path / "files")
    renaming: list[bool] = []
    with pytest.raises(RetryLater):
        deliver(files, drop, "t", before_rename=lambda: renaming.append(True))
    # The site runs in between and takes what has its name already.
    totara.site.run_hr_import()
    deliver(files, drop, "t", renaming=bool(renaming), before_rename=lambda: renaming.append(True))
    totara.site.run_hr_import()
    for element in files:
        assert list(totara.site.state.hierarchy(element).by_idnumber) == [f"{element}1"]
    assert len(drop.stored()) == 3


def _log(totara: TotaraSimulator, tmp_path: Path) -> list[SyncLogRow]:
    exported = export_sync_log(totara.site, tmp_path / "reports")
    assert exported is not None
    return list(read_sync_log(exported))


def test_consumed_is_not_applied_the_log_decides(totara: TotaraSimulator, tmp_path: Path) -> None:
    """An import that stops has taken the file all the same: every row is refused, with the site's reason."""
    path = tmp_path / "pos.csv"
    rows = [_row("A", "A"), _row("B", "B", parentidnumber="NOWHERE")]
    write_file("pos", path, rows, totara.site.settings, POSITION)
    deliver({"pos": path}, FolderDrop(tmp_path / "files"), "t")
    assert totara.site.run_hr_import() == 0
    assert not waiting_files(FolderDrop(tmp_path / "files"))
    sent = [SentRow("A", expected="create"), SentRow("B", expected="create")]
    report = settle_rows("pos", sent, element_run(_log(totara, tmp_path), "pos", 0))
    assert not report.finished
    assert "NOWHERE" in report.why
    assert {row.fate for row in report.rows} == {RowFate.REFUSED}


def test_each_row_is_told_its_own_fate(totara: TotaraSimulator, tmp_path: Path) -> None:
    """Applied, refused with the reason, and passed over in silence, joined by key and person."""
    site = totara.site
    for key in ("E1", "E2"):
        user = site.state.add_user(key, key.lower())
        user.fields = {}
    job = site.state.add_job("J0", site.state.user_by_idnumber["E1"])
    job.totarasync = False
    path = tmp_path / "jobassignment.csv"
    rows = [
        {"idnumber": "J1", "useridnumber": "E1", "timemodified": 5},
        {"idnumber": "J2", "useridnumber": "E2", "timemodified": 5, "manageridnumber": "E2", "managerjaidnumber": "X"},
        {"idnumber": "J3", "useridnumber": "NOBODY", "timemodified": 5},
        {"idnumber": "J0", "useridnumber": "E1", "timemodified": 5},
    ]
    write_file("jobassignment", path, rows, site.settings, ("manageridnumber", "managerjaidnumber"))
    deliver({"jobassignment": path}, FolderDrop(tmp_path / "files"), "t")
    site.run_hr_import()
    sent = [SentRow(str(row["idnumber"]), str(row["useridnumber"]), "create") for row in rows]
    sent.append(SentRow("J9", "E1", "skip", "timemodified"))
    sent.append(SentRow("J8", "E1", "create"))
    report = settle_rows("jobassignment", sent, element_run(_log(totara, tmp_path), "jobassignment", 0))
    assert report.finished
    fates = {row.row.idnumber: row.fate for row in report.rows}
    assert fates == {
        "J1": RowFate.APPLIED,
        "J2": RowFate.REFUSED,
        "J3": RowFate.REFUSED,
        "J0": RowFate.REFUSED,
        "J9": RowFate.APPLIED,
        "J8": RowFate.UNKNOWN,
    }
    assert "manage themselves" in next(row.why for row in report.rows if row.row.idnumber == "J2")


def test_a_log_in_another_language_is_joined_by_key() -> None:
    """Actions are codes everywhere, keys are keys: a French log says as much."""
    run = [
        SyncLogRow(1, 1, "pos", "info", "possync", "Importation RH démarrée"),
        SyncLogRow(2, 1, "pos", "info", "syncitem", "pos POS-1 créé"),
        SyncLogRow(3, 1, "pos", "info", "possync", "Importation RH terminée"),
    ]
    report = settle_rows("pos", [SentRow("POS-1"), SentRow("POS-10")], run)
    assert [row.fate for row in report.rows] == [RowFate.APPLIED, RowFate.UNKNOWN]


def test_no_run_yet_is_pending() -> None:
    """Before the site has run, nothing is known of any row."""
    report = settle_rows("pos", [SentRow("A")], element_run([], "pos", 0))
    assert [row.fate for row in report.rows] == [RowFate.PENDING]


def test_a_sync_log_report_without_its_columns_is_a_configuration_fault(tmp_path: Path) -> None:
    """The sentence names the column to add."""
    path = tmp_path / "log.csv"
    path.write_text("totara_sync_log_id,totara_sync_log_info\n", encoding="utf-8")
    with pytest.raises(FixConfiguration, match="runid"):
        list(read_sync_log(path))
