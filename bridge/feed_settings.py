"""The settings of feeds: which columns mean what, which rules hold for their rows, when a file is trusted."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _as_tuple(value: Any) -> Any:
    """Take one text where several may stand."""
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]

Step = Literal["strip", "squeeze", "lower", "upper", "plain", "digits"]
"""What may be done to a text: outer spaces off, doubled spaces off, lower or upper case, accents off, digits only."""


class ColumnRule(_Strict):
    """How one field is made from the columns of a feed.

    In this order: the first column of `from` that the file has, or all of `join`, or `constant`; then `regex` (its
    first group, else the whole match; no match gives nothing), `apply`, `map` or `lookup`, and `default` for nothing.
    """

    from_: Texts = Field(default=(), alias="from")
    join: tuple[str, ...] = ()
    separator: str = " "
    constant: str | None = None
    regex: str | None = None
    apply: tuple[Step, ...] = ()
    map: dict[str, str] = Field(default_factory=dict)
    lookup: str = ""
    """A CSV file of two columns, from and to; seen from the folder of bridge.toml."""
    default: str = ""

    @field_validator("regex")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"this is no regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> ColumnRule:
        if (bool(self.from_) + bool(self.join) + (self.constant is not None)) > 1:
            raise ValueError("give one of from, join and constant, not several")
        return self

    @property
    def is_plain(self) -> bool:
        """True where the value is taken as it stands in one column."""
        return not (
            self.join
            or self.regex
            or self.apply
            or self.map
            or self.lookup
            or self.default
            or self.constant is not None
        )


def _as_rule(value: Any) -> Any:
    """Take a header, or several that mean the same, for a rule."""
    return {"from": value} if isinstance(value, str | list | tuple) else value


Rule = Annotated[ColumnRule, BeforeValidator(_as_rule)]


class TrustSettings(_Strict):
    """When a file is believed. A file that is not goes into quarantine until a person decides."""

    minimum_rows: Annotated[int, Field(ge=0)] = 1
    maximum_drop: Annotated[float, Field(ge=0, le=100)] = 10.0
    """Percent fewer rows than the last accepted file had."""
    maximum_rejected: Annotated[float, Field(ge=0, le=100)] = 5.0
    """Percent of the rows that may be refused."""
    minimum_in_common: Annotated[float, Field(ge=0, le=100)] = 50.0
    """Percent of the file's people whom the last accepted file must have known."""
    small: Annotated[int, Field(ge=0)] = 5
    """No percentage stops this many rows or fewer."""
    required: tuple[str, ...] = ("person", "last_name", "email")
    """Fields whose column a file must have."""
    manifest: Literal["optional", "required"] = "optional"


class PgpOptions(_Strict):
    """How files are opened that come encrypted or signed with PGP."""

    home: str
    signers: tuple[str, ...] = ()
    encrypted: bool = True
    passphrase: str = ""
    """Where the passphrase is: env:NAME, file:PATH or keyring:SERVICE/USER."""


class FeedSettings(_Strict):
    """One feed: where its files arrive, how they are written, what their columns mean, what holds for their rows."""

    kind: Literal["folder", "sftp"] = "folder"
    path: str = ""
    pattern: str = "*.csv"
    order: Literal["name", "date"] = "name"
    ready: Literal["stable", "marker", "manifest"] = "stable"
    interval: Annotated[float, Field(ge=0)] = 60.0
    """Seconds over which a file's size and time must stay the same."""
    archive: str = "archive"
    max_bytes: Annotated[int, Field(ge=1)] = 2 * 1024**3
    """A larger file is refused."""
    max_entries: Annotated[int, Field(ge=1)] = 20_000
    """A drop that lists more than this is refused: the path is probably wrong."""
    host: str = ""
    port: int = 22
    user: str = ""
    host_keys: Texts = ()
    password: str = ""
    """Where the password is: env:NAME, file:PATH or keyring:SERVICE/USER."""
    key_file: str = ""
    key_passphrase: str = ""
    connect_seconds: Annotated[float, Field(gt=0)] = 20.0
    """Longest time for each of connecting, agreeing on keys, logging in."""
    operation_seconds: Annotated[float, Field(gt=0)] = 30.0
    """Longest silence of the server within one request."""
    total_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """Longest time for one look or one download, all attempts together."""
    attempts: Annotated[int, Field(ge=1)] = 4
    """How often a broken download is resumed within one run."""
    pgp: PgpOptions | None = None

    model: str = ""
    """Folder of the job architecture that names units and positions; else that of the only site."""
    decisions: str = ""
    """A CSV file of decided titles: job_title, department_code (may be missing), position."""
    snapshot: Literal["full", "delta"] = "full"
    encoding: str | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    sheet: str | None = None
    date_format: str | None = None
    """As in `%d/%m/%Y`; found out from the file where it is not given."""
    decimal: Literal[".", ","] | None = None

    columns: dict[str, Rule] = Field(default_factory=dict)
    extra: dict[str, Rule] = Field(default_factory=dict)
    """Further fields to keep for each person, by the name they get."""
    ignore: tuple[str, ...] = ()
    """Fields not to take although the file has a column for them."""

    email_optional: bool = False
    duplicate_email: Literal["reject", "allow"] = "reject"
    unknown_manager: Literal["reject", "drop"] = "reject"
    unknown_unit: Literal["reject", "drop"] = "reject"
    names_may_lose_letters: bool = False
    trust: TrustSettings = TrustSettings()

    @field_validator("date_format")
    @classmethod
    def _dates(cls, value: str | None) -> str | None:
        if value is not None:
            day = dt.date(2024, 12, 31)
            try:
                same = dt.datetime.strptime(day.strftime(value), value).date() == day  # noqa: DTZ007 - a calendar day
            except ValueError:
                same = False
            if not same:
                raise ValueError("a date format names day (%d), month (%m or %b) and year (%Y or %y), as in %d/%m/%Y")
        return value
