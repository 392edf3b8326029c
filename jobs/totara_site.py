"""From the settings of a Totara site to its connector."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from bridge.ports import FixConfiguration
from bridge.settings import Settings, SiteSettings
from connectors.hrimport_rules import HrImportSettings, SettingsError, load_settings
from connectors.hrimport_rules.settings import settings_from_mapping
from connectors.totara.channels import GRAPHQL, Channels
from connectors.totara.connector import TotaraConnector
from connectors.totara.graphql import MAX_COMPLEXITY, MINUTE_LIMIT, GraphQlOptions
from connectors.totara.options import StateReports, TotaraOptions
from connectors.totara.people import PERSON
from connectors.totara.reports import ReportFormat, ReportSource
from connectors.totara.results import RESULT_OF
from jobs.drops import SftpPlace, Strict, options_of, place_of


class ReportNames(Strict):
    """The names of the reports on the site that show what it holds and did."""

    sync_log: str = StateReports().sync_log
    competency: str = StateReports().competency
    organisation: str = StateReports().organisation
    position: str = StateReports().position
    users: str = StateReports().users
    requirements: str = StateReports().requirements


class Api(Strict):
    """An API client of the site. Secrets are references: `env:NAME`, `file:PATH` or `keyring:SERVICE/USER`."""

    client_id: str = "env:TOTARA_CLIENT_ID"
    client_secret: str = "env:TOTARA_CLIENT_SECRET"  # noqa: S105 - where it is
    max_complexity: int = Field(default=MAX_COMPLEXITY, ge=1)
    minute_limit: int = Field(default=MINUTE_LIMIT, ge=1)
    server_limit: float = Field(default=60.0, ge=0)


class Results(Strict):
    """A scheduled report with results."""

    name: str
    kind: str
    owner: str = ""


class Format(Strict):
    """How the site writes its reports."""

    timezone: str = ReportFormat().timezone
    months: dict[str, int] = Field(default_factory=dict)
    yes: tuple[str, ...] = ()
    proficient: tuple[str, ...] = ()
    headings: dict[str, str] = Field(default_factory=dict)
    month_first: bool = False


class TotaraSiteOptions(Strict):
    """What `[sites.NAME.options]` may hold for a Totara."""

    filesdir: str = ""
    sftp: SftpPlace | None = None
    reports: str = ""
    reports_sftp: SftpPlace | None = None
    spool: str = ""
    hrimport: str | dict[str, Any] = ""
    graphql: Api | None = None
    channels: dict[Literal["organisation", "position", "person", "job"], Literal["hrimport", "graphql"]] = Field(
        default_factory=dict
    )
    switched_channel: tuple[Literal["organisation", "position", "person", "job"], ...] = ()
    all_records: tuple[Literal["competency", "organisation", "position", "person", "job"], ...] = ()
    sync_log_database: str = ""
    sync_log_prefix: str = "ttr_"
    report_names: ReportNames = Field(default_factory=ReportNames)
    report_format: Format = Field(default_factory=Format)
    results: tuple[Results, ...] = ()
    level_names: dict[str, int] = Field(default_factory=dict)
    framework_of: dict[Literal["competency", "organisation", "position"], str] = Field(default_factory=dict)
    type_of: dict[Literal["competency", "organisation", "position"], str] = Field(default_factory=dict)
    aggregation: Literal["ALL", "ANY", "OFF"] = "ALL"
    retired_suffix: str = "-RETIRED"
    settle_within_hours: float = Field(default=48.0, gt=0)
    reserved: tuple[str, ...] = ()
    site_name: str = ""


def hrimport_of(name: str, site: SiteSettings, settings: Settings) -> HrImportSettings:
    """Return a site's HR Import settings. Raises FixConfiguration where they cannot be used."""
    return _hrimport(name, options_of(TotaraSiteOptions, name, site).hrimport, settings.folder)


