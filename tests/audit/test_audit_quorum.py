"""Quorum files: what they may say, and which cosignatures are enough."""

from __future__ import annotations

import itertools
import re
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from govern import limits
from govern.audit import Checkpoint, Cosigner, LogVerifier, add_cosignature, cosign, sign_checkpoint
from govern.audit.quorum import parse_quorum
from govern.errors import IntegrityError


def key_of(name: str) -> Ed25519PrivateKey:
    """A key that is the same in every process, since tests are named after what it signs."""
    return Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))


LOG_KEY = key_of("log")
LOG = LogVerifier("govern-log/1", LOG_KEY.public_key().public_bytes_raw())
KEYS = {name: key_of(name) for name in ("X1", "X2", "X3", "Y1", "Y2", "Y3")}
WITNESSES = {name: Cosigner(f"{name}.example", key.public_key().public_bytes_raw()) for name, key in KEYS.items()}
TREE = Checkpoint(LOG.name, 7, bytes(range(32)))
NOTE = sign_checkpoint(TREE, LOG, LOG_KEY.sign)
LINES = "".join(f"witness {name} {cosigner.vkey}\n" for name, cosigner in WITNESSES.items())

# The example of the specification, with the names of its groups.
EXAMPLE = f"""\
log {LOG.vkey}

{LINES}
# Two organisations.
group X-witnesses 2 X1 X2 X3
\tgroup  Y-witnesses any Y1 Y2\tY3
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
""".encode()


def cosigned(names: tuple[str, ...]) -> bytes:
    note = NOTE
    for place, name in enumerate(names):
        cosigner = WITNESSES[name]
        note = add_cosignature(note, cosign(TREE, cosigner, 1000 + place, KEYS[name].sign), cosigner)
    return note


def test_every_set_of_witnesses_is_enough_or_not_as_the_rule_says() -> None:
    quorum = parse_quorum(EXAMPLE)
    for count in range(7):
        for names in itertools.combinations(WITNESSES, count):
            enough = sum(name[0] == "X" for name in names) >= 2 and any(name[0] == "Y" for name in names)
            note = cosigned(names)
            if enough:
                assert quorum.check(note) == {WITNESSES[name].vkey: 1000 + i for i, name in enumerate(names)}
            else:
                with pytest.raises(IntegrityError, match="too few witnesses"):
                    quorum.check(note)


def test_one_witness_or_nobody() -> None:
    alone = parse_quorum(f"{LINES}quorum X1".encode())
    assert list(alone.check(cosigned(("X1",)))) == [WITNESSES["X1"].vkey]
    with pytest.raises(IntegrityError, match="X1 is required, X2 did"):
        alone.check(cosigned(("X2",)))
    assert parse_quorum(b"quorum none\n").check(NOTE) == {}


