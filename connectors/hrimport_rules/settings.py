"""The settings of a site's HR Import that decide what a file does, and how they are read from a file."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

ELEMENT_NAMES = ("comp", "org", "pos", "user", "jobassignment")
HIERARCHIES = ("comp", "org", "pos")

# ISO 3166-1 alpha-2, upper case: the only country values the site takes.
COUNTRIES = frozenset(
    _code
    for _line in (
        "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV",
        "BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES",
        "ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE",
        "IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY",
        "MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU",
        "NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM",
        "SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE",
        "VG VI VN VU WF WS YE YT ZA ZM ZW",
    )
    for _code in _line.split()
)

# The authentication plugins a stock site has installed.
AUTH_PLUGINS = frozenset(
    {"manual", "nologin", "email", "ldap", "db", "approved", "connect", "gauth", "mnet", "oauth2", "saml2"}
    | {"shibboleth", "webservice", "cas", "none", "ssosaml", "pam", "imap", "pop3", "nntp", "radius", "fc"}
)


class SettingsError(ValueError):
    """A settings file that cannot be used; the message says where and what to write instead."""


@dataclass(frozen=True, slots=True)
class CustomField:
    """A custom field as the site defines it: its type, its options, and whether a value may occur once only."""

    datatype: str = "text"
    options: tuple[str, ...] = ()
    unique: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class ElementSettings:
    """The options of one element, named as in the site's configuration."""

    sourceallrecords: bool = False
    # Whether a blank cell erases. None where the site's choice is not known: then it does, as on the recorded site
    # (order 60), which is also the reading that stops more files.
    csvsaveemptyfields: bool | None = None
    allow_create: bool = True
    allow_update: bool = True
    # Hierarchies and job assignments: 0 no, 1 yes. Users: 0 keep, 1 delete, 2 suspend.
    allow_delete: int = 1
    delimiter: str = ","
    encoding: str = "UTF-8"
    # The columns switched on ("import_<column>"); None where the site's choice is not known.
    imported: frozenset[str] | None = None
    # Columns switched on or off one by one, over whatever ``imported`` or the files say.
    switched: Mapping[str, bool] = field(default_factory=dict)
    # Column -> heading in the file, where the site renames it ("fieldmapping_<column>").
    mapping: Mapping[str, str] = field(default_factory=dict)
    # user
    allowduplicatedemails: bool = False
    defaultsyncemail: str = ""
    # jobassignment
    updateidnumbers: bool = False
    # Whether an earlier import linked jobs by id number; None: the site's state tells.
    previouslylinkedonjobassignmentidnumber: bool | None = None

    @property
    def erases(self) -> bool:
        """Whether a blank cell erases what the site holds (otherwise it leaves it)."""
        return self.csvsaveemptyfields is not False


def _default_elements() -> dict[str, ElementSettings]:
    # The site's own default for users is to keep them; the others may be deleted.
    return {name: ElementSettings(allow_delete=0) if name == "user" else ElementSettings() for name in ELEMENT_NAMES}


@dataclass(frozen=True, slots=True)
class HrImportSettings:
    """A site's HR Import settings: one ``ElementSettings`` an element, and what the whole site decides."""

    elements: Mapping[str, ElementSettings] = field(default_factory=_default_elements)
    version: tuple[int, int] = (17, 3)
    csvdateformat: str = "d/m/Y"
    timezone: str = "Europe/London"
    allow_multiple_jobs: bool = True
    extended_usernames: bool = False
    # None: whatever the file names is installed.
    auth_plugins: frozenset[str] | None = AUTH_PLUGINS
    languages: frozenset[str] | None = None
    tenants: frozenset[str] | None = None
    # "comp" chooses between aggregationmethod and assignavailability by this feature.
    competency_assignment: bool = False
    # What the site does to an account it deletes: "fullproper" frees the idnumber, "partial" keeps it.
    authdeleteusers: str = "fullproper"
    user_custom_fields: Mapping[str, CustomField] = field(default_factory=dict)

    def element(self, name: str) -> ElementSettings:
        """The options of an element (the site's defaults where none were given)."""
        return self.elements.get(name) or _default_elements()[name]

    def with_element(self, name: str, **changes: Any) -> HrImportSettings:
        """The same settings with some options of one element changed."""
        return replace(self, elements={**self.elements, name: replace(self.element(name), **changes)})

    @property
    def modern(self) -> bool:
        """Whether the site is newer than 12.9 (rows too long are dropped, not fatal; 17's columns)."""
        return self.version >= (13, 0)


