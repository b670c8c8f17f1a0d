"""No parser of what comes from outside falls over, and none takes a changed artefact for the original.

Every artefact of the committed version is changed in many ways and read again. Allowed are a GovernError, and, where an
artefact has several spellings by its own standard, the original's very meaning:

- PEM may hold text around the key and other line ends: the key must be the same. In a pack, the file's digest is bound.
- A witness's file that lost whole checkpoints is still a witness's file: no checkpoint may be another one.
- An encrypted private key may be read where the change touches nothing but its spelling: it must be the same key.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from govern.audit import open_checkpoint, parse_event, parse_vkey, read_export
from govern.audit.checkpoint import split_notes
from govern.audit.proof import verify_proof
from govern.errors import GovernError, IntegrityError
from govern.evidence import verify_pack
from govern.signing import generate_key, load_key, load_public, parse_statement, report_predicate, verify
from govern.signing.acts import verify_act
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
CORPUS = [bytes_of(artefact.name)[:4000] for artefact in ARTEFACTS]


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
    original = bytes_of(artefact.name)
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
