"""Statements and bundles: what is signed comes back exactly, and nothing else is ever accepted."""

import base64
import json
import shutil
import subprocess

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from govern.digests import canonical_json
from govern.errors import IntegrityError
from govern.signing import (
    AttackClaim,
    AuditPosition,
    GateClaim,
    PublicKey,
    ReportPredicate,
    SignerIdentity,
    claimed_signer,
    pae,
    parse_statement,
    report_predicate,
    report_statement,
    sign,
    throwaway_key,
    verify,
)

KEY = throwaway_key()
ZERO = "0" * 64
PREDICATE = ReportPredicate(
    run="20261124-100000-demo-ab12",
    policy_digest=ZERO,
    plan_digest="1" * 64,
    model_before="2" * 64,
    model_after="3" * 64,
    delta_sha256="4" * 64,
    verdict="fail",
    verdict_digest="5" * 64,
    gates=(
        GateClaim(task="symbols", metric="acc", kind="ceiling", after=0.25, bound=0.3, threshold=0.4, verdict="pass"),
        GateClaim(
            task="capitals", metric="acc", kind="max_drop", after=0.9, bound=0.08, threshold=0.05, verdict="fail"
        ),
    ),
    templates={"report.html": "6" * 64},
    audit=AuditPosition(origin="govern-log/x", seq=3, leaf="7" * 64),
    signer=SignerIdentity(fingerprint=KEY.public.fingerprint, kind="throwaway"),
    issued="2026-11-24T10:00:00Z",
    govern="0.1.0",
)
STATEMENT = report_statement({"report.md": "8" * 64, "report.html": ZERO}, PREDICATE)
BUNDLE = sign(STATEMENT, KEY)


def test_the_verdict_follows_from_gates_and_attacks_together():
    passed = [gate.model_copy(update={"verdict": "pass"}) for gate in PREDICATE.gates]
    attack = AttackClaim(task="symbols", name="x", recovered=0.6, bound=0.5, max_recovery=0.2, verdict="fail")
    fields = dict(PREDICATE) | {"gates": passed}
    assert ReportPredicate(**fields | {"attacks": (attack,)}).verdict == "fail"
    with pytest.raises(ValidationError, match="does not follow"):
        ReportPredicate(**fields)
    with pytest.raises(ValidationError, match="does not follow"):
        ReportPredicate(**fields | {"attacks": (attack,), "verdict": "pass"})
    assert "attacks" not in PREDICATE.to_json()


def test_pae_is_the_published_vector():
    # github.com/secure-systems-lab/dsse, protocol.md, "Test Vectors"
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


# github.com/secure-systems-lab/dsse, testvectors/vectors.json: signed by the first key of RFC 8032 section 7.1.
RFC8032_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
IN_TOTO = b'{"_type":"https://in-toto.io/Statement/v1"}'
PUBLISHED = {
    "single-signature": (
        "application/vnd.in-toto+json",
        IN_TOTO,
        "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA==",
    ),
    "url-safe-base64": (
        "application/vnd.in-toto+json",
        bytes.fromhex("fbffbf3e3f"),
        "P+/KHICeR7tI6S/YyejJTRtrXhcQyQ2LYPaL8h90KjC9qN8HU/svOQ6TuDOT1HIrsGW886DbWNWcCmX5twLrAw==",
    ),
    "non-ascii-payload-type": (
        "application/vnd.exämple+json",
        IN_TOTO,
        "xmSk/ug66ysT7ayhkCIjhAq42zgZXSsEWuzUaNL7w2eGAdF/NU6/fRXPtmfN+5DNSAs5/i2lUnHjbbjPsu0tAw==",
    ),
    "empty-payload": (
        "application/vnd.in-toto+json",
        b"",
        "gSggCAaTLTYyRH6FIDBem6meyIynsYy8RTHVzwx9tnTb7Bg/1jMWnuVgI/gffqmbsC2VX5/jHfkkDqsj7CDbDg==",
    ),
    "empty-payload-type": (
        "",
        IN_TOTO,
        "iC3q/+3Rm0+lpAJRueDmDh15PnwCfxKmS0NAfKsbv+zgulXQC/WM9trc+j1XEqlwDIg/vf/uNfebeD6sxInrDg==",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_signatures_are_over_our_pae(name):
    kind, payload, signature = PUBLISHED[name]
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(RFC8032_KEY))
    key.verify(base64.b64decode(signature), pae(kind, payload))
    # "payload-type-swapped": the same signature under another type.
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(signature), pae("application/vnd.example.other+json", payload))


