"""No parser of what comes from outside falls over, and none takes a changed artefact for the original.

Every artefact of the committed version is changed in many ways and read again. Allowed are a GovernError, and, where an
artefact has several spellings by its own standard, the original's very meaning:

- PEM may hold text around the key and other line ends: the key must be the same. In a pack, the file's digest is bound.
- A witness's file that lost whole checkpoints is still a witness's file: no checkpoint may be another one.
- An encrypted private key may be read where the change touches nothing but its spelling: it must be the same key.
- A note may lose or repeat the signatures of others than who is asked for.

Nor does a large one take long, or much memory: whatever its shape, and however deep.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import from_json

from govern import limits
from govern.audit import (
    Checkpoint,
    Cosigner,
    CosigningRequest,
    add_cosignature,
    cosign,
    cosigned_at,
    format_request,
    open_checkpoint,
    own_note,
    parse_cosigner,
    parse_event,
    parse_request,
    parse_vkey,
    read_export,
    split_notes,
)
from govern.audit.body import NO_PREV, leaf_hash
from govern.audit.proof import parse_proof, verify_proof
from govern.digests import canonical_json
from govern.errors import GovernError, IntegrityError
from govern.evidence import verify_pack
from govern.signing import (
    generate_key,
    load_key,
    load_public,
    parse_statement,
    report_predicate,
    throwaway_key,
    verify,
)
from govern.signing.acts import verify_act
from govern.signing.model_signature import sign_model, verify_model
from govern.signing.reviews import SIGN_OFF
from govern.signing.trust_document import read_trust, verify_trust

IN_SUITE = 150
IN_CI = int(os.environ.get("GOVERN_FUZZ_EXAMPLES", "10000")) // 5
# A pack is read whole for each example, and a private key takes a costly derivation.
SLOWER = 4

OLD = Path(__file__).parent / "fixtures" / "v1"
PACK = OLD / "pack"
BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
NOW = "2036-11-24T00:00:00Z"


def bytes_of(name: str) -> bytes:
    return (OLD / name).read_bytes()


LOG_KEY = parse_vkey(bytes_of("log.vkey").decode().strip())
ROOT = load_public(bytes_of("pack/root.pub"))
SIGNER = load_public(bytes_of("pack/signer.pub"))
REVIEWER = load_public(bytes_of("pack/reviews/001/reviewer.pub"))
SERIES = [open_checkpoint(note, LOG_KEY) for note in split_notes(bytes_of("witness"))]


@dataclass(frozen=True)
class Artefact:
    """A file, how it is read, and what a reading of changed bytes may mean, given what the original means."""

    name: str
    read: Callable[[bytes], Any]
    lawful: Callable[[Any, Any], bool] = lambda found, original: False
    made: bytes | None = None

    @property
    def original(self) -> bytes:
        """The file's bytes: of the committed version, or made here."""
        return bytes_of(self.name) if self.made is None else self.made


def event(data: bytes) -> Any:
    try:
        return parse_event(data)
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        raise IntegrityError(str(error)) from None


def gates(data: bytes) -> Any:
    statement = parse_statement(verify(data, SIGNER))
    # The signer's other statements are as well signed.
    if statement.predicate_type != "https://in-toto.io/attestation/test-result/v0.1":
        raise IntegrityError("a statement of another kind")
    return statement