def totara(name: str, site: SiteSettings, settings: Settings) -> TotaraConnector:
    """Return the connector of a Totara site. Raises FixConfiguration where the settings do not suffice."""
    given = options_of(TotaraSiteOptions, name, site)
    where = f"bridge.toml, [sites.{name}.options]"
    by_api = [kind for kind, channel in given.channels.items() if channel == GRAPHQL]
    if by_api and given.graphql is None:
        raise FixConfiguration(
            f"{where}: {', '.join(by_api)} should go through GraphQL, but no API client is named. Write "
            f"[sites.{name}.options.graphql] with client_id and client_secret."
        )
    no_files = not given.filesdir and given.sftp is None
    if (no_files and not by_api) or (given.filesdir and given.sftp is not None):
        raise FixConfiguration(
            f"{where}: say where HR Import's files directory is: `filesdir` for a folder seen from here, or "
            f"[sites.{name}.options.sftp] for one behind SFTP; one of the two."
        )
    if given.reports and given.reports_sftp is not None:
        raise FixConfiguration(f"{where}: `reports` and `reports_sftp` are both set. Keep one of the two.")
    spool = settings.folder / (given.spool or f".lms-bridge/totara-{name}")
    reports = settings.folder / given.reports if given.reports else None
    drop = mirror = None
    if given.sftp is not None:
        from connectors.totara.hrimport.sftp import SftpDrop  # only those who use SFTP wait for its libraries

        drop = SftpDrop(place_of(given.sftp, settings, f"{where} sftp"))
    if given.reports_sftp is not None:
        from connectors.totara.report_mirror import ReportMirror  # as above

        reports = spool.with_name(f"{spool.name}-reports")
        mirror = ReportMirror(place_of(given.reports_sftp, settings, f"{where} reports_sftp"), reports)
    log = None
    if given.sync_log_database:
        from connectors.totara.sync_log_database import SyncLogDatabase  # only those who use it wait for its library

        address = settings.secret(given.sync_log_database, f"{where} sync_log_database").get_secret_value()
        log = SyncLogDatabase(address, given.sync_log_prefix)
    options = TotaraOptions(
        settings.folder / given.filesdir if given.filesdir else None,
        spool,
        reports,
        hrimport=_hrimport(name, given.hrimport, settings.folder),
        report_names=StateReports(**given.report_names.model_dump()),
        report_format=_format(given.report_format),
        result_reports=_results(where, given.results),
        level_names=given.level_names,
        framework_of={str(kind): key for kind, key in given.framework_of.items()},
        type_of={str(kind): key for kind, key in given.type_of.items()},
        aggregation=given.aggregation,
        retired_suffix=given.retired_suffix,
        settle_within_hours=given.settle_within_hours,
        reserved=frozenset(given.reserved),
        delete_leavers=PERSON in site.erase,
        site_name=given.site_name or name,
        channels=Channels(
            {str(kind): channel for kind, channel in given.channels.items()}, frozenset(given.switched_channel)
        ),
        graphql=_api(name, site, settings, given.graphql, where),
        api_server_limit=given.graphql.server_limit if given.graphql else 60.0,
        all_records=frozenset(given.all_records),
    )
    return TotaraConnector(options, drop=drop, reports=mirror, log=log)


def _api(name: str, site: SiteSettings, settings: Settings, given: Api | None, where: str) -> GraphQlOptions | None:
    if given is None:
        return None
    if not site.url:
        raise FixConfiguration(f"Site {name} has an API client but no url. Set `url` for the site in bridge.toml.")
    return GraphQlOptions(
        site.url,
        settings.secret(given.client_id, f"{where} client_id").get_secret_value(),
        settings.secret(given.client_secret, f"{where} client_secret").get_secret_value(),
        max_complexity=given.max_complexity,
        minute_limit=given.minute_limit,
    )


def _hrimport(name: str, given: str | dict[str, Any], folder: Path) -> HrImportSettings:
    try:
        if isinstance(given, str):
            return load_settings(folder / given) if given else HrImportSettings()
        return settings_from_mapping(given, where=f"bridge.toml, [sites.{name}.options.hrimport]")
    except SettingsError as error:
        raise FixConfiguration(str(error)) from error


def _format(given: Format) -> ReportFormat:
    plain = ReportFormat()
    return ReportFormat(
        given.timezone,
        {word.lower(): month for word, month in given.months.items()},
        plain.yes | {word.lower() for word in given.yes},
        plain.proficient | {word.lower() for word in given.proficient},
        given.headings,
        given.month_first,
    )


def _results(where: str, given: tuple[Results, ...]) -> tuple[ReportSource, ...]:
    for one in given:
        if one.kind not in RESULT_OF:
            raise FixConfiguration(
                f"{where}: results: {one.kind!r} is no kind of report with results. There are: {', '.join(RESULT_OF)}."
            )
    return tuple(ReportSource(one.name, one.kind, one.owner) for one in given)
