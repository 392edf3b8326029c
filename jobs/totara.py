"""What is Totara's own: files checked before anybody sends them, requirements to assign, and a simulated site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from bridge.ports import FixConfiguration
from bridge.settings import Settings
from connectors.hrimport_rules import SettingsError, load_settings
from connectors.simulators.totara.serving import serve
from connectors.tables import write_table
from connectors.totara.hrimport import PreflightReport, element_files, preflight_directory
from connectors.totara.hrimport.preflight import preflight as preflight_files
from connectors.totara.requirements import CONFIRMED, Assignment
from jobs.desired import read_model
from jobs.totara_site import hrimport_of, totara


def preflight(directory: Path, holds: Path | None, settings: Path | None) -> PreflightReport:
    """Say what a Totara site would do with the files of a folder. Raises FixConfiguration where they cannot be read."""
    return preflight_directory(directory, holds, settings)


def preflight_for_site(
    directory: Path, name: str, settings: Settings, holds: Path | None = None, hrimport: Path | None = None
) -> PreflightReport:
    """Say what one Totara site would do with the files of a folder, under its settings and by what its reports show.

    Files that last went in (`holds`) and HR Import settings given beside win over what is known of the site. Raises
    FixConfiguration where the site is no Totara or the files cannot be read.
    """
    chosen, site = settings.site_named(name)
    if site.kind != "totara":
        raise FixConfiguration(f"Site {chosen} is of kind {site.kind!r}. Preflight is about HR Import, Totara's own.")
    try:
        held_settings = load_settings(hrimport) if hrimport else hrimport_of(chosen, site, settings)
    except SettingsError as error:
        raise FixConfiguration(str(error)) from error
    if holds is not None:
        return preflight_directory(directory, holds, settings=held_settings)
    files = element_files(directory)
    if not files:
        raise FixConfiguration(f"{directory} holds no HR Import file (org.csv, pos.csv, comp.csv, user.csv...).")
    port = totara(chosen, site, settings)
    try:
        return preflight_files(files, port.held_state(), held_settings)
    finally:
        port.close()


__all__ = [
    "CONFIRMED",
    "preflight",
    "preflight_for_site",
    "requirements",
    "simulate",
    "write_requirements",
]

REQUIREMENT_HEADERS = tuple(one.name for one in fields(Assignment))


def requirements(name: str | None, settings: Settings, model: Path | None) -> tuple[str, list[Assignment]]:
    """Return a Totara site's name and the requirements of a model as a worklist, with what its report shows of each.

    Raises FixConfiguration where the site is no Totara, no model is named, or the report lacks a column; FaultyFiles.
    """
    chosen, site = settings.site_named(name)
    if site.kind != "totara":
        raise FixConfiguration(f"Site {chosen} is of kind {site.kind!r}. This worklist is Totara's own.")
    if model is None and not site.model:
        raise FixConfiguration(
            "Which job architecture? Name its folder with --model DIR, or set `model` for the site in bridge.toml."
        )
    architecture = read_model(model or settings.folder / site.model).architecture
    port = totara(chosen, site, settings)
    try:
        return chosen, port.requirements(architecture)
    finally:
        port.close()


def write_requirements(found: Sequence[Assignment], path: Path) -> None:
    """Write a worklist to a CSV or XLSX file. Raises FixConfiguration where it cannot be written."""
    write_table(path, REQUIREMENT_HEADERS, ([getattr(one, name) for name in REQUIREMENT_HEADERS] for one in found))


_ELEMENT_OF = {"competency": "comp", "position": "pos", "organisation": "org"}


def simulate(
    *,
    filesdir: Path,
    port: int,
    wait: float,
    every: float,
    settings: Path | None,
    holds: Path | None,
    reports: Path | None,
    announce: Callable[[str], None] | None = None,
    frameworks: Sequence[str] = (),
    release: int = 17,
    stock_role: bool = False,
) -> int:
    """Serve a simulated Totara on loopback until interrupted; return its exit code.

    `announce` is told addresses and secrets, as lines of a `.env`. `frameworks` are written KIND=ID. Raises
    FixConfiguration for one that is not.
    """
    made: list[tuple[str, str]] = []
    for given in frameworks:
        kind, _, idnumber = given.partition("=")
        if kind not in _ELEMENT_OF or not idnumber:
            raise FixConfiguration(
                f"--framework {given} is not understood. Write competency=ID, position=ID or organisation=ID."
            )
        made.append((_ELEMENT_OF[kind], idnumber))
    if release not in (17, 18, 19):
        raise FixConfiguration(f"--release {release}: the simulated site knows 17, 18 and 19.")
    return serve(
        filesdir,
        port=port,
        wait=wait,
        import_every=every,
        settings=settings,
        holds=holds,
        reports=reports,
        announce=announce,
        frameworks=made,
        release=release,
        stock_role=stock_role,
    )