_PLUGIN = re.compile(r"(?:totara_sync_)?(?:element|source)?_?(comp|org|pos|user|jobassignment)(?:_csv)?")
_BOOLEANS = {
    "sourceallrecords",
    "csvsaveemptyfields",
    "allow_create",
    "allow_update",
    "allowduplicatedemails",
    "updateidnumbers",
    "previouslylinkedonjobassignmentidnumber",
}
_ELEMENT_KEYS = {entry.name for entry in fields(ElementSettings)}
_ALIASES = {"totara_job_allowmultiplejobs": "allow_multiple_jobs", "date_format": "csvdateformat"}
# Options of the site that change accounts' passwords or notices, never a row's outcome.
_WITHOUT_EFFECT = {
    "ignoreexistingpass",
    "forcepwchange",
    "undeletepwreset",
    "fileaccess",
    "fileaccessusedefaults",
    "filesdir",
    "scheduleusedefaults",
    "notificationusedefaults",
    "notifymailto",
    "notifytypes",
}


def _switch(value: Any, where: str) -> bool:
    return bool(_number(value, where))


def _number(value: Any, where: str) -> int:
    """An option's number; the words the site shows beside it ("2 (suspend)") are allowed."""
    if isinstance(value, bool | int):
        return int(value)
    text = str(value).strip().lower()
    words = {"": 0, "no": 0, "false": 0, "keep": 0, "yes": 1, "true": 1, "delete": 1, "suspend": 2}
    match = re.match(r"\d+", text)
    if match:
        return int(match[0])
    if text in words:
        return words[text]
    message = f"{where}: {value!r} is not a choice; write 0 or 1 (2 for users: suspend)"
    raise SettingsError(message)


def settings_from_mapping(
    data: Mapping[str, Any], base: HrImportSettings | None = None, *, where: str = "settings"
) -> HrImportSettings:
    """Settings from plain values: element options nested by element, or flat ones that hold for all five.

    Keys are the site's own (``sourceallrecords``, ``import_<column>``, ``fieldmapping_<column>``,
    ``csvdateformat``...), also nested under the plugin's name as the site's configuration shows them.

    Raises:
        SettingsError: a key or value nobody knows.
    """
    settings = base or HrImportSettings()
    site: dict[str, Any] = {}
    per_element: dict[str, dict[str, Any]] = {name: {} for name in ELEMENT_NAMES}
    for key, value in data.items():
        plugin = _PLUGIN.fullmatch(key)
        if plugin and isinstance(value, Mapping):
            per_element[plugin[1]].update(value)
        elif key in {"elements", "element"} and isinstance(value, Mapping):
            for name, options in value.items():
                if name not in per_element or not isinstance(options, Mapping):
                    message = f"{where}: {key}.{name} is no element; there are {', '.join(ELEMENT_NAMES)}"
                    raise SettingsError(message)
                per_element[name].update(options)
        elif isinstance(value, Mapping) and key in {"site", "totara", "cfg"}:
            site.update(value)
        elif _is_element_key(key):
            for options in per_element.values():
                options.setdefault(key, value)
        else:
            site[key] = value
    elements = dict(settings.elements)
    for name, options in per_element.items():
        current = elements.get(name) or _default_elements()[name]
        elements[name] = _element_from(current, options, name, f"{where}: {name}")
        for key in ("totara_job_allowmultiplejobs", "csvdateformat"):
            if key in options:
                site.setdefault(key, options[key])
    return _site_from(replace(settings, elements=elements), site, where)


def _is_element_key(key: str) -> bool:
    return (
        key in _ELEMENT_KEYS
        or key in _WITHOUT_EFFECT
        or key.startswith(("import_", "fieldmapping_"))
        or re.fullmatch(r"csv\w+encoding", key) is not None
    )


