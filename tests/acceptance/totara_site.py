"""Running the real command line against a simulated Totara whose nights a test decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.hrimport_rules.settings import settings_from_mapping
from connectors.simulators.totara import TotaraSimulator
from connectors.simulators.totara.reports import export_all
from tests.acceptance.program import Bench

ERASING = {name: {"csvsaveemptyfields": 1} for name in ("org", "pos", "comp", "jobassignment")}

SETTINGS = """
[sites.totara]
kind = "totara"
model = "architecture"

[sites.totara.options]
filesdir = "files"
reports = "reports"

[sites.totara.options.framework_of]
position = "POSITIONS"
organisation = "UNITS"

[sites.totara.options.hrimport.org]
csvsaveemptyfields = 1
[sites.totara.options.hrimport.pos]
csvsaveemptyfields = 1
[sites.totara.options.hrimport.comp]
csvsaveemptyfields = 1
[sites.totara.options.hrimport.jobassignment]
csvsaveemptyfields = 1
"""

API = """
[sites.totara.options.graphql]
server_limit = 0.05
"""


@dataclass(slots=True)
class TotaraBench(Bench):
    """A folder with settings, and a Totara that takes files from it and leaves reports in it."""

    totara: TotaraSimulator

    def site(self) -> dict[str, str]:
        """Return the site's address and its client as variables."""
        return {
            "TOTARA_URL": self.totara.url,
            "TOTARA_CLIENT_ID": self.totara.client_id,
            "TOTARA_CLIENT_SECRET": self.totara.client_secret,
        }

    def secrets(self) -> list[str]:
        """Return the client's secret, every access token it was given, and what is secret anyway."""
        return [self.totara.client_secret, *self.totara.issued, *Bench.secrets(self)]

    def targets(self) -> Iterable[str]:
        """Return the addresses the site was asked at."""
        return self.totara.targets

    def night(self) -> None:
        """Let the site import what lies there and export its reports."""
        self.totara.site.run_hr_import()
        export_all(self.totara.site, self.folder / "reports")

    def taken(self) -> list[str]:
        """Return the elements of the files the site has taken so far, one entry a file."""
        store = self.totara.site.store
        return sorted(path.name.split(".")[1] for path in store.iterdir()) if store.is_dir() else []

    def snapshot(self) -> dict[str, Any]:
        """Return what the site holds, without ids and times, and without the empty places for what is retired."""
        held = self.totara.site.snapshot()
        for element in ("comp", "org", "pos"):
            held[element] = {key: item for key, item in held[element].items() if not key.endswith("-RETIRED")}
        return held


@contextmanager
def totara_bench(
    folder: Path, *, settings: str = SETTINGS, competencies: tuple[str, ...] = ("CORE", "WORK", "TOOLS")
) -> Iterator[TotaraBench]:
    """A fresh simulated Totara with its frameworks made, and a folder with settings for it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bridge.toml").write_text(settings, "utf-8")
    with TotaraSimulator(folder / "files", settings_from_mapping(ERASING), wait=0.0) as totara:
        totara.api.wide_role = True
        for framework in competencies:
            totara.site.define("comp", framework)
        totara.site.define("pos", "POSITIONS")
        totara.site.define("org", "UNITS")
        bench = TotaraBench(folder, totara)
        yield bench
        bench.finish()
