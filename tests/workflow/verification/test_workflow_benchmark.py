"""`govern benchmark`: figures of the base, the edited and the retain-only model, kept with the run and in the log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pack_files import write_muse, write_rwku, write_tofu, write_whp
from tiny_policy import TinyPolicy
from typer.testing import CliRunner

import govern
from govern.audit import Log
from govern.cli import app
from govern.errors import IntegrityError, Interrupted, UsageError
from govern.evaluation.packs import Asked
from govern.evaluation.packs.tofu import Tofu
from govern.records import Benchmark
from govern.workflow.publication.audit import audit
from govern.workflow.removal.prune import find_prunable, prune
from govern.workflow.verification.benchmark import benchmark

PART = Asked(split="forget01", part=True)


@pytest.fixture
def applied(tiny_policy: TinyPolicy) -> TinyPolicy:
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    return tiny_policy


def test_three_models_are_asked_and_what_they_said_stays_with_the_run(
    applied: TinyPolicy, tiny_llama: Path, tmp_path: Path
) -> None:
    data = write_tofu(tmp_path / "tofu")
    (found,) = benchmark("tofu", data=data, asked=PART, retained=f"file:{tiny_llama}", workspace=applied.workspace)
    record = found.benchmark
    assert Benchmark.parse(found.path.read_bytes()) == record
    assert [model.role for model in record.models] == ["base", "edited", "retained"]
    base, edited, retained = record.models
    assert base.replies == retained.replies  # one and the same model here
    assert base.replies != edited.replies
    figures = {model.role: {figure.name: figure for figure in model.figures} for model in record.models}
    assert figures["base"]["forget_quality"].value == 1
    for figure in figures["edited"].values():
        assert 0 <= figure.value <= 1
        if figure.interval is not None:
            assert figure.interval.low <= figure.value <= figure.interval.high
    with Log.open(applied.workspace / "audit.db", create=False) as log:
        started, finished = [stored.event for stored in log.events(run=found.run.id)][-2:]
    assert (started.type, finished.type) == ("benchmark.started", "benchmark.finished")
    assert finished.digests == {"benchmarks/001/benchmark.json": record.sha256}
    assert finished.parameters["figures"]["edited"]["utility"] == figures["edited"]["utility"].value
    assert started.parameters["data_digest"] == record.data_digest
    assert "vault" not in json.dumps([started.to_json(), finished.to_json(), record.to_json()])
    audit(applied.workspace)
    found.path.write_bytes(found.path.read_bytes() + b" ")
    with pytest.raises(IntegrityError, match=r"benchmark\.json"):
        benchmark("tofu", data=data, asked=PART, workspace=applied.workspace)


def test_runs_stand_side_by_side_and_share_what_their_base_said(applied: TinyPolicy, tmp_path: Path) -> None:
    data = write_tofu(tmp_path / "tofu")
    applied.replace("coefficient: 5", "coefficient: 9")
    other = govern.apply(applied.path, workspace=applied.workspace)
    stages: list[str] = []
    runs = sorted(path.name for path in (applied.workspace / "runs").iterdir())
    first, second = benchmark(
        "tofu", runs, data=data, asked=PART, workspace=applied.workspace,
        progress=lambda stage, done, total, **_: stages.append(stage) if done == total else None,
    )  # fmt: skip
    assert other.run.id in {first.run.id, second.run.id}
    assert first.benchmark.models[0] == second.benchmark.models[0]
    assert first.benchmark.models[1] != second.benchmark.models[1]
    assert sum(stage.startswith("base") for stage in stages) <= 2  # read once, and let answer once
    assert sum(stage.startswith("edited") for stage in stages) == 4


def test_the_command_prints_a_table_or_json(applied: TinyPolicy, tmp_path: Path) -> None:
    data = write_tofu(tmp_path / "tofu")
    asked = ["benchmark", "tofu", "--data", str(data), "--split", "forget01", "--part", "--limit", "2",
             "-w", str(applied.workspace)]  # fmt: skip
    printed = CliRunner().invoke(app, asked, catch_exceptions=False).stdout
    assert "forget, truth ratio" in printed
    assert "questions: 2 forget, 2 retain" in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 80
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"], catch_exceptions=False).stdout)
    (run,) = found["runs"]
    assert Path(run["file"]).parent.name == "002"
    assert [model["role"] for model in run["models"]] == ["base", "edited"]
    assert run["limit"] == 2


def test_bad_data_pruned_runs_and_other_models_are_refused(applied: TinyPolicy, tmp_path: Path) -> None:
    data = write_tofu(tmp_path / "tofu")
    with pytest.raises(UsageError, match="published one 40"):
        benchmark("tofu", data=data, asked=Asked(split="forget01"), workspace=applied.workspace)
    govern.verify(workspace=applied.workspace)
    prune(applied.workspace, find_prunable(applied.workspace, keep=0))
    with pytest.raises(UsageError, match="pruned"):
        benchmark("tofu", data=data, asked=PART, workspace=applied.workspace)


def test_a_benchmark_that_breaks_is_logged_without_its_words_and_one_that_is_interrupted_says_so(
    applied: TinyPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_tofu(tmp_path / "tofu")

    def breaks(self: Tofu, reader: object) -> dict[str, tuple[float, ...]]:
        raise ValueError("vault 3")

    monkeypatch.setattr(Tofu, "ask", breaks)
    with pytest.raises(ValueError, match="vault"):
        benchmark("tofu", data=data, asked=PART, workspace=applied.workspace)
    with Log.open(applied.workspace / "audit.db", create=False) as log:
        last = [stored.event for stored in log.events()][-1]
    assert (last.type, last.parameters) == ("benchmark.failed", {"error": "ValueError"})

    def stops(self: Tofu, reader: object) -> dict[str, tuple[float, ...]]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Tofu, "ask", stops)
    with pytest.raises(Interrupted, match="interrupted"):
        benchmark("tofu", data=data, asked=PART, workspace=applied.workspace)


def test_the_other_packs_go_the_same_way(applied: TinyPolicy, tiny_llama: Path, tmp_path: Path) -> None:
    figures = {
        "muse": (write_muse, {"verbatim", "knowledge.forget", "knowledge.retain", "privacy.auc", "privacy.leakage"}),
        "rwku": (write_rwku, {"forget.blanks", "forget.questions", "forget.attacks", "neighbour.blanks",
                              "neighbour.questions"}),
        "whp": (write_whp, {"familiarity"}),
    }  # fmt: skip
    for name, (write, expected) in figures.items():
        asked = ["benchmark", name, "--data", str(write(tmp_path / name)), "--part", "--retained", f"file:{tiny_llama}",
                 "-w", str(applied.workspace), "--json"]  # fmt: skip
        (run,) = json.loads(CliRunner().invoke(app, asked, catch_exceptions=False).stdout)["runs"]
        assert (run["pack"], run["split"]) == (name, None)
        for model in run["models"]:
            assert {figure["name"] for figure in model["figures"]} == expected
