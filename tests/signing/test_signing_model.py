"""Model signatures: what is signed comes back, nothing else is accepted, and OpenSSF's own library agrees."""

from __future__ import annotations

import json
from pathlib import Path

import model_signing
import pytest
from cryptography.exceptions import InvalidSignature
from hypothesis import given, settings
from hypothesis import strategies as st

from govern.digests import canonical_json, sha256_bytes, sha256_file
from govern.errors import IntegrityError
from govern.signing import PublicKey, sign, throwaway_key, verify
from govern.signing.model_signature import WHOLE, sign_model, verify_model

KEY = throwaway_key()
HINT = sha256_bytes(KEY.public.pem)
FILES = {"config.json": "0" * 64, "model.safetensors": "1" * 64, "sub/a.txt": "2" * 64}
SIGNATURE = sign_model("edited", FILES, KEY)

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(st.dictionaries(NAMES, DIGESTS, min_size=1, max_size=4))
def test_what_is_signed_comes_back(files: dict[str, str]) -> None:
    assert verify_model(sign_model("m", files, KEY), KEY.public) == files


def test_another_key_and_another_statement_are_refused() -> None:
    with pytest.raises(IntegrityError, match="another key"):
        verify_model(SIGNATURE, throwaway_key().public)
    payload = verify(SIGNATURE, KEY.public, hint=HINT)
    # A report's bundle names its key by the other digest: neither can stand in for the other.
    with pytest.raises(IntegrityError, match="another key"):
        verify_model(sign(payload, KEY), KEY.public)
    with pytest.raises(IntegrityError, match="another key"):
        verify(SIGNATURE, KEY.public)
    with pytest.raises(IntegrityError, match="not about a model"):
        verify_model(sign(payload.replace(b"signature/v1.0", b"signature/v2.0"), KEY, hint=HINT), KEY.public)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("resources", []),
        ("resources", [{"algorithm": "sha256", "digest": "0" * 64, "name": "a"}] * 2),
        ("resources", [{"algorithm": "blake3", "digest": "0" * 64, "name": "a"}]),
        ("resources", [{"algorithm": "sha256", "digest": "0" * 63, "name": "a"}]),
        ("serialization", {"method": "shards"}),
        ("serialization", None),
        ("more", 1),
    ],
)
def test_a_manifest_of_any_other_form_is_refused_though_it_is_signed(field: str, value: object) -> None:
    statement = json.loads(verify(SIGNATURE, KEY.public, hint=HINT))
    statement["predicate"][field] = value
    with pytest.raises(IntegrityError):
        verify_model(sign(canonical_json(statement), KEY, hint=HINT), KEY.public)


def test_the_digest_over_the_files_must_be_theirs() -> None:
    statement = verify(SIGNATURE, KEY.public, hint=HINT)
    changed = statement.replace(b"1" * 64, b"3" * 64)
    assert changed != statement
    with pytest.raises(IntegrityError, match="do not belong together"):
        verify_model(sign(changed, KEY, hint=HINT), KEY.public)


@settings(max_examples=300)
@given(st.data())
def test_no_mutated_signature_is_accepted(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(SIGNATURE) - 1))
    byte = bytes([SIGNATURE[place] ^ data.draw(st.integers(1, 255))])
    mutated = data.draw(
        st.sampled_from(
            [
                SIGNATURE[:place] + byte + SIGNATURE[place + 1 :],
                SIGNATURE[:place] + byte + SIGNATURE[place:],
                SIGNATURE[:place] + SIGNATURE[place + 1 :],
                SIGNATURE[:place],
            ]
        )
    )
    with pytest.raises(IntegrityError):
        verify_model(mutated, KEY.public)


class TestModelSigning:
    """OpenSSF's library accepts ours and rejects each tampered one; ours accepts what it signs about, hashed by it."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "edited"
        (folder / "sub").mkdir(parents=True)
        for name in ("config.json", "model.safetensors", "sub/a.txt", "sub.txt"):
            (folder / name).write_bytes(name.encode())
        (folder / "model.sig").write_bytes(sign_model("edited", self.files(folder), KEY))
        (tmp_path / "signer.pub").write_bytes(KEY.public.pem)
        return folder

    def files(self, folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): sha256_file(path)
            for path in folder.rglob("*")
            if path.is_file() and path.name != "model.sig"
        }

    def accepts(self, model: Path, signature: Path, public: PublicKey = KEY.public) -> bool:
        key = signature.with_name("checked-with.pub")
        key.write_bytes(public.pem)
        config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=key)
        try:
            config.verify(model, signature)
        except (ValueError, InvalidSignature):
            return False
        finally:
            key.unlink()
        return True

    def test_a_folder(self, folder: Path) -> None:
        signature = folder / "model.sig"
        # Outside of the folder, since the library counts every other file in it as the model's.
        outside = folder.parent / "model.sig"
        outside.write_bytes(signature.read_bytes())
        assert self.accepts(folder, outside)
        assert not self.accepts(folder, outside, throwaway_key().public)
        for name in ("config.json", "sub/a.txt"):
            original = (folder / name).read_bytes()
            (folder / name).write_bytes(b"changed")
            assert not self.accepts(folder, outside)
            (folder / name).unlink()
            assert not self.accepts(folder, outside)
            (folder / name).write_bytes(original)
        (folder / "more").write_bytes(b"")
        assert not self.accepts(folder, outside)
        (folder / "more").unlink()
        # The format's own digest does not bind names; its list of files does.
        first, second = (folder / "config.json").read_bytes(), (folder / "model.safetensors").read_bytes()
        (folder / "config.json").write_bytes(second)
        (folder / "model.safetensors").write_bytes(first)
        assert not self.accepts(folder, outside)
        (folder / "config.json").write_bytes(first)
        (folder / "model.safetensors").write_bytes(second)
        assert self.accepts(folder, outside)

    def test_one_file(self, folder: Path) -> None:
        delta, signature = folder.parent / "delta.safetensors", folder.parent / "delta.sig"
        delta.write_bytes(b"weights")
        signature.write_bytes(sign_model("delta.safetensors", {WHOLE: sha256_file(delta)}, KEY))
        assert self.accepts(delta, signature)
        delta.write_bytes(b"other weights")
        assert not self.accepts(delta, signature)

    def test_a_changed_signature(self, folder: Path) -> None:
        outside, original = folder.parent / "model.sig", (folder / "model.sig").read_bytes()
        bundle = json.loads(original)
        envelope = bundle["dsseEnvelope"]
        signature = envelope["signatures"][0]["sig"]
        for part in (
            {"payload": envelope["payload"][:-8] + "AAAAAAA="},
            {"payloadType": "text/plain"},
            {"signatures": [{"sig": signature[:20] + ("A" if signature[20] != "A" else "B") + signature[21:]}]},
        ):
            outside.write_bytes(canonical_json({**bundle, "dsseEnvelope": {**envelope, **part}}))
            assert not self.accepts(folder, outside)
            with pytest.raises(IntegrityError):
                verify_model(outside.read_bytes(), KEY.public)

    def test_it_lists_the_files_as_the_library_does(self, folder: Path) -> None:
        manifest = model_signing.hashing.Config().set_ignored_paths(paths=["model.sig"]).hash(folder)
        listed = {item.identifier: item.digest.digest_hex for item in manifest.resource_descriptors()}
        assert listed == self.files(folder)
        signed = json.loads(verify((folder / "model.sig").read_bytes(), KEY.public, hint=HINT))
        assert [entry["name"] for entry in signed["predicate"]["resources"]] == list(listed)
