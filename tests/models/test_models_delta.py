"""Deltas and exports: bound to their base, the same bytes for the same content, nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from govern.errors import IntegrityError, UsageError
from govern.models import (
    apply_delta,
    edited_digest,
    export,
    export_model,
    load_model,
    load_tokenizer,
    model_digest,
    read_delta,
    read_tensors,
    write_delta,
)
from govern.models.export import edited_tensors
from govern.models.reloading import ROUNDING, refuse_other_model

NAMES = [f"model.layers.{layer}.mlp.down_proj.weight" for layer in (0, 2)]
BASE = "b" * 64


@pytest.fixture
def edit(tiny_llama) -> dict[str, torch.Tensor]:
    return {name: tensor * 2 for name, tensor in read_tensors(tiny_llama, NAMES).items()}


def test_a_delta_comes_back_as_it_was(edit, tmp_path) -> None:
    path = tmp_path / "delta.safetensors"
    sha256 = write_delta(path, edit, base_digest=BASE)
    read = read_delta(path, sha256=sha256, base_digest=BASE)
    assert read.keys() == edit.keys()
    assert all(torch.equal(read[name], edit[name]) and read[name].dtype == torch.bfloat16 for name in edit)
    assert [file.name for file in tmp_path.iterdir()] == ["delta.safetensors"]


def test_the_same_delta_has_the_same_bytes_in_any_order_and_process(edit, tmp_path) -> None:
    first = write_delta(tmp_path / "a", edit, base_digest=BASE)
    assert write_delta(tmp_path / "b", dict(reversed(edit.items())), base_digest=BASE) == first
    script = (
        "import sys; from pathlib import Path; from safetensors.torch import load_file; from govern.models import *;"
        "print(write_delta(Path(sys.argv[2]), load_file(sys.argv[1]), base_digest='b' * 64))"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "a"), str(tmp_path / "c")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == first


@pytest.mark.parametrize("place", [9, 60, -1])
def test_one_changed_byte_is_found(edit, tmp_path, place) -> None:
    path = tmp_path / "delta.safetensors"
    sha256 = write_delta(path, edit, base_digest=BASE)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="the delta changed"):
        read_delta(path, sha256=sha256, base_digest=BASE)


def test_a_delta_is_bound_to_its_base(edit, tmp_path) -> None:
    path = tmp_path / "delta.safetensors"
    sha256 = write_delta(path, edit, base_digest=BASE)
    with pytest.raises(IntegrityError, match="a" * 64):
        read_delta(path, sha256=sha256, base_digest="a" * 64)
    path.unlink()
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_delta(path, sha256=sha256, base_digest=BASE)


def test_applying_a_delta_changes_those_tensors_alone(tiny_llama, edit) -> None:
    model, before = load_model(tiny_llama, dtype=torch.float32), load_model(tiny_llama, dtype=torch.float32)
    apply_delta(model, edit)
    old = dict(before.named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, edit[name].float() if name in edit else old[name])


def test_a_delta_of_another_model_changes_nothing(tiny_llama, edit) -> None:
    model, before = load_model(tiny_llama, dtype=torch.float32), load_model(tiny_llama, dtype=torch.float32)
    with pytest.raises(IntegrityError, match="no parameter 'elsewhere'"):
        apply_delta(model, {**edit, "elsewhere": torch.zeros(1)})
    with pytest.raises(IntegrityError, match=r"\[32\] in the model, \[1\] in the removal"):
        apply_delta(model, {**edit, "model.norm.weight": torch.zeros(1)})
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_an_exported_model_is_the_edited_model(tiny_checkpoint, tmp_path, kind, shards) -> None:
    base = tiny_checkpoint(kind, shards=shards)
    edit = {name: tensor * 2 for name, tensor in read_tensors(base, NAMES).items()}
    out = tmp_path / "deep" / "out"
    digest = export_model(base, edit, out)
    assert digest == edited_digest(base, edit) == model_digest(out) != model_digest(base)
    assert [file.name for file in out.parent.iterdir()] == ["out"]

    model = load_model(base, dtype=torch.float32)
    apply_delta(model, edit)
    ids = torch.tensor([load_tokenizer(out)("The quick brown fox")["input_ids"]])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, load_model(out, dtype=torch.float32)(ids).logits)

    for file in base.glob("*.safetensors"):
        old, new = load_file(file), load_file(out / file.name)
        assert old.keys() == new.keys()
        assert all(torch.equal(new[name], edit.get(name, old[name])) for name in old)
        with safe_open(file, "pt") as a, safe_open(out / file.name, "pt") as b:
            assert a.metadata() == b.metadata()


def test_an_empty_edit_exports_the_base_bit_for_bit(tiny_llama, tmp_path) -> None:
    assert export_model(tiny_llama, {}, tmp_path / "out") == model_digest(tiny_llama) == edited_digest(tiny_llama, {})


def test_other_weights_stay_behind(tiny_llama, edit, tmp_path) -> None:
    base = shutil.copytree(tiny_llama, tmp_path / "base")
    for name in ("consolidated.safetensors", "pytorch_model.bin", "README.md"):
        (base / name).write_text("the unedited weights")
    (base / "LICENSE").write_text("terms")
    export_model(base, edit, tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "LICENSE", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip


def test_export_overwrites_nothing(tiny_llama, edit, tmp_path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="not empty"):
        export_model(tiny_llama, edit, tmp_path / "full")
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    export_model(tiny_llama, edit, tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("elsewhere", torch.zeros(1), "no tensor 'elsewhere'"),
        (NAMES[0], torch.zeros(32, 64), r"bfloat16 \[32, 64\] in the model, float32"),
        (NAMES[0], torch.zeros(2, 2, dtype=torch.bfloat16), r"\[2, 2\] in the removal"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused_and_leaves_nothing(tiny_llama, tmp_path, name, tensor, message) -> None:
    with pytest.raises(IntegrityError, match=message):
        export_model(tiny_llama, {name: tensor}, tmp_path / "out")
    with pytest.raises(IntegrityError, match=message):
        edited_digest(tiny_llama, {name: tensor})
    assert not list(tmp_path.iterdir())


class TestAnEditIsItsTensors:
    def test_no_other_bytes_change(self, tiny_llama, edit) -> None:
        assert edited_tensors(tiny_llama, edit) == set(NAMES)
        same = {**edit, NAMES[0]: read_tensors(tiny_llama, NAMES)[NAMES[0]]}
        assert edited_tensors(tiny_llama, same) == {NAMES[1]}

    def test_bytes_beside_them_are_found(self, tiny_llama, edit, monkeypatch) -> None:
        """Planted: every block of the copied bytes loses a bit."""
        copy = export._copy
        monkeypatch.setattr(
            export, "_copy", lambda *given: (bytes([block[0] ^ 1]) + block[1:] for block in copy(*given))
        )
        with pytest.raises(IntegrityError, match="belong to none of its tensors"):
            edited_tensors(tiny_llama, edit)


class TestAWrittenFolder:
    @pytest.mark.fresh_process
    def test_it_is_loaded_afresh_and_asked(self, tiny_llama, edit, tmp_path) -> None:
        export_model(tiny_llama, edit, tmp_path / "out")
        assert refuse_other_model(tmp_path / "out", tiny_llama, edit) <= ROUNDING

    @pytest.mark.fresh_process
    def test_one_that_cannot_be_loaded_is_refused(self, tiny_llama, edit, tmp_path) -> None:
        export_model(tiny_llama, edit, tmp_path / "out")
        (tmp_path / "out" / "config.json").unlink()
        with pytest.raises(IntegrityError, match="cannot load"):
            refuse_other_model(tmp_path / "out", tiny_llama, edit)

    @pytest.mark.parametrize("fault", ["base", "template"])
    def test_another_one_is_refused(self, tiny_llama, edit, tmp_path, fault) -> None:
        export_model(tiny_llama, {} if fault == "base" else edit, tmp_path / "out")
        if fault == "template":
            path = tmp_path / "out" / "tokenizer.json"
            fields = json.loads(path.read_bytes())
            fields["post_processor"] = None
            path.write_text(json.dumps(fields))
        said = {"base": "logits differ", "template": "other tokens"}[fault]
        with pytest.raises(IntegrityError, match=said):
            refuse_other_model(tmp_path / "out", tiny_llama, edit)
