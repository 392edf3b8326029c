"""Settings: addresses and secrets from the environment and `.env`, everything else from `bridge.toml`."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bridge.daemon_settings import DaemonSettings, ScheduleSettings
from bridge.feed_settings import FeedSettings
from bridge.ports import FixConfiguration
from bridge.redaction import remember
from bridge.retention_settings import RetentionSettings

DEFAULT_SITE = "moodle"
"""Name of the one site that a `.env` with MOODLE_URL and MOODLE_TOKEN makes, without any bridge.toml."""


class Environment(BaseSettings):
    """The variables the program itself knows. Those that `bridge.toml` names beside them are looked up the same way."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    moodle_url: str | None = None
    moodle_token: SecretStr | None = None
    lms_bridge_store: str = "sqlite:///.lms-bridge/state.sqlite"
    lms_bridge_config: str = "bridge.toml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitSettings(_Strict):
    """One limit: how many objects one run may touch in one way."""

    number: Annotated[int, Field(ge=0)]
    percent: Annotated[float, Field(ge=0, le=100)] = 100
    small: Annotated[int, Field(ge=0)] = 0


class PilotSettings(_Strict):
    """The part of the company that is pushed: people in these units (and below), positions, or named. Empty: all."""

    units: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    people: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.units or self.positions or self.people)


class SiteSettings(_Strict):
    """One LMS instance."""

    kind: Literal["moodle", "totara", "files"] = "moodle"
    url: str = ""
    token: str = ""
    model: str = ""
    feeds: tuple[str, ...] | None = None
    """The feeds whose people it holds, the one that speaks first where several list somebody; None: not said."""
    pilot: PilotSettings = PilotSettings()
    policy: dict[str, Literal["enforce", "respect", "report"]] = Field(default_factory=dict)
    erase: tuple[str, ...] = ()
    limits: dict[str, LimitSettings] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("limits")
    @classmethod
    def _name_ways(cls, limits: dict[str, LimitSettings]) -> dict[str, LimitSettings]:
        """A misspelt limit would protect nothing, and nobody would notice."""
        for name in limits:
            kind, _, way = name.rpartition(".")
            if not kind or way not in ("create", "update", "move", "remove"):
                raise ValueError(f"{name!r} limits nothing: write KIND.create, KIND.update, KIND.move or KIND.remove")
        return limits


class FileSettings(_Strict):
    """What `bridge.toml` may hold."""

    store: str | None = None
    sites: dict[str, SiteSettings] = Field(default_factory=dict)
    feeds: dict[str, FeedSettings] = Field(default_factory=dict)
    daemon: DaemonSettings = DaemonSettings()
    schedules: dict[str, ScheduleSettings] = Field(default_factory=dict)
    retention: RetentionSettings = RetentionSettings()


class Settings(_Strict):
    """Everything a job needs to know that a person has set."""

    folder: Path
    """The folder that relative paths in the settings start from."""
    store: str
    sites: dict[str, SiteSettings]
    feeds: dict[str, FeedSettings] = Field(default_factory=dict)
    daemon: DaemonSettings = DaemonSettings()
    schedules: dict[str, ScheduleSettings] = Field(default_factory=dict)
    retention: RetentionSettings = RetentionSettings()
    variables: Mapping[str, str] = Field(repr=False)
    """Environment and `.env`, the environment first. Never printed: secrets are among them."""
    warnings: tuple[str, ...] = ()

    def site_named(self, name: str | None) -> tuple[str, SiteSettings]:
        """Return a site by name; without a name the only one there is. Raises FixConfiguration otherwise."""
        if not self.sites:
            raise FixConfiguration(
                "No LMS is set up yet. Run `lms-bridge init`, then put MOODLE_URL and MOODLE_TOKEN into the file .env."
            )
        names = ", ".join(sorted(self.sites))
        if name is None:
            if len(self.sites) > 1:
                raise FixConfiguration(f"There are several sites ({names}). Say which one with --site NAME.")
            return next(iter(self.sites.items()))
        if name not in self.sites:
            raise FixConfiguration(f"There is no site {name!r} in the settings. There are: {names}.")
        return name, self.sites[name]

    def secret(self, reference: str, what: str) -> SecretStr:
        """Return the secret a reference points to: `env:NAME`, `file:PATH` (mode 600) or `keyring:SERVICE/USER`.

        Raises FixConfiguration where it is not there, or lies open for others to read.
        """
        found = self._secret(reference, what)
        remember(found.get_secret_value())
        return found

    def _secret(self, reference: str, what: str) -> SecretStr:
        scheme, _, rest = reference.partition(":")
        if scheme == "env":
            value = self.variables.get(rest, "")
            if not value:
                raise FixConfiguration(f"{what}: the variable {rest} is not set. Put it into .env or the environment.")
            return SecretStr(value)
        if scheme == "file":
            return SecretStr(_private_text(self.folder / rest, what))
        if scheme == "keyring":
            return _from_keyring(rest, what)
        raise FixConfiguration(
            f"{what}: write it as env:NAME, file:PATH or keyring:SERVICE/USER. "
            "A secret itself does not belong in bridge.toml."
        )


