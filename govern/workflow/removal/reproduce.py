"""`govern reproduce`: make a removal again from what was recorded of it, and compare."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal

from govern.clock import now
from govern.errors import GovernError, IntegrityError, SourceError, UsageError
from govern.evidence import names, verify_pack
from govern.models import edited_digest, identify, load_tokenizer, read_delta, read_tensors, write_delta
from govern.policy import LoadedPolicy, parse_policy
from govern.progress import Progress, silent
from govern.records import Environment, Plan, Removal
from govern.records.told import ReproduceFinished
from govern.sources import ResolvedModel, resolve_model
from govern.unlearning.protocol import Edit, RemovalRequest, Topic
from govern.unlearning.registry import bound_method
from govern.workflow.environment import describe_environment
from govern.workflow.files import CHECKPOINT, DELTA
from govern.workflow.removal.edit import make_edit
from govern.workflow.removal.external import planned_edit
from govern.workflow.removal.plan import join_topics, resolve_corpus, text_sources
from govern.workflow.runs import check_artefacts, held_run, stored_plan, stored_policy, stored_removal
from govern.workflow.stage import stage
from govern.workspace import RunFolder

if TYPE_CHECKING:
    from torch import Tensor

Result = Literal["equal", "within", "different"]

# ‖ΔW' − ΔW‖ / ‖ΔW‖ of a tensor, by what the model computes in. docs/reproduce.md has what they were chosen by.
TOLERANCES: Final = {"float32": 0.01, "bfloat16": 0.5}


@dataclass(frozen=True)
class Reproduced:
    """A removal made again. `changed` names what of the environment is not as it was then.

    `result` is `equal` where the delta's bytes are the recorded ones; `within` where the environment is another one
    and no tensor's `differences`, ‖ΔW' − ΔW‖ / ‖ΔW‖ (Frobenius), exceeds `tolerance`; else `different`.
    `differences` is empty where the bytes are equal.
    """

    run: str
    method: str
    result: Result
    differences: Mapping[str, float]
    tolerance: float
    delta_sha256: str
    recorded_sha256: str
    changed: tuple[str, ...]
    environment: Environment

    @property
    def largest(self) -> float:
        """The largest difference of any tensor."""
        return max(self.differences.values(), default=0.0)


def reproduce(
    run_id: str | None,
    *,
    workspace: Path,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Reproduced:
    """Apply a run's plan again, the latest applied run's by default, and compare the deltas.

    Device and thread count are the recorded ones by default. Nothing of the run changes. Raises IntegrityError where an
    artefact, the model or a text is not what it was, GovernError where bytes differ and the recorded delta is gone.
    """
    with held_run(workspace, run_id) as (place, log, run, events):
        check_artefacts(run, events)
        loaded, plan, removal = stored_policy(run, events), stored_plan(run), stored_removal(run)
        # Of a pruned run, the sampled tokens are gone: the model samples them again.
        kept = None if any(event.type == "run.pruned" for event in events) else run
        with _computing(plan, device, threads) as environment:
            about: dict[str, Any] = {
                "policy_digest": plan.policy_digest,
                "model_before": removal.base_model_digest,
                "model_after": removal.edited_model_digest,
                "environment": environment.to_json(),
            }
            log.append("reproduce.started", run=run.id, **about, seed=plan.seed)
            with stage(
                log,
                "reproduce",
                run,
                about=about,
                interrupted=f"the re-derivation of run {run.id} was interrupted",
                go_on=f"Start it again with: govern reproduce {run.id}",
            ) as current:
                source = loaded.policy.model
                model = resolve_model(
                    source.source, revision=source.revision, base=loaded.path.parent, progress=progress
                )
                with TemporaryDirectory(dir=place.root, prefix=".reproduce-") as scratch:
                    edit = make_again(
                        loaded, plan, model=model, edited=None, inputs=kept, environment=environment,
                        scratch=Path(scratch), progress=progress,
                    )  # fmt: skip
                    recorded = run.path(DELTA)
                    found = compare(edit, plan, removal, model, recorded, environment, scratch=Path(scratch))
                current.finish(
                    parameters=ReproduceFinished(
                        result=found.result,
                        largest_difference=found.largest,
                        tolerance=found.tolerance,
                        delta_sha256=found.delta_sha256,
                        changed=list(found.changed),
                    ).to_json(),
                    seed=plan.seed,
                )
    return found


def reproduce_pack(
    pack: Path,
    *,
    model: Path | None = None,
    edited: Path | None = None,
    texts: Path | None = None,
    inputs: Path | None = None,
    delta: Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Reproduced:
    """Apply the plan of an evidence pack again. Needs neither log nor workspace, and writes nothing that stays.

    `model` is the base model's folder, and `edited` that of a model edited elsewhere, by default what the policy names.
    `texts` is the folder that the policy's
    file: paths start from, by default the pack. `inputs` holds the run's sampled tokens; without it they are sampled
    again, which gives the same ones on the same platform alone. `delta` is what to compare with where bytes differ.
    Raises IntegrityError where the pack, the model or a text is not what the plan says.
    """
    verify_pack(pack, now=now())
    policy = parse_policy((pack / names.POLICY).read_bytes(), path=(texts or pack) / names.POLICY)
    plan = Plan.parse((pack / names.PLAN).read_bytes())
    removal = Removal.parse((pack / names.REMOVAL).read_bytes())
    named = f"file:{model.absolute()}" if model else policy.policy.model.source
    revision = None if model else policy.policy.model.revision
    resolved = resolve_model(named, revision=revision, base=policy.path.parent, progress=progress)
    with TemporaryDirectory() as folder, _computing(plan, device, threads) as environment:
        scratch = Path(folder)
        stored = None
        if inputs is not None:
            if not inputs.is_dir():
                raise UsageError("there is no such folder of inputs", where=str(inputs))
            shutil.copytree(inputs, scratch / "inputs")
            stored = RunFolder(scratch)
        try:
            edit = make_again(
                policy, plan, model=resolved, edited=edited, inputs=stored, environment=environment,
                scratch=scratch, progress=progress,
            )  # fmt: skip
        except SourceError as error:
            error.hint = error.hint or "Name the folder that the policy's file: paths start from with --texts."
            raise
        return compare(edit, plan, removal, resolved, delta, environment, scratch=scratch)


@contextmanager
def _computing(plan: Plan, device: str | None, threads: int | None) -> Iterator[Environment]:
    """Compute on the plan's device with its thread count, or on others that are named; tell what that comes to."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or plan.environment.threads)
    try:
        yield describe_environment(device or plan.environment.device)
    finally:
        torch.set_num_threads(before)


