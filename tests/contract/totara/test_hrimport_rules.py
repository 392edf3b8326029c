"""The stated rules of HR Import one by one, where no recorded file shows them: a small site, a file, a verdict."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from connectors.hrimport_rules import ElementResult, SiteState, import_element, site_state_from_files
from connectors.hrimport_rules.settings import HrImportSettings, settings_from_mapping
from connectors.totara.hrimport.rules import advice
from tests.contract.totara.hrimport_record import DATA, Replay, replay_all

NOW = 1795286400
HELD = {
    "org": "idnumber,fullname,frameworkidnumber,parentidnumber,typeidnumber,timemodified,customfield_cc\n"
    "O1,One,OF,,UNIT,5,x\n",
    "pos": "idnumber,fullname,shortname,frameworkidnumber,parentidnumber,typeidnumber,timemodified,customfield_grade\n"
    "P1,Parent,p,PF,,JOB,5,1\nP2,Child,c,PF,P1,JOB,5,2\nP3,Other,o,PG,,,5,\n",
    "comp": "idnumber,fullname,frameworkidnumber,parentidnumber,timemodified,aggregationmethod\nC1,Skill,CF,,5,ALL\n",
    "user": "idnumber,timemodified,username,firstname,lastname,email,suspended,auth,country,customfield_tag\n"
    "U1,5,u1,Ann,A,u1@example.org,0,manual,FR,t1\nU2,5,u2,Ben,B,u2@example.org,0,manual,FR,t2\n"
    "U3,5,u3,Cy,C,u3@example.org,1,manual,FR,\n",
    "jobassignment": "idnumber,useridnumber,timemodified,fullname,startdate,enddate,orgidnumber,posidnumber,"
    "manageridnumber,managerjaidnumber\n"
    "J1,U1,5,Boss,01/01/2020,,O1,P1,,\nJ2,U2,5,Clerk,01/01/2020,31/12/2030,O1,P2,U1,J1\n",
}
P = "idnumber,fullname,frameworkidnumber,parentidnumber,typeidnumber,timemodified,customfield_grade,deleted\n"
G = P.replace("grade", "cc")
C = "idnumber,fullname,frameworkidnumber,parentidnumber,timemodified,aggregationmethod,deleted\n"
U = "idnumber,timemodified,username,firstname,lastname,email,suspended,auth,country,customfield_tag,deleted\n"
J = (
    "idnumber,useridnumber,timemodified,fullname,startdate,enddate,orgidnumber,posidnumber,manageridnumber,"
    "managerjaidnumber,deleted\n"
)
T = "idnumber,useridnumber,timemodified,tempmanageridnumber,tempmanagerjaidnumber,tempmanagerexpirydate,deleted\n"


@dataclass(frozen=True)
class Rule:
    """A file into the small site, and what becomes of it."""

    name: str
    element: str
    file: str
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    """(id number, outcome, rule) of each row; not looked at where empty and the element stops."""
    options: dict[str, Any] = field(default_factory=dict)
    aborts: str = ""
    removed: list[str] = field(default_factory=list)
    version: str = "17.3"


ALL = {"sourceallrecords": 1}
RULES = [
    # -- hierarchies: what stops the element ------------------------------------------------------
    Rule("unknown framework", "pos", P + "N,New,NOPE,,,9,,0\n", aborts="frameworkxnotexist"),
    Rule("unknown type", "pos", P + "N,New,PF,,NOPE,9,,0\n", aborts="typexnotexist"),
    Rule("two in a circle", "pos", P + "A,A,PF,B,,9,,0\nB,B,PF,A,,9,,0\n", aborts="circularreferror"),
    Rule(
        "a circle through what the site holds",
        "pos",
        P + "P1,Parent,PF,P2,JOB,9,,0\n",
        aborts="circularreferror",
    ),
    Rule("semicolons for commas", "pos", P.replace(",", ";") + "N;x;PF;;;9;;0\n", aborts="csvnotvalidmissingfieldx"),
    Rule("an odd heading", "comp", "idnumber,full.name\n", aborts="csvnotvalidinvalidchars"),
    Rule(
        "a custom field's column missing", "pos", P.replace(",customfield_grade", ""), aborts="csvnotvalidmissingfieldx"
    ),
    Rule(
        "a renamed column missing",
        "pos",
        P + "N,New,PF,,,9,,0\n",
        options={"fieldmapping_fullname": "title"},
        aborts="csvnotvalidmissingfieldxmappingx",
    ),
    Rule(
        "a blank id number that may not erase",
        "pos",
        P + ",New,PF,,,9,,0\n",
        options={"csvsaveemptyfields": 0},
        aborts="couldnotimportallrecords",
    ),
    Rule(
        "no id number column",
        "pos",
        P.replace("idnumber,fullname", "id,fullname") + "N,New,PF,,,9,,0\n",
        aborts="couldnotimportallrecords",
    ),
    Rule(
        "a new item without framework stops the rest, what went before stays",
        "pos",
        P + "N,New,PF,,,9,,0\nM,New,,,,9,,0\nP2,Child,PF,P1,JOB,9,2,0\n",
        [
            ("N", "create", "createdx"),
            ("M", "refuse", "existingitemxframeworkidnotfound"),
            ("P2", "refuse", "existingitemxframeworkidnotfound"),
        ],
        {"csvsaveemptyfields": 0},
        "existingitemxframeworkidnotfound",
    ),
    Rule(
        "a parent in the file without framework stops at its child",
        "pos",
        P + "N,New,PF,M,,9,,0\nM,New,,,,9,,0\n",
        [("N", "refuse", "cannotsyncitemparent"), ("M", "refuse", "existingitemxframeworkidnotfound")],
        {"csvsaveemptyfields": 0},
        "cannotsyncitemparent",
    ),
    Rule(
        "partial mode without the deleted column, told after the other checks",
        "pos",
        P + "N,New,NOPE,,,9,,0\n",
        options={"import_deleted": 0},
        aborts="frameworkxnotexist",
    ),
    Rule(
        "partial mode without the deleted column",
        "pos",
        P + "N,New,PF,,,9,,0\n",
        options={"import_deleted": 0},
        aborts="deletefieldmissingnotallrecords",
    ),
    Rule(
        "an existing parent, but not in the file of all",
        "pos",
        P + "N,New,PF,P1,,9,,0\n",
        options=ALL,
        aborts="parentxnotexistinfile",
    ),
    Rule(
        "a deleted row must pass the checks too", "pos", P + "P2,Child,NOPE,P1,JOB,9,,1\n", aborts="frameworkxnotexist"
    ),
    Rule("a deleted row with a blank framework", "pos", P + "P2,,,,,,,1\n", aborts="frameworkxnotexist"),
    # -- hierarchies: rows ------------------------------------------------------------------------
    Rule(
        "a deleted row with a blank framework where blanks are ignored",
        "pos",
        P + "P2,,,,,,,1\n",
        [("P2", "delete", "deletedx")],
        {"csvsaveemptyfields": 0},
        removed=["P2"],
    ),
    Rule(
        "a deleted parent takes its children",
        "pos",
        P + "P1,x,PF,,,9,,1\n",
        [("P1", "delete", "deletedx")],
        removed=["P1", "P2"],
    ),
    Rule("deleted 2 is not 1", "pos", P + "P2,Child,PF,P1,JOB,9,2,2\n", [("P2", "update", "updatedx")]),
    Rule(
        "nothing deleted where deleting is off",
        "pos",
        P + "P2,Child,PF,P1,JOB,5,2,1\n",
        [("P2", "skip", "timemodified")],
        {"allow_delete": 0},
    ),
    Rule("an empty timemodified is now", "pos", P + "P2,Child,PF,P1,JOB,,2,0\n", [("P2", "update", "updatedx")]),
    Rule("headings only, all records", "pos", P, options=ALL, removed=["P1", "P2", "P3"]),
    Rule("headings only, all records, deleting off", "pos", P, options={**ALL, "allow_delete": 0}),
    Rule(
        "a row too long counts as missing",
        "pos",
        P + f"P1,Parent,PF,,JOB,5,1,0\nP2,Child,PF,P1,JOB,5,2,0\nP3,{'x' * 256},PG,,,5,,0\n",
        [("P1", "skip", "timemodified"), ("P2", "skip", "timemodified"), ("P3", "refuse", "lengthlimitexceeded")],
        ALL,
        removed=["P3"],
    ),
    Rule(
        "a row of too few fields counts as missing",
        "pos",
        P + "P1,Parent,PF,,JOB,5,1,0\nP2,Child,PF,P1,JOB,5,2,0\nP3,Other,PG\n",
        [("P1", "skip", "timemodified"), ("P2", "skip", "timemodified"), ("P3", "refuse", "fieldcountmismatch")],
        ALL,
        removed=["P3"],
    ),
    Rule("255 characters fit", "pos", P + f"N,{'x' * 255},PF,,,9,,0\n", [("N", "create", "createdx")]),
    Rule(
        "a competency's name may have 1024", "comp", C + f"N,{'x' * 1024},CF,,9,ANY,0\n", [("N", "create", "createdx")]
    ),
    Rule("1025 are too many", "comp", C + f"N,{'x' * 1025},CF,,9,ANY,0\n", [("N", "refuse", "lengthlimitexceeded")]),
    Rule(
        "a new competency needs an aggregation",
        "comp",
        C + "N,New,CF,,9,,0\n",
        aborts="aggregrationmethodmusthavevalue",
    ),
    Rule("a number is an aggregation", "comp", C + "N,New,CF,,9,2,0\n", [("N", "create", "createdx")]),
    Rule("4 is none", "comp", C + "N,New,CF,,9,4,0\n", aborts="aggregrationmethodmusthavevalue"),
    Rule(
        "creating off passes new rows over",
        "pos",
        P + "N,New,PF,,,9,,0\nP2,Child,PF,P1,JOB,9,2,0\n",
        [("N", "skip", "allow_create"), ("P2", "update", "updatedx")],
        {"allow_create": 0},
    ),
    Rule(
        "updating off passes known rows over",
        "pos",
        P + "N,New,PF,,,9,,0\nP2,Child,PF,P1,JOB,9,2,0\n",
        [("N", "create", "createdx"), ("P2", "skip", "allow_update")],
        {"allow_update": 0},
    ),
    Rule(
        "a type of 0 is none",
        "org",
        "idnumber,fullname,frameworkidnumber,typeidnumber,timemodified,customfield_cc,deleted\nN,New,OF,0,9,,0\n",
        [("N", "create", "createdx")],
    ),
    Rule(
        "a plain column missing goes unnoticed",
        "pos",
        P.replace(",parentidnumber", "") + "P2,Child,PF,JOB,9,2,0\n",
        [("P2", "update", "updatedx")],
    ),
    Rule(
        "12 notices it",
        "pos",
        P.replace(",parentidnumber", "") + "P2,Child,PF,JOB,9,2,0\n",
        aborts="csvnotvalidmissingfieldx",
        version="12.9",
    ),
    Rule(
        "12 fails on a row too long",
        "org",
        f"{G}N,{'x' * 256},OF,,UNIT,9,,0\n",
        aborts="couldnotimportallrecords",
        version="12.9",
    ),
    # -- users ------------------------------------------------------------------------------------
    Rule(
        "a time that is none",
        "user",
        U + "U1,2024-01-15,u1,A,A,u1@example.org,0,manual,FR,,0\n",
        aborts="couldnotimportallrecords",
    ),
    Rule(
        "the custom field's column missing",
        "user",
        U.replace(",customfield_tag", ""),
        aborts="csvnotvalidmissingfieldx",
    ),
    Rule(
        "one username twice",
        "user",
        U + "A,9,aa,A,A,a@example.org,0,manual,,,0\nB,9,AA,B,B,b@example.org,0,manual,,,0\n",
        [("A", "refuse", "duplicateuserswithusernamex"), ("B", "refuse", "duplicateuserswithusernamex")],
    ),
    Rule(
        "a country in small letters",
        "user",
        U + "A,9,aa,A,A,a@example.org,0,manual,fr,,0\n",
        [("A", "refuse", "invalidcountrycode")],
    ),
    Rule(
        "a sign-in that is not installed",
        "user",
        U + "A,9,aa,A,A,a@example.org,0,nosuch,,,0\n",
        [("A", "refuse", "invalidauthxforuserx")],
    ),
    Rule("no sign-in at all", "user", U + "A,9,aa,A,A,a@example.org,0,,,,0\n", [("A", "refuse", "emptyvalueauthx")]),
    Rule(
        "a username already taken",
        "user",
        U + "A,9,U1,A,A,a@example.org,0,manual,,,0\n",
        [("A", "refuse", "duplicateusernamexdb")],
    ),
    Rule("an address of two names", "user", U + "A,9,aa,A,A,a@b@c,0,manual,,,0\n", [("A", "refuse", "invalidemailx")]),
    Rule("a blank address", "user", U + "U1,9,u1,Ann,A,,0,manual,,,0\n", [("U1", "refuse", "invalidemailx")]),
    Rule(
        "a blank address where blanks are ignored",
        "user",
        U + "U1,9,u1,Ann,A,,0,manual,,,0\nU2,9,u2,Ben,B,,0,manual,,,0\nN,9,nn,N,N,,0,manual,,,0\n",
        [("U1", "update", "updateduserx"), ("U2", "update", "updateduserx"), ("N", "refuse", "emptyemailusercreation")],
        {"csvsaveemptyfields": 0},
    ),
    Rule(
        "a default address stands in",
        "user",
        U + "A,9,aa,A,A,,0,manual,,,0\nB,9,bb,B,B,nonsense,0,manual,,,0\n",
        [("A", "create", "createduserx"), ("B", "create", "createduserx")],
        {"allowduplicatedemails": 1, "defaultsyncemail": "hr@example.org"},
    ),
    Rule(
        "shared addresses allowed",
        "user",
        U + "A,9,aa,A,A,u1@example.org,0,manual,,,0\nB,9,bb,B,B,u1@example.org,0,manual,,,0\n",
        [("A", "create", "createduserx"), ("B", "create", "createduserx")],
        {"allowduplicatedemails": 1},
    ),
    Rule(
        "one too long becomes data_exceeded_length, two are each other's doubles",
        "user",
        U + f"A,9,aa,{'x' * 101},A,a@example.org,0,manual,,,0\nB,9,bb,{'x' * 101},B,b@example.org,0,manual,,,0\n",
        [("A", "refuse", "duplicateuserswithusernamex"), ("B", "refuse", "duplicateuserswithusernamex")],
    ),
    Rule("kept by default", "user", U + "U1,9,u1,A,A,u1@example.org,0,manual,,,1\n", [("U1", "skip", "allow_delete")]),
    Rule(
        "deleted by the row",
        "user",
        U + "U1,5,u1,A,A,u1@example.org,0,manual,,,yes\n",
        [("U1", "delete", "deleteduserx")],
        {"allow_delete": 1},
        removed=["U1"],
    ),
    Rule(
        "suspended by absence, but not one that is suspended already",
        "user",
        U + "U1,5,u1,A,A,u1@example.org,0,manual,,,0\n",
        [("U1", "skip", "timemodified")],
        {**ALL, "allow_delete": 2},
        removed=["U2"],
    ),
    Rule("headings only in partial mode are harmless", "user", U, options={"allow_delete": 1}),
    Rule("headings only kill the task", "user", U, options={**ALL, "allow_delete": 1}, aborts="headeronly"),
    Rule("but on 12 they do nothing", "user", U, options={**ALL, "allow_delete": 1}, version="12.9"),
    Rule(
        "a double of a deleted row is no double",
        "user",
        U + "A,9,aa,A,A,a@example.org,0,manual,,,0\nB,9,bb,B,B,a@example.org,0,manual,,,1\n",
        [("A", "create", "createduserx"), ("B", "skip", "deleted")],
        {"allow_delete": 1},
    ),
    # -- job assignments --------------------------------------------------------------------------
    Rule("headings only, all records", "jobassignment", J, options=ALL, removed=["J1", "J2"]),
    Rule("a time that is none", "jobassignment", J + "J1,U1,soon,,,,,,,,0\n", aborts="couldnotimportallrecords"),
    Rule(
        "the manager's job missing",
        "jobassignment",
        J + "N,U3,9,,,,,,U1,,0\n",
        [("N", "refuse", "emptymanagerjobassignmentidnumber")],
    ),
    Rule(
        "a manager's job that is not there",
        "jobassignment",
        J + "N,U3,9,,,,,,U1,NOPE,0\n",
        [("N", "refuse", "managerjaxnotexistjobassignment")],
    ),
    Rule(
        "a manager's job without manager is ignored",
        "jobassignment",
        J + "N,U3,9,,,,,,,NOPE,0\n",
        [("N", "create", "createdjobassignmentx")],
    ),
    Rule("a loop", "jobassignment", J + "J1,U1,9,Boss,,,,,U2,J2,0\n", [("J1", "refuse", "managementloop")]),
    Rule(
        "the manager comes later in the file",
        "jobassignment",
        J + "N,U2,9,,,,,,U3,M,0\nM,U3,9,,,,,,,,0\n",
        [("N", "create", "createdjobassignmentx"), ("M", "create", "createdjobassignmentx")],
    ),
    Rule(
        "another user's job has this id and time",
        "jobassignment",
        J + "J1,U3,5,Mine,,,,,,,0\n",
        [("J1", "skip", "timemodified")],
    ),
    Rule(
        "with another time it is a job of its own",
        "jobassignment",
        J + "J1,U3,6,Mine,,,,,,,0\n",
        [("J1", "create", "createdjobassignmentx")],
    ),
    Rule(
        "the end kept where blanks are ignored counts",
        "jobassignment",
        J + "J2,U2,9,,01/01/2031,,,,,,0\n",
        [("J2", "refuse", "startafterendjobassignment")],
        {"csvsaveemptyfields": 0},
    ),
    Rule(
        "erased it does not",
        "jobassignment",
        J + "J2,U2,9,,01/01/2031,,,,,,0\n",
        [("J2", "update", "updatedjobassignmentx")],
        {"csvsaveemptyfields": 1},
    ),
    Rule(
        "a job that goes first makes its reports' rows fail",
        "jobassignment",
        J + "J1,U1,9,,,,,,,,1\nJ2,U2,9,,,,,,U1,J1,0\n",
        [("J1", "delete", "deletedjobassignmentx"), ("J2", "refuse", "managerjaxnotexistjobassignment")],
        removed=["J1"],
    ),
    Rule(
        "one job a person",
        "jobassignment",
        J + "N,U1,9,,,,,,,,0\n",
        [("N", "refuse", "multiplejobsdisablednocreate")],
        {"totara_job_allowmultiplejobs": 0},
    ),
    Rule("no deleted column", "jobassignment", J.replace(",deleted", ""), aborts="csvnotvalidmissingfieldx"),
    Rule(
        "a stand-in without an end",
        "jobassignment",
        T + "N,U3,9,U1,J1,,0\n",
        [("N", "refuse", "tempmanagerxexpirydatenotset")],
        {"imported": ["tempmanageridnumber"]},
    ),
    Rule(
        "a stand-in of the past",
        "jobassignment",
        T + "N,U3,9,U1,J1,01/01/2020,0\n",
        [("N", "refuse", "tempmanagerxexpirydateinthepast")],
        {"imported": ["tempmanageridnumber"]},
    ),
    Rule(
        "a stand-in",
        "jobassignment",
        T + "N,U3,9,U1,J1,01/01/2090,0\n",
        [("N", "create", "createdjobassignmentx")],
        {"imported": ["tempmanageridnumber"]},
    ),
    Rule(
        "a stand-in without a job",
        "jobassignment",
        T + "N,U1,9,U3,X,01/01/2090,0\n",
        [("N", "refuse", "tempmanagerjaxnotexistjobassignment")],
        {"imported": ["tempmanageridnumber"]},
    ),
    Rule(
        "one's own stand-in",
        "jobassignment",
        T + "N,U3,9,U3,X,01/01/2090,0\n",
        [("N", "refuse", "selfassignedtempmanagerjobassignment")],
        {"imported": ["tempmanageridnumber"]},
    ),
    Rule(
        "12 knows the manager's job by another heading",
        "jobassignment",
        J.replace("managerjaidnumber", "managerjobassignmentidnumber") + "N,U3,9,,,,,,U1,J1,0\n",
        [("N", "create", "createdjobassignmentx")],
        {"imported": ["managerjobassignmentidnumber"]},
        version="12.9",
    ),
]


def _held() -> tuple[SiteState, HrImportSettings]:
    held = {name: text.encode() for name, text in HELD.items()}
    return site_state_from_files(held, HrImportSettings(), keep_values=True)


def _run(rule: Rule) -> ElementResult:
    state, settings = _held()
    settings = settings_from_mapping({rule.element: rule.options, "version": rule.version}, settings)
    return import_element(rule.element, rule.file.encode(), state, settings, now=NOW)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.element}: {rule.name}")
def test_a_rule_gives_its_verdict(rule: Rule) -> None:
    """Stop or not and why, each row's outcome and the rule that decides, and what goes."""
    result = _run(rule)
    assert result.reason == rule.aborts
    assert result.aborts is bool(rule.aborts)
    if rule.rows or not rule.aborts:
        assert [(row.idnumber, row.outcome, row.rule) for row in result.rows] == rule.rows
    assert result.removed == rule.removed


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.element}: {rule.name}")
def test_what_stops_or_refuses_comes_with_advice(rule: Rule) -> None:
    """Nobody is left with a code alone."""
    result = _run(rule)
    told = [result.reason] if result.aborts else []
    told += [row.rule for row in result.rows if row.outcome == "refuse"]
    assert [code for code in told if not advice(code)] == []