def load_settings(folder: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings that hold in a folder. Raises FixConfiguration naming each thing that is wrong."""
    # An empty variable says nothing: it must not hide what .env says.
    process = {name: value for name, value in (os.environ if environment is None else environment).items() if value}
    dotenv = folder / ".env"
    from_file = {name: value for name, value in dotenv_values(dotenv).items() if value} if dotenv.is_file() else {}
    variables = {**from_file, **process}
    known = Environment.model_validate(
        {name: variables[name.upper()] for name in Environment.model_fields if variables.get(name.upper())}
    )
    path = folder / known.lms_bridge_config
    from_toml = _read_toml(path)
    sites = dict(from_toml.sites)
    if not sites and known.moodle_url:
        sites[DEFAULT_SITE] = SiteSettings(url=known.moodle_url, token="env:MOODLE_TOKEN")  # noqa: S106  where it is
    warnings = []
    if from_file and _open_to_others(dotenv):
        warnings.append(f"{dotenv} holds secrets and others on this machine may read it. Run: chmod 600 {dotenv}")
    chosen = variables.get("LMS_BRIDGE_STORE") or from_toml.store or known.lms_bridge_store
    without = sorted(name for name, site in sites.items() if site.kind == "moodle" and not site.url)
    if len(without) > 1:
        raise FixConfiguration(
            f"The sites {', '.join(without)} have no url, and MOODLE_URL can only be one. Set `url`."
        )
    return Settings(
        folder=folder,
        store=_absolute(chosen, folder),
        sites={name: _filled(name, site, variables) for name, site in sites.items()},
        feeds=from_toml.feeds,
        daemon=from_toml.daemon,
        schedules=from_toml.schedules,
        retention=from_toml.retention,
        variables=variables,
        warnings=tuple(warnings),
    )


def _filled(name: str, site: SiteSettings, variables: Mapping[str, str]) -> SiteSettings:
    """Return a site with its address looked up where it is given as `env:NAME`; a Moodle without one has MOODLE_URL."""
    if not site.url and site.kind == "moodle" and variables.get("MOODLE_URL"):
        return site.model_copy(update={"url": variables["MOODLE_URL"], "token": site.token or "env:MOODLE_TOKEN"})
    if not site.url.startswith("env:"):
        return site
    variable = site.url.removeprefix("env:")
    if not variables.get(variable):
        raise FixConfiguration(f"Site {name}: the variable {variable} (its url) is not set. Put it into .env.")
    return site.model_copy(update={"url": variables[variable]})


def _read_toml(path: Path) -> FileSettings:
    if not path.is_file():
        return FileSettings()
    try:
        return FileSettings.model_validate(tomllib.loads(path.read_text("utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise FixConfiguration(f"{path} is not valid TOML: {error}. Mend that line.") from error
    except UnicodeDecodeError as error:
        raise FixConfiguration(f"{path} is not UTF-8 text. Save it as UTF-8.") from error
    except ValidationError as error:
        raise FixConfiguration(f"{path} has settings that cannot be used:\n  {in_plain_words(error)}") from error


def in_plain_words(error: ValidationError) -> str:
    """Return which settings cannot be used and why, one a line."""
    return "\n  ".join(
        f"{'.'.join(str(part) for part in one['loc'])}: {_plainly(one['type'], one['msg'])}" for one in error.errors()
    )


def _plainly(kind: str, message: str) -> str:
    """Return pydantic's message in plainer words where it helps."""
    if kind == "extra_forbidden":
        return "there is no such setting. Check the spelling; `lms-bridge init` writes an example with all of them."
    return message.removeprefix("Value error, ")


def _absolute(url: str, folder: Path) -> str:
    """Return a SQLite URL with its path starting from the folder; any other URL as it is."""
    prefix = "sqlite:///"
    if not url.startswith(prefix) or url.startswith(prefix + "/") or url == prefix + ":memory:":
        return url
    return prefix + str((folder / url.removeprefix(prefix)).absolute())


def _open_to_others(path: Path) -> bool:
    return os.name == "posix" and bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _private_text(path: Path, what: str) -> str:
    if not path.is_file():
        raise FixConfiguration(f"{what}: there is no file {path}.")
    if _open_to_others(path):
        raise FixConfiguration(f"{what}: others on this machine may read {path}. Run: chmod 600 {path}")
    return path.read_text("utf-8").strip()


def _from_keyring(name: str, what: str) -> SecretStr:
    try:
        import keyring
    except ModuleNotFoundError as error:
        raise FixConfiguration(f"{what}: reading the keyring needs lms-bridge[keyring]. Install that.") from error
    service, _, user = name.partition("/")
    value = keyring.get_password(service, user)
    if not value:
        raise FixConfiguration(f"{what}: the keyring has no entry {service} for {user}.")
    return SecretStr(value)
