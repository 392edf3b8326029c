"""From settings to a connector: the one place that knows which connector serves which kind of site."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bridge.ports import FixConfiguration, LmsPort
from bridge.settings import Settings, SiteSettings, in_plain_words
from bridge.store import Store
from bridge.sync.policy import Limit, Limits, Policy, Stance
from bridge.sync.running import Rules
from connectors.moodle.connector import MoodleConnector
from connectors.moodle.options import MoodleOptions


@dataclass(frozen=True, slots=True)
class Workplace:
    """One site, ready to work on: its name, its settings, its connector, the store and the rules."""

    site: str
    settings: SiteSettings
    port: LmsPort
    store: Store
    rules: Rules
    folder: Path
    configuration: Settings
    """All settings: a site's people come from feeds, which have settings of their own."""

    def model_folder(self, given: Path | None) -> Path:
        """Return the folder of the architecture files: the one given, else the site's own.

        Raises FixConfiguration where there is neither.
        """
        if given is not None:
            return given
        if self.settings.model:
            return self.folder / self.settings.model
        raise FixConfiguration(
            "Which job architecture? Name its folder with --model DIR, or set `model` for the site in bridge.toml."
        )


def _moodle(name: str, site: SiteSettings, settings: Settings) -> LmsPort:
    token = settings.secret(site.token or "env:MOODLE_TOKEN", f"The token of site {name}")
    if not site.url:
        raise FixConfiguration(f"Site {name} has no url. Set MOODLE_URL in .env, or `url` for the site in bridge.toml.")
    known = {spec.name for spec in dataclasses.fields(MoodleOptions)} - {"url", "token"}
    unknown = set(site.options) - known
    if unknown:
        raise FixConfiguration(
            f"Site {name}: there is no Moodle option {', '.join(sorted(unknown))}. "
            f"There are: {', '.join(sorted(known))}."
        )
    try:
        options = _MOODLE_OPTIONS.validate_python({**site.options, "url": site.url, "token": token})
    except ValidationError as error:
        raise FixConfiguration(f"Site {name} has options that cannot be used:\n  {in_plain_words(error)}") from error
    return MoodleConnector(options)


_MOODLE_OPTIONS = TypeAdapter(MoodleOptions)


# Every command waits for what this module imports: the libraries of the other kinds only where there is such a site.


def _totara(name: str, site: SiteSettings, settings: Settings) -> LmsPort:
    from jobs.totara_site import totara  # only a Totara site needs its libraries

    return totara(name, site, settings)


def _files(name: str, site: SiteSettings, settings: Settings) -> LmsPort:
    from jobs.files_site import files  # only a site that takes files needs its libraries

    return files(name, site, settings)


_CONNECTORS: Mapping[str, Callable[[str, SiteSettings, Settings], LmsPort]] = {
    "moodle": _moodle,
    "totara": _totara,
    "files": _files,
}


@contextmanager
def workplace(settings: Settings, site: str | None, overrides: Mapping[str, Any] | None = None) -> Iterator[Workplace]:
    """Open one site's connector and the store for the block.

    `overrides` replaces rules for this one run (`limits`, `initial`, `scope`, `unverified`, `lease_wait`).
    Raises FixConfiguration where the settings do not suffice.
    """
    name, found = settings.site_named(site)
    make = _CONNECTORS.get(found.kind)
    if make is None:
        raise FixConfiguration(f"Site {name} is of kind {found.kind!r}, which this version has no connector for.")
    port = make(name, found, settings)
    store = Store.open(settings.store)
    try:
        yield Workplace(
            name,
            found,
            port,
            store,
            rules_of(found, **{"lease_seconds": settings.daemon.lease, **(overrides or {})}),
            settings.folder,
            settings,
        )
    finally:
        port.close()
        store.close()


def rules_of(
    site: SiteSettings, *, limits: Mapping[str, int] | None = None, initial: bool = False, **more: Any
) -> Rules:
    """Return the rules of a site. `limits` are numbers for one run, under `kind.touch`, which a person gave by hand."""
    stances = {name: Stance(value) for name, value in site.policy.items()}
    default = stances.pop("default", Stance.ENFORCE)
    own = {name: Limit(one.number, one.percent, one.small) for name, one in site.limits.items()}
    # A number given by hand for this run is exactly that: no percentage second-guesses it.
    own.update({name: Limit(number, 100, number) for name, number in (limits or {}).items()})
    return Rules(Policy(default, stances, frozenset(site.erase)), Limits(own, initial), **more)


def parse_limits(texts: list[str]) -> dict[str, int]:
    """Return `kind.touch=number` texts as numbers. Raises FixConfiguration naming the one that is not understood."""
    found: dict[str, int] = {}
    for text in texts:
        name, _, number = text.partition("=")
        if (
            "." not in name
            or not number.isdigit()
            or name.rpartition(".")[2] not in ("create", "update", "move", "remove")
        ):
            raise FixConfiguration(
                f"--limit {text} is not understood. Write KIND.create, .update, .move or .remove and a number, "
                "for example --limit competency.remove=30."
            )
        found[name] = int(number)
    return found
