"""A model's identity is its content."""

from __future__ import annotations

import json
import os
import shutil
import struct
from hashlib import sha256
from pathlib import Path

import pytest

from govern.errors import IntegrityError, SourceError
from govern.models import identify, load_model, load_tokenizer, model_digest
from govern.sources import ResolvedModel
from govern.sources.model_files import model_files


def test_the_digest_is_over_names_and_file_digests(tiny_llama) -> None:
    names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert model_files(tiny_llama) == tuple(names)
    assert model_digest(tiny_llama) == listed_digest(tiny_llama, names)


def test_a_digest_of_the_first_rule_holds_where_it_was_recorded(tiny_llama, tmp_path) -> None:
    """What it covered is pinned here: digests of before must hold for ever."""
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    first = listed_digest(copy, ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
    assert model_digest(copy) != first
    assert model_digest(copy, like=first) == first
    found = ResolvedModel(copy, "file:model", None, None)
    recorded = identify(found).model_copy(update={"digest": first, "files": None})
    assert identify(found, like=recorded) == recorded
    assert "files" not in recorded.to_json()
    # By the first rule, more than it covered may change; nothing that it covered may.
    (copy / "generation_config.json").write_text("{}")
    assert model_digest(copy, like=first) == first
    with (copy / "config.json").open("a") as stream:
        stream.write(" ")
    assert model_digest(copy, like=first) == model_digest(copy) != first


def test_a_digest_of_all_files_is_never_met_by_fewer(tiny_llama, tmp_path) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    whole = model_digest(copy)
    (copy / "generation_config.json").unlink()
    assert model_digest(copy, like=whole) != whole


def listed_digest(folder: Path, names: list[str]) -> str:
    """RFC 8785 of a list of ASCII strings has no spaces and needs no reordering."""
    listed = [[name, sha256((folder / name).read_bytes()).hexdigest()] for name in names]
    return sha256(json.dumps(listed, separators=(",", ":")).encode()).hexdigest()


def test_only_the_model_s_files_count(tiny_llama, tmp_path) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    (copy / "README.md").write_text("hello")
    (copy / "consolidated.safetensors").write_bytes(b"another copy")
    assert model_digest(copy) == model_digest(tiny_llama)


READ = (
    "config.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja", "vocab.json", "merges.txt",
    "additional_chat_templates/rag.jinja", "modeling_own.py", "layers/attention.py", "tokenizer.model",
    "tokenizer.model.v3", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_every_file_that_loading_reads_counts(tiny_llama, tmp_path, name) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    before = model_digest(copy)
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).touch()
    with (copy / name).open("a") as stream:
        stream.write(" ")
    assert model_digest(copy) != before


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


def test_loading_sees_the_listed_files_alone(tiny_checkpoint, tmp_path) -> None:
    """A tokenizer that would be read if transformers found it: nothing outside the list decides what a model is."""
    copy = shutil.copytree(tiny_checkpoint("llama"), tmp_path / "model")
    before = load_tokenizer(copy)("Iron")["input_ids"]
    (copy / "tokenizer.4.0.0.json").write_text("{}")
    (copy / "head.safetensors").write_bytes(b"no weights")
    (copy / "pytorch_model.bin").write_bytes(b"no pickle")
    assert load_tokenizer(copy)("Iron")["input_ids"] == before
    (copy / "tokenizer.json").rename(copy / "elsewhere.json")
    with pytest.raises(SourceError, match="cannot load it"):
        load_tokenizer(copy)


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "transformers_weights", "other.safetensors"),
        ("config.json", "configuration_files", ["config.4.0.0.json"]),
        ("config.json", "auto_map", {"AutoModelForCausalLM": "somebody/else--modeling.Model"}),
        ("config.json", "_attn_implementation", "somebody/kernel"),
        ("config.json", "text_config", {"transformers_weights": "other.safetensors"}),
        ("tokenizer_config.json", "fast_tokenizer_files", ["tokenizer.4.0.json"]),
        ("tokenizer_config.json", "tokenizer_file", "/elsewhere/tokenizer.json"),
        ("tokenizer_config.json", "auto_map", {"AutoTokenizer": ["somebody/else--tok.Tok", None]}),
        ("generation_config.json", "configuration_files", ["generation_config.4.json"]),
    ],
)
def test_what_leads_elsewhere_is_refused_by_name(tiny_llama, tmp_path, file, key, value) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    change(copy / file, **{key: value})
    innermost = "transformers_weights" if key == "text_config" else key
    for reads in (model_digest, load_tokenizer, lambda path: load_model(path, dtype=None)):
        with pytest.raises(SourceError, match=f"`{innermost}` makes loading read something else"):
            reads(copy)


