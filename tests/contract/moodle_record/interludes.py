"""What happened on the recorded site beside the exchanges.

Its start, its settings, and calls the record leaves out.

Some requests of the original session are not in the record, though later answers rest on them. Each is made
up for here, just before the first exchange that shows its result; the comments say from which answer it is
known.
"""

import json
from collections.abc import Callable
from typing import Any

from connectors.simulators.moodle import MoodleSimulator, SimulatorConfig
from connectors.simulators.moodle.reportcolumns import PARTICIPANTS
from connectors.simulators.moodle.site import BRIDGE_CAPABILITIES
from connectors.simulators.moodle.tables import collate
from tests.contract.moodle_record.replay import Exchange, Replay

SCALE = (
    '[{"scaleid": "2"}, {"id": 1, "scaledefault": 1, "proficient": 0}, {"id": 2, "scaledefault": 0, "proficient": 1}]'
)


#: Progress the record shows: course, person, enrolled, completed (None: not completed), to the minute or second.
PROGRESS = (
    (2, 85, None, 1741412781),
    (11, 30, None, 1764236152),
    (17, 187, None, 1776966218),
    (20, 291, None, 1744579724),
    (17, 13, None, None),
    (20, 14, None, None),
    (7, 66, 1744655460, 1749461700),
    (7, 126, 1749839460, 1751899680),
    (7, 186, None, None),
    (7, 246, None, 1760782320),
    (2, 7, None, None),
    (3, 7, None, None),
    (4, 7, None, None),
    (9, 7, None, None),
    (11, 7, None, None),
    (16, 7, None, None),
    (5, 7, None, 1760000000),
    (10, 7, None, 1760000000),
    (17, 7, None, 1760000000),
    (18, 7, None, 1760000000),
)


def set_progress(moodle: MoodleSimulator, course: int, user: int, enrolled: int | None, completed: int | None) -> None:
    """Give one person the recorded progress.

    Somebody else's changes the other way, so that the totals stay.
    """
    known = {(c, u) for c, u, _, _ in PROGRESS}
    table = moodle.db.completions
    before = table.first("pair", (course, user))
    if before is not None:
        forget_progress(moodle, course, user)
    if completed is not None:
        moodle.seed.complete(course, user, completed, enrolled)
    others = [e["userid"] for e in moodle.db.enrolments.find("course", course) if (course, e["userid"]) not in known]
    if before is None and completed is not None:
        forget_progress(moodle, course, next(u for u in others if table.count("pair", (course, u))))
    elif before is not None and completed is None:
        moodle.seed.complete(course, next(u for u in others if not table.count("pair", (course, u))), 1760000000)


def forget_progress(moodle: MoodleSimulator, course: int, user: int) -> None:
    """Take a completion away with all it rests on."""
    moodle.db.completions.delete_where("pair", (course, user))
    for criterion in moodle.db.criteria.find("course", course):
        moodle.db.criteria_completions.delete_where("pair", (criterion["id"], user))
        if criterion.get("module"):
            moodle.db.module_completions.delete_where("pair", (criterion["module"], user))


def site() -> tuple[MoodleSimulator, dict[str, str]]:
    """Return the site as the record found it, and its further tokens by their names in the record."""
    config = SimulatorConfig(
        sitename="Example Moodle",
        shortname="lab",
        wwwroot="https://moodle.example",
        theme_revision=1795285918,
        clock=1795285897,
    )
    moodle = MoodleSimulator(config)
    moodle.seed.reference_site()
    for course in moodle.db.courses:
        course["cacherev"] = 1795285918
    for course, user, enrolled, completed in PROGRESS:
        set_progress(moodle, course, user, enrolled, completed)
    names = {"few": "FEW", "expired": "EXPIRED", "blocked": "IP", "limited": "LIMITED", "norest": "NOREST",
             "suspended": "SUSPENDED"}  # fmt: skip
    tokens = {f"TOKEN_{recorded}": f"token-{name}" for name, recorded in names.items()}
    return moodle, tokens


