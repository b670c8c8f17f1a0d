"""OpenSSF model signatures of any form: what its own library signs we read and check, and what we sign it does."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_signing
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from govern.digests import canonical_json, sha256_bytes, sha256_file
from govern.errors import GovernError, IntegrityError
from govern.signing import generate_key, load_key, sign, throwaway_key
from govern.signing.dsse import pae
from govern.signing.model_manifest import check_model, read_manifest
from govern.signing.model_signature import WHOLE, sign_model

PASSWORD = b"password"
IN_CI = int(os.environ.get("GOVERN_FUZZ_EXAMPLES", "10000")) // 5


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "signing.pem"
    generate_key(path, PASSWORD)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for name, size in (("config.json", 10), ("weights", 2500), ("sub/a.txt", 1000), ("empty", 0), ("sub.txt", 1)):
        (folder / name).write_bytes(name.encode() * 300 if size > 2000 else name.encode().ljust(size)[:size])
    return folder


def by_library(model: Path, key_file: Path, hashing: Any = None) -> bytes:
    """The signature that OpenSSF's own library makes of a model."""
    signature = model.parent / "model.sig"
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=key_file, password=PASSWORD)
    if hashing:
        config = config.set_hashing_config(hashing)
    config.sign(model, signature)
    return signature.read_bytes()


def hashing(**options: Any) -> Any:
    config = model_signing.hashing.Config().set_allow_symlinks(options.get("allow_symlinks", False))
    if "shard_size" in options:
        return config.use_shard_serialization(**options)
    return config.use_file_serialization(**options)


@pytest.mark.parametrize("options", [None, {}, {"shard_size": 1000}, {"shard_size": 7}, {"allow_symlinks": True}])
def test_what_the_library_signs_is_read_and_each_change_is_found(
    model: Path, key_file: Path, options: dict[str, Any] | None
) -> None:
    signature = by_library(model, key_file, None if options is None else hashing(**options))
    manifest = read_manifest(signature, load_key(key_file, PASSWORD).public)
    check_model(model, manifest)
    for name in ("config.json", "weights", "sub/a.txt"):
        original = (model / name).read_bytes()
        for changed in (original[:-1], original + b"x", b"x" + original[1:], b""):
            (model / name).write_bytes(changed)
            with pytest.raises(IntegrityError, match=r"changed|missing|not signed"):
                check_model(model, manifest)
        (model / name).unlink()
        with pytest.raises(IntegrityError, match="missing"):
            check_model(model, manifest)
        (model / name).write_bytes(original)
    (model / "more").write_bytes(b"more")
    with pytest.raises(IntegrityError, match="not signed"):
        check_model(model, manifest)
    (model / "more").unlink()
    check_model(model, manifest)


def test_one_file_is_a_model_too(model: Path, key_file: Path) -> None:
    key = load_key(key_file, PASSWORD)
    manifest = read_manifest(by_library(model / "weights", key_file), key.public)
    assert [resource.name for resource in manifest.resources] == [WHOLE]
    check_model(model / "weights", manifest)
    with pytest.raises(IntegrityError):
        check_model(model / "config.json", manifest)


def test_what_was_to_be_ignored_is_and_nothing_else(model: Path, key_file: Path) -> None:
    config = model_signing.hashing.Config().set_ignored_paths(paths=["sub", "config.json"], ignore_git_paths=False)
    manifest = read_manifest(by_library(model, key_file, config), load_key(key_file, PASSWORD).public)
    for name in ("sub/a.txt", "sub/new", "config.json"):
        (model / name).write_bytes(b"other")
    check_model(model, manifest)
    (model / "sub.txt").write_bytes(b"other")
    with pytest.raises(IntegrityError, match="changed"):
        check_model(model, manifest)


class TestLinks:
    def test_none_are_followed_where_none_were_allowed(self, model: Path, key_file: Path) -> None:
        manifest = read_manifest(by_library(model, key_file), load_key(key_file, PASSWORD).public)
        (model / "config.json").rename(model.parent / "config.json")
        for target in (model.parent / "config.json", model / "weights"):
            (model / "config.json").symlink_to(target)
            with pytest.raises(IntegrityError, match="symbolic link"):
                check_model(model, manifest)
            (model / "config.json").unlink()

    def test_where_they_were_they_stay_inside(self, model: Path, key_file: Path) -> None:
        (model / "link").symlink_to("weights")
        signature = by_library(model, key_file, hashing(allow_symlinks=True))
        manifest = read_manifest(signature, load_key(key_file, PASSWORD).public)
        check_model(model, manifest)
        shutil.copy(model / "weights", model.parent / "weights")
        (model / "link").unlink()
        for target in (model.parent / "weights", "nowhere", "link", "sub"):
            (model / "link").symlink_to(target)
            with pytest.raises(IntegrityError, match="symbolic link"):
                check_model(model, manifest)
            (model / "link").unlink()

    def test_what_is_no_file_is_refused(self, model: Path, key_file: Path) -> None:
        manifest = read_manifest(by_library(model, key_file), load_key(key_file, PASSWORD).public)
        os.mkfifo(model / "pipe")
        with pytest.raises(IntegrityError, match="not a file"):
            check_model(model, manifest)


