"""Two workspaces witness each other: what a witness signs, what it refuses, and what its own log remembers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from review_team import Team
from small_log import PASSWORD, cut, grow, key_of, verifier_of

from govern.audit import Cosigner, Log, cosigned_at, parse_cosigner
from govern.errors import IntegrityError, UsageError
from govern.signing import load_log_key
from govern.workflow.log.checkpoints import sign_head
from govern.workflow.log.cosigning import Cosigned, accept_cosignature, cosign_request, request_cosignature
from govern.workflow.log.proofs import check_proof, prove
from govern.workflow.people.keys import cosigner_key_path, log_key_path, make_cosigner_key, make_log_key, verifier_path
from govern.workflow.publication.audit import audit, find_damage
from govern.workflow.publication.evidence import pack


@dataclass(frozen=True)
class Pair:
    """The workspace of a log, that of its witness, and a folder through which files are handed over."""

    log: Path
    witness: Path
    between: Path

    @property
    def cosigner(self) -> Cosigner:
        return parse_cosigner(verifier_path(cosigner_key_path(self.witness)).read_text().strip())

    def ask(self, name: str, *, old: int = 0) -> Path:
        request_cosignature(self.log, self.between / name, old=old)
        return self.between / name

    def answer(self, request: Path) -> Cosigned:
        key = load_log_key(cosigner_key_path(self.witness), PASSWORD)
        out = request.with_suffix(".cosignature")
        return cosign_request(self.witness, request, out, verifier=verifier_of(self.log), key=key)

    def remembered(self) -> list[int]:
        with Log.open(self.witness / "audit.db") as log:
            return [stored.event.parameters["size"] for stored in log.events(type="checkpoint.cosigned")]


@pytest.fixture
def pair(logged: Path, tmp_path: Path) -> Pair:
    found = Pair(logged, tmp_path / "theirs", tmp_path / "between")
    found.between.mkdir()
    make_cosigner_key(found.witness, cosigner_key_path(found.witness), PASSWORD)
    return found


def test_a_checkpoint_is_cosigned_carried_and_checked(pair: Pair) -> None:
    request = pair.ask("first")
    done = pair.answer(request)
    assert (done.checkpoint.size, done.known) == (7, 0)
    kept = accept_cosignature(pair.log, request.with_suffix(".cosignature"), pair.cosigner)
    assert cosigned_at(kept.note, pair.cosigner) == done.time
    audited = audit(pair.log, against=kept.path, cosigners=[pair.cosigner])
    assert audited.cosigned == {pair.cosigner.vkey: done.time}
    assert find_damage(pair.log) == []
    # The next one is proved to go on from the first, and the witness's log holds both.
    grow(pair.log)
    sign_head(pair.log, key=key_of(pair.log))
    with pytest.raises(IntegrityError, match="did not cosign"):
        audit(pair.log, against=pair.log / "checkpoints" / "12", cosigners=[pair.cosigner])
    assert pair.answer(pair.ask("second", old=7)).known == 7
    assert pair.remembered() == [7, 12]
    audit(pair.witness)


def test_a_proof_carries_the_cosignature_to_who_has_no_log(pair: Pair) -> None:
    request = pair.ask("first")
    pair.answer(request)
    accept_cosignature(pair.log, request.with_suffix(".cosignature"), pair.cosigner)
    out, known = pair.between / "event.tlog-proof", verifier_of(pair.log)
    prove(pair.log, 4, out)
    checked = check_proof(out, entry=out.with_suffix(".json"), verifier=known, cosigners=[pair.cosigner])
    assert list(checked.cosigned) == [pair.cosigner.vkey]
    stranger = Cosigner("stranger", pair.cosigner.key)
    with pytest.raises(IntegrityError, match="did not cosign"):
        check_proof(out, entry=out.with_suffix(".json"), verifier=known, cosigners=[stranger])


def test_a_witness_notices_a_rewritten_log(pair: Pair) -> None:
    """Database and key in one hand: the workspace is of one piece, and the witness remembers."""
    pair.answer(pair.ask("first"))
    cut(pair.log, 4)
    shutil.rmtree(pair.log / "checkpoints")
    grow(pair.log, 8)
    sign_head(pair.log, key=key_of(pair.log))
    audit(pair.log)
    with pytest.raises(IntegrityError, match="not a prefix"):
        pair.answer(pair.ask("forked", old=7))
    assert pair.remembered() == [7]
    assert not (pair.between / "forked.cosignature").exists()


def test_two_roots_of_one_size_are_never_both_cosigned(pair: Pair) -> None:
    pair.answer(pair.ask("first"))
    cut(pair.log, 4)
    shutil.rmtree(pair.log / "checkpoints")
    grow(pair.log, 3)
    sign_head(pair.log, key=key_of(pair.log))
    with pytest.raises(IntegrityError, match="different roots"):
        pair.answer(pair.ask("twin", old=7))


def test_a_witness_asks_for_a_proof_from_where_its_memory_ends(pair: Pair) -> None:
    pair.answer(pair.ask("first"))
    grow(pair.log)
    sign_head(pair.log, key=key_of(pair.log))
    for old in (0, 5):
        with pytest.raises(UsageError, match="7 events") as refused:
            pair.answer(pair.ask(f"from-{old}", old=old))
        assert "--old 7" in str(refused.value.hint)
    pair.answer(pair.ask("second", old=7))
    # An old request, replayed, is one from before the witness's memory.
    with pytest.raises(UsageError, match="12 events"):
        pair.answer(pair.between / "from-5")
    # A lost answer is given again, and the log has it once.
    pair.answer(pair.ask("again", old=12))
    assert pair.remembered() == [7, 12]


def test_a_witness_takes_the_key_that_it_knows(pair: Pair) -> None:
    pair.answer(pair.ask("first"))
    second = make_log_key(pair.log, pair.log / "keys" / "second.pem", PASSWORD)
    sign_head(pair.log, key=second)
    request = pair.ask("second", old=7)
    with pytest.raises(IntegrityError, match="did not sign"):
        pair.answer(request)
    key = load_log_key(cosigner_key_path(pair.witness), PASSWORD)
    with pytest.raises(IntegrityError, match="another key"):
        cosign_request(
            pair.witness,
            request,
            pair.between / "out",
            verifier=type(verifier_of(pair.log))(verifier_of(pair.log).name, second.public),
            key=key,
        )


def test_only_a_key_that_the_witness_s_log_names_cosigns(pair: Pair) -> None:
    with pytest.raises(UsageError, match="does not name this key"):
        cosign_request(
            pair.witness,
            pair.ask("first"),
            pair.between / "out",
            verifier=verifier_of(pair.log),
            key=key_of(pair.log),
        )
    assert pair.remembered() == []


def test_a_changed_request_is_refused(pair: Pair) -> None:
    pair.answer(pair.ask("first"))
    grow(pair.log)
    sign_head(pair.log, key=key_of(pair.log))
    original = pair.ask("second", old=7).read_bytes()
    for place in range(0, len(original), 9):
        changed = pair.between / f"changed-{place}"
        changed.write_bytes(original[:place] + bytes([original[place] ^ 1]) + original[place + 1 :])
        with pytest.raises((IntegrityError, UsageError)) as refused:
            pair.answer(changed)
        assert str(changed) in str(refused.value.where)
    assert pair.remembered() == [7]


def test_a_cosignature_for_something_else_is_not_taken(pair: Pair) -> None:
    request = pair.ask("first")
    pair.answer(request)
    answer = request.with_suffix(".cosignature")
    for name, data in {"cut": answer.read_bytes()[:-1], "empty": b"", "note": pair.ask("n").read_bytes()}.items():
        (pair.between / name).write_bytes(data)
        with pytest.raises(IntegrityError, match="no cosignature"):
            accept_cosignature(pair.log, pair.between / name, pair.cosigner)
    cut(pair.log, 3)
    shutil.rmtree(pair.log / "checkpoints")
    grow(pair.log, 9)
    sign_head(pair.log, key=key_of(pair.log))
    with pytest.raises(IntegrityError, match="no cosignature"):
        accept_cosignature(pair.log, answer, pair.cosigner)


def test_a_pack_under_a_cosigned_checkpoint_holds_only_what_its_reader_can_check(
    team_once: Team, pair: Pair, tmp_path: Path
) -> None:
    workspace = tmp_path / "team"
    shutil.copytree(team_once.workspace, workspace)
    key = make_log_key(workspace, log_key_path(workspace), PASSWORD)
    sign_head(workspace, key=key)
    ours = Pair(workspace, pair.witness, pair.between)
    request = ours.ask("team")
    ours.answer(request)
    kept = accept_cosignature(workspace, request.with_suffix(".cosignature"), pair.cosigner)
    packed = pack(None, tmp_path / "pack", workspace=workspace, log_key=key)
    assert packed.checked.checkpoint == kept.checkpoint
    assert (packed.path / "checkpoint").read_bytes() + request.with_suffix(".cosignature").read_bytes() == kept.note


@pytest.mark.slow
def test_the_command_line(pair: Pair) -> None:
    environment = {**os.environ, "GOVERN_KEY_PASSWORD": "password"}

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "govern", *arguments],
            env=environment, cwd=pair.between, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    log_key = str(verifier_path(log_key_path(pair.log)))
    ours, theirs = ("--workspace", str(pair.log)), ("--workspace", str(pair.witness))
    told = json.loads(run("audit", "request-cosignature", "--out", "request", *ours, "--json"))
    assert (told["events"], told["old"]) == (7, 0)
    assert "--log-key" in run("audit", "cosign", "request", "--out", "answer", *theirs, code=2)
    told = json.loads(run("audit", "cosign", "request", "--out", "answer", "--log-key", log_key, *theirs, "--json"))
    assert told["cosigner"] == pair.cosigner.vkey
    shown = run("audit", "accept-cosignature", "answer", "--cosigner", pair.cosigner.vkey, *ours)
    kept = shown.split(":")[0]
    shown = run("audit", "verify", "--against", kept, "--cosigner", pair.cosigner.vkey, *ours)
    assert f"cosigned by {pair.cosigner.name} at {told['time']}" in shown
    assert "--against" in run("audit", "verify", "--cosigner", pair.cosigner.vkey, *ours, code=2)
    assert "cosigner's .vkey" in run("audit", "verify", "--against", kept, "--cosigner", log_key, *ours, code=2)
    assert "7 events" in run("audit", "cosign", "request", "--out", "second", "--log-key", log_key, *theirs, code=2)
