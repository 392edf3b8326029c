"""`timemodified` is when a content was first seen, and a file of all records lets nothing go."""

from __future__ import annotations

import csv
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from bridge.ports import Action, Change, FixConfiguration, Status
from connectors.hrimport_rules.settings import settings_from_mapping
from connectors.totara.connector import TotaraConnector
from connectors.totara.sync_log_database import SyncLogDatabase
from tests.contract.totara.test_conformance import NightlyTotara
from tests.contract.totara.test_connector import OPTIONS

WHOLE = settings_from_mapping({"org": {"sourceallrecords": 1, "csvsaveemptyfields": 1}})


def made(folder: Path, settings: object = OPTIONS) -> NightlyTotara:
    """Return a site with a framework of organisations."""
    site = NightlyTotara(folder, settings)  # type: ignore[arg-type]  # settings come from settings_from_mapping
    site.totara.define("org", "ORGS")
    site.options = replace(site.options, framework_of={"organisation": "ORGS", "position": "POSITIONS"})
    return site


def organisation(key: str, name: str, action: Action = Action.CREATE, *, drift: bool = False) -> Change:
    """Return a change of an organisation at the top."""
    after = {"name": name, "description": ""}
    before = None if action is Action.CREATE else {"name": "before", "description": ""}
    return Change("organisation", key, action, before, after, tuple(after), drift=drift)


def person(key: str, last_name: str) -> Change:
    """Return the making of an account."""
    after = {
        "username": key.lower(),
        "first_name": "Ada",
        "last_name": last_name,
        "email": f"{key.lower()}@example.com",
        "suspended": False,
    }
    return Change("person", key, Action.CREATE, None, after, tuple(after))


def sent(site: NightlyTotara, element: str) -> list[dict[str, str]]:
    """Return the rows of the last file of an element, taken or waiting."""
    waiting = site.totara.ready / f"{element}.csv"
    files = [waiting] if waiting.is_file() else sorted(site.totara.store.glob(f"*.{element}.csv"))
    with files[-1].open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def night(site: NightlyTotara, change: Change) -> Status:
    """Send a change, let a night pass, and return what became of it."""
    port = site.connect()
    receipt = port.submit([change])
    site.run_nightly()
    (outcome,) = port.settle(receipt)
    return outcome.status


def test_what_is_sent_again_carries_the_moment_its_content_was_first_seen(tmp_path: Path) -> None:
    """The site passes it over in silence, and that counts as applied; a new content gets a new moment."""
    site = made(tmp_path)
    first_seen = int(site.moment)
    assert night(site, person("E1", "Lovelace")) is Status.APPLIED
    assert [row["timemodified"] for row in sent(site, "user")] == [str(first_seen)]
    site.moment += 5 * 86_400
    assert night(site, person("E1", "Lovelace")) is Status.APPLIED
    assert [row["timemodified"] for row in sent(site, "user")] == [str(first_seen)]
    site.moment += 5 * 86_400
    married = int(site.moment)
    assert night(site, person("E1", "King")) is Status.APPLIED
    assert [row["timemodified"] for row in sent(site, "user")] == [str(married)]
    assert site.totara.snapshot()["user"]["E1"]["lastname"] == "King"


def test_an_edit_made_on_the_site_is_put_back_with_a_new_moment(tmp_path: Path) -> None:
    """The same content with the same time would be passed over, and the edit would stay."""
    site = made(tmp_path)
    assert night(site, organisation("A", "Ward")) is Status.APPLIED
    before = sent(site, "org")[0]["timemodified"]
    item = site.totara.state.hierarchy("org").by_idnumber["A"]
    assert item.fields is not None
    item.fields["fullname"] = "Edited"
    assert night(site, organisation("A", "Ward", Action.UPDATE, drift=True)) is Status.APPLIED
    assert sent(site, "org")[0]["timemodified"] > before
    assert item.fields["fullname"] == "Ward"


def test_what_somebody_made_by_hand_is_unknown_and_named_by_check(tmp_path: Path) -> None:
    """HR Import leaves it alone without a word: never called applied, and listed with what to tick."""
    site = made(tmp_path)
    by_hand = site.totara.state.hierarchy("org").add("A", "ORGS")
    by_hand.totarasync = False
    assert night(site, organisation("A", "Ward")) is Status.UNKNOWN
    finding = next(
        one for one in site.connect().probe().findings if one.subject == "organisations HR Import cannot see"
    )
    assert "(A)" in finding.says
    assert "tick “HR Import”" in finding.remedy


def test_the_report_of_accounts_tells_which_hr_import_may_not_change(tmp_path: Path) -> None:
    """Accounts with an id number and without the tick are named before anything is sent."""
    site = made(tmp_path)
    path = tmp_path / "reports" / "bridge" / "Bridge users_21112026_33.csv"
    path.parent.mkdir(parents=True)
    path.write_text("user_idnumber,user_totarasync\nE1,Yes\nE2,No\n,No\n", "utf-8")
    finding = next(one for one in site.connect().probe().findings if one.subject == "people HR Import cannot see")
    assert finding.says.startswith("1 of these")
    assert "E2" in finding.says


def test_a_file_of_all_records_does_not_go_unless_the_settings_name_the_kind(tmp_path: Path) -> None:
    """The site would delete what is missing from it: nothing reaches the folder."""
    site = made(tmp_path, WHOLE)
    port = site.connect()
    receipt = port.submit([organisation("A", "Ward")])
    (outcome,) = port.settle(receipt)
    assert outcome.status is Status.REFUSED
    assert "all_records" in outcome.why
    assert list(site.totara.ready.iterdir()) == []


