"""Badges people earned."""

from connectors.simulators.moodle.errors import missing_record
from connectors.simulators.moodle.people import fullname
from connectors.simulators.moodle.records import page
from connectors.simulators.moodle.site import Call, function
from connectors.simulators.moodle.tables import Row


def _image(call: Call, badge: Row) -> str:
    return f"{call.wwwroot}/webservice/pluginfile.php/1/badges/badgeimage/{badge['id']}/f3"


def _award(call: Call, issued: Row) -> Row:
    badge = call.db.badges.get(issued["badgeid"]) or {}
    user = call.db.users.get(issued["userid"]) or {}
    full = user["id"] == call.user_id or call.may("moodle/badges:configuredetails")
    answer: Row = {"id": badge["id"], "name": call.string(badge["name"]), "description": badge["description"]}
    answer |= {"timecreated": badge["timecreated"] if full else 0, "timemodified": badge["timemodified"] if full else 0}
    if full:
        answer |= {"usercreated": badge["usercreated"], "usermodified": badge["usermodified"]}
    answer |= {key: badge[key] for key in ("issuername", "issuerurl", "issuercontact")}
    if full:
        answer |= {"expiredate": None, "expireperiod": None}
    answer["type"] = badge["type"]
    if full:
        answer["courseid"] = badge["courseid"]
        answer["message"] = (
            '<p>You have been awarded the badge "%badgename%"!</p>\n'
            "<p>More information about this badge can be found on the %badgelink% badge information page.</p>\n"
            f'<p>You can manage and download the badge from your <a href="{call.wwwroot}/badges/mybadges.php">'
            "Manage badges</a> page.</p>"
        )
        answer["messagesubject"] = "Congratulations! You just earned a badge!"
    answer |= {"attachment": 1, "notification": 0 if full else 1}
    if full:
        answer["nextcron"] = None
    answer["status"] = badge["status"] if full else 0
    if full:
        answer["issuedid"] = issued["id"]
    answer |= {
        "uniquehash": issued["uniquehash"],
        "dateissued": issued["dateissued"],
        "dateexpire": None,
        "visible": issued["visible"] if full else 0,
        "recipientid": user["id"],
        "recipientfullname": fullname(user),
    }
    if full:
        answer["email"] = user["email"]
    answer |= {"version": "1", "language": "en"}
    answer |= dict.fromkeys(("imageauthorname", "imageauthoremail", "imageauthorurl", "imagecaption"), "")
    answer |= {"badgeurl": _image(call, badge), "alignment": [], "relatedbadges": []}
    return answer


@function("core_badges_get_user_badges")
def user_badges(call: Call, args: Row) -> Row:
    """Answer the badges of one person, the newest first."""
    user = call.active_user(args["userid"] or call.user_id)
    rows = call.db.issued_badges.find("user", user["id"])
    if args["courseid"]:
        rows = [r for r in rows if (call.db.badges.get(r["badgeid"]) or {}).get("courseid") == args["courseid"]]
    rows.sort(key=lambda r: (-r["dateissued"], r["id"]))
    size = args["perpage"]
    return {"badges": [_award(call, row) for row in page(rows, args["page"] * size, size)], "warnings": []}


@function("core_badges_get_badge")
def get_badge(call: Call, args: Row) -> Row:
    """Answer a badge in the Open Badges form."""
    badge = call.db.badges.get(args["id"])
    if badge is None:
        raise missing_record("badge", "id", args["id"])
    return {
        "badge": {
            "type": "BadgeClass",
            "id": f"{call.wwwroot}/badges/badgeclass.php?id={badge['id']}",
            "issuer": badge["issuername"],
            "name": call.string(badge["name"]),
            "image": _image(call, badge),
            "description": badge["description"],
            "hostedUrl": badge["issuerurl"],
        },
        "warnings": [],
    }


@function("core_badges_get_user_badge_by_hash")
def badge_by_hash(call: Call, args: Row) -> Row:
    """Answer one award by its hash."""
    found = [row for row in call.db.issued_badges if row["uniquehash"] == args["hash"]]
    if found:
        return {"badge": [_award(call, found[0])], "warnings": []}
    warning = {
        "item": args["hash"],
        "warningcode": "badgeawardnotfound",
        "message": "Cannot verify this awarded badge.  This badge may have been revoked.",
    }
    return {"badge": [], "warnings": [warning]}