def test_the_published_p256_signature_is_one_for_our_keys():
    """DSSE's protocol.md, "Test Vectors": there the signature is r ‖ s, here DER, over the same bytes."""
    key = PublicKey(
        ec.EllipticCurvePublicNumbers(
            46950820868899156662930047687818585632848591499744589407958293238635476079160,
            5640078356564379163099075877009565129882514886557779369047442380624545832820,
            ec.SECP256R1(),
        ).public_key()
    )
    raw = base64.b64decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.verify(signature, pae("http://example.com/HelloWorld", b"hello world"))
    with pytest.raises(IntegrityError, match="signature does not match"):
        key.verify(signature, pae("http://example.com/HelloWorld", b"hello World"))


@given(st.text(max_size=20), st.binary(max_size=40), st.text(max_size=20), st.binary(max_size=40))
def test_pae_has_no_collisions(type_a, payload_a, type_b, payload_b):
    assert (pae(type_a, payload_a) == pae(type_b, payload_b)) == ((type_a, payload_a) == (type_b, payload_b))


def test_a_statement_is_in_toto():
    value = json.loads(STATEMENT)
    assert value["_type"] == "https://in-toto.io/Statement/v1"
    assert value["predicateType"] == "urn:govern:predicate:report:v1"
    assert value["subject"] == [
        {"name": "report.html", "digest": {"sha256": ZERO}},
        {"name": "report.md", "digest": {"sha256": "8" * 64}},
    ]


def test_a_statement_comes_back():
    statement = parse_statement(STATEMENT)
    assert report_predicate(statement) == PREDICATE
    assert [(subject.name, subject.digests.sha256) for subject in statement.subject] == [
        ("report.html", ZERO),
        ("report.md", "8" * 64),
    ]


def test_a_verdict_that_hides_a_failed_gate_cannot_be_built_or_read():
    with pytest.raises(ValidationError, match="does not follow"):
        ReportPredicate(**{**PREDICATE.model_dump(), "verdict": "pass"})
    value = json.loads(STATEMENT)
    value["predicate"]["verdict"] = "pass"
    with pytest.raises(IntegrityError, match="does not follow"):
        report_predicate(parse_statement(canonical_json(value)))


def changed(edit):
    value = json.loads(STATEMENT)
    edit(value)
    return canonical_json(value)


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda value: value.update(predicateType="urn:govern:predicate:signoff:v1"),
        lambda value: value.update(more=1),
        lambda value: value.update(subject=[]),
        lambda value: value["subject"].append(value["subject"][0]),
        lambda value: value["subject"][0]["digest"].update(sha512="0" * 128),
        lambda value: value["subject"][0]["digest"].update(sha256="A" * 64),
        lambda value: value["subject"][0]["digest"].update(sha256="0" * 64 + "\n"),
        lambda value: value["predicate"].update(more=1),
        lambda value: value["predicate"].pop("gates"),
        lambda value: value["predicate"]["audit"].update(seq=-1),
        lambda value: value["predicate"]["audit"].update(seq="3"),
        lambda value: value["predicate"]["audit"].update(seq=True),
        lambda value: value["predicate"]["signer"].update(kind="kept?"),
    ],
)
def test_a_statement_of_any_other_form_is_refused(edit):
    with pytest.raises(IntegrityError):
        report_predicate(parse_statement(changed(edit)))


