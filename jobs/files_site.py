"""From the settings of a site that takes only files to its connector."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

from pydantic import Field

from bridge.ports import FixConfiguration
from bridge.settings import Settings, SiteSettings
from connectors.feeds.names import judge_name
from connectors.files.connector import FilesConnector, Mirror
from connectors.files.kinds import KINDS, check_template, field_known
from connectors.files.options import FilesOptions, FileTemplate, TakenWhen
from connectors.files.template import Column, column_of
from connectors.handover import FolderPlace, Place
from jobs.drops import SftpPlace, Strict, options_of, place_of


class ColumnSettings(Strict):
    """A column, where more is to be said than its template."""

    value: str
    longest: Annotated[int, Field(ge=1)] | None = None


class FileSettings(Strict):
    """The file of one kind."""

    name: Annotated[str, Field(min_length=1)]
    columns: dict[str, str | ColumnSettings]
    lists: Literal["changes", "everything"] = "changes"
    export: str = ""


class FilesSiteOptions(Strict):
    """What `[sites.NAME.options]` may hold for a site that takes only files."""

    folder: str = ""
    sftp: SftpPlace | None = None
    exports: str = ""
    exports_sftp: SftpPlace | None = None
    spool: str = ""
    taken_when: Literal["gone", "receipt", "handed_over"] = "gone"
    receipt: str = "{file}.ok"
    failure: str = "{file}.err"
    waves: bool = False
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: str = "UTF-8"
    line_end: Literal["\n", "\r\n"] = "\r\n"
    quote_all: bool = False
    backslash_escapes: bool = False
    settle_within_hours: float = Field(default=48.0, gt=0)
    reserved: tuple[str, ...] = ()
    site_name: str = ""
    files: dict[str, FileSettings] = Field(default_factory=dict)


def files(name: str, site: SiteSettings, settings: Settings) -> FilesConnector:
    """Return the connector of a site that takes only files. Raises FixConfiguration where the settings do not do."""
    given = options_of(FilesSiteOptions, name, site)
    where = f"bridge.toml, [sites.{name}.options]"
    if bool(given.folder) == (given.sftp is not None):
        raise FixConfiguration(
            f"{where}: say where the files go: `folder` for one seen from here, or [sites.{name}.options.sftp] for one "
            "behind SFTP; one of the two."
        )
    if given.exports and given.exports_sftp is not None:
        raise FixConfiguration(f"{where}: `exports` and `exports_sftp` are both set. Keep one of the two.")
    _check_texts(given, where)
    spool = settings.folder / (given.spool or f".lms-bridge/files-{name}")
    exports = settings.folder / given.exports if given.exports else None
    mirror: Mirror | None = None
    if given.exports_sftp is not None:
        from connectors.totara.report_mirror import ReportMirror  # only those who use SFTP wait for its libraries

        exports = spool.with_name(f"{spool.name}-exports")
        mirror = ReportMirror(place_of(given.exports_sftp, settings, f"{where} exports_sftp"), exports)
    options = FilesOptions(
        spool,
        _templates(given, f"bridge.toml, [sites.{name}.options.files"),
        TakenWhen(given.taken_when),
        given.receipt,
        given.failure,
        given.waves,
        given.delimiter,
        given.encoding,
        given.line_end,
        given.quote_all,
        given.backslash_escapes,
        exports,
        given.settle_within_hours,
        frozenset(given.reserved),
        given.site_name or name,
    )
    return FilesConnector(options, _place(given, settings, where), mirror=mirror)


def _place(given: FilesSiteOptions, settings: Settings, where: str) -> Place:
    if given.sftp is None:
        return FolderPlace(settings.folder / given.folder, f"Make it, mount it, or correct `folder` in {where}.")
    from connectors.handover.sftp import SftpPlace as Sftp  # as above

    outbox = place_of(given.sftp, settings, f"{where} sftp")
    return Sftp(outbox.server, outbox.path)


def _check_texts(given: FilesSiteOptions, where: str) -> None:
    try:
        codecs.lookup(given.encoding)
    except LookupError as error:
        raise FixConfiguration(f"{where}: {given.encoding!r} is no character encoding. Write UTF-8, say.") from error
    if given.delimiter in '"\r\n':
        raise FixConfiguration(f"{where}: {given.delimiter!r} cannot part columns. Write a comma or a semicolon, say.")
    for setting, text in (("receipt", given.receipt), ("failure", given.failure)):
        if "{file}" not in text:
            raise FixConfiguration(f"{where}: {setting} must name the file it is about: write for example {{file}}.ok.")
    if not given.files:
        raise FixConfiguration(f"{where}: there is no file. Add one section a kind, for example files.person.")


def _templates(given: FilesSiteOptions, where: str) -> tuple[FileTemplate, ...]:
    unknown = sorted(set(given.files) - set(KINDS))
    if unknown:
        raise FixConfiguration(f"{where}.{unknown[0]}]: there is no such kind. There are: {', '.join(KINDS)}.")
    found = []
    for kind in (one for one in KINDS if one in given.files):
        one, spot = given.files[kind], f"{where}.{kind}]"
        verdict = judge_name(one.name)
        if verdict.refused:
            raise FixConfiguration(f"{spot}: {one.name!r} cannot be the name of a file. {verdict.why}")
        if given.taken_when == "handed_over" and "{stamp}" not in one.name:
            raise FixConfiguration(
                f"{spot}: nobody tells when a file was taken, so the next one must not overwrite it. Put {{stamp}} "
                "into its name, for example people-{stamp}.csv."
            )
        template = FileTemplate(kind, one.name, tuple(_columns(kind, one, spot)), one.lists == "everything", one.export)
        check_template(template, spot)
        found.append(template)
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise FixConfiguration(f"{where}...]: two kinds share a file name. Give each its own.")
    return tuple(found)


def _columns(kind: str, one: FileSettings, spot: str) -> list[Column]:
    found = []
    for heading, told in one.columns.items():
        column = told if isinstance(told, ColumnSettings) else ColumnSettings(value=told)
        found.append(column_of(heading, column.value, field_known(kind), column.longest, f"{spot} column {heading!r}"))
    return found
