"""Loading whole models and their first layers."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from govern.errors import IntegrityError, SourceError
from govern.models import SPREAD, load_model, load_tokenizer, read_tensors
from govern.models.loading import refuse_offloaded

KINDS = ("llama", "mistral", "qwen2", "gemma2", "gemma3")


def hidden_states(model, ids):
    with torch.no_grad():
        return model(ids, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_layers_compute_what_they_compute_in_the_whole_model(tiny_checkpoint, kind, shards) -> None:
    path = tiny_checkpoint(kind, shards=shards)
    ids = torch.tensor([load_tokenizer(path)("The capital of France is Paris.")["input_ids"]])
    whole = load_model(path, dtype=torch.float32)
    part = load_model(path, dtype=torch.float32, layers=2)
    assert len(part.model.layers) == part.config.num_hidden_layers == 2
    assert len(getattr(part.config, "layer_types", None) or [0, 0]) == 2  # key-value caches are built from it
    assert {name for name, _ in part.named_parameters()} < {name for name, _ in whole.named_parameters()}
    # The last entry has the final norm applied, so the block before it is the one to compare.
    torch.testing.assert_close(hidden_states(part, ids)[1], hidden_states(whole, ids)[1], rtol=0, atol=0)
    outputs = []
    for model in (part, whole):
        model.model.layers[1].register_forward_hook(lambda _m, _a, output: outputs.append(output))
        hidden_states(model, ids)
    first, second = (output[0] if isinstance(output, tuple) else output for output in outputs)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_loading_says_nothing(tiny_llama, capfd) -> None:
    load_model(tiny_llama, dtype=torch.bfloat16, layers=1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("layers", [0, 5])
def test_layers_out_of_range_are_refused(tiny_llama, layers) -> None:
    with pytest.raises(SourceError, match="has 4 layers"):
        load_model(tiny_llama, dtype=torch.float32, layers=layers)


def test_dtype_and_mode_are_as_asked(tiny_llama) -> None:
    model = load_model(tiny_llama, dtype=torch.float32)
    assert model.dtype == torch.float32
    assert not model.training


def test_a_checkpoint_without_some_weights_is_refused(tiny_llama, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(tiny_llama, tmp_path / "model")
    tensors = load_file(broken / "model.safetensors")
    del tensors["model.layers.2.mlp.down_proj.weight"]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IntegrityError, match=r"lacks 1 weights, model\.layers\.2\.mlp\.down_proj\.weight"):
        load_model(broken, dtype=torch.float32)
    load_model(broken, dtype=torch.float32, layers=2)


def test_a_model_with_code_of_its_own_does_not_run_it(tiny_llama, tmp_path) -> None:
    own = shutil.copytree(tiny_llama, tmp_path / "model")
    config = json.loads((own / "config.json").read_text())
    config["model_type"] = "homemade"
    config["auto_map"] = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    (own / "config.json").write_text(json.dumps(config))
    (own / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    with pytest.raises(SourceError, match="code of its own"):
        load_model(own, dtype=torch.float32)
    assert not (tmp_path / "ran").exists()


def test_an_unknown_kind_of_model_is_named(tiny_llama, tmp_path) -> None:
    own = shutil.copytree(tiny_llama, tmp_path / "model")
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps({**config, "model_type": "unheard-of"}))
    with pytest.raises(SourceError, match="unheard-of"):
        load_model(own, dtype=torch.float32)


def test_a_folder_without_a_tokenizer_is_refused(tiny_llama, tmp_path) -> None:
    own = shutil.copytree(tiny_llama, tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(SourceError):
        load_tokenizer(own)


def test_single_tensors_are_read_by_checkpoint_name(tiny_checkpoint) -> None:
    path = tiny_checkpoint("llama", shards=True)
    names = ["model.layers.0.mlp.down_proj.weight", "lm_head.weight"]
    tensors = read_tensors(path, names)
    whole = dict(load_model(path, dtype=torch.bfloat16).named_parameters())
    assert set(tensors) == set(names)
    assert all(torch.equal(tensors[name], whole[name]) for name in names)
    with pytest.raises(IntegrityError, match=r"no tensor 'model\.layers\.9"):
        read_tensors(path, ["model.layers.9.mlp.down_proj.weight"])


@pytest.mark.model
def test_smollm2_knows_a_capital(smollm2) -> None:
    model, tokenizer = load_model(smollm2, dtype=torch.float32), load_tokenizer(smollm2)
    ids = torch.tensor([tokenizer("The capital of France is")["input_ids"]])
    with torch.no_grad():
        best = model(ids).logits[0, -1].argmax()
    assert tokenizer.decode(best) == " Paris"
    assert tokenizer.chat_template


class Counting:
    """safetensors' reader, noting which tensors are read: it maps files into memory, so no system call tells."""

    def __init__(self, opened, read):
        self._opened, self._read = opened, read

    def __getattr__(self, name):
        return getattr(self._opened, name)

    def get_slice(self, name):
        return CountingSlice(self._opened.get_slice(name), name, self._read)


class CountingSlice:
    def __init__(self, found, name, read):
        self._found, self._name, self._log = found, name, read

    def __getattr__(self, name):
        return getattr(self._found, name)

    def __getitem__(self, index):
        tensor = self._found[index]
        self._log[self._name] = tensor.nbytes
        return tensor


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_tensors_of_the_first_layers_are_read_from_shards(tiny_checkpoint, kind, monkeypatch) -> None:
    from transformers import modeling_utils

    path = tiny_checkpoint(kind, shards=True)
    read: dict[str, int] = {}
    opened = modeling_utils.safe_open
    monkeypatch.setattr(modeling_utils, "safe_open", lambda *a, **k: Counting(opened(*a, **k), read))
    model = load_model(path, dtype=torch.bfloat16, layers=2)
    wanted = dict(model.named_parameters())
    assert read.keys() == wanted.keys()
    assert {name.split(".")[2] for name in read if ".layers." in name} == {"0", "1"}
    assert sum(read.values()) == sum(parameter.nbytes for parameter in wanted.values())
    stored = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    assert sum(read.values()) < 0.75 * stored


def test_a_model_on_all_devices_there_are_is_the_same_model(tiny_llama):
    whole, spread = (load_model(tiny_llama, dtype=torch.float32, device=device) for device in ("cpu", SPREAD))
    ids = torch.tensor([[1, 5, 9, 30]])
    with torch.no_grad():
        assert torch.equal(whole(ids).logits, spread(ids).logits)


def test_weights_that_have_no_place_in_memory_are_refused(tiny_llama):
    model = load_model(tiny_llama, dtype=torch.float32)
    refuse_offloaded(model, tiny_llama)
    model.lm_head.to("meta")
    with pytest.raises(SourceError, match="does not fit into the memory"):
        refuse_offloaded(model, tiny_llama)
