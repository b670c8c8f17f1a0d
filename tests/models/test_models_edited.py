"""A model edited elsewhere against its base model: what counts as an edit, and what is refused in words."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from govern.errors import GovernError, IntegrityError, SourceError, UsageError
from govern.models.edited import changed_tensors, refuse_unlike
from govern.models.identity import identify
from govern.sources import resolve_model

CHANGED = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture
def edited(tiny_llama, tmp_path):
    """A copy of the tiny Llama, to be changed by `rewrite`."""
    shutil.copytree(tiny_llama, tmp_path / "edited")
    return tmp_path / "edited"


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_an_edit_is_the_tensors_that_differ(tiny_llama, edited):
    rewrite(edited, lambda tensors: tensors.update({CHANGED: tensors[CHANGED] + 1}))
    refuse_unlike(tiny_llama, edited)
    found = changed_tensors(tiny_llama, edited)
    assert list(found) == [CHANGED]
    assert found[CHANGED].dtype == torch.bfloat16
    assert torch.equal(found[CHANGED], load_file(edited / "model.safetensors")[CHANGED])


def test_how_tensors_are_spread_over_files_does_not_matter(tiny_checkpoint, edited):
    sharded = tiny_checkpoint("llama", shards=True)
    rewrite(edited, lambda tensors: tensors.update({CHANGED: tensors[CHANGED] * 2}))
    refuse_unlike(sharded, edited)
    assert list(changed_tensors(sharded, edited)) == [CHANGED]


def test_how_a_model_was_saved_and_a_missing_tokenizer_do_not_matter(tiny_llama, edited):
    config(edited, transformers_version="4.1", use_cache=False)
    for path in edited.glob("*token*"):
        path.unlink()
    refuse_unlike(tiny_llama, edited)


def test_an_unchanged_model_is_no_edit(tiny_llama, edited):
    with pytest.raises(UsageError, match="no tensor differs"):
        changed_tensors(tiny_llama, edited)


def test_a_nan_that_was_there_before_is_no_change(tiny_llama, edited, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(tiny_llama, base)
    broken = "model.layers.0.mlp.up_proj.weight"
    for folder in (base, edited):
        rewrite(folder, lambda tensors: tensors[broken].fill_(float("nan")))
    rewrite(edited, lambda tensors: tensors.update({CHANGED: tensors[CHANGED] + 1}))
    assert list(changed_tensors(base, edited)) == [CHANGED]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_edit_to_what_is_no_number_is_refused(tiny_llama, edited, value):
    rewrite(edited, lambda tensors: tensors[CHANGED].view(-1)[:1].fill_(value))
    with pytest.raises(IntegrityError, match="not finite"):
        changed_tensors(tiny_llama, edited)


def extra(folder):
    rewrite(folder, lambda tensors: tensors.update({"model.backdoor.weight": torch.zeros(2)}))


def missing(folder):
    rewrite(folder, lambda tensors: tensors.pop(CHANGED))


def another_dtype(folder):
    rewrite(folder, lambda tensors: tensors.update({name: value.float() for name, value in tensors.items()}))


def another_shape(folder):
    rewrite(folder, lambda tensors: tensors.update({CHANGED: tensors[CHANGED][:, :-1].contiguous()}))


def another_tokenizer(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"add_prefix_space":false', '"add_prefix_space":true'))
    rules = json.loads(path.read_text())
    rules["pre_tokenizer"]["add_prefix_space"] = True
    path.write_text(json.dumps(rules))


def pickles(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (extra, UsageError, "tensors that the base model does not have: 1, 'model.backdoor.weight'"),
        (missing, UsageError, f"only the base model has: 1, '{CHANGED}'"),
        (another_dtype, UsageError, r"is BF16 .* in the base model, F32"),
        (another_shape, UsageError, r"\[32, 64\] in the base model, BF16 \[32, 63\]"),
        (another_tokenizer, UsageError, "another tokenizer"),
        (lambda folder: config(folder, rope_theta=5.0, rms_norm_eps=0.1), UsageError, "another architecture: rms_norm"),
        (lambda folder: config(folder, num_hidden_layers=3), UsageError, "another architecture: .*num_hidden_layers"),
        (pickles, SourceError, "pickles"),
    ],
)
def test_what_is_no_edit_of_the_base_is_refused(tiny_llama, edited, spoil, kind, said):
    spoil(edited)
    with pytest.raises(kind, match=said) as caught:
        refuse_unlike(tiny_llama, resolve_model(f"file:{edited}", revision=None, base=edited).path)
    assert isinstance(caught.value, GovernError)
    assert caught.value.hint


def test_no_code_that_comes_with_it_runs(tiny_llama, edited):
    config(
        edited, model_type="unheard_of", auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    )
    (edited / "evil.py").write_text("raise RuntimeError('ran')\n")
    with pytest.raises(SourceError, match="code of its own"):
        identify(resolve_model(f"file:{edited}", revision=None, base=edited))
