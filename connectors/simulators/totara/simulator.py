"""The simulator as tests, the demo and the command line use it: a site behind HTTP, and its folder."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from connectors.hrimport_rules import HrImportSettings
from connectors.simulators.faults import FaultPlan
from connectors.simulators.totara.faults import HTML, JSON, KINDS, Reply, strike
from connectors.simulators.totara.graphql import ApiSettings, GraphQl
from connectors.simulators.totara.site import RunInBackground, TotaraSite
from connectors.simulators.totara.webservices import WebServices

GRAPHQL = "/api/graphql.php"
TOKEN = "/totara/oauth2/token.php"  # noqa: S105 - an address, not a secret
REST = "/webservice/rest/server.php"
Hook = Callable[[str, int, str], None]
_UNKNOWN_BEARER = (
    "Missing, expired or invalid access token. Ensure the Authorization header is set to a valid Bearer token."
)


class TotaraSimulator:
    """A Totara that runs in this process, on a loopback port and in a folder.

    ``with TotaraSimulator(filesdir) as totara:`` gives ``totara.url``, ``totara.client_id`` and
    ``totara.client_secret``; ``totara.site`` is what it holds; ``totara.requests`` lists what was asked, and
    ``totara.issued`` the access tokens that were given out; ``totara.faults`` breaks what is to come.
    """

    def __init__(
        self,
        filesdir: Path | None = None,
        settings: HrImportSettings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        wait: float = 2.0,
        import_every: float | None = None,
        service_accounts: tuple[str, ...] = ("apisvc", "wssvc"),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.site = TotaraSite(filesdir, settings, wait=wait, clock=clock)
        self.api = ApiSettings()
        self.graphql = GraphQl(self.site, self.api)
        self.client_id = secrets.token_hex(8)
        self.client_secret = secrets.token_hex(12)
        self.client_enabled = True
        self.token_lifetime = 86_400
        self.ws_token = secrets.token_hex(16)
        self.web_services = WebServices(self.site, self.ws_token)
        self.requests: list[tuple[str, str, Any]] = []
        # What was asked for as it stood in the request's first line: nothing secret may ever be among it.
        self.targets: set[str] = set()
        self.issued: list[str] = []
        # Called before a request is answered; what it returns, a status and a body, is sent instead.
        self.on_request: Callable[[str, str, Any], tuple[int, Any] | None] = lambda _method, _path, _body: None
        # Called with `before`, `after_commit` or `answered`, a request's number from 1, and its path.
        self.on_moment: Hook = lambda _moment, _number, _path: None
        self.faults = FaultPlan(KINDS)
        self.in_flight = 0
        self._tokens: dict[str, float] = {}
        self._spent: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._address = (host, port)
        self._cron = RunInBackground(self.site, import_every) if import_every is not None else None
        self._stopped = threading.Event()
        for username in service_accounts:
            self.add_service_account(username)

    def add_service_account(self, username: str) -> None:
        """An account without id number, as an administrator makes it."""
        user = self.site.state.add_user("", username)
        user.email = f"{username}@example.com"
        user.totarasync = False
        user.timemodified = self.site.now()
        user.fields = {"firstname": username, "lastname": "Svc", "auth": "manual", "lang": "en"}

    # -- running ----------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base address; the simulator must have been started."""
        if self._server is None:
            raise RuntimeError("start the simulator before asking for its address")
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> str:
        """Listen, and return the base address."""
        simulator = self

        class Handler(_Handler):
            """Answers for this simulator."""

            owner = simulator

        self._server = ThreadingHTTPServer(self._address, Handler)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="totara-simulator", daemon=True
        ).start()
        if self._cron is not None:
            self._cron.start()
        return self.url

    def stop(self) -> None:
        """Stop listening, and the import task with it."""
        if self._cron is not None:
            self._cron.stop()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._stopped.set()

    def wait(self) -> None:
        """Block until somebody stops the simulator."""
        self._stopped.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- answering --------------------------------------------------------------------------------

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """Return the answer to a request, with the fault that strikes it."""
        shown = body.decode("utf-8", "replace")
        with self._lock:
            self.requests.append((method, path, shown))
            number = len(self.requests)
            self.in_flight += 1
        try:
            return replace(self._reply(number, method, path, headers, shown), number=number)
        finally:
            with self._lock:
                self.in_flight -= 1

    def _reply(self, number: int, method: str, path: str, headers: dict[str, str], shown: str) -> Reply:
        instead = self.on_request(method, path, shown)
        if instead is not None:
            return Reply(instead[0], JSON, instead[1])
        self.on_moment("before", number, path)
        fault = self.faults.pick(number, (path,))
        if fault is None or self._turns_away(fault.kind):
            reply = self._work(method, path, headers, shown)
        else:
            reply = strike(fault, lambda most: self._work(method, path, headers, shown, most), self.graphql.fault)
        self.on_moment("after_commit", number, path)
        return reply

    def _turns_away(self, kind: str) -> bool:
        """Let a fault that concerns who asks take its effect; the answer is then the site's own."""
        if kind == "invalidclient":
            self.client_enabled = False
        if kind in ("invalidclient", "invalidtoken"):
            self.forget_tokens()
            return True
        return False

    def _work(self, method: str, path: str, headers: dict[str, str], body: str, most: int | None = None) -> Reply:
        match path:
            case "/api/graphql.php":
                return Reply(*self._graphql(method, headers, body, most))
            case "/totara/oauth2/token.php":
                return Reply(200, HTML, self._token(method, headers, body))
            case "/webservice/rest/server.php":
                return Reply(200, "application/json", self.web_services.call(parse_qsl(body, keep_blank_values=True)))
        return Reply(404, HTML, "Not found")

    def _graphql(self, method: str, headers: dict[str, str], body: str, most: int | None) -> tuple[int, str, Any]:
        if method != "POST":
            message = "Invalid webapi request, only POST method is allowed"
            return 400, JSON, {"errors": [{"message": message}], "error": message}
        if not self.api.enabled:
            message = "Feature api is not available."
            return 400, JSON, {"errors": [{"message": message}], "error": message}
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or self._tokens.get(token, 0.0) < self.site.clock():
            return 200, JSON, self.graphql.fault(_UNKNOWN_BEARER)
        if self.account_suspended():
            return 200, JSON, self.graphql.fault("API user is invalid.")
        with self._lock:
            now = time.monotonic()
            while self._spent and self._spent[0][0] < now - 60:
                self._spent.popleft()
            spent = sum(cost for _, cost in self._spent)
        if spent > self.api.client_rate_limit:
            message = "Too many requests"
            return 429, JSON, {"errors": [{"message": message}], "error": message}
        try:
            payload = json.loads(body)
        except ValueError:
            payload = None
        if isinstance(payload, list):
            payload = payload[:most]
        answer, cost = self.graphql.answer(payload)
        with self._lock:
            self._spent.append((time.monotonic(), cost))
        return 200, JSON, answer

    def _token(self, method: str, headers: dict[str, str], body: str) -> dict[str, Any]:
        form = dict(parse_qsl(body)) if "x-www-form-urlencoded" in headers.get("content-type", "") else {}
        if not self.api.enabled:
            said = "The resource owner or authorization server denied the request."
            hint = "'totara_api' feature is not enabled."
            return {"error": "access_denied", "error_description": said, "hint": hint, "message": said}
        if method != "POST" or form.get("grant_type") != "client_credentials":
            said = "The authorization grant type is not supported by the authorization server."
            hint = "Check that all required parameters have been provided"
            return {"error": "unsupported_grant_type", "error_description": said, "hint": hint, "message": said}
        client, secret = form.get("client_id"), form.get("client_secret")
        scheme, _, packed = headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            client, _, secret = base64.b64decode(packed).decode("utf-8", "replace").partition(":")
        if (client, secret) != (self.client_id, self.client_secret) or not self.client_enabled:
            said = "Client authentication failed"
            return {"error": "invalid_client", "error_description": said, "message": said}
        token = secrets.token_urlsafe(32)
        self.issued.append(token)
        self._tokens[token] = self.site.clock() + self.token_lifetime
        return {"token_type": "Bearer", "expires_in": self.token_lifetime, "access_token": token}

    def forget_spending(self) -> None:
        """Begin the minute of the rate limit anew."""
        self._spent.clear()

    def account_suspended(self) -> bool:
        """Whether the API's service account is switched off."""
        own = [user for user in self.site.state.users.values() if user.username == self.graphql.service_account]
        return any(user.suspended for user in own)

    def forget_tokens(self) -> None:
        """Invalidate every token, as the site's clean-up task does."""
        self._tokens.clear()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    owner: TotaraSimulator
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        """Answer until whoever asks hangs up, also in the middle of something."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.owner.targets.add(self.path)
        path = urlsplit(self.path).path
        reply = self.owner.answer(self.command, path, headers, body)
        if reply.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        payload = reply.payload()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload[: max(1, len(payload) * 2 // 3)] if reply.cut else payload)
        self.close_connection = self.close_connection or reply.cut
        self.owner.on_moment("answered", reply.number, path)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names http.server looks for

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what was asked is in ``requests``."""
