"""Filling a simulated site.

Accounts and tokens, people, courses, enrolments, completions, scales, reports, badges.
"""

import hashlib
import random
from typing import Any

from connectors.simulators.moodle.site import BRIDGE_CAPABILITIES, COURSE, COURSECAT, MODULE, USER, Site
from connectors.simulators.moodle.tables import Row

FIRST_NAMES = (
    "Anna",
    "Ben",
    "Carla",
    "Dev",
    "Elif",
    "Farid",
    "Grace",
    "Hugo",
    "Ines",
    "Jonas",
    "Katrin",
    "Lea",
    "Mateo",
    "Nadia",
    "Oskar",
    "Petra",
    "Quentin",
    "Rosa",
    "Samuel",
    "Tariq",
    "Ulla",
    "Viktor",
    "Wanda",
    "Ximena",
    "Yusuf",
    "Zoë",
    "Émile",
    "Åsa",
    "Łukasz",
    "Müge",
)
LAST_NAMES = (
    "Adams",
    "Becker",
    "Costa",
    "Dubois",
    "Evans",
    "Fischer",
    "Garcia",
    "Hughes",
    "Ibrahim",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Novak",
    "O'Brien",
    "Park",
    "Quist",
    "Rossi",
    "Silva",
    "Tanaka",
    "Ueda",
    "Vega",
    "Walsh",
    "Xu",
    "Yilmaz",
    "Zhou",
)
COURSE_NAMES = (
    "Induction",
    "Fire safety",
    "GDPR",
    "Manual handling",
    "First aid",
    "Anti-bribery",
    "Data quality",
    "Cyber basics",
    "Forklift",
    "Working at height",
    "Lockout tagout",
    "Chemical safety",
    "Negotiation",
    "Presentation",
    "Excel",
    "Feedback skills",
    "Interviewing",
    "Coaching",
    "Budgeting",
    "Change",
)
DAY = 86400
SELF, DATE, ACTIVITY, ROLE = 1, 2, 4, 7
MANAGER, TEACHER_EDITING, TEACHER, STUDENT = 1, 3, 4, 5


