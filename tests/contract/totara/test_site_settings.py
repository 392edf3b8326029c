"""Files are written as a site's own settings want them, from 12 to 17: what arrives is the same."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.store import Store
from bridge.sync.clock import Clock
from bridge.sync.push import push
from connectors.hrimport_rules.settings import settings_from_mapping
from tests.contract.conformance.suite import INITIAL
from tests.contract.totara.test_conformance import NightlyTotara
from tests.contract.totara.test_connector import _desired, _person
from tests.databases import address

ERASING = {name: {"csvsaveemptyfields": 1} for name in ("org", "pos", "comp")}
SITES: Mapping[str, tuple[dict[str, Any], str, str]] = {
    "a 12 with semicolons, Latin letters and renamed columns": (
        {
            "version": "12.9",
            "csvdateformat": "Y-m-d",
            "delimiter": ";",
            **ERASING,
            "user": {"encoding": "ISO-8859-1", "fieldmapping_username": "Login", "fieldmapping_email": "Mail"},
            "jobassignment": {"csvsaveemptyfields": 1, "fieldmapping_fullname": "Job title"},
            "user_custom_fields": {"grade": {"datatype": "text"}},
        },
        "idnumber;useridnumber;timemodified;deleted;Job title;startdate;enddate;orgidnumber;posidnumber;"
        "manageridnumber;managerjobassignmentidnumber",
        "2024-02-01",
    ),
    "a 17 with tabs and dates with dots": (
        {
            "version": "17.3",
            "csvdateformat": "d.m.Y",
            "delimiter": "\t",
            **ERASING,
            "user": {"import_customfield_grade": 1},
            "jobassignment": {"csvsaveemptyfields": 1, "fieldmapping_posidnumber": "Position"},
            "user_custom_fields": {"grade": {"datatype": "text"}},
        },
        "idnumber\tuseridnumber\ttimemodified\tdeleted\tfullname\tstartdate\tenddate\torgidnumber\tPosition\t"
        "manageridnumber\tmanagerjaidnumber",
        "01.02.2024",
    ),
}


@pytest.mark.parametrize("name", SITES)
def test_people_arrive_whatever_a_site_wants_its_files_to_look_like(tmp_path: Path, name: str) -> None:
    """Columns of the release, renamed ones, custom fields, delimiter, encoding and dates: written so, and read back."""
    given, headings, start = SITES[name]
    site = NightlyTotara(tmp_path, settings_from_mapping(given))
    site.totara.define("org", "ORGS")
    site.options = replace(site.options, framework_of={"position": "POSITIONS", "organisation": "ORGS"})
    second = replace(_person("E2"), first_name="Zoë", last_name="Weiß", extra=(("customfield_grade", "7"),))
    desired = _desired(_person("E1"), second)
    clock = Clock(now=lambda: site.moment)
    store = Store.open(address(tmp_path / "state.sqlite"))
    assert push("totara", site.connect(), store, desired, INITIAL, clock).state == "pending"
    lines = (site.totara.ready / "jobassignment.csv").read_text("utf-8").splitlines()
    assert lines[0] == headings
    assert any(start in line for line in lines)
    site.run_nightly()
    assert push("totara", site.connect(), store, desired, INITIAL, clock).state == "done"
    store.close()
    held = site.totara.snapshot()
    user, job = held["user"]["E2"], held["jobassignment"]["E2", "J-E2"]
    assert (user["firstname"], user["lastname"], user["customfield_grade"]) == ("Zoë", "Weiß", "7")
    assert (job["manager"], job["organisation"], job["order"]) == ("J-E1", "ORG2", 0)
    assert dt.datetime.fromtimestamp(job["startdate"], dt.UTC).date() == dt.date(2024, 2, 1)
