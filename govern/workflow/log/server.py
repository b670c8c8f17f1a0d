"""A small web server: for a log's tiles, which it only reads, and for a witness. Every request is bounded.

It speaks plain HTTP, on this machine alone by default. Whoever opens it to others puts a proxy with TLS before it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol

from govern import limits
from govern.audit.tiles import CHECKPOINT, Read, parse_path
from govern.errors import GovernError, UsageError

HERE: Final = "127.0.0.1"
SILENT_SECONDS: Final = 10
CONNECTION_SECONDS: Final = 60.0
CONNECTIONS: Final = 32

_FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Reply:
    """What a request is answered with."""

    status: int
    body: bytes = b""
    type: str = "text/plain; charset=utf-8"
    cache: str = "no-cache"


class Service(Protocol):
    """What a server does. Paths come without the first slash."""

    def get(self, path: str) -> Reply:
        """Answer a GET."""

    def post(self, path: str, body: bytes) -> Reply:
        """Answer a POST. May raise GovernError or OSError, which the client hears nothing of."""


@dataclass(frozen=True)
class Tiles:
    """A log's tiles as `govern audit publish` wrote them."""

    read: Read

    def get(self, path: str) -> Reply:
        """The checkpoint or a tile."""
        if path == CHECKPOINT:
            data = self.read(path, limits.NOTE_BYTES)
            return not_found() if data is None else Reply(200, data)
        tile = parse_path(path)
        data = self.read(path, tile.most) if tile else None
        return not_found() if data is None else Reply(200, data, "application/octet-stream", _FOR_EVER)

    def post(self, path: str, body: bytes) -> Reply:  # noqa: ARG002
        """Nothing is written here."""
        return Reply(405, b"this log is only read here\n")


class Server(ThreadingHTTPServer):
    """Serves until it is told to shut down. `tell` hears of what went wrong here, and never of what a client sent."""

    daemon_threads = True
    request_queue_size = 2 * CONNECTIONS

    def __init__(self, service: Service, host: str, port: int, tell: Callable[[Exception], None]) -> None:
        self.service = service
        self.tell = tell
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            problem = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"it cannot be served here: {problem}", where=f"{host}:{port}") from None

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self.server_address[:2]
        return f"http://{f'[{host!s}]' if ':' in str(host) else host!s}:{port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, or close it where there are too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and cut it where it takes too long in all."""

        def cut() -> None:
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(CONNECTION_SECONDS, cut)
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


def not_found() -> Reply:
    """What is not here."""
    return Reply(404, b"there is no such thing here\n")


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "govern"
    sys_version = ""
    timeout = SILENT_SECONDS

    def do_GET(self) -> None:
        self._answer(lambda: self.server.service.get(self.path.removeprefix("/")))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdecimal()):
            self.close_connection = True
            self._send(Reply(411, b"say how long the request is\n"))
        elif len(length) > 7 or int(length) > limits.PROOF_BYTES:
            self.close_connection = True
            self._send(Reply(413, b"the request is too large\n"))
        elif len(body := self.rfile.read(int(length))) == int(length):
            self._answer(lambda: self.server.service.post(self.path.removeprefix("/"), body))

    def _answer(self, answer: Callable[[], Reply]) -> None:
        try:
            reply = answer()
        except (GovernError, OSError) as error:
            self.server.tell(error)
            reply = Reply(500, b"something is wrong here\n")
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", reply.cache)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name in the standard library
        """Who asked for what is nobody's business here."""
