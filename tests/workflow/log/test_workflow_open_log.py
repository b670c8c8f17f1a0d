"""The log in the open: published as tiles, served, and followed by somebody who believes nothing."""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from small_log import PASSWORD, cut, grow, key_of, verifier_of

from govern.audit import Log
from govern.errors import GovernError, IntegrityError, SourceError, UsageError
from govern.workflow.log.checkpoints import sign_head
from govern.workflow.log.follow import Followed, follow, read_folder
from govern.workflow.log.publish import publish
from govern.workflow.log.server import Reply, Server, Tiles

MODEL = "ab" * 32


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    with Server(Tiles(read_folder(folder)), "127.0.0.1", 0, lambda _: None) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server that does what it likes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def followed(source: Path | str, seen: Path, workspace: Path, **more: Any) -> Followed:
    with follow(str(source), seen, verifier=verifier_of(workspace), **more) as found:
        return found


def advance(workspace: Path, count: int) -> None:
    grow(workspace, count)
    sign_head(workspace, key=key_of(workspace))


def tree_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_what_is_published_is_followed(logged: Path, tmp_path: Path) -> None:
    out, seen = tmp_path / "out", tmp_path / "seen"
    assert publish(logged, out).checkpoint.size == 7
    assert set(tree_of(out)) == {"checkpoint", "tile/0/000.p/7", "tile/entries/000.p/7"}
    first = followed(out, seen, logged)
    assert (first.checkpoint.size, first.known) == (7, None)
    assert publish(logged, out).written == 0
    advance(logged, 300)
    published = publish(logged, out)
    # Parts go once the whole is there.
    assert set(tree_of(out)) == {
        "checkpoint", "tile/0/000", "tile/0/001.p/51", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/51",
    }  # fmt: skip
    with serving(out) as url:
        second = followed(url, seen, logged)
        assert (second.checkpoint, second.known) == (published.checkpoint, first.checkpoint)
        assert followed(url, seen, logged).known == published.checkpoint


def test_a_log_that_grew_is_published_as_one_that_was_not(logged: Path, tmp_path: Path) -> None:
    for count in (1, 249, 8):
        advance(logged, count)
        publish(logged, tmp_path / "grown")
    shutil.rmtree(logged / "checkpoints")
    sign_head(logged, key=key_of(logged))
    publish(logged, tmp_path / "once")
    grown, once = tree_of(tmp_path / "grown"), tree_of(tmp_path / "once")
    assert {path: grown[path] for path in once} == once
    # What is more are parts of tiles that are not full yet, for those who hold an older checkpoint.
    assert all(".p/" in path and path.split(".p/")[0] not in grown for path in set(grown) - set(once))


def test_every_checkpoint_that_was_signed_has_its_tiles(logged: Path, tmp_path: Path) -> None:
    advance(logged, 2)
    advance(logged, 2)
    publish(logged, tmp_path)
    assert {path.name for path in (tmp_path / "tile/0/000.p").iterdir()} == {"7", "9", "11"}


