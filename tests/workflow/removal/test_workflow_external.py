"""A model that was edited elsewhere: verified, reported, exported and read again as any other."""

import json
import re
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tiny_policy import TinyPolicy
from typer.testing import CliRunner

import govern
from govern.cli import app
from govern.errors import IntegrityError, PolicyError, PolicyErrors
from govern.models import model_digest
from govern.workflow.people.keys import log_key_path, make_log_key
from govern.workflow.publication.evidence import pack
from govern.workflow.removal.reproduce import reproduce, reproduce_pack
from govern.workspace import Workspace

CHANGED = "model.layers.1.mlp.down_proj.weight"


def edit(folder: Path, factor: float = -1.0) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors[CHANGED] = tensors[CHANGED] * factor
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture
def external(tiny_policy: TinyPolicy, tiny_llama: Path) -> TinyPolicy:
    """The tiny policy over a model that somebody else edited, which lies beside it."""
    edited = tiny_policy.path.parent / "edited"
    shutil.copytree(tiny_llama, edited)
    edit(edited)
    text = tiny_policy.path.read_text()
    removal = 'removal:\n  method: external\n  model: {source: "file:edited"}\n'
    tiny_policy.path.write_text(re.sub(r"removal:\n(  .*\n)+", removal, text))
    return tiny_policy


def test_the_whole_story_of_a_removal_made_elsewhere(external: TinyPolicy, tmp_path: Path):
    edited = external.path.parent / "edited"
    applied = govern.apply(external.path, workspace=external.workspace)
    assert applied.plan.edited.digest == model_digest(edited)
    assert applied.plan.model.digest != applied.plan.edited.digest
    assert [tensor.name for tensor in applied.removal.tensors] == [CHANGED]
    assert applied.removal.method == "external"
    assert applied.removal.tensors[0].relative_change == pytest.approx(2.0)

    # What was registered stands for itself: verifying needs the edited folder no more.
    edited.rename(tmp_path / "elsewhere")
    verified = govern.verify(workspace=external.workspace)
    report = verified.issued.path.read_text()
    assert applied.plan.edited.digest in report
    assert "Made elsewhere" in report

    runner = CliRunner()
    out = tmp_path / "model"
    done = runner.invoke(app, ["export", "latest", str(out), "--workspace", str(external.workspace)])
    assert done.exit_code == 0, done.output
    # The base model's files hold the edited tensors: here that is the edited folder itself, but for its header.
    exported = load_file(out / "model.safetensors")
    assert all(
        (exported[name] == tensor).all() for name, tensor in load_file(tmp_path / "elsewhere/model.safetensors").items()
    )

    key = make_log_key(external.workspace, log_key_path(external.workspace), b"password")
    packed = pack(None, tmp_path / "pack", workspace=external.workspace, log_key=key).path
    found = reproduce_pack(
        packed, edited=tmp_path / "elsewhere", texts=external.path.parent, inputs=applied.run.root / "inputs"
    )
    assert (found.result, found.method) == ("equal", "external")

    (tmp_path / "elsewhere").rename(edited)
    done = runner.invoke(app, ["reproduce", "--workspace", str(external.workspace)])
    assert done.exit_code == 0
    assert "read again, and nothing was re-derived" in " ".join(done.output.split())
    edit(edited, 3.0)
    with pytest.raises(IntegrityError, match="not the edited model of the plan"):
        reproduce(None, workspace=external.workspace)


def test_a_plan_names_both_models_and_warns(external: TinyPolicy):
    done = CliRunner().invoke(app, ["plan", str(external.path), "--json"])
    plan = json.loads(done.stdout)["plan"]
    assert plan["edited"]["digest"] == model_digest(external.path.parent / "edited")
    assert plan["edited"]["source"] == "file:edited"
    assert plan["parameters"] == {"method": "external", "model": {"source": "file:edited", "revision": None}}
    assert any("made elsewhere" in warning for warning in plan["warnings"])


def test_a_model_that_is_no_edit_is_refused_at_its_place_in_the_policy(external: TinyPolicy):
    config = external.path.parent / "edited/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "rms_norm_eps": 0.5}))
    with pytest.raises(PolicyError, match="another architecture") as caught:
        govern.plan(govern.load_policy(external.path))
    assert re.fullmatch(r".*tiny\.yaml:\d+:\d+", caught.value.where)


def test_a_broken_edit_fails_before_anything_is_registered(external: TinyPolicy):
    edit(external.path.parent / "edited", float("nan"))
    with pytest.raises(IntegrityError, match="not finite"):
        govern.apply(external.path, workspace=external.workspace)
    (run,) = Workspace.open(external.workspace).runs()
    assert not run.path("delta.safetensors").exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("self:", "self: is text, not a model"),
        ("edited", "names no source"),
        ("{base}", "this is the base model itself"),
    ],
)
def test_what_cannot_be_an_edited_model_is_said_in_the_policy(external: TinyPolicy, tiny_llama: Path, source, said):
    external.replace("file:edited", source.format(base=f"file:{tiny_llama}"))
    with pytest.raises(PolicyErrors, match=said):
        govern.load_policy(external.path)


def test_there_is_nothing_to_sweep_and_no_code_to_run(external: TinyPolicy):
    external.replace("tasks:\n", "sweep: {importance: [ratio]}\ntasks:\n").replace(
        '"}\nforget:', '", trust_remote_code: true}\nforget:'
    )
    with pytest.raises(PolicyErrors) as caught:
        govern.load_policy(external.path)
    assert "no settings to sweep" in str(caught.value)
    assert "without running code" in str(caught.value)
