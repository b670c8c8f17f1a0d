"""One exchange with a web server: bounded in bytes and in time, and never led elsewhere."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


class TooSlow(OSError):
    """The server did not finish its answer in time."""


@dataclass(frozen=True)
class Answer:
    """What a server answered, whatever its status."""

    status: int
    type: str
    encoding: str
    body: bytes


def exchange(request: urllib.request.Request, *, most: int, seconds: float) -> Answer:
    """Send a request and read the first `most` bytes of the answer. No redirect is followed.

    Raises TooSlow where it takes longer than `seconds` in all, OSError or HTTPException where it fails.
    """
    opener = _OPENER_HERE if is_here(urlsplit(request.full_url).hostname or "") else _OPENER
    deadline = _Deadline(seconds)
    try:
        with deadline:
            try:
                reply = opener.open(request, timeout=seconds)
            except urllib.error.HTTPError as error:
                reply = error
            with reply:
                told = reply.headers
                answer = Answer(
                    reply.status, told.get("Content-Type", ""), told.get("Content-Encoding", ""), reply.read(most)
                )
    except (OSError, http.client.HTTPException):
        if not deadline.passed:
            raise
    if deadline.passed:
        raise TooSlow(f"it did not finish its answer within {seconds:g} seconds")
    return answer


def is_here(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Deadline:
    """Cuts this thread's connection some seconds after it began, since a timeout starts anew with every byte."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> None:
        _waiting.deadline = self
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def watch(self, connected: socket.socket) -> None:
        self._socket = connected
        if self.passed:
            self._cut()

    def _cut(self) -> None:
        self.passed = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


_waiting = threading.local()


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _waiting.deadline.watch(self.sock)


class _SecureConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _waiting.deadline.watch(self.sock)


class _Open(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _OpenSecurely(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key is for the host that was named, so nobody is followed elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect, _Open, _OpenSecurely)

# A key in the clear is for this machine alone, so no proxy hears of it.
_OPENER_HERE = urllib.request.build_opener(_NoRedirect, _Open, _OpenSecurely, urllib.request.ProxyHandler({}))