def test_a_file_of_all_records_needs_a_fresh_look_at_the_site(tmp_path: Path) -> None:
    """Named in the settings, but nothing younger than the last import shows what is there: not sent."""
    site = made(tmp_path, WHOLE)
    site.options = replace(site.options, all_records=frozenset({"organisation"}))
    port = site.connect()
    (outcome,) = port.settle(port.submit([organisation("A", "Ward")]))
    assert outcome.status is Status.REFUSED
    assert "nothing younger than the last import" in outcome.why


def test_a_file_of_all_records_carries_along_what_did_not_change_and_deletes_nothing(tmp_path: Path) -> None:
    """Each with the moment its content was first seen, so that only the changed one is taken."""
    site = made(tmp_path, WHOLE)
    site.options = replace(site.options, all_records=frozenset({"organisation"}))
    site.totara.configure(org={"sourceallrecords": 0})
    partly = replace(site.options, hrimport=OPTIONS)
    port = TotaraConnector(partly, clock=lambda: site.moment)
    receipt = port.submit([organisation("A", "Ward"), organisation("B", "Clinic")])
    site.run_nightly()
    assert {one.status for one in port.settle(receipt)} == {Status.APPLIED}
    site.totara.configure(org={"sourceallrecords": 1})
    assert night(site, organisation("B", "Hospital", Action.UPDATE)) is Status.APPLIED
    rows = {row["idnumber"]: row for row in sent(site, "org")}
    assert set(rows) == {"A", "B"}
    assert "deleted" not in rows["A"]
    assert rows["A"]["timemodified"] < rows["B"]["timemodified"]
    assert {item.idnumber for item in site.totara.state.hierarchy("org").items.values()} == {"A", "B"}
    site.totara.state.hierarchy("org").add("C", "ORGS")
    site.export()
    port = site.connect()
    (outcome,) = port.settle(port.submit([organisation("B", "Hospice", Action.UPDATE)]))
    assert outcome.status is Status.REFUSED
    assert "nobody named: C" in outcome.why


# --- The log from the site's database ---------------------------------------------------------------------------------


def into_database(site: NightlyTotara, path: Path, prefix: str = "ttr_") -> None:
    """Put the site's log into a table as its database has it."""
    connection = sqlite3.connect(path)
    connection.execute(
        f"create table if not exists {prefix}totara_sync_log "
        "(id integer primary key, runid int, time int, element text, logtype text, action text, info text)"
    )
    connection.executemany(
        f"insert or replace into {prefix}totara_sync_log values (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a test's prefix
        [(e.id, e.runid, e.time, e.row.element, e.row.logtype, e.row.action, e.row.info) for e in site.totara.log],
    )
    connection.commit()
    connection.close()


def test_outcomes_come_from_the_sites_database_as_well(tmp_path: Path) -> None:
    """No report of the log at all: what was applied and what was refused is told, with the site's words."""
    site = made(tmp_path)
    log = SyncLogDatabase(f"sqlite:///{tmp_path / 'totara.sqlite'}", "ttr_")
    into_database(site, tmp_path / "totara.sqlite")
    port = TotaraConnector(site.options, log=log, clock=lambda: site.moment)
    good = port.submit([person("E1", "Lovelace")])
    doubtful = port.submit([organisation("A", "Ward")])
    site.totara.state.hierarchy("org").frameworks.clear()
    assert {one.status for one in port.settle(good)} == {Status.PENDING}
    site.moment += 8 * 3600
    site.totara.run_hr_import()
    into_database(site, tmp_path / "totara.sqlite")
    (outcome,) = port.settle(good)
    assert outcome.status is Status.APPLIED
    (outcome,) = port.settle(doubtful)
    assert outcome.status is Status.REFUSED
    assert "framework ORGS does not exist" in outcome.why
    finding = next(one for one in port.probe().findings if one.subject == "sync log report")
    assert (finding.ok, finding.says) == (True, "read from the site's database")
    log.close()


def test_the_log_is_read_from_a_real_postgresql(empty_postgres: str) -> None:
    """Row by row beyond an id, oldest first."""
    engine = create_engine(empty_postgres)
    with engine.begin() as connection:
        connection.execute(
            text(
                "create table ttr_totara_sync_log (id bigint primary key, runid bigint, time bigint, element text, "
                "logtype text, action text, info text)"
            )
        )
        for number in (2, 1, 3):
            values = {"id": number, "info": f"row {number}"}
            connection.execute(
                text("insert into ttr_totara_sync_log values (:id, 1, 1790000000, 'org', 'info', 'create', :info)"),
                values,
            )
    engine.dispose()
    log = SyncLogDatabase(empty_postgres, "ttr_")
    assert [(row.id, row.info, row.time) for row in log(1)] == [(2, "row 2", 1.79e9), (3, "row 3", 1.79e9)]
    log.close()


def test_a_database_without_the_table_is_a_fault_of_the_set_up_that_keeps_the_password(tmp_path: Path) -> None:
    """The sentence names the table and the prefix setting, never the address."""
    path = tmp_path / "secret-place.sqlite"
    sqlite3.connect(path).close()
    log = SyncLogDatabase(f"sqlite:///{path}", "mdl_")
    with pytest.raises(FixConfiguration, match=r"mdl_totara_sync_log.*sync_log_prefix") as caught:
        list(log(0))
    assert "secret-place" not in str(caught.value)
    log.close()
    for prefix in ("x; drop table", "a b"):
        with pytest.raises(FixConfiguration, match="prefix"):
            SyncLogDatabase("sqlite://", prefix)
    with pytest.raises(FixConfiguration, match="not understood"):
        SyncLogDatabase("no address", "ttr_")
