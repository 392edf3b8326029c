"""What any HTTP connector needs: pooled sessions, retries with full jitter, a clear word on what a fault left behind.

Nothing here knows an LMS. A connector posts through `HttpTransport` and gets a `Reply`, or a `TransportFault` that
says whether the request can have reached the server: only then may a write be sent again without looking first.
"""

from __future__ import annotations

import contextvars
import datetime as dt
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
import tenacity
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError, NewConnectionError

from bridge.logs import logger
from bridge.ports import BridgeError, FixConfiguration, RetryLater

T = TypeVar("T")

Sleep = Callable[[float], None]

_log = logger("http")


class Redactor:
    """Takes secrets out of a text before anybody sees it."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._secrets = tuple(secret for secret in secrets if secret)

    def __call__(self, text: str) -> str:
        """Return the text with every known secret replaced by asterisks."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer that arrived whole."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 become replacement characters."""
        return self.body.decode("utf-8", errors="replace")

    def retry_after(self, now: Callable[[], float] = time.time) -> float | None:
        """Return the seconds the server asked to wait (Retry-After, as seconds or as a date); None where it did not."""
        value = self.headers.get("Retry-After", "").strip()
        if not value:
            return None
        try:
            return max(0.0, float(value))
        except ValueError:
            pass
        try:
            moment = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        return max(0.0, moment.timestamp() - now())


class TransportFault(Exception):
    """No whole answer came. `sent` is False only where the request surely never reached the server."""

    def __init__(self, says: str, *, sent: bool, timed_out: bool = False) -> None:
        super().__init__(says)
        self.sent = sent
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for a connection, and for the next bytes of an answer."""

    connect: float = 10.0
    read: float = 120.0


class ContextPool(ThreadPoolExecutor):
    """Threads in which the log says of each line what it says where the work was handed over: which run it is for."""

    def submit(self, work: Callable[..., T], /, *arguments: Any, **named: Any) -> Future[T]:
        """Hand work over, with the present context."""
        return super().submit(contextvars.copy_context().run, work, *arguments, **named)


class HttpTransport:
    """Keep-alive sessions, one a thread, that never follow a redirect (a POST would turn into a GET)."""

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        verify: bool | str = True,
        idle_limit: float = 30.0,
        redact: Redactor | None = None,
        user_agent: str = "lms-bridge",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self._verify = verify
        self._idle_limit = idle_limit
        self._redact = redact or Redactor()
        self._user_agent = user_agent
        self._clock = clock
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()
        self.requests_sent = 0

    def post(self, url: str, data: Mapping[str, str] | bytes | str, headers: Mapping[str, str] | None = None) -> Reply:
        """Post a body and return the answer. Raises TransportFault, or FixConfiguration for a refused certificate."""
        return self._send("POST", url, data=data, headers=headers)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Reply:
        """Get an address and return the answer. Raises as `post` does."""
        return self._send("GET", url, data=None, headers=headers)

    def close(self) -> None:
        """Close every session."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()
        self._local = threading.local()

    def _session(self) -> requests.Session:
        """Return this thread's session; a fresh one where the last was idle for so long that the server closed it."""
        session: requests.Session | None = getattr(self._local, "session", None)
        now = self._clock()
        if session is not None and now - self._local.used > self._idle_limit:
            session.close()
            with self._lock:
                if session in self._sessions:
                    self._sessions.remove(session)
            session = None
        if session is None:
            session = requests.Session()
            # The environment's proxies and certificates are honoured; its .netrc passwords are none of ours.
            session.auth = _no_auth
            session.verify = self._verify
            session.headers["User-Agent"] = self._user_agent
            # Retries are decided by the caller, who knows whether the request was a write.
            adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
            session.mount("https://", adapter)
            session.mount("http://", adapter)
            self._local.session = session
            with self._lock:
                self._sessions.append(session)
        self._local.used = now
        return session

    def _send(
        self, method: str, url: str, data: Mapping[str, str] | bytes | str | None, headers: Mapping[str, str] | None
    ) -> Reply:
        with self._lock:
            self.requests_sent += 1
        where = without_query(url)
        began = self._clock()
        try:
            answer = self._session().request(
                method,
                url,
                data=data,
                headers=dict(headers or {}),
                timeout=(self.timeouts.connect, self.timeouts.read),
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as error:
            raise FixConfiguration(
                f"The certificate of {where} was not accepted ({self._redact(_short(error))}). Renew it, or name the "
                "authority that signed it in the settings of this site."
            ) from None
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidSchema,
        ) as error:
            raise FixConfiguration(
                f"{where} is no usable address ({self._redact(_short(error))}). Correct it in the settings."
            ) from None
        except requests.exceptions.ConnectTimeout:
            raise TransportFault(
                f"{where} did not accept a connection within {self.timeouts.connect:g} seconds", sent=False
            ) from None
        except requests.exceptions.Timeout:
            raise TransportFault(
                f"{where} did not answer within {self.timeouts.read:g} seconds", sent=True, timed_out=True
            ) from None
        except requests.exceptions.RequestException as error:
            raise TransportFault(
                f"the connection to {where} broke ({self._redact(_short(error))})", sent=not _never_connected(error)
            ) from None
        finally:
            self._local.used = self._clock()
        seconds = round(self._local.used - began, 4)
        _log.debug("request", method=method, where=where, status=answer.status_code, seconds=seconds)
        return Reply(
            answer.status_code, answer.headers.get("Content-Type", ""), answer.content, dict(answer.headers.items())
        )


