"""`govern benchmark`: a published benchmark on the user's copy of its data, before and after a removal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from govern.errors import IntegrityError
from govern.evaluation.packs import Asked, Pack, load_pack
from govern.models import apply_delta, load_model, load_tokenizer, model_digest, read_delta
from govern.policy import LoadedPolicy
from govern.progress import Progress, labelled, silent
from govern.records import Benchmark, BenchmarkedModel, Environment, Record, Removal
from govern.records.told import BenchmarkFinished, BenchmarkStarted
from govern.sources import ResolvedModel, cache_folder, resolve_model
from govern.workflow.environment import default_device, describe_environment
from govern.workflow.files import DELTA
from govern.workflow.runs import check_artefacts, held_run, refuse_pruned, stored_plan, stored_policy, stored_removal
from govern.workflow.stage import stage
from govern.workflow.verification.measure import AnswerMemory
from govern.workspace import RunFolder

if TYPE_CHECKING:
    import torch

BENCHMARK = "benchmark.json"


@dataclass(frozen=True)
class Benchmarked:
    """A run under a benchmark, and where its record lies."""

    run: RunFolder
    benchmark: Benchmark
    path: Path


class _Replied(Record):
    """A model's replies, as they are remembered."""

    replies: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class _Session:
    """A pack's questions in one environment, the model to compare with, and what each model replied so far."""

    name: str
    pack: Pack
    asked: Asked
    retained: ResolvedModel | None
    environment: Environment
    progress: Progress
    replied: dict[tuple[str, str], _Replied] = field(default_factory=dict)


def benchmark(
    name: str,
    runs: Sequence[str | None] = (None,),
    *,
    data: Path,
    asked: Asked | None = None,
    retained: str | None = None,
    workspace: Path,
    device: str | None = None,
    progress: Progress = silent,
) -> tuple[Benchmarked, ...]:
    """Put a pack's questions to the base and the edited model of each run, the latest applied one by default.

    `data` is the user's folder with the pack's files, `retained` the source of a model that never saw the forget text.
    A model that several runs share is asked once. Raises UsageError for bad data or a run whose weights were pruned,
    IntegrityError where an artefact of a run is not what it was, or the base model is not the one of the removal.
    """
    asked = asked or Asked()
    pack = load_pack(name, data, asked)
    reference = resolve_model(retained, revision=None, base=Path.cwd(), progress=progress) if retained else None
    environment = describe_environment(device or default_device())
    session = _Session(name, pack, asked, reference, environment, progress)
    return tuple(_benchmark_run(session, run, workspace) for run in runs)


def _benchmark_run(session: _Session, run_id: str | None, workspace: Path) -> Benchmarked:
    with held_run(workspace, run_id) as (_, log, run, events):
        refuse_pruned(run, events)
        check_artefacts(run, events)
        loaded, plan, removal = stored_policy(run, events), stored_plan(run), stored_removal(run)
        about: dict[str, Any] = {
            "policy_digest": plan.policy_digest,
            "model_before": removal.base_model_digest,
            "model_after": removal.edited_model_digest,
            "environment": session.environment.to_json(),
        }
        began = BenchmarkStarted(
            pack=session.name, split=session.asked.split, limit=session.asked.limit, data_digest=session.pack.digest
        ).to_json()
        log.append("benchmark.started", run=run.id, parameters=began, **about)
        with stage(
            log,
            "benchmark",
            run,
            about=about,
            interrupted=f"the benchmark of run {run.id} was interrupted",
            go_on=f"Start it again with: govern benchmark {session.name} {run.id}",
        ) as current:
            started = time.monotonic()
            models = _ask_all(session, run, loaded, removal)
            found = Benchmark(
                run=run.id,
                pack=session.name,
                split=session.asked.split,
                limit=session.asked.limit,
                part=session.asked.part,
                questions=session.pack.questions,
                data_digest=session.pack.digest,
                dtype=loaded.policy.verification.dtype,
                confidence=loaded.policy.verification.confidence,
                models=models,
                seconds=round(time.monotonic() - started, 3),
            )
            name = f"{run.next_numbered('benchmarks')}/{BENCHMARK}"
            run.write(name, found.canonical())
            figures = {model.role: {each.name: each.value for each in model.figures} for model in models}
            digests = {model.role: model.digest for model in models}
            current.finish(
                digests={name: found.sha256},
                parameters=BenchmarkFinished(**began, models=digests, figures=figures).to_json(),
            )
    return Benchmarked(run, found, run.path(name))


def _ask_all(session: _Session, run: RunFolder, loaded: LoadedPolicy, removal: Removal) -> tuple[BenchmarkedModel, ...]:
    """The base model, the edited one, and the one to compare with where there is one."""
    source, verification = loaded.policy.model, loaded.policy.verification
    base = resolve_model(source.source, revision=source.revision, base=loaded.path.parent, progress=session.progress)
    if model_digest(base.path, like=removal.base_model_digest) != removal.base_model_digest:
        raise IntegrityError("the base model changed since the removal was planned", where=source.source)
    delta = read_delta(run.path(DELTA), sha256=removal.delta_sha256, base_digest=removal.base_model_digest)
    asking = {
        "base": (base.path, removal.base_model_digest, {}),
        "edited": (base.path, removal.edited_model_digest, delta),
    }
    if session.retained is not None:
        path = session.retained.path
        asking["retained"] = path, model_digest(path), {}
    # As in a verification: only code that can be named leaves replies that outlive the run.
    lasting = session.environment.dirty is False or session.environment.commit is None
    replies = {}
    for role, (path, digest, changed) in asking.items():
        if (digest, verification.dtype) not in session.replied:
            ask = partial(_ask, session, role, path, changed, verification.dtype, source.trust_remote_code)
            kept = cache_folder() / "benchmarks" if lasting and role != "edited" else None
            memory = AnswerMemory(kept, digest, session.environment, verification.dtype)
            (found,) = memory.answers(session.name, session.pack.digest, _Replied, ask)
            session.replied[digest, verification.dtype] = found
        replies[role] = session.replied[digest, verification.dtype].replies
    return tuple(
        BenchmarkedModel(
            role=role,
            digest=asking[role][1],
            figures=session.pack.figures(found, replies.get("retained"), confidence=verification.confidence),
            replies=found,
        )
        for role, found in replies.items()
    )


def _ask(
    session: _Session, role: str, path: Path, delta: Mapping[str, torch.Tensor], dtype: str, trust_remote_code: bool
) -> tuple[_Replied]:
    """Load one model, changed by a delta, and put all questions to it."""
    import torch

    from govern.evaluation.packs.reader import ModelReader

    model = load_model(
        path,
        dtype=getattr(torch, dtype),
        device=session.environment.device,
        trust_remote_code=trust_remote_code,
    )
    if delta:
        apply_delta(model, delta)
    tokenizer = load_tokenizer(path, trust_remote_code=trust_remote_code)
    reader = ModelReader(model, tokenizer, labelled(session.progress, role))
    return (_Replied(replies=dict(session.pack.ask(reader))),)
