"""What the site says about itself."""

from connectors.simulators.moodle import params
from connectors.simulators.moodle.errors import no_permission, plain
from connectors.simulators.moodle.site import USER, Call, function
from connectors.simulators.moodle.tables import Row


def picture(call: Call, size: int) -> str:
    """Return the address of the picture of somebody who has none."""
    return f"{call.wwwroot}/theme/image.php/boost/core/{call.site.config.theme_revision}/u/f{size}"


@function("core_webservice_get_site_info")
def site_info(call: Call, args: Row) -> Row:
    """Answer name, version, account, and the functions of the token's service."""
    del args
    config, user = call.site.config, call.user
    known = params.signatures()
    names = sorted(known) if call.functions is None else [name for name in sorted(known) if name in call.functions]
    advanced = (
        ("usecomments", 1),
        ("usetags", 1),
        ("enablenotes", 1),
        ("messaging", 1),
        ("enableblogs", 1),
        ("enablecompletion", 1),
        ("enablebadges", 1),
        ("messagingallusers", 0),
        ("enablecustomreports", 1),
        ("enableglobalsearch", 0),
        ("mnet_dispatcher_mode", 0),
        ("enablecompetencies", int(config.competencies_enabled)),
    )
    return {
        "sitename": config.sitename,
        "username": user["username"],
        "firstname": user["firstname"],
        "lastname": user["lastname"],
        "fullname": f"{user['firstname']} {user['lastname']}",
        "lang": "en",
        "userid": user["id"],
        "siteurl": call.wwwroot,
        "userpictureurl": picture(call, 1),
        "functions": [{"name": name, "version": known[name].version} for name in names],
        "downloadfiles": 1,
        "uploadfiles": 1,
        "release": config.release,
        "version": config.version,
        "mobilecssurl": "",
        "advancedfeatures": [{"name": name, "value": value} for name, value in advanced],
        "usercanmanageownfiles": True,
        "userquota": 104857600,
        "usermaxuploadfilesize": 67108864,
        "userhomepage": 1,
        "userprivateaccesskey": user.get("privatekey", "KEY"),
        "siteid": 1,
        "sitecalendartype": "gregorian",
        "usercalendartype": "gregorian",
        "userissiteadmin": bool(user.get("siteadmin")),
        "theme": "boost",
        "limitconcurrentlogins": 0,
        "policyagreed": 0,
    }


@function("tool_mobile_get_public_config")
def public_config(call: Call, args: Row) -> Row:
    """Answer what anybody may know about the site."""
    del args
    config = call.site.config
    return {
        "wwwroot": call.wwwroot,
        "httpswwwroot": call.wwwroot,
        "sitename": config.sitename,
        "guestlogin": 1,
        "rememberusername": 2,
        "authloginviaemail": 0,
        "registerauth": "",
        "forgottenpasswordurl": "",
        "authinstructions": "",
        "authnoneenabled": 0,
        "enablewebservices": int(config.webservices_enabled),
        "enablemobilewebservice": 0,
        "maintenanceenabled": int(config.maintenance),
        "maintenancemessage": "",
        "typeoflogin": 1,
        "launchurl": f"{call.wwwroot}/admin/tool/mobile/launch.php",
        "mobilecssurl": "",
        "tool_mobile_disabledfeatures": "",
        "country": config.country,
        "agedigitalconsentverification": False,
        "supportpage": "",
        "supportavailability": 1,
        "autolang": 1,
        "lang": "en",
        "langmenu": 1,
        "langlist": "",
        "locale": "",
        "tool_mobile_minimumversion": "",
        "tool_mobile_iosappid": "633359593",
        "tool_mobile_androidappid": "com.moodle.moodlemobile",
        "tool_mobile_setuplink": "https://download.moodle.org/mobile",
        "tool_mobile_qrcodetype": 1,
        "warnings": [],
        "showloginform": 1,
    }


@function("tool_mobile_get_config")
def mobile_config(call: Call, args: Row) -> Row:
    """Answer the settings a client asks for first; a real site tells some sixty."""
    del args
    config = call.site.config
    settings: dict[str, object] = {
        "fullname": config.sitename,
        "shortname": config.shortname,
        "summary": "",
        "summaryformat": "0",
        "numsections": 1,
        "timezone": config.timezone,
        "forcetimezone": "99",
        "calendartype": "gregorian",
        "enabledashboard": "1",
    }
    return {"settings": [{"name": name, "value": value} for name, value in settings.items()], "warnings": []}


@function("core_form_dynamic_form")
def dynamic_form(call: Call, args: Row) -> Row:
    """Refuse: forms need the key of a browser session, which a token does not bring."""
    del call, args
    raise plain("missingparam", "A required parameter (sesskey) was missing", "error")


@function("core_files_get_unused_draft_itemid")
def draft_item(call: Call, args: Row) -> Row:
    """Answer a number under which files could be uploaded."""
    del args
    return {
        "component": "user",
        "contextid": call.site.add_context(USER, call.user_id),
        "userid": call.user_id,
        "filearea": "draft",
        "itemid": _draft_number(call),
        "warnings": [],
    }


def _draft_number(call: Call) -> int:
    return 100_000_000 + (call.now() * 7919 + call.request) % 900_000_000


@function("core_files_upload")
def upload(call: Call, args: Row) -> Row:
    """Take a file into the draft area; its content is not kept."""
    context = call.site.add_context(USER, call.user_id)
    item = args["itemid"] or _draft_number(call)
    path, name = args["filepath"], args["filename"]
    return {
        "contextid": context,
        "component": "user",
        "filearea": "draft",
        "itemid": item,
        "filepath": path,
        "filename": name,
        "url": f"{call.wwwroot}/draftfile.php/{context}/user/draft/{item}{path}{name}",
    }


@function("core_get_string")
def get_string(call: Call, args: Row) -> str:
    """Answer a string of the language pack; only a few are known here."""
    del call
    known = {
        "competency": "Competency",
        "competencies": "Competencies",
        "course": "Course",
        "learningplans": "Learning plans",
        "yes": "Yes",
        "no": "No",
    }
    identifier = str(args["stringid"])
    return known.get(identifier, f"[[{identifier}]]")


@function("core_user_get_user_preferences")
def user_preferences(call: Call, args: Row) -> Row:
    """Answer one's own preferences (none are kept); those of others need the right to configure the site."""
    if args["userid"] not in (0, call.user_id) and not call.may("moodle/site:config"):
        raise no_permission("moodle/site:config")
    return {"preferences": [], "warnings": []}