def test_a_bundle_is_sigstore_v03_with_one_dsse_signature():
    value = json.loads(BUNDLE)
    assert value["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert value["verificationMaterial"] == {"publicKey": {"hint": KEY.public.fingerprint}}
    assert value["dsseEnvelope"]["payloadType"] == "application/vnd.in-toto+json"
    assert base64.b64decode(value["dsseEnvelope"]["payload"]) == STATEMENT
    assert len(value["dsseEnvelope"]["signatures"]) == 1


@given(st.binary(max_size=300))
def test_what_is_signed_comes_back(payload):
    bundle = sign(payload, KEY)
    assert verify(bundle, KEY.public) == payload
    assert claimed_signer(bundle) == KEY.public.fingerprint


def test_another_key_does_not_verify():
    with pytest.raises(IntegrityError, match=KEY.public.fingerprint):
        verify(BUNDLE, throwaway_key().public)


def test_another_key_does_not_verify_even_where_the_hint_claims_it():
    other = throwaway_key()
    value = json.loads(BUNDLE)
    value["verificationMaterial"]["publicKey"]["hint"] = other.public.fingerprint
    with pytest.raises(IntegrityError, match="signature does not match"):
        verify(canonical_json(value), other.public)


@pytest.mark.parametrize("count", [0, 2])
def test_a_bundle_carries_exactly_one_signature(count):
    value = json.loads(BUNDLE)
    value["dsseEnvelope"]["signatures"] *= count
    with pytest.raises(IntegrityError):
        verify(canonical_json(value), KEY.public)


def test_the_payload_type_is_signed_too():
    forged = sign_with_type("text/plain")
    with pytest.raises(IntegrityError):
        verify(forged, KEY.public)
    with pytest.raises(IntegrityError, match="signature does not match"):
        verify(forged.replace(b"text/plain", b"application/vnd.in-toto+json"), KEY.public)


def sign_with_type(payload_type):
    value = json.loads(BUNDLE)
    value["dsseEnvelope"]["payloadType"] = payload_type
    signature = KEY.sign(pae(payload_type, STATEMENT))
    value["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode()}]
    return canonical_json(value)


def test_every_byte_of_a_bundle_counts():
    """The law: no change of a single byte is accepted, whatever it means."""
    for place in range(len(BUNDLE)):
        mutated = bytearray(BUNDLE)
        mutated[place] ^= 1 << (place % 8)
        with pytest.raises(IntegrityError):
            verify(bytes(mutated), KEY.public)


@settings(max_examples=300)
@given(st.data())
def test_no_mutated_bundle_is_accepted(data):
    mutated = mutate(data, BUNDLE)
    if mutated != BUNDLE:
        with pytest.raises(IntegrityError):
            verify(mutated, KEY.public)


@settings(max_examples=300)
@given(st.data())
def test_a_mutated_statement_never_means_the_same(data):
    """A statement alone is unsigned: a mutant may parse, but never to the original's meaning."""
    mutated = mutate(data, STATEMENT)
    try:
        statement = parse_statement(mutated)
    except IntegrityError:
        return
    assert (statement == parse_statement(STATEMENT)) == (mutated == STATEMENT)


def mutate(data, original):
    place = data.draw(st.integers(0, len(original) - 1))
    kind = data.draw(st.sampled_from(["set", "insert", "delete", "truncate", "duplicate"]))
    byte = bytes([data.draw(st.integers(0, 255))])
    return {
        "set": original[:place] + byte + original[place + 1 :],
        "insert": original[:place] + byte + original[place:],
        "delete": original[:place] + original[place + 1 :],
        "truncate": original[:place],
        "duplicate": original[:place] + original,
    }[kind]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
).map(lambda value: json.dumps(value).encode())


@given(st.binary(max_size=200) | JSON)
def test_parsers_refuse_anything_without_falling_over(data):
    for parse in (
        lambda: parse_statement(data),
        lambda: verify(data, KEY.public),
        lambda: claimed_signer(data),
    ):
        with pytest.raises(IntegrityError):
            parse()


@pytest.mark.parametrize(
    "data",
    [b"[" * 100_000, b"9" * 10_000, b'{"_type":"\\ud800"}', b"\xef\xbb\xbf" + STATEMENT, STATEMENT + b"\n", b"\xff"],
)
def test_parsers_refuse_known_traps(data):
    with pytest.raises(IntegrityError):
        parse_statement(data)


@pytest.mark.openssl
@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
class TestOpenssl:
    """A tool that is not ours, over the encoding as DSSE publishes it, accepts ours and rejects each tampered one."""

    def verify(self, folder, signature, payload, public=KEY.public):
        kind = b"application/vnd.in-toto+json"
        (folder / "pae").write_bytes(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload))
        (folder / "sig").write_bytes(signature)
        (folder / "key.pub").write_bytes(public.pem)
        command = ["openssl", "dgst", "-sha256", "-verify", "key.pub", "-signature", "sig", "pae"]
        return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0

    def test_accepts_ours_and_rejects_each_tampered_one(self, tmp_path):
        envelope = json.loads(BUNDLE)["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"])
        signature = base64.b64decode(envelope["signatures"][0]["sig"])
        assert self.verify(tmp_path, signature, payload)
        for place in range(0, len(payload), 97):
            tampered = bytearray(payload)
            tampered[place] ^= 1
            assert not self.verify(tmp_path, signature, bytes(tampered))
        for place in range(0, len(signature), 7):
            tampered = bytearray(signature)
            tampered[place] ^= 1
            assert not self.verify(tmp_path, bytes(tampered), payload)
        assert not self.verify(tmp_path, signature, payload, public=throwaway_key().public)
