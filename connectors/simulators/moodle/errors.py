"""The exceptions Moodle answers with, and the bodies they become.

Observed on Moodle 4.5.6 (`contracts/moodle-4.5`, Faults): an application error is HTTP 200 with `exception`,
`errorcode` and `message`; a missing, an invalid and an unknown parameter look the same unless the site
debugs.
"""

from typing import Any


class MoodleError(Exception):
    """One Moodle exception: its PHP class, error code, message and what a debugging site adds."""

    def __init__(
        self,
        exception: str,
        errorcode: str | None,
        message: str,
        debuginfo: str | None = None,
        module: str = "moodle",
    ) -> None:
        super().__init__(message)
        self.exception = exception
        self.errorcode = errorcode
        self.message = message
        self.debuginfo = debuginfo
        self.module = module

    def body(self, debug: bool) -> dict[str, Any]:
        """Return the answer of a single call."""
        answer: dict[str, Any] = {"exception": self.exception}
        if self.errorcode is not None:
            answer["errorcode"] = self.errorcode
        answer["message"] = self.message
        if debug and self.debuginfo is not None:
            answer["debuginfo"] = self.debuginfo
        return answer

    def inner_body(self, wwwroot: str) -> dict[str, Any]:
        """Return the exception object of a call inside a batch."""
        if self.errorcode == "accessexception":
            return {"errorcode": "accessexception", "module": "webservice"}
        if self.errorcode is None:
            return {"message": self.message}
        link: Any = {} if self.errorcode == "nopermissions" else f"{wwwroot}/"
        more = f"https://docs.moodle.org/405/en/error/{self.module}/{self.errorcode}"
        return {"message": self.message, "errorcode": self.errorcode, "link": link, "moreinfourl": more}


class SimulatedCrashError(Exception):
    """The PHP process died in the middle of a request: status 500 with nothing in it."""


def invalid_parameter(debuginfo: str = "") -> MoodleError:
    """Return the answer to a missing, invalid or unknown parameter."""
    return MoodleError(
        "core\\exception\\invalid_parameter_exception",
        "invalidparameter",
        "Invalid parameter value detected",
        debuginfo or None,
        "debug",
    )


def missing_record(table: str, where: str = "id", value: object = None) -> MoodleError:
    """Return the answer to an id that no row of the table has."""
    debug = f"SELECT * FROM {{{table}}} WHERE {where} = ?\n[array (\n  0 => {value},\n)]"  # noqa: S608 - a message
    return MoodleError(
        "dml_missing_record_exception",
        "invalidrecord",
        f"Can't find data record in database table {table}.",
        debug,
    )


def invalid_user() -> MoodleError:
    """Return the answer to an unknown or deleted user id."""
    return MoodleError("dml_missing_record_exception", "invaliduser", "Invalid user")


def invalid_module() -> MoodleError:
    """Return the answer to an unknown course module id."""
    return MoodleError("dml_missing_record_exception", "invalidcoursemodule", "Invalid course module ID")


def coding(message: str) -> MoodleError:
    """Return a coding exception, Moodle's answer to a call its API does not foresee."""
    return MoodleError(
        "core\\exception\\coding_exception",
        "codingerror",
        f"Coding error detected, it must be fixed by a programmer: {message}",
        module="debug",
    )


def no_context() -> MoodleError:
    """Return the answer to ids of zero or less, which Moodle takes for a record without a context."""
    return coding("Invalid context id specified context::instance_by_id()")


def invalid_persistent(*errors: str) -> MoodleError:
    """Return the answer to a record that fails its own validation; one sentence a field."""
    return MoodleError("core\\invalid_persistent_exception", "invalidpersistenterror", "Error: " + ", ".join(errors))


INVALID_DATA = "Data submitted is invalid"


def database_write(debuginfo: str = "") -> MoodleError:
    """Return the answer to a value too long, a deadlock or a clash of an index.

    Moodle does not tell them apart.
    """
    return MoodleError("dml_write_exception", "dmlwriteexception", "Error writing to database", debuginfo or None)


def database_read() -> MoodleError:
    """Return the answer to SQL that fails, as by an unknown sort column."""
    return MoodleError("dml_read_exception", "dmlreadexception", "Error reading from database")


def plain(errorcode: str, message: str, module: str = "moodle") -> MoodleError:
    """Return a plain moodle_exception."""
    return MoodleError("core\\exception\\moodle_exception", errorcode, message, module=module)


def access_denied(debuginfo: str = "") -> MoodleError:
    """Return the answer to a call the token or its service does not allow."""
    return MoodleError("webservice_access_exception", "accessexception", "Access control exception", debuginfo or None)


def course_closed() -> MoodleError:
    """Return the answer to a course the token's account may not enter."""
    return MoodleError(
        "core\\exception\\require_login_exception", "requireloginerror", "Course or activity not accessible."
    )


def no_permission(capability: str) -> MoodleError:
    """Return the answer to a missing capability, naming it as Moodle does."""
    name = CAPABILITY_NAMES.get(capability, capability)
    return MoodleError(
        "core\\exception\\required_capability_exception",
        "nopermissions",
        f"Sorry, but you do not currently have permissions to do that ({name}).",
    )


CAPABILITY_NAMES = {
    "moodle/competency:competencymanage": "Manage competency frameworks",
    "moodle/competency:competencyview": "View competency frameworks",
    "moodle/competency:competencygrade": "Rate competencies",
    "moodle/competency:coursecompetencymanage": "Manage course competencies",
    "moodle/competency:coursecompetencyview": "View course competencies",
    "moodle/competency:coursecompetencyconfigure": "Configure course competency settings",
    "moodle/competency:templatemanage": "Manage learning plan templates",
    "moodle/competency:templateview": "View learning plan templates",
    "moodle/competency:planmanage": "Manage learning plans",
    "moodle/competency:planview": "View all learning plans",
    "moodle/competency:planreview": "Review a learning plan",
    "moodle/competency:usercompetencyview": "View a user competency",
    "moodle/competency:usercompetencyreview": "Review a user competency",
    "moodle/competency:userevidenceview": "View evidence of prior learning",
    "moodle/competency:userevidencemanage": "Manage evidence of prior learning",
    "moodle/cohort:manage": "Create, delete and move cohorts",
    "moodle/cohort:view": "View site-wide cohorts",
    "moodle/cohort:assign": "Add and remove cohort members",
    "moodle/user:create": "Create users",
    "moodle/user:update": "Update user profiles",
    "moodle/user:delete": "Delete users",
    "moodle/user:viewdetails": "View user profiles",
    "moodle/role:assign": "Assign roles to users",
    "moodle/course:create": "Create courses",
    "moodle/course:update": "Update course settings",
    "moodle/course:viewparticipants": "View participants",
    "moodle/course:managegroups": "Manage groups",
    "moodle/site:config": "Change site configuration",
    "enrol/manual:enrol": "Enrol users",
    "enrol/manual:unenrol": "Unenrol users from the course",
    "report/completion:view": "View course completion report",
    "moodle/badges:viewotherbadges": "View public badges in other users' profiles",
}
