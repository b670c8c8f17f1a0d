"""Cosignatures: in the form that other tools read, and only ever for the checkpoint that they were made for."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from govern.audit import (
    Checkpoint,
    Cosigner,
    CosigningRequest,
    LogVerifier,
    add_cosignature,
    cosign,
    cosigned_at,
    format_request,
    open_checkpoint,
    own_note,
    parse_cosigner,
    parse_request,
    parse_vkey,
    sign_checkpoint,
)
from govern.audit.checkpoint import split_line
from govern.errors import IntegrityError

LOG_KEY, KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
LOG = LogVerifier("govern-log/1", LOG_KEY.public_key().public_bytes_raw())
COSIGNER = Cosigner("witness.example/w1", KEY.public_key().public_bytes_raw())
TREE = Checkpoint(LOG.name, 7, bytes(range(32)))
NOTE = sign_checkpoint(TREE, LOG, LOG_KEY.sign)
TIME = 1679315147
LINE = cosign(TREE, COSIGNER, TIME, KEY.sign)
COSIGNED = add_cosignature(NOTE, LINE, COSIGNER)

# A witness's published key, and a signature of another, from the tests of transparency-dev/formats.
REMORA = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
PUBLISHED = "ZGhGuQAAAABm/qTPeyKXD+R2rzyQsxPiP8mXum7qq/iF0u4vanlqJyocWODBt97w9uL+8qT7S5gxEHWWOworDcFiEBYJXORmnFBOBA=="


def test_keys_and_times_are_those_of_other_tools() -> None:
    assert parse_cosigner(REMORA).vkey == REMORA
    assert parse_cosigner(REMORA).key_id.hex() == "da77ade7"
    name, key_id, signature = split_line(f"— example.org {PUBLISHED}")
    assert (name, key_id.hex(), len(signature)) == ("example.org", "646846b9", 8 + 64)
    assert int.from_bytes(signature[:8], "big") == 1727964367


def test_the_signed_message_is_the_published_one() -> None:
    """c2sp.org/tlog-cosignature, "Ed25519 signed message", put together here by hand."""
    _, _, encoded = LINE.decode().split(" ")
    raw = base64.b64decode(encoded)
    assert raw[4:12] == TIME.to_bytes(8, "big")
    message = (
        f"cosignature/v1\ntime 1679315147\ngovern-log/1\n7\n{base64.b64encode(bytes(range(32))).decode()}\n".encode()
    )
    Ed25519PublicKey.from_public_bytes(COSIGNER.key).verify(raw[12:], message)


def test_a_cosigned_checkpoint_is_still_the_log_s_and_says_when() -> None:
    assert COSIGNED == NOTE + LINE
    assert open_checkpoint(COSIGNED, LOG) == TREE
    assert cosigned_at(COSIGNED, COSIGNER) == TIME
    assert own_note(COSIGNED) == NOTE
    assert add_cosignature(COSIGNED, LINE, COSIGNER) == COSIGNED
    later = add_cosignature(COSIGNED, cosign(TREE, COSIGNER, TIME + 60, KEY.sign), COSIGNER)
    assert cosigned_at(later, COSIGNER) == TIME + 60


def test_one_kind_of_key_never_stands_in_for_the_other() -> None:
    as_log = LogVerifier(COSIGNER.name, COSIGNER.key)
    assert as_log.key_id != COSIGNER.key_id
    with pytest.raises(IntegrityError, match="not a log's"):
        parse_vkey(COSIGNER.vkey)
    with pytest.raises(IntegrityError, match="not a cosigner's"):
        parse_cosigner(LOG.vkey)
    with pytest.raises(IntegrityError, match="did not cosign"):
        cosigned_at(COSIGNED, Cosigner(LOG.name, LOG.key))
    with pytest.raises(IntegrityError, match="did not cosign"):
        cosigned_at(NOTE, COSIGNER)


def test_a_cosignature_is_for_one_checkpoint() -> None:
    for other in (
        Checkpoint(LOG.name, 8, TREE.root),
        Checkpoint(LOG.name, 7, bytes(32)),
        Checkpoint("x", 7, TREE.root),
    ):
        text = other.text + NOTE[len(TREE.text) :]
        with pytest.raises(IntegrityError, match="does not match"):
            add_cosignature(text, LINE, COSIGNER)
        with pytest.raises(IntegrityError, match="does not match"):
            cosigned_at(text + LINE, COSIGNER)


def test_another_time_is_another_message() -> None:
    raw = base64.b64decode(LINE.split(b" ")[2])
    moved = raw[:4] + (TIME - 1).to_bytes(8, "big") + raw[12:]
    line = f"— {COSIGNER.name} {base64.b64encode(moved).decode()}\n".encode()
    with pytest.raises(IntegrityError, match="does not match"):
        add_cosignature(NOTE, line, COSIGNER)


@settings(max_examples=300)
@given(st.data())
def test_no_mutated_cosignature_is_accepted(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(LINE) - 1))
    byte = bytes([LINE[place] ^ data.draw(st.integers(1, 255))])
    mutated = data.draw(
        st.sampled_from(
            [LINE[:place] + byte + LINE[place + 1 :], LINE[:place] + LINE[place + 1 :], LINE[:place], LINE + LINE]
        )
    )
    with pytest.raises(IntegrityError):
        add_cosignature(NOTE, mutated, COSIGNER)


def test_a_request_comes_back() -> None:
    request = CosigningRequest(3, (bytes(32), bytes(range(32))), NOTE)
    assert parse_request(format_request(request)) == request
    text = format_request(CosigningRequest(0, (), NOTE))
    assert text.startswith(b"old 0\n\ngovern-log/1\n7\n")


@pytest.mark.parametrize(
    "head", [b"old 01", b"old -1", b"old 1 ", b"new 1", b"", b"old 1\nAAAA", b"old 1\n" + b"A" * 44]
)
def test_a_request_of_another_form_is_refused(head: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_request(head + b"\n\n" + NOTE)


@given(st.binary(max_size=200))
def test_parsers_take_nothing_and_do_not_fall_over(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_request(data)
    with pytest.raises(IntegrityError):
        add_cosignature(NOTE, data, COSIGNER)
    with pytest.raises(IntegrityError):
        cosigned_at(data, COSIGNER)
    with pytest.raises(IntegrityError):
        parse_cosigner(data.decode("latin-1"))