KEY = throwaway_key()
HINT = sha256_bytes(KEY.public.pem)
DIGEST = "ab" * 32


def statement(**changes: Any) -> dict[str, Any]:
    resources = changes.pop("resources", [{"name": "a", "algorithm": "sha256", "digest": DIGEST}])
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False} | changes.pop(
        "serialization", {}
    )
    root = sha256_bytes(b"".join(bytes.fromhex(resource["digest"]) for resource in resources))
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": serialization, "resources": resources},
        **changes,
    }


def named(*names: str) -> list[dict[str, str]]:
    kind = "sha256-sharded-10" if ":" in names[0] and names != ("a:b",) else "sha256"
    return [{"name": name, "algorithm": kind, "digest": DIGEST} for name in names]


SHARDS = {"method": "shards", "shard_size": 10}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"more": 1},
        {"resources": named("b", "a", "sub/a")},
        {"resources": named("a:b"), "serialization": {"more": 1}},
        {"resources": named("a:0:10", "a:10:20", "a:20:21", "b:0:3"), "serialization": SHARDS},
        {"resources": named("a:1:0:10"), "serialization": {**SHARDS, "shard_size": 10.0}},
        {"serialization": {"ignore_paths": ["sub", ".git"]}},
    ],
)
def test_sound_statements_of_any_signer_are_read(changes: dict[str, Any]) -> None:
    data = json.dumps(statement(**changes), indent=1).encode()
    assert read_manifest(sign(data, KEY, hint=HINT), KEY.public).resources


@pytest.mark.parametrize(
    "changes",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"predicateType": "https://model_signing/Digests/v0.1"},
        {"predicateType": "https://model_signing/signature/v2.0"},
        {"subject": []},
        {"subject": [{"name": "m", "digest": {"sha256": DIGEST}}]},
        {"subject": [{"name": "m", "digest": {"sha256": sha256_bytes(bytes.fromhex(DIGEST))}}] * 2},
        {"subject": [{"name": "m", "digest": {"sha512": DIGEST}}]},
        {"predicate": []},
        {"resources": []},
        {"resources": named("a", "a")},
        {"resources": named("/a")},
        {"resources": named("//a")},
        {"resources": named("../a")},
        {"resources": named("a/../b")},
        {"resources": named("a//b")},
        {"resources": named("./a")},
        {"resources": named("a/")},
        {"resources": named("")},
        {"resources": named("a\0b")},
        {"resources": named(".", "a")},
        {"resources": [{"name": "a", "algorithm": "blake3", "digest": DIGEST}]},
        {"resources": [{"name": "a", "algorithm": "sha256", "digest": DIGEST[2:]}]},
        {"resources": [{"name": "a", "algorithm": "sha256", "digest": DIGEST.upper()}]},
        {"serialization": {"method": "bytes"}},
        {"serialization": {"hash_type": "blake2b"}},
        {"serialization": {"allow_symlinks": "false"}},
        {"serialization": {"allow_symlinks": 1}},
        {"serialization": {"shard_size": 10}},
        {"serialization": {"ignore_paths": [""]}},
        {"serialization": {"ignore_paths": ["."]}},
        {"serialization": {"ignore_paths": ["../a"]}},
        {"serialization": {"ignore_paths": ["/a"]}},
        {"serialization": {"method": "shards"}, "resources": named("a:0:10")},
        {"serialization": {**SHARDS, "shard_size": 0}, "resources": named("a:0:10")},
        {"serialization": {**SHARDS, "shard_size": -1}, "resources": named("a:0:10")},
        {"serialization": SHARDS, "resources": named("a")},
        {"serialization": {**SHARDS, "shard_size": 11}, "resources": named("a:0:10")},
        {"serialization": SHARDS, "resources": named("a:0:0")},
        {"serialization": SHARDS, "resources": named("a:0:11")},
        {"serialization": SHARDS, "resources": named("a:10:20")},
        {"serialization": SHARDS, "resources": named("a:0:5", "a:5:10")},
        {"serialization": SHARDS, "resources": named("a:0:10", "a:20:30")},
        {"serialization": SHARDS, "resources": named("a:10:20", "a:0:10")},
        {"serialization": SHARDS, "resources": named("a:00:10")},
        {"serialization": SHARDS, "resources": named("a:-1:9")},
        {"serialization": SHARDS, "resources": named("../a:0:10")},
        {"serialization": SHARDS, "resources": named("a:0:1" + "0" * 5000)},
    ],
)
def test_unsound_statements_are_refused_though_they_are_signed(changes: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        read_manifest(sign(json.dumps(statement(**changes)).encode(), KEY, hint=HINT), KEY.public)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"NaN",
        b"[" * 50_000,
        b'{"a":' * 20_000,
        json.dumps(statement()).replace('"predicate":', '"predicate":{},"predicate":').encode(),
        json.dumps(statement()).replace('"name": "a"', '"name": "a", "name": "b"').encode(),
        json.dumps(statement(more=1)).replace('"more": 1', '"more": Infinity').encode(),
        json.dumps(statement()).encode("utf-16"),
        json.dumps(statement()).encode() + b" x",
    ],
)
def test_what_is_not_one_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="malformed"):
        read_manifest(sign(data, KEY, hint=HINT), KEY.public)
    with pytest.raises(IntegrityError):
        read_manifest(data, KEY.public)


