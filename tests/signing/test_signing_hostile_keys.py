"""Keys and signatures from strangers, and keys whose making was disturbed."""

from __future__ import annotations

import base64
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from govern.audit import Checkpoint, Cosigner, LogVerifier, parse_cosigner, parse_vkey
from govern.audit.checkpoint import format_vkey
from govern.errors import GovernError, IntegrityError, UsageError
from govern.signing import (
    claimed_signer,
    generate_key,
    generate_log_key,
    load_key,
    load_log_key,
    load_public,
    public_path,
    sign,
    throwaway_key,
    verify,
)
from govern.signing import pkcs8 as pkcs8_module
from govern.signing.pkcs8 import check_costs

PASSWORD = b"password"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
IN_CI = int(os.environ.get("GOVERN_FUZZ_EXAMPLES", "10000")) // 5
KEY = throwaway_key()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "signing.pem"
    generate_key(path, PASSWORD)
    return path


def read(folder: Path, pem: bytes) -> GovernError | None:
    """What is said of a private key; None where it is read."""
    path = folder / "read.pem"
    path.touch(mode=0o600)
    path.write_bytes(pem)
    try:
        load_key(path, PASSWORD)
    except GovernError as error:
        return error
    return None


class TestSignatures:
    def test_ours_has_the_smaller_s(self) -> None:
        for number in range(50):
            _, s = decode_dss_signature(KEY.sign(b"%d" % number))
            assert s <= ORDER // 2

    def test_both_twins_verify_and_neither_is_what_makes_a_bundle_known(self) -> None:
        """Others, and we before, write either; who asks for one form alone would refuse good signatures."""
        r, s = decode_dss_signature(KEY.sign(b"data"))
        KEY.public.verify(encode_dss_signature(r, ORDER - s), b"data")
        bundle = sign(b"{}", KEY)
        twin = bundle.replace(*(base64.b64encode(each) for each in twins(bundle)))
        assert twin != bundle
        assert verify(twin, KEY.public) == verify(bundle, KEY.public)

    @pytest.mark.parametrize(("r", "s"), [(0, 1), (1, 0), (0, 0), (ORDER, 1), (1, ORDER), (ORDER, ORDER), (1, 1)])
    def test_numbers_out_of_range_fit_nothing(self, r: int, s: int) -> None:
        with pytest.raises(IntegrityError):
            KEY.public.verify(encode_dss_signature(r, s), b"data")

    def test_a_multiple_of_the_order_more_is_another_number(self) -> None:
        r, s = decode_dss_signature(KEY.sign(b"data"))
        for other in ((r + ORDER, s), (r, s + ORDER)):
            with pytest.raises(IntegrityError):
                KEY.public.verify(encode_dss_signature(*other), b"data")

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda der: der + b"\0",
            lambda der: b"\x30\x81" + der[1:2] + der[2:],
            lambda der: b"\x30" + bytes([der[1] + 1]) + b"\x02" + bytes([der[3] + 1]) + b"\0" + der[4:],
            lambda der: b"\x31" + der[1:],
            lambda der: der[:-1],
            lambda der: b"\x30\x80" + der[2:] + b"\0\0",
            lambda _: b"",
            lambda _: b"\x30\0",
        ],
    )
    def test_der_of_any_other_form_is_refused(self, spoil: Callable[[bytes], bytes]) -> None:
        signature = KEY.sign(b"data")
        with pytest.raises(IntegrityError):
            KEY.public.verify(spoil(signature), b"data")

    @pytest.mark.parametrize(
        "spoil", [lambda text: text.rstrip("="), lambda text: text + "\n", lambda text: " " + text]
    )
    def test_base64_of_any_other_form_is_refused(self, spoil: Callable[[str], str]) -> None:
        bundle = sign(b'{"a":1}', KEY)
        signature = base64.b64encode(twins(bundle)[0]).decode()
        for text in (signature, base64.b64encode(b'{"a":1}').decode()):
            changed = bundle.replace(text.encode(), spoil(text).encode().replace(b"\n", b"\\n"))
            if changed != bundle:
                with pytest.raises(IntegrityError, match="base64"):
                    verify(changed, KEY.public)


