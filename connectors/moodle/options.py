"""What a Moodle connection can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from connectors.http import Timeouts

Number = Annotated[int, Field(ge=1)]
"""A number of things, at least one."""
Seconds = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class MoodleOptions:
    """Where a Moodle is, who we are there, and how to treat it."""

    url: str
    """The site's address as in a browser, with its folder where it has one; without /webservice/..."""
    token: SecretStr
    connections: Number = 4
    batch_size: Number = 50
    """Writes in one request. More gains nothing (contracts/moodle-4.5/FACTS.md, Batching) and risks more at once."""
    read_batch_size: Number = 100
    max_input_vars: Annotated[int, Field(ge=20)] = 1000
    """PHP's limit on the server; form variables beyond it are dropped without a word."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    verify: bool | str = True
    """Whether the certificate is checked, or the file of the authority that signed it."""
    server_limit: Seconds = 60.0
    """Seconds the server may go on working on a request that nobody waits for (PHP's max_execution_time)."""
    attempts: Number = 5
    retired_idnumber: str = "RETIRED"
    retired_name: str = "Retired"
    descriptor_in_description: bool = True
    """Write level descriptors into the description of their competency, as Moodle has no place of its own for them."""
    delete_unused_competencies: bool = False
    """Delete a removed competency instead of retiring it, where nobody was rated, nothing uses it and all its
    children are ours."""
    delete_unused_templates: bool = False
    """Delete a removed template instead of hiding it, where no plan was made from it."""
    template_name: str = "{title}"
    """Name of a position's learning-plan template; {title} and {key} are filled in."""
    completion_report: str = ""
    """Name or id of the custom report with course completions; empty: look for one that fits."""
    competency_report: str = ""
    """Name or id of the custom report with competency ratings; empty: look for one that fits."""
    scale_probe: Number = 5
    """How many scale ids in a row may be unknown before the search for a scale ends."""

    # --- People ----------------------------------------------------------------------------------------------------

    create_users: bool = True
    """Make accounts for people who have none; otherwise only existing accounts are kept true."""
    username_from: Literal["feed", "key", "email"] = "feed"
    """The user name of a new account: `feed` (the mapped column, else the person's key), `key` or `email`. Names of
    existing accounts are never changed."""
    user_auth: str = "manual"
    """How a new account signs in, where no mapped column `auth` says so. Only a mapped column changes it later."""
    mail_new_passwords: bool = False
    """Let Moodle make a password for each new account and mail it. Otherwise nobody learns a password and no mail
    goes out: people sign in through single sign-on, or ask for a new password."""
    match_users_by: tuple[str, ...] = ("email", "username")
    """By what an account without an ID number is recognised, beside the ID number itself."""
    shared_addresses: bool = False
    """Whether this Moodle lets several accounts have one e-mail address."""
    protected_accounts: tuple[str, ...] = ()
    """User names, e-mail addresses or ID numbers of accounts that are never touched; * stands for anything. `admin`,
    `guest` and the service account are always among them."""
    account_scope: tuple[str, ...] = ()
    """User names or e-mail addresses of the only accounts that may be touched, * for anything; empty for all."""
    user_fields: Mapping[str, str] = field(default_factory=dict)
    """What goes into which field of an account (docs/moodle-people.md): department, institution, city, country,
    phone1, phone2, address or profile_field_NAME, from organisation, organisation_name, position, ... or a column."""
    organisation_cohort: str = "org:{key}"
    """ID number of an organisation unit's cohort; empty: none is made."""
    position_cohort: str = "pos:{key}"
    """ID number of a position's cohort; empty: none is made."""
    cohort_name: str = "{name}"
    """Name of a cohort; {name} and {key} are filled in."""
    cohorts_visible: bool = True
    roll_up_organisations: bool = False
    """Put people into the cohorts of the units above theirs too."""
    leavers_keep_cohorts: bool = True
    """Leave the memberships of people who left as they are: their accounts are suspended, their history stays."""

    plans: bool = True
    """Make a learning plan for each person whose position, unit, family or level needs something."""
    plan_name: str = "Learning plan: {title}"
    """Name of a person's plan; {title} and {key} of the position are filled in."""
    plan_name_without_position: str = "Learning plan"
    plan_leaving: Literal["close", "unlink", "keep"] = "close"
    """What happens to a plan when its person leaves the position: `close` (complete it as it stands), `unlink` (it
    becomes a plan of their own, which the bridge lets go of) or `keep`."""
    plan_keeps_finished: bool = True
    """Leave a competency in a plan that no longer asks for it, where the person has reached it."""
    plan_rotation_days: Number = 7
    """In how many nights every plan is read back once; 1 reads all plans every night."""
    course_enrolment: Literal["report", "enrol", "off"] = "report"
    """Courses that serve a needed competency: `report` names cohorts whose people are not enrolled, `enrol` enrols
    them, `off` does neither."""
    enrol_in: tuple[str, ...] = ("*",)
    """The courses that `course_enrolment` is about, by their key in the files; * stands for anything."""
    student_role: Number = 5
    """Id of the role that enrolment gives."""

    @property
    def endpoint(self) -> str:
        """The address of the REST server."""
        return self.url.rstrip("/") + "/webservice/rest/server.php"

    @property
    def calls_per_request(self) -> int:
        """How many calls a batch can hold so that no form variable is dropped; three variables a call, some spare."""
        return max(1, (self.max_input_vars * 9 // 10 - 5) // 3)