class Session:
    """The recorded session: what to do before each exchange."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self.moodle = replay.simulator

    def before(self, exchange: Exchange) -> None:
        """Bring clock, settings and state to where the record was before an exchange."""
        for step in STEPS.get(exchange.number, ()):
            step(self)
        self.replay.tick(exchange)
        if exchange.function == "core_competency_create_competency" and exchange.body.startswith('{"shortname"'):
            self._fill(json.loads(exchange.body))

    def _fill(self, answer: dict[str, Any]) -> None:
        """Create what the record leaves out before a create, as the next id shows.

        Competencies at the framework's root.
        """
        while self.moodle.db.competencies.next_id < answer["id"] and answer["id"] < 69000:
            n = self.moodle.db.competencies.next_id
            self.competency(answer["competencyframeworkid"], f"left out {n}", f"Left out {n}")

    def call(self, function: str, **form: Any) -> Any:
        """Make a call the record leaves out."""
        given = {"wstoken": "TOKEN", "wsfunction": function, "moodlewsrestformat": "json"}
        exchange = Exchange(-1, "", function, {**given, **{k: str(v) for k, v in form.items()}}, 200, "", "")
        return self.replay.send(exchange).json()

    def competency(self, framework: int, idnumber: str, shortname: str, parent: int = 0) -> None:
        """Create a competency the record does not show being created, unless it is there."""
        if self.moodle.db.competencies.count("idnumber", (framework, collate(idnumber))):
            return
        given = {"shortname": shortname, "idnumber": idnumber, "parentid": parent, "competencyframeworkid": framework}
        self.call("core_competency_create_competency", **{f"competency[{k}]": v for k, v in given.items()})

    def member(self, cohort: int, *users: int) -> None:
        """Put people into a cohort."""
        table = self.moodle.db.cohort_members
        for user in users:
            if not table.count("pair", (cohort, user)):
                table.insert({"cohortid": cohort, "userid": user, "timeadded": self.moodle.site.now()})

    def next_id(self, table: str, value: int) -> None:
        """Use up ids that the record's site had given to things the record leaves out."""
        rows = self.moodle.db.tables()[table]
        rows.next_id = max(rows.next_id, value)

    def setting(self, **values: Any) -> None:
        """Change settings of the site."""
        for name, value in values.items():
            setattr(self.moodle.config, name, value)


def _second_child(session: Session) -> None:
    """`Child 2` is in the list of exchange 156, with id 3."""
    session.competency(1, "R.2", "Child 2", 1)


def _apostrophe(session: Session) -> None:
    """Exchange 122 reads competency 54, which was created just before."""
    session.competency(1, "S71", "it's")


def _framework_b(session: Session) -> None:
    """Exchange 346 lists the framework; its ids say in which order it was made."""
    for idnumber, name, parent in (
        ("A.2", "A2", 68),
        ("A.1.1", "A11", 69),
        ("B", "B", 0),
        ("B.1", "B1", 72),
        ("D", "D", 0),
    ):
        session.competency(7, idnumber, name, parent)


def _template_renamed(session: Session) -> None:
    """Exchange 257 shows the template under another name."""
    session.call("core_competency_update_template", **{"template[id]": 1, "template[shortname]": "Position POS001 v2"})


def _linked_cohort(session: Session) -> None:
    """Exchange 286 reads a plan that the hourly task made for a member of a cohort linked to the.

    Template by hand.
    """
    now = session.moodle.site.now()
    row = {
        "name": "Linked cohort",
        "idnumber": "LINKED",
        "description": "",
        "descriptionformat": 1,
        "visible": True,
        "contextid": 1,
        "timecreated": now,
        "timemodified": now,
        "usermodified": 2,
    }
    session.moodle.db.cohorts.insert(row)
    session.member(1, 7)
    session.moodle.link_template_to_cohort(1, 1)
    session.moodle.run_cron(completions=False)


def _graded_in_course_before(session: Session) -> None:
    """Exchange 303 shows evidence 6, the same rating in the same course given once before exchange 300."""
    given = {"courseid": 2, "userid": 7, "competencyid": 69, "grade": 2}
    session.call("core_competency_grade_competency_in_course", **given)


def _unused_branch(session: Session) -> None:
    """Exchange 330 deletes competency 75 with descendants; the next id afterwards is 78."""
    for idnumber, name, parent in (("C", "C", 0), ("C.1", "C1", 75), ("C.2", "C2", 75)):
        session.competency(7, idnumber, name, parent)


def _position_members(session: Session) -> None:
    """Exchange 368 finds the first person a member already; exchange 374 names the others."""
    session.member(2, 7, 8, 10, 11)


def _cohort_id_11(session: Session) -> None:
    """Cohort 12 follows cohort 10."""
    session.next_id("cohorts", 12)


def _user_id_311(session: Session) -> None:
    """Account 312 follows account 310.

    Exchange 675 shows no further person, so it was refused after it was made.
    """
    session.next_id("users", 312)


def _reports_closed(session: Session) -> None:
    """Exchanges 453 to 459 were made before the account had the right to see all reports.

    Report 1 was there.
    """
    session.moodle.db.users.rows[3]["capabilities"] = [*BRIDGE_CAPABILITIES, "-moodle/reportbuilder:viewall"]
    session.moodle.config.clock = 1795286404
    seed = session.moodle.seed
    seed.completion_report()
    seed.competencies_report()
    narrow = [
        "course:coursefullnamewithlink",
        "user:fullnamewithlink",
        "enrol:name",
        "user:idnumber",
        "course:idnumber",
        "completion:timecompleted",
    ]
    seed.report("Completions narrow", PARTICIPANTS, narrow, {"completion:completed_operator": 1})
    badge = seed.badge("Safety champion")
    seed.award(badge, 7)
    session.moodle.db.issued_badges.rows[1]["uniquehash"] = "55fce5ca65951a01242a942706ea8b37941b8435"