def test_a_publication_that_was_stopped_is_completed(logged: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Stopped before each of its writes: what is handed out in between is whole, and the next one completes it."""
    advance(logged, 255)
    publish(logged, tmp_path / "whole")
    whole = tree_of(tmp_path / "whole")
    from govern.workflow.log import publish as module

    real, stop = module.write_atomic, 0
    while True:
        out, seen = tmp_path / f"out{stop}", tmp_path / f"seen{stop}"
        left = stop

        def write(path: Path, data: bytes) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            real(path, data)

        monkeypatch.setattr(module, "write_atomic", write)
        try:
            publish(logged, out)
            break
        except KeyboardInterrupt:
            assert not (out / "checkpoint").exists()
        monkeypatch.setattr(module, "write_atomic", real)
        publish(logged, out)
        assert tree_of(out) == whole
        followed(out, seen, logged)
        stop += 1
    assert stop >= 5


def test_a_folder_of_another_history_is_left_alone(logged: Path, tmp_path: Path) -> None:
    shutil.copytree(logged, tmp_path / "fork")
    advance(logged, 3)
    publish(logged, tmp_path / "out")
    before = tree_of(tmp_path / "out")
    grow(tmp_path / "fork", 1)
    advance(tmp_path / "fork", 3)
    with pytest.raises(IntegrityError, match="rewritten"):
        publish(tmp_path / "fork", tmp_path / "out")
    assert tree_of(tmp_path / "out") == before


def test_a_log_without_a_checkpoint_is_not_published(tmp_path: Path) -> None:
    with Log.open(tmp_path / "audit.db"):
        pass
    with pytest.raises(UsageError, match="no checkpoint of this log yet"):
        publish(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_event_beyond_64_kib_is_handed_out_all_the_same(logged: Path, tmp_path: Path) -> None:
    with Log.open(logged / "audit.db") as log:
        log.append("apply.finished", model_after=MODEL, parameters={"large": "x" * 70_000})
    sign_head(logged, key=key_of(logged))
    publish(logged, tmp_path)
    assert {"tile/entries/000.p/7", "tile/large-entries/000.p/8"} <= set(tree_of(tmp_path))
    assert followed(tmp_path, tmp_path / "seen", logged, models=[MODEL]).types == {"apply.finished": 1}


def test_a_monitor_counts_what_is_new_of_its_models(logged: Path, tmp_path: Path) -> None:
    seen, other = tmp_path / "seen", "cd" * 32
    with Log.open(logged / "audit.db") as log:
        log.append("apply.finished", model_before=other, model_after=MODEL)
        log.append("verify.finished", model_after=MODEL)
        log.append("verify.finished", model_after="ef" * 32)
    sign_head(logged, key=key_of(logged))
    publish(logged, tmp_path / "out")
    found = followed(tmp_path / "out", seen, logged, models=[MODEL])
    assert found.types == {"apply.finished": 1, "verify.finished": 1}
    assert followed(tmp_path / "out", seen, logged, models=[MODEL]).types == {}
    with Log.open(logged / "audit.db") as log:
        log.append("verify.started", model_before=other)
    sign_head(logged, key=key_of(logged))
    publish(logged, tmp_path / "out")
    assert followed(tmp_path / "out", seen, logged, models=[MODEL, other]).types == {"verify.started": 1}


def test_one_event_is_proved_by_tiles(logged: Path, tmp_path: Path) -> None:
    publish(logged, tmp_path / "out")
    with Log.read(logged / "audit.db") as log:
        body = log.event(4).body
    file = tmp_path / "event.json"
    file.write_bytes(body)
    followed(tmp_path / "out", tmp_path / "seen", logged, events=[file])
    file.write_bytes(body.replace(b"export.finished", b"verify.finished"))
    with pytest.raises(IntegrityError, match="entry 4 is not in the tree"):
        followed(tmp_path / "out", tmp_path / "seen", logged, events=[file])
    file.write_bytes(body.replace(b'"seq":4', b'"seq":40'))
    with pytest.raises(IntegrityError, match="has 7 events, and this would be number 40"):
        followed(tmp_path / "out", tmp_path / "seen", logged, events=[file])


def test_a_fork_and_a_log_that_went_back_exit_with_4_and_are_kept(logged: Path, tmp_path: Path) -> None:
    shutil.copytree(logged, tmp_path / "fork")
    shutil.copytree(logged, tmp_path / "old")
    seen, contrary = tmp_path / "seen", tmp_path / "seen.contrary"
    advance(logged, 3)
    publish(logged, tmp_path / "out")
    followed(tmp_path / "out", seen, logged)
    before = seen.read_bytes()
    for workspace, why in (("fork", "rewritten"), ("old", "went back to 7 events, from 10")):
        if workspace == "fork":
            grow(tmp_path / "fork", 1)
            advance(tmp_path / "fork", 20)
        publish(tmp_path / workspace, tmp_path / f"{workspace}-out")
        with pytest.raises(IntegrityError, match=why) as refused:
            followed(tmp_path / f"{workspace}-out", seen, logged)
        assert refused.value.exit_code == 4
        assert str(contrary) in str(refused.value.hint)
        assert seen.read_bytes() == before
        assert contrary.read_bytes() == (tmp_path / f"{workspace}-out" / "checkpoint").read_bytes()


def test_nothing_is_remembered_before_it_was_said(logged: Path, tmp_path: Path) -> None:
    publish(logged, tmp_path / "out")

    def stopped() -> None:
        with follow(str(tmp_path / "out"), tmp_path / "seen", verifier=verifier_of(logged)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not (tmp_path / "seen").exists()


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/000.p/7", "tile/entries/000.p/7"])
@pytest.mark.parametrize("harm", ["cut", "longer", "changed", "gone", "folder", "fifo", "endless"])
def test_a_damaged_folder_is_refused(logged: Path, tmp_path: Path, path: str, harm: str) -> None:
    publish(logged, tmp_path / "out")
    file = tmp_path / "out" / path
    data = file.read_bytes()
    file.unlink()
    match harm:
        case "cut":
            file.write_bytes(data[:-1])
        case "longer":
            file.write_bytes(data + b"\n")
        case "changed":
            file.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
        case "folder":
            file.mkdir()
        case "fifo":
            os.mkfifo(file)
        case "endless":
            file.symlink_to("/dev/zero")
    with pytest.raises(GovernError) as refused:
        followed(tmp_path / "out", tmp_path / "seen", logged, models=[MODEL])
    assert isinstance(refused.value, IntegrityError if harm in ("cut", "longer", "changed") else SourceError)
    assert not (tmp_path / "seen").exists()


HOSTILE = {
    "slow": "did not finish",
    "dripping headers": "did not finish",
    "huge": "more than",
    "zipped": "more than",
    "not zipped": "gzip",
    "redirect": "status 302",
    "broken": "status 500",
    "hangs up": "cannot be read",
    "no http": "cannot be read",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_server_costs_little_time_and_memory(
    kind: str, logged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("govern.workflow.log.follow.SECONDS", 1.0)
    bomb = gzip.compress(bytes(300 << 20 if kind == "zipped" else 0), 1)

    def answer(request: BaseHTTPRequestHandler) -> None:
        out = request.wfile
        head = b"HTTP/1.1 200 OK\r\n"
        try:
            match kind:
                case "slow":
                    out.write(head + b"Content-Length: 100\r\n\r\n")
                    while True:
                        out.write(b"x")
                        time.sleep(0.1)
                case "dripping headers":
                    out.write(head)
                    while True:
                        out.write(b"X: y\r\n")
                        time.sleep(0.1)
                case "huge":
                    out.write(head + b"Content-Length: 99999999999\r\n\r\n")
                    while True:
                        out.write(bytes(1 << 20))
                case "zipped":
                    out.write(head + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
                case "not zipped":
                    out.write(head + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
                case "redirect":
                    out.write(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n")
                case "broken":
                    out.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
                case "hangs up":
                    request.close_connection = True
                case "no http":
                    out.write(b"\x00\xff" * 100)
        except OSError:
            pass

    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with answering(answer) as url, pytest.raises(GovernError, match=HOSTILE[kind]):
        followed(url, tmp_path / "seen", logged)
    assert time.monotonic() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10
    assert not (tmp_path / "seen").exists()


def test_bundles_may_come_zipped(logged: Path, tmp_path: Path) -> None:
    publish(logged, tmp_path / "out")

    def answer(request: BaseHTTPRequestHandler) -> None:
        data = (tmp_path / "out" / request.path[1:]).read_bytes()
        request.send_response(200)
        zipped = "entries" in request.path and "gzip" in request.headers["Accept-Encoding"]
        if zipped:
            request.send_header("Content-Encoding", "gzip")
        request.end_headers()
        request.wfile.write(gzip.compress(data) if zipped else data)

    with answering(answer) as url:
        assert followed(url, tmp_path / "seen", logged, models=[MODEL]).checkpoint.size == 7


@pytest.mark.parametrize(
    "source", ["https://", "http://[", "http://a:99999/", "http://a/?b", "http://a/#b", "http://u:secret@a/"]
)
def test_what_is_no_address_is_refused_and_no_password_repeated(source: str, logged: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        followed(source, tmp_path / "seen", logged)
    assert "secret" not in str(refused.value)


def test_the_server_hands_out_tiles_and_nothing_else(logged: Path, tmp_path: Path) -> None:
    import http.client

    publish(logged, tmp_path / "out")
    (tmp_path / "out" / "private").write_text("x")
    (tmp_path / "private").write_text("x")
    with serving(tmp_path / "out") as url:
        connection = http.client.HTTPConnection(url.split("/")[2], timeout=5)

        def ask(method: str, path: str, body: bytes | None = None) -> tuple[int, http.client.HTTPResponse, bytes]:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer, answer.read()

        status, answer, body = ask("GET", "/checkpoint")
        assert (status, body) == (200, (tmp_path / "out" / "checkpoint").read_bytes())
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"
        status, answer, body = ask("GET", "/tile/0/000.p/7")
        assert (status, len(body)) == (200, 7 * 32)
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert "immutable" in answer.headers["Cache-Control"]
        assert ask("HEAD", "/tile/0/000.p/7")[2] == b""
        for path in ("/private", "/../private", "/tile/../private", "/%2e%2e/private", "//private", "/.lock", "/",
                     "/checkpoint/", "/checkpoint?x", "/tile/0/000", "/tile/0/000.p/7/../7"):  # fmt: skip
            assert ask("GET", path)[0] == 404, path
        assert ask("POST", "/checkpoint", b"x")[0] == 405
        assert ask("PUT", "/checkpoint", b"x")[0] == 501


def test_the_server_bounds_what_it_is_sent(logged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr("govern.workflow.log.server.CONNECTION_SECONDS", 0.5)
    publish(logged, tmp_path / "out")
    with serving(tmp_path / "out") as url:
        host, port = url.split("/")[2].split(":")

        def send(data: bytes) -> bytes:
            with socket.create_connection((host, int(port)), timeout=5) as client:
                client.sendall(data)
                received = b""
                while part := client.recv(65536):
                    received += part
                return received

        assert b" 413 " in send(b"POST /x HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n")
        assert b" 413 " in send(b"POST /x HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")
        for header in (b"", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: x\r\n"):
            assert b" 411 " in send(b"POST /x HTTP/1.1\r\n" + header + b"\r\n")
        assert b" 414 " in send(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n")
        assert b" 431 " in send(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n")
        # Who drips is cut off, whatever each byte took.
        began = time.monotonic()
        assert send(b"GET / HTTP/1.1\r\nA: ") == b""
        assert send(b"POST /x HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc") == b""
        assert time.monotonic() - began < 8
        # Those who hold connections open keep nobody out for longer than that.
        held = [socket.create_connection((host, int(port)), timeout=5) for _ in range(40)]
        time.sleep(0.8)
        assert b" 200 " in send(b"GET /checkpoint HTTP/1.0\r\n\r\n")
        for client in held:
            client.close()


def test_an_error_of_ours_is_told_here_and_not_to_the_client() -> None:
    class Broken:
        def get(self, path: str) -> Reply:
            raise OSError(28, "No space left on device", "/secret/place")

        post = None

    import urllib.error
    import urllib.request

    told: list[Exception] = []
    with Server(Broken(), "127.0.0.1", 0, told.append) as server:  # type: ignore[arg-type]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(server.url, timeout=5)
        assert (refused.value.code, b"secret" in refused.value.read()) == (500, False)
        server.shutdown()
    assert len(told) == 1
    with pytest.raises(UsageError, match="cannot be served here"):
        Server(Broken(), "203.0.113.1", 0, told.append)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_commands(logged: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "GOVERN_KEY_PASSWORD": PASSWORD.decode(), "GOVERN_WORKSPACE": str(logged)}

    def govern(*words: str, code: int = 0) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "govern", "audit", *words, "--json"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout) if done.stdout else {"error": done.stderr}

    vkey = str(logged / "keys" / "log.vkey")
    assert govern("publish", "out")["written"] == 3
    serve = subprocess.Popen(
        [sys.executable, "-m", "govern", "audit", "serve", "out", "--port", "0", "--json"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert serve.stdout is not None
    assert serve.stdout.readline() == "{\n"
    serve.stdout.readline()
    url = json.loads(serve.stdout.readline().split(": ", 1)[1])
    try:
        found = govern("follow", url, "--seen", "seen", "--log-key", vkey, "--model", MODEL)
        assert (found["events"], found["known"], found["types"]) == (7, 0, {})
        advance(logged, 2)
        govern("publish", "out")
        assert govern("follow", url, "--seen", "seen", "--log-key", vkey)["known"] == 7
        cut(logged, 8)
        shutil.rmtree(logged / "checkpoints")
        advance(logged, 4)
        shutil.rmtree(tmp_path / "out")
        govern("publish", "out")
        assert "rewritten" in govern("follow", url, "--seen", "seen", "--log-key", vkey, code=4)["error"]
        govern("follow", url, "--seen", "new", "--log-key", vkey, "--model", "ab", code=2)
        govern("follow", url, "--seen", "new", code=2)
        govern("follow", "http://127.0.0.1:1/", "--seen", "new", "--log-key", vkey, code=1)
    finally:
        serve.send_signal(signal.SIGINT)
        assert serve.wait(10) == 6
        assert "Traceback" not in (serve.stderr.read() if serve.stderr else "")
        serve.stdout.close()
        if serve.stderr:
            serve.stderr.close()