def test_another_log_and_a_broken_cosignature_are_refused() -> None:
    other = LogVerifier("govern-log/2", LOG.key)
    with pytest.raises(IntegrityError, match="does not name this checkpoint's log"):
        parse_quorum(f"log {other.vkey}\nquorum none\n".encode()).check(NOTE)
    stranger = LogVerifier(LOG.name, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    with pytest.raises(IntegrityError, match="did not sign"):
        parse_quorum(f"log {stranger.vkey}\nquorum none\n".encode()).check(NOTE)
    # One of the keys of a log's name is enough, wherever it stands.
    parse_quorum(f"log {stranger.vkey}\nlog {LOG.vkey}\nquorum none\n".encode()).check(NOTE)
    line = cosign(Checkpoint(LOG.name, 8, TREE.root), WITNESSES["X1"], 1000, KEYS["X1"].sign)
    with pytest.raises(IntegrityError, match="does not match"):
        parse_quorum(EXAMPLE).check(cosigned(("X2", "X3", "Y1")) + line)


def test_addresses_are_kept() -> None:
    vkey = WITNESSES["X1"].vkey
    quorum = parse_quorum(
        f"log {LOG.vkey} https://log.example\nwitness a {vkey} https://w.example/x\nquorum a".encode()
    )
    assert quorum.witnesses[0].url == "https://w.example/x"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no line that says what the quorum is"),
        (LINES, "no line that says what the quorum is"),
        (f"{LINES}quorum X1\nquorum X2", "line 8: there is one quorum"),
        ("quorum X1", "line 1: there is one quorum"),
        (f"quorum X1\n{LINES}", "line 1: there is one quorum"),
        (f"{LINES}group g all\nquorum g", "line 7: this is no line"),
        (f"{LINES}group g 0 X1\nquorum g", "line 7: a group asks"),
        (f"{LINES}group g 2 X1\nquorum g", "line 7: a group asks"),
        (f"{LINES}group g 01 X1\nquorum g", "line 7: a group asks"),
        (f"{LINES}group g some X1\nquorum g", "line 7: a group asks"),
        (f"{LINES}group g any X1 X1\nquorum g", "line 7: a group's member"),
        (f"{LINES}group g any X1\ngroup h any X1 X2\nquorum h", "line 8: a group's member"),
        (f"{LINES}group g any g\nquorum g", "line 7: a group's member"),
        (f"{LINES}group g any none\nquorum g", "line 7: a group's member"),
        (f"{LINES}group X1 any X2\nquorum X1", "line 7: this name is taken"),
        (f"{LINES}group none any X2\nquorum none", "line 7: this name is taken"),
        (f"{LINES}witness z {WITNESSES['X1'].vkey}\nquorum none", "line 7: this witness's key"),
        (f"log {LOG.vkey}\nlog {LogVerifier('other', LOG.key).vkey}\nquorum none", "line 2: this log's key"),
        (f"log {WITNESSES['X1'].vkey}\nquorum none", "line 1.*not a log's"),
        (f"witness X {LOG.vkey}\nquorum none", "line 1.*not a cosigner's"),
        ("Quorum none", "line 1: this is no line"),
        ("quorum none extra", "line 1: this is no line"),
        ("quorum none\r\n", "control character"),
        ("quorum none\x0b", "control character"),
        ("# \x7f\nquorum none", "control character"),
    ],
)
def test_a_malformed_file_is_refused_by_its_line(text: str, why: str) -> None:
    with pytest.raises(IntegrityError) as refused:
        parse_quorum(text.encode())
    assert re.search(why, str(refused.value)), str(refused.value)


def test_names_are_bytes() -> None:
    """A Kelvin sign is no K, and what is not UTF-8 is a name all the same, though never a key's."""
    (one, two) = (WITNESSES[name].vkey.encode() for name in ("X1", "X2"))
    quorum = parse_quorum(b"witness K %s\nwitness \xe2\x84\xaa %s\nwitness \xff %s\nquorum K" % (
        one, two, WITNESSES["X3"].vkey.encode(),
    ))  # fmt: skip
    assert len({witness.name for witness in quorum.witnesses}) == 3
    with pytest.raises(IntegrityError, match=r"K is required, \\u212a did"):
        quorum.check(cosigned(("X2",)))
    with pytest.raises(IntegrityError, match="line 1"):
        parse_quorum(b"log \xff+00000000+AAAA\nquorum none")


def test_too_much_is_refused_at_once() -> None:
    with pytest.raises(IntegrityError, match="more than"):
        parse_quorum(b"#" * (limits.QUORUM_BYTES + 1))
    groups = "".join(f"group g{place} any {f'g{place - 1}' if place else 'X1'}\n" for place in range(300))
    with pytest.raises(IntegrityError, match="more than 256 lines of one kind"):
        parse_quorum(f"{LINES}{groups}quorum X1".encode())
    parse_quorum(f"{LINES}{''.join(groups.splitlines(keepends=True)[:250])}quorum g249".encode())


@given(st.binary(max_size=300) | st.text("loguritnespqa0 \n\t#+", max_size=200).map(str.encode))
def test_no_bytes_end_in_a_traceback(data: bytes) -> None:
    with suppress(IntegrityError):
        parse_quorum(data)
