"""The English texts of the site's log messages, by code, as they appear in the sync log report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

TEXTS: dict[str, str] = {
    "syncstarted": "HR Import started",
    "syncfinished": "HR Import finished",
    "nofiletosync": "No file to import (file path: {path})",
    "csvnotvalidmissingfieldx": 'CSV file not valid, missing field "{field}"',
    "csvnotvalidmissingfieldxmappingx": 'CSV file not valid, missing field "{mapping}" (mapping for "{field}")',
    "csvnotvalidinvalidchars": (
        'CSV file not valid. It contains invalid characters ("{invalidchars}"). Fields in a CSV file must be '
        'separated by a selected delimiter ("{delimiter}").'
    ),
    "couldnotimportallrecords": "could not import all records. Error details: {detail}",
    "fieldcountmismatch": (
        "Skipping row {rownum} in CSV file - {fieldcount} fields found but {headercount} fields expected. "
        'Please make sure fields are separated by a selected delimiter ("{delimiter}").'
    ),
    "lengthlimitexceeded": (
        'value "{value}" is too long for "{field}" field. It cannot be longer than {length} characters. '
        "Skipped {source} {idnumber}"
    ),
    "deletefieldmissingnotallrecords": (
        "The delete field is missing, this is a required field if the file does not contain all records"
    ),
    "sanitycheckfailed": "sanity check failed, aborting...",
    "frameworkxnotexist": "framework {name} does not exist",
    "duplicateidnumberx": "Duplicate idnumber {idnumber}",
    "parentxnotexist": "parent {name} does not exist",
    "parentxnotexistinfile": "parent {name} does not exist in HR Import file",
    "typexnotexist": "type {name} does not exist",
    "circularreferror": "circular reference error between items {names}",
    "customfieldsnotype": "custom fields specified, but no type {idnumber}",
    "customfieldinvalidmaptype": (
        "While processing item {idnumber}: the custom field column, {column}, is not valid for type: {type}"
    ),
    "unrecognisedaggregrationmethod": "Unrecognised aggregation method value: {value}",
    "aggregrationmethodmusthavevalue": (
        "The aggregation method must be given a value for item with idnumber: {idnumber}"
    ),
    "existingitemxframeworkidnotfound": (
        "item {idnumber} does not have a framework id number, this is required when framework id of the "
        "existing item is empty"
    ),
    "cannotsyncitemparent": "cannot import item's parent {idnumber}",
    "createdx": "created {item}",
    "updatedx": "updated {item}",
    "deletedx": "deleted {item}",
    "cannotdeletex": "cannot delete {item} (might already be deleted)",
    "usersyncdisabled": "Skipped user {idnumber} as their HR Import setting is disabled.",
    "duplicateuserswithidnumberx": "Duplicate users with idnumber {value}. Skipped user {idnumber}",
    "duplicateuserswithusernamex": "Duplicate users with username {value}. Skipped user {idnumber}",
    "duplicateuserswithemailx": "Duplicate users with email {value}. Skipped user {idnumber}",
    "duplicateusernamexdb": "Username {value} is already registered. Skipped user {idnumber}",
    "duplicateusersemailxdb": "Email {value} is already registered. Skipped user {idnumber}",
    "emptyvalueidnumberx": "Idnumber cannot be empty. Skipped user {idnumber}",
    "emptyvalueusernamex": "Username cannot be empty. Skipped user {idnumber}",
    "emptyvalueauthx": "Auth cannot be empty. Skipped user {idnumber}",
    "emptyvaluefirstnamex": "First name cannot be empty. Skipped user {idnumber}",
    "emptyvaluelastnamex": "Last name cannot be empty. Skipped user {idnumber}",
    "emptyvalueemailx": "Email cannot be empty (duplicates not allowed). Skipped user {idnumber}",
    "emptyemailusercreation": "Empty email address. Skipped user {idnumber}",
    "invalidemailx": "Invalid email address. Skipped user {idnumber}",
    "invalidlangx": "Invalid language specified for user {idnumber}",
    "invalidcountrycode": "Invalid country code {value} for user {idnumber}",
    "invalidauthxforuserx": "invalid authentication plugin {value} for user {idnumber}",
    "invalidusernamex": (
        "User {idnumber} has a username, '{value}', containing invalid characters. It will not be imported. "
        "Please update your source data."
    ),
    "invalidcaseusernamex": (
        "User {idnumber} has a username, '{value}', containing mixed case characters. It will be imported "
        "with the username converted to lower case. Please update your source data accordingly."
    ),
    "cannotupdatedeleteduserx": "cannot undelete user {idnumber}",
    "optionxnotexist": "Option '{value}' does not exist for {field} field. Please check user {idnumber}",
    "fieldrequired": "{field} is a required field and must have a value. Please check user {idnumber}",
    "fieldduplicated": (
        "The value '{value}' for {field} is a duplicate of existing data and must be unique. Skipped user {idnumber}"
    ),
    "fieldmustbeunique": (
        "The value '{value}' for {field} is duplicated in the uploaded data and must be unique. Skipped user {idnumber}"
    ),
    "tenantmemberxnotexist": "Tenant '{value}' does not exist. Skipped user {idnumber}",
    "tenantmemberandparticipantpresent": (
        "A user cannot be a tenant member and a tenant participant. Skipped user {idnumber}"
    ),
    "createduserx": "created user {idnumber}",
    "updateduserx": "updated user {idnumber}",
    "reviveduserx": "revived user {idnumber}",
    "deleteduserx": "deleted user {idnumber}",
    "suspendeduserx": "suspended {idnumber}",
    "cannotdeleteuseradmin": "Local administrator accounts can not be deleted: {idnumber}",
    "cannotdeleteuserguest": "Guest user account can not be deleted: {idnumber}",
    "previouslylinkedmismatch": (
        "This import would link to the first job assignment, but an earlier import linked by job assignment id number"
    ),
    "missingrequiredfieldjobassignment": (
        "Some records are missing their idnumber and/or useridnumber. These records were skipped."
    ),
    "invaliddateformatjobassignment": (
        "Invalid date format for field '{field}' for job assignment with id number '{idnumber}' for user "
        "'{useridnumber}'. Values for this field will not be added/updated."
    ),
    "invaliddateformatforfield": "Invalid date format for field {field}",
    "posxnotexistjobassignment": "Position '{value}' does not exist. {skipped}",
    "orgxnotexistjobassignment": "Organisation '{value}' does not exist. {skipped}",
    "selfassignedmanagerjobassignment": "User '{useridnumber}' cannot be their own manager. {skipped}",
    "managerxnotexistjobassignment": ("User '{value}' does not exist and was set to be assigned as manager. {skipped}"),
    "selfassignedtempmanagerjobassignment": ("User '{useridnumber}' cannot be their own temporary manager. {skipped}"),
    "tempmanagerxnotexistjobassignment": (
        "User '{value}' does not exist and was set to be assigned as temporary manager. {skipped}"
    ),
    "selfassignedappraiserjobassignment": "User '{useridnumber}' cannot be their own appraiser. {skipped}",
    "appraiserxnotexistjobassignment": (
        "User '{value}' does not exist and was set to be assigned as appraiser. {skipped}"
    ),
    "duplicateentriesjobassignment": (
        "Multiple entries found for job assignment '{idnumber}' for user '{useridnumber}'. No updates made to "
        "this job assignment."
    ),
    "unabletomatchuseridnumber": (
        "Unable to match useridnumber '{useridnumber}' to a user ID number for job assignment '{idnumber}'"
    ),
    "emptymanagerjobassignmentidnumber": (
        "Missing manager's job assignment id number for assigning manager '{value}'. {skipped}"
    ),
    "managerjaxnotexistjobassignment": (
        "Job assignment '{value}' for manager '{manageridnumber}' does not exist. {skipped}"
    ),
    "managerxhasnojobassignment": (
        "User '{manageridnumber}' does not have a job assignment and was set to be assigned as manager. {skipped}"
    ),
    "emptytempmanagerjobassignmentidnumber": (
        "Missing temporary manager's job assignment id number for assigning temporary manager '{value}'. {skipped}"
    ),
    "tempmanagerjaxnotexistjobassignment": (
        "Job assignment '{value}' for temporary manager '{manageridnumber}' does not exist. {skipped}"
    ),
    "tempmanagerxhasnojobassignment": (
        "User '{manageridnumber}' does not have a job assignment and was set to be assigned as temporary manager. "
        "{skipped}"
    ),
    "tempmanagerxexpirydatenotset": (
        "The expiry date is not set for assigning '{value}' as temporary manager. {skipped}"
    ),
    "tempmanagerxexpirydateinthepast": (
        "The expiry date can not be in the past for assigning '{value}' as temporary manager. {skipped}"
    ),
    "startafterendjobassignment": "Start date cannot be later than end date. {skipped}",
    "managementloop": (
        "Skipped job assignment '{idnumber}' for user '{useridnumber}' as creating it would generate a circular "
        "management structure."
    ),
    "willcreateduplicatejobidnumber": (
        "User '{useridnumber}' has another job assignment with the same idnumber as what is being updated. {skipped}"
    ),
    "multiplejobsdisablednocreate": (
        "Tried to create a job assignment but multiple job assignments site setting is disabled and a job "
        "assignment already exists. {skipped}"
    ),
    "jobassignmentsyncdisabled": (
        "Skipped job assignment '{idnumber}' for user '{useridnumber}' as the HR Import setting for that job "
        "assignment is disabled."
    ),
    "createdjobassignmentx": "Created job assignment '{idnumber}' for user '{useridnumber}'.",
    "updatedjobassignmentx": "Updated job assignment '{idnumber}' for user '{useridnumber}'.",
    "deletedjobassignmentx": "Deleted job assignment '{idnumber}' for user '{useridnumber}'.",
}

_SKIPPED = "Skipped job assignment '{idnumber}' for user '{useridnumber}'."


def text_of(code: str, values: Mapping[str, Any]) -> str:
    """The text the site logs for a code."""
    template = TEXTS[code].replace("{skipped}", _SKIPPED)
    return template.format_map(values)


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    compiled: list[tuple[str, re.Pattern[str]]] = []
    for code, template in TEXTS.items():
        seen: set[str] = set()
        pattern = ""
        for piece in re.split(r"(\{\w+\})", template.replace("{skipped}", _SKIPPED)):
            name = piece[1:-1] if piece.startswith("{") else ""
            if not name:
                pattern += re.escape(piece)
            elif name in seen:
                pattern += f"(?P={name})"
            else:
                seen.add(name)
                pattern += f"(?P<{name}>.*)"
        compiled.append((code, re.compile(pattern, re.DOTALL)))
    # The most specific text wins: "created user X" is both a user's creation and "created <item>".
    return sorted(compiled, key=lambda pair: -len(re.sub(r"\(\?P<\w+>\.\*\)", "", pair[1].pattern)))


def recognise(info: str, among: Iterable[str] | None = None) -> tuple[str, dict[str, str]] | None:
    """The code and the values of an English log text; None when it is in another language or cut too short.

    Texts the site cut at 255 characters are recognised by their beginning when only one code fits.
    """
    wanted = set(among) if among is not None else None
    for code, pattern in _patterns():
        if wanted is not None and code not in wanted:
            continue
        match = pattern.fullmatch(info)
        if match:
            return code, match.groupdict()
    return None
