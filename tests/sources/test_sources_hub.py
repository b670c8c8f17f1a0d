"""The hub's answers, from a small hub of our own: what is fetched, and what a refusal is turned into."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves one model folder as `tiny/open`, and refuses `tiny/gated` as the real hub does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.files["README.md"] = b"---\nlicense: mit\n---\n"
        self.files["pytorch_model.bin"] = b"a pickle"
        self.fetched: list[str] = []


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if "tiny/gated" in path:
            return self.send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"}, with_body)
        if "tiny/open" not in path:
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)
        if "no-such-branch" in path:
            return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, with_body)
        if "/tree/" in path:
            listed = [
                {"type": "file", "path": name, "size": len(data), "oid": sha256(data).hexdigest()[:40]}
                for name, data in self.server.files.items()
            ]
            return self.send(200, json.dumps(listed).encode(), {}, with_body)
        if path.startswith("/api/"):
            siblings = [{"rfilename": name} for name in self.server.files]
            return self.send(
                200, json.dumps({"id": "tiny/open", "sha": COMMIT, "siblings": siblings}).encode(), {}, with_body
            )
        name = re.sub(r".*/resolve/[^/]+/", "", path)
        data = self.server.files[name]
        if with_body:
            self.server.fetched.append(name)
        return self.send(200, data, {"X-Repo-Commit": COMMIT, "ETag": f'"{sha256(data).hexdigest()[:40]}"'}, with_body)

    def send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def hub(tiny_checkpoint) -> Iterator[Hub]:
    server = Hub(tiny_checkpoint("llama", shards=True))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def ask(hub: Hub, home: Path, call: str, **environment: str) -> str:
    """Run one call in a process of its own: the hub's library reads its address when it is imported."""
    script = (
        "from pathlib import Path; from govern.sources import *; from govern.errors import SourceError\n"
        f"try: print({call})\n"
        "except SourceError as error: print(error)\n"
    )
    address = f"http://127.0.0.1:{hub.server_port}"
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={"PATH": os.environ["PATH"], "HF_ENDPOINT": address, "HF_HOME": str(home), "NO_PROXY": "*", **environment},
        capture_output=True, text=True, timeout=120, check=False, cwd=home,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_a_hub_model_is_fetched_without_its_pickles_and_kept(hub, tmp_path) -> None:
    found = ask(hub, tmp_path, "resolve_model('hf:tiny/open', revision=None, base=Path())")
    assert f"revision='{COMMIT}', licence='mit'" in found
    assert "pytorch_model.bin" not in hub.fetched
    weights = {name for name in hub.files if name.endswith(".safetensors")}
    assert weights | {"config.json", "tokenizer.json"} <= set(hub.fetched)

    hub.fetched.clear()
    call = f"resolve_model('hf:tiny/open', revision='{COMMIT}', base=Path())"
    assert ask(hub, tmp_path, call) == found
    assert ask(hub, tmp_path, call, HF_HUB_OFFLINE="1") == found
    assert not hub.fetched


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            "resolve_model('hf:tiny/gated', revision=None, base=Path())",
            ("the model tiny/gated is gated", "https://huggingface.co/tiny/gated", "hf auth login", "hf download"),
        ),
        (
            "resolve_texts('hf:tiny/gated', subset=None, split='train', column=None, revision=None, base=Path())",
            ("the dataset tiny/gated is gated", "https://huggingface.co/datasets/tiny/gated", "--repo-type dataset"),
        ),
        ("resolve_model('hf:tiny/none', revision=None, base=Path())", ("knows no model tiny/none",)),
        ("resolve_model('hf:tiny/open', revision='no-such-branch', base=Path())", ("no revision 'no-such-branch'",)),
        ("resolve_model('hf:not a name', revision=None, base=Path())", ("knows no model not a name",)),
    ],
)
def test_a_refusal_says_what_to_do(hub, tmp_path, call, words) -> None:
    said = ask(hub, tmp_path, call)
    assert all(word in said for word in words), said
