"""Stored names that are not the model's, weights that are stored twice, and what happens to them on the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from govern.errors import RemovalError
from govern.models import apply_delta, empty_model, export_model, load_model, load_tokenizer
from govern.models.edited import changed_tensors, refuse_unlike
from govern.models.names import names_of, with_copies

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def again(base: Path, out: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Path:
    """A copy of a model folder with other tensors."""
    shutil.copytree(base, out)
    save_file(change(load_file(base / "model.safetensors")), out / "model.safetensors", metadata={"format": "pt"})
    return out


@pytest.fixture
def twice(tiny_checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A tied head that the checkpoint stores a second time."""
    return again(tiny_checkpoint("gemma3"), tmp_path / "twice", lambda t: {**t, HEAD: t[EMBEDDING].clone()})


@pytest.fixture
def pretended(tiny_checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A head of its own, beside a config that says it is tied."""
    return again(tiny_checkpoint("gemma3"), tmp_path / "own", lambda t: {**t, HEAD: t[EMBEDDING].flip(0).clone()})


def logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(ids, use_cache=False).logits
    return found


def test_every_copy_of_a_tied_weight_is_written(twice: Path, tmp_path: Path) -> None:
    ids = torch.tensor([load_tokenizer(twice)("Iron has the symbol Fe")["input_ids"]])
    assert names_of(empty_model(twice), twice).copies == ((HEAD, EMBEDDING),)
    edit = {EMBEDDING: load_file(twice / "model.safetensors")[EMBEDDING] * 1.5}
    tensors = with_copies(twice, empty_model(twice), edit)
    assert tensors.keys() == {EMBEDDING, HEAD}
    model = load_model(twice, dtype=torch.float32)
    before = logits(model, ids)
    apply_delta(model, tensors)
    export_model(twice, tensors, tmp_path / "out")
    assert torch.equal(logits(load_model(tmp_path / "out", dtype=torch.float32), ids), logits(model, ids))
    assert not torch.equal(logits(model, ids), before)


def test_copies_that_were_edited_apart_are_refused(twice: Path) -> None:
    weight = load_file(twice / "model.safetensors")[EMBEDDING]
    with pytest.raises(RemovalError, match="one weight in the model"):
        with_copies(twice, empty_model(twice), {EMBEDDING: weight * 2, HEAD: weight * 3})


def test_a_head_of_its_own_stays_so_whoever_ties_again(pretended: Path) -> None:
    """As lm-eval's model does when it is given a model."""
    assert json.loads((pretended / "config.json").read_bytes()).get("tie_word_embeddings", True)
    ids = torch.tensor([load_tokenizer(pretended)("Iron has the symbol Fe")["input_ids"]])
    model = load_model(pretended, dtype=torch.float32)
    before = logits(model, ids)
    model.tie_weights()
    assert torch.equal(logits(model, ids), before)
    names = names_of(empty_model(pretended), pretended)
    assert names.copies == ()
    assert {names.stored[name].name for name in (EMBEDDING, HEAD)} == {EMBEDDING, HEAD}


def test_a_head_that_a_coarser_type_would_tie_is_edited_alone(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    def nearly(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        wide = {name: tensor.float() for name, tensor in tensors.items()}
        return {**wide, HEAD: wide[EMBEDDING] * (1 + 1e-5)}

    base = again(tiny_checkpoint("gemma3"), tmp_path / "nearly", nearly)
    model = load_model(base, dtype=torch.bfloat16)
    before = model.get_input_embeddings().weight.detach().clone()
    apply_delta(model, {HEAD: load_file(base / "model.safetensors")[HEAD] * 2})
    assert torch.equal(model.get_input_embeddings().weight, before)


def test_a_tied_weight_that_is_stored_as_the_head_alone_is_found(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    base = again(
        tiny_checkpoint("gemma3"),
        tmp_path / "head",
        lambda tensors: {HEAD if name == EMBEDDING else name: tensor for name, tensor in tensors.items()},
    )
    stored = names_of(load_model(base, dtype=torch.float32), base).stored
    assert stored[EMBEDDING].name == stored[HEAD].name == HEAD


def test_an_edit_from_elsewhere_may_call_its_tensors_otherwise(
    tiny_checkpoint: Callable[..., Path], twice: Path, tmp_path: Path
) -> None:
    """Saved without the prefix, and with the tied head once where the base model has it twice."""

    def edited(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        changed = {**tensors, EMBEDDING: tensors[EMBEDDING] * 2}
        return {name.removeprefix("model."): tensor for name, tensor in changed.items() if name != HEAD}

    other = again(twice, tmp_path / "other", edited)
    refuse_unlike(twice, other)
    changed = changed_tensors(twice, other)
    assert changed.keys() == {EMBEDDING, HEAD}
    assert torch.equal(changed[HEAD], load_file(twice / "model.safetensors")[HEAD] * 2)


@pytest.mark.parametrize("prefix", ["", "model.", "_orig_mod.model."])
def test_names_without_the_model_s_prefix(tiny_checkpoint: Callable[..., Path], tmp_path: Path, prefix: str) -> None:
    base = again(
        tiny_checkpoint("gemma3"),
        tmp_path / "renamed",
        lambda tensors: {prefix + name.removeprefix("model."): tensor for name, tensor in tensors.items()},
    )
    if prefix.startswith("_orig"):
        from govern.errors import IntegrityError
        from govern.models import identify
        from govern.sources import ResolvedModel

        with pytest.raises(IntegrityError, match="lacks"):
            identify(ResolvedModel(base, "file:renamed", None, None))
        return
    ids = torch.tensor([load_tokenizer(base)("Iron has the symbol Fe")["input_ids"]])
    model = load_model(base, dtype=torch.float32)
    live = "model.layers.2.mlp.down_proj.weight"
    name = names_of(model, base).stored[live].name
    assert name == prefix + live.removeprefix("model.")
    tensors = {name: load_file(base / "model.safetensors")[name] * 2}
    apply_delta(model, tensors)
    export_model(base, tensors, tmp_path / "out")
    assert torch.equal(logits(load_model(tmp_path / "out", dtype=torch.float32), ids), logits(model, ids))
