"""Keys: encrypted with scrypt, closed to others, never overwritten, and readable by tools that are not ours."""

import base64
import hashlib
import os
import shutil
import stat
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from govern.errors import IntegrityError, UsageError
from govern.signing import generate_key, load_key, load_public, load_trusted, throwaway_key

PASSWORD = "correct horse ü".encode()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "signing.pem"
    return path, generate_key(path, PASSWORD)


def test_a_key_comes_back_whole(pair):
    path, public = pair
    key = load_key(path, PASSWORD)
    public.verify(key.sign(b"data"), b"data")
    assert key.public == public
    assert key.throwaway is False
    assert load_public(path.with_suffix(".pub").read_bytes()) == public


def test_the_fingerprint_is_over_the_der_public_key(pair):
    path, public = pair
    der = base64.b64decode(b"".join(path.with_suffix(".pub").read_bytes().splitlines()[1:-1]))
    assert public.fingerprint == hashlib.sha256(der).hexdigest()


def test_files_are_closed_and_open_as_they_should_be(pair):
    path, _ = pair
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.with_suffix(".pub").stat().st_mode) == 0o644
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["signing.pem", "signing.pub"]


def test_the_private_key_never_lies_in_the_clear(pair):
    path, _ = pair
    pem = path.read_bytes()
    assert pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    with pytest.raises(TypeError):
        serialization.load_pem_private_key(pem, None)


@pytest.mark.parametrize("existing", ["signing.pem", "signing.pub"])
def test_nothing_is_overwritten(tmp_path, existing):
    (tmp_path / existing).write_bytes(b"mine")
    with pytest.raises(UsageError, match="never overwritten"):
        generate_key(tmp_path / "signing.pem", PASSWORD)
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [(existing, b"mine")]


def test_empty_passwords_are_refused(tmp_path, pair):
    with pytest.raises(UsageError, match="empty"):
        generate_key(tmp_path / "signing.pem", b"")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="empty"):
        load_key(pair[0], b"")


def test_a_wrong_password_is_said_plainly(pair):
    with pytest.raises(UsageError, match="password is wrong"):
        load_key(pair[0], PASSWORD + b"!")


def test_a_damaged_key_is_said_plainly(pair, tmp_path):
    damaged = tmp_path / "signing.pem"
    damaged.write_bytes(pair[0].read_bytes()[:200])
    damaged.chmod(0o600)
    with pytest.raises(UsageError, match="damaged"):
        load_key(damaged, PASSWORD)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_key_open_to_others_is_refused(pair, tmp_path, mode):
    opened = shutil.copy(pair[0], tmp_path / "signing.pem")
    opened.chmod(mode)
    with pytest.raises(UsageError) as caught:
        load_key(opened, PASSWORD)
    assert "chmod 600" in caught.value.hint


def test_the_public_half_is_not_taken_for_a_careless_private_one(pair):
    with pytest.raises(UsageError, match="this is a public key") as caught:
        load_key(pair[0].with_suffix(".pub"), PASSWORD)
    assert "chmod" not in caught.value.hint


def test_a_missing_key_says_how_to_make_one(tmp_path):
    with pytest.raises(UsageError) as caught:
        load_key(tmp_path / "none.pem", PASSWORD)
    assert "govern keys generate" in caught.value.hint


def test_an_unencrypted_key_is_refused(tmp_path):
    path = tmp_path / "plain.pem"
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.chmod(0o600)
    with pytest.raises(UsageError, match="not an encrypted private key"):
        load_key(path, PASSWORD)


def test_another_curve_is_refused(tmp_path):
    path = tmp_path / "p384.pem"
    key = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSWORD),
        )
    )
    path.chmod(0o600)
    with pytest.raises(UsageError, match="P-256"):
        load_key(path, PASSWORD)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
def test_only_p256_public_keys_are_read(key):
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(IntegrityError, match="P-256"):
        load_public(pem)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_garbage_is_no_public_key(data):
    with pytest.raises(IntegrityError):
        load_public(data)


def test_a_throwaway_key_signs_and_is_marked():
    key = throwaway_key()
    key.public.verify(key.sign(b"x"), b"x")
    assert key.throwaway
    assert key.public.fingerprint != throwaway_key().public.fingerprint
    assert "PrivateKey" not in repr(key)


def test_pinned_keys_have_names(tmp_path):
    alice, bob = throwaway_key().public, throwaway_key().public
    (tmp_path / "alice.pub").write_bytes(alice.pem)
    (tmp_path / "bob.pub").write_bytes(bob.pem)
    (tmp_path / "notes.txt").write_text("not a key")
    trusted = load_trusted(tmp_path)
    assert (trusted.name_of(alice.fingerprint), trusted.name_of(bob.fingerprint)) == ("alice", "bob")
    assert trusted.key(alice.fingerprint) == alice
    assert trusted.name_of(KEY.fingerprint) is None
    assert load_trusted(tmp_path / "none").name_of(alice.fingerprint) is None


def test_one_key_under_two_names_is_refused(tmp_path):
    for name in ("alice", "bob"):
        (tmp_path / f"{name}.pub").write_bytes(KEY.pem)
    with pytest.raises(UsageError, match="alice too"):
        load_trusted(tmp_path)


def test_a_file_that_is_no_key_is_named(tmp_path):
    (tmp_path / "eve.pub").write_bytes(b"nonsense")
    with pytest.raises(UsageError, match=r"eve\.pub"):
        load_trusted(tmp_path)


KEY = throwaway_key().public


@pytest.mark.openssl
@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
class TestOpenssl:
    def test_reads_the_encrypted_key(self, pair):
        path, public = pair
        read = subprocess.run(
            ["openssl", "pkey", "-in", path, "-passin", "env:KEY", "-pubout"],
            env={**os.environb, b"KEY": PASSWORD},
            capture_output=True,
            check=True,
        )
        assert read.stdout == public.pem

    def test_refuses_a_wrong_password(self, pair):
        read = subprocess.run(
            ["openssl", "pkey", "-in", pair[0], "-passin", "pass:wrong", "-noout"], capture_output=True, check=False
        )
        assert read.returncode != 0

    def test_sees_scrypt(self, pair):
        parsed = subprocess.run(["openssl", "asn1parse", "-in", pair[0]], capture_output=True, check=True, text=True)
        assert ":scrypt" in parsed.stdout
        assert ":aes-256-cbc" in parsed.stdout
        assert "INTEGER           :4000" in parsed.stdout
