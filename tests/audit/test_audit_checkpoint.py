"""Checkpoints and proofs: what leaves the house, checked with the log's public key alone."""

import base64
import json
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from unguarded import unguarded

from govern.audit import (
    Checkpoint,
    Log,
    LogVerifier,
    format_proof,
    open_checkpoint,
    parse_proof,
    parse_vkey,
    sign_checkpoint,
    verify_proof,
)
from govern.digests import canonical_json
from govern.errors import IntegrityError
from govern.signing import generate_log_key, load_log_key


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A log of nine events, its key, a checkpoint of it and a proof of event 4."""
    folder = tmp_path_factory.mktemp("log")
    key = generate_log_key(folder / "log.pem", b"password")
    with Log.open(folder / "audit.db") as log:
        for _ in range(8):
            log.append("apply.started")
        head = log.tree_head()
        verifier = LogVerifier(head.origin, key.public)
        note = sign_checkpoint(head, verifier, key.sign)
        proof = format_proof(4, log.prove_inclusion(4, head.size), note)
        body = log.event(4).body
    return folder, key, verifier, note, proof, body


# The key and the note of golang.org/x/mod/sumdb/note's own tests.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_key_ids_and_signatures_are_those_of_other_tools():
    verifier = parse_vkey(GO_VKEY)
    assert (verifier.name, verifier.key_id.hex()) == ("PeterNeumann", "c74f20a3")
    text, _, line = GO_NOTE.partition("\n\n")
    signature = base64.b64decode(line.split(" ")[2])
    assert signature[:4] == verifier.key_id
    Ed25519PublicKey.from_public_bytes(verifier.key).verify(signature[4:], text.encode() + b"\n")


def test_a_checkpoint_has_the_published_form(made):
    _, _, verifier, note, _, _ = made
    origin, size, root, blank, signature, end = note.decode().split("\n")
    assert (origin, size, blank, end) == (verifier.name, "9", "", "")
    assert len(base64.b64decode(root)) == 32
    dash, name, _ = signature.split(" ")
    assert (dash, name) == ("\u2014", verifier.name)


def test_a_checkpoint_comes_back(made):
    _, _, verifier, note, _, _ = made
    assert open_checkpoint(note, verifier).size == 9
    assert parse_vkey(verifier.vkey) == verifier


def test_the_key_comes_back(made):
    folder, key, *_ = made
    assert load_log_key(folder / "log.pem", b"password").public == key.public


def test_a_witness_may_add_a_signature(made):
    _, _, verifier, note, _, _ = made
    cosigned = note + b"\xe2\x80\x94 witness.example " + base64.b64encode(b"\x01\x02\x03\x04" + b"s" * 72) + b"\n"
    assert open_checkpoint(cosigned, verifier) == open_checkpoint(note, verifier)


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: lines.insert(3, "extension"),
        lambda lines: lines.__setitem__(1, "09"),
        lambda lines: lines.__setitem__(1, "+9"),
        lambda lines: lines.__setitem__(1, "-1"),
        lambda lines: lines.__setitem__(1, "٩"),
        lambda lines: lines.__setitem__(1, "9" * 30),
        lambda lines: lines.__setitem__(2, lines[2] + "="),
        lambda lines: lines.__setitem__(2, base64.b64encode(b"short").decode()),
        lambda lines: lines.__setitem__(4, lines[4].replace("\u2014", "-")),
        lambda lines: lines.__setitem__(4, "\u2014 x AAAA"),
        lambda lines: lines.__delitem__(4),
        lambda lines: lines.__delitem__(5),
        lambda lines: lines.__setitem__(0, ""),
        lambda lines: lines.insert(5, lines[4][:-8] + "AAAAAAA="),
    ],
)
def test_other_forms_are_refused(made, edit):
    _, _, verifier, note, _, _ = made
    lines = note.decode().split("\n")
    edit(lines)
    with pytest.raises(IntegrityError):
        open_checkpoint("\n".join(lines).encode(), verifier)


def test_another_log_or_another_key_is_refused(made, tmp_path):
    _, key, verifier, note, _, _ = made
    with pytest.raises(IntegrityError, match="another log"):
        open_checkpoint(note, LogVerifier("govern-log/other", key.public))
    other = generate_log_key(tmp_path / "log.pem", b"password")
    with pytest.raises(IntegrityError, match="did not sign"):
        open_checkpoint(note, LogVerifier(verifier.name, other.public))


def test_a_proof_needs_only_the_event_and_the_key(made):
    _, _, verifier, note, proof, body = made
    assert verify_proof(proof, body, verifier) == open_checkpoint(note, verifier)
    assert parse_proof(proof).checkpoint == note
    assert proof.startswith(b"c2sp.org/tlog-proof@v1\nindex 4\n")


def test_a_proof_of_another_event_is_refused(made):
    _, _, verifier, _, proof, body = made
    other = canonical_json({**json.loads(body), "run": "another"})
    with pytest.raises(IntegrityError, match="not in the tree"):
        verify_proof(proof, other, verifier)


def test_every_byte_of_a_proof_counts(made):
    _, _, verifier, _, proof, body = made
    for place in range(len(proof)):
        for bit in (0, 3, 5):
            mutated = bytearray(proof)
            mutated[place] ^= 1 << bit
            with pytest.raises(IntegrityError):
                verify_proof(bytes(mutated), body, verifier)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_mutated_proof_is_accepted(made, data):
    _, _, verifier, _, proof, body = made
    place = data.draw(st.integers(0, len(proof) - 1))
    byte = bytes([data.draw(st.integers(0, 255))])
    kind = data.draw(st.sampled_from(["insert", "delete", "truncate"]))
    mutated = {
        "insert": proof[:place] + byte + proof[place:],
        "delete": proof[:place] + proof[place + 1 :],
        "truncate": proof[:place],
    }[kind]
    with pytest.raises(IntegrityError):
        verify_proof(mutated, body, verifier)


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode(errors="replace")))
def test_parsers_refuse_anything_without_falling_over(data):
    verifier = LogVerifier("x", b"k" * 32)
    for parse in (
        lambda: open_checkpoint(data, verifier),
        lambda: verify_proof(data, b"", verifier),
        lambda: parse_vkey(data.decode(errors="replace")),
    ):
        with pytest.raises(IntegrityError):
            parse()


class TestVerifyAgainst:
    """What a bare chain cannot tell, a checkpoint that was kept elsewhere does."""

    @pytest.fixture
    def copied(self, made, tmp_path):
        return shutil.copy(made[0] / "audit.db", tmp_path / "audit.db")

    def test_a_log_that_went_on_holds(self, made, copied):
        _, _, verifier, note, _, _ = made
        with Log.open(copied) as log:
            log.append("apply.started")
            assert log.verify(against=open_checkpoint(note, verifier)).size == 10

    def test_a_cut_end_is_found(self, made, copied):
        _, _, verifier, note, _, _ = made
        cut(copied, 7)
        with Log.open(copied) as log:
            log.verify()
            with pytest.raises(IntegrityError, match="cut off"):
                log.verify(against=open_checkpoint(note, verifier))

    def test_a_cut_end_that_grew_again_is_found(self, made, copied):
        _, _, verifier, note, _, _ = made
        cut(copied, 7)
        with Log.open(copied) as log:
            for _ in range(5):
                log.append("apply.started")
            log.verify()
            with pytest.raises(IntegrityError, match="rewritten"):
                log.verify(against=open_checkpoint(note, verifier))

    def test_another_log_is_found(self, made, tmp_path):
        _, _, verifier, note, _, _ = made
        with Log.open(tmp_path / "audit.db") as log, pytest.raises(IntegrityError, match="another log"):
            log.verify(against=open_checkpoint(note, verifier))

    def test_a_checkpoint_of_nothing_proves_nothing(self, made, copied):
        with Log.open(copied) as log, pytest.raises(IntegrityError):
            log.verify(against=Checkpoint(made[2].name, 0, b"\x00" * 32))


def cut(database, size):
    with unguarded(database) as connection:
        connection.execute("DELETE FROM event WHERE seq >= ?", (size,))
        connection.execute("DELETE FROM node WHERE size > ?", (size,))