def make_again(
    loaded: LoadedPolicy,
    plan: Plan,
    *,
    model: ResolvedModel,
    edited: Path | None,
    inputs: RunFolder | None,
    environment: Environment,
    scratch: Path,
    progress: Progress,
) -> Edit:
    """Run the plan's method on the plan's model and texts; of a removal made elsewhere, read the edited model again,
    in the folder `edited` or where the policy says. Raises IntegrityError where one is not the recorded one."""
    method, remote_code = bound_method(plan.method, plan.origin), plan.model.remote_code
    found = identify(model, trust_remote_code=remote_code, like=plan.model).digest
    if found != plan.model.digest:
        raise IntegrityError(
            f"this is not the model of the plan: that one is sha256:{plan.model.digest}, this is sha256:{found}",
            where=str(model.path),
        )
    topics = _topics(loaded, plan, model, inputs, environment.device, progress)
    checkpoint = scratch / CHECKPOINT
    checkpoint.mkdir()
    return make_edit(
        method,
        RemovalRequest(
            model_path=model.path,
            topics=topics,
            # What a sweep chose stands in the plan, not in the policy.
            settings=method.settings(plan.parameters),
            device=environment.device,
            trust_remote_code=remote_code,
            checkpoint=checkpoint,
            progress=progress,
            edited=planned_edit(loaded, plan, folder=edited),
        ),
    )


