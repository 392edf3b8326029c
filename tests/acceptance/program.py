"""Running the real command line against a simulated Moodle, as a person or a scheduler does."""

from __future__ import annotations

import base64
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from connectors.simulators.moodle import MoodleSimulator, SimulatorConfig
from tests.acceptance.forked import forked
from tests.databases import PASSWORD, databases, in_store, kind_of, on, setting, store_of

ROOT = Path(__file__).parent.parent.parent
COMPANY = ROOT / "samples" / "company"

SETTINGS = """
[sites.moodle]
kind = "moodle"
url = "env:MOODLE_URL"
token = "env:MOODLE_TOKEN"

[sites.moodle.options]
server_limit = 0.05
"""
"""A server that is known to give up after a twentieth of a second, so that looking things up does not take a minute."""


@dataclass(slots=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The object that `--json` printed."""
        return json.loads(self.out)


@dataclass(slots=True)
class Bench:
    """A folder with settings and the commands run in it; what kind of LMS they talk to, a subclass says."""

    folder: Path
    more: dict[str, str] = field(default_factory=dict, kw_only=True)
    """Further variables of the commands' environment."""
    said: list[str] = field(default_factory=list, kw_only=True)
    """What every command said, and how it stood in the process list."""
    store: str = field(default="", kw_only=True)
    """The address of the store that the commands use."""
    forks: bool = field(default=False, kw_only=True)
    """Whether commands run in processes forked from the test's own, which saves each the start of Python."""

    def __post_init__(self) -> None:
        self.store = self.store or store_of(self.folder)

    def site(self) -> dict[str, str]:
        """Return the site's address and secrets as variables."""
        return {}

    def secrets(self) -> list[str]:
        """Return what may turn up nowhere."""
        named = [value for name, value in self.more.items() if name.endswith(("TOKEN", "PASSWORD", "SECRET"))]
        return [PASSWORD, *named]

    def targets(self) -> Iterable[str]:
        """Return the addresses, with their queries, that the site was asked at."""
        return ()

    def environment(self) -> dict[str, str]:
        """Return the environment the commands run in: nothing of ours but the site's address and secrets."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "SYSTEMROOT")}
        bare = {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
        return {**bare, **self.site(), **setting(self.store), **self.more}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `lms-bridge` with arguments."""
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge", *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said.append(in_process_list(process.pid))
        return process

    def run(self, *arguments: str, timeout: float = 200) -> Answer:
        """Run `lms-bridge` with arguments to its end."""
        if self.forks:
            ended = forked(self.folder, self.environment(), arguments)
            return Answer(ended.code, ended.out, ended.err)
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            raise
        if arguments[:1] != ("simulate",):
            # A simulator tells the token of its invented site: that is what it is started for.
            self.said += [out, err]
        return Answer(process.returncode, out, err)

    def finish(self) -> None:
        """Look for every secret everywhere, and drop the store's database."""
        assert leaks(self, self.secrets()) == []
        databases.finish(self.folder)


@dataclass(slots=True)
class Workbench(Bench):
    """A folder with settings, and a Moodle that the commands run in it talk to."""

    moodle: MoodleSimulator

    def site(self) -> dict[str, str]:
        """Return the site's address and token as variables."""
        return {"MOODLE_URL": self.moodle.url, "MOODLE_TOKEN": self.moodle.token}

    def secrets(self) -> list[str]:
        """Return the token, and what is secret anyway."""
        return [self.moodle.token, *Bench.secrets(self)]

    def targets(self) -> Iterable[str]:
        """Return the addresses the site was asked at."""
        return self.moodle.requests.targets

    @contextmanager
    def beside(self, folder: Path) -> Iterator[Workbench]:
        """A second workplace for the same site, with the same settings and an empty store in the same database."""
        shutil.copy(self.folder / "bridge.toml", folder / "bridge.toml")
        with on(kind_of(self.store)):
            bench = Workbench(folder, self.moodle, forks=self.forks)
        yield bench
        bench.finish()


@contextmanager
def workbench(
    folder: Path,
    *,
    latency: float = 0.0,
    settings: str = SETTINGS,
    config: SimulatorConfig | None = None,
    forks: bool = False,
) -> Iterator[Workbench]:
    """A fresh simulated Moodle with the sample company's scales, and a folder with settings for it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bridge.toml").write_text(settings, "utf-8")
    with MoodleSimulator(config or SimulatorConfig(latency=latency)) as moodle:
        for name, labels in scales(COMPANY):
            moodle.seed.scale(name, labels)
        bench = Workbench(folder, moodle, forks=forks)
        yield bench
        bench.finish()


def in_process_list(pid: int) -> str:
    """Return the command line of a process, as everybody on the machine may read it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def leaks(bench: Bench, secrets: Iterable[str]) -> list[str]:
    """Return where secrets turned up: in what commands said, in the process list, in a URL, in the store, in any file
    that was written (logs, plans, reports, exports), also inside zip files."""
    texts = {f"output {number}": text for number, text in enumerate(bench.said)}
    texts |= {f"request {target}": target for target in bench.targets()}
    return leaks_in(bench.folder, texts | in_store(bench.store), secrets)


def leaks_in(folder: Path, texts: Mapping[str, str], secrets: Iterable[str]) -> list[str]:
    """Return where secrets turned up: in texts, given by where they are from, and in the files of a folder."""
    found = []
    contents = {place: text.encode() for place, text in texts.items()}
    for path in folder.rglob("*"):
        if path.is_file():
            contents[str(path)] = path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    contents |= {f"{path} {name}": archive.read(name) for name in archive.namelist()}
    for secret in secrets:
        spellings = spelt(secret)
        found += [f"{secret} in {place}" for place, content in contents.items() if any(x in content for x in spellings)]
    return found


def spelt(secret: str) -> set[bytes]:
    """Return a secret in each spelling it could leak in: as it is, as in JSON, as in an address, as in a header of
    basic authentication, wherever in it the secret stands."""
    plain = secret.encode()
    packed = {
        base64.b64encode(b"\0" * before + plain)[(before * 8 + 5) // 6 : (before + len(plain)) * 8 // 6]
        for before in range(3)
    }
    return {plain, json.dumps(secret)[1:-1].encode(), quote(secret, safe="").encode(), *packed}


def scales(folder: Path) -> list[tuple[str, list[str]]]:
    """Return the scales of a model's folder as (name, labels from the lowest up)."""
    found: dict[str, list[str]] = {}
    for row in rows(folder / "competency_scales.csv"):
        found.setdefault(row["name"], []).append(row["label"])
    return list(found.items())


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, found: list[Mapping[str, str]] | list[dict[str, str]]) -> None:
    """Write rows to a CSV file with the first row's columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)


def small_model(folder: Path, competencies: int = 160, positions: int = 6) -> Path:
    """Write a part of the sample company: its first competencies of each framework, and some positions."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("competency_scales.csv", "competency_frameworks.csv", "job_families.csv"):
        (folder / name).write_bytes((COMPANY / name).read_bytes())
    every = rows(COMPANY / "competencies.csv")
    kept = [row for row in every if row["framework"] == "CORE"]
    for row in every:
        parent = row["parent"]
        if (
            row["framework"] == "WORK"
            and len(kept) < competencies
            and (not parent or any(one["idnumber"] == parent for one in kept))
        ):
            kept.append(row)
    keys = {row["idnumber"] for row in kept}
    write_rows(folder / "competencies.csv", kept)
    chosen = rows(COMPANY / "positions.csv")[:positions]
    write_rows(folder / "positions.csv", chosen)
    names = {row["idnumber"] for row in chosen}
    needed = [
        row
        for row in rows(COMPANY / "position_competencies.csv")
        if row["position"] in names and row["competency"] in keys
    ]
    write_rows(folder / "position_competencies.csv", needed)
    related = [row for row in rows(COMPANY / "related_competencies.csv") if set(list(row.values())[:2]) <= keys]
    if related:
        write_rows(folder / "related_competencies.csv", related)
    rules = [row for row in rows(COMPANY / "roll_up_rules.csv") if row["competency"] in keys]
    if rules:
        write_rows(folder / "roll_up_rules.csv", rules)
    return folder
