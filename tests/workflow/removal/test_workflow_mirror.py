"""An air-gapped mirror: laid out from a hub of our own or by hand, counted, hashed, and held against its hashes."""

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

from govern.errors import IntegrityError, UsageError
from govern.evaluation.official import WMDP, WMDP_DATASET
from govern.workflow.removal.mirror import check, create


def wmdp_files(counts: dict[str, int] = WMDP) -> dict[str, bytes]:
    """The data set's layout with made-up questions, as many as published."""
    configs = []
    files = {}
    for name, count in counts.items():
        config = name.replace("_", "-")
        rows = [{"question": f"{name} {n}", "choices": ["a", "b", "c", "d"], "answer": n % 4} for n in range(count)]
        files[f"{config}/test.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows).encode()
        configs.append({"config_name": config, "data_files": [{"split": "test", "path": f"{config}/test.jsonl"}]})
    files["README.md"] = f"---\nconfigs: {json.dumps(configs)}\n---\n".encode()
    return files


def lay(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / WMDP_DATASET.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GOVERN_CACHE", str(tmp_path / "cache"))
    lay(tmp_path / "mirror", wmdp_files())
    return tmp_path / "mirror"


def test_a_mirror_laid_out_by_hand_is_counted_hashed_and_checked(mirror: Path) -> None:
    made = create(mirror, names=("wmdp",))
    assert made.questions == WMDP
    assert made.mirror.datasets[0].revision is None
    assert len(made.mirror.files) == 4
    assert check(mirror) == made
    with pytest.raises(UsageError, match="a mirror already"):
        create(mirror, names=("wmdp",))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes().replace(b"bio 7", b"bio 8")), "was changed"),
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.with_name("more.jsonl").write_text("{}"), "was added"),
    ],
)
def test_what_happened_to_a_mirror_is_named(mirror: Path, damage, words) -> None:
    create(mirror, names=("wmdp",))
    damage(mirror / WMDP_DATASET.path / "wmdp-bio/test.jsonl")
    with pytest.raises(IntegrityError, match=words) as caught:
        check(mirror)
    assert "cais/wmdp/wmdp-bio" in caught.value.where


def test_too_few_questions_make_no_mirror(mirror: Path) -> None:
    lay(mirror, wmdp_files(WMDP | {"wmdp_chem": 407}))
    with pytest.raises(IntegrityError, match="wmdp_chem holds 407 questions instead of 408"):
        create(mirror, names=("wmdp",))
    with pytest.raises(UsageError, match="manifest cannot be read"):
        check(mirror)


def test_a_manifest_of_nonsense_is_refused(mirror: Path) -> None:
    (mirror / "mirror.json").write_text('{"files": 3}')
    with pytest.raises(IntegrityError, match="no mirror's manifest"):
        check(mirror)


def test_an_unknown_data_set_is_named(mirror: Path) -> None:
    with pytest.raises(UsageError, match="no official data set 'gsm8k'"):
        create(mirror, names=("gsm8k",))


class Hub(BaseHTTPRequestHandler):
    """Serves the data set as the real hub does: what it holds, and each file at a revision."""

    files = wmdp_files()

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if WMDP_DATASET.path not in path or WMDP_DATASET.revision not in path:
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)
        if "/tree/" in path:
            listed = [
                {"type": "file", "path": name, "size": len(data), "oid": sha256(data).hexdigest()[:40]}
                for name, data in self.files.items()
            ]
            return self.send(200, json.dumps(listed).encode(), {}, with_body)
        if path.startswith("/api/"):
            found = {
                "id": WMDP_DATASET.path,
                "sha": WMDP_DATASET.revision,
                "siblings": [{"rfilename": name} for name in self.files],
            }
            return self.send(200, json.dumps(found).encode(), {}, with_body)
        data = self.files[re.sub(r".*/resolve/[^/]+/", "", path)]
        etag = f'"{sha256(data).hexdigest()[:40]}"'
        return self.send(200, data, {"X-Repo-Commit": WMDP_DATASET.revision, "ETag": etag}, with_body)

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
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(folder: Path, address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: the hub's library reads its address when it is imported."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "govern", "mirror", *arguments, "--json"],
        env={
            "PATH": os.environ["PATH"],
            "HF_ENDPOINT": address,
            "HF_HOME": str(folder / "home"),
            "GOVERN_CACHE": str(folder / "cache"),
            "NO_PROXY": "*",
        },
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd=folder,
    )


@pytest.mark.slow
def test_the_command_fetches_the_pinned_revision_and_checks_it_offline(hub: str, tmp_path: Path) -> None:
    made = run(tmp_path, hub, "create", "mirror", "--dataset", "wmdp")
    assert made.returncode == 0, made.stderr
    found = json.loads(made.stdout)
    assert found["questions"] == WMDP
    assert found["datasets"] == [{"path": WMDP_DATASET.path, "revision": WMDP_DATASET.revision}]
    names = {path.name for path in (tmp_path / "mirror/cais").rglob("*")}
    assert names == {"wmdp", "README.md", "test.jsonl", *(name.replace("_", "-") for name in WMDP)}
    checked = run(tmp_path, "http://127.0.0.1:9", "check", "mirror")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["sha256"] == found["sha256"]


def test_a_hub_that_refuses_leaves_nothing_half_made(hub: str, tmp_path: Path) -> None:
    refused = run(tmp_path, hub, "create", "mirror", "--dataset", "mmlu")
    assert refused.returncode == 1
    assert "cais/mmlu" in refused.stderr
    assert not [path for path in (tmp_path / "mirror").rglob("*") if path.is_file() or path.name.startswith(".")]