def _topics(
    loaded: LoadedPolicy,
    plan: Plan,
    model: ResolvedModel,
    inputs: RunFolder | None,
    device: str,
    progress: Progress,
) -> tuple[Topic, ...]:
    tokenizer = load_tokenizer(model.path, trust_remote_code=plan.model.remote_code)
    recorded = iter(corpus for corpus in plan.corpora if corpus.role != "perplexity")
    corpora = {}
    for name, role, spec in text_sources(loaded):
        if role == "perplexity":
            continue
        corpus = resolve_corpus(
            name, spec, role, loaded=loaded, model=model, tokenizer=tokenizer,
            device=device, stored=inputs, progress=progress,
        )  # fmt: skip
        expected = next(recorded).digest
        if corpus.identity.digest != expected:
            again = corpus.sampled and inputs is None
            raise IntegrityError(
                f"corpus {name} is not the recorded one: that is sha256:{expected}, "
                f"this is sha256:{corpus.identity.digest}",
                where=name,
                hint="The model samples other text here than it did there. With a pack, ask the issuer for the run's "
                "folder `inputs`, and name it with --inputs."
                if again
                else "Name the folder that holds the recorded texts with --texts, or restore them.",
            )
        corpora[name] = corpus
    return join_topics(corpora)[0]


def compare(
    edit: Edit,
    plan: Plan,
    removal: Removal,
    model: ResolvedModel,
    recorded: Path | None,
    environment: Environment,
    *,
    scratch: Path,
) -> Reproduced:
    """Hold an edit against the recorded removal; `recorded` is the recorded delta, which only other bytes need."""
    sha256 = write_delta(scratch / DELTA, edit.tensors, base_digest=plan.model.digest)
    changed = tuple(
        name
        for name in Environment.model_fields
        if getattr(environment, name) != getattr(plan.environment, name)
    )  # fmt: skip
    tolerance = TOLERANCES[str(plan.parameters.get("dtype", "float32"))]
    differences: Mapping[str, float] = {}
    if sha256 == removal.delta_sha256:
        result: Result = "equal"
        found = edited_digest(model.path, edit.tensors, like=removal.edited_model_digest)
        if found != removal.edited_model_digest:
            raise IntegrityError(
                f"this delta gives the model sha256:{found}, the removal promised sha256:{removal.edited_model_digest}",
                where="removal.json",
            )
    elif recorded is None or not recorded.is_file():
        raise GovernError(
            f"the delta comes out as sha256:{sha256}, not as sha256:{removal.delta_sha256}, and without the recorded "
            "one nobody can say how far they are apart"
            + (f"; this environment has another {', '.join(changed)}" if changed else ""),
            where=removal.run,
            hint="Restore the recorded delta or name it with --delta, or compute in the recorded environment.",
        )
    else:
        before = read_delta(recorded, sha256=removal.delta_sha256, base_digest=plan.model.digest)
        differences = relative_differences(before, edit.tensors, read_tensors(model.path, before))
        near = all(difference <= tolerance for difference in differences.values())
        result = "within" if changed and near else "different"
    return Reproduced(
        run=removal.run,
        method=removal.method,
        result=result,
        differences=differences,
        tolerance=tolerance,
        delta_sha256=sha256,
        recorded_sha256=removal.delta_sha256,
        changed=changed,
        environment=environment,
    )


def relative_differences(
    recorded: Mapping[str, Tensor], again: Mapping[str, Tensor], base: Mapping[str, Tensor]
) -> dict[str, float]:
    """‖ΔW' − ΔW‖ / ‖ΔW‖ of each tensor (Frobenius). Raises IntegrityError where other tensors were changed."""
    if {name: tensor.shape for name, tensor in recorded.items()} != {
        name: tensor.shape for name, tensor in again.items()
    }:
        raise IntegrityError("the removal comes out with other tensors than the recorded one", where=DELTA)
    return {
        name: float(
            (again[name].double() - tensor.double()).norm()
            / (tensor.double() - base[name].double()).norm().clamp_min(1e-12)
        )
        for name, tensor in sorted(recorded.items())
    }