@pytest.mark.parametrize(
    "change",
    [
        lambda bundle: bundle | {"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1"},
        lambda bundle: bundle | {"verificationMaterial": {"certificate": {"rawBytes": "AAAA"}}},
        lambda bundle: bundle | {"verificationMaterial": {"publicKey": {"hint": ""}}},
        lambda bundle: bundle | {"verificationMaterial": {"publicKey": {"hint": DIGEST}}},
        lambda bundle: bundle | {"dsseEnvelope": bundle["dsseEnvelope"] | {"payloadType": "text/plain"}},
        lambda bundle: bundle | {"dsseEnvelope": bundle["dsseEnvelope"] | {"signatures": []}},
        lambda bundle: (
            bundle | {"dsseEnvelope": bundle["dsseEnvelope"] | {"signatures": bundle["dsseEnvelope"]["signatures"] * 2}}
        ),
        lambda bundle: bundle | {"dsseEnvelope": bundle["dsseEnvelope"] | {"payload": "e30="}},
        lambda bundle: bundle | {"messageSignature": bundle["dsseEnvelope"], "dsseEnvelope": None},
    ],
)
def test_bundles_of_another_kind_are_refused(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    bundle = json.loads(sign(json.dumps(statement()).encode(), KEY, hint=HINT))
    assert read_manifest(json.dumps(bundle).encode(), KEY.public)
    with pytest.raises(IntegrityError):
        read_manifest(json.dumps(change(bundle)).encode(), KEY.public)


def test_the_old_library_s_other_bytes_under_a_signature_are_refused() -> None:
    """Before 1.0, the library signed the payload's representation in Python; it still takes such signatures."""
    payload = json.dumps(statement()).encode()
    bundle = json.loads(sign(payload, KEY, hint=HINT))
    odd = pae("application/vnd.in-toto+json", str(payload).encode())
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(KEY.sign(odd)).decode()
    with pytest.raises(IntegrityError, match="signature does not match"):
        read_manifest(json.dumps(bundle).encode(), KEY.public)


def test_ours_is_one_of_them(model: Path) -> None:
    files = {path.relative_to(model).as_posix(): sha256_file(path) for path in model.rglob("*") if path.is_file()}
    check_model(model, read_manifest(sign_model("model", files, KEY), KEY.public))


# Signed once: a signature's length differs from one to the next, and with it the places that there are to change.
ORIGINAL = sign(canonical_json(statement()), KEY, hint=HINT)


def hold(data: st.DataObject) -> None:
    """Nobody's bytes but the signer's are believed, and none make it fall over."""
    original = ORIGINAL
    place = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(place, min(len(original), place + 20)))
    mutated = original[:place] + data.draw(st.binary(max_size=8)) + original[end:]
    try:
        found = read_manifest(mutated, KEY.public)
    except GovernError:
        return
    assert found == read_manifest(original, KEY.public)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_changed_bundle_says_something_else(data: st.DataObject) -> None:
    hold(data)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=IN_CI, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_changed_bundle_says_something_else_at_length(data: st.DataObject) -> None:
    hold(data)
