"""Where a site takes files or leaves them, as `bridge.toml` says it: a folder, or a folder behind SFTP."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bridge.feed_settings import Texts
from bridge.ports import FixConfiguration
from bridge.settings import Settings, SiteSettings, in_plain_words
from connectors.feeds.settings import SftpOutboxSettings, SftpServer


class Strict(BaseModel):
    """Settings in which a misspelt name is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SftpPlace(Strict):
    """A folder on an SFTP server. Secrets are references: `env:NAME`, `file:PATH` or `keyring:SERVICE/USER`."""

    host: Annotated[str, Field(min_length=1)]
    user: Annotated[str, Field(min_length=1)]
    port: int = 22
    path: str = "."
    host_keys: Texts = ()
    password: str = ""
    key_file: str = ""
    key_passphrase: str = ""
    attempts: Annotated[int, Field(ge=1)] = 4
    pause_seconds: Annotated[float, Field(ge=0)] = 2.0


OptionsT = TypeVar("OptionsT", bound=Strict)


def options_of(kind: type[OptionsT], name: str, site: SiteSettings) -> OptionsT:
    """Return a site's options, checked. Raises FixConfiguration naming each thing that is wrong."""
    try:
        return kind.model_validate(site.options)
    except ValidationError as error:
        raise FixConfiguration(
            f"bridge.toml, [sites.{name}.options] has settings that cannot be used:\n  {in_plain_words(error)}"
        ) from error


def place_of(place: SftpPlace, settings: Settings, where: str) -> SftpOutboxSettings:
    """Return how to reach a folder behind SFTP. Raises FixConfiguration where a secret is not there."""

    def secret(reference: str, what: str) -> str | None:
        return settings.secret(reference, f"{where}: {what}").get_secret_value() if reference else None

    server = SftpServer(
        host=place.host,
        user=place.user,
        port=place.port,
        host_keys=place.host_keys,
        password=secret(place.password, "password"),
        key_file=settings.folder / place.key_file if place.key_file else None,
        key_passphrase=secret(place.key_passphrase, "key_passphrase"),
        attempts=place.attempts,
        pause_seconds=place.pause_seconds,
        place=where,
    )
    return SftpOutboxSettings(server=server, path=place.path)