class Seeder:
    """Puts things into the state directly, as an administrator at the screen would."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.db = site.db
        self.token = "0123456789abcdef0123456789abcdef"  # noqa: S105 - the invented token of an invented site
        self._random = random.Random(site.config.seed)  # noqa: S311 - repeatable, not secret

    def accounts(self) -> None:
        """Add guest, administrator and the service account with its token."""
        self.user("guest", "Guest user", "", "root@localhost", user_id=1)
        self.user("admin", "Admin", "User", "admin@example.com", user_id=2, siteadmin=True, capabilities=["*"])
        service = self.user(
            "wsbridge",
            "Bridge",
            "Service",
            "wsbridge@example.com",
            user_id=3,
            capabilities=list(BRIDGE_CAPABILITIES),
        )
        for number, row in enumerate(self.db.users, 9):
            self.site.add_context(USER, row["id"], number)
        self.add_token(self.token, service["id"])

    def user(self, username: str, firstname: str, lastname: str, email: str, **more: Any) -> Row:
        """Add an account; `more` sets any field of it, and `user_id` its id."""
        row: Row = {
            "username": username,
            "firstname": firstname,
            "lastname": lastname,
            "email": email,
            "idnumber": "",
            "department": "",
            "institution": "",
            "city": "",
            "phone1": "",
            "phone2": "",
            "address": "",
            "auth": "manual",
            "suspended": 0,
            "confirmed": 1,
            "deleted": 0,
            "lang": "en",
            "theme": "",
            "timezone": "99",
            "mailformat": 1,
            "trackforums": 0,
            "country": self.site.config.country,
            "firstaccess": 0,
            "lastaccess": 0,
            "description": "",
            "middlename": "",
            "alternatename": "",
            "firstnamephonetic": "",
            "lastnamephonetic": "",
            "profile": {},
            "timecreated": self.site.now(),
            "timemodified": self.site.now(),
        }
        user_id = more.pop("user_id", None)
        row.update(more)
        row = self.db.users.insert(row, user_id)
        if user_id is None or user_id > 3:
            self.site.add_context(USER, row["id"])
        return row

    def add_token(self, token: str, user: int, **more: Any) -> Row:
        """Add a token of an account.

        `functions` narrows what its service offers; `expired` and `ip_blocked` make it refuse.
        """
        return self.db.tokens.insert({"token": token, "userid": user, "functions": None, **more})

    def narrow_token(
        self, token: str, functions: list[str] | None = None, capabilities: list[str] | None = None
    ) -> Row:
        """Add a token with fewer functions, or of a new account with only these capabilities."""
        if capabilities is None:
            return self.add_token(token, self.db.users.find("username", "wsbridge")[0]["id"], functions=functions)
        name = f"ws{len(self.db.users) + 1}"
        account = self.user(name, "Narrow", "Account", f"{name}@example.com", capabilities=capabilities)
        return self.add_token(token, account["id"], functions=functions)

    def scale(self, name: str, items: list[str], scale_id: int | None = None) -> int:
        """Add a scale and return its id; Moodle has no web service for it."""
        identity: int = self.db.scales.insert({"name": name, "items": ",".join(items)}, scale_id)["id"]
        return identity

    def profile_field(self, shortname: str, name: str, datatype: str = "text", **more: Any) -> int:
        """Add a profile field: text, menu (`options`), checkbox, datetime or textarea."""
        row = {
            "shortname": shortname,
            "name": name,
            "datatype": datatype,
            "options": [],
            "maxlength": 2048,
            "default": "",
        }
        identity: int = self.db.profile_fields.insert({**row, **more})["id"]
        return identity

    def users(self, count: int, start: int = 1) -> list[int]:
        """Add people named emp0001 and so on, with id numbers E00001 and so on; return their ids."""
        ids = []
        for n in range(start, start + count):
            row = self.user(
                f"emp{n:04d}",
                FIRST_NAMES[n % len(FIRST_NAMES)],
                LAST_NAMES[n * 7 % len(LAST_NAMES)],
                f"emp{n:04d}@example.com",
                idnumber=f"E{n:05d}",
                department=f"Dept {(n - 1) % 20 + 1}",
            )
            ids.append(row["id"])
        return ids

    def category(self, name: str, idnumber: str = "") -> int:
        """Add a course category and return its id."""
        number = self.db.categories.next_id
        row = self.db.categories.insert(
            {
                "name": name,
                "idnumber": idnumber,
                "parent": 0,
                "sortorder": number * 10000,
                "timemodified": self.site.now(),
            }
        )
        self.site.add_context(COURSECAT, row["id"])
        return int(row["id"])

    def course(self, shortname: str, fullname: str, category: int = 1, **more: Any) -> int:
        """Add a course with a forum, a page and a label (done by viewing and by hand); return its id."""
        now = self.site.now()
        row = self.db.courses.insert(
            {
                "shortname": shortname,
                "fullname": fullname,
                "idnumber": "",
                "category": category,
                "summary": f"<p>Course {fullname}</p>",
                "summaryformat": 1,
                "format": "topics",
                "visible": 1,
                "startdate": 1726165896,
                "enddate": 0,
                "enablecompletion": 1,
                "newsitems": 1,
                "numsections": 2,
                "showgrades": 1,
                "lang": "",
                "timecreated": now,
                "timemodified": now,
                "marker": 0,
                **more,
            }
        )
        self.site.add_context(COURSE, row["id"])
        for name, tracking in (("forum", 0), ("page", 2), ("label", 1)):
            module = self.db.modules.insert(
                {
                    "course": row["id"],
                    "modname": name,
                    "name": f"{fullname} {name}",
                    "completion": tracking,
                    "instance": 1 + sum(1 for m in self.db.modules if m["modname"] == name),
                    "added": now,
                }
            )
            if name != "forum":
                self.site.add_context(MODULE, module["id"])
        return int(row["id"])

    def courses(self, count: int, category: int | None = None) -> list[int]:
        """Add courses CRS01 and so on, id numbers TRN-001 and so on, completed in four kinds of ways."""
        where = self.category("Training", "TRAIN") if category is None else category
        ids = []
        for n in range(1, count + 1):
            name = COURSE_NAMES[(n - 1) % len(COURSE_NAMES)] + ("" if n <= len(COURSE_NAMES) else f" {n}")
            course = self.course(f"CRS{n:02d}", name, where, idnumber=f"TRN-{n:03d}")
            self.criteria(course, (SELF, ACTIVITY, ROLE, DATE)[0 if n < 10 else 1 if n < 16 else 2 if n < 19 else 3])
            ids.append(course)
        self.sort_courses(where)
        return ids

    def sort_courses(self, category: int) -> None:
        """Put the courses of a category in the order Moodle keeps: the newest first."""
        rows = sorted((c for c in self.db.courses if c["category"] == category), key=lambda c: c["id"], reverse=True)
        for place, row in enumerate(rows, 1):
            row["sortorder"] = category * 10000 + place

    def criteria(self, course: int, kind: int, timeend: int | None = None) -> None:
        """Set what completes a course: oneself (1), a date (2), its activities (4), a manager (7)."""
        if kind == ACTIVITY:
            for module in self.db.modules.find("course", course):
                if module["completion"]:
                    self.db.criteria.insert({"course": course, "type": kind, "module": module["id"]})
            return
        end = self.site.now() - 30 * DAY if timeend is None else timeend
        self.db.criteria.insert({"course": course, "type": kind, "timeend": end if kind == DATE else None})

    def enrol(
        self, course: int, user: int, role: int = STUDENT, timecreated: int | None = None, status: int = 0
    ) -> Row:
        """Enrol somebody by hand, with a role."""
        created = self.site.now() if timecreated is None else timecreated
        context = self.site.add_context(COURSE, course)
        self.db.role_assignments.insert({"contextid": context, "userid": user, "roleid": role})
        return self.db.enrolments.insert(
            {
                "courseid": course,
                "userid": user,
                "status": status,
                "timestart": 0,
                "timeend": 0,
                "timecreated": created,
                "timemodified": created,
                "method": "manual",
            }
        )

    def complete(self, course: int, user: int, when: int, enrolled: int | None = None) -> None:
        """Complete a course for somebody, with its criteria and their activities."""
        start = when - 60 * DAY if enrolled is None else enrolled
        self.db.completions.insert(
            {
                "course": course,
                "userid": user,
                "timeenrolled": start,
                "timestarted": start,
                "timecompleted": when,
            }
        )
        for criterion in self.db.criteria.find("course", course):
            self.db.criteria_completions.insert(
                {"criteriaid": criterion["id"], "userid": user, "course": course, "timecompleted": when}
            )
            if criterion["type"] == ACTIVITY:
                self.db.module_completions.insert(
                    {
                        "coursemoduleid": criterion["module"],
                        "userid": user,
                        "completionstate": 1,
                        "timemodified": when,
                        "overrideby": None,
                    }
                )

    def enrolments(self, users: list[int], courses: list[int], completed: float = 0.5, half: bool = True) -> None:
        """Enrol everybody in half of the courses (or all), and complete that share over two years."""
        now = self.site.now()
        for i, course in enumerate(courses):
            members = [u for n, u in enumerate(users, 1) if not half or (3 * i + 7 * n + 13) % 20 < 10]
            done = set(self._random.sample(members, round(len(members) * completed)))
            for user in members:
                created = now - self._random.randrange(30, 730) * DAY
                self.enrol(course, user, timecreated=created)
                if user in done:
                    days = self._random.randrange(1, max(2, min(90, (now - created) // DAY)))
                    self.complete(course, user, created + days * DAY + self._random.randrange(DAY // 2), created)

    def report(
        self,
        name: str,
        source: str,
        columns: list[str],
        conditions: dict[str, Any] | None = None,
        **more: Any,
    ) -> int:
        """Add a custom report, as an administrator makes one in the report builder; return its id."""
        from connectors.simulators.moodle.reports import add_report

        return add_report(self.site, name, source, columns, conditions, **more)

    def completion_report(self) -> int:
        """Add the report *course participants with completion* that the bridge reads."""
        from connectors.simulators.moodle.reportcolumns import COMPLETION_COLUMNS, PARTICIPANTS

        conditions = {"enrolment:status_operator": 1, "enrolment:status_value": 0}
        return self.report("Completions feed", PARTICIPANTS, list(COMPLETION_COLUMNS), conditions)

    def competencies_report(self) -> int:
        """Add a report on the core source *Competencies*."""
        from connectors.simulators.moodle.reportcolumns import COMPETENCIES, COMPETENCY_COLUMNS

        return self.report(
            "Competencies feed", COMPETENCIES, list(COMPETENCY_COLUMNS), {"framework:visible_operator": 1}
        )

    def ratings_report(self) -> int:
        """Add the report on the core source *Competencies* that an administrator is asked to make for the bridge."""
        from connectors.simulators.moodle.reportcolumns import COMPETENCIES

        columns = ["framework:idnumber", "competency:idnumber", "user:idnumber", "user:username"]
        columns += ["usercompetency:rating", "usercompetency:proficient"]
        return self.report("Competency ratings for the bridge", COMPETENCIES, columns)

    def badge(self, name: str, description: str = "x", **more: Any) -> int:
        """Add a site badge and return its id."""
        now = self.site.now()
        row = {
            "name": name,
            "description": description,
            "timecreated": now,
            "timemodified": now,
            "usercreated": 2,
            "usermodified": 2,
            "issuername": "Lab",
            "issuerurl": "https://x.example",
            "issuercontact": "a@x.example",
            "type": 1,
            "courseid": None,
            "status": 3,
        }
        return int(self.db.badges.insert({**row, **more})["id"])

    def award(self, badge: int, user: int, when: int | None = None) -> None:
        """Give somebody a badge."""
        issued = self.site.now() if when is None else when
        digest = hashlib.sha1(f"{badge}-{user}-{issued}".encode(), usedforsecurity=False).hexdigest()
        self.db.issued_badges.insert(
            {"badgeid": badge, "userid": user, "dateissued": issued, "uniquehash": digest, "visible": 1}
        )

    def reference_site(self) -> None:
        """Fill the site that the recorded exchanges start from.

        300 users, 20 courses, 3,000 enrolments, 1,500 completions.
        """
        self.profile_field("positioncode", "Position code")
        self.profile_field("orgcode", "Organisation code")
        self.profile_field("hiredate", "Hire date", "datetime")
        self.profile_field("grade", "Grade", "menu", options=["Junior", "Senior", "Lead"])
        self.profile_field("onleave", "On leave", "checkbox", default="0")
        self.profile_field("bio", "Biography notes", "textarea")
        for username, capabilities in (
            ("wslimited", ["webservice/rest:use"]),
            ("wsnorest", []),
            ("wssuspended", None),
        ):
            self.user(
                username,
                "Limited",
                "Service",
                f"{username}@example.com",
                capabilities=capabilities,
                suspended=int(capabilities is None),
            )
        people = self.users(300)
        for n, user in enumerate(people, 1):
            fields = {"positioncode": f"POS{(n - 1) % 40 + 1:03d}", "orgcode": f"ORG{(n - 1) % 25 + 1:03d}"}
            row = self.db.users.get(user)
            if row is not None:
                row["profile"] = fields
        courses = self.courses(20)
        self.enrolments(people, courses)
        self.reference_tokens()

    def reference_tokens(self) -> dict[str, str]:
        """Add the further tokens of the reference site and return them by what is wrong with them."""
        service = self.db.users.find("username", "wsbridge")[0]["id"]
        few = [
            "core_webservice_get_site_info",
            "core_competency_list_competency_frameworks",
            "tool_mobile_call_external_functions",
        ]
        accounts = {
            name: self.db.users.find("username", f"ws{name}")[0]["id"] for name in ("limited", "norest", "suspended")
        }
        tokens = {name: f"token-{name}" for name in ("few", "expired", "blocked", *accounts)}
        self.add_token(tokens["few"], service, functions=few)
        self.add_token(tokens["expired"], service, expired=True)
        self.add_token(tokens["blocked"], service, ip_blocked=True)
        for name, account in accounts.items():
            self.add_token(tokens[name], account)
        return tokens
