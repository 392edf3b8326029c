"""The simulated site: what it holds, its files directory, its HR Import task and its sync log."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.hrimport_rules import (
    ELEMENTS,
    CustomField,
    ElementResult,
    HrImportSettings,
    LogRow,
    SiteState,
    import_element,
    site_state_from_files,
)
from connectors.hrimport_rules.settings import settings_from_mapping


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A row of ``totara_sync_log``."""

    id: int
    runid: int
    time: int
    row: LogRow


class TotaraSite:
    """One site. Its clock may be set; the wait of HR Import before it takes a file may be shortened."""

    def __init__(
        self,
        filesdir: Path | None = None,
        settings: HrImportSettings | None = None,
        *,
        wait: float = 2.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.lock = threading.RLock()
        self.filesdir = filesdir
        self.settings = settings or settings_from_mapping({"user": {"allow_delete": 0}})
        self.wait = wait
        self.clock = clock
        self.state = SiteState()
        self.log: list[LogEntry] = []
        self.results: list[ElementResult] = []
        self.enabled = set(ELEMENTS)
        # Called with a moment's name: a test breaks the run there or looks at the folder.
        self.on_moment: Callable[[str, str], None] = lambda _moment, _element: None
        self._accounts()
        if filesdir is not None:
            (filesdir / "csv" / "ready").mkdir(parents=True, exist_ok=True)

    def _accounts(self) -> None:
        for username in ("guest", "admin"):
            user = self.state.add_user("", username)
            user.totarasync = False
            user.email = "admin@totara.example" if username == "guest" else "admin@example.com"
            user.timemodified = self.now()
            user.fields = {"firstname": username.title(), "lastname": "User", "auth": "manual", "lang": "en"}

    def now(self) -> int:
        """The site's clock, unix seconds."""
        return int(self.clock())

    # -- what is made by hand on a real site ------------------------------------------------------

    def define(self, element: str, framework: str, types: Iterable[str] = (), fields: Iterable[str] = ()) -> None:
        """Make a framework, types and their custom fields, as an administrator does."""
        hierarchy = self.state.hierarchy(element)
        hierarchy.add_framework(framework)
        for name in types:
            definition = hierarchy.types.setdefault(name, {})
            for field in fields:
                definition.setdefault(field, CustomField())

    def configure(self, **options: Any) -> None:
        """Change HR Import settings, as ``settings_from_mapping`` takes them."""
        self.settings = settings_from_mapping(options, self.settings)

    def load_samples(self, files: dict[str, Path]) -> None:
        """Hold exactly what these files brought in, beside the site's own accounts."""
        state, settings = site_state_from_files(files, self.settings, keep_values=True)
        self.state = _with_accounts(state, self.state)
        self.settings = settings

    # -- HR Import --------------------------------------------------------------------------------

    @property
    def ready(self) -> Path:
        """The folder files are dropped into."""
        if self.filesdir is None:
            raise RuntimeError("this site has no files directory")
        return self.filesdir / "csv" / "ready"

    @property
    def store(self) -> Path:
        """The folder consumed files end in."""
        return self.ready.parent / "store"

    def run_hr_import(self, elements: Iterable[str] = ELEMENTS) -> int:
        """Run the task over what lies in ``ready/`` and return its exit code: 0 also after an aborted import."""
        runid = max((entry.runid for entry in self.log), default=0) + 1
        chosen = set(elements)
        for element in ELEMENTS:
            if element in chosen and element in self.enabled:
                result = self._run_element(element, runid)
                if result is not None and result.task_exit:
                    return result.task_exit
        self.on_moment("finished", "")
        return 0

    def _run_element(self, element: str, runid: int) -> ElementResult | None:
        path = self.ready / f"{element}.csv"
        if not path.is_file():
            action = f"{element}sync" if element != "jobassignment" else "sync"
            self._append(runid, LogRow(element, "info", action, "syncstarted", "HR Import started"))
            info = f"No file to import (file path: {path})"[:255]
            self._append(runid, LogRow(element, "warn", "populatesynctablecsv", "nofiletosync", info))
            return None
        content = self._take(path, element)
        with self.lock:
            self.on_moment("consumed", element)
            result = import_element(element, content, self.state, self.settings, now=self.now())
            for row in result.log:
                self._append(runid, row)
            self.results.append(result)
        self.on_moment("imported", element)
        return result

    def _take(self, path: Path, element: str) -> bytes:
        """Wait until the file is still, then move it to ``store/``: consumed, whatever becomes of it."""
        self.on_moment("seen", element)
        digest = hashlib.sha256(path.read_bytes()).digest()
        while True:
            time.sleep(self.wait)
            again = hashlib.sha256(path.read_bytes()).digest()
            if again == digest:
                break
            digest = again
        self.store.mkdir(exist_ok=True)
        stamp = self.now()
        target = self.store / f"{stamp}.{element}.csv"
        while target.exists():
            # Two imports of one element within a second happen here, not on a site that waits.
            stamp += 1
            target = self.store / f"{stamp}.{element}.csv"
        path.rename(target)
        return target.read_bytes()

    def _append(self, runid: int, row: LogRow) -> None:
        self.log.append(LogEntry(len(self.log) + 1, runid, self.now(), row))

    # -- looking at it ----------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Everything the site holds, comparable, without ids and times."""
        with self.lock:
            return {
                **{name: self._items(name) for name in ("comp", "org", "pos")},
                "user": {
                    user.idnumber or user.username: {
                        "username": user.username,
                        "email": user.email,
                        "suspended": user.suspended,
                        **(user.fields or {}),
                    }
                    for user in self.state.live_users()
                },
                "jobassignment": {
                    (job.user.idnumber, job.idnumber): {
                        "fullname": job.fullname,
                        "startdate": job.startdate,
                        "enddate": job.enddate,
                        "organisation": job.organisation.idnumber if job.organisation else None,
                        "position": job.position.idnumber if job.position else None,
                        "manager": job.manager.idnumber if job.manager else None,
                        "appraiser": job.appraiser.idnumber if job.appraiser else None,
                        "order": self.state.jobs_of[job.user.id].index(job),
                    }
                    for job in self.state.jobs.values()
                },
            }

    def _items(self, element: str) -> dict[str, Any]:
        return {
            item.idnumber: {
                "framework": item.framework,
                "parent": item.parent.idnumber if item.parent else None,
                "type": item.type,
                **(item.fields or {}),
            }
            for item in self.state.hierarchy(element).items.values()
        }


def _with_accounts(state: SiteState, old: SiteState) -> SiteState:
    """The state with the site's own accounts first, as the recorded site numbered them."""
    people = list(state.users.values())
    own = [user for user in old.users.values() if not user.idnumber]
    shift = len(own)
    state.users = {user.id: user for user in own}
    jobs_of = state.jobs_of
    state.jobs_of = {}
    for user in people:
        jobs = jobs_of.get(user.id)
        user.id += shift
        state.users[user.id] = user
        if jobs:
            state.jobs_of[user.id] = jobs
    state.reserve_user_ids(shift)
    return state


class RunInBackground:
    """Runs the site's HR Import again and again, as cron does, until told to stop."""

    def __init__(self, site: TotaraSite, every: float = 60.0) -> None:
        self._site = site
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="totara-cron", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the run in hand and end."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(self._every):
            with contextlib.suppress(FileNotFoundError):
                # A file withdrawn while the site waits for it: the next run finds what is there then.
                if any((self._site.ready / f"{name}.csv").is_file() for name in ELEMENTS):
                    self._site.run_hr_import()


__all__ = ["LogEntry", "RunInBackground", "TotaraSite"]
