"""/healthz, /readyz and /metrics over HTTP, for whoever watches over the daemon. They name no person and no secret."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bridge.logs import logger
from bridge.ports import FixConfiguration

Answer = tuple[int, str]


class Endpoints:
    """Serves until stopped. `healthy` and `ready` return a status and a sentence, `metrics` the figures."""

    def __init__(
        self, listen: str, healthy: Callable[[], Answer], ready: Callable[[], Answer], metrics: Callable[[], bytes]
    ) -> None:
        host, _, port = listen.rpartition(":")

        class Handler(BaseHTTPRequestHandler):
            """Answers three questions and no other."""

            timeout = 10  # a client that says nothing does not keep a thread
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                """Answer a question."""
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._give(200, metrics(), "text/plain; version=0.0.4; charset=utf-8")
                elif path in ("/healthz", "/readyz"):
                    status, says = healthy() if path == "/healthz" else ready()
                    self._give(status, f"{says}\n".encode(), "text/plain; charset=utf-8")
                else:
                    self._give(404, b"There are /healthz, /readyz and /metrics.\n", "text/plain; charset=utf-8")

            def _give(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: probes come every few seconds."""

        class Server(ThreadingHTTPServer):
            """Ends with the daemon, whatever a client is doing."""

            daemon_threads = True
            allow_reuse_address = True

        try:
            self._server = Server((host.strip("[]"), int(port)), Handler)
        except OSError as error:
            raise FixConfiguration(
                f"bridge.toml, [daemon]: {listen} cannot be listened on ({error.strerror or error}). Another daemon "
                "may be running there; set `listen` to a free port, or to nothing."
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="endpoints", daemon=True)

    @property
    def address(self) -> str:
        """Where it answers, as HOST:PORT."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    @property
    def answering(self) -> bool:
        """True from the moment on at which it answers."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        logger("endpoints").info("listening", address=self.address)

    def stop(self) -> None:
        """Stop answering."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(5)
        self._server.server_close()
