"""The settings of unattended work: `[daemon]`, `[daemon.notify]` and `[schedules.NAME]`."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from bridge.cron import Cron

Step = Literal["ingest", "push", "report", "pull", "tidy", "backup"]

HOUSE_STEPS = ("tidy", "backup")
"""Steps that are for the bridge as a whole, and not for one site after the other."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _as_tuple(value: Any) -> Any:
    """Take one text where several may stand."""
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


def zone(name: str) -> ZoneInfo:
    """Return a time zone by its name. Raises ValueError with a sentence where there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}: write it as in Europe/Berlin or UTC") from error


class Blackout(_Strict):
    """A time of day in which nothing begins. One that ends before it begins goes over midnight."""

    from_: dt.time = Field(alias="from")
    to: dt.time
    days: Texts = ()
    """Weekdays on which it begins, mon to sun; none: every day."""

    @field_validator("days")
    @classmethod
    def _known_days(cls, days: tuple[str, ...]) -> tuple[str, ...]:
        for day in days:
            if day not in DAYS:
                raise ValueError(f"{day!r} is no weekday: write {', '.join(DAYS)}")
        return days

    @model_validator(mode="after")
    def _some_time(self) -> Blackout:
        if self.from_ == self.to:
            raise ValueError("from and to are the same time: nothing would ever begin")
        return self


class ScheduleSettings(_Strict):
    """What runs when: a chain of steps, for each of its sites."""

    run: Annotated[tuple[Step, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    """Steps in their order; one begins only when the one before it ended well."""
    cron: str = ""
    every: Annotated[float, Field(ge=1)] | None = None
    """Seconds between two times, in place of `cron`; counted from midnight UTC of 1970, so that all agree."""
    time_zone: str = ""
    """Empty: that of [daemon]."""
    sites: Texts = ()
    """Empty: every site."""
    feeds: Texts = ()
    """What `ingest` takes in. Empty: the feeds of the site."""
    jitter: Annotated[float, Field(ge=0)] = 0.0
    """Seconds over which the sites are spread; each keeps its own place, every time."""
    misfire_grace: Annotated[float, Field(gt=0)] | None = None
    """Seconds by which it may begin late; None: that of [daemon]."""
    blackouts: tuple[Blackout, ...] = ()
    enabled: bool = True

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        if value:
            Cron(value)
        return value

    @model_validator(mode="after")
    def _one_of_two(self) -> ScheduleSettings:
        if bool(self.cron) == (self.every is not None):
            raise ValueError("say when it runs: either cron, or every (seconds)")
        return self

    @model_validator(mode="after")
    def _house_apart(self) -> ScheduleSettings:
        if not self.keeps_house:
            return self
        others = [step for step in self.run if step not in HOUSE_STEPS]
        if others:
            raise ValueError(
                f"tidy and backup are for all sites at once, and {others[0]} is for one after the other: "
                "write two schedules"
            )
        if self.sites or self.feeds:
            raise ValueError("tidy and backup are for all sites at once: leave out `sites` and `feeds`")
        return self

    @property
    def keeps_house(self) -> bool:
        """True where it is for the bridge as a whole."""
        return any(step in HOUSE_STEPS for step in self.run)

    @field_validator("time_zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        if value:
            zone(value)
        return value


class NotifySettings(_Strict):
    """Who is told what, and how often."""

    to: Texts = ()
    """Addresses as apprise writes them. They hold passwords: env:NAME, file:PATH or keyring:SERVICE/USER."""
    about: tuple[Literal["failure", "refusal", "quarantine", "recovery", "titles"], ...] = (
        "failure",
        "refusal",
        "quarantine",
        "recovery",
        "titles",
    )
    every: Annotated[float, Field(gt=0)] = 900.0
    """Seconds: at most one message in this time, with everything that happened since the last."""
    remind: Annotated[float, Field(gt=0)] = 86_400.0
    """Seconds after which a trouble that goes on is told again."""


class DaemonSettings(_Strict):
    """How the daemon works."""

    time_zone: str = "UTC"
    misfire_grace: Annotated[float, Field(gt=0)] = 3600.0
    """Seconds by which a run may begin late (the machine slept, the daemon was restarted). Later, it is left out."""
    workers: Annotated[int, Field(ge=1, le=64)] = 4
    """Chains that run at once; one site never has two."""
    site_wait: Annotated[float, Field(ge=0)] = 900.0
    """Seconds a step waits for another program that works on its site."""
    lease: Annotated[float, Field(ge=1)] = 60.0
    """Seconds without a sign of life after which a run on a site counts as dead and another may begin."""
    stop_within: Annotated[float, Field(gt=0)] = 60.0
    """Seconds after SIGTERM by which the daemon has ended."""
    blackouts: tuple[Blackout, ...] = ()
    listen: str = "127.0.0.1:9464"
    """Where /healthz, /readyz and /metrics answer; empty: nowhere."""
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning"] = "info"
    log_file: str = ""
    """Empty: standard error."""
    log_bytes: Annotated[int, Field(ge=10_000)] = 10_000_000
    log_files: Annotated[int, Field(ge=1, le=100)] = 5
    """Older log files kept."""
    reports: str = ".lms-bridge/reports"
    """Folder of the step `report`."""
    reports_kept: Annotated[int, Field(ge=1)] = 90
    """Reports kept for each site."""
    tidy: str = "45 4 * * *"
    """When what has expired is removed (cron), where no schedule says `tidy`; empty: never by itself."""
    backoff: tuple[Annotated[float, Field(ge=0)], ...] = (900.0, 3600.0, 14_400.0, 79_200.0)
    """Seconds until a failing site is tried again after its first failure in a row, its second, ...; the last holds on.
    22 hours are once a day: a chain that begins at the same time every day is tried every day."""
    notify: NotifySettings = NotifySettings()

    @field_validator("time_zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        zone(value)
        return value

    @field_validator("tidy")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        if value:
            Cron(value)
        return value

    @field_validator("backoff")
    @classmethod
    def _some(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value:
            raise ValueError("name at least one wait, in seconds")
        return value

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and not (host and port.isdigit() and int(port) < 65_536):
            raise ValueError("write HOST:PORT, as in 127.0.0.1:9464, or leave it empty")
        return value