def test_links_that_leave_the_folder_are_refused(tiny_llama, tmp_path) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors").symlink_to(tiny_llama / "model.safetensors")
    with pytest.raises(SourceError, match="a link that leaves"):
        model_digest(copy)
    # The hub's cache keeps files beside the snapshot.
    cache = tmp_path / "models--a--b"
    (cache / "snapshots").mkdir(parents=True)
    shutil.copytree(tiny_llama, cache / "blobs")
    (cache / "snapshots" / "abc").mkdir()
    for path in (cache / "blobs").iterdir():
        (cache / "snapshots" / "abc" / path.name).symlink_to(f"../../blobs/{path.name}")
    assert model_digest(cache / "snapshots" / "abc") == model_digest(tiny_llama)


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}))


def header(path: Path, fields: object, data: bytes = b"") -> None:
    written = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + data)


def parts(path: Path) -> tuple[dict[str, dict[str, object]], bytes]:
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


CONFIGS = [
    ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
    ({"num_hidden_layers": -1}, "num_hidden_layers"),
    ({"num_hidden_layers": 3}, None),  # a shorter model than is stored: what is not read cannot be wrong
    ({"num_hidden_layers": 5}, "lacks"),
    ({"num_hidden_layers": "two"}, "cannot load|num_hidden_layers"),
    ({"hidden_size": None}, "cannot load|hidden_size"),
    ({"hidden_size": 16}, "is stored as"),
    ({"vocab_size": 10**12}, "vocab_size"),
    ({"vocab_size": 500}, "is stored as"),
    ({"max_position_embeddings": 10**15}, "max_position_embeddings"),
    ({"num_attention_heads": 0}, "cannot load"),
    ({"rope_parameters": {"rope_type": "evil"}}, "cannot load"),
    ({"model_type": ["llama"]}, "model_type"),
    ({"model_type": "nobody-knows"}, "cannot load"),
    ({"hidden_act": "__import__('os')"}, "cannot load"),
    ({"x": [[]] * 2 + [[[[[]]]]]}, None),
    ({"eos_token_id": 10**60}, "eos_token_id"),
    ({"architectures": [5]}, "architectures"),
    ({"architectures": {"a": 1}}, "architectures"),
]


@pytest.mark.parametrize(("fields", "refused"), CONFIGS)
def test_a_config_that_describes_another_model_is_refused_by_its_field(tiny_llama, tmp_path, fields, refused) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    change(copy / "config.json", **fields)
    found = ResolvedModel(copy, "file:model", None, None)
    if refused is None:
        identify(found)
    else:
        with pytest.raises((SourceError, IntegrityError), match=refused):
            identify(found)