def without_query(url: str) -> str:
    """Return an address without its query, fragment and password: what may be shown."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def retrying(
    *,
    attempts: int,
    first: float = 0.5,
    longest: float = 30.0,
    patience: float = 120.0,
    sleep: Sleep = time.sleep,
    retry_on: Callable[[BaseException], bool] | None = None,
) -> tenacity.Retrying:
    """Return a retry loop: full jitter between attempts, never shorter than what the server asked for.

    Gives up after `attempts`, or at once where the server asks for a longer wait than `patience` seconds. The last
    error is raised as it was.
    """
    jitter = tenacity.wait_random_exponential(multiplier=first, max=longest)

    def wait(state: tenacity.RetryCallState) -> float:
        """Return the seconds until the next attempt."""
        return max(float(jitter(state)), _asked(state) or 0.0)

    def stop(state: tenacity.RetryCallState) -> bool:
        """Say whether to give up."""
        return state.attempt_number >= attempts or (_asked(state) or 0.0) > patience

    return tenacity.Retrying(
        sleep=sleep,
        wait=wait,
        stop=stop,
        retry=tenacity.retry_if_exception(retry_on or (lambda error: isinstance(error, RetryLater))),
        reraise=True,
    )


def jittered(seconds: float) -> float:
    """Return a random wait between nothing and the given seconds."""
    return random.uniform(0.0, seconds)  # noqa: S311 - spreads load; nothing depends on its secrecy


def _asked(state: tenacity.RetryCallState) -> float | None:
    """Return the wait the server asked for in the last attempt."""
    error = state.outcome.exception() if state.outcome is not None else None
    return error.retry_after if isinstance(error, RetryLater) else None


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Leave a request as it is: stands in for the passwords that requests would take from a .netrc file."""
    return request


def _never_connected(error: BaseException) -> bool:
    """Say whether an error arose before any byte was sent."""
    seen: set[int] = set()
    queue: list[Any] = [error]
    while queue:
        current = queue.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, NewConnectionError | NameResolutionError | ConnectTimeoutError | ConnectionRefusedError):
            return True
        queue += [*current.args, current.__cause__, current.__context__]
        if isinstance(current, MaxRetryError):
            queue.append(current.reason)
    return False


def _short(error: BaseException) -> str:
    """Return the innermost reason of an error, in few words."""
    reason: Any = error
    while True:
        inner = getattr(reason, "reason", None) or next(
            (arg for arg in getattr(reason, "args", ()) if isinstance(arg, BaseException)), None
        )
        if not isinstance(inner, BaseException) or inner is reason:
            break
        reason = inner
    text = str(reason).split("\n", 1)[0]
    # urllib3 puts the connection object in front: "HTTPConnection(host=..., port=...): Failed to ...".
    _, _, tail = text.rpartition("): ")
    return (tail or text or type(reason).__name__)[:200]


__all__ = [
    "BridgeError",
    "HttpTransport",
    "Redactor",
    "Reply",
    "Timeouts",
    "TransportFault",
    "jittered",
    "retrying",
    "without_query",
]