@pytest.fixture(scope="module")
def replays() -> dict[int, Replay]:
    """Every recorded case, run again in order."""
    return replay_all()


@pytest.mark.parametrize(
    ("order", "key", "framework", "parent"),
    [
        (60, "POS-A-F00-20", "POSFW-B", ""),
        (61, "POS-A-F00-20", "POSFW-B", "POS-B-F01"),
        (63, "N-50", "POSFW-B", "POS-A-F00"),
    ],
)
def test_items_end_up_where_the_record_has_them(
    replays: dict[int, Replay], order: int, key: str, framework: str, parent: str
) -> None:
    """Moves between frameworks: a blank parent is the top, although that case's settings do not speak of blanks."""
    item = replays[order].state.hierarchy("pos").by_idnumber[key]
    assert (item.framework, item.parent.idnumber if item.parent else "") == (framework, parent)


def test_every_stated_fault_is_told_to_a_person() -> None:
    """Whatever the record lists as stopping a run or skipping a row has a sentence on what to do."""
    stated = json.loads((DATA / "hrimport-codes.json").read_text(encoding="utf-8"))
    codes = {
        code for group in (stated["abort_whole_run"], stated["row_skipped"]) for part in group.values() for code in part
    }
    assert len(codes) > 50
    assert [code for code in sorted(codes) if not advice(code.split()[0])] == []