def _element_from(current: ElementSettings, options: Mapping[str, Any], element: str, where: str) -> ElementSettings:
    changes: dict[str, Any] = {}
    switched = dict(current.switched)
    mapping = dict(current.mapping)
    for key, value in options.items():
        spot = f"{where}.{key}"
        if key in _BOOLEANS:
            changes[key] = _switch(value, spot)
        elif key == "allow_delete":
            number = _number(value, spot)
            changes[key] = min(number, 2 if element == "user" else 1)
        elif key == "delimiter":
            changes[key] = "\t" if value in {"\\t", "tab", "\t"} else str(value)
            if len(changes[key]) != 1 or changes[key] in '"\\\n\r':
                message = f"{spot}: {value!r} is no delimiter; the site knows , ; : | and tab"
                raise SettingsError(message)
        elif key == "encoding" or re.fullmatch(r"csv\w+encoding", key):
            changes["encoding"] = str(value)
            try:
                b"x".decode(str(value), "ignore")
            except (LookupError, UnicodeError) as error:
                message = f"{spot}: {value!r} is no character encoding; write for example UTF-8"
                raise SettingsError(message) from error
        elif key in {"imported", "columns"}:
            changes["imported"] = frozenset(str(column) for column in value)
        elif key == "mapping" and isinstance(value, Mapping):
            mapping.update({str(column): str(heading) for column, heading in value.items() if heading})
        elif key.startswith("import_"):
            switched[_column(key.removeprefix("import_"))] = _switch(value, spot)
        elif key.startswith("fieldmapping_"):
            if value:
                mapping[_column(key.removeprefix("fieldmapping_"))] = str(value)
        elif key == "defaultsyncemail":
            changes[key] = str(value or "")
        elif key not in _WITHOUT_EFFECT and key not in {"totara_job_allowmultiplejobs", "csvdateformat"}:
            message = f"{spot} is not a setting of HR Import; remove it or correct its name"
            raise SettingsError(message)
    return replace(current, **changes, switched=switched, mapping=mapping)


def _column(key: str) -> str:
    """``customfield_<type id>_<name>`` (how the site keys a hierarchy's field) as ``customfield_<name>``."""
    return re.sub(r"^customfield_\d+_", "customfield_", key)


def _site_from(settings: HrImportSettings, site: Mapping[str, Any], where: str) -> HrImportSettings:
    changes: dict[str, Any] = {}
    for key, value in site.items():
        name = _ALIASES.get(key, key)
        spot = f"{where}: {key}"
        if name in {"allow_multiple_jobs", "extended_usernames", "competency_assignment"}:
            changes[name] = _switch(value, spot)
        elif name in {"csvdateformat", "timezone", "authdeleteusers"}:
            changes[name] = str(value)
            if name == "timezone" and str(value) not in available_timezones():
                message = f"{spot}: {value!r} is no time zone; write for example Europe/London"
                raise SettingsError(message)
        elif name in {"auth_plugins", "languages", "tenants"}:
            changes[name] = frozenset(str(item) for item in value)
        elif name == "version":
            numbers = [int(part) for part in re.findall(r"\d+", str(value))[:2]]
            if not numbers:
                message = f"{spot}: {value!r} is no version; write for example 17.3"
                raise SettingsError(message)
            changes[name] = (numbers[0], numbers[1] if len(numbers) > 1 else 0)
        elif name == "user_custom_fields" and isinstance(value, Mapping):
            changes[name] = {
                str(short): CustomField(
                    datatype=str(definition.get("datatype", "text")),
                    options=tuple(str(option) for option in definition.get("options", ())),
                    unique=bool(definition.get("unique", False)),
                    required=bool(definition.get("required", False)),
                )
                for short, definition in value.items()
            }
        else:
            message = f"{spot} is not a setting of HR Import; remove it or correct its name"
            raise SettingsError(message)
    return replace(settings, **changes)


def load_settings(path: Path, base: HrImportSettings | None = None) -> HrImportSettings:
    """Settings from a JSON or TOML file.

    Raises:
        SettingsError: the file cannot be read, is neither JSON nor TOML, or holds an unknown setting.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        message = f"The settings file {path} cannot be read: {error}"
        raise SettingsError(message) from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        message = f"The settings file {path} is neither JSON nor TOML: {error}"
        raise SettingsError(message) from error
    if not isinstance(data, Mapping):
        message = f"The settings file {path} must hold named settings, not a list"
        raise SettingsError(message)
    return settings_from_mapping(data, base, where=path.name)