def _reports_open(session: Session) -> None:
    """From exchange 460 on the account may see all reports."""
    session.moodle.db.users.rows[3]["capabilities"] = list(BRIDGE_CAPABILITIES)


def _own_report(session: Session) -> None:
    """Report 4 was made by the account itself, in the page's form.

    Exchange 480 shows that it can be filtered by time.
    """
    session.moodle.config.clock = 1795286546
    session.moodle.seed.report("Bridge feed", PARTICIPANTS, [], usercreated=3, filters=["completion:timecompleted"])


def _order_framework(session: Session) -> None:
    """Exchanges 615 to 632 work on a framework made after measurements that used up ids up to 69157."""
    session.next_id("frameworks", 79)
    session.call(
        "core_competency_create_competency_framework",
        **{
            "competencyframework[shortname]": "Order",
            "competencyframework[idnumber]": "FW-ORDER",
            "competencyframework[scaleid]": 2,
            "competencyframework[scaleconfiguration]": SCALE,
            "competencyframework[contextid]": 1,
        },
    )
    session.next_id("competencies", 69158)
    for n in range(5):
        session.competency(79, f"o{n}", f"o{n}")
    session.competency(79, "x", "x")
    for n in range(1, 4):
        session.competency(79, f"x{n}", f"x{n}", 69163)


def _plans_of_members(session: Session) -> None:
    """Exchange 643 shows a plan made during measurements and one the hourly task made for a new member."""
    session.replay.tick(Exchange(-1, "", "", {}, 200, "", "1795291467"))
    session.next_id("plans", 513)
    session.call("core_competency_create_plan", **{"plan[name]": "Bench plan", "plan[userid]": 16, "plan[status]": 1})
    session.next_id("plans", 604)
    session.moodle.run_cron(completions=False)


def _prior_learning(session: Session) -> None:
    """Evidence of prior learning has no web service to make it; exchange 649 reads one."""
    session.moodle.db.user_evidence.insert(
        {
            "userid": 7,
            "name": "Forklift licence",
            "description": "<p>x</p>",
            "descriptionformat": 1,
            "url": "https://x.example/lic",
            "timecreated": 1795291569,
            "timemodified": 1795291569,
            "usermodified": 2,
        }
    )


def _after_measurements(session: Session) -> None:
    """Exchanges 674 and 677 show what measurements of updates left.

    Other positions, and an enrolment active again.
    """
    for n, row in enumerate(list(session.moodle.db.users.rows.values())[6:306], 1):
        row["profile"] = {**row["profile"], "positioncode": f"POS{n + 12:03d}", "orgcode": f"ORG{n + 12:03d}"}
    given = {"roleid": 5, "userid": 7, "courseid": 22}
    session.call("enrol_manual_enrol_users", **{f"enrolments[0][{k}]": v for k, v in given.items()})


def _cohort_id_16(session: Session) -> None:
    """Cohort 17 follows cohort 15."""
    session.next_id("cohorts", 17)


def _filters_gone(session: Session) -> None:
    """Exchange 663 shows rows without a completion time: the filter of exchange 479 is gone."""
    session.call("core_reportbuilder_filters_reset", reportid=4)


def _unknown_filter(session: Session) -> None:
    """Exchange 670 reads the report after a filter nobody knows was set."""
    session.call("core_reportbuilder_set_filters", reportid=4, values='{"bogus:x_operator": 1}')


def _set(**values: Any) -> Callable[[Session], None]:
    return lambda session: session.setting(**values)


def _fault(kind: str) -> Callable[[Session], None]:
    return lambda session: _add_fault(session, kind)


def _add_fault(session: Session, kind: str) -> None:
    session.moodle.faults.add(kind)


Step = Callable[[Session], None]
STEPS: dict[int, tuple[Step, ...]] = {
    26: (_second_child,),
    122: (_apostrophe,),
    210: (_framework_b,),
    257: (_template_renamed,),
    286: (_linked_cohort,),
    300: (_graded_in_course_before,),
    330: (_unused_branch,),
    366: (_cohort_id_11,),
    368: (_position_members,),
    402: (_user_id_311,),
    453: (_reports_closed,),
    460: (_reports_open,),
    473: (_own_report,),
    572: (_set(debug=True),),
    580: (_set(debug=False, maintenance=True),),
    582: (_set(maintenance=False, cli_maintenance=True),),
    583: (_set(cli_maintenance=False, webservices_enabled=False),),
    584: (_set(webservices_enabled=True, service_enabled=False),),
    585: (_set(service_enabled=True, competencies_enabled=False),),
    586: (_set(competencies_enabled=True, site_policy_agreed=False),),
    587: (_set(site_policy_agreed=True),),
    588: (_fault("empty_500"),),
    589: (_fault("http_502"),),
    590: (_fault("http_502"),),
    614: (_cohort_id_16,),
    615: (_order_framework,),
    642: (_plans_of_members,),
    649: (_prior_learning,),
    663: (_filters_gone,),
    670: (_unknown_filter,),
    674: (_after_measurements,),
}