def twins(bundle: bytes) -> tuple[bytes, bytes]:
    """A bundle's signature and the other one that fits."""
    signature = base64.b64decode(bundle.split(b'"sig":"')[1].split(b'"')[0])
    r, s = decode_dss_signature(signature)
    return signature, encode_dss_signature(r, ORDER - s)


class TestPublicKeys:
    # The y of Ed25519's points of small order, with either sign, and numbers that are no y in their one form.
    P = 2**255 - 19
    Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7

    @pytest.mark.parametrize("y", [0, 1, P - 1, Y8, P - Y8, P, P + 1, P + 5, 2**255 - 1])
    @pytest.mark.parametrize("sign_bit", [0, 1])
    def test_a_key_that_fits_what_nobody_signed_is_refused(self, y: int, sign_bit: int) -> None:
        key = (y | sign_bit << 255).to_bytes(32, "little")
        for kind, parse in ((b"\x01", parse_vkey), (b"\x04", parse_cosigner)):
            with pytest.raises(IntegrityError, match="everybody can sign"):
                parse(format_vkey("log.example", kind + key))

    def test_every_other_key_is_read(self) -> None:
        for number in range(20):
            key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32).public_key().public_bytes_raw()
            assert parse_vkey(LogVerifier("log.example", key).vkey).key == key
            assert parse_cosigner(Cosigner("witness.example", key).vkey).key == key

    def test_such_a_key_would_fit_anything(self) -> None:
        """Why: the identity as key and as R, and s = 0, fit every message."""
        identity = (1).to_bytes(32, "little")
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        Ed25519PublicKey.from_public_bytes(identity).verify(identity + bytes(32), Checkpoint("o", 1, bytes(32)).text)

    def test_a_point_off_the_curve_is_refused(self) -> None:
        der = bytearray(base64.b64decode(b"".join(KEY.public.pem.splitlines()[1:-1])))
        der[-1] ^= 1
        with pytest.raises(IntegrityError):
            load_public(pem_of(bytes(der)))
        der[-64:] = bytes(64)
        with pytest.raises(IntegrityError):
            load_public(pem_of(bytes(der)))

    def test_a_compressed_point_is_the_same_key_by_its_fingerprint(self) -> None:
        raw = KEY.public._key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
        head = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
        try:
            found = load_public(pem_of(head + raw))
        except IntegrityError:
            return
        assert found.fingerprint == KEY.public.fingerprint
        assert found.pem == KEY.public.pem


def pem_of(der: bytes, label: str = "PUBLIC KEY") -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + base64.encodebytes(der) + f"-----END {label}-----\n".encode()


class TestPrivateKeys:
    @pytest.mark.parametrize(
        "costs", [{"SCRYPT_N": 2**24}, {"SCRYPT_R": 2**20}, {"SCRYPT_P": 2**30}, {"SCRYPT_N": 2**62, "SCRYPT_P": 2**60}]
    )
    def test_one_that_asks_for_all_memory_or_days_is_refused_at_once(
        self, tmp_path: Path, pair: Path, costs: dict[str, int]
    ) -> None:
        pem = pair.read_bytes()
        der = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
        for name, value in costs.items():
            der = rebuilt(der, getattr(pkcs8_module, name), value)
        began = time.monotonic()
        assert isinstance(read(tmp_path, pem_of(der, "ENCRYPTED PRIVATE KEY")), UsageError)
        assert time.monotonic() - began < 2

    def test_one_of_two_thousand_million_rounds_is_refused_at_once(self, tmp_path: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSWORD),
        )
        assert read(tmp_path, pem) is None
        der = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
        began = time.monotonic()
        assert isinstance(read(tmp_path, pem_of(rebuilt(der, 2048, 2**31 - 1), "ENCRYPTED PRIVATE KEY")), UsageError)
        assert time.monotonic() - began < 2

    @pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\x82" * 20_000])
    def test_der_that_is_none_has_no_costs(self, data: bytes) -> None:
        with pytest.raises(ValueError, match=r"key|DER"):
            check_costs(pem_of(data, "ENCRYPTED PRIVATE KEY"))

    def test_two_keys_in_one_file_are_refused(self, tmp_path: Path, pair: Path) -> None:
        assert isinstance(read(tmp_path, pair.read_bytes() * 2), UsageError)
        assert isinstance(read(tmp_path, pem_of(b"\x30\0", "PRIVATE KEY") + pair.read_bytes()), UsageError)

    def test_a_pipe_and_a_large_file_are_refused_at_once(self, tmp_path: Path, pair: Path) -> None:
        os.mkfifo(tmp_path / "pipe.pem", 0o600)
        large = tmp_path / "large.pem"
        large.touch(mode=0o600)
        large.write_bytes(pair.read_bytes() + b"\n" * 10_000_000)
        for path in (tmp_path / "pipe.pem", large, Path("/dev/zero")):
            with pytest.raises(UsageError):
                load_key(path, PASSWORD)


