"""What each rule of HR Import means for a person: one sentence on what happens, one on what to do."""

from __future__ import annotations

# Rules of rows that went through or were left alone need no advice and are absent here.
ADVICE: dict[str, str] = {
    # Faults that stop the whole element.
    "emptyfile": "The file is empty, and the site's task fails. Send at least the heading line, or no file.",
    "headeronly": "The file has headings only, and the site's task fails. Send no file when there is nothing to send.",
    "csvnotvalidmissingfieldx": "A column the site imports is missing. Add it, or switch it off on the site.",
    "csvnotvalidmissingfieldxmappingx": "The site renames a column, and that heading is missing. Use it.",
    "csvnotvalidinvalidchars": "A heading holds a character the site refuses. Check the delimiter and the encoding.",
    "couldnotimportallrecords": "The database refuses a value of the file. Write timemodified as a unix time or in the "
    "site's date format, and leave no key empty.",
    "frameworkxnotexist": "The framework does not exist. Make it in Totara first: no file can.",
    "parentxnotexist": "The parent is neither in the file nor on the site. Send the parent, or correct its key.",
    "parentxnotexistinfile": "In all-records mode every parent must be in the file. Send it, or use partial mode.",
    "typexnotexist": "The type does not exist. Make it in Totara first: no file can.",
    "customfieldnotexist": "The custom field does not belong to the row's type. Leave it blank, or correct the type.",
    "sanitycheckfailed": "The file failed the site's checks; the lines before say which.",
    "circularreferror": "These items are each other's parents. Break the circle.",
    "aggregrationmethodmusthavevalue": "A new competency needs an aggregation method: ALL, ANY or OFF.",
    "existingitemxframeworkidnotfound": "A new item has no framework. The rows before it are applied, the rest is not.",
    "cannotsyncitemparent": "A parent in the file has no framework. The rows before it are applied, the rest is not.",
    "deletefieldmissingnotallrecords": "Partial mode needs the deleted column. Switch it on in the site's settings.",
    "previouslylinkedmismatch": "Earlier imports linked jobs by id number, so the first job cannot be renamed. "
    "Set updateidnumbers to 0.",
    # Rows that never arrive.
    "fieldcountmismatch": "The row has not as many fields as the headings. In all-records mode it counts as missing.",
    "swallowed": "A quoted field before this row ends in a backslash and swallows it. Remove that backslash.",
    "lengthlimitexceeded": "A value is too long. An organisation, position, competency or job is dropped and counts "
    "as missing; an account gets the username data_exceeded_length.",
    # Users.
    "usersyncdisabled": "The account was made by hand or through an API. Switch HR Import on for it in Totara.",
    "duplicateuserswithidnumberx": "The file has this id number more than once. Send one row.",
    "duplicateuserswithusernamex": "The file has this username more than once. Send one row.",
    "duplicateuserswithemailx": "The file has this e-mail address more than once. Give each person their own.",
    "duplicateusernamexdb": "Another account has this username. A file can never take over an account without id "
    "number: set its id number in Totara.",
    "duplicateusersemailxdb": "Another account has this e-mail address. Correct one of them.",
    "emptyvalueidnumberx": "The id number is empty. Every person needs one.",
    "emptyvalueusernamex": "The username is empty.",
    "emptyvaluefirstnamex": "The first name is empty.",
    "emptyvaluelastnamex": "The last name is empty.",
    "emptyvalueemailx": "The e-mail address is empty, and the site does not allow that.",
    "emptyemailusercreation": "A new account needs an e-mail address.",
    "emptyvalueauthx": "The authentication column is empty. Write for example manual.",
    "invalidemailx": "The e-mail address is not one the site accepts.",
    "invalidcountrycode": "The country must be a code of two capital letters, for example NZ.",
    "invalidauthxforuserx": "The authentication plugin is not installed on the site.",
    "invalidusernamex": "The username holds characters the site refuses: use letters, digits and - _ . @.",
    "invalidcaseusernamex": "The username is taken over in lower case.",
    "invalidlangx": "The language is not installed; the account is made with it nevertheless.",
    "cannotupdatedeleteduserx": "The account is deleted, and the site may not create accounts.",
    "optionxnotexist": "The menu has no such option: the value is dropped, the account is taken.",
    "fieldduplicated": "Another account has this value in a field that must be unique.",
    "fieldmustbeunique": "The file has this value more than once in a field that must be unique.",
    "tenantmemberxnotexist": "The tenant does not exist.",
    "tenantmemberandparticipantpresent": "An account is a member or a participant of tenants, not both.",
    # Job assignments.
    "missingrequiredfieldjobassignment": "The job's id number or its user's is empty.",
    "posxnotexistjobassignment": "The position does not exist on the site. Send positions first.",
    "orgxnotexistjobassignment": "The organisation does not exist on the site. Send organisations first.",
    "managerxnotexistjobassignment": "The manager has no account on the site.",
    "appraiserxnotexistjobassignment": "The appraiser has no account on the site.",
    "tempmanagerxnotexistjobassignment": "The temporary manager has no account on the site.",
    "unabletomatchuseridnumber": "The person has no account on the site. Send users first.",
    "selfassignedmanagerjobassignment": "A person cannot manage themselves.",
    "selfassignedtempmanagerjobassignment": "A person cannot be their own temporary manager.",
    "selfassignedappraiserjobassignment": "A person cannot appraise themselves.",
    "emptymanagerjobassignmentidnumber": "A manager is named without their job's id number.",
    "emptytempmanagerjobassignmentidnumber": "A temporary manager is named without their job's id number.",
    "managerjaxnotexistjobassignment": "The manager has no job with this id number, on the site or in the file.",
    "tempmanagerjaxnotexistjobassignment": "The temporary manager has no job with this id number.",
    "managerxhasnojobassignment": "The manager has no job on the site or in the file.",
    "tempmanagerxhasnojobassignment": "The temporary manager has no job on the site or in the file.",
    "tempmanagerxexpirydatenotset": "A temporary manager needs an expiry date.",
    "tempmanagerxexpirydateinthepast": "The temporary manager's expiry date has passed.",
    "managementloop": "The manager reports to this person, directly or through others.",
    "duplicateentriesjobassignment": "The file has this job of this person more than once; none of the rows is taken.",
    "startafterendjobassignment": "The job ends before it starts.",
    "invaliddateformatjobassignment": "A date is not in the site's format: it is dropped, the job is taken.",
    "multiplejobsdisablednocreate": "The site allows one job a person, and this person has one.",
    "jobassignmentsyncdisabled": "The job was made by hand or through an API. HR Import leaves it alone.",
    "willcreateduplicatejobidnumber": "The person has another job with this id number.",
    # Kept, with something lost.
    "customfieldsnotype": "The row has custom fields but no type: they are dropped, the item is taken.",
    "customfieldinvalidmaptype": "The custom field does not belong to the row's type: it is dropped.",
    "unrecognisedaggregrationmethod": "The aggregation method is unknown: the rest of the row is taken.",
    # Left alone.
    "totarasync": "The item was made by hand: HR Import leaves it alone without a word.",
    "allow_create": "The site may not create: the row is passed over without a word.",
    "allow_update": "The site may not update: the row is passed over without a word.",
    "allow_delete": "The site may not delete: the row is passed over without a word.",
}


def advice(rule: str) -> str:
    """What the rule means and what to do; empty for rules that need neither."""
    return ADVICE.get(rule, "")