def text(read: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda data: read(data.decode("utf-8", "replace"))


def same(found: Any, original: Any) -> bool:
    return bool(found == original)


def another(found: Any, original: Any) -> bool:
    """What is not signed may say anything, but no second spelling may say the same."""
    return bool(found != original)


def is_request(data: bytes) -> Any:
    """A request, with the checkpoint that it is about."""
    asked = parse_request(data)
    return asked.old, asked.hashes, open_checkpoint(asked.note, LOG_KEY)


WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
COSIGNER = Cosigner("witness.example/w1", WITNESS.public_key().public_bytes_raw())
NOTE = bytes_of("checkpoint")
TREE = open_checkpoint(NOTE, LOG_KEY)
LINE = cosign(TREE, COSIGNER, 1679315147, WITNESS.sign)
COSIGNED = add_cosignature(NOTE, LINE, COSIGNER)
MODEL_KEY = throwaway_key()

MADE = [
    Artefact("cosigned", lambda data: (cosigned_at(data, COSIGNER), open_checkpoint(data, LOG_KEY)), same, COSIGNED),
    Artefact("cosignature", lambda data: open_checkpoint(add_cosignature(NOTE, data, COSIGNER), LOG_KEY), same, LINE),
    Artefact("own note", lambda data: open_checkpoint(own_note(data), LOG_KEY), same, COSIGNED),
    Artefact("request", is_request, another, format_request(CosigningRequest(3, (bytes(32), bytes(range(32))), NOTE))),
    Artefact("cosigner", text(lambda data: parse_cosigner(data)), made=COSIGNER.vkey.encode()),
    Artefact("proof", parse_proof, another, bytes_of("event.tlog-proof")),
    Artefact(
        "model.sig",
        lambda data: verify_model(data, MODEL_KEY.public),
        made=sign_model("edited", {"a": "0" * 64, "b/c": "1" * 64}, MODEL_KEY),
    ),
]
ARTEFACTS = [
    Artefact("checkpoint", lambda data: open_checkpoint(data, LOG_KEY)),
    Artefact("event.tlog-proof", lambda data: verify_proof(data, bytes_of("event.json"), LOG_KEY)),
    Artefact("event.json", lambda data: verify_proof(bytes_of("event.tlog-proof"), data, LOG_KEY)),
    Artefact("event.json", event, another),
    Artefact("log.jsonl", lambda data: read_export(io.BytesIO(data), against=SERIES)),
    Artefact(
        "witness",
        lambda data: [open_checkpoint(note, LOG_KEY) for note in split_notes(data)],
        lambda found, original: all(checkpoint in original for checkpoint in found),
    ),
    Artefact("log.vkey", text(lambda data: parse_vkey(data.removesuffix("\n"))), same),
    Artefact("pack/report.sigstore.json", lambda data: report_predicate(parse_statement(verify(data, SIGNER)))),
    Artefact("pack/gates.sigstore.json", gates),
    Artefact("pack/statement.json", parse_statement, another),
    Artefact("pack/trust.yaml", lambda data: verify_trust(data, bytes_of("pack/trust.sigstore.json"), ROOT)),
    Artefact("pack/trust.yaml", read_trust, another),
    Artefact("pack/trust.sigstore.json", lambda data: verify_trust(bytes_of("pack/trust.yaml"), data, ROOT)),
    Artefact("pack/reviews/001/review.sigstore.json", lambda data: verify_act(SIGN_OFF, data, REVIEWER)),
    Artefact("pack/signer.pub", load_public, same),
]
CORPUS = [artefact.original[:4000] for artefact in ARTEFACTS]
ARTEFACTS += MADE


@st.composite
def changed(draw: st.DrawFn, original: bytes) -> bytes:
    """One to three changes, each as a bad disk, a careless editor or an attacker would make it."""
    data = original
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        end = min(len(data), start + draw(st.integers(1, 80)))
        piece = data[start:end]
        match draw(st.integers(0, 11)):
            case 0:
                data = (
                    data[:start]
                    + bytes([(data[start] if data else 0) ^ 1 << draw(st.integers(0, 7))])
                    + data[start + 1 :]
                )
            case 1:
                data = data[:start] + draw(st.binary(min_size=1, max_size=4)) + data[start:]
            case 2:
                data = data[:start] + data[end:]
            case 3:
                data = data[:start]
            case 4:
                data = data[:end] + piece + data[end:]
            case 5:
                other = draw(st.integers(0, max(0, len(data) - 1)))
                data = data[:start] + data[other : other + len(piece)] + data[end:]
            case 6:
                strange = draw(st.sampled_from(CORPUS))
                place = draw(st.integers(0, len(strange)))
                data = data[:start] + strange[place : place + 80] + data[end:]
            case 7:
                data = data[:start] + piece.swapcase() + data[end:]
            case 8:
                data = data.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\n\n", b"", b" \n"])), 1)
            case 9:
                data += draw(st.sampled_from([b"\n", b" ", b"\x00", b"=", b"{}", original]))
            case 10:
                lines = data.splitlines(keepends=True)
                data = b"".join(draw(st.permutations(lines))) if len(lines) < 12 else data[end:] + data[:end]
            case 11:
                # The last bits before base64's padding say nothing, and an encoder sets them to zero.
                places = [at for at in range(1, len(data)) if data[at : at + 1] == b"=" and data[at - 1] in BASE64]
                if places:
                    at = draw(st.sampled_from(places))
                    other = BASE64[(BASE64.index(data[at - 1]) + draw(st.integers(1, 3))) % 64]
                    data = data[: at - 1] + bytes([other]) + data[at:]
    return data


def hold(artefact: Artefact, data: st.DataObject) -> None:
    original = artefact.original
    meaning = artefact.read(original)
    mutated = data.draw(changed(original) | st.binary(max_size=300) | st.sampled_from(CORPUS))
    if mutated == original:
        return
    try:
        found = artefact.read(mutated)
    except GovernError:
        return
    assert artefact.lawful(found, meaning), f"taken for the original: {mutated[:2000]!r}"


def fuzz(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
        return settings(max_examples=examples, deadline=None, suppress_health_check=checks)(given(st.data())(test))

    return decorate


each = pytest.mark.parametrize(
    "artefact", ARTEFACTS, ids=[f"{number}-{artefact.name}" for number, artefact in enumerate(ARTEFACTS)]
)


@each
@fuzz(IN_SUITE)
def test_no_changed_artefact_is_taken_for_the_original(artefact: Artefact, data: st.DataObject) -> None:
    hold(artefact, data)


@pytest.mark.slow
@each
@fuzz(IN_CI)
def test_no_changed_artefact_is_taken_for_the_original_at_length(artefact: Artefact, data: st.DataObject) -> None:
    hold(artefact, data)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of which one file at a time is changed, and put back."""
    return Path(shutil.copytree(PACK, tmp_path_factory.mktemp("fuzz") / "pack"))


def hold_pack(pack: Path, data: st.DataObject) -> None:
    files = sorted(path for path in pack.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    original = path.read_bytes()
    mutated = data.draw(changed(original[:20_000])) + original[20_000:]
    if mutated == original:
        return
    refused = refusal(pack, path, mutated)
    assert refused, f"taken for the original: {path.relative_to(pack)}"
    assert refused.where


def refusal(pack: Path, path: Path, mutated: bytes) -> IntegrityError | None:
    original = path.read_bytes()
    path.write_bytes(mutated)
    try:
        verify_pack(pack, now=NOW, root=ROOT)
    except IntegrityError as error:
        return error
    finally:
        path.write_bytes(original)
    return None


@fuzz(IN_SUITE)
def test_no_pack_with_a_changed_file_is_accepted(pack: Path, data: st.DataObject) -> None:
    hold_pack(pack, data)


@pytest.mark.slow
@fuzz(IN_CI // SLOWER)
def test_no_pack_with_a_changed_file_is_accepted_at_length(pack: Path, data: st.DataObject) -> None:
    hold_pack(pack, data)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "signing.pem"
    generate_key(path, b"password")
    return path


def hold_key(private: Path, data: st.DataObject) -> None:
    original = private.read_bytes()
    copy = private.with_name("changed.pem")
    copy.touch(mode=0o600)
    copy.write_bytes(data.draw(changed(original)))
    try:
        found = load_key(copy, b"password")
    except GovernError:
        return
    assert found.public.fingerprint == load_public(private.with_suffix(".pub").read_bytes()).fingerprint


@fuzz(10)
def test_a_changed_private_key_is_refused_or_the_same(private: Path, data: st.DataObject) -> None:
    hold_key(private, data)


@pytest.mark.slow
@fuzz(IN_CI // SLOWER)
def test_a_changed_private_key_is_refused_or_the_same_at_length(private: Path, data: st.DataObject) -> None:
    hold_key(private, data)


LARGE = 10_000_000
SECONDS = 2.0
UNITS = [b"0,", b"[],", b"{},", b'{"a":0},', b"1e-7,", b'"a",']


def padded(before: bytes, unit: bytes, after: bytes, size: int) -> bytes:
    return before + unit * ((size - len(before) - len(after)) // len(unit)) + after


def large(original: bytes, size: int) -> Iterator[bytes]:
    """Files of a size that readers of many kinds find hard: one line, many lines, depth, many values, many copies."""
    half = len(original) // 2
    yield from (padded(b"", unit, b"", size) for unit in (b"a", b"\n", b"a\n", b"\0", b"[", b'{"a":', b"A+", b"0"))
    yield from (padded(b"[", unit, b"0]", size) for unit in UNITS)
    subject = b',"predicateType":"x","subject":[{"digest":{"sha256":"' + b"0" * 64 + b'"},"name":"a"}]}'
    statement = b'{"_type":"https://in-toto.io/Statement/v1","predicate":{"a":['
    yield from (padded(statement, unit, b"0]}" + subject, size) for unit in UNITS)
    yield padded(b"# x\nkeys:\n", b"  - a: 1\n", b"", size)
    yield padded(b"# x\n", b"a: [[[[[[\n", b"", size)
    yield padded(b"", original, b"", size + len(original))
    yield padded(original, original[half:], b"", size + 2 * len(original))
    yield padded(original, original.splitlines(keepends=True)[-1], b"", size + 2 * len(original))
    yield padded(original[:half], b"A", original[half:], size)


def read_quickly(read: Callable[[bytes], Any], data: bytes) -> None:
    said = ""
    began = time.process_time()
    try:
        read(data)
    except GovernError as error:
        said = str(error)
    assert time.process_time() - began < SECONDS, data[:200]
    assert len(said) < 1000, "a message repeats what was read"


@pytest.mark.slow
@pytest.mark.parametrize("size", [LARGE, limits.SIGNED_BYTES, limits.TRUST_BYTES, limits.NOTE_BYTES])
@each
def test_a_large_file_is_read_or_refused_soon(artefact: Artefact, size: int) -> None:
    for data in large(artefact.original, size):
        read_quickly(artefact.read, data)


@each
def test_a_large_file_is_refused_soon(artefact: Artefact) -> None:
    for data in (b"a" * LARGE, b"[" * LARGE, artefact.original * (LARGE // len(artefact.original))):
        read_quickly(artefact.read, data)


def test_a_witness_s_file_of_many_checkpoints_is_read_soon() -> None:
    notes = [NOTE] * (LARGE // len(NOTE))
    with pytest.raises(IntegrityError, match="more than 10,000 checkpoints"):
        split_notes(b"".join(notes))
    began = time.process_time()
    for note in split_notes(b"".join(notes[: limits.NOTES])):
        open_checkpoint(note, LOG_KEY)
    assert time.process_time() - began < SECONDS


def test_a_checkpoint_with_one_signature_many_times_is_refused() -> None:
    with pytest.raises(IntegrityError, match="more than 100 signatures"):
        cosigned_at(NOTE + LINE * limits.NOTE_SIGNATURES, COSIGNER)
    repeated = NOTE + LINE * (limits.NOTE_SIGNATURES - 1)
    assert cosigned_at(repeated, COSIGNER) == 1679315147
    other = cosign(TREE, COSIGNER, 1679315148, WITNESS.sign)
    with pytest.raises(IntegrityError, match="more than 100 signatures"):
        add_cosignature(repeated, other, COSIGNER)


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_an_export_of_large_events_is_read_soon(unit: bytes) -> None:
    """Ten events of a million bytes, each bound to the one before, of values that are slow to read or to write."""
    lines, prev = [], NO_PREV
    form = {**json_of("event.json"), "parameters": {"x": [7]}}
    for seq in range(10):
        value = {**form, "seq": seq, "prev": prev, "type": "apply.started" if seq else "log.created"}
        body = canonical_json(value).replace(b"[7]", padded(b"[", unit, b"0]", LARGE // 14))
        prev = leaf_hash(body)
        line = {"body": base64.b64encode(body).decode(), "format_version": 1, "leaf": prev, "seq": seq}
        lines.append(canonical_json(line) + b"\n")
    assert sum(map(len, lines)) < LARGE
    read_quickly(lambda data: read_export(io.BytesIO(data), against=[Checkpoint("o", 10, bytes(32))]), b"".join(lines))


def json_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = from_json(bytes_of(name))
    return found


@pytest.mark.slow
def test_large_files_take_no_more_than_a_gibibyte() -> None:
    script = rf"""
import re, resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_audit_fuzz import ARTEFACTS, LARGE, GovernError, large
for size in (LARGE, 4 << 20):
    for artefact in ARTEFACTS:
        for data in large(artefact.original, size):
            try:
                artefact.read(data)
            except GovernError:
                pass
if sys.platform == "linux":  # what `getrusage` says there begins with the process that started this one
    print(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1])
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) * (1 if sys.platform == "darwin" else 1024) < 1 << 30
