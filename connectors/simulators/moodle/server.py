"""The HTTP side: keep-alive connections, one thread each, straight to the simulated site.

Only what Moodle and the web server before it do is here: forms in, JSON out, the faults of a plan, the costs
of a server with a fixed number of workers.
"""

import contextlib
import json
import logging
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from xml.sax.saxutils import escape as xml_escape
from zoneinfo import available_timezones

from connectors.simulators.faults import Fault, FaultPlan, gateway_page
from connectors.simulators.moodle import batch, faults, params
from connectors.simulators.moodle.errors import (
    MoodleError,
    SimulatedCrashError,
    access_denied,
    invalid_parameter,
    plain,
)
from connectors.simulators.moodle.site import Call, Site

_LOG = logging.getLogger(__name__)
JSON = "application/json"
XML = "application/xml; charset=utf-8"
HTML = "text/html; charset=utf-8"
REST = "/webservice/rest/server.php"
Hook = Callable[[str, int, str], None]
Control = Callable[[str, str, bytes], tuple[int, Any]]


@dataclass(slots=True)
class Reply:
    """What goes back over the wire; `cut` and `reset` are the ways it can fail to."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    cut: bool = False
    reset: bool = False
    request: tuple[int, str] | None = None


@dataclass(slots=True)
class RequestLog:
    """What was asked: how many requests, of which functions, over how many connections, how many at once."""

    total: int = 0
    by_function: Counter[str] = field(default_factory=Counter)
    inner_by_function: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    in_flight: int = 0
    in_flight_high: int = 0
    targets: set[str] = field(default_factory=set)
    """Paths that were asked for, with their queries; no more than a thousand of them."""
    entries: deque[tuple[int, str, int, int]] = field(default_factory=lambda: deque(maxlen=20000))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, target: str = "") -> int:
        """Count a request in and return its number, from 1."""
        with self._lock:
            if len(self.targets) < 1000:
                self.targets.add(target)
            self.total += 1
            self.in_flight += 1
            self.in_flight_high = max(self.in_flight_high, self.in_flight)
            return self.total

    def name(self, function: str, inner: list[str]) -> None:
        """Note which function a request called, and those inside it."""
        with self._lock:
            self.by_function[function] += 1
            self.inner_by_function.update(inner)

    def end(self, index: int, function: str, status: int, size: int) -> None:
        """Count a request out."""
        with self._lock:
            self.in_flight -= 1
            self.entries.append((index, function, status, size))

    def reset(self) -> None:
        """Start counting anew; open connections stay open."""
        with self._lock:
            self.total = self.connections = 0
            self.in_flight_high = self.in_flight
            self.by_function.clear()
            self.inner_by_function.clear()
            self.entries.clear()

    def stats(self) -> dict[str, Any]:
        """Return the counts as JSON-ready data."""
        with self._lock:
            return {
                "requests": self.total,
                "by_function": dict(self.by_function),
                "inner_by_function": dict(self.inner_by_function),
                "connections": self.connections,
                "in_flight_high": self.in_flight_high,
            }


class HttpServer:
    """Listens, reads requests, and answers them from the site."""

    def __init__(self, site: Site, plan: FaultPlan, log: RequestLog, control: Control) -> None:
        self.site = site
        self.plan = plan
        self.log = log
        self.on_request: Hook | None = None
        self._control = control
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def start(self) -> int:
        """Begin to listen and return the port."""
        config = self.site.config
        listener = socket.create_server((config.host, config.port), backlog=128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="moodle-simulator", daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    def stop(self) -> None:
        """Close the listener and every connection."""
        self._stopping.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection)
                self.log.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(self.site.config.keep_alive)
        reader = connection.makefile("rb", buffering=65536)
        try:
            while not self._stopping.is_set() and self._exchange(connection, reader):
                pass
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)
            with contextlib.suppress(OSError):
                reader.close()
            connection.close()

    def _exchange(self, connection: socket.socket, reader: Any) -> bool:
        """Read one request and answer it; return whether the connection stays open."""
        line = reader.readline(65536)
        if not line:
            return False
        try:
            method, target, version = line.decode("latin-1").split()
        except ValueError:
            return False
        headers: dict[str, str] = {}
        while True:
            line = reader.readline(65536)
            if line in (b"\r\n", b"\n", b""):
                break
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = _read_chunks(reader)
        else:
            length = int(headers.get("content-length") or 0)
            body = reader.read(length) if length else b""
        keep = headers.get("connection", "").lower() != "close" and version == "HTTP/1.1"
        reply = self._reply(method, target, headers, body)
        if reply.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        keep = keep and not reply.cut
        head = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Status')}", "Server: nginx/1.22.1"]
        head += [f"Content-Type: {reply.content_type}", f"Content-Length: {len(reply.body)}"]
        head += [f"{name}: {value}" for name, value in reply.headers]
        head.append(f"Connection: {'keep-alive' if keep else 'close'}")
        payload = b"" if method == "HEAD" else reply.body
        if reply.cut:
            payload = payload[: max(1, len(payload) * 2 // 3)]
        connection.sendall("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + payload)
        if self.on_request is not None and reply.request is not None:
            self.on_request("answered", *reply.request)
        return keep

    def _reply(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        path, _, query = target.partition("?")
        if path.startswith("/_simulator/"):
            status, value = self._control(method, path.removeprefix("/_simulator/"), body)
            return Reply(status, JSON, json.dumps(value).encode())
        index = self.log.begin(target)
        request = Request(self, index, method, path, query, headers, body)
        reply = Reply(500, HTML, b"")
        try:
            reply = request.handle()
            if self.site.config.latency > 0:
                time.sleep(self.site.config.latency)
        finally:
            self.log.end(index, request.function, reply.status, len(reply.body))
        reply.request = (index, request.function)
        return reply


def _read_chunks(reader: Any) -> bytes:
    chunks: list[bytes] = []
    while True:
        size = int(reader.readline().split(b";")[0] or b"0", 16)
        if size == 0:
            while reader.readline() not in (b"\r\n", b"\n", b""):
                pass
            return b"".join(chunks)
        chunks.append(reader.read(size))
        reader.readline()


_REASONS = {
    200: "OK", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 429: "Too Many Requests",
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out",
}  # fmt: skip


class Request:
    """One request on its way through the web server, PHP and Moodle."""

    def __init__(
        self,
        server: HttpServer,
        index: int,
        method: str,
        path: str,
        query: str,
        headers: dict[str, str],
        body: bytes,
    ) -> None:
        self.server = server
        self.site = server.site
        self.index = index
        self.method = method
        self.path = path
        self.headers = headers
        self.function = ""
        self.query = query
        self.body = body
        self.form: dict[str, Any] = {}
        self._json = False

    def handle(self) -> Reply:
        """Return the answer, with the faults that strike it."""
        config = self.site.config
        if not self.path.startswith((REST, "/login/token.php", "/webservice/upload.php")):
            return Reply(404, "text/html; charset=UTF-8", b"File not found.\n")
        if config.cli_maintenance:
            return Reply(503, HTML, faults.maintenance_page(config.sitename).encode())
        oversize = len(self.body) > config.post_max_size
        self._read_form(b"" if oversize else self.body)
        self.function = str(self.form.get("wsfunction", ""))
        self._json = self.form.get("moodlewsrestformat") == "json"
        inner = self._inner_functions()
        self.server.log.name(self.function or self.path, inner)
        self._hook("before", self.function)
        fault = self.server.plan.pick(self.index, (self.function, *inner))
        if fault is not None:
            return self._strike(fault)
        return self._work()

    def _work(self, crash_after: int | None = None) -> Reply:
        workers = self.site.workers
        if workers is not None:
            workers.acquire()
        try:
            cost = self.site.config.cost.request
            if cost > 0:
                time.sleep(cost)
            reply = self._dispatch(crash_after)
        finally:
            if workers is not None:
                workers.release()
        self._hook("after_commit", self.function)
        return reply

    def _hook(self, moment: str, function: str) -> None:
        if self.server.on_request is not None:
            self.server.on_request(moment, self.index, function)

    def _inner_functions(self) -> list[str]:
        if self.function != batch.BATCH or not isinstance(self.form.get("requests"), dict):
            return []
        return [str(r.get("function", "")) for r in self.form["requests"].values() if isinstance(r, dict)]

    def _read_form(self, body: bytes) -> None:
        limit = self.site.config.max_input_vars
        params.build_arrays(params.decode_form(self.query.encode("latin-1"), limit), self.form)
        kind = self.headers.get("content-type", "")
        if self.method != "POST":
            return
        if kind.startswith("application/x-www-form-urlencoded"):
            params.build_arrays(params.decode_form(body, limit), self.form)
        elif kind.startswith("multipart/form-data"):
            params.build_arrays(params.decode_multipart(body, kind, limit), self.form)

    def _strike(self, fault: Fault) -> Reply:
        kind = fault.kind
        if kind in ("timeout", "timeout_after_commit"):
            if kind == "timeout_after_commit":
                self._work()
            time.sleep(fault.seconds)
            return Reply(504, "text/html", gateway_page(504, "Gateway Time-out").encode(), reset=True)
        if kind == "reset_before":
            return Reply(0, HTML, b"", reset=True)
        if kind == "reset_after_commit":
            reply = self._work()
            reply.reset = True
            return reply
        if kind == "cut_json":
            reply = self._work()
            reply.cut = True
            return reply
        if kind == "killed_mid_batch":
            return self._work(crash_after=fault.after_writes)
        if kind == "invalidtoken" and fault.count == 1 and fault.at is None:
            fault.count = None
        return self._answer_of(fault)

    def _answer_of(self, fault: Fault) -> Reply:
        config = self.site.config
        pages = {
            "http_502": Reply(502, "text/html", gateway_page(502, "Bad Gateway").encode()),
            "http_504": Reply(504, "text/html", gateway_page(504, "Gateway Time-out").encode()),
            "http_503": Reply(503, HTML, faults.maintenance_page(config.sitename).encode()),
            "http_429": Reply(
                429, "text/html", gateway_page(429, "Too Many Requests").encode(),
                (("Retry-After", f"{fault.seconds:g}"),),
            ),
            "empty_500": Reply(500, HTML, b""),
            "empty_403": Reply(403, HTML, b""),
            "oversize_xml": Reply(200, XML, faults.XML_REFUSAL.encode()),
        }  # fmt: skip
        if fault.kind in pages:
            return pages[fault.kind]
        errors = {
            "sitemaintenance": _maintenance(),
            "invalidtoken": _bad_token(),
            "dbconnectionfailed": MoodleError(
                "dml_connection_exception", "dbconnectionfailed", "Error: Database connection failed"
            ),
            "deadlock": MoodleError("dml_write_exception", "dmlwriteexception", "Error writing to database"),
            "accessexception": access_denied(),
        }
        return self._error(errors[fault.kind])

    def _dispatch(self, crash_after: int | None) -> Reply:
        if not self.path.startswith(REST):
            return self._other_script()
        if not self.site.config.webservices_enabled:
            return Reply(403, HTML, b"")
        call: Call | None = None
        try:
            call = self._call()
            call.crash_after = crash_after
            name = self.form.pop("wsfunction", None)
            if not name or not isinstance(name, str):
                raise invalid_parameter()
            for reserved in (
                "wstoken",
                "moodlewsrestformat",
                *(k for k in self.form if k.startswith("moodlewssetting")),
            ):
                self.form.pop(reserved, None)
            result = batch.answer(call, name, self.form)
        except MoodleError as error:
            return self._error(error)
        except SimulatedCrashError:
            return Reply(500, HTML, b"")
        except Exception:  # noqa: BLE001 - a mistake here looks like one in PHP: empty 500, trace in the log
            _LOG.exception("request %d failed: %s", self.index, self.function)
            return Reply(500, HTML, b"")
        finally:
            if call is not None:
                batch.finish(call)
        if not self._json:
            return Reply(200, XML, batch.to_xml(result).encode())
        return Reply(200, JSON, batch.to_json(result).encode())

    def _call(self) -> Call:
        """Return the call's context, once the token is found good."""
        site = self.site
        if site.config.maintenance:
            raise _maintenance()
        token = site.db.tokens.first("token", self.form.get("wstoken") or "")
        if token is None:
            raise _bad_token()
        if token.get("ip_blocked"):
            raise access_denied()
        if token.get("expired"):
            with site.lock:
                if site.db.tokens.get(token["id"]) is not None:
                    site.db.tokens.delete(token["id"])
            raise access_denied()
        user = site.db.users.get(token["userid"])
        if user is None or user.get("deleted"):
            raise _bad_token()
        if user.get("suspended"):
            raise plain(
                "wsaccessusersuspended",
                f"Refused web service access for suspended username: {user['username']}",
            )
        if not site.config.service_enabled or not site.may(user, "webservice/rest:use"):
            raise access_denied()
        functions = token.get("functions")
        return Call(
            site,
            user,
            token,
            raw=self.form.get("moodlewssettingraw") in ("1", "true"),
            timezone=_zone(str(self.form.get("moodlewssettingtimezone") or ""), site.config.timezone),
            request=self.index,
            functions=None if functions is None else frozenset(functions),
        )

    def _error(self, error: MoodleError) -> Reply:
        debug = self.site.config.debug
        if self._json:
            return Reply(200, JSON, batch.to_json(error.body(debug)).encode())
        parts = [
            f"<ERRORCODE>{xml_escape(error.errorcode or '')}</ERRORCODE>",
            f"<MESSAGE>{xml_escape(error.message)}</MESSAGE>",
        ]
        if debug and error.debuginfo:
            parts.append(f"<DEBUGINFO>{xml_escape(error.debuginfo)}</DEBUGINFO>")
        text = '<?xml version="1.0" encoding="UTF-8" ?>\n'
        text += f'<EXCEPTION class="{error.exception}">\n' + "\n".join(parts) + "\n</EXCEPTION>\n"
        return Reply(200, XML, text.encode())

    def _other_script(self) -> Reply:
        db = self.site.db
        kind = "application/json; charset=utf-8"

        def failed(code: str, message: str) -> Reply:
            body = {
                "error": message,
                "errorcode": code,
                "stacktrace": None,
                "debuginfo": None,
                "reproductionlink": None,
            }
            return Reply(200, kind, batch.to_json(body).encode())

        if self.path.startswith("/login/token.php"):
            user = db.users.first("username", str(self.form.get("username", "")).lower())
            if user is None or self.form.get("password") != self.site.config.password:
                return failed("invalidlogin", "Invalid login, please try again")
            token = next((t for t in db.tokens if t["userid"] == user["id"]), None)
            if token is None:
                return failed("cannotcreatetoken", "Cannot create token for the service")
            return Reply(200, kind, batch.to_json({"token": token["token"], "privatetoken": None}).encode())
        if db.tokens.first("token", self.form.get("token") or "") is None:
            return failed("invalidtoken", "Invalid token - token not found")
        return Reply(200, kind, b"[]")


@cache
def _zone(asked: str, default: str) -> str:
    """Return the zone asked for where it is one, else the site's."""
    return asked if asked in available_timezones() else default


def _bad_token() -> MoodleError:
    return plain("invalidtoken", "Invalid token - token not found")


def _maintenance() -> MoodleError:
    return plain("sitemaintenance", "The site is undergoing maintenance and is currently not available")
