"""What a model was asked is not asked again: within a verification that was killed, and of a base model for ever."""

import json
from pathlib import Path

import pytest
import torch

import govern
from govern.audit import Log
from govern.errors import Interrupted
from govern.evaluation.answers import Answers
from govern.evaluation.harness import evaluate
from govern.evaluation.official import OFFICIAL
from govern.models import load_model, load_tokenizer
from govern.records import Environment
from govern.workflow.verification.measure import AnswerMemory

HERE = Environment(
    govern="0", python="3", platform="x", processor="y", device="cpu", threads=1, packages={}, commit=None, dirty=None
)
SAID = Answers(
    task="secret",
    metric="acc",
    kind="cloze",
    ids=("a", "b"),
    clusters=None,
    parts=("certification", "certification"),
    correct=(True, False),
    chosen=(0, 1),
    choices=(4, 4),
)


def never():
    raise AssertionError("it was asked again")


def test_an_answer_is_remembered_for_the_same_model_questions_and_harness(tmp_path: Path):
    memory = AnswerMemory(tmp_path, "model", HERE)
    assert memory.answers("secret", "digest", Answers, lambda: (SAID,)) == (SAID,)
    assert memory.answers("secret", "digest", Answers, never) == (SAID,)
    assert memory.remembered == ["secret"]
    others = [
        (AnswerMemory(tmp_path, "another", HERE), "secret", "digest"),
        (AnswerMemory(tmp_path, "model", HERE, "bfloat16"), "secret", "digest"),
        (AnswerMemory(tmp_path, "model", HERE.model_copy(update={"threads": 2})), "secret", "digest"),
        (AnswerMemory(tmp_path, "model", HERE.model_copy(update={"packages": {"lm-eval": "9"}})), "secret", "digest"),
        (memory, "secret", "another"),
        (memory, "colour", "digest"),
    ]
    for other, name, digest in others:
        with pytest.raises(AssertionError, match="asked again"):
            other.answers(name, digest, Answers, never)


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path):
    memory = AnswerMemory(tmp_path, "model", HERE)
    memory.answers("secret", "digest", Answers, lambda: (SAID,))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().replace(b"[true,false]", b"[true, true]"))
    asked = []
    memory.answers("secret", "digest", Answers, lambda: asked.append(1) or (SAID,))
    assert asked
    assert memory.remembered == []
    assert memory.answers("secret", "digest", Answers, never) == (SAID,)


def test_nothing_is_kept_without_a_folder():
    memory = AnswerMemory(None, "model", HERE)
    memory.answers("secret", "digest", Answers, lambda: (SAID,))
    with pytest.raises(AssertionError, match="asked again"):
        memory.answers("secret", "digest", Answers, never)


def test_where_nothing_can_be_kept_the_answer_is_given_all_the_same(tmp_path: Path):
    (tmp_path / "a file").write_text("")
    memory = AnswerMemory(tmp_path / "a file" / "answers", "model", HERE)
    assert memory.answers("secret", "digest", Answers, lambda: (SAID,)) == (SAID,)


def test_a_killed_verification_goes_on_where_it_was(tiny_policy):
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)

    def kill(stage: str, done: int, total: int, **_: float) -> None:
        if stage == "after: answer colour":
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        govern.verify(workspace=tiny_policy.workspace, progress=kill)
    stages = set()
    verified = govern.verify(
        workspace=tiny_policy.workspace, progress=lambda stage, done, total, **_: stages.add(stage)
    )
    assert "after: answer secret" not in stages
    assert "after: answer colour" in stages
    with Log.open(tiny_policy.workspace / "audit.db") as log:
        (finished,) = log.events(type="verify.finished")
    assert finished.event.parameters["remembered"]["after"] == ["secret"]
    assert {path.name for path in verified.run.root.iterdir()}.isdisjoint({"measuring"})


def test_a_killed_verification_goes_on_at_the_subject_of_mmlu_where_it_was(
    tiny_policy, tiny_llama, tmp_path, monkeypatch
):
    data = Path(__file__).parents[3].parent / "shared" / "data" / "mmlu"
    if not data.is_dir():
        pytest.skip("needs ../shared/data/mmlu")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    from mirror import lay_mirror

    lay_mirror(tmp_path / "mirror", mmlu=data)
    # Two of the 57 subjects stand for all, which would take a tiny model many minutes.
    two = tuple(OFFICIAL[f"mmlu_{subject}"][0] for subject in ("abstract_algebra", "anatomy"))
    monkeypatch.setitem(OFFICIAL, "mmlu", two)
    tiny_policy.replace("    - {task: colour", "    - {task: mmlu, floor: 0.6}\n    - {task: colour")
    where = {"workspace": tiny_policy.workspace, "mirror": tmp_path / "mirror"}
    govern.apply(tiny_policy.path, **where)

    def kill(stage: str, done: int, total: int, **_: float) -> None:
        if (stage, done, total) == ("after: answer mmlu", 1, 2):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        govern.verify(**where, progress=kill)
    verified = govern.verify(**where)
    with Log.open(tiny_policy.workspace / "audit.db") as log:
        (finished,) = log.events(type="verify.finished")
    remembered = finished.event.parameters["remembered"]["after"]
    assert "mmlu_abstract_algebra" in remembered
    assert "mmlu_anatomy" not in remembered

    stored = json.loads(next(verified.run.root.glob("verifications/*/answers.json")).read_bytes())
    (said,) = (each for each in stored["before"]["answers"] if each["task"] == "mmlu")
    model = load_model(tiny_llama, dtype=torch.float32)
    (together,) = evaluate(model, load_tokenizer(tiny_llama), ["mmlu"], share=0.3, mirror=tmp_path / "mirror")
    assert said == together.model_dump(mode="json")


def test_a_verification_asks_the_edited_model_anew_each_time(tiny_policy):
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    govern.verify(workspace=tiny_policy.workspace)
    stages = set()
    govern.verify(workspace=tiny_policy.workspace, progress=lambda stage, done, total, **_: stages.add(stage))
    assert {"after: answer secret", "after: answer colour"} <= stages
