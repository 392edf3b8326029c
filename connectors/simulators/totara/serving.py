"""Running the simulator as a process of its own."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from connectors.hrimport_rules import ELEMENTS, load_settings
from connectors.simulators.totara.reports import export_all
from connectors.simulators.totara.simulator import TotaraSimulator


def serve(
    filesdir: Path,
    host: str = "127.0.0.1",
    port: int = 8087,
    wait: float = 2.0,
    import_every: float = 60.0,
    settings: Path | None = None,
    holds: Path | None = None,
    reports: Path | None = None,
    announce: Callable[[str], None] | None = None,
    *,
    frameworks: Iterable[tuple[str, str]] = (),
    release: int = 17,
    stock_role: bool = False,
) -> int:
    """Serve until interrupted, and return the exit code.

    Files dropped into ``<filesdir>/csv/ready`` are imported every ``import_every`` seconds, ``wait`` seconds after
    they are seen. ``holds`` is a folder with the files the site holds at the start; ``reports`` is where the reports
    are exported after each import. ``frameworks`` are (element, id number) pairs that somebody has made by hand;
    ``release`` is 17, 18 or 19 and decides what the API knows; with ``stock_role`` the API account sees as little as
    the site's own role lets it.
    """
    simulator = TotaraSimulator(
        filesdir,
        load_settings(settings) if settings else None,
        host=host,
        port=port,
        wait=wait,
        import_every=import_every,
    )
    if holds is not None:
        simulator.site.load_samples(
            {name: holds / f"{name}.csv" for name in ELEMENTS if (holds / f"{name}.csv").is_file()}
        )
    for element, framework in frameworks:
        simulator.site.define(element, framework)
    simulator.api.since_filter, simulator.api.hierarchies = release >= 18, release >= 19
    simulator.api.wide_role = not stock_role
    say = announce or (lambda line: print(line, flush=True))  # noqa: T201 - this is the program's own output

    def exported(moment: str, _element: str) -> None:
        if reports is not None and moment == "finished":
            export_all(simulator.site, reports)

    simulator.site.on_moment = exported

    def finish(_number: int, _frame: object) -> None:
        simulator.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, finish)
    say(f"TOTARA_URL={simulator.start()}")
    say(f"TOTARA_FILES={simulator.site.ready}")
    say(f"TOTARA_CLIENT_ID={simulator.client_id}")
    say(f"TOTARA_CLIENT_SECRET={simulator.client_secret}")
    say(f"TOTARA_WS_TOKEN={simulator.ws_token}")
    simulator.wait()
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="totara-simulator",
        description="Serve a simulated Totara 17 on this machine, with HR Import over a folder.",
    )
    parser.add_argument("filesdir", type=Path, help="files directory of HR Import; csv/ready is made in it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8087, help="port to listen on; 0 takes a free one")
    parser.add_argument("--wait", type=float, default=2.0, help="seconds a file must be still before it is taken")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two HR Import runs")
    parser.add_argument("--settings", type=Path, help="HR Import settings, JSON or TOML")
    parser.add_argument("--holds", type=Path, help="folder with the files the site holds at the start")
    parser.add_argument("--reports", type=Path, help="folder the reports are exported to")
    given = parser.parse_args(argv)
    return serve(
        given.filesdir, given.host, given.port, given.wait, given.every, given.settings, given.holds, given.reports
    )


if __name__ == "__main__":
    sys.exit(main())