def hold(pair: Path, data: st.DataObject) -> None:
    """Costs are read from any bytes, or refused."""
    der = bytearray(base64.b64decode(b"".join(pair.read_bytes().splitlines()[1:-1])))
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    kind = None
    try:
        check_costs(pem_of(bytes(der), "ENCRYPTED PRIVATE KEY"))
    except ValueError as error:
        kind = type(error)
    assert kind in (None, ValueError)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_costs_fall_over(pair: Path, data: st.DataObject) -> None:
    hold(pair, data)


@pytest.mark.slow
@settings(max_examples=IN_CI, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_costs_fall_over_at_length(pair: Path, data: st.DataObject) -> None:
    hold(pair, data)


def rebuilt(der: bytes, old: int, new: int) -> bytes:
    """An encrypted key with another number among its costs."""

    def change(content: bytes) -> bytes:
        parts = []
        for tag, inner in pkcs8_module._parts(content):
            if tag == 0x30:
                inner = change(inner)
            elif tag == 0x02 and int.from_bytes(inner, "big") == old:
                inner = new.to_bytes(new.bit_length() // 8 + 1, "big")
            parts.append(pkcs8_module._tagged(tag, inner))
        return b"".join(parts)

    return change(der)


class TestMaking:
    @pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o177])
    def test_modes_do_not_depend_on_the_umask(self, tmp_path: Path, mask: int) -> None:
        before = os.umask(mask)
        try:
            generate_key(tmp_path / "signing.pem", PASSWORD)
            generate_log_key(tmp_path / "log.pem", PASSWORD)
        finally:
            os.umask(before)
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
            "signing.pem": 0o600, "signing.pub": 0o644, "log.pem": 0o600, "log.pub": 0o644,
        }  # fmt: skip

    def test_at_once_two_makers_make_one_pair(self, tmp_path: Path) -> None:
        made, refused = [], []

        def make() -> None:
            try:
                made.append(generate_key(tmp_path / "signing.pem", PASSWORD).fingerprint)
            except UsageError as error:
                refused.append(error)

        threads = [threading.Thread(target=make) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 1
        assert len(refused) == 5
        assert load_key(tmp_path / "signing.pem", PASSWORD).public.fingerprint == made[0]
        assert load_public(public_path(tmp_path / "signing.pem").read_bytes()).fingerprint == made[0]
        assert len(list(tmp_path.iterdir())) == 2

    @pytest.mark.parametrize(
        "step", [step if step in (4, 8) else pytest.param(step, marks=pytest.mark.slow) for step in range(1, 12)]
    )
    def test_killed_at_any_step_leaves_no_key_in_the_clear_and_says_what_is_missing(
        self, tmp_path: Path, step: int
    ) -> None:
        """Killed at one call after the other that changes the folder or makes it durable."""
        script = f"""
import os, sys
from pathlib import Path
from govern.signing import generate_key
left = [{step}]
def deadly(name):
    real = getattr(os, name)
    def call(*arguments, **named):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), 9)
        return real(*arguments, **named)
    setattr(os, name, call)
for name in ("fsync", "link", "fchmod", "unlink"):
    deadly(name)
generate_key(Path(sys.argv[1]), b"password")
"""
        path = tmp_path / "signing.pem"
        done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=False)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        for left in tmp_path.iterdir():
            data = left.read_bytes()
            if b"PRIVATE" in data:
                assert b"ENCRYPTED" in data
                assert stat.S_IMODE(left.stat().st_mode) == 0o600
            assert not data or b"BEGIN" in data
        if not path.exists():
            assert not public_path(path).exists()
            generate_key(path, PASSWORD)
        elif not public_path(path).exists():
            with pytest.raises(UsageError, match="never overwritten") as caught:
                generate_key(path, PASSWORD)
            assert f"openssl pkey -in {path} -pubout -out {public_path(path)}" in str(caught.value)
        public = load_key(path, PASSWORD).public
        assert not public_path(path).exists() or load_public(public_path(path).read_bytes()) == public

    def test_neither_a_home_nor_a_locale_is_needed(self, tmp_path: Path) -> None:
        script = (
            "import sys; from pathlib import Path; from govern.signing import *; from govern.audit import Log\n"
            "generate_log_key(Path('ü/log.pem'), b'password'); load_log_key(Path('ü/log.pem'), b'password')\n"
            "Log.open(Path('ü/audit.db')).append('key.generated'); print(Log.read(Path('ü/audit.db')).verify().size)"
        )
        environment = {"HOME": "/nonexistent", "LC_ALL": "xx_XX.nothing", "LANG": "xx", "PATH": os.environ["PATH"]}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        done = subprocess.run(
            [sys.executable, "-X", "utf8=1", "-c", script],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr

    def test_a_log_key_of_the_other_kind_is_refused(self, tmp_path: Path, pair: Path) -> None:
        with pytest.raises(UsageError, match="not a log's key"):
            load_log_key(pair, PASSWORD)
        generate_log_key(tmp_path / "log.pem", PASSWORD)
        with pytest.raises(UsageError, match="P-256"):
            load_key(tmp_path / "log.pem", PASSWORD)


@pytest.mark.parametrize(
    ("read", "data", "text"),
    [
        (load_public, b"x", "this is not a public key (SubjectPublicKeyInfo, PEM)"),
        (load_public, b"x" * 65_537, "the public key has more than 65,536 bytes"),
        (claimed_signer, b"x" * ((4 << 20) + 1), "the bundle has more than 4,194,304 bytes"),
        (claimed_signer, b"[" * 100_001, "the bundle falls into more than 100,000 parts"),
        (claimed_signer, b"{}", "the bundle is malformed: verificationMaterial: Field required"),
        (lambda data: verify(data, KEY.public), b"[]", "the bundle is malformed: Input should be an object"),
    ],
)
def test_what_is_wrong_is_said(read: Callable[[bytes], object], data: bytes, text: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        read(data)
    assert caught.value.message == text


def test_a_key_on_another_curve_is_said_to_be_none_of_ours() -> None:
    pem = (
        ec.generate_private_key(ec.SECP384R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(IntegrityError, match=r"^this is not a P-256 public key$"):
        load_public(pem)


def told(error: GovernError) -> tuple[str, str | None, str | None]:
    return error.message, error.where, error.hint


def test_whose_signature_it_is_not_is_said_whole() -> None:
    other = throwaway_key().public
    bundle = sign(b"{}", KEY)
    where = f"key {other.fingerprint}"
    with pytest.raises(IntegrityError) as caught:
        verify(bundle, other)
    expected = f"the bundle was signed by another key, {KEY.public.fingerprint}"
    assert told(caught.value) == (expected, where, "Check with the signer's own public key.")
    with pytest.raises(IntegrityError) as caught:
        other.verify(KEY.sign(b"data"), b"data")
    assert told(caught.value) == (
        "the signature does not match the signed content and this key",
        where,
        "The content was changed after signing, or another key signed it.",
    )


@pytest.mark.parametrize("part", ["payload", "signature"])
@pytest.mark.parametrize(("spoil", "text"), [("*", "is not base64"), ("=", "is not base64 in its one canonical form")])
def test_which_part_is_not_base64_is_said(part: str, spoil: str, text: str) -> None:
    bundle = sign(b'{"a":1}', KEY)
    original = base64.b64encode(b'{"a":1}' if part == "payload" else twins(bundle)[0])
    changed = spoil.encode() + original[1:] if spoil == "*" else b"eyJhIjoxfR=="
    with pytest.raises(IntegrityError, match=f"^the bundle's {part} {text}$"):
        verify(bundle.replace(original, changed), KEY.public)


def test_a_private_key_of_another_kind_is_said_whole(tmp_path: Path) -> None:
    generate_log_key(tmp_path / "log.pem", PASSWORD)
    with pytest.raises(UsageError) as caught:
        load_key(tmp_path / "log.pem", PASSWORD)
    assert told(caught.value) == (
        "this is not a P-256 key",
        str(tmp_path / "log.pem"),
        "Make one with: govern keys generate",
    )