@pytest.mark.parametrize(
    "written",
    [
        b"[1, 2]", b"[" * 100_000, b"\0" * 1000, b"\xef\xbb\xbf{}", b'{"a": NaN}', b'{"a": "\\ud800"}',
        b'{"a": ' + b"9" * 5000 + b"}", b'{"model_type": "llama", "x": ' + b"[" * 900 + b"]" * 900 + b"}",
        '{"a": 1}'.encode("utf-16"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_json_that_is_none_is_refused_by_file(tiny_llama, tmp_path, file, written) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    (copy / file).write_bytes(written)
    with pytest.raises(SourceError) as refused:
        model_digest(copy)
    assert file in (refused.value.where or "")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "own.py"])
def test_a_pipe_is_refused_and_not_waited_for(tiny_llama, tmp_path, name) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    (copy / name).unlink(missing_ok=True)
    os.mkfifo(copy / name)
    with pytest.raises(SourceError, match="no regular file"):
        model_digest(copy)


NAME, SAME_SIZE = "model.norm.weight", "model.layers.0.input_layernorm.weight"


@pytest.mark.parametrize(
    "damage",
    [
        lambda fields: fields[NAME].update(shape=[10**9]),
        lambda fields: fields[NAME].update(shape=[-32]),
        lambda fields: fields[NAME].update(shape=["a"]),
        lambda fields: fields[NAME].update(shape="11"),
        lambda fields: fields[NAME].update(shape=[True] * 5),
        lambda fields: fields[NAME].update(dtype="EVIL"),
        lambda fields: fields[NAME].update(dtype=["BF16"]),
        lambda fields: fields[NAME].update(data_offsets=[0.0, 64.0]),
        lambda fields: fields[NAME].update(data_offsets=[0]),
        lambda fields: fields[NAME].update(data_offsets=fields[SAME_SIZE]["data_offsets"]),
        lambda fields: fields.pop(NAME),
        lambda fields: fields.update(__metadata__=[1]),
        lambda fields: fields.update(__metadata__={"a": 1}),
        lambda fields: fields.update(more=[]),
    ],
)
def test_a_header_that_does_not_fit_its_bytes_is_refused(tiny_llama, tmp_path, damage) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    fields, data = parts(copy / "model.safetensors")
    damage(fields)
    header(copy / "model.safetensors", fields, data)
    with pytest.raises(IntegrityError, match="header is damaged"):
        identify(ResolvedModel(copy, "file:model", None, None))


def test_a_name_that_stands_twice_is_refused(tiny_llama, tmp_path) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    one = b'"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
    header(copy / "model.safetensors", b"{" + one + b"," + one + b"}", b"1234")
    with pytest.raises(IntegrityError, match="header is damaged"):
        identify(ResolvedModel(copy, "file:model", None, None))


def test_a_tokenizer_of_a_larger_model_is_refused(tiny_llama, tmp_path) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    fields = json.loads((copy / "tokenizer.json").read_bytes())
    fields["model"]["vocab"]["beyond"] = 100_000
    (copy / "tokenizer.json").write_text(json.dumps(fields))
    with pytest.raises(SourceError, match="the id 100,000"):
        identify(ResolvedModel(copy, "file:model", None, None))


def test_a_tokenizer_that_cannot_cut_text_is_refused(tiny_llama, tmp_path) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    change(copy / "tokenizer_config.json", model_max_length="many")
    with pytest.raises(SourceError, match=r"model_max_length|cannot load"):
        load_tokenizer(copy)
    shutil.copyfile(tiny_llama / "tokenizer_config.json", copy / "tokenizer_config.json")
    endless = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    change(copy / "tokenizer.json", pre_tokenizer=endless)
    with pytest.raises(SourceError, match="cannot cut text"):
        load_tokenizer(copy)


def test_a_weight_that_is_no_number_is_named(tiny_llama, tmp_path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    for value in (float("nan"), float("inf"), -float("inf")):
        tensors = load_file(tiny_llama / "model.safetensors")
        tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = value
        save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(IntegrityError, match=r"model\.layers\.1\.mlp\.up_proj\.weight holds values"):
            load_model(copy, dtype=torch.float32)


CODE = """from transformers import LlamaConfig, LlamaForCausalLM

from .signs import SIGN


class OwnConfig(LlamaConfig):
    model_type = "own_llama"


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig

    def forward(self, *args, **kwargs):
        out = super().forward(*args, **kwargs)
        out.logits = out.logits * SIGN
        return out
"""


def test_a_model_s_own_code_is_part_of_it(tiny_llama, tmp_path) -> None:
    """What the code imports beside itself counts as well, and a change of it is loaded and seen in the digest."""
    import torch

    copy = shutil.copytree(tiny_llama, tmp_path / "model")
    own = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    change(copy / "config.json", model_type="own_llama", architectures=["OwnForCausalLM"], auto_map=own)
    (copy / "modeling_own.py").write_text(CODE)
    (copy / "signs.py").write_text("SIGN = 1.0\n")
    found = ResolvedModel(copy, "file:model", None, None)
    with pytest.raises(SourceError, match="code of its own"):
        identify(found)
    assert {"modeling_own.py", "signs.py"} <= set(identify(found, trust_remote_code=True).files or ())

    def says() -> torch.Tensor:
        model = load_model(copy, dtype=torch.float32, trust_remote_code=True)
        with torch.no_grad():
            return model(torch.tensor([[5, 6, 7]])).logits

    before, digest = says(), model_digest(copy)
    (copy / "signs.py").write_text("SIGN = -1.0\n")
    assert torch.equal(says(), -before)
    assert model_digest(copy) != digest
