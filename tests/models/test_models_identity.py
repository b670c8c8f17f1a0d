"""A model's identity is its content."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256

import pytest

from govern.errors import IntegrityError, SourceError
from govern.models import identify, load_model, model_digest
from govern.sources import ResolvedModel


def test_the_digest_is_over_names_and_file_digests(tiny_llama) -> None:
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    listed = [[name, sha256((tiny_llama / name).read_bytes()).hexdigest()] for name in names]
    # RFC 8785 of a list of ASCII strings has no spaces and needs no reordering.
    assert model_digest(tiny_llama) == sha256(json.dumps(listed, separators=(",", ":")).encode()).hexdigest()


def test_only_the_model_s_files_count(tiny_llama, tmp_path) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    (copy / "README.md").write_text("hello")
    (copy / "generation_config.json").write_text("{}")
    (copy / "consolidated.safetensors").write_bytes(b"another copy")
    assert model_digest(copy) == model_digest(tiny_llama)
    with (copy / "tokenizer_config.json").open("a") as stream:
        stream.write(" ")
    assert model_digest(copy) != model_digest(tiny_llama)


def test_shards_and_index_count(tiny_checkpoint, tmp_path) -> None:
    sharded = tiny_checkpoint("llama", shards=True)
    copy = shutil.copytree(sharded, tmp_path / "model")
    assert model_digest(copy) == model_digest(sharded)
    shard = max(copy.glob("model-*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    assert model_digest(copy) != model_digest(sharded)
    shard.unlink()
    with pytest.raises(SourceError, match=f"{shard.name} is missing"):
        model_digest(copy)


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
@pytest.mark.parametrize("shards", [False, True])
def test_identity_is_read_from_config_and_headers(tiny_checkpoint, kind, shards) -> None:
    path = tiny_checkpoint(kind, shards=shards)
    identity = identify(ResolvedModel(path, "file:model", "abc", "MIT"))
    import torch

    model = load_model(path, dtype=torch.float32)
    assert identity.architecture == type(model).__name__
    assert (identity.layers, identity.hidden_size) == (4, 32)
    assert identity.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (identity.source, identity.revision, identity.licence, identity.remote_code) == (
        "file:model", "abc", "MIT", False,
    )  # fmt: skip


@pytest.mark.parametrize("damage", [b"", b"\xff" * 40, (5).to_bytes(8, "little") + b"[1,2]"])
def test_a_damaged_weight_file_is_an_integrity_error(tiny_llama, tmp_path, damage) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    (copy / "model.safetensors").write_bytes(damage)
    with pytest.raises(IntegrityError, match="damaged"):
        identify(ResolvedModel(copy, "file:model", None, None))
