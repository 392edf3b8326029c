"""Telling people: what went wrong or right again, with what to do next, as one message at a time."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bridge.daemon_settings import NotifySettings
from bridge.logs import logger
from bridge.ports import FixConfiguration
from bridge.redaction import redact
from bridge.settings import Settings
from bridge.store import Store, leases, unattended
from bridge.store.unattended import Notice
from bridge.sync.clock import Clock
from bridge.sync.lease import this_process

FAILURE, REFUSAL, QUARANTINE, RECOVERY, TITLES = "failure", "refusal", "quarantine", "recovery", "titles"

HEADINGS = {
    FAILURE: "Failed",
    REFUSAL: "Refused by a limit",
    QUARANTINE: "In quarantine",
    TITLES: "Titles without a position",
    RECOVERY: "Well again",
}

GATHER = 60.0
"""Seconds a first trouble waits for others: what fails together is told together."""

KEEP = 90 * 86_400.0
MOST = 60
"""Notices written out in one message; of more only the number is told."""


@dataclass(frozen=True, slots=True)
class Telling:
    """Something a person should hear of. What has the same `key` is the same trouble."""

    key: str
    about: str
    site: str
    text: str
    remedy: str = ""
    remind: float | None = None
    """Seconds after which it is told again; None: as the settings say."""


def note(store: Store, settings: NotifySettings, tellings: Sequence[Telling], now: float) -> None:
    """Keep what is to be told until the next message goes out."""
    wanted = [one for one in tellings if one.about in settings.about]
    if not wanted:
        return
    with store.begin() as connection:
        for one in wanted:
            unattended.add_notice(
                connection,
                one.key,
                one.about,
                one.site,
                redact(one.text),
                redact(one.remedy),
                now,
                one.remind or settings.remind,
            )


Send = Callable[[str, str], bool]
"""Sends a title and a body; says whether it got through."""


def sender(settings: Settings) -> Send | None:
    """Return what sends messages to the addresses of the settings; None where there are none.

    Raises FixConfiguration where an address cannot be used or apprise is not installed.
    """
    references = settings.daemon.notify.to
    if not references:
        return None
    try:
        import apprise
    except ModuleNotFoundError as error:
        raise FixConfiguration("[daemon.notify] needs lms-bridge[notify]. Install that, or empty `to`.") from error
    target = apprise.Apprise()
    for number, reference in enumerate(references, 1):
        address = settings.secret(reference, f"bridge.toml, [daemon.notify], address {number}").get_secret_value()
        if not target.add(address):
            raise FixConfiguration(
                f"bridge.toml, [daemon.notify]: what {reference} holds is no address that apprise knows. Write it as "
                "in mailtos://user:password@mail.example.org?to=it@example.org; docs/daemon.md has more."
            )

    def send(title: str, body: str) -> bool:
        """Send one message to every address."""
        return bool(target.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT))

    return send


class Messenger:
    """Sends what is to be told: gathered, not more often than the settings say, and once however many daemons live."""

    def __init__(self, store: Store, settings: NotifySettings, send: Send | None, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._send = send
        self._clock = clock
        self._log = logger("notices")

    def send_due(self, *, gathered: bool = False) -> int:
        """Send a message where one is due; return how many notices it told. `gathered`: nothing more is to come."""
        now = self._clock.now()
        with self._store.read() as connection:
            waiting = unattended.unsent(connection)
            last = unattended.last_sent(connection)
        if not waiting:
            return 0
        if self._send is None:
            self._mark(waiting, now)
            return 0
        gather = 0.0 if gathered else min(GATHER, self._settings.every)
        # What is dated later than now was noted while a clock was wrong, and keeps nothing waiting.
        just_noted = 0 <= now - waiting[0].created_at < gather
        just_sent = last is not None and 0 <= now - last < self._settings.every
        if just_noted or just_sent:
            return 0
        with self._store.begin() as connection:
            lease = leases.take(connection, "notices", this_process(), "message", now, 120.0)
            waiting = unattended.unsent(connection)
        if lease is None or not waiting:
            return 0
        try:
            title, body = message(waiting, now)
            if not self._send(title, body):
                self._log.warning(
                    "message not sent",
                    remedy="look at the lines above and at the addresses in [daemon.notify]; it is tried again",
                    notices=len(waiting),
                )
                return 0
            self._mark(waiting, now)
            self._log.info("message sent", notices=len(waiting), title=title)
            return len(waiting)
        finally:
            with self._store.begin() as connection:
                leases.give_back(connection, lease)

    def _mark(self, notices: Sequence[Notice], now: float) -> None:
        with self._store.begin() as connection:
            unattended.mark_sent(connection, [one.id for one in notices], now)
            unattended.prune_notices(connection, now - KEEP)


def message(notices: Sequence[Notice], now: float) -> tuple[str, str]:
    """Return title and body of the one message that tells all notices, the gravest first."""
    groups = {about: [one for one in notices if one.about == about] for about in HEADINGS}
    # A notice tells of a feed's titles together, so their number would be none of titles.
    counted = {about: "" if about == TITLES else f"{len(found)} " for about, found in groups.items() if found}
    parts = [f"{number}{HEADINGS[about].lower()}" for about, number in counted.items()]
    host = socket.gethostname()
    title = f"LMS Bridge on {host}: {', '.join(parts)}"
    lines = [f"{dt.datetime.fromtimestamp(now, dt.UTC):%Y-%m-%d %H:%M} UTC, {host}"]
    told = 0
    for about, found in groups.items():
        if not found:
            continue
        lines += ["", HEADINGS[about].upper()]
        for one in found[: max(0, MOST - told)]:
            told += 1
            again = f" ({one.times} times)" if one.times > 1 else ""
            lines.append(f"- {one.site}: {one.text}{again}")
            if one.remedy:
                lines.append(f"  What to do: {one.remedy}")
    if told < len(notices):
        lines.append(f"\nand {len(notices) - told:,} more. `lms-bridge status` has them all.")
    lines += ["", "`lms-bridge status` shows how every site stands."]
    return title, "\n".join(lines)
