"""A witness over HTTP, and the log's side of it: statuses of the specification, and nothing acknowledged is lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from small_log import PASSWORD, grow, key_of, verifier_of

from govern.audit import (
    Checkpoint,
    Cosigner,
    CosigningRequest,
    Log,
    LogVerifier,
    add_cosignature,
    cosigned_at,
    format_request,
    open_checkpoint,
    sign_checkpoint,
)
from govern.audit.merkle import EMPTY_ROOT, Frontier, consistency_proof, leaf_hash
from govern.audit.quorum import parse_quorum
from govern.errors import GovernError, IntegrityError, UsageError
from govern.signing import LogKey, load_log_key
from govern.workflow.log.checkpoints import sign_head
from govern.workflow.log.collect import collect
from govern.workflow.log.cosigning import cosigned_logs
from govern.workflow.log.follow import follow
from govern.workflow.log.publish import publish
from govern.workflow.log.server import Server
from govern.workflow.log.witness_service import WitnessService
from govern.workflow.people.keys import cosigner_key_path, make_cosigner_key, verifier_path
from govern.workflow.publication.audit import audit

# cmd/litewitness/testdata/litewitness.txt of FiloSottile/torchwood (ISC): what another witness is asked and answers.
LITEWITNESS = Path(__file__).parents[3].parent / "shared" / "vectors" / "tlog" / "litewitness.txt"

LOG_KEY = Ed25519PrivateKey.generate()
LOG = LogVerifier("log.example", LOG_KEY.public_key().public_bytes_raw())


@dataclass(frozen=True)
class Asked:
    """A witness at an address, and the key that it cosigns with."""

    url: str
    cosigner: Cosigner

    def post(self, body: bytes) -> tuple[int, str, bytes]:
        request = urllib.request.Request(f"{self.url}add-checkpoint", data=body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read()

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


@contextmanager
def serving(workspace: Path, key: LogKey, *verifiers: LogVerifier) -> Iterator[Asked]:
    with (
        closing(WitnessService(workspace, key, verifiers)) as service,
        Server(service, "127.0.0.1", 0, lambda _: None) as server,
    ):
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield Asked(server.url, service.cosigner)
        server.shutdown()


@pytest.fixture(scope="session")
def witness_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("witness") / "theirs"
    make_cosigner_key(workspace, cosigner_key_path(workspace), PASSWORD)
    return workspace


@pytest.fixture
def theirs(witness_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(witness_once, tmp_path / "theirs")
    return tmp_path / "theirs"


@pytest.fixture(scope="session")
def cosigner_key(witness_once: Path) -> LogKey:
    return load_log_key(cosigner_key_path(witness_once), PASSWORD)


NODES: dict[tuple[int, int], bytes] = {}
ROOTS = [EMPTY_ROOT]
_frontier = Frontier()
for _index in range(40):
    NODES[0, _index] = leaf_hash(b"%d" % _index)
    for _level, _found in enumerate(_frontier.append(NODES[0, _index]), 1):
        NODES[_level, _index >> _level] = _found
    ROOTS.append(_frontier.root())


def ask(old: int, size: int, *, root: bytes | None = None, hashes: tuple[bytes, ...] | None = None) -> bytes:
    note = sign_checkpoint(Checkpoint(LOG.name, size, root or ROOTS[size]), LOG, LOG_KEY.sign)
    proof = consistency_proof(old, size, lambda *place: NODES[place]) if 0 < old < size else []
    return format_request(CosigningRequest(old, tuple(proof) if hashes is None else hashes, note))


def test_every_status_of_the_specification(theirs: Path, cosigner_key: LogKey) -> None:
    other_key = Ed25519PrivateKey.generate()
    other = LogVerifier("other.example", other_key.public_key().public_bytes_raw())
    with serving(theirs, cosigner_key, LOG) as witness:
        shown = f"{sha256(LOG.name.encode()).hexdigest()}/checkpoint"
        assert witness.get(shown)[0] == 404
        # A beginning; then the same again, growth, and growth from elsewhere.
        for old, size in ((0, 3), (3, 3), (3, 8), (8, 21)):
            status, _, line = witness.post(ask(old, size))
            assert status == 200, line
            note = sign_checkpoint(Checkpoint(LOG.name, size, ROOTS[size]), LOG, LOG_KEY.sign)
            assert abs(cosigned_at(add_cosignature(note, line, witness.cosigner), witness.cosigner) - time.time()) < 60
            status, told = witness.get(shown)
            assert (status, told) == (200, note + line)
        for old in (0, 8, 20):
            assert witness.post(ask(old, 30)) == (409, "text/x.tlog.size", b"21\n"), old
        # Before the memory is looked at: unknown logs, and keys that are not theirs.
        stranger = sign_checkpoint(Checkpoint(other.name, 3, ROOTS[3]), other, other_key.sign)
        assert witness.post(format_request(CosigningRequest(0, (), stranger)))[0] == 404
        forged = ask(21, 30).replace(b"\n30\n", b"\n31\n")
        assert witness.post(forged)[0] == 403
        unsigned = LogVerifier(LOG.name, other.key)
        theirs_note = sign_checkpoint(Checkpoint(LOG.name, 30, ROOTS[30]), unsigned, other_key.sign)
        assert witness.post(format_request(CosigningRequest(21, (), theirs_note)))[0] == 403
        for cut in (ask(21, 30)[:-20], ask(21, 30)[:-2] + b"\n", ask(21, 30).replace(b"\n30\n", b"\n030\n")):
            assert witness.post(cut)[0] == 403, cut
        assert witness.post(ask(31, 30))[0] == 400
        # What does not go on from there.
        assert witness.post(ask(21, 30, hashes=()))[0] == 422
        assert witness.post(ask(21, 30, root=ROOTS[29]))[0] == 422
        assert witness.post(ask(21, 21, root=ROOTS[20]))[0] == 422
        assert witness.post(ask(21, 21, hashes=(ROOTS[3],)))[0] == 422
        for malformed in (b"", b"old 21\n", b"old 021\n\n" + theirs_note, b"old 21\nAAAA\n\n" + theirs_note,
                          b"old -1\n\n", b"old 21\n" + b"A" * 43 + b"=\n" * 64):  # fmt: skip
            assert witness.post(malformed)[0] == 400, malformed
        # Nothing of that was remembered.
        assert witness.post(ask(21, 30))[0] == 200
        assert witness.get("add-checkpoint")[0] == 404
        assert witness.get(f"{'0' * 64}/checkpoint")[0] == 404
        assert witness.get("../audit.db")[0] == 404


def test_beginnings(theirs: Path, cosigner_key: LogKey) -> None:
    with serving(theirs, cosigner_key, LOG) as witness:
        assert witness.post(ask(0, 3, hashes=(ROOTS[1],)))[0] == 422
        assert witness.post(ask(0, 0, root=ROOTS[1]))[0] == 422
        # An empty log is a log, of which nothing has to be remembered.
        assert [witness.post(ask(0, size))[0] for size in (0, 0, 3)] == [200, 200, 200]
        assert witness.post(ask(0, 0))[:2] == (409, "text/x.tlog.size")


def test_the_log_s_own_signature_is_kept_wherever_it_stands(theirs: Path, cosigner_key: LogKey) -> None:
    note = sign_checkpoint(Checkpoint(LOG.name, 3, ROOTS[3]), LOG, LOG_KEY.sign)
    text, own = note.split(b"\n\n")
    foreign = "— someone.else AAAAAAAAAAAA\n".encode()
    with serving(theirs, cosigner_key, LOG) as witness:
        assert witness.post(format_request(CosigningRequest(0, (), text + b"\n\n" + foreign + own)))[0] == 200
        shown = witness.get(f"{sha256(LOG.name.encode()).hexdigest()}/checkpoint")[1]
    assert open_checkpoint(shown, LOG).size == 3
    assert foreign not in shown
    with Log.read(theirs / "audit.db") as log:
        (seen,) = cosigned_logs(log).values()
    assert seen.note.encode() == note


def test_files_and_http_share_one_memory(logged: Path, theirs: Path, tmp_path: Path, cosigner_key: LogKey) -> None:
    from govern.workflow.log.cosigning import cosign_request, request_cosignature

    verifier = verifier_of(logged)
    with serving(theirs, cosigner_key, verifier) as witness:
        request_cosignature(logged, tmp_path / "first")
        cosign_request(theirs, tmp_path / "first", tmp_path / "answer", verifier=verifier, key=cosigner_key)
        assert witness.post((tmp_path / "first").read_bytes()) == (409, "text/x.tlog.size", b"7\n")
        grow(logged, 2)
        sign_head(logged, key=key_of(logged))
        request_cosignature(logged, tmp_path / "second", old=7)
        assert witness.post((tmp_path / "second").read_bytes())[0] == 200
    audit(theirs)


def test_a_witness_that_may_not_begin(theirs: Path, cosigner_key: LogKey) -> None:
    other = LogVerifier(LOG.name, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    with pytest.raises(UsageError, match="two keys are of one log"):
        WitnessService(theirs, cosigner_key, [LOG, other])
    with serving(theirs, cosigner_key, LOG) as witness:
        assert witness.post(ask(0, 3))[0] == 200
    with pytest.raises(IntegrityError, match="under another key"):
        WitnessService(theirs, cosigner_key, [other])


def test_of_two_at_once_one_is_the_newest(theirs: Path, cosigner_key: LogKey) -> None:
    """The race of the specification: whoever is answered with 200 never rolls anything back."""
    with serving(theirs, cosigner_key, LOG) as witness:
        assert witness.post(ask(0, 3))[0] == 200
        with ThreadPoolExecutor(8) as pool:
            statuses = [status for status, *_ in pool.map(witness.post, [ask(3, size) for size in range(4, 20)])]
        assert sorted(statuses) == [200] + [409] * 15
        won = 4 + statuses.index(200)
        assert witness.post(ask(0, 39)) == (409, "text/x.tlog.size", b"%d\n" % won)


@pytest.mark.skipif(not LITEWITNESS.is_file(), reason="the published vectors in ../shared are absent")
def test_litewitness_s_published_requests_are_answered_as_it_answers(theirs: Path, cosigner_key: LogKey) -> None:
    text = LITEWITNESS.read_text()
    key = bytes.fromhex(re.findall(r"add-sigsum-log -key=([0-9a-f]{64})", text)[0])
    cases = re.findall(r"add-checkpoint\n```\n(.*?)```\nHTTP (\d+)\n\[Asserts\]\n(?:body == \"(\d+))?", text, re.S)
    assert len(cases) == 9
    log = LogVerifier(f"sigsum.org/v1/tree/{sha256(key).hexdigest()}", key)
    with serving(theirs, cosigner_key, log) as witness:
        for body, status, size in cases:
            # It says 403 of a log that it does not know, where the specification has 404.
            wanted = 404 if log.name not in body else int(status)
            answer = witness.post(body.encode())
            assert answer[0] == wanted, (body, answer)
            if size:
                assert answer[2] == f"{size}\n".encode()


def quorum_of(*witnesses: Asked, rule: str = "all") -> Any:
    lines = [f"witness w{place} {found.cosigner.vkey} {found.url}" for place, found in enumerate(witnesses)]
    names = " ".join(f"w{place}" for place in range(len(witnesses)))
    return parse_quorum("\n".join([*lines, f"group g {rule} {names}", "quorum g"]).encode())


def test_cosignatures_are_collected(logged: Path, theirs: Path, tmp_path: Path, cosigner_key: LogKey) -> None:
    with serving(theirs, cosigner_key, verifier_of(logged)) as witness:
        quorum = quorum_of(witness)
        done = collect(logged, quorum)
        assert (done.met, done.problems, list(done.cosigned)) == (True, {}, ["w0"])
        assert audit(logged, against=done.kept.path, quorum=quorum).cosigned == {
            witness.cosigner.vkey: done.cosigned["w0"]
        }
        # Once more asks nobody; what came since is proved from where the witness is, known here or not.
        assert collect(logged, quorum).kept.note == done.kept.note
        grow(logged, 3)
        sign_head(logged, key=key_of(logged))
        with pytest.raises(IntegrityError, match="too few witnesses"):
            audit(logged, against=logged / "checkpoints" / "10", quorum=quorum)
        assert collect(logged, quorum).met
        grow(logged, 3)
        sign_head(logged, key=key_of(logged))
        for path in (logged / "checkpoints").iterdir():
            if path.name != "13":
                path.unlink()
        assert collect(logged, quorum).met
        publish(logged, tmp_path / "out")
        with follow(str(tmp_path / "out"), tmp_path / "seen", verifier=verifier_of(logged), quorum=quorum) as found:
            assert list(found.cosigned) == [witness.cosigner.vkey]


def test_a_witness_that_lies_or_is_away_counts_for_nothing(
    logged: Path, theirs: Path, cosigner_key: LogKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    monkeypatch.setattr("govern.workflow.log.collect.SECONDS", 0.5)
    answers = {
        "size": (409, b"3\n", "stay the same"),
        "ahead": (409, b"900\n", "it knows 900 events"),
        "malformed": (409, b"03\n", "status 409"),
        "refused": (422, b"no\n", "status 422"),
        "nothing": (200, b"", "no cosignature by its key"),
        "another": (200, "— w AAAAAAAAAAAA\n".encode() * 3 + b"\xff\n", "no cosignature by its key"),
        "huge": (200, b"x" * 200_000, "more than"),
        "slow": (0, b"", "did not finish"),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body, _ = answers[self.path.split("/")[1]]
            self.rfile.read(int(self.headers["Content-Length"]))
            if not status:
                time.sleep(2)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with (
        serving(theirs, cosigner_key, verifier_of(logged)) as honest,
        ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server,
    ):
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        liars = [
            Asked(f"http://127.0.0.1:{server.server_port}/{name}/",
                  Cosigner(f"{name}.example", Ed25519PrivateKey.generate().public_key().public_bytes_raw()))
            for name in answers
        ]  # fmt: skip
        away = Asked(
            "http://127.0.0.1:1/", Cosigner("away", Ed25519PrivateKey.generate().public_key().public_bytes_raw())
        )
        done = collect(logged, quorum_of(*liars, away, honest, rule="2"))
        server.shutdown()
    assert not done.met
    assert list(done.cosigned) == [f"w{len(answers) + 1}"]
    for place, (_, _, why) in enumerate(answers.values()):
        assert why in done.problems[f"w{place}"], place
    assert "cannot be reached" in done.problems[f"w{len(answers)}"]


def test_what_cannot_be_remembered_is_not_signed(
    theirs: Path, cosigner_key: LogKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(theirs, cosigner_key, LOG) as witness:
        with monkeypatch.context() as full:
            full.setattr(Log, "append", lambda *_, **__: (_ for _ in ()).throw(GovernError("the disk is full")))
            status, _, body = witness.post(ask(0, 3))
            assert (status, b"disk" in body) == (500, False)
        assert witness.post(ask(0, 5))[0] == 200


def _serve_witness(workspace: Path, key: LogKey, verifier: LogVerifier, port: int) -> None:
    service = WitnessService(workspace, key, [verifier])
    Server(service, "127.0.0.1", port, lambda _: None).serve_forever(poll_interval=0.01)


def _keep_log(workspace: Path, key: LogKey, quorum: str, out: Path, said: Path) -> None:
    """Grow, sign, have it cosigned and publish; write down what was acknowledged before anything else happens."""
    rule = parse_quorum(quorum.encode())
    with said.open("a") as lines:
        while True:
            grow(workspace, 1)
            sign_head(workspace, key=key)
            done = collect(workspace, rule)
            tree = done.kept.checkpoint
            if done.met:
                lines.write(json.dumps(["cosigned", tree.size, tree.root.hex()]) + "\n")
                lines.flush()
            publish(workspace, out)
            lines.write(json.dumps(["published", tree.size, tree.root.hex()]) + "\n")
            lines.flush()


@pytest.mark.slow
def test_a_log_and_a_witness_that_are_killed_lose_nothing_they_acknowledged(
    logged: Path, theirs: Path, tmp_path: Path, cosigner_key: LogKey
) -> None:
    seed = int(os.environ.get("GOVERN_TEST_SEED", "0")) or random.randrange(1 << 30)
    dice, out, said, seen = random.Random(seed), tmp_path / "out", tmp_path / "said", tmp_path / "seen"
    verifier, key = verifier_of(logged), key_of(logged)
    with Server(None, "127.0.0.1", 0, lambda _: None) as free:  # type: ignore[arg-type]
        port = free.server_address[1]
    vkey = verifier_path(cosigner_key_path(theirs)).read_text().strip()
    quorum = f"witness w {vkey} http://127.0.0.1:{port}/\nquorum w"
    fork = multiprocessing.get_context("fork")
    start: dict[str, Callable[[], Any]] = {
        "witness": lambda: fork.Process(target=_serve_witness, args=(theirs, cosigner_key, verifier, port)),
        "log": lambda: fork.Process(target=_keep_log, args=(logged, key, quorum, out, said)),
    }
    running: dict[str, Any] = {}
    kills = {"witness": 0, "log": 0}

    def told(kind: str) -> dict[int, str]:
        lines = [json.loads(line) for line in said.read_text().splitlines()] if said.exists() else []
        return {size: root for said_kind, size, root in lines if said_kind == kind}

    try:
        for _ in range(24):
            for name, make in start.items():
                if name not in running:
                    running[name] = make()
                    running[name].start()
            time.sleep(dice.uniform(0.05, 0.6))
            name = dice.choice(("witness", "log"))
            assert running[name].exitcode is None, f"{name} ended by itself, seed {seed}"
            os.kill(running[name].pid, signal.SIGKILL)
            running.pop(name).join()
            kills[name] += 1
            # Whatever was killed: what is handed out holds, and goes on from all that was handed out before.
            if (out / "checkpoint").exists():
                with follow(str(out), seen, verifier=verifier, models=["ab" * 32]) as found:
                    assert found.checkpoint.size >= max(told("published"), default=0), seed
            with Log.read(theirs / "audit.db") as log:
                known = cosigned_logs(log).get(verifier.name)
                assert (known.size if known else 0) >= max(told("cosigned"), default=0), seed
    finally:
        for process in running.values():
            process.kill()
            process.join()
    assert min(kills.values()) > 3
    assert len(told("cosigned")) > 3, seed
    assert len(told("published")) > 3, seed
    audit(theirs)
    audit(logged)
    with Log.read(logged / "audit.db") as log:
        for kind in ("cosigned", "published"):
            for size, root in told(kind).items():
                assert log.tree_head(size).root.hex() == root, (kind, size, seed)
    # And all goes on from there.
    with serving(theirs, cosigner_key, verifier) as witness:
        done = collect(logged, quorum_of(witness))
        assert done.met, done.problems
        publish(logged, out)
        with follow(str(out), seen, verifier=verifier, quorum=quorum_of(witness)):
            pass
